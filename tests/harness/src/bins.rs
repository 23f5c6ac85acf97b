//! Finds the binary and the plugin libraries under test, and builds them once per test process when they may be stale.
//!
//! `cargo test` alone builds neither the binary nor the libraries beside it, so a test could run a new binary with an
//! old plugin. With `KEYSTEAD_BIN_DIR` set, that folder is used as it is and nothing is built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

static BIN_DIR: OnceLock<PathBuf> = OnceLock::new();

/// The folder with the `keystead` binary and the plugin libraries, fresh.
pub fn bin_dir() -> &'static Path {
    BIN_DIR.get_or_init(|| match std::env::var_os("KEYSTEAD_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => build(),
    })
}

/// The `keystead` binary.
pub fn keystead_bin() -> PathBuf {
    bin_dir().join("keystead")
}

/// The library of the plugin called `name`.
pub fn plugin_lib(name: &str) -> PathBuf {
    bin_dir().join(format!("libkeystead_{}.so", name.replace('-', "_")))
}

/// Whether a program can be found in PATH; tests of foreign peers print SKIPPED when it can't.
pub fn have(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// `target/<profile>` of the running test, from its own path `target/<profile>/deps/<test>-<hash>`.
fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the test binary has a path");
    let dir = exe.parent().expect("a file has a folder");
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.parent().expect("deps lies in the profile's folder").to_path_buf()
    } else {
        dir.to_path_buf()
    }
}

fn build() -> PathBuf {
    let dir = profile_dir();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--workspace", "--locked", "--quiet"]);
    if dir.ends_with("release") {
        command.arg("--release");
    }
    if let Some(target) = dir.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    let output = command.stdin(Stdio::null()).output().expect("cargo can be started");
    assert!(output.status.success(), "building the workspace failed:\n{}", String::from_utf8_lossy(&output.stderr));
    dir
}
