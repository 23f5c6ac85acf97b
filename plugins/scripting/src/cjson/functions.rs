//! `encode` and `decode`, as functions of the interpreter's own kind (see `stack` for the rule).

use super::decode::Decoder;
use super::encode::{self, Encoder};
use super::tokens::Reader;
use super::{Settings, Shared};
use crate::{guard, scratch, stack};
use mlua::ffi::{self, lua_State};
use mlua::{LightUserData, Lua, Table};
use std::ffi::c_int;
use std::sync::Arc;

/// Where the settings are: the first value of both functions. The second has a share in them, so that they stay.
const SETTINGS: c_int = ffi::lua_upvalueindex(1);

/// Puts both into the library.
pub fn register(lua: &Lua, table: &Table, settings: &Shared) -> mlua::Result<()> {
    let here = LightUserData(Arc::as_ptr(settings).cast_mut().cast());
    let share = settings.clone();
    let keep = lua.create_function(move |_, ()| {
        let _ = &share;
        Ok(())
    })?;
    table.raw_set("encode", guard::closure(lua, encode, (here, &keep), 2)?)?;
    table.raw_set("decode", guard::closure(lua, decode, (here, &keep), 2)?)
}

/// What the script set.
unsafe fn settings(state: *mut lua_State) -> Settings {
    // SAFETY: the caller is one of both functions, which have a share in what the pointer points at.
    let settings = unsafe { &*ffi::lua_touserdata(state, SETTINGS).cast::<parking_lot::Mutex<Settings>>() };
    *settings.lock()
}

/// Raises an error unless there is one argument.
unsafe fn one_argument(state: *mut lua_State) {
    // SAFETY: the caller's.
    unsafe {
        if ffi::lua_gettop(state) != 1 {
            ffi::luaL_argerror(state, 1, c"expected 1 argument".as_ptr());
        }
    }
}

unsafe extern "C-unwind" fn encode(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing, the buffer is the thread's.
    unsafe {
        one_argument(state);
        let mut encoder =
            Encoder { state, settings: settings(state), out: scratch::text(), most: scratch::most(state) };
        if let Err(why) = encoder.value(0) {
            return encode::raise(state, &why);
        }
        stack::push_bytes(state, encoder.out);
        scratch::done();
        1
    }
}

unsafe extern "C-unwind" fn decode(state: *mut lua_State) -> c_int {
    // SAFETY: as above; the text stays on the stack.
    unsafe {
        one_argument(state);
        let now = settings(state);
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        let text = stack::bytes(state, 1);
        if text.len() >= 2 && text[..2].contains(&0) {
            return stack::raise(state, c"JSON parser does not support UTF-16 or UTF-32");
        }
        let reader = Reader { text, at: 0, odd_numbers: now.decode_invalid, unescaped: scratch::text() };
        Decoder { state, reader, depth: now.decode_depth }.whole();
        scratch::done();
        1
    }
}
