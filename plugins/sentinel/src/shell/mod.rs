//! The shell around the pure machine: the plugin itself, its driver task and its links.
//! Owns sockets, time and the disk through the host; decides nothing.

mod driver;
mod folder;
mod lines;
mod link;
mod plugin;
mod room;
mod script;

pub use plugin::SentinelPlugin;
