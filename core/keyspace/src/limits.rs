//! The thresholds up to which a collection stays compact, under Redis' names and with its defaults.

/// Thresholds of the compact forms; a collection that outgrew one never turns back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `hash-max-listpack-entries`
    pub hash_entries: usize,
    /// `hash-max-listpack-value`
    pub hash_value: usize,
    /// `set-max-intset-entries`
    pub set_ints: usize,
    /// `set-max-listpack-entries`
    pub set_entries: usize,
    /// `set-max-listpack-value`
    pub set_value: usize,
    /// `zset-max-listpack-entries`
    pub zset_entries: usize,
    /// `zset-max-listpack-value`
    pub zset_value: usize,
    /// `list-max-listpack-size`: entries if positive, else -1 to -5 for 4 to 64 KiB.
    pub list_size: i64,
    /// `stream-node-max-bytes`; 0 is no limit.
    pub stream_bytes: usize,
    /// `stream-node-max-entries`; 0 is no limit.
    pub stream_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hash_entries: 128,
            hash_value: 64,
            set_ints: 512,
            set_entries: 128,
            set_value: 64,
            zset_entries: 128,
            zset_value: 64,
            list_size: -2,
            stream_bytes: 4096,
            stream_entries: 100,
        }
    }
}

impl Limits {
    /// Whether a list of `entries` in `bytes` may stay compact.
    pub(crate) fn list_fits(&self, entries: usize, bytes: usize) -> bool {
        match self.list_size {
            // Redis bounds the bytes even where entries are counted.
            n if n > 0 => entries as u64 <= n as u64 && bytes <= 8192,
            -1 => bytes <= 4096,
            -3 => bytes <= 16384,
            -4 => bytes <= 32768,
            n if n <= -5 => bytes <= 65536,
            _ => bytes <= 8192,
        }
    }
}
