//! The same random commands to Keystead and to a stock redis-server: every reply and, now and then, the digest of all
//! keys must be the same.
//!
//! `DIFF_SEED=n` runs one seed, `DIFF_COMMANDS=n` that many commands, `DIFF_PORT=n` takes a running
//! server instead of a new one, `DIFF_GO_ON=1` lists replies that differ and goes on. Differences that are meant are listed in `accepted`.

use keystead_harness::{Client, Keystead, RedisServer, Reply, have};
use keystead_interop::compare::{differences, digest};
use keystead_interop::random::{Command, Commands, DATABASES, shown};

const CLOCK_SLACK_MS: i64 = 2_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A reply in a form that two servers must share: members of sets in order of their names, doubles by value.
fn neutral(name: &str, reply: &Reply) -> String {
    const UNORDERED: [&str; 7] = ["SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS", "KEYS"];
    let mut words: Vec<String> = match reply {
        Reply::Array(items) => {
            items.iter().map(|item| neutral(if has_scores(name) { "Z" } else { "" }, item)).collect()
        }
        Reply::Bulk(bytes) if has_scores(name) => return number_by_value(bytes),
        other => return format!("{other:?}"),
    };
    if UNORDERED.contains(&name) {
        words.sort();
    }
    if name == "HGETALL" {
        let mut pairs: Vec<_> = words.chunks(2).map(<[String]>::to_vec).collect();
        pairs.sort();
        words = pairs.concat();
    }
    format!("[{}]", words.join(", "))
}

fn has_scores(name: &str) -> bool {
    name.starts_with('Z') || name.starts_with("BZ")
}

/// A score, which commands of sorted sets tell: 7.0 prints 17 digits, 7.2 and Keystead the shortest ones that read back the same.
fn number_by_value(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<f64>() {
        Ok(value) if text.contains(['.', 'e']) => format!("{value:?}"),
        _ => format!("{text:?}"),
    }
}

fn agree(command: &Command, ours: &Reply, theirs: &Reply) -> bool {
    let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
    neutral(&name, ours) == neutral(&name, theirs) || accepted(command, ours, theirs)
}

/// Differences that are meant.
fn accepted(command: &Command, ours: &Reply, theirs: &Reply) -> bool {
    let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
    match (name.as_str(), ours, theirs) {
        // Two clocks.
        ("TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME", Reply::Int(a), Reply::Int(b)) => {
            *a > 0 && *b > 0 && (a - b).abs() <= CLOCK_SLACK_MS
        }
        // Redis remembers that a short string was once appended to.
        ("OBJECT", Reply::Bulk(a), Reply::Bulk(b)) if a == b"embstr" => b == b"raw",
        // Small lists and sets of text are listpacks since 7.2.
        ("OBJECT", Reply::Bulk(a), Reply::Bulk(b)) => a == b"listpack" && (b == b"quicklist" || b == b"hashtable"),
        _ => false,
    }
}

fn run(seed: u64, count: u64, ours: &mut Client, theirs: &mut Client) {
    let mut commands = Commands::deterministic(seed);
    let go_on = setting("DIFF_GO_ON").is_some();
    let (mut number, mut history, mut queue) = (0, Vec::new(), Vec::new());
    while number < count {
        for command in commands.unit() {
            number += 1;
            let a = ours.command(&command);
            if go_on && a.is_error() && format!("{a:?}").contains("unknown command") {
                println!("MISSING {}", shown(&command));
                continue;
            }
            let b = theirs.command(&command);
            let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
            history.push(shown(&command));
            let same = if name == "EXEC" {
                let queued = std::mem::take(&mut queue);
                queued.iter().zip(a.items().iter().zip(&b.items())).all(|(c, (a, b))| agree(c, a, b))
                    && (a.items().len(), a.is_error()) == (b.items().len(), b.is_error())
            } else {
                agree(&command, &a, &b)
            };
            if a == "QUEUED" {
                queue.push(command.clone());
            }
            if name == "DISCARD" {
                queue.clear();
            }
            if !same && go_on {
                println!("DIFFERENT {}\n ours   {a:?}\n theirs {b:?}", shown(&command));
                continue;
            }
            let last = &history[history.len().saturating_sub(12)..];
            assert!(
                same,
                "seed {seed}, command {number}: {}\nours:   {a:?}\ntheirs: {b:?}\nbefore: {last:#?}",
                shown(&command)
            );
        }
        if number % 50 < 5 && !go_on {
            let last = &history[history.len().saturating_sub(60)..];
            assert!(
                digest(ours) == digest(theirs),
                "seed {seed}, command {number}: the data differs\n{}\nbefore: {last:#?}",
                differences(ours, theirs, &DATABASES)
            );
        }
    }
}

#[test]
fn replies_and_data_are_those_of_redis() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let seeds = setting("DIFF_SEED").map_or(vec![1, 2, 3, 4, 5], |seed| vec![seed]);
    let running = setting("DIFF_PORT").map(|port| port as u16);
    let ours = running.is_none().then(Keystead::plain);
    let port = running.or(ours.as_ref().map(Keystead::port)).expect("one of the two");
    let theirs = RedisServer::start(&[]);
    for seed in seeds {
        let (mut a, mut b) = (Client::connect(port), theirs.client());
        if running.is_none() {
            a.ok("FLUSHALL");
        }
        b.ok("FLUSHALL");
        run(seed, setting("DIFF_COMMANDS").unwrap_or(3_000), &mut a, &mut b);
    }
}

/// The test itself is tested with two stock servers.
#[test]
fn two_stock_servers_agree() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let (one, two) = (RedisServer::start(&[]), RedisServer::start(&[]));
    run(1, 2_000, &mut one.client(), &mut two.client());
}
