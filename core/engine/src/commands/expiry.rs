//! Deadlines: the options of SET and GETEX, the EXPIRE and TTL families. All deadlines leave for replicas as absolute
//! milliseconds.

use super::common::{Res, err, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Origin};
use crate::error::{CommandError, c_text};
use crate::gates::Gate;
use keystead_keyspace::UnixMillis;
use keystead_resp::Args;

/// What a time argument counts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since the epoch.
    AtSeconds,
    /// Milliseconds since the epoch.
    AtMillis,
}

impl Unit {
    fn parse(arg: &[u8]) -> Option<Self> {
        match arg {
            a if is(a, "ex") => Some(Unit::Seconds),
            a if is(a, "px") => Some(Unit::Millis),
            a if is(a, "exat") => Some(Unit::AtSeconds),
            a if is(a, "pxat") => Some(Unit::AtMillis),
            _ => None,
        }
    }

    /// Milliseconds since the epoch, or `None` where they don't fit.
    fn absolute(self, value: i64, now_ms: u64) -> Option<i64> {
        let now = i64::try_from(now_ms).ok()?;
        match self {
            Unit::Seconds => value.checked_mul(1000)?.checked_add(now),
            Unit::Millis => value.checked_add(now),
            Unit::AtSeconds => value.checked_mul(1000),
            Unit::AtMillis => Some(value),
        }
    }
}

fn invalid(name: &str) -> CommandError {
    CommandError::new(format!("ERR invalid expire time in '{name}' command"))
}

/// A deadline given to SET, GETEX and the like: must be positive.
pub(super) fn deadline(arg: &[u8], unit: Unit, now_ms: u64, name: &str) -> Res<u64> {
    let value = int(arg)?;
    let at = unit.absolute(value, now_ms).filter(|_| value > 0).ok_or_else(|| invalid(name))?;
    u64::try_from(at).map_err(|_| invalid(name))
}

/// True if a key with this deadline must go at once. A stream or a file tells what happened: there its deletion follows, or
/// something that takes the deadline away. A replica keeps the key for its primary's stream, hidden, whoever set the
/// deadline.
pub(super) fn has_passed(ctx: &Ctx<'_>, at: i64) -> bool {
    let follows = ctx.core.gates.is(Gate::Replica) || matches!(ctx.origin, Origin::Replication | Origin::Loading);
    at <= ctx.now_ms() as i64 && !follows
}

/// A deadline as it is kept; one before 1970 has passed like any other.
pub(super) fn kept(at: i64) -> UnixMillis {
    UnixMillis(at.max(1) as u64)
}

/// Options of SET and GETEX.
#[derive(Default)]
pub(super) struct SetOptions<'a> {
    pub(super) nx: bool,
    pub(super) xx: bool,
    pub(super) get: bool,
    pub(super) keep_ttl: bool,
    pub(super) persist: bool,
    pub(super) expire: Option<(Unit, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    pub(super) fn parse_set(args: Args<'a>) -> Res<Self> {
        let mut o = Self::default();
        let mut at = 3;
        while let Some(arg) = args.get(at) {
            match arg {
                a if is(a, "nx") && !o.xx => o.nx = true,
                a if is(a, "xx") && !o.nx => o.xx = true,
                a if is(a, "get") => o.get = true,
                a if is(a, "keepttl") && o.expire.is_none() => o.keep_ttl = true,
                _ => o.parse_time(args, &mut at)?,
            }
            at += 1;
        }
        Ok(o)
    }

    pub(super) fn parse_getex(args: Args<'a>) -> Res<Self> {
        let mut o = Self::default();
        let mut at = 2;
        while let Some(arg) = args.get(at) {
            if is(arg, "persist") && o.expire.is_none() {
                o.persist = true;
            } else {
                o.parse_time(args, &mut at)?;
            }
            at += 1;
        }
        Ok(o)
    }

    fn parse_time(&mut self, args: Args<'a>, at: &mut usize) -> Res<()> {
        let unit = Unit::parse(&args[*at]).ok_or(CommandError::SYNTAX)?;
        let value = args.get(*at + 1).ok_or(CommandError::SYNTAX)?;
        let other = self.expire.is_some_and(|(earlier, _)| earlier != unit);
        if self.keep_ttl || self.persist || other {
            return Err(CommandError::SYNTAX);
        }
        self.expire = Some((unit, value));
        *at += 1;
        Ok(())
    }
}

#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Res<Self> {
        let mut c = Self::default();
        for arg in args.skip(3).iter() {
            match arg {
                a if is(a, "nx") => c.nx = true,
                a if is(a, "xx") => c.xx = true,
                a if is(a, "gt") => c.gt = true,
                a if is(a, "lt") => c.lt = true,
                _ => return Err(CommandError::quoting(&[b"ERR Unsupported option ", c_text(arg)])),
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(err("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if c.gt && c.lt {
            return Err(err("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(c)
    }

    /// Whether a deadline may replace the current one. None is for ever: later than any.
    fn allow(&self, current: Option<i64>, new: i64) -> bool {
        match current {
            Some(current) => !(self.nx || (self.gt && new <= current) || (self.lt && new >= current)),
            None => !(self.xx || self.gt),
        }
    }
}

fn expire_generic(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, name: &str) -> CommandResult {
    let conditions = Conditions::parse(args)?;
    let at = unit.absolute(int(&args[2])?, ctx.now_ms()).ok_or_else(|| invalid(name))?;
    let passed = has_passed(ctx, at);
    let (ks, db, mut out) = ctx.split();
    let key = &args[1];
    let current = ks.deadline(db, key);
    let allowed = current.is_some_and(|c| conditions.allow(c.map(|at| at.0 as i64), at));
    out.int(i64::from(allowed));
    if !allowed {
        // Asking was a use, as of any writer.
        ks.holds(db, key);
        return Ok(Effect::None);
    }
    if passed {
        ks.remove(db, key);
        return Ok(ctx.expired_instead(key));
    }
    ks.set_deadline(db, key, Some(kept(at)));
    Ok(ctx.instead(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]))
}

pub(super) fn expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    expire_generic(ctx, args, Unit::Seconds, "expire")
}

pub(super) fn pexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    expire_generic(ctx, args, Unit::Millis, "pexpire")
}

pub(super) fn expireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    expire_generic(ctx, args, Unit::AtSeconds, "expireat")
}

pub(super) fn pexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    expire_generic(ctx, args, Unit::AtMillis, "pexpireat")
}

/// Answers something about a key's deadline: -2 without key, -1 without deadline.
fn answer_deadline(ctx: &mut Ctx<'_>, key: &[u8], show: impl Fn(i64, i64) -> i64) -> CommandResult {
    let now = ctx.now_ms() as i64;
    let (ks, db, mut out) = ctx.split();
    out.int(match ks.deadline(db, key) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => show(at.0 as i64, now),
    });
    Ok(Effect::None)
}

pub(super) fn ttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer_deadline(ctx, &args[1], |at, now| at.saturating_sub(now).max(0).saturating_add(500) / 1000)
}

pub(super) fn pttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer_deadline(ctx, &args[1], |at, now| at.saturating_sub(now).max(0))
}

pub(super) fn expiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    // The last half second that an i64 holds still rounds up.
    answer_deadline(ctx, &args[1], |at, _| ((at as u64 + 500) / 1000) as i64)
}

pub(super) fn pexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer_deadline(ctx, &args[1], |at, _| at)
}

pub(super) fn persist(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let removed = ks.set_deadline(db, &args[1], None);
    out.int(i64::from(removed));
    Ok(super::common::as_sent_if(removed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_refused_not_wrapped() {
        let now = 1_700_000_000_000;
        for (unit, value) in [
            (Unit::Seconds, i64::MAX),
            (Unit::Seconds, i64::MIN),
            (Unit::Seconds, i64::MAX / 1000),
            (Unit::Millis, i64::MAX),
            (Unit::AtSeconds, i64::MAX),
        ] {
            assert_eq!(unit.absolute(value, now), None, "{unit:?} {value}");
        }
        assert!(deadline(b"0", Unit::Seconds, now, "set").is_err());
        assert!(deadline(b"-1", Unit::AtMillis, now, "set").is_err());
        assert_eq!(deadline(b"1", Unit::Seconds, now, "set"), Ok(now + 1000));
        assert_eq!(deadline(b"9223372036854775807", Unit::AtMillis, now, "set"), Ok(i64::MAX as u64));
    }

    #[test]
    fn conditions_as_in_redis() {
        let c = |nx, xx, gt, lt| Conditions { nx, xx, gt, lt };
        assert!(c(false, false, false, false).allow(None, 1));
        assert!(!c(true, false, false, false).allow(Some(5), 9));
        assert!(!c(false, true, false, false).allow(None, 9));
        assert!(!c(false, false, true, false).allow(None, 9));
        assert!(c(false, false, true, false).allow(Some(5), 9));
        assert!(!c(false, false, true, false).allow(Some(9), 9));
        assert!(c(false, false, false, true).allow(None, 9));
        assert!(!c(false, false, false, true).allow(Some(5), 9));
    }
}
