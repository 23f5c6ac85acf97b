//! Keyspace events: every random command must make the same events in the same order on both sides.

use super::families::{self, Family};
use super::peers::{Ours, Redis};
use super::random::Rng;
use super::{seeds, show, steps, streams};

/// `__keyevent@0__:set k1` and the like, a line each.
fn lines(heard: &[u8]) -> String {
    let text = String::from_utf8_lossy(heard).into_owned();
    let words: Vec<&str> = text.split("\r\n").collect();
    // *4 $8 pmessage $n pattern $n channel $n message
    words.chunks_exact(9).map(|part| format!("{} {}\n", part[6], part[8])).collect()
}

fn sorted(lines: &str) -> String {
    let mut all: Vec<&str> = lines.split_inclusive('\n').collect();
    all.sort_unstable();
    all.concat()
}

/// The events of several commands; which expired key was met first is left open.
pub fn of_units(heard: &[u8]) -> String {
    sorted(&lines(heard))
}

pub fn compare(families: &[&Family]) {
    let mut redis = Redis::start();
    let mut stock = redis.listener();
    for (family, seed) in families.iter().flat_map(|family| seeds().into_iter().map(move |seed| (family, seed))) {
        println!("events of family {} seed {seed}", family.name);
        let mut ours = Ours::start();
        redis.reset(false);
        ours.reset(false);
        let listener = ours.listener();
        let mut rng = Rng::new(seed);
        let prologue = families::prologue();
        for argv in prologue.iter() {
            redis.run(argv);
            ours.run(argv);
        }
        stock.heard();
        ours.heard(listener);
        for step in 0..steps() {
            let argv = family.command(&mut rng);
            let (their_reply, my_reply) = (redis.run(&argv), ours.run(&argv));
            let (theirs, mine) = (stock.heard().concat(), ours.heard(listener));
            for argv in streams::beside(&argv) {
                redis.run(&argv);
                ours.run(&argv);
            }
            stock.heard();
            ours.heard(listener);
            let both_refuse = their_reply.starts_with(b"-") == my_reply.starts_with(b"-");
            // SORT meets the elements of a set in whatever order.
            let (mut theirs, mut mine) = (lines(&theirs), lines(&mine));
            if argv[0].starts_with(b"SORT") {
                (theirs, mine) = (sorted(&theirs), sorted(&mine));
            }
            assert!(
                theirs == mine || !both_refuse,
                "family {} seed {seed} step {step}: {}\n redis:\n{}\n ours:\n{}",
                family.name,
                show(&argv),
                theirs,
                mine
            );
        }
    }
}
