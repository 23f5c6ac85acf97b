//! The plugin itself: what its commands, parameters and tasks share, and what it declares to the core.

use crate::config::{self, Config};
use crate::disk::{Disk, SILENT};
use crate::files::Folder;
use crate::holding::Holding;
use crate::load;
use crate::machine::Fsync;
use crate::manifest::Manifest;
use crate::outage::Told;
use crate::place::Noted;
use crate::shown::Shown;
use crate::writer::{Order, Writer};
use crate::{commands, params};
use arc_swap::ArcSwap;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use futures::future::{Either, select};
use keystead_plugin::prelude::*;
use keystead_plugin::services::persistence::{self, Recovered, Recovery, Strategy};
use keystead_plugin::{FaultPolicy, Folders};
use parking_lot::Mutex;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What was written before the file was switched off has reached it so many seconds later.
const LAST_WRITES_S: u64 = 60;

/// How often `dir` is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The plugin.
pub struct Aof {
    pub(crate) host: Host,
    config: ArcSwap<Config>,
    /// Locked while what replies wait for changes with the policy.
    holding: Mutex<Holding>,
    pub(crate) recovery: Recovery,
    orders: mpsc::UnboundedSender<Order>,
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Order>>>,
    /// The set that was loaded at the start.
    loaded: Mutex<Option<Manifest>>,
    /// Nothing was: the files that are there now hold what is in memory already.
    began_anew: AtomicBool,
    /// Where the newest set is, for the next start.
    noted: Arc<Noted>,
    /// When the set on the disk was switched off, seconds since 1970; 0: it wasn't.
    ended_s: Arc<AtomicU64>,
    /// Where no other process writes.
    folders: Folders,
    pub(crate) shown: Shown,
    pub(crate) disk: Disk,
    /// The end doesn't wait for it.
    disk_given_up: AtomicBool,
    /// What clients and the log were told of a file that can't be written.
    pub(crate) outage: Mutex<Told>,
}

impl Plugin for Aof {
    const NAME: &'static str = "persistence-aof";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = config::DOCS;
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        config.check()
    }

    fn init(host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        commands::register(reg);
        params::register(reg);
        let recovery = persistence::provide(reg);
        // Nobody would keep what is written from then on.
        reg.on_fault(FaultPolicy::StopWrites);
        let (orders, inbox) = mpsc::unbounded();
        let shown = Shown::default();
        shown.enabled.store(config.enabled, Ordering::Relaxed);
        Ok(Aof {
            host,
            config: ArcSwap::from_pointee(config),
            holding: Mutex::default(),
            recovery,
            orders,
            inbox: Mutex::new(Some(inbox)),
            loaded: Mutex::default(),
            began_anew: AtomicBool::new(false),
            noted: Arc::new(Noted::read(&host)?),
            ended_s: Arc::default(),
            folders: Folders::new(host, Self::NAME),
            shown,
            disk: Disk::default(),
            disk_given_up: AtomicBool::new(false),
            outage: Mutex::default(),
        })
    }

    async fn start(self: Arc<Self>) -> Result<()> {
        self.recovery.run().await?;
        let Some(inbox) = self.inbox.lock().take() else { return Ok(()) };
        let loaded = self.loaded.lock().take();
        self.began_anew.store(loaded.is_none(), Ordering::Release);
        let mut writer = Writer::new(self.clone(), self.folder());
        let host = self.host;
        if self.config().enabled {
            writer.begin(loaded).await?;
        } else {
            let folder = self.folder();
            host.blocking(move || tell_of_unread(&folder)).await?;
        }
        host.spawn(self.clone().watch_disk());
        host.spawn(self.clone().watch_dir(self.folder().dir().display().to_string()));
        // A thread of its own: it writes and syncs where it stands, instead of waking others for each batch.
        let writing = host.blocking(move || block_on(writer.run(inbox)));
        host.spawn(async move {
            if let Err(error) = writing.await {
                host.fault(&format!("the writer ended: {}", error.text()));
            }
        });
        Ok(())
    }

    async fn before_end(self: Arc<Self>, how: Ending) -> Result<()> {
        // An earlier end may have been refused.
        self.disk_given_up.store(false, Ordering::Release);
        let shown = &self.shown;
        // Nothing that was written since it was switched on would be found by a restart.
        if shown.enabled.load(Ordering::Relaxed)
            && shown.rewriting.load(Ordering::Relaxed)
            && !shown.listed.load(Ordering::Acquire)
        {
            if !how.force {
                return Err("Writing initial AOF, can't exit".into());
            }
            log::warn!("Writing initial AOF. Exit anyway.");
        }
        if how.save != Some(false) && !how.force {
            return self.flush().await;
        }
        // Whoever insists doesn't wait for a disk that never answers.
        let (flushing, patience) = (pin!(self.flush()), pin!(self.host.sleep(SILENT)));
        let flushed = match select(flushing, patience).await {
            Either::Left((flushed, _)) => flushed,
            Either::Right(_) => {
                self.disk_given_up.store(true, Ordering::Release);
                Err(Error::new(format!("The append-only file could not be put on the disk within {SILENT:?}")))
            }
        };
        if let Err(error) = flushed {
            log::warn!("{}. Exit anyway.", error.text());
        }
        Ok(())
    }

    async fn stop(self: Arc<Self>, _: StopReason) -> Result<()> {
        let given_up = self.disk_given_up.load(Ordering::Acquire);
        let done = if given_up { Err("it is not all on the disk".into()) } else { self.flush().await };
        if done.is_ok() {
            // What replies wait for is on the disk. Otherwise they keep waiting, and leave with nobody.
            self.host.confirm(None);
        }
        self.host.set_durable(None);
        self.send(Order::Stop);
        done
    }
}

impl Strategy for Aof {
    const RANK: u32 = persistence::LOG;

    async fn survey(self: Arc<Self>) -> Result<Option<String>> {
        if !self.config().enabled || self.began_anew.load(Ordering::Acquire) {
            return Ok(None);
        }
        let here = self.folder();
        // Before anything is read: another process may still write it.
        self.folders.hold_at_start(here.dir()).await?;
        self.folders.hold_at_start(self.noted.home()).await?;
        self.noted.read_again(&self.host)?;
        let folder = self.noted.elsewhere(&here)?.unwrap_or(here);
        self.folders.hold_at_start(folder.dir()).await?;
        Ok(load::survey(&folder)?.map(|_| folder.path().display().to_string()))
    }

    async fn complete_until(self: Arc<Self>) -> Option<u64> {
        self.set_ended_s()
    }

    async fn load(self: Arc<Self>) -> Result<Recovered> {
        let folder = self.folder();
        if let Some(ended_s) = self.set_ended_s() {
            log::warn!(
                "The append-only file was switched off at {ended_s} (seconds since 1970), and no RDB file is newer: what was \
                 written since is gone"
            );
        }
        if let Some(there) = self.noted.elsewhere(&folder)? {
            load::fetch(&self.host, &folder, there).await?;
        }
        let (manifest, recovered) = load::run(&self, &folder).await?;
        *self.loaded.lock() = Some(manifest);
        Ok(recovered)
    }
}

impl Aof {
    /// The settings now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// CONFIG SET; the writer is told.
    pub(crate) fn change(&self, edit: impl Fn(&mut Config)) {
        let mut after = Config::clone(&self.config());
        edit(&mut after);
        let begins = after.enabled && !self.config().enabled;
        let ends = !after.enabled && self.config().enabled;
        let holds_anew = after.fsync == Fsync::Always && self.config().fsync != Fsync::Always;
        self.shown.enabled.store(after.enabled, Ordering::Relaxed);
        let mut holding = self.holding.lock();
        let fsync = after.fsync;
        self.config.store(Arc::new(after));
        if holds_anew && self.shown.listed.load(Ordering::Acquire) && self.shown.write_ok.load(Ordering::Relaxed) {
            // In this very turn: the writer learns of it later, and a reply behind this one must wait for the disk already.
            holding.begins_anew();
            self.host.confirm(Some(0));
        }
        if (fsync != Fsync::Always || ends) && !self.shown.write_ok.load(Ordering::Acquire) {
            // Whoever does this during an outage wants the replies; the writer may be where the disk holds it.
            self.host.confirm(None);
        }
        drop(holding);
        if begins {
            self.shown.asked();
            self.ended_s.store(0, Ordering::Release);
        }
        if ends {
            self.shown.drops();
            self.note_end();
        }
        self.send(Order::Configured { counted: begins || ends });
    }

    /// When the set that a start loads was switched off. What was written behind that is another set, which somebody has brought.
    fn set_ended_s(&self) -> Option<u64> {
        let ended_s = self.noted.ended_s()?;
        let here = self.folder();
        let folder = self.noted.elsewhere(&here).ok()?.unwrap_or(here);
        let written_s = folder.written_at(&folder.read_manifest().ok()??)?;
        (written_s <= ended_s + LAST_WRITES_S).then_some(ended_s)
    }

    /// The set that a start would load has nothing of what is written from this turn on: a save behind it is newer, also where a
    /// start has the file on again.
    fn note_end(&self) {
        if !self.shown.listed.load(Ordering::Acquire) {
            return;
        }
        self.ended_s.store(self.host.unix_ms() / 1000, Ordering::Release);
        let (host, noted, ended) = (self.host, self.noted.clone(), self.ended_s.clone());
        host.spawn(async move {
            let when = || Some(ended.load(Ordering::Acquire)).filter(|at| *at > 0);
            noted.note_end(&host, when).await;
        });
    }

    /// Lets all replies go, unless `always` holds them by now.
    pub(crate) fn free_unless_always(&self) {
        let mut holding = self.holding.lock();
        holding.begins_anew();
        if self.config().fsync != Fsync::Always {
            self.host.confirm(None);
        }
    }

    /// A sync takes its time, and so may a write beside it: until it ends replies wait for neither. Redis lets them go for
    /// 2 s from its beginning (`flushAppendOnlyFile` in aof.c).
    /// `sync` is what [`Aof::sync_begins`] gave for it.
    pub(crate) fn let_go_while_syncing(&self, sync: u64) {
        let mut holding = self.holding.lock();
        let felt = self.shown.syncing.load(Ordering::Acquire) && self.config().fsync != Fsync::Always;
        if felt && holding.patience_ends(sync) {
            self.host.confirm(None);
        }
    }

    /// True while replies wait for nothing, because a sync takes its time.
    pub(crate) fn has_let_go(&self) -> bool {
        !self.holding.lock().holds()
    }

    /// A sync begins, beside which the file is written.
    pub(crate) fn sync_begins(&self) -> u64 {
        self.holding.lock().sync_begins()
    }

    /// It has ended: what is confirmed next counts again.
    pub(crate) fn sync_ended(&self) {
        self.holding.lock().sync_ended();
    }

    /// The file has everything before a position.
    pub(crate) fn confirm(&self, position: u64) {
        let holding = self.holding.lock();
        if holding.holds() {
            self.host.confirm(Some(position));
        }
    }

    /// Holds all replies from now on, until more is confirmed.
    pub(crate) fn hold(&self) {
        let mut holding = self.holding.lock();
        holding.begins_anew();
        self.host.confirm(Some(0));
    }

    /// Lets all replies go: nobody writes a file they could wait for.
    pub(crate) fn free(&self) {
        let _holding = self.holding.lock();
        self.host.confirm(None);
    }

    /// Lets all replies go while the disk doesn't answer, unless `always` holds them. The writer holds them again when it does.
    pub(crate) fn let_go_in_silence(&self) {
        let _holding = self.holding.lock();
        let config = self.config();
        if config.fsync != Fsync::Always || !config.enabled {
            self.host.confirm(None);
        }
    }

    /// Lets all replies go while the file can't be written.
    pub(crate) fn free_in_outage(&self) {
        self.confirm_in_outage(None);
    }

    /// Holds all replies while the file can't be written; the writer confirms more when it can.
    pub(crate) fn hold_in_outage(&self) {
        self.confirm_in_outage(Some(0));
    }

    fn confirm_in_outage(&self, position: Option<u64>) {
        let _holding = self.holding.lock();
        if !self.shown.write_ok.load(Ordering::Acquire) {
            self.host.confirm(position);
        }
    }

    /// Tells the writer something.
    pub(crate) fn send(&self, order: Order) {
        // It fails only when the writer is gone, with the plugin.
        let _ = self.orders.unbounded_send(order);
    }

    /// A way to tell the writer something.
    pub(crate) fn orders(&self) -> mpsc::UnboundedSender<Order> {
        self.orders.clone()
    }

    /// Everything that is in the journal is on the disk.
    async fn flush(&self) -> Result<()> {
        if self.inbox.lock().is_some() {
            // The start was refused: nobody writes.
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        self.send(Order::Flush(done));
        answer.await.unwrap_or(Ok(())).map_err(Error::new)
    }

    /// The set in this folder is what the next start must load; none: no set is.
    pub(crate) async fn note_place(&self, folder: Option<&Folder>) {
        self.noted.note(&self.host, folder).await;
    }

    /// No other process writes to this folder from now on, nor to the one of the note.
    pub(crate) fn hold_folder(&self, folder: &Folder) -> Result<()> {
        self.folders.hold(self.noted.home())?;
        self.folders.hold(folder.dir())
    }

    /// Other folders are left: none of their files is ours any more. None: so is the one of the note.
    pub(crate) fn leave_others(&self, folder: Option<&Folder>) {
        let kept = folder.map(|folder| [self.noted.home(), folder.dir()]);
        self.folders.leave_all_but(kept.as_ref().map_or(&[], |kept| kept));
    }

    /// Where the files go by `dir` as it is now.
    pub(crate) async fn folder_now(&self) -> Result<Folder> {
        Ok(self.folder_in(&dir_now(self.host).await?))
    }

    fn folder(&self) -> Folder {
        self.folder_in(&dir(self.host))
    }

    fn folder_in(&self, dir: &str) -> Folder {
        let config = self.config();
        Folder::new(Path::new(dir), &config.dir_name, &config.file_name)
    }

    /// Tells the writer when CONFIG SET has changed `dir`. In turns of its own: the writer waits for no long command.
    async fn watch_dir(self: Arc<Self>, mut known: String) {
        let mut tick = self.host.interval(LOOK);
        loop {
            tick.tick().await;
            let Ok(dir) = dir_now(self.host).await else { continue };
            if std::mem::replace(&mut known, dir.clone()) != dir {
                self.send(Order::Moved);
            }
        }
    }
}

/// Files that are passed over because `appendonly` is no are named before anybody misses what they have.
fn tell_of_unread(folder: &Folder) {
    if let Ok(Some(_)) = load::survey(folder) {
        log::warn!(
            "The append-only files in {} are not loaded, because the file is switched off (appendonly no)",
            folder.path().display()
        );
    }
}

fn dir(host: Host) -> String {
    host.setting("dir").unwrap_or_else(|| ".".to_owned())
}

async fn dir_now(host: Host) -> Result<String> {
    host.with_keyspace(move |_| dir(host)).await
}
