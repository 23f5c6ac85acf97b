//! The server as a whole: DBSIZE, FLUSHALL, FLUSHDB, SWAPDB, SHUTDOWN, MONITOR, LASTSAVE, TIME, LOLWUT. INFO, CONFIG and DEBUG have
//! files of their own.

use keystead_resp::Args;

use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::engine::Action;
use crate::error::CommandError;
use crate::session::Parked;
use crate::spec::*;

const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::new("dbsize", 1, READONLY | FAST, NONE, SRV, "1.0.0", "Returns the number of keys in the database.", dbsize),
    CommandSpec::new("flushall", -1, WRITE, NONE, SRV, "1.0.0", "Removes all keys from all databases.", flushall),
    CommandSpec::new("flushdb", -1, WRITE, NONE, SRV, "1.0.0", "Remove all keys from the current database.", flushdb),
    CommandSpec::new("swapdb", 3, WRITE | FAST, NONE, SRV, "4.0.0", "Swaps two Redis databases.", swapdb),
    CommandSpec::new("shutdown", -1, ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY | ENDPOINT, NONE, SRV, "1.0.0", "Synchronously saves the database(s) to disk and shuts down the Redis server.", shutdown),
    CommandSpec::new("monitor", 1, ADMIN | NOSCRIPT | LOADING | STALE, NONE, SRV, "1.0.0", "Listens for all requests received by the server in real-time.", monitor),
    CommandSpec::new("time", 1, LOADING | STALE | FAST, NONE, SRV, "2.6.0", "Returns the server time.", time),
    CommandSpec::new("lolwut", -1, READONLY | FAST, NONE, SRV, "5.0.0", "Displays computer art and the Redis version", lolwut),
    CommandSpec::new("lastsave", 1, LOADING | STALE | FAST, NONE, SRV, "1.0.0", "Returns the Unix timestamp of the last successful save to disk.", lastsave),
];

fn dbsize(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let len = ctx.ks.len(ctx.session.db);
    ctx.reply.int(len as i64);
    Ok(Effect::None)
}

/// ASYNC and SYNC are the same here: memory is always given back outside the turn.
fn check_flush(args: Args<'_>) -> Result<(), CommandError> {
    match args.len() {
        1 => Ok(()),
        2 if args.is(1, "async") || args.is(1, "sync") => Ok(()),
        _ => Err(CommandError::SYNTAX),
    }
}

// Redis propagates a flush even of nothing: a replica may have more keys than its primary.
fn flushall(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    check_flush(args)?;
    ctx.ks.flush_all();
    ctx.core.own_deadlines.clear();
    ctx.ks.count_flush();
    ctx.reply.ok();
    Ok(Effect::AsSent)
}

fn flushdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    check_flush(args)?;
    ctx.ks.flush(ctx.session.db);
    ctx.core.own_deadlines.forget(ctx.session.db);
    ctx.reply.ok();
    Ok(Effect::AsSent)
}

fn swapdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let number = |at: usize| args.int(at).ok().and_then(|number| i32::try_from(number).ok());
    let first = number(1).ok_or(CommandError::fixed("ERR invalid first DB index"))?;
    let second = number(2).ok_or(CommandError::fixed("ERR invalid second DB index"))?;
    let known = |index: i32| usize::try_from(index).ok().filter(|db| *db < ctx.ks.databases());
    let (Some(first), Some(second)) = (known(first), known(second)) else { return Err(CommandError::DB_RANGE) };
    ctx.ks.swap_db(first, second);
    ctx.core.own_deadlines.swap(first, second);
    ctx.reply.ok();
    Ok(Effect::AsSent)
}

fn shutdown(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if ctx.core.beside_data() {
        return Err(CommandError::fixed(
            "ERR This process serves data, and SHUTDOWN would end that too: send it to the data port",
        ));
    }
    let (mut save, mut now, mut force, mut abort) = (None, false, false, false);
    for at in 1..args.len() {
        if args.is(at, "save") && save != Some(false) {
            save = Some(true);
        } else if args.is(at, "nosave") && save != Some(true) {
            save = Some(false);
        } else if args.is(at, "now") {
            now = true;
        } else if args.is(at, "force") {
            force = true;
        } else if args.is(at, "abort") {
            abort = true;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    if abort && args.len() > 2 {
        return Err(CommandError::SYNTAX);
    }
    if abort && !ctx.core.shutting_down {
        return Err(CommandError::fixed("ERR No shutdown in progress."));
    }
    if abort && ctx.core.torn {
        return Err(CommandError::fixed(
            "ERR A script was stopped in the middle for this shutdown, it can't be aborted.",
        ));
    }
    if abort {
        ctx.core.act(Action::AbortShutdown);
        ctx.reply.ok();
        return Ok(Effect::None);
    }
    if let Some(busy) = &ctx.core.busy
        && save != Some(false)
    {
        return Err(busy.clone());
    }
    // No reply unless it fails: the connection closes when the server goes.
    let reply = ctx.may_block().then(|| {
        let ticket = crate::exec::next_ticket(ctx.core);
        ctx.session.parked = Some(Parked::Async { ticket, command: ctx.command, args: args.to_owned() });
        (ctx.session.id, ticket)
    });
    ctx.core.shutting_down = true;
    ctx.core.act(Action::Shutdown { save, now, force, reply });
    Ok(Effect::None)
}

fn monitor(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.nested {
        return Err(CommandError::fixed("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if !ctx.session.monitor {
        ctx.session.monitor = true;
        ctx.core.sessions.monitors.push(ctx.session.id);
        ctx.core.refresh_watchful();
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

fn lastsave(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.int(ctx.core.last_save_s as i64);
    Ok(Effect::None)
}

fn time(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let now_us = ctx.core.time_us();
    ctx.reply.array(2);
    ctx.reply.bulk_int((now_us / 1_000_000) as i64);
    ctx.reply.bulk_int((now_us % 1_000_000) as i64);
    Ok(Effect::None)
}

/// An arch of random stones with a keystone at its head.
fn lolwut(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.is(1, "version") && args.len() > 2 {
        args.int(2)?;
    }
    const STONES: [char; 4] = ['#', '%', '@', '&'];
    let mut text = String::new();
    for row in 0..6_i32 {
        for column in -14..=14_i32 {
            let distance = column * column + (12 - 2 * row) * (12 - 2 * row);
            let stone = STONES[(ctx.random() % 4) as usize];
            text.push(match distance {
                _ if row == 0 && column.abs() < 2 => 'K',
                90..=196 => stone,
                _ => ' ',
            });
        }
        text.push('\n');
    }
    text.push_str(&format!("Keystead ver. {} (Redis ver. {})\n", crate::KEYSTEAD_VERSION, crate::REDIS_VERSION));
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}
