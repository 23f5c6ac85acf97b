//! Changes of the configuration, and bringing data nodes in line with it: switch, demotion, wrong primaries, progress of
//! re-pointing. Nothing here acts on knowledge older than this sentinel's last restart, stall or isolation.

use crate::actions::Shared;
use crate::ballot::Candidacy;
use crate::events::Level;
use crate::failover::Failover;
use crate::info::Role;
use crate::instance::{Instance, Repoint};
use crate::monitor::Monitor;
use crate::types::{Addr, Epoch, InstanceId, Kind};
use crate::wire::Request;

/// A node that was told isn't told again before.
pub(crate) const TELL_AGAIN_MS: u64 = 1_000;

/// A former primary that can't be told yet, or didn't do yet what it was told, reports again after this long: it may take
/// writes that will be lost.
const REPORT_AGAIN_MS: u64 = 100;

impl Monitor {
    /// The configuration changes: another primary, another epoch. Everything about the old one dies here.
    pub(crate) fn switch(&mut self, to: &Addr, epoch: Epoch, s: &mut Shared) {
        let old = self.primary;
        let from = self.primary().addr.clone();
        self.config_epoch = epoch;
        s.durable();
        self.tell_switch(to, s);
        let led = self.failover.replica();
        let known = self.of(Kind::Replica).find(|r| r.addr == *to).map(|r| r.id);
        let new = known.unwrap_or_else(|| self.insert(Kind::Replica, to.clone(), s));
        self.primary = new;
        self.switched_at = Some(s.now);
        self.round += 1;
        for instance in self.instances.values_mut() {
            if instance.kind != Kind::Sentinel {
                instance.restart_timers(s.now);
            }
            instance.down_vote = None;
            instance.vote = None;
            instance.repoint = Repoint::None;
            instance.told_at = None;
            instance.hurry(s.now);
        }
        if let Some(other) = led.filter(|id| *id != new) {
            self.instance_mut(other).former_primary = true; // promoted by this sentinel in an epoch that lost
        }
        let was_primary = self.instance_mut(old);
        was_primary.kind = Kind::Replica;
        was_primary.rebooted_at = None; // that period is a primary's
        // One that was seen to follow already may be promoted again by a leader whose hello is on its way.
        was_primary.former_primary = was_primary.role == Role::Primary;
        was_primary.synced = false;
        let now_primary = self.instance_mut(new);
        now_primary.kind = Kind::Primary;
        now_primary.former_primary = false;
        now_primary.lost = Vec::new();
        let report = now_primary.report.as_ref().filter(|report| report.role == Some(Role::Primary));
        now_primary.history = report.map(|report| report.history.clone()).unwrap_or_default();
        now_primary.answered = led == Some(new) && now_primary.role == Role::Primary;
        self.coordinated = false;
        self.primary_rebooted = None;
        self.failover = Failover::Idle;
        self.odown_since = None;
        self.ballot.hold = None;
        self.ballot.candidacy = Candidacy::None;
        self.ballot.attempts = 0;
        (self.ballot.tried, self.ballot.refused) = (None, None);
        self.ballot.confirmed = false;
        self.ballot.abstains = None;
        self.ballot.next_attempt = s.now;
        self.timeline.mark(s.now, "switched", format!("{from} to {to}, configuration epoch {epoch}"));
        s.log(Level::Notice, format!("{}: configuration epoch {epoch}: {}", self.name, self.timeline));
        for id in self.of(Kind::Replica).map(|r| r.id).collect::<Vec<_>>() {
            self.event(s, Level::Notice, "+slave", id, "");
        }
    }

    /// Where clients are to go from now on.
    pub(crate) fn tell_switch(&self, to: &Addr, s: &mut Shared) {
        let (from, names) = (&self.primary().addr, self.names_shown);
        let text = format!("{} {} {} {} {}", self.name, from.face(names), from.port, to.face(names), to.port);
        s.emit(Level::Warning, "+switch-master", text, &self.settings);
    }

    /// Redis' wait before a replica that claims to be a primary is told otherwise: four hellos would have corrected us.
    const fn sane_wait_ms(&self) -> u64 {
        self.settings.tempo.publish_period.saturating_mul(4)
    }

    /// The primary as this sentinel sees it: there, and a primary.
    fn primary_sane(&self, s: &Shared) -> bool {
        let primary = self.primary();
        primary.down_since.is_none()
            && self.odown_since.is_none()
            && primary.answered
            && primary.role == Role::Primary
            && primary.command.is_up()
            && primary.report.is_some()
            && s.now.since(primary.report_at) <= self.settings.tempo.info_period.saturating_mul(2)
    }

    /// What a report of a data node asks for.
    pub(crate) fn after_report(&mut self, id: InstanceId, s: &mut Shared) {
        if self.failover.replica() == Some(id) || (self.coordinated && id == self.primary) {
            return self.drive(s);
        }
        let instance = &self.instances[&id];
        match (instance.kind, instance.role) {
            (Kind::Primary, Role::Primary) => self.demote_former_primaries(s),
            (Kind::Replica, Role::Primary) => self.demote_if_due(id, s),
            (Kind::Replica, Role::Replica) => {
                self.note_repointing(id, s);
                self.fix_upstream_if_due(id, s);
            }
            _ => {}
        }
    }

    /// The primary said that it is one: those whose claim waited for that.
    fn demote_former_primaries(&mut self, s: &mut Shared) {
        let now = s.now;
        let just_now = |r: &Instance| r.report_at >= r.role_since && now.since(r.report_at) <= 2 * REPORT_AGAIN_MS;
        let claims = |r: &&Instance| r.former_primary && r.role == Role::Primary && just_now(r);
        for id in self.of(Kind::Replica).filter(claims).map(|r| r.id).collect::<Vec<_>>() {
            self.demote_if_due(id, s);
        }
    }

    /// A replica claims to be a primary. One that was the primary of an earlier configuration is told at once, if a
    /// majority confirmed ours since we could last hear; anything else waits as in Redis, for it may just have been
    /// promoted by a leader whose hello is on its way.
    fn demote_if_due(&mut self, id: InstanceId, s: &mut Shared) {
        if self.instances[&id].is_also(self.primary()) {
            return; // the primary by another address: it would follow itself
        }
        let instance = self.instance_mut(id);
        if instance.former_primary {
            instance.next_info = instance.next_info.min(s.now.plus(REPORT_AGAIN_MS));
        }
        if self.lease_holder().is_some_and(|holder| holder.id == id) {
            return self.watch_primary(s.now); // it was replaced, or has the lease again: its next report says which
        }
        if self.failover.in_progress() || !self.primary_sane(s) || self.ballot.hold.is_some() {
            return;
        }
        let instance = &self.instances[&id];
        let waited =
            s.now.since(instance.role_since.max(instance.observed_since)) > self.sane_wait_ms() && self.fresh(s.now);
        let at_once = instance.former_primary && self.confirmed(s.now);
        // Somebody may have handed the role back meanwhile: the primary's word must be no older than the claim.
        let outdated = self.primary().report_at < instance.report_at;
        if at_once && !waited && outdated {
            return self.primary_mut().next_info = s.now;
        }
        if (at_once || waited) && self.tell(id, s) {
            self.event(s, Level::Notice, "+convert-to-slave", id, "");
        }
    }

    /// A replica follows somebody else than the primary.
    fn fix_upstream_if_due(&mut self, id: InstanceId, s: &mut Shared) {
        let primary = self.primary().addr.clone();
        let instance = &self.instances[&id];
        let upstream = instance.report.as_ref().and_then(|r| r.upstream.clone());
        if upstream.is_none_or(|up| up == primary) || self.failover.in_progress() || !self.primary_sane(s) {
            return;
        }
        let since = instance.upstream_since.max(instance.observed_since);
        let wait = {
            let sane = self.sane_wait_ms();
            if self.confirmed(s.now) { sane } else { self.settings.failover_timeout_ms.max(sane) }
        };
        let due = s.now.since(since) > wait && self.fresh(s.now) && self.ballot.hold.is_none();
        if due && self.tell(id, s) {
            self.event(s, Level::Notice, "+fix-slave-config", id, "");
        }
    }

    fn tell(&mut self, id: InstanceId, s: &mut Shared) -> bool {
        let primary = self.primary().addr.faced(self.names_shown);
        let again = self.instances[&id].told_at.is_none_or(|at| s.now.since(at) >= TELL_AGAIN_MS);
        let loading = self.instances[&id].report.as_ref().is_some_and(|r| r.loading);
        if loading || !again || !self.send(id, Request::Follow(Some(primary)), s) {
            return false;
        }
        self.send(id, Request::Info, s);
        self.instance_mut(id).told_at = Some(s.now);
        true
    }

    /// A replica reports while it is being re-pointed.
    fn note_repointing(&mut self, id: InstanceId, s: &mut Shared) {
        let Failover::Reconfigure { replica, .. } = self.failover else { return };
        let target = self.instances[&replica].addr.clone();
        let instance = self.instance_mut(id);
        let Some(report) = &instance.report else { return };
        if report.upstream.as_ref() != Some(&target) {
            return;
        }
        let link_up = report.link_up;
        let told = match instance.repoint {
            Repoint::Sent(at) => Some(at),
            Repoint::None => Some(s.now),
            Repoint::InProgress(_) | Repoint::Done => None,
        };
        if let Some(at) = told {
            instance.repoint = Repoint::InProgress(at);
            self.event(s, Level::Notice, "+slave-reconf-inprog", id, "");
        }
        let instance = self.instance_mut(id);
        if matches!(instance.repoint, Repoint::InProgress(_)) && link_up {
            instance.repoint = Repoint::Done;
            self.event(s, Level::Notice, "+slave-reconf-done", id, "");
        }
    }
}
