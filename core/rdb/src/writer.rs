//! Framing a file or a full sync: header, fields, databases, records, end, checksum. Never touches a file itself.

use crate::Crc64;
use crate::prim::{put_len, put_plain};
use crate::types::{OP_AUX, OP_EOF, OP_RESIZEDB, OP_SELECTDB};

/// Appends the parts of a file to the caller's buffers, which may be emptied between calls.
#[derive(Debug)]
pub struct FileWriter {
    crc: Option<Crc64>,
    written: u64,
    db: Option<u32>,
}

impl FileWriter {
    /// A writer with a checksum at the end, or (`rdbchecksum no`) with zeros in its place.
    pub fn new(checksum: bool) -> Self {
        Self { crc: checksum.then(Crc64::new), written: 0, db: None }
    }

    /// Bytes appended so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// `REDIS` and the version: comes first.
    pub fn header(&mut self, out: &mut Vec<u8>, version: u16) {
        self.append(out, |out| out.extend_from_slice(format!("REDIS{version:04}").as_bytes()));
    }

    /// A named field, such as `redis-ver` or `repl-offset`.
    pub fn aux(&mut self, out: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
        self.append(out, |out| {
            out.push(OP_AUX);
            put_plain(out, name.as_bytes());
            put_plain(out, value.as_ref());
        });
    }

    /// The records that follow belong to database `db`.
    pub fn select_db(&mut self, out: &mut Vec<u8>, db: u32) {
        self.db = Some(db);
        self.append(out, |out| {
            out.push(OP_SELECTDB);
            put_len(out, u64::from(db));
        });
    }

    /// How many keys, and keys with an expiry, the database has: a hint for readers.
    pub fn resize_db(&mut self, out: &mut Vec<u8>, keys: u64, expires: u64) {
        self.append(out, |out| {
            out.push(OP_RESIZEDB);
            put_len(out, keys);
            put_len(out, expires);
        });
    }

    /// A batch of records: names their database if it is another than that of the batch before.
    pub fn batch(&mut self, out: &mut Vec<u8>, db: u32, records: &[u8]) {
        if self.db != Some(db) {
            self.select_db(out, db);
        }
        self.records(out, records);
    }

    /// Concatenated records.
    pub fn records(&mut self, out: &mut Vec<u8>, records: &[u8]) {
        self.append(out, |out| out.extend_from_slice(records));
    }

    /// Counts records in that the caller writes itself, without a copy.
    pub fn account(&mut self, records: &[u8]) {
        self.written += records.len() as u64;
        if let Some(crc) = &mut self.crc {
            crc.update(records);
        }
    }

    /// The end and the checksum: comes last.
    pub fn eof(&mut self, out: &mut Vec<u8>) {
        self.append(out, |out| out.push(OP_EOF));
        let crc = self.crc.as_ref().map_or(0, Crc64::value);
        out.extend_from_slice(&crc.to_le_bytes());
        self.written += 8;
    }

    fn append(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        write(out);
        let (crc, written) = (&mut self.crc, &mut self.written);
        *written += (out.len() - start) as u64;
        if let Some(crc) = crc {
            crc.update(&out[start..]);
        }
    }
}
