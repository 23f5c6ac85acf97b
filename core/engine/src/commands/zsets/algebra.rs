//! Unions, intersections and differences of sorted sets (and plain sets, whose members count 1).

use crate::commands::common::{Res, as_sent_if, err, int, int_or, is, list};
use crate::commands::sets::{any_order, asks_each};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::object::Object;
use keystead_keyspace::set::Set;
use keystead_keyspace::zset::ZSet;
use keystead_keyspace::{Keyspace, Limits};
use keystead_resp::Args;

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
            Aggregate::Min => a.min(b),
            Aggregate::Max => a.max(b),
        }
    }
}

/// An input, borrowed: reads share the keyspace.
#[derive(Clone, Copy)]
enum Source<'k> {
    Missing,
    Set(&'k Set),
    ZSet(&'k ZSet),
}

impl<'k> Source<'k> {
    fn load(ks: &'k Keyspace, db: usize, key: &[u8]) -> Res<Self> {
        match ks.value(db, key) {
            None => Ok(Source::Missing),
            Some(Some(Object::Set(set))) => Ok(Source::Set(set)),
            Some(Some(Object::ZSet(zset))) => Ok(Source::ZSet(zset)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.len(),
            Source::ZSet(zset) => zset.len(),
        }
    }

    /// Whether both are under the same key.
    fn is(&self, other: &Source<'_>) -> bool {
        match (self, other) {
            (Source::Set(a), Source::Set(b)) => std::ptr::eq(*a, *b),
            (Source::ZSet(a), Source::ZSet(b)) => std::ptr::eq(*a, *b),
            _ => false,
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::ZSet(zset) => zset.score(member),
        }
    }

    fn has(&self, member: &[u8]) -> bool {
        self.score(member).is_some()
    }

    /// Visits members until `visit` says stop.
    fn each(&self, mut visit: impl FnMut(&[u8], f64) -> bool) {
        match self {
            Source::Missing => {}
            Source::Set(set) => {
                set.iter().all(|m| visit(m.text(&mut itoa::Buffer::new()), 1.0));
            }
            Source::ZSet(zset) => {
                zset.iter().all(|(m, s)| visit(m, s));
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

impl Request<'_> {
    fn run(mut self, op: Op, limits: &Limits) -> ZSet {
        if op == Op::Diff {
            return self.difference(limits);
        }
        let mut result = ZSet::new();
        // Redis works from the smallest input up; sums of floats depend on the order.
        self.inputs.sort_by_key(|(source, _)| source.len());
        if op == Op::Union {
            for (source, weight) in &self.inputs {
                source.each(|member, score| {
                    let score = weighted(score, *weight);
                    let joined = result.score(member).map_or(score, |old| self.aggregate.join(old, score));
                    result.add(member, joined, limits);
                    true
                });
            }
        } else {
            self.intersect(0, |member, score| {
                result.add(member, score, limits);
            });
        }
        result
    }

    /// The members of the first input that none of the others has.
    fn difference(&self, limits: &Limits) -> ZSet {
        let mut result = ZSet::new();
        let mut inputs = self.inputs.iter().map(|(source, _)| *source);
        let Some(first) = inputs.next() else { return result };
        let others: Vec<Source<'_>> = inputs.filter(|other| other.len() > 0).collect();
        if others.iter().any(|other| other.is(&first)) {
            return result;
        }
        let gone = match asks_each(first.len(), others.iter().map(Source::len)) {
            true => None,
            false => Some(common(&first, &others)),
        };
        first.each(|member, score| {
            let stays = match &gone {
                None => others.iter().all(|other| !other.has(member)),
                Some(gone) => !gone.contains(member),
            };
            if stays {
                result.add(member, score, limits);
            }
            true
        });
        result
    }

    /// Visits the intersection of inputs sorted by size, at most `limit` members (0: all).
    fn intersect(&self, limit: usize, mut visit: impl FnMut(&[u8], f64)) {
        let ((first, weight), others) = match self.inputs.split_first() {
            Some((first, others)) => ((&first.0, first.1), others),
            None => return,
        };
        let mut seen = 0;
        first.each(|member, score| {
            let mut total = weighted(score, weight);
            for (other, weight) in others {
                let Some(score) = other.score(member) else { return true };
                // Not a number here makes the sum zero, as in Redis; only the first input is mended before.
                total = self.aggregate.join(total, score * weight);
            }
            seen += 1;
            visit(member, total);
            seen != limit
        });
    }
}

/// The members of the first source that any of the others has.
fn common(first: &Source<'_>, others: &[Source<'_>]) -> Set {
    let (mut common, limits) = (Set::new(), any_order());
    for other in others {
        other.each(|member, _| {
            if first.has(member) {
                common.add(member, &limits);
            }
            common.len() < first.len()
        });
    }
    common
}

fn answer(ctx: &mut Ctx<'_>, args: Args<'_>, op: Op, name: &str) -> CommandResult {
    let resp3 = ctx.resp3();
    let (ks, db, mut out) = ctx.split();
    let request = parse(ks, db, args, 1, op, name, Form::Answer)?;
    let with_scores = request.with_scores;
    let nested = resp3 && with_scores;
    // Redis answers from the tree, where -0 stays -0; only a stored result may become compact.
    let result = request.run(op, &Limits { zset_entries: 0, ..*ks.limits() });
    out.array(if with_scores && !nested { result.len() * 2 } else { result.len() });
    for (member, score) in result.iter() {
        if nested {
            out.array(2);
        }
        out.bulk(member);
        if with_scores {
            out.double(score);
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
        ks.remove(db, key)
    };
    out.int(len as i64);
    Ok(as_sent_if(changed))
}

fn compute_and_store(ctx: &mut Ctx<'_>, args: Args<'_>, op: Op, name: &str) -> CommandResult {
    let (ks, db, _) = ctx.split();
    let result = parse(ks, db, args, 2, op, name, Form::Store)?.run(op, ks.limits());
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
