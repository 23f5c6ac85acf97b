//! LATENCY LATEST, HISTORY, GRAPH, RESET, DOCTOR, HISTOGRAM.

use keystead_resp::Args;

use super::latency_graph;
use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::{CommandError, c_text};
use crate::histogram::Histogram;
use crate::registry::Command;
use crate::spec::*;

const ADM: u32 = ADMIN | NOSCRIPT | LOADING | STALE;
const NONE: KeySpec = KeySpec::None;
const SRV: Group = Group::Server;

/// The table.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[CommandSpec::container("latency", SRV, "2.8.13", "A container for latency diagnostics commands.", &[
    CommandSpec::new("doctor", 2, ADM, NONE, SRV, "2.8.13", "Returns a human-readable latency analysis report.", doctor),
    CommandSpec::new("graph", 3, ADM, NONE, SRV, "2.8.13", "Returns a latency graph for an event.", graph),
    CommandSpec::new("help", 2, LOADING | STALE, NONE, SRV, "2.8.13", "Returns helpful text about the different subcommands.", help),
    CommandSpec::new("histogram", -2, ADM, NONE, SRV, "7.0.0", "Returns the cumulative distribution of latencies of a subset or all commands.", histogram),
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

/// How long ago, in the shortest unit that will do.
fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn graph(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let name = args.text(2).to_ascii_lowercase();
    let now_s = ctx.now_ms() / 1000;
    let Some(event) = ctx.core.latency.event(&name) else {
        return Err(CommandError::quoting(&[b"ERR No samples available for event '", c_text(args.at(2)), b"'"]));
    };
    let times = || event.samples.iter().map(|sample| sample.1);
    let (high, low) = (times().max().unwrap_or(0), times().min().unwrap_or(0));
    let samples: Vec<(u64, String)> =
        event.samples.iter().map(|(time_s, ms)| (*ms, ago(now_s.saturating_sub(*time_s)))).collect();
    let title = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", event.max_ms);
    let line = "-".repeat(80);
    let text = format!("{title}{line}\n{}", latency_graph::draw(&samples));
    ctx.reply.verbatim(*b"txt", text);
    Ok(Effect::None)
}

fn histogram(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Ctx { core, reply, .. } = ctx;
    let named: Vec<&'static Command> = match args.len() {
        2 => core.registry.all().collect(),
        _ => args.skip(2).iter().filter_map(|name| core.registry.find_full(&String::from_utf8_lossy(name))).collect(),
    };
    let all = named.into_iter().flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied()));
    let found: Vec<(&str, Histogram)> = all
        .filter_map(|command| {
            Some((command.full_name.as_str(), core.stats.histograms[command.index].as_ref()?.settled()))
        })
        .collect();
    reply.map(found.len());
    for (name, histogram) in found {
        reply.bulk(name);
        reply.map(2);
        reply.bulk("calls");
        reply.int(histogram.count() as i64);
        reply.bulk("histogram_usec");
        let columns = histogram.columns();
        reply.map(columns.len());
        for (usec, count) in columns {
            reply.int(usec as i64);
            reply.int(count as i64);
        }
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
            "GRAPH <event>",
            "    Return an ASCII latency graph for the <event> class.",
            "HISTORY <event>",
            "    Return time-latency samples for the <event> class.",
            "LATEST",
            "    Return the latest latency samples for all events.",
            "RESET [<event> ...]",
            "    Reset latency data of one or more <event> classes.",
            "    (default: reset all data for all event classes)",
            "HISTOGRAM [COMMAND ...]",
            "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
            "    If no commands are specified then all histograms are replied.",
        ],
    )
}
