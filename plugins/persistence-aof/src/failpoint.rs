//! Places at which a test lets the process die, as `kill -9` would: `KEYSTEAD_AOF_DIES_AT=<place>[:<nth time>]`. Owns the
//! list of places; without the variable nothing happens.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable.
pub const VARIABLE: &str = "KEYSTEAD_AOF_DIES_AT";

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

struct Wanted {
    place: String,
    left: AtomicU64,
}

fn wanted() -> Option<&'static Wanted> {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    let read = || {
        let text = std::env::var(VARIABLE).ok()?;
        let (place, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Wanted { place: place.to_owned(), left: AtomicU64::new(nth.parse().unwrap_or(1)) })
    };
    WANTED.get_or_init(read).as_ref()
}

/// Dies here, if this is the place and the time.
pub(crate) fn pass(place: &str) {
    debug_assert!(ALL.contains(&place), "{place} isn't in the list");
    if is_next(place) {
        std::process::abort();
    }
}

/// True if the process is to die at this place now: for places that want to prepare it.
pub(crate) fn is_next(place: &str) -> bool {
    let Some(wanted) = wanted().filter(|wanted| wanted.place == place) else { return false };
    wanted.left.fetch_sub(1, Ordering::Relaxed) == 1
}
