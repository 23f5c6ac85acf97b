//! Processes that get no new threads, as where a container has as many as it may. Owns the preloaded library.

use keystead_harness::KeysteadBuilder;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = include_str!("no_threads.c");

/// The system's threads, as one node gets them.
#[derive(Debug)]
pub struct NoThreads {
    dir: tempfile::TempDir,
}

impl NoThreads {
    /// There are some; `None`, with a word why, where there is no C compiler.
    pub fn new() -> Option<NoThreads> {
        let dir = tempfile::tempdir().ok()?;
        let source = dir.path().join("no_threads.c");
        std::fs::write(&source, SOURCE).ok()?;
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-shared", "-fPIC", "-o"]).arg(dir.path().join("no_threads.so")).arg(source).arg("-ldl");
        if !cc.status().is_ok_and(|status| status.success()) {
            println!("SKIPPED: cc can't make the library of a system without threads");
            return None;
        }
        Some(NoThreads { dir })
    }

    /// For one node.
    pub fn under(&self, builder: KeysteadBuilder) -> KeysteadBuilder {
        let library = self.dir.path().join("no_threads.so").display().to_string();
        builder.env("LD_PRELOAD", &library).env("NO_THREADS", &self.flag().display().to_string())
    }

    /// It gets none from now on.
    pub fn are_refused(&self) {
        std::fs::write(self.flag(), "").unwrap_or_else(|error| panic!("the flag: {error}"));
    }

    /// It gets as many as it wants.
    pub fn are_made(&self) {
        // Perhaps it gets them already.
        let _ = std::fs::remove_file(self.flag());
    }

    fn flag(&self) -> PathBuf {
        self.dir.path().join("none")
    }
}
