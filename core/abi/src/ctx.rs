//! What a plugin may do inside a turn: reply, read and change the keyspace, look at the session and the journal.
//! A context is valid for the call it is passed to, on that thread; it never outlives the engine's lock.

use crate::basic::{Buf, Str};
use crate::host::{History, JournalState, KillFilter, Role};
use crate::macros::{consts, tables};
use std::ffi::c_void;

consts! { CONSTS;
    /// What a command did: nothing, or no more than was changed through the table, which is propagated as these changes.
    pub const CALL_NONE: u32 = 0;
    /// What a command did: propagate it as it was sent.
    pub const CALL_AS_SENT: u32 = 1;
    /// What a command did: propagate what `propagate` listed instead.
    pub const CALL_LISTED: u32 = 2;
    /// The command failed with what `fail` was told; a partial reply is discarded, nothing may have been changed.
    pub const CALL_FAILED: u32 = 3;
    /// The command panicked; treated as failed.
    pub const CALL_PANICKED: u32 = 4;
    /// `try_now` only: not answerable now, the session parks and `start` is called.
    pub const CALL_NOT_NOW: u32 = 5;

    /// Value kind: no such key.
    pub const VALUE_NONE: u32 = 0;
    /// Value kind: string.
    pub const VALUE_STRING: u32 = 1;
    /// Value kind: list.
    pub const VALUE_LIST: u32 = 2;
    /// Value kind: set.
    pub const VALUE_SET: u32 = 3;
    /// Value kind: sorted set.
    pub const VALUE_ZSET: u32 = 4;
    /// Value kind: hash.
    pub const VALUE_HASH: u32 = 5;
    /// Value kind: one this boundary has no name for.
    pub const VALUE_OTHER: u32 = 6;
    /// Value kind: stream.
    pub const VALUE_STREAM: u32 = 7;

    /// Client flag: a replica's session.
    pub const CLIENT_REPLICA: u32 = 1;
    /// Client flag: inside MULTI; of a command that runs: EXEC runs it.
    pub const CLIENT_MULTI: u32 = 2;
    /// Client flag: connected over a unix socket.
    pub const CLIENT_UNIX: u32 = 4;
    /// Client flag: authenticated, or no password is set.
    pub const CLIENT_AUTHENTICATED: u32 = 8;

    /// Targets of a record: replicas.
    pub const TARGET_REPLICAS: u32 = 1;
    /// Targets of a record: persistence.
    pub const TARGET_PERSISTENCE: u32 = 2;
    /// Targets of a record: feeds.
    pub const TARGET_FEEDS: u32 = 4;

    /// Condition: the guards for clients don't hold for this caller (a primary's stream, a file, the server itself).
    pub const COND_OBEY: u64 = 1;
    /// Condition: writes of clients are refused, this is a read-only replica.
    pub const COND_READ_ONLY: u64 = 1 << 1;
    /// Condition: the data is stale and may not be served.
    pub const COND_STALE: u64 = 1 << 2;
    /// Condition: the disk failed and writes are refused for it.
    pub const COND_DISK_ERROR: u64 = 1 << 3;
    /// Condition: too few good replicas for writes.
    pub const COND_FEW_REPLICAS: u64 = 1 << 4;
    /// Condition: memory is full.
    pub const COND_OUT_OF_MEMORY: u64 = 1 << 5;
    /// Condition: data is being loaded.
    pub const COND_LOADING: u64 = 1 << 6;
    /// Condition: a plugin refuses writes (`refuse_writes`); `write_error` says why.
    pub const COND_WRITE_ERROR: u64 = 1 << 7;

    /// Script call: commands that write or may replicate are refused.
    pub const SCRIPT_READ_ONLY: u32 = 1;
    /// Script call: runs although memory is full.
    pub const SCRIPT_ALLOW_OOM: u32 = 2;
    /// Script call, in and out: a write has run already; from then on no condition refuses another.
    pub const SCRIPT_WROTE: u32 = 4;
}

tables! { STRUCTS;
    /// Who sent a command. The strings are borrowed for the call.
    #[derive(Clone, Copy)]
    pub struct ClientInfo = "ks_client_info" {
        /// The session's id; 0 when there is no client (a plugin's own turn).
        pub id: u64,
        /// The journal offset behind the session's last write.
        pub write_offset: u64,
        /// The selected database.
        pub db: u32,
        /// 2 or 3.
        pub proto: u32,
        /// KS_CLIENT_*.
        pub flags: u32,
        /// Which endpoint it is connected to; 0 is the data port.
        pub endpoint: u32,
        /// The peer's address as `ip:port`.
        pub addr: Str,
        /// The own address as `ip:port`.
        pub laddr: Str,
        /// CLIENT SETNAME.
        pub name: Str,
        /// The ACL user.
        pub user: Str,
    }

    /// How a script calls a command, and what it remembers from call to call.
    pub struct ScriptCall = "ks_script_call" {
        /// `sizeof(ks_script_call)` where the plugin was built.
        pub size: u32,
        /// The reply's protocol, 2 or 3.
        pub proto: u32,
        /// The selected database; SELECT changes it here and not in the session.
        pub db: u32,
        /// KS_SCRIPT_*.
        pub flags: u32,
        /// Who gets the effects: KS_TARGET_*.
        pub targets: u32,
        /// Zero.
        pub reserved: u32,
    }

    /// A context: what every call inside a turn gets.
    pub struct Ctx = "ks_ctx" {
        /// The first argument of every function of the table.
        pub data: *mut c_void,
        /// The table.
        pub api: *const CtxApi,
    }

    /// What can be done inside a turn.
    pub struct CtxApi = "ks_ctx_api" {
        /// `sizeof` of this table on the host.
        pub size: u32,
        /// Zero.
        pub reserved: u32,

        /// Reply: `+text`.
        pub reply_simple: unsafe extern "C" fn(ctx: *mut c_void, text: Str),
        /// Reply: `-text`; the text starts with the code, as `ERR …`.
        pub reply_error: unsafe extern "C" fn(ctx: *mut c_void, text: Str),
        /// Reply: an integer.
        pub reply_int: unsafe extern "C" fn(ctx: *mut c_void, value: i64),
        /// Reply: a bulk string.
        pub reply_bulk: unsafe extern "C" fn(ctx: *mut c_void, bytes: Str),
        /// Reply: null.
        pub reply_null: unsafe extern "C" fn(ctx: *mut c_void),
        /// Reply: the null array of RESP2; null in RESP3.
        pub reply_null_array: unsafe extern "C" fn(ctx: *mut c_void),
        /// Reply: head of an array.
        pub reply_array: unsafe extern "C" fn(ctx: *mut c_void, len: usize),
        /// Reply: head of a map of `len` pairs; a flat array in RESP2.
        pub reply_map: unsafe extern "C" fn(ctx: *mut c_void, len: usize),
        /// Reply: head of a set; an array in RESP2.
        pub reply_set: unsafe extern "C" fn(ctx: *mut c_void, len: usize),
        /// Reply: a double; a bulk string in RESP2.
        pub reply_double: unsafe extern "C" fn(ctx: *mut c_void, value: f64),
        /// Reply: a boolean; 1 or 0 in RESP2.
        pub reply_boolean: unsafe extern "C" fn(ctx: *mut c_void, value: u32),
        /// Reply: text with a three letter format; a bulk string in RESP2.
        pub reply_verbatim: unsafe extern "C" fn(ctx: *mut c_void, format: Str, text: Str),
        /// Reply: bytes that are RESP already.
        pub reply_raw: unsafe extern "C" fn(ctx: *mut c_void, resp: Str),

        /// Says why the command fails; the call then returns KS_CALL_FAILED.
        pub fail: unsafe extern "C" fn(ctx: *mut c_void, text: Str),
        /// Lists a command to propagate instead, in the session's database; the call then returns KS_CALL_LISTED. What was
        /// changed in a database that nothing is listed for fails the command, and so does an effect that is no command that
        /// writes, or one of a command that isn't declared to write or to replicate.
        pub propagate: unsafe extern "C" fn(ctx: *mut c_void, argv: *const Str, argc: usize),

        /// Who sent the command.
        pub client: unsafe extern "C" fn(ctx: *mut c_void, out: *mut ClientInfo),
        /// The plugin's state of this session; NULL if none was set.
        pub get_state: unsafe extern "C" fn(ctx: *mut c_void) -> *mut c_void,
        /// Sets the plugin's state of this session; an older one is dropped with its own function, as this one will be when the
        /// session ends: inside of a turn, where nothing may wait for one.
        pub set_state: unsafe extern "C" fn(ctx: *mut c_void, state: *mut c_void, drop: Option<unsafe extern "C" fn(state: *mut c_void)>),

        /// Runs a command and gives its reply as RESP3. Its effect is propagated as its own. KS_ERR with the reason in `out`
        /// if it can't run, as in a database that isn't there. Rights and guards of clients don't hold; an error is the reply
        /// to what writes or replicates in a command that isn't declared to, and to what is about the session itself (MULTI).
        pub call: unsafe extern "C" fn(ctx: *mut c_void, db: u32, argv: *const Str, argc: usize, out: *mut Buf) -> u32,
        /// The kind of the value at a key: KS_VALUE_*.
        pub kind: unsafe extern "C" fn(ctx: *mut c_void, db: u32, key: Str) -> u32,
        /// A string's bytes, borrowed until the next call of the table. Returns KS_VALUE_*; `out` is set for strings only.
        pub get: unsafe extern "C" fn(ctx: *mut c_void, db: u32, key: Str, out: *mut Str) -> u32,
        /// Sets a string and removes its expiry. In a command its effect says what is propagated, KS_CALL_NONE this change;
        /// in a plugin's own turn it always is. A database that isn't there, or a command that isn't declared to write, fails
        /// the command, whatever it returns, and nothing is changed. The same goes for `del` and `expire_at`.
        pub set_string: unsafe extern "C" fn(ctx: *mut c_void, db: u32, key: Str, value: Str) -> u32,
        /// Deletes a key: 1 if it existed.
        pub del: unsafe extern "C" fn(ctx: *mut c_void, db: u32, key: Str) -> u32,
        /// Sets the expiry in unix milliseconds, 0 removes it: 1 if the key existed.
        pub expire_at: unsafe extern "C" fn(ctx: *mut c_void, db: u32, key: Str, unix_ms: u64) -> u32,
        /// The expiry in unix milliseconds, 0 if none.
        pub expiry: unsafe extern "C" fn(ctx: *mut c_void, db: u32, key: Str) -> u64,
        /// Number of keys of a database.
        pub keys: unsafe extern "C" fn(ctx: *mut c_void, db: u32) -> u64,
        /// Number of databases.
        pub databases: unsafe extern "C" fn(ctx: *mut c_void) -> u32,

        /// The journal as it is now, inside the turn.
        pub journal: unsafe extern "C" fn(ctx: *mut c_void, out: *mut JournalState),
        /// Appends a record that is no client's write (PING, GETACK). The offset behind it.
        pub control_record: unsafe extern "C" fn(ctx: *mut c_void, argv: *const Str, argc: usize, targets: u32) -> u64,
        /// Another history from this offset on; ends every cursor.
        pub rebase: unsafe extern "C" fn(ctx: *mut c_void, history: *const History) -> u32,
        /// Says what this node is now.
        pub set_role: unsafe extern "C" fn(ctx: *mut c_void, role: *const Role),
        /// Pauses clients until a unix time in milliseconds; 0 ends the pause. KS_PAUSE_*.
        pub pause: unsafe extern "C" fn(ctx: *mut c_void, kind: u32, until_unix_ms: u64),
        /// Publishes on this engine; the number of receivers.
        pub publish: unsafe extern "C" fn(ctx: *mut c_void, channel: Str, message: Str) -> u64,
        /// Closes sessions; how many.
        pub kill_clients: unsafe extern "C" fn(ctx: *mut c_void, filter: *const KillFilter) -> u64,
        /// The clock of this turn in unix milliseconds.
        pub now_unix_ms: unsafe extern "C" fn(ctx: *mut c_void) -> u64,
        /// Lets other sessions get a word in during a long call: commands allowed while busy run. 1: stop what you do.
        pub busy_poll: unsafe extern "C" fn(ctx: *mut c_void) -> u32,

        /// Which conditions hold now for this caller: KS_COND_*.
        pub conditions: unsafe extern "C" fn(ctx: *mut c_void) -> u64,
        /// Runs a command in the calling session's name under the guards for scripts, as part of the running command's
        /// unit. KS_OK with its reply (which may be an error) as RESP in `out`, or KS_ERR with the reason why it didn't run.
        pub script_call: unsafe extern "C" fn(ctx: *mut c_void, how: *mut ScriptCall, argv: *const Str, argc: usize, out: *mut Buf) -> u32,
        /// Whether the session's user may run a command with these words: KS_OK, or KS_ERR with the reason in `out`.
        pub acl_check: unsafe extern "C" fn(ctx: *mut c_void, argv: *const Str, argc: usize, out: *mut Buf) -> u32,
        /// What `busy_poll` answers to commands that must wait, code first (`BUSY …`).
        pub set_busy_reply: unsafe extern "C" fn(ctx: *mut c_void, text: Str),
        /// How many changes were made to the keys since the server's start; never falls.
        pub changes: unsafe extern "C" fn(ctx: *mut c_void) -> u64,
        /// As `fail`, for an error that was counted already, when a command that this one called failed with it.
        pub fail_counted: unsafe extern "C" fn(ctx: *mut c_void, text: Str),
        /// How many times FLUSHALL emptied the keyspace since the server's start; never falls.
        pub flushes: unsafe extern "C" fn(ctx: *mut c_void) -> u64,
        /// Why a plugin refuses writes, as it said it, into `out`; empty if none does.
        pub write_error: unsafe extern "C" fn(ctx: *mut c_void, out: *mut Buf),
        /// As `propagate`, in another database than the session's.
        pub propagate_in: unsafe extern "C" fn(ctx: *mut c_void, db: u32, argv: *const Str, argc: usize),
        /// Tells subscribers of keyspace events (class `d`) of something that happened to a key, behind what this turn did
        /// to keys before. The event's name is UTF-8 of 1 to 64 bytes; the process keeps every name, at most 1,000. KS_OK,
        /// or KS_ERR: such a name, no such database, or INFO is being written.
        pub notify: unsafe extern "C" fn(ctx: *mut c_void, db: u32, key: Str, event: Str) -> u32,
    }
}
