//! The processes of a local cluster: started, watched, stopped. Ends only what it started, or what was started again by
//! hand from one of its own files.

use super::{
    client::{self, Client},
    layout::{Layout, Node},
    screen,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a node may take to stop before it is killed: a primary waits 10 s for its replicas, then it saves its data.
const STOP_TIME: Duration = Duration::from_secs(60);
/// A node that takes longer to stop is named.
const USUAL_STOP: Duration = Duration::from_secs(2);
/// Between two looks at something awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running node.
pub struct Process {
    child: Child,
    ended: bool,
}

impl Process {
    /// Starts a node from its file; its output goes to `log` in its folder.
    ///
    /// # Errors
    /// When folder, log or process can't be made.
    pub fn start(node: &Node) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(node.dir.join("log"))?;
        let child = Command::new(std::env::current_exe()?)
            .arg(&node.file)
            // Whoever supervises this command doesn't supervise its nodes.
            .env_remove(crate::manager::VARIABLE)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C in the terminal reaches the cluster command alone, which stops them in order.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, ended: false })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, told once.
    pub fn newly_ended(&mut self) -> Option<ExitStatus> {
        if self.ended {
            return None;
        }
        let status = self.child.try_wait().ok().flatten();
        self.ended = status.is_some();
        status
    }

    fn terminate(&mut self) {
        if !self.ended
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            end(pid);
        }
    }
}

/// Writes every node's folder and file.
///
/// # Errors
/// When the folder can't be written.
pub fn write_files(layout: &Layout) -> io::Result<()> {
    for node in &layout.nodes {
        let named = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        fs::create_dir_all(&node.dir).map_err(|e| named(&node.dir, e))?;
        fs::write(&node.file, layout.ron(node)).map_err(|e| named(&node.file, e))?;
    }
    Ok(())
}

/// Waits until `ready` says yes.
///
/// # Errors
/// When the node ends first (with the last lines of its log), or the deadline passes.
pub fn wait_until(node: &Node, process: &mut Process, deadline: Instant, ready: impl Fn() -> bool) -> io::Result<()> {
    while !ready() {
        if let Some(status) = process.newly_ended() {
            return Err(io::Error::other(format!("it ended: {}\n{}", how(status), log_tail(&node.dir))));
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not ready in time\n{}", log_tail(&node.dir))));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// How a process ended, in words.
#[must_use]
pub fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(9), _) => String::from("killed (signal 9)"),
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, Some(0)) => String::from("stopped cleanly"),
        (None, code) => format!("ended with status {}", code.unwrap_or(-1)),
    }
}

fn log_tail(dir: &Path) -> String {
    const LINES: usize = 8;
    let text = fs::read_to_string(dir.join("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| format!("    {line}\n")).collect()
}

/// Stops all nodes: sentinels first, so that nobody starts a failover because we stop the primary. Who needs longer than
/// usual is named; another Ctrl-C, noted in `again`, ends the patience with them.
pub fn stop_all(layout: &Layout, processes: &mut [Process], again: &AtomicBool) {
    let mut by_hand = Vec::new();
    for (node, process) in layout.nodes.iter().zip(processes.iter_mut()).rev() {
        if process.ended || process.newly_ended().is_some() {
            // Whoever listens on the port now is ours only if it was started again from our file.
            by_hand.extend(client::process_of(node.port, &node.file).map(|pid| (node, pid)));
        }
        process.terminate();
    }
    for (_, pid) in &by_hand {
        end(*pid);
    }
    let begun = Instant::now();
    for (node, process) in layout.nodes.iter().zip(processes) {
        let what = format!("the node on port {} (pid {})", node.port, process.pid());
        if !patiently(&what, begun, again, || process.ended || process.newly_ended().is_some()) {
            screen::parting(&format!("  {what} is killed"));
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
    for (node, pid) in by_hand {
        let what = format!("the node on port {} (pid {pid}, started by hand)", node.port);
        if !patiently(&what, begun, again, || Client::connect(node.port).is_err()) {
            screen::parting(&format!("  {what} still runs"));
        }
    }
}

/// Waits for an end, and says for whose once that takes longer than usual.
fn patiently(what: &str, begun: Instant, again: &AtomicBool, mut ended: impl FnMut() -> bool) -> bool {
    let mut said = false;
    while !ended() {
        if begun.elapsed() > STOP_TIME || again.load(Ordering::Relaxed) {
            return false;
        }
        if !said && begun.elapsed() > USUAL_STOP {
            screen::parting(&format!(
                "  waiting for {what}, which may be saving its data; Ctrl-C again waits no longer"
            ));
            said = true;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

/// Asks a process to end, also one that was stopped to see what happens. It may have ended in this moment: then there is
/// nothing to do.
fn end(pid: i32) {
    for signal in [Signal::SIGTERM, Signal::SIGCONT] {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
