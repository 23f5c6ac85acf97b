//! Another sentinel with the same id, as copying a folder makes one: told to the operator, and nothing else comes of it.

use super::table::{ME, PRIMARY, Table};

fn hello(table: &mut Table, port: u16) {
    table.command(&format!("PUBLISH __sentinel__:hello 127.0.0.1,{port},{ME},0,m,127.0.0.1,{PRIMARY},0"));
}

fn told(table: &Table) -> usize {
    table.logs.iter().filter(|line| line.contains("has this one's id")).count()
}

#[test]
fn a_copy_of_this_sentinel_is_told_once_a_minute_and_explained() {
    let mut table = Table::with_replicas(1, |_| {});
    for _ in 0..4 {
        hello(&mut table, 26379);
        table.run(2_000);
    }
    assert_eq!(told(&table), 0, "its own");
    // One that has moved hears its own words from before, for a moment.
    hello(&mut table, 7001);
    table.run(2_000);
    hello(&mut table, 7001);
    assert_eq!(told(&table), 0);
    for round in 0..34 {
        table.run(2_000);
        hello(&mut table, 7001 + round % 2);
    }
    assert_eq!(told(&table), 2, "{:?}", table.logs);
    assert!(table.explained().contains("has this one's id"), "{}", table.explained());
    table.run(61_000);
    assert!(!table.explained().contains("has this one's id"), "it is gone");
    assert_eq!(table.happened("+sentinel"), 0);
}
