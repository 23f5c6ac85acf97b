//! Intset: a sorted array of integers of 2, 4 or 8 bytes each, behind the width and the count.

use crate::RdbError;
use crate::prim::Reader;

/// Appends the intset of `values`, which must ascend without repeats.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) {
    debug_assert!(values.is_sorted_by(|a, b| a < b));
    let fits =
        |low: i64, high: i64| values.first().is_none_or(|v| *v >= low) && values.last().is_none_or(|v| *v <= high);
    let width: u32 = match () {
        () if fits(i16::MIN.into(), i16::MAX.into()) => 2,
        () if fits(i32::MIN.into(), i32::MAX.into()) => 4,
        () => 8,
    };
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&(values.len() as u32).to_le_bytes());
    for value in values {
        out.extend_from_slice(&value.to_le_bytes()[..width as usize]);
    }
}

/// Visits the values of an intset.
pub(crate) fn visit(blob: &[u8], mut each: impl FnMut(i64) -> Result<(), RdbError>) -> Result<(), RdbError> {
    let mut reader = Reader::new(blob);
    let width = u32::from_le_bytes(reader.array()?);
    let count = u32::from_le_bytes(reader.array()?);
    if !matches!(width, 2 | 4 | 8) {
        return Err(RdbError::Corrupt("intset of unknown width"));
    }
    if u64::from(width) * u64::from(count) != reader.remaining() as u64 {
        return Err(RdbError::Corrupt("intset of the wrong size"));
    }
    let mut last = None;
    while reader.remaining() > 0 {
        let value = match width {
            2 => i64::from(i16::from_le_bytes(reader.array()?)),
            4 => i64::from(i32::from_le_bytes(reader.array()?)),
            _ => i64::from_le_bytes(reader.array()?),
        };
        if last.is_some_and(|last| last >= value) {
            return Err(RdbError::Corrupt("intset out of order"));
        }
        last = Some(value);
        each(value)?;
    }
    Ok(())
}
