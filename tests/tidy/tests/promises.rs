//! What the READMEs promise about failovers and replication names its tests, and these exist; decisions read no wall clock.

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

#[test]
fn each_row_of_the_table_of_failovers_names_tests_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the repository is readable");
    let (_, rest) = readme.split_once("## Better than stock Sentinel").expect("the table's heading");
    let section = rest.split("\n## ").next().unwrap_or_default();
    let mut sources = String::new();
    for top in ["core", "plugins", "tests"] {
        texts(&root().join(top), &mut sources);
    }
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 15, "the table is there: {}", rows.len());
    for row in rows {
        let tests = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let mut named = tests.split('`').skip(1).step_by(2).peekable();
        assert!(named.peek().is_some(), "no test: {row}");
        named.for_each(|test| assert!(sources.contains(&format!("fn {test}()")), "{test} isn't there: {row}"));
    }
}

/// The same of what Redis has of replication. There a test's name has no backticks, and the file's name has.
#[test]
fn the_table_of_replication_names_tests_that_exist() {
    let readme = fs::read_to_string(root().join("plugins/replication/README.md")).expect("the repository is readable");
    let mut sources = String::new();
    for top in ["core", "plugins", "tests"] {
        texts(&root().join(top), &mut sources);
    }
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

/// A wall clock that jumps must move no timer of a sentinel: its decisions get `now` from the monotonic one.
#[test]
fn sentinels_read_no_wall_clock() {
    let mut sources = String::new();
    texts(&root().join("plugins/sentinel/src"), &mut sources);
    for clock in ["SystemTime", "UNIX_EPOCH", "wall_clock", "unix_ms"] {
        assert!(!sources.contains(clock), "{clock} in plugins/sentinel");
    }
}
