//! What the command families share: reading arguments with Redis' rules and words, positions, random picks, effects.
//! Never touches a reply but for the parts it is named after.

use crate::ctx::Ctx;
use crate::effect::Effect;
use crate::error::CommandError;
use keystead_resp::Args;
use keystead_resp::long_double::LongDouble;
use keystead_resp::number;

pub(crate) type Res<T> = Result<T, CommandError>;

/// Some of a command's arguments.
pub(crate) type List<'a> = smallvec::SmallVec<[&'a [u8]; 8]>;

/// The arguments `from..to`.
pub(crate) fn list<'a>(args: Args<'a>, from: usize, to: usize) -> List<'a> {
    (from..to).filter_map(|i| args.get(i)).collect()
}

/// The arguments from a position on.
pub(crate) fn rest<'a>(args: Args<'a>, from: usize) -> List<'a> {
    list(args, from, args.len())
}

/// A fixed error text.
pub(crate) const fn err(text: &'static str) -> CommandError {
    CommandError::fixed(text)
}

/// An integer argument.
pub(crate) fn int(arg: &[u8]) -> Res<i64> {
    number::parse_i64(arg).ok_or(CommandError::NOT_INTEGER)
}

/// An integer argument with an error text of its own.
pub(crate) fn int_or(arg: &[u8], error: CommandError) -> Res<i64> {
    number::parse_i64(arg).ok_or(error)
}

/// An integer that isn't negative; one error text for everything else.
pub(crate) fn positive(arg: &[u8]) -> Res<usize> {
    number::parse_i64(arg).and_then(|n| usize::try_from(n).ok()).ok_or(CommandError::NOT_POSITIVE)
}

/// A floating point argument.
pub(crate) fn float(arg: &[u8]) -> Res<f64> {
    number::parse_f64(arg).ok_or(CommandError::NOT_FLOAT)
}

/// A long double in decimal, or (as strtold takes them) in hexadecimal with a double's precision.
pub(crate) fn long_double(text: &[u8]) -> Option<LongDouble> {
    LongDouble::parse(text).or_else(|| LongDouble::parse(number::FloatText::new(number::parse_f64(text)?).as_bytes()))
}

/// The sum for INCRBYFLOAT and HINCRBYFLOAT as text, computed as x86's long double does. `old_error` answers a stored
/// value that is no number.
pub(crate) fn float_sum(old: Option<&[u8]>, delta: &[u8], old_error: CommandError) -> Res<Vec<u8>> {
    // Redis looks at the stored value first in INCRBYFLOAT, but at the argument first in HINCRBYFLOAT: callers check.
    let old = long_double(old.unwrap_or(b"0")).ok_or(old_error)?;
    let delta = long_double(delta).ok_or(CommandError::NOT_FLOAT)?;
    let sum = old.add(delta);
    if !sum.is_finite() {
        return Err(err("ERR increment would produce NaN or Infinity"));
    }
    let mut text = Vec::new();
    sum.write_human(&mut text);
    Ok(text)
}

/// Turns Redis' inclusive, possibly negative positions into a half-open range; `None` if it is empty.
pub(crate) fn range(start: i64, end: i64, len: usize) -> Option<(usize, usize)> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
    let (start, end) = (from_end(start).max(0), from_end(end).min(len - 1));
    if start > end || start >= len {
        return None;
    }
    Some((start as usize, end as usize + 1))
}

/// A position that may count from the end.
pub(crate) fn index(i: i64, len: usize) -> Option<usize> {
    let i = if i < 0 { i.saturating_add(i64::try_from(len).unwrap_or(i64::MAX)) } else { i };
    usize::try_from(i).ok().filter(|i| *i < len)
}

/// True if `arg` is `word` in any case.
pub(crate) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// `AsSent` if something changed.
pub(crate) fn as_sent_if(changed: bool) -> Effect {
    if changed { Effect::AsSent } else { Effect::None }
}

/// A random position below `n`, which isn't zero.
pub(crate) fn below(ctx: &mut Ctx<'_>, n: usize) -> usize {
    // Multiplying instead of a remainder: no bias worth speaking of at 64 bits.
    ((u128::from(ctx.random()) * n as u128) >> 64) as usize
}

/// How a command with a count picks at random.
pub(crate) enum Picks {
    /// Everything, in order.
    All,
    /// These positions, in the order to answer them.
    Some(Vec<usize>),
}

/// Positions for HRANDFIELD, SRANDMEMBER, ZRANDMEMBER: `count` distinct ones, or with repeats when it is negative.
/// Costs memory for the positions answered, never for the whole collection.
///
/// With repeats any number could be asked for; where Redis would fill its memory, this is refused.
pub(crate) fn pick(ctx: &mut Ctx<'_>, count: i64, len: usize) -> Res<Picks> {
    const MOST_REPEATS: i64 = 1 << 24;
    if count < -MOST_REPEATS {
        return Err(err("ERR value is out of range"));
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 {
        return Ok(Picks::Some((0..wanted).map(|_| below(ctx, len)).collect()));
    }
    if wanted >= len {
        return Ok(Picks::All);
    }
    let mut picked = Vec::with_capacity(wanted);
    if wanted * 4 > len {
        // Selection sampling: each position with the chance that is still needed.
        for i in 0..len {
            if below(ctx, len - i) < wanted - picked.len() {
                picked.push(i);
            }
        }
    } else {
        let mut seen = std::collections::HashSet::with_capacity(wanted);
        while picked.len() < wanted {
            let i = below(ctx, len);
            if seen.insert(i) {
                picked.push(i);
            }
        }
    }
    Ok(Picks::Some(picked))
}

/// The count of HRANDFIELD, SRANDMEMBER, ZRANDMEMBER; `doubled` if each pick answers two elements.
pub(crate) fn random_count(arg: &[u8], doubled: bool) -> Res<i64> {
    let count = int(arg)?;
    if count == i64::MIN {
        return Err(err("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"));
    }
    if doubled && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(err("ERR value is out of range"));
    }
    Ok(count)
}

/// The keys of a command with `numkeys` at `at`: the slice and the position behind it.
pub(crate) fn counted_keys<'a>(args: Args<'a>, at: usize) -> Res<(List<'a>, usize)> {
    let bad = err("ERR numkeys should be greater than 0");
    let count = int_or(&args[at], bad.clone())?;
    let count = usize::try_from(count).ok().filter(|n| *n > 0).ok_or(bad)?;
    let end = (at + 1).checked_add(count).filter(|end| *end < args.len()).ok_or(CommandError::SYNTAX)?;
    Ok((list(args, at + 1, end), end))
}

/// The timeout of a blocking command in milliseconds; 0 waits for ever.
pub(crate) fn timeout_ms(arg: &[u8]) -> Res<u64> {
    let seconds = number::parse_f64(arg).ok_or(err("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(err("ERR timeout is negative"));
    }
    let ms = (seconds * 1000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(err("ERR timeout is out of range"));
    }
    Ok(ms as u64)
}

/// A database by its number.
pub(crate) fn database(arg: &[u8], databases: usize) -> Res<usize> {
    const NOT_INT: CommandError = err("ERR value is out of range, value must between -2147483648 and 2147483647");
    let n = i32::try_from(int(arg)?).map_err(|_| NOT_INT)?;
    usize::try_from(n).ok().filter(|n| *n < databases).ok_or(CommandError::DB_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_redis() {
        let cases = [
            ((0, -1, 3), Some((0, 3))),
            ((-2, -1, 3), Some((1, 3))),
            ((-100, 1, 3), Some((0, 2))),
            ((1, 100, 3), Some((1, 3))),
            ((2, 1, 3), None),
            ((3, 5, 3), None),
            ((0, -4, 3), None),
            ((0, 0, 0), None),
            ((i64::MIN, i64::MAX, 3), Some((0, 3))),
            ((i64::MAX, i64::MIN, 3), None),
        ];
        for ((start, end, len), expected) in cases {
            assert_eq!(range(start, end, len), expected, "{start} {end} {len}");
        }
        assert_eq!((index(-1, 3), index(3, 3), index(i64::MIN, 3)), (Some(2), None, None));
    }

    #[test]
    fn timeouts_are_rounded_up_and_bounded() {
        assert_eq!(timeout_ms(b"0"), Ok(0));
        assert_eq!(timeout_ms(b"0.0001"), Ok(1));
        assert_eq!(timeout_ms(b"1.5"), Ok(1500));
        assert!(timeout_ms(b"-1").is_err());
        assert!(timeout_ms(b"1e300").is_err());
        assert!(timeout_ms(b"x").is_err());
    }
}
