//! The psync decision: may this replica go on from where it is, or must it take everything?
//!
//! Pure: a request, our history, what the backlog holds → an answer with its reason, so that the log and
//! `sync_partial_err` can say why. Never touches the journal.

use crate::history::History;
use crate::units::{Offset, ReplId};
use std::fmt;

/// What a replica asked for: `PSYNC <replid> <offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The history it holds; `None` for `?`, an explicit wish for everything.
    pub replid: Option<ReplId>,
    /// The first byte it wants. Redis sends -1 with `?`; negative numbers are kept as they came.
    pub from: i64,
}

impl Request {
    /// Reads the two arguments of PSYNC. An id that isn't one can't be ours: it is a request for everything,
    /// but one that counts as a failed partial resync.
    pub fn parse(replid: &[u8], offset: i64) -> (Request, bool) {
        let partial = !replid.starts_with(b"?");
        let id = if partial { ReplId::parse(&replid.to_ascii_lowercase()) } else { None };
        (Request { replid: id, from: offset }, partial)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.replid {
            Some(id) => write!(f, "{id}:{}", self.from.saturating_sub(1)),
            None => write!(f, "no history"),
        }
    }
}

/// Our half of the line that tells why a replica gets everything.
pub fn ours(history: &History, offset: Offset, backlog: Option<Backlog>) -> String {
    let mut text = format!("this node has {}:{offset}", history.replid);
    if let Some(second) = history.second {
        text += &format!(", before that {} up to {}", second.replid, second.limit);
    }
    match backlog {
        Some(kept) => text += &format!(", and keeps {} to {}", kept.first, kept.first.plus(kept.len.saturating_sub(1))),
        None => text += ", and keeps nothing",
    }
    text
}

/// What the backlog holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Offset of the first byte held.
    pub first: Offset,
    /// How many bytes are held.
    pub len: u64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `+CONTINUE`: send the bytes from `from` on.
    Continue {
        /// The first byte to send.
        from: Offset,
    },
    /// `+FULLRESYNC`, because of `why`.
    Full {
        /// The reason.
        why: WhyFull,
    },
}

/// Why a partial resync isn't possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyFull {
    /// `PSYNC ? -1` or SYNC.
    Asked,
    /// The replica follows a history we know nothing of.
    UnknownHistory {
        /// What it named, if that was an id at all.
        asked: Option<ReplId>,
    },
    /// It follows our previous history, but past the point where ours began.
    PastSecond {
        /// The byte it asked for.
        asked: i64,
        /// The last one we could have answered.
        limit: Offset,
    },
    /// Nobody kept the stream.
    NoBacklog,
    /// The bytes are no longer held.
    TooOld {
        /// The byte it asked for.
        asked: i64,
        /// The first one held.
        first: Offset,
    },
    /// It claims to be ahead of us.
    Ahead {
        /// The byte it asked for.
        asked: i64,
        /// The next byte we will write.
        next: Offset,
    },
}

impl fmt::Display for WhyFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyFull::Asked => write!(f, "full resync requested by the replica"),
            WhyFull::UnknownHistory { asked: Some(id) } => write!(f, "replication ID mismatch (it asked for '{id}')"),
            WhyFull::UnknownHistory { asked: None } => write!(f, "replication ID mismatch (what it named is no ID)"),
            WhyFull::PastSecond { asked, limit } => {
                write!(f, "requested offset for second ID was {asked}, but I can reply up to {limit}")
            }
            WhyFull::NoBacklog => write!(f, "there is no backlog"),
            WhyFull::TooOld { asked, first } => {
                write!(f, "lack of backlog (it asked for {asked}, the backlog begins at {first})")
            }
            WhyFull::Ahead { asked, next } => {
                write!(f, "it asked for offset {asked}, which is ahead of mine (next is {next})")
            }
        }
    }
}

/// Decides. `backlog` is `None` when nothing is kept.
pub fn decide(request: &Request, partial: bool, history: &History, backlog: Option<Backlog>) -> Decision {
    match refuse(request, partial, history, backlog) {
        Some(why) => Decision::Full { why },
        None => Decision::Continue { from: Offset(u64::try_from(request.from).unwrap_or(0)) },
    }
}

fn refuse(request: &Request, partial: bool, history: &History, backlog: Option<Backlog>) -> Option<WhyFull> {
    let asked = request.from;
    if !partial {
        return Some(WhyFull::Asked);
    }
    let Some(id) = request.replid else { return Some(WhyFull::UnknownHistory { asked: None }) };
    if id != history.replid {
        match history.second {
            Some(second) if second.replid == id => {
                if asked > signed(second.limit) {
                    return Some(WhyFull::PastSecond { asked, limit: second.limit });
                }
            }
            _ => return Some(WhyFull::UnknownHistory { asked: Some(id) }),
        }
    }
    let Some(backlog) = backlog else { return Some(WhyFull::NoBacklog) };
    let next = backlog.first.plus(backlog.len);
    if asked < signed(backlog.first) {
        Some(WhyFull::TooOld { asked, first: backlog.first })
    } else if asked > signed(next) {
        Some(WhyFull::Ahead { asked, next })
    } else {
        None
    }
}

fn signed(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Second;

    fn id(c: u8) -> ReplId {
        ReplId::parse(&[c; 40]).expect("forty letters")
    }

    /// Ours is `a` since byte 101 (before it: `b`), the backlog holds 51..=150.
    fn history() -> History {
        History { replid: id(b'a'), second: Some(Second { replid: id(b'b'), limit: Offset(101) }) }
    }

    #[test]
    fn table() {
        let kept = Some(Backlog { first: Offset(51), len: 100 });
        let go = |from| Decision::Continue { from: Offset(from) };
        let full = |why| Decision::Full { why };
        type Case = (&'static str, &'static [u8], i64, Option<Backlog>, Decision);
        let cases: &[Case] = &[
            ("first byte held", &[b'a'; 40], 51, kept, go(51)),
            ("middle", &[b'a'; 40], 100, kept, go(100)),
            ("upper case is the same id", &[b'A'; 40], 100, kept, go(100)),
            ("exactly up to date", &[b'a'; 40], 151, kept, go(151)),
            ("one too old", &[b'a'; 40], 50, kept, full(WhyFull::TooOld { asked: 50, first: Offset(51) })),
            ("one ahead", &[b'a'; 40], 152, kept, full(WhyFull::Ahead { asked: 152, next: Offset(151) })),
            ("old history, inside", &[b'b'; 40], 90, kept, go(90)),
            ("old history, its last byte", &[b'b'; 40], 101, kept, go(101)),
            ("past it", &[b'b'; 40], 102, kept, full(WhyFull::PastSecond { asked: 102, limit: Offset(101) })),
            ("old history, too old", &[b'b'; 40], 3, kept, full(WhyFull::TooOld { asked: 3, first: Offset(51) })),
            ("stranger", &[b'c'; 40], 90, kept, full(WhyFull::UnknownHistory { asked: Some(id(b'c')) })),
            ("not an id", b"abc", 90, kept, full(WhyFull::UnknownHistory { asked: None })),
            ("asked", b"?", -1, kept, full(WhyFull::Asked)),
            ("asked with an offset", b"?", 100, kept, full(WhyFull::Asked)),
            ("negative", &[b'a'; 40], -1, kept, full(WhyFull::TooOld { asked: -1, first: Offset(51) })),
            ("nothing kept", &[b'a'; 40], 151, None, full(WhyFull::NoBacklog)),
            ("far ahead", &[b'a'; 40], i64::MAX, kept, full(WhyFull::Ahead { asked: i64::MAX, next: Offset(151) })),
        ];
        for (name, replid, offset, backlog, want) in cases {
            let (request, partial) = Request::parse(replid, *offset);
            assert_eq!(&decide(&request, partial, &history(), *backlog), want, "{name}");
        }
    }

    #[test]
    fn both_histories_fit_in_a_line() {
        let (request, _) = Request::parse(&[b'c'; 40], 91);
        assert_eq!(request.to_string(), format!("{}:90", "c".repeat(40)));
        let kept = Some(Backlog { first: Offset(51), len: 100 });
        let line = ours(&history(), Offset(150), kept);
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        assert_eq!(line, format!("this node has {a}:150, before that {b} up to 101, and keeps 51 to 150"));
        assert!(ours(&History::fresh(id(b'a')), Offset(0), None).ends_with(":0, and keeps nothing"));
    }

    #[test]
    fn an_empty_backlog_answers_only_its_next_byte() {
        let kept = Some(Backlog { first: Offset(1), len: 0 });
        let h = History::fresh(id(b'a'));
        for (from, ok) in [(0, false), (1, true), (2, false)] {
            let (request, partial) = Request::parse(&[b'a'; 40], from);
            let got = decide(&request, partial, &h, kept);
            assert_eq!(matches!(got, Decision::Continue { .. }), ok, "{from}: {got:?}");
        }
    }
}
