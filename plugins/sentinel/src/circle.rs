//! REPLICAOF in a circle: the primary follows a node that follows it, over any number of hops, by a hand or a sentinel that came
//! late. Nobody is a primary then, and nobody becomes one by himself: the primary counts as down after down-after, for which
//! stock sentinels, to whom its role is just a wrong one, wait 20 s longer. Owns the question whether there is such a circle.

use crate::down;
use crate::failover::Failover;
use crate::info::{Report, Role};
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::types::{Addr, Kind, Mono};

/// The primary is asked this often then: clients wait for a primary.
pub(crate) const CIRCLE_PERIOD_MS: u64 = 200;

impl Monitor {
    /// The primary follows a circle: since when, as far as is known. What its link noticed is enough (`keystead_replicaof_loop`);
    /// else everybody on the way must have said so behind the primary.
    pub(crate) fn circle(&self) -> Option<Mono> {
        let primary = self.primary();
        let since = primary.role_since.max(primary.upstream_since).max(self.knowledge_since);
        let report = follows(primary, since)?;
        if report.looped {
            return Some(since);
        }
        let (mut at, mut since) = (report.upstream.as_ref()?, since);
        // A way that is longer than all there are ends in a circle beside the primary.
        for _ in 0..=self.of(Kind::Replica).count() {
            if *at == primary.addr {
                return Some(since);
            }
            let next = self.middle(at, since)?;
            since = since.max(next.role_since).max(next.upstream_since);
            at = next.report.as_ref()?.upstream.as_ref()?;
        }
        Some(since)
    }

    /// A replica on the way, which follows somebody itself.
    fn middle(&self, at: &Addr, since: Mono) -> Option<&Instance> {
        let there = self.of(Kind::Replica).find(|r| r.addr == *at && r.down_since.is_none())?;
        follows(there, since).is_some().then_some(there)
    }

    /// Nobody has mended it for down-after, or another sentinel says so: its word from before is of something else. It isn't back when the one that is promoted
    /// opens the circle: it follows still.
    pub(crate) fn circle_is_down(&self, now: Mono) -> bool {
        let primary = self.primary();
        let opened = matches!(self.failover, Failover::Reconfigure { .. });
        if opened && primary.down_since.is_some() && primary.role == Role::Replica {
            return true;
        }
        // By a word of its own from behind that time: it may have been a primary again for a while.
        let over = |since| primary.report_at >= down::circle_deadline(since, self.settings.down_after_ms);
        let said = |since| {
            self.of(Kind::Sentinel).any(|peer| peer.sees_down(now) && peer.down_vote.is_some_and(|at| at >= since))
        };
        self.circle().is_some_and(|since| over(since) || said(since))
    }
}

/// What it said since then, if that is that it follows somebody.
fn follows(instance: &Instance, since: Mono) -> Option<&Report> {
    instance.report.as_ref().filter(|report| report.role == Some(Role::Replica) && instance.report_at >= since)
}
