//! A failover that an operator asks for, coordinated: the primary hands its role over by itself (FAILOVER TO: writes
//! paused, offsets equal, roles swapped), so that no acknowledged write is lost. Owns the choice between this way and
//! Redis' plain one, and the patience with the primary; epochs, events and re-pointing are failover.rs' as ever.

use crate::actions::Shared;
use crate::campaign::NO_EPOCH;
use crate::events::Level;
use crate::failover::Failover;
use crate::info::Role;
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::select::Ranked;
use crate::types::{Addr, InstanceId, Kind, Mono};
use crate::wire::{Reply, Request};

/// The primary may hold writes back for so long until the replica has everything; then it goes on as before. Shorter than
/// the patience of most clients with a command (3 to 5 s): a hand-over that doesn't succeed must not cost errors. One whose
/// replica answers takes milliseconds.
pub(crate) const HAND_OVER_MS: u64 = 3_000;
/// Once the replica is the primary, the old one is waited for this long.
pub(crate) const SWAP_MS: u64 = 1_000;
/// Both sides are asked how far they are this often.
const ASK_AGAIN_MS: u64 = 20;

/// The way an operator wants a failover to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Coordinated if the primary is a Keystead that can be reached, else as Redis does.
    Best,
    /// Coordinated or not at all: any primary since Redis 6.2 can.
    Coordinated,
    /// SLAVEOF NO ONE for the replica, whatever the primary has that it hasn't.
    Plain,
}

impl Monitor {
    /// `SENTINEL FAILOVER`, once it is known who would be promoted.
    pub(crate) fn fail_over_by_hand(&mut self, ranked: &Ranked, way: Way, s: &mut Shared) -> Reply {
        if self.failover.in_progress() {
            return Reply::Error("INPROG Failover already in progress".into());
        }
        if ranked.order.is_empty() {
            return Reply::Error("NOGOODSLAVE No suitable replica to promote".into());
        }
        if s.epoch.next().is_none() {
            return Reply::Error(format!("ERR {NO_EPOCH}"));
        }
        let there = self.primary_answers();
        if way == Way::Coordinated && !there {
            return Reply::Error("ERR The primary can't be reached, so it can't hand over".into());
        }
        self.coordinated = self.would_hand_over(way);
        s.log(Level::Warning, format!("Executing user requested FAILOVER of '{}'", self.name));
        self.stand(true, s);
        Reply::ok()
    }

    /// A failover that is asked for goes this way.
    pub(crate) fn would_hand_over(&self, way: Way) -> bool {
        match way {
            Way::Best => self.primary_answers() && self.primary().keystead,
            Way::Coordinated => true,
            Way::Plain => false,
        }
    }

    /// The primary holds all writes back until the replica has them: one that says nothing is no candidate, though it
    /// would be for a failover in which nobody waits for it.
    pub(crate) fn only_awake(&self, ranked: Ranked, now: Mono) -> Ranked {
        self.without(ranked, |replica| {
            let ms = replica.ping_since.map_or(0, |at| now.since(at));
            (ms > self.info_wait_ms()).then(|| format!("has not answered for {ms} ms, and writes would wait for it"))
        })
    }

    /// The same, behind the request: its INFO was asked for then.
    pub(crate) fn only_heard(&self, ranked: Ranked, since: Mono) -> Ranked {
        self.without(ranked, |replica| {
            let unheard = replica.report_at < since;
            unheard.then(|| "has said nothing since the failover was asked for, and writes would wait for it".into())
        })
    }

    fn without(&self, mut ranked: Ranked, refuse: impl Fn(&Instance) -> Option<String>) -> Ranked {
        for addr in std::mem::take(&mut ranked.order) {
            match self.of(Kind::Replica).find(|r| r.addr == addr).and_then(&refuse) {
                Some(reason) => ranked.refused.push((addr, reason)),
                None => ranked.order.push(addr),
            }
        }
        ranked
    }

    /// The primary could be asked to hand over.
    pub(crate) fn primary_answers(&self) -> bool {
        let primary = self.primary();
        primary.down_since.is_none() && primary.command.is_up() && primary.role == Role::Primary
    }

    /// How long a promotion may take: a primary that hands over gives up earlier than failover-timeout, and it is heard.
    pub(crate) fn promotion_limit_ms(&self) -> u64 {
        let limit = self.settings.failover_timeout_ms;
        if self.coordinated { limit.min(HAND_OVER_MS + 2_000) } else { limit }
    }

    /// Asks the primary to hand over to this replica.
    pub(crate) fn ask_to_hand_over(&mut self, replica: InstanceId, s: &mut Shared) {
        let to = self.instances[&replica].addr.clone();
        let timeout_ms = HAND_OVER_MS.min(self.settings.failover_timeout_ms);
        // Under the word by which the primary knows it: as its last INFO lists it.
        let listed = self.primary().report.as_ref().and_then(|report| report.replicas.iter().find(|r| **r == to));
        let Addr { host, name, .. } = listed.unwrap_or(&to).clone();
        let host = name.unwrap_or(host);
        let request = Request::HandOver { to: Some((host, to.port)), timeout_ms };
        self.send(self.primary, request, s);
        self.watch_hand_over(s.now);
    }

    /// Both sides are asked again soon.
    pub(crate) fn watch_hand_over(&mut self, now: Mono) {
        let Failover::Promote { replica, .. } = self.failover else { return };
        for id in [replica, self.primary] {
            let instance = self.instance_mut(id);
            instance.next_info = instance.next_info.min(now.plus(ASK_AGAIN_MS));
        }
    }

    /// The roles are swapped on both sides. The old primary is told once more, in the transaction that every failover
    /// sends: it writes its new role down and closes its clients' connections.
    pub(crate) fn roles_are_swapped(&mut self, replica: InstanceId, s: &mut Shared) -> bool {
        let target = self.instances[&replica].addr.clone();
        let old = self.primary();
        let follows = old.report.as_ref().is_some_and(|r| r.upstream.as_ref() == Some(&target) && r.link_up);
        let follows = follows && old.report_at >= self.knowledge_since;
        if !(old.role == Role::Replica && follows) {
            return false;
        }
        let told = target.faced(self.names_shown);
        self.send(self.primary, Request::Follow(Some(told)), s);
        true
    }

    /// The primary answered the request to hand over.
    pub(crate) fn on_hand_over_answer(&mut self, reply: &Reply, s: &mut Shared) {
        let Some(error) = reply.error() else { return };
        s.log(Level::Warning, format!("{}: the primary doesn't hand over: {error}", self.name));
        if self.coordinated && matches!(self.failover, Failover::Promote { .. }) {
            self.timeline.mark(s.now, "refused", format!("the primary doesn't hand over: {error}"));
            self.coordinated = false; // nothing to take back
            self.abort("-failover-abort-slave-timeout", s);
        }
    }

    /// The failover ends without a result: the primary is to go on as before.
    pub(crate) fn take_back_hand_over(&mut self, s: &mut Shared) {
        if std::mem::take(&mut self.coordinated) && matches!(self.failover, Failover::Promote { sent: Some(_), .. }) {
            self.send(self.primary, Request::HandOver { to: None, timeout_ms: 0 }, s);
            self.watch_primary(s.now); // it may have done so all the same
        }
    }
}
