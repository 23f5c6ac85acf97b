//! The interpreter's stack by its own C functions, for the way that every script goes: the bindings put a protected call
//! around each string and table, which costs more than the command that a script calls. Small verbs only; what is
//! converted is in `convert`, what is called in `calls`, what is run in `entry`.
//!
//! An error of the interpreter (its memory ends) jumps to the nearest protected call over all frames between. So each
//! function here, and each caller up to a function that the interpreter called, holds nothing that must be dropped
//! while it calls one that may raise: texts and buffers belong to frames below the protected call.

use mlua::ffi::{self, lua_State};
use mlua::{Lua, Value};
use std::ffi::{CStr, c_char, c_int};

pub(crate) use ffi::{LUA_TBOOLEAN, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE};

/// Compiles text: a function, or the compiler's text byte by byte, which the bindings would make UTF-8.
pub(crate) fn compile(lua: &Lua, text: &[u8], name: &CStr) -> mlua::Result<Value> {
    // SAFETY: a protected call; the closure owns nothing, and the text is the caller's.
    unsafe {
        lua.exec_raw((), |state| {
            let first = text.as_ptr().cast::<c_char>();
            ffi::luaL_loadbufferx(state, first, text.len(), name.as_ptr(), c"t".as_ptr());
        })
    }
}

/// Pushes a string. May raise.
///
/// # Safety
/// As all of this module: `state` is alive and on its own thread, has room for another value, and the frames above the
/// next protected call hold nothing to drop.
pub(crate) unsafe fn push_bytes(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: the caller's; the bytes are copied.
    unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast::<c_char>(), bytes.len()) }
}

/// The bytes of a value that is a string; they live as long as it is on the stack.
///
/// # Safety
/// The value is a string: another one would be converted in its place.
pub(crate) unsafe fn bytes<'a>(state: *mut lua_State, at: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: the caller's; a string's bytes don't move.
    unsafe {
        let first = ffi::lua_tolstring(state, at, &mut len);
        std::slice::from_raw_parts(first.cast::<u8>(), len)
    }
}

/// Pushes what a table has under a name, without asking its metatable, and gives its type. May raise.
///
/// # Safety
/// As `push_bytes`, with room for two; `table` is a table's place, counted from below.
pub(crate) unsafe fn push_field(state: *mut lua_State, table: c_int, name: &[u8]) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        push_bytes(state, name);
        ffi::lua_rawget_(state, table);
        ffi::lua_type(state, -1)
    }
}

/// Pushes a table of strings. May raise.
///
/// # Safety
/// As `push_bytes`, with room for two.
pub(crate) unsafe fn push_words<'a>(state: *mut lua_State, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    // SAFETY: the caller's. A command has fewer words than an int counts.
    unsafe {
        ffi::lua_createtable(state, words.len() as c_int, 0);
        for (at, word) in words.enumerate() {
            push_bytes(state, word);
            ffi::lua_rawseti_(state, -2, at as c_int + 1);
        }
    }
}

/// Pushes a table `{name = the value on top}` in the value's place. May raise.
///
/// # Safety
/// As `push_bytes`, with room for three.
pub(crate) unsafe fn wrap(state: *mut lua_State, name: &[u8]) {
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_createtable(state, 0, 1);
        push_bytes(state, name);
        ffi::lua_pushvalue(state, -3);
        ffi::lua_rawset(state, -3);
        ffi::lua_remove(state, -2);
    }
}

/// Makes room for so many values more. May raise, if a script's stack is at its end.
///
/// # Safety
/// As `push_bytes`.
pub(crate) unsafe fn room(state: *mut lua_State, values: c_int) {
    const WHY: &CStr = c"too much data for the stack";
    // SAFETY: the caller's.
    unsafe { ffi::luaL_checkstack_(state, values, WHY.as_ptr()) }
}

/// Raises an error with a text and the place of the caller.
///
/// # Safety
/// As `push_bytes`. Never returns.
pub(crate) unsafe fn raise(state: *mut lua_State, text: &CStr) -> c_int {
    // SAFETY: the caller's; the text is the format's only argument.
    unsafe { ffi::luaL_error(state, c"%s".as_ptr(), text.as_ptr()) }
}
