//! Streams: entries in blocks of at most `stream-node-max-bytes` under a tree, and groups of consumers beside them.
//!
//! A cut takes the roots of the trees; whoever writes copies the nodes on its way and one block. Blocks have Redis' own
//! boundaries, for approximate trimming shows them. Reading never changes a stream; groups are changed in closures, for
//! they are items of a tree.

mod block;
mod departed;
mod group;
mod lag;
mod range;
mod rdb;
mod shelf;
#[cfg(test)]
mod tests;

pub use block::{Entry, Pairs};
pub use group::{Consumer, Deleted, Group, Pending};
pub use keystead_rdb::{StreamCounters, StreamId};
pub use lag::UNKNOWN_READS;
pub use range::{Range, RevRange};
pub(crate) use rdb::Loader;

use crate::limits::Limits;
use crate::tree::Tree;
use block::Block;

/// More than this in one entry is refused.
pub const MAX_ENTRY_BYTES: usize = 1 << 30;

/// No block is filled beyond this, whatever is configured: it is what a write may have to copy for a cut.
const MAX_BLOCK_BYTES: usize = 64 * 1024;

/// Entries in order of their ids, and who reads them in groups.
#[derive(Clone, Default)]
pub struct Stream {
    blocks: Tree<Block>,
    length: u64,
    /// The last id that was given to an entry.
    pub last_id: StreamId,
    /// The largest id that was deleted by name.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
    groups: Tree<Group>,
}

/// What trimming keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// So many entries.
    Newest(u64),
    /// Entries from this id on.
    From(StreamId),
}

/// How trimming is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trim {
    /// What stays.
    pub keep: Keep,
    /// Only whole blocks go.
    pub whole_blocks: bool,
    /// At most so many entries go; 0 is no limit.
    pub limit: u64,
}

impl Stream {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// True without entries. Such a stream goes on to exist.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// `OBJECT ENCODING`
    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    /// Memory held, estimated in O(1).
    pub fn mem_bytes(&self) -> usize {
        size_of::<Self>() + self.blocks.mem_bytes() + self.groups.mem_bytes()
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The way to where the next entry is added, for prefetching; see `Object::way_to_ends`. It ends early in a stream of many
    /// blocks, whose tree is deeper.
    #[inline]
    pub(crate) fn way_to_end(&self, step: usize) -> Option<[*const u8; 2]> {
        let last = || self.blocks.only_leaf()?.last();
        match step {
            0 => self.blocks.root_address().map(|root| [root; 2]),
            1 => last().map(|block| [(&raw const *block).cast(), (&raw const *block).wrapping_add(1).cast()]),
            _ => last()?.way_to_end(step - 2),
        }
    }

    /// The id of the first entry; 0-0 when there is none.
    pub fn first_id(&self) -> StreamId {
        self.iter().next().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// The id of the first entry, or of a deleted one that still lies in front of it.
    pub fn first_place(&self) -> Option<StreamId> {
        Some(self.blocks.get(0)?.entries().next()?.id)
    }

    /// The id of the last entry.
    pub fn top_id(&self) -> Option<StreamId> {
        self.rev_range(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    /// Adds an entry of fields and values in turn. Its id must be above the last one.
    pub fn append(&mut self, id: StreamId, pairs: &[&[u8]], limits: &Limits) {
        debug_assert!(id > self.last_id, "ids ascend");
        let bytes: usize = pairs.iter().map(|part| part.len()).sum();
        let mut done = false;
        if let Some(last) = self.blocks.len().checked_sub(1) {
            self.blocks.update_at(last, |block| {
                done = block.pack().len() + bytes < limits.stream_block_bytes()
                    && (limits.stream_entries == 0 || block.ever() < limits.stream_entries as u64);
                if done { block.append(id, pairs) } else { block.close() }
            });
        }
        if !done {
            shelf::store(&mut self.blocks);
            self.blocks.push_back(Block::begin(id, pairs));
        }
        self.length += 1;
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
    }

    /// Deletes an entry; false if it isn't there.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let at = self.block_of(id);
        if self.get(id).is_none() {
            return false;
        }
        let mut left = 0;
        self.blocks.update_at(at, |block| {
            block.delete(id);
            left = block.live();
        });
        if left == 0 {
            self.blocks.remove_at(at);
        }
        self.length -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        true
    }

    /// Deletes entries from the front; answers how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let (blocks, mut deleted, more) = self.whole_blocks(trim);
        self.blocks.keep_range(blocks, self.blocks.len());
        self.length -= deleted;
        if more && !trim.whole_blocks {
            let mut gone = 0;
            let length = self.length;
            self.blocks.update_at(0, |block| {
                gone = match trim.keep {
                    Keep::Newest(count) => block.delete_front(length.saturating_sub(count), StreamId::MAX),
                    Keep::From(first) => block.delete_front(u64::MAX, first),
                };
            });
            self.length -= gone;
            deleted += gone;
        }
        deleted
    }

    /// How many whole blocks go and the entries in them, and whether something of the next one should go.
    fn whole_blocks(&self, trim: Trim) -> (usize, u64, bool) {
        let (mut blocks, mut deleted) = (0, 0);
        for block in self.blocks.iter() {
            let (live, left) = (block.live(), self.length - deleted);
            let within_limit = trim.limit == 0 || deleted + live <= trim.limit;
            let (needed, whole) = match trim.keep {
                Keep::Newest(count) => (left > count, left >= live.saturating_add(count)),
                Keep::From(first) => (true, block.last_id() < first),
            };
            if !needed || !within_limit {
                return (blocks, deleted, false);
            }
            if !whole {
                return (blocks, deleted, true);
            }
            blocks += 1;
            deleted += live;
        }
        (blocks, deleted, false)
    }

    /// What is remembered beside the entries.
    pub fn counters(&self) -> StreamCounters {
        StreamCounters {
            length: self.length,
            last_id: self.last_id,
            first_id: self.first_id(),
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        }
    }
}

impl Limits {
    fn stream_block_bytes(&self) -> usize {
        if self.stream_bytes == 0 { MAX_BLOCK_BYTES } else { self.stream_bytes.min(MAX_BLOCK_BYTES) }
    }
}
