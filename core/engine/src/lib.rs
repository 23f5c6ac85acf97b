//! Sessions, the command table, guards, transactions, blocking, pub/sub and the journal.
//!
//! Owns: what happens between "these are a client's arguments" and "these bytes go back", and everything that must be
//! known for it. Called by: the server (turns), the plugin host (`foreign`), tests. Never: a socket, a thread, a clock
//! (time is an argument), a file.

#![forbid(unsafe_code)]

pub mod acl;
pub mod apply;
pub mod args;
pub mod barrier;
pub mod blocking;
mod client_memory;
pub mod commands;
pub mod config;
pub mod core;
pub mod ctx;
pub mod cycles;
pub mod effect;
pub mod engine;
pub mod error;
mod evict;
mod exec;
pub mod foreign;
pub mod gates;
pub mod glob;
mod guards;
pub mod histogram;
pub mod journal;
pub mod keys;
pub mod latency;
pub mod limits;
mod monitor;
pub mod names;
pub mod notify;
pub mod offload;
mod own_deadlines;
mod pacing;
pub mod page;
pub mod pause;
mod prefetch;
pub mod pubsub;
pub mod registry;
pub mod script;
mod secrets;
pub mod session;
pub mod sessions;
pub mod slowlog;
pub mod snapshot;
pub mod spec;
pub mod stats;
mod still;
mod tick;
mod timing;
pub mod tracking;
mod wall;
pub mod watch;

/// The version of Redis whose behaviour clients may expect.
pub const REDIS_VERSION: &str = "7.2.4";

/// Our own version.
pub const KEYSTEAD_VERSION: &str = env!("CARGO_PKG_VERSION");

pub use apply::{Applied, ApplyState};
pub use args::{Args, ArgsExt, OwnedArgs};
pub use barrier::Barriers;
pub use ctx::Ctx;
pub use effect::{CommandResult, Effect, Origin, Targets};
pub use engine::{Action, BusyTurn, Engine, EngineMode, EngineOptions, Flow, Now, Ready, TurnEnd};
pub use error::CommandError;
pub use gates::{Gate, Gates};
pub use keystead_keyspace as keyspace;
pub use keystead_keyspace::Ahead;
pub use keystead_rdb as rdb;
pub use keystead_resp as resp;
pub use session::{ConnInfo, Kind, SessionId};
