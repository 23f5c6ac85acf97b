//! The keystead binary.
#![deny(unsafe_code)]
mod config;
mod logging;
fn main() {}
