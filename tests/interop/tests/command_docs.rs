//! COMMAND DOCS beside redis-server's: which words and kinds of arguments a command takes, plugins' commands and the
//! sentinel's too. What 7.2 tells otherwise than 7.0 stands in a table.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, Keystead, RedisServer, Reply, have};
use std::collections::BTreeMap;

/// Told otherwise by 7.2.
const OF_7_2: &[&str] = &[
    "bitop",
    "client|kill",
    "client|list",
    "command|getkeys",
    "command|getkeysandflags",
    "config|get",
    "geohash",
    "geopos",
    "georadius",
    "georadiusbymember",
    "migrate",
    "pfmerge",
    "psubscribe",
    "xinfo|stream",
    "zrank",
    "zrevrank",
];

type Shapes = BTreeMap<String, String>;

#[test]
fn arguments_are_redis_s() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let plugins = ["replication", "scripting", "persistence-rdb", "persistence-aof"];
    let ours = plugins.iter().fold(Keystead::builder(), |builder, name| builder.plugin(name, "()")).start();
    let theirs = RedisServer::start(&[]);
    let (ours, theirs) = (shapes(&mut ours.client()), shapes(&mut theirs.client()));
    let mut wrong = Vec::new();
    for (name, shape) in &ours {
        if let Some(want) = theirs.get(name).filter(|want| *want != shape && !OF_7_2.contains(&name.as_str())) {
            wrong.push(format!("{name}\n   here: {shape}\n  there: {want}"));
        }
    }
    assert!(ours.len() > 300, "{}", ours.len());
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

fn shapes(client: &mut Client) -> Shapes {
    let mut all = Shapes::new();
    collect(&client.cmd("COMMAND DOCS"), &mut all);
    all
}

fn pairs(map: &Reply) -> Vec<(String, Reply)> {
    let items = map.items();
    items.chunks_exact(2).map(|pair| (pair[0].as_text().unwrap(), pair[1].clone())).collect()
}

fn collect(commands: &Reply, all: &mut Shapes) {
    for (name, docs) in pairs(commands) {
        if let Some(subs) = docs.get("subcommands") {
            collect(&subs, all);
        }
        all.insert(name, docs.get("arguments").map(|list| shape(&list)).unwrap_or_default());
    }
}

/// Words, kinds and flags, without the names: those have changed.
fn shape(arguments: &Reply) -> String {
    let each = arguments.items().into_iter().map(|argument| {
        let text = |name: &str| argument.get(name).and_then(|value| value.as_text()).unwrap_or_default();
        let parts = argument.get("arguments").map(|parts| shape(&parts)).unwrap_or_default();
        let mut flags = argument.get("flags").map(|flags| flags.texts()).unwrap_or_default();
        flags.sort();
        format!("{} {} {}{parts}", text("type"), text("token"), flags.join(" "))
    });
    format!("({})", each.collect::<Vec<_>>().join(", "))
}
