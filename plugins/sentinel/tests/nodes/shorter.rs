//! down-after gets shorter while everybody is well: nobody was asked as often as that before.

use super::table::{PRIMARY, Table};

/// Pings went out once a second; the last answer is so old.
fn asked_a_while_ago() -> Table {
    let mut table = Table::with_replicas(1, |settings| settings.down_after_ms = 30_000);
    let silent = |t: &Table| t.now - t.sentinel.monitors()["m"].primary().last_valid.0;
    table.run_until(2_000, |t| silent(t) >= 900);
    table
}

/// A second of silence was taken for a fall, and a primary that is well was failed over from.
#[test]
fn a_shorter_down_after_takes_nobody_for_down_who_was_not_asked_so_often() {
    for way in ["down-after-milliseconds 500", "down-after-milliseconds 500 GROUP"] {
        let mut table = asked_a_while_ago();
        table.command(&format!("SENTINEL SET m {way}"));
        table.run(2_000);
        assert_eq!((table.happened("+sdown"), table.happened("+try-failover")), (0, 0), "{:?}", table.events);
    }
}

#[test]
fn who_falls_then_is_down_after_the_shorter_time() {
    let mut table = asked_a_while_ago();
    table.command("SENTINEL SET m down-after-milliseconds 500");
    table.nodes.remove(&PRIMARY);
    let since = table.now;
    table.run_until(520, |t| t.happened("+odown") == 1);
    assert!(table.now - since >= 500, "{}", table.now - since);
}

/// It has been silent since before: what counts is how long it has left a ping without an answer.
#[test]
fn who_fell_before_is_not_given_more_time() {
    let mut table = asked_a_while_ago();
    table.nodes.remove(&PRIMARY);
    table.run(700);
    assert_eq!(table.happened("+sdown"), 0);
    table.command("SENTINEL SET m down-after-milliseconds 500");
    assert_eq!(table.happened("+sdown"), 1, "{:?}", table.events);
}
