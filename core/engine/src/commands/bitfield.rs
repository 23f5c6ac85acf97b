//! BITFIELD: integers of any width inside a string, with three answers to overflow. Sums are made in 128 bits, so no
//! width can wrap by accident. Each write touches at most nine bytes in place.

use super::bits::{offset, with_bytes};
use super::common::{Res, err, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::{CHANGES, READS, Use};
use keystead_keyspace::{Class, Event, Keyspace};
use keystead_resp::Args;

/// The kind of integer.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Field {
    signed: bool,
    bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Overflow {
    Wrap,
    Sat,
    Fail,
}

enum Action {
    Get,
    Set(i64),
    Incr(i64),
}

struct Step {
    field: Field,
    at: u64,
    action: Action,
    overflow: Overflow,
}

impl Field {
    fn parse(arg: &[u8]) -> Res<Self> {
        const BAD: CommandError =
            err("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
        let (signed, digits) = match arg {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(BAD),
        };
        let bits = int(digits).map_err(|_| BAD)?;
        let most = if signed { 64 } else { 63 };
        if !(1..=most).contains(&bits) {
            return Err(BAD);
        }
        Ok(Self { signed, bits: bits as u32 })
    }

    fn bounds(self) -> (i128, i128) {
        if self.signed {
            let half = 1_i128 << (self.bits - 1);
            (-half, half - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        }
    }

    /// The value of `bits` raw bits.
    fn interpret(self, raw: u64) -> i64 {
        if self.signed {
            let unused = 64 - self.bits;
            ((raw << unused) as i64) >> unused
        } else {
            raw as i64
        }
    }

    /// Whether Redis takes a value that SET is given for too large although it is too small: its distance from the largest of
    /// a field with a sign doesn't fit into 64 bits there. The command goes to replicas as it came: they must agree.
    fn wraps_around(self, value: i64) -> bool {
        self.signed && self.bits < 64 && (self.bounds().1 as i64).checked_sub(value).is_none()
    }

    /// Fits a value into the field, or refuses.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.bounds();
        if (min..=max).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Sat => Some(if value > max { max } else { min } as i64),
            Overflow::Wrap => {
                let mask = if self.bits == 64 { u64::MAX } else { (1 << self.bits) - 1 };
                Some(self.interpret(value as u64 & mask))
            }
        }
    }
}

/// GETs alone read; anything else may change the value, a syntax error too.
pub(super) fn key_use(args: Args<'_>) -> Use {
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let left = args.len() - at - 1;
        at += match word {
            w if is(w, "get") && left >= 2 => 3,
            w if is(w, "overflow") && left >= 1 => 2,
            _ => return CHANGES,
        };
    }
    // Of the command as such, without arguments, COMMAND INFO tells the most that it does.
    if args.len() < 2 { CHANGES } else { READS }
}

fn parse(args: Args<'_>, read_only: bool, max: usize) -> Res<Vec<Step>> {
    let (mut steps, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while let Some(arg) = args.get(at) {
        let left = args.len() - at - 1;
        if is(arg, "overflow") && left >= 1 {
            overflow = match &args[at + 1] {
                a if is(a, "wrap") => Overflow::Wrap,
                a if is(a, "sat") => Overflow::Sat,
                a if is(a, "fail") => Overflow::Fail,
                _ => return Err(err("ERR Invalid OVERFLOW type specified")),
            };
            at += 2;
            continue;
        }
        let operands = match arg {
            a if is(a, "get") && left >= 2 => 2,
            a if (is(a, "set") || is(a, "incrby")) && left >= 3 => 3,
            _ => return Err(CommandError::SYNTAX),
        };
        let field = Field::parse(&args[at + 1])?;
        let place = offset(&args[at + 2], u64::from(field.bits), max)?;
        let action = match (operands, is(arg, "set")) {
            (2, _) => Action::Get,
            (_, true) => Action::Set(int(&args[at + 3])?),
            (_, false) => Action::Incr(int(&args[at + 3])?),
        };
        steps.push(Step { field, at: place, action, overflow });
        at += operands + 1;
    }
    if read_only && steps.iter().any(|step| !matches!(step.action, Action::Get)) {
        return Err(err("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    Ok(steps)
}

/// The bytes that a field touches, zeros where the string ends.
fn window(ks: &Keyspace, db: usize, key: &[u8], first: usize) -> Res<[u8; 16]> {
    let mut bytes = [0; 16];
    with_bytes(ks, db, key, |text| {
        let part = text.get(first..).unwrap_or_default();
        let n = part.len().min(9);
        bytes[..n].copy_from_slice(&part[..n]);
    })?;
    Ok(bytes)
}

/// How far the field's lowest bit is from the lowest of a 128-bit window, and the field's mask there.
fn place(step: &Step) -> (usize, u32, u128) {
    let first = (step.at >> 3) as usize;
    let shift = 128 - (step.at & 7) as u32 - step.field.bits;
    (first, shift, ((1_u128 << step.field.bits) - 1) << shift)
}

fn read(ks: &Keyspace, db: usize, key: &[u8], step: &Step) -> Res<i64> {
    let (first, shift, mask) = place(step);
    let all = u128::from_be_bytes(window(ks, db, key, first)?);
    Ok(step.field.interpret(((all & mask) >> shift) as u64))
}

fn write(ks: &mut Keyspace, db: usize, key: &[u8], step: &Step, value: i64) -> Res<()> {
    let (first, shift, mask) = place(step);
    let all = u128::from_be_bytes(window(ks, db, key, first)?);
    let all = all & !mask | (u128::from(value as u64) << shift) & mask;
    let len = ((step.at & 7) as usize + step.field.bits as usize).div_ceil(8);
    ks.set_range(db, key, first, &all.to_be_bytes()[..len])?;
    Ok(())
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, read_only: bool) -> CommandResult {
    let steps = parse(args, read_only, super::strings::max_string(ctx))?;
    let (ks, db, mut out) = ctx.split();
    let key = &args[1];
    // However many steps there are, it is one lookup (a reader's, if nothing writes) and one change.
    ks.name_changes(None);
    ks.count_lookups(steps.iter().all(|step| matches!(step.action, Action::Get)));
    ks.get_str(db, key)?;
    ks.count_lookups(false);
    let (dirty, mut changes) = (ks.dirty(), 0);
    let mut grown = false;
    // Redis makes room for every write first, also for one that then fails.
    let last =
        steps.iter().filter(|s| !matches!(s.action, Action::Get)).map(|s| s.at + u64::from(s.field.bits) - 1).max();
    if let Some(last) = last {
        let need = (last >> 3) as usize + 1;
        let len = with_bytes(ks, db, key, <[u8]>::len)?.unwrap_or(0);
        if len < need {
            ks.set_range(db, key, need - 1, &[0])?;
            grown = true;
        }
    }
    out.array(steps.len());
    for step in &steps {
        let old = read(ks, db, key, step)?;
        let (new, answer_new) = match step.action {
            Action::Get => {
                out.int(old);
                continue;
            }
            Action::Set(value) if step.overflow == Overflow::Sat && step.field.wraps_around(value) => {
                (i128::MAX, false)
            }
            Action::Set(value) if step.field.signed => (i128::from(value), false),
            // As Redis: a negative value is a large one where the field has no sign.
            Action::Set(value) => (i128::from(value as u64), false),
            Action::Incr(by) => (i128::from(old) + i128::from(by), true),
        };
        match step.field.fit(new, step.overflow) {
            Some(new) => {
                if new != old {
                    write(ks, db, key, step, new)?;
                }
                changes += u64::from(grown || new != old);
                out.int(if answer_new { new } else { old });
            }
            None => out.null(),
        }
    }
    // Each step counts as a change, whatever it took to make it.
    ks.recount(dirty, changes);
    // Redis says nothing of a string that grew for a write that failed; replicas must know.
    if changes > 0 {
        ks.tell(db, key, Event::new(Class::String, "setbit"));
    }
    Ok(super::common::as_sent_if(grown || changes > 0))
}

pub(super) fn bitfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, false)
}

pub(super) fn bitfield_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect, CommandError> {
    run(ctx, args, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_wrapped_limited_or_refused() {
        let field = |text: &str| Field::parse(text.as_bytes()).unwrap();
        let cases = [
            ("u8", 256, Overflow::Wrap, Some(0)),
            ("u8", 256, Overflow::Sat, Some(255)),
            ("u8", -1, Overflow::Sat, Some(0)),
            ("u8", 256, Overflow::Fail, None),
            ("i8", 128, Overflow::Wrap, Some(-128)),
            ("i8", -129, Overflow::Sat, Some(-128)),
            ("i64", i128::from(i64::MAX) + 1, Overflow::Wrap, Some(i64::MIN)),
            ("i64", i128::from(i64::MAX) + 1, Overflow::Sat, Some(i64::MAX)),
            ("u63", i128::from(i64::MAX), Overflow::Fail, Some(i64::MAX)),
            ("i1", 1, Overflow::Wrap, Some(-1)),
        ];
        for (name, value, overflow, expected) in cases {
            assert_eq!(field(name).fit(value, overflow), expected, "{name} {value} {overflow:?}");
        }
        for bad in ["u64", "i65", "u0", "x8", "u", "i-1", ""] {
            assert!(Field::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// Seen at redis-server 7.0.15: `BITFIELD k OVERFLOW SAT SET i8 0 n`.
    #[test]
    fn what_is_far_too_small_is_too_large() {
        let field = Field::parse(b"i8").expect("a type");
        for (value, around) in [(i64::MIN, true), (i64::MIN + 127, true), (i64::MIN + 128, false), (-129, false)] {
            assert_eq!(field.wraps_around(value), around, "{value}");
        }
        assert!(!Field::parse(b"i64").expect("a type").wraps_around(i64::MIN + 1));
        assert!(!Field::parse(b"u8").expect("a type").wraps_around(i64::MIN));
    }
}
