//! What an append-only file with `appendfsync everysec` costs: SETs a second, and processor time for each, with it and
//! without it, in the same process, alternating, beside redis-server. Each server is pinned to one
//! processor, the client to the other. Prints a Markdown table.
//!
//! `aof [--rounds N] [--seconds S]`

use keystead_benches::{
    load::{self, Work},
    peer::{Kind, Peer},
    proc,
    table::{cell, head, median, row, short},
};
use std::{io, time::Duration};

/// Keys that exist before the run.
const KEYS: u64 = 100_000;

fn main() -> io::Result<()> {
    let (mut rounds, mut seconds) = (5, 1.5);
    let mut words = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name.as_str() {
            "--rounds" => rounds = value.parse().unwrap_or(rounds),
            "--seconds" => seconds = value.parse().unwrap_or(seconds),
            other => eprintln!("unknown option {other}"),
        }
    }
    let pinned = proc::processors() > 1;
    let server_cpu = pinned.then_some(0);
    if pinned {
        proc::pin_self(1);
    }
    let file = std::env::temp_dir().join(format!("keystead-bench-aof-{}.ron", std::process::id()));
    std::fs::write(
        &file,
        "(plugins: [(name: \"persistence-rdb\"), (name: \"persistence-aof\", config: (enabled: false, rewrite_percentage: 0))])",
    )?;
    let redis = Peer::start(Kind::Redis, server_cpu, &["--auto-aof-rewrite-percentage", "0"])?;
    let ours = Peer::start(Kind::Keystead, server_cpu, &[&file.display().to_string()])?;
    std::fs::remove_file(&file)?;
    println!(
        "Server pinned to one processor, client on the other: {pinned}. Rounds: {rounds}, {seconds} s each. Median (min–max); ratios: each time with the file against the two beside it, median (middle half).\n"
    );
    println!(
        "{}",
        head(&[
            "clients",
            "pipeline",
            "server",
            "k SET/s without",
            "k SET/s everysec",
            "ratio",
            "processor, µs a SET without",
            "everysec",
            "without / everysec"
        ])
    );
    for (clients, pipeline) in [(50, 1), (50, 16)] {
        for peer in [&redis, &ours] {
            peer.fill(KEYS, 16)?;
            let work = Work {
                command: ["SET", "{key}", "0123456789abcdef"].map(str::to_owned).to_vec(),
                keys: KEYS,
                clients,
                pipeline,
                time: Duration::from_secs_f64(seconds),
            };
            println!("{}", measure(peer, &work, rounds)?);
        }
    }
    Ok(())
}

/// Without, with, without, and so on; one row. A round's ratio compares the time with the file with both times beside it:
/// what a shared machine gives changes within seconds.
fn measure(peer: &Peer, work: &Work, rounds: usize) -> io::Result<String> {
    let mut rates = [Vec::new(), Vec::new()];
    let mut costs = [Vec::new(), Vec::new()];
    for phase in 0..=2 * rounds {
        let on = phase % 2;
        switch(peer, on == 1)?;
        let before = proc::cpu(peer.pid());
        let outcome = load::run(peer.address, work, 1 + phase as u64)?;
        let used = proc::cpu(peer.pid()).saturating_sub(before);
        if outcome.errors > 0 {
            return Err(io::Error::other(format!("{} errors from {}", outcome.errors, peer.kind.name())));
        }
        rates[on].push(outcome.rate() / 1000.0);
        costs[on].push(used.as_secs_f64() * 1e6 / outcome.requests as f64);
    }
    let beside = |without: &[f64]| without.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])).collect::<Vec<f64>>();
    let ratios = |of: &[f64], by: &[f64]| of.iter().zip(by).map(|(of, by)| of / by).collect::<Vec<f64>>();
    let (rate, cost) = (ratios(&rates[1], &beside(&rates[0])), ratios(&beside(&costs[0]), &costs[1]));
    Ok(row(&[
        work.clients.to_string(),
        work.pipeline.to_string(),
        peer.kind.name().to_owned(),
        cell(&rates[0]),
        cell(&rates[1]),
        quartiles(rate),
        cell(&costs[0]),
        cell(&costs[1]),
        quartiles(cost),
    ]))
}

/// The median, and between what half of them lie.
fn quartiles(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios.get((ratios.len() * part / 4).min(ratios.len() - 1)).copied().unwrap_or(f64::NAN);
    format!("**{}** ({}–{})", short(median(&ratios)), short(at(1)), short(at(3)))
}

/// Switches the file on or off, and waits for the first base.
fn switch(peer: &Peer, on: bool) -> io::Result<()> {
    peer.call(&["CONFIG", "SET", "appendonly", if on { "yes" } else { "no" }])?;
    loop {
        let info = String::from_utf8_lossy(&peer.call(&["INFO", "persistence"])?).into_owned();
        let idle = info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0");
        if idle && info.contains(if on { "aof_enabled:1" } else { "aof_enabled:0" }) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
