//! The handshake: the one static a library exports, read from the ELF file before anything of it runs.
//! Its first fields never change, in any major version; everything a refusal needs is inline, without pointers.

use crate::basic::{Buf, Future, Str};
use crate::host::HostRef;
use crate::macros::{consts, tables};
use crate::registrar::RegistrarRef;
use std::ffi::c_void;

consts! { CONSTS;
    /// `KEYSTEAD` in ASCII, little endian.
    pub const MAGIC: u64 = 0x4441_4554_5359_454B;
    /// The major version of this boundary: hosts refuse any other.
    pub const ABI_MAJOR: u32 = 1;
    /// The minor version: what was appended since the major. 1: `flags_now` and KS_CMD_MAY_BE_SILENT. 2: `enough_replicas_until`.
    pub const ABI_MINOR: u32 = 2;

    /// Declaration flag: the library was built with panic=abort (a panic would end the server: refused).
    pub const DECL_PANIC_ABORT: u64 = 1;
    /// Declaration flag: the plugin serves a port of its own and needs no data port.
    pub const DECL_ENDPOINT_ONLY: u64 = 2;

    /// Stopped because the server shuts down.
    pub const STOP_SHUTDOWN: u32 = 0;
    /// Stopped because the plugin is unloaded. Reserved.
    pub const STOP_UNLOAD: u32 = 1;
    /// Stopped because a newer copy takes over. Reserved.
    pub const STOP_REPLACED: u32 = 2;
    /// Stopped because it panicked.
    pub const STOP_FAULTED: u32 = 3;

    /// How the server is to end: save, configured or not.
    pub const ENDING_SAVE: u32 = 1;
    /// How the server is to end: don't save, configured or not.
    pub const ENDING_NOSAVE: u32 = 2;
    /// How the server is to end: don't wait for replicas that lag.
    pub const ENDING_NOW: u32 = 4;
    /// How the server is to end: whatever fails; a refusal is only logged.
    pub const ENDING_FORCE: u32 = 8;
}

tables! { STRUCTS;
    /// What a library says of itself: the exported static `KEYSTEAD_PLUGIN_<name>`.
    #[derive(Clone, Copy)]
    pub struct PluginDecl = "ks_plugin_decl" {
        /// KS_MAGIC.
        pub magic: u64,
        /// `sizeof(ks_plugin_decl)` where the plugin was built.
        pub size: u32,
        /// KS_ABI_MAJOR where the plugin was built.
        pub abi_major: u32,
        /// KS_ABI_MINOR where the plugin was built.
        pub abi_minor: u32,
        /// The lowest minor version of the host that the plugin can run on.
        pub min_host_minor: u32,
        /// KS_DECL_*.
        pub flags: u64,
        /// The plugin's name, NUL padded.
        pub name: [u8; 64],
        /// The plugin's own version, NUL padded.
        pub version: [u8; 32],
        /// The compiler that built it, NUL padded.
        pub rustc: [u8; 64],
        /// Makes the instance: registers everything, does no I/O and starts nothing. Returns KS_OK or, with `error`
        /// filled, KS_ERR or KS_PANICKED.
        pub create: Option<unsafe extern "C" fn(host: HostRef, registrar: RegistrarRef, config: *const ConfigText, out: *mut Instance, error: *mut ConfigError) -> u32>,
        /// Checks a configuration without side effects. KS_OK, or KS_ERR with `error` filled.
        pub check_config: Option<unsafe extern "C" fn(config: *const ConfigText, error: *mut ConfigError) -> u32>,
        /// Every key with its default, as RON text. No side effects.
        pub describe_config: Option<unsafe extern "C" fn(out: *mut Buf) -> u32>,
        /// Plugins that a configuration names as providers of a service, one a line: service, plugin and the place in the
        /// configuration, with tabs between them. No side effects. KS_OK, or KS_ERR if the configuration can't be read.
        pub config_needs: Option<unsafe extern "C" fn(config: *const ConfigText, out: *mut Buf) -> u32>,
    }

    /// A plugin's subtree of the RON file, as text, and where it starts.
    #[derive(Clone, Copy)]
    pub struct ConfigText = "ks_config_text" {
        /// The subtree's text; empty means every default.
        pub text: Str,
        /// The file it comes from.
        pub file: Str,
        /// The line of its first byte, from 1.
        pub line: u32,
        /// The column of its first byte, from 1, in characters.
        pub column: u32,
    }

    /// Why a configuration is refused, and where.
    pub struct ConfigError = "ks_config_error" {
        /// Line in the file, from 1; 0 if no place is known.
        pub line: u32,
        /// Column, from 1.
        pub column: u32,
        /// Line where the wrong part ends.
        pub end_line: u32,
        /// Column behind the wrong part.
        pub end_column: u32,
        /// What is wrong and what was expected.
        pub message: Buf,
    }

    /// A created plugin.
    #[derive(Clone, Copy)]
    pub struct Instance = "ks_instance" {
        /// The first argument of every function of the table.
        pub data: *mut c_void,
        /// The table.
        pub api: *const InstanceApi,
    }

    /// What the host asks of a created plugin. NULL functions are skipped.
    pub struct InstanceApi = "ks_instance_api" {
        /// `sizeof` of this table where the plugin was built.
        pub size: u32,
        /// Zero.
        pub reserved: u32,
        /// After every plugin was created, providers before their users.
        pub start: Option<unsafe extern "C" fn(data: *mut c_void) -> Future>,
        /// Already unhooked; tasks that are left are cancelled when this is ready or times out. `why`: KS_STOP_*.
        pub stop: Option<unsafe extern "C" fn(data: *mut c_void, why: u32) -> Future>,
        /// A changed subtree of the configuration. Reserved: no host calls it yet.
        pub reconfigure: Option<unsafe extern "C" fn(data: *mut c_void, config: *const ConfigText) -> Future>,
        /// What a newer copy of the plugin needs to go on. Reserved: no host calls it yet.
        pub export_state: Option<unsafe extern "C" fn(data: *mut c_void, out: *mut Buf) -> u32>,
        /// What an older copy exported. Reserved: no host calls it yet.
        pub import_state: Option<unsafe extern "C" fn(data: *mut c_void, state: Str) -> u32>,
        /// Drops the instance.
        pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
        /// The server is asked to end (`flags`: KS_ENDING_*): the time to save and to wait for others, with everything
        /// still running and clients' writes paused. A failure refuses the end. Dropped when it is taken back.
        pub before_end: Option<unsafe extern "C" fn(data: *mut c_void, flags: u32) -> Future>,
    }
}

// SAFETY: a declaration is plain data and function pointers, never written to after the library was built.
unsafe impl Sync for PluginDecl {}
