//! What a sentinel believes and what it would do, in sentences with numbers: SENTINEL EXPLAIN and FAILOVER … DRYRUN.
//! The choice is the selection strategy's, asked as for a real failover; only FAILOVER itself changes anything.

use crate::actions::{Action, Consult, Counsel, Shared};
use crate::election::majority;
use crate::handover::Way;
use crate::info::Role;
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::namesake;
use crate::select::Ranked;
use crate::types::{Kind, Mono};
use crate::wire::Reply;
use keystead_plugin::services::selection::Addr;

/// Hellos older than this confirm nothing (ballot.rs counts the same way).
const AGE: &str = "the last 6 s";

/// What a client waits for while the selection strategy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SENTINEL EXPLAIN
    Explain,
    /// SENTINEL FAILOVER name DRYRUN
    DryRun,
    /// SENTINEL FAILOVER name [FORCE | COORDINATED]
    Failover(Way),
}

impl Monitor {
    /// Asks the selection strategy on behalf of a client.
    pub(crate) fn wish(&mut self, client: u64, wish: Wish, s: &mut Shared) {
        let request = self.selection_request(s.now);
        let ticket = self.consult(Consult::Selection(request), s);
        self.wishes.insert(ticket, (client, wish));
    }

    pub(crate) fn grant_wish(&mut self, client: u64, wish: Wish, advice: &Counsel, s: &mut Shared) {
        let lines = |lines: Vec<String>| Reply::Array(lines.into_iter().map(Reply::Bulk).collect());
        let reply = match advice {
            Counsel::Failed(reason) => Reply::Error(format!("ERR the selection strategy failed: {reason}")),
            Counsel::Election(_) => Reply::Error("ERR the selection strategy gave no choice".into()),
            Counsel::Selection(ranked) => {
                let fit = ranked.clone().only_fit(&self.selection_request(s.now));
                let awake = |way| match self.would_hand_over(way) {
                    true => self.only_awake(fit.clone(), s.now),
                    false => fit.clone(),
                };
                match wish {
                    Wish::Explain => {
                        let mut told = explain(self, &s.id, s.now, &fit);
                        told.extend(
                            s.disk.fault(s.now).map(|fault| format!("blocked: this sentinel can't vote: {fault}")),
                        );
                        told.extend(namesake::line(s));
                        lines(told)
                    }
                    Wish::DryRun => lines(rehearse(self, &awake(Way::Best))),
                    Wish::Failover(way) => {
                        let reply = self.fail_over_by_hand(&awake(way), way, s);
                        if reply.error().is_none() {
                            self.asker = self.failover.asked_for().map(|epoch| (client, epoch));
                        }
                        reply
                    }
                }
            }
        };
        let promises = matches!(wish, Wish::Failover(_)) && reply.error().is_none();
        s.out.push(Action::Reply { ticket: client, reply, promises });
    }
}

/// Who could be promoted, and why each other one couldn't.
fn choice(monitor: &Monitor, ranked: &Ranked) -> Vec<String> {
    let find = |addr: &Addr| monitor.of(Kind::Replica).find(|r| r.addr == *addr);
    let order = ranked.order.iter().enumerate().map(|(n, addr)| {
        let (offset, priority) =
            find(addr).and_then(|r| r.report.as_ref()).map_or((0, 0), |report| (report.offset, report.priority));
        let place = if n == 0 { "would be promoted".to_owned() } else { format!("is number {}", n + 1) };
        let why = ranked.why.iter().find(|(other, _)| other == addr).map(|(_, why)| why.clone());
        let why = why.unwrap_or_else(|| format!("priority {priority}, offset {offset}"));
        format!("replica {addr} {place}: {why}")
    });
    let refused =
        ranked.refused.iter().map(|(addr, reason)| format!("replica {addr} would not be promoted: it {reason}"));
    order.chain(refused).collect()
}

/// What a manual failover would do, without doing it.
#[must_use]
pub fn rehearse(monitor: &Monitor, ranked: &Ranked) -> Vec<String> {
    let mut lines = choice(monitor, ranked);
    let Some(best) = ranked.order.first() else {
        lines.push("nothing would happen: NOGOODSLAVE No suitable replica to promote".into());
        return lines;
    };
    let (up, down): (Vec<_>, Vec<_>) =
        monitor.of(Kind::Replica).filter(|r| r.addr != *best).partition(|r| r.down_since.is_none());
    let names = |list: &[&Instance]| list.iter().map(|r| r.addr.to_string()).collect::<Vec<_>>().join(", ");
    if !up.is_empty() {
        let at_a_time = monitor.settings.parallel_syncs;
        lines.push(format!("{} would follow {best}, {at_a_time} at a time", names(&up)));
    }
    if !down.is_empty() {
        lines.push(format!("{} would be told to follow it when back", names(&down)));
    }
    let old = monitor.primary();
    if monitor.would_hand_over(Way::Best) {
        lines.push(format!("{} would hand over: writes wait until {best} has them all", old.addr));
        return lines;
    }
    let lag = old.report.as_ref().map(|_| offset(old));
    let ahead =
        lag.zip(monitor.of(Kind::Replica).find(|r| r.addr == *best)).map(|(of, r)| of.saturating_sub(offset(r)));
    if let Some(bytes) = ahead.filter(|bytes| *bytes > 0) {
        lines.push(format!("{bytes} bytes of the primary's stream are not known to have reached it"));
    }
    lines.push(format!("{} would be told to follow it when it answers", old.addr));
    lines
}

fn offset(i: &Instance) -> u64 {
    i.report.as_ref().map_or(0, |report| report.offset)
}

/// Everything about one primary.
#[must_use]
pub fn explain(monitor: &Monitor, me: &str, now: Mono, ranked: &Ranked) -> Vec<String> {
    let mut lines = vec![primary(monitor, now), configuration(monitor, now), strategies(monitor)];
    let vote = &monitor.ballot.leader;
    let voted = match vote.as_str() {
        "" => "has given no vote".to_owned(),
        leader if leader == me => format!("voted for itself in epoch {}", monitor.ballot.leader_epoch),
        leader => format!("voted for {leader} in epoch {}", monitor.ballot.leader_epoch),
    };
    lines.push(format!("sentinel {me} (this one) {voted}"));
    lines.extend(monitor.of(Kind::Sentinel).map(|i| peer(monitor, i, now)));
    lines.extend(monitor.complaint_lines());
    lines.extend(monitor.refused_lines(now));
    lines.extend(monitor.late_lines());
    lines.extend(monitor.aging_lines(now));
    lines.extend(monitor.spread_lines());
    lines.extend(monitor.discord_lines());
    lines.extend(choice(monitor, ranked));
    lines.extend(asked_for(monitor, now, ranked));
    lines.extend(failover(monitor, now));
    lines.extend(blockers(monitor, now, ranked));
    lines
}

fn state(i: &Instance, now: Mono) -> String {
    let why = i.trouble.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    match i.down_since {
        Some(at) => format!("down since {} ms{why}", now.since(at)),
        None if !i.command.is_up() => format!("not connected, not yet down{why}"),
        None if i.loading => "loading its data".into(),
        None => "up".into(),
    }
}

fn primary(monitor: &Monitor, now: Mono) -> String {
    let i = monitor.primary();
    let role = if i.role == Role::Primary { "master" } else { "slave" };
    let circle = if monitor.circle().is_some() { " (REPLICAOF in a circle: nobody is a primary)" } else { "" };
    let answered = if i.answered { "" } else { ", has not answered as this configuration's primary yet" };
    format!(
        "primary {} is {}: last valid answer {} ms ago (down after {} ms), reports role {role}{circle}{answered}",
        i.addr,
        state(i, now),
        now.since(i.last_valid),
        monitor.settings.down_after_ms
    )
}

fn configuration(monitor: &Monitor, now: Mono) -> String {
    let confirmed = if monitor.confirmed(now) { "confirmed" } else { "not confirmed" };
    format!(
        "configuration epoch {} is {confirmed} by a majority's hellos of {AGE}; {} sentinels are known, {} make a majority",
        monitor.config_epoch,
        monitor.voters(),
        majority(monitor.voters())
    )
}

fn strategies(monitor: &Monitor) -> String {
    let settings = &monitor.settings;
    format!("elections by the strategy '{}', replicas chosen by '{}'", settings.election, settings.selection)
}

fn peer(monitor: &Monitor, i: &Instance, now: Mono) -> String {
    let said = match &i.heard {
        None => "no hello that counts".to_owned(),
        Some(heard) if heard.primary == *monitor.current_addr() && heard.config_epoch == monitor.config_epoch => {
            format!("agrees ({} ms ago)", now.since(heard.at))
        }
        Some(heard) => {
            format!("holds {} in epoch {} ({} ms ago)", heard.primary, heard.config_epoch, now.since(heard.at))
        }
    };
    let vote =
        i.vote.as_ref().map_or(String::new(), |(leader, epoch)| format!(", voted for {leader} in epoch {epoch}"));
    let down = if i.sees_down(now) { ", sees the primary down" } else { "" };
    let kind = if i.keystead { "keystead" } else { "stock" };
    format!("sentinel {} at {} ({kind}) is {}, {said}{down}{vote}", i.run_id, i.addr, state(i, now))
}

fn failover(monitor: &Monitor, now: Mono) -> Vec<String> {
    let mut lines = Vec::new();
    if monitor.failover.in_progress() {
        lines.push(format!("failover led by this sentinel: {}", monitor.failover.wire_name()));
    }
    if let Some(hold) = &monitor.ballot.hold {
        lines.push(format!("{} works on a failover and is left alone for {} ms", hold.leader, hold.until.since(now)));
    }
    lines
}

/// Whom a hand-over would leave out, though a failover without one takes them.
fn asked_for(monitor: &Monitor, now: Mono, ranked: &Ranked) -> Vec<String> {
    if !monitor.would_hand_over(Way::Best) {
        return Vec::new();
    }
    let fit = Ranked { refused: Vec::new(), ..ranked.clone() };
    let refused = monitor.only_awake(fit, now).refused;
    let line = |(addr, reason): &(Addr, String)| format!("the primary would not hand over to {addr}: it {reason}");
    refused.iter().map(line).collect()
}

/// What stands between this moment and a failover.
fn blockers(monitor: &Monitor, now: Mono, ranked: &Ranked) -> Vec<String> {
    let mut lines = Vec::new();
    let usable = 1 + monitor.of(Kind::Sentinel).filter(|i| i.down_since.is_none()).count() as u32;
    let (quorum, needed) = (monitor.settings.quorum, majority(monitor.voters()));
    if usable < quorum {
        lines.push(format!("blocked: {usable} sentinels are usable, the quorum is {quorum}"));
    }
    if usable < needed {
        lines.push(format!("blocked: {usable} sentinels are usable, {needed} of {} must vote", monitor.voters()));
    }
    if monitor.isolated {
        lines.push("blocked: fewer than a majority of the sentinels can be heard".into());
    } else if !monitor.fresh(now) {
        lines.push("blocked: too little heard since this sentinel's own restart, stall or isolation".into());
    }
    if ranked.order.is_empty() {
        lines.push("blocked: no replica can be promoted".into());
    }
    if let Some(reason) = &monitor.ballot.abstains {
        lines.push(format!("blocked: the election strategy '{}' doesn't stand: {reason}", monitor.settings.election));
    }
    if monitor.primary().down_since.is_some() {
        let votes = 1 + monitor.down_votes(now);
        lines.push(format!("{votes} sentinels see the primary down, the quorum is {quorum}"));
        let wait = monitor.ballot.next_attempt.since(now);
        if wait > 0 {
            lines.push(format!("blocked: the next try is due in {wait} ms ({} failed)", monitor.ballot.attempts));
        }
    }
    if lines.is_empty() {
        let agree = format!("{quorum} of {} sentinels see it down and {} vote", monitor.voters(), needed.max(quorum));
        lines.push(format!("if the primary fell now, it would be replaced when {agree}"));
    }
    lines
}
