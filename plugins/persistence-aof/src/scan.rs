//! Finding whole units in an append-only file that comes in pieces. Owns the position, what is whole so far, the last note,
//! and the difference between a file that ends too early and one that is damaged; executes nothing.

use crate::note::{Annotation, Note};
use keystead_resp::{Args, Decoded, Decoder, Limits};
use std::ops::Range;

/// Redis gives an annotation no more.
const MAX_ANNOTATION: usize = 1024;

/// So many bytes are read at most, and some more for each that there is, to find commands inside of one that isn't whole: a
/// second or two.
const LOOKED_AT: usize = 1 << 30;
const LOOKED_AT_TIMES: usize = 4;

/// A place behind which the file makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// How many bytes before it are good.
    pub at: u64,
    /// What is wrong.
    pub what: String,
    /// The bytes are good, but make a command of this name that no file may have.
    pub command: Option<String>,
}

/// Commands that act on the server instead of its data. Nobody writes them; an end that one asks for, or a role, would come in
/// the middle of the start.
const REFUSED: [&[u8]; 13] = [
    b"shutdown",
    b"debug",
    b"replicaof",
    b"slaveof",
    b"failover",
    b"cluster",
    b"sync",
    b"psync",
    b"monitor",
    b"save",
    b"bgsave",
    b"bgrewriteaof",
    b"module",
];

/// What is wrong with the next bytes.
enum Wrong {
    /// They make no sense.
    Bytes(String),
    /// They make a command that is refused.
    Command(String),
}

/// Reads one file.
#[derive(Default)]
pub struct Scanner {
    decoder: Decoder,
    /// Bytes behind the last whole unit.
    buf: Vec<u8>,
    /// Of these, so many are decoded.
    decoded: usize,
    /// Where `buf` begins in the file.
    whole: u64,
    in_multi: bool,
    /// The unit that isn't whole yet has commands.
    begun: bool,
    /// Where annotations stand in `buf`: they aren't executed.
    annotations: Vec<Range<usize>>,
    /// The last note, and where it ends.
    note: Option<(Note, u64)>,
    /// Where the last note begins that isn't as it was written.
    damaged_note: Option<u64>,
    /// Where the last unit ends.
    last_unit: u64,
    units: u64,
}

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// So many bytes are whole units.
    pub whole: u64,
    /// So many follow that aren't.
    pub rest: u64,
    /// How many units there are.
    pub units: u64,
    /// What the last note says, if nothing but notes follows it, and none that is damaged.
    pub note: Option<Note>,
    /// Where the last note begins that isn't as it was written.
    pub damaged_note: Option<u64>,
}

impl Damage {
    fn refused(at: u64, command: String) -> Damage {
        let what = format!("the command '{command}' acts on the server and not on its data");
        Damage { at, what, command: Some(command) }
    }
}

impl Scanner {
    /// A scanner whose input begins at this position of the file.
    pub fn at(position: u64) -> Scanner {
        Scanner { whole: position, ..Scanner::default() }
    }

    /// Takes the next bytes; gives the commands of all units that are whole by now, without annotations.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Damage> {
        self.buf.extend_from_slice(bytes);
        let buf = std::mem::take(&mut self.buf);
        let mut end = 0;
        let result = loop {
            let from = self.decoded;
            match self.step(&buf[from..]) {
                Err(Wrong::Bytes(what)) => break Err(Damage { at: self.whole + end as u64, what, command: None }),
                Err(Wrong::Command(name)) => break Err(Damage::refused(self.whole + from as u64, name)),
                Ok(None) => break Ok(()),
                Ok(Some(consumed)) => self.decoded += consumed,
            }
            match buf[from] {
                b'#' => self.annotations.push(from..self.decoded),
                _ => self.begun = true,
            }
            if !self.in_multi {
                end = self.decoded;
                if std::mem::take(&mut self.begun) {
                    self.last_unit = self.whole + end as u64;
                    self.units += 1;
                }
            }
        };
        let units = self.part(buf, end);
        result.map(|()| units)
    }

    /// Keeps what isn't whole; gives the rest without annotations. A large value is as good as all of it: it isn't copied.
    fn part(&mut self, mut buf: Vec<u8>, end: usize) -> Vec<u8> {
        if end == 0 {
            self.buf = buf;
            return Vec::new();
        }
        self.buf = buf.split_off(end);
        self.decoded -= end;
        self.whole += end as u64;
        let inside = self.annotations.partition_point(|annotation| annotation.end <= end);
        let passed: Vec<Range<usize>> = self.annotations.drain(..inside).collect();
        for annotation in &mut self.annotations {
            *annotation = annotation.start - end..annotation.end - end;
        }
        if passed.is_empty() { buf } else { without(&buf, &passed) }
    }

    /// One command or annotation; how long it is, or None if it isn't all there.
    fn step(&mut self, rest: &[u8]) -> Result<Option<usize>, Wrong> {
        match rest.first() {
            None => Ok(None),
            Some(b'#') => self.annotation(rest),
            Some(b'*') => self.command(rest),
            Some(other) => {
                Err(Wrong::Bytes(format!("a command begins with '{}' instead of '*'", other.escape_ascii())))
            }
        }
    }

    fn annotation(&mut self, rest: &[u8]) -> Result<Option<usize>, Wrong> {
        let Some(end) = rest.iter().take(MAX_ANNOTATION).position(|byte| *byte == b'\n') else {
            let none = || Wrong::Bytes("an annotation has no end".to_owned());
            return if rest.len() < MAX_ANNOTATION { Ok(None) } else { Err(none()) };
        };
        let at = self.whole + self.decoded as u64;
        match Note::parse(&rest[..end], self.note.as_ref().map(|(note, _)| note)) {
            // Between units alone: what ended that one is damaged. To cut it off would cost all that follows.
            Annotation::Place(_) if self.in_multi => return Err(Wrong::Bytes("a MULTI without EXEC".to_owned())),
            Annotation::Place(note) => self.note = Some((note, at + end as u64 + 1)),
            Annotation::Damaged => self.damaged_note = Some(at),
            Annotation::Other => {}
        }
        Ok(Some(end + 1))
    }

    fn command(&mut self, rest: &[u8]) -> Result<Option<usize>, Wrong> {
        let limits = Limits { max_bulk: u64::MAX, ..Limits::default() };
        let (consumed, word) = match self.decoder.decode(rest, &limits) {
            Ok(Decoded::Need(_)) => return Ok(None),
            Ok(Decoded::Command { consumed, args, .. }) => {
                (consumed, Args::new(rest, &args).iter().next().map(<[u8]>::to_ascii_lowercase).unwrap_or_default())
            }
            Ok(Decoded::Skip(_) | Decoded::Inline { .. }) => {
                return Err(Wrong::Bytes("an empty command".to_owned()));
            }
            Err(error) => return Err(Wrong::Bytes(error.to_string())),
        };
        if REFUSED.contains(&word.as_slice()) {
            return Err(Wrong::Command(word.escape_ascii().to_string()));
        }
        if self.in_multi && word == b"multi" {
            return Err(Wrong::Bytes("a MULTI inside of another".to_owned()));
        }
        match word.as_slice() {
            b"multi" => self.in_multi = true,
            b"exec" => self.in_multi = false,
            _ => {}
        }
        Ok(Some(consumed))
    }

    /// So many bytes are whole units so far.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// The file has no more bytes. What isn't whole was cut off, unless more commands follow inside of it: then a length in
    /// front of them is wrong.
    pub fn end(self) -> Result<End, Damage> {
        let unfinished = &self.buf[self.decoded..];
        let what = match next_command(unfinished, LOOKED_AT + unfinished.len() * LOOKED_AT_TIMES) {
            Behind::None => None,
            Behind::Command(at) => {
                Some(format!("a command that can't be whole is followed by others at {}", self.whole + at as u64))
            }
            Behind::Unknown => {
                Some("a command isn't whole, and whether others follow inside of it can't be told in time".to_owned())
            }
        };
        if let Some(what) = what {
            return Err(Damage { at: self.whole, what, command: None });
        }
        let (whole, damaged_note) = (self.whole, self.damaged_note);
        let behind = self.last_unit.max(damaged_note.unwrap_or(0));
        let note = self.note.filter(|(_, end)| *end > behind).map(|(note, _)| note);
        Ok(End { whole, rest: self.buf.len() as u64, units: self.units, note, damaged_note })
    }
}

/// What stands in the bytes of a command that isn't whole.
#[derive(Debug, PartialEq, Eq)]
enum Behind {
    /// No other command.
    None,
    /// A whole one begins there.
    Command(usize),
    /// Nobody knows: to look further would take too long.
    Unknown,
}

/// Looks for a whole command in the bytes of one that isn't. A value cut in its middle may hold such text itself; then a person
/// must decide, for nothing here can. `most` bytes are read at most: in text made for it each beginning leads through all of the
/// rest.
fn next_command(unfinished: &[u8], mut most: usize) -> Behind {
    let mut from = 1;
    while let Some(at) = unfinished.get(from..).and_then(|rest| find(rest, b"\r\n*")).map(|at| from + at + 2) {
        let mut decoder = Decoder::new();
        match decoder.decode(&unfinished[at..], &Limits::default()) {
            Ok(Decoded::Command { args, .. }) => {
                let word = Args::new(&unfinished[at..], &args).iter().next().map(<[u8]>::to_vec).unwrap_or_default();
                if !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic) {
                    return Behind::Command(at);
                }
                most = most.saturating_sub(args.last().map_or(0, |(_, end)| *end as usize));
            }
            _ => most = most.saturating_sub(decoder.begun().taken),
        }
        if most == 0 {
            return Behind::Unknown;
        }
        from = at;
    }
    Behind::None
}

/// Bytes without some ranges, which ascend.
fn without(bytes: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let (mut kept, mut from) = (Vec::with_capacity(bytes.len()), 0);
    for range in ranges {
        kept.extend_from_slice(&bytes[from..range.start]);
        from = range.end;
    }
    kept.extend_from_slice(&bytes[from..]);
    kept
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests;
