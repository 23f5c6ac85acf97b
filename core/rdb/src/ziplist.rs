//! Ziplist and zipmap, the packed forms of servers before 7.0 and 2.6. They are only read.

use crate::prim::Reader;
use crate::{Elem, RdbError};

const END: u8 = 0xff;
const BIG: u8 = 0xfe;

/// Visits the elements of a ziplist; every length in it is checked. Returns how many there were.
pub(crate) fn visit(blob: &[u8], mut each: impl FnMut(Elem<'_>) -> Result<(), RdbError>) -> Result<u64, RdbError> {
    let mut reader = Reader::new(blob);
    let size = u32::from_le_bytes(reader.array()?);
    let tail = u32::from_le_bytes(reader.array()?) as usize;
    let stated = u16::from_le_bytes(reader.array()?);
    if size as usize != blob.len() {
        return Err(RdbError::Corrupt("ziplist of the wrong size"));
    }
    let (mut count, mut last_at, mut last_len) = (0u64, reader.position(), 0usize);
    loop {
        let start = reader.position();
        let first = reader.byte().map_err(|_| RdbError::Corrupt("ziplist without an end"))?;
        if first == END {
            break;
        }
        let elem = entry(first, last_len, &mut reader).map_err(overrun)?;
        (last_at, last_len) = (start, reader.position() - start);
        each(elem)?;
        count += 1;
    }
    if reader.remaining() > 0 {
        return Err(RdbError::Corrupt("ziplist ends before its last byte"));
    }
    if tail != last_at {
        return Err(RdbError::Corrupt("ziplist with a wrong tail"));
    }
    if stated != u16::MAX && u64::from(stated) != count {
        return Err(RdbError::Corrupt("ziplist with a wrong element count"));
    }
    Ok(count)
}

fn overrun(error: RdbError) -> RdbError {
    if error == RdbError::Truncated { RdbError::Corrupt("ziplist entry runs past the end") } else { error }
}

fn entry<'a>(first: u8, last_len: usize, reader: &mut Reader<'a>) -> Result<Elem<'a>, RdbError> {
    let previous = if first == BIG { u32::from_le_bytes(reader.array()?) as usize } else { usize::from(first) };
    if previous != last_len {
        return Err(RdbError::Corrupt("ziplist entry with a wrong length before it"));
    }
    let encoding = reader.byte()?;
    match encoding {
        0..0x40 => reader.take(u64::from(encoding)).map(Elem::Bytes),
        0x40..0x80 => {
            let len = u64::from(encoding & 0x3f) << 8 | u64::from(reader.byte()?);
            reader.take(len).map(Elem::Bytes)
        }
        0x80 => {
            let len = u32::from_be_bytes(reader.array()?);
            reader.take(u64::from(len)).map(Elem::Bytes)
        }
        0xc0 => Ok(Elem::Int(i64::from(i16::from_le_bytes(reader.array()?)))),
        0xd0 => Ok(Elem::Int(i64::from(i32::from_le_bytes(reader.array()?)))),
        0xe0 => Ok(Elem::Int(i64::from_le_bytes(reader.array()?))),
        0xf0 => {
            let [a, b, c] = reader.array()?;
            Ok(Elem::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)))
        }
        0xfe => Ok(Elem::Int(i64::from(i8::from_le_bytes(reader.array()?)))),
        0xf1..=0xfd => Ok(Elem::Int(i64::from(encoding & 0x0f) - 1)),
        _ => Err(RdbError::Corrupt("unknown ziplist encoding")),
    }
}

/// Visits the fields and values of a zipmap. Returns how many pairs there were.
pub(crate) fn visit_zipmap(
    blob: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), RdbError>,
) -> Result<u64, RdbError> {
    const OVERRUN: RdbError = RdbError::Corrupt("zipmap entry runs past the end");
    let mut reader = Reader::new(blob);
    let stated = reader.byte()?;
    let mut count = 0u64;
    loop {
        let first = reader.byte().map_err(|_| RdbError::Corrupt("zipmap without an end"))?;
        if first == END {
            break;
        }
        let mut pair = || {
            let len = zipmap_len(first, &mut reader)?;
            let field = reader.take(len)?;
            let first = reader.byte()?;
            let len = zipmap_len(first, &mut reader)?;
            let unused = reader.byte()?;
            let value = reader.take(len)?;
            reader.take(u64::from(unused))?;
            Ok((field, value))
        };
        let (field, value) = pair().map_err(|error| if error == RdbError::Truncated { OVERRUN } else { error })?;
        each(field, value)?;
        count += 1;
    }
    if reader.remaining() > 0 {
        return Err(RdbError::Corrupt("zipmap ends before its last byte"));
    }
    if stated < BIG && u64::from(stated) != count {
        return Err(RdbError::Corrupt("zipmap with a wrong element count"));
    }
    Ok(count)
}

fn zipmap_len(first: u8, reader: &mut Reader<'_>) -> Result<u64, RdbError> {
    match first {
        BIG => Ok(u64::from(u32::from_le_bytes(reader.array()?))),
        END => Err(RdbError::Corrupt("zipmap ends inside a pair")),
        len => Ok(u64::from(len)),
    }
}
