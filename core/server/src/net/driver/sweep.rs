//! When a driver sweeps: lets go of memory that its thread allocated and others freed, which no other thread can. That takes
//! about as long as the freeing did, so either it is over in a moment, or nobody came for as long as it will take. Decides
//! only: it has no clock, and frees nothing.

/// What a megabyte takes as far as we know, µs: that of values of 4 KB. Of small ones it is up to ten times as much.
const USUAL_US: u64 = 26;
/// A sweep that is over by then, µs, is for any time: replies leave before it.
const BRIEF_US: u64 = 1_000;
/// A driver that had nothing to do for so long, µs, has no clients in a hurry, whatever it takes.
const QUIET_US: u64 = 100_000;

/// What is to be swept, and when.
#[derive(Default)]
pub(super) struct Sweep {
    /// Bytes that others freed since the last.
    freed: u64,
    /// What a megabyte took the last time, µs, if it was more than usual.
    pace_us: u64,
    /// Somebody was served last, µs.
    busy_us: u64,
}

impl Sweep {
    /// Others freed so many bytes more.
    pub(super) fn add(&mut self, bytes: u64, now_us: u64) {
        if self.freed == 0 {
            self.busy_us = now_us;
        }
        self.freed += bytes;
    }

    /// How long it will take, µs.
    fn takes_us(&self) -> u64 {
        ((self.freed >> 10) * self.pace_us.max(USUAL_US)) >> 10
    }

    /// When it is time if nobody comes until then; None: there is nothing to sweep.
    #[inline]
    pub(super) fn next_us(&self) -> Option<u64> {
        (self.freed > 0).then(|| self.busy_us + self.takes_us().min(QUIET_US))
    }

    /// The driver is about to look for something to do again, and served somebody before or nobody: true if it is time.
    #[inline]
    pub(super) fn is_time(&mut self, now_us: u64, served: bool) -> bool {
        if self.freed == 0 {
            return false;
        }
        if served {
            self.busy_us = now_us;
        }
        self.takes_us() <= BRIEF_US || self.next_us().is_some_and(|next| next <= now_us)
    }

    /// It is done, and took so long.
    pub(super) fn done(&mut self, took_us: u64) {
        self.pace_us = took_us / (self.freed >> 20).max(1);
        self.freed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{BRIEF_US, QUIET_US, Sweep, USUAL_US};

    const MB: u64 = 1 << 20;

    fn freed(megabytes: u64) -> Sweep {
        let mut sweep = Sweep::default();
        sweep.add(megabytes * MB, 1_000);
        sweep
    }

    #[test]
    fn little_is_swept_at_once_and_once() {
        let mut sweep = Sweep::default();
        assert!(!sweep.is_time(1, false) && sweep.next_us().is_none(), "nothing was freed");
        sweep.add(BRIEF_US / USUAL_US * MB, 1);
        assert!(sweep.is_time(2, true), "between two turns");
        sweep.done(900);
        assert!(!sweep.is_time(3, false) && sweep.next_us().is_none());
    }

    /// A gigabyte: nobody waits for all of it who came a moment after the last turn.
    #[test]
    fn much_is_swept_when_nobody_came_for_as_long_as_it_takes() {
        let mut sweep = freed(1024);
        let takes_us = 1024 * USUAL_US;
        assert_eq!(sweep.next_us(), Some(1_000 + takes_us));
        assert!(!sweep.is_time(takes_us, true));
        assert_eq!(sweep.next_us(), Some(2 * takes_us), "counted from the last turn");
        assert!(!sweep.is_time(2 * takes_us - 1, false) && sweep.is_time(2 * takes_us, false));
    }

    #[test]
    fn an_idle_driver_waits_no_longer_than_a_while() {
        assert_eq!(freed(1 << 20).next_us(), Some(1_000 + QUIET_US));
    }

    #[test]
    fn who_was_slow_is_expected_to_be_slow() {
        let mut sweep = freed(32);
        assert!(sweep.is_time(1_001, true));
        sweep.done(32 * 300);
        sweep.add(32 * MB, 2_000);
        assert!(!sweep.is_time(2_001, true));
        assert_eq!(sweep.next_us(), Some(2_001 + 32 * 300));
        sweep.done(100);
        sweep.add(32 * MB, 20_000);
        assert!(sweep.is_time(20_001, true), "until it was quick again");
    }
}
