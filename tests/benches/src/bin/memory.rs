//! Memory after filling less before, each when the server has rested: bytes per key for strings, then collections, small and
//! large, as the system counts it and as the server does (`used_memory`). Prints Markdown tables.
//! `memory [SCALE]`: a part of the usual numbers, 1 by default.

use keystead_benches::{
    peer::{Kind, Peer},
    table::{head, row},
};
use std::{io, thread, time::Duration};

const KEYS: u64 = 1_000_000;
/// A server gives back what it doesn't need, and both get the time.
const REST: Duration = Duration::from_millis(2500);

/// What a server holds: of the system's memory, and by its own count.
#[derive(Clone, Copy)]
struct Memory {
    resident: u64,
    used: u64,
}

impl Memory {
    fn at_rest(peer: &Peer) -> io::Result<Memory> {
        thread::sleep(REST);
        let info = String::from_utf8_lossy(&peer.call(&["INFO", "memory"])?).into_owned();
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        let used = used.ok_or_else(|| io::Error::other("INFO has no used_memory"))?;
        Ok(Memory { resident: peer.resident(), used })
    }

    fn per(self, count: u64, decimals: usize) -> [String; 2] {
        [self.resident, self.used].map(|bytes| format!("{:.decimals$}", bytes as f64 / count as f64))
    }
}

/// What a fresh server of each kind holds for some commands, in the order of the table's columns.
fn held<I: Iterator<Item = Vec<String>>>(commands: impl Fn() -> I) -> io::Result<[Memory; 2]> {
    let one = |kind| -> io::Result<Memory> {
        let peer = Peer::start(kind, None, &[])?;
        let before = Memory::at_rest(&peer)?;
        peer.feed(commands())?;
        let after = Memory::at_rest(&peer)?;
        Ok(Memory {
            resident: after.resident.saturating_sub(before.resident),
            used: after.used.saturating_sub(before.used),
        })
    };
    Ok([one(Kind::Redis)?, one(Kind::Keystead)?])
}

/// The names of the columns behind the first.
fn columns(of: &str) -> Vec<String> {
    let columns = ["redis-server", "redis-server, by its own count", "keystead", "keystead, by its own count"];
    columns.map(|column| format!("{column}, {of}")).into()
}

fn print_head(first: &str, of: &str) {
    let columns = columns(of);
    println!("{}", head(&[first].into_iter().chain(columns.iter().map(String::as_str)).collect::<Vec<_>>()));
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
            "10 streams of 1,000,000 entries of 2 fields",
            10 * scaled(1_000_000),
            Box::new(move || {
                Box::new(
                    (0..10).flat_map(move |key| (0..scaled(1_000_000)).map(move |n| entry(format!("stream:{key}"), n))),
                )
            }),
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
            "10 lists of 1,000,000 elements of 10 bytes",
            10 * scaled(1_000_000),
            Box::new(move || large("RPUSH", 10, scaled(1_000_000), |n| vec![format!("elem{n:06}")])),
        ),
        (
            "10 lists of 1,000,000 elements of 100 bytes",
            10 * scaled(1_000_000),
            Box::new(move || large("LPUSH", 10, scaled(1_000_000), |n| vec![format!("{n:0100}")])),
        ),
    ]
}

fn main() -> io::Result<()> {
    let scale = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1.0);
    print_head("value bytes", "bytes per key");
    for size in [8, 64] {
        let value = "x".repeat(size);
        let set = |n: u64| vec!["SET".into(), format!("key:{n:012}"), value.clone()];
        let cells = held(|| (0..KEYS).map(set))?.map(|memory| memory.per(KEYS, 0));
        println!("{}", row(&[vec![size.to_string()], cells.concat()].concat()));
    }
    println!();
    print_head("collections", "bytes per element");
    for (name, elements, commands) in collections(scale) {
        let cells = held(commands)?.map(|memory| memory.per(elements, 1));
        println!("{}", row(&[vec![name.to_owned()], cells.concat()].concat()));
    }
    Ok(())
}
