//! Scripting as a plugin: EVAL and its kin, SCRIPT, functions. It owns the interpreter and what scripts may see of it;
//! commands, guards, effects and the journal are the core's, reached through the boundary only.
#![deny(unsafe_code)]

mod ages;
mod api;
#[allow(unsafe_code)]
mod bit;
#[allow(unsafe_code)]
mod calls;
mod cjson;
#[allow(unsafe_code)]
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
#[allow(unsafe_code)]
mod replies;
mod run;
#[allow(unsafe_code)]
mod scratch;
mod scripts;
#[allow(unsafe_code)]
mod stack;
#[allow(unsafe_code)]
mod structs;

pub use plugin::Scripting;

keystead_plugin::export_plugin!(Scripting, KEYSTEAD_PLUGIN_scripting);
