//! The suite's output as names and verdicts. Pure.

use std::collections::BTreeMap;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// `[ok]`
    Passed,
    /// `[skip]` or `[ignore]`: not run in this mode.
    Skipped,
    /// `[err]`, with the reason beside it.
    Failed,
}

/// What one unit gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Test name → verdict. A name that ran more than once counts with its worst verdict.
    pub tests: BTreeMap<String, Verdict>,
    /// Test name → what the suite said about a failure.
    pub reasons: BTreeMap<String, String>,
    /// Why the unit ended before its last test, if it did.
    pub broken: Option<String>,
}

impl Outcome {
    /// Reads the output of `runtest`.
    #[must_use]
    pub fn parse(output: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let text = without_colours(output);
        for line in text.lines() {
            let Some((verdict, rest)) = line.strip_prefix('[').and_then(|l| l.split_once("]: ")) else { continue };
            match verdict {
                "ok" => outcome.note(without_time(rest), Verdict::Passed),
                "skip" | "ignore" => outcome.note(rest, Verdict::Skipped),
                "err" => outcome.fail(rest),
                "exception" => outcome.broken = Some(rest.to_owned()),
                _ => {}
            }
        }
        if outcome.broken.is_none() && !text.contains("The End") {
            let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
            outcome.broken = Some(format!("no end; last line: {last}"));
        }
        outcome
    }

    /// Reads the output of `runtest-sentinel`: `12:00:01> name: OK`, or the failure's words on the next lines.
    #[must_use]
    pub fn parse_sentinel(output: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let text = without_colours(output);
        let mut open: Option<String> = None;
        for line in text.lines() {
            let test = line.split_once("> ").filter(|(time, _)| is_time(time)).map(|(_, rest)| rest);
            if let Some(rest) = test {
                let (name, said) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
                open = outcome.take_verdict(&without_ports(name), said);
            } else if let Some(name) = open.take() {
                open = outcome.take_verdict(&name, line);
            }
        }
        if let Some(name) = open {
            outcome.note(&name, Verdict::Failed);
        }
        if !text.contains("GOOD!") && !text.contains("WARNING") {
            let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
            outcome.broken = Some(format!("no end; last line: {last}"));
        }
        outcome
    }

    /// How many tests ended so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.tests.values().filter(|v| **v == verdict).count()
    }

    /// What the sentinel suite said behind a test's name; the name again if the verdict is still to come.
    fn take_verdict(&mut self, name: &str, said: &str) -> Option<String> {
        let said = said.trim();
        if said == "OK" || said.ends_with(" OK") {
            self.note(name, Verdict::Passed);
        } else if said.contains("FAILED") || said.contains("assertion") {
            self.note(name, Verdict::Failed);
            self.reasons.insert(name.to_owned(), said.to_owned());
        } else {
            return Some(name.to_owned());
        }
        None
    }

    fn note(&mut self, name: &str, verdict: Verdict) {
        let known = self.tests.entry(steady(name)).or_insert(verdict);
        *known = (*known).max(verdict);
    }

    /// `name in tests/unit/x.tcl` and then the reason on further lines, of which the first is on the same line or the next.
    fn fail(&mut self, rest: &str) {
        let (name, reason) = match rest.split_once(" in tests/") {
            Some((name, place)) => (name, place),
            None => (rest, ""),
        };
        self.note(name, Verdict::Failed);
        self.reasons.insert(steady(name), reason.to_owned());
    }
}

/// A name without the numbers that are others in each run: the layouts of PSYNC2's tests are drawn by lot.
fn steady(name: &str) -> String {
    let Some(rest) = name.strip_prefix("PSYNC2: ") else { return name.to_owned() };
    let mut out = "PSYNC2: ".to_owned();
    for c in rest.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('N') => {}
            true => out.push('N'),
            false => out.push(c),
        }
    }
    out
}

/// Which node is the new primary, and where it listens, differs from run to run.
fn without_ports(name: &str) -> String {
    let word = |word: &str| match word.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => format!("{host}:N"),
        _ => word.to_owned(),
    };
    name.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// `12:00:01`
fn is_time(text: &str) -> bool {
    text.len() == 8 && text.bytes().enumerate().all(|(n, b)| if n % 3 == 2 { b == b':' } else { b.is_ascii_digit() })
}

/// `name (12 ms)` without the time.
fn without_time(text: &str) -> &str {
    match text.rsplit_once(" (") {
        Some((name, time)) if time.ends_with(" ms)") => name,
        _ => text,
    }
}

fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 2..];
        rest = behind.find('m').map_or("", |end| &behind[end + 1..]);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinel_suite_s_lines() {
        let text = "Testing unit: 00-base.tcl\n12:00:01> (init) Restart killed instances: redis/3 OK\n\
                    12:00:02> New master 127.0.0.1:30002 role matches: OK\n\
                    12:00:03> Sanity: FAILED: Expected '72'\n(Jumping to next unit after error)\nWARNING 1 test(s) failed.\n";
        let outcome = Outcome::parse_sentinel(text);
        assert_eq!(outcome.tests["(init) Restart killed instances"], Verdict::Passed);
        assert_eq!(outcome.tests["New master 127.0.0.1:N role matches"], Verdict::Passed);
        assert_eq!(outcome.tests["Sanity"], Verdict::Failed);
        assert_eq!((outcome.tests.len(), outcome.broken), (3, None));
        assert!(Outcome::parse_sentinel("12:00:01> a: OK\n").broken.is_some());
    }

    #[test]
    fn names_verdicts_and_an_early_end() {
        let text = "[\u{1b}[0;32mok\u{1b}[0m]: SET and GET (1 ms)\n[err]: INCR (x) in tests/unit/type/incr.tcl\nExpected\n\
                    [ok]: INCR (x) (0 ms)\n[ignore]: big: large_memory flag not provided\nThe End\n";
        let outcome = Outcome::parse(text);
        assert_eq!(outcome.tests["SET and GET"], Verdict::Passed);
        assert_eq!(outcome.tests["INCR (x)"], Verdict::Failed, "the worst verdict of a name counts");
        assert_eq!(outcome.count(Verdict::Skipped), 1);
        assert_eq!(outcome.broken, None);
        let random = Outcome::parse("[ok]: PSYNC2: Set #2 to replicate from #13 (1 ms)\nThe End\n");
        assert!(random.tests.contains_key("PSYNC2: Set #N to replicate from #N"), "{random:?}");
        let cut = Outcome::parse("[ok]: a (0 ms)\n[exception]: I/O error reading reply\n");
        assert_eq!(cut.broken.as_deref(), Some("I/O error reading reply"));
        assert!(Outcome::parse("[ok]: a (0 ms)\n").broken.is_some(), "silence is no end");
    }
}
