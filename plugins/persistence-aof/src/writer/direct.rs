//! The file while replies wait for nothing but its write: the writer lends it, and the thread that is about to send a turn's
//! replies writes what the journal has, where it stands. Waking another thread for each turn, and being woken by it, costs a
//! third of a SET; a write alone costs a twentieth. Owns the file while it is lent; decides nothing: after an error, or when
//! the cursor gives no more, it lets the writer have it back.

use super::log::Log;
use crate::machine::Action;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake};

/// Where a lent file is.
#[derive(Default)]
pub(super) struct Direct {
    lent: Mutex<Option<Log>>,
    /// The writer must look: an error, or the end of what the cursor gives.
    trouble: AtomicBool,
    /// Somebody wrote since it was lent.
    used: AtomicBool,
    writer: AtomicWaker,
}

/// What one look at the journal came to.
pub(super) enum Through {
    /// There was nothing.
    Nothing,
    /// The file has all that there was.
    Written(Vec<Action>),
    /// It hasn't.
    Trouble(Vec<Action>),
}

impl Wake for Direct {
    fn wake(self: Arc<Self>) {
        self.write();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.write();
    }
}

impl Direct {
    /// Lends the file, with what the journal has by now written.
    pub(super) fn lend(&self, log: Log) {
        *self.lent.lock() = Some(log);
        self.write();
        self.used.store(false, Ordering::Relaxed);
    }

    /// Takes the file back. What the journal had is written, unless there was trouble: everything behind that is held by a
    /// barrier, which the caller set before.
    pub(super) fn take_back(&self) -> Option<(Log, Through)> {
        let mut lent = self.lent.lock();
        let mut log = lent.take()?;
        let through = log.write_through();
        self.trouble.store(false, Ordering::Release);
        Some((log, through))
    }

    /// True if somebody's replies were written for since the file was lent.
    pub(super) fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// True if the writer must have a look.
    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.load(Ordering::Acquire)
    }

    /// Ready when it must.
    pub(super) async fn trouble(&self) {
        poll_fn(|cx| {
            self.writer.register(cx.waker());
            if self.trouble.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The thread of a turn's replies: it waits until the file has what that turn wrote.
    fn write(&self) {
        let mut lent = self.lent.lock();
        let Some(log) = &mut *lent else { return };
        if self.trouble.load(Ordering::Acquire) {
            return;
        }
        match log.write_through() {
            Through::Nothing => {}
            Through::Written(_) => self.used.store(true, Ordering::Relaxed),
            Through::Trouble(actions) => {
                log.refuse_writes(&actions);
                log.put_off(actions);
                self.trouble.store(true, Ordering::Release);
                self.writer.wake();
            }
        }
    }
}
