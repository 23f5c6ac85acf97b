//! ACL, as far as there is one user: `default`, with everything allowed and the password of `requirepass`. Users and rules
//! are a later matter; what would need them is not offered, rather than accepted and ignored.

use keystead_resp::Args;
use sha2::{Digest, Sha256};

use super::command::categories;
use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::registry::Command;
use crate::spec::*;

const ACL: u32 = ADMIN | NOSCRIPT | LOADING | STALE | ENDPOINT;
const ASK: u32 = NOSCRIPT | LOADING | STALE | ENDPOINT;
const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[CommandSpec::container("acl", SRV, "6.0.0", "A container for Access List Control commands.", &[
    CommandSpec::new("cat", -2, ASK, NONE, SRV, "6.0.0", "Lists the ACL categories, or the commands inside a category.", cat),
    CommandSpec::new("genpass", -2, ASK, NONE, SRV, "6.0.0", "Generates a pseudorandom, secure password that can be used to identify ACL users.", genpass),
    CommandSpec::new("getuser", 3, ACL, NONE, SRV, "6.0.0", "Lists the ACL rules of a user.", getuser),
    CommandSpec::new("help", 2, ASK, NONE, SRV, "6.0.0", "Returns helpful text about the different subcommands.", help),
    CommandSpec::new("list", 2, ACL, NONE, SRV, "6.0.0", "Dumps the effective rules in ACL file format.", list),
    CommandSpec::new("users", 2, ACL, NONE, SRV, "6.0.0", "Lists all ACL users.", users),
    CommandSpec::new("whoami", 2, ASK, NONE, SRV, "6.0.0", "Returns the authenticated username of the current connection.", whoami),
])];

/// Redis' categories, in its order.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

fn cat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match args.len() {
        2 => {
            ctx.reply.array(CATEGORIES.len());
            CATEGORIES.iter().for_each(|name| ctx.reply.bulk(name));
        }
        3 => {
            let wanted = args.text(2).to_ascii_lowercase();
            let plugins = ctx.core.registry.all().any(|command| command.categories.contains(&wanted.as_str()));
            if !plugins && !CATEGORIES.contains(&wanted.as_str()) {
                return Err(CommandError::new(format!("ERR Unknown category '{}'", args.text(2))));
            }
            let has = |command: &&'static Command| categories(command).contains(&wanted.as_str());
            let all = ctx.core.registry.all().flat_map(|command| match command.subs.is_empty() {
                true => vec![command],
                false => command.subs.clone(),
            });
            let found: Vec<&'static Command> = all.filter(has).collect();
            ctx.reply.array(found.len());
            found.iter().for_each(|command| ctx.reply.bulk(&command.full_name));
        }
        _ => return Err(CommandError::SYNTAX),
    }
    Ok(Effect::None)
}

fn genpass(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const RANGE: CommandError = CommandError::fixed(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    );
    let bits = if args.len() > 2 { args.int(2).map_err(|_| RANGE)? } else { 256 };
    if !(1..=4096).contains(&bits) {
        return Err(RANGE);
    }
    // The generator was seeded by the system; hashing hides its state.
    let mut hex = String::new();
    while hex.len() < 1024 {
        let mut hash = Sha256::new();
        for _ in 0..4 {
            hash.update(ctx.core.random().to_le_bytes());
        }
        hash.update(ctx.core.run_id.as_bytes());
        hex.push_str(&to_hex(&hash.finalize()));
    }
    hex.truncate((bits as usize).div_ceil(4));
    ctx.reply.bulk(hex);
    Ok(Effect::None)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of the password, if there is one.
fn password(ctx: &Ctx<'_>) -> Option<String> {
    let text = &ctx.core.config.live.requirepass;
    (!text.is_empty()).then(|| to_hex(&Sha256::digest(text.as_bytes())))
}

fn getuser(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.at(2) != b"default" {
        ctx.reply.null();
        return Ok(Effect::None);
    }
    let password = password(ctx);
    let reply = &mut ctx.reply;
    reply.map(6);
    reply.bulk("flags");
    reply.set(if password.is_none() { 2 } else { 1 });
    reply.bulk("on");
    if password.is_none() {
        reply.bulk("nopass");
    }
    reply.bulk("passwords");
    reply.array(usize::from(password.is_some()));
    password.iter().for_each(|hash| reply.bulk(hash));
    for (name, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk(name);
        reply.bulk(value);
    }
    reply.bulk("selectors");
    reply.array(0);
    Ok(Effect::None)
}

fn list(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let password = password(ctx).map_or("nopass".to_owned(), |hash| format!("#{hash}"));
    ctx.reply.array(1);
    ctx.reply.bulk(format!("user default on {password} ~* &* +@all"));
    Ok(Effect::None)
}

fn users(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.array(1);
    ctx.reply.bulk("default");
    Ok(Effect::None)
}

fn whoami(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.bulk(&ctx.session.user);
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
            "GENPASS [<bits>]",
            "    Generate a secure 256-bit user password. The optional `bits` argument can",
            "    be used to specify a different size.",
            "GETUSER <username>",
            "    Get the user's details.",
            "LIST",
            "    Show users details in config file format.",
            "USERS",
            "    List all the registered usernames.",
            "WHOAMI",
            "    Return the current connection username.",
        ],
    )
}
