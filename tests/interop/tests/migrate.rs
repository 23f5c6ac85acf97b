//! MIGRATE between Keystead and redis-server in both directions, its answers beside Redis' own, and what goes on meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use keystead_harness::{Client, DEADLINE, Keystead, RedisServer, Reply, free_port, have, wait_until};

const FILL: [&str; 9] = [
    "SET s hello",
    "SET n 42 PX 100000",
    "RPUSH l a b c",
    "HSET h f v g w",
    "SADD set x y z",
    "SADD ints 1 2 3",
    "ZADD z 1 a 2.5 b",
    "XADD x 1-1 f v",
    "PFADD hll a b c",
];
const KEYS: &str = "s n l h set ints z x hll";

fn digest(client: &mut Client) -> String {
    KEYS.split(' ').map(|key| client.cmd(&format!("DEBUG DIGEST-VALUE {key}")).texts().join("")).collect()
}

/// Sends words; `""` is an empty one.
fn say(client: &mut Client, line: &str) -> Reply {
    let words: Vec<&str> = line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
    client.command(&words)
}

fn there_is(name: &str) -> bool {
    let there = have("redis-server");
    if !there {
        println!("SKIPPED {name}: redis-server is not installed");
    }
    there
}

#[test]
fn keys_go_to_redis_and_come_back() {
    if !there_is("keys_go_to_redis_and_come_back") {
        return;
    }
    let (ours, stock) = (Keystead::plain(), RedisServer::start(&["--enable-debug-command", "yes"]));
    let (mut here, mut there) = (ours.client(), stock.client());
    FILL.iter().for_each(|line| drop(here.ok(line)));
    let before = digest(&mut here);
    assert_eq!(say(&mut here, &format!("MIGRATE 127.0.0.1 {} \"\" 0 5000 KEYS {KEYS}", stock.port())), "OK");
    assert_eq!(here.ok("DBSIZE").as_int(), Some(0));
    assert_eq!(digest(&mut there), before);
    assert!(there.ok("PTTL n").as_int().is_some_and(|ttl| ttl > 50_000));
    assert_eq!(say(&mut there, &format!("MIGRATE 127.0.0.1 {} \"\" 0 5000 KEYS {KEYS}", ours.port())), "OK");
    assert_eq!(there.ok("DBSIZE").as_int(), Some(0));
    assert_eq!(digest(&mut here), before);
}

/// The same lines on both servers, each with a stock server to talk to.
#[test]
fn answers_are_redis_own() {
    if !there_is("answers_are_redis_own") {
        return;
    }
    let (ours, stock) = (Keystead::plain(), RedisServer::start(&[]));
    let closed = free_port();
    let target = RedisServer::start(&["--requirepass", "secret"]);
    let mut theirs = target.client();
    theirs.ok("AUTH secret");
    theirs.ok("ACL SETUSER mover on >word ~* +@all");
    let to = format!("MIGRATE 127.0.0.1 {}", target.port());
    let lines = [
        "SET a 1".to_owned(),
        "SET b 2".to_owned(),
        "SET c 3".to_owned(),
        format!("{to} a 0 1000"),
        "EXISTS a".to_owned(),
        format!("{to} a 0 1000 AUTH wrong"),
        format!("{to} a 0 1000 COPY AUTH secret"),
        "EXISTS a".to_owned(),
        format!("{to} a 0 1000 AUTH secret"),
        format!("{to} a 99 1000 AUTH secret"),
        format!("{to} a 0 1000 REPLACE AUTH2 mover word"),
        "EXISTS a".to_owned(),
        format!("{to} nokey 0 1000"),
        format!("{to} \"\" 0 1000 AUTH secret KEYS nokey b nokey c"),
        "EXISTS b c".to_owned(),
        "SET a 1".to_owned(),
        format!("{to} a 0 1000 KEYS b"),
        format!("{to} a 0 1000 NOPE"),
        format!("{to} a 0 1000 AUTH"),
        format!("{to} a 0 1000 AUTH2 x"),
        format!("{to} a x 1000"),
        format!("{to} a 0 x"),
        format!("{to} a 0"),
        format!("MIGRATE 127.0.0.1 {closed} a 0 100"),
        "EXISTS a".to_owned(),
    ];
    let mut run = |client: &mut Client| -> Vec<Reply> {
        theirs.ok("FLUSHALL");
        lines.iter().map(|line| say(client, line)).collect()
    };
    let (wanted, got) = (run(&mut stock.client()), run(&mut ours.client()));
    for ((line, wanted), got) in lines.iter().zip(&wanted).zip(&got) {
        assert_eq!(got, wanted, "{line}");
    }
}

/// The other side takes its time: reads go on, writes wait, and what is deleted is what was sent.
#[test]
fn nobody_waits_but_writers() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address").port();
    let node = Keystead::primary();
    let replica = Keystead::replica_of(node.port());
    let (mut mover, mut reader, mut writer) = (node.client(), node.client(), node.client());
    reader.ok("SET k v");
    wait_until("the replica", DEADLINE, || replica.client().cmd("GET k") == "v");
    mover.send(&["MIGRATE", "127.0.0.1", &to.to_string(), "k", "0", "20000"]).expect("sent");
    let (mut peer, _) = listener.accept().expect("MIGRATE connects");
    let mut heard = BufReader::new(peer.try_clone().expect("a second handle"));
    let mut line = String::new();
    while !line.starts_with("RESTORE") {
        line.clear();
        heard.read_line(&mut line).expect("the commands come");
    }
    writer.send(&["APPEND", "k", "more"]).expect("sent");
    assert_eq!(reader.cmd("GET k"), "v");
    writer.set_reply_limit(Duration::from_millis(200));
    assert!(writer.read().is_err(), "a write waits until it is known where the key is");
    writer.set_reply_limit(DEADLINE);
    peer.write_all(b"+OK\r\n+OK\r\n").expect("answered");
    assert_eq!(mover.read().expect("an answer"), "OK");
    assert_eq!(writer.read().expect("an answer").as_int(), Some(4));
    wait_until("DEL, then APPEND, on the replica", DEADLINE, || replica.client().cmd("GET k") == "more");
}

#[test]
fn a_target_that_doesnt_answer_costs_nothing_but_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address").port();
    let node = Keystead::plain();
    let mut client = node.client();
    client.ok("SET k v");
    let reply = client.cmd(&format!("MIGRATE 127.0.0.1 {to} k 0 50"));
    assert_eq!(reply, Reply::Error("IOERR error or timeout reading to target instance".into()));
    assert_eq!(client.cmd("GET k"), "v");
    client.ok("SET k w");
    // Where nothing can wait it isn't done at all.
    client.ok("MULTI");
    client.cmd(&format!("MIGRATE 127.0.0.1 {to} k 0 50"));
    let refused = client.cmd("EXEC").items();
    assert!(matches!(&refused[..], [Reply::Error(text)] if text.contains("transaction")), "{refused:?}");
}
