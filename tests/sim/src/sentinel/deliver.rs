//! What happens to messages when they arrive: at a data node, at a sentinel, at whoever opened the connection.

use super::net::{ConnId, NodeId, Payload, Way};
use super::world::{Program, Queued, World, data_addr, number};
use keystead_sentinel::accord;
use keystead_sentinel::actions::{Event, Fall};
use keystead_sentinel::failover::Failover;
use keystead_sentinel::types::Addr;
use keystead_sentinel::wire::{Reply, Request};

impl World {
    pub(crate) fn by_addr(&self, addr: &Addr) -> Option<NodeId> {
        let sentinel = || number(addr, "10.0.1.").filter(|id| self.sentinel_ids().contains(id));
        self.data_id(addr).or_else(sentinel)
    }

    pub(crate) fn transmit(&mut self, conn: ConnId, way: Way, payload: Payload) {
        if let Some((at, payload)) = self.net.send(self.now, conn, way, payload, &mut self.rng) {
            self.push(at, Queued::Arrive(conn, way, payload));
        }
    }

    pub(crate) fn arrive(&mut self, conn: ConnId, way: Way, payload: Payload) {
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

    pub(crate) fn accept(&mut self, conn: ConnId) {
        let Some(c) = self.net.conns.get_mut(&conn) else { return };
        c.server_life = Some(self.processes[c.server].life);
        self.transmit(conn, Way::Back, Payload::Accepted);
    }

    pub(crate) fn at_server(&mut self, conn: ConnId, payload: Payload) {
        let c = self.net.conns[&conn].clone();
        let alive = self.processes[c.server].alive;
        match payload {
            Payload::Syn if alive => self.accept(conn),
            Payload::Syn => self.transmit(conn, Way::Back, Payload::Refused),
            Payload::Closed => {
                self.net.forget(conn);
            }
            Payload::Request(request, round) => {
                if !alive || c.server_life != Some(self.processes[c.server].life) {
                    return self.transmit(conn, Way::Back, Payload::Closed);
                }
                if c.server < self.nodes().end {
                    self.at_data_node(conn, c.server, request, round);
                } else {
                    self.at_sentinel(conn, c.server, request, round);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn at_data_node(&mut self, conn: ConnId, id: NodeId, request: Request, round: u64) {
        self.histories += 1;
        let (now, fresh) = (self.now, self.histories);
        let (reply, effects) = self.data_mut(id).execute(now, &request.commands(), fresh);
        if effects.promoted {
            self.say(|| format!("data{id} is now a primary"));
            self.checker.on_promotion(now, id);
        }
        if let Some(to) = &effects.follows {
            let (client, group) = (self.net.conns[&conn].client, self.group_of(id));
            self.say(|| format!("data{id} now follows {to}"));
            let teller = self
                .monitor(client, group)
                .map(|m| (m.config_epoch.0, matches!(m.failover, Failover::Reconfigure { .. })));
            let best = self.best_config(group);
            self.checker.on_follow(now, id, (&data_addr(id), to), teller, best);
        }
        if let Some(text) = effects.publish {
            for subscriber in self.net.subscribers(id, self.processes[id].life) {
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

    /// The configuration with the highest epoch that any sentinel holds, and may tell others.
    pub(crate) fn best_config(&self, group: usize) -> Option<(u64, Addr)> {
        self.sentinel_ids()
            .filter_map(|id| self.monitor(id, group))
            .filter(|m| !matches!(m.failover, Failover::Reconfigure { unkept: Some(_), .. }))
            .map(|m| (m.config_epoch.0, m.current_addr().clone()))
            .max()
    }

    pub(crate) fn at_sentinel(&mut self, conn: ConnId, id: NodeId, request: Request, round: u64) {
        let Program::Sentinel(process) = &mut self.processes[id].program else { return };
        let reply = match &request {
            _ if process.locked => Reply::Error("NOAUTH Authentication required.".into()),
            Request::Ping => Reply::Status("PONG".into()),
            Request::InfoServer if process.plain => {
                Reply::Bulk("redis_version:7.0.15\r\nredis_mode:sentinel\r\n".into())
            }
            Request::InfoServer => {
                let elections = process.machine.as_ref().map(accord::elections).unwrap_or_default();
                let field = accord::FIELD;
                let text = format!("redis_version:7.2.4\r\nkeystead_version:0.1.0\r\n{field}:{elections}\r\n");
                Reply::Bulk(text)
            }
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

    pub(crate) fn at_client(&mut self, conn: ConnId, payload: Payload) {
        let c = self.net.conns[&conn].clone();
        if !self.processes[c.client].alive || self.processes[c.client].life != c.client_life || !c.client_open {
            return;
        }
        let (instance, lane, generation) = (c.instance, c.lane, c.generation);
        let event = match payload {
            Payload::Accepted => Event::LinkUp { instance, lane, generation, local_ip: String::new() },
            Payload::Refused | Payload::Closed => {
                self.net.forget(conn);
                let fall = if matches!(payload, Payload::Refused) { Fall::Refused } else { Fall::Gone(String::new()) };
                Event::LinkDown { instance, lane, generation, fall }
            }
            Payload::Reply(request, round, reply) => Event::Answer { instance, generation, request, reply, round },
            Payload::Message(text) => Event::Feed { instance, generation, text: Some(text) },
            Payload::Syn | Payload::Request(..) => return,
        };
        self.step(c.client, event);
    }
}
