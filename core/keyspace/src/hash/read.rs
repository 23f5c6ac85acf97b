//! A hash as a command sees it: fields whose time is up are hidden, or noted so that they are deleted behind the command.
//! Owns what is hidden where; which commands look and which only count is theirs.

use super::{Hash, HashIter};
use crate::keyspace::Keyspace;
use crate::{DbIndex, ExpiryMode};

/// A hash to read.
#[derive(Clone, Copy)]
pub struct HashRead<'a> {
    hash: &'a Hash,
    keyspace: &'a Keyspace,
    db: DbIndex,
    key: &'a [u8],
}

impl<'a> HashRead<'a> {
    pub(crate) fn new(hash: &'a Hash, keyspace: &'a Keyspace, db: DbIndex, key: &'a [u8]) -> Self {
        HashRead { hash, keyspace, db, key }
    }

    /// A field's value. Where expired keys are deleted, a field that is found expired is too, behind the command.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<&'a [u8]> {
        let value = self.hash.get(field)?;
        if self.hash.times().is_some() && self.is_over(field) {
            self.keyspace.note_field(self.db, self.key, field);
            return None;
        }
        Some(value)
    }

    /// Whether there is such a field; as [`HashRead::get`].
    #[inline]
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Number of fields, those included whose time is up but that nobody met yet, as HLEN counts.
    pub fn count(&self) -> usize {
        self.hash.len()
    }

    /// Number of fields that [`HashRead::iter`] gives.
    pub fn shown(&self) -> usize {
        self.hash.len() - self.hidden()
    }

    fn hidden(&self) -> usize {
        if self.shows_all() { 0 } else { self.hash.passed(self.keyspace.now) }
    }

    fn shows_all(&self) -> bool {
        self.hash.times().is_none() || self.keyspace.mode == ExpiryMode::Ignore
    }

    /// True if a field's time is up and that counts here.
    pub fn is_over(&self, field: &[u8]) -> bool {
        !self.shows_all() && self.hash.has_passed(field, self.keyspace.now)
    }

    /// Fields and values, without those whose time is up.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (me, hides) = (*self, self.hidden() > 0);
        let all: HashIter<'a> = self.hash.iter();
        all.filter(move |(field, _)| !hides || !me.is_over(field))
    }

    /// The field at a position, its time up or not (for random picks).
    pub fn nth(&self, i: usize) -> Option<(&'a [u8], &'a [u8])> {
        self.hash.nth(i)
    }

    /// As [`Hash::scan`], without fields whose time is up.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        let hides = self.hidden() > 0;
        self.hash.scan(cursor, count, |field, value| {
            if !hides || !self.is_over(field) {
                visit(field, value);
            }
        })
    }

    /// A field's deadline: none if there is no such field, `Some(None)` if it has no deadline.
    pub fn deadline(&self, field: &[u8]) -> Option<Option<u64>> {
        (self.hash.contains(field) && !self.is_over(field)).then(|| self.hash.deadline(field))
    }
}
