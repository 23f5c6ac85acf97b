//! What a node does around its links, seen from outside: whom it turns away for now, how it is announced, what a part of a
//! dump has, what is served while a shadow is loaded, and that an end waits for who lags.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, Reply, text, wait_until};
use std::time::Duration;

fn node(config: &str) -> Keystead {
    Keystead::builder().plugin("replication", &format!("(ping_period_s: 3600, {config})")).start()
}

fn info(node: &Keystead, section: &str, name: &str) -> String {
    node.client().info(section).get(name).cloned().unwrap_or_default()
}

fn linked(replica: &Keystead) {
    wait_until("the link", DEADLINE, || info(replica, "replication", "master_link_status") == "up");
}

/// The middle of a chain without its own primary has no history to hand on: it says so, and is asked again later.
#[test]
fn a_middle_without_a_primary_turns_replicas_away_for_now() {
    let mut primary = node("");
    let (middle, last) = (node(""), node(""));
    primary.client().ok("SET a 1");
    let port = primary.port();
    primary.process.kill();
    middle.client().ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    let answer = middle.client().cmd("PSYNC ? -1");
    assert_eq!(answer, Reply::Error("NOMASTERLINK Can't SYNC while not connected with my master".into()));
    last.client().ok(&format!("REPLICAOF 127.0.0.1 {}", middle.port()));
    wait_until("a refusal", DEADLINE, || last.process.log().contains("NOMASTERLINK"));
    assert!(!middle.process.log().contains("Full resync requested"), "{}", middle.process.log());
    primary.restart();
    linked(&middle);
    linked(&last);
    primary.client().ok("SET b 2");
    wait_until("the chain has it", DEADLINE, || text(&last.client().cmd("GET b")) == "2");
}

#[test]
fn a_replica_is_shown_as_it_announces_itself() {
    let primary = node("");
    let config = format!(
        "replicaof: (\"127.0.0.1\", {}), announce_ip: \"10.1.2.3\", announce_port: 7777, announced: false",
        primary.port()
    );
    let replica = node(&config);
    linked(&replica);
    let line = || info(&primary, "replication", "slave0");
    wait_until("it is online", DEADLINE, || line().contains("state=online"));
    assert!(line().starts_with("ip=10.1.2.3,port=7777,"), "{}", line());
    let role = primary.client().cmd("ROLE").items();
    assert_eq!(role[2].items()[0].texts()[..2], ["10.1.2.3", "7777"]);
    assert_eq!(info(&replica, "replication", "replica_announced"), "0");
    let mut client = replica.client();
    client.ok("CONFIG SET replica-announced yes replica-announce-ip 10.9.9.9 replica-announce-port 8888");
    assert_eq!(info(&replica, "replication", "replica_announced"), "1");
    // The primary learns of it with the next handshake.
    primary.client().ok("CLIENT KILL TYPE replica");
    wait_until("the new address", DEADLINE, || line().starts_with("ip=10.9.9.9,port=8888,state=online"));
}

/// `redis-cli --functions-rdb`: the libraries and no key.
#[test]
fn a_dump_of_functions_has_no_keys() {
    let node = Keystead::builder().plugin("replication", "()").plugin("scripting", "()").start();
    let mut client = node.client();
    client.ok("SET somekey somevalue");
    let library = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
    client.command(&["FUNCTION", "LOAD", library]);
    client.ok("REPLCONF rdb-filter-only functions");
    client.send(&["SYNC"]).unwrap();
    let mut got = Vec::new();
    wait_until("the payload", DEADLINE, || {
        got.extend(client.drain(Duration::from_millis(50)));
        let has = |what: &[u8]| got.windows(what.len()).any(|part| part == what);
        has(b"name=mylib") && got.len() > 100
    });
    assert!(!got.windows(7).any(|part| part == b"somekey"), "{}", got.escape_ascii());
    let refused = node.client().cmd("REPLCONF rdb-filter-only keys");
    assert_eq!(refused, Reply::Error("ERR Unsupported rdb-filter-only option: keys".into()));
}

/// `repl-diskless-load swapdb`: the same history, so the old data may be served until the new is whole.
#[test]
fn the_old_data_is_served_while_a_shadow_is_loaded() {
    let primary = node("backlog_size: 16384");
    let replica = Keystead::builder()
        .plugin("replication", &format!("(diskless_load: swapdb, replicaof: (\"127.0.0.1\", {}))", primary.port()))
        .plugin("persistence-rdb", "(save: [])")
        .start();
    let mut client = primary.client();
    client.ok("SET old 1");
    linked(&replica);
    wait_until("the first key", DEADLINE, || text(&replica.client().cmd("GET old")) == "1");
    replica.client().ok("CONFIG SET key-load-delay 20000");
    // Out of reach, and then too far behind for the backlog.
    replica.client().ok("REPLICAOF 127.0.0.1 1");
    client.ok("DEBUG POPULATE 300 key 300");
    client.ok("SET old 2");
    for n in 0..40 {
        client.ok(&format!("SET fill:{n} {}", "x".repeat(1000)));
    }
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("a shadow is loaded", DEADLINE, || info(&replica, "persistence", "async_loading") == "1");
    assert_eq!(text(&replica.client().cmd("GET old")), "1");
    assert_eq!(info(&replica, "persistence", "loading"), "0");
    replica.client().ok("CONFIG SET key-load-delay 0");
    linked(&replica);
    assert_eq!(text(&replica.client().cmd("GET old")), "2");
    assert_eq!(info(&replica, "persistence", "async_loading"), "0");
    let digest = |node: &Keystead| text(&node.client().cmd("DEBUG DIGEST"));
    wait_until("the same data", DEADLINE, || digest(&primary) == digest(&replica));
}

/// SHUTDOWN waits for a replica that lags (`shutdown-timeout`), and the replica then has everything.
#[test]
fn an_end_waits_for_a_replica_that_lags() {
    let mut primary = node("");
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    primary.client().ok("CONFIG SET shutdown-timeout 60");
    replica.process.pause();
    let mut client = primary.client();
    for n in 0..100 {
        client.ok(&format!("SET k:{n} {}", "x".repeat(1000)));
    }
    primary.process.terminate();
    wait_until("it waits", DEADLINE, || primary.process.log().contains("Waiting for replicas before shutting down"));
    assert!(primary.process.is_alive());
    replica.process.resume();
    primary.process.wait_exit(DEADLINE);
    wait_until("the last key", DEADLINE, || replica.client().cmd("EXISTS k:99") == Reply::Int(1));
}
