//! The same example plugin, built differently: by another compiler it loads and works, with panic=abort it is refused.
//! Each builds into a folder of its own beside the test's, so that nothing under test is replaced.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, bin_dir, have};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds hello-rust with a cargo command into its own target folder; the folder with the library.
fn build(cargo: &[&str], name: &str, profile: &[&str]) -> PathBuf {
    let target = bin_dir().parent().unwrap().join("other-builds").join(name);
    let output = Command::new(cargo[0])
        .args(&cargo[1..])
        .args(["build", "--locked", "--quiet", "-p", "keystead-hello", "--target-dir"])
        .arg(&target)
        // Nothing here is about speed.
        .args(["--config", "profile.dev.package.\"*\".opt-level=0", "--config", "profile.dev.debug=false"])
        .args(profile)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        // The outer cargo's own choices must not reach the inner one.
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug")
}

/// Whether a command runs and succeeds.
fn runs(command: &[&str]) -> bool {
    let status = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Another compiler than the one that builds the server: nightly where it is installed, else Debian's for the web.
fn other_cargo() -> Option<Vec<&'static str>> {
    if have("rustup") && runs(&["rustup", "run", "nightly", "cargo", "--version"]) {
        return Some(vec!["rustup", "run", "nightly", "cargo"]);
    }
    runs(&["cargo-web", "--version"]).then(|| vec!["cargo-web"])
}

#[test]
fn a_plugin_built_by_another_compiler_loads_and_works() {
    let Some(cargo) = other_cargo() else {
        eprintln!("SKIPPED: no second Rust compiler (neither nightly through rustup nor rustc-web)");
        return;
    };
    let dir = build(&cargo, "nightly", &[]);
    let mut node = Keystead::builder().plugin_dir(&dir).plugin("hello", "(greeting: \"Hallo\", tick_ms: 5)").start();
    let mut c = node.client();
    assert_eq!(c.cmd("HELLO.GREET du"), "Hallo, du!");
    assert_eq!(c.cmd("HELLO.COUNT n"), 1);
    assert_eq!(c.cmd("HELLO.LATER 5 x"), "x");
    assert!(format!("{:?}", c.cmd("HELLO.PANIC")).contains("panicked: asked to"));
    assert_eq!(c.cmd("PING"), "PONG");
    let told = format!("{:?}", c.cmd("PLUGIN INFO hello"));
    assert!(told.contains(dir.canonicalize().unwrap().to_str().unwrap()), "{told}");
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
}

#[test]
fn a_plugin_built_with_panic_abort_is_refused() {
    let dir = build(&["cargo"], "abort", &["--config", "profile.dev.panic=\"abort\""]);
    let mut node = Keystead::builder().plugin_dir(&dir).plugin("hello", "()").launch();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    assert!(log.contains("libkeystead_hello.so") && log.contains("panic=abort"), "{log}");
}
