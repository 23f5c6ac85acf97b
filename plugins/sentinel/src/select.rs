//! The selection strategy: which replica becomes the primary, and why each of the others doesn't.
//! Pure. Redis' order (priority, offset, run id) is the default; a loading or never synced replica is never a candidate.

pub use keystead_plugin::services::selection::{Candidate, Ranked, ReplicaSelection, Request};

/// A replica that didn't answer a ping for this long is no candidate (Redis: five ping periods).
const PING_SILENCE_MS: u64 = 5_000;
/// Oldest INFO a choice may rest on while the primary is down, and in a failover asked for by an operator.
const INFO_AGE_DOWN_MS: u64 = 5_000;
const INFO_AGE_UP_MS: u64 = 30_000;

/// Redis' order: priority ascending, offset descending, run id ascending.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisSelection;

impl ReplicaSelection for RedisSelection {
    fn rank(&self, request: &Request) -> Ranked {
        let limit = link_down_limit(request);
        let mut ranked = Ranked::default();
        let mut good: Vec<&Candidate> = Vec::new();
        for candidate in &request.candidates {
            match refusal(candidate, request, limit) {
                Some(reason) => ranked.refused.push((candidate.addr.clone(), reason)),
                None => good.push(candidate),
            }
        }
        good.sort_by_key(|c| (c.priority, std::cmp::Reverse(c.offset), unknown_last(&c.run_id), c.addr.clone()));
        ranked.order = good.into_iter().map(|c| c.addr.clone()).collect();
        ranked
    }
}

fn unknown_last(run_id: &str) -> (bool, &str) {
    (run_id.is_empty(), run_id)
}

/// A replica whose link was down long before the others' lost it is too old. Redis counts from when the sentinel saw the
/// primary down, so that after a stall or a restart of the sentinel nobody was good enough; the freshest replica's own
/// link tells it too.
fn link_down_limit(request: &Request) -> u64 {
    let freshest = request.candidates.iter().filter(|c| c.synced && !c.down).map(|c| c.link_down_ms).min().unwrap_or(0);
    request.down_ms.unwrap_or(0).max(freshest) + 10 * request.down_after_ms
}

fn refusal(c: &Candidate, request: &Request, link_down_limit: u64) -> Option<String> {
    let oldest_info = if request.down_ms.is_some() { INFO_AGE_DOWN_MS } else { INFO_AGE_UP_MS };
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
        _ if c.link_down_ms > link_down_limit => {
            format!("its link to the primary was down for {} ms, at most {link_down_limit} is good", c.link_down_ms)
        }
        _ => return None,
    })
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
        }
    }

    fn rank(candidates: Vec<Candidate>) -> Ranked {
        RedisSelection.rank(&Request { primary: "p".into(), down_ms: Some(500), down_after_ms: 1000, candidates })
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
        ];
        for (candidate, reason) in cases {
            let ranked = rank(vec![candidate, good(2)]);
            assert_eq!(ranked.order, vec![Addr::new("h", 2).into()]);
            assert!(ranked.refused[0].1.contains(reason), "{reason}: {ranked:?}");
        }
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
