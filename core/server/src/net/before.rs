//! Those who have something to do before clients' replies leave: an append-only file that gets each write before its reply.
//! Owns their wakers, and the journal's position up to which each driver has had it done. They are called outside of the
//! engine's lock, by the thread that will send; never from inside a long command, where nobody could read the journal.

use super::service::mono_us;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

/// All of one engine.
#[derive(Default)]
pub(crate) struct BeforeReplies {
    any: AtomicBool,
    wakers: Mutex<BTreeMap<String, Waker>>,
    /// Where the journal ended behind the last turn.
    end: AtomicU64,
}

/// What a driver remembers: everything before has been done.
#[derive(Default)]
pub(crate) struct Done(u64);

impl BeforeReplies {
    /// A plugin's, in place of the one before; None takes it away.
    pub(crate) fn set(&self, plugin: &str, waker: Option<Waker>) {
        let mut wakers = self.wakers.lock();
        match waker {
            Some(waker) => wakers.insert(plugin.to_owned(), waker),
            None => wakers.remove(plugin),
        };
        self.any.store(!wakers.is_empty(), Ordering::Release);
    }

    /// A turn ends, still under the engine's lock.
    #[inline]
    pub(crate) fn turn_ends(&self, journal: u64) {
        self.end.store(journal, Ordering::Release);
    }

    /// True if what the journal has before a position is not yet done for this driver.
    pub(crate) fn owed(&self, done: &Done, journal: u64) -> bool {
        journal != done.0 && self.any.load(Ordering::Acquire)
    }

    /// True if something is to be done for this driver before replies of turns until now leave.
    #[inline]
    pub(crate) fn is_owed(&self, done: &Done) -> bool {
        self.owed(done, self.end.load(Ordering::Acquire))
    }

    /// Replies of turns until now are about to leave. How long it took, µs, where there was something to do.
    #[inline]
    pub(crate) fn call(&self, done: &mut Done) -> u64 {
        let end = self.end.load(Ordering::Acquire);
        if end != done.0 && self.any.load(Ordering::Acquire) {
            done.0 = end;
            return self.wake();
        }
        done.0 = end;
        0
    }

    fn wake(&self) -> u64 {
        let begun = mono_us();
        self.wakers.lock().values().for_each(Waker::wake_by_ref);
        mono_us() - begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn once_for_each_driver_and_each_growth() {
        let (before, count) = (BeforeReplies::default(), Arc::new(Count::default()));
        let (mut one, mut two) = (Done::default(), Done::default());
        before.set("file", Some(count.clone().into()));
        before.call(&mut one);
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "nothing was written");
        before.turn_ends(10);
        before.call(&mut one);
        before.call(&mut one);
        before.call(&mut two);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert!(!before.owed(&one, 10) && before.owed(&one, 15), "a turn that goes on has written");
        before.set("file", None);
        assert!(!before.owed(&one, 15));
        before.turn_ends(20);
        before.call(&mut one);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
