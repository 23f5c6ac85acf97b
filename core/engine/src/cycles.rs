//! Rounds of the server's loops, as INFO tells of them: how many, how long, how much of it was what. A round of the driver
//! serves clients, a round of the tick does what is due; waiting is no part of either. Owns numbers only.

use crate::stats::Rate;

/// What a driver's rounds took since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// How many.
    pub count: u64,
    /// All together, µs.
    pub us: u64,
    /// The longest, µs.
    pub longest_us: u64,
    /// Of it what had to be done before replies left, µs.
    pub file_us: u64,
}

impl Rounds {
    /// Adds one.
    #[inline]
    pub fn add(&mut self, us: u64) {
        self.count += 1;
        self.us += us;
        self.longest_us = self.longest_us.max(us);
    }
}

/// Everybody's rounds.
#[derive(Clone, Debug, Default)]
pub struct Cycles {
    /// All.
    pub all: Rounds,
    /// Of those the tick's, µs.
    pub tick_us: u64,
    /// The most commands in one of them.
    pub most_commands: u64,
    /// Rounds a second.
    pub per_second: Rate,
    /// Their mean length lately, µs.
    pub length_us: Rate,
    /// Commands run when the last round was reported.
    commands: u64,
}

impl Cycles {
    /// A driver tells of its rounds.
    pub(crate) fn report(&mut self, rounds: Rounds, commands: u64) {
        self.all.count += rounds.count;
        self.all.us += rounds.us;
        self.all.file_us += rounds.file_us;
        self.all.longest_us = self.all.longest_us.max(rounds.longest_us);
        self.most_commands = self.most_commands.max(commands.saturating_sub(self.commands));
        self.commands = commands;
    }

    /// The tick's round took so long.
    pub(crate) fn ticked(&mut self, us: u64) {
        self.all.add(us);
        self.tick_us += us;
    }

    /// Ten times a second.
    pub(crate) fn sample(&mut self, now_ms: u64) {
        if self.per_second.sample(now_ms, self.all.count) {
            self.length_us.sample_each(self.all.count, self.all.us);
        }
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        let (mut per_second, mut length_us) = (self.per_second.clone(), self.length_us.clone());
        per_second.reset();
        length_us.reset();
        *self = Cycles { per_second, length_us, ..Cycles::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_last_rounds() {
        let mut cycles = Cycles::default();
        for second in 1..=17 {
            let mut rounds = Rounds { file_us: 2, ..Rounds::default() };
            (1..=4).for_each(|i| rounds.add(i * 10));
            cycles.report(rounds, second * 5);
            cycles.ticked(300);
            cycles.sample(second * 1000);
        }
        assert_eq!((cycles.all.count, cycles.all.us, cycles.all.longest_us), (85, 17 * 400, 300));
        assert_eq!((cycles.tick_us, cycles.all.file_us, cycles.most_commands), (17 * 300, 34, 5));
        assert_eq!((cycles.per_second.per_second(), cycles.length_us.per_second()), (5, 80));
        cycles.reset();
        assert_eq!((cycles.all, cycles.per_second.per_second()), (Rounds::default(), 0));
    }
}
