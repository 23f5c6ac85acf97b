//! Memory made ready before it is needed. New memory comes in huge pages, which are worth a fifth of a deep pipeline; the
//! first touch of one zeroes 2 MiB, 2 to 10 ms on a virtual machine whose host has to find them first. A thread of its own
//! takes that first touch: while the process grows it allocates what will be wanted next, writes to it and frees it, so that
//! the allocator has it at hand for whoever comes. The same thread gives back what was freed, which takes as long, and tells
//! threads of what only they can let go of. Owns that thread and its measures; keeps nothing, and rests while nothing grows.

use crate::{alloc, sched};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

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

/// How often what was freed is given back.
const GIVE_BACK: Duration = Duration::from_secs(1);
/// Bytes freed by others that a thread is told of: for less it need not look through its pages.
const TOLD: i64 = 16 << 20;

/// Threads that are told of what others freed.
static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());

/// One of them.
struct Listener {
    counter: usize,
    others: Others,
    /// False: it is no longer there.
    tell: Box<dyn Fn(u64) -> bool + Send>,
}

/// What others had at most since a thread was told of what they freed, in bytes.
struct Others(i64);

impl Others {
    /// They have so much now: how much of it they freed, if that is worth telling.
    fn freed(&mut self, now: i64) -> Option<u64> {
        self.0 = self.0.max(now);
        let freed = self.0 - now;
        (freed >= TOLD).then(|| {
            self.0 = now;
            freed as u64
        })
    }
}

/// From now on the calling thread is told how many bytes others freed, at most once a second; until `tell` says false. Some of
/// them it may have allocated: pages of these are empty for others only when it has let go of them.
pub(crate) fn when_others_free(tell: impl Fn(u64) -> bool + Send + 'static) {
    let counter = alloc::own_counter();
    let others = Others(alloc::held_by_others(counter));
    LISTENERS.lock().push(Listener { counter, others, tell: Box::new(tell) });
}

fn tell_listeners() {
    LISTENERS.lock().retain_mut(|listener| {
        let freed = listener.others.freed(alloc::held_by_others(listener.counter));
        freed.is_none_or(|freed| (listener.tell)(freed))
    });
}

/// Starts the thread.
pub(crate) fn start() {
    alloc::keep_freed(true);
    let named = std::thread::Builder::new().name("memory".to_owned());
    if let Err(error) = named.spawn(run) {
        alloc::keep_freed(false);
        log::debug!("Memory isn't made ready ahead: {error}");
    }
}

fn run() {
    // Who needs memory before it is ready touches it himself.
    sched::stay_behind();
    let mut growth = Growth { last: alloc::used_memory(), rest: EVERY };
    let mut given = Instant::now();
    loop {
        std::thread::sleep(growth.rest);
        let ready = growth.look(alloc::used_memory());
        let touched =
            BLOCKS.map(|(block, share)| alloc::Touched::new(block as usize, (ready * share / 16 / block) as usize));
        if given.elapsed() >= GIVE_BACK {
            // What was just made ready is in use meanwhile, and stays.
            alloc::give_back();
            tell_listeners();
            given = Instant::now();
        }
        drop(touched);
    }
}

/// How much the process had when last looked at, and when to look again.
struct Growth {
    last: u64,
    rest: Duration,
}

impl Growth {
    /// The process has so much in use now: how much to hold ready.
    fn look(&mut self, now: u64) -> u64 {
        let grown = now.saturating_sub(self.last);
        if now < SMALL {
            (self.last, self.rest) = (now, RESTING);
            return 0;
        }
        if grown < STEP {
            (self.last, self.rest) = (self.last.min(now), (self.rest * 2).min(RESTING));
            return 0;
        }
        (self.last, self.rest) = (now, EVERY);
        ready(now)
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
    fn it_is_made_ready_only_while_the_process_grows() {
        let mut growth = Growth { last: 0, rest: EVERY };
        assert_eq!((growth.look(SMALL - 1), growth.rest), (0, RESTING), "a small process");
        assert_eq!((growth.look(2 * SMALL), growth.rest), (ready(2 * SMALL), EVERY));
        assert_eq!((growth.look(2 * SMALL + STEP - 1), growth.rest), (0, 2 * EVERY), "too little to tell");
        assert_eq!(growth.look(2 * SMALL + STEP), ready(2 * SMALL + STEP), "but little by little it counts");
        assert_eq!(growth.look(SMALL), 0, "what is freed isn't growth");
        assert_eq!(growth.look(SMALL + STEP), ready(SMALL + STEP), "and growth is measured from there");
    }

    #[test]
    fn a_thread_is_told_of_much_that_others_freed_and_once() {
        let mut others = Others(0);
        assert_eq!(others.freed(1 - TOLD), None);
        assert_eq!([others.freed(-TOLD), others.freed(-TOLD)], [Some(TOLD as u64), None]);
        assert_eq!(
            [others.freed(5 * TOLD), others.freed(2 * TOLD)],
            [None, Some(3 * TOLD as u64)],
            "what they had meanwhile"
        );
    }

    #[test]
    fn what_is_ready_is_a_small_part() {
        assert_eq!((ready(SMALL), ready(1 << 40)), (1 << 20, MOST));
        assert_eq!(BLOCKS.iter().map(|(_, share)| share).sum::<u64>(), 16, "the whole");
    }
}
