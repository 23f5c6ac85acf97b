//! The thread that writes: one at a time it takes what the journal has, orders, the end of a rewrite, and the clock. Owns the
//! set of files as it is on the disk.

mod direct;
mod history;
mod log;
mod retry;
mod rewrite;
mod sync;
mod trouble;
mod wait;

use crate::base;
use crate::files::Folder;
use crate::load;
use crate::machine::{Action, Fsync, wants_rewrite};
use crate::manifest::Manifest;
use crate::plugin::Aof;
use ::log::{info, warn};
use direct::Direct;
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use history::Removed;
use keystead_plugin::{CursorClass, Error, Gate, Place, Result};
use log::{Log, News};
use retry::{Anew, Retry};
use rewrite::Rewrite;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use sync::Syncing;
use wait::{PACE, Wake, waits_for_sync};

/// How often sizes are looked at, to rewrite what grew.
const LOOK: Duration = Duration::from_millis(100);
/// A file that can't be written may lag so far: all of it is in memory, and a replica's stream has no pace. Behind that a new
/// base is less to write than what is missing. As much as `auto-aof-rewrite-min-size`: smaller files aren't rewritten either.
const BEHIND_MOST: u64 = 64 << 20;

/// A start that can't write on says which file stands in its way.
fn unusable(name: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::new(format!("Can't open the append-only file {name}: {error}"))
}

/// What the writer is told.
pub(crate) enum Order {
    /// CONFIG SET changed something.
    Configured {
        /// It switched the file on or off: such orders are counted, as those to rewrite are.
        counted: bool,
    },
    /// CONFIG SET changed `dir`.
    Moved,
    /// BGREWRITEAOF.
    Rewrite,
    /// Put everything on the disk, then answer.
    Flush(oneshot::Sender<Result<(), String>>),
    /// DEBUG LOADAOF: put everything on the disk, then replace what is in memory by it.
    Load(oneshot::Sender<Result<(), String>>),
    /// The base of the rewrite with this number is written, or can't be.
    BaseWritten(u64, Result<u64, String>),
    /// What a rewrite replaced is deleted, or can't be.
    HistoryRemoved(Removed),
    /// The plugin stops.
    Stop,
}

/// The writer.
pub(crate) struct Writer {
    plugin: Arc<Aof>,
    folder: Folder,
    manifest: Manifest,
    /// The file that is written, while `appendonly` is on.
    log: Option<Log>,
    /// Where it is while others write it.
    direct: Arc<Direct>,
    /// When the file was last lent, nobody's replies wrote it, and yet there was something.
    trickles: bool,
    /// What the cursor gives must be looked at here first.
    troubled: bool,
    /// A file is put on the disk, and this or the next one written meanwhile.
    syncing: Option<Syncing>,
    /// It is named in the manifest: a restart would load it.
    listed: bool,
    /// It was, and hasn't been switched off since: clients rely on there being one.
    owed: bool,
    /// Why no restart loads what is written until there is a new base: the file could not be written and lagged too far, or
    /// was of other data, and a base failed.
    given_up: Option<String>,
    /// Why nothing is confirmed until there is a new base: an earlier file of the set couldn't be put on the disk.
    distrusted: Option<String>,
    rewrite: Option<Rewrite>,
    /// How many were begun.
    rewrites: u64,
    /// A rewrite is wanted, not before this time.
    wanted: Option<Duration>,
    retry: Retry,
    /// When files that no sync puts on the disk are replaced.
    anew: Anew,
    /// What a rewrite replaced is being deleted.
    forgets: bool,
    /// Bytes of the set but for the file that is written.
    settled: u64,
    /// The whole set's size behind the last rewrite; of one that was loaded, its base's.
    base_size: u64,
    looked: Duration,
}

impl Writer {
    pub(crate) fn new(plugin: Arc<Aof>, folder: Folder) -> Writer {
        let looked = plugin.host.now();
        Writer {
            plugin,
            folder,
            manifest: Manifest::default(),
            log: None,
            direct: Arc::default(),
            trickles: false,
            troubled: false,
            syncing: None,
            listed: false,
            owed: false,
            given_up: None,
            distrusted: None,
            rewrite: None,
            rewrites: 0,
            wanted: None,
            retry: Retry::default(),
            anew: Anew::default(),
            forgets: false,
            settled: 0,
            base_size: 0,
            looked,
        }
    }

    /// At the start: goes on with the set that was loaded, or writes a first one of the data there is.
    pub(crate) async fn begin(&mut self, loaded: Option<Manifest>) -> Result<()> {
        self.folder.make().map_err(|error| Error::new(format!("the AOF directory: {error}")))?;
        self.folder.discard_temporary(base::TEMPORARY);
        let done = match loaded {
            Some(manifest) => self.go_on(manifest).await,
            None => {
                self.manifest = self.folder.read_manifest().map_err(Error::new)?.unwrap_or_default();
                info!("Creating AOF base file on server start");
                self.first_base().await
            }
        };
        // Nobody was served yet.
        self.plugin.disk.ends();
        done
    }

    /// Appends to the last file of a set.
    async fn go_on(&mut self, manifest: Manifest) -> Result<()> {
        self.manifest = manifest;
        if self.manifest.incr.is_empty() {
            let part = self.manifest.next_incr(&self.folder.file);
            info!("Creating AOF incr file {} on server start", part.name);
            self.folder.create(&part.name).map_err(unusable(&part.name))?;
            self.manifest.push_incr(part);
            self.folder.write_manifest(&self.manifest).map_err(unusable("manifest"))?;
        }
        // What can't be removed, on a full disk say, is in nobody's way.
        self.forget_history();
        let Some(last) = self.manifest.incr.last() else { return Ok(()) };
        let (file, size) = self.folder.open(last).map_err(unusable(&last.name))?;
        let cursor = self.plugin.host.follow(CursorClass::Persistence).await?;
        let place = cursor.place();
        self.settled = self.manifest.parts().map(|part| self.folder.size(part)).sum::<u64>() - size;
        // As Redis counts. From the whole set, one that is started often would grow by as much each time, for ever.
        self.base_size = self.manifest.base.as_ref().map_or(0, |part| self.folder.size(part));
        self.log = Some(Log::new(&self.plugin, cursor, file, size));
        self.set_listed(true);
        self.plugin.note_place(Some(&self.folder)).await;
        if self.folder.has_links(&self.manifest) {
            // To files of another folder, which may go away.
            self.wanted = Some(Duration::ZERO);
        }
        if self.put_loaded_on_disk()
            && let Some(log) = &mut self.log
        {
            let actions = log.machine.trust(place);
            self.act(actions).await;
        }
        self.publish();
        Ok(())
    }

    /// Writes the data as it is into a set of its own, and waits for that.
    async fn first_base(&mut self) -> Result<()> {
        let (sender, mut inbox) = mpsc::unbounded();
        self.begin_rewrite(sender).await?;
        while let Some(order) = inbox.next().await {
            if let Order::BaseWritten(number, result) = order {
                result.clone().map_err(Error::new)?;
                self.base_told(number, result).await;
                break;
            }
        }
        if !self.listed {
            return Err(Error::new("the first AOF base can't be written"));
        }
        // A start is no rewrite, as in Redis.
        let shown = &self.plugin.shown;
        shown.rewrites.store(0, Ordering::Relaxed);
        shown.last_rewrite_s.store(-1, Ordering::Relaxed);
        Ok(())
    }

    /// Until the plugin stops. On a thread that may block.
    pub(crate) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let host = self.plugin.host;
        host.before_replies(Some(&self.direct.clone().into()));
        loop {
            let wake = self.next(&mut inbox).await;
            let counted = matches!(wake, Wake::Order(Order::Rewrite | Order::Configured { counted: true }));
            self.turn_to_disk();
            if waits_for_sync(&wake) {
                self.end_sync().await;
            }
            match wake {
                Wake::Gone | Wake::Order(Order::Stop) => {
                    self.plugin.disk.ends();
                    return host.before_replies(None);
                }
                Wake::Order(Order::Configured { .. }) => self.configured().await,
                Wake::Order(Order::Moved) => self.moved().await,
                Wake::Order(Order::Rewrite) => self.wanted = Some(Duration::ZERO),
                Wake::Order(Order::BaseWritten(number, result)) => self.base_told(number, result).await,
                Wake::Order(Order::HistoryRemoved(removed)) => self.history_removed(&removed),
                Wake::Order(Order::Flush(done)) => {
                    let result = self.flush().await;
                    let _ = done.send(result);
                }
                Wake::Order(Order::Load(done)) => {
                    let result = self.load_again().await;
                    let _ = done.send(result);
                }
                Wake::News(news) => self.heed(news).await,
                Wake::Synced(result) => self.synced(&result).await,
                Wake::Time => {}
            }
            self.clock().await;
            self.turn_from_disk();
            self.publish();
            if counted {
                self.plugin.shown.carried_out();
            }
        }
    }

    /// What the journal brought.
    async fn heed(&mut self, news: News) {
        let Some(log) = &mut self.log else { return };
        match news {
            News::Batch(place) => {
                self.append(place).await;
                self.rest_if_unwatched();
            }
            News::Moved(place) => {
                let actions = log.moved(place);
                self.act(actions).await;
            }
            News::End(end) => self.ended(&end).await,
        }
    }

    /// While replies wait for nothing, a write for each turn would only be more work than one for several.
    fn rest_if_unwatched(&mut self) {
        if let Some(log) = self.log.as_mut().filter(|_| self.plugin.has_let_go()) {
            log.rest(PACE);
        }
    }

    /// Writes the batch that waits; false if it couldn't be.
    async fn append(&mut self, place: Place) -> bool {
        let Some(log) = &mut self.log else { return false };
        let (written, actions) = log.append(place);
        self.act(actions).await;
        if !written {
            self.give_up_if_behind();
        }
        written
    }

    /// What is due.
    async fn clock(&mut self) {
        let now = self.plugin.host.now();
        if let Some(log) = &mut self.log {
            if let Some(place) = log.due_note(false) {
                self.append(place).await;
            }
            if let Some(log) = &mut self.log
                && !log.machine.due(now).is_empty()
            {
                self.sync_beside();
            }
        }
        if now >= self.looked + LOOK {
            self.looked = now;
            self.look();
        }
        if self.rewrite.is_none() && self.wanted.is_some_and(|at| at <= now) {
            self.try_rewrite().await;
        }
    }

    /// Whether the files grew so much that they are rewritten.
    fn look(&mut self) {
        let config = self.plugin.config();
        let size = self.size();
        let idle = self.rewrite.is_none() && self.wanted.is_none() && self.listed;
        if idle && wants_rewrite(config.rewrite_percentage, config.rewrite_min_size, self.base_size, size) {
            let growth = size.saturating_sub(self.base_size) * 100 / self.base_size.max(1);
            info!("Starting automatic rewriting of AOF on {growth}% growth");
            self.wanted = Some(Duration::ZERO);
        }
    }

    /// CONFIG SET dir: a rewrite at once brings the files there, see [`Writer::follow_dir`].
    async fn moved(&mut self) {
        if self.log.is_none() {
            // What was left behind is out of date: nobody shall take it over.
            if !self.plugin.config().enabled {
                self.plugin.note_place(None).await;
            } else if self.given_up.is_some() {
                // Perhaps because there is room.
                self.wanted = Some(Duration::ZERO);
            }
            return;
        }
        self.wanted = Some(Duration::ZERO);
        let failed = self.log.as_ref().and_then(|log| log.machine.failed()).map(str::to_owned);
        if let Some(why) = failed.filter(|_| self.listed) {
            // A rewrite waits for the old file, which may be why the folder was changed.
            info!("The append-only file can't be written where it is, and begins anew");
            self.forsake(why);
        }
    }

    /// Bytes of the whole set.
    fn size(&self) -> u64 {
        self.settled + self.log.as_ref().map_or(0, |log| log.machine.size())
    }

    /// Carries out what the machine decided, and what follows from that.
    async fn act(&mut self, actions: Vec<Action>) {
        let host = self.plugin.host;
        let mut todo = std::collections::VecDeque::from(actions);
        while let Some(action) = todo.pop_front() {
            let Some(log) = &mut self.log else { return };
            match action {
                Action::Sync => todo.extend(log.sync()),
                Action::Truncate(size) => log.truncate(size),
                Action::Confirm(position) => self.plugin.confirm(position),
                Action::Free => host.confirm(None),
                Action::Durable(offset) => host.set_durable(Some(offset)),
                Action::Refuse(why) => self.refuse_writes(&why),
                Action::Accept => self.works_again(),
                Action::Rewrite => {
                    let wait = self.anew.sync_failed(log.machine.is_proven());
                    self.wanted = Some(if wait.is_zero() { wait } else { host.now() + wait });
                }
            }
        }
    }

    /// Whether a restart loads the file. Shown, because a CONFIG SET looks at it in its turn.
    fn set_listed(&mut self, listed: bool) {
        self.listed = listed;
        self.owed |= listed;
        self.plugin.shown.listed.store(listed, Ordering::Release);
    }

    /// The settings changed.
    async fn configured(&mut self) {
        let config = self.plugin.config();
        match (&mut self.log, config.enabled) {
            (None, true) => self.wanted = Some(Duration::ZERO),
            (Some(_), false) => self.switch_off().await,
            (None, false) if self.owed || self.given_up.is_some() => self.switch_off().await,
            (Some(log), true) => {
                log.machine.set_policy(config.fsync);
                log.machine.set_spared(config.no_fsync_on_rewrite && self.rewrite.is_some());
                if config.fsync != Fsync::Always {
                    self.plugin.host.confirm(None);
                }
                let trusted = self.listed && self.distrusted.is_none();
                let actions = if trusted { log.machine.shown() } else { Vec::new() };
                self.act(actions).await;
            }
            (None, false) => {}
        }
        if self.rewrite.is_none() {
            self.forget_history();
        }
    }

    /// `appendonly no`: what was written is on the disk, and nothing follows.
    async fn switch_off(&mut self) {
        self.end_sync().await;
        // Before the first base a restart would load nothing of it: nobody relies on what it has.
        if self.listed
            && let Err(why) = self.flush().await
        {
            warn!("The append-only file is switched off with an error: {why}");
        }
        self.drop_rewrite();
        self.log = None;
        self.set_listed(false);
        self.wanted = None;
        (self.owed, self.given_up, self.distrusted) = (false, None, None);
        // In this order: while there is an outage others may hold replies.
        self.plugin.end_outage(None);
        self.plugin.free();
        self.plugin.host.set_durable(None);
        self.plugin.leave_others(None);
        info!("The append-only file is switched off");
    }

    /// Everything that the journal has is on the disk.
    async fn flush(&mut self) -> Result<(), String> {
        if let Some(why) = &self.given_up {
            return Err(format!("the append-only file can't be written, and begins anew when it can: {why}"));
        }
        if self.log.is_some() && !self.listed {
            return Err("Writing initial AOF, can't exit".to_owned());
        }
        while let Some(log) = &mut self.log {
            match log.news_now().await {
                Some(News::Batch(place)) => {
                    if !self.append(place).await {
                        break;
                    }
                }
                Some(news) => self.heed(news).await,
                None => break,
            }
        }
        // Of the file before, if the journal's end was met just now.
        self.end_sync().await;
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Some(place) = log.due_note(true) {
            self.append(place).await;
        }
        let Some(log) = &mut self.log else { return self.given_up.clone().map_or(Ok(()), Err) };
        let sync = log.machine.sync(self.plugin.host.now());
        self.act(sync).await;
        match self.refused_for() {
            Some(why) => Err(format!("the append-only file can't be written: {why}")),
            None => Ok(()),
        }
    }

    /// The files' data takes the place of what is in memory. This thread writes nothing meanwhile.
    async fn load_again(&mut self) -> Result<(), String> {
        let host = self.plugin.host;
        // Closed first, so that the files have all that was ever answered.
        host.set_gate(Gate::Loading, true);
        let flushed = self.flush().await;
        let (plugin, folder) = (self.plugin.clone(), self.folder.clone());
        let again = async {
            flushed?;
            let told = |error: Error| error.text().to_owned();
            let manifest = load::check(&plugin, &folder).await.map_err(told)?;
            load::again(&plugin, &folder, &manifest).await.map_err(told)?;
            plugin.recovery.tell_reloaded().await;
            Ok(())
        };
        // It reads for as long as it takes, and clients are told that.
        let done = self.off_disk(again).await;
        host.set_gate(Gate::Loading, false);
        done
    }

    fn publish(&mut self) {
        let shown = &self.plugin.shown;
        shown.size.store(self.size(), Ordering::Relaxed);
        shown.base_size.store(self.base_size, Ordering::Relaxed);
        shown.given_up.store(self.given_up.is_some(), Ordering::Relaxed);
        let failed = self.rewrite.as_ref().is_some_and(Rewrite::has_failed);
        let runs = self.rewrite.is_some() && !failed;
        let begins = self.rewrite.is_none() && self.wanted == Some(Duration::ZERO);
        shown.rewriting.store(runs || begins, Ordering::Release);
        shown.scheduled.store(failed || self.rewrite.is_none() && self.wanted.is_some(), Ordering::Relaxed);
        let delayed = self.log.as_mut().map_or(0, |log| log.machine.take_delayed());
        shown.delayed.fetch_add(delayed, Ordering::Relaxed);
    }
}
