//! Keys touched ⊆ keys checked: whatever a command does with random arguments, the keys it changes are among those that the
//! extractor found for writing, and what it answers depends on no key that the extractor did not find for reading.

mod kit;

use keystead_engine::keyspace::KeyLog;
use keystead_engine::registry::Command;
use keystead_engine::{Args, Engine, OwnedArgs, SessionId, keys};
use kit::Kit;

/// Commands that are about more keys than their arguments name, each with the reason.
const ABOUT_ALL: &[&str] = &[
    "keys",
    "scan",
    "randomkey",
    "dbsize",
    "flushall",
    "flushdb",
    "swapdb", // whole databases
    "sort",
    "sort_ro", // BY and GET: allowed only to those who may read every key
    "exec",
    "multi",
    "debug",
    "info",
    "memory|stats",
    "latency|histogram",
    "memory|doctor",
    "shutdown", // the server
    "move",
    "select", // another database
];

const KEYS: [&str; 6] = ["s", "l", "h", "t", "z", "x"];
const WORDS: [&str; 34] = [
    "1",
    "2",
    "0",
    "-1",
    "s",
    "l",
    "h",
    "t",
    "z",
    "x",
    "s",
    "l",
    "z",
    "t",
    "STORE",
    "GET",
    "BY",
    "LIMIT",
    "WEIGHTS",
    "AGGREGATE",
    "SUM",
    "LEFT",
    "RIGHT",
    "MIN",
    "MAX",
    "COUNT",
    "REPLACE",
    "NX",
    "XX",
    "WITHSCORES",
    "AND",
    "a",
    "(1",
    "+",
];

/// The session that prepares; others run what is tried.
const FIRST: SessionId = SessionId { id: 1, slot: 0 };

fn server() -> Kit {
    let mut kit = Kit::default();
    assert_eq!(kit.connect(), FIRST);
    kit
}

/// The same keys again, whatever was done before.
fn fill(kit: &mut Kit) {
    for line in ["FLUSHALL", "SET s 12", "RPUSH l a b 1", "HSET h a 1 b 2", "SADD t a b 1", "ZADD z 1 a 2 b", "SET x s"]
    {
        kit.cmd(FIRST, line);
    }
}

fn run(kit: &mut Kit, words: &OwnedArgs) -> String {
    let c = kit.connect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.view().iter() {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    let reply = kit.send(c, &bytes);
    kit.gone(c);
    reply
}

fn commands(engine: &Engine) -> Vec<&'static Command> {
    let all = engine.core.registry.all();
    let all = all.flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied()));
    all.filter(|c| c.subs.is_empty() && !ABOUT_ALL.contains(&c.full_name.as_str()) && !c.full_name.starts_with("debug"))
        .filter(|command| !command.full_name.starts_with("client") && !command.full_name.starts_with("config"))
        .collect()
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// A command with arguments that look like what it might want.
fn sentence(command: &Command, dice: &mut Dice) -> OwnedArgs {
    let least = command.arity.unsigned_abs() as usize;
    let len = if command.arity > 0 { least } else { least + dice.below(6) };
    let mut words: Vec<&str> = command.full_name.split('|').collect();
    while words.len() < len {
        words.push(WORDS[dice.below(WORDS.len())]);
    }
    words.into_iter().collect()
}

fn rights(command: &'static Command, args: Args<'_>) -> (Vec<String>, Vec<String>) {
    let found = keys::found(command, args);
    let name = |at: usize| String::from_utf8_lossy(args.at(at)).into_owned();
    let read = found.iter().filter(|(_, how)| how.reads()).map(|(at, _)| name(*at));
    let all = found.iter().map(|(at, _)| name(*at));
    let write = found.iter().filter(|(_, how)| how.writes()).map(|(at, _)| name(*at));
    // Looking at a key's type or existence takes no right to its value, but the key is one of those found.
    (read.chain(all).collect(), write.collect())
}

/// The same server twice, for what is tried with all keys and with only those that were found.
struct Both {
    whole: Kit,
    poor: Kit,
}

impl Both {
    fn new() -> Self {
        Both { whole: server(), poor: server() }
    }

    /// Tries a command; the keys that it changed.
    fn check(&mut self, command: &'static Command, words: &OwnedArgs) -> Vec<String> {
        let (read, write) = rights(command, words.view());
        let shown = words.view().iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");

        fill(&mut self.whole);
        let mut touched = KeyLog::new();
        self.whole.engine.ks.observe(true);
        self.whole.engine.ks.swap_touched(&mut touched);
        let reply = run(&mut self.whole, words);
        self.whole.engine.ks.swap_touched(&mut touched);
        let changed: Vec<String> = touched.iter().map(|item| String::from_utf8_lossy(item.key).into_owned()).collect();
        for key in &changed {
            assert!(write.contains(key), "{shown} changed {key}, checked for writing {write:?}");
        }

        // The same without the keys that were not found: nobody can tell the difference.
        fill(&mut self.poor);
        for key in KEYS.iter().filter(|key| !read.contains(&(**key).to_owned())) {
            self.poor.cmd(FIRST, &format!("DEL {key}"));
        }
        assert_eq!(reply, run(&mut self.poor, words), "{shown} looks at a key that is not checked ({read:?})");
        changed
    }
}

#[test]
fn keys_touched_are_keys_checked() {
    const ROUNDS: usize = 100;
    let mut dice = Dice(std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7));
    let list = commands(&server().engine);
    assert!(list.len() > 100);
    for command in list {
        let mut both = Both::new();
        for _ in 0..ROUNDS {
            both.check(command, &sentence(command, &mut dice));
        }
    }
}

/// A word that may come once comes twice: the key that is written is the one that was checked.
#[test]
fn of_two_stores_the_one_that_counts_is_checked() {
    let mut both = Both::new();
    for (line, stored) in [
        ("GEORADIUS z 0 0 22000 km STORE s STORE x", "x"),
        ("GEORADIUS z 0 0 22000 km STOREDIST s STORE x", "x"),
        ("GEORADIUS z 0 0 22000 km STORE x ASC STOREDIST s", "s"),
        ("GEORADIUSBYMEMBER z a 22000 km STORE s STORE x", "x"),
        ("SORT l ALPHA STORE s STORE x", "x"),
        ("SORT l STORE s BY nosort STORE x", "x"),
    ] {
        let words: OwnedArgs = line.split(' ').collect();
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        let command = both.whole.engine.core.registry.all().find(|command| command.full_name == name);
        let changed = both.check(command.expect("a command"), &words);
        assert_eq!(changed, [stored], "{line}");
    }
}
