//! The engine as the server sees it: sessions come and go, turns run commands, a tick does what is due. Owns the keys and
//! the core; the server wraps it in a lock and carries out its actions.

mod busy;
mod inside;
mod panics;
mod pipeline;
mod plugins;
mod serving;
mod types;
mod waiting;

pub use busy::BusyTurn;
pub use types::{Action, Close, EngineMode, EngineOptions, Flow, Now, Ready, Traffic, TurnEnd};

use std::sync::Arc;

use keystead_keyspace::{Keyspace, Options, UnixMillis};
use keystead_resp::{Args, Begun};

use crate::barrier::Barriers;
use crate::blocking::Blocking;
use crate::commands;
use crate::config::Config;
use crate::core::{Core, Probe, Spent};
use crate::foreign::{ConnEvent, ForeignBody};
use crate::gates::Gates;
use crate::journal::{Journal, Unit};
use crate::limits::Buffers;
use crate::pause::Pause;
use crate::pubsub::PubSub;
use crate::registry::{Command, Known, Registry};
use crate::secrets::Secrets;
use crate::session::{ConnInfo, Kind, Parked, SessionId, State};
use crate::sessions::Sessions;
use crate::slowlog::SlowLog;
use crate::stats::{CommandStats, Stats};
use crate::wall::WallClock;

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
        let secrets = Secrets::new(options.seeds);
        let mut ks = Keyspace::new(Options { databases, seeds: secrets.keyspace(), ..Options::default() });
        ks.set_now(UnixMillis(options.now.unix_ms));
        let run_id = if options.run_id.is_empty() { secrets.run_id() } else { options.run_id };
        let mut config = Config::new(&options.mode);
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
                acl: Default::default(),
                gates: Arc::new(Gates::default()),
                barriers: Arc::default(),
                journal: Journal::new(),
                pubsub: PubSub::default(),
                tracking: Default::default(),
                blocking: Blocking::default(),
                stats: Stats::default(),
                slowlog: SlowLog::default(),
                latency: Default::default(),
                plugins: None,
                unit: Unit::default(),
                in_unit: false,
                hooks: Vec::new(),
                write_hooks: 0,
                info_sections: Vec::new(),
                actions: Vec::new(),
                wakers: Vec::new(),
                turn_began_us: 0,
                turn_lease_us: None,
                park: None,
                pause: Pause::Off,
                pause_until_ms: 0,
                foreign_pauses: Vec::new(),
                paused: Vec::new(),
                pause_changed: false,
                watch: Default::default(),
                observing: false,
                room: Default::default(),
                notifying: false,
                leaving: 0,
                jobs_bytes: Arc::default(),
                over_soft: Vec::new(),
                hash_deadlines_told: false,
                watchful: false,
                next_ticket: 0,
                readers: Default::default(),
                dice: secrets.dice(),
                secrets,
                touched: Default::default(),
                expired: Default::default(),
                missed: Default::default(),
                clock: options.clock,
                wall: WallClock::new(options.wall_clock),
                used_memory: options.used_memory,
                purge: options.purge,
                startup_memory: options.used_memory.map_or(0, |count| count()),
                probe: None,
                spent: None,
                facts: Default::default(),
                active_expire: true,
                cron_paused: false,
                own_deadlines: Default::default(),
                busy: None,
                torn: false,
                in_script: false,
                in_call: false,
                allow_noscript: false,
                sample: 0,
                pacing: Default::default(),
                broken: None,
                told_of_disk_us: None,
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
        self.core.stats.histograms.resize(indexes, None);
    }

    // ---- sessions -----------------------------------------------------------------------------------------------

    /// A client connected. Refused with the bytes to send before closing.
    pub fn connect(&mut self, info: ConnInfo, now: Now) -> Result<SessionId, Vec<u8>> {
        self.core.connect(info, now)
    }

    /// A client went away.
    pub fn disconnect(&mut self, id: SessionId) {
        let Some(mut session) = self.core.sessions.take(id) else { return };
        self.unpark(&mut session.state);
        self.core.leaving -= session.state.leaving as u64;
        commands::connection::forget(&mut self.core, &mut session.state);
        self.core.forget_own(id);
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

    /// Takes a session's output by exchanging it with an empty, small buffer, which the session keeps. Gives the journal's
    /// position that the output, and all before it, depends on: with barriers it may be shown when that is confirmed.
    pub fn swap_out(&mut self, id: SessionId, buffer: &mut Vec<u8>) -> u64 {
        self.core.swap_out(id, buffer)
    }

    /// The server still holds so many bytes of output and of undecoded input for a session. Closes it (by the list of the
    /// next `end_turn`) if that is too much.
    pub fn report_buffers(&mut self, id: SessionId, buffers: Buffers) {
        self.core.report_buffers(id, buffers);
    }

    /// So much input of a session has arrived and isn't executed, with so much room behind it.
    pub fn report_arrived(&mut self, id: SessionId, unread: usize, spare: usize, begun: Begun) {
        let now_ms = self.core.mono_ms();
        if let Some(state) = self.session_mut(id) {
            state.note_input(unread, now_ms);
            (state.pending_in, state.spare_in, state.begun_in) = (unread, spare, begun);
        }
        self.core.recount(id);
    }

    /// Closes clients until the rest fits into `maxmemory-clients`.
    pub fn evict_clients(&mut self) {
        self.core.evict_clients();
    }

    /// Everything that was held for a session is sent.
    pub fn report_sent(&mut self, id: SessionId) {
        self.core.report_sent(id);
    }

    /// Counts traffic, for INFO.
    pub fn report_traffic(&mut self, traffic: Traffic) {
        self.core.report_traffic(traffic);
    }

    /// What the decoder must allow a session.
    pub fn limits(&self, id: SessionId) -> keystead_resp::Limits {
        self.core.limits(id)
    }

    /// The protocol was broken: answers the error; the server closes the connection behind it.
    pub fn protocol_error(&mut self, id: SessionId, error: &keystead_resp::ProtocolError) {
        self.core.protocol_error(id, error);
    }

    // ---- turns --------------------------------------------------------------------------------------------------

    /// Freezes the clock for what follows.
    pub fn begin_turn(&mut self, now: Now) {
        self.core.now = now;
        self.core.note_lease();
        self.core.wall.go_on();
        self.ks.set_clocks(UnixMillis(now.unix_ms), self.core.steady_ms());
    }

    /// Runs one command of a session.
    pub fn execute(&mut self, id: SessionId, args: Args<'_>) -> Flow {
        self.execute_known(id, args, None)
    }

    /// The same for one that [`ahead`](Engine::ahead) has looked up.
    #[inline]
    pub fn execute_known(&mut self, id: SessionId, args: Args<'_>, known: Option<Known>) -> Flow {
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
        let flow = self.execute_guarded(&mut session, args, known);
        let large = session.out.len() as u64 >= self.core.config.live.output_limits.lowest;
        self.core.sessions.put(session);
        if large {
            self.core.settle_large(id);
        }
        if self.core.blocking.has_ready() {
            self.serve_ready();
        }
        if self.core.pause_changed {
            self.settle_pause();
        }
        flow
    }

    /// Ends a turn: what the server has to do now.
    pub fn end_turn(&mut self) -> TurnEnd {
        self.settle_pause();
        if self.core.tracking.active() {
            self.core.broadcast_changes();
        }
        self.core.evict_clients();
        let mut garbage = self.ks.take_garbage();
        self.core.tracking.leave(&mut garbage);
        if !garbage.is_empty() {
            garbage = garbage.counted_by(&self.core.stats.lazyfree);
        }
        TurnEnd { garbage, ..self.core.end_turn() }
    }

    /// Does what is due: expiry, timeouts of waiting sessions, the end of a pause, limits. To be called within a turn of
    /// its own about ten times a second, or at the time it gives (ms of the clock that never jumps) if that is earlier.
    pub fn tick(&mut self) -> Option<u64> {
        crate::tick::tick(self)
    }

    // ---- what plugins and the server do -------------------------------------------------------------------------

    /// Sends a message to subscribers; gives how many got it. Not propagated.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        self.core.publish(channel, message)
    }

    /// The gates, to be shared with whoever sets them.
    pub fn gates(&self) -> Arc<Gates> {
        self.core.gates.clone()
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
        self.core.recount(id);
    }

    /// The barriers, to be shared with whoever confirms and whoever holds.
    pub fn barriers(&self) -> Arc<Barriers> {
        self.core.barriers.clone()
    }

    /// Tells INFO something that only the server knows: `executable`, `config_file`, `os`, `mem_allocator`.
    pub fn set_fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.core.facts.insert(name, value.into());
    }

    /// Lets INFO ask the operating system.
    pub fn set_probe(&mut self, memory: fn() -> Probe, processor: fn() -> Spent) {
        (self.core.probe, self.core.spent) = (Some(memory), Some(processor));
    }

    /// The configuration changed: what depends on it follows.
    pub fn apply_config(&mut self) {
        commands::config::apply(&mut self.ks, &mut self.core, &mut State::nobody(0));
    }
}

impl Core {
    /// Closes a session: at once, or a plugin's socket by its owner.
    pub(crate) fn kill(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.state.close_now = true;
        // Its socket is closed behind the turn, but to the next command already it isn't there.
        commands::connection::forget(self, &mut session.state);
        self.sessions.put(session);
        self.drop_output(id);
        let Some(session) = self.sessions.get_mut(id) else { return };
        // Nothing may be popped for it any more: the element would be lost.
        match session.state.parked.take() {
            Some(Parked::Keys(wait)) => self.blocking.remove(id, &wait),
            parked => session.state.parked = parked,
        }
        let Some(session) = self.sessions.get_mut(id) else { return };
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
        self.watchful = self.busy.is_some() || !self.sessions.monitors.is_empty() || self.has_pauses();
    }
}
