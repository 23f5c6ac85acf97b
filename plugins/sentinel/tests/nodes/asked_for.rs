//! A failover that an operator asks for, in which the primary hands over: nobody's writes wait for a replica that says nothing.

use super::table::{PRIMARY, Table, primary, replica, with_history};
use keystead_sentinel::actions::{Event, Fall};
use keystead_sentinel::types::{Addr, Kind, Lane};
use keystead_sentinel::wire::{Reply, Request};

const FIRST: u16 = 6380;
const SECOND: u16 = 6381;

/// A Keystead primary and its replicas; down-after is so long that nobody is down.
fn group(replicas: u16) -> Table {
    let mut table = Table::with_replicas(replicas, |settings| settings.down_after_ms = 30_000);
    table.nodes.insert(PRIMARY, primary("p", FIRST..FIRST + replicas) + "keystead_version:1\r\n");
    table.nodes.insert(FIRST, replica("r6380", PRIMARY, "up", 1001));
    table.run(11_000);
    table
}

fn handed_to(table: &Table) -> Vec<u16> {
    let to = |(_, _, request): &(u64, u16, Request)| match request {
        Request::HandOver { to, .. } => to.as_ref().map(|(_, port)| *port),
        _ => None,
    };
    table.told.iter().filter_map(to).collect()
}

#[test]
fn a_replica_that_stands_still_is_no_reason_to_hold_writes_back() {
    let mut table = group(1);
    table.nodes.remove(&FIRST);
    // Asked for at once: whether it says anything is waited for, and not by the primary.
    table.command("SENTINEL FAILOVER m");
    assert_eq!(table.reply, Some(Reply::ok()));
    table.run_until(2_000, |t| t.happened("-failover-abort-no-good-slave") > 0);
    assert_eq!(handed_to(&table), [0; 0]);
    let told = table.lines("SENTINEL TIMELINE m 1");
    assert!(told.contains("has said nothing since the failover was asked for"), "{told}");
    // And later it is known.
    table.run(3_000);
    for line in ["SENTINEL FAILOVER m DRYRUN", "SENTINEL EXPLAIN m"] {
        let told = table.lines(line);
        assert!(told.contains("has not answered for"), "{line}: {told}");
    }
    assert!(table.lines("SENTINEL FAILOVER m DRYRUN").contains("NOGOODSLAVE"));
    table.command("SENTINEL FAILOVER m");
    assert_eq!(table.reply, Some(Reply::Error("NOGOODSLAVE No suitable replica to promote".into())));
    // Without a primary that waits for it, it is as good as in Redis.
    table.command("SENTINEL FAILOVER m FORCE");
    assert_eq!(table.reply, Some(Reply::ok()));
}

#[test]
fn the_primary_hands_over_to_the_best_of_those_that_answer() {
    let mut table = group(2);
    table.nodes.remove(&FIRST);
    table.command("SENTINEL FAILOVER m");
    table.run_until(2_000, |t| !handed_to(t).is_empty());
    assert_eq!(handed_to(&table), [SECOND]);
    let mut table = group(2);
    table.command("SENTINEL FAILOVER m");
    table.run_until(2_000, |t| !handed_to(t).is_empty());
    assert_eq!(handed_to(&table), [FIRST], "both answer");
}

/// Clients give a command 3 to 5 seconds: a hand-over that doesn't succeed is over before that.
#[test]
fn a_hand_over_that_does_not_succeed_holds_writes_for_three_seconds_at_most() {
    let mut table = group(1);
    table.command("SENTINEL FAILOVER m");
    table.run_until(2_000, |t| !handed_to(t).is_empty());
    let asked = table.told.iter().find_map(|(at, _, request)| match request {
        Request::HandOver { to: Some(_), timeout_ms } => Some((*at, *timeout_ms)),
        _ => None,
    });
    let (at, timeout_ms) = asked.expect("just seen");
    assert_eq!(timeout_ms, 3_000);
    // Neither side says more: it is taken back, in case the primary waits on.
    table.run_until(6_000, |t| t.happened("-failover-abort-slave-timeout") > 0);
    assert!(table.now - at <= 5_100, "{} ms", table.now - at);
    assert!(table.told.iter().any(|(_, _, request)| matches!(request, Request::HandOver { to: None, .. })));
}

/// It was asked to take over, stood still, and does so when the primary has long given up and takes writes again: what those
/// are worth is known, and nobody was sent to the late one.
#[test]
fn a_target_that_takes_over_late_is_told_to_follow_the_primary_that_went_on() {
    let mut table = group(2);
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..SECOND + 1) + "keystead_version:1\r\n", "first", "0"));
    table.run(11_000);
    table.command("SENTINEL FAILOVER m");
    table.run_until(2_000, |t| handed_to(t) == [FIRST]);
    table.nodes.remove(&FIRST);
    table.run_until(6_000, |t| t.happened("-failover-abort-slave-timeout") > 0);
    table
        .nodes
        .insert(PRIMARY, with_history(primary("p", SECOND..SECOND + 1) + "keystead_version:1\r\n", "third", "first"));
    table.run(500);
    table.nodes.insert(FIRST, with_history(primary("r6380", 0..0), "second", "first"));
    // What it was asked meanwhile got lost.
    let monitor = &table.sentinel.monitors()["m"];
    let late = monitor.of(Kind::Replica).find(|r| r.addr.port == FIRST).expect("known");
    let (instance, generation) = (late.id, late.command.generation);
    table.step(Event::LinkDown { instance, lane: Lane::Command, generation, fall: Fall::Gone(String::new()) });
    let follow = Request::Follow(Some(Addr::new("127.0.0.1", PRIMARY)));
    table.run_until(25_000, |t| t.told.iter().any(|(_, port, request)| *port == FIRST && *request == follow));
    assert_eq!((table.happened("+switch-master"), table.happened("+convert-to-slave")), (0, 1), "{:?}", table.events);
    assert!(table.told.iter().all(|(_, port, _)| *port != SECOND), "{:?}", table.told);
}

/// The replica was left with the old primary, and the new one doesn't list it: nobody found it any more.
#[test]
fn a_replica_that_came_a_moment_ago_is_taken_along() {
    let mut table = group(1);
    table.nodes.insert(SECOND, replica("r6381", PRIMARY, "up", 1000));
    table.nodes.insert(PRIMARY, primary("p", FIRST..SECOND + 1));
    table.command("SENTINEL FAILOVER m FORCE");
    table.run_until(1_000, |t| t.told.iter().any(|(_, _, request)| *request == Request::Follow(None)));
    table.nodes.insert(FIRST, primary("r6380", 0..0));
    let follow = Request::Follow(Some(Addr::new("127.0.0.1", FIRST)));
    table.run_until(3_000, |t| t.told.iter().any(|(_, port, request)| *port == SECOND && *request == follow));
}

/// Scripts and subscribers wait for the word that every failover says.
#[test]
fn a_promotion_that_was_asked_for_before_a_standstill_is_told_behind_it() {
    let mut table = Table::with_replicas(1, |_| {});
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..SECOND), "first", "0"));
    table.nodes.insert(FIRST, with_history(replica("r6380", PRIMARY, "up", 1000), "first", "0"));
    table.run(11_000);
    table.command("SENTINEL FAILOVER m FORCE");
    table.run_until(1_000, |t| t.told.iter().any(|(_, _, request)| *request == Request::Follow(None)));
    assert_eq!(table.happened("+promoted-slave"), 0);
    table.nodes.insert(FIRST, with_history(primary("r6380", 0..0), "second", "first"));
    table.now += 4_000;
    table.step(Event::Tick);
    table.run_until(3_000, |t| t.happened("+switch-master") > 0);
    assert_eq!(table.happened("+promoted-slave"), 1, "{:?}", table.events);
}
