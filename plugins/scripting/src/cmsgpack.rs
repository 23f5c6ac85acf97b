//! `cmsgpack`: MessagePack to Lua values and back, as the library inside Redis does it.

use crate::api::{Answer, Fault, bad_argument, number, put, text_of};
use mlua::{Lua, MultiValue, Table, Value};

/// Tables nested deeper are packed as nil.
const PACK_DEPTH: usize = 16;
/// Deeper nesting is not unpacked: unpacking recurses.
const UNPACK_DEPTH: usize = 200;
/// More values at once don't fit: the interpreter has some 8,000 slots for them.
const MANY: usize = 7000;

/// The library's functions.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    put(lua, &table, "pack", |lua, args| {
        if args.is_empty() {
            return Err(bad_argument(0, "pack", "MessagePack pack needs input."));
        }
        let mut out = Vec::new();
        args.iter().try_for_each(|value| pack(value, 0, &mut out))?;
        Ok(lua.create_string(out)?)
    })?;
    put(lua, &table, "unpack", |lua, args| {
        let text = text(&args, "unpack")?;
        Ok(unpack(lua, &text, 0, None)?.0)
    })?;
    put(lua, &table, "unpack_one", |lua, args| {
        let from = offset(&args, 2)?;
        limited(lua, &text(&args, "unpack_one")?, from, 1)
    })?;
    put(lua, &table, "unpack_limit", |lua, args| {
        let Some(limit) = number(args.get(1)).map(|limit| limit as i64) else {
            let got = args.get(1).map_or("no value", crate::bit::kind);
            return Err(bad_argument(2, "unpack_limit", format!("number expected, got {got}")));
        };
        let from = offset(&args, 3)?;
        limited(lua, &text(&args, "unpack_limit")?, from, limit)
    })?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "")?;
    table.raw_set("_DESCRIPTION", "MessagePack for Lua")?;
    Ok(table)
}

fn text(args: &MultiValue, name: &str) -> Answer<Vec<u8>> {
    text_of(args.front()).ok_or_else(|| {
        let got = args.front().map_or("no value", crate::bit::kind);
        bad_argument(1, name, format!("string expected, got {got}"))
    })
}

fn offset(args: &MultiValue, at: usize) -> Answer<i64> {
    match args.get(at - 1) {
        None | Some(Value::Nil) => Ok(0),
        value => Ok(number(value).unwrap_or(0.0) as i64),
    }
}

/// Some values from a place on, and the place behind them (-1 at the end) in front. No value from the first place on
/// means all, without a place.
fn limited(lua: &Lua, text: &[u8], from: i64, limit: i64) -> Answer {
    if from < 0 || limit < 0 {
        return Err(Fault::text(format!(
            "Invalid request to unpack with offset of {from} and limit of {}.",
            text.len()
        )));
    }
    if (from, limit) == (0, 0) {
        return Ok(unpack(lua, text, 0, None)?.0);
    }
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    if from > text.len() {
        return Err(Fault::text(format!("Start offset {from} greater than input length {}.", text.len())));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut values, end) = unpack(lua, text, from, Some(limit))?;
    values.push_front(Value::Number(if end == text.len() { -1.0 } else { end as f64 }));
    Ok(values)
}

fn unpack(lua: &Lua, text: &[u8], from: usize, limit: Option<usize>) -> Answer<(MultiValue, usize)> {
    let mut reader = Reader { lua, text, at: from };
    let mut values = Vec::new();
    while reader.at < text.len() && limit.is_none_or(|limit| values.len() < limit) {
        if values.len() >= MANY {
            return Err(Fault::text("too many return values at once; use unpack_one or unpack_limit instead."));
        }
        values.push(reader.value(0)?);
    }
    Ok((MultiValue::from_iter(values), reader.at))
}

struct Reader<'r> {
    lua: &'r Lua,
    text: &'r [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Answer<&[u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.text.len());
        let Some(end) = end else { return Err(Fault::text("Missing bytes in input.")) };
        let bytes = &self.text[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// A big-endian number of so many bytes.
    fn word(&mut self, len: usize) -> Answer<u64> {
        Ok(self.take(len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn string(&mut self, len: u64) -> Answer<Value> {
        let lua = self.lua;
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(Value::String(lua.create_string(bytes)?))
    }

    fn value(&mut self, depth: usize) -> Answer<Value> {
        let kind = self.word(1)? as u8;
        let number = |value: f64| Ok(Value::Number(value));
        match kind {
            0x00..=0x7f => number(f64::from(kind)),
            0xe0..=0xff => number(f64::from(kind as i8)),
            0x80..=0x8f => self.map(u64::from(kind & 15), depth),
            0x90..=0x9f => self.array(u64::from(kind & 15), depth),
            0xa0..=0xbf => self.string(u64::from(kind & 31)),
            0xc0 => Ok(Value::Nil),
            0xc2 => Ok(Value::Boolean(false)),
            0xc3 => Ok(Value::Boolean(true)),
            0xca => number(f64::from(f32::from_bits(self.word(4)? as u32))),
            0xcb => number(f64::from_bits(self.word(8)?)),
            // The library hands them on as signed: the upper half of 64 bits is negative.
            0xcc..=0xcf => number(self.word(1 << (kind - 0xcc))? as i64 as f64),
            0xd0 => number(f64::from(self.word(1)? as u8 as i8)),
            0xd1 => number(f64::from(self.word(2)? as u16 as i16)),
            0xd2 => number(f64::from(self.word(4)? as u32 as i32)),
            0xd3 => number(self.word(8)? as i64 as f64),
            0xd9..=0xdb => {
                let len = self.word(1 << (kind - 0xd9))?;
                self.string(len)
            }
            0xdc | 0xdd => {
                let len = self.word(2 << (kind - 0xdc))?;
                self.array(len, depth)
            }
            0xde | 0xdf => {
                let len = self.word(2 << (kind - 0xde))?;
                self.map(len, depth)
            }
            _ => Err(Fault::text("Bad data format in input.")),
        }
    }

    fn deeper(&self, depth: usize) -> Answer<Table> {
        if depth >= UNPACK_DEPTH {
            return Err(Fault::text("Bad data format in input."));
        }
        Ok(self.lua.create_table()?)
    }

    fn array(&mut self, len: u64, depth: usize) -> Answer<Value> {
        let table = self.deeper(depth)?;
        for at in 1..=len {
            let value = self.value(depth + 1)?;
            table.raw_set(at, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: u64, depth: usize) -> Answer<Value> {
        let table = self.deeper(depth)?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }
}

fn pack(value: &Value, depth: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    match value {
        Value::String(text) => {
            let bytes = text.as_bytes();
            head(out, bytes.len(), [(31, 0xa0), (0xff, 0xd9), (0xffff, 0xda), (usize::MAX, 0xdb)]);
            out.extend_from_slice(&bytes);
        }
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(value) => integer(out, *value),
        Value::Number(value) if value.fract() == 0.0 && value.abs() < 9.2e18 => integer(out, *value as i64),
        Value::Number(value) if f64::from(*value as f32) == *value => {
            out.push(0xca);
            out.extend_from_slice(&(*value as f32).to_be_bytes());
        }
        Value::Number(value) => {
            out.push(0xcb);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Table(table) if depth < PACK_DEPTH => pack_table(table, depth, out)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn pack_table(table: &Table, depth: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    let (mut count, mut max, mut array) = (0usize, 0usize, true);
    for pair in table.pairs::<Value, Value>() {
        let place = match pair?.0 {
            Value::Integer(at) => usize::try_from(at).unwrap_or(0),
            Value::Number(at) if at.fract() == 0.0 && (1.0..2e9).contains(&at) => at as usize,
            _ => 0,
        };
        (count, max, array) = (count + 1, max.max(place), array && place > 0);
    }
    if array && max == count {
        head(out, count, [(15, 0x90), (0, 0), (0xffff, 0xdc), (usize::MAX, 0xdd)]);
        return (1..=count).try_for_each(|at| pack(&table.raw_get(at)?, depth + 1, out));
    }
    head(out, count, [(15, 0x80), (0, 0), (0xffff, 0xde), (usize::MAX, 0xdf)]);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        pack(&key, depth + 1, out)?;
        pack(&value, depth + 1, out)?;
    }
    Ok(())
}

/// A length in the shortest of four forms: in the type's own byte, or behind it in one, two or four bytes.
fn head(out: &mut Vec<u8>, len: usize, forms: [(usize, u8); 4]) {
    let [(tiny, first), (short, byte), (medium, two), (_, four)] = forms;
    if len <= tiny {
        out.push(first | len as u8);
    } else if len <= short {
        out.extend_from_slice(&[byte, len as u8]);
    } else if len <= medium {
        out.push(two);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        out.push(four);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}

fn integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0..=127 => out.push(value as u8),
        128..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
        -32..0 => out.push(value as u8),
        -128..-32 => out.extend_from_slice(&[0xd0, value as u8]),
        -32768..-128 => {
            out.push(0xd1);
            out.extend_from_slice(&(value as i16).to_be_bytes());
        }
        -2_147_483_648..-32768 => {
            out.push(0xd2);
            out.extend_from_slice(&(value as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
