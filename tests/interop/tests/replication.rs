//! Replication with stock redis-server 7.0.15 as the other side, in both directions, and in chains.

use keystead_harness::{Client, DEADLINE, Keystead, RedisServer, have, wait_until};
use keystead_interop::pair::{field, in_step, state, syncs, traffic};
use keystead_interop::random::Commands;

const QUIET: &str = "(ping_period_s: 3600)";

fn redis() -> Option<RedisServer> {
    if !have("redis-server") {
        println!("SKIPPED: redis-server is not installed");
        return None;
    }
    Some(RedisServer::start(&["--repl-ping-replica-period", "3600"]))
}

fn keystead() -> Keystead {
    Keystead::builder().plugin("replication", QUIET).start()
}

#[track_caller]
fn follow(replica: &mut Client, port: u16) {
    replica.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
}

/// Full sync, stream, a dropped link with a partial resync, another full sync on request.
fn a_pair(primary: u16, replica: u16, seed: u64) {
    let (mut p, mut r) = (Client::connect(primary), Client::connect(replica));
    let mut commands = Commands::new(seed);
    traffic(&mut p, &mut commands, 200);
    r.cmd("SET only-here until-the-full-sync");
    follow(&mut r, primary);
    in_step(&mut p, &mut r);
    traffic(&mut p, &mut commands, 300);
    in_step(&mut p, &mut r);
    // A node that was a primary offers its own history first, which the other knows nothing of.
    assert_eq!(syncs(&mut p), (1, 0, 1));
    for round in 1..=3 {
        p.cmd("CLIENT KILL TYPE replica");
        traffic(&mut p, &mut commands, 50);
        in_step(&mut p, &mut r);
        assert_eq!(syncs(&mut p), (1, round, 1), "the link is resumed, not begun anew");
    }
    assert_eq!(field(&mut p, "replication", "connected_slaves"), "1");
    let line = field(&mut p, "replication", "slave0");
    assert!(line.contains(&format!("port={replica},state=online")), "{line}");
}

#[test]
fn we_follow_redis() {
    let Some(primary) = redis() else { return };
    a_pair(primary.port(), keystead().port(), 1);
}

#[test]
fn redis_follows_us() {
    let Some(replica) = redis() else { return };
    a_pair(keystead().port(), replica.port(), 2);
}

#[test]
fn we_follow_ourselves() {
    a_pair(keystead().port(), keystead().port(), 3);
}

#[test]
fn a_full_sync_under_writes_by_every_way() {
    let Some(stock) = redis() else { return };
    let primary = keystead();
    let mut p = primary.client();
    p.ok("SET seed x");
    for n in 0..2000 {
        p.cmd(&format!("SET key:{n} {}", "v".repeat(200)));
    }
    let mut r = stock.client();
    for (sync, load) in [("yes", "disabled"), ("no", "disabled"), ("yes", "swapdb"), ("no", "on-empty-db")] {
        p.ok(&format!("CONFIG SET repl-diskless-sync {sync}"));
        r.ok(&format!("CONFIG SET repl-diskless-load {load}"));
        follow(&mut r, primary.port());
        for n in 0..500 {
            p.cmd(&format!("SET during:{n} {sync}"));
            p.cmd("INCR counter");
        }
        in_step(&mut p, &mut r);
        r.ok("REPLICAOF NO ONE");
        r.ok("FLUSHALL");
    }
}

#[test]
fn we_load_by_every_way() {
    let Some(stock) = redis() else { return };
    let replica = keystead();
    let (mut p, mut r) = (stock.client(), replica.client());
    traffic(&mut p, &mut Commands::new(4), 400);
    for (sync, load) in
        [("yes", "disabled"), ("no", "disabled"), ("yes", "swapdb"), ("yes", "on-empty-db"), ("no", "swapdb")]
    {
        p.ok(&format!("CONFIG SET repl-diskless-sync {sync}"));
        r.ok(&format!("CONFIG SET repl-diskless-load {load}"));
        r.ok("FLUSHALL");
        follow(&mut r, stock.port());
        p.cmd(&format!("SET way {sync}-{load}"));
        in_step(&mut p, &mut r);
        r.ok("REPLICAOF NO ONE");
        r.cmd("SET own write");
    }
}

/// What a stock primary sends is the file of a restart, with its functions, its place and the database selected there.
#[test]
fn a_restart_goes_on_from_the_payload_of_redis() {
    for sync in ["yes", "no"] {
        let Some(stock) = redis() else { return };
        let with_file = || {
            let node =
                Keystead::builder().plugin("replication", QUIET).plugin("persistence-rdb", "(save: [(3600, 1)])");
            node.plugin("scripting", "()").start()
        };
        let (mut replica, other) = (with_file(), with_file());
        let mut p = stock.client();
        p.ok(&format!("CONFIG SET repl-diskless-sync {sync}"));
        let library = "#!lua name=lib\nredis.register_function{function_name='f', callback=function() return 7 end, flags={'no-writes'}}";
        p.command(&["FUNCTION", "LOAD", library]);
        traffic(&mut p, &mut Commands::new(7), 200);
        // The stream has a database selected that isn't the first.
        follow(&mut other.client(), stock.port());
        in_step(&mut p, &mut other.client());
        p.ok("SELECT 3");
        p.ok("SET before 1");
        follow(&mut replica.client(), stock.port());
        in_step(&mut p, &mut replica.client());
        replica.process.wait_for_log("The payload of the full sync is the RDB file now", DEADLINE);
        p.ok("SET behind 1");
        in_step(&mut p, &mut replica.client());
        replica.process.kill();
        p.ok("SET missed 1");
        replica.restart();
        in_step(&mut p, &mut replica.client());
        assert_eq!((syncs(&mut p).0, syncs(&mut p).1), (2, 1), "{sync}: {}", replica.process.log());
        assert_eq!(replica.client().cmd("FCALL_RO f 0").as_int(), Some(7), "{sync}");
    }
}

#[test]
fn chains_share_id_offset_and_data() {
    let (Some(top), Some(bottom)) = (redis(), redis()) else { return };
    let middle = keystead();
    let (mut t, mut m, mut b) = (top.client(), middle.client(), bottom.client());
    let mut commands = Commands::new(5);
    traffic(&mut t, &mut commands, 100);
    follow(&mut m, top.port());
    follow(&mut b, middle.port());
    traffic(&mut t, &mut commands, 100);
    in_step(&mut t, &mut m);
    in_step(&mut t, &mut b);
    t.cmd("CLIENT KILL TYPE replica");
    traffic(&mut t, &mut commands, 50);
    in_step(&mut t, &mut b);
    assert_eq!(syncs(&mut t).0, 1);
    assert_eq!(syncs(&mut m).0, 1, "the sub-replica kept its link or resumed it");

    // The middle is promoted: the bottom follows the new history without a full sync, and so does the old top.
    let old = state(&mut m).replid;
    m.ok("REPLICAOF NO ONE");
    assert_eq!(field(&mut m, "replication", "master_replid2"), old);
    m.ok("SET after promotion");
    in_step(&mut m, &mut b);
    follow(&mut t, middle.port());
    in_step(&mut m, &mut t);
    assert_eq!(syncs(&mut m).0, 1, "nobody needed everything again");
}

#[test]
fn we_pass_a_promotion_of_redis_on() {
    let (Some(top), Some(middle)) = (redis(), redis()) else { return };
    let bottom = keystead();
    let (mut t, mut m, mut b) = (top.client(), middle.client(), bottom.client());
    let mut commands = Commands::new(6);
    follow(&mut m, top.port());
    traffic(&mut t, &mut commands, 50);
    in_step(&mut t, &mut m);
    follow(&mut b, middle.port());
    in_step(&mut t, &mut b);
    m.ok("REPLICAOF NO ONE");
    traffic(&mut m, &mut commands, 50);
    in_step(&mut m, &mut b);
    follow(&mut b, middle.port());
    follow(&mut t, bottom.port());
    in_step(&mut m, &mut t);
    assert_eq!(syncs(&mut m).0, 1);
}

#[test]
fn passwords() {
    if redis().is_none() {
        return;
    }
    let primary = RedisServer::start(&["--requirepass", "secret", "--repl-ping-replica-period", "3600"]);
    let mut p = primary.client();
    p.ok("AUTH secret");
    p.ok("SET a 1");
    let replica = keystead();
    let mut r = replica.client();
    follow(&mut r, primary.port());
    wait_until("the refusal is in the log", DEADLINE, || {
        replica.process.log().contains("NOAUTH") || replica.process.log().contains("Unable to AUTH")
    });
    r.ok("CONFIG SET masterauth secret");
    in_step(&mut p, &mut r);
}

#[test]
fn a_stock_sentinels_failover_transaction() {
    let (primary, replica) = (keystead(), keystead());
    let (mut p, mut r) = (primary.client(), replica.client());
    follow(&mut r, primary.port());
    in_step(&mut p, &mut r);
    let mut bystander = replica.client();
    bystander.ok("CLIENT SETNAME bystander");
    let replies = r.pipeline(&[
        "MULTI",
        "SLAVEOF NO ONE",
        "CONFIG REWRITE",
        "CLIENT KILL TYPE normal",
        "CLIENT KILL TYPE pubsub",
        "EXEC",
    ]);
    let exec = replies.last().expect("a reply to EXEC").items();
    assert_eq!(exec.len(), 4, "{replies:?}");
    assert_eq!(exec[0].as_text().as_deref(), Some("OK"), "{replies:?}");
    assert_eq!(exec[1].as_text().as_deref(), Some("OK"), "{replies:?}");
    assert!(bystander.is_closed_within(DEADLINE));
    let mut r = replica.client();
    assert_eq!(field(&mut r, "replication", "role"), "master");
    r.ok("SET now writable");

    // And the other half: the old primary is told to follow.
    let port = replica.port();
    let replies = p.pipeline(&["MULTI", &format!("SLAVEOF 127.0.0.1 {port}"), "CONFIG REWRITE", "EXEC"]);
    assert_eq!(replies.last().expect("EXEC").items().len(), 2, "{replies:?}");
    let mut p = primary.client();
    in_step(&mut r, &mut p);
    assert_eq!(syncs(&mut r), (0, 1, 0), "it had everything up to the promotion");
}

/// A primary that knows no PSYNC is asked by SYNC: everything again after each lost link, and the stream behind it.
#[test]
fn we_follow_a_primary_that_knows_no_psync() {
    if redis().is_none() {
        return;
    }
    for diskless in ["yes", "no"] {
        let primary = RedisServer::start(&[
            "--rename-command",
            "PSYNC",
            "",
            "--repl-diskless-sync",
            diskless,
            "--repl-diskless-sync-delay",
            "0",
        ]);
        let (replica, below) = (keystead(), keystead());
        let (mut p, mut r, mut b) = (primary.client(), replica.client(), below.client());
        let mut commands = Commands::new(7);
        traffic(&mut p, &mut commands, 100);
        follow(&mut r, primary.port());
        follow(&mut b, replica.port());
        let same = |p: &mut Client, r: &mut Client| {
            wait_until("the data is the primary's", DEADLINE, || {
                field(r, "replication", "master_link_status") == "up" && state(p).digest == state(r).digest
            });
        };
        same(&mut p, &mut r);
        traffic(&mut p, &mut commands, 100);
        same(&mut p, &mut r);
        p.cmd("CLIENT KILL TYPE replica");
        traffic(&mut p, &mut commands, 50);
        same(&mut p, &mut r);
        in_step(&mut r, &mut b);
        assert!(replica.process.log().contains("Retrying with SYNC"), "{diskless}");
    }
}
