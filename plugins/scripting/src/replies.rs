//! What scripts make of texts with `redis.*`: replies, errors and hashes, as functions of the interpreter's own kind (see
//! `stack` for the rule).

use crate::stack::{self, LUA_TNUMBER, LUA_TSTRING};
use crate::{api, convert, guard, scratch};
use mlua::ffi::{self, lua_State};
use mlua::{Lua, Table};
use std::ffi::c_int;

/// Puts them into the table that scripts see as `redis`.
pub fn register(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    let functions: [(&str, guard::Native); 3] =
        [("error_reply", error_reply), ("status_reply", status_reply), ("sha1hex", sha1hex)];
    functions.into_iter().try_for_each(|(name, f)| redis.raw_set(name, guard::closure(lua, f, (), 0)?))
}

/// The only argument, if it is a text.
unsafe fn one_text<'t>(state: *mut lua_State) -> Option<&'t [u8]> {
    // SAFETY: the caller's; it stays on the stack.
    unsafe {
        let one = ffi::lua_gettop(state) == 1 && ffi::lua_type(state, 1) == LUA_TSTRING;
        one.then(|| stack::bytes(state, 1))
    }
}

unsafe extern "C-unwind" fn error_reply(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing, the buffer is the thread's.
    unsafe {
        let text = match one_text(state) {
            Some(text) => {
                let coded = scratch::text();
                convert::put_coded(text, coded);
                coded.as_slice()
            }
            None => b"ERR wrong number or type of arguments",
        };
        convert::push_error(state, text, false);
        scratch::done();
    }
    1
}

unsafe extern "C-unwind" fn status_reply(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        match one_text(state) {
            Some(text) => convert::push_status(state, text),
            None => convert::push_error(state, b"ERR wrong number or type of arguments", false),
        }
    }
    1
}

unsafe extern "C-unwind" fn sha1hex(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        if ffi::lua_gettop(state) != 1 {
            convert::push_error(state, b"ERR wrong number of arguments", false);
            ffi::lua_error(state)
        }
        let text = match ffi::lua_type(state, 1) {
            LUA_TSTRING | LUA_TNUMBER => {
                // A number becomes a text in its place.
                ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
                stack::bytes(state, 1)
            }
            _ => b"",
        };
        stack::push_bytes(state, &api::sha1hex(text));
    }
    1
}
