//! Thunks of the plugin itself: the declaration, creation, start, stop, configuration.

use super::guarded;
use super::handlers::failed;
use crate::config::{self, Problem};
use crate::error::Error;
use crate::host::Host;
use crate::logger;
use crate::plugin::{Ending, Plugin, StopReason};
use crate::registrar::Registrar;
use crate::slot::Slot;
use keystead_abi::glue::export_future;
use keystead_abi::{self as abi, Buf, ConfigError, ConfigText, Future, Instance, InstanceApi, PluginDecl, Str};
use std::any::Any;
use std::ffi::c_void;
use std::sync::Arc;

/// What a plugin's library says of itself. `panic_abort` is asked where the library is built, not where the SDK is.
pub const fn declaration<P: Plugin>(panic_abort: bool) -> PluginDecl {
    let abort = if panic_abort { abi::DECL_PANIC_ABORT } else { 0 };
    let endpoint_only = if P::ENDPOINT_ONLY { abi::DECL_ENDPOINT_ONLY } else { 0 };
    PluginDecl {
        magic: abi::MAGIC,
        size: size_of::<PluginDecl>() as u32,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        min_host_minor: 0,
        flags: abort | endpoint_only,
        name: padded(P::NAME),
        version: padded(P::VERSION),
        rustc: padded(env!("KEYSTEAD_RUSTC")),
        create: Some(create::<P>),
        check_config: Some(check_config::<P>),
        describe_config: Some(describe_config::<P>),
        config_needs: Some(config_needs::<P>),
    }
}

/// Text in an inline array; names that are too long fail the build.
const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() < N, "the text doesn't fit into the declaration");
    let mut out = [0; N];
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

struct Live<P> {
    plugin: Arc<P>,
    _kept: Vec<Box<dyn Any + Send>>,
}

struct Tables<P>(std::marker::PhantomData<P>);

impl<P: Plugin> Tables<P> {
    const INSTANCE: &'static InstanceApi = &InstanceApi {
        size: size_of::<InstanceApi>() as u32,
        reserved: 0,
        start: Some(start::<P>),
        stop: Some(stop::<P>),
        reconfigure: Some(reconfigure::<P>),
        export_state: Some(export_state::<P>),
        import_state: Some(import_state::<P>),
        drop: Some(drop_instance::<P>),
        before_end: Some(before_end::<P>),
    };
}

unsafe extern "C" fn create<P: Plugin>(
    host: abi::HostRef,
    registrar: abi::RegistrarRef,
    text: *const ConfigText,
    out: *mut Instance,
    error: *mut ConfigError,
) -> u32 {
    // SAFETY: the host's table lives as long as the process; text and registrar live for the call.
    let (host, text) = unsafe { (Host::from_raw(host), &*text) };
    logger::install(host);
    match guarded(|| build::<P>(host, registrar, text)) {
        Ok(Ok(live)) => {
            let data = Box::into_raw(Box::new(live)).cast();
            // SAFETY: the caller gives room for one instance.
            unsafe { out.write(Instance { data, api: Tables::<P>::INSTANCE }) };
            abi::OK
        }
        // SAFETY: the caller gives room for one error.
        Ok(Err(problem)) => unsafe { refuse(error, problem, abi::ERR) },
        // SAFETY: as above.
        Err(panic) => unsafe { refuse(error, Problem::anywhere(format!("init panicked: {panic}")), abi::PANICKED) },
    }
}

fn build<P: Plugin>(host: Host, raw: abi::RegistrarRef, text: &ConfigText) -> Result<Live<P>, Problem> {
    let parsed = parse::<P>(text)?;
    let slot = Slot::new();
    let mut reg = Registrar { raw, host, slot: slot.clone(), kept: Vec::new(), failure: None, pages: "" };
    let anywhere = |error: Error| Problem::anywhere(error.text().to_owned());
    let plugin = Arc::new(P::init(host, parsed, &mut reg).map_err(anywhere)?);
    if let Some(error) = reg.failure {
        return Err(anywhere(error));
    }
    slot.fill(plugin.clone());
    Ok(Live { plugin, _kept: reg.kept })
}

fn parse<P: Plugin>(raw: &ConfigText) -> Result<P::Config, Problem> {
    // SAFETY: the text lives for the call.
    let text = unsafe { raw.text.bytes() };
    let start = config::Position { line: raw.line, column: raw.column };
    let text = std::str::from_utf8(text).map_err(|_| Problem::at(start, "this is no UTF-8".to_owned()))?;
    let parsed: P::Config = config::parse(text, start)?;
    P::check(&parsed).map_err(|error| Problem::at(start, error.text().to_owned()))?;
    Ok(parsed)
}

/// # Safety
/// `out` has room for one error.
unsafe fn refuse(out: *mut ConfigError, problem: Problem, status: u32) -> u32 {
    let raw = ConfigError {
        line: problem.start.line,
        column: problem.start.column,
        end_line: problem.end.line,
        end_column: problem.end.column,
        message: Buf::new(problem.message),
    };
    // SAFETY: the caller's.
    unsafe { out.write(raw) };
    status
}

unsafe extern "C" fn check_config<P: Plugin>(text: *const ConfigText, error: *mut ConfigError) -> u32 {
    // SAFETY: the text lives for the call.
    let text = unsafe { &*text };
    match guarded(|| parse::<P>(text)) {
        Ok(Ok(_)) => abi::OK,
        // SAFETY: the caller gives room for one error.
        Ok(Err(problem)) => unsafe { refuse(error, problem, abi::ERR) },
        // SAFETY: as above.
        Err(panic) => unsafe { refuse(error, Problem::anywhere(panic), abi::PANICKED) },
    }
}

unsafe extern "C" fn config_needs<P: Plugin>(text: *const ConfigText, out: *mut Buf) -> u32 {
    // SAFETY: the text lives for the call.
    let text = unsafe { &*text };
    let Ok(Ok(needs)) = guarded(|| parse::<P>(text).map(|config| P::needs(&config))) else { return abi::ERR };
    let lines: String =
        needs.iter().map(|need| format!("{}\t{}\t{}\n", need.service, need.plugin, need.place)).collect();
    // SAFETY: the caller gives room for one buffer.
    unsafe { out.write(Buf::new(lines)) };
    abi::OK
}

unsafe extern "C" fn describe_config<P: Plugin>(out: *mut Buf) -> u32 {
    let Ok(Ok(text)) = guarded(|| config::describe(&P::Config::default(), P::CONFIG_DOCS)) else { return abi::ERR };
    // SAFETY: the caller gives room for one buffer.
    unsafe { out.write(Buf::new(text)) };
    abi::OK
}

/// # Safety
/// `data` is the instance made by `create::<P>`.
unsafe fn plugin<P>(data: *mut c_void) -> Arc<P> {
    // SAFETY: the caller's.
    unsafe { &*data.cast::<Live<P>>() }.plugin.clone()
}

/// A plugin's own asynchronous call, handed over.
fn exported<F>(made: Result<F, String>) -> Future
where
    F: std::future::Future<Output = crate::Result<()>> + Send + 'static,
{
    match made {
        Ok(future) => export_future(async move { future.await.map_err(|error| error.text().to_owned()) }),
        Err(panic) => failed(panic),
    }
}

unsafe extern "C" fn start<P: Plugin>(data: *mut c_void) -> Future {
    // SAFETY: `data` belongs to this table.
    let plugin = unsafe { plugin::<P>(data) };
    exported(guarded(|| plugin.start()))
}

unsafe extern "C" fn stop<P: Plugin>(data: *mut c_void, why: u32) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { plugin::<P>(data) };
    exported(guarded(|| plugin.stop(StopReason::from_raw(why))))
}

unsafe extern "C" fn before_end<P: Plugin>(data: *mut c_void, flags: u32) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { plugin::<P>(data) };
    exported(guarded(|| plugin.before_end(Ending::from_raw(flags))))
}

unsafe extern "C" fn reconfigure<P: Plugin>(data: *mut c_void, text: *const ConfigText) -> Future {
    // SAFETY: as above; the text lives for the call.
    let (plugin, text) = unsafe { (plugin::<P>(data), &*text) };
    match guarded(|| parse::<P>(text)) {
        Ok(Ok(config)) => exported(guarded(|| plugin.reconfigure(config))),
        Ok(Err(problem)) => exported(Ok(async move { Err(Error::new(problem.to_string())) })),
        Err(panic) => failed(panic),
    }
}

unsafe extern "C" fn export_state<P: Plugin>(data: *mut c_void, out: *mut Buf) -> u32 {
    // SAFETY: as above.
    let plugin = unsafe { plugin::<P>(data) };
    let Ok(state) = guarded(|| plugin.export_state()) else { return abi::PANICKED };
    // SAFETY: the caller gives room for one buffer.
    unsafe { out.write(Buf::new(state)) };
    abi::OK
}

unsafe extern "C" fn import_state<P: Plugin>(data: *mut c_void, state: Str) -> u32 {
    // SAFETY: as above; the state lives for the call.
    let (plugin, state) = unsafe { (plugin::<P>(data), state.bytes()) };
    match guarded(|| plugin.import_state(state)) {
        Ok(Ok(())) => abi::OK,
        Ok(Err(_)) => abi::ERR,
        Err(_) => abi::PANICKED,
    }
}

unsafe extern "C" fn drop_instance<P: Plugin>(data: *mut c_void) {
    let _ = guarded(|| {
        // SAFETY: dropped once, by the host, which calls no handler any more.
        drop(unsafe { Box::from_raw(data.cast::<Live<P>>()) });
    });
}
