//! MEMORY USAGE, STATS, DOCTOR, PURGE.

use keystead_resp::{Args, Writer};

use super::info::{replication_buffers, used_memory};
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

fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let used = used_memory(ctx.ks, ctx.core);
    let dataset = ctx.ks.mem_bytes() as u64;
    let keys: usize = (0..ctx.ks.databases()).map(|db| ctx.ks.len(db)).sum();
    let clients = |state: &crate::session::State| state.pending_in + state.spare_in + state.pending_out;
    let normal: usize = ctx.core.sessions.iter().map(|session| clients(&session.state)).sum();
    let peak = ctx.core.stats.peak_memory.max(used);
    let (backlog, replicas) = replication_buffers(ctx.core);
    let fields: [(&str, u64); 9] = [
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", ctx.core.startup_memory),
        ("replication.backlog", backlog),
        ("clients.slaves", replicas),
        ("clients.normal", normal as u64),
        ("overhead.total", used.saturating_sub(dataset)),
        ("keys.count", keys as u64),
        ("keys.bytes-per-key", dataset.checked_div(keys as u64).unwrap_or(0)),
    ];
    let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
    let reply: &mut Writer<'_> = &mut ctx.reply;
    reply.map(fields.len() + 3);
    for (name, value) in fields {
        reply.bulk(name);
        reply.int(value as i64);
    }
    reply.bulk("dataset.bytes");
    reply.int(dataset as i64);
    reply.bulk("dataset.percentage");
    reply.double(percent(dataset, used));
    reply.bulk("peak.percentage");
    reply.double(percent(used, peak));
    Ok(Effect::None)
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
