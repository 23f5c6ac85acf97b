//! Deadlines of a hash's fields (Redis 7.4): the HEXPIRE and HTTL families, HPERSIST. A deadline leaves for replicas as
//! HPEXPIREAT with the fields that got it, a field that it deletes at once as HDEL.

use super::common::{List, Res, err, int, int_or, is, list};
use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Origin};
use crate::error::CommandError;
use crate::gates::Gate;
use crate::spec::*;
use keystead_keyspace::{Create, Event};
use keystead_resp::Args;

const fn row(name: &'static str, arity: i32, flags: u32, text: &'static str, f: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, flags, KeySpec::FIRST, Group::Hash, "7.4.0", text, f)
}

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("hexpire", -6, WRITE | DENYOOM | FAST, "Set expiry for hash field using relative time to expire (seconds)",
        |ctx, args| expire(ctx, args, Times { millis: false, absolute: false })).uses(&[WRITES]),
    row("hpexpire", -6, WRITE | DENYOOM | FAST, "Set expiry for hash field using relative time to expire (milliseconds)",
        |ctx, args| expire(ctx, args, Times { millis: true, absolute: false })).uses(&[WRITES]),
    row("hexpireat", -6, WRITE | DENYOOM | FAST, "Set expiry for hash field using an absolute Unix timestamp (seconds)",
        |ctx, args| expire(ctx, args, Times { millis: false, absolute: true })).uses(&[WRITES]),
    row("hpexpireat", -6, WRITE | DENYOOM | FAST,
        "Set expiry for hash field using an absolute Unix timestamp (milliseconds)",
        |ctx, args| expire(ctx, args, Times { millis: true, absolute: true })).uses(&[WRITES]),
    row("hpersist", -5, WRITE | FAST, "Removes the expiration time for each specified field", persist).uses(&[WRITES]),
    row("httl", -5, READONLY | FAST, "Returns the TTL in seconds of a hash field.",
        |ctx, args| tell(ctx, args, Times { millis: false, absolute: false })),
    row("hpttl", -5, READONLY | FAST, "Returns the TTL in milliseconds of a hash field.",
        |ctx, args| tell(ctx, args, Times { millis: true, absolute: false })),
    row("hexpiretime", -5, READONLY | FAST,
        "Returns the expiration time of a hash field as a Unix timestamp, in seconds.",
        |ctx, args| tell(ctx, args, Times { millis: false, absolute: true })),
    row("hpexpiretime", -5, READONLY | FAST,
        "Returns the expiration time of a hash field as a Unix timestamp, in msec.",
        |ctx, args| tell(ctx, args, Times { millis: true, absolute: true })),
];

const HEXPIRE: Event = Event::new(keystead_keyspace::Class::Hash, "hexpire");
const HDEL: Event = Event::new(keystead_keyspace::Class::Hash, "hdel");

/// The latest deadline a command may give, in milliseconds since 1970: two bits fewer than Redis stores.
const LATEST_MS: i64 = ((1 << 48) - 1) >> 2;

/// No such field.
const NO_FIELD: i64 = -2;
/// The field has no deadline.
const NO_DEADLINE: i64 = -1;
/// The condition isn't met.
const REFUSED: i64 = 0;
/// The deadline was set, or taken away.
const DONE: i64 = 1;
/// The deadline lay in the past: the field is gone.
const DELETED: i64 = 2;

/// How a command counts times.
#[derive(Clone, Copy)]
struct Times {
    millis: bool,
    absolute: bool,
}

impl Times {
    /// Milliseconds since 1970 of a time argument.
    fn deadline(self, arg: &[u8], now_ms: i64, name: &str) -> Res<i64> {
        let too_late = || CommandError::new(format!("ERR invalid expire time in '{name}' command"));
        let value = int(arg)?;
        if value < 0 {
            return Err(err("ERR invalid expire time, must be >= 0"));
        }
        let base = if self.absolute { 0 } else { now_ms };
        let value = if self.millis { Some(value) } else { value.checked_mul(1000) };
        value.and_then(|value| value.checked_add(base)).filter(|at| *at <= LATEST_MS).ok_or_else(too_late)
    }

    /// What a deadline is answered as.
    fn show(self, at: u64, now_ms: i64) -> i64 {
        let left = at as i64 - if self.absolute { 0 } else { now_ms };
        if self.millis { left } else { (left + 999) / 1000 }
    }
}

/// When a deadline may be set.
#[derive(Clone, Copy, PartialEq)]
enum Condition {
    Always,
    Nx,
    Xx,
    Gt,
    Lt,
}

impl Condition {
    fn parse(arg: &[u8]) -> Option<Self> {
        match arg {
            a if is(a, "nx") => Some(Condition::Nx),
            a if is(a, "xx") => Some(Condition::Xx),
            a if is(a, "gt") => Some(Condition::Gt),
            a if is(a, "lt") => Some(Condition::Lt),
            _ => None,
        }
    }

    /// None is later than any deadline.
    fn allows(self, current: Option<u64>, new: u64) -> bool {
        match (self, current) {
            (Condition::Always, _) | (Condition::Nx | Condition::Lt, None) => true,
            (Condition::Xx | Condition::Gt, None) | (Condition::Nx, Some(_)) => false,
            (Condition::Xx, Some(_)) => true,
            (Condition::Gt, Some(current)) => new > current,
            (Condition::Lt, Some(current)) => new < current,
        }
    }
}

/// The fields behind `FIELDS count`, which stands at `at`.
fn fields<'a>(args: Args<'a>, at: usize, bad_count: CommandError) -> Res<List<'a>> {
    if !args.get(at).is_some_and(|word| is(word, "fields")) {
        return Err(err("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let bad = || err("ERR The `numfields` parameter must match the number of arguments");
    let count = args.get(at + 1).ok_or_else(bad)?;
    let count = int_or(count, bad_count.clone())?;
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(bad_count)?;
    if args.len() - at - 2 != count {
        return Err(bad());
    }
    Ok(list(args, at + 2, args.len()))
}

const BAD_COUNT: CommandError = err("ERR Number of fields must be a positive integer");

fn expire(ctx: &mut Ctx<'_>, args: Args<'_>, times: Times) -> CommandResult {
    let now = ctx.now_ms() as i64;
    // As Redis: the key's type comes before the arguments.
    ctx.ks.hash(ctx.session.db, &args[1])?;
    let at = times.deadline(&args[2], now, &ctx.command.name)?;
    let condition = Condition::parse(&args[3]);
    let from = 3 + usize::from(condition.is_some());
    let fields = fields(args, from, err("ERR Parameter `numFields` should be greater than 0"))?;
    let condition = condition.unwrap_or(Condition::Always);
    // A stream or a file tells what happened, and a replica's primary deletes.
    let follows = matches!(ctx.origin, Origin::Replication | Origin::Loading) || ctx.core.gates.is(Gate::Replica);
    let (mut set, mut deleted): (List<'_>, List<'_>) = Default::default();
    let (ks, db, mut out) = ctx.split();
    out.array(fields.len());
    let mut hash = ks.hash_mut(db, &args[1], Create::No)?;
    for field in &fields {
        out.int(match &mut hash {
            Some(hash) if hash.contains(field) => {
                if !condition.allows(hash.deadline(field), at as u64) {
                    REFUSED
                } else if at <= now && !follows {
                    hash.remove(field);
                    deleted.push(field);
                    DELETED
                } else {
                    hash.set_deadline(field, Some(at as u64));
                    set.push(field);
                    DONE
                }
            }
            _ => NO_FIELD,
        });
    }
    let changed = (set.len() + deleted.len()) as u64;
    if let Some(hash) = &mut hash {
        hash.changed(changed);
        hash.named(if deleted.is_empty() { HEXPIRE } else { HDEL });
    }
    drop(hash);
    ks.count_expired_fields(deleted.len());
    propagate(ctx, &args[1], at, &set, &deleted)
}

/// HDEL for what is gone, HPEXPIREAT for what got the deadline.
fn propagate(ctx: &mut Ctx<'_>, key: &[u8], at: i64, set: &[&[u8]], deleted: &[&[u8]]) -> CommandResult {
    let mut effect = Effect::None;
    for field in deleted {
        effect = ctx.instead(&[b"HDEL", key, field]);
    }
    if !set.is_empty() {
        ctx.core.forewarn_of_field_deadlines();
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let head: [&[u8]; 5] =
            [b"HPEXPIREAT", key, time.format(at).as_bytes(), b"FIELDS", count.format(set.len()).as_bytes()];
        effect = ctx.instead(&[&head, set].concat());
    }
    Ok(effect)
}

impl Core {
    /// The data has hash fields with deadlines: where the version that others read is older than those, says once what follows
    /// before it happens.
    pub fn forewarn_of_field_deadlines(&mut self) {
        const CARRIES: u16 = 12;
        let version = self.config.live.rdb_version;
        if version >= CARRIES || std::mem::replace(&mut self.hash_deadlines_told, true) {
            return;
        }
        let saves = if self.config.rdb_version_is_chosen() {
            "Saves will fail by name"
        } else {
            "Files will be saved in 12, which Redis before 7.4 can't read"
        };
        log::warn!(
            "The first hash field with a deadline: RDB version {version} can't carry it. {saves}, and full syncs of replicas \
             other than Keystead will fail by name, until CONFIG SET rdb-version {CARRIES} (Redis 7.4 and newer read that) \
             or until no field has a deadline. Stock replicas older than 7.4 that are attached don't know HPEXPIREAT: they \
             keep such fields until they are told HDEL"
        );
    }
}

fn persist(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    ks.hash(db, &args[1])?;
    let fields = fields(args, 2, BAD_COUNT)?;
    out.array(fields.len());
    let hash = ks.hash(db, &args[1])?;
    let found: Vec<_> = fields.iter().map(|field| hash.as_ref().and_then(|hash| hash.deadline(field))).collect();
    let mut hash = ks.hash_mut(db, &args[1], Create::No)?;
    let mut changed = 0;
    for (field, deadline) in fields.iter().zip(found) {
        out.int(match deadline {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(_)) => {
                // Named twice, it has none any more the second time.
                let had = hash.as_mut().is_some_and(|hash| hash.set_deadline(field, None));
                changed += u64::from(had);
                if had { DONE } else { NO_DEADLINE }
            }
        });
    }
    if let Some(hash) = &mut hash {
        hash.changed(u64::from(changed > 0));
    }
    drop(hash);
    Ok(super::common::as_sent_if(changed > 0))
}

fn tell(ctx: &mut Ctx<'_>, args: Args<'_>, times: Times) -> CommandResult {
    let now = ctx.now_ms() as i64;
    let (ks, db, mut out) = ctx.split();
    let hash = ks.hash(db, &args[1])?;
    let fields = fields(args, 2, BAD_COUNT)?;
    out.array(fields.len());
    for field in fields {
        out.int(match hash.as_ref().and_then(|hash| hash.deadline(field)) {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(at)) => times.show(at, now),
        });
    }
    Ok(Effect::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_refused_not_wrapped() {
        let now = 1_700_000_000_000;
        for millis in [false, true] {
            for absolute in [false, true] {
                let times = Times { millis, absolute };
                for text in ["9223372036854775807", "9223372036854775", "70368744177665000"] {
                    assert!(times.deadline(text.as_bytes(), now, "hexpire").is_err(), "{text}");
                }
                assert!(times.deadline(b"-1", now, "hexpire").is_err());
                assert!(times.deadline(b"0", now, "hexpire").is_ok());
            }
        }
        let at = Times { millis: true, absolute: true };
        assert_eq!(at.deadline(LATEST_MS.to_string().as_bytes(), now, "hpexpireat"), Ok(LATEST_MS));
        assert!(at.deadline((LATEST_MS + 1).to_string().as_bytes(), now, "hpexpireat").is_err());
    }

    #[test]
    fn conditions_as_in_redis() {
        use Condition::{Always, Gt, Lt, Nx, Xx};
        for (condition, current, new, allowed) in [
            (Always, Some(5), 1, true),
            (Nx, None, 9, true),
            (Nx, Some(5), 9, false),
            (Xx, None, 9, false),
            (Xx, Some(5), 9, true),
            (Gt, None, 9, false),
            (Gt, Some(9), 9, false),
            (Gt, Some(8), 9, true),
            (Lt, None, 9, true),
            (Lt, Some(9), 9, false),
            (Lt, Some(10), 9, true),
        ] {
            assert_eq!(condition.allows(current, new), allowed);
        }
    }
}
