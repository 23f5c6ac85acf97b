//! XGROUP: groups of consumers come, are moved, and go.

use keystead_keyspace::stream::{Stream, UNKNOWN_READS};
use keystead_keyspace::{Class, Create, Event, Guard, Keyspace};
use keystead_resp::Args;

use super::ids::{exact_or_end, exact_or_last};
use super::no_group_of;
use crate::commands::common::{Res, as_sent_if, err, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;

const NO_KEY: CommandError =
    err("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want \
     to use the MKSTREAM option to create an empty stream automatically.");

/// Options of CREATE and SETID behind the id.
struct Options {
    make_stream: bool,
    entries_read: i64,
}

fn options(args: Args<'_>, name: &str) -> Res<Options> {
    let mut o = Options { make_stream: false, entries_read: UNKNOWN_READS };
    let mut at = 5;
    while let Some(arg) = args.get(at) {
        match args.get(at + 1) {
            _ if name == "create" && is(arg, "mkstream") => o.make_stream = true,
            Some(value) if is(arg, "entriesread") => {
                o.entries_read = int(value)?;
                if o.entries_read < UNKNOWN_READS {
                    return Err(err("ERR value for ENTRIESREAD must be positive or -1"));
                }
                at += 1;
            }
            _ => return Err(syntax(args)),
        }
        at += 1;
    }
    Ok(o)
}

/// Redis counts a wrong option as a wrong subcommand.
fn syntax(args: Args<'_>) -> CommandError {
    CommandError::subcommand_syntax("XGROUP", &args[1])
}

/// The key's stream; one of its groups must be there.
fn with_group<'k>(ctx: &'k mut Ctx<'_>, args: Args<'_>) -> Res<Guard<'k, Stream>> {
    let db = ctx.db();
    let stream = ctx.keyspace().stream_mut(db, &args[2], Create::No)?.ok_or(NO_KEY)?;
    if stream.group(&args[3]).is_none() {
        return Err(no_group_of(&args[2], &args[3]));
    }
    Ok(stream)
}

/// Counts and tells what happened to a group. It changes no entry, so nobody who watches the key is concerned.
pub(super) fn group_changed(ks: &mut Keyspace, db: usize, key: &[u8], event: &'static str) {
    ks.add_dirty(1);
    ks.tell(db, key, Event::new(Class::Stream, event));
}

pub(super) fn create(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let o = options(args, "create")?;
    let (ks, db, mut out) = ctx.split();
    let (key, name) = (&args[2], &args[3]);
    let old = ks.stream(db, key)?.map(|stream| (stream.last_id, stream.group(name).is_some()));
    if old.is_none() && !o.make_stream {
        return Err(NO_KEY);
    }
    if args.len() > 8 {
        return Err(syntax(args));
    }
    let id = exact_or_last(&args[4], old.map(|(last_id, _)| last_id).unwrap_or_default())?;
    if old.is_some_and(|(_, exists)| exists) {
        return Err(err("BUSYGROUP Consumer Group name already exists"));
    }
    let Some(mut stream) = ks.stream_mut(db, key, Create::Yes)? else { return Err(NO_KEY) };
    stream.create_group(name, id, o.entries_read);
    let new = stream.is_new();
    if !new {
        stream.unchanged();
    }
    drop(stream);
    if !new {
        group_changed(ks, db, key, "xgroup-create");
    }
    out.ok();
    Ok(Effect::AsSent)
}

pub(super) fn setid(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let o = options(args, "setid")?;
    let mut stream = with_group(ctx, args)?;
    if args.len() > 7 {
        return Err(syntax(args));
    }
    let id = if is(&args[4], "$") { stream.last_id } else { exact_or_end(&args[4], 0)? };
    stream.change_group(&args[3], |group| (group.last_id, group.entries_read) = (id, o.entries_read));
    stream.unchanged();
    drop(stream);
    let (ks, db, mut out) = ctx.split();
    group_changed(ks, db, &args[2], "xgroup-setid");
    out.ok();
    Ok(Effect::AsSent)
}

pub(super) fn destroy(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let Some(mut stream) = ks.stream_mut(db, &args[2], Create::No)? else { return Err(NO_KEY) };
    let gone = stream.destroy_group(&args[3]);
    stream.unchanged();
    drop(stream);
    let done = gone.is_some();
    out.int(i64::from(done));
    if let Some(group) = gone {
        group_changed(ks, db, &args[2], "xgroup-destroy");
        ks.discard_group(group);
        // Who waits for it as a consumer must hear that it is gone.
        ctx.core.blocking.touched(db, &args[2], || None);
    }
    Ok(as_sent_if(done))
}

pub(super) fn createconsumer(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms() as i64;
    let mut stream = with_group(ctx, args)?;
    let new = stream.change_group(&args[3], |group| group.create_consumer(&args[4], now_ms)).unwrap_or(false);
    stream.unchanged();
    drop(stream);
    let (ks, db, mut out) = ctx.split();
    if new {
        group_changed(ks, db, &args[2], "xgroup-createconsumer");
    }
    out.int(i64::from(new));
    Ok(as_sent_if(new))
}

pub(super) fn delconsumer(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut stream = with_group(ctx, args)?;
    let gone = stream.change_group(&args[3], |group| group.delete_consumer(&args[4])).flatten();
    stream.unchanged();
    drop(stream);
    let (ks, db, mut out) = ctx.split();
    out.int(gone.as_ref().map_or(0, |gone| gone.pending as i64));
    let done = gone.is_some();
    if let Some(gone) = gone {
        group_changed(ks, db, &args[2], "xgroup-delconsumer");
        ks.discard_group(gone.rest);
        if gone.unfinished {
            ks.tidy_later(db, &args[2], &args[3]);
        }
    }
    Ok(as_sent_if(done))
}

pub(super) fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    crate::commands::write_help(
        ctx,
        "XGROUP",
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a new consumer in the specified group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove the specified consumer.",
            "DESTROY <key> <groupname>",
            "    Remove the specified group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ],
    )
}
