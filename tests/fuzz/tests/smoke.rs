//! Every fuzzer for a second, from its whole corpus on; `tests/run nightly` runs them for longer.

use keystead_fuzz::memory::Counting;
use keystead_fuzz::targets::TARGETS;
use keystead_fuzz::{corpus_folder, run};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_that_others_wrote_breaks_us() {
    let day = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 86_400;
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(day);
    for target in TARGETS {
        let corpus = run::corpus(&corpus_folder(target.name)).expect("a corpus");
        println!("{}: FUZZ_SEED={seed}", target.name);
        let count = run::run(target, &corpus, seed, 0, Duration::from_secs(1)).unwrap_or_else(|failure| {
            panic!("{} case {}: {}\n{}", target.name, failure.case, failure.why, failure.input.escape_ascii())
        });
        assert!(count > corpus.len() as u64, "{}: only {count} cases in a second", target.name);
    }
}

/// What the fuzzers call a failure is one: a case that takes memory on credit.
#[test]
fn memory_is_counted() {
    let greedy = keystead_fuzz::targets::Target {
        name: "greedy",
        words: &[],
        run: |_| {
            std::hint::black_box(Vec::<u8>::with_capacity(100 << 20));
            Ok(())
        },
    };
    let why = run::attempt(&greedy, b"x").expect_err("100 MB for a byte");
    assert!(why.starts_with("held 10"), "{why}");
}
