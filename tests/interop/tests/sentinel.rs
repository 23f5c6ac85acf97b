//! Keystead's sentinels with Debian's redis-sentinel and redis-server 7.0.15: one group, whoever leads.

use keystead_harness::{Client, Group, Maker, PRIMARY, Shape, have, wait_until};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// For what a stock sentinel does outside of a failover: 8 s of a sane view and up to two INFO cycles of 10 s before it
/// re-points a returned primary, and 30 s more of TILT when a busy machine lets it stand still for two.
const STOCK_LIMIT: Duration = Duration::from_secs(180);
/// With a stock majority. Behind `+switch-master` the down-votes of its peers live on for 5 s, the new primary's ping clock
/// runs from the switch, and reconnecting may wait for 1 s: at down-after 1000 it depends on milliseconds whether stock
/// sentinels start a second failover of a healthy primary, whoever's the servers are.
const STOCK_DOWN_AFTER_MS: u64 = 3000;

fn stock_is_here() -> bool {
    let here = have("redis-server") && have("redis-sentinel");
    if !here {
        println!("SKIPPED: redis-server or redis-sentinel is not installed");
    }
    here
}

/// Kills the primary, waits for the next, lets the old one return, twice: there and back.
fn there_and_back(data: [Maker; 3], sentinels: [Maker; 3]) {
    let stock = sentinels.iter().filter(|maker| **maker == Maker::Redis).count() >= 2;
    let (down_after_ms, limit) = if stock { (STOCK_DOWN_AFTER_MS, STOCK_LIMIT) } else { (1000, LIMIT) };
    let mut group = Group::start(&Shape { data: data.to_vec(), sentinels: sentinels.to_vec(), down_after_ms });
    let mut primary = group.data[0].port();
    for round in 1..=2 {
        let since = Instant::now();
        group.node(primary).process().kill();
        let (new, took) = group.first_write_elsewhere(primary, since, LIMIT);
        println!("round {round}: {primary} -> {new} in {took:?}");
        wait_until("all sentinels know the new primary", LIMIT, || (0..3).all(|n| group.primary_by(n) == Some(new)));
        wait_until("the failover has ended", LIMIT, || group.logged("+failover-end") == round);
        assert_eq!(group.logged("+promoted-slave"), round, "one promotion a fault");
        wait_until("all sentinels hold the same epoch", LIMIT, || {
            let first = epoch(&group, 0);
            first >= round as u64 && (1..3).all(|n| epoch(&group, n) == first)
        });
        group.node(primary).process().restart().expect("it starts again");
        group.wait_replica(primary, new, limit);
        group.wait_settled(limit);
        primary = new;
    }
}

#[test]
fn our_sentinels_watch_stock_servers() {
    if stock_is_here() {
        there_and_back([Maker::Redis; 3], [Maker::Keystead; 3]);
    }
}

#[test]
fn stock_sentinels_watch_our_servers() {
    if stock_is_here() {
        there_and_back([Maker::Keystead; 3], [Maker::Redis; 3]);
    }
}

#[test]
fn mixed_sentinels_watch_mixed_servers() {
    if stock_is_here() {
        there_and_back([Maker::Redis, Maker::Keystead, Maker::Redis], [Maker::Keystead, Maker::Redis, Maker::Keystead]);
    }
}

/// A stock majority at down-after 1000, stock data nodes and ours: the failover, and all three agree on it and on its
/// epoch. What a stock majority does afterwards is its own business: it may start a second failover (see
/// `STOCK_DOWN_AFTER_MS`), so only the end is asked for: one primary, and everybody follows it.
fn a_stock_majority(data: [Maker; 3]) {
    let sentinels = vec![Maker::Redis, Maker::Redis, Maker::Keystead];
    let mut group = Group::start(&Shape { data: data.to_vec(), sentinels, down_after_ms: 1000 });
    let (primary, since) = (group.data[0].port(), Instant::now());
    group.node(primary).process().kill();
    group.first_write_elsewhere(primary, since, LIMIT);
    wait_until("all sentinels name the same new primary", LIMIT, || {
        let named: Vec<_> = (0..3).map(|n| group.primary_by(n)).collect();
        named[0].is_some_and(|port| port != primary) && named.iter().all(|port| *port == named[0])
    });
    wait_until("all sentinels hold the same epoch", LIMIT, || {
        let epochs: Vec<_> = (0..3).map(|n| epoch(&group, n)).collect();
        epochs[0] >= 1 && epochs.iter().all(|epoch| *epoch == epochs[0])
    });
    let began = Instant::now();
    group.node(primary).process().restart().expect("it starts again");
    wait_until("the returned primary follows whoever is the primary", STOCK_LIMIT, || {
        let Some(new) = group.primary_by(0) else { return false };
        new == primary || follows(primary, new)
    });
    println!("the old primary took its place {:?} after its return", began.elapsed());
    group.wait_settled(STOCK_LIMIT);
}

fn epoch(group: &Group, sentinel: usize) -> u64 {
    let reply = group.sentinels[sentinel].client().cmd(&format!("SENTINEL MASTER {PRIMARY}"));
    reply.get("config-epoch").and_then(|epoch| epoch.as_text()).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn follows(node: u16, primary: u16) -> bool {
    let Ok(mut client) = Client::try_connect(node) else { return false };
    let Ok(info) = client.try_command(&["INFO", "replication"]) else { return false };
    let info = info.as_text().unwrap_or_default();
    ["role:slave".into(), format!("master_port:{primary}"), "master_link_status:up".into()]
        .iter()
        .all(|line: &String| info.lines().any(|found| found == line))
}

#[test]
fn a_stock_majority_and_one_of_ours_watch_stock_servers() {
    if stock_is_here() {
        a_stock_majority([Maker::Redis; 3]);
    }
}

#[test]
fn a_stock_majority_and_one_of_ours_watch_our_servers() {
    if stock_is_here() {
        a_stock_majority([Maker::Keystead; 3]);
    }
}

#[test]
fn replies_have_the_fields_of_the_stock_sentinel_in_its_order() {
    if !stock_is_here() {
        return;
    }
    let group = Group::start(&Shape {
        data: vec![Maker::Redis; 2],
        sentinels: vec![Maker::Keystead, Maker::Redis],
        down_after_ms: 5000,
    });
    let names = |fields: Vec<String>| fields.into_iter().step_by(2).collect::<Vec<_>>();
    for what in ["MASTER", "REPLICAS", "SENTINELS"] {
        let asked = |n: usize| {
            let reply = group.sentinels[n].client().cmd(&format!("SENTINEL {what} {PRIMARY}"));
            names(if what == "MASTER" { reply.texts() } else { reply.items()[0].texts() })
        };
        assert_eq!(asked(0), asked(1), "{what}");
    }
    let info = |n: usize| group.sentinels[n].client().info("sentinel");
    assert_eq!(info(0), info(1));
}

/// An operator's failover on either kind of sentinel is taken over by the other.
#[test]
fn failovers_asked_for_spread_both_ways() {
    if !stock_is_here() {
        return;
    }
    let mut group = Group::start(&Shape {
        data: vec![Maker::Redis, Maker::Redis, Maker::Keystead],
        sentinels: vec![Maker::Keystead, Maker::Redis],
        down_after_ms: 5000,
    });
    let mut primary = group.data[0].port();
    for sentinel in [0, 1] {
        group.sentinels[sentinel].client().ok(&format!("SENTINEL FAILOVER {PRIMARY}"));
        let (new, _) = group.first_write_elsewhere(primary, Instant::now(), LIMIT);
        wait_until("both sentinels know the new primary", LIMIT, || (0..2).all(|n| group.primary_by(n) == Some(new)));
        group.wait_replica(primary, new, LIMIT);
        group.wait_settled(LIMIT);
        primary = new;
    }
    assert_eq!(group.logged("+promoted-slave"), 2);
}
