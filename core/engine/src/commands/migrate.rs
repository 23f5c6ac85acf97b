//! MIGRATE: keys go to another server, as DUMP, RESTORE and DEL in one. Owns the arguments, what is said of it and what happens
//! to the keys here; the socket is the server's ([`Turns::exchange`]).
//!
//! The values are taken in the turn (nodes are shared, nothing is copied); encoding and talking happen on a thread of the
//! server's. Until the other side has answered, clients' writes wait as under CLIENT PAUSE WRITE, so that what is deleted
//! is what was sent; reads go on. Redis serves nobody meanwhile.

use super::common::{Res, err, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::exec;
use crate::gates::Gate;
use crate::offload::{Exchange, Exchanged, IoFailure, Turns, error_reply};
use crate::pause::{Pause, Pauser};
use crate::session::{SessionId, State};
use crate::spec::*;
use keystead_keyspace::{DbIndex, ExpiryMode, RawRecord};
use keystead_rdb::EncodeOptions;
use keystead_resp::{Args, Proto};

/// Under this name it stands among the pauses.
const NAME: &str = "MIGRATE";
const PAUSE: Pauser<'_> = Pauser::Server(NAME);
/// What a timeout of 0 or less means, in milliseconds.
const DEFAULT_TIMEOUT_MS: u64 = 1000;
/// The longest wait for one answer, in milliseconds: an hour. Writes wait as long.
const LONGEST_TIMEOUT_MS: u64 = 3_600_000;

const fn row(name: &'static str, arity: i32, flags: u32, text: &'static str, f: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, flags, KeySpec::Custom(keys), Group::Generic, "2.6.0", text, f)
}

/// The command.
pub const TABLE: &[CommandSpec] = &[row(
    "migrate",
    -6,
    WRITE | MOVABLEKEYS,
    "Atomically transfers a key from one Redis instance to another.",
    migrate,
)
.uses(&[TAKES])];

/// The key, or with an empty one those behind KEYS. With both it is a syntax error and there are none; a KEYS that ends the
/// command is no option.
fn keys(args: Args<'_>) -> Vec<usize> {
    let mut at = 6;
    while let Some(word) = args.get(at) {
        at += match word {
            w if is(w, "keys") && at + 1 == args.len() => break,
            w if is(w, "keys") && args[3].is_empty() => return (at + 1..args.len()).collect(),
            w if is(w, "keys") => return Vec::new(),
            // A password may be called KEYS.
            w if is(w, "auth") => 2,
            w if is(w, "auth2") => 3,
            _ => 1,
        };
    }
    vec![3]
}

#[derive(Default)]
struct Options {
    copy: bool,
    replace: bool,
    auth: Option<(Option<Vec<u8>>, Vec<u8>)>,
    /// Where the keys are.
    keys: Vec<usize>,
}

fn parse(args: Args<'_>) -> Res<Options> {
    let mut o = Options { keys: vec![3], ..Options::default() };
    let mut at = 6;
    while let Some(arg) = args.get(at) {
        match (arg, args.get(at + 1), args.get(at + 2)) {
            (a, ..) if is(a, "copy") => o.copy = true,
            (a, ..) if is(a, "replace") => o.replace = true,
            (a, Some(password), _) if is(a, "auth") => {
                o.auth = Some((None, password.to_vec()));
                at += 1;
            }
            (a, Some(user), Some(password)) if is(a, "auth2") => {
                o.auth = Some((Some(user.to_vec()), password.to_vec()));
                at += 2;
            }
            (a, ..) if is(a, "keys") => {
                if !args[3].is_empty() {
                    let text = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string";
                    return Err(err(text));
                }
                o.keys = (at + 1..args.len()).collect();
                return Ok(o);
            }
            _ => return Err(CommandError::SYNTAX),
        }
        at += 1;
    }
    Ok(o)
}

fn migrate(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse(args)?;
    let timeout = int(&args[5])?;
    let target_db = int(&args[4])?;
    let timeout_ms = u64::try_from(timeout).ok().filter(|ms| *ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS);
    let (ks, db) = (&mut *ctx.ks, ctx.session.db);
    let found = options.keys.iter().filter(|at| ks.exists(db, &args[**at]));
    let records: Vec<RawRecord> = found.filter_map(|at| ks.record_of(db, &args[*at])).collect();
    if records.is_empty() {
        ctx.reply.simple("NOKEY");
        return Ok(Effect::None);
    }
    if !ctx.may_block() {
        return Err(err("ERR MIGRATE can't run inside a transaction or a script here: it waits for another server"));
    }
    let job = Migration {
        db,
        session: ctx.session.id,
        proto: ctx.reply.proto,
        now_ms: ctx.now_ms(),
        exchange: Exchange {
            host: String::from_utf8_lossy(&args[1]).into_owned(),
            port: String::from_utf8_lossy(&args[2]).into_owned(),
            db: target_db,
            timeout_ms: timeout_ms.min(LONGEST_TIMEOUT_MS),
            auth: options.auth,
            commands: Vec::new(),
        },
        copy: options.copy,
        replace: options.replace,
        options: EncodeOptions { version: ctx.core.config.live.rdb_version, ..EncodeOptions::default() },
    };
    ctx.core.pause_for(PAUSE, Pause::Write, u64::MAX);
    ctx.offload(args, move |turns, _| job.run(turns, records))
}

/// All that the thread needs.
struct Migration {
    db: DbIndex,
    session: SessionId,
    proto: Proto,
    now_ms: u64,
    exchange: Exchange,
    copy: bool,
    replace: bool,
    options: EncodeOptions,
}

/// Lets writes go on, however the migration ends.
struct Unpause<'a>(&'a dyn Turns);

impl Drop for Unpause<'_> {
    fn drop(&mut self) {
        self.0.turn(&mut |engine| engine.pause(PAUSE, Pause::Off, 0));
    }
}

impl Migration {
    fn run(mut self, turns: &dyn Turns, records: Vec<RawRecord>) -> Vec<u8> {
        let unpause = Unpause(turns);
        self.exchange.commands = records.iter().map(|record| self.restore(record)).collect();
        let Exchanged { accepted, refused, failure } = turns.exchange(&self.exchange);
        let gone: Vec<&[u8]> =
            records.iter().zip(&accepted).filter(|(_, accepted)| **accepted).map(|(record, _)| record.key()).collect();
        let deleted = self.copy || gone.is_empty() || self.delete(turns, &gone);
        drop(unpause);
        let error = match (refused, failure) {
            (Some(text), _) => CommandError::new(format!("ERR Target instance replied with error: {text}")),
            (None, Some(IoFailure::Connecting)) => err("IOERR error or timeout connecting to the client"),
            (None, Some(IoFailure::Writing)) => err("IOERR error or timeout writing to target instance"),
            (None, Some(IoFailure::Reading)) => err("IOERR error or timeout reading to target instance"),
            (None, None) if !deleted => err("ERR the keys were copied, but this instance became a replica meanwhile"),
            (None, None) => return b"+OK\r\n".to_vec(),
        };
        error_reply(turns, self.proto, &error)
    }

    /// The RESTORE of one key.
    fn restore(&self, record: &RawRecord) -> Vec<u8> {
        let ttl = record.deadline().map_or(0, |at| at.0.saturating_sub(self.now_ms).max(1)).to_string();
        let payload = record.dump(self.options);
        let mut words: Vec<&[u8]> = vec![b"RESTORE", record.key(), ttl.as_bytes(), &payload];
        if self.replace {
            words.push(b"REPLACE");
        }
        let mut out = Vec::new();
        keystead_resp::write_command(&mut out, words.into_iter());
        out
    }

    /// Deletes what arrived, as a DEL of its own. A role change or somebody else's pause goes first; false where this node
    /// may not write any more.
    fn delete(&self, turns: &dyn Turns, keys: &[&[u8]]) -> bool {
        loop {
            let mut done = None;
            turns.turn(&mut |engine| done = self.try_delete(engine, keys));
            match done {
                Some(done) => return done,
                None => turns.rest(),
            }
        }
    }

    /// None while somebody else's pause holds.
    fn try_delete(&self, engine: &mut Engine, keys: &[&[u8]]) -> Option<bool> {
        if engine.core.gates.is(Gate::Replica) && engine.core.gates.is(Gate::ReadOnly) {
            return Some(false);
        }
        if engine.core.paused_beside(NAME) {
            return None;
        }
        let mut nobody = State::nobody(engine.core.mono_ms());
        let Engine { ks, core } = engine;
        ks.set_expiry_mode(ExpiryMode::Ignore);
        ks.begin_command(None, false);
        let gone: Vec<&[u8]> = keys.iter().copied().filter(|key| ks.remove(self.db, key)).collect();
        if !gone.is_empty() {
            exec::propagate_alone(core, self.db, &[&[b"DEL".as_slice()], gone.as_slice()].concat());
        }
        if core.observing {
            exec::observe(ks, core, &mut nobody);
        }
        let offset = core.journal.offset();
        if let Some(session) = core.sessions.get_mut(self.session) {
            session.state.write_offset = offset;
        }
        if engine.core.blocking.has_ready() {
            engine.serve_ready();
        }
        Some(true)
    }
}
