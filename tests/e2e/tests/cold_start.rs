//! Everything falls at once and is started again, in any order: the group finds its last primary by what data nodes and
//! sentinels have recorded, without an operator, and nobody's data is wiped.

use keystead_harness::{Client, Group, Keystead, Member, PRIMARY, free_port, sentinel_config, wait_until};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
/// Long enough for a loaded machine to start six processes.
const DOWN_AFTER_MS: u64 = 5_000;

/// Three data nodes, those that are named with an append-only file that each write is synced to, and three sentinels. The
/// primary isn't the one that the files name: it was made one by a failover.
fn group(with_files: [bool; 3], down_after_ms: u64) -> (Group, u16) {
    let mut data: Vec<Member> = Vec::new();
    for with_file in with_files {
        let follow = data.first().map_or("()".into(), |p| format!("(replicaof: (\"127.0.0.1\", {}))", p.port()));
        let node = Keystead::builder().port(free_port()).plugin("replication", &follow);
        let node = if with_file { node.plugin("persistence-aof", "(fsync: always)") } else { node }.start();
        let port = node.port();
        data.push(Member::Keystead(Box::new(node), port));
    }
    let first = data[0].port();
    let sentinels = (0..3).map(|_| {
        let port = free_port();
        let config = sentinel_config(port, first, 2, down_after_ms);
        Member::Keystead(Box::new(Keystead::builder().plugin("sentinel", &config).ready_port(port).start()), port)
    });
    let mut group = Group { sentinels: sentinels.collect(), data };
    group.wait_settled(LIMIT);
    let mut sentinel = group.sentinels[0].client();
    wait_until("it can be failed over", LIMIT, || sentinel.cmd(&format!("SENTINEL FAILOVER {PRIMARY}")) == "OK");
    wait_until("the failover has ended", LIMIT, || group.logged("+failover-end") == 1);
    group.wait_settled(LIMIT);
    let primary = group.primary_by(0).expect("a primary");
    assert_ne!(primary, first);
    let mut client = Client::connect(primary);
    client.ok("SET kept yes");
    assert_eq!(client.cmd("WAIT 2 10000"), 2);
    (group, primary)
}

/// kill -9 for all.
fn fall(group: &mut Group) {
    group.data.iter_mut().chain(&mut group.sentinels).for_each(|member| member.process().kill());
}

fn start(member: &mut Member) {
    member.process().restart().expect("it starts again");
}

fn start_sentinels(group: &mut Group) {
    group.sentinels.iter_mut().for_each(start);
}

/// One primary that all agree on and that takes writes, which reach everybody.
fn settled(group: &mut Group) -> u16 {
    let ports: Vec<u16> = group.data.iter().map(Member::port).collect();
    wait_until("everybody answers", LIMIT, || {
        // A sentinel's CLIENT KILL may hit this very connection.
        let answer = |port: &u16| Client::try_connect(*port)?.try_command(&["PING"]);
        ports.iter().all(|port| answer(port).is_ok_and(|reply| reply == "PONG"))
    });
    group.wait_settled(LIMIT);
    let primary = group.primary_by(0).expect("a primary");
    wait_until("writes reach everybody", LIMIT, || {
        let Ok(mut client) = Client::try_connect(primary) else { return false };
        client.try_command(&["SET", "new", "yes"]).is_ok_and(|reply| reply == "OK")
            && client.try_command(&["WAIT", "2", "1000"]).is_ok_and(|reply| reply == 2)
    });
    primary
}

fn everybody_has(group: &Group, value: Option<&str>) {
    for member in &group.data {
        let has = member.client().cmd("GET kept").as_text();
        assert_eq!(has.as_deref(), value, "{}", member.port());
    }
}

#[test]
fn in_every_order_the_last_primary_is_found_again() {
    let (mut group, primary) = group([true; 3], DOWN_AFTER_MS);
    for (n, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate() {
        fall(&mut group);
        if n % 2 == 0 {
            start_sentinels(&mut group);
        }
        order.into_iter().for_each(|at| start(&mut group.data[at]));
        if n % 2 == 1 {
            start_sentinels(&mut group);
        }
        assert_eq!(settled(&mut group), primary, "order {order:?}");
        everybody_has(&group, Some("yes"));
    }
    assert_eq!(group.logged("+promoted-slave"), 1, "none but the one that was asked for");
}

#[test]
fn a_last_primary_that_stays_away_is_replaced_and_joins_later() {
    let (mut group, primary) = group([true; 3], 1_000);
    fall(&mut group);
    for member in group.data.iter_mut().filter(|member| member.port() != primary) {
        start(member);
    }
    start_sentinels(&mut group);
    wait_until("a replica takes over", LIMIT, || group.primary_by(0).is_some_and(|port| port != primary));
    wait_until("the failover has ended", LIMIT, || group.logged("+failover-end") == 2);
    start(group.node(primary));
    assert_ne!(settled(&mut group), primary);
    everybody_has(&group, Some("yes"));
}

#[test]
fn without_files_they_find_each_other_again_empty() {
    let (mut group, primary) = group([false; 3], DOWN_AFTER_MS);
    for sentinels_first in [true, false] {
        fall(&mut group);
        if sentinels_first {
            start_sentinels(&mut group);
        }
        group.data.iter_mut().rev().for_each(start);
        if !sentinels_first {
            start_sentinels(&mut group);
        }
        assert_eq!(settled(&mut group), primary);
        everybody_has(&group, None);
    }
}

/// Only the last primary comes back empty: it must not wipe those who have everything on their disks.
#[test]
fn a_last_primary_without_a_file_gives_way_to_a_replica_that_has_one() {
    // The failover of `group` goes to one of the other two: both without a file in turn would leave nobody.
    let (mut group, primary) = group([true; 3], 1_000);
    fall(&mut group);
    let Member::Keystead(node, _) = group.node(primary) else { unreachable!("all are ours") };
    std::fs::remove_dir_all(node.dir().join("appendonlydir")).expect("its append-only files");
    start(group.node(primary));
    for member in group.data.iter_mut().filter(|member| member.port() != primary) {
        start(member);
    }
    start_sentinels(&mut group);
    wait_until("one that has the data takes over", LIMIT, || group.primary_by(0).is_some_and(|port| port != primary));
    assert_ne!(settled(&mut group), primary);
    everybody_has(&group, Some("yes"));
}
