//! How far the replication stream is on the disk. Owns the number and those who wait for it; who writes it there is a plugin.

use keystead_abi as abi;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

/// The durable offset.
pub(super) struct Durable {
    offset: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
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

    /// Sets it, and lets everybody who waits look again.
    pub(super) fn set(&self, offset: u64) {
        self.offset.store(offset, Ordering::Release);
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// True if an offset is reached; else the waker is kept.
    pub(super) fn poll(&self, offset: u64, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        let reached = matches!(self.get(), there if there != abi::NOT_DURABLE && there >= offset);
        if !reached && !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::{Durable, abi};
    use std::task::Waker;

    #[test]
    fn an_offset_is_reached_only_while_somebody_keeps_it() {
        let durable = Durable::default();
        assert!(!durable.poll(0, Waker::noop()), "nobody keeps anything");
        durable.set(10);
        assert!(durable.poll(10, Waker::noop()) && !durable.poll(11, Waker::noop()));
        assert_eq!(durable.waiting.lock().len(), 1);
        durable.set(abi::NOT_DURABLE);
        assert!(durable.waiting.lock().is_empty() && !durable.poll(1, Waker::noop()));
    }
}
