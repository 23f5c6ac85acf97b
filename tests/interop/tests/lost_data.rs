//! A primary that comes back without what its replicas have: they keep it, until somebody says REPLICAOF.

use keystead_harness::{Client, DEADLINE, Keystead, RedisServer, eventually, have, text, wait_until};
use keystead_interop::pair::{field, in_step};

fn node(config: &str) -> Keystead {
    let plugins = Keystead::builder().plugin("replication", &format!("(ping_period_s: 3600, {config})"));
    plugins.plugin("persistence-rdb", "(save: [])").start()
}

fn kept(replica: &mut Client) -> bool {
    field(replica, "replication", "keystead_primary_came_back_empty") == "1"
}

/// Waits until the replica keeps its data; its log says why it doesn't.
#[track_caller]
fn is_kept(node: &Keystead, replica: &mut Client) {
    let found = eventually(DEADLINE, || kept(replica).then_some(()));
    assert!(found.is_some(), "our data is kept: {}", node.process.log());
}

fn keys(client: &mut Client) -> Option<i64> {
    client.cmd("DBSIZE").as_int()
}

/// A hundred keys on both; then the primary falls, and has `less` before its replica can ask it.
fn fallen(less: impl FnOnce(&mut Client)) -> (Keystead, Keystead, Client, Client) {
    let (mut primary, mut replica) = (node(""), node(""));
    let (mut p, mut r) = (primary.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    p.ok("SET old 1");
    in_step(&mut p, &mut r);
    (1..100).for_each(|n| drop(p.ok(&format!("SET key:{n} v"))));
    in_step(&mut p, &mut r);
    replica.process.pause();
    primary.process.kill();
    primary.restart();
    less(&mut primary.client());
    replica.process.resume();
    let p = primary.client();
    (primary, replica, p, r)
}

/// Its clients are faster than its replicas; and what was refused once is refused behind a restart, however much it is.
#[test]
fn a_primary_that_is_empty_but_for_new_keys_wipes_nobody() {
    let (primary, mut replica, mut p, mut r) = fallen(|p| drop(p.ok("SET x 1")));
    is_kept(&replica, &mut r);
    assert_eq!(keys(&mut r), Some(100), "{}", replica.process.log());
    assert!(replica.process.log().contains("came back without its data"), "{}", replica.process.log());
    r.ok("SAVE");
    // By now it has more of a stream than we do.
    (0..2000).for_each(|n| drop(p.ok(&format!("SET new:{n} {}", "v".repeat(100)))));
    replica.process.kill();
    replica.restart();
    let mut r = replica.client();
    wait_until("that is remembered", DEADLINE, || kept(&mut r));
    let asked = |p: &mut Client| field(p, "stats", "sync_full").parse::<u64>().unwrap_or(0);
    let before = asked(&mut p);
    let again = || replica.process.log().contains("the primary still hasn't got what we have");
    assert!(eventually(DEADLINE, || again().then_some(())).is_some(), "it is asked again: {}", replica.process.log());
    assert_eq!(asked(&mut p), before, "and takes no cut for that");
    assert_eq!(keys(&mut r), Some(100), "{}", replica.process.log());
    assert_eq!(field(&mut r, "replication", "master_link_status"), "down");
    let said = r.cmd(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    assert_eq!(text(&said), "OK");
    in_step(&mut p, &mut r);
    assert_eq!((keys(&mut r), kept(&mut r)), (keys(&mut p), false));
}

/// Who wants Redis' way gets it, also when it is asked for late.
#[test]
fn the_setting_takes_what_there_is() {
    let (_primary, replica, mut p, mut r) = fallen(|p| drop(p.ok("FLUSHALL")));
    is_kept(&replica, &mut r);
    r.ok("CONFIG SET keystead-keep-data-on-empty-primary no");
    p.ok("SET other 1");
    in_step(&mut p, &mut r);
    assert_eq!((keys(&mut r), kept(&mut r)), (Some(1), false));
}

/// A new place in the configuration file is as explicit as REPLICAOF: its data is smaller, and meant.
#[test]
fn another_primary_in_the_configuration_is_taken() {
    let (first, second) = (node(""), node(""));
    let (mut a, mut b) = (first.client(), second.client());
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", first.port()));
    (0..100).for_each(|n| drop(a.ok(&format!("SET key:{n} v"))));
    b.ok("SET other 1");
    let mut r = replica.client();
    in_step(&mut a, &mut r);
    r.ok("SAVE");
    replica.process.kill();
    let file = replica.dir().join("keystead.ron");
    let config = std::fs::read_to_string(&file).expect("its file");
    std::fs::write(&file, config.replace(&first.port().to_string(), &second.port().to_string())).expect("written");
    replica.restart();
    let mut r = replica.client();
    in_step(&mut b, &mut r);
    assert_eq!(keys(&mut r), Some(1), "{}", replica.process.log());
}

#[test]
fn a_stock_primary_that_comes_back_empty_wipes_nobody() {
    if !have("redis-server") {
        return;
    }
    let mut redis = RedisServer::start(&["--save", ""]);
    let mut replica = node("");
    let (mut p, mut r) = (redis.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", redis.port()));
    (0..100).for_each(|n| drop(p.ok(&format!("SET key:{n} v"))));
    in_step(&mut p, &mut r);
    replica.process.pause();
    redis.process.kill();
    redis.process.restart().expect("started again");
    redis.process.wait_for_port(redis.port(), DEADLINE);
    replica.process.resume();
    is_kept(&replica, &mut r);
    assert_eq!(keys(&mut r), Some(100), "{}", replica.process.log());
}

/// A stock primary counts from 0 behind each restart from its append-only file: that says nothing of its data.
#[test]
fn a_stock_primary_that_restarts_from_its_append_only_file_is_followed() {
    if !have("redis-server") {
        return;
    }
    let mut redis = RedisServer::start(&["--save", "", "--appendonly", "yes"]);
    let replica = node("");
    let (mut p, mut r) = (redis.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", redis.port()));
    (0..100).for_each(|n| drop(p.ok(&format!("SET key:{n} v"))));
    in_step(&mut p, &mut r);
    redis.process.kill();
    redis.process.restart().expect("started again");
    redis.process.wait_for_port(redis.port(), DEADLINE);
    let mut p = redis.client();
    p.ok("SET later 1");
    in_step(&mut p, &mut r);
    assert_eq!((keys(&mut r), kept(&mut r)), (Some(101), false), "{}", replica.process.log());
}

/// A replica that was away while its primary came back twice with its files: none of the names are known to it, and the
/// data is what there is, as in Redis.
#[test]
fn a_primary_that_came_back_twice_with_its_files_is_followed() {
    let (mut primary, mut replica) = (node(""), node(""));
    let (mut p, mut r) = (primary.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    (0..100).for_each(|n| drop(p.ok(&format!("SET key:{n} v"))));
    in_step(&mut p, &mut r);
    replica.process.pause();
    for _ in 0..2 {
        let mut p = primary.client();
        p.ok("SAVE");
        primary.process.kill();
        primary.restart();
    }
    let mut p = primary.client();
    p.ok("SET later 1");
    replica.process.resume();
    in_step(&mut p, &mut r);
    assert_eq!((keys(&mut r), kept(&mut r)), (Some(101), false), "{}", replica.process.log());
}

/// One that freed its backlog meanwhile was never away: its history has another name, and its data is what it was.
#[test]
fn a_primary_that_freed_its_backlog_is_followed() {
    let (primary, mut replica) = (node("backlog_ttl_s: 1"), node(""));
    let (mut p, mut r) = (primary.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    (0..100).for_each(|n| drop(p.ok(&format!("SET key:{n} v"))));
    in_step(&mut p, &mut r);
    let before = field(&mut p, "replication", "master_replid");
    r.ok("SAVE");
    replica.process.kill();
    wait_until("the backlog is freed", DEADLINE, || field(&mut p, "replication", "master_replid") != before);
    replica.restart();
    let mut r = replica.client();
    in_step(&mut p, &mut r);
    p.ok("SET later 1");
    in_step(&mut p, &mut r);
    assert_eq!((keys(&mut r), kept(&mut r)), (Some(101), false), "{}", replica.process.log());
}

/// What a node has of its own it never had of anybody: the primary that its configuration names is followed.
#[test]
fn who_never_followed_anybody_takes_what_its_first_primary_has() {
    let (primary, mut node) = (node(""), node(""));
    let (mut p, mut r) = (primary.client(), node.client());
    p.ok("SET x 1");
    (0..50).for_each(|n| drop(r.ok(&format!("SET key:{n} v"))));
    r.ok("SAVE");
    node.process.kill();
    let file = node.dir().join("keystead.ron");
    let config = std::fs::read_to_string(&file).expect("its file");
    let follows = format!("ping_period_s: 3600, replicaof: (\"127.0.0.1\", {}),", primary.port());
    std::fs::write(&file, config.replace("ping_period_s: 3600,", &follows)).expect("written");
    node.restart();
    let mut r = node.client();
    in_step(&mut p, &mut r);
    assert_eq!((keys(&mut r), kept(&mut r)), (Some(1), false), "{}", node.process.log());
}

/// A replica that fell before it saved what it took of its primary has data of an earlier life: none of that is its primary's.
#[test]
fn a_replica_that_fell_before_its_first_save_follows_again() {
    let mut replica = node("");
    let mut r = replica.client();
    r.ok("SET of_an_earlier_life 1");
    r.ok("SAVE");
    let primary = node("");
    let mut p = primary.client();
    p.ok("SET new 1");
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    in_step(&mut p, &mut r);
    // Its role and its primary are on the disk, the data isn't.
    let state = replica.dir().join("replication.state");
    let saved = || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("followed:true"));
    wait_until("that is saved", DEADLINE, saved);
    replica.process.kill();
    replica.restart();
    let mut r = replica.client();
    in_step(&mut p, &mut r);
    assert_eq!((keys(&mut r), kept(&mut r)), (Some(1), false), "{}", replica.process.log());
}

/// The primary and the middle of a chain came back without their data: the last node has the only copy.
#[test]
fn a_chain_that_begins_anew_wipes_not_its_end() {
    let mut primary = node("");
    let mut middle = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    let mut last = node(&format!("replicaof: (\"127.0.0.1\", {})", middle.port()));
    let (mut p, mut r) = (primary.client(), last.client());
    (0..100).for_each(|n| drop(p.ok(&format!("SET key:{n} v"))));
    in_step(&mut p, &mut middle.client());
    in_step(&mut p, &mut r);
    last.process.pause();
    middle.process.kill();
    primary.process.kill();
    std::fs::remove_file(middle.dir().join("replication.state")).expect("its disk is lost");
    primary.restart();
    primary.client().ok("SET x 1");
    middle.restart();
    in_step(&mut primary.client(), &mut middle.client());
    last.process.resume();
    is_kept(&last, &mut r);
    assert_eq!(keys(&mut r), Some(100), "{}", last.process.log());
    // Behind a change of its name too.
    primary.client().ok("DEBUG CHANGE-REPL-ID");
    in_step(&mut primary.client(), &mut middle.client());
    last.process.kill();
    last.restart();
    in_step(&mut primary.client(), &mut last.client());
}

/// It began with nothing, saved a little, and was started again: its replica was away all that time.
#[test]
fn a_primary_that_began_anew_says_so_behind_another_restart() {
    let (mut primary, mut replica) = (node(""), node(""));
    let (mut p, mut r) = (primary.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    (0..100).for_each(|n| drop(p.ok(&format!("SET key:{n} v"))));
    in_step(&mut p, &mut r);
    replica.process.pause();
    primary.process.kill();
    primary.restart();
    let mut p = primary.client();
    p.ok("SET x 1");
    // Without any replica its file would not say of which history it is.
    let other = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    in_step(&mut p, &mut other.client());
    drop(other);
    p.ok("SAVE");
    for _ in 0..2 {
        primary.process.kill();
        primary.restart();
    }
    assert_eq!(keys(&mut primary.client()), Some(1));
    replica.process.resume();
    is_kept(&replica, &mut r);
    assert_eq!(keys(&mut r), Some(100), "{}", replica.process.log());
}
