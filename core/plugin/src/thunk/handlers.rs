//! Thunks of commands: in the turn, asynchronous, and taking over the connection.

use super::guarded;
use crate::args::{Args, OwnedArgs};
use crate::command::{Effect, Flags, FlagsNow, GetKeys, MayTake};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::io::{Conn, Io};
use crate::plugin::Plugin;
use crate::reply::Reply;
use crate::session::{ClientInfo, State, state_from_raw};
use crate::slot::Slot;
use keystead_abi::glue::export_future;
use keystead_abi::{self as abi, Buf, Out, Str};
use std::ffi::c_void;
use std::future::Future;
use std::sync::Arc;

pub(crate) struct Sync<P, F> {
    pub(crate) slot: Slot<P>,
    pub(crate) f: F,
    pub(crate) get_keys: Option<GetKeys>,
    pub(crate) flags_now: Option<FlagsNow<P>>,
}

pub(crate) struct Async<P, T, F> {
    pub(crate) slot: Slot<P>,
    pub(crate) try_now: T,
    pub(crate) f: F,
}

pub(crate) struct Takeover<P, F> {
    pub(crate) slot: Slot<P>,
    pub(crate) f: F,
    pub(crate) may_take: Option<MayTake<P>>,
}

/// Tells the host about a panic in a handler; what the client sees.
fn panicked(ctx: &mut Ctx<'_>, text: &str) -> u32 {
    ctx.fail(&format!("ERR the plugin panicked: {}", text.replace(['\r', '\n'], " ")));
    abi::CALL_PANICKED
}

pub(crate) unsafe extern "C" fn call<P, F>(
    data: *mut c_void,
    ctx: *const abi::Ctx,
    argv: *const Str,
    argc: usize,
) -> u32
where
    P: Plugin,
    F: Fn(&P, &mut Ctx<'_>, Args<'_>) -> Result<Effect>,
{
    // SAFETY: `data` is what was registered with this function; context and words live for the call.
    let (this, mut ctx, args) =
        unsafe { (&*data.cast::<Sync<P, F>>(), Ctx::from_raw(ctx), Args::from_raw(argv, argc)) };
    match guarded(|| (this.f)(this.slot.get(), &mut ctx, args)) {
        Ok(result) => ctx.finish(result),
        Err(text) => panicked(&mut ctx, &text),
    }
}

pub(crate) unsafe extern "C" fn sync_keys<P, F>(
    data: *mut c_void,
    argv: *const Str,
    argc: usize,
    out: *mut u32,
    max: usize,
) -> usize {
    // SAFETY: as in `call`.
    let (this, args) = unsafe { (&*data.cast::<Sync<P, F>>(), Args::from_raw(argv, argc)) };
    let Some(get_keys) = this.get_keys else { return 0 };
    let Ok(keys) = guarded(|| get_keys(args)) else { return usize::MAX };
    for (index, position) in keys.iter().take(max).enumerate() {
        // SAFETY: the caller gives room for `max` numbers.
        unsafe { out.add(index).write(u32::try_from(*position).unwrap_or(u32::MAX)) };
    }
    keys.len()
}

pub(crate) unsafe extern "C" fn flags_now<P: Plugin, F>(
    data: *mut c_void,
    argv: *const Str,
    argc: usize,
    flags: u64,
) -> u64 {
    // SAFETY: as in `call`.
    let (this, args) = unsafe { (&*data.cast::<Sync<P, F>>(), Args::from_raw(argv, argc)) };
    let Some(flags_now) = this.flags_now else { return flags };
    guarded(|| flags_now(this.slot.get(), args, Flags(flags)).0).unwrap_or(flags)
}

pub(crate) unsafe extern "C" fn try_now<P, T, F>(
    data: *mut c_void,
    ctx: *const abi::Ctx,
    argv: *const Str,
    argc: usize,
    must: u32,
) -> u32
where
    P: Plugin,
    T: Fn(&P, &mut Ctx<'_>, Args<'_>, bool) -> Option<Result<Effect>>,
{
    // SAFETY: as in `call`.
    let (this, mut ctx, args) =
        unsafe { (&*data.cast::<Async<P, T, F>>(), Ctx::from_raw(ctx), Args::from_raw(argv, argc)) };
    match guarded(|| (this.try_now)(this.slot.get(), &mut ctx, args, must != 0)) {
        Ok(Some(result)) => ctx.finish(result),
        Ok(None) => abi::CALL_NOT_NOW,
        Err(text) => panicked(&mut ctx, &text),
    }
}

pub(crate) unsafe extern "C" fn start<P, T, F, Fut>(
    data: *mut c_void,
    client: *const abi::ClientInfo,
    argv: *const Str,
    argc: usize,
) -> abi::Future
where
    P: Plugin,
    F: Fn(Arc<P>, ClientInfo, OwnedArgs) -> Fut,
    Fut: Future<Output = Result<Reply>> + Send + 'static,
{
    // SAFETY: as in `call`; the client's strings live for the call.
    let (this, client, args) = unsafe {
        (&*data.cast::<Async<P, T, F>>(), ClientInfo::from_raw(&*client), Args::from_raw(argv, argc).to_owned())
    };
    let proto = client.proto;
    let plugin = this.slot.get().clone();
    match guarded(|| (this.f)(plugin, client, args)) {
        Ok(future) => export_future(async move {
            let mut wire = Vec::new();
            match future.await {
                Ok(reply) => {
                    reply.encode(proto, &mut wire);
                    reply.take_apart();
                }
                Err(error) => Reply::Error(error.reply_text()).encode(proto, &mut wire),
            }
            Out { buf: Buf::new(wire), ..Out::DONE }
        }),
        Err(text) => failed(text),
    }
}

/// A future that is ready with a panic's text.
pub(super) fn failed(text: String) -> abi::Future {
    export_future(async move { Out::failed(abi::PANICKED, text) })
}

pub(crate) unsafe extern "C" fn may_take<P: Plugin, F>(
    data: *mut c_void,
    ctx: *const abi::Ctx,
    argv: *const Str,
    argc: usize,
    _must: u32,
) -> u32 {
    // SAFETY: as in `call`.
    let (this, mut ctx, args) =
        unsafe { (&*data.cast::<Takeover<P, F>>(), Ctx::from_raw(ctx), Args::from_raw(argv, argc)) };
    let Some(may_take) = this.may_take else { return abi::CALL_NOT_NOW };
    match guarded(|| may_take(this.slot.get(), &mut ctx, args)) {
        Ok(Ok(())) => abi::CALL_NOT_NOW,
        Ok(Err(error)) => ctx.finish(Err(error)),
        Err(text) => panicked(&mut ctx, &text),
    }
}

pub(crate) unsafe extern "C" fn takeover<P, F, Fut>(
    data: *mut c_void,
    conn: *mut abi::Conn,
    argv: *const Str,
    argc: usize,
) -> abi::Future
where
    P: Plugin,
    F: Fn(Arc<P>, Conn, OwnedArgs) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    // SAFETY: as in `call`; stream and state of the connection are ours to own.
    let (this, io, client, state, args) = unsafe {
        let conn = &*conn;
        let state: Option<State> = (!conn.state.is_null()).then(|| state_from_raw(conn.state));
        let args = Args::from_raw(argv, argc).to_owned();
        (&*data.cast::<Takeover<P, F>>(), conn.io, ClientInfo::from_raw(&conn.client), state, args)
    };
    let plugin = this.slot.get().clone();
    let made =
        Io::new(io).and_then(|io| guarded(|| (this.f)(plugin, Conn::new(io, client, state), args)).map_err(Error::new));
    match made {
        Ok(future) => export_future(async move { future.await.map_err(|error| error.reply_text()) }),
        Err(error) => failed(error.text().to_owned()),
    }
}
