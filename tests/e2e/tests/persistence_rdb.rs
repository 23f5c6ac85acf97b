//! RDB files: what survives a restart, what a crash or a full disk may cost, what a damaged file is told.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, wait_until};
use std::path::PathBuf;

fn saving(config: &str) -> KeysteadBuilder {
    Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", config)
}

fn dump(node: &Keystead) -> PathBuf {
    node.dir().join("dump.rdb")
}

/// One key of each type in two databases, and one with a deadline.
fn fill(client: &mut Client) {
    for line in [
        "SET s one EX 10000",
        "SET n 12345",
        "RPUSH l a b c",
        "SADD set x y z",
        "SADD ints 1 2 3",
        "ZADD z 1 a 2.5 b",
        "HSET h f v g w",
    ] {
        client.ok(line);
    }
    client.ok("SELECT 3");
    client.ok("SET other db");
    client.ok("SELECT 0");
}

fn digest(client: &mut Client) -> String {
    client.ok("DEBUG DIGEST").as_text().unwrap()
}

fn temporary_files(node: &Keystead) -> usize {
    let names = std::fs::read_dir(node.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("temp-")).count()
}

/// Makes every save fail: a folder with something in it stands where the file belongs.
fn obstruct(node: &Keystead) {
    std::fs::create_dir_all(dump(node).join("x")).unwrap();
}

fn refused_start(mut node: Keystead) -> String {
    assert!(!node.process.wait_exit(DEADLINE).success());
    node.process.log()
}

/// A file of a running node, for starts with a damaged copy.
fn sample() -> Vec<u8> {
    let node = saving("()").start();
    fill(&mut node.client());
    node.client().ok("SAVE");
    std::fs::read(dump(&node)).unwrap()
}

#[test]
fn the_data_is_there_after_a_clean_stop() {
    let mut node = saving("()").start();
    fill(&mut node.client());
    let before = digest(&mut node.client());
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert!(node.process.log().contains("Saving the final RDB snapshot before exiting."), "{}", node.process.log());
    node.restart();
    assert_eq!(digest(&mut node.client()), before);
    let info = node.client().info("persistence");
    assert_eq!((info["rdb_last_load_keys_loaded"].as_str(), info["loading"].as_str()), ("8", "0"));
    assert_eq!(info["rdb_changes_since_last_save"], "0");
    assert!(node.process.log().contains("DB loaded from disk: "), "{}", node.process.log());
}

#[test]
fn shutdown_saves_as_it_is_told() {
    for (options, survives) in [("NOSAVE", false), ("SAVE", true), ("", true)] {
        let mut node = saving("()").start();
        let mut client = node.client();
        client.ok("SET a 1");
        client.send(&format!("SHUTDOWN {options}").split_whitespace().collect::<Vec<_>>()).unwrap();
        assert!(node.process.wait_exit(DEADLINE).success());
        assert_eq!(dump(&node).exists(), survives, "SHUTDOWN {options}");
    }
    let mut node = saving("(save: [])").start();
    node.client().ok("SET a 1");
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert!(!dump(&node).exists(), "without save points nothing is saved");
}

#[test]
fn a_save_that_fails_refuses_the_shutdown_unless_forced() {
    let mut node = saving("()").start();
    let mut client = node.client();
    client.ok("SET a 1");
    obstruct(&node);
    assert_eq!(client.cmd("SHUTDOWN"), "ERR Errors trying to SHUTDOWN. Check logs.");
    client.ok("SET b 2");
    node.process.terminate();
    node.process.wait_for_log("Errors trying to shut down the server", DEADLINE);
    client.ok("SET c 3");
    assert_eq!(client.cmd("SHUTDOWN ABORT"), "ERR No shutdown in progress.");
    client.send(&["SHUTDOWN", "FORCE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success());
}

#[test]
fn a_shutdown_that_saves_can_be_taken_back() {
    let mut node = saving("(rdb_key_save_delay: 20000)").start();
    let mut client = node.client();
    client.ok("DEBUG POPULATE 1000");
    client.send(&["SHUTDOWN", "SAVE"]).unwrap();
    node.process.wait_for_log("Saving the final RDB snapshot", DEADLINE);
    node.client().ok("SHUTDOWN ABORT");
    let refused = client.read().unwrap();
    assert_eq!(refused, "ERR Errors trying to SHUTDOWN. Check logs.");
    node.client().ok("SET still here");
}

#[test]
fn a_failed_save_stops_writes_until_one_succeeds() {
    let node = saving("()").start();
    let mut client = node.client();
    client.ok("SET a 1");
    obstruct(&node);
    client.ok("BGSAVE");
    let status = || node.client().info("persistence")["rdb_last_bgsave_status"].clone();
    wait_until("the save fails", DEADLINE, || status() == "err");
    let refusal = client.cmd("SET a 2");
    assert!(format!("{refusal:?}").contains("MISCONF"), "{refusal:?}");
    client.ok("CONFIG SET stop-writes-on-bgsave-error no");
    client.ok("SET a 2");
    client.ok("CONFIG SET stop-writes-on-bgsave-error yes");
    client.ok("GET a");
    client.ok("CONFIG SET dbfilename other.rdb");
    client.ok("BGSAVE");
    wait_until("a save succeeds", DEADLINE, || status() == "ok");
    client.ok("SET a 3");
    assert!(node.dir().join("other.rdb").exists());
    assert_eq!(temporary_files(&node), 0);
}

#[test]
fn a_save_point_saves_by_itself() {
    let node = saving("(save: [])").start();
    let mut client = node.client();
    client.ok("SET a 1");
    assert_eq!(
        client.cmd("CONFIG SET save 1"),
        "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters"
    );
    client.command(&["CONFIG", "SET", "save", "1 1"]);
    wait_until("the file is written", DEADLINE, || dump(&node).exists());
    let log = node.process.log();
    assert!(log.contains("1 changes in 1 seconds. Saving..."), "{log}");
    assert_eq!(client.cmd("CONFIG GET save").get("save").unwrap(), "1 1");
}

#[test]
fn a_killed_save_leaves_the_old_file_whole() {
    let mut node = saving("(save: [])").start();
    let mut client = node.client();
    client.ok("DEBUG POPULATE 500");
    client.ok("SAVE");
    let before = digest(&mut client);
    let whole = std::fs::read(dump(&node)).unwrap();
    client.ok("CONFIG SET rdb-key-save-delay 20000");
    client.ok("FLUSHALL");
    client.ok("DEBUG POPULATE 900 other");
    client.ok("BGSAVE");
    wait_until("the save writes", DEADLINE, || temporary_files(&node) > 0);
    assert_eq!(client.cmd("BGSAVE"), "ERR Background save already in progress");
    assert_eq!(client.cmd("SAVE"), "ERR Background save already in progress");
    assert_eq!(node.client().info("persistence")["rdb_bgsave_in_progress"], "1");
    node.process.kill();
    assert_eq!(std::fs::read(dump(&node)).unwrap(), whole);
    node.restart();
    assert_eq!(digest(&mut node.client()), before);
}

#[test]
fn a_full_disk_fails_the_save_and_nothing_else() {
    // Ignored, the signal of a file that grows too large becomes an error of the write.
    let node = saving("(rdbcompression: false)").shell("trap '' XFSZ; ulimit -f 200").start();
    let mut client = node.client();
    client.ok("SET small 1");
    client.ok("SAVE");
    let whole = std::fs::read(dump(&node)).unwrap();
    client.ok("DEBUG POPULATE 1000 big 1000");
    let refusal = client.cmd("SAVE");
    assert!(format!("{refusal:?}").contains("Write error saving DB on disk"), "{refusal:?}");
    assert_eq!(std::fs::read(dump(&node)).unwrap(), whole);
    assert_eq!(temporary_files(&node), 0);
    client.ok("GET small");
}

#[test]
fn damage_refuses_the_start_and_names_its_place() {
    let whole = sample();
    let start = |bytes: &[u8]| refused_start(saving("()").file("dump.rdb", bytes).launch());
    let log = start(&whole[..whole.len() / 2]);
    assert!(log.contains("Short read or OOM loading DB. Unrecoverable error, aborting now. (at byte "), "{log}");
    let mut bytes = whole.clone();
    let at = whole.windows(3).position(|w| w == b"one").unwrap();
    bytes[at] ^= 1;
    let log = start(&bytes);
    assert!(log.contains("Wrong RDB checksum expected: (") && log.contains("(at byte "), "{log}");
    let log = start(b"NOTANRDB0010");
    assert!(log.contains("Wrong signature trying to load DB from file"), "{log}");
    let log = start(b"REDIS0099\xff");
    assert!(log.contains("Can't handle RDB format version 99"), "{log}");
    let mut bytes = whole;
    let at = bytes.windows(8).position(|w| w == b"aof-base").unwrap() + 10;
    bytes.insert(at, 200);
    let log = start(&bytes);
    assert!(log.contains("Internal error in RDB reading") && log.contains("(at byte "), "{log}");
}

#[test]
fn clients_hear_that_it_is_loading_and_may_stop_it() {
    let node = saving("()").start();
    node.client().ok("DEBUG POPULATE 5000");
    node.client().ok("SAVE");
    let bytes = std::fs::read(dump(&node)).unwrap();
    drop(node);
    let mut node = saving("(key_load_delay: 2000)").file("dump.rdb", &bytes).launch();
    node.process.wait_for_log("Loading DB in memory", DEADLINE);
    let mut client = node.client();
    let reply = client.cmd("GET key:1");
    assert_eq!(reply, "LOADING Redis is loading the dataset in memory");
    let info = client.info("persistence");
    assert_eq!(info["loading"], "1");
    assert_eq!(info["loading_total_bytes"], bytes.len().to_string());
    client.send(&["SHUTDOWN"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert_eq!(std::fs::read(dump(&node)).unwrap(), bytes, "an end while loading saves nothing");
}
