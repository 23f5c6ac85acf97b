//! The categories of commands: what follows from a row's flags and group, and the few that don't. Pure.

use crate::registry::{Command, Registry};
use crate::spec::{ADMIN, BLOCKING, FAST, Group, PUBSUB, READONLY, WRITE};

/// Redis' categories, in its order.
pub const NAMES: [&str; 21] = [
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

/// Commands Redis calls dangerous beside those for administrators.
const DANGEROUS: &[&str] = &[
    "flushall",
    "flushdb",
    "info",
    "keys",
    "role",
    "sort",
    "sort_ro",
    "swapdb",
    "restore",
    "restore-asking",
    "migrate",
    "replconf",
];

/// True for Redis' categories and for those that plugins brought.
pub fn known(registry: &Registry, name: &str) -> bool {
    NAMES.contains(&name) || registry.all().any(|command| command.categories.contains(&name))
}

/// True if a command belongs to a category (lower case, without the sign).
pub fn has(command: &Command, name: &str) -> bool {
    let mut found = false;
    each(command, &mut |one| found |= one == name);
    found
}

/// A command's categories, in the order COMMAND shows them.
pub fn of(command: &Command) -> Vec<&'static str> {
    let mut found = Vec::new();
    each(command, &mut |name| {
        if !found.contains(&name) {
            found.push(name);
        }
    });
    found.sort_by_key(|name| NAMES.iter().position(|known| known == name).unwrap_or(NAMES.len()));
    found
}

/// Says each category of a command, some twice. It costs no memory: a rule of ACL SETUSER asks it of every command.
fn each(command: &Command, say: &mut impl FnMut(&'static str)) {
    let flags = command.flags;
    let admin = flags.has(ADMIN);
    by_group(command, say);
    let mut add = |condition: bool, name: &'static str| {
        if condition {
            say(name);
        }
    };
    add(flags.has(WRITE), "write");
    add(flags.has(READONLY) && command.group != Group::Scripting, "read");
    add(admin, "admin");
    add(admin || DANGEROUS.contains(&command.full_name.as_str()), "dangerous");
    add(flags.has(PUBSUB), "pubsub");
    add(flags.has(BLOCKING), "blocking");
    add(flags.has(FAST), "fast");
    add(!flags.has(FAST), "slow");
    command.categories.iter().for_each(|name| add(true, name));
}

/// Most commands are of their group's category.
fn by_group(command: &Command, say: &mut impl FnMut(&'static str)) {
    let names: &[&'static str] = match command.full_name.as_str() {
        // Generic by their group, but about the types they read.
        "sort" | "sort_ro" => &["list", "set", "sortedset"],
        // The server's by their group, but about keys.
        "dbsize" | "flushall" | "flushdb" | "swapdb" | "restore-asking" => &["keyspace"],
        // What a client asks of its connection, though by their groups they are the cluster's or about keys.
        "asking" | "readonly" | "readwrite" | "wait" | "waitaof" => &["connection"],
        // What a client asks of the connection rather than of the server.
        name if name == "command" || name.starts_with("command|") => &["connection"],
        "debug" | "lastsave" => &["admin", "dangerous"],
        "pubsub|help" => &[],
        _ if command.body.is_container() => &[],
        _ => return command.group.category().into_iter().for_each(say),
    };
    names.iter().copied().for_each(say);
}
