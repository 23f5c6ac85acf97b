//! A key as the commands that make it, for a base without RDB (`aof-use-rdb-preamble no`). Pure. Owns how many elements a
//! command takes, as Redis' rewrite does.

use keystead_rdb::{Elem, Kind, RdbError, Record, StreamPart, ValueSink, decode_value, dump_payload};
use keystead_resp::write_command;

/// Elements of one command (`AOF_REWRITE_ITEMS_PER_CMD`).
const ITEMS: usize = 64;

/// Appends the commands that make a key.
pub fn write_key(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), RdbError> {
    if Kind::of(record.rdb_type)? == Kind::Stream {
        // Groups and what they wait for in one command; Redis needs hundreds, and reads this one too.
        let payload = dump_payload(record.rdb_type, record.value);
        write_command(out, [b"RESTORE".as_slice(), &record.key, b"0", &payload].into_iter());
    } else {
        let mut sink = Commands { key: &record.key, name: b"", words: Vec::new(), per_item: 1, times: Vec::new(), out };
        decode_value(record.rdb_type, record.value, &mut sink)?;
        sink.flush();
        for (field, at) in sink.times {
            let at = at.to_string();
            let words = [b"HPEXPIREAT".as_slice(), &record.key, at.as_bytes(), b"FIELDS", b"1", &field];
            write_command(sink.out, words.into_iter());
        }
    }
    if let Some(at) = record.meta.expire_ms {
        let at = at.to_string();
        write_command(out, [b"PEXPIREAT".as_slice(), &record.key, at.as_bytes()].into_iter());
    }
    Ok(())
}

/// Appends `SELECT db`.
pub fn write_select(db: u32, out: &mut Vec<u8>) {
    write_command(out, [b"SELECT".as_slice(), db.to_string().as_bytes()].into_iter());
}

/// Appends the command that loads a library of functions.
pub fn write_function(code: &[u8], out: &mut Vec<u8>) {
    write_command(out, [b"FUNCTION".as_slice(), b"LOAD", code].into_iter());
}

struct Commands<'a> {
    key: &'a [u8],
    name: &'static [u8],
    words: Vec<Vec<u8>>,
    /// Words of one element.
    per_item: usize,
    /// Fields that expire: said when all are there, for a field that expires at once may be the last one.
    times: Vec<(Vec<u8>, u64)>,
    out: &'a mut Vec<u8>,
}

impl Commands<'_> {
    fn add(&mut self, word: Elem<'_>) {
        self.words.push(word.to_vec());
        if self.words.len() == ITEMS * self.per_item {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.words.is_empty() {
            let words: Vec<&[u8]> =
                [self.name, self.key].into_iter().chain(self.words.iter().map(Vec::as_slice)).collect();
            write_command(self.out, words.into_iter());
            self.words.clear();
        }
    }
}

impl ValueSink for Commands<'_> {
    fn begin(&mut self, kind: Kind, _elements: usize) -> Result<(), RdbError> {
        let (name, per_item) = match kind {
            Kind::String => ("SET", 1),
            Kind::List => ("RPUSH", 1),
            Kind::Set => ("SADD", 1),
            Kind::Hash => ("HMSET", 2),
            Kind::Zset => ("ZADD", 2),
            Kind::Stream => return Err(RdbError::Unsupported("stream")),
        };
        (self.name, self.per_item) = (name.as_bytes(), per_item);
        Ok(())
    }

    fn string(&mut self, value: Elem<'_>) -> Result<(), RdbError> {
        self.add(value);
        Ok(())
    }

    fn list_push(&mut self, value: Elem<'_>) -> Result<(), RdbError> {
        self.add(value);
        Ok(())
    }

    fn set_add(&mut self, member: Elem<'_>) -> Result<(), RdbError> {
        self.add(member);
        Ok(())
    }

    fn hash_field(&mut self, field: Elem<'_>, value: Elem<'_>) -> Result<(), RdbError> {
        self.add(field);
        self.add(value);
        Ok(())
    }

    fn hash_field_until(&mut self, field: Elem<'_>, value: Elem<'_>, expires_ms: u64) -> Result<(), RdbError> {
        self.times.push((field.to_vec(), expires_ms));
        self.hash_field(field, value)
    }

    fn zset_member(&mut self, member: Elem<'_>, score: f64) -> Result<(), RdbError> {
        self.add(Elem::Bytes(score_text(score).as_bytes()));
        self.add(member);
        Ok(())
    }

    fn stream(&mut self, _part: StreamPart<'_>) -> Result<(), RdbError> {
        Err(RdbError::Unsupported("stream"))
    }
}

/// A score that comes back as the same number.
fn score_text(score: f64) -> String {
    match score {
        score if score == f64::INFINITY => "inf".to_owned(),
        score if score == f64::NEG_INFINITY => "-inf".to_owned(),
        score => format!("{score:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_rdb::{RecordMeta, types, write_record_head};

    #[test]
    fn long_collections_take_several_commands() {
        let mut bytes = Vec::new();
        let meta = RecordMeta { expire_ms: Some(99), ..RecordMeta::default() };
        write_record_head(&mut bytes, &meta, types::SET, b"k");
        bytes.extend_from_slice(&[0x40, 65]);
        for n in 0..65 {
            let member = format!("m{n}");
            bytes.push(member.len() as u8);
            bytes.extend_from_slice(member.as_bytes());
        }
        let record = Record::parse(&bytes).expect("a record");
        let mut out = Vec::new();
        write_key(&record, &mut out).expect("a value");
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("*66\r\n$4\r\nSADD\r\n$1\r\nk\r\n$2\r\nm0\r\n"), "{text}");
        assert!(
            text.ends_with(
                "*3\r\n$4\r\nSADD\r\n$1\r\nk\r\n$3\r\nm64\r\n*3\r\n$9\r\nPEXPIREAT\r\n$1\r\nk\r\n$2\r\n99\r\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn scores_keep_their_value() {
        for score in [0.1, -0.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, 3.0] {
            let text = score_text(score);
            assert_eq!(text.parse::<f64>().ok().map(f64::to_bits), Some(score.to_bits()), "{text}");
        }
    }
}
