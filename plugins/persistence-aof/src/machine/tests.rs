//! Tables: a policy, what happens, what must follow.

use super::*;
use Action::{Accept, Confirm, Durable, Free, Refuse, Rewrite, Sync, Truncate};
use keystead_plugin::ReplId;

fn place(n: u64) -> Place {
    Place { position: n, offset: n + 1000, replid: ReplId::NONE, db: None }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn trusted(policy: Fsync) -> Machine {
    let mut machine = Machine::new(ms(0), policy, 100);
    machine.trust(Some(place(0)));
    machine
}

#[test]
fn always_confirms_behind_each_sync_and_never_before() {
    let mut m = trusted(Fsync::Always);
    assert_eq!(m.appended(ms(1), 10, place(10)), [Sync]);
    assert_eq!(m.synced(ms(2)), [Confirm(10), Durable(1010)]);
    assert_eq!(m.appended(ms(3), 10, place(20)), [Sync]);
    assert_eq!(m.due(ms(3)), [], "one sync at a time");
    assert_eq!(m.wake_at(), None);
}

#[test]
fn replies_do_not_wait_for_what_files_do_not_hold() {
    let mut m = trusted(Fsync::Always);
    assert_eq!(m.moved(place(14)), [Confirm(14), Durable(1014)], "a PING to replicas");
    assert_eq!(m.appended(ms(1), 10, place(20)), [Sync]);
    assert_eq!(m.moved(place(34)), [], "but for what comes before it");
    assert_eq!(m.synced(ms(2)), [Confirm(34), Durable(1034)]);
}

#[test]
fn everysec_syncs_once_a_second_and_replies_wait_for_the_write_alone() {
    let mut m = trusted(Fsync::Everysec);
    assert_eq!(m.appended(ms(500), 10, place(10)), [Confirm(10)]);
    assert_eq!(m.wake_at(), Some(ms(1000)));
    assert_eq!(m.due(ms(999)), []);
    assert_eq!(m.due(ms(1000)), [Sync]);
    assert_eq!(m.appended(ms(1005), 10, place(20)), [Confirm(20)], "it is written on meanwhile");
    assert_eq!(m.wake_at(), None, "the end of the sync is waited for, not a time that is past");
    assert_eq!(m.moved(place(25)), [Confirm(25)]);
    assert!(!m.is_written_through(), "a write may have to wait for the sync");
    assert_eq!(m.synced(ms(1010)), [Confirm(25), Durable(1010)]);
    assert_eq!((m.due(ms(2000)), m.synced(ms(2001))), (vec![Sync], vec![Confirm(25), Durable(1025)]));
    assert_eq!((m.wake_at(), m.due(ms(5000))), (None, vec![]), "nothing new");
    m.set_spared(true);
    assert_eq!(
        (m.appended(ms(5000), 1, place(31)), m.wake_at()),
        (vec![Confirm(31)], None),
        "no-appendfsync-on-rewrite"
    );
    assert_eq!(m.sync(ms(5001)), [Sync]);
    assert_eq!(m.synced(ms(7001)), [Confirm(31), Durable(1031)]);
    assert_eq!(m.take_delayed(), 1);
}

#[test]
fn no_leaves_it_to_the_system() {
    let mut m = trusted(Fsync::No);
    assert_eq!(m.appended(ms(5000), 10, place(10)), [Confirm(10)]);
    assert_eq!((m.due(ms(9000)), m.wake_at()), (vec![], None));
}

#[test]
fn a_failed_write_is_cut_off_and_writes_stop_until_one_works() {
    let mut m = trusted(Fsync::Everysec);
    m.appended(ms(1), 10, place(10));
    let failed = [Truncate(110), Refuse("No space left on device".into()), Free];
    assert_eq!(m.append_failed("No space left on device"), failed);
    assert_eq!(m.append_failed("No space left on device").len(), 3);
    assert!(!m.is_written_through());
    assert_eq!(m.appended(ms(3), 10, place(20)), [Confirm(20), Accept], "replies wait again first");
    assert_eq!((m.size(), m.failed()), (120, None));
}

#[test]
fn under_always_writes_run_again_when_the_one_that_works_is_on_the_disk_and_confirmed() {
    let mut m = trusted(Fsync::Always);
    m.append_failed("No space left on device");
    assert_eq!(m.appended(ms(1), 10, place(10)), [Sync]);
    assert_eq!(m.synced(ms(2)), [Confirm(10), Durable(1010), Accept]);
    m.append_failed("No space left on device");
    assert_eq!(m.appended(ms(3), 10, place(20)), [Sync]);
    assert_eq!(m.sync_failed(ms(4), "Input/output error"), [Refuse("Input/output error".into()), Rewrite]);
    assert_eq!((m.synced(ms(5)), m.confirmed()), (vec![], None));
}

#[test]
fn behind_a_failed_sync_only_new_files_are_trusted() {
    let mut m = trusted(Fsync::Always);
    m.appended(ms(1), 10, place(10));
    assert_eq!(m.sync_failed(ms(2), "Input/output error"), [Refuse("Input/output error".into()), Rewrite]);
    assert_eq!(m.sync(ms(3)), [Sync]);
    assert_eq!(m.synced(ms(4)), [], "the system may have dropped the pages");
    assert_eq!(m.sync(ms(6)), [Sync]);
    assert_eq!(m.sync_failed(ms(7), "Input/output error"), [Refuse("Input/output error".into())], "asked for already");
}

#[test]
fn behind_a_failed_sync_the_disk_is_not_asked_again_and_again() {
    for policy in [Fsync::Always, Fsync::Everysec] {
        let mut m = trusted(policy);
        m.appended(ms(1), 10, place(10));
        assert_eq!(m.sync(ms(1000)), [Sync]);
        m.sync_failed(ms(1001), "Input/output error");
        assert_eq!(m.appended(ms(1002), 10, place(20)), [], "{policy:?}");
        assert_eq!((m.due(ms(1003)), m.due(ms(60_000)), m.wake_at()), (vec![], vec![], None), "{policy:?}");
    }
}

#[test]
fn a_file_that_no_restart_would_load_confirms_nothing() {
    let mut m = Machine::new(ms(0), Fsync::Always, 0);
    assert_eq!(m.appended(ms(1), 10, place(10)), [Sync]);
    assert_eq!(m.synced(ms(2)), []);
    assert_eq!(m.trust(None), [Confirm(10), Durable(1010)]);
}

#[test]
fn growth_asks_for_a_rewrite() {
    let cases = [
        (100, 64, 50, 100, true),
        (100, 64, 50, 99, false),
        (0, 64, 1, 1000, false),
        (100, 1000, 1, 1000, false),
        (100, 10, 0, 11, true),
    ];
    for (percentage, min, base, size, want) in cases {
        assert_eq!(wants_rewrite(percentage, min, base, size), want, "{percentage} {min} {base} {size}");
    }
}

#[test]
fn under_everysec_the_disk_begins_early_with_whole_pages_each_of_them_once() {
    let mut m = trusted(Fsync::Everysec);
    m.appended(ms(1), AHEAD - 100, place(10));
    assert_eq!(m.ahead(), Some(0..AHEAD));
    m.appended(ms(2), AHEAD - 1, place(20));
    assert_eq!(m.ahead(), None, "the last page isn't whole yet");
    m.appended(ms(3), 1, place(30));
    assert_eq!(m.ahead(), Some(AHEAD..2 * AHEAD));
    m.appended(ms(4), AHEAD, place(40));
    assert_eq!(m.due(ms(1000)), [Sync]);
    assert_eq!(m.ahead(), None, "the sync does it");
    m.synced(ms(1010));
    m.appended(ms(1011), AHEAD, place(50));
    assert_eq!(m.ahead(), Some(3 * AHEAD..4 * AHEAD), "not what it did");
}

#[test]
fn the_disk_is_left_alone_where_nothing_waits_for_it() {
    for policy in [Fsync::Always, Fsync::No] {
        let mut m = trusted(policy);
        m.appended(ms(1), 2 * AHEAD, place(10));
        assert_eq!(m.ahead(), None, "{policy:?}");
    }
    let mut m = trusted(Fsync::Everysec);
    m.set_spared(true);
    m.appended(ms(1), 2 * AHEAD, place(10));
    assert_eq!(m.ahead(), None, "no-appendfsync-on-rewrite");
}

#[test]
fn behind_a_file_that_is_not_on_the_disk_yet_replies_leave_and_nothing_counts_as_synced() {
    let mut m = Machine::new(ms(0), Fsync::Everysec, 0);
    assert_eq!(m.follow(Some(place(10))), [Confirm(10)]);
    assert_eq!(m.moved(place(15)), [Confirm(15)], "nothing is in it, and yet that isn't on the disk");
    assert_eq!(m.appended(ms(5), 2 * AHEAD, place(20)), [Confirm(20)]);
    assert_eq!((m.due(ms(5000)), m.wake_at(), m.ahead()), (vec![], None, None), "the file before comes first");
    assert!(!m.is_written_through(), "a write may have to wait for its sync");
    m.set_policy(Fsync::Always);
    assert_eq!((m.shown(), m.due(ms(5001))), (vec![], vec![]));
    m.set_policy(Fsync::Everysec);
    assert_eq!(m.trust(Some(place(10))), [Confirm(20), Durable(1015)], "by its end, so far had the stream come");
    assert_eq!(m.due(ms(5002)), [Sync]);
    assert_eq!(m.synced(ms(5003)), [Confirm(20), Durable(1020)]);
}

#[test]
fn behind_a_file_that_can_not_be_put_on_the_disk_nothing_is_confirmed() {
    let mut m = Machine::new(ms(0), Fsync::Everysec, 0);
    m.follow(Some(place(10)));
    m.distrust();
    assert_eq!(m.appended(ms(5), 10, place(20)), []);
    assert_eq!((m.due(ms(1005)), m.synced(ms(1006)), m.confirmed()), (vec![Sync], vec![], None));
    assert_eq!(m.trust(Some(place(10))), [Confirm(20), Durable(1020)], "there is a base");
}

#[test]
fn a_file_is_proven_by_a_sync_that_had_something_to_do() {
    let mut m = trusted(Fsync::Everysec);
    m.sync(ms(1));
    m.synced(ms(2));
    assert!(!m.is_proven());
    m.appended(ms(3), 10, place(10));
    m.sync(ms(4));
    m.synced(ms(5));
    assert!(m.is_proven());
}
