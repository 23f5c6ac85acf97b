//! Ranges of sorted sets by rank, score and lexicographical order: reading, storing, counting, removing.

use crate::commands::common::{Res, as_sent_if, err, int, is, range as positions};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::elem::Elem;
use keystead_keyspace::zset::ZSet;
use keystead_keyspace::{Create, Object};
use keystead_resp::Args;

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ScoreBound {
    value: f64,
    exclusive: bool,
}

impl ScoreBound {
    fn parse(arg: &[u8]) -> Option<Self> {
        let (text, exclusive) = match arg.strip_prefix(b"(") {
            Some(text) => (text, true),
            None => (arg, false),
        };
        Some(Self { value: strtod(text)?, exclusive })
    }
}

/// C's strtod over the whole text, which ends at a zero byte: nothing is zero, too large is infinite, spaces may stand in
/// front.
fn strtod(text: &[u8]) -> Option<f64> {
    let text = memchr::memchr(0, text).map_or(text, |end| &text[..end]).trim_ascii_start();
    if text.is_empty() {
        return Some(0.0);
    }
    keystead_resp::number::parse_f64(text)
        .or_else(|| std::str::from_utf8(text).ok()?.parse::<f64>().ok())
        .filter(|value| !value.is_nan())
}

/// One end of a lexicographical range.
#[derive(Clone, Copy, Debug, PartialEq)]
enum LexBound<'a> {
    Lowest,
    Highest,
    Inclusive(&'a [u8]),
    Exclusive(&'a [u8]),
}

impl<'a> LexBound<'a> {
    fn parse(arg: &'a [u8]) -> Option<Self> {
        match arg {
            b"-" => Some(Self::Lowest),
            b"+" => Some(Self::Highest),
            [b'[', member @ ..] => Some(Self::Inclusive(member)),
            [b'(', member @ ..] => Some(Self::Exclusive(member)),
            _ => None,
        }
    }

    /// True for members that lie before a range that begins here.
    fn above(self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::Inclusive(bound) => member < bound,
            Self::Exclusive(bound) => member <= bound,
        }
    }

    /// True for members that don't lie behind a range that ends here.
    fn reaches(self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::Inclusive(bound) => member <= bound,
            Self::Exclusive(bound) => member < bound,
        }
    }
}

/// What a range goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Range<'a> {
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Rank,
    Score,
    Lex,
}

impl<'a> Range<'a> {
    /// `min` and `max` in ascending order.
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Res<Self> {
        match by {
            By::Rank => Ok(Range::Rank(int(min)?, int(max)?)),
            By::Score => match (ScoreBound::parse(min), ScoreBound::parse(max)) {
                (Some(min), Some(max)) => Ok(Range::Score(min, max)),
                _ => Err(err("ERR min or max is not a float")),
            },
            By::Lex => match (LexBound::parse(min), LexBound::parse(max)) {
                (Some(min), Some(max)) => Ok(Range::Lex(min, max)),
                _ => Err(err("ERR min or max not valid string range item")),
            },
        }
    }

    /// The ranks it covers, counted from the lowest (from the highest for a reversed range of ranks).
    fn ranks(&self, zset: &ZSet) -> (usize, usize) {
        let (from, to) = match *self {
            Range::Rank(start, end) => return positions(start, end, zset.len()).unwrap_or((0, 0)),
            Range::Score(min, max) => (
                zset.rank_where(|_, s| if min.exclusive { s <= min.value } else { s < min.value }),
                zset.rank_where(|_, s| if max.exclusive { s < max.value } else { s <= max.value }),
            ),
            Range::Lex(min, max) => (zset.rank_where(|m, _| min.above(m)), zset.rank_where(|m, _| max.reaches(m))),
        };
        (from, to.max(from))
    }
}

/// A whole request of the ZRANGE family.
struct Request<'a> {
    range: Range<'a>,
    reverse: bool,
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

/// Reads the arguments from `min` (at `at`) on. What the command's name fixes is given; `None` may be set by options.
fn parse<'a>(args: Args<'a>, at: usize, by: Option<By>, reverse: Option<bool>, store: bool) -> Res<Request<'a>> {
    let (mut by_opt, mut rev_opt) = (by, reverse);
    let (mut limit, mut with_scores) = ((0, -1), false);
    let mut i = at + 2;
    while let Some(arg) = args.get(i) {
        if !store && is(arg, "withscores") {
            with_scores = true;
        } else if is(arg, "limit") && i + 2 < args.len() {
            limit = (int(&args[i + 1])?, int(&args[i + 2])?);
            i += 2;
        } else if rev_opt.is_none() && is(arg, "rev") {
            rev_opt = Some(true);
        } else if by.is_none() && by_opt.is_none() && is(arg, "bylex") {
            by_opt = Some(By::Lex);
        } else if by.is_none() && by_opt.is_none() && is(arg, "byscore") {
            by_opt = Some(By::Score);
        } else {
            return Err(CommandError::SYNTAX);
        }
        i += 1;
    }
    let (by, reverse) = (by_opt.unwrap_or(By::Rank), rev_opt.unwrap_or(false));
    if limit.1 != -1 && by == By::Rank {
        return Err(err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"));
    }
    if with_scores && by == By::Lex {
        return Err(err("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
    }
    let (first, second) = (args.at(at), args.at(at + 1));
    let (min, max) = if reverse && by != By::Rank { (second, first) } else { (first, second) };
    let range = Range::parse(by, min, max)?;
    let limit = (by != By::Rank).then_some(limit);
    Ok(Request { range, reverse, limit, with_scores })
}

impl Request<'_> {
    /// Rank of the first member in the order of the answer, and how many follow from it.
    fn span(&self, zset: &ZSet) -> (usize, usize) {
        let (from, to) = self.range.ranks(zset);
        let mut n = to - from;
        let mut skip = 0;
        if let Some((offset, count)) = self.limit {
            // A negative offset skips everything, a negative count takes everything.
            skip = usize::try_from(offset).unwrap_or(n).min(n);
            n = (n - skip).min(usize::try_from(count).unwrap_or(usize::MAX));
        }
        let start = match (self.reverse, &self.range) {
            (false, _) => from + skip,
            (true, Range::Rank(..)) => zset.len().saturating_sub(1 + from),
            (true, _) => (to).saturating_sub(1 + skip),
        };
        (start, n)
    }

    fn members<'z>(&self, zset: &'z ZSet) -> impl Iterator<Item = (&'z [u8], f64)> + use<'z> {
        let (start, n) = self.span(zset);
        let it = if self.reverse { zset.rev_from(start) } else { zset.iter_from(start) };
        it.take(n)
    }
}

fn answer(ctx: &mut Ctx<'_>, key: &[u8], request: &Request<'_>) -> CommandResult {
    let (nested, most) = (ctx.resp3() && request.with_scores, ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let Some(zset) = ks.zset(db, key)? else {
        out.array(0);
        return Ok(Effect::None);
    };
    let n = request.span(zset).1;
    out.array(if request.with_scores && !nested { n * 2 } else { n });
    for (member, score) in request.members(zset) {
        if out.out.len() >= most {
            break;
        }
        if nested {
            out.array(2);
        }
        out.bulk(member);
        if request.with_scores {
            out.double(score);
        }
    }
    Ok(Effect::None)
}

fn read(ctx: &mut Ctx<'_>, args: Args<'_>, by: Option<By>, reverse: Option<bool>) -> CommandResult {
    let request = parse(args, 2, by, reverse, false)?;
    answer(ctx, &args[1], &request)
}

pub(super) fn zrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read(ctx, args, None, None)
}

pub(super) fn zrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read(ctx, args, Some(By::Rank), Some(true))
}

pub(super) fn zrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read(ctx, args, Some(By::Score), Some(false))
}

pub(super) fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read(ctx, args, Some(By::Score), Some(true))
}

pub(super) fn zrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read(ctx, args, Some(By::Lex), Some(false))
}

pub(super) fn zrevrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read(ctx, args, Some(By::Lex), Some(true))
}

pub(super) fn zrangestore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let request = parse(args, 3, None, None, true)?;
    let (ks, db, _) = ctx.split();
    let zset = ks.zset(db, &args[2])?;
    let members = zset.into_iter().flat_map(|zset| request.members(zset));
    let members = members.map(|(member, score)| (Elem::new(member), score)).collect();
    // Redis knows beforehand how many come only where ranks are given.
    let counted = matches!(request.range, Range::Rank(..));
    let result = ZSet::of_each(members, counted, ks.limits());
    super::algebra::store(ctx, &args[1], result)
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, by: By) -> CommandResult {
    let range = Range::parse(by, args.at(2), args.at(3))?;
    let (ks, db, mut out) = ctx.split();
    let n = ks.zset(db, &args[1])?.map_or(0, |zset| {
        let (from, to) = range.ranks(zset);
        to - from
    });
    out.int(n as i64);
    Ok(Effect::None)
}

pub(super) fn zcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    count(ctx, args, By::Score)
}

pub(super) fn zlexcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    count(ctx, args, By::Lex)
}

fn remove(ctx: &mut Ctx<'_>, args: Args<'_>, by: By) -> CommandResult {
    let range = Range::parse(by, args.at(2), args.at(3))?;
    let (ks, db, mut out) = ctx.split();
    let (from, to) = ks.zset(db, &args[1])?.map_or((0, 0), |zset| range.ranks(zset));
    if from < to {
        let mut rest = ZSet::new();
        if let Some(mut zset) = ks.zset_mut(db, &args[1], Create::No)? {
            rest = zset.remove_range(from, to);
            zset.changed((to - from) as u64);
        }
        ks.discard(Object::ZSet(rest));
    }
    out.int((to - from) as i64);
    Ok(as_sent_if(from < to))
}

pub(super) fn zremrangebyrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, By::Rank)
}

pub(super) fn zremrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, By::Score)
}

pub(super) fn zremrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, By::Lex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineOptions, Now};
    use crate::session::ConnInfo;
    use keystead_resp::OwnedArgs;

    #[test]
    fn bounds_are_read_as_redis_reads_them() {
        let bound = |value, exclusive| Some(ScoreBound { value, exclusive });
        assert_eq!(ScoreBound::parse(b"1.5"), bound(1.5, false));
        assert_eq!(ScoreBound::parse(b"(1.5"), bound(1.5, true));
        assert_eq!(ScoreBound::parse(b"(-inf"), bound(f64::NEG_INFINITY, true));
        assert_eq!(ScoreBound::parse(b"+inf"), bound(f64::INFINITY, false));
        assert_eq!(ScoreBound::parse(b"1e999"), bound(f64::INFINITY, false));
        assert_eq!(ScoreBound::parse(b"("), bound(0.0, true));
        assert_eq!(ScoreBound::parse(b"(1\x00 2"), bound(1.0, true), "a text ends at its first zero byte");
        for bad in ["nan", "(nan", "1.5x", "[1", "((1"] {
            assert_eq!(ScoreBound::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(LexBound::parse(b"[a"), Some(LexBound::Inclusive(b"a")));
        assert_eq!(LexBound::parse(b"("), Some(LexBound::Exclusive(b"")));
        for bad in ["", "a", "+a", "--"] {
            assert_eq!(LexBound::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    /// However its members are asked for, a range is stored in their own order and in the form that so many of them have.
    #[test]
    fn a_stored_range_is_in_order_and_of_the_right_form() {
        let now = Now { unix_ms: 1_700_000_000_000, mono_us: 0 };
        let mut engine = Engine::new(EngineOptions { now, ..EngineOptions::default() });
        let id = engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, now).unwrap();
        let mut run = |line: &str| {
            engine.begin_turn(now);
            let _ = engine.execute(id, line.split(' ').collect::<OwnedArgs>().view());
            let _ = engine.end_turn();
            let mut out = Vec::new();
            engine.swap_out(id, &mut out);
            String::from_utf8(out).unwrap()
        };
        for (count, form) in
            [(1, "$8\r\nlistpack"), (128, "$8\r\nlistpack"), (129, "$8\r\nskiplist"), (3000, "$8\r\nskiplist")]
        {
            let all: String = (0..count).map(|n| format!(" 7 member:{n:09}")).collect();
            run(&format!("ZADD from{all}"));
            let members = run("ZRANGE from 0 -1 WITHSCORES");
            for range in ["0 -1", "0 -1 REV", "-inf +inf BYSCORE", "7 7 BYSCORE REV", "- + BYLEX", "+ - BYLEX REV"] {
                assert_eq!(run(&format!("ZRANGESTORE new from {range}")), format!(":{count}\r\n"), "{range}");
                assert_eq!(run("OBJECT ENCODING new").trim_end(), form, "{range} of {count}");
                assert_eq!(run("ZRANGE new 0 -1 WITHSCORES"), members, "{range} of {count}");
            }
        }
        // Part of it, over itself; nothing of it.
        assert_eq!(run("ZRANGESTORE from from + - BYLEX REV LIMIT 10 5"), ":5\r\n");
        assert!(run("ZRANGE from 0 -1").starts_with("*5\r\n$16\r\nmember:000002985\r\n"));
        assert_eq!(run("ZRANGESTORE from from 5 9"), ":0\r\n");
        assert_eq!(run("EXISTS from"), ":0\r\n");
    }
}
