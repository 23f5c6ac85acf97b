//! Pipelined commands that change nothing: most of what is read. What holds before the first of a row holds behind the last,
//! so it is asked once for all of them. Owns which commands those are, when that is so, and what is then left to do for each.

use keystead_keyspace::Keyspace;
use keystead_resp::{Args, Writer};

use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{Effect, Origin};
use crate::guards::{self, Verdict};
use crate::registry::{Body, Command, Known};
use crate::session::{ReplyMode, Session, State};
use crate::spec::{Flags, READONLY, WRITE};
use crate::{exec, timing};

/// These change nothing, though no key says so. What another session sees of a client (its name, its protocol) is changed by
/// others of its kind.
const WITHOUT_KEYS: &[&str] = &["ping", "echo", "time", "client|id", "client|getname"];

/// Whether a brief command leaves session, settings and keys as they are; but for keys that it finds expired.
pub(crate) fn is_still(full_name: &str, flags: Flags) -> bool {
    !flags.any(WRITE) && (flags.has(READONLY) || WITHOUT_KEYS.contains(&full_name))
}

/// How far a row came.
#[derive(Default)]
pub(crate) struct Progress {
    /// Commands that ran.
    pub(crate) done: usize,
    /// Where the reply of the one that runs begins.
    pub(crate) start: usize,
}

/// Whether nobody and nothing wants to know of a command that changes nothing: what surrounds one otherwise needn't be done.
pub(crate) fn is_calm(ks: &Keyspace, core: &mut Core, session: &Session, command: &Command) -> bool {
    let state = &session.state;
    guards::all_open(core, state, command)
        && answers_plainly(state)
        && !exec::is_observed(core)
        && !core.observing
        && !core.barriers.hold()
        && !core.pubsub.has_own()
        && !core.in_unit
        && !core.torn
        && core.unit.is_empty()
        && core.config.live.client_memory.is_none()
        && (core.config.live.memory.max == 0 || crate::evict::too_much(ks, core) == 0)
}

/// Whether a client gets its replies, all of them and nothing else, and its reads count.
fn answers_plainly(state: &State) -> bool {
    let goes_on = !state.close_now && !state.close_after_reply && state.parked.is_none();
    goes_on
        && state.reply_mode == ReplyMode::On
        && state.pushed.is_none()
        && state.tracking.is_none()
        && !state.no_touch
}

/// Runs the still commands at the front of `commands`, as long as their replies are short and no key is found expired; it was
/// calm before the first.
pub(crate) fn run<'a, T>(
    ks: &mut Keyspace,
    core: &mut Core,
    session: &mut Session,
    first: &'static Command,
    commands: &'a [T],
    view: impl Fn(&'a T) -> (Args<'a>, Option<Known>),
    progress: &mut Progress,
) {
    let large = core.config.live.output_limits.lowest;
    ks.set_expiry_mode(exec::expiry_mode(core, Origin::Client));
    session.state.last_ms = core.mono_ms();
    let Session { out, state } = session;
    let reply = Writer::new(out, state.proto);
    let mut ctx = Ctx { ks, reply, session: state, core, command: first, origin: Origin::Client, nested: false };
    for item in commands {
        let (args, known) = view(item);
        let Some(command) = next(ctx.core, args, known) else { return };
        progress.start = ctx.reply.out.len();
        let found_expired = call(&mut ctx, command, args, progress.start);
        progress.done += 1;
        // What went is in the journal: a panic behind it is judged by what changed since.
        if found_expired || ctx.reply.out.len() as u64 >= large {
            return;
        }
    }
}

/// What is left of [`exec::call`] for a still command while it is calm. Tells whether keys were found expired.
#[inline(always)]
fn call(ctx: &mut Ctx<'_>, command: &'static Command, args: Args<'_>, begin: usize) -> bool {
    let Body::Native(handler) = &command.body else { return false };
    debug_assert_eq!(guards::check(ctx.core, ctx.session, command, args), Verdict::Run, "{}", command.full_name);
    ctx.session.last_command = Some(command);
    ctx.command = command;
    ctx.ks.begin_command(command.event, command.reader);
    ctx.core.wall.go_on();
    let started = timing::start_brief(ctx.core, args);
    let result = handler(ctx, args);
    ctx.core.stats.ran(command.index);
    if let Err(error) = &result {
        exec::failed(ctx.core, command, Origin::Client, &mut ctx.reply, begin, error);
    }
    debug_assert!(matches!(result, Ok(Effect::None) | Err(_)), "{} isn't still", command.full_name);
    if matches!(result, Ok(Effect::None)) {
        // It owns nothing: no call to find that out.
        std::mem::forget(result);
    }
    let found_expired = ctx.ks.has_expired();
    if found_expired {
        exec::push_expired(ctx.ks, ctx.core);
        exec::finish_unit(ctx.core, ctx.session);
    }
    let usec = timing::end(ctx.core, ctx.session, command, args, started);
    if usec >= 1000 {
        timing::advance(ctx.ks, ctx.core, usec / 1000);
    }
    found_expired
}

/// The command that was looked up ahead, if it is a still one with the right number of arguments.
#[inline(always)]
pub(crate) fn next(core: &Core, args: Args<'_>, known: Option<Known>) -> Option<&'static Command> {
    core.registry.recall(known).filter(|command| command.still && command.arity_ok(args.len()))
}
