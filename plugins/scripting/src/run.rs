//! One run: what must hold before it, the run itself, its reply. The same for EVAL and FCALL.

use crate::convert;
use crate::flags::Flags;
use crate::interpreter::{Failure, Interpreter};
use crate::live::{Kind, Live, Running, Watch, enter};
use keystead_plugin::{Args, Conditions, Ctx, Effect, Error, Proto, Result, ScriptCall};
use keystead_resp::Writer;
use mlua::Value;
use std::time::Instant;

/// What is run, and how it may.
pub struct Order<'o> {
    /// EVAL or FCALL.
    pub kind: Kind,
    /// The script's hash or the function's name.
    pub name: &'o str,
    /// What the script says of itself.
    pub flags: Flags,
    /// By a command that only reads.
    pub read_only: bool,
}

/// Some of a command's words.
pub type Words<'a> = Vec<&'a [u8]>;

/// Keys and arguments of a command: `name what numkeys key … arg …`.
pub fn split(args: Args<'_>) -> Result<(Words<'_>, Words<'_>)> {
    let Some(keys) = keystead_resp::number::parse_i64(args.at(2)) else {
        return Err(Error::new("value is not an integer or out of range"));
    };
    let given = args.len() - 3;
    let keys = match usize::try_from(keys) {
        Err(_) => return Err(Error::new("Number of keys can't be negative")),
        Ok(keys) if keys > given => return Err(Error::new("Number of keys can't be greater than number of args")),
        Ok(keys) => keys,
    };
    let words: Vec<&[u8]> = args.iter().skip(3).collect();
    let (keys, rest) = words.split_at(keys);
    Ok((keys.to_vec(), rest.to_vec()))
}

/// Where the keys are, for ACL and COMMAND GETKEYS.
pub fn keys(args: Args<'_>) -> Vec<usize> {
    let count = args.get(2).and_then(keystead_resp::number::parse_i64).and_then(|count| usize::try_from(count).ok());
    let count = count.unwrap_or(0).min(args.len().saturating_sub(3));
    (3..3 + count).collect()
}

/// What refuses a script before it runs. Scripts without a first line are checked call by call.
pub fn refusal(order: &Order<'_>, now: Conditions) -> Option<&'static str> {
    let Flags { compat, no_writes, allow_oom, allow_stale, .. } = order.flags;
    if compat {
        let text = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
        return now.stale().then_some(text);
    }
    if now.stale() && !allow_stale {
        return Some(
            "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' \
                     flag is not set on the script.",
        );
    }
    if !no_writes {
        if now.read_only() && !now.obey() {
            return Some("READONLY Can not run script with write flag on readonly replica.");
        }
        if now.disk_error() && !now.obey() {
            return Some(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to \
                         disk. Writable scripts are blocked. Use 'no-writes' flag for read only scripts.",
            );
        }
        if order.read_only {
            return Some("ERR Can not execute a script with write flag using *_ro command.");
        }
        if now.few_replicas() {
            return Some("NOREPLICAS Not enough good replicas to write.");
        }
    }
    if now.out_of_memory() && !allow_oom && !no_writes && !now.obey() {
        return Some("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'");
    }
    None
}

/// Runs a script; its reply goes to the client.
pub fn run(
    watch: &Watch,
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    order: &Order<'_>,
    interpreter: &Interpreter,
    body: impl FnOnce(&Interpreter) -> std::result::Result<Value, Failure>,
) -> Result<Effect> {
    let now = ctx.conditions();
    if let Some(text) = refusal(order, now) {
        return Err(Error::reply(text));
    }
    let client = ctx.proto();
    let mut how = ScriptCall::new(ctx.db());
    how.read_only = order.read_only || order.flags.no_writes;
    how.allow_oom = order.flags.allow_oom;
    let running = Running {
        kind: order.kind,
        name: order.name.to_owned(),
        command: args.iter().map(<[u8]>::to_vec).collect(),
        since: Instant::now(),
        wrote: false,
        obeyed: now.obey(),
    };
    let mut live = Live::begin(watch, ctx, how, running);
    let result = enter(&mut live, || body(interpreter));
    let script = live.proto();
    if live.stopped() {
        interpreter.settle().map_err(|error| Error::new(error.to_string()))?;
    }
    drop(live);
    match result {
        Ok(value) => reply(ctx, client, script, &value),
        Err(Failure { text, counted: true }) => Err(Error::reply(text).counted()),
        Err(Failure { text, counted: false }) => Err(Error::reply(text)),
    }
}

fn reply(ctx: &mut Ctx<'_>, client: Proto, script: Proto, value: &Value) -> Result<Effect> {
    let proto = if client == Proto::Resp3 { keystead_resp::Proto::Resp3 } else { keystead_resp::Proto::Resp2 };
    let mut out = Vec::new();
    convert::write(&mut Writer::new(&mut out, proto), script, value, 0).map_err(|text| {
        let counted =
            matches!(value, Value::Table(table) if table.raw_get("ignore_error_stats_update").unwrap_or(false));
        if counted { Error::reply(text).counted() } else { Error::reply(text) }
    })?;
    ctx.reply().raw(&out);
    Ok(Effect::None)
}
