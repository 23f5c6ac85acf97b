//! The append-only file when the process dies, at any place and at any time: what was acknowledged is there, and no unit by
//! half, whatever the policy: it is the machine's end alone that may cost the last second. And when the disk fails, fills up,
//! can't be written, or gives back other bytes than it got.
#![allow(clippy::unwrap_used)]

use keystead_e2e::disk::SmallDisk;
use keystead_harness::{Client, DEADLINE, Keystead, Reply, eventually, wait_until};
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

/// Units that are sent at once: of every second client enough for a turn that serves others before it writes the file.
fn depth(name: &str) -> usize {
    if matches!(name, "two" | "b" | "d") { 24 } else { 1 }
}

/// Raises a pair of counters in one unit, again and again, until the server is gone or somebody says so.
fn raise(port: u16, name: &str, acked: &Acked, stop: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    let unit = format!("MULTI\r\nINCR {name}:a\r\nINCR {name}:b\r\nEXEC\r\n");
    let units = unit.repeat(depth(name));
    while !stop.load(Ordering::Relaxed) {
        if client.send_raw(units.as_bytes()).is_err() {
            return;
        }
        for _ in 0..depth(name) {
            let replies: Result<Vec<Reply>, _> = (0..4).map(|_| client.read()).collect();
            let Ok(replies) = replies else { return };
            // While writes are refused, EXEC fails: it is tried again.
            if let Some(value) = replies[3].items().first().and_then(Reply::as_int) {
                acked.lock().unwrap().insert(name.to_owned(), (value, Instant::now()));
            }
        }
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

/// How often a place is passed before something happens there. A sync comes with each batch, once a second, or never.
fn times(place: &str, fsync: &str, batches: u32) -> Option<u32> {
    match (place, fsync) {
        ("batch-synced", "no") => None,
        ("batch-synced", "everysec") => Some(2),
        _ if place.starts_with("batch") => Some(batches),
        _ => Some(1),
    }
}

fn dies_at_every_place(fsync: &str) {
    for place in failpoint::ALL {
        let Some(nth) = times(place, fsync, 25) else { continue };
        // The first base, at the start, passes places of a rewrite as well: those die in the second.
        let nth = match *place {
            "rewrite-cut" | "base-half-written" | "base-synced" | "base-renamed" => 2,
            "manifest-synced" | "manifest-renamed" => 4,
            "history-removed" => 2,
            _ => nth,
        };
        let mut node = node(fsync, Some((failpoint::VARIABLE, &format!("{place}:{nth}"))));
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
        assert_nothing_lost(&node, &acked, &format!("{fsync}, {place}"));
    }
}

#[test]
fn at_every_place_nothing_acknowledged_is_missing() {
    dies_at_every_place("always");
}

/// A reply leaves behind its write, not behind its sync: a process that dies costs nothing.
#[test]
fn at_every_place_nothing_is_missing_under_everysec() {
    dies_at_every_place("everysec");
}

#[test]
fn at_every_place_nothing_is_missing_without_syncs() {
    dies_at_every_place("no");
}

/// A new file has nothing on the disk yet that replies could be measured by: the first one left before its write.
#[test]
fn the_first_write_of_all_waits_for_the_disk_too() {
    // The disk fails once, and is tried again a second later. Nobody else moves the stream before.
    let builder = Keystead::builder().plugin("persistence-aof", "(fsync: always, rewrite_percentage: 0)");
    let mut node = builder.env(failpoint::VARIABLE, "batch-half-written:1:fail:1").start();
    assert_eq!(node.client().cmd("SET k v").as_text().as_deref(), Some("OK"));
    node.process.kill();
    node.process.set_env(&[]);
    node.restart();
    assert_eq!(
        node.client().cmd("GET k").as_text().as_deref(),
        Some("v"),
        "acknowledged and gone\n{}",
        node.process.log()
    );
}

/// Places at which the disk can fail. Behind the manifest's change nothing can any more.
fn failing_places() -> impl Iterator<Item = &'static str> {
    failpoint::ALL.iter().copied().filter(|place| *place != "incr-in-manifest")
}

fn recovers_from_a_disk_that_fails(fsync: &str) {
    for place in failing_places() {
        let Some(nth) = times(place, fsync, 10).map(|nth| nth.max(2)) else { continue };
        let mut node = node(fsync, Some((failpoint::VARIABLE, &format!("{place}:{nth}:fail:2"))));
        let (acked, stop) = (Acked::default(), AtomicBool::new(false));
        let port = node.port();
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let (acked, stop) = (&acked, &stop);
                scope.spawn(move || raise(port, name, acked, stop));
            }
            let failed = eventually(DEADLINE, || {
                let _ = Client::try_connect(port).ok()?.try_command(&["BGREWRITEAOF"]);
                node.process.log().contains("Input/output error").then_some(())
            });
            let before: i64 = acked.lock().unwrap().values().map(|(value, _)| value).sum();
            let goes_on = eventually(DEADLINE, || {
                let now: i64 = acked.lock().unwrap().values().map(|(value, _)| value).sum();
                let info = Client::try_connect(port).ok()?.info("persistence");
                let well = info["aof_last_write_status"] == "ok" && info["aof_last_bgrewrite_status"] == "ok";
                (now > before + 20 && well).then_some(())
            });
            stop.store(true, Ordering::Relaxed);
            assert!(failed.is_some(), "{place} didn't fail\n{}", node.process.log());
            assert!(goes_on.is_some(), "{place}: it doesn't recover\n{}", node.process.log());
        });
        node.process.kill();
        node.process.set_env(&[]);
        node.restart();
        assert_nothing_lost(&node, &acked, &format!("{fsync}, {place}"));
    }
}

#[test]
fn a_disk_that_fails_at_any_place_loses_nothing_and_is_recovered_from() {
    recovers_from_a_disk_that_fails("always");
}

#[test]
fn a_disk_that_fails_under_everysec_loses_nothing_either() {
    recovers_from_a_disk_that_fails("everysec");
}

#[test]
fn a_disk_that_fails_without_syncs_loses_nothing_either() {
    recovers_from_a_disk_that_fails("no");
}

/// Raises counters in several connections, and kills the process in the middle of it, six times over.
fn killed_at_any_time(fsync: &str) {
    let mut node = node(fsync, None);
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
        assert_nothing_lost(&node, &acked, &format!("{fsync}, round {round}"));
    }
}

#[test]
fn at_any_time_nothing_acknowledged_under_always_is_missing() {
    killed_at_any_time("always");
}

/// What the kernel was given outlives the process; only the machine's end may cost the last second.
#[test]
fn a_killed_process_loses_nothing_whatever_the_policy() {
    killed_at_any_time("everysec");
    killed_at_any_time("no");
}

/// Who switches the file off and on while others write relies on what was answered while it was on, from its first base on.
#[test]
fn killed_while_it_is_switched_nothing_is_missing_that_was_written_under_it() {
    let mut node = node("always", None);
    for round in 0..5u64 {
        let (acked, stop, on) = (Acked::default(), AtomicBool::new(false), AtomicBool::new(true));
        let port = node.port();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let name = format!("{name}{round}");
                let (acked, stop, on) = (&acked, &stop, &on);
                scope.spawn(move || {
                    let Ok(mut client) = Client::try_connect(port) else { return };
                    while !stop.load(Ordering::Relaxed) {
                        for half in ["a", "b"] {
                            let Ok(Reply::Int(value)) = client.try_command(&["INCR", &format!("{name}:{half}")]) else {
                                return;
                            };
                            if half == "b" && on.load(Ordering::SeqCst) {
                                acked.lock().unwrap().insert(name.clone(), (value, Instant::now()));
                            }
                        }
                    }
                });
            }
            let (stop, on) = (&stop, &on);
            scope.spawn(move || switch(port, on, stop));
            std::thread::sleep(Duration::from_millis(250 + round * 41));
            node.process.kill();
            stop.store(true, Ordering::Relaxed);
        });
        node.restart();
        let mut client = node.client();
        let acked = acked.into_inner().unwrap();
        assert!(!acked.is_empty(), "round {round}: it was never on");
        for (name, (value, _)) in acked {
            for half in ["a", "b"] {
                let there = client.cmd(&format!("GET {name}:{half}")).as_text().map_or(0, |text| text.parse().unwrap());
                assert!(there >= value, "round {round}: {name} was at {value} and is {there}\n{}", node.process.log());
            }
        }
    }
}

/// Off and on again, until the server is gone; `on` says that a restart finds what is written now.
fn switch(port: u16, on: &AtomicBool, stop: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    let mut set = |value: &str| client.try_command(&["CONFIG", "SET", "appendonly", value]).is_ok();
    let written = || {
        let mut client = Client::try_connect(port).ok()?;
        let Ok(Reply::Bulk(text)) = client.try_command(&["INFO", "persistence"]) else { return None };
        String::from_utf8_lossy(&text).contains("aof_rewrite_in_progress:0").then_some(())
    };
    while !stop.load(Ordering::Relaxed) {
        on.store(false, Ordering::SeqCst);
        if !set("no") || !set("yes") {
            return;
        }
        let done = || if stop.load(Ordering::Relaxed) { Some(()) } else { written() };
        if eventually(DEADLINE, done).is_none() || stop.load(Ordering::Relaxed) {
            return;
        }
        on.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(15));
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
    assert!(node.client().cmd("STRLEN big").is_error(), "nor is it shown");
    limit("unlimited");
    client.set_reply_limit(DEADLINE);
    assert_eq!(client.read().unwrap(), Reply::Simple("OK".into()));
    wait_until("it is shown", DEADLINE, || node.client().cmd("STRLEN big") == Reply::Int(4000));
    let works = eventually(DEADLINE, || node.client().cmd("SET after 1").as_text().filter(|text| text == "OK"));
    assert!(works.is_some(), "{}", node.process.log());
    node.process.kill();
    node.restart();
    let mut client = node.client();
    assert_eq!(client.cmd("EXISTS before after"), Reply::Int(2));
    assert_eq!(client.cmd("STRLEN big"), Reply::Int(4000));
}

/// A node whose append-only file, switched off at first, is to lie on a disk of its own.
fn node_on(fsync: &str, size: &str) -> Option<(Keystead, SmallDisk)> {
    let config = format!("(enabled: false, fsync: {fsync}, rewrite_percentage: 0, rdb_preamble: false)");
    let node = Keystead::builder().plugin("persistence-aof", &config).start();
    let disk = SmallDisk::at(&node.dir().join("appendonlydir"), size)?;
    node.client().ok("CONFIG SET appendonly yes");
    let written = || node.client().info("persistence")["aof_rewrites"] == "1";
    assert!(eventually(DEADLINE, || written().then_some(())).is_some(), "{}", node.process.log());
    Some((node, disk))
}

fn is_refused(node: &Keystead) -> bool {
    let mut client = node.client();
    client.set_reply_limit(Duration::from_millis(300));
    matches!(client.try_command(&["SET", "probe", "x"]), Ok(Reply::Error(text))
        if text.starts_with("MISCONF Errors writing to the AOF file: "))
}

/// Starts again with the file switched on, and the disk as it is.
fn restart_with_file(node: &mut Keystead) {
    node.process.kill();
    let config = node.dir().join("keystead.ron");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("enabled: false", "enabled: true")).unwrap();
    node.restart();
}

#[test]
fn a_disk_that_is_full_stops_writes_until_it_has_room() {
    for fsync in ["always", "everysec"] {
        let Some((mut node, disk)) = node_on(fsync, "256k") else { return };
        let mut client = node.client();
        client.set_reply_limit(Duration::from_millis(500));
        let mut acked = Vec::new();
        let full = eventually(DEADLINE, || {
            let key = format!("key:{}", acked.len());
            match client.try_command(&["SET".to_owned(), key.clone(), "x".repeat(5000)]) {
                Ok(Reply::Simple(_)) => acked.push(key),
                Ok(Reply::Error(text)) => assert!(text.starts_with("MISCONF"), "{text}"),
                // Under `always` it waits for the disk.
                _ => return Some(()),
            }
            is_refused(&node).then_some(())
        });
        assert!(full.is_some() && !acked.is_empty(), "{}", node.process.log());
        assert_eq!(node.client().info("persistence")["aof_last_write_status"], "err");
        if fsync == "everysec" {
            // Under `always` they wait: they could show what isn't on the disk.
            assert_eq!(node.client().command(&["STRLEN", &acked[0]]), Reply::Int(5000), "reads go on");
        }
        disk.remount("size=8m");
        let works = eventually(DEADLINE, || node.client().cmd("SET after 1").as_text().filter(|text| text == "OK"));
        assert!(works.is_some(), "{}", node.process.log());
        assert!(node.process.log().contains("AOF write error looks solved"), "{}", node.process.log());
        node.client().ok("CONFIG SET appendfsync always");
        node.client().ok("SET last 1");
        restart_with_file(&mut node);
        let mut client = node.client();
        for key in acked.iter().map(String::as_str).chain(["after", "last"]) {
            assert_eq!(client.command(&["EXISTS", key]), Reply::Int(1), "{fsync}: {key}");
        }
    }
}

#[test]
fn a_rewrite_on_a_full_disk_fails_and_is_tried_again() {
    let Some((mut node, disk)) = node_on("always", "8m") else { return };
    let mut client = node.client();
    client.ok("SET before 1");
    let filler = disk.path().join("filler");
    let _ = std::fs::write(&filler, vec![1; 16 << 20]);
    client.send(&["SET", "waits", &"x".repeat(20_000)]).unwrap();
    assert!(eventually(DEADLINE, || is_refused(&node).then_some(())).is_some(), "{}", node.process.log());
    assert!(matches!(node.client().cmd("BGREWRITEAOF"), Reply::Simple(_)));
    let status = || node.client().info("persistence")["aof_last_bgrewrite_status"].clone();
    assert!(eventually(DEADLINE, || (status() == "err").then_some(())).is_some(), "{}", node.process.log());
    let runs = || node.client().info("persistence")["aof_rewrite_in_progress"] == "1";
    assert!(eventually(DEADLINE, || (!runs()).then_some(())).is_some(), "what has failed runs no more");
    assert!(matches!(node.client().cmd("BGREWRITEAOF"), Reply::Simple(_)));
    std::fs::remove_file(filler).unwrap();
    client.set_reply_limit(DEADLINE);
    assert_eq!(client.read().unwrap(), Reply::Simple("OK".into()), "{}", node.process.log());
    assert!(eventually(DEADLINE, || (status() == "ok").then_some(())).is_some(), "{}", node.process.log());
    restart_with_file(&mut node);
    assert_eq!(node.client().cmd("EXISTS before waits"), Reply::Int(2));
}

/// One byte that is another, anywhere: the start is refused with a place, or the end is cut off with a place, or the
/// change was inside of a value. Never is it passed over in silence that commands are missing.
#[test]
fn a_changed_byte_is_told_or_changes_a_value_at_most() {
    let mut node = node("always", None);
    let mut client = node.client();
    for n in 0..40 {
        client.ok(&format!("SET key:{n} value-{n}"));
    }
    node.process.kill();
    let folder = node.dir().join("appendonlydir");
    let name = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let file = name.into_iter().find(|path| path.to_string_lossy().ends_with(".1.incr.aof")).unwrap();
    let good = std::fs::read(&file).unwrap();
    let (mut refused, mut loaded) = (0, 0);
    for round in 0..24 {
        let at = good.len() * round / 24 + round % 7;
        let mut bad = good.clone();
        bad[at] ^= 0x15;
        std::fs::write(&file, &bad).unwrap();
        let before = node.process.log().len();
        node.process.restart().unwrap();
        let ended = eventually(DEADLINE, || {
            if !node.process.is_alive() {
                return Some(true);
            }
            let reply = Client::try_connect(node.port()).ok()?.try_command(&["DBSIZE"]).ok()?;
            reply.as_int().map(|_| false)
        });
        let log = node.process.log()[before..].to_owned();
        if ended.unwrap_or_else(|| panic!("byte {at}: neither loaded nor refused\n{log}")) {
            refused += 1;
            assert!(log.contains("offset "), "byte {at}: {log}");
        } else {
            loaded += 1;
            let keys = node.client().cmd("DBSIZE").as_int().unwrap();
            let cut = log.contains("Truncating the AOF");
            // A byte of a key's name makes it another key.
            assert!(keys == 40 || cut, "byte {at}: {keys} keys\n{log}");
            assert!(!cut || at > good.len() - 120, "byte {at} in the middle was taken for a missing end\n{log}");
            node.process.kill();
        }
    }
    assert!(refused > 3 && loaded > 3, "{refused} refused, {loaded} loaded");
}

/// A write beside a sync may have to wait for the disk; under `everysec` its reply doesn't, as with Redis.
#[test]
fn nobody_waits_for_a_slow_disk_under_everysec() {
    let slow = format!("batch-synced:1:slow:1000,{}:1:slow:1000", failpoint::BESIDE_SYNC);
    let node = node("everysec", Some((failpoint::VARIABLE, &slow)));
    let (mut client, mut other) = (node.client(), node.client());
    let mut syncs = || {
        client.cmd("INCR before");
        client.cmd("INFO persistence").as_text().is_some_and(|info| info.contains("aof_pending_bio_fsync:1"))
    };
    eventually(DEADLINE, || syncs().then_some(())).expect("a sync");
    let began = Instant::now();
    assert_eq!(other.cmd("INCR beside").as_int(), Some(1));
    // Both take 3 s; replies wait for 50 ms.
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}\n{}", began.elapsed(), node.process.log());
}
