//! Replication as a plugin: full and partial resync, both roles, Redis' wire to the byte.
//!
//! Pure rooms first (`units`, `history`, `psync`, `link`, `primary`, `failover`, `wait`, `info`), thin shells on the SDK after
//! them. It owns who follows whom and under which history; the bytes of the stream, the keyspace and the sockets
//! are the core's.
#![forbid(unsafe_code)]

mod bell;
mod commands;
pub mod config;
mod cron;
pub mod failover;
mod failover_task;
mod filter;
mod follow;
mod gates;
pub mod history;
pub mod info;
mod kept;
mod lineage;
pub mod link;
mod offer;
mod origin;
mod pace;
mod params;
mod payload;
mod plugin;
pub mod primary;
pub mod psync;
mod receive;
mod serve;
mod shown;
mod temporary;
pub mod text;
mod traffic;
pub mod units;
pub mod wait;

pub use plugin::Replication;

keystead_plugin::export_plugin!(Replication, KEYSTEAD_PLUGIN_replication);
