//! CONFIG: all parameters under Redis' names. Owns their values and a typed copy of those the engine reads itself; what a
//! parameter means outside the engine (port, log level) is the server's business, which adds a group for it.

mod inert;
mod table;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use inert::{INERT, Inert};
pub use table::{PARAMS, Param};
pub use value::{Kind, parse_memory};

use crate::engine::EngineMode;
use crate::evict::Limit;
use crate::foreign::ForeignConfig;
use crate::glob;
use crate::limits::{OutputLimit, OutputLimits};
use crate::notify::Chosen;

/// A smaller `maxmemory-clients` counts as this, as in Redis: it would close everybody, and whoever comes to correct it.
const LEAST_CLIENT_MEMORY: u64 = 128 * 1024;

/// The parameters that the engine reads on its own way, typed.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// `maxclients`
    pub maxclients: usize,
    /// `requirepass`; empty: none.
    pub requirepass: String,
    /// `protected-mode`
    pub protected_mode: bool,
    /// `timeout`, seconds; 0: never.
    pub timeout_s: u64,
    /// `client-output-buffer-limit`
    pub output_limits: OutputLimits,
    /// `client-query-buffer-limit`
    pub query_limit: usize,
    /// `proto-max-bulk-len`
    pub max_bulk: u64,
    /// `slowlog-log-slower-than`, µs; negative: off.
    pub slower_than_us: i64,
    /// `latency-monitor-threshold`; 0: off.
    pub latency_threshold_ms: u64,
    /// `stop-writes-on-bgsave-error`
    pub stop_writes: bool,
    /// `propagation-error-behavior`: an error ends the process in a primary's stream, in an append-only file.
    pub errors_end: (bool, bool),
    /// `replica-ignore-disk-write-errors`
    pub ignore_disk_errors: bool,
    /// `slowlog-max-len`
    pub slowlog_len: usize,
    /// `active-expire-effort`
    pub expire_effort: u32,
    /// `maxmemory` and what belongs to it.
    pub memory: Limit,
    /// `notify-keyspace-events`
    pub notify: Chosen,
    /// `latency-tracking`
    pub latency_tracking: bool,
    /// `maxmemory-clients`, bytes; None: no limit.
    pub client_memory: Option<u64>,
    /// `hll-sparse-max-bytes`
    pub sparse_hll_bytes: usize,
    /// `rdb-version`: of values that leave for a server nobody knows.
    pub rdb_version: u16,
    /// `enable-debug-command`
    pub debug_command: String,
    /// `enable-protected-configs`
    pub protected_configs: String,
}

/// A parameter that a plugin registered.
struct Foreign {
    plugin: String,
    alias: Option<String>,
    body: Arc<dyn ForeignConfig>,
}

/// Parameters that mean something outside the engine: alone (the log level) or only together (a certificate and its key).
pub trait ParamGroup: Send + Sync {
    /// Whether a parameter belongs to it.
    fn has(&self, name: &str) -> bool;
    /// CONFIG SET gave some of them values, perhaps the same: puts all of them in force, or none and says why.
    fn apply(&self, value: &dyn Fn(&str) -> String) -> Result<(), String>;
}

/// All parameters of an engine.
pub struct Config {
    params: Vec<&'static Param>,
    values: BTreeMap<&'static str, String>,
    foreign: BTreeMap<String, Foreign>,
    changed: BTreeSet<String>,
    groups: Vec<Arc<dyn ParamGroup>>,
    /// An endpoint's: its plugin says where it listens, and nobody is told secrets.
    endpoint: bool,
    /// An endpoint's beside a data port: what concerns the process is set there.
    beside_data: bool,
    /// The typed copy.
    pub live: Live,
}

/// Why CONFIG SET failed: the parameter, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// No such parameter.
    Unknown(String),
    /// It can't change at run time.
    Immutable(String),
    /// The value is refused.
    Invalid(String, String),
    /// The same parameter twice in one call.
    Twice(String),
}

type Undo = Vec<(Arc<dyn ForeignConfig>, String)>;

/// Parameters that no pattern of CONFIG GET finds, as in Redis.
const HIDDEN: &[&str] = &[
    "key-load-delay",
    "rdb-key-save-delay",
    "loading-process-events-interval-bytes",
    "watchdog-period",
    "cluster-ping-interval",
    "use-exit-on-panic",
];

impl Config {
    /// All parameters at their defaults, or those that an endpoint has.
    pub fn new(mode: &EngineMode) -> Self {
        let endpoint = *mode != EngineMode::Data;
        let beside_data = matches!(mode, EngineMode::Endpoint { beside_data: true, .. });
        let all = PARAMS.iter().chain(INERT.iter().map(|row| &row.param));
        let params: Vec<&'static Param> = all.filter(|param| !endpoint || param.endpoint).collect();
        let values = params.iter().map(|param| (param.name, param.default.to_owned())).collect();
        let (foreign, changed, live) = (BTreeMap::new(), BTreeSet::new(), Live::default());
        let mut config = Config { params, values, foreign, changed, groups: Vec::new(), endpoint, beside_data, live };
        config.refresh();
        config
    }

    fn find(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().copied().find(|p| p.name == name || p.alias == Some(name))
    }

    fn find_foreign(&self, name: &str) -> Option<(&String, &Foreign)> {
        let aliased = || self.foreign.iter().find(|(_, foreign)| foreign.alias.as_deref() == Some(name));
        self.foreign.get_key_value(name).or_else(aliased)
    }

    /// A parameter's value as CONFIG GET shows it.
    pub fn get(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        if let Some((_, foreign)) = self.find_foreign(&name) {
            return Some(foreign.body.get());
        }
        // INFO asks for a dozen: most are called as they are kept.
        let aliased = || self.find(&name).and_then(|param| self.values.get(param.name));
        self.values.get(name.as_str()).or_else(aliased).cloned()
    }

    /// A number, for parameters that hold one.
    pub fn int(&self, name: &str) -> i64 {
        self.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Whether somebody wants just this `rdb-version`. As long as nobody does, files for the own disk may be in a later one.
    pub fn rdb_version_is_chosen(&self) -> bool {
        const NAME: &str = "rdb-version";
        let default = self.find(NAME).is_some_and(|param| self.values[NAME] == param.default);
        !default || self.changed.contains(NAME)
    }

    fn yes(&self, name: &str) -> bool {
        self.get(name).as_deref() == Some("yes")
    }

    /// All parameters whose name or alias matches one of the patterns, by name, each once.
    pub fn matching(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        let mut found = BTreeMap::new();
        // What is only for tests shows under its exact name.
        let shown = |name: &str| !HIDDEN.contains(&name) && !self.is_secret(name);
        let (globs, exact): (Vec<&[u8]>, Vec<&[u8]>) =
            patterns.iter().partition(|pattern| pattern.iter().any(|byte| b"[*?".contains(byte)));
        for name in exact {
            // Redis gives an exact name back as it was written.
            let name = String::from_utf8_lossy(name).into_owned();
            if let Some(value) = self.get(&name).filter(|_| !self.is_secret(&name)) {
                found.insert(name, value);
            }
        }
        for pattern in globs {
            let hit = |name: &str| shown(name) && glob::matches(pattern, name.as_bytes(), true);
            for param in self.params.iter().filter(|param| !self.foreign.contains_key(param.name)) {
                for name in [Some(param.name), param.alias].into_iter().flatten().filter(|name| hit(name)) {
                    found.insert(name.to_owned(), self.values[param.name].clone());
                }
            }
            for (name, foreign) in &self.foreign {
                for name in [Some(name), foreign.alias.as_ref()].into_iter().flatten().filter(|name| hit(name)) {
                    found.insert(name.clone(), foreign.body.get());
                }
            }
        }
        found.into_iter().collect()
    }

    /// Sets a value at start, mutable or not. The server does this for what the file and the command line say.
    pub fn init(&mut self, name: &str, text: &str) -> Result<(), SetError> {
        let lower = name.to_ascii_lowercase();
        let param = self.find(&lower).ok_or_else(|| SetError::Unknown(name.to_owned()))?;
        let value = value::normalise(param.kind, &self.values[param.name], text)
            .map_err(|why| SetError::Invalid(param.name.to_owned(), why))?;
        self.values.insert(param.name, value);
        self.refresh();
        Ok(())
    }

    /// CONFIG SET: all or nothing.
    pub fn set(&mut self, pairs: &[(String, String)]) -> Result<(), SetError> {
        self.check_names(pairs)?;
        let before = self.values.clone();
        let mut undo = Undo::new();
        let mut names = Vec::new();
        for (name, text) in pairs {
            match self.set_one(name, text, &mut undo) {
                Ok(name) => names.push(name),
                Err(why) => {
                    self.take_back(before, undo);
                    return Err(SetError::Invalid(name.clone(), why));
                }
            }
        }
        // Last, because it can't be taken back.
        if let Err((name, why)) = self.apply_groups(&names, &before) {
            self.take_back(before, undo);
            return Err(SetError::Invalid(name, why));
        }
        self.changed.extend(names);
        self.refresh();
        Ok(())
    }

    fn take_back(&mut self, values: BTreeMap<&'static str, String>, undo: Undo) {
        self.values = values;
        for (body, old) in undo.into_iter().rev() {
            if let Err(why) = body.set(&old) {
                log::warn!("CONFIG SET could not be taken back: {why}");
            }
        }
    }

    /// Parameters that are put in force as a whole.
    pub fn add_group(&mut self, group: Arc<dyn ParamGroup>) {
        self.groups.push(group);
    }

    /// Lets each group act of which a parameter was set; the first of those goes with the refusal. What other groups did
    /// before it is undone.
    fn apply_groups(&self, names: &[String], before: &BTreeMap<&'static str, String>) -> Result<(), (String, String)> {
        let mut done: Vec<&Arc<dyn ParamGroup>> = Vec::new();
        for group in &self.groups {
            let Some(first) = names.iter().find(|name| group.has(name)) else { continue };
            if let Err(why) = group.apply(&|name| self.get(name).unwrap_or_default()) {
                for group in done.into_iter().rev() {
                    if let Err(why) = group.apply(&|name| before.get(name).cloned().unwrap_or_default()) {
                        log::warn!("CONFIG SET could not be taken back: {why}");
                    }
                }
                return Err((first.clone(), why));
            }
            done.push(group);
        }
        Ok(())
    }

    /// Whether CONFIG SET may be called with these names. A name and its alias may stand side by side, as in Redis.
    pub(crate) fn check_names(&self, pairs: &[(String, String)]) -> Result<(), SetError> {
        let mut seen = BTreeSet::new();
        for (name, _) in pairs {
            let lower = name.to_ascii_lowercase();
            let mutable = match (self.find_foreign(&lower), self.find(&lower)) {
                (Some((_, foreign)), _) => foreign.body.mutable(),
                (None, Some(param)) => param.mutable && !self.is_another_ports(param),
                (None, None) => return Err(SetError::Unknown(name.clone())),
            };
            if !mutable {
                return Err(SetError::Immutable(name.clone()));
            }
            if !seen.insert(lower) {
                return Err(SetError::Twice(name.clone()));
            }
        }
        Ok(())
    }

    fn is_another_ports(&self, param: &Param) -> bool {
        (self.endpoint && matches!(param.name, "bind" | "port")) || (self.beside_data && param.process)
    }

    /// The plugin whose parameter this is.
    pub fn owner(&self, name: &str) -> Option<&str> {
        self.find_foreign(name).map(|(_, foreign)| foreign.plugin.as_str())
    }

    /// A plugin calls the value of its parameter a secret.
    pub fn is_plugins_secret(&self, name: &str) -> bool {
        self.find_foreign(name).is_some_and(|(_, foreign)| foreign.body.secret())
    }

    /// What opens a private key is for the process, not for clients of a sentinel.
    fn is_secret(&self, name: &str) -> bool {
        self.endpoint && name.to_ascii_lowercase().ends_with("-pass")
    }

    fn set_one(&mut self, name: &str, text: &str, undo: &mut Undo) -> Result<String, String> {
        let lower = name.to_ascii_lowercase();
        if let Some((key, foreign)) = self.find_foreign(&lower) {
            let (key, body) = (key.clone(), foreign.body.clone());
            let old = body.get();
            body.set(text)?;
            undo.push((body, old));
            return Ok(key);
        }
        let param = self.find(&lower).ok_or("unknown parameter")?;
        let value = value::normalise(param.kind, &self.values[param.name], text)?;
        self.values.insert(param.name, value);
        Ok(param.name.to_owned())
    }

    /// A plugin's parameter. It may take over a core parameter of the same name (`save`), but not another plugin's.
    pub fn add_foreign(
        &mut self,
        plugin: &str,
        name: &str,
        alias: Option<&str>,
        body: Arc<dyn ForeignConfig>,
    ) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        if let Some((_, other)) = self.find_foreign(&name) {
            return Err(format!("parameter '{name}' exists already (from {})", other.plugin));
        }
        let alias = alias.map(str::to_ascii_lowercase);
        self.foreign.insert(name, Foreign { plugin: plugin.to_owned(), alias, body });
        Ok(())
    }

    /// Forgets a plugin's parameters.
    pub fn remove_plugin(&mut self, plugin: &str) {
        self.foreign.retain(|_, foreign| foreign.plugin != plugin);
    }

    /// What CONFIG SET changed since the start, for the overlay that CONFIG REWRITE writes. With each name, the plugin
    /// that owns it.
    pub fn changed_params(&self) -> Vec<(String, String, Option<String>)> {
        let owner = |name: &str| self.foreign.get(name).map(|foreign| foreign.plugin.clone());
        self.changed.iter().filter_map(|name| Some((name.clone(), self.get(name)?, owner(name)))).collect()
    }

    /// Marks a parameter as changed although CONFIG SET wasn't used (an overlay that was read at start must survive the
    /// next rewrite).
    pub fn mark_changed(&mut self, name: &str) {
        self.changed.insert(name.to_ascii_lowercase());
    }

    pub(crate) fn refresh(&mut self) {
        let number = |name: &str| u64::try_from(self.int(name)).unwrap_or(0);
        self.live = Live {
            maxclients: number("maxclients") as usize,
            requirepass: self.get("requirepass").unwrap_or_default(),
            protected_mode: self.yes("protected-mode"),
            timeout_s: number("timeout"),
            output_limits: self.output_limits(),
            query_limit: number("client-query-buffer-limit") as usize,
            max_bulk: number("proto-max-bulk-len"),
            slower_than_us: self.int("slowlog-log-slower-than"),
            latency_threshold_ms: number("latency-monitor-threshold"),
            stop_writes: self.yes("stop-writes-on-bgsave-error"),
            errors_end: match self.get("propagation-error-behavior").as_deref() {
                Some("panic") => (true, true),
                Some("panic-on-replicas") => (true, false),
                _ => (false, false),
            },
            ignore_disk_errors: self.get("replica-ignore-disk-write-errors").as_deref() != Some("no"),
            slowlog_len: number("slowlog-max-len") as usize,
            expire_effort: number("active-expire-effort") as u32,
            memory: Limit::of(self),
            notify: Chosen::parse(&self.get("notify-keyspace-events").unwrap_or_default()).unwrap_or_default(),
            latency_tracking: self.yes("latency-tracking"),
            client_memory: self.client_memory(),
            sparse_hll_bytes: number("hll-sparse-max-bytes") as usize,
            rdb_version: number("rdb-version") as u16,
            debug_command: self.get("enable-debug-command").unwrap_or_default(),
            protected_configs: self.get("enable-protected-configs").unwrap_or_default(),
        };
    }

    /// Bytes, or a share of `maxmemory`.
    fn client_memory(&self) -> Option<u64> {
        let text = self.get("maxmemory-clients")?;
        let bytes = match text.strip_suffix('%') {
            Some(percent) => self.int("maxmemory") / 100 * percent.parse::<i64>().ok()?,
            None => text.parse().ok()?,
        };
        let bytes = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)?;
        Some(bytes.max(LEAST_CLIENT_MEMORY))
    }

    /// `latency-tracking-info-percentiles`, as written.
    pub fn percentiles(&self) -> Vec<String> {
        let text = self.get("latency-tracking-info-percentiles").unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn output_limits(&self) -> OutputLimits {
        let text = self.get("client-output-buffer-limit").unwrap_or_default();
        let words: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let class = |at: usize| match words.get(at * 3..at * 3 + 3) {
            Some(&[hard, soft, soft_s]) => OutputLimit { hard, soft, soft_s },
            _ => OutputLimit::default(),
        };
        OutputLimits::new(class(0), class(1), class(2))
    }
}
