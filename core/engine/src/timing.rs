//! How long commands take: which of them are timed, and where that is noted: statistics, latency monitor, slow log.
//! Reads the engine's clock; never decides what a command does.

use keystead_keyspace::{Keyspace, UnixMillis};
use keystead_resp::{Args, OwnedArgs};

use crate::core::Core;
use crate::registry::Command;
use crate::session::State;
use crate::spec::{FAST, PUBSUB, SKIP_SLOWLOG};

/// Of commands that take a fraction of a microsecond one of so many is timed: two looks at the clock cost a tenth of them.
const SAMPLED: u32 = 16;
/// More arguments than this, or more bytes of them, take time that must be seen.
const FEW_ARGS: usize = 16;
const FEW_BYTES: usize = 16 * 1024;
/// Constant time, though Redis doesn't flag them so.
const ALSO_BRIEF: &[&str] = &[
    "set",
    "setex",
    "psetex",
    "setbit",
    "getbit",
    "client|id",
    "client|getname",
    "object|encoding",
    "object|refcount",
    "object|freq",
    "object|idletime",
];
/// Flagged as fast, but they work off as much as is there: elements taken by count, entries trimmed or claimed, subscribers.
const NOT_BRIEF: &[&str] = &[
    "lpop",
    "rpop",
    "spop",
    "zpopmin",
    "zpopmax",
    "xadd",
    "xautoclaim",
    "publish",
    "spublish",
    "unlink",
    "auth",
    "hello",
];

/// When a command was started, and for how many like it it stands.
#[derive(Clone, Copy)]
pub(crate) struct Started {
    at_us: u64,
    stands_for: u64,
}

/// Whether a command (by its full name) with few arguments takes a fraction of a microsecond, whatever it finds.
pub(crate) fn is_brief(name: &str, is_fast: bool) -> bool {
    if is_fast { !NOT_BRIEF.contains(&name) } else { ALSO_BRIEF.contains(&name) }
}

/// Looks at the clock before a command, if it is timed.
#[inline]
pub(crate) fn start(core: &mut Core, command: &Command, args: Args<'_>) -> Option<Started> {
    // A message to nobody is brief as well.
    if command.brief || command.flags.has(PUBSUB) && command.flags.has(FAST) && core.pubsub.is_empty() {
        return start_brief(core, args);
    }
    Some(Started { at_us: core.clock?(), stands_for: 1 })
}

/// The same before a brief one. A slow log or a latency monitor with a fine threshold wants all.
#[inline]
pub(crate) fn start_brief(core: &mut Core, args: Args<'_>) -> Option<Started> {
    let clock = core.clock?;
    let live = &core.config.live;
    let all = live.slower_than_us <= 1000 || live.latency_threshold_ms != 0;
    if all || args.len() > FEW_ARGS || args.span() > FEW_BYTES {
        return Some(Started { at_us: clock(), stands_for: 1 });
    }
    core.sample = core.sample.wrapping_add(1);
    core.sample.is_multiple_of(SAMPLED).then(|| Started { at_us: clock(), stands_for: u64::from(SAMPLED) })
}

/// Behind a command: notes how long it took, if it was timed; gives that in microseconds.
#[inline]
pub(crate) fn end(
    core: &mut Core,
    state: &State,
    command: &'static Command,
    args: Args<'_>,
    started: Option<Started>,
) -> u64 {
    if let Some(started) = started {
        return stop(core, state, command, args, started);
    }
    if core.config.live.latency_tracking && core.clock.is_some() {
        core.stats.histogram(command.index).add_unmeasured();
    }
    0
}

fn stop(core: &mut Core, state: &State, command: &'static Command, args: Args<'_>, started: Started) -> u64 {
    let Some(clock) = core.clock else { return 0 };
    let usec = clock().saturating_sub(started.at_us);
    core.stats.commands[command.index].usec += usec * started.stands_for;
    note(core, state, command, args, usec);
    usec
}

/// Counts a command whose wait ended without its running again: its time was up, or somebody ended it (Redis 7.2 counts
/// a command that waits once, when it is done).
pub(crate) fn gave_up(core: &mut Core, state: &State, command: &'static Command, args: Args<'_>, failed: bool) {
    core.stats.total_commands += 1;
    let stats = &mut core.stats.commands[command.index];
    stats.calls += 1;
    stats.failed += u64::from(failed);
    note(core, state, command, args, 0);
}

/// Puts a command's time where it is asked for: histogram, latency events, slow log.
fn note(core: &mut Core, state: &State, command: &'static Command, args: Args<'_>, usec: u64) {
    if core.config.live.latency_tracking {
        core.stats.histogram(command.index).add(usec);
    }
    let latency_ms = core.config.live.latency_threshold_ms;
    if latency_ms > 0 && usec / 1000 >= latency_ms {
        let event = if command.flags.has(FAST) { "fast-command" } else { "command" };
        let now_s = core.now_ms() / 1000;
        core.latency.add(event, now_s, usec / 1000);
    }
    let threshold = core.config.live.slower_than_us;
    if threshold >= 0 && usec >= threshold as u64 && !command.flags.has(SKIP_SLOWLOG) {
        let hidden = crate::monitor::redact(&core.config, command, args);
        let args = hidden.as_ref().map_or(args, OwnedArgs::view);
        let (max, now_s) = (core.config.live.slowlog_len, core.now_ms() / 1000);
        core.slowlog.add(max, now_s, usec, args, &state.info.addr, &state.name);
    }
}

/// The clock stands still for a command, not for those behind a long one: who waits for a key that expired meanwhile
/// isn't served with it.
pub(crate) fn advance(ks: &mut Keyspace, core: &mut Core, ms: u64) {
    core.now.unix_ms += ms;
    core.now.mono_us += ms * 1000;
    ks.set_clocks(UnixMillis(core.now.unix_ms), core.steady_ms());
}
