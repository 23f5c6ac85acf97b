//! Processes, the event queue and virtual time. Carries out the machines' actions in order, writes their state to
//! simulated disks, and tells the checkers everything that leaves a process.

use super::check::Checker;
use super::data::{DataNode, Role, Upstream};
use super::net::{ConnId, Net, NodeId, Payload, Way, Weather};
use super::strategies::Loaded;
use keystead_sentinel::machine::Sentinel;
use keystead_sentinel::monitor::Monitor;
use keystead_sentinel::outbox::Outbox;
use keystead_sentinel::settings::Settings;
use keystead_sentinel::state::State;
use keystead_sentinel::types::{Addr, Rng};
use keystead_sentinel::wire::{Reply, Request};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// Replication of the data nodes moves in steps of this.
const DATA_STEP_MS: u64 = 50;
/// Name of the first primary; the others are `name_of`.
pub const PRIMARY: &str = "mymaster";

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Primaries that are watched, each with replicas of its own.
    pub primaries: usize,
    /// Data nodes of each, the first is the primary.
    pub data_nodes: usize,
    /// Sentinels.
    pub sentinels: usize,
    /// Their settings.
    pub settings: Settings,
    /// Election and selection strategies of the primaries behind the first.
    pub strategies: Vec<(&'static str, &'static str)>,
    /// Data nodes show that they are Keystead, and hand their role over.
    pub keystead_data: bool,
    /// A planted bug: a sentinel comes back with what its disk held at its first start.
    pub forgetful: bool,
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
    /// The election strategy of a primary.
    #[must_use]
    pub fn election_of(&self, group: usize) -> &str {
        match group.checked_sub(1).and_then(|other| self.strategies.get(other)) {
            Some((election, _)) => election,
            None => &self.settings.election,
        }
    }

    /// So many nodes, a good network, fast disks.
    #[must_use]
    pub fn calm(data_nodes: usize, sentinels: usize, settings: Settings) -> Shape {
        let weather = Weather { delay_ms: 1, loss_permille: 0 };
        Shape {
            primaries: 1,
            data_nodes,
            sentinels,
            settings,
            strategies: Vec::new(),
            keystead_data: false,
            forgetful: false,
            plain: 0,
            keeps_data: false,
            weather,
            disk_ms: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct SentinelProcess {
    pub(crate) machine: Option<Sentinel>,
    pub(crate) disk: Option<State>,
    pub(crate) plain: bool,
    /// How often it lost its state, and its id with it.
    pub(crate) wiped: usize,
    /// It wants a password that nobody has: it accepts, and refuses whatever is asked.
    pub(crate) locked: bool,
    /// Its disk keeps a write waiting until then.
    pub(crate) disk_hangs_until: u64,
    /// Its disk refuses writes until then.
    pub(crate) disk_refuses_until: u64,
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
    /// A write ended while it was paused: how long it took, and why it isn't on the disk.
    pub(crate) unheard_write: Option<(u64, Option<String>)>,
    pub(crate) inbox: VecDeque<(ConnId, Way, Payload)>,
}

#[derive(Debug)]
pub(crate) enum Queued {
    Arrive(ConnId, Way, Payload),
    Wake(NodeId, u64),
    DataStep,
    /// The write of that process' life, begun at that time, reaches the disk.
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
    pub(crate) sequence: u64,
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
    /// Commands of theirs that wait for the answer.
    pub(crate) operators: BTreeSet<u64>,
    /// What was done to it, and how often.
    pub faults: BTreeMap<&'static str, u64>,
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
            operators: BTreeSet::new(),
            faults: BTreeMap::new(),
            strategies,
            shape,
        };
        for n in world.nodes() {
            let primary = world.first_of(world.group_of(n));
            let role = if n == primary { Role::Primary } else { Role::Replica(data_addr(primary)) };
            let mut node = DataNode::new(data_addr(n), role, n as u64 + 1);
            node.keeps_data = world.shape.keeps_data;
            node.keystead = world.shape.keystead_data;
            node.synced = n == primary;
            world.add(Program::Data(Box::new(node)));
        }
        for n in 0..world.shape.sentinels {
            let process = SentinelProcess {
                machine: None,
                disk: None,
                plain: n < world.shape.plain,
                wiped: 0,
                locked: false,
                disk_hangs_until: 0,
                disk_refuses_until: 0,
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
        self.nodes().end..self.nodes().end + self.shape.sentinels
    }

    /// The data nodes of all groups.
    #[must_use]
    pub const fn nodes(&self) -> std::ops::Range<NodeId> {
        0..self.shape.primaries * self.shape.data_nodes
    }

    /// Every process.
    #[must_use]
    pub fn all(&self) -> std::ops::Range<NodeId> {
        0..self.sentinel_ids().end
    }

    /// Which primary's group a data node belongs to.
    #[must_use]
    pub const fn group_of(&self, id: NodeId) -> usize {
        id / self.shape.data_nodes
    }

    /// The node that is a group's primary at the start.
    #[must_use]
    pub const fn first_of(&self, group: usize) -> NodeId {
        group * self.shape.data_nodes
    }

    /// A group's data nodes.
    #[must_use]
    pub const fn nodes_of(&self, group: usize) -> std::ops::Range<NodeId> {
        self.first_of(group)..self.first_of(group + 1)
    }

    /// Promotions in a group so far.
    #[must_use]
    pub fn promotions_in(&self, group: usize) -> usize {
        self.checker.promotions.iter().filter(|(_, id)| self.group_of(*id) == group).count()
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

    pub(crate) fn monitor(&self, id: NodeId, group: usize) -> Option<&Monitor> {
        self.sentinel(id)?.monitors().get(name_of(group))
    }

    /// It runs and isn't paused.
    #[must_use]
    pub fn runs(&self, id: NodeId) -> bool {
        self.processes[id].alive && !self.processes[id].paused
    }

    /// The data node with that address.
    #[must_use]
    pub fn data_id(&self, addr: &Addr) -> Option<NodeId> {
        number(addr, "10.0.0.").filter(|n| self.nodes().contains(n))
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
                Queued::Written(id, life, begun, state) => self.written(id, (life, begun), state),
            }
        }
        self.now = until;
    }

    // ---------- data nodes

    pub(crate) fn data_step(&mut self) {
        self.push(self.now + DATA_STEP_MS, Queued::DataStep);
        let views: Vec<Upstream> = self.nodes().map(|n| self.upstream_view(n)).collect();
        for id in self.nodes() {
            if !self.runs(id) {
                continue;
            }
            let writes = self.rng.between(0, 20);
            let (now, role) = (self.now, self.data(id).role.clone());
            match role {
                Role::Primary if self.data(id).leased == Some(false) => self.hand_over(id),
                Role::Primary if now >= self.data(id).loading_until && !self.data(id).blank => {
                    self.data_mut(id).write(now, writes);
                    self.hand_over(id);
                }
                Role::Primary => {}
                Role::Replica(of) => {
                    let upstream = self.data_id(&of);
                    let gone = upstream.is_some_and(|up| !self.processes[up].alive && self.net.whole(id, up));
                    let seen = upstream.filter(|up| *up != id && self.answers(*up) && self.net.whole(id, *up));
                    let view = seen.map(|up| views[up]);
                    let mut rng = self.rng.clone();
                    self.data_mut(id).replicate(now, view, gone, &mut rng);
                    self.rng = rng;
                }
            }
        }
        let mut replicas: Vec<Vec<Addr>> = self.nodes().map(|_| Vec::new()).collect();
        // A process that has ended has closed its link; one that is out of reach is listed until a timeout.
        for id in self.nodes().filter(|id| self.processes[*id].alive) {
            let node = self.data(id);
            if let (Role::Replica(of), super::data::Link::Up(_)) = (&node.role, node.link)
                && let Some(of) = self.data_id(of)
            {
                replicas[of].push(data_addr(id));
            }
        }
        for (id, replicas) in replicas.into_iter().enumerate() {
            self.data_mut(id).replicas = replicas;
        }
        self.keep_leases();
    }

    /// A data node runs and no script keeps it from answering.
    fn answers(&self, id: NodeId) -> bool {
        self.runs(id) && self.now >= self.data(id).busy_until
    }

    /// A primary that was asked to hands its role over, once its replica has everything.
    fn hand_over(&mut self, id: NodeId) {
        let Some((to, _)) = &self.data(id).handing else { return };
        let Some(to) = self.data_id(to).filter(|to| self.answers(*to) && self.net.whole(id, *to)) else { return };
        self.histories += 1;
        let (now, fresh) = (self.now, self.histories);
        let mut heir = self.data(to).clone();
        if self.data_mut(id).hand_over(now, &mut heir, fresh) {
            *self.data_mut(to) = heir;
            self.say(|| format!("data{id} hands over to data{to}"));
            self.checker.on_promotion(now, to);
        }
    }

    /// Leases as their holders' agents keep them: a primary that runs and reaches somebody renews its own or takes one that is
    /// free, a replica gives it back, and else it ends with its time.
    fn keep_leases(&mut self) {
        for group in 0..self.shape.primaries {
            if self.shape.election_of(group) != "lease" {
                continue;
            }
            let reached = |id: NodeId| self.nodes_of(group).any(|other| other != id && self.net.whole(id, other));
            let awake: Vec<NodeId> = self.nodes_of(group).filter(|id| self.runs(*id) && reached(*id)).collect();
            let role = |id: &NodeId| self.data(*id).role == Role::Primary;
            let (primaries, replicas): (Vec<NodeId>, Vec<NodeId>) = awake.into_iter().partition(role);
            let [primaries, replicas] =
                [primaries, replicas].map(|ids| ids.into_iter().map(data_addr).collect::<Vec<_>>());
            let holder = self.strategies.leases.step(name_of(group), self.now, &primaries, &replicas);
            for id in self.nodes_of(group) {
                self.data_mut(id).leased = Some(holder == Some(data_addr(id)));
            }
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
}

/// The name of a primary.
#[must_use]
pub fn name_of(group: usize) -> &'static str {
    [PRIMARY, "second", "third"][group]
}

/// The number of the primary with that name.
#[must_use]
pub fn group_named(name: &str) -> Option<usize> {
    (0..3).find(|group| name_of(*group) == name)
}

/// Where a data node listens.
#[must_use]
pub fn data_addr(id: NodeId) -> Addr {
    Addr::new(format!("10.0.0.{}", id + 1), 6379)
}

/// The number behind a network's prefix: addresses are looked up far too often to be compared as text.
pub(crate) fn number(addr: &Addr, network: &str) -> Option<NodeId> {
    addr.host.strip_prefix(network)?.parse::<NodeId>().ok()?.checked_sub(1)
}

/// Where a sentinel listens.
#[must_use]
pub fn sentinel_addr(id: NodeId) -> Addr {
    Addr::new(format!("10.0.1.{}", id + 1), 26379)
}
