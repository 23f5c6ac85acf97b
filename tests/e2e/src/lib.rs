//! Tests: e2e. What several of them share.

#![forbid(unsafe_code)]

pub mod disk;
pub mod threads;
