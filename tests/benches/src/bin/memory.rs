//! Resident memory after filling less before: bytes per key for strings, then collections, small and large.
//! Prints Markdown tables. `memory [SCALE]`: a part of the usual numbers, 1 by default.

use keystead_benches::{
    peer::{Kind, Peer},
    table::{head, row},
};
use std::io;

const KEYS: u64 = 1_000_000;

/// What a fresh server of each kind holds for some commands.
fn held<I: Iterator<Item = Vec<String>>>(commands: impl Fn() -> I) -> io::Result<[u64; 2]> {
    let mut bytes = [0; 2];
    for (side, kind) in [Kind::Redis, Kind::Keystead].into_iter().enumerate() {
        let peer = Peer::start(kind, None, &[])?;
        let before = peer.resident();
        peer.feed(commands())?;
        bytes[side] = peer.resident().saturating_sub(before);
    }
    Ok(bytes)
}

/// A command that puts elements `from..to` into a key.
fn put(command: &str, key: String, from: u64, to: u64, element: impl Fn(u64) -> Vec<String>) -> Vec<String> {
    [command.to_owned(), key].into_iter().chain((from..to).flat_map(element)).collect()
}

/// The collections: a name, how many elements there are in all, the commands that make them.
#[allow(clippy::type_complexity, reason = "a table of closures")]
fn collections(scale: f64) -> Vec<(&'static str, u64, Box<dyn Fn() -> Box<dyn Iterator<Item = Vec<String>>>>)> {
    /// Elements a command adds to a large collection.
    const STEP: u64 = 100;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a scale")]
    let scaled = move |n: u64| (n as f64 * scale) as u64;
    let small = scaled(KEYS);
    let large = move |command: &'static str, keys: u64, elements: u64, element: fn(u64) -> Vec<String>| {
        let steps = move || (0..elements).step_by(STEP as usize);
        Box::new((0..keys).flat_map(move |key| {
            steps().map(move |from| put(command, format!("{command}:{key}"), from, from + STEP, element))
        })) as Box<dyn Iterator<Item = Vec<String>>>
    };
    let entry = |key: String, n: u64| {
        let words = ["XADD", &key, &format!("{}-{}", 1_700_000_000_000 + n / 3, n % 3), "sensor", "7", "value"];
        words.map(str::to_owned).into_iter().chain([format!("{n:06}")]).collect()
    };
    vec![
        (
            "a stream of 1,000,000 entries of 2 fields",
            scaled(1_000_000),
            Box::new(move || Box::new((0..scaled(1_000_000)).map(move |n| entry("stream".into(), n)))),
        ),
        (
            "100,000 streams of 10 entries of 2 fields",
            10 * scaled(100_000),
            Box::new(move || {
                let keys = 0..scaled(100_000);
                Box::new(keys.flat_map(move |key| (0..10).map(move |n| entry(format!("stream:{key:09}"), n))))
            }),
        ),
        (
            "hashes of 10 fields of 10 bytes",
            small * 10,
            Box::new(move || {
                let field = |n| vec![format!("field:{n:04}"), "0123456789".into()];
                Box::new((0..small).map(move |key| put("HSET", format!("hash:{key:09}"), 0, 10, field)))
            }),
        ),
        (
            "sets of 10 members of 10 bytes",
            small * 10,
            Box::new(move || {
                let member = |n| vec![format!("member:{n:03}")];
                Box::new((0..small).map(move |key| put("SADD", format!("set:{key:09}"), 0, 10, member)))
            }),
        ),
        (
            "10 sorted sets of 100,000 members of 13 bytes",
            10 * scaled(100_000),
            Box::new(move || {
                large("ZADD", 10, scaled(100_000), |n| {
                    vec![(n.wrapping_mul(7_368_787) % 1_000_003).to_string(), format!("member:{n:06}")]
                })
            }),
        ),
        (
            "4 lists of 1,000,000 elements of 10 bytes",
            4 * scaled(1_000_000),
            Box::new(move || large("RPUSH", 4, scaled(1_000_000), |n| vec![format!("elem{n:06}")])),
        ),
        (
            "4 lists of 1,000,000 elements of 100 bytes",
            4 * scaled(1_000_000),
            Box::new(move || large("LPUSH", 4, scaled(1_000_000), |n| vec![format!("{n:0100}")])),
        ),
    ]
}

fn main() -> io::Result<()> {
    let scale = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1.0);
    println!("{}", head(&["value bytes", "redis-server, bytes per key", "keystead, bytes per key"]));
    for size in [8, 64] {
        let value = "x".repeat(size);
        let set = |n: u64| vec!["SET".into(), format!("key:{n:012}"), value.clone()];
        let [redis, ours] = held(|| (0..KEYS).map(set))?;
        println!("{}", row(&[size.to_string(), (redis / KEYS).to_string(), (ours / KEYS).to_string()]));
    }
    println!("\n{}", head(&["collections", "redis-server, bytes per element", "keystead, bytes per element"]));
    for (name, elements, commands) in collections(scale) {
        let cells = held(commands)?.map(|bytes| format!("{:.1}", bytes as f64 / elements as f64));
        println!("{}", row(&[vec![name.to_owned()], cells.to_vec()].concat()));
    }
    Ok(())
}
