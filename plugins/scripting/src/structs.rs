//! `struct`: numbers and strings in and out of packed bytes, by a format: functions of the interpreter's own kind (see
//! `stack` for the rule).

use crate::{guard, scratch, stack};
use mlua::ffi::{self, lua_State};
use mlua::{Lua, Table};
use std::ffi::{CStr, c_int};

/// Largest size of an integer.
const MAX_INT: usize = 32;
/// Largest natural alignment.
const MAX_ALIGN: usize = 8;

/// The library's functions.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let functions: [(&str, guard::Native); 3] = [("pack", pack), ("unpack", unpack), ("size", size)];
    for (name, f) in functions {
        table.raw_set(name, guard::closure(lua, f, (), 0)?)?;
    }
    Ok(table)
}

/// A format being read: options, byte order, alignment.
struct Format<'f> {
    state: *mut lua_State,
    text: &'f [u8],
    at: usize,
    little: bool,
    align: usize,
}

impl Format<'_> {
    /// The first argument. Raises an error if it is no text.
    unsafe fn of<'f>(state: *mut lua_State) -> Format<'f> {
        // SAFETY: the caller's; the text stays on the stack.
        let text = unsafe { text(state, 1) };
        Format { state, text, at: 0, little: true, align: 1 }
    }

    /// The next option and its size. The format ends at a zero byte. May raise, as all that follow.
    unsafe fn next(&mut self) -> Option<(u8, usize)> {
        let option = self.text.get(self.at).copied().filter(|byte| *byte != 0)?;
        self.at += 1;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            // SAFETY: the caller's.
            b'c' => unsafe { self.digits(1) },
            // SAFETY: the caller's.
            b'i' | b'I' => unsafe { self.int_size() },
            _ => 0,
        };
        Some((option, size))
    }

    unsafe fn int_size(&mut self) -> usize {
        const FORMAT: &CStr = c"integral size %d is larger than limit of %d";
        // SAFETY: the caller's; the numbers are what the format wants.
        unsafe {
            let size = self.digits(4);
            if size > MAX_INT {
                ffi::luaL_error(self.state, FORMAT.as_ptr(), size as c_int, MAX_INT as c_int);
            }
            size
        }
    }

    unsafe fn digits(&mut self, default: usize) -> usize {
        let begin = self.at;
        let mut value = 0usize;
        while let Some(digit) = self.text.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            value = value * 10 + usize::from(digit - b'0');
            if value > i32::MAX as usize {
                // SAFETY: the caller's.
                unsafe { stack::raise(self.state, c"integral size overflow") };
            }
            self.at += 1;
        }
        if self.at == begin { default } else { value }
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
    unsafe fn control(&mut self, option: u8) {
        match option {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            // SAFETY: the caller's; numbers are what the formats want.
            b'!' => unsafe {
                let align = self.digits(MAX_ALIGN);
                if !align.is_power_of_two() {
                    ffi::luaL_error(self.state, c"alignment %d is not a power of 2".as_ptr(), align as c_int);
                }
                self.align = align;
            },
            // SAFETY: the same.
            other => unsafe {
                let why = ffi::lua_pushfstring(self.state, c"invalid format option '%c'".as_ptr(), c_int::from(other));
                ffi::luaL_argerror(self.state, 1, why);
            },
        }
    }

    /// Bytes of a number, least first, as the format orders them, behind what is there.
    fn put<const N: usize>(&self, mut bytes: [u8; N], size: usize, out: &mut Vec<u8>) {
        let bytes = &mut bytes[..size.min(N)];
        if !self.little {
            bytes.reverse();
        }
        out.extend_from_slice(bytes);
    }

    /// The bytes of a number, least first.
    fn ordered<const N: usize>(&self, bytes: &[u8]) -> [u8; N] {
        let mut bytes = <[u8; N]>::try_from(bytes).unwrap_or([0; N]);
        if !self.little {
            bytes.reverse();
        }
        bytes
    }
}

/// An argument that is a text, or becomes one. May raise.
unsafe fn text<'t>(state: *mut lua_State, at: c_int) -> &'t [u8] {
    // SAFETY: the caller's; it stays on the stack.
    unsafe {
        ffi::luaL_checklstring(state, at, std::ptr::null_mut());
        stack::bytes(state, at)
    }
}

unsafe extern "C-unwind" fn pack(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing, the buffer is the thread's.
    unsafe {
        let mut format = Format::of(state);
        let (out, most, mut arg) = (scratch::text(), scratch::most(state), 2);
        // What is missing behind the last value is a nil, as the library inside Redis has it.
        ffi::lua_pushnil(state);
        while let Some((option, size)) = format.next() {
            out.resize(out.len() + format.padding(out.len(), option, size), 0);
            match option {
                b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                    let value = ffi::luaL_checknumber(state, arg);
                    let mut bytes = [0; MAX_INT];
                    bytes[..8].copy_from_slice(&word(value).to_le_bytes());
                    format.put(bytes, size, out);
                    arg += 1;
                }
                b'x' => out.push(0),
                b'f' => {
                    format.put((ffi::luaL_checknumber(state, arg) as f32).to_le_bytes(), size, out);
                    arg += 1;
                }
                b'd' => {
                    format.put(ffi::luaL_checknumber(state, arg).to_le_bytes(), size, out);
                    arg += 1;
                }
                b'c' | b's' => {
                    let text = text(state, arg);
                    arg += 1;
                    let size = if size == 0 { text.len() } else { size };
                    match text.get(..size) {
                        Some(part) if out.len() + part.len() > most => return scratch::refuse(state),
                        Some(part) => out.extend_from_slice(part),
                        None => return ffi::luaL_argerror(state, arg, c"string too short".as_ptr()),
                    }
                    if option == b's' {
                        out.push(0);
                    }
                }
                other => format.control(other),
            }
        }
        stack::push_bytes(state, out);
        scratch::done();
        1
    }
}

/// As C casts a double to a 64-bit number where Redis runs: what doesn't fit is zero, what is no number the highest bit.
fn word(value: f64) -> u64 {
    const TOO_BIG: f64 = 18_446_744_073_709_551_616.0;
    match value {
        negative if negative < 0.0 => negative as i64 as u64,
        big if big >= TOO_BIG => 0,
        none if none.is_nan() => 1 << 63,
        fits => fits as u64,
    }
}

fn integer(bytes: &[u8], little: bool, signed: bool) -> f64 {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) };
    if !signed {
        return value as f64;
    }
    let unused = 64usize.saturating_sub(bytes.len() * 8);
    if unused == 64 { 0.0 } else { ((value << unused) as i64 >> unused) as f64 }
}

/// So many bytes from a place on. Raises an error if there are fewer.
unsafe fn part(state: *mut lua_State, data: &[u8], at: usize, size: usize) -> &[u8] {
    match at.checked_add(size).and_then(|end| data.get(at..end)) {
        Some(part) => part,
        // SAFETY: the caller's. It doesn't come back.
        None => unsafe {
            ffi::luaL_argerror(state, 2, c"data string too short".as_ptr());
            &[]
        },
    }
}

unsafe extern "C-unwind" fn unpack(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing, texts stay on the stack.
    unsafe {
        let mut format = Format::of(state);
        let data = text(state, 2);
        let from = ffi::luaL_optinteger(state, 3, 1) as i64;
        if from == 0 {
            return ffi::luaL_argerror(state, 3, c"offset must be 1 or greater".as_ptr());
        }
        let (mut at, mut count) = ((from as u64 as usize) - 1, 0);
        while let Some((option, mut size)) = format.next() {
            at = at.saturating_add(format.padding(at, option, size));
            let bytes = part(state, data, at, size);
            ffi::luaL_checkstack_(state, 2, c"too many results".as_ptr());
            match option {
                b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                    ffi::lua_pushnumber(state, integer(bytes, format.little, option.is_ascii_lowercase()));
                    count += 1;
                }
                b'x' => {}
                b'f' => {
                    ffi::lua_pushnumber(state, f64::from(f32::from_le_bytes(format.ordered(bytes))));
                    count += 1;
                }
                b'd' => {
                    ffi::lua_pushnumber(state, f64::from_le_bytes(format.ordered(bytes)));
                    count += 1;
                }
                b'c' => {
                    if size == 0 {
                        if count == 0 || ffi::lua_isnumber(state, -1) == 0 {
                            return stack::raise(state, c"format 'c0' needs a previous size");
                        }
                        size = usize::try_from(word(ffi::lua_tonumber(state, -1))).unwrap_or(usize::MAX);
                        ffi::lua_pop(state, 1);
                        count -= 1;
                    }
                    stack::push_bytes(state, part(state, data, at, size));
                    count += 1;
                }
                b's' => {
                    let rest = data.get(at..).unwrap_or_default();
                    let Some(end) = rest.iter().position(|byte| *byte == 0) else {
                        return stack::raise(state, c"unfinished string in data");
                    };
                    stack::push_bytes(state, &rest[..end]);
                    count += 1;
                    size = end + 1;
                }
                other => format.control(other),
            }
            at = at.saturating_add(size);
        }
        // Behind the end of all numbers it is negative, as the cast has it that Redis makes.
        ffi::lua_pushnumber(state, (at as i64).wrapping_add(1) as f64);
        count + 1
    }
}

unsafe extern "C-unwind" fn size(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing.
    unsafe {
        let mut format = Format::of(state);
        let mut at = 0usize;
        while let Some((option, size)) = format.next() {
            at = at.saturating_add(format.padding(at, option, size));
            match option {
                b's' => return ffi::luaL_argerror(state, 1, c"option 's' has no fixed size".as_ptr()),
                b'c' if size == 0 => return ffi::luaL_argerror(state, 1, c"option 'c0' has no fixed size".as_ptr()),
                other if !other.is_ascii_alphanumeric() => format.control(other),
                _ => {}
            }
            at = at.saturating_add(size);
        }
        ffi::lua_pushnumber(state, at as f64);
        1
    }
}
