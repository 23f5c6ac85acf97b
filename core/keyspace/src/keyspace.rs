//! The keyspace: numbered databases, lookups, and the primitives all mutations are made of.
//!
//! Every mutation goes through here, so this is where a cut gets its copies first, where touched and expired keys are
//! logged and where memory is counted. Reads take `&self`, so a command may hold several values at once. The clock is
//! what [`Keyspace::set_now`] said last. Never reads a clock, never draws from the system's randomness, never blocks.

use std::cell::{Cell, RefCell};

use crate::access::Access;
use crate::db::Db;
use crate::entry::{Entry, Kind, Payload};
use crate::events::Event;
use crate::evict::{Policy, Pool};
use crate::garbage::Garbage;
use crate::groups::Untidy;
use crate::keylog::{KeyLog, Why};
use crate::limits::Limits;
use crate::object::{KeyType, Object};
use crate::snapshot::Cuts;
use crate::stream::Group;
use crate::table::{Hashing, Place};
use crate::{DbIndex, ExpiryMode, Options, Seeds, UnixMillis};

/// The keys of all databases.
pub struct Keyspace {
    pub(crate) dbs: Vec<Db>,
    pub(crate) hashing: Hashing,
    pub(crate) now: u64,
    pub(crate) access: Access,
    pub(crate) pool: Pool,
    pub(crate) pool_of: Policy,
    /// `maxmemory-policy`
    pub(crate) policy: Policy,
    /// The database that gives the next key chosen at random.
    pub(crate) evict_hand: usize,
    pub(crate) mode: ExpiryMode,
    pub(crate) limits: Limits,
    pub(crate) books: Books,
    pub(crate) cuts: Cuts,
    /// Expired keys that reads came across; deleted by [`Keyspace::swap_expired`].
    pending_expired: RefCell<KeyLog>,
    pub(crate) untidy: Vec<Untidy>,
    /// Keys that reads didn't find, kept only while somebody wants to know.
    missed: RefCell<KeyLog>,
    log_misses: bool,
    reader: bool,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

/// What mutations keep book about.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) dirty: u64,
    /// FLUSHALLs.
    pub(crate) flushes: u64,
    pub(crate) observing: bool,
    pub(crate) touched: KeyLog,
    /// What subscribers call the changes of the running command.
    pub(crate) event: Option<Event>,
    pub(crate) expired: KeyLog,
    pub(crate) expired_total: u64,
    pub(crate) expired_fields_total: u64,
    pub(crate) evicted_total: u64,
    pub(crate) garbage: Garbage,
}

/// The key is of another type than the command wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongType;

impl std::fmt::Display for WrongType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
    }
}

impl std::error::Error for WrongType {}

impl Books {
    pub(crate) fn touch(&mut self, db: DbIndex, key: &[u8], why: Why) {
        self.touch_as(db, key, why, None);
    }

    pub(crate) fn touch_as(&mut self, db: DbIndex, key: &[u8], why: Why, event: Option<Event>) {
        if self.observing {
            self.touched.push_event(db, key, why, event);
        }
    }

    /// Counts one change of a value and logs it under the running command's event.
    pub(crate) fn change(&mut self, db: DbIndex, key: &[u8], why: Why) {
        self.dirty += 1;
        self.touch_as(db, key, why, self.event);
    }

    /// Counts a deletion and logs it.
    pub(crate) fn gone(&mut self, db: DbIndex, key: &[u8], why: Why) {
        self.dirty += 1;
        self.touch(db, key, why);
    }

    pub(crate) fn discard(&mut self, payload: Option<Payload>) {
        if let Some(payload) = payload {
            self.garbage.add_payload(payload);
        }
    }
}

impl Keyspace {
    /// An empty keyspace.
    pub fn new(options: Options) -> Self {
        let Seeds { keys, second, dice } = options.seeds;
        let hashing = Hashing::new(keys, second);
        Keyspace {
            dbs: (0..options.databases).map(|_| Db::new(hashing.clone())).collect(),
            hashing,
            now: 0,
            access: Access::new(dice),
            pool: Pool::default(),
            pool_of: Policy::default(),
            policy: Policy::default(),
            evict_hand: 0,
            mode: ExpiryMode::Delete,
            limits: options.limits,
            books: Books::default(),
            cuts: Cuts::default(),
            pending_expired: RefCell::default(),
            untidy: Vec::new(),
            missed: RefCell::default(),
            log_misses: false,
            reader: true,
            hits: Cell::new(0),
            misses: Cell::new(0),
        }
    }

    /// Freezes the clock at `now` until the next call.
    pub fn set_now(&mut self, now: UnixMillis) {
        self.set_clocks(now, now.0);
    }

    /// The same where somebody may set the time of day: idle times and frequencies go by a clock that only goes on.
    pub fn set_clocks(&mut self, now: UnixMillis, steady_ms: u64) {
        self.now = now.0;
        self.access.set_now(steady_ms);
    }

    /// The frozen clock.
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.now)
    }

    /// What lookups do with expired keys from now on. Cheap: an engine sets it around a command's execution.
    pub fn set_expiry_mode(&mut self, mode: ExpiryMode) {
        self.mode = mode;
    }

    /// What lookups do with expired keys.
    pub fn expiry_mode(&self) -> ExpiryMode {
        self.mode
    }

    /// The thresholds of the compact forms.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets the thresholds; collections change form when they next grow.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether reads and writes renew a key's time of access (CLIENT NO-TOUCH turns it off). A key that is made is fresh.
    pub fn note_uses(&mut self, on: bool) {
        self.access.set_notes(on);
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// Keys in a database, expired ones that nobody met yet included, as DBSIZE counts.
    pub fn len(&self, db: DbIndex) -> usize {
        self.dbs[db].table.len()
    }

    /// True when no database has a key.
    pub fn is_empty(&self) -> bool {
        self.dbs.iter().all(|db| db.table.len() == 0)
    }

    /// Keys with a deadline in a database.
    pub fn len_with_deadline(&self, db: DbIndex) -> usize {
        self.dbs[db].table.with_deadline()
    }

    /// Changes since the start; only ever grows.
    pub fn dirty(&self) -> u64 {
        self.books.dirty
    }

    /// How many times somebody emptied all of it by command: a load isn't counted.
    pub fn flushes(&self) -> u64 {
        self.books.flushes
    }

    /// FLUSHALL was carried out.
    pub fn count_flush(&mut self) {
        self.books.flushes += 1;
    }

    /// Adds to the count of changes, for commands that count elements as Redis does.
    pub fn add_dirty(&mut self, n: u64) {
        self.books.dirty += n;
    }

    /// Says how many changes a command of several steps made since the count was `before`.
    pub fn recount(&mut self, before: u64, changes: u64) {
        self.books.dirty = before + changes;
    }

    /// Reads that found a key, and that didn't, since the start.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.get(), self.misses.get())
    }

    /// Keys deleted because their deadline passed, since the start.
    pub fn expired_total(&self) -> u64 {
        self.books.expired_total
    }

    /// Hashes in a database of which fields have deadlines.
    pub fn len_with_times(&self, db: DbIndex) -> usize {
        self.dbs[db].table.with_times()
    }

    /// True if a hash of any database has fields with deadlines: then only RDB version 12 can carry the data.
    pub fn has_times(&self) -> bool {
        self.dbs.iter().any(|db| db.table.with_times() > 0)
    }

    /// Fields of hashes deleted because their deadlines passed, since the start.
    pub fn expired_fields_total(&self) -> u64 {
        self.books.expired_fields_total
    }

    /// Counts fields that a command deleted because the deadline it gave them lay in the past.
    pub fn count_expired_fields(&mut self, fields: usize) {
        self.books.expired_fields_total += fields as u64;
    }

    /// Bytes of keys, values and tables, without the allocator's overhead.
    pub fn mem_bytes(&self) -> usize {
        self.dbs.iter().map(|db| db.value_bytes + db.table.mem_bytes()).sum()
    }

    /// Bytes of a database's table, without its keys and values.
    pub fn table_bytes(&self, db: DbIndex) -> usize {
        self.dbs.get(db).map_or(0, |db| db.table.mem_bytes())
    }

    /// Turns the log of touched keys on or off. Off, a change costs one addition.
    pub fn observe(&mut self, on: bool) {
        self.books.observing = on;
    }

    /// A command begins: what subscribers call its changes, and whether its lookups count as hits and misses (a writer's
    /// don't).
    #[inline]
    pub fn begin_command(&mut self, event: Option<Event>, reader: bool) {
        self.books.event = event;
        self.reader = reader;
        self.access.begin_command();
    }

    /// Whether lookups count as hits and misses from now on.
    pub fn count_lookups(&mut self, counts: bool) {
        self.reader = counts;
    }

    /// What subscribers call changes from now on; none means that they are not told.
    #[inline]
    pub fn name_changes(&mut self, event: Option<Event>) {
        self.books.event = event;
    }

    /// One more event for a key, beside the change that was logged.
    pub fn tell(&mut self, db: DbIndex, key: &[u8], event: Event) {
        self.books.touch_as(db, key, Why::Told, Some(event));
    }

    /// Who watches or caches a key is told that it changed, though nothing did: some commands of Redis signal it so.
    pub fn signal(&mut self, db: DbIndex, key: &[u8]) {
        self.books.touch_as(db, key, Why::Changed, self.books.event);
    }

    /// Turns the log of keys that reads didn't find on or off.
    pub fn observe_misses(&mut self, on: bool) {
        self.log_misses = on;
    }

    /// Exchanges the log of keys that reads didn't find with an empty one.
    pub fn swap_missed(&mut self, log: &mut KeyLog) {
        log.clear();
        std::mem::swap(self.missed.get_mut(), log);
    }

    /// Exchanges the log of touched keys with an empty one.
    pub fn swap_touched(&mut self, log: &mut KeyLog) {
        log.clear();
        std::mem::swap(&mut self.books.touched, log);
    }

    /// True when keys expired since the last [`Keyspace::swap_expired`].
    pub fn has_expired(&self) -> bool {
        !self.books.expired.is_empty() || !self.pending_expired.borrow().is_empty()
    }

    /// Deletes the expired keys that reads came across and exchanges the log of all expired keys with an empty one. To be
    /// called after every command, so that their deletion is journaled in front of the command's own effect.
    pub fn swap_expired(&mut self, log: &mut KeyLog) {
        log.clear();
        self.settle_pending();
        std::mem::swap(&mut self.books.expired, log);
    }

    /// Deletes the expired keys and fields that reads came across.
    #[inline]
    pub(crate) fn settle_pending(&mut self) {
        if !self.pending_expired.get_mut().is_empty() {
            self.delete_pending();
        }
    }

    fn delete_pending(&mut self) {
        let pending = std::mem::take(self.pending_expired.get_mut());
        for item in pending.expired() {
            if item.fields.is_empty() {
                self.locate(item.db, item.key);
            } else {
                self.delete_expired_fields(item.db, item.key, &item.fields);
            }
        }
    }

    /// A read found a key expired: where those are deleted, it goes with the next settling.
    pub(crate) fn note_expired(&self, db: DbIndex, key: &[u8]) {
        if self.mode == ExpiryMode::Delete {
            self.pending_expired.borrow_mut().push(db, key, Why::Expired);
        }
    }

    /// A read found a field's time up: where expired keys are deleted, it goes with the next settling.
    pub(crate) fn note_field(&self, db: DbIndex, key: &[u8], field: &[u8]) {
        if self.mode != ExpiryMode::Delete {
            return;
        }
        let mut pending = self.pending_expired.borrow_mut();
        if !pending.ends_with_fields_of(db, key) {
            pending.push(db, key, Why::FieldsOf);
        }
        pending.push(db, field, Why::Field);
    }

    /// Leaves a stream's former group to [`Keyspace::take_garbage`]: much may be pending in it.
    pub fn discard_group(&mut self, group: Group) {
        self.books.garbage.add_group(group);
    }

    /// Leaves a collection that is nowhere any more to [`Keyspace::take_garbage`].
    pub fn discard(&mut self, object: Object) {
        self.books.garbage.add_payload(Payload::Object(Box::new(object)));
    }

    /// What must be freed outside the lock.
    pub fn take_garbage(&mut self) -> Garbage {
        std::mem::take(&mut self.books.garbage)
    }

    /// Bytes of what waits to be freed.
    pub fn garbage_bytes(&self) -> usize {
        self.books.garbage.bytes()
    }

    /// True while a cut is read: the process then holds copies that are not part of the data.
    pub fn has_cut(&self) -> bool {
        self.cuts.any()
    }

    /// A lookup for reading: counts, renews the access time, hides or notes expired keys.
    #[inline]
    pub(crate) fn read(&self, db: DbIndex, key: &[u8]) -> Option<&Entry> {
        let found = self.peek(db, key);
        match found {
            Some(entry) => {
                self.count(true);
                self.access.renew(entry);
            }
            None => {
                self.count(false);
                self.missed(db, key);
            }
        }
        found
    }

    /// A lookup that counts but renews nothing, for questions about the key and not for its value.
    pub(crate) fn ask(&self, db: DbIndex, key: &[u8]) -> Option<&Entry> {
        let found = self.peek(db, key);
        self.count(found.is_some());
        if found.is_none() {
            self.missed(db, key);
        }
        found
    }

    /// `keyspace_hits` and `keyspace_misses`, which are of readers only.
    #[inline]
    pub(crate) fn count(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.set(counter.get() + u64::from(self.reader));
    }

    pub(crate) fn missed(&self, db: DbIndex, key: &[u8]) {
        if self.log_misses && self.reader {
            self.missed.borrow_mut().push_event(db, key, Why::Told, Some(Event::KEYMISS));
        }
    }

    /// A lookup that leaves no trace at all.
    pub(crate) fn unexpired(&self, db: DbIndex, key: &[u8]) -> Option<&Entry> {
        let table = &self.dbs[db].table;
        let entry = table.get(table.hash(key), key)?;
        (self.mode == ExpiryMode::Ignore || !entry.is_expired(self.now)).then_some(entry)
    }

    /// A lookup that leaves no trace but the note that a key expired.
    #[inline]
    pub(crate) fn peek(&self, db: DbIndex, key: &[u8]) -> Option<&Entry> {
        let table = &self.dbs[db].table;
        let entry = table.get(table.hash(key), key)?;
        if self.mode != ExpiryMode::Ignore && entry.is_expired(self.now) {
            if self.mode == ExpiryMode::Delete {
                self.pending_expired.borrow_mut().push(db, key, Why::Expired);
            }
            return None;
        }
        Some(entry)
    }

    /// A lookup for writing: the key's hash and place; an expired key is deleted and logged.
    pub(crate) fn locate(&mut self, db: DbIndex, key: &[u8]) -> (u64, Option<Place>) {
        let table = &self.dbs[db].table;
        let hash = table.hash(key);
        let Some(at) = table.find(hash, key) else { return (hash, None) };
        if self.mode != ExpiryMode::Ignore && table.entry(at).is_expired(self.now) {
            self.delete_met(db, hash, key);
            return (hash, None);
        }
        (hash, Some(at))
    }

    /// A writer met an expired key. What reads came across goes first: later they would find a new key there and take it for
    /// the old one, should its time be up as well.
    #[cold]
    fn delete_met(&mut self, db: DbIndex, hash: u64, key: &[u8]) {
        self.settle_pending();
        let table = &self.dbs[db].table;
        if let Some(at) = table.find(hash, key) {
            self.delete_expired(db, at);
        }
    }

    /// As [`Keyspace::locate`]; finding the key is a use of it.
    pub(crate) fn locate_used(&mut self, db: DbIndex, key: &[u8]) -> (u64, Option<Place>) {
        let (hash, found) = self.locate(db, key);
        if let Some(at) = found {
            self.access.renew(self.dbs[db].table.entry(at));
        }
        (hash, found)
    }

    pub(crate) fn delete_expired(&mut self, db: DbIndex, at: Place) {
        let entry = self.take_at(db, at);
        self.books.expired.push(db, entry.key(), Why::Expired);
        self.books.expired_total += 1;
        // Redis counts no change where a time was up.
        self.books.touch(db, entry.key(), Why::Expired);
        self.books.garbage.add_entry(entry);
    }

    /// Must run before anything in a bucket changes: open cuts take their copies.
    #[inline]
    pub(crate) fn before_write(&mut self, db: DbIndex, at: Place) {
        if self.cuts.any() {
            self.cuts.take_bucket(&mut self.dbs[db], at.segment as usize, at.bucket as usize);
        }
    }

    /// Puts an entry whose key is absent. `hash` is its key's.
    pub(crate) fn insert(&mut self, db: DbIndex, hash: u64, entry: Entry) -> Place {
        let at = loop {
            if let Some(at) = self.dbs[db].table.room(hash, entry.key()) {
                break at;
            }
            if self.cuts.any() {
                self.cuts.take_segment(&mut self.dbs[db], hash);
            }
            self.dbs[db].table.grow(hash);
        };
        self.before_write(db, at);
        let db = &mut self.dbs[db];
        db.value_bytes += entry.mem_bytes();
        db.table.put(at, hash, entry);
        at
    }

    /// Takes an entry out, for deletion or for another place. All places are void after it.
    pub(crate) fn take_at(&mut self, db: DbIndex, at: Place) -> Entry {
        self.before_write(db, at);
        let db = &mut self.dbs[db];
        let entry = db.table.remove(at);
        db.value_bytes -= entry.mem_bytes();
        let segment = at.segment as usize;
        if let Some(partner) = db.table.partner(segment) {
            self.cuts.take_whole(db, segment);
            self.cuts.take_whole(db, partner);
            db.table.merge(segment, partner);
        } else {
            db.table.drop_empty_annex(segment);
        }
        entry
    }

    /// Changes an entry in place and keeps the books; cuts first.
    pub(crate) fn change_at<R>(&mut self, db: DbIndex, at: Place, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.before_write(db, at);
        let access = &self.access;
        let Db { table, value_bytes, .. } = &mut self.dbs[db];
        table.change(at, |entry| {
            *value_bytes -= entry.mem_bytes();
            let result = change(entry);
            access.renew(entry);
            *value_bytes += entry.mem_bytes();
            result
        })
    }

    pub(crate) fn random_u64(&mut self) -> u64 {
        self.access.random_u64()
    }
}

pub(crate) fn type_of(entry: &Entry) -> KeyType {
    match (entry.kind(), entry.object()) {
        (Kind::Object, Some(object)) => object.key_type(),
        _ => KeyType::String,
    }
}

#[cfg(test)]
#[path = "keyspace_tests.rs"]
mod tests;
