//! REPLICAOF in a circle: nobody is a primary, and no node ends that by itself.

use super::table::{PEER, PRIMARY, Table, primary, replica, with_history};
use keystead_sentinel::types::Addr;
use keystead_sentinel::wire::Request;

const FIRST: u16 = 6380;
const SECOND: u16 = 6381;
/// Until the primary's next INFO is read.
const NOTICED_MS: u64 = 10_200;
/// down-after, and a failover in which everybody answers.
const OPENED_MS: u64 = 1_600;

fn follows(port: u16, of: u16) -> String {
    let run_id = if port == PRIMARY { "p".to_owned() } else { format!("r{port}") };
    with_history(replica(&run_id, of, "down", 1000), "first", "0")
}

fn group() -> Table {
    let mut table = Table::with_replicas(2, |settings| settings.failover_timeout_ms = 10_000);
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..SECOND + 1), "first", "0"));
    for port in [FIRST, SECOND] {
        table.nodes.insert(port, with_history(replica(&format!("r{port}"), PRIMARY, "up", 1000), "first", "0"));
    }
    table.run(11_000);
    table
}

/// Each of these follows that one from now on.
fn wired(wires: &[(u16, u16)]) -> Table {
    let mut table = group();
    for (port, of) in wires {
        table.nodes.insert(*port, follows(*port, *of));
    }
    table
}

fn promoted(table: &Table) -> Option<u16> {
    table.told.iter().find_map(|(_, port, request)| (*request == Request::Follow(None)).then_some(*port))
}

#[test]
fn a_circle_is_opened_after_down_after() {
    for wires in [
        &[(PRIMARY, FIRST), (FIRST, PRIMARY)][..],
        &[(PRIMARY, FIRST), (FIRST, SECOND), (SECOND, PRIMARY)],
        &[(PRIMARY, PRIMARY)],
        &[(PRIMARY, FIRST), (FIRST, SECOND), (SECOND, FIRST)],
    ] {
        let mut table = wired(wires);
        table.run_until(NOTICED_MS, |t| t.happened("-role-change") > 0);
        let noticed = table.now;
        table.run_until(OPENED_MS, |t| promoted(t).is_some());
        assert!(table.now - noticed >= 1_000, "{wires:?}: somebody may be swapping roles by hand");
        let told = table.explained();
        assert!(told.contains("in a circle"), "{told}");
        // Where the circle was doesn't matter any more.
        let heir = promoted(&table).expect("just seen");
        let run_id = format!("r{heir}");
        table.nodes.insert(heir, with_history(primary(&run_id, 0..0), "second", "first"));
        table.run_until(2_000, |t| t.sentinel.monitors()["m"].current_addr().port == heir);
        table.run(25_000);
        let follow = Request::Follow(Some(Addr::new("127.0.0.1", heir)));
        let told = |port: u16| table.told.iter().any(|(_, to, request)| *to == port && *request == follow);
        let others = [PRIMARY, FIRST, SECOND].into_iter().filter(|port| *port != heir);
        for port in others.filter(|port| !wires.contains(&(*port, heir))) {
            assert!(told(port), "{wires:?}: {port} wasn't told: {:?}", table.told);
        }
        assert_eq!(table.happened("+promoted-slave"), 1, "{wires:?}");
    }
}

/// What its link noticed is enough: not everybody on the way need be known.
#[test]
fn the_primarys_own_word_is_enough() {
    let mut table = group();
    table.nodes.insert(PRIMARY, follows(PRIMARY, 7777) + "keystead_replicaof_loop:1\r\n");
    table.run_until(NOTICED_MS + OPENED_MS, |t| promoted(t).is_some());
}

#[test]
fn a_way_that_ends_is_no_circle() {
    for wires in [&[(PRIMARY, FIRST), (FIRST, 7777)][..], &[(PRIMARY, 7777), (FIRST, SECOND), (SECOND, FIRST)]] {
        let mut table = wired(wires);
        table.run(NOTICED_MS + OPENED_MS + 3_000);
        assert_eq!(table.happened("+odown"), 0, "{wires:?}: {:?}", table.events);
    }
}

/// An operator who swaps two nodes by hand begins with the primary.
#[test]
fn a_circle_that_is_opened_in_time_is_none() {
    let mut table = wired(&[(PRIMARY, FIRST), (FIRST, PRIMARY)]);
    table.run_until(NOTICED_MS, |t| t.happened("-role-change") > 0);
    table.run(600);
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..SECOND + 1), "second", "first"));
    table.run(20_000);
    assert_eq!((table.happened("+sdown"), promoted(&table)), (0, None));
}

/// A peer's down-vote counts for three seconds, also if the primary has become another thing within them.
#[test]
fn a_down_vote_from_before_the_circle_is_no_word_of_it() {
    let mut table = group();
    table.meet_peer();
    let vote = |table: &mut Table| {
        table.command(&format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {PRIMARY} 0 * {PEER} 0 p"));
    };
    let changed = |t: &Table| t.happened("-role-change") > 0;
    // The primary is asked once a second behind a peer's question: the vote comes half a second before the circle is seen.
    vote(&mut table);
    table.run(500);
    [(PRIMARY, FIRST), (FIRST, PRIMARY)].into_iter().for_each(|(port, of)| {
        table.nodes.insert(port, follows(port, of));
    });
    table.run_until(1_200, changed);
    let noticed = table.now;
    table.run(800);
    assert!(table.explained().contains("in a circle") && table.explained().contains("sees the primary down"));
    assert_eq!(table.happened("+sdown"), 0, "{} ms behind the circle: {:?}", table.now - noticed, table.events);
    // What it says of the circle counts at once.
    let mut table = wired(&[(PRIMARY, FIRST), (FIRST, PRIMARY)]);
    table.meet_peer();
    table.run_until(NOTICED_MS, changed);
    table.run(300);
    assert!(table.explained().contains("in a circle") && table.happened("+sdown") == 0);
    vote(&mut table);
    table.run(40);
    assert_eq!(table.happened("+sdown"), 1, "{:?}", table.events);
}
