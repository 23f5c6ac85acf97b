//! COMMAND and its subcommands: what the command table says of itself. Reads the registry and `command_hints`; owns no facts of its own.

use super::command_docs;
use super::command_hints::{self, Begin, Find, Shown};
use super::write_help;
use crate::acl::category;
use crate::args::{Args, ArgsExt};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::keys;
use crate::registry::Command;
use crate::spec::*;
use keystead_resp::Writer;

/// COMMAND and its subcommands.
pub const TABLE: &[CommandSpec] = &[CommandSpec::new(
    "command",
    -1,
    LOADING | STALE | ENDPOINT,
    KeySpec::None,
    Group::Server,
    "2.8.13",
    "Returns detailed information about all commands.",
    all,
)
.subs(&[
    row("count", 2, "Returns a count of commands.", count),
    row("docs", -2, "Returns documentary information about one, multiple or all commands.", docs).since("7.0.0"),
    row("getkeys", -3, "Extracts the key names from an arbitrary command.", getkeys),
    row("getkeysandflags", -3, "Extracts the key names and access flags for an arbitrary command.", getkeys_and_flags)
        .since("7.0.0"),
    row("help", 2, "Returns helpful text about the different subcommands.", help).since("5.0.0"),
    row("info", -2, "Returns information about one, multiple or all commands.", info),
    row("list", -2, "Returns a list of command names.", list).since("7.0.0"),
])];

const fn row(name: &'static str, arity: i32, summary: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, LOADING | STALE | ENDPOINT, KeySpec::None, Group::Server, "2.8.13", summary, handler)
}

fn all(ctx: &mut Ctx<'_>, _args: Args<'_>) -> CommandResult {
    let commands: Vec<&'static Command> = ctx.core.registry.all().collect();
    ctx.reply.array(commands.len());
    commands.into_iter().for_each(|command| write_info(&mut ctx.reply, command));
    Ok(Effect::None)
}

fn count(ctx: &mut Ctx<'_>, _args: Args<'_>) -> CommandResult {
    let count = ctx.core.registry.all().len();
    ctx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Effect::None)
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() == 2 {
        return all(ctx, args);
    }
    ctx.reply.array(args.len() - 2);
    for name in args.iter().skip(2) {
        match find(ctx, name) {
            Some(command) => write_info(&mut ctx.reply, command),
            None => ctx.reply.null(),
        }
    }
    Ok(Effect::None)
}

fn docs(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let commands: Vec<&'static Command> = if args.len() == 2 {
        ctx.core.registry.all().collect()
    } else {
        args.iter().skip(2).filter_map(|name| find(ctx, name)).collect()
    };
    ctx.reply.map(commands.len());
    commands.into_iter().for_each(|command| command_docs::write(&mut ctx.reply, command));
    Ok(Effect::None)
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut names = named(ctx, |_| true);
    if args.len() > 2 {
        if args.len() != 5 || !args.is(2, "filterby") {
            return Err(CommandError::SYNTAX);
        }
        let value = args.text(4);
        let category = value.strip_prefix('@').unwrap_or(&value).to_ascii_lowercase();
        names = if args.is(3, "aclcat") {
            named(ctx, |command| category::of(command).contains(&category.as_str()))
        } else if args.is(3, "pattern") {
            named(ctx, |command| crate::glob::matches(value.as_bytes(), command.full_name.as_bytes(), true))
        } else if args.is(3, "module") {
            named(ctx, |command| command.plugin.as_deref().is_some_and(|p| p.eq_ignore_ascii_case(&value)))
        } else {
            return Err(CommandError::SYNTAX);
        };
    }
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.bulk(name));
    Ok(Effect::None)
}

/// Full names of commands and subcommands that fit.
fn named(ctx: &Ctx<'_>, fits: impl Fn(&Command) -> bool) -> Vec<String> {
    let with_subs =
        ctx.core.registry.all().flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied()));
    with_subs.filter(|command| fits(command)).map(|command| command.full_name.clone()).collect()
}

fn getkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let found = keys_of(ctx, args)?;
    ctx.reply.array(found.len());
    found.iter().for_each(|(at, _)| ctx.reply.bulk(args.at(2 + at)));
    Ok(Effect::None)
}

fn getkeys_and_flags(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let found = keys_of(ctx, args)?;
    ctx.reply.array(found.len());
    for (at, how) in found {
        ctx.reply.array(2);
        ctx.reply.bulk(args.at(2 + at));
        write_use(&mut ctx.reply, how);
    }
    Ok(Effect::None)
}

/// The keys of the command in `args` behind `COMMAND GETKEYS`: positions and uses.
fn keys_of(ctx: &Ctx<'_>, args: Args<'_>) -> Result<Vec<(usize, Use)>, CommandError> {
    let inner = args.skip(2);
    let command = crate::exec::find(ctx.core, inner);
    let command = command.map_err(|_| CommandError::fixed("ERR Invalid command specified"))?;
    if matches!(command.keys, KeySpec::None) {
        return Err(CommandError::fixed("ERR The command has no key arguments"));
    }
    if !command.arity_ok(inner.len()) {
        return Err(CommandError::fixed("ERR Invalid number of arguments specified for command"));
    }
    let fits = keys::count_fits(&command.keys, inner);
    let mut found = if fits { keys::found(command, inner) } else { Vec::new() };
    if is_of_two_kinds(command) && found.len() < 2 {
        found.clear();
    }
    if found.is_empty() && !command.flags.has(NO_MANDATORY_KEYS) {
        return Err(CommandError::fixed("ERR Invalid arguments specified for command"));
    }
    Ok(found)
}

/// Whether it has a key of its own kind in front (RENAME, BITOP), and thus two specifications.
fn is_of_two_kinds(command: &Command) -> bool {
    let several = matches!(command.keys, KeySpec::Range { first, last, .. } if first != last);
    several && matches!(command.uses, Uses::Listed([_, _]))
}

fn find(ctx: &Ctx<'_>, name: &[u8]) -> Option<&'static Command> {
    ctx.core.registry.find_full(&String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// The ten elements COMMAND INFO has for a command.
fn write_info(reply: &mut Writer<'_>, command: &Command) {
    reply.array(10);
    reply.bulk(&command.full_name);
    reply.int(i64::from(command.arity));
    let (module, mut flags) = (command.group == Group::Module, command.flags.names().collect::<Vec<_>>());
    flags.extend(module.then_some("module"));
    write_status_set(reply, &flags);
    let shown = command_hints::shown(&command.full_name);
    let (first, last, step) = match command.keys {
        _ if shown.is_some() => shown.map_or((0, 0, 0), |([first, last, step], _)| (first, last, step)),
        KeySpec::Range { first, last, step } => (first, last, step),
        KeySpec::Counted { dest, .. } if dest > 0 => (dest, dest, 1),
        _ => (0, 0, 0),
    };
    [first, last, step].into_iter().for_each(|n| reply.int(i64::from(n)));
    let categories: Vec<String> = category::of(command).iter().map(|c| format!("@{c}")).collect();
    write_status_set(reply, &categories.iter().map(String::as_str).collect::<Vec<_>>());
    write_status_set(reply, &command_hints::tips(&command.full_name));
    match shown {
        Some((_, specs)) => write_shown(reply, specs),
        None => write_key_specs(reply, command),
    }
    match command.subs.len() {
        0 => reply.set(0),
        subs => reply.array(subs),
    }
    command.subs.iter().for_each(|sub| write_info(reply, sub));
}

/// Key specifications that aren't told by the row.
fn write_shown(reply: &mut Writer<'_>, specs: &[Shown]) {
    reply.set(specs.len());
    for (flags, begin, find) in specs {
        reply.map(3);
        reply.bulk("flags");
        write_status_set(reply, flags);
        reply.bulk("begin_search");
        match begin {
            Begin::Index(index) => write_find(reply, "index", &[("index", *index)]),
            Begin::Keyword(word, from) => {
                reply.map(2);
                reply.bulk("type");
                reply.bulk("keyword");
                reply.bulk("spec");
                reply.map(2);
                reply.bulk("keyword");
                reply.bulk(word);
                reply.bulk("startfrom");
                reply.int(i64::from(*from));
            }
            Begin::Unknown => write_find(reply, "unknown", &[]),
        }
        reply.bulk("find_keys");
        match find {
            Find::Range { last, limit } => {
                write_find(reply, "range", &[("lastkey", *last), ("keystep", 1), ("limit", *limit)]);
            }
            Find::Counted => write_find(reply, "keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]),
            Find::Unknown => write_find(reply, "unknown", &[]),
        }
    }
}

fn write_status_set(reply: &mut Writer<'_>, words: &[&str]) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word));
}

fn write_key_specs(reply: &mut Writer<'_>, command: &Command) {
    match command.keys {
        KeySpec::None => reply.set(0),
        // One for the key in front, one for the rest.
        KeySpec::Range { first, last, step } if is_of_two_kinds(command) => {
            reply.set(2);
            for (nth, from, last) in [(0, first, first), (1, first + step, last)] {
                write_key_spec(reply, command, nth, from, |reply| {
                    let lastkey = if last < 0 { last } else { last - from };
                    write_find(reply, "range", &[("lastkey", lastkey), ("keystep", step), ("limit", 0)]);
                });
            }
        }
        KeySpec::Range { first, last, step } => {
            reply.set(1);
            write_key_spec(reply, command, 0, first, |reply| {
                let lastkey = if last < 0 { last } else { last - first };
                write_find(reply, "range", &[("lastkey", lastkey), ("keystep", step), ("limit", 0)]);
            });
        }
        KeySpec::Counted { count, dest } => {
            reply.set(if dest > 0 { 2 } else { 1 });
            if dest > 0 {
                write_key_spec(reply, command, 0, dest, |reply| {
                    write_find(reply, "range", &[("lastkey", 0), ("keystep", 1), ("limit", 0)]);
                });
            }
            write_key_spec(reply, command, usize::from(dest > 0), count, |reply| {
                write_find(reply, "keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]);
            });
        }
        KeySpec::Custom(_) | KeySpec::Foreign(_) => {
            reply.set(1);
            reply.map(3);
            reply.bulk("flags");
            write_key_use(reply, command, 0);
            for part in ["begin_search", "find_keys"] {
                reply.bulk(part);
                write_find(reply, "unknown", &[]);
            }
        }
    }
}

/// The keys from number `nth` on, which begin at argument `index`.
fn write_key_spec(
    reply: &mut Writer<'_>,
    command: &Command,
    nth: usize,
    index: i32,
    find: impl FnOnce(&mut Writer<'_>),
) {
    reply.map(3);
    reply.bulk("flags");
    write_key_use(reply, command, nth);
    reply.bulk("begin_search");
    write_find(reply, "index", &[("index", index)]);
    reply.bulk("find_keys");
    find(reply);
}

fn write_find(reply: &mut Writer<'_>, kind: &str, spec: &[(&str, i32)]) {
    reply.map(2);
    reply.bulk("type");
    reply.bulk(kind);
    reply.bulk("spec");
    reply.map(spec.len());
    for (name, value) in spec {
        reply.bulk(name);
        reply.int(i64::from(*value));
    }
}

fn write_key_use(reply: &mut Writer<'_>, command: &Command, nth: usize) {
    let mut names: Vec<&str> = keys::use_of(command, Args::new(b"", &[]), nth).names().collect();
    if matches!(command.uses, Uses::Decided(_)) {
        names.push("variable_flags");
    }
    write_status_set(reply, &names);
}

fn write_use(reply: &mut Writer<'_>, how: Use) {
    write_status_set(reply, &how.names().collect::<Vec<_>>());
}

fn help(ctx: &mut Ctx<'_>, _args: Args<'_>) -> CommandResult {
    write_help(
        ctx,
        "COMMAND",
        &[
            "(no subcommand)",
            "    Return details about all Redis commands.",
            "COUNT",
            "    Return the total number of commands in this Redis server.",
            "LIST",
            "    Return a list of all commands in this Redis server.",
            "INFO [<command-name> ...]",
            "    Return details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "DOCS [<command-name> ...]",
            "    Return documentation details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "GETKEYS <full-command>",
            "    Return the keys from a full Redis command.",
            "GETKEYSANDFLAGS <full-command>",
            "    Return the keys and the access flags from a full Redis command.",
        ],
    )
}
