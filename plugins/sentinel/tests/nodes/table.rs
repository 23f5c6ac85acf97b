//! One sentinel, its clock, and the nodes that it sees: each says what a test lets it say.

use keystead_sentinel::actions::{Action, Consult, Counsel, Event, Fall, Strategies, Watch};
use keystead_sentinel::election::{Advice, ElectionStrategy, Question, RedisElection};
use keystead_sentinel::globals::Options;
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::scripts::Order;
use keystead_sentinel::select::{RedisSelection, ReplicaSelection};
use keystead_sentinel::settings::Settings;
use keystead_sentinel::state::State;
use keystead_sentinel::types::{Addr, InstanceId, Kind, Mono};
use keystead_sentinel::wire::{Reply, Request};
use std::collections::{BTreeMap, VecDeque};

pub const ME: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const PEER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub const PRIMARY: u16 = 6379;
/// Between two looks at the clock.
const TICK_MS: u64 = 20;

/// A question that is answered by hand later.
pub struct Open {
    instance: InstanceId,
    generation: u64,
    request: Request,
    round: u64,
}

/// The sentinel, its clock, and what the nodes answer.
pub struct Table {
    pub sentinel: Sentinel,
    pub now: u64,
    /// Ports of the data nodes and what INFO says, `@ms` for the seconds since then; who isn't here can't be reached.
    pub nodes: BTreeMap<u16, String>,
    /// Who answers a PING with something else than PONG.
    pub pings: BTreeMap<u16, Reply>,
    /// What was told to a port: `Follow`, `HandOver` and `ScriptKill`.
    pub told: Vec<(u64, u16, Request)>,
    /// Questions about the primary that wait for `peer_says`.
    pub open: VecDeque<Open>,
    /// Events by name.
    pub events: Vec<String>,
    /// Scripts that were started, with their arguments.
    pub scripts: Vec<String>,
    /// What the last command was answered.
    pub reply: Option<Reply>,
    /// Lines of the log.
    pub logs: Vec<String>,
    /// What the election strategy says of a campaign, instead of counting votes.
    pub campaign: Option<Advice>,
    /// Why the sentinel's process can't open links.
    pub unable: Option<&'static str>,
    /// Why no link comes up.
    pub broken: Option<Fall>,
    /// What the peer's INFO says.
    pub peer_info: Option<String>,
    /// Why no state gets onto the disk.
    pub disk_error: Option<String>,
    /// How often a peer was told of settings.
    pub spreads: usize,
    ports: BTreeMap<InstanceId, u16>,
}

impl Table {
    pub fn new(change: impl FnOnce(&mut Settings)) -> Table {
        Table::with_options(change, Options::default())
    }

    pub fn with_options(change: impl FnOnce(&mut Settings), options: Options) -> Table {
        let mut settings = Settings::new(1);
        settings.down_after_ms = 1000;
        change(&mut settings);
        let watch = Watch { name: "m".into(), addr: Addr::new("127.0.0.1", PRIMARY), settings };
        let (sentinel, actions) = Sentinel::new(boot(0, watch, None, options));
        let mut table = Table {
            sentinel,
            now: 0,
            nodes: BTreeMap::new(),
            pings: BTreeMap::new(),
            told: Vec::new(),
            open: VecDeque::new(),
            events: Vec::new(),
            scripts: Vec::new(),
            reply: None,
            logs: Vec::new(),
            campaign: None,
            unable: None,
            broken: None,
            peer_info: None,
            disk_error: None,
            spreads: 0,
            ports: BTreeMap::new(),
        };
        table.carry_out(actions.into());
        table
    }

    /// The sentinel dies and is started again, with what it had saved.
    pub fn restart(&mut self) {
        let monitor = &self.sentinel.monitors()["m"];
        let addr = monitor.configured.clone().expect("of a configuration file");
        let watch = Watch { name: "m".into(), addr, settings: monitor.settings.clone() };
        let boot = boot(self.now, watch, Some(self.sentinel.save()), Options::default());
        let (sentinel, actions) = Sentinel::new(boot);
        self.sentinel = sentinel;
        self.ports.clear();
        self.carry_out(actions.into());
    }

    /// A primary and so many replicas in sync, known to the sentinel.
    pub fn with_replicas(replicas: u16, change: impl FnOnce(&mut Settings)) -> Table {
        let mut table = Table::new(change);
        let ports = 6380..6380 + replicas;
        table.nodes.insert(PRIMARY, primary("p", ports.clone()));
        for port in ports {
            table.nodes.insert(port, replica(&format!("r{port}"), PRIMARY, "up", 1000));
        }
        table.run_until(12_000, |t| t.monitor_has(usize::from(replicas)));
        table
    }

    pub fn monitor_has(&self, replicas: usize) -> bool {
        let known = self.sentinel.monitors()["m"].of(Kind::Replica).filter(|r| r.report.is_some()).count();
        known == replicas
    }

    pub fn step(&mut self, event: Event) {
        let actions = self.sentinel.step(Mono(self.now), event);
        self.carry_out(actions.into());
    }

    pub fn carry_out(&mut self, mut actions: VecDeque<Action>) {
        while let Some(action) = actions.pop_front() {
            let event = match action {
                Action::Connect { instance, lane, generation, addr, .. } => {
                    self.ports.insert(instance, addr.port);
                    let unable = self.unable.map(|words| Fall::Unable(words.into()));
                    if let Some(fall) = unable.or_else(|| self.broken.clone()) {
                        let event = Event::LinkDown { instance, lane, generation, fall };
                        actions.extend(self.sentinel.step(Mono(self.now), event));
                        continue;
                    }
                    let there = self.nodes.contains_key(&addr.port) || addr.port > 20_000;
                    if there {
                        Event::LinkUp { instance, lane, generation, local_ip: String::new() }
                    } else {
                        Event::LinkDown { instance, lane, generation, fall: Fall::Gone(String::new()) }
                    }
                }
                Action::Send { instance, generation, request, round } => {
                    match self.answer(instance, generation, request, round) {
                        Some(event) => event,
                        None => continue,
                    }
                }
                Action::Consult { monitor, ticket, question, .. } => {
                    let advice = match &question {
                        Consult::Election(Question::Campaign { .. }) if self.campaign.is_some() => {
                            Counsel::Election(self.campaign.clone().expect("just looked"))
                        }
                        Consult::Election(question) => Counsel::Election(RedisElection.advise(question)),
                        Consult::Selection(request) => Counsel::Selection(RedisSelection.rank(request)),
                    };
                    Event::Advice { monitor, ticket, advice }
                }
                Action::Emit(notice) => {
                    self.events.push(notice.name.to_owned());
                    continue;
                }
                Action::Script(Order::Run(_, argv)) => {
                    self.scripts.push(argv.join(" "));
                    continue;
                }
                Action::Reply { ticket: 1, reply, .. } => {
                    self.reply = Some(reply);
                    continue;
                }
                Action::Persist(state) => {
                    let began = Event::Writing { epoch: state.epoch };
                    actions.extend(self.sentinel.step(Mono(self.now), began));
                    Event::Written { ms: 0, error: self.disk_error.clone() }
                }
                Action::Log(_, text) => {
                    self.logs.push(text);
                    continue;
                }
                _ => continue,
            };
            actions.extend(self.sentinel.step(Mono(self.now), event));
        }
    }

    pub fn answer(&mut self, instance: InstanceId, generation: u64, request: Request, round: u64) -> Option<Event> {
        let port = self.ports[&instance];
        let reply = match &request {
            Request::AskDown { .. } => {
                self.open.push_back(Open { instance, generation, request, round });
                return None;
            }
            Request::Follow(_) | Request::HandOver { .. } | Request::ScriptKill => {
                self.told.push((self.now, port, request.clone()));
                Reply::ok()
            }
            Request::Spread { .. } => {
                self.spreads += 1;
                Reply::Array(Vec::new())
            }
            Request::InfoServer if port > 20_000 => Reply::Bulk(self.peer_info.clone()?),
            Request::Ping if port > 20_000 => Reply::Status("PONG".into()),
            Request::Info if port < 20_000 => Reply::Bulk(at(self.nodes.get(&port)?, self.now)),
            Request::Ping => match self.pings.get(&port) {
                Some(reply) => reply.clone(),
                None => self.nodes.get(&port).map(|_| Reply::Status("PONG".into()))?,
            },
            _ => return None,
        };
        Some(Event::Answer { instance, generation, request, reply, round })
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        self.run_until(ms + TICK_MS, |t| t.now >= end);
    }

    #[track_caller]
    pub fn run_until(&mut self, limit_ms: u64, holds: impl Fn(&Table) -> bool) {
        let end = self.now + limit_ms;
        while !holds(self) {
            assert!(self.now < end, "not within {limit_ms} ms; events: {:?}", self.events);
            self.now += TICK_MS;
            self.step(Event::Tick);
        }
    }

    /// A Keystead peer shows itself.
    pub fn meet_peer(&mut self) {
        let text = format!("PUBLISH __sentinel__:hello 127.0.0.1,26380,{PEER},0,m,127.0.0.1,{PRIMARY},0");
        self.command(&text);
        self.run(2_000);
    }

    pub fn command(&mut self, line: &str) {
        let argv = line.split(' ').map(str::to_owned).collect();
        self.step(Event::Command { ticket: 1, argv });
    }

    /// The oldest open question is answered: down or not, no vote.
    pub fn peer_says(&mut self, down: bool) {
        let Open { instance, generation, request, round } = self.open.pop_front().expect("a question");
        let reply = Reply::Array(vec![Reply::Int(down.into()), Reply::Bulk("*".into()), Reply::Int(0)]);
        self.step(Event::Answer { instance, generation, request, reply, round });
    }

    /// The oldest open question that asks for a vote is answered with one for the sentinel.
    pub fn peer_votes(&mut self) {
        let asks = |open: &Open| matches!(open.request, Request::AskDown { candidate: Some(_), .. });
        let at = self.open.iter().position(asks).expect("a question for a vote");
        let Open { instance, generation, request, round } = self.open.remove(at).expect("just found");
        let Request::AskDown { epoch, .. } = request else { unreachable!("just looked") };
        let reply = Reply::Array(vec![Reply::Int(1), Reply::Bulk(ME.into()), Reply::Int(epoch.0 as i64)]);
        self.step(Event::Answer { instance, generation, request, reply, round });
    }

    pub fn happened(&self, event: &str) -> usize {
        self.events.iter().filter(|name| *name == event).count()
    }

    /// Who would be promoted, and why each other one wouldn't.
    pub fn explained(&mut self) -> String {
        self.lines("SENTINEL EXPLAIN m")
    }

    /// A command's answer in lines.
    pub fn lines(&mut self, line: &str) -> String {
        let argv = line.split(' ').map(str::to_owned).collect();
        let mut actions: VecDeque<Action> =
            self.sentinel.step(Mono(self.now), Event::Command { ticket: 9, argv }).into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Consult { monitor, ticket, question: Consult::Selection(request), .. } => {
                    let advice = Counsel::Selection(RedisSelection.rank(&request));
                    actions.extend(self.sentinel.step(Mono(self.now), Event::Advice { monitor, ticket, advice }));
                }
                Action::Reply { ticket: 9, reply: Reply::Array(lines), .. } => {
                    return lines.iter().filter_map(Reply::text).collect::<Vec<_>>().join("\n");
                }
                _ => {}
            }
        }
        panic!("no answer");
    }
}

/// INFO at that moment.
fn at(text: &str, now: u64) -> String {
    let value = |value: &str| match value.strip_prefix('@').and_then(|since| since.parse::<i64>().ok()) {
        Some(since) => ((now as i64 - since) / 1_000).to_string(),
        None => value.to_owned(),
    };
    let line = |line: &str| line.split_once(':').map_or(line.to_owned(), |(key, v)| format!("{key}:{}", value(v)));
    text.lines().map(|text| line(text) + "\r\n").collect()
}

fn boot(now: u64, watch: Watch, saved: Option<State>, options: Options) -> Boot {
    Boot {
        now: Mono(now),
        id: ME.into(),
        announce: Addr::new("127.0.0.1", 26379),
        announce_fixed: true,
        watches: vec![watch],
        saved,
        seed: 1,
        options,
        strategies: Strategies { election: vec!["sentinel".into(), "manual".into()], selection: vec!["redis".into()] },
    }
}

/// INFO with the history it goes on with, and the one before.
pub fn with_history(info: String, now: &str, before: &str) -> String {
    format!("{info}master_replid:{now}\r\nmaster_replid2:{before}\r\n")
}

pub fn primary(run_id: &str, replicas: impl Iterator<Item = u16>) -> String {
    let lines: String = replicas.enumerate().map(|(n, p)| format!("slave{n}:ip=127.0.0.1,port={p}\r\n")).collect();
    format!("run_id:{run_id}\r\nrole:master\r\nmaster_repl_offset:1000\r\n{lines}")
}

pub fn replica(run_id: &str, of: u16, link: &str, offset: u64) -> String {
    format!(
        "run_id:{run_id}\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:{of}\r\nmaster_link_status:{link}\r\n\
         slave_repl_offset:{offset}\r\nslave_priority:100\r\n"
    )
}
