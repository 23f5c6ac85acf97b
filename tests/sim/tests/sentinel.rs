//! Many seeds of the sentinels' world. A failing one prints the command that replays it.

use keystead_sim::sentinel::run::run;

/// Seeds of the normal run; the nightly run takes more through `KEYSTEAD_SIM_SEEDS`.
const SEEDS: u64 = 2_100;

#[test]
fn every_seed_keeps_the_rules() {
    let seeds = std::env::var("KEYSTEAD_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let halves: Vec<_> = (0..2)
        .map(|half| std::thread::spawn(move || (half..seeds).step_by(2).filter_map(failure).collect::<Vec<_>>()))
        .collect();
    let failures: Vec<String> = halves.into_iter().flat_map(|half| half.join().expect("no seed panics")).collect();
    assert!(failures.is_empty(), "{} of {seeds} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

fn failure(seed: u64) -> Option<String> {
    let verdict = run(seed, false);
    if verdict.wrong.is_empty() {
        return None;
    }
    let wrong = verdict.wrong.join("; ");
    Some(format!("seed {seed} ({:?}): {wrong}\n    cargo run -p keystead-sim -- sentinel {seed}", verdict.family))
}

#[test]
fn a_seed_has_one_history() {
    for seed in [1, 6, 12] {
        let (a, b) = (run(seed, false), run(seed, false));
        assert_eq!((a.promotions, a.took_ms, a.wrong), (b.promotions, b.took_ms, b.wrong));
    }
}
