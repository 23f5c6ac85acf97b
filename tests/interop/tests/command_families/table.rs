//! What COMMAND INFO tells clients of our commands: arity, flags, key positions and categories as redis-server
//! has them.

use super::peers::{Ours, Redis};
use keystead_engine::commands::{bits, geo, hashes, hyperloglog, keys, lists, sets, streams, strings, zsets};
use std::collections::BTreeSet;

#[derive(Debug, PartialEq)]
struct Info {
    arity: String,
    flags: BTreeSet<String>,
    keys: Vec<String>,
    categories: BTreeSet<String>,
}

/// The reply in lines: `*1 *10 $n name :arity *n +flag … :first :last :step *n +@category …`.
fn parse(reply: &[u8]) -> Option<Info> {
    let text = String::from_utf8_lossy(reply).into_owned();
    let mut lines = text.split("\r\n").skip(4);
    let number = |line: &str| line[1..].parse::<usize>().unwrap();
    let arity = lines.next()?.to_owned();
    let n = number(lines.next()?);
    let flags = lines.by_ref().take(n).map(str::to_owned).collect();
    let keys = lines.by_ref().take(3).map(str::to_owned).collect();
    let n = number(lines.next()?);
    let categories = lines.take(n).map(str::to_owned).collect();
    Some(Info { arity, flags, keys, categories })
}

pub fn compare() {
    let mut redis = Redis::start();
    let mut ours = Ours::start();
    let mut wrong = Vec::new();
    let tables = [
        strings::TABLE,
        bits::TABLE,
        keys::TABLE,
        lists::TABLE,
        hashes::TABLE,
        sets::TABLE,
        zsets::TABLE,
        streams::TABLE,
        geo::TABLE,
        hyperloglog::TABLE,
    ];
    for table in tables {
        for spec in table {
            let question = [b"COMMAND".to_vec(), b"INFO".to_vec(), spec.name.as_bytes().to_vec()];
            let (Some(mut theirs), Some(mine)) = (parse(&redis.run(&question)), parse(&ours.run(&question))) else {
                panic!("{}: unknown to one of them", spec.name);
            };
            // Since 7.2 scripts may call what would block.
            if theirs.flags.contains("+blocking") {
                theirs.flags.remove("+noscript");
            }
            // 7.2 gave ZRANK an option; a container's keys are its subcommands'; SORT's keys are told by GETKEYS alone.
            let (rank, container) = (spec.name.ends_with("rank"), !spec.subs.is_empty());
            // So does the place of GEORADIUS' destination.
            if matches!(spec.name, "sort" | "georadius" | "georadiusbymember") {
                theirs.keys.clone_from(&mine.keys);
            }
            if theirs != mine && !rank && !container {
                wrong.push(format!("{}\n  redis: {theirs:?}\n   ours: {mine:?}", spec.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
