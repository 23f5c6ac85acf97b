//! Log, clocks, chance, settings.

use super::super::frame;
use super::caller;
use crate::host::guarded;
use crate::net::service::mono_us;
use keystead_abi::{self as abi, Buf, Str};
use log::Level;
use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) unsafe extern "C" fn log(host: *mut c_void, level: u32, target: Str, message: Str) {
    // SAFETY: the contract of `ks_host_api`: the strings live for the call.
    let (plugin, target, message) = unsafe { (caller(host), target.text(), message.text()) };
    let level = match level {
        abi::LOG_ERROR => Level::Error,
        abi::LOG_WARN => Level::Warn,
        abi::LOG_INFO => Level::Info,
        abi::LOG_DEBUG => Level::Debug,
        _ => Level::Trace,
    };
    let _ = guarded(|| {
        let name = format!("plugin::{}", plugin.name);
        log::logger().log(
            &log::Record::builder()
                .level(level)
                .target(&name)
                .module_path(Some(&target))
                .args(format_args!("{message}"))
                .build(),
        );
    });
}

pub(super) unsafe extern "C" fn log_level(_host: *mut c_void) -> u32 {
    log::max_level() as u32
}

pub(super) unsafe extern "C" fn now_us(_host: *mut c_void) -> u64 {
    mono_us()
}

pub(super) unsafe extern "C" fn unix_ms(_host: *mut c_void) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

pub(super) unsafe extern "C" fn random(_host: *mut c_void, buf: *mut u8, len: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: the caller gives room for `len` bytes.
    let buf = unsafe { std::slice::from_raw_parts_mut(buf, len) };
    // A system without random numbers can't start this server at all; ids that repeat would be worse than an end.
    getrandom::fill(buf).expect("the system gives random numbers");
}

pub(super) unsafe extern "C" fn setting(host: *mut c_void, endpoint: u32, name: Str, out: *mut Buf) -> u32 {
    // SAFETY: as above; the caller gives room for one buffer.
    let (plugin, name) = unsafe { (caller(host), name.text()) };
    let value = guarded(|| {
        if name == "data_lost" {
            return Some(plugin.host().lost.load(Ordering::Acquire).to_string());
        }
        // The engine knows what CONFIG SET changed; the server knows the rest.
        let inside = frame::current(|frame| (frame.endpoint == endpoint).then(|| fact(frame.core(), &name)));
        let known = match inside {
            Some(found) => found.flatten(),
            None if frame::in_turn() => None,
            None => plugin.engine(endpoint).and_then(|service| {
                service.turn(|engine| match name.as_ref() {
                    "rdb_version_needed" => Some(super::super::objects::snapshot::needed(&engine.ks).to_string()),
                    "rdb_version_of_own_files" => {
                        Some(super::super::objects::snapshot::of_own_files(engine).to_string())
                    }
                    name => fact(&engine.core, name),
                })
            }),
        };
        known.or_else(|| plugin.host().server.setting(&name))
    });
    match value {
        Ok(Some(value)) => {
            // SAFETY: see above.
            unsafe { out.write(Buf::new(value)) };
            abi::OK
        }
        _ => abi::ERR,
    }
}

/// A fact that the engine knows: the run id, or a parameter of CONFIG.
fn fact(core: &keystead_engine::core::Core, name: &str) -> Option<String> {
    match name {
        "run_id" => Some(core.run_id.clone()),
        "version" => Some(keystead_engine::KEYSTEAD_VERSION.to_owned()),
        "redis_version" => Some(keystead_engine::REDIS_VERSION.to_owned()),
        "stat_resets" => Some(core.stats.resets.to_string()),
        name => core.config.get(name),
    }
}
