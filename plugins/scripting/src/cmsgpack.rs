//! `cmsgpack`: MessagePack to Lua values and back, as the library inside Redis does it: functions of the interpreter's own
//! kind, which ask for room on its stack where that library does, so that both end at the same depth (see `stack` for the
//! rule). The bytes themselves are `words`.

mod words;

use crate::stack::{self, LUA_TBOOLEAN, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE};
use crate::{guard, scratch};
use mlua::ffi::{self, lua_State};
use mlua::{Lua, Table};
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int};
use words::{Reader, Word, Wrong};

/// Tables nested deeper are packed as nil.
const PACK_DEPTH: usize = 16;
/// The highest place that counts as an array's.
const LAST_PLACE: f64 = 2_147_483_647.0;
/// Whole numbers from here on are no integers.
const TOO_BIG: f64 = 9_223_372_036_854_775_808.0;

/// The library's functions.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let functions: [(&str, guard::Native); 4] =
        [("pack", pack), ("unpack", unpack), ("unpack_one", unpack_one), ("unpack_limit", unpack_limit)];
    for (name, f) in functions {
        table.raw_set(name, guard::closure(lua, f, (), 0)?)?;
    }
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

/// Makes room for so many values more, or raises an error that says where it ended.
unsafe fn need(state: *mut lua_State, values: c_int, place: &CStr) {
    // SAFETY: the caller's.
    unsafe { ffi::luaL_checkstack_(state, values, place.as_ptr()) }
}

unsafe extern "C-unwind" fn pack(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing, the buffer is the thread's.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count == 0 {
            return ffi::luaL_argerror(state, 0, c"MessagePack pack needs input.".as_ptr());
        }
        if ffi::lua_checkstack(state, count) == 0 {
            return ffi::luaL_argerror(state, 0, c"Too many arguments for MessagePack pack.".as_ptr());
        }
        let mut packed = Packed { out: scratch::text(), most: scratch::most(state) };
        for at in 1..=count {
            need(state, 1, c"in function mp_check");
            ffi::lua_pushvalue(state, at);
            pack_top(state, 0, &mut packed);
        }
        stack::push_bytes(state, packed.out);
        scratch::done();
        1
    }
}

/// A text that is being made, and how long it may get.
struct Packed<'p> {
    out: &'p mut Vec<u8>,
    most: usize,
}

impl Packed<'_> {
    /// Raises an error if so many bytes more are too many.
    unsafe fn need(&self, state: *mut lua_State, bytes: usize) {
        if self.out.len() + bytes > self.most {
            // SAFETY: the caller's, who uses the buffer no more.
            unsafe { scratch::refuse(state) };
        }
    }
}

/// Packs the value on top, which is inside of so many tables, and takes it away. It recurses, as deep as `PACK_DEPTH`.
unsafe fn pack_top(state: *mut lua_State, depth: usize, packed: &mut Packed<'_>) {
    // SAFETY: the caller's.
    unsafe {
        let kind = ffi::lua_type(state, -1);
        packed.need(state, if kind == LUA_TSTRING { stack::bytes(state, -1).len() } else { 0 });
        let out = &mut *packed.out;
        match kind {
            LUA_TSTRING => words::text(out, stack::bytes(state, -1)),
            LUA_TBOOLEAN => words::boolean(out, ffi::lua_toboolean(state, -1) != 0),
            LUA_TNUMBER => match ffi::lua_tonumber(state, -1) {
                whole if whole.trunc() == whole && (-TOO_BIG..TOO_BIG).contains(&whole) => {
                    words::integer(out, whole as i64);
                }
                other => words::double(out, other),
            },
            LUA_TTABLE if depth < PACK_DEPTH => pack_table(state, depth, packed),
            _ => words::nil(out),
        }
        ffi::lua_pop(state, 1);
    }
}

/// Packs the table on top.
unsafe fn pack_table(state: *mut lua_State, depth: usize, packed: &mut Packed<'_>) {
    // SAFETY: the caller's; the table isn't changed meanwhile, and a key isn't converted.
    unsafe {
        need(state, 2, c"in function table_is_an_array");
        let (count, array) = measure(state);
        if array {
            words::array(packed.out, count);
            need(state, 1, c"in function mp_encode_lua_table_as_array");
            for at in 1..=count {
                ffi::lua_rawgeti_(state, -1, at as c_int);
                pack_top(state, depth + 1, packed);
            }
            return;
        }
        words::map(packed.out, count);
        need(state, 3, c"in function mp_encode_lua_table_as_map");
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, -2) != 0 {
            ffi::lua_pushvalue(state, -2);
            pack_top(state, depth + 1, packed);
            pack_top(state, depth + 1, packed);
        }
    }
}

/// How many values the table on top has, and whether their keys are the numbers up to that.
unsafe fn measure(state: *mut lua_State) -> (usize, bool) {
    let (mut count, mut max, mut array) = (0usize, 0.0, true);
    // SAFETY: the caller's, as above.
    unsafe {
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, -2) != 0 {
            ffi::lua_pop(state, 1);
            count += 1;
            if array {
                let key = if ffi::lua_type(state, -1) == LUA_TNUMBER { ffi::lua_tonumber(state, -1) } else { 0.0 };
                array = (1.0..=LAST_PLACE).contains(&key) && key.trunc() == key;
                max = f64::max(max, key);
            }
        }
    }
    (count, array && max == count as f64)
}

unsafe extern "C-unwind" fn unpack(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing.
    unsafe { unpack_some(state, 0, 0) }
}

unsafe extern "C-unwind" fn unpack_one(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        let from = ffi::luaL_optinteger(state, 2, 0);
        ffi::lua_settop(state, ffi::lua_gettop(state).min(1));
        unpack_some(state, 1, from as i64)
    }
}

unsafe extern "C-unwind" fn unpack_limit(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        let limit = ffi::luaL_checkinteger(state, 2);
        let from = ffi::luaL_optinteger(state, 3, 0);
        ffi::lua_settop(state, ffi::lua_gettop(state).min(1));
        unpack_some(state, limit as i64, from as i64)
    }
}

/// Some values from a place on, and the place behind them (-1 at the end) in front. No value from the first place on
/// means all, without a place.
unsafe fn unpack_some(state: *mut lua_State, limit: i64, from: i64) -> c_int {
    const NEGATIVE: &CStr = c"Invalid request to unpack with offset of %d and limit of %d.";
    const BEHIND: &CStr = c"Start offset %d greater than input length %d.";
    // SAFETY: the caller's; the text stays on the stack, numbers are what the formats want.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        let text = stack::bytes(state, 1);
        let (at, len) = (from as c_int, text.len() as c_int);
        let (Ok(begin), Ok(most)) = (usize::try_from(from), usize::try_from(limit)) else {
            return ffi::luaL_error(state, NEGATIVE.as_ptr(), at, len);
        };
        if begin > text.len() {
            return ffi::luaL_error(state, BEHIND.as_ptr(), at, len);
        }
        let all = (limit, from) == (0, 0);
        let mut reader = Reader { text, at: begin };
        let mut count = 0;
        while reader.at < text.len() && (all || count < most) {
            push_value(state, &mut reader);
            count += 1;
        }
        if !all {
            need(state, 1, c"in function mp_unpack_full");
            let end = if reader.at == text.len() { -1.0 } else { reader.at as f64 };
            ffi::lua_pushnumber(state, end);
            ffi::lua_insert(state, 2);
            count += 1;
        }
        count as c_int
    }
}

/// A table that is being filled. It is on the stack, with the place or the key that the next value belongs to.
struct Open {
    /// Keys and values that are still to come.
    left: u64,
    map: bool,
    /// An array's last place.
    at: u64,
}

impl Open {
    /// Pushes the place where an array's next value goes.
    unsafe fn prepare(&mut self, state: *mut lua_State) {
        if !self.map {
            self.at += 1;
            // SAFETY: the caller's, who made room.
            unsafe { ffi::lua_pushnumber(state, self.at as f64) }
        }
    }

    /// Takes the value on top: a map's key stays there.
    unsafe fn put(&mut self, state: *mut lua_State) {
        self.left -= 1;
        if !self.map || self.left.is_multiple_of(2) {
            // SAFETY: the caller's; the table is below the key, that below the value.
            unsafe { ffi::lua_rawset(state, -3) }
        }
    }
}

thread_local! {
    /// Tables that are being filled: the thread's, for an error jumps over the function that fills them.
    static OPEN: UnsafeCell<Vec<Open>> = const { UnsafeCell::new(Vec::new()) };
}

/// Pushes the next value. Nothing here recurses: whoever packed it chose how deep it is.
unsafe fn push_value(state: *mut lua_State, reader: &mut Reader<'_>) {
    // SAFETY: the caller's. Nobody else uses the list: nothing in here calls a script.
    unsafe {
        let open = &mut *OPEN.with(UnsafeCell::get);
        open.clear();
        loop {
            if let Some(table) = push_word(state, reader) {
                open.push(table);
            } else if let Some(top) = open.last_mut() {
                top.put(state);
            } else {
                return;
            }
            // A table that is full is a value itself.
            while open.pop_if(|top| top.left == 0).is_some() {
                match open.last_mut() {
                    Some(top) => top.put(state),
                    None => return,
                }
            }
            if let Some(top) = open.last_mut() {
                top.prepare(state);
            }
        }
    }
}

/// Pushes a value that is none of others, or an empty table for those that follow.
unsafe fn push_word(state: *mut lua_State, reader: &mut Reader<'_>) -> Option<Open> {
    const MANY: &CStr = c"too many return values at once; use unpack_one or unpack_limit instead.";
    // SAFETY: the caller's; a text is copied.
    unsafe {
        if reader.at < reader.text.len() {
            need(state, 1, MANY);
        }
        match reader.word() {
            Ok(Word::Nil) => ffi::lua_pushnil(state),
            Ok(Word::Boolean(value)) => ffi::lua_pushboolean(state, c_int::from(value)),
            Ok(Word::Number(value)) => ffi::lua_pushnumber(state, value),
            Ok(Word::Text(begin, end)) => stack::push_bytes(state, &reader.text[begin..end]),
            Ok(Word::Array(len)) => {
                ffi::lua_createtable(state, 0, 0);
                need(state, 1, c"in function mp_decode_to_lua_array");
                return Some(Open { left: len, map: false, at: 0 });
            }
            Ok(Word::Map(len)) => {
                ffi::lua_createtable(state, 0, 0);
                return Some(Open { left: len * 2, map: true, at: 0 });
            }
            Err(Wrong::Missing) => drop(stack::raise(state, c"Missing bytes in input.")),
            Err(Wrong::Bad) => drop(stack::raise(state, c"Bad data format in input.")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlua::{Function, MultiValue, Value};

    /// What the library makes of bytes, or the first line of its error.
    fn unpacked(lua: &Lua, bytes: &[u8]) -> Result<MultiValue, String> {
        let unpack: Function = library(lua).unwrap().raw_get("unpack").unwrap();
        unpack.call(lua.create_string(bytes).unwrap()).map_err(|error| crate::interpreter::first_line(&error))
    }

    #[test]
    fn a_packed_value_may_be_as_deep_as_the_librarys_stack() {
        let lua = Lua::new();
        let nested = |head: &[u8], depth: usize| [head.repeat(depth), vec![1]].concat();
        assert_eq!(unpacked(&lua, &nested(b"\x91", 3999)).unwrap().len(), 1);
        let deep = "stack overflow (in function mp_decode_to_lua_array)";
        assert_eq!(unpacked(&lua, &nested(b"\x91", 4000)).unwrap_err(), deep);
        assert_eq!(unpacked(&lua, &nested(b"\x81\x01", 3900)).unwrap().len(), 1);
        let many = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
        assert_eq!(unpacked(&lua, &nested(b"\x81\xa1k", 4000)).unwrap_err(), many);
        assert_eq!(unpacked(&lua, &[1; 8001]).unwrap_err(), many);
    }

    #[test]
    fn tables_are_filled_from_the_inside() {
        let lua = Lua::new();
        // [{1: [], "k": [2, 3]}, {}], 4
        let bytes = b"\x92\x82\x01\x90\xa1k\x92\x02\x03\x80\x04";
        let values = unpacked(&lua, bytes).unwrap();
        assert_eq!(values.len(), 2);
        let Some(Value::Table(all)) = values.front() else { panic!("{values:?}") };
        let first: Table = all.raw_get(1).unwrap();
        assert_eq!(first.raw_get::<Vec<i64>>(1).unwrap(), []);
        assert_eq!(first.raw_get::<Vec<i64>>("k").unwrap(), [2, 3]);
        assert!(all.raw_get::<Table>(2).unwrap().is_empty());
        assert_eq!(unpacked(&lua, b"\x92\x01").unwrap_err(), "Missing bytes in input.");
        assert_eq!(unpacked(&lua, b"\xc1").unwrap_err(), "Bad data format in input.");
    }
}
