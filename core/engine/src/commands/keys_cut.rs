//! KEYS of many keys: walks a cut while its client waits. Only so many cuts are for this; who finds none waits in a queue,
//! and its KEYS is of the moment when its cut is made. Owns that queue and the walk.

use std::collections::VecDeque;

use keystead_keyspace::{CutBudget, CutId, Keyspace, RawRecord, TooManyCuts};
use keystead_resp::{Args, Proto, Writer};

use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::engine::{Action, Engine};
use crate::error::CommandError;
use crate::evict;
use crate::exec;
use crate::glob;
use crate::guards::Verdict;
use crate::offload::{Turns, Waits, too_long};
use crate::session::Parked;

/// Who waits for a cut, in order. Whoever is gone is found out when it is its turn.
#[derive(Default)]
pub struct Queue(VecDeque<Waits>);

/// What is asked for.
struct Query {
    db: usize,
    pattern: Vec<u8>,
    now_ms: u64,
    proto: Proto,
    /// Length of the reply at which its client is closed for it: behind that nobody reads.
    most: usize,
}

/// Parks the session until its keys are found.
pub(super) fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let first = ctx.core.readers.0.is_empty();
    match first.then(|| begin_cut(ctx.ks, ctx.core)) {
        Some(Ok(cut)) => {
            let (db, now_ms, proto, most) = (ctx.db(), ctx.now_ms(), ctx.reply.proto, ctx.most_output());
            let query = Query { db, pattern: args[1].to_vec(), now_ms, proto, most };
            ctx.offload(args, move |turns, waits| query.answer(turns, waits, cut))
        }
        _ => {
            let waits = ctx.wait(args);
            ctx.core.readers.0.push_back(waits);
            Ok(Effect::None)
        }
    }
}

fn begin_cut(ks: &mut Keyspace, core: &mut Core) -> Result<CutId, TooManyCuts> {
    evict::before_cut(ks, core);
    ks.begin_reader_cut()
}

/// A reader's cut, for as long as its job lasts, however that ends: the next reader has it then.
struct Place<'t> {
    turns: &'t dyn Turns,
    cut: CutId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.turn(&mut |engine| {
            engine.ks.end_cut(self.cut);
            serve(engine);
        });
    }
}

impl Query {
    fn wants(&self, record: &RawRecord) -> bool {
        let expired = record.deadline().is_some_and(|at| at.0 < self.now_ms);
        record.db() == self.db && !expired && glob::matches(&self.pattern, record.key(), false)
    }

    fn answer(&self, turns: &dyn Turns, waits: Waits, cut: CutId) -> Vec<u8> {
        let _place = Place { turns, cut };
        let mut reply = Vec::new();
        let mut out = Writer::new(&mut reply, self.proto);
        let (mark, mut n) = (out.defer(), 0);
        loop {
            let mut step = None;
            turns.turn(&mut |engine| {
                step = waits.still(engine).then(|| engine.ks.cut_step(cut, CutBudget::default()));
            });
            let Some(step) = step else { return Vec::new() };
            for record in step.records.iter().filter(|record| self.wants(record)) {
                out.bulk(record.key());
                n += 1;
            }
            if out.out.len() >= self.most {
                return too_long(turns, waits);
            }
            if step.done {
                out.end_array(mark, n);
                return reply;
            }
        }
    }
}

/// Gives the cuts that are free to those who wait.
fn serve(engine: &mut Engine) {
    while let Some(waits) = engine.core.readers.0.pop_front() {
        match judged(engine, waits) {
            None => {}
            Some(Err(error)) => refuse(engine, waits, &error),
            Some(Ok(query)) => match begin_cut(&mut engine.ks, &mut engine.core) {
                Ok(cut) => {
                    let job = Box::new(move |turns: &dyn Turns| query.answer(turns, waits, cut));
                    engine.core.act(Action::Offload { session: waits.session, ticket: waits.ticket, job });
                }
                Err(_) => return engine.core.readers.0.push_front(waits),
            },
        }
    }
}

/// What somebody asks for, if it still waits and may: its rights may have changed meanwhile, or the server's state.
fn judged(engine: &mut Engine, waits: Waits) -> Option<Result<Query, CommandError>> {
    if !waits.still(engine) {
        return None;
    }
    let core = &mut engine.core;
    let session = core.sessions.take(waits.session)?;
    let query = match &session.state.parked {
        Some(Parked::Async { command, args, .. }) => {
            let args = args.view();
            Some(match exec::judge_again(core, &session.state, command, args) {
                Verdict::Refuse(error) => Err(error),
                _ => {
                    let (db, now_ms, proto) = (session.state.db, core.now_ms(), session.state.proto);
                    let most = crate::limits::most_output(&session.state, &core.config.live.output_limits);
                    Ok(Query { db, pattern: args[1].to_vec(), now_ms, proto, most })
                }
            })
        }
        _ => None,
    };
    core.sessions.put(session);
    query
}

fn refuse(engine: &mut Engine, waits: Waits, error: &CommandError) {
    let proto = engine.session(waits.session).map_or(Proto::Resp2, |state| state.proto);
    engine.core.stats.error(error.code());
    let mut reply = Vec::new();
    Writer::new(&mut reply, proto).error(error.bytes());
    engine.complete(waits.session, waits.ticket, reply);
}
