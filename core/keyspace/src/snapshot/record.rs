//! One key of a snapshot, cut loose from the keyspace: it may go to another thread and be encoded there.

use std::sync::Arc;

use keystead_rdb::{EncodeOptions, Output, RecordMeta, encode, write_record_head};

use crate::access::Access;
use crate::entry::{Entry, ValueRef};
use crate::evict::Policy;
use crate::keyspace::type_of;
use crate::object::{KeyType, Object};
use crate::{DbIndex, StrRef, UnixMillis};

/// A key, its value and deadline as of a cut. Owns a short value, shares the nodes of a long one.
pub struct RawRecord {
    db: DbIndex,
    entry: Held,
    /// As of when the record was given away.
    used: Option<Used>,
}

/// How a key was used, as files tell it.
#[derive(Clone, Copy)]
enum Used {
    /// Seconds since the last time.
    Idle(u64),
    /// How often, logarithmically.
    Frequency(u8),
}

/// An entry that one cut wanted, or two.
enum Held {
    Alone(Entry),
    Shared(Arc<Entry>),
}

impl RawRecord {
    pub(crate) fn new(db: DbIndex, entry: Entry) -> Self {
        RawRecord { db, entry: Held::Alone(entry), used: None }
    }

    /// One of two records of the same entry, for two cuts.
    pub(crate) fn shared(db: DbIndex, entry: Arc<Entry>) -> Self {
        RawRecord { db, entry: Held::Shared(entry), used: None }
    }

    /// Takes note of how the key is used, if the policy goes by that.
    pub(crate) fn note_use(&mut self, access: &Access, policy: Policy) {
        self.used = match policy {
            policy if policy.lfu() => Some(Used::Frequency(access.frequency(self.entry()))),
            policy if policy.lru() => Some(Used::Idle(access.idle_secs(self.entry()))),
            _ => None,
        };
    }

    fn entry(&self) -> &Entry {
        match &self.entry {
            Held::Alone(entry) => entry,
            Held::Shared(entry) => entry,
        }
    }

    /// The database the key was in at the cut.
    pub fn db(&self) -> DbIndex {
        self.db
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.entry().key()
    }

    /// The deadline.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.entry().deadline().map(UnixMillis)
    }

    /// The type.
    pub fn key_type(&self) -> KeyType {
        type_of(self.entry())
    }

    /// The value, when it is a string.
    pub fn str(&self) -> Option<StrRef<'_>> {
        match self.entry().value() {
            ValueRef::Int(n) => Some(StrRef::Int(n)),
            ValueRef::Inline(bytes) => Some(StrRef::Bytes(bytes)),
            ValueRef::Shared(bytes) => Some(StrRef::Bytes(bytes)),
            ValueRef::Object(_) => None,
        }
    }

    /// The value, when it is a collection.
    pub fn object(&self) -> Option<&Object> {
        self.entry().object()
    }

    /// Bytes the record itself takes, without what it shares.
    pub fn block_bytes(&self) -> usize {
        self.entry().block_bytes()
    }

    /// Appends the record as an RDB file of version 10 has it: deadline, type, key, value. Meant for outside the lock.
    pub fn encode(&self, out: &mut impl Output, options: EncodeOptions) {
        let (idle_s, freq) = match self.used {
            None => (None, None),
            Some(Used::Idle(secs)) => (Some(secs), None),
            Some(Used::Frequency(counter)) => (None, Some(counter)),
        };
        let meta = RecordMeta { expire_ms: self.entry().deadline(), idle_s, freq };
        // The type is known when the value begins.
        let type_at = write_record_head(out.bytes(), &meta, 0, self.entry().key());
        self.encode_value(&mut Typed { out, type_at }, options);
    }

    /// The value as DUMP gives it. Meant for outside the lock.
    pub fn dump(&self, options: EncodeOptions) -> Vec<u8> {
        keystead_rdb::dump_payload_of(|out| self.encode_value(out, options))
    }

    fn encode_value(&self, out: &mut impl Output, options: EncodeOptions) -> u8 {
        match self.entry().value() {
            ValueRef::Int(n) => encode::string(out, n, options),
            ValueRef::Inline(bytes) => encode::string(out, bytes, options),
            ValueRef::Shared(bytes) => encode::string(out, bytes.as_slice(), options),
            ValueRef::Object(object) => object.encode_rdb(out, options),
        }
    }

    /// Bytes of a collection, what it shares included: about what it takes when it is encoded.
    pub fn collection_bytes(&self) -> usize {
        self.object().map_or(0, Object::mem_bytes)
    }
}

/// Puts the value's type into its place in front of the key.
struct Typed<'o, O> {
    out: &'o mut O,
    type_at: usize,
}

impl<O: Output> Output for Typed<'_, O> {
    const PIECEWISE: bool = O::PIECEWISE;

    fn bytes(&mut self) -> &mut Vec<u8> {
        self.out.bytes()
    }

    fn begins(&mut self, rdb_type: u8) {
        let at = self.type_at;
        self.out.bytes()[at] = rdb_type;
    }

    fn element_ends(&mut self) {
        self.out.element_ends();
    }
}
