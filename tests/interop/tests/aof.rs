//! The append-only file beside stock Redis 7: each reads the other's folder, with equal digests; redis-check-aof agrees; a
//! single file of an older Redis is taken over.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, RedisServer, wait_until};
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "appendonlydir";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn stock(dir: &Path) -> RedisServer {
    RedisServer::start(&["--dir", &dir.display().to_string(), "--appendonly", "yes", "--appendfsync", "always"])
}

fn ours() -> Keystead {
    Keystead::builder()
        .plugin("persistence-aof", "(fsync: always, timestamps: true)")
        .plugin("replication", "()")
        .start()
}

/// Some of everything, through a rewrite.
fn fill(client: &mut keystead_harness::Client) {
    for n in 0..50 {
        client.ok(&format!("SET key:{n} {n}"));
        client.cmd(&format!("RPUSH list {n} {n}"));
        client.cmd(&format!("ZADD zset {n}.25 m{n}"));
        client.cmd(&format!("HSET hash f{n} {n}"));
        client.cmd(&format!("SADD set m{n}"));
        if n == 25 {
            client.cmd("BGREWRITEAOF");
        }
    }
    client.cmd("PEXPIREAT key:1 4000000000000");
    client.cmd("SELECT 3");
    client.pipeline(&["MULTI", "INCR a", "INCR b", "EXEC"]);
    wait_until("the rewrite", DEADLINE, || client.info("persistence")["aof_rewrite_in_progress"] == "0");
}

#[test]
fn stock_reads_ours_and_we_read_what_it_made_of_it() {
    let mut node = ours();
    let mut client = node.client();
    fill(&mut client);
    let digest = client.cmd("DEBUG DIGEST");
    node.process.kill();
    let folder = node.dir().join(FOLDER);
    let check = Command::new("redis-check-aof").arg(folder.join("appendonly.aof.manifest")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let dir = tempfile::tempdir().unwrap();
    copy(&folder, &dir.path().join(FOLDER));
    let mut redis = stock(dir.path());
    assert_eq!(redis.client().cmd("DEBUG DIGEST"), digest);
    fill(&mut redis.client());
    let digest = redis.client().cmd("DEBUG DIGEST");
    redis.process.kill();
    std::fs::remove_dir_all(&folder).unwrap();
    copy(&dir.path().join(FOLDER), &folder);
    node.restart();
    assert_eq!(node.client().cmd("DEBUG DIGEST"), digest);
}

#[test]
fn a_single_old_file_is_taken_over() {
    let set = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let builder =
        Keystead::builder().plugin("persistence-aof", "(fsync: always)").file("appendonly.aof", set.as_bytes());
    let mut node = builder.start();
    assert_eq!(node.client().cmd("GET a"), "1");
    node.client().ok("SET b 2");
    node.process.kill();
    assert!(!node.dir().join("appendonly.aof").exists(), "it lies in the folder now");
    node.restart();
    assert_eq!(node.client().cmd("MGET a b").texts(), ["1", "2"]);
}

/// redis-check-aof cuts our files at a time, and we go on with what is left.
#[test]
fn redis_check_aof_cuts_ours_at_a_time() {
    let mut node = ours();
    let mut client = node.client();
    let seconds = |client: &mut keystead_harness::Client| client.cmd("TIME").texts()[0].parse::<u64>().unwrap();
    client.ok("SET early 1");
    let cut = seconds(&mut client);
    wait_until("a later second", DEADLINE, || seconds(&mut client) > cut);
    client.pipeline(&["SET late 1", "SELECT 2", "SET late 2"]);
    node.process.kill();
    let manifest = node.dir().join(FOLDER).join("appendonly.aof.manifest");
    let run =
        Command::new("redis-check-aof").arg("--truncate-to-timestamp").arg(cut.to_string()).arg(&manifest).output();
    let told = String::from_utf8_lossy(&run.unwrap().stdout).into_owned();
    assert!(told.contains(&format!("to timestamp {cut}")), "{told}");
    node.restart();
    let mut client = node.client();
    assert_eq!(client.cmd("KEYS *").texts(), ["early"], "{told}");
    client.ok("SELECT 2");
    assert_eq!(client.cmd("DBSIZE"), 0);
    client.ok("SET after 1");
}

/// A base of commands says its time first, as an incremental file does.
#[test]
fn a_base_of_commands_begins_with_its_time() {
    let node = Keystead::builder().plugin("persistence-aof", "(timestamps: true, rdb_preamble: false)").start();
    let mut client = node.client();
    client.ok("SET a 1");
    client.cmd("BGREWRITEAOF");
    let base = || {
        let files = std::fs::read_dir(node.dir().join(FOLDER)).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.to_string_lossy().ends_with(".base.aof")).max().map(std::fs::read)
    };
    wait_until("a base with the key", DEADLINE, || {
        base().is_some_and(|read| read.is_ok_and(|text| text.starts_with(b"#TS:") && text.ends_with(b"1\r\n")))
    });
}
