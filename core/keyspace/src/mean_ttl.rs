//! How long keys with a deadline have left on average, as INFO shows it: an estimate from a sample.

use crate::DbIndex;
use crate::keyspace::Keyspace;

/// Keys looked at: a mean of 64 is within an eighth of its spread, and takes no time.
const SAMPLES: usize = 64;

impl Keyspace {
    /// Milliseconds until a key of the database expires that has a deadline, on average; 0 if none has. Redis keeps a
    /// running mean of what its cycle looks at (`avg_ttl`, expire.c); here a sample of the moment is asked.
    pub fn mean_ttl(&self, db: DbIndex) -> u64 {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let (mut sum, mut seen) = (0_u128, 0);
        self.dbs[db].table.sample(self.now.wrapping_mul(GOLDEN), true, SAMPLES, &mut |entry| {
            let left = entry.deadline().map_or(0, |deadline| deadline.saturating_sub(self.now));
            if left > 0 {
                sum += u128::from(left);
                seen += 1;
            }
        });
        u64::try_from(sum.checked_div(seen).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}
