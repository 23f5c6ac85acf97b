//! How far a long piece of work is, as lines for the log: one every few seconds, none of its end, none at all of what is done
//! soon. Pure: the time is an argument.

use std::time::Duration;

/// The time between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// Work that runs, of a known size or not.
#[derive(Clone, Debug)]
pub struct Progress {
    what: &'static str,
    unit: &'static str,
    total: u64,
    began: Duration,
    told: Duration,
}

impl Progress {
    /// So many units of `what`, from now on; 0: nobody knows how many.
    pub fn new(now: Duration, what: &'static str, total: u64, unit: &'static str) -> Progress {
        Progress { what, unit, total, began: now, told: now }
    }

    /// So many are done; a line, if one is due.
    pub fn line(&mut self, now: Duration, done: u64) -> Option<String> {
        let over = if self.total == 0 { done == 0 } else { done >= self.total };
        if now < self.told + EVERY || over {
            return None;
        }
        self.told = now;
        let Progress { what, unit, total, .. } = self;
        if *total == 0 {
            return Some(format!("{what}: {done} {unit} so far"));
        }
        // Good enough for any number.
        let percent = done as f64 * 100.0 / *total as f64;
        let seconds = now.saturating_sub(self.began).as_secs();
        let left = u128::from(seconds) * u128::from(*total - done) / u128::from(done.max(1));
        let left = if done > 0 { format!(", about {left} s left") } else { String::new() };
        Some(format!("{what}: {percent:.0} % of {total} {unit}{left}"))
    }

    /// Logs that line.
    pub fn tell(&mut self, now: Duration, done: u64) {
        if let Some(line) = self.line(now, done) {
            log::info!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_a_long_one_is_told_and_not_its_end() {
        let mut progress = Progress::new(SECOND, "Saving", 400, "keys");
        assert_eq!(progress.line(2 * SECOND, 100), None);
        assert_eq!(progress.line(6 * SECOND, 200).as_deref(), Some("Saving: 50 % of 400 keys, about 5 s left"));
        assert_eq!(progress.line(7 * SECOND, 250), None);
        assert_eq!(progress.line(20 * SECOND, 400), None);
    }

    #[test]
    fn nothing_done_has_no_end_in_sight() {
        let mut progress = Progress::new(SECOND, "Saving", 400, "keys");
        assert_eq!(progress.line(6 * SECOND, 0).as_deref(), Some("Saving: 0 % of 400 keys"));
        let mut empty = Progress::new(SECOND, "Saving", 0, "keys");
        assert_eq!(empty.line(60 * SECOND, 0), None);
        let mut unknown = Progress::new(SECOND, "Loading", 0, "keys");
        assert_eq!(unknown.line(6 * SECOND, 7).as_deref(), Some("Loading: 7 keys so far"));
        let mut huge = Progress::new(SECOND, "Saving", u64::MAX, "bytes");
        assert!(huge.line(60 * SECOND, 1).is_some());
    }
}
