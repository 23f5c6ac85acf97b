//! Commands that would hold the lock for long leave their turn: the session parks, a job works on a cut or on a collection
//! that it shares, on a thread of the server's, and its result is the reply. Owns the seam; the jobs are beside their
//! commands. Inside MULTI, in scripts and in a primary's stream nothing can park: there such a command runs in its turn.

use keystead_resp::{Args, Writer};

use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::engine::{Action, Engine};
use crate::error::CommandError;
use crate::session::{Parked, SessionId};

/// Takes turns for a job, one at a time.
pub trait Turns {
    /// Runs `body` as one turn.
    fn turn(&self, body: &mut dyn FnMut(&mut Engine));

    /// Sends commands to another server and waits for the answers. Never from inside a turn.
    fn exchange(&self, exchange: &Exchange) -> Exchanged;

    /// Waits a few milliseconds. Never from inside a turn.
    fn rest(&self);
}

/// What is said to another server.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// Its name or address.
    pub host: String,
    /// Its port, as the client wrote it.
    pub port: String,
    /// The database to select there.
    pub db: i64,
    /// How long connecting, writing, and each answer may take.
    pub timeout_ms: u64,
    /// User, if there is one, and password.
    pub auth: Option<(Option<Vec<u8>>, Vec<u8>)>,
    /// The commands, as RESP.
    pub commands: Vec<Vec<u8>>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// For each command that was answered, whether it was done.
    pub accepted: Vec<bool>,
    /// The first error the other server answered, without the leading minus.
    pub refused: Option<String>,
    /// Why there are no more answers.
    pub failure: Option<IoFailure>,
}

/// Where a conversation broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoFailure {
    /// No connection.
    Connecting,
    /// Not all was sent.
    Writing,
    /// Not all was answered.
    Reading,
}

/// What is done outside the turn; gives the reply as RESP.
pub type Job = Box<dyn FnOnce(&dyn Turns) -> Vec<u8> + Send>;

/// Who waits for a job.
#[derive(Clone, Copy)]
pub(crate) struct Waits {
    pub session: SessionId,
    pub ticket: u64,
}

impl Waits {
    /// False once nobody waits any more: the client is gone, or about to be closed.
    pub(crate) fn still(self, engine: &Engine) -> bool {
        let state = engine.session(self.session).filter(|state| !state.close_now);
        matches!(state.and_then(|state| state.parked.as_ref()), Some(Parked::Async { ticket, .. }) if *ticket == self.ticket)
    }
}

impl Ctx<'_> {
    /// Parks the session until a job is done, which gets to know who waits for it. Only where something may park.
    pub(crate) fn offload(
        &mut self,
        args: Args<'_>,
        job: impl FnOnce(&dyn Turns, Waits) -> Vec<u8> + Send + 'static,
    ) -> CommandResult {
        let waits = self.wait(args);
        let job: Job = Box::new(move |turns| job(turns, waits));
        self.core.act(Action::Offload { session: waits.session, ticket: waits.ticket, job });
        Ok(Effect::None)
    }

    /// Parks the session until it is answered by `complete`. Only where something may park.
    pub(crate) fn wait(&mut self, args: Args<'_>) -> Waits {
        let ticket = crate::exec::next_ticket(self.core);
        self.session.parked = Some(Parked::Async { ticket, command: self.command, args: args.to_owned() });
        Waits { session: self.session.id, ticket }
    }
}

/// For a reply that ended at the length at which its client is closed: it is closed whatever it has read since the command
/// came, and whatever the limit is now, for what there is of the reply isn't whole.
pub(crate) fn too_long(turns: &dyn Turns, waits: Waits) -> Vec<u8> {
    turns.turn(&mut |engine| {
        if waits.still(engine) {
            engine.core.close_for_output(waits.session, "hard limit");
        }
    });
    Vec::new()
}

/// A reply that is an error, counted as any other.
pub(crate) fn error_reply(turns: &dyn Turns, proto: keystead_resp::Proto, error: &CommandError) -> Vec<u8> {
    turns.turn(&mut |engine| engine.core.stats.error(error.code()));
    let mut reply = Vec::new();
    Writer::new(&mut reply, proto).error(error.bytes());
    reply
}
