//! What is noted beside the records: the place in the replication stream that the data has, and the time. Both are
//! annotations, lines behind `#` that Redis skips. Owns their text.

use keystead_rdb::crc64;
use std::fmt::Write;

/// The place in a history at which everything before the note is the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The replication id.
    pub replid: String,
    /// How many bytes of its stream the data has.
    pub offset: u64,
    /// The database that the stream has selected.
    pub db: u32,
}

/// What an annotation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Annotation {
    /// A note of the place.
    Place(Note),
    /// A note of the place that isn't as it was written: a replica that went on from there would have other data for ever.
    Damaged,
    /// Something else.
    Other,
}

const NOTE: &[u8] = b"#KS:";
/// Characters of a replication id.
const ID: usize = 40;

impl Note {
    /// Reads `#KS:<offset>:<db>[:<replid>][:<checksum>]`; an id that isn't told is that of the note before. Files of older
    /// versions have no checksums. The bytes between two notes tell nothing about their distance: a stream also has records
    /// that no file needs (PING), and a file has its own SELECT.
    pub fn parse(line: &[u8], before: Option<&Note>) -> Annotation {
        match line.strip_prefix(NOTE) {
            None => Annotation::Other,
            Some(fields) => Note::read(fields, before).map_or(Annotation::Damaged, Annotation::Place),
        }
    }

    fn read(fields: &[u8], before: Option<&Note>) -> Option<Note> {
        let mut fields = std::str::from_utf8(fields.trim_ascii_end()).ok()?.split(':').peekable();
        let (offset, db) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let replid = match fields.next_if(|field| field.len() == ID) {
            Some(id) => id.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| id.to_owned())?,
            None => before?.replid.clone(),
        };
        let note = Note { replid, offset, db };
        let fits = fields.next().is_none_or(|checksum| checksum == note.checksum());
        (fits && fields.next().is_none()).then_some(note)
    }

    /// The line; with the id only if it isn't that of the note before.
    pub fn write(&self, before: Option<&Note>, out: &mut Vec<u8>) {
        let mut line = format!("#KS:{}:{}", self.offset, self.db);
        if before.is_none_or(|before| before.replid != self.replid) {
            let _ = write!(line, ":{}", self.replid);
        }
        let _ = write!(line, ":{}\r\n", self.checksum());
        out.extend_from_slice(line.as_bytes());
    }

    /// Of all that the note means, an id that it doesn't tell included. It begins with a letter, so that no other byte in
    /// front of it makes it a part of the number there.
    fn checksum(&self) -> String {
        let all = format!("{}:{}:{}", self.offset, self.db, self.replid);
        format!("c{:08x}", crc64(all.as_bytes()) & 0xffff_ffff)
    }
}

/// `#TS:<seconds>`, as `aof-timestamp-enabled` wants it.
pub fn write_time(seconds: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("#TS:{seconds}\r\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(note: &Note, before: Option<&Note>) -> Vec<u8> {
        let mut out = Vec::new();
        note.write(before, &mut out);
        out
    }

    #[test]
    fn notes_survive() {
        let first = Note { replid: "ab".repeat(20), offset: 7, db: 3 };
        let second = Note { offset: 9, ..first.clone() };
        let lines = [written(&first, None), written(&second, Some(&first))];
        assert!(lines[0].starts_with(format!("#KS:7:3:{}:c", "ab".repeat(20)).as_bytes()));
        assert!(lines[1].starts_with(b"#KS:9:3:c") && lines[1].len() == "#KS:9:3:c12345678\r\n".len());
        assert_eq!(Note::parse(&lines[0], None), Annotation::Place(first.clone()));
        assert_eq!(Note::parse(&lines[1], Some(&first)), Annotation::Place(second.clone()));
        let another = Note { replid: "cd".repeat(20), ..first.clone() };
        assert_eq!(Note::parse(&lines[1], Some(&another)), Annotation::Damaged, "it belongs to another id");
        // As older versions wrote them.
        let old = format!("#KS:7:3:{}\r", first.replid);
        assert_eq!(Note::parse(old.as_bytes(), None), Annotation::Place(first.clone()));
        assert_eq!(Note::parse(b"#KS:9:3\r", Some(&first)), Annotation::Place(second));
        for bad in ["#KS:9:3", "#KS:x:3:a", "#KS:1:2:short", "#KS:1:2:3:4", "#KS:"] {
            assert_eq!(Note::parse(bad.as_bytes(), None), Annotation::Damaged, "{bad}");
        }
        for other in ["#TS:1", "#", "", "#ks:1:2"] {
            assert_eq!(Note::parse(other.as_bytes(), None), Annotation::Other, "{other}");
        }
    }

    /// Whatever becomes of one byte, no other place is read.
    #[test]
    fn a_changed_byte_is_noticed() {
        let before = Note { replid: "0123456789".repeat(4), offset: 65_536, db: 0 };
        let note = Note { offset: 131_108, db: 12, ..before.clone() };
        for line in [written(&note, Some(&before)), written(&note, None)] {
            for at in 0..line.len() {
                for byte in 0..=255 {
                    let mut bad = line.clone();
                    bad[at] = byte;
                    if let Annotation::Place(read) = Note::parse(&bad, Some(&before)) {
                        assert_eq!(read, note, "{}", bad.escape_ascii());
                    }
                }
            }
        }
    }
}
