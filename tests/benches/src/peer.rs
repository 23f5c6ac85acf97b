//! Starts the servers that are compared: Keystead and Debian's redis-server, on free ports, optionally pinned.

use crate::{load::Counter, proc};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take until it answers PING.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian's redis-server.
    Redis,
    /// The release build of this workspace.
    Keystead,
}

impl Kind {
    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Keystead => "keystead",
        }
    }
}

/// A running server; dropped, it is killed and its folder removed.
pub struct Peer {
    /// Which.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    folder: PathBuf,
    /// What was started, to start it again.
    words: Vec<String>,
}

/// Where the binaries under test are: `KEYSTEAD_BIN_DIR`, else beside this program.
#[must_use]
pub fn bin_dir() -> PathBuf {
    std::env::var_os("KEYSTEAD_BIN_DIR").map_or_else(
        || std::env::current_exe().ok().and_then(|p| p.parent().map(PathBuf::from)).unwrap_or_default(),
        PathBuf::from,
    )
}

/// A port nobody uses at this moment.
///
/// # Errors
/// When none can be bound.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Starts the process, with its log in the folder.
fn spawn(words: &[String], folder: &Path) -> io::Result<Child> {
    let log = std::fs::File::create(folder.join("log"))?;
    Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .env_remove("LD_LIBRARY_PATH")
        .spawn()
}

impl Peer {
    /// Starts a server without persistence; `processor` pins it and all its threads.
    ///
    /// # Errors
    /// When it can't be started or doesn't answer in time.
    pub fn start(kind: Kind, processor: Option<usize>, extra: &[&str]) -> io::Result<Self> {
        let port = free_port()?;
        let folder = std::env::temp_dir().join(format!("keystead-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut words: Vec<String> = Vec::new();
        if let Some(processor) = processor {
            words.extend(["taskset".into(), "-c".into(), processor.to_string()]);
        }
        match kind {
            Kind::Redis => {
                words.push("redis-server".into());
                words.extend(
                    ["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
                        .map(String::from),
                );
                words.extend(["--dir".into(), folder.display().to_string()]);
            }
            Kind::Keystead => {
                words.push(bin_dir().join("keystead").display().to_string());
                words.extend(["--port".into(), port.to_string(), "--dir".into(), folder.display().to_string()]);
                if bin_dir().join("libkeystead_persistence_rdb.so").is_file() {
                    words.extend(["--set".into(), "persistence-rdb.save=[]".into()]);
                }
            }
        }
        words.extend(extra.iter().map(|s| (*s).to_owned()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = spawn(&words, &folder)?;
        let peer = Self { kind, address, child, folder, words };
        peer.wait()?;
        Ok(peer)
    }

    /// Kills it, starts it again in the same folder, and waits until it has loaded; gives how long that took.
    ///
    /// # Errors
    /// When it can't be started or doesn't answer in time.
    pub fn restart(&mut self) -> io::Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let start = Instant::now();
        self.child = spawn(&self.words, &self.folder)?;
        self.wait()?;
        Ok(start.elapsed())
    }

    /// Until it answers PING.
    fn wait(&self) -> io::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while self.call(&["PING"]).ok().as_deref() != Some(b"+PONG\r\n") {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("{} did not start:\n{log}", self.kind.name())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The server's process (taskset executes it in its own place).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time used so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        proc::cpu(self.pid())
    }

    /// Of it, what was spent in its own code, not in the kernel's.
    #[must_use]
    pub fn cpu_own(&self) -> Duration {
        proc::cpu_own(self.pid())
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident(&self) -> u64 {
        proc::status_kib(self.pid(), "VmRSS") * 1024
    }

    /// Memory that the server and its forked children hold for themselves, in bytes.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.resident() + proc::children(self.pid()).into_iter().map(proc::private_dirty).sum::<u64>()
    }

    /// Sends one command over a connection of its own and gives the first bytes of the reply.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub fn call(&self, command: &[&str]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        stream.write_all(&request)?;
        let mut reply = vec![0; 16 * 1024];
        let read = stream.read(&mut reply)?;
        reply.truncate(read);
        Ok(reply)
    }

    /// Stores `keys` keys of 16 bytes with values of `size` bytes, numbered from 0.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn fill(&self, keys: u64, size: usize) -> io::Result<()> {
        let value = "x".repeat(size);
        self.feed((0..keys).map(|n| vec!["SET".into(), format!("key:{n:012}"), value.clone()]))
    }

    /// Sends commands, many at a time, and reads their replies.
    ///
    /// # Errors
    /// When the connection fails or an error is answered.
    pub fn feed(&self, mut commands: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
        /// Bytes that are sent before the replies are read.
        const BATCH: usize = 64 * 1024;
        let mut stream = TcpStream::connect(self.address)?;
        let (mut batch, mut sink, mut replies) = (Vec::new(), vec![0; 64 * 1024], Counter::default());
        loop {
            batch.clear();
            let mut expected = 0;
            while let Some(words) = (batch.len() < BATCH).then(|| commands.next()).flatten() {
                batch.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
                for word in words {
                    batch.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
                }
                expected += 1;
            }
            if expected == 0 {
                return Ok(());
            }
            stream.write_all(&batch)?;
            while expected > 0 {
                let read = stream.read(&mut sink)?;
                expected -= replies.count(&sink[..read]);
                if read == 0 || replies.errors() > 0 {
                    return Err(io::Error::other(String::from_utf8_lossy(&sink[..read]).into_owned()));
                }
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
