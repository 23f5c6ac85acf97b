//! One sentinel and the nodes it sees, answered for by hand: what each report of a data node, or each answer of a peer, leads to.

use keystead_sentinel::actions::{Action, Consult, Counsel, Event, Strategies, Watch};
use keystead_sentinel::election::{ElectionStrategy, RedisElection};
use keystead_sentinel::globals::Options;
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::select::{RedisSelection, ReplicaSelection};
use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::{Addr, InstanceId, Kind, Lane, Mono};
use keystead_sentinel::wire::{Reply, Request};
use std::collections::{BTreeMap, VecDeque};

const ME: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PEER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const PRIMARY: u16 = 6379;
/// Between two looks at the clock.
const TICK_MS: u64 = 20;

/// A question that is answered by hand later.
struct Open {
    instance: InstanceId,
    generation: u64,
    request: Request,
    round: u64,
}

/// The sentinel, its clock, and what the nodes answer.
struct Table {
    sentinel: Sentinel,
    now: u64,
    /// Ports of the data nodes and what INFO says; who isn't here can't be reached.
    nodes: BTreeMap<u16, String>,
    /// Who answers a PING with something else than PONG.
    pings: BTreeMap<u16, Reply>,
    /// What was told to a port: `Follow` and `ScriptKill`.
    told: Vec<(u64, u16, Request)>,
    /// Questions about the primary that wait for `peer_says`.
    open: VecDeque<Open>,
    /// Events by name.
    events: Vec<String>,
    ports: BTreeMap<InstanceId, u16>,
}

impl Table {
    fn new(change: impl FnOnce(&mut Settings)) -> Table {
        let mut settings = Settings::new(1);
        settings.down_after_ms = 1000;
        change(&mut settings);
        let watch = Watch { name: "m".into(), addr: Addr::new("127.0.0.1", PRIMARY), settings };
        let (sentinel, actions) = Sentinel::new(Boot {
            now: Mono(0),
            id: ME.into(),
            announce: Addr::new("127.0.0.1", 26379),
            announce_fixed: true,
            watches: vec![watch],
            saved: None,
            seed: 1,
            options: Options::default(),
            strategies: Strategies { election: vec!["sentinel".into()], selection: vec!["redis".into()] },
        });
        let mut table = Table {
            sentinel,
            now: 0,
            nodes: BTreeMap::new(),
            pings: BTreeMap::new(),
            told: Vec::new(),
            open: VecDeque::new(),
            events: Vec::new(),
            ports: BTreeMap::new(),
        };
        table.carry_out(actions.into());
        table
    }

    /// A primary and so many replicas in sync, known to the sentinel.
    fn with_replicas(replicas: u16, change: impl FnOnce(&mut Settings)) -> Table {
        let mut table = Table::new(change);
        let ports = 6380..6380 + replicas;
        table.nodes.insert(PRIMARY, primary("p", ports.clone()));
        for port in ports {
            table.nodes.insert(port, replica(&format!("r{port}"), PRIMARY, "up", 1000));
        }
        table.run_until(12_000, |t| t.monitor_has(usize::from(replicas)));
        table
    }

    fn monitor_has(&self, replicas: usize) -> bool {
        let known = self.sentinel.monitors()["m"].of(Kind::Replica).filter(|r| r.report.is_some()).count();
        known == replicas
    }

    fn step(&mut self, event: Event) {
        let actions = self.sentinel.step(Mono(self.now), event);
        self.carry_out(actions.into());
    }

    fn carry_out(&mut self, mut actions: VecDeque<Action>) {
        while let Some(action) = actions.pop_front() {
            let event = match action {
                Action::Connect { instance, lane, generation, addr, .. } => {
                    self.ports.insert(instance, addr.port);
                    let there = self.nodes.contains_key(&addr.port) || addr.port > 20_000;
                    if there {
                        Event::LinkUp { instance, lane, generation, local_ip: String::new() }
                    } else {
                        Event::LinkDown { instance, lane, generation, refused: false }
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
                        Consult::Election(question) => Counsel::Election(RedisElection.advise(question)),
                        Consult::Selection(request) => Counsel::Selection(RedisSelection.rank(request)),
                    };
                    Event::Advice { monitor, ticket, advice }
                }
                Action::Emit(notice) => {
                    self.events.push(notice.name.to_owned());
                    continue;
                }
                Action::Persist(_) => Event::Written { ms: 0 },
                _ => continue,
            };
            actions.extend(self.sentinel.step(Mono(self.now), event));
        }
    }

    fn answer(&mut self, instance: InstanceId, generation: u64, request: Request, round: u64) -> Option<Event> {
        let port = self.ports[&instance];
        let reply = match &request {
            Request::AskDown { .. } => {
                self.open.push_back(Open { instance, generation, request, round });
                return None;
            }
            Request::Follow(_) | Request::ScriptKill => {
                self.told.push((self.now, port, request.clone()));
                Reply::ok()
            }
            Request::Ping if port > 20_000 => Reply::Status("PONG".into()),
            Request::Info if port < 20_000 => Reply::Bulk(self.nodes.get(&port)?.clone()),
            Request::Ping => match self.pings.get(&port) {
                Some(reply) => reply.clone(),
                None => self.nodes.get(&port).map(|_| Reply::Status("PONG".into()))?,
            },
            _ => return None,
        };
        Some(Event::Answer { instance, generation, request, reply, round })
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        self.run_until(ms + TICK_MS, |t| t.now >= end);
    }

    #[track_caller]
    fn run_until(&mut self, limit_ms: u64, holds: impl Fn(&Table) -> bool) {
        let end = self.now + limit_ms;
        while !holds(self) {
            assert!(self.now < end, "not within {limit_ms} ms; events: {:?}", self.events);
            self.now += TICK_MS;
            self.step(Event::Tick);
        }
    }

    /// A Keystead peer shows itself.
    fn meet_peer(&mut self) {
        let text = format!("PUBLISH __sentinel__:hello 127.0.0.1,26380,{PEER},0,m,127.0.0.1,{PRIMARY},0");
        self.command(&text);
        self.run(2_000);
    }

    fn command(&mut self, line: &str) {
        let argv = line.split(' ').map(str::to_owned).collect();
        self.step(Event::Command { ticket: 1, argv });
    }

    /// The oldest open question is answered: down or not, no vote.
    fn peer_says(&mut self, down: bool) {
        let Open { instance, generation, request, round } = self.open.pop_front().expect("a question");
        let reply = Reply::Array(vec![Reply::Int(down.into()), Reply::Bulk("*".into()), Reply::Int(0)]);
        self.step(Event::Answer { instance, generation, request, reply, round });
    }

    fn happened(&self, event: &str) -> usize {
        self.events.iter().filter(|name| *name == event).count()
    }

    /// Who would be promoted, and why each other one wouldn't.
    fn explained(&mut self) -> String {
        let argv = ["SENTINEL", "EXPLAIN", "m"].map(str::to_owned).to_vec();
        let mut actions: VecDeque<Action> =
            self.sentinel.step(Mono(self.now), Event::Command { ticket: 9, argv }).into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Consult { monitor, ticket, question: Consult::Selection(request), .. } => {
                    let advice = Counsel::Selection(RedisSelection.rank(&request));
                    actions.extend(self.sentinel.step(Mono(self.now), Event::Advice { monitor, ticket, advice }));
                }
                Action::Reply { ticket: 9, reply: Reply::Array(lines) } => {
                    return lines.iter().filter_map(Reply::text).collect::<Vec<_>>().join("\n");
                }
                _ => {}
            }
        }
        panic!("no answer");
    }
}

fn primary(run_id: &str, replicas: impl Iterator<Item = u16>) -> String {
    let lines: String = replicas.enumerate().map(|(n, p)| format!("slave{n}:ip=127.0.0.1,port={p}\r\n")).collect();
    format!("run_id:{run_id}\r\nrole:master\r\nmaster_repl_offset:1000\r\n{lines}")
}

fn replica(run_id: &str, of: u16, link: &str, offset: u64) -> String {
    format!(
        "run_id:{run_id}\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:{of}\r\nmaster_link_status:{link}\r\n\
         slave_repl_offset:{offset}\r\nslave_priority:100\r\n"
    )
}

/// Found by a seed: a replica that had been in sync was started again without its data while the primary was dead, and
/// was taken for one in sync still.
#[test]
fn a_replica_that_came_back_without_its_keys_was_never_in_sync() {
    let mut table = Table::with_replicas(1, |_| {});
    assert!(table.explained().contains("6380 would be promoted"), "{}", table.explained());
    for (life, keys, verdict) in [
        ("with keys", "db0:keys=7,expires=0,avg_ttl=0\r\n", "6380 would be promoted"),
        ("without", "", "it was never in sync"),
    ] {
        table.nodes.insert(6380, replica(life, PRIMARY, "down", 1) + "master_link_down_since_seconds:-1\r\n" + keys);
        let reboots = table.happened("+reboot");
        table.run_until(12_000, |t| t.happened("+reboot") > reboots);
        assert!(table.explained().contains(verdict), "{life}: {}", table.explained());
    }
    // In sync again, or with a position in the stream from its file.
    table.nodes.insert(6380, replica("third", PRIMARY, "down", 900) + "master_link_down_since_seconds:3\r\n");
    table.run_until(12_000, |t| t.happened("+reboot") > 2);
    assert!(table.explained().contains("6380 would be promoted"), "{}", table.explained());
}

/// Both sides saw it down at the same time and asked each other: the answer that was on its way says less than the question.
#[test]
fn a_late_no_takes_nothing_back_that_was_heard_since() {
    let mut table = Table::with_replicas(1, |settings| settings.quorum = 2);
    table.meet_peer();
    table.sentinel.monitors()["m"].of(Kind::Sentinel).next().expect("the peer");
    table.nodes.remove(&PRIMARY);
    table.run_until(3_000, |t| t.happened("+sdown") > 0);
    table.run_until(1_000, |t| !t.open.is_empty());
    table.command(&format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {PRIMARY} 0 * {PEER} 0 p"));
    table.peer_says(false);
    table.run_until(100, |t| t.happened("+odown") == 1);
    assert_eq!(table.happened("-odown"), 0);
    // A no to what was asked since then counts.
    table.open.clear();
    table.run_until(1_000, |t| !t.open.is_empty());
    table.peer_says(false);
    assert_eq!(table.happened("-odown"), 1);
}

#[test]
fn no_more_replicas_than_parallel_syncs_are_told_at_a_time() {
    let mut table = Table::with_replicas(4, |settings| settings.parallel_syncs = 2);
    table.command("SENTINEL FAILOVER m FORCE");
    table.run_until(1_000, |t| t.told.iter().any(|(_, _, request)| *request == Request::Follow(None)));
    let promoted = table.told[0].1;
    table.nodes.insert(promoted, primary(&format!("r{promoted}"), 0..0));
    let told = |t: &Table| {
        let follow = |(_, port, request): &(u64, u16, Request)| match request {
            Request::Follow(Some(to)) if to.port == promoted && *port != PRIMARY => Some(*port),
            _ => None,
        };
        t.told.iter().filter_map(follow).collect::<Vec<_>>()
    };
    table.run_until(3_000, |t| told(t).len() == 2);
    // They load; nobody else is told, however long that takes.
    for port in told(&table) {
        table.nodes.insert(port, replica(&format!("r{port}"), promoted, "down", 1000));
    }
    table.run(8_000);
    assert_eq!(told(&table).len(), 2, "{:?}", table.told);
    let done = told(&table)[0];
    table.nodes.insert(done, replica(&format!("r{done}"), promoted, "up", 1000));
    table.run_until(3_000, |t| told(t).len() == 3);
    assert_eq!(table.happened("+slave-reconf-done"), 1);
}

#[test]
fn a_primary_that_says_it_is_a_replica_is_down_after_a_while() {
    let mut table = Table::with_replicas(1, |_| {});
    table.nodes.insert(PRIMARY, replica("p", 6380, "up", 1000));
    let since = table.now;
    table.run_until(12_000, |t| t.happened("-role-change") > 0);
    let noticed = table.now;
    assert_eq!(table.happened("+sdown"), 0);
    table.run_until(30_000, |t| t.happened("+sdown") > 0);
    // down-after and two cycles of INFO, as in Redis.
    assert_eq!(table.now - noticed, 21_000, "noticed {} ms later", noticed - since);
}

#[test]
fn a_replica_of_somebody_else_is_told_whom_to_follow() {
    let mut table = Table::with_replicas(2, |settings| settings.failover_timeout_ms = 20_000);
    table.nodes.insert(6381, replica("r6381", 6380, "up", 1000));
    table.run_until(60_000, |t| t.happened("+fix-slave-config") > 0);
    let (_, port, request) = table.told.last().expect("told");
    assert_eq!((*port, request), (6381, &Request::Follow(Some(Addr::new("127.0.0.1", PRIMARY)))));
}

#[test]
fn a_busy_node_is_asked_once_to_end_its_script() {
    let mut table = Table::with_replicas(1, |_| {});
    let busy = Reply::Error("BUSY Redis is busy running a script. You can only call SCRIPT KILL.".into());
    table.pings.insert(6380, busy);
    table.run(8_000);
    let kills: Vec<_> = table.told.iter().filter(|(_, _, request)| *request == Request::ScriptKill).collect();
    assert_eq!(kills.len(), 1, "{:?}", table.told);
    assert_eq!(kills[0].1, 6380);
    assert!(table.happened("+sdown") == 1, "{:?}", table.events);
}

/// The configuration of a peer's hello.
fn hello(table: &mut Table, primary: u16, epoch: u64) {
    table.command(&format!("PUBLISH __sentinel__:hello 127.0.0.1,26380,{PEER},{epoch},m,127.0.0.1,{primary},{epoch}"));
}

/// A primary that was frozen and replaced; this sentinel has heard of that.
fn replaced() -> Table {
    let mut table = Table::with_replicas(1, |_| {});
    table.meet_peer();
    table.nodes.remove(&PRIMARY);
    table.nodes.insert(6380, primary("r6380", 0..0));
    hello(&mut table, 6380, 1);
    table.run(100);
    assert_eq!(table.happened("+switch-master"), 1);
    table
}

/// When the old primary was told to follow the new one.
fn demoted(table: &Table) -> Option<u64> {
    let to_new = Request::Follow(Some(Addr::new("127.0.0.1", 6380)));
    table.told.iter().find(|(_, port, request)| *port == PRIMARY && *request == to_new).map(|(at, ..)| *at)
}

#[test]
fn an_old_primary_that_is_back_is_told_as_soon_as_that_is_safe_not_with_its_next_report() {
    let mut table = replaced();
    // This sentinel stood still too: what it knows counts only when somebody has said it again.
    table.now += 1_500;
    table.step(Event::Tick);
    table.nodes.insert(PRIMARY, primary("p", 0..0));
    table.run(1_300);
    assert_eq!(demoted(&table), None);
    hello(&mut table, 6380, 1);
    let safe = table.now;
    table.run_until(2_000, |t| demoted(t).is_some());
    assert!(table.now - safe <= 150, "after {} ms", table.now - safe);
}

#[test]
fn what_an_old_primary_was_told_over_a_link_that_broke_is_said_again() {
    let mut table = replaced();
    table.nodes.insert(PRIMARY, primary("p", 0..0));
    table.run_until(1_000, |t| demoted(t).is_some());
    let first = table.now;
    table.told.clear();
    let (instance, generation) = {
        let monitor = &table.sentinel.monitors()["m"];
        let node = monitor.of(Kind::Replica).find(|node| node.addr.port == PRIMARY).expect("the old primary");
        (node.id, node.command.generation)
    };
    table.step(Event::LinkDown { instance, lane: Lane::Command, generation, refused: false });
    table.run_until(2_000, |t| demoted(t).is_some());
    assert!(table.now - first <= 300, "after {} ms", table.now - first);
}

#[test]
fn peers_that_were_just_met_confirm_a_configuration_at_once() {
    let mut table = Table::with_replicas(1, |_| {});
    hello(&mut table, PRIMARY, 0);
    table.run(300);
    table.nodes.insert(6380, primary("r6380", 0..0));
    hello(&mut table, 6380, 1);
    table.run_until(300, |t| demoted(t).is_some());
}
