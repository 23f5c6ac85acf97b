//! INFO. Owns the core's sections; plugins add theirs or take the place of one.

use keystead_keyspace::Keyspace;
use keystead_resp::Args;

use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::spec::*;

/// The table.
pub const TABLE: &[CommandSpec] = &[CommandSpec::new(
    "info",
    -1,
    LOADING | STALE | ENDPOINT,
    KeySpec::None,
    Group::Server,
    "1.0.0",
    "Returns information and statistics about the server.",
    info,
)];

fn info(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let text = format!("# Server\r\nredis_version:{}\r\n", crate::REDIS_VERSION);
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}

/// Bytes in use: the process' count if there is one, else what the keys take.
pub(crate) fn used_memory(ks: &Keyspace, core: &Core) -> u64 {
    core.used_memory.map_or_else(|| ks.mem_bytes() as u64 + core.journal.memory(), |count| count())
}
