//! The keystead binary: reads the command line and does what it says. The rooms: `config` (files and edits), `net`
//! (sockets and turns), `host` (plugins), `instance` (puts them together), `cluster` (a group on one machine).
#![deny(unsafe_code)]

mod alloc;
mod ask;
mod check;
mod cli;
mod cluster;
mod config;
mod descriptors;
mod dir;
mod early;
mod ending;
mod files;
mod host;
mod instance;
mod logging;
mod manager;
mod net;
mod probe;
mod ready;
mod replace;
mod sched;
mod settle;
mod shell;
mod tls;
mod users;

use cli::{Cli, Command, PluginCommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() -> ExitCode {
    let cli = Cli::read();
    logging::log_panics();
    match cli.command {
        None => run(&cli.run),
        Some(Command::Cluster(options)) => cluster::run(&options),
        Some(Command::Sentinel(options)) => ask::run(&options),
        Some(Command::Check { file, here }) => check::file(&file, here),
        Some(Command::Plugin { command: PluginCommand::Inspect { file, here } }) => check::inspect(&file, here),
    }
}

/// Runs an instance until it is told to stop.
fn run(run: &cli::Run) -> ExitCode {
    let settings = run.edits().and_then(|edits| config::load::load(run.file.as_deref(), &edits));
    match settings {
        Ok(settings) => instance::run(settings),
        Err(error) => {
            eprintln!("{}", error.render());
            if let Some(hint) = run.meant_command() {
                eprintln!("{hint}");
            }
            ExitCode::FAILURE
        }
    }
}
