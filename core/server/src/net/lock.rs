//! The lock around an engine. Who does a long job in many short turns (a walk over a cut, a load) comes again the moment its
//! last turn ended, faster than anybody who waits can wake up; so such a turn lets those go first who wait already. Owns the
//! order of those who come; knows nothing of what is locked. Nothing is awaited under it.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A value behind a lock.
#[derive(Debug, Default)]
pub(crate) struct Lock<T> {
    /// The standard library's, since whoever waits for it sleeps at once. The others' waiters give their processor away some
    /// times first: to the snapshot's thread, say, which keeps it for milliseconds while the lock is long free.
    value: Mutex<T>,
    /// Held by the one who is next, while it waits. A job takes this even where the value is free.
    next: Mutex<()>,
}

impl<T> Lock<T> {
    /// Behind a lock from now on.
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), next: Mutex::new(()) }
    }

    /// Waits until it is free.
    #[inline]
    pub(crate) fn lock(&self) -> Turn<'_, T> {
        self.try_lock().unwrap_or_else(|| self.lock_behind())
    }

    /// The same for a turn of a job, of which there are many: who waits already goes first.
    #[cold]
    pub(crate) fn lock_behind(&self) -> Turn<'_, T> {
        let _next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        Turn::new(self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// If it is free.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Turn<'_, T>> {
        match self.value.try_lock() {
            Ok(value) => Some(Turn::new(value)),
            Err(TryLockError::Poisoned(kept)) => Some(Turn::new(kept.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The lock as a turn holds it. A panic that leaves a turn (commands keep theirs inside) may have left anything half
/// done: the process ends rather than go on with it.
pub(crate) struct Turn<'a, T> {
    value: MutexGuard<'a, T>,
    /// It was taken while a panic was already on its way.
    unwinding: bool,
}

impl<'a, T> Turn<'a, T> {
    fn new(value: MutexGuard<'a, T>) -> Self {
        Self { value, unwinding: std::thread::panicking() }
    }
}

impl<T> std::ops::Deref for Turn<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> std::ops::DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.unwinding {
            log::error!("a turn panicked outside of a command: ending the process");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Turns of a job, each about as long as a step of a cut.
    fn job(lock: &Lock<()>, turns: &AtomicUsize, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let _turn = lock.lock_behind();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(30) {}
            turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_job_s_turns_let_those_go_first_who_wait() {
        let (lock, turns, stop) = (Lock::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let mut passed: Vec<usize> = thread::scope(|scope| {
            scope.spawn(|| job(&lock, &turns, &stop));
            let waits = (0..200).map(|_| {
                while lock.try_lock().is_some() {
                    thread::yield_now();
                }
                let before = turns.load(Ordering::Relaxed);
                let _turn = lock.lock();
                turns.load(Ordering::Relaxed) - before
            });
            let waits = waits.collect();
            stop.store(true, Ordering::Relaxed);
            waits
        });
        // The one that ran, and one that was asked for before; whoever loses its processor on the way there meets more. Where the
        // job comes again at once it has hundreds of turns.
        passed.sort_unstable();
        assert!(passed[passed.len() * 19 / 20] <= 2, "turns of the job while another waited: {passed:?}");
    }

    #[test]
    fn one_at_a_time_has_it() {
        let lock = Lock::new(1);
        let mut held = lock.lock_behind();
        assert!(lock.try_lock().is_none());
        *held += 1;
        drop(held);
        assert_eq!(lock.try_lock().map(|value| *value), Some(2));
    }
}
