//! All replicas of this node, readable at any time by INFO, ROLE, WAIT and the gates without a lock.
//!
//! Owns the list and each replica's published facts (atomics). Written by the task of each replica only.

use super::replconf::Facts;
use crate::units::Offset;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// INFO's word for how far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The snapshot isn't there yet.
    WaitBgsave,
    /// The payload is sent as it is made: to Redis the save isn't over.
    Streaming,
    /// The payload is on its way, or being loaded.
    SendBulk,
    /// The stream flows.
    Online,
}

impl PeerState {
    /// As INFO prints it.
    pub fn word(self) -> &'static str {
        match self {
            PeerState::WaitBgsave | PeerState::Streaming => "wait_bgsave",
            PeerState::SendBulk => "send_bulk",
            PeerState::Online => "online",
        }
    }
}

/// What is known of one replica.
#[derive(Debug)]
pub struct Shared {
    /// The session's id in CLIENT LIST.
    pub client: u64,
    /// Where it says, or is seen, to be.
    pub ip: String,
    /// The port it told.
    pub port: u16,
    /// Its run id, if it told one: such a replica keeps in mind whom it follows over all hops.
    pub node: Option<String>,
    /// It gets only what this filter lets through. Its offsets are those of another stream, and nothing counts on it.
    pub filter: Option<String>,
    /// It came by PSYNC and acknowledges; after SYNC nothing comes back, and silence means nothing.
    pub acknowledges: bool,
    state: AtomicU8,
    acked: AtomicU64,
    fsynced: AtomicU64,
    heard_ms: AtomicU64,
}

impl Shared {
    /// A replica that just asked.
    pub fn new(client: u64, seen_ip: String, facts: &Facts) -> Shared {
        Shared {
            client,
            ip: facts.ip_address.clone().unwrap_or(seen_ip),
            port: facts.listening_port,
            node: facts.node.clone(),
            filter: facts.filter.clone(),
            acknowledges: true,
            state: AtomicU8::new(PeerState::WaitBgsave as u8),
            acked: AtomicU64::new(0),
            fsynced: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
        }
    }

    /// How far it is.
    pub fn state(&self) -> PeerState {
        match self.state.load(Ordering::Acquire) {
            0 => PeerState::WaitBgsave,
            1 => PeerState::Streaming,
            2 => PeerState::SendBulk,
            _ => PeerState::Online,
        }
    }

    /// The last offset it acknowledged.
    pub fn acked_offset(&self) -> Offset {
        Offset(self.acked.load(Ordering::Acquire))
    }

    /// The last offset it says is in its append-only file.
    pub fn fsynced_offset(&self) -> Offset {
        Offset(self.fsynced.load(Ordering::Acquire))
    }

    /// Whole seconds since it was last heard; 0 while it isn't online, as INFO prints it.
    pub fn lag_secs(&self, now: Duration) -> u64 {
        if self.state() != PeerState::Online {
            return 0;
        }
        now.saturating_sub(self.heard_at()).as_secs()
    }

    fn heard_at(&self) -> Duration {
        Duration::from_millis(self.heard_ms.load(Ordering::Acquire))
    }

    /// It counts: online, and not for a part of the data.
    fn is_whole(&self) -> bool {
        self.filter.is_none() && self.state() == PeerState::Online
    }

    pub(super) fn set_state(&self, state: PeerState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(super) fn acked(&self, offset: Offset) {
        self.acked.fetch_max(offset.0, Ordering::AcqRel);
    }

    /// Notes what the replica says is on its disk.
    pub fn fsynced(&self, offset: Offset) {
        self.fsynced.fetch_max(offset.0, Ordering::AcqRel);
    }

    pub(super) fn heard(&self, now: Duration) {
        self.heard_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }
}

/// The list.
#[derive(Debug, Default)]
pub struct Registry {
    all: ArcSwap<Vec<Arc<Shared>>>,
}

impl Registry {
    /// Everyone, in the order of arrival.
    pub fn all(&self) -> Arc<Vec<Arc<Shared>>> {
        self.all.load_full()
    }

    /// One more.
    pub fn add(&self, peer: &Arc<Shared>) {
        self.all.rcu(|old| {
            let mut new = Vec::clone(old);
            new.push(peer.clone());
            new
        });
    }

    /// One less.
    pub fn remove(&self, peer: &Arc<Shared>) {
        self.all.rcu(|old| old.iter().filter(|p| !Arc::ptr_eq(p, peer)).cloned().collect::<Vec<_>>());
    }

    /// How many online replicas were heard within `max_lag` seconds: what min-replicas-to-write counts.
    pub fn good(&self, now: Duration, max_lag_secs: u64) -> usize {
        self.count(|p| p.lag_secs(now) <= max_lag_secs)
    }

    /// Up to when `n` online replicas are good, if none is heard again; zero if there are fewer.
    pub fn good_until(&self, n: usize, max_lag_secs: u64) -> Duration {
        let all = self.all.load();
        let mut heard: Vec<Duration> = all.iter().filter(|p| p.is_whole()).map(|p| p.heard_at()).collect();
        heard.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        // Whole seconds count: with a limit of 10 who was heard 10.9 seconds ago is good.
        let last = n.checked_sub(1).and_then(|last| heard.get(last));
        last.map_or(Duration::ZERO, |at| at.saturating_add(Duration::from_secs(max_lag_secs.saturating_add(1))))
    }

    /// How many online replicas acknowledged `offset`: what WAIT counts.
    pub fn reached(&self, offset: Offset) -> usize {
        self.count(|p| p.acked_offset() >= offset)
    }

    /// How many online replicas have `offset` on their disks: what WAITAOF counts.
    pub fn fsynced(&self, offset: Offset) -> usize {
        self.count(|p| p.fsynced_offset() >= offset)
    }

    fn count(&self, fits: impl Fn(&Shared) -> bool) -> usize {
        self.all.load().iter().filter(|p| p.is_whole() && fits(p)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(registry: &Registry, id: u64, state: PeerState, acked: u64, heard: u64) -> Arc<Shared> {
        let p = Arc::new(Shared::new(id, "10.0.0.1".into(), &Facts::default()));
        p.set_state(state);
        p.acked(Offset(acked));
        p.heard(Duration::from_secs(heard));
        registry.add(&p);
        p
    }

    #[test]
    fn enough_are_good_until_the_one_that_is_needed_was_silent_for_too_long() {
        let r = Registry::default();
        assert_eq!(r.good_until(1, 10), Duration::ZERO);
        peer(&r, 1, PeerState::Online, 100, 50);
        peer(&r, 2, PeerState::Online, 100, 40);
        peer(&r, 3, PeerState::SendBulk, 100, 60);
        for (n, secs) in [(1, 61), (2, 51), (3, 0)] {
            let until = r.good_until(n, 10);
            assert_eq!(until, Duration::from_secs(secs));
            let before = until.saturating_sub(Duration::from_millis(1));
            assert_eq!((r.good(until, 10) >= n, r.good(before, 10) >= n), (false, secs > 0), "as INFO counts");
        }
        assert_eq!(r.good_until(1, u64::MAX), Duration::MAX);
    }

    #[test]
    fn only_online_replicas_count() {
        let r = Registry::default();
        let a = peer(&r, 1, PeerState::Online, 100, 50);
        peer(&r, 2, PeerState::Online, 90, 40);
        peer(&r, 3, PeerState::SendBulk, 100, 50);
        let now = Duration::from_secs(51);
        assert_eq!((r.good(now, 10), r.good(now, 11)), (1, 2));
        assert_eq!((r.reached(Offset(100)), r.reached(Offset(90)), r.reached(Offset(101))), (1, 2, 0));
        let facts = Facts { filter: Some("eu".into()), ..Facts::default() };
        let part = Arc::new(Shared::new(4, "10.0.0.1".into(), &facts));
        part.set_state(PeerState::Online);
        part.acked(Offset(1000));
        part.heard(Duration::from_secs(51));
        r.add(&part);
        assert_eq!((r.good(now, 11), r.reached(Offset(90)), r.fsynced(Offset(0))), (2, 2, 2), "a filtered one never");
        r.remove(&part);
        r.remove(&a);
        assert_eq!((r.all().len(), r.reached(Offset(90))), (2, 1));
    }
}
