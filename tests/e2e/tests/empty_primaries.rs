//! Two nodes fall behind a failover, before the replica has saved what it goes by now, and its primary comes back with nothing:
//! by what its file has, the replica knows that this was its primary's, and keeps it.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, Reply, eventually, wait_until};

/// Keys of the data that must not go.
const KEYS: i64 = 50;

/// It saves only when told to.
fn configured(replication: &str) -> Keystead {
    Keystead::builder().plugin("replication", replication).plugin("persistence-rdb", "(save: [])").start()
}

fn node() -> Keystead {
    configured("()")
}

fn info(node: &Keystead, name: &str) -> String {
    node.client().info("replication").get(name).cloned().unwrap_or_default()
}

fn keys(node: &Keystead) -> i64 {
    node.client().cmd("DBSIZE").as_int().unwrap_or(-1)
}

/// It follows this one, and has what that has.
#[track_caller]
fn follows(replica: &Keystead, primary: &Keystead) {
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    in_step(replica, primary);
}

#[track_caller]
fn in_step(replica: &Keystead, primary: &Keystead) {
    let place = |node| ["master_replid", "master_repl_offset"].map(|name| info(node, name));
    let same = || info(replica, "master_link_status") == "up" && place(replica) == place(primary);
    let found = eventually(DEADLINE, || same().then_some(()));
    assert!(found.is_some(), "not in step: {}", replica.process.log());
}

/// A primary with so many keys and its replicas.
fn group<const N: usize>() -> (Keystead, [Keystead; N]) {
    let primary = node();
    let replicas = std::array::from_fn(|_| node());
    let mut client = primary.client();
    (0..KEYS).for_each(|n| drop(client.ok(&format!("SET key:{n} v"))));
    replicas.iter().for_each(|replica| follows(replica, &primary));
    (primary, replicas)
}

/// Both are killed, once it is on the disk whom the replica follows under which name.
fn fall(replica: &mut Keystead, primary: &mut Keystead) {
    in_step(replica, primary);
    let (state, name) = (replica.dir().join("replication.state"), info(primary, "master_replid"));
    let saved = |text: String| text.contains("followed:true") && text.contains(&name);
    wait_until("that is saved", DEADLINE, || std::fs::read_to_string(&state).is_ok_and(saved));
    replica.process.kill();
    primary.process.kill();
}

/// Both fall; the primary comes back with nothing, the replica with what its file has: that stays.
#[track_caller]
fn keeps_its_data(mut replica: Keystead, mut primary: Keystead) {
    fall(&mut replica, &mut primary);
    primary.restart();
    assert_eq!(keys(&primary), 0);
    replica.restart();
    let kept = || info(&replica, "keystead_primary_came_back_empty") == "1";
    wait_until("a verdict", DEADLINE, || kept() || keys(&replica) != KEYS);
    assert!(kept() && keys(&replica) == KEYS, "{}", replica.process.log());
}

#[test]
fn a_replica_that_was_pointed_at_who_took_over_keeps_its_data() {
    let (_old, [new, replica]) = group();
    replica.client().ok("SAVE");
    new.client().ok("REPLICAOF NO ONE");
    follows(&replica, &new);
    keeps_its_data(replica, new);
}

#[test]
fn two_failovers_between_two_saves_are_as_good_as_one() {
    let (_old, [new, newest, replica]) = group();
    replica.client().ok("SAVE");
    new.client().ok("REPLICAOF NO ONE");
    [&newest, &replica].into_iter().for_each(|node| follows(node, &new));
    newest.client().ok("REPLICAOF NO ONE");
    follows(&replica, &newest);
    keeps_its_data(replica, newest);
}

/// A primary's file has the name that was its data's before its last start.
#[test]
fn a_primary_that_became_a_replica_keeps_its_data() {
    for failover in [false, true] {
        let (mut old, [new]) = group();
        old.client().ok("SAVE");
        old.process.kill();
        old.restart();
        in_step(&new, &old);
        if failover {
            wait_until("it may be asked", DEADLINE, || old.client().cmd("FAILOVER") == Reply::Simple("OK".into()));
            wait_until("the roles are swapped", DEADLINE, || info(&old, "role") == "slave");
        } else {
            new.client().ok("REPLICAOF NO ONE");
            follows(&old, &new);
        }
        keeps_its_data(old, new);
    }
}

/// It takes everything of who took over, for that has another name and a stream of its own; its file has their common past.
#[test]
fn a_primary_that_returns_from_its_file_keeps_its_data() {
    let (mut old, [new]) = group();
    old.client().ok("SAVE");
    old.process.kill();
    new.client().ok("REPLICAOF NO ONE");
    new.client().ok("SET later 1");
    old.restart();
    follows(&old, &new);
    assert_eq!(keys(&old), KEYS + 1);
    keeps_its_data(old, new);
}

/// One that is asked for is taken, whatever it has; and nothing that was saved before that was ever its own.
#[test]
fn another_primary_is_taken_and_its_predecessors_data_is_not_kept_from_it() {
    let (_old, [mut replica]) = group();
    replica.client().ok("SAVE");
    let mut other = node();
    follows(&replica, &other);
    assert_eq!(keys(&replica), 0);
    fall(&mut replica, &mut other);
    other.restart();
    replica.restart();
    in_step(&replica, &other);
    assert_eq!(keys(&replica), 0, "{}", replica.process.log());
}

/// What it saved of its own before it heard of who took over is gone with its demotion.
#[test]
fn what_a_returning_primary_wrote_alone_is_not_kept_from_who_took_over() {
    let (mut old, []) = group();
    // Not told at run time whom to follow, it believes what its primary says of how that began.
    let new = configured(&format!("(replicaof: (\"127.0.0.1\", {}))", old.port()));
    in_step(&new, &old);
    old.client().ok("SAVE");
    old.process.kill();
    new.client().ok("REPLICAOF NO ONE");
    new.client().ok("SET later 1");
    old.restart();
    (0..9).for_each(|n| drop(old.client().ok(&format!("SET alone:{n} v"))));
    old.client().ok("SAVE");
    follows(&old, &new);
    old.process.kill();
    old.restart();
    in_step(&old, &new);
    assert_eq!(keys(&old), KEYS + 1, "{}", old.process.log());
}

/// Each full sync that isn't taken costs the primary a cut.
#[test]
fn an_empty_primary_is_not_asked_for_everything_again_and_again() {
    let (mut primary, [replica]) = group();
    primary.process.kill();
    primary.restart();
    wait_until("it is refused", DEADLINE, || info(&replica, "keystead_primary_came_back_empty") == "1");
    let again = "the primary still hasn't got what we have";
    wait_until("it is asked again", DEADLINE, || replica.process.log().contains(again));
    let stats = primary.client().info("stats");
    assert_eq!((&*stats["sync_full"], &*stats["sync_partial_err"]), ("1", "1"), "{}", primary.process.log());
    assert_eq!(keys(&replica), KEYS);
}
