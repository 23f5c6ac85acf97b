//! The plugin's subtree of the RON file.

/// What can be configured.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory that EVAL's interpreter and that of functions may take, each.
    pub memory_limit_mb: usize,
    /// After how long others are answered -BUSY; 0: never.
    pub busy_reply_threshold_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Config { memory_limit_mb: 512, busy_reply_threshold_ms: 5000 }
    }
}

/// What each field means, for the file of all keys.
pub const DOCS: &[(&str, &str)] = &[
    ("memory_limit_mb", "Memory that scripts may take, and functions as much again. A script that needs more fails."),
    (
        "busy_reply_threshold_ms",
        "busy-reply-threshold, lua-time-limit: after how long a script makes others be answered -BUSY. 0: never.",
    ),
];
