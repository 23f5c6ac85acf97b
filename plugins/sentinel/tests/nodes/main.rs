//! One sentinel and the nodes it sees, answered for by hand: what each report of a data node, or each answer of a peer, leads to.

mod accord;
mod asked_for;
mod circle;
mod forged;
mod handed_over;
mod histories;
mod midway;
mod namesakes;
mod promoted;
mod shorter;
mod table;
mod twice;
mod twins;

use keystead_sentinel::actions::{Action, Event, Fall};
use keystead_sentinel::election::Advice;
use keystead_sentinel::globals::Options;
use keystead_sentinel::types::{Addr, Epoch, Kind, Lane, Mono};
use keystead_sentinel::wire::{Reply, Request};
use std::collections::BTreeMap;
use table::{PEER, PRIMARY, Table, primary, replica};

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
    table.nodes.insert(PRIMARY, replica("p", 7777, "up", 1000));
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

/// Stock sentinels take what they heard of the old primary for a word about the new one, and ping that late.
#[test]
fn a_primary_that_has_answered_since_the_switch_is_no_stock_candidate_s() {
    const CANDIDATE: &str = "cccccccccccccccccccccccccccccccccccccccc";
    let gets = |table: &mut Table, epoch: u64, more: &str| {
        table.command(&format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6380 {epoch} {CANDIDATE}{more}"));
        let Some(Reply::Array(items)) = &table.reply else { panic!("{:?}", table.reply) };
        items[1].text() == Some(CANDIDATE) && items[2].int() == Some(epoch as i64)
    };
    let mut table = replaced();
    table.run(1_100);
    assert!(!gets(&mut table, 2, ""));
    table.run(4_000);
    assert!(gets(&mut table, 3, ""), "what it says now it has heard since");
    let mut table = replaced();
    table.run(1_100);
    assert!(gets(&mut table, 2, &format!(" {PEER} 1 r6380")), "one of ours counts words about this configuration");
    let mut table = replaced();
    table.run(1_100);
    table.nodes.remove(&6380);
    table.run(500);
    assert!(gets(&mut table, 2, ""), "it says nothing any more");
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

/// An operator handed the role back behind the switch: the report by which the other one was the primary is old.
#[test]
fn one_that_got_the_role_back_is_not_demoted_by_an_older_report() {
    let mut table = replaced();
    table.run(1_000);
    table.nodes.insert(6380, replica("r6380", PRIMARY, "up", 1000));
    table.nodes.insert(PRIMARY, primary("p", 0..0));
    let before = table.happened("-role-change");
    table.run_until(1_500, |t| t.happened("-role-change") > before);
    table.run(2_000);
    assert_eq!(demoted(&table), None);
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
    table.step(Event::LinkDown { instance, lane: Lane::Command, generation, fall: Fall::Gone(String::new()) });
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

#[test]
fn a_peer_sees_the_primary_down_only_as_long_as_its_word_counts() {
    let mut table = Table::with_replicas(1, |settings| settings.quorum = 2);
    table.meet_peer();
    table.command(&format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {PRIMARY} 0 * {PEER} 0 p"));
    let shown = |table: &mut Table| {
        let argv = ["SENTINEL", "SENTINELS", "m"].map(str::to_owned).to_vec();
        let actions = table.sentinel.step(Mono(table.now), Event::Command { ticket: 9, argv });
        let peers = format!("{actions:?}");
        (peers.contains("master_down"), table.explained().contains("sees the primary down"))
    };
    assert_eq!(shown(&mut table), (true, true));
    table.run(4_000);
    assert_eq!(shown(&mut table), (false, false));
}

/// Each try is an epoch and a line for operators: as many as with Redis, and one at once when there is somebody.
#[test]
fn without_anybody_to_promote_few_tries_are_made_and_one_at_once_when_there_is_somebody() {
    let mut table = Table::with_replicas(2, |settings| settings.failover_timeout_ms = 10_000);
    let cannot = |port: u16| replica(&format!("r{port}"), PRIMARY, "down", 1000).replace("priority:100", "priority:0");
    for port in [6380, 6381] {
        table.nodes.insert(port, cannot(port));
    }
    table.run(12_000);
    table.nodes.remove(&PRIMARY);
    table.run_until(3_000, |t| t.happened("+odown") > 0);
    table.run(45_000);
    let tries = table.happened("+try-failover");
    assert!((1..=4).contains(&tries), "{tries} tries");
    assert_eq!(table.happened("-failover-abort-no-good-slave"), tries);
    table.nodes.insert(6381, replica("r6381", PRIMARY, "down", 1000));
    table.run_until(2_500, |t| t.happened("+selected-slave") > 0);
}

#[test]
fn a_replica_that_was_started_again_is_told_before_it_is_back() {
    let mut table = Table::with_replicas(1, |_| {});
    let node = table.nodes.remove(&6380).expect("the replica");
    let replica = table.sentinel.monitors()["m"].of(Kind::Replica).next().expect("known");
    let (instance, generation) = (replica.id, replica.command.generation);
    table.step(Event::LinkDown { instance, lane: Lane::Command, generation, fall: Fall::Refused });
    table.run_until(3_000, |t| t.happened("+sdown") > 0);
    table.nodes.insert(6380, node.replace("run_id:r6380", "run_id:again"));
    table.run_until(3_000, |t| t.happened("-sdown") > 0);
    let told: Vec<_> = table.events.iter().filter(|name| ["+reboot", "-sdown"].contains(&name.as_str())).collect();
    assert_eq!(told, ["+reboot", "-sdown"]);
}

/// Whoever has the wrong password, or too few rights, is to be told so, not only that the node is down.
#[test]
fn what_a_node_refuses_is_logged_once_and_explained() {
    let mut table = Table::with_replicas(1, |_| {});
    table.pings.insert(PRIMARY, Reply::Error("NOAUTH Authentication required.".into()));
    table.pings.insert(6380, Reply::Error("LOADING Redis is loading the dataset in memory".into()));
    let said =
        format!("master m 127.0.0.1 {PRIMARY} answers PING with \"NOAUTH Authentication required.\": are auth-user");
    table.run(5_000);
    let count = |t: &Table| t.logs.iter().filter(|line| line.starts_with(&said)).count();
    assert_eq!(count(&table), 1, "{:?}", table.logs);
    assert!(table.explained().contains(&said), "{}", table.explained());
    assert!(!table.explained().contains("LOADING"), "that passes");
    table.pings.clear();
    table.run(3_000);
    assert!(!table.explained().contains("answers PING"), "{}", table.explained());
    let feed = table.sentinel.monitors()["m"].primary();
    let (instance, generation, error) = (feed.id, feed.feed.generation, "NOPERM no".to_owned());
    table.step(Event::FeedRefused { instance, generation, error });
    assert!(table.explained().contains("answers SUBSCRIBE with \"NOPERM no\": has this"), "{}", table.explained());
}

/// A strategy that claims victories made two leaders of one epoch.
#[test]
fn a_campaign_is_won_by_a_majority_of_the_votes_whatever_the_strategy_says() {
    let mut table = Table::with_replicas(1, |settings| settings.quorum = 2);
    table.meet_peer();
    table.campaign = Some(Advice::Won);
    table.nodes.remove(&PRIMARY);
    table.run_until(3_000, |t| t.happened("+sdown") > 0);
    table.command(&format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {PRIMARY} 0 * {PEER} 0 p"));
    table.run_until(3_000, |t| t.happened("+try-failover") > 0);
    table.run(300);
    assert_eq!(table.happened("+elected-leader"), 0, "{:?}", table.events);
    let told = |t: &Table| t.logs.iter().filter(|line| line.contains("is won, with 1 of 2 votes")).count();
    assert_eq!(told(&table), 1, "{:?}", table.logs);
    table.peer_votes();
    assert_eq!(table.happened("+elected-leader"), 1);
}

#[test]
fn a_failover_asked_for_that_is_not_on_the_disk_is_given_up() {
    let mut table = Table::with_replicas(1, |_| {});
    table.disk_error = Some("no space left".into());
    table.command("SENTINEL FAILOVER m FORCE");
    table.run(100);
    assert_eq!(table.happened("-failover-abort-not-elected"), 1, "{:?}", table.events);
    assert!(table.explained().contains("can't vote: its state can't be written to disk: no space left"));
    table.disk_error = None;
    table.run(3_000);
    assert_eq!(table.happened("+failover-state-reconf-slaves") + table.happened("+try-failover"), 1);
    table.command("SENTINEL FAILOVER m FORCE");
    table.run(100);
    assert_eq!(table.happened("+failover-state-wait-promotion"), 1, "{:?}", table.events);
}

#[test]
fn a_disk_that_hangs_is_said_before_it_fails() {
    let mut table = Table::with_replicas(1, |_| {});
    table.step(Event::Writing { epoch: Epoch(0) });
    table.run(1_100);
    let told = |t: &Table| t.logs.iter().filter(|line| line.contains("on the way to the disk for 1000 ms")).count();
    assert_eq!(told(&table), 1, "{:?}", table.logs);
    assert!(table.explained().contains("blocked: this sentinel can't vote: its state has been on the way"));
    table.command("SENTINEL CKQUORUM m");
    let Some(Reply::Error(text)) = &table.reply else { panic!("{:?}", table.reply) };
    assert!(text.starts_with("NOQUORUM 0 usable") && text.contains("on the way to the disk for 11"), "{text}");
    table.step(Event::Written { ms: 1_100, error: None });
    table.command("SENTINEL CKQUORUM m");
    let ok = "OK 1 usable Sentinels. Quorum and failover authorization can be reached";
    assert_eq!(table.reply, Some(Reply::Status(ok.into())));
}

#[test]
fn a_setting_of_the_group_that_was_taken_back_here_is_not_explained_as_in_force() {
    let mut table = Table::with_replicas(1, |_| {});
    table.command("SENTINEL SET m quorum 5 GROUP");
    assert!(
        table.explained().contains("setting of the group: quorum 5") && !table.explained().contains("not in force")
    );
    table.command("SENTINEL SET m UNSET quorum");
    assert!(table.explained().contains(": not in force here, where it is 1"), "{}", table.explained());
}

/// Redis shows the word by which a replica knows its primary.
#[test]
fn a_replica_s_primary_is_shown_in_the_replica_s_words() {
    let names = BTreeMap::from([("localhost".to_owned(), "127.0.0.1".to_owned())]);
    let mut table = Table::with_options(|_| {}, Options { resolve_hostnames: true, names, ..Options::default() });
    table.nodes.insert(PRIMARY, primary("p", 6380..6381));
    table.nodes.insert(6380, replica("r", PRIMARY, "up", 1000).replace("host:127.0.0.1", "host:localhost"));
    table.run_until(12_000, |t| t.monitor_has(1));
    let argv = ["SENTINEL", "REPLICAS", "m"].map(str::to_owned).to_vec();
    let actions = table.sentinel.step(Mono(table.now), Event::Command { ticket: 9, argv });
    let fields = actions.iter().find_map(|a| match a {
        Action::Reply { reply: Reply::Array(items), .. } => items.first().cloned(),
        _ => None,
    });
    let Some(Reply::Map(fields)) = fields else { panic!("{actions:?}") };
    let host = fields.iter().find(|(name, _)| name == "master-host").map(|(_, value)| value.clone());
    assert_eq!(host, Some(Reply::Bulk("localhost".into())));
}

/// A disk that hangs holds hellos and orders back, and nobody answers what wasn't sent: the node isn't dead for that.
#[test]
fn what_is_never_answered_stops_no_ping() {
    let mut table = Table::with_replicas(1, |_| {});
    let link = |t: &Table| t.sentinel.monitors()["m"].primary().command.generation;
    let before = link(&table);
    // Nobody answers hellos here: more than a hundred of them.
    table.run(260_000);
    assert!(table.sentinel.monitors()["m"].primary().pending >= 100);
    assert_eq!((link(&table), table.happened("+sdown")), (before, 0), "it answers every PING");
    // The outbox says what it gave up.
    let primary = table.sentinel.monitors()["m"].primary();
    let (instance, pending) = (primary.id, primary.pending);
    table.step(Event::Unsent { instance, generation: before + 1 });
    assert_eq!(table.sentinel.monitors()["m"].primary().pending, pending, "of another link");
    table.step(Event::Unsent { instance, generation: before });
    assert_eq!(table.sentinel.monitors()["m"].primary().pending, pending - 1);
}

/// What a replica says right behind a failover is old soon: INFO's period is too long for it.
#[test]
fn a_replica_that_is_on_its_way_to_a_new_primary_is_asked_again_soon() {
    for (first, link) in [(PRIMARY, "up"), (6380, "down")] {
        let mut table = Table::with_replicas(2, |_| {});
        table.meet_peer();
        // Its promotion is seen before it is told of.
        table.nodes.insert(6380, primary("r6380", 0..0));
        table.run_until(10_500, |t| t.happened("-role-change") > 0);
        table.nodes.insert(PRIMARY, replica("p", 6380, "up", 1000));
        table.nodes.insert(6381, replica("r6381", first, link, 1000));
        hello(&mut table, 6380, 1);
        table.run(500);
        table.nodes.insert(6381, replica("r6381", 6380, "up", 1000));
        let well = |t: &Table| {
            let replicas = t.sentinel.monitors()["m"].of(Kind::Replica);
            let report = replicas.filter(|r| r.addr.port == 6381).find_map(|r| r.report.clone());
            report.is_some_and(|r| r.link_up && r.upstream.is_some_and(|up| up.port == 6380))
        };
        assert!(!well(&table), "{first} {link}");
        table.run_until(1_200, well);
    }
}
