//! The process' allocator: mimalloc behind a counter, so that `used_memory` is exact and cheap to read.
//!
//! Each of the first threads has a counter of its own on its own cache line, which it alone writes (a load and a store);
//! later threads share the last one with an atomic addition. Nothing here allocates or can fail.
#![allow(unsafe_code)]

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Counters; the last one is shared.
const STRIPES: usize = 64;

/// One counter alone on its cache lines.
#[repr(align(128))]
struct Stripe(AtomicI64);

static COUNTERS: [Stripe; STRIPES] = [const { Stripe(AtomicI64::new(0)) }; STRIPES];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's stripe plus one; 0 before its first allocation. Has no destructor, so it may be used at any time.
    static MINE: Cell<usize> = const { Cell::new(0) };
}

#[inline]
fn count(bytes: i64) {
    let mine = MINE.try_with(Cell::get).unwrap_or(STRIPES);
    let mine = if mine == 0 { claim() } else { mine };
    let counter = &COUNTERS[mine - 1].0;
    if mine < STRIPES {
        counter.store(counter.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    } else {
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cold]
fn claim() -> usize {
    let mine = NEXT.fetch_add(1, Ordering::Relaxed).min(STRIPES - 1) + 1;
    let _ = MINE.try_with(|cell| cell.set(mine));
    mine
}

/// Bytes that the process has allocated and not freed.
pub(crate) fn used_memory() -> u64 {
    let sum: i64 = COUNTERS.iter().map(|c| c.0.load(Ordering::Relaxed)).sum();
    sum.max(0) as u64
}

/// A page of the system.
const PAGE: usize = 4096;

/// Allocates blocks, writes to each of their pages and frees them: the next that are allocated need no new pages of the
/// system. Not counted, since nobody uses them: no key must be evicted for them.
pub(crate) fn touch(size: usize, count: usize) {
    let Ok(layout) = Layout::from_size_align(size.max(1), align_of::<usize>()) else { return };
    let mut blocks = Vec::with_capacity(count);
    for _ in 0..count {
        // SAFETY: the layout has a size.
        let block = unsafe { MiMalloc.alloc(layout) };
        if block.is_null() {
            break;
        }
        for at in (0..layout.size()).step_by(PAGE) {
            // SAFETY: inside of the block. Volatile, as nobody reads what is written.
            unsafe { block.add(at).write_volatile(0) };
        }
        blocks.push(block);
    }
    for block in blocks {
        // SAFETY: allocated above with this layout, and nowhere else.
        unsafe { MiMalloc.dealloc(block, layout) };
    }
}

/// mimalloc with a count.
pub(crate) struct Counting;

// SAFETY: every call is passed to mimalloc unchanged, whose contract is the same; counting touches only atomics and a
// thread-local without destructor.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's contract.
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's contract.
        unsafe { MiMalloc.realloc(ptr, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted_and_what_is_freed_is_not() {
        let before = used_memory();
        let big = vec![1u8; 64 << 20];
        assert!(used_memory() >= before + (60 << 20), "a big block shows");
        let moved = std::thread::spawn(move || drop(big)).join();
        assert!(moved.is_ok());
        assert!(used_memory() < before + (30 << 20), "freed by another thread");
    }

    #[test]
    fn what_is_only_touched_is_not_counted() {
        let before = used_memory();
        let touching = std::thread::spawn(|| touch(8 << 10, 30_000));
        let mut most = 0;
        while !touching.is_finished() {
            most = most.max(used_memory().saturating_sub(before));
        }
        // 240 MB were touched; the test beside this one has 64 MB of its own.
        assert!(most < 160 << 20, "{most}");
    }
}
