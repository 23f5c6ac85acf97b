//! The places of a save at which a test lets the process die or the disk fail, see `keystead_plugin::failpoint`. Owns the
//! list.

pub use keystead_plugin::failpoint::VARIABLE;
use keystead_plugin::failpoint::{self, What};
use std::io;

/// All places, in the order in which a save passes them.
pub const ALL: &[&str] = &[
    "save-cut",
    "save-created",
    "save-half-written",
    "save-written",
    "save-synced",
    "save-renamed",
    "save-folder-synced",
];

/// Dies or fails here, if this is the place and the time.
pub(crate) fn pass(place: &str) -> io::Result<()> {
    debug_assert!(ALL.contains(&place), "{place} isn't in the list");
    failpoint::pass(place)
}

/// What is to happen at this place now: for places that want to prepare it.
pub(crate) fn reached(place: &str) -> Option<What> {
    debug_assert!(ALL.contains(&place), "{place} isn't in the list");
    failpoint::reached(place)
}
