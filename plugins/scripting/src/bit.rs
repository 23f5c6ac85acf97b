//! `bit`: operations on 32-bit numbers, as LuaJIT's library has them: functions of the interpreter's own kind (see `stack`
//! for the rule).

use crate::{guard, stack};
use mlua::ffi::{self, lua_State};
use mlua::{Lua, Table, Value};
use std::ffi::c_int;

/// What a function does with one number, with all of its numbers, and with a number and how far to move it.
const UNARY: [fn(u32) -> u32; 3] = [|value| value, |value| !value, u32::swap_bytes];
const FOLDS: [fn(u32, u32) -> u32; 3] = [|a, b| a & b, |a, b| a | b, |a, b| a ^ b];
const SHIFTS: [fn(u32, u32) -> u32; 5] = [
    |value, by| value << by,
    |value, by| value >> by,
    |value, by| ((value as i32) >> by) as u32,
    u32::rotate_left,
    u32::rotate_right,
];

/// The library's functions.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let functions: [(&str, guard::Native); 12] = [
        ("tobit", unary::<0>),
        ("bnot", unary::<1>),
        ("bswap", unary::<2>),
        ("band", fold::<0>),
        ("bor", fold::<1>),
        ("bxor", fold::<2>),
        ("lshift", shift::<0>),
        ("rshift", shift::<1>),
        ("arshift", shift::<2>),
        ("rol", shift::<3>),
        ("ror", shift::<4>),
        ("tohex", to_hex),
    ];
    for (name, f) in functions {
        table.raw_set(name, guard::closure(lua, f, (), 0)?)?;
    }
    Ok(table)
}

/// An argument modulo 2^32, rounded to the nearest whole number, halves to even.
unsafe fn word(state: *mut lua_State, at: c_int) -> u32 {
    // SAFETY: the caller's. The trick with 2^52 + 2^51 leaves the low 32 bits in place.
    unsafe { (ffi::luaL_checknumber(state, at) + 6_755_399_441_055_744.0).to_bits() as u32 }
}

unsafe fn push(state: *mut lua_State, value: u32) -> c_int {
    // SAFETY: the caller's; there is room for the results of a function.
    unsafe { ffi::lua_pushnumber(state, f64::from(value as i32)) }
    1
}

unsafe extern "C-unwind" fn unary<const F: usize>(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing.
    unsafe { push(state, UNARY[F](word(state, 1))) }
}

unsafe extern "C-unwind" fn fold<const F: usize>(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        let mut value = word(state, 1);
        // From the last one: that is the one an error names.
        for at in (2..=ffi::lua_gettop(state)).rev() {
            value = FOLDS[F](value, word(state, at));
        }
        push(state, value)
    }
}

unsafe extern "C-unwind" fn shift<const F: usize>(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { push(state, SHIFTS[F](word(state, 1), word(state, 2) & 31)) }
}

unsafe extern "C-unwind" fn to_hex(state: *mut lua_State) -> c_int {
    const LOWER: &[u8; 16] = b"0123456789abcdef";
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    // SAFETY: as above.
    unsafe {
        let value = word(state, 1);
        let wanted = if ffi::lua_gettop(state) < 2 { 8 } else { word(state, 2) as i32 };
        let letters = if wanted < 0 { UPPER } else { LOWER };
        let digits: [u8; 8] = std::array::from_fn(|at| letters[(value >> (28 - 4 * at) & 15) as usize]);
        let count = wanted.unsigned_abs().min(8) as usize;
        stack::push_bytes(state, &digits[8 - count..]);
    }
    1
}

/// A value's type as Lua names it.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}
