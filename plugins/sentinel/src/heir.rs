//! A primary that has handed its role over, and nobody said so: the sentinel that asked for it died, stood still or was
//! reset behind the swap. Owns the question who the heir is, and how long its leader may take to say so itself; whoever sees
//! an heir then takes the primary for down, and the election that follows finds the heir promoted already (failover.rs).
//! The heir is told nothing, so two sentinels that are at it can't contradict each other.
//! The same is so of one that was promoted by a leader that died behind that, where a lease shows it: the old primary that is
//! back doesn't have the lease any more.

use crate::circle::CIRCLE_PERIOD_MS;
use crate::failover::Failover;
use crate::handover::{HAND_OVER_MS, SWAP_MS};
use crate::info::Role;
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::types::{InstanceId, Kind, Mono};

/// After somebody else's new epoch the primary is asked this often, for as long as it may take to hand over.
const WATCH_PERIOD_MS: u64 = 1_000;
const WATCH_MS: u64 = HAND_OVER_MS + 2 * SWAP_MS;

impl Monitor {
    /// The replica that the primary follows by now, if it reports that it is a primary, and both said so in this order. One
    /// that goes on with another history than the primary's is none: an operator's work, or an old primary's.
    pub(crate) fn heir(&self) -> Option<&Instance> {
        let primary = self.primary();
        let report = primary.report.as_ref().filter(|report| report.role == Some(Role::Replica))?;
        let since = primary.role_since.max(self.knowledge_since);
        let heir = self.of(Kind::Replica).find(|r| report.upstream.as_ref() == Some(&r.addr))?;
        let said = primary.report_at >= since && heir.report_at >= since && heir.role == Role::Primary;
        let there = heir.down_since.is_none() && heir.command.is_up();
        let goes_on = primary.history.is_empty() || self.inherits(heir);
        (said && there && goes_on).then_some(heir)
    }

    /// It goes on with what the primary had when it last was one.
    fn inherits(&self, heir: &Instance) -> bool {
        let history = &self.primary().history;
        let told = heir.report.as_ref().map(|report| [&report.history, &report.history_before]);
        !history.is_empty() && told.is_some_and(|both| both.contains(&history))
    }

    /// A replica that takes writes under the group's lease: it was promoted, and must not be told to follow anybody, for what
    /// was written since would be lost. Where the primary needs no lease, there is none of the group.
    pub(crate) fn lease_holder(&self) -> Option<&Instance> {
        self.primary().report.as_ref().and_then(|report| report.leased)?;
        self.of(Kind::Replica).find(|r| holds_lease(r) && r.down_since.is_none() && r.command.is_up())
    }

    /// The primary says that it is one, and doesn't have the lease, which another has: it was replaced, and is back.
    fn replaced_by(&self) -> Option<&Instance> {
        let primary = self.primary();
        let waits = primary.report.as_ref().is_some_and(|r| r.role == Some(Role::Primary) && r.leased == Some(false));
        let holder = self.lease_holder().filter(|_| waits)?;
        let since = holder.role_since.max(self.knowledge_since);
        (holder.report_at >= since && primary.report_at >= since).then_some(holder)
    }

    /// The role was handed over or taken away, and whoever led that has had the time to say so.
    pub(crate) fn handed_over(&self, now: Mono) -> bool {
        if self.leads_it() {
            return false;
        }
        let heir = match self.primary().role {
            Role::Primary => self.replaced_by(),
            Role::Replica => self.heir().filter(|heir| self.inherits(heir)),
        };
        let Some(heir) = heir else { return false };
        let since = heir.role_since.max(self.primary().role_since).max(self.primary().observed_since);
        now.since(since) >= self.grace_ms() || self.down_votes(now) > 0
    }

    /// A leader waits for both sides for a second at most, and its hello is heard within a period: a sentinel that was cut
    /// off has heard of a finished failover by then, too.
    const fn grace_ms(&self) -> u64 {
        SWAP_MS.saturating_add(self.settings.tempo.publish_period)
    }

    /// This sentinel is the leader itself.
    fn leads_it(&self) -> bool {
        let promotes = matches!(self.failover, Failover::Promote { .. } | Failover::Reconfigure { .. });
        self.coordinated || (promotes && self.primary().down_since.is_none())
    }

    /// Everybody's reports are wanted soon: the primary says that it is a replica. One of them is the heir, or all follow in a
    /// circle. A leader, whose work that is, asks as that goes.
    pub(crate) fn look_for_heir(&mut self, now: Mono) {
        let upstream = self.primary().report.as_ref().and_then(|report| report.upstream.clone());
        let leads = self.failover.in_progress();
        let wanted = |r: &&mut Instance| !leads || upstream.as_ref() == Some(&r.addr);
        self.of_mut(Kind::Replica).filter(wanted).for_each(|r| r.next_info = r.next_info.min(now));
        let primary = self.primary_mut();
        primary.next_info = primary.next_info.min(now.plus(WATCH_PERIOD_MS));
    }

    /// Somebody began a new epoch for this primary, or sees it down: it may be handing its role over.
    pub(crate) fn watch_primary(&mut self, now: Mono) {
        if now >= self.watch_until {
            self.primary_mut().next_info = now;
        }
        self.watch_until = now.plus(WATCH_MS);
    }

    /// How often a data node is asked, beside what it says of itself.
    pub(crate) fn watched(&self, id: InstanceId, now: Mono) -> Option<u64> {
        let role = self.primary().role;
        let watched = id == self.primary && (now < self.watch_until || role == Role::Replica);
        let circle = || role == Role::Replica && self.circle().is_some();
        watched.then(|| if circle() { CIRCLE_PERIOD_MS } else { WATCH_PERIOD_MS })
    }
}

/// It takes writes under a lease. Not a former primary's that is back: it is to follow, whatever it holds.
pub(crate) fn holds_lease(r: &Instance) -> bool {
    let leased = r.report.as_ref().is_some_and(|report| report.leased == Some(true));
    r.role == Role::Primary && leased && !r.former_primary
}
