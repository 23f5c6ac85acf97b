//! Scripting as a plugin: EVAL and its kin, SCRIPT, functions. It owns the interpreter and what scripts may see of it;
//! commands, guards, effects and the journal are the core's, reached through the boundary only.
#![forbid(unsafe_code)]

mod api;
mod bit;
mod cjson;
mod cmsgpack;
pub mod config;
mod convert;
mod digits;
mod eval;
mod flags;
mod functions;
mod interpreter;
mod libraries;
mod live;
mod plugin;
mod run;
mod scripts;
mod structs;

pub use plugin::Scripting;

keystead_plugin::export_plugin!(Scripting, KEYSTEAD_PLUGIN_scripting);
