//! Clients that wrote and rest: what they send stays in their sockets for a while, because a reader of the journal is far
//! behind. Everybody else is served meanwhile. Owns when each goes on; it has no clock and knows no sockets.

use keystead_engine::SessionId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The longest rest: nobody must look dead to who waits for an answer.
const MOST_US: u64 = 1_000_000;
/// Less isn't worth the system calls.
const LEAST_US: u64 = 20;

/// Who rests, and who wrote in this turn.
#[derive(Default)]
pub(super) struct Resting {
    /// Until when, who.
    until: BinaryHeap<Reverse<(u64, usize, SessionId)>>,
    /// Clients of this turn, and how many bytes of the journal are theirs.
    wrote: Vec<(usize, u64)>,
    /// Bytes that all together may write a second.
    pace: u64,
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

    /// Those who wrote in this turn, each with its rest in µs: who wrote little rests little, and all who rest share the pace.
    pub(super) fn take_writers(&mut self) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (pace, sharing) = (self.pace, (self.until.len() + self.wrote.len()) as u64);
        let rest = move |bytes: u64| (bytes.saturating_mul(sharing).saturating_mul(1_000_000) / pace).min(MOST_US);
        let writers = std::mem::take(&mut self.wrote).into_iter();
        writers.map(move |(at, bytes)| (at, rest(bytes))).filter(|(_, rest)| *rest >= LEAST_US)
    }

    /// A client rests until then.
    pub(super) fn add(&mut self, until_us: u64, at: usize, session: SessionId) {
        self.until.push(Reverse((until_us, at, session)));
    }

    /// When the next one goes on.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.until.peek().map(|Reverse((until, ..))| *until)
    }

    /// The next one whose rest is over.
    pub(super) fn take_rested(&mut self, now_us: u64) -> Option<(usize, SessionId)> {
        self.next_us().filter(|until| *until <= now_us)?;
        self.until.pop().map(|Reverse((_, at, session))| (at, session))
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_US, Resting};
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
        resting.set_pace(1_000_000);
        assert_eq!(rests(&mut resting, &[(0, 1000)]), [(0, 1000)], "alone: a byte each µs");
        assert_eq!(rests(&mut resting, &[(0, 1000), (1, 10)]), [(0, 2000), (1, 20)], "by two: half of it for each");
        (2..10).for_each(|at| resting.add(5, at, session(at as u32)));
        assert_eq!(rests(&mut resting, &[(0, 1000)]), [(0, 9000)], "those who rest have their part too");
    }

    #[test]
    fn a_rest_is_bounded_and_worth_it() {
        let mut resting = Resting::default();
        resting.set_pace(1_000_000);
        assert_eq!(rests(&mut resting, &[(0, 1 << 40), (1, 5)]), [(0, MOST_US)]);
    }

    #[test]
    fn they_go_on_in_the_order_of_their_rests() {
        let mut resting = Resting::default();
        [(30, 0), (10, 1), (20, 2)].into_iter().for_each(|(until, at)| resting.add(until, at, session(at as u32)));
        assert_eq!((resting.next_us(), resting.take_rested(9)), (Some(10), None));
        assert_eq!(resting.take_rested(25), Some((1, session(1))));
        assert_eq!(resting.take_rested(25), Some((2, session(2))));
        assert_eq!((resting.take_rested(25), resting.next_us()), (None, Some(30)));
    }
}
