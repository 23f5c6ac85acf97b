//! Commands of plugins as the engine sees them: in the turn, asynchronous, and taking a connection over.

use super::ctx::{SlotState, client_info, take_state};
use super::effects;
use super::frame::{Frame, World, inside, nested_too_deeply, with_words};
use super::objects;
use super::plugin::{Plugin, Taker};
use super::registrar;
use crate::net::service::{Taken, TakeoverHost};
use keystead_abi::glue::Completion;
use keystead_abi::{self as abi, Str};
use keystead_engine::foreign::{AsyncCall, ForeignAsync, ForeignCommand, ForeignTakeover};
use keystead_engine::resp::{Proto, Writer};
use keystead_engine::session::State;
use keystead_engine::spec::{self, Flags};
use keystead_engine::{Args, CommandError, CommandResult, Ctx, Effect, Kind};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Weak};

type Call = unsafe extern "C" fn(*mut c_void, *const abi::Ctx, *const Str, usize) -> u32;
type ReadsOnly = unsafe extern "C" fn(*mut c_void, *const Str, usize) -> u32;
type FlagsNow = unsafe extern "C" fn(*mut c_void, *const Str, usize, u64) -> u64;
type TryNow = unsafe extern "C" fn(*mut c_void, *const abi::Ctx, *const Str, usize, u32) -> u32;
type Start = unsafe extern "C" fn(*mut c_void, *const abi::ClientInfo, *const Str, usize) -> abi::Future;

/// The minor version that brought KS_CMD_MAY_BE_SILENT.
const SILENCE_IS_DECLARED: u32 = 1;

/// The flags that a command's words may change.
const WORDS_DECIDE: u32 = spec::WRITE | spec::READONLY | spec::DENYOOM | spec::STALE | spec::MAY_REPLICATE;

const STOPPED: CommandError = CommandError::fixed("ERR the plugin of this command was stopped");
const TOO_DEEP: CommandError = CommandError::fixed("ERR commands of plugins are nested too deeply");

/// What a plugin says of a command's words.
#[derive(Clone, Copy)]
pub(super) enum ByWords {
    /// Nothing: the row's flags hold.
    Nothing,
    /// Whether they change nothing, as plugins said it at boundary 1.0.
    ReadsOnly(ReadsOnly),
    /// The flags that hold with them.
    Flags(FlagsNow),
}

impl ByWords {
    /// From a spec; of two answers the one that tells more.
    pub(super) fn of(raw: &abi::CommandSpec) -> ByWords {
        match (raw.flags_now, raw.reads_only) {
            (Some(flags_now), _) => ByWords::Flags(flags_now),
            (None, Some(reads_only)) => ByWords::ReadsOnly(reads_only),
            (None, None) => ByWords::Nothing,
        }
    }

    /// The KS_CMD_* that hold with these words, given those of the row.
    ///
    /// # Safety
    /// `data` is what the functions were registered with.
    unsafe fn flags(self, data: *mut c_void, args: Args<'_>, row: u64) -> u64 {
        with_words(args.iter(), |argv, argc| match self {
            ByWords::Nothing => row,
            // SAFETY: the caller's; the words live for the call.
            ByWords::ReadsOnly(reads_only) => match inside(|| unsafe { reads_only(data, argv, argc) }) {
                1 => row & !abi::CMD_MAY_REPLICATE,
                _ => row,
            },
            // SAFETY: as above.
            ByWords::Flags(flags_now) => inside(|| unsafe { flags_now(data, argv, argc, row) }),
        })
    }
}

/// The KS_CMD_* that a plugin of this minor version means: before 1 there was no way to say that a command may be silent.
pub(super) fn meant(flags: u64, minor: u32) -> u64 {
    if minor < SILENCE_IS_DECLARED { flags | abi::CMD_MAY_BE_SILENT } else { flags }
}

/// A command that runs in the turn.
pub(super) struct SyncCommand {
    pub(super) plugin: &'static Plugin,
    pub(super) endpoint: u32,
    pub(super) data: *mut c_void,
    pub(super) call: Call,
    /// The row's flags, KS_CMD_*.
    pub(super) flags: u64,
    pub(super) by_words: ByWords,
}

// SAFETY: a plugin's functions may be called from any thread, with the data they were registered with.
unsafe impl Send for SyncCommand {}
// SAFETY: as above.
unsafe impl Sync for SyncCommand {}

impl ForeignCommand for SyncCommand {
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
        let enter = |raw: *const abi::Ctx, argv: *const Str, argc: usize| {
            // SAFETY: data and function belong together; context and words live for the call.
            unsafe { (self.call)(self.data, raw, argv, argc) }
        };
        let begin = ctx.reply.out.len();
        let result = run(self.plugin, self.endpoint, ctx, args, enter);
        if self.flags & abi::CMD_MAY_BE_SILENT == 0 {
            answer_silence(self.plugin, ctx, begin, &result);
        }
        result
    }

    fn flags_now(&self, args: Args<'_>, own: Flags) -> Flags {
        if matches!(self.by_words, ByWords::Nothing) || !self.plugin.live() {
            return own;
        }
        // SAFETY: data and functions belong together.
        let said = unsafe { self.by_words.flags(self.data, args, self.flags) };
        Flags(own.0 & !WORDS_DECIDE | registrar::flags(said).0 & WORDS_DECIDE)
    }
}

/// Whoever sent a command that says nothing would wait for ever. What it did is done: its effect stays.
fn answer_silence(plugin: &Plugin, ctx: &mut Ctx<'_>, begin: usize, result: &CommandResult) {
    if result.is_ok() && ctx.reply.out.len() == begin {
        ctx.reply.error(silence(plugin, &ctx.command.full_name));
    }
}

/// What is answered instead of nothing.
fn silence(plugin: &Plugin, command: &str) -> String {
    let plugin = &plugin.name;
    log::error!("plugin {plugin}: the command {command} wrote no reply");
    format!("ERR plugin {plugin}: the command '{command}' wrote no reply")
}

/// Calls into the plugin and turns what it says into a result.
fn run(
    plugin: &'static Plugin,
    endpoint: u32,
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    call: impl FnOnce(*const abi::Ctx, *const Str, usize) -> u32,
) -> CommandResult {
    if !plugin.live() {
        return Err(STOPPED);
    }
    if nested_too_deeply() {
        return Err(TOO_DEEP);
    }
    let mut frame = Frame::new(plugin, endpoint, World::Command(ctx));
    let said = frame.enter(|raw| with_words(args.iter(), |argv, argc| call(raw, argv, argc)));
    let Frame { error, counted, refused, listed, changes, .. } = frame;
    let failed = match said {
        abi::CALL_NONE => refused,
        abi::CALL_AS_SENT => refused.or_else(|| effects::unexpected(&plugin.name, ctx.command)),
        abi::CALL_LISTED if listed.is_empty() => refused,
        abi::CALL_LISTED => refused
            .or_else(|| effects::unexpected(&plugin.name, ctx.command))
            .or_else(|| effects::untold(&changes, &listed)),
        code => {
            if code == abi::CALL_PANICKED {
                log::error!("plugin {}: the command {} panicked", plugin.name, ctx.command.full_name);
            }
            let text = error.unwrap_or_else(|| b"ERR the command failed without a reason".to_vec());
            Some(CommandError::new(text)).map(|error| if counted { error.counted() } else { error })
        }
    };
    match (failed, said) {
        (None, abi::CALL_AS_SENT) => Ok(Effect::AsSent),
        (None, abi::CALL_LISTED) if !listed.is_empty() => Ok(effects::told(ctx, listed)),
        (None, _) => Ok(ctx.also_earlier(&changes)),
        (Some(error), _) if changes.is_empty() => Err(error),
        (Some(error), _) => {
            // It failed half way: what it has changed goes to replicas all the same.
            log::error!("plugin {}: the command {} failed behind a change", plugin.name, ctx.command.full_name);
            let _recorded = ctx.also_earlier(&changes);
            Err(error)
        }
    }
}

/// A command that is a future.
pub(super) struct AsyncCommand {
    pub(super) plugin: &'static Plugin,
    pub(super) endpoint: u32,
    pub(super) data: *mut c_void,
    pub(super) start: Start,
    pub(super) try_now: Option<TryNow>,
    /// The row's flags, KS_CMD_*.
    pub(super) flags: u64,
    /// Ticket to task.
    pub(super) running: Arc<Mutex<HashMap<u64, u64>>>,
}

// SAFETY: as for `SyncCommand`.
unsafe impl Send for AsyncCommand {}
// SAFETY: as above.
unsafe impl Sync for AsyncCommand {}

/// Calls into the plugin for an answer in the turn; none if it says that there is none now.
fn run_if(
    plugin: &'static Plugin,
    endpoint: u32,
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    call: impl FnOnce(*const abi::Ctx, *const Str, usize) -> u32,
) -> Option<CommandResult> {
    let mut not_now = false;
    let result = run(plugin, endpoint, ctx, args, |raw, argv, argc| {
        let said = call(raw, argv, argc);
        not_now = said == abi::CALL_NOT_NOW;
        if not_now { abi::CALL_NONE } else { said }
    });
    (!not_now).then_some(result)
}

impl ForeignAsync for AsyncCommand {
    fn try_now(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Option<CommandResult> {
        if !self.plugin.live() {
            return Some(Err(STOPPED));
        }
        let try_now = self.try_now?;
        let must = u32::from(!ctx.may_block());
        // SAFETY: as in `SyncCommand::call`.
        let enter = |raw: *const abi::Ctx, argv: *const Str, argc| unsafe { try_now(self.data, raw, argv, argc, must) };
        let begin = ctx.reply.out.len();
        let result = run_if(self.plugin, self.endpoint, ctx, args, enter)?;
        if self.flags & abi::CMD_MAY_BE_SILENT == 0 {
            answer_silence(self.plugin, ctx, begin, &result);
        }
        Some(result)
    }

    fn start(&self, call: AsyncCall) {
        let Some(service) = self.plugin.engine(self.endpoint) else { return };
        let (session, ticket) = (call.session, call.ticket);
        let Some(_hold) = self.plugin.hold() else {
            service.turn(|engine| engine.complete(session, ticket, b"-ERR the plugin of this command was stopped\r\n"));
            return;
        };
        let client = &call.client;
        let info = abi::ClientInfo {
            id: client.id,
            write_offset: call.write_offset,
            db: call.db as u32,
            proto: if call.resp3 { 3 } else { 2 },
            flags: abi::CLIENT_AUTHENTICATED,
            endpoint: self.endpoint,
            addr: Str::new(client.addr.as_bytes()),
            laddr: Str::new(client.laddr.as_bytes()),
            name: Str::new(client.name.as_bytes()),
            user: Str::new(client.user.as_bytes()),
        };
        let args = call.args.view();
        // SAFETY: as in `SyncCommand::call`; the client's strings live for the call.
        let future = with_words(args.iter(), |argv, argc| unsafe { (self.start)(self.data, &info, argv, argc) });
        let running = self.running.clone();
        // The table is locked until the task is in it, so that a task that is done at once finds itself.
        let mut table = self.running.lock();
        let (plugin, name) = (self.plugin, String::from_utf8_lossy(args.at(0)).into_owned());
        let may_be_silent = self.flags & abi::CMD_MAY_BE_SILENT != 0;
        let task = self.plugin.run(future, move |done| {
            running.lock().remove(&ticket);
            let reply = match done.status {
                abi::OK if done.buf.as_ref().is_empty() && !may_be_silent => error(silence(plugin, &name).as_bytes()),
                abi::OK => done.buf.as_ref().to_vec(),
                abi::PANICKED => {
                    log::error!("plugin {}: the command {name} panicked", plugin.name);
                    failure("ERR the plugin panicked: ", &done)
                }
                _ => failure("ERR ", &done),
            };
            service.turn(|engine| engine.complete(session, ticket, reply));
        });
        table.insert(ticket, task);
    }

    fn cancel(&self, ticket: u64) {
        if let Some(task) = self.running.lock().remove(&ticket) {
            self.plugin.tasks.cancel(task);
        }
    }
}

/// The error reply with a result's reason, whose bytes are the plugin's.
fn failure(head: &str, done: &Completion) -> Vec<u8> {
    error(&[head.as_bytes(), done.buf.as_ref()].concat())
}

fn error(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out, Proto::Resp2).error(text);
    out
}

/// A command that takes the connection over; what follows comes through [`TakeoverHost`].
pub(super) struct TakeoverCommand {
    pub(super) plugin: &'static Plugin,
    pub(super) endpoint: u32,
    pub(super) data: *mut c_void,
    pub(super) may_take: Option<TryNow>,
}

// SAFETY: as for `SyncCommand`.
unsafe impl Send for TakeoverCommand {}
// SAFETY: as above.
unsafe impl Sync for TakeoverCommand {}

impl ForeignTakeover for TakeoverCommand {
    fn check(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<(), CommandError> {
        if !self.plugin.live() {
            return Err(STOPPED);
        }
        if let Some(may_take) = self.may_take {
            // SAFETY: as in `SyncCommand::call`.
            let enter =
                |raw: *const abi::Ctx, argv: *const Str, argc| unsafe { may_take(self.data, raw, argv, argc, 0) };
            if let Some(Err(refused)) = run_if(self.plugin, self.endpoint, ctx, args, enter) {
                return Err(refused);
            }
        }
        ctx.session.kind = Kind::Replica;
        Ok(())
    }
}

/// Where the sockets of one engine go.
pub(super) struct Takeovers {
    pub(super) host: Weak<super::Core>,
    pub(super) endpoint: u32,
}

impl TakeoverHost for Takeovers {
    fn take(&self, taken: Taken) {
        let Some(host) = self.host.upgrade() else { return };
        let command = taken.handover.command;
        let Some(plugin) = command.plugin.as_deref().and_then(|name| host.plugin(name)) else { return };
        let Some(_hold) = plugin.hold() else { return };
        let key = (self.endpoint, command.full_name.clone());
        let Some(taker) = plugin.takers.lock().get(&key).copied() else { return };
        hand_over(plugin, taker, self.endpoint, taken);
    }
}

/// Gives the connection to the plugin.
fn hand_over(plugin: &'static Plugin, taker: Taker, endpoint: u32, taken: Taken) {
    let Some(service) = plugin.engine(endpoint) else { return };
    let Taken { handover, socket, rest, guard } = taken;
    let session = handover.session;
    let about = service.turn(|engine| {
        let state = engine.session_mut(session)?;
        let kept = take_state(state, plugin.slot);
        Some((Who::of(state), kept))
    });
    // The session may have been killed meanwhile: then everything is dropped here.
    let Some((who, kept)) = about else { return };
    let io = objects::io::taken(socket, rest, guard, who.addr.clone(), who.laddr.clone());
    let mut conn =
        abi::Conn { io, client: who.raw(endpoint), state: kept.map_or(std::ptr::null_mut(), SlotState::release) };
    let args = handover.args.view();
    // SAFETY: data and function belong together; the connection is handed over, everything else lives for the call.
    let future = with_words(args.iter(), |argv, argc| unsafe { (taker.call)(taker.data, &mut conn, argv, argc) });
    let name = &plugin.name;
    let addr = who.addr.clone();
    plugin.run(future, move |done| {
        let panicked = done.status == abi::PANICKED;
        match done.ok() {
            Err(reason) if panicked => log::error!("plugin {name}: the connection of {addr} ended: panicked: {reason}"),
            Err(reason) => log::debug!("plugin {name}: the connection of {addr} ended: {reason}"),
            Ok(_) => {}
        }
    });
}

/// What a plugin learns about a session, copied so that it outlives the turn.
struct Who {
    id: u64,
    write_offset: u64,
    db: u32,
    proto: u32,
    flags: u32,
    addr: String,
    laddr: String,
    name: String,
    user: String,
}

impl Who {
    fn of(state: &State) -> Who {
        let raw = client_info(state, 0);
        Who {
            id: raw.id,
            write_offset: raw.write_offset,
            db: raw.db,
            proto: raw.proto,
            flags: raw.flags,
            addr: state.info.addr.clone(),
            laddr: state.info.laddr.clone(),
            name: state.name.clone(),
            user: state.user.clone(),
        }
    }

    /// Borrows the strings.
    fn raw(&self, endpoint: u32) -> abi::ClientInfo {
        abi::ClientInfo {
            id: self.id,
            write_offset: self.write_offset,
            db: self.db,
            proto: self.proto,
            flags: self.flags,
            endpoint,
            addr: Str::new(self.addr.as_bytes()),
            laddr: Str::new(self.laddr.as_bytes()),
            name: Str::new(self.name.as_bytes()),
            user: Str::new(self.user.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_engine::OwnedArgs;
    use std::ptr;

    unsafe extern "C" fn reads_one_word(_: *mut c_void, _: *const Str, argc: usize) -> u32 {
        u32::from(argc == 1)
    }

    unsafe extern "C" fn writes(_: *mut c_void, _: *const Str, _: usize, flags: u64) -> u64 {
        flags | abi::CMD_WRITE
    }

    fn flags(by_words: ByWords, words: &str, row: u64) -> u64 {
        let args: OwnedArgs = words.split(' ').map(str::as_bytes).collect();
        // SAFETY: these functions look at no data.
        unsafe { by_words.flags(ptr::null_mut(), args.view(), row) }
    }

    /// A spec as a plugin of boundary 1.0 has it, in the place where it has it.
    #[test]
    fn a_plugin_of_boundary_1_0_is_asked_what_it_answers() {
        // SAFETY: plain data, all of which may be zero.
        let mut old: abi::CommandSpec = unsafe { std::mem::zeroed() };
        let behind_get_keys = std::mem::offset_of!(abi::CommandSpec, get_keys) + size_of::<usize>();
        // SAFETY: inside the spec, where such a plugin has this function.
        unsafe {
            let place = ptr::from_mut(&mut old).cast::<u8>().add(behind_get_keys);
            place.cast::<ReadsOnly>().write_unaligned(reads_one_word);
        }
        let by_words = ByWords::of(&old);
        let row = abi::CMD_MAY_REPLICATE | abi::CMD_FAST;
        assert_eq!(flags(by_words, "S", row), abi::CMD_FAST, "these words change nothing");
        assert_eq!(flags(by_words, "S k", row), row);
        assert_eq!(flags(by_words, "S k", abi::CMD_WRITE), abi::CMD_WRITE);
    }

    #[test]
    fn of_two_answers_the_one_that_tells_more_is_asked_for() {
        // SAFETY: as above.
        let mut spec: abi::CommandSpec = unsafe { std::mem::zeroed() };
        assert_eq!(flags(ByWords::of(&spec), "S", 7), 7);
        spec.reads_only = Some(reads_one_word);
        spec.flags_now = Some(writes);
        assert_eq!(flags(ByWords::of(&spec), "S", abi::CMD_MAY_REPLICATE), abi::CMD_MAY_REPLICATE | abi::CMD_WRITE);
    }

    #[test]
    fn silence_is_declared_since_boundary_1_1() {
        assert_eq!(meant(abi::CMD_FAST, 0), abi::CMD_FAST | abi::CMD_MAY_BE_SILENT);
        assert_eq!(meant(abi::CMD_FAST, 1), abi::CMD_FAST);
    }
}
