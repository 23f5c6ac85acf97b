//! `keystead.election`: when to stand, whether to grant a vote, who has won.
//!
//! What keeps an election safe (one vote an epoch, persisted before it leaves) is *not* the strategy's: the sentinel
//! holds it whatever is advised, and an [`Advice::Won`] without the votes of a majority counts as [`Advice::Undecided`]. So a
//! strategy has nothing to hand over when another takes its place.
//!
//! A strategy that only decides *when* to stand implements [`ElectionStrategy`] over [`redis`], which is what sentinels do
//! without one, and calls [`provide`] in its `init`.
//!
//! An answer is waited for for two seconds. It must not block: a strategy that has to ask somebody provides the service by
//! itself, with an `async` handler (`reg.provide::<ElectionService, _, _>(|plugin, question| async move { … })`).

use crate::plugin::Plugin;
use crate::registrar::Registrar;
use crate::service::Service;
use crate::services::selection::Addr;
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
        /// An operator confirmed this failover: SENTINEL CONFIRM (since 1.1).
        #[serde(default)]
        confirmed: bool,
        /// Where the fallen primary listens (since 1.2).
        #[serde(default)]
        primary_addr: Option<Addr>,
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
    /// This sentinel leads the failover; only with the votes of more than half of all voters in this epoch.
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
    const MINOR: u32 = 2;
    type Request = Question;
    type Answer = Advice;
}

/// Declares that the plugin is an election strategy.
pub fn provide<P: Plugin + ElectionStrategy>(reg: &mut Registrar<P>) {
    reg.provide::<ElectionService, _, _>(|plugin, question| async move { Ok(plugin.advise(&question)) });
}

/// Ranks are this far apart, so that sentinels that detect together don't all vote for themselves.
pub const RANK_STEP_MS: u64 = 50;

/// Redis' algorithm with a staggered start: one vote an epoch for the first who asks, a majority of all known sentinels and
/// the quorum to win.
#[must_use]
pub fn redis(question: &Question) -> Advice {
    match question {
        Question::Stand { me, usable, write_ms, .. } => {
            let rank = usable.iter().take_while(|id| *id < me).count() as u64;
            // On a slow disk the first one's request needs longer to get around.
            Advice::StandAfter { ms: rank * RANK_STEP_MS.max(2 * write_ms) }
        }
        Question::Vote { candidate, fresh, outdated, working, .. } => {
            vote(candidate, *fresh, *outdated, working.as_deref())
        }
        Question::Campaign { me, voters, quorum, votes, .. } => tally(me, *voters, *quorum, votes),
    }
}

fn vote(candidate: &str, fresh: bool, outdated: bool, working: Option<&str>) -> Advice {
    let refuse = |reason: String| Advice::Refuse { reason };
    match working {
        _ if outdated => refuse("the candidate names an older configuration".into()),
        _ if !fresh => refuse("nothing heard since this sentinel's restart, stall or isolation".into()),
        Some(leader) if leader != candidate => refuse(format!("{leader} works on a failover")),
        _ => Advice::Grant,
    }
}

/// More than half of `voters`.
#[must_use]
pub const fn majority(voters: u32) -> u32 {
    voters / 2 + 1
}

fn tally(me: &str, voters: u32, quorum: u32, votes: &[(String, String)]) -> Advice {
    let needed = majority(voters).max(quorum);
    let count = |who: &str| votes.iter().filter(|(_, leader)| leader == who).count() as u32;
    if count(me) >= needed {
        return Advice::Won;
    }
    if let Some((_, other)) = votes.iter().find(|(_, leader)| leader != me && count(leader) >= needed) {
        return Advice::Lost { leader: Some(other.clone()), reason: "another sentinel has the majority".into() };
    }
    let open = voters.saturating_sub(votes.len() as u32);
    if count(me) + open < needed {
        return Advice::Lost { leader: None, reason: "the votes are split".into() };
    }
    Advice::Undecided
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(voter, leader)| ((*voter).into(), (*leader).into())).collect()
    }

    #[test]
    fn the_tally_as_a_table() {
        // voters, quorum, votes, expected
        type Case = (u32, u32, &'static [(&'static str, &'static str)], &'static str);
        let cases: &[Case] = &[
            (1, 1, &[("a", "a")], "won"),
            (3, 2, &[("a", "a")], "open"),
            (3, 2, &[("a", "a"), ("b", "a")], "won"),
            (3, 3, &[("a", "a"), ("b", "a")], "open"),
            (3, 2, &[("a", "a"), ("b", "b")], "open"),
            (3, 2, &[("a", "a"), ("b", "b"), ("c", "b")], "lost to b"),
            (3, 2, &[("a", "a"), ("b", "b"), ("c", "c")], "split"),
            (4, 2, &[("a", "a"), ("b", "a"), ("c", "c"), ("d", "c")], "split"),
            (5, 2, &[("a", "a"), ("b", "a"), ("c", "a")], "won"),
            (5, 4, &[("a", "a"), ("b", "a"), ("c", "a"), ("d", "d"), ("e", "e")], "split"),
        ];
        for (voters, quorum, list, expected) in cases {
            let got = match tally("a", *voters, *quorum, &votes(list)) {
                Advice::Won => "won".to_owned(),
                Advice::Undecided => "open".to_owned(),
                Advice::Lost { leader: Some(leader), .. } => format!("lost to {leader}"),
                Advice::Lost { leader: None, .. } => "split".to_owned(),
                other => panic!("{other:?}"),
            };
            assert_eq!(got, *expected, "{voters} voters, quorum {quorum}, {list:?}");
        }
    }

    #[test]
    fn votes_go_to_who_asks_unless_something_speaks_against_it() {
        assert_eq!(vote("a", true, false, None), Advice::Grant);
        assert_eq!(vote("a", true, false, Some("a")), Advice::Grant);
        assert!(matches!(vote("a", true, false, Some("b")), Advice::Refuse { .. }));
        assert!(matches!(vote("a", false, false, None), Advice::Refuse { .. }));
        assert!(matches!(vote("a", true, true, None), Advice::Refuse { .. }));
    }

    #[test]
    fn the_start_is_staggered_by_rank() {
        let usable = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        for (me, write_ms, ms) in [("a", 0, 0), ("b", 0, 50), ("c", 9, 100), ("a", 300, 0), ("b", 300, 600)] {
            let question = Question::Stand {
                primary: "p".into(),
                me: me.into(),
                usable: usable.clone(),
                write_ms,
                confirmed: false,
                primary_addr: None,
            };
            assert_eq!(redis(&question), Advice::StandAfter { ms });
        }
    }
}
