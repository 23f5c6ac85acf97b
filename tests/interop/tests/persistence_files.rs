//! RDB files change hands: a stock redis-server starts with ours, Keystead starts with its files and with those of old
//! versions, and both then hold the same.

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, RedisServer, eventually, have, wait_until};
use keystead_interop::compare::{differences, digest};
use keystead_interop::pair::traffic;
use keystead_interop::random::Commands;
use std::path::{Path, PathBuf};
use std::process::Command;

const DATABASES: &[u32] = &[0, 1, 2, 3];

fn saving() -> KeysteadBuilder {
    Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", "(save: [])")
}

/// A stock server that starts with this file.
fn redis_with(file: &Path) -> RedisServer {
    let (dir, name) = (file.parent().expect("a folder"), file.file_name().expect("a name"));
    RedisServer::start(&["--dir", &dir.display().to_string(), "--dbfilename", &name.to_string_lossy()])
}

#[track_caller]
fn same(a: &mut Client, b: &mut Client) {
    if digest(a) != digest(b) {
        panic!("they differ: {}", differences(a, b, DATABASES));
    }
}

#[test]
fn stock_redis_starts_with_our_file() {
    assert!(have("redis-server") && have("redis-check-rdb"));
    for (seed, compress) in [(1, "yes"), (2, "no")] {
        let node = saving().start();
        let mut client = node.client();
        traffic(&mut client, &mut Commands::without_endings(seed), 1500);
        client.ok(&format!("CONFIG SET rdbcompression {compress}"));
        client.ok("SAVE");
        let file = node.dir().join("dump.rdb");
        let checked = Command::new("redis-check-rdb").arg(&file).output().expect("it runs");
        let told = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success() && told.contains("RDB looks OK"), "{told}");
        let redis = redis_with(&file);
        same(&mut client, &mut redis.client());
    }
}

#[test]
fn a_file_of_stock_redis_is_loaded() {
    for seed in [3, 4] {
        let redis = RedisServer::start(&[]);
        let mut client = redis.client();
        traffic(&mut client, &mut Commands::without_endings(seed), 1500);
        client.ok("SAVE");
        let dir = client.cmd("CONFIG GET dir").get("dir").and_then(|dir| dir.as_text()).expect("a folder");
        let bytes = std::fs::read(PathBuf::from(dir).join("dump.rdb")).expect("it was saved");
        let node = saving().file("dump.rdb", &bytes).start();
        same(&mut node.client(), &mut client);
    }
}

/// The files of the golden tests, old encodings among them.
#[test]
fn old_files_are_loaded_as_stock_redis_loads_them() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/rdb/tests/golden");
    for name in ["all", "old", "lru", "lfu", "empty", "uncompressed-unchecked"] {
        let bytes = std::fs::read(golden.join(format!("{name}.rdb"))).expect("a golden file");
        let node = saving().file("dump.rdb", &bytes).start();
        let redis = redis_with(&node.dir().join("dump.rdb"));
        same(&mut node.client(), &mut redis.client());
    }
}

#[test]
fn a_stock_replica_s_file_resumes_under_keystead() {
    // What a node saved of a stream is as good for the other make: a replica's file carries id, offset and database.
    let primary = RedisServer::start(&["--repl-backlog-size", "10mb"]);
    let mut client = primary.client();
    let follow = format!("127.0.0.1 {}", primary.port());
    let replica = RedisServer::start(&["--replicaof", &follow]);
    traffic(&mut client, &mut Commands::without_endings(5), 200);
    let up = || replica.client().info("replication").get("master_link_status").is_some_and(|status| status == "up");
    assert!(eventually(DEADLINE, || up().then_some(())).is_some());
    let mut other = replica.client();
    assert!(eventually(DEADLINE, || (digest(&mut client) == digest(&mut other)).then_some(())).is_some());
    other.ok("SAVE");
    let dir = other.cmd("CONFIG GET dir").get("dir").and_then(|dir| dir.as_text()).expect("a folder");
    let bytes = std::fs::read(PathBuf::from(dir).join("dump.rdb")).expect("it was saved");
    client.ok("SET behind it");
    let before = client.info("stats")["sync_full"].clone();
    let node = Keystead::builder()
        .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {}))", primary.port()))
        .plugin("persistence-rdb", "()")
        .file("dump.rdb", &bytes)
        .start();
    let mut ours = node.client();
    let equal = eventually(DEADLINE, || (digest(&mut client) == digest(&mut ours)).then_some(()));
    assert!(equal.is_some(), "{}", node.process.log());
    assert_eq!(client.info("stats")["sync_full"], before, "{}", node.process.log());
}

/// Inside MULTI a save is told to come; what it saves is what is there behind EXEC.
#[test]
fn saves_inside_a_transaction_are_scheduled() {
    let builder = saving().plugin("persistence-aof", "(enabled: false)");
    let (mut node, redis) = (builder.start(), RedisServer::start(&["--save", ""]));
    let mut replies = Vec::new();
    for client in [&mut node.client(), &mut redis.client()] {
        for request in
            ["MULTI", "SET a 1", "BGSAVE", "BGSAVE SCHEDULE", "BGREWRITEAOF", "BGREWRITEAOF", "BGSAVE x", "SET b 2"]
        {
            client.cmd(request);
        }
        replies.push(client.cmd("EXEC"));
    }
    assert_eq!(replies[0], replies[1]);
    wait_until("it is saved", DEADLINE, || node.dir().join("dump.rdb").exists());
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("MGET a b"), redis.client().cmd("MGET a b"));
}
