//! The scripts that EVAL knows, by the hash of their text. Compiled once, forgotten by SCRIPT FLUSH.

use crate::api::sha1hex;
use crate::flags::{self, Flags};
use crate::interpreter::{Interpreter, first_line};
use mlua::Table;
use std::collections::HashMap;

/// A script's hash as clients write it: forty hexadecimal digits, in lower case.
pub type Sha = [u8; 40];

/// Texts seen lately are known without their hash: so many of them, each of at most so many bytes.
const RECENT: usize = 64;
const RECENT_BYTES: usize = 4096;

/// A compiled script.
#[derive(Clone, Copy)]
pub struct Script {
    /// Its name.
    pub sha: Sha,
    /// Its place in the table of scripts. Without arguments: keys and arguments are globals.
    pub place: i32,
    /// What its first line says.
    pub flags: Flags,
}

impl Script {
    /// The hash as text.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.sha).unwrap_or_default()
    }
}

/// An interpreter and the scripts compiled in it.
pub struct Scripts {
    /// Runs them.
    pub interpreter: Interpreter,
    /// By place. A table of the interpreter's, for the bindings have slots for some 8,000 handles only.
    pub compiled: Table,
    known: HashMap<Sha, Script>,
    recent: Vec<Option<(Box<[u8]>, Script)>>,
    bytes: usize,
}

impl Scripts {
    /// None yet.
    pub fn new(memory: usize) -> mlua::Result<Scripts> {
        let interpreter = Interpreter::new(memory)?;
        let compiled = interpreter.table()?;
        let recent = (0..RECENT).map(|_| None).collect();
        Ok(Scripts { interpreter, known: HashMap::new(), compiled, recent, bytes: 0 })
    }

    /// The script of a hash, in any case.
    pub fn get(&self, sha: &[u8]) -> Option<Script> {
        let mut sha = Sha::try_from(sha).ok()?;
        sha.make_ascii_lowercase();
        self.known.get(&sha).copied()
    }

    /// The script of a text, which is compiled if it is new.
    pub fn add(&mut self, body: &[u8]) -> Result<Script, Vec<u8>> {
        let slot = slot(body);
        if let Some((text, script)) = &self.recent[slot]
            && **text == *body
        {
            return Ok(*script);
        }
        let sha = sha1hex(body);
        let script = match self.known.get(&sha) {
            Some(script) => *script,
            None => self.compile(sha, body)?,
        };
        if body.len() <= RECENT_BYTES {
            self.recent[slot] = Some((body.into(), script));
        }
        Ok(script)
    }

    fn compile(&mut self, sha: Sha, body: &[u8]) -> Result<Script, Vec<u8>> {
        let (flags, text) = flags::script(body)?;
        let function = self
            .interpreter
            .compile(text, "@user_script")
            .map_err(|text| [b"ERR Error compiling script (new function): ", &text[..]].concat())?;
        let place = i32::try_from(self.known.len() + 1).map_err(|_| b"ERR too many scripts")?;
        self.compiled.raw_set(place, function).map_err(|error| format!("ERR {}", first_line(&error)).into_bytes())?;
        let script = Script { sha, place, flags };
        self.bytes += body.len() + sha.len();
        self.known.insert(sha, script);
        Ok(script)
    }

    /// How many there are, and the bytes of their texts.
    pub fn size(&self) -> (usize, usize) {
        (self.known.len(), self.bytes)
    }
}

/// Where a text is looked for among those seen lately: length and both ends tell scripts of one application apart.
fn slot(body: &[u8]) -> usize {
    let ends = match (body.first_chunk::<8>(), body.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(32),
        _ => 0,
    };
    let middle = body.get(body.len() / 2).copied().unwrap_or(0);
    let mixed = (ends ^ body.len() as u64 ^ u64::from(middle) << 24).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize % RECENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_by_all_of_its_bytes() {
        let mut scripts = Scripts::new(64 << 20).unwrap();
        let texts: Vec<String> = (0..500).map(|n| format!("return 100000 + {n:03} + 1000000000000")).collect();
        for _ in 0..2 {
            for text in &texts {
                let script = scripts.add(text.as_bytes()).unwrap();
                assert_eq!(script.sha, sha1hex(text.as_bytes()));
                assert_eq!(scripts.get(script.name().to_uppercase().as_bytes()).unwrap().place, script.place);
            }
        }
        assert_eq!(scripts.size().0, texts.len());
        assert!(scripts.get(b"abc").is_none());
        assert!(scripts.add(b"return (").is_err() && scripts.add(b"return (").is_err(), "what fails isn't kept");
    }

    #[test]
    fn hashes() {
        assert_eq!(&sha1hex(b""), b"da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
