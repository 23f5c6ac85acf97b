//! Finding where a record ends in a buffer that still grows, without decoding: amortised O(n), no memory of its own.

use crate::prim::Reader;
use crate::scan_stream::StreamPlace;
use crate::types::{OP_EXPIRETIME, OP_EXPIRETIME_MS, OP_FREQ, OP_IDLE};
use crate::{Kind, RdbError, types};

/// What [`RecordScanner::scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// The record goes on behind the buffer's end.
    Need,
    /// The record is so many bytes long.
    Record(usize),
}

/// Resumable search for the end of one record. The buffer must begin at the record's first byte every time, until
/// [`Scan::Record`] came back; it may move and grow.
#[derive(Debug, Clone)]
pub struct RecordScanner {
    /// Everything before this is passed.
    pos: usize,
    state: State,
    max_string: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before the type: expiry, idle time and frequency may come.
    Head,
    /// The type is known, the key comes.
    Key(u8),
    /// Within a stream.
    Stream(StreamPlace),
    /// A time comes, and behind it a value like one of this type.
    Time(u8),
    /// The value's element count comes.
    Count(&'static [Part]),
    /// Elements that are left, and which part of the current one comes.
    Parts { parts: &'static [Part], part: usize, left: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Text,
    Length,
    ScoreText,
    Score,
}

impl Default for RecordScanner {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl RecordScanner {
    /// A scanner for records whose strings take at most `max_string` bytes.
    pub fn new(max_string: u64) -> Self {
        Self { pos: 0, state: State::Head, max_string }
    }

    /// A scanner for a value alone.
    pub fn value(rdb_type: u8, max_string: u64) -> Result<Self, RdbError> {
        Ok(Self { pos: 0, state: value_state(rdb_type)?, max_string })
    }

    /// Goes on where the last call ended. After an error the scanner is of no more use.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Scan, RdbError> {
        loop {
            if let State::Parts { left: 0, .. } = self.state {
                let len = self.pos;
                *self = Self::new(self.max_string);
                return Ok(Scan::Record(len));
            }
            let mut reader = Reader::new(buf.get(self.pos..).unwrap_or(&[]));
            match self.step(&mut reader) {
                Ok(next) => {
                    self.pos += reader.position();
                    self.state = next;
                }
                Err(RdbError::Truncated) => {
                    self.refuse_giants(buf)?;
                    return Ok(Scan::Need);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The key, once it was passed in full: for error messages.
    pub fn key(&self, buf: &[u8]) -> Option<Vec<u8>> {
        let mut probe = Self { pos: 0, state: State::Head, max_string: self.max_string };
        loop {
            let mut reader = Reader::new(buf.get(probe.pos..)?);
            if let State::Key(_) = probe.state {
                return Some(reader.text().ok()?.elem().to_vec());
            }
            probe.state = probe.step(&mut reader).ok()?;
            probe.pos += reader.position();
        }
    }

    fn step(&self, reader: &mut Reader<'_>) -> Result<State, RdbError> {
        match self.state {
            State::Head => match reader.byte()? {
                OP_EXPIRETIME_MS => reader.take(8).map(|_| State::Head),
                OP_EXPIRETIME => reader.take(4).map(|_| State::Head),
                OP_FREQ => reader.take(1).map(|_| State::Head),
                OP_IDLE => reader.count().map(|_| State::Head),
                rdb_type => Ok(State::Key(rdb_type)),
            },
            State::Key(rdb_type) => {
                // The key first, so that a refused type can be told with its key.
                reader.skip_text()?;
                value_state(rdb_type)
            }
            State::Stream(place) => Ok(match place.step(reader)? {
                Some(place) => State::Stream(place),
                None => State::Parts { parts: &[], part: 0, left: 0 },
            }),
            State::Time(rdb_type) => reader.take(8).and_then(|_| value_state(rdb_type)),
            State::Count(parts) => Ok(State::Parts { parts, part: 0, left: reader.count()? }),
            State::Parts { parts, part, left } => {
                match parts[part] {
                    Part::Text => reader.skip_text()?,
                    Part::Length => reader.count().map(drop)?,
                    Part::ScoreText => skip_score_text(reader)?,
                    Part::Score => reader.take(8).map(drop)?,
                }
                let next = part + 1;
                Ok(if next == parts.len() {
                    State::Parts { parts, part: 0, left: left - 1 }
                } else {
                    State::Parts { parts, part: next, left }
                })
            }
        }
    }

    /// A string longer than the limit is refused when its header is seen, not when its bytes have come.
    fn refuse_giants(&self, buf: &[u8]) -> Result<(), RdbError> {
        let text_next = match self.state {
            State::Key(_) => true,
            State::Stream(place) => place.text_next(),
            State::Parts { parts, part, .. } => matches!(parts[part], Part::Text),
            _ => false,
        };
        let mut reader = Reader::new(buf.get(self.pos..).unwrap_or(&[]));
        let len = match reader.len() {
            Ok(crate::prim::Len::Plain(len)) => len,
            Ok(crate::prim::Len::Encoded(3)) => reader.count().unwrap_or(0),
            _ => 0,
        };
        if text_next && len > self.max_string { Err(RdbError::TooBig(len)) } else { Ok(()) }
    }
}

fn skip_score_text(reader: &mut Reader<'_>) -> Result<(), RdbError> {
    match reader.byte()? {
        253..=255 => Ok(()),
        len => reader.take(u64::from(len)).map(drop),
    }
}

fn value_state(rdb_type: u8) -> Result<State, RdbError> {
    Kind::of(rdb_type)?;
    Ok(match rdb_type {
        types::LIST | types::SET | types::LIST_QUICKLIST => State::Count(&[Part::Text]),
        types::HASH => State::Count(&[Part::Text, Part::Text]),
        types::ZSET => State::Count(&[Part::Text, Part::ScoreText]),
        types::ZSET_2 => State::Count(&[Part::Text, Part::Score]),
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            State::Stream(StreamPlace::new(rdb_type))
        }
        types::HASH_METADATA_PRE_GA => State::Count(&[Part::Length, Part::Text, Part::Text]),
        types::HASH_METADATA => State::Time(types::HASH_METADATA_PRE_GA),
        types::HASH_LISTPACK_EX => State::Time(types::HASH_LISTPACK_EX_PRE_GA),
        types::LIST_QUICKLIST_2 => State::Count(&[Part::Length, Part::Text]),
        _ => State::Parts { parts: &[Part::Text], part: 0, left: 1 },
    })
}
