//! What the core offers a plugin outside of turns: tasks, time, sockets, the journal, snapshots, state, services.
//! Every function may be called from any thread; none blocks for longer than a turn.

use crate::basic::{Buf, Future, Object, Str, Waker};
use crate::ctx::Ctx;
use crate::macros::{consts, tables};
use std::ffi::c_void;

consts! { CONSTS;
    /// Endpoint 0 is the data port's engine.
    pub const ENDPOINT_DATA: u32 = 0;

    /// Origin of a command: the plugin's own, as the server's own are; guards for clients don't hold.
    pub const ORIGIN_CLIENT: u32 = 0;
    /// Origin of a command: the primary's stream; bypasses read-only, memory limits, pause and logical expiry.
    pub const ORIGIN_REPLICATION: u32 = 1;
    /// Origin of a command: data being loaded; nothing is propagated.
    pub const ORIGIN_LOADING: u32 = 2;

    /// Role: primary.
    pub const ROLE_PRIMARY: u32 = 0;
    /// Role: replica; expired keys are hidden, not deleted.
    pub const ROLE_REPLICA: u32 = 1;

    /// Gate: writes of clients are refused with -READONLY.
    pub const GATE_READ_ONLY: u32 = 0;
    /// Gate: data is stale, most commands are refused with -MASTERDOWN.
    pub const GATE_STALE: u32 = 1;
    /// Gate: data is being loaded, most commands are refused with -LOADING.
    pub const GATE_LOADING: u32 = 2;
    /// Gate: too few good replicas, writes are refused with -NOREPLICAS.
    pub const GATE_FEW_REPLICAS: u32 = 3;
    /// Gate: the disk failed, writes are refused with -MISCONF.
    pub const GATE_DISK_ERROR: u32 = 4;
    /// Gate: data is being loaded while the old data is served (a shadow load).
    pub const GATE_ASYNC_LOADING: u32 = 5;

    /// Pause: writes and commands that may replicate.
    pub const PAUSE_WRITE: u32 = 0;
    /// Pause: every command.
    pub const PAUSE_ALL: u32 = 1;

    /// Kill filter: normal clients.
    pub const KILL_NORMAL: u32 = 1;
    /// Kill filter: pub/sub clients.
    pub const KILL_PUBSUB: u32 = 2;
    /// Kill filter: replicas.
    pub const KILL_REPLICA: u32 = 4;
    /// Kill filter: the link to the primary.
    pub const KILL_PRIMARY: u32 = 8;
    /// Kill filter: those whose replies wait for what nobody has confirmed (`confirm`).
    pub const KILL_HELD: u32 = 16;

    /// Shutdown: as SIGTERM does it.
    pub const SHUTDOWN_CLEAN: u32 = 0;
    /// Shutdown: at once, with a failure as exit code.
    pub const SHUTDOWN_FAILED: u32 = 1;
}

tables! { STRUCTS;
    /// A host: a table and its first argument.
    #[derive(Clone, Copy)]
    pub struct HostRef = "ks_host" {
        /// The first argument of every function of the table.
        pub data: *mut c_void,
        /// The table; valid as long as the process lives.
        pub api: *const HostApi,
    }

    /// Where a history starts: replid, the one before it, and up to where that one is valid.
    #[derive(Clone, Copy)]
    pub struct History = "ks_history" {
        /// 40 hex characters.
        pub replid: [u8; 40],
        /// 40 hex characters; all `0` if there is none.
        pub replid2: [u8; 40],
        /// The second replid is valid for offsets up to this one; -1 if there is none.
        pub second_offset: i64,
        /// The offset the journal continues from; KS_KEEP_OFFSET keeps it and every byte that is there.
        pub offset: u64,
    }

    /// The journal at one moment.
    #[derive(Clone, Copy)]
    pub struct JournalState = "ks_journal_state" {
        /// The history.
        pub history: History,
        /// The replication offset: bytes ever appended.
        pub offset: u64,
        /// The offset of the first byte that is kept.
        pub first: u64,
        /// How many bytes are kept.
        pub len: u64,
        /// `repl-backlog-size`.
        pub size: u64,
        /// 1 if a backlog exists.
        pub active: u32,
        /// The database the last record was for; -1 if the next record must carry a SELECT.
        pub db: i32,
    }

    /// What this node is.
    #[derive(Clone, Copy)]
    pub struct Role = "ks_role" {
        /// KS_ROLE_*.
        pub role: u32,
        /// The primary's port, for a replica.
        pub port: u32,
        /// The primary's host, for a replica.
        pub host: Str,
    }

    /// Which sessions to close: those of a kind in `kinds`, or the one with `id`.
    #[derive(Clone, Copy)]
    pub struct KillFilter = "ks_kill_filter" {
        /// KS_KILL_*, or 0 when `id` says it.
        pub kinds: u32,
        /// Zero.
        pub reserved: u32,
        /// A session's id; 0 for none.
        pub id: u64,
        /// A session that stays; 0 for none.
        pub except: u64,
    }

    /// What the core offers. The first argument of each is `ks_host.data`.
    pub struct HostApi = "ks_host_api" {
        /// `sizeof` of this table on the host.
        pub size: u32,
        /// KS_ABI_MAJOR of the host.
        pub abi_major: u32,
        /// KS_ABI_MINOR of the host.
        pub abi_minor: u32,
        /// Zero.
        pub reserved: u32,

        /// Logs a line as `plugin::<name>`.
        pub log: unsafe extern "C" fn(host: *mut c_void, level: u32, target: Str, message: Str),
        /// The most talkative level that is printed: KS_LOG_*, 0 for none.
        pub log_level: unsafe extern "C" fn(host: *mut c_void) -> u32,
        /// Microseconds since some moment before the server's start; never goes back.
        pub now_us: unsafe extern "C" fn(host: *mut c_void) -> u64,
        /// Milliseconds since 1970 by the machine's clock.
        pub unix_ms: unsafe extern "C" fn(host: *mut c_void) -> u64,
        /// Fills memory with random bytes of the system.
        pub random: unsafe extern "C" fn(host: *mut c_void, buf: *mut u8, len: usize),
        /// A fact or a parameter of the server by name (`port`, `bind`, `dir`, `run_id`, `version`, `stat_resets`, …; every CONFIG
        /// parameter under Redis' name). KS_OK, or KS_ERR if there is none. From what a turn calls without a context (a hook, a
        /// parameter, a section) the engine can't be asked: a parameter of CONFIG has the value of the start then, or none.
        pub setting: unsafe extern "C" fn(host: *mut c_void, endpoint: u32, name: Str, out: *mut Buf) -> u32,

        /// Runs a future as a task of the plugin's group. The task's id. It must not block: the threads are few and everybody's.
        pub spawn: unsafe extern "C" fn(host: *mut c_void, future: Future) -> u64,
        /// Cancels a task; no effect if it is done.
        pub cancel: unsafe extern "C" fn(host: *mut c_void, task: u64),
        /// Ready after a time.
        pub sleep_us: unsafe extern "C" fn(host: *mut c_void, us: u64) -> Future,
        /// Calls `run(data)` on a thread that may block, then is ready. `drop(data)` is called once, run or not.
        pub blocking: unsafe extern "C" fn(host: *mut c_void, run: unsafe extern "C" fn(data: *mut c_void), drop: unsafe extern "C" fn(data: *mut c_void), data: *mut c_void) -> Future,
        /// Calls `tick(data)` every `us` microseconds as a task of the group, until it is cancelled or returns 0.
        pub every_us: unsafe extern "C" fn(host: *mut c_void, us: u64, tick: unsafe extern "C" fn(data: *mut c_void) -> u32, data: *mut c_void) -> u64,

        /// Connects to `host:port` (`[v6]:port`), from `source` if it isn't empty. `object` = stream.
        pub tcp_connect: unsafe extern "C" fn(host: *mut c_void, addr: Str, source: Str) -> Future,
        /// Listens. `object` = listener.
        pub tcp_listen: unsafe extern "C" fn(host: *mut c_void, addr: Str) -> Future,
        /// The addresses of a host name, one a line, in `buf`.
        pub resolve: unsafe extern "C" fn(host: *mut c_void, name: Str) -> Future,

        /// Calls `run(data, ctx)` in a turn of the endpoint's engine, then is ready. `drop(data)` is called once, run or not, and
        /// outside of that turn.
        pub turn: unsafe extern "C" fn(host: *mut c_void, endpoint: u32, run: unsafe extern "C" fn(data: *mut c_void, ctx: *const Ctx), drop: unsafe extern "C" fn(data: *mut c_void), data: *mut c_void) -> Future,
        /// Executes a command: `buf` = its reply as RESP3; empty if it gives none (SHUTDOWN). Commands about the connection that
        /// sends them (MULTI, SUBSCRIBE, AUTH, CLIENT SETNAME) answer an error.
        pub exec: unsafe extern "C" fn(host: *mut c_void, endpoint: u32, db: u32, argv: *const Str, argc: usize, origin: u32) -> Future,
        /// Publishes: `a` = receivers.
        pub publish: unsafe extern "C" fn(host: *mut c_void, endpoint: u32, channel: Str, message: Str) -> Future,
        /// Closes sessions: `a` = how many.
        pub kill_clients: unsafe extern "C" fn(host: *mut c_void, endpoint: u32, filter: *const KillFilter) -> Future,
        /// Pauses clients until a unix time in milliseconds; 0 ends the pause.
        pub pause: unsafe extern "C" fn(host: *mut c_void, kind: u32, until_unix_ms: u64) -> Future,
        /// Says what this node is. Takes effect with the next turn; use the context's inside one.
        pub set_role: unsafe extern "C" fn(host: *mut c_void, role: *const Role),
        /// Closes (1) or opens (0) a gate. At once, from anywhere.
        pub set_gate: unsafe extern "C" fn(host: *mut c_void, gate: u32, closed: u32),

        /// The journal as of the last turn's end; from what a turn calls without a context (a hook, a parameter, a section) its ids
        /// alone, all else zero.
        pub journal: unsafe extern "C" fn(host: *mut c_void, out: *mut JournalState),
        /// The replication offset as of the last turn's end; cheaper than `journal`. 0 from what a turn calls without a context: a
        /// hook for writes is told it.
        pub journal_offset: unsafe extern "C" fn(host: *mut c_void) -> u64,
        /// Appends a record that is no client's write: `a` = the offset behind it.
        pub control_record: unsafe extern "C" fn(host: *mut c_void, argv: *const Str, argc: usize, targets: u32) -> Future,
        /// Another history from this offset on. Ends every cursor, but those of KS_CURSOR_PERSISTENCE that lose no bytes by it:
        /// all if the offset stays, those that have read everything if it doesn't. Their `place` is another from their next
        /// poll on.
        pub rebase: unsafe extern "C" fn(host: *mut c_void, history: *const History) -> Future,
        /// Sets the backlog's size; 0 drops the backlog.
        pub set_backlog: unsafe extern "C" fn(host: *mut c_void, bytes: u64) -> Future,
        /// A cursor (`object`) that reads from an offset, or from now on (KS_KEEP_OFFSET); KS_BEHIND if that isn't kept any more.
        pub open_cursor: unsafe extern "C" fn(host: *mut c_void, from: u64, cursor_class: u32) -> Future,
        /// A snapshot (`object`) and a cursor (`object2`) cut at the same write: `a` = the offset.
        pub snapshot_and_follow: unsafe extern "C" fn(host: *mut c_void, rdb_version: u32, cursor_class: u32) -> Future,
        /// A keyspace to fill (`object`): KS_LOAD_*.
        pub begin_load: unsafe extern "C" fn(host: *mut c_void, mode: u32) -> Future,
        /// A primary's stream to execute, from the journal's offset on, with a database selected: a replica's journal has it selected
        /// too from here on. KS_OK and the object, or KS_ERR. Also inside a turn of the data engine: of whoever gives the journal another
        /// history there, so that nobody sees that without the database.
        pub open_apply: unsafe extern "C" fn(host: *mut c_void, db: u32, out: *mut Object) -> u32,

        /// Stores the plugin's state: atomic and fsynced when ready.
        pub persist_state: unsafe extern "C" fn(host: *mut c_void, bytes: Str) -> Future,
        /// The state stored last. KS_ERR if there is none, or with the reason in `out` if it can't be read.
        pub read_state: unsafe extern "C" fn(host: *mut c_void, out: *mut Buf) -> u32,
        /// Writes the state overlay, as CONFIG REWRITE does.
        pub rewrite_config: unsafe extern "C" fn(host: *mut c_void) -> Future,
        /// Ends the server.
        pub shutdown: unsafe extern "C" fn(host: *mut c_void, kind: u32),
        /// The plugin gives up: handled as a fault.
        pub fault: unsafe extern "C" fn(host: *mut c_void, reason: Str),

        /// Calls a service: `buf` = the answer. `provider` may be empty for the configured default.
        pub service_call: unsafe extern "C" fn(host: *mut c_void, service: Str, provider: Str, message: Str) -> Future,
        /// The names of the providers of a service, one a line.
        pub service_providers: unsafe extern "C" fn(host: *mut c_void, service: Str, out: *mut Buf),
        /// Puts an object where another plugin can take it by number, so that a message can carry it.
        pub share: unsafe extern "C" fn(host: *mut c_void, object: Object) -> u64,
        /// Takes a shared object of this kind. KS_OK or KS_ERR.
        pub take: unsafe extern "C" fn(host: *mut c_void, number: u64, kind: u32, out: *mut Object) -> u32,

        /// A snapshot (`object`) without a cursor. In the version there may be KS_RDB_PLAIN.
        pub snapshot: unsafe extern "C" fn(host: *mut c_void, rdb_version: u32) -> Future,
        /// Replies that show something behind a journal position are held until every plugin that holds any has confirmed
        /// it. Confirms everything before `position`; KS_HOLD_NOTHING ends this plugin's hold.
        pub confirm: unsafe extern "C" fn(host: *mut c_void, position: u64),
        /// The replication stream is on the disk up to `offset`; KS_NOT_DURABLE: nobody keeps it there (any more).
        pub set_durable: unsafe extern "C" fn(host: *mut c_void, offset: u64),
        /// What `set_durable` said last, of any plugin.
        pub durable: unsafe extern "C" fn(host: *mut c_void) -> u64,
        /// Ready when `durable` has reached `offset`.
        pub until_durable: unsafe extern "C" fn(host: *mut c_void, offset: u64) -> Future,
        /// Writes are refused with this text behind `MISCONF `; an empty one takes it back. Each plugin has a text of its own; that of
        /// one that failed goes with it. At once, from anywhere.
        pub refuse_writes: unsafe extern "C" fn(host: *mut c_void, reason: Str),
        /// An append-only file to execute (ks_apply_api) with origin loading; nothing of it is propagated. `feed`'s `a`
        /// is of no use then, its `b` is how many commands answered an error, `buf` the first of them with its error. KS_OK
        /// and the object, or KS_ERR.
        pub open_replay: unsafe extern "C" fn(host: *mut c_void, out: *mut Object) -> u32,
        /// Shows a connection that the plugin made to its primary as a session, with the peer's and the own address as
        /// `ip:port`: CLIENT LIST and CLIENT KILL know it. Ready when somebody killed it; dropping the future hides it.
        pub show_link: unsafe extern "C" fn(host: *mut c_void, peer: Str, local: Str) -> Future,
        /// As `tcp_connect`, then TLS with what the endpoint's `tls-*` parameters say (`tls-client-cert-file`,
        /// `tls-ca-cert-file`, …). Ready when the handshake is done.
        pub tls_connect: unsafe extern "C" fn(host: *mut c_void, endpoint: u32, addr: Str, source: Str) -> Future,
        /// Clients' writes are refused with -READONLY from this moment of the host's clock on, in microseconds;
        /// KS_NO_LEASE: never for this reason. At once, from anywhere.
        pub write_until: unsafe extern "C" fn(host: *mut c_void, mono_us: u64),
        /// Before replies of a turn behind which the journal had grown leave, this is woken (by reference) by the thread that
        /// will send them, outside of the engine's lock: what it does there (a write to a file) is done when they leave. One
        /// for each plugin, in place of the one before; NULL: none.
        pub before_replies: unsafe extern "C" fn(host: *mut c_void, waker: *const Waker),
        /// Since boundary 1.2: clients' writes are refused with -NOREPLICAS from this moment of the host's clock on, in
        /// microseconds, as with KS_GATE_FEW_REPLICAS, whether or not anybody is awake then; KS_NO_LEASE: never for this reason.
        pub enough_replicas_until: unsafe extern "C" fn(host: *mut c_void, mono_us: u64),
    }
}

consts! { CONSTS2;
    /// For `write_until` and `enough_replicas_until`: writes rest on nothing that ends.
    pub const NO_LEASE: u64 = u64::MAX;
    /// In ks_history.offset: keep the journal's offset and its bytes.
    pub const KEEP_OFFSET: u64 = u64::MAX;
    /// For `confirm`: this plugin holds no replies.
    pub const HOLD_NOTHING: u64 = u64::MAX;
    /// For `set_durable` and from `durable`: the stream isn't kept on the disk.
    pub const NOT_DURABLE: u64 = u64::MAX;
}
