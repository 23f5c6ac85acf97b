//! DUMP and RESTORE: a value as an RDB payload with version and checksum. Payloads are validated in full, always.

use super::common::{Res, err, int, is};
use super::expiry::{has_passed, kept};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::StrRef;
use keystead_keyspace::rdb::{Builder, Built};
use keystead_rdb::{Elem, EncodeOptions, dump_payload_of, encode, parse_dump};
use keystead_resp::Args;

pub(super) fn dump(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = EncodeOptions { version: ctx.core.config.live.rdb_version, ..EncodeOptions::default() };
    let (ks, db, mut out) = ctx.split();
    let payload = match (ks.object(db, &args[1]), ks.get_str(db, &args[1])) {
        (Some(object), _) => dump_payload_of(|value| object.encode_rdb(value, options)),
        (None, Ok(Some(text))) => {
            let elem = match text {
                StrRef::Int(n) => Elem::Int(n),
                StrRef::Bytes(bytes) => Elem::Bytes(bytes),
            };
            dump_payload_of(|value| encode::string(value, elem, options))
        }
        _ => {
            out.null();
            return Ok(Effect::None);
        }
    };
    out.bulk(payload);
    Ok(Effect::None)
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_secs: Option<u64>,
    frequency: Option<u8>,
}

fn parse(args: Args<'_>) -> Res<Options> {
    let mut o = Options::default();
    let mut at = 4;
    while let Some(arg) = args.get(at) {
        match (arg, args.get(at + 1)) {
            (a, _) if is(a, "replace") => o.replace = true,
            (a, _) if is(a, "absttl") => o.absolute = true,
            (a, Some(value)) if is(a, "idletime") && o.frequency.is_none() => {
                let bad = |_| err("ERR Invalid IDLETIME value, must be >= 0");
                o.idle_secs = Some(u64::try_from(int(value)?).map_err(bad)?);
                at += 1;
            }
            (a, Some(value)) if is(a, "freq") && o.idle_secs.is_none() => {
                let bad = |_| err("ERR Invalid FREQ value, must be >= 0 and <= 255");
                o.frequency = Some(u8::try_from(int(value)?).map_err(bad)?);
                at += 1;
            }
            _ => return Err(CommandError::SYNTAX),
        }
        at += 1;
    }
    Ok(o)
}

/// When the key is to go. Redis lets the sum overflow: what is far beyond its last millisecond has passed.
fn deadline(now_ms: u64, ttl: i64, absolute: bool) -> Option<i64> {
    match (ttl, absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some((now_ms as i64).wrapping_add(ttl)),
    }
}

pub(super) fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const BAD_TTL: CommandError = err("ERR Invalid TTL value, must be >= 0");
    let options = parse(args)?;
    let (ks, db, _) = ctx.split();
    let key = &args[1];
    if !options.replace && ks.holds(db, key) {
        return Err(err("BUSYKEY Target key name already exists."));
    }
    let ttl = int(&args[2])?;
    if ttl < 0 {
        return Err(BAD_TTL);
    }
    let (rdb_type, bytes) = parse_dump(&args[3]).map_err(|_| err("ERR DUMP payload version or checksum are wrong"))?;
    let built = Builder::build(*ks.limits(), rdb_type, bytes).map_err(|_| err("ERR Bad data format"))?;
    let at = deadline(ctx.now_ms(), ttl, options.absolute);
    let passed = at.is_some_and(|at| has_passed(ctx, at));
    let (ks, db, mut out) = ctx.split();
    out.ok();
    if passed {
        // It would be gone at once: what counts is that a key of that name is gone.
        let removed = ks.remove_unasked(db, key);
        return if removed { Ok(ctx.removed_instead(key)) } else { Ok(Effect::None) };
    }
    let collection = !matches!(built, Built::Str(_));
    ks.restore(db, key, built, at.map(kept));
    if let Some(secs) = options.idle_secs {
        ks.set_idle_secs(db, key, secs);
    }
    if let Some(frequency) = options.frequency {
        ks.set_frequency(db, key, frequency);
    }
    ctx.core.stats.payloads_checked += u64::from(collection);
    if ctx.ks.has_times() {
        ctx.core.forewarn_of_field_deadlines();
    }
    match at {
        Some(at) if !options.absolute => {
            let at = at.to_string();
            let mut argv: Vec<&[u8]> = args.iter().collect();
            argv[2] = at.as_bytes();
            argv.push(b"ABSTTL");
            Ok(ctx.instead(&argv))
        }
        _ => Ok(Effect::AsSent),
    }
}
