//! The same random commands to a stock redis-server and to our engine: replies must be equal to the byte, and so must
//! the data afterwards. Seeds are printed; `DIFF_SEED=n` repeats one, `DIFF_STEPS=n`
//! makes it longer, `DIFF_SEEDS=3-7` takes more of them (`tests/run judges random`).
//!
//! Known and intended differences are listed in `compare.rs`: the order of unordered replies, clocks, and what Redis
//! changed between 7.0 (the server we compare with) and 7.2 (what we follow).

#![allow(clippy::unwrap_used)]

mod compare;
mod events;
mod families;
mod mixed;
mod peers;
mod random;
mod streams;
mod table;

use families::Family;
use random::Rng;

fn steps() -> usize {
    std::env::var("DIFF_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(2500)
}

/// `DIFF_SEED=n` is one seed, `DIFF_SEEDS=n-m` are all from n to m.
fn seeds() -> Vec<u64> {
    let range = std::env::var("DIFF_SEEDS").ok();
    let range = range.as_ref().and_then(|text| text.split_once('-'));
    match (std::env::var("DIFF_SEED").ok().and_then(|n| n.parse().ok()), range) {
        (Some(seed), _) => vec![seed],
        (None, Some((from, to))) => {
            (from.parse().expect("DIFF_SEEDS: a number")..=to.parse().expect("DIFF_SEEDS: a number")).collect()
        }
        (None, None) => (1..=2).collect(),
    }
}

fn show(argv: &[Vec<u8>]) -> String {
    argv.iter().map(|a| String::from_utf8_lossy(a).escape_debug().to_string()).collect::<Vec<_>>().join(" ")
}

fn run(family: &Family) {
    if !keystead_harness::have("redis-server") {
        println!("SKIPPED: no redis-server");
        return;
    }
    let mut redis = peers::Redis::start();
    for seed in seeds() {
        for resp3 in [false, true] {
            println!("family {} seed {seed} resp3 {resp3}", family.name);
            let mut ours = peers::Ours::start();
            redis.reset(resp3);
            ours.reset(resp3);
            let mut rng = Rng::new(seed);
            let mut history = Vec::new();
            for argv in families::prologue() {
                redis.run(&argv);
                ours.run(&argv);
            }
            for step in 0..steps() {
                let argv = family.command(&mut rng);
                let (theirs, mine) = (redis.run(&argv), ours.run(&argv));
                if std::env::var_os("DIFF_TRACE").is_some() {
                    println!("{step} {} -> {}", show(&argv), String::from_utf8_lossy(&theirs).escape_debug());
                }
                for argv in streams::beside(&argv) {
                    redis.run(&argv);
                    ours.run(&argv);
                }
                history.push(show(&argv));
                if !compare::same(&argv, &theirs, &mine) {
                    let tail = history[history.len().saturating_sub(30)..].join("\n  ");
                    panic!(
                        "family {} seed {seed} resp3 {resp3} step {step}: {}: {}\nhistory:\n  {tail}",
                        family.name,
                        show(&argv),
                        compare::parting(&theirs, &mine),
                    );
                }
                if step % 200 == 199 || step + 1 == steps() {
                    compare::states(&mut redis, &mut ours, &format!("{} seed {seed} step {step}", family.name));
                }
            }
            println!("COMPARED family {} seed {seed} resp3 {resp3} commands {}", family.name, steps());
        }
    }
}

#[test]
fn strings() {
    run(&families::STRINGS);
}

#[test]
fn bits() {
    run(&families::BITS);
}

#[test]
fn keys() {
    run(&families::KEYS);
}

#[test]
fn lists() {
    run(&families::LISTS);
}

#[test]
fn hashes() {
    run(&families::HASHES);
}

#[test]
fn sets() {
    run(&families::SETS);
}

#[test]
fn zsets() {
    run(&families::ZSETS);
}

#[test]
fn hyperloglog() {
    run(&families::HYPERLOGLOG);
}

#[test]
fn geo() {
    run(&families::GEO);
}

#[test]
fn zsets_with_many_members() {
    run(&families::BIG_ZSETS);
}

#[test]
fn lists_with_many_elements() {
    run(&families::BIG_LISTS);
}

#[test]
fn hashes_and_sets_with_many_elements() {
    run(&families::BIG_MAPS);
}

#[test]
fn keyspace_events() {
    if keystead_harness::have("redis-server") {
        use families::*;
        events::compare(&[
            &STRINGS,
            &BITS,
            &KEYS,
            &LISTS,
            &HASHES,
            &SETS,
            &ZSETS,
            &HYPERLOGLOG,
            &GEO,
            &streams::STREAMS,
        ]);
    } else {
        println!("SKIPPED: no redis-server");
    }
}

#[test]
fn all_types_under_the_same_keys() {
    if keystead_harness::have("redis-server") {
        mixed::run();
    } else {
        println!("SKIPPED: no redis-server");
    }
}

#[test]
fn streams() {
    run(&streams::STREAMS);
}

#[test]
fn streams_with_many_entries() {
    run(&streams::BIG_STREAMS);
}

#[test]
fn command_info() {
    if keystead_harness::have("redis-server") {
        table::compare();
    } else {
        println!("SKIPPED: no redis-server");
    }
}
