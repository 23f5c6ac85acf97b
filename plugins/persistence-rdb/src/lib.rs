//! RDB files as persistence: the keys in one file, written from a cut while writes go on, read at the start.
//!
//! Pure rooms first (`points`, `words`), then the file (`save`, `load`), then what the plugin shows (`commands`, `params`,
//! `info`). Owns when and where the file is written; the bytes of a record are the core's, the framing is keystead-rdb's.
#![forbid(unsafe_code)]

mod adopt;
mod commands;
pub mod config;
pub mod failpoint;
mod info;
mod load;
mod params;
mod plugin;
pub mod points;
mod save;
mod status;
pub mod words;

pub use plugin::PersistenceRdb;

keystead_plugin::export_plugin!(PersistenceRdb, KEYSTEAD_PLUGIN_persistence_rdb);
