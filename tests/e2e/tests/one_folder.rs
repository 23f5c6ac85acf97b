//! Two processes in one folder: each would replace what the other one has promised, so the second is refused there, at its start
//! or when it comes to write.
#![allow(clippy::unwrap_used)]

use keystead_e2e::disk::ReadOnly;
use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, Reply, eventually, wait_until};
use std::path::Path;
use std::time::{Duration, Instant};

const SAVES: &str = "(save: [(3600, 1)])";
const ALWAYS: &str = "(fsync: always, rewrite_percentage: 0)";
/// A second start gives the first one this long to end, and some more.
const REFUSED_AFTER: Duration = Duration::from_secs(4);

fn with(plugin: &str, config: &str) -> KeysteadBuilder {
    Keystead::builder().server("enable_protected_configs: \"local\"").plugin(plugin, config)
}

/// Another instance, with a port of its own, in the folder of this one.
fn beside(builder: KeysteadBuilder, node: &Keystead) -> KeysteadBuilder {
    builder.arg("--dir").arg(&node.dir().display().to_string())
}

fn set_dir(client: &mut Client, dir: &Path) -> Reply {
    client.command(&["CONFIG", "SET", "dir", &dir.display().to_string()])
}

fn taken(node: &Keystead, dir: &Path) -> String {
    let shown = dir.canonicalize().unwrap();
    format!("another process ({}) writes to {}", node.process.pid(), shown.display())
}

#[test]
fn a_second_start_is_refused_and_says_by_whom() {
    for (plugin, config) in [("persistence-aof", ALWAYS), ("persistence-rdb", SAVES), ("snapshots", "()")] {
        let builder = with(plugin, config).plugin("replication", "()");
        let mut node = builder.clone().start();
        node.client().ok("SET a 1");
        let begin = Instant::now();
        let mut second = beside(builder.clone(), &node).launch();
        assert!(!second.process.wait_exit(DEADLINE).success(), "{plugin}");
        assert!(begin.elapsed() > REFUSED_AFTER, "{plugin}: {:?}", begin.elapsed());
        let log = second.process.log();
        assert!(log.contains(&taken(&node, node.dir())) && log.contains("a folder ('dir') of its own"), "{log}");
        node.client().ok("SET b 2");
        if plugin == "persistence-rdb" {
            node.client().ok("SAVE");
        } else if plugin == "snapshots" {
            node.client().ok("SNAPSHOTS.SAVE");
        }
        // However it ended, its folder is free.
        node.process.kill();
        let second = beside(builder, &node).start();
        assert_eq!(second.client().cmd("EXISTS a b"), 2, "{plugin}");
    }
}

/// Also where nothing is saved: which role a node has lies there, and would be given to the other one.
#[test]
fn a_second_node_does_not_take_the_first_one_s_role() {
    let builder = with("replication", "()");
    let mut node = builder.clone().start();
    let mut second = beside(builder.clone(), &node).launch();
    assert!(!second.process.wait_exit(DEADLINE).success());
    let log = second.process.log();
    assert!(log.contains(&taken(&node, node.dir())) && log.contains("replication.lock"), "{log}");
    assert_eq!(node.client().command(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().info("replication")["role"], "slave");
}

/// Its port may be free, or another one be given, before its last write is done.
#[test]
fn a_start_waits_for_one_that_is_about_to_end() {
    let builder = with("persistence-rdb", SAVES);
    let mut node = builder.clone().start();
    node.client().ok("DEBUG POPULATE 100");
    node.client().ok("SET a 1");
    node.client().ok("CONFIG SET rdb-key-save-delay 15000");
    node.process.terminate();
    node.process.wait_for_log("Saving the final RDB snapshot", DEADLINE);
    let second = beside(builder, &node).start();
    assert!(!node.process.is_alive());
    assert_eq!(second.client().cmd("DBSIZE"), 101);
    assert!(second.process.log().contains("waiting for its end"), "{}", second.process.log());
}

#[test]
fn who_saves_when_asked_to_is_told_then() {
    let mut node = with("persistence-rdb", SAVES).start();
    node.client().ok("SET of-the-first 1");
    node.client().ok("SAVE");
    let second = beside(with("persistence-rdb", "(save: [])"), &node).start();
    let mut client = second.client();
    client.ok("FLUSHALL");
    client.ok("SET of-the-second 1");
    let Reply::Error(refused) = client.cmd("SAVE") else { panic!("it saved") };
    assert!(refused.contains(&taken(&node, node.dir())), "{refused}");
    client.command(&["CONFIG", "SET", "save", "3600 1"]);
    client.ok("BGSAVE");
    let status = || second.client().info("persistence")["rdb_last_bgsave_status"].clone();
    wait_until("it fails", DEADLINE, || status() == "err");
    node.process.kill();
    client.ok("SAVE");
    // Now it is the second one's.
    drop(second);
    node.restart();
    assert_eq!(node.client().cmd("EXISTS of-the-first of-the-second"), 1);
}

/// A cache that writes nothing may share its folder with anybody.
#[test]
fn who_writes_nothing_is_kept_out_of_nowhere() {
    let node = with("persistence-rdb", SAVES).plugin("persistence-aof", ALWAYS).start();
    let quiet = with("persistence-rdb", "(save: [])").plugin("persistence-aof", "(enabled: false)");
    let (mut one, mut two) = (beside(quiet.clone(), &node).start(), beside(quiet, &node).start());
    for cache in [&mut one, &mut two] {
        cache.client().ok("SET a 1");
        cache.client().send(&["SHUTDOWN"]).unwrap();
        assert!(cache.process.wait_exit(DEADLINE).success());
    }
}

fn rewrite_fails(node: &Keystead) -> bool {
    node.client().info("persistence")["aof_last_bgrewrite_status"] == "err"
}

/// CONFIG SET dir and CONFIG SET appendonly lead to no files of somebody else's either, and cost nothing.
#[test]
fn an_append_only_file_does_not_go_where_another_one_is() {
    let (mut one, mut two) = (with("persistence-aof", ALWAYS).start(), with("persistence-aof", ALWAYS).start());
    one.client().ok("SET one 1");
    two.client().ok("SET two 1");
    assert_eq!(set_dir(&mut two.client(), one.dir()), "OK");
    wait_until("it is refused", DEADLINE, || rewrite_fails(&two));
    assert!(two.process.log().contains(&taken(&one, one.dir())), "{}", two.process.log());
    two.client().ok("SET two-more 1");
    one.client().ok("SET one-more 1");
    let late = beside(with("persistence-aof", "(enabled: false)"), &one).start();
    late.client().ok("SET late 1");
    late.client().ok("CONFIG SET appendonly yes");
    wait_until("it is refused", DEADLINE, || rewrite_fails(&late));
    drop(late);
    for (node, keys) in [(&mut one, "one one-more"), (&mut two, "two two-more")] {
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd(&format!("EXISTS {keys}")), 2, "{keys}");
        assert_eq!(node.client().cmd("DBSIZE"), 2, "{keys}");
    }
    // There and back: each folder is its own.
    let other = two.dir().join("other");
    std::fs::create_dir(&other).unwrap();
    for dir in [other.as_path(), two.dir()] {
        assert_eq!(set_dir(&mut two.client(), dir), "OK");
        let set = dir.join("appendonlydir/appendonly.aof.manifest");
        wait_until("it has arrived", DEADLINE, || {
            std::fs::read_to_string(&set).is_ok_and(|text| text.contains(".base.rdb"))
                && two.client().info("persistence")["aof_rewrite_in_progress"] == "0"
        });
    }
    two.process.kill();
    two.restart();
    assert_eq!(two.client().cmd("DBSIZE"), 2);
}

/// Whoever went elsewhere with its file leaves the folder to others.
#[test]
fn a_folder_that_is_left_is_free() {
    let node = with("persistence-rdb", SAVES).start();
    let other = node.dir().join("other");
    std::fs::create_dir(&other).unwrap();
    assert_eq!(set_dir(&mut node.client(), &other), "OK");
    node.client().ok("SAVE");
    let second = beside(with("persistence-rdb", SAVES), &node).start();
    second.client().ok("SAVE");
    assert_eq!(set_dir(&mut node.client(), node.dir()), "OK");
    assert!(node.client().cmd("SAVE").is_error(), "there is somebody else now");
    drop(second);
    let saved = eventually(DEADLINE, || (node.client().cmd("SAVE") == "OK").then_some(()));
    assert!(saved.is_some(), "{}", node.process.log());
}

/// A start where nothing can be written is as good as before: what is there is served.
#[test]
fn a_folder_that_is_read_only_is_served() {
    let data = tempfile::tempdir().unwrap();
    let mut node = with("persistence-rdb", SAVES).arg("--dir").arg(&data.path().display().to_string()).start();
    node.client().ok("SET a 1");
    node.client().ok("SAVE");
    node.process.kill();
    for lock in [true, false] {
        if !lock {
            std::fs::remove_file(data.path().join("persistence-rdb.lock")).unwrap();
        }
        let Some(read_only) = ReadOnly::make(data.path()) else { return };
        node.restart();
        assert_eq!(node.client().cmd("GET a"), "1");
        assert!(node.client().cmd("SAVE").is_error());
        node.process.kill();
        drop(read_only);
    }
}
