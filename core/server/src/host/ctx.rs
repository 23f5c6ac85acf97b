//! The functions behind `ks_ctx_api`. A panic in here is one of the core's, in a turn that may have changed something
//! already: it ends the process, because memory would be ahead of the journal.

use super::calls;
use super::event_names;
use super::frame::{Frame, World, frame, inside, owned_words};
use super::script;
use keystead_abi::{self as abi, Buf, ClientInfo, CtxApi, History, JournalState, KillFilter, Role, Str};
use keystead_engine::keyspace::{Class, Event, KeyType, Keyspace, StrRef, Ttl, UnixMillis};
use keystead_engine::pause::{Pause, Pauser};
use keystead_engine::resp::{Proto, Writer};
use keystead_engine::session::State;
use keystead_engine::{CommandError, Gate, Origin, OwnedArgs, Targets};
use std::any::Any;
use std::ffi::c_void;

/// The table.
pub(super) static API: CtxApi = CtxApi {
    size: size_of::<CtxApi>() as u32,
    reserved: 0,
    reply_simple: simple,
    reply_error: error,
    reply_int: int,
    reply_bulk: bulk,
    reply_null: null,
    reply_null_array: null_array,
    reply_array: array,
    reply_map: map,
    reply_set: set,
    reply_double: double,
    reply_boolean: boolean,
    reply_verbatim: verbatim,
    reply_raw: raw,
    fail,
    propagate,
    client,
    get_state,
    set_state,
    call,
    kind,
    get,
    set_string,
    del,
    expire_at,
    expiry,
    keys,
    databases,
    journal,
    control_record,
    rebase,
    set_role,
    pause,
    publish,
    kill_clients,
    now_unix_ms,
    busy_poll,
    conditions: script::conditions,
    script_call: script::call,
    acl_check: script::acl_check,
    set_busy_reply: script::set_busy_reply,
    fail_counted,
    changes,
    flushes,
    write_error: script::write_error,
    propagate_in,
    notify,
};

/// A function that writes one thing into the reply.
macro_rules! writes {
    ($( fn $name:ident($($arg:ident: $ty:ty),*) |$writer:ident| $body:expr; )*) => {$(
        unsafe extern "C" fn $name(ctx: *mut c_void $(, $arg: $ty)*) {
            // SAFETY: the contract of `ks_ctx_api`: the context is alive, on its own thread; arguments live for the call.
            unsafe {
                let mut $writer: Writer<'_> = frame(ctx).reply();
                $body;
            }
        }
    )*};
}

writes! {
    fn simple(text: Str) |out| out.raw(&line(b'+', text.bytes()));
    fn error(text: Str) |out| out.error(text.bytes());
    fn int(value: i64) |out| out.int(value);
    fn bulk(bytes: Str) |out| out.bulk(bytes.bytes());
    fn null() |out| out.null();
    fn null_array() |out| out.null_array();
    fn double(value: f64) |out| out.double(value);
    fn boolean(value: u32) |out| out.bool(value != 0);
    fn verbatim(format: Str, text: Str) |out| out.verbatim(three(format.bytes()), text.bytes());
    fn raw(resp: Str) |out| out.raw(resp.bytes());
}

/// A line of any bytes.
fn line(kind: u8, text: &[u8]) -> Vec<u8> {
    let text = text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte });
    std::iter::once(kind).chain(text).chain(*b"\r\n").collect()
}

/// No reply has more elements; a map counts twice.
const MOST_ELEMENTS: usize = (i32::MAX / 2) as usize;

/// A function that writes the head of something with elements.
macro_rules! heads {
    ($( fn $name:ident; )*) => {$(
        unsafe extern "C" fn $name(ctx: *mut c_void, len: usize) {
            // SAFETY: as above.
            let frame = unsafe { frame(ctx) };
            if len > MOST_ELEMENTS {
                frame.refused = Some(CommandError::new(format!("ERR the plugin's reply promises {len} elements")));
                return;
            }
            frame.reply().$name(len);
        }
    )*};
}

heads! {
    fn array;
    fn map;
    fn set;
}

/// The format of verbatim text: exactly three letters.
fn three(format: &[u8]) -> [u8; 3] {
    format.try_into().unwrap_or(*b"txt")
}

unsafe extern "C" fn fail(ctx: *mut c_void, text: Str) {
    // SAFETY: as above.
    unsafe { frame(ctx).error = Some(text.bytes().to_vec()) };
}

unsafe extern "C" fn fail_counted(ctx: *mut c_void, text: Str) {
    // SAFETY: as above.
    unsafe {
        let frame = frame(ctx);
        frame.error = Some(text.bytes().to_vec());
        frame.counted = true;
    }
}

unsafe extern "C" fn propagate(ctx: *mut c_void, argv: *const Str, argc: usize) {
    // SAFETY: as above.
    let (frame, words) = unsafe { (frame(ctx), owned_words(argv, argc)) };
    let db = frame.session_ref().map_or(0, |state| state.db);
    frame.list(db, words);
}

unsafe extern "C" fn propagate_in(ctx: *mut c_void, db: u32, argv: *const Str, argc: usize) {
    // SAFETY: as above.
    let (frame, words) = unsafe { (frame(ctx), owned_words(argv, argc)) };
    if frame.has_db(db) {
        frame.list(db as usize, words);
    }
}

unsafe extern "C" fn client(ctx: *mut c_void, out: *mut ClientInfo) {
    // SAFETY: as above; the strings are the session's and live for the call.
    unsafe {
        let frame = frame(ctx);
        let endpoint = frame.endpoint;
        let info = frame.session().map_or_else(|| nobody(endpoint), |state| client_info(state, endpoint));
        out.write(info);
    }
}

fn nobody(endpoint: u32) -> ClientInfo {
    let none = Str::new(b"");
    let [addr, laddr, name, user] = [none; 4];
    ClientInfo { id: 0, write_offset: 0, db: 0, proto: 3, flags: 0, endpoint, addr, laddr, name, user }
}

/// A session as the boundary describes it; borrows its strings.
pub(super) fn client_info(state: &State, endpoint: u32) -> ClientInfo {
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    ClientInfo {
        id: state.id.id,
        write_offset: state.write_offset,
        db: state.db as u32,
        proto: if state.proto == Proto::Resp3 { 3 } else { 2 },
        flags: flag(state.kind == keystead_engine::Kind::Replica, abi::CLIENT_REPLICA)
            | flag(state.multi.is_some() || state.in_exec, abi::CLIENT_MULTI)
            | flag(state.info.unix, abi::CLIENT_UNIX)
            | flag(state.authenticated, abi::CLIENT_AUTHENTICATED),
        endpoint,
        addr: Str::new(state.info.addr.as_bytes()),
        laddr: Str::new(state.info.laddr.as_bytes()),
        name: Str::new(state.name.as_bytes()),
        user: Str::new(state.user.as_bytes()),
    }
}

/// A plugin's state of a session: dropped with the plugin's own function.
pub(super) struct SlotState {
    state: *mut c_void,
    drop: Option<unsafe extern "C" fn(state: *mut c_void)>,
}

// SAFETY: a state may be used and dropped on any thread, one at a time; that is the contract of `set_state`.
unsafe impl Send for SlotState {}

impl SlotState {
    /// Gives the state away; it isn't dropped here any more.
    pub(super) fn release(mut self) -> *mut c_void {
        self.drop = None;
        self.state
    }
}

impl Drop for SlotState {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // Sessions end in turns. SAFETY: called once, with what it was set with.
            inside(|| unsafe { drop(self.state) });
        }
    }
}

/// Takes a plugin's state out of a session.
pub(super) fn take_state(state: &mut State, slot: u32) -> Option<SlotState> {
    let at = state.slots.iter().position(|(id, _)| *id == slot)?;
    let (_, value) = state.slots.remove(at);
    let value: Box<dyn Any> = value;
    value.downcast::<SlotState>().ok().map(|state| *state)
}

unsafe extern "C" fn get_state(ctx: *mut c_void) -> *mut c_void {
    // SAFETY: as above.
    let frame = unsafe { frame(ctx) };
    let slot = frame.plugin.slot;
    let of_session = frame.session().and_then(|state| state.slot(slot)).and_then(|value| value.downcast_ref());
    let found: Option<&SlotState> = of_session;
    if let Some(state) = found {
        return state.state;
    }
    frame.loose.as_ref().map_or(std::ptr::null_mut(), |state| state.state)
}

unsafe extern "C" fn set_state(
    ctx: *mut c_void,
    state: *mut c_void,
    drop: Option<unsafe extern "C" fn(state: *mut c_void)>,
) {
    // SAFETY: as above.
    let frame = unsafe { frame(ctx) };
    let slot = frame.plugin.slot;
    let value = SlotState { state, drop };
    match frame.session() {
        Some(session) => session.set_slot(slot, Box::new(value)),
        None => frame.loose = Some(value),
    }
}

unsafe extern "C" fn call(ctx: *mut c_void, db: u32, argv: *const Str, argc: usize, out: *mut Buf) -> u32 {
    // SAFETY: as above; the caller gives room for one buffer.
    unsafe {
        let args = owned_words(argv, argc);
        let (status, reply) = match run(frame(ctx), db, &args) {
            Ok(reply) => (abi::OK, reply),
            Err(reason) => (abi::ERR, reason.into_bytes()),
        };
        out.write(Buf::new(reply));
        status
    }
}

/// Runs a command inside this turn; its reply as RESP3.
fn run(frame: &mut Frame<'_, '_>, db: u32, args: &OwnedArgs) -> Result<Vec<u8>, String> {
    if db as usize >= frame.look().databases() {
        return Err(NO_SUCH_DB.to_owned());
    }
    if args.is_empty() {
        return Err("a command without a word".to_owned());
    }
    match &mut frame.world {
        World::Look(..) => Err("a command can't run while INFO is written".to_owned()),
        World::Turn(engine) => {
            if let Some(error) = calls::of_nobody(&engine.core, &frame.plugin.name, args.view()) {
                return Ok(calls::refused(&error));
            }
            let words: Vec<&[u8]> = args.view().iter().collect();
            Ok(engine.exec(db as usize, &words, Origin::Internal, Proto::Resp3))
        }
        World::Command(ctx) => {
            let command = match calls::callable(ctx.core, &frame.plugin.name, ctx.command, args.view()) {
                Ok(command) => command,
                Err(error) => return Ok(calls::refused(&error)),
            };
            let begin = ctx.reply.out.len();
            let selected = std::mem::replace(&mut ctx.session.db, db as usize);
            let proto = std::mem::replace(&mut ctx.session.proto, Proto::Resp3);
            ctx.run_inside(command, args);
            ctx.session.db = selected;
            ctx.session.proto = proto;
            ctx.reply.proto = proto;
            Ok(ctx.reply.out.split_off(begin))
        }
    }
}

fn value_kind(kind: Option<KeyType>) -> u32 {
    match kind {
        None => abi::VALUE_NONE,
        Some(KeyType::String) => abi::VALUE_STRING,
        Some(KeyType::List) => abi::VALUE_LIST,
        Some(KeyType::Set) => abi::VALUE_SET,
        Some(KeyType::Hash) => abi::VALUE_HASH,
        Some(KeyType::Stream) => abi::VALUE_STREAM,
        Some(KeyType::ZSet) => abi::VALUE_ZSET,
        #[allow(unreachable_patterns)]
        Some(_) => abi::VALUE_OTHER,
    }
}

unsafe extern "C" fn kind(ctx: *mut c_void, db: u32, key: Str) -> u32 {
    // SAFETY: as above.
    let (frame, key) = unsafe { (frame(ctx), key.bytes()) };
    let Some(keys) = frame.keys() else { return abi::VALUE_NONE };
    if db as usize >= keys.databases() { abi::VALUE_NONE } else { value_kind(keys.type_of(db as usize, key)) }
}

/// What a lookup of a string gave.
enum Found {
    Kind(u32),
    Bytes(Str),
    Int(i64),
}

unsafe extern "C" fn get(ctx: *mut c_void, db: u32, key: Str, out: *mut Str) -> u32 {
    // SAFETY: as above.
    let (frame, key) = unsafe { (frame(ctx), key.bytes()) };
    let Some(keys) = frame.keys().filter(|keys| (db as usize) < keys.databases()) else { return abi::VALUE_NONE };
    let found = match keys.get_str(db as usize, key) {
        Err(_) => Found::Kind(value_kind(keys.type_of(db as usize, key))),
        Ok(None) => Found::Kind(abi::VALUE_NONE),
        Ok(Some(StrRef::Bytes(bytes))) => Found::Bytes(Str::new(bytes)),
        Ok(Some(StrRef::Int(value))) => Found::Int(value),
    };
    let bytes = match found {
        Found::Kind(kind) => return kind,
        Found::Bytes(bytes) => bytes,
        Found::Int(value) => {
            frame.lent = value.to_string().into_bytes();
            Str::new(&frame.lent)
        }
    };
    // SAFETY: the caller gives room for one value.
    unsafe { out.write(bytes) };
    abi::VALUE_STRING
}

/// What the SDK puts its `ERR` in front of.
pub(super) const NO_SUCH_DB: &str = "DB index is out of range";

/// Runs a change in a turn of the plugin's own as a command, so that it is propagated.
fn own_turn(frame: &mut Frame<'_, '_>, db: u32, words: &[&[u8]]) -> Option<Vec<u8>> {
    match &mut frame.world {
        World::Turn(engine) => Some(engine.exec(db as usize, words, Origin::Internal, Proto::Resp3)),
        World::Command(_) | World::Look(..) => None,
    }
}

/// As SET publishes it.
const SET: Event = Event::new(Class::String, "set");

/// Changes keys in the middle of a command whose changes have no name of their own: this one is called as Redis' command
/// calls it.
fn change<R>(keys: &mut Keyspace, event: Event, body: impl FnOnce(&mut Keyspace) -> R) -> R {
    keys.name_changes(Some(event));
    let result = body(keys);
    keys.name_changes(None);
    result
}

unsafe extern "C" fn set_string(ctx: *mut c_void, db: u32, key: Str, value: Str) -> u32 {
    // SAFETY: as above.
    let (frame, key, value) = unsafe { (frame(ctx), key.bytes(), value.bytes()) };
    let words: [&[u8]; 3] = [b"SET", key, value];
    if !frame.has_db(db) || !frame.may_change() {
        return abi::ERR;
    }
    if own_turn(frame, db, &words).is_some() {
        return abi::OK;
    }
    let Some(keys) = frame.keys() else { return abi::ERR };
    change(keys, SET, |keys| keys.set_str(db as usize, key, value, Ttl::Clear));
    frame.changed(db, &words);
    abi::OK
}

unsafe extern "C" fn del(ctx: *mut c_void, db: u32, key: Str) -> u32 {
    // SAFETY: as above.
    let (frame, key) = unsafe { (frame(ctx), key.bytes()) };
    let words: [&[u8]; 2] = [b"DEL", key];
    if !frame.has_db(db) || !frame.may_change() {
        return 0;
    }
    if let Some(reply) = own_turn(frame, db, &words) {
        return u32::from(reply == b":1\r\n");
    }
    let Some(keys) = frame.keys() else { return 0 };
    let existed = keys.remove(db as usize, key);
    if existed {
        frame.changed(db, &words);
    }
    u32::from(existed)
}

unsafe extern "C" fn expire_at(ctx: *mut c_void, db: u32, key: Str, unix_ms: u64) -> u32 {
    // SAFETY: as above.
    let (frame, key) = unsafe { (frame(ctx), key.bytes()) };
    let at = unix_ms.to_string();
    let words: &[&[u8]] = if unix_ms == 0 { &[b"PERSIST", key] } else { &[b"PEXPIREAT", key, at.as_bytes()] };
    if !frame.has_db(db) || !frame.may_change() {
        return 0;
    }
    let exists = frame.keys().is_some_and(|keys| keys.exists(db as usize, key));
    if !exists || own_turn(frame, db, words).is_some() {
        return u32::from(exists);
    }
    let Some(keys) = frame.keys() else { return 0 };
    let deadline = (unix_ms != 0).then_some(UnixMillis(unix_ms));
    let event = if unix_ms == 0 { Event::PERSIST } else { Event::EXPIRE };
    if change(keys, event, |keys| keys.set_deadline(db as usize, key, deadline)) {
        frame.changed(db, words);
    }
    1
}

unsafe extern "C" fn expiry(ctx: *mut c_void, db: u32, key: Str) -> u64 {
    // SAFETY: as above.
    let (frame, key) = unsafe { (frame(ctx), key.bytes()) };
    let Some(keys) = frame.keys().filter(|keys| (db as usize) < keys.databases()) else { return 0 };
    keys.deadline(db as usize, key).flatten().map_or(0, |at| at.0)
}

unsafe extern "C" fn keys(ctx: *mut c_void, db: u32) -> u64 {
    // SAFETY: as above.
    let keys = unsafe { frame(ctx) }.look();
    if (db as usize) < keys.databases() { keys.len(db as usize) as u64 } else { 0 }
}

unsafe extern "C" fn databases(ctx: *mut c_void) -> u32 {
    // SAFETY: as above.
    unsafe { frame(ctx) }.look().databases() as u32
}

unsafe extern "C" fn journal(ctx: *mut c_void, out: *mut JournalState) {
    // SAFETY: as above; the caller gives room for one value.
    unsafe {
        let frame = frame(ctx);
        out.write(frame.plugin.host().journal_state(frame.core()));
    }
}

unsafe extern "C" fn control_record(ctx: *mut c_void, argv: *const Str, argc: usize, targets: u32) -> u64 {
    // SAFETY: as above.
    unsafe {
        let args = owned_words(argv, argc);
        let frame = frame(ctx);
        let Some(core) = frame.core_mut() else { return frame.core().journal.offset() };
        let words: Vec<&[u8]> = args.view().iter().collect();
        core.control_record(Targets(targets as u8), &words);
        core.journal.offset()
    }
}

unsafe extern "C" fn rebase(ctx: *mut c_void, history: *const History) -> u32 {
    // SAFETY: as above.
    unsafe {
        let frame = frame(ctx);
        let host = frame.plugin.host();
        let Some(core) = frame.core_mut() else { return abi::ERR };
        match host.rebase(core, &*history) {
            Ok(()) => abi::OK,
            Err(_) => abi::ERR,
        }
    }
}

unsafe extern "C" fn set_role(ctx: *mut c_void, role: *const Role) {
    // SAFETY: as above.
    let (frame, replica) = unsafe { (frame(ctx), (*role).role == abi::ROLE_REPLICA) };
    frame.core().gates.set(Gate::Replica, replica);
    if !replica {
        let host = frame.plugin.host();
        if let Some(core) = frame.core_mut() {
            host.accept_loss(core);
        }
        return;
    }
    // Blocked clients wait for writes that this node no longer takes, or for those of whom it followed until now.
    let plugin = frame.plugin;
    match &mut frame.world {
        World::Turn(engine) => engine.unblock_all(),
        World::Command(_) => plugin.later(|engine| engine.unblock_all()),
        World::Look(..) => {}
    }
}

/// A pause as the engine knows it.
pub(super) fn pause_kind(kind: u32, until_unix_ms: u64) -> Pause {
    match kind {
        _ if until_unix_ms == 0 => Pause::Off,
        abi::PAUSE_ALL => Pause::All,
        _ => Pause::Write,
    }
}

unsafe extern "C" fn pause(ctx: *mut c_void, kind: u32, until_unix_ms: u64) {
    // SAFETY: as above.
    let frame = unsafe { frame(ctx) };
    let kind = pause_kind(kind, until_unix_ms);
    let pauser = Pauser::Plugin(&frame.plugin.name);
    match &mut frame.world {
        World::Turn(engine) => engine.pause(pauser, kind, until_unix_ms),
        // At once: what comes behind this command in the same turn waits too.
        World::Command(ctx) => ctx.core.pause_for(pauser, kind, until_unix_ms),
        World::Look(..) => {}
    }
}

unsafe extern "C" fn publish(ctx: *mut c_void, channel: Str, message: Str) -> u64 {
    // SAFETY: as above.
    let (frame, channel, message) = unsafe { (frame(ctx), channel.bytes(), message.bytes()) };
    frame.core_mut().map_or(0, |core| core.publish(channel, message) as u64)
}

unsafe extern "C" fn notify(ctx: *mut c_void, db: u32, key: Str, event: Str) -> u32 {
    // SAFETY: as above.
    let (frame, key, event) = unsafe { (frame(ctx), key.bytes(), event.bytes()) };
    let there = (db as usize) < frame.look().databases();
    let Some(name) = event_names::kept(event).filter(|_| there) else { return abi::ERR };
    let Some(keys) = frame.keys() else { return abi::ERR };
    keys.tell(db as usize, key, Event::new(Class::Module, name));
    abi::OK
}

/// Whether a filter means a session; `confirmed` is what replies may show by now.
pub(super) fn chosen(filter: &KillFilter, confirmed: u64, state: &State) -> bool {
    use keystead_engine::Kind;
    if state.id.id == filter.except && filter.except != 0 {
        return false;
    }
    if filter.id != 0 {
        return state.id.id == filter.id;
    }
    let bit = match state.class() {
        Kind::Normal => abi::KILL_NORMAL,
        Kind::PubSub => abi::KILL_PUBSUB,
        Kind::Replica => abi::KILL_REPLICA,
        Kind::Primary => abi::KILL_PRIMARY,
    };
    filter.kinds & bit != 0 || filter.kinds & abi::KILL_HELD != 0 && state.seen > confirmed
}

unsafe extern "C" fn kill_clients(ctx: *mut c_void, filter: *const KillFilter) -> u64 {
    // SAFETY: as above.
    let (frame, filter) = unsafe { (frame(ctx), *filter) };
    frame.core_mut().map_or(0, |core| {
        let confirmed = core.barriers.confirmed();
        core.kill_clients(|state| chosen(&filter, confirmed, state)) as u64
    })
}

unsafe extern "C" fn now_unix_ms(ctx: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { frame(ctx) }.core().now_ms()
}

unsafe extern "C" fn busy_poll(ctx: *mut c_void) -> u32 {
    // SAFETY: as above. Commands of other sessions that run meanwhile have frames of their own.
    let frame = unsafe { frame(ctx) };
    match &mut frame.world {
        World::Command(ctx) => u32::from(crate::net::busy::poll(ctx.ks, ctx.core, &frame.busy_reply)),
        World::Turn(_) | World::Look(..) => 0,
    }
}

unsafe extern "C" fn changes(ctx: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { frame(ctx) }.look().dirty()
}

unsafe extern "C" fn flushes(ctx: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { frame(ctx) }.look().flushes()
}
