//! What the engine owns beside the keys: sessions, command table, configuration, journal, pub/sub, waiting lists,
//! statistics. A handler reaches all of it through its context, apart from the keyspace, so that both can be borrowed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Waker;

use keystead_keyspace::KeyLog;
use keystead_resp::{OwnedArgs, Writer};

use crate::acl::Acl;
use crate::barrier::Barriers;
use crate::blocking::{Blocking, ParkRequest};
use crate::config::Config;
use crate::effect::{Origin, Targets};
use crate::engine::{Action, EngineMode, Now};
use crate::error::CommandError;
use crate::evict::Room;
use crate::foreign::{ForeignHook, ForeignInfo, ForeignRegistry};
use crate::gates::Gates;
use crate::journal::{Journal, Unit};
use crate::latency::LatencyMonitor;
use crate::pause::{ForeignPause, Pause};
use crate::pubsub::{PubSub, Space};
use crate::registry::Registry;
use crate::secrets::Secrets;
use crate::session::{Session, SessionId, State};
use crate::sessions::Sessions;
use crate::slowlog::SlowLog;
use crate::stats::Stats;
use crate::tracking::Tracking;
use crate::wall::WallClock;
use crate::watch::WatchIndex;

/// Memory, as only the operating system knows it, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    /// Resident.
    pub rss: u64,
    /// Of that, what no file lies behind: the heap above all.
    pub anonymous: u64,
    /// The machine's.
    pub total_memory: u64,
}

/// Processor time, as only the operating system knows it, in µs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// In the kernel.
    pub sys_us: u64,
    /// Outside of it.
    pub user_us: u64,
    /// The calling thread's part of `sys_us`.
    pub sys_thread_us: u64,
    /// The calling thread's part of `user_us`.
    pub user_thread_us: u64,
}

/// A hook and the plugin it belongs to.
pub(crate) struct Hook {
    pub plugin: String,
    pub hook: Arc<dyn ForeignHook>,
}

/// A plugin's INFO section.
pub(crate) struct InfoSection {
    pub plugin: String,
    /// Lower case.
    pub name: String,
    pub body: Arc<dyn ForeignInfo>,
    /// Its lines follow the core's section of that name; else they take its place.
    pub append: bool,
}

/// Everything but the keys.
pub struct Core {
    /// Data server or endpoint.
    pub mode: EngineMode,
    /// Forty hexadecimal digits that name this run.
    pub run_id: String,
    /// The clock of this turn.
    pub now: Now,
    /// When the engine was made.
    pub started: Now,
    /// All sessions but the running one.
    pub sessions: Sessions,
    /// All commands.
    pub registry: Registry,
    /// CONFIG.
    pub config: Config,
    /// Users and what they may do.
    pub acl: Acl,
    /// Conditions that close commands.
    pub gates: Arc<Gates>,
    /// Who holds replies back until their writes are confirmed.
    pub barriers: Arc<Barriers>,
    /// The journal.
    pub journal: Journal,
    /// Subscriptions.
    pub pubsub: PubSub,
    /// Who caches what.
    pub tracking: Tracking,
    /// Waiting for keys.
    pub blocking: Blocking,
    /// Counters.
    pub stats: Stats,
    /// SLOWLOG.
    pub slowlog: SlowLog,
    /// LATENCY.
    pub latency: LatencyMonitor,
    /// Where PLUGIN LIST looks.
    pub plugins: Option<Arc<dyn ForeignRegistry>>,
    pub(crate) unit: Unit,
    /// Effects are collected until the end of EXEC or of a plugin's atomic block.
    pub(crate) in_unit: bool,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) write_hooks: usize,
    pub(crate) info_sections: Vec<InfoSection>,
    pub(crate) actions: Vec<Action>,
    pub(crate) wakers: Vec<Waker>,
    /// When this turn began, on the monotonic clock; `now` may move inside of it.
    pub(crate) turn_began_us: u64,
    /// The end of the lease under which it began, if it did.
    pub(crate) turn_lease_us: Option<u64>,
    pub(crate) park: Option<ParkRequest>,
    /// CLIENT PAUSE, and its end in ms of the clock that never jumps.
    pub(crate) pause: Pause,
    pub(crate) pause_until_ms: u64,
    /// Pauses beside it.
    pub(crate) foreign_pauses: Vec<ForeignPause>,
    /// Sessions that wait for the pause to end, in order.
    pub(crate) paused: Vec<SessionId>,
    /// A pause was ended or replaced: those who wait are to be looked at.
    pub(crate) pause_changed: bool,
    /// Keys that somebody watches.
    pub watch: WatchIndex,
    /// The keyspace logs what it touches.
    pub(crate) observing: bool,
    pub(crate) room: Room,
    /// Keyspace events are published.
    pub(crate) notifying: bool,
    /// What the server still holds for sessions that are closed, until the turn is over: no key has to go for it.
    pub(crate) leaving: u64,
    /// Bytes that jobs hold beside the data, snapshots on their way to a file or a replica: no key has to go for them.
    pub jobs_bytes: Arc<AtomicU64>,
    /// Sessions whose output was found beyond a soft limit: they are looked at again without any traffic.
    pub(crate) over_soft: Vec<SessionId>,
    /// Somebody monitors or something is paused: no fast way.
    pub(crate) watchful: bool,
    pub(crate) next_ticket: u64,
    /// KEYS that wait until others are through.
    pub(crate) readers: crate::commands::keys_cut::Queue,
    /// See [`Core::random`].
    pub(crate) dice: u64,
    pub(crate) secrets: Secrets,
    pub(crate) touched: KeyLog,
    pub(crate) expired: KeyLog,
    pub(crate) missed: KeyLog,
    pub(crate) clock: Option<fn() -> u64>,
    pub(crate) wall: WallClock,
    pub(crate) used_memory: Option<fn() -> u64>,
    pub(crate) purge: Option<fn()>,
    pub(crate) startup_memory: u64,
    pub(crate) probe: Option<fn() -> Probe>,
    pub(crate) spent: Option<fn() -> Spent>,
    /// What the server knows and INFO shows: `executable`, `config_file`, `os`, `mem_allocator`.
    pub(crate) facts: BTreeMap<&'static str, String>,
    pub(crate) active_expire: bool,
    /// DEBUG PAUSE-CRON.
    pub(crate) cron_paused: bool,
    /// Keys that this replica's own clients let expire.
    pub(crate) own_deadlines: crate::own_deadlines::OwnDeadlines,
    /// Said once: deadlines of hash fields don't fit into the version that others read.
    pub(crate) hash_deadlines_told: bool,
    /// A long command is running and this is a turn inside of it: what commands that must wait are told.
    pub(crate) busy: Option<CommandError>,
    /// The server goes down in the middle of a script: what the script did goes nowhere, and nor does anything after it.
    pub torn: bool,
    /// The running command was called by a script.
    pub(crate) in_script: bool,
    /// A plugin's command called the one that runs, and reads its reply.
    pub(crate) in_call: bool,
    /// DEBUG SET-DISABLE-DENY-SCRIPTS: scripts may call what is not for scripts.
    pub(crate) allow_noscript: bool,
    pub(crate) sample: u32,
    /// For whom clients that write are paced.
    pub(crate) pacing: crate::pacing::Pacing,
    /// Why the process must end, if it must.
    pub(crate) broken: Option<String>,
    /// When the log was last told that a replica's disk takes nothing of what it executes.
    pub(crate) told_of_disk_us: Option<u64>,
    pub(crate) last_save_s: u64,
    /// The end was asked for (by SHUTDOWN or a signal) and was neither refused nor taken back. The server sets it.
    pub shutting_down: bool,
}

impl Core {
    /// Milliseconds since the epoch, frozen for this turn.
    pub fn now_ms(&self) -> u64 {
        self.now.unix_ms
    }

    /// Milliseconds of a clock that never jumps, frozen for this turn: for what waits and what lasts. Nobody sets it.
    pub fn mono_ms(&self) -> u64 {
        self.now.mono_ms()
    }

    /// The time of day as it was when the engine was made, and gone on with since then whatever was set.
    pub(crate) fn steady_ms(&self) -> u64 {
        self.started.unix_ms + self.mono_ms().saturating_sub(self.started.mono_ms())
    }

    /// A turn begins, under a lease or not.
    pub(crate) fn note_lease(&mut self) {
        self.turn_began_us = self.now.mono_us;
        self.turn_lease_us = self.gates.lease_end().filter(|end| self.now.mono_us < *end);
    }

    /// Before which moment what this turn did may be acknowledged, if it rests on a lease; long ago, if that was taken back
    /// inside the turn. The clock of the turn moves where a long command lets others in, so it says nothing here.
    pub fn lease_end(&self) -> Option<u64> {
        match (self.turn_lease_us, self.gates.lease_end()) {
            (Some(began), Some(end)) if end < began => Some(0),
            (_, end) => end.filter(|end| self.turn_began_us < *end),
        }
    }

    /// What an endpoint calls itself; None for a data server.
    pub fn mode_name(&self) -> Option<String> {
        match &self.mode {
            EngineMode::Data => None,
            EngineMode::Endpoint { name, .. } => Some(name.clone()),
        }
    }

    /// An endpoint in a process that serves data.
    pub fn beside_data(&self) -> bool {
        matches!(self.mode, EngineMode::Endpoint { beside_data: true, .. })
    }

    /// The next number of a generator whose numbers clients see, and can go on from: for choices, never for secrets.
    pub fn random(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Writes into another session's output and puts it on the list for the server.
    pub fn deliver(&mut self, id: SessionId, write: impl FnOnce(&mut Writer<'_>)) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.state.close_now {
            return;
        }
        let Session { out, state } = session;
        write(&mut Writer::new(out, state.proto));
        state.shows_all();
        self.sessions.list(id);
        self.sessions.seal(id);
        self.check_output(id);
    }

    /// Closes a session at once if its output is beyond its class' limits.
    pub(crate) fn check_output(&mut self, id: SessionId) {
        self.recount(id);
        let now_ms = self.mono_ms();
        let limits = &self.config.live.output_limits;
        // Who is closed already was told of and counted.
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.state.close_now) else { return };
        if let Some(why) = crate::limits::exceeded(session, limits, now_ms) {
            self.close_for_output(id, why);
        } else if session.state.soft_since_ms == Some(now_ms) {
            self.over_soft.push(id);
        }
    }

    /// Closes a session for its output: what waits of that is dropped.
    pub(crate) fn close_for_output(&mut self, id: SessionId, why: &str) {
        let now_ms = self.mono_ms();
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.state.close_now) else { return };
        let who = crate::commands::client_list::describe(&session.state, session.out.len(), now_ms, None);
        log::warn!("Client {who} scheduled to be closed ASAP for overcoming of output buffer limits ({why}).");
        session.state.close_now = true;
        self.drop_output(id);
        self.stats.output_limit_disconnections += 1;
        self.sessions.list(id);
    }

    /// Closes sessions whose time beyond the soft limit is up.
    pub(crate) fn check_soft_limits(&mut self) {
        for id in std::mem::take(&mut self.over_soft) {
            self.check_output(id);
            let waits = |session: &mut Session| session.state.soft_since_ms.is_some() && !session.state.close_now;
            if self.sessions.get_mut(id).is_some_and(waits) && !self.over_soft.contains(&id) {
                self.over_soft.push(id);
            }
        }
    }

    /// Sends a message to subscribers, from inside a command; gives how many got it. Not propagated. The running session
    /// itself, should it listen, is left out.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        crate::pubsub::publish(self, None, Space::Channel, channel, message)
    }

    /// Closes all sessions but the running one that a filter chooses; gives how many.
    pub fn kill_clients(&mut self, choose: impl Fn(&State) -> bool) -> usize {
        let lives = self.sessions.iter().filter(|session| !session.state.close_now);
        let ids: Vec<SessionId> = lives.filter(|session| choose(&session.state)).map(|s| s.state.id).collect();
        for id in &ids {
            self.kill(*id);
        }
        ids.len()
    }

    /// Appends a record that belongs to no database (PING, REPLCONF GETACK). Refused while paused: then nothing may move
    /// the offset, for a failover waits until replicas have reached it. But CLIENT PAUSE may last for longer than a
    /// replica waits for a sign of life: that is given, as by Redis.
    pub fn control_record(&mut self, targets: Targets, argv: &[&[u8]]) -> bool {
        let lives = *argv == [b"PING".as_slice()];
        if self.torn || self.stands_still() || (self.is_paused() && !lives) {
            return false;
        }
        self.journal.append_control(targets, argv);
        true
    }

    /// Records an effect that isn't the return value of the running command; it becomes part of the running unit.
    pub(crate) fn push_effect<'a>(
        &mut self,
        db: usize,
        targets: Targets,
        origin: Origin,
        argv: impl ExactSizeIterator<Item = &'a [u8]>,
    ) {
        if self.write_hooks > 0 {
            let argv: OwnedArgs = argv.collect();
            crate::exec::run_hooks(self, db, argv.view(), origin);
            self.unit.push(db as u32, targets, origin, argv.view().iter());
        } else if self.journal.is_active() {
            self.unit.push(db as u32, targets, origin, argv);
        } else {
            self.unit.count(db as u32, targets, origin);
        }
    }

    /// True if somebody needs the bytes of effects: the journal is active or a hook asked for writes.
    #[inline]
    pub fn effects_wanted(&self) -> bool {
        self.journal.is_active() || self.write_hooks > 0
    }

    /// The server's own work since `started` (µs) is an event of LATENCY, if it took long enough.
    pub(crate) fn note_latency(&mut self, event: &'static str, started: Option<u64>) {
        let (Some(clock), Some(started)) = (self.clock, started) else { return };
        let ms = clock().saturating_sub(started) / 1000;
        let threshold_ms = self.config.live.latency_threshold_ms;
        if threshold_ms > 0 && ms >= threshold_ms {
            let now_s = self.now_ms() / 1000;
            self.latency.add(event, now_s, ms);
        }
    }

    /// The keys were replaced by a primary's: none of them is a client's of this replica, which would let it expire.
    pub fn forget_own_deadlines(&mut self) {
        self.own_deadlines.clear();
    }

    /// Asks the server for something after the turn.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}
