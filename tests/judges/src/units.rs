//! Which units of the suite are run, and with which arguments. The list is the suite's own, less what has no meaning here.

use crate::suite::Judged;
use std::fs;
use std::io;
use std::path::Path;

/// How the suite reaches its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One server that is started for it.
    External,
    /// It starts servers itself.
    Internal,
    /// The sentinel suite: it starts servers and sentinels itself.
    Sentinel,
}

/// Units about cluster mode, C modules, or the C code itself.
const LEFT_OUT: &[&str] = &["unit/cluster", "unit/moduleapi", "unit/oom-score-adj", "unit/printver", "unit/tls"];
/// Wrong on redis-server itself, or impossible in external mode.
const SKIPPED_TESTS: &[&str] =
    &["RESTORE fail with invalid payload size", "SRANDMEMBER with a dict containing long chain"];

/// Waits here for ever, or leaves what those behind it wait for: all of them would count as not reached. In `exceptions.txt`
/// or `version-differences.txt`.
const SKIPPED_HERE: &[&str] = &[
    "Tracking only occurs for scripts when a command calls a read-only command",
    // They end in another database when they fail.
    "SWAPDB wants to wake blocked client, but the key already expired",
    "MULTI + LPUSH + EXPIRE + DEBUG SLEEP on blocked client, key already expired",
    // They make a rewrite take 10 s a key, and end it by a kill of a child that isn't there.
    "AOF multiple rewrite failures will open multiple INCR AOFs",
    "AOF enable during BGSAVE will not write data util AOFRW finish",
    "AOF will trigger limit when AOFRW fails many times",
    "AOF will open a temporary INCR AOF to accumulate data until the first AOFRW success when AOF is dynamically enabled",
];

/// The units of a tree in the suite's own order.
pub fn all(tree: &Path, mode: Mode) -> io::Result<Vec<String>> {
    if mode == Mode::Sentinel {
        return sentinel_units(tree);
    }
    let helper = fs::read_to_string(tree.join("tests/test_helper.tcl"))?;
    let list = helper.split_once("set ::all_tests {").and_then(|(_, rest)| rest.split_once('}'));
    let Some((list, _)) = list else { return Err(io::Error::other("the suite's list of units was not found")) };
    let wanted = |unit: &&str| {
        !LEFT_OUT.iter().any(|out| unit.starts_with(out))
            && (mode == Mode::Internal || !unit.starts_with("integration/"))
    };
    Ok(list.split_whitespace().filter(wanted).map(str::to_owned).collect())
}

/// The files of the sentinel suite, as they are run: in order of their names.
fn sentinel_units(tree: &Path) -> io::Result<Vec<String>> {
    let files = fs::read_dir(tree.join("tests/sentinel/tests"))?.flatten().map(|entry| entry.path());
    let tcl = files.filter(|path| path.extension().is_some_and(|e| e == "tcl"));
    let mut units: Vec<String> =
        tcl.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    units.sort();
    Ok(units)
}

/// The arguments of `runtest` (or `runtest-sentinel`) for one unit.
#[must_use]
pub fn arguments(judged: Judged, mode: Mode, unit: &str, port: u16, base_port: u16) -> Vec<String> {
    if mode == Mode::Sentinel {
        return vec!["--single".to_owned(), unit.to_owned()];
    }
    let mut args: Vec<String> = ["--single", unit, "--durable", "--clients", "1"].map(str::to_owned).into();
    for test in SKIPPED_TESTS {
        args.extend(["--skiptest".to_owned(), (*test).to_owned()]);
    }
    for test in SKIPPED_HERE.iter().filter(|_| judged == Judged::Keystead) {
        args.extend(["--skiptest".to_owned(), (*test).to_owned()]);
    }
    args.extend(["--baseport".to_owned(), base_port.to_string(), "--portcount".to_owned(), "64".to_owned()]);
    args.extend(["--tags".to_owned(), "-slow".to_owned()]);
    if judged == Judged::Keystead {
        // The suite is 7.0's; 7.2 has a listpack where 7.0 has a quicklist of one node or a small hash table.
        args.push("--ignore-encoding".to_owned());
    }
    if mode == Mode::External {
        args.extend(["--host".to_owned(), "127.0.0.1".to_owned(), "--port".to_owned(), port.to_string()]);
    }
    args
}
