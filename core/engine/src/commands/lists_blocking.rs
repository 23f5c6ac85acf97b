//! Lists over several keys, and the commands that wait for an element. Each says to replicas what it popped in the end.

use super::common::{List, Res, counted_keys, err, int_or, is, list, timeout_ms};
use super::lists::{End, move_one};
use crate::ctx::{Ctx, OnTimeout};
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::Create;
use keystead_resp::Args;

/// The first of `keys` that holds a list. Another type among those before it is an error.
fn first_filled(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Res<Option<usize>> {
    let (ks, db, _) = ctx.split();
    for (i, key) in keys.iter().enumerate() {
        if ks.list(db, key)?.is_some() {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

fn bpop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CommandResult {
    let timeout = timeout_ms(&args[args.len() - 1], ctx.now_ms())?;
    let keys = list(args, 1, args.len() - 1);
    let Some(i) = first_filled(ctx, &keys)? else {
        return ctx.park_on_keys(&keys, timeout, OnTimeout::NullArray);
    };
    let (ks, db, mut out) = ctx.split();
    if let Some(mut list) = ks.list_mut(db, keys[i], Create::No)? {
        out.array(2);
        out.bulk(keys[i]);
        out.bulk_or_null(end.pop(&mut list));
    }
    Ok(ctx.instead(&[end.pop_command().as_bytes(), keys[i]]))
}

pub(super) fn blpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    bpop(ctx, args, End::Left)
}

pub(super) fn brpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    bpop(ctx, args, End::Right)
}

pub(super) fn blmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (from, to) = (End::parse(&args[3])?, End::parse(&args[4])?);
    let timeout = timeout_ms(&args[5], ctx.now_ms())?;
    let (ks, db, mut out) = ctx.split();
    match move_one(ks, db, (&args[1], from), (&args[2], to))? {
        Some(elem) => {
            out.bulk(&*elem);
            Ok(ctx.instead(&[b"LMOVE", &args[1], &args[2], &args[3], &args[4]]))
        }
        None => ctx.park_on_keys(&[&args[1]], timeout, OnTimeout::Null),
    }
}

pub(super) fn brpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let timeout = timeout_ms(&args[3], ctx.now_ms())?;
    let (ks, db, mut out) = ctx.split();
    match move_one(ks, db, (&args[1], End::Right), (&args[2], End::Left))? {
        Some(elem) => {
            out.bulk(&*elem);
            Ok(ctx.instead(&[b"RPOPLPUSH", &args[1], &args[2]]))
        }
        None => ctx.park_on_keys(&[&args[1]], timeout, OnTimeout::Null),
    }
}

/// Reads `numkeys key … LEFT|RIGHT [COUNT n]` with numkeys at `at`.
fn parse_mpop<'a>(args: Args<'a>, at: usize) -> Res<(List<'a>, End, usize)> {
    let (keys, mut at) = counted_keys(args, at)?;
    let end = End::parse(&args[at])?;
    at += 1;
    let mut count = None;
    while at < args.len() {
        if count.is_some() || !is(&args[at], "count") || at + 1 >= args.len() {
            return Err(CommandError::SYNTAX);
        }
        let bad = err("ERR count should be greater than 0");
        let n = int_or(&args[at + 1], bad.clone())?;
        count = Some(usize::try_from(n).ok().filter(|n| *n > 0).ok_or(bad)?);
        at += 2;
    }
    Ok((keys, end, count.unwrap_or(1)))
}

fn mpop(ctx: &mut Ctx<'_>, keys: &[&[u8]], end: End, count: usize) -> Res<Option<Effect>> {
    let Some(i) = first_filled(ctx, keys)? else { return Ok(None) };
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    ks.name_changes(Some(end.popped()));
    let Some(mut list) = ks.list_mut(db, keys[i], Create::No)? else { return Ok(None) };
    let n = count.min(list.len());
    out.array(2);
    out.bulk(keys[i]);
    end.pop_many(&mut list, n, &mut out, most);
    list.changed(n as u64);
    drop(list);
    Ok(Some(ctx.instead(&[end.pop_command().as_bytes(), keys[i], n.to_string().as_bytes()])))
}

pub(super) fn lmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (keys, end, count) = parse_mpop(args, 1)?;
    match mpop(ctx, &keys, end, count)? {
        Some(effect) => Ok(effect),
        None => {
            ctx.reply().null_array();
            Ok(Effect::None)
        }
    }
}

pub(super) fn blmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (keys, end, count) = parse_mpop(args, 2)?;
    let timeout = timeout_ms(&args[1], ctx.now_ms())?;
    match mpop(ctx, &keys, end, count)? {
        Some(effect) => Ok(effect),
        None => ctx.park_on_keys(&keys, timeout, OnTimeout::NullArray),
    }
}
