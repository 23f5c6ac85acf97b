//! Values between Redis' protocol and Lua, as Redis converts them. Knows nothing of who runs.

use keystead_plugin::Proto;
use keystead_resp::Writer;
use mlua::{Lua, Table, Value};

/// Tables nested deeper are not answered.
const MAX_DEPTH: usize = 200;

/// A reply as a script sees it. An error reply is a table with `err`.
pub fn to_lua(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    read(lua, &mut &bytes[..])
}

fn read(lua: &Lua, rest: &mut &[u8]) -> mlua::Result<Value> {
    let head = line(rest)?;
    let (kind, text) = head.split_first().ok_or_else(broken)?;
    Ok(match kind {
        b'+' => Value::Table(field(lua, "ok", lua.create_string(text)?)?),
        b'-' => Value::Table(error_table(lua, text)?),
        b':' => Value::Number(number(text)? as f64),
        b'$' => match number(text)? {
            len if len < 0 => Value::Boolean(false),
            len => Value::String(lua.create_string(take(rest, len as usize)?)?),
        },
        b'*' | b'>' => match number(text)? {
            len if len < 0 => Value::Boolean(false),
            len => Value::Table(array(lua, rest, len as usize)?),
        },
        b'%' => {
            let map = lua.create_table()?;
            for _ in 0..number(text)? {
                let (key, value) = (read(lua, rest)?, read(lua, rest)?);
                map.raw_set(key, value)?;
            }
            Value::Table(field(lua, "map", map)?)
        }
        b'~' => {
            let set = lua.create_table()?;
            for _ in 0..number(text)? {
                set.raw_set(read(lua, rest)?, true)?;
            }
            Value::Table(field(lua, "set", set)?)
        }
        b'|' => {
            // An attribute stands before the reply it belongs to; scripts don't see it.
            for _ in 0..number(text)? * 2 {
                read(lua, rest)?;
            }
            read(lua, rest)?
        }
        b'_' => Value::Nil,
        b'#' => Value::Boolean(text == b"t"),
        b',' => Value::Table(field(lua, "double", double(text)?)?),
        b'(' => Value::Table(field(lua, "big_number", lua.create_string(text)?)?),
        b'=' => {
            let body = take(rest, usize::try_from(number(text)?).map_err(|_| broken())?)?;
            let (format, string) = body.split_at_checked(4).ok_or_else(broken)?;
            let verbatim = lua.create_table()?;
            verbatim.raw_set("format", lua.create_string(&format[..3])?)?;
            verbatim.raw_set("string", lua.create_string(string)?)?;
            Value::Table(field(lua, "verbatim_string", verbatim)?)
        }
        _ => return Err(broken()),
    })
}

fn array(lua: &Lua, rest: &mut &[u8], len: usize) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(len.min(rest.len()), 0)?;
    for at in 1..=len {
        let item = read(lua, rest)?;
        table.raw_set(at, item)?;
    }
    Ok(table)
}

/// `{err = text}` as a failed command gives it: already counted by the server.
pub fn error_table(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = field(lua, "err", lua.create_string(text)?)?;
    table.raw_set("ignore_error_stats_update", true)?;
    Ok(table)
}

fn field(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(table)
}

fn broken() -> mlua::Error {
    mlua::Error::runtime("a reply of the server can't be read")
}

fn number(text: &[u8]) -> mlua::Result<i64> {
    keystead_resp::number::parse_i64(text).ok_or_else(broken)
}

fn double(text: &[u8]) -> mlua::Result<f64> {
    match text {
        b"nan" => Ok(f64::NAN),
        _ => keystead_resp::number::parse_f64(text).ok_or_else(broken),
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> mlua::Result<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or_else(broken)?;
    let head = &rest[..end];
    *rest = &rest[end + 2..];
    Ok(head)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> mlua::Result<&'a [u8]> {
    let (body, tail) = rest.split_at_checked(len).ok_or_else(broken)?;
    *rest = tail.strip_prefix(b"\r\n").ok_or_else(broken)?;
    Ok(body)
}

/// Writes a script's result. `script` is the protocol the script chose (booleans depend on it); the writer has the
/// client's. An error's text is given back instead: the command fails with it.
pub fn write(out: &mut Writer<'_>, script: Proto, value: &Value, depth: usize) -> Result<(), String> {
    match value {
        Value::String(bytes) => out.bulk(bytes.as_bytes()),
        Value::Integer(value) => out.int(*value),
        Value::Number(value) => out.int(whole(*value)),
        Value::Boolean(value) if script == Proto::Resp3 => out.bool(*value),
        Value::Boolean(true) => out.int(1),
        Value::Table(table) if depth < MAX_DEPTH => return write_table(out, script, table, depth),
        Value::Table(_) => return Err("ERR reached lua stack limit".to_owned()),
        _ => out.null(),
    }
    Ok(())
}

/// As C casts a double to a long long; what doesn't fit is the smallest one.
fn whole(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) { value as i64 } else { i64::MIN }
}

fn get(table: &Table, name: &str) -> Value {
    table.raw_get(name).unwrap_or(Value::Nil)
}

fn write_table(out: &mut Writer<'_>, script: Proto, table: &Table, depth: usize) -> Result<(), String> {
    if let Value::String(text) = get(table, "err") {
        let text = error_text(&text.as_bytes());
        if depth == 0 {
            return Err(text);
        }
        out.error(text);
        return Ok(());
    }
    if let Value::String(text) = get(table, "ok") {
        out.simple(&text.to_string_lossy().replace(['\r', '\n'], " "));
        return Ok(());
    }
    if let Some(value) = get(table, "double").as_number() {
        out.double(value);
        return Ok(());
    }
    if let Value::Table(map) = get(table, "map") {
        return write_map(out, script, &map, depth);
    }
    if let Value::Table(set) = get(table, "set") {
        out.set(count(&set));
        for (item, _) in set.pairs::<Value, Value>().flatten() {
            write(out, script, &item, depth + 1)?;
        }
        return Ok(());
    }
    if let Value::String(digits) = get(table, "big_number") {
        out.bignum(&digits.to_string_lossy().replace(['\r', '\n'], " "));
        return Ok(());
    }
    if let Value::Table(verbatim) = get(table, "verbatim_string")
        && let (Value::String(string), Value::String(format)) = (get(&verbatim, "string"), get(&verbatim, "format"))
    {
        let mut three = *b"   ";
        three.iter_mut().zip(format.as_bytes().iter()).for_each(|(to, from)| *to = *from);
        out.verbatim(three, string.as_bytes());
        return Ok(());
    }
    let mark = out.defer();
    let mut len = 0;
    loop {
        let item: Value = table.raw_get(len + 1).unwrap_or(Value::Nil);
        if item.is_nil() {
            break;
        }
        write(out, script, &item, depth + 1)?;
        len += 1;
    }
    out.end_array(mark, len);
    Ok(())
}

fn write_map(out: &mut Writer<'_>, script: Proto, map: &Table, depth: usize) -> Result<(), String> {
    out.map(count(map));
    for (key, value) in map.pairs::<Value, Value>().flatten() {
        write(out, script, &key, depth + 1)?;
        write(out, script, &value, depth + 1)?;
    }
    Ok(())
}

/// How many pairs a table has. They are counted, not listed: there are some 8,000 handles of values at most.
fn count(table: &Table) -> usize {
    table.pairs::<Value, Value>().flatten().count()
}

/// An error's text as it leaves: a leading dash is the protocol's.
pub fn error_text(text: &[u8]) -> String {
    String::from_utf8_lossy(text.strip_prefix(b"-").unwrap_or(text)).into_owned()
}

/// `redis.error_reply`: `-CODE text` and `CODE text` keep their code, a single word gets `ERR` in front.
pub fn coded(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = &text[..end];
    if text.contains(&b' ') { text.to_vec() } else { [b"ERR ", text].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(wire: &str, script: Proto, client: Proto) -> String {
        let lua = Lua::new();
        let value = to_lua(&lua, wire.as_bytes()).unwrap();
        let mut out = Vec::new();
        let proto = if client == Proto::Resp3 { keystead_resp::Proto::Resp3 } else { keystead_resp::Proto::Resp2 };
        match write(&mut Writer::new(&mut out, proto), script, &value, 0) {
            Ok(()) => String::from_utf8(out).unwrap(),
            Err(text) => format!("-{text}\r\n"),
        }
    }

    #[test]
    fn replies_survive_a_script() {
        use Proto::{Resp2, Resp3};
        for same in [":12\r\n", "$3\r\nabc\r\n", "+OK\r\n", "-WRONGTYPE no\r\n", "*2\r\n:1\r\n*0\r\n"] {
            assert_eq!(there_and_back(same, Resp2, Resp2), same);
        }
        for same in ["_\r\n", "#t\r\n", ",1.5\r\n", "(123\r\n", "=8\r\ntxt:text\r\n", "%1\r\n+a\r\n:1\r\n".trim()] {
            let wire = if same.starts_with('%') { "%1\r\n$1\r\na\r\n:1\r\n" } else { same };
            assert_eq!(there_and_back(wire, Resp3, Resp3), wire);
        }
        assert_eq!(there_and_back("$-1\r\n", Resp2, Resp2), "$-1\r\n");
        assert_eq!(there_and_back("*-1\r\n", Resp2, Resp2), "$-1\r\n");
        assert_eq!(there_and_back("#f\r\n", Resp3, Resp2), ":0\r\n");
        assert_eq!(there_and_back("*2\r\n:1\r\n_\r\n", Resp3, Resp3), "*1\r\n:1\r\n", "nil ends an array");
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let lua = Lua::new();
        for wire in ["", "$5\r\nab\r\n", "*2\r\n:1\r\n", "?x\r\n", ":x\r\n", "=2\r\nab\r\n"] {
            assert!(to_lua(&lua, wire.as_bytes()).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn codes() {
        assert_eq!(coded(b"oops"), b"ERR oops");
        assert_eq!(coded(b"My Err"), b"My Err");
        assert_eq!(coded(b"-NO way\r\n"), b"NO way");
    }
}
