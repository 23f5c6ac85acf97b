//! What a plugin declares while it is created: commands, INFO sections, parameters, hooks, services, endpoints.
//! Every spec is passed by pointer, starts with its size, and is only borrowed for the call.

use crate::basic::{Buf, Future, Object, Str};
use crate::ctx::{ClientInfo, Ctx};
use crate::macros::{consts, tables};
use std::ffi::c_void;

consts! { CONSTS;
    /// Command flag: may change data.
    pub const CMD_WRITE: u64 = 1;
    /// Command flag: only reads.
    pub const CMD_READONLY: u64 = 1 << 1;
    /// Command flag: refused when memory is full.
    pub const CMD_DENYOOM: u64 = 1 << 2;
    /// Command flag: administration.
    pub const CMD_ADMIN: u64 = 1 << 3;
    /// Command flag: pub/sub.
    pub const CMD_PUBSUB: u64 = 1 << 4;
    /// Command flag: not in scripts.
    pub const CMD_NOSCRIPT: u64 = 1 << 5;
    /// Command flag: may block.
    pub const CMD_BLOCKING: u64 = 1 << 6;
    /// Command flag: allowed while loading.
    pub const CMD_LOADING: u64 = 1 << 7;
    /// Command flag: allowed on a replica with stale data.
    pub const CMD_STALE: u64 = 1 << 8;
    /// Command flag: not shown by MONITOR.
    pub const CMD_SKIP_MONITOR: u64 = 1 << 9;
    /// Command flag: not in the slow log.
    pub const CMD_SKIP_SLOWLOG: u64 = 1 << 10;
    /// Command flag: constant or logarithmic time.
    pub const CMD_FAST: u64 = 1 << 11;
    /// Command flag: allowed before AUTH.
    pub const CMD_NO_AUTH: u64 = 1 << 12;
    /// Command flag: may replicate though it is no write.
    pub const CMD_MAY_REPLICATE: u64 = 1 << 13;
    /// Command flag: not inside MULTI.
    pub const CMD_NO_MULTI: u64 = 1 << 14;
    /// Command flag: allowed while a long call runs.
    pub const CMD_ALLOW_BUSY: u64 = 1 << 15;
    /// Command flag: `get_keys` says where its keys are.
    pub const CMD_MOVABLE_KEYS: u64 = 1 << 16;
    /// Command flag: takes the place of the core's command of that name; on the data port only of one without keys.
    pub const CMD_REPLACES: u64 = 1 << 17;
    /// Command flag: not while other data is loaded beside the one that is served.
    pub const CMD_NO_ASYNC_LOADING: u64 = 1 << 18;
    /// Command flag: complete without any key although it takes keys.
    pub const CMD_NO_MANDATORY_KEYS: u64 = 1 << 19;
    /// Command flag: may write no reply at all, as REPLCONF ACK does. One without it that writes none is answered an error,
    /// unless its plugin was built for boundary 1.0, which had no such flag.
    pub const CMD_MAY_BE_SILENT: u64 = 1 << 20;

    /// ACL category @keyspace.
    pub const ACL_KEYSPACE: u64 = 1;
    /// ACL category @read.
    pub const ACL_READ: u64 = 1 << 1;
    /// ACL category @write.
    pub const ACL_WRITE: u64 = 1 << 2;
    /// ACL category @set.
    pub const ACL_SET: u64 = 1 << 3;
    /// ACL category @sortedset.
    pub const ACL_SORTEDSET: u64 = 1 << 4;
    /// ACL category @list.
    pub const ACL_LIST: u64 = 1 << 5;
    /// ACL category @hash.
    pub const ACL_HASH: u64 = 1 << 6;
    /// ACL category @string.
    pub const ACL_STRING: u64 = 1 << 7;
    /// ACL category @bitmap.
    pub const ACL_BITMAP: u64 = 1 << 8;
    /// ACL category @hyperloglog.
    pub const ACL_HYPERLOGLOG: u64 = 1 << 9;
    /// ACL category @geo.
    pub const ACL_GEO: u64 = 1 << 10;
    /// ACL category @stream.
    pub const ACL_STREAM: u64 = 1 << 11;
    /// ACL category @pubsub.
    pub const ACL_PUBSUB: u64 = 1 << 12;
    /// ACL category @admin.
    pub const ACL_ADMIN: u64 = 1 << 13;
    /// ACL category @fast.
    pub const ACL_FAST: u64 = 1 << 14;
    /// ACL category @slow.
    pub const ACL_SLOW: u64 = 1 << 15;
    /// ACL category @blocking.
    pub const ACL_BLOCKING: u64 = 1 << 16;
    /// ACL category @dangerous.
    pub const ACL_DANGEROUS: u64 = 1 << 17;
    /// ACL category @connection.
    pub const ACL_CONNECTION: u64 = 1 << 18;
    /// ACL category @transaction.
    pub const ACL_TRANSACTION: u64 = 1 << 19;
    /// ACL category @scripting.
    pub const ACL_SCRIPTING: u64 = 1 << 20;

    /// Parameter flag: CONFIG SET is refused.
    pub const PARAM_IMMUTABLE: u32 = 1;
    /// Parameter flag: never logged or shown.
    pub const PARAM_SECRET: u32 = 2;

    /// Connection event: a session begins.
    pub const CONN_OPEN: u32 = 0;
    /// Connection event: a session ended.
    pub const CONN_CLOSE: u32 = 1;

    /// Fault policy: the plugin is stopped, the server goes on. Gates that it closed, and moments that it gave (`write_until`), stay
    /// as they are: it may open them in its `stop`, which is called with KS_STOP_FAULTED.
    pub const FAULT_CONTINUE: u32 = 0;
    /// Fault policy: writes are refused from then on.
    pub const FAULT_STOP_WRITES: u32 = 1;
    /// Fault policy: the server ends.
    pub const FAULT_EXIT: u32 = 2;
}

tables! { STRUCTS;
    /// A registrar: valid during `create` only.
    #[derive(Clone, Copy)]
    pub struct RegistrarRef = "ks_registrar" {
        /// The first argument of every function of the table.
        pub data: *mut c_void,
        /// The table.
        pub api: *const RegistrarApi,
    }

    /// A command, or with `PARENT|CHILD` as name a subcommand. Exactly one of `call`, `start`, `takeover` is set.
    pub struct CommandSpec = "ks_command_spec" {
        /// `sizeof(ks_command_spec)` where the plugin was built.
        pub size: u32,
        /// Arity as Redis counts it: negative means at least.
        pub arity: i32,
        /// KS_CMD_*.
        pub flags: u64,
        /// KS_ACL_*.
        pub acl: u64,
        /// The endpoint it is for; 0 is the data port.
        pub endpoint: u32,
        /// First key's position; 0 if it takes none.
        pub first_key: i32,
        /// Last key's position; negative counts from the end.
        pub last_key: i32,
        /// Step between keys.
        pub key_step: i32,
        /// The name.
        pub name: Str,
        /// One line for COMMAND DOCS.
        pub summary: Str,
        /// The version that brought it, for COMMAND DOCS.
        pub since: Str,
        /// The group for COMMAND DOCS.
        pub group: Str,
        /// The first argument of the functions.
        pub data: *mut c_void,
        /// Runs in the turn; replies through the context. KS_CALL_*.
        pub call: Option<unsafe extern "C" fn(data: *mut c_void, ctx: *const Ctx, argv: *const Str, argc: usize) -> u32>,
        /// Starts a future whose `buf` is the reply as RESP of the client's protocol; the session parks. Without a reply it is
        /// answered an error, unless it may be silent.
        pub start: Option<unsafe extern "C" fn(data: *mut c_void, client: *const ClientInfo, argv: *const Str, argc: usize) -> Future>,
        /// With `start`: answers at once if it can (KS_CALL_NOT_NOW if not). It alone runs inside MULTI and scripts,
        /// where `must` is 1 and KS_CALL_NOT_NOW is no answer. With `takeover`: KS_CALL_NOT_NOW hands the connection over, an
        /// error is answered and the session stays a client's.
        pub try_now: Option<unsafe extern "C" fn(data: *mut c_void, ctx: *const Ctx, argv: *const Str, argc: usize, must: u32) -> u32>,
        /// Takes the connection over. The future owns it; the session ends with it.
        pub takeover: Option<unsafe extern "C" fn(data: *mut c_void, conn: *mut Conn, argv: *const Str, argc: usize) -> Future>,
        /// Writes the positions of the keys to `out` (at most `max`); how many there are. More than `argc`: that can't be told,
        /// and every word counts as a key.
        pub get_keys: Option<unsafe extern "C" fn(data: *mut c_void, argv: *const Str, argc: usize, out: *mut u32, max: usize) -> usize>,
        /// With KS_CMD_MAY_REPLICATE: 1 if these words change nothing (a script that says so): a pause of writes lets them
        /// through. Called in the turn, even from inside of a long command of the same plugin: it must not wait. Not asked
        /// where there is `flags_now`, which tells more.
        pub reads_only: Option<unsafe extern "C" fn(data: *mut c_void, argv: *const Str, argc: usize) -> u32>,
        /// Its page for COMMAND DOCS: how its time grows, its arguments and their history, in the notation of the core's own
        /// pages (core/engine/src/page.rs). May be empty.
        pub page: Str,
        /// Since boundary 1.1, with `call`: the KS_CMD_* that hold with these words, where they decide (a script that says of
        /// itself what it does); `flags` are those above. Of the answer only KS_CMD_WRITE, KS_CMD_READONLY, KS_CMD_DENYOOM,
        /// KS_CMD_STALE and KS_CMD_MAY_REPLICATE count. Asked before the command runs and before MULTI queues it, in the turn,
        /// even from inside of a long command of the same plugin: it must not wait.
        pub flags_now: Option<unsafe extern "C" fn(data: *mut c_void, argv: *const Str, argc: usize, flags: u64) -> u64>,
    }

    /// A connection handed over: undecoded bytes come first from the stream.
    pub struct Conn = "ks_conn" {
        /// The stream (ks_io_api); owned by the receiver.
        pub io: Object,
        /// Who it is; the strings are borrowed for the call.
        pub client: ClientInfo,
        /// The plugin's state of the session; owned by the receiver. NULL if none.
        pub state: *mut c_void,
    }

    /// An INFO section. `render` writes `name:value\r\n` lines through `line`.
    pub struct InfoSpec = "ks_info_spec" {
        /// `sizeof(ks_info_spec)` where the plugin was built.
        pub size: u32,
        /// The endpoint it is for.
        pub endpoint: u32,
        /// 0: a section of its own, or in place of the core's of that name. 1: its fields go behind those of that section.
        pub append: u32,
        /// Zero.
        pub reserved: u32,
        /// The section's name as in `INFO name`: ASCII without spaces.
        pub section: Str,
        /// The first argument of `render`.
        pub data: *mut c_void,
        /// Renders in the turn: calls `line(sink, name, value)` for each field. Takes no lock.
        pub render: Option<unsafe extern "C" fn(data: *mut c_void, ctx: *const Ctx, sink: *mut c_void, line: unsafe extern "C" fn(sink: *mut c_void, name: Str, value: Str)) -> u32>,
    }

    /// A CONFIG parameter under Redis' name.
    pub struct ParamSpec = "ks_param_spec" {
        /// `sizeof(ks_param_spec)` where the plugin was built.
        pub size: u32,
        /// KS_PARAM_*.
        pub flags: u32,
        /// The endpoint it is for.
        pub endpoint: u32,
        /// Zero.
        pub reserved: u32,
        /// The name.
        pub name: Str,
        /// A second name; empty if there is none.
        pub alias: Str,
        /// The default, as CONFIG GET would show it.
        pub default_value: Str,
        /// The first argument of the functions.
        pub data: *mut c_void,
        /// The value as text.
        pub get: Option<unsafe extern "C" fn(data: *mut c_void, out: *mut Buf) -> u32>,
        /// Sets it: KS_OK, or KS_ERR with the reason in `error`.
        pub set: Option<unsafe extern "C" fn(data: *mut c_void, value: Str, error: *mut Buf) -> u32>,
    }

    /// One write, as a hook sees it.
    #[derive(Clone, Copy)]
    pub struct WriteEvent = "ks_write_event" {
        /// The replication offset before the unit it is part of.
        pub offset: u64,
        /// The database.
        pub db: u32,
        /// KS_ORIGIN_*.
        pub origin: u32,
        /// The effect's words.
        pub argv: *const Str,
        /// How many.
        pub argc: usize,
    }

    /// A service that is provided: messages in, messages out.
    pub struct ServiceSpec = "ks_service_spec" {
        /// `sizeof(ks_service_spec)` where the plugin was built.
        pub size: u32,
        /// The contract's major version.
        pub major: u32,
        /// The contract's minor version.
        pub minor: u32,
        /// Zero.
        pub reserved: u32,
        /// The contract's name.
        pub name: Str,
        /// The first argument of `call`.
        pub data: *mut c_void,
        /// Answers a message: `buf` = the answer.
        pub call: Option<unsafe extern "C" fn(data: *mut c_void, message: Str) -> Future>,
    }

    /// A service that is needed.
    pub struct NeedSpec = "ks_need_spec" {
        /// `sizeof(ks_need_spec)` where the plugin was built.
        pub size: u32,
        /// The contract's major version.
        pub major: u32,
        /// The lowest minor version that will do.
        pub min_minor: u32,
        /// 1: the plugin works without it.
        pub optional: u32,
        /// The contract's name.
        pub name: Str,
    }

    /// A port of the plugin's own, served by an engine of its own: no keyspace, no journal.
    pub struct EndpointSpec = "ks_endpoint_spec" {
        /// `sizeof(ks_endpoint_spec)` where the plugin was built.
        pub size: u32,
        /// The port.
        pub port: u32,
        /// What it is called in logs and INFO (`redis_mode`): ASCII without spaces, and no other port's name.
        pub name: Str,
        /// Addresses to bind to, one a line; empty: as the data port.
        pub bind: Str,
        /// 40 hex characters.
        pub run_id: Str,
        /// The password; empty for none.
        pub password: Str,
        /// The port for TLS; 0 for none. Then `port` may be 0.
        pub tls_port: u32,
        /// Zero.
        pub reserved: u32,
    }

    /// A part of the data set that isn't keys: saved with every snapshot, replaced with every load.
    pub struct SectionSpec = "ks_section_spec" {
        /// `sizeof(ks_section_spec)` where the plugin was built.
        pub size: u32,
        /// The opcode that its records begin with in an RDB file: 245, of functions. Readers of such files know no other.
        pub opcode: u32,
        /// The first argument of the functions.
        pub data: *mut c_void,
        /// Its records, opcode first, one behind the other. In the turn of the cut, which can't be read unless this is KS_OK.
        /// Asked once more when the plugin is stopped: what it gives then stays a part of the data.
        pub save: Option<unsafe extern "C" fn(data: *mut c_void, out: *mut Buf) -> u32>,
        /// These records take the place of what is there; none if the file had none. In the turn of the commit. KS_OK, or
        /// KS_ERR with the reason in `error`: then nothing has changed.
        pub load: Option<unsafe extern "C" fn(data: *mut c_void, records: Str, error: *mut Buf) -> u32>,
    }

    /// What can be declared, while `create` runs and not behind it. Each returns KS_OK, or KS_ERR with the reason as the
    /// last error.
    pub struct RegistrarApi = "ks_registrar_api" {
        /// `sizeof` of this table on the host.
        pub size: u32,
        /// Zero.
        pub reserved: u32,
        /// A command.
        pub command: unsafe extern "C" fn(registrar: *mut c_void, spec: *const CommandSpec) -> u32,
        /// An INFO section.
        pub info: unsafe extern "C" fn(registrar: *mut c_void, spec: *const InfoSpec) -> u32,
        /// A CONFIG parameter.
        pub param: unsafe extern "C" fn(registrar: *mut c_void, spec: *const ParamSpec) -> u32,
        /// A hook called in the turn for every effect that is propagated. KS_OK, or KS_PANICKED to be unhooked.
        pub on_write: unsafe extern "C" fn(registrar: *mut c_void, hook: unsafe extern "C" fn(data: *mut c_void, event: *const WriteEvent) -> u32, data: *mut c_void) -> u32,
        /// A hook called when sessions begin and end: KS_CONN_*.
        pub on_conn: unsafe extern "C" fn(registrar: *mut c_void, endpoint: u32, hook: unsafe extern "C" fn(data: *mut c_void, client: *const ClientInfo, event: u32) -> u32, data: *mut c_void) -> u32,
        /// A service it provides.
        pub provide: unsafe extern "C" fn(registrar: *mut c_void, spec: *const ServiceSpec) -> u32,
        /// A service it needs.
        pub need: unsafe extern "C" fn(registrar: *mut c_void, spec: *const NeedSpec) -> u32,
        /// A port of its own: its number in `out`.
        pub endpoint: unsafe extern "C" fn(registrar: *mut c_void, spec: *const EndpointSpec, out: *mut u32) -> u32,
        /// What a fault of the plugin means: KS_FAULT_*.
        pub on_fault: unsafe extern "C" fn(registrar: *mut c_void, policy: u32) -> u32,
        /// Why the last call failed.
        pub last_error: unsafe extern "C" fn(registrar: *mut c_void, out: *mut Buf),
        /// A part of the data set that isn't keys.
        pub section: unsafe extern "C" fn(registrar: *mut c_void, spec: *const SectionSpec) -> u32,
    }
}
