//! The tables of the host's objects: sockets, listeners, cursors, snapshots, loads and the replica's apply stream.
//! Each starts as `ObjectApi` does (size, kind, drop) and is only ever appended to.

use crate::basic::{Buf, Future, Out, Str, Waker};
use crate::host::History;
use crate::macros::{consts, tables};
use std::ffi::c_void;

consts! { CONSTS;
    /// Object kind: a stream of bytes (ks_io_api).
    pub const KIND_IO: u32 = 1;
    /// Object kind: a listening socket (ks_listener_api).
    pub const KIND_LISTENER: u32 = 2;
    /// Object kind: a reader of the journal (ks_cursor_api).
    pub const KIND_CURSOR: u32 = 3;
    /// Object kind: a cut of the keyspace (ks_snapshot_api).
    pub const KIND_SNAPSHOT: u32 = 4;
    /// Object kind: a keyspace being filled (ks_load_api).
    pub const KIND_LOAD: u32 = 5;
    /// Object kind: a primary's stream being executed (ks_apply_api).
    pub const KIND_APPLY: u32 = 6;

    /// Load mode: flush first, then fill in place.
    pub const LOAD_FLUSH: u32 = 0;
    /// Load mode: only into an empty keyspace; refused otherwise.
    pub const LOAD_ON_EMPTY: u32 = 1;
    /// Load mode: fill a shadow and swap it in with the commit.
    pub const LOAD_SHADOW: u32 = 2;
    /// Load mode: as LOAD_ON_EMPTY, but keys that have expired are left out.
    pub const LOAD_FRESH: u32 = 3;
    /// Load mode: as LOAD_FLUSH, for data that the journal's readers have already: they are told nothing. The caller holds
    /// GATE_LOADING itself, over all loads and replays that belong together.
    pub const LOAD_AGAIN: u32 = 4;

    /// In the RDB version of a snapshot: strings are not compressed.
    pub const RDB_PLAIN: u32 = 0x8000_0000;
    /// In the RDB version of a snapshot: a large record may be split over several batches, each of which counts the
    /// records that end in it.
    pub const RDB_PIECES: u32 = 0x4000_0000;

    /// Cursor class: a replica that is fed the stream.
    pub const CURSOR_REPLICA: u32 = 0;
    /// Cursor class: a replica that is still in its full sync; writers are paced for it before it is dropped.
    pub const CURSOR_SYNCING: u32 = 1;
    /// Cursor class: persistence; never dropped, writers wait. Outlives another history if it loses no bytes by that.
    pub const CURSOR_PERSISTENCE: u32 = 2;
    /// Cursor class: a change feed; told when it fell behind.
    pub const CURSOR_FEED: u32 = 3;
}

tables! { STRUCTS;
    /// A stream of bytes. Polls return a count, KS_IO_PENDING, or `-errno`.
    pub struct IoApi = "ks_io_api" {
        /// `sizeof` of this table.
        pub size: u32,
        /// KS_KIND_IO.
        pub kind: u32,
        /// Closes and drops.
        pub drop: unsafe extern "C" fn(data: *mut c_void),
        /// Reads up to `len` bytes; 0 is the end.
        pub poll_read: unsafe extern "C" fn(data: *mut c_void, waker: *const Waker, buf: *mut u8, len: usize) -> i64,
        /// Writes up to `len` bytes.
        pub poll_write: unsafe extern "C" fn(data: *mut c_void, waker: *const Waker, buf: *const u8, len: usize) -> i64,
        /// Flushes.
        pub poll_flush: unsafe extern "C" fn(data: *mut c_void, waker: *const Waker) -> i64,
        /// Shuts down.
        pub poll_close: unsafe extern "C" fn(data: *mut c_void, waker: *const Waker) -> i64,
        /// The peer's address as `ip:port`, or empty.
        pub peer: unsafe extern "C" fn(data: *mut c_void, out: *mut Buf),
        /// The own address as `ip:port`, or empty.
        pub local: unsafe extern "C" fn(data: *mut c_void, out: *mut Buf),
    }

    /// A listening socket.
    pub struct ListenerApi = "ks_listener_api" {
        /// `sizeof` of this table.
        pub size: u32,
        /// KS_KIND_LISTENER.
        pub kind: u32,
        /// Closes and drops.
        pub drop: unsafe extern "C" fn(data: *mut c_void),
        /// `object` = the stream (ks_io_api), `buf` = the peer's address.
        pub poll_accept: unsafe extern "C" fn(data: *mut c_void, waker: *const Waker, out: *mut Out) -> u32,
        /// The own address as `ip:port`.
        pub local: unsafe extern "C" fn(data: *mut c_void, out: *mut Buf),
    }

    /// A reader of the journal's replication stream.
    pub struct CursorApi = "ks_cursor_api" {
        /// `sizeof` of this table.
        pub size: u32,
        /// KS_KIND_CURSOR.
        pub kind: u32,
        /// Drops the cursor and what it pins.
        pub drop: unsafe extern "C" fn(data: *mut c_void),
        /// The next bytes, at most `max`: `buf` = bytes, `a` = offset of the first. Pending while there are none.
        /// Status KS_BEHIND or KS_REBASED ends the cursor; KS_IN_TURN doesn't.
        pub poll_read: unsafe extern "C" fn(data: *mut c_void, waker: *const Waker, max: usize, out: *mut Out) -> u32,
        /// The offset of the next byte to be read.
        pub offset: unsafe extern "C" fn(data: *mut c_void) -> u64,
        /// Moves the cursor to another class: KS_CURSOR_*.
        pub set_class: unsafe extern "C" fn(data: *mut c_void, cursor_class: u32),
        /// Where the bytes given so far end.
        pub place: unsafe extern "C" fn(data: *mut c_void, out: *mut CursorPlace),
        /// Lets the cursor end (KS_CLOSED) at a journal position: the place of another cursor that goes on there.
        pub stop_at: unsafe extern "C" fn(data: *mut c_void, position: u64),
        /// Done when the cursor has ended, whether or not it is read; lives on its own. The status is that of `poll_read`.
        pub ended: unsafe extern "C" fn(data: *mut c_void) -> Future,
        /// What the log calls its reader.
        pub set_name: unsafe extern "C" fn(data: *mut c_void, name: Str),
    }

    /// A place in the journal.
    #[derive(Clone, Copy)]
    pub struct CursorPlace = "ks_cursor_place" {
        /// The position: counts every byte of the journal, whoever it is for.
        pub position: u64,
        /// The replication offset there.
        pub offset: u64,
        /// The replication id there, 40 hex characters; all `0` while the data belongs to no known history.
        pub replid: [u8; 40],
        /// The database that the replication stream has selected there; -1 if none.
        pub db: i32,
        /// 1 if a unit ends there. The other fields are exact only then.
        pub unit_end: u32,
    }

    /// A cut of the keyspace, read in batches of RDB records while writes go on.
    pub struct SnapshotApi = "ks_snapshot_api" {
        /// `sizeof` of this table.
        pub size: u32,
        /// KS_KIND_SNAPSHOT.
        pub kind: u32,
        /// Drops the cut; what was not read is let go.
        pub drop: unsafe extern "C" fn(data: *mut c_void),
        /// `a` = db, `b` = number of records, `buf` = the records. Status KS_CLOSED: that was all.
        pub poll_next: unsafe extern "C" fn(data: *mut c_void, waker: *const Waker, out: *mut Out) -> u32,
        /// The replication offset of the cut.
        pub offset: unsafe extern "C" fn(data: *mut c_void) -> u64,
        /// How many keys there were at the cut.
        pub keys: unsafe extern "C" fn(data: *mut c_void) -> u64,
        /// The database the replication stream has selected at the cut; -1 if a SELECT follows.
        pub stream_db: unsafe extern "C" fn(data: *mut c_void) -> i64,
        /// The history at the cut; its `offset` is that of the cut.
        pub history: unsafe extern "C" fn(data: *mut c_void, out: *mut History),
        /// How many changes were made to the keys up to the cut, as `ks_ctx_api.changes` counts.
        pub changes: unsafe extern "C" fn(data: *mut c_void) -> u64,
        /// What plugins keep beside the keys, as of the cut: records as they stand in an RDB file, opcode first.
        pub sections: unsafe extern "C" fn(data: *mut c_void, out: *mut Buf),
    }

    /// A keyspace being filled. Dropped without a commit it is aborted.
    pub struct LoadApi = "ks_load_api" {
        /// `sizeof` of this table.
        pub size: u32,
        /// KS_KIND_LOAD.
        pub kind: u32,
        /// Aborts if not committed.
        pub drop: unsafe extern "C" fn(data: *mut c_void),
        /// Adds a batch of `count` records to `db`; `a` = how many keys were added, `b` = how many were left out as expired.
        pub put: unsafe extern "C" fn(data: *mut c_void, db: u32, count: u32, records: Buf) -> Future,
        /// Makes it the keyspace. `a` = how many keys there are.
        pub commit: unsafe extern "C" fn(data: *mut c_void) -> Future,
        /// Adds records of plugins (one opcode's, as they stand in the file), which take effect with the commit. `a` = 1 if
        /// a plugin takes them.
        pub put_section: unsafe extern "C" fn(data: *mut c_void, opcode: u32, records: Buf) -> Future,
    }

    /// A primary's raw stream, executed with origin replication; the identical bytes go to the own journal.
    pub struct ApplyApi = "ks_apply_api" {
        /// `sizeof` of this table.
        pub size: u32,
        /// KS_KIND_APPLY.
        pub kind: u32,
        /// Drops the stream and a partial unit.
        pub drop: unsafe extern "C" fn(data: *mut c_void),
        /// Executes what is complete. `a` = offset at the last unit end, `b` = how many REPLCONF GETACK were met;
        /// `buf` = for each of them the offset before it, 8 bytes little endian.
        pub feed: unsafe extern "C" fn(data: *mut c_void, bytes: Buf) -> Future,
        /// Drops a partial unit: the link was lost and resumes from the last end.
        pub reset: unsafe extern "C" fn(data: *mut c_void),
        /// The offset at the last unit end.
        pub offset: unsafe extern "C" fn(data: *mut c_void) -> u64,
    }
}
