//! The functions behind `ks_host_api`, by topic. A panic in them is caught and becomes a failure of the call.

mod basic;
mod durable;
mod engine;
mod journal;
mod state;
mod task;

pub(super) use journal::class_of;

use super::guarded;
use super::plugin::Plugin;
use keystead_abi::glue::export_future;
use keystead_abi::{self as abi, Future, HostApi, Out};
use std::ffi::c_void;

/// The table. `data` is the plugin.
pub(super) static API: HostApi = HostApi {
    size: size_of::<HostApi>() as u32,
    abi_major: abi::ABI_MAJOR,
    abi_minor: abi::ABI_MINOR,
    reserved: 0,
    log: basic::log,
    log_level: basic::log_level,
    now_us: basic::now_us,
    unix_ms: basic::unix_ms,
    random: basic::random,
    setting: basic::setting,
    spawn: task::spawn,
    cancel: task::cancel,
    sleep_us: task::sleep_us,
    blocking: task::blocking,
    every_us: task::every_us,
    tcp_connect: task::tcp_connect,
    tcp_listen: task::tcp_listen,
    resolve: task::resolve,
    turn: engine::turn,
    exec: engine::exec,
    publish: engine::publish,
    kill_clients: engine::kill_clients,
    pause: engine::pause,
    set_role: engine::set_role,
    set_gate: engine::set_gate,
    journal: journal::journal,
    journal_offset: journal::journal_offset,
    control_record: journal::control_record,
    rebase: journal::rebase,
    set_backlog: journal::set_backlog,
    open_cursor: journal::open_cursor,
    snapshot_and_follow: journal::snapshot_and_follow,
    begin_load: journal::begin_load,
    open_apply: journal::open_apply,
    persist_state: state::persist_state,
    read_state: state::read_state,
    rewrite_config: state::rewrite_config,
    shutdown: state::shutdown,
    fault: state::fault,
    service_call: state::service_call,
    service_providers: state::service_providers,
    share: state::share,
    take: state::take,
    snapshot: journal::snapshot,
    confirm: durable::confirm,
    set_durable: durable::set_durable,
    durable: durable::durable,
    until_durable: durable::until_durable,
    refuse_writes: durable::refuse_writes,
    open_replay: journal::open_replay,
    show_link: engine::show_link,
    tls_connect: task::tls_connect,
    write_until: durable::write_until,
    enough_replicas_until: durable::enough_replicas_until,
    before_replies: durable::before_replies,
};

/// The plugin that calls.
///
/// # Safety
/// `host` is the `data` of a `ks_host` of this process.
unsafe fn caller(host: *mut c_void) -> &'static Plugin {
    // SAFETY: the caller's; plugins live as long as the process.
    unsafe { &*host.cast::<Plugin>() }
}

/// Starts an asynchronous call. A panic while it is made is its failure.
fn asynchronous<F>(make: impl FnOnce() -> F) -> Future
where
    F: std::future::Future<Output = Out> + Send + 'static,
{
    match guarded(make) {
        Ok(future) => export_future(future),
        Err(reason) => export_future(async move { Out::failed(abi::ERR, reason) }),
    }
}

/// A failure as a result.
fn failed(reason: impl Into<String>) -> Out {
    Out::failed(abi::ERR, reason)
}
