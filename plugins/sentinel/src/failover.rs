//! The failover this sentinel leads: (campaign.rs,) select, promote, re-point, switch. An enum whose states carry their data;
//! one function drives it. Owns the order of the steps; who wins and who is chosen is a strategy's advice.

use crate::actions::{CRASH_AFTER_PROMOTION, Consult, Counsel, Shared};
use crate::ballot::Candidacy;
use crate::campaign::CAMPAIGN_MS;
use crate::events::Level;
use crate::handover::SWAP_MS;
use crate::heir::holds_lease;
use crate::hello::Hello;
use crate::info::Role;
use crate::instance::{Instance, Repoint};
use crate::monitor::Monitor;
use crate::reconfigure::TELL_AGAIN_MS;
use crate::sign::without_stamp;
use crate::types::{Epoch, InstanceId, Kind, Mono};
use crate::unkept::Unkept;
use crate::wire::Request;

/// The choice waits this long for every replica's INFO from behind the election.
const FRESH_INFO_MS: u64 = 300;
/// A promotion that had no effect is asked for again after this long.
const PROMOTE_AGAIN_MS: u64 = 1_000;

/// Where the failover stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failover {
    /// There is none.
    Idle,
    /// Votes are being collected.
    Campaign {
        /// Its epoch.
        epoch: Epoch,
        /// Since when.
        since: Mono,
    },
    /// A replica is being chosen.
    Select {
        /// Its epoch.
        epoch: Epoch,
        /// Since when.
        since: Mono,
        /// The question that is out.
        ticket: Option<u64>,
        /// An operator asked for it.
        forced: bool,
    },
    /// The chosen one is being promoted.
    Promote {
        /// Its epoch.
        epoch: Epoch,
        /// Who.
        replica: InstanceId,
        /// Since when.
        since: Mono,
        /// When it was told.
        sent: Option<Mono>,
        /// It was a primary already, by somebody else's word: nothing is to be told, and no promotion to be announced.
        adopted: bool,
        /// An operator asked for it.
        forced: bool,
    },
    /// It is the primary; the others are being re-pointed.
    Reconfigure {
        /// Its epoch.
        epoch: Epoch,
        /// Who.
        replica: InstanceId,
        /// Since when.
        since: Mono,
        /// Nobody is told of it yet.
        unkept: Option<Unkept>,
    },
}

impl Failover {
    /// There is one.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        *self != Failover::Idle
    }

    /// This sentinel has won, or was told by an operator.
    #[must_use]
    pub const fn elected(&self) -> bool {
        matches!(self, Failover::Select { .. } | Failover::Promote { .. } | Failover::Reconfigure { .. })
    }

    /// The epoch of one that an operator asked for and that isn't certain yet.
    #[must_use]
    pub const fn asked_for(&self) -> Option<Epoch> {
        match self {
            Failover::Select { epoch, forced: true, .. } | Failover::Promote { epoch, forced: true, .. } => {
                Some(*epoch)
            }
            _ => None,
        }
    }

    /// The epoch in which peers are (still) asked for a vote: it also shows them that the leader is at work.
    #[must_use]
    pub const fn campaign(&self) -> Option<Epoch> {
        match self {
            Failover::Campaign { epoch, .. }
            | Failover::Select { epoch, forced: false, .. }
            | Failover::Promote { epoch, forced: false, .. }
            | Failover::Reconfigure { epoch, .. } => Some(*epoch),
            _ => None,
        }
    }

    /// Redis' name of the state.
    #[must_use]
    pub const fn wire_name(&self) -> &'static str {
        match self {
            Failover::Idle => "none",
            Failover::Campaign { .. } => "wait_start",
            Failover::Select { .. } => "select_slave",
            Failover::Promote { sent: None, .. } => "send_slaveof_noone",
            Failover::Promote { .. } => "wait_promotion",
            Failover::Reconfigure { .. } => "reconf_slaves",
        }
    }

    /// The chosen replica.
    #[must_use]
    pub const fn replica(&self) -> Option<InstanceId> {
        match self {
            Failover::Promote { replica, .. } | Failover::Reconfigure { replica, .. } => Some(*replica),
            _ => None,
        }
    }
}

impl Monitor {
    /// The next moment at which the election or the failover has something to do.
    pub(crate) fn next_step(&self, now: Mono) -> Mono {
        let timeout = self.settings.failover_timeout_ms;
        let mut due = vec![];
        match self.failover {
            Failover::Idle if self.odown_since.is_some() => {
                due.push(self.ballot.next_attempt);
                due.extend(self.ballot.hold.as_ref().map(|hold| hold.until));
                if let Candidacy::At(at) = self.ballot.candidacy {
                    due.push(at);
                }
            }
            Failover::Idle => {}
            Failover::Campaign { since, .. } => {
                due.extend([CAMPAIGN_MS, self.settings.tempo.election_timeout].map(|ms| since.plus(ms.min(timeout))));
            }
            Failover::Select { since, .. } => due.extend([since.plus(self.info_wait_ms()), since.plus(timeout)]),
            Failover::Promote { since, .. } => due.push(since.plus(self.promotion_limit_ms())),
            Failover::Reconfigure { since, .. } => due.push(since.plus(timeout)),
        }
        due.into_iter().filter(|at| *at > now).min().unwrap_or(Mono::NEVER)
    }

    /// See the machine's.
    pub(crate) fn still_wants(&self, instance: InstanceId, request: &Request) -> bool {
        match request {
            Request::Follow(None) => matches!(self.failover, Failover::Promote { replica, .. } if replica == instance),
            Request::Follow(Some(to)) => self.current_addr().is(&to.host, to.port),
            Request::HandOver { to: Some(_), .. } => self.coordinated,
            Request::AskDown { candidate: Some(_), epoch, .. } => self.failover.campaign() == Some(*epoch),
            // Of a promotion that was taken back nobody is to hear.
            Request::Hello(text) => {
                let hello = Hello::parse(without_stamp(text));
                hello.is_none_or(|hello| hello.config_epoch <= self.config_epoch)
            }
            _ => true,
        }
    }

    /// Moves the election or failover on as far as it goes now.
    pub(crate) fn drive(&mut self, s: &mut Shared) {
        self.expire_hold(s.now);
        match self.failover.clone() {
            Failover::Idle => self.consider_standing(s),
            Failover::Campaign { epoch, since } => {
                if self.odown_since.is_none() {
                    self.abort("-failover-abort-master-is-back", s);
                } else if s.now.since(since) >= self.campaign_limit_ms(epoch) || self.nothing_to_hope_for(epoch, s) {
                    self.abort("-failover-abort-not-elected", s);
                }
            }
            Failover::Select { .. } | Failover::Promote { .. } if self.waits_for_word(s) => {}
            Failover::Select { epoch, since, ticket, forced } => self.drive_select(epoch, since, ticket, forced, s),
            Failover::Promote { .. } => self.drive_promotion(s),
            Failover::Reconfigure { .. } if self.waits_for_the_disk(s) => {}
            Failover::Reconfigure { replica, since, .. } => self.drive_repointing(replica, since, s),
        }
    }

    /// Ends the own failover without a result.
    pub(crate) fn abort(&mut self, name: &'static str, s: &mut Shared) {
        let rivals = self.rivals_before(&s.id);
        self.take_back_hand_over(s);
        self.event(s, Level::Warning, name, self.primary, "");
        self.failover = Failover::Idle;
        self.ballot.candidacy = Candidacy::None;
        for replica in self.of_mut(Kind::Replica) {
            replica.repoint = Repoint::None;
        }
        let doublings = self.ballot.attempts.min(5);
        self.ballot.attempts = self.ballot.attempts.saturating_add(1);
        let wait = match name {
            // Without anybody to promote the next try waits for one (campaign.rs), and comes soon then.
            "-failover-abort-no-good-slave" if !self.somebody_is_fit(s.now) => 1_000,
            "-failover-abort-no-good-slave" => 1_000 << doublings,
            // Who split the votes comes again in turn, by id: as long as a vote takes to get onto a disk and around, two that
            // come again at any time in the same span would split them again.
            _ => (s.rng.between(150, 300) + 300 * rivals) << doublings,
        };
        let why = match name {
            "-failover-abort-not-elected" => "not elected",
            "-failover-abort-no-good-slave" => "no replica can be promoted",
            "-failover-abort-slave-timeout" => "the replica wasn't promoted in time",
            "-failover-abort-master-is-back" => "the primary is back",
            other => other,
        };
        self.tell_asker(why, s);
        self.timeline.mark(s.now, "given up", format!("{why}; the next try is {wait} ms away at least"));
        self.ballot.next_attempt = s.now.plus(wait);
        self.ask_now(s.now); // without a candidate: whoever voted here is free again
    }

    /// How many other candidates of the own candidacy's epoch have a smaller id, as far as votes tell.
    fn rivals_before(&self, me: &str) -> u64 {
        let Failover::Campaign { epoch, .. } = self.failover else { return 0 };
        let votes = self.of(Kind::Sentinel).filter_map(|peer| peer.vote.as_ref());
        let rivals = votes.filter(|(leader, at)| *at == epoch && leader.as_str() < me).map(|(leader, _)| leader);
        rivals.collect::<std::collections::BTreeSet<_>>().len() as u64
    }

    /// After a stall or isolation: whatever isn't certain yet may have been decided elsewhere meanwhile.
    pub(crate) fn give_up_uncertain(&mut self, s: &mut Shared, why: &str) {
        if matches!(self.failover, Failover::Campaign { .. } | Failover::Select { .. } | Failover::Promote { .. }) {
            s.log(Level::Notice, format!("{}: failover given up: {why}", self.name));
            self.abort("-failover-abort-not-elected", s);
        }
        self.ballot.candidacy = Candidacy::None;
        self.ballot.hold = None;
    }

    // ---------- select

    fn drive_select(&mut self, epoch: Epoch, since: Mono, ticket: Option<u64>, forced: bool, s: &mut Shared) {
        if !forced && self.odown_since.is_none() {
            return self.abort("-failover-abort-master-is-back", s);
        }
        if s.now.since(since) >= self.settings.failover_timeout_ms {
            return self.abort("-failover-abort-no-good-slave", s);
        }
        if ticket.is_some() {
            return;
        }
        if let Some(id) = self.already_promoted(since) {
            s.log(Level::Notice, format!("{}: {} was promoted already", self.name, self.describe(id)));
            return self.choose(id, epoch, forced, s);
        }
        let unheard = |r: &&Instance| r.command.is_up() && r.down_since.is_none() && r.report_at < since;
        // A primary that is asked to go names the replicas that came lately, too.
        let asked = |i: &Instance| i.kind == Kind::Replica || (forced && i.kind == Kind::Primary);
        let waiting = self.instances.values().any(|i| asked(i) && unheard(&i) && i.pending > 0);
        let heir = self.heir().map(|heir| heir.id);
        let suspect = self.of(Kind::Replica).filter(unheard).any(|r| promoted(r) || heir == Some(r.id));
        if suspect || (waiting && s.now.since(since) < self.info_wait_ms()) {
            return;
        }
        let request = self.selection_request(s.now);
        let ticket = Some(self.consult(Consult::Selection(request), s));
        self.failover = Failover::Select { epoch, since, ticket, forced };
    }

    pub(crate) fn info_wait_ms(&self) -> u64 {
        FRESH_INFO_MS.max(self.settings.down_after_ms.min(1_000) / 2)
    }

    /// Another leader was cut off behind its promotion: finish its work instead of promoting a second one. Of two that may
    /// have been promoted it is the one that the old primary follows.
    fn already_promoted(&self, since: Mono) -> Option<InstanceId> {
        self.somebody_promoted().filter(|r| r.report_at >= since).map(|r| r.id)
    }

    /// Somebody made it a primary: a leader, or the primary that handed over to it.
    fn is_promoted(&self, replica: &Instance) -> bool {
        promoted(replica) || self.heir().is_some_and(|heir| heir.id == replica.id)
    }

    pub(crate) fn somebody_promoted(&self) -> Option<&Instance> {
        let found = |r: &&Instance| promoted(r) && r.down_since.is_none() && r.command.is_up();
        self.heir().or_else(|| self.of(Kind::Replica).find(found))
    }

    /// Another selection strategy took over while the one before was thinking.
    pub(crate) fn ask_selection_anew(&mut self, s: &mut Shared) {
        let request = self.selection_request(s.now);
        if let Failover::Select { ticket: Some(_), epoch, since, forced } = self.failover {
            let ticket = Some(self.consult(Consult::Selection(request), s));
            self.failover = Failover::Select { epoch, since, ticket, forced };
        }
    }

    pub(crate) fn on_selection(&mut self, asked: u64, advice: &Counsel, s: &mut Shared) {
        let Failover::Select { epoch, since, ticket: Some(ticket), forced } = self.failover else { return };
        if ticket != asked {
            return;
        }
        let ranked = match advice {
            Counsel::Selection(ranked) => {
                let fit = ranked.clone().only_fit(&self.selection_request(s.now));
                if self.coordinated { self.only_heard(fit, since) } else { fit }
            }
            Counsel::Failed(reason) => {
                s.log(Level::Warning, format!("{}: selection strategy failed: {reason}", self.name));
                return self.abort("-failover-abort-no-good-slave", s);
            }
            Counsel::Election(_) => return,
        };
        for (addr, reason) in &ranked.refused {
            s.log(Level::Notice, format!("{}: {addr} is not promoted: it {reason}", self.name));
        }
        if !ranked.refused.is_empty() {
            let each = |(addr, reason): &(_, String)| format!("{addr} {reason}");
            let all: Vec<String> = ranked.refused.iter().map(each).collect();
            self.timeline.mark(s.now, "refused", all.join(", "));
        }
        let best = ranked.order.iter().find_map(|addr| self.of(Kind::Replica).find(|r| r.addr == *addr).map(|r| r.id));
        match best {
            Some(id) => self.choose(id, epoch, forced, s),
            None => {
                self.ballot.refused = Some(self.selection_request(s.now).candidates);
                self.abort("-failover-abort-no-good-slave", s);
            }
        }
    }

    fn somebody_is_fit(&self, now: Mono) -> bool {
        let request = self.selection_request(now);
        request.candidates.iter().any(|c| request.unfit(c).is_none())
    }

    fn choose(&mut self, id: InstanceId, epoch: Epoch, forced: bool, s: &mut Shared) {
        let offset = self.instances[&id].report.as_ref().map_or(0, |report| report.offset);
        self.timeline.mark(s.now, "selected", format!("{} at offset {offset}", self.instances[&id].addr));
        self.event(s, Level::Warning, "+selected-slave", id, "");
        self.event(s, Level::Notice, "+failover-state-send-slaveof-noone", id, "");
        self.failover = Failover::Promote { epoch, replica: id, since: s.now, sent: None, adopted: false, forced };
        self.drive(s);
    }

    // ---------- promote

    fn drive_promotion(&mut self, s: &mut Shared) {
        let Failover::Promote { epoch, replica, since, sent, adopted, forced } = self.failover else { return };
        let chosen = &self.instances[&replica];
        let found = self.is_promoted(chosen);
        // That it says so isn't enough as long as nobody told it: it may be about to end.
        let reports = chosen.role == Role::Primary && (sent.is_some() || found);
        if reports && chosen.report_at >= since.max(sent.unwrap_or(since)).max(self.knowledge_since) {
            // Nobody is told of the new primary before the old one takes no writes.
            if !self.coordinated || s.now.since(chosen.role_since) >= SWAP_MS || self.roles_are_swapped(replica, s) {
                return self.on_promoted(s);
            }
            return self.watch_hand_over(s.now);
        }
        if chosen.down_since.is_some() || s.now.since(since) >= self.promotion_limit_ms() {
            return self.abort("-failover-abort-slave-timeout", s);
        }
        if self.coordinated && sent.is_some() {
            return self.watch_hand_over(s.now);
        }
        let again = sent.is_some_and(|at| s.now.since(at) >= PROMOTE_AGAIN_MS && chosen.report_at > at);
        if !chosen.command.is_up() || !(sent.is_none() || again) {
            return;
        }
        let adopted = (sent.is_none() || adopted) && (found || chosen.role == Role::Primary);
        if !adopted {
            self.instance_mut(replica).promoted_in = Some(epoch);
        }
        if self.coordinated {
            self.ask_to_hand_over(replica, s);
        } else {
            if !adopted {
                self.send(replica, Request::Follow(None), s);
            }
            self.send(replica, Request::Info, s);
        }
        if sent.is_none() {
            let what = match () {
                () if self.coordinated => "the primary, to hand over",
                () if adopted => "nothing: it is a primary already",
                () => "it: SLAVEOF NO ONE",
            };
            self.timeline.mark(s.now, "told", what.into());
            self.event(s, Level::Notice, "+failover-state-wait-promotion", replica, "");
        }
        self.failover = Failover::Promote { epoch, replica, since, sent: Some(s.now), adopted, forced };
    }

    fn on_promoted(&mut self, s: &mut Shared) {
        let Failover::Promote { epoch, replica, .. } = self.failover else { return };
        let unkept = self.has_two_primaries().then(|| Unkept { begun: s.disk.begun(), before: self.config_epoch });
        self.coordinated = false;
        self.config_epoch = epoch;
        s.durable();
        self.timeline.mark(s.now, "promoted", "it reports that it is a primary".into());
        // Found promoted behind a standstill it may still be this sentinel's work.
        let own = self.instances[&replica].promoted_in == Some(epoch);
        if own {
            self.event(s, Level::Warning, "+promoted-slave", replica, "");
        }
        // Whoever finishes a failover is its leader to the scripts, also if another one promoted the replica and died.
        let (from, to) = (self.primary().addr.clone(), self.instances[&replica].addr.clone());
        self.call_reconfig_script("leader", &from, &to, s);
        if own {
            s.maybe_crash(CRASH_AFTER_PROMOTION);
        }
        self.event(s, Level::Warning, "+failover-state-reconf-slaves", self.primary, "");
        self.failover = Failover::Reconfigure { epoch, replica, since: s.now, unkept };
        self.hello_now(s.now);
        self.drive(s);
    }

    // ---------- re-point

    fn drive_repointing(&mut self, promoted: InstanceId, since: Mono, s: &mut Shared) {
        let chosen = &self.instances[&promoted];
        // Nobody can follow one that is down, and as long as this goes on nobody looks for another.
        let fell = chosen.down_since.is_some();
        let target = chosen.addr.faced(self.names_shown);
        // Nor by another address: it would follow itself.
        let others: Vec<InstanceId> = self.of(Kind::Replica).filter(|r| !r.is_also(chosen)).map(|r| r.id).collect();
        for id in &others {
            if let Repoint::Sent(at) = self.instances[id].repoint
                && s.now.since(at) >= self.settings.tempo.slave_reconf_timeout
            {
                self.event(s, Level::Notice, "-slave-reconf-sent-timeout", *id, "");
                self.instance_mut(*id).repoint = Repoint::Done;
            }
        }
        let timed_out = s.now.since(since) >= self.settings.failover_timeout_ms;
        let left = others.iter().filter(|id| {
            let replica = &self.instances[*id];
            replica.down_since.is_none() && replica.repoint != Repoint::Done
        });
        if left.count() == 0 || timed_out || fell {
            return self.finish(promoted, &others, timed_out, s);
        }
        let busy = |r: &Repoint| matches!(r, Repoint::Sent(_) | Repoint::InProgress(_));
        let mut busy = others.iter().filter(|id| busy(&self.instances[*id].repoint)).count();
        for id in others {
            let replica = &self.instances[&id];
            let loading = replica.loading || replica.report.as_ref().is_some_and(|r| r.loading);
            let open = replica.repoint == Repoint::None && replica.down_since.is_none() && replica.command.is_up();
            let open = open && !loading && replica.told_at.is_none_or(|at| s.now.since(at) >= TELL_AGAIN_MS);
            if open && busy < self.settings.parallel_syncs as usize {
                self.send(id, Request::Follow(Some(target.clone())), s);
                self.send(id, Request::Info, s);
                let settings = self.settings.clone();
                let replica = self.instance_mut(id);
                replica.repoint = Repoint::Sent(s.now);
                replica.next_info = s.now.plus(replica.info_period_ms(true, &settings, s.now));
                self.event(s, Level::Notice, "+slave-reconf-sent", id, "");
                busy += 1;
            }
        }
    }

    fn finish(&mut self, promoted: InstanceId, others: &[InstanceId], timed_out: bool, s: &mut Shared) {
        let target = self.instances[&promoted].addr.clone();
        if timed_out {
            self.event(s, Level::Warning, "+failover-end-for-timeout", self.primary, "");
            for id in others {
                let replica = &self.instances[id];
                let told = target.faced(self.names_shown);
                if replica.repoint == Repoint::None && self.send(*id, Request::Follow(Some(told)), s) {
                    self.event(s, Level::Notice, "+slave-reconf-sent-be", *id, "");
                }
            }
        }
        let why = match self.instances[&promoted].down_since {
            Some(_) => "no further: the promoted one is down",
            None if timed_out => "failover-timeout is over",
            None => "all that can be reached follow",
        };
        self.timeline.mark(s.now, "replicas re-pointed", why.into());
        self.event(s, Level::Warning, "+failover-end", self.primary, "");
        let epoch = self.config_epoch;
        self.switch(&target, epoch, s);
    }
}

/// Somebody made this replica a primary, and not a configuration before this one. Whoever takes writes under a lease was
/// promoted, also if nobody who is here saw that.
fn promoted(r: &Instance) -> bool {
    holds_lease(r) || (r.role == Role::Primary && r.promoted_by_someone && !r.former_primary)
}
