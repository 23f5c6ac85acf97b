//! A primary and its replicas, of either make: traffic, and the moment when they hold the same.
//!
//! Owns what the replication tests repeat. Knows nothing of who is who: both sides speak Redis' wire.

use crate::random::Commands;
use keystead_harness::{Client, DEADLINE, eventually};

/// Runs random units of commands on the primary.
#[track_caller]
pub fn traffic(client: &mut Client, commands: &mut Commands, units: u64) {
    for _ in 0..units {
        for command in commands.unit() {
            client.command(&command);
        }
    }
    // Random units may leave another database selected.
    client.cmd("SELECT 0");
}

/// One field of INFO, empty when it isn't there.
#[track_caller]
pub fn field(client: &mut Client, section: &str, name: &str) -> String {
    client.info(section).remove(name).unwrap_or_default()
}

/// What must be equal: offset, id and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `master_repl_offset`
    pub offset: String,
    /// `master_replid`
    pub replid: String,
    /// DEBUG DIGEST
    pub digest: String,
}

/// The state now.
#[track_caller]
pub fn state(client: &mut Client) -> State {
    let mut info = client.info("replication");
    let mut take = |name: &str| info.remove(name).unwrap_or_default();
    State { offset: take("master_repl_offset"), replid: take("master_replid"), digest: crate::compare::digest(client) }
}

/// Waits until the link is up and offset, id and digest are the primary's.
#[track_caller]
pub fn in_step(primary: &mut Client, replica: &mut Client) -> State {
    let mut last = None;
    let same = eventually(DEADLINE, || {
        let up = field(replica, "replication", "master_link_status") == "up";
        let (p, r) = (state(primary), state(replica));
        let same = up && p == r;
        last = Some((p.clone(), r));
        same.then_some(p)
    });
    same.unwrap_or_else(|| {
        panic!(
            "not in step: {last:?}\nprimary {:?}\nreplica {:?}",
            primary.info("replication"),
            replica.info("replication")
        )
    })
}

/// `(sync_full, sync_partial_ok, sync_partial_err)`
#[track_caller]
pub fn syncs(client: &mut Client) -> (u64, u64, u64) {
    let info = client.info("stats");
    let number = |name: &str| info.get(name).and_then(|v| v.parse().ok()).unwrap_or(u64::MAX);
    (number("sync_full"), number("sync_partial_ok"), number("sync_partial_err"))
}
