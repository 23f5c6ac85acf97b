//! Hashes: fields of a key, their values as text and as numbers, random fields.

use super::common::{Picks, Res, err, int, is, pick, random_count, rest};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;
use keystead_keyspace::Create;
use keystead_keyspace::HashRead;
use keystead_resp::Args;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    since: &'static str,
    text: &'static str,
    f: Handler,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, KeySpec::FIRST, Group::Hash, since, text, f)
}

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("hset", -4, WRITE | DENYOOM | FAST, "2.0.0", "Creates or modifies the value of a field in a hash.", hset)
        .uses(&[WRITES]),
    row("hmset", -4, WRITE | DENYOOM | FAST, "2.0.0", "Sets the values of multiple fields.", hmset).uses(&[WRITES]),
    row("hsetnx", 4, WRITE | DENYOOM | FAST, "2.0.0",
        "Sets the value of a field in a hash only when the field doesn't exist.", hsetnx).uses(&[PUTS]),
    row("hget", 3, READONLY | FAST, "2.0.0", "Returns the value of a field in a hash.", hget),
    row("hmget", -3, READONLY | FAST, "2.0.0", "Returns the values of all fields in a hash.", hmget),
    row("hgetall", 2, READONLY, "2.0.0", "Returns all fields and values in a hash.", hgetall),
    row("hkeys", 2, READONLY, "2.0.0", "Returns all fields in a hash.", hkeys),
    row("hvals", 2, READONLY, "2.0.0", "Returns all values in a hash.", hvals),
    row("hdel", -3, WRITE | FAST, "2.0.0", "Deletes one or more fields and their values from a hash.", hdel)
        .uses(&[DROPS]),
    row("hexists", 3, READONLY | FAST, "2.0.0", "Determines whether a field exists in a hash.", hexists).uses(&[LOOKS]),
    row("hlen", 2, READONLY | FAST, "2.0.0", "Returns the number of fields in a hash.", hlen).uses(&[LOOKS]),
    row("hstrlen", 3, READONLY | FAST, "3.2.0", "Returns the length of the value of a field.", hstrlen).uses(&[LOOKS]),
    row("hincrby", 4, WRITE | DENYOOM | FAST, "2.0.0",
        "Increments the integer value of a field in a hash by a number.", hincrby),
    row("hincrbyfloat", 4, WRITE | DENYOOM | FAST, "2.6.0",
        "Increments the floating point value of a field by a number.", hincrbyfloat),
    row("hrandfield", -2, READONLY, "6.2.0", "Returns one or more random fields from a hash.", hrandfield),
    row("hscan", -3, READONLY, "2.8.0", "Iterates over fields and values of a hash.", super::scan::hscan),
];

/// Sets pairs; gives how many fields are new.
fn set_pairs(ctx: &mut Ctx<'_>, args: Args<'_>, name: &str) -> Res<i64> {
    if args.len() % 2 == 1 {
        return Err(CommandError::arity(name));
    }
    let (ks, db, _) = ctx.split();
    let Some(mut hash) = ks.hash_mut(db, &args[1], Create::Yes)? else { return Ok(0) };
    let limits = hash.limits();
    let mut new = 0;
    for at in (2..args.len()).step_by(2) {
        new += i64::from(hash.set(&args[at], &args[at + 1], &limits));
    }
    hash.changed((args.len() / 2 - 1) as u64);
    Ok(new)
}

fn hset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let new = set_pairs(ctx, args, "hset")?;
    ctx.reply().int(new);
    Ok(Effect::AsSent)
}

fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    set_pairs(ctx, args, "hmset")?;
    ctx.reply().ok();
    Ok(Effect::AsSent)
}

fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    if ks.hash(db, &args[1])?.is_some_and(|hash| hash.contains(&args[2])) {
        out.int(0);
        return Ok(Effect::None);
    }
    if let Some(mut hash) = ks.hash_mut(db, &args[1], Create::Yes)? {
        let limits = hash.limits();
        hash.set(&args[2], &args[3], &limits);
    }
    out.int(1);
    Ok(Effect::AsSent)
}

fn hget(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.bulk_or_null(ks.hash(db, &args[1])?.and_then(|hash| hash.get(&args[2])));
    Ok(Effect::None)
}

fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let hash = ks.hash(db, &args[1])?;
    out.array(args.len() - 2);
    for field in rest(args, 2) {
        if out.out.len() >= most {
            break;
        }
        out.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(Effect::None)
}

fn hgetall(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let hash = ks.hash(db, &args[1])?;
    out.map(hash.map_or(0, |hash| hash.shown()));
    for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
        if out.out.len() >= most {
            break;
        }
        out.bulk(field);
        out.bulk(value);
    }
    Ok(Effect::None)
}

fn hkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let hash = ks.hash(db, &args[1])?;
    out.array(hash.map_or(0, |hash| hash.shown()));
    hash.iter().flat_map(|hash| hash.iter()).all(|(field, _)| {
        out.bulk(field);
        out.out.len() < most
    });
    Ok(Effect::None)
}

fn hvals(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let hash = ks.hash(db, &args[1])?;
    out.array(hash.map_or(0, |hash| hash.shown()));
    hash.iter().flat_map(|hash| hash.iter()).all(|(_, value)| {
        out.bulk(value);
        out.out.len() < most
    });
    Ok(Effect::None)
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let mut removed = 0;
    if let Some(mut hash) = ks.hash_mut(db, &args[1], Create::No)? {
        removed = rest(args, 2).iter().filter(|field| hash.remove(field)).count();
        hash.changed(removed as u64);
    }
    out.int(removed as i64);
    Ok(super::common::as_sent_if(removed > 0))
}

fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(i64::from(ks.hash(db, &args[1])?.is_some_and(|hash| hash.contains(&args[2]))));
    Ok(Effect::None)
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(ks.hash(db, &args[1])?.map_or(0, |hash| hash.count()) as i64);
    Ok(Effect::None)
}

fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(ks.hash(db, &args[1])?.and_then(|hash| hash.get(&args[2])).map_or(0, <[u8]>::len) as i64);
    Ok(Effect::None)
}

fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let delta = int(&args[3])?;
    let (ks, db, mut out) = ctx.split();
    let old = match ks.hash(db, &args[1])?.and_then(|hash| hash.get(&args[2])) {
        Some(text) => super::common::int_or(text, err("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = old.checked_add(delta).ok_or(err("ERR increment or decrement would overflow"))?;
    if let Some(mut hash) = ks.hash_mut(db, &args[1], Create::Yes)? {
        let limits = hash.limits();
        hash.set_keeping(&args[2], itoa::Buffer::new().format(sum).as_bytes(), &limits);
    }
    out.int(sum);
    Ok(Effect::AsSent)
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !super::common::long_double(&args[3]).ok_or(CommandError::NOT_FLOAT)?.is_finite() {
        return Err(err("ERR value is NaN or Infinity"));
    }
    let (ks, db, mut out) = ctx.split();
    let old = ks.hash(db, &args[1])?.and_then(|hash| hash.get(&args[2]));
    let text = super::common::float_sum(old, &args[3], err("ERR hash value is not a float"))?;
    if let Some(mut hash) = ks.hash_mut(db, &args[1], Create::Yes)? {
        let limits = hash.limits();
        hash.set_keeping(&args[2], &text, &limits);
    }
    let deadline = ks.hash(db, &args[1])?.and_then(|hash| hash.deadline(&args[2])).flatten();
    out.bulk(&text);
    // Every machine adds floats a little differently: replicas get the result.
    let effect = ctx.instead(&[b"HSET", &args[1], &args[2], &text]);
    match deadline {
        None => Ok(effect),
        // HSET takes the field's deadline away, which stays here.
        Some(at) => {
            let at = at.to_string();
            Ok(ctx.instead(&[b"HPEXPIREAT", &args[1], at.as_bytes(), b"FIELDS", b"1", &args[2]]))
        }
    }
}

fn hrandfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let with_values = args.len() > 3;
    let count = args.get(2).map(|arg| random_count(arg, false)).transpose()?;
    if args.len() > 4 || (with_values && !is(&args[3], "withvalues")) {
        return Err(CommandError::SYNTAX);
    }
    if with_values {
        random_count(&args[2], true)?;
    }
    // As Redis: what is expired goes before fields are drawn.
    ctx.ks.expire_fields(ctx.session.db, &args[1], MOST_EXPIRED);
    let (ks, db, mut out) = ctx.split();
    let hash = ks.hash(db, &args[1])?;
    let (len, shown) = hash.map_or((0, 0), |hash| (hash.count(), hash.shown()));
    match (shown, count) {
        (0, None) => out.null(),
        (0, _) | (_, Some(0)) => out.array(0),
        _ => {
            let live = (len > shown).then(|| positions_shown(hash));
            let picks = pick(ctx, count.unwrap_or(1), shown)?;
            answer_picks(ctx, &args[1], (picks, live), count.is_some(), with_values)?;
        }
    }
    Ok(Effect::None)
}

/// Most expired fields that one HRANDFIELD deletes: about a millisecond. It walks past any others.
const MOST_EXPIRED: usize = 1_000;

/// Where the fields are whose time isn't up.
fn positions_shown(hash: Option<HashRead<'_>>) -> Vec<usize> {
    let Some(hash) = hash else { return Vec::new() };
    let shown = |i: &usize| hash.nth(*i).is_some_and(|(field, _)| !hash.is_over(field));
    (0..hash.count()).filter(shown).collect()
}

/// `picks` are positions in the hash, or in the list of positions beside them.
fn answer_picks(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    (picks, live): (Picks, Option<Vec<usize>>),
    many: bool,
    with_values: bool,
) -> Res<()> {
    let (nested, most) = (ctx.resp3() && with_values, ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let Some(hash) = ks.hash_again(db, key) else { return Ok(()) };
    let picks = match picks {
        Picks::All => None,
        Picks::Some(picks) => Some(picks),
    };
    let n = picks.as_ref().map_or(hash.shown(), Vec::len);
    if many {
        out.array(if with_values && !nested { n * 2 } else { n });
    }
    let mut answer = |(field, value): (&[u8], &[u8])| {
        if nested {
            out.array(2);
        }
        out.bulk(field);
        if with_values {
            out.bulk(value);
        }
        out.out.len() < most
    };
    match picks {
        None => _ = hash.iter().all(answer),
        Some(picks) => {
            let place = |i: &usize| live.as_ref().map_or(*i, |live| live[*i]);
            picks.iter().filter_map(|i| hash.nth(place(i))).all(&mut answer);
        }
    }
    Ok(())
}
