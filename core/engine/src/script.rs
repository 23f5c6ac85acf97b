//! Commands that a script calls: under guards of their own, in Redis' order, as part of the script's unit. Owns what a
//! script may call and when; the language, its replies and its errors are the plugin's.

use keystead_resp::{Args, Proto};

use crate::acl;
use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{Origin, Targets};
use crate::engine::Flow;
use crate::error::CommandError;
use crate::exec;
use crate::gates::Gate;
use crate::guards;
use crate::registry::Command;
use crate::session::State;
use crate::spec::{DENYOOM, MAY_REPLICATE, NOSCRIPT, STALE, WRITE};

/// How a script calls commands, and what it remembers from call to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// The selected database; SELECT in a script doesn't move the session's.
    pub db: usize,
    /// The protocol of replies (`redis.setresp`).
    pub proto: Proto,
    /// Commands that write or may replicate are refused.
    pub read_only: bool,
    /// Runs although memory is full.
    pub allow_oom: bool,
    /// A write has run: a script isn't stopped half way by a condition.
    pub wrote: bool,
    /// Who gets the effects (`redis.set_repl`).
    pub targets: Targets,
}

/// What stands in the way of commands right now, for a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Guards for clients don't hold.
    pub obey: bool,
    /// A read-only replica.
    pub read_only: bool,
    /// Stale data that may not be served.
    pub stale: bool,
    /// The disk failed.
    pub disk_error: bool,
    /// A plugin refuses writes: it can't write what it must.
    pub write_error: bool,
    /// Too few good replicas.
    pub few_replicas: bool,
    /// Memory is full.
    pub out_of_memory: bool,
    /// Data is being loaded.
    pub loading: bool,
}

impl Conditions {
    /// As they are for whoever caused a command.
    pub fn of(core: &Core, origin: Origin) -> Conditions {
        let is = |gate| core.gates.is(gate);
        let primary = !is(Gate::Replica);
        Conditions {
            obey: origin != Origin::Client,
            read_only: is(Gate::ReadOnly) || core.gates.lease_over(core.now.mono_us),
            stale: is(Gate::Stale),
            disk_error: is(Gate::DiskError) && core.config.live.stop_writes && primary,
            write_error: is(Gate::WriteError) && primary,
            few_replicas: core.gates.few_replicas(core.now.mono_us) && primary,
            out_of_memory: core.room.out,
            loading: is(Gate::Loading),
        }
    }
}

/// Runs a command for a script; its reply is appended to `out`. An error means that it didn't run; a command that ran and
/// failed has its error in `out`.
pub fn call(ctx: &mut Ctx<'_>, how: &mut ScriptCall, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let command = match known(ctx.core, args) {
        Ok(command) => command,
        Err(error) => {
            ctx.core.stats.error(error.code());
            return Err(error);
        }
    };
    if let Err(error) = allowed(ctx, how, command, args) {
        ctx.core.stats.commands[command.index].rejected += 1;
        ctx.core.stats.error(error.code());
        return Err(error);
    }
    how.wrote |= command.flags.has(WRITE);
    let mark = ctx.core.unit.len();
    let (db, proto) = (ctx.session.db, ctx.session.proto);
    (ctx.session.db, ctx.session.proto) = (how.db, how.proto);
    ctx.core.in_script = true;
    let flow = exec::call(ctx.ks, ctx.core, ctx.session, out, command, args, ctx.origin, true);
    ctx.core.in_script = false;
    debug_assert_eq!(flow, Flow::Next, "nothing parks inside a script");
    how.db = ctx.session.db;
    crate::monitor::after_in_script(ctx.core, ctx.session, command, args);
    (ctx.session.db, ctx.session.proto) = (db, proto);
    if how.targets != Targets::ALL {
        ctx.core.unit.restrict(mark, how.targets);
    }
    Ok(())
}

fn known(core: &mut Core, args: Args<'_>) -> Result<&'static Command, CommandError> {
    let found = if args.is_empty() { None } else { exec::find(core, args).ok() };
    match found {
        Some(command) if command.arity_ok(args.len()) => Ok(command),
        Some(command) => {
            core.stats.commands[command.index].rejected += 1;
            Err(CommandError::fixed("ERR Wrong number of args calling Redis command from script"))
        }
        None => Err(CommandError::fixed("ERR Unknown Redis command called from script")),
    }
}

fn allowed(ctx: &mut Ctx<'_>, how: &ScriptCall, command: &'static Command, args: Args<'_>) -> Result<(), CommandError> {
    let is = |flags| command.flags.has(flags);
    let now = Conditions::of(ctx.core, ctx.origin);
    if is(NOSCRIPT) && !ctx.core.allow_noscript {
        return Err(CommandError::NOT_FROM_SCRIPT);
    }
    if now.stale && !now.obey && !is(STALE) {
        return Err(CommandError::fixed("ERR Can not execute the command on a stale replica"));
    }
    ctx.core.permit(ctx.session, command, args, "lua").map_err(in_script)?;
    if how.read_only && command.flags.any(WRITE | MAY_REPLICATE) {
        return Err(CommandError::fixed("ERR Write commands are not allowed from read-only scripts."));
    }
    if is(WRITE) && !how.wrote && !now.obey {
        guards::write_refusal(ctx.core, &now)?;
    }
    if is(DENYOOM) && now.out_of_memory && !how.wrote && !how.allow_oom && !now.obey {
        return Err(guards::OUT_OF_MEMORY);
    }
    Ok(())
}

/// Redis says where the refusal came from.
fn in_script(error: CommandError) -> CommandError {
    let why = error.bytes().strip_prefix(b"NOPERM ").unwrap_or(error.bytes());
    CommandError::quoting(&[b"ERR ACL failure in script: ", why])
}

/// `redis.acl_check_cmd`: whether a session may run a command with these words; a refusal has the code NOPERM and is not
/// logged. Unknown commands are an error.
pub fn may_run(core: &Core, state: Option<&State>, args: Args<'_>) -> Result<(), CommandError> {
    let found = if args.is_empty() { None } else { exec::find(core, args).ok() };
    let command = found.ok_or(CommandError::fixed("ERR Invalid command passed to redis.acl_check_cmd()"))?;
    match state.and_then(|state| state.rights.as_ref()) {
        Some(user) => acl::check(user, command, args).map_err(|denied| denied.error(&user.name, command)),
        None => Ok(()),
    }
}
