//! The order in which gates are set: tasks set them beside the turns that change the role.
//!
//! Owns that order only; which gates there are and when they are closed is `plugin`'s.

use parking_lot::Mutex;

/// Looks and sets as one. Who changes something that is looked at sets behind it, so whoever sets last saw every change: nobody
/// opens the gate of a role that is gone by then.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<()>);

impl Gates {
    /// Neither may wait for a turn, whose own call may wait here.
    pub(crate) fn set<T>(&self, look: impl FnOnce() -> T, set: impl FnOnce(T)) {
        let _alone = self.0.lock();
        set(look());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    /// Somebody else who saw the old role and is slow doesn't set a gate behind one who changed it.
    #[test]
    fn a_change_holds_when_it_is_set() {
        let (gates, role, gate, over) =
            (Gates::default(), AtomicBool::default(), AtomicBool::default(), AtomicBool::default());
        let set = || {
            let look = || {
                let seen = role.load(Ordering::Acquire);
                thread::yield_now();
                seen
            };
            gates.set(look, |closed| gate.store(closed, Ordering::Release));
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    set();
                }
            });
            let holds = |n: u32| {
                let now = n.is_multiple_of(2);
                role.store(now, Ordering::Release);
                set();
                (0..20).all(|_| {
                    thread::yield_now();
                    gate.load(Ordering::Acquire) == now
                })
            };
            let wrong = (0..5000).find(|n| !holds(*n));
            over.store(true, Ordering::Release);
            assert_eq!(wrong, None);
        });
    }
}
