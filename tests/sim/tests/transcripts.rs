//! Golden transcripts: what the events of a failover are, in which order and when. `UPDATE=1` rewrites them; a person
//! reads the difference.

use keystead_sentinel::settings::Settings;
use keystead_sim::sentinel::faults::heal_all;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};
use std::path::Path;

fn world(seed: u64) -> World {
    with(seed, |_| {})
}

/// Three data nodes and three sentinels that have found each other.
fn with(seed: u64, change: impl Fn(&mut Settings)) -> World {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    change(&mut settings);
    World::new(seed, Shape::calm(3, 3, settings), false)
}

fn compare(name: &str, world: &World, from: usize) {
    let text = world.transcript[from..].join("\n") + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, golden, "{name} differs; UPDATE=1 rewrites it");
}

#[test]
fn a_killed_primary_and_its_return() {
    let mut world = world(7);
    world.run_until(15_000);
    let from = world.transcript.len();
    world.kill(0);
    world.run_until(25_000);
    heal_all(&mut world);
    world.run_until(30_000);
    compare("kill_and_return.txt", &world, from);
}

#[test]
fn a_primary_that_stood_still() {
    let mut world = world(8);
    world.run_until(15_000);
    let from = world.transcript.len();
    world.pause(0);
    world.run_until(20_000);
    world.resume(0);
    world.run_until(25_000);
    compare("stop_and_wake.txt", &world, from);
}

#[test]
fn a_primary_cut_off_and_back() {
    let mut world = world(9);
    world.run_until(15_000);
    let from = world.transcript.len();
    for other in 1..6 {
        world.cut(0, other);
        world.cut(other, 0);
    }
    world.run_until(20_000);
    heal_all(&mut world);
    world.run_until(26_000);
    compare("partition_and_return.txt", &world, from);
}

#[test]
fn a_failover_that_an_operator_asked_for() {
    let mut world = world(10);
    world.run_until(15_000);
    let from = world.transcript.len();
    let first = world.sentinel_ids().start;
    world.operate(first, &format!("SENTINEL FAILOVER {PRIMARY}"));
    world.run_until(25_000);
    compare("operator.txt", &world, from);
}

#[test]
fn a_failover_that_an_operator_confirmed() {
    let mut world = with(11, |settings| settings.election = "manual".into());
    world.run_until(15_000);
    let from = world.transcript.len();
    world.kill(0);
    world.run_until(20_000);
    let last = world.sentinel_ids().end - 1;
    world.operate(last, &format!("SENTINEL CONFIRM {PRIMARY}"));
    world.run_until(25_000);
    compare("confirmed.txt", &world, from);
}

#[test]
fn a_leader_that_died_behind_its_election() {
    let mut world = world(12);
    world.run_until(15_000);
    let from = world.transcript.len();
    let first = world.sentinel_ids().start; // it stands first
    world.operate(first, "SENTINEL SIMULATE-FAILURE crash-after-election");
    world.kill(0);
    world.run_until(25_000);
    assert!(!world.runs(first), "it was elected and died");
    compare("leader_dies.txt", &world, from);
}
