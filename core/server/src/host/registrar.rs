//! What a plugin declares while it is created: checked, then registered with the engine at once, so that a name that is
//! taken fails the creation with its reason. A creation that fails takes everything back.

use super::commands::{AsyncCommand, ByWords, SyncCommand, TakeoverCommand, meant};
use super::contracts::{Need, Offer};
use super::frame::in_turn;
use super::hooks::{ConnHook, Parameter, Section, WriteHook};
use super::keeping::Keeping;
use super::plugin::{Plugin, Stage, Taker};
use super::seam::EndpointSpec;
use super::sections::{OPCODE, Section as DataSection};
use crate::net::service::Service;
use keystead_abi::{self as abi, Buf, RegistrarApi, Str};
use keystead_engine::foreign::ForeignBody;
use keystead_engine::page::Page;
use keystead_engine::registry::OwnedSpec;
use keystead_engine::spec::{self, Flags, ForeignKeys, Group, KeySpec};
use keystead_engine::{Args, Engine};
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The table. `data` is the plugin.
pub(super) static API: RegistrarApi = RegistrarApi {
    size: size_of::<RegistrarApi>() as u32,
    reserved: 0,
    command,
    info,
    param,
    on_write,
    on_conn,
    provide,
    need,
    endpoint,
    on_fault,
    last_error,
    section,
};

/// # Safety
/// `data` is the plugin that is being created.
unsafe fn plugin(data: *mut c_void) -> &'static Plugin {
    // SAFETY: the caller's; plugins live as long as the process.
    unsafe { &*data.cast::<Plugin>() }
}

/// Runs one declaration; remembers why it was refused.
unsafe fn declare(data: *mut c_void, body: impl FnOnce(&'static Plugin) -> Result<(), String>) -> u32 {
    // SAFETY: the contract of `ks_registrar_api`.
    let plugin = unsafe { plugin(data) };
    if plugin.stage() != Stage::Created || in_turn() {
        // What others have agreed on holds by now; and a turn would be waited for inside of itself.
        *plugin.last_error.lock() = "only `create` can declare something".to_owned();
        return abi::ERR;
    }
    match super::guarded(|| body(plugin)) {
        Ok(Ok(())) => abi::OK,
        Ok(Err(reason)) | Err(reason) => {
            *plugin.last_error.lock() = reason;
            abi::ERR
        }
    }
}

/// A spec that is at least as long as this host knows it.
///
/// # Safety
/// `spec` points to a value whose first field says its size.
unsafe fn checked<'a, T>(spec: *const T, what: &str) -> Result<&'a T, String> {
    // SAFETY: the caller's.
    let size = unsafe { *spec.cast::<u32>() } as usize;
    if size < size_of::<T>() {
        return Err(format!("its {what} has {size} bytes, {} were expected", size_of::<T>()));
    }
    // SAFETY: it is as long as the type.
    Ok(unsafe { &*spec })
}

/// A copy of a spec that has grown: what a plugin of an older SDK doesn't have is zero. `least` bytes must be there.
///
/// # Safety
/// As [`checked`]; `T` is plain data, all of which may be zero.
unsafe fn grown<T>(spec: *const T, least: usize, what: &str) -> Result<T, String> {
    // SAFETY: the caller's.
    let size = unsafe { *spec.cast::<u32>() } as usize;
    if size < least {
        return Err(format!("its {what} has {size} bytes, {least} were expected"));
    }
    let mut whole = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: so many bytes are there on both sides, and zeros behind them are fine.
    unsafe {
        std::ptr::copy_nonoverlapping(spec.cast::<u8>(), whole.as_mut_ptr().cast(), size.min(size_of::<T>()));
        Ok(whole.assume_init())
    }
}

/// A name as it may stand in INFO, in logs and in the overlay.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic())
}

fn engine(plugin: &Plugin, endpoint: u32) -> Result<Arc<Service>, String> {
    plugin.engine(endpoint).ok_or_else(|| format!("there is no endpoint {endpoint}"))
}

unsafe extern "C" fn command(data: *mut c_void, spec: *const abi::CommandSpec) -> u32 {
    // SAFETY: the spec and its strings live for the call.
    unsafe {
        declare(data, |plugin| {
            let raw = &grown(spec, std::mem::offset_of!(abi::CommandSpec, reads_only), "command spec")?;
            let name = raw.name.text();
            let text = std::str::from_utf8(raw.name.bytes()).is_ok();
            if !text || name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(format!("'{}' is no name for a command", name.escape_debug()));
            }
            counts(raw, &name).map_err(|why| format!("command '{name}': {why}"))?;
            let body = body(plugin, raw, &name)?;
            let owned = owned_spec(raw, &name);
            Page::read(&owned.page).map_err(|error| format!("the page of command '{name}': {error}"))?;
            let replace = raw.flags & abi::CMD_REPLACES != 0;
            let service = engine(plugin, raw.endpoint)?;
            if replace && raw.endpoint == super::DATA {
                service.turn(|engine| replaceable(engine, &name))?;
            }
            service.turn(|engine| engine.register_command(&plugin.name, owned, body, replace)).map(drop)?;
            plugin.facts.lock().commands.push(name.to_lowercase());
            Ok(())
        })
    }
}

/// Some call must fit: its arity, and its keys among its words.
fn counts(raw: &abi::CommandSpec, name: &str) -> Result<(), String> {
    const MOST_WORDS: i64 = 1 << 20;
    let (arity, names) = (i64::from(raw.arity), if name.contains('|') { 2 } else { 1 });
    if (0..names).contains(&arity) {
        return Err(format!("no call has the arity {arity}"));
    }
    let (first, last, step) = (i64::from(raw.first_key), i64::from(raw.last_key), raw.key_step);
    let longest = if arity < 0 { MOST_WORDS } else { arity };
    let end = if last < 0 { longest + last } else { last };
    let there = first >= names && (first..longest).contains(&end) && step >= 1;
    if first == 0 || there {
        Ok(())
    } else {
        Err(format!("no call has keys from {first} to {last} in steps of {step}"))
    }
}

/// Commands of the keys are what clients, replicas and files take them for.
fn replaceable(engine: &Engine, name: &str) -> Result<(), String> {
    let lower = name.to_lowercase();
    match engine.core.registry.find(lower.as_bytes()) {
        Some(own) if own.plugin.is_none() && own.flags.any(spec::READONLY | spec::WRITE) => {
            Err(format!("command '{lower}' exists already (from the core), and can't be replaced on the data port"))
        }
        _ => Ok(()),
    }
}

/// What runs when the command is called.
fn body(plugin: &'static Plugin, raw: &abi::CommandSpec, name: &str) -> Result<ForeignBody, String> {
    let (endpoint, data, flags) = (raw.endpoint, raw.data, meant(raw.flags, plugin.declaration.minor));
    match (raw.call, raw.start, raw.takeover) {
        (Some(call), None, None) => {
            let by_words = ByWords::of(raw);
            Ok(ForeignBody::Sync(Arc::new(SyncCommand { plugin, endpoint, data, call, flags, by_words })))
        }
        (None, Some(start), None) => {
            let (try_now, running) = (raw.try_now, Arc::default());
            Ok(ForeignBody::Async(Arc::new(AsyncCommand { plugin, endpoint, data, start, try_now, flags, running })))
        }
        (None, None, Some(call)) => {
            plugin.takers.lock().insert((endpoint, name.to_lowercase()), Taker { data, call });
            let may_take = raw.try_now;
            Ok(ForeignBody::Takeover(Arc::new(TakeoverCommand { plugin, endpoint, data, may_take })))
        }
        _ => Err("exactly one of call, start and takeover must be set".to_owned()),
    }
}

/// # Safety
/// The spec's strings are readable.
unsafe fn owned_spec(raw: &abi::CommandSpec, name: &str) -> OwnedSpec {
    // SAFETY: the caller's.
    let (summary, since, group, page) =
        unsafe { (raw.summary.text(), raw.since.text(), raw.group.text(), raw.page.text()) };
    OwnedSpec {
        name: name.to_owned(),
        arity: raw.arity,
        flags: flags(raw.flags),
        keys: keys(raw),
        group: group_of(&group),
        since,
        summary,
        page,
        categories: CATEGORIES.iter().filter(|(bit, _)| raw.acl & bit != 0).map(|(_, name)| *name).collect(),
    }
}

/// KS_CMD_* as the engine's flags.
pub(super) fn flags(raw: u64) -> Flags {
    const TABLE: [(u64, u32); 19] = [
        (abi::CMD_WRITE, spec::WRITE),
        (abi::CMD_READONLY, spec::READONLY),
        (abi::CMD_DENYOOM, spec::DENYOOM),
        (abi::CMD_ADMIN, spec::ADMIN),
        (abi::CMD_PUBSUB, spec::PUBSUB),
        (abi::CMD_NOSCRIPT, spec::NOSCRIPT),
        (abi::CMD_BLOCKING, spec::BLOCKING),
        (abi::CMD_LOADING, spec::LOADING),
        (abi::CMD_STALE, spec::STALE),
        (abi::CMD_SKIP_MONITOR, spec::SKIP_MONITOR),
        (abi::CMD_SKIP_SLOWLOG, spec::SKIP_SLOWLOG),
        (abi::CMD_FAST, spec::FAST),
        (abi::CMD_NO_AUTH, spec::NO_AUTH),
        (abi::CMD_MAY_REPLICATE, spec::MAY_REPLICATE),
        (abi::CMD_NO_MULTI, spec::NO_MULTI),
        (abi::CMD_ALLOW_BUSY, spec::ALLOW_BUSY),
        (abi::CMD_MOVABLE_KEYS, spec::MOVABLEKEYS),
        (abi::CMD_NO_ASYNC_LOADING, spec::NO_ASYNC_LOADING),
        (abi::CMD_NO_MANDATORY_KEYS, spec::NO_MANDATORY_KEYS),
    ];
    Flags(TABLE.iter().filter(|(bit, _)| raw & bit != 0).fold(0, |all, (_, flag)| all | flag))
}

const CATEGORIES: [(u64, &str); 21] = [
    (abi::ACL_KEYSPACE, "keyspace"),
    (abi::ACL_READ, "read"),
    (abi::ACL_WRITE, "write"),
    (abi::ACL_SET, "set"),
    (abi::ACL_SORTEDSET, "sortedset"),
    (abi::ACL_LIST, "list"),
    (abi::ACL_HASH, "hash"),
    (abi::ACL_STRING, "string"),
    (abi::ACL_BITMAP, "bitmap"),
    (abi::ACL_HYPERLOGLOG, "hyperloglog"),
    (abi::ACL_GEO, "geo"),
    (abi::ACL_STREAM, "stream"),
    (abi::ACL_PUBSUB, "pubsub"),
    (abi::ACL_ADMIN, "admin"),
    (abi::ACL_FAST, "fast"),
    (abi::ACL_SLOW, "slow"),
    (abi::ACL_BLOCKING, "blocking"),
    (abi::ACL_DANGEROUS, "dangerous"),
    (abi::ACL_CONNECTION, "connection"),
    (abi::ACL_TRANSACTION, "transaction"),
    (abi::ACL_SCRIPTING, "scripting"),
];

fn group_of(name: &str) -> Group {
    const GROUPS: [Group; 17] = [
        Group::Generic,
        Group::String,
        Group::List,
        Group::Set,
        Group::SortedSet,
        Group::Hash,
        Group::PubSub,
        Group::Transactions,
        Group::Connection,
        Group::Server,
        Group::Cluster,
        Group::Scripting,
        Group::Bitmap,
        Group::HyperLogLog,
        Group::Stream,
        Group::Geo,
        Group::Sentinel,
    ];
    GROUPS.into_iter().find(|group| group.name() == name).unwrap_or(Group::Module)
}

/// A plugin's function that finds keys.
struct GetKeys {
    data: *mut c_void,
    call: unsafe extern "C" fn(*mut c_void, *const Str, usize, *mut u32, usize) -> usize,
}

// SAFETY: a plugin's functions may be called from any thread, with the data they were registered with.
unsafe impl Send for GetKeys {}
// SAFETY: as above.
unsafe impl Sync for GetKeys {}

impl GetKeys {
    fn positions(&self, args: Args<'_>) -> Vec<usize> {
        let mut out = vec![0u32; args.len()];
        let found = super::frame::with_words(args.iter(), |argv, argc| {
            // SAFETY: data and function belong together; the words live for the call, `out` has room for `argc`.
            super::frame::inside(|| unsafe { (self.call)(self.data, argv, argc, out.as_mut_ptr(), argc) })
        });
        if found > args.len() {
            // It can't tell (it panicked): who may not touch all of the words may not run the command.
            return (1..args.len()).collect();
        }
        out.truncate(found);
        out.into_iter().map(|at| at as usize).filter(|at| *at < args.len()).collect()
    }
}

fn keys(raw: &abi::CommandSpec) -> KeySpec {
    if let Some(call) = raw.get_keys {
        let get = GetKeys { data: raw.data, call };
        return KeySpec::Foreign(Box::leak(Box::new(ForeignKeys(Box::new(move |args| get.positions(args))))));
    }
    match raw.first_key {
        0 => KeySpec::None,
        first => KeySpec::Range { first, last: raw.last_key, step: raw.key_step },
    }
}

unsafe extern "C" fn info(data: *mut c_void, spec: *const abi::InfoSpec) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            let raw = checked(spec, "INFO spec")?;
            let name = raw.section.text();
            let render = raw.render.ok_or("an INFO section without a render function")?;
            if !is_word(&name) {
                return Err(format!("'{}' is no name for an INFO section", name.escape_debug()));
            }
            if plugin.facts.lock().sections.contains(&name) {
                return Err(format!("the INFO section '{name}' exists already (from the plugin itself)"));
            }
            let section = Arc::new(Section { plugin, endpoint: raw.endpoint, data: raw.data, render });
            let append = raw.append != 0;
            engine(plugin, raw.endpoint)?.turn(|e| e.register_info(&plugin.name, &name, append, section));
            plugin.facts.lock().sections.push(name);
            Ok(())
        })
    }
}

/// Parameters that the core answers for until the plugin comes that they are about.
const VACANT: [&str; 5] = [
    "save",
    "appendonly",
    "stop-writes-on-bgsave-error",
    "propagation-error-behavior",
    "replica-ignore-disk-write-errors",
];

unsafe extern "C" fn param(data: *mut c_void, spec: *const abi::ParamSpec) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            let raw = checked(spec, "parameter spec")?;
            let (name, alias) = (raw.name.text(), raw.alias.text());
            if name.is_empty() || [&name, &alias].iter().any(|word| word.contains(|c: char| !c.is_ascii_graphic())) {
                return Err(format!("'{name}' is no name for a parameter"));
            }
            let get = raw.get.ok_or("a parameter without a get function")?;
            let immutable = raw.flags & abi::PARAM_IMMUTABLE != 0;
            let secret = raw.flags & abi::PARAM_SECRET != 0;
            let about = (raw.endpoint == super::DATA && Keeping::is_about(&name)).then(|| name.clone());
            let tells_what_is_saved = about.is_some();
            let (data, set) = (raw.data, raw.set);
            let parameter = Arc::new(Parameter { plugin, data, get, set, immutable, secret, tells_what_is_saved });
            if let Some(name) = about {
                plugin.keeping.add(&name, parameter.clone());
            }
            let alias = (!alias.is_empty()).then_some(alias.as_str());
            let service = engine(plugin, raw.endpoint)?;
            for word in [Some(name.as_str()), alias].into_iter().flatten() {
                if !VACANT.contains(&word) && service.turn(|e| e.core.config.get(word)).is_some() {
                    return Err(format!("parameter '{}' exists already", word.to_lowercase()));
                }
            }
            service.turn(|e| e.register_config(&plugin.name, &name, alias, parameter))?;
            plugin.facts.lock().params.push(name.to_lowercase());
            Ok(())
        })
    }
}

unsafe extern "C" fn on_write(
    data: *mut c_void,
    call: unsafe extern "C" fn(data: *mut c_void, event: *const abi::WriteEvent) -> u32,
    hook: *mut c_void,
) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            let hook = Arc::new(WriteHook { plugin, data: hook, call });
            engine(plugin, super::DATA)?.turn(|e| e.register_hook(&plugin.name, hook));
            plugin.facts.lock().hooks.push("writes".to_owned());
            Ok(())
        })
    }
}

unsafe extern "C" fn on_conn(
    data: *mut c_void,
    endpoint: u32,
    call: unsafe extern "C" fn(data: *mut c_void, client: *const abi::ClientInfo, event: u32) -> u32,
    hook: *mut c_void,
) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            let hook = Arc::new(ConnHook { plugin, endpoint, data: hook, call });
            engine(plugin, endpoint)?.turn(|e| e.register_hook(&plugin.name, hook));
            plugin.facts.lock().hooks.push("connections".to_owned());
            Ok(())
        })
    }
}

unsafe extern "C" fn provide(data: *mut c_void, spec: *const abi::ServiceSpec) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            let raw = checked(spec, "service spec")?;
            let call = raw.call.ok_or("a service without a call function")?;
            let offer = Offer {
                plugin: plugin.slot,
                service: raw.name.text(),
                major: raw.major,
                minor: raw.minor,
                data: raw.data,
                call,
            };
            plugin.host().contracts.lock().offer(offer);
            Ok(())
        })
    }
}

unsafe extern "C" fn need(data: *mut c_void, spec: *const abi::NeedSpec) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            let raw = checked(spec, "service need")?;
            let need = Need {
                plugin: plugin.slot,
                service: raw.name.text(),
                major: raw.major,
                min_minor: raw.min_minor,
                optional: raw.optional != 0,
            };
            plugin.host().contracts.lock().need(need);
            Ok(())
        })
    }
}

unsafe extern "C" fn endpoint(data: *mut c_void, spec: *const abi::EndpointSpec, out: *mut u32) -> u32 {
    // SAFETY: as in `command`; the caller gives room for one number.
    unsafe {
        declare(data, |plugin| {
            let raw = grown(spec, std::mem::offset_of!(abi::EndpointSpec, tls_port), "endpoint spec")?;
            let port = |port: u32| u16::try_from(port).map_err(|_| format!("{port} is no port"));
            let (port, tls_port) = (port(raw.port)?, port(raw.tls_port)?);
            let name = raw.name.text();
            if !is_word(&name) || plugin.host().engines().iter().any(|engine| engine.name() == name) {
                return Err(format!("'{}' is no name for a port, or another's", name.escape_debug()));
            }
            let spec = EndpointSpec {
                name,
                bind: raw.bind.text().lines().map(str::to_owned).collect(),
                port,
                tls_port,
                run_id: raw.run_id.text(),
                password: raw.password.text(),
            };
            let number = plugin.host().open_endpoint(&spec)?;
            plugin.facts.lock().ports.push(spec.name.clone());
            plugin.facts.lock().endpoints.push(format!("{}:{}", spec.name, if port == 0 { tls_port } else { port }));
            out.write(number);
            Ok(())
        })
    }
}

unsafe extern "C" fn on_fault(data: *mut c_void, policy: u32) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            if policy > abi::FAULT_EXIT {
                return Err(format!("{policy} is no fault policy"));
            }
            plugin.policy.store(policy, Ordering::Relaxed);
            Ok(())
        })
    }
}

unsafe extern "C" fn section(data: *mut c_void, spec: *const abi::SectionSpec) -> u32 {
    // SAFETY: as in `command`.
    unsafe {
        declare(data, |plugin| {
            let raw = checked(spec, "section spec")?;
            let save = raw.save.ok_or("a section without a save function")?;
            let load = raw.load.ok_or("a section without a load function")?;
            if raw.opcode != OPCODE {
                let what = format!("a file with records of opcode {} could not be read", raw.opcode);
                return Err(format!("{what}: sections have {OPCODE}"));
            }
            let left = Mutex::default();
            plugin.host().add_section(DataSection { plugin, opcode: raw.opcode, data: raw.data, save, load, left })
        })
    }
}

unsafe extern "C" fn last_error(data: *mut c_void, out: *mut Buf) {
    // SAFETY: the contract of `ks_registrar_api`; the caller gives room for one buffer.
    unsafe { out.write(Buf::new(std::mem::take(&mut *plugin(data).last_error.lock()))) };
}
