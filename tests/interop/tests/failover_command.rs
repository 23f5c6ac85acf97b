//! FAILOVER: a role handed over loses no acknowledged write, between any two makes of server.

use keystead_harness::{Client, DEADLINE, Keystead, RedisServer, Reply, have, wait_until};
use keystead_interop::pair::{field, in_step, syncs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

fn node() -> Keystead {
    Keystead::builder().plugin("replication", "(ping_period_s: 3600)").start()
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => text.clone(),
        other => other.as_text().unwrap_or_default(),
    }
}

/// Writes increasing numbers until it is refused as a replica; the last one that was acknowledged.
fn write_until_refused(port: u16, go: &AtomicBool) -> i64 {
    let mut client = Client::connect(port);
    let (mut last, began) = (0, Instant::now());
    loop {
        assert!(began.elapsed() < DEADLINE, "still the primary after {DEADLINE:?}");
        let reply = client.command(&["SET", "last", &(last + 1).to_string()]);
        match &reply {
            Reply::Error(why) if why.starts_with("READONLY") => return last,
            Reply::Error(why) => panic!("{why}"),
            _ => last += 1,
        }
        go.store(true, Ordering::Release);
    }
}

/// Hands the role from one port to another under writes and checks that nothing is lost and nobody synchronises in full.
fn hand_over(primary: u16, replica: u16) {
    let (mut p, mut r) = (Client::connect(primary), Client::connect(replica));
    r.ok(&format!("REPLICAOF 127.0.0.1 {primary}"));
    in_step(&mut p, &mut r);
    wait_until("the replica is online", DEADLINE, || field(&mut p, "replication", "slave0").contains("state=online"));
    let full = syncs(&mut r).0;
    let go = AtomicBool::new(false);
    let acknowledged = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until_refused(primary, &go));
        wait_until("writes flow", DEADLINE, || go.load(Ordering::Acquire));
        p.ok(&format!("FAILOVER TO 127.0.0.1 {replica} TIMEOUT 20000"));
        writer.join().expect("the writer ends with READONLY")
    });
    assert!(acknowledged > 0);
    wait_until("the roles are swapped", DEADLINE, || {
        field(&mut p, "replication", "role") == "slave"
            && field(&mut r, "replication", "role") == "master"
            && field(&mut p, "replication", "master_failover_state") == "no-failover"
    });
    assert_eq!(text(&r.cmd("GET last")), acknowledged.to_string(), "an acknowledged write is missing");
    r.ok("SET after 1");
    in_step(&mut r, &mut p);
    let (now_full, partial, _) = syncs(&mut r);
    assert_eq!((now_full, partial), (full, 1), "the old primary goes on where it was");
}

#[test]
fn roles_are_swapped_under_writes() {
    let (a, b) = (node(), node());
    hand_over(a.port(), b.port());
    hand_over_back(&a, &b);
}

/// And back again, which needs both ends to be whole.
fn hand_over_back(a: &Keystead, b: &Keystead) {
    let (mut p, mut r) = (b.client(), a.client());
    p.ok("FAILOVER");
    wait_until("the role is back", DEADLINE, || field(&mut r, "replication", "role") == "master");
    r.ok("SET back 1");
    in_step(&mut r, &mut p);
}

/// `min-replicas-to-write` is kept as soon as the old primary goes on where it was, not when somebody looks next.
#[test]
fn a_replica_that_goes_on_counts_at_once() {
    let start = || {
        let config = "(ping_period_s: 3600, min_replicas_to_write: 1, min_replicas_max_lag_s: 10)";
        Keystead::builder().plugin("replication", config).start()
    };
    let (a, b) = (start(), start());
    let (mut old, mut new) = (a.client(), b.client());
    new.ok(&format!("REPLICAOF 127.0.0.1 {}", a.port()));
    in_step(&mut old, &mut new);
    for round in 0..6 {
        new.ok("REPLICAOF NO ONE");
        let port = if round % 2 == 0 { b.port() } else { a.port() };
        old.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
        let online = || field(&mut new, "replication", "slave0").contains("state=online");
        wait_until("it is online", DEADLINE, online);
        assert_eq!(text(&new.cmd("SET x 1")), "OK", "round {round}");
        in_step(&mut new, &mut old);
        std::mem::swap(&mut old, &mut new);
    }
}

/// A primary with a replica that follows it, both with scripts.
fn pair() -> (Keystead, Keystead) {
    let start = || Keystead::builder().plugin("replication", "(ping_period_s: 3600)").plugin("scripting", "()").start();
    let (a, b) = (start(), start());
    let (mut p, mut r) = (a.client(), b.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", a.port()));
    in_step(&mut p, &mut r);
    wait_until("the replica is online", DEADLINE, || field(&mut p, "replication", "slave0").contains("state=online"));
    (a, b)
}

/// Many writes, which take a while to be sent.
const MUCH: &str =
    "local v = string.rep('x', 1000) for i = 1, 30000 do redis.call('SET', 'k' .. i, v) end return 'done'";

/// The pause holds from the command on: what comes behind it in the same packet waits, and is refused by the replica that
/// this node is then.
#[test]
fn writes_behind_a_failover_in_the_same_packet_wait_for_it() {
    let (a, b) = pair();
    let mut p = a.client();
    let last = p.pipeline_words(&[&["FAILOVER"], &["EVAL", MUCH, "0"], &["SET", "acked", "yes"]]);
    let refused: Vec<_> = last[1..].iter().map(|reply| text(reply).split(' ').next().map(str::to_owned)).collect();
    assert_eq!((text(&last[0]).as_str(), refused), ("OK", vec![Some("READONLY".to_owned()); 2]));
    wait_until("the role is there", DEADLINE, || field(&mut b.client(), "replication", "role") == "master");
    assert_eq!(b.client().cmd("DBSIZE"), Reply::Int(0));
}

/// Behind it in its own transaction they run: the replica must have them too before it takes over.
#[test]
fn writes_behind_a_failover_in_its_transaction_are_waited_for() {
    let (a, b) = pair();
    let mut p = a.client();
    p.pipeline_words(&[&["MULTI"], &["FAILOVER"], &["EVAL", MUCH, "0"], &["SET", "acked", "yes"], &["EXEC"]]);
    let mut r = b.client();
    wait_until("the role is there", DEADLINE, || field(&mut r, "replication", "role") == "master");
    assert_eq!((r.cmd("DBSIZE"), text(&r.cmd("GET acked"))), (Reply::Int(30_001), "yes".to_owned()));
    in_step(&mut r, &mut p);
    assert_eq!(p.cmd("DBSIZE"), Reply::Int(30_001));
}

/// Each replaces the other's pause in the order in which they came.
#[test]
fn a_failover_taken_back_at_once_leaves_no_pause() {
    let (a, b) = pair();
    let (mut p, mut writer) = (a.client(), a.client());
    for round in 0..50 {
        let to = b.port().to_string();
        p.pipeline_words(&[&["FAILOVER", "TO", "127.0.0.1", &to, "TIMEOUT", "5000"], &["FAILOVER", "ABORT"]]);
        if field(&mut p, "replication", "role") == "slave" {
            // The replica was quicker than the second thought.
            return;
        }
        assert_eq!(text(&writer.cmd(&format!("SET x {round}"))), "OK", "round {round}");
    }
}

#[test]
fn a_stock_server_takes_over_and_hands_over() {
    if !have("redis-server") {
        eprintln!("SKIPPED: no redis-server");
        return;
    }
    let (ours, stock) = (node(), RedisServer::start(&["--repl-ping-replica-period", "3600"]));
    hand_over(ours.port(), stock.port());
    let (ours, stock) = (node(), RedisServer::start(&["--repl-ping-replica-period", "3600"]));
    hand_over(stock.port(), ours.port());
}

#[test]
fn refusals_and_the_ways_back() {
    let (a, mut b) = (node(), node());
    let (mut p, mut r) = (a.client(), b.client());
    assert_eq!(text(&p.cmd("FAILOVER")), "ERR FAILOVER requires connected replicas.");
    assert_eq!(text(&p.cmd("FAILOVER ABORT")), "ERR No failover in progress.");
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", a.port()));
    in_step(&mut p, &mut r);
    assert_eq!(text(&r.cmd("FAILOVER")), "ERR FAILOVER is not valid when server is a replica.");
    assert_eq!(text(&p.cmd("FAILOVER TO 127.0.0.1 1")), "ERR FAILOVER target HOST and PORT is not a replica.");
    b.process.pause();
    p.ok("SET a 1");
    p.ok("FAILOVER");
    assert_eq!(field(&mut p, "replication", "master_failover_state"), "waiting-for-sync");
    assert_eq!(text(&p.cmd("FAILOVER")), "ERR FAILOVER already in progress.");
    assert_eq!(text(&p.cmd("REPLICAOF NO ONE")), "ERR REPLICAOF not allowed while failing over.");
    let mut writer = a.client();
    writer.send(&["SET", "a", "2"]).expect("sent");
    assert_eq!(text(&p.cmd("GET a")), "1", "reads go on, writes wait");
    p.ok("FAILOVER ABORT");
    assert_eq!(text(&writer.read().expect("the write goes on")), "OK");
    p.ok("FAILOVER TIMEOUT 50");
    wait_until("the timeout ends it", DEADLINE, || {
        field(&mut p, "replication", "master_failover_state") == "no-failover"
    });
    p.ok("SET a 3");
    b.process.resume();
    in_step(&mut p, &mut r);
}

/// Redis turns away who comes back meanwhile, and waits for it, with all writers, until somebody says ABORT.
#[test]
fn a_link_that_breaks_while_a_failover_waits_for_it_comes_back() {
    let (a, mut b) = pair();
    let mut p = a.client();
    b.process.pause();
    p.ok("SET a 1");
    p.ok("FAILOVER");
    let mut writer = a.client();
    writer.send(&["SET", "a", "2"]).expect("sent");
    p.cmd("CLIENT KILL TYPE replica");
    wait_until("the link is gone", DEADLINE, || field(&mut p, "replication", "connected_slaves") == "0");
    b.process.resume();
    wait_until("the role is there", DEADLINE, || field(&mut b.client(), "replication", "role") == "master");
    assert!(text(&writer.read().expect("told where to go")).starts_with("READONLY"));
    assert_eq!(text(&b.client().cmd("GET a")), "1");
    in_step(&mut b.client(), &mut p);
}

/// What replication's commands refuse, and how, word for word.
#[test]
fn arguments_are_refused_in_the_words_of_redis() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let (ours, theirs) = (node(), RedisServer::start(&[]));
    let (mut a, mut b) = (ours.client(), theirs.client());
    let rest: &[(&str, &str)] = &[
        (
            "FAILOVER",
            "|ABORT|ABORT TIMEOUT 1|TIMEOUT|TIMEOUT 0|TIMEOUT -1|TIMEOUT x|TIMEOUT 10 TIMEOUT 10|FORCE|FORCE TIMEOUT 10|TO|TO h|\
             TO h x|TO h 1|TO h 1 FORCE|TO h 1 FORCE TIMEOUT 1|TO h 1 TO h 2|TO 127.0.0.1 99999|TO 127.0.0.1 -1|X|TIMEOUT 10 ABORT",
        ),
        ("WAIT", "|0 0|x 0|-1 0|1 -1|1 x|1"),
        ("REPLICAOF", "|a|a b|a 99999|a -1|NO TWO|NO ONE|127.0.0.1 1 x"),
        (
            "REPLCONF",
            "|a|a b|listening-port x|listening-port 70000|rdb-only x|rdb-filter-only x|getack *|capa anything|ip-address",
        ),
        ("ROLE", "x"),
        ("PSYNC", "|a"),
        ("SYNC", "x"),
    ];
    for (name, variants) in rest {
        for variant in variants.split('|') {
            let line = format!("{name} {variant}");
            // What is an error and what nothing at all (REPLCONF GETACK) is seen by what the next command gets.
            a.send(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
            b.send(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
            a.send(&["PING"]).unwrap();
            b.send(&["PING"]).unwrap();
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            while ours.last() != Some(&Reply::Simple("PONG".into())) {
                ours.push(a.read().unwrap());
            }
            while theirs.last() != Some(&Reply::Simple("PONG".into())) {
                theirs.push(b.read().unwrap());
            }
            assert_eq!(ours, theirs, "{line}");
        }
    }
}
