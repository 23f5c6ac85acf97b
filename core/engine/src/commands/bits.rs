//! Bitmaps: single bits, counting, searching, joining strings bit by bit. BITFIELD is in `bitfield`. Single bits are
//! changed in place, whatever the length of the string.

use super::common::{Res, as_sent_if, err, int, int_or, is, rest};
use super::strings::max_string;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;
use keystead_keyspace::Keyspace;
use keystead_resp::Args;

#[rustfmt::skip]
const fn row(name: &'static str, arity: i32, flags: u32, keys: KeySpec, since: &'static str, text: &'static str,
             f: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, flags, keys, Group::Bitmap, since, text, f)
}

const ONE: KeySpec = KeySpec::FIRST;

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("setbit", 4, WRITE | DENYOOM, ONE, "2.2.0", "Sets or clears the bit at offset of the string value.", setbit),
    row("getbit", 3, READONLY | FAST, ONE, "2.2.0", "Returns a bit value by offset.", getbit),
    row("bitcount", -2, READONLY, ONE, "2.6.0", "Counts the number of set bits in a string.", bitcount),
    row("bitpos", -3, READONLY, ONE, "2.8.7", "Finds the first set or clear bit in a string.", bitpos),
    row("bitop", -4, WRITE | DENYOOM, KeySpec::Range { first: 2, last: -1, step: 1 }, "2.6.0",
        "Performs bitwise operations on multiple strings, and stores the result.", bitop).uses(&[SETS, READS]),
    row("bitfield", -2, WRITE | DENYOOM, ONE, "3.2.0",
        "Performs arbitrary bitfield integer operations on strings.", super::bitfield::bitfield)
        .uses_by(super::bitfield::key_use),
    row("bitfield_ro", -2, READONLY | FAST, ONE, "6.0.0",
        "Performs arbitrary read-only bitfield integer operations on strings.", super::bitfield::bitfield_ro),
];

/// A bit's position in a string of at most `max` bytes; `#n` counts in units of `hash_unit` bits unless that is zero.
pub(super) fn offset(arg: &[u8], hash_unit: u64, max: usize) -> Res<u64> {
    const BAD: CommandError = err("ERR bit offset is not an integer or out of range");
    let (text, unit) = match arg.strip_prefix(b"#") {
        Some(text) if hash_unit > 0 => (text, hash_unit),
        _ => (arg, 1),
    };
    let value = u64::try_from(int_or(text, BAD)?).map_err(|_| BAD)?;
    value.checked_mul(unit).filter(|bits| bits >> 3 < max as u64).ok_or(BAD)
}

/// Calls `body` with the bytes of a string; none for a key that doesn't exist.
pub(super) fn with_bytes<R>(ks: &Keyspace, db: usize, key: &[u8], body: impl FnOnce(&[u8]) -> R) -> Res<Option<R>> {
    Ok(ks.get_str(db, key)?.map(|value| body(value.text(&mut itoa::Buffer::new()))))
}

fn byte_at(ks: &Keyspace, db: usize, key: &[u8], at: usize) -> Res<u8> {
    Ok(with_bytes(ks, db, key, |bytes| bytes.get(at).copied())?.flatten().unwrap_or(0))
}

fn setbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let at = offset(&args[2], 0, max_string(ctx))?;
    const BAD: CommandError = err("ERR bit is not an integer or out of range");
    let on = match int_or(&args[3], BAD)? {
        0 => false,
        1 => true,
        _ => return Err(BAD),
    };
    let (ks, db, mut out) = ctx.split();
    let (index, mask) = ((at >> 3) as usize, 0x80 >> (at & 7));
    let old = byte_at(ks, db, &args[1], index)?;
    let new = if on { old | mask } else { old & !mask };
    out.int(i64::from(old & mask != 0));
    let inside = ks.get_str(db, &args[1])?.is_some_and(|text| text.len() > index);
    if !inside || new != old {
        ks.set_range(db, &args[1], index, &[new])?;
    }
    Ok(as_sent_if(!inside || new != old))
}

fn getbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let at = offset(&args[2], 0, max_string(ctx))?;
    let (ks, db, mut out) = ctx.split();
    let byte = byte_at(ks, db, &args[1], (at >> 3) as usize)?;
    out.int(i64::from(byte >> (7 - (at & 7)) & 1));
    Ok(Effect::None)
}

/// A range of bits as BITCOUNT and BITPOS take it: inclusive, in bytes or bits, negative from the end.
#[derive(Clone, Copy)]
struct Span {
    start: i64,
    end: i64,
    bits: bool,
}

impl Span {
    /// `unit_first`: BITPOS complains of the unit before the end, BITCOUNT after it and not where the range is reversed.
    fn parse(args: Args<'_>, at: usize, unit_first: bool) -> Res<Self> {
        let unit = || match args.get(at + 2) {
            Some(unit) if is(unit, "bit") => Ok(true),
            Some(unit) if !is(unit, "byte") => Err(CommandError::SYNTAX),
            _ => Ok(false),
        };
        let start = int(&args[at])?;
        if unit_first {
            unit()?;
        }
        let end = args.get(at + 1).map_or(Ok(-1), int)?;
        let span = Self { start, end, bits: false };
        if !unit_first && span.is_reversed() {
            return Ok(span);
        }
        Ok(Self { bits: unit()?, ..span })
    }

    /// True if it is given backwards from the end: empty for BITCOUNT, not so for BITPOS.
    fn is_reversed(self) -> bool {
        self.start < 0 && self.end < 0 && self.start > self.end
    }

    /// First and last bit in a string of `len` bytes.
    fn resolve(self, len: usize) -> Option<(usize, usize)> {
        let Self { start, end, bits } = self;
        let total = len as i64 * if bits { 8 } else { 1 };
        let fix = |i: i64| if i < 0 { i.saturating_add(total).max(0) } else { i };
        let (start, end) = (fix(start), fix(end).min(total - 1));
        if start > end {
            return None;
        }
        let (start, end) = (start as usize, end as usize);
        Some(if bits { (start, end) } else { (start * 8, end * 8 + 7) })
    }
}

/// The byte at `i` with the bits outside `first..=last` replaced by `fill`.
fn masked(bytes: &[u8], i: usize, first: usize, last: usize, fill: bool) -> u8 {
    let mut keep = 0xff_u8;
    if i == first / 8 {
        keep &= 0xff >> (first % 8);
    }
    if i == last / 8 {
        keep &= 0xff << (7 - last % 8);
    }
    if fill { bytes[i] | !keep } else { bytes[i] & keep }
}

fn count_ones(bytes: &[u8], first: usize, last: usize) -> u64 {
    let (from, to) = (first / 8, last / 8);
    let edge = |i| u64::from(masked(bytes, i, first, last, false).count_ones());
    if from == to {
        return edge(from);
    }
    let (chunks, tail) = bytes[from + 1..to].as_chunks::<8>();
    let inner: u64 = chunks.iter().map(|c| u64::from(u64::from_ne_bytes(*c).count_ones())).sum();
    let tail: u64 = tail.iter().map(|b| u64::from(b.count_ones())).sum();
    edge(from) + inner + tail + edge(to)
}

fn bitcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let span = || match args.len() {
        2 => Ok(Span { start: 0, end: -1, bits: false }),
        4 | 5 => Span::parse(args, 2, false),
        _ => Err(CommandError::SYNTAX),
    };
    let (ks, db, mut out) = ctx.split();
    // The key first: of one that isn't there, Redis doesn't look at the range.
    let count = with_bytes(ks, db, &args[1], |bytes| -> Res<u64> {
        let span = span()?;
        let found = span.resolve(bytes.len()).filter(|_| !span.is_reversed());
        Ok(found.map_or(0, |(first, last)| count_ones(bytes, first, last)))
    })?;
    out.int(count.transpose()?.unwrap_or(0) as i64);
    Ok(Effect::None)
}

/// The first bit equal to `wanted` in a range.
fn find_bit(bytes: &[u8], first: usize, last: usize, wanted: bool) -> Option<usize> {
    let (from, to) = (first / 8, last / 8);
    let in_byte = |i: usize| {
        let byte = masked(bytes, i, first, last, !wanted);
        let before = if wanted { byte.leading_zeros() } else { byte.leading_ones() };
        (before < 8).then_some(i * 8 + before as usize)
    };
    if let Some(found) = in_byte(from) {
        return Some(found);
    }
    if from == to {
        return None;
    }
    let other = if wanted { 0 } else { 0xff };
    let inner = from + 1 + leading_same(&bytes[from + 1..to], other);
    in_byte(inner)
}

/// How many bytes at the start of a string are all the same byte.
fn leading_same(bytes: &[u8], same: u8) -> usize {
    const BLOCK: usize = 32;
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let whole = blocks.iter().position(|block| *block != [same; BLOCK]).unwrap_or(blocks.len()) * BLOCK;
    bytes[whole..].iter().position(|byte| *byte != same).map_or(bytes.len(), |at| whole + at)
}

fn bitpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let wanted = match int(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(err("ERR The bit argument must be 1 or 0.")),
    };
    let span = || match args.len() {
        3 => Ok(Span { start: 0, end: -1, bits: false }),
        4..=6 => Span::parse(args, 3, true),
        _ => Err(CommandError::SYNTAX),
    };
    let end_given = args.len() > 4;
    let (ks, db, mut out) = ctx.split();
    let found = with_bytes(ks, db, &args[1], |bytes| -> Res<i64> {
        let Some((first, last)) = span()?.resolve(bytes.len()) else { return Ok(-1) };
        Ok(match find_bit(bytes, first, last, wanted) {
            Some(at) => at as i64,
            // Without an end the string counts as followed by zeros.
            None if !wanted && !end_given => bytes.len() as i64 * 8,
            None => -1,
        })
    })?;
    out.int(found.transpose()?.unwrap_or(if wanted { -1 } else { 0 }));
    Ok(Effect::None)
}

#[derive(Clone, Copy, PartialEq)]
enum Op {
    And,
    Or,
    Xor,
    Not,
}

fn bitop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let op = match &args[1] {
        a if is(a, "and") => Op::And,
        a if is(a, "or") => Op::Or,
        a if is(a, "xor") => Op::Xor,
        a if is(a, "not") => Op::Not,
        _ => return Err(CommandError::SYNTAX),
    };
    if op == Op::Not && args.len() != 4 {
        return Err(err("ERR BITOP NOT must be called with a single source key."));
    }
    let (ks, db, mut out) = ctx.split();
    let mut sources = Vec::new();
    for key in rest(args, 3) {
        sources.push(ks.get_str(db, key)?);
    }
    let mut buffers = vec![itoa::Buffer::new(); sources.len()];
    let texts: Vec<&[u8]> =
        sources.iter().zip(&mut buffers).map(|(s, buf)| s.as_ref().map_or(&b""[..], |s| s.text(buf))).collect();
    let result = combine(op, &texts);
    let len = result.len();
    let changed = if result.is_empty() {
        ks.remove_unasked(db, &args[2])
    } else {
        ks.set_raw(db, &args[2], result);
        true
    };
    out.int(len as i64);
    Ok(as_sent_if(changed))
}

fn combine(op: Op, texts: &[&[u8]]) -> Vec<u8> {
    let Some((first, others)) = texts.split_first() else { return Vec::new() };
    let len = texts.iter().map(|text| text.len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(len);
    // A stretch at a time: it stays in the processor's cache while one source after the other joins it.
    while result.len() < len {
        let (start, end) = (result.len(), len.min(result.len() + STRETCH));
        let part = |text: &'_ &[u8]| start.min(text.len())..end.min(text.len());
        result.extend_from_slice(&first[part(first)]);
        result.resize(end, 0);
        let stretch = &mut result[start..];
        for text in others {
            join(op, stretch, &text[part(text)]);
        }
        if op == Op::Not {
            stretch.iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    result
}

/// Bytes of a result that are made before the next ones are begun.
const STRETCH: usize = 16 << 10;

/// Joins another source's bytes to a part of the result; behind its end it counts as zeros.
fn join(op: Op, result: &mut [u8], other: &[u8]) {
    if op == Op::And {
        let end = result.len().min(other.len());
        result[end..].fill(0);
    }
    let both = result.iter_mut().zip(other);
    match op {
        Op::And => both.for_each(|(byte, other)| *byte &= other),
        Op::Or => both.for_each(|(byte, other)| *byte |= other),
        Op::Xor => both.for_each(|(byte, other)| *byte ^= other),
        Op::Not => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_and_finding_agree_with_single_bits() {
        let bytes: Vec<u8> = (0..40_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let bit = |i: usize| bytes[i / 8] >> (7 - i % 8) & 1 == 1;
        for first in [0, 1, 7, 8, 9, 63, 64, 100] {
            for last in [first, first + 1, first + 7, first + 70, 319] {
                let expected = (first..=last).filter(|i| bit(*i)).count() as u64;
                assert_eq!(count_ones(&bytes, first, last), expected, "{first}..={last}");
                for wanted in [false, true] {
                    let expected = (first..=last).find(|i| bit(*i) == wanted);
                    assert_eq!(find_bit(&bytes, first, last, wanted), expected, "{first}..={last} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_bit_far_behind_many_of_the_other_kind_is_found() {
        for (wanted, fill) in [(true, 0), (false, 0xff)] {
            for at in [0, 8, 15, 16, 255, 256, 263, 264, 511, 512, 519, 520, 783, 784, 791] {
                let mut bytes = vec![fill; 99];
                bytes[at / 8] ^= 0x80 >> (at % 8);
                for first in [0, 1, 8, 9] {
                    let expected = Some(at).filter(|at| *at >= first);
                    assert_eq!(find_bit(&bytes, first, 791, wanted), expected, "{at} from {first}");
                    if at > first {
                        assert_eq!(find_bit(&bytes, first, at - 1, wanted), None, "{at} from {first}");
                    }
                }
            }
        }
    }

    #[test]
    fn strings_of_any_length_are_joined_byte_by_byte() {
        let text = |len: usize, seed: u32| -> Vec<u8> {
            (0..len as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 11) as u8).collect()
        };
        let lengths = [0, 1, 7, STRETCH - 1, STRETCH, STRETCH + 1, 2 * STRETCH + 5];
        for (n, len) in lengths.into_iter().enumerate() {
            let sources = [text(len, 1), text(lengths[(n + 3) % 7], 2), text(lengths[(n + 5) % 7], 3)];
            let longest = sources.iter().map(Vec::len).max().unwrap();
            let at = |source: &Vec<u8>, i: usize| source.get(i).copied().unwrap_or(0);
            let texts: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
            let fold = |f: fn(u8, u8) -> u8| -> Vec<u8> {
                (0..longest)
                    .map(|i| sources[1..].iter().fold(at(&sources[0], i), |byte, s| f(byte, at(s, i))))
                    .collect()
            };
            assert_eq!(combine(Op::And, &texts), fold(|a, b| a & b));
            assert_eq!(combine(Op::Or, &texts), fold(|a, b| a | b));
            assert_eq!(combine(Op::Xor, &texts), fold(|a, b| a ^ b));
            let inverse: Vec<u8> = sources[0].iter().map(|byte| !byte).collect();
            assert_eq!(combine(Op::Not, &texts[..1]), inverse);
        }
    }

    #[test]
    fn offsets_are_bounded() {
        const MAX: usize = 512 << 20;
        assert_eq!(offset(b"4294967295", 0, MAX), Ok(4_294_967_295));
        assert_eq!(offset(b"#2", 8, MAX), Ok(16));
        for bad in ["4294967296", "-1", "x", "#1", "9223372036854775807"] {
            assert!(offset(bad.as_bytes(), 0, MAX).is_err(), "{bad}");
        }
        assert!(offset(b"#9223372036854775807", 64, MAX).is_err());
    }
}
