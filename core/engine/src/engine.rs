//! The engine as the server sees it: sessions come and go, turns run commands, a tick does what is due. Owns the keys and
//! the core; the server wraps it in a lock and carries out its actions.

use std::sync::Arc;
use std::task::Waker;

use keystead_keyspace::{Garbage, Keyspace, Options, UnixMillis};
use keystead_resp::{Args, OwnedArgs, Proto, Writer};

use crate::blocking::Blocking;
use crate::commands;
use crate::config::Config;
use crate::core::{Core, Hook, InfoSection, Pause, Probe};
use crate::effect::Origin;
use crate::exec;
use crate::foreign::{
    AsyncCall, ClientInfo, ConnEvent, ForeignAsync, ForeignBody, ForeignConfig, ForeignHook, ForeignInfo,
    ForeignRegistry, ForeignTakeover,
};
use crate::gates::Gates;
use crate::journal::{Journal, Unit};
use crate::pubsub::PubSub;
use crate::registry::{Command, OwnedSpec, Registry};
use crate::session::{ConnInfo, Kind, Parked, Session, SessionId, State};
use crate::sessions::Sessions;
use crate::slowlog::SlowLog;
use crate::stats::{CommandStats, Stats};

/// The time, as the server read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub unix_ms: u64,
    /// Microseconds of a clock that never jumps.
    pub mono_us: u64,
}

/// What an engine serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineMode {
    /// Keys.
    Data,
    /// A port of a plugin's own (a sentinel's): no keys, no journal, only the commands that go without.
    Endpoint {
        /// What INFO calls it (`sentinel`).
        name: String,
    },
}

/// How to make an engine.
pub struct EngineOptions {
    /// Data or endpoint.
    pub mode: EngineMode,
    /// How many databases.
    pub databases: usize,
    /// Random numbers from the system: they key the hash of client keys.
    pub seeds: [u64; 4],
    /// Forty hexadecimal digits; empty: made from the seeds.
    pub run_id: String,
    /// The time.
    pub now: Now,
    /// A clock in µs for the slow log and command statistics; without one they stay empty.
    pub clock: Option<fn() -> u64>,
    /// Bytes the process has allocated; without it INFO shows what the keyspace counts.
    pub used_memory: Option<fn() -> u64>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            mode: EngineMode::Data,
            databases: 16,
            seeds: [1, 2, 3, 4],
            run_id: String::new(),
            now: Now::default(),
            clock: None,
            used_memory: None,
        }
    }
}

/// What the server does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next command.
    Next,
    /// The session waits: keep what it has decoded as raw bytes until `Ready::resume`.
    Parked,
    /// A plugin takes the socket over: the rest of the bytes is its own. An `Action::Takeover` follows.
    Takeover,
    /// Send what there is, then close.
    Close,
}

/// A session with something new for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub session: SessionId,
    /// It was parked and may go on with its next command.
    pub resume: bool,
    /// Close it.
    pub close: Close,
}

/// How a session is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Not at all.
    No,
    /// When its output is sent.
    AfterOutput,
    /// At once, whatever is left to send.
    Now,
}

/// What the engine asks the server to do, after the turn and outside the lock.
pub enum Action {
    /// Call `command.start(call)`.
    StartAsync {
        /// The plugin's command.
        command: Arc<dyn ForeignAsync>,
        /// The call.
        call: AsyncCall,
    },
    /// Call `command.cancel(ticket)`: the session is gone or was unblocked.
    CancelAsync {
        /// The plugin's command.
        command: Arc<dyn ForeignAsync>,
        /// The call's name.
        ticket: u64,
    },
    /// Hand the socket with all undecoded bytes to the plugin.
    Takeover {
        /// The session, which stays in the table.
        session: SessionId,
        /// Who it is.
        client: Arc<ClientInfo>,
        /// The command.
        command: &'static Command,
        /// The plugin's side.
        body: Arc<dyn ForeignTakeover>,
        /// The command's arguments.
        args: OwnedArgs,
    },
    /// SHUTDOWN.
    Shutdown {
        /// SAVE (true), NOSAVE (false), or as configured.
        save: Option<bool>,
        /// NOW: do not wait for lagging replicas.
        now: bool,
        /// FORCE: go down whatever fails.
        force: bool,
    },
    /// SHUTDOWN ABORT.
    AbortShutdown,
    /// Write the overlay file; then answer the session by `complete`, if there is one.
    RewriteConfig {
        /// Who waits, and the ticket. Inside MULTI nobody does.
        reply: Option<(SessionId, u64)>,
    },
    /// A parameter changed by CONFIG SET.
    ConfigChanged {
        /// Its name.
        name: String,
    },
    /// A session's socket must be shut (its kind is not an ordinary client's, or a plugin owns it).
    KillTakenOver {
        /// Which.
        session: SessionId,
    },
}

/// What a turn leaves for the server.
#[derive(Default)]
pub struct TurnEnd {
    /// Sessions with output, to be resumed or closed. Sessions whose command just ran are not listed for it.
    pub ready: Vec<Ready>,
    /// What to carry out.
    pub actions: Vec<Action>,
    /// To be woken: readers of the journal.
    pub wakers: Vec<Waker>,
    /// A syncing replica or a file is far behind: read from clients more slowly.
    pub slow_writers: bool,
    /// Big values that were deleted: dropping this outside the lock frees them.
    pub garbage: Garbage,
}

/// The keys and everything around them.
pub struct Engine {
    /// The keys.
    pub ks: Keyspace,
    /// Everything else.
    pub core: Core,
}

impl Engine {
    /// An empty engine.
    pub fn new(options: EngineOptions) -> Self {
        let endpoint = options.mode != EngineMode::Data;
        let databases = if endpoint { 1 } else { options.databases };
        let mut registry = Registry::default();
        for family in commands::FAMILIES {
            registry.add_family(family, endpoint);
        }
        let mut ks = Keyspace::new(Options { databases, seeds: options.seeds, ..Options::default() });
        ks.set_now(UnixMillis(options.now.unix_ms));
        let run_id = if options.run_id.is_empty() { make_run_id(options.seeds) } else { options.run_id };
        let mut config = Config::new(endpoint);
        if !endpoint {
            config.init("databases", &databases.to_string()).expect("a count of databases is an integer");
        }
        let mut engine = Engine {
            ks,
            core: Core {
                mode: options.mode,
                run_id,
                now: options.now,
                started: options.now,
                sessions: Sessions::default(),
                registry,
                config,
                gates: Arc::new(Gates::default()),
                journal: Journal::new(),
                pubsub: PubSub::default(),
                blocking: Blocking::default(),
                stats: Stats::default(),
                slowlog: SlowLog::default(),
                plugins: None,
                unit: Unit::default(),
                in_unit: false,
                hooks: Vec::new(),
                write_hooks: 0,
                info_sections: Vec::new(),
                actions: Vec::new(),
                wakers: Vec::new(),
                park: None,
                pause: Pause::Off,
                pause_until_ms: 0,
                foreign_pauses: Vec::new(),
                paused: Vec::new(),
                pause_ended: false,
                watch: Default::default(),
                observing: false,
                watchful: false,
                next_ticket: 0,
                dice: options.seeds[1] ^ options.seeds[2].rotate_left(23),
                touched: Default::default(),
                expired: Default::default(),
                clock: options.clock,
                used_memory: options.used_memory,
                startup_memory: options.used_memory.map_or(0, |count| count()),
                probe: None,
                facts: Default::default(),
                active_expire: true,
                sample: 0,
                slow_writers: false,
                shutting_down: false,
                last_save_s: options.now.unix_ms / 1000,
            },
        };
        engine.size_stats();
        engine.apply_config();
        engine
    }

    fn size_stats(&mut self) {
        let indexes = self.core.registry.indexes();
        self.core.stats.commands.resize(indexes, CommandStats::default());
    }

    // ---- sessions -----------------------------------------------------------------------------------------------

    /// A client connected. Refused with the bytes to send before closing.
    pub fn connect(&mut self, info: ConnInfo, now: Now) -> Result<SessionId, Vec<u8>> {
        self.core.now = now;
        let live = &self.core.config.live;
        if self.core.sessions.len() >= live.maxclients {
            self.core.stats.rejected_connections += 1;
            return Err(b"-ERR max number of clients reached\r\n".to_vec());
        }
        let open = live.requirepass.is_empty();
        if live.protected_mode && open && !info.loopback && !info.unix {
            self.core.stats.rejected_connections += 1;
            return Err(PROTECTED.to_vec());
        }
        self.core.stats.connections += 1;
        let id = self.core.sessions.insert(info, now.unix_ms, open);
        self.core.notify_conn(ConnEvent::Open, id);
        Ok(id)
    }

    /// A client went away.
    pub fn disconnect(&mut self, id: SessionId) {
        let Some(mut session) = self.core.sessions.take(id) else { return };
        self.unpark(&mut session.state);
        commands::connection::forget(&mut self.core, &mut session.state);
        self.core.sessions.put(session);
        self.core.notify_conn(ConnEvent::Close, id);
        self.core.sessions.remove(id);
    }

    /// Ends a session's wait, if it waits, without an answer.
    fn unpark(&mut self, state: &mut State) {
        match state.parked.take() {
            Some(Parked::Keys(wait)) => self.core.blocking.remove(state.id, &wait),
            Some(Parked::Async { ticket, command, .. }) => self.core.cancel_async(ticket, command),
            Some(Parked::Pause(_)) => self.core.paused.retain(|id| *id != state.id),
            None => {}
        }
    }

    /// A session's state.
    pub fn session(&self, id: SessionId) -> Option<&State> {
        self.core.sessions.get(id).map(|session| &session.state)
    }

    /// A session's state, to change it (plugins: kind, slots).
    pub fn session_mut(&mut self, id: SessionId) -> Option<&mut State> {
        self.core.sessions.get_mut(id).map(|session| &mut session.state)
    }

    /// Takes a session's output by exchanging it with an empty (or reusable) buffer.
    pub fn swap_out(&mut self, id: SessionId, buffer: &mut Vec<u8>) {
        buffer.clear();
        if let Some(session) = self.core.sessions.get_mut(id) {
            std::mem::swap(&mut session.out, buffer);
        }
    }

    /// The server still holds so many bytes of output and of undecoded input for a session. Closes it (by the list of the
    /// next `end_turn`) if that is too much.
    pub fn report_buffers(&mut self, id: SessionId, pending_out: usize, pending_in: usize) {
        let limit = self.core.config.live.query_limit;
        let Some(session) = self.core.sessions.get_mut(id) else { return };
        session.state.pending_out = pending_out;
        session.state.pending_in = pending_in;
        if pending_in > limit && !session.state.close_now && !session.state.taken_over {
            log::warn!("Closing client {} that reached max query buffer length", session.state.info.addr);
            session.state.close_now = true;
            self.core.stats.query_limit_disconnections += 1;
            self.core.sessions.list(id);
        }
        self.core.check_output(id);
    }

    /// Counts traffic, for INFO.
    pub fn report_traffic(&mut self, received: u64, sent: u64) {
        self.core.stats.net_in += received;
        self.core.stats.net_out += sent;
    }

    /// What the decoder must allow a session.
    pub fn limits(&self, id: SessionId) -> keystead_resp::Limits {
        let authenticated = self.session(id).is_some_and(|state| state.authenticated);
        keystead_resp::Limits { max_bulk: self.core.config.live.max_bulk, authenticated, ..Default::default() }
    }

    /// The protocol was broken: answers the error; the server closes the connection behind it.
    pub fn protocol_error(&mut self, id: SessionId, error: &keystead_resp::ProtocolError) {
        if let Some(session) = self.core.sessions.get_mut(id) {
            log::debug!("Protocol error from client {}: {error}", session.state.info.addr);
            Writer::new(&mut session.out, session.state.proto).error(format!("ERR {error}"));
            session.state.close_after_reply = true;
        }
    }

    // ---- turns --------------------------------------------------------------------------------------------------

    /// Freezes the clock for what follows.
    pub fn begin_turn(&mut self, now: Now) {
        self.core.now = now;
        self.ks.set_now(UnixMillis(now.unix_ms));
    }

    /// Runs one command of a session.
    #[inline]
    pub fn execute(&mut self, id: SessionId, args: Args<'_>) -> Flow {
        let Some(mut session) = self.core.sessions.take(id) else { return Flow::Close };
        if session.state.close_now || session.state.close_after_reply {
            self.core.sessions.put(session);
            return Flow::Close;
        }
        if session.state.parked.is_some() {
            debug_assert!(false, "the server ran a command of a parked session");
            self.core.sessions.put(session);
            return Flow::Parked;
        }
        let flow = exec::execute(&mut self.ks, &mut self.core, &mut session, args);
        self.core.sessions.put(session);
        if self.core.blocking.has_ready() {
            self.serve_ready();
        }
        if self.core.pause_ended {
            self.settle_pause();
        }
        flow
    }

    /// Ends a turn: what the server has to do now.
    pub fn end_turn(&mut self) -> TurnEnd {
        let core = &mut self.core;
        let listed = std::mem::take(&mut core.sessions.listed);
        let mut ready = Vec::with_capacity(listed.len());
        for session in listed {
            let Some(found) = core.sessions.get_mut(session) else { continue };
            found.state.listed = false;
            let resume = std::mem::take(&mut found.state.resumed);
            let close = if found.state.close_now {
                Close::Now
            } else if found.state.close_after_reply {
                Close::AfterOutput
            } else {
                Close::No
            };
            ready.push(Ready { session, resume, close });
        }
        let mut wakers = std::mem::take(&mut core.wakers);
        core.journal.take_wakers(&mut wakers);
        TurnEnd {
            ready,
            actions: std::mem::take(&mut core.actions),
            wakers,
            slow_writers: core.slow_writers,
            garbage: self.ks.take_garbage(),
        }
    }

    /// Does what is due: expiry, timeouts of waiting sessions, the end of a pause, limits. To be called within a turn of
    /// its own about ten times a second, or at the time it gives (ms since the epoch) if that is earlier.
    pub fn tick(&mut self) -> Option<u64> {
        crate::tick::tick(self)
    }

    // ---- waiting sessions ---------------------------------------------------------------------------------------

    /// Serves those who wait for keys that changed, in the order in which they came, until nothing more changes.
    pub(crate) fn serve_ready(&mut self) {
        while let Some((db, key)) = self.core.blocking.pop_ready() {
            for id in self.core.blocking.queue(db, &key) {
                let Some(kind) = self.ks.type_of(db, &key) else { break };
                self.retry(id, kind);
            }
        }
        exec::settle_observation(&mut self.ks, &mut self.core);
    }

    /// Runs a waiting session's command again. It goes on waiting if it still finds nothing.
    fn retry(&mut self, id: SessionId, kind: keystead_keyspace::KeyType) {
        let Some(mut session) = self.core.sessions.take(id) else { return };
        let Some(Parked::Keys(wait)) = session.state.parked.take() else {
            self.core.sessions.put(session);
            return;
        };
        if !commands::blocks_on(wait.command, kind) {
            session.state.parked = Some(Parked::Keys(wait));
            self.core.sessions.put(session);
            return;
        }
        let Session { out, state } = &mut *session;
        let (selected, begin) = (state.db, out.len());
        state.db = wait.db;
        let core = &mut self.core;
        exec::call(&mut self.ks, core, state, out, wait.command, wait.args.view(), Origin::Client, false);
        state.db = selected;
        if core.park.take().is_some() {
            out.truncate(begin);
            state.parked = Some(Parked::Keys(wait));
            core.sessions.put(session);
            return;
        }
        core.blocking.remove(id, &wait);
        exec::drop_reply_if_off(state, out, begin);
        state.resumed = true;
        self.core.sessions.put(session);
        self.core.sessions.list(id);
        self.core.check_output(id);
    }

    /// A plugin's asynchronous command is done: `reply` is RESP. Nothing happens if the session no longer waits for it.
    pub fn complete(&mut self, id: SessionId, ticket: u64, reply: &[u8]) {
        let Some(session) = self.core.sessions.get_mut(id) else { return };
        let waits = matches!(&session.state.parked, Some(Parked::Async { ticket: t, .. }) if *t == ticket);
        if !waits {
            return;
        }
        session.state.parked = None;
        session.state.resumed = true;
        let begin = session.out.len();
        session.out.extend_from_slice(reply);
        exec::drop_reply_if_off(&mut session.state, &mut session.out, begin);
        self.core.sessions.list(id);
    }

    // ---- what plugins and the server do -------------------------------------------------------------------------

    /// Runs a command for the server or a plugin, in a turn; gives the reply as RESP (of the wanted protocol). Guards
    /// for clients don't hold.
    pub fn exec(&mut self, db: usize, argv: &[&[u8]], origin: Origin, proto: Proto) -> Vec<u8> {
        let args: OwnedArgs = argv.iter().collect();
        // Nobody stands behind this call who could wait.
        let origin = if origin == Origin::Client { Origin::Internal } else { origin };
        let mut state = State::nobody(self.core.now_ms());
        state.db = db;
        state.proto = proto;
        let mut out = Vec::new();
        let known = match args.is_empty() {
            true => Err(crate::error::CommandError::SYNTAX),
            false => exec::find(&self.core, args.view()),
        };
        match known {
            Err(error) => Writer::new(&mut out, proto).error(error.text()),
            Ok(command) if !command.arity_ok(args.len()) => {
                let error = crate::error::CommandError::arity(&command.full_name);
                Writer::new(&mut out, proto).error(error.text());
            }
            Ok(command) => {
                let core = &mut self.core;
                exec::call(&mut self.ks, core, &mut state, &mut out, command, args.view(), origin, core.in_unit);
                commands::connection::forget(core, &mut state);
                exec::settle_observation(&mut self.ks, core);
            }
        }
        if self.core.blocking.has_ready() && !self.core.in_unit {
            self.serve_ready();
        }
        out
    }

    /// Everything inside is one unit: between MULTI and EXEC in the journal if it has more than one effect.
    pub fn atomic<R>(&mut self, body: impl FnOnce(&mut Engine) -> R) -> R {
        let outer = std::mem::replace(&mut self.core.in_unit, true);
        let result = body(self);
        self.core.in_unit = outer;
        if !outer {
            let mut state = State::nobody(self.core.now_ms());
            exec::finish_unit(&mut self.core, &mut state);
            if self.core.blocking.has_ready() {
                self.serve_ready();
            }
        }
        result
    }

    /// Sends a message to subscribers; gives how many got it. Not propagated.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        self.core.publish(channel, message)
    }

    /// The gates, to be shared with whoever sets them.
    pub fn gates(&self) -> Arc<Gates> {
        self.core.gates.clone()
    }

    /// A plugin's command joins. `replace` lets it take the place of a native one (endpoints only).
    pub fn register_command(
        &mut self,
        plugin: &str,
        spec: OwnedSpec,
        body: ForeignBody,
        replace: bool,
    ) -> Result<&'static Command, String> {
        let command = self.core.registry.add_foreign(plugin, spec, body, replace)?;
        self.size_stats();
        Ok(command)
    }

    /// A plugin's INFO section joins. If the core (or another plugin) has one of that name, it takes its place, or with
    /// `append` its lines follow.
    pub fn register_info(&mut self, plugin: &str, section: &str, append: bool, body: Arc<dyn ForeignInfo>) {
        let name = section.to_ascii_lowercase();
        self.core.info_sections.push(InfoSection { plugin: plugin.to_owned(), name, body, append });
    }

    /// A plugin's parameter joins.
    pub fn register_config(
        &mut self,
        plugin: &str,
        name: &str,
        alias: Option<&str>,
        body: Arc<dyn ForeignConfig>,
    ) -> Result<(), String> {
        self.core.config.add_foreign(plugin, name, alias, body)
    }

    /// A plugin's hook joins.
    pub fn register_hook(&mut self, plugin: &str, hook: Arc<dyn ForeignHook>) {
        self.core.hooks.push(Hook { plugin: plugin.to_owned(), hook });
        self.core.count_hooks();
    }

    /// Where PLUGIN LIST looks.
    pub fn set_plugins(&mut self, plugins: Arc<dyn ForeignRegistry>) {
        self.core.plugins = Some(plugins);
    }

    /// Forgets everything that a plugin registered. Its waiting sessions get an error.
    pub fn unregister_plugin(&mut self, plugin: &str) {
        self.core.registry.remove_plugin(plugin);
        self.core.info_sections.retain(|section| section.plugin != plugin);
        self.core.config.remove_plugin(plugin);
        self.core.hooks.retain(|hook| hook.plugin != plugin);
        self.core.count_hooks();
        self.core.foreign_pauses.retain(|(name, ..)| name != plugin);
        let waiting: Vec<(SessionId, u64)> = self
            .core
            .sessions
            .iter()
            .filter_map(|session| match &session.state.parked {
                Some(Parked::Async { ticket, command, .. }) if command.plugin.as_deref() == Some(plugin) => {
                    Some((session.state.id, *ticket))
                }
                _ => None,
            })
            .collect();
        for (id, ticket) in waiting {
            self.complete(id, ticket, b"-ERR the plugin of this command was stopped\r\n");
        }
    }

    /// A plugin's own pause beside CLIENT PAUSE; `Pause::Off` ends it.
    pub fn pause(&mut self, plugin: &str, kind: Pause, until_ms: u64) {
        self.core.pause_for(plugin, kind, until_ms);
        self.settle_pause();
    }

    /// Runs what waited for a pause that was ended.
    fn settle_pause(&mut self) {
        if std::mem::take(&mut self.core.pause_ended) && !self.core.is_paused() {
            crate::tick::end_pause(self);
        }
    }

    /// This node became a replica: whoever waits for keys is told so, for the writes that would have woken it don't come
    /// from clients any more.
    pub fn unblock_all(&mut self) {
        let ids: Vec<SessionId> = self.core.sessions.ids().collect();
        for id in ids {
            if self.session(id).is_some_and(|state| matches!(state.parked, Some(Parked::Keys(_)))) {
                crate::tick::unblock(&mut self.ks, &mut self.core, id, crate::tick::Unblock::Demoted);
            }
        }
    }

    /// Closes sessions that a filter chooses; gives how many.
    pub fn kill_clients(&mut self, choose: impl Fn(&State) -> bool) -> usize {
        self.core.kill_clients(choose)
    }

    /// A plugin says what a session is (a replica it feeds).
    pub fn set_kind(&mut self, id: SessionId, kind: Kind) {
        if let Some(state) = self.session_mut(id) {
            state.kind = kind;
            state.refresh_quick();
        }
    }

    /// Tells INFO something that only the server knows: `executable`, `config_file`, `os`, `mem_allocator`.
    pub fn set_fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.core.facts.insert(name, value.into());
    }

    /// Lets INFO ask the operating system.
    pub fn set_probe(&mut self, probe: fn() -> Probe) {
        self.core.probe = Some(probe);
    }

    /// The configuration changed: what depends on it follows.
    pub fn apply_config(&mut self) {
        commands::config::apply(&mut self.ks, &mut self.core);
    }
}

impl Core {
    /// Closes a session: at once, or a plugin's socket by its owner.
    pub(crate) fn kill(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.state.close_now = true;
        if session.state.taken_over {
            self.actions.push(Action::KillTakenOver { session: id });
        }
        self.sessions.list(id);
    }

    pub(crate) fn cancel_async(&mut self, ticket: u64, command: &'static Command) {
        if let crate::registry::Body::Foreign(ForeignBody::Async(body)) = &command.body {
            self.actions.push(Action::CancelAsync { command: body.clone(), ticket });
        }
    }

    pub(crate) fn count_hooks(&mut self) {
        self.write_hooks = self.hooks.iter().filter(|hook| hook.hook.wants_writes()).count();
    }

    fn notify_conn(&mut self, event: ConnEvent, id: SessionId) {
        let Some(session) = self.sessions.get(id) else { return };
        self.hooks.retain(|hook| hook.hook.on_conn(event, &session.state));
        self.count_hooks();
    }

    /// Decides again whether commands must look at monitors and pauses.
    pub(crate) fn refresh_watchful(&mut self) {
        self.watchful =
            !self.sessions.monitors.is_empty() || self.pause != Pause::Off || !self.foreign_pauses.is_empty();
    }
}

/// A run id for engines that weren't given one.
fn make_run_id(seeds: [u64; 4]) -> String {
    let text: String = seeds.iter().map(|seed| format!("{:016x}", seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    text[..40].to_owned()
}

const PROTECTED: &[u8] =
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to \
connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode \
sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same \
host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG \
REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis \
configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started \
the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication \
password for the default user. NOTE: You only need to do one of the above things in order for the server to start \
accepting connections from the outside.\r\n";
