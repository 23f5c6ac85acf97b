//! What a selection strategy is told of each replica, and what the primary's own data is worth by its replicas' word: both
//! rest on whose history a replica has. Changes nothing; who is chosen is select.rs' and the strategy's.

use crate::actions::Shared;
use crate::events::Level;
use crate::info::{Report, Role};
use crate::instance::{Instance, Lost};
use crate::monitor::Monitor;
use crate::select::{Candidate, Request};
use crate::types::{InstanceId, Kind, Mono};

/// Strategies multiply and add what they are told: no silence or limit is longer than 35,000 years.
const LONGEST_MS: u64 = 1 << 50;
/// INFO tells times in whole seconds.
const SECOND_MS: u64 = 1_000;
/// What clients have written to a primary for longer than this since it lost its data is worth more than what it lost: a
/// replica's word that comes later deposes nobody, and what is to be kept is for an operator to say. Whoever was away for the
/// fall because a host was started again, or all sentinels were, is back within it.
pub(crate) const WITNESS_MS: u64 = 3_600_000;

impl Monitor {
    pub(crate) fn selection_request(&self, now: Mono) -> Request {
        let witness = self.witness();
        let told = self.primary().report.as_ref().filter(|r| r.role == Some(Role::Primary) && witness.is_none());
        Request {
            primary: self.name.clone(),
            down_ms: self.primary().down_since.map(|at| now.since(at)),
            down_after_ms: self.settings.down_after_ms.min(LONGEST_MS),
            primary_addr: Some(self.primary().addr.clone().into()),
            primary_offset: told.map(|r| r.offset),
            candidates: self.of(Kind::Replica).map(|r| self.candidate(r, witness, now)).collect(),
        }
    }

    fn candidate(&self, r: &Instance, witness: Option<&Report>, now: Mono) -> Candidate {
        let report = r.report.clone().unwrap_or_default();
        Candidate {
            addr: r.addr.clone().into(),
            run_id: r.run_id.clone(),
            down: r.down_since.is_some(),
            connected: r.command.is_up(),
            silent_ms: now.since(r.last_valid),
            info_age_ms: r.report.as_ref().map(|_| now.since(r.report_at)),
            priority: report.priority,
            offset: report.offset,
            link_down_ms: self.link_down_ms(&report, witness),
            loading: r.loading || report.loading || report.sync_in_progress,
            synced: r.synced || report.offset > 1,
            is_replica: report.role == Some(Role::Replica) || self.stands_alone(r),
            other_history: self.goes_last(r, &report, witness),
            emptied: witness.is_some_and(|witness| self.emptied(&report, witness)),
            disk_fails: report.disk_fails,
        }
    }

    /// One that has had no link since its own start says nothing about how old its data is, and must not make the others
    /// look old either: it counts like the one that lost its link last. Where the primary lost its data, what there was to
    /// be had ended then.
    fn link_down_ms(&self, report: &Report, witness: Option<&Report>) -> u64 {
        let known = |r: &Report| if r.link_up { Some(0) } else { r.link_down_ms.map(|ms| ms.min(LONGEST_MS)) };
        let others = || self.of(Kind::Replica).filter_map(|r| known(r.report.as_ref()?)).min();
        let ended = witness.and_then(known).unwrap_or(0);
        known(report).or_else(others).unwrap_or(0).saturating_sub(ended)
    }

    /// It says that it is a primary while there is none: a leader or an operator promoted it, and this sentinel didn't see
    /// that, or the node was started again since. Whoever is promoted begins a history; one that says so and goes on with the
    /// primary's is about to end.
    fn stands_alone(&self, r: &Instance) -> bool {
        let Some(report) = r.report.as_ref().filter(|report| report.role == Some(Role::Primary)) else { return false };
        let present = &self.primary().history;
        let own = present.is_empty() || (!report.history.is_empty() && report.history != *present);
        self.odown_since.is_some() && own
    }

    /// Behind everybody else. A replica's history says that only beside one that was in sync, or a witness. One that stands
    /// alone must not wait for that: sentinels that were started again have seen nobody in sync, and it would have the
    /// others' data wiped.
    fn goes_last(&self, r: &Instance, report: &Report, witness: Option<&Report>) -> bool {
        if report.role != Some(Role::Replica) {
            return self.other_history(r);
        }
        match witness {
            Some(witness) => !shares(report, witness),
            None => self.other_history(r) && self.of(Kind::Replica).any(|other| self.in_step(other)),
        }
    }

    /// It has what the primary came back with.
    fn emptied(&self, report: &Report, witness: &Report) -> bool {
        let present = &self.primary().history;
        report.role == Some(Role::Replica) && report.history == *present && !shares(report, witness)
    }

    /// It follows the primary, but keeps what it has: the primary began with less. Nobody refuses a history of his own: as
    /// long as the primary is known with that, it wasn't heard since.
    fn refuses(&self, r: &Instance) -> bool {
        let Instance { addr, history, .. } = self.primary();
        let keeps = |r: &Report| r.primary_lost_data && r.upstream.as_ref() == Some(addr) && r.history != *history;
        r.report.as_ref().is_some_and(keeps)
    }

    /// What it has is not of the primary's present history, as far as anybody can tell.
    fn other_history(&self, r: &Instance) -> bool {
        let Some(report) = &r.report else { return false };
        let present = &self.primary().history;
        let both = [&report.history, &report.history_before];
        let another = !present.is_empty() && !report.history.is_empty() && !both.contains(&present);
        let linked = report.link_up || report.link_down_ms.is_some();
        match report.role == Some(Role::Replica) {
            true => self.refuses(r) || (!linked && another),
            // Started again as its own file says, with old data or none.
            false => r.former_primary || (another && !r.promoted_by_someone),
        }
    }

    /// It was in sync with what the primary has had since it last began.
    fn in_step(&self, r: &Instance) -> bool {
        let Some(report) = r.report.as_ref().filter(|_| r.down_since.is_none()) else { return false };
        let linked = report.link_up || report.link_down_ms.is_some();
        let present = &self.primary().history;
        let same = present.is_empty() || report.history == *present;
        report.role == Some(Role::Replica) && linked && same && r.synced && !self.other_history(r)
    }

    /// Replicas whose word counts.
    fn heard(&self) -> impl Iterator<Item = &Instance> {
        self.of(Kind::Replica).filter(|r| r.down_since.is_none() && r.report_at >= self.knowledge_since)
    }

    /// The primary began with less than its replicas have, and they keep that, whatever keys it has by now: it must not stay
    /// the primary. Without a witness not while a replica of its present history is in sync: then the other one is just old.
    pub(crate) fn data_lost(&self) -> bool {
        let addr = &self.primary().addr;
        let follows = |r: &Report| r.link_up && r.upstream.as_ref() == Some(addr);
        let masked = || self.heard().any(|r| self.in_step(r) && r.report.as_ref().is_some_and(follows));
        let refused = self.heard().any(|r| self.refuses(r) && self.in_time(r));
        refused && (self.witness().is_some() || !masked())
    }

    /// How long the primary has been taking writes without what this one keeps, as of the last that both said; nothing: nobody
    /// knows. One that was started again with data began with nothing before that, and at most when this one lost it. One
    /// that doesn't say when it was started was just now.
    fn loss_age_ms(&self, r: &Instance) -> Option<u64> {
        let (of, report) = (self.primary().report.as_ref()?, r.report.as_ref()?);
        if of.goes_on() { report.link_down_ms } else { Some(of.uptime_ms.unwrap_or(0)) }
    }

    /// What it keeps isn't older than what the primary's clients may want to lose for it.
    fn in_time(&self, r: &Instance) -> bool {
        self.primary().report.is_none() || self.loss_age_ms(r).is_some_and(|ms| ms <= WITNESS_MS)
    }

    /// Its word comes too late to depose the primary, or others speak against it: why, in a sentence.
    fn comes_late(&self, r: &Instance) -> Option<String> {
        let keeps = "keeps data that the primary came back without, but";
        if self.refuses(r) && self.in_time(r) && !self.data_lost() {
            return Some(format!(
                "replica {} {keeps} others are in sync with what the primary has now: it isn't deposed for that; REPLICAOF, \
                 said to the replica again, gives that data up",
                r.addr
            ));
        }
        if !self.refuses(r) || self.in_time(r) {
            return None;
        }
        let age = match self.loss_age_ms(r) {
            Some(ms) => format!("for {} s", ms / SECOND_MS),
            None => "for nobody knows how long".into(),
        };
        Some(format!(
            "replica {} {keeps} the primary has taken writes {age} since (limit {} s): it isn't deposed for that; \
             REPLICAOF, said to the replica again, gives that data up",
            r.addr,
            WITNESS_MS / SECOND_MS
        ))
    }

    /// For EXPLAIN.
    pub(crate) fn late_lines(&self) -> Vec<String> {
        self.heard().filter_map(|r| self.comes_late(r)).collect()
    }

    /// Each that comes too late is told once.
    pub(crate) fn warn_of_late(&mut self, id: InstanceId, s: &mut Shared) {
        let late = self.comes_late(&self.instances[&id]);
        let told = std::mem::replace(&mut self.instance_mut(id).late, late.is_some());
        if let Some(text) = late.filter(|_| !told) {
            s.log(Level::Warning, format!("{}: {text}", self.name));
        }
    }

    /// What a replica says that had everything until the primary's process ended, and refuses what the next one began with:
    /// nobody who follows the primary by now can have it. Of several the one with most; one that is never promoted would
    /// help nobody.
    fn witness(&self) -> Option<&Report> {
        let saw = self.heard().filter(|r| self.refuses(r) && self.saw_the_end(r) && self.in_time(r));
        let saw = saw.filter_map(|r| r.report.as_ref());
        saw.filter(|report| report.priority > 0).max_by_key(|report| report.offset)
    }

    /// It lost its link when the primary's present process began, and that with nothing. One that lost it at any other time
    /// may have slept through more than one start: what it refuses may be newer than what it has. Between two processes of
    /// a primary that wasn't seen down lies down-after at most, and as much may pass until the end of a host is noticed.
    fn saw_the_end(&self, r: &Instance) -> bool {
        let primary = self.primary();
        let (Some(of), Some(report)) = (&primary.report, &r.report) else { return false };
        if of.role == Some(Role::Primary) && !of.goes_on() && self.fell_with_it(r, report) {
            return true;
        }
        let (Some(running), Some(down)) = (of.uptime_ms, report.link_down_ms) else { return false };
        // In this sentinel's time, which is younger than they may be.
        let before = |at: Mono, ms: u64| i128::from(at.0) - i128::from(ms);
        let apart = before(primary.report_at, running).abs_diff(before(r.report_at, down));
        let limit = self.settings.down_after_ms.saturating_add(SECOND_MS);
        of.role == Some(Role::Primary) && !of.goes_on() && apart <= u128::from(limit)
    }

    /// It was started again as well (the power failed), so that its link saw nothing. It was in sync when the primary was last
    /// heard with what it lost, and what its own disk has of that is all there is. A sentinel that fell too knows the history
    /// only.
    fn fell_with_it(&self, r: &Instance, report: &Report) -> bool {
        let slack = self.settings.tempo.info_period.saturating_mul(3);
        let in_time = |heard: Mono| r.in_step.is_some_and(|at| at.plus(slack) >= heard);
        let same = |lost: &Lost| lost.history == report.history && lost.heard.is_none_or(in_time);
        !report.link_up && report.link_down_ms.is_none() && self.primary().lost.iter().any(same)
    }
}

/// What it has goes on with what the witness has, or is a part of that.
fn shares(report: &Report, witness: &Report) -> bool {
    let both = [&report.history, &report.history_before];
    witness.history.is_empty() || both.contains(&&witness.history)
}
