//! Running a target over cases, and what counts as a failure of one.

use crate::memory;
use crate::mutate::{Rng, case};
use crate::targets::Target;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// A case that takes longer is a failure: a hundred times what the slowest honest one takes in a debug build.
const SLOW: Duration = Duration::from_secs(5);
/// A case may hold so much for every byte of input, and a little.
const MEMORY_FACTOR: usize = 1024;
const MEMORY_FREE: usize = 32 << 20;

/// A case that failed.
#[derive(Debug)]
pub struct Failure {
    /// Its number.
    pub case: u64,
    /// The input.
    pub input: Vec<u8>,
    /// What went wrong.
    pub why: String,
}

/// The corpus in order of its files' names.
pub fn corpus(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut files: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(fs::read).collect::<io::Result<_>>()?;
    if corpus.is_empty() {
        return Err(io::Error::other(format!("{}: no corpus", folder.display())));
    }
    Ok(corpus)
}

/// The input of one case.
pub fn input(target: &Target, corpus: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    // The corpus itself comes first.
    match corpus.get(number as usize) {
        Some(entry) => entry.clone(),
        None => case(&mut Rng::new(seed, number), corpus, target.words),
    }
}

/// Tries one input. Where it takes too long it is tried again: this thread may have had to wait for a processor.
pub fn attempt(target: &Target, input: &[u8]) -> Result<(), String> {
    const TRIES: usize = 3;
    for _ in 1..TRIES {
        match try_once(target, input) {
            (result, took) if took <= SLOW || result.is_err() => return result,
            _ => {}
        }
    }
    match try_once(target, input) {
        (Ok(()), took) if took > SLOW => Err(format!("took {took:?}")),
        (result, _) => result,
    }
}

/// What came of it, and how long it took.
fn try_once(target: &Target, input: &[u8]) -> (Result<(), String>, Duration) {
    let (mark, start) = (memory::mark(), Instant::now());
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let (took, peak) = (start.elapsed(), memory::peak_since(mark));
    let result = match result {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
            Err(format!("panic: {}", text.unwrap_or("without words")))
        }
        Ok(Err(why)) => Err(why),
        Ok(Ok(())) if peak > MEMORY_FREE + MEMORY_FACTOR * input.len() => Err(format!("held {peak} bytes")),
        Ok(Ok(())) => Ok(()),
    };
    (result, took)
}

/// Runs cases from `first` on until the time is over or one fails; gives how many ran.
pub fn run(target: &Target, corpus: &[Vec<u8>], seed: u64, first: u64, time: Duration) -> Result<u64, Box<Failure>> {
    let (start, mut number) = (Instant::now(), first);
    while start.elapsed() < time {
        let input = input(target, corpus, seed, number);
        if let Err(why) = attempt(target, &input) {
            return Err(Box::new(Failure { case: number, input, why }));
        }
        number += 1;
    }
    Ok(number - first)
}
