//! Fuzzers of our own: mutated input for everything that reads what others wrote. See README.md.
//!
//! Owns the cases (`mutate`), what is tried (`targets`) and what counts as a failure (`run`): a panic, a broken property, a
//! case that takes long or much memory. A case is known by its target, seed and number.

pub mod memory;
pub mod mutate;
pub mod run;
pub mod server;
pub mod targets;

use std::path::PathBuf;

/// Where a target's corpus is.
pub fn corpus_folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}
