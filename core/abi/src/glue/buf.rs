//! Owned bytes across the boundary: whoever allocated frees.

use crate::basic::{Buf, Object, Str};
use crate::glue::panics::guarded;
use std::ffi::c_void;
use std::ptr;

impl Str {
    /// Borrows bytes for a call.
    pub fn new(bytes: &[u8]) -> Str {
        Str { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// The memory must be readable for `'a`.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: not empty, so the sender's contract says `ptr` points to `len` readable bytes.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// The bytes as text; what isn't UTF-8 is replaced.
    ///
    /// # Safety
    /// As [`Str::bytes`].
    pub unsafe fn text(self) -> String {
        // SAFETY: passed on to the caller.
        String::from_utf8_lossy(unsafe { self.bytes() }).into_owned()
    }
}

impl Str {
    /// The array behind an `argv` and `argc` pair.
    ///
    /// # Safety
    /// `argv` points to `argc` initialised values, readable for `'a`.
    pub unsafe fn array<'a>(argv: *const Str, argc: usize) -> &'a [Str] {
        if argc == 0 {
            return &[];
        }
        // SAFETY: not empty, so the sender's contract holds.
        unsafe { std::slice::from_raw_parts(argv, argc) }
    }
}

impl Buf {
    /// No bytes.
    pub const EMPTY: Buf = Buf { ptr: ptr::null(), len: 0, owner: ptr::null_mut(), drop: None };

    /// Hands bytes over; the receiver's drop gives them back to this library.
    pub fn new<T: AsRef<[u8]> + Send + Sync + 'static>(bytes: T) -> Buf {
        let owner = Box::new(bytes);
        let slice = (*owner).as_ref();
        if slice.is_empty() {
            return Buf::EMPTY;
        }
        let (ptr, len) = (slice.as_ptr(), slice.len());
        Buf { ptr, len, owner: Box::into_raw(owner).cast(), drop: Some(drop_box::<T>) }
    }
}

/// # Safety
/// `owner` came from `Box::into_raw` of a `T` and is dropped once.
unsafe extern "C" fn drop_box<T>(owner: *mut c_void) {
    let _ = guarded(|| {
        // SAFETY: see above.
        drop(unsafe { Box::from_raw(owner.cast::<T>()) });
    });
}

/// Received bytes; gives them back when dropped.
pub struct OwnedBuf(Buf);

// SAFETY: the contract of `ks_buf` is that bytes are immutable and `drop` may be called from any thread.
unsafe impl Send for OwnedBuf {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for OwnedBuf {}

impl OwnedBuf {
    /// Takes a received buffer.
    ///
    /// # Safety
    /// The buffer keeps its contract and isn't used elsewhere.
    pub unsafe fn new(buf: Buf) -> OwnedBuf {
        OwnedBuf(buf)
    }

    /// The bytes as text; what isn't UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.as_ref()).into_owned()
    }
}

impl AsRef<[u8]> for OwnedBuf {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the buffer is readable until it is dropped, which takes `self`.
        unsafe { Str { ptr: self.0.ptr, len: self.0.len }.bytes() }
    }
}

impl Drop for OwnedBuf {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop {
            // SAFETY: called once, with the owner that came with it.
            unsafe { drop(self.0.owner) }
        }
    }
}

impl Object {
    /// No object.
    pub const NONE: Object = Object { data: ptr::null_mut(), api: ptr::null() };

    /// Whether there is no object.
    pub fn is_none(&self) -> bool {
        self.data.is_null() || self.api.is_null()
    }
}
