//! Runs test suites that nobody here wrote against keystead and redis-server and compares them by test name. It owns the
//! running and the comparing; the suites themselves come from Debian's source package and are never part of the repository.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;

pub mod client_names;
pub mod clients;
pub mod outcome;
pub mod random;
pub mod redis_rs;
pub mod report;
pub mod source;
pub mod suite;
pub mod units;

/// The excuses that are kept in the repository.
pub fn lists() -> io::Result<report::Excuses> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [exceptions, versions] =
        ["exceptions.txt", "version-differences.txt"].map(|name| fs::read_to_string(here.join(name)));
    report::excuses(&exceptions?, &versions?).map_err(io::Error::other)
}
