//! Compares two servers' outcomes by test name and writes the Markdown that is committed. Pure but for the exceptions' file.

use crate::outcome::{Outcome, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Why a test need not pass here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// A test of what 7.0 does and 7.2 doesn't: what 7.2 does, and where that is said. It doesn't count.
    Version {
        /// What 7.2 does.
        what: String,
        /// Where that is said.
        source: String,
    },
    /// Anything else: there must be few of these.
    Exception(String),
}

impl Excuse {
    /// In one line.
    fn text(&self) -> String {
        match self {
            Excuse::Version { what, source } => format!("version difference: {what} ({source})"),
            Excuse::Exception(why) => format!("exception: {why}"),
        }
    }
}

/// Unit and test name → why it need not pass here.
pub type Excuses = BTreeMap<(String, String), Excuse>;

/// One unit on both servers.
#[derive(Clone, Debug)]
pub struct Pair {
    /// `unit/type/string`
    pub unit: String,
    /// On redis-server.
    pub redis: Outcome,
    /// Here.
    pub keystead: Outcome,
}

impl Pair {
    /// Names that pass on redis-server and not here.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        let passed = self.redis.tests.iter().filter(|(_, v)| **v == Verdict::Passed);
        passed
            .map(|(name, _)| name.as_str())
            .filter(|n| self.keystead.tests.get(*n) != Some(&Verdict::Passed))
            .collect()
    }
}

/// Reads `exceptions.txt` (`unit | test name | reason`) and `version-differences.txt` (`unit | test name | what 7.2 does |
/// source`); blank lines and `#` are passed over.
pub fn excuses(exceptions: &str, versions: &str) -> Result<Excuses, String> {
    let mut found = Excuses::new();
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    };
    let mut add = |line: &str, unit: &str, name: &str, excuse: Excuse| match found
        .insert((unit.to_owned(), name.to_owned()), excuse)
    {
        None => Ok(()),
        Some(_) => Err(format!("excused twice: {line}")),
    };
    for line in lines(exceptions) {
        let parts: Vec<&str> = line.splitn(3, " | ").map(str::trim).collect();
        let [unit, name, why] = parts[..] else { return Err(format!("not `unit | test | reason`: {line}")) };
        add(&line, unit, name, Excuse::Exception(why.to_owned()))?;
    }
    for line in lines(versions) {
        let parts: Vec<&str> = line.splitn(4, " | ").map(str::trim).collect();
        let [unit, name, what, source] = parts[..] else {
            return Err(format!("not `unit | test | what 7.2 does | source`: {line}"));
        };
        add(&line, unit, name, Excuse::Version { what: what.to_owned(), source: source.to_owned() })?;
    }
    Ok(found)
}

/// How the names stand that pass on redis-server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Pass on redis-server.
    pub passed: usize,
    /// Of these, pass here.
    pub here: usize,
    /// Don't, because 7.2 is otherwise.
    pub versions: usize,
    /// Don't, and are excepted.
    pub exceptions: usize,
    /// Don't, and should.
    pub missing: usize,
}

impl Count {
    /// In one line.
    #[must_use]
    pub fn text(&self) -> String {
        let Count { passed, here, versions, exceptions, missing } = self;
        format!(
            "{here} of {passed} names pass here; {versions} are version differences, {exceptions} exceptions, {missing} missing"
        )
    }
}

/// Counts.
#[must_use]
pub fn count(pairs: &[Pair], excuses: &Excuses) -> Count {
    let mut count = Count::default();
    for pair in pairs {
        let missing = pair.missing();
        count.passed += pair.redis.count(Verdict::Passed);
        count.here += pair.redis.count(Verdict::Passed) - missing.len();
        for name in missing {
            match excuses.get(&(pair.unit.clone(), name.to_owned())) {
                Some(Excuse::Version { .. }) => count.versions += 1,
                Some(Excuse::Exception(_)) => count.exceptions += 1,
                None => count.missing += 1,
            }
        }
    }
    count
}

/// The table of units and the names that are missing.
#[must_use]
pub fn markdown(pairs: &[Pair], excuses: &Excuses) -> String {
    let mut out = count(pairs, excuses).text() + ".\n\n";
    out += "| unit | redis-server passes | of these pass here | ended early |\n|---|---|---|---|\n";
    let (mut all, mut here) = (0, 0);
    for pair in pairs {
        let passed = pair.redis.count(Verdict::Passed);
        let ours = passed - pair.missing().len();
        (all, here) = (all + passed, here + ours);
        let broken = pair.keystead.broken.as_deref().unwrap_or("").replace('|', "/");
        // With the same words there it is the suite's own doing.
        let there =
            if !broken.is_empty() && pair.redis.broken == pair.keystead.broken { ", on redis-server too" } else { "" };
        let _ = writeln!(out, "| {} | {passed} | {ours} | {broken}{there} |", pair.unit);
    }
    let _ = writeln!(out, "| **all** | **{all}** | **{here}** | |\n\n## Pass on redis-server, not here\n");
    for pair in pairs.iter().filter(|pair| !pair.missing().is_empty()) {
        let _ = writeln!(out, "### {}\n", pair.unit);
        for name in pair.missing() {
            let excuse = excuses.get(&(pair.unit.clone(), name.to_owned()));
            let _ = writeln!(out, "- {name}: {}", excuse.map_or("**missing**".to_owned(), Excuse::text));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_there_counts_and_exceptions_are_by_name() {
        let redis = Outcome::parse("[ok]: a (1 ms)\n[ok]: b (1 ms)\n[err]: c in tests/x\nThe End\n");
        let keystead = Outcome::parse("[ok]: a (1 ms)\n[err]: b in tests/x\n[err]: c in tests/x\nThe End\n");
        let pairs = [Pair { unit: "unit/x".into(), redis, keystead }];
        assert_eq!(pairs[0].missing(), ["b"]);
        let none = excuses("# nothing\n", "").expect("readable");
        assert_eq!(count(&pairs, &none), Count { passed: 2, here: 1, missing: 1, ..Count::default() });
        let excepted = excuses("unit/x | b | reads the C heap\n", "").expect("readable");
        assert_eq!(count(&pairs, &excepted).exceptions, 1);
        assert!(markdown(&pairs, &excepted).contains("| **all** | **2** | **1** |"));
        let version = excuses("", "unit/x | b | says so now | release notes\n").expect("readable");
        assert_eq!(count(&pairs, &version), Count { passed: 2, here: 1, versions: 1, ..Count::default() });
        assert!(markdown(&pairs, &version).contains("- b: version difference: says so now (release notes)"));
        assert!(excuses("unit/x b", "").is_err());
        assert!(excuses("", "unit/x | b | without a source").is_err());
        assert!(excuses("unit/x | b | one", "unit/x | b | two | notes").is_err(), "one or the other");
    }

    #[test]
    fn a_suite_that_ends_itself_is_told_from_one_that_ends_here() {
        let ended = Outcome::parse("[exception]: Executing test client: files are gone.\n");
        let whole = Outcome::parse("[ok]: a (1 ms)\nThe End\n");
        let table = |redis: &Outcome| {
            let pair = Pair { unit: "unit/x".into(), redis: redis.clone(), keystead: ended.clone() };
            markdown(&[pair], &Excuses::new())
        };
        assert!(table(&ended).contains("files are gone., on redis-server too |"), "{}", table(&ended));
        assert!(table(&whole).contains("files are gone. |"), "{}", table(&whole));
    }

    /// The lists as they are: readable, and no more exceptions in external mode than were agreed on.
    #[test]
    fn the_lists_of_this_repository() {
        let all = crate::lists().expect("readable");
        let external = |unit: &str| unit.starts_with("unit/");
        let exceptions = all.iter().filter(|((unit, _), e)| external(unit) && matches!(e, Excuse::Exception(_)));
        assert!(exceptions.count() <= 20);
    }
}
