//! `struct`: numbers and strings in and out of packed bytes, by a format.

use crate::api::{Answer, Fault, bad_argument, number, put, text_of};
use crate::bit::kind;
use mlua::{Lua, MultiValue, Table, Value};

/// Largest size of an integer.
const MAX_INT: usize = 32;
/// Largest natural alignment.
const MAX_ALIGN: usize = 8;

/// The library's functions.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    put(lua, &table, "pack", |lua, args| Ok(lua.create_string(pack(&args)?)?))?;
    put(lua, &table, "unpack", unpack)?;
    put(lua, &table, "size", |_, args| size(&args))?;
    Ok(table)
}

/// A format being read: options, byte order, alignment.
struct Format {
    text: Vec<u8>,
    at: usize,
    little: bool,
    align: usize,
}

impl Format {
    fn of(args: &MultiValue, name: &str) -> Answer<Format> {
        Ok(Format { text: string(args, 1, name)?, at: 0, little: true, align: 1 })
    }

    /// The next option and its size. The format ends at a zero byte.
    fn next(&mut self) -> Answer<Option<(u8, usize)>> {
        let Some(option) = self.text.get(self.at).copied().filter(|byte| *byte != 0) else { return Ok(None) };
        self.at += 1;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.digits(1)?,
            b'i' | b'I' => {
                let size = self.digits(4)?;
                if size > MAX_INT {
                    let text = format!("integral size {size} is larger than limit of {MAX_INT}");
                    return Err(Fault::text(text));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((option, size)))
    }

    fn digits(&mut self, default: usize) -> Answer<usize> {
        let begin = self.at;
        let mut value = 0usize;
        while let Some(digit) = self.text.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            value = value * 10 + usize::from(digit - b'0');
            if value > i32::MAX as usize {
                return Err(Fault::text("integral size overflow"));
            }
            self.at += 1;
        }
        Ok(if self.at == begin { default } else { value })
    }

    /// Bytes to the next place where an element of this size may be.
    fn padding(&self, at: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.align);
        size.wrapping_sub(at & (size - 1)) & (size - 1)
    }

    /// An option that is no element.
    fn control(&mut self, option: u8, name: &str) -> Answer<()> {
        match option {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            b'!' => {
                let align = self.digits(MAX_ALIGN)?;
                if !align.is_power_of_two() {
                    return Err(Fault::text(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            other => {
                return Err(bad_argument(1, name, [b"invalid format option '", &[other][..], b"'"].concat()));
            }
        }
        Ok(())
    }

    fn ordered(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if !self.little {
            bytes.reverse();
        }
        bytes
    }
}

fn string(args: &MultiValue, at: usize, name: &str) -> Answer<Vec<u8>> {
    let value = args.get(at - 1);
    text_of(value).ok_or_else(|| bad_argument(at, name, format!("string expected, got {}", got(value, at, name))))
}

fn numeric(args: &MultiValue, at: usize, name: &str) -> Answer<f64> {
    let value = args.get(at - 1);
    number(value).ok_or_else(|| bad_argument(at, name, format!("number expected, got {}", got(value, at, name))))
}

/// What stands there instead. Behind the values to pack the library has a nil of its own.
fn got(value: Option<&Value>, at: usize, name: &str) -> &'static str {
    let none = if name == "pack" && at > 1 { "nil" } else { "no value" };
    value.map_or(none, kind)
}

fn pack(args: &MultiValue) -> Answer<Vec<u8>> {
    let mut format = Format::of(args, "pack")?;
    let (mut out, mut arg) = (Vec::new(), 2);
    while let Some((option, size)) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), option, size), 0);
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value = numeric(args, arg, "pack")?;
                let value = if value < 0.0 { value as i64 as u64 } else { value as u64 };
                let mut bytes = value.to_le_bytes().to_vec();
                bytes.resize(size, 0);
                out.extend(format.ordered(bytes));
                arg += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                out.extend(format.ordered((numeric(args, arg, "pack")? as f32).to_le_bytes().to_vec()));
                arg += 1;
            }
            b'd' => {
                out.extend(format.ordered(numeric(args, arg, "pack")?.to_le_bytes().to_vec()));
                arg += 1;
            }
            b'c' | b's' => {
                let text = string(args, arg, "pack")?;
                arg += 1;
                let size = if size == 0 { text.len() } else { size };
                let Some(part) = text.get(..size) else { return Err(bad_argument(arg, "pack", "string too short")) };
                out.extend_from_slice(part);
                if option == b's' {
                    out.push(0);
                }
            }
            other => format.control(other, "pack")?,
        }
    }
    Ok(out)
}

fn integer(bytes: &[u8], little: bool, signed: bool) -> f64 {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) };
    if !signed {
        return value as f64;
    }
    let unused = 64u32.saturating_sub(bytes.len() as u32 * 8);
    if unused == 64 { 0.0 } else { ((value << unused) as i64 >> unused) as f64 }
}

fn unpack(lua: &Lua, args: MultiValue) -> Answer {
    let mut format = Format::of(&args, "unpack")?;
    let data = string(&args, 2, "unpack")?;
    let from = if args.len() < 3 { 1.0 } else { numeric(&args, 3, "unpack")? };
    if from < 1.0 {
        return Err(bad_argument(3, "unpack", "offset must be 1 or greater"));
    }
    let mut at = (from as usize) - 1;
    let short = || bad_argument(2, "unpack", "data string too short");
    let slice = |at: usize, size: usize| at.checked_add(size).and_then(|end| data.get(at..end)).ok_or_else(short);
    let mut values: Vec<Value> = Vec::new();
    while let Some((option, mut size)) = format.next()? {
        at = at.saturating_add(format.padding(at, option, size));
        let bytes = slice(at, size)?;
        if values.len() > 7000 {
            return Err(Fault::text("stack overflow (too many results)"));
        }
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                values.push(Value::Number(integer(bytes, format.little, option.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' => {
                let bytes = format.ordered(bytes.to_vec()).try_into().unwrap_or_default();
                values.push(Value::Number(f64::from(f32::from_le_bytes(bytes))));
            }
            b'd' => {
                let bytes = format.ordered(bytes.to_vec()).try_into().unwrap_or_default();
                values.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                if size == 0 {
                    let Some(wanted) = values.pop().and_then(|value| number(Some(&value))) else {
                        return Err(Fault::text("format 'c0' needs a previous size"));
                    };
                    size = if wanted >= 0.0 { wanted as usize } else { usize::MAX };
                }
                values.push(Value::String(lua.create_string(slice(at, size)?)?));
            }
            b's' => {
                let rest = slice(at, 0).map(|_| &data[at..])?;
                let Some(end) = rest.iter().position(|byte| *byte == 0) else {
                    return Err(Fault::text("unfinished string in data"));
                };
                values.push(Value::String(lua.create_string(&rest[..end])?));
                size = end + 1;
            }
            other => format.control(other, "unpack")?,
        }
        at = at.saturating_add(size);
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_iter(values))
}

fn size(args: &MultiValue) -> Answer<f64> {
    let mut format = Format::of(args, "size")?;
    let mut at = 0usize;
    while let Some((option, size)) = format.next()? {
        at = at.saturating_add(format.padding(at, option, size));
        match option {
            b's' => return Err(bad_argument(1, "size", "option 's' has no fixed size")),
            b'c' if size == 0 => return Err(bad_argument(1, "size", "option 'c0' has no fixed size")),
            other if !other.is_ascii_alphanumeric() => format.control(other, "size")?,
            _ => {}
        }
        at = at.saturating_add(size);
    }
    Ok(at as f64)
}
