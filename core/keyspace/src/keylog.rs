//! Lists of (database, key, what happened), kept in one buffer so that adding to one allocates nothing once it is warm.

use crate::DbIndex;
use crate::events::Event;
use crate::object::KeyType;

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It came into being, as something that sessions may wait for.
    Created,
    /// It came into being, as something that nobody waits for: a string, a hash, a set.
    CreatedPlain,
    /// It came into being as something that sessions may wait for, which was told before: it was renamed or moved.
    Brought,
    /// Its value or deadline changed.
    Changed,
    /// Its deadline passed and it was deleted.
    Expired,
    /// Fields of it expired, which the next entries name: only in the log of what expired.
    FieldsOf,
    /// A field that expired, of the hash named last; the entry's key is the field.
    Field,
    /// It was deleted by a command.
    Removed,
    /// It was deleted because a command left its collection empty.
    Emptied,
    /// Nothing that wasn't said before: one more event of the same change.
    Told,
    /// It was deleted to make room.
    Evicted,
    /// Every key of the database was deleted; the entry's key is empty.
    Flushed,
    /// The database changed places with another; the entry's key is empty.
    Swapped,
}

impl Why {
    /// A key of a type came into being.
    pub(crate) fn created(kind: KeyType) -> Why {
        match kind {
            KeyType::List | KeyType::ZSet | KeyType::Stream => Why::Created,
            KeyType::String | KeyType::Hash | KeyType::Set => Why::CreatedPlain,
        }
    }

    /// A key of a type was renamed or moved to where it is now.
    pub(crate) fn brought(kind: KeyType) -> Why {
        match Why::created(kind) {
            Why::Created => Why::Brought,
            _ => Why::Changed,
        }
    }
}

/// One entry of a [`KeyLog`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touched<'a> {
    /// The database.
    pub db: DbIndex,
    /// The key, empty where `why` speaks of a whole database.
    pub key: &'a [u8],
    /// What happened.
    pub why: Why,
    /// What subscribers call it, where the reason alone doesn't say.
    pub event: Option<Event>,
}

/// Something that expired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expired<'a> {
    /// The database.
    pub db: DbIndex,
    /// The key.
    pub key: &'a [u8],
    /// Fields of the key's hash, or none: then the key itself expired.
    pub fields: Vec<&'a [u8]>,
}

struct Item {
    db: u32,
    end: usize,
    why: Why,
    event: Option<Event>,
}

/// A log of touched keys, in order.
#[derive(Default)]
pub struct KeyLog {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// The last item that isn't a field: what the fields behind it are of.
    head: usize,
}

impl KeyLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry.
    pub fn push(&mut self, db: DbIndex, key: &[u8], why: Why) {
        self.push_event(db, key, why, None);
    }

    /// Appends an entry with the name of its event.
    pub fn push_event(&mut self, db: DbIndex, key: &[u8], why: Why, event: Option<Event>) {
        if why != Why::Field {
            self.head = self.items.len();
        }
        self.bytes.extend_from_slice(key);
        self.items.push(Item { db: db as u32, end: self.bytes.len(), why, event });
    }

    /// True if the last entries are fields of this hash.
    pub(crate) fn ends_with_fields_of(&self, db: DbIndex, key: &[u8]) -> bool {
        let Some(item) = self.items.get(self.head) else { return false };
        let start = if self.head == 0 { 0 } else { self.items[self.head - 1].end };
        item.why == Why::FieldsOf && item.db as DbIndex == db && self.bytes[start..item.end] == *key
    }

    /// True when nothing happened.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Forgets everything, keeps the buffers unless they grew large.
    pub fn clear(&mut self) {
        const KEEP_BYTES: usize = 1 << 20;
        self.bytes.clear();
        self.items.clear();
        self.head = 0;
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
            self.items = Vec::new();
        }
    }

    /// The keys that expired, and the hashes with their fields that did, in order.
    pub fn expired(&self) -> impl Iterator<Item = Expired<'_>> {
        let mut items = self.iter().peekable();
        std::iter::from_fn(move || {
            let Touched { db, key, .. } = items.next()?;
            let mut fields = Vec::new();
            while let Some(field) = items.next_if(|next| next.why == Why::Field) {
                fields.push(field.key);
            }
            Some(Expired { db, key, fields })
        })
    }

    /// The entries in the order they happened.
    pub fn iter(&self) -> impl Iterator<Item = Touched<'_>> {
        let mut start = 0;
        self.items.iter().map(move |item| {
            let key = &self.bytes[start..item.end];
            start = item.end;
            Touched { db: item.db as DbIndex, key, why: item.why, event: item.event }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_of_the_hash_named_last() {
        let mut log = KeyLog::new();
        assert!(!log.ends_with_fields_of(0, b"hash"));
        log.push(0, b"key", Why::Expired);
        assert!(!log.ends_with_fields_of(0, b"key"));
        log.push(0, b"hash", Why::FieldsOf);
        for field in [&b"a"[..], b"b"] {
            log.push(0, field, Why::Field);
            assert!(log.ends_with_fields_of(0, b"hash"));
            assert!(!log.ends_with_fields_of(1, b"hash") && !log.ends_with_fields_of(0, b"has"));
        }
        log.push(0, b"other", Why::FieldsOf);
        assert!(log.ends_with_fields_of(0, b"other") && !log.ends_with_fields_of(0, b"hash"));
        log.clear();
        assert!(!log.ends_with_fields_of(0, b"other"));
    }

    /// Looking back over the fields each time took seconds for a hash of 100,000.
    #[test]
    fn asking_whose_fields_they_are_takes_as_long_however_many_there_are() {
        const FIELDS: usize = 500_000;
        let mut log = KeyLog::new();
        log.push(0, b"hash", Why::FieldsOf);
        for _ in 0..FIELDS {
            assert!(log.ends_with_fields_of(0, b"hash"));
            log.push(0, b"field", Why::Field);
        }
        assert_eq!(log.expired().map(|item| item.fields.len()).collect::<Vec<_>>(), [FIELDS]);
    }
}
