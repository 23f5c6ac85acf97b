//! What a sentinel keeps on its disk: one folder for each, errors that name the file, and numbers that can't be.

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, eventually, free_port, wait_until};
use std::time::Duration;

/// A failover of Keystead nodes, with room for a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

fn sentinel(port: u16, primary: u16) -> KeysteadBuilder {
    let config = format!(
        "(port: {port}, bind: [\"127.0.0.1\"], monitors: [(name: \"m\", host: \"127.0.0.1\", port: {primary}, quorum: 1, \
         down_after_ms: 2000, failover_timeout_ms: 10000)])"
    );
    Keystead::builder().plugin("sentinel", &config).ready_port(port)
}

fn my_id(port: u16) -> String {
    Client::connect(port).ok("SENTINEL MYID").as_text().expect("an id")
}

#[test]
fn a_folder_is_one_sentinels_and_free_again_when_that_was_killed() {
    let (port, primary) = (free_port(), free_port());
    let mut first = sentinel(port, primary).start();
    let id = my_id(port);
    let dir = first.dir().display().to_string();
    let mut second = sentinel(free_port(), primary).arg("--dir").arg(&dir).launch();
    assert!(!second.process.wait_exit(DEADLINE).success());
    let said = format!("{dir} holds the state of a sentinel that runs (process {})", first.process.pid());
    assert!(second.process.log().contains(&said), "{}", second.process.log());
    first.process.kill();
    first.restart();
    assert_eq!(my_id(port), id);
}

#[test]
fn a_damaged_state_is_refused_by_its_name() {
    for damaged in [&b"(version: 1,"[..], b"\xff\xfe"] {
        let mut node = sentinel(free_port(), free_port()).file("sentinel.state", damaged).launch();
        assert!(!node.process.wait_exit(DEADLINE).success());
        let path = node.dir().join("sentinel.state").display().to_string();
        assert!(node.process.log().contains(&format!("{path}: ")), "{}", node.process.log());
    }
}

#[test]
fn an_epoch_that_nobody_counted_up_to_stops_no_failover() {
    let primary = Keystead::primary();
    let replica = Keystead::replica_of(primary.port());
    let port = free_port();
    let mut sentinel = sentinel(port, primary.port()).start();
    let field = |name: &str| {
        let reply = Client::connect(port).ok("SENTINEL MASTER m");
        reply.get(name).and_then(|value| value.as_text()).unwrap_or_default()
    };
    wait_until("the replica is known", LIMIT, || field("num-slaves") == "1");
    let hello = format!("127.0.0.1,1,{},{},m,127.0.0.1,{},0", "d".repeat(40), u64::MAX, primary.port());
    Client::connect(primary.port()).command(&["PUBLISH", "__sentinel__:hello", &hello]);
    sentinel.process.wait_for_log("isn't believed", LIMIT);
    Client::connect(port).cmd(&format!(
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {} {} {}",
        primary.port(),
        i64::MAX,
        "a".repeat(40)
    ));
    wait_until("the failover begins", LIMIT, || !Client::connect(port).cmd("SENTINEL FAILOVER m").is_error());
    let there = eventually(LIMIT, || (field("port") == replica.port().to_string()).then_some(()));
    assert!(there.is_some(), "no switch:\n{}", sentinel.process.log());
    // A look tells of it before it is on the disk, the event doesn't.
    sentinel.process.wait_for_log("+switch-master m", LIMIT);
    assert_eq!(field("config-epoch"), "1");
    // What an earlier version believed is in its file.
    sentinel.process.kill();
    let path = sentinel.dir().join("sentinel.state");
    let text = std::fs::read_to_string(&path).expect("the state");
    let spoilt = text.replacen("epoch: 1,", &format!("epoch: {},", u64::MAX), 1);
    assert_ne!(spoilt, text);
    std::fs::write(&path, spoilt).expect("our file");
    sentinel.restart();
    sentinel.process.wait_for_log(&format!("epoch {} can't be, going on from 1", u64::MAX), DEADLINE);
    wait_until("the next failover begins", LIMIT, || !Client::connect(port).cmd("SENTINEL FAILOVER m").is_error());
    let back = eventually(LIMIT, || (field("port") == primary.port().to_string()).then_some(()));
    assert!(back.is_some(), "no way back:\n{}", sentinel.process.log());
    assert_eq!(field("config-epoch"), "2");
}

/// It died behind SLAVEOF NO ONE, or an operator helped himself meanwhile: nobody became the primary for ever.
#[test]
fn a_replica_that_was_promoted_while_no_sentinel_looked_becomes_the_primary() {
    let mut primary = Keystead::primary();
    let replica = Keystead::replica_of(primary.port());
    let port = free_port();
    let mut sentinel = sentinel(port, primary.port()).start();
    let field = |name: &str| {
        let reply = Client::connect(port).ok("SENTINEL MASTER m");
        reply.get(name).and_then(|value| value.as_text()).unwrap_or_default()
    };
    wait_until("the replica is known", LIMIT, || field("num-slaves") == "1");
    primary.client().ok("SET key value");
    wait_until("it is there", LIMIT, || replica.client().ok("GET key").as_text().as_deref() == Some("value"));
    let state = sentinel.dir().join("sentinel.state");
    let kept = || std::fs::read_to_string(&state).is_ok_and(|text| text.contains(&replica.port().to_string()));
    wait_until("the replica is in the sentinel's state", LIMIT, kept);
    sentinel.process.kill();
    primary.process.kill();
    replica.client().ok("REPLICAOF NO ONE");
    sentinel.restart();
    wait_until("the switch", LIMIT, || field("port") == replica.port().to_string());
    assert!(!sentinel.process.log().contains("+promoted-slave"), "it was promoted by another");
}
