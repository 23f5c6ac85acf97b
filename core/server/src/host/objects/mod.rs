//! The host's objects as the boundary knows them: sockets, listeners, cursors, snapshots, loads, apply streams.

pub(super) mod apply;
pub(super) mod cursor;
pub(super) mod io;
pub(super) mod listener;
pub(super) mod load;
pub(super) mod snapshot;

use keystead_abi::{Object, ObjectApi};
use std::ffi::c_void;

/// A value as an object with a table of its own.
fn object<T: Send, A>(value: T, api: &'static A) -> Object {
    Object { data: Box::into_raw(Box::new(value)).cast(), api: std::ptr::from_ref(api).cast::<ObjectApi>() }
}

/// The drop function of an object over a `T`.
///
/// # Safety
/// `data` came from [`object()`] of a `T` and is dropped once.
unsafe extern "C" fn drop_object<T>(data: *mut c_void) {
    let _ = super::guarded(|| {
        // SAFETY: the caller's.
        drop(unsafe { Box::from_raw(data.cast::<T>()) });
    });
}

/// The value behind an object.
///
/// # Safety
/// `data` came from [`object()`] of a `T`, is alive, and is used by one thread at a time.
unsafe fn value<'a, T>(data: *mut c_void) -> &'a mut T {
    // SAFETY: the caller's.
    unsafe { &mut *data.cast::<T>() }
}
