//! What people look at when a server is slow or large: SLOWLOG, LATENCY, MEMORY, statistics of commands.

mod kit;

use std::sync::atomic::{AtomicU64, Ordering};

use keystead_engine::{ConnInfo, Engine, EngineOptions};
use kit::Kit;

static CLOCK: AtomicU64 = AtomicU64::new(0);

/// Every look at the clock finds it 5 ms later.
fn clock() -> u64 {
    CLOCK.fetch_add(5000, Ordering::Relaxed)
}

#[test]
fn slow_commands_are_kept() {
    let mut kit = Kit::default();
    kit.engine = Engine::new(EngineOptions { now: kit.now, clock: Some(clock), ..EngineOptions::default() });
    let c = kit.engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, kit.now).expect("accepted");
    assert_eq!(kit.cmd(c, "CONFIG SET latency-monitor-threshold 5"), "+OK\r\n");
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 5000");
    kit.cmd(c, "SET k v");
    kit.cmd(c, "AUTH default secret");
    let log = kit.cmd(c, "SLOWLOG GET");
    assert!(log.contains("$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"), "{log}");
    assert!(log.contains("(redacted)") && !log.contains("secret"), "{log}");
    assert!(kit.cmd(c, "LATENCY LATEST").contains("$12\r\nfast-command\r\n:1700000000\r\n:5\r\n:5\r\n"));
    assert_eq!(kit.cmd(c, "LATENCY HISTORY nothing"), "*0\r\n");
    assert!(kit.cmd(c, "LATENCY DOCTOR").contains("latency spikes"));
    let graph = kit.cmd(c, "LATENCY GRAPH fast-command");
    assert!(graph.contains("fast-command - high 5 ms, low 5 ms (all time high 5 ms)\n"), "{graph}");
    assert_eq!(kit.cmd(c, "LATENCY GRAPH nothing"), "-ERR No samples available for event 'nothing'\r\n");
    let histogram = kit.cmd(c, "LATENCY HISTOGRAM set nope config");
    assert!(
        histogram.starts_with(
            "*4\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n*2\r\n:8454\r\n:1\r\n"
        )
    );
    assert!(histogram.contains("$10\r\nconfig|set\r\n"), "{histogram}");
    let info = kit.cmd(c, "INFO latencystats");
    assert!(info.contains("latency_percentiles_usec_set:p50=5013"), "{info}");
    kit.cmd(c, "CONFIG SET latency-tracking-info-percentiles \"50 99.99\"");
    assert!(kit.cmd(c, "INFO latencystats").contains(",p99.99=5"));
    assert!(kit.cmd(c, "CONFIG SET latency-tracking-info-percentiles 101").starts_with("-ERR CONFIG SET failed"));
    let count = kit.cmd(c, "LATENCY RESET");
    assert!(count == ":2\r\n" || count == ":1\r\n", "{count}");
    assert!(kit.cmd(c, "INFO commandstats").contains("cmdstat_set:calls=1,usec=5000,usec_per_call=5000.00"));
}

#[test]
fn a_shorter_slow_log_forgets_at_once() {
    let mut kit = Kit::default();
    kit.engine = Engine::new(EngineOptions { now: kit.now, clock: Some(clock), ..EngineOptions::default() });
    let c = kit.engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, kit.now).expect("accepted");
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 1000");
    (0..5).for_each(|_| drop(kit.cmd(c, "PING")));
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than -1 slowlog-max-len 3");
    assert_eq!(kit.cmd(c, "SLOWLOG LEN"), ":6\r\n", "one that is off is left alone");
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 1000000 slowlog-max-len 2");
    assert_eq!(kit.cmd(c, "SLOWLOG LEN"), ":2\r\n");
}

/// Commands that are over at once are timed now and then; one of them with much to do must not slip through.
#[test]
fn what_may_take_long_is_timed_each_time() {
    let mut kit = Kit::default();
    kit.engine = Engine::new(EngineOptions { now: kit.now, clock: Some(clock), ..EngineOptions::default() });
    let c = kit.engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, kit.now).expect("accepted");
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 5000");
    kit.cmd(c, "SLOWLOG RESET");
    let many: String = (0..20).map(|n| format!(" f{n} v")).collect();
    let long = "x".repeat(30_000);
    let logged = |kit: &mut Kit, word: &str| kit.cmd(c, "SLOWLOG GET 100").matches(&format!("\r\n{word}\r\n")).count();
    for line in [format!("HSET h{many}"), "LPOP l 1000".into(), format!("SET k {long}"), "ZPOPMIN z 1000".into()] {
        (0..3).for_each(|_| drop(kit.cmd(c, &line)));
        let word = line.split(' ').next().unwrap_or_default();
        assert_eq!(logged(&mut kit, word), 3, "{word}");
    }
    // With a threshold of a millisecond or less everything is timed.
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 1000");
    kit.cmd(c, "SLOWLOG RESET");
    (0..5).for_each(|_| drop(kit.cmd(c, "GET k")));
    assert_eq!(logged(&mut kit, "GET"), 5);
}

#[test]
fn memory_and_time() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET k v");
    let usage = kit.cmd(c, "MEMORY USAGE k SAMPLES 0");
    let bytes: u64 = usage.trim().trim_start_matches(':').parse().expect("a number");
    assert!((8..200).contains(&bytes), "{bytes}");
    assert_eq!(kit.cmd(c, "MEMORY USAGE none"), "$-1\r\n");
    assert_eq!(kit.cmd(c, "MEMORY USAGE k SAMPLES"), "-ERR syntax error\r\n");
    // One that has expired is still there, and neither question deletes it.
    kit.cmd(c, "PEXPIRE k 10");
    kit.now.unix_ms += 11;
    assert_eq!(kit.cmd(c, "MEMORY USAGE k"), kit.cmd(c, "MEMORY USAGE k"));
    assert_eq!(kit.cmd(c, "WATCH k"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "DBSIZE"), ":1\r\n");
    kit.now.unix_ms -= 11;
    kit.cmd(c, "PERSIST k");
    assert!(kit.cmd(c, "MEMORY STATS").contains("keys.count\r\n:1\r\n"));
    assert_eq!(kit.cmd(c, "TIME"), "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n");
    assert!(kit.cmd(c, "LOLWUT VERSION 5").contains("Redis ver. 7.2.4"));
}
