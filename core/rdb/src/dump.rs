//! The payload of DUMP and RESTORE: type, value, version, checksum.

use crate::{MAX_RDB_VERSION, RDB_VERSION, RdbError, crc64};

const FOOTER: usize = 10;

/// The payload for a value that was encoded before.
pub fn dump_payload(rdb_type: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + value.len() + FOOTER);
    out.push(rdb_type);
    out.extend_from_slice(value);
    out.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let crc = crc64(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Type and value of a payload whose version and checksum are good. The value itself is checked when it is decoded.
pub fn parse_dump(payload: &[u8]) -> Result<(u8, &[u8]), RdbError> {
    let body_len = payload.len().checked_sub(FOOTER).ok_or(RdbError::Truncated)?;
    let (body, footer) = payload.split_at(body_len);
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    if version > MAX_RDB_VERSION {
        return Err(RdbError::Version(version));
    }
    let stored = u64::from_le_bytes(std::array::from_fn(|i| footer[2 + i]));
    let computed = crc64(&payload[..body_len + 2]);
    if stored != computed {
        return Err(RdbError::Checksum { stored, computed });
    }
    let (rdb_type, value) = body.split_first().ok_or(RdbError::Truncated)?;
    Ok((*rdb_type, value))
}
