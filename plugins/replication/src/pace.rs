//! When the stream is fast, a little of it is gathered before it goes out: one large write costs each replica less than a
//! dozen small ones.
//!
//! Owns what was sent and when → is it fast? And the rounds of gathering, which all replicas share: a timer for each would
//! cost more than it saves. Who sends waits, or doesn't. A slow stream is never held back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a fast stream is gathered: what a replica lags behind more at most.
pub(crate) const GATHER: Duration = Duration::from_millis(1);
/// More than this within [`GATHER`] is fast.
const FAST: usize = 8 << 10;

/// What went out lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    since: Duration,
    bytes: usize,
}

impl Pace {
    /// So many bytes went out; whether to gather before the next.
    pub(crate) fn sent(&mut self, now: Duration, bytes: usize) -> bool {
        if now.saturating_sub(self.since) > GATHER {
            *self = Pace { since: now, bytes: 0 };
        }
        self.bytes += bytes;
        self.bytes >= FAST
    }

    /// It was gathered.
    pub(crate) fn gathered(&mut self, now: Duration) {
        *self = Pace { since: now, bytes: 0 };
    }
}

/// The rounds of gathering.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    over: AtomicU64,
    running: AtomicBool,
}

impl Rounds {
    /// The round that is awaited now, and whether it begins with this: then the caller has it ended.
    pub(crate) fn join(&self) -> (u64, bool) {
        (self.over.load(Ordering::Acquire), !self.running.swap(true, Ordering::AcqRel))
    }

    /// The time of the round is over.
    pub(crate) fn end(&self) {
        self.running.store(false, Ordering::Release);
        self.over.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether it was ended.
    pub(crate) fn is_over(&self, round: u64) -> bool {
        self.over.load(Ordering::Acquire) != round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fast_stream_is_gathered() {
        let us = Duration::from_micros;
        let mut pace = Pace::default();
        assert!((0..1000).all(|n| !pace.sent(us(n * 500), 200)), "2,000 small writes a second go out as they come");
        let mut pace = Pace::default();
        assert!((0..10).any(|n| pace.sent(us(n * 50), 1000)), "20 MB a second are fast");
        pace.gathered(us(1500));
        assert!(!pace.sent(us(1500), 100), "behind a burst it is slow again");
        assert!(pace.sent(us(1600), 100_000), "a large write too: what follows at once waits");
        assert!(!pace.sent(us(5000), 100));
    }

    #[test]
    fn a_round_is_ended_once_for_all_who_joined() {
        let rounds = Rounds::default();
        let ((one, first), (other, second)) = (rounds.join(), rounds.join());
        assert!(first && !second && !rounds.is_over(one) && !rounds.is_over(other));
        rounds.end();
        assert!(rounds.is_over(one) && rounds.is_over(other));
        assert!(rounds.join().1, "the next begins anew");
    }
}
