//! A number of bytes in a file or on the command line: a number, or text with one of Redis' units.

use super::sections::RedisText;
use keystead_engine::config::parse_memory;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

/// `1073741824` or `"1gb"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl RedisText for Bytes {
    fn redis_text(&self) -> String {
        self.0.to_string()
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        from.deserialize_any(Reader).map(Bytes)
    }
}

/// A share of something that is counted in bytes, or bytes: text as CONFIG SET takes it, or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BytesOrShare(pub(crate) String);

impl RedisText for BytesOrShare {
    fn redis_text(&self) -> String {
        self.0.clone()
    }
}

impl<'de> Deserialize<'de> for BytesOrShare {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<BytesOrShare, D::Error> {
        from.deserialize_any(ShareReader).map(BytesOrShare)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes as a number, or with a unit such as \"512mb\" or \"1gb\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let bytes = parse_memory(text).filter(|_| text.starts_with(|c: char| c.is_ascii_digit()));
        bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct ShareReader;

impl Visitor<'_> for ShareReader {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes (a number, or with a unit such as \"512mb\") or a share such as \"5%\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{Edit, parse};
    use keystead_engine::config::{Kind, PARAMS};

    fn maxmemory(file: &str, set: Option<&str>) -> Result<String, String> {
        let edits: Vec<Edit> = set.map(|text| Edit::parse(text).expect("path=value")).into_iter().collect();
        let settings = parse("test.ron", file.into(), &edits).map_err(|error| error.to_string())?;
        let value = settings.settings().into_iter().find(|s| s.redis == Some("maxmemory")).expect("there").value;
        Ok(value)
    }

    #[test]
    fn bytes_are_a_number_or_have_a_unit() {
        let cases = [("7", "7"), ("\"7\"", "7"), ("\"1kb\"", "1024"), ("\"2GB\"", "2147483648"), ("\"5k\"", "5000")];
        for (written, bytes) in cases {
            assert_eq!(
                maxmemory(&format!("(memory: (maxmemory: {written}))"), None).as_deref(),
                Ok(bytes),
                "{written}"
            );
            let set = format!("memory.maxmemory={}", written.trim_matches('"'));
            assert_eq!(maxmemory("()", Some(&set)).as_deref(), Ok(bytes), "{set}");
        }
        for wrong in ["-1", "\"1tb\"", "\"gb\"", "\"\"", "1.5", "true", "\"9999999999gb\""] {
            let told = maxmemory(&format!("(memory: (maxmemory: {wrong}))"), None).expect_err(wrong);
            assert!(
                told.starts_with("test.ron:1:2") && told.contains(": expected bytes as a number, or with a unit"),
                "{told}"
            );
        }
        let told = maxmemory("()", Some("memory.maxmemory=1tb")).expect_err("no unit");
        assert!(told.starts_with("--set memory.maxmemory=1tb: expected bytes"), "{told}");
    }

    #[test]
    fn whatever_the_engine_counts_in_bytes_has_units() {
        let defaults = parse("test.ron", "()".into(), &[]).expect("understood").settings();
        let mut seen = 0;
        for param in PARAMS.iter().filter(|param| matches!(param.kind, Kind::Memory(..) | Kind::MemoryOrPercent)) {
            let Some(row) = defaults.iter().find(|row| row.redis == Some(param.name)) else { continue };
            for value in ["\"2mb\"", "2097152"] {
                let (section, field) = row.path.split_once('.').expect("section.field");
                let text = format!("({section}: ({field}: {value}))");
                let all = parse("test.ron", text.clone(), &[]).expect(&text).settings();
                let told = all.into_iter().find(|row| row.redis == Some(param.name)).expect("there").value;
                assert!(["2097152", "2mb"].contains(&told.as_str()), "{text}: {told}");
            }
            seen += 1;
        }
        assert!(seen >= 8, "{seen}");
    }
}
