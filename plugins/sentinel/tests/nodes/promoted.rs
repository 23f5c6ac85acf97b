//! A replica says that it is a primary: whether somebody promoted it, and who finishes that failover.

use super::table::{PEER, PRIMARY, Table, primary, replica, with_history};
use keystead_sentinel::types::Addr;
use keystead_sentinel::wire::Request;

const FIRST: u16 = 6380;
const SECOND: u16 = 6381;
const NOBODY: &str = "0000000000000000000000000000000000000000";

/// A primary and two replicas of one history; the first is preferred.
fn group() -> Table {
    let mut table = Table::with_replicas(2, |settings| {
        settings.failover_timeout_ms = 10_000;
        settings.client_reconfig_script = Some("/moved".into());
    });
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..SECOND + 1), "first", NOBODY));
    for (port, offset) in [(FIRST, 1000), (SECOND, 900)] {
        let info = replica(&format!("r{port}"), PRIMARY, "up", offset);
        table.nodes.insert(port, with_history(info, "first", NOBODY));
    }
    table.run(11_000);
    table
}

/// The primary has died and `port` says `info` from then on; until somebody is named.
fn fall(table: &mut Table, port: u16, info: &str) -> u16 {
    table.nodes.remove(&PRIMARY);
    table.nodes.insert(port, info.to_owned());
    table.run_until(5_000, |t| t.happened("+sdown") > 0);
    let (end, named) = (table.now + 5_000, |t: &Table| t.sentinel.monitors()["m"].current_addr().port);
    table.run_until(6_000, |t| named(t) != PRIMARY || t.now > end || t.told.iter().any(promotes));
    // Who is told does it.
    if let Some((_, told, _)) = table.told.iter().find(|told| promotes(told)).cloned() {
        table.nodes.insert(told, with_history(primary(&format!("r{told}"), 0..0), "second", "first"));
    }
    table.run_until(6_000, |t| named(t) != PRIMARY);
    named(table)
}

fn promotes((_, _, request): &(u64, u16, Request)) -> bool {
    *request == Request::Follow(None)
}

/// Its replication was taken apart before its connections: it says another role, and goes on with the history it had.
#[test]
fn a_replica_that_says_it_is_a_primary_was_promoted_only_if_it_began_a_history() {
    let dying = primary("r6380", 0..0);
    for info in [with_history(dying.clone(), "first", NOBODY), dying.clone()] {
        let mut table = group();
        assert_eq!(fall(&mut table, FIRST, &info), SECOND, "{info}");
        assert!(!table.told.iter().any(|told| promotes(told) && told.1 == FIRST), "{:?}", table.told);
    }
    let mut table = group();
    assert_eq!(fall(&mut table, FIRST, &with_history(dying, "second", "first")), FIRST);
    assert!(!table.told.iter().any(promotes), "another leader promoted it: {:?}", table.told);
}

/// Nobody was there when it was promoted, or it was started again since: there was no primary for ever.
#[test]
fn one_that_was_promoted_unseen_is_found_while_there_is_no_primary() {
    let promoted = with_history(primary("r6380", 0..0), "second", "first");
    let restarted = with_history(primary("again", 0..0), "third", "second");
    for (info, sentinel_too) in [(&promoted, true), (&restarted, false), (&restarted, true)] {
        let mut table = Table::with_replicas(1, |_| {});
        table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..SECOND), "first", NOBODY));
        table.nodes.insert(FIRST, with_history(replica("r6380", PRIMARY, "up", 1000), "first", NOBODY));
        table.run(11_000);
        table.nodes.remove(&PRIMARY);
        table.nodes.insert(FIRST, info.clone());
        if sentinel_too {
            table.restart();
        }
        table.run_until(15_000, |t| t.sentinel.monitors()["m"].current_addr().port == FIRST);
    }
}

/// As long as there is a primary, its own failovers and hellos say who becomes the next one.
#[test]
fn one_that_says_it_is_a_primary_is_no_candidate_beside_one() {
    let mut table = group();
    table.nodes.insert(FIRST, with_history(primary("again", 0..0), "third", "second"));
    table.run_until(12_000, |t| t.happened("-role-change") > 0);
    assert!(table.explained().contains("6380 would not be promoted: it does not report the role"));
}

#[test]
fn an_answer_without_a_role_changes_nothing_that_is_known() {
    let mut table = group();
    table.nodes.remove(&PRIMARY);
    table.nodes.insert(FIRST, "run_id:r6380\r\n".into());
    table.run_until(6_000, |t| t.told.iter().any(promotes));
    assert_eq!(table.happened("-role-change"), 0, "{:?}", table.events);
    // Nobody is taken for promoted before it says so.
    table.run(1_000);
    assert_eq!(table.sentinel.monitors()["m"].current_addr().port, PRIMARY);
}

/// Scripts move an address to the new primary's host: whoever finishes the failover calls them as its leader.
#[test]
fn whoever_finishes_a_promotion_calls_the_script_as_a_leader() {
    let mut table = group();
    let promoted = with_history(primary("r6380", 0..0), "second", "first");
    assert_eq!(fall(&mut table, FIRST, &promoted), FIRST);
    assert_eq!(table.happened("+promoted-slave"), 0, "that was another's");
    let leader = format!("/moved m leader start 127.0.0.1 {PRIMARY} 127.0.0.1 {FIRST}");
    assert_eq!(table.scripts, [leader.as_str()]);
    // The other leader is back and has the higher epoch: to the same address nothing moves a second time.
    let text = format!("127.0.0.1,26380,{PEER},9,m,127.0.0.1,{FIRST},9");
    table.command(&format!("PUBLISH __sentinel__:hello {text}"));
    table.run(3_000);
    assert_eq!(*table.sentinel.monitors()["m"].current_addr(), Addr::new("127.0.0.1", FIRST));
    assert_eq!(table.scripts, [leader.as_str()]);
}

#[test]
fn whoever_hears_of_a_promotion_calls_the_script_as_an_observer() {
    let mut table = group();
    let text = format!("127.0.0.1,26380,{PEER},9,m,127.0.0.1,{FIRST},9");
    table.command(&format!("PUBLISH __sentinel__:hello {text}"));
    table.run(3_000);
    assert_eq!(table.scripts, [format!("/moved m observer start 127.0.0.1 {PRIMARY} 127.0.0.1 {FIRST}")]);
}
