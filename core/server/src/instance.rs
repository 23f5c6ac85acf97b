//! One instance from its settings to its end: puts configuration, engines, plugins and listeners together.

use crate::config::Settings;
use crate::net::listen::ListenSpec;
use crate::net::service::{mono_us, now};
use crate::net::{Order, Port, Service};
use crate::{alloc, early, logging, settle};
use async_channel::Receiver;
use futures::StreamExt;
use futures::future::{Either, select};
use keystead_engine::{Engine, EngineMode, EngineOptions};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

/// Runs until a signal or SHUTDOWN.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let pid_file = match prepare(&settings) {
        Ok(pid_file) => pid_file,
        Err(message) => {
            eprintln!("keystead: {message}");
            return ExitCode::FAILURE;
        }
    };
    let result = async_std::task::block_on(serve(settings));
    drop(pid_file);
    match result {
        Ok(()) => {
            log::warn!("Keystead is now ready to exit, bye bye...");
            ExitCode::SUCCESS
        }
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
    early::set_runtime_threads(settings.server.io_threads);
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

/// The instance proper.
async fn serve(settings: Settings) -> Result<(), String> {
    let pid = std::process::id();
    log::warn!("oO0OoO0OoO0Oo Keystead is starting oO0OoO0OoO0Oo");
    log::warn!("Keystead version={}, bits=64, just started, PID: {pid}", env!("CARGO_PKG_VERSION"));
    match &settings.file {
        Some(file) => log::warn!("Configuration loaded from {}", file.display()),
        None => log::warn!("No configuration file: using the built-in one (keystead FILE.ron reads yours)"),
    }
    // Before anything can be reached: a stop that comes early must be as clean as one that comes late.
    let signals = signals()?;
    let (orders, inbox) = async_channel::unbounded();
    let data = Service::new(data_engine(&settings)?, orders);
    let port = Port::bind(data.clone(), &data_ports(&settings), settings.limits.tcp_keepalive)?;
    settle::apply_overlay(&data, &settings);
    logging::set_role_letter(b'M');
    log::info!("Running mode=standalone, port={}.", settings.server.port);
    port.open()?;
    announce(&settings);
    let why = wait_for_end(&settings, &inbox, signals).await;
    log::warn!("{why}");
    port.close().await;
    Ok(())
}

/// The engine with the keys, set up by the file and the command line.
fn data_engine(settings: &Settings) -> Result<Engine, String> {
    let options = EngineOptions {
        mode: EngineMode::Data,
        databases: settings.server.databases as usize,
        seeds: seeds()?,
        run_id: String::new(),
        now: now(),
        clock: Some(mono_us),
        used_memory: Some(alloc::used_memory),
    };
    let mut engine = Engine::new(options);
    settle::apply_settings(&mut engine, settings)?;
    Ok(engine)
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

fn data_ports(settings: &Settings) -> ListenSpec {
    let server = &settings.server;
    ListenSpec {
        bind: server.bind.clone(),
        port: server.port,
        backlog: server.tcp_backlog,
        unix: server
            .unixsocket
            .as_deref()
            .filter(|p| !p.is_empty())
            .map(|path| (PathBuf::from(path), unix_mode(settings))),
    }
}

/// As Redis: without a mode, what the socket would get by itself is kept narrow.
fn unix_mode(settings: &Settings) -> u32 {
    let text = settings.server.unixsocketperm.as_deref().unwrap_or("");
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode != 0).unwrap_or(0o755)
}

fn announce(settings: &Settings) {
    let server = &settings.server;
    if server.port != 0 {
        log::warn!("Server initialized, listening on {} port {}", server.bind.join(" "), server.port);
        log::info!("Ready to accept connections tcp");
    }
    if let Some(path) = server.unixsocket.as_deref().filter(|p| !p.is_empty()) {
        log::info!("The server is now ready to accept connections at {path}");
        log::info!("Ready to accept connections unix");
    }
}

fn signals() -> Result<signal_hook_async_std::Signals, String> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    signal_hook_async_std::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| format!("can't watch for signals: {e}"))
}

/// Carries out orders until one, or a signal, ends the instance; gives the sentence for the log.
async fn wait_for_end(
    settings: &Settings,
    inbox: &Receiver<Order>,
    mut signals: signal_hook_async_std::Signals,
) -> &'static str {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    loop {
        let order = pin!(inbox.recv());
        let signal = pin!(signals.next());
        let order = match select(order, signal).await {
            Either::Left((Ok(order), _)) => order,
            Either::Left((Err(_), _)) => return "User requested shutdown...",
            Either::Right((Some(SIGINT), _)) => return "Received SIGINT scheduling shutdown...",
            Either::Right((Some(SIGTERM), _)) => return "Received SIGTERM scheduling shutdown...",
            Either::Right((Some(SIGHUP), _)) => continue,
            Either::Right(_) => continue,
        };
        match order {
            Order::Shutdown { .. } => return "User requested shutdown...",
            Order::AbortShutdown => {}
            Order::RewriteConfig { service, reply } => settle::rewrite(&service, settings, reply),
            Order::ConfigChanged { service, name } => settle::changed(&service, &name),
        }
    }
}
