//! Selection strategy `zoned`: zones with weights, a wish about the zone of the primary that fell, and a maximum lag, all
//! from the RON file. Among replicas that lag no more than allowed: another zone than the fallen primary's (if wished),
//! then the heavier zone, then Redis' order. Says the numbers; never asks the network where a node is.
#![forbid(unsafe_code)]

use keystead_plugin::prelude::*;
use keystead_plugin::services::selection::{self, Addr, Candidate, Ranked, ReplicaSelection, Request};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// What is wished about the zone of the primary that fell: what felled it may fell its neighbours next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AntiAffinity {
    /// Nothing.
    Ignore,
    /// Another zone, if a replica there can be promoted.
    #[default]
    Prefer,
    /// Another zone, or nobody.
    Require,
}

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// The heavier zone is preferred; 0: nobody there is promoted.
    #[serde(default = "one")]
    pub weight: u32,
    /// Who is in it: `host` or `host:port` (`[::1]:6379`), as the sentinels know them.
    pub nodes: Vec<String>,
}

const fn one() -> u32 {
    1
}

/// The plugin's subtree of the RON file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The zones. A node in none of them has weight 1 and shares a zone with nobody.
    pub zones: Vec<Zone>,
    /// What is wished about the zone of the primary that fell.
    pub anti_affinity: AntiAffinity,
    /// Who is known to miss more bytes of the stream isn't promoted; `None`: no limit.
    #[serde(deserialize_with = "keystead_plugin::byte_count_or_none")]
    pub max_lag_bytes: Option<u64>,
}

/// The strategy and its plugin.
#[derive(Clone, Debug, Default)]
pub struct Zoned(pub Config);

impl Zoned {
    /// The zone of an address: the one that names its port before one that names the host.
    fn zone(&self, addr: &Addr) -> Option<&Zone> {
        let plain = format!("{}:{}", addr.host, addr.port); // an IPv6 address without brackets
        let named = |name: &str| self.0.zones.iter().find(|zone| zone.nodes.iter().any(|node| node == name));
        named(&addr.to_string()).or_else(|| named(&plain)).or_else(|| named(&addr.host))
    }

    fn same_zone(&self, request: &Request, c: &Candidate) -> bool {
        let of = |addr: &Addr| self.zone(addr).map(|zone| &zone.name);
        let fallen = request.primary_addr.as_ref().and_then(of);
        fallen.is_some() && fallen == of(&c.addr)
    }

    fn weight(&self, c: &Candidate) -> u32 {
        self.zone(&c.addr).map_or(1, |zone| zone.weight)
    }

    fn refuse(&self, request: &Request, c: &Candidate) -> Option<String> {
        let zone = self.zone(&c.addr).map_or("none", |zone| &zone.name);
        let behind = request.behind(c);
        Some(match self.0.max_lag_bytes {
            Some(limit) if behind > limit => format!("is {behind} bytes behind, at most {limit} are good"),
            _ if self.weight(c) == 0 => format!("is in zone {zone} of weight 0"),
            _ if self.0.anti_affinity == AntiAffinity::Require && self.same_zone(request, c) => {
                format!("is in the fallen primary's zone {zone}")
            }
            _ => return None,
        })
    }

    fn why(&self, request: &Request, c: &Candidate) -> String {
        let zone = self.zone(&c.addr).map_or("none", |zone| &zone.name);
        let same = if self.same_zone(request, c) { ", the primary's" } else { "" };
        let limit = self.0.max_lag_bytes.map_or(String::new(), |limit| format!(" of {limit} allowed"));
        let (weight, behind) = (self.weight(c), request.behind(c));
        let order = format!("priority {}, offset {}", c.priority, c.offset);
        format!("zone {zone} of weight {weight}{same}, {behind} bytes{limit} behind, {order}")
    }
}

impl ReplicaSelection for Zoned {
    fn rank(&self, request: &Request) -> Ranked {
        let avoid = self.0.anti_affinity != AntiAffinity::Ignore;
        let key = |c: &Candidate| {
            (avoid && self.same_zone(request, c), Reverse(self.weight(c)), c.priority, Reverse(c.offset))
        };
        request.rank(|c| self.refuse(request, c), key, |c| self.why(request, c))
    }
}

impl Plugin for Zoned {
    const NAME: &'static str = "zoned";
    const ENDPOINT_ONLY: bool = true;
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = &[
        (
            "zones",
            "(name, weight: 1, nodes: [\"host\" or \"host:port\", \"[::1]:6379\"]). The heavier zone is preferred, weight 0 is never promoted.",
        ),
        ("anti_affinity", "About the zone of the primary that fell: Ignore, Prefer another, Require another."),
        ("max_lag_bytes", "Who is known to miss more bytes isn't promoted; None: no limit."),
    ];
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        for (n, zone) in config.zones.iter().enumerate() {
            if zone.name.is_empty() || config.zones[..n].iter().any(|other| other.name == zone.name) {
                return Err(format!("zones: {:?}: each needs a name of its own", zone.name).into());
            }
            let taken = |node: &&String| config.zones[..n].iter().any(|other| other.nodes.contains(node));
            if let Some(node) = zone.nodes.iter().find(taken) {
                return Err(format!("zones: {node} is in two zones, one of them {:?}", zone.name).into());
            }
        }
        Ok(())
    }

    fn init(_host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        selection::provide(reg);
        Ok(Zoned(config))
    }
}

keystead_plugin::export_plugin!(Zoned, KEYSTEAD_PLUGIN_zoned);

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(host: &str, offset: u64) -> Candidate {
        Candidate {
            addr: Addr { host: host.into(), port: 6379 },
            run_id: host.into(),
            down: false,
            connected: true,
            silent_ms: 0,
            info_age_ms: Some(0),
            priority: 100,
            offset,
            link_down_ms: 0,
            loading: false,
            synced: true,
            is_replica: true,
            other_history: false,
            emptied: false,
            disk_fails: false,
        }
    }

    fn rank(config: Config, candidates: Vec<Candidate>) -> Ranked {
        Zoned(config).rank(&Request {
            primary: "m".into(),
            down_ms: Some(1000),
            down_after_ms: 1000,
            candidates,
            primary_addr: Some(Addr { host: "p".into(), port: 6379 }),
            primary_offset: Some(1000),
        })
    }

    fn zones(anti_affinity: AntiAffinity, max_lag_bytes: Option<u64>) -> Config {
        let zone = |name: &str, weight, nodes: &[&str]| Zone {
            name: name.into(),
            weight,
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        };
        let zones = vec![
            zone("a", 10, &["p", "a1"]),
            zone("b", 5, &["b1:6379"]),
            zone("c", 7, &["c1"]),
            zone("dr", 0, &["d1"]),
        ];
        Config { zones, anti_affinity, max_lag_bytes }
    }

    fn hosts(ranked: &Ranked) -> Vec<&str> {
        ranked.order.iter().map(|addr| &*addr.host).collect()
    }

    fn all() -> Vec<Candidate> {
        [("a1", 1000), ("b1", 990), ("c1", 800), ("d1", 1000), ("x", 1000)].map(|(h, o)| candidate(h, o)).into()
    }

    #[test]
    fn zones_as_a_table() {
        let cases = [
            (AntiAffinity::Ignore, None, &["a1", "c1", "b1", "x"][..]),
            (AntiAffinity::Prefer, None, &["c1", "b1", "x", "a1"]),
            (AntiAffinity::Prefer, Some(100), &["b1", "x", "a1"]),
            (AntiAffinity::Require, Some(5), &["x"]),
        ];
        for (wish, lag, expected) in cases {
            let ranked = rank(zones(wish, lag), all());
            assert_eq!(hosts(&ranked), expected, "{wish:?} {lag:?}: {ranked:?}");
        }
    }

    #[test]
    fn every_refusal_and_every_place_has_its_numbers() {
        let ranked = rank(zones(AntiAffinity::Require, Some(100)), all());
        let refusal = |host: &str| ranked.refused.iter().find(|(addr, _)| addr.host == host).map(|(_, why)| &**why);
        assert_eq!(refusal("a1"), Some("is in the fallen primary's zone a"));
        assert_eq!(refusal("c1"), Some("is 200 bytes behind, at most 100 are good"));
        assert_eq!(refusal("d1"), Some("is in zone dr of weight 0"));
        assert_eq!(ranked.why[0].1, "zone b of weight 5, 10 bytes of 100 allowed behind, priority 100, offset 990");
    }

    #[test]
    fn who_cannot_be_promoted_cannot_under_any_strategy() {
        let mut none = candidate("c1", 1000);
        none.priority = 0;
        let ranked = rank(zones(AntiAffinity::Ignore, None), vec![none, candidate("b1", 1)]);
        assert_eq!(hosts(&ranked), ["b1"]);
    }

    /// Offsets of two histories can't be compared.
    #[test]
    fn nobody_is_behind_what_another_history_has() {
        let (mut old, good) = (candidate("c1", 9_000), candidate("b1", 990));
        old.other_history = true;
        let ranked = rank(zones(AntiAffinity::Ignore, Some(100)), vec![old, good]);
        assert_eq!(hosts(&ranked), ["b1", "c1"], "{ranked:?}");
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused() {
        let mut twice = zones(AntiAffinity::Ignore, None);
        twice.zones[1].nodes.push("p".into());
        assert!(Zoned::check(&twice).unwrap_err().text().contains("p is in two zones"));
        twice = zones(AntiAffinity::Ignore, None);
        twice.zones[1].name = "a".into();
        assert!(Zoned::check(&twice).unwrap_err().text().contains("a name of its own"));
        assert!(Zoned::check(&zones(AntiAffinity::Ignore, None)).is_ok());
    }
}
