//! The file of a full sync: where save points keep it fresh it takes the name of the last save, and a restart finds it.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, Reply, wait_until};
use std::time::Duration;

/// None of these is due within a test.
const SAVES: &str = "(save: [(3600, 1000000)])";

fn primary(config: &str) -> Keystead {
    let node = Keystead::builder().plugin("replication", config).start();
    node.client().ok("DEBUG POPULATE 1000");
    node
}

fn replica(config: &str) -> Keystead {
    Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", config).start()
}

fn info(node: &Keystead, section: &str, name: &str) -> String {
    node.client().info(section).get(name).cloned().unwrap_or_default()
}

fn follow(replica: &Keystead, primary: &Keystead) {
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    linked(replica);
}

fn linked(replica: &Keystead) {
    wait_until("the link", DEADLINE, || info(replica, "replication", "master_link_status") == "up");
}

/// Files of a payload or a save.
fn files(node: &Keystead) -> Vec<String> {
    let all = std::fs::read_dir(node.dir()).unwrap().flatten();
    all.map(|file| file.file_name().to_string_lossy().into_owned()).filter(|name| name.ends_with(".rdb")).collect()
}

/// Waits for the payload to have its name, or to be gone.
#[track_caller]
fn has_files(node: &Keystead, names: &[&str]) {
    wait_until(&format!("the files {names:?}"), DEADLINE, || files(node) == names);
}

#[track_caller]
fn is_kept(replica: &mut Keystead) {
    replica.process.wait_for_log("The payload of the full sync is the RDB file now", DEADLINE);
    assert_eq!(files(replica), ["dump.rdb"]);
}

fn keys(node: &Keystead) -> Option<i64> {
    node.client().cmd("DBSIZE").as_int()
}

#[test]
fn a_restart_goes_on_from_the_full_sync() {
    // With a mark behind it, and with its length in front.
    for sync in ["(diskless_sync: true, diskless_sync_delay_s: 0)", "(diskless_sync: false)"] {
        let (mut primary, mut replica) = (primary(sync), replica(SAVES));
        follow(&replica, &primary);
        is_kept(&mut replica);
        assert_eq!(info(&replica, "persistence", "rdb_changes_since_last_save"), "0");
        primary.client().ok("SET later 1");
        replica.process.kill();
        replica.restart();
        linked(&replica);
        assert_eq!(info(&primary, "stats", "sync_full"), "1", "it goes on from there: {sync}");
        assert_eq!(info(&primary, "stats", "sync_partial_ok"), "1", "{sync}");
        wait_until("what came later", DEADLINE, || keys(&replica) == Some(1001));
        primary.process.kill();
        replica.process.kill();
        replica.restart();
        assert_eq!(keys(&replica), Some(1000), "{sync}");
    }
}

/// The end waits for the disk: what is asked for right behind the sync is there too.
#[test]
fn an_end_right_behind_a_full_sync_keeps_it() {
    let (mut primary, mut replica) = (primary("()"), replica(SAVES));
    primary.client().ok("DEBUG POPULATE 200000 more");
    follow(&replica, &primary);
    replica.process.terminate();
    assert!(replica.process.wait_exit(DEADLINE).success());
    assert_eq!(files(&replica), ["dump.rdb"]);
    primary.process.kill();
    replica.restart();
    assert_eq!(keys(&replica), Some(201_000));
}

#[test]
fn a_payload_is_kept_only_where_saves_keep_it_fresh() {
    let primary = primary("()");
    let plain = Keystead::builder().plugin("replication", "()").start();
    let past_the_disk = replica(SAVES);
    past_the_disk.client().ok("CONFIG SET repl-diskless-load on-empty-db");
    for node in [plain, past_the_disk, replica("(save: [])")] {
        follow(&node, &primary);
        assert_eq!(keys(&node), Some(1000));
        has_files(&node, &[]);
    }
    let mut set_later = replica("(save: [])");
    set_later.client().command(&["CONFIG", "SET", "save", "3600 1000000"]);
    follow(&set_later, &primary);
    is_kept(&mut set_later);
}

/// Started again as a primary it has nothing, and its replica keeps what was written since; an old file would pass for the data.
#[test]
fn what_a_promoted_node_took_once_is_not_taken_for_its_data() {
    let (primary, mut node, last) = (primary("()"), replica("(save: [])"), replica("(save: [])"));
    follow(&node, &primary);
    follow(&last, &node);
    node.client().ok("REPLICAOF NO ONE");
    linked(&last);
    node.client().ok("SET later 1");
    wait_until("it has all", DEADLINE, || keys(&last) == Some(1001));
    node.process.kill();
    node.restart();
    let came_back = || info(&last, "replication", "keystead_primary_came_back_empty") == "1";
    wait_until("a verdict", DEADLINE, || came_back() || keys(&last) != Some(1001));
    assert_eq!(keys(&last), Some(1001), "{}", last.process.log());
}

#[test]
fn an_append_only_file_is_loaded_before_a_payload() {
    let primary = primary("()");
    let mut replica = Keystead::builder()
        .plugin("replication", "()")
        .plugin("persistence-rdb", SAVES)
        .plugin("persistence-aof", "(enabled: true, fsync: always)")
        .start();
    follow(&replica, &primary);
    is_kept(&mut replica);
    primary.client().ok("SET later 1");
    wait_until("it is there", DEADLINE, || keys(&replica) == Some(1001));
    let rewritten = || info(&replica, "persistence", "aof_rewrite_in_progress") == "0";
    wait_until("its file", DEADLINE, || rewritten() && info(&replica, "replication", "master_link_status") == "up");
    replica.process.kill();
    replica.restart();
    linked(&replica);
    assert_eq!(keys(&replica), Some(1001));
    assert_eq!(info(&primary, "stats", "sync_full"), "1");
}

/// A save of what was there before doesn't take the new file's place.
#[test]
fn a_save_that_runs_gives_way_to_the_payload() {
    let (mut primary, mut replica) = (primary("()"), replica(SAVES));
    replica.client().ok("DEBUG POPULATE 10 own");
    replica.client().ok("CONFIG SET rdb-key-save-delay 3600000000");
    replica.client().cmd("BGSAVE");
    let saving = || info(&replica, "persistence", "rdb_bgsave_in_progress") == "1";
    wait_until("the save", Duration::from_secs(10), saving);
    follow(&replica, &primary);
    wait_until("its end", Duration::from_secs(10), || !saving());
    assert_eq!(info(&replica, "persistence", "rdb_last_bgsave_status"), "ok");
    is_kept(&mut replica);
    primary.process.kill();
    replica.process.kill();
    replica.restart();
    assert_eq!(keys(&replica), Some(1000));
}

/// The payload is a save as good as any: a node that is promoted behind it takes writes though its last save failed.
#[test]
fn a_payload_makes_good_for_a_save_that_failed() {
    let (primary, mut replica) = (primary("()"), replica(SAVES));
    let file = replica.dir().join("dump.rdb");
    std::fs::create_dir_all(file.join("x")).unwrap();
    replica.client().ok("BGSAVE");
    let status = || info(&replica, "persistence", "rdb_last_bgsave_status");
    wait_until("a failed save", DEADLINE, || status() == "err");
    std::fs::remove_dir_all(&file).unwrap();
    follow(&replica, &primary);
    is_kept(&mut replica);
    wait_until("its verdict", DEADLINE, || info(&replica, "persistence", "rdb_last_bgsave_status") == "ok");
    replica.client().ok("REPLICAOF NO ONE");
    assert_eq!(replica.client().cmd("SET own 1"), Reply::Simple("OK".into()));
}

/// Where the file can't have the name the replica follows all the same, and nothing is left behind.
#[test]
fn a_name_that_is_taken_costs_no_link() {
    let (primary, mut replica) = (primary("()"), replica(SAVES));
    std::fs::create_dir_all(replica.dir().join("dump.rdb/x")).unwrap();
    follow(&replica, &primary);
    replica.process.wait_for_log("The payload of the full sync isn't kept as a file", DEADLINE);
    has_files(&replica, &["dump.rdb"]);
    primary.client().ok("SET later 1");
    wait_until("the stream", DEADLINE, || keys(&replica) == Some(1001));
}
