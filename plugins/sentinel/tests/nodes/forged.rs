//! Hellos that anybody may write into a data node's channel: what they cost operators and the sentinel.

use super::table::{PRIMARY, Table};
use keystead_sentinel::globals::Options;

fn hello(table: &mut Table, n: u32) {
    let (host, port) = (format!("10.9.{}.{}", n / 250, n % 250), 20_001 + n % 30_000);
    table.command(&format!("PUBLISH __sentinel__:hello {host},{port},{n:040x},0,m,127.0.0.1,{PRIMARY},0"));
}

/// Each event calls the notification script: a flood of new ids must not call it for each.
#[test]
fn a_flood_of_unsigned_hellos_is_told_of_a_few() {
    let script = |settings: &mut keystead_sentinel::settings::Settings| {
        settings.notification_script = Some("/notify".into());
    };
    let options = Options { hello_key: Some("sixteen letters!".into()), ..Options::default() };
    let mut table = Table::with_options(script, options);
    (0..2_000).for_each(|n| hello(&mut table, n));
    assert_eq!(table.happened("-hello-refused"), 64);
    assert_eq!(table.explained().matches("are ignored: not signed").count(), 64);
    // A minute later it is told that they go on.
    table.run(61_000);
    (0..2_000).for_each(|n| hello(&mut table, 5_000 + n));
    assert_eq!(table.happened("-hello-refused"), 128);
}

#[test]
fn sentinels_beyond_those_that_are_remembered_are_told_of_a_few() {
    let mut table = Table::new(|_| {});
    (0..3_000).for_each(|n| hello(&mut table, n));
    assert_eq!(table.sentinel.monitors()["m"].voters(), 1_025);
    assert_eq!((table.happened("+sentinel"), table.happened("-hello-refused")), (1_024, 64));
    assert!(table.explained().contains("are ignored: too many sentinels are known"));
    assert!(table.logs.len() < 100, "{} lines", table.logs.len());
}
