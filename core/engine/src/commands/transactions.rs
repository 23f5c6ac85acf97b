//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. Owns when a transaction runs and when it is thrown away; its effects are one unit.

use keystead_resp::Args;

use crate::acl;
use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Recorded};
use crate::error::CommandError;
use crate::gates::Gate;
use crate::monitor;
use crate::session::{Multi, Parked, Queued, ReplyMode, State};
use crate::spec::*;

const TX: u32 = NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY | NOW_IN_MULTI | ENDPOINT;

/// The table.
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::new("multi", 1, TX, KeySpec::None, Group::Transactions, "1.2.0", "Starts a transaction.", multi),
    CommandSpec::new(
        "exec",
        1,
        NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG | NOW_IN_MULTI | ENDPOINT,
        KeySpec::None,
        Group::Transactions,
        "1.2.0",
        "Executes all commands in a transaction.",
        exec,
    ),
    CommandSpec::new(
        "discard",
        1,
        TX,
        KeySpec::None,
        Group::Transactions,
        "2.0.0",
        "Discards a transaction.",
        discard_command,
    ),
    CommandSpec::new(
        "watch",
        -2,
        NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY | NOW_IN_MULTI,
        KeySpec::ALL,
        Group::Transactions,
        "2.2.0",
        "Monitors changes to keys to determine the execution of a transaction.",
        watch,
    )
    .uses(&[LOOKS]),
    CommandSpec::new(
        "unwatch",
        1,
        NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
        KeySpec::None,
        Group::Transactions,
        "2.2.0",
        "Forgets about watched keys of a transaction.",
        unwatch,
    ),
];

const ABORTED: CommandError = CommandError::fixed("EXECABORT Transaction discarded because of previous errors.");

fn multi(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.session.multi.is_some() {
        return Err(CommandError::fixed("ERR MULTI calls can not be nested"));
    }
    ctx.session.multi = Some(Multi::default());
    ctx.reply.ok();
    Ok(Effect::None)
}

fn exec(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(multi) = ctx.session.multi.take() else {
        return Err(CommandError::fixed("ERR EXEC without MULTI"));
    };
    let dirty = ctx.session.dirty_cas || watched_key_is_gone(ctx);
    // Whatever happens now, the keys are no longer watched: EXEC's own writes must not count.
    ctx.core.watch_clear(ctx.session);
    if multi.failed {
        return Err(ABORTED);
    }
    if dirty {
        ctx.reply.null_array();
        return Ok(Effect::None);
    }
    if ctx.core.gates.is(Gate::ReadOnly) && multi.queue.iter().any(|queued| queued.command.flags.has(WRITE)) {
        return Err(CommandError::fixed(
            "EXECABORT Transaction contains write commands but instance is now a read-only replica. EXEC aborted.",
        ));
    }
    let begin = ctx.reply.out.len();
    ctx.reply.array(multi.queue.len());
    ctx.session.in_exec = true;
    ctx.session.exec_queue = (multi.queue.len(), multi.bytes);
    let mut in_vain = None;
    for queued in &multi.queue {
        let most = ctx.most_output();
        match denied_since(ctx, queued) {
            None => run_queued(ctx, queued),
            Some(why) => ctx.reply.error(format!(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
                 command is no longer allowed for the following reason: {why}"
            )),
        }
        // The client will be closed for its output: nobody will read the rest. What the commands do, they do.
        if in_vain.is_some() || ctx.reply.out.len() >= most {
            let end = *in_vain.get_or_insert(ctx.reply.out.len());
            ctx.reply.out.truncate(end);
        }
    }
    ctx.session.in_exec = false;
    // Even where the last of them raised the limit; not where nobody is told anything.
    let told = matches!(ctx.session.reply_mode, ReplyMode::On | ReplyMode::SkipNext);
    ctx.session.close_now |= told && in_vain.is_some_and(|end| end < ctx.most_output());
    if let Some(late) = &mut ctx.session.late {
        late.keep(ctx.reply.out, begin);
        ctx.session.parked = Some(Parked::Async { ticket: late.ticket, command: ctx.command, args: args.to_owned() });
    }
    Ok(Effect::Recorded(Recorded(())))
}

fn run_queued(ctx: &mut Ctx<'_>, queued: &Queued) {
    monitor::before(ctx.core, ctx.session, queued.command, queued.args.view());
    ctx.run(queued.command, &queued.args);
    monitor::after(ctx.core, ctx.session, queued.command, queued.args.view());
}

/// The user's rights may have changed since the command was queued.
fn denied_since(ctx: &mut Ctx<'_>, queued: &Queued) -> Option<&'static str> {
    let user = ctx.session.rights.as_ref()?;
    let denied = acl::check(user, queued.command, queued.args.view()).err()?;
    ctx.core.denied(ctx.session, queued.command, queued.args.view(), denied, "multi");
    Some(denied.in_exec())
}

/// A watched key whose time ran out since is a changed key, although nobody deleted it yet.
fn watched_key_is_gone(ctx: &mut Ctx<'_>) -> bool {
    let Ctx { ks, session, .. } = ctx;
    session.watched.iter().any(|watched| watched.existed && ks.glance(watched.db, &watched.key).is_none())
}

fn discard_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.session.multi.is_none() {
        return Err(CommandError::fixed("ERR DISCARD without MULTI"));
    }
    discard(ctx.core, ctx.session);
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Throws a transaction and its watched keys away.
pub(crate) fn discard(core: &mut Core, state: &mut State) {
    state.multi = None;
    core.watch_clear(state);
}

fn watch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if ctx.session.multi.is_some() {
        return Err(CommandError::fixed("ERR WATCH inside MULTI is not allowed"));
    }
    // Redis: a transaction that can't succeed any more needs no further keys.
    if !ctx.session.dirty_cas {
        for key in args.skip(1).iter() {
            let existed = ctx.ks.glance(ctx.session.db, key).is_some();
            ctx.core.watch_add(ctx.session, key, existed);
        }
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

fn unwatch(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.core.watch_clear(ctx.session);
    ctx.reply.ok();
    Ok(Effect::None)
}
