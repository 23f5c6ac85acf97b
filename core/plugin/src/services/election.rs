//! `keystead.election`: when to stand, whether to grant a vote, who has won.
//!
//! What keeps an election safe (one vote an epoch, persisted before it leaves) is *not* the strategy's: the sentinel
//! holds it whatever is advised.

use crate::service::Service;
use serde::{Deserialize, Serialize};

/// A question to the strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Question {
    /// The primary is objectively down: should this sentinel stand, and when?
    Stand {
        /// Name of the primary.
        primary: String,
        /// This sentinel.
        me: String,
        /// Sentinels that are reachable, this one included, in the order of their ids.
        usable: Vec<String>,
        /// How long a vote took to get onto this sentinel's disk lately.
        #[serde(default)]
        write_ms: u64,
    },
    /// Another sentinel asks for a vote in an epoch in which none was given.
    Vote {
        /// Name of the primary.
        primary: String,
        /// Who asks.
        candidate: String,
        /// Epoch of the vote.
        epoch: u64,
        /// What this sentinel knows is fresh (heard since its own restart, stall or isolation).
        fresh: bool,
        /// The candidate names an older configuration than this sentinel holds.
        outdated: bool,
        /// A sentinel this one voted for that still works on a failover.
        working: Option<String>,
    },
    /// How does the own candidacy stand?
    Campaign {
        /// Name of the primary.
        primary: String,
        /// This sentinel.
        me: String,
        /// Epoch of the candidacy.
        epoch: u64,
        /// All known sentinels with this one, dead ones included.
        voters: u32,
        /// Votes the user asked for.
        quorum: u32,
        /// Votes of this epoch, the own one included: voter, for whom.
        votes: Vec<(String, String)>,
    },
}

/// The strategy's advice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Advice {
    /// Stand after this delay, if the primary is still down then.
    StandAfter {
        /// Delay from now.
        ms: u64,
    },
    /// Don't stand now.
    Abstain {
        /// Why.
        reason: String,
    },
    /// Give the vote.
    Grant,
    /// Keep the vote.
    Refuse {
        /// Why.
        reason: String,
    },
    /// This sentinel leads the failover.
    Won,
    /// It can't win this epoch any more.
    Lost {
        /// Who has won, when known.
        leader: Option<String>,
        /// Why.
        reason: String,
    },
    /// Votes are missing.
    Undecided,
}

/// A strategy for elections.
pub trait ElectionStrategy: Send + Sync {
    /// Answers a question; must not depend on anything but the question.
    fn advise(&self, question: &Question) -> Advice;
}

/// The service: a strategy behind messages.
pub struct ElectionService;

impl Service for ElectionService {
    const NAME: &'static str = "keystead.election";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 0;
    type Request = Question;
    type Answer = Advice;
}
