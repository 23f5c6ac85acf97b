//! The machine by hand: one event in, the actions looked at. What many events together do is the simulator's.

use keystead_sentinel::actions::{Action, Consult, Counsel, Event, Fall, Strategies, Watch};
use keystead_sentinel::election::{ElectionStrategy, RedisElection};
use keystead_sentinel::events::Level;
use keystead_sentinel::globals::Options;
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::select::{RedisSelection, ReplicaSelection};
use keystead_sentinel::settings::Settings;
use keystead_sentinel::state::State;
use keystead_sentinel::types::{Addr, InstanceId, Kind, Lane, Mono};
use keystead_sentinel::wire::{Reply, Request};

const ME: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PEER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const OTHER: &str = "cccccccccccccccccccccccccccccccccccccccc";

fn boot(saved: Option<State>) -> Sentinel {
    boot_with(saved, &[("m", 6379)]).0
}

fn boot_with(saved: Option<State>, primaries: &[(&str, u16)]) -> (Sentinel, Vec<Action>) {
    let mut settings = Settings::new(1);
    settings.down_after_ms = 1000;
    let watch = |(name, port): &(&str, u16)| Watch {
        name: (*name).into(),
        addr: Addr::new("127.0.0.1", *port),
        settings: settings.clone(),
    };
    Sentinel::new(Boot {
        now: Mono(0),
        id: ME.into(),
        announce: Addr::new("127.0.0.1", 26379),
        announce_fixed: true,
        watches: primaries.iter().map(watch).collect(),
        saved,
        seed: 1,
        options: Options::default(),
        strategies: Strategies {
            election: vec!["sentinel".into(), "manual".into()],
            selection: vec!["redis".into(), "freshest".into()],
        },
    })
}

/// A command; the built-in strategy answers what it is asked.
fn command(sentinel: &mut Sentinel, now: u64, line: &str) -> Vec<Action> {
    let argv = line.split(' ').map(str::to_owned).collect();
    let actions = sentinel.step(Mono(now), Event::Command { ticket: 1, argv });
    with_advice(sentinel, now, actions)
}

/// Other sentinels are reached and answer pings; data nodes are not.
fn peers_answer(sentinel: &mut Sentinel, now: u64, actions: &[Action]) -> Vec<Action> {
    let mut more = Vec::new();
    for action in actions {
        let event = match action {
            Action::Connect { instance, lane, generation, kind: Kind::Sentinel, .. } => {
                Event::LinkUp { instance: *instance, lane: *lane, generation: *generation, local_ip: String::new() }
            }
            Action::Send { instance, generation, request: Request::Ping, round } => Event::Answer {
                instance: *instance,
                generation: *generation,
                request: Request::Ping,
                reply: Reply::Status("PONG".into()),
                round: *round,
            },
            _ => continue,
        };
        let actions = sentinel.step(Mono(now), event);
        more.extend(with_advice(sentinel, now, actions));
    }
    more
}

fn with_advice(sentinel: &mut Sentinel, now: u64, mut actions: Vec<Action>) -> Vec<Action> {
    let asked: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Consult { monitor, ticket, question: Consult::Election(question), .. } => {
                Some((monitor.clone(), *ticket, Counsel::Election(RedisElection.advise(question))))
            }
            Action::Consult { monitor, ticket, question: Consult::Selection(request), .. } => {
                Some((monitor.clone(), *ticket, Counsel::Selection(RedisSelection.rank(request))))
            }
            _ => None,
        })
        .collect();
    for (monitor, ticket, advice) in asked {
        actions.extend(sentinel.step(Mono(now), Event::Advice { monitor, ticket, advice }));
    }
    actions
}

fn reply(actions: &[Action]) -> Reply {
    let found =
        actions.iter().find_map(|a| if let Action::Reply { reply, .. } = a { Some(reply.clone()) } else { None });
    found.expect("a reply")
}

fn vote_of(actions: &[Action]) -> (String, i64) {
    let Reply::Array(items) = reply(actions) else { panic!("an array") };
    (items[1].text().expect("a leader").to_owned(), items[2].int().expect("an epoch"))
}

fn ask(epoch: u64, candidate: &str) -> String {
    format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 {epoch} {candidate}")
}

#[test]
fn a_vote_is_on_disk_before_it_leaves_and_is_given_once_an_epoch() {
    let mut sentinel = boot(None);
    let actions = command(&mut sentinel, 10, &ask(5, PEER));
    let at = |what: fn(&Action) -> bool| actions.iter().position(what).expect("it is there");
    let saved = at(|a| matches!(a, Action::Persist(state) if state.monitors[0].leader == PEER));
    assert!(saved < at(|a| matches!(a, Action::Reply { .. })), "persist, then send: {actions:?}");
    assert_eq!(vote_of(&actions), (PEER.into(), 5));
    // Another candidate of the same epoch, and of an older one, hears of the vote that was given.
    assert_eq!(vote_of(&command(&mut sentinel, 20, &ask(5, OTHER))), (PEER.into(), 5));
    assert_eq!(vote_of(&command(&mut sentinel, 20, &ask(4, OTHER))), (PEER.into(), 5));
}

#[test]
fn a_vote_survives_a_crash() {
    let mut sentinel = boot(None);
    let actions = command(&mut sentinel, 10, &ask(5, PEER));
    let disk = actions.iter().rev().find_map(|a| if let Action::Persist(s) = a { Some((**s).clone()) } else { None });
    let mut again = boot(disk);
    assert_eq!(again.id(), ME);
    assert_eq!(vote_of(&command(&mut again, 10, &ask(5, OTHER))), (PEER.into(), 5));
}

fn last_saved(actions: &[Action]) -> Option<State> {
    actions.iter().rev().find_map(|a| if let Action::Persist(s) = a { Some((**s).clone()) } else { None })
}

#[test]
fn a_primary_that_is_watched_anew_gets_no_second_vote_in_an_epoch() {
    let mut sentinel = boot(None);
    assert_eq!(vote_of(&command(&mut sentinel, 10, &ask(5, PEER))), (PEER.into(), 5));
    command(&mut sentinel, 20, "SENTINEL REMOVE m");
    command(&mut sentinel, 20, "SENTINEL MONITOR m 127.0.0.1 6379 1");
    assert_ne!(vote_of(&command(&mut sentinel, 30, &ask(5, OTHER))).0, OTHER);
    assert_eq!(vote_of(&command(&mut sentinel, 40, &ask(6, OTHER))), (OTHER.into(), 6));
}

#[test]
fn a_primary_that_was_set_up_anew_keeps_its_settings_and_its_removal_over_a_restart() {
    let mut sentinel = boot(None);
    command(&mut sentinel, 10, "SENTINEL REMOVE m");
    let saved = last_saved(&command(&mut sentinel, 20, "SENTINEL MONITOR m 127.0.0.1 6379 7"));
    let (mut again, actions) = boot_with(saved, &[("m", 6379)]);
    assert_eq!(again.monitors()["m"].settings.quorum, 7);
    assert!(format!("{actions:?}").contains("was set up by SENTINEL MONITOR"), "{actions:?}");
    let saved = last_saved(&command(&mut again, 30, "SENTINEL REMOVE m"));
    assert!(boot(saved).monitors().is_empty());
}

#[test]
fn a_leader_at_work_is_left_alone_until_it_falls_silent() {
    let mut sentinel = boot(None);
    assert_eq!(vote_of(&command(&mut sentinel, 10, &ask(5, PEER))), (PEER.into(), 5));
    assert_eq!(vote_of(&command(&mut sentinel, 500, &ask(6, OTHER))), (PEER.into(), 5), "the peer works on it");
    assert_eq!(vote_of(&command(&mut sentinel, 1_000, &ask(6, PEER))), (PEER.into(), 6), "it may go on itself");
    let silent = 1_000 + 3_500;
    for now in (1_100..silent).step_by(100) {
        sentinel.step(Mono(now), Event::Tick);
    }
    assert_eq!(vote_of(&command(&mut sentinel, silent, &ask(7, OTHER))), (OTHER.into(), 7));
}

/// Seed 45370 of the simulator: a candidate voted for another one in the next epoch, and then won its own.
#[test]
fn a_candidate_that_votes_for_another_gives_up() {
    let mut sentinel = boot(None);
    let hello = |id: &str, port: u16| format!("PUBLISH __sentinel__:hello 127.0.0.1,{port},{id},0,m,127.0.0.1,6379,0");
    command(&mut sentinel, 10, &hello(PEER, 1));
    let mut now = 10;
    while now < 8_000 && !sentinel.monitors()["m"].failover.in_progress() {
        now = sentinel.next_wake().0.min(now + 40);
        let actions = sentinel.step(Mono(now), Event::Tick);
        let mut work = with_advice(&mut sentinel, now, actions);
        while !work.is_empty() {
            work = peers_answer(&mut sentinel, now, &work);
        }
    }
    assert_eq!(sentinel.monitors()["m"].failover.wire_name(), "wait_start", "it campaigns");
    let next = sentinel.epoch().0 + 1;
    let actions = command(&mut sentinel, now, &ask(next, PEER));
    assert_eq!(vote_of(&actions).0, PEER);
    assert_eq!(sentinel.monitors()["m"].failover.wire_name(), "none", "and no longer does");
}

#[test]
fn knowledge_from_before_a_stall_gives_no_vote() {
    let mut sentinel = boot(None);
    let hello = |id: &str, port: u16| format!("PUBLISH __sentinel__:hello 127.0.0.1,{port},{id},0,m,127.0.0.1,6379,0");
    command(&mut sentinel, 10, &hello(PEER, 1));
    command(&mut sentinel, 11, &hello(OTHER, 2));
    // Two peers are known and neither link is up: fewer than a majority can be heard.
    assert_eq!(vote_of(&command(&mut sentinel, 20, &ask(5, PEER))), ("*".into(), 0));
}

#[test]
fn questions_about_another_address_are_answered_with_nothing() {
    let mut sentinel = boot(None);
    let actions = command(&mut sentinel, 10, &format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 5 {PEER}"));
    assert_eq!(vote_of(&actions), ("*".into(), 0));
    assert_eq!(sentinel.epoch().0, 0);
}

#[test]
fn a_newer_hello_changes_the_configuration_and_an_older_one_never_does() {
    let mut sentinel = boot(None);
    let hello = |port: u16, epoch: u64| {
        format!("PUBLISH __sentinel__:hello 127.0.0.1,26380,{PEER},{epoch},m,127.0.0.1,{port},{epoch}")
    };
    let primary = |sentinel: &Sentinel| sentinel.monitors()["m"].current_addr().port;
    let actions = command(&mut sentinel, 10, &hello(7000, 3));
    assert_eq!(primary(&sentinel), 7000);
    let switched = |a: &Action| matches!(a, Action::Emit(n) if n.name == "+switch-master" && n.payload == "m 127.0.0.1 6379 127.0.0.1 7000");
    assert!(actions.iter().any(switched), "{actions:?}");
    command(&mut sentinel, 20, &hello(7001, 2));
    command(&mut sentinel, 30, &hello(7002, 3));
    assert_eq!(primary(&sentinel), 7000);
    assert_eq!(sentinel.epoch().0, 3);
}

#[test]
fn a_silent_primary_is_down_after_three_times_down_after_if_it_never_answered() {
    let mut sentinel = boot(None);
    let down = |sentinel: &Sentinel| sentinel.monitors()["m"].primary().down_since;
    for now in (0..=4_000).step_by(100) {
        sentinel.step(Mono(now), Event::Tick);
    }
    assert_eq!(down(&sentinel), Some(Mono(3_000)));
}

#[test]
fn fast_detection_takes_two_refused_connections_for_a_fall() {
    let fall = |fast: bool| {
        let mut sentinel = boot(None);
        let on = if fast { "yes" } else { "no" };
        let mut actions = command(&mut sentinel, 0, &format!("SENTINEL SET m fast-detection {on}"));
        for now in (0..2_000).step_by(10) {
            for action in actions {
                let Action::Connect { instance, lane, generation, .. } = action else { continue };
                let event = Event::LinkDown { instance, lane, generation, fall: Fall::Refused };
                sentinel.step(Mono(now), event);
            }
            if let Some(at) = sentinel.monitors()["m"].primary().down_since {
                return Some(at.0);
            }
            actions = sentinel.step(Mono(now + 10), Event::Tick);
        }
        None
    };
    assert!(fall(true).is_some_and(|at| (550..700).contains(&at)), "{:?}", fall(true)); // the first connection is given up after 500
    assert_eq!(fall(false), None);
}

#[test]
fn only_who_is_gone_can_be_forgotten() {
    let mut sentinel = boot(None);
    let hello = format!("PUBLISH __sentinel__:hello 127.0.0.1,1,{PEER},0,m,127.0.0.1,6379,0");
    let actions = command(&mut sentinel, 10, &hello);
    peers_answer(&mut sentinel, 11, &actions);
    assert_eq!(sentinel.monitors()["m"].voters(), 2);
    let refused = reply(&command(&mut sentinel, 20, &format!("SENTINEL FORGET m {PEER}")));
    assert!(refused.error().is_some_and(|text| text.contains("is alive")), "{refused:?}");
    for now in (50..6_000).step_by(40) {
        sentinel.step(Mono(now), Event::Tick);
    }
    let actions = command(&mut sentinel, 6_010, &format!("SENTINEL FORGET m {PEER}"));
    assert_eq!(reply(&actions), Reply::ok());
    assert!(actions.iter().any(|a| matches!(a, Action::Persist(state) if state.monitors[0].sentinels.is_empty())));
    assert_eq!(sentinel.monitors()["m"].voters(), 1);
    let unknown = reply(&command(&mut sentinel, 6_020, &format!("SENTINEL FORGET m {OTHER}")));
    assert!(unknown.error().is_some_and(|text| text.starts_with("ERR No such sentinel")), "{unknown:?}");
}

#[test]
fn a_rehearsal_says_what_would_happen_and_changes_nothing() {
    let mut sentinel = boot(None);
    for (what, expected) in
        [("EXPLAIN m", "blocked: no replica can be promoted"), ("FAILOVER m DRYRUN", "nothing would happen")]
    {
        let actions = command(&mut sentinel, 10, &format!("SENTINEL {what}"));
        let Reply::Array(lines) = reply(&actions) else { panic!("{actions:?}") };
        assert!(lines.iter().any(|line| line.text().is_some_and(|text| text.contains(expected))), "{what}: {lines:?}");
        assert_eq!(sentinel.epoch().0, 0);
    }
    let refused = reply(&command(&mut sentinel, 20, "SENTINEL FAILOVER m"));
    assert_eq!(refused.error(), Some("NOGOODSLAVE No suitable replica to promote"));
    let timeline = reply(&command(&mut sentinel, 30, "SENTINEL TIMELINE m 5 JSON"));
    assert_eq!(timeline, Reply::Array(Vec::new()));
    assert!(reply(&command(&mut sentinel, 40, "SENTINEL TIMELINE nobody")).error().is_some());
}

/// A strategy that takes its time: who asked for a vote is answered all the same when the primary is reset or removed.
#[test]
fn a_vote_that_is_thought_about_is_answered_when_its_primary_goes() {
    for line in ["SENTINEL RESET *", "SENTINEL REMOVE m"] {
        let mut sentinel = boot(None);
        let argv = ask(5, PEER).split(' ').map(str::to_owned).collect();
        let actions = sentinel.step(Mono(10), Event::Command { ticket: 7, argv });
        let ticket =
            actions.iter().find_map(|a| if let Action::Consult { ticket, .. } = a { Some(*ticket) } else { None });
        assert!(!actions.iter().any(|a| matches!(a, Action::Reply { .. })), "it waits: {actions:?}");
        let argv = line.split(' ').map(str::to_owned).collect();
        let actions = sentinel.step(Mono(20), Event::Command { ticket: 8, argv });
        let answered = actions.iter().any(|a| matches!(a, Action::Reply { ticket: 7, reply: Reply::Array(_), .. }));
        assert!(answered, "{line}: {actions:?}");
        // What the strategy says later finds nobody, and gives no vote.
        let advice = Counsel::Election(keystead_sentinel::election::Advice::Grant);
        let late = Event::Advice { monitor: "m".into(), ticket: ticket.expect("a question"), advice };
        let actions = sentinel.step(Mono(30), late);
        assert!(!actions.iter().any(|a| matches!(a, Action::Reply { .. } | Action::Persist(_))), "{actions:?}");
    }
}

const KEY: &str = "sixteen letters!";

fn hello(epoch: u64) -> String {
    format!("127.0.0.1,1,{PEER},0,m,127.0.0.1,6380,{epoch}")
}

fn publish(sentinel: &mut Sentinel, now: u64, text: &str) -> Vec<Action> {
    command(sentinel, now, &format!("PUBLISH __sentinel__:hello {text}"))
}

fn told(actions: &[Action], event: &str) -> usize {
    actions.iter().filter(|a| matches!(a, Action::Emit(notice) if notice.name == event)).count()
}

#[test]
fn with_a_key_only_signed_hellos_are_taken_and_each_once() {
    let mut peer = keystead_sentinel::sign::Signing::new(Some(KEY.into()), None, 1, &[]);
    let mut sentinel = boot(None);
    // Without a key everybody's hello is read, signed or not.
    publish(&mut sentinel, 10, &peer.seal(hello(1)));
    assert_eq!(sentinel.monitors()["m"].config_epoch.0, 1);
    let argv = ["SENTINEL", "CONFIG", "SET", "hello-key", KEY].map(str::to_owned).to_vec();
    let actions = sentinel.step(Mono(20), Event::Command { ticket: 1, argv });
    assert_eq!(reply(&actions), Reply::ok());
    let shown = reply(&command(&mut sentinel, 25, "SENTINEL CONFIG GET hello-key"));
    assert_eq!(shown, Reply::Map(vec![("hello-key".into(), Reply::Bulk("******".into()))]));
    // The first of them is told, the others of this minute are counted.
    let actions = publish(&mut sentinel, 30, &hello(2));
    assert_eq!(told(&actions, "-hello-refused"), 1, "{actions:?}");
    assert_eq!(told(&publish(&mut sentinel, 40, &hello(2)), "-hello-refused"), 0);
    let mut thief = keystead_sentinel::sign::Signing::new(Some("another key of sixteen".into()), None, 1, &[]);
    assert_eq!(told(&publish(&mut sentinel, 50, &thief.seal(hello(3))), "-hello-refused"), 1);
    assert_eq!(sentinel.monitors()["m"].config_epoch.0, 1);
    // Nor does one get a vote that has shown no signed hello since.
    assert_eq!(vote_of(&command(&mut sentinel, 60, &ask(9, PEER))).1, 0);
    let signed = peer.seal(hello(4));
    publish(&mut sentinel, 70, &signed);
    assert_eq!(sentinel.monitors()["m"].config_epoch.0, 4);
    assert_eq!(told(&publish(&mut sentinel, 80, &signed), "-hello-refused"), 1, "the same one again");
    let Reply::Array(lines) = reply(&command(&mut sentinel, 90, "SENTINEL EXPLAIN m")) else { panic!("lines") };
    let lines: Vec<&str> = lines.iter().filter_map(Reply::text).collect();
    for expected in ["not signed (2 so far", "signed with another key (1 so far", "sent before (1 so far"] {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected}: {lines:#?}");
    }
}

#[test]
fn own_hellos_are_signed_once_there_is_a_key_and_the_state_counts_lives() {
    let mut options = Options { hello_key: Some(KEY.into()), ..Options::default() };
    options.port = 26379;
    let mut saved = None;
    for life in 1..=2 {
        let (mut sentinel, actions) = Sentinel::new(Boot {
            now: Mono(0),
            id: ME.into(),
            announce: Addr::new("127.0.0.1", 26379),
            announce_fixed: true,
            watches: vec![Watch { name: "m".into(), addr: Addr::new("127.0.0.1", 6379), settings: Settings::new(1) }],
            saved: saved.take(),
            seed: 1,
            options: options.clone(),
            strategies: Strategies::default(),
        });
        let connect = actions.iter().find_map(|a| match a {
            Action::Connect { instance, lane: Lane::Command, generation, .. } => Some((*instance, *generation)),
            _ => None,
        });
        let (instance, generation) = connect.expect("a link to the primary");
        let lane = Lane::Command;
        let up = Event::LinkUp { instance, lane, generation, local_ip: "127.0.0.1".into() };
        sentinel.step(Mono(1), up);
        let sent = sentinel.step(Mono(3_000), Event::Tick);
        let hello = sent.iter().find_map(|a| match a {
            Action::Send { request: Request::Hello(text), .. } => Some(text.clone()),
            _ => None,
        });
        let hello = hello.expect("a hello");
        assert!(hello.contains(&format!(",k1.{life}.1.")), "{hello}");
        saved = actions.into_iter().find_map(|a| if let Action::Persist(state) = a { Some(*state) } else { None });
    }
}

/// An answer to the primary's link, whoever asked.
fn answer(sentinel: &mut Sentinel, now: u64, link: (InstanceId, u64), request: Request, reply: Reply) -> Vec<Action> {
    let event = Event::Answer { instance: link.0, generation: link.1, request, reply, round: 0 };
    sentinel.step(Mono(now), event)
}

fn info(run_id: &str) -> Reply {
    Reply::Bulk(format!("run_id:{run_id}\r\nrole:master\r\n"))
}

#[test]
fn a_primary_that_does_not_end_its_restart_is_down_as_long_as_it_is_one() {
    let mut sentinel = boot(None);
    command(&mut sentinel, 0, "SENTINEL SET m master-reboot-down-after-period 5000");
    let id = sentinel.monitors()["m"].primary().id;
    // What `boot` wanted opened is tried again.
    let (again, lane) = (sentinel.step(Mono(600), Event::Tick), Lane::Command);
    let generation = again.iter().find_map(|a| match a {
        Action::Connect { lane: Lane::Command, generation, .. } => Some(*generation),
        _ => None,
    });
    let link = (id, generation.expect("a link to the primary"));
    sentinel.step(Mono(600), Event::LinkUp { instance: id, lane, generation: link.1, local_ip: String::new() });
    answer(&mut sentinel, 600, link, Request::Info, info("before"));
    answer(&mut sentinel, 1_000, link, Request::Info, info("after"));
    let loading = || Reply::Error("LOADING Keystead is loading the dataset in memory".into());
    let down = |sentinel: &Sentinel| sentinel.monitors()["m"].instances[&id].down_since;
    for now in (1_000..6_000).step_by(200) {
        answer(&mut sentinel, now, link, Request::Ping, loading());
        assert_eq!(down(&sentinel), None);
    }
    answer(&mut sentinel, 6_100, link, Request::Ping, loading());
    assert_eq!(down(&sentinel), Some(Mono(6_100)));
    publish(&mut sentinel, 6_200, &hello(1));
    answer(&mut sentinel, 6_300, link, Request::Ping, loading());
    assert_eq!((sentinel.monitors()["m"].current_addr().port, down(&sentinel)), (6380, None), "a replica loads");
}

#[test]
fn a_peer_that_answered_on_a_shared_link_is_not_asked_and_not_down() {
    let mut sentinel = boot(None);
    let found = publish(&mut sentinel, 10, &hello(0));
    let peer = found.iter().find_map(|a| match a {
        Action::Connect { instance, generation, kind: Kind::Sentinel, .. } => Some((*instance, *generation)),
        _ => None,
    });
    let (instance, generation) = peer.expect("a link to the peer");
    let up = Event::LinkUp { instance, lane: Lane::Command, generation, local_ip: String::new() };
    sentinel.step(Mono(10), up);
    // The first one ends this sentinel's isolation, all are asked anew, and the last one answers that.
    for now in [20, 30, 40] {
        answer(&mut sentinel, now, (instance, generation), Request::Ping, Reply::Status("PONG".into()));
    }
    let pings = |actions: &[Action]| {
        actions.iter().filter(|a| matches!(a, Action::Send { request: Request::Ping, .. })).count()
    };
    for now in (100..5_000).step_by(100) {
        let alive = Event::Alive { instances: vec![(instance, generation)] };
        let said = sentinel
            .step(Mono(now), alive)
            .iter()
            .chain(&sentinel.step(Mono(now + 1), Event::Tick))
            .cloned()
            .collect::<Vec<_>>();
        assert_eq!(pings(&said), 0, "{now}");
        assert_eq!(sentinel.monitors()["m"].instances[&instance].down_since, None);
    }
    let stale = Event::Alive { instances: vec![(instance, generation + 1)] };
    sentinel.step(Mono(5_050), stale);
    assert_eq!(pings(&sentinel.step(Mono(5_110), Event::Tick)), 1, "another link's answer is nobody's here");
}

#[test]
fn what_is_saved_for_one_primary_is_made_anew_for_no_other() {
    let (mut sentinel, first) = boot_with(None, &[("l", 6378), ("m", 6379), ("n", 6380)]);
    let state = |actions: &[Action]| {
        actions.iter().find_map(|a| if let Action::Persist(state) = a { Some((**state).clone()) } else { None })
    };
    let before = state(&first).expect("a new sentinel saves its id");
    let asked = command(&mut sentinel, 10, "SENTINEL SET m quorum 7");
    let after = state(&asked).expect("a setting that was changed is saved");
    let same = |n: usize| before.monitors[n].is_same(&after.monitors[n]);
    assert_eq!([same(0), same(1), same(2)], [true, false, true]);
    command(&mut sentinel, 20, "SENTINEL REMOVE l");
    let removed = state(&command(&mut sentinel, 30, "SENTINEL REMOVE n")).expect("saved");
    assert_eq!(removed.monitors.len(), 1);
    assert!(removed.monitors[0].is_same(&after.monitors[1]), "looked at again, and the same");
}

/// As Redis does: who has another's address and another id has lost its state, and the old id votes no more.
#[test]
fn a_peer_with_a_new_id_takes_the_place_of_the_old_one_for_every_primary() {
    let (mut sentinel, _) = boot_with(None, &[("m", 6379), ("n", 6380)]);
    let hello = |id: &str, port: u16, name: &str, of: u16| format!("127.0.0.1,{port},{id},0,{name},127.0.0.1,{of},0");
    for (name, of) in [("m", 6379), ("n", 6380)] {
        publish(&mut sentinel, 10, &hello(PEER, 1, name, of));
        publish(&mut sentinel, 11, &hello(OTHER, 2, name, of));
    }
    let known = |sentinel: &Sentinel, name: &str| {
        let ids = sentinel.monitors()[name].of(Kind::Sentinel).map(|i| i.run_id[..1].to_owned());
        ids.collect::<Vec<_>>().concat()
    };
    let mut last = PEER.to_owned();
    for (n, new) in ["d", "e", "f"].into_iter().enumerate() {
        let id = new.repeat(40);
        let actions = publish(&mut sentinel, 20 + n as u64, &hello(&id, 1, "m", 6379));
        assert_eq!((told(&actions, "+sentinel-invalid-addr"), told(&actions, "+sentinel")), (1, 1), "{actions:?}");
        let saved =
            actions.iter().find_map(|a| if let Action::Persist(state) = a { Some(state.clone()) } else { None });
        let saved = saved.expect("who votes is saved");
        assert!(saved.monitors.iter().all(|m| m.sentinels.iter().all(|s| s.id != last)), "{saved:?}");
        assert_eq!((sentinel.monitors()["m"].voters(), known(&sentinel, "m")), (3, format!("c{new}")));
        assert_eq!(known(&sentinel, "n"), "c", "it has said nothing of this one yet");
        publish(&mut sentinel, 20 + n as u64, &hello(&id, 1, "n", 6380));
        assert_eq!(sentinel.monitors()["n"].voters(), 3);
        last = id;
    }
}

/// One that moved is found by its id, and who was known at its new address is still a voter: it may have moved too.
#[test]
fn peers_that_change_places_stay_who_they_are() {
    let mut sentinel = boot(None);
    let hello = |id: &str, port: u16| format!("127.0.0.1,{port},{id},0,m,127.0.0.1,6379,0");
    publish(&mut sentinel, 10, &hello(PEER, 1));
    publish(&mut sentinel, 11, &hello(OTHER, 2));
    let moved = publish(&mut sentinel, 12, &hello(PEER, 2));
    assert_eq!((told(&moved, "+sentinel-address-switch"), sentinel.monitors()["m"].voters()), (1, 3));
    publish(&mut sentinel, 13, &hello(OTHER, 1));
    let mut ports: Vec<_> =
        sentinel.monitors()["m"].of(Kind::Sentinel).map(|i| (i.run_id.clone(), i.addr.port)).collect();
    ports.sort();
    assert_eq!(ports, [(PEER.to_owned(), 2), (OTHER.to_owned(), 1)]);
}

/// Which replies wait for a disk that is full, and which don't.
#[test]
fn what_only_looks_is_answered_without_a_disk() {
    let mut sentinel = boot(None);
    let promises = |sentinel: &mut Sentinel, now: u64, line: &str| {
        let actions = command(sentinel, now, line);
        let found =
            actions.iter().find_map(|a| if let Action::Reply { promises, .. } = a { Some(*promises) } else { None });
        found.unwrap_or_else(|| panic!("{line}: {actions:?}"))
    };
    for line in [
        "SENTINEL MASTERS",
        "SENTINEL MASTER m",
        "SENTINEL REPLICAS m",
        "SENTINEL SENTINELS m",
        "SENTINEL GET-MASTER-ADDR-BY-NAME m",
        "SENTINEL CKQUORUM m",
        "SENTINEL EXPLAIN m",
        "SENTINEL TIMELINE",
        "SENTINEL FAILOVER m DRYRUN",
        "SENTINEL SET nobody quorum 1",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 0 *",
    ] {
        assert!(!promises(&mut sentinel, 10, line), "{line}");
    }
    for line in ["SENTINEL SET m quorum 2", "SENTINEL MONITOR o 127.0.0.1 7 1", &ask(5, PEER)] {
        assert!(promises(&mut sentinel, 20, line), "{line}");
    }
}

/// A plugin was taken out of the file while the state still names its strategy.
#[test]
fn a_kept_strategy_that_is_gone_is_told_with_its_place_and_the_way_out() {
    let mut sentinel = boot(None);
    let state = |actions: Vec<Action>| {
        actions.into_iter().rev().find_map(|a| if let Action::Persist(state) = a { Some(*state) } else { None })
    };
    let saved = state(command(&mut sentinel, 10, "SENTINEL SET m election-strategy manual")).expect("saved");
    let boot = |saved: State| Boot {
        now: Mono(0),
        id: ME.into(),
        announce: Addr::new("127.0.0.1", 26379),
        announce_fixed: true,
        watches: vec![Watch { name: "m".into(), addr: Addr::new("127.0.0.1", 6379), settings: Settings::new(1) }],
        saved: Some(saved),
        seed: 1,
        options: Options::default(),
        strategies: Strategies::default(),
    };
    let error = boot(saved.clone()).check().expect_err("nobody gives that strategy");
    for part in ["sentinel.state", "\"m\"", "'manual'", "elections", "SENTINEL SET m", "overrides"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // The way out that it names.
    let text = saved.encode().expect("written");
    let option = "(\"election-strategy\", \"manual\"),";
    assert!(text.contains(option), "{text}");
    assert_eq!(boot(State::decode(&text.replace(option, "")).expect("read")).check(), Ok(()));
}

/// A start with this state and this quorum in the file: the sentinel, and the warnings it begins with.
fn started(saved: &State, quorum: u32, options: Options) -> (Sentinel, Vec<String>) {
    let settings = Settings { auth_pass: Some("file's".into()), ..Settings::new(quorum) };
    let (sentinel, actions) = Sentinel::new(Boot {
        now: Mono(0),
        id: ME.into(),
        announce: Addr::new("127.0.0.1", 26379),
        announce_fixed: true,
        watches: vec![Watch { name: "m".into(), addr: Addr::new("127.0.0.1", 6379), settings }],
        saved: Some(saved.clone()),
        seed: 1,
        options,
        strategies: Strategies::default(),
    });
    let told = |action| if let Action::Log(Level::Warning, text) = action { Some(text) } else { None };
    (sentinel, actions.into_iter().filter_map(told).collect())
}

/// Who edited the file hears what it is overridden by, and how to change that; UNSET does.
#[test]
fn what_sentinel_set_left_is_told_where_the_file_says_otherwise_and_is_taken_back() {
    let mut first = boot(None);
    let state = |actions: Vec<Action>| {
        actions.into_iter().rev().find_map(|a| if let Action::Persist(state) = a { Some(*state) } else { None })
    };
    let line =
        "SENTINEL SET m quorum 3 parallel-syncs 1 auth-pass kept rename-command GET FETCH rename-command SET STORE";
    let saved = state(command(&mut first, 10, line)).expect("saved");
    let (mut sentinel, told) = started(&saved, 2, Options::default());
    assert_eq!(told.len(), 3, "what is as the file says needs no word: {told:?}");
    let back = "SENTINEL SET m UNSET quorum takes it back";
    assert!(
        told[0].starts_with("m: quorum 3 ") && told[0].contains("overrides 2 ") && told[0].ends_with(back),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line.contains("auth-pass ******") && !line.contains("kept")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("GET FETCH, SET STORE") && line.contains("(none)")), "{told:?}");

    assert_eq!(
        reply(&command(&mut sentinel, 10, "SENTINEL SET m UNSET")).error(),
        Some("ERR wrong number of arguments for 'sentinel|set' command")
    );
    for (line, error) in [
        ("SENTINEL SET m UNSET colour", "Unknown option"),
        ("SENTINEL SET m quorum 7 UNSET", "Unknown option"),
        ("SENTINEL SET m UNSET quorum GROUP", "can't be spread"),
    ] {
        assert!(reply(&command(&mut sentinel, 10, line)).error().is_some_and(|text| text.contains(error)), "{line}");
    }
    let saved = state(command(&mut sentinel, 10, "SENTINEL SET m UNSET quorum parallel-syncs 4 unset rename-command"))
        .expect("saved");
    let settings = &sentinel.monitors()["m"].settings;
    assert_eq!((settings.quorum, settings.parallel_syncs, settings.renamed_commands.len()), (2, 4, 0));
    let (sentinel, told) = started(&saved, 5, Options::default());
    assert_eq!(sentinel.monitors()["m"].settings.quorum, 5, "the file's again");
    assert!(told.len() == 2 && !told[0].contains("quorum"), "{told:?}");
    // One that no file names has nothing to go back to. A value may be that word.
    let mut sentinel = boot(None);
    command(&mut sentinel, 10, "SENTINEL MONITOR other 127.0.0.1 7000 2");
    let answer = reply(&command(&mut sentinel, 10, "SENTINEL SET other UNSET quorum"));
    assert_eq!(answer.error(), Some("ERR 'other' isn't in the configuration file, so there is nothing to go back to"));
    assert_eq!(reply(&command(&mut sentinel, 10, "SENTINEL SET m auth-pass unset")), Reply::ok());
    assert_eq!(sentinel.monitors()["m"].settings.auth_pass.as_deref(), Some("unset"));
}

/// The log and the life of a data server aren't its sentinel's clients' to decide on.
#[test]
fn beside_a_data_port_the_log_and_the_process_are_left_alone() {
    let mut alone = boot(None);
    assert_eq!(reply(&command(&mut alone, 10, "SENTINEL SIMULATE-FAILURE crash-after-election")), Reply::ok());
    let actions = command(&mut alone, 10, "SENTINEL CONFIG SET loglevel nothing announce-port 7");
    assert_eq!(reply(&actions), Reply::ok());
    let saved =
        actions.into_iter().rev().find_map(|a| if let Action::Persist(state) = a { Some(*state) } else { None });
    let options = Options { beside_data: true, ..Options::default() };
    let (mut sentinel, told) = started(&saved.expect("saved"), 1, options);
    assert!(told.iter().any(|line| line.starts_with("loglevel 'nothing' from the state file")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("announce-port 7 from the state file")), "{told:?}");
    for line in ["SENTINEL CONFIG SET loglevel nothing", "SENTINEL SIMULATE-FAILURE crash-after-promotion"] {
        let actions = command(&mut sentinel, 10, line);
        assert!(reply(&actions).error().is_some_and(|text| text.contains("data")), "{line}");
        assert!(!actions.iter().any(|action| matches!(action, Action::LogLevel(_))));
    }
    assert_eq!(reply(&command(&mut sentinel, 10, "SENTINEL CONFIG SET announce-port 8")), Reply::ok());
}
