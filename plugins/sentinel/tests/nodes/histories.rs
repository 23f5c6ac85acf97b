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

/// It may answer each write with MISCONF. That loses nothing, and a replica that has less would.
#[test]
fn a_replica_that_can_not_write_its_own_data_goes_last_if_another_has_as_much() {
    for line in ["aof_last_write_status:err", "rdb_last_bgsave_status:err"] {
        let failing = |offset| {
            let info = replica("r6381", PRIMARY, "up", offset) + "slave_priority:10\r\n";
            format!("{}{line}\r\n", with_history(info, "present", NOBODY))
        };
        let told = group(&failing(501)).explained();
        assert!(told.contains("6381 would be promoted: priority 10, offset 501\n"), "{told}");
        let mut table = group(&failing(500));
        let told = table.explained();
        let last = "6381 is number 2: priority 10, offset 500; last, because it can't write its own data to disk and \
                    another one has as much data";
        assert!(told.contains(last), "{told}");
        table.nodes.remove(&FIRST);
        table.nodes.remove(&PRIMARY);
        assert_eq!(promoted(&mut table), SECOND, "better than nobody");
    }
}

// ---------- a primary that began with nothing, and a replica that joined it

/// The moment at which primary and first replica fall and are back: all three were in sync by then.
const FALL: u64 = 23_000;
const HOUR: i64 = 3_600_000;

/// The primary without its data, since `began`: its clients have written much since.
fn emptied(began: i64) -> String {
    with_history(primary("again", FIRST..SECOND + 1), "empty", NOBODY)
        + &format!("uptime_in_seconds:@{began}\r\ndb0:keys=9,expires=0,avg_ttl=0\r\n")
}

/// The first replica is in sync with it by now, and preferred.
fn joined() -> String {
    with_history(replica("r6380-2", PRIMARY, "up", 9_000), "empty", NOBODY) + "slave_priority:1\r\n"
}

/// Keeps what it has, since its link went down then.
fn keeps(run_id: &str, offset: u64, history: &str, lost: i64) -> String {
    let info = replica(run_id, PRIMARY, "down", offset) + &format!("master_link_down_since_seconds:@{lost}\r\n");
    refuses(with_history(info, history, NOBODY)) + "db0:keys=9,expires=0,avg_ttl=0\r\n"
}

/// All were in sync; by now the primary began then, the first replica joined it, and the second one says this.
fn emptied_group(began: i64, second: &str) -> Table {
    let mut table = group(&with_history(replica("r6381", PRIMARY, "up", 500), "present", NOBODY));
    table.run_until(2_000, |t| t.now >= FALL);
    table.nodes.insert(PRIMARY, emptied(began));
    table.nodes.insert(FIRST, joined());
    table.nodes.insert(SECOND, second.to_owned());
    table
}

/// Both are known with what they have by now before the second replica says this, and that changes nothing.
#[track_caller]
fn stays(primary: &str, second: &str) {
    let mut table = emptied_group(0, &with_history(replica("r6381", PRIMARY, "up", 500), "present", NOBODY));
    table.nodes.insert(PRIMARY, primary.to_owned());
    table.run(11_000);
    table.nodes.insert(SECOND, second.to_owned());
    table.run(25_000);
    assert_eq!(table.happened("+sdown"), 0, "{second}: {:?}", table.events);
}

#[test]
fn a_replica_that_joined_the_emptied_primary_hides_nothing() {
    let fall = FALL as i64;
    // Lost shortly before the next process began, or only noticed by then.
    for began in [fall, fall - 1_500, fall + 1_500] {
        let mut table = emptied_group(began, &keeps("r6381", 500, "present", fall));
        table.run_until(12_000, |t| t.happened("+odown") == 1);
        let told = table.explained();
        assert!(told.contains("6381 would be promoted"), "{told}");
        assert!(told.contains("6380 would not be promoted: it has only what the primary came back with"), "{told}");
        assert_eq!(promoted(&mut table), SECOND);
        assert_eq!(table.happened("-failover-abort-master-is-back"), 0, "{:?}", table.events);
    }
}

/// The power failed: all were started again, and one had all of it on its own disk. The emptied ones found each other, and
/// what was left was kept by a replica that nobody asked any more.
#[test]
fn a_replica_that_fell_too_and_has_what_all_had_is_promoted() {
    let kept = keeps("r6381-2", 400, "present", 0).replace("seconds:@0", "seconds:-1");
    for sentinel_falls in [false, true] {
        let mut table = emptied_group(FALL as i64, &kept);
        if sentinel_falls {
            table.restart();
        }
        table.run_until(12_000, |t| t.happened("+odown") == 1);
        assert_eq!(promoted(&mut table), SECOND, "{}", table.explained());
        assert_eq!(table.happened("-failover-abort-master-is-back"), 0, "{:?}", table.events);
    }
    // It was away long before: what it has is old. That it is there is said, once.
    let mut table = group(&with_history(replica("r6381", PRIMARY, "up", 500), "present", NOBODY));
    table.nodes.remove(&SECOND);
    table.run(60_000);
    table.nodes.insert(PRIMARY, emptied(table.now as i64));
    table.nodes.insert(FIRST, joined());
    table.run(11_000);
    table.nodes.insert(SECOND, kept);
    table.run(25_000);
    assert_eq!(table.happened("+odown"), 0, "{:?}", table.events);
    let said =
        |line: &&String| line.contains("6381 keeps data that the primary came back without, but others are in sync");
    assert_eq!(table.logs.iter().filter(said).count(), 1, "{:?}", table.logs);
}

/// Its link is down for much longer than the other one's by then, and that says nothing against it.
#[test]
fn that_is_seen_by_a_sentinel_that_was_started_half_an_hour_later_too() {
    let fell = FALL as i64 - HOUR / 2;
    let mut table = emptied_group(fell + 500, &keeps("r6381", 500, "present", fell));
    table.restart();
    assert_eq!(promoted(&mut table), SECOND, "{}", table.explained());
}

/// A replica was cut off when the primary lost its data, and is back a week later: what clients have written since isn't given
/// up for what it keeps, also if the primary was started again meanwhile, with what it had by then. It is said, and once.
#[test]
fn who_comes_back_a_week_later_deposes_no_primary() {
    let (fall, week) = (FALL as i64, 7 * 24 * HOUR);
    let old = emptied(fall - week);
    let again = emptied(fall - 60_000).replace(NOBODY, "before");
    for (info, joins) in [(&old, true), (&old, false), (&again, true), (&again, false)] {
        let mut table = emptied_group(0, &keeps("r6381", 9_000, "present", fall - week));
        table.nodes.insert(PRIMARY, info.clone());
        if !joins {
            table.nodes.remove(&FIRST);
        }
        table.restart();
        table.run(25_000);
        assert_eq!(table.happened("+odown"), 0, "{joins} {info}: {:?}", table.events);
        let told = table.explained();
        assert!(told.contains("6381 keeps data that the primary came back without"), "{told}");
        let said = |line: &&String| line.contains("keeps data that the primary came back without");
        assert_eq!(table.logs.iter().filter(said).count(), 1, "{:?}", table.logs);
        if joins {
            // Nor does it take over when the primary dies.
            table.nodes.remove(&PRIMARY);
            let down = replica("r6380-2", PRIMARY, "down", 500) + "master_link_down_since_seconds:1\r\n";
            table.nodes.insert(FIRST, with_history(down, "empty", NOBODY));
            assert_eq!(promoted(&mut table), FIRST, "{}", table.explained());
        }
    }
}

/// It is as young as its data's end, where the primary doesn't say when it lost it.
#[test]
fn a_primary_that_was_started_again_with_the_little_it_had_is_deposed_within_the_hour() {
    let fell = FALL as i64 - HOUR / 2;
    let mut table = emptied_group(0, &keeps("r6381", 9_000, "present", fell));
    table.nodes.remove(&FIRST);
    table.nodes.insert(PRIMARY, emptied(fell + 60_000).replace(NOBODY, "before"));
    table.run(11_000);
    assert_eq!(promoted(&mut table), SECOND, "{}", table.explained());
}

/// It is old, or may be: the primary has had more than one life since, or had data when it began.
#[test]
fn who_lost_the_primary_at_another_time_is_no_witness() {
    let began = FALL as i64 - 600_000;
    let asleep = keeps("r6381", 9_000, "old", FALL as i64);
    let cut_off = keeps("r6381", 9_000, "old", began - 5_000);
    for second in [stale(), refuses(stale()), asleep, cut_off] {
        stays(&emptied(began), &second);
    }
    stays(&emptied(began).replace(NOBODY, "before"), &keeps("r6381", 9_000, "old", began));
}

#[test]
fn a_witness_that_is_never_promoted_deposes_nobody() {
    let fall = FALL as i64;
    stays(&emptied(fall), &(keeps("r6381", 500, "present", fall) + "slave_priority:0\r\n"));
}

/// The primary began twice with nothing: one of those that saw it has what was written in between.
#[test]
fn of_witnesses_of_two_histories_the_one_with_most_is_promoted() {
    let fall = FALL as i64;
    let mut table = emptied_group(fall + 1_000, &with_history(replica("r6381", PRIMARY, "up", 500), "present", NOBODY));
    table.run(11_000); // the primary is heard
    table.nodes.insert(FIRST, keeps("r6380", 40, "between", fall + 1_000) + "slave_priority:1\r\n");
    table.nodes.insert(SECOND, keeps("r6381", 500, "present", fall));
    table.run_until(12_000, |t| t.happened("+odown") == 1);
    let told = table.explained();
    assert!(told.contains("offset 40; last, because it keeps another history"), "{told}");
    assert_eq!(promoted(&mut table), SECOND, "{told}");
}

/// What the primary began with isn't known yet: then nor is who has that.
#[test]
fn a_refusal_counts_when_the_primary_was_heard() {
    let fall = FALL as i64;
    let mut table = emptied_group(fall, &keeps("r6381", 500, "present", fall));
    let present = with_history(primary("p", FIRST..SECOND + 1), "present", NOBODY);
    table.nodes.insert(PRIMARY, present);
    table.run(25_000);
    assert_eq!(table.happened("+sdown"), 0, "{:?}", table.events);
}
