//! A primary that says it follows one of its replicas: who may be taken for its heir, and who may not.

use super::table::{PRIMARY, Table, primary, replica, with_history};
use keystead_sentinel::types::Addr;
use keystead_sentinel::wire::Request;

const HEIR: u16 = 6380;
const THIRD: u16 = 6381;

/// A primary and two replicas of one history.
fn group() -> Table {
    let mut table = Table::with_replicas(2, |settings| settings.failover_timeout_ms = 10_000);
    table.nodes.insert(PRIMARY, with_history(primary("p", HEIR..THIRD + 1), "first", "0"));
    table.run(11_000);
    table
}

/// The roles are swapped, and nobody says so; the heir goes on with that history.
fn swap(table: &mut Table, before: &str) {
    table.nodes.insert(HEIR, with_history(primary("r6380", THIRD..THIRD + 1), "second", before));
    table.nodes.insert(PRIMARY, with_history(replica("p", HEIR, "up", 1000), "second", "0"));
}

fn primary_of(table: &Table) -> u16 {
    table.sentinel.monitors()["m"].current_addr().port
}

/// What others than the third node were told.
fn told(table: &Table) -> Vec<&Request> {
    let to_others = table.told.iter().filter(|(_, port, _)| *port != THIRD);
    to_others.map(|(_, _, request)| request).collect()
}

#[test]
fn an_heir_is_taken_over_after_the_grace_and_told_nothing() {
    let mut table = group();
    swap(&mut table, "first");
    table.run_until(11_000, |t| t.happened("-role-change") > 0);
    let noticed = table.now;
    table.run_until(5_000, |t| primary_of(t) == HEIR);
    assert!(table.now - noticed >= 3_000, "its leader had {} ms", table.now - noticed);
    table.run(500);
    assert_eq!((primary_of(&table), told(&table)), (HEIR, vec![]));
    let follow = Request::Follow(Some(Addr::new("127.0.0.1", HEIR)));
    assert!(table.told.iter().any(|(_, port, request)| *port == THIRD && *request == follow), "{:?}", table.told);
    assert_eq!(table.happened("+promoted-slave"), 0, "that was another's");
}

/// An operator's REPLICAOF towards a node with a history of its own, and one towards a host nobody knows.
#[test]
fn who_is_no_heir_is_left_to_the_rule_of_the_wrong_role() {
    let mut table = group();
    swap(&mut table, "another");
    table.run(20_000);
    assert_eq!((table.happened("+sdown"), primary_of(&table)), (0, PRIMARY));
    let mut table = group();
    table.nodes.insert(PRIMARY, replica("p", 7777, "up", 1000));
    table.run(20_000);
    assert_eq!((table.happened("+sdown"), primary_of(&table)), (0, PRIMARY));
}

/// One that never saw the old primary as one can't know the history: it waits as long as for any wrong role, and then names
/// the heir and no third node.
#[test]
fn an_heir_of_an_unknown_history_is_the_one_that_is_chosen() {
    let mut table = Table::with_replicas(2, |settings| settings.failover_timeout_ms = 10_000);
    swap(&mut table, "first");
    table.run_until(11_000, |t| t.happened("-role-change") > 0);
    table.run(20_500);
    assert_eq!(primary_of(&table), PRIMARY);
    table.run_until(3_000, |t| primary_of(t) != PRIMARY);
    assert_eq!((primary_of(&table), told(&table)), (HEIR, vec![]));
}

/// It was killed behind the swap, before that was on its disk: clients were sent to the old primary for 21 s.
#[test]
fn a_sentinel_that_is_started_again_behind_the_swap_knows_whose_heir_it_sees() {
    let mut table = group();
    swap(&mut table, "first");
    table.restart();
    table.run_until(4_500, |t| primary_of(t) == HEIR);
    assert_eq!(told(&table), Vec::<&Request>::new());
}

/// A primary that goes back to what it was before the grace is over stays the primary.
#[test]
fn a_swap_that_is_taken_back_in_time_is_none() {
    let mut table = group();
    swap(&mut table, "first");
    table.run_until(11_000, |t| t.happened("-role-change") > 0);
    table.run(1_000);
    table.nodes.insert(PRIMARY, with_history(primary("p", HEIR..THIRD + 1), "third", "second"));
    table.nodes.insert(HEIR, with_history(replica("r6380", PRIMARY, "up", 1000), "third", "second"));
    table.run(20_000);
    assert_eq!((table.happened("+sdown"), primary_of(&table)), (0, PRIMARY));
}

fn leased(info: String, held: bool) -> String {
    format!("{info}lease_writes_allowed_ms:{}\r\n", u32::from(held) * 2_000)
}

/// A group whose writes rest on a lease.
fn leased_group() -> Table {
    let mut table = group();
    table.nodes.insert(PRIMARY, leased(with_history(primary("p", HEIR..THIRD + 1), "first", "0"), true));
    for port in [HEIR, THIRD] {
        let info = with_history(replica(&format!("r{port}"), PRIMARY, "up", 1000), "first", "0");
        table.nodes.insert(port, leased(info, false));
    }
    table.run(11_000);
    table
}

/// The primary died, a leader promoted a replica and died behind that, and the old primary is back before anybody else has
/// finished it: what was written since was lost, for the replica was told to follow.
#[test]
fn whoever_holds_the_lease_is_told_nothing_and_taken_for_the_primary() {
    let mut table = leased_group();
    let promoted = with_history(primary("r6380", 0..0), "second", "first");
    table.nodes.insert(HEIR, leased(promoted, true));
    table.nodes.insert(PRIMARY, leased(with_history(primary("again", 0..0), "third", "first"), false));
    table.run_until(20_000, |t| primary_of(t) == HEIR);
    let info = with_history(replica("r6381", HEIR, "up", 1000), "second", "first");
    table.nodes.insert(THIRD, leased(info, false));
    table.run(3_000);
    let follow = Request::Follow(Some(Addr::new("127.0.0.1", HEIR)));
    assert!(told(&table).iter().all(|request| **request == follow), "{:?}", table.told);
    assert!(table.told.iter().any(|(_, port, request)| *port == PRIMARY && *request == follow), "{:?}", table.told);
}

/// One that says it is a primary and doesn't have the lease has taken no writes.
#[test]
fn a_primary_without_the_lease_is_none_beside_the_one_that_has_it() {
    let mut table = leased_group();
    let promoted = with_history(primary("r6380", 0..0), "second", "first");
    table.nodes.insert(HEIR, leased(promoted, false));
    let follow = Request::Follow(Some(Addr::new("127.0.0.1", PRIMARY)));
    table.run_until(25_000, |t| t.told.iter().any(|(_, port, request)| *port == HEIR && *request == follow));
    assert_eq!((table.happened("+sdown"), primary_of(&table)), (0, PRIMARY));
}
