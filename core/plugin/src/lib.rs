//! The SDK: what a plugin author sees. Safe Rust over the frozen C boundary (`keystead-abi`).
//!
//! Reading order: [`Plugin`] (what an author writes), [`Registrar`] (what it declares), [`Host`] (what it may ask of the
//! core), [`Ctx`] (what it may do inside a turn). `unsafe` lives in the thunks behind them; authors need none.
//! This crate never links against the core: everything goes through the tables.
//!
//! ```no_run
//! use keystead_plugin::prelude::*;
//!
//! struct Hello { greeting: String }
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Config { greeting: String }
//!
//! impl Default for Config {
//!     fn default() -> Self { Config { greeting: "hello".into() } }
//! }
//!
//! impl Plugin for Hello {
//!     const NAME: &'static str = "hello";
//!     const VERSION: &'static str = "1.0.0";
//!     type Config = Config;
//!
//!     fn init(_host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
//!         reg.command(spec("HELLO.GREET", 2, Flags::READONLY | Flags::FAST), Self::greet);
//!         Ok(Hello { greeting: config.greeting })
//!     }
//! }
//!
//! impl Hello {
//!     fn greet(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
//!         let name = String::from_utf8_lossy(args.at(1));
//!         ctx.reply().bulk(format!("{}, {name}", self.greeting).as_bytes());
//!         Ok(Effect::None)
//!     }
//! }
//!
//! keystead_plugin::export_plugin!(Hello, KEYSTEAD_PLUGIN_hello);
//! # fn main() {}
//! ```

mod args;
mod byte_count;
mod command;
pub mod config;
mod ctx;
mod declare;
mod error;
pub mod failpoint;
mod folders;
mod host;
mod io;
mod journal;
mod logger;
mod once;
mod plugin;
mod progress;
mod registrar;
mod reply;
mod script;
mod service;
pub mod services;
mod session;
mod slot;
mod snapshot;
mod task;
#[doc(hidden)]
pub mod thunk;
mod values;
mod words;

pub use args::{Args, OwnedArgs};
pub use byte_count::{byte_count, byte_count_or_none};
pub use bytes::Bytes;
pub use command::{Acl, CommandSpec, Effect, Flags, FlagsNow, GetKeys, MayTake, spec};
pub use ctx::{Ctx, Out, ValueKind};
pub use declare::{ConnEvent, Endpoint, EndpointSpec, FaultPolicy, InfoOut, Param, WriteEvent};
pub use error::{Error, Result};
pub use folders::Folders;
pub use host::Host;
pub use io::{Conn, Io, Listener};
pub use journal::{Cursor, CursorClass, CursorEnd, History, Journal, Place, ReplId};
#[doc(hidden)]
pub use keystead_abi as abi;
pub use plugin::{Ending, Named, Plugin, StopReason};
pub use progress::Progress;
pub use registrar::{Registrar, Scope};
pub use reply::Reply;
pub use script::{Conditions, ScriptCall};
pub use service::{Needed, Service};
pub use session::{ClientInfo, Proto};
pub use snapshot::{Added, Applied, Apply, Batch, Load, LoadMode, RDB_PIECES, RDB_PLAIN, RdbVersions, Snapshot};
pub use task::{Interval, Task};
pub use values::{integer, memory};
pub use words::{ClientFilter, Gate, Origin, PauseKind, Role, ShutdownKind, Targets};

/// What nearly every plugin imports.
pub mod prelude {
    pub use crate::{
        Acl, Args, ClientInfo, Conn, Ctx, Effect, Ending, Endpoint, Error, Flags, Host, OwnedArgs, Param, Plugin,
        Registrar, Reply, Result, StopReason, spec,
    };
    pub use std::sync::Arc;
}

/// The README's plugin compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
