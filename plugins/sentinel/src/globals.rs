//! SENTINEL CONFIG and SENTINEL DEBUG: what concerns the whole sentinel and not one primary.
//! Owns names, checks and replies; a change takes effect at once and survives in the state file, never in the user's.

use crate::actions::{Action, Shared};
use crate::events::Level;
use crate::glob::glob;
use crate::machine::Sentinel;
use crate::names::plausible;
use crate::sign::MIN_KEY;
use crate::tempo;
use crate::types::Kind;
use crate::wire::{Reply, integer};
use std::collections::BTreeMap;
use std::net::IpAddr;

type Answer = Result<Reply, String>;

// The missing blank is Redis'.
const FORM: &str = "ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...]/ SET <param> <value> [<param> <value> ...] are \
                    supported.";
const LEVELS: [&str; 5] = ["debug", "verbose", "notice", "warning", "nothing"];

/// What a sentinel starts with beside its primaries.
#[derive(Clone, Debug)]
pub struct Options {
    /// `resolve-hostnames`
    pub resolve_hostnames: bool,
    /// `announce-hostnames`
    pub announce_hostnames: bool,
    /// User for AUTH on other sentinels.
    pub sentinel_user: Option<String>,
    /// Password for AUTH on other sentinels.
    pub sentinel_pass: Option<String>,
    /// `hello-key`
    pub hello_key: Option<String>,
    /// `hello-key-old`
    pub hello_key_old: Option<String>,
    /// SENTINEL SET can't change scripts.
    pub deny_scripts_reconfig: bool,
    /// The log's level.
    pub loglevel: String,
    /// The process serves data on another port: its log and its end are not this port's clients' to decide on.
    pub beside_data: bool,
    /// The own port.
    pub port: u16,
    /// `announce-port`; 0: the own port.
    pub announce_port: u16,
    /// Addresses of names that were resolved before the start.
    pub names: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            resolve_hostnames: false,
            announce_hostnames: false,
            sentinel_user: None,
            sentinel_pass: None,
            hello_key: None,
            hello_key_old: None,
            deny_scripts_reconfig: true,
            loglevel: "notice".into(),
            beside_data: false,
            port: 0,
            announce_port: 0,
            names: BTreeMap::new(),
        }
    }
}

/// The settings at run time.
#[derive(Clone, Debug)]
pub struct Globals {
    /// SENTINEL SET can't change scripts.
    pub deny_scripts_reconfig: bool,
    /// What SENTINEL CONFIG SET changed.
    pub changed: Vec<(String, String)>,
    options: Options,
}

impl Globals {
    /// As configured.
    #[must_use]
    pub fn new(options: Options) -> Globals {
        Globals { deny_scripts_reconfig: options.deny_scripts_reconfig, changed: Vec::new(), options }
    }

    /// Why a parameter can't be set here.
    fn refusal(&self, name: &str) -> Option<&'static str> {
        (name == "loglevel" && self.options.beside_data).then_some(
            "the log is that of the data server in this process: CONFIG SET loglevel on the data port sets it",
        )
    }

    /// The process serves data on another port.
    pub(crate) const fn beside_data(&self) -> bool {
        self.options.beside_data
    }

    /// User and password for other sentinels. Without any it is the own port's password, which the shell knows.
    #[must_use]
    pub fn peer_auth(&self) -> Option<(Option<String>, String)> {
        self.options.sentinel_pass.clone().map(|pass| (self.options.sentinel_user.clone(), pass))
    }
}

/// The parameters, in Redis' order, and ours.
const PARAMS: [&str; 9] = [
    "resolve-hostnames",
    "announce-hostnames",
    "announce-ip",
    "announce-port",
    "sentinel-user",
    "sentinel-pass",
    "loglevel",
    "hello-key",
    "hello-key-old",
];

fn value(s: &Shared, name: &str) -> String {
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let options = &s.globals.options;
    match name {
        "resolve-hostnames" => word(s.names.resolve),
        "announce-hostnames" => word(s.names.announce),
        "announce-ip" if s.announce_fixed => s.announce.host.clone(),
        "announce-port" => options.announce_port.to_string(),
        "sentinel-user" => options.sentinel_user.clone().unwrap_or_default(),
        "sentinel-pass" => options.sentinel_pass.clone().unwrap_or_default(),
        "loglevel" => options.loglevel.clone(),
        // Whether there is one, not which.
        "hello-key" => s.signing.key.as_ref().map_or(String::new(), |_| "******".into()),
        "hello-key-old" => s.signing.other.as_ref().map_or(String::new(), |_| "******".into()),
        _ => String::new(),
    }
}

/// What isn't shown in the log.
fn secret(s: &Shared, name: &str) -> Option<String> {
    let (options, signing) = (&s.globals.options, &s.signing);
    let place = match name {
        "sentinel-pass" => &options.sentinel_pass,
        "hello-key" => &signing.key,
        "hello-key-old" => &signing.other,
        _ => return None,
    };
    Some(place.clone().unwrap_or_default())
}

/// A value in its place, checked. False if it is none.
fn set(s: &mut Shared, name: &str, value: &str) -> bool {
    let yes_no = || match value.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    let text = || (!value.is_empty()).then(|| value.to_owned());
    match name {
        "resolve-hostnames" => yes_no().map(|yes| s.names.resolve = yes).is_some(),
        "announce-hostnames" => yes_no().map(|yes| s.names.announce = yes).is_some(),
        "announce-ip" => {
            let good = value.is_empty() || value.parse::<IpAddr>().is_ok() || plausible(value);
            if good {
                value.clone_into(&mut s.announce.host);
                s.announce_fixed = !value.is_empty();
            }
            good
        }
        "announce-port" => {
            let Some(port) = integer(value).and_then(|n| u16::try_from(n).ok()) else { return false };
            s.globals.options.announce_port = port;
            s.announce.port = if port == 0 { s.globals.options.port } else { port };
            true
        }
        "hello-key" | "hello-key-old" if value.is_empty() || value.len() >= MIN_KEY => {
            let place = if name == "hello-key" { &mut s.signing.key } else { &mut s.signing.other };
            *place = text();
            true
        }
        "sentinel-user" => {
            s.globals.options.sentinel_user = text();
            true
        }
        "sentinel-pass" => {
            s.globals.options.sentinel_pass = text();
            true
        }
        "loglevel" => {
            let level = LEVELS.iter().find(|level| level.eq_ignore_ascii_case(value));
            if let Some(level) = level {
                s.globals.options.loglevel = (*level).to_owned();
                s.out.push(Action::LogLevel((*level).to_owned()));
            }
            level.is_some()
        }
        _ => false,
    }
}

impl Sentinel {
    /// Takes over what an earlier run saved. What no longer fits is said and left out.
    pub(crate) fn restore_globals(&mut self, saved: &[(String, String)]) {
        for (name, kept) in saved {
            if let Some(why) = self.shared.globals.refusal(name) {
                let text = format!("{name} '{kept}' from the state file (SENTINEL CONFIG SET) is passed over: {why}");
                self.shared.log(Level::Warning, text);
                continue;
            }
            let given = secret(&self.shared, name).unwrap_or_else(|| value(&self.shared, name));
            if set(&mut self.shared, name, kept) {
                self.shared.globals.changed.push((name.clone(), kept.clone()));
                self.tell_global(name, &given);
            }
        }
    }

    /// At a start: what the configuration file says otherwise.
    fn tell_global(&mut self, name: &str, given: &str) {
        let hidden = secret(&self.shared, name);
        let now = hidden.clone().unwrap_or_else(|| value(&self.shared, name));
        if now == given {
            return;
        }
        let shown = |text: &str| match text {
            "" => "(none)".to_owned(),
            _ if hidden.is_some() => "******".to_owned(),
            text => text.to_owned(),
        };
        let (now, given) = (shown(&now), shown(given));
        let text = format!(
            "{name} {now} from the state file (SENTINEL CONFIG SET) overrides {given} from the configuration file; to \
             take it back, stop this sentinel and take it out of 'globals' there"
        );
        self.shared.log(Level::Warning, text);
    }

    /// `SENTINEL CONFIG GET|SET …`
    pub(crate) fn config(&mut self, args: &[String]) -> Answer {
        match args {
            [get, patterns @ ..] if get.eq_ignore_ascii_case("get") && !patterns.is_empty() => {
                Ok(self.config_get(patterns))
            }
            [set, pairs @ ..] if set.eq_ignore_ascii_case("set") && pairs.len() >= 2 => self.config_set(pairs),
            _ => Err(FORM.into()),
        }
    }

    fn config_get(&self, patterns: &[String]) -> Reply {
        let lower: Vec<String> = patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        let wanted = PARAMS.iter().filter(|name| lower.iter().any(|pattern| glob(pattern, name)));
        Reply::Map(wanted.map(|name| ((*name).to_owned(), Reply::Bulk(value(&self.shared, name)))).collect())
    }

    /// All of it or nothing.
    fn config_set(&mut self, pairs: &[String]) -> Answer {
        let mut seen: Vec<String> = Vec::new();
        for pair in pairs.chunks(2) {
            let name = pair[0].to_ascii_lowercase();
            if !PARAMS.contains(&name.as_str()) {
                return Err(format!("ERR Invalid argument '{}' to SENTINEL CONFIG SET", pair[0]));
            }
            if let Some(why) = self.shared.globals.refusal(&name) {
                return Err(format!("ERR SENTINEL CONFIG SET '{}' is refused: {why}", pair[0]));
            }
            if seen.contains(&name) {
                return Err(format!("ERR Duplicate argument '{}' to SENTINEL CONFIG SET", pair[0]));
            }
            if pair.len() == 1 {
                return Err(format!("ERR Missing argument '{}' value", pair[0]));
            }
            seen.push(name);
        }
        let before = (self.shared.names.clone(), self.shared.announce.clone(), self.shared.announce_fixed);
        let keys = (self.shared.signing.key.clone(), self.shared.signing.other.clone());
        let (options, marked) = (self.shared.globals.options.clone(), self.shared.out.len());
        for (name, pair) in seen.iter().zip(pairs.chunks(2)) {
            if !set(&mut self.shared, name, &pair[1]) {
                (self.shared.names, self.shared.announce, self.shared.announce_fixed) = before;
                self.shared.globals.options = options;
                (self.shared.signing.key, self.shared.signing.other) = keys;
                self.shared.out.truncate(marked);
                return Err(format!("ERR Invalid value '{}' to SENTINEL CONFIG SET '{}'", pair[1], pair[0]));
            }
        }
        for (name, pair) in seen.iter().zip(pairs.chunks(2)) {
            self.shared.globals.changed.retain(|(known, _)| known != name);
            self.shared.globals.changed.push((name.clone(), pair[1].clone()));
        }
        for monitor in self.monitors.values_mut() {
            monitor.names_shown = self.shared.names.announce;
            if seen.iter().any(|name| name.starts_with("hello-")) {
                monitor.trust_nobody(self.shared.now);
            }
            if seen.iter().any(|name| name.starts_with("sentinel-")) {
                monitor.drop_links_of(&[Kind::Sentinel], &mut self.shared);
            }
        }
        self.shared.durable();
        Ok(Reply::ok())
    }

    /// `SENTINEL DEBUG [name ms …]`
    pub(crate) fn debug(&mut self, args: &[String]) -> Answer {
        if args.is_empty() {
            let list = self.shared.tempo.list();
            return Ok(Reply::Map(list.iter().map(|(n, v)| ((*n).to_owned(), Reply::Bulk(v.to_string()))).collect()));
        }
        let mut changed = self.shared.tempo;
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(tempo::unknown(&pair[0])) };
            changed.set(name, value)?;
        }
        self.shared.tempo = changed;
        for monitor in self.monitors.values_mut() {
            monitor.settings.tempo = changed;
            monitor.hurry(self.shared.now);
        }
        Ok(Reply::ok())
    }
}
