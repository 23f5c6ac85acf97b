//! What commands do with whole keys: delete, rename, move, copy, flush, deadlines, walks, OBJECT and MEMORY.

use crate::db::Db;
use crate::entry::{Entry, Value, ValueRef};
use crate::events::Event;
use crate::keylog::Why;
use crate::keyspace::{Keyspace, type_of};
use crate::object::{KeyType, Object};
use crate::snapshot::RawRecord;
use crate::table::Place;
use crate::{DbIndex, ExpiryMode, UnixMillis};

impl Keyspace {
    /// True when the key exists.
    pub fn exists(&self, db: DbIndex, key: &[u8]) -> bool {
        self.ask(db, key).is_some()
    }

    /// True when the key exists, for writers: it isn't counted, but it is a use of the key.
    pub fn holds(&self, db: DbIndex, key: &[u8]) -> bool {
        let found = self.peek(db, key);
        if let Some(entry) = found {
            self.access.renew(entry);
        }
        found.is_some()
    }

    /// The key's type.
    pub fn type_of(&self, db: DbIndex, key: &[u8]) -> Option<KeyType> {
        Some(type_of(self.ask(db, key)?))
    }

    /// The type of a key without any trace: an expired one isn't there, and isn't deleted either.
    pub fn glance(&self, db: DbIndex, key: &[u8]) -> Option<KeyType> {
        self.unexpired(db, key).map(type_of)
    }

    /// What a key holds, to read it, of whatever type; `Some(None)` for a string.
    pub fn value(&self, db: DbIndex, key: &[u8]) -> Option<Option<&Object>> {
        self.read(db, key).map(Entry::object)
    }

    /// The collection under a key, of whatever type, without a trace; none for strings.
    pub fn object(&self, db: DbIndex, key: &[u8]) -> Option<&Object> {
        self.peek(db, key)?.object()
    }

    /// A key as it is now, to be encoded elsewhere: a long value is shared, not copied.
    pub fn record_of(&self, db: DbIndex, key: &[u8]) -> Option<RawRecord> {
        self.peek(db, key).map(|entry| RawRecord::new(db, entry.snapshot()))
    }

    /// Deletes a key; big values are left to [`Keyspace::take_garbage`], so DEL and UNLINK are the same.
    pub fn remove(&mut self, db: DbIndex, key: &[u8]) -> bool {
        self.remove_why(db, key, Why::Removed)
    }

    /// Deletes a key without asking whether its time is up, as commands do that put nothing in its place: it is gone by them.
    pub fn remove_unasked(&mut self, db: DbIndex, key: &[u8]) -> bool {
        let (_, Some(at)) = self.locate_unasked(db, key) else { return false };
        self.discard_at(db, at);
        self.books.gone(db, key, Why::Removed);
        true
    }

    pub(crate) fn remove_why(&mut self, db: DbIndex, key: &[u8], why: Why) -> bool {
        let (_, Some(at)) = self.locate(db, key) else { return false };
        self.discard_at(db, at);
        self.books.gone(db, key, why);
        true
    }

    /// A key's hash and place, though its time may be up. What this command read before has gone by its time already.
    pub(crate) fn locate_unasked(&mut self, db: DbIndex, key: &[u8]) -> (u64, Option<Place>) {
        self.settle_pending();
        let table = &self.dbs[db].table;
        let hash = table.hash(key);
        (hash, table.find(hash, key))
    }

    pub(crate) fn discard_at(&mut self, db: DbIndex, at: Place) {
        let entry = self.take_at(db, at);
        self.books.garbage.add_entry(entry);
    }

    /// Gives a key another name, under which it is fresh; a key of that name is replaced. False when `from` doesn't exist.
    pub fn rename(&mut self, db: DbIndex, from: &[u8], to: &[u8]) -> bool {
        let (_, Some(at)) = self.locate_used(db, from) else { return false };
        if from == to {
            return true;
        }
        let entry = self.take_at(db, at).with_key(to);
        entry.set_access(self.access.fresh());
        let kind = type_of(&entry);
        self.place_entry(db, entry);
        self.log_journey((db, from, Event::RENAME_FROM), (db, to, Event::RENAME_TO), kind);
        true
    }

    /// A key has gone from one place to another. Redis tells in this order: a new key, the old one changed, the new one
    /// changed, what became of each.
    fn log_journey(&mut self, from: (DbIndex, &[u8], Event), to: (DbIndex, &[u8], Event), kind: KeyType) {
        self.books.dirty += 1;
        self.tell(to.0, to.1, Event::NEW);
        self.books.touch(from.0, from.1, Why::Changed);
        self.books.touch(to.0, to.1, Why::brought(kind));
        self.tell(from.0, from.1, from.2);
        self.tell(to.0, to.1, to.2);
    }

    /// Uses a key without asking what it holds: its access time is renewed. False if there is none.
    pub fn touch(&self, db: DbIndex, key: &[u8]) -> bool {
        self.read(db, key).is_some()
    }

    /// Moves a key to another database, where it is fresh. False when it doesn't exist or the other database has one of that name.
    pub fn move_key(&mut self, db: DbIndex, key: &[u8], to: DbIndex) -> bool {
        let (_, Some(_)) = self.locate_used(db, key) else { return false };
        let (hash, None) = self.locate_used(to, key) else { return false };
        let (_, Some(at)) = self.locate(db, key) else { return false };
        let entry = self.take_at(db, at);
        entry.set_access(self.access.fresh());
        let kind = type_of(&entry);
        self.insert(to, hash, entry);
        self.log_journey((db, key, Event::MOVE_FROM), (to, key, Event::MOVE_TO), kind);
        true
    }

    /// Copies a key, deadline included; the copy is fresh, and big values share their nodes. False when there is no such key, or when the other
    /// exists and `replace` is not set.
    pub fn copy(&mut self, db: DbIndex, key: &[u8], to_db: DbIndex, to: &[u8], replace: bool) -> bool {
        let (_, Some(at)) = self.locate(db, key) else {
            self.count(false);
            self.missed(db, key);
            return false;
        };
        self.count(true);
        let source = self.dbs[db].table.entry(at);
        self.access.renew(source);
        let copy = source.snapshot().with_key(to);
        copy.set_access(self.access.fresh());
        if !replace && self.locate_used(to_db, to).1.is_some() {
            return false;
        }
        let why = Why::created(type_of(&copy));
        self.place_entry(to_db, copy);
        self.books.dirty += 1;
        self.books.touch_as(to_db, to, why, Some(Event::COPY_TO));
        true
    }

    /// Puts an entry in the place of whatever has its key; true if there was something. What it means is for the caller
    /// to log.
    pub(crate) fn place_entry(&mut self, db: DbIndex, entry: Entry) -> bool {
        let (hash, old) = self.locate(db, entry.key());
        if let Some(at) = old {
            self.discard_at(db, at);
        }
        self.insert(db, hash, entry);
        old.is_some()
    }

    /// Puts a collection (or replaces what is there), as SORT STORE, SINTERSTORE or RESTORE do. Removes the key when the
    /// collection is empty.
    pub fn put_object(&mut self, db: DbIndex, key: &[u8], object: Object, deadline: Option<UnixMillis>) {
        if object.is_empty() {
            self.remove(db, key);
            return;
        }
        let created = Why::created(object.key_type());
        let value = Value::Object(Box::new(object));
        let entry = Entry::new(key, value, deadline.map(|at| at.0), self.access.fresh());
        let replaced = self.place_entry(db, entry);
        self.books.change(db, key, if replaced { Why::Changed } else { created });
    }

    /// Exchanges two databases.
    pub fn swap_db(&mut self, a: DbIndex, b: DbIndex) {
        if a != b {
            self.dbs.swap(a, b);
            self.books.touch(a, b"", Why::Swapped);
            self.books.touch(b, b"", Why::Swapped);
        }
        self.books.dirty += 1;
    }

    /// Deletes every key of a database; answers how many.
    pub fn flush(&mut self, db: DbIndex) -> usize {
        let keys = self.len(db);
        let old = std::mem::replace(&mut self.dbs[db], Db::new(self.hashing.clone()));
        self.books.dirty += keys as u64;
        self.cuts.take_db(old, &mut self.books.garbage);
        self.books.touch(db, b"", Why::Flushed);
        keys
    }

    /// Deletes every key of every database; answers how many.
    pub fn flush_all(&mut self) -> usize {
        (0..self.databases()).map(|db| self.flush(db)).sum()
    }

    /// A key chosen at random, none where every key is expired.
    pub fn random_key(&mut self, db: DbIndex) -> Option<Vec<u8>> {
        const TRIES: usize = 100;
        let mut hidden = None;
        for _ in 0..TRIES {
            let mut state = self.random_u64();
            let at = self.dbs[db].table.random(false, || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state ^ (state >> 29)
            })?;
            let entry = self.dbs[db].table.entry(at);
            if self.is_visible(entry) {
                return Some(entry.key().to_vec());
            }
            match self.mode {
                ExpiryMode::Delete => self.delete_expired(db, at),
                ExpiryMode::Hide | ExpiryMode::Ignore => hidden = Some(entry.key().to_vec()),
            }
        }
        // Nearly all are expired: the first other one from anywhere on.
        let from = self.random_u64();
        let found = self.dbs[db].table.find_from(from, |entry| self.is_visible(entry));
        // As Redis: where expired keys are only hidden, one of them is better than none.
        found.map(|entry| entry.key().to_vec()).or(hidden)
    }

    /// The key's deadline: none when there is no key, `Some(None)` when it has no deadline.
    pub fn deadline(&self, db: DbIndex, key: &[u8]) -> Option<Option<UnixMillis>> {
        Some(self.ask(db, key)?.deadline().map(UnixMillis))
    }

    /// Sets, changes or (with none) removes a key's deadline. False when there is no such key, or nothing to remove.
    pub fn set_deadline(&mut self, db: DbIndex, key: &[u8], deadline: Option<UnixMillis>) -> bool {
        let (_, Some(at)) = self.locate(db, key) else { return false };
        if deadline.is_none() && self.dbs[db].table.entry(at).deadline().is_none() {
            return false;
        }
        self.change_at(db, at, |entry| entry.set_deadline(deadline.map(|at| at.0)));
        self.books.change(db, key, Why::Changed);
        true
    }

    /// Visits a part of a database's keys, at least `count` unless it ends or is sparse, and answers the cursor to go on
    /// with; 0 starts and ends. A key that exists from start to end is visited at least once. An expired key is visited too
    /// (true), and deleted behind the command if the visitor says that it would have been wanted, as in Redis.
    pub fn scan(
        &self,
        db: DbIndex,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&[u8], KeyType, bool) -> bool,
    ) -> u64 {
        /// Cursors are positions without their low bits: below 2^48, so that every client can hold one.
        const SHIFT: u32 = 16;
        let (mut seen, mut steps) = (0, 0);
        let mut position = cursor << SHIFT;
        loop {
            position = self.dbs[db].table.visit_position(position, &mut |entry| {
                seen += 1;
                let expired = !self.is_visible(entry);
                if visit(entry.key(), type_of(entry), expired) && expired {
                    self.note_expired(db, entry.key());
                }
            });
            steps += 1;
            if position == 0 || seen >= count || steps >= count.saturating_mul(10) {
                return position >> SHIFT;
            }
        }
    }

    /// Visits every key of a database.
    pub fn each_key(&self, db: DbIndex, mut visit: impl FnMut(&[u8], KeyType)) {
        for entry in self.dbs[db].table.entries().filter(|entry| self.is_visible(entry)) {
            visit(entry.key(), type_of(entry));
        }
    }

    fn is_visible(&self, entry: &Entry) -> bool {
        self.mode == ExpiryMode::Ignore || !entry.is_expired(self.now)
    }

    /// Whether a key is there, for questions about how it is kept: counts, but nobody is told of a miss.
    pub fn is_kept(&self, db: DbIndex, key: &[u8]) -> bool {
        let found = self.peek(db, key).is_some();
        self.count(found);
        found
    }

    /// The number that is kept as such under a key; `Some(None)` when it is anything else.
    pub fn integer(&self, db: DbIndex, key: &[u8]) -> Option<Option<i64>> {
        Some(match self.peek(db, key)?.value() {
            ValueRef::Int(number) => Some(number),
            _ => None,
        })
    }

    /// What OBJECT ENCODING answers.
    pub fn object_encoding(&self, db: DbIndex, key: &[u8]) -> Option<&'static str> {
        /// Redis keeps strings up to this length in one block with their header.
        const EMBSTR_MAX: usize = 44;
        let entry = self.peek(db, key)?;
        Some(match entry.value() {
            ValueRef::Int(_) => "int",
            ValueRef::Inline(bytes) if bytes.len() <= EMBSTR_MAX && !entry.is_raw() => "embstr",
            ValueRef::Inline(_) | ValueRef::Shared(_) => "raw",
            ValueRef::Object(object) => object.encoding(),
        })
    }

    /// Seconds since the key was read or written, by the 24-bit clock.
    pub fn idle_secs(&self, db: DbIndex, key: &[u8]) -> Option<u64> {
        Some(self.access.idle_secs(self.peek(db, key)?))
    }

    /// How often the key is used, logarithmically; `Some(None)` when frequency isn't counted.
    pub fn frequency(&self, db: DbIndex, key: &[u8]) -> Option<Option<u8>> {
        let entry = self.peek(db, key)?;
        Some(self.access.lfu().map(|_| self.access.frequency(entry)))
    }

    /// Sets how often the key is used (RESTORE FREQ); does nothing where frequency isn't counted.
    pub fn set_frequency(&mut self, db: DbIndex, key: &[u8], frequency: u8) {
        if let (Some(_), (_, Some(at))) = (self.access.lfu(), self.locate(db, key)) {
            self.dbs[db].table.entry(at).set_access(self.access.with_frequency(frequency));
        }
    }

    /// Sets the time of access `idle_secs` back (RESTORE IDLETIME, DEBUG OBJECT tests).
    pub fn set_idle_secs(&mut self, db: DbIndex, key: &[u8], idle_secs: u64) -> bool {
        let (_, Some(at)) = self.locate(db, key) else { return false };
        if self.access.lfu().is_none() {
            self.dbs[db].table.entry(at).set_access(self.access.with_idle(idle_secs));
        }
        true
    }

    /// Bytes a key takes, value included (MEMORY USAGE), one that has expired and isn't deleted yet too.
    pub fn mem_usage(&self, db: DbIndex, key: &[u8]) -> Option<usize> {
        let table = &self.dbs[db].table;
        Some(table.get(table.hash(key), key)?.mem_bytes() + size_of::<Entry>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Ttl};

    /// One key that lives among many that are expired.
    fn one_of_many(mode: ExpiryMode) -> Keyspace {
        let mut ks = Keyspace::new(Options::default());
        for n in 0..20_000 {
            ks.set_str(0, format!("gone {n}").as_bytes(), 1, Ttl::At(UnixMillis(1)));
        }
        ks.set_str(0, b"live", 1, Ttl::Clear);
        ks.set_expiry_mode(mode);
        ks.set_now(UnixMillis(1000));
        ks
    }

    #[test]
    fn the_only_key_that_lives_is_found_at_random() {
        for mode in [ExpiryMode::Delete, ExpiryMode::Hide] {
            let mut ks = one_of_many(mode);
            assert_eq!(ks.random_key(0).as_deref(), Some(&b"live"[..]), "{mode:?}");
            ks.remove(0, b"live");
            assert_eq!(ks.random_key(0).is_some(), mode == ExpiryMode::Hide, "{mode:?}");
        }
    }
}
