//! The families of commands. Owns the list of their tables; each file has its table at its head and one function per
//! command below.

pub mod acl;
mod bitfield;
pub mod bits;
pub mod client;
pub(crate) mod client_list;
pub mod cluster;
pub mod command;
mod command_docs;
mod command_hints;
pub(crate) mod common;
pub mod config;
pub mod connection;
pub mod debug;
mod debug_more;
mod dump;
mod expiry;
mod footprint;
pub mod geo;
pub mod hash_expiry;
pub mod hashes;
mod help;
pub mod hyperloglog;
pub mod info;
pub mod keys;
pub(crate) mod keys_cut;
pub mod latency;
mod latency_graph;
mod lcs;
pub mod lists;
mod lists_blocking;
pub mod memory;
pub mod migrate;
pub(crate) mod pages;
pub mod plugin;
pub mod pubsub;
pub mod scan;
pub mod server;
pub mod sets;
pub mod slowlog;
mod sort;
mod source;
pub mod streams;
pub mod strings;
mod tracking;
pub mod transactions;
pub mod zsets;

use keystead_keyspace::{KeyType, Keyspace};

pub(crate) use help::write_help;

use crate::blocking::Wait;
use crate::registry::Command;
use crate::spec::{CommandSpec, Group};

/// All tables. A family joins by a line here.
pub const FAMILIES: &[&[CommandSpec]] = &[
    connection::TABLE,
    client::TABLE,
    transactions::TABLE,
    config::TABLE,
    info::TABLE,
    pubsub::TABLE,
    server::TABLE,
    debug::TABLE,
    cluster::TABLE,
    acl::TABLE,
    plugin::TABLE,
    strings::TABLE,
    bits::TABLE,
    keys::TABLE,
    hashes::TABLE,
    hash_expiry::TABLE,
    migrate::TABLE,
    lists::TABLE,
    sets::TABLE,
    zsets::TABLE,
    streams::TABLE,
    geo::TABLE,
    hyperloglog::TABLE,
    command::TABLE,
    slowlog::TABLE,
    latency::TABLE,
    memory::TABLE,
];

/// Whether a waiting command may find something under a key that changed.
pub(crate) fn may_find(ks: &Keyspace, key: &[u8], wait: &Wait, came: Option<KeyType>) -> bool {
    // A key that expired meanwhile wakes nobody, and its deletion is for whoever asks for it next.
    let kind = ks.glance(wait.db, key);
    let news = || streams::has_news(ks, wait.db, key, wait.args.view());
    blocks_on(wait.command, kind, came)
        && (wait.command.name != "xreadgroup" || kind != Some(KeyType::Stream) || news())
}

/// True if a waiting command has something to say about a key of this type, or about none; else it goes on waiting. As in
/// Redis, a list or sorted set put over a key of another type (SORT … STORE) wakes nobody, not even if that was made in the
/// same transaction: only one that came into being does.
fn blocks_on(command: &Command, kind: Option<KeyType>, came: Option<KeyType>) -> bool {
    match command.group {
        Group::List => kind == Some(KeyType::List) && kind == came,
        Group::SortedSet => kind == Some(KeyType::ZSet) && kind == came,
        // Where the key is gone or another's, so is the group: that is an error.
        Group::Stream if command.name == "xreadgroup" => true,
        Group::Stream => kind == Some(KeyType::Stream),
        _ => kind.is_some(),
    }
}
