//! Records and batches: the unit that crosses every boundary (snapshot, full sync, save, load).

use std::borrow::Cow;

use bytes::Bytes;

use crate::encode;
use crate::prim::{Reader, Text, put_len};
use crate::types::{OP_EXPIRETIME, OP_EXPIRETIME_MS, OP_FREQ, OP_IDLE};
use crate::{RdbError, RecordScanner, Scan};

/// What stands before a key's type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordMeta {
    /// When the key expires, in milliseconds since 1970.
    pub expire_ms: Option<u64>,
    /// Seconds since its last use.
    pub idle_s: Option<u64>,
    /// Its use counter.
    pub freq: Option<u8>,
}

/// Concatenated records of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Which database.
    pub db: u32,
    /// How many records.
    pub count: u64,
    /// The records.
    pub bytes: Bytes,
}

/// One key as it stands in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Expiry, idle time, frequency.
    pub meta: RecordMeta,
    /// The value's type number.
    pub rdb_type: u8,
    /// The key; borrowed unless it was packed.
    pub key: Cow<'a, [u8]>,
    /// The value's bytes, for [`crate::decode_value`].
    pub value: &'a [u8],
    /// All bytes of the record.
    pub raw: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at the front of `bytes`; what follows it stays untouched.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RdbError> {
        let mut scanner = RecordScanner::default();
        let Scan::Record(len) = scanner.scan(bytes)? else { return Err(RdbError::Truncated) };
        let raw = &bytes[..len];
        let mut reader = Reader::new(raw);
        let (meta, rdb_type) = read_head(&mut reader)?;
        let key = match reader.text()? {
            Text::Borrowed(bytes) => Cow::Borrowed(bytes),
            Text::Unpacked(bytes) => Cow::Owned(bytes),
            Text::Int(value) => Cow::Owned(value.to_string().into_bytes()),
        };
        let value = &raw[reader.position()..];
        Ok(Self { meta, rdb_type, key, value, raw })
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<(RecordMeta, u8), RdbError> {
    let mut meta = RecordMeta::default();
    loop {
        match reader.byte()? {
            OP_EXPIRETIME_MS => meta.expire_ms = expiry_millis(reader.array()?),
            OP_EXPIRETIME => meta.expire_ms = Some(expiry_seconds(reader.array()?)),
            OP_FREQ => meta.freq = Some(reader.byte()?),
            OP_IDLE => meta.idle_s = Some(reader.count()?),
            rdb_type => return Ok((meta, rdb_type)),
        }
    }
}

/// Signed, too; Redis takes -1 for none.
fn expiry_millis(bytes: [u8; 8]) -> Option<u64> {
    let at = i64::from_le_bytes(bytes);
    (at != -1).then(|| u64::try_from(at).unwrap_or(0))
}

/// Seconds are signed in the format; a time before 1970 is as expired as 1970.
fn expiry_seconds(bytes: [u8; 4]) -> u64 {
    u64::try_from(i32::from_le_bytes(bytes)).unwrap_or(0) * 1000
}

/// Appends everything of a record but its value, which must follow; answers where the type stands, for those who know it
/// only when the value is written. Keys are written as they are: they are read more
/// often than they are long.
pub fn write_record_head(out: &mut Vec<u8>, meta: &RecordMeta, rdb_type: u8, key: &[u8]) -> usize {
    if let Some(at) = meta.expire_ms {
        out.push(OP_EXPIRETIME_MS);
        out.extend_from_slice(&at.to_le_bytes());
    }
    if let Some(idle) = meta.idle_s {
        out.push(OP_IDLE);
        put_len(out, idle);
    }
    if let Some(freq) = meta.freq {
        out.extend_from_slice(&[OP_FREQ, freq]);
    }
    let type_at = out.len();
    out.push(rdb_type);
    encode::plain(out, key);
    type_at
}

/// The records of a batch, in order. Ends after the first error.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes }
}

/// See [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = Record::parse(self.rest);
        self.rest = record.as_ref().map_or(&[], |record| &self.rest[record.raw.len()..]);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_signed_as_in_redis() {
        for (at, expected) in [(-1, None), (-2, Some(0)), (i64::MIN, Some(0)), (i64::MAX, Some(i64::MAX as u64))] {
            let bytes = [&[OP_EXPIRETIME_MS][..], &at.to_le_bytes(), b"\0\x01k\x01v"].concat();
            assert_eq!(Record::parse(&bytes).map(|record| record.meta.expire_ms), Ok(expected), "{at}");
        }
    }
}
