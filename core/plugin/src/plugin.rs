//! The trait a plugin author implements, and the macro that exports it.

use crate::error::Result;
use crate::host::Host;
use crate::registrar::Registrar;
use serde::{Serialize, de::DeserializeOwned};
use std::future::Future;
use std::sync::Arc;

/// Why a plugin is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The server shuts down.
    Shutdown,
    /// The plugin is unloaded. Reserved: no server does that today.
    Unload,
    /// A newer copy takes over. Reserved: no server does that today.
    Replaced,
    /// It panicked.
    Faulted,
}

impl StopReason {
    pub(crate) fn from_raw(raw: u32) -> StopReason {
        match raw {
            keystead_abi::STOP_UNLOAD => StopReason::Unload,
            keystead_abi::STOP_REPLACED => StopReason::Replaced,
            keystead_abi::STOP_FAULTED => StopReason::Faulted,
            _ => StopReason::Shutdown,
        }
    }
}

/// How the server is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Save, configured or not (`SAVE`); don't, configured or not (`NOSAVE`); as configured.
    pub save: Option<bool>,
    /// Don't wait for replicas that lag.
    pub now: bool,
    /// The end comes whatever fails: an error is only logged.
    pub force: bool,
}

impl Ending {
    pub(crate) fn from_raw(flags: u32) -> Ending {
        let has = |flag: u32| flags & flag != 0;
        let save = match (has(keystead_abi::ENDING_SAVE), has(keystead_abi::ENDING_NOSAVE)) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        Ending { save, now: has(keystead_abi::ENDING_NOW), force: has(keystead_abi::ENDING_FORCE) }
    }
}

/// A plugin that a configuration names as the provider of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The service.
    pub service: String,
    /// The plugin.
    pub plugin: String,
    /// Where in the configuration it is named, for people.
    pub place: String,
}

/// A plugin. One instance per loaded library.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// The name under which the configuration finds it: the library is `libkeystead_<name>.so`.
    const NAME: &'static str;
    /// The plugin's own version.
    const VERSION: &'static str = "0.1.0";
    /// True if the plugin serves a port of its own and needs no data port.
    const ENDPOINT_ONLY: bool = false;
    /// What each field of the configuration means, for `describe_config`: field, one line. The line may begin with the CONFIG
    /// parameters that the field gives a value, and a colon: `("timeout_s", "repl-timeout: silence that ends a link")`. A value
    /// from the command line (`--set`) then wins over what CONFIG REWRITE kept for them.
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = &[];
    /// The plugin's subtree of the RON file. Use `#[serde(deny_unknown_fields, default)]`.
    type Config: Serialize + DeserializeOwned + Default + Send + 'static;

    /// Whether a configuration that parses makes sense. No side effects.
    fn check(config: &Self::Config) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// The plugins that a configuration names as providers: `keystead check` says which of them aren't listed. Whether they
    /// provide it is for [`Plugin::start`] to see.
    fn needs(config: &Self::Config) -> Vec<Named> {
        let _ = config;
        Vec::new()
    }

    /// Pure declaration: commands, hooks, services, INFO. No I/O but [`Host::read_state`], no tasks.
    fn init(host: Host, config: Self::Config, reg: &mut Registrar<Self>) -> Result<Self>;

    /// After every plugin's `init`, providers before their users.
    fn start(self: Arc<Self>) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// The server is asked to end: the time to save and to wait for others. Everything still runs, only clients' writes
    /// are paused, and there is no limit of time, but a few seconds where the end is wanted now and nothing is to be saved
    /// (SHUTDOWN NOW NOSAVE). An error refuses the end (its text goes to the log). The future is
    /// dropped if the end is taken back (SHUTDOWN ABORT). Users of a service are asked before its providers.
    fn before_end(self: Arc<Self>, how: Ending) -> impl Future<Output = Result<()>> + Send {
        let _ = how;
        async { Ok(()) }
    }

    /// Already unhooked; the core cancels the plugin's tasks after this returns or times out.
    fn stop(self: Arc<Self>, why: StopReason) -> impl Future<Output = Result<()>> + Send {
        let _ = why;
        async { Ok(()) }
    }

    /// A changed configuration. Reserved: no server calls this today; parameters of CONFIG SET are
    /// [`Registrar::config_param`].
    fn reconfigure(self: Arc<Self>, config: Self::Config) -> impl Future<Output = Result<()>> + Send {
        let _ = config;
        async { Err("a changed configuration needs a restart".into()) }
    }

    /// What a newer copy of the plugin needs to go on. Reserved: no server calls this today.
    fn export_state(&self) -> Vec<u8> {
        Vec::new()
    }

    /// What an older copy exported. Reserved: no server calls this today.
    fn import_state(&self, state: &[u8]) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// Exports a plugin: `export_plugin!(Type, KEYSTEAD_PLUGIN_<name>)`. One exported name per plugin, so that several can
/// be linked into one test binary.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty, $symbol:ident) => {
        /// What this library says of itself to the host, read from the file before anything of it runs.
        #[unsafe(no_mangle)]
        #[used]
        #[allow(non_upper_case_globals)]
        pub static $symbol: $crate::abi::PluginDecl = $crate::thunk::declaration::<$plugin>(cfg!(panic = "abort"));
    };
}
