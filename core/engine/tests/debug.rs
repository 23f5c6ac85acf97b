//! DEBUG's subcommands that other servers' suites use.

mod kit;

use kit::Kit;

#[test]
fn paused_work_goes_on_when_it_may() {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.cmd(id, "SET k v PX 10");
    kit.cmd(id, "DEBUG PAUSE-CRON 1");
    kit.advance(100);
    assert_eq!(kit.cmd(id, "DBSIZE"), ":1\r\n", "nobody looked");
    kit.cmd(id, "DEBUG PAUSE-CRON 0");
    kit.advance(100);
    assert_eq!(kit.cmd(id, "DBSIZE"), ":0\r\n");
}

#[test]
fn tables_tell_how_much_they_hold() {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.cmd(id, "CONFIG SET hash-max-listpack-entries 1");
    kit.cmd(id, "HSET big a 1 b 2 c 3");
    kit.cmd(id, "HSET small a 1");
    assert!(kit.cmd(id, "DEBUG HTSTATS 0").contains(" number of elements: 2\n"));
    assert!(kit.cmd(id, "DEBUG HTSTATS-KEY big").contains(" number of elements: 3\n"));
    let refused = kit.cmd(id, "DEBUG HTSTATS-KEY small");
    assert!(refused.contains("is not represented using an hash table"), "{refused}");
    assert_eq!(kit.cmd(id, "DEBUG HTSTATS-KEY none"), "-ERR no such key\r\n");
    assert_eq!(kit.cmd(id, "DEBUG HTSTATS 99"), "-ERR Out of range database\r\n");
}

#[test]
fn what_changes_nothing_checks_its_value_all_the_same() {
    let mut kit = Kit::default();
    let id = kit.connect();
    for good in ["QUICKLIST-PACKED-THRESHOLD 10b", "REPLYBUFFER RESIZING 0", "REPLYBUFFER PEAK-RESET-TIME never"] {
        assert_eq!(kit.cmd(id, &format!("DEBUG {good}")), "+OK\r\n", "{good}");
    }
    for bad in ["QUICKLIST-PACKED-THRESHOLD x", "QUICKLIST-PACKED-THRESHOLD 5gb", "REPLYBUFFER x 1"] {
        assert!(kit.cmd(id, &format!("DEBUG {bad}")).starts_with("-ERR "), "{bad}");
    }
}

#[test]
fn a_reload_over_what_is_there_needs_merge() {
    let mut kit = Kit::default();
    let id = kit.connect();
    assert_eq!(kit.cmd(id, "DEBUG RELOAD NOFLUSH"), "+OK\r\n", "nothing is there");
    kit.cmd(id, "SET k v");
    let refused = kit.cmd(id, "DEBUG RELOAD NOFLUSH");
    assert_eq!(refused, "-ERR Error trying to load the RDB dump, check server logs.\r\n");
    assert_eq!(kit.cmd(id, "DEBUG RELOAD NOFLUSH MERGE"), "+OK\r\n");
    assert_eq!(kit.cmd(id, "GET k"), "$1\r\nv\r\n");
}
