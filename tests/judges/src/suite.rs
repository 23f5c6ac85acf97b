//! One unit of the suite, run to its end or its deadline against one server. Owns the processes it starts.

use crate::outcome::Outcome;
use crate::units::{Mode, arguments};
use keystead_harness::{Keystead, RedisServer, eventually, free_port};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The longest unit takes 280 s on redis-server; what takes this long hangs.
const UNIT_DEADLINE: Duration = Duration::from_secs(900);
/// Plugins an instance under judgement loads, configured as the `redis-server` beside it.
const PLUGINS: &[(&str, &str)] = &[
    ("replication", "()"),
    ("persistence-rdb", "(save: [])"),
    ("persistence-aof", "(enabled: false)"),
    ("scripting", "()"),
];

/// Whose behaviour is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// This project's server.
    Keystead,
    /// Debian's redis-server: the baseline.
    Redis,
}

/// Runs one unit of `tree` and keeps its output in `log`.
pub fn run_unit(judged: Judged, mode: Mode, tree: &Path, unit: &str, log: &Path) -> io::Result<Outcome> {
    match (mode, judged) {
        (Mode::Internal | Mode::Sentinel, _) => drive(judged, mode, tree, unit, 0, log),
        (Mode::External, Judged::Redis) => {
            let server = RedisServer::start(&[]);
            drive(judged, mode, tree, unit, server.port(), log)
        }
        (Mode::External, Judged::Keystead) => {
            let mut builder = Keystead::builder();
            for (name, config) in PLUGINS {
                builder = builder.plugin(name, config);
            }
            let mut server = builder.start();
            let outcome = drive(judged, mode, tree, unit, server.port(), log);
            if !server.process.is_alive() {
                fs::write(log.with_extension("server.log"), server.process.log())?;
            }
            outcome
        }
    }
}

/// The suite keeps its instances' folders from one run to the next: what a sentinel learnt there isn't part of the next.
fn forget_instances(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_dir()) {
        fs::remove_dir_all(entry.path())?;
    }
    Ok(())
}

/// Where the suite may begin to look for ports of its own: below those the system gives to connections, so that none of
/// them is taken by a connection to another.
fn own_ports() -> u16 {
    10_500 + free_port() % 9_000
}

fn drive(judged: Judged, mode: Mode, tree: &Path, unit: &str, port: u16, log: &Path) -> io::Result<Outcome> {
    if mode == Mode::Sentinel {
        forget_instances(&tree.join("tests/sentinel/tmp"))?;
    }
    let output = File::create(log)?;
    let program = if mode == Mode::Sentinel { "./runtest-sentinel" } else { "./runtest" };
    let mut child = Command::new(program)
        .args(arguments(judged, mode, unit, port, own_ports()))
        .current_dir(tree)
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()?;
    let ended = eventually(UNIT_DEADLINE, || child.try_wait().ok().flatten());
    // Also ends what the suite left running.
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    let output = fs::read(log)?;
    let output = String::from_utf8_lossy(&output);
    let mut outcome = if mode == Mode::Sentinel { Outcome::parse_sentinel(&output) } else { Outcome::parse(&output) };
    if ended.is_none() {
        outcome.broken = Some(format!("not done after {} s", UNIT_DEADLINE.as_secs()));
    }
    Ok(outcome)
}
