//! A primary and a replica lose their data together, and follow each other again at once: whoever kept it takes over.

use keystead_harness::{Client, Group, Maker, Member, Shape, wait_until};
use std::time::{Duration, Instant};

/// A slow and shared machine gets this much.
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for two processes to be back on a loaded machine.
const DOWN_AFTER_MS: u64 = 30_000;

fn has(port: u16) -> Option<String> {
    Client::try_connect(port).ok()?.try_command(&["GET", "precious"]).ok()?.as_text()
}

fn info(member: &Member, key: &str) -> Option<String> {
    let mut client = Client::try_connect(member.port()).ok()?;
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
            let joined = |group: &Group| info(&group.data[1], "master_link_status").as_deref() == Some("up");
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
