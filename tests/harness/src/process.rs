//! One child process with its log: started in a folder of its own, watched, signalled, and killed on drop.

use crate::wait::{DEADLINE, eventually, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What to start: kept, so that a process can be started again as it was.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// The program's path or name.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The folder it runs in; its log lands there.
    pub dir: PathBuf,
    /// The log's file name inside `dir` (stdout and stderr together).
    pub log_name: String,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
}

/// A running (or ended) child.
#[derive(Debug)]
pub struct Process {
    spec: ProcessSpec,
    child: Child,
    stopped: bool,
}

impl Process {
    /// Starts the child. Its output is appended to the log, so that a restart keeps the earlier lines.
    pub fn start(spec: ProcessSpec) -> std::io::Result<Process> {
        let log = File::options().create(true).append(true).open(spec.dir.join(&spec.log_name))?;
        let child = Command::new(&spec.program)
            .args(&spec.args)
            .current_dir(&spec.dir)
            .env_remove("LD_LIBRARY_PATH")
            .envs(spec.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Process { spec, child, stopped: false })
    }

    /// Replaces the variables for the next restart.
    pub fn set_env(&mut self, env: &[(&str, &str)]) {
        self.spec.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.spec.dir
    }

    /// All of its output so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.spec.dir.join(&self.spec.log_name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the log holds `needle`; panics with the log if the process ends or the time passes first.
    #[track_caller]
    pub fn wait_for_log(&mut self, needle: &str, limit: Duration) {
        let found = eventually(limit, || {
            let alive = self.is_alive();
            if self.log().contains(needle) {
                Some(true)
            } else if alive {
                None
            } else {
                Some(false)
            }
        });
        if found != Some(true) {
            panic!("no {needle:?} in the log of {:?}:\n{}", self.spec.program, self.log());
        }
    }

    /// Waits for the end; panics when it takes longer than `limit`.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        match eventually(limit, || self.child.try_wait().ok().flatten()) {
            Some(status) => status,
            None => panic!("{:?} still runs after {limit:?}:\n{}", self.spec.program, self.log()),
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stopped = false;
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT, without waiting.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// SIGSTOP: when this returns the process stands still; its sockets stay open. A thread that runs on another processor
    /// runs on for a moment behind the signal.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.stopped = true;
        let pid = self.child.id();
        wait_until("the process stands still", DEADLINE, || threads_of(pid).all(|state| matches!(state, 'T' | 'Z')));
    }

    /// SIGCONT after [`Process::pause`].
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.stopped = false;
    }

    /// Starts the same program again with the same arguments in the same folder. The old one must have ended.
    pub fn restart(&mut self) -> std::io::Result<()> {
        assert!(!self.is_alive(), "restart needs an ended process");
        *self = Process::start(self.spec.clone())?;
        Ok(())
    }

    /// Waits until a TCP connection to `port` is accepted.
    #[track_caller]
    pub fn wait_for_port(&mut self, port: u16, limit: Duration) {
        wait_until(&format!("port {port} accepts"), limit, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// The state of each thread, as `/proc` has it.
fn threads_of(pid: u32) -> impl Iterator<Item = char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()))
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stopped {
            self.resume();
        }
        self.kill();
    }
}
