//! The append-only file as a plugin: every write in Redis 7's multi-part files, with the durability that was asked for.
//!
//! Pure rooms first (`manifest`, `note`, `scan`, `machine`, `holding`, `commands_of`), thin shells on the SDK and on files after them.
//! It owns the files in `appenddirname`; which records there are, and at which place, is the journal's.
#![forbid(unsafe_code)]

mod base;
mod commands;
pub mod commands_of;
pub mod config;
mod culprit;
mod disk;
pub mod failpoint;
mod files;
mod holding;
mod load;
mod loading;
pub mod machine;
pub mod manifest;
pub mod note;
mod outage;
mod params;
mod place;
mod plugin;
pub mod scan;
mod shown;
mod writer;

pub use plugin::Aof;

keystead_plugin::export_plugin!(Aof, KEYSTEAD_PLUGIN_persistence_aof);
