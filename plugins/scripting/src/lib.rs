//! Scripting as a plugin: EVAL and its kin, SCRIPT, functions. It owns the interpreter and what scripts may see of it;
//! commands, guards, effects and the journal are the core's, reached through the boundary only.
#![deny(unsafe_code)]

mod api;
mod bit;
#[allow(unsafe_code)]
mod calls;
mod cjson;
mod cmsgpack;
pub mod config;
#[allow(unsafe_code)]
mod convert;
mod digits;
#[allow(unsafe_code)]
mod entry;
mod eval;
mod flags;
mod functions;
#[allow(unsafe_code)]
mod guard;
mod interpreter;
mod libraries;
mod live;
#[allow(unsafe_code)]
mod memory;
mod owner;
mod pace;
mod plugin;
mod run;
mod scripts;
#[allow(unsafe_code)]
mod stack;
mod structs;

pub use plugin::Scripting;

keystead_plugin::export_plugin!(Scripting, KEYSTEAD_PLUGIN_scripting);
