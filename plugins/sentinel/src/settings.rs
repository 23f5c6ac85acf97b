//! The settings of one monitored primary and `SENTINEL SET`'s way to change them.
//! Owns names, defaults and limits; a setting that isn't supported is refused by name, never ignored.

use crate::tempo::{self, Tempo};
use crate::{election, select};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of a monitored primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    #[serde(default)]
    pub fast_detection: bool,
    /// A primary that restarted and gives no PONG for so long is down; 0: never for this reason.
    #[serde(default)]
    pub reboot_down_after_ms: u64,
    /// User for AUTH on data nodes; the default user when absent.
    pub auth_user: Option<String>,
    /// Password for AUTH on data nodes.
    pub auth_pass: Option<String>,
    /// Called with each warning event's name and text.
    #[serde(default)]
    pub notification_script: Option<String>,
    /// Called when the primary's address changes.
    #[serde(default)]
    pub client_reconfig_script: Option<String>,
    /// Commands under other names on the data nodes: upper-case name and the one in use there.
    #[serde(default)]
    pub renamed_commands: BTreeMap<String, String>,
    /// The periods of SENTINEL DEBUG, the same for all primaries.
    #[serde(skip)]
    pub tempo: Tempo,
    /// The election strategy.
    #[serde(default = "built_in_election")]
    pub election: String,
    /// The selection strategy.
    #[serde(default = "built_in_selection")]
    pub selection: String,
}

fn built_in_election() -> String {
    election::BUILT_IN.into()
}

fn built_in_selection() -> String {
    select::BUILT_IN.into()
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
            auth_user: None,
            auth_pass: None,
            notification_script: None,
            client_reconfig_script: None,
            renamed_commands: BTreeMap::new(),
            tempo: tempo::DEFAULT,
            election: built_in_election(),
            selection: built_in_selection(),
        }
    }

    /// Sets one option by Redis' name. `rename-command` has two values, with a blank between. The error is a whole reply.
    ///
    /// # Errors
    /// Unknown or unsupported option, or a value out of range.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let invalid = || format!("ERR Invalid argument '{value}' for SENTINEL SET '{option}'");
        let positive = || value.parse::<u64>().ok().filter(|n| *n > 0 && *n <= i64::MAX as u64).ok_or_else(invalid);
        let small = || positive().and_then(|n| u32::try_from(n).map_err(|_| invalid()));
        match option.to_ascii_lowercase().as_str() {
            "quorum" => self.quorum = small()?,
            "down-after-milliseconds" => self.down_after_ms = positive()?,
            "failover-timeout" => self.failover_timeout_ms = positive()?,
            "parallel-syncs" => self.parallel_syncs = small()?,
            "auth-user" => self.auth_user = (!value.is_empty()).then(|| value.to_owned()),
            "auth-pass" => self.auth_pass = (!value.is_empty()).then(|| value.to_owned()),
            // Whether there is such a strategy is known to the machine (commands.rs).
            "election-strategy" => self.election = value.to_owned(),
            "selection-strategy" => self.selection = value.to_owned(),
            "fast-detection" => {
                self.fast_detection = match value.to_ascii_lowercase().as_str() {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(invalid()),
                }
            }
            "master-reboot-down-after-period" => {
                self.reboot_down_after_ms = value.parse().ok().filter(|n| *n <= i64::MAX as u64).ok_or_else(invalid)?;
            }
            "notification-script" => self.notification_script = (!value.is_empty()).then(|| value.to_owned()),
            "client-reconfig-script" => self.client_reconfig_script = (!value.is_empty()).then(|| value.to_owned()),
            "rename-command" => {
                let invalid = || "ERR Invalid argument '' for SENTINEL SET 'rename-command'".to_owned();
                let (old, new) = value.split_once(' ').ok_or_else(invalid)?;
                if old.is_empty() || new.is_empty() {
                    return Err(invalid());
                }
                if old.eq_ignore_ascii_case(new) {
                    self.renamed_commands.remove(&old.to_ascii_uppercase());
                } else {
                    self.renamed_commands.insert(old.to_ascii_uppercase(), new.to_owned());
                }
            }
            _ => return Err(format!("ERR Unknown option or number of arguments for SENTINEL SET '{option}'")),
        }
        Ok(())
    }

    /// Pings go out this often: fast enough that down-after means what it says.
    #[must_use]
    pub fn ping_period_ms(&self) -> u64 {
        (self.down_after_ms / 5).clamp(10, 1000).min(self.tempo.ping_period)
    }
}

/// How many values stand behind an option of SENTINEL SET.
#[must_use]
pub fn values_of(option: &str) -> usize {
    if option.eq_ignore_ascii_case("rename-command") { 2 } else { 1 }
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
