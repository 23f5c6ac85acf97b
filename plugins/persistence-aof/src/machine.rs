//! When what is written must reach the disk, what that confirms, and what an error means. Pure: events and the time in,
//! actions out; the shell in `writer` carries them out, one at a time. Owns the sizes and places that are written and synced.

use keystead_plugin::Place;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// `appendfsync`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fsync {
    /// Each write is on the disk before its reply leaves.
    #[serde(rename = "always")]
    Always,
    /// Once a second.
    #[default]
    #[serde(rename = "everysec")]
    Everysec,
    /// When the system likes.
    #[serde(rename = "no")]
    No,
}

/// Redis writes on after an error once a second.
pub const RETRY: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(1);
/// A sync that takes longer is counted as a delay of writes (`aof_delayed_fsync`).
const LONG_SYNC: Duration = Duration::from_secs(2);
/// Between two syncs the disk is given this much at a time: enough to write in one go, and little to be left for the sync.
const AHEAD: u64 = 4 << 20;
/// What the kernel writes at once; the last piece of a file is still written to.
const PAGE: u64 = 4096;

/// What the shell does next, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put the file on the disk.
    Sync,
    /// Cut the file to this size: what stands behind it is no whole batch.
    Truncate(u64),
    /// Replies up to this position may leave.
    Confirm(u64),
    /// The stream is on the disk up to this offset.
    Durable(u64),
    /// Refuse writes with this error of the system.
    Refuse(String),
    /// Replies wait for nothing, until the next `Confirm`: what the file lacks is in memory, and writes are refused.
    Free,
    /// Let writes run again.
    Accept,
    /// The file can't be trusted any more: write everything into new ones.
    Rewrite,
}

/// The file that is written now.
#[derive(Clone, Debug)]
pub struct Machine {
    policy: Fsync,
    /// A rewrite runs, and `no-appendfsync-on-rewrite` spares the disk meanwhile.
    spared: bool,
    /// Replies may wait for this file: it is part of a set that a restart would load.
    trusted: bool,
    /// The file before it isn't on the disk yet: it is synced first, and nothing behind it counts as synced.
    follows: bool,
    size: u64,
    written: Option<Place>,
    synced: Option<Place>,
    synced_size: u64,
    /// Up to where the disk was told to begin.
    begun: u64,
    sync_began: Option<Duration>,
    /// What the file had then.
    syncing: (u64, Option<Place>),
    last_sync: Duration,
    failed: Option<String>,
    /// A write worked again, and under `always` isn't on the disk yet.
    accepts: bool,
    /// A sync failed: the system may have dropped what it couldn't write, whatever later syncs say.
    tainted: bool,
    /// A sync has put something of it on the disk.
    proven: bool,
    delayed: u64,
}

impl Machine {
    /// A file of this size, all of it on the disk.
    pub fn new(now: Duration, policy: Fsync, size: u64) -> Machine {
        Machine {
            policy,
            spared: false,
            trusted: false,
            follows: false,
            size,
            written: None,
            synced: None,
            synced_size: size,
            begun: size,
            sync_began: None,
            syncing: (size, None),
            last_sync: now,
            failed: None,
            accepts: false,
            tainted: false,
            proven: false,
            delayed: 0,
        }
    }

    /// CONFIG SET appendfsync.
    pub fn set_policy(&mut self, policy: Fsync) {
        self.policy = policy;
    }

    /// A rewrite began or ended.
    pub fn set_spared(&mut self, spared: bool) {
        self.spared = spared;
    }

    /// The file is part of what a restart loads from now on; `synced` is what was on the disk before it.
    pub fn trust(&mut self, synced: Option<Place>) -> Vec<Action> {
        (self.trusted, self.follows) = (true, false);
        self.synced = self.synced.or(synced);
        self.confirmations()
    }

    /// As above, behind a file that isn't on the disk yet; `written` is what the kernel has of the stream. [`Machine::trust`]
    /// or [`Machine::distrust`] says what came of it.
    pub fn follow(&mut self, written: Option<Place>) -> Vec<Action> {
        (self.trusted, self.follows) = (true, true);
        self.written = self.written.or(written);
        self.confirmations()
    }

    /// The file before can't be put on the disk: this one can't make up for it.
    pub fn distrust(&mut self) {
        (self.trusted, self.follows) = (false, false);
    }

    /// The file before isn't on the disk yet.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// A batch stands in the file as a whole.
    pub fn appended(&mut self, now: Duration, bytes: u64, place: Place) -> Vec<Action> {
        self.size += bytes;
        self.written = Some(place);
        self.accepts |= !self.tainted && self.failed.take().is_some();
        if self.policy == Fsync::Always {
            return self.due(now);
        }
        self.held().into_iter().chain(self.accept()).collect()
    }

    /// Behind what is confirmed: replies wait for the file again before anybody may write.
    fn accept(&mut self) -> Option<Action> {
        std::mem::take(&mut self.accepts).then_some(Action::Accept)
    }

    /// The stream went on without records: what is on the disk is true of that place too.
    pub fn moved(&mut self, place: Place) -> Vec<Action> {
        if self.is_dirty() || self.sync_began.is_some() {
            self.written = Some(place);
            return self.held().filter(|_| self.policy != Fsync::Always).into_iter().collect();
        }
        (self.written, self.synced) = (Some(place), Some(place));
        self.confirmations()
    }

    /// A batch doesn't stand in the file, or not as a whole: it must be written again, after [`RETRY`].
    pub fn append_failed(&mut self, why: &str) -> Vec<Action> {
        self.fails(why);
        let free = (self.policy != Fsync::Always).then_some(Action::Free);
        [Action::Truncate(self.size), Action::Refuse(why.to_owned())].into_iter().chain(free).collect()
    }

    fn fails(&mut self, why: &str) {
        self.failed = Some(why.to_owned());
        self.accepts = false;
    }

    /// A sync would put something on the disk that isn't there. Behind one that failed none confirms anything: only a new file
    /// helps, and a disk in trouble isn't to be asked all the time.
    fn gains_by_sync(&self) -> bool {
        self.is_dirty() && self.sync_began.is_none() && !self.tainted && !self.follows
    }

    /// What the clock asks for.
    pub fn due(&mut self, now: Duration) -> Vec<Action> {
        let wanted = match self.policy {
            Fsync::Always => true,
            Fsync::Everysec => !self.spared && now.saturating_sub(self.last_sync) >= EVERY,
            Fsync::No => false,
        };
        if wanted && self.gains_by_sync() {
            return self.sync(now);
        }
        Vec::new()
    }

    /// The bytes that the disk should begin with, without anybody waiting: a sync that finds a whole second's writes takes so
    /// long that replies feel it.
    pub fn ahead(&mut self) -> Option<Range<u64>> {
        let (from, to) = (self.begun.max(self.synced_size) / PAGE * PAGE, self.size / PAGE * PAGE);
        let free = !self.spared && !self.follows && self.sync_began.is_none();
        let wanted = self.policy == Fsync::Everysec && free;
        (wanted && to.saturating_sub(from) >= AHEAD).then(|| {
            self.begun = to;
            from..to
        })
    }

    /// The file must be on the disk, whatever the policy says: it is closed, or the server ends.
    pub fn sync(&mut self, now: Duration) -> Vec<Action> {
        self.sync_began = Some(now);
        self.syncing = (self.size, self.written);
        vec![Action::Sync]
    }

    /// When the clock asks next. While a sync runs, its end comes first: the time of the next is counted from there.
    pub fn wake_at(&self) -> Option<Duration> {
        (self.policy == Fsync::Everysec && self.gains_by_sync() && !self.spared).then(|| self.last_sync + EVERY)
    }

    /// Everything that was written when the sync began is on the disk.
    pub fn synced(&mut self, now: Duration) -> Vec<Action> {
        let began = self.sync_began.take().unwrap_or(now);
        self.delayed += u64::from(now.saturating_sub(began) >= LONG_SYNC);
        self.last_sync = began;
        if self.tainted {
            return Vec::new();
        }
        let (size, mut written) = self.syncing;
        if size == self.size {
            written = self.written;
        }
        self.proven |= size > self.synced_size;
        self.synced_size = size;
        self.synced = written.or(self.synced);
        let accept = self.accept();
        self.confirmations().into_iter().chain(accept).collect()
    }

    /// The disk doesn't take it.
    pub fn sync_failed(&mut self, now: Duration, why: &str) -> Vec<Action> {
        self.sync_began = None;
        self.last_sync = now;
        let first = !std::mem::replace(&mut self.tainted, true);
        self.fails(why);
        let free = (self.policy != Fsync::Always).then_some(Action::Free);
        let rewrite = first.then_some(Action::Rewrite);
        [Action::Refuse(why.to_owned())].into_iter().chain(free).chain(rewrite).collect()
    }

    /// What replies and WAITAOF may rely on.
    fn confirmations(&self) -> Vec<Action> {
        let counts = self.trusted && !self.tainted && !self.follows;
        let durable = self.synced.filter(|_| counts).map(|place| Action::Durable(place.offset));
        self.held().into_iter().chain(durable).collect()
    }

    /// Up to where replies may leave: what is on the disk under `always`, else what the kernel has, which outlives the process.
    fn held(&self) -> Option<Action> {
        let place = match self.policy {
            Fsync::Always => self.synced.filter(|_| !self.tainted && !self.follows),
            Fsync::Everysec | Fsync::No => self.written.or(self.synced).filter(|_| self.failed.is_none()),
        };
        place.filter(|_| self.trusted).map(|place| Action::Confirm(place.position))
    }

    /// Up to where replies may leave now; nothing is said of that before a restart would load the file.
    pub fn confirmed(&self) -> Option<u64> {
        self.held().and_then(|action| if let Action::Confirm(position) = action { Some(position) } else { None })
    }

    /// What replies and WAITAOF may rely on now.
    pub fn shown(&self) -> Vec<Action> {
        self.confirmations()
    }

    /// True while a write is all that replies wait for, and works.
    pub fn is_written_through(&self) -> bool {
        let syncs = self.sync_began.is_some() || self.follows;
        self.policy != Fsync::Always && self.trusted && self.failed.is_none() && !syncs
    }

    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the kernel has.
    pub fn written_place(&self) -> Option<Place> {
        self.written.or(self.synced)
    }

    /// What is on the disk.
    pub fn synced_place(&self) -> Option<Place> {
        self.synced
    }

    /// True if something isn't on the disk yet.
    pub fn is_dirty(&self) -> bool {
        self.size > self.synced_size
    }

    /// A sync has worked here: an error behind it is news.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// The error that stops writes.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Syncs that took so long that writes had to wait, since this was asked last.
    pub fn take_delayed(&mut self) -> u64 {
        std::mem::take(&mut self.delayed)
    }
}

/// `auto-aof-rewrite-percentage` and `auto-aof-rewrite-min-size`: has the set grown enough to be rewritten? `base` is its
/// size after the last rewrite, or that of the base that was loaded.
pub fn wants_rewrite(percentage: u64, min_size: u64, base: u64, size: u64) -> bool {
    let growth = u128::from(size.saturating_sub(base)) * 100 / u128::from(base.max(1));
    percentage > 0 && size > min_size && growth >= u128::from(percentage)
}

#[cfg(test)]
mod tests;
