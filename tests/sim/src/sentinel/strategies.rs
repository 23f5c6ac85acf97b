//! The strategies as a process of this world has them loaded: the same code that the plugins are, by name.
//! Owns the zones of the simulated nodes; decides nothing.

use keystead_freshest::Freshest;
use keystead_manual::Manual;
use keystead_sentinel::actions::{Consult, Counsel, Strategies};
use keystead_sentinel::election::{Advice, ElectionStrategy, Question, RedisElection, redis};
use keystead_sentinel::select::{RedisSelection, ReplicaSelection};
use keystead_sentinel::types::Addr;
use keystead_zoned::{AntiAffinity, Config, Zone, Zoned};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A lease that isn't renewed ends after so long.
const LEASE_MS: u64 = 3_000;

/// Names of the election strategies that every process has.
pub const ELECTIONS: [&str; 3] = ["sentinel", "lease", "manual"];
/// Names of the selection strategies that every process has.
pub const SELECTIONS: [&str; 3] = ["redis", "freshest", "zoned"];

/// Strategies by name.
#[derive(Clone)]
pub struct Loaded {
    /// For elections.
    pub elections: Vec<(&'static str, Arc<dyn ElectionStrategy>)>,
    /// For the choice of a replica.
    pub selections: Vec<(&'static str, Arc<dyn ReplicaSelection>)>,
    /// Who holds the leases.
    pub leases: Leases,
}

/// Leases by the name of their primary, as etcd tells everybody: who holds each, and until when. The agents that hold and
/// renew them, and their write gates, are simulated in `plugins/strategy-lease/tests`.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<Mutex<BTreeMap<String, Held>>>);

#[derive(Clone, Debug, Default)]
struct Held {
    holder: Option<Addr>,
    until: u64,
}

impl Leases {
    /// Time goes on. `primaries` ask for the lease or renew it, `replicas` give it back; who is neither lets it end. Gives the
    /// holder.
    pub fn step(&self, name: &str, now: u64, primaries: &[Addr], replicas: &[Addr]) -> Option<Addr> {
        let mut leases = self.0.lock().expect("one thread");
        let lease = leases.entry(name.to_owned()).or_default();
        lease.holder = lease.holder.take().filter(|holder| now < lease.until && !replicas.contains(holder));
        lease.holder = lease.holder.take().or_else(|| primaries.first().cloned());
        if lease.holder.as_ref().is_some_and(|holder| primaries.contains(holder)) {
            lease.until = now + LEASE_MS;
        }
        lease.holder.clone()
    }

    fn holder(&self, name: &str) -> Option<String> {
        self.0.lock().expect("one thread").get(name)?.holder.as_ref().map(Addr::to_string)
    }
}

/// The plugin's own answer, as if etcd had been asked.
struct Leased(Leases);

impl ElectionStrategy for Leased {
    fn advise(&self, question: &Question) -> Advice {
        let Question::Stand { primary, .. } = question else { return redis(question) };
        keystead_lease::stand::advise(question, &Ok(self.0.holder(primary)))
    }
}

impl Default for Loaded {
    fn default() -> Self {
        let leases = Leases::default();
        Loaded {
            elections: vec![
                ("sentinel", Arc::new(RedisElection)),
                ("lease", Arc::new(Leased(leases.clone()))),
                ("manual", Arc::new(Manual)),
            ],
            leases,
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
