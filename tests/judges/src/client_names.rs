//! What a client library's tests print, as names and verdicts.

use crate::clients::Library;
use std::collections::BTreeMap;

/// Test name → passed.
pub type Verdicts = BTreeMap<String, bool>;

/// Reads a run's output. A name that comes twice passed only if it passed each time.
pub fn names(library: Library, output: &str) -> Verdicts {
    let mut found = Verdicts::new();
    for (name, passed) in output.lines().filter_map(|line| verdict(library, line)) {
        found.entry(name).and_modify(|before| *before &= passed).or_insert(passed);
    }
    found
}

fn verdict(library: Library, line: &str) -> Option<(String, bool)> {
    match library {
        // PASSED tests/test_x.py::TestY::test_z
        // FAILED tests/test_x.py::TestY::test_z - why
        Library::RedisPy => {
            let (word, rest) = line.split_once(' ')?;
            let passed = match word {
                "PASSED" | "XPASS" => true,
                "FAILED" | "ERROR" => false,
                _ => return None,
            };
            let name = rest.split(" - ").next()?.trim();
            name.starts_with("tests/").then(|| (name.to_owned(), passed))
        }
        // test_add (walrus.tests.autocomplete.TestAutocomplete.test_add) ... ok
        Library::Walrus => {
            let (head, result) = line.rsplit_once(" ... ")?;
            let name = head.split_once('(')?.1.split_once(')')?.0;
            Some((name.to_owned(), result == "ok"))
        }
        // test RESP2 test_basic::test_get ... ok
        Library::RedisRs => {
            let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
            let name = name.trim_end_matches(" - should panic");
            (!result.starts_with("ignored")).then(|| (name.to_owned(), result == "ok"))
        }
        // #01 Format command without interpolation: PASSED
        Library::Hiredis => {
            let (_, rest) = line.split_once('#')?;
            let (number, rest) = rest.split_once(' ')?;
            number.parse::<u32>().ok()?;
            let (name, _) = rest.rsplit_once(": ")?;
            // The same names come for TCP and for the unix socket.
            Some((format!("#{number} {name}"), rest.contains("PASSED")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_each_are_read() {
        let cases = [
            (
                Library::RedisPy,
                "PASSED tests/test_a.py::T::test_b[x 1]",
                Some(("tests/test_a.py::T::test_b[x 1]", true)),
            ),
            (
                Library::RedisPy,
                "FAILED tests/test_a.py::test_b - AssertionError: x",
                Some(("tests/test_a.py::test_b", false)),
            ),
            (Library::RedisPy, "SKIPPED [1] tests/test_a.py:3: why", None),
            (Library::Walrus, "test_add (walrus.tests.a.T.test_add) ... ok", Some(("walrus.tests.a.T.test_add", true))),
            (
                Library::Walrus,
                "test_add (walrus.tests.a.T.test_add) ... FAIL",
                Some(("walrus.tests.a.T.test_add", false)),
            ),
            (
                Library::Hiredis,
                "#02 Format command with %s: \u{1b}[0;32mPASSED\u{1b}[0;0m",
                Some(("#02 Format command with %s", true)),
            ),
            (
                Library::RedisRs,
                "test RESP2 test_basic::basic::test_a ... ok",
                Some(("RESP2 test_basic::basic::test_a", true)),
            ),
            (Library::RedisRs, "test RESP3 test_b::c - should panic ... FAILED", Some(("RESP3 test_b::c", false))),
            (Library::RedisRs, "test RESP3 test_b::c ... ignored, why", None),
        ];
        for (library, line, expected) in cases {
            let expected = expected.map(|(name, passed)| (name.to_owned(), passed));
            assert_eq!(verdict(library, line), expected, "{line}");
        }
    }
}
