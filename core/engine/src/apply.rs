//! A primary's replication stream, executed as it comes. Owns the half unit that has arrived; the identical bytes go into
//! the own journal at unit ends, so that this node's replicas share offset and history with it.

use keystead_resp::{Args, Decoded, Decoder, Limits, OwnedArgs, ProtocolError};

use crate::args::ArgsExt;
use crate::effect::Origin;
use crate::engine::Engine;
use crate::exec;
use crate::registry::Command;
use crate::session::{Kind, State};

/// Where a link stands in its stream.
pub struct ApplyState {
    decoder: Decoder,
    /// Bytes that belong to no complete unit yet.
    bytes: Vec<u8>,
    /// Of these, so many are decoded (and queued, inside MULTI).
    decoded: usize,
    session: State,
    multi: Option<Vec<(&'static Command, OwnedArgs)>>,
    /// Replies to a primary go nowhere; this is where they go on their way.
    nowhere: Vec<u8>,
}

impl Default for ApplyState {
    fn default() -> Self {
        ApplyState::new(0)
    }
}

/// What a piece of stream did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The offset after the last whole unit.
    pub offset: u64,
    /// One per REPLCONF GETACK: the offset to answer, which is that before the request itself.
    pub acks: Vec<u64>,
}

impl ApplyState {
    /// A link at the start of a unit, with a database selected (the one saved with the offset; 0 after a full sync).
    pub fn new(db: usize) -> Self {
        let mut session = State::nobody(0);
        session.kind = Kind::Primary;
        session.db = db;
        ApplyState { decoder: Decoder::new(), bytes: Vec::new(), decoded: 0, session, multi: None, nowhere: Vec::new() }
    }

    /// The link was lost: the half unit is dropped, the next link resumes at the last unit's end.
    pub fn reset(&mut self) {
        self.decoder.reset();
        self.bytes.clear();
        self.decoded = 0;
        self.multi = None;
    }

    /// The database that the stream has selected.
    pub fn db(&self) -> usize {
        self.session.db
    }

    /// Bytes of the half unit.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }
}

/// One command's verdict: does a unit end behind it?
enum Step {
    Inside,
    UnitEnd,
}

impl Engine {
    /// Executes the next bytes of a primary's stream, in a turn. Guards, pause, read-only and logical expiry don't hold for
    /// them. An error means that the peer doesn't speak the protocol: drop the link.
    pub fn apply_stream(&mut self, state: &mut ApplyState, bytes: &[u8]) -> Result<Applied, ProtocolError> {
        state.bytes.extend_from_slice(bytes);
        state.session.last_ms = self.core.now_ms();
        let limits = Limits { max_bulk: u64::MAX, ..Limits::default() };
        let base = self.core.journal.offset();
        let mut applied = Applied { offset: base, acks: Vec::new() };
        let buffer = std::mem::take(&mut state.bytes);
        let mut unit_end = 0;
        let result = loop {
            let at = state.decoded;
            let (consumed, step) = match state.decoder.decode(&buffer[at..], &limits) {
                Err(error) => break Err(error),
                Ok(Decoded::Need(_)) => break Ok(()),
                Ok(Decoded::Skip(consumed)) => (consumed, state.between()),
                Ok(Decoded::Command { consumed, args, .. }) => {
                    let args = Args::new(&buffer[at..at + consumed], &args);
                    (consumed, self.apply_one(state, args, base + at as u64, &mut applied.acks))
                }
                Ok(Decoded::Inline { consumed, args }) => {
                    (consumed, self.apply_one(state, args.view(), base + at as u64, &mut applied.acks))
                }
            };
            state.decoded = at + consumed;
            if matches!(step, Step::UnitEnd) {
                unit_end = state.decoded;
            }
        };
        if unit_end > 0 {
            self.core.journal.append_stream(&buffer[..unit_end], Some(state.session.db as u32));
        }
        state.decoded -= unit_end;
        state.bytes = buffer;
        state.bytes.drain(..unit_end);
        applied.offset = self.core.journal.offset();
        if self.core.blocking.has_ready() {
            self.serve_ready();
        }
        result.map(|()| applied)
    }

    fn apply_one(&mut self, state: &mut ApplyState, args: Args<'_>, before: u64, acks: &mut Vec<u64>) -> Step {
        if args.is(0, "replconf") {
            if args.is(1, "getack") {
                acks.push(before);
            }
            return state.between();
        }
        if args.is(0, "multi") {
            state.multi = Some(Vec::new());
            return Step::Inside;
        }
        if args.is(0, "exec") {
            for (command, args) in state.multi.take().unwrap_or_default() {
                self.apply_command(state, command, args.view(), true);
            }
            return Step::UnitEnd;
        }
        let command = match exec::find(&self.core, args) {
            Ok(command) if command.arity_ok(args.len()) => command,
            Ok(command) => {
                self.stream_error(&format!("wrong number of arguments for '{}'", command.full_name));
                return state.between();
            }
            Err(error) => {
                self.stream_error(error.text());
                return state.between();
            }
        };
        match &mut state.multi {
            Some(queue) => {
                queue.push((command, args.to_owned()));
                Step::Inside
            }
            None => {
                self.apply_command(state, command, args, false);
                Step::UnitEnd
            }
        }
    }

    fn stream_error(&mut self, what: &str) {
        self.core.stats.unexpected_errors += 1;
        log::warn!("The primary's stream has a command that can't be executed: {what}");
    }

    fn apply_command(&mut self, state: &mut ApplyState, command: &'static Command, args: Args<'_>, nested: bool) {
        let ApplyState { session, nowhere, .. } = state;
        exec::call(&mut self.ks, &mut self.core, session, nowhere, command, args, Origin::Replication, nested);
        nowhere.clear();
        exec::settle_observation(&mut self.ks, &mut self.core);
    }
}

impl ApplyState {
    /// Inside MULTI nothing but EXEC ends the unit.
    fn between(&self) -> Step {
        if self.multi.is_some() { Step::Inside } else { Step::UnitEnd }
    }
}
