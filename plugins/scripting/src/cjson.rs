//! `cjson`: JSON to Lua values and back, as the library inside Redis does it, settings and texts included.

#[allow(unsafe_code)]
mod decode;
#[allow(unsafe_code)]
mod encode;
#[allow(unsafe_code)]
mod functions;
mod tokens;

use crate::api::{Answer, bad_argument, put, text_of};
use crate::bit::kind;
use mlua::{Lua, MultiValue, Table, Value};
use parking_lot::Mutex;
use std::sync::Arc;

/// Nesting beyond this is refused whatever a script sets: both directions recurse.
const DEEPEST: usize = 1000;

/// What a script may set; it stays for the scripts after it.
#[derive(Clone, Copy)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: usize,
    decode_depth: usize,
    encode_invalid: Invalid,
    decode_invalid: bool,
    precision: usize,
    keep_buffer: bool,
}

/// Settings of one library; its functions share them.
type Shared = Arc<Mutex<Settings>>;

/// What becomes of numbers that JSON doesn't have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refuse,
    Write,
    Null,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: DEEPEST,
            decode_depth: DEEPEST,
            encode_invalid: Invalid::Refuse,
            decode_invalid: true,
            precision: 14,
            keep_buffer: true,
        }
    }
}

/// The library's functions.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = fresh(lua)?;
    put(lua, &table, "new", |lua, _| Ok(fresh(lua)?))?;
    Ok(table)
}

fn fresh(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let settings = Shared::default();
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    knobs(lua, &table, &settings)?;
    functions::register(lua, &table, &settings)?;
    Ok(table)
}

fn knobs(lua: &Lua, table: &Table, settings: &Shared) -> mlua::Result<()> {
    let with = settings.clone();
    put(lua, table, "encode_sparse_array", move |_, args| {
        let mut now = with.lock();
        let name = "encode_sparse_array";
        at_most(&args, 3, name)?;
        flag(&args, 1, name, &mut now.sparse_convert)?;
        integer(&args, 2, name, 0, i64::from(i32::MAX), &mut now.sparse_ratio)?;
        integer(&args, 3, name, 0, i64::from(i32::MAX), &mut now.sparse_safe)?;
        Ok((now.sparse_convert, now.sparse_ratio as f64, now.sparse_safe as f64))
    })?;
    type Pick = fn(&mut Settings) -> &mut usize;
    let numbers: [(&'static str, i64, Pick); 3] = [
        ("encode_max_depth", i64::from(i32::MAX), |now| &mut now.encode_depth),
        ("decode_max_depth", i64::from(i32::MAX), |now| &mut now.decode_depth),
        ("encode_number_precision", 14, |now| &mut now.precision),
    ];
    for (name, max, pick) in numbers {
        let with = settings.clone();
        put(lua, table, name, move |_, args| {
            at_most(&args, 1, name)?;
            let mut now = with.lock();
            let mut value = *pick(&mut now) as i64;
            integer(&args, 1, name, 1, max, &mut value)?;
            *pick(&mut now) = value as usize;
            Ok(value as f64)
        })?;
    }
    let with = settings.clone();
    put(lua, table, "encode_keep_buffer", move |_, args| {
        at_most(&args, 1, "encode_keep_buffer")?;
        let mut now = with.lock();
        flag(&args, 1, "encode_keep_buffer", &mut now.keep_buffer)?;
        Ok(now.keep_buffer)
    })?;
    let with = settings.clone();
    put(lua, table, "decode_invalid_numbers", move |_, args| {
        at_most(&args, 1, "decode_invalid_numbers")?;
        let mut now = with.lock();
        flag(&args, 1, "decode_invalid_numbers", &mut now.decode_invalid)?;
        Ok(now.decode_invalid)
    })?;
    let with = settings.clone();
    put(lua, table, "encode_invalid_numbers", move |lua, args| {
        let mut now = with.lock();
        at_most(&args, 1, "encode_invalid_numbers")?;
        match args.front() {
            None | Some(Value::Nil) => {}
            Some(Value::String(word)) if *word == "null" => now.encode_invalid = Invalid::Null,
            _ => {
                let mut write = now.encode_invalid == Invalid::Write;
                flag(&args, 1, "encode_invalid_numbers", &mut write)?;
                now.encode_invalid = if write { Invalid::Write } else { Invalid::Refuse };
            }
        }
        Ok(match now.encode_invalid {
            Invalid::Refuse => Value::Boolean(false),
            Invalid::Write => Value::Boolean(true),
            Invalid::Null => Value::String(lua.create_string("null")?),
        })
    })
}

/// A setting that is on or off: a boolean, `"on"` or `"off"`.
fn flag(args: &MultiValue, at: usize, name: &str, to: &mut bool) -> Answer<()> {
    match args.get(at - 1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *to = *value,
        Some(Value::String(word)) if *word == "on" => *to = true,
        Some(Value::String(word)) if *word == "off" => *to = false,
        other => {
            let what = match text_of(other) {
                Some(word) => [b"invalid option '", &word[..], b"'"].concat(),
                None => format!("string expected, got {}", other.map_or("no value", kind)).into_bytes(),
            };
            return Err(bad_argument(at, name, what));
        }
    }
    Ok(())
}

fn at_most(args: &MultiValue, most: usize, name: &str) -> Answer<()> {
    match args.len() > most {
        true => Err(bad_argument(most + 1, name, "found too many arguments")),
        false => Ok(()),
    }
}

fn integer(args: &MultiValue, at: usize, name: &str, min: i64, max: i64, to: &mut i64) -> Answer<()> {
    if matches!(args.get(at - 1), None | Some(Value::Nil)) {
        return Ok(());
    }
    match crate::api::number(args.get(at - 1)).map(|value| value as i64) {
        Some(value) if (min..=max).contains(&value) => *to = value,
        // Whichever argument it is, the library says that it is the first.
        Some(_) => return Err(bad_argument(1, name, format!("expected integer between {min} and {max}"))),
        None => {
            let got = args.get(at - 1).map_or("no value", kind);
            return Err(bad_argument(at, name, format!("number expected, got {got}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
