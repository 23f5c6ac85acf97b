//! What can be wrong with RDB bytes, in words that help the person who owns the file.

use std::fmt;

/// Why bytes are no valid RDB value, record or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RdbError {
    /// The bytes end in the middle of something.
    Truncated,
    /// The file doesn't begin with `REDIS` and a version.
    BadMagic,
    /// Written by a newer version than this one reads.
    Version(u16),
    /// A type number that no known version uses.
    UnknownType(u8),
    /// A known type that isn't supported here, by its name.
    Unsupported(&'static str),
    /// Data of a module, which isn't here, by the name of its type.
    Module(String),
    /// A collection without elements: no server keeps such a key.
    Empty,
    /// A set member, hash field or sorted-set member occurs twice.
    Duplicate,
    /// Bytes that contradict themselves; the text says which.
    Corrupt(&'static str),
    /// A string longer than the limit.
    TooBig(u64),
    /// A compressed string for which there is no memory, or which says so of itself.
    NoMemory(u64),
    /// The checksum at the end doesn't fit the bytes before it.
    Checksum {
        /// What the bytes say.
        stored: u64,
        /// What they add up to.
        computed: u64,
    },
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("unexpected end of data"),
            Self::BadMagic => f.write_str("wrong signature: this is no RDB file"),
            Self::Version(version) => {
                write!(f, "RDB version {version} is newer than {}, the newest that can be read", crate::MAX_RDB_VERSION)
            }
            Self::UnknownType(number) => write!(f, "unknown value type {number}"),
            Self::Unsupported(name) => write!(f, "values of type {name} are not supported"),
            Self::Module(name) => write!(f, "data of a module's type '{name}', and there are no modules here"),
            Self::Empty => f.write_str("empty collection"),
            Self::Duplicate => f.write_str("duplicate element"),
            Self::Corrupt(what) => f.write_str(what),
            Self::TooBig(len) => write!(f, "a string of {len} bytes is longer than allowed"),
            Self::NoMemory(len) => write!(f, "no memory for a string of {len} bytes"),
            Self::Checksum { stored, computed } => {
                write!(f, "wrong checksum: stored {stored:016x}, computed {computed:016x}")
            }
        }
    }
}

impl std::error::Error for RdbError {}

/// An [`RdbError`] with its place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Where the item with the error begins, counted from the file's first byte.
    pub offset: u64,
    /// The key it belongs to, if one was read.
    pub key: Option<Vec<u8>>,
    /// What is wrong.
    pub error: RdbError,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RDB, byte {}", self.offset)?;
        if let Some(key) = &self.key {
            write!(f, ", key '{}'", shown_key(key))?;
        }
        write!(f, ": {}", self.error)
    }
}

impl std::error::Error for FileError {}

/// A key as a line of text shows it: enough of it to find it, for keys may be as long as values.
pub fn shown_key(key: &[u8]) -> String {
    const SHOWN: usize = 128;
    let dots = if key.len() > SHOWN { "…" } else { "" };
    format!("{}{dots}", key[..key.len().min(SHOWN)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_are_cut_in_messages() {
        for (len, shown) in [(0, 0), (127, 127), (128, 128), (129, 128), (3 << 20, 128)] {
            let dots = if len > shown { "…" } else { "" };
            assert_eq!(shown_key(&vec![b'k'; len]), format!("{}{dots}", "k".repeat(shown)));
        }
    }
}
