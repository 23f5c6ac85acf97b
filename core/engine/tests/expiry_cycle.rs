//! How long a tick deletes expired keys: telling of them counts, and what is left goes on soon.

mod kit;

use keystead_engine::EngineOptions;
use kit::Kit;
use std::cell::Cell;

const KEYS: usize = 4000;

thread_local! {
    static TIME_US: Cell<u64> = const { Cell::new(0) };
    /// What passes from one look at the clock to the next.
    static PASSES_US: Cell<u64> = const { Cell::new(0) };
}

fn clock() -> u64 {
    TIME_US.set(TIME_US.get() + PASSES_US.get());
    TIME_US.get()
}

/// A server with keys that are all due at the next tick, and listeners.
fn due(listeners: usize) -> (Kit, Vec<keystead_engine::SessionId>) {
    let mut kit = Kit::with(EngineOptions { clock: Some(clock), ..EngineOptions::default() });
    let client = kit.connect();
    kit.cmd(client, "CONFIG SET notify-keyspace-events KEA");
    const TTL_MS: u64 = 100_000;
    for from in (0..KEYS).step_by(500) {
        let lines: String = (from..from + 500).map(|n| format!("SET key:{n} v PX {TTL_MS}\r\n")).collect();
        kit.send(client, lines);
    }
    let listeners = (0..listeners).map(|_| kit.connect()).collect::<Vec<_>>();
    for id in &listeners {
        kit.cmd(*id, "PSUBSCRIBE __keyevent*");
    }
    kit.later(TTL_MS + 1);
    (kit, listeners)
}

fn tick(kit: &mut Kit) -> Option<u64> {
    let next = kit.turn(|engine| engine.tick());
    next.map(|at| at - kit.now.mono_ms())
}

#[test]
fn a_tick_ends_when_its_time_is_up_and_goes_on_soon() {
    let (mut kit, listeners) = due(3);
    let (mut left, mut ticks) = (KEYS, 0);
    PASSES_US.set(400);
    while left > 0 {
        let next = tick(&mut kit);
        let now_left = kit.engine.ks.len(0);
        // The look that found the time up was at most the eighth.
        assert!((1..400).contains(&(left - now_left)), "{} in one tick", left - now_left);
        assert!(next.is_some_and(|ms| ms <= 5) || now_left == 0, "{next:?}");
        for id in &listeners {
            let told = kit.read(*id).matches(":expired").count();
            assert_eq!(told, left - now_left, "in the same turn");
        }
        left = now_left;
        ticks += 1;
    }
    assert!(ticks > KEYS / 400);
    PASSES_US.set(0);
}

#[test]
fn a_tick_that_takes_no_time_deletes_thousands() {
    let (mut kit, _) = due(0);
    tick(&mut kit);
    assert_eq!(kit.engine.ks.len(0), 0);
}
