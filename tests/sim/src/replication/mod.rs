//! The simulator of replication: the plugin's pure machines in a world of virtual time, byte streams and faults.
//!
//! Reading order: `truth` (what every history really said), `wire` (connections that delay, hang and break, but keep
//! order, as TCP does), `node` (a primary or a replica around the machines), `world` (events, faults, checkers).
//! One seed is one run; a failure names it. Nothing here opens a socket or looks at a clock.

mod lines;
pub mod node;
pub mod truth;
pub mod wire;
pub mod world;

pub use world::{Faults, World};

/// A small generator (splitmix64): the only source of chance in a run.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n.max(1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
