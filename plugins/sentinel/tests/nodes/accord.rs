//! A group whose sentinels hold their elections by different strategies: nobody was told.

use super::table::{PEER, Table};
use keystead_sentinel::actions::{Event, Fall};
use keystead_sentinel::types::{Kind, Lane};
use keystead_sentinel::wire::Reply;

/// The peer's link breaks, and is there again.
fn again(table: &mut Table) {
    let peer = table.sentinel.monitors()["m"].of(Kind::Sentinel).next().expect("the peer");
    let (instance, generation) = (peer.id, peer.command.generation);
    table.step(Event::LinkDown { instance, lane: Lane::Command, generation, fall: Fall::Gone(String::new()) });
    table.run(2_000);
}

#[test]
fn a_peer_that_holds_elections_by_another_strategy_is_named_once() {
    let mut table = Table::with_replicas(1, |_| {});
    let says = |elections: &str| Some(format!("keystead_version:0.1.0\r\nkeystead_elections:{elections}\r\n"));
    table.peer_info = says("other=x,m=lease");
    table.meet_peer();
    let line = format!("sentinel {PEER} holds its elections by 'lease', this one by 'sentinel'");
    let told = |t: &Table| t.logs.iter().filter(|told| told.contains(&line)).count();
    assert_eq!(told(&table), 1, "{:?}", table.logs);
    again(&mut table);
    assert_eq!(told(&table), 1, "it has been said");
    assert!(table.explained().contains(&line), "{}", table.explained());
    // It is mended there.
    table.peer_info = says("");
    table.run(12_000);
    assert!(!table.explained().contains(&line), "{}", table.explained());
    // An older one says nothing of it.
    for agrees in [says("other=lease"), Some("keystead_version:0.1.0\r\n".into()), None] {
        table.peer_info = agrees;
        again(&mut table);
        assert_eq!((told(&table), table.explained().contains("holds its elections by")), (1, false));
    }
}

/// SENTINEL SET without GROUP changes one sentinel, and links last for weeks.
#[test]
fn a_strategy_that_changes_at_one_sentinel_alone_is_heard_of_by_the_others_at_once() {
    let mut table = Table::with_replicas(1, |_| {});
    table.peer_info = Some("keystead_version:0.1.0\r\nkeystead_elections:\r\n".into());
    table.meet_peer();
    // There: it says so, and is asked.
    table.peer_info = Some("keystead_version:0.1.0\r\nkeystead_elections:m=lease\r\n".into());
    table.command("SENTINEL SPREAD m");
    assert_eq!(table.reply, Some(Reply::Array(Vec::new())));
    let there = format!("sentinel {PEER} holds its elections by 'lease', this one by 'sentinel'");
    assert_eq!(table.logs.iter().filter(|line| line.contains(&there)).count(), 1, "{:?}", table.logs);
    table.command("SENTINEL SPREAD m");
    assert_eq!(table.logs.iter().filter(|line| line.contains(&there)).count(), 1, "once: {:?}", table.logs);
    // Here: the peer hears that it is to look.
    assert_eq!(table.spreads, 0);
    table.command("SENTINEL SET m election-strategy manual");
    assert_eq!(table.spreads, 1);
    table.run(3_000);
    assert_eq!(table.spreads, 1, "once");
    table.command("SENTINEL SET m quorum 2 selection-strategy redis");
    assert_eq!(table.spreads, 1, "nothing that all must have alike");
    table.command("SENTINEL SET m UNSET election-strategy");
    assert_eq!(table.spreads, 2);
}
