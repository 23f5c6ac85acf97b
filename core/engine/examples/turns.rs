//! Measures turns alone: ns per command with decoding, without sockets, in batches of 64 of one client.
//! `cargo run --release -p keystead-engine --example turns [COMMAND [BATCHES]]`; under `valgrind --tool=callgrind` the
//! figures to look at are the instructions.

use std::time::Instant;

use keystead_engine::registry::Known;
use keystead_engine::resp::{ArgRange, Decoder, Found, Limits};
use keystead_engine::{Ahead, Args, ConnInfo, Engine, EngineOptions, Now, SessionId};

const BATCH: u64 = 64;
/// Commands that a driver asks for ahead at once.
const WINDOW: usize = 32;

/// The commands of the throughput bench with how many keys each is spread over; `#` is a key's number.
const COMMANDS: [(&str, &[&str], u64); 12] = [
    ("PING", &["PING"], 1),
    ("ECHO", &["ECHO", "0123456789abcdef"], 1),
    ("DBSIZE", &["DBSIZE"], 1),
    ("CLIENT ID", &["CLIENT", "ID"], 1),
    ("GET", &["GET", "key:#"], 100_000),
    ("SET", &["SET", "key:#", "0123456789abcdef"], 100_000),
    ("INCR", &["INCR", "counter:#"], 100_000),
    ("LPUSH", &["LPUSH", "list:#", "0123456789abcdef"], 1000),
    ("RPUSH", &["RPUSH", "queue:#", "0123456789abcdef"], 1000),
    ("RPOP", &["RPOP", "list:#"], 1000),
    ("HSET", &["HSET", "hash:#", "field", "0123456789abcdef"], 100_000),
    ("ZADD", &["ZADD", "zset:#", "1", "member"], 100_000),
];

fn main() {
    let mut words = std::env::args().skip(1);
    let (only, batches) = (words.next(), words.next().and_then(|n| n.parse().ok()).unwrap_or(20_000_u64));
    let mut engine = Engine::new(EngineOptions { seeds: [3, 1, 4, 1], ..EngineOptions::default() });
    let id = engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, Now::default()).expect("accepted");
    for (name, words, keys) in COMMANDS.iter().filter(|(name, ..)| only.as_ref().is_none_or(|only| only == name)) {
        for active in [false, true] {
            engine.core.journal.set_backlog(active.then_some(1 << 20));
            let requests: Vec<Vec<u8>> = (0..batches).map(|batch| requests(batch * BATCH, *keys, words)).collect();
            let mut turns = Turns::default();
            let started = Instant::now();
            requests.iter().for_each(|batch| turns.run(&mut engine, id, batch));
            let per = started.elapsed().as_nanos() as f64 / (batches * BATCH) as f64;
            println!("{name}, backlog {active}: {per:.0} ns per command");
        }
    }
}

fn requests(from: u64, keys: u64, words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for at in from..from + BATCH {
        let number = format!("{:012}", (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % keys);
        bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            let word = word.replace('#', &number);
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    bytes
}

/// What a driver keeps between turns.
#[derive(Default)]
struct Turns {
    decoder: Decoder,
    ranges: Vec<ArgRange>,
    commands: Vec<(usize, usize, usize)>,
    ahead: Ahead,
    known: Vec<Option<Known>>,
    out: Vec<u8>,
}

impl Turns {
    /// As a driver does it: decode ahead, ask for the memory, execute. Not inlined, for callgrind's `--toggle-collect`.
    #[inline(never)]
    fn run(&mut self, engine: &mut Engine, id: SessionId, bytes: &[u8]) {
        let limits = Limits::default();
        self.ranges.clear();
        self.commands.clear();
        let mut begin = 0;
        while begin < bytes.len() {
            let first = self.ranges.len();
            let Ok(Found::Command { consumed, .. }) =
                self.decoder.decode_into(&bytes[begin..], &limits, &mut self.ranges)
            else {
                return;
            };
            self.commands.push((begin, first, self.ranges.len()));
            begin += consumed;
        }
        engine.begin_turn(Now { unix_ms: 1, mono_us: 1 });
        let args =
            |&(begin, first, last): &(usize, usize, usize)| Args::new(&bytes[begin..], &self.ranges[first..last]);
        for window in self.commands.chunks(WINDOW) {
            self.ahead.clear();
            self.known.clear();
            self.known.extend(window.iter().map(|command| engine.ahead(id, args(command), &mut self.ahead)));
            engine.ask_ahead(&mut self.ahead);
            let looked_up: Vec<_> = window.iter().zip(self.known.iter().copied()).collect();
            engine.execute_all(id, &looked_up, |(command, known)| (args(command), *known));
        }
        engine.end_turn();
        engine.swap_out(id, &mut self.out);
    }
}
