//! Cluster mode's commands, which exist so that clients are told in Redis' words that there is no cluster here.

use super::dump;
use crate::ctx::Ctx;
use crate::effect::CommandResult;
use crate::error::CommandError;
use crate::spec::*;
use keystead_resp::Args;

const NONE: KeySpec = KeySpec::None;
const CL: Group = Group::Cluster;
/// For administrators of a cluster.
const ADM: u32 = ADMIN | STALE;
/// What would change the cluster.
const MOVES: u32 = ADM | NO_ASYNC_LOADING;

const fn sub(name: &'static str, arity: i32, flags: u32, since: &'static str) -> CommandSpec {
    CommandSpec::new(name, arity, flags, NONE, CL, since, "Needs cluster mode, which isn't supported.", disabled)
}

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    CommandSpec::container("cluster", CL, "3.0.0", "A container for Redis Cluster commands.", CLUSTER),
    CommandSpec::new("asking", 1, FAST, NONE, CL, "3.0.0",
        "Signals that a cluster client is following an -ASK redirect.", disabled),
    CommandSpec::new("readonly", 1, FAST | LOADING | STALE, NONE, CL, "3.0.0",
        "Enables read-only queries for a connection to a Redis Cluster replica node.", disabled),
    CommandSpec::new("readwrite", 1, FAST | LOADING | STALE, NONE, CL, "3.0.0",
        "Enables read-write queries for a connection to a Redis Cluster replica node.", disabled),
    CommandSpec::new("restore-asking", -4, WRITE | DENYOOM | ASKING, KeySpec::FIRST, Group::Server, "3.0.0",
        "An internal command for migrating keys in a cluster.", dump::restore).uses(&[SETS]),
];

#[rustfmt::skip]
const CLUSTER: &[CommandSpec] = &[
    sub("addslots", -3, MOVES, "3.0.0"),
    sub("addslotsrange", -4, MOVES, "7.0.0"),
    sub("bumpepoch", 2, MOVES, "3.0.0"),
    sub("count-failure-reports", 3, ADM, "3.0.0"),
    sub("countkeysinslot", 3, STALE, "3.0.0"),
    sub("delslots", -3, MOVES, "3.0.0"),
    sub("delslotsrange", -4, MOVES, "7.0.0"),
    sub("failover", -2, MOVES, "3.0.0"),
    sub("flushslots", 2, MOVES, "3.0.0"),
    sub("forget", 3, MOVES, "3.0.0"),
    sub("getkeysinslot", 4, STALE, "3.0.0"),
    sub("help", 2, LOADING | STALE, "5.0.0"),
    sub("info", 2, STALE, "3.0.0"),
    sub("keyslot", 3, STALE, "3.0.0"),
    sub("links", 2, STALE, "7.0.0"),
    sub("meet", -4, MOVES, "3.0.0"),
    sub("myid", 2, STALE, "3.0.0"),
    sub("myshardid", 2, STALE, "7.2.0"),
    sub("nodes", 2, STALE, "3.0.0"),
    sub("replicas", 3, ADM, "5.0.0"),
    sub("replicate", 3, MOVES, "3.0.0"),
    sub("reset", -2, ADM | NOSCRIPT, "3.0.0"),
    sub("saveconfig", 2, MOVES, "3.0.0"),
    sub("set-config-epoch", 3, MOVES, "3.0.0"),
    sub("setslot", -4, MOVES, "3.0.0"),
    sub("shards", 2, STALE, "7.0.0"),
    sub("slaves", 3, ADM, "3.0.0"),
    sub("slots", 2, STALE, "3.0.0"),
];

fn disabled(_: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    Err(CommandError::fixed("ERR This instance has cluster support disabled"))
}
