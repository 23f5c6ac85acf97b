//! One process under two addresses: a replica that announces another one by now, a name that leads to the primary. Nobody is
//! told to follow himself.

use super::table::{PRIMARY, Table, primary, replica, with_history};
use keystead_sentinel::wire::Request;

const CHOSEN: u16 = 6380;
const TWIN: u16 = 6381;
const OTHER: u16 = 6382;

/// Both addresses of the first replica say that they are one process; the third is another.
fn group() -> Table {
    let mut table = Table::with_replicas(3, |settings| settings.failover_timeout_ms = 10_000);
    table.nodes.insert(PRIMARY, with_history(primary("p", CHOSEN..OTHER + 1), "first", "0"));
    for port in [CHOSEN, TWIN] {
        table.nodes.insert(port, with_history(replica("both", PRIMARY, "up", 2000), "first", "0"));
    }
    table.nodes.insert(OTHER, with_history(replica("r6382", PRIMARY, "up", 1000), "first", "0"));
    table.run(11_000);
    table
}

fn promoted(table: &mut Table) {
    for port in [CHOSEN, TWIN] {
        table.nodes.insert(port, with_history(primary("both", OTHER..OTHER + 1), "second", "first"));
    }
}

fn told_to_follow(table: &Table, asked: &[u16]) -> bool {
    table.told.iter().any(|(_, port, request)| asked.contains(port) && matches!(request, Request::Follow(Some(_))))
}

#[test]
fn one_that_was_promoted_is_not_told_by_its_other_address_to_follow_itself() {
    let mut table = group();
    table.nodes.remove(&PRIMARY);
    table.run_until(3_000, |t| t.told.iter().any(|(_, _, request)| *request == Request::Follow(None)));
    promoted(&mut table);
    table.run_until(2_000, |t| t.happened("+failover-state-reconf-slaves") > 0);
    table.nodes.insert(OTHER, with_history(replica("r6382", CHOSEN, "up", 2000), "second", "first"));
    table.run_until(12_000, |t| t.happened("+switch-master") > 0);
    table.run(30_000);
    assert!(!told_to_follow(&table, &[CHOSEN, TWIN]), "{:?}", table.told);
    assert!(told_to_follow(&table, &[OTHER]), "{:?}", table.told);
    assert_eq!(table.happened("+switch-master"), 1);
}

/// It was the primary under that address once, so it would be demoted at once.
#[test]
fn the_primary_is_not_demoted_by_an_address_it_had_before() {
    let mut table = group();
    table.nodes.insert(TWIN, with_history(primary("p", CHOSEN..OTHER + 1), "first", "0"));
    table.run(40_000);
    assert!(!told_to_follow(&table, &[TWIN]), "{:?}", table.told);
    // Another one that claims to be a primary beside it is.
    table.nodes.insert(TWIN, with_history(primary("x", 0..0), "first", "0"));
    table.run(30_000);
    assert!(told_to_follow(&table, &[TWIN]), "{:?}", table.told);
}
