//! Sparse registers: runs of equal ones. Owns the three kinds of runs and the splitting and joining of them, exactly as
//! Redis does it, so that the same commands give the same bytes.
//!
//! ```text
//! 00llllll            1 to 64 registers of 0
//! 01llllll llllllll   1 to 16384 registers of 0
//! 1vvvvvll            1 to 4 registers of 1 to 32
//! ```

use std::fmt;

use super::{Bad, HEADER};

/// The longest run of zeros in one byte.
const SHORT_ZEROS: usize = 64;
/// The longest run of a value.
const VALUES: usize = 4;
/// The greatest value a run can have.
const GREATEST: u8 = 32;
/// Runs looked at for joining after a change.
const JOINED: usize = 5;

/// Equal registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) value: u8,
    pub(super) len: usize,
    /// Bytes it takes.
    size: usize,
}

impl Run {
    fn read(bytes: &[u8]) -> Result<Run, Bad> {
        let first = *bytes.first().ok_or(Bad::Corrupt)?;
        Ok(match first >> 6 {
            0 => Run { value: 0, len: usize::from(first & 63) + 1, size: 1 },
            1 => {
                let second = *bytes.get(1).ok_or(Bad::Corrupt)?;
                Run { value: 0, len: (usize::from(first & 63) << 8 | usize::from(second)) + 1, size: 2 }
            }
            _ => Run { value: (first >> 2 & 31) + 1, len: usize::from(first & 3) + 1, size: 1 },
        })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.size) {
            (0, 1) => write!(f, "z:{}", self.len),
            (0, _) => write!(f, "Z:{}", self.len),
            (value, _) => write!(f, "v:{value},{}", self.len),
        }
    }
}

/// All runs, up to the first that is cut short.
pub(super) fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Result<Run, Bad>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let run = Run::read(bytes);
        bytes = run.map_or(&[], |run| &bytes[run.size..]);
        Some(run)
    })
}

/// Appends a run of zeros.
pub(super) fn put_zeros(out: &mut Vec<u8>, len: usize) {
    if len > SHORT_ZEROS {
        out.extend([0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]);
    } else {
        out.push((len - 1) as u8);
    }
}

fn value_run(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

fn put(out: &mut Vec<u8>, value: u8, len: usize) {
    match (value, len) {
        (_, 0) => {}
        (0, len) => put_zeros(out, len),
        (value, len) => out.push(value_run(value, len)),
    }
}

/// What became of a register.
pub(super) enum Raised {
    /// It was as high already.
    No,
    /// It is what it should be.
    Yes,
    /// It would not fit: the value must become dense.
    TooBig,
}

/// The run that a register is in.
struct Found {
    run: Run,
    /// Where it begins, and where the one before does.
    at: usize,
    before: Option<usize>,
    /// Its first register.
    first: usize,
}

fn find(bytes: &[u8], register: usize) -> Result<Found, Bad> {
    let (mut at, mut first, mut before) = (HEADER, 0, None);
    loop {
        let run = Run::read(&bytes[at..])?;
        if register < first + run.len {
            return Ok(Found { run, at, before, first });
        }
        before = Some(at);
        at += run.size;
        first += run.len;
    }
}

/// A register of a whole value, header included.
pub(super) fn get(bytes: &[u8], register: usize) -> Result<u8, Bad> {
    Ok(find(bytes, register)?.run.value)
}

/// Raises a register of a whole value, header included.
pub(super) fn raise(bytes: &mut Vec<u8>, register: usize, count: u8, max_bytes: usize) -> Result<Raised, Bad> {
    if count > GREATEST {
        return Ok(Raised::TooBig);
    }
    let Found { run, at, first, before } = find(bytes, register)?;
    if run.value >= count {
        return Ok(Raised::No);
    }
    let mut new = Vec::with_capacity(5);
    put(&mut new, run.value, register - first);
    put(&mut new, count, 1);
    put(&mut new, run.value, first + run.len - 1 - register);
    if new.len() > run.size && bytes.len() + new.len() - run.size > max_bytes {
        return Ok(Raised::TooBig);
    }
    bytes.splice(at..at + run.size, new);
    join(bytes, before.unwrap_or(HEADER));
    Ok(Raised::Yes)
}

/// Joins neighbours of equal value, in the few runs from `at` on that a change can have touched. A last one that is cut short
/// is left to those who read so far.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED {
        let Some(Ok(run)) = bytes.get(at..).map(Run::read) else { break };
        let next = Run::read(&bytes[at + run.size..]).ok();
        if let Some(next) = next
            && run.value > 0
            && next.value == run.value
            && run.len + next.len <= VALUES
        {
            bytes[at + 1] = value_run(run.value, run.len + next.len);
            bytes.remove(at);
            continue;
        }
        at += run.size;
    }
}
