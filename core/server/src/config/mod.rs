//! Configuration: one RON file an instance, edited by the command line before it is parsed, and an overlay that keeps
//! what CONFIG SET changed. Owns reading, checking and reporting; never applies a setting itself.
//!
//! In reading order: `sections` (every core setting, one row each; `bytes`: sizes), `load` (the way from file to settings), `document`
//! and `scan` (edits that keep positions), `overlay`, `report` (errors with their place), `directives` (for who comes from Redis).

mod bytes;
pub(crate) mod directives;
pub(crate) mod document;
pub(crate) mod load;
pub(crate) mod overlay;
pub(crate) mod report;
pub(crate) mod scan;
pub(crate) mod sections;

pub(crate) use load::{Settings, lies_beside};
pub(crate) use report::{ConfigError, NoStart};

#[cfg(test)]
mod tests;
