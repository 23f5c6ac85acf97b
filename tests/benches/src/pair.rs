//! One kind of request against both servers in turn, for some rounds: rates, processor time per request, and their ratios.

use crate::load::{self, Work};
use crate::peer::Peer;
use crate::table::{cell, median, short};
use std::{io, time::Duration};

/// What came of it, a value a round.
#[derive(Default)]
pub struct Pair {
    /// Thousand requests a second: redis-server, keystead.
    pub rates: [Vec<f64>; 2],
    /// Microseconds of processor time a request.
    pub costs: [Vec<f64>; 2],
    /// Of it, what was spent in the server's own code.
    pub own: [Vec<f64>; 2],
}

/// Drives both servers (redis-server first, then keystead) in turn, `rounds` times.
///
/// # Errors
/// When a server goes away or answers an error.
pub fn measure(name: &str, work: &Work, peers: &[&Peer; 2], rounds: usize) -> io::Result<Pair> {
    let mut pair = Pair::default();
    for round in 0..rounds {
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let before = [peers[side].cpu(), peers[side].cpu_own()];
            let outcome = load::run(peers[side].address, work, 1 + round as u64)?;
            if outcome.errors > 0 {
                let peer = peers[side].kind.name();
                return Err(io::Error::other(format!("{name}: {} errors from {peer}", outcome.errors)));
            }
            let spent = |after: Duration, before: Duration| {
                after.saturating_sub(before).as_secs_f64() * 1e6 / outcome.rate() / outcome.time.as_secs_f64()
            };
            pair.rates[side].push(outcome.rate() / 1000.0);
            pair.costs[side].push(spent(peers[side].cpu(), before[0]));
            pair.own[side].push(spent(peers[side].cpu_own(), before[1]));
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

    /// The names of the cells that tell what the servers' own code costs.
    pub const OWN_HEAD: [&str; 5] =
        ["redis own µs/req", "keystead own µs/req", "own ratio", "kernel's part of redis", "kernel's part of keystead"];

    /// Cells of a row, as `OWN_HEAD` names them.
    #[must_use]
    pub fn own_cells(&self) -> [String; 5] {
        let kernels = |side: usize| {
            let part = 1.0 - median(&self.own[side]) / median(&self.costs[side]);
            format!("{:.0} %", 100.0 * part)
        };
        let [redis, ours] = &self.own;
        [cell(redis), cell(ours), format!("**{}**", short(ratio(&self.own))), kernels(0), kernels(1)]
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
