//! A real keystead process: its RON file is written here, its ports are free ones, its folder is temporary.

use crate::bins::{bin_dir, keystead_bin};
use crate::client::{Client, serves};
use crate::ports::free_port;
use crate::process::{Process, ProcessSpec};
use crate::wait::{DEADLINE, eventually};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How often a start is tried again because another process took the port in between.
const PORT_TRIES: usize = 5;

/// A RON string literal for `text`.
pub fn ron_str(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Describes an instance before it starts.
#[derive(Clone, Debug, Default)]
pub struct KeysteadBuilder {
    port: Option<u16>,
    server: Vec<String>,
    sections: Vec<String>,
    plugins: Vec<(String, String)>,
    plugin_dirs: Vec<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    ready_port: Option<u16>,
    shell: Option<String>,
}

impl KeysteadBuilder {
    /// Uses this data port instead of a free one; then a busy port is not retried.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Adds a field to the `server` section, for example `databases: 4`.
    pub fn server(mut self, field: &str) -> Self {
        self.server.push(field.to_owned());
        self
    }

    /// Adds a whole section at the top level, for example `limits: (maxclients: 10)`.
    pub fn section(mut self, section: &str) -> Self {
        self.sections.push(section.to_owned());
        self
    }

    /// Lists a plugin with its configuration subtree, for example `("replication", "(priority: 5)")`.
    pub fn plugin(mut self, name: &str, config: &str) -> Self {
        self.plugins.push((name.to_owned(), config.to_owned()));
        self
    }

    /// Looks for plugin libraries here first; the build's folder stays the last one.
    pub fn plugin_dir(mut self, dir: &Path) -> Self {
        self.plugin_dirs.push(dir.to_path_buf());
        self
    }

    /// Adds a command line argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Puts a file into the instance's folder before it starts.
    pub fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.files.push((name.to_owned(), content.to_vec()));
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs these shell commands first, in the process that becomes the instance: `ulimit -f 100`.
    pub fn shell(mut self, commands: &str) -> Self {
        self.shell = Some(commands.to_owned());
        self
    }

    /// The instance opens no data port (it is a sentinel only): readiness is asked on `port`.
    pub fn ready_port(mut self, port: u16) -> Self {
        self.ready_port = Some(port);
        self
    }

    /// Starts it and waits until it answers PING, be it with -NOAUTH, but not with -LOADING; panics with its log otherwise.
    #[track_caller]
    pub fn start(self) -> Keystead {
        for _ in 0..PORT_TRIES {
            let mut node = self.launch();
            match node.wait_ready() {
                Ok(()) => return node,
                Err(log) if self.port.is_none() && self.ready_port.is_none() && log.contains("in use") => {}
                Err(log) => panic!("keystead isn't ready:\n{log}"),
            }
        }
        panic!("keystead found no free port");
    }

    /// Starts it without waiting: for tests of starts that must fail.
    pub fn launch(&self) -> Keystead {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = self.port.unwrap_or_else(free_port);
        let file = dir.path().join("keystead.ron");
        std::fs::write(&file, self.ron(port, dir.path())).expect("the temporary folder is writable");
        for (name, content) in &self.files {
            std::fs::write(dir.path().join(name), content).expect("the temporary folder is writable");
        }
        let mut args = vec![file.display().to_string()];
        args.extend(self.args.iter().cloned());
        let mut program = keystead_bin();
        if let Some(commands) = &self.shell {
            let script = format!("{commands}; exec \"$0\" \"$@\"");
            args.splice(0..0, ["-c".to_owned(), script, program.display().to_string()]);
            program = "sh".into();
        }
        let spec = ProcessSpec {
            program,
            args,
            dir: dir.path().to_path_buf(),
            log_name: "process.log".into(),
            env: self.env.clone(),
        };
        let process = Process::start(spec).expect("the built binary can be started");
        Keystead { process, port, ready_port: self.ready_port.unwrap_or(port), dir }
    }

    /// The RON file's text.
    fn ron(&self, port: u16, dir: &Path) -> String {
        let mut server = vec![format!("port: {port}"), "bind: [\"127.0.0.1\"]".into()];
        server.push(format!("dir: {}", ron_str(&dir.display().to_string())));
        server.extend(self.server.iter().cloned());
        let dirs: Vec<String> = self
            .plugin_dirs
            .iter()
            .map(PathBuf::as_path)
            .chain([bin_dir()])
            .map(|d| ron_str(&d.display().to_string()))
            .collect();
        let plugins: Vec<String> =
            self.plugins.iter().map(|(name, config)| format!("(name: {}, config: {config})", ron_str(name))).collect();
        let mut text = format!("(\n    server: ({}),\n", server.join(", "));
        for section in &self.sections {
            text.push_str(&format!("    {section},\n"));
        }
        text.push_str(&format!("    plugin_dirs: [{}],\n    plugins: [\n", dirs.join(", ")));
        for plugin in &plugins {
            text.push_str(&format!("        {plugin},\n"));
        }
        text.push_str("    ],\n)\n");
        text
    }
}

/// A running instance.
#[derive(Debug)]
pub struct Keystead {
    /// The child, to kill, pause and restart it.
    pub process: Process,
    port: u16,
    ready_port: u16,
    dir: TempDir,
}

impl Keystead {
    /// Describes an instance without plugins on a free port.
    pub fn builder() -> KeysteadBuilder {
        KeysteadBuilder::default()
    }

    /// A running instance without plugins.
    #[track_caller]
    pub fn plain() -> Keystead {
        Keystead::builder().start()
    }

    /// A running primary with the replication plugin.
    #[track_caller]
    pub fn primary() -> Keystead {
        Keystead::builder().plugin("replication", "()").start()
    }

    /// A running replica of `127.0.0.1:port`.
    #[track_caller]
    pub fn replica_of(port: u16) -> Keystead {
        Keystead::builder().plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {port}))")).start()
    }

    /// Its data port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder, which is also its `dir`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A new connection to the data port (to the sentinel's port for a sentinel).
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.ready_port)
    }

    /// Starts it again with the same file and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.restart().expect("the binary can be started again");
        if let Err(log) = self.wait_ready() {
            panic!("keystead isn't ready after a restart:\n{log}");
        }
    }

    /// Waits for any answer to PING but -LOADING; gives the log when the process ends or stays silent.
    fn wait_ready(&mut self) -> Result<(), String> {
        let port = self.ready_port;
        let ready = eventually(DEADLINE, || {
            if !self.process.is_alive() {
                return Some(false);
            }
            serves(port).then_some(true)
        });
        // Another process may own the port and answer: ours must still run.
        if ready == Some(true) && self.process.is_alive() { Ok(()) } else { Err(self.process.log()) }
    }
}
