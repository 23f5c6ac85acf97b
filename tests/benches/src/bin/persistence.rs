//! BGSAVE of about 1 GB, idle and while a client writes 3,000 times a second, and a start with the file: how long each
//! takes. Prints a Markdown table.
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
}

fn saving(peer: &Peer) -> io::Result<bool> {
    let reply = peer.call(&["INFO", "persistence"])?;
    Ok(String::from_utf8_lossy(&reply).contains("rdb_bgsave_in_progress:1"))
}

fn save(peer: &Peer) -> io::Result<f64> {
    let start = Instant::now();
    peer.call(&["BGSAVE"])?;
    while saving(peer)? {
        if start.elapsed() > DEADLINE {
            return Err(io::Error::other("the save did not end in time"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(start.elapsed().as_secs_f64())
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

fn round(kind: Kind, keys: u64, size: usize) -> io::Result<Figures> {
    let mut peer = Peer::start(kind, None, &[])?;
    peer.fill(keys, size)?;
    let idle = save(&peer)?;
    let stop = Arc::new(AtomicBool::new(false));
    let serving = thread::scope(|scope| {
        let writing = scope.spawn(|| write(&peer, keys, size, &stop));
        let took = save(&peer);
        stop.store(true, Ordering::Relaxed);
        writing.join().map_err(|_| io::Error::other("the writer panicked"))??;
        took
    })?;
    let load = peer.restart()?.as_secs_f64();
    Ok(Figures { idle, serving, load })
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
    println!("{}", head(&["server", "BGSAVE", "BGSAVE under 3,000 writes a second", "start with the file"]));
    let kinds = [Kind::Redis, Kind::Keystead];
    let mut all: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (side, kind) in kinds.into_iter().enumerate() {
            all[side].push(round(kind, keys, size)?);
        }
    }
    let column = |side: usize, get: fn(&Figures) -> f64| all[side].iter().map(get).collect::<Vec<_>>();
    let figures: [fn(&Figures) -> f64; 3] = [|f| f.idle, |f| f.serving, |f| f.load];
    for (side, kind) in kinds.into_iter().enumerate() {
        let cells = figures.iter().map(|get| cell(&column(side, *get)));
        println!("{}", row(&[kind.name().to_owned()].into_iter().chain(cells).collect::<Vec<_>>()));
    }
    let ratio = |get| median(&column(0, get)) / median(&column(1, get));
    let [idle, serving, load] = figures.map(ratio);
    println!("\nKeystead saves {idle:.2} × as fast idle, {serving:.2} × while serving, and loads {load:.2} × as fast.");
    Ok(())
}
