//! The replay test: a random run's replication stream, played into a stock redis-server, must give the same offset and
//! the same digest at every unit end. Offsets are where such projects go wrong.
//!
//! `REPLAY_SEED=n` runs one seed, `REPLAY_UNITS=n` that many units, `REPLAY_PORT=n` takes a running primary instead of a
//! new one.

use keystead_harness::{Client, Keystead, RedisServer, Reply, have};
use keystead_interop::compare::{differences, groups, mark_of_primary, mark_of_replica};
use keystead_interop::random::{Commands, DATABASES, shown};
use keystead_interop::stream::{Player, Tap};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds(default: &[u64]) -> Vec<u64> {
    setting("REPLAY_SEED").map_or(default.to_vec(), |seed| vec![seed])
}

fn units(default: u64) -> u64 {
    setting("REPLAY_UNITS").unwrap_or(default)
}

/// Runs a unit; the replies are the primary's business.
fn run(client: &mut Client, unit: &[Vec<Vec<u8>>]) -> Vec<Reply> {
    unit.iter().map(|command| client.command(command)).collect()
}

/// Some keys first, so that the full sync has something to carry, then unit by unit.
fn replay(port: u16, seed: u64, units: u64) {
    let mut commands = Commands::new(seed);
    let mut writer = Client::connect(port);
    let mut primary = Client::connect(port);
    for _ in 0..100 {
        run(&mut writer, &commands.unit());
    }
    let mut tap = Tap::attach(port).expect("a full sync");

    let stock = RedisServer::start(&["--repl-diskless-load", "swapdb", "--databases", "16"]);
    let mut player = Player::listen().expect("a free port");
    let mut replica = stock.client();
    replica.ok(&format!("REPLICAOF 127.0.0.1 {}", player.port().expect("bound")));
    player.serve(&tap.replid, tap.start, &tap.rdb).expect("the stock replica takes the full sync");

    let mut at = tap.start;
    for number in 0..units {
        let unit = if number == 0 { Vec::new() } else { commands.unit() };
        let replies = run(&mut writer, &unit);
        let want = mark_of_primary(&mut primary);
        let bytes = tap.between(at, want.offset).expect("the stream goes on").to_vec();
        player.play(&bytes).expect("the stock replica listens");
        let got = mark_of_replica(&mut replica, want.offset);
        assert!(
            got == want,
            "seed {seed}, unit {number}: primary {want:?}, replayed {got:?}\nunit: {:?}\nreplies: {replies:?}\nstream: {}\n{}",
            unit.iter().map(shown).collect::<Vec<_>>(),
            bytes.escape_ascii(),
            differences(&mut primary, &mut replica, &DATABASES)
        );
        at = want.offset;
    }
    assert!(tap.collected().len() as u64 > units, "the run wrote something");
    assert_eq!(groups(&mut primary, &DATABASES), groups(&mut replica, &DATABASES), "seed {seed}: groups of streams");
}

/// The test itself is tested with a stock primary: what fails here is no fault of ours.
#[test]
fn a_stock_primary_replays_into_a_stock_replica() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    for seed in seeds(&[1]) {
        let primary = RedisServer::start(&[]);
        replay(primary.port(), seed, units(300));
    }
}

#[test]
fn our_stream_replays_into_a_stock_replica() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    for seed in seeds(&[1, 2, 3, 4]) {
        let running = setting("REPLAY_PORT").map(|port| port as u16);
        let primary = running.is_none().then(Keystead::primary);
        let port = running.or(primary.as_ref().map(Keystead::port)).expect("one of the two");
        replay(port, seed, units(500));
    }
}
