//! What a replica or a file's reader can't execute: the other data stays as it was, and the next start takes the file.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, text, wait_until};

fn replica(of: &Keystead) -> KeysteadBuilder {
    Keystead::builder().plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {}))", of.port()))
}

fn info(client: &mut Client, name: &str) -> String {
    client.info("replication").get(name).cloned().unwrap_or_default()
}

fn linked(node: &Keystead) {
    wait_until("the link", DEADLINE, || info(&mut node.client(), "master_link_status") == "up");
}

fn value(node: &Keystead, key: &str) -> String {
    text(&node.client().cmd(&format!("GET {key}")))
}

/// The replica has no scripting: its file has the rest of the unit, its own replica gets all of it.
#[test]
fn a_transaction_with_an_unknown_command_is_no_end_of_the_replicas_file() {
    let mut primary = Keystead::builder().plugin("replication", "()").plugin("scripting", "()").start();
    let mut middle = replica(&primary).plugin("persistence-aof", "(fsync: always)").start();
    linked(&middle);
    let last = replica(&middle).plugin("scripting", "()").start();
    linked(&last);
    let mut client = primary.client();
    client.ok("MULTI");
    client.cmd("SET a 1");
    client.command(&["FUNCTION", "LOAD", "#!lua name=l1\nredis.register_function('f1', function() return 1 end)"]);
    assert!(!client.cmd("EXEC").is_error());
    client.ok("SET b 2");
    wait_until("all of it arrives", DEADLINE, || value(&middle, "b") == "2" && value(&last, "b") == "2");
    assert_eq!(last.client().cmd("FUNCTION LIST").items().len(), 1);
    let offset = |node: &Keystead| info(&mut node.client(), "master_repl_offset");
    wait_until("one offset", DEADLINE, || offset(&primary) == offset(&middle) && offset(&middle) == offset(&last));
    middle.client().cmd("WAITAOF 1 0 0");
    primary.process.kill();
    middle.process.kill();
    middle.restart();
    assert_eq!((value(&middle, "a"), value(&middle, "b")), ("1".into(), "2".into()), "{}", middle.process.log());
}

#[test]
fn what_is_for_a_database_that_a_replica_has_not_reaches_no_other() {
    let mut primary = Keystead::primary();
    let mut small = replica(&primary).server("databases: 4").plugin("persistence-aof", "(fsync: always)").start();
    linked(&small);
    let mut client = primary.client();
    for line in ["SET keep 1", "SELECT 12", "SET keep 2", "SET other 1", "FLUSHDB", "SELECT 0", "SET z 1"] {
        client.ok(line);
    }
    wait_until("all of it arrives", DEADLINE, || value(&small, "z") == "1");
    let keys = |node: &Keystead| (value(node, "keep"), node.client().cmd("EXISTS other").as_int());
    assert_eq!(keys(&small), ("1".into(), Some(0)));
    let log = small.process.log();
    assert!(log.contains("(database 12: this server has 4; what follows is passed over until"), "{log}");
    assert_eq!(info(&mut small.client(), "master_link_status"), "up");
    // Its disk is behind its memory.
    client.cmd("WAITAOF 0 1 0");
    primary.process.kill();
    small.process.kill();
    small.restart();
    assert_eq!((keys(&small), value(&small, "z")), (("1".into(), Some(0)), "1".into()));
}

/// A key that its primary moved to a database that this one hasn't got must not stay, nor come back from its file. What came
/// from there is known to nobody here: then everything is taken anew.
#[test]
fn what_goes_to_and_fro_between_databases_is_followed_or_taken_anew() {
    let mut primary = Keystead::primary();
    let mut small = replica(&primary).server("databases: 4").plugin("persistence-aof", "(fsync: always)").start();
    linked(&small);
    let mut client = primary.client();
    for line in ["SET moved 1", "MOVE moved 12", "SET kept 1", "COPY kept kept DB 12", "SET z 1"] {
        assert!(!client.cmd(line).is_error(), "{line}");
    }
    wait_until("all of it arrives", DEADLINE, || value(&small, "z") == "1");
    assert_eq!(small.client().cmd("EXISTS moved").as_int(), Some(0));
    for line in ["SELECT 12", "MOVE moved 0", "FLUSHDB", "SELECT 0"] {
        assert!(!client.cmd(line).is_error(), "{line}");
    }
    wait_until("it comes back", DEADLINE, || value(&small, "moved") == "1");
    client.ok("SET below 1");
    client.cmd("SWAPDB 0 12");
    wait_until("database 0 is the other", DEADLINE, || {
        small.client().cmd("DBSIZE").as_int() == Some(0) || info(&mut small.client(), "master_link_status") == "down"
    });
    client.cmd("SWAPDB 0 12");
    linked(&small);
    client.cmd("WAITAOF 0 1 0");
    assert_eq!(value(&small, "below"), "1", "{}", small.process.log());
    primary.process.kill();
    small.process.kill();
    small.restart();
    assert_eq!((value(&small, "below"), value(&small, "moved")), ("1".into(), "1".into()), "{}", small.process.log());
}

#[test]
fn a_file_of_more_databases_is_refused_with_its_place() {
    let set = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let select = |db: &str| format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len());
    let begin = format!("{}{set}", select("0"));
    let file = format!("{begin}{}*1\r\n$7\r\nFLUSHDB\r\n{set}", select("12"));
    let builder = Keystead::builder().server("databases: 4").plugin("persistence-aof", "()");
    let mut node = builder.plugin("persistence-rdb", "()").file("appendonly.aof", file.as_bytes()).launch();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    let words = format!(
        "appendonly.aof, at offset {}, can't be executed: ERR DB index is out of range ('select|12', and this server has 4 \
         databases)",
        begin.len()
    );
    assert!(log.contains(&words), "{log}");
}
