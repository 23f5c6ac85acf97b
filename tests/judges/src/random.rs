//! Random commands to redis-server and to our engine, many of them: runs the interop test of every family with new
//! seeds and writes down how many commands were compared with which.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Commands for each seed and protocol.
const STEPS: u64 = 5_000;
/// Seeds; with both protocols these are 100,000 commands a family.
const SEEDS: u64 = 10;

/// Runs them; gives how many families differ. `RANDOM_SEED` is the first seed, the day's without it.
pub fn judge(results: &Path, today: &str) -> io::Result<usize> {
    let day = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() / 86_400) * 100;
    let first = std::env::var("RANDOM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(day);
    let seeds = format!("{first}-{}", first + SEEDS - 1);
    println!("seeds {seeds}, {STEPS} commands each, RESP2 and RESP3");
    let output = Command::new("cargo")
        .args(["test", "--release", "--locked", "-p", "keystead-interop", "--test", "command_families"])
        .args(["--no-fail-fast", "--", "--nocapture", "--test-threads", "2"])
        .env("DIFF_SEEDS", &seeds)
        .env("DIFF_STEPS", STEPS.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts = counts(&output);
    let failed: Vec<&str> = output.lines().filter_map(|line| line.strip_suffix(" ... FAILED")).collect();
    if counts.is_empty() {
        return Err(io::Error::other(format!("nothing was compared:\n{output}")));
    }
    let total: u64 = counts.values().sum();
    let mut text = format!(
        "# random\n\nMade by `tests/run judges random`, {today}, redis-server 7.0.15: seeds {seeds}, {STEPS} commands for each \
         seed and protocol (RESP2, RESP3). Replies to the byte but for what `command_families/compare.rs` lists; data \
         and DEBUG DIGEST every 200 commands.\n\n| family | commands compared |\n|---|---|\n"
    );
    for (family, count) in &counts {
        text += &format!("| {family} | {count} |\n");
    }
    text += &format!("| all | {total} |\n\nFamilies that differ: {}.\n", failed.len());
    for name in &failed {
        text += &format!("- {name}\n");
    }
    fs::create_dir_all(results)?;
    fs::write(results.join("random.md"), text)?;
    println!("{total} commands compared; {} families differ {failed:?}", failed.len());
    Ok(failed.len())
}

/// `COMPARED family F seed S resp3 B commands N`, added up by family.
fn counts(output: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    // The test runner may have begun the line.
    for line in output.lines().filter_map(|line| line.split_once("COMPARED family ")) {
        let Some((family, rest)) = line.1.split_once(" seed ") else { continue };
        let Some(count) = rest.rsplit_once("commands ").and_then(|(_, count)| count.trim().parse::<u64>().ok()) else {
            continue;
        };
        *counts.entry(family.to_owned()).or_default() += count;
    }
    counts
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_added_up() {
        let text = "x\ntest sets ... COMPARED family sets seed 3 resp3 false commands 50\nCOMPARED family sets seed 3 resp3 \
                    true commands 50\nCOMPARED family hashes seed 4 resp3 true commands 7\n";
        let counts: Vec<_> = super::counts(text).into_iter().collect();
        assert_eq!(counts, [("hashes".to_owned(), 7), ("sets".to_owned(), 100)]);
    }
}
