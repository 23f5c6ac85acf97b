//! One instance from its settings to its end: puts configuration, engines, plugins and listeners together.
//!
//! The order matters: signals are watched before anything can be reached, ports are bound before plugins are loaded (a
//! busy port is found at once), plugins are started before clients are accepted, and stopped before the process ends.

use crate::config::Settings;
use crate::config::report::ConfigError;
use crate::host::{self, Host, LoadError, PluginEntry};
use crate::net::Order;
use crate::shell::Shell;
use crate::{early, logging, settle};
use async_channel::Receiver;
use futures::StreamExt;
use futures::future::{Either, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_async_std::Signals;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Runs until a signal or SHUTDOWN.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let pid_file = match prepare(&settings) {
        Ok(pid_file) => pid_file,
        Err(message) => {
            eprintln!("keystead: {message}");
            return ExitCode::FAILURE;
        }
    };
    let result = async_std::task::block_on(serve(Arc::new(settings)));
    drop(pid_file);
    match result {
        Ok(true) => {
            log::warn!("Keystead is now ready to exit, bye bye...");
            ExitCode::SUCCESS
        }
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            for line in message.lines() {
                log::error!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Everything that needs a process with one thread.
fn prepare(settings: &Settings) -> Result<Option<early::PidFile>, String> {
    std::fs::create_dir_all(&settings.dir)
        .map_err(|e| format!("the folder {} can't be made: {e}", settings.dir.display()))?;
    let log_file = settings.log.file.as_deref().filter(|f| !f.is_empty()).map(|f| settings.dir.join(f));
    let pid_path = settings.server.pidfile.as_deref().filter(|f| !f.is_empty()).map(|f| settings.dir.join(f));
    if settings.server.daemonize {
        early::daemonize().map_err(|e| format!("can't detach from the terminal: {e}"))?;
    }
    early::set_runtime_threads(settings);
    let level = logging::level(&settings.log.level).unwrap_or(log::LevelFilter::Info);
    logging::init(level, log_file.as_deref()).map_err(|e| {
        let path = log_file.as_deref().unwrap_or(Path::new("standard error"));
        format!("can't write the log to {}: {e}", path.display())
    })?;
    std::env::set_current_dir(&settings.dir)
        .map_err(|e| format!("can't work in the folder {}: {e}", settings.dir.display()))?;
    if let Some(fits) = early::raise_file_limit(settings) {
        log::warn!("The limit of open files leaves room for {fits} clients, fewer than maxclients");
    }
    let pid_file = pid_path.map(|path| {
        early::PidFile::write(&path).map_err(|e| format!("can't write the pid file {}: {e}", path.display()))
    });
    pid_file.transpose()
}

/// The instance proper; true if it ended as it was asked to.
async fn serve(settings: Arc<Settings>) -> Result<bool, String> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| format!("can't watch for signals: {e}"))?;
    greet(&settings);
    let plugins = plugins(&settings)?;
    let closed = needs_no_data_port(&plugins)?;
    let (orders, inbox) = async_channel::unbounded();
    let shell = Shell::new(settings.clone(), orders);
    let data = shell.open_data(closed)?;
    let host = Host::load(&plugins, &settings.services, data, shell.clone()).map_err(told)?;
    settle::apply_overlay(&shell.services(), &settings);
    logging::set_role_letter(if closed { b'X' } else { b'M' });
    log::info!("Running mode={}, {}.", mode(&shell, closed), shell.listening().join(", "));
    if let Err(error) = host.start_all().await {
        host.stop_all().await;
        return Err(told(error));
    }
    shell.open_ports()?;
    log::info!("Ready to accept connections");
    let end = wait_for_end(&settings, &shell, &inbox, &mut signals).await;
    log::warn!("{}", end.why);
    shell.close_ports().await;
    // Nothing is written any more, so replicas can catch up with what was.
    shell.pause_writes(Duration::from_secs(u64::from(settings.server.shutdown_timeout)));
    let stopping = pin!(host.stop_all());
    let insisting = pin!(insisted(&mut signals));
    if let Either::Right(_) = select(stopping, insisting).await {
        log::warn!("You insist... exiting now.");
        return Ok(false);
    }
    Ok(end.clean)
}

fn greet(settings: &Settings) {
    let pid = std::process::id();
    log::warn!("oO0OoO0OoO0Oo Keystead is starting oO0OoO0OoO0Oo");
    log::warn!("Keystead version={}, bits=64, just started, PID: {pid}", env!("CARGO_PKG_VERSION"));
    match &settings.file {
        Some(file) => log::warn!("Configuration loaded from {}", file.display()),
        None => log::warn!("No configuration file: using the built-in one (keystead FILE.ron reads yours)"),
    }
}

/// The plugins with their libraries found.
pub(crate) fn plugins(settings: &Settings) -> Result<Vec<PluginEntry>, String> {
    let entry = |plugin: &crate::config::load::PluginEntry| {
        let path = match &plugin.path {
            Some(path) => std::path::absolute(path).map_err(|e| format!("{path}: {e}"))?,
            None => host::find(&plugin.name, &settings.plugin_dirs)?,
        };
        let raw = &plugin.config;
        let config =
            host::ConfigText { text: raw.text.clone(), file: raw.file.clone(), line: raw.line, column: raw.column };
        Ok(PluginEntry { name: plugin.name.clone(), path, config })
    };
    settings.plugins.iter().map(entry).collect()
}

/// Plugins that all bring a port of their own need no data port.
fn needs_no_data_port(plugins: &[PluginEntry]) -> Result<bool, String> {
    for plugin in plugins {
        if !host::endpoint_only(&plugin.path).map_err(|refusal| refusal.to_string())? {
            return Ok(false);
        }
    }
    Ok(!plugins.is_empty())
}

/// A plugin's refusal with the line it is about.
fn told(error: LoadError) -> String {
    match &error {
        LoadError::Config { plugin, file, problem } if problem.line > 0 => {
            let place = (problem.line as usize, problem.column as usize);
            ConfigError::in_file(file, place, format!("plugin '{plugin}': {}", problem.message)).render()
        }
        _ => error.to_string(),
    }
}

/// What the log calls this kind of instance: as Redis, `sentinel` for a sentinel.
fn mode(shell: &Shell, closed: bool) -> String {
    let named = shell.services().into_iter().map(|s| s.name().to_owned()).find(|name| closed && !name.is_empty());
    named.unwrap_or_else(|| "standalone".into())
}

/// Random numbers from the system.
pub(crate) fn seeds() -> Result<[u64; 4], String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| format!("the system gives no random numbers: {e}"))?;
    let mut seeds = [0u64; 4];
    for (seed, chunk) in seeds.iter_mut().zip(bytes.chunks_exact(8)) {
        *seed = chunk.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    }
    Ok(seeds)
}

/// How the instance ends.
struct End {
    /// The sentence for the log.
    why: &'static str,
    /// As somebody wished, or because something failed.
    clean: bool,
}

/// Carries out orders until one, or a signal, ends the instance.
async fn wait_for_end(settings: &Settings, shell: &Shell, inbox: &Receiver<Order>, signals: &mut Signals) -> End {
    let end = |why| End { why, clean: true };
    loop {
        let order = pin!(inbox.recv());
        let signal = pin!(signals.next());
        let order = match select(order, signal).await {
            Either::Left((Ok(order), _)) => order,
            Either::Left((Err(_), _)) => return end("User requested shutdown..."),
            Either::Right((Some(SIGINT), _)) => return end("Received SIGINT scheduling shutdown..."),
            Either::Right((Some(SIGTERM), _)) => return end("Received SIGTERM scheduling shutdown..."),
            // A closed terminal is no reason to go.
            Either::Right(_) => continue,
        };
        match order {
            Order::Shutdown => return end("User requested shutdown..."),
            Order::Exit { clean: true } => return end("A plugin asks for a shutdown..."),
            Order::Exit { clean: false } => return End { why: "A plugin can't go on: stopping", clean: false },
            Order::RewriteConfig { service, reply } => settle::rewrite(&shell.services(), &service, settings, reply),
            Order::ConfigChanged { service, name } => settle::changed(&service, &name),
        }
    }
}

/// A second signal while the plugins stop.
async fn insisted(signals: &mut Signals) {
    while let Some(signal) = signals.next().await {
        if matches!(signal, SIGINT | SIGTERM) {
            return;
        }
    }
}
