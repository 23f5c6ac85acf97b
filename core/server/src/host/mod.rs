//! The plugin host: loads libraries, hands them the tables, polls their futures, starts and stops them in order.
//!
//! In reading order: `seam` (what it asks of the server), `scan` and `library` (a file becomes a library, or is refused
//! in words; `fall`, if it takes the process along), `registrar` (what a plugin declares), `commands` and `hooks` (its functions as the engine sees them),
//! `frame` and `ctx` (a turn as the plugin sees it), `api` and `objects` (everything outside a turn), `contracts`
//! (services), `tasks`, `holding` (what waits for its word), `plugin` (its life). Never looks into a plugin's configuration, never decides what one does.
#![allow(unsafe_code)]

mod api;
mod calls;
mod commands;
mod contracts;
mod ctx;
mod durable;
mod effects;
mod event_names;
mod fall;
mod frame;
mod holding;
mod hooks;
mod inspect;
mod keeping;
mod keys;
mod library;
mod objects;
mod plugin;
mod refusals;
mod registrar;
mod registry;
mod scan;
mod script;
mod seam;
mod sections;
mod state;
mod tasks;

pub(crate) use inspect::{CheckError, check_config, endpoint_only, find, inspect, names, problem};
pub(crate) use library::ConfigProblem;
pub(crate) use scan::Refusal;
pub(crate) use seam::{ConfigText, EndpointSpec, PluginEntry, ServerShell};

use crate::net::service::Service;
use contracts::Contracts;
use keystead_abi::{self as abi, History, JournalState, Object};
use keystead_engine::core::Core as EngineCore;
use keystead_engine::pause::{Pause, Pauser};
use keystead_engine::{Engine, Gate, Gates};
use library::Library;
use parking_lot::{Mutex, RwLock};
use plugin::{Plugin, Stage};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a plugin may think about an end that is wanted now and saves nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Whose pause it is while the plugins are stopped: no plugin can be called so.
const STOPPING: &str = "(stopping)";

/// How long an end waits for a plugin before the log says for whom.
const WAIT_UNSAID: Duration = Duration::from_secs(2);
/// The same of a start, which may load for long.
const START_UNSAID: Duration = Duration::from_secs(5);

/// The number of the data engine.
pub(crate) const DATA: u32 = abi::ENDPOINT_DATA;

/// Why the plugins can't be loaded or started.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// A library is refused.
    Library(Refusal),
    /// A plugin refuses its configuration, or failed to be created.
    Config {
        /// The plugin.
        plugin: String,
        /// The file its subtree is from.
        file: String,
        /// What is wrong and where.
        problem: ConfigProblem,
    },
    /// Services don't fit together, or a plugin failed to start.
    Start(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Library(refusal) => write!(f, "{refusal}"),
            LoadError::Config { plugin, problem, .. } if problem.line == 0 => {
                write!(f, "the plugin '{plugin}' could not be created: {}", problem.message)
            }
            LoadError::Config { plugin, file, problem } => {
                let ConfigProblem { line, column, message, .. } = problem;
                write!(f, "{file}:{line}:{column}: plugin '{plugin}': {message}")
            }
            LoadError::Start(reason) => f.write_str(reason),
        }
    }
}

/// What all plugins share.
pub(crate) struct Core {
    server: Arc<dyn ServerShell>,
    /// The data engine's.
    gates: Arc<Gates>,
    /// By number: 0 is the data engine, then endpoints as they were asked for.
    engines: RwLock<Vec<Arc<Service>>>,
    plugins: RwLock<Vec<&'static Plugin>>,
    contracts: Mutex<Contracts>,
    /// Replication ids as plugins last set them; offset and bytes are the journal's.
    history: Mutex<History>,
    shared: Mutex<Shared>,
    /// Parts of the data set that plugins keep.
    sections: RwLock<Vec<sections::Section>>,
    /// Records of parts that were loaded and no plugin takes.
    unclaimed: Mutex<Vec<u8>>,
    durable: durable::Durable,
    /// The keyspace has a part of what is being loaded: nothing may be saved of it.
    filling: AtomicBool,
    /// The keyspace is what a load left that failed behind its flush: what files have is better.
    lost: AtomicBool,
    /// The plugins are being stopped for the end.
    stopping: AtomicBool,
    /// Why plugins refuse writes.
    refusals: Mutex<refusals::Refusals>,
}

/// Objects on their way between plugins.
#[derive(Default)]
struct Shared {
    last: u64,
    objects: HashMap<u64, Waiting>,
}

/// An object that nobody has taken yet.
struct Waiting(Object);

// SAFETY: objects may be used and dropped on any thread, one at a time; that is their tables' contract.
unsafe impl Send for Waiting {}

impl Core {
    fn engine(&self, number: u32) -> Option<Arc<Service>> {
        self.engines.read().get(number as usize).cloned()
    }

    fn engines(&self) -> Vec<Arc<Service>> {
        self.engines.read().clone()
    }

    fn plugin(&self, name: &str) -> Option<&'static Plugin> {
        self.plugins.read().iter().copied().find(|plugin| plugin.name == name)
    }

    fn names(&self) -> Vec<String> {
        self.plugins.read().iter().map(|plugin| plugin.name.clone()).collect()
    }

    fn open_endpoint(self: &Arc<Self>, spec: &EndpointSpec) -> Result<u32, String> {
        let service = self.server.open_endpoint(spec)?;
        let mut engines = self.engines.write();
        let endpoint = engines.len() as u32;
        service.set_takeover_host(Arc::new(commands::Takeovers { host: Arc::downgrade(self), endpoint }));
        engines.push(service);
        Ok(endpoint)
    }

    /// The journal with the ids that belong to it.
    fn journal_state(&self, core: &EngineCore) -> JournalState {
        let journal = &core.journal;
        // The range is in Redis' counting, where the first byte is 1.
        let (first, len) = journal.backlog_range();
        let offset = journal.offset();
        let ids = *self.history.lock();
        JournalState {
            history: History { offset, ..ids },
            offset,
            first: first - 1,
            len,
            size: journal.backlog_size().unwrap_or(0),
            active: u32::from(journal.backlog_size().is_some()),
            db: journal.stream_db().map_or(-1, |db| db as i32),
        }
    }

    /// Another reason to refuse writes, or one less: the gate for writes says the one that counts, and is open without any.
    fn refuse(&self, change: impl FnOnce(&mut refusals::Refusals)) {
        let mut refusals = self.refusals.lock();
        change(&mut refusals);
        self.gates.refuse_writes(refusals.told());
    }

    /// Why nothing may be saved of the keyspace, if it has no data set.
    fn unsaveable(&self) -> Option<&'static str> {
        if self.filling.load(Ordering::Acquire) {
            return Some("the keyspace has only a part of what is being loaded");
        }
        let lost = self.lost.load(Ordering::Acquire);
        lost.then_some("the keys are gone with a load that failed, and what is on the disk stays")
    }

    /// Whoever is a primary has what is in memory, and it goes into the files.
    fn accept_loss(&self, core: &mut EngineCore) {
        if self.lost.swap(false, Ordering::AcqRel) {
            core.journal.data_replaced();
        }
    }

    /// The history that the data belongs to, at its offset; no id while that isn't known.
    fn placed_history(&self, core: &EngineCore) -> History {
        let history = self.journal_state(core).history;
        if core.journal.is_placed() { history } else { History { offset: history.offset, ..no_history() } }
    }

    /// Gives the journal another history, inside a turn. One at an offset that no stream can have is refused.
    fn rebase(&self, core: &mut EngineCore, history: &History) -> Result<(), String> {
        let restart = (history.offset != abi::KEEP_OFFSET).then_some(history.offset);
        if let Some(offset) = restart.filter(|offset| i64::try_from(*offset).is_err()) {
            return Err(format!("{offset} is no replication offset"));
        }
        let db = core.journal.stream_db();
        core.journal.rebase(restart);
        if restart.is_none() && core.gates.is(Gate::Replica) {
            // Only the primary's id is new: its stream goes on, with the same database selected.
            core.journal.set_stream_db(db);
        }
        *self.history.lock() = *history;
        Ok(())
    }
}

/// Runs the body of a thunk; a panic in it becomes its text instead of ending the process.
fn guarded<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    abi::glue::guarded(body).map_err(|panic| format!("the host panicked: {panic}"))
}

/// All plugins of an instance.
pub(crate) struct Host {
    /// Providers first.
    order: Vec<&'static Plugin>,
}

impl Host {
    /// Loads and creates the plugins in the configuration's order. Listeners must not accept yet. `services` says which
    /// plugin gives a service by default. Fails with the first refusal; nothing was started then.
    pub(crate) fn load(
        entries: &[PluginEntry],
        services: &BTreeMap<String, String>,
        data: Arc<Service>,
        server: Arc<dyn ServerShell>,
    ) -> Result<Host, LoadError> {
        let gates = data.turn(|engine| engine.gates());
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            data.set_takeover_host(Arc::new(commands::Takeovers { host: weak.clone(), endpoint: DATA }));
            Core {
                server,
                gates,
                engines: RwLock::new(vec![data.clone()]),
                plugins: RwLock::default(),
                contracts: Mutex::new(Contracts::new(services.clone())),
                history: Mutex::new(no_history()),
                shared: Mutex::default(),
                sections: RwLock::default(),
                unclaimed: Mutex::default(),
                durable: durable::Durable::default(),
                filling: AtomicBool::new(false),
                lost: AtomicBool::new(false),
                stopping: AtomicBool::new(false),
                refusals: Mutex::default(),
            }
        });
        for entry in entries {
            if let Err(error) = create(&core, entry) {
                for plugin in core.plugins.read().iter() {
                    plugin.unhook(Engine::unregister_plugin);
                }
                return Err(error);
            }
        }
        let order = core.contracts.lock().order(&core.names()).map_err(LoadError::Start)?;
        let plugins = core.plugins.read().clone();
        let order = order.into_iter().filter_map(|slot| plugins.get(slot as usize).copied()).collect();
        let registry = registry::Registry::shared(&core);
        for service in core.engines() {
            service.turn(|engine| engine.set_plugins(registry.clone()));
        }
        Ok(Host { order })
    }

    /// The parameters that paths of the command line gave (`replication.priority`), each with its path.
    pub(crate) fn given(&self, paths: &[String]) -> BTreeMap<String, String> {
        let mut given = BTreeMap::new();
        for plugin in &self.order {
            let params = plugin.facts.lock().params.clone();
            let prefix = format!("{}.", plugin.name);
            let own: Vec<&String> = paths.iter().filter(|path| path.starts_with(&prefix)).collect();
            let description = if own.is_empty() { String::new() } else { plugin.describe_config() };
            for path in own {
                let key = path[prefix.len()..].split('.').next().unwrap_or_default();
                let found = keys::parameters(key, &description, &params);
                given.extend(found.into_iter().map(|param| (param.clone(), path.clone())));
            }
        }
        given
    }

    /// Those that keep the data.
    pub(crate) fn savers(&self) -> Vec<&str> {
        self.order.iter().filter(|plugin| plugin.saves()).map(|plugin| plugin.name.as_str()).collect()
    }

    /// Whether one of them would save, by its settings: by itself, or asked to.
    pub(crate) fn may_save(&self) -> bool {
        self.order.iter().any(|plugin| plugin.saves() && plugin.may_save())
    }

    /// Starts them, providers before their users.
    pub(crate) async fn start_all(&self) -> Result<(), LoadError> {
        for plugin in &self.order {
            let words = || log::info!("The start waits for the plugin {}, which has not started yet.", plugin.name);
            let started = said_to_wait(START_UNSAID, words, plugin.start()).await;
            started
                .map_err(|reason| LoadError::Start(format!("the plugin '{}' did not start: {reason}", plugin.name)))?;
            log::info!("plugin {} {} started", plugin.name, plugin.declaration.version);
        }
        Ok(())
    }

    /// Asks them before the end, users before their providers; the first refusal. Who wants the end now and nothing saved
    /// doesn't wait for one that never answers.
    pub(crate) async fn before_end(&self, flags: u32) -> Result<(), String> {
        const AT_ONCE: u32 = abi::ENDING_NOW | abi::ENDING_NOSAVE;
        for plugin in self.order.iter().rev() {
            let flags = flags_now(plugin, flags);
            let words = || {
                log::warn!("The end waits for the plugin {}, which was asked whether the server may end.", plugin.name);
            };
            let asking = said_to_wait(WAIT_UNSAID, words, plugin.before_end(flags));
            let asked = match flags & AT_ONCE {
                AT_ONCE => async_std::future::timeout(ANSWER_LIMIT, asking).await.unwrap_or_else(|_| {
                    Err(format!("does not answer whether the server may end, for {ANSWER_LIMIT:?}"))
                }),
                _ => asking.await,
            };
            match asked {
                Ok(()) => {}
                Err(reason) if flags & abi::ENDING_FORCE != 0 => log::warn!("plugin {}: {reason}", plugin.name),
                Err(reason) => return Err(format!("plugin {}: {reason}", plugin.name)),
            }
        }
        Ok(())
    }

    /// Stops them, users before their providers. Each gets a few seconds, in which clients get no answers: one of a server
    /// that has lost half of its plugins would be wrong, a replica's role before all. Replies that are held go out.
    pub(crate) async fn stop_all(&self) {
        if let Some(plugin) = self.order.first() {
            let core = plugin.host();
            core.stopping.store(true, Ordering::Release);
            for service in core.engines() {
                service.turn(|engine| engine.pause(Pauser::Server(STOPPING), Pause::All, u64::MAX));
            }
        }
        for plugin in self.order.iter().rev() {
            let words = || log::warn!("The end waits for the plugin {}, which was told to stop.", plugin.name);
            said_to_wait(WAIT_UNSAID, words, plugin.stop(abi::STOP_SHUTDOWN)).await;
        }
    }

    /// How many of them have panicked or given up.
    pub(crate) fn failed(&self) -> usize {
        self.order.iter().filter(|plugin| matches!(plugin.stage(), Stage::Faulted(_))).count()
    }
}

/// Says in the log, once, for whom is waited, if that takes so long.
async fn said_to_wait<T>(unsaid: Duration, say: impl FnOnce(), waiting: impl Future<Output = T>) -> T {
    let mut waiting = pin!(waiting);
    match async_std::future::timeout(unsaid, waiting.as_mut()).await {
        Ok(done) => done,
        Err(_) => {
            say();
            waiting.await
        }
    }
}

/// What is half loaded, or lost, must not take the place of what was saved.
fn flags_now(plugin: &Plugin, flags: u32) -> u32 {
    if plugin.host().unsaveable().is_some() { flags & !abi::ENDING_SAVE | abi::ENDING_NOSAVE } else { flags }
}

/// No replication id yet; a plugin that replicates sets one before it starts.
fn no_history() -> History {
    History { replid: [b'0'; 40], replid2: [b'0'; 40], second_offset: -1, offset: 0 }
}

/// Loads one library and makes its instance.
fn create(core: &Arc<Core>, entry: &PluginEntry) -> Result<(), LoadError> {
    let mut library = Library::open(&entry.path, Some(&entry.name)).map_err(LoadError::Library)?;
    if let Some(twin) = core.plugins.read().iter().find(|plugin| plugin.path == library.path) {
        let reason = format!("is loaded already, as the plugin '{}'", twin.name);
        return Err(LoadError::Library(Refusal::new(&entry.path, reason)));
    }
    let slot = core.plugins.read().len() as u32;
    let plugin = Plugin::new(core.clone(), slot, &library);
    core.plugins.write().push(plugin);
    let data = std::ptr::from_ref(plugin).cast_mut().cast();
    let host = abi::HostRef { data, api: &raw const api::API };
    let registrar = abi::RegistrarRef { data, api: &raw const registrar::API };
    let made = library.create(host, registrar, &entry.config);
    match made {
        Ok(instance) => {
            log::info!("plugin {} {} loaded from {}", plugin.name, plugin.declaration.version, plugin.path.display());
            plugin.created(library, instance);
            Ok(())
        }
        Err(problem) => {
            // Its code may be referred to already: the library stays, the plugin doesn't.
            std::mem::forget(library);
            plugin.unhook(Engine::unregister_plugin);
            Err(LoadError::Config { plugin: entry.name.clone(), file: entry.config.file.clone(), problem })
        }
    }
}
