//! Filtered replicas with real processes: exactly the part, a history of its own, never counted, never promoted.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, PRIMARY, Reply, free_port, sentinel_config, text, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const FILTERS: &str =
    "(backlog_size: 65536, filters: [(name: \"users\", prefixes: [\"u:\"]), (name: \"low\", databases: [0, 1])])";

fn primary() -> Keystead {
    start(FILTERS)
}

fn replica(primary: u16, filter: &str) -> Keystead {
    start(&format!("(replicaof: (\"127.0.0.1\", {primary}), filter: \"{filter}\")"))
}

fn info(client: &mut Client, name: &str) -> String {
    client.info("").get(name).cloned().unwrap_or_default()
}

fn connected(client: &mut Client) -> bool {
    info(client, "master_link_status") == "up"
}

/// Every key of every database with its digest and its deadline.
fn everything(client: &mut Client) -> BTreeMap<(u32, String), String> {
    let mut all = BTreeMap::new();
    for db in 0..4 {
        client.ok(&format!("SELECT {db}"));
        let keys = client.cmd("KEYS *").texts();
        let asked: Vec<String> =
            keys.iter().flat_map(|key| [format!("DEBUG DIGEST-VALUE {key}"), format!("PEXPIRETIME {key}")]).collect();
        let told = client.pipeline(&asked.iter().map(String::as_str).collect::<Vec<_>>());
        all.extend(keys.into_iter().zip(told.chunks(2)).map(|(key, told)| ((db, key), format!("{told:?}"))));
    }
    client.ok("SELECT 0");
    all
}

/// Waits until the replica has read what its primary has told until now, and compares.
fn expect_part(primary: &mut Client, replica: &mut Client, passes: impl Fn(u32, &str) -> bool) {
    wait_until("the replica has exactly the part", LIMIT, || {
        let mut want = everything(primary);
        want.retain(|(db, key), _| passes(*db, key));
        everything(replica) == want
    });
}

fn start(config: &str) -> Keystead {
    Keystead::builder().plugin("replication", config).start()
}

#[test]
fn a_filtered_replica_has_exactly_the_part() {
    let main = primary();
    let mut p = main.client();
    for n in 0..300 {
        p.ok(&format!("MSET u:{n} {n} x:{n} {n}"));
    }
    p.cmd("RPUSH u:list a b c");
    p.cmd("SADD x:set a b c");
    let (users, low) = (replica(main.port(), "users"), replica(main.port(), "low"));
    let whole = Keystead::replica_of(main.port());
    let (mut u, mut l, mut w) = (users.client(), low.client(), whole.client());
    for client in [&mut u, &mut l, &mut w] {
        wait_until("the link is up", LIMIT, || connected(client));
    }
    for line in [
        "SET u:a 1 PX 9000000",
        "DEL x:1 u:1 x:2 u:2",
        "EXPIRE u:3 7000",
        "RENAME x:3 u:renamed",
        "RENAME u:4 x:renamed",
        "COPY x:set u:set",
        "SMOVE x:set u:set2 a",
        "SUNIONSTORE u:union x:set u:set",
        "SUNIONSTORE x:union u:set u:union",
        "LMOVE u:list x:list LEFT RIGHT",
        "LMOVE x:list u:other LEFT RIGHT",
        "INCR u:5",
        "APPEND u:renamed more",
        "XGROUP CREATE u:stream g $ MKSTREAM",
        "XADD u:stream 1-1 f v",
        "EVAL redis.call('set','u:script','1');redis.call('set','x:script','1') 0",
        "RPUSH u:ids 10 11 12",
        "SORT u:ids BY x:* DESC GET x:* STORE u:sorted",
        "SORT u:ids GET x:* STORE x:sorted",
        "COPY u:6 u:6 DB 2",
        "MOVE u:7 1",
        "SELECT 1",
        "SET u:in1 1",
        "MOVE u:in1 3",
        "SELECT 3",
        "SET u:in3 1",
        "MOVE u:in3 0",
        "SET x:in3 1",
        "SELECT 2",
        "SET u:gone 1",
        "FLUSHDB",
        "SWAPDB 0 1",
        "SELECT 0",
        "SET u:last 1",
    ] {
        p.cmd(line);
    }
    p.ok("MULTI");
    for line in ["SET u:tx 1", "SET x:tx 1", "RENAME x:5 u:tx2", "INCR u:8"] {
        p.cmd(line);
    }
    p.cmd("EXEC");
    expect_part(&mut p, &mut u, |_, key| key.starts_with("u:"));
    expect_part(&mut p, &mut l, |db, _| db < 2);
    expect_part(&mut p, &mut w, |_, _| true);
    assert!(everything(&mut u).len() > 280 && everything(&mut l).len() > 580, "there was something to compare");

    // A database from outside can't be said in the part's stream: a new history, and everything again.
    let before = info(&mut l, "master_replid");
    p.ok("SWAPDB 1 3");
    p.ok("SET behind 1");
    wait_until("the low databases have a new history", LIMIT, || {
        connected(&mut l) && info(&mut l, "master_replid") != before
    });
    expect_part(&mut p, &mut l, |db, _| db < 2);
    p.ok("FLUSHALL");
    p.ok("SET u:after 1");
    p.ok("SET x:after 1");
    expect_part(&mut p, &mut u, |_, key| key.starts_with("u:"));
    expect_part(&mut p, &mut l, |_, _| true);
}

#[test]
fn its_history_is_its_own_and_goes_on_behind_a_lost_link() {
    let main = primary();
    let mut p = main.client();
    p.ok("SET u:1 1");
    let part = replica(main.port(), "users");
    let mut r = part.client();
    wait_until("the link is up", LIMIT, || connected(&mut r));
    let replid = info(&mut r, "master_replid");
    assert_ne!(replid, info(&mut p, "master_replid"));
    for n in 0..50 {
        p.ok(&format!("SET x:{n} {}", "much".repeat(1000)));
    }
    p.ok("SET u:2 2");
    wait_until("the part is there", LIMIT, || r.cmd("GET u:2") == "2");
    let offsets = |c: &mut Client| info(c, "master_repl_offset").parse::<u64>().unwrap();
    assert!(offsets(&mut r) < 2000 && offsets(&mut p) > 200_000, "what doesn't pass isn't sent");

    // Both histories go on while the link is down; the whole one moves on by more than its backlog.
    let full = info(&mut p, "sync_full");
    let mut cut = || {
        p.ok("CLIENT KILL TYPE replica");
        for n in 0..50 {
            p.ok(&format!("SET x:{n} {}", "more".repeat(1000)));
        }
        p.cmd("INCR u:2");
    };
    for _ in 0..3 {
        cut();
    }
    wait_until("the part goes on", LIMIT, || r.cmd("GET u:2") == "5");
    assert_eq!((info(&mut p, "sync_full"), info(&mut r, "master_replid")), (full, replid.clone()));
    assert_ne!(info(&mut p, "sync_partial_ok"), "0");

    // A chain: its replica of the same filter shares the stream, others are refused.
    let below = replica(part.port(), "users");
    let other = Keystead::replica_of(part.port());
    let (mut b, mut o) = (below.client(), other.client());
    wait_until("the chain is up", LIMIT, || connected(&mut b));
    p.cmd("INCR u:2");
    wait_until("the chain has it", LIMIT, || b.cmd("GET u:2") == "6");
    assert_eq!(info(&mut b, "master_replid"), replid);
    assert_eq!(offsets(&mut b), offsets(&mut r));
    wait_until("the whole isn't to be had there", LIMIT, || {
        other.process.log().contains("this replica has only what the filter 'users' lets through")
    });
    assert_eq!((o.cmd("DBSIZE"), info(&mut o, "master_link_status")), (Reply::Int(0), "down".to_owned()));

    // A name that nobody knows, and a primary that knows no filters.
    o.ok("CONFIG SET keystead-replica-filter nobody");
    o.ok(&format!("REPLICAOF 127.0.0.1 {}", main.port()));
    wait_until("the name isn't known", LIMIT, || other.process.log().contains("there is no filter 'nobody' here"));
    o.ok("CONFIG SET keystead-replica-filter users");
    wait_until("it asks anew", LIMIT, || connected(&mut o) && o.cmd("GET u:2") == "6");
    assert_eq!(o.cmd("EXISTS x:1"), 0);
    o.command(&["CONFIG", "SET", "keystead-replica-filter", ""]);
    wait_until("it takes the whole", LIMIT, || o.cmd("EXISTS x:1") == 1);
}

#[test]
fn it_counts_for_nothing_and_is_never_promoted() {
    let main = primary();
    let (part, whole) = (replica(main.port(), "users"), Keystead::replica_of(main.port()));
    let (mut p, mut r, mut w) = (main.client(), part.client(), whole.client());
    wait_until("both links are up", LIMIT, || connected(&mut r) && connected(&mut w));
    p.ok("SET u:1 1");
    wait_until("the part is there", DEADLINE, || r.cmd("GET u:1") == "1");
    assert_eq!(p.cmd("WAIT 2 300"), 1, "only the whole one counts");
    assert_eq!(p.cmd("ROLE").items()[2].items().len(), 1, "the whole one only");
    let listed = info(&mut p, "slave0") + &info(&mut p, "slave1");
    assert!(listed.contains(",filter=users"), "sentinels must be able to point it at another primary: {listed}");
    assert_eq!((info(&mut r, "slave_priority"), info(&mut r, "replica_announced")), ("0".into(), "0".into()));
    assert_eq!(info(&mut r, "keystead_replica_filter"), "users");
    p.ok("CONFIG SET min-replicas-to-write 2");
    wait_until("too few are good", LIMIT, || p.cmd("SET u:2 1") == "NOREPLICAS Not enough good replicas to write.");
    p.ok("CONFIG SET min-replicas-to-write 1");
    let refused =
        "ERR this replica has only what the filter 'users' lets through; CONFIG SET keystead-replica-filter \"\" first";
    assert_eq!(r.cmd("REPLICAOF NO ONE"), refused);
    let to = format!("FAILOVER TO 127.0.0.1 {}", part.port());
    assert_eq!(p.cmd(&to), "ERR FAILOVER target HOST and PORT is not a replica.");

    // Sentinels: with nobody else there is nobody; with the whole one it is that one, and the part follows it.
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let sentinels: Vec<Keystead> = ports
        .iter()
        .map(|port| {
            let config = sentinel_config(*port, main.port(), 2, 1000);
            Keystead::builder().plugin("sentinel", &config).ready_port(*port).start()
        })
        .collect();
    let mut s: Vec<Client> = sentinels.iter().map(Keystead::client).collect();
    let explained = |c: &mut Client| c.cmd(&format!("SENTINEL EXPLAIN {PRIMARY}")).texts().join("\n");
    let reason = format!("127.0.0.1:{} ", part.port());
    wait_until("every sentinel knows both and each other", LIMIT, || {
        s.iter_mut().all(|c| {
            let text = explained(c);
            let master = c.cmd(&format!("SENTINEL MASTER {PRIMARY}"));
            text.contains("has priority 0")
                && text.contains(&reason)
                && text.contains("priority 100")
                && master.get("num-other-sentinels").and_then(|n| n.as_text()).as_deref() == Some("2")
        })
    });
    let mut main = main;
    main.process.kill();
    let new = whole.port().to_string();
    wait_until("the whole one was chosen", LIMIT, || {
        s.iter_mut().all(|c| c.cmd(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {PRIMARY}")).texts().last() == Some(&new))
    });
    // Sentinels close what normal clients have when they change a role: this one perhaps, between question and answer.
    let follows = |mut c: Client| {
        let answer = c.send(&["INFO", "replication"]).and_then(|()| c.read());
        answer.is_ok_and(|answer| text(&answer).contains(&format!("master_port:{new}\r\n")))
    };
    wait_until("the part was pointed at it", LIMIT, || follows(part.client()));
    // It knows no filter of that name: the part keeps what it has and says so.
    wait_until("the new primary refuses", LIMIT, || part.process.log().contains("there is no filter 'users' here"));
    let (mut r, mut w) = (part.client(), whole.client());
    assert_eq!((r.cmd("GET u:1"), w.cmd("ROLE").texts()[0].as_str()), (Reply::Bulk(b"1".to_vec()), "master"));
}

/// A stock primary would send everything: it isn't asked.
#[test]
fn a_stock_primary_is_not_followed() {
    let stock = keystead_harness::RedisServer::start(&[]);
    stock.client().ok("SET x 1");
    let part = replica(stock.port(), "users");
    wait_until("it says why", LIMIT, || part.process.log().contains("Master has no filters for replicas"));
    assert_eq!(part.client().cmd("DBSIZE"), 0);
}

/// A name that the RON file doesn't have is asked of the plugins; the example provides one.
#[test]
fn a_filter_of_a_plugin() {
    let main = Keystead::builder().plugin("replication", "()").plugin("hello", "()").start();
    main.client().ok("MSET hello:1 a other:1 b");
    let part = replica(main.port(), "hello");
    let mut r = part.client();
    wait_until("the part is there", LIMIT, || r.cmd("GET hello:1") == "a");
    assert_eq!(r.cmd("DBSIZE"), 1);
}

/// What a provider says of a name holds at once, not from the replica's next question on.
#[test]
fn a_filter_that_a_plugin_changes_or_takes_back() {
    let main = Keystead::builder().plugin("replication", "()").plugin("hello", "()").start();
    let mut p = main.client();
    p.ok("MSET hello:1 a other:1 b");
    let part = replica(main.port(), "hello");
    let mut r = part.client();
    wait_until("the part is there", LIMIT, || r.cmd("GET hello:1") == "a");
    p.ok("HELLO.SHARE other:");
    expect_part(&mut p, &mut r, |_, key| key.starts_with("other:"));
    p.ok("HELLO.SHARE");
    wait_until("it is granted nothing", LIMIT, || part.process.log().contains("there is no filter 'hello' here"));
    p.ok("SET other:2 c");
    assert_eq!((info(&mut p, "connected_slaves").as_str(), r.cmd("DBSIZE")), ("0", Reply::Int(1)));
    p.ok("HELLO.SHARE other:");
    expect_part(&mut p, &mut r, |_, key| key.starts_with("other:"));
    assert_eq!(r.cmd("DBSIZE"), 2);
}
