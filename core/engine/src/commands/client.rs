//! CLIENT. Owns what clients can learn about each other and do to each other. The line of CLIENT LIST is in
//! `client_list.rs`.

use keystead_resp::Args;

use super::client_list::{Filter, describe, parse_kind};
use super::tracking;
use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::{CommandError, c_text};
use crate::pause::Pause;
use crate::session::{ReplyMode, SessionId};
use crate::spec::*;
use crate::tick::{Unblock, unblock};

const CONN: u32 = NOSCRIPT | LOADING | STALE | ENDPOINT;
const ADM: u32 = CONN | ADMIN;
const NONE: KeySpec = KeySpec::None;
const GR: Group = Group::Connection;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[CommandSpec::container("client", GR, "2.4.0", "A container for client connection commands.", &[
    CommandSpec::new("caching", 3, CONN, NONE, GR, "6.0.0", "Instructs the server whether to track the keys in the next request.", tracking::caching),
    CommandSpec::new("getname", 2, CONN, NONE, GR, "2.6.9", "Returns the name of the connection.", getname),
    CommandSpec::new("getredir", 2, CONN, NONE, GR, "6.0.0", "Returns the client ID to which the connection's tracking notifications are redirected.", tracking::getredir),
    CommandSpec::new("help", 2, LOADING | STALE | ENDPOINT, NONE, GR, "5.0.0", "Returns helpful text about the different subcommands.", help),
    CommandSpec::new("id", 2, CONN, NONE, GR, "5.0.0", "Returns the unique client ID of the connection.", id),
    CommandSpec::new("info", 2, CONN, NONE, GR, "6.2.0", "Returns information about the connection.", info),
    CommandSpec::new("kill", -3, ADM, NONE, GR, "2.4.0", "Terminates open connections.", kill),
    CommandSpec::new("list", -2, ADM, NONE, GR, "2.4.0", "Lists open connections.", list),
    CommandSpec::new("no-evict", 3, ADM, NONE, GR, "7.0.0", "Sets the client eviction mode of the connection.", no_evict),
    CommandSpec::new("no-touch", 3, CONN, NONE, GR, "7.2.0", "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.", no_touch),
    CommandSpec::new("pause", -3, ADM, NONE, GR, "2.9.50", "Suspends commands processing.", pause),
    CommandSpec::new("reply", 3, CONN, NONE, GR, "3.2.0", "Instructs the server whether to reply to commands.", reply),
    CommandSpec::new("setinfo", 4, CONN, NONE, GR, "7.2.0", "Sets information specific to the client or connection.", setinfo),
    CommandSpec::new("setname", 3, CONN, NONE, GR, "2.6.9", "Sets the connection name.", setname),
    CommandSpec::new("tracking", -3, CONN, NONE, GR, "6.0.0", "Controls server-assisted client-side caching for the connection.", tracking::tracking),
    CommandSpec::new("trackinginfo", 2, CONN, NONE, GR, "6.2.0", "Returns information about server-assisted client-side caching for the connection.", tracking::trackinginfo),
    CommandSpec::new("unblock", -3, ADM, NONE, GR, "5.0.0", "Unblocks a client blocked by a blocking command from a different connection.", unblock_command),
    CommandSpec::new("unpause", 2, ADM, NONE, GR, "6.2.0", "Resumes processing commands from paused clients.", unpause),
])];

fn id(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.int(ctx.session.id.id as i64);
    Ok(Effect::None)
}

fn getname(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.session.name.is_empty() {
        ctx.reply.null()
    } else {
        ctx.reply.bulk(&ctx.session.name)
    }
    Ok(Effect::None)
}

fn setname(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.session.name = check_name(args.at(2))?;
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Names must not break CLIENT LIST's lines.
pub(crate) fn check_name(name: &[u8]) -> Result<String, CommandError> {
    plain(name, "Client names")
}

fn plain(text: &[u8], what: &str) -> Result<String, CommandError> {
    if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(String::from_utf8_lossy(text).into_owned());
    }
    Err(CommandError::new(format!("ERR {what} cannot contain spaces, newlines or special characters.")))
}

fn setinfo(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.is(2, "lib-name") {
        ctx.session.lib_name = plain(args.at(3), "lib-name")?;
    } else if args.is(2, "lib-ver") {
        ctx.session.lib_ver = plain(args.at(3), "lib-ver")?;
    } else {
        return Err(CommandError::quoting(&[b"ERR Unrecognized option '", c_text(args.at(2)), b"'"]));
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let line = describe(ctx.session, ctx.reply.out.len(), ctx.core.mono_ms(), Some(args)) + "\n";
    ctx.reply.verbatim(*b"txt", line);
    Ok(Effect::None)
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut filter = Filter::default();
    if args.is(2, "type") && args.len() == 4 {
        filter.kind = Some(parse_kind(args.at(3))?);
    } else if args.is(2, "id") && args.len() > 3 {
        for at in 3..args.len() {
            let id = args.int(at).map_err(|_| CommandError::fixed("ERR Invalid client ID"))?;
            // Nobody is 0.
            filter.ids.push(u64::try_from(id).unwrap_or(0));
        }
    } else if args.len() != 2 {
        return Err(CommandError::SYNTAX);
    }
    let mut text = String::new();
    let now_ms = ctx.core.mono_ms();
    let asked: Vec<SessionId> = match filter.ids.as_slice() {
        [] => ctx.core.sessions.ids().collect(),
        // In the order in which they were named, and as often.
        named => named.iter().filter_map(|id| ctx.core.sessions.find(*id)).collect(),
    };
    for id in asked {
        let line = if id == ctx.session.id {
            filter.matches(ctx.session).then(|| describe(ctx.session, ctx.reply.out.len(), now_ms, Some(args)))
        } else {
            let session = ctx.core.sessions.get(id).filter(|session| filter.matches(&session.state));
            session.map(|session| describe(&session.state, session.out.len(), now_ms, None))
        };
        if let Some(line) = line {
            text.push_str(&line);
            text.push('\n');
        }
    }
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}

fn kill(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() == 3 {
        let addr = args.text(2);
        let filter = Filter { addr: Some(addr), skip_me: Some(false), ..Filter::default() };
        if kill_matching(ctx, &filter) == 0 {
            return Err(CommandError::fixed("ERR No such client"));
        }
        ctx.reply.ok();
        return Ok(Effect::None);
    }
    let filter = Filter::parse_kill(args, &ctx.core.acl)?;
    let killed = kill_matching(ctx, &filter);
    ctx.reply.int(killed as i64);
    Ok(Effect::None)
}

fn kill_matching(ctx: &mut Ctx<'_>, filter: &Filter) -> usize {
    let me = ctx.session.id;
    let others = ctx.core.kill_clients(|state| filter.matches(state));
    let myself = me.id != 0 && !filter.skip_me.unwrap_or(true) && filter.matches(ctx.session);
    // Whoever kills itself gets its reply first.
    ctx.session.close_after_reply |= myself;
    others + usize::from(myself)
}

fn on_off(args: Args<'_>) -> Result<bool, CommandError> {
    match (args.is(2, "on"), args.is(2, "off")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

fn no_evict(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.session.no_evict = on_off(args)?;
    ctx.reply.ok();
    Ok(Effect::None)
}

fn no_touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.session.no_touch = on_off(args)?;
    ctx.reply.ok();
    Ok(Effect::None)
}

fn reply(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.is(2, "on") {
        // Of a transaction that said SKIP before, what follows is skipped all the same, as in Redis.
        if ctx.session.reply_mode != ReplyMode::SkipNext {
            ctx.session.reply_mode = ReplyMode::On;
        }
        ctx.reply.ok();
    } else if args.is(2, "off") {
        ctx.session.reply_mode = ReplyMode::Off;
    } else if args.is(2, "skip") {
        if ctx.session.reply_mode != ReplyMode::Off {
            ctx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::SYNTAX);
    }
    Ok(Effect::None)
}

fn pause(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let kind = match args.len() {
        3 => Pause::All,
        4 if args.is(3, "write") => Pause::Write,
        4 if args.is(3, "all") => Pause::All,
        _ => return Err(CommandError::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let timeout = args.int(2).map_err(|_| CommandError::fixed("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::fixed("ERR timeout is negative"))?;
    let core = &mut *ctx.core;
    let until_ms = core.mono_ms().saturating_add(timeout);
    let stands = core.pause != Pause::Off && core.pause_until_ms > core.mono_ms();
    // A pause may become longer and stricter, not shorter or weaker: CLIENT UNPAUSE ends one.
    core.pause_until_ms = if stands { until_ms.max(core.pause_until_ms) } else { until_ms };
    core.pause = if stands && core.pause == Pause::All { Pause::All } else { kind };
    core.refresh_watchful();
    ctx.reply.ok();
    Ok(Effect::None)
}

fn unpause(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.core.pause = Pause::Off;
    ctx.core.pause_changed = true;
    ctx.reply.ok();
    Ok(Effect::None)
}

fn unblock_command(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let how = match args.len() {
        3 => Unblock::Timeout,
        4 if args.is(3, "timeout") => Unblock::Timeout,
        4 if args.is(3, "error") => Unblock::Error,
        4 => return Err(CommandError::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(CommandError::subcommand_syntax("CLIENT", args.at(1))),
    };
    let id = args.int(2)?;
    let found = u64::try_from(id).ok().and_then(|id| ctx.core.sessions.find(id));
    let done = found.is_some_and(|id| unblock(ctx.ks, ctx.core, id, how));
    ctx.reply.int(i64::from(done));
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "CLIENT",
        &[
            "CACHING (YES|NO)",
            "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
            "GETREDIR",
            "    Return the client ID we are redirecting to when tracking is enabled.",
            "GETNAME",
            "    Return the name of the current connection.",
            "ID",
            "    Return the ID of the current connection.",
            "INFO",
            "    Return information about the current client connection.",
            "KILL <ip:port>",
            "    Kill connection made from <ip:port>.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    Kill connections. Options are:",
            "    * ADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made from the specified address",
            "    * LADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made to specified local address",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Kill connections by type.",
            "    * USER <username>",
            "      Kill connections authenticated by <username>.",
            "    * SKIPME (YES|NO)",
            "      Skip killing current connection (default: yes).",
            "LIST [options ...]",
            "    Return information about client connections. Options:",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Return clients of specified type.",
            "UNPAUSE",
            "    Stop the current client pause, resuming traffic.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Suspend all, or just write, clients for <timeout> milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Control the replies sent to the current connection.",
            "SETNAME <name>",
            "    Assign the name <name> to the current connection.",
            "SETINFO <option> <value>",
            "    Set client meta attr. Options are:",
            "    * LIB-NAME: the client lib name.",
            "    * LIB-VER: the client lib version.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Unblock the specified blocked client.",
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
            "         [OPTIN] [OPTOUT] [NOLOOP]",
            "    Control server assisted client side caching.",
            "TRACKINGINFO",
            "    Report tracking status for the current connection.",
            "NO-EVICT (ON|OFF)",
            "    Protect current client connection from eviction.",
            "NO-TOUCH (ON|OFF)",
            "    Will not touch LRU/LFU stats when this mode is on.",
        ],
    )
}
