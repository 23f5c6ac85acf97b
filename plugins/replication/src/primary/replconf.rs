//! REPLCONF: what a replica tells about itself before PSYNC, and its acknowledgements after.
//!
//! Owns parsing and Redis' error texts; the facts are kept in the session's slot until PSYNC takes them.

use crate::link::handshake::{NODE, is_node};
use crate::units::Offset;
use keystead_plugin::services::filter::is_name;

/// What a replica told before PSYNC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The port its clients use; 0 when it didn't say.
    pub listening_port: u16,
    /// The address it wants to be known by.
    pub ip_address: Option<String>,
    /// `capa eof`: it can find the end of a payload of unknown size.
    pub eof: bool,
    /// `capa psync2`: it understands `+CONTINUE <replid>`.
    pub psync2: bool,
    /// `capa keystead-rdb12`: it reads RDB version 12, where the data needs it.
    pub rdb12: bool,
    /// `rdb-only 1`: it wants the payload and nothing after it.
    pub rdb_only: bool,
    /// `rdb-filter-only functions`: these and no keys.
    pub no_keys: bool,
    /// `capa keystead-node:<run id>`: who it is; it wants to know whom we follow.
    pub node: Option<String>,
    /// `keystead-filter`: the part of the keyspace it wants.
    pub filter: Option<String>,
    /// `version`: what Valkey's replicas say of themselves.
    pub version: Option<String>,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// +OK.
    Ok,
    /// +OK, and whom we follow.
    Path,
    /// Nothing: acknowledgements are never answered.
    Silent,
    /// An acknowledgement arrived.
    Ack {
        /// Applied by the replica.
        offset: Offset,
        /// In its append-only file, if it says.
        fsynced: Option<Offset>,
    },
    /// GETACK: the primary we follow asks us.
    AckAsked,
    /// An error, without the leading minus.
    Error(String),
}

/// The longest address a replica may announce (NET_HOST_STR_LEN - 1).
const MAX_ADDRESS: usize = 255;

/// Handles the arguments behind `REPLCONF`, all pairs in order, as Redis does.
pub fn handle(facts: &mut Facts, args: &[&[u8]]) -> Answer {
    if !args.len().is_multiple_of(2) {
        return Answer::Error("ERR syntax error".into());
    }
    let mut answer = Answer::Ok;
    for (at, pair) in args.chunks_exact(2).enumerate() {
        let (name, value) = (pair[0].to_ascii_lowercase(), pair[1]);
        let done = match name.as_slice() {
            b"listening-port" => match number(value) {
                Some(port) => {
                    // Redis takes any number and shows what is left of it; only ports make sense here.
                    facts.listening_port = u16::try_from(port).unwrap_or(0);
                    None
                }
                None => Some(not_an_integer()),
            },
            b"ip-address" => address(facts, value),
            b"capa" => {
                match value.to_ascii_lowercase().as_slice() {
                    id if id.starts_with(NODE) => {
                        facts.node =
                            std::str::from_utf8(&id[NODE.len()..]).ok().filter(|id| is_node(id)).map(str::to_owned);
                        if facts.node.is_some() {
                            answer = Answer::Path;
                        }
                    }
                    b"eof" => facts.eof = true,
                    b"psync2" => facts.psync2 = true,
                    b"keystead-rdb12" => facts.rdb12 = true,
                    // An unknown capability is one that we don't have, not an error.
                    _ => {}
                }
                None
            }
            b"ack" => {
                let Some(offset) = number(value).and_then(|n| u64::try_from(n).ok()) else { return Answer::Silent };
                let fsynced = args.get(at * 2 + 2).filter(|name| name.eq_ignore_ascii_case(b"fack"));
                let fsynced = fsynced.and_then(|_| args.get(at * 2 + 3)).and_then(|v| number(v));
                let fsynced = fsynced.and_then(|n| u64::try_from(n).ok()).map(Offset);
                return Answer::Ack { offset: Offset(offset), fsynced };
            }
            b"getack" => return Answer::AckAsked,
            b"rdb-only" => match number(value) {
                Some(wish @ (0 | 1)) => {
                    facts.rdb_only = wish == 1;
                    None
                }
                Some(_) => Some(Answer::Error("ERR value is out of range, value must between 0 and 1".into())),
                None => Some(not_an_integer()),
            },
            b"keystead-filter" => match std::str::from_utf8(value).ok().filter(|name| is_name(name)) {
                Some(name) => {
                    facts.filter = Some(name.to_owned());
                    None
                }
                None => Some(Answer::Error("ERR REPLCONF keystead-filter is not a filter's name".into())),
            },
            b"rdb-filter-only" => filter(facts, value),
            b"version" => {
                facts.version = Some(String::from_utf8_lossy(value).into_owned());
                None
            }
            _ => {
                let name = String::from_utf8_lossy(pair[0]).replace(['\r', '\n'], " ");
                Some(Answer::Error(format!("ERR Unrecognized REPLCONF option: {name}")))
            }
        };
        if let Some(answer) = done {
            return answer;
        }
    }
    answer
}

fn address(facts: &mut Facts, value: &[u8]) -> Option<Answer> {
    if value.len() > MAX_ADDRESS {
        let said = String::from_utf8_lossy(value);
        return Some(Answer::Error(format!(
            "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
            said.len()
        )));
    }
    let text = String::from_utf8_lossy(value).into_owned();
    // It is printed in INFO, where a line end would forge a field.
    if text.chars().any(|c| c.is_control() || c == ',' || c == '=') {
        return Some(Answer::Error("ERR REPLCONF ip-address is not an address".into()));
    }
    facts.ip_address = (!text.is_empty()).then_some(text);
    None
}

fn filter(facts: &mut Facts, value: &[u8]) -> Option<Answer> {
    facts.no_keys = true;
    for word in value.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()) {
        if !word.eq_ignore_ascii_case(b"functions") {
            let word = String::from_utf8_lossy(word);
            return Some(Answer::Error(format!("ERR Unsupported rdb-filter-only option: {word}")));
        }
    }
    None
}

/// A number as Redis writes one: no plus, no zeros in front.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let strict = !text.starts_with('+') && (text == "0" || !text.trim_start_matches('-').starts_with('0'));
    text.parse().ok().filter(|_| strict)
}

fn not_an_integer() -> Answer {
    Answer::Error("ERR value is not an integer or out of range".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &str) -> (Answer, Facts) {
        let mut facts = Facts::default();
        let args: Vec<&[u8]> = args.split(' ').map(str::as_bytes).collect();
        (handle(&mut facts, &args), facts)
    }

    #[test]
    fn table() {
        let ack = |n, f: Option<u64>| Answer::Ack { offset: Offset(n), fsynced: f.map(Offset) };
        let cases: &[(&str, Answer)] = &[
            ("listening-port 6380", Answer::Ok),
            ("listening-port x", not_an_integer()),
            ("LISTENING-PORT 6380 capa eof CAPA psync2", Answer::Ok),
            ("capa keystead-zstd", Answer::Ok),
            ("capa keystead-node:123", Answer::Ok),
            ("capa eof capa keystead-node:0123456789abcdef0123456789abcdef01234567", Answer::Path),
            ("capa", Answer::Error("ERR syntax error".into())),
            ("ack 100", ack(100, None)),
            ("ACK 100 FACK 90", ack(100, Some(90))),
            ("ack x", Answer::Silent),
            ("ack -1", Answer::Silent),
            ("getack *", Answer::AckAsked),
            ("rdb-only 1", Answer::Ok),
            ("rdb-only 0", Answer::Ok),
            ("rdb-only x", not_an_integer()),
            ("rdb-only +1", not_an_integer()),
            ("rdb-only 2", Answer::Error("ERR value is out of range, value must between 0 and 1".into())),
            ("rdb-only -1", Answer::Error("ERR value is out of range, value must between 0 and 1".into())),
            ("rdb-filter-only functions", Answer::Ok),
            ("rdb-filter-only keys", Answer::Error("ERR Unsupported rdb-filter-only option: keys".into())),
            ("version 8.0.1", Answer::Ok),
            ("keystead-filter eu-1", Answer::Ok),
            ("keystead-filter a,b", Answer::Error("ERR REPLCONF keystead-filter is not a filter's name".into())),
            ("nope 1", Answer::Error("ERR Unrecognized REPLCONF option: nope".into())),
        ];
        for (args, want) in cases {
            assert_eq!(&run(args).0, want, "{args}");
        }
    }

    #[test]
    fn facts_are_kept_until_an_error() {
        let (_, facts) = run("listening-port 7 ip-address 10.0.0.1 capa eof capa psync2 nope 1 rdb-only 1");
        let want = Facts {
            listening_port: 7,
            ip_address: Some("10.0.0.1".into()),
            eof: true,
            psync2: true,
            ..Facts::default()
        };
        assert_eq!(facts, want);
    }

    #[test]
    fn an_address_can_not_forge_info() {
        for bad in ["a\r\nrole:slave", "a,state=online", "x=y", &"a".repeat(300)] {
            let mut facts = Facts::default();
            assert!(matches!(handle(&mut facts, &[b"ip-address", bad.as_bytes()]), Answer::Error(_)), "{bad:?}");
            assert_eq!(facts.ip_address, None);
        }
    }
}
