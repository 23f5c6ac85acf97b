//! A simulated data node: what a sentinel can see of a redis-server (PING, INFO, PUBLISH, the SLAVEOF transaction) and a
//! replication reduced to histories and offsets. Owns no network: the world tells it what it can reach.

use keystead_sentinel::types::{Addr, Rng};
use keystead_sentinel::wire::Reply;
use std::fmt::Write;

/// Replication links notice a silent other side after this long.
pub const REPL_TIMEOUT_MS: u64 = 5_000;
/// A replica tries its primary again this often.
const RECONNECT_MS: u64 = 1_000;

/// Role of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows.
    Replica(Addr),
}

/// A replica's link to its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Down; since when it has been (never up: nothing), and when it tries again.
    Down(Option<u64>, u64),
    /// A full sync runs until then.
    Sync(u64),
    /// Up; last heard then.
    Up(u64),
}

/// A name for a stretch of history; a promotion begins a new one that continues the old up to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Its number.
    pub id: u64,
    /// The one before, valid up to that offset.
    pub before: Option<(u64, u64)>,
}

/// What a replica sees of the node it follows.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// Its history.
    pub history: History,
    /// Its offset.
    pub offset: u64,
    /// It serves replicas (a primary, or a replica that is in sync itself).
    pub serves: bool,
    /// It has no keys.
    pub empty: bool,
    /// See `DataNode::precious`.
    pub precious: bool,
}

/// A data node.
#[derive(Clone, Debug)]
pub struct DataNode {
    /// Its address.
    pub addr: Addr,
    /// Its role.
    pub role: Role,
    /// The role in its file: where a restart begins.
    pub saved_role: Role,
    /// How much it has.
    pub offset: u64,
    /// Of which history.
    pub history: History,
    /// Its link to the primary.
    pub link: Link,
    /// It loads until then.
    pub loading_until: u64,
    /// Replicas whose link to it is up.
    pub replicas: Vec<Addr>,
    /// Changes with every start.
    pub life: u64,
    /// Since when this life has lasted.
    started: u64,
    /// Its wall clock's error, in ms (a clock jump).
    pub clock_error: i64,
    /// That error when its link went down: a jump before that doesn't show.
    down_clock: i64,
    /// It came back without data and nobody has written since.
    pub blank: bool,
    /// It has what all had when the fault began.
    pub precious: bool,
    /// Its priority.
    pub priority: u32,
    /// It keeps its data when the primary it follows comes back empty (Keystead), and says so.
    pub keeps_data: bool,
    /// It does so now.
    pub primary_lost_data: bool,
    /// It shows that it is a Keystead and hands its role over when asked.
    pub keystead: bool,
    /// A script keeps it from answering anything until then.
    pub busy_until: u64,
    /// That script has written nothing: SCRIPT KILL ends it.
    pub killable: bool,
    /// It has loaded since then, or been syncing: nothing to promote.
    pub unfit_since: Option<u64>,
    /// It was in sync with a primary in this life, or began as one.
    pub synced: bool,
    /// It takes writes only under a lease, and has that now or hasn't.
    pub leased: Option<bool>,
    /// It holds writes back for this replica until it has everything, at most until then.
    pub handing: Option<(Addr, u64)>,
    /// Writes that it acknowledged as a primary and that a full sync threw away.
    pub lost: u64,
    /// It acknowledged writes up to here as a primary, since it last followed anybody.
    acknowledged: Option<(u64, u64)>,
    /// An explicit SLAVEOF is being obeyed: the next full sync is wanted.
    told: bool,
}

/// What a command did beyond its reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// It became a primary.
    pub promoted: bool,
    /// It was told to follow.
    pub follows: Option<Addr>,
    /// Kill other command connections, kill subscribers.
    pub kill_clients: bool,
    /// Deliver to the hello channel.
    pub publish: Option<String>,
}

impl DataNode {
    /// A node that starts with that role and an empty keyspace.
    #[must_use]
    pub fn new(addr: Addr, role: Role, history: u64) -> DataNode {
        DataNode {
            addr,
            saved_role: role.clone(),
            role,
            offset: 0,
            history: History { id: history, before: None },
            link: Link::Down(None, 0),
            loading_until: 0,
            replicas: Vec::new(),
            life: 1,
            started: 0,
            clock_error: 0,
            down_clock: 0,
            blank: false,
            precious: false,
            priority: 100,
            keeps_data: false,
            primary_lost_data: false,
            keystead: false,
            busy_until: 0,
            killable: true,
            unfit_since: None,
            synced: false,
            leased: None,
            handing: None,
            lost: 0,
            acknowledged: None,
            told: true,
        }
    }

    /// Starts again. Without its data it has a new, empty history.
    pub fn restart(&mut self, now: u64, with_data: bool, load_ms: u64, fresh_history: u64) {
        self.life += 1;
        self.started = now;
        self.role = self.saved_role.clone();
        self.link = Link::Down(None, now);
        self.loading_until = now + load_ms;
        self.primary_lost_data = false;
        self.told = true;
        self.handing = None;
        self.busy_until = 0;
        self.synced = self.role == Role::Primary || (self.synced && with_data);
        self.unfit_since = Some(now);
        let before = (self.role == Role::Primary && with_data).then_some((self.history.id, self.offset));
        if !with_data {
            self.blank = self.keeps_data;
            self.precious = false;
            self.offset = 0;
            self.history = History { id: fresh_history, before: None };
        } else if before.is_some() {
            self.history = History { id: fresh_history, before };
        }
    }

    /// One request: commands in order, the last one's reply.
    pub fn execute(&mut self, now: u64, commands: &[Vec<String>], fresh_history: u64) -> (Reply, Effects) {
        let mut effects = Effects::default();
        let mut reply = Reply::ok();
        for argv in commands {
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            reply = self.command(now, &words, fresh_history, &mut effects);
        }
        (reply, effects)
    }

    fn command(&mut self, now: u64, argv: &[&str], fresh_history: u64, effects: &mut Effects) -> Reply {
        let loading = now < self.loading_until;
        if now < self.busy_until {
            return self.while_busy(now, argv);
        }
        match argv {
            ["SLAVEOF" | "CONFIG" | "FAILOVER", ..] if loading => {
                Reply::Error("LOADING Redis is loading the dataset in memory".into())
            }
            ["PING"] if loading => Reply::Error("LOADING Redis is loading the dataset in memory".into()),
            ["PING"] => Reply::Status("PONG".into()),
            ["INFO"] => Reply::Bulk(self.info(now)),
            ["PUBLISH", _, text] => {
                effects.publish = Some((*text).to_owned());
                Reply::Int(1)
            }
            ["SLAVEOF", "NO", "ONE"] => {
                if self.role != Role::Primary {
                    self.role = Role::Primary;
                    self.history = History { id: fresh_history, before: Some((self.history.id, self.offset)) };
                    self.primary_lost_data = false;
                    self.synced = true;
                    effects.promoted = true;
                }
                Reply::ok()
            }
            ["SLAVEOF", host, port] => {
                let addr = Addr::new(*host, port.parse().unwrap_or(0));
                effects.follows = Some(addr.clone());
                if self.role != Role::Replica(addr.clone()) {
                    self.handing = None;
                    self.role = Role::Replica(addr);
                    self.link = Link::Down(None, now);
                    self.told = true;
                    self.primary_lost_data = false;
                }
                Reply::ok()
            }
            ["CONFIG", "REWRITE"] => {
                self.saved_role = self.role.clone();
                Reply::ok()
            }
            ["CLIENT", "KILL", ..] => {
                effects.kill_clients = true;
                Reply::Int(1)
            }
            ["FAILOVER", "ABORT"] => {
                self.handing = None;
                Reply::ok()
            }
            ["FAILOVER", "TO", host, port, "TIMEOUT", ms] => {
                let to = Addr::new(*host, port.parse().unwrap_or(0));
                if self.role != Role::Primary || !self.replicas.contains(&to) {
                    return Reply::Error("ERR FAILOVER target is not a replica.".into());
                }
                self.handing = Some((to, now + ms.parse::<u64>().unwrap_or(0)));
                Reply::ok()
            }
            ["MULTI"] => Reply::ok(),
            ["EXEC"] => Reply::Array(vec![Reply::ok()]),
            _ => Reply::Error(format!("ERR unknown command '{}'", argv.first().unwrap_or(&""))),
        }
    }

    /// What a server says while a script runs for longer than it should.
    fn while_busy(&mut self, now: u64, argv: &[&str]) -> Reply {
        match argv {
            ["MULTI"] => Reply::ok(),
            ["SCRIPT", "KILL"] if self.killable => {
                self.busy_until = now;
                Reply::ok()
            }
            ["SCRIPT", "KILL"] => Reply::Error("UNKILLABLE The script has written already.".into()),
            _ => Reply::Error("BUSY Redis is busy running a script.".into()),
        }
    }

    /// It takes `writes` more, and says so to its clients.
    pub fn write(&mut self, now: u64, writes: u64) {
        if self.handing.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.handing = None;
        }
        if self.handing.is_none() && now >= self.busy_until {
            self.offset += writes;
            self.acknowledged = Some((self.history.id, self.offset));
        }
    }

    /// The replica that waits for the role has everything: the roles are swapped.
    pub fn hand_over(&mut self, now: u64, to: &mut DataNode, fresh_history: u64) -> bool {
        let ready = self.handing.as_ref().is_some_and(|(addr, _)| *addr == to.addr)
            && to.role == Role::Replica(self.addr.clone())
            && matches!(to.link, Link::Up(_))
            && (to.history.id, to.offset) == (self.history.id, self.offset);
        if ready {
            self.handing = None;
            to.role = Role::Primary;
            to.history = History { id: fresh_history, before: Some((self.history.id, self.offset)) };
            self.role = Role::Replica(to.addr.clone());
            self.link = Link::Down(None, now);
        }
        ready
    }

    fn info(&self, now: u64) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = write!(text, "{key}:{value}\r\n");
        };
        line("redis_version", &"7.0.15");
        if self.keystead {
            line("keystead_version", &"0.1.0");
        }
        line("run_id", &format!("{:0>39}{}", self.addr.host.replace('.', ""), self.life));
        line("uptime_in_seconds", &((now - self.started) / 1_000));
        line("loading", &u8::from(now < self.loading_until));
        line("role", &if self.role == Role::Primary { "master" } else { "slave" });
        for (n, replica) in self.replicas.iter().enumerate() {
            let text = format!("ip={},port={},state=online,offset=1,lag=0", replica.host, replica.port);
            line(&format!("slave{n}"), &text);
        }
        if let Some(leased) = self.leased {
            line("lease_writes_allowed_ms", &(u32::from(leased) * 1_000));
        }
        line("master_replid", &format!("{:040x}", self.history.id));
        line("master_replid2", &format!("{:040x}", self.history.before.map_or(0, |(id, _)| id)));
        if self.role == Role::Primary {
            line("master_repl_offset", &self.offset);
        }
        if let Role::Replica(of) = &self.role {
            line("master_host", &of.host);
            line("master_port", &of.port);
            line("master_link_status", &if matches!(self.link, Link::Up(_)) { "up" } else { "down" });
            line("master_sync_in_progress", &u8::from(matches!(self.link, Link::Sync(_))));
            line("slave_repl_offset", &self.offset.max(1));
            if let Link::Down(since, _) = self.link {
                // The wall clock: after a jump this is nonsense, as it is in the real server.
                let seconds =
                    since.map_or(-1, |at| (now as i64 + self.clock_error - self.down_clock - at as i64) / 1000);
                line("master_link_down_since_seconds", &seconds);
            }
            line("slave_priority", &self.priority);
            line("keystead_primary_came_back_empty", &u8::from(self.primary_lost_data));
        }
        text
    }

    /// Replication of one moment. `upstream` is what it reaches of the node it follows; `gone` means that node's process
    /// ended, which closes the link at once.
    pub fn replicate(&mut self, now: u64, upstream: Option<Upstream>, gone: bool, rng: &mut Rng) {
        if self.role == Role::Primary || now < self.loading_until || now < self.busy_until {
            if now >= self.loading_until {
                self.unfit_since = None;
            }
            return;
        }
        self.follow(now, upstream, gone, rng);
        self.unfit_since = match self.link {
            Link::Sync(_) => self.unfit_since.or(Some(now)),
            _ => None,
        };
    }

    fn follow(&mut self, now: u64, upstream: Option<Upstream>, gone: bool, rng: &mut Rng) {
        match (self.link, upstream) {
            (Link::Up(_), Some(up)) if up.serves && self.continues(&up) => {
                self.adopt(&up);
                self.link = Link::Up(now);
            }
            (Link::Up(heard), None) if !gone && now - heard < REPL_TIMEOUT_MS => {}
            (Link::Up(_), _) => {
                self.down_clock = self.clock_error;
                self.link = Link::Down(Some(now), now);
            }
            (Link::Sync(until), Some(up)) if up.serves => {
                if now >= until {
                    self.adopt(&up);
                    self.told = false;
                    self.link = Link::Up(now);
                }
            }
            (Link::Sync(_), _) => {
                self.offset = 0; // flushed, and nothing came
                self.link = Link::Down(None, now + RECONNECT_MS);
            }
            (Link::Down(since, retry), Some(up)) if now >= retry && up.serves => {
                if self.continues(&up) {
                    self.told = false;
                    self.link = Link::Up(now);
                } else if self.keeps_data && !self.told && up.empty {
                    self.primary_lost_data = true;
                    self.link = Link::Down(since, now + RECONNECT_MS);
                } else {
                    self.count_lost(&up);
                    self.link = Link::Sync(now + rng.between(50, 800));
                }
            }
            (Link::Down(since, retry), _) if now >= retry => self.link = Link::Down(since, now + RECONNECT_MS),
            (Link::Down(..), _) => {}
        }
    }

    fn continues(&self, up: &Upstream) -> bool {
        let same = self.history.id == up.history.id && self.offset <= up.offset;
        let before = up.history.before.is_some_and(|(id, until)| self.history.id == id && self.offset <= until);
        same || before
    }

    /// What was acknowledged here and is not in the history it takes over.
    fn count_lost(&mut self, up: &Upstream) {
        let Some((id, offset)) = self.acknowledged.take() else { return };
        let kept = match up.history.before {
            _ if up.history.id == id => up.offset,
            Some((before, until)) if before == id => until,
            _ => 0,
        };
        self.lost += offset.saturating_sub(kept);
    }

    fn adopt(&mut self, up: &Upstream) {
        self.acknowledged = None;
        self.synced = true;
        self.blank = up.empty;
        self.precious = up.precious;
        self.history = up.history;
        self.offset = up.offset;
    }
}
