//! Thunks of everything that is no command: INFO, parameters, hooks, services.

use super::guarded;
use super::handlers::failed;
use crate::args::Args;
use crate::ctx::Ctx;
use crate::declare::{ConnEvent, InfoOut, WriteEvent};
use crate::error::Result;
use crate::plugin::Plugin;
use crate::service::{Service, decode, encode};
use crate::session::ClientInfo;
use crate::slot::Slot;
use crate::words::Origin;
use keystead_abi::glue::export_future;
use keystead_abi::{self as abi, Buf, Out, Str};
use std::ffi::c_void;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

pub(crate) struct Write<P, F> {
    pub(crate) slot: Slot<P>,
    pub(crate) f: F,
}

pub(crate) unsafe extern "C" fn on_write<P, F>(data: *mut c_void, event: *const abi::WriteEvent) -> u32
where
    P: Plugin,
    F: Fn(&P, &WriteEvent<'_>),
{
    // SAFETY: `data` is what was registered with this function; the event lives for the call.
    let (this, raw) = unsafe { (&*data.cast::<Write<P, F>>(), &*event) };
    // SAFETY: as above.
    let argv = unsafe { Args::from_raw(raw.argv, raw.argc) };
    let event = WriteEvent { offset: raw.offset, db: raw.db, origin: Origin::from_raw(raw.origin), argv };
    status(guarded(|| (this.f)(this.slot.get(), &event)))
}

fn status<T>(result: std::result::Result<T, String>) -> u32 {
    if result.is_ok() { abi::OK } else { abi::PANICKED }
}

pub(crate) struct Connection<P, F> {
    pub(crate) slot: Slot<P>,
    pub(crate) f: F,
}

pub(crate) unsafe extern "C" fn on_conn<P, F>(data: *mut c_void, client: *const abi::ClientInfo, event: u32) -> u32
where
    P: Plugin,
    F: Fn(&P, ConnEvent<'_>),
{
    // SAFETY: as in `on_write`.
    let (this, client) = unsafe { (&*data.cast::<Connection<P, F>>(), ClientInfo::from_raw(&*client)) };
    let event = if event == abi::CONN_OPEN { ConnEvent::Open(&client) } else { ConnEvent::Close(&client) };
    status(guarded(|| (this.f)(this.slot.get(), event)))
}

pub(crate) struct Info<P, F> {
    pub(crate) slot: Slot<P>,
    pub(crate) f: F,
}

pub(crate) unsafe extern "C" fn info<P, F>(
    data: *mut c_void,
    ctx: *const abi::Ctx,
    sink: *mut c_void,
    line: unsafe extern "C" fn(sink: *mut c_void, name: Str, value: Str),
) -> u32
where
    P: Plugin,
    F: Fn(&P, &mut InfoOut<'_>),
{
    // SAFETY: as in `on_write`; context and sink live for the call.
    let (this, ctx) = unsafe { (&*data.cast::<Info<P, F>>(), Ctx::from_raw(ctx)) };
    let mut out = InfoOut { ctx, sink, line };
    status(guarded(|| (this.f)(this.slot.get(), &mut out)))
}

pub(crate) struct Parameter<P, G, S> {
    pub(crate) slot: Slot<P>,
    pub(crate) get: G,
    pub(crate) set: S,
}

pub(crate) unsafe extern "C" fn param_get<P, G, S>(data: *mut c_void, out: *mut Buf) -> u32
where
    P: Plugin,
    G: Fn(&P) -> String,
{
    // SAFETY: as in `on_write`.
    let this = unsafe { &*data.cast::<Parameter<P, G, S>>() };
    let Ok(value) = guarded(|| (this.get)(this.slot.get())) else { return abi::PANICKED };
    // SAFETY: the caller gives room for one buffer.
    unsafe { out.write(Buf::new(value)) };
    abi::OK
}

pub(crate) unsafe extern "C" fn param_set<P, G, S>(data: *mut c_void, value: Str, error: *mut Buf) -> u32
where
    P: Plugin,
    S: Fn(&P, &str) -> Result<()>,
{
    // SAFETY: as in `on_write`; the value lives for the call.
    let (this, value) = unsafe { (&*data.cast::<Parameter<P, G, S>>(), value.text()) };
    let reason = match guarded(|| (this.set)(this.slot.get(), &value)) {
        Ok(Ok(())) => return abi::OK,
        Ok(Err(reason)) => reason.text().to_owned(),
        Err(panic) => format!("the plugin panicked: {panic}"),
    };
    // SAFETY: the caller gives room for one buffer.
    unsafe { error.write(Buf::new(reason)) };
    abi::ERR
}

pub(crate) struct Serve<P, S, F> {
    slot: Slot<P>,
    f: F,
    _service: PhantomData<fn() -> S>,
}

impl<P, S, F> Serve<P, S, F> {
    pub(crate) fn new(slot: Slot<P>, f: F) -> Self {
        Serve { slot, f, _service: PhantomData }
    }
}

pub(crate) unsafe extern "C" fn serve<P, S, F, Fut>(data: *mut c_void, message: Str) -> abi::Future
where
    P: Plugin,
    S: Service,
    F: Fn(Arc<P>, S::Request) -> Fut,
    Fut: Future<Output = Result<S::Answer>> + Send + 'static,
{
    // SAFETY: as in `on_write`; the message lives for the call.
    let (this, message) = unsafe { (&*data.cast::<Serve<P, S, F>>(), message.bytes()) };
    let plugin = this.slot.get().clone();
    let asked = guarded(|| Ok::<_, crate::Error>((this.f)(plugin, decode::<S::Request>(message)?)));
    match asked {
        Ok(Ok(future)) => export_future(async move {
            match future.await.and_then(|answer| encode(&answer)) {
                Ok(bytes) => Out { buf: Buf::new(bytes), ..Out::DONE },
                Err(error) => Out::failed(abi::ERR, error.text()),
            }
        }),
        Ok(Err(error)) => {
            let text = error.text().to_owned();
            export_future(async move { Out::failed(abi::ERR, text) })
        }
        Err(panic) => failed(panic),
    }
}

pub(crate) struct Section<P, S, L> {
    pub(crate) slot: Slot<P>,
    pub(crate) save: S,
    pub(crate) load: L,
}

pub(crate) unsafe extern "C" fn section_save<P, S, L>(data: *mut c_void, out: *mut Buf) -> u32
where
    P: Plugin,
    S: Fn(&P) -> Vec<u8>,
{
    // SAFETY: as in `on_write`.
    let this = unsafe { &*data.cast::<Section<P, S, L>>() };
    let Ok(records) = guarded(|| (this.save)(this.slot.get())) else { return abi::PANICKED };
    // SAFETY: the caller gives room for one buffer.
    unsafe { out.write(Buf::new(records)) };
    abi::OK
}

pub(crate) unsafe extern "C" fn section_load<P, S, L>(data: *mut c_void, records: Str, error: *mut Buf) -> u32
where
    P: Plugin,
    L: Fn(&P, &[u8]) -> Result<()>,
{
    // SAFETY: as in `on_write`; the records live for the call.
    let (this, records) = unsafe { (&*data.cast::<Section<P, S, L>>(), records.bytes()) };
    let (status, reason) = match guarded(|| (this.load)(this.slot.get(), records)) {
        Ok(Ok(())) => return abi::OK,
        Ok(Err(error)) => (abi::ERR, error.text().to_owned()),
        Err(panic) => (abi::PANICKED, panic),
    };
    // SAFETY: the caller gives room for one buffer.
    unsafe { error.write(Buf::new(reason)) };
    status
}
