//! All types under the same few keys, keys whose time runs out on the way, transactions: what a family by itself never meets.
//! Beside the replies, the events and the count of changes must be the same.
//!
//! Left out is what deletes a destination that has expired: Redis calls that `del` where it doesn't look first.

use super::compare;
use super::families::{self, Family};
use super::peers::{Ours, Redis};
use super::random::Rng;
use super::{seeds, show, steps, streams};
use std::time::{Duration, Instant};

type Command = Vec<Vec<u8>>;

const FAMILIES: &[&Family] = &[
    &SHORT_LIVES,
    &families::STRINGS,
    &families::BITS,
    &families::LISTS,
    &families::HASHES,
    &families::SETS,
    &families::ZSETS,
    &families::HYPERLOGLOG,
    &streams::STREAMS,
];

const SHORT_LIVES: Family = Family {
    name: "short lives",
    members: 4,
    keys: 5,
    templates: &[
        "SET k v PX 40",
        "PEXPIRE k 40 ?NX|XX",
        "RENAME k k",
        "RENAMENX k k",
        "COPY k k ?REPLACE",
        "EXISTS +k",
    ],
};

/// What short-lived keys are given. Who takes longer for a unit with such a key saw it expire or not, and nobody knows when.
const LIFE: Duration = Duration::from_millis(40);

const LEFT_OUT: &[&[u8]] = &[b"BITOP", b"SMOVE", b"PFDEBUG", b"BITFIELD", b"XAUTOCLAIM"];

fn next(rng: &mut Rng) -> Command {
    loop {
        let family = FAMILIES[rng.below(FAMILIES.len())];
        let argv = family.command(rng);
        // 7.2 gave ZRANK an option, so that 7.0 doesn't even queue what 7.2 refuses later.
        let has_other_arity = argv[0].ends_with(b"RANK") && argv.len() != 3;
        if !LEFT_OUT.contains(&&*argv[0]) && !argv[0].ends_with(b"STORE") && !has_other_arity {
            return argv;
        }
    }
}

/// A command, or a transaction of some.
fn unit(rng: &mut Rng) -> Vec<Command> {
    if rng.chance(90) {
        return vec![next(rng)];
    }
    let inner = (0..=rng.below(3)).map(|_| next(rng)).collect::<Vec<_>>();
    let word = |word: &str| vec![vec![word.as_bytes().to_vec()]];
    [word("MULTI"), inner, word("EXEC")].concat()
}

/// The end of the reply that begins at `at`.
fn end_of(reply: &[u8], at: usize) -> usize {
    let line = at + reply[at..].windows(2).position(|w| w == b"\r\n").unwrap() + 2;
    let number: i64 = std::str::from_utf8(&reply[at + 1..line - 2]).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    match (reply[at], usize::try_from(number)) {
        (b'$' | b'=', Ok(len)) => line + len + 2,
        (b'*' | b'~' | b'>', Ok(count)) => (0..count).fold(line, |at, _| end_of(reply, at)),
        (b'%', Ok(count)) => (0..2 * count).fold(line, |at, _| end_of(reply, at)),
        _ => line,
    }
}

/// The replies inside EXEC's.
fn parts(reply: &[u8]) -> Vec<&[u8]> {
    let (mut at, mut all) = (reply.windows(2).position(|w| w == b"\r\n").unwrap() + 2, Vec::new());
    while at < reply.len() {
        let end = end_of(reply, at);
        all.push(&reply[at..end]);
        at = end;
    }
    all
}

fn same_exec(unit: &[Command], theirs: &[u8], mine: &[u8]) -> bool {
    let inner = &unit[1..unit.len() - 1];
    if theirs.starts_with(b"-") || mine.starts_with(b"-") {
        return theirs == mine;
    }
    let (theirs, mine) = (parts(theirs), parts(mine));
    theirs.len() == mine.len()
        && inner.iter().zip(theirs.iter().zip(mine)).all(|(argv, (theirs, mine))| compare::same(argv, theirs, mine))
}

fn changes(info: &[u8]) -> i64 {
    let info = String::from_utf8_lossy(info);
    let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.and_then(|number| number.parse().ok()).expect("INFO persistence has it")
}

fn words(line: &str) -> Command {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Until short-lived keys are expired by the stock server's clock, which is ours too.
fn outlive(redis: &mut Redis) {
    let mut micros = || {
        let time = redis.run(&words("TIME"));
        let numbers: Vec<u64> =
            String::from_utf8_lossy(&time).split("\r\n").filter_map(|n| n.parse::<u64>().ok()).collect();
        numbers[0] * 1_000_000 + numbers[1]
    };
    let start = micros();
    while micros() < start + LIFE.as_micros() as u64 + 2000 {}
}

/// Both sides, and what they said last.
struct Pair {
    redis: Redis,
    ours: Ours,
    counted: (i64, i64),
    history: Vec<String>,
}

impl Pair {
    fn both(&mut self, argv: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
        (self.redis.run(argv), self.ours.run(argv))
    }

    /// How many changes were counted since the last call.
    fn counted(&mut self) -> (i64, i64) {
        let (theirs, mine) = self.both(&words("INFO persistence"));
        let (before, now) = (self.counted, (changes(&theirs), changes(&mine)));
        self.counted = now;
        (now.0 - before.0, now.1 - before.1)
    }

    /// False if the machine stood still for longer than keys live.
    fn step(&mut self, unit: &[Command], at: &str) -> bool {
        let (started, short) = (Instant::now(), unit.iter().flatten().any(|word| word == b"40"));
        let replies: Vec<_> = unit.iter().map(|argv| self.both(argv)).collect();
        let (theirs, mine) = self.counted();
        if short && started.elapsed() >= LIFE {
            return false;
        }
        // A transaction may hold a command that only one of them knows in this form.
        let mut comparable = unit.len() == 1;
        for (argv, (theirs, mine)) in unit.iter().zip(&replies) {
            let exec = argv[0] == b"EXEC";
            let same = if exec { same_exec(unit, theirs, mine) } else { compare::same(argv, theirs, mine) };
            self.history.push(show(argv));
            let tail = self.history[self.history.len().saturating_sub(30)..].join("\n  ");
            assert!(same, "{at}: {}: {}\nhistory:\n  {tail}", show(argv), compare::parting(theirs, mine));
            comparable &= theirs.starts_with(b"-") == mine.starts_with(b"-");
        }
        assert!(theirs == mine || !comparable, "{at}: {theirs} changes, here {mine}: {}", self.history.last().unwrap());
        if short {
            outlive(&mut self.redis);
        }
        for argv in unit.iter().flat_map(|argv| streams::beside(argv)) {
            self.both(&argv);
        }
        self.counted();
        true
    }
}

pub fn run() {
    let mut redis = Redis::start();
    let mut stock = redis.listener();
    redis.run(&words("DEBUG SET-ACTIVE-EXPIRE 0"));
    let mut pair = Pair { redis, ours: Ours::start(), counted: (0, 0), history: Vec::new() };
    for seed in seeds() {
        println!("mixed types seed {seed}");
        pair.ours = Ours::start();
        pair.redis.reset(false);
        pair.ours.reset(false);
        let listener = pair.ours.listener();
        pair.counted();
        stock.heard();
        let mut rng = Rng::new(seed);
        for step in 0..steps() {
            let unit = unit(&mut rng);
            let at = format!("mixed types seed {seed} step {step}");
            if !pair.step(&unit, &at) {
                println!("{at}: given up, the machine stood still");
                break;
            }
            let (theirs, mine) = (stock.heard().concat(), pair.ours.heard(listener));
            let (theirs, mine) = (super::events::of_units(&theirs), super::events::of_units(&mine));
            assert!(theirs == mine, "{at}: {}\n redis:\n{theirs}\n ours:\n{mine}", pair.history.last().unwrap());
            if step % 200 == 199 {
                compare::states(&mut pair.redis, &mut pair.ours, &at);
                stock.heard();
                pair.ours.heard(listener);
            }
        }
    }
}
