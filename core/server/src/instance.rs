//! One instance from its settings to its end: puts configuration, engines, plugins and listeners together.
//!
//! The order matters: signals are watched before anything can be reached, ports are bound before plugins are loaded (a
//! busy port is found at once), clients are told that it is loading until the plugins have started, and plugins are
//! asked and stopped before the process ends.

use crate::config::report::nearest;
use crate::config::{ConfigError, NoStart, Settings};
use crate::ending::{End, Ends, Heard};
use crate::files::Files;
use crate::host::{self, Host, LoadError, PluginEntry, Refusal};
use crate::manager::{self, Manager};
use crate::ready;
use crate::replace::discard_left;
use crate::shell::Shell;
use crate::{dir, early, logging, settle, users};
use futures::future::{Either, pending, select};
use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Runs until a signal or SHUTDOWN.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let (mut manager, remark) = match Manager::take() {
        Ok(manager) => (manager, None),
        Err(why) => (Manager::default(), Some(why)),
    };
    // As with Redis: a manager that waits to be told has to keep the process it started.
    if settings.server.daemonize && !manager.is_there() {
        match early::daemonize() {
            Ok(starter) => manager.tell_starter(starter),
            Err(error) => {
                eprintln!("keystead: can't detach from the terminal: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let (settings, manager) = (Arc::new(settings), Arc::new(manager));
    if let Err(reason) = prepare(&settings, &manager, remark) {
        manager.refused(&reason.to_string());
        match reason {
            NoStart::Setting(error) => eprintln!("{}", error.render()),
            NoStart::Other(message) => eprintln!("keystead: {message}"),
        }
        return ExitCode::FAILURE;
    }
    let served = early::enough_threads(&settings)
        .map_err(NoStart::from)
        .and_then(|()| async_std::task::block_on(serve(settings, manager.clone())));
    match served {
        Ok(true) => {
            log::warn!("Keystead is now ready to exit, bye bye...");
            ExitCode::SUCCESS
        }
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            let reason = reason.to_string();
            manager.refused(&reason);
            for line in reason.lines() {
                log::error!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Everything that needs a process with one thread: its folder, its log, how many threads there will be.
fn prepare(settings: &Settings, manager: &Manager, remark: Option<String>) -> Result<(), NoStart> {
    let blame = |path: &str, message: String| settings.source.blame(path, message, None);
    let made = dir::make(&settings.dir).map_err(|e| {
        blame("server.dir", format!("server.dir: the folder {} can't be made: {e}", settings.dir.display()))
    })?;
    let log_file = settings.log.file.as_deref().filter(|f| !f.is_empty()).map(|f| settings.dir.join(f));
    early::set_runtime_threads(settings);
    let level = logging::level(&settings.log.level).unwrap_or(log::LevelFilter::Info);
    logging::init(level, log_file.as_deref()).map_err(|e| {
        let path = log_file.as_deref().unwrap_or(Path::new("standard error"));
        blame("log.file", format!("can't write the log to {}: {e}", path.display()))
    })?;
    dir::enter(&settings.dir).map_err(|message| blame("server.dir", message))?;
    if made.new {
        log::warn!("The folder {} wasn't there: it was made", settings.dir.display());
    }
    if let Some(why) = made.unsynced {
        log::warn!("Names in the folder can't be put on the disk, and may be gone if the machine goes down: {why}");
    }
    if let Some(why) = remark {
        log::warn!("{why}");
    }
    if manager.is_there() {
        let stays = if settings.server.daemonize { "; server.daemonize is passed over" } else { "" };
        log::info!("Supervised by systemd, which is told when this is ready{stays}");
    }
    Ok(())
}

/// Not before the ports are bound: a start that finds them taken must not touch the file of the instance that has them.
/// Without one it starts all the same, as Redis does.
fn write_pid(settings: &Settings) -> Option<early::PidFile> {
    let path = settings.server.pidfile.as_deref().filter(|f| !f.is_empty()).map(|f| settings.dir.join(f))?;
    let written = early::PidFile::write(&path);
    written.inspect_err(|e| log::warn!("Failed to write PID file {}: {e}", path.display())).ok()
}

/// Where data lies that somebody may miss: the usual names.
const DATA_FILES: [&str; 2] = ["dump.rdb", "appendonlydir"];

/// A start that takes longer than this tells clients that it is loading.
const SHORT_START: Duration = Duration::from_millis(250);

/// The instance proper; true if it ended as it was asked to.
async fn serve(settings: Arc<Settings>, manager: Arc<Manager>) -> Result<bool, NoStart> {
    let signals = Heard::new().map_err(|e| format!("can't watch for signals: {e}"))?;
    greet(&settings);
    let (orders, inbox) = async_channel::unbounded();
    let shell = Shell::new(settings.clone(), orders, manager);
    let (host, closed) = assemble(&shell, &settings)?;
    let _pid_file = write_pid(&settings);
    discard_left(&settings.overlay_path);
    users::clear_up(&shell.services(), &settings);
    shell.basis().look(&shell.services(), &settings);
    settle::apply_overlay(&shell.services(), &settings, &host.given(&settings.command_line))?;
    let doors = shell.open_doors().into_iter().chain(shell.idle_password());
    doors.chain(unsaved(&host, &settings, closed)).for_each(|line| log::warn!("{line}"));
    logging::set_role_letter(if closed { b'X' } else { b'M' });
    // Who waits for the pid, as Redis' test suite does, takes it for a server that has its port.
    let (mode, ports, pid) = (mode(&shell, closed), shell.listening().join(", "), std::process::id());
    log::info!("Running mode={mode}, {ports}, PID: {pid}.");
    log::warn!("Server initialized");
    let files = Files::new(shell.clone(), settings);
    let mut ending = Ends { files, shell: shell.clone(), inbox, signals };
    match start(&host, &shell, &mut ending, closed).await? {
        None => {}
        Some(end) => return Ok(stop(&host, &mut ending, end).await),
    }
    ready::start();
    log::info!("Ready to accept connections");
    shell.manager().ready();
    let end = ending.wait(&host).await;
    Ok(stop(&host, &mut ending, end).await)
}

/// Engines, plugins and users, nothing of which runs yet; whether there is no data port.
fn assemble(shell: &Arc<Shell>, settings: &Settings) -> Result<(Host, bool), NoStart> {
    let plugins = plugins(settings)?;
    let closed = needs_no_data_port(&plugins).map_err(|refusal| refused(&refusal, settings, &plugins))?;
    let data = shell.open_data(closed)?;
    let host = Host::load(&plugins, &settings.services, data, shell.clone());
    let host = host.map_err(|error| told(&error, settings, &plugins))?;
    shell.check_reachable()?;
    users::load(&shell.services(), settings)?;
    Ok((host, closed))
}

/// A start as far as it can be gone without a port, a write, or a running plugin: what that would be refused for, or what
/// it would warn of.
pub(crate) fn rehearse(settings: Settings) -> Result<Vec<String>, NoStart> {
    // Files of the configuration are named from there. A start would make it.
    if settings.dir.is_dir() {
        dir::enter(&settings.dir)?;
    }
    let settings = Arc::new(settings);
    let (orders, _inbox) = async_channel::unbounded();
    let shell = Shell::rehearsal(settings.clone(), orders);
    let (host, closed) = assemble(&shell, &settings)?;
    let kept = settle::apply_overlay(&shell.services(), &settings, &host.given(&settings.command_line))?;
    let doors = shell.open_doors().into_iter().chain(shell.idle_password()).chain(unsaved(&host, &settings, closed));
    Ok(shell.warnings().into_iter().chain(kept).chain(doors).chain(dir::remarks(&settings)).collect())
}

/// What an instance that saves nothing is told of that: it may be meant, as a cache's, or forgotten.
fn unsaved(host: &Host, settings: &Settings, closed: bool) -> Option<String> {
    if closed || host.may_save() {
        return None;
    }
    let why = match host.savers().as_slice() {
        [] => "No plugin that saves is loaded (persistence-rdb, persistence-aof)".to_owned(),
        off => format!("Nothing saves: {} is loaded and switched off", off.join(", ")),
    };
    let left: Vec<&str> = DATA_FILES.into_iter().filter(|name| settings.dir.join(name).exists()).collect();
    let left = if left.is_empty() {
        String::new()
    } else {
        format!(" What is in {} of {} is not loaded.", left.join(" and "), settings.dir.display())
    };
    Some(format!("{why}: the data is in memory only, and gone when this process ends.{left}"))
}

/// Starts the plugins and opens the ports. An end that is asked for meanwhile is given back: it waits for nothing.
async fn start(host: &Host, shell: &Shell, ending: &mut Ends, closed: bool) -> Result<Option<End>, String> {
    if !closed {
        shell.set_starting(true);
    }
    // Who connects during a start that takes no time waits in the port's queue, as with Redis, and never hears -LOADING.
    let late = async {
        async_std::task::sleep(SHORT_START).await;
        if closed { Ok(()) } else { shell.open_data_port() }
    };
    let (starting, asked, late) = (pin!(host.start_all()), pin!(ending.asked()), pin!(late));
    let begin = async move {
        match select(select(starting, asked), late).await {
            Either::Left((started, _)) => Ok(started),
            Either::Right((opened, starting)) => {
                opened?;
                Ok::<_, String>(starting.await)
            }
        }
    };
    let started = match select(pin!(begin), pin!(tell_progress(shell))).await {
        Either::Left((started, _)) => started?,
        Either::Right((never, _)) => match never {},
    };
    let started = match started {
        Either::Left((started, _)) => started,
        Either::Right((asked, _)) => return Ok(Some(asked.at_once())),
    };
    if let Err(error) = started {
        host.stop_all().await;
        return Err(error.to_string());
    }
    shell.set_starting(false);
    shell.open_ports()?;
    Ok(None)
}

/// Tells whoever waits how far the start is, as long as it is polled.
async fn tell_progress(shell: &Shell) -> Infallible {
    if !shell.manager().waits() {
        return pending().await;
    }
    loop {
        shell.manager().starting(shell.loaded_percent().as_deref());
        async_std::task::sleep(manager::EVERY).await;
    }
}

/// The end that nothing refused; true if it was wanted.
async fn stop(host: &Host, ending: &mut Ends, end: End) -> bool {
    if end.insisted {
        return false;
    }
    ending.shell.manager().stopping();
    ending.shell.close_ports().await;
    let stopping = pin!(host.stop_all());
    if let Either::Right(_) = select(stopping, pin!(ending.insisted())).await {
        log::warn!("You insist... exiting now.");
        return false;
    }
    ending.files.finish().await;
    end.clean
}

fn greet(settings: &Settings) {
    let pid = std::process::id();
    log::warn!("oO0OoO0OoO0Oo Keystead is starting oO0OoO0OoO0Oo");
    log::warn!("Keystead version={}, bits=64, pid={pid}, just started", env!("CARGO_PKG_VERSION"));
    match &settings.file {
        Some(file) => log::warn!("Configuration loaded from {}", file.display()),
        None => log::warn!("No configuration file: using the built-in one (keystead FILE.ron reads yours)"),
    }
}

/// The plugins with their libraries found.
pub(crate) fn plugins(settings: &Settings) -> Result<Vec<PluginEntry>, ConfigError> {
    let entry = |plugin: &crate::config::load::PluginEntry| {
        let path = match &plugin.path {
            Some(path) if !path.exists() => {
                return Err(plugin.refused(format!("there is no library {}", path.display()), None));
            }
            Some(path) => path.clone(),
            None => host::find(&plugin.name, &settings.plugin_dirs).map_err(|message| {
                let there = host::names(&settings.plugin_dirs);
                let near = nearest(&plugin.name, there.iter().map(String::as_str));
                plugin.refused(message, near.map(|name| format!("did you mean '{name}'?")))
            })?,
        };
        let raw = &plugin.config;
        let config = |text: &str| {
            let (text, file) = (text.to_owned(), raw.file.clone());
            host::ConfigText { text, file, line: raw.line, column: raw.column }
        };
        let config = config(&raw.understood(|text| host::problem(&path, &plugin.name, &config(text))));
        Ok(PluginEntry { name: plugin.name.clone(), path, config })
    };
    settings.plugins.iter().map(entry).collect()
}

/// Plugins that all bring a port of their own need no data port.
fn needs_no_data_port(plugins: &[PluginEntry]) -> Result<bool, Refusal> {
    for plugin in plugins {
        if !host::endpoint_only(&plugin.path)? {
            return Ok(false);
        }
    }
    Ok(!plugins.is_empty())
}

/// A plugin's refusal with the line it is about, or the argument.
fn told(error: &LoadError, settings: &Settings, plugins: &[PluginEntry]) -> NoStart {
    match error {
        LoadError::Config { plugin, problem, .. } => {
            let Some(entry) = settings.plugins.iter().find(|entry| entry.name == *plugin) else {
                return error.to_string().into();
            };
            if problem.line == 0 {
                return entry.refused(error.to_string(), None).into();
            }
            let message = format!("plugin '{plugin}': {}", problem.message);
            entry.config.mistake((problem.line, problem.column), message).into()
        }
        LoadError::Library(refusal) => refused(refusal, settings, plugins),
        LoadError::Start(reason) if reason.starts_with("services: ") => {
            settings.source.blame("services", reason.clone(), None).into()
        }
        LoadError::Start(reason) => reason.clone().into(),
    }
}

/// Why a library isn't loaded, with the line that lists its plugin.
fn refused(refusal: &Refusal, settings: &Settings, plugins: &[PluginEntry]) -> NoStart {
    let listed = plugins.iter().zip(&settings.plugins).rfind(|(plugin, _)| plugin.path == refusal.path);
    match listed {
        Some((_, entry)) => entry.refused(refusal.to_string(), None).into(),
        None => refusal.to_string().into(),
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
