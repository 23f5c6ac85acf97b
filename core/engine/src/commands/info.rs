//! INFO. Owns the core's sections, as Redis prints them; plugins add theirs, take the place of one or append to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::Ordering;

use keystead_keyspace::Keyspace;
use keystead_resp::Args;

use super::footprint::{Excess, Footprint};
use super::plugin::version_number;
use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::gates::Gate;
use crate::journal::CursorClass;
use crate::pubsub::Space;
use crate::session::{Kind, Parked, State};
use crate::spec::*;

/// The table.
pub const TABLE: &[CommandSpec] = &[CommandSpec::new(
    "info",
    -1,
    LOADING | STALE | ENDPOINT,
    KeySpec::None,
    Group::Server,
    "1.0.0",
    "Returns information and statistics about the server.",
    info,
)];

/// Sections in order: name, title, shown by default, on an endpoint, what writes it.
type Section = (&'static str, &'static str, bool, bool, fn(&Keyspace, &Core, &State, &mut String));

const SECTIONS: &[Section] = &[
    ("server", "Server", true, true, server),
    ("clients", "Clients", true, true, clients),
    ("memory", "Memory", true, false, memory),
    ("persistence", "Persistence", true, false, persistence),
    ("stats", "Stats", true, true, stats),
    ("replication", "Replication", true, false, replication),
    ("cpu", "CPU", true, true, cpu),
    ("modules", "Modules", true, true, modules),
    ("commandstats", "Commandstats", false, true, commandstats),
    ("errorstats", "Errorstats", true, true, errorstats),
    ("latencystats", "Latencystats", false, false, latencystats),
    ("cluster", "Cluster", true, false, cluster),
    ("keyspace", "Keyspace", true, false, keyspace),
    ("debug", "Debug", false, true, debug),
];

/// The default sections take less.
const TYPICAL_BYTES: usize = 8192;

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let words: BTreeSet<String> =
        args.skip(1).iter().map(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase()).collect();
    let mut text = String::with_capacity(TYPICAL_BYTES);
    render(ctx.ks, ctx.core, ctx.session, &words, &mut text);
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}

fn render(ks: &Keyspace, core: &Core, me: &State, words: &BTreeSet<String>, text: &mut String) {
    let all = words.contains("all") || words.contains("everything");
    let default = words.is_empty() || words.contains("default");
    let endpoint = core.mode_name().is_some();
    // This one has to be asked for by its name.
    let wanted = |name: &str, usual: bool| all && name != "debug" || words.contains(name) || default && usual;
    let titled = |title: &str, text: &mut String, body: &dyn Fn(&mut String)| {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {title}\r\n");
        body(text);
    };
    for (name, title, usual, on_endpoint, body) in SECTIONS {
        if endpoint && !on_endpoint || !wanted(name, *usual) {
            continue;
        }
        titled(title, text, &|text| section(ks, core, me, name, *body, text));
    }
    for own in core.info_sections.iter().filter(|own| !SECTIONS.iter().any(|section| section.0 == own.name)) {
        if wanted(&own.name, true) {
            let title = own.name[..1].to_ascii_uppercase() + &own.name[1..];
            titled(&title, text, &|text| text.push_str(&foreign(ks, core, &own.name)));
        }
    }
}

/// One of the core's sections, or what plugins made of it.
fn section(
    ks: &Keyspace,
    core: &Core,
    me: &State,
    name: &str,
    body: fn(&Keyspace, &Core, &State, &mut String),
    text: &mut String,
) {
    let replaced = core.info_sections.iter().any(|own| own.name == name && !own.append);
    let theirs = foreign(ks, core, name);
    if replaced {
        text.push_str(&theirs);
        return;
    }
    if theirs.is_empty() {
        body(ks, core, me, text);
        return;
    }
    let mut ours = String::new();
    body(ks, core, me, &mut ours);
    merge(&ours, &theirs, text);
}

/// A number that plugins write into a section; 0 if none does.
pub(super) fn foreign_number(ks: &Keyspace, core: &Core, section: &str, name: &str) -> u64 {
    let text = foreign(ks, core, section);
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok());
    values.max().unwrap_or(0)
}

/// A figure in what plugins write into a section.
fn figure<N: std::str::FromStr>(theirs: &str, name: &str) -> Option<N> {
    theirs.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok())
}

/// What plugins write into a section.
fn foreign(ks: &Keyspace, core: &Core, name: &str) -> String {
    let mut out = Vec::new();
    for own in core.info_sections.iter().filter(|own| own.name == name) {
        own.body.write(ks, core, &mut out);
    }
    String::from_utf8(out).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned())
}

/// The core's fields with those of plugins: one of the same name takes the core's place, the others follow. Where several
/// plugins have one of that name, the largest number counts: a save may be under way for any of them.
fn merge(ours: &str, theirs: &str, text: &mut String) {
    let name = |line| str::split_once(line, ':').map(|(name, _)| name);
    let number = |line: &str| line.trim_end().split_once(':').and_then(|(_, value)| value.parse::<i64>().ok());
    let mut best: BTreeMap<&str, &str> = BTreeMap::new();
    for line in theirs.split_inclusive('\n') {
        if let Some(name) = name(line) {
            let known = best.entry(name).or_insert(line);
            *known = if number(line) > number(known) { line } else { known };
        }
    }
    let mut placed = BTreeSet::new();
    for line in ours.split_inclusive('\n') {
        let own = name(line).and_then(|name| best.remove_entry(name));
        text.push_str(own.map_or(line, |(_, theirs)| theirs));
        placed.extend(own.map(|(name, _)| name));
    }
    text.extend(theirs.split_inclusive('\n').filter(|line| name(line).is_none_or(|name| !placed.contains(name))));
}

fn field(text: &mut String, name: &str, value: impl std::fmt::Display) {
    text.push_str(name);
    text.push(':');
    // Writing into a String can't fail.
    let _ = write!(text, "{value}");
    text.push_str("\r\n");
}

fn server(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    let uptime = core.now.mono_us.saturating_sub(core.started.mono_us) / 1_000_000;
    let mode = core.mode_name().unwrap_or_else(|| "standalone".to_owned());
    let fact = |name: &str, default: &str| core.facts.get(name).cloned().unwrap_or_else(|| default.to_owned());
    field(text, "redis_version", crate::REDIS_VERSION);
    field(text, "redis_git_sha1", "00000000");
    field(text, "redis_git_dirty", 0);
    field(text, "redis_build_id", "0000000000000000");
    field(text, "keystead_version", crate::KEYSTEAD_VERSION);
    field(text, "redis_mode", mode);
    field(text, "os", fact("os", std::env::consts::OS));
    field(text, "arch_bits", usize::BITS);
    field(text, "monotonic_clock", "POSIX clock_gettime");
    field(text, "multiplexing_api", "epoll");
    field(text, "process_id", std::process::id());
    field(text, "process_supervised", fact("process_supervised", "no"));
    field(text, "run_id", &core.run_id);
    let port = Some(core.config.int("port")).filter(|port| *port != 0);
    field(text, "tcp_port", port.unwrap_or_else(|| core.config.int("tls-port")));
    field(text, "server_time_usec", core.wall_us());
    field(text, "uptime_in_seconds", uptime);
    field(text, "uptime_in_days", uptime / 86_400);
    field(text, "hz", core.config.int("hz"));
    field(text, "configured_hz", core.config.int("hz"));
    field(text, "lru_clock", (core.now.unix_ms / 1000) & 0xff_ffff);
    field(text, "executable", fact("executable", ""));
    field(text, "config_file", fact("config_file", ""));
    field(text, "io_threads_active", 0);
    listeners(core, text);
}

/// By kind of socket, as 7.2 numbers them: TCP, unix, TLS.
fn listeners(core: &Core, text: &mut String) {
    let bind = core.config.get("bind").unwrap_or_default();
    let binds: String = bind.split_whitespace().map(|address| format!(",bind={address}")).collect();
    let (tcp, tls) = (core.config.int("port"), core.config.int("tls-port"));
    if tcp != 0 {
        field(text, "listener0", format!("name=tcp{binds},port={tcp}"));
    }
    if let Some(path) = core.config.get("unixsocket").filter(|path| !path.is_empty()) {
        field(text, "listener1", format!("name=unix,bind={path}"));
    }
    if tls != 0 {
        field(text, "listener2", format!("name=tls{binds},port={tls}"));
    }
}

fn clients(_: &Keyspace, core: &Core, me: &State, text: &mut String) {
    let now = Crowd::of(core);
    field(text, "connected_clients", now.connected + usize::from(me.id.id != 0 && is_counted(me)));
    field(text, "cluster_connections", 0);
    field(text, "maxclients", core.config.live.maxclients);
    let (input, output) = core.stats.buffers.recent(core.mono_ms() / 1000);
    field(text, "client_recent_max_input_buffer", input.max(now.input));
    field(text, "client_recent_max_output_buffer", output.max(now.output));
    field(text, "blocked_clients", core.blocking.waiting() + now.calls + core.paused.len());
    field(text, "tracking_clients", core.tracking.clients());
    field(text, "clients_in_timeout_table", core.blocking.with_deadline());
    field(text, "total_blocking_keys", core.blocking.keys());
    field(text, "total_blocking_keys_on_nokey", now.keys_that_may_go.len());
    field(text, "watching_clients", now.watching);
    field(text, "total_watched_keys", core.watch.len());
    field(text, "pubsub_clients", now.subscribed);
}

/// All but replicas; the link to the primary counts, as in Redis.
fn is_counted(state: &State) -> bool {
    state.kind != Kind::Replica
}

/// What all sessions but the running one come to, counted in one pass.
#[derive(Default)]
struct Crowd<'a> {
    connected: usize,
    calls: usize,
    /// The largest buffers.
    input: usize,
    output: usize,
    watching: usize,
    subscribed: usize,
    /// Keys for whose deletion somebody waits too: it ends a wait in XREADGROUP.
    keys_that_may_go: BTreeSet<(usize, &'a [u8])>,
}

impl<'a> Crowd<'a> {
    fn of(core: &'a Core) -> Self {
        let mut all = Crowd::default();
        for state in core.sessions.iter().map(|session| &session.state) {
            all.connected += usize::from(is_counted(state));
            all.input = all.input.max(state.pending_in + state.spare_in);
            all.output = all.output.max(state.pending_out);
            all.watching += usize::from(!state.watched.is_empty());
            all.subscribed += usize::from(state.subscribed());
            match &state.parked {
                Some(Parked::Async { .. }) => all.calls += 1,
                Some(Parked::Keys(wait)) if wait.command.name == "xreadgroup" => {
                    all.keys_that_may_go.extend(wait.keys.iter().map(|key| (wait.db, &key[..])));
                }
                _ => {}
            }
        }
        all
    }
}

/// `1.50M`, as Redis writes it.
pub(crate) fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    for unit in ["K", "M", "G", "T"] {
        value /= 1024.0;
        if value < 1024.0 || unit == "T" {
            return format!("{value:.2}{unit}");
        }
    }
    format!("{bytes}B")
}

fn memory(ks: &Keyspace, core: &Core, me: &State, text: &mut String) {
    let all = Footprint::of(ks, core, me);
    let mut sized = |name: &str, bytes: u64| {
        field(text, name, bytes);
        field(text, &format!("{name}_human"), human(bytes));
    };
    sized("used_memory", all.used);
    sized("used_memory_rss", all.rss);
    sized("used_memory_peak", all.peak);
    sized("total_system_memory", all.system);
    sized("maxmemory", core.config.int("maxmemory").max(0) as u64);
    field(text, "used_memory_peak_perc", format!("{:.2}%", all.peak_percent()));
    field(text, "used_memory_overhead", all.overhead());
    field(text, "used_memory_startup", all.startup);
    field(text, "used_memory_dataset", all.dataset);
    field(text, "used_memory_dataset_perc", format!("{:.2}%", all.dataset_percent()));
    field(text, "allocator_allocated", all.used);
    field(text, "allocator_active", all.heap);
    field(text, "allocator_resident", all.heap);
    field(text, "maxmemory_policy", core.config.get("maxmemory-policy").unwrap_or_default());
    let mut pair = |name: &str, excess: Excess| {
        field(text, &format!("{name}_ratio"), format!("{:.2}", excess.ratio));
        field(text, &format!("{name}_bytes"), excess.bytes);
    };
    pair("allocator_frag", all.fragmentation());
    pair("allocator_rss", all.allocator_rss());
    pair("rss_overhead", all.rss_overhead());
    pair("mem_fragmentation", all.total_fragmentation());
    field(text, "mem_not_counted_for_evict", crate::evict::not_counted(ks, core, all.used));
    field(text, "mem_replication_backlog", all.backlog);
    field(text, "mem_total_replication_buffers", all.backlog + all.replicas);
    field(text, "mem_clients_slaves", all.replicas);
    field(text, "mem_clients_normal", all.clients);
    field(text, "mem_cluster_links", 0);
    field(text, "mem_aof_buffer", 0);
    field(text, "mem_allocator", core.facts.get("mem_allocator").map_or("system", String::as_str));
    field(text, "active_defrag_running", 0);
    field(text, "lazyfree_pending_objects", core.stats.lazyfree.pending.load(Ordering::Relaxed));
    field(text, "lazyfreed_objects", core.stats.lazyfree.done.load(Ordering::Relaxed));
}

/// The journal's memory as Redis divides it: the backlog, and what is kept beyond its size for replicas.
pub(crate) fn replication_buffers(core: &Core) -> (u64, u64) {
    let all = core.journal.memory();
    match [CursorClass::Replica, CursorClass::SyncingReplica].map(|class| core.journal.cursor_count(class)) {
        [0, 0] => (all, 0),
        _ => {
            let backlog = all.min(core.journal.backlog_size().unwrap_or(0));
            (backlog, all - backlog)
        }
    }
}

/// Bytes in use: the process' count if there is one, else what the keys take.
pub(crate) fn used_memory(ks: &Keyspace, core: &Core) -> u64 {
    core.used_memory.map_or_else(|| ks.mem_bytes() as u64 + core.journal.memory(), |count| count())
}

/// Without a persistence plugin: nothing is saved. Plugins put their own values in these places.
fn persistence(ks: &Keyspace, core: &Core, _: &State, text: &mut String) {
    field(text, "loading", u8::from(core.gates.is(Gate::Loading) || core.gates.is(Gate::Starting)));
    let serves = !core.gates.is(Gate::Loading);
    field(text, "async_loading", u8::from(serves && core.gates.is(Gate::AsyncLoading)));
    for name in ["current_cow_peak", "current_cow_size", "current_cow_size_age"] {
        field(text, name, 0);
    }
    field(text, "current_fork_perc", "0.00");
    field(text, "current_save_keys_processed", 0);
    field(text, "current_save_keys_total", 0);
    field(text, "rdb_changes_since_last_save", ks.dirty());
    field(text, "rdb_bgsave_in_progress", 0);
    field(text, "rdb_last_save_time", core.last_save_s);
    field(text, "rdb_last_bgsave_status", if core.gates.is(Gate::DiskError) { "err" } else { "ok" });
    field(text, "rdb_last_bgsave_time_sec", -1);
    field(text, "rdb_current_bgsave_time_sec", -1);
    for name in ["rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"] {
        field(text, name, 0);
    }
    for name in ["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"] {
        field(text, name, 0);
    }
    field(text, "aof_last_rewrite_time_sec", -1);
    field(text, "aof_current_rewrite_time_sec", -1);
    field(text, "aof_last_bgrewrite_status", "ok");
    field(text, "aof_rewrites", 0);
    field(text, "aof_rewrites_consecutive_failures", 0);
    field(text, "aof_last_write_status", "ok");
    field(text, "aof_last_cow_size", 0);
    field(text, "module_fork_in_progress", 0);
    field(text, "module_fork_last_cow_size", 0);
}

fn debug(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    let cycles = &core.stats.cycles;
    field(text, "eventloop_duration_aof_sum", cycles.all.file_us);
    field(text, "eventloop_duration_cron_sum", cycles.tick_us);
    field(text, "eventloop_duration_max", cycles.all.longest_us);
    field(text, "eventloop_cmd_per_cycle_max", cycles.most_commands);
}

fn stats(ks: &Keyspace, core: &Core, _: &State, text: &mut String) {
    let stats = &core.stats;
    let (hits, misses) = ks.hits_and_misses();
    field(text, "total_connections_received", stats.connections);
    field(text, "total_commands_processed", stats.total_commands);
    field(text, "instantaneous_ops_per_sec", stats.ops.per_second());
    // What links to replicas and to a primary moved is the replication plugin's to tell, and part of the sums.
    let theirs = foreign(ks, core, "stats");
    let with = |own: u64, links: &str| own + figure::<u64>(&theirs, links).unwrap_or(0);
    field(text, "total_net_input_bytes", with(stats.net_in, "total_net_repl_input_bytes"));
    field(text, "total_net_output_bytes", with(stats.net_out, "total_net_repl_output_bytes"));
    field(text, "total_net_repl_input_bytes", 0);
    field(text, "total_net_repl_output_bytes", 0);
    let rate =
        |own: u64, links: &str| format!("{:.2}", own as f64 / 1024.0 + figure::<f64>(&theirs, links).unwrap_or(0.0));
    field(text, "instantaneous_input_kbps", rate(stats.rate_in.per_second(), "instantaneous_input_repl_kbps"));
    field(text, "instantaneous_output_kbps", rate(stats.rate_out.per_second(), "instantaneous_output_repl_kbps"));
    field(text, "instantaneous_input_repl_kbps", "0.00");
    field(text, "instantaneous_output_repl_kbps", "0.00");
    field(text, "rejected_connections", stats.rejected_connections);
    field(text, "expired_subkeys", ks.expired_fields_total().saturating_sub(stats.expired_fields_base));
    field(text, "expired_keys", ks.expired_total().saturating_sub(stats.expired_base));
    field(text, "expired_stale_perc", format!("{:.2}", stats.stale_percent));
    field(text, "expired_time_cap_reached_count", stats.expire_unfinished);
    field(text, "expire_cycle_cpu_milliseconds", stats.expire_us / 1000);
    field(text, "evicted_keys", ks.evicted_total().saturating_sub(stats.evicted_base));
    field(text, "evicted_clients", stats.evicted_clients);
    let now_us = core.now.mono_us;
    field(text, "total_eviction_exceeded_time", stats.over_memory.total_us(now_us) / 1000);
    field(text, "current_eviction_exceeded_time", stats.over_memory.current_us(now_us) / 1000);
    field(text, "keyspace_hits", hits.saturating_sub(stats.hits_base));
    field(text, "keyspace_misses", misses.saturating_sub(stats.misses_base));
    field(text, "pubsub_channels", core.pubsub.channel_count(Space::Channel));
    field(text, "pubsub_patterns", core.pubsub.patterns());
    field(text, "pubsubshard_channels", core.pubsub.channel_count(Space::Shard));
    field(text, "latest_fork_usec", 0);
    field(text, "total_forks", 0);
    field(text, "migrate_cached_sockets", stats.kept_links.load(Ordering::Relaxed));
    field(text, "slave_expires_tracked_keys", core.own_deadlines.len());
    for name in ["hits", "misses", "key_hits", "key_misses"] {
        field(text, &format!("active_defrag_{name}"), 0);
    }
    field(text, "total_active_defrag_time", 0);
    field(text, "current_active_defrag_time", 0);
    field(text, "tracking_total_keys", core.tracking.total_keys());
    field(text, "tracking_total_items", core.tracking.total_items());
    field(text, "tracking_total_prefixes", core.tracking.total_prefixes());
    field(text, "unexpected_error_replies", stats.unexpected_errors);
    field(text, "total_error_replies", stats.total_errors);
    field(text, "dump_payload_sanitizations", stats.payloads_checked);
    field(text, "total_reads_processed", with(stats.reads, "keystead_repl_reads"));
    field(text, "total_writes_processed", with(stats.writes, "keystead_repl_writes"));
    // One thread reads and writes, and a client that waits for nothing keeps no reply buffer.
    for name in ["io_threaded_reads_processed", "io_threaded_writes_processed"] {
        field(text, name, 0);
    }
    field(text, "reply_buffer_shrinks", 0);
    field(text, "reply_buffer_expands", 0);
    field(text, "client_query_buffer_limit_disconnections", stats.query_limit_disconnections);
    field(text, "client_output_buffer_limit_disconnections", stats.output_limit_disconnections);
    field(text, "keystead_writers_paced", u8::from(core.pace().is_some()));
    let cycles = &stats.cycles;
    field(text, "eventloop_cycles", cycles.all.count);
    field(text, "eventloop_duration_sum", cycles.all.us);
    field(text, "eventloop_duration_cmd_sum", stats.commands.iter().map(|command| command.usec).sum::<u64>());
    field(text, "instantaneous_eventloop_cycles_per_sec", cycles.per_second.per_second());
    field(text, "instantaneous_eventloop_duration_usec", cycles.length_us.per_second());
    field(text, "acl_access_denied_auth", stats.acl_denied_auth);
    field(text, "acl_access_denied_cmd", stats.acl_denied_cmd);
    field(text, "acl_access_denied_key", stats.acl_denied_key);
    field(text, "acl_access_denied_channel", stats.acl_denied_channel);
}

/// Without the replication plugin: a primary that nobody can follow. Where it failed, a replica stays one, without a link.
fn replication(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    let follows = core.gates.is(Gate::Replica);
    field(text, "role", if follows { "slave" } else { "master" });
    if follows {
        field(text, "master_link_status", "down");
    }
    field(text, "connected_slaves", core.journal.cursor_count(CursorClass::Replica));
    field(text, "master_failover_state", "no-failover");
    field(text, "master_repl_offset", core.journal.offset());
    field(text, "repl_backlog_active", u8::from(core.journal.backlog_size().is_some()));
}

fn cpu(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    let spent = core.spent.map(|spent| spent()).unwrap_or_default();
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    field(text, "used_cpu_sys", seconds(spent.sys_us));
    field(text, "used_cpu_user", seconds(spent.user_us));
    field(text, "used_cpu_sys_children", seconds(0));
    field(text, "used_cpu_user_children", seconds(0));
    field(text, "used_cpu_sys_main_thread", seconds(spent.sys_thread_us));
    field(text, "used_cpu_user_main_thread", seconds(spent.user_thread_us));
}

fn modules(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    for plugin in core.plugins.as_ref().map(|registry| registry.plugins()).unwrap_or_default() {
        let version = version_number(&plugin.version);
        let line = format!("name={},ver={version},api=1,filters=0,usedby=[],using=[],options=[]", plugin.name);
        field(text, "module", line);
    }
}

fn commandstats(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    for command in core.registry.all().flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied()))
    {
        let stats = core.stats.commands[command.index];
        if stats.calls + stats.rejected == 0 {
            continue;
        }
        let mean = stats.usec as f64 / stats.calls.max(1) as f64;
        let value = format!(
            "calls={},usec={},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
            stats.calls, stats.usec, stats.rejected, stats.failed
        );
        field(text, &format!("cmdstat_{}", command.full_name), value);
    }
}

fn latencystats(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    let percentiles = core.config.percentiles();
    for command in core.registry.all().flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied()))
    {
        let Some(histogram) = core.stats.histograms[command.index].as_ref() else { continue };
        let histogram = histogram.settled();
        let value = |word: &String| histogram.percentile(word.parse().unwrap_or(0.0));
        let shown: Vec<String> = percentiles.iter().map(|word| format!("p{word}={:.3}", value(word))).collect();
        field(text, &format!("latency_percentiles_usec_{}", command.full_name), shown.join(","));
    }
}

fn errorstats(_: &Keyspace, core: &Core, _: &State, text: &mut String) {
    for (code, count) in &core.stats.errors {
        field(text, &format!("errorstat_{code}"), format!("count={count}"));
    }
}

fn cluster(_: &Keyspace, _: &Core, _: &State, text: &mut String) {
    field(text, "cluster_enabled", 0);
}

fn keyspace(ks: &Keyspace, _: &Core, _: &State, text: &mut String) {
    for db in (0..ks.databases()).filter(|db| ks.len(*db) > 0) {
        let (keys, expires, fields) = (ks.len(db), ks.len_with_deadline(db), ks.len_with_times(db));
        let mut line = format!("keys={keys},expires={expires},avg_ttl={}", ks.mean_ttl(db));
        // 7.4's: readers of 7.2's line take a fourth field for something else.
        if fields > 0 {
            let _ = write!(line, ",subexpiry={fields}");
        }
        field(text, &format!("db{db}"), line);
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_for_people() {
        let cases = [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (990_520, "967.30K"), (25_276_514_304, "23.54G")];
        for (bytes, want) in cases {
            assert_eq!(human(bytes), want);
        }
    }
}
