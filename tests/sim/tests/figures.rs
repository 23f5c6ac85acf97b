//! Bounds of what a fault costs in virtual time. A rule that makes failovers slower fails here, whatever the machine.

use keystead_sentinel::settings::Settings;
use keystead_sim::sentinel::figures::{Fault, Figure, measure, spread};
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};

const SEEDS: u64 = 24;

fn all(fault: Fault, down_after_ms: u64, fast: bool) -> Vec<Figure> {
    (0..SEEDS).map(|seed| measure(seed, fault, down_after_ms, fast, false)).collect()
}

/// Median and worst time to the first write, the longest time until the old primary follows; one promotion each.
fn within(fault: Fault, down_after_ms: u64, fast: bool, median_ms: u64, worst_ms: u64, demoted_ms: u64) {
    let figures = all(fault, down_after_ms, fast);
    let (median, worst) = spread(figures.iter().map(|f| f.write_ms).collect());
    let demoted = figures.iter().map(|f| f.demoted_ms).max();
    assert!(median <= median_ms && worst <= worst_ms, "{fault:?} at {down_after_ms}: {median} and {worst} ms");
    assert!(demoted <= Some(demoted_ms), "{fault:?} at {down_after_ms}: demoted after {demoted:?} ms");
    assert!(figures.iter().all(|f| f.promotions == 1), "{fault:?} at {down_after_ms}: {figures:?}");
}

#[test]
fn a_killed_primary() {
    within(Fault::Kill, 1000, false, 1_050, 1_200, 300);
    within(Fault::Kill, 200, false, 250, 400, 300);
}

#[test]
fn a_killed_primary_with_fast_detection() {
    within(Fault::Kill, 1000, true, 200, 350, 300);
}

#[test]
fn a_stopped_primary() {
    within(Fault::Stop, 1000, false, 1_050, 1_200, 300);
    within(Fault::Stop, 200, false, 250, 400, 300);
}

#[test]
fn a_primary_cut_off() {
    within(Fault::Partition, 1000, false, 1_050, 1_200, 700);
    within(Fault::Partition, 200, false, 250, 400, 700);
}

/// Its sentinel, whose rank may be the first, fell silent at the same moment: nobody waits for it.
#[test]
fn a_host_cut_off_with_its_sentinel() {
    within(Fault::Host, 1000, false, 1_050, 1_200, 700);
    within(Fault::Host, 200, false, 250, 400, 700);
}

#[test]
fn sentinels_that_stood_still_just_before() {
    within(Fault::Frozen, 1000, false, 1_250, 1_500, 300);
}

#[test]
fn a_replica_cut_off_just_before() {
    within(Fault::ReplicaCut, 1000, false, 1_050, 1_300, 300);
}

/// Alone it promotes in the step that its vote is written in: whether the replica did it is asked behind that write, not a
/// second later.
#[test]
fn a_promotion_is_seen_when_the_state_is_written() {
    const DISK_MS: u64 = 200;
    for (seed, asked_for) in (0..SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut settings = Settings::new(1);
        settings.down_after_ms = 1_000;
        let mut world = World::new(seed, Shape { disk_ms: DISK_MS, ..Shape::calm(3, 1, settings) }, false);
        world.run_until(15_000);
        match asked_for {
            true => world.operate(world.sentinel_ids().start, &format!("SENTINEL FAILOVER {PRIMARY} FORCE")),
            false => world.kill(0),
        }
        world.run_until(20_000);
        let at = |event: &str| {
            let line = world.transcript.iter().find(|line| line.contains(event)).expect("the failover was made");
            line.split(' ').next().and_then(|ms| ms.parse::<u64>().ok()).expect("a time")
        };
        let took = at("+promoted-slave") - at("+try-failover");
        assert!(took <= 2 * DISK_MS + 50, "seed {seed}, asked for: {asked_for}: {took} ms");
    }
}
