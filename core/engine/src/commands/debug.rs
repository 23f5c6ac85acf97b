//! DEBUG: what tests and the curious need. Open to local connections only, unless configured otherwise.

use super::debug_more as more;
use std::time::Duration;

use keystead_keyspace::{CutBudget, ExpiryMode};
use keystead_rdb::{EncodeOptions, records};
use keystead_resp::Args;

use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;

const DBG: u32 = ADMIN | NOSCRIPT | LOADING | STALE;
const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[CommandSpec::container("debug", SRV, "1.0.0", "A container for debugging commands.", &[
    CommandSpec::new("sleep", 3, DBG, NONE, SRV, "1.0.0", "Stops the server for some seconds.", sleep),
    CommandSpec::new("digest", 2, DBG, NONE, SRV, "1.0.0", "Shows a digest of the whole data set.", digest),
    CommandSpec::new("digest-value", -2, DBG, NONE, SRV, "1.0.0", "Shows a digest of each key.", digest_value),
    CommandSpec::new("object", -3, DBG, NONE, SRV, "1.0.0", "Shows low-level facts about a key.", object),
    CommandSpec::new("set-active-expire", 3, DBG, NONE, SRV, "1.0.0", "Turns the active expiry on or off.", set_active_expire),
    CommandSpec::new("protocol", 3, DBG, NONE, SRV, "6.0.0", "Answers a value of a type of the protocol.", protocol),
    CommandSpec::new("set-disable-deny-scripts", 3, DBG, NONE, SRV, "7.0.0", "Lets scripts call any command.", set_disable_deny_scripts),
    CommandSpec::new("reload", -2, DBG, NONE, SRV, "1.0.0", "Encodes, flushes and loads the data set.", reload),
    CommandSpec::new("populate", -3, DBG, NONE, SRV, "1.0.0", "Makes many string keys.", populate),
    CommandSpec::new("stringmatch-len", 4, DBG, NONE, SRV, "1.0.0", "Matches a pattern against a long string.", stringmatch),
    CommandSpec::new("error", 3, DBG, NONE, SRV, "1.0.0", "Answers an error.", error),
    CommandSpec::new("log", 3, DBG, NONE, SRV, "1.0.0", "Writes a line to the log.", log_line),
    CommandSpec::new("htstats", 3, DBG, NONE, SRV, "1.0.0", "Shows how many entries a database has.", more::htstats),
    CommandSpec::new("htstats-key", 3, DBG, NONE, SRV, "1.0.0", "Shows how many entries a big value has.", more::htstats_key),
    CommandSpec::new("pause-cron", 3, DBG, NONE, SRV, "1.0.0", "Stops periodic work.", more::pause_cron),
    CommandSpec::new("quicklist-packed-threshold", 3, DBG, NONE, SRV, "1.0.0", "Accepted; there are no plain nodes.", more::quicklist_packed_threshold),
    CommandSpec::new("replicate", -3, DBG, NONE, SRV, "1.0.0", "Sends a command to the replicas without running it.", more::replicate),
    CommandSpec::new("replybuffer", 4, DBG, NONE, SRV, "1.0.0", "Accepted; reply buffers don't shrink.", more::replybuffer),
    CommandSpec::new("help", 2, DBG, NONE, SRV, "1.0.0", "Returns helpful text about the different subcommands.", help),
])];

/// One of each type, as clients' tests expect it.
fn protocol(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let resp3 = ctx.resp3();
    let reply = &mut ctx.reply;
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk("Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(3141.0 / 1000.0),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|item| reply.int(item));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|item| reply.int(item));
        }
        b"map" => {
            reply.map(3);
            (0..3).for_each(|item| {
                reply.int(item);
                reply.bool(item == 1);
            });
        }
        b"push" if !resp3 => return Err(CommandError::fixed("ERR RESP2 is not supported by this command")),
        b"attrib" => {
            // RESP2 has no attributes: the reply alone.
            if resp3 {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk("Some real reply following the attribute");
        }
        b"push" => {
            // Who throws pushes away needs a reply; they follow it.
            reply.bulk("Some real reply following the push reply");
            reply.push(2);
            reply.bulk("server-cpu-usage");
            reply.int(42);
        }
        b"verbatim" => reply.verbatim(*b"txt", "This is a verbatim\nstring"),
        b"true" => reply.bool(true),
        b"false" => reply.bool(false),
        b"bignum" => reply.bignum("1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::fixed(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Effect::None)
}

fn set_disable_deny_scripts(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.core.allow_noscript = args.is(2, "1");
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Holds the engine's lock for as long: that is what it is for.
fn sleep(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let seconds = keystead_resp::number::parse_f64(args.at(2)).unwrap_or(0.0);
    if seconds > 0.0 {
        std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.simple(&hex(&ctx.ks.digest()));
    Ok(Effect::None)
}

fn digest_value(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let keys = args.skip(2);
    ctx.reply.array(keys.len());
    for key in keys.iter() {
        ctx.reply.simple(&hex(&ctx.ks.digest_value(ctx.session.db, key)));
    }
    Ok(Effect::None)
}

fn object(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key) = (ctx.session.db, args.at(2));
    // A key whose time is up is shown as long as it is there.
    ctx.ks.set_expiry_mode(ExpiryMode::Ignore);
    let Some(encoding) = ctx.ks.object_encoding(db, key) else { return Err(CommandError::NO_KEY) };
    let bytes = ctx.ks.mem_usage(db, key).unwrap_or(0);
    let idle = ctx.ks.idle_secs(db, key).unwrap_or(0);
    // The clock of Redis' objects: seconds in 24 bits.
    let lru = (ctx.now_ms() / 1000).saturating_sub(idle) & 0x00ff_ffff;
    // The address is no pointer: those would tell an attacker where things lie.
    ctx.reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:{lru} lru_seconds_idle:{idle}"
    ));
    Ok(Effect::None)
}

fn set_active_expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.core.active_expire = args.int(2)? != 0;
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Encodes everything, flushes, decodes; nothing goes into the journal, links stay.
fn reload(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (mut merge, mut flush) = (false, true);
    for at in 2..args.len() {
        if args.is(at, "merge") {
            merge = true;
        } else if args.is(at, "noflush") {
            flush = false;
        } else if !args.is(at, "nosave") {
            return Err(CommandError::fixed("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
        }
    }
    // What is saved is still there: each key and function would come twice.
    let keeps = || ctx.core.plugins.as_ref().is_some_and(|plugins| plugins.keeps_data());
    if !flush && !merge && (!ctx.ks.is_empty() || keeps()) {
        return Err(CommandError::fixed("ERR Error trying to load the RDB dump, check server logs."));
    }
    let cut = ctx.ks.begin_cut().map_err(|_| CommandError::fixed("ERR too many snapshots are open already"))?;
    let mut saved: Vec<(usize, Vec<u8>)> = Vec::new();
    loop {
        let step = ctx.ks.cut_step(cut, CutBudget::default());
        for raw in &step.records {
            let mut bytes = Vec::new();
            raw.encode(&mut bytes, EncodeOptions::default());
            saved.push((raw.db(), bytes));
        }
        if step.done {
            break;
        }
    }
    if flush && !merge {
        ctx.ks.flush_all();
    }
    // Keys whose time is up come back too: their DEL must go through the journal like any other.
    ctx.ks.set_expiry_mode(ExpiryMode::Ignore);
    for (db, bytes) in &saved {
        for record in records(bytes) {
            let stored = record.and_then(|record| ctx.ks.put_record(*db, &record));
            stored.map_err(|why| CommandError::new(format!("ERR Error trying to load the RDB dump: {why}")))?;
        }
    }
    ctx.ks.filled();
    ctx.reply.ok();
    Ok(Effect::None)
}

/// `DEBUG POPULATE count [prefix] [size]`, with Redis' names and values.
fn populate(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = args.int(2)?;
    let prefix = if args.len() > 3 { args.text(3) } else { "key".to_owned() };
    let size = if args.len() > 4 { usize::try_from(args.int(4)?).unwrap_or(0) } else { 0 };
    for at in 0..count {
        let key = format!("{prefix}:{at}");
        if ctx.ks.type_of(ctx.session.db, key.as_bytes()).is_some() {
            continue;
        }
        let mut value = format!("value:{at}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        ctx.ks.set_str(ctx.session.db, key.as_bytes(), value.as_slice(), keystead_keyspace::Ttl::Clear);
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

fn stringmatch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    // The text is made whole.
    const LONGEST: i64 = 64 << 20;
    let len = args.int(2)?;
    if !(0..=LONGEST).contains(&len) {
        return Err(CommandError::NOT_POSITIVE);
    }
    let len = usize::try_from(len).unwrap_or(0);
    ctx.reply.int(i64::from(crate::glob::matches(args.at(3), &vec![b'a'; len], false)));
    Ok(Effect::None)
}

fn error(_: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    Err(CommandError::new(args.at(2)))
}

fn log_line(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    log::warn!("DEBUG LOG: {}", args.text(2));
    ctx.reply.ok();
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "DEBUG",
        &[
            "DIGEST",
            "    Output a hex signature representing the current DB content.",
            "DIGEST-VALUE <key> [<key> ...]",
            "    Output a hex signature of the values of all the specified keys.",
            "ERROR <string>",
            "    Return a Redis protocol error with <string> as message.",
            "HTSTATS <dbid>",
            "    Return how many entries the database's tables have.",
            "HTSTATS-KEY <key>",
            "    Like HTSTATS for the value stored at <key>.",
            "LOADAOF",
            "    Replace the data by what the append-only files have. With the plugin persistence-aof.",
            "LOG <message>",
            "    Write <message> to the server log.",
            "OBJECT <key>",
            "    Show low level info about `key` and associated value.",
            "PAUSE-CRON <0|1>",
            "    Stop periodic work: expiry, eviction, closing of idle clients.",
            "POPULATE <count> [<prefix>] [<size>]",
            "    Create <count> string keys named key:<num>.",
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "    Accepted. Elements of every size are kept alike here.",
            "RELOAD [option ...]",
            "    Encode the data set, flush it and load it again. Options: MERGE, NOFLUSH, NOSAVE.",
            "REPLICATE <command>",
            "    Sends a command to the replicas without running it.",
            "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|time>, REPLYBUFFER RESIZING <0|1>",
            "    Accepted. Replies are buffered per turn here.",
            "SET-ACTIVE-EXPIRE <0|1>",
            "    Setting it to 0 disables expiring keys (and hash-fields) in background.",
            "SLEEP <seconds>",
            "    Stop the server for <seconds>. Decimals allowed.",
            "STRINGMATCH-LEN <len> <pattern>",
            "    Match <pattern> against a string of <len> letters.",
        ],
    )
}
