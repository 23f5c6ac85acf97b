//! The link's status as commands and gates see it, with the change of role that it belongs to.
//!
//! Owns that order only: the link's task tells its status beside the turns that change the role, and what it knows of the link
//! before must not be shown for the present one's.

use crate::link::Status;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The status, and the change of role.
#[derive(Debug, Default)]
pub(crate) struct Shown(ArcSwap<(u64, Status)>);

impl Shown {
    /// The status now.
    pub(crate) fn load(&self) -> Status {
        self.0.load().1
    }

    /// Inside the turn that changes the role.
    pub(crate) fn begin(&self, role_epoch: u64, status: Status) {
        self.0.store(Arc::new((role_epoch, status)));
    }

    /// The status of the link that belongs to that role; gives the one before, or nothing if the role is another by now. Looks
    /// and sets as one.
    pub(crate) fn tell(&self, role_epoch: u64, status: Status) -> Option<Status> {
        let now = self.0.load();
        if **now == (role_epoch, status) {
            return Some(status);
        }
        let next = Arc::new((role_epoch, status));
        let before = self.0.rcu(|shown| if shown.0 == role_epoch { next.clone() } else { shown.clone() });
        (before.0 == role_epoch).then_some(before.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Phase;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    fn status(phase: Phase) -> Status {
        Status { phase, ..Status::default() }
    }

    #[test]
    fn what_is_told_of_another_role_is_not_shown() {
        let shown = Shown::default();
        let (connect, up) = (status(Phase::Connect), status(Phase::Connected));
        shown.begin(7, connect);
        assert_eq!((shown.tell(6, up), shown.load()), (None, connect));
        assert_eq!((shown.tell(7, up), shown.load()), (Some(connect), up));
        assert_eq!(shown.tell(7, up), Some(up));
    }

    /// A task that saw the old role and is slow tells nothing behind the change.
    #[test]
    fn a_change_of_role_holds() {
        let (shown, role) = (Shown::default(), AtomicU64::new(1));
        thread::scope(|scope| {
            for phase in [Phase::Connected, Phase::Sync] {
                let (shown, role) = (&shown, &role);
                scope.spawn(move || {
                    while role.load(Ordering::Acquire) > 0 {
                        shown.tell(role.load(Ordering::Acquire), status(phase));
                        shown.tell(role.load(Ordering::Acquire), status(Phase::Handshake));
                    }
                });
            }
            let wrong = (2..50_000).find(|next| {
                // No link of this role tells anything: none is told of it yet.
                shown.begin(*next, status(Phase::Connect));
                let held = (0..20).all(|_| shown.load().phase == Phase::Connect);
                role.store(*next, Ordering::Release);
                !held
            });
            role.store(0, Ordering::Release);
            assert_eq!(wrong, None);
        });
    }
}
