//! `appendonly`, `appendfsync` and `save` changed at run time, under load, with processes that are killed: from one strategy
//! to the other and back, nothing is lost that was promised when it was acknowledged.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, wait_until};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What is promised now: each change is another number, an odd one promises nothing.
type Promise = AtomicU64;

/// The last acknowledged value of each counter, and what was promised then.
type Acked = Mutex<BTreeMap<String, i64>>;

/// Raises a counter until the server is gone or it is told to stop; keeps what was acknowledged under one promise.
fn raise(port: u16, name: &str, promise: &Promise, acked: &Acked, stop: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    while !stop.load(Ordering::SeqCst) {
        let before = promise.load(Ordering::SeqCst);
        let Ok(reply) = client.try_command(&["INCR", name]) else { return };
        let value = reply.as_int().unwrap_or_else(|| panic!("{reply:?}"));
        if before.is_multiple_of(2) && promise.load(Ordering::SeqCst) == before {
            acked.lock().unwrap().insert(name.to_owned(), value);
        }
    }
}

fn node() -> Keystead {
    Keystead::builder()
        .plugin("persistence-rdb", "(save: [])")
        .plugin("persistence-aof", "(enabled: false, fsync: always)")
        .plugin("replication", "()")
        .start()
}

fn persistence(node: &Keystead, field: &str) -> String {
    node.client().info("persistence")[field].clone()
}

fn expect(node: &Keystead, acked: &Acked, what: &str) {
    let mut client = node.client();
    let acked = acked.lock().unwrap();
    for (name, value) in acked.iter() {
        let there = client.cmd(&format!("GET {name}")).as_text().map_or(0, |text| text.parse().unwrap());
        assert!(there >= *value, "{what}: {name} was at {value} and is {there}\n{}", node.process.log());
    }
}

/// From RDB to AOF to RDB and so on, killed behind each change while clients write: the AOF has all that was acknowledged
/// since its first base, the RDB file all that was when it was asked for.
#[test]
fn from_one_strategy_to_the_other_and_back() {
    let mut node = node();
    node.client().ok("SET from-rdb 1");
    node.client().ok("SAVE");
    let acked = Acked::default();
    for round in 0..6u64 {
        let (stop, promise) = (AtomicBool::new(false), Promise::new(1));
        let to_aof = round % 2 == 0;
        let port = node.port();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let (promise, acked, stop) = (&promise, &acked, &stop);
                scope.spawn(move || raise(port, name, promise, acked, stop));
            }
            let mut client = node.client();
            if to_aof {
                client.ok("CONFIG SET appendonly yes");
                client.ok("CONFIG REWRITE");
                let written = || persistence(&node, "aof_rewrite_in_progress") == "0";
                wait_until("the first base", DEADLINE, written);
                // From here on each reply is a promise.
                promise.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(60 + round * 23));
            } else {
                // What is acknowledged before SAVE is asked for is in its file.
                promise.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(60 + round * 23));
                promise.fetch_add(1, Ordering::SeqCst);
                client.ok("CONFIG SET appendonly no");
                client.ok("SAVE");
                client.ok("CONFIG REWRITE");
            }
            node.process.kill();
            stop.store(true, Ordering::SeqCst);
        });
        node.restart();
        let on = node.client().cmd("CONFIG GET appendonly").get("appendonly").and_then(|on| on.as_text());
        assert_eq!(on.as_deref(), Some(if to_aof { "yes" } else { "no" }), "round {round}");
        assert!(!acked.lock().unwrap().is_empty(), "round {round}: nothing was promised");
        expect(&node, &acked, &format!("round {round}"));
        assert_eq!(node.client().cmd("GET from-rdb"), "1");
    }
}

/// All settings at random while clients write, with saves and rewrites in between: what was acknowledged under `always` is
/// there, whatever was set before and behind.
#[test]
fn settings_that_change_under_load_lose_nothing() {
    let mut node = node();
    node.client().ok("CONFIG SET appendonly yes");
    node.client().ok("CONFIG REWRITE");
    wait_until("the first base", DEADLINE, || persistence(&node, "aof_rewrite_in_progress") == "0");
    let acked = Acked::default();
    for round in 0..6u64 {
        let (stop, promise) = (AtomicBool::new(false), Promise::new(1));
        let port = node.port();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let (promise, acked, stop) = (&promise, &acked, &stop);
                scope.spawn(move || raise(port, name, promise, acked, stop));
            }
            let (promise, stop) = (&promise, &stop);
            scope.spawn(move || change(port, round, promise, stop));
            std::thread::sleep(Duration::from_millis(300 + round * 67));
            node.process.kill();
            stop.store(true, Ordering::SeqCst);
        });
        node.restart();
        expect(&node, &acked, &format!("round {round}"));
    }
    assert!(!acked.lock().unwrap().is_empty(), "`always` was never in force");
}

/// Sets what comes next until the server is gone.
fn change(port: u16, seed: u64, promise: &Promise, stop: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    let mut step = seed;
    while !stop.load(Ordering::SeqCst) {
        step += 1;
        let other = ["everysec", "no"][step as usize % 2];
        promise.fetch_add(1, Ordering::SeqCst);
        let words: [&[&str]; 5] = [
            &["CONFIG", "SET", "appendfsync", other],
            &["CONFIG", "SET", "save", ["", "1 1", "3600 1"][step as usize % 3]],
            &["BGREWRITEAOF"],
            &["CONFIG", "SET", "appendfsync", "always", "save", ["", "1 1"][step as usize % 2]],
            &["BGSAVE"],
        ];
        for (at, words) in words.into_iter().enumerate() {
            let Ok(reply) = client.try_command(words) else { return };
            assert!(at % 2 == 0 && at > 0 || reply == "OK", "{words:?}: {reply:?}");
            if at == 3 {
                promise.fetch_add(1, Ordering::SeqCst);
            }
        }
        std::thread::sleep(Duration::from_millis(7));
    }
}

/// A node that is switched on by its file and started again finds nothing in the folder: it begins with what the RDB file has,
/// where Redis would begin empty.
#[test]
fn an_append_only_file_that_a_restart_switches_on_begins_with_the_rdb_file() {
    let mut node = node();
    node.client().ok("SET from-rdb 1");
    node.client().ok("SAVE");
    node.process.kill();
    let config = node.dir().join("keystead.ron");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("enabled: false", "enabled: true")).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("GET from-rdb"), "1");
    node.client().ok("SET behind 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS from-rdb behind"), Reply::Int(2));
}

/// A FLUSHALL that the log has was carried out long ago: the start doesn't write an RDB file for it.
#[test]
fn a_flushall_of_the_log_saves_nothing_at_the_start() {
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [(1, 2)])");
    let mut node = builder.plugin("persistence-aof", "(fsync: always)").start();
    node.client().ok("FLUSHALL");
    node.client().ok("SET k v");
    node.process.kill();
    let life = node.process.log().len();
    node.restart();
    node.client().ok("MSET a 1 b 2");
    // A point that is due a second later: flushes were looked at by then.
    let log = || node.process.log()[life..].to_owned();
    wait_until("a point", DEADLINE, || log().contains("2 changes in 1 seconds. Saving..."));
    let before = log().split("2 changes in 1 seconds").next().unwrap().to_owned();
    assert!(!before.contains("DB saved on disk"), "{before}");
}
