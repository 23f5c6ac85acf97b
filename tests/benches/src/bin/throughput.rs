//! Requests per second and server CPU per request against redis-server: alternating, several rounds, the server pinned
//! to one processor and the client to the other. Prints a Markdown table.
//!
//! `throughput [--rounds N] [--seconds S] [--only GET,SET] [--pipelines 1,16,64] [--clients 1,50]`

use keystead_benches::{
    load::Work,
    pair::{self, Pair},
    peer::{Kind, Peer},
    proc,
    table::{head, row},
};
use std::{io, time::Duration};

/// Keys that exist before the run.
const KEYS: u64 = 1_000_000;

struct Options {
    rounds: usize,
    seconds: f64,
    only: Vec<String>,
    pipelines: Vec<usize>,
    clients: Vec<usize>,
}

fn options() -> Options {
    let mut options =
        Options { rounds: 5, seconds: 1.5, only: Vec::new(), pipelines: vec![1, 16, 64], clients: vec![1, 50] };
    let mut words = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let numbers = || value.split(',').filter_map(|n| n.parse().ok()).collect();
        match name.as_str() {
            "--rounds" => options.rounds = value.parse().unwrap_or(5),
            "--seconds" => options.seconds = value.parse().unwrap_or(1.5),
            "--only" => options.only = value.split(',').map(str::to_owned).collect(),
            "--pipelines" => options.pipelines = numbers(),
            "--clients" => options.clients = numbers(),
            other => eprintln!("unknown option {other}"),
        }
    }
    options
}

/// The commands measured; collections are spread over a thousand keys so that none grows huge.
fn commands() -> Vec<(&'static str, Vec<&'static str>, u64)> {
    vec![
        ("GET", vec!["GET", "{key}"], KEYS),
        ("SET", vec!["SET", "{key}", "0123456789abcdef"], KEYS),
        ("INCR", vec!["INCR", "counter:{n}"], 100_000),
        ("LPUSH", vec!["LPUSH", "list:{n}", "0123456789abcdef"], 1000),
        ("HSET", vec!["HSET", "hash:{n}", "field", "0123456789abcdef"], 100_000),
        ("ZADD", vec!["ZADD", "zset:{n}", "1", "member"], 100_000),
    ]
}

fn main() -> io::Result<()> {
    let options = options();
    let pinned = proc::processors() > 1;
    let server_cpu = pinned.then_some(0);
    if pinned {
        proc::pin_self(1);
    }
    let redis = Peer::start(Kind::Redis, server_cpu, &[])?;
    let ours = Peer::start(Kind::Keystead, server_cpu, &[])?;
    for peer in [&redis, &ours] {
        peer.fill(KEYS, 16)?;
    }
    println!(
        "Server pinned to one processor, client on the other: {pinned}. Rounds: {}, {} s each, alternating. Median (min–max).\n",
        options.rounds, options.seconds
    );
    println!("{}", head(&[&["command", "clients", "pipeline"], &Pair::HEAD[..]].concat()));
    for (name, command, keys) in commands() {
        if !options.only.is_empty() && !options.only.iter().any(|o| o == name) {
            continue;
        }
        for &clients in &options.clients {
            for &pipeline in &options.pipelines {
                let work = Work {
                    command: command.iter().map(|s| (*s).to_owned()).collect(),
                    keys,
                    clients,
                    pipeline,
                    time: Duration::from_secs_f64(options.seconds),
                };
                let pair = pair::measure(name, &work, &[&redis, &ours], options.rounds)?;
                let head = [name.to_owned(), clients.to_string(), pipeline.to_string()];
                println!("{}", row(&[&head[..], &pair.cells()].concat()));
            }
        }
    }
    Ok(())
}
