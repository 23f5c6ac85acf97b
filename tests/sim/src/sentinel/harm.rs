//! What can be done to a world: ending, stopping and starting processes, cutting and healing the network.

use super::net::{ConnId, NodeId, Payload, Way, Weather};
use super::world::{Program, Queued, World};
use keystead_sentinel::actions::Event;

impl World {
    /// Something is done to the world: counted, and said.
    fn fault(&mut self, kind: &'static str, text: impl FnOnce(&World) -> String) {
        *self.faults.entry(kind).or_default() += 1;
        self.say(|| format!("fault: {}", text(self)));
    }

    /// Ends a process.
    pub fn kill(&mut self, id: NodeId) {
        if !self.processes[id].alive {
            return;
        }
        self.fault("process killed", |w| format!("kill {}", w.name(id)));
        self.processes[id].alive = false;
        self.processes[id].paused = false;
        self.processes[id].unheard_write = None;
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
        let kind = if with_data { "process started again" } else { "data node started again without data" };
        self.fault(kind, |w| format!("restart {} {}", w.name(id), if with_data { "" } else { "without data" }));
        self.processes[id].alive = true;
        self.processes[id].life += 1;
        self.histories += 1;
        let (now, fresh) = (self.now, self.histories);
        let load = self.rng.between(0, 400);
        if let (true, Program::Sentinel(process)) = (self.shape.forgetful, &mut self.processes[id].program) {
            process.disk = None;
        }
        match &mut self.processes[id].program {
            Program::Data(node) => node.restart(now, with_data, if with_data { load } else { 0 }, fresh),
            Program::Sentinel(_) => self.boot_sentinel(id),
        }
    }

    /// A sentinel ends and comes back with another id, at the same place: its folder is gone.
    pub fn wipe(&mut self, id: NodeId) {
        self.kill(id);
        self.fault("sentinel that lost its state", |w| format!("wipe {}", w.name(id)));
        if let Program::Sentinel(process) = &mut self.processes[id].program {
            process.disk = None;
            process.wiped += 1;
        }
        self.restart(id, true);
    }

    /// Starts a data node again with its data, which takes it so long to load.
    pub fn restart_loading(&mut self, id: NodeId, load_ms: u64) {
        self.restart(id, true);
        let until = self.now + load_ms;
        self.fault("long load", |_| format!("data{id} loads for {load_ms} ms"));
        self.data_mut(id).loading_until = until;
    }

    /// A script keeps a data node from answering; a killable one ends with SCRIPT KILL.
    pub fn run_script(&mut self, id: NodeId, ms: u64, killable: bool) {
        self.fault("script that keeps a node busy", |_| {
            format!("a script of {ms} ms on data{id}, killable: {killable}")
        });
        let until = self.now + ms;
        let node = self.data_mut(id);
        (node.busy_until, node.killable) = (until, killable);
    }

    /// A data node's wall clock jumps.
    pub fn jump_clock(&mut self, id: NodeId, ms: i64) {
        self.fault("clock jump", |_| format!("wall clock of data{id} jumps by {ms} ms"));
        self.data_mut(id).clock_error += ms;
    }

    /// An operator's command to a sentinel, `SENTINEL …`; a dead one or a stopped one doesn't hear it.
    pub fn operate(&mut self, id: NodeId, line: &str) {
        *self.faults.entry("command of an operator").or_default() += 1;
        self.say(|| format!("operator to {}: {line}", self.name(id)));
        let argv = line.split(' ').map(str::to_owned).collect();
        self.sequence += 1;
        let ticket = u64::MAX - self.sequence;
        self.operators.insert(ticket);
        self.step(id, Event::Command { ticket, argv });
    }

    /// SIGSTOP.
    pub fn pause(&mut self, id: NodeId) {
        if self.runs(id) {
            self.fault("process stopped for a while", |w| format!("pause {}", w.name(id)));
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
        if let Some(ended) = self.processes[id].unheard_write.take() {
            self.hear_of_write(id, ended);
        }
        let inbox = std::mem::take(&mut self.processes[id].inbox);
        for (conn, way, payload) in inbox {
            self.arrive(conn, way, payload);
        }
        self.step(id, Event::Tick);
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.fault("direction cut", |w| format!("cut {} -> {}", w.name(from), w.name(to)));
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
        self.fault("change of the network's delays and losses", |_| format!("{weather:?}"));
        self.net.weather = weather;
    }

    /// The sentinel's next write of its state ends it.
    pub fn crash_on_persist(&mut self, id: NodeId, behind: bool) {
        self.fault("crash at a write", |w| {
            format!("{} will crash at its next write (behind it: {behind})", w.name(id))
        });
        self.crash_on_persist = Some((id, behind));
    }

    /// A sentinel's disk takes no write for so long: it keeps each waiting, or refuses it.
    pub fn break_disk(&mut self, id: NodeId, ms: u64, hangs: bool) {
        let kind = if hangs { "disk that hangs" } else { "disk that refuses" };
        self.fault(kind, |w| format!("the {kind} of {}, for {ms} ms", w.name(id)));
        if !hangs {
            self.checker.disks_refuse();
        }
        let until = self.now + ms;
        if let Program::Sentinel(process) = &mut self.processes[id].program {
            let place = if hangs { &mut process.disk_hangs_until } else { &mut process.disk_refuses_until };
            *place = until;
        }
    }

    /// All disks are well again.
    pub fn mend_disks(&mut self) {
        for process in &mut self.processes {
            if let Program::Sentinel(process) = &mut process.program {
                (process.disk_hangs_until, process.disk_refuses_until) = (0, 0);
            }
        }
    }

    /// The process' name in traces.
    #[must_use]
    pub fn name(&self, id: NodeId) -> String {
        let data = self.nodes().end;
        if id < data { format!("data{id}") } else { format!("sentinel{}", id - data) }
    }
}
