//! Clients that wrote and rest: what they send stays in their sockets for a while, because a reader of the journal is far
//! behind. Everybody else is served meanwhile. Owns when each goes on; it has no clock and knows no sockets.

use keystead_engine::SessionId;
use std::collections::BTreeSet;

/// The longest rest. Who only reads, pings or publishes never rests, so what waits this long is a writer; with 64 ms fifty
/// of them with values of 10 KB would have gone past the slowest pace of 2 MB/s, and memory grows behind a file's reader.
const MOST_NS: u64 = 1_000_000_000;
/// Less is kept until there is more: the epoll counts in milliseconds (it knows more since Linux 5.11; others must do).
const LEAST_NS: i64 = 1_000_000;
/// Who was woken late has this much of the next rest behind it at most.
const MOST_LATE_US: u64 = 10_000;

/// Who rests, and who wrote in this turn.
#[derive(Default)]
pub(super) struct Resting {
    /// Until when, who.
    until: BTreeSet<(u64, usize, SessionId)>,
    /// Clients of this turn, and how many bytes of the journal are theirs.
    wrote: Vec<(usize, u64)>,
    /// Bytes that all together may write a second.
    pace: u64,
}

/// What a client has yet to rest, ns: less than nothing if its last rest was longer than it should have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debt(i64);

impl Debt {
    /// A rest is over, so much later than it should have been.
    pub(super) fn rested(late_us: u64) -> Debt {
        Debt(-(late_us.min(MOST_LATE_US) as i64 * 1000))
    }

    /// A rest is added; how long all of it is, µs, when it is worth one.
    pub(super) fn grow(&mut self, rest_ns: u64) -> Option<u64> {
        self.0 += rest_ns.min(MOST_NS) as i64;
        (self.0 >= LEAST_NS).then_some(self.0 as u64 / 1000)
    }
}

impl Resting {
    /// What is kept in this turn.
    pub(super) fn set_pace(&mut self, pace: u64) {
        self.pace = pace.max(1);
    }

    /// A client's commands wrote so many bytes.
    pub(super) fn wrote(&mut self, at: usize, bytes: u64) {
        self.wrote.push((at, bytes));
    }

    /// Those who wrote in this turn, each with its rest in ns: who wrote little rests little, and all who rest share the pace.
    pub(super) fn take_writers(&mut self) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (pace, sharing) = (self.pace, (self.until.len() + self.wrote.len()) as u64);
        let rest = move |bytes: u64| bytes.saturating_mul(sharing).saturating_mul(1_000_000_000) / pace;
        std::mem::take(&mut self.wrote).into_iter().map(move |(at, bytes)| (at, rest(bytes).min(MOST_NS)))
    }

    /// True if somebody wrote in this turn and is to rest, or rests.
    pub(super) fn is_any_paced(&self) -> bool {
        !self.wrote.is_empty() || !self.until.is_empty()
    }

    /// A client rests until then.
    pub(super) fn add(&mut self, until_us: u64, at: usize, session: SessionId) {
        self.until.insert((until_us, at, session));
    }

    /// A rest that was to last until then is over before its time: it has no part of the pace any more.
    pub(super) fn cut_short(&mut self, until_us: u64, at: usize, session: SessionId) {
        self.until.remove(&(until_us, at, session));
    }

    /// When the next one goes on.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.until.first().map(|(until, ..)| *until)
    }

    /// The next one whose rest is over, and since when.
    pub(super) fn take_rested(&mut self, now_us: u64) -> Option<(u64, usize, SessionId)> {
        self.next_us().filter(|until| *until <= now_us)?;
        self.until.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::{Debt, MOST_LATE_US, MOST_NS, Resting};
    use keystead_engine::SessionId;

    fn session(slot: u32) -> SessionId {
        SessionId { slot, id: u64::from(slot) + 1 }
    }

    fn rests(resting: &mut Resting, wrote: &[(usize, u64)]) -> Vec<(usize, u64)> {
        wrote.iter().for_each(|(at, bytes)| resting.wrote(*at, *bytes));
        resting.take_writers().collect()
    }

    #[test]
    fn all_writers_together_keep_the_pace() {
        let mut resting = Resting::default();
        resting.set_pace(1_000_000_000);
        assert_eq!(rests(&mut resting, &[(0, 1000)]), [(0, 1000)], "alone: a byte each ns");
        assert_eq!(rests(&mut resting, &[(0, 1000), (1, 10)]), [(0, 2000), (1, 20)], "by two: half of it for each");
        (2..10).for_each(|at| resting.add(5, at, session(at as u32)));
        assert_eq!(rests(&mut resting, &[(0, 1000)]), [(0, 9000)], "those who rest have their part too");
        assert_eq!(rests(&mut resting, &[(0, 1 << 60)]), [(0, MOST_NS)], "there is an end to it");
    }

    #[test]
    fn they_go_on_in_the_order_of_their_rests() {
        let mut resting = Resting::default();
        [(30, 0), (10, 1), (20, 2)].into_iter().for_each(|(until, at)| resting.add(until, at, session(at as u32)));
        assert_eq!((resting.next_us(), resting.take_rested(9)), (Some(10), None));
        assert_eq!(resting.take_rested(25), Some((10, 1, session(1))));
        assert_eq!(resting.take_rested(25), Some((20, 2, session(2))));
        assert_eq!((resting.take_rested(25), resting.next_us()), (None, Some(30)));
    }

    #[test]
    fn a_rest_that_was_cut_short_has_no_part_of_the_pace_and_ends_no_later_one() {
        let mut resting = Resting::default();
        resting.set_pace(1_000_000_000);
        resting.add(10, 0, session(0));
        resting.cut_short(10, 0, session(0));
        assert_eq!(rests(&mut resting, &[(0, 1000)]), [(0, 1000)], "it writes alone");
        resting.add(30, 0, session(0));
        assert_eq!((resting.next_us(), resting.take_rested(20)), (Some(30), None), "of two rests the second counts");
    }

    #[test]
    fn short_rests_add_up_to_one_that_the_epoll_can_count() {
        let mut debt = Debt::default();
        let rests: Vec<u64> =
            (0..10_000).filter_map(|_| debt.grow(333_333).inspect(|_| debt = Debt::rested(0))).collect();
        assert_eq!((rests.len(), rests[0]), (2500, 1333), "four of them each time");
        assert_eq!(debt, Debt::default());
    }

    #[test]
    fn who_was_woken_late_has_rested_for_the_next_writes_too() {
        let mut debt = Debt::rested(1000);
        assert_eq!([debt.grow(1_500_000), debt.grow(500_000), debt.grow(1000)], [None, Some(1000), Some(1001)]);
        assert_eq!(Debt::rested(1 << 40), Debt::rested(MOST_LATE_US), "a standstill isn't saved up");
        assert_eq!(Debt::rested(0).grow(u64::MAX), Some(MOST_NS / 1000));
    }
}
