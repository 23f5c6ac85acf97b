//! One run: what must hold before it, the run itself, its reply. The same for EVAL and FCALL.

use crate::entry::{Code, Ended, FIRST, Run};
use crate::flags::Flags;
use crate::interpreter::{Failure, Interpreter};
use crate::live::{About, Kind, Live, Watch, enter};
use keystead_plugin::{Args, Conditions, Ctx, Effect, Error, Proto, Result, ScriptCall};
use keystead_resp::Writer;
use mlua::IntoLua;
use std::borrow::Cow;

/// What is run, and how it may.
pub struct Order<'o> {
    /// EVAL or FCALL.
    pub kind: Kind,
    /// The script's hash or the function's name.
    pub name: &'o str,
    /// What the interpreter runs.
    pub code: Code,
    /// What the script says of itself.
    pub flags: Flags,
    /// By a command that only reads.
    pub read_only: bool,
}

/// How many keys a command has: `name what numkeys key … arg …`.
pub fn split(args: Args<'_>) -> Result<usize> {
    let Some(keys) = keystead_resp::number::parse_i64(args.at(2)) else {
        return Err(Error::new("value is not an integer or out of range"));
    };
    match usize::try_from(keys) {
        Err(_) => Err(Error::new("Number of keys can't be negative")),
        Ok(keys) if keys > args.len() - FIRST => Err(Error::new("Number of keys can't be greater than number of args")),
        Ok(keys) => Ok(keys),
    }
}

/// Where the keys are, for ACL and COMMAND GETKEYS.
pub fn keys(args: Args<'_>) -> Vec<usize> {
    let room = args.len().saturating_sub(FIRST);
    let count = args.get(2).and_then(keystead_resp::number::parse_i64).and_then(|count| usize::try_from(count).ok());
    // Where more are promised than there are, nothing runs.
    let count = count.filter(|count| *count <= room).unwrap_or(0);
    (FIRST..FIRST + count).collect()
}

/// What refuses a script that has flags before it runs; others are checked call by call. The core has refused by these flags
/// already, in its own words, whatever it could know them of: this is for what a transaction loads and runs, and for
/// calls of plugins. In the order and words of Redis' `scriptPrepareForRun`.
pub fn refusal(order: &Order<'_>, now: Conditions, write_error: impl Fn() -> String) -> Option<Cow<'static, str>> {
    let Flags { compat, no_writes, allow_oom, allow_stale, .. } = order.flags;
    if compat {
        return now.stale().then_some(STALE.into());
    }
    if now.stale() && !allow_stale {
        return Some(STALE_SCRIPT.into());
    }
    if no_writes {
        return None;
    }
    if let Some(text) = write_refusal(order, now, write_error) {
        return Some(text);
    }
    (now.out_of_memory() && !allow_oom && !now.obey()).then_some(OUT_OF_MEMORY.into())
}

const STALE: &str = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
const STALE_SCRIPT: &str = "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' \
                            flag is not set on the script.";
const READ_ONLY: &str = "READONLY Can not run script with write flag on readonly replica";
const DISK_ERROR: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                          Writable scripts are blocked. Use 'no-writes' flag for read only scripts.";
const ONLY_READS: &str = "ERR Can not execute a script with write flag using *_ro command.";
const FEW_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
const OUT_OF_MEMORY: &str =
    "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'";

fn write_refusal(order: &Order<'_>, now: Conditions, write_error: impl Fn() -> String) -> Option<Cow<'static, str>> {
    let obey = now.obey();
    if now.read_only() && !obey {
        return Some(READ_ONLY.into());
    }
    if now.disk_error() && !obey {
        return Some(DISK_ERROR.into());
    }
    if now.write_error() && !obey {
        return Some(format!("MISCONF {}", write_error()).into());
    }
    if order.read_only {
        return Some(ONLY_READS.into());
    }
    now.few_replicas().then_some(FEW_REPLICAS.into())
}

/// Runs a script; its reply goes to the client. `holder` is the function, or the table that has the script.
pub fn run(
    watch: &Watch,
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    keys: usize,
    order: &Order<'_>,
    interpreter: &Interpreter,
    holder: impl IntoLua,
) -> Result<Effect> {
    let now = ctx.conditions();
    if let Some(text) = refusal(order, now, || ctx.write_error()) {
        return Err(Error::reply(text));
    }
    let proto = if ctx.proto() == Proto::Resp3 { keystead_resp::Proto::Resp3 } else { keystead_resp::Proto::Resp2 };
    let mut how = ScriptCall::new(ctx.db());
    how.read_only = order.read_only || order.flags.no_writes;
    how.allow_oom = order.flags.allow_oom;
    let about = About { kind: order.kind, name: order.name, command: args, obeyed: now.obey() };
    let mut buffers = interpreter.take_buffers();
    let mut run = Run {
        code: order.code,
        args,
        keys,
        reply: Writer::new(&mut buffers.out, proto),
        most: interpreter.limit(),
        open: Vec::new(),
        ended: Ended::Raised,
    };
    let mut live = Live::begin(watch, ctx, how, about, &mut buffers.reply);
    let result = enter(&mut live, || interpreter.run(&mut run, holder, order.name));
    let (unsettled, since, stopped) = (live.unsettled(), live.since(), live.stopped());
    drop(live);
    let result = match stopped {
        // It came to its end before it looked at the clock: nothing ran for it any more.
        Some(reason) if result.is_ok() => Err(Failure::plain(format!("ERR {reason} script: {}", order.name))),
        _ => result,
    };
    if unsettled {
        interpreter.settle().map_err(|error| Error::new(error.to_string()))?;
    }
    if result.is_ok() {
        ctx.reply().raw(&buffers.out);
    }
    interpreter.keep_buffers(buffers);
    interpreter.tidy(since);
    match result {
        Ok(()) => Ok(Effect::None),
        Err(Failure { text, counted }) => failed(ctx, text, counted),
    }
}

/// Fails with a text that begins with its code. The boundary's errors are UTF-8; a text that isn't is written as a reply,
/// byte by byte, and the server doesn't count it.
pub fn failed(ctx: &mut Ctx<'_>, text: impl Into<Vec<u8>>, counted: bool) -> Result<Effect> {
    match String::from_utf8(text.into()) {
        Ok(text) if counted => Err(Error::reply(text).counted()),
        Ok(text) => Err(Error::reply(text)),
        Err(bytes) => {
            let mut out = Vec::new();
            Writer::new(&mut out, keystead_resp::Proto::Resp2).error(bytes.into_bytes());
            ctx.reply().raw(&out);
            Ok(Effect::None)
        }
    }
}

/// The same for a text without a code.
pub fn failed_plainly(ctx: &mut Ctx<'_>, text: &[u8]) -> Result<Effect> {
    failed(ctx, [b"ERR ", text].concat(), false)
}
