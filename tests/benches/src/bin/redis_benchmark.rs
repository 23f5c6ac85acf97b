//! redis-benchmark with 50 clients, nothing pinned, both processors shared with it. Alternating rounds; prints a Markdown table.
//!
//! Without an argument its default settings, no pipeline. `--tls`: over TLS, with and without a pipeline.

use keystead_benches::{
    peer::{Kind, Peer, free_port},
    table::{cell, head, median, row, short},
};
use keystead_harness::Certs;
use std::{io, process::Command};

/// A second each: on a shared machine fewer rounds say more about its neighbours than about the servers.
const ROUNDS: usize = 15;
const ROUNDS_TLS: usize = 7;
const REQUESTS: &str = "100000";

/// What is measured and how.
struct Measure {
    test: &'static str,
    pipeline: &'static str,
    /// How redis-benchmark is to reach each of the servers.
    ways: [Vec<String>; 2],
    rounds: usize,
}

fn rate(way: &[String], test: &str, pipeline: &str) -> io::Result<f64> {
    let output = Command::new("redis-benchmark")
        .args(way)
        .args(["-t", test, "-n", REQUESTS, "-r", "100000", "-P", pipeline, "--csv"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find(|line| line.to_lowercase().starts_with(&format!("\"{test}")))
        .and_then(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok())
        .ok_or_else(|| io::Error::other(format!("redis-benchmark said: {text}")))
}

/// Opens a port for TLS; gives the words that reach it.
fn with_tls(peer: &Peer, certs: &Certs) -> io::Result<Vec<String>> {
    let port = free_port()?;
    let mut command = vec!["CONFIG".to_owned(), "SET".to_owned()];
    command.extend(certs.options(port).into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    let reply = peer.call(&command.iter().map(String::as_str).collect::<Vec<_>>())?;
    if reply != b"+OK\r\n" {
        return Err(io::Error::other(format!("{}: {}", peer.kind.name(), reply.escape_ascii())));
    }
    let mut words = vec!["-p".to_owned(), port.to_string(), "--tls".to_owned()];
    for (option, file) in [("--cacert", "ca.crt"), ("--cert", "client.crt"), ("--key", "client.key")] {
        words.extend([option.to_owned(), certs.path(file)]);
    }
    Ok(words)
}

impl Measure {
    fn run(&self) -> io::Result<()> {
        let mut rates = [Vec::new(), Vec::new()];
        let mut ratios = Vec::new();
        for round in 0..self.rounds {
            for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                rates[side].push(rate(&self.ways[side], self.test, self.pipeline)? / 1000.0);
            }
            ratios.push(rates[1][round] / rates[0][round]);
        }
        let name = match self.pipeline {
            "1" => self.test.to_uppercase(),
            pipeline => format!("{}, pipeline {pipeline}", self.test.to_uppercase()),
        };
        println!("{}", row(&[name, cell(&rates[0]), cell(&rates[1]), format!("**{}**", short(median(&ratios)))]));
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let tls = std::env::args().nth(1).is_some_and(|word| word == "--tls");
    let peers = [Peer::start(Kind::Redis, None, &[])?, Peer::start(Kind::Keystead, None, &[])?];
    let certs = Certs::new();
    let way = |peer: &Peer| match tls {
        true => with_tls(peer, &certs),
        false => Ok(vec!["-p".to_owned(), peer.address.port().to_string()]),
    };
    let ways = [way(&peers[0])?, way(&peers[1])?];
    println!("{}", head(&["test", "redis k req/s", "keystead k req/s", "ratio"]));
    let tests: &[(&str, &str)] = match tls {
        true => &[("get", "1"), ("set", "1"), ("get", "16"), ("set", "16")],
        false => &[("get", "1"), ("set", "1"), ("incr", "1"), ("lpush", "1"), ("hset", "1"), ("zadd", "1")],
    };
    let rounds = if tls { ROUNDS_TLS } else { ROUNDS };
    for &(test, pipeline) in tests {
        Measure { test, pipeline, ways: ways.clone(), rounds }.run()?;
    }
    Ok(())
}
