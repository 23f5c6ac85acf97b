//! INFO sections, CONFIG parameters and hooks of plugins as the engine sees them.

use super::ctx::client_info;
use super::frame::{Frame, World, inside, with_words};
use super::plugin::Plugin;
use keystead_abi::glue::OwnedBuf;
use keystead_abi::{self as abi, Buf, Str};
use keystead_engine::Origin;
use keystead_engine::core::Core;
use keystead_engine::foreign::{ConnEvent, ForeignConfig, ForeignHook, ForeignInfo, WriteEvent};
use keystead_engine::keyspace::Keyspace;
use keystead_engine::session::State;
use std::ffi::c_void;

type Line = unsafe extern "C" fn(*mut c_void, Str, Str);

/// A section of INFO.
pub(super) struct Section {
    pub(super) plugin: &'static Plugin,
    pub(super) endpoint: u32,
    pub(super) data: *mut c_void,
    pub(super) render: unsafe extern "C" fn(*mut c_void, *const abi::Ctx, *mut c_void, Line) -> u32,
}

// SAFETY: a plugin's functions may be called from any thread, with the data they were registered with.
unsafe impl Send for Section {}
// SAFETY: as above.
unsafe impl Sync for Section {}

unsafe extern "C" fn line(sink: *mut c_void, name: Str, value: Str) {
    // SAFETY: the sink is the vector that `write` passed, used for the call only; the strings live for the call.
    unsafe {
        let out = &mut *sink.cast::<Vec<u8>>();
        for (part, end) in [(name, &b":"[..]), (value, b"\r\n")] {
            out.extend(part.bytes().iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
            out.extend_from_slice(end);
        }
    }
}

impl ForeignInfo for Section {
    fn write(&self, ks: &Keyspace, core: &Core, out: &mut Vec<u8>) {
        if !self.plugin.live() {
            return;
        }
        let sink: *mut c_void = std::ptr::from_mut(out).cast();
        let mut frame = Frame::new(self.plugin, self.endpoint, World::Look(ks, core));
        // SAFETY: data and function belong together; context and sink live for the call.
        let status = frame.enter(|ctx| unsafe { (self.render)(self.data, ctx, sink, line) });
        if status != abi::OK {
            log::error!("plugin {}: a section of INFO panicked", self.plugin.name);
        }
    }
}

/// A parameter of CONFIG.
pub(super) struct Parameter {
    pub(super) plugin: &'static Plugin,
    pub(super) data: *mut c_void,
    pub(super) get: unsafe extern "C" fn(*mut c_void, *mut Buf) -> u32,
    pub(super) set: Option<unsafe extern "C" fn(*mut c_void, Str, *mut Buf) -> u32>,
    pub(super) immutable: bool,
    pub(super) secret: bool,
    /// `save`, `appendonly`.
    pub(super) tells_what_is_saved: bool,
}

// SAFETY: as for `Section`.
unsafe impl Send for Parameter {}
// SAFETY: as above.
unsafe impl Sync for Parameter {}

impl ForeignConfig for Parameter {
    fn get(&self) -> String {
        if !self.plugin.live() {
            return String::new();
        }
        let mut out = Buf::EMPTY;
        // SAFETY: data and function belong together; the buffer is ours to own.
        inside(|| unsafe {
            (self.get)(self.data, &mut out);
            OwnedBuf::new(out).text()
        })
    }

    fn set(&self, value: &str) -> Result<(), String> {
        let Some(set) = self.set.filter(|_| self.plugin.live()) else { return Err("can't be set".to_owned()) };
        let mut error = Buf::EMPTY;
        // SAFETY: as above; the value lives for the call.
        let (status, reason) = inside(|| unsafe {
            let status = set(self.data, Str::new(value.as_bytes()), &mut error);
            (status, OwnedBuf::new(error).text())
        });
        if self.tells_what_is_saved {
            self.plugin.keeping.look();
        }
        if status == abi::OK { Ok(()) } else { Err(reason) }
    }

    fn mutable(&self) -> bool {
        !self.immutable && self.set.is_some()
    }

    fn secret(&self) -> bool {
        self.secret
    }
}

/// A hook for writes.
pub(super) struct WriteHook {
    pub(super) plugin: &'static Plugin,
    pub(super) data: *mut c_void,
    pub(super) call: unsafe extern "C" fn(*mut c_void, *const abi::WriteEvent) -> u32,
}

// SAFETY: as for `Section`.
unsafe impl Send for WriteHook {}
// SAFETY: as above.
unsafe impl Sync for WriteHook {}

fn origin(origin: Origin) -> u32 {
    match origin {
        Origin::Client | Origin::Internal => abi::ORIGIN_CLIENT,
        Origin::Replication => abi::ORIGIN_REPLICATION,
        Origin::Loading => abi::ORIGIN_LOADING,
    }
}

impl ForeignHook for WriteHook {
    fn wants_writes(&self) -> bool {
        true
    }

    fn on_write(&self, event: &WriteEvent<'_>) -> bool {
        if !self.plugin.live() {
            return false;
        }
        let status = with_words(event.argv.iter(), |argv, argc| {
            let (offset, db, origin) = (event.offset, event.db as u32, origin(event.origin));
            // SAFETY: data and function belong together; the event lives for the call.
            inside(|| unsafe { (self.call)(self.data, &abi::WriteEvent { offset, db, origin, argv, argc }) })
        });
        if status != abi::OK {
            self.plugin.fault("a hook for writes panicked");
        }
        status == abi::OK
    }
}

/// A hook for sessions that begin and end.
pub(super) struct ConnHook {
    pub(super) plugin: &'static Plugin,
    pub(super) endpoint: u32,
    pub(super) data: *mut c_void,
    pub(super) call: unsafe extern "C" fn(*mut c_void, *const abi::ClientInfo, u32) -> u32,
}

// SAFETY: as for `Section`.
unsafe impl Send for ConnHook {}
// SAFETY: as above.
unsafe impl Sync for ConnHook {}

impl ForeignHook for ConnHook {
    fn on_conn(&self, event: ConnEvent, state: &State) -> bool {
        if !self.plugin.live() {
            return false;
        }
        let event = if event == ConnEvent::Open { abi::CONN_OPEN } else { abi::CONN_CLOSE };
        // SAFETY: data and function belong together; the client's strings live for the call.
        let status = inside(|| unsafe { (self.call)(self.data, &client_info(state, self.endpoint), event) });
        if status != abi::OK {
            self.plugin.fault("a hook for connections panicked");
        }
        status == abi::OK
    }
}
