//! The append-only file over several lives of its process: what one that was killed leaves, and what the next ones make of it.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, KeysteadBuilder, wait_until};
use keystead_persistence_aof::failpoint;
use std::path::PathBuf;

fn aof(config: &str) -> KeysteadBuilder {
    Keystead::builder().plugin("persistence-aof", config).plugin("replication", "()")
}

fn file(node: &Keystead, name: &str) -> PathBuf {
    node.dir().join("appendonlydir").join(name)
}

fn manifest(node: &Keystead) -> String {
    std::fs::read_to_string(file(node, "appendonly.aof.manifest")).unwrap()
}

fn persistence(node: &Keystead, field: &str) -> String {
    node.client().info("persistence")[field].clone()
}

/// Starts it again with another word in its configuration.
fn restart_with(node: &mut Keystead, word: &str, instead_of: &str) {
    let path = node.dir().join("keystead.ron");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(instead_of), "{text}");
    std::fs::write(path, text.replace(instead_of, word)).unwrap();
    node.restart();
}

/// A rewrite while the file is off leaves a base, no file behind it, and its history, if that stays: the next life's file
/// must not get a name that is to be deleted.
fn switched_on_behind_a_rewrite_while_it_was_off(config: &str, env: (&str, &str)) {
    let mut node = aof(config).start();
    node.process.kill();
    node.process.set_env(&[env]);
    restart_with(&mut node, "enabled: false", "enabled: true");
    node.client().ok("BGREWRITEAOF");
    let history = "file appendonly.aof.1.incr.aof seq 1 type h";
    wait_until("the rewrite", DEADLINE, || manifest(&node).contains(history));
    node.process.kill();
    node.process.set_env(&[]);
    restart_with(&mut node, "enabled: true", "enabled: false");
    node.client().ok("CONFIG SET aof-disable-auto-gc no");
    wait_until("the history is gone", DEADLINE, || !manifest(&node).contains("type h"));
    for life in 1..4 {
        node.client().ok(&format!("SET {life} x"));
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("DBSIZE"), life, "{}", manifest(&node));
    }
}

#[test]
fn history_that_stays_is_not_written_to() {
    switched_on_behind_a_rewrite_while_it_was_off("(enabled: true, keep_history: true)", ("NO", "FAILPOINT"));
}

#[test]
fn history_that_a_crash_left_is_not_written_to() {
    let dies = (failpoint::VARIABLE, "history-removed:1");
    switched_on_behind_a_rewrite_while_it_was_off("(enabled: true)", dies);
}

/// What a killed process wrote may be with the system alone. A start puts it on the disk; where that fails, the data is
/// written anew before anything is promised.
#[test]
fn a_start_puts_on_the_disk_what_it_found() {
    for fsync in ["always", "everysec", "no"] {
        let mut node = aof(&format!("(fsync: {fsync}, rewrite_percentage: 0)")).start();
        node.client().ok("SET before 1");
        node.process.kill();
        node.process.set_env(&[(failpoint::VARIABLE, "batch-synced:1:fail")]);
        node.restart();
        let failed = "Error writing to the AOF file: Input/output error";
        assert!(node.process.log().contains(failed), "{fsync}: {}", node.process.log());
        wait_until("a new set", DEADLINE, || persistence(&node, "aof_last_write_status") == "ok");
        assert_eq!(persistence(&node, "aof_rewrites"), "1", "{fsync}");
        node.client().ok("SET behind 1");
        node.process.kill();
        node.process.set_env(&[]);
        node.restart();
        assert_eq!(node.client().cmd("EXISTS before behind"), 2, "{fsync}");
        assert_eq!(node.process.log().matches(failed).count(), 1, "{fsync}");
    }
}

/// So may be their names: the manifest's, of a process that was killed right behind its change.
#[test]
fn a_start_puts_the_names_on_the_disk_too() {
    let mut node = aof("(fsync: always, rewrite_percentage: 0)").start();
    node.client().ok("SET before 1");
    node.process.kill();
    node.process.set_env(&[(failpoint::VARIABLE, &format!("{}:1:fail", failpoint::NAMES_SYNCED))]);
    node.restart();
    let failed = "Error writing to the AOF file: Input/output error";
    assert!(node.process.log().contains(failed), "{}", node.process.log());
    wait_until("a new set", DEADLINE, || persistence(&node, "aof_last_write_status") == "ok");
    assert_eq!(persistence(&node, "aof_rewrites"), "1");
    node.client().ok("SET behind 1");
    node.process.kill();
    node.process.set_env(&[]);
    node.restart();
    assert_eq!(node.client().cmd("EXISTS before behind"), 2);
}

/// A machine that goes down behind a rewrite's beginning may have lost the end of the file before, and all of the new one.
#[test]
fn an_end_that_is_missing_before_an_empty_file_is_cut_as_the_last_one_s() {
    let mut node = aof("(load_truncated: true)").start();
    node.client().ok("SET a 1");
    node.client().ok("SET b 1");
    node.process.kill();
    let first = file(&node, "appendonly.aof.1.incr.aof");
    let good = std::fs::read(&first).unwrap();
    let b = good.windows(7).position(|bytes| bytes == b"b\r\n$1\r\n").unwrap();
    std::fs::write(file(&node, "appendonly.aof.manifest"), {
        manifest(&node) + "file appendonly.aof.2.incr.aof seq 2 type i\nfile appendonly.aof.3.incr.aof seq 3 type i\n"
    })
    .unwrap();
    for seq in [2, 3] {
        std::fs::write(file(&node, &format!("appendonly.aof.{seq}.incr.aof")), "").unwrap();
    }
    std::fs::write(&first, &good[..b]).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS a b"), 1);
    node.client().ok("SET c 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS a b c"), 2, "it was cut off: what follows is read");
    assert!(std::fs::read(file(&node, "appendonly.aof.3.incr.aof")).unwrap().ends_with(b"\r\n"));
}
