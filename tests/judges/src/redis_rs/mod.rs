//! redis-rs' own tests: the crate's source, had by cargo from its registry, with the two crates beside it that its tests need.
//! They start a server for each test: redis-server, or keystead under its name. Owns how they are built and run.

use keystead_harness::bin_dir;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The crate's version.
pub const VERSION: &str = "1.8.1";
/// The version of `redis-test`, which starts the servers.
const HELPER: &str = "1.0.4";
/// Test programs: all but those of cluster mode, modules, sentinels and TLS certificates.
const PROGRAMS: &[&str] = &[
    "parser",
    "test_acl",
    "test_async",
    "test_basic",
    "test_bignum",
    "test_cache",
    "test_digest_utils",
    "test_geospatial",
    "test_hotkeys",
    "test_script",
    "test_streams",
    "test_support",
    "test_types",
];
const FEATURES: &str = "tokio-comp,connection-manager,cache-aio";
/// Has a script wait until TIME tells another time, which it doesn't inside a script since 7.2 (redis/redis 10300; "TIME
/// command using cached time" in 7.2's suite): that script ends nowhere.
const ENDLESS: &str = "works_with_paused_time_when_no_timeouts_are_set";
/// The attribute of asynchronous tests, which isn't published.
const ATTRIBUTE: &str = include_str!("async_test.rs");

/// Obtains the source below `folder`, if it isn't there yet, so that it builds; gives its folder.
pub fn obtain(folder: &Path) -> io::Result<PathBuf> {
    let tree = folder.join(format!("redis-rs-{VERSION}"));
    if tree.join("Cargo.toml").exists() {
        return Ok(tree);
    }
    let source = source(&folder.join("redis-rs-had"))?;
    run(Command::new("cp").arg("-r").arg(&source).arg(&tree))?;
    let attribute = folder.join("redis-rs-attribute");
    fs::create_dir_all(&attribute)?;
    fs::write(attribute.join("lib.rs"), ATTRIBUTE)?;
    fs::write(
        attribute.join("Cargo.toml"),
        "[package]\nname = \"test-macros\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[lib]\nproc-macro = true\npath = \"lib.rs\"\n",
    )?;
    let _ = fs::remove_file(tree.join("Cargo.lock"));
    let manifest = tree.join("Cargo.toml");
    // What the published manifest leaves out because it has no version of its own.
    let text = fs::read_to_string(&manifest)?
        + &format!(
            "\n[dev-dependencies.redis-test]\nversion = \"={HELPER}\"\n\n[dev-dependencies.test-macros]\npath = {attribute:?}\n\n\
             [workspace]\n\n[patch.crates-io]\nredis = {{ path = \".\" }}\n"
        );
    fs::write(manifest, text)?;
    Ok(tree)
}

/// Where cargo keeps the crate's source, after it has fetched it for a package that needs nothing else.
fn source(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("lib.rs"), "")?;
    let manifest = folder.join("Cargo.toml");
    fs::write(
        &manifest,
        format!(
            "[package]\nname = \"had\"\nversion = \"0.0.0\"\n\n[lib]\npath = \"lib.rs\"\n\n[workspace]\n\n\
             [dependencies]\nredis = {{ version = \"={VERSION}\", default-features = false }}\n"
        ),
    )?;
    let facts =
        run(Command::new("cargo").args(["metadata", "--format-version", "1", "--manifest-path"]).arg(&manifest))?;
    let end = format!("/redis-{VERSION}/Cargo.toml\"");
    let words = facts.split_inclusive('"').find_map(|word| word.strip_suffix(end.as_str()));
    let parent = words.ok_or_else(|| io::Error::other(format!("cargo has no source of redis {VERSION}")))?;
    Ok(PathBuf::from(parent).join(format!("redis-{VERSION}")))
}

/// Runs the tests with either server, in both protocols; gives the output, with the program and protocol before each name.
pub fn tests(tree: &Path, folder: &Path, redis: bool) -> io::Result<String> {
    let target = folder.join("redis-rs-target");
    let scratch = folder.join("redis-rs-servers");
    fs::create_dir_all(&scratch)?;
    let shim = folder.join("redis-rs-server");
    let wrapper = bin_dir().join("keystead-as-redis-server");
    // Each server in a folder of its own, without files of its data, as redis-server is started.
    let line = format!("exec {wrapper:?} \"$@\" --appendonly no --dir \"$(mktemp -d {scratch:?}/XXXXXX)\"\n");
    fs::write(&shim, format!("#!/bin/sh\n{line}"))?;
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755))?;
    let mut text = String::new();
    for protocol in ["RESP2", "RESP3"] {
        for program in PROGRAMS {
            let mut command = Command::new("cargo");
            command.args([
                "test",
                "--features",
                FEATURES,
                "--test",
                program,
                "--",
                "--test-threads",
                "1",
                "--skip",
                ENDLESS,
            ]);
            command.current_dir(tree).env("CARGO_TARGET_DIR", &target).env("PROTOCOL", protocol).stdin(Stdio::null());
            if !redis {
                command.env("REDISRS_SERVER_BIN", &shim);
            }
            let output = command.output()?;
            text += &named(&String::from_utf8_lossy(&output.stdout), &format!("{protocol} {program}::"));
            text += &String::from_utf8_lossy(&output.stderr);
        }
    }
    fs::remove_dir_all(scratch)?;
    Ok(text)
}

/// Puts the program before each test's name.
fn named(output: &str, program: &str) -> String {
    let line = |line: &str| match line.strip_prefix("test ") {
        Some(rest) if rest.contains(" ... ") => format!("test {program}{rest}\n"),
        _ => format!("{line}\n"),
    };
    output.lines().map(line).collect()
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)))),
    }
}
