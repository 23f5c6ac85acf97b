//! XINFO: what a stream, its groups and their consumers are like.

use keystead_keyspace::StreamId;
use keystead_keyspace::stream::{Consumer, Group, Stream, UNKNOWN_READS};
use keystead_resp::{Args, Writer};

use super::ids::write_id;
use super::{no_group_of, write_entries, write_entry};
use crate::args::ArgsExt;
use crate::commands::common::{Res, int};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;

/// Entries and pending entries that FULL shows unless told otherwise.
const FULL_COUNT: usize = 10;

/// The count of FULL, if it is asked for.
fn full(args: Args<'_>) -> Res<Option<usize>> {
    let bad = || CommandError::subcommand_syntax("XINFO", args.at(1));
    match args.len() {
        3 => Ok(None),
        4 if args.is(3, "full") => Ok(Some(FULL_COUNT)),
        6 if args.is(3, "full") && args.is(4, "count") => {
            let count = usize::try_from(int(&args[5])?).unwrap_or(FULL_COUNT);
            Ok(Some(if count == 0 { usize::MAX } else { count }))
        }
        _ => Err(bad()),
    }
}

pub(super) fn stream(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let stream = ks.stream(db, &args[2])?.ok_or(CommandError::NO_KEY)?;
    let full = full(args)?;
    out.map(if full.is_some() { 9 } else { 10 });
    head(stream, &mut out);
    match full {
        None => summary(stream, &mut out),
        Some(count) => everything(stream, count, &mut out, most),
    }
    Ok(Effect::None)
}

fn field(out: &mut Writer<'_>, name: &str, value: i64) {
    out.bulk(name);
    out.int(value);
}

fn id_field(out: &mut Writer<'_>, name: &str, id: StreamId) {
    out.bulk(name);
    write_id(out, id);
}

fn head(stream: &Stream, out: &mut Writer<'_>) {
    field(out, "length", stream.len() as i64);
    // Blocks have Redis' boundaries; the tree above them is another, of which only the smallest has Redis' size.
    field(out, "radix-tree-keys", stream.blocks() as i64);
    field(out, "radix-tree-nodes", stream.blocks() as i64 + 1);
    id_field(out, "last-generated-id", stream.last_id);
    id_field(out, "max-deleted-entry-id", stream.max_deleted_id);
    field(out, "entries-added", stream.entries_added as i64);
    id_field(out, "recorded-first-entry-id", stream.first_id());
}

fn summary(stream: &Stream, out: &mut Writer<'_>) {
    field(out, "groups", stream.group_count() as i64);
    let first = stream.iter().next();
    let last = stream.rev_range(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        out.bulk(name);
        match entry {
            Some(entry) => write_entry(out, &entry),
            None => out.null(),
        }
    }
}

/// Ends at `most` bytes, which nobody will read.
fn everything(stream: &Stream, count: usize, out: &mut Writer<'_>, most: usize) {
    out.bulk("entries");
    write_entries(out, stream.iter().take(count), most);
    out.bulk("groups");
    out.array(stream.group_count());
    for group in stream.groups() {
        out.map(7);
        out.bulk("name");
        out.bulk(group.name());
        progress(stream, group, out);
        field(out, "pel-count", group.pending() as i64);
        out.bulk("pending");
        out.array(group.pending().min(count));
        for pending in group.pending_from(StreamId::MIN).take(count) {
            if out.out.len() >= most {
                return;
            }
            out.array(4);
            write_id(out, pending.id);
            out.bulk(pending.owner());
            out.int(pending.delivered_ms);
            out.int(pending.deliveries as i64);
        }
        out.bulk("consumers");
        out.array(group.consumer_count());
        for consumer in group.consumers() {
            if out.out.len() >= most {
                return;
            }
            full_consumer(group, consumer, count, out);
        }
    }
}

/// How far a group has read.
fn progress(stream: &Stream, group: &Group, out: &mut Writer<'_>) {
    id_field(out, "last-delivered-id", group.last_id);
    let known = Some(group.entries_read).filter(|read| *read != UNKNOWN_READS);
    for (name, value) in [("entries-read", known), ("lag", stream.lag(group.last_id, group.entries_read))] {
        out.bulk(name);
        match value {
            Some(value) => out.int(value),
            None => out.null(),
        }
    }
}

fn full_consumer(group: &Group, consumer: &Consumer, count: usize, out: &mut Writer<'_>) {
    out.map(5);
    out.bulk("name");
    out.bulk(consumer.name());
    field(out, "seen-time", consumer.seen_ms);
    field(out, "active-time", consumer.active_ms);
    field(out, "pel-count", consumer.pending() as i64);
    out.bulk("pending");
    out.array(consumer.pending().min(count));
    let owned = consumer.owned_from(StreamId::MIN).take(count);
    for pending in owned.filter_map(|id| group.pending_at(*id)) {
        out.array(3);
        write_id(out, pending.id);
        out.int(pending.delivered_ms);
        out.int(pending.deliveries as i64);
    }
}

pub(super) fn groups(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let stream = ks.stream(db, &args[2])?.ok_or(CommandError::NO_KEY)?;
    out.array(stream.group_count());
    for group in stream.groups() {
        out.map(6);
        out.bulk("name");
        out.bulk(group.name());
        field(&mut out, "consumers", group.consumer_count() as i64);
        field(&mut out, "pending", group.pending() as i64);
        progress(stream, group, &mut out);
    }
    Ok(Effect::None)
}

pub(super) fn consumers(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms() as i64;
    let (ks, db, mut out) = ctx.split();
    let stream = ks.stream(db, &args[2])?.ok_or(CommandError::NO_KEY)?;
    let group = stream.group(&args[3]).ok_or_else(|| no_group_of(&args[2], &args[3]))?;
    out.array(group.consumer_count());
    for consumer in group.consumers() {
        let inactive = if consumer.active_ms < 0 { -1 } else { now_ms.saturating_sub(consumer.active_ms) };
        out.map(4);
        out.bulk("name");
        out.bulk(consumer.name());
        field(&mut out, "pending", consumer.pending() as i64);
        field(&mut out, "idle", now_ms.saturating_sub(consumer.seen_ms).max(0));
        field(&mut out, "inactive", inactive);
    }
    Ok(Effect::None)
}

pub(super) fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    crate::commands::write_help(
        ctx,
        "XINFO",
        &[
            "CONSUMERS <key> <groupname>",
            "    Show consumers of <groupname>.",
            "GROUPS <key>",
            "    Show the stream consumer groups.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Show information about the stream.",
        ],
    )
}
