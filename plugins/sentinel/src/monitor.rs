//! One watched primary with its replicas and the other sentinels: links, timers, down states, answers.
//! Owns the set of instances and the configuration (primary, config epoch); election, failover and reconfiguration are
//! further `impl Monitor` blocks in files of their own. No clock, no socket: `now` comes in, actions go out.

use crate::actions::{Action, Shared, Watch};
use crate::ballot::{Ballot, DOWN_VOTE_MS};
use crate::down;
use crate::events::{Level, subject};
use crate::failover::Failover;
use crate::info::{Report, Role};
use crate::instance::{HELLO_PERIOD_MS, INFO_PERIOD_MS, Instance, LinkState};
use crate::settings::Settings;
use crate::state::{SavedMonitor, SavedReplica, SavedSentinel};
use crate::timeline::Timeline;
use crate::types::{Addr, Epoch, InstanceId, Kind, Lane, Mono};
use crate::wire::{Reply, Request};
use std::collections::BTreeMap;

/// Unanswered requests after which nothing more is sent on a link (Redis: 100).
const MAX_PENDING: u32 = 100;
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
    /// Options changed at run time.
    pub overrides: Vec<(String, String)>,
    /// Everybody, the primary included.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The primary of the current configuration.
    pub primary: InstanceId,
    /// Epoch of the current configuration.
    pub config_epoch: Epoch,
    /// Counts configurations inside this process: answers to questions of an earlier one don't count.
    pub round: u64,
    /// Objectively down since then.
    pub odown_since: Option<Mono>,
    /// Since when this sentinel has been able to hear (its own restart, stall, isolation).
    pub knowledge_since: Mono,
    /// Fewer than a majority of the sentinels can be heard.
    pub isolated: bool,
    /// Votes given and candidacy.
    pub ballot: Ballot,
    /// The failover this sentinel leads.
    pub failover: Failover,
    /// When what happened in the current failover.
    pub timeline: Timeline,
}

impl Monitor {
    /// A monitor from the configuration and, if there is one, what was saved.
    pub fn new(watch: Watch, saved: Option<&SavedMonitor>, configured: bool, s: &mut Shared) -> Monitor {
        let now = s.now;
        let mut monitor = Monitor {
            configured: configured.then(|| watch.addr.clone()),
            name: watch.name,
            settings: watch.settings,
            overrides: Vec::new(),
            instances: BTreeMap::new(),
            primary: InstanceId(0),
            config_epoch: Epoch(0),
            round: 0,
            odown_since: None,
            knowledge_since: now,
            isolated: false,
            ballot: Ballot::new(now),
            failover: Failover::Idle,
            timeline: Timeline::default(),
        };
        let addr = saved.map_or(watch.addr, |saved| saved.primary.clone());
        monitor.primary = monitor.insert(Kind::Primary, addr, s);
        if let Some(saved) = saved {
            monitor.restore(saved, s);
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
        self.config_epoch = saved.config_epoch;
        self.ballot.leader.clone_from(&saved.leader);
        self.ballot.leader_epoch = saved.leader_epoch;
        let primary = self.primary_mut();
        primary.run_id.clone_from(&saved.run_id);
        primary.answered = saved.answered;
        for replica in &saved.replicas {
            let id = self.insert(Kind::Replica, replica.addr.clone(), s);
            self.instance_mut(id).former_primary = replica.former_primary;
        }
        for sentinel in &saved.sentinels {
            let id = self.insert(Kind::Sentinel, sentinel.addr.clone(), s);
            self.instance_mut(id).run_id.clone_from(&sentinel.id);
        }
    }

    /// What must survive a restart. Once a promotion is certain the saved primary is the promoted one: an epoch on
    /// disk with the address of the one before could never be corrected by a hello.
    #[must_use]
    pub fn save(&self) -> SavedMonitor {
        let primary = match self.failover {
            Failover::Reconfigure { replica, .. } => self.instances.get(&replica).unwrap_or_else(|| self.primary()),
            _ => self.primary(),
        };
        let replica = |i: &Instance| SavedReplica {
            addr: i.addr.clone(),
            former_primary: i.former_primary || i.kind == Kind::Primary,
        };
        SavedMonitor {
            name: self.name.clone(),
            configured: self.configured.clone(),
            overrides: self.overrides.clone(),
            settings: self.settings.clone(),
            primary: primary.addr.clone(),
            run_id: primary.run_id.clone(),
            answered: primary.answered && primary.role == Role::Primary,
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

    /// The address clients are to use: during a failover, once the promotion is certain, the promoted replica's.
    #[must_use]
    pub fn current_addr(&self) -> &Addr {
        match self.failover {
            Failover::Reconfigure { replica, .. } => {
                self.instances.get(&replica).map_or(&self.primary().addr, |i| &i.addr)
            }
            _ => &self.primary().addr,
        }
    }

    pub(crate) fn insert(&mut self, kind: Kind, addr: Addr, s: &mut Shared) -> InstanceId {
        let id = InstanceId(s.number() as u32);
        let mut instance = Instance::new(id, kind, addr, s.now);
        instance.next_hello = s.now.plus(s.rng.between(0, HELLO_PERIOD_MS / 4));
        self.instances.insert(id, instance);
        id
    }

    pub(crate) fn describe(&self, id: InstanceId) -> String {
        let instance = &self.instances[&id];
        subject(instance.kind, &instance.label(&self.name), &instance.addr, (&self.name, &self.primary().addr))
    }

    pub(crate) fn event(&self, s: &mut Shared, level: Level, name: &'static str, about: InstanceId, more: &str) {
        let who = self.describe(about);
        s.emit(level, name, if more.is_empty() { who } else { format!("{who} {more}") });
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
        at.min(self.next_step(now))
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
        self.knowledge_since = s.now;
        s.log(Level::Notice, format!("{}: observation starts anew ({why})", self.name));
        for id in self.instances.keys().copied().collect::<Vec<_>>() {
            let was_down = self.instances[&id].down_since.is_some();
            let instance = self.instance_mut(id);
            instance.restart_timers(s.now);
            instance.heard = None;
            if was_down {
                self.event(s, Level::Warning, "-sdown", id, "");
            }
        }
        if self.odown_since.take().is_some() {
            self.event(s, Level::Warning, "-odown", self.primary, "");
        }
        self.give_up_uncertain(s, why);
    }

    fn watch_isolation(&mut self, s: &mut Shared) {
        let limit = (3 * self.settings.ping_period_ms()).max(1500);
        let heard =
            1 + self.of(Kind::Sentinel).filter(|i| i.command.is_up() && s.now.since(i.last_valid) <= limit).count()
                as u32;
        let isolated = heard < crate::election::majority(self.voters());
        if self.isolated && !isolated {
            self.isolated = false;
            self.start_anew(s, "a majority of the sentinels can be heard again");
        } else if isolated && !self.isolated {
            self.isolated = true;
            s.log(Level::Notice, format!("{}: fewer than a majority of the sentinels can be heard", self.name));
        }
    }

    // ---------- links

    fn keep_links(&mut self, id: InstanceId, s: &mut Shared) {
        let settings = self.settings.clone();
        let auth = settings.auth_pass.clone().map(|pass| (settings.auth_user.clone(), pass));
        let instance = self.instance_mut(id);
        if instance.addr.port == 0 {
            return;
        }
        for lane in instance.lanes() {
            if s.now >= instance.link_deadline(*lane, &settings) {
                s.out.push(Action::Disconnect { instance: id, lane: *lane });
                Self::link_lost(instance, *lane, s.now, 0);
            }
            let LinkState::Down(at) = instance.link(*lane).state else { continue };
            if s.now < at {
                continue;
            }
            let generation = s.number();
            *instance.link(*lane) = crate::instance::Link { state: LinkState::Opening(s.now), generation };
            let auth = if instance.kind == Kind::Sentinel { None } else { auth.clone() };
            s.out.push(Action::Connect {
                instance: id,
                lane: *lane,
                generation,
                addr: instance.addr.clone(),
                auth,
                kind: instance.kind,
            });
        }
    }

    fn link_lost(instance: &mut Instance, lane: Lane, now: Mono, wait_ms: u64) {
        instance.link(lane).state = LinkState::Down(now.plus(wait_ms));
        if lane == Lane::Command {
            instance.pending = 0;
            instance.ping_since = None;
        }
    }

    /// A link came up.
    pub fn on_link_up(&mut self, id: InstanceId, lane: Lane, generation: u64, local_ip: String, s: &mut Shared) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let link = instance.link(lane);
        if link.generation != generation || !matches!(link.state, LinkState::Opening(_)) {
            return;
        }
        link.state = LinkState::Up(s.now);
        match lane {
            Lane::Feed => instance.feed_heard = s.now,
            Lane::Command => {
                instance.local_ip = local_ip;
                instance.pending = 0;
                instance.ping_since = None;
                (instance.next_ping, instance.next_info, instance.next_ask) = (s.now, s.now, s.now);
                if instance.kind == Kind::Sentinel {
                    instance.next_hello = s.now;
                }
            }
        }
    }

    /// A link went down, or couldn't be opened.
    pub fn on_link_down(&mut self, id: InstanceId, lane: Lane, generation: u64, s: &mut Shared) {
        let wait = self.settings.ping_period_ms().max(100);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.link(lane).generation == generation && !matches!(instance.link(lane).state, LinkState::Down(_)) {
            let was_up = instance.link(lane).is_up();
            Self::link_lost(instance, lane, s.now, if was_up { 0 } else { wait });
        }
    }

    /// Closes an instance's links; they are opened again when its address allows.
    pub(crate) fn drop_links(&mut self, id: InstanceId, s: &mut Shared) {
        let instance = self.instance_mut(id);
        for lane in instance.lanes() {
            if !matches!(instance.link(*lane).state, LinkState::Down(_)) {
                s.out.push(Action::Disconnect { instance: id, lane: *lane });
            }
            Self::link_lost(instance, *lane, s.now, 0);
        }
    }

    /// Sends if the link is up and not clogged.
    pub(crate) fn send(&mut self, id: InstanceId, request: Request, s: &mut Shared) -> bool {
        let round = self.round;
        let Some(instance) = self.instances.get_mut(&id) else { return false };
        if !instance.command.is_up() || instance.pending >= MAX_PENDING {
            return false;
        }
        instance.pending += 1;
        s.out.push(Action::Send { instance: id, generation: instance.command.generation, request, round });
        true
    }

    fn send_periodic(&mut self, id: InstanceId, s: &mut Shared) {
        let ping_period = self.settings.ping_period_ms();
        let trouble = self.odown_since.is_some() || self.primary().down_since.is_some() || self.failover.in_progress();
        let instance = self.instance_mut(id);
        if !instance.command.is_up() {
            return;
        }
        let now = s.now;
        if now >= instance.next_ping {
            instance.next_ping = now.plus(ping_period);
            instance.pinged = now;
            instance.ping_since.get_or_insert(now);
            self.send(id, Request::Ping, s);
        }
        let instance = self.instance_mut(id);
        if now >= instance.next_info {
            // A peer is asked once a link: only whether it is a Keystead.
            let period = instance.info_period_ms(trouble);
            instance.next_info = if instance.kind == Kind::Sentinel { Mono::NEVER } else { now.plus(period) };
            self.send(id, Request::Info, s);
        }
        if now >= self.instance_mut(id).next_hello {
            self.instance_mut(id).next_hello = now.plus(HELLO_PERIOD_MS);
            let text = self.hello(id, s);
            if let Some(text) = text {
                self.send(id, Request::Hello(text), s);
            }
        }
    }

    // ---------- answers

    /// An answer came.
    pub fn on_answer(
        &mut self,
        id: InstanceId,
        generation: u64,
        request: &Request,
        reply: &Reply,
        round: u64,
        s: &mut Shared,
    ) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.command.generation != generation || !instance.command.is_up() {
            return;
        }
        instance.pending = instance.pending.saturating_sub(1);
        match request {
            Request::Ping => self.on_pong(id, reply, s),
            Request::Info => {
                if let Reply::Bulk(text) | Reply::Status(text) = reply {
                    self.on_info(id, text, s);
                }
            }
            Request::AskDown { .. } => self.on_down_answer(id, request, reply, round, s),
            Request::Follow(target) => {
                if let Some(error) = reply.error() {
                    let who = self.describe(id);
                    let told = target.as_ref().map_or_else(|| "NO ONE".to_owned(), Addr::to_string);
                    s.log(Level::Warning, format!("SLAVEOF {told} was refused by {who}: {error}"));
                }
            }
            Request::Hello(_) | Request::ScriptKill => {}
        }
    }

    fn on_pong(&mut self, id: InstanceId, reply: &Reply, s: &mut Shared) {
        let instance = self.instance_mut(id);
        instance.last_reply = s.now;
        instance.ping_since = None;
        let error = reply.error().unwrap_or_default();
        instance.loading = error.starts_with("LOADING");
        if reply.text() == Some("PONG") || instance.loading || error.starts_with("MASTERDOWN") {
            instance.last_valid = s.now;
            if instance.kind != Kind::Primary {
                instance.answered = true;
            }
            self.check_down(id, s);
        } else if error.starts_with("BUSY") && instance.down_since.is_some() && !instance.script_kill_sent {
            instance.script_kill_sent = true;
            self.send(id, Request::ScriptKill, s);
        }
    }

    fn on_info(&mut self, id: InstanceId, text: &str, s: &mut Shared) {
        let report = Report::parse(text);
        let instance = self.instance_mut(id);
        instance.keystead = report.keystead;
        if instance.kind == Kind::Sentinel {
            return;
        }
        let rebooted = !instance.run_id.is_empty() && !report.run_id.is_empty() && instance.run_id != report.run_id;
        let new_run_id = instance.run_id != report.run_id && !report.run_id.is_empty();
        if new_run_id {
            instance.run_id.clone_from(&report.run_id);
        }
        instance.report_at = s.now;
        text.clone_into(&mut instance.report_text);
        if report.sync_in_progress || report.loading {
            instance.synced = false;
        } else if report.role == Role::Replica && report.link_up {
            instance.synced = true;
        }
        let upstream_before = instance.report.as_ref().and_then(|r| r.upstream.clone());
        if report.upstream != upstream_before {
            instance.upstream_since = s.now;
        }
        let role_changed = report.role != instance.role;
        if role_changed {
            (instance.role, instance.role_since) = (report.role, s.now);
            instance.promoted_by_someone = report.role == Role::Primary && instance.report.is_some() && !rebooted;
        }
        let found = instance.report.replace(report.clone()).is_none();
        let kind = instance.kind;
        if new_run_id && kind == Kind::Primary {
            s.durable();
        }
        if rebooted {
            self.event(s, Level::Notice, "+reboot", id, "");
        }
        if role_changed || found {
            self.note_role(id, role_changed, s);
        }
        if kind == Kind::Primary && report.role == Role::Primary {
            self.learn_replicas(&report, s);
        }
        self.after_report(id, s);
    }

    fn note_role(&mut self, id: InstanceId, changed: bool, s: &mut Shared) {
        let instance = &self.instances[&id];
        let (kind, role) = (instance.kind, instance.role);
        let as_expected = (kind == Kind::Primary) == (role == Role::Primary);
        if changed {
            let name = if as_expected { "+role-change" } else { "-role-change" };
            let word = if role == Role::Primary { "master" } else { "slave" };
            self.event(s, Level::Verbose, name, id, &format!("new reported role is {word}"));
        }
        let instance = self.instance_mut(id);
        if kind == Kind::Primary && as_expected && !instance.answered {
            instance.answered = true;
            s.durable();
        }
        if kind == Kind::Replica && as_expected && instance.former_primary {
            instance.former_primary = false;
            s.durable();
        }
    }

    fn learn_replicas(&mut self, report: &Report, s: &mut Shared) {
        for addr in &report.replicas {
            let known = self.instances.values().any(|i| i.kind != Kind::Sentinel && i.addr == *addr);
            if known || self.of(Kind::Replica).count() >= MAX_INSTANCES {
                continue;
            }
            let id = self.insert(Kind::Replica, addr.clone(), s);
            s.durable();
            self.event(s, Level::Notice, "+slave", id, "");
        }
    }

    // ---------- down

    pub(crate) fn check_down(&mut self, id: InstanceId, s: &mut Shared) {
        let instance = &self.instances[&id];
        let silent = s.now >= instance.silence(&self.settings).deadline();
        let primary = instance.kind == Kind::Primary;
        let wrong_role = primary
            && instance.role == Role::Replica
            && s.now >= down::wrong_role_deadline(instance.role_since, self.settings.down_after_ms, INFO_PERIOD_MS);
        let down = silent || wrong_role || (primary && self.data_lost());
        match (down, instance.down_since) {
            (true, None) => {
                self.instance_mut(id).down_since = Some(s.now);
                self.event(s, Level::Warning, "+sdown", id, "");
                if primary {
                    self.timeline.begin(s.now, "sdown");
                    self.on_primary_down(s);
                }
            }
            (false, Some(_)) => {
                let instance = self.instance_mut(id);
                instance.down_since = None;
                instance.script_kill_sent = false;
                self.event(s, Level::Warning, "-sdown", id, "");
            }
            _ => {}
        }
    }

    /// A replica kept its data because the primary it follows came back empty: that primary must not stay one.
    fn data_lost(&self) -> bool {
        let addr = &self.primary().addr;
        self.of(Kind::Replica).filter(|i| i.down_since.is_none()).any(|i| {
            i.report.as_ref().is_some_and(|r| r.primary_lost_data && r.upstream.as_ref() == Some(addr))
                && i.report_at >= self.knowledge_since
        })
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
        self.of(Kind::Sentinel).filter(|i| i.down_vote.is_some_and(|at| now.since(at) <= DOWN_VOTE_MS)).count() as u32
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
                self.timeline.mark(s.now, "odown");
                let more = format!("#quorum {}/{}", votes + 1, self.settings.quorum);
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
