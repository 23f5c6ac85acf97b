//! ACL: users, what they may do, what was refused. Owns the replies; the rules themselves are the room `crate::acl`.

use keystead_resp::{Args, Writer};

use crate::acl::user::Selector;
use crate::acl::{self, category};
use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::engine::Action;
use crate::error::{CommandError, c_text, shown};
use crate::registry::{Body, Command};
use crate::session::Parked;
use crate::spec::*;

const ACL: u32 = ADMIN | NOSCRIPT | LOADING | STALE | ENDPOINT;
const ASK: u32 = NOSCRIPT | LOADING | STALE | ENDPOINT;
const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[CommandSpec::container("acl", SRV, "6.0.0", "A container for Access List Control commands.", &[
    CommandSpec::new("cat", -2, ASK, NONE, SRV, "6.0.0", "Lists the ACL categories, or the commands inside a category.", cat),
    CommandSpec::new("deluser", -3, ACL, NONE, SRV, "6.0.0", "Deletes ACL users, and terminates their connections.", deluser),
    CommandSpec::new("dryrun", -4, ACL, NONE, SRV, "7.0.0", "Simulates the execution of a command by a user, without executing the command.", dryrun),
    CommandSpec::new("genpass", -2, ASK, NONE, SRV, "6.0.0", "Generates a pseudorandom, secure password that can be used to identify ACL users.", genpass),
    CommandSpec::new("getuser", 3, ACL, NONE, SRV, "6.0.0", "Lists the ACL rules of a user.", getuser),
    CommandSpec::new("help", 2, LOADING | STALE | ENDPOINT, NONE, SRV, "6.0.0", "Returns helpful text about the different subcommands.", help),
    CommandSpec::new("list", 2, ACL, NONE, SRV, "6.0.0", "Dumps the effective rules in ACL file format.", list),
    CommandSpec::new("load", 2, ACL, NONE, SRV, "6.0.0", "Reloads the rules from the configured ACL file.", load),
    CommandSpec::new("log", -2, ACL, NONE, SRV, "6.0.0", "Lists recent security events generated due to ACL rules.", log),
    CommandSpec::new("save", 2, ACL, NONE, SRV, "6.0.0", "Saves the effective ACL rules in the configured ACL file.", save),
    CommandSpec::new("setuser", -3, ACL, NONE, SRV, "6.0.0", "Creates and modifies an ACL user and its rules.", setuser),
    CommandSpec::new("users", 2, ACL, NONE, SRV, "6.0.0", "Lists all ACL users.", users),
    CommandSpec::new("whoami", 2, ASK, NONE, SRV, "6.0.0", "Returns the authenticated username of the current connection.", whoami),
])];

const NO_FILE: CommandError = CommandError::fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users \
     in the Redis configuration.",
);

fn cat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match args.len() {
        2 => {
            ctx.reply.array(category::NAMES.len());
            category::NAMES.iter().for_each(|name| ctx.reply.bulk(name));
        }
        3 => {
            let wanted = args.text(2).to_ascii_lowercase();
            if !category::known(&ctx.core.registry, &wanted) {
                return Err(CommandError::quoting(&[b"ERR Unknown category '", shown(args.at(2)), b"'"]));
            }
            let all = ctx.core.registry.all();
            let all = all.flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied()));
            let found: Vec<&'static Command> = all.filter(|command| category::has(command, &wanted)).collect();
            ctx.reply.array(found.len());
            found.iter().for_each(|command| ctx.reply.bulk(&command.full_name));
        }
        _ => return Err(wrong_use(args)),
    }
    Ok(Effect::None)
}

/// A subcommand that exists, but not with so many arguments.
fn wrong_use(args: Args<'_>) -> CommandError {
    CommandError::subcommand_syntax("ACL", args.at(1))
}

fn setuser(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if acl::bad_name(args.at(2)) {
        return Err(CommandError::fixed(acl::BAD_NAME));
    }
    let words: Vec<&[u8]> = args.skip(3).iter().collect();
    let edited = ctx.core.acl.edited(&args.text(2), &words, &ctx.core.registry);
    let user = edited.map_err(|why| CommandError::quoting(&[b"ERR ", &why]))?;
    ctx.core.change_user(ctx.session, user);
    ctx.reply.ok();
    Ok(Effect::None)
}

fn deluser(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.skip(2).iter().any(|name| name == acl::DEFAULT.as_bytes()) {
        return Err(CommandError::fixed("ERR The 'default' user cannot be removed"));
    }
    let names = (2..args.len()).filter(|at| !acl::bad_name(args.at(*at))).map(|at| args.text(at));
    let deleted = names.filter(|name| ctx.core.delete_user(ctx.session, name)).count();
    ctx.reply.int(deleted as i64);
    Ok(Effect::None)
}

fn getuser(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Ctx { core, reply, .. } = ctx;
    let Some(user) = core.acl.named(args.at(2)) else {
        reply.null();
        return Ok(Effect::None);
    };
    let flags: Vec<&str> = user.flags().collect();
    reply.map(6);
    reply.bulk("flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag));
    reply.bulk("passwords");
    reply.array(user.passwords.len());
    user.passwords.iter().for_each(|hash| reply.bulk(hash));
    let (root, others) = user.selectors.split_first().expect("a user has a selector");
    write_selector(reply, root);
    reply.bulk("selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        write_selector(reply, selector);
    }
    Ok(Effect::None)
}

fn write_selector(reply: &mut Writer<'_>, selector: &Selector) {
    reply.bulk("commands");
    reply.bulk(selector.commands_text());
    reply.bulk("keys");
    reply.bulk(selector.keys_text());
    reply.bulk("channels");
    reply.bulk(selector.channels_text());
}

fn list(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let lines = ctx.core.acl.lines();
    ctx.reply.array(lines.len());
    lines.iter().for_each(|line| ctx.reply.bulk(line));
    Ok(Effect::None)
}

fn users(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let Ctx { core, reply, .. } = ctx;
    let users = core.acl.users();
    reply.array(users.len());
    users.for_each(|user| reply.bulk(&user.name));
    Ok(Effect::None)
}

fn whoami(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.bulk(&ctx.session.user);
    Ok(Effect::None)
}

fn dryrun(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let inner = args.skip(3);
    let Some(user) = ctx.core.acl.named(args.at(2)).cloned() else {
        return Err(CommandError::quoting(&[b"ERR User '", c_text(args.at(2)), b"' not found"]));
    };
    let command = match crate::exec::find(ctx.core, inner) {
        Ok(command) if !matches!(command.body, Body::Container) || inner.len() == 1 => command,
        _ => return Err(CommandError::quoting(&[b"ERR Command '", c_text(args.at(3)), b"' not found"])),
    };
    if !command.arity_ok(inner.len()) {
        return Err(CommandError::arity(&command.full_name));
    }
    match acl::check(&user, command, inner) {
        Ok(()) => ctx.reply.ok(),
        Err(denied) => ctx.reply.bulk(denied.explained(&user.name, command, inner)),
    }
    Ok(Effect::None)
}

/// Seconds with Redis' three digits behind the point, as a double.
fn age_s(now_ms: u64, then_ms: u64) -> f64 {
    now_ms.saturating_sub(then_ms) as f64 / 1000.0
}

fn log(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = match args.len() {
        2 => 10,
        3 if args.is(2, "reset") => {
            ctx.core.acl.log.clear();
            ctx.reply.ok();
            return Ok(Effect::None);
        }
        3 => usize::try_from(args.int(2)?).unwrap_or(0),
        _ => return Err(wrong_use(args)),
    };
    let now_ms = ctx.now_ms();
    let Ctx { core, reply, .. } = ctx;
    let entries = core.acl.log.entries();
    reply.array(entries.len().min(count));
    for entry in entries.take(count) {
        reply.map(10);
        reply.bulk("count");
        reply.int(entry.count as i64);
        let texts: [(&str, &[u8]); 4] = [
            ("reason", entry.reason.as_bytes()),
            ("context", entry.context.as_bytes()),
            ("object", &entry.object),
            ("username", &entry.user),
        ];
        for (name, value) in texts {
            reply.bulk(name);
            reply.bulk(value);
        }
        reply.bulk("age-seconds");
        reply.double(age_s(now_ms, entry.updated_ms));
        reply.bulk("client-info");
        reply.bulk(&entry.client);
        let numbers = [
            ("entry-id", entry.id),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ];
        for (name, value) in numbers {
            reply.bulk(name);
            reply.int(value as i64);
        }
    }
    Ok(Effect::None)
}

fn load(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    file(ctx, args, None)
}

fn save(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut text = ctx.core.acl.lines().join(&b'\n');
    text.push(b'\n');
    file(ctx, args, Some(text))
}

/// The server does what is to be done with the file, and answers then.
fn file(ctx: &mut Ctx<'_>, args: Args<'_>, save: Option<Vec<u8>>) -> CommandResult {
    if ctx.core.config.get("aclfile").is_none_or(|path| path.is_empty()) {
        return Err(NO_FILE);
    }
    if !ctx.may_block() {
        return file_at_once(ctx, save);
    }
    let ticket = crate::exec::next_ticket(ctx.core);
    ctx.session.parked = Some(Parked::Async { ticket, command: ctx.command, args: args.to_owned() });
    let session = ctx.session.id;
    ctx.core.act(Action::AclFile { save, reply: (session, ticket) });
    Ok(Effect::None)
}

/// Inside MULTI, where nobody can wait and later commands go by the new users.
fn file_at_once(ctx: &mut Ctx<'_>, save: Option<Vec<u8>>) -> CommandResult {
    let Some(file) = ctx.core.acl.file.clone() else { return Err(NO_FILE) };
    let done = match save {
        Some(text) => file.write(&text),
        None => file.read().and_then(|(text, name)| ctx.core.load_users(&text, &name, ctx.session)),
    };
    done.map_err(|why| CommandError::new(format!("ERR {why}")))?;
    ctx.reply.ok();
    Ok(Effect::None)
}

fn genpass(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const RANGE: CommandError = CommandError::fixed(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    );
    let bits = match args.len() {
        2 => 256,
        3 => args.int(2)?,
        _ => return Err(wrong_use(args)),
    };
    if !(1..=4096).contains(&bits) {
        return Err(RANGE);
    }
    let digits = (bits as usize).div_ceil(4);
    let mut hex = String::new();
    while hex.len() < digits {
        hex.extend(ctx.core.secrets.fresh().iter().map(|byte| format!("{byte:02x}")));
    }
    hex.truncate(digits);
    ctx.reply.bulk(hex);
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "ACL",
        &[
            "CAT [<category>]",
            "    List all commands that belong to <category>, or all command categories",
            "    when no category is specified.",
            "DELUSER <username> [<username> ...]",
            "    Delete a list of users.",
            "DRYRUN <username> <command> [<arg> ...]",
            "    Returns whether the user can execute the given command without executing the command.",
            "GETUSER <username>",
            "    Get the user's details.",
            "GENPASS [<bits>]",
            "    Generate a secure 256-bit user password. The optional `bits` argument can",
            "    be used to specify a different size.",
            "LIST",
            "    Show users details in config file format.",
            "LOAD",
            "    Reload users from the ACL file.",
            "LOG [<count> | RESET]",
            "    Show the ACL log entries.",
            "SAVE",
            "    Save the current config to the ACL file.",
            "SETUSER <username> <attribute> [<attribute> ...]",
            "    Create or modify a user with the specified attributes.",
            "USERS",
            "    List all the registered usernames.",
            "WHOAMI",
            "    Return the current connection username.",
        ],
    )
}
