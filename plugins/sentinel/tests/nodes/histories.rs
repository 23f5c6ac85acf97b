//! Whose history a replica has: when its word deposes a primary, and when it may become the next one.

use super::table::{PRIMARY, Table, primary, replica, with_history};
use keystead_sentinel::wire::Request;

const FIRST: u16 = 6380;
const SECOND: u16 = 6381;
const NOBODY: &str = "0000000000000000000000000000000000000000";

/// The second replica comes back with more of an earlier history than the primary and the first have of the present one.
fn stale() -> String {
    let info = replica("r6381", PRIMARY, "down", 9_000) + "master_link_down_since_seconds:-1\r\n";
    with_history(info, "old", NOBODY) + "db0:keys=9,expires=0,avg_ttl=0\r\n"
}

fn refuses(info: String) -> String {
    info + "keystead_primary_came_back_empty:1\r\n"
}

fn group(second: &str) -> Table {
    let mut table = Table::with_replicas(2, |_| {});
    table.nodes.insert(PRIMARY, with_history(primary("p", FIRST..SECOND + 1), "present", NOBODY));
    table.nodes.insert(FIRST, with_history(replica("r6380", PRIMARY, "up", 500), "present", NOBODY));
    table.run(11_000);
    table.nodes.insert(SECOND, second.to_owned());
    table.run(11_000);
    table
}

fn promoted(table: &mut Table) -> u16 {
    let told = |t: &Table| {
        let promotes = |(_, port, request): &(u64, u16, Request)| (*request == Request::Follow(None)).then_some(*port);
        t.told.iter().find_map(promotes)
    };
    table.run_until(6_000, |t| told(t).is_some());
    told(table).expect("just seen")
}

/// Acknowledged writes of a healthy primary were lost to a replica that had slept through its restarts.
#[test]
fn a_stale_replica_deposes_no_primary_that_others_are_in_sync_with() {
    for second in [refuses(stale()), stale()] {
        let mut table = group(&second);
        assert_eq!(table.happened("+sdown"), 0, "{:?}", table.events);
        let told = table.explained();
        assert!(told.contains("6380 would be promoted: priority 100, offset 500"), "{told}");
        assert!(told.contains("offset 9000; last, because it keeps another history"), "{told}");
        // Nor does it take over when the primary dies.
        table.nodes.remove(&PRIMARY);
        let down = replica("r6380", PRIMARY, "down", 500) + "master_link_down_since_seconds:1\r\n";
        table.nodes.insert(FIRST, with_history(down, "present", NOBODY));
        assert_eq!(promoted(&mut table), FIRST);
    }
}

/// A replica that lost its primary a moment ago.
fn bereft(of: u16, history: &str) -> String {
    let down = replica("r6380", of, "down", 500) + "master_link_down_since_seconds:1\r\n";
    with_history(down, history, NOBODY)
}

/// A primary by its own file, and the one that priorities prefer.
fn preferred(run_id: &str, history: &str) -> String {
    with_history(primary(run_id, 0..0), history, NOBODY) + "slave_priority:1\r\n"
}

#[test]
fn one_that_came_back_without_its_disk_goes_behind_a_replica() {
    let mut table = group(&with_history(replica("r6381", PRIMARY, "up", 500), "present", NOBODY));
    table.nodes.remove(&PRIMARY);
    table.nodes.insert(FIRST, bereft(PRIMARY, "present"));
    table.nodes.insert(SECOND, preferred("again", "new"));
    assert_eq!(promoted(&mut table), FIRST, "{}", table.explained());
}

/// The power failed: the primary stays away, and the one before it is back with its old data. The sentinels were started
/// again as well, and have seen nobody in sync.
#[test]
fn a_former_primary_goes_behind_a_replica_also_when_the_sentinel_was_started_again() {
    let mut table = group(&(with_history(replica("r6381", PRIMARY, "up", 900), "present", NOBODY)));
    table.nodes.remove(&PRIMARY);
    assert_eq!(promoted(&mut table), SECOND);
    table.nodes.insert(SECOND, with_history(primary("r6381", FIRST..SECOND), "later", "present"));
    table.run_until(6_000, |t| t.sentinel.monitors()["m"].current_addr().port == SECOND);
    table.nodes.insert(FIRST, with_history(replica("r6380", SECOND, "up", 500), "later", NOBODY));
    table.run(11_000);
    table.nodes.remove(&SECOND);
    table.nodes.insert(FIRST, bereft(SECOND, "later"));
    table.nodes.insert(PRIMARY, preferred("old", "present"));
    table.told.clear();
    table.restart();
    table.run_until(6_000, |t| t.happened("+odown") > 1);
    assert_eq!(promoted(&mut table), FIRST, "{}", table.explained());
}

#[test]
fn alone_it_is_better_than_nobody() {
    let mut table = group(&stale());
    table.nodes.remove(&PRIMARY);
    table.nodes.remove(&FIRST);
    assert_eq!(promoted(&mut table), SECOND);
}

#[test]
fn a_primary_that_every_replica_refuses_has_lost_its_data() {
    let mut table = group(&refuses(stale()));
    let other = refuses(with_history(replica("r6380", PRIMARY, "down", 8_000), "old", NOBODY));
    table.nodes.insert(FIRST, other);
    table.run_until(12_000, |t| t.happened("+sdown") == 1);
    assert_eq!(promoted(&mut table), SECOND, "the one that has most");
}

/// It would answer each write with MISCONF.
#[test]
fn a_replica_that_can_not_write_its_own_data_goes_last() {
    for line in ["aof_last_write_status:err", "rdb_last_bgsave_status:err"] {
        let ahead = with_history(replica("r6381", PRIMARY, "up", 501), "present", NOBODY);
        let mut table = group(&format!("{ahead}{line}\r\n"));
        let told = table.explained();
        assert!(told.contains("6381 is number 2: priority 100, offset 501; last, because it can't write"), "{told}");
        table.nodes.remove(&FIRST);
        table.nodes.remove(&PRIMARY);
        assert_eq!(promoted(&mut table), SECOND, "better than nobody");
    }
}
