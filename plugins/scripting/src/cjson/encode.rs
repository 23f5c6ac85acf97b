//! Lua values as JSON. Nothing here recurses: a script chooses how deep its tables are.

use super::{DEEPEST, Invalid, Settings};
use crate::digits;
use mlua::{Function, Table, Value};

/// A table that is being written.
enum Open {
    /// The table, the next place and the last one.
    Array(Table, i64, i64),
    /// The table and the key that was written last; nil: none yet.
    Object(Table, Value),
}

/// JSON of a value, or why there is none. `next` walks through a table with a key in the hand: no list of pairs, whose handles would run out.
pub fn encode(settings: &Settings, next: &Function, value: &Value) -> Result<Vec<u8>, String> {
    let (mut out, mut open) = (Vec::new(), Vec::new());
    put(settings, value, &mut open, &mut out)?;
    while let Some(top) = open.last_mut() {
        let value = match top {
            Open::Array(_, next, last) if *next > *last => {
                out.push(b']');
                None
            }
            Open::Array(table, next, _) => {
                if *next > 1 {
                    out.push(b',');
                }
                *next += 1;
                Some(table.raw_get::<Value>(*next - 1).map_err(|error| error.to_string())?)
            }
            Open::Object(table, key) => {
                let pair = next.call::<(Value, Value)>((&*table, &*key)).map_err(|error| error.to_string())?;
                match pair {
                    (Value::Nil, _) => {
                        out.push(b'}');
                        None
                    }
                    (name, value) => {
                        if !key.is_nil() {
                            out.push(b',');
                        }
                        put_key(settings, &name, &mut out)?;
                        *key = name;
                        Some(value)
                    }
                }
            }
        };
        match value {
            Some(value) => put(settings, &value, &mut open, &mut out)?,
            None => drop(open.pop()),
        }
    }
    Ok(out)
}

fn cannot(value: &Value, why: &str) -> String {
    format!("Cannot serialise {}: {why}", crate::bit::kind(value))
}

/// Writes a value; of a table only the beginning.
fn put(settings: &Settings, value: &Value, open: &mut Vec<Open>, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend_from_slice(b"null"),
        Value::String(text) => string(&text.as_bytes(), out),
        Value::Integer(_) | Value::Number(_) => number(settings, value, out)?,
        Value::Table(table) => {
            let depth = open.len() + 1;
            if depth > settings.encode_depth.min(DEEPEST) {
                return Err(format!("Cannot serialise, excessive nesting ({depth})"));
            }
            match array_length(settings, table)? {
                Some(len) if len > 0 => {
                    out.push(b'[');
                    open.push(Open::Array(table.clone(), 1, len));
                }
                _ => {
                    out.push(b'{');
                    open.push(Open::Object(table.clone(), Value::Nil));
                }
            }
        }
        other => return Err(cannot(other, "type not supported")),
    }
    Ok(())
}

fn put_key(settings: &Settings, key: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match key {
        Value::String(text) => string(&text.as_bytes(), out),
        Value::Integer(_) | Value::Number(_) => {
            out.push(b'"');
            number(settings, key, out)?;
            out.push(b'"');
        }
        other => return Err(cannot(other, "table key must be a number or string")),
    }
    out.push(b':');
    Ok(())
}

/// How long an array a table is; `None` if it is none.
fn array_length(settings: &Settings, table: &Table) -> Result<Option<i64>, String> {
    let (mut max, mut items) = (0i64, 0i64);
    for pair in table.pairs::<Value, Value>() {
        let key = match pair.map_err(|error| error.to_string())?.0 {
            Value::Integer(key) => key,
            Value::Number(key) if key.fract() == 0.0 && (1.0..=2_147_483_647.0).contains(&key) => key as i64,
            _ => return Ok(None),
        };
        if key < 1 {
            return Ok(None);
        }
        max = max.max(key);
        items += 1;
    }
    let wide = settings.sparse_ratio > 0 && max > items.saturating_mul(settings.sparse_ratio);
    match (wide && max > settings.sparse_safe, settings.sparse_convert) {
        (true, false) => Err("Cannot serialise table: excessively sparse array".to_owned()),
        (true, true) => Ok(None),
        (false, _) => Ok(Some(max)),
    }
}

fn number(settings: &Settings, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    let number = crate::api::number(Some(value)).unwrap_or(f64::NAN);
    if !number.is_finite() {
        match settings.encode_invalid {
            Invalid::Refuse => return Err(cannot(value, "must not be NaN or Inf")),
            Invalid::Null => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            Invalid::Write if number.is_nan() => {
                out.extend_from_slice(b"nan");
                return Ok(());
            }
            Invalid::Write => {}
        }
    }
    out.extend_from_slice(digits::general(number, settings.precision).as_bytes());
    Ok(())
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | b'/' => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..32 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
