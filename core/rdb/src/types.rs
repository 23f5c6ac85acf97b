//! Numbers of value types and opcodes, and what each is called.

use crate::RdbError;

/// A string.
pub const STRING: u8 = 0;
/// A list as single strings.
pub const LIST: u8 = 1;
/// A set as single strings.
pub const SET: u8 = 2;
/// A sorted set with scores as text.
pub const ZSET: u8 = 3;
/// A hash as single strings.
pub const HASH: u8 = 4;
/// A sorted set with binary scores.
pub const ZSET_2: u8 = 5;
/// A hash in a zipmap (before 2.6).
pub const HASH_ZIPMAP: u8 = 9;
/// A list in one ziplist.
pub const LIST_ZIPLIST: u8 = 10;
/// A set of integers.
pub const SET_INTSET: u8 = 11;
/// A sorted set in one ziplist.
pub const ZSET_ZIPLIST: u8 = 12;
/// A hash in one ziplist.
pub const HASH_ZIPLIST: u8 = 13;
/// A list as ziplists.
pub const LIST_QUICKLIST: u8 = 14;
/// A stream (5.0).
pub const STREAM_LISTPACKS: u8 = 15;
/// A hash in one listpack.
pub const HASH_LISTPACK: u8 = 16;
/// A sorted set in one listpack.
pub const ZSET_LISTPACK: u8 = 17;
/// A list as listpacks and plain nodes.
pub const LIST_QUICKLIST_2: u8 = 18;
/// A stream with its counters (7.0).
pub const STREAM_LISTPACKS_2: u8 = 19;
/// A set in one listpack (7.2).
pub const SET_LISTPACK: u8 = 20;
/// A stream with the times at which consumers were active (7.2).
pub const STREAM_LISTPACKS_3: u8 = 21;

/// A hash with field expiry as single strings, from release candidates of 7.4: deadlines are absolute.
pub const HASH_METADATA_PRE_GA: u8 = 22;
/// A hash with field expiry in one listpack, from release candidates of 7.4.
pub const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
/// A hash with field expiry as single strings (7.4): the earliest deadline first, the others count from it.
pub const HASH_METADATA: u8 = 24;
/// A hash with field expiry in one listpack (7.4), behind the earliest deadline.
pub const HASH_LISTPACK_EX: u8 = 25;

/// Sizes of one slot of a cluster (7.4): a hint.
pub(crate) const OP_SLOT_INFO: u8 = 244;
/// A library of functions.
pub const OP_FUNCTION2: u8 = 245;
pub(crate) const OP_FUNCTION_PRE_GA: u8 = 246;
pub(crate) const OP_MODULE_AUX: u8 = 247;
pub(crate) const OP_IDLE: u8 = 248;
pub(crate) const OP_FREQ: u8 = 249;
pub(crate) const OP_AUX: u8 = 250;
pub(crate) const OP_RESIZEDB: u8 = 251;
pub(crate) const OP_EXPIRETIME_MS: u8 = 252;
pub(crate) const OP_EXPIRETIME: u8 = 253;
pub(crate) const OP_SELECTDB: u8 = 254;
pub(crate) const OP_EOF: u8 = 255;

/// The data type that a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set.
    Zset,
    /// A stream.
    Stream,
}

impl Kind {
    /// The data type behind a type number; types that can't be read are refused by name.
    pub fn of(rdb_type: u8) -> Result<Self, RdbError> {
        Ok(match rdb_type {
            STRING => Self::String,
            LIST | LIST_ZIPLIST | LIST_QUICKLIST | LIST_QUICKLIST_2 => Self::List,
            SET | SET_INTSET | SET_LISTPACK => Self::Set,
            HASH | HASH_ZIPMAP | HASH_ZIPLIST | HASH_LISTPACK => Self::Hash,
            HASH_METADATA_PRE_GA..=HASH_LISTPACK_EX => Self::Hash,
            ZSET | ZSET_2 | ZSET_ZIPLIST | ZSET_LISTPACK => Self::Zset,
            STREAM_LISTPACKS | STREAM_LISTPACKS_2 | STREAM_LISTPACKS_3 => Self::Stream,
            6 | 7 => return Err(RdbError::Unsupported("module")),
            other => return Err(RdbError::UnknownType(other)),
        })
    }

    /// What TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::Zset => "zset",
            Self::Stream => "stream",
        }
    }
}
