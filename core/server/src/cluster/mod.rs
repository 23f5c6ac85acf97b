//! `keystead cluster`: a primary, replicas and sentinels as processes on this machine, to watch a failover in.
//! A command-line tool on plain threads: it shares nothing with a running server but the binary.

pub(crate) mod client;
mod folder;
mod follow;
mod kept;
mod layout;
mod nodes;
mod picture;
mod screen;
mod wire;

use crate::config::lies_beside;
use folder::Folder;
use kept::Kept;
use layout::{Layout, MONITOR_NAME, Node};
use nodes::Process;
use picture::Seen;
use screen::Screen;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::{
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a node may take to answer.
const NODE_START: Duration = Duration::from_secs(20);
/// How long links and discovery may take (a sentinel looks at its primary every ten seconds).
const DISCOVERY: Duration = Duration::from_secs(30);

/// The options of `keystead cluster`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Replicas beside the primary
    #[arg(long, default_value_t = 2)]
    pub replicas: u16,
    /// Sentinel processes
    #[arg(long, default_value_t = 3, conflicts_with = "embedded")]
    pub sentinels: u16,
    /// Put a sentinel into each data node instead of starting sentinel processes: as many as data nodes
    #[arg(long)]
    pub embedded: bool,
    /// The primary's port; replicas take the next ones, sentinels start 20000 above
    #[arg(long, default_value_t = 6380)]
    pub base_port: u16,
    /// Where files, logs and state of the nodes go; they stay there, and the next run goes on with their data and roles
    /// [default: keystead-cluster-PORT in the temporary directory]
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Starts the cluster, shows it, follows it until Ctrl-C, stops it.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let (stop, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    // A shell whose terminal is closed sends SIGHUP once more, and others repeat themselves: only Ctrl-C insists.
    let all = [SIGINT, SIGTERM, SIGHUP, SIGQUIT].map(|signal| (signal, &stop));
    for (signal, flag) in all.into_iter().chain([(SIGINT, &again)]) {
        if let Err(error) = signal_hook::flag::register(signal, flag.clone()) {
            screen::failure(&format!("can't watch for signal {signal}: {error}"));
            return ExitCode::FAILURE;
        }
    }
    match start_and_follow(options, &stop, &again) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::failure(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Plugins that data nodes load beside replication, when their libraries are there.
const DATA_PLUGINS: &[&str] = &["scripting", "persistence-rdb"];

fn start_and_follow(options: &Options, stop: &AtomicBool, again: &AtomicBool) -> io::Result<()> {
    let folder = Folder::of(options.dir.as_deref(), options.base_port)?;
    let layout = Layout::new(folder.path(), options.base_port, options.replicas, options.sentinels, options.embedded)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.0))?
        .with_plugins(DATA_PLUGINS.iter().copied().filter(|name| lies_beside(name)));
    folder.check()?;
    let kept = Kept::read(&layout);
    let layout = layout.with_kept(&kept);
    refuse_used_ports(&layout)?;
    folder.make()?;
    nodes::write_files(&layout)?;
    let screen = Screen::new(stop);
    let path = folder.path().display();
    screen.line(&format!("Starting {} nodes; files, logs and state are in {path}", layout.nodes.len()));
    let mut processes = Vec::new();
    let outcome = start(&layout, &mut processes, screen).map(|()| {
        if screen.stopped() {
            screen::parting("\nStopped while it was starting");
            return;
        }
        show(&layout, &processes, screen);
        screen.line("Following the cluster. Ctrl-C stops all of it.\n");
        follow::follow(&layout, &mut processes, screen);
    });
    screen::parting(&format!("\nStopping {} nodes", processes.len()));
    again.store(false, Ordering::Relaxed);
    nodes::stop_all(&layout, &mut processes, again);
    outcome
}

/// A used port is said before anything starts, with the option that moves the cluster.
fn refuse_used_ports(layout: &Layout) -> io::Result<()> {
    let ports = layout.nodes.iter().flat_map(|node| [Some(node.port), node.sentinel_port]).flatten();
    for port in ports {
        if let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            return Err(io::Error::new(error.kind(), format!("port {port}: {error}; {}", way_out(layout))));
        }
    }
    Ok(())
}

/// What to do about a used port: a cluster that was killed leaves its nodes running.
fn way_out(layout: &Layout) -> String {
    let left = layout.nodes.iter().filter_map(|node| client::process_of(node.port, &node.file));
    let pids: Vec<String> = left.map(|pid| pid.to_string()).collect();
    match pids.is_empty() {
        true => String::from("choose another --base-port"),
        false => format!("nodes of an earlier run still run, kill {} ends them", pids.join(" ")),
    }
}

fn start(layout: &Layout, processes: &mut Vec<Process>, screen: Screen<'_>) -> io::Result<()> {
    for node in &layout.nodes {
        if screen.stopped() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut process = Process::start(node)?;
        let ready = nodes::wait_until(node, &mut process, begun + NODE_START, || {
            screen.stopped() || client::look(node.port).role.is_some()
        });
        processes.push(process);
        ready.map_err(|error| named(node, &error))?;
        if screen.stopped() {
            return Ok(());
        }
        let took = begun.elapsed().as_millis();
        screen.line(&format!("  {:<8}  127.0.0.1:{:<5}  ready after {took} ms", node.role.word(), node.port));
    }
    wait_for("replicas follow the primary", screen, || {
        let seen: Vec<Seen> = data_nodes(layout).map(|node| client::look(node.port)).collect();
        seen.iter().any(Seen::is_primary) && seen.iter().all(|s| s.is_primary() || s.link_up)
    });
    wait_for("sentinels know each other and the replicas", screen, || follow::sentinels_agree(layout));
    Ok(())
}

fn data_nodes(layout: &Layout) -> impl Iterator<Item = &Node> {
    layout.nodes.iter().filter(|node| node.has_data())
}

fn named(node: &Node, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} on port {}: {error}", node.role.word(), node.port))
}

/// Waits with a word of progress; what is late is said, not fatal: following shows it when it comes.
fn wait_for(what: &str, screen: Screen<'_>, ready: impl Fn() -> bool) {
    let begun = Instant::now();
    while !screen.stopped() {
        if ready() {
            screen.line(&format!("  {what} ({} ms)", begun.elapsed().as_millis()));
            return;
        }
        if begun.elapsed() > DISCOVERY {
            screen.line(&format!("  {what}: not yet after {} s, going on", DISCOVERY.as_secs()));
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn show(layout: &Layout, processes: &[Process], screen: Screen<'_>) {
    let seen: Vec<Seen> = layout.nodes.iter().map(|node| client::look(node.port)).collect();
    let pids: Vec<u32> = processes.iter().map(Process::pid).collect();
    let who = picture::who_is_who(layout, &seen, &pids);
    screen.line(&format!("\nThe cluster, watched by its sentinels as {MONITOR_NAME}:\n\n{who}"));
    let primary = seen.iter().position(Seen::is_primary).unwrap_or(0);
    let lines = picture::lines_to_try(layout, &follow::program(), layout.nodes[primary].port, pids[primary]);
    screen.line(&format!("Try:\n\n{lines}"));
    if let Some(told) = picture::without_redis_cli(std::env::var_os("PATH").as_deref()) {
        screen.line(told);
    }
}
