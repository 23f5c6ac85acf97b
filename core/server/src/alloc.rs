//! The process' allocator: mimalloc behind a counter, so that `used_memory` is exact and cheap to read.
//!
//! Each of the first threads has a counter of its own on its own cache line, which it alone writes (a load and a store);
//! later threads share the last one with an atomic addition. Nothing here allocates or can fail.
#![allow(unsafe_code)]

use crate::logging;
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

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

/// The counter of the calling thread, for [`held_by_others`].
pub(crate) fn own_counter() -> usize {
    count(0);
    MINE.get() - 1
}

/// What all threads but one have allocated and not freed, in bytes: less than nothing where they freed what was its own.
pub(crate) fn held_by_others(counter: usize) -> i64 {
    let others = COUNTERS.iter().enumerate().filter(|(at, _)| *at != counter);
    others.map(|(_, counter)| counter.0.load(Ordering::Relaxed)).sum()
}

/// A page of the system.
const PAGE: usize = 4096;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
    fn mi_collect(force: bool);
    #[cfg(target_env = "gnu")]
    fn malloc_trim(pad: usize) -> c_int;
}

/// Somebody asks for what plugins freed: their memory is the C library's.
static ASKED: AtomicBool = AtomicBool::new(false);

/// mimalloc's `purge_delay`: how many milliseconds memory is free until it goes back to the system.
const PURGE_DELAY: c_int = 15;
/// What it is if nobody says otherwise.
const USUAL_DELAY_MS: c_long = 1000;
/// Longer than any process lives.
const NEVER_MS: c_long = 100 * 365 * 24 * 3600 * 1000;

/// Whether memory that was freed goes back to the system only by [`give_back`]. Otherwise whichever thread frees next gives
/// all back that was free for a second, in a thousand calls of the system: that takes a client's turn 5 to 10 ms.
pub(crate) fn keep_freed(keep: bool) {
    // SAFETY: the option's number and type are mimalloc's; a word is written, which threads read as it is.
    unsafe { mi_option_set(PURGE_DELAY, if keep { NEVER_MS } else { USUAL_DELAY_MS }) }
    // A time that is set already holds for all that is free then: this ends it.
    give_back();
}

/// Gives the memory that was freed back to the system.
pub(crate) fn give_back() {
    // The allocator listens only to threads that have had something of it.
    drop(std::hint::black_box(Box::new(0u8)));
    // SAFETY: may be called at any time; touches nothing that is in use.
    unsafe { mi_collect(true) }
    #[cfg(target_env = "gnu")]
    if ASKED.swap(false, Ordering::Relaxed) {
        // SAFETY: as above.
        unsafe { malloc_trim(0) };
    }
}

/// Only the thread that allocated can let go of a page in which others freed the last block: it does with this, of all its
/// pages. 26 ms a gigabyte that was freed in this way (of blocks of 4 KB; of the smallest ten times as much), else a
/// millisecond a gigabyte of half-empty pages. They go to the system when somebody gives back.
pub(crate) fn let_go() {
    // SAFETY: as above.
    unsafe { mi_collect(false) }
}

/// MEMORY PURGE, on the thread that asks: lets go at once. Whoever gives back does the rest within a second: to the system go
/// these pages, and what plugins freed.
pub(crate) fn purge() {
    ASKED.store(true, Ordering::Relaxed);
    let_go();
}

/// Blocks that were allocated and written to, of which nobody uses anything. Not counted: no key must be evicted for them.
/// Once it is dropped the next that are allocated need no new pages of the system.
pub(crate) struct Touched {
    blocks: Vec<*mut u8>,
    layout: Layout,
}

impl Touched {
    /// So many blocks, or as many as there are.
    pub(crate) fn new(size: usize, count: usize) -> Self {
        let layout = Layout::from_size_align(size.max(1), align_of::<usize>()).unwrap_or(Layout::new::<usize>());
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
        Touched { blocks, layout }
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        for block in self.blocks.drain(..) {
            // SAFETY: allocated by `new` with this layout, and nowhere else.
            unsafe { MiMalloc.dealloc(block, self.layout) };
        }
    }
}

/// A line of the log.
const LINE: usize = 256;

/// Says in the log that there is no memory: the process is about to end, and says why only on standard error, which a daemon
/// hasn't. Gives back what it was given.
#[cold]
fn refused(nothing: *mut u8, bytes: usize) -> *mut u8 {
    let mut line = [0; LINE];
    if let Some((descriptor, length)) = logging::out_of_memory(bytes, &mut line) {
        // SAFETY: reads that many bytes of the line.
        unsafe { libc::write(descriptor, line.as_ptr().cast(), length) };
    }
    nothing
}

#[inline]
fn given(block: *mut u8, bytes: usize) -> *mut u8 {
    if block.is_null() { refused(block, bytes) } else { block }
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
        given(unsafe { MiMalloc.alloc(layout) }, layout.size())
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
        given(unsafe { MiMalloc.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's contract.
        given(unsafe { MiMalloc.realloc(ptr, layout, new_size) }, new_size)
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
    fn what_a_thread_has_is_told_from_what_others_have() {
        // Far more than the other tests have at the same time; nobody writes to it.
        const MUCH: i64 = 1 << 30;
        let mine = own_counter();
        let before = held_by_others(mine);
        let own = vec![0u8; MUCH as usize];
        assert!(held_by_others(mine) < before + MUCH / 2, "it is this thread's");
        assert!(std::thread::spawn(move || drop(own)).join().is_ok());
        assert!(held_by_others(mine) < before - MUCH / 2, "others freed what they hadn't allocated");
    }

    #[test]
    fn what_is_only_touched_is_not_counted() {
        let before = used_memory();
        let touched = Touched::new(8 << 10, 30_000);
        let counted = used_memory().saturating_sub(before);
        assert_eq!(touched.blocks.len(), 30_000);
        // 240 MB were touched; the test beside this one has 64 MB of its own.
        assert!(counted < 160 << 20, "{counted}");
    }

    /// Bytes of this process that are in memory.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * PAGE
    }

    /// Tests that measure the whole process, one at a time.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// Blocks on their way to another thread.
    struct Handed(Vec<Option<Touched>>);

    // SAFETY: nobody points at the blocks, and the allocator takes them back from any thread.
    unsafe impl Send for Handed {}

    #[test]
    fn what_others_freed_of_a_threads_pages_goes_back_when_it_purges() {
        let _alone = ALONE.lock();
        let elsewhere = || assert!(std::thread::spawn(give_back).join().is_ok());
        // With its own half freed the pages are this thread's, and full of blocks that the other thread frees.
        let mut blocks = Handed((0..20_000).map(|_| Some(Touched::new(8 << 10, 1))).collect());
        blocks.0.iter_mut().step_by(2).for_each(|block| *block = None);
        assert!(std::thread::spawn(move || drop(blocks)).join().is_ok());
        elsewhere();
        let kept = resident();
        purge();
        elsewhere();
        let left = resident();
        assert!(kept.saturating_sub(left) > 100 << 20, "160 MB were freed: {kept} bytes before, {left} after");
    }

    #[test]
    fn who_frees_gives_nothing_back_to_the_system_but_who_is_there_for_it_does() {
        let _alone = ALONE.lock();
        unsafe extern "C" {
            fn mi_option_get(option: c_int) -> c_long;
        }
        // SAFETY: reads a word.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), USUAL_DELAY_MS, "the number names the option");
        let free = |count| std::thread::spawn(move || drop(Touched::new(8 << 10, count))).join();
        assert!(free(200).is_ok(), "a time is set already");
        keep_freed(true);
        assert_eq!(delay(), NEVER_MS);
        assert!(free(20_000).is_ok());
        // The delay's old end passes, and somebody frees: that is when all of it went back.
        std::thread::sleep(std::time::Duration::from_millis(USUAL_DELAY_MS as u64 + 200));
        assert!(free(200).is_ok());
        let kept = resident();
        give_back();
        let left = resident();
        assert!(kept.saturating_sub(left) > 100 << 20, "160 MB were freed: {kept} bytes before, {left} after");
        keep_freed(false);
        assert_eq!(delay(), USUAL_DELAY_MS);
    }
}
