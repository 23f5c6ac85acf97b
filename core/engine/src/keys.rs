//! Which of a command's arguments are keys: the one extractor behind COMMAND GETKEYS, ACL and execution. Pure.

use keystead_resp::number;

use crate::args::Args;
use crate::registry::Command;
use crate::spec::{CHANGES, KeySpec, READONLY, READS, Use, Uses};

/// The keys of a command as they were sent: where each stands among the arguments, and how it is used.
#[must_use]
pub fn found(command: &Command, args: Args<'_>) -> Vec<(usize, Use)> {
    let positions = positions(&command.keys, args);
    positions.into_iter().enumerate().map(|(nth, at)| (at, use_of(command, args, nth))).collect()
}

/// How a command uses the key that its specification finds as number `nth`.
#[must_use]
pub fn use_of(command: &Command, args: Args<'_>, nth: usize) -> Use {
    match command.uses {
        Uses::Usual if command.flags.has(READONLY) => READS,
        Uses::Usual => CHANGES,
        Uses::Listed(uses) => uses.get(nth).or(uses.last()).copied().unwrap_or(CHANGES),
        Uses::Decided(decide) => decide(args),
    }
}

/// The positions of the keys among `args` (name first). A position past the arguments never appears; a count that is no
/// number, or larger than what follows, yields the keys that are there.
#[must_use]
pub fn positions(spec: &KeySpec, args: Args<'_>) -> Vec<usize> {
    match *spec {
        KeySpec::None => Vec::new(),
        KeySpec::Range { first, last, step } => range(first, last, step, args.len()),
        KeySpec::Counted { count, dest } => counted(count, dest, args),
        KeySpec::Foreign(keys) => (keys.0)(args).into_iter().filter(|at| *at < args.len()).collect(),
        KeySpec::Custom(find) => find(args).into_iter().filter(|at| *at < args.len()).collect(),
    }
}

/// Whether a command's count of keys fits what follows it. A command where it doesn't is an error, whatever keys are there.
#[must_use]
pub fn count_fits(spec: &KeySpec, args: Args<'_>) -> bool {
    let KeySpec::Counted { count, .. } = *spec else { return true };
    let Ok(at) = usize::try_from(count) else { return false };
    let room = args.len().saturating_sub(at + 1);
    let keys = args.get(at).and_then(number::parse_i64).and_then(|n| usize::try_from(n).ok());
    keys.is_some_and(|keys| (1..=room).contains(&keys))
}

fn range(first: i32, last: i32, step: i32, len: usize) -> Vec<usize> {
    let (Ok(first), Ok(step)) = (usize::try_from(first), usize::try_from(step)) else { return Vec::new() };
    let last = match usize::try_from(last) {
        Ok(last) => last.min(len.saturating_sub(1)),
        Err(_) => match len.checked_sub(usize::try_from(last.unsigned_abs()).unwrap_or(usize::MAX)) {
            Some(last) => last,
            None => return Vec::new(),
        },
    };
    if first == 0 || step == 0 { Vec::new() } else { (first..=last).step_by(step).collect() }
}

fn counted(count: i32, dest: i32, args: Args<'_>) -> Vec<usize> {
    let mut found = Vec::new();
    if let Some(at) = usize::try_from(dest).ok().filter(|at| *at > 0 && *at < args.len()) {
        found.push(at);
    }
    let Ok(at) = usize::try_from(count) else { return found };
    let keys = args.get(at).and_then(number::parse_i64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let first = at + 1;
    found.extend(first..first.saturating_add(keys).min(args.len()).max(first));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_resp::OwnedArgs;

    fn found(spec: KeySpec, words: &str) -> Vec<usize> {
        let mut args = OwnedArgs::new();
        words.split(' ').for_each(|word| args.push(word.as_bytes()));
        positions(&spec, args.view())
    }

    #[test]
    fn every_kind_of_specification() {
        assert_eq!(found(KeySpec::None, "PING"), []);
        assert_eq!(found(KeySpec::FIRST, "GET a"), [1]);
        assert_eq!(found(KeySpec::ALL, "DEL a b c"), [1, 2, 3]);
        assert_eq!(found(KeySpec::PAIRS, "MSET a 1 b 2"), [1, 3]);
        assert_eq!(found(KeySpec::Range { first: 1, last: -2, step: 1 }, "BLPOP a b 0"), [1, 2]);
        assert_eq!(found(KeySpec::Counted { count: 2, dest: 1 }, "ZUNIONSTORE d 2 a b WEIGHTS 1 2"), [1, 3, 4]);
        assert_eq!(found(KeySpec::Counted { count: 1, dest: 0 }, "ZUNION 2 a b"), [2, 3]);
    }

    #[test]
    fn counts_that_lie_yield_only_what_is_there() {
        assert_eq!(found(KeySpec::Counted { count: 1, dest: 0 }, "ZUNION 9223372036854775807 a"), [2]);
        assert_eq!(found(KeySpec::Counted { count: 1, dest: 0 }, "ZUNION -1 a"), []);
        assert_eq!(found(KeySpec::Counted { count: 1, dest: 0 }, "ZUNION x a"), []);
        assert_eq!(found(KeySpec::Range { first: 1, last: -2, step: 1 }, "BLPOP"), []);
    }
}
