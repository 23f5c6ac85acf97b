//! Every row of the command table of a running server with its plugins is executed by a valid invocation, and answers as
//! redis-server does where that has the command; and the table in `core/engine/COMMANDS.md` is the one that runs.
//!
//! `examples.txt` has a line a row: name, expected reply, steps separated by ` ; `, the last of which is the one that
//! counts, and behind ` ;; ` what puts things right again. An expected reply begins with its kind (`+` simple string, `:`
//! integer, `$` bulk, `_` null, `*` array or map, `-` error, `!` the connection ends), then what it is: a value, an array's
//! length, an error's beginning with `_` for blanks. Redis must answer the same to the byte; with `~` in front only the same
//! kind (clocks, chances, sizes), with `.` nothing is asked of it (7.0 has no such command, or other words in 7.2).

mod bad_words;
mod coverage;
mod refusals;

use keystead_harness::{Client, Keystead, RedisServer, Reply, have};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

struct Example {
    name: &'static str,
    expected: &'static str,
    compared: Compared,
    steps: &'static str,
    after: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Compared {
    Exactly,
    ByKind,
    Not,
}

/// Commands that nobody can ask for something bad, each with the reason.
const NEVER_ASKED: &[(&str, &str)] = &[
    ("shutdown", "ends the server"),
    ("quit", "ends the connection"),
    ("sync", "hands the connection over"),
    ("psync", "hands the connection over"),
    ("monitor", "is told what others do"),
    ("replicaof", "would follow whatever was named"),
    ("slaveof", "would follow whatever was named"),
    ("migrate", "talks to another server, and waits for it"),
    ("client|reply", "may switch replies off"),
    ("config|set", "has its own test of values"),
];

/// Whether an example is one of those, or of a test's own such list.
fn is_left_out(own: &[(&str, &str)], example: &Example) -> bool {
    NEVER_ASKED.iter().chain(own).any(|(name, _)| *name == example.name)
}

fn examples() -> Vec<Example> {
    let lines = include_str!("examples.txt").lines().filter(|line| !line.starts_with('#'));
    let example = |line: &'static str| {
        let (name, rest) = line.split_once(' ').expect("a name");
        let (expected, steps) = rest.trim_start().split_once(' ').expect("what is expected");
        let (steps, after) = steps.split_once(" ;; ").unwrap_or((steps, ""));
        let (compared, expected) = match expected.split_at(1) {
            ("~", rest) => (Compared::ByKind, rest),
            (".", rest) => (Compared::Not, rest),
            _ => (Compared::Exactly, expected),
        };
        Example { name, expected, compared, steps: steps.trim(), after }
    };
    lines.map(example).collect()
}

/// A step's words: quotes keep blanks; inside double quotes `\n` and `\x00` are what they are elsewhere.
fn words(step: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    let mut chars = step.bytes();
    while let Some(byte) = chars.next() {
        match (byte, quote) {
            (b' ', None) => words.extend(word.take()),
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == byte => quote = None,
            (b'\\', Some(b'"')) => word.get_or_insert_default().push(match chars.next() {
                Some(b'n') => b'\n',
                Some(b'x') => {
                    let hex = [chars.next(), chars.next()].map(|digit| digit.expect("two digits") as char);
                    u8::from_str_radix(&String::from_iter(hex), 16).expect("two digits")
                }
                other => other.expect("something behind the backslash"),
            }),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

/// How often a row ran and how often it was refused, by INFO.
fn calls(client: &mut Client, name: &str) -> (u64, u64) {
    let info = client.info("commandstats");
    let stats = info.get(&format!("cmdstat_{name}")).map_or("", String::as_str);
    let number = |field: &str| {
        let found = stats.split(',').find_map(|part| part.strip_prefix(field)?.parse::<u64>().ok());
        found.unwrap_or(0)
    };
    (number("calls="), number("rejected_calls="))
}

/// Runs an example on a connection of its own and gives the last step's reply; `None` if the connection ended instead.
fn run(port: u16, peer: u16, example: &Example) -> Option<Reply> {
    let mut client = Client::connect(port);
    client.cmd("FLUSHALL");
    let id = client.command(&["CLIENT", "ID"]).as_int().expect("an id");
    let fill = |step: &str| words(&step.replace("{peer}", &peer.to_string()).replace("{id}", &id.to_string()));
    let steps: Vec<&str> = example.steps.split(" ; ").collect();
    let (last, first) = steps.split_last().expect("at least one step");
    for step in first {
        let reply = client.command(&fill(step));
        assert!(!reply.is_error(), "{}: {step}: {reply:?}", example.name);
    }
    let reply = match example.name {
        // A payload without an end of its own.
        "sync" => Some(Reply::Bulk(first_bytes(port, "SYNC"))),
        _ => client.try_command(&fill(last)).ok(),
    };
    for step in example.after.split(" ; ").filter(|step| !step.is_empty()) {
        let reply = client.command(&fill(step));
        assert!(!reply.is_error(), "{}: {step}: {reply:?}", example.name);
    }
    reply
}

/// 7.2 says of HELP "Print this help.".
fn help_of_7_2(reply: Reply) -> Reply {
    let Reply::Array(mut lines) = reply else { return reply };
    if let Some(Reply::Simple(last)) = lines.last_mut()
        && last == "    Prints this help."
    {
        *last = "    Print this help.".to_owned();
    }
    Reply::Array(lines)
}

/// The first bytes that aren't line ends, up to the first line's end.
fn first_bytes(port: u16, line: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    socket.write_all(format!("{line}\r\n").as_bytes()).expect("it is taken");
    let mut bytes = Vec::new();
    while bytes.len() < 100 && !(bytes.ends_with(b"\r\n") && bytes.len() > 2) {
        let mut one = [0];
        socket.read_exact(&mut one).expect("an answer");
        if !bytes.is_empty() || !one[0].is_ascii_whitespace() {
            bytes.push(one[0]);
        }
    }
    assert_eq!(bytes[0], b'$', "{}", bytes.escape_ascii());
    bytes
}

fn kind(reply: Option<&Reply>) -> char {
    match reply {
        None => '!',
        Some(Reply::Simple(_)) => '+',
        Some(Reply::Error(_)) => '-',
        Some(Reply::Int(_)) => ':',
        Some(Reply::Bulk(_)) => '$',
        Some(Reply::Null) => '_',
        Some(_) => '*',
    }
}

/// Whether a reply is what its line says.
fn expected(reply: Option<&Reply>, expected: &str) -> bool {
    let Some(first) = expected.chars().next() else { return reply.is_some() };
    let value = &expected[1..];
    kind(reply) == first
        && match reply {
            _ if value.is_empty() => true,
            Some(Reply::Int(n)) => n.to_string() == value,
            Some(Reply::Error(text)) => text.starts_with(&value.replace('_', " ")),
            Some(Reply::Simple(text)) => text == value || text.starts_with(&format!("{value} ")),
            Some(Reply::Bulk(bytes)) => bytes == value.as_bytes(),
            Some(reply) => reply.items().len().to_string() == value,
            None => false,
        }
}

/// A node with everything that adds commands to the data port.
fn node() -> Keystead {
    Keystead::builder()
        .server("enable_debug_command: \"local\", aclfile: \"users.acl\"")
        .file("users.acl", b"user default on nopass ~* &* +@all\n")
        .plugin("replication", "()")
        .plugin("scripting", "()")
        .plugin("persistence-rdb", "()")
        .plugin("persistence-aof", "(enabled: true)")
        .start()
}

/// All rows' names: containers aside, which can't be called, but for COMMAND.
fn rows(client: &mut Client) -> BTreeSet<String> {
    let all: BTreeSet<String> = client.cmd("COMMAND LIST").texts().into_iter().collect();
    let containers: BTreeSet<String> =
        all.iter().filter_map(|name| name.split_once('|')).map(|(container, _)| container.to_owned()).collect();
    all.into_iter().filter(|name| name == "command" || !containers.contains(name)).collect()
}

#[test]
fn every_row_has_an_example_and_every_example_a_row() {
    let node = node();
    let rows = rows(&mut node.client());
    let names: BTreeSet<String> = examples().iter().map(|example| example.name.to_owned()).collect();
    assert_eq!(names.len(), examples().len(), "a name stands twice");
    let without: Vec<_> = rows.difference(&names).collect();
    let unknown: Vec<_> = names.difference(&rows).collect();
    assert!(without.is_empty() && unknown.is_empty(), "no example: {without:?}; no such row: {unknown:?}");
}

#[test]
fn every_row_runs_and_answers_as_redis_does() {
    let node = node();
    let acl = tempfile::NamedTempFile::new().expect("a temporary file");
    let acl = acl.path().display().to_string();
    let redis = have("redis-server").then(|| RedisServer::start(&["--appendonly", "yes", "--aclfile", &acl]));
    let (mut watcher, mut wrong) = (node.client(), BTreeMap::new());
    for example in examples() {
        let peer = redis.as_ref().map_or(node.port(), RedisServer::port);
        let before = calls(&mut watcher, example.name);
        let mine = run(node.port(), peer, &example);
        if !expected(mine.as_ref(), example.expected) {
            wrong.insert(example.name, format!("{mine:?} isn't {}", example.expected));
            continue;
        }
        // The reset counts itself; nobody counts for a server that ended.
        if !["config|resetstat", "shutdown"].contains(&example.name) {
            let (ran, refused) = calls(&mut watcher, example.name);
            if ran == before.0 || refused > before.1 {
                wrong.insert(example.name, format!("ran {ran} times, refused {refused}, before that {before:?}"));
            }
        }
        let Some(redis) = redis.as_ref().filter(|_| example.compared != Compared::Not) else { continue };
        let theirs = run(redis.port(), node.port(), &example).map(help_of_7_2);
        let same = match example.compared {
            Compared::Exactly => theirs == mine,
            _ => kind(theirs.as_ref()) == kind(mine.as_ref()),
        };
        if !same {
            wrong.insert(example.name, format!("{mine:?}, redis {theirs:?}"));
        }
    }
    if redis.is_none() {
        println!("SKIPPED: the comparison, redis-server is not installed");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
