//! One instance from its settings to its end: puts configuration, engines, plugins and listeners together.

use crate::config::Settings;
use crate::{early, logging};
use std::path::Path;
use std::process::ExitCode;

/// Runs until a signal or SHUTDOWN.
pub(crate) fn run(settings: Settings) -> ExitCode {
    match prepare(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("keystead: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that needs a process with one thread.
fn prepare(settings: &Settings) -> Result<(), String> {
    std::fs::create_dir_all(&settings.dir)
        .map_err(|e| format!("the folder {} can't be made: {e}", settings.dir.display()))?;
    let log_file = settings.log.file.as_deref().filter(|f| !f.is_empty()).map(|f| settings.dir.join(f));
    if settings.server.daemonize {
        early::daemonize().map_err(|e| format!("can't detach from the terminal: {e}"))?;
    }
    early::set_runtime_threads(settings.server.io_threads);
    let level = logging::level(&settings.log.level).unwrap_or(log::LevelFilter::Info);
    logging::init(level, log_file.as_deref()).map_err(|e| {
        let path = log_file.as_deref().unwrap_or(Path::new("standard error"));
        format!("can't write the log to {}: {e}", path.display())
    })?;
    if let Some(fits) = early::raise_file_limit(settings) {
        log::warn!("The limit of open files leaves room for {fits} clients, fewer than maxclients");
    }
    Ok(())
}
