//! JSON as Lua values, made where they belong on the interpreter's stack (see `stack` for the rule).

use super::DEEPEST;
use super::tokens::{Placed, Reader, Token};
use crate::stack;
use mlua::ffi::{self, lua_State};
use std::ffi::{CStr, c_int};

/// What a table that is being filled needs on the stack: itself, a key, a value.
const ROOM: c_int = 3;

/// A text that is being read.
pub struct Decoder<'d> {
    /// The interpreter that gets the values.
    pub state: *mut lua_State,
    /// Reads the text.
    pub reader: Reader<'d>,
    /// Tables may be in each other so deep.
    pub depth: usize,
}

impl Decoder<'_> {
    /// Pushes the value of the whole text. Raises what is wrong with it.
    ///
    /// # Safety
    /// As everything in `stack`; the text stays, and the reader's buffer is no frame's.
    pub unsafe fn whole(&mut self) {
        // SAFETY: the caller's.
        unsafe {
            let first = self.next();
            self.value(first, 0);
            let last = self.next();
            if last.1 != Token::End {
                self.expected(c"the end", &last);
            }
        }
    }

    /// The next word.
    fn next(&mut self) -> Placed {
        self.reader.token()
    }

    /// Raises what was found in place of something else.
    unsafe fn expected(&self, what: &CStr, found: &Placed) {
        const FORMAT: &CStr = c"Expected %s but found %s at character %d";
        // SAFETY: the caller's; texts and numbers are what the format wants.
        unsafe {
            let (what, name) = (what.as_ptr(), found.1.name().as_ptr());
            ffi::luaL_error(self.state, FORMAT.as_ptr(), what, name, (found.0 as c_int).wrapping_add(1));
        }
    }

    unsafe fn text(&self, token: Token) -> bool {
        // SAFETY: the caller's; what is pushed is copied.
        unsafe {
            match token {
                Token::Plain(begin, end) => stack::push_bytes(self.state, &self.reader.text[begin..end]),
                Token::Unescaped => stack::push_bytes(self.state, self.reader.unescaped),
                _ => return false,
            }
        }
        true
    }

    /// Pushes the value that begins with a word, inside of so many tables. It recurses, as deep as `DEEPEST` lets it.
    unsafe fn value(&mut self, first: Placed, depth: usize) {
        let state = self.state;
        // SAFETY: the caller's, who made room.
        unsafe {
            match first.1 {
                Token::Number(value) => ffi::lua_pushnumber(state, value),
                Token::Boolean(value) => ffi::lua_pushboolean(state, c_int::from(value)),
                Token::Null => ffi::lua_pushlightuserdata(state, std::ptr::null_mut()),
                Token::ObjectBegin => self.object(depth + 1),
                Token::ArrayBegin => self.array(depth + 1),
                other if self.text(other) => {}
                _ => self.expected(c"value", &first),
            }
        }
    }

    /// Pushes a table.
    unsafe fn descend(&mut self, depth: usize) {
        const FORMAT: &CStr = c"Found too many nested data structures (%d) at character %d";
        // SAFETY: the caller's; the numbers are what the format wants.
        unsafe {
            if depth > self.depth.min(DEEPEST) || ffi::lua_checkstack(self.state, ROOM) == 0 {
                ffi::luaL_error(self.state, FORMAT.as_ptr(), depth as c_int, self.reader.at as c_int);
            }
            ffi::lua_createtable(self.state, 0, 0);
        }
    }

    unsafe fn object(&mut self, depth: usize) {
        // SAFETY: the caller's; the table is below a key and its value.
        unsafe {
            self.descend(depth);
            let mut token = self.next();
            if token.1 == Token::ObjectEnd {
                return;
            }
            loop {
                if !self.text(token.1) {
                    self.expected(c"object key string", &token);
                }
                token = self.next();
                if token.1 != Token::Colon {
                    self.expected(c"colon", &token);
                }
                token = self.next();
                self.value(token, depth);
                ffi::lua_rawset(self.state, -3);
                token = self.next();
                match token.1 {
                    Token::ObjectEnd => return,
                    Token::Comma => token = self.next(),
                    _ => self.expected(c"comma or object end", &token),
                }
            }
        }
    }

    unsafe fn array(&mut self, depth: usize) {
        // SAFETY: the caller's; the table is below its value.
        unsafe {
            self.descend(depth);
            let mut token = self.next();
            if token.1 == Token::ArrayEnd {
                return;
            }
            // A text has fewer values than an int counts.
            for at in 1..=c_int::MAX {
                self.value(token, depth);
                ffi::lua_rawseti_(self.state, -2, at);
                token = self.next();
                match token.1 {
                    Token::ArrayEnd => return,
                    Token::Comma => token = self.next(),
                    _ => self.expected(c"comma or array end", &token),
                }
            }
        }
    }
}
