//! Two failovers of one epoch, which operators asked two sentinels for: everybody comes to hold the same primary.

use super::table::{PEER, PRIMARY, Table, primary, replica, with_history};

const LOW: u16 = 6380;
const HIGH: u16 = 6381;

/// This sentinel has promoted that replica in epoch 1, and knows the other one.
fn promoted(port: u16) -> Table {
    let mut table = Table::with_replicas(2, |settings| settings.failover_timeout_ms = 3_000);
    table.meet_peer();
    hello(&mut table, port, 1);
    table.nodes.insert(PRIMARY, replica("p", port, "up", 1000));
    became_primary(&mut table, port);
    table.run(3_000);
    assert_eq!(held(&table), port);
    table
}

fn became_primary(table: &mut Table, port: u16) {
    table.nodes.insert(port, with_history(primary(&format!("r{port}"), 0..0), &format!("h{port}"), "first"));
}

fn hello(table: &mut Table, primary: u16, epoch: u64) {
    table.command(&format!("PUBLISH __sentinel__:hello 127.0.0.1,26380,{PEER},{epoch},m,127.0.0.1,{primary},{epoch}"));
}

fn held(table: &Table) -> u16 {
    table.sentinel.monitors()["m"].current_addr().port
}

#[test]
fn of_two_primaries_of_one_epoch_the_higher_address_is_kept() {
    for (own, other) in [(LOW, HIGH), (HIGH, LOW)] {
        let mut table = promoted(own);
        became_primary(&mut table, other);
        table.run(1_500);
        hello(&mut table, other, 1);
        assert_eq!(held(&table), HIGH, "{own}, told of {other}");
        assert_eq!(table.sentinel.monitors()["m"].config_epoch.0, 1);
    }
}

#[test]
fn one_that_follows_gives_way_to_one_that_does_not() {
    let mut table = promoted(HIGH);
    became_primary(&mut table, LOW);
    table.nodes.insert(HIGH, replica("r6381", LOW, "up", 1000));
    table.run(10_500);
    hello(&mut table, LOW, 1);
    assert_eq!(held(&table), LOW);
    // And is not taken back.
    hello(&mut table, HIGH, 1);
    assert_eq!(held(&table), LOW);
}

/// Before the first failover the file says who is the primary, and nobody unknown is taken for one.
#[test]
fn nothing_else_of_the_same_epoch_changes_anything() {
    let mut table = promoted(LOW);
    hello(&mut table, 9_999, 1);
    assert_eq!(held(&table), LOW);
    let mut table = Table::with_replicas(2, |_| {});
    table.meet_peer();
    hello(&mut table, HIGH, 0);
    assert_eq!(held(&table), PRIMARY);
}
