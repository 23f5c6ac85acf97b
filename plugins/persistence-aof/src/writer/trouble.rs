//! What the writer does about a disk that fails or says nothing: since when it is waited for, whose writes are refused and when
//! they may run again, what is given up. Owns these decisions; the words for clients and the log are `outage`'s.

use super::{BEHIND_MOST, Retry, Writer};
use crate::machine::Fsync;
use ::log::warn;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Writer {
    /// What follows waits for the disk, whatever the policy: nothing is written meanwhile. Where nobody relies on a file yet,
    /// nobody minds how long that takes.
    pub(super) fn turn_to_disk(&self) {
        if self.owed {
            self.plugin.disk.begins(self.plugin.host.now());
        }
    }

    /// A disk that was silent has answered: replies wait again, and nothing is refused for it.
    pub(super) fn turn_from_disk(&self) {
        if self.plugin.disk.ends() && self.refused_for().is_none() && !self.direct.has_trouble() {
            self.accept_writes();
        }
    }

    /// Waits for something that isn't the disk's: a turn, which a long script may hold up.
    pub(super) async fn off_disk<T>(&mut self, waited_for: impl Future<Output = T>) -> T {
        self.turn_from_disk();
        let done = waited_for.await;
        self.turn_to_disk();
        done
    }

    /// Why writes are refused, if they are: the file that clients rely on can't be written, or there is none.
    pub(super) fn refused_for(&self) -> Option<&str> {
        let failed = || self.log.as_ref().and_then(|log| log.machine.failed());
        let why = self.given_up.as_deref().or(self.distrusted.as_deref()).or_else(failed);
        why.filter(|_| self.owed)
    }

    /// The file can't be written. One that nobody relies on yet stops nobody: it comes when there is room.
    pub(super) fn refuse_writes(&mut self, why: &str) {
        if !self.owed {
            return;
        }
        if !self.listed {
            // A write that works again is none that a restart would find.
            self.given_up.get_or_insert_with(|| why.to_owned());
        }
        self.plugin.refuse_writes(why);
    }

    /// A write or a sync worked again: that is all it takes, if a restart loads the file.
    pub(super) fn works_again(&self) {
        if self.listed && self.refused_for().is_none() {
            self.accept_writes();
        }
    }

    /// Writes may run again; their replies wait for the file from the first one on.
    fn accept_writes(&self) {
        self.plugin.accept_writes(self.log.as_ref().and_then(|log| log.machine.confirmed()));
    }

    /// What a process that was killed had written may be with the system alone: nothing rests on what was loaded before it
    /// is on the disk. False if it can't be put there; then it is written anew.
    pub(super) fn put_loaded_on_disk(&mut self) -> bool {
        let synced = self.manifest.incr.iter().try_for_each(|part| self.folder.sync(part));
        let synced = synced.and_then(|()| self.folder.sync_names());
        let Err(error) = synced else { return true };
        let why = error.to_string();
        self.distrusted = Some(why.clone());
        self.refuse_writes(&why);
        self.wanted = Some(Duration::ZERO);
        false
    }

    /// There is a new set: what a restart loads is written, or still can't be.
    pub(super) fn begins_anew(&mut self) {
        (self.given_up, self.distrusted) = (None, None);
        match self.refused_for().map(str::to_owned) {
            Some(why) => self.plugin.refuse_writes(&why),
            None => self.accept_writes(),
        }
    }

    /// There is no base, and no restart would find what was promised: a node that says nothing of it looks healthy.
    pub(super) fn lacks_base(&mut self, why: &str) {
        if self.owed && !self.listed && self.plugin.config().enabled {
            let why = self.given_up.get_or_insert_with(|| why.to_owned()).clone();
            self.plugin.refuse_writes(&why);
        }
    }

    /// What is kept in memory for a file that can't be written has its limit.
    pub(super) fn give_up_if_behind(&mut self) {
        let Some(log) = &self.log else { return };
        let lag = log.lag();
        let Some(why) = log.machine.failed().filter(|_| lag > BEHIND_MOST).map(str::to_owned) else { return };
        warn!(
            "The append-only file can't be written ({why}) and lacks {} MB by now: it is left as it is, and begins anew when \
             there is room. A start before that finds what it has",
            lag >> 20
        );
        self.settled += log.machine.size();
        self.forsake(why);
        // What it has may soon be of another history than the stream.
        self.plugin.host.set_durable(None);
        self.plugin.shown.buffered.store(0, Ordering::Relaxed);
        self.retry = Retry::default();
        self.try_later();
    }

    /// The files that are written are given up; they are what a restart loads until the next base is there.
    pub(super) fn forsake(&mut self, why: String) {
        self.drop_rewrite();
        self.log = None;
        self.set_listed(false);
        (self.given_up, self.distrusted) = (Some(why), None);
        // Under `always` what was held stays held: it is in memory alone.
        if self.plugin.config().fsync != Fsync::Always {
            self.plugin.host.confirm(None);
        }
    }

    /// A rewrite that failed is tried again, later each time.
    pub(super) fn try_later(&mut self) {
        let trouble = !self.listed || self.refused_for().is_some();
        self.wanted = Some(self.plugin.host.now() + self.retry.failed(trouble));
        self.spare();
    }
}
