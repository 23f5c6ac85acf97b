//! The deterministic simulator: whole clusters in one thread, virtual time, seeds, faults, checkers.
//! It drives the plugins' pure machines as they run in the server, and never imports the server.

#![forbid(unsafe_code)]

pub mod replication;
pub mod sentinel;
