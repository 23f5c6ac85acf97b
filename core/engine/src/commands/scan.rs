//! SCAN, HSCAN, SSCAN, ZSCAN: one reader of options, one shape of answer. A cursor is a place in hash space, so what
//! stays from start to end is seen, whatever grows or shrinks in between.

use super::common::{Res, err, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::glob;
use keystead_resp::Args;
use keystead_resp::Writer;

struct Query<'a> {
    cursor: u64,
    count: usize,
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    /// The cursor stands at `at`, the options follow; `keys` allows TYPE.
    fn parse(args: Args<'a>, at: usize, keys: bool) -> Res<Self> {
        let cursor = parse_cursor(&args[at])?;
        let mut query = Query { cursor, count: 10, pattern: None, kind: None };
        for at in (at + 1..args.len()).step_by(2) {
            let value = args.get(at + 1).ok_or(CommandError::SYNTAX)?;
            match &args[at] {
                a if is(a, "count") => {
                    query.count = usize::try_from(int(value)?).ok().filter(|n| *n > 0).ok_or(CommandError::SYNTAX)?;
                }
                a if is(a, "match") => query.pattern = Some(value).filter(|p| *p != b"*"),
                a if is(a, "type") && keys => query.kind = Some(value),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(query)
    }

    fn wants(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, text, false))
    }
}

/// A cursor as strtoul reads it: zeros may lead, a sign too, nothing is zero.
fn parse_cursor(arg: &[u8]) -> Res<u64> {
    const BAD: CommandError = err("ERR invalid cursor");
    let (negative, digits) = match arg {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, arg),
    };
    if digits.len() != arg.len() && digits.is_empty() {
        return Err(BAD);
    }
    let add = |n: u64, c: &u8| n.checked_mul(10)?.checked_add(u64::from(c.is_ascii_digit().then(|| c - b'0')?));
    let value = digits.iter().try_fold(0, add).ok_or(BAD)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// What Redis answers for a key that doesn't exist, before it looks at the options.
fn nothing(out: &mut Writer<'_>) -> CommandResult {
    out.array(2);
    out.bulk("0");
    out.array(0);
    Ok(Effect::None)
}

/// Writes the two-part answer around elements that `run` writes; `run` gives the next cursor and how many it wrote.
fn answer(out: &mut Writer<'_>, run: impl FnOnce(&mut Writer<'_>) -> (u64, usize)) {
    // The cursor comes first but is known last: the elements are written behind a gap-free mark and moved once.
    let mark = out.defer();
    let (cursor, n) = run(out);
    out.end_array(mark, n);
    let elements = out.out.split_off(mark);
    out.array(2);
    out.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    out.raw(&elements);
}

pub(super) fn scan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let query = Query::parse(args, 1, true)?;
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    answer(&mut out, |out| {
        let mut n = 0;
        let next = ks.scan(db, query.cursor, query.count, |key, kind, expired| {
            let matches = query.wants(key);
            if matches && !expired && out.out.len() < most && query.kind.is_none_or(|want| is(want, kind.name())) {
                out.bulk(key);
                n += 1;
            }
            // Redis 7.2 looks at the type last: an expired key goes whatever it was.
            matches
        });
        (next, n)
    });
    Ok(Effect::None)
}

pub(super) fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    parse_cursor(&args[2])?;
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let Some(hash) = ks.hash(db, &args[1])? else { return nothing(&mut out) };
    let query = Query::parse(args, 2, false)?;
    answer(&mut out, |out| {
        let mut n = 0;
        let next = hash.scan(query.cursor, query.count, |field, value| {
            if out.out.len() < most && query.wants(field) {
                out.bulk(field);
                out.bulk(value);
                n += 2;
            }
        });
        (next, n)
    });
    Ok(Effect::None)
}

pub(super) fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    parse_cursor(&args[2])?;
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let Some(set) = ks.set(db, &args[1])? else { return nothing(&mut out) };
    let query = Query::parse(args, 2, false)?;
    answer(&mut out, |out| {
        let mut n = 0;
        let next = set.scan(query.cursor, query.count, |member| {
            let mut buf = itoa::Buffer::new();
            let text = member.text(&mut buf);
            if out.out.len() < most && query.wants(text) {
                out.bulk(text);
                n += 1;
            }
        });
        (next, n)
    });
    Ok(Effect::None)
}

pub(super) fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    parse_cursor(&args[2])?;
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let Some(zset) = ks.zset(db, &args[1])? else { return nothing(&mut out) };
    let query = Query::parse(args, 2, false)?;
    answer(&mut out, |out| {
        let mut n = 0;
        let next = zset.scan(query.cursor, query.count, |member, score| {
            if out.out.len() < most && query.wants(member) {
                out.bulk(member);
                out.bulk_double(score);
                n += 2;
            }
        });
        (next, n)
    });
    Ok(Effect::None)
}
