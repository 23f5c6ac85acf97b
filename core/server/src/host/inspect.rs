//! What can be said of a library without starting it: for `keystead plugin inspect` and `keystead check`.

use super::library::{ConfigProblem, Library};
use super::scan::{self, Refusal};
use super::seam::{ConfigText, PluginEntry};
use crate::config::report::nearest;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What a library says of itself, whether this host would load it, and why not. `Err` if it would not.
pub(crate) fn inspect(path: &Path) -> Result<String, String> {
    let declaration = scan::scan(path).map_err(|refusal| refusal.to_string())?;
    let or_unknown = |text: &str| if text.is_empty() { "not said".to_owned() } else { text.to_owned() };
    let rows = [
        ("file", path.display().to_string()),
        ("plugin", or_unknown(&declaration.name)),
        ("version", or_unknown(&declaration.version)),
        ("boundary", format!("{}.{}", declaration.major, declaration.minor)),
        ("compiler", or_unknown(&declaration.compiler)),
        ("data port", if declaration.endpoint_only() { "not needed" } else { "used" }.to_owned()),
    ];
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect();
    let refused = match declaration.refusal() {
        Some(reason) => Err(Refusal::new(path, reason)),
        None => Library::open(path, None),
    };
    let library = refused.map_err(|refusal| format!("{text}loads       no\n{refusal}"))?;
    text.push_str("loads       yes\n");
    if let Some(config) = library.describe_config() {
        let _ = write!(text, "\nEvery key with its default:\n{config}");
    }
    Ok(text)
}

/// Checks a plugin's subtree against its library, without starting it, and that the plugins it names as providers of
/// services are among those `listed`.
pub(crate) fn check_config(entry: &PluginEntry, listed: &[&str]) -> Result<(), CheckError> {
    let library = Library::open(&entry.path, Some(&entry.name)).map_err(CheckError::Library)?;
    library.check_config(&entry.config).map_err(CheckError::Config)?;
    let missing = library.config_needs(&entry.config).into_iter().find(|(_, plugin, _)| !listed.contains(&&**plugin));
    let Some((service, plugin, place)) = missing else { return Ok(()) };
    let meant =
        nearest(&plugin, listed.iter().copied()).map_or(String::new(), |name| format!("; did you mean '{name}'?"));
    let message = format!(
        "{place}: no plugin '{plugin}' is listed that could provide {service}: add (name: \"{plugin}\") to `plugins`{meant}"
    );
    let (line, column) = (entry.config.line, entry.config.column);
    Err(CheckError::Config(ConfigProblem { line, column, end_line: line, end_column: column, message }))
}

/// The place at which a plugin refuses a configuration. None, too, if its library can't be asked.
pub(crate) fn problem(path: &Path, name: &str, config: &ConfigText) -> Option<(u32, u32)> {
    let problem = Library::open(path, Some(name)).ok()?.check_config(config).err()?;
    Some((problem.line, problem.column))
}

/// Why a plugin's entry is refused.
#[derive(Debug)]
pub(crate) enum CheckError {
    /// The library.
    Library(Refusal),
    /// The subtree.
    Config(ConfigProblem),
}

/// The library of a plugin: `libkeystead_<name>.so`, dashes as underscores, in the first folder that has it.
pub(crate) fn find(name: &str, dirs: &[PathBuf]) -> Result<PathBuf, String> {
    let file = format!("libkeystead_{}.so", name.replace('-', "_"));
    let found = dirs.iter().map(|dir| dir.join(&file)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let looked: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        format!("the plugin '{name}' was not found: there is no {file} in {}", looked.join(", "))
    })
}

/// The plugins whose libraries lie in the folders, as they call themselves.
pub(crate) fn names(dirs: &[PathBuf]) -> Vec<String> {
    let entries = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().filter_map(Result::ok);
    let library = |name: &str| name.starts_with("libkeystead_") && name.ends_with(".so");
    let found = entries.filter(|entry| entry.file_name().to_str().is_some_and(library));
    found.filter_map(|entry| scan::scan(&entry.path()).ok()).map(|declaration| declaration.name).collect()
}

/// Whether the library's plugin needs no data port.
pub(crate) fn endpoint_only(path: &Path) -> Result<bool, Refusal> {
    scan::scan(path).map(|declaration| declaration.endpoint_only())
}
