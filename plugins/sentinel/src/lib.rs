//! Sentinel as a plugin: it watches primaries and their replicas, agrees with other sentinels that one is down, elects a
//! leader, and promotes a replica. The wire, votes, epochs and event names are Redis'.
//!
//! Everything that decides is pure (`machine::Sentinel::step(now, event) -> actions`) and runs unchanged in the
//! simulator; the shell feeds it from sockets and carries its actions out.

#![forbid(unsafe_code)]

pub mod accord;
pub mod actions;
pub mod aging;
pub mod answers;
pub mod ballot;
pub mod campaign;
pub mod candidates;
pub mod circle;
pub mod commands;
pub mod config;
pub mod disk;
pub mod down;
mod due;
pub mod election;
pub mod events;
pub mod explain;
pub mod failover;
pub mod fields;
pub mod glob;
pub mod globals;
pub mod gossip;
pub mod handover;
pub mod heir;
pub mod hello;
pub mod info;
pub mod instance;
pub mod links;
pub mod machine;
pub mod monitor;
pub mod names;
pub mod namesake;
pub mod outbox;
pub mod overrides;
pub mod query;
pub mod reconfigure;
pub mod resume;
pub mod scripts;
pub mod select;
pub mod settings;
pub mod shell;
pub mod sign;
pub mod spread;
pub mod state;
pub mod table;
pub mod tempo;
pub mod timeline;
pub mod types;
pub mod unkept;
pub mod wire;

pub use config::Config;
pub use shell::SentinelPlugin;

keystead_plugin::export_plugin!(SentinelPlugin, KEYSTEAD_PLUGIN_sentinel);
