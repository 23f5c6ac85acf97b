//! The scripts that EVAL knows, by the hash of their text. Compiled once, forgotten by SCRIPT FLUSH.

use crate::api::sha1hex;
use crate::flags::{self, Flags};
use crate::interpreter::Interpreter;
use mlua::Function;
use std::collections::HashMap;

/// A compiled script.
#[derive(Clone)]
pub struct Script {
    /// Without arguments: keys and arguments are globals.
    pub function: Function,
    /// What its first line says.
    pub flags: Flags,
}

/// An interpreter and the scripts compiled in it.
pub struct Scripts {
    /// Runs them.
    pub interpreter: Interpreter,
    known: HashMap<String, Script>,
    bytes: usize,
}

impl Scripts {
    /// None yet.
    pub fn new(memory: usize) -> mlua::Result<Scripts> {
        Ok(Scripts { interpreter: Interpreter::new(memory)?, known: HashMap::new(), bytes: 0 })
    }

    /// The script of a hash, in either case.
    pub fn get(&self, sha: &str) -> Option<&Script> {
        self.known.get(sha)
    }

    /// The hash of a text, which is compiled if it is new.
    pub fn add(&mut self, body: &[u8]) -> Result<String, String> {
        let sha = sha1hex(body);
        if self.known.contains_key(&sha) {
            return Ok(sha);
        }
        let (flags, text) = flags::script(body)?;
        let function = self
            .interpreter
            .compile(text, "@user_script")
            .map_err(|text| format!("ERR Error compiling script (new function): {text}"))?;
        self.bytes += body.len() + sha.len();
        self.known.insert(sha.clone(), Script { function, flags });
        Ok(sha)
    }

    /// How many there are, and the bytes of their texts.
    pub fn size(&self) -> (usize, usize) {
        (self.known.len(), self.bytes)
    }
}
