//! Values too big to be freed inside a turn. The keyspace fills a bag, its caller drops it where nobody waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::entry::{Entry, Payload, ValueRef};
use crate::snapshot::RawRecord;
use crate::stream::Group;
use crate::table::Table;
use crate::tree::Item;

/// Freeing a value of many parts that takes more bytes than this is left to the caller.
const BIG_BYTES: usize = 16 * 1024;
/// The same for bytes in one piece: freeing those is one call to the allocator, which costs less than to wake a thread for it.
const BIG_PIECE: usize = 1024 * 1024;

/// Keys whose values are being freed, and were. Shared between whoever shows them and the bags on their way.
#[derive(Debug, Default)]
pub struct Freed {
    /// Handed over, not freed yet.
    pub pending: AtomicU64,
    /// Bytes handed over and not freed yet, of whatever it is.
    pub pending_bytes: AtomicU64,
    /// Freed.
    pub done: AtomicU64,
}

/// Counts when it is dropped.
struct Counted {
    keys: u64,
    bytes: u64,
    freed: Arc<Freed>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.freed.pending.fetch_sub(self.keys, Ordering::Relaxed);
        self.freed.pending_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.freed.done.fetch_add(self.keys, Ordering::Relaxed);
    }
}

/// Things to be dropped outside the lock. Dropping it is all there is to do.
#[derive(Default)]
pub struct Garbage {
    entries: Vec<Entry>,
    payloads: Vec<Payload>,
    tables: Vec<Arc<Table>>,
    records: Vec<VecDeque<RawRecord>>,
    groups: Vec<Group>,
    foreign: Vec<Box<dyn Send>>,
    bytes: usize,
    /// The last field: it is dropped when everything else is gone.
    counted: Option<Counted>,
}

impl Garbage {
    /// True when there is nothing to free.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the values and databases.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many values and databases wait.
    pub fn len(&self) -> usize {
        let of_keys = self.entries.len() + self.payloads.len() + self.tables.len();
        of_keys + self.records.len() + self.groups.len() + self.foreign.len()
    }

    /// Something large that isn't the keyspace's.
    pub fn add_foreign(&mut self, thing: impl Send + 'static) {
        self.foreign.push(Box::new(thing));
    }

    /// Keys with values to be freed; of a database all of them.
    fn keys(&self) -> u64 {
        let tables: usize = self.tables.iter().map(|table| table.len()).sum();
        (self.entries.len() + self.payloads.len() + tables) as u64
    }

    /// The keys and bytes in it count as pending until it is dropped, and the keys as freed from then on.
    #[must_use]
    pub fn counted_by(mut self, freed: &Arc<Freed>) -> Garbage {
        let (keys, bytes) = (self.keys(), self.bytes as u64);
        freed.pending.fetch_add(keys, Ordering::Relaxed);
        freed.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.counted = Some(Counted { keys, bytes, freed: freed.clone() });
        self
    }

    pub(crate) fn add_entry(&mut self, entry: Entry) {
        let bytes = entry.mem_bytes();
        let parts = matches!(entry.value(), ValueRef::Object(_));
        if bytes > if parts { BIG_BYTES } else { BIG_PIECE } {
            self.bytes += bytes;
            self.entries.push(entry);
        }
    }

    pub(crate) fn add_payload(&mut self, payload: Payload) {
        let (bytes, limit) = match &payload {
            Payload::Shared(bytes) => (bytes.capacity(), BIG_PIECE),
            Payload::Object(object) => (object.mem_bytes(), BIG_BYTES),
        };
        if bytes > limit {
            self.bytes += bytes;
            self.payloads.push(payload);
        }
    }

    pub(crate) fn add_group(&mut self, group: Group) {
        if group.heap_bytes() > BIG_BYTES {
            self.groups.push(group);
        }
    }

    /// `bytes`: what goes with it, unless a cut still reads it.
    pub(crate) fn add_table(&mut self, table: Arc<Table>, bytes: usize) {
        self.bytes += bytes;
        self.tables.push(table);
    }

    pub(crate) fn add_records(&mut self, records: VecDeque<RawRecord>) {
        if !records.is_empty() {
            self.records.push(records);
        }
    }
}
