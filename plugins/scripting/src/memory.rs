//! The plugin's own allocator. A script may take hundreds of megabytes and leave them to nobody: with the C library's
//! allocator, one small block of another plugin at the end of what it took keeps all of it in the process. This one gives
//! freed memory back to the system when it is asked, on a thread that may take its time. Owns that, and nothing of Lua.

use mimalloc::MiMalloc;
use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
    fn mi_collect(force: bool);
}

/// mimalloc's `purge_delay`: how many milliseconds memory is free until it goes back to the system.
const PURGE_DELAY: c_int = 15;
/// Longer than any process lives.
const NEVER_MS: c_long = 100 * 365 * 24 * 3600 * 1000;

/// From now on nobody gives memory back by the way: a client's turn would take milliseconds longer.
pub fn keep_freed() {
    // SAFETY: the option's number and type are mimalloc's; a word is written, which threads read as it is.
    unsafe { mi_option_set(PURGE_DELAY, NEVER_MS) }
}

/// Gives what was freed back to the system.
pub fn give_back() {
    // The allocator listens only to threads that it knows.
    drop(std::hint::black_box(Box::new(0u8)));
    // SAFETY: as above.
    unsafe { mi_collect(true) }
}

#[cfg(test)]
mod tests {
    unsafe extern "C" {
        fn mi_option_get(option: super::c_int) -> super::c_long;
    }

    #[test]
    fn the_number_names_the_option() {
        // SAFETY: reads a word.
        assert_eq!(unsafe { mi_option_get(super::PURGE_DELAY) }, 1000);
    }
}
