//! Chains of Keystead and stock redis-server under writes, whose links are cut at any byte, again and again: at the end all
//! hold the same at the same offset, and nobody needed a second full sync.
//!
//! `CUT_SECONDS=60` makes it last that long for each chain, `CUT_SEED=n` runs another seed.

use keystead_harness::{Client, Keystead, RedisServer, have};
use keystead_interop::pair::{in_step, syncs, traffic};
use keystead_interop::random::{Commands, Rng};
use keystead_interop::wire::Wire;
use std::time::{Duration, Instant};

/// Time between two cuts, in milliseconds, at most.
const PAUSE_MS: u64 = 300;

enum Server {
    Ours(Keystead),
    Stock(RedisServer),
}

impl Server {
    /// `k` is ours, anything else stock.
    fn new(letter: char) -> Server {
        let server = match letter {
            'k' => Server::Ours(Keystead::primary()),
            _ => Server::Stock(RedisServer::start(&[])),
        };
        let mut admin = server.client();
        admin.ok("CONFIG SET repl-backlog-size 64mb");
        admin.ok("CONFIG SET repl-diskless-sync-delay 0");
        server
    }

    fn port(&self) -> u16 {
        match self {
            Server::Ours(node) => node.port(),
            Server::Stock(node) => node.port(),
        }
    }

    fn client(&self) -> Client {
        match self {
            Server::Ours(node) => node.client(),
            Server::Stock(node) => node.client(),
        }
    }
}

/// A chain, top first.
fn chain(kinds: &str) {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (time, seed) = (Duration::from_secs(number("CUT_SECONDS").unwrap_or(5)), number("CUT_SEED").unwrap_or(1));
    let servers: Vec<Server> = kinds.chars().map(Server::new).collect();
    let mut clients: Vec<Client> = servers.iter().map(Server::client).collect();
    let wires: Vec<Wire> = servers[..servers.len() - 1].iter().map(|server| Wire::to(server.port())).collect();
    let (top, below) = clients.split_first_mut().expect("somebody");
    let mut commands = Commands::new(seed);
    traffic(top, &mut commands, 100);
    for (replica, wire) in below.iter_mut().zip(&wires) {
        replica.ok(&format!("REPLICAOF 127.0.0.1 {}", wire.port()));
        in_step(top, replica);
    }
    let mut admins: Vec<Client> = servers.iter().map(Server::client).collect();
    let before: Vec<(u64, u64, u64)> = admins.iter_mut().map(syncs).collect();

    let (mut rng, end, mut cuts) = (Rng::new(seed), Instant::now() + time, 0);
    let mut next = Instant::now();
    while Instant::now() < end {
        traffic(top, &mut commands, 5);
        if Instant::now() >= next {
            rng.pick(&wires.iter().collect::<Vec<_>>()).cut();
            cuts += 1;
            next = Instant::now() + Duration::from_millis(rng.below(PAUSE_MS));
        }
    }
    for replica in below {
        in_step(top, replica);
    }
    let after: Vec<(u64, u64, u64)> = admins.iter_mut().map(syncs).collect();
    let partial: u64 = after.iter().zip(&before).map(|(after, before)| after.1 - before.1).sum();
    let full: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after.0 - before.0).collect();
    assert!(full.iter().all(|more| *more == 0), "{kinds}, seed {seed}: needless full syncs {full:?} after {cuts} cuts");
    assert!(partial > 0 && cuts > 3, "{kinds}, seed {seed}: {cuts} cuts, {partial} partial resyncs: nothing was tried");
    println!("{kinds}, seed {seed}: {cuts} cuts, {partial} partial resyncs");
}

#[test]
fn stock_then_ours_then_stock() {
    chain("rkr");
}

#[test]
fn ours_then_stock_then_ours() {
    chain("krk");
}

#[test]
fn ours_all_the_way() {
    chain("kkk");
}
