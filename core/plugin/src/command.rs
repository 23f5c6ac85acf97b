//! What a command is: its spec, and what it says it did.

use crate::args::OwnedArgs;
use bytes::Bytes;
use keystead_abi as abi;
use std::ops::BitOr;

/// Flags of a command, as COMMAND INFO shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u64);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// May change data.
    pub const WRITE: Flags = Flags(abi::CMD_WRITE);
    /// Only reads data.
    pub const READONLY: Flags = Flags(abi::CMD_READONLY);
    /// Refused when memory is full.
    pub const DENYOOM: Flags = Flags(abi::CMD_DENYOOM);
    /// Administration.
    pub const ADMIN: Flags = Flags(abi::CMD_ADMIN);
    /// Pub/sub.
    pub const PUBSUB: Flags = Flags(abi::CMD_PUBSUB);
    /// Not in scripts.
    pub const NO_SCRIPT: Flags = Flags(abi::CMD_NOSCRIPT);
    /// May block.
    pub const BLOCKING: Flags = Flags(abi::CMD_BLOCKING);
    /// Allowed while data is loaded.
    pub const LOADING_OK: Flags = Flags(abi::CMD_LOADING);
    /// Allowed on a replica whose data is stale.
    pub const STALE_OK: Flags = Flags(abi::CMD_STALE);
    /// Not shown by MONITOR.
    pub const SKIP_MONITOR: Flags = Flags(abi::CMD_SKIP_MONITOR);
    /// Not in the slow log.
    pub const SKIP_SLOWLOG: Flags = Flags(abi::CMD_SKIP_SLOWLOG);
    /// Constant or logarithmic time.
    pub const FAST: Flags = Flags(abi::CMD_FAST);
    /// Allowed before AUTH.
    pub const NO_AUTH: Flags = Flags(abi::CMD_NO_AUTH);
    /// May replicate though it is no write.
    pub const MAY_REPLICATE: Flags = Flags(abi::CMD_MAY_REPLICATE);
    /// Not inside MULTI.
    pub const NO_MULTI: Flags = Flags(abi::CMD_NO_MULTI);
    /// Allowed while a long call runs.
    pub const ALLOW_BUSY: Flags = Flags(abi::CMD_ALLOW_BUSY);
    /// Takes the place of the core's command of that name: of any on the plugin's own endpoint, on the data port only of
    /// one that neither reads nor writes keys.
    pub const REPLACES: Flags = Flags(abi::CMD_REPLACES);
    /// Not while other data is loaded beside the one that is served: it would be replaced under the command's feet.
    pub const NO_ASYNC_LOADING: Flags = Flags(abi::CMD_NO_ASYNC_LOADING);
    /// Complete without any key although it takes keys.
    pub const NO_MANDATORY_KEYS: Flags = Flags(abi::CMD_NO_MANDATORY_KEYS);
    /// May write no reply at all, as REPLCONF ACK does; its client must not wait for one. A command without this flag that
    /// writes none is answered an error.
    pub const MAY_BE_SILENT: Flags = Flags(abi::CMD_MAY_BE_SILENT);
}

impl Flags {
    /// These without those of `other`.
    #[must_use]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// ACL categories of a command. `@write`, `@read`, `@admin` with `@dangerous`, `@fast` and `@slow` follow from the flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acl(pub u64);

impl Acl {
    /// Only what follows from the flags.
    pub const NONE: Acl = Acl(0);
    /// @keyspace
    pub const KEYSPACE: Acl = Acl(abi::ACL_KEYSPACE);
    /// @string
    pub const STRING: Acl = Acl(abi::ACL_STRING);
    /// @list
    pub const LIST: Acl = Acl(abi::ACL_LIST);
    /// @hash
    pub const HASH: Acl = Acl(abi::ACL_HASH);
    /// @set
    pub const SET: Acl = Acl(abi::ACL_SET);
    /// @sortedset
    pub const SORTEDSET: Acl = Acl(abi::ACL_SORTEDSET);
    /// @bitmap
    pub const BITMAP: Acl = Acl(abi::ACL_BITMAP);
    /// @hyperloglog
    pub const HYPERLOGLOG: Acl = Acl(abi::ACL_HYPERLOGLOG);
    /// @geo
    pub const GEO: Acl = Acl(abi::ACL_GEO);
    /// @stream
    pub const STREAM: Acl = Acl(abi::ACL_STREAM);
    /// @pubsub
    pub const PUBSUB: Acl = Acl(abi::ACL_PUBSUB);
    /// @dangerous
    pub const DANGEROUS: Acl = Acl(abi::ACL_DANGEROUS);
    /// @admin
    pub const ADMIN: Acl = Acl(abi::ACL_ADMIN);
    /// @blocking
    pub const BLOCKING: Acl = Acl(abi::ACL_BLOCKING);
    /// @connection
    pub const CONNECTION: Acl = Acl(abi::ACL_CONNECTION);
    /// @transaction
    pub const TRANSACTION: Acl = Acl(abi::ACL_TRANSACTION);
    /// @scripting
    pub const SCRIPTING: Acl = Acl(abi::ACL_SCRIPTING);
}

impl BitOr for Acl {
    type Output = Acl;
    fn bitor(self, other: Acl) -> Acl {
        Acl(self.0 | other.0)
    }
}

/// Where a movable command's keys are: their positions, given the words. If it panics, every word counts as a key.
pub type GetKeys = fn(crate::Args<'_>) -> Vec<usize>;

/// The flags that hold with a command's words: the plugin, the words and the row's flags.
pub type FlagsNow<P> = fn(&P, crate::Args<'_>, Flags) -> Flags;

/// Whether a command may take its connection over, asked in the turn: the plugin, the context and the words.
pub type MayTake<P> = fn(&P, &mut crate::Ctx<'_>, crate::Args<'_>) -> crate::Result<()>;

/// What the core must know of a command before it runs. Made with [`spec`].
#[derive(Clone)]
pub struct CommandSpec {
    pub(crate) name: String,
    pub(crate) arity: i32,
    pub(crate) flags: Flags,
    pub(crate) acl: Acl,
    pub(crate) keys: (i32, i32, i32),
    pub(crate) get_keys: Option<GetKeys>,
    pub(crate) summary: String,
    pub(crate) since: String,
    pub(crate) group: String,
    pub(crate) page: String,
}

/// A command of this name (`PARENT|CHILD` for a subcommand), arity (negative: at least) and flags. It takes no keys
/// unless [`CommandSpec::keys`] says so.
pub fn spec(name: &str, arity: i32, flags: Flags) -> CommandSpec {
    CommandSpec {
        name: name.to_owned(),
        arity,
        flags,
        acl: Acl::NONE,
        keys: (0, 0, 0),
        get_keys: None,
        summary: String::new(),
        since: "1.0.0".to_owned(),
        group: "module".to_owned(),
        page: String::new(),
    }
}

impl CommandSpec {
    /// First key, last key (negative counts from the end), step.
    #[must_use]
    pub fn keys(mut self, first: i32, last: i32, step: i32) -> Self {
        self.keys = (first, last, step);
        self
    }

    /// Keys that only the words themselves tell.
    #[must_use]
    pub fn keys_by(mut self, get_keys: GetKeys) -> Self {
        self.get_keys = Some(get_keys);
        self.flags = self.flags | Flags(abi::CMD_MOVABLE_KEYS);
        self
    }

    /// ACL categories beyond those that follow from the flags.
    #[must_use]
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// For COMMAND DOCS: what it does, the group, the version that brought it.
    #[must_use]
    pub fn docs(mut self, summary: &str, group: &str, since: &str) -> Self {
        self.summary = summary.to_owned();
        self.group = group.to_owned();
        self.since = since.to_owned();
        self
    }

    /// For COMMAND DOCS and the hints of `redis-cli`: its arguments and how its time grows, each a line:
    ///
    /// ```text
    /// ~ O(1)
    /// key count:int [WITHSCORES] [order<ASC|DESC>] data{field value}...
    /// ```
    ///
    /// Types are `int`, `float`, `key`, `pattern`, `time` and `string` (the default but for `key` and `pattern`); words in
    /// capitals stand for themselves, `EX(seconds:int)` has one in front, `[x]` may be left out, `x...` be there several
    /// times, and `@1.2.0` behind one says since when. A page that can't be read is refused at the start.
    ///
    /// For many commands, [`crate::Registrar::pages`] takes them from one text.
    #[must_use]
    pub fn page(mut self, page: &str) -> Self {
        self.page = page.to_owned();
        self
    }

    /// For COMMAND DOCS: what it does.
    #[must_use]
    pub fn summary(mut self, summary: &str) -> Self {
        self.summary = summary.to_owned();
        self
    }
}

/// What a command did, for the journal. Forgetting must not compile: handlers return it. Effects are in the session's
/// database, but for [`Effect::InDb`]; a command that changed another one and names commands of its own for it, but none in
/// that one, is answered an error. So is one with an effect that isn't declared [`Flags::WRITE`] or [`Flags::MAY_REPLICATE`], or
/// whose effect isn't a command that this server has and that writes: replicas and files execute what stands there.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// None of its own: what was changed through the context ([`crate::Ctx::set`] and the like) is propagated as these
    /// changes, and if there are none, nothing is. What commands did that it called ([`crate::Ctx::call`]) always is, in its
    /// place among the changes.
    None,
    /// Propagate the command as it was sent. Every replica and every file then needs this plugin: one without it takes the
    /// command for unknown, says so in its log as CRITICAL, and its data is another from then on. It runs there once more, so
    /// it must do the same with the same keys (no clock, no chance), and what it calls is propagated on its own besides.
    /// Commands of Redis that say what has changed ([`Effect::None`], [`Effect::Instead`]) are understood everywhere.
    AsSent,
    /// Propagate this command instead.
    Instead(OwnedArgs),
    /// Propagate these instead, as one unit.
    Many(Vec<OwnedArgs>),
    /// The same, each in a database of its own: what was changed in another one than the session's.
    InDb(Vec<(u32, OwnedArgs)>),
}

impl Effect {
    /// Propagate these words instead, in the session's database. Literals of different lengths are of one type as text:
    /// `Effect::instead(&["XGROUP", "CREATE", "s", "g", "0"])`; beside a key as slices: `&[&b"XGROUP"[..], b"CREATE", key]`.
    pub fn instead<T: AsRef<[u8]>>(words: &[T]) -> Effect {
        Effect::Instead(words.iter().map(|word| Bytes::copy_from_slice(word.as_ref())).collect())
    }

    /// Propagate these words instead, in this database. For several of them list them in [`Effect::InDb`].
    pub fn in_db<T: AsRef<[u8]>>(db: u32, words: &[T]) -> Effect {
        Effect::InDb(vec![(db, words.iter().map(|word| Bytes::copy_from_slice(word.as_ref())).collect())])
    }
}
