//! Listpack: elements one behind the other, each followed by its own length written backwards.
//!
//! Streams are kept in this form in memory too, so writing and stepping are public. What steps trusts its input: it was
//! written here or has been checked.

use crate::prim::Reader;
use crate::{Elem, RdbError};

const HEADER: usize = 6;
const END: u8 = 0xff;
/// The most that stands around the bytes of an element.
const LARGEST_FRAME: usize = 10;

/// Where the first element of a listpack is.
pub const FIRST: usize = HEADER;

/// A listpack that is being written at the end of a buffer.
pub struct Pack {
    start: usize,
    count: u32,
}

impl Pack {
    /// Goes on with the finished listpack that fills `out`; until [`Pack::finish`] it is none.
    pub fn resume(out: &mut Vec<u8>) -> Self {
        let count = u32::from(u16::from_le_bytes([out[4], out[5]]));
        out.pop();
        Self { start: 0, count }
    }

    /// Begins one at the end of `out`.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        Self { start, count: 0 }
    }

    /// Adds an element; text that is an integer is stored as one.
    pub fn push(&mut self, elem: Elem<'_>, out: &mut Vec<u8>) {
        match (elem.as_int(), elem) {
            (Some(value), _) | (None, Elem::Int(value)) => out.extend_from_slice(IntEntry::new(value).as_bytes()),
            (None, Elem::Bytes(bytes)) => {
                let entry = out.len();
                out.reserve(bytes.len() + LARGEST_FRAME);
                put_bytes(bytes, out);
                put_backlen(out.len() - entry, out);
            }
        }
        self.count += 1;
    }

    /// Bytes so far, the end included.
    pub(crate) fn size(&self, out: &[u8]) -> usize {
        out.len() - self.start + 1
    }

    /// Writes the end and the header.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.push(END);
        let size = u32::try_from(out.len() - self.start).expect("callers keep a listpack below 4 GiB");
        // 65535 means: count them.
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        out[self.start..self.start + 4].copy_from_slice(&size.to_le_bytes());
        out[self.start + 4..self.start + HEADER].copy_from_slice(&count.to_le_bytes());
    }
}

/// The element at an offset, and where the next one is; none at the end.
#[inline]
pub fn get(pack: &[u8], at: usize) -> Option<(Elem<'_>, usize)> {
    let mut reader = Reader::new(pack.get(at..)?);
    let first = reader.byte().ok().filter(|first| *first != END)?;
    let elem = entry(first, &mut reader).ok()?;
    let len = reader.position();
    Some((elem, at + len + backlen_size(len)))
}

/// The element at an offset when it is an integer, and where the next one is.
#[inline]
pub fn get_int(pack: &[u8], at: usize) -> Option<(i64, usize)> {
    match get(pack, at)? {
        (Elem::Int(value), next) => Some((value, next)),
        (Elem::Bytes(_), _) => None,
    }
}

/// Where the element behind the one at an offset is, without reading that; none at the end.
#[inline]
pub fn skip(pack: &[u8], at: usize) -> Option<usize> {
    let rest = pack.get(at..)?;
    let len = match *rest.first()? {
        0..0x80 => 1,
        first @ 0x80..0xc0 => 1 + usize::from(first & 0x3f),
        0xc0..0xe0 => 2,
        first @ 0xe0..0xf0 => 2 + (usize::from(first & 0x0f) << 8 | usize::from(*rest.get(1)?)),
        0xf0 => 5 + u32::from_le_bytes(rest.get(1..5)?.try_into().ok()?) as usize,
        0xf1 => 3,
        0xf2 => 4,
        0xf3 => 5,
        0xf4 => 9,
        _ => return None,
    };
    Some(at + len + backlen_size(len))
}

/// Where the element before an offset begins; none at the first.
#[inline]
pub fn prev(pack: &[u8], at: usize) -> Option<usize> {
    if at <= FIRST {
        return None;
    }
    let (mut len, mut shift, mut end) = (0usize, 0, at);
    loop {
        end = end.checked_sub(1)?;
        let byte = *pack.get(end)?;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return end.checked_sub(len);
        }
        shift += 7;
        if shift > 28 {
            return None;
        }
    }
}

/// Where a finished listpack's end mark is: behind its last element.
pub fn end(pack: &[u8]) -> usize {
    pack.len().saturating_sub(1)
}

/// Puts an integer in place of the element at an offset. Answers how many bytes the rest moved by.
pub fn replace_int(pack: &mut Vec<u8>, at: usize, value: i64) -> isize {
    let Some((_, next)) = get(pack, at) else { return 0 };
    let new = IntEntry::new(value);
    let new = new.as_bytes();
    let moved = new.len() as isize - (next - at) as isize;
    if moved == 0 {
        pack[at..next].copy_from_slice(new);
    } else {
        pack.splice(at..next, new.iter().copied());
        let size = u32::try_from(pack.len()).expect("callers keep a listpack below 4 GiB");
        pack[..4].copy_from_slice(&size.to_le_bytes());
    }
    moved
}

/// An integer's element and the length behind it. On the stack: every entry of a stream has several.
struct IntEntry {
    bytes: [u8; 10],
    len: usize,
}

impl IntEntry {
    fn new(value: i64) -> Self {
        let mut bytes = [0; 10];
        let (code, size) = match value {
            0..=127 => (value as u8, 0),
            -4096..=4095 => (0xc0 | ((value >> 8) & 0x1f) as u8, 1),
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        bytes[0] = code;
        bytes[1..=size].copy_from_slice(&value.to_le_bytes()[..size]);
        bytes[size + 1] = size as u8 + 1;
        Self { bytes, len: size + 2 }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes.len() {
        len @ 0..64 => out.push(0x80 | len as u8),
        len @ 64..4096 => out.extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]),
        len => {
            out.push(0xf0);
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// How many bytes the backward length of an entry takes. The odd limits are the format's.
fn backlen_size(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16383 => 2,
        16383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn put_backlen(len: usize, out: &mut Vec<u8>) {
    if len < 128 {
        return out.push(len as u8);
    }
    let size = backlen_size(len);
    for group in (0..size).rev() {
        let more = if group == size - 1 { 0 } else { 0x80 };
        out.push((len >> (7 * group)) as u8 & 0x7f | more);
    }
}

/// Visits the elements of a listpack; every length in it is checked. Returns how many there were.
pub(crate) fn visit(blob: &[u8], mut each: impl FnMut(Elem<'_>) -> Result<(), RdbError>) -> Result<u64, RdbError> {
    let mut reader = Reader::new(blob);
    let size = u32::from_le_bytes(reader.array()?);
    let stated = u16::from_le_bytes(reader.array()?);
    if size as usize != blob.len() {
        return Err(RdbError::Corrupt("listpack of the wrong size"));
    }
    let mut count = 0u64;
    loop {
        let start = reader.position();
        let first = reader.byte().map_err(|_| RdbError::Corrupt("listpack without an end"))?;
        if first == END {
            break;
        }
        let elem = entry(first, &mut reader).map_err(overrun)?;
        let len = reader.position() - start;
        check_backlen(len, &mut reader).map_err(overrun)?;
        each(elem)?;
        count += 1;
    }
    if reader.remaining() > 0 {
        return Err(RdbError::Corrupt("listpack ends before its last byte"));
    }
    if stated != u16::MAX && u64::from(stated) != count {
        return Err(RdbError::Corrupt("listpack with a wrong element count"));
    }
    Ok(count)
}

fn overrun(error: RdbError) -> RdbError {
    if error == RdbError::Truncated { RdbError::Corrupt("listpack entry runs past the end") } else { error }
}

fn entry<'a>(first: u8, reader: &mut Reader<'a>) -> Result<Elem<'a>, RdbError> {
    let bytes = |reader: &mut Reader<'a>, len: u64| reader.take(len).map(Elem::Bytes);
    match first {
        0..0x80 => Ok(Elem::Int(i64::from(first))),
        0x80..0xc0 => bytes(reader, u64::from(first & 0x3f)),
        0xc0..0xe0 => {
            // 13 bits with a sign: move the sign to the top of 16 bits and back.
            let raw = u16::from(first & 0x1f) << 8 | u16::from(reader.byte()?);
            Ok(Elem::Int(i64::from((raw << 3) as i16 >> 3)))
        }
        0xe0..0xf0 => {
            let len = u64::from(first & 0x0f) << 8 | u64::from(reader.byte()?);
            bytes(reader, len)
        }
        0xf0 => {
            let len = u32::from_le_bytes(reader.array()?);
            bytes(reader, u64::from(len))
        }
        0xf1 => Ok(Elem::Int(i64::from(i16::from_le_bytes(reader.array()?)))),
        0xf2 => {
            let [a, b, c] = reader.array()?;
            Ok(Elem::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)))
        }
        0xf3 => Ok(Elem::Int(i64::from(i32::from_le_bytes(reader.array()?)))),
        0xf4 => Ok(Elem::Int(i64::from_le_bytes(reader.array()?))),
        _ => Err(RdbError::Corrupt("unknown listpack encoding")),
    }
}

fn check_backlen(len: usize, reader: &mut Reader<'_>) -> Result<(), RdbError> {
    let stored = reader.take(backlen_size(len) as u64)?;
    let value = stored.iter().fold(0usize, |value, byte| value << 7 | usize::from(byte & 0x7f));
    let marked = stored.iter().enumerate().all(|(at, byte)| (byte & 0x80 != 0) == (at > 0));
    if value == len && marked { Ok(()) } else { Err(RdbError::Corrupt("listpack entry with a wrong length behind it")) }
}
