//! The plugin's part of the RON file: its own port and the primaries it watches.
//! Owns field names, defaults and what makes no sense; what happens at run time is state.rs'.

use crate::actions::Watch;
use crate::fields::{NAMES, Record, write_fields};
use crate::names::plausible;
use crate::settings::{Settings, valid_name};
use crate::sign::MIN_KEY;
use crate::table::{Kind, TABLE};
use crate::types::Addr;
use crate::{election, select};
use keystead_plugin::Service;
use keystead_plugin::services::{ElectionService, SelectionService};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::IpAddr;

/// Redis' port for sentinels.
pub const DEFAULT_PORT: u16 = 26379;

/// The plugin's subtree.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The sentinel's own port; 0 if there is one for TLS only.
    pub port: u16,
    /// Its port for TLS, by the server's `tls` settings; 0 opens none.
    pub tls_port: u16,
    /// Addresses it binds to; empty: those of the data port.
    pub bind: Vec<String>,
    /// The address told to other sentinels, for NAT and containers; nothing: the one the links show.
    pub announce_ip: Option<String>,
    /// The port told to other sentinels; nothing: the own port.
    pub announce_port: Option<u16>,
    /// Password of the sentinel's port, shared by all sentinels of a group; nothing: whoever reaches it commands it.
    pub password: Option<String>,
    /// Host names are taken where IP addresses are.
    pub resolve_hostnames: bool,
    /// Others are told host names where they are known.
    pub announce_hostnames: bool,
    /// User for AUTH on the other sentinels; the default user when absent.
    pub sentinel_user: Option<String>,
    /// Password for AUTH on the other sentinels; nothing: the own port's.
    pub sentinel_pass: Option<String>,
    /// Hellos are signed with this key, and only signed ones are taken: the same at every sentinel of the group.
    pub hello_key: Option<String>,
    /// Another key that is taken, while keys are changed.
    pub hello_key_old: Option<String>,
    /// A file with the key in its first line and the other one in its second, instead of these two.
    pub hello_key_file: Option<String>,
    /// SENTINEL SET can't change the scripts.
    pub deny_scripts_reconfig: bool,
    /// The election strategy of primaries that name none: "sentinel", built in, or a plugin.
    pub election: String,
    /// The selection strategy of primaries that name none: "redis", built in, or a plugin.
    pub selection: String,
    /// The watched primaries.
    pub monitors: Vec<MonitorConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            port: DEFAULT_PORT,
            tls_port: 0,
            bind: Vec::new(),
            announce_ip: None,
            announce_port: None,
            password: None,
            resolve_hostnames: false,
            announce_hostnames: false,
            sentinel_user: None,
            sentinel_pass: None,
            hello_key: None,
            hello_key_old: None,
            hello_key_file: None,
            deny_scripts_reconfig: true,
            election: Settings::new(1).election,
            selection: Settings::new(1).selection,
            monitors: Vec::new(),
        }
    }
}

/// One watched primary: where it is, and those of its settings that stand in the file (`table` has all of them).
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    /// Its name.
    pub name: String,
    /// The IP address of the first primary; its name with `resolve_hostnames`.
    pub host: String,
    /// Its port.
    pub port: u16,
    settings: Record,
}

impl<'de> Deserialize<'de> for MonitorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MonitorConfig, D::Error> {
        let mut settings = Record::deserialize(deserializer)?;
        let missing = D::Error::missing_field;
        let name = settings.name.take().ok_or_else(|| missing("name"))?;
        let host = settings.host.take().ok_or_else(|| missing("host"))?;
        let port = settings.port.take().ok_or_else(|| missing("port"))?;
        if !settings.given.iter().any(|(field, _)| *field == "quorum") {
            return Err(missing("quorum"));
        }
        let monitor = MonitorConfig { name, host, port, settings };
        // Here, and not in `Config::check`: what is refused while it is read is shown in its line.
        match monitor.check() {
            Ok(()) => Ok(monitor),
            Err(error) => Err(D::Error::custom(format!("monitors: {:?}: {error}", monitor.name))),
        }
    }
}

impl Serialize for MonitorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut settings = Settings::new(1);
        self.settings.apply(&mut settings).map_err(S::Error::custom)?;
        let mut out = serializer.serialize_struct("MonitorConfig", NAMES.len())?;
        out.serialize_field("name", &self.name)?;
        out.serialize_field("host", &self.host)?;
        out.serialize_field("port", &self.port)?;
        write_fields(&settings, &mut out)?;
        out.end()
    }
}

/// What each field means, for the file of all keys.
pub const DOCS: &[(&str, &str)] = &[
    ("port", "The sentinel's own port; it never shares the data port. 0: only the one for TLS."),
    ("tls_port", "Its port for TLS, by the settings of the section tls; 0 opens none."),
    ("bind", "Addresses it binds to; empty: those of the data port."),
    ("announce_ip", "The address told to other sentinels (NAT, containers); None: the one the links show."),
    ("announce_port", "The port told to other sentinels; None: the own port (for TLS, if tls.replication is on)."),
    (
        "password",
        "Password of the sentinel's port, shared by all sentinels of a group. None: whoever reaches that port commands the \
         sentinel, also beside a data port with a password (a data server is neither ended nor silenced from there).",
    ),
    (
        "election",
        "Who decides elections, unless a primary names another: \"sentinel\" (Redis' votes, built in) or a plugin.",
    ),
    (
        "selection",
        "Who chooses the replica to promote, unless a primary names another: \"redis\" (built in) or a plugin.",
    ),
    ("resolve_hostnames", "Host names are taken where IP addresses are."),
    ("announce_hostnames", "Other sentinels, data nodes and clients are told host names where they are known."),
    ("sentinel_user", "User for AUTH on the other sentinels; None: the default user."),
    (
        "sentinel_pass",
        "Password for AUTH on the other sentinels; None: the own port's, as CONFIG SET requirepass may have changed it.",
    ),
    (
        "hello_key",
        "Hellos are signed (HMAC-SHA256) with this key, 16 bytes or more, the same at every sentinel of the group; only \
         signed ones are taken then, so stock sentinels are ignored. None: as Redis.",
    ),
    ("hello_key_old", "Another key that is taken (not signed with), while keys are changed."),
    (
        "hello_key_file",
        "A file with the key in its first line and the other in its second, instead of hello_key and hello_key_old.",
    ),
    ("deny_scripts_reconfig", "SENTINEL SET can't change the scripts."),
    (
        "monitors",
        "The watched primaries: (name, host, port, quorum, down_after_ms: 30000, parallel_syncs: 1, \
         failover_timeout_ms: 180000, fast_detection: false, reboot_down_after_ms: 0, forget_after_ms: 0, forget_replicas_after_ms: 0, auth_user: None, auth_pass: None, notification_script: None, \
         client_reconfig_script: None, renamed_commands: {}, election: None, selection: None). host is an IP address, or a name with resolve_hostnames.",
    ),
];

impl Config {
    /// What makes no sense, in words.
    ///
    /// # Errors
    /// The first such thing.
    pub fn check(&self) -> Result<(), String> {
        if self.port == 0 && self.tls_port == 0 {
            return Err("port: a sentinel needs a port of its own, from 1 to 65535".into());
        }
        let named = |host: &str| self.resolve_hostnames && plausible(host);
        if let Some(ip) = self.announce_ip.as_ref().filter(|ip| ip.parse::<IpAddr>().is_err() && !named(ip)) {
            return Err(format!("announce_ip: {ip:?} is not an IP address"));
        }
        self.hello_keys()?;
        for (n, monitor) in self.monitors.iter().enumerate() {
            if monitor.host.parse::<IpAddr>().is_err() && !named(&monitor.host) {
                let found = format!("expected an IP address (a name with resolve_hostnames), found {:?}", monitor.host);
                return Err(format!("monitors: {:?}: host: {found}", monitor.name));
            }
            if self.monitors[..n].iter().any(|other| other.name == monitor.name) {
                return Err(format!("monitors: the name {:?} appears twice", monitor.name));
            }
        }
        Ok(())
    }

    /// The key of hellos and the other one that is taken.
    ///
    /// # Errors
    /// A file that can't be read, a key that is too short, an old one without a new one.
    pub fn hello_keys(&self) -> Result<(Option<String>, Option<String>), String> {
        let keys = match &self.hello_key_file {
            None => (self.hello_key.clone(), self.hello_key_old.clone()),
            Some(_) if self.hello_key.is_some() || self.hello_key_old.is_some() => {
                return Err("hello_key_file: either the file or the keys".into());
            }
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|error| format!("hello_key_file: {path:?}: {error}"))?;
                let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
                let key = lines.next().ok_or_else(|| format!("hello_key_file: {path:?} is empty"))?;
                (Some(key), lines.next())
            }
        };
        if keys.0.is_none() && keys.1.is_some() {
            return Err("hello_key_old: needs hello_key too".into());
        }
        if keys.0.iter().chain(&keys.1).any(|key| key.len() < MIN_KEY) {
            return Err(format!("hello_key: a key has {MIN_KEY} bytes or more"));
        }
        Ok(keys)
    }

    /// The primaries as the machine takes them.
    #[must_use]
    pub fn watches(&self) -> Vec<Watch> {
        self.monitors.iter().map(|monitor| monitor.watch(self)).collect()
    }

    /// The plugins that the strategies named here are: service, plugin, where it is named.
    #[must_use]
    pub fn needs(&self) -> Vec<(&'static str, String, String)> {
        let mut needs = Vec::new();
        for Watch { name, settings, .. } in self.watches() {
            let named = [
                (ElectionService::NAME, settings.election, election::BUILT_IN, "election"),
                (SelectionService::NAME, settings.selection, select::BUILT_IN, "selection"),
            ];
            let plugins = named.into_iter().filter(|(_, plugin, built_in, _)| plugin != built_in);
            needs.extend(
                plugins.map(|(service, plugin, _, field)| (service, plugin, format!("monitors: {name:?}: {field}"))),
            );
        }
        needs
    }
}

impl MonitorConfig {
    fn check(&self) -> Result<(), String> {
        if !valid_name(&self.name) {
            return Err("name: letters, digits and .-_ only, at least one".into());
        }
        if self.host.parse::<IpAddr>().is_err() && !plausible(&self.host) {
            return Err(format!("host: expected an IP address, found {:?}", self.host));
        }
        if self.port == 0 {
            return Err("port: must be at least 1".into());
        }
        let mut settings = Settings::new(1);
        self.settings.apply(&mut settings)?;
        for setting in TABLE.iter().filter(|setting| matches!(setting.kind, Kind::Script(..))) {
            if let Some(path) = setting.texts(&settings).iter().find(|path| !executable(path)) {
                return Err(format!("{}: {path:?} seems non existing or non executable", setting.field));
            }
        }
        if settings.auth_user.is_some() && settings.auth_pass.is_none() {
            return Err("auth_user: needs auth_pass too".into());
        }
        Ok(())
    }

    /// What `check` refuses is left at its default.
    fn watch(&self, all: &Config) -> Watch {
        let mut settings =
            Settings { election: all.election.clone(), selection: all.selection.clone(), ..Settings::new(1) };
        self.settings.apply(&mut settings).unwrap_or_default();
        Watch { name: self.name.clone(), addr: Addr::new(&self.host, self.port), settings }
    }
}

/// A file that may be run by somebody.
#[must_use]
pub fn executable(path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        let config: Config = options.from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn the_file_of_the_issue_is_read() {
        let config = parse(
            "(port: 26380, monitors: [(name: \"mymaster\", host: \"127.0.0.1\", port: 6380, quorum: 2, \
             down_after_ms: 10000, parallel_syncs: 1, failover_timeout_ms: 20000)])",
        )
        .unwrap();
        let watch = &config.watches()[0];
        assert_eq!((watch.settings.quorum, watch.settings.down_after_ms), (2, 10_000));
        assert_eq!(watch.addr, Addr::new("127.0.0.1", 6380));
        let short = parse("(monitors: [(name: \"a\", host: \"::1\", port: 1, quorum: 1)])").unwrap();
        assert_eq!(short.watches()[0].settings, Settings::new(1));
    }

    /// The text that `keystead` shows beside `monitors` names every field with its default.
    #[test]
    fn the_documentation_names_every_setting() {
        let (_, text) = DOCS.iter().find(|(name, _)| *name == "monitors").unwrap();
        for setting in TABLE {
            let value = match (&setting.kind, setting.texts(&Settings::new(1)).first()) {
                (Kind::Count(_), _) if setting.field == "quorum" => continue,
                (Kind::Count(_) | Kind::Ms(_) | Kind::Period(_), Some(number)) => number.clone(),
                (Kind::YesNo(_), _) => "false".into(),
                (Kind::Renames(_), _) => "{}".into(),
                _ => "None".into(),
            };
            let expected = format!("{}: {value}", setting.field);
            assert!(text.contains(&expected), "{expected} in {text}");
        }
    }

    #[test]
    fn what_is_read_is_written() {
        let one = "(name: \"a\", host: \"::1\", port: 1, quorum: 2, fast_detection: true, auth_pass: \"x\", \
                   renamed_commands: {\"config\": \"guess\"}, election: \"manual\")";
        let config = parse(&format!("(monitors: [{one}])")).unwrap();
        let again = parse(&ron::to_string(&config).unwrap()).unwrap();
        let settings = &again.watches()[0].settings;
        assert_eq!(*settings, config.watches()[0].settings);
        assert_eq!((settings.election.as_str(), &settings.renamed_commands["CONFIG"][..]), ("manual", "guess"));
        let twice = one.replace("quorum: 2", "quorum: 2, quorum: 3");
        assert!(parse(&format!("(monitors: [{twice}])")).unwrap_err().contains("duplicate field `quorum`"));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let cases = [
            ("(monitors: [(name: \"a b\", host: \"1.1.1.1\", port: 1, quorum: 1)])", "letters, digits"),
            ("(monitors: [(name: \"a\", host: \"db.local\", port: 1, quorum: 1)])", "expected an IP address"),
            ("(monitors: [(name: \"a\", host: \"1.1.1.1\", port: 1, quorum: 0)])", "quorum: must be at least 1"),
            ("(monitors: [(name: \"a\", host: \"1.1.1.1\", port: 1)])", "quorum"),
            ("(monitors: [(name: \"a\", host: \"1.1.1.1\", port: 1, quorum: 1, colour: 1)])", "colour"),
            ("(port: 0)", "port of its own"),
            ("(hello_key: \"short\")", "16 bytes"),
            ("(hello_key_old: \"sixteen letters!\")", "needs hello_key"),
            ("(hello_key_file: \"/nowhere\")", "/nowhere"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let one = "(name: \"a\", host: \"1.1.1.1\", port: 1, quorum: 1)";
        assert!(parse(&format!("(monitors: [{one}, {one}])")).unwrap_err().contains("twice"));
    }
}
