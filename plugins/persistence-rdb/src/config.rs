//! What can be set: the plugin's subtree of the RON file. `params` shows the same fields under Redis' names.

use crate::points::Point;
use keystead_plugin::Result;
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

/// A file's name, without a folder.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err("dbfilename can't be empty".into());
    }
    if name.contains('/') {
        return Err("dbfilename can't be a path, just a filename".into());
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
