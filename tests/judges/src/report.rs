//! Compares two servers' outcomes by test name and writes the Markdown that is committed. Pure but for the exceptions' file.

use crate::outcome::{Outcome, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Unit and test name → why it need not pass here.
pub type Exceptions = BTreeMap<(String, String), String>;

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

/// Reads lines `unit | test name | reason`; blank lines and `#` are passed over.
pub fn exceptions(text: &str) -> Result<Exceptions, String> {
    let mut found = Exceptions::new();
    for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        let parts: Vec<&str> = line.splitn(3, " | ").map(str::trim).collect();
        let [unit, name, reason] = parts[..] else { return Err(format!("not `unit | test | reason`: {line}")) };
        found.insert((unit.to_owned(), name.to_owned()), reason.to_owned());
    }
    Ok(found)
}

/// What is neither passed nor excused.
#[must_use]
pub fn unexcused<'a>(pairs: &'a [Pair], exceptions: &Exceptions) -> Vec<(&'a str, &'a str)> {
    let all = pairs.iter().flat_map(|pair| pair.missing().into_iter().map(|name| (pair.unit.as_str(), name)));
    all.filter(|(unit, name)| !exceptions.contains_key(&((*unit).to_owned(), (*name).to_owned()))).collect()
}

/// The table of units and the names that are missing.
#[must_use]
pub fn markdown(pairs: &[Pair], exceptions: &Exceptions) -> String {
    let mut out =
        String::from("| unit | redis-server passes | of these pass here | ended early |\n|---|---|---|---|\n");
    let (mut all, mut here) = (0, 0);
    for pair in pairs {
        let passed = pair.redis.count(Verdict::Passed);
        let ours = passed - pair.missing().len();
        (all, here) = (all + passed, here + ours);
        let broken = pair.keystead.broken.as_deref().unwrap_or("");
        let _ = writeln!(out, "| {} | {passed} | {ours} | {} |", pair.unit, broken.replace('|', "/"));
    }
    let _ = writeln!(out, "| **all** | **{all}** | **{here}** | |\n\n## Pass on redis-server, not here\n");
    for pair in pairs.iter().filter(|pair| !pair.missing().is_empty()) {
        let _ = writeln!(out, "### {}\n", pair.unit);
        for name in pair.missing() {
            let excuse = exceptions.get(&(pair.unit.clone(), name.to_owned()));
            let _ = writeln!(out, "- {name}{}", excuse.map(|e| format!(": {e}")).unwrap_or_default());
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
        let none = exceptions("# nothing\n").expect("readable");
        assert_eq!(unexcused(&pairs, &none), [("unit/x", "b")]);
        let some = exceptions("unit/x | b | reads the C heap\n").expect("readable");
        assert!(unexcused(&pairs, &some).is_empty());
        assert!(markdown(&pairs, &some).contains("| **all** | **2** | **1** |"));
        assert!(exceptions("unit/x b").is_err());
    }
}
