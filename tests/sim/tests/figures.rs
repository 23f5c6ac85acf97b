//! Bounds of what a fault costs in virtual time. A rule that makes failovers slower fails here, whatever the machine.

use keystead_sim::sentinel::figures::{Fault, Figure, measure, spread};

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
