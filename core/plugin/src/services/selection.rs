//! `keystead.selection`: which replica becomes the primary, and why each of the others doesn't.
//!
//! A strategy implements [`ReplicaSelection`] and calls [`provide`] in its `init`; [`Request::rank`] does all but its order.
//! Who can't be promoted at all ([`Request::unfit`]), and who only if there is nobody else ([`Candidate::other_history`],
//! [`Candidate::disk_fails`]), is *not* the strategy's: the sentinel holds it whatever is advised.
//!
//! An answer is waited for for two seconds. It must not block: a strategy that has to ask somebody provides the service by
//! itself, with an `async` handler (`reg.provide::<SelectionService, _, _>(|plugin, request| async move { … })`).

use crate::plugin::Plugin;
use crate::registrar::Registrar;
use crate::service::Service;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A replica that didn't answer a ping for this long is no candidate (Redis: five ping periods).
const PING_SILENCE_MS: u64 = 5_000;
/// Oldest INFO a choice may rest on while the primary is down, and in a failover asked for by an operator.
const INFO_AGE_DOWN_MS: u64 = 5_000;
const INFO_AGE_UP_MS: u64 = 30_000;

/// Where a node listens: host, port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Addr {
    /// An IP address, or a name when the user wrote one.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Addr {
    /// As Redis names a replica: an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Addr { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// What is known of one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it listens.
    pub addr: Addr,
    /// Its run id, empty when unknown.
    pub run_id: String,
    /// This sentinel sees it down.
    pub down: bool,
    /// The command link is up.
    pub connected: bool,
    /// Age of its last valid answer to a ping.
    pub silent_ms: u64,
    /// Age of its last INFO; nothing when it never answered one.
    pub info_age_ms: Option<u64>,
    /// Its priority; 0 is never promoted.
    pub priority: u32,
    /// Its replication offset.
    pub offset: u64,
    /// How long its link to the primary has been down, 0 when up.
    pub link_down_ms: u64,
    /// It loads its data, or is in the middle of a full sync.
    pub loading: bool,
    /// It was seen in sync with its primary, or has an offset that only a synced replica has.
    pub synced: bool,
    /// It can be made a primary by its role: it reports that of a replica; or, while the primary is objectively down, that of
    /// a primary with a history of its own, as one that somebody promoted does.
    pub is_replica: bool,
    /// Another replica has the primary's history, and this one keeps another: it refuses the primary, hasn't had a link to it
    /// since its own start, or was an earlier primary. Offsets of two histories can't be compared. It is promoted only if
    /// there is nobody else (since 1.2).
    #[serde(default)]
    pub other_history: bool,
    /// It has what the primary came back with, which is less than another replica keeps: it would be no better a primary,
    /// and the other one would lose what it keeps by following it (since 1.2).
    #[serde(default)]
    pub emptied: bool,
    /// It can't write its own append-only file or snapshot, so it may refuse writes. It is promoted only if nobody with a
    /// disk that works has as much data (since 1.2).
    #[serde(default)]
    pub disk_fails: bool,
}

impl Candidate {
    /// The better, the smaller. `healthy` is what others with a disk that works have.
    fn setback(&self, healthy: Option<u64>) -> Setback {
        let spared = healthy.is_some_and(|offset| offset >= self.offset);
        match () {
            () if self.other_history => Setback::OtherHistory,
            () if self.disk_fails && spared => Setback::Disk,
            () => Setback::None,
        }
    }

    /// The most that one of these has whose disk works: with it nothing is lost that others have less or as much of.
    fn healthy_offset<'a>(good: impl IntoIterator<Item = &'a Candidate>) -> Option<u64> {
        good.into_iter().filter(|c| !c.disk_fails && !c.other_history).map(|c| c.offset).max()
    }
}

/// Why somebody goes behind others, whatever the strategy's order: data that is lost weighs more than writes that are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Setback {
    None,
    Disk,
    OtherHistory,
}

impl Setback {
    const fn told(self) -> &'static str {
        match self {
            Setback::None => "",
            Setback::Disk => "; last, because it can't write its own data to disk and another one has as much data",
            Setback::OtherHistory => "; last, because it keeps another history than the primary's",
        }
    }
}

/// The question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Name of the primary.
    pub primary: String,
    /// For how long this sentinel has seen the primary down; nothing when it isn't.
    pub down_ms: Option<u64>,
    /// The primary's down-after.
    pub down_after_ms: u64,
    /// All known replicas.
    pub candidates: Vec<Candidate>,
    /// Where the primary listens (since 1.1).
    #[serde(default)]
    pub primary_addr: Option<Addr>,
    /// The replication offset the primary reported last (since 1.1).
    #[serde(default)]
    pub primary_offset: Option<u64>,
}

impl Request {
    /// Why this one can't be promoted under any strategy, if it can't: Redis' conditions, and never one that is loading or
    /// was never in sync.
    #[must_use]
    pub fn unfit(&self, c: &Candidate) -> Option<String> {
        let oldest_info = if self.down_ms.is_some() { INFO_AGE_DOWN_MS } else { INFO_AGE_UP_MS };
        let limit = self.link_down_limit();
        Some(match c {
            _ if c.down => "is down".into(),
            _ if !c.connected => "is not connected".into(),
            _ if c.silent_ms > PING_SILENCE_MS => format!("gave no answer to a ping for {} ms", c.silent_ms),
            _ if c.priority == 0 => "has priority 0".into(),
            Candidate { info_age_ms: None, .. } => "never answered INFO".into(),
            Candidate { info_age_ms: Some(age), .. } if *age > oldest_info => format!("its INFO is {age} ms old"),
            _ if !c.is_replica => "does not report the role of a replica".into(),
            _ if c.loading => "is loading data".into(),
            _ if !c.synced => "was never in sync".into(),
            _ if c.emptied => {
                "has only what the primary came back with, and another replica keeps what that lost".into()
            }
            _ if c.link_down_ms > limit => {
                format!("its link to the primary was down for {} ms, at most {limit} is good", c.link_down_ms)
            }
            _ => return None,
        })
    }

    /// A replica whose link was down long before the others' lost it is too old. Redis counts from when the sentinel saw the
    /// primary down, so that after a stall or a restart of the sentinel nobody was good enough; the freshest replica's own
    /// link tells it too.
    fn link_down_limit(&self) -> u64 {
        let links = self.candidates.iter().filter(|c| c.synced && !c.down).map(|c| c.link_down_ms);
        self.down_ms.unwrap_or(0).max(links.min().unwrap_or(0)).saturating_add(self.down_after_ms.saturating_mul(10))
    }

    /// The highest offset anybody is known to have of the primary's history: the primary's last word, or that of a candidate
    /// that could be promoted.
    #[must_use]
    pub fn freshest(&self) -> u64 {
        let good = self.candidates.iter().filter(|c| !c.other_history && self.unfit(c).is_none()).map(|c| c.offset);
        good.chain(self.primary_offset).max().unwrap_or(0)
    }

    /// Bytes of the stream that this one is known to miss.
    #[must_use]
    pub fn behind(&self, c: &Candidate) -> u64 {
        self.freshest().saturating_sub(c.offset)
    }

    /// Ranks those that can be promoted by `key`, the smallest first (ties: run id, address); last resorts go last. `refuse`
    /// may refuse further ones, with a reason that goes on behind "it ..."; `why` says what counted for one, with its numbers.
    pub fn rank<K: Ord>(
        &self,
        refuse: impl Fn(&Candidate) -> Option<String>,
        key: impl Fn(&Candidate) -> K,
        why: impl Fn(&Candidate) -> String,
    ) -> Ranked {
        let mut ranked = Ranked::default();
        let mut good = Vec::new();
        for candidate in &self.candidates {
            match self.unfit(candidate).or_else(|| refuse(candidate)) {
                Some(reason) => ranked.refused.push((candidate.addr.clone(), reason)),
                None => good.push(candidate),
            }
        }
        let healthy = Candidate::healthy_offset(good.iter().copied());
        let setback = |c: &Candidate| c.setback(healthy);
        good.sort_by_cached_key(|c| (setback(c), key(c), c.run_id.is_empty(), c.run_id.clone(), c.addr.clone()));
        for candidate in good {
            ranked.order.push(candidate.addr.clone());
            ranked.why.push((candidate.addr.clone(), why(candidate) + setback(candidate).told()));
        }
        ranked
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Best first.
    pub order: Vec<Addr>,
    /// Who can't be promoted, and why.
    pub refused: Vec<(Addr, String)>,
    /// What counted for those in the order, with numbers (since 1.1).
    #[serde(default)]
    pub why: Vec<(Addr, String)>,
}

impl Ranked {
    /// Takes out whoever can't be promoted under any strategy, and puts last whoever is a last resort.
    #[must_use]
    pub fn only_fit(mut self, request: &Request) -> Ranked {
        let find = |addr: &Addr| request.candidates.iter().find(|c| c.addr == *addr);
        let unfit = |addr: &Addr| match find(addr) {
            Some(candidate) => request.unfit(candidate),
            None => Some("is not known".into()),
        };
        for addr in std::mem::take(&mut self.order) {
            match unfit(&addr) {
                Some(reason) => self.refused.push((addr, reason)),
                None => self.order.push(addr),
            }
        }
        let healthy = Candidate::healthy_offset(self.order.iter().filter_map(find));
        self.order.sort_by_key(|addr| find(addr).map(|c| c.setback(healthy))); // stable: otherwise the strategy's order
        self
    }
}

/// A strategy for choosing the replica to promote.
pub trait ReplicaSelection: Send + Sync {
    /// Ranks the candidates; must not depend on anything but the request.
    fn rank(&self, request: &Request) -> Ranked;
}

/// The service: a strategy behind messages.
pub struct SelectionService;

impl Service for SelectionService {
    const NAME: &'static str = "keystead.selection";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 2;
    type Request = Request;
    type Answer = Ranked;
}

/// Declares that the plugin is a selection strategy.
pub fn provide<P: Plugin + ReplicaSelection>(reg: &mut Registrar<P>) {
    reg.provide::<SelectionService, _, _>(|plugin, request| async move { Ok(plugin.rank(&request)) });
}
