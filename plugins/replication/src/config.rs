//! What can be set: the plugin's subtree of the RON file.
//!
//! Owns the fields, their defaults (Redis') and what makes sense together. `params` shows the same fields under
//! Redis' names.

use crate::link::Settings;
use crate::params::{DISKLESS_LOAD, ON_ERROR};
use keystead_plugin::services::filter::{Filter, is_name};
use keystead_plugin::{Error, Result};
use ron::value::RawValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// `repl-diskless-load`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum DisklessLoad {
    /// The payload goes to a file first; what we have is replaced when it is complete.
    #[default]
    #[serde(rename = "disabled")]
    Disabled,
    /// Straight into the keyspace if that is empty, else through a file.
    #[serde(rename = "on_empty_db")]
    OnEmptyDb,
    /// Into a second keyspace that is swapped in; the old one answers meanwhile.
    #[serde(rename = "swapdb")]
    Swapdb,
}

/// `propagation-error-behavior`: what an error in a primary's stream, or in an append-only file, means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum OnError {
    /// It is logged and counted.
    #[default]
    #[serde(rename = "ignore")]
    Ignore,
    /// The process ends.
    #[serde(rename = "panic")]
    Panic,
    /// The process ends if it is a read-only replica's stream.
    #[serde(rename = "panic_on_replicas")]
    PanicOnReplicas,
}

/// Redis' words have dashes, which RON's have not: `on_empty_db` means the same as "on-empty-db".
fn word<'de, T: Copy, D: Deserializer<'de>>(
    from: D,
    words: &[(T, &str)],
    shown: &'static [&'static str],
) -> Result<T, D::Error> {
    let raw = Box::<RawValue>::deserialize(from)?;
    let text = raw.get_ron().trim();
    let text = ron::from_str(text).unwrap_or_else(|_| text.trim_start_matches("r#").to_owned());
    let dashed = text.replace('_', "-");
    let found = words.iter().find(|(_, word)| *word == dashed).map(|(value, _)| *value);
    found.ok_or_else(|| D::Error::unknown_variant(&text, shown))
}

impl<'de> Deserialize<'de> for DisklessLoad {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<DisklessLoad, D::Error> {
        word(from, DISKLESS_LOAD, &["disabled", "on_empty_db", "swapdb"])
    }
}

impl<'de> Deserialize<'de> for OnError {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<OnError, D::Error> {
        word(from, ON_ERROR, &["ignore", "panic", "panic_on_replicas"])
    }
}

/// A filter that replicas may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamedFilter {
    /// What replicas call it.
    pub name: String,
    /// Databases that pass; all if empty.
    pub databases: Vec<u32>,
    /// Keys that begin with one of these pass; all if empty.
    pub prefixes: Vec<String>,
}

impl NamedFilter {
    /// As it is applied.
    pub fn filter(&self) -> Filter {
        let prefixes = self.prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
        Filter { databases: self.databases.clone(), prefixes }
    }
}

/// The subtree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The primary to follow at the first start: (host, port). A role changed at run time is kept beside the file.
    pub replicaof: Option<(String, u16)>,
    /// `replica-priority`: lower is promoted first, 0 never.
    pub priority: u32,
    /// `replica-read-only`.
    pub read_only: bool,
    /// `replica-serve-stale-data`.
    pub serve_stale_data: bool,
    /// `replica-announced`: shown in SENTINEL REPLICAS.
    pub announced: bool,
    /// `replica-announce-ip`.
    pub announce_ip: Option<String>,
    /// `replica-announce-port`.
    pub announce_port: Option<u16>,
    /// `masteruser`.
    pub auth_user: Option<String>,
    /// `masterauth`.
    pub auth_password: Option<String>,
    /// `repl-timeout`.
    pub timeout_s: u64,
    /// `repl-ping-replica-period`.
    pub ping_period_s: u64,
    /// `repl-backlog-size`.
    #[serde(deserialize_with = "keystead_plugin::byte_count")]
    pub backlog_size: u64,
    /// `repl-backlog-ttl`; 0: never freed.
    pub backlog_ttl_s: u64,
    /// `min-replicas-to-write`.
    pub min_replicas_to_write: u32,
    /// `min-replicas-max-lag`; 0 switches the rule off.
    pub min_replicas_max_lag_s: u64,
    /// `repl-diskless-sync`: send the payload as it is made; otherwise through a file.
    pub diskless_sync: bool,
    /// `repl-diskless-sync-delay`. There is no fork to share, so waiting for more replicas isn't needed: 0.
    pub diskless_sync_delay_s: u64,
    /// `repl-diskless-sync-max-replicas`: so many waiting replicas end the delay early; 0: they don't.
    pub diskless_sync_max_replicas: u32,
    /// `repl-diskless-load`.
    pub diskless_load: DisklessLoad,
    /// `replica-ignore-disk-write-errors`: go on following when our own disk takes nothing; otherwise the process ends.
    pub ignore_disk_write_errors: bool,
    /// `propagation-error-behavior`.
    pub propagation_errors: OnError,
    /// Keep our data when the primary we followed comes back with an unknown history and no keys.
    pub keep_data_on_empty_primary: bool,
    /// What filtered replicas of this node may ask for.
    pub filters: Vec<NamedFilter>,
    /// The primary's filter to ask for: this node is a filtered replica.
    pub filter: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            replicaof: None,
            priority: 100,
            read_only: true,
            serve_stale_data: true,
            announced: true,
            announce_ip: None,
            announce_port: None,
            auth_user: None,
            auth_password: None,
            timeout_s: 60,
            ping_period_s: 10,
            backlog_size: 1024 * 1024,
            backlog_ttl_s: 3600,
            min_replicas_to_write: 0,
            min_replicas_max_lag_s: 10,
            diskless_sync: true,
            diskless_sync_delay_s: 0,
            diskless_sync_max_replicas: 0,
            diskless_load: DisklessLoad::Disabled,
            ignore_disk_write_errors: true,
            propagation_errors: OnError::Ignore,
            keep_data_on_empty_primary: true,
            filters: Vec::new(),
            filter: None,
        }
    }
}

/// One line for each field, for `describe_config`.
pub const DOCS: &[(&str, &str)] = &[
    (
        "replicaof",
        "The primary to follow at the first start, as (host, port). A role changed at run time wins over it.",
    ),
    ("priority", "replica-priority: sentinels promote the lowest first; 0 is never promoted."),
    ("read_only", "replica-read-only: a replica refuses writes of clients."),
    ("serve_stale_data", "replica-serve-stale-data: answer reads while the link to the primary is down."),
    ("announced", "replica-announced: shown by sentinels."),
    ("announce_ip", "replica-announce-ip: the address told to the primary instead of the socket's."),
    ("announce_port", "replica-announce-port: the port told to the primary instead of our own."),
    ("auth_user", "masteruser: the ACL user for AUTH at the primary."),
    ("auth_password", "masterauth: the password for AUTH at the primary."),
    ("timeout_s", "repl-timeout: silence that ends a link, on both sides; more than ping_period_s."),
    ("ping_period_s", "repl-ping-replica-period: how often the primary puts a PING into the stream."),
    ("backlog_size", "repl-backlog-size: bytes of the stream kept for partial resyncs."),
    ("backlog_ttl_s", "repl-backlog-ttl: how long a primary without replicas keeps the backlog; 0 for ever."),
    ("min_replicas_to_write", "min-replicas-to-write: refuse writes with fewer good replicas."),
    ("min_replicas_max_lag_s", "min-replicas-max-lag: a replica is good if it was heard within so many seconds."),
    ("diskless_sync", "repl-diskless-sync: send a full resync as it is made; otherwise through a file."),
    ("diskless_sync_delay_s", "repl-diskless-sync-delay: wait before a full resync begins."),
    ("diskless_sync_max_replicas", "repl-diskless-sync-max-replicas: so many waiting replicas end the delay early."),
    ("diskless_load", "repl-diskless-load: disabled (through a file), on_empty_db or swapdb."),
    (
        "ignore_disk_write_errors",
        "replica-ignore-disk-write-errors: go on following when our own disk takes nothing; otherwise the process ends.",
    ),
    (
        "propagation_errors",
        "propagation-error-behavior: ignore (log and count), panic_on_replicas or panic (end the process; at a file's load too).",
    ),
    (
        "keep_data_on_empty_primary",
        "Keep our data when the primary we followed comes back without it: empty, or with a stream that began anew.",
    ),
    (
        "filters",
        "Parts of the keyspace that replicas may ask for: [(name: \"eu\", databases: [0], prefixes: [\"user:\"])]; empty lists let all through.",
    ),
    (
        "filter",
        "keystead-replica-filter: the primary's filter to ask for. Such a replica has a part of the data and is never promoted.",
    ),
];

impl Config {
    /// Whether the values make sense together.
    pub fn check(&self) -> Result<()> {
        let at_least_one =
            [("timeout_s", self.timeout_s), ("ping_period_s", self.ping_period_s), ("backlog_size", self.backlog_size)];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(Error::new(format!("{name} must be at least 1")));
        }
        if self.replicaof.as_ref().is_some_and(|(host, port)| host.is_empty() || *port == 0) {
            return Err(Error::new("replicaof needs a host and a port, like (\"127.0.0.1\", 6380)"));
        }
        let mut names: Vec<&str> = self.filters.iter().map(|filter| filter.name.as_str()).collect();
        names.extend(self.filter.as_deref());
        if let Some(bad) = names.iter().find(|name| !is_name(name)) {
            return Err(Error::new(format!("'{bad}' is no name for a filter: letters, digits, '.', '_' and '-'")));
        }
        names = self.filters.iter().map(|filter| filter.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::new(format!("there are two filters named '{}'", twice[0])));
        }
        Ok(())
    }

    /// What the link's machine wants to know.
    pub fn link_settings(&self, listening_port: u16, node: Option<String>) -> Settings {
        Settings {
            listening_port,
            announce_port: self.announce_port,
            announce_ip: self.announce_ip.clone(),
            auth_user: self.auth_user.clone().map(String::into_bytes),
            auth_password: self.auth_password.clone().map(String::into_bytes),
            timeout: Duration::from_secs(self.timeout_s),
            // A part may well be empty.
            keep_data: self.keep_data_on_empty_primary && self.filter.is_none(),
            node,
            filter: self.filter.clone(),
        }
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
    fn words_with_dashes_have_a_form_in_ron() {
        let read = |text: &str| ron::from_str::<Config>(&format!("({text})"));
        for form in ["on_empty_db", "\"on-empty-db\"", "r#on-empty-db", "\"on_empty_db\""] {
            let config = read(&format!("timeout_s: 5, diskless_load: {form} , priority: 7")).expect(form);
            assert_eq!((config.diskless_load, config.priority), (DisklessLoad::OnEmptyDb, 7), "{form}");
        }
        for form in ["panic_on_replicas", "\"panic-on-replicas\""] {
            let config = read(&format!("propagation_errors: {form}")).expect(form);
            assert_eq!(config.propagation_errors, OnError::PanicOnReplicas);
            assert_eq!(ron::from_str::<Config>(&ron::to_string(&config).expect("plain values")), Ok(config));
        }
        assert!(read("diskless_load: swapdb").is_ok() && read("diskless_load: \"disabled\"").is_ok());
        let error = read("diskless_load: on_empty").expect_err("no word").to_string();
        assert!(error.contains("on_empty_db") && !error.contains("on-empty-db"), "{error}");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Config::default().check().is_ok());
        assert!(Config { timeout_s: 0, ..Config::default() }.check().is_err());
        assert!(Config { replicaof: Some((String::new(), 1)), ..Config::default() }.check().is_err());
        let filter = |name: &str| NamedFilter { name: name.into(), ..NamedFilter::default() };
        let filters =
            |names: &[&str]| Config { filters: names.iter().map(|n| filter(n)).collect(), ..Config::default() };
        assert!(filters(&["a", "b"]).check().is_ok());
        assert!(filters(&["a", "a"]).check().is_err() && filters(&["a b"]).check().is_err());
        assert!(Config { filter: Some(String::new()), ..Config::default() }.check().is_err());
    }
}
