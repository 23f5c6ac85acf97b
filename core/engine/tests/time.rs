//! The time of day in microseconds: what TIME, MONITOR and INFO show of it, and for how long it stands still.

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keystead_engine::foreign::{ForeignBody, ForeignCommand};
use keystead_engine::registry::OwnedSpec;
use keystead_engine::resp::Proto;
use keystead_engine::script::{self, ScriptCall};
use keystead_engine::spec::{Flags, Group, KeySpec};
use keystead_engine::{Args, BusyTurn, CommandResult, Ctx, Effect, EngineOptions, Origin, OwnedArgs, Targets};
use kit::Kit;

static CLOCK: AtomicU64 = AtomicU64::new(1_700_000_000_123_456);

/// Every look at the clock finds it a little later.
fn wall_clock() -> u64 {
    CLOCK.fetch_add(7, Ordering::Relaxed)
}

/// `SCRIPT words, …`: calls the words between commas as a script does; the word BUSY lets others get a word in.
struct Script;

impl ForeignCommand for Script {
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
        let mut how = ScriptCall {
            db: ctx.db(),
            proto: Proto::Resp2,
            read_only: false,
            allow_oom: false,
            wrote: false,
            targets: Targets::ALL,
        };
        let words: Vec<&[u8]> = args.iter().skip(1).collect();
        let mut replies = Vec::new();
        for command in words.split(|word| *word == b",") {
            if command == [b"BUSY"] {
                drop(BusyTurn::begin(ctx.ks, ctx.core, "BUSY wait"));
                continue;
            }
            let command: OwnedArgs = command.iter().collect();
            script::call(ctx, &mut how, command.view(), &mut replies)?;
        }
        ctx.reply.raw(&replies);
        Ok(Effect::None)
    }
}

fn kit() -> Kit {
    let mut kit = Kit::with(EngineOptions { wall_clock: Some(wall_clock), ..EngineOptions::default() });
    let spec = OwnedSpec {
        name: "script".to_owned(),
        arity: -2,
        flags: Flags(0),
        keys: KeySpec::None,
        group: Group::Scripting,
        since: "1.0.0".to_owned(),
        summary: "A test.".to_owned(),
        page: String::new(),
        categories: Vec::new(),
    };
    // The core has no SCRIPT of its own: it is a plugin's.
    kit.engine.register_command("test", spec, ForeignBody::Sync(Arc::new(Script)), false).expect("a new name");
    kit
}

/// The times of day in a reply, in microseconds.
fn times(reply: &str) -> Vec<u64> {
    let numbers: Vec<u64> = reply.split("\r\n").filter_map(|line| line.parse().ok()).collect();
    numbers.chunks(2).map(|time| time[0] * 1_000_000 + time[1]).collect()
}

fn rise(times: &[u64]) -> bool {
    times.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn every_command_of_a_turn_has_its_own_time() {
    let mut kit = kit();
    let c = kit.connect();
    let seen = times(&kit.send(c, "TIME\r\n".repeat(100)));
    assert!(seen.len() == 100 && rise(&seen), "{seen:?}");
    let scripts = times(&kit.send(c, "SCRIPT TIME\r\n".repeat(100)));
    assert!(scripts.len() == 100 && rise(&scripts), "{scripts:?}");
    assert!(seen[99] < scripts[0] && seen.iter().any(|us| us % 1000 != 0));
}

#[test]
fn time_stands_still_inside_a_script_and_a_transaction() {
    let mut kit = kit();
    let c = kit.connect();
    let script = times(&kit.cmd(c, "SCRIPT TIME , SET k v , TIME"));
    let exec = times(&kit.send(c, "MULTI\r\nTIME\r\nSCRIPT TIME\r\nTIME\r\nEXEC\r\n").replace("*3\r\n", ""));
    assert!(script.len() == 2 && script[0] == script[1], "{script:?}");
    assert!(exec.len() == 3 && exec[0] == exec[1] && exec[1] == exec[2], "{exec:?}");
    assert!(script[0] < exec[0]);
}

/// Nor for a plugin's unit in a later turn: what the last command was told is over.
#[test]
fn what_was_told_does_not_last_beyond_its_turn() {
    let mut kit = kit();
    let c = kit.connect();
    let before = times(&kit.cmd(c, "TIME"));
    let unit = kit.turn(|engine| {
        engine.atomic(|engine| {
            let first = engine.exec(0, &[b"TIME"], Origin::Internal, Proto::Resp2);
            [first, engine.exec(0, &[b"TIME"], Origin::Internal, Proto::Resp2)].concat()
        })
    });
    let unit = times(&String::from_utf8(unit).expect("ascii"));
    assert!(before[0] < unit[0] && unit[0] == unit[1], "{before:?} {unit:?}");
}

/// A script that waits for a moment must see it come. Deadlines stay where they are.
#[test]
fn time_goes_on_for_a_script_that_lets_others_get_a_word_in() {
    let mut kit = kit();
    let c = kit.connect();
    kit.cmd(c, "SET k v PX 1");
    let reply = kit.cmd(c, "SCRIPT TIME , BUSY , TIME , TIME , PTTL k");
    let seen = times(reply.trim_end_matches(":1\r\n"));
    assert!(reply.ends_with(":1\r\n"), "{reply}");
    assert!(seen.len() == 3 && seen[0] < seen[1] && seen[1] == seen[2], "{seen:?}");
}

#[test]
fn monitor_and_info_show_microseconds() {
    let mut kit = kit();
    let (monitor, c) = (kit.connect(), kit.connect());
    kit.cmd(monitor, "MONITOR");
    kit.send(c, "GET a\r\nGET b\r\nGET c\r\n");
    let stamp = |line: &str| line.strip_prefix('+')?.split_once(" [")?.0.replace('.', "").parse::<u64>().ok();
    let stamps: Vec<u64> = kit.read(monitor).lines().filter_map(stamp).collect();
    assert!(stamps.len() == 3 && rise(&stamps), "{stamps:?}");
    let info = kit.cmd(c, "INFO server");
    let shown = info.lines().find_map(|line| line.strip_prefix("server_time_usec:")?.trim().parse::<u64>().ok());
    assert!(shown.is_some_and(|us| us > stamps[2] && us < wall_clock()), "{shown:?}");
}

/// Without a clock of its own an engine shows its turns' time.
#[test]
fn the_turns_time_must_do_without_a_clock() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(times(&kit.cmd(c, "TIME")), [kit.now.unix_ms * 1000]);
}
