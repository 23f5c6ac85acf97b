//! From registers to a count: the estimator of Otmar Ertl ("New cardinality estimation algorithms for HyperLogLog
//! sketches"), in the same order of operations as Redis', so that the counts are equal.

use super::{Q, REGISTERS};

/// `1 / (2 ln 2)`.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many registers have each value.
pub(super) type Seen = [u32; 64];

pub(super) fn count(seen: &Seen) -> u64 {
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(seen[Q as usize + 1])) / m);
    for j in (1..=Q as usize).rev() {
        z += f64::from(seen[j]);
        z *= 0.5;
    }
    z += m * sigma(f64::from(seen[0]) / m);
    (ALPHA * m * m / z).round() as u64
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}
