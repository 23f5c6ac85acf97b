//! From a file and a command line to settings: read, edit, parse, check. Precedence: built-in values, the RON file, the
//! state overlay, the command line.

use super::directives;
use super::document::{Document, Origin, quote, ron_of_argument};
use super::overlay::{self, Overlay};
use super::report::{ConfigError, line_column, nearest, offset_of};
use super::sections::{Encoding, Expire, Limits, Log, Memory, Server, Setting, Slowlog, Tls};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// A path of its own, when the library lies elsewhere; absolute.
    pub(crate) path: Option<PathBuf>,
    /// Its subtree as text, with where it begins in the file.
    pub(crate) config: RawConfig,
}

impl PluginEntry {
    /// Something is wrong with the entry itself.
    pub(crate) fn refused(&self, message: String, help: Option<String>) -> ConfigError {
        ConfigError::at(&self.config.document, &self.config.file, self.config.entry, message, help)
    }
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
    /// Where it begins in the edited text; None if it isn't there.
    start: Option<usize>,
    /// Where the plugin's name stands there.
    entry: usize,
    /// The whole, for where an error's place came from.
    document: Arc<Document>,
}

impl RawConfig {
    /// What the plugin says is wrong at a place, as it counts: lines and columns of the file, on from the first of the
    /// subtree. An argument that brought the text there is named instead.
    pub(crate) fn mistake(&self, (line, column): (u32, u32), message: String) -> ConfigError {
        let Some(start) = self.start else {
            return ConfigError::at(&self.document, &self.file, self.entry, message, None);
        };
        if line < self.line {
            return ConfigError::in_file(&self.file, (line as usize, column as usize), message);
        }
        let at = start + self.named(&message).unwrap_or_else(|| self.offset(&self.text, (line, column)));
        ConfigError::at(&self.document, &self.file, at, message, None)
    }

    /// Where the field stands that a message begins with. What a plugin finds behind the parse it tells by path, as
    /// `monitors: "mymaster": host: …`, and knows no better place than the end of the value. A name in quotes is an entry's.
    fn named(&self, message: &str) -> Option<usize> {
        let (mut range, mut at) = (0..self.text.len(), None);
        for word in message.split(": ").skip_while(|word| word.starts_with("plugin '")) {
            let Some(next) = below(&self.text, range, word) else { break };
            at = Some(next.start);
            range = next;
        }
        at
    }

    /// The byte of the subtree at a place as the plugin counts.
    fn offset(&self, text: &str, (line, column): (u32, u32)) -> usize {
        let row = line.saturating_sub(self.line) as usize + 1;
        let column = if row == 1 { column.saturating_sub(self.column) + 1 } else { column };
        offset_of(text, row, column as usize)
    }

    /// The text as the plugin understands it: a bare word of the command line came as a string, and where the plugin wants
    /// a name of its own (`fsync=always`) it is one; what looks like a number or a name is a string where it wants one (a
    /// password of digits). `problem` says at which place the plugin refuses a text.
    pub(crate) fn understood(&self, problem: impl Fn(&str) -> Option<(u32, u32)>) -> String {
        let Some(start) = self.start else { return self.text.clone() };
        let given = self.document.arguments(start..start + self.text.len());
        let (mut text, mut shorter) = (self.text.clone(), 0);
        for _ in 0..given {
            let Some(place) = problem(&text) else { return text };
            let at = self.offset(&text, place);
            let at = at + text[at..].len() - text[at..].trim_start().len();
            let from = (start + at).saturating_add_signed(shorter);
            if !matches!(self.document.origin(from), Origin::Argument(_)) {
                break;
            }
            let mut other = text.clone();
            if let Some(word) = quoted_word(&text[at..]) {
                let name = if word.contains('-') { format!("r#{word}") } else { word.to_owned() };
                other.replace_range(at..at + word.len() + 2, &name);
            } else {
                let word = bare_word(&text[at..]);
                other.replace_range(at..at + word.len(), &quote(word));
                if word.is_empty() || problem(&other) == Some(place) {
                    break;
                }
            }
            shorter += text.len() as isize - other.len() as isize;
            text = other;
        }
        text
    }
}

/// The text that settings came from, to show where one of them stands.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    document: Arc<Document>,
    name: String,
}

impl Source {
    /// What is wrong with the setting at a path (`server.bind`, `server.users.0`): shown in its line, or that of its section.
    pub(crate) fn blame(&self, path: &str, message: String, help: Option<String>) -> ConfigError {
        let at = find_setting(self.document.text(), path);
        ConfigError::at(&self.document, &self.name, at, message, help)
    }
}

/// All settings of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where they were read.
    pub(crate) source: Source,
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
    /// What CONFIG REWRITE kept, less what the command line gives of the core's settings.
    pub(crate) overlay: Overlay,
    /// What is to be said of it once there is a log.
    pub(crate) remarks: Vec<String>,
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
            let bytes = std::fs::read(path)
                .map_err(|e| ConfigError::plain(&name, format!("can't read the configuration: {e}")))?;
            let text = String::from_utf8(bytes).map_err(|e| ConfigError::not_utf8(&name, e.as_bytes()))?;
            (name, text)
        }
    };
    let mut settings = parse(&name, text, edits)?;
    settings.remarks.extend(file.is_none().then(missing_by_default).flatten());
    settings.file = file.map(absolute);
    settings.overlay_path = overlay::path(&settings.dir, file);
    if settings.dir.to_str().is_none() {
        // It would be another folder in CONFIG, in the overlay and to plugins.
        let message = format!("server.dir: the folder {} has a name that isn't UTF-8", settings.dir.display());
        return Err(ConfigError::plain(&name, message));
    }
    crate::dir::usable(&settings.dir).map_err(|message| settings.source.blame("server.dir", message, None))?;
    match overlay::read(&settings.overlay_path)? {
        Some(overlay) => settings.overlay = overlay,
        None => settings.remarks.push(format!("{} is empty and passed over", settings.overlay_path.display())),
    }
    settings.remarks.extend(overlay::strangers(&settings.overlay_path, file));
    let (rows, paths) = (settings.settings(), settings.command_line.clone());
    let gave_way = settings.overlay.give_way(|port, param| given(port, param, &rows, &paths));
    settings.remarks.extend(gave_way.iter().map(|gone| gone.told(&settings.overlay_path)));
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

/// What the built-in configuration has to do without.
fn missing_by_default() -> Option<String> {
    let missing: Vec<&str> = DEFAULT_PLUGINS.iter().copied().filter(|name| !lies_beside(name)).collect();
    let folder = beside_binary().unwrap_or_default();
    (!missing.is_empty()).then(|| {
        let (names, folder) = (missing.join(", "), folder.display());
        format!("Started without {names}: their libraries (libkeystead_*.so) are not beside the binary in {folder}")
    })
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

/// Of a plugin's port these are the plugin's word, not the core's.
const OF_A_PORT: &[&str] = &["port", "tls-port", "bind", "requirepass", "unixsocket"];

/// The path by which the command line gave a parameter of the core. (What a plugin's paths give, the plugin knows.)
fn given(port: &str, param: &str, rows: &[Setting], paths: &[String]) -> Option<String> {
    if !port.is_empty() && OF_A_PORT.contains(&param) {
        return None;
    }
    let row = rows.iter().find(|row| row.redis == Some(param))?;
    let within =
        |path: &&String| path.strip_prefix(row.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    paths.iter().find(within).cloned()
}

/// Parses and checks a text. Pure: touches no file. What the command line gives is a number or a name by its looks; where
/// a string is wanted it is one (a password of digits).
pub(crate) fn parse(name: &str, text: String, edits: &[Edit]) -> Result<Settings, ConfigError> {
    let mut edits = edits.to_vec();
    loop {
        let refused = match parse_as_given(name, text.clone(), &edits) {
            Err(refused) if refused.wants_string() => refused,
            done => return done,
        };
        let bare = |edit: &&mut Edit| edit.argument == refused.file && !edit.value.starts_with(['"', '[', '(', '{']);
        let Some(edit) = edits.iter_mut().find(bare) else { return Err(refused) };
        edit.value = quote(&edit.value);
    }
}

fn parse_as_given(name: &str, text: String, edits: &[Edit]) -> Result<Settings, ConfigError> {
    let mut document = Document::new(text);
    if let Some((at, told)) = directives::redis_conf(document.source()) {
        let message = "this looks like a configuration of Redis; Keystead reads RON".to_owned();
        let told = told.map(|told| format!("{told}; ")).unwrap_or_default();
        let help = format!(
            "{told}configs/all-keys.ron shows every setting, configs/DIRECTIVES.md where each directive is set"
        );
        return Err(ConfigError::at(&document, name, at, message, Some(help)));
    }
    if super::scan::root(document.text()).is_empty() {
        // A file in which nothing is set, as an empty redis.conf.
        document = Document::new(format!("{}\n()", document.source()));
    }
    for edit in edits {
        document
            .set(&edit.path, &edit.value, &edit.argument)
            .map_err(|message| ConfigError::plain(&edit.argument, message))?;
    }
    let document = Arc::new(document);
    let tree: Tree<'_> =
        ron_options().from_str(document.text()).map_err(|e| ConfigError::from_ron(&document, name, &e))?;
    check(&tree, &document, name)?;
    let plugins = tree.plugins.iter().enumerate();
    let plugins = plugins.map(|(index, plugin)| plugin_entry(plugin, index, &document, name)).collect();
    let dir = absolute(Path::new(&tree.server.dir));
    let socket = tree.server.unixsocket.as_ref().filter(|path| !path.is_empty()).map(|path| dir.join(path));
    if let Some(path) = socket.filter(|path| path.as_os_str().len() > MOST_OF_A_SOCKET) {
        let at = find_setting(document.text(), "server.unixsocket");
        let path = path.display();
        let message = format!("server.unixsocket: {path} is too long: the system takes {MOST_OF_A_SOCKET} bytes");
        return Err(ConfigError::at(&document, name, at, message, None));
    }
    // The server's own plugins lie beside it, whatever else is searched before.
    let plugin_dirs = tree.plugin_dirs.iter().map(|d| absolute(Path::new(d))).chain(beside_binary()).collect();
    Ok(Settings {
        source: Source { document: document.clone(), name: name.to_owned() },
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
        remarks: Vec::new(),
        overlay_path: overlay::path(&dir, None),
        command_line: edits.iter().map(|edit| edit.path.clone()).collect(),
        dir,
    })
}

/// The core's settings as they are without a file.
pub(super) fn default_settings() -> Vec<Setting> {
    parse(DEFAULT_NAME, "()".into(), &[]).map(|settings| settings.settings()).unwrap_or_default()
}

/// The word in quotes that a text begins with.
fn quoted_word(text: &str) -> Option<&str> {
    let (word, _) = text.strip_prefix('"')?.split_once('"')?;
    let letters = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    (letters && word.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(word)
}

/// What a text begins with up to the end of a value without brackets and quotes.
fn bare_word(text: &str) -> &str {
    let end = text.find(|c: char| c.is_whitespace() || "\"'()[]{},:".contains(c));
    &text[..end.unwrap_or(text.len())]
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn plugin_entry(plugin: &PluginTree<'_>, index: usize, document: &Arc<Document>, file: &str) -> PluginEntry {
    let raw = plugin.config.map_or("()", |raw| raw.get_ron());
    let trimmed = raw.trim_start();
    // A borrowed raw value lies inside the document; `()` for a missing one does not.
    let start = (trimmed.as_ptr() as usize).wrapping_sub(document.text().as_ptr() as usize);
    let start = Some(start).filter(|start| *start <= document.text().len());
    let (line, column) = match start.map(|start| document.origin(start)) {
        Some(Origin::File(offset)) => line_column(document.source(), offset),
        _ => (1, 1),
    };
    let config = RawConfig {
        text: trimmed.trim_end().to_owned(),
        file: file.to_owned(),
        line: line.try_into().unwrap_or(u32::MAX),
        column: column.try_into().unwrap_or(u32::MAX),
        start,
        entry: document.place_of_entry(index),
        document: document.clone(),
    };
    let path = plugin.path.as_deref().map(|path| absolute(Path::new(path)));
    PluginEntry { name: plugin.name.clone(), path, config }
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
    if !(1..=MOST_DATABASES).contains(&tree.server.databases) {
        let message = format!("server.databases is {}, expected 1 to {MOST_DATABASES}", tree.server.databases);
        return fail("server.databases", message, None);
    }
    if let Some(address) = tree.server.bind.iter().find(|address| !could_be_an_address(address)) {
        return fail("server.bind", format!("server.bind has '{address}', which is no address"), None);
    }
    let wrong = |perm: &&String| u32::from_str_radix(perm, 8).map_or(true, |mode| mode > 0o777);
    if let Some(perm) = tree.server.unixsocketperm.as_ref().filter(wrong) {
        let message = format!("server.unixsocketperm is '{perm}', expected octal digits such as \"700\"");
        return fail("server.unixsocketperm", message, None);
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, plugin) in tree.plugins.iter().enumerate() {
        let refuse = |message| Err(ConfigError::at(document, file, document.place_of_entry(index), message, None));
        let ok =
            !plugin.name.is_empty() && plugin.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !ok {
            return refuse(format!("'{}' is no plugin name: letters, digits, - and _ are", plugin.name));
        }
        if !seen.insert(&plugin.name) {
            return refuse(format!("the plugin '{}' is listed twice", plugin.name));
        }
    }
    Ok(())
}

/// Each has tables of its own from the start.
const MOST_DATABASES: u32 = 1 << 20;

/// What the system's address of a unix socket holds, less the zero at its end.
const MOST_OF_A_SOCKET: usize = 107;

/// False for what is written like an address and is none. Names are looked up at the start.
pub(crate) fn could_be_an_address(text: &str) -> bool {
    let host = text.strip_prefix('-').unwrap_or(text);
    let parts: Vec<&str> = host.split('.').collect();
    let numbers = parts.len() == 4 && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    match host {
        "*" | "::*" => true,
        _ if numbers => parts.iter().all(|part| part.parse::<u8>().is_ok()),
        _ if host.contains(':') => host.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        _ => true,
    }
}

/// A field of a value, or the entry of a list that has a name, as messages write them.
fn below(text: &str, value: Range<usize>, word: &str) -> Option<Range<usize>> {
    let name = |entry: &Range<usize>| match super::scan::field(text, entry.clone(), "name") {
        super::scan::Found::Value(name) => text[name] == *word,
        _ => false,
    };
    if word.starts_with('"') {
        return super::scan::elements(text, value)?.into_iter().find(name);
    }
    match super::scan::field(text, value, word) {
        super::scan::Found::Value(next) => Some(next),
        _ => None,
    }
}

/// Where a setting's value begins, or its section, or the file. A number is the place in a list.
fn find_setting(text: &str, path: &str) -> usize {
    let mut range = super::scan::root(text);
    for word in path.split('.') {
        let below = match word.parse::<usize>() {
            Ok(index) => super::scan::elements(text, range.clone()).and_then(|all| all.get(index).cloned()),
            Err(_) => below(text, range.clone(), word),
        };
        let Some(next) = below else { break };
        range = next;
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
