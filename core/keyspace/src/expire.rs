//! Active expiry: deleting keys whose deadline passed although nobody asks for them.
//!
//! There is no list of deadlines. Each segment of a table keeps a time before which nothing in it expires; the cycle looks
//! at those numbers (8 bytes for some 250 keys) and walks only segments that are due. A key without a deadline costs
//! nothing, one with a deadline its 8 bytes, and nothing stale is left behind when deadlines change or keys go.

use crate::keyspace::Keyspace;
use crate::table::SLOTS;
use crate::{DbIndex, ExpiryMode, UnixMillis};

/// What a cycle did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExpiryProgress {
    /// Keys deleted.
    pub expired: usize,
    /// True when the budget ended first: there is more to do.
    pub more: bool,
}

/// What looking at a segment's earliest deadline costs, in entries looked at.
const LOOK_COST: usize = 1;
/// What walking a due segment costs.
const WALK_COST: usize = 64 * SLOTS;

impl Keyspace {
    /// Deletes keys that are expired by the frozen clock, until none is left or the budget (entries looked at, roughly 15 ns
    /// each) is used up. Does nothing unless the expiry mode is [`ExpiryMode::Delete`].
    pub fn expire_cycle(&mut self, budget: usize) -> ExpiryProgress {
        let mut progress = ExpiryProgress::default();
        if self.mode != ExpiryMode::Delete {
            return progress;
        }
        let mut left = budget;
        for db in 0..self.dbs.len() {
            if self.dbs[db].table.with_deadline() > 0 {
                progress.more |= !self.expire_db(db, &mut left, &mut progress.expired);
            }
        }
        progress
    }

    /// The earliest time at which a key may expire.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.dbs.iter().filter_map(|db| db.table.earliest_deadline()).min().map(UnixMillis)
    }

    /// One round over a database's segments; false when the budget ended before the round.
    fn expire_db(&mut self, db: DbIndex, left: &mut usize, expired: &mut usize) -> bool {
        for _ in 0..self.dbs[db].table.segments() {
            if *left == 0 {
                return false;
            }
            *left = left.saturating_sub(LOOK_COST);
            // Asked for every time: segments merge while their entries expire.
            let segment = self.dbs[db].expiry_hand % self.dbs[db].table.segments();
            self.dbs[db].expiry_hand = segment + 1;
            if self.dbs[db].table.may_have_expired(segment, self.now) {
                *left = left.saturating_sub(WALK_COST);
                *expired += self.expire_segment(db, segment);
            }
        }
        true
    }

    fn expire_segment(&mut self, db: DbIndex, segment: usize) -> usize {
        let mut keys = Vec::new();
        self.dbs[db].table.expired_in(segment, self.now, |key| keys.push(key.to_vec()));
        for key in &keys {
            self.locate(db, key);
        }
        keys.len()
    }
}
