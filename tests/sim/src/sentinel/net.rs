//! The network: connections that keep order, delay their messages, hold them back while a direction is cut (as TCP's
//! retransmission does) and end when a process ends. Owns no process.

use keystead_sentinel::types::{InstanceId, Lane, Rng};
use keystead_sentinel::wire::{Reply, Request};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A process.
pub type NodeId = usize;
/// A connection.
pub type ConnId = u64;

/// What travels.
#[derive(Clone, Debug)]
pub enum Payload {
    /// First packet of a connection.
    Syn,
    /// It is accepted.
    Accepted,
    /// Nobody listens.
    Refused,
    /// A request and the machine's number for its configuration.
    Request(Request, u64),
    /// Its reply.
    Reply(Request, u64, Reply),
    /// A message on the hello channel.
    Message(String),
    /// The other side has closed.
    Closed,
}

/// A connection from a sentinel to a data node or another sentinel.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Who opened it.
    pub client: NodeId,
    /// The life of that process.
    pub client_life: u64,
    /// The other side.
    pub server: NodeId,
    /// The life of that process, once accepted.
    pub server_life: Option<u64>,
    /// The client's number of the other side.
    pub instance: InstanceId,
    /// Which of its links.
    pub lane: Lane,
    /// Its incarnation.
    pub generation: u64,
    /// The client still listens; what it sent before it closed arrives nevertheless.
    pub client_open: bool,
    last: [u64; 2],
    held: [VecDeque<Payload>; 2],
}

/// Direction of a message: towards the server or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From client to server.
    Out,
    /// From server to client.
    Back,
}

/// How the network is doing.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Usual delay, at most.
    pub delay_ms: u64,
    /// Of a thousand messages so many are lost once and come 200 ms and more late.
    pub loss_permille: u64,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    /// All open connections.
    pub conns: BTreeMap<ConnId, Conn>,
    /// The last connection of each link, and the feeds of each server.
    links: BTreeMap<(NodeId, InstanceId, Lane), ConnId>,
    feeds: BTreeMap<NodeId, BTreeSet<ConnId>>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Present weather.
    pub weather: Weather,
    next: ConnId,
}

impl Net {
    /// A whole network.
    #[must_use]
    pub fn new(weather: Weather) -> Net {
        Net {
            conns: BTreeMap::new(),
            links: BTreeMap::new(),
            feeds: BTreeMap::new(),
            cut: BTreeSet::new(),
            weather,
            next: 1,
        }
    }

    /// Opens a connection on the client's side.
    pub fn open(&mut self, client: (NodeId, u64), server: NodeId, link: (InstanceId, Lane, u64)) -> ConnId {
        let id = self.next;
        self.next += 1;
        let (instance, lane, generation) = link;
        self.links.insert((client.0, instance, lane), id);
        if lane == Lane::Feed {
            self.feeds.entry(server).or_default().insert(id);
        }
        self.conns.insert(
            id,
            Conn {
                client: client.0,
                client_life: client.1,
                server,
                server_life: None,
                instance,
                lane,
                generation,
                client_open: true,
                last: [0; 2],
                held: Default::default(),
            },
        );
        id
    }

    /// The open connection of a link.
    #[must_use]
    pub fn link(&self, client: NodeId, instance: InstanceId, lane: Lane) -> Option<ConnId> {
        let id = self.links.get(&(client, instance, lane))?;
        self.conns.get(id).filter(|conn| conn.client_open).map(|_| *id)
    }

    /// Who listens to the hellos of a data node.
    #[must_use]
    pub fn subscribers(&self, server: NodeId, life: u64) -> Vec<ConnId> {
        let feeds = self.feeds.get(&server).into_iter().flatten();
        feeds.filter(|id| self.conns[id].server_life == Some(life)).copied().collect()
    }

    /// A connection is gone on both sides.
    pub fn forget(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id).filter(|conn| conn.lane == Lane::Feed) {
            self.feeds.entry(conn.server).and_modify(|feeds| _ = feeds.remove(&id));
        }
    }

    /// Can a packet get from one to the other?
    #[must_use]
    pub fn passes(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Both ways open?
    #[must_use]
    pub fn whole(&self, a: NodeId, b: NodeId) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        if from != to {
            self.cut.insert((from, to));
        }
    }

    /// Heals everything; what was held back comes now, a retransmission later.
    pub fn heal(&mut self, now: u64, rng: &mut Rng) -> Vec<(u64, ConnId, Way, Payload)> {
        self.cut.clear();
        let mut freed = Vec::new();
        for (id, conn) in &mut self.conns {
            for (n, way) in [Way::Out, Way::Back].into_iter().enumerate() {
                let at = (now + rng.between(1, 400)).max(conn.last[n]);
                for payload in conn.held[n].drain(..) {
                    conn.last[n] = at;
                    freed.push((at, *id, way, payload));
                }
            }
        }
        freed
    }

    /// When a message arrives; nothing if it is held back or the connection is gone.
    pub fn send(&mut self, now: u64, id: ConnId, way: Way, payload: Payload, rng: &mut Rng) -> Option<(u64, Payload)> {
        let Weather { delay_ms, loss_permille } = self.weather;
        let conn = self.conns.get_mut(&id)?;
        let (n, from, to) = match way {
            Way::Out => (0, conn.client, conn.server),
            Way::Back => (1, conn.server, conn.client),
        };
        if self.cut.contains(&(from, to)) {
            conn.held[n].push_back(payload);
            return None;
        }
        let lost = rng.between(1, 1000) <= loss_permille;
        let delay = rng.between(0, delay_ms) + if lost { rng.between(200, 600) } else { 0 };
        let at = (now + delay).max(conn.last[n]);
        conn.last[n] = at;
        Some((at, payload))
    }
}
