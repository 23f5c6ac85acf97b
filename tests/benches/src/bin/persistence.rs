//! BGSAVE of about 1 GB, idle and while a client writes 3,000 times a second, and a start with the file: how long each
//! takes, and how much memory on top the save that serves. Prints a Markdown table.
//!
//! `persistence [--keys N] [--value BYTES] [--rounds N]`

use keystead_benches::{
    peer::{Kind, Peer},
    table::{cell, head, median, row},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const WRITES_PER_SECOND: u64 = 3000;
/// A save that takes longer counts as failed.
const DEADLINE: Duration = Duration::from_secs(180);

struct Figures {
    idle: f64,
    serving: f64,
    load: f64,
    /// Of the save that serves, percent of the data.
    extra: f64,
}

fn saving(peer: &Peer) -> io::Result<bool> {
    let reply = peer.call(&["INFO", "persistence"])?;
    Ok(String::from_utf8_lossy(&reply).contains("rdb_bgsave_in_progress:1"))
}

/// How long a save took, and the most memory that was held meanwhile.
fn save(peer: &Peer) -> io::Result<(f64, u64)> {
    let start = Instant::now();
    peer.call(&["BGSAVE"])?;
    let mut peak = 0;
    while saving(peer)? {
        peak = peak.max(peer.held());
        if start.elapsed() > DEADLINE {
            return Err(io::Error::other("the save did not end in time"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok((start.elapsed().as_secs_f64(), peak))
}

/// Writes at a steady pace, in bursts of a hundredth of a second, until told to stop.
fn write(peer: &Peer, keys: u64, size: usize, stop: &AtomicBool) -> io::Result<()> {
    let (value, burst) = ("y".repeat(size), WRITES_PER_SECOND / 100);
    let (mut next, mut key) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        peer.feed(
            (0..burst).map(|n| vec!["SET".into(), format!("key:{:012}", (key + n * 7919) % keys), value.clone()]),
        )?;
        key += burst * 7919;
        next += Duration::from_millis(10);
        if let Some(rest) = next.checked_duration_since(Instant::now()) {
            thread::sleep(rest);
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "sizes of a benchmark fit a double")]
fn round(kind: Kind, keys: u64, size: usize) -> io::Result<Figures> {
    let mut peer = Peer::start(kind, None, &[])?;
    let empty = peer.resident();
    peer.fill(keys, size)?;
    let (idle, _) = save(&peer)?;
    let base = peer.held();
    let stop = Arc::new(AtomicBool::new(false));
    let (serving, peak) = thread::scope(|scope| {
        let writing = scope.spawn(|| write(&peer, keys, size, &stop));
        let took = save(&peer);
        stop.store(true, Ordering::Relaxed);
        writing.join().map_err(|_| io::Error::other("the writer panicked"))??;
        took
    })?;
    let load = peer.restart()?.as_secs_f64();
    let extra = peak.saturating_sub(base) as f64 * 100.0 / base.saturating_sub(empty).max(1) as f64;
    Ok(Figures { idle, serving, load, extra })
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
    println!("{keys} keys with values of {size} bytes, {rounds} rounds, alternating. Seconds, median (min–max).\n");
    let names = ["server", "BGSAVE", "BGSAVE under 3,000 writes a second", "start with the file"];
    println!("{}", head(&[names.as_slice(), &["extra memory under writes, % of the data"]].concat()));
    let kinds = [Kind::Redis, Kind::Keystead];
    let mut all: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (side, kind) in kinds.into_iter().enumerate() {
            all[side].push(round(kind, keys, size)?);
        }
    }
    let column = |side: usize, get: fn(&Figures) -> f64| all[side].iter().map(get).collect::<Vec<_>>();
    let figures: [fn(&Figures) -> f64; 4] = [|f| f.idle, |f| f.serving, |f| f.load, |f| f.extra];
    for (side, kind) in kinds.into_iter().enumerate() {
        let cells = figures.iter().map(|get| cell(&column(side, *get)));
        println!("{}", row(&[kind.name().to_owned()].into_iter().chain(cells).collect::<Vec<_>>()));
    }
    let ratio = |get| median(&column(0, get)) / median(&column(1, get));
    let [idle, serving, load, _] = figures.map(ratio);
    println!("\nKeystead saves {idle:.2} × as fast idle, {serving:.2} × while serving, and loads {load:.2} × as fast.");
    Ok(())
}
