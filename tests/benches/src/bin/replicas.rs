//! What replicas cost: ten of them on one primary (processor time per replica and MB of stream, memory for one that lags),
//! and how fast a replica applies 100 MB that it missed. Prints two Markdown tables.
//!
//! The ten replicas are this program's own: they shake hands and read, so that the primary is what is measured.
//! `replicas [--mb N] [--replicas N] [--rounds N]`

use keystead_benches::{
    peer::{Kind, Peer},
    table::{cell, head, median, row},
};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// What takes longer counts as failed.
const DEADLINE: Duration = Duration::from_secs(180);
/// The size of a value.
const VALUE: usize = 100;
/// Bytes that a SET of such a value under a key of 16 bytes is.
const RECORD: u64 = 144;
const MB: f64 = 1e6;

fn info(peer: &Peer, section: &str, field: &str) -> Option<u64> {
    let reply = peer.call(&["INFO", section]).ok()?;
    let text = String::from_utf8_lossy(&reply).into_owned();
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok())
}

fn until(what: &str, mut check: impl FnMut() -> bool) -> io::Result<()> {
    let start = Instant::now();
    while !check() {
        if start.elapsed() > DEADLINE {
            return Err(io::Error::other(format!("{what}: not in time")));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A replica that was synced and reads nothing more until it is told to.
struct Listener {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Listener {
    fn attach(address: SocketAddr) -> io::Result<Listener> {
        let output = TcpStream::connect(address)?;
        output.set_nodelay(true)?;
        let mut listener = Listener { input: BufReader::with_capacity(256 * 1024, output.try_clone()?), output };
        for request in ["PING\r\n", "REPLCONF listening-port 1 capa eof capa psync2\r\n", "PSYNC ? -1\r\n"] {
            listener.output.write_all(request.as_bytes())?;
            listener.line()?;
        }
        let head = listener.line()?;
        let mark = head.strip_prefix("$EOF:").ok_or_else(|| io::Error::other(format!("'{head}'")))?.to_owned();
        let mut payload = Vec::new();
        while !payload.ends_with(mark.as_bytes()) {
            listener.input.read_until(mark.as_bytes()[mark.len() - 1], &mut payload)?;
        }
        // redis-server heeds the first one behind its saver's end only, which comes later than the payload's.
        for _ in 0..10 {
            listener.output.write_all(b"REPLCONF ACK 0\r\n")?;
            thread::sleep(Duration::from_millis(100));
        }
        Ok(listener)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the primary closed the connection during the handshake"));
            }
            if !line.trim_end().is_empty() {
                return Ok(line.trim_end().to_owned());
            }
        }
    }

    /// Reads and throws away, until `bytes` came.
    fn drain(mut self, bytes: u64) -> io::Result<Listener> {
        let (mut left, mut sink) = (bytes, vec![0; 256 * 1024]);
        while left > 0 {
            let read = self.input.read(&mut sink)?;
            if read == 0 {
                return Err(io::Error::other(format!("the primary closed the connection, {left} bytes are missing")));
            }
            left = left.saturating_sub(read as u64);
        }
        Ok(self)
    }
}

/// The backlog for what is missed while a link is down; else it is as large as by default.
const LARGE_BACKLOG: &str = "134217728";

fn primary(kind: Kind) -> io::Result<Peer> {
    let peer = Peer::start(kind, None, &[])?;
    peer.call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])?;
    // This program's replicas acknowledge nothing later.
    peer.call(&["CONFIG", "SET", "repl-timeout", "3600"])?;
    peer.call(&["CONFIG", "SET", "client-output-buffer-limit", "replica 0 0 0"])?;
    Ok(peer)
}

/// Processor seconds that `mb` of writes cost a primary with so many replicas that read along. With the default backlog: a
/// larger one would be memory touched for the first time, which costs once and not for each replica.
fn serving(kind: Kind, mb: u64, replicas: usize) -> io::Result<f64> {
    let peer = primary(kind)?;
    let listeners = (0..replicas).map(|_| Listener::attach(peer.address)).collect::<io::Result<Vec<_>>>()?;
    let writes = mb * 1_000_000 / RECORD;
    let start = peer.cpu();
    let reading: Vec<_> =
        listeners.into_iter().map(|listener| thread::spawn(move || listener.drain(writes * RECORD))).collect();
    peer.fill(writes, VALUE)?;
    for reader in reading {
        reader.join().map_err(|_| io::Error::other("a reader panicked"))??;
    }
    Ok((peer.cpu() - start).as_secs_f64())
}

/// MB of memory that a primary holds for ten replicas of which none reads, for each MB that was written.
#[allow(clippy::cast_precision_loss, reason = "sizes of a benchmark fit a double")]
fn held(kind: Kind, mb: u64, replicas: usize) -> io::Result<f64> {
    let peer = primary(kind)?;
    let _listeners = (0..replicas).map(|_| Listener::attach(peer.address)).collect::<io::Result<Vec<_>>>()?;
    let before = peer.resident();
    // One key, so that only the stream grows.
    let value = "x".repeat(VALUE);
    let writes = mb * 1_000_000 / RECORD;
    peer.feed((0..writes).map(|_| vec!["SET".into(), "key:000000000001".into(), value.clone()]))?;
    Ok(peer.resident().saturating_sub(before) as f64 / (mb as f64 * MB))
}

struct Caught {
    mb_per_s: f64,
    cpu_ms_per_mb: f64,
}

/// A replica misses `mb` of the stream while its link is down, and takes them from the backlog.
#[allow(clippy::cast_precision_loss, reason = "sizes of a benchmark fit a double")]
fn catch_up(kind: Kind, mb: u64) -> io::Result<Caught> {
    let (primary, replica) = (primary(kind)?, Peer::start(kind, None, &[])?);
    primary.call(&["CONFIG", "SET", "repl-backlog-size", LARGE_BACKLOG])?;
    let keys = mb * 1_000_000 / RECORD;
    primary.fill(keys, VALUE)?;
    let port = primary.address.port().to_string();
    replica.call(&["REPLICAOF", "127.0.0.1", &port])?;
    let offset = |peer: &Peer| info(peer, "replication", "master_repl_offset").unwrap_or(0);
    until("the full sync", || {
        let state = replica.call(&["ROLE"]).unwrap_or_default();
        String::from_utf8_lossy(&state).contains("connected") && offset(&primary) == offset(&replica)
    })?;
    // Nobody listens there: the link is down, the replica keeps what it has.
    replica.call(&["REPLICAOF", "127.0.0.1", "1"])?;
    primary.fill(keys, VALUE)?;
    let (from, to) = (offset(&replica), offset(&primary));
    let full = info(&primary, "stats", "sync_full");
    replica.call(&["REPLICAOF", "127.0.0.1", &port])?;
    until("the first byte", || offset(&replica) > from)?;
    let (start, cpu, first) = (Instant::now(), replica.cpu(), offset(&replica));
    until("the last byte", || offset(&replica) >= to)?;
    let (time, cpu) = (start.elapsed().as_secs_f64(), (replica.cpu() - cpu).as_secs_f64());
    if info(&primary, "stats", "sync_full") != full {
        return Err(io::Error::other("that was a full sync"));
    }
    let mb = (to - first) as f64 / MB;
    Ok(Caught { mb_per_s: mb / time, cpu_ms_per_mb: cpu * 1e3 / mb })
}

#[allow(clippy::cast_precision_loss, reason = "counts of a benchmark fit a double")]
fn main() -> io::Result<()> {
    let (mut mb, mut replicas, mut rounds) = (100u64, 10usize, 3);
    let mut words = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name.as_str() {
            "--mb" => mb = value.parse().unwrap_or(mb),
            "--replicas" => replicas = value.parse().unwrap_or(replicas),
            "--rounds" => rounds = value.parse().unwrap_or(rounds),
            other => eprintln!("unknown option {other}"),
        }
    }
    println!("{mb} MB of SETs, {replicas} replicas, {rounds} rounds, alternating. Median (min–max).\n");
    let kinds = [Kind::Redis, Kind::Keystead];
    let mut all: [[Vec<f64>; 4]; 2] = Default::default();
    for _ in 0..rounds {
        for (side, kind) in kinds.into_iter().enumerate() {
            let alone = serving(kind, mb, 0)?;
            let together = serving(kind, mb, replicas)?;
            let caught = catch_up(kind, mb)?;
            let [per_replica, memory, rate, cpu] = &mut all[side];
            per_replica.push((together - alone) * 1e3 / (mb as f64 * replicas as f64));
            memory.push(held(kind, mb, replicas)?);
            rate.push(caught.mb_per_s);
            cpu.push(caught.cpu_ms_per_mb);
        }
    }
    let titles = [
        "server",
        "processor ms per replica and MB",
        "MB held per MB that no replica read",
        "partial resync, MB applied a second",
        "processor ms of the replica per MB",
    ];
    println!("{}", head(&titles));
    for (side, kind) in kinds.into_iter().enumerate() {
        println!("{}", row(&[&[kind.name().to_owned()], &all[side].each_ref().map(|v| cell(v))[..]].concat()));
    }
    let ratio = |n: usize| format!("{:.2} ×", median(&all[1][n]) / median(&all[0][n]));
    println!("{}", row(&["keystead / redis-server".into(), ratio(0), ratio(1), ratio(2), ratio(3)]));
    Ok(())
}
