//! Replays seeds of the simulator: `cargo run -p keystead-sim -- sentinel 17` prints the history of seed 17,
//! `… sentinel 0..5000` runs many and prints the failing ones; with a third number every so many-th only (29: seeds of one
//! kind of fault). `… second` does the same with seeds in which a second fault comes in the middle of the first. `… many 100000`
//! runs so many and prints tables, `… figures 40` what each fault costs in virtual time.
use keystead_sim::sentinel::figures::table;
use keystead_sim::sentinel::many::{complaint, run_all};
use keystead_sim::sentinel::run::{Verdict, run, run_second};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["figures", seeds] => seeds.parse().map_or_else(
            |_| usage(),
            |seeds| {
                println!("{}\n{}", table(seeds, false), table(seeds, true));
                ExitCode::SUCCESS
            },
        ),
        ["many", seeds] => seeds.parse().map_or_else(|_| usage(), many),
        ["sentinel", seeds] => sentinel(run, seeds, 1),
        ["sentinel", seeds, step] => sentinel(run, seeds, step.parse().unwrap_or(1)),
        ["second", seeds] => sentinel(run_second, seeds, 1),
        ["second", seeds, step] => sentinel(run_second, seeds, step.parse().unwrap_or(1)),
        _ => usage(),
    }
}

fn many(seeds: u64) -> ExitCode {
    let report = run_all(0..seeds);
    print!("{}", report.markdown());
    verdict(report.failed().is_empty())
}

fn sentinel(run: fn(u64, bool) -> Verdict, seeds: &str, step: usize) -> ExitCode {
    if let Some((from, to)) = seeds.split_once("..") {
        let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else { return usage() };
        let mut failed = 0;
        for seed in (from..to).step_by(step) {
            let verdict = run(seed, false);
            if !verdict.wrong.is_empty() {
                failed += 1;
                println!("{}", complaint(seed, verdict.family, &verdict.wrong));
            }
        }
        println!("{} seeds, {failed} failed", (from..to).step_by(step).count());
        return verdict(failed == 0);
    }
    let Ok(seed) = seeds.parse::<u64>() else { return usage() };
    verdict(run(seed, true).wrong.is_empty())
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: keystead-sim sentinel | second SEED | FROM..TO [STEP], keystead-sim many SEEDS, keystead-sim figures SEEDS"
    );
    ExitCode::from(2)
}
