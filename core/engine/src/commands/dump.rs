//! DUMP and RESTORE: a value as an RDB payload with version and checksum. Payloads are validated in full, always.

use super::common::{Res, err, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Origin};
use crate::error::CommandError;
use keystead_keyspace::object::Object;
use keystead_keyspace::rdb::{Builder, Built};
use keystead_keyspace::{StrRef, Ttl, UnixMillis};
use keystead_rdb::{Elem, EncodeOptions, dump_payload, encode, parse_dump};
use keystead_resp::Args;

pub(super) fn dump(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = EncodeOptions { version: ctx.core.config.live.rdb_version, ..EncodeOptions::default() };
    let (ks, db, mut out) = ctx.split();
    let mut value = Vec::new();
    let rdb_type = match (ks.object(db, &args[1]), ks.get_str(db, &args[1])) {
        (Some(object), _) => object.encode_rdb(&mut value, options),
        (None, Ok(Some(text))) => {
            let elem = match text {
                StrRef::Int(n) => Elem::Int(n),
                StrRef::Bytes(bytes) => Elem::Bytes(bytes),
            };
            encode::string(&mut value, elem, options)
        }
        _ => {
            out.null();
            return Ok(Effect::None);
        }
    };
    out.bulk(dump_payload(rdb_type, &value));
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

pub(super) fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse(args)?;
    let (now, stream) = (ctx.now_ms(), ctx.origin == Origin::Replication);
    let (ks, db, mut out) = ctx.split();
    let key = &args[1];
    if !options.replace && ks.type_of(db, key).is_some() {
        return Err(err("BUSYKEY Target key name already exists."));
    }
    let ttl = u64::try_from(int(&args[2])?).map_err(|_| err("ERR Invalid TTL value, must be >= 0"))?;
    let (rdb_type, bytes) = parse_dump(&args[3]).map_err(|_| err("ERR DUMP payload version or checksum are wrong"))?;
    let built = Builder::build(*ks.limits(), rdb_type, bytes).map_err(|_| err("ERR Bad data format"))?;
    let at = match (ttl, options.absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some(now.checked_add(ttl).ok_or(err("ERR Invalid TTL value, must be >= 0"))?),
    };
    out.ok();
    let collection = !matches!(built, Built::Str(_));
    if at.is_some_and(|at| at <= now) && !stream {
        // It would be gone at once: what counts is that a key of that name is gone.
        let removed = ks.remove(db, key);
        return if removed { Ok(ctx.removed_instead(key)) } else { Ok(Effect::None) };
    }
    match built {
        Built::Str(text) => ks.set_str(db, key, &text[..], at.map_or(Ttl::Clear, |at| Ttl::At(UnixMillis(at)))),
        Built::List(list) => ks.put_object(db, key, Object::List(list), at.map(UnixMillis)),
        Built::Set(set) => ks.put_object(db, key, Object::Set(set), at.map(UnixMillis)),
        Built::Hash(hash) => ks.put_object(db, key, Object::Hash(hash), at.map(UnixMillis)),
        Built::ZSet(zset) => ks.put_object(db, key, Object::ZSet(zset), at.map(UnixMillis)),
        Built::Stream(stream) => ks.put_object(db, key, Object::Stream(stream), at.map(UnixMillis)),
    }
    if let Some(secs) = options.idle_secs {
        ks.set_idle_secs(db, key, secs);
    }
    if let Some(frequency) = options.frequency {
        ks.set_frequency(db, key, frequency);
    }
    ctx.core.stats.payloads_checked += u64::from(collection);
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
