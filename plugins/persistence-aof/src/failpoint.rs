//! The places of the writer at which a test lets the process die or the disk fail, see `keystead_plugin::failpoint`. Owns
//! the list.

pub use keystead_plugin::failpoint::VARIABLE;
use keystead_plugin::failpoint::{self, What};
use std::io;

/// All places, in the order in which a batch and a rewrite pass them.
pub const ALL: &[&str] = &[
    "batch-read",
    "batch-half-written",
    "batch-written",
    "batch-synced",
    "rewrite-cut",
    "incr-created",
    "incr-in-manifest",
    "base-half-written",
    "base-synced",
    "base-renamed",
    "manifest-synced",
    "manifest-renamed",
    "history-removed",
];

/// A write while the file is put on the disk, which `always` never does: for a disk that is slow.
pub const BESIDE_SYNC: &str = "batch-beside-sync";

/// What a start passes that found a set.
pub const NAMES_SYNCED: &str = "names-synced";

/// What a change of `dir` passes besides, in order.
pub const MOVING: &[&str] = &["set-linked", "set-taken", "place-noted"];

/// Dies or fails here, if this is the place and the time.
pub(crate) fn pass(place: &str) -> io::Result<()> {
    let single = [BESIDE_SYNC, NAMES_SYNCED];
    debug_assert!([ALL, MOVING, &single].concat().contains(&place), "{place} isn't in the list");
    failpoint::pass(place)
}

/// What is to happen at this place now: for places that want to prepare it.
pub(crate) fn reached(place: &str) -> Option<What> {
    debug_assert!(ALL.contains(&place), "{place} isn't in the list");
    failpoint::reached(place)
}
