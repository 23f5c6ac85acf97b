//! One command, from its arguments to its reply and its effect in the journal. Owns the order of steps: look up, guard,
//! run, propagate, wake. What a command does is in `commands/`.

use keystead_keyspace::{Expired, ExpiryMode, KeyLog, Keyspace, Why};
use keystead_resp::{Args, OwnedArgs, Writer};

use crate::blocking::Wait;
use crate::core::Core;
use crate::ctx::{Ctx, targets};
use crate::effect::{CommandResult, Effect, Origin};
use crate::engine::Flow;
use crate::error::{CommandError, shown};
use crate::foreign::WriteEvent;
use crate::gates::Gate;
use crate::guards::{self, Verdict};
use crate::monitor;
use crate::registry::{Body, Command, Known};
use crate::session::{Multi, Parked, Queued, ReplyMode, Session, State};
use crate::spec::{Flags, READONLY, WRITE};
use crate::timing;

/// Runs one command of a client.
#[inline]
pub(crate) fn execute(
    ks: &mut Keyspace,
    core: &mut Core,
    session: &mut Session,
    args: Args<'_>,
    known: Option<Known>,
) -> Flow {
    if args.is_empty() {
        return Flow::Next;
    }
    session.state.last_ms = core.mono_ms();
    let mut start = session.out.len();
    let command = match core.registry.recall(known).map_or_else(|| find(core, args), Ok) {
        Ok(command) => command,
        Err(_) if is_web_request(args.at(0)) => {
            log::warn!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. \
                 This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your \
                 Redis instance. Connection from {} aborted.",
                session.state.info.addr
            );
            session.state.close_now = true;
            return Flow::Close;
        }
        Err(error) => {
            session.state.last_command = None;
            refuse(core, session, None, args, error);
            return after_reply(session, start);
        }
    };
    session.state.last_command = Some(command);
    if !command.arity_ok(args.len()) {
        refuse(core, session, Some(command), args, CommandError::arity(&command.full_name));
        return after_reply(session, start);
    }
    // A long command may be half way through its unit: nothing goes in between.
    if core.config.live.memory.max > 0 && core.busy.is_none() {
        crate::evict::make_room(ks, core, &mut session.state);
        // Which keys were evicted is told before the reply, as by Redis: the command didn't change them.
        core.tell_myself(session);
        start = session.out.len();
    }
    if guards::all_open(core, &session.state, command) {
        debug_assert_eq!(guards::check(core, &session.state, command, args), Verdict::Run, "{}", command.full_name);
    } else {
        match guards::check(core, &session.state, command, args) {
            Verdict::Run => {}
            Verdict::Refuse(error) => {
                refuse(core, session, Some(command), args, error);
                return after_reply(session, start);
            }
            Verdict::Deny(denied) => {
                let context = if session.state.multi.is_some() { "multi" } else { "toplevel" };
                let error = core.denied(&session.state, command, args, denied, context);
                refuse(core, session, Some(command), args, error);
                return after_reply(session, start);
            }
            Verdict::Queue(flags) => {
                queue(core, session, command, args, flags);
                return after_reply(session, start);
            }
            Verdict::Wait => {
                postpone(core, &mut session.state, args.to_owned());
                core.recount_running(&mut session.state, session.out.len());
                return Flow::Parked;
            }
        }
        if !core.sessions.monitors.is_empty() {
            return monitored(ks, core, session, command, args, start);
        }
    }
    run(ks, core, session, command, args, start)
}

/// Runs a command while somebody watches.
fn monitored(
    ks: &mut Keyspace,
    core: &mut Core,
    session: &mut Session,
    command: &'static Command,
    args: Args<'_>,
    start: usize,
) -> Flow {
    let skips = session.state.reply_mode == ReplyMode::Skip;
    monitor::before(core, &session.state, command, args);
    let flow = run(ks, core, session, command, args, start);
    monitor::after(core, &session.state, command, args);
    let wanted = !skips && session.state.reply_mode != ReplyMode::Off;
    monitor::tell_own(core, session, wanted);
    flow
}

/// Runs a command that passed the guards.
#[inline(always)]
fn run(
    ks: &mut Keyspace,
    core: &mut Core,
    session: &mut Session,
    command: &'static Command,
    args: Args<'_>,
    start: usize,
) -> Flow {
    let Session { out, state } = session;
    let untouched = state.no_touch && command.name != "touch";
    if untouched {
        ks.note_uses(false);
    }
    let flow = call_here(ks, core, state, out, command, args, Origin::Client, false);
    if untouched {
        ks.note_uses(true);
    }
    if flow == Flow::Next && (core.park.is_some() || state.parked.is_some()) {
        park(core, state, command, args);
        core.recount_running(state, out.len());
        settle_observation(ks, core);
        core.tell_myself(session);
        return Flow::Parked;
    }
    if !command.flags.any(READONLY | WRITE) || flow == Flow::Parked {
        state.refresh_quick();
        core.recount_running(state, out.len());
    }
    settle_observation(ks, core);
    let flow = match flow {
        Flow::Next => after_reply(session, start),
        other => other,
    };
    if core.tracking.active() {
        after_tracked(core, session, command);
    } else if core.pubsub.has_own() {
        crate::pubsub::tell_own(core, session);
    }
    flow
}

/// What CLIENT TRACKING wants behind a reply.
fn after_tracked(core: &mut Core, session: &mut Session, command: &Command) {
    core.tell_myself(session);
    caching_is_over(&mut session.state, Some(command));
}

/// CLIENT CACHING holds for the one command (or transaction) that follows, whether it ran or was refused. One that waits is
/// over when its wait is.
pub(crate) fn caching_is_over(state: &mut State, command: Option<&Command>) {
    if let Some(mode) = &mut state.tracking
        && state.multi.is_none()
        && command.is_none_or(|command| command.name != "client" && !command.full_name.starts_with("client|"))
    {
        mode.caching = false;
    }
}

/// The command behind a name, or behind a name and a subcommand.
#[inline(always)]
pub(crate) fn find(core: &Core, args: Args<'_>) -> Result<&'static Command, CommandError> {
    core.registry.resolve(args).ok_or_else(|| not_found(core, args))
}

#[cold]
fn not_found(core: &Core, args: Args<'_>) -> CommandError {
    match (core.registry.find(args.at(0)), args.get(1)) {
        (Some(container), Some(word)) => crate::commands::plugin::no_modules(&container.name, word)
            .unwrap_or_else(|| CommandError::unknown_subcommand(&container.name, word)),
        _ => unknown(args),
    }
}

/// A browser was made to talk to us: whatever follows must not run.
fn is_web_request(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}

/// Redis quotes the arguments up to 128 bytes in all.
fn unknown(args: Args<'_>) -> CommandError {
    let mut list: Vec<u8> = Vec::new();
    for arg in args.skip(1).iter() {
        if list.len() >= 128 {
            break;
        }
        let arg = shown(&arg[..arg.len().min(128 - list.len())]);
        list.extend([b"'", arg, b"' "].concat());
    }
    let name = shown(args.at(0));
    CommandError::quoting(&[b"ERR unknown command '", name, b"', with args beginning with: ", &list])
}

/// What is to be done with a command that waited, now that it could run.
pub(crate) fn judge_again(core: &mut Core, state: &State, command: &'static Command, args: Args<'_>) -> Verdict {
    match guards::check(core, state, command, args) {
        Verdict::Deny(denied) => Verdict::Refuse(core.denied(state, command, args, denied, "toplevel")),
        verdict => verdict,
    }
}

/// A pause holds: the command runs when that is over, as if it came then.
pub(crate) fn postpone(core: &mut Core, state: &mut State, args: OwnedArgs) {
    state.parked = Some(Parked::Pause(args));
    core.paused.push(state.id);
}

/// A command that doesn't run. A transaction it was meant for will not run either.
pub(crate) fn refuse(
    core: &mut Core,
    session: &mut Session,
    command: Option<&'static Command>,
    args: Args<'_>,
    error: CommandError,
) {
    if let Some(command) = command {
        core.stats.commands[command.index].rejected += 1;
    }
    let is_exec = command.is_some_and(|command| command.name == "exec");
    let error = match (&mut session.state.multi, is_exec) {
        (_, true) => {
            crate::commands::transactions::discard(core, &mut session.state);
            if let Some(command) = command {
                // MULTI was shown: what it began has ended.
                monitor::after(core, &session.state, command, args);
            }
            let why = error.bytes().strip_prefix(b"ERR ").unwrap_or(error.bytes());
            CommandError::quoting(&[b"EXECABORT Transaction discarded because of: ", why])
        }
        (Some(multi), false) => {
            multi.failed = true;
            error
        }
        (None, _) => error,
    };
    core.stats.error(error.code());
    Writer::new(&mut session.out, session.state.proto).error(error.bytes());
    monitor::tell_own(core, session, true);
    caching_is_over(&mut session.state, command);
}

/// Keeps a command for EXEC. What is queued counts for `maxmemory-clients`.
fn queue(core: &mut Core, session: &mut Session, command: &'static Command, args: Args<'_>, flags: Flags) {
    let lost = session.state.dirty_cas;
    let multi = session.state.multi.get_or_insert_with(Multi::default);
    if lost || multi.failed {
        // It will not run: what would be kept for it is only memory.
        return Writer::new(&mut session.out, session.state.proto).simple("QUEUED");
    }
    let args = args.to_owned();
    multi.bytes += args.memory() + size_of::<Queued>();
    multi.queue.push(Queued { command, args, flags });
    core.recount_running(&mut session.state, session.out.len());
    Writer::new(&mut session.out, session.state.proto).simple("QUEUED");
}

/// Ends a command: CLIENT REPLY, and whether the session goes on.
#[inline]
fn after_reply(session: &mut Session, start: usize) -> Flow {
    let Session { out, state } = session;
    drop_reply_if_off(state, out, start);
    if state.close_after_reply || state.close_now { Flow::Close } else { Flow::Next }
}

/// CLIENT REPLY: takes back what was written since `start` if it isn't wanted.
#[inline(always)]
pub(crate) fn drop_reply_if_off(state: &mut State, out: &mut Vec<u8>, start: usize) {
    if state.reply_mode != ReplyMode::On || state.pushed.is_some() {
        drop_reply(state, out, start);
    }
}

#[cold]
fn drop_reply(state: &mut State, out: &mut Vec<u8>, start: usize) {
    match state.reply_mode {
        ReplyMode::On => {}
        ReplyMode::SkipNext => state.reply_mode = ReplyMode::Skip,
        ReplyMode::Skip => {
            state.reply_mode = ReplyMode::On;
            out.truncate(start);
        }
        ReplyMode::Off => out.truncate(start),
    }
    if let Some(pushed) = state.pushed.take() {
        out.extend_from_slice(&pushed);
    }
}

/// What a command that failed did.
const NOTHING: &Effect = &Effect::None;

/// Runs a command's body, writes its error if it has one, propagates its effect.
#[allow(clippy::too_many_arguments)]
pub(crate) fn call(
    ks: &mut Keyspace,
    core: &mut Core,
    state: &mut State,
    out: &mut Vec<u8>,
    command: &'static Command,
    args: Args<'_>,
    origin: Origin,
    nested: bool,
) -> Flow {
    call_here(ks, core, state, out, command, args, origin, nested)
}

/// The heart, made anew for a client's own commands: what is known of them needn't be asked for each.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn call_here(
    ks: &mut Keyspace,
    core: &mut Core,
    state: &mut State,
    out: &mut Vec<u8>,
    command: &'static Command,
    args: Args<'_>,
    origin: Origin,
    nested: bool,
) -> Flow {
    ks.set_expiry_mode(expiry_mode(core, origin));
    ks.begin_command(command.event, command.reader);
    if !nested {
        core.wall.go_on();
    }
    let started = timing::start(core, command, args);
    let mark = core.unit.len();
    let (db, begin) = (state.db, out.len());
    let mut flow = Flow::Next;
    let result = {
        let reply = Writer::new(out, state.proto);
        let mut ctx = Ctx { ks, reply, session: state, core, command, origin, nested };
        body(&mut ctx, command, args, &mut flow)
    };
    let waits = core.park.is_some();
    if !waits {
        // Behind the call: INFO doesn't count itself, RESETSTAT is the first that counts. A command that waits counts as
        // one, when it has run to its end.
        core.stats.ran(command.index);
    }
    // Looked at where it lies: a move reads more at once than was written at once, and waits for that.
    let effect = match &result {
        Ok(effect) => effect,
        Err(error) => {
            failed(core, command, origin, &mut Writer::new(out, state.proto), begin, error);
            NOTHING
        }
    };
    core.pacing.wrote |= command.flags.has(WRITE) && !matches!(effect, Effect::None);
    if core.gates.is(Gate::Replica) && origin == Origin::Client && !matches!(effect, Effect::None) {
        core.own_deadlines.note(ks, db, command, args);
    }
    if command.strays && !nested && !core.in_unit {
        propagate_expired(ks, core);
    }
    propagate(ks, core, state, db, args, effect, origin, mark, nested);
    // Behind the invalidation of a key that the command found expired: the client now knows that there is none.
    if state.tracking.is_some() && command.flags.has(READONLY) {
        core.tracking.remember(state, command, args);
    }
    if core.barriers.hold() && command.flags.any(READONLY | WRITE) {
        // Inside a unit the effects aren't in the journal yet.
        state.shows_all();
    }
    if !waits {
        let usec = timing::end(core, state, command, args, started);
        if usec >= 1000 && !nested {
            timing::advance(ks, core, usec / 1000);
        }
    }
    if matches!(result, Ok(Effect::None | Effect::AsSent)) {
        // The usual results own nothing: no call to find that out.
        std::mem::forget(result);
    }
    flow
}

/// Runs what the command is made of. Only a plugin's command may end otherwise than in `Flow::Next`.
#[inline(always)]
fn body(ctx: &mut Ctx<'_>, command: &'static Command, args: Args<'_>, flow: &mut Flow) -> CommandResult {
    match &command.body {
        Body::Native(handler) => handler(ctx, args),
        Body::Container => Err(CommandError::arity(&command.full_name)),
        Body::Foreign(body) => body.run(ctx, command, args, flow),
    }
}

/// A command's error takes the place of what it has written, and is counted.
#[cold]
pub(crate) fn failed(
    core: &mut Core,
    command: &Command,
    origin: Origin,
    reply: &mut Writer<'_>,
    begin: usize,
    error: &CommandError,
) {
    reply.out.truncate(begin);
    core.stats.commands[command.index].failed += 1;
    if !error.is_counted() {
        core.stats.error(error.code());
    }
    crate::apply::diverged(core, origin, &command.full_name, &error.text());
    reply.error(error.bytes());
}

pub(crate) fn next_ticket(core: &mut Core) -> u64 {
    core.next_ticket += 1;
    core.next_ticket
}

/// Runs a command inside another one.
pub(crate) fn call_nested(ctx: &mut Ctx<'_>, command: &'static Command, args: &OwnedArgs) {
    let flow = call(ctx.ks, ctx.core, ctx.session, ctx.reply.out, command, args.view(), ctx.origin, true);
    debug_assert_eq!(flow, Flow::Next, "nothing parks inside a unit");
    ctx.reply.proto = ctx.session.proto;
}

/// What lookups do with expired keys: a primary deletes them, a replica (or a paused primary) hides them, the primary's
/// own stream must see them.
#[inline]
pub(crate) fn expiry_mode(core: &Core, origin: Origin) -> ExpiryMode {
    match origin {
        Origin::Replication | Origin::Loading => ExpiryMode::Ignore,
        Origin::Client | Origin::Internal => {
            if core.gates.is(Gate::Replica) || core.is_paused() {
                ExpiryMode::Hide
            } else {
                ExpiryMode::Delete
            }
        }
    }
}

/// Puts what a command did into the unit or straight into the journal.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn propagate(
    ks: &mut Keyspace,
    core: &mut Core,
    state: &mut State,
    db: usize,
    args: Args<'_>,
    effect: &Effect,
    origin: Origin,
    mark: usize,
    nested: bool,
) {
    let expired = ks.has_expired();
    if origin == Origin::Replication || origin == Origin::Loading {
        // The stream itself goes into the journal, byte for byte.
        core.unit.clear();
        if core.write_hooks > 0 && !matches!(effect, Effect::None) {
            run_hooks(core, db, args, origin);
        }
    } else {
        let plain = core.unit.is_empty() && core.write_hooks == 0 && !core.torn;
        let alone = !nested && !core.in_unit && !expired && plain;
        if alone && matches!(effect, Effect::None) {
            // The usual read.
        } else if alone && matches!(effect, Effect::AsSent) {
            let targets = targets(core, origin);
            core.journal.append(db as u32, targets, origin, args);
            state.write_offset = core.journal.offset();
        } else {
            collect(ks, core, db, args, effect, origin, mark);
            if !nested && !core.in_unit {
                finish_unit(core, state);
            }
        }
    }
    if core.observing {
        observe(ks, core, state);
    }
}

/// Tells hooks about an effect. One that wants no more is dropped.
pub(crate) fn run_hooks(core: &mut Core, db: usize, argv: Args<'_>, origin: Origin) {
    let event = WriteEvent { db, argv, origin, offset: core.journal.offset() };
    let before = core.hooks.len();
    core.hooks.retain(|hook| !hook.hook.wants_writes() || hook.hook.on_write(&event));
    if core.hooks.len() != before {
        core.count_hooks();
    }
}

/// Adds a command's effects to the unit, the deletion of expired keys in front.
fn collect(
    ks: &mut Keyspace,
    core: &mut Core,
    db: usize,
    args: Args<'_>,
    effect: &Effect,
    origin: Origin,
    mark: usize,
) {
    let targets = targets(core, origin);
    if ks.has_expired() {
        let own = core.unit.split_off(mark);
        push_expired(ks, core);
        core.unit.extend(own);
    }
    match effect {
        Effect::None | Effect::Recorded(_) => {}
        Effect::AsSent => core.push_effect(db, targets, origin, args.iter()),
        Effect::Instead(argv) => core.push_effect(db, targets, origin, argv.view().iter()),
        Effect::Many(list) => {
            for argv in list {
                core.push_effect(db, targets, origin, argv.view().iter());
            }
        }
    }
}

/// Pushes a DEL per key that was found expired, an HDEL per hash of which fields were.
pub(crate) fn push_expired(ks: &mut Keyspace, core: &mut Core) {
    let mut log = std::mem::take(&mut core.expired);
    ks.swap_expired(&mut log);
    let targets = targets(core, Origin::Internal);
    let word = expired_word(core);
    for item in log.expired() {
        core.push_effect(item.db, targets, Origin::Internal, deletion(word, &item).into_iter());
    }
    core.expired = log;
}

/// The command that says what expired.
fn deletion<'a>(word: &'static [u8], item: &Expired<'a>) -> Vec<&'a [u8]> {
    let word = if item.fields.is_empty() { word } else { b"HDEL" };
    [&[word, item.key], item.fields.as_slice()].concat()
}

/// Appends what has been collected as one unit.
pub(crate) fn finish_unit(core: &mut Core, state: &mut State) {
    if append_unit(core) {
        state.write_offset = core.journal.offset();
    }
}

/// False if there is nothing to append. Behind a script that was torn there never is: the keys are ahead of the journal.
fn append_unit(core: &mut Core) -> bool {
    if core.torn {
        core.unit.clear();
    }
    if core.unit.is_empty() {
        return false;
    }
    let mut unit = std::mem::take(&mut core.unit);
    core.journal.append_unit(&mut unit);
    core.unit = unit;
    true
}

/// Keys that the cycle found expired: each is a unit of its own.
pub(crate) fn propagate_expired(ks: &mut Keyspace, core: &mut Core) {
    if !ks.has_expired() {
        return;
    }
    let mut log: KeyLog = std::mem::take(&mut core.expired);
    ks.swap_expired(&mut log);
    let word = expired_word(core);
    for item in log.expired() {
        propagate_alone(core, item.db, &deletion(word, &item));
    }
    core.expired = log;
}

/// How the deletion of an expired key is said to replicas.
pub(crate) fn expired_word(core: &Core) -> &'static [u8] {
    if core.config.live.memory.lazy_expire { b"UNLINK" } else { b"DEL" }
}

/// Something the server did itself, as a unit of its own.
pub(crate) fn propagate_alone(core: &mut Core, db: usize, argv: &[&[u8]]) {
    let targets = targets(core, Origin::Internal);
    core.push_effect(db, targets, Origin::Internal, argv.iter().copied());
    append_unit(core);
}

/// Looks at which keys changed: WATCH, those who wait for keys, subscribers of keyspace events.
pub(crate) fn observe(ks: &mut Keyspace, core: &mut Core, state: &mut State) {
    let mut log = std::mem::take(&mut core.touched);
    ks.swap_touched(&mut log);
    let mut missed = std::mem::take(&mut core.missed);
    ks.swap_missed(&mut missed);
    tell(core, state, &log, &missed);
    core.missed = missed;
    for item in log.iter() {
        match item.why {
            Why::Flushed => {
                core.watch_db_touched(ks, state, item.db, false);
                core.blocking.touch_db(item.db, |key| ks.glance(item.db, key));
            }
            Why::Swapped => {
                core.watch_db_touched(ks, state, item.db, true);
                core.blocking.touch_db(item.db, |key| ks.glance(item.db, key));
            }
            Why::Told => {}
            why => {
                core.watch_touched(state, item.db, item.key, why == Why::Expired);
                if !core.blocking.is_empty() {
                    let came =
                        || matches!(why, Why::Created | Why::Brought).then(|| ks.glance(item.db, item.key)).flatten();
                    core.blocking.touched(item.db, item.key, came);
                }
            }
        }
    }
    core.touched = log;
}

/// Tells of each key those who may have cached it, and those who listen to events. A reader first finds out that a key's time is
/// up, then that there is none.
fn tell(core: &mut Core, me: &State, log: &KeyLog, missed: &KeyLog) {
    let (notifies, tracks) = (core.notifying, core.tracking.active());
    if !notifies && !tracks {
        return;
    }
    let expired = log.iter().take_while(|item| item.why == Why::Expired).count();
    for item in log.iter().take(expired).chain(missed.iter()).chain(log.iter().skip(expired)) {
        let told = crate::notify::events(&item);
        if notifies {
            crate::notify::publish(core, me.id, &item, &told.before);
        }
        if tracks && !matches!(item.why, Why::Flushed | Why::Swapped | Why::Told) {
            core.key_changed(me, item.key, matches!(item.why, Why::Expired | Why::Evicted));
        }
        if notifies {
            crate::notify::publish(core, me.id, &item, &told.after);
        }
    }
    if tracks && log.iter().any(|item| item.why == Why::Flushed) {
        core.all_keys_gone(me);
    }
}

/// Whether somebody wants to know which keys change.
#[inline]
pub(crate) fn is_observed(core: &Core) -> bool {
    core.notifying || core.tracking.active() || core.watched_keys() || !core.blocking.is_empty()
}

/// Turns the keyspace's log on while somebody looks at it.
#[inline]
pub(crate) fn settle_observation(ks: &mut Keyspace, core: &mut Core) {
    let wanted = is_observed(core);
    if wanted != core.observing {
        core.observing = wanted;
        ks.observe(wanted);
    }
}

/// Makes the session wait, as its handler asked.
fn park(core: &mut Core, state: &mut State, command: &'static Command, args: Args<'_>) {
    let Some(mut request) = core.park.take() else { return };
    let args = request.args.take().unwrap_or_else(|| args.to_owned());
    let mut wait = Wait::new(command, args, state.db, request, core.mono_ms());
    core.blocking.add(state.id, &mut wait);
    state.parked = Some(Parked::Keys(wait));
}
