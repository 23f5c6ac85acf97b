//! Clients that are killed, blocked, unblocked, paused and dropped at random: the server outlives them and forgets them.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, wait_until};
use std::time::{Duration, Instant};

/// How long the clients rage.
const RAGE: Duration = Duration::from_secs(3);
const CLIENTS: u64 = 12;

/// A small generator: tests must repeat.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A command, sometimes a broken one.
fn random_bytes(dice: &mut Dice) -> Vec<u8> {
    let (id, key, queue) = (dice.roll(2000), dice.roll(40), dice.roll(4));
    let line = match dice.roll(24) {
        0 => format!("SET k{key} {}", "v".repeat(dice.roll(3000) as usize)),
        1 => format!("GET k{key}"),
        2 => format!("BLPOP q{queue} 0.05"),
        3 => format!("LPUSH q{queue} x"),
        4 => "MULTI".into(),
        5 => "EXEC".into(),
        6 => format!("WATCH k{key}"),
        7 => "SUBSCRIBE news".into(),
        8 => "UNSUBSCRIBE".into(),
        9 => format!("PUBLISH news {}", "m".repeat(dice.roll(2000) as usize)),
        10 => "CLIENT KILL TYPE normal SKIPME no".into(),
        11 => format!("CLIENT KILL ID {id}"),
        12 => format!("CLIENT UNBLOCK {id} ERROR"),
        13 => format!("HELLO {}", 2 + dice.roll(2)),
        14 => format!("CLIENT PAUSE {} WRITE", dice.roll(20)),
        15 => "CLIENT REPLY SKIP".into(),
        16 => "MONITOR".into(),
        17 => "RESET".into(),
        18 => "QUIT".into(),
        19 => "CLIENT LIST".into(),
        20 => "PSUBSCRIBE *".into(),
        21 => format!("BRPOPLPUSH q{queue} q1 0.02"),
        22 => "FLUSHALL".into(),
        _ => "GET \"broken".into(),
    };
    format!("{line}\r\n").into_bytes()
}

fn rage(port: u16, seed: u64, until: Instant) {
    let mut dice = Dice(seed);
    while Instant::now() < until {
        let Ok(mut client) = Client::try_connect(port) else { continue };
        for _ in 0..dice.roll(20) {
            let bytes: Vec<u8> = (0..=dice.roll(12)).flat_map(|_| random_bytes(&mut dice)).collect();
            if client.send_raw(&bytes).is_err() {
                break;
            }
            if dice.roll(3) > 0 {
                client.set_reply_limit(Duration::from_millis(30));
                let _ = client.read();
            }
        }
    }
}

#[test]
fn the_server_outlives_its_clients_and_forgets_them() {
    let node = Keystead::builder().plugin("replication", "()").start();
    let until = Instant::now() + RAGE;
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let port = node.port();
            scope.spawn(move || rage(port, seed * 7919 + 1, until));
        }
    });
    wait_until("all clients are forgotten", DEADLINE, || {
        let Ok(mut client) = Client::try_connect(node.port()) else { return false };
        let fields = client.info("clients");
        fields["connected_clients"] == "1" && fields["blocked_clients"] == "0"
    });
    let mut client = node.client();
    client.ok("CLIENT UNPAUSE");
    client.ok("SET a 1");
    assert_eq!(client.pipeline(&["INCR a", "GET a"])[1], "2");
    assert_eq!(client.cmd("PUBSUB NUMPAT"), 0);
    let log = node.process.log();
    assert!(!log.contains("panicked"), "{log}");
}
