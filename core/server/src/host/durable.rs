//! How far the replication stream is on the disk. Owns the number and those who wait for it; who writes it there is a plugin.

use super::Core;
use keystead_abi as abi;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// The durable offset.
pub(super) struct Durable {
    offset: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// Who waits, by the offset and a number of its own: whoever is reached is in front, whoever gives up is found at once.
#[derive(Default)]
struct Waiting {
    last: u64,
    wakers: BTreeMap<(u64, u64), Waker>,
}

impl Default for Durable {
    fn default() -> Self {
        Durable { offset: AtomicU64::new(abi::NOT_DURABLE), waiting: Mutex::default() }
    }
}

impl Durable {
    /// The offset, or `NOT_DURABLE`.
    pub(super) fn get(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Sets it, and wakes everybody who waits for no more.
    pub(super) fn set(&self, offset: u64) {
        self.offset.store(offset, Ordering::Release);
        if offset == abi::NOT_DURABLE {
            return;
        }
        let reached = {
            let mut waiting = self.waiting.lock();
            let rest = waiting.wakers.split_off(&(offset.saturating_add(1), 0));
            std::mem::replace(&mut waiting.wakers, rest)
        };
        reached.into_values().for_each(Waker::wake);
    }

    /// True if an offset is reached; else the waker is kept under the number, which is given if there is none yet.
    fn poll(&self, offset: u64, number: &mut Option<u64>, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        if self.get() != abi::NOT_DURABLE && self.get() >= offset {
            return true;
        }
        let number = *number.get_or_insert_with(|| {
            waiting.last += 1;
            waiting.last
        });
        waiting.wakers.insert((offset, number), waker.clone());
        false
    }

    fn forget(&self, offset: u64, number: u64) {
        self.waiting.lock().wakers.remove(&(offset, number));
    }
}

/// Ready when an offset is on the disk.
pub(super) struct Until {
    host: Arc<Core>,
    offset: u64,
    number: Option<u64>,
}

impl Until {
    /// Waits for this offset.
    pub(super) fn new(host: Arc<Core>, offset: u64) -> Until {
        Until { host, offset, number: None }
    }
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Until { host, offset, number } = &mut *self;
        if host.durable.poll(*offset, number, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.host.durable.forget(self.offset, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Durable, abi};
    use std::task::Waker;

    #[test]
    fn an_offset_is_reached_only_while_somebody_keeps_it() {
        let durable = Durable::default();
        let (mut one, mut two) = (None, None);
        let mut reached = |offset| durable.poll(offset, &mut one, Waker::noop());
        assert!(!reached(0), "nobody keeps anything");
        durable.set(10);
        assert!(reached(10) && !reached(11));
        durable.set(abi::NOT_DURABLE);
        assert!(!reached(1) && !durable.poll(12, &mut two, Waker::noop()));
        let waiting = || durable.waiting.lock().wakers.keys().map(|(offset, _)| *offset).collect::<Vec<_>>();
        assert_eq!(waiting(), [1, 11, 12]);
        durable.set(11);
        assert_eq!(waiting(), [12], "who is reached is woken, once");
        assert_eq!(two, Some(2));
        durable.forget(12, 2);
        assert!(waiting().is_empty(), "who gave up is forgotten");
    }
}
