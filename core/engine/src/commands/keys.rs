//! Keys of any type: existence, names, copies, moves, OBJECT. Deadlines are in `expiry`, DUMP and RESTORE in `dump`,
//! SORT in `sort`, SCAN in `scan`, KEYS of many in `keys_cut`.

use super::common::{as_sent_if, database, err, is};
use super::{dump, expiry, keys_cut, scan, sort};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::glob;
use crate::spec::*;
use keystead_resp::Args;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: KeySpec,
    since: &'static str,
    text: &'static str,
    f: Handler,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, keys, Group::Generic, since, text, f)
}

const ONE: KeySpec = KeySpec::FIRST;
const SECOND: KeySpec = KeySpec::Range { first: 2, last: 2, step: 1 };

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("del", -2, WRITE, KeySpec::ALL, "1.0.0", "Deletes one or more keys.", del).uses(&[REMOVES]),
    row("unlink", -2, WRITE | FAST, KeySpec::ALL, "4.0.0", "Asynchronously deletes one or more keys.", del)
        .uses(&[REMOVES]),
    row("exists", -2, READONLY | FAST, KeySpec::ALL, "1.0.0", "Determines whether one or more keys exist.", exists)
        .uses(&[LOOKS]),
    row("touch", -2, READONLY | FAST, KeySpec::ALL, "3.2.1",
        "Returns how many of the keys exist, and renews the time of their last access.", touch).uses(&[LOOKS]),
    row("type", 2, READONLY | FAST, ONE, "1.0.0", "Determines the type of value stored at a key.", type_of)
        .uses(&[LOOKS]),
    row("keys", 2, READONLY, KeySpec::None, "1.0.0", "Returns all key names that match a pattern.", keys),
    row("randomkey", 1, READONLY, KeySpec::None, "1.0.0", "Returns a random key name from the database.", randomkey),
    row("rename", 3, WRITE, KeySpec::TWO, "1.0.0", "Renames a key and overwrites the destination.", rename)
        .uses(&[TAKES, SETS]),
    row("renamenx", 3, WRITE | FAST, KeySpec::TWO, "1.0.0",
        "Renames a key only when the target key name doesn't exist.", renamenx).uses(&[TAKES, MAKES]),
    row("copy", -3, WRITE | DENYOOM, KeySpec::TWO, "6.2.0", "Copies the value of a key to a new key.", copy)
        .uses(&[READS, SETS]),
    row("move", 3, WRITE | FAST, ONE, "1.0.0", "Moves a key to another database.", move_key),
    row("expire", -3, WRITE | FAST, ONE, "1.0.0", "Sets the expiration time of a key in seconds.", expiry::expire)
        .uses(&[WRITES]),
    row("pexpire", -3, WRITE | FAST, ONE, "2.6.0",
        "Sets the expiration time of a key in milliseconds.", expiry::pexpire).uses(&[WRITES]),
    row("expireat", -3, WRITE | FAST, ONE, "1.2.0",
        "Sets the expiration time of a key to a Unix timestamp.", expiry::expireat).uses(&[WRITES]),
    row("pexpireat", -3, WRITE | FAST, ONE, "2.6.0",
        "Sets the expiration time of a key to a Unix milliseconds timestamp.", expiry::pexpireat).uses(&[WRITES]),
    row("ttl", 2, READONLY | FAST, ONE, "1.0.0", "Returns the expiration time in seconds of a key.", expiry::ttl),
    row("pttl", 2, READONLY | FAST, ONE, "2.6.0",
        "Returns the expiration time in milliseconds of a key.", expiry::pttl),
    row("expiretime", 2, READONLY | FAST, ONE, "7.0.0",
        "Returns the expiration time of a key as a Unix timestamp.", expiry::expiretime),
    row("pexpiretime", 2, READONLY | FAST, ONE, "7.0.0",
        "Returns the expiration time of a key as a Unix milliseconds timestamp.", expiry::pexpiretime),
    row("persist", 2, WRITE | FAST, ONE, "2.2.0", "Removes the expiration time of a key.", expiry::persist)
        .uses(&[WRITES]),
    row("dump", 2, READONLY, ONE, "2.6.0",
        "Returns a serialized representation of the value stored at a key.", dump::dump),
    row("restore", -4, WRITE | DENYOOM, ONE, "2.6.0",
        "Creates a key from the serialized representation of a value.", dump::restore).uses(&[SETS]),
    row("scan", -2, READONLY, KeySpec::None, "2.8.0", "Iterates over the key names in the database.", scan::scan),
    row("sort", -2, WRITE | DENYOOM | MOVABLEKEYS, KeySpec::Custom(sort::keys), "1.0.0",
        "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.", sort::sort)
        .uses(&[READS, SETS]),
    row("sort_ro", -2, READONLY | MOVABLEKEYS, ONE, "7.0.0",
        "Returns the sorted elements of a list, a set, or a sorted set.", sort::sort_ro),
    CommandSpec::container("object", Group::Generic, "2.2.3",
        "A container for object introspection commands.", OBJECT),
];

#[rustfmt::skip]
const OBJECT: &[CommandSpec] = &[
    row("encoding", 3, READONLY, SECOND, "2.2.3", "Returns the internal encoding of a Redis object.", object_encoding)
        .uses(&[LOOKS]),
    row("freq", 3, READONLY, SECOND, "4.0.0",
        "Returns the logarithmic access frequency counter of a Redis object.", object_freq).uses(&[LOOKS]),
    row("idletime", 3, READONLY, SECOND, "2.2.3",
        "Returns the time since the last access to a Redis object.", object_idletime).uses(&[LOOKS]),
    row("refcount", 3, READONLY, SECOND, "2.2.3", "Returns the reference count of a value of a key.", object_refcount)
        .uses(&[LOOKS]),
    row("help", 2, LOADING | STALE, KeySpec::None, "6.2.0",
        "Returns helpful text about the different subcommands.", object_help),
];

fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let removed = args.skip(1).iter().filter(|key| ks.remove(db, key)).count();
    out.int(removed as i64);
    Ok(as_sent_if(removed > 0))
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(args.skip(1).iter().filter(|key| ks.exists(db, key)).count() as i64);
    Ok(Effect::None)
}

/// Unlike EXISTS, it is a use of each key.
fn touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(args.skip(1).iter().filter(|key| ks.touch(db, key)).count() as i64);
    Ok(Effect::None)
}

fn type_of(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.simple(ks.type_of(db, &args[1]).map_or("none", |t| t.name()));
    Ok(Effect::None)
}

/// KEYS walks a database with fewer keys in its turn: that takes about a millisecond.
const KEYS_IN_TURN: usize = 10_000;

fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if ctx.may_block() && ctx.ks.len(ctx.db()) > KEYS_IN_TURN {
        return keys_cut::keys(ctx, args);
    }
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let (mark, mut n) = (out.defer(), 0);
    let all = &args[1] == b"*";
    ks.each_key(db, |key, _| {
        if out.out.len() < most && (all || glob::matches(&args[1], key, false)) {
            out.bulk(key);
            n += 1;
        }
    });
    out.end_array(mark, n);
    Ok(Effect::None)
}

fn randomkey(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.bulk_or_null(ks.random_key(db));
    Ok(Effect::None)
}

fn rename(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    if !ks.rename(db, &args[1], &args[2]) {
        return Err(CommandError::NO_KEY);
    }
    out.ok();
    Ok(as_sent_if(args[1] != args[2]))
}

fn renamenx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    if !ks.holds(db, &args[1]) {
        return Err(CommandError::NO_KEY);
    }
    let free = !ks.holds(db, &args[2]) && ks.rename(db, &args[1], &args[2]);
    out.int(i64::from(free));
    Ok(as_sent_if(free))
}

/// A database number that exists.
const SAME_OBJECT: CommandError = err("ERR source and destination objects are the same");

fn copy(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let (mut to_db, mut replace, mut at) = (db, false, 3);
    while let Some(arg) = args.get(at) {
        match (arg, args.get(at + 1)) {
            (a, _) if is(a, "replace") => replace = true,
            (a, Some(number)) if is(a, "db") => {
                to_db = database(number, ks.databases())?;
                at += 1;
            }
            _ => return Err(CommandError::SYNTAX),
        }
        at += 1;
    }
    if to_db == db && args[1] == args[2] {
        return Err(SAME_OBJECT);
    }
    let copied = ks.copy(db, &args[1], to_db, &args[2], replace);
    out.int(i64::from(copied));
    Ok(as_sent_if(copied))
}

fn move_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let to = database(&args[2], ks.databases())?;
    if to == db {
        return Err(SAME_OBJECT);
    }
    let moved = ks.move_key(db, &args[1], to);
    out.int(i64::from(moved));
    Ok(as_sent_if(moved))
}

/// Whether OBJECT has something to tell of; else it told that.
fn kept(ctx: &mut Ctx<'_>, key: &[u8]) -> bool {
    let (ks, db, mut out) = ctx.split();
    let kept = ks.is_kept(db, key);
    if !kept {
        out.null();
    }
    kept
}

fn object_encoding(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if kept(ctx, &args[2]) {
        let (ks, db, mut out) = ctx.split();
        out.bulk_or_null(ks.object_encoding(db, &args[2]));
    }
    Ok(Effect::None)
}

fn object_freq(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !kept(ctx, &args[2]) {
        return Ok(Effect::None);
    }
    let (ks, db, mut out) = ctx.split();
    match ks.frequency(db, &args[2]) {
        None => {}
        Some(Some(frequency)) => out.int(i64::from(frequency)),
        Some(None) => {
            return Err(err(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
    }
    Ok(Effect::None)
}

fn object_idletime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !kept(ctx, &args[2]) {
        return Ok(Effect::None);
    }
    let (ks, db, mut out) = ctx.split();
    if let Some(Some(_)) = ks.frequency(db, &args[2]) {
        return Err(err(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    if let Some(secs) = ks.idle_secs(db, &args[2]) {
        out.int(secs as i64);
    }
    Ok(Effect::None)
}

fn object_refcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    /// What Redis answers for the small integers it shares, unless it evicts by each key's own access.
    const SHARED: i64 = 2_147_483_647;
    if !kept(ctx, &args[2]) {
        return Ok(Effect::None);
    }
    let memory = &ctx.core.config.live.memory;
    let shares = memory.max == 0 || !memory.policy.by_access();
    let (ks, db, mut out) = ctx.split();
    let small = matches!(ks.integer(db, &args[2]), Some(Some(0..10_000)));
    out.int(if small && shares { SHARED } else { 1 });
    Ok(Effect::None)
}

fn object_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const HELP: [&str; 11] = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
    ];
    const TAIL: [&str; 4] = [
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Print this help.",
    ];
    let out = ctx.reply();
    out.array(HELP.len() + TAIL.len());
    HELP.iter().chain(&TAIL).for_each(|line| out.simple(line));
    Ok(Effect::None)
}
