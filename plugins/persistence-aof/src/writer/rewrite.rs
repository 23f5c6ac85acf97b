//! A rewrite, without fork: a cut of the keys becomes the base while what is written goes on in another file, from the same
//! write on. Owns the order in which files and manifest change, so that a crash anywhere leaves a set that is whole.

use super::{Log, Order, Retry, Writer, unusable};
use crate::base;
use crate::failpoint;
use crate::files::Last;
use crate::machine::Fsync;
use crate::manifest::{Manifest, Part};
use ::log::{info, warn};
use futures::channel::mpsc;
use keystead_plugin::{Cursor, CursorClass, CursorEnd, Error, RDB_PIECES, Result, Task};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What is written goes here until the first base is there.
const TEMPORARY_INCR: &str = "temp-appendonly.aof.incr";

/// A rewrite that runs.
pub(super) struct Rewrite {
    /// Tells its base from one that was given up.
    number: u64,
    task: Task,
    began: Duration,
    /// Reads on from the cut, once everything before it is in the old file.
    next: Option<Cursor>,
    /// The result, if it came before that.
    written: Option<Result<u64, String>>,
    /// The file that goes on couldn't be made: the base would replace too much.
    spoiled: Option<String>,
    /// What the file that goes on is called for now, if a restart doesn't know it yet.
    temporary: bool,
    /// The base is an RDB file.
    rdb: bool,
}

impl Rewrite {
    /// What is written goes on in another file soon.
    pub(super) fn rotates(&self) -> bool {
        self.next.is_some()
    }

    /// There will be no base; the next attempt waits until the old file has all that is before the cut.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.written, Some(Err(_)))
    }
}

impl Writer {
    /// Begins a rewrite; if it can't now, it is tried again.
    pub(super) async fn try_rewrite(&mut self) {
        self.wanted = None;
        if let Err(error) = self.begin_rewrite(self.plugin.orders()).await {
            self.failed(error.text());
        }
    }

    pub(super) async fn begin_rewrite(&mut self, orders: mpsc::UnboundedSender<Order>) -> Result<()> {
        let host = self.plugin.host;
        self.follow_dir().await?;
        self.plugin.hold_folder(&self.folder)?;
        self.folder.make()?;
        if self.manifest == Manifest::default() {
            // Of an earlier life: its names aren't free until its set is replaced.
            self.manifest = self.folder.read_manifest().map_err(Error::new)?.unwrap_or_default();
        }
        let versions = host.rdb_versions();
        // A file that goes on by itself takes whatever the data needs: a reader that doesn't know it can't do without either.
        let version = versions.configured.max(versions.needed);
        let rdb = self.plugin.config().rdb_preamble.then_some(version);
        // An RDB file takes records as they come; commands are made of whole ones.
        let pieces = if rdb.is_some() { RDB_PIECES } else { 0 };
        let wanted = u32::from(version) | pieces;
        let (snapshot, cursor) = self.off_disk(host.snapshot_and_follow(wanted, CursorClass::Persistence)).await?;
        failpoint::pass("rewrite-cut")?;
        let enabled = self.plugin.config().enabled;
        let mut next = None;
        match (&mut self.log, cursor.place()) {
            (Some(log), Some(place)) if self.listed => {
                log.cursor.stop_at(place.position);
                next = Some(cursor);
            }
            _ if enabled => {
                let file = self.folder.create(TEMPORARY_INCR).map_err(unusable(TEMPORARY_INCR))?;
                self.log = Some(Log::new(&self.plugin, cursor, file, 0));
                self.set_listed(false);
            }
            _ => drop(cursor),
        }
        let temporary = next.is_none() && enabled;
        // One that was given up may have made its file behind that.
        self.folder.discard(&base::temporary_name(self.rewrites));
        self.rewrites += 1;
        let number = self.rewrites;
        let (plugin, path) = (self.plugin.clone(), self.folder.at(&base::temporary_name(number)));
        let task = host.spawn(async move {
            let written = base::write(&plugin, path, snapshot, rdb).await.map_err(|error| error.text().to_owned());
            let _ = orders.unbounded_send(Order::BaseWritten(number, written));
        });
        let began = host.now();
        *self.plugin.shown.rewrite_began.write() = began;
        self.rewrite =
            Some(Rewrite { number, task, began, next, written: None, spoiled: None, temporary, rdb: rdb.is_some() });
        self.spare();
        info!("Background append only file rewriting started");
        Ok(())
    }

    /// Where `dir` is another folder than before, the files go there. The new one takes the set over as it is, and what is
    /// written goes on in the old file, until the rewrite has files of its own there; a start with either `dir` finds all of
    /// it, for the place is noted before anything is written that the old folder doesn't have.
    async fn follow_dir(&mut self) -> Result<()> {
        let plugin = self.plugin.clone();
        let folder = self.off_disk(plugin.folder_now()).await?;
        if folder.is_same(&self.folder) {
            return Ok(());
        }
        self.plugin.hold_folder(&folder)?;
        let (from, to) = (self.folder.path().display().to_string(), folder.path().display().to_string());
        info!("The append-only files go from {from} to {to}, because 'dir' was changed");
        self.manifest = if self.listed {
            let taken = folder.take_over(&self.folder, &self.manifest, Last::Shared);
            let taken = taken.map_err(|error| Error::new(format!("{to} can't have what is in {from}: {error}")))?;
            failpoint::pass("set-taken")?;
            self.plugin.note_place(Some(&folder)).await;
            taken
        } else {
            // No set of ours is there: its first base is on the way.
            Manifest::default()
        };
        self.folder = folder;
        failpoint::pass("place-noted")?;
        Ok(())
    }

    /// The cursor gives no more: a rewrite's turn to go on in another file, or the keys were replaced.
    pub(super) async fn ended(&mut self, end: &CursorEnd) {
        if let CursorEnd::Closed(_) = end
            && let Some(next) = self.rewrite.as_mut().and_then(|rewrite| rewrite.next.take())
        {
            return self.rotate(next).await;
        }
        self.end_sync().await;
        info!("The append-only file begins anew: {end}");
        self.given_up = self.refused_for().map(str::to_owned);
        self.distrusted = None;
        self.drop_rewrite();
        self.log = None;
        self.set_listed(false);
        // Nothing that a restart would load can confirm anything until the next base is there.
        self.plugin.host.confirm(None);
        self.plugin.host.set_durable(None);
        self.wanted = Some(Duration::ZERO);
    }

    /// Everything before the cut is written: what follows goes into a new file, if there can be one.
    async fn rotate(&mut self, cursor: Cursor) {
        self.end_sync().await;
        if self.log.is_none() {
            return;
        }
        if self.rewrite.as_ref().is_some_and(Rewrite::has_failed) {
            // There will be no base: what is written goes on where it is.
            if let Some(log) = &mut self.log {
                log.follow(cursor);
            }
            self.drop_rewrite();
            // Somebody may have asked for another one meanwhile.
            if self.wanted.is_none() {
                self.try_later();
            }
            return;
        }
        if self.plugin.config().fsync == Fsync::Always
            && let Some(log) = &mut self.log
        {
            let sync = log.machine.sync(self.plugin.host.now());
            self.act(sync).await;
        }
        let part = self.manifest.next_incr(&self.folder.file);
        let made = self.make_incr(&part);
        let Some(log) = &mut self.log else { return };
        let mut before = None;
        match made {
            Ok(file) => {
                info!("Creating AOF incr file {} on background rewrite", part.name);
                self.distrusted = self.distrusted.take().or_else(|| log.machine.failed().map(str::to_owned));
                self.settled += log.machine.size();
                let old = std::mem::replace(log, Log::new(&self.plugin, cursor, file, 0));
                // The old file is part of the set: what it can't hold, this one can't make up for.
                let actions = match &self.distrusted {
                    Some(_) => Vec::new(),
                    None if old.machine.is_dirty() => log.machine.follow(old.machine.written_place()),
                    None => log.machine.trust(old.machine.synced_place()),
                };
                self.act(actions).await;
                before = Some(old);
            }
            Err(error) => {
                log.follow(cursor);
                if let Some(rewrite) = &mut self.rewrite {
                    rewrite.spoiled = Some(format!("the next AOF file {}: {error}", part.name));
                }
            }
        }
        self.spare();
        if let Some(written) = self.rewrite.as_mut().and_then(|rewrite| rewrite.written.take()) {
            self.base_written(written).await;
        }
        if let Some(before) = before {
            self.close(before);
        }
    }

    fn make_incr(&mut self, part: &Part) -> std::io::Result<std::fs::File> {
        let file = self.folder.create(&part.name)?;
        failpoint::pass("incr-created")?;
        let mut manifest = self.manifest.clone();
        manifest.push_incr(part.clone());
        self.replace_manifest(manifest)?;
        failpoint::pass("incr-in-manifest")?;
        Ok(file)
    }

    /// The files change as a whole. After an error the old set holds, on the disk too: the new manifest may have taken its
    /// place before something failed.
    fn replace_manifest(&mut self, new: Manifest) -> std::io::Result<()> {
        let Err(error) = self.folder.write_manifest(&new) else {
            self.manifest = new;
            return Ok(());
        };
        self.manifest.skip_names_of(&new);
        // Where the new one never got its name there is nothing to restore, and on a full disk no way to.
        let there = self.folder.read_manifest().map(Option::unwrap_or_default);
        let untouched = there.is_ok_and(|there| there.text() == self.manifest.text());
        let restored = if untouched { Ok(()) } else { self.folder.restore_manifest(&self.manifest) };
        match restored {
            Ok(()) => {
                let ours = |part: &Part| self.manifest.parts().any(|known| known == part);
                new.parts().filter(|part| !ours(part)).for_each(|part| self.folder.discard(&part.name));
            }
            Err(again) => warn!("The AOF manifest may name files of a rewrite that failed: {again}"),
        }
        Err(error)
    }

    /// A task has ended. It may be that of a rewrite that was given up as its base was just done.
    pub(super) async fn base_told(&mut self, number: u64, result: Result<u64, String>) {
        if self.rewrite.as_ref().is_some_and(|rewrite| rewrite.number == number) {
            self.base_written(result).await;
        }
    }

    /// The base is on the disk under its temporary name, or isn't.
    async fn base_written(&mut self, result: Result<u64, String>) {
        let Some(rewrite) = &mut self.rewrite else { return };
        if rewrite.next.is_some() {
            // The old file may take long, on a full disk say: a failure is told before.
            if let Err(why) = &result {
                let why = why.clone();
                rewrite.written = Some(Err(why.clone()));
                return self.tell_failure(&why);
            }
            rewrite.written = Some(result);
            return;
        }
        let spoiled = rewrite.spoiled.take();
        let done = match (result, spoiled) {
            (Ok(_), Some(why)) | (Err(why), _) => Err(why),
            (Ok(size), None) => self.install(size).await.map_err(|error| error.text().to_owned()),
        };
        match done {
            Ok(()) => self.succeeded().await,
            Err(why) => {
                self.drop_rewrite();
                self.failed(&why);
            }
        }
    }

    /// The base replaces all that was before its cut.
    async fn install(&mut self, size: u64) -> Result<()> {
        let Some(rewrite) = &self.rewrite else { return Ok(()) };
        let (number, temporary, rdb) = (rewrite.number, rewrite.temporary, rewrite.rdb);
        if temporary && let Some(log) = &mut self.log {
            let sync = log.machine.sync(self.plugin.host.now());
            self.act(sync).await;
        }
        let base = self.manifest.next_base(&self.folder.file, rdb);
        self.folder.rename(&base::temporary_name(number), &base.name)?;
        failpoint::pass("base-renamed")?;
        let mut manifest = self.manifest.clone();
        if temporary {
            let part = manifest.next_incr(&self.folder.file);
            self.folder.rename(TEMPORARY_INCR, &part.name)?;
            manifest.push_incr(part);
        }
        manifest.rewritten(base, usize::from(self.log.is_some()));
        self.replace_manifest(manifest)?;
        self.settled = size;
        self.set_listed(self.log.is_some());
        Ok(())
    }

    /// The new set is what a restart loads.
    async fn succeeded(&mut self) {
        let host = self.plugin.host;
        let took = self.rewrite.take().map_or(Duration::ZERO, |rewrite| host.now().saturating_sub(rewrite.began));
        self.retry = Retry::default();
        self.base_size = self.size();
        self.spare();
        let plugin = self.plugin.clone();
        self.off_disk(plugin.settle()).await;
        let shown = &self.plugin.shown;
        shown.last_rewrite_s.store(took.as_secs() as i64, Ordering::Relaxed);
        shown.last_rewrite_ok.store(true, Ordering::Relaxed);
        shown.rewrites.fetch_add(1, Ordering::Relaxed);
        shown.failures.store(0, Ordering::Relaxed);
        info!("Background AOF rewrite finished successfully: {} bytes in {} ms", self.settled, took.as_millis());
        if self.listed {
            self.plugin.note_place(Some(&self.folder)).await;
        }
        self.plugin.leave_others(Some(&self.folder));
        if let Some(log) = &mut self.log {
            // Nothing may have been written since: then the base holds all there is, and the first write must wait.
            let actions = log.machine.trust(log.began);
            self.act(actions).await;
            self.begins_anew();
        }
        self.forget_history();
    }

    fn tell_failure(&self, why: &str) {
        warn!("Background AOF rewrite failed: {why}");
        let shown = &self.plugin.shown;
        shown.last_rewrite_ok.store(false, Ordering::Relaxed);
        shown.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// It is tried again.
    fn failed(&mut self, why: &str) {
        self.tell_failure(why);
        self.lacks_base(why);
        self.try_later();
    }

    /// Gives up the rewrite that runs. What is written goes on where it is.
    pub(super) fn drop_rewrite(&mut self) {
        let Some(rewrite) = self.rewrite.take() else { return };
        rewrite.task.cancel();
        self.folder.discard(&base::temporary_name(rewrite.number));
        if rewrite.temporary {
            self.log = None;
            self.folder.discard(TEMPORARY_INCR);
        }
        self.spare();
    }

    /// `no-appendfsync-on-rewrite`.
    pub(super) fn spare(&mut self) {
        let spared = self.rewrite.is_some() && self.plugin.config().no_fsync_on_rewrite;
        if let Some(log) = &mut self.log {
            log.machine.set_spared(spared);
        }
    }
}
