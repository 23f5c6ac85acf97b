//! The table of keys, value types and their compact encodings, expiry, the snapshot cut. Pure.

pub mod compact;
pub mod elem;
pub mod hash;
pub mod limits;
pub mod list;
pub mod rdb;
pub mod set;
pub mod tree;
pub mod zset;
