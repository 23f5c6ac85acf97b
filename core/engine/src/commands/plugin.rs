//! PLUGIN LIST and INFO, and MODULE LIST, which shows plugins where clients look for modules.

use keystead_resp::Args;

use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::foreign::PluginInfo;
use crate::spec::*;

const ADM: u32 = ADMIN | NOSCRIPT | LOADING | STALE | ENDPOINT;
const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::container("module", SRV, "4.0.0", "A container for module commands.", &[
        CommandSpec::new("list", 2, ADMIN | NOSCRIPT | ENDPOINT, NONE, SRV, "4.0.0", "Returns all loaded modules.", module_list),
        CommandSpec::new("help", 2, LOADING | STALE | ENDPOINT, NONE, SRV, "5.0.0", "Returns helpful text about the different subcommands.", module_help),
    ]),
    CommandSpec::container("plugin", SRV, "0.1.0", "A container for commands about plugins.", &[
        CommandSpec::new("list", 2, ADM, NONE, SRV, "0.1.0", "Returns all plugins.", list),
        CommandSpec::new("info", 3, ADM, NONE, SRV, "0.1.0", "Returns what is known about a plugin.", info),
        CommandSpec::new("help", 2, LOADING | STALE | ENDPOINT, NONE, SRV, "0.1.0", "Returns helpful text about the different subcommands.", help),
    ]),
];

pub(super) fn plugins(ctx: &Ctx<'_>) -> Vec<PluginInfo> {
    ctx.core.plugins.as_ref().map(|registry| registry.plugins()).unwrap_or_default()
}

/// Modules have one number as their version: two digits for each part.
pub(super) fn version_number(version: &str) -> i64 {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<i64>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0).min(99);
    next() * 10_000 + next() * 100 + next()
}

fn module_list(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let plugins = plugins(ctx);
    let reply = &mut ctx.reply;
    reply.array(plugins.len());
    for plugin in plugins {
        reply.map(4);
        reply.bulk("name");
        reply.bulk(plugin.name);
        reply.bulk("ver");
        reply.int(version_number(&plugin.version));
        reply.bulk("path");
        reply.bulk(plugin.path);
        reply.bulk("args");
        reply.array(0);
    }
    Ok(Effect::None)
}

/// Why the subcommands of MODULE aren't there that load modules and take them out.
pub(crate) fn no_modules(container: &str, word: &[u8]) -> Option<CommandError> {
    const NOT_HERE: [&[u8]; 3] = [b"load", b"loadex", b"unload"];
    let asked = container == "module" && NOT_HERE.iter().any(|name| word.eq_ignore_ascii_case(name));
    asked.then_some(CommandError::fixed(
        "ERR modules can't be loaded or unloaded: plugins are listed in the configuration file and stay as long as the process",
    ))
}

fn module_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(ctx, "MODULE", &["LIST", "    Return a list of loaded modules (here: plugins)."])
}

fn list(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let plugins = plugins(ctx);
    let reply = &mut ctx.reply;
    reply.array(plugins.len());
    for plugin in plugins {
        reply.map(4);
        let fields =
            [("name", plugin.name), ("version", plugin.version), ("state", plugin.state), ("path", plugin.path)];
        for (name, value) in fields {
            reply.bulk(name);
            reply.bulk(value);
        }
    }
    Ok(Effect::None)
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let name = args.text(2);
    let Some(plugin) = plugins(ctx).into_iter().find(|plugin| plugin.name == name) else {
        return Err(CommandError::new(format!("ERR No such plugin '{name}'")));
    };
    let reply = &mut ctx.reply;
    reply.map(4 + plugin.facts.len());
    let fields = [("name", plugin.name), ("version", plugin.version), ("state", plugin.state), ("path", plugin.path)];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    for (name, value) in fields.chain(plugin.facts) {
        reply.bulk(name);
        reply.bulk(value);
    }
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "PLUGIN",
        &[
            "INFO <name>",
            "    Return what is known about a plugin.",
            "LIST",
            "    Return all plugins with their versions and states.",
        ],
    )
}
