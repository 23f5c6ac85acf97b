//! Access to collections: shared references to read, guards to change.
//!
//! A guard lends out the collection mutably. When it goes, it counts the change, logs the touched key, settles the memory
//! count and deletes a collection that became empty. Before it lends anything, open cuts have taken their copy.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::entry::{Entry, Value};
use crate::events::Event;
use crate::keylog::Why;
use crate::keyspace::{Keyspace, WrongType};
use crate::object::Collection;
use crate::table::Place;
use crate::{DbIndex, Hash, HashRead, Limits, List, Set, Stream, ZSet};

/// Whether a guard is wanted for a key that doesn't exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Create {
    /// Make an empty collection; it vanishes again if nothing is put into it.
    Yes,
    /// Answer none.
    No,
}

/// A collection to be changed in place.
pub struct Guard<'a, T: Collection> {
    keyspace: &'a mut Keyspace,
    db: DbIndex,
    at: Place,
    mem_before: usize,
    created: bool,
    changes: Option<u64>,
    of: PhantomData<T>,
}

impl Keyspace {
    /// A collection to read.
    pub fn get<T: Collection>(&self, db: DbIndex, key: &[u8]) -> Result<Option<&T>, WrongType> {
        match self.read(db, key) {
            None => Ok(None),
            Some(entry) => Ok(Some(entry.object().and_then(T::of).ok_or(WrongType)?)),
        }
    }

    /// A collection that this command has found already: neither counted nor told of once more.
    pub fn again<T: Collection>(&self, db: DbIndex, key: &[u8]) -> Option<&T> {
        self.object(db, key).and_then(T::of)
    }

    /// A collection to change.
    pub fn get_mut<T: Collection>(
        &mut self,
        db: DbIndex,
        key: &[u8],
        create: Create,
    ) -> Result<Option<Guard<'_, T>>, WrongType> {
        let (hash, found) = self.locate(db, key);
        let at = match found {
            Some(at) => {
                inside::<T>(self.dbs[db].table.entry(at)).ok_or(WrongType)?;
                self.before_write(db, at);
                at
            }
            None if create == Create::No => return Ok(None),
            None => {
                let entry = Entry::new(key, Value::Object(Box::new(T::empty())), None, self.access.fresh());
                self.insert(db, hash, entry)
            }
        };
        let mem_before = inside(self.dbs[db].table.entry(at)).map_or(0, T::bytes);
        let created = found.is_none();
        Ok(Some(Guard { keyspace: self, db, at, mem_before, created, changes: None, of: PhantomData }))
    }

    /// A list to read.
    pub fn list(&self, db: DbIndex, key: &[u8]) -> Result<Option<&List>, WrongType> {
        self.get(db, key)
    }

    /// A hash to read.
    pub fn hash<'a>(&'a self, db: DbIndex, key: &'a [u8]) -> Result<Option<HashRead<'a>>, WrongType> {
        Ok(self.get(db, key)?.map(|hash| HashRead::new(hash, self, db, key)))
    }

    /// See [`Keyspace::again`].
    pub fn hash_again<'a>(&'a self, db: DbIndex, key: &'a [u8]) -> Option<HashRead<'a>> {
        self.again(db, key).map(|hash| HashRead::new(hash, self, db, key))
    }

    /// A set to read.
    pub fn set(&self, db: DbIndex, key: &[u8]) -> Result<Option<&Set>, WrongType> {
        self.get(db, key)
    }

    /// A sorted set to read.
    pub fn zset(&self, db: DbIndex, key: &[u8]) -> Result<Option<&ZSet>, WrongType> {
        self.get(db, key)
    }

    /// A stream to read.
    pub fn stream(&self, db: DbIndex, key: &[u8]) -> Result<Option<&Stream>, WrongType> {
        self.get(db, key)
    }

    /// A list to change.
    pub fn list_mut(&mut self, db: DbIndex, key: &[u8], create: Create) -> Result<Option<Guard<'_, List>>, WrongType> {
        self.get_mut(db, key, create)
    }

    /// A hash to change.
    pub fn hash_mut(&mut self, db: DbIndex, key: &[u8], create: Create) -> Result<Option<Guard<'_, Hash>>, WrongType> {
        // A field that this command found expired goes before it is written again.
        self.settle_pending();
        self.get_mut(db, key, create)
    }

    /// A set to change.
    pub fn set_mut(&mut self, db: DbIndex, key: &[u8], create: Create) -> Result<Option<Guard<'_, Set>>, WrongType> {
        self.get_mut(db, key, create)
    }

    /// A stream to change.
    pub fn stream_mut(
        &mut self,
        db: DbIndex,
        key: &[u8],
        create: Create,
    ) -> Result<Option<Guard<'_, Stream>>, WrongType> {
        self.get_mut(db, key, create)
    }

    /// A sorted set to change.
    pub fn zset_mut(&mut self, db: DbIndex, key: &[u8], create: Create) -> Result<Option<Guard<'_, ZSet>>, WrongType> {
        self.get_mut(db, key, create)
    }
}

/// The collection that an entry holds, if it is of this type.
#[inline]
fn inside<T: Collection>(entry: &Entry) -> Option<&T> {
    entry.object().and_then(T::of)
}

impl<T: Collection> Guard<'_, T> {
    /// Says that nothing was changed after all: no key is touched, nothing is counted.
    pub fn unchanged(&mut self) {
        self.changes = Some(0);
    }

    /// Says how many elements were changed, for the count of changes; without it a borrowed guard counts as one.
    pub fn changed(&mut self, elements: u64) {
        self.changes = Some(elements);
    }

    /// Says what subscribers call the change, where the running command's own name isn't it.
    pub fn named(&mut self, event: Event) {
        self.keyspace.books.event = Some(event);
    }

    /// The thresholds to pass to the collection.
    pub fn limits(&self) -> Limits {
        self.keyspace.limits
    }

    /// True when the guard made the collection.
    pub fn is_new(&self) -> bool {
        self.created
    }
}

impl<T: Collection> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let entry = self.keyspace.dbs[self.db].table.entry(self.at);
        inside(entry).expect("the type was checked when the guard was made")
    }
}

impl<T: Collection> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changes.get_or_insert(1);
        let entry = self.keyspace.dbs[self.db].table.entry_mut(self.at);
        entry.object_mut().and_then(T::of_mut).expect("the type was checked when the guard was made")
    }
}

impl<T: Collection> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        let Keyspace { dbs, books, access, .. } = &mut *self.keyspace;
        let db = &mut dbs[self.db];
        let entry = db.table.entry(self.at);
        if !self.created {
            access.renew(entry);
        }
        let (bytes, empty) = inside::<T>(entry).map_or((0, true), |it| (it.bytes(), it.is_gone()));
        db.value_bytes = db.value_bytes + bytes - self.mem_before;
        if T::HAS_TIMES && entry.may_have_times() {
            db.table.note_times(self.at);
        }
        let changes = self.changes.unwrap_or(0);
        if changes > 0 {
            books.dirty += changes;
            let why = match (empty, self.created) {
                (true, _) => Why::Emptied,
                (false, true) => Why::created(T::TYPE),
                (false, false) => Why::Changed,
            };
            // An empty collection that this guard made was never there for anybody else.
            if !(empty && self.created) {
                let event = books.event;
                books.touch_as(self.db, db.table.entry(self.at).key(), why, event);
            }
        }
        if empty {
            let entry = self.keyspace.take_at(self.db, self.at);
            self.keyspace.books.garbage.add_entry(entry);
        }
    }
}
