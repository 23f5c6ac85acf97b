//! Every library has its own `log` and its own panic hook: both are pointed at the host.

use crate::host::Host;
use keystead_abi::Str;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::OnceLock;

static HOST: OnceLock<Host> = OnceLock::new();
static LOGGER: HostLogger = HostLogger;

struct HostLogger;

impl Log for HostLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The host is asked each time: CONFIG SET loglevel counts for plugins too.
        HOST.get().is_some_and(|host| level_number(metadata.level()) <= host_level(host))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(host) = HOST.get() {
            write(host, record.level(), record.target(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn level_number(level: Level) -> u32 {
    match level {
        Level::Error => keystead_abi::LOG_ERROR,
        Level::Warn => keystead_abi::LOG_WARN,
        Level::Info => keystead_abi::LOG_INFO,
        Level::Debug => keystead_abi::LOG_DEBUG,
        Level::Trace => keystead_abi::LOG_TRACE,
    }
}

/// The most talkative level that the host prints.
fn host_level(host: &Host) -> u32 {
    // SAFETY: plain call.
    unsafe { (host.api().log_level)(host.data()) }
}

fn write(host: &Host, level: Level, target: &str, message: &str) {
    let (level, target, message) = (level_number(level), Str::new(target.as_bytes()), Str::new(message.as_bytes()));
    // SAFETY: the strings live for the call.
    unsafe { (host.api().log)(host.data(), level, target, message) }
}

/// Points this library's `log` and panic hook at the host. Only the first call counts, as one library has one instance.
pub(crate) fn install(host: Host) {
    if HOST.set(host).is_err() {
        return;
    }
    // In a test binary that links plugins a logger may be there already; then that one stays.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
    std::panic::set_hook(Box::new(|info| {
        if let Some(host) = HOST.get() {
            write(host, Level::Error, "panic", &info.to_string().replace('\n', " "));
        }
    }));
}
