//! The table of commands in the docs: what Redis 7.2 has and where it is here, made from the tables that run.
//!
//! `redis-7.2.tsv` lists 7.2's names, groups and versions.

use super::{Client, Keystead, Reply};
use keystead_harness::free_port;
use std::collections::BTreeMap;

/// What 7.2 has and isn't here, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("module|load", "plugins are listed in the configuration file"),
    ("module|loadex", "plugins are listed in the configuration file"),
    ("module|unload", "plugins stay for the life of the process"),
    ("pfselftest", "a self test of Redis' own code"),
];

/// A row as a client sees it.
struct Row {
    room: &'static str,
    group: String,
    since: String,
    arity: i64,
    flags: String,
    summary: String,
}

/// Every row, by name: of the core, then what each plugin adds.
fn rows() -> BTreeMap<String, Row> {
    let sentinel_port = free_port();
    let sentinel = format!("(port: {sentinel_port})");
    let rooms = [
        ("core", None),
        ("replication", Some("()")),
        ("scripting", Some("()")),
        ("persistence-rdb", Some("()")),
        ("persistence-aof", Some("()")),
        ("sentinel", Some(sentinel.as_str())),
    ];
    let mut all = BTreeMap::new();
    for (room, config) in rooms {
        let mut builder = Keystead::builder().server("enable_debug_command: \"local\"");
        if let Some(config) = config {
            builder = builder.plugin(room, config);
        }
        if room == "sentinel" {
            builder = builder.ready_port(sentinel_port);
        }
        let node = builder.start();
        let mut client = node.client();
        for name in client.cmd("COMMAND LIST").texts() {
            if !all.contains_key(&name) {
                all.insert(name.clone(), row(&mut client, room, &name));
            }
        }
    }
    all
}

fn row(client: &mut Client, room: &'static str, name: &str) -> Row {
    let info = client.command(&["COMMAND", "INFO", name]).items().remove(0).items();
    let docs = client.command(&["COMMAND", "DOCS", name]).items();
    let text = |field: &str| docs[1].get(field).and_then(|text| text.as_text()).unwrap_or_default();
    let flags: Vec<String> = info[2].items().iter().filter_map(Reply::as_text).collect();
    let arity = info[1].as_int().expect("an arity");
    let (group, since, summary) = (text("group"), text("since"), text("summary"));
    Row { room, group, since, arity, flags: flags.join(" "), summary }
}

/// 7.2's names with their groups and versions.
fn redis() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let lines = include_str!("redis-7.2.tsv").lines().filter(|line| !line.starts_with('#'));
    let fields = |line: &'static str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("three fields");
        (next(), (next(), next()))
    };
    lines.map(fields).collect()
}

fn shown(name: &str) -> String {
    name.to_uppercase().replace('|', " ")
}

fn line(name: &str, row: &Row) -> String {
    let Row { room, group, since, arity, flags, summary } = row;
    format!("| `{}` | {room} | {group} | {since} | {arity} | {flags} | {summary} |\n", shown(name))
}

#[test]
fn the_table_in_the_docs_is_the_one_that_runs() {
    let (rows, redis) = (rows(), redis());
    let left_out: BTreeMap<&str, &str> = LEFT_OUT.iter().copied().collect();
    for name in redis.keys() {
        assert!(
            rows.contains_key(*name) != left_out.contains_key(name),
            "{name} is neither here nor left out with a reason"
        );
    }
    let since = |name: &str| redis.get(name).map(|(_, since)| *since);
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(name, row)| Some((name, &row.since, since(name)?)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(name, ours, theirs)| format!("{name}: since {ours}, in Redis since {theirs}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let (of_redis, beyond): (Vec<_>, Vec<_>) = rows.iter().partition(|(name, _)| redis.contains_key(name.as_str()));
    let lines = |rows: &[(&String, &Row)]| rows.iter().map(|(name, row)| line(name, row)).collect::<String>();
    let top = |names: &mut dyn Iterator<Item = &str>| names.filter(|name| !name.contains('|')).count();
    let out: String = redis
        .iter()
        .filter_map(|(name, (group, since))| {
            let reason = left_out.get(name)?;
            Some(format!("| `{}` | {group} | {since} | {reason} |\n", shown(name)))
        })
        .collect();
    let head =
        "| command | room | group | since Redis | arity | flags | what it does |\n|---|---|---|---|---|---|---|\n";
    let text = format!(
        "# Commands\n\n\
         Made from the command tables of running servers by `UPDATE=1 cargo nextest run -p keystead-interop \
         the_table_in_the_docs`; the test keeps it true. Redis 7.2 has {} commands ({} with subcommands); {} of them \
         ({}) are here. Cluster mode's answer that cluster support is disabled.\n\n\
         ## Left out\n\n| command | group | since Redis | why |\n|---|---|---|---|\n{out}\n\
         ## Beyond Redis 7.2\n\nSubcommands of DEBUG aren't documented by Redis and differ from version to \
         version.\n\n{head}{}\n\
         ## Redis 7.2's\n\n{head}{}",
        top(&mut redis.keys().copied()),
        redis.len(),
        top(&mut of_redis.iter().map(|(name, _)| name.as_str())),
        of_redis.len(),
        lines(&beyond),
        lines(&of_redis),
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../core/engine/COMMANDS.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).expect("the repository is writable");
    }
    let written = std::fs::read_to_string(path).expect("COMMANDS.md");
    let differs = written.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(written == text, "COMMANDS.md isn't the table that runs (UPDATE=1 writes it anew): {differs:?}");
}
