//! The scripts that EVAL knows, by the hash of their text. Compiled once, forgotten by SCRIPT FLUSH; those that nobody asked
//! to keep give way to newer ones when they take too much.

use crate::ages::Ages;
use crate::api::sha1hex;
use crate::flags::{self, Flags};
use crate::interpreter::{Interpreter, first_line};
use mlua::{Table, Value};
use std::collections::HashMap;

/// A script's hash as clients write it: forty hexadecimal digits, in lower case.
pub type Sha = [u8; 40];

/// Texts seen lately are known without their hash: so many of them, each of at most so many bytes.
const RECENT: usize = 64;
const RECENT_BYTES: usize = 4096;

/// The part of the interpreter's memory that scripts may take which came by EVAL alone: a client that writes its values into
/// the text makes a new one each time. What is forgotten is garbage until the collector comes to it, which it does when
/// twice of what lives has been taken; and half of the memory is a running script's.
const PART: usize = 8;
/// So many are forgotten for one that runs, at most: nobody shall wait for more.
const FORGET_MOST: usize = 100;

/// A compiled script.
#[derive(Clone, Copy, Debug)]
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

/// What is known of one.
struct Known {
    script: Script,
    /// Of its text and its name.
    bytes: usize,
    /// What it takes in the interpreter.
    weight: usize,
}

/// An interpreter and the scripts compiled in it.
pub struct Scripts {
    /// Runs them.
    pub interpreter: Interpreter,
    /// By place. A table of the interpreter's, for the bindings have slots for some 8,000 handles only.
    pub compiled: Table,
    known: HashMap<Sha, Known>,
    /// Whose each place is, counted from 0; a free one is nobody's.
    names: Vec<Option<Sha>>,
    free: Vec<i32>,
    recent: Vec<Option<(Box<[u8]>, Script)>>,
    bytes: usize,
    /// Places of those that came by EVAL alone.
    ages: Ages,
    /// What these take in the interpreter, and may.
    weight: usize,
    most: usize,
    evicted: u64,
}

impl Scripts {
    /// None yet.
    pub fn new(memory: usize) -> mlua::Result<Scripts> {
        let interpreter = Interpreter::new(memory)?;
        let compiled = interpreter.table()?;
        let recent = (0..RECENT).map(|_| None).collect();
        let most = memory / PART;
        let (known, ages) = Default::default();
        let (names, free) = (Vec::new(), Vec::new());
        Ok(Scripts { interpreter, compiled, known, names, free, recent, bytes: 0, ages, weight: 0, most, evicted: 0 })
    }

    /// The script of a hash, in any case.
    pub fn get(&self, sha: &[u8]) -> Option<Script> {
        let mut sha = Sha::try_from(sha).ok()?;
        sha.make_ascii_lowercase();
        self.known.get(&sha).map(|known| known.script)
    }

    /// The script of a text, which is compiled if it is new. It came by EVAL alone, until it is [kept](Self::keep).
    pub fn add(&mut self, body: &[u8]) -> Result<Script, Vec<u8>> {
        let slot = slot(body);
        if let Some((text, script)) = &self.recent[slot]
            && **text == *body
            && self.is_at(script)
        {
            return Ok(*script);
        }
        let sha = sha1hex(body);
        let script = match self.known.get(&sha) {
            Some(known) => known.script,
            None => self.compile(sha, body)?,
        };
        if body.len() <= RECENT_BYTES {
            self.recent[slot] = Some((body.into(), script));
        }
        Ok(script)
    }

    /// It runs now. Of those that came by EVAL alone, the ones that weren't used for longest are forgotten while they take too
    /// much.
    pub fn used(&mut self, script: &Script) {
        self.ages.touch(number(script));
        for _ in 0..FORGET_MOST {
            let oldest = self.ages.oldest().filter(|oldest| self.weight > self.most && *oldest != number(script));
            if !oldest.is_some_and(|oldest| self.forget(oldest)) {
                break;
            }
        }
    }

    /// It is there until SCRIPT FLUSH: somebody loaded it, to call it by its hash.
    pub fn keep(&mut self, script: &Script) {
        if self.ages.remove(number(script)) {
            self.weight -= self.known.get(&script.sha).map_or(0, |known| known.weight);
        }
    }

    /// The script at a place, and not one that was there before it.
    fn is_at(&self, script: &Script) -> bool {
        self.names.get(number(script) as usize) == Some(&Some(script.sha))
    }

    fn compile(&mut self, sha: Sha, body: &[u8]) -> Result<Script, Vec<u8>> {
        let text = |error: mlua::Error| format!("ERR {}", first_line(&error)).into_bytes();
        let (flags, code) = flags::script(body)?;
        self.interpreter.make_room().map_err(text)?;
        let (function, weight) = self
            .interpreter
            .weigh(code, "@user_script")
            .map_err(|text| [b"ERR Error compiling script (new function): ", &text[..]].concat())?;
        let next = i32::try_from(self.names.len() + 1).map_err(|_| b"ERR too many scripts")?;
        let place = self.free.last().copied().unwrap_or(next);
        self.compiled.raw_set(place, function).map_err(text)?;
        let script = Script { sha, place, flags };
        if self.free.pop().is_none() {
            self.names.push(None);
        }
        self.names[number(&script) as usize] = Some(sha);
        let bytes = body.len() + sha.len();
        self.bytes += bytes;
        self.weight += weight;
        self.ages.push(number(&script));
        self.known.insert(sha, Known { script, bytes, weight });
        Ok(script)
    }

    /// Forgets the script at a place; false if there is none, or it can't go.
    fn forget(&mut self, number: u32) -> bool {
        let Some(sha) = self.names.get(number as usize).copied().flatten() else { return false };
        let Some(known) = self.known.get(&sha) else { return false };
        if self.compiled.raw_set(known.script.place, Value::Nil).is_err() {
            return false;
        }
        self.bytes -= known.bytes;
        self.weight -= known.weight;
        self.free.push(known.script.place);
        self.names[number as usize] = None;
        self.known.remove(&sha);
        self.ages.remove(number);
        self.evicted += 1;
        true
    }

    /// How many were forgotten since this was asked last.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// How many there are, and the bytes of their texts.
    pub fn size(&self) -> (usize, usize) {
        (self.known.len(), self.bytes)
    }
}

/// A script's place, counted from 0.
fn number(script: &Script) -> u32 {
    script.place.unsigned_abs().saturating_sub(1)
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

    /// A text that no other number has, as of a client that writes its values into it.
    fn inlined(n: usize) -> String {
        format!("redis.call('set', 'key:{n}', {n}) return redis.call('get', 'key:{n}')")
    }

    #[test]
    fn scripts_that_came_by_eval_alone_give_way_to_newer_ones() {
        const MEMORY: usize = 4 << 20;
        let mut scripts = Scripts::new(MEMORY).unwrap();
        let loaded = scripts.add(b"return 'loaded'").unwrap();
        scripts.keep(&loaded);
        let often = inlined(0);
        let mut all = 0;
        for n in 1..20_000 {
            for text in [&inlined(n), &often] {
                let script = scripts.add(text.as_bytes()).unwrap();
                scripts.used(&script);
                assert!(scripts.get(script.name().as_bytes()).is_some(), "{n}");
            }
            all += scripts.take_evicted();
            assert!(scripts.interpreter.memory() < MEMORY / 2 + MEMORY / 8, "{n}: {}", scripts.interpreter.memory());
        }
        let (count, bytes) = scripts.size();
        assert_eq!(count as u64 + all, 20_001, "each is known, or was forgotten");
        assert!((100..2_000).contains(&count) && bytes < 400 * count, "{count} scripts of {bytes} bytes");
        assert!(scripts.get(loaded.name().as_bytes()).is_some(), "what was loaded stays");
        assert!(scripts.get(&sha1hex(often.as_bytes())).is_some(), "and what is used");
        assert!(scripts.get(&sha1hex(inlined(1).as_bytes())).is_none());
    }

    #[test]
    fn a_place_is_the_script_s_that_has_it_now() {
        let mut scripts = Scripts::new(4 << 20).unwrap();
        scripts.most = 0;
        // Each makes the one before it go, and takes a place that was free.
        for n in (0..40).chain(0..40) {
            let script = scripts.add(format!("return {n}").as_bytes()).unwrap();
            scripts.used(&script);
            let function: mlua::Function = scripts.compiled.raw_get(script.place).unwrap();
            assert_eq!(function.call::<i64>(()).unwrap(), n);
            assert_eq!((scripts.size().0, script.place <= 2), (1, true));
        }
        // Loaded when it was known already.
        let script = scripts.add(b"return 39").unwrap();
        scripts.keep(&script);
        scripts.keep(&script);
        assert_eq!(scripts.weight, 0);
        let other = scripts.add(b"return 40").unwrap();
        scripts.used(&other);
        assert_eq!(scripts.size().0, 2);
    }

    #[test]
    fn hashes() {
        assert_eq!(&sha1hex(b""), b"da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
