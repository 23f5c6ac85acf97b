//! A buffer for functions of ours that make a text. It is the thread's: an error of the interpreter jumps over the function
//! that fills it, which so must not own it. One at a time uses it: none of these functions calls a script. It isn't the
//! interpreter's memory, so each asks how long its text may get: it becomes a string of the interpreter in the end.

use crate::stack;
use mlua::Lua;
use mlua::ffi::{self, lua_State};
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};

/// A buffer that grew beyond this isn't kept.
const KEPT: usize = 256 * 1024;

thread_local! {
    static TEXT: UnsafeCell<Vec<u8>> = const { UnsafeCell::new(Vec::new()) };
}

/// Its address is the name of an interpreter's limit among what scripts don't see.
static LIMIT: u8 = 0;

fn limit_name() -> *mut c_void {
    std::ptr::from_ref(&LIMIT).cast_mut().cast()
}

/// Notes how much memory an interpreter may take.
pub(crate) fn set_limit(lua: &Lua, bytes: usize) -> mlua::Result<()> {
    // SAFETY: a protected call, with room for both.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushlightuserdata(state, limit_name());
            ffi::lua_pushnumber(state, bytes as f64);
            ffi::lua_rawset(state, ffi::LUA_REGISTRYINDEX);
        })
    }
}

/// How long a text may get: as much as the interpreter may still take.
///
/// # Safety
/// As everything in `stack`, with room for one.
pub(crate) unsafe fn most(state: *mut lua_State) -> usize {
    // SAFETY: the caller's; nothing is called, and a number is no string of the interpreter's.
    unsafe {
        ffi::lua_pushlightuserdata(state, limit_name());
        ffi::lua_rawget_(state, ffi::LUA_REGISTRYINDEX);
        let limit = ffi::lua_tonumber(state, -1) as usize;
        ffi::lua_pop(state, 1);
        let used = ffi::lua_gc(state, ffi::LUA_GCCOUNT, 0) as usize * 1024;
        limit.saturating_sub(used)
    }
}

/// Raises the error of an interpreter whose memory ends, for a text that got too long.
///
/// # Safety
/// As everything in `stack`; nobody uses the buffer any more.
pub(crate) unsafe fn refuse(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        done();
        stack::room(state, 1);
        stack::push_bytes(state, b"not enough memory");
        ffi::lua_error(state)
    }
}

/// The buffer, empty.
///
/// # Safety
/// Nobody uses it any more who had it before.
pub(crate) unsafe fn text<'t>() -> &'t mut Vec<u8> {
    // SAFETY: the caller's; it is the thread's own, and lives as long.
    let text = unsafe { &mut *TEXT.with(UnsafeCell::get) };
    if text.capacity() > KEPT {
        *text = Vec::new();
    }
    text.clear();
    text
}

/// Behind its use: a big one goes.
///
/// # Safety
/// As above.
pub(crate) unsafe fn done() {
    // SAFETY: the caller's.
    let _ = unsafe { text() };
}

/// What the thread's buffer takes.
#[cfg(test)]
pub(crate) fn taken() -> usize {
    // SAFETY: nobody uses it between two functions of ours.
    TEXT.with(|text| unsafe { (*text.get()).capacity() })
}
