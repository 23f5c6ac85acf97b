//! One watched primary with its replicas and the other sentinels: links, timers, down states, answers.
//! Owns the set of instances and the configuration (primary, config epoch); election, failover and reconfiguration are
//! further `impl Monitor` blocks in files of their own. No clock, no socket: `now` comes in, actions go out.

use crate::actions::{Shared, Watch};
use crate::ballot::{Ballot, STALE_HELLO_MS};
use crate::down;
use crate::events::{Level, subject};
use crate::explain::Wish;
use crate::failover::Failover;
use crate::gossip::Refused;
use crate::info::Role;
use crate::instance::Instance;
use crate::settings::Settings;
use crate::sign::Fault;
use crate::spread;
use crate::state::{SavedMonitor, SavedReplica, SavedSentinel};
use crate::timeline::Timeline;
use crate::types::{Addr, Epoch, InstanceId, Kind, Mono};
use std::collections::BTreeMap;

/// Most replicas and most sentinels remembered for one primary; hellos carry no signature.
pub const MAX_INSTANCES: usize = 1024;

/// A watched primary.
#[derive(Debug)]
pub struct Monitor {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// The address the configuration file gave.
    pub configured: Option<Addr>,
    /// The settings of the configuration file; nothing for a primary that SENTINEL MONITOR added.
    pub file: Option<Settings>,
    /// Options changed at run time.
    pub overrides: Vec<(String, String)>,
    /// Those of them that are spread to the group.
    pub spread: spread::Record,
    /// Everybody, the primary included.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The primary of the current configuration.
    pub primary: InstanceId,
    /// Epoch of the current configuration.
    pub config_epoch: Epoch,
    /// Counts configurations inside this process: answers to questions of an earlier one don't count.
    pub round: u64,
    /// The primary came back with another run id then.
    pub primary_rebooted: Option<Mono>,
    /// Objectively down since then.
    pub odown_since: Option<Mono>,
    /// Events, replies and hellos tell names where they are known.
    pub names_shown: bool,
    /// Nothing is done before then (a stall, and a tilt-period).
    pub passive_until: Mono,
    /// The configuration changed last.
    pub switched_at: Option<Mono>,
    /// The primary is asked often until then: somebody is at something.
    pub watch_until: Mono,
    /// Since when this sentinel has been able to hear (its own restart, stall, isolation).
    pub knowledge_since: Mono,
    /// Hellos count from then on: earlier ones may have been stuck in the network.
    pub hellos_from: Mono,
    /// Fewer than a majority of the sentinels can be heard.
    pub isolated: bool,
    /// Since when, or when that was so last.
    isolated_since: Mono,
    /// A majority with others in it was heard since the start: not hearing it is a fault, not an acquaintance being made.
    was_among: bool,
    /// Votes given and candidacy.
    pub ballot: Ballot,
    /// The failover this sentinel leads.
    pub failover: Failover,
    /// Who asked for it, as long as it isn't on the disk, and in which epoch it is.
    pub(crate) asker: Option<(u64, Epoch)>,
    /// The failover under way is one in which the primary hands over.
    pub coordinated: bool,
    /// The last failovers, step by step.
    pub timeline: Timeline,
    /// Hellos that weren't taken, by sender and reason.
    pub refused: BTreeMap<(String, Fault), Refused>,
    /// Sentinels and replicas that a majority has forgotten, as `IS-GONE` calls them.
    pub forgotten: Vec<String>,
    /// Clients that wait for the selection strategy.
    pub(crate) wishes: BTreeMap<u64, (u64, Wish)>,
    /// The machine's: when something is due next, and whether it may have changed since it was last saved.
    pub(crate) wake: Mono,
    pub(crate) looked_at: bool,
}

impl Monitor {
    /// A monitor from the configuration and, if there is one, what was saved.
    pub fn new(watch: Watch, saved: Option<&SavedMonitor>, configured: bool, s: &mut Shared) -> Monitor {
        let now = s.now;
        let mut monitor = Monitor {
            configured: configured.then(|| watch.addr.clone()),
            file: configured.then(|| watch.settings.clone()),
            name: watch.name,
            settings: watch.settings,
            overrides: Vec::new(),
            spread: spread::Record::default(),
            instances: BTreeMap::new(),
            primary: InstanceId(0),
            config_epoch: Epoch(0),
            round: 0,
            primary_rebooted: None,
            odown_since: None,
            names_shown: s.names.announce,
            passive_until: Mono(0),
            switched_at: None,
            watch_until: now,
            knowledge_since: now,
            hellos_from: now.plus(STALE_HELLO_MS),
            isolated: false,
            isolated_since: now,
            was_among: false,
            ballot: Ballot::new(now),
            failover: Failover::Idle,
            asker: None,
            coordinated: false,
            timeline: Timeline::default(),
            refused: BTreeMap::new(),
            forgotten: Vec::new(),
            wishes: BTreeMap::new(),
            wake: Mono::NEVER,
            looked_at: false,
        };
        monitor.settings.tempo = s.tempo;
        let addr = saved.map_or(watch.addr, |saved| again(&saved.primary, s));
        monitor.primary = monitor.insert(Kind::Primary, addr, s);
        match saved {
            Some(saved) => monitor.restore(saved, s),
            // It may have voted for this primary under this name before: no second vote in an epoch that was seen.
            None => monitor.ballot.leader_epoch = s.epoch,
        }
        monitor
    }

    fn restore(&mut self, saved: &SavedMonitor, s: &mut Shared) {
        self.overrides = saved.overrides.clone();
        for (option, value) in &saved.overrides {
            if let Err(error) = self.settings.set(option, value) {
                s.log(Level::Warning, format!("{}: saved option dropped: {error}", self.name));
            }
        }
        self.spread.entries.clone_from(&saved.spread);
        self.spread.version = u64::from(!saved.spread.is_empty());
        self.tell_overrides(s);
        self.config_epoch = saved.config_epoch;
        self.ballot.leader.clone_from(&saved.leader);
        self.ballot.leader_epoch = saved.leader_epoch;
        let primary = self.primary_mut();
        primary.run_id.clone_from(&saved.run_id);
        primary.answered = saved.answered;
        primary.history.clone_from(&saved.history);
        for replica in &saved.replicas {
            let id = self.insert(Kind::Replica, again(&replica.addr, s), s);
            self.instance_mut(id).former_primary = replica.former_primary;
        }
        for sentinel in &saved.sentinels {
            let id = self.insert(Kind::Sentinel, again(&sentinel.addr, s), s);
            self.instance_mut(id).run_id.clone_from(&sentinel.id);
        }
    }

    /// What must survive a restart. Once a promotion is certain the saved primary is the promoted one: an epoch on
    /// disk with the address of the one before could never be corrected by a hello.
    #[must_use]
    pub fn save(&self) -> SavedMonitor {
        let primary = self.primary_to_be();
        let replica = |i: &Instance| SavedReplica {
            addr: i.addr.clone(),
            former_primary: i.former_primary || (i.kind == Kind::Primary && i.role == Role::Primary),
        };
        SavedMonitor {
            name: self.name.clone(),
            configured: self.configured.clone(),
            overrides: self.overrides.clone(),
            spread: self.spread.entries.clone(),
            settings: self.settings.clone(),
            primary: primary.addr.clone(),
            run_id: primary.run_id.clone(),
            answered: primary.answered && primary.role == Role::Primary,
            history: self.history_of(primary),
            config_epoch: self.config_epoch,
            leader: self.ballot.leader.clone(),
            leader_epoch: self.ballot.leader_epoch,
            replicas: self
                .instances
                .values()
                .filter(|i| i.kind != Kind::Sentinel && i.id != primary.id)
                .map(replica)
                .collect(),
            sentinels: self
                .of(Kind::Sentinel)
                .map(|i| SavedSentinel { id: i.run_id.clone(), addr: i.addr.clone() })
                .collect(),
        }
    }

    /// What the primary, or whoever has just become it, last had as one.
    fn history_of(&self, primary: &Instance) -> String {
        match primary.report.as_ref().filter(|r| primary.id != self.primary && r.role == Some(Role::Primary)) {
            Some(report) => report.history.clone(),
            None => primary.history.clone(),
        }
    }

    /// The primary.
    #[must_use]
    pub fn primary(&self) -> &Instance {
        self.instances.get(&self.primary).expect("the primary is never removed")
    }

    pub(crate) fn primary_mut(&mut self) -> &mut Instance {
        self.instances.get_mut(&self.primary).expect("the primary is never removed")
    }

    pub(crate) fn instance_mut(&mut self, id: InstanceId) -> &mut Instance {
        self.instances.get_mut(&id).expect("ids are taken from the set and instances leave only in reset")
    }

    /// Instances of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(move |i| i.kind == kind)
    }

    pub(crate) fn of_mut(&mut self, kind: Kind) -> impl Iterator<Item = &mut Instance> {
        self.instances.values_mut().filter(move |i| i.kind == kind)
    }

    /// All sentinels, this one and dead ones included.
    #[must_use]
    pub fn voters(&self) -> u32 {
        self.of(Kind::Sentinel).count() as u32 + 1
    }

    /// The address of this sentinel's configuration: during a failover, once the promotion is certain, the promoted replica's.
    #[must_use]
    pub fn current_addr(&self) -> &Addr {
        &self.primary_to_be().addr
    }

    /// The promoted replica once its promotion is certain, else the primary.
    fn primary_to_be(&self) -> &Instance {
        match self.failover {
            Failover::Reconfigure { replica, .. } => self.instances.get(&replica).unwrap_or_else(|| self.primary()),
            _ => self.primary(),
        }
    }

    pub(crate) fn insert(&mut self, kind: Kind, addr: Addr, s: &mut Shared) -> InstanceId {
        if kind == Kind::Replica {
            let name = addr.to_string();
            self.forgotten.retain(|forgotten| *forgotten != name);
        }
        let id = InstanceId(s.number() as u32);
        let mut instance = Instance::new(id, kind, addr, s.now);
        instance.next_hello = s.now.plus(s.rng.between(0, self.settings.tempo.publish_period / 4));
        self.instances.insert(id, instance);
        s.homes.insert(id, self.name.clone());
        id
    }

    pub(crate) fn describe(&self, id: InstanceId) -> String {
        let instance = &self.instances[&id];
        let (addr, primary) = (instance.addr.faced(self.names_shown), self.primary().addr.faced(self.names_shown));
        subject(instance.kind, &instance.label(&self.name, self.names_shown), &addr, (&self.name, &primary))
    }

    pub(crate) fn event(&self, s: &mut Shared, level: Level, name: &'static str, about: InstanceId, more: &str) {
        let who = self.describe(about);
        s.emit(level, name, if more.is_empty() { who } else { format!("{who} {more}") }, &self.settings);
    }

    /// The primary's address changes: what its users asked to be called for.
    pub(crate) fn call_reconfig_script(&self, role: &str, from: &Addr, to: &Addr, s: &mut Shared) {
        let Some(script) = self.settings.client_reconfig_script.clone() else { return };
        let (from, to) = (from.faced(self.names_shown), to.faced(self.names_shown));
        let words = [&self.name, role, "start", &from.host, &from.port.to_string(), &to.host, &to.port.to_string()];
        s.scripts.push(std::iter::once(script).chain(words.map(str::to_owned)).collect());
    }

    // ---------- time

    /// The next moment at which something is due.
    #[must_use]
    pub fn next_wake(&self, now: Mono) -> Mono {
        let mut at = self.instances.values().map(|i| i.next_wake(&self.settings)).min().unwrap_or(Mono::NEVER);
        if self.asks() {
            let due = self.of(Kind::Sentinel).filter(|i| i.command.is_up()).map(|i| i.next_ask).min();
            at = at.min(due.unwrap_or(Mono::NEVER));
        }
        if self.passive_until > now {
            at = at.min(self.passive_until);
        }
        at.min(self.next_step(now)).min(self.next_aging())
    }

    /// Everything that time alone brings.
    pub fn tick(&mut self, s: &mut Shared) {
        let ids: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in &ids {
            self.keep_links(*id, s);
            self.send_periodic(*id, s);
        }
        self.watch_isolation(s);
        for id in ids {
            self.check_down(id, s);
        }
        self.check_objectively_down(s);
        self.drive(s);
        self.ask_peers(s);
        self.spread_settings(s);
        self.age_out(s);
    }

    /// This sentinel did not run for `late_ms`: that silence is its own.
    pub fn forgive(&mut self, late_ms: u64, now: Mono) {
        for instance in self.instances.values_mut() {
            instance.forgive(late_ms, now);
        }
    }

    /// Old knowledge ends here: timers start anew, votes and confirmations are forgotten, a failover not yet certain
    /// is given up.
    pub fn start_anew(&mut self, s: &mut Shared, why: &str) {
        self.observe_anew(s, why);
        self.give_up_uncertain(s, why);
    }

    /// What was observed so far is nothing any more.
    pub(crate) fn observe_anew(&mut self, s: &mut Shared, why: &str) {
        self.knowledge_since = s.now;
        self.hellos_from = s.now.plus(STALE_HELLO_MS);
        s.log(Level::Notice, format!("{}: observation starts anew ({why})", self.name));
        for id in self.instances.keys().copied().collect::<Vec<_>>() {
            let was_down = self.instances[&id].down_since.is_some();
            let instance = self.instance_mut(id);
            instance.restart_timers(s.now);
            instance.heard = None;
            if instance.kind == Kind::Sentinel {
                instance.next_hello = s.now; // others that stood still too need it to know anything again
            }
            if was_down {
                self.event(s, Level::Warning, "-sdown", id, "");
            }
        }
        if self.odown_since.take().is_some() {
            self.event(s, Level::Warning, "-odown", self.primary, "");
        }
    }

    /// A peer is heard by what it answers, not by its connection: one that wants another password accepts every link anew.
    fn watch_isolation(&mut self, s: &mut Shared) {
        let limit = (3 * self.settings.ping_period_ms()).max(1500);
        let talks = |i: &&Instance| i.talked.is_some_and(|at| s.now.since(at) <= limit);
        let heard = 1 + self.of(Kind::Sentinel).filter(talks).count() as u32;
        let isolated = heard < crate::election::majority(self.voters());
        if self.isolated && !isolated {
            self.isolated = false;
            self.drop_feeds(s);
            self.start_anew(s, "a majority of the sentinels can be heard again");
            if !self.was_among {
                // Nothing is stuck for longer than there was somebody to be heard.
                self.hellos_from = s.now.plus(s.now.since(self.isolated_since).min(STALE_HELLO_MS));
            }
        } else if isolated && !self.isolated {
            (self.isolated, self.isolated_since) = (true, s.now);
            s.log(Level::Notice, format!("{}: fewer than a majority of the sentinels can be heard", self.name));
        }
        self.was_among |= heard > 1 && !isolated;
    }

    // ---------- down

    pub(crate) fn check_down(&mut self, id: InstanceId, s: &mut Shared) {
        let instance = &self.instances[&id];
        let silent = s.now >= instance.silence(&self.settings).deadline();
        let primary = instance.kind == Kind::Primary;
        let wrong_role = primary
            && instance.role == Role::Replica
            && s.now
                >= down::wrong_role_deadline(
                    instance.role_since,
                    self.settings.down_after_ms,
                    self.settings.tempo.info_period,
                );
        let refused = self.settings.fast_detection && instance.kind != Kind::Sentinel && instance.refusals >= 2;
        let period = self.settings.reboot_down_after_ms;
        let rebooting = period > 0 && instance.rebooted_at.is_some_and(|at| s.now.since(at) > period);
        let handed_over = primary && self.handed_over(s.now);
        let circled = primary && self.circle_is_down(s.now);
        let wrong_role = wrong_role || circled;
        let down = silent || wrong_role || handed_over || refused || rebooting || (primary && self.data_lost());
        match (down, instance.down_since) {
            (true, None) => {
                self.instance_mut(id).down_since = Some(s.now);
                self.event(s, Level::Warning, "+sdown", id, "");
                if primary {
                    let why = match () {
                        () if refused => "its host refuses connections (fast detection)".into(),
                        () if rebooting => format!("it restarted and gave no PONG for {period} ms"),
                        () if handed_over && !silent => "it has handed its role over, and nobody said so".into(),
                        () if circled && !silent => "it follows a node that follows it, so nobody is a primary".into(),
                        () => self.why_down(silent, wrong_role, s.now),
                    };
                    self.timeline.begin(s.now, "sdown", why);
                    self.on_primary_down(s);
                }
            }
            (false, Some(_)) => {
                let instance = self.instance_mut(id);
                instance.down_since = None;
                instance.script_kill_sent = false;
                self.event(s, Level::Warning, "-sdown", id, "");
                if primary {
                    self.timeline.mark(s.now, "back", "it answers as a primary again".into());
                }
            }
            _ => {}
        }
    }

    fn why_down(&self, silent: bool, wrong_role: bool, now: Mono) -> String {
        let limit = self.settings.down_after_ms;
        match (silent, wrong_role) {
            (true, _) => {
                let why = self.primary().trouble.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                format!("no valid answer for {} ms (limit {limit}){why}", now.since(self.primary().last_valid))
            }
            (_, true) => "it reports that it is a replica".into(),
            _ => "it came back with less than a replica has, which keeps its data".into(),
        }
    }

    fn on_primary_down(&mut self, s: &mut Shared) {
        for replica in self.of_mut(Kind::Replica) {
            replica.next_info = s.now;
        }
        self.ask_now(s.now);
        for id in self.of(Kind::Replica).map(|i| i.id).collect::<Vec<_>>() {
            self.send_periodic(id, s);
        }
    }

    /// Peers whose down-vote about this configuration still counts.
    #[must_use]
    pub fn down_votes(&self, now: Mono) -> u32 {
        self.of(Kind::Sentinel).filter(|i| i.sees_down(now)).count() as u32
    }

    pub(crate) fn check_objectively_down(&mut self, s: &mut Shared) {
        if matches!(self.failover, Failover::Reconfigure { .. }) {
            return; // the others hold the new configuration already and say nothing about the old primary
        }
        let votes = self.down_votes(s.now);
        let down = down::objective(self.primary().down_since.is_some(), votes, self.settings.quorum);
        match (down, self.odown_since) {
            (true, None) => {
                self.odown_since = Some(s.now);
                let more = format!("#quorum {}/{}", votes + 1, self.settings.quorum);
                let seen = format!("{} sentinels see it down, the quorum is {}", votes + 1, self.settings.quorum);
                self.timeline.mark(s.now, "odown", seen);
                self.event(s, Level::Warning, "+odown", self.primary, &more);
            }
            (false, Some(_)) => {
                self.odown_since = None;
                self.event(s, Level::Warning, "-odown", self.primary, "");
            }
            _ => {}
        }
    }
}

/// A saved address: its name may stand for another host by now.
fn again(addr: &Addr, s: &mut Shared) -> Addr {
    match &addr.name {
        Some(name) => s.names.locate_later(name, addr.port),
        None => addr.clone(),
    }
}
