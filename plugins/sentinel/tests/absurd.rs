//! Numbers that nobody would send: from clients, peers, data nodes and the state file. None ends a sentinel or its failovers.

use keystead_sentinel::actions::{Action, Consult, Counsel, Event, Watch};
use keystead_sentinel::election::{ElectionStrategy, RedisElection};
use keystead_sentinel::events::Level;
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::select::{RedisSelection, ReplicaSelection};
use keystead_sentinel::settings::Settings;
use keystead_sentinel::state::State;
use keystead_sentinel::types::{Addr, Epoch, Mono};
use keystead_sentinel::wire::{Reply, Request};
use proptest::prelude::*;

const ME: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PEER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A sentinel and its clock; every link comes up, pings are answered, INFO is `info`, peers vote as `votes` says.
struct Table {
    sentinel: Sentinel,
    now: u64,
    info: String,
    vote: Reply,
    log: Vec<String>,
    events: Vec<String>,
    saved: Option<State>,
}

impl Table {
    fn new(saved: Option<State>) -> Table {
        let watch = Watch { name: "m".into(), addr: Addr::new("127.0.0.1", 6379), settings: Settings::new(1) };
        let (sentinel, actions) = Sentinel::new(Boot {
            now: Mono(0),
            id: ME.into(),
            announce: Addr::new("127.0.0.1", 26379),
            announce_fixed: true,
            watches: vec![watch],
            saved,
            seed: 1,
            options: Default::default(),
            strategies: Default::default(),
        });
        let (info, vote) = (String::new(), Reply::Null);
        let mut table = Table { sentinel, now: 0, info, vote, log: Vec::new(), events: Vec::new(), saved: None };
        table.carry_out(actions);
        table
    }

    fn step(&mut self, event: Event) -> Vec<Reply> {
        let actions = self.sentinel.step(Mono(self.now), event);
        self.carry_out(actions)
    }

    fn command(&mut self, line: &str) -> Vec<Reply> {
        let argv = line.split(' ').map(str::to_owned).collect();
        self.step(Event::Command { ticket: 1, argv })
    }

    fn hello(&mut self, epoch: u64, config_epoch: u64) {
        let text = format!("127.0.0.1,26380,{PEER},{epoch},m,127.0.0.1,6379,{config_epoch}");
        self.command(&format!("PUBLISH __sentinel__:hello {text}"));
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now += 100;
            self.step(Event::Tick);
        }
    }

    fn carry_out(&mut self, mut actions: Vec<Action>) -> Vec<Reply> {
        let mut replies = Vec::new();
        while !actions.is_empty() {
            let events: Vec<Event> =
                std::mem::take(&mut actions).into_iter().filter_map(|a| self.event(a, &mut replies)).collect();
            for event in events {
                actions.extend(self.sentinel.step(Mono(self.now), event));
            }
        }
        replies
    }

    fn event(&mut self, action: Action, replies: &mut Vec<Reply>) -> Option<Event> {
        match action {
            Action::Connect { instance, lane, generation, .. } => {
                Some(Event::LinkUp { instance, lane, generation, local_ip: "127.0.0.1".into() })
            }
            Action::Send { instance, generation, request, round } => {
                let reply = match &request {
                    Request::Ping => Reply::Status("PONG".into()),
                    Request::Info => Reply::Bulk(self.info.clone()),
                    Request::AskDown { .. } => self.vote.clone(),
                    _ => Reply::ok(),
                };
                Some(Event::Answer { instance, generation, request, reply, round })
            }
            Action::Consult { monitor, ticket, question, .. } => {
                let advice = match &question {
                    Consult::Election(question) => Counsel::Election(RedisElection.advise(question)),
                    Consult::Selection(request) => Counsel::Selection(RedisSelection.rank(request)),
                };
                Some(Event::Advice { monitor, ticket, advice })
            }
            Action::Persist(state) => {
                self.saved = Some(*state);
                None
            }
            Action::Reply { reply, .. } => {
                replies.push(reply);
                None
            }
            Action::Log(Level::Warning, text) => {
                self.log.push(text);
                None
            }
            Action::Emit(notice) => {
                self.events.push(format!("{} {}", notice.name, notice.payload));
                None
            }
            _ => None,
        }
    }
}

/// A primary with one replica that is fit, whatever its numbers are.
fn info(down_s: &str, offset: &str) -> String {
    format!(
        "run_id:r\r\nrole:master\r\nslave0:ip=127.0.0.1,port=6380,state=online\r\nmaster_link_down_since_seconds:{down_s}\r\n\
         master_repl_offset:{offset}\r\nslave_repl_offset:{offset}\r\nslave_priority:{offset}\r\n"
    )
}

#[test]
fn an_epoch_that_cannot_be_is_told_once_a_minute_and_changes_nothing() {
    let mut table = Table::new(None);
    table.hello(3, 0);
    for claim in [u64::MAX, 1 << 63, Epoch::LAST.0 + 1] {
        table.hello(claim, 0);
        table.hello(3, claim);
        let asked = table.command(&format!(
            "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 {} {PEER}",
            claim >> 1 | 1 << 62 | 1 << 61
        ));
        let nobody = vec![Reply::Int(0), Reply::Bulk("*".into()), Reply::Int(0)];
        assert_eq!(asked, [Reply::Array(nobody)]);
    }
    assert_eq!(table.sentinel.epoch(), Epoch(3));
    assert_eq!(table.sentinel.monitors()["m"].config_epoch, Epoch(0));
    let told = format!("m: epoch {} of sentinel {PEER} at 127.0.0.1:26380 isn't believed, 3 is ours", u64::MAX);
    assert_eq!(table.log, [told]);
    table.run(61_000);
    table.hello(u64::MAX, 0);
    assert_eq!(table.log.len(), 2);
    for n in 0..1000 {
        let line = format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 {} {n}", i64::MAX);
        table.command(&line);
    }
    assert!(table.log.len() < 40, "a crowd of senders doesn't fill the log: {}", table.log.len());
}

#[test]
fn a_vote_in_an_epoch_that_cannot_be_is_none() {
    let mut table = Table::new(None);
    table.hello(0, 0);
    table.vote = Reply::Array(vec![Reply::Int(1), Reply::Bulk(PEER.into()), Reply::Int(i64::MAX)]);
    table.info = "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:1\r\n".into(); // wrong for a primary: it is down
    table.run(150_000);
    assert!(table.events.iter().any(|event| event.starts_with("+vote-for-leader")), "{:?}", table.events);
    assert!(table.log.iter().any(|line| line.contains("isn't believed")), "{:?}", table.log);
    let peer = table.sentinel.monitors()["m"].instances.values().find(|i| i.run_id == PEER).expect("known");
    assert_eq!(peer.vote, None);
}

#[test]
fn at_the_end_of_all_epochs_nobody_stands_and_nothing_breaks() {
    let mut first = Table::new(None);
    first.info = info("0", "7");
    first.run(20_000);
    let mut state = first.saved.expect("written at the start");
    state.epoch = Epoch::LAST;
    let mut table = Table::new(Some(state));
    table.info = info("0", "7").replace("role:master", "role:slave");
    table.run(60_000);
    assert!(table.log.iter().any(|line| line.contains("the epochs are used up")), "{:?}", table.log);
    assert_eq!(table.sentinel.epoch(), Epoch::LAST);
}

#[test]
fn a_state_file_with_such_epochs_is_read_told_and_mended() {
    let mut first = Table::new(None);
    first.hello(7, 5);
    first.command(&format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 7 {PEER}"));
    first.run(1000);
    let state = first.saved.expect("written");
    let text = state.encode().expect("text");
    for (from, to) in
        [("    epoch: 7", "    epoch: 18446744073709551615"), ("config_epoch: 5", "config_epoch: 18446744073709551615")]
    {
        assert!(text.contains(from), "{text}");
        let state = State::decode(&text.replacen(from, to, 1)).expect("it can be read");
        let mut table = Table::new(Some(state));
        assert!(table.log.iter().any(|line| line.contains("18446744073709551615 can't be")), "{:?}", table.log);
        let expected = if from.contains("config") { 7 } else { 5 };
        assert_eq!(table.sentinel.epoch(), Epoch(expected), "{from}");
        table.hello(9, 9);
        assert_eq!(table.sentinel.monitors()["m"].config_epoch, Epoch(9));
        table.run(1000);
        assert!(table.saved.expect("written").encode().expect("text").contains("epoch: 9"));
    }
}

fn number() -> impl Strategy<Value = String> {
    let edges = [
        0,
        1,
        i64::MAX as u64,
        (i64::MAX as u64) + 1,
        u64::MAX,
        u64::MAX - 1,
        Epoch::FAR.0,
        Epoch::LAST.0,
        Epoch::LAST.0 + 1,
        u64::from(u32::MAX),
    ];
    prop_oneof![
        proptest::sample::select(edges.to_vec()).prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        (0_u64..10).prop_map(|n| n.to_string()),
    ]
}

/// A line for the sentinel, or (with `INFO`, `VOTE`, `WAIT`) what its nodes say from then on.
fn line() -> impl Strategy<Value = String> {
    let templates = vec![
        "PUBLISH __sentinel__:hello 127.0.0.1,26380,bbbb,#,m,127.0.0.1,6379,#",
        "PUBLISH __sentinel__:hello 127.0.0.1,#,cccc,#,m,127.0.0.1,#,#",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 # bbbb",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 # * bbbb # r",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 # # cccc",
        "SENTINEL SPREAD m quorum # bbbb 1",
        "SENTINEL SPREAD m down-after-milliseconds # bbbb #",
        "SENTINEL SET m down-after-milliseconds #",
        "SENTINEL SET m failover-timeout # GROUP",
        "SENTINEL SET m master-reboot-down-after-period #",
        "SENTINEL SET m forget-sentinels-after #",
        "SENTINEL SET m forget-replicas-after #",
        "SENTINEL SET m parallel-syncs #",
        "SENTINEL DEBUG info-period #",
        "SENTINEL DEBUG ping-period #",
        "SENTINEL DEBUG ask-period #",
        "SENTINEL DEBUG publish-period #",
        "SENTINEL DEBUG tilt-period #",
        "SENTINEL DEBUG tilt-trigger #",
        "SENTINEL DEBUG election-timeout #",
        "SENTINEL DEBUG slave-reconf-timeout #",
        "SENTINEL DEBUG min-link-reconnect-period #",
        "SENTINEL DEBUG default-down-after #",
        "SENTINEL MONITOR n 127.0.0.1 # #",
        "SENTINEL FAILOVER m FORCE",
        "SENTINEL FAILOVER m",
        "SENTINEL EXPLAIN m",
        "SENTINEL TIMELINE m #",
        "SENTINEL REPLICAS m",
        "SENTINEL MASTERS",
        "INFO # #",
        "SLAVE # #",
        "VOTE # #",
        "WAIT 1",
        "WAIT 9",
    ];
    (proptest::sample::select(templates), proptest::collection::vec(number(), 4)).prop_map(|(template, numbers)| {
        let mut parts = template.split('#');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.zip(&numbers).fold(first, |line, (part, number)| line + number + part)
    })
}

fn play(table: &mut Table, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["INFO", down_s, offset] => table.info = info(down_s, offset),
        ["SLAVE", down_s, offset] => {
            let more = "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:down";
            table.info = info(down_s, offset).replace("role:master", more);
        }
        ["VOTE", down, epoch] => {
            let int = |text: &str| Reply::Int(text.parse().unwrap_or(i64::MAX));
            table.vote = Reply::Array(vec![int(down), Reply::Bulk(ME.into()), int(epoch), int(epoch)]);
        }
        ["WAIT", seconds] => table.run(seconds.parse::<u64>().unwrap_or(1) * 1000),
        _ => {
            table.command(line);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_number_ends_a_sentinel(lines in proptest::collection::vec(line(), 1..40)) {
        let mut table = Table::new(None);
        table.info = info("0", "7");
        table.run(11_000);
        for line in &lines {
            play(&mut table, line);
        }
        table.run(1000);
        prop_assert!(table.sentinel.epoch() < Epoch::LAST);
        let text = table.saved.clone().expect("written").encode().expect("text");
        let mut again = Table::new(Some(State::decode(&text).expect("it can be read")));
        again.run(1000);
        let before = again.sentinel.epoch();
        again.command("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 9 bbbb");
        prop_assert_eq!(again.sentinel.epoch().max(before), again.sentinel.epoch());
        prop_assert!(again.sentinel.epoch().next().is_some());
    }
}
