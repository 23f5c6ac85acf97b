//! Readers of the journal. Owns each reader's place, class and end; the log's bytes are in `log.rs`.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::log::Log;
use super::{Journal, encode_select};
use crate::effect::Targets;

/// Names a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorId(pub u64);

/// What a reader is; decides what it sees and what it may pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorClass {
    /// An online replica: the replication stream, bounded by client-output-buffer-limit.
    Replica,
    /// A replica that still receives its snapshot: writers are paced for it before it is dropped.
    SyncingReplica,
    /// An append-only file: never dropped.
    Persistence,
    /// A change feed: told when it fell behind.
    Feed,
}

impl CursorClass {
    fn target(self) -> Targets {
        match self {
            CursorClass::Replica | CursorClass::SyncingReplica => Targets::REPLICATION,
            CursorClass::Persistence => Targets::PERSISTENCE,
            CursorClass::Feed => Targets::FEEDS,
        }
    }

    /// What a reader is called that has no name.
    fn word(self) -> &'static str {
        match self {
            CursorClass::Replica | CursorClass::SyncingReplica => "a replica",
            CursorClass::Persistence => "the append-only file",
            CursorClass::Feed => "a feed",
        }
    }
}

/// Why a cursor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It fell too far behind.
    Overrun,
    /// The history changed under it.
    Rebased,
    /// Nobody knows this cursor (it was closed).
    Closed,
    /// It is where it was told to stop.
    Reached,
}

/// Why a cursor could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// These bytes are no longer kept.
    TooOld,
    /// The offset lies in the future.
    Ahead,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The next bytes, in order.
    Data(Vec<Bytes>),
    /// Nothing new yet: register a waker.
    CaughtUp,
    /// There will never be more.
    Ended(Ended),
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorStatus {
    /// The replication offset up to which it has read.
    pub offset: u64,
    /// The position up to which it has read.
    pub position: u64,
    /// A unit ends there.
    pub unit_end: bool,
    /// The database that the replication stream has selected there, if a unit ends there. None: a SELECT follows.
    pub db: Option<u32>,
    /// Bytes it has yet to read.
    pub lag: u64,
    /// Set when it ended.
    pub ended: Option<Ended>,
}

pub(super) struct Cursor {
    pub(super) class: CursorClass,
    /// What the log calls its reader.
    pub(super) name: Arc<str>,
    pub(super) pos: u64,
    /// Up to where nothing counts against an online replica. What it lacked when it became one doesn't, or it would be dropped
    /// for that again and again, each time it comes back for it; nor does a turn that is larger than the limit.
    pub(super) spared: u64,
    /// Where that begins which it was given last, and may have yet: it stays, so that it is counted, once for all readers.
    lent: u64,
    /// What its reader copies of that.
    copied: u64,
    /// The database its output has selected; only for readers whose SELECTs are made here.
    db: Option<u32>,
    /// The run it read last.
    run: u64,
    /// Nothing behind this position is for it.
    stop: Option<u64>,
    ended: Option<Ended>,
    pub(super) soft_since_ms: Option<u64>,
    /// Writers are paced for it.
    pub(super) paced: bool,
    waker: Option<Waker>,
    /// Woken only when it ends.
    end_waker: Option<Waker>,
}

impl Cursor {
    pub(super) fn end(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    pub(super) fn is_file(&self) -> bool {
        self.class == CursorClass::Persistence
    }

    /// A file's bytes stay true under another name, unless some are lost unread.
    pub(super) fn outlives_rebase(&self, restarts: bool, end: u64) -> bool {
        self.is_file() && (!restarts || self.pos >= end)
    }

    /// What lies before doesn't count against it.
    pub(super) fn counted_from(&self) -> u64 {
        if self.class == CursorClass::Replica { self.pos.max(self.spared) } else { self.pos }
    }

    pub(super) fn pin(&self, log: &Log) -> u64 {
        self.lent.max(log.first_pos())
    }

    pub(super) fn copied(&self) -> u64 {
        self.copied
    }
}

impl Journal {
    /// Opens a reader. `from` is a replication offset: the number of stream bytes it has already; None starts now.
    pub fn open_cursor(&mut self, class: CursorClass, from: Option<u64>) -> Result<CursorId, OpenError> {
        if !self.is_active() {
            self.log.restart(self.offset());
        }
        let pos = match from {
            None => self.log.end_pos(),
            Some(offset) if offset > self.offset() => return Err(OpenError::Ahead),
            Some(offset) => self.log.pos_of(offset).ok_or(OpenError::TooOld)?,
        };
        if pos == self.log.end_pos() && class.target() != Targets::REPLICATION {
            self.log.split();
        }
        let id = self.next_cursor;
        self.next_cursor += 1;
        let cursor = Cursor {
            class,
            name: Arc::from(class.word()),
            pos,
            spared: self.log.end_pos(),
            lent: pos,
            copied: 0,
            db: None,
            run: 0,
            stop: None,
            ended: None,
            soft_since_ms: None,
            paced: false,
            waker: None,
            end_waker: None,
        };
        self.cursors.insert(id, cursor);
        self.look_at = 0;
        Ok(CursorId(id))
    }

    /// A replica finished its sync, or a cursor changes its class otherwise.
    pub fn set_cursor_class(&mut self, id: CursorId, class: CursorClass) {
        if let Some(cursor) = self.cursors.get_mut(&id.0) {
            (cursor.class, cursor.spared) = (class, self.log.end_pos());
            self.look_at = 0;
        }
    }

    /// What the log calls a reader from now on.
    pub fn name_cursor(&mut self, id: CursorId, name: &str) {
        if let Some(cursor) = self.cursors.get_mut(&id.0) {
            cursor.name = Arc::from(name);
        }
    }

    /// Closes a reader; what it pinned may go.
    pub fn close_cursor(&mut self, id: CursorId) {
        if let Some(cursor) = self.cursors.remove(&id.0) {
            self.parting.extend(cursor.end_waker);
            self.fresh = true;
            self.trim();
        }
    }

    /// Reads at most about `max` bytes (at least one piece). Who comes back for more has done with what it got before.
    pub fn read(&mut self, id: CursorId, max: usize) -> Read {
        let Some(cursor) = self.cursors.get_mut(&id.0) else { return Read::Ended(Ended::Closed) };
        if let Some(why) = cursor.ended {
            return Read::Ended(why);
        }
        let returned = std::mem::replace(&mut cursor.lent, cursor.pos) < cursor.pos;
        cursor.copied = 0;
        let mut out = Vec::new();
        let mut room = max.max(1) as u64;
        let end = self.log.end_pos().min(cursor.stop.unwrap_or(u64::MAX));
        while room > 0 && cursor.pos < end {
            let Some((index, run)) = self.log.run_at(cursor.pos) else { break };
            let run_end = self.log.run_end(index).min(end);
            if !run.targets.includes(cursor.class.target()) {
                cursor.pos = run_end;
                continue;
            }
            if cursor.class.target() != Targets::REPLICATION {
                if cursor.db != Some(run.db) && cursor.run != run.serial {
                    let mut select = Vec::with_capacity(24);
                    encode_select(&mut select, run.db);
                    out.push(Bytes::from(select));
                }
                cursor.run = run.serial;
                cursor.db = Some(run.db_after);
            }
            let to = run_end.min(cursor.pos.saturating_add(room));
            self.log.slice(cursor.pos, to, &mut out);
            room -= to - cursor.pos;
            cursor.pos = to;
        }
        if !out.is_empty() {
            return Read::Data(out);
        }
        let reached = cursor.stop.is_some_and(|stop| cursor.pos >= stop);
        if reached {
            cursor.end(Ended::Reached);
            self.fresh = true;
        }
        if returned || reached {
            self.trim();
        }
        if reached { Read::Ended(Ended::Reached) } else { Read::CaughtUp }
    }

    /// A reader copies so many bytes at once of what it was given: they count until it comes back for more.
    pub fn reader_copies(&mut self, id: CursorId, bytes: usize) {
        if let Some(cursor) = self.cursors.get_mut(&id.0) {
            cursor.copied = bytes as u64;
        }
    }

    /// Lets a reader end at a position, which must be the end of a unit: another one goes on from there.
    pub fn stop_cursor_at(&mut self, id: CursorId, position: u64) {
        if let Some(cursor) = self.cursors.get_mut(&id.0) {
            cursor.stop = Some(position);
            self.fresh = true;
        }
    }

    /// Asks to be woken once when there is more to read, or when the cursor ends.
    pub fn register_waker(&mut self, id: CursorId, waker: &Waker) {
        let end = self.log.end_pos();
        let Some(cursor) = self.cursors.get_mut(&id.0) else {
            waker.wake_by_ref();
            return;
        };
        let reached = cursor.stop.is_some_and(|stop| cursor.pos >= stop);
        if cursor.ended.is_some() || cursor.pos < end || reached {
            waker.wake_by_ref();
        } else {
            cursor.waker = Some(waker.clone());
        }
    }

    /// The end of a cursor, if it has one; else asks to be woken once when it comes.
    pub fn end_of(&mut self, id: CursorId, waker: &Waker) -> Option<Ended> {
        let Some(cursor) = self.cursors.get_mut(&id.0) else { return Some(Ended::Closed) };
        if cursor.ended.is_none() {
            cursor.end_waker = Some(waker.clone());
        }
        cursor.ended
    }

    /// The wakers of readers that have something to read; to be woken after the turn.
    pub fn take_wakers(&mut self, out: &mut Vec<Waker>) {
        if !std::mem::take(&mut self.fresh) {
            return;
        }
        out.append(&mut self.parting);
        for cursor in self.cursors.values_mut() {
            out.extend(cursor.waker.take());
            if cursor.ended.is_some() {
                out.extend(cursor.end_waker.take());
            }
        }
    }

    /// Where a reader stands.
    pub fn cursor_status(&self, id: CursorId) -> Option<CursorStatus> {
        let cursor = self.cursors.get(&id.0)?;
        let end = self.log.end_pos();
        Some(CursorStatus {
            offset: self.log.offset_at(cursor.pos),
            position: cursor.pos,
            unit_end: cursor.pos >= end.min(cursor.stop.unwrap_or(end)),
            // Where it stops, the stream may have gone on into another database.
            db: self.log.db_at(cursor.pos).or(self.stream_db),
            lag: end - cursor.pos.min(end),
            ended: cursor.ended,
        })
    }

    /// How many readers of a class are open.
    pub fn cursor_count(&self, class: CursorClass) -> usize {
        self.cursors.values().filter(|cursor| cursor.class == class && cursor.ended.is_none()).count()
    }
}
