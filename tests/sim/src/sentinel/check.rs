//! What must never happen, checked at every step, and what must be so once the world has healed.
//! Sees only what leaves a process (requests, replies, events) and the data nodes' roles; never the machines' plans.

use super::world::{PRIMARY, World};
use super::{data::Link, data::Role, net::NodeId};
use keystead_sentinel::events::Notice;
use keystead_sentinel::hello::Hello;
use keystead_sentinel::types::{Addr, Epoch, Kind};
use keystead_sentinel::wire::{DownAnswer, Reply, Request};
use std::collections::BTreeMap;

/// The checkers' memory.
#[derive(Debug, Default)]
pub struct Checker {
    /// What was wrong.
    pub violations: Vec<String>,
    /// Promotions of data nodes: when, who.
    pub promotions: Vec<(u64, NodeId)>,
    /// `+switch-master` events.
    pub switches: u64,
    /// `+promoted-slave` events.
    pub announced: usize,
    votes: BTreeMap<(String, u64), String>,
    leaders: BTreeMap<u64, NodeId>,
    epochs: BTreeMap<String, (u64, u64)>,
    forced: bool,
}

impl Checker {
    fn violation(&mut self, now: u64, text: String) {
        self.violations.push(format!("at {now} ms: {text}"));
    }

    /// An operator asks for a failover without an election: two leaders of one epoch are then his doing.
    pub fn forced_failovers(&mut self) {
        self.forced = true;
    }

    /// Who was elected last.
    #[must_use]
    pub fn last_leader(&self) -> Option<NodeId> {
        self.leaders.last_key_value().map(|(_, id)| *id)
    }

    fn vote(&mut self, now: u64, voter: &str, leader: &str, epoch: u64) {
        let first = self.votes.entry((voter.to_owned(), epoch)).or_insert_with(|| leader.to_owned());
        if first != leader {
            let text = format!("{} voted twice in epoch {epoch}: {} and {}", tail(voter), tail(first), tail(leader));
            self.violation(now, text);
        }
    }

    /// A reply to a question about a primary leaves a sentinel.
    pub fn on_vote_reply(&mut self, now: u64, voter: &str, request: &Request, reply: &Reply) {
        if !matches!(request, Request::AskDown { .. }) {
            return;
        }
        match DownAnswer::parse(reply).and_then(|answer| answer.vote) {
            Some((leader, epoch)) => self.vote(now, voter, &leader, epoch.0),
            None if reply.error().is_some() => self.violation(now, format!("a peer's question got {reply:?}")),
            None => {}
        }
    }

    /// A request leaves a sentinel.
    pub fn on_request(&mut self, now: u64, me: &str, request: &Request) {
        match request {
            Request::AskDown { candidate: Some(candidate), epoch, .. } if candidate == me => {
                self.vote(now, me, me, epoch.0);
            }
            Request::Hello(text) => {
                let Some(hello) = Hello::parse(text) else {
                    return self.violation(now, format!("a hello nobody can read: {text}"));
                };
                let seen = self.epochs.entry(me.to_owned()).or_default();
                let before = *seen;
                *seen = (hello.epoch.0.max(before.0), hello.config_epoch.0.max(before.1));
                if hello.epoch.0 < before.0 || hello.config_epoch.0 < before.1 {
                    self.violation(now, format!("epochs of {} fell: {before:?}, now {text}", tail(me)));
                }
            }
            _ => {}
        }
    }

    /// An event leaves a sentinel.
    pub fn on_event(&mut self, now: u64, id: NodeId, notice: &Notice, epoch: Option<Epoch>) {
        match notice.name {
            "+switch-master" => self.switches += 1,
            "+promoted-slave" => self.announced += 1,
            "+elected-leader" if !self.forced => {
                let Some(Epoch(epoch)) = epoch else { return };
                if let Some(other) = self.leaders.insert(epoch, id).filter(|other| *other != id) {
                    self.violation(now, format!("two leaders in epoch {epoch}: processes {other} and {id}"));
                }
            }
            _ => {}
        }
    }

    /// A data node became a primary.
    pub fn on_promotion(&mut self, now: u64, id: NodeId) {
        self.promotions.push((now, id));
    }

    /// A data node was told to follow another: the primary of the newest configuration must not be demoted by a
    /// sentinel that holds an older one.
    pub fn on_follow(
        &mut self,
        now: u64,
        id: NodeId,
        told: (&Addr, &Addr),
        teller: Option<(u64, bool)>,
        best: Option<(u64, Addr)>,
    ) {
        let (Some((holds, leads)), Some((epoch, primary))) = (teller, best) else { return };
        let (node, to) = told;
        if primary == *node && to != node && holds < epoch && !leads {
            let text = format!("data{id}, primary of epoch {epoch}, was demoted by a sentinel of epoch {holds}");
            self.violation(now, text);
        }
    }
}

fn tail(id: &str) -> &str {
    &id[id.len().saturating_sub(2)..]
}

/// Why the healed world has not settled; nothing when it has.
#[must_use]
pub fn unsettled(world: &World) -> Option<String> {
    let mut primary: Option<(Addr, u64)> = None;
    for id in world.sentinel_ids() {
        let sentinel = world.sentinel(id)?;
        let monitor = sentinel.monitors().get(PRIMARY)?;
        let view = (monitor.primary().addr.clone(), monitor.config_epoch.0);
        if monitor.failover.in_progress() || monitor.primary().down_since.is_some() {
            return Some(format!("{} is busy or sees the primary down", world.name(id)));
        }
        if monitor.voters() as usize != world.shape.sentinels {
            return Some(format!("{} knows {} sentinels", world.name(id), monitor.voters()));
        }
        if monitor.of(Kind::Replica).count() + 1 != world.shape.data_nodes {
            return Some(format!("{} does not know all replicas", world.name(id)));
        }
        if monitor.of(Kind::Replica).any(|r| r.down_since.is_some()) {
            return Some(format!("{} sees a replica down", world.name(id)));
        }
        if primary.get_or_insert_with(|| view.clone()) != &view {
            return Some(format!("{} holds {view:?}, others {primary:?}", world.name(id)));
        }
    }
    let (addr, _) = primary?;
    for id in 0..world.shape.data_nodes {
        let node = world.data(id);
        let good = match &node.role {
            Role::Primary => node.addr == addr,
            Role::Replica(of) => node.addr != addr && *of == addr && matches!(node.link, Link::Up(_)),
        };
        if !good {
            return Some(format!("data{id} is {:?} ({:?}), the primary is {addr}", node.role, node.link));
        }
    }
    None
}
