//! A primary and a replica lose their data together, and follow each other again at once: whoever kept it takes over.

use keystead_harness::{Client, Group, Keystead, Maker, Shape, free_port, wait_until};
use std::time::{Duration, Instant};

/// A slow and shared machine gets this much.
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for two processes to be back on a loaded machine.
const DOWN_AFTER_MS: u64 = 30_000;

fn has(port: u16) -> Option<String> {
    Client::try_connect(port).ok()?.try_command(&["GET", "precious"]).ok()?.as_text()
}

fn info(port: u16, key: &str) -> Option<String> {
    let mut client = Client::try_connect(port).ok()?;
    let text = client.try_command(&["INFO", "replication"]).ok()?.as_text()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::to_owned)
}

#[test]
fn a_replica_that_joins_an_emptied_primary_does_not_hide_who_kept_the_data() {
    for (sentinels, late) in [(1, false), (3, true)] {
        let makers = |n| vec![Maker::Keystead; n];
        let mut group =
            Group::start(&Shape { data: makers(3), sentinels: makers(sentinels), down_after_ms: DOWN_AFTER_MS });
        let [old, joins, keeps] = [0, 1, 2].map(|n| group.data[n].port());
        let mut client = group.data[0].client();
        client.ok("SET precious 1");
        assert_eq!(client.cmd("WAIT 2 5000"), 2);
        if late {
            // It speaks when the other one has joined.
            group.data[2].process().pause();
        }
        group.data[..2].iter_mut().for_each(|node| node.process().kill());
        group.data[..2].iter_mut().for_each(|node| node.process().restart().expect("it starts again"));
        if late {
            let joined = |group: &Group| info(group.data[1].port(), "master_link_status").as_deref() == Some("up");
            wait_until("the emptied one follows", LIMIT, || joined(&group));
            group.data[2].process().resume();
        }
        let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
        assert_eq!(new, keeps);
        group.wait_replica(old, new, LIMIT);
        group.wait_replica(joins, new, LIMIT);
        group.wait_settled(LIMIT);
        for port in [old, joins, keeps] {
            wait_until("everybody has the data", LIMIT, || has(port).as_deref() == Some("1"));
        }
        group.expect_promotions(1);
    }
}

/// The power fails: one of three has what all had on its own disk. It was started again too, so its link saw nothing of the
/// primary's end; the emptied ones found each other, and the service went on without the data.
#[test]
fn a_replica_that_fell_too_and_has_the_data_on_its_disk_takes_over() {
    let mut primary = Keystead::primary();
    let old = primary.port();
    let mut joins = Keystead::replica_of(old);
    let of = format!("(replicaof: (\"127.0.0.1\", {old}))");
    let mut keeps = Keystead::builder().plugin("persistence-rdb", "()").plugin("replication", &of).start();
    let port = free_port();
    let config = format!(
        "(port: {port}, bind: [\"127.0.0.1\"], monitors: [(name: \"m\", host: \"127.0.0.1\", port: {old}, quorum: 1, \
         down_after_ms: {DOWN_AFTER_MS}, failover_timeout_ms: 10000)])"
    );
    let _sentinel = Keystead::builder().plugin("sentinel", &config).ready_port(port).start();
    let mut sentinel = Client::connect(port);
    sentinel.ok("SENTINEL DEBUG info-period 500");
    let mut client = primary.client();
    client.ok("SET precious 1");
    wait_until("all have it", LIMIT, || client.cmd("WAIT 2 1000") == 2);
    keeps.client().ok("SAVE");
    let in_sync = |told: &str| told.matches(" promoted: ").count() + told.matches(" is number 2: ").count();
    wait_until("the sentinel has heard it", LIMIT, || {
        in_sync(&sentinel.cmd("SENTINEL FAILOVER m DRYRUN").texts().join("\n")) == 2
    });
    let (joined, kept) = (joins.port(), keeps.port());
    for node in [&mut primary, &mut joins, &mut keeps] {
        node.process.kill();
    }
    for node in [&mut primary, &mut joins] {
        node.process.restart().expect("it starts again");
    }
    // The one with the data takes longer to load it.
    wait_until("the emptied one follows", LIMIT, || info(joined, "master_link_status").as_deref() == Some("up"));
    keeps.process.restart().expect("it starts again");
    for port in [old, joined, kept] {
        wait_until("everybody has the data", LIMIT, || has(port).as_deref() == Some("1"));
    }
    let place = sentinel.ok("SENTINEL GET-MASTER-ADDR-BY-NAME m").texts();
    assert_eq!(place[1], kept.to_string());
}
