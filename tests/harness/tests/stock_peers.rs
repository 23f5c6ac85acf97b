//! The harness against stock servers: if these fail, no other test's failure means anything.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, RedisSentinel, RedisServer, have, wait_until};

#[test]
fn a_stock_server_starts_answers_and_restarts() {
    if !have("redis-server") {
        println!("SKIPPED: redis-server isn't installed");
        return;
    }
    let mut server = RedisServer::start(&[]);
    let mut client = server.client();
    assert_eq!(client.cmd("SET a 1"), "OK");
    assert_eq!(client.pipeline(&["GET a", "INCR a"]).len(), 2);
    assert_eq!(client.info("replication")["role"], "master");
    server.process.kill();
    assert!(client.is_closed_within(DEADLINE));
    server.process.restart().unwrap();
    let port = server.port();
    server.process.wait_for_port(port, DEADLINE);
}

/// It listens and says -LOADING before that, and DEBUG DIGEST then tells of half the data.
#[test]
fn a_stock_server_is_given_out_once_its_data_is_loaded() {
    if !have("redis-server") {
        println!("SKIPPED: redis-server isn't installed");
        return;
    }
    let keys = 5000i64;
    let sets = (0..keys).map(|n| format!("*3\r\n$3\r\nSET\r\n$4\r\n{n:04}\r\n$1\r\n1\r\n"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("appendonly.aof"), sets.collect::<String>()).unwrap();
    let folder = dir.path().display().to_string();
    let slow = ["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"];
    let server = RedisServer::start(&[&["--dir", folder.as_str(), "--appendonly", "yes"][..], &slow].concat());
    assert_eq!(server.client().cmd("DBSIZE"), keys);
}

#[test]
fn a_stock_sentinel_watches_a_stock_server() {
    if !have("redis-sentinel") {
        println!("SKIPPED: redis-sentinel isn't installed");
        return;
    }
    let server = RedisServer::start(&[]);
    let sentinel = RedisSentinel::start(&[format!("sentinel monitor mymaster 127.0.0.1 {} 1", server.port())]);
    let mut client = sentinel.client();
    wait_until("the sentinel has the primary's run id", DEADLINE, || {
        client.cmd("SENTINEL MASTER mymaster").get("runid").is_some_and(|r| r != "")
    });
}
