//! What the READMEs promise about failovers, replication and known classes of vulnerability names its tests, and these exist;
//! decisions read no wall clock.

use std::{fs, path::Path, path::PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}

fn texts(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).expect("the repository is readable") {
        let path = entry.expect("the repository is readable").path();
        if path.is_dir() && !path.ends_with("target") {
            texts(&path, all);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("the repository is readable"));
        }
    }
}

/// All Rust sources in one text.
fn sources() -> String {
    let mut sources = String::new();
    for top in ["core", "plugins", "tests"] {
        texts(&root().join(top), &mut sources);
    }
    sources
}

/// The rows of the first table behind a heading.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(heading).expect("the table's heading");
    let section = rest.split("\n## ").next().unwrap_or_default();
    section.lines().filter(|line| line.starts_with("| ")).skip(1).collect()
}

/// What stands between backticks in a row's last column.
fn named(row: &str) -> Vec<&str> {
    let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).collect()
}

/// Each row names at least one test in its last column, and they exist.
fn rows_name_tests(rows: &[&str]) {
    let sources = sources();
    for row in rows {
        let named = named(row);
        assert!(!named.is_empty(), "no test: {row}");
        let there = |test: &&str| assert!(sources.contains(&format!("fn {test}()")), "{test} isn't there: {row}");
        named.iter().for_each(there);
    }
}

#[test]
fn each_row_of_the_table_of_failovers_names_tests_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the repository is readable");
    let rows = rows(&readme, "## Better than stock Sentinel");
    assert!(rows.len() >= 15, "the table is there: {}", rows.len());
    rows_name_tests(&rows);
}

#[test]
fn each_row_of_what_a_sentinel_does_names_tests_that_exist() {
    let path = root().join("plugins/sentinel/COVERAGE.md");
    let text = fs::read_to_string(path).expect("the repository is readable");
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
    for heading in headings {
        let rows = rows(&text, heading);
        assert!(rows.len() >= 12, "the table is there: {}", rows.len());
        rows_name_tests(&rows);
    }
}

/// The same of what Redis has of replication. There a test's name has no backticks, and the file's name has.
#[test]
fn the_table_of_replication_names_tests_that_exist() {
    let readme = fs::read_to_string(root().join("plugins/replication/README.md")).expect("the repository is readable");
    let sources = sources();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| R")).collect();
    assert!(rows.len() >= 30, "the table is there: {}", rows.len());
    for row in rows {
        let tests = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let plain = tests.split('`').step_by(2).flat_map(|text| text.split(|c: char| c != '_' && !c.is_alphanumeric()));
        for test in plain.filter(|word| word.contains('_')) {
            assert!(sources.contains(&format!("fn {test}()")), "{test} isn't there: {row}");
        }
    }
}

/// A file, from the root or as `room/file.rs` of the tests; a fuzz target; a test's name.
#[test]
fn each_class_of_vulnerability_names_tests_that_exist() {
    let readme = fs::read_to_string(root().join("tests/README.md")).expect("the repository is readable");
    let (rows, sources) = (rows(&readme, "## Which test holds which class"), sources());
    assert!(rows.len() >= 12, "the table is there: {}", rows.len());
    for row in rows {
        let named = named(row);
        assert!(!named.is_empty(), "no test: {row}");
        for name in named {
            let there = match (name.strip_prefix("fuzz "), name.split_once('/')) {
                (Some(target), _) => root().join(format!("tests/fuzz/src/targets/{target}.rs")).is_file(),
                (_, Some((room, file))) => {
                    root().join(name).is_file() || root().join(format!("tests/{room}/tests/{file}")).is_file()
                }
                _ => sources.contains(&format!("fn {name}()")),
            };
            assert!(there, "{name} isn't there: {row}");
        }
    }
}

/// A wall clock that jumps must move no timer of a sentinel: its decisions get `now` from the monotonic one.
#[test]
fn sentinels_read_no_wall_clock() {
    let mut sources = String::new();
    texts(&root().join("plugins/sentinel/src"), &mut sources);
    for clock in ["SystemTime", "UNIX_EPOCH", "wall_clock", "unix_ms"] {
        assert!(!sources.contains(clock), "{clock} in plugins/sentinel");
    }
}
