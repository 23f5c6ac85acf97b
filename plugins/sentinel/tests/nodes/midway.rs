//! What comes in the middle of a failover whose promotion is certain: the promoted one falls, an operator resets. And links
//! that can't be opened for a reason that isn't the node's end.

use super::table::{PRIMARY, Table, primary, replica, with_history};
use keystead_sentinel::actions::Fall;
use keystead_sentinel::wire::Request;

const FIRST: u16 = 6380;

/// Who was told to be a primary, in that order.
fn promoted(table: &Table) -> Vec<u16> {
    let of = |(_, port, request): &(u64, u16, Request)| (*request == Request::Follow(None)).then_some(*port);
    table.told.iter().filter_map(of).collect()
}

/// The primary is gone, a replica was promoted, and the others don't follow it yet.
fn half_way() -> Table {
    let mut table = Table::with_replicas(3, |settings| settings.failover_timeout_ms = 180_000);
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..FIRST + 3), "first", "0"));
    for port in FIRST..FIRST + 3 {
        let up = replica(&format!("r{port}"), PRIMARY, "up", 1000);
        table.nodes.insert(port, with_history(up, "first", "0"));
    }
    table.run(11_000);
    table.nodes.remove(&PRIMARY);
    table.run_until(5_000, |t| !promoted(t).is_empty());
    let port = promoted(&table)[0];
    table.nodes.insert(port, with_history(primary(&format!("r{port}"), 0..0), "second", "first"));
    table.run_until(3_000, |t| t.happened("+slave-reconf-sent") > 0);
    table
}

/// The others were waited for up to failover-timeout: they can't follow one that is gone, and nobody looked for another.
#[test]
fn a_promoted_replica_that_falls_before_all_follow_it_is_replaced_like_any_primary() {
    let mut table = half_way();
    let first = promoted(&table)[0];
    table.nodes.remove(&first);
    table.run_until(1_500, |t| t.happened("+switch-master") == 1);
    table.run_until(3_000, |t| promoted(t).iter().any(|port| *port != first));
    assert_eq!(table.happened("+failover-end-for-timeout"), 0);
    let story = table.lines("SENTINEL TIMELINE m 2");
    assert!(story.contains("replicas re-pointed: no further: the promoted one is down"), "{story}");
}

/// This sentinel held the new configuration and its clients were never told.
#[test]
fn a_reset_in_the_middle_tells_where_the_primary_is_by_now() {
    let mut table = half_way();
    let new = promoted(&table)[0];
    assert_eq!(table.happened("+switch-master"), 0);
    table.command("SENTINEL RESET m");
    assert_eq!((table.happened("+switch-master"), table.happened("+reset-master")), (1, 1));
    assert_eq!(table.sentinel.monitors()["m"].primary().addr.port, new);
    table.command("SENTINEL RESET m");
    assert_eq!(table.happened("+switch-master"), 1, "once");
}

/// A sentinel without descriptors saw nodes down that were well, and failed over from them.
#[test]
fn who_cannot_open_links_takes_nobody_for_down_and_says_why() {
    let mut table = Table::with_replicas(1, |_| {});
    table.unable = Some("Too many open files (os error 24)");
    // The links that are there end, as behind a restart of the nodes.
    table.command("SENTINEL SET m auth-pass another");
    table.run(20_000);
    assert_eq!((table.happened("+sdown"), table.happened("+try-failover")), (0, 0), "{:?}", table.events);
    let told = |t: &Table| t.logs.iter().filter(|line| line.contains("Nobody is taken for down for that")).count();
    assert_eq!(told(&table), 1, "{:?}", table.logs);
    assert!(table.explained().contains("not connected, not yet down (Too many open files"), "{}", table.explained());
    // Once it can it sees for itself.
    table.unable = None;
    table.nodes.remove(&PRIMARY);
    table.run_until(5_000, |t| t.happened("+sdown") > 0);
    table.run_until(5_000, |t| t.happened("+switch-master") > 0 || !promoted(t).is_empty());
}

/// To operators it was a node that is down, for a reason that only the debug log knew.
#[test]
fn a_node_whose_certificate_is_not_trusted_is_told_so_once() {
    let mut table = Table::with_replicas(1, |_| {});
    let words = "TLS handshake failed: certificate verify failed: certificate expired";
    table.broken = Some(Fall::Gone(words.into()));
    table.command("SENTINEL SET m auth-pass another");
    table.run(5_000);
    assert!(table.happened("+sdown") > 0, "it can't be reached");
    let line = format!("No link to master m 127.0.0.1 {PRIMARY}: {words}");
    assert_eq!(table.logs.iter().filter(|told| **told == line).count(), 1, "{:?}", table.logs);
    assert!(table.explained().contains(words), "{}", table.explained());
    let story = table.lines("SENTINEL TIMELINE m 1");
    assert!(story.contains(&format!("(limit 1000): {words}")), "{story}");
}

/// Protected mode, or no place for one client more: the log said no more than that the node is down.
#[test]
fn a_node_that_turns_sentinels_away_is_told_with_its_first_sentence_once() {
    let mut table = Table::with_replicas(1, |_| {});
    table.broken = Some(Fall::TurnedAway("DENIED This is protected mode. In this mode much is to be read".into()));
    table.command("SENTINEL SET m auth-pass another");
    table.run(5_000);
    let words = "it says \"DENIED This is protected mode\"";
    let line = format!("No link to master m 127.0.0.1 {PRIMARY}: {words}");
    assert_eq!(table.logs.iter().filter(|told| **told == line).count(), 1, "{:?}", table.logs);
    assert!(table.explained().contains(words), "{}", table.explained());
}

/// A promotion beside a primary that is well, which this sentinel's disk doesn't take: until it did, every other failover was
/// answered with INPROG.
#[test]
fn a_promotion_that_never_gets_onto_the_disk_ends_with_failover_timeout() {
    let mut table = Table::with_replicas(1, |settings| settings.failover_timeout_ms = 10_000);
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..FIRST + 1), "first", "0"));
    table.nodes.insert(FIRST, with_history(replica("r6380", PRIMARY, "up", 1000), "first", "0"));
    table.run(11_000);
    table.command("SENTINEL FAILOVER m FORCE");
    table.run_until(2_000, |t| !promoted(t).is_empty());
    table.disk_error = Some("no space left on device".into());
    table.nodes.insert(FIRST, with_history(primary("r6380", 0..0), "second", "first"));
    table.run_until(3_000, |t| t.happened("+promoted-slave") > 0);
    table.run(8_000);
    assert_eq!(table.happened("-failover-abort-slave-timeout"), 0);
    table.run_until(3_000, |t| t.happened("-failover-abort-slave-timeout") > 0);
    assert!(!table.sentinel.monitors()["m"].failover.in_progress());
    assert_eq!((table.happened("+switch-master"), table.sentinel.monitors()["m"].config_epoch.0), (0, 0));
    assert_eq!(table.sentinel.monitors()["m"].current_addr().port, PRIMARY);
}
