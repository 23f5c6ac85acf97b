//! A monitor's ear: what answers to PING and INFO say about an instance, and whom a primary names as its replicas.
//! Writes what was heard into the instances; what follows from it is decided in down.rs, failover.rs, reconfigure.rs.

use crate::actions::Shared;
use crate::events::Level;
use crate::info::{Report, Role};
use crate::instance::{LinkState, Repoint};
use crate::monitor::{MAX_INSTANCES, Monitor};
use crate::types::{Addr, InstanceId, Kind, Mono};
use crate::wire::{Reply, Request};

/// A replica has seen by then what its primary came back with; a loaded one may need longer and is asked again.
const AFTER_REBOOT_MS: u64 = 300;

impl Monitor {
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
        if reply.error().is_none() {
            (instance.talked, instance.trouble) = (Some(s.now), None);
        }
        if let Some(command) = request.routine() {
            self.note_complaint(id, command, reply.error(), s);
        }
        match request {
            Request::Ping => self.on_pong(id, reply, s),
            Request::Info | Request::InfoServer => {
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
                    if error.starts_with("LOADING") || error.starts_with("BUSY") {
                        let refused = self.instance_mut(id); // and told again when it listens
                        (refused.repoint, refused.told_at) = (Repoint::None, Some(s.now));
                    }
                }
            }
            Request::IsGone { id: about, .. } => self.on_gone_answer(id, about, reply, s),
            Request::Spread { .. } => self.on_spread_answer(id, reply, s),
            Request::HandOver { to: Some(_), .. } => self.on_hand_over_answer(reply, s),
            Request::HandOver { to: None, .. } | Request::Hello(_) | Request::ScriptKill => {}
        }
    }

    /// A node that refuses what a sentinel asks for day by day looks like one that is down: a password or a right is missing.
    /// Told once for each reason.
    pub(crate) fn note_complaint(
        &mut self,
        id: InstanceId,
        command: &'static str,
        error: Option<&str>,
        s: &mut Shared,
    ) {
        let lasting = |error: &&str| !["LOADING", "BUSY", "MASTERDOWN"].iter().any(|code| error.starts_with(code));
        let complaints = &mut self.instance_mut(id).complaints;
        let Some(error) = error.filter(lasting) else {
            complaints.remove(command);
            return;
        };
        let known = complaints.values().any(|known| known == error);
        complaints.insert(command, error.to_owned());
        if !known {
            let text = format!("{} answers {command} with \"{error}\"{}", self.describe(id), self.remedy(id, error));
            s.log(Level::Warning, text);
        }
    }

    fn remedy(&self, id: InstanceId, error: &str) -> &'static str {
        let denied = error.starts_with("NOAUTH") || error.starts_with("WRONGPASS");
        match self.instances[&id].kind {
            Kind::Sentinel if denied => ": are sentinel-user and sentinel-pass right?",
            _ if denied => ": are auth-user and auth-pass right?",
            _ if error.starts_with("NOPERM") => ": has this sentinel's user all rights it needs?",
            _ => "",
        }
    }

    /// For EXPLAIN.
    pub(crate) fn complaint_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for instance in self.instances.values() {
            let mut told: Vec<(&str, Vec<&str>)> = Vec::new();
            for (command, error) in &instance.complaints {
                match told.iter_mut().find(|(known, _)| known == error) {
                    Some((_, commands)) => commands.push(command),
                    None => told.push((error, vec![command])),
                }
            }
            let line = |(error, commands): (&str, Vec<&str>)| {
                let (who, commands) = (self.describe(instance.id), commands.join(", "));
                format!("{who} answers {commands} with \"{error}\"{}", self.remedy(instance.id, error))
            };
            lines.extend(told.into_iter().map(line));
        }
        lines
    }

    /// It doesn't let this sentinel listen for hellos.
    pub(crate) fn on_feed_refused(&mut self, id: InstanceId, generation: u64, error: &str, s: &mut Shared) {
        if self.instance_mut(id).feed.generation == generation {
            self.note_complaint(id, "SUBSCRIBE", Some(error), s);
        }
    }

    pub(crate) fn on_pong(&mut self, id: InstanceId, reply: &Reply, s: &mut Shared) {
        let instance = self.instance_mut(id);
        instance.last_reply = s.now;
        instance.round_trip_ms = instance.ping_since.take().map(|sent| s.now.since(sent)).or(instance.round_trip_ms);
        let error = reply.error().unwrap_or_default();
        let was_loading = std::mem::replace(&mut instance.loading, error.starts_with("LOADING"));
        if was_loading && reply.text() == Some("PONG") {
            instance.next_info = s.now; // what it refused while it loaded it takes now
        }
        if reply.text() == Some("PONG") || instance.loading || error.starts_with("MASTERDOWN") {
            instance.last_valid = s.now;
            if reply.text() == Some("PONG") {
                instance.rebooted_at = None;
            }
            if instance.kind != Kind::Primary {
                instance.answered = true;
            }
            self.check_down(id, s);
        } else if error.starts_with("BUSY") && instance.down_since.is_some() && !instance.script_kill_sent {
            instance.script_kill_sent = true;
            self.send(id, Request::ScriptKill, s);
        } else if error.starts_with("NOAUTH") {
            // A link without the right to ask is none: the next one may have another password.
            let wait = self.settings.ping_period_ms().max(100);
            self.break_links(id, s);
            let instance = self.instance_mut(id);
            for lane in instance.lanes() {
                instance.link(*lane).state = LinkState::Down(s.now.plus(wait));
            }
        }
    }

    /// A peer has answered somebody else's ping on the link they share.
    pub(crate) fn on_alive(&mut self, id: InstanceId, generation: u64, s: &mut Shared) {
        let period = self.settings.ping_period_ms();
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.command.generation != generation || !instance.command.is_up() {
            return;
        }
        instance.answered = true;
        (instance.last_valid, instance.last_reply, instance.pinged) = (s.now, s.now, s.now);
        instance.talked = Some(s.now);
        instance.next_ping = s.now.plus(period);
        if instance.down_since.is_some() {
            self.check_down(id, s);
        }
    }

    pub(crate) fn on_info(&mut self, id: InstanceId, text: &str, s: &mut Shared) {
        let mut report = Report::parse(text);
        if let Some(upstream) = report.upstream.take() {
            report.upstream = match s.names.resolve {
                true => s.names.locate(&upstream.host, upstream.port),
                false => Some(upstream),
            };
        }
        report.replicas = report.replicas.iter().filter_map(|a| s.names.locate(&a.host, a.port)).collect();
        let present = self.primary().history.clone();
        let instance = self.instance_mut(id);
        instance.keystead = report.keystead;
        if instance.kind == Kind::Sentinel {
            return self.note_election(id, report.elections.as_deref(), s);
        }
        // Without a role it is no data node's answer: what that said before stands.
        let Some(role) = report.role else { return };
        let rebooted = !instance.run_id.is_empty() && !report.run_id.is_empty() && instance.run_id != report.run_id;
        let new_run_id = instance.run_id != report.run_id && !report.run_id.is_empty();
        if new_run_id {
            instance.run_id.clone_from(&report.run_id);
        }
        let heard = instance.report.as_ref().map(|_| instance.report_at);
        instance.report_at = s.now;
        if role == Role::Replica && report.link_up && !present.is_empty() && report.history == present {
            instance.in_step = Some(s.now);
        }
        text.clone_into(&mut instance.report_text);
        if report.sync_in_progress || report.loading || (rebooted && !report.has_keys) {
            instance.synced = false; // what it had in an earlier life may be gone
        } else if role == Role::Replica && report.link_up {
            instance.synced = true;
        }
        let upstream_before = instance.report.as_ref().and_then(|r| r.upstream.clone());
        if report.upstream != upstream_before {
            instance.upstream_since = s.now;
        }
        let role_changed = role != instance.role;
        if role_changed {
            (instance.role, instance.role_since) = (role, s.now);
        }
        let began = instance.report.as_ref().is_some_and(|before| report.began_history(before));
        let stays = instance.promoted_by_someone && !role_changed;
        instance.promoted_by_someone = role == Role::Primary && !rebooted && (began || stays);
        if rebooted && instance.kind == Kind::Primary {
            instance.rebooted_at = Some(s.now);
        }
        let new_history = instance.kind == Kind::Primary && role == Role::Primary && instance.history != report.history;
        if new_history {
            let before = std::mem::replace(&mut instance.history, report.history.clone());
            if rebooted {
                instance.note_loss(before, heard, s.now);
            }
        }
        let found = instance.report.replace(report.clone()).is_none();
        let kind = instance.kind;
        // One that is started again must know whose heir it sees.
        if (new_run_id && kind == Kind::Primary) || new_history {
            s.durable();
        }
        if rebooted {
            self.event(s, Level::Notice, "+reboot", id, "");
            if kind == Kind::Primary {
                self.listen_to_replicas(s.now);
            }
        }
        // One that was seen promoted before its configuration was heard of changes no role any more: its word counts too.
        let unconfirmed = kind == Kind::Primary && !self.instances[&id].answered;
        if role_changed || found || unconfirmed {
            self.note_role(id, role_changed, s);
        }
        match (kind, role) {
            (Kind::Primary, Role::Primary) => self.learn_replicas(&report, s),
            (Kind::Primary, Role::Replica) if role_changed => self.look_for_heir(s.now),
            _ => {}
        }
        self.warn_of_late(id, s);
        self.hasten_info(id, s.now);
        self.after_report(id, s);
    }

    /// The primary restarted: its replicas know whether it came back empty.
    fn listen_to_replicas(&mut self, now: Mono) {
        self.primary_rebooted = Some(now);
        for replica in self.of_mut(Kind::Replica) {
            replica.next_info = replica.next_info.min(now.plus(AFTER_REBOOT_MS));
        }
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
}
