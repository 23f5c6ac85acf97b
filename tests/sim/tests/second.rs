//! Seeds in which a second fault comes in the middle of the first, at each step of a failover. A failing one prints the
//! command that replays it.

use keystead_sim::sentinel::many::complaint;
use keystead_sim::sentinel::run::run_second;
use keystead_sim::sentinel::second::SECONDS;

/// Of each kind; `KEYSTEAD_SIM_SECONDS` takes more.
const EACH: u64 = 20;

/// Seeds that failed once. 223: two operators' failovers of one epoch, and each of two sentinels kept its own primary.
const PINNED: [u64; 1] = [223];

fn failure(seed: u64) -> Option<String> {
    let verdict = run_second(seed, false);
    (!verdict.wrong.is_empty()).then(|| complaint(seed, verdict.family, &verdict.wrong))
}

fn half(which: u64) {
    let each = std::env::var("KEYSTEAD_SIM_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(EACH);
    let seeds = (which..each * SECONDS.len() as u64).step_by(2);
    let failures: Vec<String> = seeds.filter_map(failure).collect();
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_second_fault_breaks_no_rule_first_half() {
    half(0);
}

#[test]
fn a_second_fault_breaks_no_rule_second_half() {
    half(1);
}

#[test]
fn second_faults_that_broke_one_once_break_none() {
    let failures: Vec<String> = PINNED.into_iter().filter_map(failure).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
