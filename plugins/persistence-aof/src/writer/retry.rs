//! When a rewrite that failed is tried again: later each time, up to a limit. Pure: owns the wait.

use std::time::Duration;

/// The wait after a rewrite failed; it doubles.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait while the file is written and nothing but its size asks for a rewrite.
const LONGEST: Duration = Duration::from_secs(3600);
/// The longest while writes are refused or no restart would load what is written, for a rewrite is what ends that. Not
/// less, for each attempt may fill what is left of the disk.
const LONGEST_IN_TROUBLE: Duration = Duration::from_secs(30);

/// The wait before the next attempt.
#[derive(Debug)]
pub(super) struct Retry(Duration);

impl Default for Retry {
    fn default() -> Retry {
        Retry(FIRST)
    }
}

impl Retry {
    /// One has failed; how long to wait. `trouble`: a rewrite is all that can end it.
    pub(super) fn failed(&mut self, trouble: bool) -> Duration {
        let longest = if trouble { LONGEST_IN_TROUBLE } else { LONGEST };
        let wait = self.0.min(longest);
        self.0 = (wait * 2).min(longest);
        wait
    }
}

/// When everything is written anew because a file couldn't be put on the disk: at once, and later each time if what was made
/// for that can't be either.
#[derive(Debug, Default)]
pub(super) struct Anew(Option<Retry>);

impl Anew {
    /// A file's sync has failed; how long to wait. `proven`: others of it had worked.
    pub(super) fn sync_failed(&mut self, proven: bool) -> Duration {
        match &mut self.0 {
            Some(retry) if !proven => retry.failed(true),
            first => {
                *first = Some(Retry::default());
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_takes_no_sync_is_not_asked_for_whole_sets_one_behind_the_other() {
        let mut anew = Anew::default();
        let mut waits = |proven: bool| anew.sync_failed(proven).as_secs();
        assert_eq!([false; 8].map(&mut waits), [0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!([true, true, false, false].map(&mut waits), [0, 0, 1, 2], "one that worked for a while");
    }

    fn waits(retry: &mut Retry, trouble: bool, times: usize) -> Vec<u64> {
        (0..times).map(|_| retry.failed(trouble).as_secs()).collect()
    }

    #[test]
    fn in_trouble_it_is_tried_every_half_minute_at_least() {
        let mut retry = Retry::default();
        assert_eq!(waits(&mut retry, true, 7), [1, 2, 4, 8, 16, 30, 30]);
        let mut retry = Retry::default();
        assert_eq!(waits(&mut retry, false, 9), [1, 2, 4, 8, 16, 32, 64, 128, 256]);
        assert_eq!(waits(&mut retry, true, 2), [30, 30], "trouble that comes later doesn't wait for what was doubled");
        assert_eq!(waits(&mut Retry(LONGEST), false, 2), [3600, 3600]);
    }
}
