//! Builds Lua 5.1 from the source in the crate `lua-src`, with one line changed: Lua takes at most 32 characters of a string
//! for its hash, so that thousands of long strings which differ elsewhere (JSON with other numbers in it) are each compared
//! with all others. Redis changes the same line of its Lua, for the same reason. Owns finding the source and that change; fails
//! where either isn't as it was, rather than to build something else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// In the file that keeps Lua's strings.
const FILE: &str = "lstring.c";
const SAMPLED: &str = "size_t step = (l>>5)+1;";
const WHOLE: &str = "size_t step = 1;";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../Cargo.lock");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo gives a build script OUT_DIR"));
    let changed = out.join("lua");
    let source = source();
    copy(&source, &changed);
    cc::Build::new()
        .include(&changed)
        .files(c_files(&changed))
        .define("LUA_USE_LINUX", None)
        .flag_if_supported("-fno-common")
        .warnings(false)
        // Scripts of a debug build move real data too.
        .opt_level(2)
        .cargo_metadata(false)
        .out_dir(&out)
        .compile("lua5.1");
    println!("cargo:rustc-link-search=native={}", out.display());
    // All of it: who needs it, the crate mlua-sys, is linked behind it.
    println!("cargo:rustc-link-lib=static:+whole-archive=lua5.1");
}

/// Where cargo has the crate's source: in its registry, or wherever its configuration puts that.
fn source() -> PathBuf {
    let target = env::var("TARGET").expect("cargo gives a build script TARGET");
    let about = Command::new(env::var_os("CARGO").expect("cargo gives a build script CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &target])
        .output()
        .expect("cargo can be run");
    assert!(about.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&about.stderr));
    let about: serde_json::Value = serde_json::from_slice(&about.stdout).expect("cargo metadata writes JSON");
    let packages = about["packages"].as_array().expect("cargo metadata lists packages");
    let lua = packages.iter().find(|package| package["name"] == "lua-src").expect("lua-src is a dependency");
    let manifest = Path::new(lua["manifest_path"].as_str().expect("a package has a manifest"));
    manifest.with_file_name("lua-5.1.5")
}

/// Copies the source with the line changed.
fn copy(from: &Path, to: &Path) {
    // Another version's files may be there.
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("OUT_DIR can be written");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().expect("a file has a name");
        let mut text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if name == FILE {
            let whole = String::from_utf8(text).expect("C is text");
            assert_eq!(whole.matches(SAMPLED).count(), 1, "{} isn't as it was", path.display());
            text = whole.replace(SAMPLED, WHOLE).into_bytes();
        }
        fs::write(to.join(name), text).expect("OUT_DIR can be written");
    }
}

fn c_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("it was just written").map(|entry| entry.expect("it can be read").path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "c")).collect();
    files.sort();
    files
}
