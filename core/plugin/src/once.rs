//! Closures that run once on the other side, and the way their results come back.

use crate::error::{Error, Result};
use keystead_abi::glue::{guarded, import_future};
use keystead_abi::{self as abi};
use parking_lot::Mutex;
use std::ffi::c_void;
use std::future::Future;
use std::sync::Arc;

pub(crate) type Shared<T> = Arc<Mutex<Option<std::result::Result<T, String>>>>;

/// A closure on its way to the host, and where its result goes.
pub(crate) struct Once<A, T> {
    run: Option<Box<dyn FnOnce(A) -> T + Send>>,
    result: Shared<T>,
}

impl<A, T: Send + 'static> Once<A, T> {
    /// The closure as the host gets it, and where to look for its result.
    pub(crate) fn boxed(run: impl FnOnce(A) -> T + Send + 'static) -> (*mut c_void, Shared<T>) {
        let result = Shared::default();
        let once = Box::new(Once::<A, T> { run: Some(Box::new(run)), result: result.clone() });
        (Box::into_raw(once).cast(), result)
    }

    fn call(&mut self, argument: A) {
        let Some(run) = self.run.take() else { return };
        let done = guarded(|| run(argument));
        *self.result.lock() = Some(done);
    }
}

pub(crate) unsafe extern "C" fn run_blocking<T: Send + 'static>(data: *mut c_void) {
    // SAFETY: `data` is the box of `Once::boxed`, used by one thread at a time.
    unsafe { &mut *data.cast::<Once<(), T>>() }.call(());
}

pub(crate) unsafe extern "C" fn run_turn<T: Send + 'static>(data: *mut c_void, ctx: *const abi::Ctx) {
    // SAFETY: as above.
    unsafe { &mut *data.cast::<Once<*const abi::Ctx, T>>() }.call(ctx);
}

pub(crate) unsafe extern "C" fn drop_once<A, T>(data: *mut c_void) {
    let _ = guarded(|| {
        // SAFETY: `data` is the box of `Once::boxed`, dropped once.
        drop(unsafe { Box::from_raw(data.cast::<Once<A, T>>()) });
    });
}

/// Waits until the host ran the closure, and takes its result.
pub(crate) fn finish_once<T: Send>(raw: abi::Future, result: Shared<T>) -> impl Future<Output = Result<T>> + Send {
    // SAFETY: the future is ours.
    let raw = unsafe { import_future(raw) };
    async move {
        raw.await.ok()?;
        let done = result.lock().take();
        done.ok_or_else(|| Error::new("the server stops"))?.map_err(|panic| Error::new(format!("panicked: {panic}")))
    }
}
