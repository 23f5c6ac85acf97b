//! The table of sessions. Owns them, and the list of those the server must look at after the turn.

use std::collections::BTreeMap;

use crate::limits::SEAL;
use crate::session::{ConnInfo, Kind, Session, SessionId, State};

/// All sessions of one engine.
#[derive(Default)]
pub struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    /// Slots by client id; also the order CLIENT LIST shows.
    by_id: BTreeMap<u64, u32>,
    free: Vec<u32>,
    next_id: u64,
    /// Sessions with sealed output.
    sealed: usize,
    /// The sum of all sessions' shares in it, see [`State::share`].
    pub(crate) held: u64,
    /// Sessions with something new for the server.
    pub(crate) listed: Vec<SessionId>,
    /// Unblocked sessions whose queued commands may go on, by id: kept apart so that order is that of waking.
    pub(crate) monitors: Vec<SessionId>,
    /// What those of them whose commands run will see of these.
    pub(crate) own_lines: Vec<(SessionId, Vec<u8>)>,
}

impl Sessions {
    /// Adds a session.
    pub(crate) fn insert(&mut self, info: ConnInfo, now_ms: u64, authenticated: bool) -> SessionId {
        self.next_id += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let id = SessionId { id: self.next_id, slot };
        let state = State::new(id, info, now_ms, authenticated);
        self.slots[slot as usize] = Some(Box::new(Session { out: Vec::new(), state }));
        self.by_id.insert(id.id, slot);
        id
    }

    /// Removes a session for good.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Box<Session>> {
        let session = self.take(id)?;
        self.sealed -= usize::from(!session.state.sealed.is_empty());
        self.held -= session.state.share;
        self.by_id.remove(&id.id);
        self.free.push(id.slot);
        Some(session)
    }

    /// Takes a session out of its place while one of its commands runs.
    #[inline]
    pub(crate) fn take(&mut self, id: SessionId) -> Option<Box<Session>> {
        let place = self.slots.get_mut(id.slot as usize)?;
        if place.as_ref()?.state.id != id {
            return None;
        }
        place.take()
    }

    /// Puts it back.
    #[inline]
    pub(crate) fn put(&mut self, session: Box<Session>) {
        let slot = session.state.id.slot as usize;
        self.slots[slot] = Some(session);
    }

    /// A session that isn't running a command right now.
    #[inline]
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.slots.get(id.slot as usize)?.as_deref().filter(|session| session.state.id == id)
    }

    /// The same, to change it.
    #[inline]
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|session| session.state.id == id)
    }

    /// Puts a session's output aside as a piece of its own if it is large enough.
    pub(crate) fn seal(&mut self, id: SessionId) {
        let Some(session) = self.get_mut(id).filter(|session| session.out.len() > SEAL) else { return };
        let mut piece = std::mem::take(&mut session.out);
        piece.shrink_to_fit();
        let (bytes, first) = (piece.capacity(), session.state.sealed.is_empty());
        session.state.pending_out += bytes;
        session.state.sealed.push(piece);
        self.sealed += usize::from(first);
    }

    /// True if some session has sealed output.
    #[inline]
    pub(crate) fn has_sealed(&self) -> bool {
        self.sealed > 0
    }

    /// Takes a session's sealed output, which stands before the rest of it.
    pub(crate) fn take_sealed(&mut self, id: SessionId) -> Vec<Vec<u8>> {
        let Some(session) = self.get_mut(id).filter(|session| !session.state.sealed.is_empty()) else {
            return Vec::new();
        };
        let pieces = std::mem::take(&mut session.state.sealed);
        session.state.pending_out -= pieces.iter().map(Vec::capacity).sum::<usize>().min(session.state.pending_out);
        self.sealed -= 1;
        pieces
    }

    /// The full name of a client id.
    pub fn find(&self, id: u64) -> Option<SessionId> {
        self.by_id.get(&id).map(|&slot| SessionId { id, slot })
    }

    /// All ids in order.
    pub fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.by_id.iter().map(|(&id, &slot)| SessionId { id, slot })
    }

    /// Where this node's primary is; empty while there is no link with one.
    pub(crate) fn primary_addr(&self) -> String {
        let link = self.iter().find(|session| session.state.kind == Kind::Primary);
        link.map_or(String::new(), |session| session.state.info.addr.clone())
    }

    /// All sessions in order, but the one that runs a command.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values().filter_map(|&slot| self.slots[slot as usize].as_deref())
    }

    /// Changes all sessions but the one that runs a command.
    pub(crate) fn each_mut(&mut self, mut change: impl FnMut(&mut State)) {
        self.slots.iter_mut().flatten().for_each(|session| change(&mut session.state));
    }

    /// How many there are, the running one included.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Counts anew what a session holds.
    pub(crate) fn recount(&mut self, id: SessionId) {
        let Some(Session { out, state }) = self.get_mut(id) else { return };
        let (before, now) = (state.share, state.recount(out.len()));
        self.held = self.held - before + now;
    }

    /// Puts a session on the list that the server gets after the turn.
    pub(crate) fn list(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && !session.state.listed
        {
            session.state.listed = true;
            self.listed.push(id);
        }
    }
}
