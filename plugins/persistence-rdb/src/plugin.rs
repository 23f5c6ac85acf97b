//! The plugin itself: its life, the save in the background, and when one is due.

use crate::config::{self, Config};
use crate::status::Board;
use crate::{commands, load, params, points, save};
use arc_swap::ArcSwap;
use futures::channel::oneshot;
use futures::lock::{Mutex, MutexGuard, OwnedMutexGuard};
use keystead_plugin::prelude::*;
use keystead_plugin::services::persistence::{self, Recovered, Recovery, SNAPSHOT, Strategy};
use keystead_plugin::{Folders, Gate};
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often save points are looked at, as Redis does at `hz` 10.
const LOOK: Duration = Duration::from_millis(100);
/// An end that saves nothing waits so long for a save that was given up. It asks between two writes whether it is to go on: one
/// that takes longer is a disk's that doesn't answer.
const SILENT: Duration = Duration::from_secs(2);

/// Whoever writes the file has it. Where a thread writes, that thread: who waits for it may be gone before it ends (its client is
/// killed, its end taken back), and a second writer would meet it in the same temporary file.
pub(crate) type Writing = OwnedMutexGuard<()>;

/// The plugin.
pub struct PersistenceRdb {
    pub(crate) host: Host,
    /// Itself, for tasks that commands begin.
    me: std::sync::OnceLock<Weak<PersistenceRdb>>,
    config: ArcSwap<Config>,
    recovery: Recovery,
    pub(crate) board: Board,
    /// See [`Writing`].
    writing: Arc<Mutex<()>>,
    /// Where no other process writes it.
    pub(crate) folders: Folders,
    /// The save in the background is to give up.
    pub(crate) cancelled: AtomicBool,
    /// How many FLUSHALL were seen: saves of what was there before are to give up.
    pub(crate) flushes: AtomicU64,
    /// A save begins behind the turn.
    scheduled: AtomicBool,
    /// What a save would write is what was loaded and added to: false until the start is over.
    pub(crate) ready: AtomicBool,
}

impl Plugin for PersistenceRdb {
    const NAME: &'static str = "persistence-rdb";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = config::DOCS;
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        config.check()
    }

    fn init(host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        commands::register(reg);
        params::register(reg);
        Ok(PersistenceRdb {
            host,
            me: std::sync::OnceLock::new(),
            config: ArcSwap::from_pointee(config),
            recovery: persistence::provide(reg),
            board: Board::new(host.now(), host.unix_ms() / 1000),
            writing: Arc::default(),
            folders: Folders::new(host, Self::NAME),
            cancelled: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
            scheduled: AtomicBool::new(false),
            ready: AtomicBool::new(false),
        })
    }

    async fn start(self: Arc<Self>) -> Result<()> {
        let _ = self.me.set(Arc::downgrade(&self));
        match self.recovery.try_run().await {
            // The start of the one that has the data is refused, by its name.
            Err(failure) if failure.of != Self::NAME => return Ok(()),
            loaded => loaded.map_err(|failure| failure.error)?,
        };
        // Whoever loaded it: it is on the disk.
        self.all_is_saved().await?;
        let (dir, config) = (self.dir(), self.config());
        self.host.blocking(move || save::discard_stale(&dir, &config.dbfilename)).await?;
        self.tell_of_unread_log().await?;
        self.ready.store(true, Ordering::Release);
        self.host.spawn(self.clone().look_after_points());
        Ok(())
    }

    async fn before_end(self: Arc<Self>, how: Ending) -> Result<()> {
        let wanted = how.save.unwrap_or(!self.config().save.is_empty());
        if !self.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.board.read().running_since.is_some() {
            log::warn!("A background save is running: it is given up for the end");
        }
        // Also the last save of an end that was asked for before, less urgently.
        self.cancelled.store(true, Ordering::Release);
        if !wanted {
            drop(self.none_writes().await);
            return Ok(());
        }
        log::info!("Saving the final RDB snapshot before exiting.");
        self.save(None).await.map_err(|error| {
            let words = if how.force {
                "Error trying to save the DB, exiting anyway"
            } else {
                "Error trying to save the DB, can't exit"
            };
            Error::new(format!("{words}: {}", error.text()))
        })
    }

    async fn stop(self: Arc<Self>, _: StopReason) -> Result<()> {
        self.cancelled.store(true, Ordering::Release);
        drop(self.none_writes().await);
        self.host.set_gate(Gate::DiskError, false);
        Ok(())
    }
}

impl Strategy for PersistenceRdb {
    const RANK: u32 = SNAPSHOT;

    async fn survey(self: Arc<Self>) -> Result<Option<String>> {
        if !self.config().save.is_empty() {
            // Before it is read: another process may still replace it. Who saves only when asked to is told then.
            self.folders.hold_at_start(&self.dir()).await?;
        }
        let path = self.path();
        let shown = path.display().to_string();
        match self.host.blocking(move || std::fs::metadata(path)).await? {
            Ok(_) => Ok(Some(shown)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::new(format!("Fatal error: can't open the RDB file {shown} for reading: {error}"))),
        }
    }

    async fn complete_until(self: Arc<Self>) -> Option<u64> {
        let path = self.path();
        self.host.blocking(move || load::made_at(&path)).await.ok().flatten()
    }

    async fn load(self: Arc<Self>) -> Result<Recovered> {
        load::run(&self).await
    }

    async fn reloaded(self: Arc<Self>) {
        // It fails only when the server ends.
        let _ = self.all_is_saved().await;
    }

    async fn adopt(self: Arc<Self>, file: PathBuf, changes: u64) -> Result<bool> {
        let taken = self.take_over(file, changes).await;
        taken.inspect_err(|error| log::warn!("The payload of the full sync isn't kept as a file: {}", error.text()))
    }
}

impl PersistenceRdb {
    /// The settings now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// CONFIG SET.
    pub(crate) fn change(&self, edit: impl Fn(&mut Config)) {
        self.config.rcu(|old| {
            let mut new = Config::clone(old);
            edit(&mut new);
            new
        });
        self.refresh_gate();
    }

    /// Itself, for a thread or a task.
    pub(crate) fn me(&self) -> Result<Arc<PersistenceRdb>> {
        self.me.get().and_then(Weak::upgrade).ok_or_else(|| "the plugin isn't running".into())
    }

    /// What is in memory is what is on the disk.
    async fn all_is_saved(&self) -> Result<()> {
        let (changes, flushes) = self.host.with_keyspace(|ctx| (ctx.changes(), ctx.flushes())).await?;
        self.board.edit(|status| status.saved_changes = changes);
        // Those that a log had, too: what they emptied is on the disk as it is.
        self.flushes.store(flushes, Ordering::Release);
        Ok(())
    }

    /// A load failed that had flushed what was there: the file is what is left.
    pub(crate) fn data_is_lost(&self) -> bool {
        self.host.setting("data_lost").is_some_and(|lost| lost == "true")
    }

    /// CONFIG RESETSTAT may have been called meanwhile.
    pub(crate) fn settle(&self) {
        let resets = self.host.setting("stat_resets").and_then(|n| n.parse().ok()).unwrap_or(0);
        self.board.settle(resets);
    }

    /// The folder for everything.
    pub(crate) fn dir(&self) -> PathBuf {
        PathBuf::from(self.host.setting("dir").unwrap_or_else(|| ".".into()))
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir().join(&self.config().dbfilename)
    }

    /// Writes are refused while saves are wanted and the last one failed.
    fn refresh_gate(&self) {
        let config = self.config();
        let failed = !self.board.read().last_ok;
        let closed = failed && config.stop_writes_on_bgsave_error && !config.save.is_empty();
        self.host.set_gate(Gate::DiskError, closed);
    }

    /// Nobody else writes the file from now on.
    pub(crate) async fn write_alone(&self) -> Writing {
        self.writing.clone().lock_owned().await
    }

    /// Nobody writes the file any more, or the disk doesn't answer who does: then nothing is waited for.
    async fn none_writes(&self) -> Option<MutexGuard<'_, ()>> {
        let written = self.host.timeout(SILENT, self.writing.lock()).await;
        if written.is_none() {
            log::warn!("The save that was given up hasn't ended within {SILENT:?}: the disk does not answer");
        }
        written
    }

    /// Writes the file and publishes what came of it; `begun`: see [`save::write`].
    pub(crate) async fn save(&self, begun: Option<oneshot::Sender<()>>) -> Result<()> {
        let writing = self.write_alone().await;
        self.cancelled.store(false, Ordering::Release);
        let saved = save::write(self, writing, begun).await.inspect_err(|error| log::warn!("{}", error.text()));
        self.board.edit(|status| status.writes = None);
        let saved = saved?;
        log::info!("DB saved on disk");
        self.has_saved(saved.changes);
        Ok(())
    }

    /// The file has the keys up to so many changes.
    pub(crate) fn has_saved(&self, changes: u64) {
        let (now, now_s) = (self.host.now(), self.host.unix_ms() / 1000);
        self.board.edit(|status| {
            status.saved_changes = changes;
            status.last_save_s = now_s;
            status.last_save_at = now;
            status.last_ok = true;
        });
        self.refresh_gate();
    }

    /// Begins a save in the background, unless one runs. What is given is ready when the cut is made, or has to wait.
    pub(crate) fn begin_background(&self) -> Option<oneshot::Receiver<()>> {
        let me = self.me().ok()?;
        self.settle();
        if !self.board.begin(self.host.now()) {
            return None;
        }
        log::info!("Background saving started");
        let (begun, cut) = oneshot::channel();
        self.host.spawn(async move { me.background(begun).await });
        Some(cut)
    }

    /// Begins a save in the background behind this turn, once for all who ask in it.
    pub(crate) fn schedule_background(&self) {
        let Ok(me) = self.me() else { return };
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        self.host.spawn(async move {
            // Behind the turn: what the rest of the transaction writes is in the file.
            let _ = me.host.with_keyspace(|_| ()).await;
            me.scheduled.store(false, Ordering::Release);
            drop(me.begin_background());
        });
    }

    async fn background(&self, begun: oneshot::Sender<()>) {
        let result = self.save(Some(begun)).await;
        let now = self.host.now();
        let cancelled = result.as_ref().err().is_some_and(|error| error.text() == save::GIVEN_UP);
        match &result {
            Ok(()) => log::info!("Background saving terminated with success"),
            Err(_) if cancelled => log::warn!("Background saving was given up"),
            Err(_) => log::warn!("Background saving error"),
        }
        self.board.edit(|status| {
            status.last_took = status.running_since.map(|since| now.saturating_sub(since));
            status.running_since = None;
            // Given up for a save that followed: that isn't an error, as with Redis' killed child.
            status.last_ok = result.is_ok() || cancelled && status.last_ok;
        });
        self.refresh_gate();
    }

    /// FLUSHALL was carried out: a save of what was there before would write what nobody wants any more, and with save points
    /// the file is emptied at once, for what it has must not come back.
    async fn flushed(&self, flushes: u64, points: bool) {
        self.flushes.store(flushes, Ordering::Release);
        if !points {
            return;
        }
        if self.board.read().running_since.is_some() {
            // One that began behind it, too: the next has all that it would have, and sooner.
            self.cancelled.store(true, Ordering::Release);
        }
        // An error is in the log; the next point tries again.
        let _ = self.save(None).await;
    }

    /// Begins a save when a point is due.
    async fn look_after_points(self: Arc<Self>) {
        let mut tick = self.host.interval(LOOK);
        loop {
            tick.tick().await;
            if self.data_is_lost() {
                continue;
            }
            let config = self.config();
            let Ok((changes, flushed)) = self.host.with_keyspace(|ctx| (ctx.changes(), ctx.flushes())).await else {
                continue;
            };
            if flushed > self.flushes.load(Ordering::Acquire) {
                self.flushed(flushed, !config.save.is_empty()).await;
            }
            if config.save.is_empty() || self.board.read().running_since.is_some() {
                continue;
            }
            let status = self.board.read();
            let changes = changes.saturating_sub(status.saved_changes);
            let since = self.host.now().saturating_sub(status.last_save_at);
            let Some((seconds, least)) = points::due(&config.save, since, changes) else { continue };
            let rested = status
                .last_try
                .is_none_or(|at| self.host.now().saturating_sub(at) > Duration::from_secs(points::RETRY_S));
            if status.last_ok || rested {
                log::info!("{least} changes in {seconds} seconds. Saving...");
                drop(self.begin_background());
            }
        }
    }
}
