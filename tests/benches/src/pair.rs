//! One kind of request against both servers in turn, for some rounds: rates, processor time per request, and their ratios.

use crate::load::{self, Work};
use crate::peer::Peer;
use crate::table::{cell, median, short};
use std::io;

/// What came of it, a value a round.
#[derive(Default)]
pub struct Pair {
    /// Thousand requests a second: redis-server, keystead.
    pub rates: [Vec<f64>; 2],
    /// Microseconds of processor time a request.
    pub costs: [Vec<f64>; 2],
}

/// Drives both servers (redis-server first, then keystead) in turn, `rounds` times.
///
/// # Errors
/// When a server goes away or answers an error.
pub fn measure(name: &str, work: &Work, peers: &[&Peer; 2], rounds: usize) -> io::Result<Pair> {
    let mut pair = Pair::default();
    for round in 0..rounds {
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let before = peers[side].cpu();
            let outcome = load::run(peers[side].address, work, 1 + round as u64)?;
            if outcome.errors > 0 {
                let peer = peers[side].kind.name();
                return Err(io::Error::other(format!("{name}: {} errors from {peer}", outcome.errors)));
            }
            let spent = peers[side].cpu().saturating_sub(before);
            pair.rates[side].push(outcome.rate() / 1000.0);
            pair.costs[side].push(spent.as_secs_f64() * outcome.rate().recip() / outcome.time.as_secs_f64() * 1e6);
        }
    }
    Ok(pair)
}

/// Keystead's values over redis-server's, round by round.
fn ratio([redis, ours]: &[Vec<f64>; 2]) -> f64 {
    median(&redis.iter().zip(ours).map(|(redis, ours)| ours / redis).collect::<Vec<_>>())
}

impl Pair {
    /// The median ratio of the rates.
    #[must_use]
    pub fn rate_ratio(&self) -> f64 {
        ratio(&self.rates)
    }

    /// The names of the cells.
    pub const HEAD: [&str; 6] =
        ["redis k req/s", "keystead k req/s", "ratio", "redis CPU µs/req", "keystead CPU µs/req", "CPU ratio"];

    /// Cells of a row, as `HEAD` names them.
    #[must_use]
    pub fn cells(&self) -> [String; 6] {
        let bold = |value: f64| format!("**{}**", short(value));
        let [redis, ours] = &self.rates;
        let [redis_cost, ours_cost] = &self.costs;
        [cell(redis), cell(ours), bold(ratio(&self.rates)), cell(redis_cost), cell(ours_cost), bold(ratio(&self.costs))]
    }
}
