//! LATENCY LATEST, HISTORY, RESET, DOCTOR. Histograms are not kept and therefore not offered.

use keystead_resp::Args;

use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::spec::*;

const ADM: u32 = ADMIN | NOSCRIPT | LOADING | STALE;
const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[CommandSpec::container("latency", SRV, "2.8.13", "A container for latency diagnostics commands.", &[
    CommandSpec::new("doctor", 2, ADM, NONE, SRV, "2.8.13", "Returns a human-readable latency analysis report.", doctor),
    CommandSpec::new("help", 2, LOADING | STALE, NONE, SRV, "2.8.13", "Returns helpful text about the different subcommands.", help),
    CommandSpec::new("history", 3, ADM, NONE, SRV, "2.8.13", "Returns timestamp-latency samples for an event.", history),
    CommandSpec::new("latest", 2, ADM, NONE, SRV, "2.8.13", "Returns the latest latency samples for all events.", latest),
    CommandSpec::new("reset", -2, ADM, NONE, SRV, "2.8.13", "Resets the latency data for one or more events.", reset),
])];

fn latest(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let Ctx { core, reply, .. } = ctx;
    let events = core.latency.events();
    reply.array(events.len());
    for (name, event) in events {
        let (time_s, ms) = event.samples.back().copied().unwrap_or_default();
        reply.array(4);
        reply.bulk(name);
        reply.int(time_s as i64);
        reply.int(ms as i64);
        reply.int(event.max_ms as i64);
    }
    Ok(Effect::None)
}

fn history(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let name = args.text(2).to_ascii_lowercase();
    let Ctx { core, reply, .. } = ctx;
    let samples = core.latency.event(&name).map(|event| &event.samples);
    reply.array(samples.map_or(0, |samples| samples.len()));
    for (time_s, ms) in samples.into_iter().flatten() {
        reply.array(2);
        reply.int(*time_s as i64);
        reply.int(*ms as i64);
    }
    Ok(Effect::None)
}

fn reset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let names: Vec<String> = (2..args.len()).map(|at| args.text(at)).collect();
    let count = ctx.core.latency.reset(&names);
    ctx.reply.int(count as i64);
    Ok(Effect::None)
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let mut text = String::new();
    let threshold = ctx.core.config.live.latency_threshold_ms;
    if threshold == 0 {
        text.push_str(
            "The latency monitor is disabled. Use \"CONFIG SET latency-monitor-threshold <milliseconds>\" to enable it.\n",
        );
    } else if ctx.core.latency.events().len() == 0 {
        text.push_str(&format!("No event took {threshold} ms or longer.\n"));
    }
    for (name, event) in ctx.core.latency.events() {
        let count = event.samples.len();
        let mean = event.samples.iter().map(|sample| sample.1).sum::<u64>() / count.max(1) as u64;
        let max = event.max_ms;
        text.push_str(&format!("{name}: {count} latency spikes (average {mean} ms). Worst all time event {max} ms.\n"));
    }
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    super::write_help(
        ctx,
        "LATENCY",
        &[
            "DOCTOR",
            "    Return a human readable latency analysis report.",
            "HISTORY <event>",
            "    Return time-latency samples for the <event> class.",
            "LATEST",
            "    Return the latest latency samples for all events.",
            "RESET [<event> ...]",
            "    Reset latency data of one or more <event> classes.",
            "    (default: reset all data for all event classes)",
        ],
    )
}
