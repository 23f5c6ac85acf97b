//! The bytes of the journal: sealed blocks, a growing tail, and runs that say which bytes are for whom. Owns memory and
//! the arithmetic between positions and offsets; knows no cursor.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::effect::{Origin, Targets};

/// Neighbouring bytes with the same audience and database. A run ends where the next begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Position of its first byte.
    pub(super) pos: u64,
    /// The replication offset before its first byte.
    pub(super) offset: u64,
    pub(super) targets: Targets,
    pub(super) origin: Origin,
    /// The database its first command applies to.
    pub(super) db: u32,
    /// The database after its last byte; differs from `db` only in a raw stream, which carries its own SELECTs.
    pub(super) db_after: u32,
    /// Names the run: its position moves when old bytes are dropped.
    pub(super) serial: u64,
}

impl Run {
    fn counts(&self) -> bool {
        self.targets.includes(Targets::REPLICATION)
    }

    /// The offset at a position inside the run.
    fn offset_at(&self, pos: u64) -> u64 {
        if self.counts() { self.offset + (pos - self.pos) } else { self.offset }
    }
}

struct Block {
    pos: u64,
    bytes: Bytes,
    /// What it takes.
    size: usize,
    /// Some reader was given it.
    shared: bool,
}

/// The log of a journal.
pub struct Log {
    blocks: VecDeque<Block>,
    runs: VecDeque<Run>,
    tail: Vec<u8>,
    tail_pos: u64,
    end_offset: u64,
    /// Tail length when the current record began.
    record_start: usize,
    block_size: usize,
    /// Blocks stay only until their readers have them.
    fleeting: bool,
    sealed: bool,
    held: u64,
    /// Blocks that some reader was given.
    shared: usize,
    /// The next record begins a run, whatever it is.
    split: bool,
    next_serial: u64,
}

/// With the record that fills it, and the slack for that, a block has the allocator's size of 64 KiB.
const MAX_BLOCK: usize = 63 << 10;
const SLACK: usize = 1 << 10;
const MIN_BLOCK: usize = 1 << 10;
/// A tail of this size becomes a block when somebody reads it: ten readers then share it. Smaller ones are copied.
const SHARED: usize = 1 << 10;

impl Log {
    pub(super) fn new(offset: u64) -> Self {
        Log {
            blocks: VecDeque::new(),
            runs: VecDeque::new(),
            tail: Vec::new(),
            tail_pos: 0,
            end_offset: offset,
            record_start: 0,
            block_size: MAX_BLOCK,
            fleeting: true,
            sealed: false,
            held: 0,
            shared: 0,
            split: false,
            next_serial: 0,
        }
    }

    /// Small backlogs get small blocks: at most a sixteenth is kept beyond what was asked for.
    pub(super) fn set_backlog(&mut self, backlog: Option<u64>) {
        self.fleeting = backlog.is_none();
        let Some(backlog) = backlog else { return };
        self.block_size = usize::try_from(backlog / 16).unwrap_or(MAX_BLOCK).clamp(MIN_BLOCK, MAX_BLOCK);
    }

    pub(super) fn end_offset(&self) -> u64 {
        self.end_offset
    }

    pub(super) fn end_pos(&self) -> u64 {
        self.tail_pos + self.tail.len() as u64
    }

    pub(super) fn first_pos(&self) -> u64 {
        self.blocks.front().map_or(self.tail_pos, |block| block.pos)
    }

    pub(super) fn first_offset(&self) -> u64 {
        self.runs.front().map_or(self.end_offset, |run| run.offset)
    }

    pub(super) fn memory(&self) -> u64 {
        /// What a block's bytes take beside themselves once a reader has them.
        const SHARED: usize = 24;
        let blocks = self.blocks.capacity() * size_of::<Block>() + self.shared * SHARED;
        let books = blocks + self.runs.capacity() * size_of::<Run>();
        self.held + (self.tail.capacity() + books) as u64
    }

    /// Forgets everything and goes on at an offset.
    pub(super) fn restart(&mut self, offset: u64) {
        self.tail_pos = self.end_pos();
        self.blocks.clear();
        self.runs.clear();
        self.tail = Vec::new();
        (self.held, self.shared) = (0, 0);
        self.end_offset = offset;
    }

    /// Moves the offset while nothing is kept.
    #[inline]
    pub(super) fn skip(&mut self, bytes: u64) {
        if !self.runs.is_empty() {
            self.restart(self.end_offset);
        }
        self.end_offset += bytes;
    }

    /// Starts a record. Its bytes are then appended to `tail()`, and `commit` counts them.
    #[inline]
    pub(super) fn begin(&mut self, targets: Targets, origin: Origin, db: u32) {
        self.begin_raw(targets, origin, db, db);
    }

    #[inline]
    pub(super) fn begin_raw(&mut self, targets: Targets, origin: Origin, db: u32, db_after: u32) {
        self.record_start = self.tail.len();
        if !self.split
            && let Some(last) = self.runs.back_mut()
            && (last.targets, last.origin, last.db_after) == (targets, origin, db)
        {
            last.db_after = db_after;
            return;
        }
        self.begin_run(targets, origin, db, db_after);
    }

    #[cold]
    fn begin_run(&mut self, targets: Targets, origin: Origin, db: u32, db_after: u32) {
        self.split = false;
        if self.tail.capacity() == 0 {
            self.tail = self.fresh_tail();
        }
        self.next_serial += 1;
        let (pos, offset, serial) = (self.end_pos(), self.end_offset, self.next_serial);
        self.runs.push_back(Run { pos, offset, targets, origin, db, db_after, serial });
    }

    /// Lets the next record begin a run of its own: a reader that starts here knows its database then.
    pub(super) fn split(&mut self) {
        self.split = true;
    }

    #[inline]
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    pub(super) fn append_bytes(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Ends a record: the offset moves if it is for replicas, a full tail becomes a block.
    #[inline]
    pub(super) fn commit(&mut self) {
        let len = (self.tail.len() - self.record_start) as u64;
        if self.runs.back().is_some_and(Run::counts) {
            self.end_offset += len;
        }
        if self.tail.len() >= self.block_size {
            self.seal();
        }
    }

    /// Makes a block of the tail.
    fn seal(&mut self) {
        let (bytes, size) = self.take_tail();
        let pos = self.tail_pos;
        self.tail_pos += bytes.len() as u64;
        self.held += size as u64;
        self.blocks.push_back(Block { pos, bytes, size, shared: false });
        self.sealed = true;
    }

    /// The tail's bytes, and what they take. A block that stays is a copy: as large as its bytes, and the tail's memory stays
    /// warm. One that is gone when the turn's replies leave gets the memory itself, unless half of it is empty or a large record
    /// made it grow: the copy took a fortieth of a SET.
    fn take_tail(&mut self) -> (Bytes, usize) {
        let (len, size) = (self.tail.len(), self.tail.capacity());
        let grown = size > self.block_size + SLACK;
        if self.fleeting && !grown && len >= size / 2 {
            let fresh = self.fresh_tail();
            return (Bytes::from(std::mem::replace(&mut self.tail, fresh)), size);
        }
        let bytes = Bytes::copy_from_slice(&self.tail);
        if grown {
            self.tail = self.fresh_tail();
        }
        self.tail.clear();
        (bytes, len)
    }

    fn fresh_tail(&self) -> Vec<u8> {
        Vec::with_capacity(self.block_size + SLACK)
    }

    /// True once after each sealed block: then it is worth looking for blocks to drop.
    #[inline]
    pub(super) fn needs_trim(&mut self) -> bool {
        std::mem::take(&mut self.sealed)
    }

    /// Drops whole blocks that lie before both the wanted offset and the pinned position.
    pub(super) fn trim(&mut self, keep_offset: u64, pinned: u64) {
        let keep = self.pos_of(keep_offset).unwrap_or_else(|| self.first_pos()).min(pinned);
        if keep >= self.end_pos() {
            self.restart(self.end_offset);
            return;
        }
        let mut dropped = false;
        while let Some(front) = self.blocks.front() {
            let end = front.pos + front.bytes.len() as u64;
            if end > keep {
                break;
            }
            self.held -= front.size as u64;
            self.shared -= usize::from(front.shared);
            self.blocks.pop_front();
            dropped = true;
        }
        if dropped {
            self.cut_runs(self.first_pos());
        }
    }

    fn cut_runs(&mut self, first: u64) {
        while self.runs.len() > 1 && self.runs[1].pos <= first {
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut()
            && run.pos < first
        {
            run.offset = run.offset_at(first);
            run.pos = first;
        }
    }

    /// The run that holds the byte at a position.
    pub(super) fn run_at(&self, pos: u64) -> Option<(usize, &Run)> {
        let index = self.runs.partition_point(|run| run.pos <= pos).checked_sub(1)?;
        self.runs.get(index).map(|run| (index, run))
    }

    /// Where a run ends.
    pub(super) fn run_end(&self, index: usize) -> u64 {
        self.runs.get(index + 1).map_or(self.end_pos(), |next| next.pos)
    }

    /// The replication offset at a position.
    pub(super) fn offset_at(&self, pos: u64) -> u64 {
        if pos >= self.end_pos() {
            return self.end_offset;
        }
        self.run_at(pos).map_or(self.end_offset, |(_, run)| run.offset_at(pos))
    }

    /// The database that the stream has selected at a position where a run begins; None: it didn't go on from there.
    pub(super) fn db_at(&self, pos: u64) -> Option<u32> {
        let behind = self.runs.partition_point(|run| run.pos < pos);
        self.runs.range(behind..).find(|run| run.counts()).map(|run| run.db)
    }

    /// The last position whose offset is the given one, or None if it is not kept.
    pub(super) fn pos_of(&self, offset: u64) -> Option<u64> {
        if offset == self.end_offset {
            return Some(self.end_pos());
        }
        if offset < self.first_offset() || offset > self.end_offset {
            return None;
        }
        let index = self.runs.partition_point(|run| run.offset <= offset).checked_sub(1)?;
        let run = self.runs.get(index)?;
        Some(if run.counts() { run.pos + (offset - run.offset) } else { self.run_end(index) })
    }

    /// Copies or shares the bytes between two positions into `out`.
    pub(super) fn slice(&mut self, from: u64, to: u64, out: &mut Vec<Bytes>) {
        let mut at = from;
        let mut index = self.blocks.partition_point(|block| block.pos + block.bytes.len() as u64 <= at);
        while at < to {
            let Some(block) = self.blocks.get_mut(index) else { break };
            self.shared += usize::from(!std::mem::replace(&mut block.shared, true));
            let start = (at - block.pos) as usize;
            let end = ((to - block.pos) as usize).min(block.bytes.len());
            out.push(block.bytes.slice(start..end));
            at = block.pos + end as u64;
            index += 1;
        }
        if at < to && self.tail.len() >= SHARED {
            self.seal();
            let block = self.blocks.back_mut().expect("the tail just became it");
            (block.shared, self.shared) = (true, self.shared + 1);
            return out.push(block.bytes.slice((at - block.pos) as usize..(to - block.pos) as usize));
        }
        if at < to {
            let start = (at - self.tail_pos) as usize;
            let end = (to - self.tail_pos) as usize;
            out.push(Bytes::copy_from_slice(&self.tail[start..end]));
        }
    }
}
