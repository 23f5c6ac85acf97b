//! The scripts that EVAL knows, by the hash of their text. Compiled once, forgotten by SCRIPT FLUSH.

use crate::api::sha1hex;
use crate::flags::{self, Flags};
use crate::interpreter::{Interpreter, first_line};
use mlua::{Function, Table};
use std::collections::HashMap;

/// A compiled script.
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
    known: HashMap<String, Flags>,
    /// By hash. A table of the interpreter's, for it has slots for some 8,000 handles only.
    compiled: Table,
    bytes: usize,
}

impl Scripts {
    /// None yet.
    pub fn new(memory: usize) -> mlua::Result<Scripts> {
        let interpreter = Interpreter::new(memory)?;
        let compiled = interpreter.table()?;
        Ok(Scripts { interpreter, known: HashMap::new(), compiled, bytes: 0 })
    }

    /// Whether the script of a hash is known.
    pub fn knows(&self, sha: &str) -> bool {
        self.known.contains_key(sha)
    }

    /// What the first line of the script of a hash says.
    pub fn flags(&self, sha: &str) -> Option<Flags> {
        self.known.get(sha).copied()
    }

    /// The script of a hash.
    pub fn get(&self, sha: &str) -> Option<Script> {
        let flags = *self.known.get(sha)?;
        Some(Script { function: self.compiled.raw_get(sha).ok()?, flags })
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
        self.compiled.raw_set(sha.as_str(), function).map_err(|error| format!("ERR {}", first_line(&error)))?;
        self.known.insert(sha.clone(), flags);
        Ok(sha)
    }

    /// How many there are, and the bytes of their texts.
    pub fn size(&self) -> (usize, usize) {
        (self.known.len(), self.bytes)
    }
}
