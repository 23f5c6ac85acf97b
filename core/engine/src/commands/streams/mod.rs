//! Streams: the table of the family, and what reads and deletes entries. Adding and trimming is in `add`, waiting for
//! entries in `read`, groups of consumers in `groups`, `pending` and `claim`, XINFO in `info`.

mod add;
mod claim;
mod groups;
mod ids;
mod info;
mod pending;
mod read;

use keystead_keyspace::stream::{Entry, Stream, StreamId};
use keystead_keyspace::{Create, Guard, Keyspace};
use keystead_rdb::Elem;
use keystead_resp::{Args, Writer};

use super::common::{Res, as_sent_if, err, int, is};
use crate::args::ArgsExt;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::{CommandError, c_text};
use crate::spec::*;
use ids::{exact, interval_end, interval_start, write_id};
pub(crate) use read::has_news;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: KeySpec,
    since: &'static str,
    text: &'static str,
    f: Handler,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, keys, Group::Stream, since, text, f)
}

const ONE: KeySpec = KeySpec::FIRST;
/// The key of a subcommand.
const SUB: KeySpec = KeySpec::Range { first: 2, last: 2, step: 1 };
const HELP: u32 = LOADING | STALE;
const WAITS: u32 = BLOCKING | MOVABLEKEYS;

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("xadd", -5, WRITE | DENYOOM | FAST, ONE, "5.0.0", "Appends a new message to a stream. Creates the key if it doesn't exist.", add::xadd).uses(&[WRITES]),
    row("xtrim", -4, WRITE, ONE, "5.0.0", "Deletes messages from the beginning of a stream.", add::xtrim).uses(&[DROPS]),
    row("xdel", -3, WRITE | FAST, ONE, "5.0.0", "Returns the number of messages after removing them from a stream.", xdel).uses(&[DROPS]),
    row("xrange", -4, READONLY, ONE, "5.0.0", "Returns the messages from a stream within a range of IDs.", xrange),
    row("xrevrange", -4, READONLY, ONE, "5.0.0", "Returns the messages from a stream within a range of IDs in reverse order.", xrevrange),
    row("xlen", 2, READONLY | FAST, ONE, "5.0.0", "Return the number of messages in a stream.", xlen).uses(&[LOOKS]),
    row("xread", -4, READONLY | WAITS, KeySpec::Custom(read::keys), "5.0.0",
        "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message is available otherwise.", read::xread),
    row("xreadgroup", -7, WRITE | WAITS, KeySpec::Custom(read::keys), "5.0.0",
        "Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is available otherwise.", read::xreadgroup).uses(&[READS]),
    row("xsetid", -3, WRITE | DENYOOM | FAST, ONE, "5.0.0", "An internal command for replicating stream values.", xsetid).uses(&[WRITES]),
    row("xack", -4, WRITE | FAST, ONE, "5.0.0",
        "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream.", pending::xack).uses(&[WRITES]),
    row("xpending", -3, READONLY, ONE, "5.0.0",
        "Returns the information and entries from a stream consumer group's pending entries list.", pending::xpending),
    row("xclaim", -6, WRITE | FAST, ONE, "5.0.0",
        "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member.", claim::xclaim).uses(&[WRITES]),
    row("xautoclaim", -6, WRITE | FAST, ONE, "6.2.0",
        "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member.", claim::xautoclaim).uses(&[DROPS]),
    CommandSpec::container("xgroup", Group::Stream, "5.0.0", "A container for consumer groups commands.", &[
        row("create", -5, WRITE | DENYOOM, SUB, "5.0.0", "Creates a consumer group.", groups::create).uses(&[PUTS]),
        row("setid", -5, WRITE, SUB, "5.0.0", "Sets the last-delivered ID of a consumer group.", groups::setid).uses(&[WRITES]),
        row("destroy", 4, WRITE, SUB, "5.0.0", "Destroys a consumer group.", groups::destroy).uses(&[DROPS]),
        row("createconsumer", 5, WRITE | DENYOOM, SUB, "6.2.0", "Creates a consumer in a consumer group.", groups::createconsumer).uses(&[PUTS]),
        row("delconsumer", 5, WRITE, SUB, "5.0.0", "Deletes a consumer from a consumer group.", groups::delconsumer).uses(&[DROPS]),
        row("help", 2, HELP, KeySpec::None, "5.0.0", "Returns helpful text about the different subcommands.", groups::help),
    ]),
    CommandSpec::container("xinfo", Group::Stream, "5.0.0", "A container for stream introspection commands.", &[
        row("stream", -3, READONLY, SUB, "5.0.0", "Returns information about a stream.", info::stream),
        row("groups", 3, READONLY, SUB, "5.0.0", "Returns a list of the consumer groups of a stream.", info::groups),
        row("consumers", 4, READONLY, SUB, "5.0.0", "Returns a list of the consumers in a consumer group.", info::consumers),
        row("help", 2, HELP, KeySpec::None, "5.0.0", "Returns helpful text about the different subcommands.", info::help),
    ]),
];

/// A consumer group or its key that isn't there.
fn no_group(key: &[u8], group: &[u8], tail: &str) -> CommandError {
    let (start, between) = (b"NOGROUP No such key '", b"' or consumer group '");
    CommandError::quoting(&[start, c_text(key), between, c_text(group), b"'", tail.as_bytes()])
}

/// A consumer group that isn't there, where the key is.
fn no_group_of(key: &[u8], group: &[u8]) -> CommandError {
    let (start, between) = (b"NOGROUP No such consumer group '", b"' for key name '");
    CommandError::quoting(&[start, c_text(group), between, c_text(key), b"'"])
}

/// The key's stream, to change its groups: looked up as by a reader, which counts hits and misses.
fn read_mut<'k>(ks: &'k mut Keyspace, db: usize, key: &[u8]) -> Res<Option<Guard<'k, Stream>>> {
    match ks.stream(db, key)? {
        None => Ok(None),
        Some(_) => Ok(ks.stream_mut(db, key, Create::No)?),
    }
}

fn write_elem(out: &mut Writer<'_>, elem: Elem<'_>) {
    match elem {
        Elem::Bytes(bytes) => out.bulk(bytes),
        Elem::Int(value) => out.bulk_int(value),
    }
}

/// Answers an entry: its id, and its fields and values in turn.
fn write_entry(out: &mut Writer<'_>, entry: &Entry<'_>) {
    out.array(2);
    write_id(out, entry.id);
    out.array(2 * entry.len());
    for (field, value) in entry.pairs() {
        write_elem(out, field);
        write_elem(out, value);
    }
}

/// Answers entries, up to `most` bytes of the reply's buffer: behind that nobody reads them.
fn write_entries<'a>(out: &mut Writer<'_>, entries: impl Iterator<Item = Entry<'a>>, most: usize) {
    let (mark, mut count) = (out.defer(), 0);
    for entry in entries {
        if out.out.len() >= most {
            break;
        }
        write_entry(out, &entry);
        count += 1;
    }
    out.end_array(mark, count);
}

/// A count of entries as `COUNT` gives it: anything below zero is zero.
fn count(arg: &[u8]) -> Res<usize> {
    Ok(usize::try_from(int(arg)?).unwrap_or(0))
}

fn xlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(ks.stream(db, &args[1])?.map_or(0, |stream| stream.len() as i64));
    Ok(Effect::None)
}

fn xrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    range(ctx, args, false)
}

fn xrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    range(ctx, args, true)
}

fn range(ctx: &mut Ctx<'_>, args: Args<'_>, backward: bool) -> CommandResult {
    let (from, to) = if backward { (3, 2) } else { (2, 3) };
    let (from, to) = (interval_start(&args[from])?, interval_end(&args[to])?);
    let (mut wanted, mut at) = (usize::MAX, 4);
    while at < args.len() {
        if !args.is(at, "count") || at + 1 >= args.len() {
            return Err(CommandError::SYNTAX);
        }
        wanted = count(&args[at + 1])?;
        at += 2;
    }
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    match ks.stream(db, &args[1])? {
        None => out.array(0),
        Some(_) if wanted == 0 => out.null_array(),
        Some(stream) if backward => write_entries(&mut out, stream.rev_range(from, to).take(wanted), most),
        Some(stream) => write_entries(&mut out, stream.range(from, to).take(wanted), most),
    }
    Ok(Effect::None)
}

fn xdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let Some(mut stream) = ks.stream_mut(db, &args[1], Create::No)? else {
        out.int(0);
        return Ok(Effect::None);
    };
    let ids = args.skip(2).iter().map(exact).collect::<Res<Vec<StreamId>>>()?;
    let deleted = ids.into_iter().filter(|id| stream.delete(*id)).count();
    stream.changed(deleted as u64);
    out.int(deleted as i64);
    Ok(as_sent_if(deleted > 0))
}

/// Options of XSETID.
#[derive(Default)]
struct SetId {
    entries_added: Option<u64>,
    max_deleted_id: StreamId,
}

fn setid_options(args: Args<'_>, id: StreamId) -> Res<SetId> {
    let (mut options, mut at) = (SetId::default(), 3);
    while let Some(arg) = args.get(at) {
        let Some(value) = args.get(at + 1) else { return Err(CommandError::SYNTAX) };
        if is(arg, "entriesadded") {
            let bad = err("ERR entries_added must be positive");
            options.entries_added = Some(u64::try_from(int(value)?).map_err(|_| bad)?);
        } else if is(arg, "maxdeletedid") {
            options.max_deleted_id = exact(value)?;
            if id < options.max_deleted_id {
                return Err(err("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"));
            }
        } else {
            return Err(CommandError::SYNTAX);
        }
        at += 2;
    }
    Ok(options)
}

fn xsetid(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let id = exact(&args[2])?;
    let options = setid_options(args, id)?;
    let (ks, db, mut out) = ctx.split();
    let Some(mut stream) = ks.stream_mut(db, &args[1], Create::No)? else { return Err(CommandError::NO_KEY) };
    if id < stream.max_deleted_id {
        return Err(err("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"));
    }
    if stream.top_id().is_some_and(|top| id < top) {
        return Err(err("ERR The ID specified in XSETID is smaller than the target stream top item"));
    }
    if options.entries_added.is_some_and(|added| (stream.len() as u64) > added) {
        return Err(err("ERR The entries_added specified in XSETID is smaller than the target stream length"));
    }
    stream.last_id = id;
    if let Some(added) = options.entries_added {
        stream.entries_added = added;
    }
    if options.max_deleted_id != StreamId::MIN {
        stream.max_deleted_id = options.max_deleted_id;
    }
    stream.unchanged();
    drop(stream);
    groups::group_changed(ks, db, &args[1], "xsetid");
    out.ok();
    Ok(Effect::AsSent)
}
