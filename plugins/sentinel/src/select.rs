//! The selection strategy: which replica becomes the primary, and why each of the others doesn't. Pure. The built-in one is
//! Redis' order (priority, offset, run id); who can't be promoted under any strategy is the service's (`Request::unfit`).

pub use keystead_plugin::services::selection::{Candidate, Ranked, ReplicaSelection, Request};
use std::cmp::Reverse;

/// Name of the built-in strategy.
pub const BUILT_IN: &str = "redis";

/// Redis' order: priority ascending, offset descending, run id ascending.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisSelection;

impl ReplicaSelection for RedisSelection {
    fn rank(&self, request: &Request) -> Ranked {
        let key = |c: &Candidate| (c.priority, Reverse(c.offset));
        request.rank(|_| None, key, |c| format!("priority {}, offset {}", c.priority, c.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Addr;

    fn good(port: u16) -> Candidate {
        Candidate {
            addr: Addr::new("h", port).into(),
            run_id: format!("r{port}"),
            down: false,
            connected: true,
            silent_ms: 100,
            info_age_ms: Some(50),
            priority: 100,
            offset: 1000,
            link_down_ms: 1000,
            loading: false,
            synced: true,
            is_replica: true,
            other_history: false,
            emptied: false,
            disk_fails: false,
        }
    }

    fn rank(candidates: Vec<Candidate>) -> Ranked {
        RedisSelection.rank(&Request {
            primary: "p".into(),
            down_ms: Some(500),
            down_after_ms: 1000,
            candidates,
            primary_addr: None,
            primary_offset: None,
        })
    }

    #[test]
    fn priority_then_offset_then_run_id() {
        let order = rank(vec![
            good(3),
            Candidate { offset: 2000, ..good(2) },
            Candidate { priority: 10, offset: 1, ..good(4) },
            good(1),
            Candidate { run_id: String::new(), ..good(0) },
        ])
        .order;
        assert_eq!(order.iter().map(|a| a.port).collect::<Vec<_>>(), [4, 2, 1, 3, 0]);
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let cases = [
            (Candidate { down: true, ..good(1) }, "is down"),
            (Candidate { connected: false, ..good(1) }, "not connected"),
            (Candidate { silent_ms: 6000, ..good(1) }, "no answer"),
            (Candidate { priority: 0, ..good(1) }, "priority 0"),
            (Candidate { info_age_ms: None, ..good(1) }, "never answered INFO"),
            (Candidate { info_age_ms: Some(5001), ..good(1) }, "ms old"),
            (Candidate { is_replica: false, ..good(1) }, "role"),
            (Candidate { loading: true, ..good(1) }, "loading"),
            (Candidate { synced: false, ..good(1) }, "never in sync"),
            (Candidate { link_down_ms: 11_001, ..good(1) }, "its link"),
            (Candidate { emptied: true, ..good(1) }, "what the primary came back with"),
        ];
        for (candidate, reason) in cases {
            let ranked = rank(vec![candidate, good(2)]);
            assert_eq!(ranked.order, vec![Addr::new("h", 2).into()]);
            assert!(ranked.refused[0].1.contains(reason), "{reason}: {ranked:?}");
        }
    }

    #[test]
    fn a_disk_that_fails_costs_no_data() {
        let ports = |ranked: Ranked| ranked.order.iter().map(|addr| addr.port).collect::<Vec<_>>();
        let failing = |offset| Candidate { disk_fails: true, offset, ..good(1) };
        assert_eq!(ports(rank(vec![failing(2000), good(2)])), [1, 2], "it has more");
        assert_eq!(ports(rank(vec![failing(1000), good(2)])), [2, 1]);
        assert_eq!(ports(rank(vec![failing(900), Candidate { priority: 200, ..good(2) }])), [2, 1]);
        for spared in [
            Candidate { other_history: true, offset: 9000, ..good(2) },
            Candidate { down: true, offset: 9000, ..good(2) },
            Candidate { disk_fails: true, priority: 200, offset: 9000, ..good(2) },
        ] {
            assert_eq!(ports(rank(vec![failing(2000), spared]))[0], 1, "nobody else can have it");
        }
        assert_eq!(ports(rank(vec![failing(2000), Candidate { priority: 10, ..good(2) }])), [2, 1], "as in Redis");
    }

    /// Whatever a strategy of somebody else advises.
    #[test]
    fn last_resorts_go_last_in_any_advice() {
        let request = |candidates| Request {
            primary: "p".into(),
            down_ms: Some(500),
            down_after_ms: 1000,
            candidates,
            primary_addr: None,
            primary_offset: None,
        };
        let advice = || Ranked { order: vec![good(1).addr, good(2).addr], ..Ranked::default() };
        let ports = |candidates| {
            let fit = advice().only_fit(&request(candidates));
            fit.order.iter().map(|addr| addr.port).collect::<Vec<_>>()
        };
        assert_eq!(ports(vec![Candidate { disk_fails: true, ..good(1) }, good(2)]), [2, 1]);
        assert_eq!(ports(vec![Candidate { disk_fails: true, offset: 1001, ..good(1) }, good(2)]), [1, 2]);
        assert_eq!(ports(vec![Candidate { other_history: true, offset: 1001, ..good(1) }, good(2)]), [2, 1]);
    }

    #[test]
    fn a_sentinel_that_saw_the_fall_late_still_finds_a_replica() {
        // F3: paused while the primary died; its own sdown is young, the replicas' links are long down.
        let ranked = rank(vec![
            Candidate { link_down_ms: 60_000, ..good(1) },
            Candidate { link_down_ms: 61_000, ..good(2) },
            Candidate { link_down_ms: 600_000, ..good(3) },
        ]);
        assert_eq!(ranked.order.len(), 2);
        assert_eq!(ranked.refused[0].0.port, 3);
    }
}
