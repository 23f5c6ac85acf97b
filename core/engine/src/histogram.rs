//! How long a command takes: a histogram with two significant digits, from which LATENCY HISTOGRAM and INFO's percentiles
//! come. Buckets are those of the HDR histogram that Redis uses, so that the same times give the same numbers. Pure.

use std::collections::BTreeMap;

/// Times above a second count as a second.
const MAX_NS: u64 = 1_000_000_000;
/// Two significant digits: so many buckets of equal width in each octave.
const PER_OCTAVE_BITS: u32 = 7;
/// The first column of LATENCY HISTOGRAM ends here.
const FIRST_NS: u64 = 1024;

/// Times of one command.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Lowest time of a bucket, in ns → how many.
    buckets: BTreeMap<u64, u64>,
    count: u64,
    /// The bucket of the last measured call: those that weren't measured count as it did.
    last: u64,
    /// Calls of that bucket that aren't in it yet: most fall where the one before did.
    unsettled: u64,
}

/// The width of the bucket that a time falls into.
fn width(ns: u64) -> u64 {
    let octave = 63 - ns.max(1).leading_zeros();
    1 << octave.saturating_sub(PER_OCTAVE_BITS)
}

/// The highest time that can't be told from this one.
fn highest_like(ns: u64) -> u64 {
    ns - ns % width(ns) + width(ns) - 1
}

impl Histogram {
    /// One call that was measured.
    pub fn add(&mut self, usec: u64) {
        let ns = usec.saturating_mul(1000).clamp(1000, MAX_NS);
        let lowest = ns & !(width(ns) - 1);
        if lowest != self.last {
            self.settle();
            self.last = lowest;
        }
        self.unsettled += 1;
    }

    /// One call that wasn't: looking at the clock would take longer than the command.
    #[inline]
    pub fn add_unmeasured(&mut self) {
        self.unsettled += 1;
    }

    fn settle(&mut self) {
        let unsettled = std::mem::take(&mut self.unsettled);
        if unsettled > 0 {
            self.count += unsettled;
            *self.buckets.entry(self.last.max(1000)).or_default() += unsettled;
        }
    }

    /// A copy in which every call is in its bucket.
    pub fn settled(&self) -> Histogram {
        let mut copy = self.clone();
        copy.settle();
        copy
    }

    /// How many calls (of a settled one).
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time in µs that `percent` of the calls (of a settled one) don't exceed.
    pub fn percentile(&self, percent: f64) -> f64 {
        let wanted = (percent.clamp(0.0, 100.0) / 100.0 * self.count as f64 + 0.5) as u64;
        let mut seen = 0;
        for (&lowest, &count) in &self.buckets {
            seen += count;
            if seen >= wanted.max(1) {
                return if percent == 0.0 { lowest } else { highest_like(lowest) } as f64 / 1000.0;
            }
        }
        0.0
    }

    /// Upper ends in µs, doubling, with how many calls (of a settled one) don't exceed them; only where that number grows.
    pub fn columns(&self) -> Vec<(u64, u64)> {
        let mut columns = Vec::new();
        let (mut end, mut seen, mut told) = (FIRST_NS, 0, 0);
        let mut rest = self.buckets.iter().peekable();
        while seen < self.count {
            let upto = highest_like(end);
            while let Some((_, count)) = rest.next_if(|(lowest, _)| **lowest <= upto) {
                seen += count;
            }
            if seen > told {
                columns.push((upto / 1000, seen));
                told = seen;
            }
            end *= 2;
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        times.iter().for_each(|usec| histogram.add(*usec));
        histogram.settled()
    }

    #[test]
    fn columns_double_as_in_redis() {
        assert_eq!(of(&[]).columns(), []);
        assert_eq!(of(&[0, 1, 2, 3]).columns(), [(1, 2), (2, 3), (4, 4)]);
        assert_eq!(of(&[33, 34, 66, 1056, 5_000_000]).columns(), [(33, 1), (66, 3), (1056, 4), (1_082_130, 5)]);
    }

    #[test]
    fn percentiles_are_the_upper_ends_of_buckets() {
        let histogram = of(&[1, 1, 1, 10]);
        assert_eq!(histogram.percentile(50.0), 1.003);
        assert_eq!(histogram.percentile(100.0), 10.047);
        assert_eq!(of(&[]).percentile(50.0), 0.0);
    }

    #[test]
    fn calls_that_are_not_measured_count_as_the_last_that_was() {
        let mut histogram = Histogram::default();
        histogram.add(5);
        histogram.add_unmeasured();
        histogram.add_unmeasured();
        let settled = histogram.settled();
        assert_eq!((settled.count(), settled.columns()), (3, vec![(8, 3)]));
    }
}
