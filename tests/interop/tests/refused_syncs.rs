//! Full syncs that can't be. A stock replica asks again at once, hundreds of times a second, and must be held from it.

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, RedisServer, wait_until};
use keystead_interop::pair::field;
use std::time::{Duration, Instant};

/// The third try comes behind two holds of a second.
const THREE_TRIES: Duration = Duration::from_millis(1500);

fn node(replication: &str) -> KeysteadBuilder {
    Keystead::builder().server("enable_protected_configs: \"yes\"").plugin("replication", replication)
}

/// How long a stock replica takes for three tries.
#[track_caller]
fn three_tries(at: &Keystead, tries: impl Fn(&mut Client) -> usize) -> (RedisServer, Duration) {
    let (stock, mut client) = (RedisServer::start(&[]), at.client());
    let (before, began) = (tries(&mut client), Instant::now());
    stock.client().ok(&format!("REPLICAOF 127.0.0.1 {}", at.port()));
    wait_until("three tries", DEADLINE, || tries(&mut client) >= before + 3);
    (stock, began.elapsed())
}

fn syncs(client: &mut Client) -> usize {
    field(client, "stats", "sync_full").parse().expect("a number")
}

#[track_caller]
fn linked(stock: &RedisServer) {
    let mut client = stock.client();
    wait_until("the link", DEADLINE, || field(&mut client, "replication", "master_link_status") == "up");
}

#[test]
fn data_that_the_version_cannot_carry_is_refused_once_a_second() {
    let primary = node("()").start();
    let mut p = primary.client();
    p.ok("HSET h f 1");
    p.ok("HEXPIRE h 1000 FIELDS 1 f");
    let (stock, took) = three_tries(&primary, syncs);
    assert!(took >= THREE_TRIES, "three tries in {took:?}");
    p.ok("DEL h");
    linked(&stock);
}

#[test]
fn a_payload_that_the_disk_refuses_is_tried_once_a_second() {
    let primary = node("(diskless_sync: false)").start();
    let (gone, mut p) = (primary.dir().join("gone"), primary.client());
    std::fs::create_dir(&gone).expect("a folder");
    p.ok(&format!("CONFIG SET dir {}", gone.display()));
    std::fs::remove_dir(&gone).expect("an empty folder");
    let (stock, took) = three_tries(&primary, syncs);
    assert!(took >= THREE_TRIES, "three tries in {took:?}");
    assert!(primary.process.log().contains("SYNC failed: the file with the payload"), "{}", primary.process.log());
    std::fs::create_dir(&gone).expect("a folder");
    linked(&stock);
}

#[test]
fn a_part_is_refused_to_who_wants_the_whole_once_a_second() {
    let primary = node("(filters: [(name: \"eu\", prefixes: [\"eu:\"])])").start();
    let part = node(&format!("(replicaof: (\"127.0.0.1\", {}), filter: \"eu\")", primary.port())).start();
    let mut p = part.client();
    wait_until("the link", DEADLINE, || field(&mut p, "replication", "master_link_status") == "up");
    let came =
        |client: &mut Client| field(client, "stats", "total_connections_received").parse::<usize>().expect("a number");
    let (_stock, took) = three_tries(&part, came);
    assert!(took >= THREE_TRIES, "three tries in {took:?}");
}
