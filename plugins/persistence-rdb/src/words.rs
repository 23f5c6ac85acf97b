//! What is wrong with a file, in Redis' words and with its place. Pure.

use keystead_rdb::{FileError, RdbError, shown_key};

/// A file's error for the log: what Redis says, then where.
pub fn refusal(error: &FileError) -> String {
    let words = match &error.error {
        RdbError::Truncated => "Short read or OOM loading DB. Unrecoverable error, aborting now.".to_owned(),
        RdbError::Checksum { stored, computed } => {
            format!("Wrong RDB checksum expected: ({stored:x}) but got ({computed:x}). Aborting now. RDB CRC error")
        }
        RdbError::BadMagic => "Wrong signature trying to load DB from file".to_owned(),
        RdbError::Version(version) => format!("Can't handle RDB format version {version}"),
        other => format!("Internal error in RDB reading: {other}"),
    };
    let key = error.key.as_ref().map(|key| format!(", key '{}'", shown_key(key))).unwrap_or_default();
    format!("{words} (at byte {}{key})", error.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_place() {
        let error = |error, key: Option<&[u8]>| FileError { offset: 12, key: key.map(<[u8]>::to_vec), error };
        for (error, words) in [
            (
                error(RdbError::Truncated, None),
                "Short read or OOM loading DB. Unrecoverable error, aborting now. (at byte 12)",
            ),
            (
                error(RdbError::Checksum { stored: 0xab, computed: 0xcd }, None),
                "Wrong RDB checksum expected: (ab) but got (cd). Aborting now. RDB CRC error (at byte 12)",
            ),
            (error(RdbError::BadMagic, None), "Wrong signature trying to load DB from file (at byte 12)"),
            (error(RdbError::Version(99), None), "Can't handle RDB format version 99 (at byte 12)"),
            (
                error(RdbError::Unsupported("module"), Some(b"k\n")),
                "Internal error in RDB reading: values of type module are not supported (at byte 12, key 'k\\n')",
            ),
        ] {
            assert_eq!(refusal(&error), words);
        }
    }
}
