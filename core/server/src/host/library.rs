//! A plugin's library in the process: opened once by its absolute path, never closed once code of it ran.

use super::fall::Told;
use super::scan::{self, Declaration, Refusal};
use super::seam::ConfigText;
use keystead_abi::glue::OwnedBuf;
use keystead_abi::{self as abi, Buf, PluginDecl, Str};
use libloading::os::unix::{Library as Dl, RTLD_LOCAL, RTLD_NOW};
use std::error::Error;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is wrong with a plugin's configuration, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigProblem {
    /// Line in the file, from 1; 0 if no place is known.
    pub(crate) line: u32,
    /// Column, from 1.
    pub(crate) column: u32,
    /// Line where the wrong part ends.
    pub(crate) end_line: u32,
    /// Column behind the wrong part.
    pub(crate) end_column: u32,
    /// What is wrong and what was expected.
    pub(crate) message: String,
}

/// An open library.
pub(crate) struct Library {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What it says of itself.
    pub(crate) declaration: Declaration,
    decl: *const PluginDecl,
    dl: ManuallyDrop<Dl>,
    /// Code of it ran: threads and TLS destructors may point into the text, so it is never closed.
    stays: AtomicBool,
}

// SAFETY: the declaration is never written to, and its functions may be called from any thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// Opens a library that the configuration knows under a name, after everything that can be refused was.
    pub(crate) fn open(path: &Path, name: Option<&str>) -> Result<Library, Refusal> {
        let declaration = scan::scan(path)?;
        if let Some(reason) = declaration.refusal() {
            return Err(Refusal::new(path, reason));
        }
        if let Some(name) = name.filter(|name| *name != declaration.name) {
            let reason = format!("holds the plugin '{}', the configuration calls it '{name}'", declaration.name);
            return Err(Refusal::new(path, reason));
        }
        let absolute = path.canonicalize().map_err(|error| Refusal::new(path, format!("can't be found: {error}")))?;
        let told = Told::opening(path);
        // SAFETY: running the library's constructors is what loading a plugin means; the declaration was checked.
        let dl = unsafe { Dl::open(Some(&absolute), RTLD_NOW | RTLD_LOCAL) };
        drop(told);
        let dl = dl.map_err(|error| Refusal::new(path, format!("can't be loaded: {}", chain(&error))))?;
        // SAFETY: the symbol is a static, so its address is that of the declaration, as the scan's magic says.
        let symbol = unsafe { dl.get::<*mut c_void>(declaration.symbol.as_bytes()) };
        let symbol = symbol.map_err(|error| Refusal::new(path, chain(&error)))?;
        let decl = symbol.as_raw_ptr().cast::<PluginDecl>().cast_const();
        Ok(Library { path: absolute, declaration, decl, dl: ManuallyDrop::new(dl), stays: AtomicBool::new(false) })
    }

    /// The declaration in memory. Only fields that its size covers may be read.
    fn decl(&self) -> &PluginDecl {
        // SAFETY: the static lives as long as the library is mapped.
        unsafe { &*self.decl }
    }

    /// Makes the instance. From here on the library stays mapped.
    pub(crate) fn create(
        &mut self,
        host: abi::HostRef,
        registrar: abi::RegistrarRef,
        config: &ConfigText,
    ) -> Result<abi::Instance, ConfigProblem> {
        let missing =
            || ConfigProblem { message: "its declaration has no create function".into(), ..Default::default() };
        let create = self.decl().create.ok_or_else(missing)?;
        self.stays.store(true, Ordering::Relaxed);
        let mut out = abi::Instance { data: std::ptr::null_mut(), api: std::ptr::null() };
        let mut error = no_error();
        // SAFETY: the function is the library's; every pointer lives for the call.
        let status = unsafe { create(host, registrar, &raw_config(config), &mut out, &mut error) };
        // SAFETY: filled by the library or empty.
        let problem = unsafe { problem(error) };
        match status {
            abi::OK if !out.api.is_null() => complete(out),
            abi::OK => Err(ConfigProblem { message: "create gave no instance".into(), ..Default::default() }),
            _ => Err(explained(problem, status)),
        }
    }

    /// Checks a configuration without side effects.
    pub(crate) fn check_config(&self, config: &ConfigText) -> Result<(), ConfigProblem> {
        let Some(check) = self.decl().check_config else { return Ok(()) };
        self.stays.store(true, Ordering::Relaxed);
        let mut error = no_error();
        // SAFETY: as in `create`.
        let status = unsafe { check(&raw_config(config), &mut error) };
        // SAFETY: filled by the library or empty.
        let problem = unsafe { problem(error) };
        if status == abi::OK { Ok(()) } else { Err(explained(problem, status)) }
    }

    /// Plugins that a configuration names as providers: service, plugin, where it is named. Empty if it can't be read.
    pub(crate) fn config_needs(&self, config: &ConfigText) -> Vec<(String, String, String)> {
        if (self.declaration.size as usize) < size_of::<PluginDecl>() {
            return Vec::new();
        }
        let Some(needs) = self.decl().config_needs else { return Vec::new() };
        self.stays.store(true, Ordering::Relaxed);
        let mut out = Buf::EMPTY;
        // SAFETY: as in `create`; the buffer is ours to own.
        let (_, text) = unsafe { (needs(&raw_config(config), &mut out), OwnedBuf::new(out).text()) };
        let words = |line: &str| {
            let mut words = line.splitn(3, '\t').map(str::to_owned);
            Some((words.next()?, words.next()?, words.next()?))
        };
        text.lines().filter_map(words).collect()
    }

    /// Every key with its default, as RON.
    pub(crate) fn describe_config(&self) -> Option<String> {
        if (self.declaration.size as usize) < offset_of!(PluginDecl, config_needs) {
            return None;
        }
        let describe = self.decl().describe_config?;
        self.stays.store(true, Ordering::Relaxed);
        let mut out = Buf::EMPTY;
        // SAFETY: as in `create`; the buffer is ours to own.
        let (status, text) = unsafe { (describe(&mut out), OwnedBuf::new(out).text()) };
        (status == abi::OK).then_some(text)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if !*self.stays.get_mut() {
            // SAFETY: dropped once; nothing of the library was started.
            unsafe { ManuallyDrop::drop(&mut self.dl) }
        }
    }
}

/// An instance whose table has what every version of this boundary asks for.
fn complete(instance: abi::Instance) -> Result<abi::Instance, ConfigProblem> {
    const LEAST: usize = offset_of!(abi::InstanceApi, before_end);
    // SAFETY: a table begins with its size, and lives as long as the library.
    let size = unsafe { (*instance.api).size } as usize;
    if size < LEAST {
        let message = format!("its instance's table has {size} bytes, at least {LEAST} were expected");
        return Err(ConfigProblem { message, ..Default::default() });
    }
    Ok(instance)
}

fn raw_config(config: &ConfigText) -> abi::ConfigText {
    abi::ConfigText {
        text: Str::new(config.text.as_bytes()),
        file: Str::new(config.file.as_bytes()),
        line: config.line,
        column: config.column,
    }
}

fn no_error() -> abi::ConfigError {
    abi::ConfigError { line: 0, column: 0, end_line: 0, end_column: 0, message: Buf::EMPTY }
}

/// # Safety
/// The message is a buffer of the library's or empty.
unsafe fn problem(error: abi::ConfigError) -> ConfigProblem {
    // SAFETY: the caller's.
    let message = unsafe { OwnedBuf::new(error.message) }.text();
    let abi::ConfigError { line, column, end_line, end_column, .. } = error;
    ConfigProblem { line, column, end_line, end_column, message }
}

/// A problem that has words, at least those of the status.
fn explained(problem: ConfigProblem, status: u32) -> ConfigProblem {
    let word = match status {
        abi::ERR => "KS_ERR",
        abi::PANICKED => "KS_PANICKED",
        _ => "no status of a creation",
    };
    match problem.message.is_empty() {
        true => ConfigProblem { message: format!("refused without a reason (status {status}: {word})"), ..problem },
        false => problem,
    }
}

/// An error with everything behind it: libloading itself says only "dlopen failed".
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
