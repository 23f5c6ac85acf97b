//! Functions of the interpreter's own that would change a stand-in, see past it or overflow: what must be so is checked, then
//! the function goes on in the same frame. So its errors name the script's line, and itself as the script calls it, which they
//! would not behind a function in Lua.

use crate::stack;
use mlua::ffi::{self, lua_State};
use mlua::{Function, IntoLuaMulti, LightUserData, Lua, Table, Value};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) type Native = unsafe extern "C-unwind" fn(*mut lua_State) -> c_int;

/// Values of a function that is made here, in the order that it wants them.
const FIRST: c_int = ffi::lua_upvalueindex(1);
const SECOND: c_int = ffi::lua_upvalueindex(2);
const THIRD: c_int = ffi::lua_upvalueindex(3);

/// As many values as fit on the interpreter's stack.
const MOST_VALUES: f64 = 7999.0;

/// A pattern's items that may be there several times, or not, each nest a call or two of the interpreter's matcher, with up to
/// 161 bytes of the stack (unoptimised). So these need 2.6 MB of a thread's 8, of which calls in each other may have 2.
const MOST_REPEATS: usize = 16 * 1024;

/// Puts what makes such functions into the table that the prelude has.
pub fn register(lua: &Lua, native: &Table) -> mlua::Result<()> {
    let kinds: [(&str, Native); 5] = [
        ("keep", keep),
        ("see_through", see_through),
        ("with_function", with_function),
        ("with_text", with_text),
        ("with_value", with_value),
    ];
    for (name, f) in kinds {
        let of = move |lua: &Lua, (inner, real): (Function, Value)| closure(lua, f, (inner, real), 2);
        native.raw_set(name, lua.create_function(of)?)?;
    }
    let pairs = |lua: &Lua, all: (Function, Table, Function)| closure(lua, pairs, all, 3);
    native.raw_set("pairs", lua.create_function(pairs)?)?;
    let checked: [(&str, Native); 4] = [
        ("unpack", unpack),
        ("pattern", pattern),
        ("plain_or_pattern", plain_or_pattern),
        ("repeat_text", repeat_text),
    ];
    for (name, f) in checked {
        let of = move |lua: &Lua, inner: Function| closure(lua, f, inner, 1);
        native.raw_set(name, lua.create_function(of)?)?;
    }
    Ok(())
}

/// A function of the interpreter's own kind with values of its own.
pub(crate) fn closure(lua: &Lua, f: Native, values: impl IntoLuaMulti, count: c_int) -> mlua::Result<Function> {
    // SAFETY: a protected call, with exactly these values on the stack.
    unsafe { lua.exec_raw(values, |state| ffi::lua_pushcclosure(state, f, count)) }
}

/// The first value in this frame.
unsafe fn go_on(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's: the function is the interpreter's and looks at its arguments only.
    unsafe {
        match ffi::lua_tocfunction(state, FIRST) {
            Some(f) => f(state),
            None => stack::raise(state, c"a function of the interpreter is missing"),
        }
    }
}

/// The first value, a function in Lua, with all arguments.
unsafe fn pass_on(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        let count = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, FIRST);
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, count, ffi::LUA_MULTRET);
        ffi::lua_gettop(state)
    }
}

/// Pushes what the first argument stands for; nil: for itself.
unsafe fn push_real(state: *mut lua_State, real: c_int) {
    // SAFETY: the caller's.
    unsafe {
        match ffi::lua_type(state, 1) {
            stack::LUA_TTABLE => {
                ffi::lua_pushvalue(state, 1);
                ffi::lua_rawget_(state, real);
            }
            _ => ffi::lua_pushnil(state),
        }
    }
}

/// A function that changes its first argument.
unsafe extern "C-unwind" fn keep(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing.
    unsafe {
        push_real(state, SECOND);
        if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
            stack::push_bytes(state, b"Attempt to modify a readonly table");
            ffi::lua_error(state)
        }
        ffi::lua_pop(state, 1);
        go_on(state)
    }
}

/// A function that looks into its first argument.
unsafe extern "C-unwind" fn see_through(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        push_real(state, SECOND);
        match ffi::lua_type(state, -1) {
            ffi::LUA_TNIL => ffi::lua_pop(state, 1),
            _ => ffi::lua_replace(state, 1),
        }
        go_on(state)
    }
}

unsafe extern "C-unwind" fn with_function(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TFUNCTION);
        pass_on(state)
    }
}

unsafe extern "C-unwind" fn with_text(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        pass_on(state)
    }
}

unsafe extern "C-unwind" fn with_value(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::luaL_checkany(state, 1);
        pass_on(state)
    }
}

/// `pairs`: the way through a stand-in, the table of stand-ins, the way through others.
unsafe extern "C-unwind" fn pairs(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::luaL_checktype(state, 1, stack::LUA_TTABLE);
        push_real(state, SECOND);
        let stands_in = ffi::lua_type(state, -1) != ffi::LUA_TNIL;
        ffi::lua_pushvalue(state, if stands_in { FIRST } else { THIRD });
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnil(state);
        3
    }
}

/// Whether matching these would nest more calls than the stack has room for.
fn is_too_complex(pattern: &[u8]) -> bool {
    let repeats = |byte: &&u8| matches!(byte, b'*' | b'+' | b'-' | b'?');
    // What repeats stands behind another byte.
    pattern.len() > 2 * MOST_REPEATS && pattern.iter().filter(repeats).count() > MOST_REPEATS
}

/// A function whose second argument is a pattern.
unsafe extern "C-unwind" fn pattern(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        if ffi::lua_type(state, 2) == stack::LUA_TSTRING && is_too_complex(stack::bytes(state, 2)) {
            return stack::raise(state, c"pattern too complex");
        }
        go_on(state)
    }
}

/// `find`, whose fourth argument may say that it is none.
unsafe extern "C-unwind" fn plain_or_pattern(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { if ffi::lua_toboolean(state, 4) != 0 { go_on(state) } else { pattern(state) } }
}

/// `rep`, which goes round for nothing as often as it is told where the text is empty: ten seconds in which nobody gets a word in.
unsafe extern "C-unwind" fn repeat_text(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        let empty = ffi::lua_type(state, 1) == stack::LUA_TSTRING && stack::bytes(state, 1).is_empty();
        if empty && ffi::lua_isnumber(state, 2) != 0 {
            ffi::lua_settop(state, 1);
            return 1;
        }
        go_on(state)
    }
}

/// `collectgarbage`, which may change how the collector works, for all scripts: then that is noted in the flag that the second
/// value points to.
unsafe extern "C-unwind" fn collect(state: *mut lua_State) -> c_int {
    // SAFETY: as above; the flag lives as long as the interpreter.
    unsafe {
        let harmless: [&[u8]; 3] = [b"collect", b"count", b"step"];
        if ffi::lua_type(state, 1) == stack::LUA_TSTRING && !harmless.contains(&stack::bytes(state, 1)) {
            (*ffi::lua_touserdata(state, SECOND).cast::<AtomicBool>()).store(true, Ordering::Relaxed);
        }
        go_on(state)
    }
}

/// Puts `collectgarbage` into the table that the prelude has. It notes in the flag if the collector was changed.
///
/// # Safety
/// The flag lives as long as the interpreter.
pub(crate) unsafe fn register_collector(lua: &Lua, native: &Table, changed: &AtomicBool) -> mlua::Result<()> {
    let flag = LightUserData(std::ptr::from_ref(changed).cast_mut().cast());
    let real: Function = lua.globals().raw_get("collectgarbage")?;
    native.raw_set("collectgarbage", closure(lua, collect, (real, flag), 2)?)
}

/// `unpack`, which overflows an int where the range is wide.
unsafe extern "C-unwind" fn unpack(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::luaL_checktype(state, 1, stack::LUA_TTABLE);
        let number = |at: c_int, default: f64| match ffi::lua_type(state, at) {
            ffi::LUA_TNIL | ffi::LUA_TNONE => Some(default),
            _ if ffi::lua_isnumber(state, at) != 0 => Some(ffi::lua_tonumber(state, at)),
            _ => None,
        };
        if let (Some(from), Some(to)) = (number(2, 1.0), number(3, ffi::lua_objlen(state, 1) as f64)) {
            if from > to {
                return 0;
            }
            if !(to - from < MOST_VALUES && from >= f64::from(i32::MIN) && to <= f64::from(i32::MAX)) {
                return stack::raise(state, c"too many results to unpack");
            }
        }
        go_on(state)
    }
}
