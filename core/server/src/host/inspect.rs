//! What can be said of a library without starting it: for `keystead plugin inspect` and `keystead check`.

use super::library::{ConfigProblem, Library};
use super::scan::{self, Refusal};
use super::seam::ConfigText;
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

/// Checks a plugin's subtree against its library, without starting it.
pub(crate) fn check_config(path: &Path, name: &str, config: &ConfigText) -> Result<(), CheckError> {
    let library = Library::open(path, Some(name)).map_err(CheckError::Library)?;
    library.check_config(config).map_err(CheckError::Config)
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

/// Whether the library's plugin needs no data port.
pub(crate) fn endpoint_only(path: &Path) -> Result<bool, Refusal> {
    scan::scan(path).map(|declaration| declaration.endpoint_only())
}
