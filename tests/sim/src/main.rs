//! Replays seeds of the simulator: `cargo run -p keystead-sim -- sentinel 17` prints the history of seed 17,
//! `cargo run -p keystead-sim -- sentinel 0..5000` runs many and prints the failing ones.

use keystead_sim::sentinel::run::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, seeds] = &args[..] else { return usage() };
    if what != "sentinel" {
        return usage();
    }
    if let Some((from, to)) = seeds.split_once("..") {
        let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else { return usage() };
        let mut failed = 0;
        for seed in from..to {
            let verdict = run(seed, false);
            if !verdict.wrong.is_empty() {
                failed += 1;
                println!("seed {seed} ({:?}): {}", verdict.family, verdict.wrong.join("; "));
            }
        }
        println!("{} seeds, {failed} failed", to.saturating_sub(from));
        return if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let Ok(seed) = seeds.parse::<u64>() else { return usage() };
    if run(seed, true).wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("usage: keystead-sim sentinel SEED | FROM..TO");
    ExitCode::from(2)
}
