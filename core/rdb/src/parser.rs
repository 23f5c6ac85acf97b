//! Reading a file or a full sync that comes in pieces of any size. Holds at most one unfinished item and the last
//! piece; a record must be whole before it is given out.

use std::io::{self, Read};

use crate::prim::Reader;
use crate::types::{
    OP_AUX, OP_EOF, OP_FUNCTION_PRE_GA, OP_FUNCTION2, OP_MODULE_AUX, OP_RESIZEDB, OP_SELECTDB, OP_SLOT_INFO,
};
use crate::{Crc64, FileError, MAX_RDB_VERSION, RdbError, RecordScanner, Scan};

/// What a parser accepts.
#[derive(Debug, Clone)]
pub struct ParserLimits {
    /// Longest single string, packed or not.
    pub max_string: u64,
    /// A batch is given out when it has this many bytes, even if more records are there.
    pub batch_bytes: usize,
    /// Whether the checksum at the end is compared (`rdbchecksum`).
    pub verify_checksum: bool,
}

impl Default for ParserLimits {
    fn default() -> Self {
        Self { max_string: 4 << 30, batch_bytes: 64 * 1024, verify_checksum: true }
    }
}

/// What a file says, in its order.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The file's version; comes first.
    Version(u16),
    /// A named field.
    Aux(Vec<u8>, Vec<u8>),
    /// Records of this database follow.
    SelectDb(u32),
    /// How many keys and keys with an expiry the database has, as the file claims.
    ResizeDb {
        /// Keys.
        keys: u64,
        /// Keys with an expiry.
        expires: u64,
    },
    /// How many keys, and keys with an expiry, a slot of a cluster has, as the file claims (7.4).
    SlotInfo {
        /// The slot.
        slot: u64,
        /// Keys.
        keys: u64,
        /// Keys with an expiry.
        expires: u64,
    },
    /// Whole records, concatenated.
    Batch {
        /// Their database.
        db: u32,
        /// How many there are.
        count: u64,
        /// Their bytes.
        bytes: &'a [u8],
    },
    /// The source text of a library of functions.
    Function(Vec<u8>),
    /// The end. Bytes behind it are left to [`FileParser::take_rest`].
    Eof {
        /// False if the file carries no checksum (old version, or switched off).
        checksummed: bool,
    },
}

/// Incremental file parser: [`feed`](Self::feed) it, then take events until there is none.
#[derive(Debug)]
pub struct FileParser {
    limits: ParserLimits,
    buf: Vec<u8>,
    /// Everything before this in `buf` was given out.
    head: usize,
    /// Position of `buf[head]` in the file.
    offset: u64,
    crc: Crc64,
    /// How many bytes behind `head` the checksum has already.
    summed: usize,
    scanner: RecordScanner,
    version: u16,
    db: u32,
    done: bool,
}

const MAGIC_LEN: usize = 9;

impl Default for FileParser {
    fn default() -> Self {
        Self::new(ParserLimits::default())
    }
}

impl FileParser {
    /// A parser at the first byte of a file.
    pub fn new(limits: ParserLimits) -> Self {
        let scanner = RecordScanner::new(limits.max_string);
        let (buf, crc) = (Vec::new(), Crc64::new());
        Self { limits, buf, head: 0, offset: 0, crc, summed: 0, scanner, version: 0, db: 0, done: false }
    }

    /// Appends the next piece (64 KiB is a good size).
    pub fn feed(&mut self, bytes: &[u8]) {
        self.let_go();
        self.buf.extend_from_slice(bytes);
    }

    /// The same with the next bytes of a source, so many at most, which aren't copied on their way; how many came, 0 at its end.
    pub fn feed_from(&mut self, mut source: impl Read, most: usize) -> io::Result<usize> {
        self.let_go();
        let len = self.buf.len();
        self.buf.resize(len + most, 0);
        let read = loop {
            match source.read(&mut self.buf[len..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buf.truncate(len + read.as_ref().map_or(0, |read| *read));
        read
    }

    /// Lets go of what was given out.
    fn let_go(&mut self) {
        if self.head > 0 {
            self.buf.drain(..self.head);
            self.head = 0;
        }
    }

    /// Where the next event begins, counted from the file's first byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The database that records belong to now.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// True once the end was seen.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes held that aren't given out yet.
    pub fn buffered(&self) -> usize {
        self.buf.len() - self.head
    }

    /// To be asked when no more bytes will come: an error unless the end was seen.
    pub fn finish(&self) -> Result<(), FileError> {
        if self.done { Ok(()) } else { Err(self.error(RdbError::Truncated)) }
    }

    /// The bytes behind the end: they belong to whatever follows the file.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buf.split_off(self.head);
        self.buf = Vec::new();
        self.head = 0;
        rest
    }

    /// The next event, or `None` until more is fed. After an error the parser is of no more use.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, FileError> {
        if self.done {
            return Ok(None);
        }
        if self.version == 0 {
            return self.magic();
        }
        let Some(&first) = self.buf.get(self.head) else { return Ok(None) };
        match first {
            OP_AUX | OP_SELECTDB | OP_RESIZEDB | OP_EOF | OP_FUNCTION2 | OP_SLOT_INFO | OP_MODULE_AUX => {
                self.opcode(first)
            }
            OP_FUNCTION_PRE_GA => Err(self.error(RdbError::Unsupported("functions of a release candidate of 7.0"))),
            _ => self.batch(),
        }
    }

    /// The bytes of the batch of so many that was given out just now, to keep: copied only where others are held beside them.
    pub fn take_batch(&mut self, len: usize) -> Vec<u8> {
        // A value that is longer than a piece: it is most of what is held, and a copy would be as long.
        if len == self.head && len >= self.buffered() {
            let rest = self.buf.split_off(self.head);
            self.head = 0;
            return std::mem::replace(&mut self.buf, rest);
        }
        self.buf[self.head - len.min(self.head)..self.head].to_vec()
    }

    fn magic(&mut self) -> Result<Option<Event<'_>>, FileError> {
        let bytes = &self.buf[self.head..];
        let begins = |name: &[u8]| name.starts_with(&bytes[..bytes.len().min(name.len())]);
        // Valkey 9 and newer put their own name in front of versions that are theirs alone.
        let foreign = !begins(b"REDIS");
        if foreign && !begins(b"VALKEY") {
            return Err(self.error(RdbError::BadMagic));
        }
        let name = if foreign { b"VALKEY".len() } else { b"REDIS".len() };
        let Some(digits) = bytes.get(name..MAGIC_LEN) else { return Ok(None) };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(self.error(RdbError::BadMagic));
        }
        let version = digits.iter().fold(0, |version, digit| version * 10 + u16::from(digit - b'0'));
        if foreign || version == 0 || version > MAX_RDB_VERSION {
            return Err(self.error(RdbError::Version(version)));
        }
        self.version = version;
        self.consume(MAGIC_LEN);
        Ok(Some(Event::Version(version)))
    }

    fn opcode(&mut self, opcode: u8) -> Result<Option<Event<'_>>, FileError> {
        let mut reader = Reader::new(&self.buf[self.head + 1..]);
        let event = match self.read_opcode(opcode, &mut reader) {
            Ok(event) => event,
            Err(RdbError::Truncated) if self.buffered() as u64 <= self.limits.max_string => return Ok(None),
            Err(RdbError::Truncated) => return Err(self.error(RdbError::TooBig(self.buffered() as u64))),
            Err(error) => return Err(self.error(error)),
        };
        let len = 1 + reader.position();
        if opcode == OP_EOF {
            self.done = true;
            self.head += len;
            self.offset += len as u64;
        } else {
            self.consume(len);
        }
        if let Event::SelectDb(db) = event {
            self.db = db;
        }
        Ok(Some(event))
    }

    fn read_opcode(&self, opcode: u8, reader: &mut Reader<'_>) -> Result<Event<'static>, RdbError> {
        Ok(match opcode {
            OP_AUX => Event::Aux(reader.text()?.elem().to_vec(), reader.text()?.elem().to_vec()),
            OP_SELECTDB => {
                let db = reader.count()?;
                Event::SelectDb(u32::try_from(db).map_err(|_| RdbError::Corrupt("database number too large"))?)
            }
            OP_RESIZEDB => Event::ResizeDb { keys: reader.count()?, expires: reader.count()? },
            OP_SLOT_INFO => Event::SlotInfo { slot: reader.count()?, keys: reader.count()?, expires: reader.count()? },
            OP_MODULE_AUX => return Err(RdbError::Module(module_name(reader.count()?))),
            OP_FUNCTION2 => Event::Function(reader.text()?.elem().to_vec()),
            _ => self.read_end(reader)?,
        })
    }

    fn read_end(&self, reader: &mut Reader<'_>) -> Result<Event<'static>, RdbError> {
        // Files before version 5 end without a checksum.
        if self.version < 5 {
            return Ok(Event::Eof { checksummed: false });
        }
        let stored = u64::from_le_bytes(reader.array()?);
        if stored == 0 || !self.limits.verify_checksum {
            return Ok(Event::Eof { checksummed: false });
        }
        let mut crc = self.crc.clone();
        crc.update(&[OP_EOF]);
        let computed = crc.value();
        if stored == computed {
            Ok(Event::Eof { checksummed: true })
        } else {
            Err(RdbError::Checksum { stored, computed })
        }
    }

    fn batch(&mut self) -> Result<Option<Event<'_>>, FileError> {
        let (start, mut len, mut count) = (self.head, 0, 0);
        // Opcodes that aren't part of a record end a batch.
        while len < self.limits.batch_bytes && self.buf.get(start + len).is_some_and(|&first| !ends_batch(first)) {
            match self.scanner.scan(&self.buf[start + len..]) {
                Ok(Scan::Record(record)) => {
                    len += record;
                    count += 1;
                }
                Ok(Scan::Need) => break,
                Err(error) => {
                    let key = self.scanner.key(&self.buf[start + len..]);
                    return Err(FileError { offset: self.offset + len as u64, key, error });
                }
            }
        }
        if count == 0 {
            // All that is here is a record's that goes on. It may be larger than what is near the processor: summed while it is there.
            self.sum(self.buffered());
            return Ok(None);
        }
        self.consume(len);
        Ok(Some(Event::Batch { db: self.db, count, bytes: &self.buf[start..start + len] }))
    }

    fn consume(&mut self, len: usize) {
        self.sum(len);
        self.summed -= len;
        self.head += len;
        self.offset += len as u64;
    }

    /// The checksum goes on over so many bytes behind `head`, or has them already.
    fn sum(&mut self, len: usize) {
        if len > self.summed {
            // Where nobody compares it, none is needed.
            if self.limits.verify_checksum {
                self.crc.update(&self.buf[self.head + self.summed..self.head + len]);
            }
            self.summed = len;
        }
    }

    fn error(&self, error: RdbError) -> FileError {
        FileError { offset: self.offset, key: None, error }
    }
}

fn ends_batch(first: u8) -> bool {
    matches!(
        first,
        OP_AUX | OP_SELECTDB | OP_RESIZEDB | OP_EOF | OP_FUNCTION2 | OP_SLOT_INFO | OP_MODULE_AUX | OP_FUNCTION_PRE_GA
    )
}

/// The name of a module's type in its number: nine letters of six bits each, above ten bits of a version.
fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).rev().map(|nth| char::from(LETTERS[(id >> (10 + 6 * nth)) as usize & 63])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(body: &[u8]) -> Result<Vec<String>, FileError> {
        let mut parser = FileParser::new(ParserLimits { verify_checksum: false, ..ParserLimits::default() });
        parser.feed(b"REDIS0012");
        parser.feed(body);
        let mut all = Vec::new();
        while let Some(event) = parser.next_event()? {
            all.push(format!("{event:?}"));
        }
        Ok(all)
    }

    #[test]
    fn files_of_others_are_refused_by_what_they_are() {
        for (front, error) in [
            ("REDIS0013", RdbError::Version(13)),
            ("REDIS0000", RdbError::Version(0)),
            ("VALKEY080", RdbError::Version(80)),
            ("VALKEY08x", RdbError::BadMagic),
            ("VALUE", RdbError::BadMagic),
            ("REDISx", RdbError::BadMagic),
        ] {
            for piece in [1, 9] {
                let mut parser = FileParser::default();
                let all = [front.as_bytes(), b"\xfa\x00\x00\xff"].concat();
                let told = all.chunks(piece).find_map(|piece| {
                    parser.feed(piece);
                    parser.next_event().err()
                });
                assert_eq!(told.map(|told| told.error), Some(error.clone()), "{front}");
            }
        }
    }

    #[test]
    fn sizes_of_slots_are_a_hint_between_the_keys() {
        // Database 0, slot 300 with 2 keys of which 1 expires, a string, the end.
        let mut file = vec![OP_SELECTDB, 0, OP_SLOT_INFO, 0x41, 0x2c, 2, 1, 0, 1, b'k', 1, b'v', OP_EOF];
        file.extend([0; 8]);
        let found = events(&file).expect("a whole file");
        assert_eq!(found[2], "SlotInfo { slot: 300, keys: 2, expires: 1 }");
        assert!(found[3].starts_with("Batch { db: 0, count: 1") && found[4].starts_with("Eof"), "{found:?}");
    }

    #[test]
    fn a_batch_is_taken_with_the_bytes_it_was_shown_with() {
        // Short values, one that is longer than a piece, and short ones behind it.
        let record = |len: u32| [&[0, 1, b'k', 0x80][..], &len.to_be_bytes(), &vec![b'v'; len as usize]].concat();
        let file = [&b"REDIS0012"[..], &[9, 9, 5000, 9, 9, 300, 9].map(record).concat()].concat();
        for piece in [1, 64, 700, 6000] {
            let mut parser = FileParser::default();
            let mut taken = Vec::new();
            for piece in file.chunks(piece) {
                parser.feed(piece);
                while let Some(event) = parser.next_event().expect("whole records") {
                    let Event::Batch { bytes, .. } = event else { continue };
                    let shown = bytes.to_vec();
                    let batch = parser.take_batch(shown.len());
                    assert_eq!(batch, shown);
                    taken.extend(batch);
                }
            }
            assert_eq!((taken.as_slice(), parser.buffered()), (&file[9..], 0), "pieces of {piece}");
        }
    }

    /// Gives so many bytes at most, and is interrupted before each time.
    struct Halting<'a>(&'a [u8], usize, bool);

    impl Read for Halting<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.2 = !self.2;
            if self.2 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = self.1.min(buf.len());
            self.0.read(&mut buf[..most])
        }
    }

    /// How a file that is read from a source ends.
    fn end_of(file: &[u8], most: usize) -> Result<String, RdbError> {
        let (mut parser, mut source) = (FileParser::default(), Halting(file, most, false));
        let mut end = String::new();
        while parser.feed_from(&mut source, 700).expect("readable") > 0 {
            while let Some(event) = parser.next_event().map_err(|error| error.error)? {
                end = format!("{event:?}");
            }
        }
        parser.finish().map(|()| end).map_err(|error| error.error)
    }

    #[test]
    fn a_value_longer_than_its_pieces_is_summed_once() {
        let record = |len: u32| [&[0, 1, b'k', 0x80][..], &len.to_be_bytes(), &vec![b'v'; len as usize]].concat();
        let mut file = [&b"REDIS0012\xfe\x00"[..], &[9, 5000, 9, 900].map(record).concat(), &[OP_EOF]].concat();
        file.extend(crate::crc64(&file).to_le_bytes());
        for most in [1, 64, 699, 6000] {
            assert_eq!(end_of(&file, most).as_deref(), Ok("Eof { checksummed: true }"), "pieces of {most}");
            for at in [40, 700, 3000, 5030, 5900] {
                let mut damaged = file.clone();
                assert_eq!(std::mem::replace(&mut damaged[at], b'w'), b'v');
                assert!(matches!(end_of(&damaged, most), Err(RdbError::Checksum { .. })), "byte {at}");
            }
        }
        assert_eq!(end_of(&file[..5900], 64), Err(RdbError::Truncated));
        let folder = std::fs::File::open("/").expect("opened");
        assert!(FileParser::default().feed_from(folder, 700).is_err());
    }

    #[test]
    fn a_module_s_data_is_refused_by_its_name() {
        // "ReJSON-RL", version 3.
        let letters = [17u64, 30, 9, 18, 14, 13, 62, 17, 11];
        let id = letters.iter().fold(0, |id, letter| id << 6 | letter) << 10 | 3;
        let mut file = vec![OP_MODULE_AUX, 0x81];
        file.extend(id.to_be_bytes());
        let error = events(&file).expect_err("there are no modules");
        assert_eq!(error.error, RdbError::Module("ReJSON-RL".into()));
        assert_eq!(
            error.to_string(),
            "RDB, byte 9: data of a module's type 'ReJSON-RL', and there are no modules here"
        );
    }
}
