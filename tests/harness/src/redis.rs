//! Stock redis-server and redis-sentinel as peers: started on a free port in a folder of their own.

use crate::client::{Client, serves};
use crate::ports::free_port;
use crate::process::{Process, ProcessSpec};
use crate::wait::{DEADLINE, eventually};
use std::path::Path;
use tempfile::TempDir;

/// How often a start is tried again because another process took the port in between.
const PORT_TRIES: usize = 5;

/// A stock redis-server without persistence.
#[derive(Debug)]
pub struct RedisServer {
    /// The child, to kill, pause and restart it.
    pub process: Process,
    port: u16,
    _dir: TempDir,
}

impl RedisServer {
    /// Starts one with extra arguments such as `["--appendonly", "no"]`.
    pub fn start(extra: &[&str]) -> RedisServer {
        for _ in 0..PORT_TRIES {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            let mut args: Vec<String> = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]
                .into_iter()
                .chain(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"])
                .map(str::to_owned)
                .collect();
            args.extend(extra.iter().map(|s| (*s).to_owned()));
            if let Some(process) = start_and_ping("redis-server", args, dir.path(), port) {
                return RedisServer { process, port, _dir: dir };
            }
        }
        panic!("redis-server didn't start");
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }
}

/// A stock redis-sentinel.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The child, to kill, pause and restart it.
    pub process: Process,
    port: u16,
    _dir: TempDir,
}

impl RedisSentinel {
    /// Starts one whose configuration holds `config_lines` such as `sentinel monitor mymaster 127.0.0.1 6379 2`.
    pub fn start(config_lines: &[String]) -> RedisSentinel {
        for _ in 0..PORT_TRIES {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            let mut config = format!("port {port}\nbind 127.0.0.1\ndir {}\n", dir.path().display());
            for line in config_lines {
                config.push_str(line);
                config.push('\n');
            }
            let file = dir.path().join("sentinel.conf");
            std::fs::write(&file, config).expect("the temporary folder is writable");
            let args = vec![file.display().to_string()];
            if let Some(process) = start_and_ping("redis-sentinel", args, dir.path(), port) {
                return RedisSentinel { process, port, _dir: dir };
            }
        }
        panic!("redis-sentinel didn't start");
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }
}

/// Starts the program and waits until it serves; `None` when its port was taken.
fn start_and_ping(program: &str, args: Vec<String>, dir: &Path, port: u16) -> Option<Process> {
    let spec = ProcessSpec {
        program: program.into(),
        args,
        dir: dir.to_path_buf(),
        log_name: "process.log".into(),
        env: Vec::new(),
    };
    let mut process = Process::start(spec).unwrap_or_else(|e| panic!("{program} can't be started: {e}"));
    let ready = eventually(DEADLINE, || {
        if !process.is_alive() {
            return Some(false);
        }
        serves(port).then_some(true)
    });
    match ready {
        Some(true) => Some(process),
        _ if process.log().contains("in use") => None,
        _ => panic!("{program} isn't ready:\n{}", process.log()),
    }
}
