//! Turns, commands, messages, sessions, gates. Everything that needs the engine waits for its lock when it is polled, and
//! fails when it is polled from inside a plugin's turn, where waiting would be for ever.

use super::super::ctx::{NO_SUCH_DB, chosen, pause_kind};
use super::super::frame::{Frame, World, owned_words, refused_in_turn};
use super::{asynchronous, caller, failed};
use crate::host::plugin::Plugin;
use crate::host::{DATA, calls, guarded};
use crate::net::service::{Handover, Owner};
use futures::task::AtomicWaker;
use keystead_abi::{self as abi, Buf, Ctx, Future, KillFilter, Out, Role, Str};
use keystead_engine::pause::Pauser;
use keystead_engine::resp::Proto;
use keystead_engine::{ConnInfo, Engine, Gate, Origin, Ready, SessionId};
use std::ffi::c_void;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// Runs something in a turn of an endpoint's engine, as a future.
pub(super) fn in_engine<F>(plugin: &'static Plugin, endpoint: u32, body: F) -> Future
where
    F: FnOnce(&mut Engine) -> Out + Send + 'static,
{
    asynchronous(move || async move { now(plugin, endpoint, body) })
}

/// Runs something in a turn of an endpoint's engine, now.
pub(super) fn now(plugin: &'static Plugin, endpoint: u32, body: impl FnOnce(&mut Engine) -> Out) -> Out {
    if let Some(refused) = refused_in_turn() {
        return refused;
    }
    match plugin.engine(endpoint) {
        Some(service) => service.turn(body),
        None => failed(format!("there is no endpoint {endpoint}")),
    }
}

/// Who waits for the end of a session that shows a link.
#[derive(Default)]
struct LinkOwner {
    killed: AtomicBool,
    waker: AtomicWaker,
}

impl Owner for LinkOwner {
    fn ready(&self, _: Ready) {}

    fn take_over(&self, _: Handover) {}

    fn kill(&self, _: SessionId) {
        self.killed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

pub(super) unsafe extern "C" fn show_link(host: *mut c_void, peer: Str, local: Str) -> Future {
    // SAFETY: the contract of `ks_host_api`; the strings live for the call.
    let (plugin, addr, laddr) = unsafe { (caller(host), peer.text(), local.text()) };
    asynchronous(move || async move {
        let Some(service) = plugin.engine(DATA) else { return failed("there is no data engine") };
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        let owner = Arc::new(LinkOwner::default());
        let info = ConnInfo { addr, laddr, fd: -1, unix: false, loopback: false };
        let _shown = service.show_link(info, owner.clone());
        poll_fn(|cx| {
            owner.waker.register(cx.waker());
            if owner.killed.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Out::DONE
    })
}

/// A C closure that runs in a turn.
struct Body {
    run: unsafe extern "C" fn(*mut c_void, *const Ctx),
    drop: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
}

// SAFETY: the contract of `turn`: it may run and be dropped on any thread, one at a time.
unsafe impl Send for Body {}

impl Body {
    fn call(&self, ctx: *const Ctx) {
        // SAFETY: data and function belong together; the context lives for the call.
        unsafe { (self.run)(self.data, ctx) }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // SAFETY: called once.
        unsafe { (self.drop)(self.data) }
    }
}

pub(super) unsafe extern "C" fn turn(
    host: *mut c_void,
    endpoint: u32,
    run: unsafe extern "C" fn(*mut c_void, *const Ctx),
    drop: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> Future {
    // SAFETY: the contract of `ks_host_api`.
    let plugin = unsafe { caller(host) };
    let body = Body { run, drop, data };
    // It is dropped behind the turn: what the plugin drops with it may want one.
    asynchronous(move || async move {
        now(plugin, endpoint, |engine| {
            engine.atomic(|engine| {
                let mut frame = Frame::new(plugin, endpoint, World::Turn(engine));
                frame.enter(|ctx| body.call(ctx));
            });
            Out::DONE
        })
    })
}

fn origin(raw: u32) -> Origin {
    match raw {
        abi::ORIGIN_REPLICATION => Origin::Replication,
        abi::ORIGIN_LOADING => Origin::Loading,
        // The guards for clients don't hold for a plugin, and nothing may park.
        _ => Origin::Internal,
    }
}

pub(super) unsafe extern "C" fn exec(
    host: *mut c_void,
    endpoint: u32,
    db: u32,
    argv: *const Str,
    argc: usize,
    from: u32,
) -> Future {
    // SAFETY: as above; the words live for the call.
    let (plugin, args) = unsafe { (caller(host), owned_words(argv, argc)) };
    in_engine(plugin, endpoint, move |engine| {
        if db as usize >= engine.ks.databases() {
            return failed(NO_SUCH_DB);
        }
        let words: Vec<&[u8]> = args.view().iter().collect();
        let reply = match calls::of_nobody(&engine.core, &plugin.name, args.view()) {
            Some(error) => calls::refused(&error),
            None => engine.exec(db as usize, &words, origin(from), Proto::Resp3),
        };
        Out { buf: Buf::new(reply), ..Out::DONE }
    })
}

pub(super) unsafe extern "C" fn publish(host: *mut c_void, endpoint: u32, channel: Str, message: Str) -> Future {
    // SAFETY: as above; the strings live for the call.
    let (plugin, channel, message) = unsafe { (caller(host), channel.bytes().to_vec(), message.bytes().to_vec()) };
    in_engine(plugin, endpoint, move |engine| Out { a: engine.publish(&channel, &message) as u64, ..Out::DONE })
}

pub(super) unsafe extern "C" fn kill_clients(host: *mut c_void, endpoint: u32, filter: *const KillFilter) -> Future {
    // SAFETY: as above; the filter lives for the call.
    let (plugin, filter) = unsafe { (caller(host), *filter) };
    in_engine(plugin, endpoint, move |engine| {
        let confirmed = engine.core.barriers.confirmed();
        let killed = engine.kill_clients(|state| chosen(&filter, confirmed, state));
        Out { a: killed as u64, ..Out::DONE }
    })
}

pub(super) unsafe extern "C" fn pause(host: *mut c_void, kind: u32, until_unix_ms: u64) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    in_engine(plugin, crate::host::DATA, move |engine| {
        engine.pause(Pauser::Plugin(&plugin.name), pause_kind(kind, until_unix_ms), until_unix_ms);
        Out::DONE
    })
}

pub(super) unsafe extern "C" fn set_role(host: *mut c_void, role: *const Role) {
    // SAFETY: as above; the role lives for the call.
    let (plugin, replica) = unsafe { (caller(host), (*role).role == abi::ROLE_REPLICA) };
    plugin.host().gates.set(Gate::Replica, replica);
    if !replica {
        plugin.later(|engine| plugin.host().accept_loss(&mut engine.core));
    }
}

pub(super) unsafe extern "C" fn set_gate(host: *mut c_void, gate: u32, closed: u32) {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let gate = match gate {
        abi::GATE_READ_ONLY => Gate::ReadOnly,
        abi::GATE_STALE => Gate::Stale,
        abi::GATE_LOADING => Gate::Loading,
        abi::GATE_FEW_REPLICAS => Gate::FewReplicas,
        abi::GATE_DISK_ERROR => Gate::DiskError,
        abi::GATE_ASYNC_LOADING => Gate::AsyncLoading,
        // A gate of a later minor version: this host's guards have none of that kind.
        _ => return,
    };
    let _ = guarded(|| plugin.host().gates.set(gate, closed != 0));
}
