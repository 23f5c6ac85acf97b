//! What goes over the links: requests as Redis' argument lists, replies as a small tree.
//! Owns the wording of requests; never decides when to send one.

use crate::spread::Spread;
use crate::types::{Addr, Epoch, Mono};

/// The channel on which sentinels find each other.
pub const HELLO_CHANNEL: &str = "__sentinel__:hello";

/// A reply, from a peer or to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+text`
    Status(String),
    /// `-CODE text`
    Error(String),
    /// `:n`
    Int(i64),
    /// A bulk string.
    Bulk(String),
    /// A null bulk string.
    Null,
    /// A null array.
    NullArray,
    /// An array.
    Array(Vec<Reply>),
    /// Field and value pairs: a map in RESP3, a flat array in RESP2.
    Map(Vec<(String, Reply)>),
}

/// An integer as Redis takes it in a command: no blanks, no `+`, no zeros in front.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|n| n.to_string() == text)
}

impl Reply {
    /// `+OK`
    #[must_use]
    pub fn ok() -> Reply {
        Reply::Status("OK".into())
    }

    /// The text of a status or bulk reply.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Reply::Status(text) | Reply::Bulk(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer reply.
    #[must_use]
    pub const fn int(&self) -> Option<i64> {
        match self {
            Reply::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The text of an error reply.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }
}

/// What a Keystead sentinel adds to a question about a primary, for Keystead peers only: the configuration it talks
/// about, so that an answer can't be counted for another one, and who asks, so that the question itself is a down-vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Id of the asking sentinel.
    pub asker: String,
    /// Config epoch the asker holds for this primary.
    pub config_epoch: Epoch,
    /// Run id of the primary as the asker knows it, empty when it doesn't.
    pub primary_run_id: String,
}

/// A request on a command link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is it alive?
    Ping,
    /// Everything about a data node.
    Info,
    /// Of a peer only whether it is a Keystead: all it watches would be long.
    InfoServer,
    /// A hello, through a data node's channel or straight to a peer.
    Hello(String),
    /// Does the peer see this primary down, and (with a candidate) whom does it vote for?
    AskDown {
        /// The primary.
        primary: Addr,
        /// The asker's current epoch.
        epoch: Epoch,
        /// Whom to vote for; nobody when only asking.
        candidate: Option<String>,
        /// The extension, towards Keystead peers.
        named: Option<Named>,
        /// When it is asked; not on the wire.
        at: Mono,
    },
    /// The reconfiguration transaction; no target makes the node a primary.
    Follow(Option<Addr>),
    /// The primary is to hand its role over to this replica (host and port), or to forget that it was asked.
    HandOver {
        /// The replica.
        to: Option<(String, u16)>,
        /// How long writes may wait for it.
        timeout_ms: u64,
    },
    /// Settings that were spread to the group, for Keystead peers only; the answer is what the peer has.
    Spread {
        /// Name of the primary.
        name: String,
        /// What this sentinel has.
        settings: Vec<Spread>,
    },
    /// Is that sentinel missed there too? For Keystead peers only.
    IsGone {
        /// Name of the primary.
        name: String,
        /// Id of the sentinel.
        id: String,
    },
    /// `SCRIPT KILL`, once, for a data node that answers -BUSY.
    ScriptKill,
}

impl Request {
    /// The command that every node of its kind takes from a sentinel with the rights for it; nothing where a refusal may
    /// have another reason, or is told elsewhere.
    #[must_use]
    pub const fn routine(&self) -> Option<&'static str> {
        match self {
            Request::Ping => Some("PING"),
            Request::Info | Request::InfoServer => Some("INFO"),
            Request::Hello(_) => Some("PUBLISH"),
            Request::AskDown { .. } => Some("SENTINEL"),
            _ => None,
        }
    }

    /// The commands of this request, in order; the last one's reply is the request's answer.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        match self {
            Request::Ping => vec![words(&["PING"])],
            Request::Info => vec![words(&["INFO"])],
            Request::InfoServer => vec![words(&["INFO", "server"])],
            Request::Hello(text) => vec![words(&["PUBLISH", HELLO_CHANNEL, text])],
            Request::ScriptKill => vec![words(&["SCRIPT", "KILL"])],
            Request::IsGone { name, id } => vec![words(&["SENTINEL", "IS-GONE", name, id])],
            Request::Spread { name, settings } => {
                let mut argv = words(&["SENTINEL", "SPREAD", name]);
                argv.extend(settings.iter().flat_map(Spread::words));
                vec![argv]
            }
            Request::HandOver { to: None, .. } => vec![words(&["FAILOVER", "ABORT"])],
            Request::HandOver { to: Some((host, port)), timeout_ms } => {
                let (port, limit) = (port.to_string(), timeout_ms.to_string());
                vec![words(&["FAILOVER", "TO", host, &port, "TIMEOUT", &limit])]
            }
            Request::AskDown { primary, epoch, candidate, named, .. } => {
                let mut argv = words(&["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", &primary.host]);
                argv.push(primary.port.to_string());
                argv.push(epoch.to_string());
                argv.push(candidate.clone().unwrap_or_else(|| "*".into()));
                if let Some(named) = named {
                    argv.push(named.asker.clone());
                    argv.push(named.config_epoch.to_string());
                    argv.push(named.primary_run_id.clone());
                }
                vec![argv]
            }
            Request::Follow(target) => {
                let (host, port) = match target {
                    Some(addr) => (addr.host.clone(), addr.port.to_string()),
                    None => ("NO".into(), "ONE".into()),
                };
                vec![
                    words(&["MULTI"]),
                    words(&["SLAVEOF", &host, &port]),
                    words(&["CONFIG", "REWRITE"]),
                    words(&["CLIENT", "KILL", "TYPE", "normal"]),
                    words(&["CLIENT", "KILL", "TYPE", "pubsub"]),
                    words(&["EXEC"]),
                ]
            }
        }
    }
}

/// A peer's answer to `AskDown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownAnswer {
    /// It sees the primary down.
    pub down: bool,
    /// Its last vote for this primary.
    pub vote: Option<(String, Epoch)>,
    /// The config epoch its answer is about (Keystead peers).
    pub config_epoch: Option<Epoch>,
}

impl DownAnswer {
    /// Reads the array `[down, leader or *, leader epoch]`, and the config epoch a Keystead peer adds.
    #[must_use]
    pub fn parse(reply: &Reply) -> Option<DownAnswer> {
        let Reply::Array(items) = reply else { return None };
        let down = items.first()?.int()? == 1;
        let leader = items.get(1)?.text()?;
        let epoch = Epoch(u64::try_from(items.get(2)?.int()?).ok()?);
        let vote = (leader != "*").then(|| (leader.to_owned(), epoch));
        let config_epoch = match items.get(3) {
            Some(item) => Some(Epoch(u64::try_from(item.int()?).ok()?)),
            None => None,
        };
        Some(DownAnswer { down, vote, config_epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_towards_stock_peers_is_redis() {
        let ask = Request::AskDown {
            primary: Addr::new("10.0.0.1", 6379),
            epoch: Epoch(7),
            candidate: None,
            named: None,
            at: Mono(0),
        };
        assert_eq!(ask.commands(), vec![vec!["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "10.0.0.1", "6379", "7", "*"]]);
        let demote = Request::Follow(None).commands();
        assert_eq!(demote.len(), 6);
        assert_eq!(demote[1], vec!["SLAVEOF", "NO", "ONE"]);
        assert_eq!(demote[5], vec!["EXEC"]);
    }

    #[test]
    fn integers_are_taken_in_one_form_only() {
        for (text, n) in [("0", Some(0)), ("-7", Some(-7)), ("9223372036854775807", Some(i64::MAX))] {
            assert_eq!(integer(text), n);
        }
        for text in ["", "+1", "01", "-0", " 1", "1 ", "1.0", "1e3", "0x10", "9223372036854775808"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn answers_are_read_or_refused() {
        let stock = Reply::Array(vec![Reply::Int(1), Reply::Bulk("*".into()), Reply::Int(0)]);
        assert_eq!(DownAnswer::parse(&stock), Some(DownAnswer { down: true, vote: None, config_epoch: None }));
        let vote = Reply::Array(vec![Reply::Int(0), Reply::Bulk("abc".into()), Reply::Int(4), Reply::Int(2)]);
        let read = DownAnswer::parse(&vote).unwrap();
        assert_eq!((read.vote, read.config_epoch), (Some(("abc".into(), Epoch(4))), Some(Epoch(2))));
        assert_eq!(DownAnswer::parse(&Reply::Error("ERR".into())), None);
        assert_eq!(DownAnswer::parse(&Reply::Array(vec![Reply::Int(1)])), None);
    }
}
