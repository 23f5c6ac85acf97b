//! A bell: tasks wait until something they look at is so; whoever changes it rings.
//!
//! Owns the list of wakers and nothing else. Ringing is cheap and may happen inside a turn.

use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

/// The bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waiting: Mutex<Vec<Waker>>,
}

impl Bell {
    /// Wakes everybody who waits.
    pub(crate) fn ring(&self) {
        let wakers = std::mem::take(&mut *self.waiting.lock());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until `check` gives something. It is asked once more behind the registration, so no ring is missed.
    pub(crate) fn until<'a, T>(&'a self, mut check: impl FnMut() -> Option<T> + 'a) -> impl Future<Output = T> + 'a {
        poll_fn(move |cx| {
            if let Some(found) = check() {
                return Poll::Ready(found);
            }
            let mut waiting = self.waiting.lock();
            if !waiting.iter().any(|w| w.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            drop(waiting);
            check().map_or(Poll::Pending, Poll::Ready)
        })
    }
}
