//! Processes, the event queue and virtual time. Carries out the machines' actions in order, writes their state to
//! simulated disks, and tells the checkers everything that leaves a process.

use super::check::Checker;
use super::data::{DataNode, Role, Upstream};
use super::net::{ConnId, Net, NodeId, Payload, Way, Weather};
use keystead_sentinel::actions::{Action, Consult, Counsel, Event, Watch};
use keystead_sentinel::election::{ElectionStrategy, RedisElection};
use keystead_sentinel::failover::Failover;
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::monitor::Monitor;
use keystead_sentinel::select::{RedisSelection, ReplicaSelection};
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
}

#[derive(Debug)]
struct SentinelProcess {
    machine: Option<Sentinel>,
    disk: Option<State>,
    plain: bool,
    wake: u64,
    tickets: BTreeMap<u64, (ConnId, Request, u64)>,
    next_ticket: u64,
}

#[derive(Debug)]
enum Program {
    Data(Box<DataNode>),
    Sentinel(Box<SentinelProcess>),
}

#[derive(Debug)]
struct Process {
    program: Program,
    alive: bool,
    life: u64,
    paused: bool,
    inbox: VecDeque<(ConnId, Way, Payload)>,
}

#[derive(Debug)]
enum Queued {
    Arrive(ConnId, Way, Payload),
    Wake(NodeId, u64),
    DataStep,
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
    net: Net,
    processes: Vec<Process>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Queued>,
    sequence: u64,
    histories: u64,
    /// The next write of that sentinel's state ends its process: before or behind the write.
    crash_on_persist: Option<(NodeId, bool)>,
    /// Print what happens.
    pub trace: bool,
    /// Every event of every sentinel, in order: the history as operators would see it.
    pub transcript: Vec<String>,
}

impl World {
    /// A world that has just been started.
    #[must_use]
    pub fn new(seed: u64, shape: Shape, trace: bool) -> World {
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
            };
            let id = world.add(Program::Sentinel(Box::new(process)));
            world.boot_sentinel(id);
        }
        world.push(0, Queued::DataStep);
        world
    }

    fn add(&mut self, program: Program) -> NodeId {
        self.processes.push(Process { program, alive: true, life: 1, paused: false, inbox: VecDeque::new() });
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

    fn monitor(&self, id: NodeId) -> Option<&Monitor> {
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

    fn push(&mut self, at: u64, event: Queued) {
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
            }
        }
        self.now = until;
    }

    // ---------- faults

    /// Ends a process.
    pub fn kill(&mut self, id: NodeId) {
        if !self.processes[id].alive {
            return;
        }
        self.say(|| format!("fault: kill {}", self.name(id)));
        self.processes[id].alive = false;
        self.processes[id].paused = false;
        self.processes[id].inbox.clear();
        if let Program::Sentinel(process) = &mut self.processes[id].program {
            process.machine = None;
            process.tickets.clear();
        }
        let ids: Vec<ConnId> = self.net.conns.keys().copied().collect();
        for conn in ids {
            let Some(c) = self.net.conns.get_mut(&conn) else { continue };
            if c.client == id {
                c.client_open = false;
                self.transmit(conn, Way::Out, Payload::Closed);
            } else if c.server == id {
                self.transmit(conn, Way::Back, Payload::Closed);
            }
        }
    }

    /// Starts a process again.
    pub fn restart(&mut self, id: NodeId, with_data: bool) {
        if self.processes[id].alive {
            return;
        }
        self.say(|| format!("fault: restart {} {}", self.name(id), if with_data { "" } else { "without data" }));
        self.processes[id].alive = true;
        self.processes[id].life += 1;
        self.histories += 1;
        let (now, fresh) = (self.now, self.histories);
        let load = self.rng.between(0, 400);
        match &mut self.processes[id].program {
            Program::Data(node) => node.restart(now, with_data, if with_data { load } else { 0 }, fresh),
            Program::Sentinel(_) => self.boot_sentinel(id),
        }
    }

    /// SIGSTOP.
    pub fn pause(&mut self, id: NodeId) {
        if self.runs(id) {
            self.say(|| format!("fault: pause {}", self.name(id)));
            self.processes[id].paused = true;
        }
    }

    /// SIGCONT: what arrived meanwhile is read before or after the timers fire.
    pub fn resume(&mut self, id: NodeId) {
        if !self.processes[id].paused {
            return;
        }
        self.say(|| format!("fault: resume {}", self.name(id)));
        self.processes[id].paused = false;
        let timers_first = self.rng.between(0, 1) == 0;
        if timers_first {
            self.step(id, Event::Tick);
        }
        let inbox = std::mem::take(&mut self.processes[id].inbox);
        for (conn, way, payload) in inbox {
            self.arrive(conn, way, payload);
        }
        self.step(id, Event::Tick);
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.say(|| format!("fault: cut {} -> {}", self.name(from), self.name(to)));
        self.net.cut(from, to);
    }

    /// Heals the network.
    pub fn heal(&mut self) {
        self.say(|| "fault: network healed".to_owned());
        for (at, conn, way, payload) in self.net.heal(self.now, &mut self.rng) {
            self.push(at, Queued::Arrive(conn, way, payload));
        }
    }

    /// Changes the network's delays.
    pub fn set_weather(&mut self, weather: Weather) {
        self.say(|| format!("fault: {weather:?}"));
        self.net.weather = weather;
    }

    /// The sentinel's next write of its state ends it.
    pub fn crash_on_persist(&mut self, id: NodeId, behind: bool) {
        self.say(|| format!("fault: {} will crash at its next write (behind it: {behind})", self.name(id)));
        self.crash_on_persist = Some((id, behind));
    }

    /// The process' name in traces.
    #[must_use]
    pub fn name(&self, id: NodeId) -> String {
        if id < self.shape.data_nodes { format!("data{id}") } else { format!("sentinel{}", id - self.shape.data_nodes) }
    }

    // ---------- data nodes

    fn data_step(&mut self) {
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

    fn upstream_view(&self, id: NodeId) -> Upstream {
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
        }
    }

    // ---------- sentinels

    fn boot_sentinel(&mut self, id: NodeId) {
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
        });
        process.machine = Some(machine);
        process.wake = 0;
        self.carry_out(id, actions);
        self.plan_wake(id);
    }

    fn plan_wake(&mut self, id: NodeId) {
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let Some(machine) = &process.machine else { return };
        let at = machine.next_wake().0;
        if process.wake != at {
            process.wake = at;
            self.push(at, Queued::Wake(id, at));
        }
    }

    fn wake(&mut self, id: NodeId, at: u64) {
        if !self.runs(id) {
            return;
        }
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        if process.wake == at {
            self.step(id, Event::Tick);
        }
    }

    fn step(&mut self, id: NodeId, event: Event) {
        if !self.runs(id) {
            return;
        }
        let now = Mono(self.now);
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let Some(machine) = &mut process.machine else { return };
        let actions = machine.step(now, event);
        self.carry_out(id, actions);
        self.plan_wake(id);
    }

    fn carry_out(&mut self, id: NodeId, actions: Vec<Action>) {
        let mut answers = Vec::new();
        for action in actions {
            if !self.processes[id].alive {
                return; // crashed at a write: nothing behind it leaves
            }
            match action {
                Action::Persist(state) => self.persist(id, *state),
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
                    let Some((conn, request, round)) = process.tickets.remove(&ticket) else { continue };
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
                Action::Log(_, text) => self.say(|| format!("{} # {text}", self.name(id))),
                Action::Consult { monitor, ticket, question } => {
                    let advice = match question {
                        Consult::Election(question) => Counsel::Election(RedisElection.advise(&question)),
                        Consult::Selection(request) => Counsel::Selection(RedisSelection.rank(&request)),
                    };
                    answers.push(Event::Advice { monitor, ticket, advice });
                }
            }
        }
        // Behind all of this step, as in the driver: what they lead to is written last.
        for answer in answers {
            self.step(id, answer);
        }
    }

    fn persist(&mut self, id: NodeId, state: State) {
        let crash = self.crash_on_persist.take_if(|(who, _)| *who == id);
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        match crash {
            None => process.disk = Some(state),
            Some((_, behind)) => {
                if behind {
                    process.disk = Some(state);
                }
                self.kill(id);
            }
        }
    }

    fn check_request(&mut self, id: NodeId, instance: keystead_sentinel::types::InstanceId, request: &Request) {
        let Some(machine) = self.sentinel(id) else { return };
        let target = machine.monitors().get(PRIMARY).and_then(|m| m.instances.get(&instance)).map(|i| i.addr.clone());
        let me = machine.id().to_owned();
        self.checker.on_request(self.now, &me, request);
        if let (Request::Follow(to), Some(target)) = (request, target) {
            let to = to.as_ref().map_or("NO ONE".to_owned(), Addr::to_string);
            self.say(|| format!("{} tells {target} SLAVEOF {to}", self.name(id)));
        }
    }

    // ---------- messages

    fn by_addr(&self, addr: &Addr) -> Option<NodeId> {
        (0..self.processes.len())
            .find(|id| *addr == if *id < self.shape.data_nodes { data_addr(*id) } else { sentinel_addr(*id) })
    }

    fn transmit(&mut self, conn: ConnId, way: Way, payload: Payload) {
        if let Some((at, payload)) = self.net.send(self.now, conn, way, payload, &mut self.rng) {
            self.push(at, Queued::Arrive(conn, way, payload));
        }
    }

    fn arrive(&mut self, conn: ConnId, way: Way, payload: Payload) {
        let Some(c) = self.net.conns.get(&conn) else { return };
        let to = if way == Way::Out { c.server } else { c.client };
        if self.processes[to].paused {
            // The kernel of a stopped process still accepts.
            if matches!(payload, Payload::Syn) {
                return self.accept(conn);
            }
            self.processes[to].inbox.push_back((conn, way, payload));
            return;
        }
        match way {
            Way::Out => self.at_server(conn, payload),
            Way::Back => self.at_client(conn, payload),
        }
    }

    fn accept(&mut self, conn: ConnId) {
        let Some(c) = self.net.conns.get_mut(&conn) else { return };
        c.server_life = Some(self.processes[c.server].life);
        self.transmit(conn, Way::Back, Payload::Accepted);
    }

    fn at_server(&mut self, conn: ConnId, payload: Payload) {
        let c = self.net.conns[&conn].clone();
        let alive = self.processes[c.server].alive;
        match payload {
            Payload::Syn if alive => self.accept(conn),
            Payload::Syn => self.transmit(conn, Way::Back, Payload::Refused),
            Payload::Closed => {
                self.net.conns.remove(&conn);
            }
            Payload::Request(request, round) => {
                if !alive || c.server_life != Some(self.processes[c.server].life) {
                    return self.transmit(conn, Way::Back, Payload::Closed);
                }
                if c.server < self.shape.data_nodes {
                    self.at_data_node(conn, c.server, request, round);
                } else {
                    self.at_sentinel(conn, c.server, request, round);
                }
            }
            _ => {}
        }
    }

    fn at_data_node(&mut self, conn: ConnId, id: NodeId, request: Request, round: u64) {
        self.histories += 1;
        let (now, fresh) = (self.now, self.histories);
        let (reply, effects) = self.data_mut(id).execute(now, &request.commands(), fresh);
        if effects.promoted {
            self.say(|| format!("data{id} is now a primary"));
            self.checker.on_promotion(now, id);
        }
        if let Some(to) = &effects.follows {
            let client = self.net.conns[&conn].client;
            self.say(|| format!("data{id} now follows {to}"));
            let teller =
                self.monitor(client).map(|m| (m.config_epoch.0, matches!(m.failover, Failover::Reconfigure { .. })));
            let best = self.best_config();
            self.checker.on_follow(now, id, (&data_addr(id), to), teller, best);
        }
        if let Some(text) = effects.publish {
            let subscribers: Vec<ConnId> = self
                .net
                .conns
                .iter()
                .filter(|(_, c)| {
                    c.server == id && c.lane == Lane::Feed && c.server_life == Some(self.processes[id].life)
                })
                .map(|(conn, _)| *conn)
                .collect();
            for subscriber in subscribers {
                self.transmit(subscriber, Way::Back, Payload::Message(text.clone()));
            }
        }
        self.transmit(conn, Way::Back, Payload::Reply(request, round, reply));
        if effects.kill_clients {
            let others: Vec<ConnId> =
                self.net.conns.iter().filter(|(other, c)| c.server == id && **other != conn).map(|(c, _)| *c).collect();
            for other in others {
                if let Some(c) = self.net.conns.get_mut(&other) {
                    c.server_life = None;
                }
                self.transmit(other, Way::Back, Payload::Closed);
            }
        }
    }

    /// The configuration with the highest epoch that any sentinel holds.
    fn best_config(&self) -> Option<(u64, Addr)> {
        self.sentinel_ids()
            .filter_map(|id| self.sentinel(id))
            .filter_map(|s| s.monitors().get(PRIMARY))
            .map(|m| (m.config_epoch.0, m.current_addr().clone()))
            .max()
    }

    fn at_sentinel(&mut self, conn: ConnId, id: NodeId, request: Request, round: u64) {
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let reply = match &request {
            Request::Ping => Reply::Status("PONG".into()),
            Request::Info if process.plain => Reply::Bulk("redis_version:7.0.15\r\nredis_mode:sentinel\r\n".into()),
            Request::Info => Reply::Bulk("redis_version:7.2.4\r\nkeystead_version:0.1.0\r\n".into()),
            _ => {
                let ticket = process.next_ticket;
                process.next_ticket += 1;
                let argv = request.commands().pop().unwrap_or_default();
                process.tickets.insert(ticket, (conn, request, round));
                return self.step(id, Event::Command { ticket, argv });
            }
        };
        self.transmit(conn, Way::Back, Payload::Reply(request, round, reply));
    }

    fn at_client(&mut self, conn: ConnId, payload: Payload) {
        let c = self.net.conns[&conn].clone();
        if !self.processes[c.client].alive || self.processes[c.client].life != c.client_life || !c.client_open {
            return;
        }
        let (instance, lane, generation) = (c.instance, c.lane, c.generation);
        let event = match payload {
            Payload::Accepted => Event::LinkUp { instance, lane, generation, local_ip: String::new() },
            Payload::Refused | Payload::Closed => {
                self.net.conns.remove(&conn);
                Event::LinkDown { instance, lane, generation }
            }
            Payload::Reply(request, round, reply) => Event::Answer { instance, generation, request, reply, round },
            Payload::Message(text) => Event::Feed { instance, generation, text: Some(text) },
            Payload::Syn | Payload::Request(..) => return,
        };
        self.step(c.client, event);
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
