//! What a node does around its links, seen from outside: whom it turns away for now, how it is announced, what a part of a
//! dump has, what is served and told while a payload is made and loaded, what an error or a disk that refuses means, and that
//! an end waits for who lags.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, Reply, text, wait_until};
use std::time::Duration;

fn node(config: &str) -> Keystead {
    Keystead::builder().plugin("replication", &format!("(ping_period_s: 3600, {config})")).start()
}

fn info(node: &Keystead, section: &str, name: &str) -> String {
    node.client().info(section).get(name).cloned().unwrap_or_default()
}

fn linked(replica: &Keystead) {
    wait_until("the link", DEADLINE, || info(replica, "replication", "master_link_status") == "up");
}

/// The middle of a chain without its own primary has no history to hand on: it says so, and is asked again later.
#[test]
fn a_middle_without_a_primary_turns_replicas_away_for_now() {
    let mut primary = node("");
    let (middle, last) = (node(""), node(""));
    primary.client().ok("SET a 1");
    let port = primary.port();
    primary.process.kill();
    middle.client().ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    let answer = middle.client().cmd("PSYNC ? -1");
    assert_eq!(answer, Reply::Error("NOMASTERLINK Can't SYNC while not connected with my master".into()));
    last.client().ok(&format!("REPLICAOF 127.0.0.1 {}", middle.port()));
    wait_until("a refusal", DEADLINE, || last.process.log().contains("NOMASTERLINK"));
    assert!(!middle.process.log().contains("Full resync requested"), "{}", middle.process.log());
    primary.restart();
    linked(&middle);
    linked(&last);
    primary.client().ok("SET b 2");
    wait_until("the chain has it", DEADLINE, || text(&last.client().cmd("GET b")) == "2");
}

/// As redis-server counts: a primary's replicas are no clients, a replica's primary is one.
#[test]
fn who_counts_as_a_connected_client() {
    let primary = node("");
    let replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    let connected = |node: &Keystead| info(node, "clients", "connected_clients");
    wait_until("the primary with its asker alone", DEADLINE, || connected(&primary) == "1");
    wait_until("the replica with its asker and its primary", DEADLINE, || connected(&replica) == "2");
}

#[test]
fn a_replica_is_shown_as_it_announces_itself() {
    let primary = node("");
    let config = format!(
        "replicaof: (\"127.0.0.1\", {}), announce_ip: \"10.1.2.3\", announce_port: 7777, announced: false",
        primary.port()
    );
    let replica = node(&config);
    linked(&replica);
    let line = || info(&primary, "replication", "slave0");
    wait_until("it is online", DEADLINE, || line().contains("state=online"));
    assert!(line().starts_with("ip=10.1.2.3,port=7777,"), "{}", line());
    let role = primary.client().cmd("ROLE").items();
    assert_eq!(role[2].items()[0].texts()[..2], ["10.1.2.3", "7777"]);
    assert_eq!(info(&replica, "replication", "replica_announced"), "0");
    let mut client = replica.client();
    client.ok("CONFIG SET replica-announced yes replica-announce-ip 10.9.9.9 replica-announce-port 8888");
    assert_eq!(info(&replica, "replication", "replica_announced"), "1");
    // The primary learns of it with the next handshake.
    primary.client().ok("CLIENT KILL TYPE replica");
    wait_until("the new address", DEADLINE, || line().starts_with("ip=10.9.9.9,port=8888,state=online"));
}

/// A primary that starts has heard no replica: nothing is taken before one came.
#[test]
fn a_primary_that_starts_takes_no_write_before_a_replica_is_heard() {
    let mut primary = node("min_replicas_to_write: 1");
    for _ in 0..2 {
        let refused = Reply::Error("NOREPLICAS Not enough good replicas to write.".into());
        assert_eq!(primary.client().cmd("SET a 1"), refused);
        primary.process.kill();
        primary.restart();
    }
}

/// A primary that stood still was deposed meanwhile, for all it knows: until a replica is heard again it takes no write, not
/// even those that waited in its sockets.
#[test]
fn a_primary_that_stood_still_takes_no_write_before_a_replica_is_heard() {
    let mut primary = node("min_replicas_to_write: 1, min_replicas_max_lag_s: 1");
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    let mut client = primary.client();
    wait_until("the replica is good", DEADLINE, || !client.cmd("SET a 1").is_error());
    // In this order: none of the replica's words waits in the primary's socket.
    replica.process.pause();
    primary.process.pause();
    drop(replica);
    // The time that the replica's last word is good for.
    std::thread::sleep(Duration::from_secs(2));
    client.send(&["SET", "a", "2"]).unwrap();
    primary.process.resume();
    assert_eq!(client.read().unwrap(), Reply::Error("NOREPLICAS Not enough good replicas to write.".into()));
    assert_eq!(text(&client.cmd("GET a")), "1");
}

/// `redis-cli --functions-rdb`: the libraries and no key.
#[test]
fn a_dump_of_functions_has_no_keys() {
    let node = Keystead::builder().plugin("replication", "()").plugin("scripting", "()").start();
    let mut client = node.client();
    client.ok("SET somekey somevalue");
    // No key is sent, so none may be what the version can't carry.
    client.cmd("HSET fields f v");
    client.cmd("HPEXPIRE fields 100000 FIELDS 1 f");
    let library = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
    client.command(&["FUNCTION", "LOAD", library]);
    client.ok("REPLCONF rdb-filter-only functions");
    client.send(&["SYNC"]).unwrap();
    let mut got = Vec::new();
    wait_until("the payload", DEADLINE, || {
        got.extend(client.drain(Duration::from_millis(50)));
        let has = |what: &[u8]| got.windows(what.len()).any(|part| part == what);
        has(b"name=mylib") && got.len() > 100
    });
    assert!(!got.windows(7).any(|part| part == b"somekey"), "{}", got.escape_ascii());
    let mut whole = node.client();
    whole.send(&["SYNC"]).unwrap();
    let mut got = Vec::new();
    wait_until("the reason", DEADLINE, || {
        got.extend(whole.drain(Duration::from_millis(50)));
        got.starts_with(b"-ERR hash with field expiry can't be written in RDB version 10")
    });
    let refused = node.client().cmd("REPLCONF rdb-filter-only keys");
    assert_eq!(refused, Reply::Error("ERR Unsupported rdb-filter-only option: keys".into()));
}

/// `repl-diskless-load swapdb`: the same history, so the old data may be served until the new is whole.
#[test]
fn the_old_data_is_served_while_a_shadow_is_loaded() {
    let primary = node("backlog_size: 16384");
    let replica = Keystead::builder()
        .plugin("replication", &format!("(diskless_load: swapdb, replicaof: (\"127.0.0.1\", {}))", primary.port()))
        .plugin("persistence-rdb", "(save: [])")
        .plugin("scripting", "()")
        .start();
    let mut client = primary.client();
    client.ok("SET old 1");
    linked(&replica);
    // Who says nothing of what it does may do it as before, but write.
    let code = "#!lua name=l\nredis.register_function('read', function() return redis.call('get', 'old') end)\n\
                redis.register_function('write', function() return redis.call('set', 'old', 'lost') end)";
    replica.client().ok("CONFIG SET replica-read-only no");
    assert_eq!(replica.client().command(&["FUNCTION", "LOAD", code]), "l");
    wait_until("the first key", DEADLINE, || text(&replica.client().cmd("GET old")) == "1");
    replica.client().ok("CONFIG SET key-load-delay 20000");
    // Out of reach, and then too far behind for the backlog.
    replica.client().ok("REPLICAOF 127.0.0.1 1");
    client.ok("DEBUG POPULATE 300 key 300");
    client.ok("SET old 2");
    for n in 0..40 {
        client.ok(&format!("SET fill:{n} {}", "x".repeat(1000)));
    }
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("a shadow is loaded", DEADLINE, || info(&replica, "persistence", "async_loading") == "1");
    assert_eq!(text(&replica.client().cmd("GET old")), "1");
    assert_eq!(info(&replica, "persistence", "loading"), "0");
    assert_eq!(text(&replica.client().cmd("FCALL read 0")), "1");
    for line in ["FCALL write 0", "EVAL redis.call('set','old','lost') 0", "SET old lost"] {
        let answer = format!("{:?}", replica.client().cmd(line));
        assert!(answer.contains("LOADING "), "{line}: {answer}");
    }
    // Neither the way it takes nor its end is for a client to change now.
    for line in ["CONFIG SET repl-diskless-load disabled", "CONFIG SET timeout 1 appendonly no", "REPLICAOF NO ONE"] {
        let answer = replica.client().cmd(line);
        assert!(matches!(&answer, Reply::Error(why) if why.starts_with("LOADING ")), "{line}: {answer:?}");
    }
    replica.client().ok("CONFIG SET key-load-delay 0");
    linked(&replica);
    assert_eq!(text(&replica.client().cmd("GET old")), "2");
    assert_eq!(info(&replica, "persistence", "async_loading"), "0");
    let digest = |node: &Keystead| text(&node.client().cmd("DEBUG DIGEST"));
    wait_until("the same data", DEADLINE, || digest(&primary) == digest(&replica));
}

/// While a replica loads what a full sync brought, whoever waits for a key goes on waiting and finds it behind the load; whoever caches is
/// told once that all is gone, not of each key that is loaded.
#[test]
fn a_full_sync_disturbs_nobody_who_waits_or_caches() {
    let (primary, replica) = (node(""), node(""));
    let mut client = primary.client();
    client.ok("DEBUG POPULATE 300 key 10");
    client.cmd("XADD stream 1-1 a b");
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    linked(&replica);
    let (mut waiter, mut cacher) = (replica.client(), replica.client());
    waiter.send_raw(b"XREAD BLOCK 0 STREAMS stream $\r\n").unwrap();
    wait_until("it waits", DEADLINE, || info(&replica, "clients", "blocked_clients") == "1");
    cacher.cmd("HELLO 3");
    cacher.ok("CLIENT TRACKING on BCAST");
    // What is written behind the change of history comes with the payload alone.
    client.pipeline(&["MULTI", "DEBUG CHANGE-REPL-ID", "XADD stream 2-1 a b", "EXEC"]);
    waiter.set_reply_limit(DEADLINE);
    let found = format!("{:?}", waiter.read().unwrap());
    assert!(found.contains("2-1"), "{found}");
    linked(&replica);
    cacher.send_raw(b"ECHO done\r\n").unwrap();
    let mut told = Vec::new();
    while !told.windows(4).any(|word| word == b"done") {
        told.extend(cacher.drain(Duration::from_millis(100)));
    }
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("invalidate") && !told.contains("key:"), "{told}");
}

/// SHUTDOWN waits for a replica that lags (`shutdown-timeout`), and the replica then has everything.
/// A key that a sync brings is a change to who watches it, whatever way the sync is loaded.
#[test]
fn what_a_sync_brings_fails_the_transactions_of_those_who_watch_it() {
    for load in ["disabled", "swapdb"] {
        let (primary, replica) = (node(""), node(&format!("diskless_load: \"{load}\"")));
        primary.client().ok("SET brought 1");
        replica.client().ok("SET gone 1");
        let mut watchers = ["brought", "gone", "never"].map(|key| {
            let mut client = replica.client();
            for line in [&format!("WATCH {key}"), "MULTI"] {
                client.ok(line);
            }
            client.cmd("PING");
            client
        });
        replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        linked(&replica);
        let went = watchers.each_mut().map(|client| !client.cmd("EXEC").items().is_empty());
        assert_eq!(went, [false, false, true], "{load}");
    }
}

#[test]
fn an_end_waits_for_a_replica_that_lags() {
    let mut primary = node("");
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    primary.client().ok("CONFIG SET shutdown-timeout 60");
    replica.process.pause();
    let mut client = primary.client();
    for n in 0..100 {
        client.ok(&format!("SET k:{n} {}", "x".repeat(1000)));
    }
    primary.process.terminate();
    wait_until("it waits", DEADLINE, || primary.process.log().contains("Waiting for replicas before shutting down"));
    assert!(primary.process.is_alive());
    replica.process.resume();
    primary.process.wait_exit(DEADLINE);
    wait_until("the last key", DEADLINE, || replica.client().cmd("EXISTS k:99") == Reply::Int(1));
}

/// To Redis, what is made for a replica is a background save: tools wait for its begin and its end.
#[test]
fn a_payload_in_the_making_shows_as_a_save() {
    let plugin =
        |config: &str| Keystead::builder().plugin("replication", config).plugin("persistence-rdb", "(save: [])");
    for diskless in [true, false] {
        let primary = plugin(&format!("(diskless_sync: {diskless})")).start();
        let mut client = primary.client();
        client.ok("DEBUG POPULATE 2000 key 2000");
        client.ok("CONFIG SET rdb-key-save-delay 10000 rdbcompression no");
        assert_eq!(info(&primary, "persistence", "rdb_bgsave_in_progress"), "0");
        let replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
        wait_until("a save", DEADLINE, || info(&primary, "persistence", "rdb_bgsave_in_progress") == "1");
        let slave = info(&primary, "replication", "slave0");
        assert!(slave.contains("state=wait_bgsave"), "{slave}");
        assert_eq!(info(&primary, "persistence", "current_save_keys_total"), "2000");
        let done = || info(&primary, "persistence", "current_save_keys_processed").parse::<u64>().unwrap();
        wait_until("its progress", DEADLINE, || (1..=2000).contains(&done()));
        client.ok("CLIENT KILL TYPE replica");
        wait_until("its end", DEADLINE, || info(&primary, "persistence", "rdb_bgsave_in_progress") == "0");
        client.ok("CONFIG SET rdb-key-save-delay 0");
        linked(&replica);
        assert_eq!(info(&primary, "persistence", "rdb_bgsave_in_progress"), "0");
        assert_eq!(info(&primary, "persistence", "current_save_keys_total"), "0");
    }
}

/// `repl-diskless-sync-delay` holds the first replica, until `repl-diskless-sync-max-replicas` are there.
#[test]
fn enough_waiting_replicas_end_the_delay() {
    let primary = node("diskless_sync_delay_s: 86400, diskless_sync_max_replicas: 2");
    let replica = || node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    let first = replica();
    wait_until("it waits", DEADLINE, || info(&primary, "replication", "slave0").contains("state=wait_bgsave"));
    assert_eq!(info(&first, "replication", "master_link_status"), "down");
    assert_eq!(info(&primary, "persistence", "rdb_bgsave_in_progress"), "0");
    let second = replica();
    linked(&first);
    linked(&second);
}

/// A replica says how far a long load is, whatever way it takes.
#[test]
fn a_long_load_of_a_replica_is_told_in_its_log() {
    // Records come in batches of a quarter of a megabyte.
    let plain = "(save: [], rdbcompression: false)";
    let primary = Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", plain).start();
    primary.client().ok("DEBUG POPULATE 2000 key 2000");
    let follow = |mode: &str| {
        let plugins = Keystead::builder().plugin("replication", "()");
        let replica = plugins.plugin("persistence-rdb", "(save: [], key_load_delay: 10000)").start();
        replica.client().ok(&format!("CONFIG SET repl-diskless-load {mode}"));
        replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        replica
    };
    let told = |line: &str| line.contains("MASTER <-> REPLICA sync: loading: ") && line.contains(" keys so far");
    for replica in ["disabled", "on-empty-db", "swapdb"].map(follow) {
        let log = || replica.process.log();
        assert!(
            keystead_harness::eventually(DEADLINE, || log().lines().any(told).then_some(())).is_some(),
            "{}",
            log()
        );
    }
}

/// A replica whose own disk takes nothing goes on following and says so, or ends: `replica-ignore-disk-write-errors`.
#[test]
fn a_replica_whose_disk_refuses_goes_on_or_ends_as_it_is_told() {
    let primary = node("");
    let mut replica = Keystead::builder()
        .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {}))", primary.port()))
        .plugin("persistence-rdb", "(save: [(3600, 1000)])")
        .start();
    linked(&replica);
    // A folder with something in it stands where the file belongs.
    std::fs::create_dir_all(replica.process.dir().join("dump.rdb/x")).unwrap();
    replica.client().ok("BGSAVE");
    wait_until("a failed save", DEADLINE, || info(&replica, "persistence", "rdb_last_bgsave_status") == "err");
    primary.client().ok("SET a 1");
    wait_until("it has it", DEADLINE, || text(&replica.client().cmd("GET a")) == "1");
    let warning = "Replica is applying a command even though it is unable to write to disk.";
    assert!(replica.process.log().contains(warning), "{}", replica.process.log());
    replica.client().ok("CONFIG SET replica-ignore-disk-write-errors no");
    primary.client().ok("SET a 2");
    assert!(!replica.process.wait_exit(DEADLINE).success());
    let log = replica.process.log();
    assert!(log.contains("Replica was unable to write command to disk."), "{log}");
}

/// `propagation-error-behavior`: what a replica can't execute is logged and counted, or ends it.
#[test]
fn an_error_in_the_stream_is_told_or_ends_the_process() {
    let primary = node("");
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    let mut here = replica.client();
    here.ok("CONFIG SET replica-read-only no");
    here.ok("SET list text");
    here.ok("CONFIG SET propagation-error-behavior panic-on-replicas");
    let mut client = primary.client();
    client.cmd("RPUSH list 1");
    client.ok("SET behind 1");
    // A writable replica may differ on purpose.
    wait_until("it went on", DEADLINE, || text(&replica.client().cmd("GET behind")) == "1");
    assert_eq!(info(&replica, "stats", "unexpected_error_replies"), "1");
    let log = replica.process.log();
    assert!(log.contains("== CRITICAL == This replica is sending an error to its master"), "{log}");
    here.ok("CONFIG SET replica-read-only yes");
    client.cmd("RPUSH list 2");
    assert!(!replica.process.wait_exit(DEADLINE).success());
    let log = replica.process.log();
    let words = "This replica panicked sending an error to its master after processing the command 'rpush'";
    assert!(log.contains(words), "{log}");
}

/// CLIENT KILL in a transaction cuts a replica off before what the transaction writes, as in Redis.
#[test]
fn a_killed_replica_gets_nothing_of_the_same_transaction() {
    let primary = node("");
    let replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    let mut client = primary.client();
    let number = |node: &Keystead, section, name| info(node, section, name).parse::<u64>().unwrap_or(0);
    let syncs = || number(&primary, "stats", "sync_full") + number(&primary, "stats", "sync_partial_ok");
    for round in 1..10 {
        let here = || number(&primary, "replication", "master_repl_offset");
        wait_until("the replica has all", DEADLINE, || {
            syncs() == round && number(&replica, "replication", "slave_repl_offset") == here()
        });
        let before = here();
        client.ok("MULTI");
        client.cmd("CLIENT KILL TYPE replica");
        for n in 0..10 {
            client.cmd(&format!("SET key:{n} {}", "x".repeat(16384)));
        }
        client.cmd("EXEC");
        wait_until("it came again", DEADLINE, || syncs() == round + 1);
        let asks = |line: &&str| line.contains("Sending from offset ") || line.contains("it asked for ");
        let from = format!(" {}", before + 1);
        wait_until("it went on where it was", DEADLINE, || {
            primary.process.log().lines().rfind(asks).is_some_and(|line| line.contains(&from))
        });
    }
}

/// On its link a replica says REPLCONF and nothing else; who wants answers there is cut off, in Redis' words.
#[test]
fn a_replica_that_wants_answers_is_cut_off() {
    let primary = node("");
    let mut client = primary.client();
    client.ok("SET a 1");
    let mut replica = primary.client();
    replica.send(&["PSYNC", "?", "-1"]).unwrap();
    wait_until("it is a replica", DEADLINE, || info(&primary, "replication", "connected_slaves") == "1");
    replica.send(&["GET", "a"]).unwrap();
    wait_until("it is none", DEADLINE, || info(&primary, "replication", "connected_slaves") == "0");
    let log = primary.process.log();
    assert!(log.contains("Replica generated a reply to command 'get', disconnecting it: "), "{log}");
    let wrong = client.cmd("PSYNC someid offset");
    assert_eq!(wrong, Reply::Error("ERR value is not an integer or out of range".into()));
    assert!(primary.process.log().contains("asks for synchronization but with a wrong offset"));
    assert_eq!(client.cmd("PING"), Reply::Simple("PONG".into()), "who is refused stays a client");
    client.ok("SET b 2");
    client.ok("REPLICAOF 127.0.0.1 1");
    for request in ["PSYNC ? -1", "SYNC"] {
        let refused = client.cmd(request);
        assert_eq!(refused, Reply::Error("NOMASTERLINK Can't SYNC while not connected with my master".into()));
        assert_eq!(client.cmd("PING"), Reply::Simple("PONG".into()), "{request}");
    }
}

/// What a stopped replica doesn't take is kept beyond the backlog. It is shown as the replicas', to the last block's books, and
/// as nothing that evicting keys could make less.
#[test]
fn what_a_stopped_replica_does_not_take_costs_no_key() {
    let primary = node("");
    let mut replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    let mut client = primary.client();
    for setting in ["maxmemory-policy allkeys-random", "repl-backlog-size 16384", "repl-timeout 1200"] {
        client.ok(&format!("CONFIG SET {setting}"));
    }
    (0..100).for_each(|n| drop(client.cmd(&format!("SETRANGE key:{n} 10000 x"))));
    wait_until("the replica has them", DEADLINE, || replica.client().cmd("DBSIZE").as_int() == Some(100));
    replica.process.pause();
    let memory =
        |client: &mut keystead_harness::Client, name: &str| -> u64 { client.info("memory")[name].parse().unwrap() };
    let counted = |client: &mut keystead_harness::Client| {
        memory(client, "used_memory").saturating_sub(memory(client, "mem_not_counted_for_evict"))
    };
    assert!(memory(&mut client, "mem_clients_slaves") < 64 << 10);
    let limit = counted(&mut client) + (256 << 10);
    client.ok(&format!("CONFIG SET maxmemory {limit}"));
    let batch = vec!["SETRANGE key:0 0 ten-letters"; 500];
    for _ in 0..300 {
        client.pipeline(&batch);
    }
    assert_eq!(client.cmd("DBSIZE").as_int(), Some(100));
    assert!(memory(&mut client, "mem_clients_slaves") > 2 << 20, "{:?}", client.info("memory"));
    assert!(counted(&mut client) < limit);
    let stats = client.cmd("MEMORY STATS").items();
    assert!(stats.iter().any(|item| *item == "clients.slaves"), "{stats:?}");
    replica.process.resume();
}

/// Behind it nobody may go on from what was: who follows gets everything again.
/// Two sizes in quick succession: the last one holds, though each is set beside the commands.
#[test]
fn a_backlog_has_the_size_that_was_set_last() {
    const BIG: usize = 200_000;
    let primary = node("");
    let replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    let mut client = primary.client();
    let (small, big) = ("CONFIG SET repl-backlog-size 16384", "CONFIG SET repl-backlog-size 33554432");
    let value = "v".repeat(BIG);
    let kept = |client: &mut keystead_harness::Client| {
        client.pipeline(&[small, big]);
        (0..5).for_each(|_| drop(client.command(&["SET", "key", &value])));
        let kept = client.info("replication")["repl_backlog_histlen"].parse::<usize>().unwrap_or(0);
        kept >= 4 * BIG
    };
    assert!((0..200).all(|_| kept(&mut client)), "{:?}", client.info("replication"));
}

#[test]
fn debug_change_repl_id_begins_a_new_history() {
    let primary = node("");
    let replica = node(&format!("replicaof: (\"127.0.0.1\", {})", primary.port()));
    linked(&replica);
    let ids = || [info(&primary, "replication", "master_replid"), info(&primary, "replication", "master_replid2")];
    let before = ids();
    primary.client().ok("SET a 1");
    primary.client().ok("DEBUG CHANGE-REPL-ID");
    let after = ids();
    assert_ne!(before[0], after[0]);
    assert_eq!(after[1], "0".repeat(40));
    primary.client().ok("SET b 1");
    wait_until("a second full sync", DEADLINE, || info(&primary, "stats", "sync_full") == "2");
    wait_until("it has both", DEADLINE, || replica.client().cmd("EXISTS a b") == Reply::Int(2));
    assert_eq!(info(&replica, "replication", "master_replid"), after[0]);
    assert!(primary.client().cmd("DEBUG CHANGE-REPL-ID x").is_error());
}
