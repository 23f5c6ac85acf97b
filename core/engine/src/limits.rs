//! Output limits by class of client. Pure: looks at a session and says whether it has gone too far.

use keystead_resp::Begun;

use crate::core::Core;
use crate::session::{Kind, Session, SessionId, State};

/// `client-output-buffer-limit` of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which the client is closed at once (0: never).
    pub hard: u64,
    /// Bytes that may not be exceeded for long (0: never).
    pub soft: u64,
    /// How long.
    pub soft_s: u64,
}

/// All classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputLimit,
    /// Replicas (their cursors are held to it).
    pub replica: OutputLimit,
    /// Subscribers.
    pub pubsub: OutputLimit,
    /// The lowest limit of a class, or what is put aside: below it no session needs a look.
    pub lowest: u64,
}

impl OutputLimits {
    /// The limits of the three classes.
    pub fn new(normal: OutputLimit, replica: OutputLimit, pubsub: OutputLimit) -> OutputLimits {
        let all = [normal.hard, normal.soft, pubsub.hard, pubsub.soft];
        let lowest = all.into_iter().filter(|bytes| *bytes > 0).fold(SEAL as u64 + 1, u64::min);
        OutputLimits { normal, replica, pubsub, lowest }
    }

    /// Of a class; the primary has none.
    fn of(&self, class: Kind) -> Option<OutputLimit> {
        match class {
            Kind::Normal => Some(self.normal),
            Kind::Replica => Some(self.replica),
            Kind::PubSub => Some(self.pubsub),
            Kind::Primary => None,
        }
    }
}

impl Default for OutputLimits {
    fn default() -> Self {
        const MB: u64 = 1 << 20;
        let replica = OutputLimit { hard: 256 * MB, soft: 64 * MB, soft_s: 60 };
        let pubsub = OutputLimit { hard: 32 * MB, soft: 8 * MB, soft_s: 60 };
        OutputLimits::new(OutputLimit::default(), replica, pubsub)
    }
}

/// Output beyond this is put aside between commands as a piece of its own, and counts for `maxmemory-clients` at once.
pub(crate) const SEAL: usize = 64 << 10;

impl Core {
    /// A command left its session with much output.
    #[cold]
    pub(crate) fn settle_large(&mut self, id: SessionId) {
        self.sessions.seal(id);
        self.check_output(id);
        self.evict_clients();
    }

    /// The limits may be lower now: who doesn't read and has output waiting is looked at in the next tick. Its output grows no
    /// more, so that nothing else would.
    pub(crate) fn look_at_outputs(&mut self) {
        let waiting = |session: &&Session| session.state.pending_out > 0 || !session.out.is_empty();
        self.over_soft = self.sessions.iter().filter(waiting).map(|session| session.state.id).collect();
    }

    /// A session is to be closed at once: what it would have been told is freed within its turn, as the next command looks at
    /// what is in use. What the server holds for it goes when the turn is over.
    pub(crate) fn drop_output(&mut self, id: SessionId) {
        drop(self.sessions.take_sealed(id));
        let Some(Session { out, state }) = self.sessions.get_mut(id) else { return };
        *out = Vec::new();
        let held = state.pending_out + state.pending_in + state.spare_in;
        self.leaving = (self.leaving + held as u64).saturating_sub(state.leaving as u64);
        state.leaving = held;
        self.recount(id);
    }
}

/// What the server holds for a session, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    /// Output that isn't sent.
    pub unsent: usize,
    /// Input that isn't decoded.
    pub unread: usize,
    /// Room behind it in the same buffer.
    pub spare: usize,
    /// What is parsed of it, and what is to come.
    pub begun: Begun,
    /// The input as it was before this turn's commands took their part.
    pub peak: usize,
}

/// The largest buffers of the last seconds, for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peaks([(u64, usize, usize); 8]);

impl Peaks {
    /// A session held so much input and output in a second.
    pub fn note(&mut self, now_s: u64, input: usize, output: usize) {
        let slot = &mut self.0[(now_s % 8) as usize];
        if slot.0 != now_s {
            *slot = (now_s, 0, 0);
        }
        *slot = (now_s, slot.1.max(input), slot.2.max(output));
    }

    /// The largest input and output of this second and the seven before.
    pub fn recent(&self, now_s: u64) -> (usize, usize) {
        let lately = self.0.iter().filter(|(second, ..)| second + 8 > now_s);
        lately.fold((0, 0), |most, (_, input, output)| (most.0.max(*input), most.1.max(*output)))
    }
}

/// How long a session's output may get between two commands: at this it is closed, whatever would still come.
pub(crate) fn most_output(state: &State, limits: &OutputLimits) -> usize {
    match limits.of(state.class()) {
        Some(limit) if limit.hard > 0 => {
            usize::try_from(limit.hard).unwrap_or(usize::MAX).saturating_sub(state.pending_out)
        }
        _ => usize::MAX,
    }
}

/// What a client that isn't authenticated may have waiting.
const UNAUTHENTICATED_OUT: usize = 4 << 10;

/// Why a session must be closed, if it must.
pub(crate) fn exceeded(session: &mut Session, limits: &OutputLimits, now_ms: u64) -> Option<&'static str> {
    let state = &mut session.state;
    let used = session.out.len() + state.pending_out;
    if !state.authenticated && used > UNAUTHENTICATED_OUT {
        return Some("not authenticated");
    }
    let limit = limits.of(state.class())?;
    let over = |bytes: u64| bytes > 0 && used as u64 >= bytes;
    if over(limit.hard) {
        return Some("hard limit");
    }
    if !over(limit.soft) {
        state.soft_since_ms = None;
        return None;
    }
    let since = *state.soft_since_ms.get_or_insert(now_ms);
    (now_ms.saturating_sub(since) > limit.soft_s * 1000).then_some("soft limit")
}
