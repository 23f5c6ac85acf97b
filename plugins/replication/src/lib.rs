//! Replication as a plugin: full and partial resync, both roles, Redis' wire to the byte.
//!
//! Pure rooms first (`units`, `history`, `psync`, `link`, `primary`, `wait`, `info`), thin shells on the SDK after
//! them. It owns who follows whom and under which history; the bytes of the stream, the keyspace and the sockets
//! are the core's.
#![forbid(unsafe_code)]

pub mod history;
pub mod info;
pub mod link;
pub mod primary;
pub mod psync;
pub mod text;
pub mod units;
pub mod wait;
