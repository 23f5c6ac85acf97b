//! The driver: one task that feeds the machine and carries its actions out in order.
//! Owns the machine, the links and the open commands. What has to wait for the disk waits in the outbox, never the driver.

use super::folder::DiskVoice;
use super::lines::{Lines, News};
use super::link::Target;
use super::plugin::{Shown, Strategies};
use super::script::{self, ScriptHandle, Turns};
use crate::actions::{Action, Consult, Counsel, Event};
use crate::election::{self, ElectionStrategy, RedisElection};
use crate::events::{Level, Notice};
use crate::machine::{Boot, Sentinel};
use crate::outbox::Outbox;
use crate::scripts::Order;
use crate::select::{self, RedisSelection, ReplicaSelection};
use crate::state::State;
use crate::types::{Kind, Mono};
use crate::wire::Reply;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use futures::future::{BoxFuture, Either, select};
use futures::lock::Mutex as AsyncMutex;
use futures::{FutureExt, SinkExt, StreamExt};
use keystead_plugin::{Error, Host};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Events and commands that wait for the driver at most; whoever brings more waits.
pub(crate) const INBOX: usize = 1024;
/// A name that has no address by then has none.
pub(crate) const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// A strategy of another plugin must answer within this time.
const STRATEGY_LIMIT: Duration = Duration::from_secs(2);
/// So many of them are asked at a time: each on a thread for things that block, since nobody knows whether it does. The
/// process has some hundred of these, and a strategy may need one more itself.
const STRATEGIES_AT_A_TIME: usize = 64;

/// What comes to the driver.
pub(crate) enum Input {
    /// For the machine.
    Event(Event),
    /// A line tells of itself.
    Line(u64, News),
    /// A client's command.
    Command(Vec<String>, oneshot::Sender<Reply>),
    /// The state is on the disk, or couldn't be written and why; how long it took.
    Written(Result<(), String>, u64),
}

/// When the machine is to be stepped though nothing came.
struct Alarm {
    at: Mono,
    rings: BoxFuture<'static, ()>,
}

impl Alarm {
    fn new(host: Host, at: Mono, rest_ms: u64) -> Alarm {
        Alarm { at, rings: host.sleep(Duration::from_millis(rest_ms)).boxed() }
    }
}

/// The driver.
pub(crate) struct Driver {
    host: Host,
    /// Locked for each step; INFO and ROLE look at it between two of them.
    machine: Arc<Mutex<Sentinel>>,
    id: String,
    first: Vec<Action>,
    outbox: Outbox,
    disk: DiskVoice,
    inbox: mpsc::Sender<Input>,
    waiting: mpsc::Receiver<Input>,
    lines: Lines,
    scripts: HashMap<u64, ScriptHandle>,
    turns: Turns,
    commands: HashMap<u64, oneshot::Sender<Reply>>,
    next_ticket: u64,
    strategies: Strategies,
    /// Places for questions to them. One that is never answered keeps its place, and no more.
    places: Vec<Arc<AsyncMutex<()>>>,
}

impl Driver {
    pub(crate) fn new(
        host: Host,
        boot: Boot,
        (inbox, waiting): (mpsc::Sender<Input>, mpsc::Receiver<Input>),
        strategies: Strategies,
        shown: &Shown,
    ) -> Driver {
        let (machine, first) = Sentinel::new(boot);
        let (id, machine) = (machine.id().to_owned(), Arc::new(Mutex::new(machine)));
        *shown.lock() = Some(machine.clone());
        let (lines, commands) = (Lines::new(host, inbox.clone()), HashMap::new());
        Driver {
            host,
            machine,
            id,
            first,
            outbox: Outbox::default(),
            disk: DiskVoice::default(),
            inbox,
            waiting,
            lines,
            scripts: HashMap::new(),
            turns: Turns::default(),
            commands,
            next_ticket: 1,
            strategies,
            places: (0..STRATEGIES_AT_A_TIME).map(|_| Arc::default()).collect(),
        }
    }

    fn now(&self) -> Mono {
        Mono(self.host.now().as_millis() as u64)
    }

    pub(crate) async fn run(mut self) {
        log::info!("Sentinel ID is {}", self.id);
        let first = std::mem::take(&mut self.first);
        self.work(first).await;
        let mut alarm = None;
        loop {
            let event = match self.next_input(&mut alarm).await {
                None => Event::Tick,
                Some(None) => return,
                Some(Some(Input::Event(event))) => {
                    if let Event::ScriptEnded { id, .. } = &event {
                        self.scripts.remove(id);
                    }
                    event
                }
                Some(Some(Input::Line(number, news))) => {
                    let events = self.lines.hear(number, &news);
                    self.follow(events).await;
                    continue;
                }
                Some(Some(Input::Command(argv, done))) => {
                    let ticket = self.next_ticket;
                    self.next_ticket += 1;
                    self.commands.insert(ticket, done);
                    Event::Command { ticket, argv }
                }
                Some(Some(Input::Written(result, ms))) => {
                    self.disk.tell(&result, self.now());
                    // One that stood still meanwhile gives up what it had ordered, before that leaves.
                    let actions = self.machine.lock().step(self.now(), Event::Tick);
                    self.work(actions).await;
                    let released = {
                        let machine = self.machine.lock();
                        self.outbox.written(result.is_ok(), |to, request| machine.still_wants(to, request))
                    };
                    let events = self.carry_out(released).await;
                    self.follow(events).await;
                    Event::Written { ms, error: result.err() }
                }
            };
            let actions = self.machine.lock().step(self.now(), event);
            self.work(actions).await;
        }
    }

    /// What came, or nothing when something is due. One alarm is set for many inputs: it is set anew only where something is
    /// due earlier, and one that rings too early costs a look in vain.
    async fn next_input(&mut self, set: &mut Option<Alarm>) -> Option<Option<Input>> {
        let wake = self.machine.lock().next_wake();
        let mut alarm = set
            .take()
            .filter(|alarm| alarm.at <= wake)
            .unwrap_or_else(|| Alarm::new(self.host, wake, wake.since(self.now())));
        match select(self.waiting.next(), &mut alarm.rings).await {
            Either::Left((input, _)) => {
                *set = Some(alarm);
                Some(input)
            }
            Either::Right(_) => None,
        }
    }

    /// A step's actions through the outbox, and what follows from them behind all of it: its state is the newer one.
    async fn work(&mut self, actions: Vec<Action>) {
        let ready = self.outbox.push(actions);
        let events = self.carry_out(ready).await;
        self.follow(events).await;
    }

    /// Steps for events, for what these lead to at once, and so on.
    async fn follow(&mut self, events: Vec<Event>) {
        let mut events = VecDeque::from(events);
        while let Some(event) = events.pop_front() {
            let actions = self.machine.lock().step(self.now(), event);
            let ready = self.outbox.push(actions);
            events.extend(self.carry_out(ready).await);
        }
    }

    /// Carries out; gives what built-in strategies answered, and what became of lines at once.
    async fn carry_out(&mut self, actions: Vec<Action>) -> Vec<Event> {
        let mut events = Vec::new();
        for action in actions {
            match action {
                Action::Persist(state) => {
                    self.persist(&state);
                    events.push(Event::Writing { epoch: state.epoch });
                }
                Action::Reply { ticket, reply, .. } => self.answer(ticket, reply),
                Action::Send { instance, generation, request, round } => {
                    self.lines.send(instance, generation, request, round);
                }
                Action::Unsent { instance, generation } => events.push(Event::Unsent { instance, generation }),
                Action::Connect { instance, lane, generation, addr, auth, kind, renamed } => {
                    let auth = auth.or_else(|| self.own_password(kind));
                    let target = Target { instance, lane, generation, addr, auth, kind, renamed };
                    let name = format!("sentinel-{}", &self.id[..8.min(self.id.len())]);
                    events.extend(self.lines.connect(target, name));
                }
                Action::Disconnect { instance, lane, broken } => {
                    events.extend(self.lines.disconnect(instance, lane, broken));
                }
                Action::Emit(notice) => self.emit(notice).await,
                Action::Log(level, text) => log(level, &text),
                Action::Resolve(name) => self.resolve(name),
                Action::Script(order) => self.script(order),
                Action::LogLevel(level) => self.set_log_level(&level).await,
                Action::Crash => std::process::exit(99), // Redis' status for it
                Action::Consult { monitor, ticket, strategy, question } => {
                    let answer = self.consult(&monitor, ticket, strategy, question);
                    events.extend(answer.map(|advice| Event::Advice { monitor, ticket, advice }));
                }
            }
        }
        events
    }

    /// A group has one password, unless another one is given for the peers: this port's, as it is by now.
    fn own_password(&self, kind: Kind) -> Option<(Option<String>, String)> {
        let own = (kind == Kind::Sentinel).then(|| self.host.setting("requirepass"))?;
        own.filter(|password| !password.is_empty()).map(|password| (None, password))
    }

    /// Writes in a task of its own; the driver goes on and hears of the end.
    fn persist(&self, state: &State) {
        let (host, mut inbox, state, begun) = (self.host, self.inbox.clone(), state.clone(), self.now());
        self.host.spawn(async move {
            let text = host.blocking(move || state.encode()).await.map_err(|error| error.text().to_owned());
            let result = match text.and_then(|text| text) {
                Ok(text) => host.persist_state(text.as_bytes()).await.map_err(|error| format!("{error:?}")),
                Err(error) => Err(error),
            };
            // Fails only when the driver has ended.
            let took = Mono(host.now().as_millis() as u64).since(begun);
            let _ = inbox.send(Input::Written(result, took)).await;
        });
    }

    fn resolve(&self, name: String) {
        let (host, mut inbox) = (self.host, self.inbox.clone());
        self.host.spawn(async move {
            let ip = look_up(host, &name).await;
            if ip.is_none() {
                log::warn!("Failed to resolve hostname '{name}'");
            }
            // Fails only when the driver has ended.
            let _ = inbox.send(Input::Event(Event::Resolved { name, ip })).await;
        });
    }

    fn script(&mut self, order: Order) {
        match order {
            Order::Run(id, argv) => {
                self.scripts.insert(id, script::start(self.host, id, argv, self.turns.next(), self.inbox.clone()));
            }
            Order::Kill(id) => {
                if let Some(script) = self.scripts.get(&id) {
                    script.kill();
                }
            }
            Order::Tell(..) => {}
        }
    }

    async fn set_log_level(&self, level: &str) {
        // The log belongs to the process, whichever port it is asked on.
        let answer = self.host.exec(0, &["CONFIG", "SET", "loglevel", level], keystead_plugin::Origin::Client).await;
        if let Err(error) = answer {
            log::warn!("the log's level stays as it is: {error:?}");
        }
    }

    fn answer(&mut self, ticket: u64, reply: Reply) {
        if let Some(done) = self.commands.remove(&ticket) {
            // A client that has gone needs no answer.
            let _ = done.send(reply);
        }
    }

    async fn emit(&self, Notice { level, name, payload }: Notice) {
        log(level, &format!("{name} {payload}"));
        if level > Level::Debug
            && let Err(error) = self.host.publish(name.as_bytes(), payload.as_bytes()).await
        {
            log::debug!("{name} could not be published: {error:?}");
        }
    }

    /// The built-in strategies answer at once; another plugin's is asked beside this task and those of the others.
    fn consult(&self, monitor: &str, ticket: u64, strategy: String, question: Consult) -> Option<Counsel> {
        let Strategies { election, selection } = self.strategies;
        let future = match question {
            Consult::Election(question) if strategy == election::BUILT_IN => {
                return Some(Counsel::Election(RedisElection.advise(&question)));
            }
            Consult::Selection(request) if strategy == select::BUILT_IN => {
                return Some(Counsel::Selection(RedisSelection.rank(&request)));
            }
            Consult::Election(question) => {
                Either::Left(async move { election.call_at(&strategy, &question).await.map(Counsel::Election) })
            }
            Consult::Selection(request) => {
                Either::Right(async move { selection.call_at(&strategy, &request).await.map(Counsel::Selection) })
            }
        };
        let (host, mut inbox, monitor) = (self.host, self.inbox.clone(), monitor.to_owned());
        let place = self.places[ticket as usize % self.places.len()].clone();
        let asked = async move {
            let place = place.lock_owned().await;
            let ask = move || {
                let _until_answered = place;
                // Who only waits is left at the limit, and gives its place back; who blocks keeps it.
                block_on(host.timeout(STRATEGY_LIMIT, future))
            };
            let late = || Err(Error::new(format!("no answer within {STRATEGY_LIMIT:?}")));
            host.blocking(ask).await?.unwrap_or_else(late)
        };
        self.host.spawn(async move {
            let advice = match host.timeout(STRATEGY_LIMIT, asked).await {
                Some(Ok(advice)) => advice,
                Some(Err(error)) => Counsel::Failed(error.text().to_owned()),
                None => Counsel::Failed(format!(
                    "no answer within {STRATEGY_LIMIT:?}, it or others still hold their places"
                )),
            };
            // Fails only when the driver has ended.
            let _ = inbox.send(Input::Event(Event::Advice { monitor, ticket, advice })).await;
        });
        None
    }
}

/// The first address of a name.
pub(crate) async fn look_up(host: Host, name: &str) -> Option<String> {
    let found = host.timeout(RESOLVE_LIMIT, host.resolve(name)).await?.ok()?;
    // As the links of one sentinel should be of one family, IPv4 goes first.
    let first = found.iter().find(|ip| ip.is_ipv4()).or(found.first())?;
    Some(first.to_string())
}

fn log(level: Level, text: &str) {
    match level {
        Level::Warning => log::warn!("{text}"),
        Level::Notice => log::info!("{text}"),
        Level::Verbose | Level::Debug => log::debug!("{text}"),
    }
}
