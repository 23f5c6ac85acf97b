//! Every command of the data types with absurd arguments: no panic, and exactly one well-formed reply each.

#![allow(clippy::unwrap_used)]

mod kit;

use keystead_engine::EngineOptions;
use keystead_engine::commands::{
    bits, geo, hash_expiry, hashes, hyperloglog, keys, lists, sets, streams, strings, zsets,
};
use keystead_engine::resp::OwnedArgs;
use keystead_engine::spec::CommandSpec;
use kit::Kit;

const TABLES: &[&[CommandSpec]] = &[
    strings::TABLE,
    bits::TABLE,
    keys::TABLE,
    lists::TABLE,
    hashes::TABLE,
    hash_expiry::TABLE,
    sets::TABLE,
    zsets::TABLE,
    streams::TABLE,
    geo::TABLE,
    hyperloglog::TABLE,
];

const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "4611686018427387904",
    "-4611686018427387904",
    "18446744073709551615",
    "4294967295",
    "4294967296",
    "2147483648",
    "-2147483649",
    "9223372036854775",
    "1e308",
    "-1e308",
    "1e-308",
    "inf",
    "FIELDS",
    "-inf",
    "nan",
    "",
    " ",
    "x",
    "[x",
    "(x",
    "-",
    "+",
    "(1",
    "*",
    "#",
    "#9223372036854775807",
    "k",
    "k",
    "k",
    "str",
    "list",
    "hash",
    "set",
    "zset",
    "big",
    "a",
    "b",
    "nx",
    "xx",
    "gt",
    "lt",
    "ch",
    "incr",
    "ex",
    "px",
    "exat",
    "pxat",
    "keepttl",
    "persist",
    "get",
    "limit",
    "count",
    "rank",
    "maxlen",
    "withscores",
    "withscore",
    "withvalues",
    "byscore",
    "bylex",
    "rev",
    "weights",
    "aggregate",
    "sum",
    "min",
    "max",
    "match",
    "type",
    "left",
    "right",
    "before",
    "after",
    "store",
    "by",
    "alpha",
    "desc",
    "db",
    "replace",
    "absttl",
    "idletime",
    "freq",
    "bit",
    "byte",
    "u8",
    "i64",
    "u63",
    "set",
    "incrby",
    "overflow",
    "sat",
    "wrap",
    "fail",
    "idx",
    "len",
    "minmatchlen",
    "withmatchlen",
    "and",
    "not",
    "xor",
    "stream",
    "stream",
    "stream",
    "group",
    "1-1",
    "18446744073709551615-18446744073709551615",
    "18446744073709551615-*",
    "(18446744073709551615-18446744073709551615",
    "(0-0",
    "$",
    ">",
    "~",
    "=",
    "minid",
    "streams",
    "block",
    "mkstream",
    "entriesread",
    "entriesadded",
    "maxdeletedid",
    "idle",
    "time",
    "retrycount",
    "force",
    "justid",
    "lastid",
    "full",
];

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// The length of the one reply at the start of `bytes`.
fn reply_len(bytes: &[u8]) -> usize {
    let line = bytes.windows(2).position(|w| w == b"\r\n").expect("a reply ends its line") + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).unwrap().parse::<i64>().unwrap();
    match bytes[0] {
        b'$' if number() >= 0 => line + number() as usize + 2,
        b'*' | b'~' | b'%' => {
            let parts = number().max(0) * if bytes[0] == b'%' { 2 } else { 1 };
            (0..parts).fold(line, |at, _| at + reply_len(&bytes[at..]))
        }
        b'+' | b'-' | b':' | b',' | b'_' | b'$' | b'#' => line,
        other => panic!("not a reply: {:?}", other as char),
    }
}

fn fill(kit: &mut Kit) {
    let c = kit.connect();
    kit.cmd(c, "FLUSHALL");
    for line in [
        "SET str hello",
        "SET k 10",
        "RPUSH list a b 1 2 a",
        "HSET hash a 1 b x 1 9223372036854775807",
        "SADD set a b 1 2",
        "ZADD zset 1 a 2 b -inf x 1e308 1",
        "XADD stream 1-1 a b",
        "XADD stream 2-1 a b c d",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group a COUNT 1 STREAMS stream >",
    ] {
        kit.cmd(c, line);
    }
    for i in 0..300 {
        kit.cmd(c, &format!("ZADD big {i} m{i}"));
    }
    kit.engine.disconnect(c);
}

/// The rows of a table, subcommands with the name of their container.
fn rows(table: &'static [CommandSpec]) -> impl Iterator<Item = (&'static CommandSpec, Option<&'static str>)> {
    let subs = |spec: &'static CommandSpec| spec.subs.iter().map(|sub| (sub, Some(spec.name)));
    table.iter().flat_map(move |spec| std::iter::once((spec, None)).chain(subs(spec)))
}

#[test]
fn nothing_panics_and_every_command_answers_once() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut kit = Kit::default();
    for proto in ["HELLO 2", "HELLO 3"] {
        for table in TABLES {
            for (spec, parent) in rows(table) {
                fill(&mut kit);
                for _ in 0..150 {
                    let c = kit.connect();
                    kit.cmd(c, proto);
                    let least = spec.arity.unsigned_abs() as usize;
                    let more = if spec.arity < 0 { rng.below(6) } else { 0 };
                    let mut words: Vec<&str> = parent.into_iter().chain([spec.name]).collect();
                    words.extend((words.len()..least + more).map(|_| WORDS[rng.below(WORDS.len())]));
                    // Strings of half a gigabyte are allowed; here they would only take time.
                    let huge = words.iter().any(|w| matches!(*w, "4294967295" | "2147483648"));
                    if huge && matches!(spec.name, "setbit" | "setrange" | "bitfield") {
                        continue;
                    }
                    let args: OwnedArgs = words.iter().collect();
                    kit.engine.begin_turn(kit.now);
                    let flow = kit.engine.execute(c, args.view());
                    let _ = kit.engine.end_turn();
                    let mut out = Vec::new();
                    kit.engine.swap_out(c, &mut out);
                    if flow == keystead_engine::Flow::Parked {
                        assert!(out.is_empty(), "{words:?}");
                    } else {
                        assert_eq!(reply_len(&out), out.len(), "{words:?}: {}", String::from_utf8_lossy(&out));
                    }
                    kit.engine.disconnect(c);
                }
            }
        }
    }
}

/// Each parameter of CONFIG takes what it takes; whatever that is, the server goes on.
#[test]
fn no_value_of_a_parameter_breaks_the_server() {
    let mut names = Kit::default();
    let c = names.connect();
    let all = names.cmd(c, "CONFIG GET *");
    let names: Vec<&str> = all.split("\r\n").filter(|word| !word.starts_with(['$', '*'])).step_by(2).collect();
    assert!(names.len() > 100);
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros() as u64);
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let mut kit = Kit::with(EngineOptions { clock: Some(clock), ..EngineOptions::default() });
        let (c, other) = (kit.connect(), kit.connect());
        for value in
            ["-9223372036854775808", "-1", "0", "1", "2147483647", "9223372036854775807", "18446744073709551615gb"]
        {
            let set = kit.cmd(c, &format!("CONFIG SET {name} {value}"));
            assert!(!set.contains("internal error"), "{name} {value}: {set}");
            for line in ["SET k v", "RPUSH l a b", "GET k", "HSET h f v", "INFO", "FLUSHALL"] {
                let reply = kit.cmd(other, line);
                assert!(!reply.contains("internal error"), "{name} {value}: {line}: {reply}");
            }
            kit.advance(100);
        }
    }
}
