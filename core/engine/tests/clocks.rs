//! The time of day is set, back or forward: what waits and what lasts goes on, what expires goes by it.

mod kit;

use keystead_engine::limits::Buffers;
use keystead_engine::pause::{Pause, Pauser};
use keystead_engine::{EngineOptions, SessionId};
use kit::Kit;

const HOUR_MS: u64 = 3_600_000;

/// A server that has run for a while, and a client of it.
fn kit() -> (Kit, SessionId) {
    let mut kit = Kit::with(EngineOptions::default());
    kit.later(7_200_000);
    let c = kit.connect();
    (kit, c)
}

fn set_back(kit: &mut Kit) {
    kit.now.unix_ms -= HOUR_MS;
}

fn set_forward(kit: &mut Kit) {
    kit.now.unix_ms += HOUR_MS;
}

const SETTINGS: [fn(&mut Kit); 2] = [set_back, set_forward];

#[test]
fn a_wait_lasts_as_long_as_was_said() {
    for set in SETTINGS {
        let (mut kit, c) = kit();
        kit.cmd(c, "BLPOP queue 2");
        set(&mut kit);
        kit.advance(1_900);
        assert_eq!(kit.read(c), "");
        assert_eq!(kit.turn(|engine| engine.tick()), Some(kit.now.mono_ms() + 100));
        kit.advance(100);
        assert_eq!(kit.read(c), "*-1\r\n");
    }
}

#[test]
fn a_pause_lasts_as_long_as_was_said() {
    type Begin = fn(&mut Kit);
    let begins: [Begin; 2] = [
        |kit| {
            let admin = kit.connect();
            kit.cmd(admin, "CLIENT PAUSE 2000 WRITE");
        },
        |kit| {
            let until = kit.now.unix_ms + 2_000;
            kit.turn(|engine| engine.pause(Pauser::Plugin("p"), Pause::Write, until));
        },
    ];
    for (begin, set) in begins.into_iter().flat_map(|begin| SETTINGS.map(|set| (begin, set))) {
        let (mut kit, c) = kit();
        begin(&mut kit);
        set(&mut kit);
        assert_eq!(kit.cmd(c, "SET k v"), "");
        kit.advance(1_900);
        assert_eq!(kit.read(c), "");
        kit.advance(200);
        assert_eq!(kit.read(c), "+OK\r\n");
    }
}

#[test]
fn who_is_idle_is_closed_in_time_and_nobody_else() {
    for set in SETTINGS {
        let (mut kit, c) = kit();
        kit.cmd(c, "CONFIG SET timeout 10");
        set(&mut kit);
        kit.advance(5_000);
        assert_eq!(kit.closed, []);
        assert!(kit.cmd(c, "CLIENT LIST").contains(" age=5 idle=0 "));
        kit.advance(11_000);
        assert_eq!(kit.closed, [c]);
    }
}

#[test]
fn who_reads_too_slowly_is_closed_in_time() {
    for set in SETTINGS {
        let (mut kit, c) = kit();
        let slow = kit.connect();
        kit.cmd(c, "CONFIG SET client-output-buffer-limit \"normal 0 1000 10\"");
        kit.turn(|engine| engine.report_buffers(slow, Buffers { unsent: 2_000, ..Buffers::default() }));
        set(&mut kit);
        kit.advance(9_000);
        assert_eq!(kit.closed, []);
        kit.advance(2_000);
        assert_eq!(kit.closed, [slow]);
    }
}

#[test]
fn keys_are_as_idle_and_as_popular_as_they_were() {
    for set in SETTINGS {
        let (mut kit, c) = kit();
        kit.cmd(c, "SET k v");
        set(&mut kit);
        kit.later(3_000);
        assert_eq!(kit.cmd(c, "OBJECT IDLETIME k"), ":3\r\n");
        kit.cmd(c, "CONFIG SET maxmemory-policy allkeys-lfu");
        kit.cmd(c, "SET counted v");
        set(&mut kit);
        assert_eq!(kit.cmd(c, "OBJECT FREQ counted"), ":5\r\n");
    }
}

/// As in Redis a deadline is a time of day.
#[test]
fn keys_expire_by_the_time_of_day() {
    let (mut kit, c) = kit();
    kit.cmd(c, "SET k v PX 1000");
    set_back(&mut kit);
    kit.advance(2_000);
    assert_eq!(kit.cmd(c, "GET k"), "$1\r\nv\r\n");
    set_forward(&mut kit);
    assert_eq!(kit.cmd(c, "GET k"), "$-1\r\n");
}
