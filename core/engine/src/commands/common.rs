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

/// The timeout of a blocking command in milliseconds; 0 waits for ever. As Redis it is a long double, rounded up before
/// its sign counts, and its end must be a time.
pub(crate) fn timeout_ms(arg: &[u8], now_ms: u64) -> Res<u64> {
    const TOO_LONG: CommandError = err("ERR timeout is out of range");
    let seconds = long_double(arg).ok_or(err("ERR timeout is not a float or out of range"))?;
    let ms = match seconds {
        LongDouble::Finite { negative, mantissa, exponent } => thousandfold(negative, mantissa, exponent),
        LongDouble::Infinite(negative) => negative.then_some(i64::MIN),
        LongDouble::NotANumber => None,
    };
    let ms = u64::try_from(ms.ok_or(TOO_LONG)?).map_err(|_| err("ERR timeout is negative"))?;
    if ms > i64::MAX as u64 - now_ms { Err(TOO_LONG) } else { Ok(ms) }
}

/// `mantissa * 2^exponent * 1000`, to 64 bits as the hardware has it, then up to the next whole number; `None` beyond i64.
fn thousandfold(negative: bool, mantissa: u64, exponent: i64) -> Option<i64> {
    let product = u128::from(mantissa) * 1000;
    let drop = (64 - i64::from(product.leading_zeros())).max(0);
    let (rest, half) = (product & ((1 << drop) - 1), 1_u128 << drop >> 1);
    let kept = product >> drop;
    let kept = kept + u128::from(rest > half || (drop > 0 && rest == half && kept & 1 == 1));
    let places = -(exponent + drop);
    let (whole, more) = match places {
        _ if kept == 0 => (0, false),
        128.. => (0, true),
        1..128 => (kept >> places, kept & ((1 << places) - 1) != 0),
        _ => (u128::MAX, false),
    };
    match i64::try_from(whole) {
        Ok(whole) if negative => Some(-whole),
        Ok(whole) => whole.checked_add(i64::from(more)),
        Err(_) => negative.then_some(i64::MIN),
    }
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

    /// Seen at redis-server 7.2.4.
    #[test]
    fn timeouts_are_rounded_up_and_bounded() {
        const NOW: u64 = 1_700_000_000_000;
        let cases: [(&str, Result<u64, &str>); 21] = [
            ("0", Ok(0)),
            ("0.0001", Ok(1)),
            ("1e-400", Ok(1)),
            ("0.001", Ok(1)),
            ("0.003", Ok(3)),
            ("0.0030001", Ok(4)),
            ("1.5", Ok(1500)),
            ("0x10", Ok(16_000)),
            ("1000000000.001", Ok(1_000_000_000_001)),
            ("9223370336854775", Ok(9_223_370_336_854_775_000)),
            ("-0.0001", Ok(0)),
            ("-0.001", Ok(0)),
            ("-0.0011", Err("ERR timeout is negative")),
            ("-1e400", Err("ERR timeout is negative")),
            ("-inf", Err("ERR timeout is negative")),
            ("9223370336854776", Err("ERR timeout is out of range")),
            ("9223372036854775.807", Err("ERR timeout is out of range")),
            ("1e400", Err("ERR timeout is out of range")),
            ("inf", Err("ERR timeout is out of range")),
            ("1e5000", Err("ERR timeout is not a float or out of range")),
            ("x", Err("ERR timeout is not a float or out of range")),
        ];
        for (text, expected) in cases {
            let found = timeout_ms(text.as_bytes(), NOW);
            assert_eq!(found, expected.map_err(CommandError::fixed), "{text}");
        }
    }
}
