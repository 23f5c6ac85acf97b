//! Hash fields that expire, across restarts and to replicas: carried by RDB version 12, refused by name in older ones.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, RedisServer, Reply, have, wait_until};

/// A hash in each form, with and without fields that expire.
fn fill(client: &mut Client) {
    client.ok("HSET small a 1 b 2");
    client.ok("HEXPIRE small 10000 FIELDS 1 a");
    for n in 0..600 {
        client.ok(&format!("HSET big f{n} {n}"));
    }
    client.ok("HEXPIRE big 10000 FIELDS 3 f1 f100 f500");
    client.ok("HSET plain a 1");
}

fn digest(client: &mut Client) -> String {
    client.ok("DEBUG DIGEST").as_text().unwrap()
}

fn check(client: &mut Client) {
    assert_eq!(client.ok("HPERSIST small FIELDS 2 a b").texts(), ["1", "-1"]);
    assert_eq!(client.ok("HPERSIST big FIELDS 3 f1 f2 f500").texts(), ["1", "-1", "1"]);
}

#[test]
fn a_file_of_version_12_carries_deadlines_and_an_older_one_is_refused_by_name() {
    let mut node = Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", "()").start();
    let mut client = node.client();
    fill(&mut client);
    // The version that somebody chose is binding.
    client.ok("CONFIG SET rdb-version 10");
    assert!(matches!(client.cmd("SAVE"), Reply::Error(_)));
    let why = "hash with field expiry can't be written in RDB version 10, only in 12 (rdb-version)";
    node.process.wait_for_log(why, DEADLINE);
    assert!(matches!(client.cmd("CONFIG SET rdb-version 9"), Reply::Error(_)));
    client.ok("CONFIG SET rdb-version 12");
    client.ok("SAVE");
    assert!(std::fs::read(node.dir().join("dump.rdb")).unwrap().starts_with(b"REDIS0012"));
    let before = digest(&mut client);
    node.process.kill();
    node.restart();
    assert_eq!(digest(&mut node.client()), before);
    check(&mut node.client());
}

/// Nobody chose a version: what the data needs is saved, whether its deadlines come from commands, a file or a payload, and
/// what follows is said once each time.
#[test]
fn data_with_deadlines_is_saved_and_forewarned_of_wherever_it_comes_from() {
    let node = || Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", "()");
    let said = "Files will be saved in 12, which Redis before 7.4 can't read";
    let mut first = node().start();
    let mut client = first.client();
    fill(&mut client);
    first.process.wait_for_log(said, DEADLINE);
    let Reply::Bulk(payload) = client.ok("DUMP small") else { panic!("a payload") };
    client.ok("SAVE");
    let file = std::fs::read(first.dir().join("dump.rdb")).unwrap();
    assert!(file.starts_with(b"REDIS0012"));
    let mut loaded = node().file("dump.rdb", &file).start();
    loaded.process.wait_for_log(said, DEADLINE);
    let mut client = loaded.client();
    assert!(!client.ok("SAVE").is_error());
    check(&mut client);
    let mut restored = node().start();
    let mut client = restored.client();
    client.ok("SAVE");
    assert!(
        std::fs::read(restored.dir().join("dump.rdb")).unwrap().starts_with(b"REDIS0010"),
        "as long as that is enough"
    );
    assert!(!restored.process.log().contains(said));
    assert!(!client.command(&[b"RESTORE".as_slice(), b"small", b"0", &payload]).is_error());
    restored.process.wait_for_log(said, DEADLINE);
    client.ok("SAVE");
    assert!(std::fs::read(restored.dir().join("dump.rdb")).unwrap().starts_with(b"REDIS0012"));
}

#[test]
fn append_only_files_carry_deadlines_in_both_kinds_of_base() {
    for preamble in ["true", "false"] {
        let config = format!("(enabled: true, rdb_preamble: {preamble})");
        let mut node = Keystead::builder().plugin("replication", "()").plugin("persistence-aof", &config).start();
        let mut client = node.client();
        fill(&mut client);
        client.ok("BGREWRITEAOF");
        let done = |info: &std::collections::BTreeMap<String, String>| {
            info.get("aof_rewrite_in_progress").is_some_and(|n| n == "0")
                && info.get("aof_rewrite_scheduled").is_some_and(|n| n == "0")
        };
        wait_until("the rewrite", DEADLINE, || done(&client.info("persistence")));
        client.ok("HSET late a 1");
        client.ok("HEXPIRE late 10000 FIELDS 1 a");
        let before = digest(&mut client);
        node.process.terminate();
        assert!(node.process.wait_exit(DEADLINE).success());
        node.restart();
        assert_eq!(digest(&mut node.client()), before, "preamble {preamble}");
        check(&mut node.client());
        assert_eq!(node.client().ok("HPERSIST late FIELDS 1 a").texts(), ["1"]);
    }
}

#[test]
fn a_replica_gets_deadlines_and_is_told_when_they_pass() {
    let primary = Keystead::primary();
    fill(&mut primary.client());
    let replica = Keystead::replica_of(primary.port());
    let same = |replica: &Keystead| digest(&mut replica.client()) == digest(&mut primary.client());
    wait_until("equal digests", DEADLINE, || same(&replica));
    assert_eq!(replica.client().ok("HTTL small FIELDS 1 b").texts(), ["-1"]);
    primary.client().ok("HPEXPIRE small 20 FIELDS 2 a b");
    wait_until("the hash to go", DEADLINE, || replica.client().ok("EXISTS small").as_int() == Some(0));
    wait_until("equal digests", DEADLINE, || same(&replica));
}

/// What a stock replica can't read isn't sent to it, and the log says why.
#[test]
fn a_stock_replica_is_refused_by_name() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let mut primary = Keystead::primary();
    fill(&mut primary.client());
    let port = primary.port().to_string();
    let stock = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    primary.process.wait_for_log("hash with field expiry can't be written in RDB version 10", DEADLINE);
    assert_eq!(stock.client().ok("DBSIZE").as_int(), Some(0));
    primary.client().ok("HPERSIST small FIELDS 1 a");
    primary.client().ok("DEL big");
    wait_until("the sync", DEADLINE, || stock.client().cmd("DBSIZE").as_int() == Some(2));
}

/// What follows from a deadline in a hash is said when the first one is set, not only when a save fails; and a stock replica
/// that is attached already keeps its link and everything else.
#[test]
fn the_first_deadline_forewarns_and_a_stock_replica_stays() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let mut primary = Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", "()").start();
    let port = primary.port().to_string();
    let stock = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let up = || stock.client().info("replication").get("master_link_status").is_some_and(|status| status == "up");
    wait_until("the link", DEADLINE, up);
    let mut client = primary.client();
    client.ok("HSET h a 1 b 2");
    client.ok("HPEXPIRE h 100000 FIELDS 1 a");
    primary.process.wait_for_log("RDB version 10 can't carry it", DEADLINE);
    client.ok("HPEXPIRE h 100000 FIELDS 1 b");
    assert_eq!(primary.process.log().matches("can't carry it").count(), 1, "said once");
    client.ok("SAVE");
    client.ok("SET behind 1");
    wait_until("what follows", DEADLINE, || stock.client().cmd("GET behind").as_text().as_deref() == Some("1"));
    assert!(up(), "the link stays");
    assert_eq!(client.info("stats")["sync_full"], "1", "no second full sync");
    assert_eq!(stock.client().cmd("HLEN h").as_int(), Some(2), "the fields without their deadlines");
    // The fields that end are told to everybody.
    client.ok("HPEXPIRE h 1 FIELDS 1 a");
    wait_until("the field to go", DEADLINE, || stock.client().cmd("HLEN h").as_int() == Some(1));
    client.ok("CONFIG SET rdb-version 12");
    client.ok("SAVE");
}
