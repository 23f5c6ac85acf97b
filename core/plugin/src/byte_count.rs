//! Numbers of bytes in a plugin's configuration: a number, or text with one of Redis' units, as in the server's own sections.

use crate::values::memory;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

/// For a field that counts bytes: with `#[serde(deserialize_with = "keystead_plugin::byte_count")]` it may be written `"64mb"`
/// as well as `67108864`.
///
/// # Errors
/// It is neither.
pub fn byte_count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Count::deserialize(from).map(|Count(bytes)| bytes)
}

/// The same for a field that may be `None`.
///
/// # Errors
/// It is something else.
pub fn byte_count_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let count = Option::<Count>::deserialize(from)?;
    Ok(count.map(|Count(bytes)| bytes))
}

struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Count, D::Error> {
        from.deserialize_any(Reader).map(Count)
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
        let bytes = Some(text).filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
        let bytes = bytes.and_then(|text| memory(text, 0..=u64::MAX).ok());
        bytes.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Position, parse};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sizes {
        #[serde(deserialize_with = "crate::byte_count")]
        size: u64,
        #[serde(deserialize_with = "crate::byte_count_or_none")]
        most: Option<u64>,
    }

    fn sizes(text: &str) -> Result<(u64, Option<u64>), String> {
        let start = Position { line: 1, column: 1 };
        parse::<Sizes>(text, start).map(|sizes| (sizes.size, sizes.most)).map_err(|problem| problem.to_string())
    }

    #[test]
    fn bytes_are_a_number_or_have_a_unit() {
        for (written, bytes) in [("7", 7), ("\"7\"", 7), ("\"1kb\"", 1024), ("\"2GB\"", 2 << 30), ("\"5k\"", 5000)] {
            assert_eq!(sizes(&format!("(size: {written})")), Ok((bytes, None)), "{written}");
            for most in [written.to_owned(), format!("Some({written})")] {
                assert_eq!(sizes(&format!("(most: {most})")), Ok((0, Some(bytes))), "{most}");
            }
        }
        assert_eq!(sizes("(most: None)"), Ok((0, None)));
        for wrong in ["-1", "\"1tb\"", "\"gb\"", "\"\"", "1.5", "true", "\"99999999999gb\""] {
            for field in ["size", "most"] {
                let told = sizes(&format!("({field}: {wrong})")).expect_err(wrong);
                assert!(told.starts_with("1:") && told.contains("bytes as a number, or with a unit"), "{told}");
            }
        }
    }
}
