//! A key that a file has twice: no server writes one, so the file is damaged. Keeps every key in memory, so it is for a file of
//! which something else told that there must be one.

use crate::{Event, FileParser, RdbError, records};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read};

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// The second record of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The key.
    pub key: Vec<u8>,
    /// Its database.
    pub db: u32,
    /// Where the record begins, counted from the file's first byte.
    pub offset: u64,
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repeated { key, db, offset } = self;
        let key = crate::shown_key(key);
        write!(f, "Internal error in RDB reading: RDB has duplicated key '{key}' in DB {db} (at byte {offset})")
    }
}

/// Looks for the first key that is there twice, in a file that comes in pieces.
#[derive(Debug, Default)]
pub struct RepeatedKeys {
    parser: FileParser,
    seen: HashSet<(u32, Vec<u8>)>,
}

impl RepeatedKeys {
    /// Reads a file that was read as a whole before: what can't be parsed says nothing about its keys.
    ///
    /// # Errors
    /// Reading it failed.
    pub fn find(mut file: impl Read) -> io::Result<Option<Repeated>> {
        let (mut keys, mut piece) = (RepeatedKeys::default(), vec![0; PIECE]);
        loop {
            let n = file.read(&mut piece)?;
            match keys.feed(&piece[..n]) {
                Ok(None) if n > 0 => {}
                Ok(found) => return Ok(found),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Takes the next piece; the key, if it is there.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<Repeated>, RdbError> {
        self.parser.feed(bytes);
        loop {
            let mut offset = self.parser.offset();
            let (db, batch) = match self.parser.next_event().map_err(|error| error.error)? {
                None => return Ok(None),
                Some(Event::Batch { db, bytes, .. }) => (db, bytes),
                Some(_) => continue,
            };
            for record in records(batch) {
                let record = record?;
                if !self.seen.insert((db, record.key.to_vec())) {
                    return Ok(Some(Repeated { key: record.key.into_owned(), db, offset }));
                }
                offset += record.raw.len() as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"REDIS0010\xfe\x00\x00\x01k\x01v\xfe\x01\x00\x01k\x01w\x00\x01l\x01w\x00\x01k\x01x\xff";

    fn find(file: &[u8], piece: usize) -> Option<Repeated> {
        let mut keys = RepeatedKeys::default();
        file.chunks(piece).find_map(|piece| keys.feed(piece).expect("a file"))
    }

    #[test]
    fn the_second_record_is_found_wherever_pieces_end() {
        for piece in [1, 3, 7, 100] {
            let repeated = find(FILE, piece).expect("k is twice in 1");
            assert_eq!(repeated, Repeated { key: b"k".to_vec(), db: 1, offset: FILE.len() as u64 - 6 });
            let words = "Internal error in RDB reading: RDB has duplicated key 'k' in DB 1 (at byte 28)";
            assert_eq!(repeated.to_string(), words);
            assert_eq!(find(&FILE[..FILE.len() - 6], piece), None);
        }
        assert_eq!(RepeatedKeys::find(FILE).expect("read"), find(FILE, 100));
    }
}
