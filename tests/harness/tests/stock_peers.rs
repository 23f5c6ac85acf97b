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
