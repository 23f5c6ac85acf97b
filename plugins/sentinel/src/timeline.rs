//! When what happened in a failover: one line in the log that says where the time went.
//! Owns the marks of the current and the last failover; decides nothing.

use crate::types::Mono;
use std::fmt;

/// Steps kept at most.
const MAX_MARKS: usize = 32;

/// The marks of one failover.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    marks: Vec<(Mono, &'static str)>,
}

impl Timeline {
    /// The first mark of a new failover.
    pub fn begin(&mut self, now: Mono, what: &'static str) {
        self.marks.clear();
        self.mark(now, what);
    }

    /// A further mark.
    pub fn mark(&mut self, now: Mono, what: &'static str) {
        if self.marks.len() < MAX_MARKS {
            self.marks.push((now, what));
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = self.marks.first().map(|(at, _)| *at);
        for (n, (at, what)) in self.marks.iter().enumerate() {
            let step = before.map_or(0, |earlier| at.since(earlier));
            write!(f, "{}{what} +{step} ms", if n == 0 { "" } else { ", " })?;
            before = Some(*at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_shown_as_differences() {
        let mut timeline = Timeline::default();
        timeline.begin(Mono(100), "sdown");
        timeline.mark(Mono(180), "odown");
        assert_eq!(timeline.to_string(), "sdown +0 ms, odown +80 ms");
        timeline.begin(Mono(500), "sdown");
        assert_eq!(timeline.to_string(), "sdown +0 ms");
    }
}
