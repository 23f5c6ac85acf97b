//! Votes: giving them, asking for them, and knowing enough to do either.
//! Holds what no strategy may break: one vote an epoch, on disk before it leaves, none on stale knowledge.

use crate::actions::{Action, Claimant, Consult, Counsel, Shared};
use crate::election::{Advice, Question, majority};
use crate::events::Level;
use crate::info::Role;
use crate::instance::{Heard, Instance};
use crate::monitor::Monitor;
use crate::select::Candidate;
use crate::types::{Addr, Epoch, InstanceId, Kind, Mono};
use crate::wire::{DownAnswer, Named, Reply, Request};
use std::collections::BTreeMap;

/// A peer's down-vote counts for this long.
pub const DOWN_VOTE_MS: u64 = 3_000;
/// Hellos that were stuck in the network come in at once when it heals: what is heard so soon confirms nothing.
pub const STALE_HELLO_MS: u64 = 1_000;
/// A strategy that didn't stand is asked again after this long.
const ABSTAINED_MS: u64 = 500;
/// A leader that can be reached and hasn't said that it gave up is left alone for so long: its disk may be slow.
const PATIENCE_MS: u64 = 10_000;

/// What a stock sentinel heard of the primary before a switch it takes for a word about the new one for so long. It pings that
/// late, too: with a short down-after it often begins a second failover of a primary that is well.
const STALE_WORD_MS: u64 = 5_000;

/// After a vote for another: its failover must not be disturbed while it shows that it is at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// For whom.
    pub leader: String,
    /// In which epoch.
    pub epoch: Epoch,
    /// When.
    pub granted: Mono,
    /// Since the vote, or since it showed up last.
    pub since: Mono,
    /// Until then, unless it shows up again.
    pub until: Mono,
}

/// Where the own candidacy stands before it becomes a failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Candidacy {
    /// Not considered.
    #[default]
    None,
    /// The strategy is being asked.
    Asked(u64),
    /// It begins then.
    At(Mono),
}

/// A request for a vote that the strategy is thinking about.
#[derive(Clone, Debug)]
pub(crate) struct PendingVote {
    client: u64,
    epoch: Epoch,
    candidate: String,
    named: bool,
    question: Question,
}

/// Votes and candidacy of one monitor.
#[derive(Clone, Debug)]
pub struct Ballot {
    /// Last vote: for whom (empty: none yet).
    pub leader: String,
    /// Its epoch.
    pub leader_epoch: Epoch,
    /// Whose failover is to be left alone.
    pub hold: Option<Hold>,
    /// No candidacy before.
    pub next_attempt: Mono,
    /// Failed candidacies since the primary went down.
    pub attempts: u32,
    /// The last try since the primary went down: the own one, or of somebody who was voted for.
    pub tried: Option<Mono>,
    /// The replicas of which the selection strategy wanted none.
    pub refused: Option<Vec<Candidate>>,
    /// The own candidacy.
    pub candidacy: Candidacy,
    /// The question about the own campaign that is out.
    pub campaign_ticket: u64,
    /// The strategy said that a campaign was won, without the votes, and that was told: the last such epoch.
    pub baseless: Epoch,
    /// An operator confirmed the failover from this fall (SENTINEL CONFIRM).
    pub confirmed: bool,
    /// Why the strategy doesn't stand, as of its last answer.
    pub abstains: Option<String>,
    pub(crate) votes: BTreeMap<u64, PendingVote>,
}

impl Ballot {
    /// No vote given.
    #[must_use]
    pub fn new(now: Mono) -> Ballot {
        Ballot {
            leader: String::new(),
            leader_epoch: Epoch(0),
            hold: None,
            next_attempt: now,
            attempts: 0,
            tried: None,
            refused: None,
            candidacy: Candidacy::None,
            campaign_ticket: 0,
            baseless: Epoch(0),
            confirmed: false,
            abstains: None,
            votes: BTreeMap::new(),
        }
    }
}

/// A question of a peer, as its command says.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Under which the reply goes out.
    pub client: u64,
    /// The primary it asks about.
    pub primary: Addr,
    /// Its epoch.
    pub epoch: Epoch,
    /// Whom to vote for.
    pub candidate: Option<String>,
    /// The extension of Keystead peers.
    pub named: Option<Named>,
}

impl Monitor {
    // ---------- knowledge

    /// Heard enough since this sentinel's own restart, stall or isolation to decide about others.
    #[must_use]
    pub fn fresh(&self, now: Mono) -> bool {
        if self.isolated || now < self.passive_until {
            return false;
        }
        let heard = 1 + self.of(Kind::Sentinel).filter(|i| i.heard.is_some()).count() as u32;
        heard >= majority(self.voters())
            || now.since(self.knowledge_since) >= self.settings.down_after_ms.saturating_mul(3)
    }

    /// A majority's hellos say the same configuration, recently.
    #[must_use]
    pub fn confirmed(&self, now: Mono) -> bool {
        let primary = self.current_addr();
        let same = |heard: &Heard| {
            heard.config_epoch == self.config_epoch
                && heard.primary == *primary
                && now.since(heard.at) <= self.settings.tempo.publish_period.saturating_mul(3)
                && heard.at >= self.hellos_from
        };
        let agree = 1 + self.of(Kind::Sentinel).filter(|i| i.heard.as_ref().is_some_and(same)).count() as u32;
        !self.isolated && agree >= majority(self.voters())
    }

    // ---------- asked

    /// A peer asks whether the primary is down, and perhaps for a vote.
    pub fn on_ask(&mut self, ask: Ask, s: &mut Shared) {
        let Ask { client, epoch, candidate, named, primary } = ask;
        if let Some(named) = named.as_ref().filter(|named| self.trusts(&named.asker, s)) {
            self.note_asker(named, &primary, candidate.is_none(), s.now);
        }
        let hold_ms = self.hold_ms(candidate.as_deref().unwrap_or_default());
        if let (Some(hold), Some(candidate)) = (&mut self.ballot.hold, &candidate)
            && hold.leader == *candidate
        {
            (hold.since, hold.until) = (s.now, s.now.plus(hold_ms));
        }
        let extended = named.is_some();
        let Some(candidate) = candidate else {
            return self.answer(client, None, extended, s);
        };
        if !self.trusts(&candidate, s) {
            s.log(Level::Notice, format!("{}: no vote for {candidate}: no signed hello named it", self.name));
            return self.answer(client, self.last_vote(), extended, s);
        }
        let from = Claimant { id: &candidate, addr: None, primary: &self.name };
        if !s.see_epoch(epoch, from, &self.settings) || self.ballot.leader_epoch >= epoch || s.epoch > epoch {
            return self.answer(client, self.last_vote(), extended, s);
        }
        if !extended && self.is_well_since_the_switch(s.now) {
            let text = format!("{}: no vote for {candidate}: the primary has answered since the switch", self.name);
            s.log(Level::Notice, text);
            return self.answer(client, self.last_vote(), extended, s);
        }
        let working = self.working_leader(&candidate, s);
        let question = Question::Vote {
            primary: self.name.clone(),
            candidate: candidate.clone(),
            epoch: epoch.0,
            fresh: self.fresh(s.now),
            outdated: named.as_ref().is_some_and(|n| n.config_epoch < self.config_epoch),
            working,
        };
        let ticket = self.consult(Consult::Election(question.clone()), s);
        self.ballot.votes.insert(ticket, PendingVote { client, epoch, candidate, named: extended, question });
    }

    /// The configuration has just changed, and its primary answers here as one.
    fn is_well_since_the_switch(&self, now: Mono) -> bool {
        let primary = self.primary();
        let lately = now.since(primary.last_valid) <= 2 * self.settings.ping_period_ms();
        let well = primary.answered && primary.role == Role::Primary && primary.down_since.is_none() && lately;
        well && self.switched_at.is_some_and(|at| now.since(at) <= STALE_WORD_MS && primary.last_valid > at)
    }

    /// Who works on a failover of this primary: this sentinel, once elected, or the one it voted for.
    fn working_leader(&self, asker: &str, s: &Shared) -> Option<String> {
        if self.failover.elected() {
            return Some(s.id.clone());
        }
        let holds = |hold: &&Hold| s.now < hold.until && self.may_have_won(hold, Some(asker));
        self.ballot.hold.as_ref().filter(holds).map(|hold| hold.leader.clone())
    }

    /// Can the candidate voted for have a majority? Not with those that voted for another in that epoch, that were down
    /// before it, or that stand themselves. A stock candidate that gave up says nothing: this is how its voters see it.
    fn may_have_won(&self, hold: &Hold, asker: Option<&str>) -> bool {
        let elsewhere = |i: &Instance| {
            i.run_id != hold.leader
                && (asker == Some(&*i.run_id)
                    || i.down_since.is_some_and(|at| at <= hold.granted)
                    || i.vote.as_ref().is_some_and(|(leader, epoch)| *epoch == hold.epoch && *leader != hold.leader))
        };
        let lost = self.of(Kind::Sentinel).filter(|i| elsewhere(i)).count() as u32;
        self.voters() - lost >= majority(self.voters())
    }

    /// The asker's question says that it sees the primary down, in which configuration, and whether it campaigns.
    fn note_asker(&mut self, named: &Named, primary: &Addr, only_asks: bool, now: Mono) {
        if only_asks && self.ballot.hold.as_ref().is_some_and(|hold| hold.leader == named.asker) {
            self.ballot.hold = None;
        }
        let same = named.config_epoch == self.config_epoch && *primary == self.primary().addr;
        let heard = Heard { at: now, config_epoch: named.config_epoch, primary: primary.clone() };
        if let Some(peer) = self.of_mut(Kind::Sentinel).find(|i| i.run_id == named.asker) {
            peer.down_vote = if same { Some(now) } else { None };
            peer.heard = Some(heard);
        }
        if same && self.primary().down_since.is_none() {
            self.watch_primary(now);
        }
    }

    fn last_vote(&self) -> Option<(String, Epoch)> {
        (!self.ballot.leader.is_empty()).then(|| (self.ballot.leader.clone(), self.ballot.leader_epoch))
    }

    fn answer(&self, client: u64, vote: Option<(String, Epoch)>, extended: bool, s: &mut Shared) {
        let down = self.primary().down_since.is_some();
        let promises = vote.is_some();
        let (leader, epoch) = vote.unwrap_or(("*".into(), Epoch(0)));
        let number = |n: u64| Reply::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let mut items = vec![Reply::Int(down.into()), Reply::Bulk(leader), number(epoch.0)];
        if extended {
            items.push(number(self.config_epoch.0));
        }
        s.out.push(Action::Reply { ticket: client, reply: Reply::Array(items), promises });
    }

    /// A request that the strategy has not answered is answered with what was voted before.
    pub(crate) fn answer_open(&self, pending: PendingVote, s: &mut Shared) {
        self.answer(pending.client, self.last_vote(), pending.named, s);
    }

    fn on_vote_advice(&mut self, pending: PendingVote, advice: &Counsel, s: &mut Shared) {
        let PendingVote { client, epoch, candidate, named, .. } = pending;
        // Asked again: the strategy may have taken its time, and this is the rule that must not break.
        let free = self.ballot.leader_epoch < epoch && s.epoch <= epoch && !self.failover.elected();
        match advice {
            Counsel::Election(Advice::Grant) if free => {
                self.cast(&candidate, epoch, s);
                self.ballot.tried = Some(s.now);
                let until = s.now.plus(self.hold_ms(&candidate));
                self.ballot.hold = Some(Hold { leader: candidate, epoch, granted: s.now, since: s.now, until });
                self.ballot.candidacy = Candidacy::None;
                if self.failover.in_progress() {
                    // Its own campaign of an older epoch must not be won behind this vote: there would be two leaders.
                    self.abort("-failover-abort-not-elected", s);
                }
            }
            Counsel::Election(Advice::Refuse { reason }) => {
                s.log(Level::Notice, format!("{}: no vote for {candidate} in epoch {epoch}: {reason}", self.name));
            }
            Counsel::Failed(reason) => {
                s.log(Level::Warning, format!("{}: election strategy failed: {reason}", self.name));
            }
            _ => {}
        }
        self.answer(client, self.last_vote(), named, s);
    }

    /// Writes a vote into the record that must be on disk before anybody hears of it.
    pub(crate) fn cast(&mut self, leader: &str, epoch: Epoch, s: &mut Shared) {
        leader.clone_into(&mut self.ballot.leader);
        self.ballot.leader_epoch = epoch;
        s.durable();
        s.emit(Level::Warning, "+vote-for-leader", format!("{leader} {epoch}"), &self.settings);
        if leader != s.id {
            self.timeline.mark_open(s.now, "voted", format!("for {} in epoch {epoch}", self.peer_name(leader)));
        }
    }

    /// A sentinel as a person finds it: by its address, if it is known.
    pub(crate) fn peer_name(&self, id: &str) -> String {
        let known = self.of(Kind::Sentinel).find(|i| i.run_id == id);
        known.map_or_else(|| id.to_owned(), |i| format!("sentinel {}", i.addr.faced(self.names_shown)))
    }

    /// How long a voter keeps still without a sign of the one it voted for. Stock sentinels show up once a second.
    fn hold_ms(&self, leader: &str) -> u64 {
        let keystead = self.of(Kind::Sentinel).any(|i| i.run_id == leader && i.keystead);
        if keystead { (4 * self.ask_period_ms()).max(1500) } else { 3_500 }
    }

    /// Ends a hold whose leader fell silent. One of ours says when it gives up, so while it can be reached it works.
    pub(crate) fn expire_hold(&mut self, now: Mono) {
        let Some(hold) = self.ballot.hold.as_ref().filter(|hold| now >= hold.until) else { return };
        let patience = PATIENCE_MS.min(self.settings.failover_timeout_ms);
        let reachable = |i: &&Instance| i.run_id == hold.leader && i.keystead && i.command.is_up();
        let leader = self.of(Kind::Sentinel).find(reachable).filter(|i| i.down_since.is_none());
        let again = leader.is_some_and(|i| now.since(i.last_valid) <= 2 * self.settings.ping_period_ms());
        let until = (again && now.since(hold.since) < patience).then(|| now.plus(self.ask_period_ms()));
        match until {
            Some(until) => self.ballot.hold.iter_mut().for_each(|hold| hold.until = until),
            None => self.ballot.hold = None,
        }
    }

    // ---------- asking

    fn ask_period_ms(&self) -> u64 {
        self.settings.ping_period_ms().clamp(100, 1000).min(self.settings.tempo.ask_period)
    }

    /// Peers are asked as long as the primary looks down from here.
    pub(crate) fn asks(&self) -> bool {
        self.primary().down_since.is_some()
    }

    /// Ask at the next step, not at the next period.
    pub(crate) fn ask_now(&mut self, now: Mono) {
        for peer in self.of_mut(Kind::Sentinel) {
            peer.next_ask = now;
        }
    }

    pub(crate) fn ask_peers(&mut self, s: &mut Shared) {
        if !self.asks() {
            return;
        }
        let campaign = self.failover.campaign();
        let (candidate, epoch) = match campaign {
            Some(epoch) => (Some(s.id.clone()), epoch),
            None => (None, s.epoch),
        };
        let primary = self.primary();
        let (addr, run_id) = (primary.addr.faced(self.names_shown), primary.run_id.clone());
        let named = Named { asker: s.id.clone(), config_epoch: self.config_epoch, primary_run_id: run_id };
        let due: Vec<(InstanceId, bool)> = self
            .of(Kind::Sentinel)
            .filter(|i| i.command.is_up() && s.now >= i.next_ask)
            .map(|i| (i.id, i.keystead))
            .collect();
        let next = s.now.plus(self.ask_period_ms());
        for (id, keystead) in due {
            self.instance_mut(id).next_ask = next;
            let named = keystead.then(|| named.clone());
            let ask = Request::AskDown { primary: addr.clone(), epoch, candidate: candidate.clone(), named, at: s.now };
            self.send(id, ask, s);
        }
    }

    pub(crate) fn on_down_answer(
        &mut self,
        id: InstanceId,
        asked: &Request,
        reply: &Reply,
        round: u64,
        s: &mut Shared,
    ) {
        // An answer about an earlier configuration says nothing about this one.
        let Request::AskDown { primary, at, .. } = asked else { return };
        if round != self.round || !self.primary().addr.is(&primary.host, primary.port) {
            return;
        }
        let Some(mut answer) = DownAnswer::parse(reply) else { return };
        if let Some((_, epoch)) = answer.vote.take_if(|(_, epoch)| *epoch > s.epoch.reach()) {
            let Instance { run_id, addr, .. } = &self.instances[&id];
            s.doubt(epoch, Claimant { id: run_id, addr: Some(addr), primary: &self.name });
        }
        let same = answer.config_epoch.is_none_or(|epoch| epoch == self.config_epoch);
        let peer = self.instance_mut(id);
        if s.signing.on() && !peer.verified {
            return;
        }
        // Its own question says that it sees the primary down: an answer to what was asked before that takes nothing back.
        let newer = peer.down_vote.filter(|heard| same && *heard >= *at);
        peer.down_vote = if answer.down && same { Some(s.now) } else { newer };
        if let Request::AskDown { epoch, candidate: Some(_), .. } = asked {
            peer.asked_for_vote = Some(*epoch);
        }
        if answer.vote.is_some() {
            peer.vote = answer.vote;
        }
        self.check_objectively_down(s);
        self.evaluate_campaign(s);
    }

    // ---------- strategies

    pub(crate) fn consult(&self, question: Consult, s: &mut Shared) -> u64 {
        let ticket = s.number();
        let strategy = match question {
            Consult::Election(_) => self.settings.election.clone(),
            Consult::Selection(_) => self.settings.selection.clone(),
        };
        s.out.push(Action::Consult { monitor: self.name.clone(), ticket, strategy, question });
        ticket
    }

    /// Another strategy takes over: what is open is asked anew, and answers of the one before no longer count. Votes,
    /// epochs and an operator's word are the monitor's, so there is nothing else to hand over.
    pub(crate) fn strategy_changed(&mut self, s: &mut Shared) {
        for pending in std::mem::take(&mut self.ballot.votes).into_values() {
            let ticket = self.consult(Consult::Election(pending.question.clone()), s);
            self.ballot.votes.insert(ticket, pending);
        }
        self.ask_elections(s.now);
        self.ballot.candidacy = Candidacy::None;
        self.ballot.abstains = None;
        (self.ballot.tried, self.ballot.refused) = (None, None);
        self.ballot.next_attempt = self.ballot.next_attempt.min(s.now.plus(ABSTAINED_MS));
        self.evaluate_campaign(s);
        self.ask_selection_anew(s);
        for (client, wish) in std::mem::take(&mut self.wishes).into_values() {
            self.wish(client, wish, s);
        }
    }

    /// An operator says that this fall is to be followed by a failover.
    ///
    /// # Errors
    /// There is nothing to confirm.
    pub(crate) fn confirm(&mut self, s: &mut Shared) -> Result<(), String> {
        if self.failover.in_progress() {
            return Err("INPROG Failover already in progress".into());
        }
        if self.odown_since.is_none() {
            return Err(format!("ERR {} is not objectively down: there is nothing to confirm", self.name));
        }
        self.ballot.confirmed = true;
        (self.ballot.tried, self.ballot.refused) = (None, None);
        self.ballot.candidacy = Candidacy::None;
        self.ballot.next_attempt = s.now;
        self.timeline.mark(s.now, "confirmed", "by an operator".into());
        self.event(s, Level::Warning, "+failover-confirmed", self.primary, "");
        self.drive(s);
        Ok(())
    }

    /// The strategy doesn't stand. Told once for each reason.
    pub(crate) fn on_abstention(&mut self, reason: &str, s: &mut Shared) {
        self.ballot.next_attempt = s.now.plus(ABSTAINED_MS);
        if self.ballot.abstains.as_deref() != Some(reason) {
            s.log(Level::Warning, format!("{}: no failover yet: {reason}", self.name));
            self.timeline.mark(s.now, "waits", reason.into());
            self.ballot.abstains = Some(reason.into());
        }
    }

    /// A peer's request for a vote is being thought about.
    pub(crate) fn asked_for_vote(&self) -> bool {
        !self.ballot.votes.is_empty()
    }

    /// A strategy answered.
    pub fn on_advice(&mut self, ticket: u64, advice: &Counsel, s: &mut Shared) {
        if let Some(pending) = self.ballot.votes.remove(&ticket) {
            return self.on_vote_advice(pending, advice, s);
        }
        if self.ballot.candidacy == Candidacy::Asked(ticket) {
            self.ballot.candidacy = Candidacy::None;
            match advice {
                Counsel::Election(Advice::StandAfter { ms }) => {
                    self.ballot.candidacy = Candidacy::At(s.now.plus(*ms));
                    self.ballot.abstains = None;
                }
                Counsel::Election(Advice::Abstain { reason }) => self.on_abstention(reason, s),
                Counsel::Failed(reason) => {
                    self.on_abstention(&format!("the election strategy failed: {reason}"), s);
                }
                _ => {}
            }
            return;
        }
        if self.ballot.campaign_ticket == ticket {
            return self.on_campaign_advice(advice, s);
        }
        if let Some((client, wish)) = self.wishes.remove(&ticket) {
            return self.grant_wish(client, wish, advice, s);
        }
        self.on_selection(ticket, advice, s);
    }
}
