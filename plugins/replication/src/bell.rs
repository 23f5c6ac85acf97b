//! A bell: tasks wait until something they look at is so; whoever changes it rings.
//!
//! Owns the wakers, one for each who waits, and nothing else. Ringing is cheap and may happen inside a turn.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

/// The bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By the number of the place. A task's waker is another one at each poll, so places can't be told by them.
    wakers: BTreeMap<u64, Waker>,
}

/// A place among those who wait, given up when it is dropped.
struct Place<'a> {
    bell: &'a Bell,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.bell.waiting.lock().wakers.remove(&self.number);
    }
}

impl Bell {
    /// Wakes everybody who waits.
    pub(crate) fn ring(&self) {
        let wakers = std::mem::take(&mut self.waiting.lock().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until `check` gives something. It is asked once more behind the registration, so no ring is missed.
    pub(crate) fn until<'a, T>(&'a self, mut check: impl FnMut() -> Option<T> + 'a) -> impl Future<Output = T> + 'a {
        let place = self.place();
        poll_fn(move |cx| {
            if let Some(found) = check() {
                return Poll::Ready(found);
            }
            // The whole place, not a copy of its number: it must live as long as this.
            let place = &place;
            self.waiting.lock().wakers.insert(place.number, cx.waker().clone());
            check().map_or(Poll::Pending, Poll::Ready)
        })
    }

    fn place(&self) -> Place<'_> {
        let mut waiting = self.waiting.lock();
        waiting.next += 1;
        Place { bell: self, number: waiting.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn one_place_however_often_it_is_polled() {
        let (bell, so) = (Bell::default(), AtomicBool::new(false));
        let mut waiting = Box::pin(bell.until(|| so.load(Ordering::Relaxed).then_some(())));
        for _ in 0..100 {
            // Each has a waker of its own, as across the plugin boundary.
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert_eq!(bell.waiting.lock().wakers.len(), 1);
        bell.ring();
        assert_eq!(bell.waiting.lock().wakers.len(), 0);
        so.store(true, Ordering::Relaxed);
        assert!(waiting.as_mut().now_or_never().is_some());
        let mut other = Box::pin(bell.until(|| None::<()>));
        assert!(other.as_mut().now_or_never().is_none());
        drop(other);
        assert_eq!(bell.waiting.lock().wakers.len(), 0, "who goes away leaves nothing behind");
    }
}
