//! Values too big to be freed inside a turn. The keyspace fills a bag, its caller drops it where nobody waits.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::{Entry, Payload};
use crate::snapshot::RawRecord;
use crate::stream::Group;
use crate::table::Table;

/// Freeing more than this many bytes is left to the caller.
const BIG_BYTES: usize = 16 * 1024;

/// Things to be dropped outside the lock. Dropping it is all there is to do.
#[derive(Default)]
pub struct Garbage {
    entries: Vec<Entry>,
    payloads: Vec<Payload>,
    tables: Vec<Arc<Table>>,
    records: Vec<VecDeque<RawRecord>>,
    groups: Vec<Group>,
    bytes: usize,
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
        self.entries.len() + self.payloads.len() + self.tables.len() + self.records.len() + self.groups.len()
    }

    pub(crate) fn add_entry(&mut self, entry: Entry) {
        let bytes = entry.mem_bytes();
        if bytes > BIG_BYTES {
            self.bytes += bytes;
            self.entries.push(entry);
        }
    }

    pub(crate) fn add_payload(&mut self, payload: Payload) {
        let bytes = match &payload {
            Payload::Shared(bytes) => bytes.capacity(),
            Payload::Object(object) => object.mem_bytes(),
        };
        if bytes > BIG_BYTES {
            self.bytes += bytes;
            self.payloads.push(payload);
        }
    }

    pub(crate) fn add_group(&mut self, group: Group) {
        self.groups.push(group);
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
