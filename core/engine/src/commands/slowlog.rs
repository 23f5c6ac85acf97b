//! SLOWLOG: the commands that took longest lately, as the engine kept them. Owns nothing.

use super::write_help;
use crate::args::{Args, ArgsExt};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;

/// SLOWLOG and its subcommands.
pub const TABLE: &[CommandSpec] = &[CommandSpec::container(
    "slowlog",
    Group::Server,
    "2.2.12",
    "A container for slow log commands.",
    &[
        row("get", -2, "Returns the slow log's entries.", get),
        row("help", 2, "Show helpful text about the different subcommands", help)
            .flags(LOADING | STALE | ENDPOINT)
            .since("6.2.0"),
        row("len", 2, "Returns the number of entries in the slow log.", len),
        row("reset", 2, "Clears all entries from the slow log.", reset),
    ],
)];

const fn row(name: &'static str, arity: i32, summary: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec::new(
        name,
        arity,
        ADMIN | LOADING | STALE | ENDPOINT,
        KeySpec::None,
        Group::Server,
        "2.2.12",
        summary,
        handler,
    )
}

/// Entries SLOWLOG GET shows when no count is given.
const DEFAULT_COUNT: usize = 10;
/// Redis' words for a count that is none.
const BAD_COUNT: CommandError = CommandError::fixed("ERR count should be greater than or equal to -1");

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let wanted = match args.len() {
        2 => DEFAULT_COUNT,
        3 => match args.int(2) {
            Ok(-1) => usize::MAX,
            n => n.ok().and_then(|n| usize::try_from(n).ok()).ok_or(BAD_COUNT)?,
        },
        _ => return Err(CommandError::subcommand_syntax("SLOWLOG", args.at(1))),
    };
    let entries: Vec<_> = ctx.core.slowlog.entries().take(wanted).collect();
    ctx.reply.array(entries.len());
    for entry in entries {
        ctx.reply.array(6);
        ctx.reply.int(signed(entry.id));
        ctx.reply.int(signed(entry.time_s));
        ctx.reply.int(signed(entry.usec));
        ctx.reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| ctx.reply.bulk(arg));
        ctx.reply.bulk(&entry.addr);
        ctx.reply.bulk(&entry.name);
    }
    Ok(Effect::None)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn len(ctx: &mut Ctx<'_>, _args: Args<'_>) -> CommandResult {
    let len = ctx.core.slowlog.entries().len();
    ctx.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Effect::None)
}

fn reset(ctx: &mut Ctx<'_>, _args: Args<'_>) -> CommandResult {
    ctx.core.slowlog.clear();
    ctx.reply.ok();
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _args: Args<'_>) -> CommandResult {
    write_help(
        ctx,
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
            "    Entries are made of:",
            "    id, timestamp, time in microseconds, arguments array, client IP and port,",
            "    client name",
            "LEN",
            "    Return the length of the slowlog.",
            "RESET",
            "    Reset the slowlog.",
        ],
    )
}
