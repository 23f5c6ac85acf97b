//! The next commands of a stream, decoded before the first of them is executed. Owns where each lies; executes nothing.

use keystead_keyspace::Ahead;
use keystead_resp::{ArgRange, Args, Decoder, Found, Limits, OwnedArgs, ProtocolError};

/// Commands decoded ahead: enough for their misses to overlap, few enough to stay in the nearest cache.
const AHEAD: usize = 64;

/// Commands decoded before the first of them is executed; kept for its memory.
#[derive(Default)]
pub(super) struct Upcoming {
    pub(super) commands: Vec<Next>,
    pub(super) ranges: Vec<ArgRange>,
    pub(super) keys: Ahead,
}

/// A command that is to be executed, or an empty line.
pub(super) struct Next {
    pub(super) begin: usize,
    pub(super) end: usize,
    /// Its arguments among the ranges; none: nothing is said.
    ranges: (usize, usize),
    /// A line of text has words of its own.
    pub(super) words: Option<Box<OwnedArgs>>,
}

impl Next {
    pub(super) fn args<'a>(&'a self, buffer: &'a [u8], ranges: &'a [ArgRange]) -> Option<Args<'a>> {
        match &self.words {
            Some(words) => Some(words.view()),
            None if self.ranges.0 == self.ranges.1 => None,
            None => Some(Args::new(&buffer[self.begin..self.end], &ranges[self.ranges.0..self.ranges.1])),
        }
    }
}

impl Upcoming {
    /// Decodes what is complete from `at` on, but not too much; true if there may be more.
    pub(super) fn fill(
        &mut self,
        decoder: &mut Decoder,
        buffer: &[u8],
        mut at: usize,
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        self.commands.clear();
        self.ranges.clear();
        while self.commands.len() < AHEAD {
            let first = self.ranges.len();
            let (consumed, words) = match decoder.decode_into(&buffer[at..], limits, &mut self.ranges)? {
                Found::Need(_) => return Ok(false),
                Found::Skip(consumed) | Found::Command { consumed, .. } => (consumed, None),
                Found::Inline { consumed, args } => (consumed, Some(args)),
            };
            let (begin, end, ranges) = (at, at + consumed, (first, self.ranges.len()));
            self.commands.push(Next { begin, end, ranges, words });
            at = end;
        }
        Ok(true)
    }
}
