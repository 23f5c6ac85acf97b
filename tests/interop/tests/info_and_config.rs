//! INFO's fields and CONFIG's names beside redis-server's: each is here, or stands in a table with its reason. And
//! fields and parameters that only a running pair shows to mean something.
#![allow(clippy::unwrap_used)]

use keystead_harness::{
    Certs, Client, DEADLINE, Keystead, KeysteadBuilder, RedisServer, Reply, free_port, have, wait_until,
};
use std::collections::BTreeSet;

/// INFO's fields that redis-server has and aren't here.
const NO_FIELDS: &[(&str, &str)] =
    &[("atomicvar_api", "which atomics its C compiler has"), ("gcc_version", "its C compiler")];

/// CONFIG's names that redis-server has and aren't here.
const NO_NAMES: &[(&str, &str)] = &[];

/// What 7.2 added to both.
const OF_7_2: &[&str] = &[
    "total_blocking_keys",
    "total_blocking_keys_on_nokey",
    "listener0",
    "acl_access_denied_auth",
    "eventloop_cycles",
    "eventloop_duration_sum",
    "eventloop_duration_cmd_sum",
    "instantaneous_eventloop_cycles_per_sec",
    "instantaneous_eventloop_duration_usec",
];
const NAMES_OF_7_2: &[&str] =
    &["set-max-listpack-entries", "set-max-listpack-value", "locale-collate", "cluster-announce-human-nodename"];

fn node() -> KeysteadBuilder {
    let plugins = ["replication", "scripting", "persistence-rdb", "persistence-aof"];
    plugins.iter().fold(Keystead::builder(), |builder, name| builder.plugin(name, "()"))
}

/// Makes one follow the other and waits until it does.
fn follow(replica: &mut Client, port: u16) {
    replica.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    wait_until("the link is up", DEADLINE, || {
        replica.info("replication").get("master_link_status").is_some_and(|s| s == "up")
    });
}

fn fields(client: &mut Client) -> BTreeSet<String> {
    client.info("everything").into_keys().collect()
}

fn names(client: &mut Client) -> BTreeSet<String> {
    client.cmd("CONFIG GET *").texts().into_iter().step_by(2).collect()
}

/// What is there and not here is the table, neither more nor less.
#[track_caller]
fn missing_are(theirs: &BTreeSet<String>, ours: &BTreeSet<String>, table: &[(&str, &str)]) {
    let missing: Vec<&str> = theirs.difference(ours).map(String::as_str).collect();
    let listed: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    assert_eq!(missing, listed);
}

#[test]
fn every_name_is_here_or_has_a_reason() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let ours = [node().start(), node().start()];
    let theirs = [RedisServer::start(&["--appendonly", "yes"]), RedisServer::start(&[])];
    let mut a = ours.each_ref().map(Keystead::client);
    let mut b = theirs.each_ref().map(RedisServer::client);
    follow(&mut a[1], ours[0].port());
    follow(&mut b[1], theirs[0].port());
    for at in 0..2 {
        missing_are(&fields(&mut b[at]), &fields(&mut a[at]), NO_FIELDS);
        missing_are(&names(&mut b[at]), &names(&mut a[at]), NO_NAMES);
    }
    for client in &mut b {
        client.ok("REPLICAOF NO ONE");
    }
    // With its link down a replica shows more.
    let gone = free_port();
    a[1].ok(&format!("REPLICAOF 127.0.0.1 {gone}"));
    b[1].ok(&format!("REPLICAOF 127.0.0.1 {gone}"));
    missing_are(&fields(&mut b[1]), &fields(&mut a[1]), NO_FIELDS);
    let (fields, names) = (fields(&mut a[0]), names(&mut a[0]));
    assert!(OF_7_2.iter().all(|name| fields.contains(*name)), "{fields:?}");
    assert!(NAMES_OF_7_2.iter().all(|name| names.contains(*name)), "{names:?}");
}

#[test]
fn rounds_of_the_server_are_counted_and_timed() {
    let node = Keystead::builder().plugin("persistence-aof", "(enabled: true, fsync: always)").start();
    let mut client = node.client();
    let mut figure = |section: &str, name: &str| -> u64 { client.info(section)[name].parse().unwrap() };
    let names = ["eventloop_cycles", "eventloop_duration_sum", "eventloop_duration_cmd_sum"];
    let before = names.map(|name| figure("stats", name));
    wait_until("the tick and its samples", DEADLINE, || {
        figure("stats", "instantaneous_eventloop_cycles_per_sec") > 0
            && figure("stats", "instantaneous_eventloop_duration_usec") > 0
    });
    let after = names.map(|name| figure("stats", name));
    assert!(before.iter().zip(after).all(|(before, after)| *before < after), "{before:?}, {after:?}");
    // Only those who ask for it by name are told more.
    assert!(
        ["default", "all", "everything"]
            .iter()
            .all(|section| !node.client().info(section).contains_key("eventloop_duration_max"))
    );
    let mut client = node.client();
    for _ in 0..30 {
        client.ok("SET k v");
    }
    let debug = client.info("debug");
    for name in ["aof_sum", "cron_sum", "max"] {
        assert!(debug[&format!("eventloop_duration_{name}")].parse::<u64>().unwrap() > 0, "{name}: {debug:?}");
    }
    assert!(debug["eventloop_cmd_per_cycle_max"].parse::<u64>().unwrap() > 0);
    client.ok("CONFIG RESETSTAT");
    assert!(client.info("stats")["eventloop_cycles"].parse::<u64>().unwrap() < after[0] + 30);
}

#[test]
fn listeners_are_listed_by_kind() {
    let (certs, tls) = (Certs::new(), free_port());
    let node = Keystead::builder().server("unixsocket: \"k.sock\"").section(&certs.section(tls, "")).start();
    let mut client = node.client();
    client.command(&["CONFIG", "SET", "bind", "127.0.0.1 -::1"]);
    let text = client.cmd("INFO server").as_text().unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("listener")).collect();
    let (bind, port) = ("bind=127.0.0.1,bind=-::1", node.port());
    assert_eq!(
        lines,
        [
            &format!("listener0:name=tcp,{bind},port={port}"),
            "listener1:name=unix,bind=k.sock",
            &format!("listener2:name=tls,{bind},port={tls}"),
        ]
    );
}

fn number(client: &mut Client, field: &str) -> f64 {
    client.info("everything")[field].parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

#[test]
fn counters_count() {
    let node = Keystead::plain();
    let mut client = node.client();
    let before = [number(&mut client, "total_reads_processed"), number(&mut client, "total_writes_processed")];
    for _ in 0..5 {
        client.ok("PING");
    }
    assert!(number(&mut client, "total_reads_processed") >= before[0] + 6.0);
    assert!(number(&mut client, "total_writes_processed") >= before[1] + 6.0);
    client.ok("RPUSH list a b c");
    client.ok("SET text a");
    for key in ["list", "text"] {
        let keystead_harness::Reply::Bulk(payload) = client.command(&["DUMP", key]) else { panic!("a payload") };
        client.command(&[b"RESTORE".as_slice(), b"copy", b"0", &payload, b"REPLACE"]);
    }
    assert_eq!(number(&mut client, "dump_payload_sanitizations"), 1.0, "a string has no inside");
    // Used memory without a key to evict: it stays over the limit until that is lifted.
    client.ok("CONFIG SET maxmemory 1");
    wait_until("over the limit", DEADLINE, || number(&mut client, "current_eviction_exceeded_time") > 0.0);
    client.ok("CONFIG SET maxmemory 0");
    wait_until("not over it", DEADLINE, || number(&mut client, "current_eviction_exceeded_time") == 0.0);
    assert!(number(&mut client, "total_eviction_exceeded_time") > 0.0);
    let memory = client.info("memory");
    let field = |name: &str| memory[name].parse::<u64>().unwrap();
    assert_eq!(field("allocator_allocated"), field("used_memory"));
    assert!(field("allocator_resident") < field("used_memory_rss"));
    let cpu = |client: &mut Client| number(client, "used_cpu_user_main_thread") + number(client, "used_cpu_user");
    assert!(cpu(&mut client) > 0.0);
    // Two wait for a key to be filled, one of them also for its end.
    client.ok("XGROUP CREATE stream g $ MKSTREAM");
    let mut waiting = [node.client(), node.client()];
    waiting[0].send(&["BLPOP", "empty", "0"]).unwrap();
    waiting[1].send(&["XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "stream", ">"]).unwrap();
    wait_until("both wait", DEADLINE, || number(&mut client, "total_blocking_keys") == 2.0);
    assert_eq!(number(&mut client, "total_blocking_keys_on_nokey"), 1.0);
}

/// The replica's bytes come from the address that was chosen, and both sides count them.
#[test]
fn a_link_comes_from_the_chosen_address_and_is_counted() {
    let link = |server: &str| Keystead::builder().plugin("replication", "()").server(server).start();
    let (primary, replica) = (link(""), link("bind_source_addr: \"127.0.0.3\""));
    let (mut a, mut b) = (primary.client(), replica.client());
    follow(&mut b, primary.port());
    let line = a.info("replication")["slave0"].clone();
    assert!(line.starts_with("ip=127.0.0.3,"), "{line}");
    b.ok("CONFIG SET bind-source-addr 127.0.0.4");
    b.ok("REPLICAOF NO ONE");
    follow(&mut b, primary.port());
    wait_until("from the other address", DEADLINE, || {
        a.info("replication").get("slave0").is_some_and(|line| line.starts_with("ip=127.0.0.4,"))
    });
    let counts = ["total_net_repl_output_bytes", "total_net_repl_input_bytes"];
    let rates = ["instantaneous_output_repl_kbps", "instantaneous_input_repl_kbps"];
    let sums = ["total_net_output_bytes", "total_net_input_bytes"];
    let rate_sums = ["instantaneous_output_kbps", "instantaneous_input_kbps"];
    let times = ["keystead_repl_writes", "keystead_repl_reads"];
    let time_sums = ["total_writes_processed", "total_reads_processed"];
    a.command(&["SET", "big", &"x".repeat(1 << 20)]);
    for (at, client) in [&mut a, &mut b].into_iter().enumerate() {
        wait_until("a megabyte went through", DEADLINE, || number(client, counts[at]) > f64::from(1 << 20));
        // What goes over links is part of the sums, as in Redis.
        let stats = client.info("stats");
        let part_of = |part: &str, sum: &str| stats[part].parse::<f64>().unwrap() <= stats[sum].parse::<f64>().unwrap();
        assert!(part_of(counts[at], sums[at]) && part_of(rates[at], rate_sums[at]), "{stats:?}");
        assert!(part_of(times[at], time_sums[at]) && number(client, times[at]) > 0.0, "{stats:?}");
        // A second may have ended meanwhile: another value shows.
        wait_until("the rate shows", DEADLINE, || {
            let shown = number(client, rates[at]) > 0.0;
            if !shown {
                Client::connect(primary.port()).command(&["SET", "big", &"x".repeat(1 << 16)]);
            }
            shown
        });
        client.ok("CONFIG RESETSTAT");
        assert!(number(client, counts[at]) < f64::from(1 << 20));
    }
}

#[test]
fn replaced_files_of_the_aof_stay_if_asked() {
    let node = Keystead::builder().plugin("persistence-aof", "(keep_history: true)").start();
    let mut client = node.client();
    let files = || std::fs::read_dir(node.dir().join("appendonlydir")).unwrap().count();
    let rewrite = |client: &mut Client| {
        let before = number(client, "aof_rewrites");
        client.ok("SET a 1");
        wait_until("the rewrite begins", DEADLINE, || !client.cmd("BGREWRITEAOF").is_error());
        wait_until("the rewrite ends", DEADLINE, || number(client, "aof_rewrites") > before);
        wait_until("and is put away", DEADLINE, || number(client, "aof_rewrite_in_progress") == 0.0);
    };
    assert_eq!(client.cmd("CONFIG GET aof-disable-auto-gc").texts()[1], "yes");
    rewrite(&mut client);
    let kept = files();
    assert!(kept >= 5, "manifest, base and increment, and what they replaced: {kept}");
    client.ok("CONFIG SET aof-disable-auto-gc no");
    wait_until("only the set in use is left", DEADLINE, || files() == 3);
}

/// What plugins take and refuse under Redis' names, and in which words. Word for word, and what is there afterwards.
#[test]
fn plugins_settings_are_taken_and_refused_as_by_redis() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let (ours, theirs) = (node().start(), RedisServer::start(&[]));
    let (mut a, mut b) = (ours.client(), theirs.client());
    let numbers =
        "0 1 -1 +1 01 -01 -0 +61 10 x 1x 70000 2147483648 9223372036854775807 9223372036854775808 99999999999999999999";
    let memory = "0 1 -1 1b 1kb 2M 1gB 1kk 1.5mb mb 99999999999gb 9223372036854775808 99999999999999999999";
    let words = "yes NO maybe 1 ignore panic panic-on-replicas disabled on-empty-db SwapDB everysec Always";
    let settings: &[(&str, &[&str])] = &[
        (memory, &["repl-backlog-size", "auto-aof-rewrite-min-size"]),
        (
            numbers,
            &[
                "repl-timeout",
                "repl-ping-replica-period",
                "repl-ping-slave-period",
                "repl-backlog-ttl",
                "replica-priority",
                "slave-priority",
                "replica-announce-port",
                "min-replicas-to-write",
                "min-slaves-max-lag",
                "repl-diskless-sync-delay",
                "repl-diskless-sync-max-replicas",
                "auto-aof-rewrite-percentage",
            ],
        ),
        (
            words,
            &[
                "repl-diskless-load",
                "propagation-error-behavior",
                "appendfsync",
                "replica-read-only",
                "replica-serve-stale-data",
                "replica-announced",
                "replica-ignore-disk-write-errors",
                "repl-diskless-sync",
                "aof-load-truncated",
                "aof-use-rdb-preamble",
                "aof-timestamp-enabled",
                "no-appendfsync-on-rewrite",
                "rdbcompression",
                "rdbchecksum",
                "stop-writes-on-bgsave-error",
                "replicaof",
                "slaveof",
                "appendfilename",
            ],
        ),
    ];
    for (values, names) in settings {
        for (name, value) in names.iter().flat_map(|name| values.split(' ').map(move |value| (name, value))) {
            let line = format!("CONFIG SET {name} {value}");
            assert_eq!(a.cmd(&line), b.cmd(&line), "{line}");
            let line = format!("CONFIG GET {name}");
            // Before the first that is taken, defaults may differ.
            if a.cmd(&line) != b.cmd(&line) {
                assert!(
                    ["repl-diskless-sync-delay", "replica-ignore-disk-write-errors"].contains(name),
                    "{line}: {value}"
                );
            }
        }
    }
}

/// The same names in the same order, and numbers that fit together.
#[test]
fn memory_stats_has_every_field() {
    let (ours, theirs) = (node().start(), RedisServer::start(&[]));
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    let [a, b] = [ours.client(), theirs.client()].map(|mut client| {
        client.ok("SET a 1");
        client.command(&["EVAL", "return 1", "0"]);
        client.command(&["FUNCTION", "LOAD", library]);
        client.ok("SELECT 3");
        client.ok("SET b 1 EX 1000");
        client.cmd("MEMORY STATS").items()
    });
    let names = |items: &[Reply]| items.iter().step_by(2).cloned().collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    let value = |name: &str| &a[a.iter().position(|item| *item == name).unwrap() + 1];
    let number = |name: &str| value(name).as_int().unwrap();
    assert_eq!(
        names(&value("db.3").items()),
        names(&b[b.iter().position(|item| *item == "db.3").unwrap() + 1].items())
    );
    assert!(value("db.3").items()[1].as_int().unwrap() > 0);
    assert_eq!(number("keys.count"), 2);
    assert_eq!(number("allocator.allocated"), number("total.allocated"));
    assert!(number("fragmentation.bytes") >= number("allocator-fragmentation.bytes"));
    for caches in ["lua.caches", "functions.caches"] {
        assert!(number(caches) > 0, "{caches}");
    }
}
