//! `appendonly`, `appendfsync` and `save` changed at run time, under load, with processes that are killed: from one strategy
//! to the other and back, nothing is lost that was promised when it was acknowledged.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, wait_until};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// Behind the second in which something was done: files tell their time in seconds.
fn next_second() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let then = now();
    wait_until("the next second", DEADLINE, || now() > then);
}

fn wait_until_noted(node: &Keystead) {
    let note = || std::fs::read_to_string(node.dir().join("persistence-aof.state")).unwrap_or_default();
    wait_until("it is noted that the file ended", DEADLINE, || note().contains("ended_s"));
}

/// Switched off at run time and not in the file: the next start has it on again, and finds a set that ended long ago beside a
/// file that was saved since.
#[test]
fn what_was_saved_since_the_append_only_file_was_switched_off_is_loaded() {
    for end in ["SHUTDOWN SAVE", "SAVE"] {
        let mut node = Keystead::builder()
            .plugin("persistence-rdb", "(save: [])")
            .plugin("persistence-aof", "(fsync: always)")
            .plugin("replication", "()")
            .start();
        let mut client = node.client();
        client.ok("SET before 1");
        client.ok("SET changed 1");
        client.ok("CONFIG SET appendonly no");
        wait_until_noted(&node);
        next_second();
        client.ok("SET changed 2");
        client.ok("SET since 1");
        if end == "SAVE" {
            client.ok(end);
            // A set that isn't whole yet changes nothing.
            client.ok("CONFIG SET rdb-key-save-delay 1000000");
            client.ok("CONFIG SET appendonly yes");
            node.process.kill();
        } else {
            client.send(&["SHUTDOWN", "SAVE"]).unwrap();
            assert!(node.process.wait_exit(DEADLINE).success());
        }
        for life in ["behind the change", "behind the next base"] {
            node.restart();
            let mut client = node.client();
            assert_eq!(client.cmd("CONFIG GET appendonly").texts()[1], "yes");
            assert_eq!(client.cmd("EXISTS before since"), 2, "{end}, {life}: {}", node.process.log());
            assert_eq!(client.cmd("GET changed"), "2", "{end}, {life}");
            client.ok(&format!("SET {end}-{} 1", life.len()).replace("SHUTDOWN SAVE", "end"));
            node.process.kill();
        }
        assert_eq!(node.process.log().matches(" is newer and is loaded instead").count(), 1, "{}", node.process.log());
        node.restart();
        assert_eq!(node.client().cmd("DBSIZE"), 5, "{end}: {}", node.process.log());
    }
}

/// Somebody brought another set meanwhile: the note isn't about that one.
#[test]
fn a_set_that_was_brought_behind_the_switch_is_loaded() {
    let mut node = Keystead::builder()
        .plugin("persistence-rdb", "(save: [])")
        .plugin("persistence-aof", "(fsync: always)")
        .plugin("replication", "()")
        .start();
    let mut client = node.client();
    client.ok("SET brought 1");
    client.ok("CONFIG SET appendonly no");
    wait_until_noted(&node);
    next_second();
    client.ok("SET brought 2");
    client.send(&["SHUTDOWN", "SAVE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success());
    let later = SystemTime::now() + Duration::from_secs(600);
    for file in std::fs::read_dir(node.dir().join("appendonlydir")).unwrap() {
        std::fs::File::options().append(true).open(file.unwrap().path()).unwrap().set_modified(later).unwrap();
    }
    node.restart();
    assert_eq!(node.client().cmd("GET brought"), "1", "{}", node.process.log());
}

/// Nothing was saved since, or only before: the set is all there is.
#[test]
fn an_append_only_file_that_was_switched_off_is_loaded_where_nothing_is_newer() {
    let mut node = Keystead::builder()
        .plugin("persistence-rdb", "(save: [])")
        .plugin("persistence-aof", "(fsync: always)")
        .start();
    let mut client = node.client();
    client.ok("SET saved 1");
    client.ok("SAVE");
    client.ok("SET logged 1");
    next_second();
    client.ok("CONFIG SET appendonly no");
    wait_until_noted(&node);
    client.ok("SET lost 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS saved logged lost"), 2);
    assert!(node.process.log().contains("was switched off at "), "{}", node.process.log());
    // It is on again, and goes before every save.
    let mut client = node.client();
    next_second();
    client.ok("SAVE");
    client.ok("SET more 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS saved logged more"), 3);
}

#[test]
fn append_only_files_that_are_passed_over_are_named() {
    let mut node = Keystead::builder().plugin("persistence-aof", "(fsync: always)").start();
    node.client().ok("SET a 1");
    node.process.kill();
    let file = node.dir().join("keystead.ron");
    let off = std::fs::read_to_string(&file).unwrap().replace("(fsync: always)", "(enabled: false)");
    std::fs::write(&file, off).unwrap();
    node.restart();
    let told = format!("The append-only files in {} are not loaded", node.dir().join("appendonlydir").display());
    assert!(node.process.log().contains(&told), "{}", node.process.log());
    node.process.kill();
    std::fs::remove_dir_all(node.dir().join("appendonlydir")).unwrap();
    node.restart();
    assert_eq!(node.process.log().matches(&told).count(), 1, "{}", node.process.log());
}

/// From RDB files to the strategy of the examples, which then stands alone, and both together: the newest file is loaded, whoever
/// wrote it.
#[test]
fn what_another_strategy_saved_since_is_loaded() {
    let now_s = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let node = Keystead::builder().plugin("persistence-rdb", "()").start();
    node.client().ok("SET a rdb");
    node.client().ok("SAVE");
    let (file, saved_s) = (std::fs::read(node.dir().join("dump.rdb")).unwrap(), now_s());
    // Files tell the second.
    wait_until("a second has passed", DEADLINE, || now_s() > saved_s);
    let node = Keystead::builder().plugin("snapshots", "()").file("dump.rdb", &file).start();
    node.client().ok("SET a snapshot");
    node.client().ok("SNAPSHOTS.SAVE");
    let snapshot = std::fs::read(node.dir().join("snapshot-1.rdb")).unwrap();
    let both = Keystead::builder().plugin("persistence-rdb", "()").plugin("snapshots", "()");
    let mut node = both.file("dump.rdb", &file).file("snapshot-1.rdb", &snapshot).start();
    assert_eq!(node.client().cmd("GET a"), "snapshot");
    assert!(node.process.log().contains("snapshot-1.rdb of snapshots is newer and is loaded instead"));
    node.client().ok("SET a saved");
    node.client().ok("SAVE");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("GET a"), "saved");
}
