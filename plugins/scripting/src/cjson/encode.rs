//! Lua values as JSON, read where they are on the interpreter's stack (see `stack` for the rule).

use super::{DEEPEST, Invalid, Settings};
use crate::stack::{self, LUA_TBOOLEAN, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE};
use crate::{digits, scratch};
use mlua::ffi::{self, lua_State};
use std::ffi::{CStr, c_int};

/// What a table, its key and its value need on the stack, and a text that says what is wrong.
const ROOM: c_int = 4;

/// Why there is no JSON of a value. Owns nothing.
pub enum Refused {
    /// A value of this type, and what is wrong with it.
    Value(c_int, &'static CStr),
    /// Tables in each other, so deep.
    Deep(usize),
    /// The text would be more than the interpreter has memory for.
    Long,
}

const SPARSE: Refused = Refused::Value(LUA_TTABLE, c"excessively sparse array");

/// Raises it.
///
/// # Safety
/// As everything in `stack`.
pub unsafe fn raise(state: *mut lua_State, why: &Refused) -> c_int {
    // SAFETY: the caller's; texts and numbers are what the formats want.
    unsafe {
        match *why {
            Refused::Value(kind, why) => {
                let kind = ffi::lua_typename(state, kind);
                ffi::luaL_error(state, c"Cannot serialise %s: %s".as_ptr(), kind, why.as_ptr())
            }
            Refused::Deep(depth) => {
                ffi::luaL_error(state, c"Cannot serialise, excessive nesting (%d)".as_ptr(), depth as c_int)
            }
            Refused::Long => scratch::refuse(state),
        }
    }
}

/// A text that is being made.
pub struct Encoder<'e> {
    /// The interpreter whose values are written.
    pub state: *mut lua_State,
    /// As the script set them.
    pub settings: Settings,
    /// Where the text goes.
    pub out: &'e mut Vec<u8>,
    /// How long it may get.
    pub most: usize,
}

impl Encoder<'_> {
    /// Writes the value on top of the stack, which is inside of so many tables. May raise.
    ///
    /// # Safety
    /// As everything in `stack`; the buffer is no frame's. It recurses, as deep as `DEEPEST` lets it.
    pub unsafe fn value(&mut self, depth: usize) -> Result<(), Refused> {
        let state = self.state;
        if self.out.len() > self.most {
            return Err(Refused::Long);
        }
        // SAFETY: the caller's; values are looked at by their type.
        unsafe {
            match ffi::lua_type(state, -1) {
                LUA_TSTRING => self.string(stack::bytes(state, -1))?,
                LUA_TNUMBER => self.number(ffi::lua_tonumber(state, -1))?,
                LUA_TBOOLEAN if ffi::lua_toboolean(state, -1) != 0 => self.out.extend_from_slice(b"true"),
                LUA_TBOOLEAN => self.out.extend_from_slice(b"false"),
                LUA_TTABLE => self.table(depth + 1)?,
                ffi::LUA_TNIL => self.out.extend_from_slice(b"null"),
                ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(state, -1).is_null() => {
                    self.out.extend_from_slice(b"null");
                }
                other => return Err(Refused::Value(other, c"type not supported")),
            }
        }
        Ok(())
    }

    unsafe fn table(&mut self, depth: usize) -> Result<(), Refused> {
        // SAFETY: the caller's.
        unsafe {
            if depth > self.settings.encode_depth.min(DEEPEST) || ffi::lua_checkstack(self.state, ROOM) == 0 {
                return Err(Refused::Deep(depth));
            }
            match self.array_length()? {
                len if len > 0 => self.array(len, depth),
                _ => self.object(depth),
            }
        }
    }

    unsafe fn array(&mut self, len: c_int, depth: usize) -> Result<(), Refused> {
        self.out.push(b'[');
        for at in 1..=len {
            if at > 1 {
                self.out.push(b',');
            }
            // SAFETY: the caller's, who made room.
            unsafe {
                ffi::lua_rawgeti_(self.state, -1, at);
                self.value(depth)?;
                ffi::lua_pop(self.state, 1);
            }
        }
        self.out.push(b']');
        Ok(())
    }

    unsafe fn object(&mut self, depth: usize) -> Result<(), Refused> {
        self.out.push(b'{');
        // SAFETY: the caller's, who made room; the table isn't changed meanwhile, and a key isn't converted.
        unsafe {
            ffi::lua_pushnil(self.state);
            let mut first = true;
            while ffi::lua_next(self.state, -2) != 0 {
                if !first {
                    self.out.push(b',');
                }
                first = false;
                self.key()?;
                self.value(depth)?;
                ffi::lua_pop(self.state, 1);
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The key below the top.
    unsafe fn key(&mut self) -> Result<(), Refused> {
        // SAFETY: the caller's.
        unsafe {
            match ffi::lua_type(self.state, -2) {
                LUA_TSTRING => self.string(stack::bytes(self.state, -2))?,
                LUA_TNUMBER => {
                    self.out.push(b'"');
                    self.number(ffi::lua_tonumber(self.state, -2))?;
                    self.out.push(b'"');
                }
                other => return Err(Refused::Value(other, c"table key must be a number or string")),
            }
        }
        self.out.push(b':');
        Ok(())
    }

    /// How long an array the table on top is; not above 0 if it is none.
    unsafe fn array_length(&mut self) -> Result<c_int, Refused> {
        let (mut max, mut items) = (0, 0i64);
        // SAFETY: the caller's, as for `object`.
        unsafe {
            ffi::lua_pushnil(self.state);
            while ffi::lua_next(self.state, -2) != 0 {
                let key = match ffi::lua_type(self.state, -2) {
                    LUA_TNUMBER => ffi::lua_tonumber(self.state, -2),
                    _ => 0.0,
                };
                if !(key >= 1.0 && key.trunc() == key) {
                    ffi::lua_pop(self.state, 2);
                    return Ok(0);
                }
                if key > f64::from(max) {
                    // What is no int becomes the least one where Redis runs: the next place is above it again.
                    max = if key <= f64::from(c_int::MAX) { key as c_int } else { c_int::MIN };
                }
                items += 1;
                ffi::lua_pop(self.state, 1);
            }
        }
        let (last, now) = (i64::from(max), &self.settings);
        let wide = now.sparse_ratio > 0 && last > items.saturating_mul(now.sparse_ratio);
        match (wide && last > now.sparse_safe, now.sparse_convert) {
            (true, false) => Err(SPARSE),
            (true, true) => Ok(0),
            (false, _) => Ok(max),
        }
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let left = self.most.saturating_sub(self.out.len());
        // The longest way to write a letter has six.
        if bytes.len() > left / 6 && written(bytes) > left {
            return Err(Refused::Long);
        }
        string(bytes, self.out);
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), Refused> {
        if !number.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refuse => return Err(Refused::Value(LUA_TNUMBER, c"must not be NaN or Inf")),
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::Write if number.is_nan() => {
                    self.out.extend_from_slice(b"nan");
                    return Ok(());
                }
                Invalid::Write => {}
            }
        }
        digits::put_general(number, self.settings.precision, self.out);
        Ok(())
    }
}

/// Letters that aren't written as they are.
const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0;
    while byte < 32 {
        escaped[byte] = true;
        byte += 1;
    }
    escaped[b'"' as usize] = true;
    escaped[b'\\' as usize] = true;
    escaped[b'/' as usize] = true;
    escaped[127] = true;
    escaped
};

/// How many bytes a string has as JSON, without its quotes.
fn written(bytes: &[u8]) -> usize {
    let letters = bytes.iter().map(|byte| match byte {
        8..=10 | 12 | 13 => 2,
        0..32 | 127 => 6,
        byte => 1 + usize::from(ESCAPED[usize::from(*byte)]),
    });
    letters.sum()
}

fn string(mut bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    while let Some(plain) = bytes.iter().position(|byte| ESCAPED[usize::from(*byte)]) {
        out.extend_from_slice(&bytes[..plain]);
        let byte = bytes[plain];
        let letter = match byte {
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            0..32 | 127 => b'u',
            other => other,
        };
        out.extend_from_slice(&[b'\\', letter]);
        if letter == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        bytes = &bytes[plain + 1..];
    }
    out.extend_from_slice(bytes);
    out.push(b'"');
}
