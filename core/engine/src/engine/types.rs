//! What passes between the engine and the server: options in, flow and actions out. Types only.

use std::sync::Arc;
use std::task::Waker;

use keystead_keyspace::Garbage;
use keystead_resp::OwnedArgs;

use crate::cycles::Rounds;
use crate::foreign::{AsyncCall, ClientInfo, ForeignAsync, ForeignTakeover};
use crate::registry::Command;
use crate::session::SessionId;

/// The time, as the server read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub unix_ms: u64,
    /// Microseconds of a clock that never jumps.
    pub mono_us: u64,
}

impl Now {
    /// Milliseconds of the clock that never jumps: what waits and what lasts goes by it.
    #[inline]
    pub fn mono_ms(self) -> u64 {
        self.mono_us / 1000
    }
}

/// What went through clients' sockets since the last report, for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub received: u64,
    /// Bytes.
    pub sent: u64,
    /// Times that a socket was read.
    pub reads: u64,
    /// Times that a socket was written.
    pub writes: u64,
    /// Rounds of who serves them, up to the one before this.
    pub rounds: Rounds,
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
        /// The process serves data on another port: neither its end nor what concerns both ports is for clients of this
        /// one, who may have shown no password.
        beside_data: bool,
    },
}

/// How to make an engine.
pub struct EngineOptions {
    /// Data or endpoint.
    pub mode: EngineMode,
    /// How many databases.
    pub databases: usize,
    /// Random numbers from the system, of which all that nobody may guess is made, see `secrets.rs`.
    pub seeds: [u64; 4],
    /// Forty hexadecimal digits; empty: made from the seeds, which it tells nothing of.
    pub run_id: String,
    /// The time.
    pub now: Now,
    /// A clock in µs for the slow log and command statistics; without one they stay empty.
    pub clock: Option<fn() -> u64>,
    /// The time of day in µs since the epoch, for TIME and MONITOR; without one they show the turn's milliseconds.
    pub wall_clock: Option<fn() -> u64>,
    /// Bytes the process has allocated; without it INFO shows what the keyspace counts.
    pub used_memory: Option<fn() -> u64>,
    /// Has the allocator let go of what was freed.
    pub purge: Option<fn()>,
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
            wall_clock: None,
            used_memory: None,
            purge: None,
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
    /// Run a job where it may take its time, then answer the session by `complete`.
    Offload {
        /// Who waits.
        session: SessionId,
        /// The wait's name.
        ticket: u64,
        /// The work.
        job: crate::offload::Job,
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
        /// Who waits, and the ticket: answered by `complete` if the end is refused or taken back.
        reply: Option<(SessionId, u64)>,
    },
    /// SHUTDOWN ABORT.
    AbortShutdown,
    /// Write the overlay file; then answer the session by `complete`, if there is one.
    RewriteConfig {
        /// Who waits, and the ticket. The server's own calls don't.
        reply: Option<(SessionId, u64)>,
        /// A transaction waits, and with it all that a sentinel says and hears of a failover: not for long.
        in_exec: bool,
    },
    /// ACL LOAD and SAVE: read or write the file that `aclfile` names; then answer the session by `complete`. (Those of a
    /// transaction turn to the file themselves: `acl::UsersFile`.)
    AclFile {
        /// What the file must hold; None: it is read, and goes to `Engine::load_users`.
        save: Option<Vec<u8>>,
        /// Who waits, and the ticket.
        reply: (SessionId, u64),
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
    /// The keys are ahead of the journal (a command panicked half way): the process must end.
    pub broken: Option<String>,
    /// Big values that were deleted: dropping this outside the lock frees them.
    pub garbage: Garbage,
}
