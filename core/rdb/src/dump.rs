//! The payload of DUMP and RESTORE: type, value, version, checksum; and that of FUNCTION DUMP, the records of libraries.

use crate::prim::{Elem, Reader, put_plain, put_text};
use crate::types::OP_FUNCTION2;
use crate::{MAX_RDB_VERSION, RDB_VERSION, RdbError, crc64, types};

const FOOTER: usize = 10;

/// The payload for a value that was encoded before. It carries the version that the value's type needs: an older reader
/// refuses it as a whole.
pub fn dump_payload(rdb_type: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + value.len() + FOOTER);
    out.push(rdb_type);
    out.extend_from_slice(value);
    seal(out, version_of(rdb_type))
}

/// The same for a value that is written now, by a function that appends it and answers its type.
pub fn dump_payload_of(write: impl FnOnce(&mut Vec<u8>) -> u8) -> Vec<u8> {
    let mut out = vec![0];
    let rdb_type = write(&mut out);
    out[0] = rdb_type;
    seal(out, version_of(rdb_type))
}

/// The version that brought a type of value, but none below the one that is written usually.
pub fn version_of(rdb_type: u8) -> u16 {
    match rdb_type {
        types::HASH_METADATA_PRE_GA.. => 12,
        types::SET_LISTPACK | types::STREAM_LISTPACKS_3 => 11,
        _ => RDB_VERSION,
    }
}

/// Puts version and checksum behind a payload.
fn seal(mut out: Vec<u8>, version: u16) -> Vec<u8> {
    out.extend_from_slice(&version.to_le_bytes());
    let crc = crc64(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Appends a library of functions as a file has it.
pub fn function_record(code: &[u8], out: &mut Vec<u8>) {
    out.push(OP_FUNCTION2);
    put_plain(out, code);
}

/// The texts of libraries, from their records.
pub fn parse_functions(records: &[u8]) -> Result<Vec<Vec<u8>>, RdbError> {
    let (mut codes, mut rest) = (Vec::new(), records);
    while let Some((opcode, tail)) = rest.split_first() {
        if *opcode != OP_FUNCTION2 {
            return Err(RdbError::Corrupt("given type is not a function"));
        }
        let mut reader = Reader::new(tail);
        codes.push(reader.text()?.elem().to_vec());
        rest = &tail[reader.position()..];
    }
    Ok(codes)
}

/// The payload of FUNCTION DUMP, from the libraries' texts.
pub fn functions_payload<'a>(codes: impl Iterator<Item = &'a [u8]>, compress: bool) -> Vec<u8> {
    let mut records = Vec::new();
    for code in codes {
        records.push(OP_FUNCTION2);
        put_text(&mut records, Elem::Bytes(code), compress);
    }
    seal(records, RDB_VERSION)
}

/// The texts of libraries, from the payload of FUNCTION DUMP.
pub fn parse_functions_payload(payload: &[u8]) -> Result<Vec<Vec<u8>>, RdbError> {
    parse_functions(verified(payload)?)
}

/// Type and value of a payload whose version and checksum are good. The value itself is checked when it is decoded.
pub fn parse_dump(payload: &[u8]) -> Result<(u8, &[u8]), RdbError> {
    let (rdb_type, value) = verified(payload)?.split_first().ok_or(RdbError::Truncated)?;
    Ok((*rdb_type, value))
}

/// What stands before version and checksum, if both are good.
fn verified(payload: &[u8]) -> Result<&[u8], RdbError> {
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
    Ok(body)
}
