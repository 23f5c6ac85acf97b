//! The settings of one monitored primary and `SENTINEL SET`'s way to change them.
//! Owns the defaults; names and limits are table.rs'. What isn't supported is refused by name, never ignored.

use crate::table;
use crate::tempo::{self, Tempo};
use crate::{election, select};
use std::collections::BTreeMap;

/// Settings of a monitored primary; `table` has their names and what they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many sentinels must see the primary down.
    pub quorum: u32,
    /// Silence after which an instance is subjectively down.
    pub down_after_ms: u64,
    /// Limit of each phase of a failover.
    pub failover_timeout_ms: u64,
    /// Replicas re-pointed at a time.
    pub parallel_syncs: u32,
    /// A refused connection, confirmed by a second one and by the quorum, counts as down at once.
    pub fast_detection: bool,
    /// A primary that restarted and gives no PONG for so long is down; 0: never for this reason.
    pub reboot_down_after_ms: u64,
    /// A sentinel that a majority has missed for so long is forgotten; 0: never.
    pub forget_after_ms: u64,
    /// A replica that a majority has missed for so long is forgotten; 0: never.
    pub forget_replicas_after_ms: u64,
    /// User for AUTH on data nodes; the default user when absent.
    pub auth_user: Option<String>,
    /// Password for AUTH on data nodes.
    pub auth_pass: Option<String>,
    /// Called with each warning event's name and text.
    pub notification_script: Option<String>,
    /// Called when the primary's address changes.
    pub client_reconfig_script: Option<String>,
    /// Commands under other names on the data nodes: upper-case name and the one in use there.
    pub renamed_commands: BTreeMap<String, String>,
    /// The periods of SENTINEL DEBUG, the same for all primaries; neither set nor saved here.
    pub tempo: Tempo,
    /// The election strategy.
    pub election: String,
    /// The selection strategy.
    pub selection: String,
}

impl Settings {
    /// Redis' defaults.
    #[must_use]
    pub fn new(quorum: u32) -> Settings {
        Settings {
            quorum,
            down_after_ms: 30_000,
            failover_timeout_ms: 180_000,
            parallel_syncs: 1,
            fast_detection: false,
            reboot_down_after_ms: 0,
            forget_after_ms: 0,
            forget_replicas_after_ms: 0,
            auth_user: None,
            auth_pass: None,
            notification_script: None,
            client_reconfig_script: None,
            renamed_commands: BTreeMap::new(),
            tempo: tempo::DEFAULT,
            election: election::BUILT_IN.into(),
            selection: select::BUILT_IN.into(),
        }
    }

    /// Sets one option by Redis' name. `rename-command` has two values, with a blank between. The error is a whole reply.
    ///
    /// # Errors
    /// Unknown or unsupported option, or a value out of range.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let setting = table::option(option).ok_or_else(|| unknown(option))?;
        // Redis names no value where two are expected.
        let named = if setting.words() == 2 { "" } else { value };
        setting.set(self, value).map_err(|_| format!("ERR Invalid argument '{named}' for SENTINEL SET '{option}'"))
    }

    /// Pings go out this often: fast enough that down-after means what it says.
    #[must_use]
    pub fn ping_period_ms(&self) -> u64 {
        (self.down_after_ms / 5).clamp(10, 1000).min(self.tempo.ping_period)
    }
}

/// What is said about an option that isn't one, or that has too few values.
#[must_use]
pub fn unknown(option: &str) -> String {
    format!("ERR Unknown option or number of arguments for SENTINEL SET '{option}'")
}

/// Is this a name Redis takes for a primary?
#[must_use]
pub fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_refused_or_unknown() {
        let mut settings = Settings::new(2);
        for (option, value) in [("quorum", "3"), ("Down-After-Milliseconds", "500"), ("parallel-syncs", "2")] {
            settings.set(option, value).unwrap();
        }
        assert_eq!((settings.quorum, settings.down_after_ms, settings.parallel_syncs), (3, 500, 2));
        for (option, value) in [("quorum", "0"), ("quorum", "-1"), ("failover-timeout", "x"), ("quorum", "9999999999")]
        {
            assert!(settings.set(option, value).unwrap_err().contains("Invalid argument"), "{option} {value}");
        }
        settings.set("notification-script", "/x").unwrap();
        settings.set("rename-command", "config GUESSME").unwrap();
        assert_eq!(settings.renamed_commands["CONFIG"], "GUESSME");
        settings.set("rename-command", "CONFIG config").unwrap();
        assert!(settings.renamed_commands.is_empty());
        assert!(settings.set("rename-command", "CONFIG ").unwrap_err().contains("Invalid argument"));
        assert!(settings.set("colour", "red").unwrap_err().contains("Unknown option"));
        assert_eq!(settings.ping_period_ms(), 100);
        assert_eq!(Settings::new(1).ping_period_ms(), 1000);
    }

    #[test]
    fn names_are_redis_names() {
        assert!(valid_name("my-master_1.a"));
        assert!(!valid_name("") && !valid_name("a b") && !valid_name("a,b"));
    }
}
