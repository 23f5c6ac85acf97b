//! RESTORE of damaged payloads whose checksum is right: an error or a sound value, never a panic.

#![allow(clippy::unwrap_used)]

mod kit;

use keystead_engine::rdb::{dump_payload, parse_dump};
use keystead_engine::resp::OwnedArgs;
use kit::Kit;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn run(kit: &mut Kit, words: &[&[u8]]) -> Vec<u8> {
    let c = kit.connect();
    let args: OwnedArgs = words.iter().collect();
    kit.engine.begin_turn(kit.now);
    let _ = kit.engine.execute(c, args.view());
    let _ = kit.engine.end_turn();
    let mut out = Vec::new();
    kit.engine.swap_out(c, &mut out);
    kit.engine.disconnect(c);
    out
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.below(bytes.len());
        match rng.below(5) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xfe, 0xff][rng.below(11)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.below(256) as u8),
            _ => drop(bytes.remove(at)),
        }
    }
}

#[test]
fn no_payload_breaks_the_server() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let long = "x".repeat(70);
    let mut seeds = vec!["SET s0 12345".to_owned(), format!("SET s1 {long}{long}"), "SET s2 hello".to_owned()];
    for (n, name) in [(3, "small"), (200, "large")] {
        let list = |f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<Vec<_>>().join(" ");
        seeds.push(format!("RPUSH l{name} {}", list(&|i| format!("e{i} {i}"))));
        seeds.push(format!("SADD s{name} {}", list(&|i| format!("e{i}"))));
        seeds.push(format!("SADD i{name} {}", list(&|i| (i * i * 7919).to_string())));
        seeds.push(format!("HSET h{name} {}", list(&|i| format!("f{i} {}", i * 3))));
        seeds.push(format!("ZADD z{name} {}", list(&|i| format!("{i}.5 m{i}"))));
    }
    let mut payloads = Vec::new();
    for line in &seeds {
        assert!(!kit.cmd(c, line).starts_with('-'), "{line}");
        let key = line.split(' ').nth(1).unwrap().as_bytes();
        let reply = run(&mut kit, &[b"DUMP", key]);
        let start = reply.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
        payloads.push(reply[start..reply.len() - 2].to_vec());
    }
    let mut rng = Rng(0x1234_5678_9abc_def1);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..12_000 {
        let (kind, bytes) = parse_dump(&payloads[round % payloads.len()]).unwrap();
        let (mut kind, mut bytes) = (kind, bytes.to_vec());
        damage(&mut rng, &mut bytes);
        if rng.below(20) == 0 {
            kind = rng.below(26) as u8;
        }
        let payload = dump_payload(kind, &bytes);
        match run(&mut kit, &[b"RESTORE", b"k", b"0", &payload, b"REPLACE"])[0] {
            b'+' => taken += 1,
            _ => refused += 1,
        }
        for question in [
            &[&b"DUMP"[..], b"k"][..],
            &[b"LRANGE", b"k", b"0", b"-1"],
            &[b"LPOP", b"k"],
            &[b"SMEMBERS", b"k"],
            &[b"SADD", b"k", b"new", b"1"],
            &[b"SPOP", b"k"],
            &[b"HGETALL", b"k"],
            &[b"HSET", b"k", b"f1", b"new"],
            &[b"HDEL", b"k", b"f0"],
            &[b"ZRANGE", b"k", b"0", b"-1", b"WITHSCORES"],
            &[b"ZADD", b"k", b"7", b"m1"],
            &[b"ZPOPMAX", b"k"],
            &[b"INCR", b"k"],
        ] {
            assert!(!run(&mut kit, question).is_empty());
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused");
}
