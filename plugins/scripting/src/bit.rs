//! `bit`: operations on 32-bit numbers, as LuaJIT's library has them.

use crate::api::{Answer, bad_argument, number, put};
use mlua::{Lua, MultiValue, Table, Value};

type Unary = fn(u32) -> u32;
type Binary = fn(u32, u32) -> u32;

/// The library's functions.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let unary: [(&'static str, Unary); 3] =
        [("tobit", |value| value), ("bnot", |value| !value), ("bswap", u32::swap_bytes)];
    for (name, f) in unary {
        put(lua, &table, name, move |_, args| Ok(signed(f(word(&args, 1, name)?))))?;
    }
    let folds: [(&'static str, Binary); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, f) in folds {
        put(lua, &table, name, move |_, args| {
            let mut value = word(&args, 1, name)?;
            // From the last one: that is the one an error names.
            for at in (2..=args.len()).rev() {
                value = f(value, word(&args, at, name)?);
            }
            Ok(signed(value))
        })?;
    }
    let shifts: [(&'static str, Binary); 5] = [
        ("lshift", |value, by| value << by),
        ("rshift", |value, by| value >> by),
        ("arshift", |value, by| ((value as i32) >> by) as u32),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, f) in shifts {
        put(lua, &table, name, move |_, args| Ok(signed(f(word(&args, 1, name)?, word(&args, 2, name)? & 31))))?;
    }
    put(lua, &table, "tohex", |_, args| {
        let value = word(&args, 1, "tohex")?;
        let wanted = if args.len() < 2 { 8 } else { word(&args, 2, "tohex")? as i32 };
        let digits = wanted.unsigned_abs().min(8) as usize;
        let all = if wanted < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
        Ok(all[8 - digits..].to_owned())
    })?;
    Ok(table)
}

fn signed(value: u32) -> f64 {
    f64::from(value as i32)
}

/// An argument modulo 2^32, rounded to the nearest whole number, halves to even.
fn word(args: &MultiValue, at: usize, name: &str) -> Answer<u32> {
    let Some(value) = number(args.get(at - 1)) else {
        let got = args.get(at - 1).map_or("no value", |value| kind(value));
        return Err(bad_argument(at, name, format!("number expected, got {got}")));
    };
    // The trick with 2^52 + 2^51 leaves the low 32 bits in place.
    Ok((value + 6_755_399_441_055_744.0).to_bits() as u32)
}

/// A value's type as Lua names it.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}
