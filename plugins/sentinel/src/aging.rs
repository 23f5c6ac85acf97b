//! Sentinels and replicas that are gone for good: forgotten by an operator (FORGET), or, with `forget-sentinels-after` and
//! `forget-replicas-after`, once a majority of all known sentinels, the dead ones included, has missed one for so long.
//! Nothing else makes the majority smaller (one that lost its state takes the place of its old id, gossip.rs): a minority
//! can ask as long as it likes. A former primary that wasn't seen as a replica since is never forgotten: it comes back as
//! a primary, and must be told. Owns that question (`SENTINEL IS-GONE`) and its count; only Keystead peers are asked,
//! stock ones count as against it.

use crate::actions::Shared;
use crate::election::majority;
use crate::events::Level;
use crate::failover::Failover;
use crate::instance::Instance;
use crate::machine::Sentinel;
use crate::monitor::Monitor;
use crate::types::{InstanceId, Kind, Mono};
use crate::wire::{Reply, Request};

/// Peers are asked about one that is missed this often.
const ASK_MS: u64 = 5_000;
/// An answer counts for so long.
const WORD_MS: u64 = 3 * ASK_MS;
/// Forgotten ones remembered: who has forgotten one agrees with those who are about to.
const MAX_FORGOTTEN: usize = 64;

impl Sentinel {
    /// `SENTINEL IS-GONE name id`: 1 if this sentinel has missed that one for so long too, or has forgotten it.
    pub(crate) fn is_gone(&self, name: &str, id: &str) -> Result<Reply, String> {
        let monitor = self.monitors.get(name).ok_or("ERR No such master with that name")?;
        let called = |i: &&Instance| match i.kind {
            Kind::Replica => i.addr.is_written(id), // by an older peer, too
            _ => word(i).is_some_and(|word| word == id),
        };
        let known = monitor.instances.values().find(called);
        let gone = match known {
            Some(instance) => monitor.missed(instance, self.shared.now),
            None => monitor.forgotten.iter().any(|other| other == id),
        };
        Ok(Reply::Int(gone.into()))
    }

    /// `SENTINEL FORGET name id`: an operator says who is gone for good, to each sentinel of the group.
    pub(crate) fn forget(&mut self, name: &str, id: &str) -> Result<Reply, String> {
        let monitor = self.monitors.get_mut(name).ok_or("ERR No such master with that name")?;
        let found = monitor.instances.values().find(|i| match i.kind {
            Kind::Sentinel => i.run_id == id,
            Kind::Replica => i.addr.is_written(id) || i.label(name, true) == id,
            Kind::Primary => false,
        });
        let found = found.ok_or_else(|| format!("ERR No such sentinel or replica: '{id}'"))?;
        if found.down_since.is_none() && found.command.is_up() {
            return Err(format!("ERR '{id}' is alive and would be found again at once: stop it first"));
        }
        if monitor.failover.in_progress() {
            return Err("INPROG A failover is in progress".into());
        }
        let id = found.id;
        monitor.drop_entry(id, "", &mut self.shared);
        Ok(Reply::ok())
    }
}

impl Monitor {
    /// Down for so long that it may be forgotten.
    fn missed(&self, i: &Instance, now: Mono) -> bool {
        !self.isolated && self.aged(i).is_some_and(|at| now >= at)
    }

    /// When it will have been missed for long enough, if nothing is heard of it.
    fn aged(&self, i: &Instance) -> Option<Mono> {
        let after = match i.kind {
            Kind::Sentinel => self.settings.forget_after_ms,
            Kind::Replica if !i.former_primary && !self.is_listed(i) => self.settings.forget_replicas_after_ms,
            _ => 0,
        };
        i.down_since.filter(|_| after > 0).map(|at| at.plus(after))
    }

    /// The primary's last INFO names it: it would be found again at once.
    fn is_listed(&self, replica: &Instance) -> bool {
        self.primary().report.as_ref().is_some_and(|report| report.replicas.contains(&replica.addr))
    }

    /// Who agrees by now, this sentinel included, and how many must.
    fn agreed(&self, i: &Instance, now: Mono) -> (u32, u32) {
        let counts = |(peer, at): (&InstanceId, &Mono)| self.instances.contains_key(peer) && now.since(*at) <= WORD_MS;
        (1 + i.gone_by.iter().filter(|entry| counts(*entry)).count() as u32, majority(self.voters()))
    }

    /// When somebody is to be asked about; nobody: never.
    pub(crate) fn next_aging(&self) -> Mono {
        let due = |i: &Instance| self.aged(i).map(|at| at.max(i.next_gone));
        self.instances.values().filter_map(due).min().unwrap_or(Mono::NEVER)
    }

    /// Asks about those who are missed, and forgets whom a majority misses; never while an election may be under way.
    pub(crate) fn age_out(&mut self, s: &mut Shared) {
        let missed = |i: &&Instance| s.now >= i.next_gone && self.missed(i, s.now);
        let ids: Vec<InstanceId> = self.instances.values().filter(missed).map(|i| i.id).collect();
        let calm = self.odown_since.is_none() && self.ballot.hold.is_none() && self.failover == Failover::Idle;
        for id in ids {
            let instance = self.instance_mut(id);
            instance.next_gone = s.now.plus(ASK_MS);
            let Some(who) = word(instance) else { continue };
            let (agree, needed) = self.agreed(&self.instances[&id], s.now);
            if calm && agree >= needed {
                let more = format!("#missed by {agree} of {}", self.voters());
                self.drop_entry(id, &more, s);
                self.forgotten.push(who);
                if self.forgotten.len() > MAX_FORGOTTEN {
                    self.forgotten.remove(0);
                }
                continue;
            }
            let peers = self.of(Kind::Sentinel).filter(|i| i.id != id && i.keystead && i.command.is_up());
            for peer in peers.map(|i| i.id).collect::<Vec<_>>() {
                self.send(peer, Request::IsGone { name: self.name.clone(), id: who.clone() }, s);
            }
        }
    }

    pub(crate) fn on_gone_answer(&mut self, peer: InstanceId, about: &str, reply: &Reply, s: &mut Shared) {
        let Some(found) = self.instances.values_mut().find(|i| word(i).is_some_and(|word| word == about)) else {
            return;
        };
        match reply.int() {
            Some(1) => found.gone_by.insert(peer, s.now),
            _ => found.gone_by.remove(&peer),
        };
        let id = found.id;
        let (agree, needed) = self.agreed(&self.instances[&id], s.now);
        if agree >= needed {
            self.instance_mut(id).next_gone = s.now;
        }
    }

    fn drop_entry(&mut self, id: InstanceId, more: &str, s: &mut Shared) {
        let event = if self.instances[&id].kind == Kind::Sentinel { "-sentinel" } else { "-slave" };
        self.event(s, Level::Warning, event, id, more);
        self.remove_entry(id, s);
    }

    /// Without a word: who calls it has said why.
    pub(crate) fn remove_entry(&mut self, id: InstanceId, s: &mut Shared) {
        self.drop_links(id, s);
        self.instances.remove(&id);
        s.homes.remove(&id);
        s.durable();
    }

    /// For EXPLAIN.
    pub(crate) fn aging_lines(&self, now: Mono) -> Vec<String> {
        let line = |i: &Instance| {
            let (agree, needed) = self.agreed(i, now);
            let (kind, who) =
                (if i.kind == Kind::Sentinel { "sentinel" } else { "replica" }, word(i).unwrap_or_default());
            let voters = self.voters();
            format!(
                "{kind} {who} is forgotten when {needed} of {voters} sentinels have missed it so long; {agree} have"
            )
        };
        self.instances.values().filter(|i| self.missed(i, now)).map(line).collect()
    }
}

/// What `IS-GONE` calls it.
fn word(i: &Instance) -> Option<String> {
    match i.kind {
        Kind::Sentinel => Some(i.run_id.clone()),
        Kind::Replica => Some(i.addr.to_string()),
        Kind::Primary => None,
    }
}
