//! Hints ahead of execution: the memory of a batch's keys is asked for before the first command runs, so that the table's
//! misses overlap. Changes nothing and decides nothing; a wrong guess costs a few nanoseconds.

use keystead_resp::Args;

use crate::engine::Engine;
use crate::session::SessionId;

/// Where a command's first key lies in the table.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    db: usize,
    hash: u64,
}

impl Engine {
    /// First stage: asks for the bucket of a command's first key. The first argument is taken for it: nearly every command
    /// puts its key there. Nothing for commands without arguments.
    #[inline]
    #[must_use]
    pub fn prefetch_bucket(&self, id: SessionId, args: Args<'_>) -> Option<Place> {
        let key = args.get(1)?;
        let db = self.core.sessions.get(id)?.state.db;
        Some(self.prefetch_key(db, key))
    }

    /// First stage for a key of a database.
    #[inline]
    pub(crate) fn prefetch_key(&self, db: usize, key: &[u8]) -> Place {
        let hash = self.ks.hash_key(key);
        self.ks.prefetch_bucket(db, hash);
        Place { db, hash }
    }

    /// Second stage, once the first had time to arrive: asks for the entry the bucket points to.
    #[inline]
    pub fn prefetch_entry(&self, place: Place) {
        self.ks.prefetch_entry(place.db, place.hash);
    }

    /// Third stage, once the second had time to arrive: asks for the collection that the entry holds.
    #[inline]
    pub fn prefetch_object(&self, place: Place) {
        self.ks.prefetch_object(place.db, place.hash);
    }
}
