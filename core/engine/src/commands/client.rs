//! CLIENT. Owns what clients can learn about each other and do to each other.

use keystead_resp::Args;

use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;

const CONN: u32 = NOSCRIPT | LOADING | STALE | ENDPOINT;
const NONE: KeySpec = KeySpec::None;

/// The table.
pub const TABLE: &[CommandSpec] = &[CommandSpec::container(
    "client",
    Group::Connection,
    "2.4.0",
    "A container for client connection commands.",
    &[
        CommandSpec::new(
            "id",
            2,
            CONN | FAST,
            NONE,
            Group::Connection,
            "5.0.0",
            "Returns the unique client ID of the connection.",
            id,
        ),
        CommandSpec::new(
            "getname",
            2,
            CONN | FAST,
            NONE,
            Group::Connection,
            "2.6.9",
            "Returns the name of the connection.",
            getname,
        ),
        CommandSpec::new(
            "setname",
            3,
            CONN | FAST,
            NONE,
            Group::Connection,
            "2.6.9",
            "Sets the connection name.",
            setname,
        ),
    ],
)];

fn id(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.int(ctx.session.id.id as i64);
    Ok(Effect::None)
}

fn getname(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.session.name.is_empty() {
        ctx.reply.null()
    } else {
        ctx.reply.bulk(&ctx.session.name)
    }
    Ok(Effect::None)
}

fn setname(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.session.name = check_name(args.at(2))?;
    ctx.reply.ok();
    Ok(Effect::None)
}

/// Names must not break CLIENT LIST's lines.
pub(crate) fn check_name(name: &[u8]) -> Result<String, CommandError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(String::from_utf8_lossy(name).into_owned());
    }
    Err(CommandError::fixed("ERR Client names cannot contain spaces, newlines or special characters."))
}
