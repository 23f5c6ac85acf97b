//! Connections between nodes: bytes arrive late, in pieces, or not at all, but never out of order.
//!
//! A cut is one-way and silent: what is sent stays in flight, as with TCP, until the cut heals or the connection is
//! given up. Owns the connections; knows nothing of what they carry.

use super::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A node's number.
pub type NodeId = usize;
/// A connection's number; never used twice.
pub type ConnId = u64;

/// One direction of a connection.
#[derive(Debug, Default)]
struct Flow {
    /// Pieces on their way: when each arrives, and its bytes. `None` is the end of the stream.
    flight: VecDeque<(u64, Option<Vec<u8>>)>,
}

/// A connection.
#[derive(Debug)]
struct Conn {
    from: NodeId,
    to: NodeId,
    there: Flow,
    back: Flow,
}

/// What arrived.
#[derive(Debug)]
pub enum Arrival {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The other side closed, or its machine died.
    Closed,
}

/// The network.
#[derive(Debug, Default)]
pub struct Wire {
    conns: BTreeMap<ConnId, Conn>,
    next: ConnId,
    opened: VecDeque<(ConnId, NodeId)>,
    /// Directions in which nothing gets through.
    pub cuts: BTreeSet<(NodeId, NodeId)>,
}

impl Wire {
    /// Opens a connection; the caller has checked that the other side listens.
    pub fn open(&mut self, from: NodeId, to: NodeId) -> ConnId {
        self.next += 1;
        self.conns.insert(self.next, Conn { from, to, there: Flow::default(), back: Flow::default() });
        self.opened.push_back((self.next, to));
        self.next
    }

    /// A connection that its listener hasn't seen yet.
    pub fn take_opened(&mut self) -> Option<(ConnId, NodeId)> {
        self.opened.pop_front()
    }

    /// Can a connection be made?
    pub fn reachable(&self, from: NodeId, to: NodeId) -> bool {
        !self.cuts.contains(&(from, to)) && !self.cuts.contains(&(to, from))
    }

    /// Sends bytes; they arrive in one or two pieces.
    pub fn send(&mut self, now: u64, rng: &mut Rng, conn: ConnId, me: NodeId, bytes: &[u8]) {
        let Some(flow) = self.outgoing(conn, me) else { return };
        let split = if bytes.len() > 1 && rng.one_in(3) { rng.below(bytes.len() as u64) as usize } else { 0 };
        for piece in [&bytes[..split], &bytes[split..]] {
            if !piece.is_empty() {
                flow.flight.push_back((now + 1 + rng.below(20), Some(piece.to_vec())));
            }
        }
    }

    /// Closes a side: the other learns it behind what was sent.
    pub fn close(&mut self, now: u64, conn: ConnId, me: NodeId) {
        if let Some(flow) = self.outgoing(conn, me) {
            flow.flight.push_back((now + 1, None));
        }
        // What was still coming is lost.
        if let Some(flow) = self.incoming(conn, me) {
            flow.flight.clear();
        }
    }

    /// The next thing that arrived at `me` on this connection, if any.
    pub fn receive(&mut self, now: u64, conn: ConnId, me: NodeId) -> Option<Arrival> {
        let c = self.conns.get(&conn)?;
        let other = if c.from == me { c.to } else { c.from };
        if self.cuts.contains(&(other, me)) {
            return None;
        }
        let flow = self.incoming(conn, me)?;
        if flow.flight.front()?.0 > now {
            return None;
        }
        match flow.flight.pop_front()? {
            (_, Some(bytes)) => Some(Arrival::Bytes(bytes)),
            (_, None) => Some(Arrival::Closed),
        }
    }

    /// Every connection of this node ends, as when its process is killed.
    pub fn reset_all(&mut self, now: u64, node: NodeId) {
        let ids: Vec<ConnId> =
            self.conns.iter().filter(|(_, c)| c.from == node || c.to == node).map(|(id, _)| *id).collect();
        for id in ids {
            self.close(now, id, node);
        }
    }

    fn outgoing(&mut self, conn: ConnId, me: NodeId) -> Option<&mut Flow> {
        let c = self.conns.get_mut(&conn)?;
        Some(if c.from == me { &mut c.there } else { &mut c.back })
    }

    fn incoming(&mut self, conn: ConnId, me: NodeId) -> Option<&mut Flow> {
        let c = self.conns.get_mut(&conn)?;
        Some(if c.from == me { &mut c.back } else { &mut c.there })
    }
}
