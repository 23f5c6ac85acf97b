//! Many seeds on all processors, and what they came to as a page of Markdown.

use super::faults::Family;
use super::run::{Verdict, run};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

#[derive(Default)]
struct Sum {
    seeds: u64,
    promotions: usize,
    failed: Vec<String>,
}

/// What all seeds of a range came to.
#[derive(Default)]
pub struct Report {
    families: BTreeMap<String, Sum>,
    faults: BTreeMap<&'static str, u64>,
}

/// Runs the seeds, two at a time.
#[must_use]
pub fn run_all(seeds: Range<u64>) -> Report {
    let halves: Vec<_> = (0..2)
        .map(|half| {
            let seeds = seeds.clone();
            std::thread::spawn(move || {
                let mut report = Report::default();
                seeds.skip(half).step_by(2).for_each(|seed| report.add(seed, run(seed, false)));
                report
            })
        })
        .collect();
    let mut all = Report::default();
    halves.into_iter().for_each(|half| all.join(half.join().expect("no seed panics")));
    all
}

/// The line that replays a failing seed.
#[must_use]
pub fn complaint(seed: u64, family: Family, wrong: &[String]) -> String {
    let wrong = wrong.join("; ");
    let kind = if matches!(family, Family::Second(_)) { "second" } else { "sentinel" };
    format!("seed {seed} ({family:?}): {wrong}\n    cargo run -p keystead-sim -- {kind} {seed}")
}

impl Report {
    fn add(&mut self, seed: u64, verdict: Verdict) {
        let sum = self.families.entry(format!("{:?}", verdict.family)).or_default();
        sum.seeds += 1;
        sum.promotions += verdict.promotions;
        if !verdict.wrong.is_empty() {
            sum.failed.push(complaint(seed, verdict.family, &verdict.wrong));
        }
        for (kind, count) in verdict.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    fn join(&mut self, other: Report) {
        for (family, more) in other.families {
            let sum = self.families.entry(family).or_default();
            sum.seeds += more.seeds;
            sum.promotions += more.promotions;
            sum.failed.extend(more.failed);
        }
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    /// What was wrong, seed by seed.
    #[must_use]
    pub fn failed(&self) -> Vec<&str> {
        self.families.values().flat_map(|sum| sum.failed.iter().map(String::as_str)).collect()
    }

    /// Tables of the seeds by kind and of the faults.
    #[must_use]
    pub fn markdown(&self) -> String {
        let seeds: u64 = self.families.values().map(|sum| sum.seeds).sum();
        let mut text = format!("{seeds} seeds, {} failed.\n\n", self.failed().len());
        text += "| kind of history | seeds | promotions | failed |\n|---|---|---|---|\n";
        for (family, sum) in &self.families {
            let _ = writeln!(text, "| {family} | {} | {} | {} |", sum.seeds, sum.promotions, sum.failed.len());
        }
        text += "\n| what was done | how often |\n|---|---|\n";
        for (kind, count) in &self.faults {
            let _ = writeln!(text, "| {kind} | {count} |");
        }
        for failed in self.failed() {
            let _ = write!(text, "\n- {failed}\n");
        }
        text
    }
}
