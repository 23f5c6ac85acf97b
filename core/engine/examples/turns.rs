//! Measures turns alone: ns per command with decoding, without sockets. `cargo run --release --example turns -p keystead-engine`.

use std::time::Instant;

use keystead_engine::resp::{Decoded, Decoder, Limits};
use keystead_engine::{Args, ConnInfo, Engine, EngineOptions, Now};

fn main() {
    let mut engine = Engine::new(EngineOptions { seeds: [3, 1, 4, 1], ..EngineOptions::default() });
    let id = engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, Now::default()).expect("accepted");
    for (name, keys) in [("1 key", 1u64), ("100k keys", 100_000)] {
        for (what, line) in [("SET", true), ("GET", false)] {
            let batches: Vec<Vec<u8>> = (0..2000).map(|batch| requests(batch * 64, keys, line)).collect();
            for active in [false, true] {
                engine.core.journal.set_backlog(active.then_some(1 << 20));
                let started = Instant::now();
                let mut out = Vec::new();
                for batch in &batches {
                    turn(&mut engine, id, batch, &mut out);
                }
                let per = started.elapsed().as_nanos() as f64 / (batches.len() * 64) as f64;
                println!("{what} {name}, backlog {active}: {per:.0} ns per command");
            }
        }
    }
}

fn requests(from: u64, keys: u64, set: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for at in from..from + 64 {
        let key = format!("key:{:012}", at.wrapping_mul(0x9e37_79b9) % keys);
        let request = match set {
            true => format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n$16\r\nabcdefghijklmnop\r\n"),
            false => format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n"),
        };
        bytes.extend_from_slice(request.as_bytes());
    }
    bytes
}

fn turn(engine: &mut Engine, id: keystead_engine::SessionId, mut bytes: &[u8], out: &mut Vec<u8>) {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    engine.begin_turn(Now { unix_ms: 1, mono_us: 1 });
    while !bytes.is_empty() {
        let Ok(Decoded::Command { consumed, args, .. }) = decoder.decode(bytes, &limits) else { return };
        engine.execute(id, Args::new(&bytes[..consumed], &args));
        bytes = &bytes[consumed..];
    }
    engine.end_turn();
    engine.swap_out(id, out);
}
