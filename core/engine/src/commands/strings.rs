//! Strings: the first three, so that a server can be tried; the family "strings" completes them.

use keystead_keyspace::StrRef;
use keystead_resp::Args;

use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::spec::*;

/// The table.
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::new(
        "get",
        2,
        READONLY | FAST,
        KeySpec::FIRST,
        Group::String,
        "1.0.0",
        "Returns the string value of a key.",
        get,
    ),
    CommandSpec::new(
        "set",
        3,
        WRITE | DENYOOM,
        KeySpec::FIRST,
        Group::String,
        "1.0.0",
        "Sets the string value of a key, ignoring its type.",
        set,
    ),
    CommandSpec::new("del", -2, WRITE, KeySpec::ALL, Group::Generic, "1.0.0", "Deletes one or more keys.", del),
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut reply) = ctx.split();
    match ks.get_str(db, args.at(1))? {
        Some(StrRef::Bytes(bytes)) => reply.bulk(bytes),
        Some(StrRef::Int(value)) => reply.bulk_int(value),
        None => reply.null(),
    }
    Ok(Effect::None)
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut reply) = ctx.split();
    ks.set_str(db, args.at(1), args.at(2), keystead_keyspace::Ttl::Clear);
    reply.ok();
    Ok(Effect::AsSent)
}

fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut reply) = ctx.split();
    let count = args.skip(1).iter().filter(|key| ks.remove(db, key)).count();
    reply.int(count as i64);
    Ok(if count > 0 { Effect::AsSent } else { Effect::None })
}
