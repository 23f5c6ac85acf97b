//! The append-only file when the process dies, at any place and at any time: what was acknowledged is there, and no unit by
//! half. Under `always` all of it; under `everysec` all but the last second.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, eventually};
use keystead_persistence_aof::failpoint;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn node(fsync: &str, env: Option<(&str, &str)>) -> Keystead {
    let config = format!("(fsync: {fsync}, rewrite_percentage: 0)");
    // A process that ignores this signal gets an error for a file that grows too large, as on a full disk.
    let builder = Keystead::builder().shell("trap '' XFSZ");
    let builder = builder.plugin("persistence-aof", &config).plugin("replication", "()");
    match env {
        Some((name, value)) => builder.env(name, value).start(),
        None => builder.start(),
    }
}

/// Counters that clients raised, each with the last acknowledged value and when that was.
type Acked = Mutex<BTreeMap<String, (i64, Instant)>>;

/// Raises a pair of counters in one unit, again and again, until the server is gone or somebody says so.
fn raise(port: u16, name: &str, acked: &Acked, stop: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    while !stop.load(Ordering::Relaxed) {
        let unit = format!("MULTI\r\nINCR {name}:a\r\nINCR {name}:b\r\nEXEC\r\n");
        if client.send_raw(unit.as_bytes()).is_err() {
            return;
        }
        let replies: Result<Vec<Reply>, _> = (0..4).map(|_| client.read()).collect();
        let Ok(replies) = replies else { return };
        match replies[3].items().first().and_then(Reply::as_int) {
            Some(value) => acked.lock().unwrap().insert(name.to_owned(), (value, Instant::now())),
            None => return,
        };
    }
}

/// What is there now of each counter; a unit is there whole or not at all.
fn found(client: &mut Client, name: &str) -> i64 {
    let value = |client: &mut Client, half: &str| {
        client.cmd(&format!("GET {name}:{half}")).as_text().map_or(0, |text| text.parse().unwrap())
    };
    let (a, b) = (value(client, "a"), value(client, "b"));
    assert_eq!(a, b, "{name}: half a unit");
    a
}

fn assert_nothing_lost(node: &Keystead, acked: &Acked, round: &str) {
    let mut client = node.client();
    for (name, (value, _)) in acked.lock().unwrap().iter() {
        let there = found(&mut client, name);
        assert!(there >= *value, "{round}: {name} was acknowledged at {value} and is {there}\n{}", node.process.log());
    }
}

#[test]
fn at_every_place_nothing_acknowledged_is_missing() {
    for place in failpoint::ALL {
        let nth = if place.starts_with("batch") { 25 } else { 1 };
        // The first base, at the start, passes places of a rewrite as well: those die in the second.
        let nth = match *place {
            "rewrite-cut" | "base-half-written" | "base-synced" | "base-renamed" => 2,
            "manifest-synced" | "manifest-renamed" => 4,
            "history-removed" => 2,
            _ => nth,
        };
        let mut node = node("always", Some((failpoint::VARIABLE, &format!("{place}:{nth}"))));
        let (acked, stop) = (Acked::default(), AtomicBool::new(false));
        let port = node.port();
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let (acked, stop) = (&acked, &stop);
                scope.spawn(move || raise(port, name, acked, stop));
            }
            let deadline = Instant::now() + DEADLINE;
            while node.process.is_alive() && Instant::now() < deadline {
                if let Ok(mut client) = Client::try_connect(port) {
                    let _ = client.try_command(&["BGREWRITEAOF"]);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(!node.process.is_alive(), "{place} was never passed\n{}", node.process.log());
        node.process.set_env(&[]);
        node.restart();
        assert_nothing_lost(&node, &acked, place);
    }
}

#[test]
fn at_any_time_nothing_acknowledged_under_always_is_missing() {
    let mut node = node("always", None);
    let acked = Acked::default();
    for round in 0..6u64 {
        let stop = AtomicBool::new(false);
        let port = node.port();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let (acked, stop) = (&acked, &stop);
                scope.spawn(move || raise(port, name, acked, stop));
            }
            // Spread over the time that a rewrite takes, and beyond.
            std::thread::sleep(Duration::from_millis(100 + round * 37));
            let _ = node.client().try_command(&["BGREWRITEAOF"]);
            std::thread::sleep(Duration::from_millis(round * 11));
            node.process.kill();
            stop.store(true, Ordering::Relaxed);
        });
        node.restart();
        assert_nothing_lost(&node, &acked, &format!("round {round}"));
    }
}

#[test]
fn under_everysec_only_the_last_second_may_be_missing() {
    let mut node = node("everysec", None);
    for round in 0..3u64 {
        let (acked, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let port = node.port();
        let mut died = Instant::now();
        std::thread::scope(|scope| {
            let (list, stop) = (&acked, &stop);
            scope.spawn(move || {
                let mut client = Client::connect(port);
                for n in 0.. {
                    let set = ["SET".to_owned(), format!("{round}:{n}"), "x".to_owned()];
                    if stop.load(Ordering::Relaxed) || client.try_command(&set).is_err() {
                        return;
                    }
                    list.lock().unwrap().push(Instant::now());
                }
            });
            std::thread::sleep(Duration::from_millis(1300 + round * 200));
            died = Instant::now();
            node.process.kill();
            stop.store(true, Ordering::Relaxed);
        });
        node.restart();
        let mut client = node.client();
        let acked = acked.into_inner().unwrap();
        assert!(acked.len() > 100);
        for (n, at) in acked.iter().enumerate() {
            if *at + Duration::from_secs(1) < died {
                assert_eq!(client.cmd(&format!("EXISTS {round}:{n}")), Reply::Int(1), "{n} of {}", acked.len());
            }
        }
    }
}

/// The disk is full: as a limit of the file's size, which the process doesn't die of.
#[test]
fn a_full_disk_stops_writes_and_loses_nothing() {
    let mut node = node("always", None);
    let mut client = node.client();
    client.ok("SET before 1");
    // The soft limit alone: anybody may raise that again.
    let limit = |size: &str| {
        let pid = node.process.pid().to_string();
        let set = std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}:")]).status();
        assert!(set.unwrap().success());
    };
    limit("2000");
    // Its reply waits for the disk.
    client.send(&["SET", "big", &"x".repeat(4000)]).unwrap();
    let refused = eventually(DEADLINE, || {
        let mut other = node.client();
        // One that comes before the error is noticed waits, too.
        other.set_reply_limit(Duration::from_millis(300));
        match other.try_command(&["SET", "k", "v"]).ok()? {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    });
    let refused = refused.unwrap_or_else(|| panic!("writes aren't refused\n{}", node.process.log()));
    assert!(refused.starts_with("MISCONF Errors writing to the AOF file: "), "{refused}");
    assert_eq!(node.client().info("persistence")["aof_last_write_status"], "err");
    client.set_reply_limit(Duration::from_millis(300));
    assert!(client.read().is_err(), "nobody is told of a write that isn't on the disk");
    let mut reader = node.client();
    reader.send(&["STRLEN", "big"]).unwrap();
    limit("unlimited");
    client.set_reply_limit(DEADLINE);
    assert_eq!(client.read().unwrap(), Reply::Simple("OK".into()));
    assert_eq!(reader.read().unwrap(), Reply::Int(4000));
    let works = eventually(DEADLINE, || node.client().cmd("SET after 1").as_text().filter(|text| text == "OK"));
    assert!(works.is_some(), "{}", node.process.log());
    node.process.kill();
    node.restart();
    let mut client = node.client();
    assert_eq!(client.cmd("EXISTS before after"), Reply::Int(2));
    assert_eq!(client.cmd("STRLEN big"), Reply::Int(4000));
}
