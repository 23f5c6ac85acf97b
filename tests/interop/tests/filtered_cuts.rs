//! Filtered replicas under random commands while links are cut at any byte and everybody is started again, killed or not: at
//! the end each has exactly the keys that pass, in the state they have at the primary, and is worth nothing to WAIT or a
//! promotion.
//!
//! `CUT_SECONDS=60` makes it last that long, `CUT_SEED=n` runs another seed.

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, eventually, wait_until};
use keystead_interop::compare::groups;
use keystead_interop::pair::syncs;
use keystead_interop::random::{Commands, DATABASES, Rng};
use keystead_interop::wire::Wire;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two faults, in milliseconds, at most.
const PAUSE_MS: u64 = 150;

const PREFIXES: [&str; 3] = ["str:", "hash:", "stream:"];
const LOW: [u32; 2] = [0, 1];

/// By key and by database.
fn passes(filter: &str, db: u32, key: &str) -> bool {
    if filter == "some" { PREFIXES.iter().any(|prefix| key.starts_with(prefix)) } else { LOW.contains(&db) }
}

fn keeping(replication: &str) -> KeysteadBuilder {
    Keystead::builder().plugin("replication", replication).plugin("persistence-rdb", "(save: [])")
}

/// A replica of `filter`, its wire, and where it is in the tree.
struct Part {
    node: Keystead,
    wire: Wire,
    filter: &'static str,
}

impl Part {
    fn of(port: u16, filter: &'static str) -> Part {
        let wire = Wire::to(port);
        // What is written behind another filter's history costs everything again, but never what isn't there.
        let node = keeping(&format!("(replicaof: (\"127.0.0.1\", {}), filter: \"{filter}\")", wire.port())).start();
        Part { node, wire, filter }
    }
}

/// Every key of every database with its digest and its deadline, and what the groups of its streams have pending.
fn everything(client: &mut Client, keep: impl Fn(u32, &str) -> bool) -> BTreeMap<(u32, String), String> {
    let mut all = BTreeMap::new();
    for db in DATABASES {
        client.ok(&format!("SELECT {db}"));
        let keys: Vec<String> = client.cmd("KEYS *").texts().into_iter().filter(|key| keep(db, key)).collect();
        let asked: Vec<String> =
            keys.iter().flat_map(|key| [format!("DEBUG DIGEST-VALUE {key}"), format!("PEXPIRETIME {key}")]).collect();
        let told = client.pipeline(&asked.iter().map(String::as_str).collect::<Vec<_>>());
        all.extend(keys.into_iter().zip(told.chunks(2)).map(|(key, told)| ((db, key), format!("{told:?}"))));
    }
    for line in groups(client, &DATABASES) {
        let mut words = line.splitn(3, ' ');
        let (db, key) = (words.next().and_then(|db| db.parse().ok()), words.next());
        if let (Some(db), Some(key)) = (db, key)
            && let Some(state) = all.get_mut(&(db, key.to_owned()))
        {
            state.push_str(words.next().unwrap_or_default());
        }
    }
    client.ok("SELECT 0");
    all
}

fn differences(primary: &mut Client, part: &Part) -> Vec<String> {
    let want = everything(primary, |db, key| passes(part.filter, db, key));
    let have = everything(&mut part.node.client(), |_, _| true);
    let keys: std::collections::BTreeSet<_> = want.keys().chain(have.keys()).collect();
    let differs = keys.into_iter().filter(|key| want.get(*key) != have.get(*key));
    differs.map(|key| format!("{key:?}: {:?} | {:?}", want.get(key), have.get(key))).collect()
}

/// Writes until it is told to stop, over a new connection whenever the old one is gone.
fn load(port: u16, seed: u64, units: &AtomicU64, stop: &AtomicBool) {
    let mut commands = Commands::new(seed);
    while !stop.load(Ordering::Acquire) {
        let Ok(mut client) = Client::try_connect(port) else { continue };
        while !stop.load(Ordering::Acquire) {
            if commands.unit().iter().any(|command| client.try_command(command).is_err()) {
                break;
            }
            units.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One thing that goes wrong.
fn fault(rng: &mut Rng, primary: &mut Keystead, parts: &mut [Part]) -> String {
    let at = rng.below(parts.len() as u64) as usize;
    let part = &mut parts[at];
    match rng.below(16) {
        0 => {
            primary.process.terminate();
            primary.process.wait_exit(DEADLINE);
            primary.restart();
            "the primary is started again".into()
        }
        1 => {
            let _ = primary.client().try_command(&["SAVE"]);
            primary.process.kill();
            primary.restart();
            "the primary is killed behind a save".into()
        }
        2 => {
            part.node.process.terminate();
            part.node.process.wait_exit(DEADLINE);
            part.node.restart();
            format!("part {at} is started again")
        }
        3 | 4 => {
            let saved = part.node.client().try_command(&["SAVE"]);
            part.node.process.kill();
            part.node.restart();
            format!("part {at} is killed behind a save: {saved:?}")
        }
        5 => {
            part.node.process.kill();
            part.node.restart();
            format!("part {at} is killed")
        }
        _ => {
            part.wire.cut();
            format!("the wire of part {at} is cut")
        }
    }
}

#[test]
fn a_part_stays_the_part_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (time, seed) = (Duration::from_secs(number("CUT_SECONDS").unwrap_or(6)), number("CUT_SEED").unwrap_or(1));
    let prefixes = PREFIXES.map(|prefix| format!("\"{prefix}\"")).join(", ");
    let mut primary =
        keeping(&format!("(filters: [(name: \"some\", prefixes: [{prefixes}]), (name: \"low\", databases: {LOW:?})])"))
            .start();
    let first = [Part::of(primary.port(), "some"), Part::of(primary.port(), "low")];
    // One of the same filter behind it shares its stream.
    let below = Part::of(first[0].node.port(), "some");
    let mut parts: Vec<Part> = first.into_iter().chain([below]).collect();

    let (units, stop, mut story) = (AtomicU64::new(0), AtomicBool::new(false), Vec::new());
    let mut partial = 0;
    thread::scope(|scope| {
        let (units, stop, port) = (&units, &stop, primary.port());
        for writer in 0..2 {
            scope.spawn(move || load(port, seed * 2 + writer, units, stop));
        }
        let (mut rng, end) = (Rng::new(seed), Instant::now() + time);
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(rng.below(PAUSE_MS)));
            // Its counters end with a process.
            partial = partial.max(syncs(&mut primary.client()).1);
            story.push(fault(&mut rng, &mut primary, &mut parts));
        }
        stop.store(true, Ordering::Release);
    });

    let mut client = primary.client();
    for db in DATABASES {
        client.ok(&format!("SELECT {db}"));
        for kind in ["str", "list"] {
            client.ok(&format!("COPY {kind}:last {kind}:gone"));
            client.ok(&format!("DEL {kind}:last"));
        }
        client.ok("SET str:last 1");
        client.cmd("RPUSH list:last 1");
    }
    client.ok("SELECT 0");
    for (at, part) in parts.iter().enumerate() {
        let same = eventually(DEADLINE, || differences(&mut client, part).is_empty().then_some(()));
        if same.is_none() {
            let different = differences(&mut client, part);
            panic!("seed {seed}, part {at}: {different:#?}\n{story:#?}\n{}", part.node.process.log());
        }
        let mut replica = part.node.client();
        assert!(!everything(&mut replica, |_, _| true).is_empty(), "there was something to compare");
        assert!(replica.cmd("REPLICAOF NO ONE").is_error(), "it is no primary");
        assert_eq!(replica.info("replication")["slave_priority"], "0");
        let to = format!("FAILOVER TO 127.0.0.1 {}", part.node.port());
        assert!(client.cmd(&to).is_error(), "nor can it become one");
    }
    client.ok("SET str:counted 1");
    wait_until("it is there", DEADLINE, || parts[0].node.client().cmd("GET str:counted") == "1");
    assert_eq!(client.cmd("WAIT 1 100"), 0, "it counts for nothing");
    let units = units.load(Ordering::Relaxed);
    assert!(partial > 0 && units > 1000 && story.len() > 10, "nothing was tried: {partial} {units}\n{story:#?}");
    println!("seed {seed}: {units} units, {} faults, {partial} partial resyncs at the most of one life", story.len());
}
