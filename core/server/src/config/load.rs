//! From a file and a command line to settings: read, edit, parse, check. Precedence: built-in values, the RON file, the
//! state overlay, the command line.

use super::document::{Document, ron_of_argument};
use super::overlay::{self, Overlay};
use super::report::{ConfigError, line_column, nearest};
use super::sections::{Encoding, Expire, Limits, Log, Memory, Server, Setting, Slowlog, Tls};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How an instance without a file is called in messages.
const DEFAULT_NAME: &str = "built-in configuration";

/// One edit from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// `server.port` or `<plugin>.<field>`.
    pub(crate) path: String,
    /// The value in RON.
    pub(crate) value: String,
    /// The argument as the user typed it.
    pub(crate) argument: String,
}

impl Edit {
    /// `path=value` of `--set`.
    pub(crate) fn parse(text: &str) -> Result<Edit, ConfigError> {
        let argument = format!("--set {text}");
        let Some((path, value)) = text.split_once('=') else {
            return Err(ConfigError::plain(&argument, "expected path=value, for example server.port=7000"));
        };
        Ok(Edit { path: path.trim().into(), value: ron_of_argument(value), argument })
    }
}

/// A plugin the file lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginEntry {
    /// Its name; the library is `libkeystead_<name>.so`.
    pub(crate) name: String,
    /// A path of its own, when the library lies elsewhere.
    pub(crate) path: Option<String>,
    /// Its subtree as text, with where it begins in the file.
    pub(crate) config: RawConfig,
}

/// A plugin's subtree, unparsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawConfig {
    /// The RON text.
    pub(crate) text: String,
    /// The file, for messages.
    pub(crate) file: String,
    /// Line of its first character in the file, counted from 1.
    pub(crate) line: u32,
    /// Column of its first character, counted from 1.
    pub(crate) column: u32,
}

/// All settings of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// Where the instance listens and lives.
    pub(crate) server: Server,
    /// Encrypted connections.
    pub(crate) tls: Tls,
    /// What a client may take.
    pub(crate) limits: Limits,
    /// How much memory may be used.
    pub(crate) memory: Memory,
    /// When collections leave their compact form.
    pub(crate) encoding: Encoding,
    /// How expired keys are looked for.
    pub(crate) expire: Expire,
    /// What SLOWLOG keeps.
    pub(crate) slowlog: Slowlog,
    /// Where log lines go.
    pub(crate) log: Log,
    /// Where libraries are looked for, absolute.
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// The plugins, in the file's order.
    pub(crate) plugins: Vec<PluginEntry>,
    /// Which plugin gives a service by default.
    pub(crate) services: BTreeMap<String, String>,
    /// What CONFIG REWRITE kept, less what the command line overrides.
    pub(crate) overlay: Overlay,
    /// The overlay's file.
    pub(crate) overlay_path: PathBuf,
    /// Paths that the command line gave (`server.port`, `replication.replicaof`): they beat whatever else was kept.
    pub(crate) command_line: Vec<String>,
    /// The folder for everything the instance writes, absolute.
    pub(crate) dir: PathBuf,
}

/// The file as serde sees it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename = "Config")]
#[derive(Default)]
struct Tree<'a> {
    server: Server,
    tls: Tls,
    limits: Limits,
    memory: Memory,
    encoding: Encoding,
    expire: Expire,
    slowlog: Slowlog,
    log: Log,
    plugin_dirs: Vec<String>,
    #[serde(borrow)]
    plugins: Vec<PluginTree<'a>>,
    services: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Plugin")]
struct PluginTree<'a> {
    name: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(borrow, default)]
    config: Option<&'a ron::value::RawValue>,
}

/// RON as every file of ours is read: `Some` may be left out, nothing else is switched on.
pub(crate) fn ron_options() -> ron::Options {
    ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
}

/// Reads a file (or the built-in configuration) and applies the edits of the command line.
pub(crate) fn load(file: Option<&Path>, edits: &[Edit]) -> Result<Settings, ConfigError> {
    let (name, text) = match file {
        None => (DEFAULT_NAME.to_owned(), default_config()),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError::plain(&name, format!("can't read the configuration: {e}")))?;
            (name, text)
        }
    };
    let mut settings = parse(&name, text, edits)?;
    settings.file = file.map(absolute);
    settings.overlay_path = overlay::path(&settings.dir, file);
    settings.overlay = overlay::read(&settings.overlay_path)?;
    let overridden: Vec<&str> = edits.iter().map(|e| e.path.as_str()).collect();
    let given: Vec<Setting> = settings.settings();
    settings.overlay.params.retain(|param, _| !given_on_command_line(param, &given, &overridden));
    Ok(settings)
}

/// Plugins that an instance without a file loads when their libraries lie beside the binary.
const DEFAULT_PLUGINS: &[&str] = &["replication", "scripting", "persistence-rdb"];

/// The configuration of an instance without a file.
fn default_config() -> String {
    let found = DEFAULT_PLUGINS.iter().filter(|name| lies_beside(name));
    let listed: Vec<String> = found.map(|name| format!("(name: \"{name}\", config: ())")).collect();
    format!("(plugins: [{}])", listed.join(", "))
}

/// Whether a plugin's library lies beside the binary.
pub(crate) fn lies_beside(plugin: &str) -> bool {
    let library = format!("libkeystead_{}.so", plugin.replace('-', "_"));
    beside_binary().is_some_and(|dir| dir.join(library).is_file())
}

/// The folder of this binary.
pub(crate) fn beside_binary() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(Path::to_path_buf)
}

/// Whether an argument set the parameter that CONFIG calls `param`: a core setting by its row, a plugin's by the rule
/// that its field is Redis' name with underscores.
fn given_on_command_line(param: &str, settings: &[Setting], paths: &[&str]) -> bool {
    let row = settings.iter().find(|s| s.redis == Some(param));
    match row {
        Some(setting) => paths.contains(&setting.path),
        None => {
            let field = param.replace('-', "_");
            paths.iter().any(|path| path.split_once('.').is_some_and(|(_, rest)| rest == field))
        }
    }
}

/// Parses and checks a text. Pure: touches no file.
pub(crate) fn parse(name: &str, text: String, edits: &[Edit]) -> Result<Settings, ConfigError> {
    let mut document = Document::new(text);
    for edit in edits {
        document
            .set(&edit.path, &edit.value, &edit.argument)
            .map_err(|message| ConfigError::plain(&edit.argument, message))?;
    }
    let tree: Tree<'_> =
        ron_options().from_str(document.text()).map_err(|e| ConfigError::from_ron(&document, name, &e))?;
    check(&tree, &document, name)?;
    let plugins = tree.plugins.iter().map(|p| plugin_entry(p, &document, name)).collect();
    let dir = absolute(Path::new(&tree.server.dir));
    let plugin_dirs = match tree.plugin_dirs.as_slice() {
        [] => beside_binary().into_iter().collect(),
        dirs => dirs.iter().map(|d| absolute(Path::new(d))).collect(),
    };
    Ok(Settings {
        file: None,
        server: tree.server,
        tls: tree.tls,
        limits: tree.limits,
        memory: tree.memory,
        encoding: tree.encoding,
        expire: tree.expire,
        slowlog: tree.slowlog,
        log: tree.log,
        plugin_dirs,
        plugins,
        services: tree.services,
        overlay: Overlay::default(),
        overlay_path: overlay::path(&dir, None),
        command_line: edits.iter().map(|edit| edit.path.clone()).collect(),
        dir,
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn plugin_entry(plugin: &PluginTree<'_>, document: &Document, file: &str) -> PluginEntry {
    let raw = plugin.config.map_or("()", |raw| raw.get_ron());
    let trimmed = raw.trim_start();
    // A borrowed raw value lies inside the document; `()` for a missing one does not.
    let start = (trimmed.as_ptr() as usize).wrapping_sub(document.text().as_ptr() as usize);
    let (line, column) = match document.origin(start.min(document.text().len())) {
        super::document::Origin::File(offset) if start <= document.text().len() => {
            line_column(document.source(), offset)
        }
        _ => (1, 1),
    };
    let config = RawConfig {
        text: trimmed.trim_end().to_owned(),
        file: file.to_owned(),
        line: line.try_into().unwrap_or(u32::MAX),
        column: column.try_into().unwrap_or(u32::MAX),
    };
    PluginEntry { name: plugin.name.clone(), path: plugin.path.clone(), config }
}

/// What types alone can't say.
fn check(tree: &Tree<'_>, document: &Document, file: &str) -> Result<(), ConfigError> {
    let fail = |field: &str, message: String, help: Option<String>| {
        let at = find_setting(document.text(), field);
        Err(ConfigError::at(document, file, at, message, help))
    };
    if crate::logging::level(&tree.log.level).is_none() {
        let near = nearest(&tree.log.level, crate::logging::LEVELS.iter().copied());
        let help = near.map(|n| format!("did you mean '{n}'?"));
        let message =
            format!("log.level is '{}', expected one of {}", tree.log.level, crate::logging::LEVELS.join(", "));
        return fail("log.level", message, help);
    }
    if tree.server.databases == 0 {
        return fail("server.databases", "server.databases is 0, expected at least 1".into(), None);
    }
    let wrong = |perm: &&String| u32::from_str_radix(perm, 8).map_or(true, |mode| mode > 0o777);
    if let Some(perm) = tree.server.unixsocketperm.as_ref().filter(wrong) {
        let message = format!("server.unixsocketperm is '{perm}', expected octal digits such as \"700\"");
        return fail("server.unixsocketperm", message, None);
    }
    let mut seen = std::collections::BTreeSet::new();
    for plugin in &tree.plugins {
        let ok =
            !plugin.name.is_empty() && plugin.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !ok {
            let message = format!("'{}' is no plugin name: letters, digits, - and _ are", plugin.name);
            return fail("plugins", message, None);
        }
        if !seen.insert(&plugin.name) {
            return fail("plugins", format!("the plugin '{}' is listed twice", plugin.name), None);
        }
    }
    Ok(())
}

/// Where a setting's value begins, or its section, or the file.
fn find_setting(text: &str, path: &str) -> usize {
    let mut range = super::scan::root(text);
    for word in path.split('.') {
        match super::scan::field(text, range.clone(), word) {
            super::scan::Found::Value(next) => range = next,
            _ => break,
        }
    }
    range.start
}

impl Settings {
    /// Every core setting, section by section.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        [
            self.server.settings(),
            self.tls.settings(),
            self.limits.settings(),
            self.memory.settings(),
            self.encoding.settings(),
            self.expire.settings(),
            self.slowlog.settings(),
            self.log.settings(),
        ]
        .concat()
    }
}
