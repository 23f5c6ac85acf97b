//! The timer table: when each monitor has something due. Owns how much may be put together: one that watches a crowd does
//! what is due within a fortieth of the shortest ping period at once, in one wake-up. Never looks at a monitor.

use crate::types::Mono;
use std::collections::BTreeSet;

/// From this many monitors on it is a crowd. With fewer everything is done at its moment.
const CROWD: usize = 64;
/// What is done together lies within this part of the shortest ping period, so that no period is longer than it should be
/// by a tenth: 25 ms of a second, and nothing at periods below 80 ms.
const PART: u64 = 40;

/// The table. An entry that isn't its monitor's `wake` any more (that was removed, or made anew) costs one look in vain.
#[derive(Debug, Default)]
pub(crate) struct Due {
    at: BTreeSet<(Mono, String)>,
    monitors: usize,
    slack_ms: u64,
}

impl Due {
    /// So many monitors, and their ping periods; only asked for when the number has changed, or `anew`.
    pub(crate) fn measure(&mut self, monitors: usize, anew: bool, periods: impl Iterator<Item = u64>) {
        if anew || monitors != self.monitors {
            self.monitors = monitors;
            self.slack_ms = if monitors < CROWD { 0 } else { periods.min().unwrap_or(0) / PART };
        }
    }

    /// A monitor's settings may have changed.
    pub(crate) fn at_most(&mut self, period_ms: u64) {
        self.slack_ms = self.slack_ms.min(period_ms / PART);
    }

    /// When the first is to be looked at, with those that come until then.
    pub(crate) fn next(&self) -> Mono {
        match self.at.first() {
            Some((at, _)) if self.slack_ms > 1 => {
                at.0.checked_next_multiple_of(self.slack_ms).map_or(Mono::NEVER, Mono)
            }
            Some((at, _)) => *at,
            None => Mono::NEVER,
        }
    }

    /// Takes out whoever is due.
    pub(crate) fn take(&mut self, now: Mono) -> Vec<String> {
        let mut names = Vec::new();
        while self.at.first().is_some_and(|(at, _)| *at <= now) {
            names.extend(self.at.pop_first().map(|(_, name)| name));
        }
        names
    }

    /// A monitor's moment, in the place of the one before.
    pub(crate) fn put(&mut self, name: &str, before: Mono, at: Mono) {
        if before != at {
            self.at.remove(&(before, name.to_owned()));
        }
        self.at.insert((at, name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(monitors: usize, period_ms: u64) -> Due {
        let mut due = Due::default();
        due.measure(monitors, false, (0..monitors).map(|_| period_ms));
        for (name, at) in [("a", 1_001), ("b", 1_024), ("c", 1_026)] {
            due.put(name, Mono(0), Mono(at));
        }
        due
    }

    #[test]
    fn a_crowd_is_looked_at_together_and_a_few_at_their_moment() {
        for (monitors, period_ms, next, names) in
            [(3, 1_000, 1_001, vec!["a"]), (64, 1_000, 1_025, vec!["a", "b"]), (64, 79, 1_001, vec!["a"])]
        {
            let mut due = table(monitors, period_ms);
            assert_eq!(due.next(), Mono(next), "{monitors} of {period_ms} ms");
            assert_eq!(due.take(Mono(next)), names);
        }
    }

    #[test]
    fn a_shorter_period_counts_at_once_and_a_longer_one_when_all_are_looked_at() {
        let mut due = table(100, 1_000);
        due.at_most(200);
        assert_eq!(due.next(), Mono(1_005));
        due.measure(100, false, std::iter::once(1_000));
        assert_eq!(due.next(), Mono(1_005), "nobody came or went");
        due.measure(100, true, std::iter::once(1_000));
        assert_eq!(due.next(), Mono(1_025));
    }
}
