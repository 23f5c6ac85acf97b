//! A full sync of about 1 GB to an empty replica while a client writes 3,000 times a second: how long, how much memory on
//! top, how long a write had to wait, before the sync and during it. The same server at both ends. Prints a Markdown table.
//!
//! Two servers that are busy with a sync, and a client, want more processors than a small machine has. The client goes before
//! the servers, as if it had a machine of its own, where the system allows it. The rest is told three times: what the client
//! saw, the same without the time that its thread or the primary's waited for a processor, and how long a thread of the
//! primary ran at most while a write waited: what a host takes from its guest is in the second, not in the third.
//!
//! `fullsync [--keys N] [--value BYTES] [--rounds N]`

use keystead_benches::{
    load::Random,
    peer::{Kind, Peer},
    proc::{self, Sched},
    table::{cell, head, median, row},
    watch::{Queue, Watch},
};
use std::{
    io,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const WRITES_PER_SECOND: u32 = 3000;
/// How long is written before the sync: long enough to see what the machine itself does to a server at rest.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// Behind the fill, before the first write: the system is still sorting the memory it gave out.
const REST: Duration = Duration::from_secs(2);
/// The phases of a round.
const IDLE: u8 = 0;
const BUSY: u8 = 1;
const ENDED: u8 = 2;
/// A sync that takes longer counts as failed.
const DEADLINE: Duration = Duration::from_secs(180);

/// The latencies of one time: as the client saw them, and without waiting for a processor; and the most that a thread of
/// the primary ran during one of them. Milliseconds.
#[derive(Default)]
struct Latencies {
    seen: Vec<f64>,
    own: Vec<f64>,
    ran: f64,
}

impl Latencies {
    fn sort(mut self) -> Self {
        self.seen.sort_by(f64::total_cmp);
        self.own.sort_by(f64::total_cmp);
        self
    }
}

/// Writes at a steady pace until told to stop. Gives the latencies before the sync and during it.
fn writer(peer: &Address, keys: u64, size: usize, phase: &AtomicU8) -> io::Result<[Latencies; 2]> {
    if !proc::go_first() {
        eprintln!("The client competes with the servers for processors: only root may put it first.");
    }
    let mut stream = TcpStream::connect(peer.address)?;
    stream.set_nodelay(true)?;
    let value = "y".repeat(size);
    let every = Duration::from_secs(1) / WRITES_PER_SECOND;
    let (mut random, mut watch, mut queue) = (Random::new(3), Watch::new(peer.pid), Queue::default());
    let mut reply = [0; 256];
    let mut latencies = [Latencies::default(), Latencies::default()];
    let mut next = Instant::now();
    while let Some(now) = latencies.get_mut(usize::from(phase.load(Ordering::Relaxed))) {
        let request = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{:012}\r\n${size}\r\n{value}\r\n", random.below(keys));
        let due = next;
        watch.look();
        let begun = Instant::now();
        stream.write_all(request.as_bytes())?;
        if stream.read(&mut reply)? == 0 || reply[0] != b'+' {
            return Err(io::Error::other("a write was refused"));
        }
        let (took, Sched { ran, waited }) = (begun.elapsed(), watch.look());
        // From when it was due: a stall delays the writes behind it too.
        now.seen.push(due.elapsed().as_secs_f64() * 1e3);
        now.ran = now.ran.max(ran.as_secs_f64() * 1e3);
        now.own.push(queue.add(took.saturating_sub(waited), every).as_secs_f64() * 1e3);
        next += every;
        if let Some(rest) = next.checked_duration_since(Instant::now()) {
            thread::sleep(rest);
        }
    }
    Ok(latencies.map(Latencies::sort))
}

/// Where a server is, for the thread that writes.
struct Address {
    address: SocketAddr,
    pid: u32,
}

fn info(peer: &Peer, field: &str) -> Option<String> {
    let reply = peer.call(&["INFO", "replication"]).ok()?;
    let text = String::from_utf8_lossy(&reply).into_owned();
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned))
}

struct Figures {
    seconds: f64,
    extra_percent: f64,
    idle: Latencies,
    busy: Latencies,
}

/// The latency that one in a hundred exceeds, and the worst.
fn p99(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

fn worst(sorted: &[f64]) -> f64 {
    sorted.last().copied().unwrap_or(f64::NAN)
}

#[allow(clippy::cast_precision_loss, reason = "sizes and counts of a benchmark fit a double")]
fn sync(kind: Kind, keys: u64, size: usize) -> io::Result<Figures> {
    let primary = Peer::start(kind, None, &[])?;
    let _ = primary.call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])?;
    let empty = primary.resident();
    primary.fill(keys, size)?;
    let replica = Peer::start(kind, None, &[])?;
    let base = primary.held();
    let phase = Arc::new(AtomicU8::new(IDLE));
    let (address, flag) = (Address { address: primary.address, pid: primary.pid() }, phase.clone());
    thread::sleep(REST);
    let writing = thread::spawn(move || writer(&address, keys, size, &flag));
    thread::sleep(IDLE_TIME);
    phase.store(BUSY, Ordering::Relaxed);
    let start = Instant::now();
    replica.call(&["REPLICAOF", "127.0.0.1", &primary.address.port().to_string()])?;
    let mut peak = base;
    while info(&replica, "master_link_status").as_deref() != Some("up") {
        peak = peak.max(primary.held());
        if start.elapsed() > DEADLINE {
            return Err(io::Error::other("the sync did not end in time"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    let seconds = start.elapsed().as_secs_f64();
    phase.store(ENDED, Ordering::Relaxed);
    let [idle, busy] = writing.join().map_err(|_| io::Error::other("the writer panicked"))??;
    let data = base.saturating_sub(empty).max(1);
    let extra_percent = peak.saturating_sub(base) as f64 * 100.0 / data as f64;
    Ok(Figures { seconds, extra_percent, idle, busy })
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
            "a write, ms: p99 before",
            "p99",
            "worst before",
            "worst",
            "less waiting for a processor: p99 before",
            "p99",
            "worst before",
            "worst",
            "a thread of the primary ran at most: before",
            "during",
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
                cell(&column(side, |f| p99(&f.idle.seen))),
                cell(&column(side, |f| p99(&f.busy.seen))),
                cell(&column(side, |f| worst(&f.idle.seen))),
                cell(&column(side, |f| worst(&f.busy.seen))),
                cell(&column(side, |f| p99(&f.idle.own))),
                cell(&column(side, |f| p99(&f.busy.own))),
                cell(&column(side, |f| worst(&f.idle.own))),
                cell(&column(side, |f| worst(&f.busy.own))),
                cell(&column(side, |f| f.idle.ran)),
                cell(&column(side, |f| f.busy.ran)),
            ])
        );
    }
    println!(
        "\nKeystead takes {:.2} × redis-server's time.",
        median(&column(1, |f| f.seconds)) / median(&column(0, |f| f.seconds))
    );
    Ok(())
}
