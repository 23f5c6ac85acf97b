//! What is due without any command: expiry, timeouts, the end of a pause, limits of slow readers. Owns the schedule.

use keystead_keyspace::{ExpiryMode, ExpiryProgress, Keyspace};
use keystead_resp::Writer;

use crate::core::Core;
use crate::effect::Origin;
use crate::engine::{Engine, Flow};
use crate::exec;
use crate::gates::Gate;
use crate::pause::Pause;
use crate::session::{Kind, Parked, Session, SessionId};
use crate::timing;

/// What a cycle of expiry may cost, in entries looked at: two to three milliseconds where nobody is told of the keys.
const EXPIRE_BUDGET: usize = 150_000;

/// A cycle ends before this is over, whatever it did: telling replicas, files and listeners takes longer than deleting.
const EXPIRE_US: u64 = 2500;

/// The first step of a cycle: a few keys, for each may have thousands of listeners.
const EXPIRE_STEP: usize = 600;

/// A step that ends while this little of the cycle's time is used up is followed by one of twice its size.
const EXPIRE_EARLY_US: u64 = EXPIRE_US / 4;

/// A cycle of expiry that ends before its work goes on this much later at effort 1; higher efforts wait less.
const EXPIRE_AGAIN_MS: u64 = 5;

/// Pending entries of deleted consumers taken out per cycle, about a millisecond.
const TIDY_BUDGET: usize = 4000;

/// When taking out ends before its work does, it goes on this much later.
const TIDY_AGAIN_MS: u64 = 20;

/// The same for keys that are to be evicted, and for those that leave a full table of cached keys: memory is above a limit
/// meanwhile. Clients have a turn in between.
const EVICT_AGAIN_MS: u64 = 1;

pub(crate) fn tick(engine: &mut Engine) -> Option<u64> {
    let started = engine.core.clock.map(|clock| clock());
    let next = do_what_is_due(engine);
    if let Some((clock, started)) = engine.core.clock.zip(started) {
        engine.core.stats.cycles.ticked(clock().saturating_sub(started));
    }
    sample(engine);
    next
}

fn do_what_is_due(engine: &mut Engine) -> Option<u64> {
    let again_ms = if engine.core.cron_paused { None } else { tidy_keys(engine) };
    if engine.core.blocking.has_ready() {
        engine.serve_ready();
    }
    time_out_waiting(engine);
    end_pause_if_over(engine);
    if !engine.core.cron_paused {
        close_idle(engine);
    }
    engine.core.check_soft_limits();
    let now_ms = engine.core.mono_ms();
    engine.core.judge_readers();
    let pause_end = Some(engine.core.pause_until_ms).filter(|_| engine.core.pause != Pause::Off);
    let again = again_ms.map(|ms| now_ms + ms);
    [engine.core.blocking.next_deadline(), pause_end, again].into_iter().flatten().min()
}

/// Expires, evicts, and finishes what commands left; gives the milliseconds after which it goes on if more is due.
fn tidy_keys(engine: &mut Engine) -> Option<u64> {
    let expire_more = expire(engine);
    let tidy_more = engine.ks.tidy_groups(TIDY_BUDGET);
    let mut evict_more = evict(engine);
    engine.core.forget_some(usize::MAX);
    evict_more |= engine.core.tracking.is_over();
    let effort = u64::from(engine.core.config.live.expire_effort.max(1));
    let expire_again = expire_more.then_some((EXPIRE_AGAIN_MS / effort).max(1));
    let tidy_again = tidy_more.then_some(TIDY_AGAIN_MS);
    let evict_again = evict_more.then_some(EVICT_AGAIN_MS);
    [expire_again, tidy_again, evict_again].into_iter().flatten().min()
}

/// True if more keys are to go.
fn evict(engine: &mut Engine) -> bool {
    let Engine { ks, core } = engine;
    if core.config.live.memory.max == 0 {
        core.stats.over_memory.note(false, core.now.mono_us);
        return false;
    }
    let started = core.clock.map(|clock| clock());
    crate::evict::go_on(ks, core);
    core.note_latency("eviction-cycle", started);
    core.room.more
}

/// The active cycle: each key it deletes is a unit of its own. Replicas wait for their primary's DEL but for
/// what their own clients wrote. True if more is due.
fn expire(engine: &mut Engine) -> bool {
    let Engine { ks, core } = engine;
    let loading = core.gates.is(Gate::Loading) || core.gates.is(Gate::Starting);
    if !core.active_expire || loading || core.is_paused() {
        return false;
    }
    let started = core.clock.map(|clock| clock());
    let progress = if core.gates.is(Gate::Replica) {
        let progress = expire_own(ks, core);
        tell_expired(ks, core);
        progress
    } else {
        core.own_deadlines.clear();
        ks.set_expiry_mode(ExpiryMode::Delete);
        expire_in_steps(ks, core, started)
    };
    core.note_latency("expire-cycle", started);
    note_cycle(ks, core, &progress, started);
    progress.more
}

/// Deletes some keys and tells of them, then more, until the budget or the time is used up.
fn expire_in_steps(ks: &mut Keyspace, core: &mut Core, started: Option<u64>) -> ExpiryProgress {
    let (mut step, mut left) = (EXPIRE_STEP, EXPIRE_BUDGET);
    let (mut all, mut elapsed) = (ExpiryProgress::default(), 0);
    loop {
        let done = ks.expire_cycle(step);
        tell_expired(ks, core);
        all = ExpiryProgress { expired: all.expired + done.expired, more: done.more };
        left = left.saturating_sub(step);
        let before = std::mem::replace(&mut elapsed, elapsed_us(core, started));
        // Another step takes as long as this one.
        if !all.more || left == 0 || elapsed + elapsed.saturating_sub(before) > EXPIRE_US {
            return all;
        }
        if elapsed < EXPIRE_EARLY_US {
            step *= 2;
        }
        step = step.min(left);
    }
}

/// Tells the journal of keys that expired, and whoever watches, waits or listens.
fn tell_expired(ks: &mut Keyspace, core: &mut Core) {
    exec::propagate_expired(ks, core);
    if core.observing {
        let mut nobody = crate::session::State::nobody(core.mono_ms());
        exec::observe(ks, core, &mut nobody);
    }
}

pub(crate) fn elapsed_us(core: &Core, started: Option<u64>) -> u64 {
    core.clock.zip(started).map_or(0, |(clock, started)| clock().saturating_sub(started))
}

/// What INFO tells of cycles. One that ended before its work found a share of expired keys that stands for the rest.
fn note_cycle(ks: &Keyspace, core: &mut Core, progress: &ExpiryProgress, started: Option<u64>) {
    let elapsed = elapsed_us(core, started);
    let stats = &mut core.stats;
    stats.expire_us += elapsed;
    stats.expire_unfinished += u64::from(progress.more);
    let left: usize = (0..ks.databases()).map(|db| ks.len_with_deadline(db)).sum();
    let share = progress.expired as f64 * 100.0 / (progress.expired + left).max(1) as f64;
    stats.stale_percent = if progress.more { share } else { 0.0 };
}

/// A writable replica's own keys: nobody else will delete them.
fn expire_own(ks: &mut Keyspace, core: &mut Core) -> ExpiryProgress {
    if !core.own_deadlines.is_empty() {
        ks.set_expiry_mode(ExpiryMode::Ignore);
        let round = core.own_deadlines.round(ks);
        ks.set_expiry_mode(ExpiryMode::Delete);
        for (db, key) in &round {
            ks.exists(*db, key);
        }
    }
    ExpiryProgress::default()
}

fn time_out_waiting(engine: &mut Engine) {
    let now_ms = engine.core.mono_ms();
    while let Some(id) = engine.core.blocking.pop_expired(now_ms) {
        unblock(&mut engine.ks, &mut engine.core, id, Unblock::Timeout);
    }
}

/// How a wait ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unblock {
    /// As if the time were up.
    Timeout,
    /// With an error.
    Error,
    /// The instance became a replica: blocked clients are told so and thrown out.
    Demoted,
}

/// Ends a session's wait. False if it doesn't wait for anything that can be ended.
pub(crate) fn unblock(ks: &mut Keyspace, core: &mut Core, id: SessionId, how: Unblock) -> bool {
    let Some(mut session) = core.sessions.take(id) else { return false };
    let Session { out, state } = &mut *session;
    let (begin, waited_with) = (out.len(), state.last_command);
    let done = match state.parked.take() {
        Some(Parked::Keys(wait)) => {
            let mut reply = Writer::new(out, state.proto);
            match how {
                // Redis answers a null array even where the command itself would answer a null (BLMOVE).
                Unblock::Timeout => reply.null_array(),
                Unblock::Error => reply.error(UNBLOCKED),
                Unblock::Demoted => reply.error(DEMOTED),
            }
            core.blocking.remove(id, &wait);
            let failed = how != Unblock::Timeout;
            if failed {
                core.stats.error("UNBLOCKED");
            }
            timing::gave_up(core, state, wait.command, wait.args.view(), failed);
            true
        }
        // A plugin's call: after "timeout" it answers with what it has, as inside MULTI.
        Some(Parked::Async { ticket, command, args }) if command.plugin.is_some() => {
            core.cancel_async(ticket, command);
            match how {
                Unblock::Timeout => {
                    exec::call(ks, core, state, out, command, args.view(), Origin::Client, true);
                    exec::finish_unit(core, state);
                }
                Unblock::Error => Writer::new(out, state.proto).error(UNBLOCKED),
                Unblock::Demoted => Writer::new(out, state.proto).error(DEMOTED),
            }
            true
        }
        parked => {
            state.parked = parked;
            false
        }
    };
    if done {
        exec::drop_reply_if_off(state, out, begin);
        state.resume(core.mono_ms());
        state.close_after_reply |= how == Unblock::Demoted;
        core.tell_myself(&mut session);
        exec::caching_is_over(&mut session.state, waited_with);
    }
    core.sessions.put(session);
    if done {
        core.sessions.list(id);
        core.recount(id);
    }
    done
}

const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
const DEMOTED: &str = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

fn end_pause_if_over(engine: &mut Engine) {
    let core = &mut engine.core;
    let had = core.has_pauses();
    core.drop_old_pauses();
    if had && !core.is_paused() {
        end_pause(engine);
    }
}

/// Runs the commands that waited for the end of a pause, in order.
pub(crate) fn end_pause(engine: &mut Engine) {
    engine.core.refresh_watchful();
    for id in std::mem::take(&mut engine.core.paused) {
        // Who was closed meanwhile must not see what its command would be answered now.
        let Some(session) = engine.core.sessions.get_mut(id).filter(|session| !session.state.close_now) else {
            continue;
        };
        let Some(Parked::Pause(args)) = session.state.parked.take() else { continue };
        let flow = engine.execute(id, args.view());
        if let Some(session) = engine.core.sessions.get_mut(id) {
            session.state.resumed = flow != Flow::Parked;
        }
        engine.core.recount(id);
        engine.core.sessions.list(id);
    }
}

/// `timeout`: ordinary clients that send nothing for too long. Subscribers, those who watch and those who wait may be silent.
fn close_idle(engine: &mut Engine) {
    let core = &mut engine.core;
    let now_ms = core.mono_ms();
    let auth_s = core.config.int("auth-timeout").max(0) as u64;
    let idle_s = core.config.live.timeout_s;
    if idle_s == 0 && auth_s == 0 {
        return;
    }
    let over = |since: u64, limit_s: u64| limit_s > 0 && now_ms.saturating_sub(since) > limit_s * 1000;
    let idle: Vec<SessionId> = core
        .sessions
        .iter()
        .map(|session| &session.state)
        .filter(|state| state.class() == Kind::Normal && state.parked.is_none() && !state.taken_over && !state.monitor)
        .filter(|state| over(state.last_ms, idle_s) || !state.authenticated && over(state.created_ms, auth_s))
        .map(|state| state.id)
        .collect();
    for id in idle {
        core.kill(id);
    }
}

fn sample(engine: &mut Engine) {
    let memory = crate::commands::info::used_memory(&engine.ks, &engine.core);
    let now_ms = engine.core.mono_ms();
    let stats = &mut engine.core.stats;
    stats.ops.sample(now_ms, stats.total_commands);
    stats.rate_in.sample(now_ms, stats.net_in);
    stats.rate_out.sample(now_ms, stats.net_out);
    stats.cycles.sample(now_ms);
    stats.peak_memory = stats.peak_memory.max(memory);
}
