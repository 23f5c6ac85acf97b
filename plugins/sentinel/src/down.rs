//! When is an instance down? Subjectively (own deadline) and objectively (quorum). Pure functions and their tables.
//! Owns no state and starts nothing.

use crate::types::Mono;

/// What a verdict about one instance rests on.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Last valid reply, or since when this sentinel has been trying.
    pub last_valid: Mono,
    /// Since when it has been observed without a restart, stall or isolation of this sentinel.
    pub observed_since: Mono,
    /// It answered once as what the configuration says it is.
    pub answered: bool,
    /// down-after
    pub down_after_ms: u64,
}

impl Silence {
    /// The moment from which the instance counts as down, if nothing valid is heard until then.
    ///
    /// An instance that never answered in its present part gets three times down-after of fresh observation: a new
    /// primary must not be called down by a sentinel that hasn't even connected.
    #[must_use]
    pub fn deadline(&self) -> Mono {
        let silence = self.last_valid.plus(self.down_after_ms);
        if self.answered {
            return silence;
        }
        silence.max(self.observed_since.plus(self.down_after_ms.saturating_mul(3)))
    }
}

/// A primary that says it is a replica counts as down after this long (Redis: down-after and two INFO periods).
#[must_use]
pub const fn wrong_role_deadline(reported_at: Mono, down_after_ms: u64, info_period_ms: u64) -> Mono {
    reported_at.plus(down_after_ms.saturating_add(info_period_ms.saturating_mul(2)))
}

/// A primary that follows its own replica, as it was told then, will be a primary by nobody's doing: it is only left the time
/// in which somebody may be swapping roles by hand.
#[must_use]
pub const fn circle_deadline(since: Mono, down_after_ms: u64) -> Mono {
    since.plus(down_after_ms)
}

/// Objectively down: this sentinel sees it, and with the peers' current down-votes the quorum is reached.
#[must_use]
pub const fn objective(subjective: bool, peers: u32, quorum: u32) -> bool {
    subjective && peers.saturating_add(1) >= quorum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_runs_from_the_last_valid_reply() {
        let mut silence =
            Silence { last_valid: Mono(5000), observed_since: Mono(0), answered: true, down_after_ms: 1000 };
        assert_eq!(silence.deadline(), Mono(6000));
        silence.answered = false;
        assert_eq!(silence.deadline(), Mono(6000));
        silence.observed_since = Mono(4900);
        assert_eq!(silence.deadline(), Mono(7900));
    }

    #[test]
    fn quorum_table() {
        for (subjective, peers, quorum, expected) in
            [(true, 0, 1, true), (true, 0, 2, false), (true, 1, 2, true), (false, 5, 2, false), (true, 2, 4, false)]
        {
            assert_eq!(objective(subjective, peers, quorum), expected);
        }
    }
}
