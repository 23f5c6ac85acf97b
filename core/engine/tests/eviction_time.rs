//! How long eviction holds up a command, a turn and a tick, and that what they leave goes soon.

mod kit;

use keystead_engine::{EngineOptions, SessionId};
use kit::Kit;
use std::cell::Cell;

const KEYS: usize = 20_000;

thread_local! {
    static TIME_US: Cell<u64> = const { Cell::new(0) };
    /// What passes from one look at the clock to the next: for 16 keys.
    static PASSES_US: Cell<u64> = const { Cell::new(0) };
}

fn clock() -> u64 {
    TIME_US.set(TIME_US.get() + PASSES_US.get());
    TIME_US.get()
}

/// A server with many keys, nearly all of which are too much, where 16 keys take so long.
fn indebted(tenacity: u64, passes_us: u64) -> (Kit, SessionId) {
    let mut kit = Kit::with(EngineOptions { clock: Some(clock), ..EngineOptions::default() });
    let id = kit.connect();
    kit.cmd(id, &format!("CONFIG SET maxmemory-policy allkeys-random maxmemory-eviction-tenacity {tenacity}"));
    for from in (0..KEYS).step_by(500) {
        let lines: String = (from..from + 500).map(|n| format!("SET key:{n} {}\r\n", "x".repeat(40))).collect();
        kit.send(id, lines);
    }
    kit.cmd(id, &format!("CONFIG SET maxmemory {}", kit.engine.ks.mem_bytes() / 20));
    PASSES_US.set(passes_us);
    (kit, id)
}

/// How many keys go meanwhile.
fn evicted(kit: &mut Kit, body: impl FnOnce(&mut Kit)) -> usize {
    kit.now.mono_us += 1000;
    let before = kit.engine.ks.evicted_total();
    body(kit);
    (kit.engine.ks.evicted_total() - before) as usize
}

#[test]
fn a_command_waits_as_long_as_tenacity_says() {
    for (tenacity, passes_us, keys) in
        [(10, 10, 51 * 16), (10, 50, 11 * 16), (10, 600, 16), (0, 10, 16), (5, 10, 26 * 16), (20, 10, 203 * 16)]
    {
        let (mut kit, id) = indebted(tenacity, passes_us);
        let gone = evicted(&mut kit, |kit| assert_eq!(kit.cmd(id, "SET a b"), "+OK\r\n", "nobody is refused"));
        assert_eq!(gone, keys, "tenacity {tenacity}, {passes_us} us for 16 keys");
        PASSES_US.set(0);
    }
}

#[test]
fn a_tick_goes_on_for_its_time_and_comes_back_at_once() {
    let (mut kit, _) = indebted(10, 10);
    let limit = kit.engine.core.config.int("maxmemory") as usize;
    let mut ticks = 0;
    while kit.engine.ks.mem_bytes() > limit {
        let mut next = None;
        let gone = evicted(&mut kit, |kit| next = kit.turn(|engine| engine.tick()));
        // Two milliseconds, and the look that found them over.
        assert!((1..=202 * 16).contains(&gone), "{gone} in one tick");
        let over = kit.engine.ks.mem_bytes() > limit;
        assert_eq!(next, over.then_some(kit.now.mono_ms() + 1));
        ticks += 1;
        assert!(ticks <= KEYS, "it ends");
    }
    assert!((4..12).contains(&ticks), "{ticks}");
    PASSES_US.set(0);
}

/// Each of its commands could wait half a millisecond: the turn takes a few all the same, and memory grows no further.
#[test]
fn a_deep_pipeline_pays_its_own_way_when_its_turn_has_paid_enough() {
    let (mut kit, id) = indebted(10, 10);
    let before = kit.engine.ks.mem_bytes();
    let gone = evicted(&mut kit, |kit| {
        let lines: String = (0..500).map(|n| format!("SET new:{n} {}\r\n", "y".repeat(40))).collect();
        kit.send(id, lines);
    });
    // At the first eight commands, and one key or two for each of the others.
    assert!((8 * 51 * 16..9 * 51 * 16 + 1000).contains(&gone), "{gone}");
    assert!(kit.engine.ks.mem_bytes() < before * 4 / 5, "{} of {before}", kit.engine.ks.mem_bytes());
    // The next turn pays again.
    let next = evicted(&mut kit, |kit| _ = kit.cmd(id, "PING"));
    assert_eq!(next, 51 * 16);
    PASSES_US.set(0);
}
