//! Rust futures to `ks_future` and back. A panic inside an exported future becomes a result with KS_PANICKED.

use crate::basic::{Buf, ERR, Future as RawFuture, OK, Object, Out, PANICKED, PENDING, READY, Waker as RawKs};
use crate::glue::buf::OwnedBuf;
use crate::glue::panics::guarded;
use crate::glue::waker::{WakerRef, with_waker};
use std::ffi::c_void;
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

impl Out {
    /// KS_OK and nothing else.
    pub const DONE: Out =
        Out { status: OK, code: 0, a: 0, b: 0, buf: Buf::EMPTY, object: Object::NONE, object2: Object::NONE };

    /// A failure with its reason.
    pub fn failed(status: u32, reason: impl Into<String>) -> Out {
        Out { status, buf: Buf::new(reason.into()), ..Out::DONE }
    }
}

/// What an exported future's result is written as.
pub trait IntoOut {
    /// The result.
    fn into_out(self) -> Out;
}

impl IntoOut for () {
    fn into_out(self) -> Out {
        Out::DONE
    }
}

impl IntoOut for Out {
    fn into_out(self) -> Out {
        self
    }
}

impl<T: IntoOut, E: std::fmt::Display> IntoOut for Result<T, E> {
    fn into_out(self) -> Out {
        match self {
            Ok(value) => value.into_out(),
            Err(error) => Out::failed(ERR, error.to_string()),
        }
    }
}

/// A received result, owned.
pub struct Completion {
    /// KS_OK, KS_ERR, …
    pub status: u32,
    /// A second word of status.
    pub code: u32,
    /// First number.
    pub a: u64,
    /// Second number.
    pub b: u64,
    /// Bytes, or the reason of a failure.
    pub buf: OwnedBuf,
    /// First object; the receiver wraps it or leaks it.
    pub object: Object,
    /// Second object.
    pub object2: Object,
}

// SAFETY: objects may be used from any thread, one at a time; that is their tables' contract.
unsafe impl Send for Completion {}

impl Completion {
    /// Takes a received result.
    ///
    /// # Safety
    /// `out` was filled by the other side and isn't used elsewhere.
    pub unsafe fn new(out: Out) -> Completion {
        // SAFETY: the caller's.
        let buf = unsafe { OwnedBuf::new(out.buf) };
        let Out { status, code, a, b, object, object2, .. } = out;
        Completion { status, code, a, b, buf, object, object2 }
    }

    /// The result, or the reason of a failure.
    pub fn ok(self) -> Result<Completion, String> {
        match self.status {
            OK => Ok(self),
            _ => Err(self.buf.text()),
        }
    }
}

/// Hands a future over.
pub fn export_future<F>(future: F) -> RawFuture
where
    F: Future + Send + 'static,
    F::Output: IntoOut,
{
    let data = Box::into_raw(Box::new(future));
    RawFuture { data: data.cast(), poll: Some(poll_boxed::<F>), drop: Some(drop_boxed::<F>) }
}

unsafe extern "C" fn poll_boxed<F>(data: *mut c_void, waker: *const RawKs, out: *mut Out) -> u32
where
    F: Future + Send + 'static,
    F::Output: IntoOut,
{
    let polled = guarded(|| {
        // SAFETY: `data` is the box made by `export_future`, polled by one thread at a time and never moved.
        let future = unsafe { Pin::new_unchecked(&mut *data.cast::<F>()) };
        // SAFETY: the waker is borrowed for this call.
        let waker = unsafe { WakerRef::new(waker) };
        match future.poll(&mut Context::from_waker(waker.waker())) {
            Poll::Ready(value) => Some(value.into_out()),
            Poll::Pending => None,
        }
    });
    let result = match polled {
        Ok(None) => return PENDING,
        Ok(Some(result)) => result,
        Err(panic) => Out::failed(PANICKED, panic),
    };
    // SAFETY: the caller gives room for one result.
    unsafe { out.write(result) };
    READY
}

unsafe extern "C" fn drop_boxed<F>(data: *mut c_void) {
    // A panicking destructor must not cross the boundary either.
    let _ = guarded(|| {
        // SAFETY: dropped once, by the box's owner.
        drop(unsafe { Box::from_raw(data.cast::<F>()) });
    });
}

/// A received future.
pub struct Imported {
    raw: RawFuture,
    done: bool,
}

// SAFETY: the contract of `ks_future` is that any thread may poll and drop it, one at a time.
unsafe impl Send for Imported {}
// SAFETY: no method takes `&self`.
unsafe impl Sync for Imported {}

/// Takes a received future.
///
/// # Safety
/// The future keeps its contract and isn't used elsewhere.
pub unsafe fn import_future(raw: RawFuture) -> Imported {
    Imported { raw, done: false }
}

/// Drops a received future that isn't wanted.
///
/// # Safety
/// As [`import_future`].
pub unsafe fn drop_future(raw: RawFuture) {
    // SAFETY: the caller's.
    drop(unsafe { import_future(raw) });
}

impl Future for Imported {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        let Some(poll) = self.raw.poll else {
            // SAFETY: a result of our own.
            return Poll::Ready(unsafe { Completion::new(Out::DONE) });
        };
        assert!(!self.done, "a future of the boundary was polled after it was ready");
        let mut out = MaybeUninit::<Out>::uninit();
        // SAFETY: `data` belongs to `poll`; the waker is borrowed for the call; there is room for the result.
        let state = with_waker(cx.waker(), |waker| unsafe { poll(self.raw.data, waker, out.as_mut_ptr()) });
        if state != READY {
            return Poll::Pending;
        }
        self.done = true;
        // SAFETY: READY says that the result is written.
        Poll::Ready(unsafe { Completion::new(out.assume_init()) })
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        if let Some(drop) = self.raw.drop {
            // SAFETY: called once.
            unsafe { drop(self.raw.data) }
        }
    }
}
