//! Hellos: telling the others about this sentinel and its configuration, and learning from theirs.
//! Owns discovery of sentinels and the taking over of newer configurations; a hello never makes an older one valid, and of
//! two that are equally new all sentinels come to hold the same.

use crate::actions::{Claimant, Shared};
use crate::events::{Level, subject};
use crate::hello::Hello;
use crate::info::Role;
use crate::instance::{Heard, Instance};
use crate::monitor::{MAX_INSTANCES, Monitor};
use crate::sign::Fault;
use crate::types::{Addr, Epoch, InstanceId, Kind, Mono};

/// Refused senders remembered for one primary, and how often each is told.
const MAX_REFUSED: usize = 64;
const TELL_MS: u64 = 60_000;

/// Hellos of one sender that were refused for one reason.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    count: u64,
    at: Mono,
    told: Option<Mono>,
}

/// A peer that is behind is told at once, but not more often than this.
const ANSWER_MS: u64 = 500;

impl Monitor {
    /// The hello for one instance: over its link this side's address is known.
    pub(crate) fn hello(&self, to: InstanceId, s: &mut Shared) -> Option<String> {
        let host = if s.announce_fixed { &s.announce.host } else { &self.instances[&to].local_ip };
        if host.is_empty() {
            return None;
        }
        let hello = Hello {
            addr: Addr::new(host, s.announce.port),
            id: s.id.clone(),
            epoch: s.epoch,
            name: self.name.clone(),
            primary: self.current_addr().faced(self.names_shown),
            config_epoch: self.config_epoch,
        };
        Some(s.signing.seal(hello.to_string()))
    }

    /// May this sentinel be believed: it has shown a signed hello, or none is asked for.
    pub(crate) fn trusts(&self, id: &str, s: &Shared) -> bool {
        !s.signing.on() || id == s.id || self.of(Kind::Sentinel).any(|i| i.run_id == id && i.verified)
    }

    /// A hello that isn't taken: told as an event once a minute for each sender and reason, counted for EXPLAIN. Whoever
    /// writes a new id into each has the first of them told: events call scripts.
    pub(crate) fn refuse(&mut self, hello: &Hello, fault: Fault, s: &mut Shared) {
        let key = (hello.id.clone(), fault);
        if !self.refused.contains_key(&key) && self.refused.len() >= MAX_REFUSED {
            let now = s.now;
            self.refused.retain(|_, r| now.since(r.at) < TELL_MS);
            if self.refused.len() >= MAX_REFUSED {
                return;
            }
        }
        let known = self.refused.entry(key).or_insert(Refused { count: 0, at: s.now, told: None });
        (known.count, known.at) = (known.count.saturating_add(1), s.now);
        if known.told.is_some_and(|at| s.now.since(at) < TELL_MS) {
            return;
        }
        known.told = Some(s.now);
        let who = subject(Kind::Sentinel, &hello.id, &hello.addr, (&self.name, &self.primary().addr));
        s.emit(Level::Warning, "-hello-refused", format!("{who} #{}", fault.words()), &self.settings);
    }

    /// For EXPLAIN.
    pub(crate) fn refused_lines(&self, now: Mono) -> Vec<String> {
        let line = |((id, fault), r): (&(String, Fault), &Refused)| {
            format!(
                "hellos of {id} are ignored: {} ({} so far, the last {} ms ago)",
                fault.words(),
                r.count,
                now.since(r.at)
            )
        };
        self.refused.iter().map(line).collect()
    }

    /// The keys have changed: everybody has to show a signed hello again.
    pub(crate) fn trust_nobody(&mut self, now: Mono) {
        for peer in self.of_mut(Kind::Sentinel) {
            (peer.verified, peer.heard, peer.down_vote) = (false, None, None);
        }
        self.hello_now(now);
    }

    /// Everybody is to hear of the configuration now.
    pub(crate) fn hello_now(&mut self, now: Mono) {
        for instance in self.instances.values_mut() {
            instance.next_hello = now;
        }
    }

    /// A hello about this primary, from a feed or sent straight to this sentinel.
    pub fn on_hello(&mut self, hello: &Hello, s: &mut Shared) {
        if hello.id == s.id {
            return self.note_namesake(hello, s);
        }
        let Some(id) = self.sentinel_of(hello, s) else { return };
        let from = Claimant { id: &hello.id, addr: Some(&hello.addr), primary: &self.name };
        let before = s.epoch;
        s.see_epoch(hello.epoch, from, &self.settings);
        let begun = s.epoch > before && hello.config_epoch <= self.config_epoch;
        // Nobody's configuration is newer than its epoch: one taken over alone would be newer than all elections to come.
        let believed = s.see_epoch(hello.config_epoch, from, &self.settings);
        let behind = hello.config_epoch < self.config_epoch;
        if begun {
            self.watch_primary(s.now);
        }
        let peer = self.instance_mut(id);
        peer.last_hello = Some(s.now);
        peer.verified = s.signing.on();
        if behind && s.now.since(peer.pinged) < ANSWER_MS {
            peer.next_hello = peer.next_hello.min(s.now.plus(ANSWER_MS));
        }
        if !believed {
            return;
        }
        if hello.config_epoch > self.config_epoch || self.yields_to(hello) {
            self.take_over(id, hello, s);
        }
        // Written after a change of configuration, which begins with nobody's word.
        let heard = Heard { at: s.now, config_epoch: hello.config_epoch, primary: hello.primary.clone() };
        self.instance_mut(id).heard = Some(heard);
    }

    /// Two failovers of one epoch: operators asked two sentinels at once, and nobody votes for those. No configuration is newer
    /// then, so what counts is who is a primary; of two that are, or are not, the higher address, at each sentinel alike.
    fn yields_to(&self, hello: &Hello) -> bool {
        let own = self.primary();
        let twin = hello.config_epoch == self.config_epoch && self.config_epoch > Epoch(0);
        if !twin || hello.primary == own.addr || self.failover.in_progress() {
            return false;
        }
        let Some(other) = self.of(Kind::Replica).find(|r| r.addr == hello.primary) else { return false };
        let is_one = |i: &Instance| i.role == Role::Primary && i.down_since.is_none() && i.command.is_up();
        match (is_one(other), is_one(own)) {
            (true, false) => true,
            (false, true) => false,
            _ => other.addr > own.addr,
        }
    }

    fn take_over(&mut self, from: InstanceId, hello: &Hello, s: &mut Shared) {
        if hello.primary == self.primary().addr && !self.failover.in_progress() {
            self.config_epoch = hello.config_epoch;
            s.durable();
            return;
        }
        self.event(s, Level::Warning, "+config-update-from", from, "");
        if hello.primary == self.primary().addr {
            // This sentinel leads a failover away from it in an older epoch: that one has lost.
            self.config_epoch = hello.config_epoch;
            s.durable();
            return self.abort("-failover-abort-not-elected", s);
        }
        self.tell_asker("another sentinel's failover came first", s);
        let who = self.peer_name(&hello.id);
        self.timeline.mark(s.now, "heard", format!("of configuration epoch {} from {who}", hello.config_epoch));
        let from = self.primary().addr.clone();
        // Two that finish the same promotion: this one has called its script, as a leader.
        let called = *self.current_addr() == hello.primary;
        self.switch(&hello.primary, hello.config_epoch, s);
        if !called {
            self.call_reconfig_script("observer", &from, &hello.primary, s);
        }
    }

    /// The sender among the known sentinels; a new one is taken in, one that moved is found by its id.
    fn sentinel_of(&mut self, hello: &Hello, s: &mut Shared) -> Option<InstanceId> {
        let by_id = self.of(Kind::Sentinel).find(|i| i.run_id == hello.id).map(|i| (i.id, i.addr == hello.addr));
        if let Some((id, true)) = by_id {
            return Some(id);
        }
        let same_addr = self.of(Kind::Sentinel).find(|i| i.addr == hello.addr && i.run_id != hello.id).map(|i| i.id);
        if let Some((id, _)) = by_id {
            self.move_peer(id, same_addr, hello, s);
            return Some(id);
        }
        if let Some(other) = same_addr {
            self.replace_peer(other, s);
        }
        if self.of(Kind::Sentinel).count() >= MAX_INSTANCES {
            self.refuse(hello, Fault::Crowd, s);
            return None;
        }
        self.forgotten.retain(|id| *id != hello.id);
        let id = self.insert(Kind::Sentinel, hello.addr.clone(), s);
        self.instance_mut(id).run_id.clone_from(&hello.id);
        s.durable();
        self.event(s, Level::Notice, "+sentinel", id, "");
        Some(id)
    }

    /// A peer has another address now. Who was known there is not gone: it is found by its id when it says where it is, and
    /// counts as a voter until then.
    fn move_peer(&mut self, id: InstanceId, there: Option<InstanceId>, hello: &Hello, s: &mut Shared) {
        if let Some(other) = there {
            self.event(s, Level::Notice, "+sentinel-invalid-addr", other, "");
            self.drop_links(other, s);
            self.instance_mut(other).addr.port = 0;
        }
        let more = format!("ip {} port {} for {}", hello.addr.face(self.names_shown), hello.addr.port, hello.id);
        self.event(s, Level::Notice, "+sentinel-address-switch", self.primary, &more);
        self.drop_links(id, s);
        self.instance_mut(id).addr = hello.addr.clone();
        s.durable();
    }

    /// Somebody nobody knew listens at a peer's address: a sentinel that lost its state. Its old id votes no more, for no
    /// primary; as a voter it would make majorities larger for ever.
    fn replace_peer(&mut self, old: InstanceId, s: &mut Shared) {
        self.event(s, Level::Notice, "+sentinel-invalid-addr", old, "");
        s.replaced.push(self.instances[&old].run_id.clone());
        self.remove_entry(old, s);
    }

    /// Another monitor heard that this sentinel has lost its state.
    pub(crate) fn drop_replaced(&mut self, run_id: &str, s: &mut Shared) {
        let found = self.of(Kind::Sentinel).find(|i| i.run_id == run_id).map(|i| i.id);
        if let Some(id) = found {
            self.remove_entry(id, s);
        }
    }
}
