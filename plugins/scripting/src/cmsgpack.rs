//! `cmsgpack`: MessagePack to Lua values and back, as the library inside Redis does it.

use crate::api::{Answer, Fault, bad_argument, number, put, text_of};
use mlua::{Lua, MultiValue, Table, Value};

/// Tables nested deeper are packed as nil.
const PACK_DEPTH: usize = 16;
/// The interpreter's stack has so many slots: the library takes two of them for a table it is inside of.
const SLOTS: usize = 8000;
/// The bindings have a few less for values they hold.
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
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
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
            return Err(too_many());
        }
        values.push(reader.value(values.len())?);
    }
    Ok((MultiValue::from_iter(values), reader.at))
}

fn too_many() -> Fault {
    Fault::text("stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)")
}

/// What was read.
enum Read {
    /// A value.
    Whole(Value),
    /// The beginning of so many.
    Array(u64),
    /// The beginning of so many pairs.
    Map(u64),
}

/// A table that is being filled.
struct Open {
    table: Table,
    /// Keys and values that are still to come.
    left: u64,
    map: bool,
    /// An array's last place.
    at: u64,
    /// A key that waits for its value.
    key: Option<Value>,
    /// Slots of the stack below it, and values held.
    below: (usize, usize),
}

impl Open {
    /// With those of its own.
    fn slots(&self) -> (usize, usize) {
        let keyed = usize::from(self.key.is_some());
        (self.below.0 + 1 + if self.map { keyed } else { 1 }, self.below.1 + 1 + keyed)
    }

    fn put(&mut self, value: Value) -> mlua::Result<()> {
        self.left -= 1;
        if !self.map {
            self.at += 1;
            return self.table.raw_set(self.at, value);
        }
        match self.key.take() {
            Some(key) => self.table.raw_set(key, value),
            None => {
                self.key = Some(value);
                Ok(())
            }
        }
    }
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

    fn string(&mut self, len: u64) -> Answer<Read> {
        let lua = self.lua;
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(Read::Whole(Value::String(lua.create_string(bytes)?)))
    }

    /// The next value, behind so many others. Nothing here recurses: whoever packed it chose how deep it is.
    fn value(&mut self, before: usize) -> Answer<Value> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let (slots, held) = open.last().map_or((1 + before, before), Open::slots);
            if slots >= SLOTS || held >= MANY {
                return Err(too_many());
            }
            let (left, map) = match self.next()? {
                Read::Whole(value) => match open.last_mut() {
                    Some(top) => {
                        top.put(value)?;
                        (0, None)
                    }
                    None => return Ok(value),
                },
                Read::Array(_) if slots + 2 > SLOTS => {
                    return Err(Fault::text("stack overflow (in function mp_decode_to_lua_array)"));
                }
                Read::Array(len) => (len, Some(false)),
                Read::Map(len) => (len * 2, Some(true)),
            };
            if let Some(map) = map {
                let table = self.lua.create_table()?;
                open.push(Open { table, left, map, at: 0, key: None, below: (slots, held) });
            }
            while let Some(full) = open.pop_if(|top| top.left == 0) {
                match open.last_mut() {
                    Some(top) => top.put(Value::Table(full.table))?,
                    None => return Ok(Value::Table(full.table)),
                }
            }
        }
    }

    fn next(&mut self) -> Answer<Read> {
        let kind = self.word(1)? as u8;
        let whole = |value| Ok(Read::Whole(value));
        let number = |value: f64| whole(Value::Number(value));
        match kind {
            0x00..=0x7f => number(f64::from(kind)),
            0xe0..=0xff => number(f64::from(kind as i8)),
            0x80..=0x8f => Ok(Read::Map(u64::from(kind & 15))),
            0x90..=0x9f => Ok(Read::Array(u64::from(kind & 15))),
            0xa0..=0xbf => self.string(u64::from(kind & 31)),
            0xc0 => whole(Value::Nil),
            0xc2 => whole(Value::Boolean(false)),
            0xc3 => whole(Value::Boolean(true)),
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
            0xdc | 0xdd => Ok(Read::Array(self.word(2 << (kind - 0xdc))?)),
            0xde | 0xdf => Ok(Read::Map(self.word(2 << (kind - 0xde))?)),
            _ => Err(Fault::text("Bad data format in input.")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8]) -> Result<MultiValue, String> {
        unpack(&Lua::new(), bytes, 0, None).map(|(values, _)| values).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_packed_value_may_be_as_deep_as_the_librarys_stack() {
        let nested = |head: &[u8], depth: usize| [head.repeat(depth), vec![1]].concat();
        assert_eq!(unpacked(&nested(b"\x91", 3999)).unwrap().len(), 1);
        let deep = "stack overflow (in function mp_decode_to_lua_array)";
        assert_eq!(unpacked(&nested(b"\x91", 4000)).unwrap_err(), deep);
        assert_eq!(unpacked(&nested(b"\x81\x01", 3400)).unwrap().len(), 1);
        let many = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
        assert_eq!(unpacked(&nested(b"\x81\xa1k", 4000)).unwrap_err(), many);
        assert_eq!(unpacked(&[1; MANY + 1]).unwrap_err(), many);
    }

    #[test]
    fn tables_are_filled_from_the_inside() {
        let lua = Lua::new();
        // [{1: [], "k": [2, 3]}, {}], 4
        let bytes = b"\x92\x82\x01\x90\xa1k\x92\x02\x03\x80\x04";
        let (values, end) = unpack(&lua, bytes, 0, None).unwrap();
        assert_eq!((values.len(), end), (2, bytes.len()));
        let Some(Value::Table(all)) = values.front() else { panic!("{values:?}") };
        let first: Table = all.raw_get(1).unwrap();
        assert_eq!(first.raw_get::<Vec<i64>>(1).unwrap(), []);
        assert_eq!(first.raw_get::<Vec<i64>>("k").unwrap(), [2, 3]);
        assert!(all.raw_get::<Table>(2).unwrap().is_empty());
        assert_eq!(unpacked(b"\x92\x01").unwrap_err(), "Missing bytes in input.");
    }
}
