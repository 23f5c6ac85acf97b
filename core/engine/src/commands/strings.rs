//! Strings: values of single keys, several keys at once, numbers, parts. SET's options are in `expiry`.

use super::common::{Res, as_sent_if, err, float_sum, int};
use super::expiry::{SetOptions, Unit, deadline, has_passed};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Origin};
use crate::error::CommandError;
use crate::spec::*;
use keystead_keyspace::{Event, IncrError, Keyspace, StrInput, StrRef, Ttl, UnixMillis};
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
    CommandSpec::new(name, arity, flags, keys, Group::String, since, text, f)
}

const ONE: KeySpec = KeySpec::FIRST;

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("get", 2, READONLY | FAST, ONE, "1.0.0", "Returns the string value of a key.", get),
    row("set", -3, WRITE | DENYOOM, ONE, "1.0.0", "Sets the string value of a key, ignoring its type.", set)
        .uses_by(set_use),
    row("setnx", 3, WRITE | DENYOOM | FAST, ONE, "1.0.0",
        "Set the string value of a key only when the key doesn't exist.", setnx).uses(&[MAKES]),
    row("setex", 4, WRITE | DENYOOM, ONE, "2.0.0", "Sets the string value and expiration time of a key.", setex)
        .uses(&[SETS]),
    row("psetex", 4, WRITE | DENYOOM, ONE, "2.6.0",
        "Sets both string value and expiration time in milliseconds of a key.", psetex).uses(&[SETS]),
    row("getex", -2, WRITE | FAST, ONE, "6.2.0",
        "Returns the string value of a key after setting its expiration time.", getex),
    row("getdel", 2, WRITE | FAST, ONE, "6.2.0", "Returns the string value of a key after deleting the key.", getdel)
        .uses(&[TAKES]),
    row("getset", 3, WRITE | DENYOOM | FAST, ONE, "1.0.0",
        "Returns the previous string value of a key after setting it to a new value.", getset),
    row("mget", -2, READONLY | FAST, KeySpec::ALL, "1.0.0",
        "Atomically returns the string values of one or more keys.", mget),
    row("mset", -3, WRITE | DENYOOM, KeySpec::PAIRS, "1.0.1",
        "Atomically creates or modifies the string values of one or more keys.", mset).uses(&[SETS]),
    row("msetnx", -3, WRITE | DENYOOM, KeySpec::PAIRS, "1.0.1",
        "Atomically modifies the string values of one or more keys only when all keys don't exist.", msetnx)
        .uses(&[MAKES]),
    row("append", 3, WRITE | DENYOOM | FAST, ONE, "2.0.0", "Appends a string to the value of a key.", append)
        .uses(&[PUTS]),
    row("strlen", 2, READONLY | FAST, ONE, "2.2.0", "Returns the length of a string value.", strlen).uses(&[LOOKS]),
    row("getrange", 4, READONLY, ONE, "2.4.0", "Returns a substring of the string stored at a key.", getrange),
    row("substr", 4, READONLY, ONE, "1.0.0", "Returns a substring from a string value.", getrange),
    row("setrange", 4, WRITE | DENYOOM, ONE, "2.2.0",
        "Overwrites a part of a string value with another by an offset.", setrange).uses(&[WRITES]),
    row("incr", 2, WRITE | DENYOOM | FAST, ONE, "1.0.0", "Increments the integer value of a key by one.", incr),
    row("decr", 2, WRITE | DENYOOM | FAST, ONE, "1.0.0", "Decrements the integer value of a key by one.", decr),
    row("incrby", 3, WRITE | DENYOOM | FAST, ONE, "1.0.0",
        "Increments the integer value of a key by a number.", incrby),
    row("decrby", 3, WRITE | DENYOOM | FAST, ONE, "1.0.0",
        "Decrements a number from the integer value of a key.", decrby),
    row("incrbyfloat", 3, WRITE | DENYOOM | FAST, ONE, "2.6.0",
        "Increment the floating point value of a key by a number.", incrbyfloat),
    row("lcs", -3, READONLY, KeySpec::TWO, "7.0.0", "Finds the longest common substring.", super::lcs::lcs),
];

/// The longest string a key may hold (`proto-max-bulk-len`). What a primary or a file made already was within the limit
/// there: to refuse it would be to have other data.
pub(super) fn max_string(ctx: &Ctx<'_>) -> usize {
    match ctx.origin {
        Origin::Replication | Origin::Loading => isize::MAX as usize,
        Origin::Client | Origin::Internal => usize::try_from(ctx.core.config.live.max_bulk).unwrap_or(usize::MAX),
    }
}

const TOO_LONG: CommandError = err("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

#[inline]
/// With GET it tells the old value; without, the old value doesn't matter.
fn set_use(args: Args<'_>) -> Use {
    let get = args.len() < 3 || args.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"get"));
    if get { CHANGES } else { SETS }
}

fn write_str(out: &mut keystead_resp::Writer<'_>, value: Option<StrRef<'_>>) {
    match value {
        Some(StrRef::Bytes(bytes)) => out.bulk(bytes),
        Some(StrRef::Int(n)) => out.bulk_int(n),
        None => out.null(),
    }
}

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    write_str(&mut out, ks.get_str(db, &args[1])?);
    Ok(Effect::None)
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() == 3 {
        // The common case needs nothing of what follows.
        let (ks, db, mut out) = ctx.split();
        ks.set_str(db, &args[1], &args[2], Ttl::Clear);
        out.ok();
        return Ok(Effect::AsSent);
    }
    let options = SetOptions::parse_set(args)?;
    let at = match options.expire {
        Some((unit, arg)) => Some(deadline(arg, unit, ctx.now_ms(), "set")?),
        None => None,
    };
    let (ks, db, mut out) = ctx.split();
    if options.get {
        write_str(&mut out, ks.get_str(db, &args[1])?);
    }
    let found = (options.nx || options.xx) && ks.holds(db, &args[1]);
    if (options.nx && found) || (options.xx && !found) {
        if !options.get {
            out.null();
        }
        return Ok(Effect::None);
    }
    let ttl = match at {
        Some(at) => Ttl::At(UnixMillis(at)),
        None if options.keep_ttl => Ttl::Keep,
        None => Ttl::Clear,
    };
    ks.set_str(db, &args[1], &args[2], ttl);
    if at.is_some() {
        ks.tell(db, &args[1], Event::EXPIRE);
    }
    if !options.get {
        out.ok();
    }
    if matches!(options.expire, Some((Unit::AtMillis, _))) {
        return Ok(Effect::AsSent);
    }
    if let Some(at) = at {
        return Ok(ctx.instead(&[b"SET", &args[1], &args[2], b"PXAT", itoa::Buffer::new().format(at).as_bytes()]));
    }
    if !options.get {
        return Ok(Effect::AsSent);
    }
    let without_get: Vec<&[u8]> = args
        .iter()
        .enumerate()
        .filter(|(i, arg)| *i < 3 || !super::common::is(arg, "get"))
        .map(|(_, arg)| arg)
        .collect();
    Ok(ctx.instead(&without_get))
}

fn set_with_ttl(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, name: &str) -> CommandResult {
    let at = deadline(&args[2], unit, ctx.now_ms(), name)?;
    let (ks, db, mut out) = ctx.split();
    ks.set_str(db, &args[1], &args[3], Ttl::At(UnixMillis(at)));
    ks.tell(db, &args[1], Event::EXPIRE);
    out.ok();
    Ok(ctx.instead(&[b"SET", &args[1], &args[3], b"PXAT", itoa::Buffer::new().format(at).as_bytes()]))
}

fn setex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    set_with_ttl(ctx, args, Unit::Seconds, "setex")
}

fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    set_with_ttl(ctx, args, Unit::Millis, "psetex")
}

fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let absent = !ks.holds(db, &args[1]);
    if absent {
        ks.set_str(db, &args[1], &args[2], Ttl::Clear);
    }
    out.int(i64::from(absent));
    Ok(as_sent_if(absent))
}

fn getex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = SetOptions::parse_getex(args)?;
    let now = ctx.now_ms();
    let (ks, db, mut out) = ctx.split();
    let key = &args[1];
    let Some(value) = ks.get_str(db, key)? else {
        out.null();
        return Ok(Effect::None);
    };
    let at = match options.expire {
        Some((unit, arg)) => Some(deadline(arg, unit, now, "getex")?),
        None => None,
    };
    write_str(&mut out, Some(value));
    let passed = at.is_some_and(|at| has_passed(ctx, at as i64));
    let (ks, db, _) = ctx.split();
    match at {
        Some(_) if passed => {
            ks.remove(db, key);
            Ok(ctx.expired_instead(key))
        }
        Some(at) => {
            ks.name_changes(Some(Event::EXPIRE));
            ks.set_deadline(db, key, Some(UnixMillis(at)));
            Ok(ctx.instead(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]))
        }
        None if options.persist => {
            ks.name_changes(Some(Event::PERSIST));
            let removed = ks.set_deadline(db, key, None);
            if removed { Ok(ctx.instead(&[b"PERSIST", key])) } else { Ok(Effect::None) }
        }
        None => Ok(Effect::None),
    }
}

fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    write_str(&mut out, ks.get_str(db, &args[1])?);
    if !ks.remove(db, &args[1]) {
        return Ok(Effect::None);
    }
    Ok(ctx.instead(&[b"DEL", &args[1]]))
}

fn getset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    write_str(&mut out, ks.get_str(db, &args[1])?);
    ks.set_str(db, &args[1], &args[2], Ttl::Clear);
    Ok(ctx.instead(&[b"SET", &args[1], &args[2]]))
}

fn mget(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    out.array(args.len() - 1);
    for key in args.skip(1).iter() {
        if out.out.len() >= most {
            break;
        }
        // A key of another type is no error here.
        write_str(&mut out, ks.get_str(db, key).unwrap_or(None));
    }
    Ok(Effect::None)
}

fn set_pairs(ks: &mut Keyspace, db: usize, args: Args<'_>) {
    for at in (1..args.len()).step_by(2) {
        ks.set_str(db, &args[at], &args[at + 1], Ttl::Clear);
    }
}

fn mset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::arity("mset"));
    }
    let (ks, db, mut out) = ctx.split();
    set_pairs(ks, db, args);
    out.ok();
    Ok(Effect::AsSent)
}

fn msetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::arity("msetnx"));
    }
    let (ks, db, mut out) = ctx.split();
    if (1..args.len()).step_by(2).any(|at| ks.holds(db, &args[at])) {
        out.int(0);
        return Ok(Effect::None);
    }
    set_pairs(ks, db, args);
    out.int(1);
    Ok(Effect::AsSent)
}

fn append(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let max = max_string(ctx);
    let (ks, db, mut out) = ctx.split();
    let old = ks.get_str(db, &args[1])?.map_or(0, |s| s.len());
    if old + args[2].len() > max {
        return Err(TOO_LONG);
    }
    out.int(ks.append(db, &args[1], &args[2])? as i64);
    Ok(Effect::AsSent)
}

fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(ks.get_str(db, &args[1])?.map_or(0, |s| s.len()) as i64);
    Ok(Effect::None)
}

/// The part of a string of `len` bytes that GETRANGE means.
fn part(start: i64, end: i64, len: usize) -> Option<(usize, usize)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let len = len as i64;
    let fix = |i: i64| if i < 0 { i.saturating_add(len).max(0) } else { i };
    let (start, end) = (fix(start), fix(end).min(len - 1));
    (start <= end && len > 0).then(|| (start as usize, end as usize + 1))
}

fn getrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (start, end) = (int(&args[2])?, int(&args[3])?);
    let (ks, db, mut out) = ctx.split();
    let mut buf = itoa::Buffer::new();
    let value = ks.get_str(db, &args[1])?;
    let text = value.as_ref().map_or(&b""[..], |s| s.text(&mut buf));
    match part(start, end, text.len()) {
        Some((from, to)) => out.bulk(&text[from..to]),
        None => out.bulk(b""),
    }
    Ok(Effect::None)
}

fn setrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let max = max_string(ctx);
    let offset = usize::try_from(int(&args[2])?).map_err(|_| err("ERR offset is out of range"))?;
    let (ks, db, mut out) = ctx.split();
    let old = ks.get_str(db, &args[1])?.map_or(0, |s| s.len());
    if args[3].is_empty() {
        out.int(old as i64);
        return Ok(Effect::None);
    }
    if offset.checked_add(args[3].len()).is_none_or(|end| end > max) {
        return Err(TOO_LONG);
    }
    out.int(ks.set_range(db, &args[1], offset, &args[3])? as i64);
    Ok(Effect::AsSent)
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], delta: i64) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let sum = ks.incr_by(db, key, delta).map_err(|error| match error {
        IncrError::WrongType => CommandError::WRONG_TYPE,
        IncrError::NotAnInteger => CommandError::NOT_INTEGER,
        IncrError::Overflow => err("ERR increment or decrement would overflow"),
    })?;
    out.int(sum);
    Ok(Effect::AsSent)
}

fn incr(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, &args[1], 1)
}

fn decr(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, &args[1], -1)
}

fn incrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, &args[1], int(&args[2])?)
}

fn decrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let delta = int(&args[2])?.checked_neg().ok_or(err("ERR decrement would overflow"))?;
    add(ctx, &args[1], delta)
}

fn incrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let old = ks.get_str(db, &args[1])?;
    let mut buf = itoa::Buffer::new();
    let old = old.as_ref().map(|s| s.text(&mut buf));
    let sum: Res<Vec<u8>> = float_sum(old, &args[2], CommandError::NOT_FLOAT);
    let sum = sum?;
    // Redis keeps a sum of floats as text also where it is whole.
    ks.set_str(db, &args[1], StrInput::Text(&sum), Ttl::Keep);
    out.bulk(&sum);
    // Every machine adds floats a little differently: replicas get the result.
    Ok(ctx.instead(&[b"SET", &args[1], &sum, b"KEEPTTL"]))
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_follow_redis() {
        let cases = [
            ((0, -1, 5), Some((0, 5))),
            ((0, 0, 5), Some((0, 1))),
            ((-3, -1, 5), Some((2, 5))),
            ((-100, 1, 5), Some((0, 2))),
            ((0, -100, 5), Some((0, 1))),
            ((-1, -3, 5), None),
            ((5, 10, 5), None),
            ((3, 1, 5), None),
            ((0, -1, 0), None),
            ((5, -6, 0), None),
            ((5, -6, 3), None),
            ((i64::MIN, i64::MAX, 5), Some((0, 5))),
        ];
        for ((start, end, len), expected) in cases {
            assert_eq!(part(start, end, len), expected, "{start} {end} {len}");
        }
    }
}
