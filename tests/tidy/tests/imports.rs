//! Who may import whom (ARCHITECTURE.md, "Rooms"). Reads the manifests; never builds anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}

/// Our package's name → folder and dependencies (all kinds but dev).
fn packages() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let root = root();
    let workspace: toml::Table = fs::read_to_string(root.join("Cargo.toml"))
        .expect("the repository is readable")
        .parse()
        .expect("the repository is readable");
    let members = workspace["workspace"]["members"].as_array().expect("the repository is readable");
    let mut found = BTreeMap::new();
    for member in members {
        let folder = member.as_str().expect("the repository is readable");
        let manifest: toml::Table = fs::read_to_string(root.join(folder).join("Cargo.toml"))
            .expect("the repository is readable")
            .parse()
            .expect("the repository is readable");
        let name = manifest["package"]["name"].as_str().expect("the repository is readable").to_owned();
        let mut uses = BTreeSet::new();
        for table in ["dependencies", "build-dependencies"] {
            if let Some(table) = manifest.get(table).and_then(|t| t.as_table()) {
                uses.extend(table.keys().cloned());
            }
        }
        found.insert(name, (folder.to_owned(), uses));
    }
    found
}

/// The rule: package → the only ones of ours it may depend on. Packages under tests/ may import anything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("keystead-resp", &[]),
    ("keystead-rdb", &[]),
    ("keystead-abi", &[]),
    ("keystead-keyspace", &["keystead-rdb"]),
    ("keystead-engine", &["keystead-keyspace", "keystead-resp", "keystead-rdb"]),
    ("keystead-plugin", &["keystead-abi"]),
    ("keystead", &["keystead-engine", "keystead-abi"]),
];
/// What any plugin may use of ours.
const PLUGINS_MAY: &[&str] = &["keystead-plugin", "keystead-rdb", "keystead-resp"];

#[test]
fn rooms_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for (name, (folder, uses)) in packages() {
        let allowed: &[&str] = if folder.starts_with("tests/") {
            continue;
        } else if folder.starts_with("plugins/") {
            PLUGINS_MAY
        } else {
            ALLOWED.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name} has no import rule")).1
        };
        for used in uses.iter().filter(|u| u.starts_with("keystead")) {
            if !allowed.contains(&used.as_str()) {
                wrong.push(format!("{name} imports {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden imports: {wrong:#?}");
}

#[test]
fn nobody_imports_tests_and_the_simulator_never_the_server() {
    let packages = packages();
    let tests: Vec<&String> = packages.iter().filter(|(_, (f, _))| f.starts_with("tests/")).map(|(n, _)| n).collect();
    for (name, (folder, uses)) in &packages {
        if !folder.starts_with("tests/") {
            for test in &tests {
                assert!(!uses.contains(*test), "{name} imports {test}");
            }
        }
    }
    let simulator = &packages["keystead-sim"].1;
    assert!(!simulator.contains("keystead") && !simulator.contains("keystead-engine"), "the simulator is server-free");
}

#[test]
fn only_the_server_names_the_runtime() {
    for (name, (_, uses)) in packages() {
        if name != "keystead" {
            for runtime in ["async-std", "async-io", "async-global-executor", "tokio", "smol"] {
                assert!(!uses.contains(runtime), "{name} names {runtime}; only core/server may");
            }
        }
    }
}
