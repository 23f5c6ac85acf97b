//! Processes, the event queue and virtual time. Carries out the machines' actions in order, writes their state to
//! simulated disks, and tells the checkers everything that leaves a process.

use super::check::Checker;
use super::data::{DataNode, Role, Upstream};
use super::net::{ConnId, Net, NodeId, Payload, Way, Weather};
use super::strategies::Loaded;
use keystead_sentinel::actions::{Action, Event, Watch};
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::monitor::Monitor;
use keystead_sentinel::outbox::Outbox;
use keystead_sentinel::settings::Settings;
use keystead_sentinel::state::State;
use keystead_sentinel::types::{Addr, Lane, Mono, Rng};
use keystead_sentinel::wire::{Reply, Request};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// Replication of the data nodes moves in steps of this.
const DATA_STEP_MS: u64 = 50;
/// Name of the one primary.
pub const PRIMARY: &str = "mymaster";

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Data nodes, the first is the primary.
    pub data_nodes: usize,
    /// Sentinels.
    pub sentinels: usize,
    /// Their settings.
    pub settings: Settings,
    /// So many of the sentinels hide that they are Keystead: their peers treat them as stock.
    pub plain: usize,
    /// Data nodes keep their data when their primary comes back empty.
    pub keeps_data: bool,
    /// The network.
    pub weather: Weather,
    /// A write of a sentinel's state takes up to this long.
    pub disk_ms: u64,
}

impl Shape {
    /// So many nodes, a good network, fast disks.
    #[must_use]
    pub fn calm(data_nodes: usize, sentinels: usize, settings: Settings) -> Shape {
        let weather = Weather { delay_ms: 1, loss_permille: 0 };
        Shape { data_nodes, sentinels, settings, plain: 0, keeps_data: false, weather, disk_ms: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct SentinelProcess {
    pub(crate) machine: Option<Sentinel>,
    pub(crate) disk: Option<State>,
    pub(crate) plain: bool,
    pub(crate) wake: u64,
    pub(crate) tickets: BTreeMap<u64, (ConnId, Request, u64)>,
    pub(crate) next_ticket: u64,
    pub(crate) outbox: Outbox,
}

#[derive(Debug)]
pub(crate) enum Program {
    Data(Box<DataNode>),
    Sentinel(Box<SentinelProcess>),
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) program: Program,
    pub(crate) alive: bool,
    pub(crate) life: u64,
    pub(crate) paused: bool,
    /// A write was done while it was paused.
    pub(crate) unheard_write: Option<u64>,
    pub(crate) inbox: VecDeque<(ConnId, Way, Payload)>,
}

#[derive(Debug)]
pub(crate) enum Queued {
    Arrive(ConnId, Way, Payload),
    Wake(NodeId, u64),
    DataStep,
    /// The write of that process' life reaches the disk.
    Written(NodeId, u64, u64, Box<State>),
}

/// A world.
#[derive(Debug)]
pub struct World {
    /// Virtual time, ms.
    pub now: u64,
    /// Dice of the network and the faults.
    pub rng: Rng,
    /// Who watches.
    pub checker: Checker,
    /// Its shape.
    pub shape: Shape,
    pub(crate) net: Net,
    pub(crate) processes: Vec<Process>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Queued>,
    sequence: u64,
    pub(crate) histories: u64,
    /// The next write of that sentinel's state ends its process: before or behind the write.
    pub(crate) crash_on_persist: Option<(NodeId, bool)>,
    /// Print what happens.
    pub trace: bool,
    /// Every event of every sentinel, in order: the history as operators would see it.
    pub transcript: Vec<String>,
    pub(crate) strategies: Loaded,
    /// What sentinels answered to an operator.
    pub told: Vec<Reply>,
}

impl World {
    /// A world that has just been started, with every strategy of ours.
    #[must_use]
    pub fn new(seed: u64, shape: Shape, trace: bool) -> World {
        World::with(seed, shape, Loaded::default(), trace)
    }

    /// As `new`, with these strategies in every sentinel.
    #[must_use]
    pub fn with(seed: u64, shape: Shape, strategies: Loaded, trace: bool) -> World {
        let mut world = World {
            now: 0,
            rng: Rng::new(seed),
            checker: Checker::default(),
            net: Net::new(shape.weather),
            processes: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            histories: 100,
            crash_on_persist: None,
            trace,
            transcript: Vec::new(),
            told: Vec::new(),
            strategies,
            shape,
        };
        for n in 0..world.shape.data_nodes {
            let role = if n == 0 { Role::Primary } else { Role::Replica(data_addr(0)) };
            let mut node = DataNode::new(data_addr(n), role, n as u64 + 1);
            node.keeps_data = world.shape.keeps_data;
            world.add(Program::Data(Box::new(node)));
        }
        for n in 0..world.shape.sentinels {
            let process = SentinelProcess {
                machine: None,
                disk: None,
                plain: n < world.shape.plain,
                wake: 0,
                tickets: BTreeMap::new(),
                next_ticket: 1,
                outbox: Outbox::default(),
            };
            let id = world.add(Program::Sentinel(Box::new(process)));
            world.boot_sentinel(id);
        }
        world.push(0, Queued::DataStep);
        world
    }

    pub(crate) fn add(&mut self, program: Program) -> NodeId {
        let (alive, paused, unheard_write) = (true, false, None);
        self.processes.push(Process { program, alive, life: 1, paused, unheard_write, inbox: VecDeque::new() });
        self.processes.len() - 1
    }

    /// The sentinels' processes.
    pub fn sentinel_ids(&self) -> std::ops::Range<NodeId> {
        self.shape.data_nodes..self.shape.data_nodes + self.shape.sentinels
    }

    /// A data node.
    #[must_use]
    pub fn data(&self, id: NodeId) -> &DataNode {
        match &self.processes[id].program {
            Program::Data(node) => node,
            Program::Sentinel(_) => unreachable!("data nodes come first"),
        }
    }

    /// A data node, to change it.
    pub fn data_mut(&mut self, id: NodeId) -> &mut DataNode {
        match &mut self.processes[id].program {
            Program::Data(node) => node,
            Program::Sentinel(_) => unreachable!("data nodes come first"),
        }
    }

    /// A sentinel, if it runs.
    #[must_use]
    pub fn sentinel(&self, id: NodeId) -> Option<&Sentinel> {
        match &self.processes[id].program {
            Program::Sentinel(process) => process.machine.as_ref(),
            Program::Data(_) => None,
        }
    }

    pub(crate) fn monitor(&self, id: NodeId) -> Option<&Monitor> {
        self.sentinel(id)?.monitors().get(PRIMARY)
    }

    /// It runs and isn't paused.
    #[must_use]
    pub fn runs(&self, id: NodeId) -> bool {
        self.processes[id].alive && !self.processes[id].paused
    }

    /// The data node with that address.
    #[must_use]
    pub fn data_id(&self, addr: &Addr) -> Option<NodeId> {
        (0..self.shape.data_nodes).find(|n| data_addr(*n) == *addr)
    }

    /// Says what happens, when asked to.
    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>8} {}", self.now, text());
        }
    }

    pub(crate) fn push(&mut self, at: u64, event: Queued) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    /// Runs until that moment.
    pub fn run_until(&mut self, until: u64) {
        while let Some(Reverse((at, sequence))) = self.queue.peek().copied() {
            if at > until {
                break;
            }
            self.queue.pop();
            let Some(event) = self.events.remove(&sequence) else { continue };
            self.now = self.now.max(at);
            match event {
                Queued::Arrive(conn, way, payload) => self.arrive(conn, way, payload),
                Queued::Wake(id, at) => self.wake(id, at),
                Queued::DataStep => self.data_step(),
                Queued::Written(id, life, took, state) => self.written(id, (life, took), *state),
            }
        }
        self.now = until;
    }

    // ---------- data nodes

    pub(crate) fn data_step(&mut self) {
        self.push(self.now + DATA_STEP_MS, Queued::DataStep);
        let views: Vec<Upstream> = (0..self.shape.data_nodes).map(|n| self.upstream_view(n)).collect();
        for id in 0..self.shape.data_nodes {
            if !self.runs(id) {
                continue;
            }
            let writes = self.rng.between(0, 20);
            let (now, role) = (self.now, self.data(id).role.clone());
            match role {
                Role::Primary if now >= self.data(id).loading_until && !self.data(id).blank => {
                    self.data_mut(id).offset += writes;
                }
                Role::Primary => {}
                Role::Replica(of) => {
                    let upstream = self.data_id(&of);
                    let gone = upstream.is_some_and(|up| !self.processes[up].alive && self.net.whole(id, up));
                    let seen = upstream.filter(|up| *up != id && self.runs(*up) && self.net.whole(id, *up));
                    let view = seen.map(|up| views[up]);
                    let mut rng = self.rng.clone();
                    self.data_mut(id).replicate(now, view, gone, &mut rng);
                    self.rng = rng;
                }
            }
        }
        for id in 0..self.shape.data_nodes {
            let follows = |n: &NodeId| {
                let node = self.data(*n);
                node.role == Role::Replica(data_addr(id)) && matches!(node.link, super::data::Link::Up(_))
            };
            let replicas = (0..self.shape.data_nodes).filter(follows).map(data_addr).collect();
            self.data_mut(id).replicas = replicas;
        }
    }

    pub(crate) fn upstream_view(&self, id: NodeId) -> Upstream {
        let node = self.data(id);
        let in_sync = match node.role {
            Role::Primary => true,
            Role::Replica(_) => matches!(node.link, super::data::Link::Up(_)),
        };
        Upstream {
            history: node.history,
            offset: node.offset,
            serves: in_sync && self.now >= node.loading_until,
            empty: node.blank,
            precious: node.precious,
        }
    }

    // ---------- sentinels

    pub(crate) fn boot_sentinel(&mut self, id: NodeId) {
        let (now, seed) = (self.now, self.rng.next_u64());
        let settings = self.shape.settings.clone();
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let (machine, actions) = Sentinel::new(Boot {
            now: Mono(now),
            id: format!("{id:040x}"),
            announce: sentinel_addr(id),
            announce_fixed: true,
            watches: vec![Watch { name: PRIMARY.into(), addr: data_addr(0), settings }],
            saved: process.disk.clone(),
            seed,
            options: Default::default(),
            strategies: self.strategies.names(),
        });
        process.machine = Some(machine);
        process.outbox = Outbox::default();
        process.wake = 0;
        self.work(id, actions);
        self.plan_wake(id);
    }

    pub(crate) fn plan_wake(&mut self, id: NodeId) {
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let Some(machine) = &process.machine else { return };
        let at = machine.next_wake().0;
        if process.wake != at {
            process.wake = at;
            self.push(at, Queued::Wake(id, at));
        }
    }

    pub(crate) fn wake(&mut self, id: NodeId, at: u64) {
        if !self.runs(id) {
            return;
        }
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        if process.wake == at {
            self.step(id, Event::Tick);
        }
    }

    pub(crate) fn step(&mut self, id: NodeId, event: Event) {
        if !self.runs(id) {
            return;
        }
        let now = Mono(self.now);
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let Some(machine) = &mut process.machine else { return };
        let actions = machine.step(now, event);
        self.work(id, actions);
        self.plan_wake(id);
    }

    fn work(&mut self, id: NodeId, actions: Vec<Action>) {
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let ready = process.outbox.push(actions);
        self.carry_out(id, ready);
    }

    fn carry_out(&mut self, id: NodeId, actions: Vec<Action>) {
        let mut answers = Vec::new();
        for action in actions {
            match action {
                Action::Persist(state) => {
                    let (life, takes) = (self.processes[id].life, self.rng.between(0, self.shape.disk_ms));
                    self.push(self.now + takes, Queued::Written(id, life, takes, state));
                }
                Action::Connect { instance, lane, generation, addr, .. } => {
                    let Some(server) = self.by_addr(&addr) else { continue };
                    let life = self.processes[id].life;
                    let conn = self.net.open((id, life), server, (instance, lane, generation));
                    self.transmit(conn, Way::Out, Payload::Syn);
                }
                Action::Disconnect { instance, lane } => {
                    let found = self
                        .net
                        .conns
                        .iter_mut()
                        .find(|(_, c)| c.client == id && c.instance == instance && c.lane == lane && c.client_open);
                    if let Some((conn, c)) = found {
                        c.client_open = false;
                        let conn = *conn;
                        self.transmit(conn, Way::Out, Payload::Closed);
                    }
                }
                Action::Send { instance, generation, request, round } => {
                    self.check_request(id, instance, &request);
                    let found = self.net.conns.iter().find(|(_, c)| {
                        c.client == id
                            && c.instance == instance
                            && c.generation == generation
                            && c.lane == Lane::Command
                    });
                    if let Some(conn) = found.filter(|(_, c)| c.client_open).map(|(conn, _)| *conn) {
                        self.transmit(conn, Way::Out, Payload::Request(request, round));
                    }
                }
                Action::Reply { ticket, reply } => {
                    let Program::Sentinel(process) = &mut self.processes[id].program else { continue };
                    let Some((conn, request, round)) = process.tickets.remove(&ticket) else {
                        self.say(|| format!("{} tells the operator {reply:?}", self.name(id)));
                        self.told.push(reply);
                        continue;
                    };
                    let me = process.machine.as_ref().map(|m| m.id().to_owned()).unwrap_or_default();
                    self.checker.on_vote_reply(self.now, &me, &request, &reply);
                    self.transmit(conn, Way::Back, Payload::Reply(request, round, reply));
                }
                Action::Emit(notice) => {
                    self.say(|| format!("{} {} {}", self.name(id), notice.name, notice.payload));
                    self.transcript.push(format!("{} {} {} {}", self.now, self.name(id), notice.name, notice.payload));
                    let epoch = self.monitor(id).and_then(|m| m.failover.campaign());
                    self.checker.on_event(self.now, id, &notice, epoch);
                }
                Action::Crash => return self.kill(id),
                Action::Log(_, text) => self.say(|| format!("{} # {text}", self.name(id))),
                // No names, scripts or log here.
                Action::Resolve(_) | Action::Script(_) | Action::LogLevel(_) => {}
                Action::Consult { monitor, ticket, strategy, question } => {
                    let advice = self.strategies.consult(&strategy, &question);
                    answers.push(Event::Advice { monitor, ticket, advice });
                }
            }
        }
        // Behind all of this step, as in the driver: what they lead to is written last.
        for answer in answers {
            self.step(id, answer);
        }
    }

    fn written(&mut self, id: NodeId, (life, took): (u64, u64), state: State) {
        if !self.processes[id].alive || self.processes[id].life != life {
            return;
        }
        let crash = self.crash_on_persist.take_if(|(who, _)| *who == id);
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        if crash.is_none_or(|(_, behind)| behind) {
            process.disk = Some(state);
        }
        if crash.is_some() {
            return self.kill(id);
        }
        if self.processes[id].paused {
            self.processes[id].unheard_write = Some(took);
            return;
        }
        self.hear_of_write(id, took);
    }

    /// The process hears that its state is on the disk.
    pub(crate) fn hear_of_write(&mut self, id: NodeId, ms: u64) {
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let released = process.outbox.written(true);
        self.carry_out(id, released);
        self.step(id, Event::Written { ms });
    }

    pub(crate) fn check_request(
        &mut self,
        id: NodeId,
        instance: keystead_sentinel::types::InstanceId,
        request: &Request,
    ) {
        let Some(machine) = self.sentinel(id) else { return };
        let target = machine.monitors().get(PRIMARY).and_then(|m| m.instances.get(&instance)).map(|i| i.addr.clone());
        let me = machine.id().to_owned();
        self.checker.on_request(self.now, &me, request);
        if let (Request::Follow(to), Some(target)) = (request, target) {
            let to = to.as_ref().map_or("NO ONE".to_owned(), Addr::to_string);
            self.say(|| format!("{} tells {target} SLAVEOF {to}", self.name(id)));
        }
    }
}

/// Where a data node listens.
#[must_use]
pub fn data_addr(id: NodeId) -> Addr {
    Addr::new(format!("10.0.0.{}", id + 1), 6379)
}

/// Where a sentinel listens.
#[must_use]
pub fn sentinel_addr(id: NodeId) -> Addr {
    Addr::new(format!("10.0.1.{}", id + 1), 26379)
}
