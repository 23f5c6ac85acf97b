//! `judges tcl|tcl-internal|sentinel [UNIT…]`, `judges redis-py|walrus|hiredis|redis-rs`, `judges random`: runs a judge and writes its result file. Called by `tests/run judges`.

use clap::{Parser, ValueEnum};
use keystead_harness::bin_dir;
use keystead_judges::clients::{self, Library};
use keystead_judges::outcome::{Outcome, Verdict};
use keystead_judges::report::{Pair, count, markdown};
use keystead_judges::suite::{Judged, run_unit};
use keystead_judges::units::{Mode, all};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Runs suites that nobody here wrote and compares keystead with redis-server by test name.
#[derive(Debug, Parser)]
struct Options {
    /// Which one
    judge: Judge,
    /// Units to run, as `unit/type/string`; all without one
    units: Vec<String>,
    /// Write the result file under this name; under the judge's when all units run
    #[arg(long)]
    result: Option<String>,
    /// Run redis-server again instead of using its kept outcome
    #[arg(long)]
    fresh: bool,
    /// Where trees, logs and the baseline are kept
    #[arg(long, default_value = "target/judges")]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Judge {
    Tcl,
    TclInternal,
    Sentinel,
    RedisPy,
    Walrus,
    Hiredis,
    RedisRs,
    Random,
}

/// Judges that aren't Redis' own suite; `None` for those that are.
fn elsewhere(options: &Options) -> Option<io::Result<usize>> {
    let library = match options.judge {
        Judge::Tcl | Judge::TclInternal | Judge::Sentinel => return None,
        Judge::RedisPy => Library::RedisPy,
        Judge::Walrus => Library::Walrus,
        Judge::Hiredis => Library::Hiredis,
        Judge::RedisRs => Library::RedisRs,
        Judge::Random => {
            let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
            return Some(today().and_then(|today| keystead_judges::random::judge(&results, &today)));
        }
    };
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let folder = fs::create_dir_all(&options.folder).and_then(|()| options.folder.canonicalize());
    Some(folder.and_then(|folder| clients::judge(library, &folder, &results, &today()?, options.fresh)))
}

fn main() -> ExitCode {
    match judge(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("judges: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where the suite starts a server that refuses to start here, which it would wait for until the unit's end: a second one in a
/// folder.
const REFUSED: &[(&str, &str)] = &[(
    "integration/aof-multi-part",
    "start_server [list overrides [list dir $server_path appendonly yes appendfilename appendonly.aof2]] {",
)];

/// The number of tests that pass on redis-server, not here, and aren't excused.
fn judge(options: &Options) -> io::Result<usize> {
    if let Some(result) = elsewhere(options) {
        return result;
    }
    let (mode, name) = match options.judge {
        Judge::Tcl => (Mode::External, "tcl"),
        Judge::TclInternal => (Mode::Internal, "tcl-internal"),
        _ => (Mode::Sentinel, "sentinel"),
    };
    fs::create_dir_all(&options.folder)?;
    let folder = options.folder.canonicalize()?;
    let redis_tree = keystead_judges::source::tree(&folder, "redis-tree", Path::new("/usr/bin"))?;
    let wrappers = folder.join("wrappers");
    fs::create_dir_all(&wrappers)?;
    for name in ["redis-server", "redis-sentinel"] {
        let wrapper = bin_dir().join(format!("keystead-as-{name}"));
        keystead_judges::source::link(&wrapper, &wrappers.join(name))?;
    }
    let keystead_tree = keystead_judges::source::tree(&folder, "keystead-tree", &wrappers)?;
    let units = if options.units.is_empty() { all(&redis_tree, mode)? } else { options.units.clone() };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let excused = keystead_judges::lists()?;
    for (unit, test) in excused.keys().filter(|_| mode == Mode::Sentinel) {
        let file = keystead_tree.join(format!("tests/sentinel/tests/{unit}.tcl"));
        if file.exists() {
            keystead_judges::source::without_test(&file, test)?;
        }
    }
    for (unit, head) in REFUSED.iter().filter(|_| mode == Mode::Internal) {
        keystead_judges::source::without_block(&keystead_tree.join(format!("tests/{unit}.tcl")), head)?;
    }
    let mut pairs = Vec::new();
    for unit in units {
        let file = format!("{name}-{}.log", unit.replace('/', "-"));
        let redis = baseline(options, mode, &redis_tree, &unit, &folder.join(format!("redis-{file}")))?;
        let log = folder.join(format!("keystead-{file}"));
        let keystead = run_unit(Judged::Keystead, mode, &keystead_tree, &unit, &log)?;
        let pair = Pair { unit, redis, keystead };
        tell(&pair);
        pairs.push(pair);
    }
    if let Some(file) = options.result.clone().or(options.units.is_empty().then(|| name.to_owned())) {
        fs::create_dir_all(here.join("results"))?;
        let words = [&[name.to_owned()], &options.units[..]].concat().join(" ");
        let build = if cfg!(debug_assertions) { ", a debug build" } else { "" };
        let head =
            format!("# {file}\n\nMade by `tests/run judges {words}`, {}{build}, redis-server 7.0.15.\n\n", today()?);
        fs::write(here.join("results").join(format!("{file}.md")), head + &markdown(&pairs, &excused))?;
    }
    let count = count(&pairs, &excused);
    println!("{}", count.text());
    Ok(count.missing)
}

/// redis-server's outcome: kept from an earlier run unless a fresh one is asked for.
fn baseline(options: &Options, mode: Mode, tree: &Path, unit: &str, log: &Path) -> io::Result<Outcome> {
    if !options.fresh
        && let Ok(kept) = fs::read_to_string(log)
    {
        let outcome = if mode == Mode::Sentinel { Outcome::parse_sentinel(&kept) } else { Outcome::parse(&kept) };
        if outcome.broken.is_none() {
            return Ok(outcome);
        }
    }
    run_unit(Judged::Redis, mode, tree, unit, log)
}

fn tell(pair: &Pair) {
    let missing = pair.missing();
    let passed = pair.redis.count(Verdict::Passed);
    println!("{}: {} of {passed}", pair.unit, passed - missing.len());
    for name in missing {
        let reason = pair.keystead.reasons.get(name).map_or("not reached", String::as_str);
        println!("    {name} ({reason})");
    }
    if let Some(broken) = &pair.keystead.broken {
        println!("    ended early: {broken}");
    }
}

fn today() -> io::Result<String> {
    Ok(String::from_utf8_lossy(&Command::new("date").args(["-u", "+%F"]).output()?.stdout).trim().to_owned())
}
