//! Unions, intersections and differences of sorted sets (and plain sets, whose members count 1).

use crate::commands::common::{Res, as_sent_if, err, int, int_or, is, list};
use crate::commands::source::{self, Lookup, Source};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use foldhash::fast::RandomState;
use keystead_keyspace::Keyspace;
use keystead_keyspace::elem::Elem;
use keystead_keyspace::object::Object;
use keystead_keyspace::set::Member;
use keystead_keyspace::zset::{ZSet, order_members};
use keystead_resp::Args;
use std::borrow::Cow;
use std::collections::HashMap;

#[derive(Clone, Copy, PartialEq)]
enum Op {
    Union,
    Inter,
    Diff,
}

/// What becomes of the result.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Answer,
    Store,
    Card,
}

#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            // +inf and -inf make zero, as Redis has it.
            Aggregate::Sum => Some(a + b).filter(|s| !s.is_nan()).unwrap_or(0.0),
            // Of 0 and -0 the first stays.
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

struct Request<'k> {
    inputs: Vec<(Source<'k>, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

/// Reads the arguments from `numkeys` (at `at`) on.
fn parse<'k>(
    ks: &'k Keyspace,
    db: usize,
    args: Args<'_>,
    at: usize,
    op: Op,
    name: &str,
    form: Form,
) -> Res<Request<'k>> {
    let (store, card) = (form == Form::Store, form == Form::Card);
    let count = int(&args[at])?;
    if count < 1 {
        return Err(CommandError::new(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    let end = usize::try_from(count).ok().and_then(|n| n.checked_add(at + 1)).filter(|end| *end <= args.len());
    let end = end.ok_or(CommandError::SYNTAX)?;
    let mut inputs = Vec::new();
    for key in list(args, at + 1, end) {
        inputs.push((Source::load(ks, db, key)?, 1.0));
    }
    let mut request = Request { inputs, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
    let mut i = end;
    while let Some(arg) = args.get(i) {
        let left = args.len() - i;
        if op != Op::Diff && !card && left > request.inputs.len() && is(arg, "weights") {
            for input in &mut request.inputs {
                i += 1;
                input.1 = keystead_resp::number::parse_f64(&args[i]).ok_or(err("ERR weight value is not a float"))?;
            }
        } else if op != Op::Diff && !card && left >= 2 && is(arg, "aggregate") {
            i += 1;
            request.aggregate = match &args[i] {
                a if is(a, "sum") => Aggregate::Sum,
                a if is(a, "min") => Aggregate::Min,
                a if is(a, "max") => Aggregate::Max,
                _ => return Err(CommandError::SYNTAX),
            };
        } else if !store && !card && is(arg, "withscores") {
            request.with_scores = true;
        } else if card && left >= 2 && is(arg, "limit") {
            i += 1;
            let bad = err("ERR LIMIT can't be negative");
            request.limit = usize::try_from(int_or(&args[i], bad.clone())?).map_err(|_| bad)?;
        } else {
            return Err(CommandError::SYNTAX);
        }
        i += 1;
    }
    Ok(request)
}

fn weighted(score: f64, weight: f64) -> f64 {
    Some(score * weight).filter(|s| !s.is_nan()).unwrap_or(0.0)
}

/// Members, each once, in any order, with their scores. A sorted set is made of them when all are known: its form, and with it
/// the sign of a zero, must not depend on the order, which is another in each process.
type Members = Vec<(Elem, f64)>;

impl Request<'_> {
    fn run(mut self, op: Op) -> Members {
        if op == Op::Diff {
            return self.difference();
        }
        // Redis works from the smallest input up; sums of floats depend on the order.
        self.inputs.sort_by_key(|(source, _)| source.len());
        if op == Op::Union {
            return self.union().iter().map(|(member, score)| (Elem::new(member), *score)).collect();
        }
        let mut members = Members::new();
        self.intersect(0, |member, score| members.push((member.to_elem(), score)));
        members
    }

    /// All members with their scores.
    fn union(&self) -> HashMap<Cow<'_, [u8]>, f64, RandomState> {
        let most = self.inputs.iter().map(|(source, _)| source.len()).max().unwrap_or(0);
        let mut all = HashMap::with_capacity_and_hasher(most, RandomState::default());
        for (source, weight) in &self.inputs {
            source.each(|member, score| {
                let score = weighted(score, *weight);
                let member = match member {
                    Member::Bytes(bytes) => Cow::Borrowed(bytes),
                    Member::Int(_) => Cow::Owned(member.to_elem().to_vec()),
                };
                let joined = all.entry(member);
                joined.and_modify(|old| *old = self.aggregate.join(*old, score)).or_insert(score);
                true
            });
        }
        all
    }

    /// The members of the first input that none of the others has.
    fn difference(&self) -> Members {
        let mut members = Members::new();
        let mut inputs = self.inputs.iter().map(|(source, _)| *source);
        let Some(first) = inputs.next() else { return members };
        let others: Vec<Source<'_>> = inputs.filter(|other| other.len() > 0).collect();
        source::difference(first, &others, |member, score| {
            members.push((member.to_elem(), score));
            true
        });
        members
    }

    /// Visits the intersection of inputs sorted by size, at most `limit` members (0: all).
    fn intersect(&self, limit: usize, mut visit: impl FnMut(Member<'_>, f64)) {
        let ((first, weight), others) = match self.inputs.split_first() {
            Some((first, others)) => ((&first.0, first.1), others),
            None => return,
        };
        let mut others: Vec<(Lookup<'_>, f64)> =
            others.iter().map(|(other, weight)| (Lookup::new(*other, first), *weight)).collect();
        let mut seen = 0;
        first.each(|member, score| {
            let mut total = weighted(score, weight);
            for (other, weight) in &mut others {
                let Some(score) = other.score(member) else { return true };
                // Not a number here makes the sum zero, as in Redis; only the first input is mended before.
                total = self.aggregate.join(total, score * *weight);
            }
            seen += 1;
            visit(member, total);
            seen != limit
        });
    }
}

fn answer(ctx: &mut Ctx<'_>, args: Args<'_>, op: Op, name: &str) -> CommandResult {
    let (resp3, most) = (ctx.resp3(), ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let request = parse(ks, db, args, 1, op, name, Form::Answer)?;
    let with_scores = request.with_scores;
    let nested = resp3 && with_scores;
    // As in Redis -0 stays -0 here; only a stored result may become compact.
    let mut result = request.run(op);
    order_members(&mut result);
    out.array(if with_scores && !nested { result.len() * 2 } else { result.len() });
    for (member, score) in &result {
        if out.out.len() >= most {
            break;
        }
        if nested {
            out.array(2);
        }
        out.bulk(member);
        if with_scores {
            out.double(*score);
        }
    }
    Ok(Effect::None)
}

/// Puts a result under `key`, or deletes the key when it is empty, and answers its size.
pub(super) fn store(ctx: &mut Ctx<'_>, key: &[u8], result: ZSet) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let len = result.len();
    let changed = if len > 0 {
        ks.put_object(db, key, Object::ZSet(result), None);
        true
    } else {
        ks.remove_unasked(db, key)
    };
    out.int(len as i64);
    Ok(as_sent_if(changed))
}

fn compute_and_store(ctx: &mut Ctx<'_>, args: Args<'_>, op: Op, name: &str) -> CommandResult {
    let (ks, db, _) = ctx.split();
    let members = parse(ks, db, args, 2, op, name, Form::Store)?.run(op);
    let result = ZSet::of_many(members, ks.limits());
    store(ctx, &args[1], result)
}

pub(super) fn zunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Op::Union, "zunion")
}

pub(super) fn zinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Op::Inter, "zinter")
}

pub(super) fn zdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Op::Diff, "zdiff")
}

pub(super) fn zunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    compute_and_store(ctx, args, Op::Union, "zunionstore")
}

pub(super) fn zinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    compute_and_store(ctx, args, Op::Inter, "zinterstore")
}

pub(super) fn zdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    compute_and_store(ctx, args, Op::Diff, "zdiffstore")
}

pub(super) fn zintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let mut request = parse(ks, db, args, 1, Op::Inter, "zintercard", Form::Card)?;
    request.inputs.sort_by_key(|(source, _)| source.len());
    let mut count = 0;
    request.intersect(request.limit, |_, _| count += 1);
    out.int(count);
    Ok(Effect::None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_keyspace::Limits;

    /// A tree of so many members, all of one score.
    fn level(count: usize, score: f64) -> ZSet {
        ZSet::of_many((0..count).map(|n| (Elem::new(format!("m{n}").as_bytes()), score)).collect(), &Limits::default())
    }

    /// How many scores print as -0 in what would be stored.
    fn negative_zeros(inputs: &[(&ZSet, f64)], op: Op) -> usize {
        let inputs = inputs.iter().map(|(zset, weight)| (Source::ZSet(zset), *weight)).collect();
        let request = Request { inputs, aggregate: Aggregate::Min, with_scores: false, limit: 0 };
        let stored = ZSet::of_many(request.run(op), &Limits::default());
        stored.iter().filter(|(_, score)| score.is_sign_negative()).count()
    }

    #[test]
    fn the_sign_of_a_zero_depends_on_the_whole_result_only() {
        let (zero, negative, few) = (level(300, 0.0), level(300, -0.0), level(100, 0.0));
        assert_eq!(negative_zeros(&[(&zero, -1.0)], Op::Union), 300);
        assert_eq!(negative_zeros(&[(&zero, -1.0), (&zero, -1.0)], Op::Inter), 300);
        assert_eq!(negative_zeros(&[(&negative, 1.0)], Op::Diff), 300);
        assert_eq!(negative_zeros(&[(&negative, 1.0), (&few, 1.0)], Op::Diff), 200);
        assert_eq!(negative_zeros(&[(&few, -1.0)], Op::Union), 0);
        assert_eq!(negative_zeros(&[(&few, -1.0), (&zero, -1.0)], Op::Inter), 0);
    }
}
