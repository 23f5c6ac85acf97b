//! Passes on which compiler builds this, for the declaration of plugins.

use std::io::Write;
use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.ok().and_then(|out| String::from_utf8(out.stdout).ok()).unwrap_or_default();
    let short: String = version.trim().chars().take(60).collect();
    let said = format!("cargo::rerun-if-changed=build.rs\ncargo::rustc-env=KEYSTEAD_RUSTC={short}\n");
    std::io::stdout().write_all(said.as_bytes()).expect("cargo listens");
}
