//! What is noted beside the records: the place in the replication stream that the data has, and the time. Both are
//! annotations, lines behind `#` that Redis skips. Owns their text.

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

const NOTE: &[u8] = b"#KS:";

impl Note {
    /// Reads `#KS:<offset>:<db>[:<replid>]`; an id that isn't told is that of the note before.
    pub fn parse(line: &[u8], before: Option<&Note>) -> Option<Note> {
        let text = std::str::from_utf8(line.strip_prefix(NOTE)?.trim_ascii_end()).ok()?;
        let mut fields = text.split(':');
        let (offset, db) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let replid = match (fields.next(), before) {
            (Some(id), _) if id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => id.to_owned(),
            (None, Some(before)) => before.replid.clone(),
            _ => return None,
        };
        fields.next().is_none().then_some(Note { replid, offset, db })
    }

    /// The line; with the id only if it isn't that of the note before.
    pub fn write(&self, before: Option<&Note>, out: &mut Vec<u8>) {
        let mut line = format!("#KS:{}:{}", self.offset, self.db);
        if before.is_none_or(|before| before.replid != self.replid) {
            let _ = write!(line, ":{}", self.replid);
        }
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// `#TS:<seconds>`, as `aof-timestamp-enabled` wants it.
pub fn write_time(seconds: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("#TS:{seconds}\r\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::Note;

    #[test]
    fn notes_survive() {
        let first = Note { replid: "ab".repeat(20), offset: 7, db: 3 };
        let second = Note { offset: 9, ..first.clone() };
        let mut out = Vec::new();
        first.write(None, &mut out);
        second.write(Some(&first), &mut out);
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, [format!("#KS:7:3:{}", "ab".repeat(20)).as_str(), "#KS:9:3"]);
        assert_eq!(Note::parse(lines[0].as_bytes(), None), Some(first.clone()));
        assert_eq!(Note::parse(b"#KS:9:3\r", Some(&first)), Some(second));
        for bad in ["#KS:9:3", "#KS:x:3:a", "#KS:1:2:short", "#TS:1", "#KS:1:2:3:4", ""] {
            assert_eq!(Note::parse(bad.as_bytes(), None), None, "{bad}");
        }
    }
}
