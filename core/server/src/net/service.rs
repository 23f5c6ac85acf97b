//! One engine behind its lock, and everything that must happen around a turn: time is frozen before it, and after it
//! other sessions' owners are told, actions are carried out, readers of the journal are woken, all outside the lock.
//!
//! Lock order: the engine first, then whatever a plugin holds. Nothing is awaited under the lock.

use super::before::BeforeReplies;
use super::exchange::{KEPT_FOR, Peers};
use super::lock::{Lock, Turn};
use super::socket::Socket;
use crate::tls;
use async_channel::Sender;
use keystead_engine::core::Core;
use keystead_engine::engine::{Action, Ready, TurnEnd};
use keystead_engine::keyspace::Garbage;
use keystead_engine::offload::{Exchange, Exchanged, Job, Turns};
use keystead_engine::registry::Command;
use keystead_engine::resp::Limits;
use keystead_engine::{Barriers, ConnInfo, Engine, Now, OwnedArgs, SessionId};
use parking_lot::Mutex;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Who reads and writes a session's socket. Called after a turn, outside the lock; must not block.
pub(crate) trait Owner: Send + Sync {
    /// The session has output, may go on, or must be closed.
    fn ready(&self, ready: Ready);
    /// A command of this session's own turn takes its socket.
    fn take_over(&self, handover: Handover);
    /// The session's socket must be shut, whoever holds it now.
    fn kill(&self, session: SessionId);
}

/// Whoever holds replies until barriers let them go. Called outside the lock; must not block.
pub(crate) trait Holder: Send + Sync {
    /// More is confirmed.
    fn released(&self);
}

/// What a takeover needs beside the socket.
pub(crate) struct Handover {
    /// The session, which stays in the table.
    pub(crate) session: SessionId,
    /// The plugin's command.
    pub(crate) command: &'static Command,
    /// Its arguments.
    pub(crate) args: OwnedArgs,
}

/// A socket that a plugin took over.
pub(crate) struct Taken {
    /// What was asked for.
    pub(crate) handover: Handover,
    /// The stream.
    pub(crate) socket: Socket,
    /// What the client sent behind the command.
    pub(crate) rest: Vec<u8>,
    /// Ends the session when it is dropped; goes with the socket.
    pub(crate) guard: SessionGuard,
}

/// Ends a session when it is dropped. May be dropped anywhere, also inside a turn: the end comes with the next tick.
pub(crate) struct SessionGuard {
    service: Arc<Service>,
    session: SessionId,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.service.disconnect_later(self.session);
    }
}

/// Where taken sockets go: the plugin host.
pub(crate) trait TakeoverHost: Send + Sync {
    /// The plugin's own future serves the socket from now on.
    fn take(&self, taken: Taken);
}

/// What an engine asks of the whole instance.
pub(crate) enum Order {
    /// SHUTDOWN.
    Shutdown {
        /// Its options.
        how: Ending,
        /// Who waits, if somebody does: the port, the session and the call's name.
        reply: Option<Waiting>,
    },
    /// SHUTDOWN ABORT.
    AbortShutdown,
    /// A plugin ends the process.
    Exit {
        /// As SIGTERM does; else as failed.
        clean: bool,
    },
    /// CONFIG REWRITE; the session that waits gets the answer.
    RewriteConfig {
        /// Whose parameters.
        service: Arc<Service>,
        /// Who waits, and the call's name.
        reply: Option<(SessionId, u64)>,
        /// A transaction waits, and not for long.
        in_exec: bool,
    },
    /// ACL LOAD and SAVE; the session that waits gets the answer.
    AclFile {
        /// Whose users.
        service: Arc<Service>,
        /// What the file must hold; None: it is read.
        save: Option<Vec<u8>>,
        /// Who waits, and the call's name.
        reply: (SessionId, u64),
    },
}

/// SHUTDOWN's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// SAVE, NOSAVE, or as configured.
    pub(crate) save: Option<bool>,
    /// Don't wait for replicas that lag.
    pub(crate) now: bool,
    /// Whatever fails.
    pub(crate) force: bool,
}

/// A session that waits for an answer.
pub(crate) struct Waiting {
    service: Arc<Service>,
    session: SessionId,
    ticket: u64,
}

impl Waiting {
    /// Answers it.
    pub(crate) fn answer(self, reply: &[u8]) {
        // Whoever wants an end that is refused must hear so, most of all when the disk takes nothing.
        self.service.turn(|engine| engine.complete_unseen(self.session, self.ticket, reply));
    }
}

/// What the lock protects.
struct Locked {
    engine: Engine,
}

/// Who has which session, by the session's slot.
#[derive(Default)]
struct Owners(Vec<Option<(SessionId, Arc<dyn Owner>)>>);

/// Something for the end of a turn.
type Late = Box<dyn FnOnce(&mut Engine) + Send>;

/// An engine and its surroundings.
pub(crate) struct Service {
    name: String,
    locked: Lock<Locked>,
    /// Locked behind the engine, and inside a long command too.
    owners: Mutex<Owners>,
    orders: Sender<Order>,
    takeover: OnceLock<Arc<dyn TakeoverHost>>,
    /// Sessions whose guard was dropped.
    gone: Mutex<Vec<SessionId>>,
    /// Done at the end of the next turn, in order.
    late: Mutex<Vec<Late>>,
    /// Wakes the ticker before its time.
    pub(crate) tick_soon: super::signal::Signal,
    barriers: Arc<Barriers>,
    /// What is done before replies leave.
    pub(crate) before_replies: BeforeReplies,
    holders: Mutex<Vec<Arc<dyn Holder>>>,
    tls: Arc<tls::Context>,
    /// Connections to other servers that commands asked for.
    peers: Peers,
}

impl Service {
    /// Wraps an engine.
    pub(crate) fn new(name: &str, engine: Engine, orders: Sender<Order>, tls: Arc<tls::Context>) -> Arc<Service> {
        let barriers = engine.barriers();
        let peers = Peers::new(engine.core.stats.kept_links.clone());
        Arc::new(Service {
            name: name.to_owned(),
            locked: Lock::new(Locked { engine }),
            owners: Mutex::default(),
            orders,
            takeover: OnceLock::new(),
            gone: Mutex::new(Vec::new()),
            late: Mutex::default(),
            tick_soon: super::signal::Signal::default(),
            barriers,
            before_replies: BeforeReplies::default(),
            holders: Mutex::default(),
            tls,
            peers,
        })
    }

    /// The TLS that is in force for connections of this engine's owner, accepted or made.
    pub(crate) fn tls(&self) -> Arc<tls::Context> {
        self.tls.clone()
    }

    /// The port's name; empty for the engine with the keys.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Says where taken sockets go. Only the first call counts.
    pub(crate) fn set_takeover_host(&self, host: Arc<dyn TakeoverHost>) {
        let _ = self.takeover.set(host);
    }

    /// Runs `body` as one turn. Must not be called from inside a turn.
    pub(crate) fn turn<R>(self: &Arc<Self>, body: impl FnOnce(&mut Engine) -> R) -> R {
        self.turn_with(self.locked.lock(), body)
    }

    /// The same for one of the many turns of a job: who waits for the engine already has its turn first.
    pub(crate) fn turn_of_job<R>(self: &Arc<Self>, body: impl FnOnce(&mut Engine) -> R) -> R {
        self.turn_with(self.locked.lock_behind(), body)
    }

    /// Has something done at the end of the turn that runs, or of the next one. May be called from anywhere.
    pub(crate) fn behind_turn(&self, body: impl FnOnce(&mut Engine) + Send + 'static) {
        self.late.lock().push(Box::new(body));
    }

    fn turn_with<R>(self: &Arc<Self>, mut locked: Turn<'_, Locked>, body: impl FnOnce(&mut Engine) -> R) -> R {
        let mut after = After::default();
        locked.engine.begin_turn(now());
        let result = body(&mut locked.engine);
        self.end(&mut locked, &mut after);
        drop(locked);
        self.carry_out(after);
        result
    }

    /// A connection was refused before it had a session. May be called from anywhere.
    pub(crate) fn note_turned_away(&self) {
        self.behind_turn(|engine| engine.core.stats.rejected_connections += 1);
    }

    /// A new client: gives its session and what it may send, or the bytes of the refusal.
    pub(crate) fn connect(
        self: &Arc<Self>,
        info: ConnInfo,
        owner: Arc<dyn Owner>,
    ) -> Result<(SessionId, Limits), Vec<u8>> {
        let mut after = After::default();
        let session = {
            let mut locked = self.locked.lock();
            let now = now();
            locked.engine.begin_turn(now);
            let session = locked.engine.connect(info, now);
            if let Ok(id) = session {
                self.owners.lock().add(id, owner);
            }
            let session = session.map(|id| (id, locked.engine.limits(id)));
            self.end(&mut locked, &mut after);
            session
        };
        self.carry_out(after);
        session
    }

    /// A connection that a plugin made to its primary, shown as a session until the guard is dropped. It has no limits and
    /// takes no client's place.
    pub(crate) fn show_link(self: &Arc<Self>, info: ConnInfo, owner: Arc<dyn Owner>) -> SessionGuard {
        let session = self.turn(|engine| {
            let session = engine.core.show_link(info);
            self.owners.lock().add(session, owner);
            session
        });
        SessionGuard { service: self.clone(), session }
    }

    /// The client is gone.
    pub(crate) fn disconnect(self: &Arc<Self>, session: SessionId) {
        let mut after = After::default();
        {
            let mut locked = self.locked.lock();
            locked.engine.begin_turn(now());
            self.forget(&mut locked, session);
            self.end(&mut locked, &mut after);
        }
        self.carry_out(after);
    }

    fn forget(&self, locked: &mut Locked, session: SessionId) {
        self.owners.lock().remove(session);
        locked.engine.disconnect(session);
    }

    /// A new client while a long command runs.
    pub(crate) fn connect_inside(
        &self,
        core: &mut Core,
        info: ConnInfo,
        owner: Arc<dyn Owner>,
    ) -> Result<(SessionId, Limits), Vec<u8>> {
        let now = core.now;
        let id = core.connect(info, now)?;
        self.owners.lock().add(id, owner);
        Ok((id, core.limits(id)))
    }

    /// The client is gone, from inside a turn: the end comes with the next tick.
    pub(crate) fn disconnect_later(&self, session: SessionId) {
        self.gone.lock().push(session);
        self.tick_soon.notify();
    }

    /// Carries out what a turn inside a long command left.
    pub(crate) fn end_inside(self: &Arc<Self>, end: TurnEnd) {
        let mut after = After::default();
        self.sort(end, &mut after);
        self.carry_out(after);
    }

    /// Does what is due; gives the time in ms, of the clock that never jumps, when something is due next, and the ticks a
    /// second (`hz`). `None` if somebody's turn is running: the heartbeat comes again rather than hold a thread of the
    /// runtime while it waits for a long turn.
    pub(crate) fn tick(self: &Arc<Self>) -> Option<(Option<u64>, u64)> {
        let mut after = After::default();
        let next = {
            let mut locked = self.locked.try_lock()?;
            let gone = std::mem::take(&mut *self.gone.lock());
            locked.engine.begin_turn(now());
            for session in gone {
                self.forget(&mut locked, session);
            }
            let next = locked.engine.tick();
            let hz = locked.engine.core.config.int("hz");
            self.end(&mut locked, &mut after);
            (next, u64::try_from(hz).unwrap_or(0).clamp(1, 500))
        };
        self.carry_out(after);
        Some(next)
    }

    /// A socket for the plugin host. Without one (no plugin can take over then) the connection ends.
    pub(crate) fn hand_over(self: &Arc<Self>, handover: Handover, socket: Socket, rest: Vec<u8>) {
        let guard = SessionGuard { service: self.clone(), session: handover.session };
        if let Some(host) = self.takeover.get() {
            host.take(Taken { handover, socket, rest, guard });
        }
    }

    /// Up to which position of the journal replies may be shown.
    #[inline]
    pub(crate) fn confirmed(&self) -> u64 {
        self.barriers.confirmed()
    }

    /// True if replies may have to wait.
    #[inline]
    pub(crate) fn holds(&self) -> bool {
        self.barriers.hold()
    }

    /// A source of a barrier has confirmed everything before a position; None: it holds nothing any more.
    pub(crate) fn confirm(&self, source: &str, position: Option<u64>) {
        let before = self.barriers.confirmed();
        self.barriers.confirm(source, position);
        if self.barriers.confirmed() > before {
            self.holders.lock().iter().for_each(|holder| holder.released());
        }
    }

    /// Tells a holder from now on when more is confirmed.
    pub(crate) fn add_holder(&self, holder: Arc<dyn Holder>) {
        self.holders.lock().push(holder);
    }

    fn end(&self, locked: &mut Locked, after: &mut After) {
        let late = std::mem::take(&mut *self.late.lock());
        late.into_iter().for_each(|body| body(&mut locked.engine));
        let end = locked.engine.end_turn();
        self.before_replies.turn_ends(locked.engine.core.journal.position());
        self.sort(end, after);
    }

    /// What a turn left, each with whom it is for.
    fn sort(&self, end: TurnEnd, after: &mut After) {
        let owners = self.owners.lock();
        if let Some(why) = end.broken {
            log::error!("{why}: ending the process");
            std::process::abort();
        }
        after.wakers = end.wakers;
        after.garbage = end.garbage;
        for ready in end.ready {
            if let Some(owner) = owners.get(ready.session) {
                after.ready.push((owner.clone(), ready));
            }
        }
        for action in end.actions {
            match action {
                Action::Takeover { session, command, args, .. } => {
                    if let Some(owner) = owners.get(session) {
                        after.handovers.push((owner.clone(), Handover { session, command, args }));
                    }
                }
                // Still inside the turn: whoever sends the stream must not get to what this turn wrote.
                Action::KillTakenOver { session } => {
                    if let Some(owner) = owners.get(session) {
                        owner.kill(session);
                    }
                }
                other => after.actions.push(other),
            }
        }
    }

    fn carry_out(self: &Arc<Self>, after: After) {
        for waker in after.wakers {
            waker.wake();
        }
        if !after.garbage.is_empty() {
            // Freeing a big value takes time that neither this client nor a timer should wait for.
            let garbage = after.garbage;
            async_std::task::spawn_blocking(move || drop(garbage));
        }
        for (owner, handover) in after.handovers {
            owner.take_over(handover);
        }
        for (owner, ready) in after.ready {
            owner.ready(ready);
        }
        for action in after.actions {
            self.act(action);
        }
    }

    /// Does what would hold the lock for long on a thread that may take its time.
    fn offload(self: &Arc<Self>, session: SessionId, ticket: u64, job: Job) {
        let turns = JobTurns(self.clone());
        async_std::task::spawn_blocking(move || {
            let done = std::panic::catch_unwind(AssertUnwindSafe(|| job(&turns)));
            let reply = done.unwrap_or_else(|_| b"-ERR internal error\r\n".to_vec());
            turns.0.turn(|engine| engine.complete(session, ticket, reply));
        });
    }

    fn act(self: &Arc<Self>, action: Action) {
        let order = match action {
            Action::StartAsync { command, call } => return command.start(call),
            Action::CancelAsync { command, ticket } => return command.cancel(ticket),
            Action::Offload { session, ticket, job } => return self.offload(session, ticket, job),
            Action::Takeover { .. } | Action::KillTakenOver { .. } => return,
            Action::AbortShutdown => Order::AbortShutdown,
            Action::Shutdown { save, now, force, reply } => {
                let waiting = |(session, ticket)| Waiting { service: self.clone(), session, ticket };
                Order::Shutdown { how: Ending { save, now, force }, reply: reply.map(waiting) }
            }
            Action::RewriteConfig { reply, in_exec } => Order::RewriteConfig { service: self.clone(), reply, in_exec },
            Action::AclFile { save, reply } => Order::AclFile { service: self.clone(), save, reply },
        };
        // The channel is unbounded and closed only when the instance ends.
        let _ = self.orders.try_send(order);
    }
}

/// Turns for a job.
struct JobTurns(Arc<Service>);

impl Turns for JobTurns {
    fn turn(&self, body: &mut dyn FnMut(&mut Engine)) {
        self.0.turn_of_job(body);
    }

    fn exchange(&self, exchange: &Exchange) -> Exchanged {
        let done = self.0.peers.exchange(exchange);
        let service = self.0.clone();
        async_std::task::spawn(async move {
            async_std::task::sleep(KEPT_FOR + Duration::from_secs(1)).await;
            service.peers.close_idle();
        });
        done
    }

    fn rest(&self) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Owners {
    fn get(&self, session: SessionId) -> Option<&Arc<dyn Owner>> {
        let (id, owner) = self.0.get(session.slot as usize)?.as_ref()?;
        (*id == session).then_some(owner)
    }

    fn add(&mut self, session: SessionId, owner: Arc<dyn Owner>) {
        let slot = session.slot as usize;
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        self.0[slot] = Some((session, owner));
    }

    fn remove(&mut self, session: SessionId) {
        if self.get(session).is_some() {
            self.0[session.slot as usize] = None;
        }
    }
}

/// What a turn left to do outside the lock.
#[derive(Default)]
struct After {
    ready: Vec<(Arc<dyn Owner>, Ready)>,
    handovers: Vec<(Arc<dyn Owner>, Handover)>,
    actions: Vec<Action>,
    wakers: Vec<std::task::Waker>,
    garbage: Garbage,
}

/// Both clocks, read once a turn.
pub(crate) fn now() -> Now {
    Now { unix_ms: unix_us() / 1000, mono_us: mono_us() }
}

/// Microseconds since the epoch.
pub(crate) fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// Microseconds of a clock that never jumps, since the first call.
pub(crate) fn mono_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}
