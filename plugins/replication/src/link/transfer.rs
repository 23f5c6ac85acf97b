//! The payload of a full resync on the wire: `$<len>` or `$EOF:<mark>`, then the bytes of an RDB file.
//!
//! Owns where the payload begins and ends. Never looks inside it and keeps no copy, but for the last forty bytes
//! of a marked payload, which may be the mark.

/// How the end of the payload is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// That many bytes.
    Len(u64),
    /// Until these forty bytes come last.
    Eof([u8; MARK]),
}

/// Length of the mark that ends a payload of unknown size.
pub const MARK: usize = 40;

/// What the line before the payload means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// An empty line: the primary is alive and still preparing.
    StillPreparing,
    /// Here it comes.
    Payload(Framing),
    /// `-ERR …`: the primary gave up.
    Refused(String),
    /// Not the protocol.
    Nonsense,
}

/// Reads the line that announces the payload (without its line end).
pub fn preamble(line: &[u8]) -> Preamble {
    match line {
        [] => Preamble::StillPreparing,
        [b'-', rest @ ..] => Preamble::Refused(String::from_utf8_lossy(rest).into_owned()),
        [b'$', b'E', b'O', b'F', b':', mark @ ..] => match mark.try_into() {
            Ok(mark) => Preamble::Payload(Framing::Eof(mark)),
            Err(_) => Preamble::Nonsense,
        },
        [b'$', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            match std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()) {
                Some(len) => Preamble::Payload(Framing::Len(len)),
                None => Preamble::Nonsense,
            }
        }
        _ => Preamble::Nonsense,
    }
}

/// A payload that is arriving.
#[derive(Clone, Debug)]
pub struct Transfer {
    framing: Framing,
    got: u64,
    /// The last bytes seen, oldest first (marked payloads only).
    tail: Vec<u8>,
}

impl Transfer {
    /// Begins after the preamble.
    pub fn new(framing: Framing) -> Transfer {
        Transfer { framing, got: 0, tail: Vec::with_capacity(MARK) }
    }

    /// Takes what belongs to the payload from the front of `buf`: how many bytes, and whether it is complete.
    /// Primaries send nothing behind the mark until the replica has acknowledged; one that does is understood too.
    pub fn feed(&mut self, buf: &[u8]) -> (usize, bool) {
        match &self.framing {
            Framing::Len(len) => {
                let want = len - self.got;
                let take = usize::try_from(want).unwrap_or(usize::MAX).min(buf.len());
                self.got += take as u64;
                (take, self.got == *len)
            }
            Framing::Eof(mark) => {
                let seam = [&self.tail, &buf[..buf.len().min(MARK - 1)]].concat();
                let end = behind(&seam, mark).map(|end| end - self.tail.len()).or_else(|| behind(buf, mark));
                let take = end.unwrap_or(buf.len());
                self.got += take as u64;
                let last = &buf[take.saturating_sub(MARK)..take];
                let drop = (self.tail.len() + last.len()).saturating_sub(MARK);
                self.tail.drain(..drop);
                self.tail.extend_from_slice(last);
                (take, end.is_some())
            }
        }
    }

    /// Bytes at the end of the payload that aren't the RDB's.
    pub fn trailer(&self) -> usize {
        match self.framing {
            Framing::Len(_) => 0,
            Framing::Eof(_) => MARK,
        }
    }

    /// Bytes so far.
    pub fn got(&self) -> u64 {
        self.got
    }

    /// The announced size, when there is one.
    pub fn total(&self) -> Option<u64> {
        match self.framing {
            Framing::Len(len) => Some(len),
            Framing::Eof(_) => None,
        }
    }
}

/// Where the first mark in `bytes` ends.
fn behind(bytes: &[u8], mark: &[u8; MARK]) -> Option<usize> {
    let found = |w: &[u8]| w[MARK - 1] == mark[MARK - 1] && w == mark;
    bytes.windows(MARK).position(found).map(|at| at + MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn preambles() {
        let mark = [b'x'; 40];
        let marked = [&b"$EOF:"[..], &mark].concat();
        let cases: &[(&[u8], Preamble)] = &[
            (b"", Preamble::StillPreparing),
            (b"$0", Preamble::Payload(Framing::Len(0))),
            (b"$18446744073709551615", Preamble::Payload(Framing::Len(u64::MAX))),
            (b"$18446744073709551616", Preamble::Nonsense),
            (b"$", Preamble::Nonsense),
            (b"$-1", Preamble::Nonsense),
            (b"$EOF:short", Preamble::Nonsense),
            (&marked, Preamble::Payload(Framing::Eof(mark))),
            (b"-ERR can't", Preamble::Refused("ERR can't".into())),
            (b"+PONG", Preamble::Nonsense),
        ];
        for (line, want) in cases {
            assert_eq!(&preamble(line), want, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_sized_payload_leaves_the_rest() {
        let mut t = Transfer::new(Framing::Len(5));
        assert_eq!(t.feed(b"abc"), (3, false));
        assert_eq!(t.feed(b"de*1"), (2, true));
        assert_eq!((t.got(), t.total(), t.trailer()), (5, Some(5), 0));
    }

    proptest! {
        #[test]
        fn a_mark_is_found_however_it_arrives(body in proptest::collection::vec(0u8..4, 0..200), cut in 1usize..50) {
            let mark = [7u8; MARK];
            let all = [&body[..], &mark].concat();
            let mut t = Transfer::new(Framing::Eof(mark));
            let mut pieces = all.chunks(cut).peekable();
            while let Some(piece) = pieces.next() {
                prop_assert_eq!(t.feed(piece), (piece.len(), pieces.peek().is_none()));
            }
            prop_assert_eq!(t.got(), all.len() as u64);
        }

        #[test]
        fn what_follows_a_mark_at_once_is_left(body in proptest::collection::vec(0u8..4, 0..200), cut in 1usize..150) {
            let mark = [7u8; MARK];
            let payload = body.len() + MARK;
            let all = [&body[..], &mark, b"*1\r\n$4\r\nPING\r\n"].concat();
            let mut t = Transfer::new(Framing::Eof(mark));
            let mut taken = 0;
            let done = all.chunks(cut).any(|piece| {
                let (take, done) = t.feed(piece);
                taken += take;
                done
            });
            prop_assert_eq!((done, taken, t.got()), (true, payload, payload as u64));
        }
    }
}
