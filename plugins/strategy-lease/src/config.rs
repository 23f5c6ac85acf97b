//! The plugin's part of the RON file. Owns names, defaults and what makes no sense.

use crate::agent::Rules;
use keystead_plugin::Result;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// etcd rounds shorter leases up.
const SHORTEST_TTL_S: u64 = 2;
/// A primary that fell is replaced no earlier; beyond a day it is a slip of the pen.
const LONGEST_TTL_S: u64 = 86_400;
/// The gate closes this part of a lease before its end: for clocks that don't run alike.
const MARGIN: u64 = 10;
/// etcd is given this part of a lease to answer, so that the members can still be asked before the gate closes.
const PATIENCE: u32 = 4;
/// A sentinel waits no longer than two seconds for its strategy.
const LONGEST_PATIENCE: Duration = Duration::from_millis(1_500);

/// The plugin's subtree of the RON file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port` of etcd's members.
    pub etcd: Vec<String>,
    /// The authorities of etcd's certificates (PEM): it is talked to over TLS then.
    pub etcd_ca_file: Option<String>,
    /// The certificate that is shown to etcd (PEM).
    pub etcd_cert_file: Option<String>,
    /// Its key (PEM).
    pub etcd_key_file: Option<String>,
    /// User at etcd, where it asks for one.
    pub etcd_user: Option<String>,
    /// The user's password.
    pub etcd_password: Option<String>,
    /// Behind which the keys lie.
    pub prefix: String,
    /// Data node: the watched primary's name, as the sentinels have it.
    pub name: String,
    /// Data node: its own `host:port`, as the others know it. Empty: this process holds no lease (a sentinel).
    pub node: String,
    /// Data node: every data node of the group, this one included; they are asked when etcd is away. Empty: the gate
    /// closes then.
    pub members: Vec<String>,
    /// How long a lease lasts, in seconds.
    pub ttl_s: u64,
    /// User for AUTH at the members.
    pub auth_user: Option<String>,
    /// Password for AUTH at the members.
    pub auth_password: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            etcd: vec!["127.0.0.1:2379".into()],
            etcd_ca_file: None,
            etcd_cert_file: None,
            etcd_key_file: None,
            etcd_user: None,
            etcd_password: None,
            prefix: "/keystead/".into(),
            name: "mymaster".into(),
            node: String::new(),
            members: Vec::new(),
            ttl_s: 10,
            auth_user: None,
            auth_password: None,
        }
    }
}

/// What each field means, for the file of all keys.
pub const DOCS: &[(&str, &str)] = &[
    ("etcd", "host:port of etcd's members."),
    ("etcd_ca_file", "The authorities of etcd's certificates (PEM): it is talked to over TLS then. None: plain HTTP."),
    ("etcd_cert_file", "The certificate that is shown to etcd (PEM), with etcd_key_file."),
    ("etcd_key_file", "Its key (PEM)."),
    ("etcd_user", "User at etcd, where it asks for one."),
    ("etcd_password", "The user's password."),
    ("prefix", "Behind which the keys lie."),
    ("name", "Data node: the watched primary's name, as the sentinels have it."),
    ("node", "Data node: its own host:port, as the others know it; empty: holds no lease (a sentinel)."),
    ("members", "Data node: every data node of the group; all are asked when etcd is away. Empty: writes stop then."),
    ("ttl_s", "How long a lease lasts, in seconds; a dead primary is replaced when it has ended."),
    ("auth_user", "User for AUTH at the members."),
    ("auth_password", "Password for AUTH at the members."),
];

/// `host:port` in its two parts.
#[must_use]
pub fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host.trim_start_matches('[').trim_end_matches(']'), port))
}

impl Config {
    /// What makes no sense.
    ///
    /// # Errors
    /// The first such thing.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, address: &str| Err(format!("{field}: expected host:port, found {address:?}").into());
        if self.etcd.is_empty() {
            return Err("etcd: names nobody".into());
        }
        for (field, list) in [("etcd", &self.etcd), ("members", &self.members)] {
            if let Some(address) = list.iter().find(|address| split(address).is_none()) {
                return wrong(field, address);
            }
        }
        if self.etcd_cert_file.is_some() != self.etcd_key_file.is_some() {
            return Err("etcd_cert_file: needs etcd_key_file, and the other way round".into());
        }
        if self.etcd_cert_file.is_some() && self.etcd_ca_file.is_none() {
            return Err("etcd_cert_file: needs etcd_ca_file, which turns TLS on".into());
        }
        if self.etcd_user.is_some() != self.etcd_password.is_some() {
            return Err("etcd_user: needs etcd_password, and the other way round".into());
        }
        if self.ttl_s < SHORTEST_TTL_S {
            return Err(format!("ttl_s: must be at least {SHORTEST_TTL_S}").into());
        }
        if self.ttl_s > LONGEST_TTL_S {
            return Err(format!("ttl_s: must be at most {LONGEST_TTL_S}").into());
        }
        if self.name.is_empty() {
            return Err("name: is empty".into());
        }
        if !self.node.is_empty() && split(&self.node).is_none() {
            return wrong("node", &self.node);
        }
        if !self.members.is_empty() && !self.members.contains(&self.node) {
            return Err(format!("members: this node, {:?}, is not among them", self.node).into());
        }
        Ok(())
    }

    /// The agent's rules.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let ttl_ms = self.ttl_s * 1000;
        Rules { ttl_ms, margin_ms: ttl_ms / MARGIN, failsafe: self.others().next().is_some() }
    }

    /// The members but this one.
    pub fn others(&self) -> impl Iterator<Item = &String> {
        self.members.iter().filter(|member| **member != self.node)
    }

    /// How long all of etcd's members together may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        (Duration::from_secs(self.ttl_s) / PATIENCE).min(LONGEST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_said() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().err().map_or(String::new(), |error| error.text().to_owned())
        };
        assert_eq!(with(|_| {}), "");
        assert_eq!(with(|c| c.etcd.clear()), "etcd: names nobody");
        assert_eq!(with(|c| c.etcd[0] = "x".into()), "etcd: expected host:port, found \"x\"");
        assert!(with(|c| c.etcd_key_file = Some("k".into())).contains("etcd_cert_file: needs etcd_key_file"));
        assert!(with(|c| c.etcd_user = Some("u".into())).contains("etcd_user: needs etcd_password"));
        assert_eq!(with(|c| c.ttl_s = 1), "ttl_s: must be at least 2");
        assert_eq!(with(|c| c.ttl_s = u64::MAX), "ttl_s: must be at most 86400");
        assert_eq!(with(|c| c.node = "h:0".into()), "node: expected host:port, found \"h:0\"");
        assert!(with(|c| c.members = vec!["h:1".into()]).contains("is not among them"));
        assert_eq!(split("[::1]:7"), Some(("::1", 7)));
    }
}
