//! One loaded plugin: its library, its instance, its tasks, its state. Lives as long as the process, because its library
//! does: threads and callbacks of it may come at any time.

use super::holding::Holding;
use super::keeping::Keeping;
use super::library::Library;
use super::scan::Declaration;
use super::tasks::{Group, Hold};
use super::{Core, DATA};
use crate::net::service::Service;
use futures::future::{Either, select};
use keystead_abi::glue::{Completion, Imported, import_future};
use keystead_abi::{self as abi, Instance};
use keystead_engine::Engine;
use keystead_engine::journal::CursorId;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::ffi::c_void;
use std::mem::offset_of;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a plugin may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take to stop, once it has failed, until nobody waits for its word any more.
const WORD_LIMIT: Duration = Duration::from_secs(2);
/// Time between two looks whether one that was asked something has failed meanwhile, or whether one that failed is stopped.
const STILL_THERE: Duration = Duration::from_millis(20);
/// How long its cancelled tasks may take to go.
const TASKS_LIMIT: Duration = Duration::from_secs(1);
/// The service of those that keep the data (`keystead_plugin::services::persistence`): what isn't saved when such a plugin
/// fails is nowhere but in memory.
const PERSISTENCE: &str = "keystead.persistence";

/// Where a plugin stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Created, not started.
    Created,
    /// Started.
    Running,
    /// Stopped.
    Stopped,
    /// It panicked or gave up.
    Faulted(String),
}

impl Stage {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Stage::Created => "created",
            Stage::Running => "running",
            Stage::Stopped => "stopped",
            Stage::Faulted(_) => "faulted",
        }
    }
}

/// What PLUGIN INFO shows beside the declaration.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) commands: Vec<String>,
    pub(super) params: Vec<String>,
    pub(super) sections: Vec<String>,
    pub(super) hooks: Vec<String>,
    pub(super) endpoints: Vec<String>,
    /// Names of its ports.
    pub(super) ports: Vec<String>,
}

/// A command that takes connections over.
#[derive(Clone, Copy)]
pub(super) struct Taker {
    pub(super) data: *mut c_void,
    pub(super) call: unsafe extern "C" fn(*mut c_void, *mut abi::Conn, *const abi::Str, usize) -> abi::Future,
}

// SAFETY: the functions of a plugin may be called from any thread.
unsafe impl Send for Taker {}

/// The instance.
struct Made(Instance);

// SAFETY: as above.
unsafe impl Send for Made {}
// SAFETY: as above.
unsafe impl Sync for Made {}

/// A plugin.
pub(crate) struct Plugin {
    pub(super) name: String,
    /// Its number, for the slot in sessions.
    pub(super) slot: u32,
    pub(super) declaration: Declaration,
    pub(super) path: PathBuf,
    pub(super) tasks: Group,
    pub(super) facts: Mutex<Facts>,
    /// Why the last declaration was refused.
    pub(super) last_error: Mutex<String>,
    pub(super) policy: AtomicU32,
    /// By endpoint and full command name.
    pub(super) takers: Mutex<HashMap<(u32, String), Taker>>,
    /// One writer of its state file at a time; the number of the last state written.
    pub(super) state_lock: Mutex<u64>,
    /// The number of the last state that was given.
    pub(super) state_given: AtomicU64,
    /// What it saves, if it keeps the data.
    pub(super) keeping: Keeping,
    /// What waits for its word.
    pub(super) holding: Holding,
    /// Its places in the journal.
    pub(super) cursors: Mutex<BTreeSet<CursorId>>,
    host: Arc<Core>,
    stage: Mutex<Stage>,
    instance: OnceLock<Made>,
    live: AtomicBool,
    stopping: AtomicBool,
    /// It was stopped, to the end.
    stopped: AtomicBool,
    dropped: AtomicBool,
    library: OnceLock<Library>,
}

impl Plugin {
    /// A plugin that is about to be created.
    pub(super) fn new(host: Arc<Core>, slot: u32, library: &Library) -> &'static Plugin {
        Box::leak(Box::new(Plugin {
            name: library.declaration.name.clone(),
            slot,
            declaration: library.declaration.clone(),
            path: library.path.clone(),
            tasks: Group::default(),
            facts: Mutex::default(),
            last_error: Mutex::default(),
            policy: AtomicU32::new(abi::FAULT_CONTINUE),
            takers: Mutex::default(),
            state_lock: Mutex::new(0),
            state_given: AtomicU64::new(0),
            keeping: Keeping::default(),
            holding: Holding::default(),
            cursors: Mutex::default(),
            host,
            stage: Mutex::new(Stage::Created),
            instance: OnceLock::new(),
            live: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            library: OnceLock::new(),
        }))
    }

    /// Keeps what `create` gave.
    pub(super) fn created(&self, library: Library, instance: Instance) {
        let _ = self.library.set(library);
        let _ = self.instance.set(Made(instance));
    }

    /// Every key of its configuration with its default; empty if it doesn't say.
    pub(super) fn describe_config(&self) -> String {
        self.library.get().and_then(Library::describe_config).unwrap_or_default()
    }

    /// Whether it keeps the data.
    pub(super) fn saves(&self) -> bool {
        self.host.contracts.lock().providers(PERSISTENCE).any(|offer| offer.plugin == self.slot)
    }

    /// Whether its settings let it.
    pub(super) fn may_save(&self) -> bool {
        self.keeping.may_save()
    }

    /// The host it lives in.
    pub(super) fn host(&self) -> &Arc<Core> {
        &self.host
    }

    /// An engine by its number.
    pub(super) fn engine(&self, endpoint: u32) -> Option<Arc<Service>> {
        self.host.engine(endpoint)
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.lock().clone()
    }

    /// Whether its callbacks may be called. A command of a stopped plugin may still be queued in somebody's MULTI.
    pub(super) fn live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Its functions may be called outside of a turn until this is dropped; None: it was stopped. (In a turn `live` is enough:
    /// what stops it has a turn of each engine in between.)
    pub(super) fn hold(&self) -> Option<Hold> {
        self.tasks.hold().filter(|_| self.live())
    }

    /// Whether it has an instance: `create` has returned.
    pub(super) fn is_made(&self) -> bool {
        self.instance.get().is_some()
    }

    fn api(&self) -> Option<(&abi::InstanceApi, *mut c_void)> {
        let made = self.instance.get()?;
        // SAFETY: the table lives as long as the library, which is never closed.
        Some((unsafe { &*made.0.api }, made.0.data))
    }

    /// What it answers; none if it fails before. Whoever asks holds it, so that its instance stays meanwhile.
    async fn answer(&self, asked: Imported) -> Option<Completion> {
        let fails = async {
            while self.live() {
                async_std::task::sleep(STILL_THERE).await;
            }
        };
        match select(asked, pin!(fails)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Starts it. One that fails before, or meanwhile, hasn't started.
    pub(super) async fn start(&self) -> Result<(), String> {
        let Some(_hold) = self.hold() else { return self.started(Err("was stopped before".to_owned())) };
        let started = match self.api() {
            Some((api, data)) => match api.start {
                // SAFETY: data and function belong together.
                Some(start) => unsafe { import_future(start(data)) },
                None => return self.started(Ok(())),
            },
            None => return Err("was never created".to_owned()),
        };
        match self.answer(started).await {
            Some(done) => self.started(done.ok().map(drop)),
            None => self.started(Err("was stopped meanwhile".to_owned())),
        }
    }

    fn started(&self, result: Result<(), String>) -> Result<(), String> {
        if result.is_ok() {
            self.keeping.look();
        }
        let mut stage = self.stage.lock();
        if let Stage::Faulted(reason) = &*stage {
            return Err(format!("it failed before it had started: {reason}"));
        }
        *stage = match &result {
            Ok(()) => Stage::Running,
            Err(reason) => Stage::Faulted(reason.clone()),
        };
        result
    }

    /// Stops it, once: unhooked first, then asked, then its tasks are cancelled, then the instance is dropped. At the end
    /// of the server nobody is served any more (see `Host::stop_all`), so its commands keep their names.
    pub(super) async fn stop(&'static self, why: u32) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            // As one that failed just before the end: what it has yet to write isn't cut off by that.
            let stopped = async {
                while !self.stopped.load(Ordering::Acquire) {
                    async_std::task::sleep(STILL_THERE).await;
                }
            };
            let _ = async_std::future::timeout(STOP_LIMIT + TASKS_LIMIT, stopped).await;
            return;
        }
        {
            let mut stage = self.stage.lock();
            if !matches!(*stage, Stage::Faulted(_)) {
                *stage = Stage::Stopped;
            }
        }
        self.live.store(false, Ordering::Release);
        if let Some(service) = self.engine(DATA) {
            // What it keeps of the data set goes into files and to replicas from here on without asking it.
            service.turn(|_| self.host.keep_sections(self));
        }
        match why {
            abi::STOP_SHUTDOWN => self.unhook(Engine::detach_plugin),
            _ => self.unhook(Engine::unregister_plugin),
        }
        let goes_on = why != abi::STOP_SHUTDOWN;
        let mut stopping = pin!(self.ask_to_stop(why));
        if !goes_on {
            stopping.await;
        } else if async_std::future::timeout(WORD_LIMIT, stopping.as_mut()).await.is_err() {
            self.holding.end(self, goes_on);
            stopping.await;
        }
        self.tasks.close();
        self.holding.end(self, goes_on);
        // The end of the server waits for no work that blocks: the process takes it along.
        if !self.tasks.wait_empty(TASKS_LIMIT, goes_on).await {
            let (tasks, others) = self.tasks.len();
            log::warn!("plugin {}: {} tasks are still running, its instance is kept", self.name, tasks + others);
        } else if self.tasks.is_empty() {
            self.drop_instance();
        }
        if goes_on {
            self.close_cursors();
        }
        self.stopped.store(true, Ordering::Release);
    }

    /// Ends the cursors that whoever is left of it has: nobody reads them any more, and writers would wait for that.
    fn close_cursors(&self) {
        let open = std::mem::take(&mut *self.cursors.lock());
        if let Some(service) = self.engine(DATA).filter(|_| !open.is_empty()) {
            service.turn(|engine| open.into_iter().for_each(|id| engine.core.journal.close_cursor(id)));
        }
    }

    /// Takes what it registered out of the engines.
    pub(super) fn unhook(&self, take_out: fn(&mut Engine, &str)) {
        for service in self.host.engines() {
            service.turn(|engine| take_out(engine, &self.name));
        }
        self.host.contracts.lock().remove(self.slot);
    }

    /// Asks it before the server ends; an error refuses that, a panic is a fault of it. Nothing was taken from it yet. One
    /// that failed isn't asked, but an end that would lose what it was to save is refused as if its save had failed.
    pub(super) async fn before_end(&'static self, flags: u32) -> Result<(), String> {
        if *self.stage.lock() == Stage::Running {
            self.ask_before_end(flags).await?;
        }
        match self.keeping.would_lose(flags) {
            true => Err("it failed and can't save the data: SHUTDOWN NOSAVE, or FORCE, ends the server without".into()),
            false => Ok(()),
        }
    }

    async fn ask_before_end(&'static self, flags: u32) -> Result<(), String> {
        let Some(_hold) = self.hold() else { return Ok(()) };
        let Some((api, data)) = self.api() else { return Ok(()) };
        // A plugin built before there was this question has a shorter table.
        if (api.size as usize) < offset_of!(abi::InstanceApi, before_end) + size_of::<usize>() {
            return Ok(());
        }
        // SAFETY: data and function belong together.
        let Some(asked) = api.before_end.map(|ask| unsafe { import_future(ask(data, flags)) }) else { return Ok(()) };
        let Some(done) = self.answer(asked).await else { return Ok(()) };
        if done.status == abi::PANICKED {
            // It would again, each time: it isn't asked any more.
            self.fault(&format!("it panicked when it was asked whether the server may end: {}", done.buf.text()));
            return Ok(());
        }
        done.ok().map(drop)
    }

    async fn ask_to_stop(&self, why: u32) {
        let stopping = match self.api() {
            // SAFETY: data and function belong together.
            Some((api, data)) => api.stop.map(|stop| unsafe { import_future(stop(data, why)) }),
            None => None,
        };
        let Some(stopping) = stopping else { return };
        match async_std::future::timeout(STOP_LIMIT, stopping).await {
            Ok(done) => {
                if let Err(reason) = done.ok() {
                    log::warn!("plugin {}: did not stop cleanly: {reason}", self.name);
                }
            }
            Err(_) => log::warn!("plugin {}: did not stop within {STOP_LIMIT:?}", self.name),
        }
    }

    /// Nothing of it runs and nothing points to it any more, but its library stays.
    fn drop_instance(&self) {
        let Some((api, data)) = self.api() else { return };
        let Some(drop) = api.drop else { return };
        if !self.dropped.swap(true, Ordering::AcqRel) {
            // SAFETY: once, and no task, hook or command of it is left.
            unsafe { drop(data) }
        }
    }

    /// It panicked or gave up: unhooked, stopped, and what it asked for in that case happens.
    pub(super) fn fault(&'static self, reason: &str) {
        {
            let mut stage = self.stage.lock();
            if !matches!(*stage, Stage::Created | Stage::Running) {
                return;
            }
            // Before anybody can see that it failed.
            if self.saves() {
                self.keeping.failed();
            }
            *stage = Stage::Faulted(reason.to_owned());
        }
        self.live.store(false, Ordering::Release);
        log::error!("plugin {} failed and is stopped: {reason}", self.name);
        match self.policy.load(Ordering::Relaxed) {
            abi::FAULT_STOP_WRITES => {
                log::error!("plugin {}: writes are refused from now on, as it asked for", self.name);
                let why = format!("The plugin {} failed and wants no writes without it.", self.name);
                self.host.refuse(|refusals| refusals.for_good(why));
            }
            abi::FAULT_EXIT => self.host.server.shutdown(false),
            _ => {}
        }
        // Nobody is behind its ports any more: they must not look alive to those who watch them.
        self.facts.lock().ports.iter().for_each(|name| self.host.server.close_endpoint(name));
        // Not here: this may be a turn.
        async_std::task::spawn(self.stop(abi::STOP_FAULTED));
    }

    /// Runs something in a turn of the data engine right after this one.
    pub(super) fn later(&'static self, body: impl FnOnce(&mut Engine) + Send + 'static) {
        if let Some(service) = self.engine(DATA) {
            async_std::task::spawn(async move { service.turn(body) });
        }
    }

    /// A future of the plugin as a task of its group. A panic in it is a fault: nobody is there who could be told, and
    /// what the task was for isn't done any more.
    pub(super) fn spawn(&'static self, future: abi::Future) -> u64 {
        self.run(future, |done| {
            if done.status == abi::PANICKED {
                self.fault(&format!("a task panicked: {}", done.buf.text()));
            }
        })
    }

    /// A future that somebody waits for, as a task of the plugin's group: a panic in it is theirs to be told.
    pub(super) fn run(&'static self, future: abi::Future, then: impl FnOnce(Completion) + Send + 'static) -> u64 {
        // SAFETY: the plugin hands the future over.
        let future = unsafe { import_future(future) };
        self.tasks.spawn(async move { then(future.await) })
    }
}
