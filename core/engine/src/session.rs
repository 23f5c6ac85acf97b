//! One client's state: who it is, what it may do, what it waits for. Owns the per-session data; the table of sessions is
//! in `sessions.rs`, what commands do with it in `commands/`.

use std::any::Any;
use std::sync::Arc;

use keystead_resp::{Begun, Proto};

use crate::acl::{self, User};
use crate::args::OwnedArgs;
use crate::names::Names;
use crate::registry::Command;
use crate::spec::Flags;
use crate::tracking;

/// Names a session: a slot for speed, the client id (never reused) for truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// The id that CLIENT ID shows.
    pub id: u64,
    /// Where the session lies in the table.
    pub slot: u32,
}

/// What the server knows about a new connection.
#[derive(Clone, Debug, Default)]
pub struct ConnInfo {
    /// The peer, `ip:port` or `path:0` for a unix socket.
    pub addr: String,
    /// Our side.
    pub laddr: String,
    /// The file descriptor, for CLIENT LIST.
    pub fd: i64,
    /// A unix socket.
    pub unix: bool,
    /// The peer is on this machine: protected mode lets it in.
    pub loopback: bool,
}

/// What a session is for; decides limits and CLIENT KILL TYPE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A client like any other.
    #[default]
    Normal,
    /// Fed with the replication stream by a plugin that took it over.
    Replica,
    /// The link on which a primary feeds this node.
    Primary,
    /// In subscriber mode.
    PubSub,
}

impl Kind {
    /// The word in CLIENT LIST's TYPE and in limits. Redis still says `slave` and `master`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Normal => "normal",
            Kind::Replica => "replica",
            Kind::Primary => "master",
            Kind::PubSub => "pubsub",
        }
    }
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// No replies until ON.
    Off,
    /// The next command's reply is dropped (state right after CLIENT REPLY SKIP).
    SkipNext,
    /// This command's reply is dropped.
    Skip,
}

/// A queued command of MULTI.
pub struct Queued {
    /// What to run.
    pub command: &'static Command,
    /// With which arguments.
    pub args: OwnedArgs,
    /// The flags it had when it was queued: EXEC is refused by them.
    pub flags: Flags,
}

/// State of MULTI.
#[derive(Default)]
pub struct Multi {
    /// The commands so far.
    pub queue: Vec<Queued>,
    /// Memory of the queue.
    pub bytes: usize,
    /// A command was refused while queueing: EXEC aborts.
    pub failed: bool,
}

/// A key this session watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its database.
    pub db: usize,
    /// Its name.
    pub key: Box<[u8]>,
    /// It existed when WATCH saw it. If not, the deletion of its expired rest is no change.
    pub existed: bool,
}

/// Why a session is parked.
pub enum Parked {
    /// Waits for keys (BLPOP and friends).
    Keys(crate::blocking::Wait),
    /// Waits for a plugin's future.
    Async {
        /// Names the call.
        ticket: u64,
        /// What was called, to be asked for what it has when CLIENT UNBLOCK comes.
        command: &'static Command,
        /// With what.
        args: OwnedArgs,
    },
    /// Waits for CLIENT PAUSE to end; the command runs then.
    Pause(OwnedArgs),
}

/// The reply of a transaction of which a command is answered later. The session is parked meanwhile, by the ticket.
pub struct Late {
    /// Names the call.
    pub ticket: u64,
    /// What the others answered.
    reply: Vec<u8>,
    /// Where the answer belongs; as often as that command was in the transaction.
    at: Vec<usize>,
}

impl Late {
    /// One more answer belongs here.
    pub(crate) fn mark(&mut self, at: usize) {
        self.at.push(at);
    }

    /// A call without an answer.
    pub(crate) fn new(ticket: u64) -> Late {
        Late { ticket, reply: Vec::new(), at: Vec::new() }
    }

    /// The transaction is over: what it has answered from `begin` on is kept.
    pub(crate) fn keep(&mut self, out: &mut Vec<u8>, begin: usize) {
        self.reply = out.split_off(begin);
        self.at.iter_mut().for_each(|at| *at -= begin);
    }

    /// The bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.reply.len()
    }

    /// The whole reply. One that was cut for its length may lack the place.
    pub(crate) fn answered(mut self, answer: &[u8]) -> Vec<u8> {
        let end = self.reply.len();
        for at in self.at.into_iter().rev().filter(|at| *at <= end) {
            self.reply.splice(at..at, answer.iter().copied());
        }
        self.reply
    }
}

/// A value a plugin keeps with a session, by the plugin's id.
pub type Slot = (u32, Box<dyn Any + Send>);

/// Everything about a session but its output.
pub struct State {
    /// Its name in the table.
    pub id: SessionId,
    /// Addresses and descriptor.
    pub info: ConnInfo,
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO lib-name.
    pub lib_name: String,
    /// CLIENT SETINFO lib-ver.
    pub lib_ver: String,
    /// The user it is authenticated as.
    pub user: String,
    /// What that user may do; None if there is nothing to look at: everything is allowed.
    pub rights: Option<Arc<User>>,
    /// True once it may run commands.
    pub authenticated: bool,
    /// It may only for as long as the default user needs no password: it was there when one was needed, and showed none.
    pub(crate) let_in: bool,
    /// RESP2 or RESP3.
    pub proto: Proto,
    /// What it is for.
    pub kind: Kind,
    /// The selected database.
    pub db: usize,
    /// When it connected, in ms of the clock that never jumps.
    pub created_ms: u64,
    /// When something last came from it or went to it, in ms of the same clock.
    pub last_ms: u64,
    /// MULTI, if open.
    pub multi: Option<Multi>,
    /// WATCH.
    pub watched: Vec<Watched>,
    /// Memory of the keys in `watched`.
    pub(crate) watched_bytes: usize,
    /// A watched key changed.
    pub dirty_cas: bool,
    /// SUBSCRIBE.
    pub channels: Names,
    /// PSUBSCRIBE.
    pub patterns: Names,
    /// SSUBSCRIBE.
    pub shard_channels: Names,
    /// CLIENT TRACKING, if it is on.
    pub tracking: Option<Box<tracking::Mode>>,
    /// MONITOR is on.
    pub monitor: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// Messages among the replies of a command, which CLIENT REPLY doesn't take back.
    pub(crate) pushed: Option<Vec<u8>>,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// Waiting for something.
    pub parked: Option<Parked>,
    /// Nothing about the session itself can refuse a data command: the fast way is open.
    pub quick: bool,
    /// Must be closed once its output is written.
    pub close_after_reply: bool,
    /// Must be closed at once.
    pub close_now: bool,
    /// A command of a plugin took the socket over.
    pub taken_over: bool,
    /// The last command, for CLIENT LIST.
    pub last_command: Option<&'static Command>,
    /// Bytes the server holds for it, not yet sent, and those in `sealed`.
    pub pending_out: usize,
    /// What stands before `Session::out`, in pieces that are large enough: a buffer that went on growing would take twice
    /// its bytes.
    pub(crate) sealed: Vec<Vec<u8>>,
    /// Its share of [`crate::core::Core::leaving`].
    pub(crate) leaving: usize,
    /// Its part in what all clients hold, as it was counted last; 0 if it isn't counted.
    pub(crate) share: u64,
    /// Bytes the server received from it, not yet decoded.
    pub pending_in: usize,
    /// Room behind those in the same buffer.
    pub spare_in: usize,
    /// What is parsed of them, and what is to come.
    pub begun_in: Begun,
    /// When its output first exceeded the soft limit, in ms of the same clock; None if it does not.
    pub soft_since_ms: Option<u64>,
    /// The replication offset after its last write.
    pub write_offset: u64,
    /// The journal's position that its output depends on, while barriers hold replies.
    pub seen: u64,
    /// Already in the list of sessions that `end_turn` reports.
    pub listed: bool,
    /// Became runnable again in this turn.
    pub resumed: bool,
    /// EXEC runs what was queued.
    pub in_exec: bool,
    /// A command of it is answered when it is over.
    pub late: Option<Box<Late>>,
    /// How many commands it then runs, and their bytes.
    pub exec_queue: (usize, usize),
    /// What plugins keep with it.
    pub slots: Vec<Slot>,
}

/// A session: state and output, apart so that a handler can hold both.
pub struct Session {
    /// Replies and pushes not yet taken by the server.
    pub out: Vec<u8>,
    /// Everything else.
    pub state: State,
}

impl State {
    /// A fresh session.
    pub fn new(id: SessionId, info: ConnInfo, now_ms: u64, authenticated: bool) -> Self {
        State {
            id,
            info,
            name: String::new(),
            lib_name: String::new(),
            lib_ver: String::new(),
            user: acl::DEFAULT.to_owned(),
            rights: None,
            authenticated,
            let_in: false,
            proto: Proto::Resp2,
            kind: Kind::Normal,
            db: 0,
            created_ms: now_ms,
            last_ms: now_ms,
            multi: None,
            watched: Vec::new(),
            watched_bytes: 0,
            dirty_cas: false,
            channels: Names::default(),
            patterns: Names::default(),
            shard_channels: Names::default(),
            tracking: None,
            monitor: false,
            reply_mode: ReplyMode::On,
            pushed: None,
            no_evict: false,
            no_touch: false,
            parked: None,
            quick: authenticated,
            close_after_reply: false,
            close_now: false,
            taken_over: false,
            last_command: None,
            pending_out: 0,
            sealed: Vec::new(),
            leaving: 0,
            share: 0,
            pending_in: 0,
            spare_in: 0,
            begun_in: Begun::default(),
            soft_since_ms: None,
            write_offset: 0,
            seen: 0,
            listed: false,
            resumed: false,
            in_exec: false,
            late: None,
            exec_queue: (0, 0),
            slots: Vec::new(),
        }
    }

    /// A stand-in where no session is involved.
    pub(crate) fn nobody(now_ms: u64) -> Self {
        State::new(SessionId { id: 0, slot: u32::MAX }, ConnInfo::default(), now_ms, true)
    }

    /// Decides again whether the fast way is open; called after every command that isn't about data.
    pub fn refresh_quick(&mut self) {
        self.quick = self.authenticated
            && self.multi.is_none()
            && self.kind == Kind::Normal
            && self.rights.is_none()
            && !self.subscribed();
    }

    /// Its wait is over: it may go on with its next command, and was not idle meanwhile.
    pub(crate) fn resume(&mut self, now_ms: u64) {
        self.resumed = true;
        self.last_ms = now_ms;
    }

    /// So much input waits: who sends a large command bit by bit isn't idle.
    pub(crate) fn note_input(&mut self, unread: usize, now_ms: u64) {
        if unread > self.pending_in {
            self.last_ms = now_ms;
        }
    }

    /// Its output shows something of the journal as it will be when the turn ends.
    #[inline]
    pub fn shows_all(&mut self) {
        self.seen = u64::MAX;
    }

    /// Channels and patterns subscribed to; shard channels count apart, as in Redis.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// True if it has any subscription: the RESP2 restriction and the pub/sub output limit apply.
    pub fn subscribed(&self) -> bool {
        self.subscriptions() + self.shard_channels.len() > 0
    }

    /// The class for limits and CLIENT KILL TYPE.
    pub fn class(&self) -> Kind {
        match self.kind {
            Kind::Normal if self.subscribed() => Kind::PubSub,
            kind => kind,
        }
    }

    /// A plugin's own value, if it was set.
    pub fn slot(&mut self, plugin: u32) -> Option<&mut (dyn Any + Send)> {
        self.slots.iter_mut().find(|(id, _)| *id == plugin).map(|(_, value)| &mut **value)
    }

    /// Sets a plugin's own value.
    pub fn set_slot(&mut self, plugin: u32, value: Box<dyn Any + Send>) {
        self.slots.retain(|(id, _)| *id != plugin);
        self.slots.push((plugin, value));
    }
}
