//! The whole sentinel as one pure machine: `step(now, event) -> actions`.
//! Owns the monitors, the current epoch, the order "persist, then send", and what happens after a stall. Reads no clock,
//! opens no socket, rolls no dice of its own: time, events and a seed come in.

use crate::actions::{Action, Event, Shared, Watch};
use crate::events::Level;
use crate::hello::Hello;
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::state::{SavedMonitor, State, VERSION};
use crate::types::{Addr, Epoch, InstanceId, Lane, Mono, Rng};
use std::collections::BTreeMap;

/// A step that comes later than this behind its deadline means that this process stood still for a moment.
const LATE_MS: u64 = 50;
/// How long it may stand still before its knowledge counts as old: down-after, within these limits.
const STALL_MIN_MS: u64 = 250;
const STALL_MAX_MS: u64 = 1_000;
/// Without any deadline the machine is still stepped this often.
const IDLE_MS: u64 = 1_000;

/// What a sentinel starts with.
#[derive(Clone, Debug)]
pub struct Boot {
    /// This moment.
    pub now: Mono,
    /// Its id, unless one was saved.
    pub id: String,
    /// Where peers reach it.
    pub announce: Addr,
    /// The announced host was configured.
    pub announce_fixed: bool,
    /// The primaries of the configuration file.
    pub watches: Vec<Watch>,
    /// What the last run saved.
    pub saved: Option<State>,
    /// For election delays.
    pub seed: u64,
}

/// A sentinel.
#[derive(Debug)]
pub struct Sentinel {
    pub(crate) shared: Shared,
    pub(crate) monitors: BTreeMap<String, Monitor>,
    pub(crate) removed: Vec<String>,
    planned: Mono,
}

impl Sentinel {
    /// A sentinel and its first actions.
    #[must_use]
    pub fn new(boot: Boot) -> (Sentinel, Vec<Action>) {
        let Boot { now, id, announce, announce_fixed, watches, saved, seed } = boot;
        let shared = Shared {
            now,
            id: saved.as_ref().map_or(id, |s| s.id.clone()),
            announce,
            announce_fixed,
            epoch: saved.as_ref().map_or(Epoch(0), |s| s.epoch),
            rng: Rng::new(seed),
            out: Vec::new(),
            durable_at: None,
            write_ms: 0,
            simulate: 0,
            numbers: 0,
        };
        let mut sentinel =
            Sentinel { shared, monitors: BTreeMap::new(), removed: Vec::new(), planned: now.plus(IDLE_MS) };
        sentinel.shared.durable();
        let saved_monitors = saved.as_ref().map_or(&[][..], |s| &s.monitors);
        sentinel.removed = saved.as_ref().map(|s| s.removed.clone()).unwrap_or_default();
        for watch in watches {
            sentinel.boot_monitor(watch, saved_monitors);
        }
        for extra in saved_monitors.iter().filter(|m| m.configured.is_none()) {
            let watch =
                Watch { name: extra.name.clone(), addr: extra.primary.clone(), settings: extra.settings.clone() };
            if !sentinel.monitors.contains_key(&watch.name) {
                sentinel.add(watch, Some(extra), false);
            }
        }
        let actions = sentinel.finish();
        (sentinel, actions)
    }

    fn boot_monitor(&mut self, watch: Watch, saved: &[SavedMonitor]) {
        if self.removed.contains(&watch.name) {
            self.shared.log(Level::Warning, format!("{} was removed by SENTINEL REMOVE and stays out", watch.name));
            return;
        }
        let saved = saved.iter().find(|m| m.name == watch.name);
        // A user who writes another address into the file starts that primary anew.
        let same = saved.filter(|m| m.configured.as_ref().is_none_or(|addr| *addr == watch.addr));
        if let Some(saved) = same.filter(|m| m.primary != watch.addr) {
            let text = format!("{}: {} from the state file overrides {}", watch.name, saved.primary, watch.addr);
            self.shared.log(Level::Notice, text);
        }
        self.add(watch, same, true);
    }

    pub(crate) fn add(&mut self, watch: Watch, saved: Option<&SavedMonitor>, configured: bool) {
        let name = watch.name.clone();
        let monitor = Monitor::new(watch, saved, configured, &mut self.shared);
        let more = format!("quorum {}", monitor.settings.quorum);
        monitor.event(&mut self.shared, Level::Warning, "+monitor", monitor.primary, &more);
        self.shared.durable();
        self.monitors.insert(name, monitor);
    }

    /// This sentinel's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The monitors by name.
    #[must_use]
    pub const fn monitors(&self) -> &BTreeMap<String, Monitor> {
        &self.monitors
    }

    /// The next moment at which a `Tick` is due.
    #[must_use]
    pub const fn next_wake(&self) -> Mono {
        self.planned
    }

    /// One event, and everything that is due at this moment.
    pub fn step(&mut self, now: Mono, event: Event) -> Vec<Action> {
        self.shared.now = now.max(self.shared.now);
        self.check_lateness();
        self.handle(event);
        self.finish()
    }

    fn finish(&mut self) -> Vec<Action> {
        for monitor in self.monitors.values_mut() {
            monitor.tick(&mut self.shared);
        }
        let now = self.shared.now;
        let due = self.monitors.values().map(|m| m.next_wake(now)).min().unwrap_or(Mono::NEVER);
        self.planned = due.min(now.plus(IDLE_MS)).max(now.plus(1));
        let mut actions = std::mem::take(&mut self.shared.out);
        if let Some(at) = self.shared.durable_at.take() {
            actions.insert(at.min(actions.len()), Action::Persist(Box::new(self.save())));
        }
        actions
    }

    fn check_lateness(&mut self) {
        let late = self.shared.now.since(self.planned);
        if late < LATE_MS {
            return;
        }
        for monitor in self.monitors.values_mut() {
            monitor.forgive(late, self.shared.now);
            let limit = monitor.settings.down_after_ms.clamp(STALL_MIN_MS, STALL_MAX_MS);
            if late >= limit {
                monitor.start_anew(&mut self.shared, &format!("this process stood still for {late} ms"));
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let s = &mut self.shared;
        match event {
            Event::Tick => {}
            Event::Written { ms } => s.write_ms = ms.max(s.write_ms / 2),
            Event::LinkUp { instance, lane, generation, local_ip } => {
                if let Some(monitor) = owner(&mut self.monitors, instance) {
                    monitor.on_link_up(instance, lane, generation, local_ip, s);
                }
            }
            Event::LinkDown { instance, lane, generation, refused } => {
                if let Some(monitor) = owner(&mut self.monitors, instance) {
                    monitor.on_link_down(instance, lane, generation, refused, s);
                }
            }
            Event::Answer { instance, generation, request, reply, round } => {
                if let Some(monitor) = owner(&mut self.monitors, instance) {
                    monitor.on_answer(instance, generation, &request, &reply, round, s);
                }
            }
            Event::Feed { instance, generation, text } => self.on_feed(instance, generation, text.as_deref()),
            Event::Command { ticket, argv } => self.command(ticket, &argv),
            Event::Advice { monitor, ticket, advice } => {
                if let Some(monitor) = self.monitors.get_mut(&monitor) {
                    monitor.on_advice(ticket, &advice, s);
                }
            }
        }
    }

    fn on_feed(&mut self, id: InstanceId, generation: u64, text: Option<&str>) {
        let now = self.shared.now;
        let Some(monitor) = owner(&mut self.monitors, id) else { return };
        let instance: &mut Instance = monitor.instance_mut(id);
        if instance.link(Lane::Feed).generation != generation {
            return;
        }
        instance.feed_heard = now;
        if let Some(text) = text {
            self.on_hello_text(text);
        }
    }

    /// A hello in its text form, from a feed or a PUBLISH. What can't be read is ignored, as Redis does.
    pub(crate) fn on_hello_text(&mut self, text: &str) {
        let Some(hello) = Hello::parse(text) else { return };
        if let Some(monitor) = self.monitors.get_mut(&hello.name) {
            monitor.on_hello(&hello, &mut self.shared);
        }
    }

    /// Everything that must survive.
    #[must_use]
    pub fn save(&self) -> State {
        State {
            version: VERSION,
            id: self.shared.id.clone(),
            epoch: self.shared.epoch,
            monitors: self.monitors.values().map(Monitor::save).collect(),
            removed: self.removed.clone(),
        }
    }
}

fn owner(monitors: &mut BTreeMap<String, Monitor>, id: InstanceId) -> Option<&mut Monitor> {
    monitors.values_mut().find(|m| m.instances.contains_key(&id))
}
