//! MEMORY USAGE, STATS, DOCTOR, PURGE.

use keystead_resp::{Args, Writer};

use super::footprint::Footprint;
use super::info::{foreign_number, used_memory};
use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;

const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;
const KEY: KeySpec = KeySpec::Range { first: 2, last: 2, step: 1 };

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[CommandSpec::container("memory", SRV, "4.0.0", "A container for memory diagnostics commands.", &[
    CommandSpec::new("doctor", 2, Flags::NONE.0, NONE, SRV, "4.0.0", "Outputs a memory problems report.", doctor),
    CommandSpec::new("help", 2, LOADING | STALE, NONE, SRV, "4.0.0", "Returns helpful text about the different subcommands.", help),
    CommandSpec::new("malloc-stats", 2, Flags::NONE.0, NONE, SRV, "4.0.0", "Returns the allocator statistics.", malloc_stats),
    CommandSpec::new("purge", 2, Flags::NONE.0, NONE, SRV, "4.0.0", "Asks the allocator to release memory.", purge),
    CommandSpec::new("stats", 2, Flags::NONE.0, NONE, SRV, "4.0.0", "Returns details about memory usage.", stats),
    CommandSpec::new("usage", -3, READONLY, KEY, SRV, "4.0.0", "Estimates the memory usage of a key.", usage)
        .uses(&[LOOKS]),
])];

/// Exact here, so SAMPLES is checked and changes nothing.
fn usage(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut at = 3;
    while at < args.len() {
        if !args.is(at, "samples") || at + 1 >= args.len() {
            return Err(CommandError::SYNTAX);
        }
        if args.int(at + 1)? < 0 {
            return Err(CommandError::SYNTAX);
        }
        at += 2;
    }
    match ctx.ks.mem_usage(ctx.session.db, args.at(2)) {
        Some(bytes) => ctx.reply.int(bytes as i64),
        None => ctx.reply.null(),
    }
    Ok(Effect::None)
}

/// The shape is `memoryCommand`'s of Redis 7.2 (object.c). Deadlines stand in the keys' entries, so their table takes nothing.
fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let all = Footprint::of(ctx.ks, ctx.core, ctx.session);
    let plugins = |name| foreign_number(ctx.ks, ctx.core, "memory", name);
    let (scripts, functions) = (plugins("used_memory_scripts_eval"), plugins("used_memory_functions"));
    let keys: u64 = (0..ctx.ks.databases()).map(|db| ctx.ks.len(db) as u64).sum();
    let tables: Vec<_> =
        (0..ctx.ks.databases()).filter(|db| ctx.ks.len(*db) > 0).map(|db| (db, ctx.ks.table_bytes(db))).collect();
    let reply = &mut ctx.reply;
    reply.map(FIELDS + tables.len());
    number(reply, "peak.allocated", all.peak);
    number(reply, "total.allocated", all.used);
    number(reply, "startup.allocated", all.startup);
    number(reply, "replication.backlog", all.backlog);
    number(reply, "clients.slaves", all.replicas);
    number(reply, "clients.normal", all.clients);
    number(reply, "cluster.links", 0);
    number(reply, "aof.buffer", 0);
    number(reply, "lua.caches", scripts);
    number(reply, "functions.caches", functions);
    for (db, bytes) in tables {
        reply.bulk(format!("db.{db}"));
        reply.map(3);
        for (name, bytes) in [("main", bytes as u64), ("expires", 0), ("slot-to-keys", 0)] {
            number(reply, &format!("overhead.hashtable.{name}"), bytes);
        }
    }
    number(reply, "overhead.total", all.overhead());
    number(reply, "keys.count", keys);
    number(reply, "keys.bytes-per-key", all.used.saturating_sub(all.startup).checked_div(keys).unwrap_or(0));
    number(reply, "dataset.bytes", all.dataset);
    reply.bulk("dataset.percentage");
    reply.double(all.dataset_percent());
    reply.bulk("peak.percentage");
    reply.double(all.peak_percent());
    allocator(reply, &all);
    Ok(Effect::None)
}

/// MEMORY STATS without the databases.
const FIELDS: usize = 27;

fn number(reply: &mut Writer<'_>, name: &str, value: u64) {
    reply.bulk(name);
    reply.int(value as i64);
}

/// The allocator's part of MEMORY STATS.
fn allocator(reply: &mut Writer<'_>, all: &Footprint) {
    for (name, bytes) in [("allocated", all.used), ("active", all.heap), ("resident", all.heap)] {
        number(reply, &format!("allocator.{name}"), bytes);
    }
    let excesses = [
        ("allocator-fragmentation.ratio", "allocator-fragmentation.bytes", all.fragmentation()),
        ("allocator-rss.ratio", "allocator-rss.bytes", all.allocator_rss()),
        ("rss-overhead.ratio", "rss-overhead.bytes", all.rss_overhead()),
        ("fragmentation", "fragmentation.bytes", all.total_fragmentation()),
    ];
    for (ratio, bytes, excess) in excesses {
        reply.bulk(ratio);
        reply.double(excess.ratio);
        reply.bulk(bytes);
        reply.int(excess.bytes);
    }
}

/// More than an empty server has of it.
const MUCH_UNUSED: u64 = 64 << 20;

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let used = used_memory(ctx.ks, ctx.core);
    let peak = ctx.core.stats.peak_memory.max(used);
    let held = ctx.core.probe.map_or(0, |probe| probe().anonymous);
    let text = if held > used + used / 2 && held - used > MUCH_UNUSED {
        format!(
            "Unused memory: {held} bytes are resident, {used} are in use. What scripts hold is among them and not counted as \
             in use (used_memory_vm_total); what was freed goes back to the system within a second or two, but for pages \
             that are in use in part. MEMORY PURGE finds the most.\n"
        )
    } else if used < 5 << 20 {
        "This instance is empty or uses very little memory: there is nothing to examine.\n".to_owned()
    } else if peak > used + used / 2 {
        format!("Peak memory: {peak} bytes were in use once, {used} are now. What was freed went back to the system.\n")
    } else {
        "No memory issue was found.\n".to_owned()
    };
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}

/// mimalloc keeps no statistics in a form that could be shown.
fn malloc_stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.reply.bulk("Stats not supported for the current allocator");
    Ok(Effect::None)
}

fn purge(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if let Some(purge) = ctx.core.purge {
        purge();
    }
    ctx.reply.ok();
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "MEMORY",
        &[
            "DOCTOR",
            "    Return memory problems reports.",
            "MALLOC-STATS",
            "    Return internal statistics report from the memory allocator.",
            "PURGE",
            "    Attempt to purge dirty pages for reclamation by the allocator.",
            "STATS",
            "    Return information about the memory usage of the server.",
            "USAGE <key> [SAMPLES <count>]",
            "    Return memory in bytes used by <key> and its value. Nested values are",
            "    sampled up to <count> times (default: 5, 0 means sample all).",
        ],
    )
}
