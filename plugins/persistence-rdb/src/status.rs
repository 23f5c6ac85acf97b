//! What INFO, LASTSAVE and the save points go by: published as a whole, so that a turn reads it without a lock.

use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// How things stand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    /// The last save that succeeded, seconds since 1970.
    pub(crate) last_save_s: u64,
    /// The same by the clock that nobody sets: save points go by it.
    pub(crate) last_save_at: Duration,
    /// Whether the last one in the background did.
    pub(crate) last_ok: bool,
    /// When the last one in the background began.
    pub(crate) last_try: Option<Duration>,
    /// How long it took.
    pub(crate) last_took: Option<Duration>,
    /// One in the background runs since.
    pub(crate) running_since: Option<Duration>,
    /// How many were tried since the last CONFIG RESETSTAT.
    pub(crate) saves: u64,
    /// How many of these were seen.
    pub(crate) resets: u64,
    /// Changes of the keyspace that the last saved file has.
    pub(crate) saved_changes: u64,
    /// Changes of the keyspace that the file has which is being written.
    pub(crate) writes: Option<u64>,
    /// Keys of the running save: written, in all.
    pub(crate) progress: (u64, u64),
    /// The load at the start, while it runs.
    pub(crate) loading: Option<Loading>,
    /// Keys of the last load: loaded, left out as expired.
    pub(crate) loaded: (u64, u64),
}

/// A load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Loading {
    pub(crate) since: Duration,
    pub(crate) since_unix_s: u64,
    pub(crate) total_bytes: u64,
    pub(crate) loaded_bytes: u64,
    pub(crate) used_memory: u64,
}

/// The published status.
pub(crate) struct Board(ArcSwap<Status>);

impl Board {
    /// Nothing was done yet; what there is counts as saved now.
    pub(crate) fn new(now: Duration, now_s: u64) -> Board {
        Board(ArcSwap::from_pointee(Status {
            last_save_s: now_s,
            last_save_at: now,
            last_ok: true,
            last_try: None,
            last_took: None,
            running_since: None,
            saves: 0,
            resets: 0,
            saved_changes: 0,
            writes: None,
            progress: (0, 0),
            loading: None,
            loaded: (0, 0),
        }))
    }

    pub(crate) fn read(&self) -> Arc<Status> {
        self.0.load_full()
    }

    /// Changes it.
    pub(crate) fn edit(&self, edit: impl Fn(&mut Status)) {
        self.0.rcu(|old| {
            let mut new = Status::clone(old);
            edit(&mut new);
            new
        });
    }

    /// Counts anew if there was another CONFIG RESETSTAT.
    pub(crate) fn settle(&self, resets: u64) {
        if self.read().resets != resets {
            self.edit(|status| (status.resets, status.saves) = (resets, 0));
        }
    }

    /// Marks a save in the background as running; false if one is.
    pub(crate) fn begin(&self, now: Duration) -> bool {
        let old = self.0.rcu(|old| {
            let mut new = Status::clone(old);
            if new.running_since.is_none() {
                new.running_since = Some(now);
                new.last_try = Some(now);
                new.progress = (0, 0);
                new.saves += 1;
            }
            new
        });
        old.running_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_counts_saves_anew() {
        let board = Board::new(Duration::ZERO, 0);
        assert!(board.begin(Duration::ZERO));
        board.settle(0);
        assert_eq!(board.read().saves, 1);
        board.settle(1);
        assert_eq!(board.read().saves, 0);
        board.edit(|status| status.saves += 1);
        board.settle(1);
        assert_eq!(board.read().saves, 1);
    }
}
