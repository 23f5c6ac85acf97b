//! A full sync of about 1 GB to an empty replica while a client writes 3,000 times a second: how long, how much memory on
//! top, how long a write had to wait. The same server at both ends. Prints a Markdown table.
//!
//! `fullsync [--keys N] [--value BYTES] [--rounds N]`

use keystead_benches::{
    load::Random,
    peer::{Kind, Peer},
    proc,
    table::{cell, head, median, row},
};
use std::{
    fs, io,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const WRITES_PER_SECOND: u32 = 3000;
/// A sync that takes longer counts as failed.
const DEADLINE: Duration = Duration::from_secs(180);

/// Writes at a steady pace until told to stop; gives each write's latency.
fn writer(address: SocketAddr, keys: u64, size: usize, stop: &AtomicBool) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let value = "y".repeat(size);
    let mut random = Random::new(3);
    let mut reply = [0; 256];
    let mut latencies = Vec::new();
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let request = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{:012}\r\n${size}\r\n{value}\r\n", random.below(keys));
        let due = next;
        stream.write_all(request.as_bytes())?;
        if stream.read(&mut reply)? == 0 || reply[0] != b'+' {
            return Err(io::Error::other("a write was refused"));
        }
        // From when it was due: a stall delays the writes behind it too.
        latencies.push(due.elapsed());
        next += Duration::from_secs(1) / WRITES_PER_SECOND;
        if let Some(rest) = next.checked_duration_since(Instant::now()) {
            thread::sleep(rest);
        }
    }
    Ok(latencies)
}

/// Memory a server and its forked children hold for themselves, in bytes.
fn held(peer: &Peer) -> u64 {
    let forked: u64 = proc::children(peer.pid()).iter().map(|pid| private_dirty(*pid)).sum();
    peer.resident() + forked
}

fn private_dirty(pid: u32) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { return 0 };
    text.lines()
        .find_map(|l| l.strip_prefix("Private_Dirty:")?.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn info(peer: &Peer, field: &str) -> Option<String> {
    let reply = peer.call(&["INFO", "replication"]).ok()?;
    let text = String::from_utf8_lossy(&reply).into_owned();
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned))
}

struct Figures {
    seconds: f64,
    extra_percent: f64,
    p99_ms: f64,
    worst_ms: f64,
}

#[allow(clippy::cast_precision_loss, reason = "sizes and counts of a benchmark fit a double")]
fn sync(kind: Kind, keys: u64, size: usize) -> io::Result<Figures> {
    let primary = Peer::start(kind, None, &[])?;
    let _ = primary.call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])?;
    let empty = primary.resident();
    primary.fill(keys, size)?;
    let replica = Peer::start(kind, None, &[])?;
    let base = held(&primary);
    let stop = Arc::new(AtomicBool::new(false));
    let (address, flag) = (primary.address, stop.clone());
    let writing = thread::spawn(move || writer(address, keys, size, &flag));
    thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    replica.call(&["REPLICAOF", "127.0.0.1", &primary.address.port().to_string()])?;
    let mut peak = base;
    while info(&replica, "master_link_status").as_deref() != Some("up") {
        peak = peak.max(held(&primary));
        if start.elapsed() > DEADLINE {
            return Err(io::Error::other("the sync did not end in time"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    let seconds = start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut latencies = writing.join().map_err(|_| io::Error::other("the writer panicked"))??;
    latencies.sort_unstable();
    let data = base.saturating_sub(empty).max(1);
    Ok(Figures {
        seconds,
        extra_percent: peak.saturating_sub(base) as f64 * 100.0 / data as f64,
        p99_ms: latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3,
        worst_ms: latencies[latencies.len() - 1].as_secs_f64() * 1e3,
    })
}

fn main() -> io::Result<()> {
    let (mut keys, mut size, mut rounds) = (1_000_000, 1000, 3);
    let mut words = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name.as_str() {
            "--keys" => keys = value.parse().unwrap_or(keys),
            "--value" => size = value.parse().unwrap_or(size),
            "--rounds" => rounds = value.parse().unwrap_or(rounds),
            other => eprintln!("unknown option {other}"),
        }
    }
    println!(
        "{keys} keys with values of {size} bytes; {WRITES_PER_SECOND} writes a second; {rounds} rounds, alternating. Median (min–max).\n"
    );
    println!(
        "{}",
        head(&[
            "server",
            "seconds until the link is up",
            "extra memory, % of the data",
            "write p99, ms",
            "worst write, ms"
        ])
    );
    let kinds = [Kind::Redis, Kind::Keystead];
    let mut all: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (side, kind) in kinds.into_iter().enumerate() {
            all[side].push(sync(kind, keys, size)?);
        }
    }
    let column = |side: usize, get: fn(&Figures) -> f64| all[side].iter().map(get).collect::<Vec<_>>();
    for (side, kind) in kinds.into_iter().enumerate() {
        println!(
            "{}",
            row(&[
                kind.name().to_owned(),
                cell(&column(side, |f| f.seconds)),
                cell(&column(side, |f| f.extra_percent)),
                cell(&column(side, |f| f.p99_ms)),
                cell(&column(side, |f| f.worst_ms)),
            ])
        );
    }
    println!(
        "\nKeystead takes {:.2} × redis-server's time.",
        median(&column(1, |f| f.seconds)) / median(&column(0, |f| f.seconds))
    );
    Ok(())
}
