//! The journal: every effect, once, as RESP, in one in-memory log with a byte offset; readers have cursors. Owns the log,
//! the offsets and what is kept; never waits for a reader and never executes anything.
//!
//! Two counts run side by side. The *offset* is Redis' replication offset: only records for replication move it, byte for
//! byte. The *position* counts every byte in the log, so that records which replicas must not see have a place too. A
//! replica's cursor is an offset; other cursors are positions.

mod cursor;
mod limits;
mod log;
mod unit;

use std::collections::BTreeMap;
use std::task::Waker;

pub use cursor::{CursorClass, CursorId, CursorStatus, Ended, OpenError, Read};
pub use limits::{JournalLimits, Pin, Verdict};
pub use log::Log;
pub use unit::Unit;

use keystead_resp::{Args, write_command};

use crate::effect::{Origin, Targets};
use cursor::Cursor;

/// The journal of one engine.
pub struct Journal {
    log: Log,
    history: u64,
    /// The database the replication stream has selected; None forces a SELECT.
    stream_db: Option<u32>,
    backlog: Option<u64>,
    cursors: BTreeMap<u64, Cursor>,
    next_cursor: u64,
    /// Of those who wait for the end of a cursor that was closed.
    parting: Vec<Waker>,
    limits: JournalLimits,
    /// The position from which on some reader may be beyond its limit.
    look_at: u64,
    /// Where the turn that runs began.
    turn_from: u64,
    /// The data is that of the history at the offset.
    placed: bool,
    /// Something was appended since the wakers were last collected.
    fresh: bool,
    /// Runs a `MULTI` unit may start with, reused.
    scratch: Vec<u8>,
}

impl Default for Journal {
    fn default() -> Self {
        Journal::new()
    }
}

impl Journal {
    /// An empty journal at offset 0 that keeps nothing.
    pub fn new() -> Self {
        Journal {
            log: Log::new(0),
            history: 0,
            stream_db: None,
            backlog: None,
            cursors: BTreeMap::new(),
            next_cursor: 1,
            parting: Vec::new(),
            limits: JournalLimits::default(),
            look_at: 0,
            turn_from: 0,
            placed: true,
            fresh: false,
            scratch: Vec::new(),
        }
    }

    /// The replication offset: that of the last byte of the stream so far.
    pub fn offset(&self) -> u64 {
        self.log.end_offset()
    }

    /// The position behind the last byte: moves with every record, whoever it is for, while anybody reads.
    #[inline]
    pub fn position(&self) -> u64 {
        self.log.end_pos()
    }

    /// Counts `rebase`s; a cursor belongs to one history.
    pub fn history(&self) -> u64 {
        self.history
    }

    /// True if bytes must be kept: somebody reads, or a backlog is wanted.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.backlog.is_some() || !self.cursors.is_empty()
    }

    /// Keeps at least `bytes` of the stream when nobody reads; None keeps nothing.
    pub fn set_backlog(&mut self, bytes: Option<u64>) {
        if self.backlog.is_none() && !self.is_active() {
            // What was never kept can't be asked for: the log starts here.
            self.log.restart(self.offset());
        }
        self.backlog = bytes;
        self.log.set_backlog(bytes);
        self.trim();
    }

    /// The wanted size of the backlog.
    pub fn backlog_size(&self) -> Option<u64> {
        self.backlog
    }

    /// Offset of the first byte that can still be read, and how many follow. Redis counts the first byte as 1.
    pub fn backlog_range(&self) -> (u64, u64) {
        let first = self.log.first_offset();
        (first + 1, self.offset() - first)
    }

    /// Bytes held in memory, what readers have copied among them.
    pub fn memory(&self) -> u64 {
        self.log.memory() + self.cursors.values().map(Cursor::copied).sum::<u64>()
    }

    /// A new history begins. `Some(offset)` starts an empty log there (full resync); None keeps bytes and offset
    /// (promotion: the id changes, the data doesn't). All cursors end either way, but those of files that lose no bytes:
    /// what they have is the data's, whatever it is called.
    pub fn rebase(&mut self, restart: Option<u64>) -> u64 {
        self.history += 1;
        self.placed = true;
        let end = self.log.end_pos();
        for cursor in self.cursors.values_mut().filter(|cursor| !cursor.outlives_rebase(restart.is_some(), end)) {
            cursor.end(Ended::Rebased);
        }
        if let Some(offset) = restart {
            self.log.restart(offset);
        }
        self.stream_db = None;
        self.fresh = true;
        self.history
    }

    /// The keys were replaced by others, and not by records: files must begin anew. Until the next `rebase` nobody knows
    /// which history the data belongs to.
    pub fn data_replaced(&mut self) {
        self.data_lost();
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.is_file()) {
            cursor.end(Ended::Rebased);
        }
    }

    /// The keys are gone, which files shall not learn: they keep what they have.
    pub fn data_lost(&mut self) {
        self.placed = false;
        self.fresh = true;
    }

    /// False while the data belongs to no known history.
    pub fn is_placed(&self) -> bool {
        self.placed
    }

    /// Forces a SELECT before the next record: a snapshot was cut, its reader starts without a database.
    pub fn force_select(&mut self) {
        self.stream_db = None;
    }

    /// Says which database a primary's stream has selected, where that is known from outside the stream.
    pub fn set_stream_db(&mut self, db: Option<u32>) {
        self.stream_db = db;
    }

    /// The database that the stream has selected.
    pub fn stream_db(&self) -> Option<u32> {
        self.stream_db
    }

    /// Appends one effect as a unit of its own.
    #[inline]
    pub fn append(&mut self, db: u32, targets: Targets, origin: Origin, argv: Args<'_>) {
        if !self.is_active() {
            self.log.skip(1);
            return;
        }
        self.select(db, targets, origin);
        self.log.begin(targets, origin, db);
        match argv.encoded() {
            Some(bytes) => self.log.append_bytes(bytes),
            None => write_command(self.log.tail(), argv.iter()),
        }
        self.log.commit();
        self.after_append();
    }

    /// Appends a unit: as it is if it has one record, else between MULTI and EXEC. Leaves it empty.
    pub fn append_unit(&mut self, unit: &mut Unit) {
        if unit.is_empty() {
            return;
        }
        if !self.is_active() {
            self.log.skip(unit.len() as u64);
            unit.clear();
            return;
        }
        let wrap = unit.len() > 1;
        let all = unit.targets();
        if wrap {
            // Without a SELECT: it comes with the first command, so that it belongs to the unit, as since Redis 7.2.
            self.raw_record(all, unit.origin(), unit.first_db(), b"*1\r\n$5\r\nMULTI\r\n");
        }
        for record in unit.records() {
            self.select(record.db, record.targets, record.origin);
            self.raw_record(record.targets, record.origin, record.db, record.bytes);
        }
        if wrap {
            self.raw_record(all, unit.origin(), unit.first_db(), b"*1\r\n$4\r\nEXEC\r\n");
        }
        unit.clear();
        self.after_append();
    }

    /// Appends a record that belongs to no database: PING, REPLCONF GETACK.
    pub fn append_control(&mut self, targets: Targets, argv: &[&[u8]]) {
        if !self.is_active() {
            return;
        }
        self.log.begin(targets, Origin::Internal, 0);
        write_command(self.log.tail(), argv.iter().copied());
        self.log.commit();
        self.after_append();
    }

    /// Appends a primary's raw stream as it came, one or more whole units for the same readers. `db` is what it has
    /// selected at the end.
    pub fn append_stream(&mut self, bytes: &[u8], targets: Targets, db: Option<u32>) {
        let before = self.stream_db.or(db).unwrap_or(0);
        self.stream_db = db;
        if !self.is_active() {
            // Here the offset must be the primary's, whoever reads.
            self.log.skip(bytes.len() as u64);
            return;
        }
        self.log.begin_raw(targets, Origin::Replication, before, db.unwrap_or(before));
        self.log.append_bytes(bytes);
        self.log.commit();
        self.after_append();
    }

    /// Moves the offset without bytes: the stream was received, but nobody keeps it.
    pub fn advance(&mut self, bytes: u64) {
        self.log.skip(bytes);
    }

    fn raw_record(&mut self, targets: Targets, origin: Origin, db: u32, bytes: &[u8]) {
        self.log.begin(targets, origin, db);
        self.log.append_bytes(bytes);
        self.log.commit();
    }

    /// Inserts the replication stream's SELECT. Other readers get theirs when they read.
    #[inline]
    fn select(&mut self, db: u32, targets: Targets, origin: Origin) {
        if self.stream_db != Some(db) && targets.includes(Targets::REPLICATION) {
            self.select_in_stream(db, origin);
        }
    }

    #[cold]
    fn select_in_stream(&mut self, db: u32, origin: Origin) {
        self.stream_db = Some(db);
        self.scratch.clear();
        encode_select(&mut self.scratch, db);
        self.log.begin(Targets::REPLICATION, origin, db);
        let scratch = std::mem::take(&mut self.scratch);
        self.log.append_bytes(&scratch);
        self.scratch = scratch;
        self.log.commit();
    }

    #[inline]
    fn after_append(&mut self) {
        self.fresh = true;
        if self.log.needs_trim() {
            self.trim();
        }
    }

    /// Drops what nobody needs: older than the backlog and before every cursor.
    fn trim(&mut self) {
        let backlog_from = self.backlog.map_or(self.offset(), |size| self.offset().saturating_sub(size));
        let pinned = self.cursors.values().filter(|c| c.ended().is_none()).map(|c| c.pin(&self.log)).min();
        self.log.trim(backlog_from, pinned.unwrap_or(u64::MAX));
    }
}

/// Appends `SELECT db`.
pub fn encode_select(out: &mut Vec<u8>, db: u32) {
    let mut digits = itoa::Buffer::new();
    write_command(out, [b"SELECT".as_slice(), digits.format(db).as_bytes()].into_iter());
}

#[cfg(test)]
mod tests;
