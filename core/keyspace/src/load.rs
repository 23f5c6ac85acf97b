//! Loading: from RDB records to entries, in place or into a shadow that replaces everything in one turn.

use std::borrow::Cow;

use keystead_rdb::{RdbError, Record, types, with_string};

use crate::db::Db;
use crate::entry::{Entry, Value};
use crate::keylog::Why;
use crate::keyspace::{Books, Keyspace, type_of};
use crate::object::Object;
use crate::rdb::{Builder, Built};
use crate::set::as_int;
use crate::{DbIndex, ExpiryMode, Limits, UnixMillis};

/// A decoded record, ready to be put. Decoding needs no keyspace, so it can be done outside the lock.
pub struct Loaded {
    entry: Entry,
    idle_secs: Option<u64>,
    frequency: Option<u8>,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// The key is new.
    Stored,
    /// A key of that name was replaced.
    Replaced,
    /// Its deadline had passed and expired keys are deleted here, so it was left out.
    Expired,
}

impl Loaded {
    /// Decodes a record.
    pub fn decode(limits: Limits, record: &Record<'_>) -> Result<Self, RdbError> {
        let deadline = record.meta.expire_ms;
        let entry = if record.rdb_type == types::STRING {
            with_string(record.value, |bytes| string_entry(&record.key, bytes, deadline))?
        } else {
            entry_of(&record.key, Builder::build(limits, record.rdb_type, record.value)?, deadline)
        };
        Ok(Loaded { entry, idle_secs: record.meta.idle_s, frequency: record.meta.freq })
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.entry.key()
    }

    /// The deadline.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.entry.deadline().map(UnixMillis)
    }
}

fn string_entry(key: &[u8], mut bytes: Cow<'_, [u8]>, deadline: Option<u64>) -> Entry {
    let value = match (as_int(&bytes), &mut bytes) {
        (Some(n), _) => Value::Int(n),
        (None, Cow::Owned(bytes)) => Value::taken_from(bytes),
        (None, Cow::Borrowed(bytes)) => Value::Bytes(bytes),
    };
    Entry::new(key, value, deadline, 0)
}

fn entry_of(key: &[u8], built: Built, deadline: Option<u64>) -> Entry {
    let object = match built {
        Built::Str(bytes) => return string_entry(key, Cow::Owned(bytes), deadline),
        Built::List(list) => Object::List(list),
        Built::Set(set) => Object::Set(set),
        Built::Hash(hash) => Object::Hash(hash),
        Built::ZSet(zset) => Object::ZSet(zset),
        Built::Stream(stream) => Object::Stream(stream),
    };
    Entry::new(key, Value::Object(Box::new(object)), deadline, 0)
}

impl Keyspace {
    /// Decodes and puts a record.
    pub fn put_record(&mut self, db: DbIndex, record: &Record<'_>) -> Result<Put, RdbError> {
        let loaded = Loaded::decode(self.limits, record)?;
        Ok(self.put_loaded(db, loaded))
    }

    /// Puts a decoded record. Where expired keys are deleted (a primary) an expired one is left out; elsewhere it is kept
    /// until its deletion is said.
    pub fn put_loaded(&mut self, db: DbIndex, loaded: Loaded) -> Put {
        let Loaded { entry, idle_secs, frequency } = loaded;
        if self.mode == ExpiryMode::Delete && entry.is_expired(self.now) {
            return Put::Expired;
        }
        entry.set_access(match (self.access.lfu(), frequency, idle_secs) {
            (Some(_), Some(frequency), _) => self.access.with_frequency(frequency),
            (None, _, Some(idle)) => self.access.with_idle(idle),
            _ => self.access.fresh(),
        });
        // Loading is no event: nobody is told of each key that was there before the file was written (`filled` tells of all).
        self.books.dirty += 1;
        let replaced = self.place_entry(db, entry);
        if replaced { Put::Replaced } else { Put::Stored }
    }

    /// Puts a value that was read from a payload, as RESTORE does: whatever has its key is deleted first, so the key comes into
    /// being in any case.
    pub fn restore(&mut self, db: DbIndex, key: &[u8], built: Built, deadline: Option<UnixMillis>) {
        let entry = entry_of(key, built, deadline.map(|at| at.0));
        entry.set_access(self.access.fresh());
        let why = Why::created(type_of(&entry));
        let (hash, old) = self.locate_unasked(db, key);
        if let Some(at) = old {
            self.discard_at(db, at);
        }
        self.insert(db, hash, entry);
        self.books.change(db, key, why);
    }

    /// An empty keyspace with the same settings, to be filled beside this one and then [swapped in](Keyspace::swap_in).
    pub fn shadow(&self) -> Keyspace {
        let seeds = crate::Seeds::default();
        let mut shadow = Keyspace::new(crate::Options { databases: 0, limits: self.limits, seeds });
        shadow.dbs = (0..self.databases()).map(|_| Db::new(self.hashing.clone())).collect();
        shadow.hashing = self.hashing.clone();
        shadow.now = self.now;
        shadow.access = self.access.again();
        shadow.mode = self.mode;
        shadow
    }

    /// Replaces all databases by a shadow's. What was there is garbage once no cut reads it any more.
    pub fn swap_in(&mut self, shadow: Keyspace) {
        let Keyspace { dbs, books: Books { dirty, .. }, .. } = shadow;
        assert_eq!(dbs.len(), self.dbs.len(), "a shadow is made by the keyspace that takes it");
        let old: Vec<Db> = std::mem::replace(&mut self.dbs, dbs);
        for (db, old) in old.into_iter().enumerate() {
            self.cuts.take_db(old, &mut self.books.garbage);
            self.books.touch(db, b"", Why::Flushed);
        }
        self.filled();
        self.books.dirty += dirty;
    }

    /// All that was to be put is here: who watches a key that wasn't there, or waits for one, finds it now.
    pub fn filled(&mut self) {
        (0..self.dbs.len()).for_each(|db| self.books.touch(db, b"", Why::Swapped));
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
