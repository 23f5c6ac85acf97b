//! The description of a command: one row per command, from which lookup, guards, COMMAND, ACL categories and the docs
//! come. Owns the types of a row; the rows stand at the head of each family's file in `commands/`.

use crate::args::Args;
use crate::ctx::Ctx;
use crate::effect::CommandResult;

/// What a command is and may do: a set of the bits below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

/// May change the data set.
pub const WRITE: u32 = 1;
/// Only reads the data set.
pub const READONLY: u32 = 1 << 1;
/// May need memory: refused when out of it.
pub const DENYOOM: u32 = 1 << 2;
/// For administrators.
pub const ADMIN: u32 = 1 << 3;
/// Belongs to pub/sub.
pub const PUBSUB: u32 = 1 << 4;
/// Not callable from scripts.
pub const NOSCRIPT: u32 = 1 << 5;
/// May park the session.
pub const BLOCKING: u32 = 1 << 6;
/// Allowed while loading.
pub const LOADING: u32 = 1 << 7;
/// Allowed while the link to the primary is down.
pub const STALE: u32 = 1 << 8;
/// Not shown to MONITOR.
pub const SKIP_MONITOR: u32 = 1 << 9;
/// Not kept in the slow log.
pub const SKIP_SLOWLOG: u32 = 1 << 10;
/// Constant or logarithmic time.
pub const FAST: u32 = 1 << 11;
/// Allowed before AUTH.
pub const NO_AUTH: u32 = 1 << 12;
/// Allowed while a script or function blocks the server.
pub const ALLOW_BUSY: u32 = 1 << 13;
/// Not allowed inside MULTI.
pub const NO_MULTI: u32 = 1 << 14;
/// The keys depend on the arguments: ask COMMAND GETKEYS.
pub const MOVABLEKEYS: u32 = 1 << 15;
/// May propagate although it isn't a write (PUBLISH, scripts).
pub const MAY_REPLICATE: u32 = 1 << 16;
/// Runs at once inside MULTI instead of being queued (EXEC, DISCARD, WATCH, RESET, QUIT, MULTI).
pub const NOW_IN_MULTI: u32 = 1 << 17;
/// Offered on an endpoint (a sentinel's port) too.
pub const ENDPOINT: u32 = 1 << 18;
/// Allowed in RESP2 subscriber mode.
pub const IN_SUBSCRIBER: u32 = 1 << 19;
/// Not allowed while other data is loaded beside the one that is served.
pub const NO_ASYNC_LOADING: u32 = 1 << 20;
/// Complete without any key although it takes keys (EVAL).
pub const NO_MANDATORY_KEYS: u32 = 1 << 21;
/// For a cluster's client that follows a redirect.
pub const ASKING: u32 = 1 << 22;
impl Flags {
    /// No flag at all.
    pub const NONE: Flags = Flags(0);

    /// True if all of `bits` are set.
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }

    /// True if any of `bits` is set.
    pub const fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// The names COMMAND INFO prints.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(u32, &str); 19] = [
            (WRITE, "write"),
            (READONLY, "readonly"),
            (DENYOOM, "denyoom"),
            (ADMIN, "admin"),
            (PUBSUB, "pubsub"),
            (NOSCRIPT, "noscript"),
            (BLOCKING, "blocking"),
            (LOADING, "loading"),
            (NO_ASYNC_LOADING, "no_async_loading"),
            (STALE, "stale"),
            (SKIP_MONITOR, "skip_monitor"),
            (SKIP_SLOWLOG, "skip_slowlog"),
            (ASKING, "asking"),
            (FAST, "fast"),
            (NO_AUTH, "no_auth"),
            (NO_MULTI, "no_multi"),
            (NO_MANDATORY_KEYS, "no_mandatory_keys"),
            (MOVABLEKEYS, "movablekeys"),
            (ALLOW_BUSY, "allow_busy"),
        ];
        NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// A plugin's function that finds keys. Plugins stay mapped, so it lives as long as the process.
pub struct ForeignKeys(pub Box<dyn Fn(Args<'_>) -> Vec<usize> + Send + Sync>);

impl std::fmt::Debug for ForeignKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForeignKeys")
    }
}

/// Where a command's keys are: one extractor serves ACL, COMMAND GETKEYS and execution.
#[derive(Clone, Copy, Debug)]
pub enum KeySpec {
    /// No keys.
    None,
    /// From `first` to `last` (negative counts from the end), every `step`.
    Range {
        /// Position of the first key.
        first: i32,
        /// Position of the last key; -1 is the last argument.
        last: i32,
        /// Distance between keys.
        step: i32,
    },
    /// `count` stands at a position and as many keys follow it; `dest` is a further key at a fixed position (0: none).
    Counted {
        /// Position of the number of keys.
        count: i32,
        /// A destination key's position, or 0.
        dest: i32,
    },
    /// Decided by a function that gives the positions.
    Custom(fn(Args<'_>) -> Vec<usize>),
    /// Decided by a plugin that gives the positions.
    Foreign(&'static ForeignKeys),
}

impl KeySpec {
    /// One key right behind the name.
    pub const FIRST: KeySpec = KeySpec::Range { first: 1, last: 1, step: 1 };
    /// Two keys right behind the name.
    pub const TWO: KeySpec = KeySpec::Range { first: 1, last: 2, step: 1 };
    /// All arguments are keys.
    pub const ALL: KeySpec = KeySpec::Range { first: 1, last: -1, step: 1 };
    /// Key, value, key, value …
    pub const PAIRS: KeySpec = KeySpec::Range { first: 1, last: -1, step: 2 };
}

/// How a command uses a key: what COMMAND shows of it, and what ACL asks for. A set of the bits below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use(pub u16);

/// Reads the value, or something about it, without telling it (EXISTS).
pub const LOOKS: Use = Use(Use::RO);
/// Tells what it reads.
pub const READS: Use = Use(Use::RO | Use::ACCESS);
/// Tells the old value and changes it.
pub const CHANGES: Use = Use(Use::RW | Use::ACCESS | Use::UPDATE);
/// Changes the value without telling anything of it.
pub const WRITES: Use = Use(Use::RW | Use::UPDATE);
/// Adds to the value.
pub const PUTS: Use = Use(Use::RW | Use::INSERT);
/// Deletes from the value.
pub const DROPS: Use = Use(Use::RW | Use::DELETE);
/// Tells what it deletes.
pub const TAKES: Use = Use(Use::RW | Use::ACCESS | Use::DELETE);
/// Tells something about the value and keeps it with the value (PFCOUNT).
pub const NOTES: Use = Use(Use::RW | Use::ACCESS);
/// Overwrites the value.
pub const SETS: Use = Use(Use::OW | Use::UPDATE);
/// Makes a value where there is none.
pub const MAKES: Use = Use(Use::OW | Use::INSERT);
/// Deletes the key.
pub const REMOVES: Use = Use(Use::RM | Use::DELETE);

impl Use {
    const RO: u16 = 1;
    const RW: u16 = 1 << 1;
    const OW: u16 = 1 << 2;
    const RM: u16 = 1 << 3;
    const ACCESS: u16 = 1 << 4;
    const UPDATE: u16 = 1 << 5;
    const INSERT: u16 = 1 << 6;
    const DELETE: u16 = 1 << 7;

    /// It takes the right to read.
    pub const fn reads(self) -> bool {
        self.0 & Use::ACCESS != 0
    }

    /// It takes the right to write.
    pub const fn writes(self) -> bool {
        self.0 & (Use::UPDATE | Use::INSERT | Use::DELETE) != 0
    }

    /// Both.
    pub const fn and(self, other: Use) -> Use {
        Use(self.0 | other.0)
    }

    /// The names COMMAND prints.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(u16, &str); 8] = [
            (Use::RO, "RO"),
            (Use::RW, "RW"),
            (Use::OW, "OW"),
            (Use::RM, "RM"),
            (Use::ACCESS, "access"),
            (Use::UPDATE, "update"),
            (Use::INSERT, "insert"),
            (Use::DELETE, "delete"),
        ];
        NAMES.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, name)| name)
    }
}

/// How a row's keys are used, in the order in which its key specification finds them.
#[derive(Clone, Copy, Debug)]
pub enum Uses {
    /// Nothing was said: readers read, all others may do anything.
    Usual,
    /// The first key's use and so on; the last one holds for all further keys.
    Listed(&'static [Use]),
    /// The arguments decide (SET with and without GET); where there are none to look at, the widest use.
    Decided(fn(Args<'_>) -> Use),
}

/// The group a command is documented in; also its main ACL category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Any type of key.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Pub/sub.
    PubSub,
    /// MULTI and friends.
    Transactions,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// Cluster mode.
    Cluster,
    /// Scripts and functions.
    Scripting,
    /// Bitmaps.
    Bitmap,
    /// HyperLogLog.
    HyperLogLog,
    /// Streams.
    Stream,
    /// Geo.
    Geo,
    /// Sentinel.
    Sentinel,
    /// From a plugin.
    Module,
}

impl Group {
    /// The name COMMAND DOCS prints.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
            Group::Scripting => "scripting",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Stream => "stream",
            Group::Geo => "geo",
            Group::Sentinel => "sentinel",
            Group::Module => "module",
        }
    }

    /// The ACL category of the group, if it has one.
    pub const fn category(self) -> Option<&'static str> {
        match self {
            Group::Generic => Some("keyspace"),
            Group::String => Some("string"),
            Group::List => Some("list"),
            Group::Set => Some("set"),
            Group::SortedSet => Some("sortedset"),
            Group::Hash => Some("hash"),
            Group::PubSub => Some("pubsub"),
            Group::Transactions => Some("transaction"),
            Group::Connection => Some("connection"),
            Group::Scripting => Some("scripting"),
            Group::Bitmap => Some("bitmap"),
            Group::HyperLogLog => Some("hyperloglog"),
            Group::Stream => Some("stream"),
            Group::Geo => Some("geo"),
            Group::Server | Group::Cluster | Group::Sentinel | Group::Module => None,
        }
    }
}

/// The function behind a command.
pub type Handler = fn(&mut Ctx<'_>, Args<'_>) -> CommandResult;

/// One row: a command or a subcommand.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Lower case; a subcommand's own word only.
    pub name: &'static str,
    /// Arguments with the name (and subcommand); negative means "at least".
    pub arity: i32,
    /// What it is and may do.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: KeySpec,
    /// How it uses them.
    pub uses: Uses,
    /// Its documentation group.
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// One sentence for COMMAND DOCS.
    pub summary: &'static str,
    /// The function; a container without a function of its own has none.
    pub handler: Option<Handler>,
    /// Subcommands.
    pub subs: &'static [CommandSpec],
}

impl CommandSpec {
    /// A row.
    #[allow(clippy::too_many_arguments)]
    pub const fn new(
        name: &'static str,
        arity: i32,
        flags: u32,
        keys: KeySpec,
        group: Group,
        since: &'static str,
        summary: &'static str,
        handler: Handler,
    ) -> Self {
        let flags = Flags(flags);
        let uses = Uses::Usual;
        CommandSpec { name, arity, flags, keys, uses, group, since, summary, handler: Some(handler), subs: &[] }
    }

    /// A row that only holds subcommands (CONFIG, CLIENT …).
    pub const fn container(
        name: &'static str,
        group: Group,
        since: &'static str,
        summary: &'static str,
        subs: &'static [CommandSpec],
    ) -> Self {
        let (flags, keys, uses) = (Flags::NONE, KeySpec::None, Uses::Usual);
        CommandSpec { name, arity: -2, flags, keys, uses, group, since, summary, handler: None, subs }
    }

    /// The same row with other flags than its family's.
    pub const fn flags(mut self, flags: u32) -> Self {
        self.flags = Flags(flags);
        self
    }

    /// The same row, in Redis since another version than its family.
    pub const fn since(mut self, since: &'static str) -> Self {
        self.since = since;
        self
    }

    /// The same row, saying how it uses its keys.
    pub const fn uses(mut self, uses: &'static [Use]) -> Self {
        self.uses = Uses::Listed(uses);
        self
    }

    /// The same row, whose arguments say how it uses its keys.
    pub const fn uses_by(mut self, decide: fn(Args<'_>) -> Use) -> Self {
        self.uses = Uses::Decided(decide);
        self
    }

    /// The same row with subcommands beside its own function (COMMAND).
    pub const fn subs(mut self, subs: &'static [CommandSpec]) -> Self {
        self.subs = subs;
        self
    }
}
