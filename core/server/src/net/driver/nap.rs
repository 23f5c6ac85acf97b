//! When a driver naps: behind a turn that served a few of many busy clients, instead of waiting for the next one's bytes.
//! Decides only; it has no clock and sleeps for nobody.
//!
//! A driver that is quicker than its clients is woken for each of them, and the waking costs the *client* (an interrupt of
//! another processor inside its send), so a quicker server made a slower whole: with redis-benchmark's 50 clients and one
//! thread, a turn served 6 clients where redis-server's served 8. After a nap the next turn finds more of them. Where little
//! is asked for there is nothing to gather, and a nap is one more wake-up: at 10,000 requests a second it cost half as much
//! as they did.

use std::time::Duration;

/// Long enough for a handful of requests to arrive, far below what a client notices.
const NAP: Duration = Duration::from_micros(50);
/// Over this long a client counts as busy.
const WINDOW_US: u64 = 2_000;

/// So many servings in that long are worth a nap: 20,000 a second.
const MANY: usize = 40;

/// A turn of more commands than this takes longer than a nap: others gather meanwhile, and a nap behind it were lost time.
const LONG: usize = 48;

/// Counts who is busy.
#[derive(Default)]
pub(super) struct Nap {
    window: u32,
    ends_us: u64,
    /// Clients served in this window, and in the one before.
    seen: usize,
    busy: usize,
    /// How often clients were served in this window, and in the one before.
    servings: usize,
    servings_before: usize,
    /// Commands of the last turn.
    commands: usize,
}

impl Nap {
    /// The window that `now_us` falls into. A client whose mark is of another one is [`seen`](Nap::seen) for the first time.
    pub(super) fn window(&mut self, now_us: u64) -> u32 {
        if now_us >= self.ends_us {
            let follows = now_us < self.ends_us + WINDOW_US;
            (self.busy, self.servings_before) = if follows { (self.seen, self.servings) } else { (0, 0) };
            (self.seen, self.servings) = (0, 0);
            self.window = self.window.wrapping_add(1);
            self.ends_us = now_us + WINDOW_US;
        }
        self.window
    }

    /// A turn served so many clients in this window, and executed so many commands.
    pub(super) fn served(&mut self, clients: usize, commands: usize) {
        self.servings += clients;
        self.commands = commands;
    }

    /// One more client in this window.
    pub(super) fn seen(&mut self) {
        self.seen += 1;
    }

    /// How long to sleep behind a turn of `served` clients: not for one, who waits alone for its answers, and not when a
    /// turn finds half of the busy ones anyway, because then the clients wait for us.
    pub(super) fn behind(&self, served: usize) -> Option<Duration> {
        let many = self.servings.max(self.servings_before) >= MANY && self.commands <= LONG;
        (many && served > 1 && served * 2 < self.busy.max(self.seen)).then_some(NAP)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONG, MANY, NAP, Nap, WINDOW_US};

    /// A nap's view of `clients` clients, each served twice in the window before.
    fn busy(clients: usize) -> Nap {
        busy_with(clients, 2 * clients)
    }

    fn busy_with(clients: usize, servings: usize) -> Nap {
        let mut nap = Nap::default();
        nap.window(WINDOW_US);
        (0..clients).for_each(|_| nap.seen());
        nap.served(servings, 1);
        nap.window(2 * WINDOW_US);
        nap
    }

    #[test]
    fn few_of_many_are_worth_a_nap() {
        assert_eq!(busy(50).behind(6), Some(NAP));
    }

    #[test]
    fn one_client_never_waits_and_a_full_turn_needs_no_nap() {
        assert_eq!(busy(50).behind(1), None);
        assert_eq!(busy(50).behind(25), None);
        assert_eq!(busy(2).behind(2), None);
        assert_eq!(busy(0).behind(2), None);
    }

    /// Fifty clients with 200 requests a second each: twenty of them in a window.
    #[test]
    fn who_asks_for_little_is_not_gathered() {
        assert_eq!(busy_with(20, 20).behind(2), None);
        assert_eq!([busy_with(20, MANY - 1).behind(2), busy_with(20, MANY).behind(2)], [None, Some(NAP)]);
    }

    /// Six clients with pipelines of sixteen: the work itself is the time in which others gather.
    #[test]
    fn behind_much_work_there_is_no_nap() {
        let mut nap = busy(50);
        nap.served(6, LONG);
        assert_eq!(nap.behind(6), Some(NAP));
        nap.served(6, LONG + 1);
        assert_eq!(nap.behind(6), None);
    }

    #[test]
    fn who_was_busy_long_ago_counts_no_more() {
        let mut nap = busy(50);
        nap.window(4 * WINDOW_US);
        assert_eq!(nap.behind(6), None);
    }
}
