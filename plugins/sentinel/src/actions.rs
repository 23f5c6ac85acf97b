//! The two alphabets of the machine: what happens to it, and what it wants done.
//! Owns the contract with whoever drives it (shell or simulator): actions go through an `Outbox`, which keeps their order and
//! lets nothing that rests on a `Persist` leave before it is on disk.

use crate::disk::Disk;
use crate::election::{self, Advice, Question};
use crate::events::{Level, Notice};
use crate::globals::Globals;
use crate::names::Names;
use crate::namesake::Namesake;
use crate::scripts::{Ended, Order};
use crate::select::{self, Ranked, Request as SelectRequest};
use crate::settings::Settings;
use crate::sign::Signing;
use crate::state::State;
use crate::tempo::Tempo;
use crate::types::{Addr, Epoch, InstanceId, Kind, Lane, Mono, Rng};
use crate::wire::{Reply, Request};
use std::collections::BTreeMap;

/// SENTINEL SIMULATE-FAILURE: end once a failover of this sentinel got so far.
pub const CRASH_AFTER_ELECTION: u32 = 1;
/// See above.
pub const CRASH_AFTER_PROMOTION: u32 = 2;

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A deadline has come.
    Tick,
    /// A link is there.
    LinkUp {
        /// Whose.
        instance: InstanceId,
        /// Which.
        lane: Lane,
        /// Its incarnation.
        generation: u64,
        /// The address of this side, announced in hellos unless one is configured.
        local_ip: String,
    },
    /// A link is gone or couldn't be opened.
    LinkDown {
        /// Whose.
        instance: InstanceId,
        /// Which.
        lane: Lane,
        /// Its incarnation.
        generation: u64,
        /// How.
        fall: Fall,
    },
    /// An answer on a command link.
    Answer {
        /// Whose.
        instance: InstanceId,
        /// The link's incarnation.
        generation: u64,
        /// What was asked.
        request: Request,
        /// The answer.
        reply: Reply,
        /// What the asker knew when it asked (see `Action::Send`).
        round: u64,
    },
    /// The other side of a link that several instances share has answered a ping of one of them: nobody else need ask.
    Alive {
        /// Whose link it is, each with the incarnation it knows.
        instances: Vec<(InstanceId, u64)>,
    },
    /// Something came on a feed: a hello, or (without text) a sign of life.
    Feed {
        /// Whose.
        instance: InstanceId,
        /// The link's incarnation.
        generation: u64,
        /// A message on the hello channel.
        text: Option<String>,
    },
    /// The subscription to hellos was refused.
    FeedRefused {
        /// Whose.
        instance: InstanceId,
        /// The link's incarnation.
        generation: u64,
        /// In which words.
        error: String,
    },
    /// A command of a client or peer that needs the machine: SENTINEL …, or PUBLISH of a hello.
    Command {
        /// Under which its reply goes out.
        ticket: u64,
        /// Name and arguments.
        argv: Vec<String>,
    },
    /// A name was looked up.
    Resolved {
        /// The name.
        name: String,
        /// Its IP address; nothing when it has none now.
        ip: Option<String>,
    },
    /// A script runs.
    ScriptStarted {
        /// Its number in the queue.
        id: u64,
        /// Its process.
        pid: u32,
    },
    /// A script has ended, or couldn't be started.
    ScriptEnded {
        /// Its number in the queue.
        id: u64,
        /// How.
        how: Ended,
    },
    /// A request never left (`Action::Unsent`).
    Unsent {
        /// To whom.
        instance: InstanceId,
        /// The link's incarnation.
        generation: u64,
    },
    /// A write of the state is on its way.
    Writing {
        /// The state's epoch.
        epoch: Epoch,
    },
    /// A write of the state has ended.
    Written {
        /// How long it took.
        ms: u64,
        /// Why it isn't on the disk, if it isn't.
        error: Option<String>,
    },
    /// A strategy's answer.
    Advice {
        /// Which monitor asked.
        monitor: String,
        /// Under which number.
        ticket: u64,
        /// The answer.
        advice: Counsel,
    },
}

/// How a link ended, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fall {
    /// It is gone, or couldn't be opened; in which words, if there are any.
    Gone(String),
    /// The other side's kernel answered that nobody listens there.
    Refused,
    /// The other side took the connection, said this, and nothing else.
    TurnedAway(String),
    /// This process lacks what opening one takes: that says nothing of the other side.
    Unable(String),
}

/// A question for a strategy.
#[derive(Clone, Debug, PartialEq)]
pub enum Consult {
    /// For the election strategy.
    Election(Question),
    /// For the selection strategy.
    Selection(SelectRequest),
}

/// The strategies of this process by name, the built-in ones first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategies {
    /// For elections.
    pub election: Vec<String>,
    /// For the choice of a replica.
    pub selection: Vec<String>,
}

impl Default for Strategies {
    fn default() -> Self {
        Strategies { election: vec![election::BUILT_IN.into()], selection: vec![select::BUILT_IN.into()] }
    }
}

impl Strategies {
    /// Whether the strategies that the settings name are there.
    ///
    /// # Errors
    /// What is missing and what there is.
    pub fn check(&self, settings: &Settings) -> Result<(), String> {
        let known = |what: &str, name: &String, all: &[String]| match all.contains(name) {
            true => Ok(()),
            false => Err(format!("no plugin '{name}' gives a strategy for {what} here; there is {}", all.join(", "))),
        };
        known("elections", &settings.election, &self.election)?;
        known("selections", &settings.selection, &self.selection)
    }
}

/// A strategy's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Counsel {
    /// Of the election strategy.
    Election(Advice),
    /// Of the selection strategy.
    Selection(Ranked),
    /// It failed; the machine does nothing that needed it.
    Failed(String),
}

/// What is to be done, in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Open a link; answers with `LinkUp` or `LinkDown`. AUTH goes first when there is a password.
    Connect {
        /// To whom.
        instance: InstanceId,
        /// Which link.
        lane: Lane,
        /// Its incarnation.
        generation: u64,
        /// Where.
        addr: Addr,
        /// User and password.
        auth: Option<(Option<String>, String)>,
        /// What the other side is (a peer gets another client name than a data node).
        kind: Kind,
        /// Commands that have another name there.
        renamed: BTreeMap<String, String>,
    },
    /// Close a link, whatever its state.
    Disconnect {
        /// Whose.
        instance: InstanceId,
        /// Which.
        lane: Lane,
        /// It doesn't work: whoever shares it with this instance needs another one too.
        broken: bool,
    },
    /// Send on the command link; answers with `Answer`, `round` given back.
    Send {
        /// To whom.
        instance: InstanceId,
        /// The link's incarnation.
        generation: u64,
        /// What.
        request: Request,
        /// Number of the configuration under which this is asked.
        round: u64,
    },
    /// A `Send` that the outbox gave up: nobody will answer it. Is given back as the event of this name.
    Unsent {
        /// To whom.
        instance: InstanceId,
        /// The link's incarnation.
        generation: u64,
    },
    /// Write the state and fsync it before anything that rests on it leaves (outbox.rs).
    Persist(Box<State>),
    /// Answer a command.
    Reply {
        /// Its number.
        ticket: u64,
        /// The answer.
        reply: Reply,
        /// It promises something that a crash must not take back (a vote, a setting): it leaves behind the disk. What only
        /// tells what this sentinel sees doesn't, and is to be had with a disk that is full, too.
        promises: bool,
    },
    /// Publish and log an event.
    Emit(Notice),
    /// Look a name up; answers with `Resolved`.
    Resolve(String),
    /// Start or kill a script.
    Script(Order),
    /// The log's level, in Redis' words.
    LogLevel(String),
    /// Log only.
    Log(Level, String),
    /// End this process as a crash would: SENTINEL SIMULATE-FAILURE asked for it.
    Crash,
    /// Ask a strategy; answers with `Advice`. What the answer leads to is carried out behind all actions of this step.
    Consult {
        /// Which monitor asks.
        monitor: String,
        /// Under which number.
        ticket: u64,
        /// Whom: the strategy's name.
        strategy: String,
        /// What.
        question: Consult,
    },
}

/// An epoch that isn't believed is told this often for each sender.
const DOUBT_MS: u64 = 60_000;
/// Of so many senders in that time.
const MAX_DOUBTED: usize = 32;

/// Who claims an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// Its id.
    pub id: &'a str,
    /// Where it listens, if it said so.
    pub addr: Option<&'a Addr>,
    /// The primary that it spoke of.
    pub primary: &'a str,
}

/// What all monitors of one sentinel share while a step runs.
#[derive(Debug)]
pub struct Shared {
    /// This moment.
    pub now: Mono,
    /// This sentinel's id.
    pub id: String,
    /// Where peers reach this sentinel; the host may be empty until a link shows it.
    pub announce: Addr,
    /// The announced host was configured and stays.
    pub announce_fixed: bool,
    /// The current epoch.
    pub epoch: Epoch,
    /// Delays.
    pub rng: Rng,
    /// What this step wants done.
    pub out: Vec<Action>,
    /// Where in `out` the state must be on disk.
    pub durable_at: Option<usize>,
    /// Where to end on purpose.
    pub simulate: u32,
    /// What is known of the disk.
    pub disk: Disk,
    /// How long a write of the state took lately.
    pub write_ms: u64,
    /// Keys of hellos.
    pub signing: Signing,
    /// Host names.
    pub names: Names,
    /// Settings of the whole sentinel.
    pub globals: Globals,
    /// The periods of SENTINEL DEBUG.
    pub tempo: Tempo,
    /// Scripts to put into the queue at the end of this step.
    pub scripts: Vec<Vec<String>>,
    /// Whose instance each number is.
    pub homes: BTreeMap<InstanceId, String>,
    /// Which strategies there are.
    pub strategies: Strategies,
    /// Who claimed an epoch that isn't believed, and when that was said last.
    pub doubted: BTreeMap<String, Mono>,
    /// Sentinels whose place another id has taken, to be dropped everywhere at the end of this event.
    pub replaced: Vec<String>,
    /// Another sentinel of the same id.
    pub(crate) namesake: Option<Namesake>,
    /// When it was said last that links can't be opened.
    pub(crate) unable_told: Option<Mono>,
    pub(crate) numbers: u64,
}

impl Shared {
    /// A number that was never used before.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What follows may leave only after the state of the end of this step is on disk.
    pub fn durable(&mut self) {
        if self.durable_at.is_none() {
            self.durable_at = Some(self.out.len());
        }
    }

    /// Adds an event, and calls the primary's notification script for a warning.
    pub fn emit(&mut self, level: Level, name: &'static str, payload: String, settings: &Settings) {
        if let (Level::Warning, Some(script)) = (level, &settings.notification_script) {
            self.scripts.push(vec![script.clone(), name.into(), payload.clone()]);
        }
        self.out.push(Action::Emit(Notice { level, name, payload }));
    }

    /// Ends the process if SENTINEL SIMULATE-FAILURE asked for it at this point.
    pub fn maybe_crash(&mut self, point: u32) {
        if self.simulate & point != 0 {
            self.log(Level::Warning, "Sentinel CRASH because of SENTINEL simulate-failure".into());
            self.out.push(Action::Crash);
        }
    }

    /// Adds a log line.
    pub fn log(&mut self, level: Level, text: String) {
        self.out.push(Action::Log(level, text));
    }

    /// Takes over a higher epoch that somebody showed; false if it isn't believed.
    ///
    /// Who isn't believed may still be right: a group that somebody has pushed beyond `Epoch::FAR`, met by one that is new.
    /// So this sentinel goes as far as it believes, as often as it says so, and believes the others after a few hellos.
    pub fn see_epoch(&mut self, epoch: Epoch, from: Claimant<'_>, settings: &Settings) -> bool {
        let reach = self.epoch.reach();
        let believed = epoch <= reach;
        if !believed && (!self.doubt(epoch, from) || epoch > Epoch::LAST) {
            return false;
        }
        let epoch = epoch.min(reach);
        if epoch > self.epoch {
            self.epoch = epoch;
            self.durable();
            self.emit(Level::Warning, "+new-epoch", format!("{epoch}"), settings);
            self.log(Level::Debug, format!("epoch {epoch} seen for {}", from.primary));
        }
        believed
    }

    /// Says that an epoch isn't believed: once a minute for each sender, and of a crowd only of the first. True if it said so.
    pub fn doubt(&mut self, epoch: Epoch, from: Claimant<'_>) -> bool {
        let now = self.now;
        self.doubted.retain(|_, told| now.since(*told) < DOUBT_MS);
        if self.doubted.contains_key(from.id) || self.doubted.len() >= MAX_DOUBTED {
            return false;
        }
        self.doubted.insert(from.id.to_owned(), now);
        let Claimant { id, addr, primary } = from;
        let at = addr.map_or_else(String::new, |addr| format!(" at {addr}"));
        let text = format!("{primary}: epoch {epoch} of sentinel {id}{at} isn't believed, {} is ours", self.epoch);
        self.log(Level::Warning, text);
        true
    }
}

/// A primary to watch, as configuration or SENTINEL MONITOR gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// Its address in the file.
    pub addr: Addr,
    /// Its settings.
    pub settings: Settings,
}
