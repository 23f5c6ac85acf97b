//! The named fields at the front of a file: who wrote it when, and of which replication history it is a prefix. Save, full
//! sync and the base of an append-only file begin alike; this is the one place that knows their names.

use crate::{Event, FileParser, FileWriter};

/// The version of Redis that readers are told: what the format is compatible with.
const REDIS_VERSION: &str = "7.2.4";

/// A place in a replication history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamPoint {
    /// The replication id.
    pub replid: String,
    /// How many bytes of the stream the data has, as the file says it; streams have 63 bits.
    pub offset: u64,
    /// The database that the stream has selected there.
    pub stream_db: u32,
}

/// The fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHead {
    /// `redis-ver`: who wrote it. Set when read; written as what this format is compatible with.
    pub version: Option<String>,
    /// `ctime`, seconds since 1970.
    pub created_s: Option<u64>,
    /// `used-mem`, bytes.
    pub used_memory: Option<u64>,
    /// `repl-id`, `repl-offset`, `repl-stream-db`.
    pub stream: Option<StreamPoint>,
    /// `aof-base`: commands follow in other files.
    pub aof_base: bool,
}

impl FileHead {
    /// What the beginning of a file says, without the rest: as much of it as there is, nothing where that is no file.
    pub fn of(front: &[u8]) -> FileHead {
        let (mut parser, mut head) = (FileParser::default(), FileHead::default());
        parser.feed(front);
        loop {
            match parser.next_event() {
                Ok(Some(Event::Aux(name, value))) => _ = head.note(&name, &value),
                Ok(Some(Event::Version(_))) => {}
                _ => return head,
            }
        }
    }

    /// Writes the file's signature and the fields: comes first.
    pub fn write(&self, writer: &mut FileWriter, out: &mut Vec<u8>, version: u16) {
        writer.header(out, version);
        writer.aux(out, "redis-ver", self.version.as_deref().unwrap_or(REDIS_VERSION));
        writer.aux(out, "redis-bits", "64");
        if let Some(created) = self.created_s {
            writer.aux(out, "ctime", created.to_string());
        }
        if let Some(used) = self.used_memory {
            writer.aux(out, "used-mem", used.to_string());
        }
        if let Some(stream) = &self.stream {
            writer.aux(out, "repl-stream-db", stream.stream_db.to_string());
            writer.aux(out, "repl-id", &stream.replid);
            writer.aux(out, "repl-offset", stream.offset.to_string());
        }
        writer.aux(out, "aof-base", if self.aof_base { "1" } else { "0" });
    }

    /// Takes note of a field; false if it isn't one of these. A stream's fields count only together: see
    /// [`FileHead::complete`].
    pub fn note(&mut self, name: &[u8], value: &[u8]) -> bool {
        let text = String::from_utf8_lossy(value);
        match name {
            b"redis-ver" => self.version = Some(text.into_owned()),
            b"ctime" => self.created_s = text.parse().ok(),
            b"used-mem" => self.used_memory = text.parse().ok(),
            b"aof-base" => self.aof_base = text == "1",
            b"repl-id" => self.stream.get_or_insert_default().replid = text.into_owned(),
            // One that is no number is none that a stream can have: readers refuse it, see `StreamPoint`.
            b"repl-offset" => self.stream.get_or_insert_default().offset = text.parse().unwrap_or(u64::MAX),
            // Redis writes -1 when none is selected: a SELECT follows.
            b"repl-stream-db" => self.stream.get_or_insert_default().stream_db = text.parse().unwrap_or(0),
            b"redis-bits" => {}
            _ => return false,
        }
        true
    }

    /// The place in a history, if the file has one.
    pub fn complete(&self) -> Option<&StreamPoint> {
        let hex = |id: &str| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.stream.as_ref().filter(|stream| hex(&stream.replid) && stream.replid.bytes().any(|byte| byte != b'0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stream = StreamPoint { replid: "a".repeat(40), offset: 77, stream_db: 3 };
        let head = FileHead {
            version: Some("7.0.15".into()),
            created_s: Some(5),
            used_memory: Some(9),
            stream: Some(stream),
            aof_base: true,
        };
        let (mut out, mut writer) = (Vec::new(), FileWriter::new(true));
        head.write(&mut writer, &mut out, 10);
        writer.eof(&mut out);
        let read = FileHead::of(&out);
        assert_eq!(read, head);
        assert_eq!(read.complete().map(|at| at.offset), Some(77));
        let cut = FileHead::of(&out[..out.len() / 2]);
        assert!(cut.version == head.version && cut.complete().is_none(), "{cut:?}");
        assert_eq!(FileHead::of(b"no file"), FileHead::default());
    }

    /// Data at 0 would be asked for all that a history has, and get it on top of what it is.
    #[test]
    fn an_offset_that_is_no_number_is_not_the_beginning() {
        for text in ["", "x", "-1", "18446744073709551616"] {
            let mut head = FileHead::default();
            assert!(head.note(b"repl-id", "a".repeat(40).as_bytes()) && head.note(b"repl-offset", text.as_bytes()));
            assert_eq!(head.complete().map(|at| at.offset), Some(u64::MAX), "{text}");
        }
    }

    #[test]
    fn a_stream_without_an_id_is_none() {
        let mut head = FileHead::default();
        assert!(head.note(b"repl-offset", b"12") && head.note(b"repl-stream-db", b"-1"));
        assert_eq!(head.complete(), None);
        assert!(head.note(b"repl-id", "0".repeat(40).as_bytes()));
        assert_eq!(head.complete(), None);
        assert!(!head.note(b"lua", b"return 1"));
    }
}
