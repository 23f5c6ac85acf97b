//! Barriers: up to which position of the journal everything is confirmed by those who hold replies back until then (an
//! append-only file that fsyncs each write). Owns the sources and their positions, shared between the turn, the drivers
//! and whoever confirms; holding the replies is the drivers' part. Without a source nothing is held and nothing costs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Nobody holds anything.
const FREE: u64 = u64::MAX;

/// All sources of one engine.
#[derive(Debug)]
pub struct Barriers {
    /// The least of what the sources have confirmed.
    confirmed: AtomicU64,
    sources: Mutex<BTreeMap<String, u64>>,
}

impl Default for Barriers {
    fn default() -> Self {
        Barriers { confirmed: AtomicU64::new(FREE), sources: Mutex::default() }
    }
}

impl Barriers {
    /// True if replies may have to wait.
    #[inline]
    pub fn hold(&self) -> bool {
        self.confirmed() != FREE
    }

    /// What every source has confirmed.
    #[inline]
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// A source has confirmed everything before a position; None: it holds nothing any more.
    pub fn confirm(&self, source: &str, position: Option<u64>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match position {
            Some(position) => sources.insert(source.to_owned(), position),
            None => sources.remove(source),
        };
        self.confirmed.store(sources.values().copied().min().unwrap_or(FREE), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::Barriers;

    #[test]
    fn the_slowest_source_counts() {
        let barriers = Barriers::default();
        assert!(!barriers.hold());
        barriers.confirm("file", Some(10));
        barriers.confirm("replicas", Some(7));
        assert_eq!((barriers.hold(), barriers.confirmed()), (true, 7));
        barriers.confirm("replicas", Some(12));
        assert_eq!(barriers.confirmed(), 10);
        barriers.confirm("file", None);
        assert_eq!(barriers.confirmed(), 12);
        barriers.confirm("replicas", None);
        assert!(!barriers.hold());
    }
}
