//! What this sentinel knows of its own disk: since when a write of the state is on its way, and whether the last one failed.
//! Until it is there, no vote leaves and no failover begins; operators must not have to guess that. Writes nothing itself.

use crate::types::{Epoch, Mono};
use std::collections::VecDeque;

/// A write that takes longer is said: votes and commands wait for it, and others' patience with a candidate is of this order.
const SLOW_MS: u64 = 1_000;

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// One at a time; that the next one begins may be heard before that the last one ended.
    writing: VecDeque<Writing>,
    /// The words of the last write, if it failed.
    failed: Option<String>,
    /// The epoch of the last state that is there, as far as this run wrote it.
    kept: Epoch,
    /// Writes that have begun, and the number of the last one that succeeded.
    begun: u64,
    succeeded: u64,
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    since: Mono,
    epoch: Epoch,
    number: u64,
    told: bool,
}

impl Disk {
    /// A write of the state of this epoch begins.
    pub fn began(&mut self, epoch: Epoch, now: Mono) {
        self.begun += 1;
        self.writing.push_back(Writing { since: now, epoch, number: self.begun, told: false });
    }

    /// It ended. Gives what is to be said, if it was slow; who failed is said by whoever wrote.
    pub fn ended(&mut self, error: Option<String>, now: Mono) -> Option<String> {
        let writing = self.writing.pop_front();
        self.failed = error;
        let writing = writing?;
        if self.failed.is_none() {
            (self.kept, self.succeeded) = (writing.epoch, writing.number);
        }
        let slow = writing.told && self.failed.is_none();
        slow.then(|| format!("The sentinel's state is on the disk, after {} ms", now.since(writing.since)))
    }

    /// A write of this epoch has failed, or of a later one that would have held it.
    #[must_use]
    pub fn lost(&self, epoch: Epoch, written: Epoch) -> bool {
        self.failed.is_some() && self.kept < epoch && epoch <= written
    }

    /// A state of this epoch, or of a later one, is there.
    #[must_use]
    pub fn has(&self, epoch: Epoch) -> bool {
        self.kept >= epoch
    }

    /// How many writes have begun: what changes now is in the next one.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// A write has succeeded that began when so many had begun before it.
    #[must_use]
    pub const fn wrote_behind(&self, begun: u64) -> bool {
        self.succeeded > begun
    }

    /// The epoch that is on its way.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.writing.front().map_or(Epoch(0), |writing| writing.epoch)
    }

    /// When a write on its way is to be said slow.
    #[must_use]
    pub fn deadline(&self) -> Mono {
        self.writing.front().filter(|writing| !writing.told).map_or(Mono::NEVER, |writing| writing.since.plus(SLOW_MS))
    }

    /// That it is slow, once.
    pub fn overdue(&mut self, now: Mono) -> Option<String> {
        if now < self.deadline() {
            return None;
        }
        self.writing.front_mut()?.told = true;
        Some(format!("{}: votes and changes wait for it", self.fault(now)?))
    }

    /// Why this sentinel can neither vote nor lead at the moment, if so.
    #[must_use]
    pub fn fault(&self, now: Mono) -> Option<String> {
        let waits = self.writing.front().map_or(0, |writing| now.since(writing.since));
        match &self.failed {
            _ if waits >= SLOW_MS => Some(format!("its state has been on the way to the disk for {waits} ms")),
            Some(error) => Some(format!("its state can't be written to disk: {error}")),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_write_is_said_once_and_when_it_is_there() {
        let mut disk = Disk::default();
        assert_eq!((disk.deadline(), disk.fault(Mono(9_000))), (Mono::NEVER, None));
        disk.began(Epoch(1), Mono(100));
        assert_eq!((disk.overdue(Mono(1_099)), disk.fault(Mono(1_099))), (None, None));
        assert!(disk.overdue(Mono(1_100)).is_some_and(|line| line.contains("for 1000 ms: votes")));
        assert_eq!((disk.overdue(Mono(5_000)), disk.deadline()), (None, Mono::NEVER));
        assert!(disk.fault(Mono(5_100)).is_some_and(|fault| fault.contains("5000 ms")));
        assert!(disk.ended(None, Mono(6_100)).is_some_and(|line| line.contains("after 6000 ms")));
        assert_eq!(disk.fault(Mono(6_100)), None);
    }

    #[test]
    fn what_changed_is_there_with_a_write_that_began_behind_it() {
        let mut disk = Disk::default();
        disk.began(Epoch(4), Mono(0));
        let begun = disk.begun();
        disk.ended(None, Mono(1));
        assert_eq!((disk.wrote_behind(begun), disk.has(Epoch(4)), disk.has(Epoch(5))), (false, true, false));
        disk.began(Epoch(4), Mono(2));
        disk.ended(Some("no space left".into()), Mono(3));
        assert!(!disk.wrote_behind(begun));
        disk.began(Epoch(4), Mono(4));
        disk.ended(None, Mono(5));
        assert!(disk.wrote_behind(begun));
    }

    #[test]
    fn an_epoch_is_lost_when_no_write_held_it() {
        let mut disk = Disk::default();
        disk.began(Epoch(4), Mono(0));
        assert_eq!(disk.ended(None, Mono(1)), None);
        disk.began(Epoch(5), Mono(2));
        disk.began(Epoch(6), Mono(2));
        assert_eq!(disk.epoch(), Epoch(5), "the older one");
        assert_eq!(disk.ended(Some("no space left".into()), Mono(3)), None);
        let lost = [4, 5, 6].map(|epoch| disk.lost(Epoch(epoch), Epoch(5)));
        assert_eq!(lost, [false, true, false]);
        assert!(disk.fault(Mono(3)).is_some_and(|fault| fault.contains("no space left")));
    }
}
