//! Commands of Redis that plugins bring: a rule may name them though their plugin isn't loaded, so that a file with users
//! is good on every node. Owns the names; what they allow is worked out when the command is there.

/// Full names in order, subcommands behind their command.
const NAMES: [&str; 42] = [
    "bgrewriteaof",
    "bgsave",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "failover",
    "fcall",
    "fcall_ro",
    "function",
    "function|delete",
    "function|dump",
    "function|flush",
    "function|help",
    "function|kill",
    "function|list",
    "function|load",
    "function|restore",
    "function|stats",
    "module|load",
    "module|loadex",
    "module|unload",
    "pfselftest",
    "psync",
    "replconf",
    "replicaof",
    "role",
    "save",
    "script",
    "script|debug",
    "script|exists",
    "script|flush",
    "script|help",
    "script|kill",
    "script|load",
    "slaveof",
    "sync",
    "wait",
    "waitaof",
    // Of the commands that only a server with cluster mode has.
    "asking",
    "readonly",
    "readwrite",
];

/// A command or `container|subcommand` (lower case) that a plugin could bring.
pub fn known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// It has subcommands.
pub fn is_container(name: &str) -> bool {
    NAMES.iter().any(|known| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('|')))
}
