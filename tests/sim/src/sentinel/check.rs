//! What must never happen, checked at every step, and what must be so once the world has healed.
//! Sees only what leaves a process (requests, replies, events) and the data nodes' roles; never the machines' plans.

use super::world::World;
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
    votes: BTreeMap<(String, usize, u64), String>,
    leaders: BTreeMap<(usize, u64), NodeId>,
    epochs: BTreeMap<(String, String), (u64, u64)>,
    primaries: BTreeMap<(String, u64), Addr>,
    forced: bool,
    refusing: bool,
    anew: bool,
    /// How old what a sentinel knows about a candidate may be.
    pub patience_ms: u64,
}

impl Checker {
    fn violation(&mut self, now: u64, text: String) {
        self.violations.push(format!("at {now} ms: {text}"));
    }

    /// An operator asks for a failover without an election: two leaders of one epoch are then his doing.
    pub fn forced_failovers(&mut self) {
        self.forced = true;
    }

    /// See above; each of them may tell of the same promotion.
    #[must_use]
    pub fn were_forced(&self) -> bool {
        self.forced
    }

    /// A disk refuses writes: whoever asks for what rests on them may hear so.
    pub fn disks_refuse(&mut self) {
        self.refusing = true;
    }

    /// A sentinel watches that primary anew, and knows of no configuration.
    pub fn watched_anew(&mut self, me: &str, name: &str) {
        self.epochs.remove(&(me.to_owned(), name.to_owned()));
        self.anew = true;
    }

    /// Who was elected last for that primary.
    #[must_use]
    pub fn last_leader(&self, group: usize) -> Option<NodeId> {
        self.leaders.range((group, 0)..(group + 1, 0)).next_back().map(|(_, id)| *id)
    }

    fn vote(&mut self, now: u64, (voter, group): (&str, usize), leader: &str, epoch: u64) {
        let first = self.votes.entry((voter.to_owned(), group, epoch)).or_insert_with(|| leader.to_owned());
        if first != leader {
            let text = format!("{} voted twice in epoch {epoch}: {} and {}", tail(voter), tail(first), tail(leader));
            self.violation(now, text);
        }
    }

    /// A reply to a question about a primary leaves a sentinel.
    pub fn on_vote_reply(&mut self, now: u64, voter: (&str, usize), request: &Request, reply: &Reply) {
        if !matches!(request, Request::AskDown { .. }) {
            return;
        }
        match DownAnswer::parse(reply).and_then(|answer| answer.vote) {
            Some((leader, epoch)) => self.vote(now, voter, &leader, epoch.0),
            None if reply.error().is_some() && !self.refusing => {
                self.violation(now, format!("a peer's question got {reply:?}"))
            }
            None => {}
        }
    }

    /// A request leaves a sentinel; a question is about that group's primary.
    pub fn on_request(&mut self, now: u64, (me, group): (&str, usize), request: &Request) {
        match request {
            Request::AskDown { candidate: Some(candidate), epoch, .. } if candidate == me => {
                self.vote(now, (me, group), me, epoch.0);
            }
            Request::Hello(text) => {
                let Some(hello) = Hello::parse(text) else {
                    return self.violation(now, format!("a hello nobody can read: {text}"));
                };
                let seen = self.epochs.entry((me.to_owned(), hello.name.clone())).or_default();
                let before = *seen;
                *seen = (hello.epoch.0.max(before.0), hello.config_epoch.0.max(before.1));
                if hello.epoch.0 < before.0 || hello.config_epoch.0 < before.1 {
                    self.violation(now, format!("epochs of {} fell: {before:?}, now {text}", tail(me)));
                }
                let (epoch, primary) = (hello.config_epoch.0, hello.primary);
                let first = self.primaries.entry((hello.name.clone(), epoch)).or_insert_with(|| primary.clone());
                // What an operator names is of no election.
                let named = self.anew && epoch == 0;
                if *first != primary && !self.forced && !named {
                    let text = format!("two primaries of {} in epoch {epoch}: {first} and {primary}", hello.name);
                    self.violation(now, text);
                }
            }
            _ => {}
        }
    }

    /// An order leaves a sentinel: one that it has given up meanwhile must not.
    pub fn on_order(&mut self, now: u64, me: &str, request: &Request, stands: bool) {
        if let (Request::Follow(to), false) = (request, stands) {
            let to = to.as_ref().map_or("NO ONE".to_owned(), Addr::to_string);
            self.violation(now, format!("{} tells a node to follow {to}, which it has given up", tail(me)));
        }
    }

    /// An event leaves a sentinel.
    pub fn on_event(&mut self, now: u64, (id, group): (NodeId, usize), notice: &Notice, epoch: Option<Epoch>) {
        match notice.name {
            "+switch-master" => self.switches += 1,
            "+promoted-slave" => self.announced += 1,
            "+elected-leader" if !self.forced => {
                let Some(Epoch(epoch)) = epoch else { return };
                if let Some(other) = self.leaders.insert((group, epoch), id).filter(|other| *other != id) {
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

    /// A sentinel has chosen a node: since when it has been loading or syncing in truth, and whether it was ever in sync.
    pub fn on_selection(&mut self, now: u64, id: NodeId, unfit_since: Option<u64>, synced: bool) {
        if let Some(since) = unfit_since.filter(|since| now - since > self.patience_ms) {
            self.violation(now, format!("data{id} is to be promoted and has been loading since {since} ms"));
        }
        if !synced {
            self.violation(now, format!("data{id} is to be promoted and was never in sync"));
        }
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
    (0..world.shape.primaries).find_map(|group| unsettled_group(world, group))
}

fn unsettled_group(world: &World, group: usize) -> Option<String> {
    let mut primary: Option<(Addr, u64)> = None;
    for id in world.sentinel_ids() {
        let monitor = world.monitor(id, group)?;
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
    for id in world.nodes_of(group) {
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
