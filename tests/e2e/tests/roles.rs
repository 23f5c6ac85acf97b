//! What a node says of its role while it starts and while it ends, and which role it has behind a crash. Whoever asks (a
//! sentinel, a proxy, a client) acts on one wrong word.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, text, wait_until};
use std::time::Duration;

fn info(node: &Keystead, section: &str, name: &str) -> String {
    node.client().info(section).get(name).cloned().unwrap_or_default()
}

fn linked(replica: &Keystead) {
    wait_until("the link", DEADLINE, || info(replica, "replication", "master_link_status") == "up");
}

fn role(client: &mut Client) -> String {
    text(&client.cmd("ROLE").items()[0])
}

/// A replica with a file of its own is one from its first answer on, and not when that is loaded.
#[test]
fn a_replica_that_loads_its_file_says_that_it_is_one() {
    // The file's primary isn't there.
    let mut replica = Keystead::builder()
        .plugin("replication", "(replicaof: (\"127.0.0.1\", 1))")
        .plugin("persistence-rdb", "(save: [], rdbcompression: false, key_load_delay: 10000)")
        .start();
    let mut client = replica.client();
    client.ok("CONFIG SET replica-read-only no");
    client.ok("DEBUG POPULATE 2000 key 2000");
    client.ok("SAVE");
    replica.process.kill();
    replica.process.restart().unwrap();
    replica.process.wait_for_port(replica.port(), DEADLINE);
    let mut client = replica.client();
    assert_eq!(client.info("persistence").get("loading").map(String::as_str), Some("1"), "it loads still");
    let shown = client.info("replication");
    let shown = |name: &str| shown.get(name).cloned().unwrap_or_default();
    assert_eq!(
        (shown("role"), shown("master_port"), shown("master_link_status")),
        ("slave".into(), "1".into(), "down".into())
    );
    assert_eq!(role(&mut client), "slave");
    assert!(format!("{:?}", client.cmd("GET a")).contains("LOADING"));
}

/// Until the connection ends: asks without a pause, and keeps what was said.
fn questions(port: u16) -> Vec<String> {
    let mut said = Vec::new();
    let Ok(mut client) = Client::try_connect(port) else { return said };
    client.set_reply_limit(Duration::from_secs(20));
    loop {
        let Ok(info) = client.try_command(&["INFO", "replication"]) else { return said };
        said.extend(text(&info).lines().filter(|line| line.starts_with("role:")).map(str::to_owned));
        let Ok(role) = client.try_command(&["ROLE"]) else { return said };
        said.push(match &role {
            Reply::Error(error) => error.clone(),
            role => text(&role.items()[0]),
        });
        let Ok(script) = client.try_command(&["EVAL", "return 'done'", "0"]) else { return said };
        said.push(text(&script));
    }
}

/// Its plugins go one after the other; meanwhile nobody is answered, least of all that this is a primary.
#[test]
fn a_replica_that_ends_never_says_that_it_is_a_primary() {
    let primary = Keystead::builder().plugin("replication", "()").start();
    for _ in 0..3 {
        let mut replica = Keystead::builder()
            .plugin("persistence-aof", "(enabled: true)")
            .plugin("scripting", "()")
            .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {}))", primary.port()))
            .start();
        linked(&replica);
        // Its file begins anew behind the sync; before that is done an end is refused, as in Redis.
        wait_until("its own file is whole", DEADLINE, || {
            replica.process.log().contains("Removing the history file appendonly.aof.1.base.rdb")
        });
        let port = replica.port();
        let asking: Vec<_> = (0..4).map(|_| std::thread::spawn(move || questions(port))).collect();
        std::thread::sleep(Duration::from_millis(50));
        replica.process.terminate();
        replica.process.wait_exit(DEADLINE);
        let said = asking.into_iter().flat_map(|asking| asking.join().unwrap());
        let mut wrong = said.filter(|word| !["role:slave", "slave", "done"].contains(&word.as_str()));
        assert_eq!(wrong.next(), None);
    }
}

/// A sentinel's transaction promises a role that a crash doesn't take back.
#[test]
fn a_promotion_in_a_transaction_is_kept_by_a_crash_behind_its_answer() {
    for _ in 0..4 {
        let mut node = Keystead::builder().plugin("replication", "(replicaof: (\"127.0.0.1\", 1))").start();
        let mut client = node.client();
        client.ok("MULTI");
        client.cmd("SLAVEOF NO ONE");
        client.cmd("CONFIG REWRITE");
        let done = client.cmd("EXEC");
        node.process.kill();
        assert_eq!(text(&done.items()[0]), "OK");
        node.restart();
        assert_eq!(role(&mut node.client()), "master", "{}", node.process.log());
    }
}

/// An ABORT that comes when the replica was asked already waits for what it says: there are never two primaries.
#[test]
fn an_abort_right_behind_a_failover_leaves_one_primary() {
    let (one, other) = (Keystead::primary(), Keystead::primary());
    other.client().ok(&format!("REPLICAOF 127.0.0.1 {}", one.port()));
    linked(&other);
    let nodes = [&one, &other];
    for round in 0..24 {
        let roles = || nodes.map(|node| role(&mut node.client()));
        let settled = || {
            roles().iter().filter(|role| *role == "master").count() == 1
                && nodes.iter().any(|node| info(node, "replication", "slave0").contains("state=online"))
        };
        wait_until("one follows the other", DEADLINE, settled);
        let old = nodes.iter().find(|node| role(&mut node.client()) == "master").unwrap();
        let mut client = old.client();
        client.ok("FAILOVER");
        std::thread::sleep(Duration::from_millis([0, 1, 3, 6][round % 4]));
        let aborted = client.cmd("FAILOVER ABORT");
        let over = || nodes.iter().all(|node| info(node, "replication", "master_failover_state") == "no-failover");
        wait_until("it is over", DEADLINE, over);
        let masters = roles().iter().filter(|role| *role == "master").count();
        assert_eq!(masters, 1, "round {round}: {aborted:?}\n{}\n{}", one.process.log(), other.process.log());
        if !aborted.is_error() {
            assert_eq!(role(&mut old.client()), "master", "it said that it was aborted");
        }
    }
}

/// The disk refuses the role: it holds all the same, as in Redis; INFO shows that a restart wouldn't know it, and it is written
/// when that can be done.
#[test]
fn a_role_that_the_disk_refused_holds_and_is_kept_later() {
    let mut node = Keystead::builder().plugin("replication", "()").start();
    let state = node.dir().join("replication.state");
    let status = |node: &Keystead| info(node, "persistence", "keystead_role_save_status");
    assert_eq!(status(&node), "ok");
    // Nothing is put in the place of a folder that has something in it.
    let refuse = || {
        let _ = std::fs::remove_file(&state);
        std::fs::create_dir_all(state.join("something")).unwrap();
    };
    for transaction in [false, true] {
        refuse();
        let mut client = node.client();
        let primary = format!("REPLICAOF 127.0.0.1 {}", 1 + u8::from(transaction));
        match transaction {
            false => assert_eq!(client.cmd(&primary), "OK"),
            true => {
                client.ok("MULTI");
                client.cmd(&primary);
                assert_eq!(text(&client.cmd("EXEC").items()[0]), "OK");
            }
        }
        assert_eq!((role(&mut client).as_str(), status(&node).as_str()), ("slave", "err"));
        node.process.wait_for_log("the role couldn't be saved, a restart would not know it", DEADLINE);
        std::fs::remove_dir_all(&state).unwrap();
        wait_until("it is saved", DEADLINE, || status(&node) == "ok");
        node.process.kill();
        node.restart();
        let role = node.client().cmd("ROLE");
        assert_eq!(
            (text(&role.items()[0]).as_str(), role.items()[2].as_int()),
            ("slave", Some(1 + i64::from(transaction)))
        );
    }
}

/// WAIT asks replicas by a record in the stream, in a turn of its own: not if this node follows somebody by then, whose stream
/// has no such record.
#[test]
fn a_wait_that_a_demotion_overtakes_leaves_the_stream_alone() {
    let primary = Keystead::primary();
    let replica = Keystead::replica_of(primary.port());
    linked(&replica);
    let offset =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).unwrap().to_owned();
    for round in 0..8 {
        let (mut sleeper, mut waiter, mut demoter) = (primary.client(), primary.client(), primary.client());
        waiter.ok(&format!("SET key {round}"));
        // All of them come to a turn that is taken, the demotion before what the wait does next.
        sleeper.send_raw(b"DEBUG SLEEP 0.3\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        waiter.send_raw(b"WAIT 2 0\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let answers = demoter.pipeline(&["MULTI", "REPLICAOF 127.0.0.1 1", "INFO replication", "EXEC"]);
        let then = offset(&text(&answers[3].items()[1]));
        let said = waiter.read().unwrap();
        assert!(matches!(&said, Reply::Error(text) if text.contains("replica")), "{said:?}");
        assert_eq!(info(&primary, "replication", "master_repl_offset"), then, "round {round}");
        demoter.ok("REPLICAOF NO ONE");
        linked(&replica);
    }
}

/// Whoever waits is told and closed when this node is told to follow somebody, whether it was a primary before or another's replica:
/// what is waited for comes from there no more. As Redis does.
#[test]
fn a_node_that_gets_another_primary_lets_nobody_wait() {
    let node = Keystead::primary();
    let blocked = || node.client().info("clients").get("blocked_clients").cloned().unwrap_or_default();
    let mut demoter = node.client();
    let mut told = |port: u16, waits: &[&str]| {
        let mut waiting: Vec<Client> = waits.iter().map(|_| node.client()).collect();
        for (client, line) in waiting.iter_mut().zip(waits) {
            client.send_raw(format!("{line}\r\n").as_bytes()).unwrap();
        }
        wait_until("all to wait", DEADLINE, || blocked() == waits.len().to_string());
        demoter.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
        for (mut client, line) in waiting.into_iter().zip(waits) {
            client.set_reply_limit(DEADLINE);
            let said = client.read().unwrap();
            assert!(matches!(&said, Reply::Error(text) if text.starts_with("UNBLOCKED")), "{line}: {said:?}");
            assert!(client.is_closed_within(DEADLINE), "{line}");
        }
    };
    told(1, &["WAIT 1 0", "WAITAOF 0 1 0", "BLPOP key 0", "XREAD BLOCK 0 STREAMS key $"]);
    told(2, &["XREAD BLOCK 0 STREAMS key $"]);
}

/// The first replica's backlog gives a primary's history a new name, in a turn of its own: not that of a node which follows
/// somebody by then.
#[test]
fn a_backlog_that_a_demotion_overtakes_leaves_the_history_alone() {
    let name = |text: &str| text.lines().find_map(|line| line.strip_prefix("master_replid:")).unwrap().to_owned();
    for round in 0..3 {
        let node = Keystead::primary();
        let [mut one, mut two, mut three, mut replica, mut demoter] = [(); 5].map(|()| node.client());
        let sleep = b"DEBUG SLEEP 0.4\r\n";
        let rest = || std::thread::sleep(Duration::from_millis(100));
        // While one sleeper's turn lasts, all that is to come next is sent: the backlog is made between two and three, and the
        // demotion comes behind these, before what PSYNC does next.
        one.send_raw(sleep).unwrap();
        rest();
        replica.send_raw(b"PSYNC ? -1\r\n").unwrap();
        rest();
        two.send_raw(sleep).unwrap();
        one.read().unwrap();
        rest();
        three.send_raw(sleep).unwrap();
        rest();
        let answers = demoter.pipeline(&["MULTI", "REPLICAOF 127.0.0.1 1", "INFO replication", "EXEC"]);
        let then = name(&text(&answers[3].items()[1]));
        assert!(text(&replica.read().unwrap()).starts_with("FULLRESYNC"), "round {round}");
        assert_eq!(info(&node, "replication", "master_replid"), then, "round {round}: {}", node.process.log());
    }
}
