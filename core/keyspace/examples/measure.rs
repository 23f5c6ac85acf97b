//! Measures the table on this machine: `cargo run --release -p keystead-keyspace --example measure`.
//!
//! Prints bytes per key, the worst pause while inserting, nanoseconds per GET and SET with and without prefetch, what
//! active expiry costs, and how long one element's write to a collection of a million can take while a cut is open.
//! Every part runs in a process of its own, so that one part's memory isn't another's. Beside a worst pause stands the
//! tenth worst: on a busy machine the worst is another process' turn on the processor.

use std::time::{Duration, Instant};

use keystead_keyspace::{Ahead, Create, CutBudget, Keyspace, Options, StreamId, Ttl, UnixMillis};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;

/// The longest of many short times.
#[derive(Default)]
struct Worst([Duration; 10]);

impl Worst {
    fn add(&mut self, took: Duration) {
        if took > self.0[9] {
            self.0[9] = took;
            self.0.sort_by(|a, b| b.cmp(a));
        }
    }
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worst {:?} (tenth {:?})", self.0[0], self.0[9])
    }
}

type Part = (&'static str, fn());

const PARTS: [Part; 10] = [
    ("memory-8", || memory("value 8", b"abcdefgh", Ttl::Clear)),
    ("memory-64", || memory("value 64", &[b'v'; 64], Ttl::Clear)),
    ("memory-int", || memory("value 1234567", b"1234567", Ttl::Clear)),
    ("memory-ttl", || memory("value 8, deadline", b"abcdefgh", Ttl::At(UnixMillis(u64::MAX)))),
    ("stream", stream),
    ("speed", speed),
    ("expiry", expiry),
    ("snapshot", snapshot),
    ("stall-sequence", || stall(&[List, Set])),
    ("stall-map", || stall(&[Hash, ZSet])),
];

fn main() {
    let wanted = std::env::args().nth(1);
    match wanted {
        Some(name) => PARTS.iter().filter(|part| part.0 == name).for_each(|part| part.1()),
        None => {
            let me = std::env::current_exe().expect("this program has a path");
            for (name, _) in PARTS {
                let done = std::process::Command::new(&me).arg(name).status().expect("this program runs");
                assert!(done.success(), "{name} failed");
            }
        }
    }
}

fn keyspace() -> Keyspace {
    let mut ks = Keyspace::new(Options::default());
    ks.set_now(UnixMillis(1_700_000_000_000));
    ks
}

/// Sixteen bytes, in an order unlike the table's.
fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut n = n;
    for byte in key[4..].iter_mut().rev() {
        *byte = b'0' + (n % 10) as u8;
        n /= 10;
    }
    key
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 30) % sides
    }
}

fn memory(what: &str, value: &[u8], ttl: Ttl) {
    let mut ks = keyspace();
    ks.set_str(0, b"warm", value, Ttl::Clear);
    let before = resident();
    let (mut worst, start) = (Worst::default(), Instant::now());
    for n in 0..KEYS {
        let one = Instant::now();
        ks.set_str(0, &key(n), value, ttl);
        worst.add(one.elapsed());
    }
    println!(
        "{what}: {} bytes resident per key, {} counted; insert {} ns, {worst}",
        (resident() - before) as u64 / KEYS,
        ks.mem_bytes() as u64 / KEYS,
        start.elapsed().as_nanos() as u64 / KEYS,
    );
}

/// A stream of a million entries of two fields, each delivered to a consumer of a group afterwards.
fn stream() {
    let mut ks = keyspace();
    let limits = *ks.limits();
    let before = resident();
    let start = Instant::now();
    for n in 0..KEYS {
        let Ok(Some(mut stream)) = ks.stream_mut(0, b"stream", Create::Yes) else { return };
        let (reading, id) = (n % 4000, StreamId::new(1_700_000_000_000 + n, 0));
        stream.append(id, &[b"sensor", b"12345", b"reading", reading.to_string().as_bytes()], &limits);
    }
    let append = start.elapsed().as_nanos() as u64 / KEYS;
    println!(
        "stream: {} bytes resident per entry, {} counted; append {append} ns",
        (resident() - before) as u64 / KEYS,
        ks.mem_bytes() as u64 / KEYS,
    );
    let Ok(Some(mut stream)) = ks.stream_mut(0, b"stream", Create::No) else { return };
    let start = Instant::now();
    let ids: Vec<StreamId> = stream.iter().map(|entry| entry.id).collect();
    println!("stream: walk {} ns an entry", start.elapsed().as_nanos() as u64 / KEYS);
    stream.create_group(b"group", StreamId::MIN, 0);
    let (before, start) = (resident(), Instant::now());
    stream.change_group(b"group", |group| {
        group.create_consumer(b"consumer", 0);
        ids.chunks(10).for_each(|ids| group.deliver(b"consumer", ids, 1));
    });
    let deliver = start.elapsed().as_nanos() as u64 / KEYS;
    println!("stream: deliver {deliver} ns, {} bytes resident per pending entry", (resident() - before) as u64 / KEYS);
    let start = Instant::now();
    stream.change_group(b"group", |group| ids.iter().for_each(|id| _ = group.acknowledge(*id)));
    println!("stream: acknowledge {} ns", start.elapsed().as_nanos() as u64 / KEYS);
}

fn fill() -> Keyspace {
    let mut ks = keyspace();
    (0..KEYS).for_each(|n| ks.set_str(0, &key(n), &[b'v'; 16][..], Ttl::Clear));
    ks
}

fn speed() {
    const OPS: u64 = 4_000_000;
    let mut ks = fill();
    for batch in [1, 16, 64] {
        for prefetch in [false, true] {
            let mut dice = Dice(9);
            let start = Instant::now();
            let mut found = 0;
            for _ in 0..OPS / batch {
                let keys: Vec<[u8; 16]> = (0..batch).map(|_| key(dice.roll(KEYS))).collect();
                ask(&ks, &keys, prefetch);
                for key in &keys {
                    found += ks.get_str(0, key).ok().flatten().map_or(0, |value| value.len());
                }
            }
            report("GET", batch, prefetch, start.elapsed(), OPS);
            assert_eq!(found as u64, OPS / batch * batch * 16);
        }
    }
    for prefetch in [false, true] {
        let (mut dice, start) = (Dice(9), Instant::now());
        for _ in 0..OPS / 16 {
            let keys: Vec<[u8; 16]> = (0..16).map(|_| key(dice.roll(KEYS))).collect();
            ask(&ks, &keys, prefetch);
            keys.iter().for_each(|key| ks.set_str(0, key, &[b'w'; 16][..], Ttl::Clear));
        }
        report("SET", 16, prefetch, start.elapsed(), OPS);
    }
}

fn ask(ks: &Keyspace, keys: &[[u8; 16]], prefetch: bool) {
    if prefetch {
        let mut ahead = Ahead::default();
        keys.iter().for_each(|key| ahead.add(ks, 0, key));
        ahead.ask(ks);
    }
}

fn report(what: &str, batch: u64, prefetch: bool, took: Duration, ops: u64) {
    let how = if prefetch { "prefetch in stages" } else { "no prefetch" };
    println!("{what} random, batch {batch}, {how}: {} ns", took.as_nanos() as u64 / ops);
}

/// A million keys whose deadlines lie within 100 s; the clock runs in steps of 100 ms as a server's does.
fn expiry() {
    let mut ks = keyspace();
    let start_ms = ks.now().0;
    let mut dice = Dice(3);
    (0..KEYS).for_each(|n| {
        let deadline = UnixMillis(start_ms + dice.roll(100_000));
        ks.set_str(0, &key(n), &b"value"[..], Ttl::At(deadline));
    });
    let (mut worst, mut total, mut left_behind) = (Worst::default(), Duration::ZERO, 0);
    for step in 0..1001 {
        ks.set_now(UnixMillis(start_ms + step * 100));
        let start = Instant::now();
        let done = ks.expire_cycle(100_000);
        worst.add(start.elapsed());
        total += start.elapsed();
        left_behind += u64::from(done.more);
        ks.swap_expired(&mut Default::default());
    }
    println!(
        "expiry of {} keys over 100 s: {:?} in all, cycle {worst}, budget ended first in {left_behind} of 1001 cycles, {} left",
        ks.expired_total(),
        total,
        ks.len(0)
    );
}

fn snapshot() {
    let mut ks = fill();
    let id = ks.begin_cut().expect("no cut is open");
    let (mut worst, mut total, mut records, mut bytes, mut worst_write) =
        (Worst::default(), Duration::ZERO, 0, Vec::new(), Worst::default());
    let mut dice = Dice(5);
    loop {
        let start = Instant::now();
        let step = ks.cut_step(id, CutBudget::default());
        worst.add(start.elapsed());
        total += start.elapsed();
        records += step.records.len();
        for record in &step.records {
            bytes.clear();
            record.encode(&mut bytes, keystead_rdb::EncodeOptions::default());
        }
        for _ in 0..20 {
            let key = key(dice.roll(2 * KEYS));
            let start = Instant::now();
            ks.set_str(0, &key, &b"written meanwhile"[..], Ttl::Clear);
            worst_write.add(start.elapsed());
        }
        if step.done {
            break;
        }
    }
    println!("snapshot of {records} keys: {total:?} under the lock, step {worst}, write {worst_write}");
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    List,
    Set,
    Hash,
    ZSet,
}
use Kind::{Hash, List, Set, ZSet};

fn put(ks: &mut Keyspace, kind: Kind, n: u64) {
    let limits = *ks.limits();
    let name: &[u8] = b"collection";
    let element = key(n);
    let db = kind as usize;
    match kind {
        List => {
            let mut list = ks.list_mut(db, name, Create::Yes).expect("a list").expect("made");
            match n < KEYS {
                true => list.push_back(&element, &limits),
                false => drop(list.set((n % KEYS) as usize, &element, &limits)),
            }
        }
        Set => drop(ks.set_mut(db, name, Create::Yes).expect("a set").expect("made").add(&element, &limits)),
        Hash => {
            let mut hash = ks.hash_mut(db, name, Create::Yes).expect("a hash").expect("made");
            hash.set(&element, b"value", &limits);
        }
        ZSet => {
            let mut zset = ks.zset_mut(db, name, Create::Yes).expect("a sorted set").expect("made");
            zset.add(&element, (n * 7919 % 1_000_003) as f64, &limits);
        }
    }
}

/// Writes single elements, at random, from the moment a cut is opened.
fn stall(kinds: &[Kind]) {
    for &kind in kinds {
        let mut ks = keyspace();
        (0..KEYS).for_each(|n| put(&mut ks, kind, n));
        let mut dice = Dice(77);
        let (mut worst, mut all) = (Worst::default(), Duration::ZERO);
        const WRITES: u32 = 20_000;
        let id = ks.begin_cut().expect("no cut is open");
        for _ in 0..WRITES {
            let n = KEYS + dice.roll(KEYS);
            let start = Instant::now();
            put(&mut ks, kind, n);
            worst.add(start.elapsed());
            all += start.elapsed();
        }
        let start = Instant::now();
        let step = ks.cut_step(id, CutBudget::default());
        let read = start.elapsed();
        let start = Instant::now();
        let removed = ks.remove(kind as usize, b"collection");
        let remove = start.elapsed();
        assert!(removed && step.done && step.records.len() == 1);
        println!(
            "{kind:?} of {KEYS} with a cut open: one element's write {:?}, {worst}; the cut's step {read:?}; DEL {remove:?}",
            all / WRITES
        );
    }
}
