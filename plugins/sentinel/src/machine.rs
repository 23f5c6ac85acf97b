//! The whole sentinel as one pure machine: `step(now, event) -> actions`.
//! Owns the monitors, the current epoch, the order "persist, then send", and what happens after a stall. Reads no clock,
//! opens no socket, rolls no dice of its own: time, events and a seed come in. A step looks at the monitors it is about
//! and at those that have something due, so that a thousand of them cost what happens and not what could.

use crate::actions::{Action, Event, Shared, Strategies, Watch};
use crate::commands::{Reach, reach};
use crate::disk::Disk;
use crate::due::Due;
use crate::events::{Level, Notice};
use crate::failover::Failover;
use crate::globals::{Globals, Options};
use crate::hello::Hello;
use crate::monitor::Monitor;
use crate::names::Names;
use crate::scripts::{Order, Scripts};
use crate::sign::{Signing, without_stamp};
use crate::state::{Kept, SavedMonitor, State, VERSION};
use crate::tempo;
use crate::types::{Addr, Epoch, InstanceId, Lane, Mono, Rng};
use crate::wire::Request;
use std::collections::BTreeMap;

/// A step that comes later than this behind its deadline means that this process stood still for a moment.
const LATE_MS: u64 = 50;
/// How long it may stand still before its knowledge counts as old: down-after, but at least this and at most the
/// tilt-trigger of SENTINEL DEBUG.
const STALL_MIN_MS: u64 = 250;
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
    /// What concerns the whole sentinel.
    pub options: Options,
    /// Which strategies there are.
    pub strategies: Strategies,
}

impl Boot {
    /// Every strategy that is named must be there, in the file and in what SENTINEL SET left: falling back to another one
    /// would change who may lead behind the operator's back.
    ///
    /// # Errors
    /// The first primary whose strategy isn't.
    pub fn check(&self) -> Result<(), String> {
        let saved = self.saved.as_ref().map_or(&[][..], |state| &state.monitors);
        let kept = |name: &str, error: String| {
            format!(
                "sentinel.state: {name:?}: a strategy that was set at run time (SENTINEL SET) is not there any more: {error}. \
                 List its plugin again; then SENTINEL SET {name} gives another one. Or take the option out of {name}'s \
                 overrides (of a primary that SENTINEL MONITOR added: its settings) in sentinel.state"
            )
        };
        for watch in &self.watches {
            self.strategies.check(&watch.settings).map_err(|error| format!("monitors: {:?}: {error}", watch.name))?;
            let mut settings = watch.settings.clone();
            let overrides = saved.iter().find(|m| m.name == watch.name).map_or(&[][..], |m| &m.overrides);
            // An option that isn't known any more is dropped with a warning when the monitor is made.
            overrides.iter().for_each(|(option, value)| settings.set(option, value).unwrap_or_default());
            self.strategies.check(&settings).map_err(|error| kept(&watch.name, error))?;
        }
        for extra in saved.iter().filter(|m| m.configured.is_none()) {
            self.strategies.check(&extra.settings).map_err(|error| kept(&extra.name, error))?;
        }
        Ok(())
    }
}

/// A sentinel.
#[derive(Debug)]
pub struct Sentinel {
    pub(crate) shared: Shared,
    pub(crate) monitors: BTreeMap<String, Monitor>,
    pub(crate) removed: Vec<String>,
    pub(crate) scripts: Scripts,
    /// Passive since then (a stall, and a tilt-period).
    pub(crate) tilt: Option<Mono>,
    due: Due,
    pub(crate) touched: Touched,
    planned: Mono,
    /// The monitors as they were last saved, and those that were looked at since: nobody else has changed.
    kept: BTreeMap<String, Kept>,
    stale: Vec<String>,
}

/// Which monitors an event was about.
#[derive(Debug, Default)]
pub(crate) enum Touched {
    #[default]
    None,
    One(String),
    All,
}

impl Sentinel {
    /// A sentinel and its first actions.
    #[must_use]
    pub fn new(boot: Boot) -> (Sentinel, Vec<Action>) {
        let Boot { now, id, announce, announce_fixed, watches, mut saved, seed, options, strategies } = boot;
        let mended = saved.as_mut().map(State::mend).unwrap_or_default();
        let names = Names::new(options.resolve_hostnames, options.announce_hostnames, options.names.clone());
        let (life, seen) = saved.as_ref().map_or((0, &[][..]), |s| (s.life, &s.seen));
        let signing =
            Signing::new(options.hello_key.clone(), options.hello_key_old.clone(), life.saturating_add(1), seen);
        let shared = Shared {
            now,
            id: saved.as_ref().map_or(id, |s| s.id.clone()),
            announce,
            announce_fixed,
            epoch: saved.as_ref().map_or(Epoch(0), |s| s.epoch),
            rng: Rng::new(seed),
            out: Vec::new(),
            durable_at: None,
            disk: Disk::default(),
            write_ms: 0,
            strategies,
            simulate: 0,
            names,
            globals: Globals::new(options),
            tempo: tempo::DEFAULT,
            scripts: Vec::new(),
            signing,
            homes: BTreeMap::new(),
            doubted: BTreeMap::new(),
            replaced: Vec::new(),
            namesake: None,
            unable_told: None,
            numbers: 0,
        };
        let mut sentinel = Sentinel {
            shared,
            monitors: BTreeMap::new(),
            removed: Vec::new(),
            scripts: Scripts::default(),
            tilt: None,
            due: Due::default(),
            touched: Touched::All,
            planned: now.plus(IDLE_MS),
            kept: BTreeMap::new(),
            stale: Vec::new(),
        };
        mended.into_iter().for_each(|what| sentinel.shared.log(Level::Warning, what));
        sentinel.shared.durable();
        if let Some(saved) = &saved {
            sentinel.restore_globals(&saved.globals);
        }
        let saved_monitors = saved.as_ref().map_or(&[][..], |s| &s.monitors);
        sentinel.removed = saved.as_ref().map(|s| s.removed.clone()).unwrap_or_default();
        sentinel.removed.retain(|name| watches.iter().any(|watch| watch.name == *name));
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

    fn boot_monitor(&mut self, watch: Watch, saved: &[Kept]) {
        let saved = saved.iter().map(|kept| &**kept).find(|m| m.name == watch.name);
        if saved.is_some_and(|m| m.configured.is_none()) {
            let text = format!("{} was set up by SENTINEL MONITOR: its settings there override the file's", watch.name);
            self.shared.log(Level::Warning, text);
            if !self.removed.contains(&watch.name) {
                self.removed.push(watch.name);
            }
            return;
        }
        if self.removed.contains(&watch.name) {
            self.shared.log(Level::Warning, format!("{} was removed by SENTINEL REMOVE and stays out", watch.name));
            return;
        }
        // A user who writes another address into the file starts that primary anew.
        let given = |addr: &Addr| addr.is(&watch.addr.host, watch.addr.port);
        let same = saved.filter(|m| m.configured.as_ref().is_none_or(given));
        if let Some(saved) = same.filter(|m| !given(&m.primary)) {
            // Under its name: the address behind one may be another by now.
            let names = self.shared.names.resolve;
            let (kept, given) = (saved.primary.faced(names), watch.addr.faced(names));
            let text = format!("{}: {kept} from the state file overrides {given}", watch.name);
            self.shared.log(Level::Notice, text);
        }
        self.add(watch, same, true);
    }

    pub(crate) fn add(&mut self, watch: Watch, saved: Option<&SavedMonitor>, configured: bool) {
        let name = watch.name.clone();
        let given = watch.addr;
        let addr = self.shared.names.locate_later(given.name.as_deref().unwrap_or(&given.host), given.port);
        let watch = Watch { addr, ..watch };
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

    /// `resolve-hostnames` is on.
    #[must_use]
    pub const fn takes_names(&self) -> bool {
        self.shared.names.resolve
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
        self.leave_tilt_if_due();
        self.handle(event);
        if let Some(line) = self.shared.disk.overdue(now) {
            self.shared.log(Level::Warning, format!("This sentinel: {line}"));
        }
        self.finish()
    }

    fn finish(&mut self) -> Vec<Action> {
        for name in self.take_due() {
            self.tick(&name);
        }
        self.run_scripts();
        let now = self.shared.now;
        let due = self.due.next().min(self.scripts.next_wake(&self.shared.tempo)).min(self.tilt_end());
        let due = due.min(self.shared.disk.deadline());
        self.planned = due.min(now.plus(IDLE_MS)).max(now.plus(1));
        let wanted = self.shared.names.take_wanted();
        self.shared.out.extend(wanted.into_iter().map(Action::Resolve));
        let mut actions = std::mem::take(&mut self.shared.out);
        if let Some(at) = self.shared.durable_at.take() {
            actions.insert(at.min(actions.len()), Action::Persist(Box::new(self.save_changed())));
        }
        actions
    }

    /// The monitors this step is about: those touched, and those with something due. In order of their names.
    fn take_due(&mut self) -> Vec<String> {
        let now = self.shared.now;
        let touched = std::mem::take(&mut self.touched);
        let periods = self.monitors.values().map(|monitor| monitor.settings.ping_period_ms());
        self.due.measure(self.monitors.len(), matches!(touched, Touched::All), periods);
        let mut names = match touched {
            Touched::All => return self.monitors.keys().cloned().collect(),
            Touched::One(name) => vec![name],
            Touched::None => Vec::new(),
        };
        names.extend(self.due.take(now));
        names.sort();
        names.dedup();
        names
    }

    fn tick(&mut self, name: &str) {
        let Some(monitor) = self.monitors.get_mut(name) else { return self.stale.push(name.to_owned()) };
        if !std::mem::replace(&mut monitor.looked_at, true) {
            self.stale.push(name.to_owned());
        }
        monitor.tick(&mut self.shared);
        let at = monitor.next_wake(self.shared.now).max(self.shared.now.plus(1));
        self.due.put(name, std::mem::replace(&mut monitor.wake, at), at);
        self.due.at_most(monitor.settings.ping_period_ms());
    }

    /// What this step called for goes into the queue, and what is due starts.
    fn run_scripts(&mut self) {
        for argv in std::mem::take(&mut self.shared.scripts) {
            self.scripts.push(argv, self.shared.now);
        }
        let orders = self.scripts.tick(self.shared.now, &self.shared.tempo);
        self.obey(orders);
    }

    fn obey(&mut self, orders: Vec<Order>) {
        for order in orders {
            self.shared.out.push(match order {
                Order::Tell(level, name, payload) => Action::Emit(Notice { level, name, payload }),
                order => Action::Script(order),
            });
        }
    }

    /// A stall with a tilt-period: passive until its end.
    fn enter_tilt(&mut self) {
        let (now, period) = (self.shared.now, self.shared.tempo.tilt_period);
        if period == 0 {
            return;
        }
        if self.tilt.replace(now).is_none() {
            self.say("+tilt", "#tilt mode entered");
        }
        for monitor in self.monitors.values_mut() {
            monitor.passive_until = now.plus(period);
        }
        self.touched = Touched::All;
    }

    fn leave_tilt_if_due(&mut self) {
        if self.tilt.is_some() && self.shared.now >= self.tilt_end() {
            self.tilt = None;
            self.say("-tilt", "#tilt mode exited");
        }
    }

    fn say(&mut self, name: &'static str, text: &str) {
        self.shared.out.push(Action::Emit(Notice { level: Level::Warning, name, payload: text.into() }));
    }

    fn tilt_end(&self) -> Mono {
        self.tilt.map_or(Mono::NEVER, |since| since.plus(self.shared.tempo.tilt_period))
    }

    pub(crate) fn tilt_seconds(&self) -> i64 {
        self.tilt.map_or(-1, |since| (self.shared.now.since(since) / 1000) as i64)
    }

    fn check_lateness(&mut self) {
        let late = self.shared.now.since(self.planned);
        if late < LATE_MS {
            return;
        }
        let most = self.shared.tempo.tilt_trigger.max(STALL_MIN_MS);
        for monitor in self.monitors.values_mut() {
            monitor.forgive(late, self.shared.now);
            if late >= monitor.settings.down_after_ms.clamp(STALL_MIN_MS, most) {
                monitor.stood_still(late, &mut self.shared);
            }
        }
        if late >= most {
            self.enter_tilt();
        }
        self.touched = Touched::All;
    }

    /// The monitor that an instance belongs to; it is looked at in this step.
    fn owner(&mut self, id: InstanceId) -> Option<(&mut Monitor, &mut Shared)> {
        let name = self.shared.homes.get(&id)?.clone();
        let monitor = self.monitors.get_mut(&name).filter(|monitor| monitor.instances.contains_key(&id))?;
        touch(&mut self.touched, name);
        Some((monitor, &mut self.shared))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::Writing { epoch } => self.shared.disk.began(epoch, self.shared.now),
            Event::Written { ms, error } => self.on_written(ms, error),
            Event::Resolved { name, ip } => {
                let news = self.shared.names.found(&name, ip.as_deref());
                if let Some(ip) = ip.filter(|_| news) {
                    self.monitors.values_mut().for_each(|m| m.on_resolved(&name, &ip, &mut self.shared));
                    self.touched = Touched::All;
                }
            }
            Event::ScriptStarted { id, pid } => {
                let orders = self.scripts.started(id, pid);
                self.obey(orders);
            }
            Event::ScriptEnded { id, how } => {
                let orders = self.scripts.ended(id, how, self.shared.now, &self.shared.tempo);
                self.obey(orders);
            }
            Event::LinkUp { instance, lane, generation, local_ip } => {
                if let Some((monitor, s)) = self.owner(instance) {
                    monitor.on_link_up(instance, lane, generation, local_ip, s);
                }
            }
            Event::LinkDown { instance, lane, generation, fall } => {
                if let Some((monitor, s)) = self.owner(instance) {
                    monitor.on_link_down(instance, lane, generation, &fall, s);
                }
            }
            Event::Answer { instance, generation, request, reply, round } => {
                if let Some((monitor, s)) = self.owner(instance) {
                    monitor.on_answer(instance, generation, &request, &reply, round, s);
                }
            }
            Event::Unsent { instance, generation } => {
                // Nothing is due earlier by this either.
                if let Some(monitor) = self.shared.homes.get(&instance).and_then(|name| self.monitors.get_mut(name)) {
                    monitor.on_unsent(instance, generation);
                }
            }
            Event::Alive { instances } => {
                // Nothing is due earlier by this, so nobody is looked at in this step.
                for (id, generation) in instances {
                    if let Some(monitor) = self.shared.homes.get(&id).and_then(|name| self.monitors.get_mut(name)) {
                        monitor.on_alive(id, generation, &mut self.shared);
                    }
                }
            }
            Event::Feed { instance, generation, text } => self.on_feed(instance, generation, text.as_deref()),
            Event::FeedRefused { instance, generation, error } => {
                if let Some((monitor, s)) = self.owner(instance) {
                    monitor.on_feed_refused(instance, generation, &error, s);
                }
            }
            Event::Command { ticket, argv } => {
                self.touched = match reach(&argv) {
                    Reach::Nobody => Touched::None,
                    Reach::One(name) => Touched::One(name.to_owned()),
                    Reach::All => Touched::All,
                };
                self.command(ticket, &argv);
            }
            Event::Advice { monitor, ticket, advice } => {
                if let Some(found) = self.monitors.get_mut(&monitor) {
                    found.on_advice(ticket, &advice, &mut self.shared);
                    touch(&mut self.touched, monitor);
                }
            }
        }
    }

    fn on_written(&mut self, ms: u64, error: Option<String>) {
        let (s, failed) = (&mut self.shared, error.is_some());
        s.write_ms = ms.max(s.write_ms / 2);
        let written = s.disk.epoch();
        if let Some(line) = s.disk.ended(error, s.now) {
            s.log(Level::Notice, line);
        }
        let waits = |monitor: &Monitor| matches!(monitor.failover, Failover::Reconfigure { unkept: Some(_), .. });
        if !failed && self.monitors.values().any(waits) {
            self.touched = Touched::All;
        }
        let unkept = |monitor: &&mut Monitor| failed && monitor.failover.asked_for().is_some();
        for monitor in self.monitors.values_mut().filter(unkept) {
            if monitor.failover.asked_for().is_some_and(|epoch| s.disk.lost(epoch, written)) {
                monitor.give_up_uncertain(s, "this sentinel's state can't be written to disk");
                self.touched = Touched::All;
            }
        }
    }

    /// A request that waited for the disk is still this sentinel's will. A failover that was given up meanwhile must not
    /// promote anybody late, beside whom another leader has promoted; nor may a candidate that gave up be voted for.
    #[must_use]
    pub fn still_wants(&self, instance: InstanceId, request: &Request) -> bool {
        let Some(monitor) = self.shared.homes.get(&instance).and_then(|name| self.monitors.get(name)) else {
            return false;
        };
        monitor.still_wants(instance, request)
    }

    fn on_feed(&mut self, id: InstanceId, generation: u64, text: Option<&str>) {
        let now = self.shared.now;
        let Some((monitor, _)) = self.owner(id) else { return };
        let instance = monitor.instance_mut(id);
        if instance.link(Lane::Feed).generation != generation {
            return;
        }
        instance.feed_heard = now;
        instance.complaints.remove("SUBSCRIBE");
        if let Some(text) = text {
            self.on_hello_text(text);
        }
    }

    /// A hello in its text form, from a feed or a PUBLISH. What can't be read is ignored, as Redis does.
    pub(crate) fn on_hello_text(&mut self, text: &str) {
        let Some(mut hello) = Hello::parse(without_stamp(text)) else { return };
        let Some(monitor) = self.monitors.get_mut(&hello.name) else { return };
        if self.shared.signing.on()
            && hello.id != self.shared.id
            && let Err(fault) = self.shared.signing.open(text, &hello.id)
        {
            return monitor.refuse(&hello, fault, &mut self.shared);
        }
        let names = &mut self.shared.names;
        let addr = names.locate(&hello.addr.host, hello.addr.port);
        let primary = names.locate(&hello.primary.host, hello.primary.port);
        // A name that isn't known yet is looked up, and the next hello says it again.
        let (Some(addr), Some(primary)) = (addr, primary) else { return };
        (hello.addr, hello.primary) = (addr, primary);
        monitor.on_hello(&hello, &mut self.shared);
        touch(&mut self.touched, hello.name);
        for id in std::mem::take(&mut self.shared.replaced) {
            self.monitors.values_mut().for_each(|monitor| monitor.drop_replaced(&id, &mut self.shared));
            self.touched = Touched::All;
        }
    }

    /// Everything that must survive.
    #[must_use]
    pub fn save(&self) -> State {
        self.state(self.monitors.values().map(|monitor| Kept::new(monitor.save())).collect())
    }

    /// The same, and only those are gone through that were looked at since the last time: one of a thousand primaries
    /// that votes must not cost what a thousand do.
    fn save_changed(&mut self) -> State {
        for name in std::mem::take(&mut self.stale) {
            let Some(monitor) = self.monitors.get_mut(&name) else {
                self.kept.remove(&name);
                continue;
            };
            monitor.looked_at = false;
            let saved = monitor.save();
            if self.kept.get(&name).is_none_or(|kept| **kept != saved) {
                self.kept.insert(name, Kept::new(saved));
            }
        }
        let state = self.state(self.kept.values().cloned().collect());
        debug_assert_eq!(state, self.save(), "somebody changed who wasn't looked at");
        state
    }

    fn state(&self, monitors: Vec<Kept>) -> State {
        State {
            version: VERSION,
            id: self.shared.id.clone(),
            epoch: self.shared.epoch,
            monitors,
            removed: self.removed.clone(),
            globals: self.shared.globals.changed.clone(),
            life: self.shared.signing.life,
            seen: self.shared.signing.seen(),
        }
    }
}

pub(crate) fn touch(touched: &mut Touched, name: String) {
    *touched = match std::mem::take(touched) {
        Touched::None => Touched::One(name),
        Touched::One(other) if other == name => Touched::One(name),
        _ => Touched::All,
    };
}
