//! Sorted sets: the table of the family, adding, removing, counting and looking up members.
//! Ranges are in `range`, popping in `pop`, unions and the like in `algebra`.

mod algebra;
mod pop;
mod range;

use super::common::{Picks, Res, as_sent_if, err, float, is, pick, random_count, rest};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;
use keystead_keyspace::zset::{Added, ZSet};
use keystead_keyspace::{Class, Create, Event, Limits};
use keystead_resp::Args;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    since: &'static str,
    text: &'static str,
    f: Handler,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, KeySpec::FIRST, Group::SortedSet, since, text, f)
}

const fn keyed(mut spec: CommandSpec, keys: KeySpec) -> CommandSpec {
    spec.keys = keys;
    spec
}

const fn counted(count: i32, dest: i32) -> KeySpec {
    KeySpec::Counted { count, dest }
}

const BLOCK_KEYS: KeySpec = KeySpec::Range { first: 1, last: -2, step: 1 };

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("zadd", -4, WRITE | DENYOOM | FAST, "1.2.0",
        "Adds one or more members to a sorted set, or updates their scores.", zadd).uses(&[WRITES]),
    row("zincrby", 4, WRITE | DENYOOM | FAST, "1.2.0", "Increments the score of a member in a sorted set.", zincrby),
    row("zrem", -3, WRITE | FAST, "1.2.0", "Removes one or more members from a sorted set.", zrem).uses(&[DROPS]),
    row("zcard", 2, READONLY | FAST, "1.2.0", "Returns the number of members in a sorted set.", zcard).uses(&[LOOKS]),
    row("zscore", 3, READONLY | FAST, "1.2.0", "Returns the score of a member in a sorted set.", zscore),
    row("zmscore", -3, READONLY | FAST, "6.2.0", "Returns the score of one or more members in a sorted set.", zmscore),
    row("zrank", -3, READONLY | FAST, "2.0.0",
        "Returns the index of a member in a sorted set ordered by ascending scores.", zrank),
    row("zrevrank", -3, READONLY | FAST, "2.0.0",
        "Returns the index of a member in a sorted set ordered by descending scores.", zrevrank),
    row("zrandmember", -2, READONLY, "6.2.0", "Returns one or more random members from a sorted set.", zrandmember),
    row("zscan", -3, READONLY, "2.8.0", "Iterates over members and scores of a sorted set.", super::scan::zscan),
    row("zcount", 4, READONLY | FAST, "2.0.0",
        "Returns the count of members in a sorted set that have scores within a range.", range::zcount),
    row("zlexcount", 4, READONLY | FAST, "2.8.9",
        "Returns the number of members in a sorted set within a lexicographical range.", range::zlexcount),
    row("zrange", -4, READONLY, "1.2.0", "Returns members in a sorted set within a range of indexes.", range::zrange),
    row("zrevrange", -4, READONLY, "1.2.0",
        "Returns members in a sorted set within a range of indexes in reverse order.", range::zrevrange),
    row("zrangebyscore", -4, READONLY, "1.0.5",
        "Returns members in a sorted set within a range of scores.", range::zrangebyscore),
    row("zrevrangebyscore", -4, READONLY, "2.2.0",
        "Returns members in a sorted set within a range of scores in reverse order.", range::zrevrangebyscore),
    row("zrangebylex", -4, READONLY, "2.8.9",
        "Returns members in a sorted set within a lexicographical range.", range::zrangebylex),
    row("zrevrangebylex", -4, READONLY, "2.8.9",
        "Returns members in a sorted set within a lexicographical range in reverse order.", range::zrevrangebylex),
    keyed(row("zrangestore", -5, WRITE | DENYOOM, "6.2.0",
        "Stores a range of members from sorted set in a key.", range::zrangestore), KeySpec::TWO).uses(&[SETS, READS]),
    row("zremrangebyrank", 4, WRITE, "2.0.0",
        "Removes members in a sorted set within a range of indexes.", range::zremrangebyrank).uses(&[DROPS]),
    row("zremrangebyscore", 4, WRITE, "1.2.0",
        "Removes members in a sorted set within a range of scores.", range::zremrangebyscore).uses(&[DROPS]),
    row("zremrangebylex", 4, WRITE, "2.8.9",
        "Removes members in a sorted set within a lexicographical range.", range::zremrangebylex).uses(&[DROPS]),
    row("zpopmin", -2, WRITE | FAST, "5.0.0",
        "Returns the lowest-scoring members from a sorted set after removing them.", pop::zpopmin).uses(&[TAKES]),
    row("zpopmax", -2, WRITE | FAST, "5.0.0",
        "Returns the highest-scoring members from a sorted set after removing them.", pop::zpopmax).uses(&[TAKES]),
    keyed(row("bzpopmin", -3, WRITE | FAST | BLOCKING, "5.0.0",
        "Removes and returns the member with the lowest score from one or more sorted sets.", pop::bzpopmin),
        BLOCK_KEYS).uses(&[TAKES]),
    keyed(row("bzpopmax", -3, WRITE | FAST | BLOCKING, "5.0.0",
        "Removes and returns the member with the highest score from one or more sorted sets.", pop::bzpopmax),
        BLOCK_KEYS).uses(&[TAKES]),
    keyed(row("zmpop", -4, WRITE | MOVABLEKEYS, "7.0.0",
        "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them.", pop::zmpop),
        counted(1, 0)).uses(&[TAKES]),
    keyed(row("bzmpop", -5, WRITE | BLOCKING | MOVABLEKEYS, "7.0.0",
        "Removes and returns a member by score from one or more sorted sets.", pop::bzmpop), counted(2, 0))
        .uses(&[TAKES]),
    keyed(row("zunion", -3, READONLY | MOVABLEKEYS, "6.2.0",
        "Returns the union of multiple sorted sets.", algebra::zunion), counted(1, 0)),
    keyed(row("zinter", -3, READONLY | MOVABLEKEYS, "6.2.0",
        "Returns the intersect of multiple sorted sets.", algebra::zinter), counted(1, 0)),
    keyed(row("zdiff", -3, READONLY | MOVABLEKEYS, "6.2.0",
        "Returns the difference between multiple sorted sets.", algebra::zdiff), counted(1, 0)),
    keyed(row("zintercard", -3, READONLY | MOVABLEKEYS, "7.0.0",
        "Returns the number of members of the intersect of multiple sorted sets.", algebra::zintercard), counted(1, 0)),
    keyed(row("zunionstore", -4, WRITE | DENYOOM | MOVABLEKEYS, "2.0.0",
        "Stores the union of multiple sorted sets in a key.", algebra::zunionstore), counted(2, 1))
        .uses(&[SETS, READS]),
    keyed(row("zinterstore", -4, WRITE | DENYOOM | MOVABLEKEYS, "2.0.0",
        "Stores the intersect of multiple sorted sets in a key.", algebra::zinterstore), counted(2, 1))
        .uses(&[SETS, READS]),
    keyed(row("zdiffstore", -4, WRITE | DENYOOM | MOVABLEKEYS, "6.2.0",
        "Stores the difference of multiple sorted sets in a key.", algebra::zdiffstore), counted(2, 1))
        .uses(&[SETS, READS]),
];

const NAN_RESULT: CommandError = err("ERR resulting score is not a number (NaN)");

#[derive(Clone, Copy, Default)]
struct AddFlags {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

impl AddFlags {
    /// Reads the options; gives the position of the first score.
    fn parse(args: Args<'_>) -> Res<(Self, usize)> {
        let (mut flags, mut at) = (Self::default(), 2);
        while let Some(arg) = args.get(at) {
            let flag = match arg {
                a if is(a, "nx") => &mut flags.nx,
                a if is(a, "xx") => &mut flags.xx,
                a if is(a, "gt") => &mut flags.gt,
                a if is(a, "lt") => &mut flags.lt,
                a if is(a, "ch") => &mut flags.ch,
                a if is(a, "incr") => &mut flags.incr,
                _ => break,
            };
            *flag = true;
            at += 1;
        }
        Ok((flags, at))
    }

    fn check(self, pairs: usize) -> Res<()> {
        if self.nx && self.xx {
            return Err(err("ERR XX and NX options at the same time are not compatible"));
        }
        if (self.nx && (self.gt || self.lt)) || (self.gt && self.lt) {
            return Err(err("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.incr && pairs > 1 {
            return Err(err("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// The score a member gets, or `None` if the options leave it alone.
    fn decide(self, old: Option<f64>, score: f64) -> Res<Option<f64>> {
        let Some(old) = old else { return Ok((!self.xx).then_some(score)) };
        if self.nx {
            return Ok(None);
        }
        let score = if self.incr { old + score } else { score };
        if score.is_nan() {
            return Err(NAN_RESULT);
        }
        Ok(if (self.gt && score <= old) || (self.lt && score >= old) { None } else { Some(score) })
    }
}

/// What an addition changed.
#[derive(Default)]
struct Tally {
    added: i64,
    updated: i64,
    /// The last member's score, unless the options left it alone.
    score: Option<f64>,
}

fn add_one(zset: &mut ZSet, member: &[u8], score: f64, flags: AddFlags, limits: &Limits, tally: &mut Tally) -> Res<()> {
    // Without options there is no need to know the old score first.
    let plain = !(flags.nx || flags.xx || flags.gt || flags.lt || flags.incr);
    tally.score = if plain { Some(score) } else { flags.decide(zset.score(member), score)? };
    let Some(score) = tally.score else { return Ok(()) };
    match zset.add(member, score, limits) {
        Added::New => tally.added += 1,
        Added::Moved => tally.updated += 1,
        Added::Same => {}
    }
    Ok(())
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], pairs: &[(f64, &[u8])], flags: AddFlags) -> CommandResult {
    let mut tally = Tally::default();
    let create = if flags.xx { Create::No } else { Create::Yes };
    let (ks, db, mut out) = ctx.split();
    if flags.incr {
        ks.name_changes(Some(Event::new(Class::ZSet, "zincr")));
    }
    if let Some(mut zset) = ks.zset_mut(db, key, create)? {
        let limits = zset.limits();
        for (score, member) in pairs {
            if let Err(error) = add_one(&mut zset, member, *score, flags, &limits, &mut tally) {
                // Only an increment fails, and it comes alone: nothing was changed.
                zset.unchanged();
                return Err(error);
            }
        }
        zset.changed((tally.added + tally.updated) as u64);
    }
    match (flags.incr, tally.score) {
        (true, Some(score)) => out.double(score),
        (true, None) => out.null(),
        _ => out.int(if flags.ch { tally.added + tally.updated } else { tally.added }),
    }
    Ok(as_sent_if(tally.added + tally.updated > 0))
}

pub(super) fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (flags, at) = AddFlags::parse(args)?;
    let rest = rest(args, at);
    if rest.is_empty() || !rest.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    flags.check(rest.len() / 2)?;
    let mut pairs: smallvec::SmallVec<[(f64, &[u8]); 8]> = smallvec::SmallVec::new();
    for pair in rest.chunks_exact(2) {
        pairs.push((float(pair[0])?, pair[1]));
    }
    add(ctx, &args[1], &pairs, flags)
}

fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let flags = AddFlags { incr: true, ..AddFlags::default() };
    add(ctx, &args[1], &[(float(&args[2])?, &args[3])], flags)
}

fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let members = rest(args, 2);
    let mut removed = 0;
    if let Some(mut zset) = ks.zset_mut(db, &args[1], Create::No)? {
        removed = members.iter().filter(|m| zset.remove(m).is_some()).count() as i64;
        zset.changed(removed as u64);
    }
    out.int(removed);
    Ok(as_sent_if(removed > 0))
}

fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(ks.zset(db, &args[1])?.map_or(0, ZSet::len) as i64);
    Ok(Effect::None)
}

fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    match ks.zset(db, &args[1])?.and_then(|z| z.score(&args[2])) {
        Some(score) => out.double(score),
        None => out.null(),
    }
    Ok(Effect::None)
}

fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let zset = ks.zset(db, &args[1])?;
    out.array(args.len() - 2);
    for member in rest(args, 2) {
        match zset.and_then(|z| z.score(member)) {
            Some(score) => out.double(score),
            None => out.null(),
        }
    }
    Ok(Effect::None)
}

fn rank(ctx: &mut Ctx<'_>, args: Args<'_>, name: &str, reverse: bool) -> CommandResult {
    if args.len() > 4 {
        return Err(CommandError::arity(name));
    }
    let with_score = args.len() == 4;
    if with_score && !is(&args[3], "withscore") {
        return Err(CommandError::SYNTAX);
    }
    let (ks, db, mut out) = ctx.split();
    let found = ks.zset(db, &args[1])?.and_then(|z| {
        let (rank, score) = z.rank(&args[2])?;
        Some((if reverse { z.len() - 1 - rank } else { rank }, score))
    });
    match found {
        Some((rank, score)) if with_score => {
            out.array(2);
            out.int(rank as i64);
            out.double(score);
        }
        Some((rank, _)) => out.int(rank as i64),
        None if with_score => out.null_array(),
        None => out.null(),
    }
    Ok(Effect::None)
}

fn zrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    rank(ctx, args, "zrank", false)
}

fn zrevrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    rank(ctx, args, "zrevrank", true)
}

fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let with_scores = args.len() > 3;
    let count = args.get(2).map(|arg| random_count(arg, false)).transpose()?;
    if args.len() > 4 || (with_scores && !is(&args[3], "withscores")) {
        return Err(CommandError::SYNTAX);
    }
    if with_scores {
        random_count(&args[2], true)?;
    }
    let (ks, db, mut out) = ctx.split();
    let len = ks.zset(db, &args[1])?.map_or(0, ZSet::len);
    match (len, count) {
        (0, None) => out.null(),
        (0, _) | (_, Some(0)) => out.array(0),
        _ => {
            let picks = pick(ctx, count.unwrap_or(1), len)?;
            answer_picks(ctx, &args[1], picks, count.is_some(), with_scores)?;
        }
    }
    Ok(Effect::None)
}

fn answer_picks(ctx: &mut Ctx<'_>, key: &[u8], picks: Picks, many: bool, with_scores: bool) -> Res<()> {
    let (nested, most) = (ctx.resp3(), ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let Some(zset) = ks.again::<ZSet>(db, key) else { return Ok(()) };
    let picks = match picks {
        Picks::All => None,
        Picks::Some(picks) => Some(picks),
    };
    let n = picks.as_ref().map_or(zset.len(), Vec::len);
    if many {
        out.array(if with_scores && !nested { n * 2 } else { n });
    }
    let answer = |(member, score): (&[u8], f64)| {
        if with_scores && nested {
            out.array(2);
        }
        out.bulk(member);
        if with_scores {
            out.double(score);
        }
        out.out.len() < most
    };
    match picks {
        None => _ = zset.iter().all(answer),
        Some(picks) => _ = picks.iter().filter_map(|i| zset.nth(*i)).all(answer),
    }
    Ok(())
}
