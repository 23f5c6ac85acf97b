//! Default settings, nothing pinned, both processors shared with redis-benchmark itself: 50 clients, no pipeline.
//! Alternating rounds; prints a Markdown table.

use keystead_benches::{
    peer::{Kind, Peer},
    table::{cell, head, median, row, short},
};
use std::{io, process::Command};

/// A second each: on a shared machine fewer rounds say more about its neighbours than about the servers.
const ROUNDS: usize = 15;
const REQUESTS: &str = "100000";

fn rate(peer: &Peer, test: &str) -> io::Result<f64> {
    let output = Command::new("redis-benchmark")
        .args(["-p", &peer.address.port().to_string(), "-t", test, "-n", REQUESTS, "-r", "100000", "--csv"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find(|line| line.to_lowercase().starts_with(&format!("\"{test}")))
        .and_then(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok())
        .ok_or_else(|| io::Error::other(format!("redis-benchmark said: {text}")))
}

fn main() -> io::Result<()> {
    let peers = [Peer::start(Kind::Redis, None, &[])?, Peer::start(Kind::Keystead, None, &[])?];
    println!("{}", head(&["test", "redis k req/s", "keystead k req/s", "ratio"]));
    for test in ["get", "set", "incr", "lpush", "hset", "zadd"] {
        let mut rates = [Vec::new(), Vec::new()];
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                rates[side].push(rate(&peers[side], test)? / 1000.0);
            }
            ratios.push(rates[1][round] / rates[0][round]);
        }
        println!(
            "{}",
            row(&[test.to_uppercase(), cell(&rates[0]), cell(&rates[1]), format!("**{}**", short(median(&ratios)))])
        );
    }
    Ok(())
}
