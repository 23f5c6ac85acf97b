//! How many instructions a script runs between two looks at the clock. Most instructions take nanoseconds; one that makes
//! a text may take milliseconds, where texts collide in the interpreter's table (it hashes long ones by a sample of their
//! bytes). So the number follows the time that the last ones took. Pure: the clock is the caller's.

use std::time::{Duration, Instant};

/// Instructions between two looks, unless they are slow. A look costs some 100 ns, these some 50 µs.
pub const MOST: u32 = 10_000;
/// However slow they are.
const LEAST: u32 = 10;
/// Looks further apart than this are too far apart,
const SLOW: Duration = Duration::from_millis(10);
/// and should be this far apart;
const WANTED: Duration = Duration::from_millis(2);
/// nearer than this there may be fewer of them.
const QUICK: Duration = Duration::from_millis(1);

/// The number now, and when the last look was.
#[derive(Debug)]
pub struct Pace {
    every: u32,
    last: Instant,
}

impl Pace {
    /// The pace of a run that begins.
    pub fn new(now: Instant) -> Pace {
        Pace { every: MOST, last: now }
    }

    /// At a look: the new number, if it is another.
    pub fn look(&mut self, now: Instant) -> Option<u32> {
        let took = now.saturating_duration_since(self.last);
        self.last = now;
        let every = if took > SLOW {
            let share = WANTED.as_secs_f64() / took.as_secs_f64();
            ((f64::from(self.every) * share) as u32).clamp(LEAST, MOST)
        } else if took < QUICK {
            self.every.saturating_mul(2).min(MOST)
        } else {
            self.every
        };
        (std::mem::replace(&mut self.every, every) != every).then_some(every)
    }

    /// The time until now was none of the script's.
    pub fn skip(&mut self, now: Instant) {
        self.last = now;
    }

    /// It isn't what the next run begins with.
    pub fn changed(&self) -> bool {
        self.every != MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Looks at a script whose instructions take so long, until the number stays: how far apart the last two were.
    fn settled(pace: &mut Pace, now: &mut Instant, instruction: Duration) -> Duration {
        for _ in 0..20 {
            let took = instruction * pace.every;
            *now += took;
            if pace.look(*now).is_none() {
                return took;
            }
        }
        panic!("{pace:?} never settles");
    }

    #[test]
    fn the_number_follows_the_time() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for (instruction, from, to) in [
            (Duration::from_nanos(5), Duration::ZERO, MS),
            (Duration::from_micros(100), MS, SLOW),
            (Duration::from_micros(1), MS, SLOW),
            (10 * MS, SLOW, 100 * MS),
            (Duration::from_nanos(5), Duration::ZERO, MS),
        ] {
            let apart = settled(&mut pace, &mut now, instruction);
            assert!((from..=to).contains(&apart), "{instruction:?}: {apart:?}");
        }
        assert!(!pace.changed());
    }

    #[test]
    fn what_others_did_meanwhile_does_not_count() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.skip(now + 1000 * MS);
        assert_eq!(pace.look(now + 1002 * MS), None);
        assert_eq!(pace.look(now + 1102 * MS), Some(200));
        assert!(pace.changed());
    }
}
