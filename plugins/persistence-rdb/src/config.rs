//! What can be set: the plugin's subtree of the RON file. `params` shows the same fields under Redis' names.

use crate::points::Point;
use keystead_plugin::{Error, Result};
use serde::{Deserialize, Serialize};

/// The subtree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `save`: (seconds, changes), any of which is enough.
    pub save: Vec<Point>,
    /// `dbfilename`
    pub dbfilename: String,
    /// `rdbcompression`
    pub rdbcompression: bool,
    /// `rdbchecksum`
    pub rdbchecksum: bool,
    /// `rdb-save-incremental-fsync`
    pub rdb_save_incremental_fsync: bool,
    /// `stop-writes-on-bgsave-error`
    pub stop_writes_on_bgsave_error: bool,
    /// `rdb-key-save-delay`: microseconds to wait per key while saving, for tests.
    pub rdb_key_save_delay: u64,
    /// `key-load-delay`: microseconds to wait per key while loading, for tests.
    pub key_load_delay: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            save: vec![(3600, 1), (300, 100), (60, 10_000)],
            dbfilename: "dump.rdb".into(),
            rdbcompression: true,
            rdbchecksum: true,
            rdb_save_incremental_fsync: true,
            stop_writes_on_bgsave_error: true,
            rdb_key_save_delay: 0,
            key_load_delay: 0,
        }
    }
}

impl Config {
    /// What types can't say.
    pub fn check(&self) -> Result<()> {
        check_name(&self.dbfilename)?;
        if self.save.iter().any(|(seconds, _)| *seconds == 0) {
            return Err("a save point needs at least one second".into());
        }
        Ok(())
    }
}

/// The longest name that Linux' file systems take.
const MAX_NAME: usize = 255;

/// A file's name, without a folder. One that no file can have would be kept by CONFIG REWRITE, fail all saves, and refuse the
/// next start.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err("dbfilename can't be empty".into());
    }
    // A backslash as in Redis, where files may go on to other systems.
    if name.contains(['/', '\\', '\0']) || [".", ".."].contains(&name) {
        return Err("dbfilename can't be a path, just a filename".into());
    }
    if name.len() > MAX_NAME {
        return Err(Error::new(format!("dbfilename can have {MAX_NAME} bytes at most")));
    }
    Ok(())
}

/// For `describe_config`.
pub(crate) const DOCS: &[(&str, &str)] = &[
    ("save", "Save after so many seconds if so many keys changed; any of them is enough. Empty: never by itself."),
    ("dbfilename", "The file, in `server.dir`."),
    ("rdbcompression", "Compress strings in the file."),
    ("rdbchecksum", "A checksum at the file's end, and compare it when loading."),
    ("rdb_save_incremental_fsync", "Bring the file to the disk in pieces while it is written."),
    ("stop_writes_on_bgsave_error", "Refuse writes while the last save failed (only with save points)."),
    ("rdb_key_save_delay", "For tests: microseconds to wait per key while saving."),
    ("key_load_delay", "For tests: microseconds to wait per key while loading."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_file_can_have_are_taken() {
        for good in ["dump.rdb", "a b", "..rdb", "ä", &"x".repeat(255)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a\\b", ".", "..", "a\0b", &"x".repeat(256)] {
            assert!(check_name(bad).is_err(), "{}", bad.escape_debug());
        }
    }
}
