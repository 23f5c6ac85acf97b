//! The connection itself: PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET. CLIENT is in `client.rs`.

use keystead_resp::{Args, Proto};

use super::common::database;
use crate::acl;
use crate::args::ArgsExt;
use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::{CommandError, c_text};
use crate::gates::Gate;
use crate::session::{ReplyMode, State};
use crate::spec::*;

/// Allowed everywhere: before AUTH, while loading, with a stale link, on an endpoint.
const ALWAYS: u32 = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY | ENDPOINT;

const NONE: KeySpec = KeySpec::None;
const CONN: Group = Group::Connection;

/// The table.
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::new(
        "ping",
        -1,
        FAST | ENDPOINT | IN_SUBSCRIBER,
        NONE,
        CONN,
        "1.0.0",
        "Returns the server's liveliness response.",
        ping,
    ),
    CommandSpec::new("echo", 2, LOADING | STALE | FAST, NONE, CONN, "1.0.0", "Returns the given string.", echo),
    CommandSpec::new(
        "select",
        2,
        LOADING | STALE | FAST,
        NONE,
        CONN,
        "1.0.0",
        "Changes the selected database.",
        select,
    ),
    CommandSpec::new("auth", -2, ALWAYS, NONE, CONN, "1.0.0", "Authenticates the connection.", auth),
    CommandSpec::new("hello", -1, ALWAYS, NONE, CONN, "6.0.0", "Handshakes with the Redis server.", hello),
    CommandSpec::new(
        "quit",
        -1,
        ALWAYS | IN_SUBSCRIBER | NOW_IN_MULTI,
        NONE,
        CONN,
        "1.0.0",
        "Closes the connection.",
        quit,
    ),
    CommandSpec::new(
        "reset",
        1,
        ALWAYS | IN_SUBSCRIBER | NOW_IN_MULTI,
        NONE,
        CONN,
        "6.2.0",
        "Resets the connection.",
        reset,
    ),
];

fn ping(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        return Err(CommandError::arity("ping"));
    }
    // A RESP2 subscriber sees replies and messages alike: its PING is answered in the shape of a message.
    if !ctx.resp3() && ctx.session.subscribed() {
        ctx.reply.array(2);
        ctx.reply.bulk("pong");
        ctx.reply.bulk(args.get(1).unwrap_or_default());
    } else if let Some(message) = args.get(1) {
        ctx.reply.bulk(message);
    } else {
        ctx.reply.pong();
    }
    Ok(Effect::None)
}

fn echo(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.reply.bulk(args.at(1));
    Ok(Effect::None)
}

fn select(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.session.db = database(&args[1], ctx.ks.databases())?;
    ctx.reply.ok();
    Ok(Effect::None)
}

fn auth(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (user, password) = match args.len() {
        2 if ctx.core.acl.default_user().nopass => {
            return Err(CommandError::fixed(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        2 => (acl::DEFAULT.as_bytes(), args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(CommandError::SYNTAX),
    };
    authenticate(ctx, args.at(0), user, password)?;
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Lets the session in, or says why not. `word` is the command as it was sent.
fn authenticate(ctx: &mut Ctx<'_>, word: &[u8], user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    match ctx.core.acl.authenticate(user, password) {
        Some(user) => {
            ctx.session.become_user(user);
            Ok(())
        }
        None => {
            ctx.core.denied_auth(ctx.session, word, user);
            Err(CommandError::fixed("WRONGPASS invalid username-password pair or user is disabled."))
        }
    }
}

fn hello(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut at = 1;
    let mut proto = ctx.session.proto;
    if let Some(version) = args.get(1) {
        proto = match version {
            b"2" => Proto::Resp2,
            b"3" => Proto::Resp3,
            text if keystead_resp::number::parse_i64(text).is_none() => {
                return Err(CommandError::fixed("ERR Protocol version is not an integer or out of range"));
            }
            _ => return Err(CommandError::fixed("NOPROTO unsupported protocol version")),
        };
        at = 2;
    }
    let mut credentials = None;
    let mut name = None;
    while at < args.len() {
        let more = args.len() - at - 1;
        if args.is(at, "auth") && more >= 2 {
            credentials = Some((args.at(at + 1), args.at(at + 2)));
            at += 3;
        } else if args.is(at, "setname") && more >= 1 {
            name = Some(super::client::check_name(args.at(at + 1))?);
            at += 2;
        } else {
            return Err(CommandError::quoting(&[b"ERR Syntax error in HELLO option '", c_text(args.at(at)), b"'"]));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(ctx, args.at(0), user, password)?;
    }
    if !ctx.session.authenticated {
        return Err(CommandError::fixed(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        ctx.session.name = name;
    }
    ctx.session.proto = proto;
    ctx.reply.proto = proto;
    write_hello(ctx);
    Ok(Effect::None)
}

fn write_hello(ctx: &mut Ctx<'_>) {
    let endpoint = ctx.core.mode_name();
    let role = if ctx.core.gates.is(Gate::Replica) { "replica" } else { "master" };
    let id = ctx.session.id.id as i64;
    let proto = if ctx.resp3() { 3 } else { 2 };
    let reply = &mut ctx.reply;
    reply.map(if endpoint.is_some() { 6 } else { 7 });
    reply.bulk("server");
    reply.bulk("redis");
    reply.bulk("version");
    reply.bulk(crate::REDIS_VERSION);
    reply.bulk("proto");
    reply.int(proto);
    reply.bulk("id");
    reply.int(id);
    reply.bulk("mode");
    reply.bulk(endpoint.as_deref().unwrap_or("standalone"));
    if endpoint.is_none() {
        reply.bulk("role");
        reply.bulk(role);
    }
    reply.bulk("modules");
    reply.array(0);
}

fn quit(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.session.close_after_reply = true;
    ctx.reply.ok();
    Ok(Effect::None)
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    forget(ctx.core, ctx.session);
    let session = &mut *ctx.session;
    session.db = 0;
    session.proto = Proto::Resp2;
    session.name.clear();
    if session.reply_mode != ReplyMode::Skip {
        // Behind CLIENT REPLY SKIP it is what is skipped.
        session.reply_mode = ReplyMode::On;
    }
    session.no_evict = false;
    session.no_touch = false;
    session.slots.clear();
    ctx.core.become_default(session);
    ctx.reply.proto = Proto::Resp2;
    ctx.reply.simple("RESET");
    Ok(Effect::None)
}

/// Takes a session out of every list it may be on: it goes away or starts anew.
pub(crate) fn forget(core: &mut Core, state: &mut State) {
    super::transactions::discard(core, state);
    core.pubsub.drop_session(state);
    core.tracking.stop(state);
    if state.monitor {
        state.monitor = false;
        core.sessions.monitors.retain(|id| *id != state.id);
        core.refresh_watchful();
    }
}
