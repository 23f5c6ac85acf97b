//! The table of keys, value types and their compact encodings, expiry, the snapshot cut. Pure: no clock, no I/O, no threads.
//!
//! In reading order: [`keyspace`] and `keys` (what the engine calls), `entry` and `table` (where keys live), `string` and [`guard`]
//! (values in place), `expire`, `snapshot` (the cut), `load`, `digest`; then the collections: [`compact`], [`tree`],
//! [`list`], [`hash`], [`set`], [`zset`], [`stream`].

// Two files have leave, each for a measured gain: the layout of an entry, and prefetching.
#![deny(unsafe_code)]

mod access;
pub mod compact;
mod db;
pub mod digest;
pub mod elem;
#[allow(unsafe_code)]
mod entry;
pub mod events;
mod evict;
mod expire;
pub mod garbage;
mod groups;
pub mod guard;
pub mod hash;
pub mod hll;
pub mod keylog;
mod keys;
pub mod keyspace;
pub mod limits;
pub mod list;
pub mod load;
mod mean_ttl;
pub mod object;
mod prefetch;
pub mod rdb;
pub mod set;
pub mod snapshot;
pub mod stream;
pub mod string;
mod table;
pub mod tree;
pub mod zset;

pub use access::Lfu;
pub use elem::Elem;
pub use events::{Class, Event};
pub use evict::{Gone, Policy};
pub use expire::ExpiryProgress;
pub use garbage::Garbage;
pub use guard::{Create, Guard};
pub use hash::{Hash, HashRead};
pub use keylog::{Expired, KeyLog, Touched, Why};
pub use keyspace::{Keyspace, WrongType};
pub use limits::Limits;
pub use list::List;
pub use load::{Loaded, Put};
pub use object::{Collection, KeyType, Object};
pub use prefetch::Ahead;
pub use set::Set;
pub use snapshot::{CutBudget, CutId, CutProgress, RawRecord, TooManyCuts};
pub use stream::{Stream, StreamId};
pub use string::{IncrError, StrInput, StrRef, Ttl};
pub use zset::ZSet;

/// The number of a database.
pub type DbIndex = usize;

/// A time in Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct UnixMillis(pub u64);

/// What a lookup does with a key whose deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiryMode {
    /// Delete it and log that (a primary).
    Delete,
    /// Treat it as absent to reads and leave it (a replica, which waits for its primary's DEL).
    Hide,
    /// Treat it as any other (what a primary sent is executed as it is).
    Ignore,
}

/// How a keyspace is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of databases.
    pub databases: usize,
    /// Thresholds of the compact forms.
    pub limits: Limits,
    /// What clients must not be able to guess.
    pub seeds: Seeds,
}

/// Random numbers, each unrelated to the others and to anything that is shown.
#[derive(Clone, Debug)]
pub struct Seeds {
    /// Keys of the hash function.
    pub keys: [u64; 4],
    /// Keys of the hash of what that one doesn't tell apart.
    pub second: [u64; 2],
    /// Where the dice begin that choose keys: what they show lets their state be computed.
    pub dice: u64,
}

impl Default for Seeds {
    fn default() -> Self {
        Seeds { keys: [1, 2, 3, 4], second: [5, 6], dice: 7 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { databases: 16, limits: Limits::default(), seeds: Seeds::default() }
    }
}
