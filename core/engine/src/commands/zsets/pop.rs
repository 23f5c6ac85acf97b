//! ZPOPMIN, ZPOPMAX, ZMPOP and their blocking forms.

use crate::commands::common::{List, Res, counted_keys, err, int_or, is, list, positive, timeout_ms};
use crate::ctx::{Ctx, OnTimeout};
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::zset::ZSet;
use keystead_keyspace::{Class, Create, Event, Object};
use keystead_resp::Args;

#[derive(Clone, Copy, PartialEq)]
enum End {
    Min,
    Max,
}

impl End {
    fn command(self) -> &'static str {
        if self == End::Min { "ZPOPMIN" } else { "ZPOPMAX" }
    }

    fn parse(arg: &[u8]) -> Res<Self> {
        match arg {
            a if is(a, "min") => Ok(End::Min),
            a if is(a, "max") => Ok(End::Max),
            _ => Err(CommandError::SYNTAX),
        }
    }
}

/// How popped members are written.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// member, score, member, score …
    Flat,
    /// [member, score] …
    Nested,
    /// key, member, score
    KeyFlat,
    /// key, [[member, score] …]
    KeyNested,
}

/// The first of `keys` that holds members. Another type among those before it is an error.
fn first_filled(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Res<Option<usize>> {
    let (ks, db, _) = ctx.split();
    for (i, key) in keys.iter().enumerate() {
        if ks.zset(db, key)?.is_some() {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Pops up to `count` members; gives how many.
fn pop(ctx: &mut Ctx<'_>, key: &[u8], end: End, count: usize, shape: Shape) -> Res<usize> {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    ks.name_changes(Some(Event::new(Class::ZSet, if end == End::Min { "zpopmin" } else { "zpopmax" })));
    let Some(mut zset) = ks.zset_mut(db, key, Create::No)? else { return Ok(0) };
    let n = count.min(zset.len());
    match shape {
        Shape::Flat => out.array(n * 2),
        Shape::Nested => out.array(n),
        Shape::KeyFlat => {
            out.array(n * 2 + 1);
            out.bulk(key);
        }
        Shape::KeyNested => {
            out.array(2);
            out.bulk(key);
            out.array(n);
        }
    }
    let nested = matches!(shape, Shape::Nested | Shape::KeyNested);
    let mut answer = |member: &[u8], score: f64| {
        if nested {
            out.array(2);
        }
        out.bulk(member);
        out.double(score);
        out.out.len() < most
    };
    if n == 1 {
        let rank = if end == End::Min { 0 } else { zset.len() - 1 };
        if let Some((member, score)) = zset.remove_nth(rank) {
            answer(&member, score);
        }
        zset.changed(1);
        return Ok(1);
    }
    let (from, members) = match end {
        End::Min => (0, zset.iter_from(0)),
        End::Max => (zset.len() - n, zset.rev_from(usize::MAX)),
    };
    // Behind `most` bytes nobody will read the rest.
    members.take(n).all(|(member, score)| answer(member, score));
    // Together: half the work of one after the other where they are many.
    let gone = zset.remove_range(from, from + n);
    zset.changed(n as u64);
    drop(zset);
    if !gone.is_empty() {
        ks.discard(Object::ZSet(gone));
    }
    Ok(n)
}

fn zpop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let count = args.get(2).map(positive).transpose()?;
    let (ks, db, mut out) = ctx.split();
    if ks.zset(db, &args[1])?.map_or(0, ZSet::len) == 0 || count == Some(0) {
        out.array(0);
        return Ok(Effect::None);
    }
    let shape = if ctx.resp3() && count.is_some() { Shape::Nested } else { Shape::Flat };
    pop(ctx, &args[1], end, count.unwrap_or(1), shape)?;
    Ok(Effect::AsSent)
}

pub(super) fn zpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    zpop(ctx, args, End::Min)
}

pub(super) fn zpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    zpop(ctx, args, End::Max)
}

fn bzpop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CommandResult {
    let timeout = timeout_ms(&args[args.len() - 1], ctx.now_ms())?;
    let keys = list(args, 1, args.len() - 1);
    match first_filled(ctx, &keys)? {
        Some(i) => {
            pop(ctx, keys[i], end, 1, Shape::KeyFlat)?;
            Ok(ctx.instead(&[end.command().as_bytes(), keys[i]]))
        }
        None => ctx.park_on_keys(&keys, timeout, OnTimeout::NullArray),
    }
}

pub(super) fn bzpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    bzpop(ctx, args, End::Min)
}

pub(super) fn bzpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    bzpop(ctx, args, End::Max)
}

/// Reads `numkeys key … MIN|MAX [COUNT n]` with numkeys at `at`.
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
    let n = pop(ctx, keys[i], end, count, Shape::KeyNested)?;
    Ok(Some(ctx.instead(&[end.command().as_bytes(), keys[i], n.to_string().as_bytes()])))
}

pub(super) fn zmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (keys, end, count) = parse_mpop(args, 1)?;
    match mpop(ctx, &keys, end, count)? {
        Some(effect) => Ok(effect),
        None => {
            ctx.reply().null_array();
            Ok(Effect::None)
        }
    }
}

pub(super) fn bzmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (keys, end, count) = parse_mpop(args, 2)?;
    let timeout = timeout_ms(&args[1], ctx.now_ms())?;
    match mpop(ctx, &keys, end, count)? {
        Some(effect) => Ok(effect),
        None => ctx.park_on_keys(&keys, timeout, OnTimeout::NullArray),
    }
}
