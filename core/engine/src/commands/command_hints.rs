//! What COMMAND tells proxies and cluster clients beyond a command's row: tips for aggregating replies, and where keys are
//! that a row finds by a function. Facts only, as redis-server's COMMAND INFO has them; nothing here decides anything.

/// Tips of Redis 7.2 (<https://redis.io/docs/reference/command-tips/>).
const TIPS: &[(&str, &[&str])] = &[
    (
        "nondeterministic_output",
        &[
            "client|info",
            "client|list",
            "cluster|bumpepoch",
            "cluster|count-failure-reports",
            "cluster|getkeysinslot",
            "cluster|info",
            "cluster|links",
            "cluster|nodes",
            "cluster|replicas",
            "cluster|shards",
            "cluster|slaves",
            "cluster|slots",
            "dump",
            "function|stats",
            "hrandfield",
            "hscan",
            "info",
            "lastsave",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
            "migrate",
            "object|encoding",
            "object|freq",
            "object|idletime",
            "object|refcount",
            "pttl",
            "randomkey",
            "scan",
            "slowlog|get",
            "slowlog|len",
            "spop",
            "srandmember",
            "sscan",
            "time",
            "ttl",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xinfo|consumers",
            "xpending",
            "xtrim",
            "zrandmember",
            "zscan",
        ],
    ),
    (
        "request_policy:all_nodes",
        &[
            "config|set",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "latency|reset",
            "script|flush",
            "script|load",
            "slowlog|get",
            "slowlog|len",
            "slowlog|reset",
        ],
    ),
    (
        "request_policy:all_shards",
        &[
            "dbsize",
            "flushall",
            "flushdb",
            "function|delete",
            "function|flush",
            "function|kill",
            "function|load",
            "function|restore",
            "function|stats",
            "info",
            "keys",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|purge",
            "memory|stats",
            "ping",
            "randomkey",
            "script|exists",
            "script|kill",
            "wait",
            "waitaof",
        ],
    ),
    ("request_policy:multi_shard", &["del", "exists", "mget", "mset", "msetnx", "touch", "unlink"]),
    ("request_policy:special", &["scan"]),
    ("response_policy:agg_logical_and", &["script|exists"]),
    ("response_policy:agg_min", &["msetnx", "wait", "waitaof"]),
    ("response_policy:agg_sum", &["dbsize", "del", "exists", "slowlog|len", "touch", "unlink"]),
    (
        "response_policy:all_succeeded",
        &[
            "config|set",
            "flushall",
            "flushdb",
            "function|delete",
            "function|flush",
            "function|load",
            "function|restore",
            "latency|reset",
            "memory|purge",
            "mset",
            "ping",
            "script|flush",
            "script|load",
            "slowlog|reset",
        ],
    ),
    ("response_policy:one_succeeded", &["function|kill", "script|kill"]),
    (
        "response_policy:special",
        &[
            "function|stats",
            "info",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
        ],
    ),
    (
        "nondeterministic_output_order",
        &[
            "command",
            "command|docs",
            "command|info",
            "command|list",
            "function|list",
            "hgetall",
            "hkeys",
            "hvals",
            "keys",
            "module|list",
            "sdiff",
            "sinter",
            "smembers",
            "sunion",
        ],
    ),
];

/// The tips of a command, by its full name.
pub(super) fn tips(full_name: &str) -> Vec<&'static str> {
    TIPS.iter().filter(|(_, commands)| commands.contains(&full_name)).map(|(tip, _)| *tip).collect()
}

/// Where keys begin.
#[derive(Clone, Copy)]
pub(super) enum Begin {
    /// At this argument.
    Index(i32),
    /// Behind a word that is looked for from this argument on (negative: from the end, backwards).
    Keyword(&'static str, i32),
    /// No rule says it.
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Clone, Copy)]
pub(super) enum Find {
    /// To the last one, which is counted from the first or, if negative, from the end; `limit` 2: half of them.
    Range { last: i32, limit: i32 },
    /// As many as the first argument says, behind it.
    Counted,
    /// No rule says it.
    Unknown,
}

/// One key specification.
pub(super) type Shown = (&'static [&'static str], Begin, Find);

const ONE: Find = Find::Range { last: 0, limit: 0 };
const REST: Find = Find::Range { last: -1, limit: 0 };
const FIRST: Begin = Begin::Index(1);
const READ: &[&str] = &["RO", "access"];
const OVERWRITTEN: &[&str] = &["OW", "update"];
const NO_KEY: &[&str] = &["not_key"];
const SCRIPT: &[Shown] = &[(&["RW", "access", "update"], Begin::Index(2), Find::Counted)];
const SCRIPT_RO: &[Shown] = &[(READ, Begin::Index(2), Find::Counted)];

/// First, last and step of those whose row finds them otherwise, and their specifications.
const SHOWN: &[(&str, [i32; 3], &[Shown])] = &[
    ("eval", [0, 0, 0], SCRIPT),
    ("evalsha", [0, 0, 0], SCRIPT),
    ("fcall", [0, 0, 0], SCRIPT),
    ("eval_ro", [0, 0, 0], SCRIPT_RO),
    ("evalsha_ro", [0, 0, 0], SCRIPT_RO),
    ("fcall_ro", [0, 0, 0], SCRIPT_RO),
    (
        "georadius",
        [1, 1, 1],
        &[
            (READ, FIRST, ONE),
            (OVERWRITTEN, Begin::Keyword("STORE", 6), ONE),
            (OVERWRITTEN, Begin::Keyword("STOREDIST", 6), ONE),
        ],
    ),
    (
        "georadiusbymember",
        [1, 1, 1],
        &[
            (READ, FIRST, ONE),
            (OVERWRITTEN, Begin::Keyword("STORE", 5), ONE),
            (OVERWRITTEN, Begin::Keyword("STOREDIST", 5), ONE),
        ],
    ),
    (
        "migrate",
        [3, 3, 1],
        &[
            (&["RW", "access", "delete"], Begin::Index(3), ONE),
            (&["RW", "access", "delete", "incomplete"], Begin::Keyword("KEYS", -2), REST),
        ],
    ),
    (
        "sort",
        [1, 1, 1],
        &[(READ, FIRST, ONE), (READ, Begin::Unknown, Find::Unknown), (OVERWRITTEN, Begin::Unknown, Find::Unknown)],
    ),
    ("sort_ro", [1, 1, 1], &[(READ, FIRST, ONE), (READ, Begin::Unknown, Find::Unknown)]),
    ("spublish", [1, 1, 1], &[(NO_KEY, FIRST, ONE)]),
    ("ssubscribe", [1, -1, 1], &[(NO_KEY, FIRST, REST)]),
    ("sunsubscribe", [1, -1, 1], &[(NO_KEY, FIRST, REST)]),
    ("xread", [0, 0, 0], &[(READ, Begin::Keyword("STREAMS", 1), Find::Range { last: -1, limit: 2 })]),
    ("xreadgroup", [0, 0, 0], &[(READ, Begin::Keyword("STREAMS", 4), Find::Range { last: -1, limit: 2 })]),
];

/// What is shown of a command's keys where its row alone doesn't say it.
pub(super) fn shown(full_name: &str) -> Option<([i32; 3], &'static [Shown])> {
    SHOWN.iter().find(|(name, ..)| *name == full_name).map(|(_, places, specs)| (*places, *specs))
}

/// Every name in the tables, for the test that each is a command's.
#[cfg(test)]
fn names() -> impl Iterator<Item = &'static str> {
    TIPS.iter().flat_map(|(_, names)| names.iter().copied()).chain(SHOWN.iter().map(|(name, ..)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_a_command_s() {
        let engine = crate::Engine::new(crate::EngineOptions::default());
        // Those of plugins: scripting, persistence, replication.
        let of_plugins = |name: &str| {
            let container = name.split('|').next().unwrap_or_default();
            matches!(container, "eval" | "evalsha" | "fcall" | "eval_ro" | "evalsha_ro" | "fcall_ro" | "function")
                || matches!(container, "script" | "wait" | "waitaof" | "lastsave")
        };
        let unknown: Vec<&str> =
            names().filter(|name| !of_plugins(name) && engine.core.registry.find_full(name).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
