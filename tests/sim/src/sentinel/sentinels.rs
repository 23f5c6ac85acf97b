//! The sentinels' processes: their start, and what their actions do. Tells the checkers everything that leaves a process.

use super::net::{NodeId, Payload, Way};
use super::world::{PRIMARY, Program, Queued, SentinelProcess, World, data_addr, group_named, name_of, sentinel_addr};
use keystead_sentinel::actions::{Action, Event, Watch};
use keystead_sentinel::events::Notice;
use keystead_sentinel::failover::Failover;
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::outbox::Outbox;
use keystead_sentinel::state::State;
use keystead_sentinel::types::{Addr, InstanceId, Lane, Mono};
use keystead_sentinel::wire::Request;

/// A disk that hangs is looked at this often.
const DISK_LOOK_MS: u64 = 20;

impl World {
    pub(crate) fn boot_sentinel(&mut self, id: NodeId) {
        let (now, seed) = (self.now, self.rng.next_u64());
        let watches = (0..self.shape.primaries).map(|group| self.watch(group)).collect();
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let (machine, actions) = Sentinel::new(Boot {
            now: Mono(now),
            id: format!("{:040x}", process.wiped * 0x1000 + id),
            announce: sentinel_addr(id),
            announce_fixed: true,
            watches,
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

    /// From now on a sentinel wants a password that nobody has, or wants none any more.
    pub fn lock(&mut self, id: NodeId, locked: bool) {
        if let Program::Sentinel(process) = &mut self.processes[id].program {
            process.locked = locked;
        }
    }

    /// What a sentinel's file says about a group.
    fn watch(&self, group: usize) -> Watch {
        let mut settings = self.shape.settings.clone();
        if let Some((election, selection)) = group.checked_sub(1).and_then(|n| self.shape.strategies.get(n)) {
            (settings.election, settings.selection) = ((*election).into(), (*selection).into());
        }
        Watch { name: name_of(group).into(), addr: data_addr(self.first_of(group)), settings }
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
                    answers.push(Event::Writing { epoch: state.epoch });
                    self.push(self.now + takes, Queued::Written(id, life, self.now, state));
                }
                Action::Connect { instance, lane, generation, addr, .. } => {
                    let Some(server) = self.by_addr(&addr) else { continue };
                    let life = self.processes[id].life;
                    let conn = self.net.open((id, life), server, (instance, lane, generation));
                    self.transmit(conn, Way::Out, Payload::Syn);
                }
                Action::Disconnect { instance, lane, .. } => {
                    if let Some(conn) = self.net.link(id, instance, lane) {
                        self.net.conns.entry(conn).and_modify(|c| c.client_open = false);
                        self.transmit(conn, Way::Out, Payload::Closed);
                    }
                }
                Action::Send { instance, generation, request, round } => {
                    self.check_request(id, instance, &request);
                    let found = self.net.link(id, instance, Lane::Command);
                    if let Some(conn) = found.filter(|conn| self.net.conns[conn].generation == generation) {
                        self.transmit(conn, Way::Out, Payload::Request(request, round));
                    }
                }
                Action::Unsent { instance, generation } => answers.push(Event::Unsent { instance, generation }),
                Action::Reply { ticket, reply, .. } => {
                    let Program::Sentinel(process) = &mut self.processes[id].program else { continue };
                    let Some((conn, request, round)) = process.tickets.remove(&ticket) else {
                        // Who has an answer has gone.
                        if self.operators.remove(&ticket) {
                            self.say(|| format!("{} tells the operator {reply:?}", self.name(id)));
                            self.told.push(reply);
                        }
                        continue;
                    };
                    let me = process.machine.as_ref().map(|m| m.id().to_owned()).unwrap_or_default();
                    let group = self.asked_about(&request);
                    self.checker.on_vote_reply(self.now, (&me, group), &request, &reply);
                    self.transmit(conn, Way::Back, Payload::Reply(request, round, reply));
                }
                Action::Emit(notice) => {
                    self.say(|| format!("{} {} {}", self.name(id), notice.name, notice.payload));
                    self.transcript.push(format!("{} {} {} {}", self.now, self.name(id), notice.name, notice.payload));
                    self.look_at_event(id, &notice);
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

    pub(crate) fn written(&mut self, id: NodeId, (life, begun): (u64, u64), state: Box<State>) {
        if !self.processes[id].alive || self.processes[id].life != life {
            return;
        }
        let now = self.now;
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        if now < process.disk_hangs_until {
            return self.push(now + DISK_LOOK_MS, Queued::Written(id, life, begun, state));
        }
        let refused = now < process.disk_refuses_until;
        let crash = self.crash_on_persist.take_if(|(who, _)| *who == id);
        if crash.is_none_or(|(_, behind)| behind) && !refused {
            process.disk = Some(*state);
        }
        if crash.is_some() {
            return self.kill(id);
        }
        let ended = (now - begun, refused.then(|| "no space left".to_owned()));
        if self.processes[id].paused {
            self.processes[id].unheard_write = Some(ended);
            return;
        }
        self.hear_of_write(id, ended);
    }

    /// The process hears that its state is on the disk, or isn't.
    pub(crate) fn hear_of_write(&mut self, id: NodeId, (ms, error): (u64, Option<String>)) {
        self.step(id, Event::Tick);
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let SentinelProcess { outbox, machine: Some(machine), .. } = &mut **process else { return };
        let released = outbox.written(error.is_none(), |to, request| machine.still_wants(to, request));
        self.carry_out(id, released);
        self.step(id, Event::Written { ms, error });
    }

    /// The group a question is about, by the address in it.
    fn asked_about(&self, request: &Request) -> usize {
        match request {
            Request::AskDown { primary, .. } => self.data_id(primary).map_or(0, |id| self.group_of(id)),
            _ => 0,
        }
    }

    fn look_at_event(&mut self, id: NodeId, notice: &Notice) {
        let words: Vec<&str> = notice.payload.split(' ').collect();
        let name = match (notice.name, &words[..]) {
            ("+switch-master", [name, ..]) | (_, ["master", name, ..]) | (_, [_, _, _, _, "@", name, ..]) => name,
            _ => PRIMARY,
        };
        let Some(group) = group_named(name) else { return };
        let epoch = self.monitor(id, group).and_then(|m| m.failover.campaign());
        self.checker.on_event(self.now, (id, group), notice, epoch);
        if let ("+selected-slave", [_, _, host, port, ..]) = (notice.name, &words[..]) {
            let chosen = self.data_id(&Addr::new(*host, port.parse().unwrap_or(0)));
            let Some(chosen) = chosen.filter(|id| self.processes[*id].alive) else { return };
            let node = self.data(chosen);
            let (unfit_since, synced) = (node.unfit_since, node.synced);
            self.checker.on_selection(self.now, chosen, unfit_since, synced);
        }
    }

    pub(crate) fn check_request(&mut self, id: NodeId, instance: InstanceId, request: &Request) {
        let Some(machine) = self.sentinel(id) else { return };
        let target = machine.monitors().values().find_map(|m| m.instances.get(&instance)).map(|i| i.addr.clone());
        let me = machine.id().to_owned();
        let group = self.asked_about(request);
        let stands = stands(machine, instance, request);
        self.checker.on_request(self.now, (&me, group), request);
        self.checker.on_order(self.now, &me, request, stands);
        if let (Request::Follow(to), Some(target)) = (request, target) {
            let to = to.as_ref().map_or("NO ONE".to_owned(), Addr::to_string);
            self.say(|| format!("{} tells {target} SLAVEOF {to}", self.name(id)));
        }
    }
}

/// What it orders is what it is at: promotes whom it chose, points others to the primary that it tells clients of.
fn stands(machine: &Sentinel, instance: InstanceId, request: &Request) -> bool {
    let Some(monitor) = machine.monitors().values().find(|m| m.instances.contains_key(&instance)) else { return true };
    match request {
        Request::Follow(None) => matches!(monitor.failover, Failover::Promote { replica, .. } if replica == instance),
        Request::Follow(Some(to)) => monitor.current_addr().is(&to.host, to.port),
        _ => true,
    }
}
