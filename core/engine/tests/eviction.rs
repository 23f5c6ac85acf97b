//! `maxmemory`: what goes, what is refused, what replicas are told. Memory here is what the keyspace counts, so the tests
//! know it to the byte.

mod kit;

use keystead_engine::journal::{CursorClass, Read};
use keystead_engine::{ApplyState, EngineOptions, Gate, OwnedArgs, SessionId};
use kit::Kit;
use std::sync::atomic::{AtomicU64, Ordering};

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

fn limited(policy: &str) -> (Kit, SessionId) {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.cmd(id, "CONFIG SET maxmemory 300kb");
    assert_eq!(kit.cmd(id, &format!("CONFIG SET maxmemory-policy {policy}")), "+OK\r\n");
    (kit, id)
}

fn used(kit: &Kit) -> usize {
    kit.engine.ks.mem_bytes()
}

fn stat(kit: &mut Kit, id: SessionId, name: &str) -> u64 {
    let info = kit.cmd(id, "INFO everything");
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect("a field");
    line.parse().expect("a number")
}

#[test]
fn every_policy_keeps_memory_below_its_limit() {
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        let (mut kit, id) = limited(policy);
        for n in 0..5000 {
            kit.cmd(id, "PING");
            assert!(used(&kit) <= 300 * 1024, "{policy} at {n}: {}", used(&kit));
            assert_eq!(kit.cmd(id, &format!("SET key:{n} {} EX 1000", "x".repeat(100))), "+OK\r\n", "{policy} at {n}");
        }
        let (evicted, left) = (stat(&mut kit, id, "evicted_keys"), kit.engine.ks.len(0) as u64);
        assert!(evicted > 1000, "{policy}: {evicted}");
        assert_eq!(evicted + left, 5000, "{policy}");
    }
}

#[test]
fn without_anything_to_evict_commands_that_need_memory_are_refused() {
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
        let (mut kit, id) = limited(policy);
        let mut n = 0;
        while kit.cmd(id, &format!("SET key:{n} {}", "x".repeat(200))) == "+OK\r\n" {
            n += 1;
            assert!(n < 3000, "{policy} never refuses");
        }
        assert_eq!(kit.cmd(id, "SET a b"), OOM, "{policy}");
        assert_eq!(kit.cmd(id, "LPUSH a b"), OOM, "{policy}");
        assert_eq!(kit.cmd(id, "STRLEN key:0"), ":200\r\n", "{policy}: reading goes on");
        assert_eq!(kit.cmd(id, "EXPIRE key:1 1000"), ":1\r\n", "{policy}: so does what needs no memory");
        assert_eq!(stat(&mut kit, id, "evicted_keys"), u64::from(policy != "noeviction"), "{policy}");
        kit.cmd(id, "DEL key:0 key:1 key:2 key:3 key:4");
        assert_eq!(kit.cmd(id, "SET a b"), "+OK\r\n", "{policy}");
    }
}

#[test]
fn a_transaction_is_refused_while_it_is_queued_and_when_it_runs() {
    let (mut kit, id) = limited("noeviction");
    let other = kit.connect();
    kit.cmd(other, "MULTI");
    assert_eq!(kit.cmd(other, "SET early v"), "+QUEUED\r\n");
    let mut n = 0;
    while kit.cmd(id, &format!("SET key:{n} {}", "x".repeat(200))) == "+OK\r\n" {
        n += 1;
        assert!(n < 3000, "never refused");
    }
    assert_eq!(kit.cmd(id, "MULTI"), "+OK\r\n");
    assert_eq!(kit.cmd(id, "GET key:0"), OOM, "a queue takes memory, whatever is in it");
    assert!(kit.cmd(id, "EXEC").starts_with("-EXECABORT"));
    assert_eq!(kit.cmd(other, "EXEC"), format!("-EXECABORT Transaction discarded because of: {}", &OOM[1..]));
    assert_eq!(kit.cmd(id, "DISCARD"), "-ERR DISCARD without MULTI\r\n");
}

#[test]
fn what_is_evicted_is_told() {
    for (lazy, word) in [("no", "DEL"), ("yes", "UNLINK")] {
        let (mut kit, id) = limited("allkeys-lru");
        kit.cmd(id, &format!("CONFIG SET lazyfree-lazy-eviction {lazy}"));
        kit.cmd(id, "CONFIG SET notify-keyspace-events Ee");
        kit.cmd(id, "CONFIG SET maxmemory 0");
        let cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("a cursor");
        let listener = kit.connect();
        kit.cmd(listener, "SUBSCRIBE __keyevent@0__:evicted");
        for n in 0..4000 {
            kit.cmd(id, &format!("SET key:{n} {}", "x".repeat(100)));
        }
        kit.cmd(id, "CONFIG SET maxmemory 480kb");
        kit.cmd(id, "PING");
        let heard = kit.read(listener).matches("__keyevent@0__:evicted").count() as u64;
        let evicted = stat(&mut kit, id, "evicted_keys");
        assert!(heard > 0 && heard <= evicted, "{heard} of {evicted}");
        let mut bytes = Vec::new();
        while let Read::Data(pieces) = kit.engine.core.journal.read(cursor, 1 << 20) {
            pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(&format!("${}\r\n{word}\r\n", word.len())), "{lazy}: {}", text.len());
        assert!(!text.contains("MULTI"), "each is a unit of its own");
    }
}

#[test]
fn a_large_debt_is_paid_in_parts() {
    let (mut kit, id) = limited("allkeys-random");
    kit.cmd(id, "CONFIG SET maxmemory 0");
    for n in 0..6000 {
        kit.cmd(id, &format!("SET key:{n} {}", "x".repeat(100)));
    }
    kit.cmd(id, "CONFIG SET maxmemory 300kb");
    let before = kit.engine.ks.len(0);
    assert_eq!(kit.cmd(id, "SET one more"), "+OK\r\n", "while evicting goes on, writers go on");
    assert!(before - kit.engine.ks.len(0) < 200, "one command waits for few keys");
    (0..200).for_each(|_| kit.advance(10));
    assert!(used(&kit) <= 300 * 1024, "{}", used(&kit));
}

#[test]
fn a_replica_leaves_it_to_its_primary() {
    let (mut kit, id) = limited("allkeys-lru");
    kit.engine.core.gates.set(Gate::Replica, true);
    for n in 0..4000 {
        kit.cmd(id, &format!("SET key:{n} {}", "x".repeat(100)));
    }
    assert_eq!(stat(&mut kit, id, "evicted_keys"), 0);
    kit.cmd(id, "CONFIG SET replica-ignore-maxmemory no");
    kit.cmd(id, "PING");
    assert!(stat(&mut kit, id, "evicted_keys") > 0);
}

#[test]
fn frequency_and_idle_time_answer_under_their_policies_only() {
    let (mut kit, id) = limited("allkeys-lru");
    kit.cmd(id, "SET k v");
    kit.advance(5000);
    assert_eq!(kit.cmd(id, "OBJECT IDLETIME k"), ":5\r\n");
    assert!(kit.cmd(id, "OBJECT FREQ k").starts_with("-ERR An LFU maxmemory policy is not selected"));
    kit.cmd(id, "CONFIG SET maxmemory-policy allkeys-lfu");
    kit.cmd(id, "SET fresh v");
    assert_eq!(kit.cmd(id, "OBJECT FREQ fresh"), ":5\r\n");
    assert!(kit.cmd(id, "OBJECT IDLETIME k").starts_with("-ERR An LFU maxmemory policy is selected"));
    for key in ["FREQ", "IDLETIME"] {
        assert_eq!(kit.cmd(id, &format!("OBJECT {key} none")), "$-1\r\n");
    }
    kit.advance(2 * 60_000);
    assert_eq!(kit.cmd(id, "OBJECT FREQ fresh"), ":3\r\n");
    kit.cmd(id, "CONFIG SET lfu-decay-time 0");
    assert_eq!(kit.cmd(id, "OBJECT FREQ fresh"), ":5\r\n");
}

/// What is told of keys that went takes memory too: 10 clients that cached a key of 1 kB get 10 kB for it.
#[test]
fn words_about_evicted_keys_ask_for_no_more_of_them() {
    let used_memory = Some((|| 1_000_000) as fn() -> u64);
    let mut kit = Kit::with(EngineOptions { used_memory, ..EngineOptions::default() });
    let id = kit.connect();
    for n in 0..300 {
        kit.cmd(id, &format!("SET key:{n}:{} v", "x".repeat(1000)));
    }
    kit.cmd(id, "CONFIG SET maxmemory-eviction-tenacity 100");
    kit.cmd(id, "CONFIG SET maxmemory-policy allkeys-lru");
    kit.cmd(id, "CONFIG SET maxmemory 960000");
    kit.cmd(id, "GET none");
    let left = kit.engine.ks.len(0);
    assert!((250..290).contains(&left), "{left} of 300 after 40 kB were asked for");
}

/// What the allocator has out, as the next test says it.
static OUT: AtomicU64 = AtomicU64::new(0);

/// A big value is freed by another thread behind the reply to DEL: until it has, its bytes evict nothing and refuse nothing.
#[test]
fn what_is_being_freed_takes_no_room() {
    for policy in ["noeviction", "allkeys-lru"] {
        let used_memory = Some((|| OUT.load(Ordering::Relaxed)) as fn() -> u64);
        let mut kit = Kit::with(EngineOptions { used_memory, ..EngineOptions::default() });
        let id = kit.connect();
        kit.cmd(id, "SETRANGE big 5000000 x");
        kit.cmd(id, "SET small v");
        kit.cmd(id, &format!("CONFIG SET maxmemory 4000000 maxmemory-policy {policy}"));
        OUT.store(6_000_000, Ordering::Relaxed);
        kit.engine.begin_turn(kit.now);
        let _ = kit.engine.execute(id, ["DEL", "big"].iter().collect::<OwnedArgs>().view());
        let end = kit.engine.end_turn();
        kit.read(id);
        assert!(!end.garbage.is_empty());
        assert_eq!(kit.cmd(id, "SET other v"), "+OK\r\n", "{policy}");
        assert_eq!(kit.cmd(id, "EXISTS small"), ":1\r\n", "{policy}");
        // Freed, and what is in use is too much all the same.
        drop(end);
        assert_eq!(kit.cmd(id, "SET more v"), OOM, "{policy}");
        let kept = i64::from(policy == "noeviction");
        assert_eq!(kit.cmd(id, "EXISTS small"), format!(":{kept}\r\n"), "{policy}");
    }
}

/// What the allocator has out, as the next test says it.
static COPIED: AtomicU64 = AtomicU64::new(0);

/// A snapshot's copies are no data, and stay none when a setting changes meanwhile.
#[test]
fn what_a_snapshot_copied_evicts_nothing_whatever_is_set() {
    let used_memory = Some((|| COPIED.load(Ordering::Relaxed)) as fn() -> u64);
    let mut kit = Kit::with(EngineOptions { used_memory, ..EngineOptions::default() });
    let id = kit.connect();
    kit.cmd(id, "SET small v");
    COPIED.store(3_000_000, Ordering::Relaxed);
    kit.cmd(id, "CONFIG SET maxmemory 4000000 maxmemory-policy allkeys-lru");
    kit.turn(|engine| engine.ks.begin_cut()).expect("one of two");
    kit.cmd(id, "SET small w");
    COPIED.store(6_000_000, Ordering::Relaxed);
    assert_eq!(kit.cmd(id, "SET other v"), "+OK\r\n");
    kit.cmd(id, "CONFIG SET slowlog-max-len 100");
    assert_eq!(kit.cmd(id, "SET more v"), "+OK\r\n");
    assert_eq!((kit.cmd(id, "DBSIZE").as_str(), stat(&mut kit, id, "evicted_keys")), (":3\r\n", 0));
}

/// What the allocator has out, as the next test says it.
static UNLIMITED: AtomicU64 = AtomicU64::new(0);

/// Nor do keys go for a snapshot's copies when the limit comes while it is read.
#[test]
fn a_limit_that_comes_during_a_snapshot_knows_what_was_copied() {
    let used_memory = Some((|| UNLIMITED.load(Ordering::Relaxed)) as fn() -> u64);
    for command in [None, Some("KEYS *")] {
        UNLIMITED.store(3_000_000, Ordering::Relaxed);
        let mut kit = Kit::with(EngineOptions { used_memory, ..EngineOptions::default() });
        let id = kit.connect();
        (0..11_000).for_each(|n| _ = kit.cmd(id, &format!("SET key:{n} v")));
        match command {
            None => _ = kit.turn(|engine| engine.begin_snapshot(None)).expect("the first"),
            Some(command) => {
                let reader = kit.connect();
                kit.cmd(reader, command);
            }
        }
        assert!(kit.engine.ks.has_cut());
        kit.cmd(id, "SET key:1 w");
        UNLIMITED.store(6_000_000, Ordering::Relaxed);
        kit.cmd(id, "CONFIG SET maxmemory 4000000 maxmemory-policy allkeys-lru");
        assert_eq!(kit.cmd(id, "SET other v"), "+OK\r\n");
        assert_eq!((kit.cmd(id, "DBSIZE").as_str(), stat(&mut kit, id, "evicted_keys")), (":11001\r\n", 0));
    }
}

/// A key that went would come back with what a later line of the file says of it.
#[test]
fn nothing_is_evicted_while_data_is_loaded() {
    const KEYS: usize = 2000;
    for gate in [Gate::Starting, Gate::Loading, Gate::AsyncLoading] {
        let (mut kit, id) = limited("allkeys-random");
        kit.engine.gates().set(gate, true);
        let mut file = ApplyState::of_file();
        for _ in 0..2 {
            for n in 0..KEYS {
                let line = format!("INCR c:{n}\r\nSET v:{n} {}\r\n", "x".repeat(200));
                assert_eq!(kit.turn(|engine| engine.replay(&mut file, line.as_bytes())), Ok(()));
                if n % 100 == 0 {
                    kit.advance(100);
                    kit.cmd(id, "PING");
                }
            }
        }
        assert!(used(&kit) > 300 * 1024, "{gate:?}");
        assert_eq!(kit.engine.ks.len(0), 2 * KEYS, "{gate:?}");
        kit.engine.gates().set(gate, false);
        for n in (0..KEYS).step_by(500) {
            kit.cmd(id, "CONFIG SET maxmemory 0");
            assert_eq!(kit.cmd(id, &format!("GET c:{n}")), "$1\r\n2\r\n", "{gate:?}");
        }
        kit.cmd(id, "CONFIG SET maxmemory 300kb");
        kit.advance(100);
        assert!(stat(&mut kit, id, "evicted_keys") > 0, "{gate:?}");
    }
}

/// Candidates whose time is up are room too: they go, and others after them.
#[test]
fn keys_that_have_just_expired_are_no_reason_to_refuse() {
    for policy in ["volatile-ttl", "volatile-lru", "allkeys-lru", "allkeys-random"] {
        let (mut kit, id) = limited(policy);
        kit.cmd(id, "DEBUG SET-ACTIVE-EXPIRE 0");
        for n in 0..1500 {
            assert_eq!(kit.cmd(id, &format!("SET key:{n} {} PX 1000", "x".repeat(100))), "+OK\r\n", "{policy}");
        }
        let cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("a cursor");
        kit.now.unix_ms += 2000;
        let (before, evicted) = (kit.engine.ks.len(0) as u64, stat(&mut kit, id, "evicted_keys"));
        let limit = used(&kit) - 1000;
        kit.cmd(id, &format!("CONFIG SET maxmemory {limit}"));
        for n in 0..500 {
            assert_eq!(kit.cmd(id, &format!("SET new:{n} {}", "x".repeat(100))), "+OK\r\n", "{policy} at {n}");
        }
        let expired = stat(&mut kit, id, "expired_keys");
        let evicted = stat(&mut kit, id, "evicted_keys") - evicted;
        assert!(expired > 100, "{policy}: {expired}");
        assert_eq!(expired + evicted + kit.engine.ks.len(0) as u64, before + 500, "{policy}");
        // Each of them is told.
        let mut bytes = Vec::new();
        while let Read::Data(pieces) = kit.engine.core.journal.read(cursor, 1 << 20) {
            pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        let told = String::from_utf8_lossy(&bytes).matches("\r\nDEL\r\n").count() as u64;
        assert_eq!(told, expired + evicted, "{policy}");
    }
}
