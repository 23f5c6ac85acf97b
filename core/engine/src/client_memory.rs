//! What clients hold, for `maxmemory-clients`: each session's share, the running sum of all, who goes when it is too much.
//! A share is counted anew where something of it changes, in constant time; all sessions are walked only to close some.

use std::cmp::Reverse;

use crate::core::Core;
use crate::session::{Kind, Parked, SessionId, State};

impl Core {
    /// Counts anew what a session holds, one that runs no command. Nothing is counted while there is no limit.
    #[inline]
    pub(crate) fn recount(&mut self, id: SessionId) {
        if self.config.live.client_memory.is_some() {
            self.sessions.recount(id);
        }
    }

    /// The same for the one whose command runs; `out` is the length of its own output.
    #[inline]
    pub(crate) fn recount_running(&mut self, state: &mut State, out: usize) {
        if self.config.live.client_memory.is_some() {
            self.sessions.held = self.sessions.held - state.share + state.recount(out);
        }
    }

    /// The limit may be new: until now nothing may have been counted.
    pub(crate) fn recount_all(&mut self) {
        if self.config.live.client_memory.is_some() {
            let all: Vec<SessionId> = self.sessions.ids().collect();
            all.into_iter().for_each(|id| self.sessions.recount(id));
        }
    }

    /// `maxmemory-clients`: closes the largest clients until the rest fits. Replicas, the primary and those with CLIENT
    /// NO-EVICT count for nothing.
    pub(crate) fn evict_clients(&mut self) {
        let Some(limit) = self.config.live.client_memory else { return };
        if self.sessions.held <= limit {
            return;
        }
        // Who closes of its own accord is gone before anybody must.
        self.recount_all();
        let mut largest: Vec<(u64, SessionId)> = self.sessions.iter().map(|s| (s.state.share, s.state.id)).collect();
        largest.sort_unstable_by_key(|client| Reverse(*client));
        for (share, id) in largest.into_iter().take_while(|(share, _)| *share > 0) {
            if self.sessions.held <= limit {
                return;
            }
            let addr = self.sessions.get(id).map(|session| session.state.info.addr.clone()).unwrap_or_default();
            log::info!("Evicting client: id={} addr={addr} tot-mem={share}", id.id);
            self.kill(id);
            self.stats.evicted_clients += 1;
        }
    }
}

/// What a prefix takes beside its bytes, in the session's own set and in that of all sessions.
const PREFIX: usize = 64;

impl Parked {
    /// Bytes of the command that waits.
    fn memory(&self) -> usize {
        match self {
            Parked::Keys(wait) => wait.memory(),
            Parked::Async { args, .. } | Parked::Pause(args) => args.memory(),
        }
    }
}

impl State {
    /// The room behind what arrived: what there is, or what the header of a large argument promised. Redis makes so much at
    /// once; here it counts before it is there, so that who promises too much is closed as early.
    pub(crate) fn room_in(&self) -> usize {
        self.spare_in.max(self.begun_in.promised)
    }

    /// Bytes that the session takes; `out` is the length of its own output.
    pub(crate) fn memory(&self, out: usize) -> usize {
        let names = self.channels.bytes() + self.patterns.bytes() + self.shard_channels.bytes();
        let prefixes = self.tracking.as_ref().map_or(0, |mode| mode.prefixes.bytes() + mode.prefixes.len() * PREFIX);
        let executing = if self.in_exec { self.exec_queue.1 } else { 0 };
        let multi = self.multi.as_ref().map_or(executing, |multi| multi.bytes);
        let parked = self.parked.as_ref().map_or(0, Parked::memory) + self.late.as_ref().map_or(0, |late| late.bytes());
        size_of::<State>()
            + self.pending_in
            + self.room_in()
            + self.pending_out
            + out
            + multi
            + parked
            + names
            + self.watched_bytes
            + prefixes
    }

    /// Its part in what all clients hold becomes what it is now.
    pub(crate) fn recount(&mut self, out: usize) -> u64 {
        let counts = matches!(self.class(), Kind::Normal | Kind::PubSub) && !self.no_evict && !self.close_now;
        self.share = if counts { self.memory(out) as u64 } else { 0 };
        self.share
    }
}

#[cfg(test)]
mod tests;
