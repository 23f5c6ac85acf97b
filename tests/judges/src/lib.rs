//! Runs test suites that nobody here wrote against keystead and redis-server and compares them by test name. It owns the
//! running and the comparing; the suites themselves come from Debian's source package and are never part of the repository.
#![forbid(unsafe_code)]

pub mod client_names;
pub mod clients;
pub mod outcome;
pub mod random;
pub mod report;
pub mod source;
pub mod suite;
pub mod units;
