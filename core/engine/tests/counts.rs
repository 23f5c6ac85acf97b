//! What INFO, MONITOR and COMMAND tell of commands, as Redis' own suite asks for it.

mod kit;

use keystead_engine::EngineOptions;
use kit::Kit;
use std::sync::atomic::{AtomicU64, Ordering};

fn field(info: &str, name: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
}

#[test]
fn questions_about_a_key_count_but_renew_nothing() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET foo bar");
    kit.later(5000);
    let questions = ["TTL", "TYPE", "EXISTS", "OBJECT ENCODING", "OBJECT REFCOUNT", "OBJECT IDLETIME"];
    for (n, question) in questions.into_iter().enumerate() {
        kit.cmd(c, &format!("{question} foo"));
        kit.cmd(c, &format!("{question} none"));
        assert_eq!(kit.cmd(c, "OBJECT IDLETIME foo"), ":5\r\n", "{question}");
        let stats = kit.cmd(c, "INFO stats");
        assert_eq!(field(&stats, "keyspace_hits"), 2 * (n as u64 + 1), "{question}");
        assert_eq!(field(&stats, "keyspace_misses"), n as u64 + 1, "{question}");
    }
}

#[test]
fn each_command_counts_the_lookups_that_redis_counts() {
    let mut kit = Kit::default();
    let c = kit.connect();
    for setup in ["HSET h a 1", "SADD s a", "ZADD z 1 a", "XADD x 1-1 a b", "XGROUP CREATE x g 0"] {
        kit.cmd(c, setup);
    }
    for (command, hits, misses) in [
        ("HRANDFIELD h 1 WITHVALUES", 1, 0),
        ("SRANDMEMBER s", 1, 0),
        ("ZRANDMEMBER z -3", 1, 0),
        ("COPY s s2", 1, 0),
        ("COPY none s2", 0, 1),
        ("XREADGROUP GROUP g c STREAMS x >", 2, 0),
        ("OBJECT ENCODING none", 0, 1),
    ] {
        kit.cmd(c, "CONFIG RESETSTAT");
        kit.cmd(c, command);
        let stats = kit.cmd(c, "INFO stats");
        let counted = (field(&stats, "keyspace_hits"), field(&stats, "keyspace_misses"));
        assert_eq!(counted, (hits, misses), "{command}");
    }
}

#[test]
fn a_hyperloglog_changes_with_each_register_that_rises() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let mut last = 0;
    for (command, changes) in [("PFADD p a b", 3), ("PFADD p a b", 0), ("PFADD p a c", 1), ("PFADD q", 1)] {
        kit.cmd(c, command);
        let now = field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save");
        assert_eq!(now - last, changes, "{command}");
        last = now;
    }
}

#[test]
fn small_integers_are_shared_unless_each_has_an_access_of_its_own() {
    let mut kit = Kit::default();
    let c = kit.connect();
    for (value, count) in [("0", 2_147_483_647), ("9999", 2_147_483_647), ("10000", 1), ("-1", 1), ("01", 1)] {
        kit.cmd(c, &format!("SET k {value}"));
        assert_eq!(kit.cmd(c, "OBJECT REFCOUNT k"), format!(":{count}\r\n"), "{value}");
    }
    kit.cmd(c, "SET k 5");
    kit.cmd(c, "CONFIG SET maxmemory-policy allkeys-lru");
    assert_eq!(kit.cmd(c, "OBJECT REFCOUNT k"), ":2147483647\r\n", "nothing is evicted");
    kit.cmd(c, "CONFIG SET maxmemory 100mb");
    assert_eq!(kit.cmd(c, "OBJECT REFCOUNT k"), ":1\r\n");
    kit.cmd(c, "CONFIG SET maxmemory-policy volatile-ttl");
    assert_eq!(kit.cmd(c, "OBJECT REFCOUNT k"), ":2147483647\r\n");
    assert_eq!(kit.cmd(c, "OBJECT REFCOUNT none"), "$-1\r\n");
}

#[test]
fn touch_is_a_use() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET foo bar");
    kit.later(5000);
    assert_eq!(kit.cmd(c, "TOUCH foo none"), ":1\r\n");
    assert_eq!(field(&kit.cmd(c, "INFO stats"), "keyspace_hits"), 1);
    assert_eq!(kit.cmd(c, "OBJECT IDLETIME foo"), ":0\r\n");
}

#[test]
fn keys_freed_outside_of_their_turn_are_counted_until_they_are_gone() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let freed = |kit: &mut Kit| {
        let (stats, memory) = (kit.cmd(c, "INFO stats"), kit.cmd(c, "INFO memory"));
        assert!(stats.contains("migrate_cached_sockets:0\r\n"), "{stats}");
        (field(&memory, "lazyfree_pending_objects"), field(&memory, "lazyfreed_objects"))
    };
    kit.cmd(c, "XADD s 1 a b");
    kit.cmd(c, "XGROUP CREATE s g $");
    kit.cmd(c, "XGROUP DESTROY s g");
    kit.cmd(c, "UNLINK s");
    assert_eq!(freed(&mut kit), (0, 0), "small things go at once");
    kit.cmd(c, "SETBIT piece 4000000 0");
    kit.cmd(c, "UNLINK piece");
    assert_eq!(freed(&mut kit), (0, 0), "so do bytes in one piece");
    kit.cmd(c, "SETBIT big 10000000 0");
    let end = kit.turn(|engine| {
        engine.ks.remove(0, b"big");
        engine.end_turn()
    });
    assert_eq!(freed(&mut kit), (1, 0));
    drop(end);
    assert_eq!(freed(&mut kit), (0, 1));
    kit.cmd(c, "CONFIG RESETSTAT");
    assert_eq!(freed(&mut kit), (0, 0));
}

#[test]
fn a_client_s_line_tells_what_its_command_takes() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let line = kit.send(c, "*2\r\n$6\r\nclient\r\n$4\r\nlist\r\n");
    assert!(line.contains(" qbuf=26 ") && line.contains(" argv-mem=10 "), "{line}");
    let line = kit.send(c, "*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n");
    assert!(line.contains(" qbuf=26 ") && line.contains(" argv-mem=10 "), "{line}");
}

#[test]
fn parameters_for_tests_show_under_their_exact_names_only() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert!(!kit.cmd(c, "CONFIG GET *").contains("watchdog-period"));
    assert!(!kit.cmd(c, "CONFIG GET watchdog*").contains("watchdog-period"));
    assert!(kit.cmd(c, "CONFIG GET watchdog-period").contains("watchdog-period"));
}

#[test]
fn each_step_of_bitfield_is_one_change() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let mut changes = |line: &str| {
        let before = field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save");
        kit.cmd(c, line);
        field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save") - before
    };
    assert_eq!(changes("BITFIELD k INCRBY i5 0 1"), 1, "made and changed");
    assert_eq!(changes("BITFIELD k INCRBY i5 0 1 INCRBY i5 5 1"), 2);
    assert_eq!(changes("BITFIELD k SET i5 0 2"), 0, "the same value");
    assert_eq!(changes("BITFIELD k SET i5 90 0"), 1, "only longer");
    assert_eq!(changes("BITFIELD k GET i5 90"), 0);
}

#[test]
fn a_transaction_is_shown_before_its_exec() {
    let mut kit = Kit::default();
    let (monitor, c) = (kit.connect(), kit.connect());
    kit.cmd(monitor, "MONITOR");
    for line in ["MULTI", "SET foo bar", "GET foo", "EXEC"] {
        kit.cmd(c, line);
    }
    let seen = kit.read(monitor);
    let order: Vec<usize> = ["multi", "set", "get", "exec"]
        .iter()
        .map(|word| seen.to_lowercase().find(&format!("\"{word}\"")).unwrap_or_else(|| panic!("no {word}: {seen}")))
        .collect();
    assert!(order.is_sorted(), "{seen}");
    assert_eq!(seen.matches("\"EXEC\"").count(), 1, "{seen}");
}

#[test]
fn a_command_counts_when_it_has_run() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "GET k");
    assert!(!kit.cmd(c, "INFO commandstats").contains("cmdstat_info:"));
    assert!(kit.cmd(c, "INFO commandstats").contains("cmdstat_info:calls=1,"));
    kit.cmd(c, "CONFIG RESETSTAT");
    let info = kit.cmd(c, "INFO everything");
    assert!(info.contains("cmdstat_config|resetstat:calls=1,") && !info.contains("cmdstat_get"), "{info}");
    assert_eq!(field(&info, "total_commands_processed"), 1);
    assert!(info.find("# Errorstats") < info.find("# Latencystats"), "{info}");
}

#[test]
fn a_paused_client_counts_as_blocked() {
    let mut kit = Kit::default();
    let (c, paused) = (kit.connect(), kit.connect());
    kit.cmd(c, "CLIENT PAUSE 100000 WRITE");
    assert_eq!(kit.cmd(paused, "SET foo bar"), "");
    assert_eq!(field(&kit.cmd(c, "INFO clients"), "blocked_clients"), 1);
    kit.cmd(c, "CLIENT UNPAUSE");
    assert_eq!(field(&kit.cmd(c, "INFO clients"), "blocked_clients"), 0);
}

#[test]
fn all_of_a_bare_command_list_are_named_with_their_subcommands() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let all = kit.cmd(c, "COMMAND LIST");
    assert!(all.contains("\r\nclient|list\r\n") && all.contains("\r\nclient\r\n"), "{all}");
}

#[test]
fn texts_and_forms_of_the_suite() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let refused = kit.cmd(c, "CONFIG SET maxmemory-clients 101%");
    assert!(refused.contains("percentage argument must be less or equal to 100"), "{refused}");
    kit.cmd(c, "CONFIG SET enable-debug-command yes");
    assert_eq!(kit.cmd(c, "DEBUG QUICKLIST-PACKED-THRESHOLD 1"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "DEBUG PROTOCOL ATTRIB"), "$39\r\nSome real reply following the attribute\r\n");
    assert_eq!(kit.cmd(c, "DEBUG PROTOCOL PUSH"), "-ERR RESP2 is not supported by this command\r\n");
    kit.cmd(c, "HELLO 3");
    let pushed = "$40\r\nSome real reply following the push reply\r\n>2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n";
    assert_eq!(kit.cmd(c, "DEBUG PROTOCOL PUSH"), pushed);
}

/// Every command takes 200 ms by this clock.
fn slow_clock() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(200_000, Ordering::Relaxed)
}

#[test]
fn who_waits_is_not_served_with_a_key_whose_time_ran_out_in_a_long_transaction() {
    let mut kit = Kit::with(EngineOptions { clock: Some(slow_clock), ..EngineOptions::default() });
    let (c, waiting) = (kit.connect(), kit.connect());
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 0");
    assert_eq!(kit.cmd(waiting, "BRPOP k 0"), "");
    for line in ["MULTI", "RPUSH k hello", "PEXPIRE k 100"] {
        kit.cmd(c, line);
    }
    assert_eq!(kit.cmd(c, "EXEC"), "*2\r\n:1\r\n:1\r\n");
    assert_eq!(kit.read(waiting), "");
}

/// Counted by redis-server 7.2.4: how much INFO's rdb_changes_since_last_save grows, on which save points depend.
const CHANGES: &[(&[&str], &str, u64)] = &[
    (&["RPUSH k a b"], "LMOVE k l LEFT LEFT", 1),
    (&["RPUSH k a"], "RPOPLPUSH k l", 1),
    (&["RPUSH k a b"], "RPOPLPUSH k k", 1),
    (&["RPUSH k a b"], "LPOP k 2", 2),
    (&["SADD k a b c"], "SPOP k 2", 2),
    (&["SADD k a b c"], "SPOP k 5", 3),
    (&["SADD k a b"], "SMOVE k l a", 2),
    (&["ZADD k 1 a 2 b 3 c"], "ZPOPMAX k 2", 2),
    (&["ZADD k 1 a 2 b 3 c"], "ZMPOP 1 k MIN COUNT 2", 2),
    (&["ZADD k 1 a 2 b 3 c"], "ZREMRANGEBYRANK k 0 1", 2),
    (&["ZADD k 1 a 2 b 3 c"], "ZREMRANGEBYSCORE k 1 2", 2),
    (&["ZADD k 0 a 0 b"], "ZREMRANGEBYLEX k - +", 2),
    (&["RPUSH k 2 1"], "SORT k STORE d", 2),
    (&["GEOADD g 1 1 a 2 2 b"], "GEOSEARCHSTORE d g FROMLONLAT 1 1 BYRADIUS 1000 km", 2),
    (&["MSET a 1 b 2 c 3"], "DEL a b", 2),
    (&["SET k v"], "PERSIST k", 0),
];

#[test]
fn changes_are_counted_as_redis_counts_them() {
    for (before, line, expected) in CHANGES {
        let mut kit = Kit::default();
        let c = kit.connect();
        before.iter().for_each(|line| drop(kit.cmd(c, line)));
        let start = field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save");
        kit.cmd(c, line);
        let end = field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save");
        assert_eq!(end - start, *expected, "{line}");
    }
}

#[test]
fn a_key_whose_time_is_up_is_no_change() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET k v PX 10");
    let start = field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save");
    kit.now.unix_ms += 100;
    assert_eq!(kit.cmd(c, "GET k"), "$-1\r\n");
    assert_eq!(field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save"), start);
    assert_eq!(field(&kit.cmd(c, "INFO stats"), "expired_keys"), 1);
}

/// Counted by redis-server 7.4.1.
#[test]
fn fields_whose_time_is_up_are_no_change() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "HSET h a 1 b 2 c 3 d 4");
    kit.cmd(c, "HPEXPIRE h 10 FIELDS 3 a b c");
    let changes = |kit: &mut Kit| field(&kit.cmd(c, "INFO persistence"), "rdb_changes_since_last_save");
    let start = changes(&mut kit);
    kit.now.unix_ms += 100;
    assert_eq!(kit.cmd(c, "HGET h a"), "$-1\r\n");
    assert_eq!(kit.cmd(c, "HRANDFIELD h"), "$1\r\nd\r\n");
    assert_eq!(kit.cmd(c, "HLEN h"), ":1\r\n");
    assert_eq!(changes(&mut kit), start);
}

fn calls(kit: &mut Kit, c: keystead_engine::SessionId, command: &str) -> String {
    let stats = kit.cmd(c, "INFO commandstats");
    stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap_or_default().to_owned()
}

/// Redis 7.2 (#11012): however its wait ends, and never before.
#[test]
fn a_command_that_waits_counts_once_when_it_is_done() {
    let mut kit = Kit::with(EngineOptions { clock: Some(slow_clock), ..EngineOptions::default() });
    let (c, other) = (kit.connect(), kit.connect());
    kit.cmd(other, "CONFIG SET slowlog-log-slower-than 0");
    kit.cmd(other, "SLOWLOG RESET");
    let logged = |kit: &mut Kit| kit.cmd(other, "SLOWLOG GET -1").matches("BLPOP").count();
    kit.cmd(c, "BLPOP k 0");
    assert_eq!(logged(&mut kit), 0);
    let other = kit.connect();
    assert_eq!(calls(&mut kit, other, "blpop"), "");
    kit.cmd(other, "RPUSH k a");
    assert!(kit.read(c).ends_with("a\r\n"));
    assert!(calls(&mut kit, other, "blpop").contains("calls=1,"));
    assert_eq!(logged(&mut kit), 1);

    let id = kit.cmd(c, "CLIENT ID").trim_start_matches(':').trim().to_owned();
    for (how, reply, counted) in [("TIMEOUT", "*-1\r\n", "failed_calls=0"), ("ERROR", "-UNBLOCKED ", "failed_calls=1")]
    {
        kit.cmd(other, "CONFIG RESETSTAT");
        kit.cmd(c, "BLPOP k 0");
        assert_eq!(kit.cmd(other, &format!("CLIENT UNBLOCK {id} {how}")), ":1\r\n");
        assert!(kit.read(c).starts_with(reply), "{how}");
        let stats = calls(&mut kit, other, "blpop");
        assert!(stats.contains("calls=1,") && stats.ends_with(counted), "{how}: {stats}");
        let errors = kit.cmd(other, "INFO errorstats");
        assert_eq!(errors.contains("errorstat_UNBLOCKED:count=1"), how == "ERROR", "{errors}");
    }
    assert_eq!(logged(&mut kit), 3);
}

#[test]
fn a_command_that_waited_is_refused_and_counted_by_what_holds_then() {
    let mut kit = Kit::default();
    let (c, waiting) = (kit.connect(), kit.connect());
    kit.cmd(c, "ACL SETUSER u on nopass +@all allkeys");
    assert_eq!(kit.cmd(waiting, "AUTH u x"), "+OK\r\n");
    kit.cmd(waiting, "BLPOP k 0");
    kit.cmd(c, "ACL SETUSER u resetkeys");
    kit.cmd(c, "LPUSH k a");
    assert!(kit.read(waiting).starts_with("-NOPERM No permissions to access a key"));
    assert!(calls(&mut kit, c, "blpop").ends_with("rejected_calls=1,failed_calls=0"));
}

/// What INFO calls clients' memory is what `maxmemory-clients` goes by.
#[test]
fn idle_clients_take_memory() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let alone = field(&kit.cmd(c, "INFO memory"), "mem_clients_normal");
    for _ in 0..99 {
        kit.connect();
    }
    let all = field(&kit.cmd(c, "INFO memory"), "mem_clients_normal");
    assert!(alone > 0 && all > 90 * alone, "{alone} and {all}");
    let list = kit.cmd(c, "CLIENT LIST");
    let told: u64 = list.split("tot-mem=").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum();
    assert!(all.abs_diff(told) < alone, "{all} and {told}");
}
