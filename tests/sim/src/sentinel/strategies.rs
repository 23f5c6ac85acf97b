//! The strategies as a process of this world has them loaded: the same code that the plugins are, by name.
//! Owns the zones of the simulated nodes; decides nothing.

use keystead_freshest::Freshest;
use keystead_manual::Manual;
use keystead_sentinel::actions::{Consult, Counsel, Strategies};
use keystead_sentinel::election::{ElectionStrategy, RedisElection};
use keystead_sentinel::select::{RedisSelection, ReplicaSelection};
use keystead_zoned::{AntiAffinity, Config, Zone, Zoned};
use std::sync::Arc;

/// Names of the election strategies that every process has.
pub const ELECTIONS: [&str; 2] = ["sentinel", "manual"];
/// Names of the selection strategies that every process has.
pub const SELECTIONS: [&str; 3] = ["redis", "freshest", "zoned"];

/// Strategies by name.
#[derive(Clone)]
pub struct Loaded {
    /// For elections.
    pub elections: Vec<(&'static str, Arc<dyn ElectionStrategy>)>,
    /// For the choice of a replica.
    pub selections: Vec<(&'static str, Arc<dyn ReplicaSelection>)>,
}

impl Default for Loaded {
    fn default() -> Self {
        Loaded {
            elections: vec![("sentinel", Arc::new(RedisElection)), ("manual", Arc::new(Manual))],
            selections: vec![
                ("redis", Arc::new(RedisSelection)),
                ("freshest", Arc::new(Freshest)),
                ("zoned", Arc::new(zoned())),
            ],
        }
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.names().fmt(f)
    }
}

impl Loaded {
    /// Their names, as a sentinel gets them at its start.
    #[must_use]
    pub fn names(&self) -> Strategies {
        Strategies {
            election: self.elections.iter().map(|(name, _)| (*name).to_owned()).collect(),
            selection: self.selections.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }

    /// What the strategy of that name answers.
    #[must_use]
    pub fn consult(&self, strategy: &str, question: &Consult) -> Counsel {
        let missing = || Counsel::Failed(format!("there is no strategy {strategy}"));
        match question {
            Consult::Election(question) => {
                let found = self.elections.iter().find(|(name, _)| *name == strategy);
                found.map_or_else(missing, |(_, found)| Counsel::Election(found.advise(question)))
            }
            Consult::Selection(request) => {
                let found = self.selections.iter().find(|(name, _)| *name == strategy);
                found.map_or_else(missing, |(_, found)| Counsel::Selection(found.rank(request)))
            }
        }
    }
}

/// Two zones, the nodes with even numbers in one of them.
fn zoned() -> Zoned {
    let zone = |name: &str, weight, first: usize| Zone {
        name: name.into(),
        weight,
        nodes: (0..8).map(|n| super::world::data_addr(first + 2 * n).host).collect(),
    };
    Zoned(Config {
        zones: vec![zone("even", 5, 0), zone("odd", 5, 1)],
        anti_affinity: AntiAffinity::Prefer,
        max_lag_bytes: None,
    })
}
