//! What a handler gets: the keys, the calling session, the place for its reply, and the rest of the engine. Its parts
//! are fields, so that a value can be borrowed from the keyspace while the reply is written.

use keystead_keyspace::Keyspace;
use keystead_resp::{OwnedArgs, Proto, Writer};

pub use crate::blocking::OnTimeout;
use crate::blocking::ParkRequest;
use crate::core::Core;
use crate::effect::{CommandResult, Effect, Origin, Recorded, Targets};
use crate::exec;
use crate::registry::Command;
use crate::session::State;

/// The world of one running command.
pub struct Ctx<'e> {
    /// The keys of all databases.
    pub ks: &'e mut Keyspace,
    /// The reply; exactly one must be written (none only where the protocol says so).
    pub reply: Writer<'e>,
    /// The calling session.
    pub session: &'e mut State,
    /// Everything else.
    pub core: &'e mut Core,
    /// The command that runs.
    pub command: &'static Command,
    /// Who caused it.
    pub origin: Origin,
    /// It runs inside EXEC (or another atomic block) and must not park.
    pub nested: bool,
}

impl<'e> Ctx<'e> {
    /// Keys, database and reply at once.
    pub fn split(&mut self) -> (&mut Keyspace, usize, Writer<'_>) {
        let proto = self.reply.proto;
        (self.ks, self.session.db, Writer::new(self.reply.out, proto))
    }

    /// The writer of the reply.
    pub fn reply(&mut self) -> &mut Writer<'e> {
        &mut self.reply
    }

    /// The keys.
    pub fn keyspace(&mut self) -> &mut Keyspace {
        self.ks
    }

    /// The selected database.
    pub fn db(&self) -> usize {
        self.session.db
    }

    /// Milliseconds since the epoch, frozen for this command.
    pub fn now_ms(&self) -> u64 {
        self.core.now_ms()
    }

    /// A random number.
    pub fn random(&mut self) -> u64 {
        self.core.random()
    }

    /// True if the session speaks RESP3.
    pub fn resp3(&self) -> bool {
        self.reply.proto == Proto::Resp3
    }

    /// The length of [`Ctx::reply`]'s buffer at which the client is closed for it. Behind that nothing needs to be written: a
    /// reply may be many times as long as all data, as that of MGET with the same key again and again. What scripts, plugins
    /// and the server itself call has no such end: they read the reply, not the client.
    pub fn most_output(&self) -> usize {
        if self.origin != Origin::Client || self.core.in_script || self.core.in_call {
            return usize::MAX;
        }
        crate::limits::most_output(self.session, &self.core.config.live.output_limits)
    }

    /// False inside MULTI, for a primary's stream and for the server's own calls: then nothing may park.
    pub fn may_block(&self) -> bool {
        !self.nested && self.origin == Origin::Client
    }

    /// A client's own command inside MULTI: whoever sent it reads the reply.
    pub fn is_in_exec(&self) -> bool {
        self.session.in_exec && self.origin == Origin::Client && !self.core.in_script && !self.core.in_call
    }

    /// Parks the session until one of the keys changes; the same handler runs again then, and calls this again if it
    /// still finds nothing (place in the queue and deadline stay). Where nothing may park, answers as after the timeout.
    /// 0 waits for ever.
    pub fn park_on_keys(&mut self, keys: &[&[u8]], timeout_ms: u64, on_timeout: OnTimeout) -> CommandResult {
        self.park(keys, timeout_ms, on_timeout, None)
    }

    /// As [`Ctx::park_on_keys`]; with these arguments the command runs again (XREAD's `$` means the moment it was sent).
    pub fn park_on_keys_as(
        &mut self,
        keys: &[&[u8]],
        timeout_ms: u64,
        on_timeout: OnTimeout,
        again: OwnedArgs,
    ) -> CommandResult {
        self.park(keys, timeout_ms, on_timeout, Some(again))
    }

    fn park(
        &mut self,
        keys: &[&[u8]],
        timeout_ms: u64,
        on_timeout: OnTimeout,
        args: Option<OwnedArgs>,
    ) -> CommandResult {
        if self.may_block() {
            let keys = keys.iter().map(|key| Box::from(*key)).collect();
            self.core.park = Some(ParkRequest { keys, timeout_ms, args });
        } else {
            write_timeout(&mut self.reply, on_timeout);
        }
        Ok(Effect::None)
    }

    /// Records an effect in place of the command as it was sent. Nothing is encoded if nobody needs it.
    pub fn instead(&mut self, argv: &[&[u8]]) -> Effect {
        self.also(self.session.db, argv)
    }

    /// Records that a key went because its time is over, in the word of `lazyfree-lazy-expire`.
    pub fn expired_instead(&mut self, key: &[u8]) -> Effect {
        let word = exec::expired_word(self.core);
        self.instead(&[word, key])
    }

    /// Records that a key went in the course of another command, in the word of `lazyfree-lazy-server-del`.
    pub fn removed_instead(&mut self, key: &[u8]) -> Effect {
        let word: &[u8] = if self.core.config.live.memory.lazy_server_del { b"UNLINK" } else { b"DEL" };
        self.instead(&[word, key])
    }

    /// Records one more effect, in a database; several of them become one MULTI … EXEC.
    pub fn also(&mut self, db: usize, argv: &[&[u8]]) -> Effect {
        let targets = self.targets();
        self.core.push_effect(db, targets, self.origin, argv.iter().copied());
        Effect::Recorded(Recorded(()))
    }

    /// Who gets this command's effects: a writable replica keeps its own to itself.
    pub fn targets(&self) -> Targets {
        targets(self.core, self.origin)
    }

    /// Runs another command of this session inside this one (EXEC, plugins). Its reply goes where this one's goes.
    pub fn run(&mut self, command: &'static Command, args: &OwnedArgs) {
        crate::exec::call_nested(self, command, args);
    }

    /// The same for a caller that reads the reply itself and takes it away: it gets all of it, whatever the client may have
    /// waiting.
    pub fn run_inside(&mut self, command: &'static Command, args: &OwnedArgs) {
        let outer = std::mem::replace(&mut self.core.in_call, true);
        self.run(command, args);
        self.core.in_call = outer;
    }
}

/// Who gets effects of an origin.
pub(crate) fn targets(core: &Core, origin: Origin) -> Targets {
    let follows = core.gates.is(crate::gates::Gate::Replica);
    if follows && origin != Origin::Replication { Targets::LOCAL } else { Targets::ALL }
}

/// What a session that waited in vain is told.
pub(crate) fn write_timeout(reply: &mut Writer<'_>, on_timeout: OnTimeout) {
    match on_timeout {
        OnTimeout::Null => reply.null(),
        OnTimeout::NullArray => reply.null_array(),
    }
}
