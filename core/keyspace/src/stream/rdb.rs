//! Streams to RDB and back. Writing reads a clone outside every lock; loading checks that the parts fit together, so that
//! what it builds can be trusted as if it had grown here.

use std::sync::Arc;

use keystead_rdb::stream::StreamWriter;
use keystead_rdb::{EncodeOptions, Output, RdbError, StreamId, StreamPart};

use super::block::Block;
use super::group::{Consumer, Group, Pending};
use super::{Stream, UNKNOWN_READS, shelf};

impl Stream {
    /// Appends the value's bytes and gives its type number.
    pub fn encode_rdb(&self, out: &mut impl Output, options: EncodeOptions) -> u8 {
        let mut writer = StreamWriter::begin(out, self.blocks.len(), options);
        self.blocks.iter().for_each(|block| writer.block(block.id(), block.pack()));
        writer.counters(&self.counters(), self.groups.len());
        for group in self.groups.iter() {
            writer.group(group.name(), group.last_id, group.entries_read, group.pending());
            group.pending_from(StreamId::MIN).for_each(|it| writer.pending(it.id, it.delivered_ms, it.deliveries));
            writer.consumers(group.consumers.len());
            for consumer in group.consumers.iter() {
                writer.consumer(consumer.name(), consumer.seen_ms, consumer.active_ms, consumer.owned.len());
                consumer.owned.iter().for_each(|id| writer.owned(*id));
            }
        }
        writer.rdb_type()
    }
}

/// Puts a stream together from its parts.
pub(crate) struct Loader {
    stream: Stream,
    group: Option<Group>,
    consumer: Option<Consumer>,
    /// Pending entries of the group that no consumer has named yet.
    unowned: usize,
    /// Stands for their owner.
    nobody: Arc<[u8]>,
}

fn check(right: bool, what: &'static str) -> Result<(), RdbError> {
    if right { Ok(()) } else { Err(RdbError::Corrupt(what)) }
}

impl Loader {
    pub(crate) fn new() -> Self {
        Self { stream: Stream::new(), group: None, consumer: None, unowned: 0, nobody: Arc::from(&b""[..]) }
    }

    /// Takes the next part.
    pub(crate) fn take(&mut self, part: StreamPart<'_>) -> Result<(), RdbError> {
        match part {
            StreamPart::Block(id, pack) => self.block(Block::from_file(id, pack)),
            StreamPart::Counters(counters) => {
                check(counters.length == self.stream.length, "stream of the wrong length")?;
                let last = self.stream.blocks.get(self.stream.blocks.len().wrapping_sub(1)).map(Block::last_id);
                check(last.is_none_or(|last| last <= counters.last_id), "stream entry above the last id")?;
                self.stream.last_id = counters.last_id;
                self.stream.max_deleted_id = counters.max_deleted_id;
                self.stream.entries_added = counters.entries_added;
                Ok(())
            }
            StreamPart::Group(name, last_id, reads) => {
                self.end_group()?;
                let reads = reads.unwrap_or_else(|| self.stream.reads_up_to(last_id));
                self.group = Some(name.with_bytes(|name| Group::new(name, last_id, reads.max(UNKNOWN_READS))));
                Ok(())
            }
            StreamPart::Pending(id, delivered_ms, deliveries) => {
                let Some(group) = &mut self.group else { return Err(RdbError::Empty) };
                let pending = Pending { id, delivered_ms, deliveries, owner: Arc::clone(&self.nobody) };
                self.unowned += 1;
                check(group.pending.upsert_by(|key| key.cmp(&id), pending).is_none(), "entry twice pending in a group")
            }
            StreamPart::Consumer(name, seen_ms, active_ms) => {
                self.end_consumer()?;
                let mut consumer = name.with_bytes(|name| Consumer::new(name, seen_ms));
                consumer.active_ms = active_ms;
                self.consumer = Some(consumer);
                Ok(())
            }
            StreamPart::Owned(id) => self.owned(id),
        }
    }

    fn block(&mut self, block: Block) -> Result<(), RdbError> {
        let last = self.stream.blocks.get(self.stream.blocks.len().wrapping_sub(1)).map(Block::last_id);
        check(last.is_none_or(|last| last < block.id()), "stream blocks out of order")?;
        self.stream.length += block.live();
        self.stream.blocks.push_back(block);
        shelf::store(&mut self.stream.blocks);
        Ok(())
    }

    fn owned(&mut self, id: StreamId) -> Result<(), RdbError> {
        let (Some(group), Some(consumer)) = (&mut self.group, &mut self.consumer) else { return Err(RdbError::Empty) };
        let (owner, nobody) = (crate::tree::Item::key(consumer), &self.nobody);
        let mut free = false;
        group.pending.update_by(
            |key| key.cmp(&id),
            |pending| {
                free = Arc::ptr_eq(&pending.owner, nobody);
                pending.owner = Arc::clone(owner);
            },
        );
        self.unowned -= usize::from(free);
        consumer.owned.insert_by(|key| key.cmp(&id), id);
        check(free, "consumer's entry is not pending, or another's")
    }

    fn end_consumer(&mut self) -> Result<(), RdbError> {
        let (Some(group), Some(consumer)) = (&mut self.group, self.consumer.take()) else { return Ok(()) };
        check(group.consumer(consumer.name()).is_none(), "consumer twice in a group")?;
        let name = Arc::clone(crate::tree::Item::key(&consumer));
        group.consumers.insert_by(|key| key.cmp(&name), consumer);
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), RdbError> {
        self.end_consumer()?;
        let Some(group) = self.group.take() else { return Ok(()) };
        check(self.unowned == 0, "pending entry without a consumer")?;
        check(self.stream.add_group(group), "group twice in a stream")
    }

    /// The stream.
    pub(crate) fn finish(mut self) -> Result<Stream, RdbError> {
        self.end_group()?;
        Ok(self.stream)
    }
}
