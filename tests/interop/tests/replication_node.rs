//! A node's own behaviour as primary and replica: replies, gates, WAIT, the role it keeps, the data it keeps.

use keystead_harness::{Client, DEADLINE, Keystead, RedisServer, Reply, have, wait_until};
use keystead_interop::pair::{field, in_step, syncs};

/// What a reply says, be it an error or not.
fn text(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => text.clone(),
        other => other.as_text().unwrap_or_default(),
    }
}

fn node(config: &str) -> Keystead {
    Keystead::builder().plugin("replication", &format!("(ping_period_s: 3600, {config})")).start()
}

fn pair() -> (Keystead, Keystead, Client, Client) {
    let (primary, replica) = (node(""), node(""));
    let (mut p, mut r) = (primary.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    in_step(&mut p, &mut r);
    (primary, replica, p, r)
}

#[test]
fn replies_of_replicaof_and_role() {
    let (primary, replica, mut p, mut r) = pair();
    let same = r.cmd(&format!("SLAVEOF 127.0.0.1 {}", primary.port()));
    assert_eq!(text(&same), "OK Already connected to specified master");
    assert_eq!(text(&r.cmd("REPLICAOF 127.0.0.1 99999")), "ERR Invalid master port");
    let role = r.cmd("ROLE").items();
    assert_eq!(role[0].as_text().as_deref(), Some("slave"));
    assert_eq!(role[1].as_text().as_deref(), Some("127.0.0.1"));
    assert_eq!(role[2].as_int(), Some(primary.port().into()));
    assert_eq!(role[3].as_text().as_deref(), Some("connected"));
    p.ok("SET a 1");
    in_step(&mut p, &mut r);
    wait_until("the acknowledgement is in ROLE", DEADLINE, || {
        let role = p.cmd("ROLE").items();
        let line = role[2].items()[0].texts();
        role[0].as_text().as_deref() == Some("master")
            && line == ["127.0.0.1".to_string(), replica.port().to_string(), role[1].as_int().unwrap_or(0).to_string()]
    });
}

#[test]
fn a_replica_refuses_writes_until_told_otherwise() {
    let (_primary, _replica, _p, mut r) = pair();
    assert_eq!(text(&r.cmd("SET a 1")), "READONLY You can't write against a read only replica.");
    r.ok("CONFIG SET slave-read-only no");
    assert_eq!(text(&r.cmd("CONFIG GET replica-read-only").items()[1]), "no");
    r.ok("SET a 1");
    r.ok("CONFIG SET replica-read-only yes");
    assert!(r.cmd("SET a 2").is_error());
    r.ok("REPLICAOF NO ONE");
    r.ok("SET a 3");
}

#[test]
fn stale_replicas_answer_only_if_told_to() {
    let (mut primary, _replica, _p, mut r) = pair();
    r.ok("CONFIG SET replica-serve-stale-data no");
    r.cmd("GET a");
    primary.process.kill();
    wait_until("the link is seen to be down", DEADLINE, || {
        text(&r.cmd("GET a"))
            .starts_with("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
    });
    assert_eq!(field(&mut r, "replication", "master_link_status"), "down");
    assert!(!r.cmd("ROLE").is_error());
    r.ok("CONFIG SET replica-serve-stale-data yes");
    assert!(!r.cmd("GET a").is_error());
}

#[test]
fn wait_counts_acknowledgements() {
    let (_primary, mut replica, mut p, mut r) = pair();
    p.ok("SET a 1");
    assert_eq!(p.cmd("WAIT 1 5000").as_int(), Some(1));
    assert_eq!(p.cmd("WAIT 0 0").as_int(), Some(1));
    assert_eq!(p.cmd("WAIT 2 50").as_int(), Some(1), "what was reached when the time was over");
    assert_eq!(text(&p.cmd("WAIT 1 -1")), "ERR timeout is negative");
    assert!(text(&r.cmd("WAIT 1 1")).starts_with("ERR WAIT cannot be used with replica instances."));
    let replies = p.pipeline(&["MULTI", "SET a 2", "WAIT 5 0", "EXEC"]);
    assert!(replies[3].items()[1].as_int().is_some_and(|n| n <= 1), "{replies:?}");
    replica.process.pause();
    p.ok("SET a 3");
    assert_eq!(p.cmd("WAIT 1 200").as_int(), Some(0));
    replica.process.resume();
    assert_eq!(p.cmd("WAIT 1 5000").as_int(), Some(1));
}

#[test]
fn writes_need_good_replicas_if_told_so() {
    let (_primary, mut replica, mut p, _r) = pair();
    p.ok("CONFIG SET min-replicas-to-write 1");
    p.ok("CONFIG SET min-slaves-max-lag 2");
    wait_until("the replica is good", DEADLINE, || !p.cmd("SET a 1").is_error());
    assert_eq!(field(&mut p, "replication", "min_slaves_good_slaves"), "1");
    replica.process.kill();
    wait_until("writes are refused", DEADLINE, || {
        text(&p.cmd("SET a 2")) == "NOREPLICAS Not enough good replicas to write."
    });
    assert_eq!(field(&mut p, "replication", "min_slaves_good_slaves"), "0");
    assert!(!p.cmd("GET a").is_error());
    p.ok("CONFIG SET min-replicas-to-write 0");
    p.ok("SET a 3");
}

#[test]
fn a_restarted_node_keeps_the_role_it_had() {
    let primary = node("");
    let other = node("");
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    let (mut p, mut r) = (primary.client(), replica.client());
    p.ok("SET a 1");
    in_step(&mut p, &mut r);
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
    let mut o = other.client();
    o.ok("SET b 1");
    in_step(&mut o, &mut r);
    replica.process.kill();
    replica.restart();
    let mut r = replica.client();
    in_step(&mut o, &mut r);
    r.ok("REPLICAOF NO ONE");
    // What was answered is on the disk, even if the node dies in the next moment.
    replica.process.kill();
    replica.restart();
    assert_eq!(field(&mut replica.client(), "replication", "role"), "master");
}

#[test]
fn the_command_line_beats_the_kept_role() {
    let primary = node("");
    let given = format!("replication.replicaof=(\"127.0.0.1\", {})", primary.port());
    let builder = Keystead::builder().plugin("replication", "(ping_period_s: 3600)");
    let mut replica = builder.arg("--set").arg(&given).start();
    replica.client().ok("REPLICAOF NO ONE");
    replica.process.kill();
    replica.restart();
    let mut r = replica.client();
    assert_eq!(field(&mut r, "replication", "role"), "slave");
    assert_eq!(field(&mut r, "replication", "master_port"), primary.port().to_string());
}

#[test]
fn a_restarted_primary_has_a_new_id() {
    let (mut primary, _replica, mut p, _r) = pair();
    let old = field(&mut p, "replication", "master_replid");
    let fresh = field(&mut node("").client(), "replication", "master_replid");
    assert!(fresh.len() == 40 && fresh != "0".repeat(40), "a node has an id before anybody asks: {fresh}");
    primary.process.kill();
    primary.restart();
    assert_ne!(field(&mut primary.client(), "replication", "master_replid"), old);
}

/// F8: a primary that comes back at once, without its data, wipes nobody.
#[test]
fn a_primary_that_comes_back_empty_is_not_followed() {
    let (mut primary, replica, mut p, mut r) = pair();
    for n in 0..100 {
        p.ok(&format!("SET key:{n} v"));
    }
    in_step(&mut p, &mut r);
    primary.process.kill();
    primary.restart();
    wait_until("it is reported", DEADLINE, || field(&mut r, "replication", "keystead_primary_came_back_empty") == "1");
    assert_eq!(r.cmd("DBSIZE").as_int(), Some(100));
    assert_eq!(field(&mut r, "replication", "master_link_status"), "down");
    // Not even when it has keys again: they are a stranger's.
    let mut p = primary.client();
    p.ok("SET other 1");
    let again = || replica.process.log().contains("the primary still hasn't got what we have");
    wait_until("it is asked again", DEADLINE, again);
    assert_eq!(r.cmd("DBSIZE").as_int(), Some(100));
    // Until somebody says so.
    r.ok("REPLICAOF NO ONE");
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    in_step(&mut p, &mut r);
    assert_eq!(r.cmd("DBSIZE").as_int(), Some(1));
}

#[test]
fn an_explicit_replicaof_takes_an_empty_primary() {
    let (primary, replica) = (node(""), node(""));
    let (mut p, mut r) = (primary.client(), replica.client());
    r.ok("SET mine 1");
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    in_step(&mut p, &mut r);
    assert_eq!(r.cmd("DBSIZE").as_int(), Some(0));
}

#[test]
fn a_backlog_too_small_means_everything_again() {
    let (_primary, mut replica, mut p, mut r) = pair();
    p.ok("CONFIG SET repl-backlog-size 16kb");
    let before = syncs(&mut p);
    replica.process.pause();
    p.cmd("CLIENT KILL TYPE replica");
    for n in 0..200 {
        p.ok(&format!("SET key:{n} {}", "v".repeat(1000)));
    }
    replica.process.resume();
    in_step(&mut p, &mut r);
    let after = syncs(&mut p);
    assert_eq!((after.0 - before.0, after.2 - before.2), (1, 1));
}

/// What nobody keeps, nobody may ask for: the history gets another name, and whoever comes back takes everything.
#[test]
fn a_backlog_that_nobody_reads_is_freed_in_time() {
    let (primary, replica, mut p, mut r) = pair();
    p.ok("SET a 1");
    in_step(&mut p, &mut r);
    let (before, id) = (syncs(&mut p), field(&mut p, "replication", "master_replid"));
    r.ok("REPLICAOF 127.0.0.1 1");
    wait_until("the replica is gone", DEADLINE, || field(&mut p, "replication", "connected_slaves") == "0");
    p.ok("CONFIG SET repl-backlog-ttl 1");
    wait_until("the backlog's end", DEADLINE, || field(&mut p, "replication", "repl_backlog_active") == "0");
    let log = primary.process.log();
    assert!(log.contains("Replication backlog freed after 1 seconds without connected replicas."), "{log}");
    assert_ne!(field(&mut p, "replication", "master_replid"), id);
    p.ok("SET b 2");
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    in_step(&mut p, &mut r);
    let after = syncs(&mut p);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 0), "{}", replica.process.log());
}

#[test]
fn redis_cli_takes_a_dump() {
    if !have("redis-cli") {
        return println!("SKIPPED: redis-cli is not installed");
    }
    let (primary, _replica, mut p, _r) = pair();
    p.ok("SET a 1");
    let file = primary.dir().join("dump-by-cli.rdb");
    let port = primary.port().to_string();
    let status = std::process::Command::new("redis-cli")
        .args(["-p", &port, "--rdb", &file.display().to_string()])
        .output()
        .expect("redis-cli runs");
    assert!(status.status.success(), "{status:?}");
    assert!(std::fs::read(&file).expect("the file is there").starts_with(b"REDIS0010"));
    p.ok("SET b 1");
}

#[test]
fn a_stranger_on_the_other_side_hurts_nobody() {
    // A "primary" that answers nonsense at every step.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let scripts: [&[u8]; 4] = [
            b"+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC 0123456789012345678901234567890123456789 1\r\n$99\r\nREDIS0010nonsense",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"+PONG\r\n+OK\r\n+OK\r\n+CONTINUE\r\n*1\r\n",
            b"",
        ];
        for script in scripts.iter().cycle() {
            let Ok((mut socket, _)) = listener.accept() else { return };
            let _ = socket.write_all(script);
            let _ = socket.read(&mut [0; 64]);
        }
    });
    let replica = node("");
    let mut r = replica.client();
    r.ok("SET mine 1");
    r.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    wait_until("it was tried several times", DEADLINE, || {
        replica.process.log().matches("Connecting to MASTER").count() >= 5
    });
    assert_eq!(r.cmd("GET mine").as_text().as_deref(), Some("1"), "a payload that breaks off changes nothing");
    r.ok("REPLICAOF NO ONE");
    r.ok("SET still alive");
}

#[test]
fn a_stranger_as_a_replica_hurts_nobody() {
    let (_primary, _replica, mut p, mut r) = pair();
    for bytes in [
        &b"PSYNC ? x\r\n"[..],
        b"PSYNC ? -1\r\n*99999999\r\n",
        b"REPLCONF capa eof\r\nPSYNC ? -1\r\nSET a 1\r\nREPLCONF ACK 99999999999999\r\n",
        b"REPLCONF ip-address 1.2.3.4\r\nSYNC\r\nxxx\r\n",
    ] {
        let mut s = Client::connect(_primary.port());
        s.send_raw(bytes).expect("sent");
        s.drain(std::time::Duration::from_millis(200));
    }
    p.ok("SET b 2");
    in_step(&mut p, &mut r);
    assert_eq!(p.cmd("EXISTS a").as_int(), Some(0), "a replica's connection executes nothing");
}

#[test]
fn a_stock_replica_stays_when_idle() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    // Pings keep it alive: the period is shorter than the replica's timeout.
    let primary = Keystead::builder().plugin("replication", "(ping_period_s: 1)").start();
    let replica = RedisServer::start(&["--repl-timeout", "4"]);
    let (mut p, mut r) = (primary.client(), replica.client());
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("pings moved the offset", DEADLINE, || {
        let offset = field(&mut r, "replication", "slave_repl_offset").parse::<u64>().unwrap_or(0);
        offset >= 14 * 6
    });
    assert_eq!(syncs(&mut p).0, 1);
}

#[test]
fn a_writable_replicas_writes_stay_its_own() {
    let (_primary, replica, mut p, mut r) = pair();
    let below = node("");
    let mut b = below.client();
    b.ok(&format!("REPLICAOF 127.0.0.1 {}", replica.port()));
    in_step(&mut p, &mut b);
    r.ok("CONFIG SET replica-read-only no");
    let before = field(&mut r, "replication", "master_repl_offset");
    r.ok("SELECT 3");
    r.ok("SET own 1");
    r.ok("SET short-lived 1 PX 1");
    r.ok("LPUSH own:list a b c");
    wait_until("its own key expires", DEADLINE, || r.cmd("EXISTS short-lived").as_int() == Some(0));
    assert_eq!(field(&mut r, "replication", "master_repl_offset"), before, "the offset is the primary's");
    p.ok("SET theirs 1");
    in_step(&mut p, &mut b);
    wait_until("the stream goes on", DEADLINE, || {
        field(&mut r, "replication", "master_repl_offset") == field(&mut p, "replication", "master_repl_offset")
    });
    r.ok("SELECT 0");
    assert_eq!(r.cmd("GET theirs").as_text().as_deref(), Some("1"));
    b.ok("SELECT 3");
    assert_eq!(b.cmd("EXISTS own own:list").as_int(), Some(0), "nothing of it is passed on");
}

#[test]
fn replicas_hide_what_expired_and_wait_for_the_primary() {
    let (mut primary, _replica, mut p, mut r) = pair();
    p.ok("SET a 1 PX 300");
    p.ok("SET b 1");
    in_step(&mut p, &mut r);
    primary.process.pause();
    wait_until("it is hidden", DEADLINE, || r.cmd("EXISTS a").as_int() == Some(0));
    assert_eq!(r.cmd("DBSIZE").as_int(), Some(2), "but it is still there");
    primary.process.resume();
    wait_until("the primary deletes it", DEADLINE, || r.cmd("DBSIZE").as_int() == Some(1));
    in_step(&mut p, &mut r);
}

/// Blocked clients can't wait for writes that this node will never accept.
#[test]
fn demotion_unblocks() {
    let (primary, other) = (node(""), node(""));
    let mut blocked = primary.client();
    blocked.send(&["BLPOP", "nothing", "0"]).expect("sent");
    let mut p = primary.client();
    wait_until("it is blocked", DEADLINE, || field(&mut p, "clients", "blocked_clients") == "1");
    p.ok(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
    assert!(text(&blocked.read().expect("an answer")).starts_with("UNBLOCKED "));
}

#[test]
fn publish_reaches_the_replicas_subscribers() {
    let (_primary, replica, mut p, _r) = pair();
    let mut s = replica.client();
    s.cmd("SUBSCRIBE news");
    p.cmd("PUBLISH news hello");
    assert_eq!(s.read().expect("a message").texts(), ["message", "news", "hello"]);
}

#[test]
fn a_killed_replica_and_a_slow_one_slow_nobody() {
    let (_primary, mut replica, mut p, mut r) = pair();
    p.ok("CONFIG SET repl-backlog-size 1mb");
    replica.process.pause();
    let began = std::time::Instant::now();
    for n in 0..2000 {
        p.ok(&format!("SET key:{n} {}", "v".repeat(1000)));
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
    replica.process.resume();
    in_step(&mut p, &mut r);
}

/// F12: following one's own replica, over any number of hops, is refused and said; it ends with its cause.
#[test]
fn a_loop_of_replicas_is_refused() {
    let nodes = [node(""), node(""), node("")];
    let mut clients: Vec<Client> = nodes.iter().map(Keystead::client).collect();
    for (below, above) in [(1, 0), (2, 1)] {
        clients[below].ok(&format!("REPLICAOF 127.0.0.1 {}", nodes[above].port()));
    }
    let [p, m, r] = &mut clients[..] else { unreachable!() };
    in_step(p, m);
    in_step(p, r);
    p.ok(&format!("REPLICAOF 127.0.0.1 {}", nodes[2].port()));
    wait_until("it is told", DEADLINE, || field(p, "replication", "keystead_replicaof_loop") == "1");
    assert_eq!(field(p, "replication", "master_link_status"), "down");
    assert!(nodes[0].process.log().contains("REPLICAOF loop: that node follows this one, 2 hops up"));
    p.ok("REPLICAOF NO ONE");
    p.ok("SET after the-loop");
    in_step(p, m);
    in_step(p, r);
    // The wiring is another now: what was above is below, and nobody believes in a loop.
    p.ok("SET before the-turn");
    m.ok("REPLICAOF NO ONE");
    p.ok(&format!("REPLICAOF 127.0.0.1 {}", nodes[2].port()));
    in_step(m, p);
    assert_eq!(field(p, "replication", "keystead_replicaof_loop"), "");
}

#[test]
fn a_node_does_not_follow_itself() {
    let alone = node("");
    let mut c = alone.client();
    c.ok("SET a 1");
    c.ok(&format!("REPLICAOF 127.0.0.1 {}", alone.port()));
    wait_until("it is told", DEADLINE, || field(&mut c, "replication", "keystead_replicaof_loop") == "1");
    assert_eq!(c.cmd("GET a").as_text().as_deref(), Some("1"));
}

/// Whoever comes second to a primary without a backlog must not give the history another name.
#[test]
fn replicas_that_come_at_once_share_one_history() {
    for _ in 0..5 {
        let primary = node("");
        let replicas: Vec<Keystead> = (0..4).map(|_| node("")).collect();
        let mut clients: Vec<Client> = replicas.iter().map(Keystead::client).collect();
        for r in &mut clients {
            r.send(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).expect("sent");
        }
        let mut p = primary.client();
        for r in &mut clients {
            r.read().expect("an answer");
            in_step(&mut p, r);
        }
        let log = primary.process.log();
        assert_eq!(log.matches("my new replication ID is").count(), 1, "{log}");
        assert_eq!(syncs(&mut p).0, 4, "{log}");
    }
}

/// The link to the primary is a client like others: listed, and killed by class or address.
#[test]
fn the_link_is_in_client_list_and_can_be_killed() {
    let (primary, _replica, mut p, mut r) = pair();
    let address = format!("127.0.0.1:{}", primary.port());
    let line = |r: &mut Client| {
        let list = text(&r.cmd("CLIENT LIST TYPE master"));
        assert!(list.contains(&format!("addr={address} ")) && list.contains("flags=M"), "{list}");
    };
    line(&mut r);
    for (round, kill) in ["CLIENT KILL TYPE master".to_owned(), format!("CLIENT KILL {address}")].iter().enumerate() {
        assert!(!r.cmd(kill).is_error(), "{kill}");
        wait_until("the link is resumed", DEADLINE, || syncs(&mut p).1 == round as u64 + 1);
        p.ok("SET a 1");
        in_step(&mut p, &mut r);
        line(&mut r);
    }
    r.ok("REPLICAOF NO ONE");
    wait_until("it is gone", DEADLINE, || text(&r.cmd("CLIENT LIST TYPE master")).is_empty());
    p.ok("CONFIG RESETSTAT");
    assert_eq!(syncs(&mut p), (0, 0, 0));
}

/// One line says why everything is sent, with both histories.
#[test]
fn the_log_says_why_a_full_sync_happened() {
    let (primary, other) = (node(""), node(""));
    let (mut p, mut o) = (primary.client(), other.client());
    p.ok("SET a 1");
    o.ok("SET b 1");
    let theirs = field(&mut o, "replication", "master_replid");
    o.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    in_step(&mut p, &mut o);
    let ours = field(&mut p, "replication", "master_replid");
    let log = primary.process.log();
    let line = log.lines().find(|line| line.contains("Partial resynchronization not accepted")).unwrap_or_default();
    assert!(line.contains(&theirs) && line.contains(&format!("this node has {ours}:")), "{log}");
    let log = other.process.log();
    let line = log.lines().find(|line| line.contains("Full resync from master")).unwrap_or_default();
    assert!(line.contains(&theirs) && line.contains(&ours), "{log}");
}

/// What was written during a full sync is more than the output limit allows: writers are paced and the replica is kept
/// until it caught up, or it would be synced in a loop.
#[test]
fn a_sync_under_writes_beyond_the_output_limit_is_done_once() {
    let (primary, mut replica) = (node(""), node(""));
    let (mut p, mut r) = (primary.client(), replica.client());
    p.ok("DEBUG POPULATE 20000 key 2000");
    p.ok("CONFIG SET repl-backlog-size 16kb");
    p.command(&["CONFIG", "SET", "client-output-buffer-limit", "replica 2mb 0 0"]);
    r.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the payload flows", DEADLINE, || field(&mut p, "replication", "slave0").contains("send_bulk"));
    replica.process.pause();
    for n in 0..3000 {
        p.ok(&format!("SET during:{n} {}", "v".repeat(1000)));
    }
    replica.process.resume();
    // Not by digests: of so many keys each would take its time.
    wait_until("it has everything", DEADLINE, || {
        let offset = field(&mut p, "replication", "master_repl_offset");
        field(&mut p, "replication", "slave0").contains(&format!("state=online,offset={offset},"))
    });
    assert_eq!(r.cmd("DBSIZE").as_int(), Some(23_000));
    assert_eq!(syncs(&mut p).0, 1, "{}", primary.process.log());
}
