//! Lines: which socket carries whose words. A data node has a command line and a feed for each primary it belongs to; a
//! sentinel that several primaries have in common is one peer with one line, as in Redis. Owns who is on which line.
//! Never decides when one is opened or given up: the machine does, for each instance, and is told for each instance.

use super::driver::Input;
use super::link::{self, Asked, Link, Target};
use super::room;
use crate::actions::{Event, Fall};
use crate::types::{InstanceId, Kind, Lane};
use crate::wire::Request;
use futures::channel::mpsc;
use keystead_plugin::Host;
use std::collections::{BTreeMap, HashMap};

/// What became of a line.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// It is there; this side's address.
    Up(String),
    /// It is gone or couldn't be opened.
    Down(Fall),
    /// A ping was answered.
    Pong,
}

/// Who can share a line: peers at one address, entered with one password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Door {
    host: String,
    port: u16,
    auth: Option<(Option<String>, String)>,
}

/// One line and those on it, each with the incarnation that its monitor counts.
struct Line {
    link: Link,
    lane: Lane,
    door: Option<Door>,
    up: Option<String>,
    members: BTreeMap<InstanceId, u64>,
}

impl Line {
    fn told(&self, news: &News) -> Vec<Event> {
        let lane = self.lane;
        let event = |(instance, generation): (&InstanceId, &u64)| {
            let (instance, generation) = (*instance, *generation);
            match news {
                News::Up(ip) => Event::LinkUp { instance, lane, generation, local_ip: ip.clone() },
                News::Down(fall) => Event::LinkDown { instance, lane, generation, fall: fall.clone() },
                News::Pong => Event::Tick,
            }
        };
        match news {
            // Who asked has its own answer.
            News::Pong if self.members.len() < 2 => Vec::new(),
            News::Pong => vec![Event::Alive { instances: self.members.iter().map(|(id, g)| (*id, *g)).collect() }],
            _ => self.members.iter().map(event).collect(),
        }
    }
}

/// All lines of a sentinel.
pub(crate) struct Lines {
    host: Host,
    inbox: mpsc::Sender<Input>,
    lines: HashMap<u64, Line>,
    of: HashMap<(InstanceId, Lane), u64>,
    doors: HashMap<Door, u64>,
    last: u64,
}

impl Lines {
    pub(crate) fn new(host: Host, inbox: mpsc::Sender<Input>) -> Lines {
        Lines { host, inbox, lines: HashMap::new(), of: HashMap::new(), doors: HashMap::new(), last: 0 }
    }

    /// Puts an instance on a line: a peer on the one that is there, anybody else on a new one. `name` is how it is shown
    /// in the other side's CLIENT LIST.
    pub(crate) fn connect(&mut self, target: Target, name: String) -> Vec<Event> {
        let (instance, lane, generation) = (target.instance, target.lane, target.generation);
        self.leave(instance, lane);
        let door = (target.kind == Kind::Sentinel).then(|| Door {
            host: target.addr.host.clone(),
            port: target.addr.port,
            auth: target.auth.clone(),
        });
        if let Some(number) = door.as_ref().and_then(|door| self.doors.get(door))
            && let Some(line) = self.lines.get_mut(number)
        {
            line.members.insert(instance, generation);
            self.of.insert((instance, lane), *number);
            let up = line.up.clone();
            return up.map(|local_ip| Event::LinkUp { instance, lane, generation, local_ip }).into_iter().collect();
        }
        if !room::is_left(self.lines.len(), target.kind, lane) {
            let fall = Fall::Unable(room::WORDS.into());
            return vec![Event::LinkDown { instance, lane, generation, fall }];
        }
        self.last += 1;
        let link = link::open(self.host, self.last, target, name, self.inbox.clone());
        if let Some(door) = &door {
            self.doors.insert(door.clone(), self.last);
        }
        self.of.insert((instance, lane), self.last);
        let members = BTreeMap::from([(instance, generation)]);
        self.lines.insert(self.last, Line { link, lane, door, up: None, members });
        Vec::new()
    }

    /// Takes an instance off its line. One that is given up as broken ends for all who are on it; else it ends with the
    /// last of them.
    pub(crate) fn disconnect(&mut self, instance: InstanceId, lane: Lane, broken: bool) -> Vec<Event> {
        let Some(number) = self.leave(instance, lane) else { return Vec::new() };
        if broken { self.end(number, &News::Down(Fall::Gone(String::new()))) } else { Vec::new() }
    }

    /// Queues a request, if the instance is still on the line it means.
    pub(crate) fn send(&mut self, instance: InstanceId, generation: u64, request: Request, round: u64) {
        let Some(line) = self.of.get(&(instance, Lane::Command)).and_then(|number| self.lines.get(number)) else {
            return;
        };
        if line.members.get(&instance) == Some(&generation) {
            line.link.send(Asked { instance, generation, request, round });
        }
    }

    /// What a line's task tells, as events for everybody on it.
    pub(crate) fn hear(&mut self, number: u64, news: &News) -> Vec<Event> {
        let Some(line) = self.lines.get_mut(&number) else { return Vec::new() };
        match news {
            News::Up(local_ip) => line.up = Some(local_ip.clone()),
            News::Down(_) => return self.end(number, news),
            News::Pong => {}
        }
        line.told(news)
    }

    fn end(&mut self, number: u64, news: &News) -> Vec<Event> {
        let Some(line) = self.lines.remove(&number) else { return Vec::new() };
        if let Some(door) = &line.door {
            self.doors.remove(door);
        }
        for instance in line.members.keys() {
            self.of.remove(&(*instance, line.lane));
        }
        line.told(news)
    }

    /// The line it was on, if others are still there.
    fn leave(&mut self, instance: InstanceId, lane: Lane) -> Option<u64> {
        let number = self.of.remove(&(instance, lane))?;
        let line = self.lines.get_mut(&number)?;
        line.members.remove(&instance);
        if line.members.is_empty() {
            self.end(number, &News::Down(Fall::Gone(String::new())));
            return None;
        }
        Some(number)
    }
}
