//! A buffer for functions of ours that make a text. It is the thread's: an error of the interpreter jumps over the function
//! that fills it, which so must not own it. One at a time uses it: none of these functions calls a script.

use std::cell::UnsafeCell;

/// A buffer that grew beyond this isn't kept.
const KEPT: usize = 256 * 1024;

thread_local! {
    static TEXT: UnsafeCell<Vec<u8>> = const { UnsafeCell::new(Vec::new()) };
}

/// The buffer, empty.
///
/// # Safety
/// Nobody uses it any more who had it before.
pub(crate) unsafe fn text<'t>() -> &'t mut Vec<u8> {
    // SAFETY: the caller's; it is the thread's own, and lives as long.
    let text = unsafe { &mut *TEXT.with(UnsafeCell::get) };
    if text.capacity() > KEPT {
        *text = Vec::new();
    }
    text.clear();
    text
}

/// Behind its use: a big one goes.
///
/// # Safety
/// As above.
pub(crate) unsafe fn done() {
    // SAFETY: the caller's.
    let _ = unsafe { text() };
}
