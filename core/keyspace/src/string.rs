//! Strings: read, set and changed in place. An integer in its canonical spelling is kept as an integer.

use std::borrow::Cow;

use crate::entry::{Entry, Value, ValueRef};
use crate::keylog::Why;
use crate::keyspace::{Keyspace, WrongType};
use crate::set::as_int;
use crate::table::Place;
use crate::{DbIndex, UnixMillis};

/// A string as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StrRef<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// An integer.
    Int(i64),
}

impl<'a> StrRef<'a> {
    /// The string's bytes; `buf` holds the digits of an integer.
    #[inline]
    pub fn text<'b>(&self, buf: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            StrRef::Bytes(bytes) => bytes,
            StrRef::Int(n) => buf.format(n).as_bytes(),
        }
    }

    /// The string's bytes, copied only for an integer.
    pub fn to_cow(&self) -> Cow<'a, [u8]> {
        match *self {
            StrRef::Bytes(bytes) => Cow::Borrowed(bytes),
            StrRef::Int(n) => Cow::Owned(itoa::Buffer::new().format(n).as_bytes().to_vec()),
        }
    }

    /// The string's length in bytes.
    pub fn len(&self) -> usize {
        self.text(&mut itoa::Buffer::new()).len()
    }

    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        matches!(self, StrRef::Bytes(bytes) if bytes.is_empty())
    }

    /// The string's value when it is an integer in canonical spelling.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            StrRef::Int(n) => Some(n),
            StrRef::Bytes(bytes) => as_int(bytes),
        }
    }
}

/// A string to store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StrInput<'a> {
    /// Bytes; stored as an integer when they spell one.
    Bytes(&'a [u8]),
    /// Bytes that stay bytes, whatever they spell.
    Text(&'a [u8]),
    /// An integer.
    Int(i64),
}

impl<'a> StrInput<'a> {
    fn value(self) -> Value<'a> {
        match self {
            StrInput::Int(n) => Value::Int(n),
            StrInput::Text(bytes) => Value::Bytes(bytes),
            StrInput::Bytes(bytes) => match as_int(bytes) {
                Some(n) => Value::Int(n),
                None => Value::Bytes(bytes),
            },
        }
    }
}

impl<'a> From<&'a [u8]> for StrInput<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        StrInput::Bytes(bytes)
    }
}

impl From<i64> for StrInput<'_> {
    fn from(n: i64) -> Self {
        StrInput::Int(n)
    }
}

/// What becomes of a key's deadline when its value is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// It stays.
    Keep,
    /// It is removed.
    Clear,
    /// It is this.
    At(UnixMillis),
}

/// Why a value could not be incremented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IncrError {
    /// The key is no string.
    WrongType,
    /// The string spells no integer.
    NotAnInteger,
    /// The result would not fit 64 bits.
    Overflow,
}

/// Room behind a string longer than this, when it is made in place or grows: what comes next mustn't copy all of it, nor need
/// as much memory again. Redis leaves as much.
const AHEAD: usize = 1024 * 1024;

/// A long string grows by at least this share of what it has: a byte that comes then costs the same at any length.
const GROWTH: usize = 8;

/// The room that a string of this length is to have, of which it has some.
fn room(len: usize, has: usize) -> usize {
    if len > AHEAD { (len + AHEAD).max(has + has / GROWTH) } else { len }
}

/// Makes room up to a length. Short strings are left to double.
fn make_room(bytes: &mut Vec<u8>, len: usize) {
    let has = bytes.capacity();
    if len > has.max(AHEAD) {
        bytes.reserve_exact(room(len, has) - bytes.len());
    }
}

fn str_of(entry: &Entry) -> Result<StrRef<'_>, WrongType> {
    match entry.value() {
        ValueRef::Int(n) => Ok(StrRef::Int(n)),
        ValueRef::Inline(bytes) => Ok(StrRef::Bytes(bytes)),
        ValueRef::Shared(bytes) => Ok(StrRef::Bytes(bytes)),
        ValueRef::Object(_) => Err(WrongType),
    }
}

impl Keyspace {
    /// The string under a key.
    #[inline]
    pub fn get_str(&self, db: DbIndex, key: &[u8]) -> Result<Option<StrRef<'_>>, WrongType> {
        self.read(db, key).map(str_of).transpose()
    }

    /// Sets a key to a string, whatever it was before.
    pub fn set_str<'a>(&mut self, db: DbIndex, key: &[u8], input: impl Into<StrInput<'a>>, ttl: Ttl) {
        self.set_value(db, key, input.into().value(), false, ttl);
    }

    /// Sets a key to bytes that stay bytes, made as a long string is (OBJECT ENCODING says "raw"), and without a deadline.
    pub fn set_raw(&mut self, db: DbIndex, key: &[u8], mut bytes: Vec<u8>) {
        self.set_value(db, key, Value::taken_from(&mut bytes), true, Ttl::Clear);
    }

    fn set_value(&mut self, db: DbIndex, key: &[u8], value: Value<'_>, raw: bool, ttl: Ttl) {
        let (hash, found) = self.locate(db, key);
        let deadline = match (ttl, found) {
            (Ttl::At(at), _) => Some(at.0),
            (Ttl::Keep, Some(at)) => self.dbs[db].table.entry(at).deadline(),
            _ => None,
        };
        match found {
            Some(at) => {
                let old = self.change_at(db, at, |entry| {
                    let old = entry.replace(value, deadline);
                    if raw {
                        entry.set_raw(true);
                    }
                    old
                });
                self.books.discard(old);
                self.books.change(db, key, Why::Changed);
            }
            None => {
                let mut entry = Entry::new(key, value, deadline, self.access.fresh());
                if raw {
                    entry.set_raw(true);
                }
                self.insert(db, hash, entry);
                self.books.change(db, key, Why::CreatedPlain);
            }
        }
    }

    /// Adds to the integer under a key (0 when there is none) and answers the sum. The deadline stays.
    pub fn incr_by(&mut self, db: DbIndex, key: &[u8], delta: i64) -> Result<i64, IncrError> {
        let (hash, found) = self.locate(db, key);
        let Some(at) = found else {
            self.insert(db, hash, Entry::new(key, Value::Int(delta), None, self.access.fresh()));
            self.books.change(db, key, Why::CreatedPlain);
            return Ok(delta);
        };
        let old = str_of(self.dbs[db].table.entry(at)).map_err(|_| IncrError::WrongType)?;
        let old = old.as_int().ok_or(IncrError::NotAnInteger)?;
        let sum = old.checked_add(delta).ok_or(IncrError::Overflow)?;
        self.before_write(db, at);
        // An integer over an integer changes neither memory nor deadline: no books to keep.
        let entry = self.dbs[db].table.entry_mut(at);
        if entry.put_int(sum) {
            self.access.renew(entry);
        } else {
            self.change_at(db, at, |entry| {
                let deadline = entry.deadline();
                entry.replace(Value::Int(sum), deadline);
            });
        }
        self.books.change(db, key, Why::Changed);
        Ok(sum)
    }

    /// Appends to the string under a key, made when there is none; answers its new length. The deadline stays.
    pub fn append(&mut self, db: DbIndex, key: &[u8], bytes: &[u8]) -> Result<usize, WrongType> {
        match self.locate(db, key) {
            (_, Some(at)) => self.edit(db, key, at, |old| {
                make_room(old, old.len() + bytes.len());
                old.extend_from_slice(bytes);
            }),
            (hash, None) => {
                self.insert(db, hash, Entry::new(key, StrInput::Bytes(bytes).value(), None, self.access.fresh()));
                self.books.change(db, key, Why::CreatedPlain);
                Ok(bytes.len())
            }
        }
    }

    /// Overwrites a part of the string under a key, with zero bytes up to `offset` where it is shorter; answers its new
    /// length. Nothing happens when `bytes` is empty. The deadline stays.
    pub fn set_range(&mut self, db: DbIndex, key: &[u8], offset: usize, bytes: &[u8]) -> Result<usize, WrongType> {
        let (hash, found) = self.locate(db, key);
        let Some(at) = found else {
            if bytes.is_empty() {
                return Ok(0);
            }
            // Zeros as the allocator has them, before the bytes: a long string is made once, at its full length.
            let len = offset + bytes.len();
            let mut value = vec![0; room(len, 0)];
            value.truncate(len);
            value[offset..].copy_from_slice(bytes);
            return Ok(self.create_raw(db, key, hash, value));
        };
        let old = str_of(self.dbs[db].table.entry(at))?.len();
        if bytes.is_empty() {
            return Ok(old);
        }
        let end = offset + bytes.len();
        self.edit(db, key, at, |value| {
            if value.len() < end {
                make_room(value, end);
                value.resize(end, 0);
            }
            value[offset..end].copy_from_slice(bytes);
        })
    }

    /// Changes the string under a key by editing its bytes, made when there is none. The deadline stays.
    pub fn edit_str(&mut self, db: DbIndex, key: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Result<(), WrongType> {
        let (hash, found) = self.locate(db, key);
        if let Some(at) = found {
            return self.edit(db, key, at, edit).map(drop);
        }
        let mut value = Vec::new();
        edit(&mut value);
        self.create_raw(db, key, hash, value);
        Ok(())
    }

    /// Puts a string under a key that isn't there; answers its length.
    fn create_raw(&mut self, db: DbIndex, key: &[u8], hash: u64, mut value: Vec<u8>) -> usize {
        let len = value.len();
        let mut entry = Entry::new(key, Value::taken_from(&mut value), None, self.access.fresh());
        entry.set_raw(true);
        self.insert(db, hash, entry);
        self.books.change(db, key, Why::CreatedPlain);
        len
    }

    /// Changes a string that exists by editing its bytes; answers its new length. Long strings are edited in place.
    fn edit(
        &mut self,
        db: DbIndex,
        key: &[u8],
        at: Place,
        edit: impl FnOnce(&mut Vec<u8>),
    ) -> Result<usize, WrongType> {
        let old = str_of(self.dbs[db].table.entry(at))?;
        let mut scratch = match self.dbs[db].table.entry(at).value() {
            ValueRef::Shared(_) => Vec::new(),
            _ => old.to_cow().into_owned(),
        };
        let len = self.change_at(db, at, |entry| {
            let len = match entry.shared_mut() {
                Some(bytes) => {
                    edit(bytes);
                    bytes.len()
                }
                None => {
                    edit(&mut scratch);
                    let (len, deadline) = (scratch.len(), entry.deadline());
                    entry.replace(Value::taken_from(&mut scratch), deadline);
                    len
                }
            };
            entry.set_raw(true);
            len
        });
        self.books.change(db, key, Why::Changed);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn a_long_string_grows_in_place_and_by_a_little() {
        const LEN: usize = 20 << 20;
        let at = |ks: &Keyspace| ks.get_str(0, b"k").unwrap().unwrap().to_cow().as_ptr();
        let mut ks = Keyspace::new(Options::default());
        ks.set_range(0, b"k", LEN - 1, b"x").unwrap();
        let (made, held) = (at(&ks), ks.mem_bytes());
        assert!(ks.mem_usage(0, b"k").unwrap() < LEN + (2 << 20));
        for _ in 0..1000 {
            ks.append(0, b"k", &[b'a'; 1000]).unwrap();
        }
        assert_eq!((at(&ks), ks.mem_bytes()), (made, held), "it has room for the first megabyte");
        // However it grows it is copied a few times only.
        let mut copies = 0;
        for n in 0..LEN / 100_000 {
            let before = at(&ks);
            match n % 2 {
                0 => ks.append(0, b"k", &[b'a'; 100_000]).unwrap(),
                _ => ks.set_range(0, b"k", LEN + 1_000_000 + n * 100_000, &[b'a'; 100_000]).unwrap(),
            };
            copies += usize::from(at(&ks) != before);
            let len = ks.get_str(0, b"k").unwrap().unwrap().len();
            let slack = ks.mem_usage(0, b"k").unwrap() - len;
            assert!(slack < len / 8 + (1 << 20), "{slack} of {len}");
        }
        assert!((1..8).contains(&copies), "{copies}");
        // From nothing much to a long one.
        ks.set_str(0, b"short", &b"text"[..], Ttl::Clear);
        ks.set_range(0, b"short", LEN - 1, b"x").unwrap();
        assert!(ks.mem_usage(0, b"short").unwrap() < LEN + (2 << 20));
    }
}
