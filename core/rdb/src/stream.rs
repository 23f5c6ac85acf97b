//! Streams: their parts as neutral data, the form of their blocks, reading and writing them.
//!
//! A block is a listpack. In front stands what its entries share, then come the entries, deleted ones included:
//! ```text
//! live deleted n field-1 … field-n 0
//! flags ms seq [n field-1] value-1 … [field-n] value-n size      (fields only without the flag SAME_FIELDS)
//! ```
//! `ms` and `seq` are counted from the block's own id, which isn't in the listpack; `size` is the number of elements in
//! front of it, for those who walk backward.

use crate::encode::EncodeOptions;
use crate::prim::{Reader, put_len, put_plain, put_text};
use crate::{Elem, Output, RdbError, ValueSink, listpack, types};

/// An entry with this flag is deleted.
pub const DELETED: i64 = 1;
/// An entry with this flag has the block's fields and doesn't repeat them.
pub const SAME_FIELDS: i64 = 2;

/// The name and place of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct StreamId {
    /// Milliseconds, mostly of the time when it was added.
    pub ms: u64,
    /// Which of that millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The smallest; no entry has it.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The largest.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// An id.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The next larger one.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The next smaller one.
    pub fn prev(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// The id as files have it: big endian, so that bytes compare as ids do.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { ms: (both >> 64) as u64, seq: both as u64 }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What a stream remembers beside its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamCounters {
    /// Entries that are there.
    pub length: u64,
    /// The last id that was given.
    pub last_id: StreamId,
    /// The id of the first entry that is there.
    pub first_id: StreamId,
    /// The largest id that was deleted by name.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
}

/// A part of a stream, in the order in which files have them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum StreamPart<'a> {
    /// A block of entries: its id and its listpack, which was checked.
    Block(StreamId, &'a [u8]),
    /// Comes once, behind the blocks.
    Counters(StreamCounters),
    /// A group of consumers: name, last id delivered, and how many entries it has read. That is none where the format is
    /// older than the number, and -1 where it isn't known.
    Group(Elem<'a>, StreamId, Option<i64>),
    /// An entry that the group delivered and that waits for its acknowledgement: when (Unix ms), and how often.
    Pending(StreamId, i64, u64),
    /// A consumer of the group: name, when it was seen, when it last got something (-1 never).
    Consumer(Elem<'a>, i64, i64),
    /// A pending entry of the group that the consumer has.
    Owned(StreamId),
}

/// Visits the parts of a stream. Each block is checked by itself; how parts fit together is the sink's to check.
pub(crate) fn decode(rdb_type: u8, reader: &mut Reader<'_>, sink: &mut impl ValueSink) -> Result<(), RdbError> {
    let blocks = reader.count()?;
    for _ in 0..blocks {
        let id = reader.text()?.elem().with_bytes(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let id = StreamId::from_bytes(id.ok_or(RdbError::Corrupt("stream block without an id"))?);
        let text = reader.text()?;
        check_block(id, text.blob()?)?;
        sink.stream(StreamPart::Block(id, text.blob()?))?;
    }
    let mut counters = StreamCounters { length: reader.count()?, last_id: read_id(reader)?, ..Default::default() };
    if rdb_type == types::STREAM_LISTPACKS {
        counters.entries_added = counters.length;
    } else {
        counters.first_id = read_id(reader)?;
        counters.max_deleted_id = read_id(reader)?;
        counters.entries_added = reader.count()?;
    }
    sink.stream(StreamPart::Counters(counters))?;
    for _ in 0..reader.count()? {
        decode_group(rdb_type, reader, sink)?;
    }
    Ok(())
}

fn decode_group(rdb_type: u8, reader: &mut Reader<'_>, sink: &mut impl ValueSink) -> Result<(), RdbError> {
    let name = reader.text()?;
    let last_id = read_id(reader)?;
    let read = if rdb_type == types::STREAM_LISTPACKS { None } else { Some(reader.count()? as i64) };
    sink.stream(StreamPart::Group(name.elem(), last_id, read))?;
    for _ in 0..reader.count()? {
        let id = StreamId::from_bytes(reader.array()?);
        let at = i64::from_le_bytes(reader.array()?);
        sink.stream(StreamPart::Pending(id, at, reader.count()?))?;
    }
    for _ in 0..reader.count()? {
        let name = reader.text()?;
        let seen = i64::from_le_bytes(reader.array()?);
        // Before 7.2 nothing better was known.
        let active = if rdb_type == types::STREAM_LISTPACKS_3 { i64::from_le_bytes(reader.array()?) } else { seen };
        sink.stream(StreamPart::Consumer(name.elem(), seen, active))?;
        for _ in 0..reader.count()? {
            sink.stream(StreamPart::Owned(StreamId::from_bytes(reader.array()?)))?;
        }
    }
    Ok(())
}

fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, RdbError> {
    Ok(StreamId { ms: reader.count()?, seq: reader.count()? })
}

const BAD_BLOCK: RdbError = RdbError::Corrupt("stream block of the wrong form");

/// A block's listpack, read once from front to end.
struct Check<'a> {
    pack: &'a [u8],
    at: usize,
}

impl Check<'_> {
    fn int(&mut self) -> Result<i64, RdbError> {
        let (value, next) = listpack::get_int(self.pack, self.at).ok_or(BAD_BLOCK)?;
        self.at = next;
        Ok(value)
    }

    fn skip(&mut self, elements: i64) -> Result<(), RdbError> {
        for _ in 0..elements {
            self.at = listpack::get(self.pack, self.at).ok_or(BAD_BLOCK)?.1;
        }
        Ok(())
    }
}

/// A block is good when its counts are right, and its ids ascend from its own id on.
fn check_block(id: StreamId, pack: &[u8]) -> Result<(), RdbError> {
    listpack::visit(pack, |_| Ok(()))?;
    let mut check = Check { pack, at: listpack::FIRST };
    let counts = (check.int()?, check.int()?);
    let shared = check.int()?;
    check.skip(shared)?;
    let terminator = check.int()?;
    if shared < 0 || terminator != 0 {
        return Err(BAD_BLOCK);
    }
    let (mut live, mut deleted, mut last) = (0, 0, None);
    while check.at < listpack::end(pack) {
        let flags = check.int()?;
        let entry = add(id, check.int()?, check.int()?);
        if entry < id || last.is_some_and(|last| entry <= last) {
            return Err(RdbError::Corrupt("stream entries out of order"));
        }
        last = Some(entry);
        let elements = if flags & SAME_FIELDS != 0 {
            check.skip(shared)?;
            shared.checked_add(3)
        } else {
            let fields = check.int()?;
            let both = fields.checked_mul(2).filter(|both| *both >= 0).ok_or(BAD_BLOCK)?;
            check.skip(both)?;
            both.checked_add(4)
        };
        if Some(check.int()?) != elements {
            return Err(BAD_BLOCK);
        }
        if flags & DELETED != 0 { deleted += 1 } else { live += 1 }
    }
    if counts == (live, deleted) && last.is_some() { Ok(()) } else { Err(BAD_BLOCK) }
}

/// An entry's id from its block's and the differences.
pub fn add(block: StreamId, ms: i64, seq: i64) -> StreamId {
    StreamId { ms: block.ms.wrapping_add(ms as u64), seq: block.seq.wrapping_add(seq as u64) }
}

/// Writes a stream, part by part. The counts of what follows stand in front of it, so the caller tells them.
pub struct StreamWriter<'o, O> {
    out: &'o mut O,
    options: EncodeOptions,
}

impl<'o, O: Output> StreamWriter<'o, O> {
    /// Begins a stream of so many blocks.
    pub fn begin(out: &'o mut O, blocks: usize, options: EncodeOptions) -> Self {
        let writer = Self { out, options };
        writer.out.begins(writer.rdb_type());
        put_len(writer.out.bytes(), blocks as u64);
        writer
    }

    /// The type number: what the version asked for knows.
    pub fn rdb_type(&self) -> u8 {
        if self.options.version >= 11 { types::STREAM_LISTPACKS_3 } else { types::STREAM_LISTPACKS_2 }
    }

    /// A block and its listpack.
    pub fn block(&mut self, id: StreamId, pack: &[u8]) {
        put_plain(self.out.bytes(), &id.to_bytes());
        put_text(self.out.bytes(), Elem::Bytes(pack), self.options.compress);
        self.out.element_ends();
    }

    /// What stands behind the blocks; so many groups follow.
    pub fn counters(&mut self, counters: &StreamCounters, groups: usize) {
        put_len(self.out.bytes(), counters.length);
        for id in [counters.last_id, counters.first_id, counters.max_deleted_id] {
            self.lens(id);
        }
        put_len(self.out.bytes(), counters.entries_added);
        put_len(self.out.bytes(), groups as u64);
    }

    /// A group; so many pending entries follow.
    pub fn group(&mut self, name: &[u8], last_id: StreamId, entries_read: i64, pending: usize) {
        put_text(self.out.bytes(), Elem::Bytes(name), self.options.compress);
        self.lens(last_id);
        put_len(self.out.bytes(), entries_read as u64);
        put_len(self.out.bytes(), pending as u64);
    }

    /// A pending entry of the group.
    pub fn pending(&mut self, id: StreamId, delivered_ms: i64, deliveries: u64) {
        self.out.bytes().extend_from_slice(&id.to_bytes());
        self.out.bytes().extend_from_slice(&delivered_ms.to_le_bytes());
        put_len(self.out.bytes(), deliveries);
        self.out.element_ends();
    }

    /// So many consumers follow.
    pub fn consumers(&mut self, count: usize) {
        put_len(self.out.bytes(), count as u64);
    }

    /// A consumer; so many pending entries follow.
    pub fn consumer(&mut self, name: &[u8], seen_ms: i64, active_ms: i64, owned: usize) {
        put_text(self.out.bytes(), Elem::Bytes(name), self.options.compress);
        self.out.bytes().extend_from_slice(&seen_ms.to_le_bytes());
        if self.rdb_type() == types::STREAM_LISTPACKS_3 {
            self.out.bytes().extend_from_slice(&active_ms.to_le_bytes());
        }
        put_len(self.out.bytes(), owned as u64);
    }

    /// A pending entry that the consumer has.
    pub fn owned(&mut self, id: StreamId) {
        self.out.bytes().extend_from_slice(&id.to_bytes());
        self.out.element_ends();
    }

    fn lens(&mut self, id: StreamId) {
        put_len(self.out.bytes(), id.ms);
        put_len(self.out.bytes(), id.seq);
    }
}
