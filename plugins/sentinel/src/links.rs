//! A monitor's links: opening, giving up, sending, and what goes out by the clock (PING, INFO, hellos).
//! Owns no decision about anybody; how often comes from instance.rs.

use crate::actions::{Action, Fall, Shared};
use crate::events::Level;
use crate::info::Role;
use crate::instance::{Instance, Link, LinkState};
use crate::monitor::Monitor;
use crate::spread::Told;
use crate::types::{InstanceId, Kind, Lane, Mono};
use crate::wire::Request;
use std::collections::BTreeMap;

/// Unanswered requests after which nothing but PING is sent on a link (Redis: 100, PING included). What waits for a disk is
/// among them, and a node whose orders wait must not look dead for that; a link on which a PING stays out is given up anyway.
const MAX_PENDING: u32 = 100;

/// An instance whose name has no address is looked up again after this long.
const RESOLVE_AGAIN_MS: u64 = 1_000;

/// After the primary's restart the replicas are asked more often for so long.
const REBOOT_MS: u64 = 10_000;

/// A link that couldn't be opened isn't tried again before.
const OPEN_AGAIN_MS: u64 = 100;

/// What a link's end by TLS is told with: one side doesn't trust the other.
const OF_TLS: [&str; 3] = ["TLS", "certificate", "alert"];

/// That this process can't open links is said this often.
const TELL_UNABLE_MS: u64 = 60_000;

/// With `fast-detection` a refused connection is tried again after this long.
const PROBE_AGAIN_MS: u64 = 50;

impl Monitor {
    pub(crate) fn keep_links(&mut self, id: InstanceId, s: &mut Shared) {
        let Monitor { settings, instances, .. } = self;
        let Some(instance) = instances.get_mut(&id) else { return };
        if instance.addr.port == 0 {
            return;
        }
        for lane in instance.lanes() {
            if s.now >= instance.link_deadline(*lane, settings) {
                s.out.push(Action::Disconnect { instance: id, lane: *lane, broken: true });
                Self::link_lost(instance, *lane, s.now, 0);
            }
            let LinkState::Down(at) = instance.link(*lane).state else { continue };
            if s.now < at {
                continue;
            }
            if let Some(name) = instance.addr.name.clone() {
                // It may stand for another address by now; without any there is nothing to connect to.
                s.names.look_up(&name);
                if instance.addr.host == name {
                    instance.link(*lane).state = LinkState::Down(s.now.plus(RESOLVE_AGAIN_MS));
                    continue;
                }
            }
            let generation = s.number();
            *instance.link(*lane) = Link { state: LinkState::Opening(s.now), generation };
            let (auth, renamed) = match instance.kind {
                Kind::Sentinel => (s.globals.peer_auth(), BTreeMap::new()),
                _ => {
                    let auth = settings.auth_pass.clone().map(|pass| (settings.auth_user.clone(), pass));
                    (auth, settings.renamed_commands.clone())
                }
            };
            s.out.push(Action::Connect {
                instance: id,
                lane: *lane,
                generation,
                addr: instance.addr.clone(),
                auth,
                kind: instance.kind,
                renamed,
            });
        }
    }

    pub(crate) fn link_lost(instance: &mut Instance, lane: Lane, now: Mono, wait_ms: u64) {
        instance.link(lane).state = LinkState::Down(now.plus(wait_ms));
        if lane == Lane::Command {
            instance.pending = 0;
            instance.ping_since = None;
            instance.talked = None;
            // What it was told may be lost with the link.
            instance.told_at = None;
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
                instance.refusals = 0;
                instance.pending = 0;
                instance.ping_since = None;
                (instance.next_ping, instance.next_info, instance.next_ask) = (s.now, s.now, s.now);
                if instance.kind == Kind::Sentinel {
                    instance.next_hello = s.now;
                    instance.told = Told::default();
                }
            }
        }
    }

    /// A link went down, or couldn't be opened.
    pub fn on_link_down(&mut self, id: InstanceId, lane: Lane, generation: u64, fall: &Fall, s: &mut Shared) {
        let refused = *fall == Fall::Refused;
        let fast = self.settings.fast_detection && refused;
        let period = self.settings.ping_period_ms().max(OPEN_AGAIN_MS);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let wait = match (fast, instance.former_primary) {
            (true, _) => PROBE_AGAIN_MS,
            (false, true) => OPEN_AGAIN_MS,
            (false, false) => period,
        };
        if instance.link(lane).generation == generation && !matches!(instance.link(lane).state, LinkState::Down(_)) {
            // One that was closed right behind its opening (no password, too many clients) is not tried in a circle.
            let was_good = matches!(instance.link(lane).state, LinkState::Up(since) if s.now.since(since) >= wait);
            if lane == Lane::Command {
                instance.refusals = if refused { instance.refusals.saturating_add(1) } else { 0 };
            }
            Self::link_lost(instance, lane, s.now, if was_good { 0 } else { wait });
            self.note_trouble(id, lane, fall, s);
        }
    }

    /// Why there is no link. What this process itself lacks makes nobody look down, and is said; so is what TLS refuses, or the
    /// node itself, which may serve others.
    fn note_trouble(&mut self, id: InstanceId, lane: Lane, fall: &Fall, s: &mut Shared) {
        let who = self.describe(id);
        let instance = self.instance_mut(id);
        let words = match fall {
            Fall::Gone(words) if words.is_empty() => return,
            Fall::Gone(words) | Fall::Unable(words) => words.clone(),
            Fall::Refused => "Connection refused".into(),
            Fall::TurnedAway(words) => format!("it says \"{}\"", first_sentence(words)),
        };
        let unable = matches!(fall, Fall::Unable(_));
        let news = instance.trouble.as_ref() != Some(&words);
        if lane == Lane::Command {
            instance.trouble = Some(words.clone());
            if unable && instance.down_since.is_none() {
                instance.unable = s.now;
            }
        }
        if unable && s.unable_told.is_none_or(|at| s.now.since(at) >= TELL_UNABLE_MS) {
            s.unable_told = Some(s.now);
            let text = format!(
                "No link to {who} can be opened: {words}. Nobody is taken for down for that; 'ulimit -n' is too low"
            );
            s.log(Level::Warning, text);
        }
        let told = matches!(fall, Fall::TurnedAway(_)) || OF_TLS.iter().any(|word| words.contains(word));
        if news && told && lane == Lane::Command {
            s.log(Level::Warning, format!("No link to {who}: {words}"));
        }
    }

    /// Closes an instance's links; they are opened again when its address allows.
    pub(crate) fn drop_links(&mut self, id: InstanceId, s: &mut Shared) {
        self.close_links(id, false, s);
    }

    /// Closes an instance's links because they are of no use, to nobody.
    pub(crate) fn break_links(&mut self, id: InstanceId, s: &mut Shared) {
        self.close_links(id, true, s);
    }

    fn close_links(&mut self, id: InstanceId, broken: bool, s: &mut Shared) {
        let instance = self.instance_mut(id);
        for lane in instance.lanes() {
            if !matches!(instance.link(*lane).state, LinkState::Down(_)) {
                s.out.push(Action::Disconnect { instance: id, lane: *lane, broken });
            }
            Self::link_lost(instance, *lane, s.now, 0);
        }
    }

    /// Closes the links to everybody of these kinds: what they were opened with has changed.
    pub(crate) fn drop_links_of(&mut self, kinds: &[Kind], s: &mut Shared) {
        let ids = self.instances.values().filter(|i| kinds.contains(&i.kind)).map(|i| i.id);
        for id in ids.collect::<Vec<_>>() {
            self.drop_links(id, s);
        }
    }

    /// Whatever goes out by the clock is due now: the periods have changed.
    pub(crate) fn hurry(&mut self, now: Mono) {
        for instance in self.instances.values_mut() {
            instance.next_ping = instance.next_ping.min(now);
            instance.next_hello = instance.next_hello.min(now);
            if instance.kind != Kind::Sentinel {
                instance.next_info = instance.next_info.min(now);
            }
        }
    }

    /// down-after is shorter from now on. Nobody was asked as often as that: silence is what follows a ping.
    pub(crate) fn count_silence_anew(&mut self, now: Mono) {
        for instance in self.instances.values_mut().filter(|i| i.command.is_up() && i.down_since.is_none()) {
            instance.last_valid = instance.last_valid.max(instance.ping_since.unwrap_or(now));
            instance.next_ping = instance.next_ping.min(now);
        }
    }

    /// A name stands for this address now: links to the old one are closed, and what was said under the name is asked
    /// for again.
    pub(crate) fn on_resolved(&mut self, name: &str, ip: &str, s: &mut Shared) {
        for id in self.instances.keys().copied().collect::<Vec<_>>() {
            let instance = &self.instances[&id];
            let moved = instance.addr.name.as_deref() == Some(name) && instance.addr.host != ip;
            if instance.report_text.contains(name) {
                self.instance_mut(id).next_info = s.now;
            }
            if moved {
                s.log(Level::Notice, format!("{}: {name} is {ip} now", self.name));
                self.drop_links(id, s);
                ip.clone_into(&mut self.instance_mut(id).addr.host);
                s.durable();
            }
        }
    }

    /// Hellos of long ago may be on their way in the feeds; new ones begin with today's.
    pub(crate) fn drop_feeds(&mut self, s: &mut Shared) {
        for instance in self.instances.values_mut().filter(|i| i.lanes().contains(&Lane::Feed)) {
            if !matches!(instance.feed.state, LinkState::Down(_)) {
                s.out.push(Action::Disconnect { instance: instance.id, lane: Lane::Feed, broken: false });
                Self::link_lost(instance, Lane::Feed, s.now, 0);
            }
        }
    }

    /// Sends if the link is up and not clogged.
    pub(crate) fn send(&mut self, id: InstanceId, request: Request, s: &mut Shared) -> bool {
        let round = self.round;
        let Some(instance) = self.instances.get_mut(&id) else { return false };
        let clogged = instance.pending >= MAX_PENDING && request != Request::Ping;
        if !instance.command.is_up() || clogged {
            return false;
        }
        instance.pending += 1;
        s.out.push(Action::Send { instance: id, generation: instance.command.generation, request, round });
        true
    }

    /// The outbox gave a request up.
    pub(crate) fn on_unsent(&mut self, id: InstanceId, generation: u64) {
        if let Some(instance) = self.instances.get_mut(&id).filter(|i| i.command.generation == generation) {
            instance.pending = instance.pending.saturating_sub(1);
        }
    }

    pub(crate) fn send_periodic(&mut self, id: InstanceId, s: &mut Shared) {
        let ping_period = self.settings.ping_period_ms();
        let instance = self.instance_mut(id);
        if !instance.command.is_up() {
            return;
        }
        // Of one that comes back it is told first whether it was started again, and then that it answers.
        let (info_first, now) = (instance.down_since.is_some(), s.now);
        if info_first {
            self.send_info(id, s);
        }
        let instance = self.instance_mut(id);
        if now >= instance.next_ping {
            instance.next_ping = next(instance.next_ping, ping_period, now);
            instance.pinged = now;
            instance.ping_since.get_or_insert(now);
            self.send(id, Request::Ping, s);
        }
        self.send_info(id, s);
        if now >= self.instance_mut(id).next_hello {
            let period = self.settings.tempo.publish_period;
            let instance = self.instance_mut(id);
            instance.next_hello = next(instance.next_hello, period, now);
            let text = self.hello(id, s);
            if let Some(text) = text {
                self.send(id, Request::Hello(text), s);
            }
        }
    }

    /// How often INFO is due, by all that is known now.
    fn info_period_ms(&self, id: InstanceId, now: Mono) -> u64 {
        let rebooted = self.primary_rebooted.is_some_and(|at| now.since(at) < REBOOT_MS);
        let down = self.odown_since.is_some() || self.primary().down_since.is_some();
        let trouble = rebooted || down || self.failover.in_progress() || self.primary().role == Role::Replica;
        let period = self.instances[&id].info_period_ms(trouble || self.strays(id), &self.settings, now);
        period.min(self.watched(id, now).unwrap_or(u64::MAX))
    }

    /// A replica whose last word was that it follows somebody else than the primary: behind a failover that word is old.
    fn strays(&self, id: InstanceId) -> bool {
        let instance = &self.instances[&id];
        let upstream = instance.report.as_ref().and_then(|report| report.upstream.as_ref());
        instance.kind == Kind::Replica && upstream.is_some_and(|upstream| *upstream != self.primary().addr)
    }

    /// An INFO may say what makes the next one due sooner than it was when this one was asked for.
    pub(crate) fn hasten_info(&mut self, id: InstanceId, now: Mono) {
        let due = now.plus(self.info_period_ms(id, now));
        let instance = self.instance_mut(id);
        instance.next_info = instance.next_info.min(due);
    }

    fn send_info(&mut self, id: InstanceId, s: &mut Shared) {
        let now = s.now;
        if now < self.instances[&id].next_info {
            return;
        }
        let period = self.info_period_ms(id, now);
        let instance = self.instance_mut(id);
        // A peer is asked once a link: only whether it is a Keystead.
        let (again, request) = match instance.kind {
            Kind::Sentinel => (Mono::NEVER, Request::InfoServer),
            _ => (next(instance.next_info, period, now), Request::Info),
        };
        instance.next_info = again;
        self.send(id, request, s);
    }
}

/// Redis' word about protected mode is a page long.
fn first_sentence(words: &str) -> &str {
    words.split_once(". ").map_or(words, |(first, _)| first)
}

/// When a thing is due again: a period after it was due, so that a moment's lateness isn't handed on; counted from now
/// when it is late by half a period, so that nothing is made up for.
fn next(due: Mono, period_ms: u64, now: Mono) -> Mono {
    if now.since(due) < period_ms / 2 { due.plus(period_ms) } else { now.plus(period_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_by_the_clock_keeps_its_pace() {
        let cases =
            [((1_000, 1_000), 2_000), ((1_000, 1_120), 2_000), ((1_000, 1_499), 2_000), ((1_000, 1_500), 2_500)];
        for ((due, now), again) in cases {
            assert_eq!(next(Mono(due), 1_000, Mono(now)), Mono(again), "due at {due}, sent at {now}");
        }
    }
}
