//! What is on the disk, said by the plugin that put it there: barriers, the durable offset, refusing writes, writing
//! before replies leave.

use super::{asynchronous, caller};
use crate::host::durable::Until;
use crate::host::{DATA, guarded};
use keystead_abi::glue::WakerRef;
use keystead_abi::{self as abi, Future, Out, Str, Waker};
use std::ffi::c_void;

pub(super) unsafe extern "C" fn confirm(host: *mut c_void, position: u64) {
    // SAFETY: the contract of `ks_host_api`.
    let plugin = unsafe { caller(host) };
    let position = (position != abi::HOLD_NOTHING).then_some(position);
    let _ = guarded(|| plugin.engine(DATA).map(|service| plugin.holding.confirm(&service, &plugin.name, position)));
}

pub(super) unsafe extern "C" fn set_durable(host: *mut c_void, offset: u64) {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let _ = guarded(|| plugin.holding.set_durable(&plugin.host().durable, offset));
}

pub(super) unsafe extern "C" fn durable(host: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { caller(host) }.host().durable.get()
}

pub(super) unsafe extern "C" fn until_durable(host: *mut c_void, offset: u64) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    asynchronous(move || async move {
        Until::new(plugin.host().clone(), offset).await;
        Out::DONE
    })
}

pub(super) unsafe extern "C" fn refuse_writes(host: *mut c_void, reason: Str) {
    // SAFETY: as above; the reason lives for the call.
    let (plugin, reason) = unsafe { (caller(host), reason.text()) };
    let _ = guarded(|| plugin.holding.refuse_writes(plugin, &reason));
}

pub(super) unsafe extern "C" fn write_until(host: *mut c_void, mono_us: u64) {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let _ = guarded(|| plugin.host().gates.write_until((mono_us != abi::NO_LEASE).then_some(mono_us)));
}

pub(super) unsafe extern "C" fn enough_replicas_until(host: *mut c_void, mono_us: u64) {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let end = (mono_us != abi::NO_LEASE).then_some(mono_us);
    let _ = guarded(|| plugin.host().gates.enough_replicas_until(end));
}

pub(super) unsafe extern "C" fn before_replies(host: *mut c_void, waker: *const Waker) {
    // SAFETY: as above; the waker lives for the call.
    let plugin = unsafe { caller(host) };
    // SAFETY: not null.
    let waker = (!waker.is_null()).then(|| unsafe { WakerRef::new(waker) }.waker().clone());
    let _ = guarded(|| {
        let Some(service) = plugin.engine(DATA) else { return };
        plugin.holding.before_replies(&service, &plugin.name, waker);
    });
}
