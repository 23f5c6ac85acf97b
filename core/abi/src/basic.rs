//! The words every table is made of: borrowed and owned bytes, wakers, futures, objects and results.
//! Types passed by value are frozen for good; nothing here ever grows.

use crate::macros::{consts, tables};
use std::ffi::c_void;

consts! { CONSTS;
    /// Status: it worked.
    pub const OK: u32 = 0;
    /// Status: it failed; the buffer holds the reason.
    pub const ERR: u32 = 1;
    /// Status: the other side panicked; the buffer holds the message.
    pub const PANICKED: u32 = 2;
    /// Status: the operation was cancelled.
    pub const CANCELLED: u32 = 3;
    /// Status: the end of a stream (no more snapshot batches, a closed listener).
    pub const CLOSED: u32 = 4;
    /// Status: a cursor asked for bytes that are no longer kept.
    pub const BEHIND: u32 = 5;
    /// Status: the journal got another history; every cursor ends.
    pub const REBASED: u32 = 6;
    /// Status: this host is older than the function asked for.
    pub const UNSUPPORTED: u32 = 7;
    /// Status: not possible from inside a turn.
    pub const IN_TURN: u32 = 8;

    /// A poll is done; the result is written.
    pub const READY: u32 = 0;
    /// A poll is not done; the waker will be woken.
    pub const PENDING: u32 = 1;
    /// An I/O poll is not done; the waker will be woken. Other negative values are `-errno`.
    pub const IO_PENDING: i64 = i64::MIN;

    /// Log level: error.
    pub const LOG_ERROR: u32 = 1;
    /// Log level: warning.
    pub const LOG_WARN: u32 = 2;
    /// Log level: information for operators.
    pub const LOG_INFO: u32 = 3;
    /// Log level: for us.
    pub const LOG_DEBUG: u32 = 4;
    /// Log level: every step.
    pub const LOG_TRACE: u32 = 5;
}

tables! { STRUCTS;
    /// Borrowed bytes: valid for the call they are passed to, never NUL terminated.
    #[derive(Clone, Copy)]
    pub struct Str = "ks_str" {
        /// First byte; may be NULL if `len` is 0.
        pub ptr: *const u8,
        /// Number of bytes.
        pub len: usize,
    }

    /// Owned bytes: whoever receives them calls `drop(owner)` once when done with them. `drop` may be NULL.
    pub struct Buf = "ks_buf" {
        /// First byte; may be NULL if `len` is 0.
        pub ptr: *const u8,
        /// Number of bytes.
        pub len: usize,
        /// What `drop` is called with.
        pub owner: *mut c_void,
        /// Gives the memory back to the side that allocated it.
        pub drop: Option<unsafe extern "C" fn(owner: *mut c_void)>,
    }

    /// The head of a waker. The object behind it belongs to whoever made it and starts with this.
    pub struct Waker = "ks_waker" {
        /// What can be done with it.
        pub api: *const WakerApi,
    }

    /// What can be done with a waker; every function may be called from any thread.
    pub struct WakerApi = "ks_waker_api" {
        /// `sizeof` of this table on the side that made it.
        pub size: u32,
        /// Zero.
        pub reserved: u32,
        /// A second, owned reference; a waker passed to a poll is only borrowed.
        pub clone: unsafe extern "C" fn(waker: *const Waker) -> *const Waker,
        /// Wakes and drops an owned reference.
        pub wake: unsafe extern "C" fn(waker: *const Waker),
        /// Wakes and keeps the reference.
        pub wake_by_ref: unsafe extern "C" fn(waker: *const Waker),
        /// Drops an owned reference.
        pub drop: unsafe extern "C" fn(waker: *const Waker),
    }

    /// An object with a table of functions of its own; `api` points to a table that starts with ks_object_api.
    #[derive(Clone, Copy)]
    pub struct Object = "ks_object" {
        /// The first argument of every function of the table. NULL: no object.
        pub data: *mut c_void,
        /// The table.
        pub api: *const ObjectApi,
    }

    /// The start of every object's table.
    pub struct ObjectApi = "ks_object_api" {
        /// `sizeof` of the whole table on the side that made it.
        pub size: u32,
        /// Which table it is: KS_KIND_*.
        pub kind: u32,
        /// Drops the object.
        pub drop: unsafe extern "C" fn(data: *mut c_void),
    }

    /// The result of every asynchronous call. What `a`, `b`, `buf` and the objects mean is said at each function.
    pub struct Out = "ks_out" {
        /// KS_OK, KS_ERR, …
        pub status: u32,
        /// A second word of status.
        pub code: u32,
        /// First number.
        pub a: u64,
        /// Second number.
        pub b: u64,
        /// Bytes, or the reason of a failure.
        pub buf: Buf,
        /// First object.
        pub object: Object,
        /// Second object.
        pub object2: Object,
    }

    /// A future, in both directions. It is polled by one thread at a time and dropped exactly once.
    pub struct Future = "ks_future" {
        /// The first argument of both functions.
        pub data: *mut c_void,
        /// KS_READY or KS_PENDING. After KS_READY it isn't polled again. NULL: ready at once with KS_OK and nothing.
        pub poll: Option<unsafe extern "C" fn(data: *mut c_void, waker: *const Waker, out: *mut Out) -> u32>,
        /// Drops the future, whether it finished or not. May be NULL.
        pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    }
}
