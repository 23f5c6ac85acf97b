//! A node of the simulated world: a journal and data around the plugin's machines, both roles at once.
//!
//! It does what the plugin's shells do, in the same order, with vectors in place of sockets and the keyspace. The
//! stream's commands are lines: `S<n>` a write, `M`/`E` around a unit, `P` a ping, `G` a GETACK.

use super::Rng;
use super::lines::{take_command, unit_end};
use super::truth::{Data, Truth};
use super::wire::{Arrival, ConnId, NodeId, Wire};
use keystead_replication::history::History;
use keystead_replication::link::{Action, Context, Event, Link, Settings, Target, handshake};
use keystead_replication::primary::replconf::{self, Answer, Facts};
use keystead_replication::primary::{self, Limits, Peer, Registry, Shared};
use keystead_replication::psync::{self, Backlog, Decision, Request};
use keystead_replication::units::{Offset, Position, ReplId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `repl-timeout` in the simulation.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// `repl-backlog-size`.
const BACKLOG: u64 = 400;

/// What a node may touch of the world.
pub struct Env<'a> {
    /// Virtual milliseconds.
    pub now: u64,
    /// Chance.
    pub rng: &'a mut Rng,
    /// The network.
    pub wire: &'a mut Wire,
    /// What was really written.
    pub truth: &'a mut Truth,
    /// Who listens.
    pub alive: &'a [bool],
}

/// A connection from a replica of ours.
struct Served {
    inbox: Vec<u8>,
    facts: Facts,
    peer: Option<Peer>,
    shared: Option<Arc<Shared>>,
    /// The next byte of the stream to send.
    cursor: Option<u64>,
    /// The payload that is still to be sent, once the snapshot is ready.
    payload: Option<(u64, Vec<u8>, bool)>,
}

/// A load under way: where it will be, and the bytes so far.
struct Loading {
    bytes: Vec<u8>,
}

/// A node.
pub struct Node {
    /// Its number, which is its port.
    pub id: NodeId,
    /// Its history.
    pub history: History,
    /// The names of its history, if that began with nothing in this process.
    anew: Option<Vec<ReplId>>,
    /// The journal's offset.
    pub offset: Offset,
    /// Its data.
    pub data: Data,
    /// Follows somebody?
    pub following: bool,
    /// The replica's machine.
    pub link: Link,
    /// Its replicas.
    pub registry: Registry,
    /// Full resyncs it took.
    pub loads: u64,
    /// Partial resyncs it took.
    pub resumes: u64,
    /// Kept bytes, and the offset of the first.
    backlog: Option<(u64, Vec<u8>)>,
    conn: Option<ConnId>,
    connecting: Option<(u64, NodeId)>,
    inbox: Vec<u8>,
    partial: Vec<u8>,
    loading: Option<Loading>,
    has_position: bool,
    settings: Settings,
    /// Whom it follows over all hops, as the plugin keeps it.
    upstream: Vec<String>,
    served: BTreeMap<ConnId, Served>,
    last_ping: u64,
}

fn at(now: u64) -> Duration {
    Duration::from_millis(now)
}

/// A fresh id.
pub fn fresh(rng: &mut Rng) -> ReplId {
    let mut bytes = [0u8; 20];
    for b in &mut bytes {
        *b = rng.next_u64() as u8;
    }
    ReplId::from_random(bytes)
}

impl Node {
    /// A node that starts without data. A primary begins a history; a replica has none until it is told.
    pub fn boot(id: NodeId, env: &mut Env<'_>) -> Node {
        let history = History::fresh(fresh(env.rng));
        env.truth.begin(history.replid, &Data::default());
        Node {
            id,
            anew: Some(vec![history.replid]),
            history,
            offset: Offset(0),
            data: Data::default(),
            following: false,
            link: Link::default(),
            registry: Registry::default(),
            loads: 0,
            resumes: 0,
            backlog: None,
            conn: None,
            connecting: None,
            inbox: Vec::new(),
            partial: Vec::new(),
            loading: None,
            has_position: false,
            settings: Settings {
                listening_port: id as u16,
                timeout: TIMEOUT,
                node: Some(fresh(env.rng).to_string()),
                ..Settings::default()
            },
            upstream: Vec::new(),
            served: BTreeMap::new(),
            last_ping: env.now,
        }
    }

    /// REPLICAOF.
    pub fn follow(&mut self, env: &mut Env<'_>, whom: NodeId) {
        if !self.following {
            // A former primary offers its own position, as Redis caches itself as its master.
            self.has_position = !self.data.0.is_empty() || self.backlog.is_some();
        }
        self.following = true;
        self.anew = None;
        self.upstream.clear();
        self.step(env, Event::Follow(Target { host: "node".into(), port: whom as u16 }));
    }

    /// REPLICAOF NO ONE.
    pub fn promote(&mut self, env: &mut Env<'_>) {
        if !self.following {
            return;
        }
        self.following = false;
        self.upstream.clear();
        self.step(env, Event::Unfollow);
        self.history.promote(self.offset, fresh(env.rng));
        self.renamed();
        env.truth.begin(self.history.replid, &self.data);
        self.drop_replicas(env);
    }

    fn renamed(&mut self) {
        self.anew.iter_mut().for_each(|names| names.push(self.history.replid));
    }

    /// A client writes; half of the time in a unit of two.
    pub fn write(&mut self, env: &mut Env<'_>) {
        let values: Vec<u64> = (0..1 + env.rng.below(2)).map(|_| env.rng.below(1_000_000)).collect();
        let mut bytes = Vec::new();
        if values.len() > 1 {
            bytes.extend(b"M\n");
        }
        for v in &values {
            bytes.extend(format!("S{v}\n").bytes());
        }
        if values.len() > 1 {
            bytes.extend(b"E\n");
        }
        self.append(&bytes);
        for v in values {
            self.data.push(self.offset.0, v);
            env.truth.write(self.history.replid, self.offset.0, v);
        }
    }

    /// Bytes into the journal.
    fn append(&mut self, bytes: &[u8]) {
        self.offset = self.offset.plus(bytes.len() as u64);
        // What a syncing replica needs is pinned; an online one that is slow is told that it fell behind.
        let syncing = |s: &&Served| s.shared.as_ref().is_some_and(|s| s.state() != primary::PeerState::Online);
        let pinned = self.served.values().filter(syncing).filter_map(|s| s.cursor).min();
        if let Some((first, kept)) = &mut self.backlog {
            kept.extend(bytes);
            let extra = (kept.len() as u64).saturating_sub(BACKLOG);
            let extra = pinned.map_or(extra, |from| extra.min(from.saturating_sub(*first)));
            kept.drain(..extra as usize);
            *first += extra;
        }
    }

    fn kept(&self) -> Option<Backlog> {
        self.backlog.as_ref().map(|(first, kept)| Backlog { first: Offset(*first), len: kept.len() as u64 })
    }

    /// Everything that is due now.
    pub fn run(&mut self, env: &mut Env<'_>) {
        self.connect_due(env);
        while let Some(arrival) = self.conn.and_then(|c| env.wire.receive(env.now, c, self.id)) {
            match arrival {
                Arrival::Bytes(b) => {
                    self.inbox.extend(b);
                    self.offer(env);
                }
                Arrival::Closed => self.step(env, Event::Failed("closed".into())),
            }
        }
        for conn in self.served.keys().copied().collect::<Vec<_>>() {
            self.serve(env, conn);
        }
    }

    /// Ten times a second.
    pub fn tick(&mut self, env: &mut Env<'_>) {
        self.step(env, Event::Tick);
        if !self.following && env.now - self.last_ping >= 1000 && !self.registry.all().is_empty() {
            self.last_ping = env.now;
            self.append(if env.rng.one_in(2) { b"P\n" } else { b"G\n" });
        }
        for conn in self.served.keys().copied().collect::<Vec<_>>() {
            self.peer_step(env, conn, primary::Event::Tick);
        }
    }

    // ---- the replica's side

    fn step(&mut self, env: &mut Env<'_>, event: Event<'_>) {
        let here = self.has_position.then_some(Position { replid: self.history.replid, offset: self.offset });
        let ctx = Context { settings: &self.settings, here, durable: None, has_data: true };
        let outcome = self.link.step(at(env.now), ctx, event);
        assert_eq!(outcome.consumed, 0, "only bytes are consumed");
        self.act(env, outcome.actions, &[]);
    }

    fn offer(&mut self, env: &mut Env<'_>) {
        let inbox = std::mem::take(&mut self.inbox);
        let here = self.has_position.then_some(Position { replid: self.history.replid, offset: self.offset });
        let ctx = Context { settings: &self.settings, here, durable: None, has_data: !self.data.0.is_empty() };
        let outcome = self.link.step(at(env.now), ctx, Event::Bytes(&inbox));
        self.inbox = inbox[outcome.consumed..].to_vec();
        self.act(env, outcome.actions, &inbox);
    }

    fn act(&mut self, env: &mut Env<'_>, actions: Vec<Action>, bytes: &[u8]) {
        for action in actions {
            match action {
                Action::Connect(target) => {
                    self.connecting = Some((env.now + 1 + env.rng.below(10), target.port.into()))
                }
                Action::Disconnect => self.hang_up(env),
                Action::Send(b) => {
                    if let Some(conn) = self.conn {
                        env.wire.send(env.now, env.rng, conn, self.id, &b);
                    }
                }
                Action::BeginLoad(_) => self.loading = Some(Loading { bytes: Vec::new() }),
                Action::Payload(r) => {
                    if let Some(l) = &mut self.loading {
                        l.bytes.extend(&bytes[r]);
                    }
                }
                Action::FinishLoad { trailer, guarded, at } => self.finish(env, trailer, guarded, at),
                Action::AbortLoad => self.loading = None,
                Action::Resume(replid) => {
                    self.partial.clear();
                    self.resumes += 1;
                    if self.history.adopt_continue(replid, self.offset) {
                        self.drop_replicas(env);
                    }
                }
                Action::Apply(r) => self.apply(env, &bytes[r]),
                Action::Upstream(path) => {
                    if self.upstream != path {
                        self.upstream = path;
                        self.drop_replicas(env);
                    }
                }
                // The simulator's nodes never ask for a handover, and say nothing of how they began.
                Action::Began(_) | Action::AskToTakeOver | Action::HandedOver(_) | Action::Log(..) => {}
            }
        }
    }

    fn hang_up(&mut self, env: &mut Env<'_>) {
        self.connecting = None;
        self.inbox.clear();
        self.partial.clear();
        if let Some(conn) = self.conn.take() {
            env.wire.close(env.now, conn, self.id);
        }
    }

    fn connect_due(&mut self, env: &mut Env<'_>) {
        let Some((due, whom)) = self.connecting.filter(|(due, _)| *due <= env.now) else { return };
        if !env.wire.reachable(self.id, whom) {
            // A SYN into the void: only the machine's timeout ends it.
            self.connecting = Some((due + 50, whom));
        } else if env.alive[whom] {
            self.connecting = None;
            self.conn = Some(env.wire.open(self.id, whom));
            self.step(env, Event::Connected);
        } else {
            self.connecting = None;
            self.step(env, Event::Failed("connection refused".into()));
        }
    }

    fn finish(&mut self, env: &mut Env<'_>, trailer: usize, guarded: bool, at: Option<Position>) {
        let Some(mut load) = self.loading.take() else { return };
        let at = at.expect("every primary here knows PSYNC");
        load.bytes.truncate(load.bytes.len() - trailer);
        let text = String::from_utf8(load.bytes).expect("the payload is text");
        let mut data = Data::default();
        for line in text.lines() {
            let (end, digest) = line.split_once(' ').expect("two numbers a line");
            let (end, digest) = (end.parse().expect("an offset"), digest.parse().expect("a digest"));
            data.0.push(super::truth::Write { end, digest });
        }
        if guarded && data.0.is_empty() && !self.data.0.is_empty() {
            return self.step(env, Event::CameBackEmpty);
        }
        self.drop_replicas(env);
        self.data = data;
        self.history.adopt_full(at.replid);
        self.offset = at.offset;
        self.backlog = Some((at.offset.0 + 1, Vec::new()));
        self.has_position = true;
        self.loads += 1;
        self.step(env, Event::Loaded);
        self.offer(env);
    }

    /// Applies whole units; the journal and the offset move only at their ends.
    fn apply(&mut self, env: &mut Env<'_>, bytes: &[u8]) {
        self.partial.extend(bytes);
        while let Some(end) = unit_end(&self.partial) {
            let unit: Vec<u8> = self.partial.drain(..end).collect();
            let before = self.offset;
            self.append(&unit);
            for line in String::from_utf8_lossy(&unit).lines() {
                match line.split_at(1) {
                    ("S", value) => self.data.push(self.offset.0, value.parse().expect("a number")),
                    ("G", _) => self.step(env, Event::AckAsked(before)),
                    _ => {}
                }
            }
        }
    }

    // ---- the primary's side

    /// A replica connected.
    pub fn accept(&mut self, conn: ConnId) {
        let served = Served {
            inbox: Vec::new(),
            facts: Facts::default(),
            peer: None,
            shared: None,
            cursor: None,
            payload: None,
        };
        self.served.insert(conn, served);
    }

    fn drop_replicas(&mut self, env: &mut Env<'_>) {
        for conn in self.served.keys().copied().collect::<Vec<_>>() {
            self.drop_served(env, conn);
        }
    }

    fn drop_served(&mut self, env: &mut Env<'_>, conn: ConnId) {
        if let Some(served) = self.served.remove(&conn) {
            if let Some(shared) = served.shared {
                self.registry.remove(&shared);
            }
            env.wire.close(env.now, conn, self.id);
        }
    }

    fn serve(&mut self, env: &mut Env<'_>, conn: ConnId) {
        while let Some(arrival) = env.wire.receive(env.now, conn, self.id) {
            match arrival {
                Arrival::Closed => return self.drop_served(env, conn),
                Arrival::Bytes(b) => {
                    let Some(served) = self.served.get_mut(&conn) else { return };
                    served.inbox.extend(b);
                    while let Some(argv) = self.served.get_mut(&conn).and_then(|s| take_command(&mut s.inbox)) {
                        self.command(env, conn, &argv);
                    }
                }
            }
        }
        self.pump(env, conn);
    }

    fn command(&mut self, env: &mut Env<'_>, conn: ConnId, argv: &[Vec<u8>]) {
        let Some(served) = self.served.get_mut(&conn) else { return };
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let path;
        let reply: &[u8] = match words.first().copied() {
            None => return self.peer_step(env, conn, primary::Event::SignOfLife),
            Some(b"PING") => b"+PONG\r\n",
            Some(b"REPLCONF") => match replconf::handle(&mut served.facts, &words[1..]) {
                Answer::Ok => b"+OK\r\n",
                Answer::Path => {
                    let own = self.settings.node.as_deref().expect("it has an id");
                    path = format!(
                        "+{}\r\n",
                        handshake::path_answer(own, &self.upstream, &self.history, self.anew.clone(), None)
                    );
                    path.as_bytes()
                }
                Answer::Ack { offset, .. } => return self.peer_step(env, conn, primary::Event::Ack(offset)),
                other => panic!("the link said {argv:?}: {other:?}"),
            },
            Some(b"PSYNC") => return self.psync(env, conn, words[1], words[2]),
            _ => panic!("the link said {argv:?}"),
        };
        env.wire.send(env.now, env.rng, conn, self.id, reply);
    }

    fn psync(&mut self, env: &mut Env<'_>, conn: ConnId, replid: &[u8], offset: &[u8]) {
        if self.following && !self.link.up() {
            return env.wire.send(env.now, env.rng, conn, self.id, b"-NOMASTERLINK not yet\r\n");
        }
        if self.backlog.is_none() {
            self.history.forget(fresh(env.rng));
            self.renamed();
            env.truth.begin(self.history.replid, &self.data);
            self.backlog = Some((self.offset.0 + 1, Vec::new()));
        }
        let offset = std::str::from_utf8(offset).ok().and_then(|o| o.parse().ok()).expect("a number");
        let (request, partial) = Request::parse(replid, offset);
        let decision = psync::decide(&request, partial, &self.history, self.kept());
        let Some(served) = self.served.get_mut(&conn) else { return };
        let shared = Arc::new(Shared::new(conn, "node".into(), &served.facts));
        served.shared = Some(shared.clone());
        self.registry.add(&shared);
        let reply = match decision {
            Decision::Continue { from } => {
                served.peer = Some(Peer::continuing(at(env.now), shared));
                served.cursor = Some(from.0);
                format!("+CONTINUE {}\r\n", self.history.replid)
            }
            Decision::Full { .. } => {
                served.peer = Some(Peer::waiting(at(env.now), shared));
                served.cursor = None;
                let marked = env.rng.one_in(2);
                let ready = env.now + env.rng.below(2000);
                let mut payload = Vec::new();
                for w in &self.data.0 {
                    payload.extend(format!("{} {}\n", w.end, w.digest).bytes());
                }
                let mark = [b'x'; 40];
                let mut bytes = if marked {
                    [&b"$EOF:"[..], &mark, b"\r\n", &payload, &mark].concat()
                } else {
                    [format!("${}\r\n", payload.len()).as_bytes(), &payload].concat()
                };
                bytes.reverse();
                served.payload = Some((ready, bytes, marked));
                // The cut is here: the stream that follows the payload begins at the next byte.
                served.cursor = Some(self.offset.0 + 1);
                format!("+FULLRESYNC {} {}\r\n", self.history.replid, self.offset)
            }
        };
        env.wire.send(env.now, env.rng, conn, self.id, reply.as_bytes());
    }

    fn peer_step(&mut self, env: &mut Env<'_>, conn: ConnId, event: primary::Event) {
        let Some(peer) = self.served.get_mut(&conn).and_then(|s| s.peer.as_mut()) else { return };
        match peer.step(at(env.now), Limits { timeout: TIMEOUT }, event) {
            Some(primary::Action::Newline) => env.wire.send(env.now, env.rng, conn, self.id, b"\n"),
            Some(primary::Action::Close(_)) => self.drop_served(env, conn),
            Some(primary::Action::StartStream) | None => {}
        }
    }

    /// Payload and stream, as far as they go now.
    fn pump(&mut self, env: &mut Env<'_>, conn: ConnId) {
        let Some(served) = self.served.get_mut(&conn) else { return };
        if let Some((ready, bytes, marked)) = &mut served.payload {
            if *ready > env.now {
                return;
            }
            let begins = served.shared.as_ref().is_some_and(|s| s.state() == primary::PeerState::WaitBgsave);
            let keep = bytes.len().saturating_sub(1 + env.rng.below(4000) as usize);
            let mut piece = bytes.split_off(keep);
            piece.reverse();
            let done = bytes.is_empty().then_some(*marked);
            if done.is_some() {
                served.payload = None;
            }
            env.wire.send(env.now, env.rng, conn, self.id, &piece);
            if begins {
                self.peer_step(env, conn, primary::Event::PayloadBegins { diskless: false });
            }
            if let Some(marked) = done {
                self.peer_step(env, conn, primary::Event::PayloadSent { marked });
            }
            return;
        }
        let online = served.shared.as_ref().is_some_and(|s| s.state() == primary::PeerState::Online);
        let (Some(from), true, Some((first, kept))) = (served.cursor, online, &self.backlog) else { return };
        if from < *first {
            // The window moved on: the reader is told, by losing its connection.
            return self.drop_served(env, conn);
        }
        let piece = kept[(from - first) as usize..].to_vec();
        if !piece.is_empty() {
            served.cursor = Some(from + piece.len() as u64);
            env.wire.send(env.now, env.rng, conn, self.id, &piece);
        }
    }
}
