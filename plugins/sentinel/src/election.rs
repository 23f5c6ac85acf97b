//! The election strategy: when to stand, whether to grant a vote, who has won. Questions and answers are the plain data of
//! the service `keystead.election`, so a strategy can be swapped; the built-in one is Redis' algorithm. Pure. What keeps an
//! election safe (one vote an epoch, persisted before it leaves) is *not* here: the monitor holds it whatever is advised.

pub use keystead_plugin::services::election::{Advice, ElectionStrategy, Question, majority, redis};

/// Name of the built-in strategy.
pub const BUILT_IN: &str = "sentinel";

/// The built-in strategy.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisElection;

impl ElectionStrategy for RedisElection {
    fn advise(&self, question: &Question) -> Advice {
        redis(question)
    }
}
