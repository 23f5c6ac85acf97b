//! Values between Redis' protocol and Lua, as Redis converts them, on the interpreter's own stack. Knows nothing of who
//! runs.

use crate::stack::{self, LUA_TBOOLEAN, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE};
use keystead_plugin::Proto;
use keystead_resp::Writer;
use mlua::ffi::{self, lua_State};
use mlua::{Lua, Table};
use std::ffi::c_int;

/// Replies nested deeper are not read; the server has none.
const MAX_DEPTH: usize = 200;
/// What writing a table needs on the stack, and one value of it.
const ROOM: c_int = 8;
/// A table with more entries is asked for its named fields; one with fewer is looked through for names first.
const FEW: usize = 8;

/// A reply that can't be read.
#[derive(Debug)]
pub struct Broken;

/// Why a script's value is no reply: the command fails with this text.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Code first.
    pub text: Vec<u8>,
    /// The server has counted the error already.
    pub counted: bool,
}

/// Pushes a reply as a script sees it. An error reply is a table with `err`. May raise.
///
/// # Safety
/// As everything in `stack`; the bytes stay until it returns or raises.
pub unsafe fn push(state: *mut lua_State, bytes: &[u8]) -> Result<(), Broken> {
    // SAFETY: the caller's.
    unsafe { push_next(state, &mut &bytes[..], 0) }
}

/// Pushes one reply of those in `rest`.
unsafe fn push_next(state: *mut lua_State, rest: &mut &[u8], depth: usize) -> Result<(), Broken> {
    let (kind, text) = line(rest)?.split_first().ok_or(Broken)?;
    if depth > MAX_DEPTH {
        return Err(Broken);
    }
    // SAFETY: the caller's; `room` keeps room for what each kind pushes, and for one level more.
    unsafe {
        stack::room(state, 8);
        match kind {
            b'$' => match number(text)? {
                len if len < 0 => ffi::lua_pushboolean(state, 0),
                len => stack::push_bytes(state, take(rest, len as usize)?),
            },
            b':' => ffi::lua_pushnumber(state, number(text)? as f64),
            b'+' => push_status(state, text),
            b'-' => push_error(state, text, true),
            b'*' | b'>' => match number(text)? {
                len if len < 0 => ffi::lua_pushboolean(state, 0),
                len => push_array(state, rest, len as usize, depth)?,
            },
            b'%' => {
                ffi::lua_createtable(state, 0, 0);
                for _ in 0..number(text)? {
                    push_next(state, rest, depth + 1)?;
                    push_next(state, rest, depth + 1)?;
                    ffi::lua_rawset(state, -3);
                }
                stack::wrap(state, b"map");
            }
            b'~' => {
                ffi::lua_createtable(state, 0, 0);
                for _ in 0..number(text)? {
                    push_next(state, rest, depth + 1)?;
                    ffi::lua_pushboolean(state, 1);
                    ffi::lua_rawset(state, -3);
                }
                stack::wrap(state, b"set");
            }
            b'|' => {
                // An attribute stands before the reply it belongs to; scripts don't see it.
                for _ in 0..number(text)?.saturating_mul(2) {
                    push_next(state, rest, depth + 1)?;
                    ffi::lua_pop(state, 1);
                }
                push_next(state, rest, depth + 1)?;
            }
            b'_' => ffi::lua_pushnil(state),
            b'#' => ffi::lua_pushboolean(state, c_int::from(text == b"t")),
            b',' => {
                ffi::lua_pushnumber(state, double(text)?);
                stack::wrap(state, b"double");
            }
            b'(' => {
                stack::push_bytes(state, text);
                stack::wrap(state, b"big_number");
            }
            b'=' => push_verbatim(state, take(rest, usize::try_from(number(text)?).map_err(|_| Broken)?)?)?,
            _ => return Err(Broken),
        }
    }
    Ok(())
}

unsafe fn push_array(state: *mut lua_State, rest: &mut &[u8], len: usize, depth: usize) -> Result<(), Broken> {
    let room = c_int::try_from(len.min(rest.len())).map_err(|_| Broken)?;
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_createtable(state, room, 0);
        for at in 1..=len {
            push_next(state, rest, depth + 1)?;
            ffi::lua_rawseti_(state, -2, at as c_int);
        }
    }
    Ok(())
}

/// Pushes `{ok = text}`. May raise.
///
/// # Safety
/// As everything in `stack`, with room for three.
pub unsafe fn push_status(state: *mut lua_State, text: &[u8]) {
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_createtable(state, 0, 1);
        stack::push_bytes(state, b"ok");
        stack::push_bytes(state, text);
        ffi::lua_rawset(state, -3);
    }
}

/// Pushes `{err = text}`; `counted` as a failed command gives it: already counted by the server. May raise.
///
/// # Safety
/// As everything in `stack`, with room for three.
pub unsafe fn push_error(state: *mut lua_State, text: &[u8], counted: bool) {
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_createtable(state, 0, 2);
        stack::push_bytes(state, b"err");
        stack::push_bytes(state, text);
        ffi::lua_rawset(state, -3);
        if counted {
            stack::push_bytes(state, b"ignore_error_stats_update");
            ffi::lua_pushboolean(state, 1);
            ffi::lua_rawset(state, -3);
        }
    }
}

unsafe fn push_verbatim(state: *mut lua_State, body: &[u8]) -> Result<(), Broken> {
    let (format, string) = body.split_at_checked(4).ok_or(Broken)?;
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_createtable(state, 0, 2);
        for (name, text) in [(&b"format"[..], &format[..3]), (b"string", string)] {
            stack::push_bytes(state, name);
            stack::push_bytes(state, text);
            ffi::lua_rawset(state, -3);
        }
        stack::wrap(state, b"verbatim_string");
    }
    Ok(())
}

/// The same table as a value of the bindings.
pub fn error_table(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    table.raw_set("ignore_error_stats_update", true)?;
    Ok(table)
}

fn number(text: &[u8]) -> Result<i64, Broken> {
    keystead_resp::number::parse_i64(text).ok_or(Broken)
}

fn double(text: &[u8]) -> Result<f64, Broken> {
    match text {
        b"nan" => Ok(f64::NAN),
        _ => keystead_resp::number::parse_f64(text).ok_or(Broken),
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Broken> {
    let end = rest.iter().position(|byte| *byte == b'\r').ok_or(Broken)?;
    let head = &rest[..end];
    *rest = rest[end..].strip_prefix(b"\r\n").ok_or(Broken)?;
    Ok(head)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Broken> {
    let (body, tail) = rest.split_at_checked(len).ok_or(Broken)?;
    *rest = tail.strip_prefix(b"\r\n").ok_or(Broken)?;
    Ok(body)
}

/// A table that is being written. It is on the stack, with the keys and values that its kind needs.
pub enum Open {
    /// How many values are written, and how many there are.
    List(c_int, c_int),
    /// The key that was written last is above it.
    Map,
    /// The same, with the key's value above the key: that is to be written.
    Value,
    /// As a map.
    Set,
}

/// Writes a script's result, the value on top of the stack, and takes it away. `script` is the protocol the script chose
/// (booleans depend on it); the writer has the client's. A reply of more than `most` bytes is refused. May raise; what is
/// written then is half a reply. Nothing recurses: a table may be as deep as the interpreter's stack.
///
/// # Safety
/// As everything in `stack`; the writer's buffer and `open`, which is empty, belong to a frame below the protected call.
pub unsafe fn write(
    state: *mut lua_State,
    out: &mut Writer<'_>,
    script: Proto,
    open: &mut Vec<Open>,
    most: usize,
) -> Result<(), Refused> {
    // SAFETY: the caller's.
    unsafe {
        write_top(state, out, script, open)?;
        while !open.is_empty() {
            if push_next_of(state, open) {
                if out.out.len() + length(state) > most {
                    return Err(Refused { text: b"ERR not enough memory".to_vec(), counted: false });
                }
                write_top(state, out, script, open)?;
            }
        }
    }
    Ok(())
}

/// Bytes of the value on top, if it is a string.
unsafe fn length(state: *mut lua_State) -> usize {
    // SAFETY: the caller's.
    unsafe { if ffi::lua_type(state, -1) == LUA_TSTRING { stack::bytes(state, -1).len() } else { 0 } }
}

/// Writes the value on top and takes it away; of a table only the beginning: it stays, and is open.
unsafe fn write_top(
    state: *mut lua_State,
    out: &mut Writer<'_>,
    script: Proto,
    open: &mut Vec<Open>,
) -> Result<(), Refused> {
    // SAFETY: the caller's.
    unsafe {
        match ffi::lua_type(state, -1) {
            LUA_TSTRING => out.bulk(stack::bytes(state, -1)),
            LUA_TNUMBER => out.int(whole(ffi::lua_tonumber(state, -1))),
            LUA_TBOOLEAN => match (script, ffi::lua_toboolean(state, -1) != 0) {
                (Proto::Resp3, value) => out.bool(value),
                (_, true) => out.int(1),
                (_, false) => out.null(),
            },
            LUA_TTABLE if ffi::lua_checkstack(state, ROOM) == 0 => out.error("ERR reached lua stack limit"),
            LUA_TTABLE => {
                let table = ffi::lua_gettop(state);
                if is_plain_list(state, table) || !write_named(state, table, out, open)? {
                    ffi::lua_settop(state, table);
                    let len = list_length(state);
                    out.array(len as usize);
                    open.push(Open::List(0, len));
                }
                return Ok(());
            }
            _ => out.null(),
        }
        ffi::lua_pop(state, 1);
    }
    Ok(())
}

/// Pushes what is to be written next of the innermost table; false if that is at its end and gone.
unsafe fn push_next_of(state: *mut lua_State, open: &mut Vec<Open>) -> bool {
    let Some(top) = open.last_mut() else { return false };
    // SAFETY: the caller's; there is room since the table was opened. It isn't changed meanwhile, and a key isn't converted.
    unsafe {
        match top {
            Open::List(at, len) if *at < *len => {
                *at += 1;
                ffi::lua_rawgeti_(state, -1, *at);
                return true;
            }
            Open::List(..) => ffi::lua_pop(state, 1),
            Open::Value => {
                *top = Open::Map;
                return true;
            }
            Open::Map | Open::Set => {
                if ffi::lua_next(state, -2) != 0 {
                    match top {
                        Open::Set => ffi::lua_pop(state, 1),
                        _ => *top = Open::Value,
                    }
                    let key = if matches!(top, Open::Set) { -1 } else { -2 };
                    ffi::lua_pushvalue(state, key);
                    return true;
                }
                ffi::lua_pop(state, 1);
            }
        }
    }
    open.pop();
    false
}

/// As C casts a double to a long long; what doesn't fit is the smallest one.
fn whole(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) { value as i64 } else { i64::MIN }
}

/// A short table without names. Of others it isn't known: each would be looked through twice.
unsafe fn is_plain_list(state: *mut lua_State, table: c_int) -> bool {
    // SAFETY: the caller's; the table isn't changed meanwhile.
    unsafe {
        ffi::lua_pushnil(state);
        for _ in 0..FEW {
            if ffi::lua_next(state, table) == 0 {
                return true;
            }
            ffi::lua_pop(state, 1);
            if ffi::lua_type(state, -1) != LUA_TNUMBER {
                break;
            }
        }
        ffi::lua_pop(state, 1);
    }
    false
}

/// Writes a table that says by a name what it is, and takes it away, or opens it; false if it doesn't: it is the caller's, with
/// values above it.
unsafe fn write_named(
    state: *mut lua_State,
    table: c_int,
    out: &mut Writer<'_>,
    open: &mut Vec<Open>,
) -> Result<bool, Refused> {
    // SAFETY: the caller's, who made room: a name asked in vain is taken from the stack again.
    unsafe {
        let has = |name: &[u8], kind: c_int| {
            ffi::lua_settop(state, table);
            stack::push_field(state, table, name) == kind
        };
        if has(b"err", LUA_TSTRING) {
            if !open.is_empty() {
                out.error(until_zero(stack::bytes(state, -1)));
            } else {
                let kind = stack::push_field(state, table, b"ignore_error_stats_update");
                let counted = kind == LUA_TBOOLEAN && ffi::lua_toboolean(state, -1) != 0;
                return Err(Refused { text: until_zero(stack::bytes(state, -2)).to_vec(), counted });
            }
        } else if has(b"ok", LUA_TSTRING) {
            write_line(b'+', until_zero(stack::bytes(state, -1)), out);
        } else if has(b"double", LUA_TNUMBER) {
            out.double(ffi::lua_tonumber(state, -1));
        } else if has(b"big_number", LUA_TSTRING) {
            match out.proto {
                keystead_resp::Proto::Resp3 => write_line(b'(', stack::bytes(state, -1), out),
                keystead_resp::Proto::Resp2 => out.bulk(one_line(stack::bytes(state, -1))),
            }
        } else if has(b"verbatim_string", LUA_TTABLE) && write_verbatim(state, out) {
        } else if has(b"map", LUA_TTABLE) {
            out.map(count(state, table + 1));
            open_pairs(state, table, Open::Map, open);
            return Ok(true);
        } else if has(b"set", LUA_TTABLE) {
            out.set(count(state, table + 1));
            open_pairs(state, table, Open::Set, open);
            return Ok(true);
        } else {
            return Ok(false);
        }
        ffi::lua_settop(state, table - 1);
    }
    Ok(true)
}

/// The verbatim string of the table on top; false if it is none.
unsafe fn write_verbatim(state: *mut lua_State, out: &mut Writer<'_>) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let verbatim = ffi::lua_gettop(state);
        let string = stack::push_field(state, verbatim, b"string");
        let format = stack::push_field(state, verbatim, b"format");
        if (string, format) != (LUA_TSTRING, LUA_TSTRING) {
            return false;
        }
        let mut three = *b"   ";
        three.iter_mut().zip(stack::bytes(state, -1)).for_each(|(to, from)| *to = *from);
        out.verbatim(three, stack::bytes(state, -2));
    }
    true
}

/// The table with the pairs, on top, takes the place of the one that named it; no key of it is written yet.
unsafe fn open_pairs(state: *mut lua_State, table: c_int, kind: Open, open: &mut Vec<Open>) {
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_replace(state, table);
        ffi::lua_pushnil(state);
    }
    open.push(kind);
}

/// How many values the list on top has: it ends at the first nil. They are counted first, for a header that is put in front
/// later moves all that stands behind it, once for each table around it.
unsafe fn list_length(state: *mut lua_State) -> c_int {
    let mut len = 0;
    // SAFETY: the caller's, who made room.
    unsafe {
        loop {
            ffi::lua_rawgeti_(state, -1, len + 1);
            let ends = ffi::lua_type(state, -1) == ffi::LUA_TNIL;
            ffi::lua_pop(state, 1);
            if ends {
                return len;
            }
            len += 1;
        }
    }
}

/// How many pairs a table has.
unsafe fn count(state: *mut lua_State, table: c_int) -> usize {
    let mut pairs = 0;
    // SAFETY: the caller's; the table isn't changed meanwhile.
    unsafe {
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, table) != 0 {
            ffi::lua_pop(state, 1);
            pairs += 1;
        }
    }
    pairs
}

/// A line of any bytes, as the writer has them of texts.
fn write_line(kind: u8, text: &[u8], out: &mut Writer<'_>) {
    out.out.push(kind);
    out.out.extend_from_slice(&one_line(text));
    out.out.extend_from_slice(b"\r\n");
}

fn one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

/// A text as Redis takes it from a status or an error: it ends at a zero byte.
pub fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// `redis.error_reply`: `-CODE text` and `CODE text` keep their code, a single word gets `ERR` in front.
pub fn put_coded(text: &[u8], out: &mut Vec<u8>) {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = &text[..end];
    if !text.contains(&b' ') {
        out.extend_from_slice(b"ERR ");
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
