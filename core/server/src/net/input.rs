//! What a client has sent and nobody has executed: a buffer, the decoder's position in it, and commands decoded ahead.
//!
//! Decoding ahead is speculative. A command is taken out only when it is executed; whatever stops the turn (AUTH, a
//! takeover, parking, a kill) leaves the rest as raw bytes. Memory grows with the bytes that arrived, never with the
//! length a header promises.

use keystead_engine::resp::{ArgRanges, Args, Decoded, Decoder, Limits, OwnedArgs, ProtocolError};

/// The least room offered to a read.
const READ_SIZE: usize = 16 << 10;
/// An empty buffer above this is given back.
const KEEP_SIZE: usize = 64 << 10;

/// One command in the buffer.
#[derive(Debug)]
pub(crate) enum Ready {
    /// Arguments are ranges of the buffer behind `start`.
    Ranges {
        /// Where the command begins in the buffer.
        start: usize,
        /// Where the next one begins.
        end: usize,
        /// Ranges relative to `start`.
        args: ArgRanges,
    },
    /// An inline command: quotes were taken off, so it has bytes of its own.
    Inline {
        /// Where the next command begins.
        end: usize,
        /// The words.
        args: OwnedArgs,
    },
}

/// A client's bytes.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// All of it is initialised; only `start..filled` is the client's.
    buf: Vec<u8>,
    start: usize,
    filled: usize,
    decoder: Decoder,
    /// The decoder's hint: so many bytes are missing.
    missing: usize,
}

impl Input {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.filled - self.start
    }

    /// Room for the next read.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start == self.filled {
            self.start = 0;
            self.filled = 0;
        }
        let least = self.missing.max(READ_SIZE);
        if self.buf.len() - self.filled < least {
            if self.start > 0 {
                self.buf.copy_within(self.start..self.filled, 0);
                self.filled -= self.start;
                self.start = 0;
            }
            if self.buf.len() - self.filled < least.min(READ_SIZE) {
                // Doubling what has arrived keeps a long argument linear.
                self.buf.resize((self.filled * 2).max(self.filled + least), 0);
            }
        }
        &mut self.buf[self.filled..]
    }

    /// So many bytes were read into [`Input::room`].
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Appends bytes from elsewhere.
    #[cfg(test)]
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.room();
            let part = room.len().min(rest.len());
            room[..part].copy_from_slice(&rest[..part]);
            self.advance(part);
            rest = &rest[part..];
        }
    }

    /// Decodes up to `max` complete commands into `ready`, without taking them out. An error counts only once all
    /// commands before it are executed.
    pub(crate) fn decode(&mut self, max: usize, limits: &Limits, ready: &mut Vec<Ready>) -> Option<ProtocolError> {
        ready.clear();
        let mut at = self.start;
        while ready.len() < max {
            match self.decoder.decode(&self.buf[at..self.filled], limits) {
                Ok(Decoded::Need(missing)) => {
                    self.missing = missing;
                    break;
                }
                Ok(Decoded::Skip(bytes)) => {
                    // Nothing to execute: it may be dropped at once unless a command waits before it.
                    at += bytes;
                    if ready.is_empty() {
                        self.start = at;
                    }
                }
                Ok(Decoded::Command { consumed, args, .. }) => {
                    ready.push(Ready::Ranges { start: at, end: at + consumed, args });
                    at += consumed;
                }
                Ok(Decoded::Inline { consumed, args }) => {
                    at += consumed;
                    ready.push(Ready::Inline { end: at, args });
                }
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// The arguments of a command that [`Input::decode`] found.
    #[inline]
    pub(crate) fn args<'a>(&'a self, ready: &'a Ready) -> Args<'a> {
        match ready {
            Ready::Ranges { start, args, .. } => Args::new(&self.buf[*start..], args),
            Ready::Inline { args, .. } => args.view(),
        }
    }

    /// Takes a command out: it was executed.
    #[inline]
    pub(crate) fn done(&mut self, ready: &Ready) {
        self.start = match ready {
            Ready::Ranges { end, .. } | Ready::Inline { end, .. } => *end,
        };
    }

    /// Forgets what was decoded ahead behind the commands that were taken out.
    pub(crate) fn forget_ahead(&mut self) {
        self.decoder.reset();
        self.missing = 0;
    }

    /// Gives a large empty buffer back.
    pub(crate) fn trim(&mut self) {
        if self.start == self.filled && self.buf.len() > KEEP_SIZE {
            *self = Input { missing: 0, ..Input::default() };
        }
    }

    /// All bytes that weren't taken out, for whoever takes the socket over.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buf[self.start..self.filled].to_vec();
        *self = Input::default();
        rest
    }

    /// Memory held.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buf.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(input: &Input, ready: &[Ready]) -> Vec<String> {
        let join =
            |r| input.args(r).iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect::<Vec<_>>().join(" ");
        ready.iter().map(join).collect()
    }

    #[test]
    fn commands_are_decoded_ahead_and_taken_out_one_by_one() {
        let mut input = Input::default();
        input.feed(b"*1\r\n$4\r\nPING\r\nGET 'a b'\r\n*2\r\n$3\r\nGET\r\n$1\r\n");
        let mut ready = Vec::new();
        assert!(input.decode(10, &Limits::default(), &mut ready).is_none());
        assert_eq!(words(&input, &ready), ["PING", "GET a b"]);
        input.done(&ready[0]);
        input.forget_ahead();
        input.feed(b"x\r\n");
        assert!(input.decode(10, &Limits::default(), &mut ready).is_none());
        assert_eq!(words(&input, &ready), ["GET a b", "GET x"]);
        input.done(&ready[1]);
        assert_eq!(input.len(), 0);
    }

    #[test]
    fn one_byte_at_a_time_gives_the_same() {
        let mut input = Input::default();
        let mut ready = Vec::new();
        let mut seen = Vec::new();
        for byte in b"\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n*0\r\nPING\r\n" {
            input.feed(&[*byte]);
            assert!(input.decode(1, &Limits::default(), &mut ready).is_none());
            seen.extend(words(&input, &ready));
            if let Some(first) = ready.first() {
                input.done(first);
            }
        }
        assert_eq!(seen, ["SET k hello", "PING"]);
    }

    #[test]
    fn a_header_takes_no_memory_on_credit() {
        let mut input = Input::default();
        input.feed(b"*2\r\n$3\r\nGET\r\n$536870912\r\nx");
        let mut ready = Vec::new();
        assert!(input.decode(10, &Limits::default(), &mut ready).is_none() && ready.is_empty());
        let _ = input.room();
        assert!(input.capacity() < 256 << 10, "{}", input.capacity());
    }

    #[test]
    fn an_error_comes_after_the_commands_before_it() {
        let mut input = Input::default();
        input.feed(b"*1\r\n$4\r\nPING\r\n*1\r\n!oops\r\n");
        let mut ready = Vec::new();
        assert!(input.decode(10, &Limits::default(), &mut ready).is_some());
        assert_eq!(words(&input, &ready), ["PING"]);
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut input = Input::default();
        input.feed(&[b'x'; 1 << 20]);
        assert_eq!(input.take_rest().len(), 1 << 20);
        assert_eq!(input.capacity(), 0);
    }
}
