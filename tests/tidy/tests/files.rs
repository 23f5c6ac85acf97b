//! Every source file says at its top what it is, stays readable in length, and leaves no unfinished marks.

use std::{fs, path::Path, path::PathBuf};

/// Longest file a reader can hold; a longer one needs a line in `LONG` with its reason.
const MAX_LINES: usize = 800;
/// Files that are allowed to be longer, and why.
const LONG: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the repository is readable") {
        let path = entry.expect("the repository is readable").path();
        let name = path.file_name().expect("the repository is readable").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn each_source(mut check: impl FnMut(&str, &str)) {
    let root = root();
    let mut files = Vec::new();
    for top in ["core", "plugins", "tests"] {
        sources(&root.join(top), &mut files);
    }
    for file in files {
        let name = file.strip_prefix(&root).expect("the repository is readable").to_string_lossy().into_owned();
        check(&name, &fs::read_to_string(&file).expect("the repository is readable"));
    }
}

#[test]
fn every_file_begins_with_what_it_is() {
    let mut bare = Vec::new();
    each_source(|name, text| {
        if !text.starts_with("//!") && !text.starts_with("#!") {
            bare.push(name.to_owned());
        }
    });
    assert!(bare.is_empty(), "no //! head: {bare:#?}");
}

#[test]
fn files_stay_short_enough_to_read() {
    let mut long = Vec::new();
    each_source(|name, text| {
        let lines = text.lines().count();
        if lines > MAX_LINES && !LONG.iter().any(|(n, _)| *n == name) {
            long.push(format!("{name}: {lines}"));
        }
    });
    assert!(long.is_empty(), "longer than {MAX_LINES} lines: {long:#?}");
}

#[test]
fn no_unfinished_marks() {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("X", "XX ")];
    let mut found = Vec::new();
    each_source(|name, text| {
        found.extend(marks.iter().filter(|m| text.contains(**m)).map(|m| format!("{name}: {m}")));
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn libraries_never_print() {
    let mut found = Vec::new();
    each_source(|name, text| {
        let library = (name.starts_with("core/") && !name.starts_with("core/server/")) || name.starts_with("plugins/");
        let prints = ["println!(", "eprintln!(", "dbg!("];
        if library && !name.ends_with("build.rs") && !name.contains("/tests/") && !name.contains("/examples/") {
            for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
                found.extend(prints.iter().filter(|p| line.contains(**p)).map(|p| format!("{name}: {p}")));
            }
        }
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn rooms_have_a_door_plate() {
    let root = root();
    let mut bare = Vec::new();
    for top in ["core", "plugins", "tests"] {
        for entry in fs::read_dir(root.join(top)).expect("the repository is readable") {
            let path = entry.expect("the repository is readable").path();
            if path.is_dir() && !path.join("README.md").exists() {
                bare.push(path.strip_prefix(&root).expect("the repository is readable").display().to_string());
            }
        }
    }
    assert!(bare.is_empty(), "no README.md: {bare:#?}");
}

#[test]
fn the_top_level_is_as_agreed() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "core",
        "plugins",
        "configs",
        "tests",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "deny.toml",
        "clippy.toml",
        "rustfmt.toml",
        "target",
    ];
    for entry in fs::read_dir(root()).expect("the repository is readable") {
        let name = entry.expect("the repository is readable").file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "unexpected at the top: {name}");
    }
}
