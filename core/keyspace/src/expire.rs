//! Active expiry: deleting keys whose deadline passed although nobody asks for them.
//!
//! There is no list of deadlines. Each segment of a table keeps a time before which nothing in it expires; the cycle looks
//! at those numbers (8 bytes for some 250 keys) and walks only segments that are due. A key without a deadline costs
//! nothing, one with a deadline its 8 bytes, and nothing stale is left behind when deadlines change or keys go. A hash of
//! which fields expire counts with the first of their deadlines.

use crate::events::Event;
use crate::keylog::Why;
use crate::keyspace::Keyspace;
use crate::object::Object;
use crate::table::SLOTS;
use crate::{Create, DbIndex, ExpiryMode, Hash, UnixMillis};

/// What a cycle did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExpiryProgress {
    /// Keys and fields deleted.
    pub expired: usize,
    /// True when the budget ended first: there is more to do.
    pub more: bool,
}

/// Earliest deadlines of segments that are looked at for the price of one entry: they lie side by side.
const LOOKS: usize = 8;
/// What walking a due segment costs, in entries looked at.
const WALK_COST: usize = 64 * SLOTS;
/// What deleting a key costs.
const KEY_COST: usize = 16;
/// What deleting a field of a hash costs: three trees change, and a log gets a line.
const FIELD_COST: usize = 128;
/// Fields of a hash that are deleted at least, for they are told of together.
const LEAST_FIELDS: usize = 32;

impl Keyspace {
    /// Deletes keys that are expired by the frozen clock, until none is left or the budget (entries looked at, roughly 15 ns
    /// each) is used up; at least one, if there is one. Does nothing unless the expiry mode is [`ExpiryMode::Delete`].
    pub fn expire_cycle(&mut self, budget: usize) -> ExpiryProgress {
        let mut progress = ExpiryProgress::default();
        if self.mode != ExpiryMode::Delete {
            return progress;
        }
        let mut left = budget;
        for db in 0..self.dbs.len() {
            let table = &self.dbs[db].table;
            if table.with_deadline() > 0 || table.with_times() > 0 {
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
        for looks in 0..self.dbs[db].table.segments() {
            if *left == 0 {
                return false;
            }
            *left -= usize::from(looks % LOOKS == 0);
            // Asked for every time: segments merge while their entries expire.
            let segment = self.dbs[db].expiry_hand % self.dbs[db].table.segments();
            self.dbs[db].expiry_hand = segment + 1;
            if self.dbs[db].table.may_have_expired(segment, self.now) {
                *left = left.saturating_sub(WALK_COST);
                if !self.expire_segment(db, segment, left, expired) {
                    return false;
                }
            }
        }
        true
    }

    /// False when the budget ended before the segment's expired keys, or the fields of a hash, did.
    fn expire_segment(&mut self, db: DbIndex, segment: usize, left: &mut usize, expired: &mut usize) -> bool {
        let (mut keys, mut hashes) = (Vec::new(), Vec::new());
        let most = (*left / KEY_COST).max(1);
        self.dbs[db].table.expired_in(segment, self.now, most, |key, whole| {
            if whole { &mut keys } else { &mut hashes }.push(key.to_vec());
        });
        for key in &keys {
            self.locate(db, key);
        }
        *expired += keys.len();
        let found = keys.len() + hashes.len();
        *left = left.saturating_sub(found * KEY_COST);
        let mut cut = found == most;
        if cut && !keys.is_empty() {
            // Keys are left, and what is known of them is still in the processor's cache.
            self.dbs[db].expiry_hand = segment;
        }
        for key in &hashes {
            let most = (*left / FIELD_COST).max(LEAST_FIELDS);
            let gone = self.expire_fields(db, key, most);
            *expired += gone;
            *left = left.saturating_sub(gone * FIELD_COST);
            cut |= gone == most;
        }
        !cut
    }

    /// Deletes the first of a hash's fields that are expired, `most` of them; answers how many.
    pub fn expire_fields(&mut self, db: DbIndex, key: &[u8], most: usize) -> usize {
        if self.mode != ExpiryMode::Delete {
            return 0;
        }
        let passed = self.object(db, key).map(|object| match object {
            Object::Hash(hash) => hash.passed_fields(self.now, most),
            _ => Vec::new(),
        });
        let fields = passed.unwrap_or_default();
        let fields: Vec<&[u8]> = fields.iter().map(|field| &**field).collect();
        self.delete_expired_fields(db, key, &fields)
    }

    /// Deletes those of the fields that are expired, and says so; a hash left empty goes.
    pub(crate) fn delete_expired_fields(&mut self, db: DbIndex, key: &[u8], fields: &[&[u8]]) -> usize {
        let (now, event) = (self.now, self.books.event.replace(Event::HEXPIRED));
        let dirty = self.dirty();
        let mut gone = Vec::with_capacity(fields.len());
        if let Ok(Some(mut hash)) = self.get_mut::<Hash>(db, key, Create::No) {
            for field in fields {
                if hash.has_passed(field, now) && hash.remove(field) {
                    gone.push(*field);
                }
            }
            hash.changed(gone.len() as u64);
        }
        self.books.event = event;
        // As of keys: that a time was up is no change.
        self.recount(dirty, 0);
        if !gone.is_empty() {
            self.books.expired.push(db, key, Why::FieldsOf);
            gone.iter().for_each(|field| self.books.expired.push(db, field, Why::Field));
        }
        self.books.expired_fields_total += gone.len() as u64;
        gone.len()
    }
}
