//! The replication plugin fails while the server goes on: nothing becomes less safe by that.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, text, wait_until};

/// Its task of every second fails at the third.
const FAILING: (&str, &str) = ("KEYSTEAD_FAILPOINT", "replication-cron:3:fail");

fn failing(config: &str) -> Keystead {
    Keystead::builder().plugin("replication", config).env(FAILING.0, FAILING.1).start()
}

fn refused(client: &mut Client, line: &str) -> String {
    match client.cmd(line) {
        Reply::Error(text) => text,
        other => format!("{other:?}"),
    }
}

fn failed(node: &mut Keystead) {
    node.process.wait_for_log("plugin replication failed and is stopped", DEADLINE);
    let mut client = node.client();
    wait_until("it is stopped", DEADLINE, || refused(&mut client, "REPLICAOF NO ONE").contains("unknown command"));
    // Its tasks are gone with its instance.
    wait_until("nobody follows", DEADLINE, || client.info("replication")["connected_slaves"] == "0");
}

/// Who counts on replicas, or on a sentinel that promotes one, must not be answered OK: no write would reach any. PING is
/// refused too, so that sentinels look for another primary.
#[test]
fn a_primary_whose_replication_failed_takes_no_write() {
    for config in ["()", "(min_replicas_to_write: 1)"] {
        let mut node = failing(config);
        let replica = Keystead::replica_of(node.port());
        let mut client = node.client();
        wait_until("a write", DEADLINE, || !client.cmd("SET a 1").is_error());
        assert_eq!(client.cmd("WAIT 1 5000").as_int(), Some(1));
        failed(&mut node);
        for line in ["SET a 2", "PING"] {
            let why = refused(&mut client, line);
            assert_eq!(
                why, "MISCONF The plugin replication failed and wants no writes without it.",
                "{line}, {config}"
            );
        }
        assert_eq!(text(&client.cmd("GET a")), "1", "what there is can be read and saved");
        assert_eq!(text(&replica.client().cmd("GET a")), "1");
    }
}

/// Nothing comes any more: what it has gets old, and its clients were promised to be told.
#[test]
fn a_replica_whose_replication_failed_is_stale() {
    let primary = Keystead::primary();
    primary.client().ok("SET a 1");
    let of = format!("replicaof: (\"127.0.0.1\", {})", primary.port());
    for (config, read) in [("", "1"), (", serve_stale_data: false", "MASTERDOWN")] {
        let mut node = failing(&format!("({of}{config})"));
        let mut client = node.client();
        wait_until("the link", DEADLINE, || client.info("replication")["master_link_status"] == "up");
        assert_eq!(text(&client.cmd("GET a")), "1");
        failed(&mut node);
        let told = format!("{:?}", client.cmd("GET a"));
        assert!(told.contains(read), "{config}: {told}");
        assert!(refused(&mut client, "SET a 2").starts_with("READONLY") || read == "MASTERDOWN");
        let info = client.info("replication");
        assert_eq!((info["role"].as_str(), info["master_link_status"].as_str()), ("slave", "down"));
    }
}

/// A write that was answered OK is on its way to a replica that stands still for a moment: who is promoted next must have it.
#[test]
fn what_was_answered_before_the_fault_reaches_a_replica_that_lags() {
    const MB: usize = 1 << 20;
    let mut node = failing("()");
    let mut replica = Keystead::replica_of(node.port());
    let (mut client, mut there) = (node.client(), replica.client());
    wait_until("a write", DEADLINE, || !client.cmd("SET a 1").is_error());
    assert_eq!(client.cmd("WAIT 1 5000").as_int(), Some(1));
    replica.process.pause();
    // More than sockets hold by themselves.
    let value = "v".repeat(MB);
    let written = (0..64).filter(|n| !client.command(&["SET", &format!("key:{n}"), &value]).is_error()).count();
    node.process.wait_for_log("plugin replication failed and is stopped", DEADLINE);
    replica.process.resume();
    wait_until("it has all", DEADLINE, || there.cmd("DBSIZE").as_int() == Some(written as i64 + 1));
    assert!(written > 16, "{written} were written before the fault");
    wait_until("nobody follows", DEADLINE, || client.info("replication")["connected_slaves"] == "0");
}
