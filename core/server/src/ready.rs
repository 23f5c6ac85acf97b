//! Memory made ready before it is needed. New memory comes in huge pages, which are worth a fifth of a deep pipeline; the
//! first touch of one zeroes 2 MiB, 2 to 10 ms on a virtual machine whose host has to find them first. A thread of its own
//! takes that first touch: while the process grows it allocates what will be wanted next, writes to it and frees it, so that
//! the allocator has it at hand for whoever comes. Owns that thread and its measure; keeps nothing, and rests while nothing grows.

use crate::alloc;
use std::time::Duration;

/// How often growth is looked at.
const EVERY: Duration = Duration::from_millis(20);
/// The same while nothing grows.
const RESTING: Duration = Duration::from_millis(100);
/// Growth that is worth a look at what is left.
const STEP: u64 = 256 << 10;
/// A smaller process doesn't pay for it: it meets few new pages in all its life.
const SMALL: u64 = 16 << 20;
/// What is held ready: a part of what is in use, and at most so much.
const PART: u64 = 16;
const MOST: u64 = 16 << 20;
/// In blocks of these sizes, with their share: the allocator takes its smaller and its larger pages from places of their own.
const BLOCKS: [(u64, u64); 2] = [(8 << 10, 10), (56 << 10, 6)];

/// Starts the thread.
pub(crate) fn start() {
    let named = std::thread::Builder::new().name("memory".to_owned());
    if let Err(error) = named.spawn(run) {
        log::debug!("Memory isn't made ready ahead: {error}");
    }
}

fn run() {
    let mut last = alloc::used_memory();
    let mut rest = EVERY;
    loop {
        std::thread::sleep(rest);
        let now = alloc::used_memory();
        let grown = now.saturating_sub(last);
        if now < SMALL {
            last = now;
            rest = RESTING;
            continue;
        }
        if grown < STEP {
            last = last.min(now);
            rest = (rest * 2).min(RESTING);
            continue;
        }
        (last, rest) = (now, EVERY);
        for (block, share) in BLOCKS {
            alloc::touch(block as usize, (ready(now) * share / 16 / block) as usize);
        }
    }
}

/// How much is held ready by a process that uses so much.
fn ready(used: u64) -> u64 {
    (used / PART).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_is_a_small_part() {
        assert_eq!((ready(SMALL), ready(1 << 40)), (1 << 20, MOST));
        assert_eq!(BLOCKS.iter().map(|(_, share)| share).sum::<u64>(), 16, "the whole");
    }
}
