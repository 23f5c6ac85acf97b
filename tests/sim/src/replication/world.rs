//! The world: nodes, virtual time, faults, and the checkers that look after every step.

use super::Rng;
use super::node::{Env, Node, TIMEOUT};
use super::truth::Truth;
use super::wire::{NodeId, Wire};
use keystead_replication::units::{Offset, ReplId};

/// Which faults a run may have.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Kill a node and start it again without data.
    pub restart: bool,
    /// Freeze a node for a while.
    pub pause: bool,
    /// Cut two nodes apart, one way or both.
    pub cut: bool,
    /// Promote a replica and repoint the others, as a failover does.
    pub promote: bool,
}

impl Faults {
    /// All of them.
    pub const ALL: Faults = Faults { restart: true, pause: true, cut: true, promote: true };
    /// None.
    pub const NONE: Faults = Faults { restart: false, pause: false, cut: false, promote: false };
}

/// The world.
pub struct World {
    seed: u64,
    /// Virtual milliseconds.
    pub now: u64,
    rng: Rng,
    wire: Wire,
    truth: Truth,
    /// The nodes.
    pub nodes: Vec<Node>,
    alive: Vec<bool>,
    frozen_until: Vec<u64>,
    /// Who is meant to be primary.
    pub primary: NodeId,
    /// Whom each node is meant to follow.
    pub plan: Vec<Option<NodeId>>,
    /// History, offset and number of full resyncs when each node was last looked at.
    seen: Vec<(ReplId, Offset, u64)>,
    /// Resyncs of nodes that were restarted since.
    past: (u64, u64),
    trace: Vec<String>,
}

impl World {
    /// `n` nodes; 0 is the primary, the last follows the one before it (a chain), the others follow 0.
    pub fn new(seed: u64, n: usize) -> World {
        let mut w = World {
            seed,
            now: 0,
            rng: Rng::new(seed),
            wire: Wire::default(),
            truth: Truth::default(),
            nodes: Vec::new(),
            alive: vec![true; n],
            frozen_until: vec![0; n],
            primary: 0,
            plan: vec![None; n],
            seen: Vec::new(),
            past: (0, 0),
            trace: Vec::new(),
        };
        for id in 0..n {
            w.with_env(|env, nodes| nodes.push(Node::boot(id, env)));
        }
        w.seen = w.nodes.iter().map(|node| (node.history.replid, node.offset, 0)).collect();
        for id in 1..n {
            let whom = if id == n - 1 && n > 2 { id - 1 } else { 0 };
            w.follow(id, whom);
        }
        w
    }

    fn with_env<R>(&mut self, f: impl FnOnce(&mut Env<'_>, &mut Vec<Node>) -> R) -> R {
        let mut env =
            Env { now: self.now, rng: &mut self.rng, wire: &mut self.wire, truth: &mut self.truth, alive: &self.alive };
        f(&mut env, &mut self.nodes)
    }

    fn note(&mut self, what: String) {
        self.trace.push(format!("{:>7} {what}", self.now));
    }

    /// REPLICAOF on a node.
    pub fn follow(&mut self, id: NodeId, whom: NodeId) {
        self.note(format!("{id} follows {whom}"));
        self.plan[id] = Some(whom);
        self.with_env(|env, nodes| nodes[id].follow(env, whom));
    }

    /// Ten milliseconds, with traffic, and perhaps a fault.
    pub fn step(&mut self, faults: Faults, writes: bool) {
        self.now += 10;
        if writes && self.runs(self.primary) && self.rng.one_in(4) && !self.nodes[self.primary].following {
            let p = self.primary;
            self.with_env(|env, nodes| nodes[p].write(env));
        }
        if self.rng.one_in(120) {
            self.fault(faults);
        }
        for id in 0..self.nodes.len() {
            if self.runs(id) {
                self.with_env(|env, nodes| nodes[id].run(env));
                if self.now % 100 == (id as u64 * 10) % 100 {
                    self.with_env(|env, nodes| nodes[id].tick(env));
                }
                self.accept_new();
                self.check(id);
            }
        }
    }

    fn runs(&self, id: NodeId) -> bool {
        self.alive[id] && self.frozen_until[id] <= self.now
    }

    /// Full and partial resyncs so far, so that a test can tell that it tested something.
    pub fn resyncs(&self) -> (u64, u64) {
        let live = self.nodes.iter().fold((0, 0), |sum, n| (sum.0 + n.loads, sum.1 + n.resumes));
        (live.0 + self.past.0, live.1 + self.past.1)
    }

    /// Connections that were opened reach their listeners.
    fn accept_new(&mut self) {
        while let Some((conn, to)) = self.wire.take_opened() {
            self.nodes[to].accept(conn);
        }
    }

    fn fault(&mut self, faults: Faults) {
        let n = self.nodes.len() as u64;
        let (a, b) = (self.rng.below(n) as NodeId, self.rng.below(n) as NodeId);
        match self.rng.below(6) {
            0 if faults.restart => self.restart(a),
            1 if faults.pause => {
                let ms = self.rng.below(9000);
                self.note(format!("{a} frozen for {ms}"));
                self.frozen_until[a] = self.now + ms;
            }
            2 if faults.cut && a != b => {
                self.note(format!("cut {a} → {b}"));
                self.wire.cuts.insert((a, b));
            }
            3 if faults.cut && a != b => {
                self.note(format!("cut {a} ↔ {b}"));
                self.wire.cuts.extend([(a, b), (b, a)]);
            }
            4 if faults.promote && self.runs(a) && a != self.primary => self.fail_over(a),
            _ => self.wire.cuts.clear(),
        }
    }

    /// Kills a node and starts it again with nothing; its role is remembered.
    pub fn restart(&mut self, id: NodeId) {
        self.note(format!("{id} killed and restarted empty"));
        self.wire.reset_all(self.now, id);
        let node = self.with_env(|env, _| Node::boot(id, env));
        self.past = (self.past.0 + self.nodes[id].loads, self.past.1 + self.nodes[id].resumes);
        self.seen[id] = (node.history.replid, node.offset, 0);
        self.nodes[id] = node;
        self.frozen_until[id] = 0;
        if let Some(whom) = self.plan[id] {
            self.follow(id, whom);
        }
    }

    /// Promotes `id` and points everybody who can be reached at it.
    pub fn fail_over(&mut self, id: NodeId) {
        self.note(format!("{id} promoted"));
        self.plan[id] = None;
        self.with_env(|env, nodes| nodes[id].promote(env));
        self.primary = id;
        for other in 0..self.nodes.len() {
            if other != id {
                self.follow(other, id);
            }
        }
    }

    /// No more faults, everybody follows the primary, time passes.
    pub fn heal(&mut self, writes: bool) {
        self.wire.cuts.clear();
        self.frozen_until.fill(0);
        self.note("healed".into());
        let p = self.primary;
        for id in 0..self.nodes.len() {
            if id != p {
                self.follow(id, p);
            }
        }
        for _ in 0..(TIMEOUT.as_millis() as u64 * 6 / 10) {
            self.step(Faults::NONE, writes);
        }
        for _ in 0..300 {
            self.step(Faults::NONE, false);
        }
    }

    /// After every step: data is what its history says, and offsets don't fall within a history.
    fn check(&mut self, id: NodeId) {
        let node = &self.nodes[id];
        let (replid, offset) = (node.history.replid, node.offset);
        if let Err(why) = self.truth.check(replid, offset, &node.data) {
            // A replica that boots has begun a history of its own that nobody writes to.
            self.fail(&format!("node {id} diverged: {why}"));
        }
        let (seen_id, seen_offset, seen_loads) = self.seen[id];
        let loads = self.nodes[id].loads;
        if seen_id == replid && offset < seen_offset && loads == seen_loads {
            self.fail(&format!("node {id}: offset fell from {seen_offset} to {offset} in {replid:?}"));
        }
        self.seen[id] = (replid, offset, loads);
    }

    /// Everybody has the primary's data.
    pub fn converged(&self) {
        let p = &self.nodes[self.primary];
        for node in &self.nodes {
            // Pings may still be on their way, so offsets may differ by them.
            let linked = node.id == p.id || node.link.up();
            let same = linked && node.data == p.data && node.history.replid == p.history.replid;
            if !same {
                let text = format!(
                    "node {} didn't converge: {:?}:{} up={} ({:?}), the primary {} is at {:?}:{}",
                    node.id,
                    node.history.replid,
                    node.offset,
                    node.link.up(),
                    node.link.status().phase,
                    p.id,
                    p.history.replid,
                    p.offset
                );
                self.fail(&text);
            }
        }
    }

    /// Ends the run with all that is needed to look into it.
    pub fn fail(&self, why: &str) -> ! {
        let tail = self.trace.iter().rev().take(40).rev().cloned().collect::<Vec<_>>().join("\n");
        panic!(
            "{why}\nat {} ms; replay: KEYSTEAD_SIM_SEED={} cargo test -p keystead-sim --test replication\n{tail}",
            self.now, self.seed
        );
    }
}
