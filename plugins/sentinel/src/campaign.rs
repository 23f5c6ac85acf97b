//! The way to a failover: when this sentinel stands, how its candidacy goes, and what follows from being elected.
//! When to stand and who has won is the election strategy's advice; that a vote is given once is ballot.rs'.

use crate::actions::{CRASH_AFTER_ELECTION, Consult, Counsel, Shared};
use crate::ballot::{Candidacy, Hold};
use crate::election::{Advice, Question, majority};
use crate::events::Level;
use crate::failover::Failover;
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::select::Candidate;
use crate::types::{Epoch, Kind, Mono};

/// A campaign without a result ends after this long (or failover-timeout, if that is shorter), or after the election
/// timeout while somebody who can be reached hasn't answered: a vote has to get onto a disk first.
pub(crate) const CAMPAIGN_MS: u64 = 1_000;

/// Why a sentinel at `Epoch::LAST` doesn't stand.
pub(crate) const NO_EPOCH: &str = "the epochs are used up";

impl Monitor {
    pub(crate) fn campaign_limit_ms(&self, epoch: Epoch) -> u64 {
        let open = |i: &Instance| {
            i.command.is_up() && i.down_since.is_none() && i.pending > 0 && i.asked_for_vote != Some(epoch)
        };
        let limit = if self.of(Kind::Sentinel).any(open) { self.settings.tempo.election_timeout } else { CAMPAIGN_MS };
        limit.min(self.settings.failover_timeout_ms)
    }

    /// Peers that would answer a question now. One that fell silent together with the primary isn't down yet when the
    /// primary is: its rank would be waited for, and a vote of it hoped for, in vain.
    pub(crate) fn reachable_peers(&self, now: Mono) -> impl Iterator<Item = &Instance> {
        let silence = (self.settings.down_after_ms / 4 * 3).max(100);
        self.of(Kind::Sentinel)
            .filter(move |i| i.command.is_up() && i.down_since.is_none() && now.since(i.last_valid) < silence)
    }

    /// Everybody who can be reached voted for somebody else in this epoch, and won't take it back.
    pub(crate) fn nothing_to_hope_for(&self, epoch: Epoch, s: &Shared) -> bool {
        let elsewhere = |i: &Instance| i.vote.as_ref().is_some_and(|(leader, at)| *at == epoch && *leader != s.id);
        let mut peers = self.reachable_peers(s.now).peekable();
        peers.peek().is_some() && peers.all(elsewhere)
    }

    pub(crate) fn consider_standing(&mut self, s: &mut Shared) {
        if self.odown_since.is_none() {
            self.ballot.candidacy = Candidacy::None;
            self.ballot.attempts = 0;
            (self.ballot.tried, self.ballot.refused) = (None, None);
            self.ballot.confirmed = false;
            self.ballot.abstains = None;
            return;
        }
        if s.now < self.ballot.next_attempt || self.ballot.hold.is_some() || !self.fresh(s.now) || self.in_vain(s.now) {
            self.ballot.candidacy = Candidacy::None;
            return;
        }
        match self.ballot.candidacy {
            Candidacy::None => {
                let peers = self.reachable_peers(s.now).map(|i| i.run_id.clone());
                let mut usable: Vec<String> = peers.chain([s.id.clone()]).collect();
                usable.sort();
                let (primary, me) = (self.name.clone(), s.id.clone());
                let (write_ms, confirmed) = (s.write_ms, self.ballot.confirmed);
                let primary_addr = Some(self.primary().addr.clone().into());
                let question = Question::Stand { primary, me, usable, write_ms, confirmed, primary_addr };
                let ticket = self.consult(Consult::Election(question), s);
                self.ballot.candidacy = Candidacy::Asked(ticket);
            }
            Candidacy::At(at) if s.now >= at && !self.asked_for_vote() => self.stand(false, s),
            Candidacy::At(_) | Candidacy::Asked(_) => {}
        }
    }

    /// Since the last try, whoever's it was, no replica has become one that could be promoted. As in Redis another one
    /// follows after twice the failover-timeout: each costs an epoch, and says so to operators.
    fn in_vain(&self, now: Mono) -> bool {
        let again = self.settings.failover_timeout_ms.saturating_mul(2);
        let lately = self.ballot.tried.is_some_and(|at| now.since(at) < again);
        lately && self.somebody_promoted().is_none() && {
            let request = self.selection_request(now);
            let refused = self.ballot.refused.as_ref().is_some_and(|before| unchanged(before, &request.candidates));
            refused || request.candidates.iter().all(|c| request.unfit(c).is_some())
        }
    }

    /// Begins a failover. One that an operator asked for needs no election.
    pub(crate) fn stand(&mut self, forced: bool, s: &mut Shared) {
        let Some(epoch) = s.epoch.next() else {
            self.ballot.candidacy = Candidacy::None;
            return self.on_abstention(NO_EPOCH, s);
        };
        s.epoch = epoch;
        s.durable();
        self.ballot.candidacy = Candidacy::None;
        if forced {
            self.timeline.begin(s.now, "failover asked for", format!("by an operator, epoch {epoch}"));
        } else {
            self.ballot.tried = Some(s.now);
            let tries = self.ballot.attempts.saturating_add(1);
            self.timeline.mark(s.now, "candidacy", format!("in epoch {epoch}, try {tries}"));
        }
        s.emit(Level::Warning, "+new-epoch", format!("{epoch}"), &self.settings);
        self.event(s, Level::Warning, "+try-failover", self.primary, "");
        let me = s.id.clone();
        self.cast(&me, epoch, s);
        self.failover = Failover::Campaign { epoch, since: s.now };
        if forced {
            // The others weren't asked: should this sentinel end behind its promotion, they have an eye on the primary.
            self.hello_now(s.now);
            return self.on_elected(true, s);
        }
        self.ask_now(s.now);
        self.evaluate_campaign(s);
    }

    pub(crate) fn evaluate_campaign(&mut self, s: &mut Shared) {
        let Failover::Campaign { epoch, .. } = self.failover else { return };
        let mut votes = vec![(s.id.clone(), s.id.clone())];
        for peer in self.of(Kind::Sentinel) {
            if let Some((leader, at)) = &peer.vote
                && *at == epoch
            {
                votes.push((peer.run_id.clone(), leader.clone()));
            }
        }
        let question = Question::Campaign {
            primary: self.name.clone(),
            me: s.id.clone(),
            epoch: epoch.0,
            voters: self.voters(),
            quorum: self.settings.quorum,
            votes,
        };
        self.ballot.campaign_ticket = self.consult(Consult::Election(question), s);
    }

    pub(crate) fn on_campaign_advice(&mut self, advice: &Counsel, s: &mut Shared) {
        let Failover::Campaign { epoch, .. } = self.failover else { return };
        match advice {
            Counsel::Election(Advice::Won) if self.own_votes(epoch, s) >= majority(self.voters()) => {
                self.on_elected(false, s);
            }
            Counsel::Election(Advice::Won) => self.on_baseless_win(epoch, s),
            Counsel::Election(Advice::Lost { leader, reason }) => {
                s.log(Level::Notice, format!("{}: not elected: {reason}", self.name));
                if let Some(leader) = leader {
                    let (leader, now, until) = (leader.clone(), s.now, s.now.plus(3_500));
                    self.ballot.hold = Some(Hold { leader, epoch, granted: now, since: now, until });
                }
                self.abort("-failover-abort-not-elected", s);
            }
            Counsel::Failed(reason) => {
                s.log(Level::Warning, format!("{}: election strategy failed: {reason}", self.name));
            }
            _ => {}
        }
    }

    /// Votes for this sentinel in its campaign, its own included.
    fn own_votes(&self, epoch: Epoch, s: &Shared) -> u32 {
        1 + self.of(Kind::Sentinel).filter(|i| i.vote.as_ref() == Some(&(s.id.clone(), epoch))).count() as u32
    }

    /// Without a majority there could be a second leader in this epoch, whatever the strategy thinks: it goes on as open.
    fn on_baseless_win(&mut self, epoch: Epoch, s: &mut Shared) {
        if self.ballot.baseless == epoch {
            return;
        }
        self.ballot.baseless = epoch;
        let (votes, voters, strategy) = (self.own_votes(epoch, s), self.voters(), &self.settings.election);
        let text = format!(
            "{}: the election strategy '{strategy}' says that epoch {epoch} is won, with {votes} of {voters} votes: not \
             believed before there is a majority",
            self.name
        );
        s.log(Level::Warning, text);
    }

    fn on_elected(&mut self, forced: bool, s: &mut Shared) {
        let Failover::Campaign { epoch, .. } = self.failover else { return };
        let votes = self.own_votes(epoch, s);
        self.timeline.mark(s.now, "elected", format!("{votes} of {} votes", self.voters()));
        self.event(s, Level::Warning, "+elected-leader", self.primary, "");
        s.maybe_crash(CRASH_AFTER_ELECTION);
        self.event(s, Level::Warning, "+failover-state-select-slave", self.primary, "");
        self.begin_selection(epoch, forced, s);
    }

    pub(crate) fn begin_selection(&mut self, epoch: Epoch, forced: bool, s: &mut Shared) {
        self.failover = Failover::Select { epoch, since: s.now, ticket: None, forced };
        // What the replicas say behind the election counts: another leader may have promoted one a moment ago.
        for id in self.of(Kind::Replica).map(|r| r.id).collect::<Vec<_>>() {
            self.instance_mut(id).next_info = s.now;
            self.send_periodic(id, s);
        }
        if forced {
            // A replica that it has had for less than an INFO's period may not be known here. It would be left with the old
            // primary, and never be found: the new one doesn't list it.
            self.primary_mut().next_info = s.now;
            self.send_periodic(self.primary, s);
        }
        self.drive(s);
    }
}

/// Nothing that a strategy may go by is another, but ages.
fn unchanged(before: &[Candidate], now: &[Candidate]) -> bool {
    let ageless = |c: &Candidate| Candidate { silent_ms: 0, info_age_ms: None, link_down_ms: 0, ..c.clone() };
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| ageless(a) == ageless(b))
}
