//! The plugin's subtree of the RON file. Owns the keys, their defaults (Redis') and what they exclude.

use crate::machine::Fsync;
use keystead_plugin::{Error, Result};
use serde::{Deserialize, Serialize};

/// The subtree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `appendonly`.
    pub enabled: bool,
    /// `appendfsync`.
    pub fsync: Fsync,
    /// `appenddirname`.
    pub dir_name: String,
    /// `appendfilename`.
    pub file_name: String,
    /// `no-appendfsync-on-rewrite`.
    pub no_fsync_on_rewrite: bool,
    /// `auto-aof-rewrite-percentage`.
    pub rewrite_percentage: u64,
    /// `auto-aof-rewrite-min-size`.
    #[serde(deserialize_with = "keystead_plugin::byte_count")]
    pub rewrite_min_size: u64,
    /// `aof-rewrite-incremental-fsync`.
    pub rewrite_incremental_fsync: bool,
    /// `aof-load-truncated`.
    pub load_truncated: bool,
    /// `aof-use-rdb-preamble`.
    pub rdb_preamble: bool,
    /// `aof-timestamp-enabled`.
    pub timestamps: bool,
    /// `aof-disable-auto-gc`.
    pub keep_history: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            enabled: true,
            fsync: Fsync::Everysec,
            dir_name: "appendonlydir".to_owned(),
            file_name: "appendonly.aof".to_owned(),
            no_fsync_on_rewrite: false,
            rewrite_percentage: 100,
            rewrite_min_size: 64 << 20,
            rewrite_incremental_fsync: true,
            load_truncated: true,
            rdb_preamble: true,
            timestamps: false,
            keep_history: false,
        }
    }
}

/// One line for each field, for `describe_config`.
pub const DOCS: &[(&str, &str)] = &[
    ("enabled", "appendonly: keep every write. Whoever lists the plugin wants it, so it is on unless said otherwise."),
    ("fsync", "appendfsync: always (a reply leaves when its write is on the disk), everysec, or no."),
    ("dir_name", "appenddirname: the folder inside `dir`."),
    ("file_name", "appendfilename: how the files inside begin."),
    (
        "no_fsync_on_rewrite",
        "no-appendfsync-on-rewrite: leave the disk to a rewrite; up to 30 s of writes may be lost then.",
    ),
    ("rewrite_percentage", "auto-aof-rewrite-percentage: rewrite when the files grew by so much; 0 never."),
    ("rewrite_min_size", "auto-aof-rewrite-min-size: smaller files, in bytes, aren't rewritten by themselves."),
    (
        "rewrite_incremental_fsync",
        "aof-rewrite-incremental-fsync: sync a base while it is written, not only at its end.",
    ),
    (
        "load_truncated",
        "aof-load-truncated: a file whose end is missing is cut and loaded; otherwise the start is refused.",
    ),
    (
        "rdb_preamble",
        "aof-use-rdb-preamble: a base is an RDB file; otherwise commands, unless it has functions that no plugin takes.",
    ),
    (
        "timestamps",
        "aof-timestamp-enabled: note the time beside the records, for redis-check-aof --truncate-to-timestamp.",
    ),
    ("keep_history", "aof-disable-auto-gc: keep the files that a rewrite replaced; they go once this is off."),
];

/// The longest name that Linux' file systems take.
const MAX_NAME: usize = 255;
/// What the longest name of a part has behind `appendfilename`, with a number of as many digits as there can be.
const BEHIND_NAME: usize = ".18446744073709551615.incr.aof".len();

impl Config {
    /// Whether the values make sense.
    pub fn check(&self) -> Result<()> {
        let names = [("dir_name", &self.dir_name, MAX_NAME), ("file_name", &self.file_name, MAX_NAME - BEHIND_NAME)];
        for (name, value, longest) in names {
            if value.is_empty() || value.contains(['/', '\\', '\0']) || [".", ".."].contains(&value.as_str()) {
                return Err(Error::new(format!("{name} can't be a path, just a name")));
            }
            if value.len() > longest {
                return Err(Error::new(format!("{name} can have {longest} bytes at most")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_documented() {
        let text = ron::to_string(&Config::default()).expect("plain values");
        for (name, _) in DOCS {
            assert!(text.contains(&format!("{name}:")), "{name} is no field");
        }
        assert_eq!(text.matches(':').count(), DOCS.len(), "{text}");
    }

    #[test]
    fn names_are_no_paths() {
        assert!(Config::default().check().is_ok());
        let long = "x".repeat(256);
        for bad in ["", "a/b", "..", "a\\b", "a\0b", &long] {
            assert!(Config { dir_name: bad.into(), ..Config::default() }.check().is_err(), "{bad}");
            assert!(Config { file_name: bad.into(), ..Config::default() }.check().is_err(), "{bad}");
        }
        assert!(Config { dir_name: "x".repeat(255), file_name: "x".repeat(225), ..Config::default() }.check().is_ok());
        assert!(Config { file_name: "x".repeat(226), ..Config::default() }.check().is_err());
    }
}
