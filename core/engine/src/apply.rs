//! A stream of commands that were executed elsewhere or before: a primary's replication stream, or an append-only file.
//! Owns the half unit that has arrived. A primary's identical bytes go into the own journal at unit ends, so that this
//! node's replicas share offset and history with it; what a file holds goes nowhere.

mod ahead;
mod away;

use keystead_resp::{Args, Decoder, Limits, OwnedArgs, ProtocolError};

use crate::args::ArgsExt;
use crate::core::Core;
use crate::effect::{Origin, Targets};
use crate::engine::Engine;
use crate::exec;
use crate::gates::Gate;
use crate::journal::Unit;
use crate::monitor;
use crate::registry::Command;
use crate::session::{Kind, State};
use crate::spec::WRITE;
use crate::timing;
use ahead::Upcoming;

/// A line of text in a primary's stream: its bytes aren't where they belong, and what they say must not be executed.
const INLINE: &str = "WARNING: Receiving inline protocol from master, master stream corruption? Closing the master \
                      connection and discarding the cached master.";

/// Behind the error of a command that this server doesn't have.
const MISSING_PLUGIN: &str = "(the primary has it; is a plugin missing here?)";

/// Time between two lines about a disk that takes nothing of a primary's stream.
const DISK_WARNING_US: u64 = 10_000_000;

/// Where a link stands in its stream.
pub struct ApplyState {
    decoder: Decoder,
    /// Bytes that belong to no complete unit yet.
    bytes: Vec<u8>,
    /// Of these, so many are executed (or queued, inside MULTI).
    decoded: usize,
    ahead: Upcoming,
    session: State,
    multi: Option<Vec<(&'static Command, OwnedArgs)>>,
    /// The database that a primary's stream has selected, where this server hasn't got it: what is for it is passed over, for
    /// the one selected before must not get it.
    away: Option<u32>,
    /// Something of the unit isn't executed.
    partial: bool,
    /// What is executed of such a unit.
    executed: Unit,
    /// Replies go nowhere; this is where they go on their way.
    nowhere: Vec<u8>,
    origin: Origin,
    /// Whole units so far, with their readers.
    pieces: Vec<Piece>,
    /// Why a file can't be executed, or a stream can't be a primary's, once that is so.
    failed: Option<String>,
    refused: Refused,
}

/// Commands of a file that answered an error: what they would have changed is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub count: u64,
    /// The first of them, and its error.
    pub first: Option<String>,
}

/// Neighbouring units for the same readers: where they end, and the database selected there.
struct Piece {
    end: usize,
    targets: Targets,
    db: u32,
    /// What was executed of the last, if that isn't all: for those who don't get the bytes.
    executed: Unit,
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
        ApplyState {
            decoder: Decoder::new(),
            bytes: Vec::new(),
            decoded: 0,
            ahead: Upcoming::default(),
            session,
            multi: None,
            away: None,
            partial: false,
            executed: Unit::default(),
            nowhere: Vec::new(),
            origin: Origin::Replication,
            pieces: Vec::new(),
            failed: None,
            refused: Refused::default(),
        }
    }

    /// An append-only file from its beginning: executed with origin loading, kept by nobody.
    pub fn of_file() -> Self {
        ApplyState { origin: Origin::Loading, ..ApplyState::new(0) }
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
        self.away.map_or(self.session.db, |db| db as usize)
    }

    /// What of a file was refused since this was asked last.
    pub fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    /// Bytes of the half unit.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }

    /// What is missing of a large argument, as its header says.
    pub fn promised(&self) -> usize {
        self.decoder.begun().promised
    }
}

/// What a primary executed, or what an append-only file has, and this server can't: their data is no longer the same. In
/// Redis' words, which people's alarms look for. `propagation-error-behavior` says whether the process goes on.
pub(crate) fn diverged(core: &mut Core, origin: Origin, command: &str, error: &str) {
    let (stream, file) = core.config.live.errors_end;
    let (who, whose, ends) = match origin {
        // A writable replica may differ on purpose.
        Origin::Replication => ("replica", "master", stream && core.gates.is(Gate::ReadOnly)),
        Origin::Loading => ("server", "AOF-loading-client", file),
        _ => return,
    };
    core.stats.unexpected_errors += 1;
    log::warn!(
        "== CRITICAL == This {who} is sending an error to its {whose}: '-{error}' after processing the command '{command}'"
    );
    if ends {
        let text =
            format!("This {who} panicked sending an error to its {whose} after processing the command '{command}'");
        core.broken.get_or_insert(text);
    }
}

/// Where a command of a stream was executed.
struct Place {
    db: u32,
    /// What was executed in its place, if that isn't what the primary sent.
    instead: Option<OwnedArgs>,
}

/// One command's verdict: does a unit end behind it?
#[derive(Clone, Copy)]
enum Step {
    Inside,
    /// With what the unit says, if anybody but replicas needs to know it.
    UnitEnd(Targets),
}

impl Engine {
    /// Executes the next bytes of a primary's stream, in a turn. Guards, pause, read-only and logical expiry don't hold for
    /// them. An error means that the peer doesn't speak the protocol: drop the link.
    pub fn apply_stream(&mut self, state: &mut ApplyState, bytes: &[u8]) -> Result<Applied, String> {
        let mut acks = Vec::new();
        state.bytes.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut state.bytes);
        let result = self.execute_stream(state, &buffer, &mut acks);
        state.bytes = buffer;
        let mut from = 0;
        for mut piece in std::mem::take(&mut state.pieces) {
            let journal = &mut self.core.journal;
            journal.append_stream(&state.bytes[from..piece.end], piece.targets, Some(piece.db));
            if journal.is_active() {
                // Without a reader it would move the offset, which is the primary's.
                journal.append_unit(&mut piece.executed);
            }
            from = piece.end;
        }
        state.forget(from);
        if self.core.blocking.has_ready() {
            self.serve_ready();
        }
        match (result, state.failed.take()) {
            (_, Some(why)) => Err(why),
            (Err(error), None) => Err(error.to_string()),
            (Ok(()), None) => Ok(Applied { offset: self.core.journal.offset(), acks }),
        }
    }

    /// Executes the next bytes of an append-only file, in a turn, each unit whole or not at all. An error means that the
    /// file can't be read on from here.
    pub fn replay(&mut self, state: &mut ApplyState, bytes: &[u8]) -> Result<(), String> {
        state.bytes.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut state.bytes);
        let whole = self.replay_whole(state, &buffer)?;
        buffer.drain(..whole);
        state.bytes = buffer;
        Ok(())
    }

    /// As [`replay`](Self::replay), for whoever has the bytes that follow as well: copies nothing, and says how many of them
    /// are whole units. The next call begins with the first byte behind those. Not while bytes are [pending](ApplyState::pending).
    pub fn replay_whole(&mut self, state: &mut ApplyState, bytes: &[u8]) -> Result<usize, String> {
        let result = self.execute_stream(state, bytes, &mut Vec::new());
        let end = state.pieces.pop().map_or(0, |piece| piece.end);
        state.pieces.clear();
        state.decoded -= end;
        match (result, state.failed.take()) {
            (_, Some(why)) => Err(why),
            (Err(error), None) => Err(error.to_string()),
            (Ok(()), None) => Ok(end),
        }
    }

    /// Executes all that is complete in the bytes behind the last whole unit; notes the whole units.
    fn execute_stream(
        &mut self,
        state: &mut ApplyState,
        buffer: &[u8],
        acks: &mut Vec<u64>,
    ) -> Result<(), ProtocolError> {
        state.session.last_ms = self.core.mono_ms();
        if state.is_watched(&self.core) {
            state.session.info.addr = self.core.sessions.primary_addr();
        }
        let limits = Limits { max_bulk: u64::MAX, ..Limits::default() };
        let base = self.core.journal.offset();
        self.stay_home(state);
        let mut ahead = std::mem::take(&mut state.ahead);
        let result = loop {
            let more = ahead.fill(&mut state.decoder, buffer, state.decoded, &limits);
            self.prefetch_ahead(state.session.db, &mut ahead, buffer);
            for command in &ahead.commands {
                let step = match command.args(buffer, &ahead.ranges) {
                    Some(_) if command.words.is_some() && state.origin == Origin::Replication => {
                        state.failed = Some(INLINE.to_owned());
                        break;
                    }
                    None => state.between(Targets::REPLICATION),
                    Some(args) => self.apply_one(state, args, base.saturating_add(command.begin as u64), acks),
                };
                if state.failed.is_some() {
                    break;
                }
                state.decoded = command.end;
                state.note(step);
            }
            match more {
                Ok(true) if state.failed.is_none() => {}
                Err(error) if state.failed.is_none() => break Err(error),
                _ => break Ok(()),
            }
        };
        state.ahead = ahead;
        result
    }

    /// Passes over the keys, so that the table's memory is on its way before the first command needs it.
    fn prefetch_ahead(&self, db: usize, ahead: &mut Upcoming, buffer: &[u8]) {
        let Upcoming { commands, ranges, keys } = ahead;
        keys.clear();
        let words = commands.iter().filter_map(|command| command.args(buffer, ranges)?.get(1));
        words.for_each(|key| keys.add(&self.ks, db, key));
        keys.ask(&self.ks);
    }

    fn apply_one(&mut self, state: &mut ApplyState, args: Args<'_>, before: u64, acks: &mut Vec<u64>) -> Step {
        if state.origin == Origin::Loading && args.get(0).is_some_and(|word| word.starts_with(b"#")) {
            return state.between(Targets::REPLICATION);
        }
        if args.is(0, "replconf") {
            self.count(state, args);
            if args.is(1, "getack") {
                acks.push(before);
            }
            return state.between(Targets::REPLICATION);
        }
        if args.is(0, "multi") {
            self.show_edge(state, args);
            (state.multi, state.partial) = (Some(Vec::new()), false);
            return Step::Inside;
        }
        if args.is(0, "exec") {
            let step = self.apply_unit(state);
            self.show_edge(state, args);
            return step;
        }
        // What this server doesn't know goes to its replicas alone: its own file must be one that it can read.
        let command = match exec::find(&self.core, args) {
            Ok(command) if command.arity_ok(args.len()) => command,
            Ok(command) => {
                let what = format!("ERR wrong number of arguments for '{}' command", command.full_name);
                self.stream_error(state, &command.full_name, &what);
                return state.passed_over();
            }
            Err(error) => {
                let hint = if state.origin == Origin::Replication { MISSING_PLUGIN } else { "" };
                self.stream_error(state, &args.text(0), &format!("{}{hint}", error.text()));
                return state.passed_over();
            }
        };
        if let Some(queue) = &mut state.multi {
            queue.push((command, args.to_owned()));
            return Step::Inside;
        }
        state.partial = state.away.is_some();
        let place = self.apply_command(state, command, args, false);
        if std::mem::take(&mut state.partial) {
            state.keep(command, args, place);
            return Step::UnitEnd(Targets::REPLICATION);
        }
        Step::UnitEnd(if is_silent(command) { Targets::REPLICATION } else { Targets::ALL })
    }

    /// Executes what was queued. If that isn't all that the primary executed, its bytes are for replicas alone: a file has what
    /// the memory has.
    fn apply_unit(&mut self, state: &mut ApplyState) -> Step {
        let queue = state.multi.take().unwrap_or_default();
        state.partial |= state.away.is_some();
        let run =
            |(command, args): &(&'static Command, OwnedArgs)| self.apply_command(state, command, args.view(), true);
        let places: Vec<Option<Place>> = queue.iter().map(run).collect();
        if !std::mem::take(&mut state.partial) {
            return Step::UnitEnd(Targets::ALL);
        }
        for ((command, args), place) in queue.iter().zip(places) {
            state.keep(command, args.view(), place);
        }
        Step::UnitEnd(Targets::REPLICATION)
    }

    /// Where a primary's transaction begins and ends: statistics count it, and who watches sees it.
    fn show_edge(&mut self, state: &ApplyState, args: Args<'_>) {
        if let Some(command) = self.count(state, args)
            && state.is_watched(&self.core)
        {
            monitor::after(&mut self.core, &state.session, command, args);
        }
    }

    /// Counts a command of a primary's stream that is seen to here and not executed.
    fn count(&mut self, state: &ApplyState, args: Args<'_>) -> Option<&'static Command> {
        let command = exec::find(&self.core, args).ok().filter(|_| state.origin == Origin::Replication)?;
        self.core.stats.ran(command.index);
        timing::end(&mut self.core, &state.session, command, args, None);
        Some(command)
    }

    fn stream_error(&mut self, state: &mut ApplyState, command: &str, what: &str) {
        if state.origin == Origin::Loading {
            state.failed = Some(what.to_owned());
            return;
        }
        diverged(&mut self.core, Origin::Replication, command, what);
    }

    /// What is executed now can't be kept, as far as is known.
    fn disk_refuses(&self) -> bool {
        let (gates, stop) = (self.core.gates.bits(), self.core.config.live.stop_writes);
        gates & Gate::WriteError as u32 != 0 || gates & Gate::DiskError as u32 != 0 && stop
    }

    /// Redis' replicas stop when what they execute can't be kept; ours do if told so.
    #[cold]
    fn cannot_be_kept(&mut self) {
        let core = &mut self.core;
        if !core.config.live.ignore_disk_errors {
            core.broken.get_or_insert_with(|| "Replica was unable to write command to disk.".to_owned());
            return;
        }
        let now = core.now.mono_us;
        if core.told_of_disk_us.is_none_or(|at| now.saturating_sub(at) > DISK_WARNING_US) {
            core.told_of_disk_us = Some(now);
            log::warn!("Replica is applying a command even though it is unable to write to disk.");
        }
    }

    /// Executes a command, unless it is for a database that isn't here; tells in which one.
    fn apply_command(
        &mut self,
        state: &mut ApplyState,
        command: &'static Command,
        args: Args<'_>,
        nested: bool,
    ) -> Option<Place> {
        let here = if is_select(command) {
            self.follow_select(state, args)
        } else {
            state.away.is_none() || is_for_all(command)
        };
        if !here || state.failed.is_some() {
            self.passes_over(state, command, args);
            return None;
        }
        let db = state.session.db as u32;
        if state.origin == Origin::Replication && command.flags.has(WRITE) && self.disk_refuses() {
            self.cannot_be_kept();
        }
        let before = self.core.stats.unexpected_errors;
        let watched = state.is_watched(&self.core);
        if watched {
            monitor::before(&mut self.core, &state.session, command, args);
        }
        let ApplyState { session, nowhere, origin, .. } = state;
        exec::call(&mut self.ks, &mut self.core, session, nowhere, command, args, *origin, nested);
        if watched {
            monitor::after(&mut self.core, &state.session, command, args);
        }
        let errors = self.core.stats.unexpected_errors - before;
        let loads = state.origin == Origin::Loading;
        if loads && errors > 0 {
            state.note_refused(errors, command);
        }
        state.nowhere.clear();
        exec::settle_observation(&mut self.ks, &mut self.core);
        if errors > 0 && !loads && self.names_one_away(command, args) {
            return self.reaches_away(state, db, command, args, nested);
        }
        Some(Place { db, instead: None })
    }
}

fn is_select(command: &Command) -> bool {
    &*command.full_name == "select"
}

/// They change nothing: no file needs them.
fn is_silent(command: &Command) -> bool {
    matches!(&*command.name, "ping" | "publish" | "spublish")
}

/// They are the same in whatever database.
fn is_for_all(command: &Command) -> bool {
    let name = &*command.full_name;
    is_silent(command) || matches!(name, "flushall" | "swapdb") || name.starts_with("function|")
}

impl ApplyState {
    /// Somebody wants to see what comes of the primary.
    fn is_watched(&self, core: &Core) -> bool {
        self.origin == Origin::Replication && !core.sessions.monitors.is_empty()
    }

    /// Inside MULTI nothing but EXEC ends the unit.
    fn between(&self, targets: Targets) -> Step {
        if self.multi.is_some() { Step::Inside } else { Step::UnitEnd(targets) }
    }

    /// A command that can't be executed.
    fn passed_over(&mut self) -> Step {
        self.partial = self.multi.is_some();
        self.between(Targets::REPLICATION)
    }

    /// Of a unit that isn't executed whole: what was executed, and in which database.
    #[cold]
    fn keep(&mut self, command: &Command, args: Args<'_>, place: Option<Place>) {
        if let Some(Place { db, instead }) = place.filter(|_| !is_select(command) && !is_silent(command)) {
            let args = instead.as_ref().map_or(args, OwnedArgs::view);
            self.executed.push(db, Targets::LOCAL, Origin::Replication, args.iter());
        }
    }

    /// A command answered an error, which stands in what it would have replied.
    #[cold]
    fn note_refused(&mut self, errors: u64, command: &Command) {
        self.refused.count += errors;
        let reply = String::from_utf8_lossy(&self.nowhere);
        let error = reply.lines().find_map(|line| line.strip_prefix('-')).unwrap_or_default();
        self.refused.first.get_or_insert_with(|| format!("'{}': {error}", command.full_name));
    }

    /// Notes the end of a unit.
    fn note(&mut self, step: Step) {
        let Step::UnitEnd(targets) = step else { return };
        let (end, db) = (self.decoded, self.db() as u32);
        match self.pieces.last_mut() {
            Some(last) if last.targets == targets && self.executed.is_empty() && last.executed.is_empty() => {
                (last.end, last.db) = (end, db);
            }
            _ => self.pieces.push(Piece { end, targets, db, executed: std::mem::take(&mut self.executed) }),
        }
    }

    /// Drops the whole units.
    fn forget(&mut self, end: usize) {
        self.decoded -= end;
        self.bytes.drain(..end);
    }
}
