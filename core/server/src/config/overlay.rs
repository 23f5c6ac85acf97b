//! The state overlay: what CONFIG SET changed and CONFIG REWRITE kept. It lies beside the instance's data and beats the
//! user's RON file, which is never rewritten.

use super::document::quote;
use super::report::ConfigError;
use crate::replace::{own_temporary, replace};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The head of the file, for people who find it.
const HEAD: &str =
    "// Written by CONFIG REWRITE. It beats the RON file; the command line beats it. Delete it to forget.\n";

/// The file's content: values under Redis' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Overlay {
    /// Parameter and value, in the words of CONFIG SET.
    pub(crate) params: BTreeMap<String, String>,
    /// The same for ports of plugins, by the port's name.
    pub(crate) endpoints: BTreeMap<String, BTreeMap<String, String>>,
    /// Users that ACL commands changed, as lines, by the port's name (empty: the port with the keys).
    pub(crate) users: BTreeMap<String, Vec<String>>,
}

/// A parameter that was kept and gives way to the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GaveWay {
    /// Its name.
    pub(crate) param: String,
    /// The path that the command line gave.
    pub(crate) path: String,
}

impl GaveWay {
    /// The line for the log.
    pub(crate) fn told(&self, overlay: &Path) -> String {
        format!("{}: '{}' is passed over: the command line gives {}", overlay.display(), self.param, self.path)
    }
}

impl Overlay {
    /// Takes out what the command line gives: `given` knows the path for a port's name and a parameter.
    pub(crate) fn give_way(&mut self, given: impl Fn(&str, &str) -> Option<String>) -> Vec<GaveWay> {
        let mut gone = Vec::new();
        let own = std::iter::once(("", &mut self.params));
        let maps = own.chain(self.endpoints.iter_mut().map(|(name, params)| (name.as_str(), params)));
        for (port, params) in maps {
            params.retain(|param, _| match given(port, param) {
                Some(path) => {
                    gone.push(GaveWay { param: param.clone(), path });
                    false
                }
                None => true,
            });
        }
        gone
    }
}

/// How overlays' names end.
const SUFFIX: &str = ".overlay.ron";

/// Where the overlay of an instance lies: in its folder, named after its configuration file.
pub(crate) fn path(dir: &Path, config_file: Option<&Path>) -> PathBuf {
    let stem = config_file.and_then(Path::file_stem).and_then(|s| s.to_str()).unwrap_or("keystead");
    dir.join(format!("{stem}{SUFFIX}"))
}

/// Reads it; a missing file is an empty overlay, and one without a byte is None: whatever left it, nothing is in it.
pub(crate) fn read(path: &Path) -> Result<Option<Overlay>, ConfigError> {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(Overlay::default())),
        Err(e) => return Err(ConfigError::plain(&name, format!("can't be read: {e}"))),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let document = super::document::Document::new(text);
    let overlay = super::load::ron_options().from_str(document.text());
    overlay.map(Some).map_err(|e| ConfigError::from_ron(&document, &name, &e))
}

/// What is to be said where there is none, but there are those of other configuration files that aren't there any more: whoever
/// renamed his file lacks all that CONFIG REWRITE kept for it, users and passwords among it.
pub(crate) fn strangers(path: &Path, config_file: Option<&Path>) -> Option<String> {
    if path.exists() {
        return None;
    }
    let (dir, own) = (path.parent()?, path.file_name()?.display());
    // Another instance's, which lives in the same folder.
    let in_use = |overlay: &String| {
        let stem = overlay.strip_suffix(SUFFIX).unwrap_or_default();
        config_file.is_some_and(|file| file.with_file_name(format!("{stem}.ron")).exists())
    };
    let names = std::fs::read_dir(dir).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut others: Vec<String> = names.filter(|name| name.ends_with(SUFFIX) && !in_use(name)).collect();
    others.sort_unstable();
    let (others, dir) = (others.join(", "), dir.display());
    let told = format!("{others} in {dir} is passed over: this configuration's is called {own}");
    (!others.is_empty()).then_some(told)
}

/// Writes it so that a crash leaves the old or the new one.
pub(crate) fn write(path: &Path, overlay: &Overlay) -> io::Result<()> {
    let mut text = format!("{HEAD}(\n    params: {},\n    endpoints: {{\n", map(&overlay.params, 1));
    for (name, params) in &overlay.endpoints {
        text.push_str(&format!("        {}: {},\n", quote(name), map(params, 2)));
    }
    text.push_str("    },\n    users: {\n");
    for (name, lines) in &overlay.users {
        let lines: String = lines.iter().map(|line| format!("            {},\n", quote(line))).collect();
        text.push_str(&format!("        {}: [\n{lines}        ],\n", quote(name)));
    }
    text.push_str("    },\n)\n");
    replace(path, &own_temporary(path), text.as_bytes())
}

/// A map of texts in RON, its closing bracket at a depth of indentation.
fn map(params: &BTreeMap<String, String>, depth: usize) -> String {
    let indent = "    ".repeat(depth);
    let rows = params.iter().map(|(name, value)| format!("{indent}    {}: {},\n", quote(name), quote(value)));
    format!("{{\n{}{indent}}}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = path(dir.path(), Some(Path::new("/etc/node-6380.ron")));
        assert!(file.ends_with("node-6380.overlay.ron"));
        assert_eq!(read(&file).expect("missing is empty"), Some(Overlay::default()));
        let mut overlay = Overlay::default();
        overlay.params.insert("maxclients".into(), "5".into());
        overlay.params.insert("requirepass".into(), "a \"b\" \\ \n".into());
        overlay.endpoints.entry("sentinel".into()).or_default().insert("maxclients".into(), "6".into());
        overlay.users.insert(String::new(), vec!["user default on nopass ~* &* +@all".into()]);
        write(&file, &overlay).expect("written");
        assert_eq!(read(&file).expect("read"), Some(overlay));
        assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 1);
        std::fs::write(&file, "\n").expect("written");
        assert_eq!(read(&file).expect("nothing is no mistake"), None);
        std::fs::write(&file, "(parms: {})").expect("written");
        let error = read(&file).expect_err("unknown field");
        assert!(error.to_string().contains("did you mean 'params'?"), "{error}");
    }
}
