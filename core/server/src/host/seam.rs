//! The seam to the rest of the server: what the host asks of it, and how a configured plugin looks. Types and traits only.
//! Engines are reached through `net::service::Service` and nothing else.

use crate::net::service::Service;
use std::path::PathBuf;
use std::sync::Arc;

/// The server as a whole.
pub(crate) trait ServerShell: Send + Sync {
    /// A fact of the process under a name that plugins know (`dir`, `config_file`, `bind`, `port`, `executable`,
    /// `command_line`: the paths it gave, one a line).
    fn setting(&self, name: &str) -> Option<String>;

    /// A second engine with bound listeners that accept nothing yet.
    fn open_endpoint(&self, spec: &EndpointSpec) -> Result<Arc<Service>, String>;

    /// Closes such an engine's listeners and its clients' connections.
    fn close_endpoint(&self, name: &str);

    /// Writes the overlay, as CONFIG REWRITE does.
    fn rewrite_config(&self) -> Result<(), String>;

    /// Ends the process: cleanly as SIGTERM does, or as failed.
    fn shutdown(&self, clean: bool);

    /// Where the plugins' state files lie.
    fn state_dir(&self) -> PathBuf;
}

/// A port of a plugin's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointSpec {
    /// What it is called in logs and as `redis_mode`.
    pub(crate) name: String,
    /// Addresses; empty means those of the data port.
    pub(crate) bind: Vec<String>,
    /// The port; 0 for TLS only.
    pub(crate) port: u16,
    /// The port for TLS; 0 for none.
    pub(crate) tls_port: u16,
    /// 40 hex characters; empty: a random one.
    pub(crate) run_id: String,
    /// The password; empty for none.
    pub(crate) password: String,
}

/// A plugin as the configuration lists it.
#[derive(Clone, Debug)]
pub(crate) struct PluginEntry {
    /// Its name.
    pub(crate) name: String,
    /// The library.
    pub(crate) path: PathBuf,
    /// Its subtree, unparsed.
    pub(crate) config: ConfigText,
}

/// A subtree of the RON file, and where it starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigText {
    /// The text.
    pub(crate) text: String,
    /// The file.
    pub(crate) file: String,
    /// Line of its first byte, from 1.
    pub(crate) line: u32,
    /// Column of its first byte, from 1, in characters.
    pub(crate) column: u32,
}
