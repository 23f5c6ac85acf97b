//! The shape of every HELP subcommand. Owns nothing.

use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};

/// Writes the lines as Redis does, with its head and tail.
pub(crate) fn write_help(ctx: &mut Ctx<'_>, command: &str, lines: &[&str]) -> CommandResult {
    ctx.reply.array(lines.len() + 3);
    ctx.reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        ctx.reply.simple(line);
    }
    ctx.reply.simple("HELP");
    ctx.reply.simple("    Print this help.");
    Ok(Effect::None)
}
