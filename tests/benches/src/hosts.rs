//! A primary, two replicas and three sentinels, one pair a host of a `netns::Net`: stock or ours. Started, watched by a
//! client in the observer's namespace, hurt and healed. Owns the processes.

use crate::netns::{Net, address};
use keystead_harness::{Process, ProcessSpec, Reply, bin_dir, eventually, keystead_bin, read_reply, ron_str};
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Name of the watched primary.
pub const PRIMARY: &str = "mymaster";
/// The ports, the same on every host.
pub const DATA_PORT: u16 = 6379;
/// See above.
pub const SENTINEL_PORT: u16 = 26379;
/// Hosts.
pub const HOSTS: usize = 3;
/// A group must have found itself within this time: stock sentinels ask INFO every ten seconds.
const READY: Duration = Duration::from_secs(90);
/// An answer that takes longer is none.
const ANSWER: Duration = Duration::from_millis(150);

/// Whose programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Ours.
    Keystead,
    /// Debian's.
    Redis,
}

/// How the sentinels are set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// down-after
    pub down_after_ms: u64,
    /// `fast-detection`
    pub fast: bool,
}

/// The group.
#[derive(Debug)]
pub struct Hosts {
    /// Data nodes.
    pub data: Vec<Process>,
    /// Sentinels.
    pub sentinels: Vec<Process>,
    _dir: TempDir,
}

impl Hosts {
    /// Starts everybody and waits until all know each other.
    pub fn start(net: &Net, maker: Maker, setting: Setting) -> io::Result<Hosts> {
        let dir = tempfile::tempdir()?;
        let (mut data, mut sentinels) = (Vec::new(), Vec::new());
        for n in 0..HOSTS {
            let folder = dir.path().join(format!("data{n}"));
            std::fs::create_dir(&folder)?;
            let (program, args) = match maker {
                Maker::Keystead => ours(&folder, &data_ron(n, &folder))?,
                Maker::Redis => {
                    let of = format!(
                        "--port {DATA_PORT} --bind {} --protected-mode no --repl-diskless-sync-delay 0",
                        address(n)
                    );
                    let mut args: Vec<String> = of.split(' ').map(str::to_owned).collect();
                    args.extend(["--save".to_owned(), String::new()]);
                    if n > 0 {
                        args.extend(["--replicaof".to_owned(), address(0), DATA_PORT.to_string()]);
                    }
                    // CONFIG REWRITE needs a file.
                    let file = folder.join("redis.conf");
                    std::fs::write(&file, "")?;
                    args.insert(0, file.display().to_string());
                    ("redis-server".into(), args)
                }
            };
            data.push(launch(net, n, &program, args, &folder)?);
        }
        for n in 0..HOSTS {
            let folder = dir.path().join(format!("sentinel{n}"));
            std::fs::create_dir(&folder)?;
            let (program, args) = match maker {
                Maker::Keystead => ours(&folder, &sentinel_ron(n, &folder, setting))?,
                Maker::Redis => {
                    let file = folder.join("sentinel.conf");
                    std::fs::write(&file, sentinel_conf(n, &folder, setting))?;
                    ("redis-sentinel".into(), vec![file.display().to_string()])
                }
            };
            sentinels.push(launch(net, n, &program, args, &folder)?);
        }
        let group = Hosts { data, sentinels, _dir: dir };
        group.settle()?;
        Ok(group)
    }

    /// Waits until all sentinels hold the same primary, see everybody well, and the replicas are in step.
    pub fn settle(&self) -> io::Result<usize> {
        let mut last = String::new();
        let found = eventually(READY, || {
            let mut primaries = Vec::new();
            for n in 0..HOSTS {
                match well(n) {
                    Ok(primary) => primaries.push(primary),
                    Err(why) => {
                        last = why;
                        std::thread::sleep(Duration::from_millis(50));
                        return None;
                    }
                }
            }
            primaries.dedup();
            if primaries.len() == 1 { primaries.pop() } else { None }
        });
        found.ok_or_else(|| io::Error::other(format!("the group did not settle: {last}")))
    }

    /// What everybody said.
    pub fn logs(&self) -> String {
        let logs = self.data.iter().chain(&self.sentinels).map(|process| process.log());
        logs.collect::<Vec<_>>().join("\n----\n")
    }

    /// How often the sentinels together have promoted.
    pub fn promotions(&self) -> usize {
        self.sentinels.iter().map(|s| s.log().matches(" +promoted-slave ").count()).sum()
    }
}

fn launch(net: &Net, n: usize, program: &str, args: Vec<String>, folder: &std::path::Path) -> io::Result<Process> {
    let inside = ["netns", "exec", &net.host(n), program].map(str::to_owned);
    Process::start(ProcessSpec {
        program: "ip".into(),
        args: inside.into_iter().chain(args).collect(),
        dir: folder.to_path_buf(),
        log_name: "process.log".into(),
        env: Vec::new(),
    })
}

fn ours(folder: &std::path::Path, ron: &str) -> io::Result<(String, Vec<String>)> {
    let file = folder.join("keystead.ron");
    std::fs::write(&file, ron)?;
    Ok((keystead_bin().display().to_string(), vec![file.display().to_string()]))
}

fn ron(n: usize, folder: &std::path::Path, plugin: &str, config: &str) -> String {
    format!(
        "(server: (port: {DATA_PORT}, protected_mode: false, bind: [\"{}\"], dir: {}), plugin_dirs: [{}], plugins: [(name: \"{plugin}\", config: {config})])",
        address(n),
        ron_str(&folder.display().to_string()),
        ron_str(&bin_dir().display().to_string()),
    )
}

fn data_ron(n: usize, folder: &std::path::Path) -> String {
    let config = if n == 0 { "()".into() } else { format!("(replicaof: (\"{}\", {DATA_PORT}))", address(0)) };
    ron(n, folder, "replication", &config)
}

fn sentinel_ron(n: usize, folder: &std::path::Path, setting: Setting) -> String {
    let config = format!(
        "(port: {SENTINEL_PORT}, bind: [\"{}\"], monitors: [(name: \"{PRIMARY}\", host: \"{}\", port: {DATA_PORT}, quorum: 2, \
         down_after_ms: {}, failover_timeout_ms: 3000, fast_detection: {})])",
        address(n),
        address(0),
        setting.down_after_ms,
        setting.fast,
    );
    ron(n, folder, "sentinel", &config)
}

fn sentinel_conf(n: usize, folder: &std::path::Path, setting: Setting) -> String {
    format!(
        "port {SENTINEL_PORT}\nbind {}\nprotected-mode no\ndir {}\nsentinel monitor {PRIMARY} {} {DATA_PORT} 2\n\
         sentinel down-after-milliseconds {PRIMARY} {}\nsentinel failover-timeout {PRIMARY} 3000\n",
        address(n),
        folder.display(),
        address(0),
        setting.down_after_ms,
    )
}

/// The host of the primary this sentinel holds, if it sees everybody well.
fn well(n: usize) -> Result<usize, String> {
    let mut client = Link::open(n, SENTINEL_PORT).map_err(|error| error.to_string())?;
    let mut ask = |what: &str| client.ask(&["SENTINEL", what, PRIMARY]).map_err(|error| error.to_string());
    let primary = ask("MASTER")?;
    let field = |of: &Reply, name: &str| of.get(name).and_then(|value| value.as_text()).unwrap_or_default();
    let expect = |what: &str, is: String, should: &str| {
        if is == should { Ok(()) } else { Err(format!("sentinel {n}: {what} is {is}, not {should}")) }
    };
    expect("flags", field(&primary, "flags"), "master")?;
    expect("num-slaves", field(&primary, "num-slaves"), "2")?;
    expect("num-other-sentinels", field(&primary, "num-other-sentinels"), "2")?;
    let at = field(&primary, "ip");
    for replica in ask("REPLICAS")?.items() {
        expect("a replica's flags", field(&replica, "flags"), "slave")?;
        expect("a replica's link", field(&replica, "master-link-status"), "ok")?;
        expect("a replica's primary", field(&replica, "master-host"), &at)?;
    }
    for sentinel in ask("SENTINELS")?.items() {
        expect("a sentinel's flags", field(&sentinel, "flags"), "sentinel")?;
    }
    (0..HOSTS).find(|n| address(*n) == at).ok_or_else(|| format!("a primary at {at}"))
}

/// A connection from the observer.
#[derive(Debug)]
pub struct Link {
    input: BufReader<TcpStream>,
}

impl Link {
    /// Connects to a host's port; who doesn't answer in a moment isn't there.
    pub fn open(n: usize, port: u16) -> io::Result<Link> {
        let at: SocketAddr = format!("{}:{port}", address(n)).parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&at, ANSWER)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Link { input: BufReader::new(stream) })
    }

    /// How long an answer may take from now on.
    pub fn patient(&self, limit: Duration) -> io::Result<()> {
        self.input.get_ref().set_read_timeout(Some(limit))
    }

    /// A command and its reply.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut out = format!("*{}\r\n", words.len());
        for word in words {
            out.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.input.get_mut().write_all(out.as_bytes())?;
        read_reply(&mut self.input)
    }
}

/// Asks the sentinels round and round and writes, until a primary other than `old` takes the write: its host, and how long
/// it took. Nothing when that doesn't happen within the limit.
pub fn first_write_elsewhere(old: usize, since: Instant, limit: Duration) -> Option<(usize, Duration)> {
    let mut links: Vec<Option<Link>> = (0..HOSTS).map(|_| None).collect();
    while since.elapsed() < limit {
        // The host that was hurt goes last: its sentinel may not answer.
        for step in 1..=HOSTS {
            let n = (old + step) % HOSTS;
            if n == old && step == HOSTS {
                continue;
            }
            if links[n].is_none() {
                links[n] = Link::open(n, SENTINEL_PORT).ok();
            }
            let Some(link) = &mut links[n] else { continue };
            let Ok(reply) = link.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]) else {
                links[n] = None;
                continue;
            };
            let at = reply.texts().first().cloned().unwrap_or_default();
            let Some(new) = (0..HOSTS).find(|n| address(*n) == at).filter(|new| *new != old) else { continue };
            let wrote = Link::open(new, DATA_PORT).and_then(|mut data| data.ask(&["SET", "after-failover", "1"]));
            if wrote.is_ok_and(|reply| reply == "OK") {
                return Some((new, since.elapsed()));
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}
