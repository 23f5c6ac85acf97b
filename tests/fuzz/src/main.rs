//! `fuzz [TARGET…] --seconds N`: mutated input for each target, from its corpus and a seed that is printed.

use clap::Parser;
use keystead_fuzz::memory::Counting;
use keystead_fuzz::targets::{TARGETS, Target};
use keystead_fuzz::{corpus_folder, run};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Mutated input for everything that reads what others wrote.
#[derive(Debug, Parser)]
struct Options {
    /// Which targets; all without one
    targets: Vec<String>,
    /// How long each
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed; a new one without it
    #[arg(long)]
    seed: Option<u64>,
    /// The first case; together with --seed it repeats a failure
    #[arg(long, default_value_t = 0)]
    case: u64,
    /// Tries these files instead of cases
    #[arg(long)]
    file: Vec<PathBuf>,
    /// Where inputs that fail are left
    #[arg(long, default_value = "target/fuzz")]
    found: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = options.seed.unwrap_or(clock);
    let mut fine = true;
    for name in &options.targets {
        if !TARGETS.iter().any(|target| target.name == name) {
            eprintln!("no target {name}; there are {}", TARGETS.iter().map(|t| t.name).collect::<Vec<_>>().join(" "));
            return ExitCode::FAILURE;
        }
    }
    for target in TARGETS {
        if !options.targets.is_empty() && !options.targets.iter().any(|name| name == target.name) {
            continue;
        }
        fine &= match options.file.is_empty() {
            true => cases(&options, target, seed),
            false => options.file.iter().all(|file| tried(target, file)),
        };
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cases(options: &Options, target: &Target, seed: u64) -> bool {
    let corpus = match run::corpus(&corpus_folder(target.name)) {
        Ok(corpus) => corpus,
        Err(error) => {
            eprintln!("{}: {error}", target.name);
            return false;
        }
    };
    match run::run(target, &corpus, seed, options.case, Duration::from_secs(options.seconds)) {
        Ok(count) => {
            println!("{}: seed {seed}, {count} cases, none failed", target.name);
            true
        }
        Err(failure) => {
            let file = options.found.join(format!("{}-{seed}-{}", target.name, failure.case));
            let kept = std::fs::create_dir_all(&options.found).and_then(|()| std::fs::write(&file, &failure.input));
            let kept = kept.map_or_else(|error| error.to_string(), |()| file.display().to_string());
            println!("{}: seed {seed}, case {}: {} ({kept})", target.name, failure.case, failure.why);
            println!("    again: fuzz {} --seed {seed} --case {}", target.name, failure.case);
            println!("    input: {}", failure.input.escape_ascii());
            false
        }
    }
}

fn tried(target: &Target, file: &PathBuf) -> bool {
    let result = std::fs::read(file).map_err(|error| error.to_string());
    let result = result.and_then(|input| run::attempt(target, &input));
    println!("{}: {}: {result:?}", target.name, file.display());
    result.is_ok()
}
