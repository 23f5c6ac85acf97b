//! The request decoder: finds commands in a buffer that the caller owns, without copying them.
//!
//! It is resumable (what was parsed is remembered, so a bulk that arrives in thousands of pieces costs O(n)) and
//! reserves nothing: a header that promises 512 MB only makes it ask for at most [`READ_AHEAD`] bytes more.

use crate::{ArgRange, ArgRanges, OwnedArgs, ProtocolError, READ_AHEAD, inline, number};

/// What a client may send. Redis' defaults.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest argument (`proto-max-bulk-len`); a replication link takes `u64::MAX`.
    pub max_bulk: u64,
    /// Most arguments in one command.
    pub max_multibulk: u64,
    /// Longest inline command or header line.
    pub max_inline: usize,
    /// Without it at most 10 arguments of 16,384 bytes each are accepted.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bulk: 512 * 1024 * 1024, max_multibulk: i32::MAX as u64, max_inline: 64 * 1024, authenticated: true }
    }
}

const UNAUTHENTICATED_ARGS: u64 = 10;
const UNAUTHENTICATED_BULK: u64 = 16 * 1024;

/// What [`Decoder::decode`] found at the front of the buffer.
#[derive(Debug)]
pub enum Decoded {
    /// No whole command yet: at least this many bytes are missing, but never more than [`READ_AHEAD`] are asked for.
    Need(usize),
    /// So many bytes without a command: an empty line (a heartbeat on a replication link) or `*0`.
    Skip(usize),
    /// A command; `args` are positions in the buffer that was passed in.
    Command {
        /// Length of the command in the buffer.
        consumed: usize,
        /// Where its arguments are.
        args: ArgRanges,
        /// The bytes are exactly what encoding `args` would give, so they can be forwarded as they are.
        canonical: bool,
    },
    /// A command typed as a line of text.
    Inline {
        /// Length of the line in the buffer.
        consumed: usize,
        /// Its words, unquoted.
        args: OwnedArgs,
    },
}

/// What [`Decoder::decode_into`] found: as [`Decoded`], small, with a command's arguments where the caller wants them.
#[derive(Debug)]
pub enum Found {
    /// See [`Decoded::Need`].
    Need(usize),
    /// See [`Decoded::Skip`].
    Skip(usize),
    /// See [`Decoded::Command`].
    Command {
        /// Length of the command in the buffer.
        consumed: usize,
        /// The bytes are exactly what encoding the arguments would give.
        canonical: bool,
    },
    /// See [`Decoded::Inline`].
    Inline {
        /// Length of the line in the buffer.
        consumed: usize,
        /// Its words, unquoted.
        args: Box<OwnedArgs>,
    },
}

/// How a command begins: its header and its name. In a pipeline the next one often begins so, too.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    bytes: &'a [u8],
    name: ArgRange,
    /// Arguments behind the name.
    more: usize,
}

impl<'a> Opening<'a> {
    /// What no command begins with.
    pub const NONE: Opening<'static> = Opening { bytes: b"", name: (0, 0), more: usize::MAX };

    /// Of a canonical command at the front of `buf`, by the places of its arguments.
    #[inline]
    pub fn of(buf: &'a [u8], ranges: &[ArgRange]) -> Opening<'a> {
        match ranges {
            [name, more @ ..] => Opening { bytes: &buf[..name.1 as usize + 2], name: *name, more: more.len() },
            [] => Opening::NONE,
        }
    }
}

/// What a decoder has of a command that isn't whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Begun {
    /// Bytes that are parsed: headers and whole arguments.
    pub taken: usize,
    /// Bytes of the whole arguments.
    pub words: usize,
    /// Bytes that a large argument's header promised and that hadn't arrived when the decoder looked last.
    pub promised: usize,
}

/// An argument from here on counts with all that its header promises (Redis' `PROTO_MBULK_BIG_ARG`, which makes it allocate so much).
const LARGE_ARGUMENT: usize = 32 * 1024;

/// Incremental request decoder; one a connection.
///
/// The buffer passed to [`decode`](Self::decode) must begin at the first byte of the current command every time,
/// until something else than [`Decoded::Need`] comes back; it may move in memory and grow at its end.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Everything before this is parsed.
    pos: usize,
    /// No line end lies before this.
    scanned: usize,
    /// Arguments still missing; 0 between commands.
    left: u64,
    /// Length of the argument whose header was read.
    bulk: Option<usize>,
    /// Every line so far ended in CR LF.
    loose: bool,
    args: ArgRanges,
    /// Bytes of those arguments.
    words: usize,
    /// What is missing of a large argument.
    promised: usize,
}

enum Line {
    /// The line's number, the position behind its line end, and whether it was CR LF in shortest form.
    Number(i64, usize, bool),
    NotANumber,
    TooLong,
    Incomplete,
}

impl Decoder {
    /// A decoder at the start of a command.
    pub fn new() -> Self {
        Self::default()
    }

    /// True in the middle of a command: bytes were taken that aren't executed yet.
    pub fn in_command(&self) -> bool {
        self.left > 0 || self.scanned > 0
    }

    /// What there is of the command that has begun, as of the last look.
    pub fn begun(&self) -> Begun {
        Begun { taken: self.pos, words: self.words, promised: self.promised }
    }

    /// Forgets a half command (its bytes stay with the caller).
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Looks for one command at the front of `buf`.
    #[inline]
    pub fn decode(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        if !self.in_command() {
            let mut args = ArgRanges::new();
            if let Some(consumed) = small_command(buf, limits, |range| args.push(range)) {
                return Ok(Decoded::Command { consumed, args, canonical: true });
            }
        }
        self.resume(buf, limits)
    }

    /// As [`decode`](Self::decode), but appends a command's positions to `ranges`: for callers that take many commands
    /// at a time and keep them flat (9 ns for a GET against 24: nothing is moved twice).
    #[inline]
    pub fn decode_into(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Result<Found, ProtocolError> {
        if !self.in_command() {
            let before = ranges.len();
            if let Some(consumed) = small_command(buf, limits, |range| ranges.push(range)) {
                return Ok(Found::Command { consumed, canonical: true });
            }
            ranges.truncate(before);
        }
        Ok(match self.resume(buf, limits)? {
            Decoded::Need(missing) => Found::Need(missing),
            Decoded::Skip(count) => Found::Skip(count),
            Decoded::Command { consumed, args, canonical } => {
                ranges.extend_from_slice(&args);
                Found::Command { consumed, canonical }
            }
            Decoded::Inline { consumed, args } => Found::Inline { consumed, args: Box::new(args) },
        })
    }

    /// A whole short command that begins as `opening` does: it isn't read again as far. `None`, and nothing is taken, for
    /// anything else.
    #[inline]
    pub fn decode_like(
        &mut self,
        opening: Opening<'_>,
        buf: &[u8],
        limits: &Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Option<usize> {
        if opening.more >= MOST_SHORT || !takes_short(limits) || self.in_command() || !buf.starts_with(opening.bytes) {
            return None;
        }
        let before = ranges.len();
        ranges.push(opening.name);
        let consumed = short_arguments(buf, opening.bytes.len(), opening.more, |range| ranges.push(range));
        if consumed.is_none() {
            ranges.truncate(before);
        }
        consumed
    }

    /// The general way: everything that may be incomplete, long, loose or wrong.
    fn resume(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        if self.left == 0 {
            match buf.first() {
                None => return Ok(Decoded::Need(1)),
                Some(b'*') => {}
                Some(_) => return self.inline(buf, limits),
            }
            let count = match self.line(buf, 0, limits) {
                Line::Number(count, next, strict) if count <= limits.max_multibulk.min(i64::MAX as u64) as i64 => {
                    self.pos = next;
                    self.loose = !strict;
                    count
                }
                Line::Incomplete => return Ok(Decoded::Need(1)),
                Line::TooLong => return Err(ProtocolError::TooBigMultibulkCount),
                Line::Number(..) | Line::NotANumber => return Err(ProtocolError::InvalidMultibulkLength),
            };
            if count <= 0 {
                let consumed = self.pos;
                self.reset();
                return Ok(Decoded::Skip(consumed));
            }
            self.left = count as u64;
            if self.left > UNAUTHENTICATED_ARGS && !limits.authenticated {
                return Err(ProtocolError::UnauthenticatedMultibulkLength);
            }
        }
        while self.left > 0 {
            if let Some(missing) = self.argument(buf, limits)? {
                return Ok(Decoded::Need(missing.min(READ_AHEAD)));
            }
        }
        let command =
            Decoded::Command { consumed: self.pos, args: std::mem::take(&mut self.args), canonical: !self.loose };
        self.pos = 0;
        self.scanned = 0;
        self.loose = false;
        self.words = 0;
        Ok(command)
    }

    /// Takes one argument, or says how many bytes are missing.
    fn argument(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let len = match self.bulk {
            Some(len) => len,
            None => match self.bulk_header(buf, limits)? {
                Some(len) => len,
                None => return Ok(Some(1)),
            },
        };
        let end = self.pos + len;
        if buf.len() < end + 2 {
            self.bulk = Some(len);
            let missing = end + 2 - buf.len();
            self.promised = if len >= LARGE_ARGUMENT { missing } else { 0 };
            return Ok(Some(missing));
        }
        if buf[end..end + 2] != *b"\r\n" {
            self.loose = true;
        }
        let Ok(end32) = u32::try_from(end) else { return Err(ProtocolError::TooBigCommand) };
        self.args.push((self.pos as u32, end32));
        self.pos = end + 2;
        self.words += len;
        self.promised = 0;
        self.bulk = None;
        self.left -= 1;
        Ok(None)
    }

    fn bulk_header(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let first = buf.get(self.pos).copied();
        let line = self.line(buf, self.pos, limits);
        if let (Line::Number(..) | Line::NotANumber, Some(other)) = (&line, first.filter(|&c| c != b'$')) {
            return Err(ProtocolError::ExpectedDollar(other));
        }
        let (len, next, strict) = match line {
            Line::Number(len, next, strict) => (len, next, strict),
            Line::Incomplete => return Ok(None),
            Line::TooLong => return Err(ProtocolError::TooBigBulkCount),
            Line::NotANumber => return Err(ProtocolError::InvalidBulkLength),
        };
        if len < 0 || len as u64 > limits.max_bulk {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if len as u64 > UNAUTHENTICATED_BULK && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        if next as u64 + len as u64 > u64::from(u32::MAX) {
            return Err(ProtocolError::TooBigCommand);
        }
        self.loose |= !strict;
        self.pos = next;
        Ok(Some(len as usize))
    }

    /// Reads the number of the header line at `at`, behind its type byte.
    fn line(&mut self, buf: &[u8], at: usize, limits: &Limits) -> Line {
        let from = self.scanned.max(at).min(buf.len());
        let Some(cr) = memchr::memchr(b'\r', &buf[from..]).map(|i| i + from) else {
            self.scanned = buf.len();
            return if buf.len() - at > limits.max_inline { Line::TooLong } else { Line::Incomplete };
        };
        if cr + 2 > buf.len() {
            self.scanned = cr;
            return Line::Incomplete;
        }
        let digits = buf.get(at + 1..cr).unwrap_or(&[]);
        match number::parse_i64(digits) {
            Some(value) => Line::Number(value, cr + 2, buf[cr + 1] == b'\n'),
            None => Line::NotANumber,
        }
    }

    #[cold]
    fn inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        let from = self.scanned.min(buf.len());
        let Some(lf) = memchr::memchr(b'\n', &buf[from..]).map(|i| i + from) else {
            if buf.len() > limits.max_inline {
                return Err(ProtocolError::TooBigInline);
            }
            self.scanned = buf.len();
            return Ok(Decoded::Need(1));
        };
        self.scanned = 0;
        let consumed = lf + 1;
        let line = buf[..lf].strip_suffix(b"\r").unwrap_or(&buf[..lf]);
        if line.len() > limits.max_inline {
            return Err(ProtocolError::TooBigInline);
        }
        let args = inline::split_args(line).ok_or(ProtocolError::UnbalancedQuotes)?;
        if args.is_empty() {
            return Ok(Decoded::Skip(consumed));
        }
        Ok(Decoded::Inline { consumed, args })
    }
}

/// Arguments of a command that is decoded in one pass.
const MOST_SHORT: usize = 8;
/// A short argument is shorter: its length has up to three digits.
const SHORT: u64 = 1000;

/// Whether no limit stands in a short command's way.
#[inline]
fn takes_short(limits: &Limits) -> bool {
    limits.max_bulk >= SHORT && limits.max_multibulk >= MOST_SHORT as u64
}

/// A whole command of at most eight short arguments in canonical form: nearly all traffic, decided in one pass without
/// touching the decoder's state. Gives every argument to `each` and returns the command's length; `None` (perhaps after
/// some arguments) for anything else.
#[inline]
fn small_command(buf: &[u8], limits: &Limits, each: impl FnMut(ArgRange)) -> Option<usize> {
    let (count, at) = short_number(buf, 0, b'*')?;
    if count == 0 || count > MOST_SHORT || !takes_short(limits) {
        return None;
    }
    short_arguments(buf, at, count, each)
}

/// So many short arguments from `at` on; where the last one's line ends.
#[inline]
fn short_arguments(buf: &[u8], mut at: usize, count: usize, mut each: impl FnMut(ArgRange)) -> Option<usize> {
    for _ in 0..count {
        let (len, start) = short_number(buf, at, b'$')?;
        let end = start + len;
        if buf.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        each((start as u32, end as u32));
        at = end + 2;
    }
    Some(at)
}

/// A header with one to three digits: its number and where its line ends.
#[inline]
fn short_number(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let digit = |c: u8| usize::from(c - b'0');
    match *buf.get(at..)? {
        [k, a @ b'0'..=b'9', b'\r', b'\n', ..] if k == kind => Some((digit(a), at + 4)),
        [k, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] if k == kind => {
            Some((digit(a) * 10 + digit(b), at + 5))
        }
        [k, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] if k == kind => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), at + 6))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
