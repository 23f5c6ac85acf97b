//! Replays seeds of the simulator: `cargo run -p keystead-sim -- sentinel 17` prints the history of seed 17,
//! `cargo run -p keystead-sim -- sentinel 0..5000` runs many and prints the failing ones; with a third number every
//! so many-th only (20: seeds of one kind of fault).

use keystead_sim::sentinel::run::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (what, seeds, step) = match &args[..] {
        [what, seeds] => (what, seeds, 1),
        [what, seeds, step] => (what, seeds, step.parse().unwrap_or(1)),
        _ => return usage(),
    };
    if what != "sentinel" {
        return usage();
    }
    if let Some((from, to)) = seeds.split_once("..") {
        let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else { return usage() };
        let mut failed = 0;
        for seed in (from..to).step_by(step) {
            let verdict = run(seed, false);
            if !verdict.wrong.is_empty() {
                failed += 1;
                println!("seed {seed} ({:?}): {}", verdict.family, verdict.wrong.join("; "));
            }
        }
        println!("{} seeds, {failed} failed", (from..to).step_by(step).count());
        return if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let Ok(seed) = seeds.parse::<u64>() else { return usage() };
    if run(seed, true).wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("usage: keystead-sim sentinel SEED | FROM..TO [STEP]");
    ExitCode::from(2)
}
