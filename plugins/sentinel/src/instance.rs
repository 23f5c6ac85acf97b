//! One instance a monitor watches: its links, its timers, and what it last said. Plain data with the small questions
//! that concern one instance alone. Never decides about a failover; never sends by itself (monitor.rs does).

use crate::ballot::DOWN_VOTE_MS;
use crate::candidates::WITNESS_MS;
use crate::down::Silence;
use crate::info::{Report, Role};
use crate::settings::Settings;
use crate::spread::Told;
use crate::types::{Addr, Epoch, InstanceId, Kind, Lane, Mono};
use std::collections::BTreeMap;

/// INFO from replicas while something is going on.
pub const FAST_INFO_PERIOD_MS: u64 = 1_000;
/// INFO from a replica that is being re-pointed: soon at first, for one that goes on where it was is there within
/// milliseconds and clients wait for it; then twice as late each time, up to this.
const REPOINT_INFO_MS: std::ops::RangeInclusive<u64> = 10..=200;
/// The least time a connection to a former primary may take, beside what the way takes.
const LEAST_OPENING_MS: u64 = 150;
/// So long after the last answer the way is taken for as long as it was then; later it may have become any other.
const WAY_KNOWN_MS: u64 = 60_000;

/// So many lives of a primary within an hour are remembered; one that begins with nothing again and again loses no more.
const MAX_LOST: usize = 8;

/// One connection as the machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not there; the next try is due then.
    Down(Mono),
    /// Asked for, since then.
    Opening(Mono),
    /// There, since then.
    Up(Mono),
}

/// A link and the number of its present incarnation: words of an earlier one are not heard.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Present state.
    pub state: LinkState,
    /// Incarnation.
    pub generation: u64,
}

impl Link {
    const fn new(now: Mono) -> Link {
        Link { state: LinkState::Down(now), generation: 0 }
    }

    /// It can be used.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up(_))
    }
}

/// How far the re-pointing of a replica to the promoted one has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repoint {
    /// Not asked.
    #[default]
    None,
    /// Told, at that moment.
    Sent(Mono),
    /// It follows the promoted replica, as it was told at that moment; its link isn't up yet.
    InProgress(Mono),
    /// In sync, or given up.
    Done,
}

/// What a primary had in a life before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its history.
    pub history: String,
    /// When it last said so; nothing: this sentinel was started again since.
    pub heard: Option<Mono>,
    /// When the next life was noticed.
    pub at: Mono,
}

/// What a peer's last hello said, since this sentinel's last restart, stall or isolation.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When.
    pub at: Mono,
    /// Its config epoch.
    pub config_epoch: Epoch,
    /// Its primary.
    pub primary: Addr,
}

/// An instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// What it is.
    pub kind: Kind,
    /// Where it listens.
    pub addr: Addr,
    /// Run id of a data node, id of a sentinel; empty when unknown.
    pub run_id: String,
    /// Requests and answers.
    pub command: Link,
    /// Subscription to hellos (data nodes).
    pub feed: Link,
    /// This side's address on the command link.
    pub local_ip: String,
    /// Last word on the feed.
    pub feed_heard: Mono,
    /// Since when it is observed.
    pub observed_since: Mono,
    /// Connections refused in a row: its kernel answers that nobody listens.
    pub refusals: u32,
    /// Why there is no link, as the last try to open one told.
    pub trouble: Option<String>,
    /// This process was last unable to open one then.
    pub unable: Mono,
    /// It came back with another run id and hasn't answered a ping with PONG since.
    pub rebooted_at: Option<Mono>,
    /// Last valid answer to a ping, or since when we try.
    pub last_valid: Mono,
    /// It answered as what the configuration says it is.
    pub answered: bool,
    /// Last answer of any kind to a ping.
    pub last_reply: Mono,
    /// Last answer on the present command link that shows that it talks to this sentinel: one that only refuses doesn't.
    pub talked: Option<Mono>,
    /// Oldest ping without an answer.
    pub ping_since: Option<Mono>,
    /// Last ping sent.
    pub pinged: Mono,
    /// How long the last answer to a ping took.
    pub round_trip_ms: Option<u64>,
    /// Requests without an answer.
    pub pending: u32,
    /// Next ping, INFO, hello are due then.
    pub next_ping: Mono,
    /// See `next_ping`.
    pub next_info: Mono,
    /// See `next_ping`.
    pub next_hello: Mono,
    /// Subjectively down since then.
    pub down_since: Option<Mono>,
    /// One SCRIPT KILL was sent since it went down.
    pub script_kill_sent: bool,
    /// Answers to pings say it is loading.
    pub loading: bool,
    /// What it refuses this sentinel, and in which words.
    pub complaints: BTreeMap<&'static str, String>,
    /// It was told that its word comes too late to depose the primary (candidates.rs).
    pub late: bool,
    /// It showed `keystead_version`.
    pub keystead: bool,
    /// Last INFO.
    pub report: Option<Report>,
    /// When that was.
    pub report_at: Mono,
    /// Its text, for SENTINEL INFO-CACHE.
    pub report_text: String,
    /// Last reported role, and since when.
    pub role: Role,
    /// See `role`.
    pub role_since: Mono,
    /// The history it had when it last reported as the primary of this configuration; empty when unknown.
    pub history: String,
    /// What it had as the primary when it was started again with something else, lately.
    pub lost: Vec<Lost>,
    /// A replica last said then that it is in sync with what the primary had.
    pub in_step: Option<Mono>,
    /// It turned from replica to primary in one life and began a history of its own: somebody promoted it.
    pub promoted_by_someone: bool,
    /// Since when a replica follows the primary it follows.
    pub upstream_since: Mono,
    /// A replica was seen in sync, and has neither begun a full sync nor come back without keys since.
    pub synced: bool,
    /// Progress of re-pointing.
    pub repoint: Repoint,
    /// Was the primary of an earlier configuration and wasn't seen as a replica since.
    pub former_primary: bool,
    /// In the failover of this epoch this sentinel had it made the primary.
    pub promoted_in: Option<Epoch>,
    /// Last time it was told to follow the primary outside a failover.
    pub told_at: Option<Mono>,
    /// Last hello of a sentinel, of any age.
    pub last_hello: Option<Mono>,
    /// What it said, if that still counts as knowledge.
    pub heard: Option<Heard>,
    /// A sentinel's down-vote about the present configuration.
    pub down_vote: Option<Mono>,
    /// A sentinel's last vote.
    pub vote: Option<(String, Epoch)>,
    /// The last candidacy of ours that a sentinel answered, with a vote or without.
    pub asked_for_vote: Option<Epoch>,
    /// Next question about the primary is due then.
    pub next_ask: Mono,
    /// By which strategy a sentinel holds its elections, if it said so.
    pub election: Option<String>,
    /// How far a sentinel is with the settings of the group.
    pub told: Told,
    /// It has shown a signed hello, since such are asked for.
    pub verified: bool,
    /// Sentinels that miss this one too, and when they said so.
    pub gone_by: BTreeMap<InstanceId, Mono>,
    /// Others are asked about it (again) then.
    pub next_gone: Mono,
}

impl Instance {
    /// A newcomer.
    #[must_use]
    pub fn new(id: InstanceId, kind: Kind, addr: Addr, now: Mono) -> Instance {
        let role = if kind == Kind::Replica { Role::Replica } else { Role::Primary };
        Instance {
            id,
            kind,
            addr,
            run_id: String::new(),
            command: Link::new(now),
            feed: Link::new(now),
            local_ip: String::new(),
            feed_heard: now,
            observed_since: now,
            refusals: 0,
            trouble: None,
            unable: Mono(0),
            rebooted_at: None,
            last_valid: now,
            answered: false,
            last_reply: now,
            talked: None,
            ping_since: None,
            round_trip_ms: None,
            pinged: now,
            pending: 0,
            next_ping: now,
            next_info: now,
            next_hello: now,
            down_since: None,
            script_kill_sent: false,
            loading: false,
            complaints: BTreeMap::new(),
            late: false,
            keystead: false,
            report: None,
            report_at: now,
            report_text: String::new(),
            role,
            role_since: now,
            history: String::new(),
            lost: Vec::new(),
            in_step: None,
            promoted_by_someone: false,
            upstream_since: now,
            synced: false,
            repoint: Repoint::None,
            former_primary: false,
            promoted_in: None,
            told_at: None,
            last_hello: None,
            heard: None,
            down_vote: None,
            vote: None,
            asked_for_vote: None,
            next_ask: now,
            election: None,
            told: Told::default(),
            verified: false,
            gone_by: BTreeMap::new(),
            next_gone: now,
        }
    }

    /// The name Redis gives it in events and replies.
    #[must_use]
    pub fn label(&self, primary: &str, names: bool) -> String {
        match self.kind {
            Kind::Primary => primary.to_owned(),
            Kind::Replica => self.addr.faced(names).to_string(),
            Kind::Sentinel => self.run_id.clone(),
        }
    }

    /// The link of a lane.
    pub const fn link(&mut self, lane: Lane) -> &mut Link {
        match lane {
            Lane::Command => &mut self.command,
            Lane::Feed => &mut self.feed,
        }
    }

    /// The lanes this kind of instance has.
    #[must_use]
    pub const fn lanes(&self) -> &'static [Lane] {
        match self.kind {
            Kind::Sentinel => &[Lane::Command],
            _ => &[Lane::Command, Lane::Feed],
        }
    }

    /// This sentinel says, and not too long ago, that it sees the primary down.
    #[must_use]
    pub fn sees_down(&self, now: Mono) -> bool {
        self.down_vote.is_some_and(|at| now.since(at) <= DOWN_VOTE_MS)
    }

    /// Both are one process, known by two addresses: it announces another one by now, or two names lead to it.
    #[must_use]
    pub fn is_also(&self, other: &Instance) -> bool {
        self.addr == other.addr || (!self.run_id.is_empty() && self.run_id == other.run_id)
    }

    /// What its subjective state rests on.
    #[must_use]
    pub fn silence(&self, settings: &Settings) -> Silence {
        Silence {
            last_valid: self.last_valid.max(self.unable),
            observed_since: self.observed_since,
            answered: self.answered,
            down_after_ms: settings.down_after_ms,
        }
    }

    /// It was started again, and begins another history than it had.
    pub fn note_loss(&mut self, history: String, heard: Option<Mono>, now: Mono) {
        self.lost.retain(|lost| now.since(lost.at) <= WITNESS_MS);
        if !history.is_empty() && self.lost.len() < MAX_LOST {
            self.lost.push(Lost { history, heard, at: now });
        }
    }

    /// Forgets how long it has been silent: this sentinel wasn't able to listen, or its part is new.
    pub fn restart_timers(&mut self, now: Mono) {
        self.last_valid = now;
        self.observed_since = now;
        self.feed_heard = now;
        self.down_since = None;
        self.script_kill_sent = false;
        self.ping_since = None;
        self.down_vote = None;
        self.role_since = now;
        self.upstream_since = now;
        self.next_ping = now;
    }

    /// Time in which this sentinel did not run is nobody's silence.
    pub fn forgive(&mut self, late_ms: u64, now: Mono) {
        let shift = |at: Mono| at.plus(late_ms).min(now);
        self.last_valid = shift(self.last_valid);
        self.observed_since = shift(self.observed_since);
        self.feed_heard = shift(self.feed_heard);
        self.ping_since = self.ping_since.map(shift);
        self.talked = self.talked.map(shift);
    }

    /// Connect and ask everything now.
    pub fn hurry(&mut self, now: Mono) {
        for lane in [Lane::Command, Lane::Feed] {
            let link = self.link(lane);
            if let LinkState::Down(at) = link.state {
                link.state = LinkState::Down(at.min(now));
            }
        }
        self.next_info = now;
        self.next_hello = now;
    }

    /// How often INFO is due.
    #[must_use]
    pub fn info_period_ms(&self, trouble: bool, settings: &Settings, now: Mono) -> u64 {
        let period = match (self.kind, self.repoint) {
            (Kind::Replica, Repoint::Sent(at) | Repoint::InProgress(at)) => {
                now.since(at).clamp(*REPOINT_INFO_MS.start(), *REPOINT_INFO_MS.end())
            }
            (Kind::Replica, _) if trouble || self.former_primary => FAST_INFO_PERIOD_MS,
            (Kind::Replica, _) if self.report.as_ref().is_some_and(|r| !r.link_up) => FAST_INFO_PERIOD_MS,
            (Kind::Primary, _) if !self.answered => FAST_INFO_PERIOD_MS,
            _ => settings.tempo.info_period,
        };
        period.min(settings.tempo.info_period)
    }

    /// A silence after which a link that should speak is taken as broken.
    const fn patience_ms(settings: &Settings) -> u64 {
        let half = settings.down_after_ms / 2;
        if half < 500 { 500 } else { half }
    }

    /// When a link must be given up: a connect that takes too long, an answer or feed that stays out.
    #[must_use]
    pub fn link_deadline(&self, lane: Lane, settings: &Settings) -> Mono {
        let patience = Self::patience_ms(settings);
        match lane {
            Lane::Command => match self.command.state {
                LinkState::Down(_) => Mono::NEVER,
                LinkState::Opening(since) => since.plus(self.opening_ms(since, patience)),
                LinkState::Up(since) => match self.ping_since {
                    Some(ping) => ping
                        .plus(patience)
                        .max(since.plus(patience.saturating_mul(2).min(settings.tempo.min_link_reconnect_period))),
                    None => Mono::NEVER,
                },
            },
            Lane::Feed => match self.feed.state {
                LinkState::Down(_) => Mono::NEVER,
                LinkState::Opening(since) => since.plus(patience),
                LinkState::Up(since) => {
                    self.feed_heard.max(since).plus(settings.tempo.publish_period.saturating_mul(3))
                }
            },
        }
    }

    /// How long a connection may take. A former primary that returns may still take writes: its kernel and ours repeat a
    /// lost SYN after a second, so a new one is sent as soon as an answer is overdue by what is known of the way.
    fn opening_ms(&self, since: Mono, patience: u64) -> u64 {
        match self.round_trip_ms {
            Some(round_trip) if self.former_primary && since.since(self.last_reply) < WAY_KNOWN_MS => {
                LEAST_OPENING_MS.saturating_add(round_trip.saturating_mul(4)).min(patience)
            }
            _ => patience,
        }
    }

    /// The next moment at which something about this instance is due.
    #[must_use]
    pub fn next_wake(&self, settings: &Settings) -> Mono {
        let mut at = Mono::NEVER;
        if self.addr.port != 0 {
            for lane in self.lanes() {
                let link = if *lane == Lane::Command { &self.command } else { &self.feed };
                if let LinkState::Down(next) = link.state {
                    at = at.min(next);
                }
                at = at.min(self.link_deadline(*lane, settings));
            }
        }
        if self.command.is_up() {
            at = at.min(self.next_ping).min(self.next_info).min(self.next_hello);
        }
        if self.down_since.is_none() {
            at = at.min(self.silence(settings).deadline());
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_called_by_its_address_as_redis_calls_it() {
        let called = |addr: Addr, names| Instance::new(InstanceId(1), Kind::Replica, addr, Mono(0)).label("m", names);
        assert_eq!(called(Addr::new("10.0.0.1", 6379), false), "10.0.0.1:6379");
        assert_eq!(called(Addr::new("::1", 20873), false), "[::1]:20873");
        let named = Addr { name: Some("db".into()), ..Addr::new("::1", 20873) };
        assert_eq!((called(named.clone(), true), called(named, false)), ("db:20873".into(), "[::1]:20873".into()));
    }

    #[test]
    fn a_former_primary_is_tried_again_as_soon_as_the_way_there_allows() {
        let settings = Settings::new(2);
        let mut node = Instance::new(InstanceId(1), Kind::Replica, Addr::new("h", 1), Mono(0));
        let given_up = |node: &Instance, since: u64| {
            let link = Link { state: LinkState::Opening(Mono(since)), generation: 1 };
            let node = Instance { command: link, ..node.clone() };
            node.link_deadline(Lane::Command, &settings).0 - since
        };
        let patience = Instance::patience_ms(&settings);
        node.last_reply = Mono(1_000);
        assert_eq!(given_up(&node, 2_000), patience, "a replica");
        node.former_primary = true;
        assert_eq!(given_up(&node, 2_000), patience, "nothing known of the way");
        node.round_trip_ms = Some(3);
        assert_eq!(given_up(&node, 2_000), 162);
        assert_eq!(given_up(&node, 61_000), patience, "by now the way may be another");
        node.round_trip_ms = Some(100_000);
        assert_eq!(given_up(&node, 2_000), patience);
    }
}
