//! Whether the disk answers: since when the writer has been at it, and whether that was told. Owns these; the shell in `outage`
//! looks, from outside of the thread that the disk may hold for ever.

use parking_lot::Mutex;
use std::time::Duration;

/// A disk that takes longer doesn't answer: as long as what counts as a delay in `aof_delayed_fsync`.
pub(crate) const SILENT: Duration = Duration::from_secs(2);

/// What the writer waits for.
#[derive(Debug, Default)]
struct Wait {
    since: Option<Duration>,
    told: bool,
}

/// The disk, as seen by those who can't wait for it.
#[derive(Debug, Default)]
pub(crate) struct Disk(Mutex<Wait>);

impl Disk {
    /// The writer turns to the disk; false if it is there already.
    pub(crate) fn begins(&self, now: Duration) -> bool {
        let mut wait = self.0.lock();
        let first = wait.since.is_none();
        wait.since.get_or_insert(now);
        first
    }

    /// The disk has answered; true if its silence was told.
    pub(crate) fn ends(&self) -> bool {
        std::mem::take(&mut *self.0.lock()).told
    }

    /// Tells for how long the disk hasn't answered, if that is long. What is told is over when [`Disk::ends`] returns.
    pub(crate) fn tell_silence(&self, now: Duration, tell: impl FnOnce(Duration)) {
        let mut wait = self.0.lock();
        let silent = wait.since.map(|since| now.saturating_sub(since)).filter(|silent| *silent >= SILENT);
        if let Some(silent) = silent {
            wait.told = true;
            tell(silent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(disk: &Disk, now: u64) -> Option<Duration> {
        let mut told = None;
        disk.tell_silence(Duration::from_secs(now), |silent| told = Some(silent));
        told
    }

    #[test]
    fn a_silence_is_told_while_it_lasts_and_its_end_is_known() {
        let disk = Disk::default();
        assert_eq!(silence(&disk, 100), None, "nobody waits");
        assert!(disk.begins(Duration::from_secs(100)));
        assert!(!disk.begins(Duration::from_secs(101)), "inside of it");
        assert_eq!(silence(&disk, 101), None);
        assert_eq!(silence(&disk, 102), Some(SILENT));
        assert_eq!(silence(&disk, 160), Some(Duration::from_secs(60)));
        assert!(disk.ends() && !disk.ends());
        disk.begins(Duration::from_secs(200));
        assert_eq!(silence(&disk, 201), None);
        assert!(!disk.ends(), "it was quick");
    }
}
