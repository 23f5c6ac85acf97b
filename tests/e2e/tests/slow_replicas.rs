//! What replicas cost that take little or nothing: those who write wait for one in its full sync, nobody else does, and there
//! is an end to it; one that is online goes at its limit; files find a cut whatever replicas read.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, wait_until};
use std::time::{Duration, Instant};

const MB: usize = 1 << 20;

fn node(config: &str) -> Keystead {
    Keystead::builder()
        .plugin("replication", &format!("(ping_period_s: 3600, {config})"))
        .plugin("persistence-rdb", "(save: [])")
        .plugin("persistence-aof", "(enabled: false)")
        .plugin("scripting", "(busy_reply_threshold_ms: 50)")
        .start()
}

/// A replica that asks for everything and takes nothing.
fn standing_still(node: &Keystead) -> Client {
    let mut replica = node.client();
    replica.ok("REPLCONF capa eof capa psync2");
    replica.send(&["PSYNC", "?", "-1"]).unwrap();
    replica
}

fn number(client: &mut Client, section: &str, name: &str) -> usize {
    client.info(section)[name].parse().unwrap()
}

fn limit(client: &mut Client, limit: &str) {
    client.command(&["CONFIG", "SET", "client-output-buffer-limit", &format!("replica {limit} 0 0")]);
}

/// Writes 1 MB, and says how long this session's next command waits.
fn write_and_wait(client: &mut Client, key: usize) -> Duration {
    client.command(&["SET", &format!("during:{key}"), &"v".repeat(MB)]);
    let begun = Instant::now();
    client.ok("PING");
    begun.elapsed()
}

#[test]
fn only_writers_wait_for_a_sync_and_not_for_ever() {
    let node = node("");
    let (mut writer, mut other) = (node.client(), node.client());
    limit(&mut other, "16mb");
    let _replica = standing_still(&node);
    wait_until("the sync begins", DEADLINE, || number(&mut other, "replication", "connected_slaves") == 1);
    let begun = (0..100).find(|n| {
        write_and_wait(&mut writer, *n);
        number(&mut other, "stats", "keystead_writers_paced") == 1
    });
    assert!(begun.is_some_and(|n| (14..20).contains(&n)), "{begun:?}: {}", node.process.log());
    assert!(number(&mut other, "memory", "mem_clients_slaves") > 12 * MB);
    // At most 16 MB a second, and the first of them are free.
    let rests: Duration = (100..104).map(|n| write_and_wait(&mut writer, n)).sum();
    assert!(rests > Duration::from_millis(100), "{rests:?}");
    let reads = Instant::now();
    for _ in 0..300 {
        other.cmd("GET during:0");
        other.ok("PING");
    }
    assert!(reads.elapsed() < Duration::from_secs(5), "{:?}", reads.elapsed());
    // What goes beyond twice the limit at once ends it at once.
    writer.command(&["SET", "large", &"v".repeat(16 * MB)]);
    wait_until("it is dropped", DEADLINE, || number(&mut other, "replication", "connected_slaves") == 0);
    wait_until("nobody is paced", DEADLINE, || number(&mut other, "stats", "keystead_writers_paced") == 0);
    assert_eq!(number(&mut other, "stats", "client_output_buffer_limit_disconnections"), 1);
    assert!(number(&mut other, "memory", "mem_clients_slaves") < 2 * MB);
    let log = node.process.log();
    for line in [
        "Clients that write are paced: Replica 127.0.0.1:",
        "is dropped for overcoming of output buffer limits (client-output-buffer-limit replica)",
        "Clients that write are paced no longer for Replica 127.0.0.1:",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    // A rest has its bound, and the next one is none.
    assert!((200..203).map(|n| write_and_wait(&mut writer, n)).min().unwrap() < Duration::from_millis(500));
}

/// Clients that write are paced as much as at 1.7 of the 2 MB at which the replica is dropped: to 32 KB a second.
fn paced_much(node: &Keystead) -> (Client, Client) {
    let mut other = node.client();
    limit(&mut other, "1mb");
    let replica = standing_still(node);
    wait_until("the sync begins", DEADLINE, || number(&mut other, "replication", "connected_slaves") == 1);
    // Each of them from a client that doesn't wait for its rest.
    for size in [MB + MB / 16, MB * 5 / 8] {
        node.client().command(&["SET", "large", &"v".repeat(size)]);
        wait_until("writers are paced", DEADLINE, || number(&mut other, "stats", "keystead_writers_paced") == 1);
    }
    (replica, other)
}

/// A sentinel says hello on the connection that its pings leave on: its primary looked down to it.
#[test]
fn who_publishes_or_finds_what_expired_is_no_writer() {
    let node = node("");
    let mut reader = node.client();
    reader.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    let keys: Vec<String> = (0..100).map(|n| format!("{n}:{}", "k".repeat(200))).collect();
    for key in &keys {
        reader.command(&["SET", key, "v", "PX", "1"]);
    }
    wait_until("they are over", DEADLINE, || reader.command(&["PTTL", &keys[99]]).as_int() == Some(-2));
    let (_replica, mut other) = paced_much(&node);
    let offset = number(&mut other, "replication", "master_repl_offset");
    let begun = Instant::now();
    for _ in 0..5 {
        other.command(&["PUBLISH", "hello", &"h".repeat(20_000)]);
        other.command(&["EVAL", "return redis.call('PUBLISH', 'hello', 'h')", "0"]);
        other.ok("PING");
    }
    let get: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    reader.command(&get);
    reader.ok("PING");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}, and a rest is a second at most");
    assert!(number(&mut other, "replication", "master_repl_offset") > offset + 115_000, "the replica gets all of it");
    assert_eq!(number(&mut other, "stats", "keystead_writers_paced"), 1);
    for write in ["redis.call('SET', 'script', KEYS[1])", "return redis.call('APPEND', 'script', KEYS[1])"] {
        other.command(&["EVAL", write, "1", &"v".repeat(20_000)]);
        let begun = Instant::now();
        other.ok("PING");
        assert!(begun.elapsed() > Duration::from_millis(300), "a script's writes count: {:?}", begun.elapsed());
    }
}

/// It was not read before the script was done, which it alone could end.
#[test]
fn who_wrote_and_rests_can_end_a_script() {
    let node = node("");
    let (_replica, _other) = paced_much(&node);
    let (mut writer, mut endless) = (node.client(), node.client());
    writer.command(&["SET", "rests", &"v".repeat(30_000)]);
    endless.send(&["EVAL", "while true do end", "0"]).unwrap();
    let mut killed = false;
    wait_until("the script is killed", DEADLINE, || {
        killed |= writer.cmd("SCRIPT KILL") == "OK";
        killed
    });
    assert!(endless.read().unwrap().is_error());
}

/// Its socket takes nothing, so it would never be told by a write.
#[test]
fn an_online_replica_that_takes_nothing_goes_at_its_limit() {
    let primary = node("timeout_s: 1200");
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    let mut client = primary.client();
    wait_until("it is online", DEADLINE, || {
        client.info("replication").get("slave0").is_some_and(|line| line.contains("state=online"))
    });
    limit(&mut client, "2mb");
    replica.process.pause();
    let value = "v".repeat(MB / 4);
    let stats = "client_output_buffer_limit_disconnections";
    let dropped = (0..200).any(|n| {
        client.command(&["SET", &format!("key:{}", n % 8), &value]);
        number(&mut client, "stats", stats) == 1
    });
    assert!(dropped, "50 MB: {}", primary.process.log());
    wait_until("nobody shows it", DEADLINE, || number(&mut client, "replication", "connected_slaves") == 0);
    let log = primary.process.log();
    assert!(log.contains("lost: it is too far behind (client-output-buffer-limit replica)"), "{log}");
    replica.process.resume();
    wait_until("it comes again", DEADLINE, || number(&mut client, "replication", "connected_slaves") == 1);
}

#[test]
fn files_are_saved_beside_syncs_that_stand_still() {
    let node = node("");
    let mut client = node.client();
    client.ok("CONFIG SET rdbcompression no");
    client.ok("DEBUG POPULATE 30000 key 2000");
    let _replicas = [(); 2].map(|()| standing_still(&node));
    wait_until("both are being sent", DEADLINE, || {
        number(&mut client, "persistence", "current_save_keys_total") == 2 * 30_000
    });
    assert_eq!(client.cmd("BGSAVE"), "Background saving started");
    wait_until("the file is there", DEADLINE, || number(&mut client, "persistence", "rdb_saves") == 1);
    client.ok("CONFIG SET appendonly yes");
    wait_until("the first base is there", DEADLINE, || {
        let begun = number(&mut client, "persistence", "aof_rewrites") == 1;
        begun && number(&mut client, "persistence", "aof_rewrite_in_progress") == 0
    });
    assert_eq!(client.cmd("BGREWRITEAOF"), "Background append only file rewriting started");
    wait_until("so is another", DEADLINE, || number(&mut client, "persistence", "aof_rewrites") == 2);
    assert!(!node.process.log().contains("rewrite failed"), "{}", node.process.log());
}

/// The disk under a payload's file stands still for longer than a replica waits for a sign of its primary.
#[test]
fn a_replica_waits_for_the_slow_disk_of_its_primary() {
    let primary = Keystead::builder()
        .plugin("replication", "(diskless_sync: false)")
        .env("KEYSTEAD_FAILPOINT", "payload-write:1:slow")
        .start();
    primary.client().ok("SET a 1");
    let of = format!("(replicaof: (\"127.0.0.1\", {}), timeout_s: 2, ping_period_s: 1)", primary.port());
    let replica = Keystead::builder().plugin("replication", &of).start();
    let (mut p, mut r) = (primary.client(), replica.client());
    wait_until("the payload", DEADLINE, || r.cmd("GET a") == "1");
    assert_eq!(number(&mut p, "stats", "sync_full"), 1, "{}", replica.process.log());
}

/// It was dropped for it, came back for it and was dropped for it, three thousand times a second.
#[test]
fn a_value_beyond_the_limit_costs_a_replica_nothing() {
    let (primary, replica) = (node(""), node(""));
    let (mut writer, mut reader) = (primary.client(), replica.client());
    writer.ok("CONFIG SET repl-backlog-size 16384");
    limit(&mut writer, "32kb");
    reader.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("it follows", DEADLINE, || reader.info("replication")["master_link_status"] == "up");
    for round in 1..=3 {
        writer.command(&["SET", "large", &"v".repeat(round * MB)]);
        wait_until("it has the value", DEADLINE, || {
            reader.command(&["STRLEN", "large"]).as_int() == Some(i64::try_from(round * MB).unwrap())
        });
        let stats = ["sync_full", "sync_partial_ok", "client_output_buffer_limit_disconnections"];
        assert_eq!(stats.map(|name| number(&mut writer, "stats", name)), [1, 0, 0]);
    }
}
