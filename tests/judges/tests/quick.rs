//! Some units of Redis' own suite, in external mode, in every test run: those that are done in seconds and measure no time.
//! The whole suite is `tests/run judges tcl`. Without the source package, offline say, it says SKIPPED and why.
#![allow(clippy::unwrap_used)]

mod tree;

use keystead_judges::lists;
use keystead_judges::outcome::{Outcome, Verdict};
use keystead_judges::suite::{Judged, run_unit};
use keystead_judges::units::Mode;

const UNITS: &[&str] = &[
    "unit/protocol",
    "unit/scan",
    "unit/type/incr",
    "unit/type/hash",
    "unit/sort",
    "unit/bitfield",
    "unit/functions",
    "unit/info-command",
];
/// Behind this many runs of a unit nobody can say that the machine was slow.
const TRIES: usize = 3;

/// What failed that isn't excused.
fn wrong(unit: &str, outcome: &Outcome) -> Vec<String> {
    let excused = lists().unwrap();
    let known = |name: &String| excused.contains_key(&(unit.to_owned(), name.clone()));
    let failed = outcome.tests.iter().filter(|(name, verdict)| **verdict == Verdict::Failed && !known(name));
    let told = |name: &String| outcome.reasons.get(name).cloned().unwrap_or_default();
    let mut wrong: Vec<String> = failed.map(|(name, _)| format!("{unit}: {name}: {}", told(name))).collect();
    wrong.extend(outcome.broken.iter().map(|why| format!("{unit} ended early: {why}")));
    if outcome.count(Verdict::Passed) == 0 {
        wrong.push(format!("{unit}: nothing ran"));
    }
    wrong
}

#[test]
fn quick_units_of_redis_own_suite() {
    let tree = match tree::tree("quick-tree") {
        Ok(tree) => tree,
        Err(why) => {
            eprintln!("SKIPPED: Redis' suite can't be had: {why}");
            return;
        }
    };
    for unit in UNITS {
        let log = tree.join(format!("{}.log", unit.replace('/', "-")));
        let run = || wrong(unit, &run_unit(Judged::Keystead, Mode::External, &tree, unit, &log).unwrap());
        let mut found = run();
        for _ in 1..TRIES {
            if found.is_empty() {
                break;
            }
            eprintln!("once more: {found:#?}");
            found = run();
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
