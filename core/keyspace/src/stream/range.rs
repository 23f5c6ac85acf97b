//! Entries of a stream between two ids, in either direction; deleted ones are passed over. Never changes anything.

use keystead_rdb::StreamId;

use super::Stream;
use super::block::{Block, Entries, Entry};
use crate::tree::Iter;

/// Entries in ascending order.
pub struct Range<'a> {
    blocks: Iter<'a, Block>,
    entries: Option<Entries<'a>>,
    from: StreamId,
    to: StreamId,
}

/// Entries in descending order.
pub struct RevRange<'a>(Range<'a>);

impl Stream {
    /// The block in which an id is, if it is anywhere.
    pub(super) fn block_of(&self, id: StreamId) -> usize {
        self.blocks.rank_where(|first| *first <= id).saturating_sub(1)
    }

    /// The entries from one id to another, both included.
    pub fn range(&self, from: StreamId, to: StreamId) -> Range<'_> {
        Range { blocks: self.blocks.iter_from(self.block_of(from)), entries: None, from, to }
    }

    /// The same from the last to the first.
    pub fn rev_range(&self, from: StreamId, to: StreamId) -> RevRange<'_> {
        RevRange(Range { blocks: self.blocks.rev_from(self.block_of(to)), entries: None, from, to })
    }

    /// All entries.
    pub fn iter(&self) -> Range<'_> {
        self.range(StreamId::MIN, StreamId::MAX)
    }

    /// One entry.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let Some(entries) = &mut self.entries else {
                self.entries = Some(self.blocks.next()?.entries());
                continue;
            };
            match entries.next() {
                None => self.entries = None,
                Some(entry) if entry.id > self.to => return None,
                Some(entry) if entry.id >= self.from && entry.is_live() => return Some(entry),
                Some(_) => {}
            }
        }
    }
}

impl<'a> Iterator for RevRange<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let Some(entries) = &mut self.0.entries else {
                self.0.entries = Some(self.0.blocks.next()?.entries());
                continue;
            };
            match entries.next_back() {
                None => self.0.entries = None,
                Some(entry) if entry.id < self.0.from => return None,
                Some(entry) if entry.id <= self.0.to && entry.is_live() => return Some(entry),
                Some(_) => {}
            }
        }
    }
}
