//! XREAD and XREADGROUP: reading behind an id, in several streams at once, and waiting where nothing is there yet. What a
//! group is given is told to replicas as the claims that have the same effect.

use keystead_keyspace::stream::{Group, Stream};
use keystead_keyspace::{Keyspace, Object, StreamId};
use keystead_resp::{Args, OwnedArgs, Writer};

use super::claim::{propagate_claim, propagate_last_id};
use super::groups::group_changed;
use super::ids::{IdText, exact, write_id};
use super::{no_group, write_entries, write_entry};
use crate::commands::common::{Res, err, int_or, is};
use crate::ctx::{Ctx, OnTimeout};
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;

/// The options of both commands.
#[derive(Default)]
struct Options<'a> {
    block_ms: Option<u64>,
    /// 0 is no limit.
    count: usize,
    no_ack: bool,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    /// Where the keys begin, and how many there are.
    keys_at: usize,
    keys: usize,
}

/// Behind what a stream is read.
#[derive(Clone, Copy)]
enum From {
    /// An id.
    Behind(StreamId),
    /// What nobody in the group was given (`>`).
    New,
    /// What the consumer has and didn't acknowledge, behind an id.
    Own(StreamId),
}

/// The keys, for those who ask before anything runs.
pub(super) fn keys(args: Args<'_>) -> Vec<usize> {
    // A group or consumer may be called STREAMS.
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        match arg {
            a if is(a, "streams") => break,
            a if is(a, "group") => at += 3,
            a if is(a, "block") || is(a, "count") => at += 2,
            a if is(a, "noack") => at += 1,
            _ => return Vec::new(),
        }
    }
    let words = args.len().saturating_sub(at + 1);
    if words % 2 == 1 { Vec::new() } else { (at + 1..at + 1 + words / 2).collect() }
}

/// False where a waiting XREADGROUP would find that others were given everything. Many may wait for one entry, and to run again
/// for each of them costs more than this look.
pub(crate) fn has_news(ks: &Keyspace, db: usize, key: &[u8], args: Args<'_>) -> bool {
    let Some(Object::Stream(stream)) = ks.object(db, key) else { return true };
    let name = args.iter().skip_while(|arg| !is(arg, "group")).nth(1);
    let group = name.and_then(|name| stream.group(name));
    group.is_none_or(|group| stream.last_id > group.last_id)
}

fn block_ms(arg: &[u8], now_ms: u64) -> Res<u64> {
    let ms = int_or(arg, err("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| err("ERR timeout is negative"))?;
    if ms > i64::MAX as u64 - now_ms { Err(err("ERR timeout is out of range")) } else { Ok(ms) }
}

/// There is nothing to wait for inside a script: Redis refuses the word, beside everything else that blocks. It shows the
/// command as it was typed.
fn not_in_scripts(ctx: &Ctx<'_>, args: Args<'_>) -> Res<()> {
    if ctx.core.in_script {
        let text = b" command is not allowed with BLOCK option from scripts";
        return Err(CommandError::quoting(&[b"ERR ", &args[0], text]));
    }
    Ok(())
}

fn parse<'a>(ctx: &Ctx<'_>, args: Args<'a>, groups: bool) -> Res<Options<'a>> {
    let only_groups = |option: &str| {
        let text = format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead.");
        if groups { Ok(()) } else { Err(CommandError::new(text)) }
    };
    let (mut o, mut at) = (Options::default(), 1);
    while let Some(arg) = args.get(at) {
        match (arg, args.get(at + 1), args.get(at + 2)) {
            (a, Some(value), _) if is(a, "block") => {
                not_in_scripts(ctx, args)?;
                o.block_ms = Some(block_ms(value, ctx.now_ms())?);
            }
            (a, Some(value), _) if is(a, "count") => o.count = super::count(value)?,
            (a, Some(_), _) if is(a, "streams") => {
                (o.keys_at, o.keys) = (at + 1, (args.len() - at - 1) / 2);
                if (args.len() - at - 1) % 2 == 1 {
                    let (name, symbol) = if groups { ("xreadgroup", '>') } else { ("xread", '$') };
                    return Err(CommandError::new(format!(
                        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
                    )));
                }
                break;
            }
            (a, Some(group), Some(consumer)) if is(a, "group") => {
                only_groups("GROUP")?;
                o.group = Some((group, consumer));
                at += 1;
            }
            (a, ..) if is(a, "noack") => {
                only_groups("NOACK")?;
                o.no_ack = true;
                at += 1;
                continue;
            }
            _ => return Err(CommandError::SYNTAX),
        }
        at += 2;
    }
    if o.keys_at == 0 {
        return Err(CommandError::SYNTAX);
    }
    if groups && o.group.is_none() {
        return Err(err("ERR Missing GROUP option for XREADGROUP"));
    }
    Ok(o)
}

impl<'a> Options<'a> {
    fn key(&self, args: Args<'a>, i: usize) -> &'a [u8] {
        args.at(self.keys_at + i)
    }

    fn id<'b>(&self, args: Args<'b>, i: usize) -> &'b [u8] {
        args.at(self.keys_at + self.keys + i)
    }

    fn most(&self) -> usize {
        if self.count == 0 { usize::MAX } else { self.count }
    }

    /// Where reading stream `i` begins.
    fn from(&self, ks: &Keyspace, db: usize, args: Args<'a>, i: usize) -> Res<From> {
        let key = self.key(args, i);
        let stream = ks.stream(db, key)?;
        if let Some((group, _)) = self.group
            && stream.is_none_or(|stream| stream.group(group).is_none())
        {
            return Err(no_group(key, group, " in XREADGROUP with GROUP option"));
        }
        match (self.id(args, i), self.group.is_some()) {
            (b"$", true) => Err(err("ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would \
                 just return an empty result set.")),
            (b"$", false) => Ok(From::Behind(stream.map_or(StreamId::MIN, |stream| stream.last_id))),
            (b">", true) => Ok(From::New),
            (b">", false) => Err(err("ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                 <group> <consumer> option.")),
            (text, true) => Ok(match exact(text)? {
                StreamId::MAX => From::New,
                id => From::Own(id),
            }),
            (text, false) => exact(text).map(From::Behind),
        }
    }

    /// Waits for the keys; the command that runs again has `$` as it is now, and is no copy where there is none.
    fn wait(&self, ctx: &mut Ctx<'_>, args: Args<'a>, from: &[From]) -> CommandResult {
        let Some(timeout_ms) = self.block_ms else {
            ctx.reply().null_array();
            return Ok(Effect::None);
        };
        let keys: Vec<&[u8]> = (0..self.keys).map(|i| self.key(args, i)).collect();
        if (0..self.keys).all(|i| self.id(args, i) != b"$") {
            return ctx.park_on_keys(&keys, timeout_ms, OnTimeout::NullArray);
        }
        let ids_at = self.keys_at + self.keys;
        let mut again = OwnedArgs::new();
        for (at, arg) in args.iter().enumerate() {
            match at.checked_sub(ids_at).and_then(|i| from.get(i)) {
                Some(From::Behind(id)) => again.push(IdText::new(*id).as_bytes()),
                _ => again.push(arg),
            }
        }
        ctx.park_on_keys_as(&keys, timeout_ms, OnTimeout::NullArray, again)
    }
}

/// Several streams in one reply: a map of key and entries, or pairs of them in RESP2.
struct Reply {
    mark: usize,
    streams: usize,
}

impl Reply {
    fn head(&mut self, out: &mut Writer<'_>, key: &[u8]) {
        if out.proto == keystead_resp::Proto::Resp2 {
            out.array(2);
        }
        out.bulk(key);
        self.streams += 1;
    }

    fn end(self, out: &mut Writer<'_>) {
        match out.proto {
            keystead_resp::Proto::Resp2 => out.end_array(self.mark, self.streams),
            keystead_resp::Proto::Resp3 => out.end_map(self.mark, self.streams),
        }
    }
}

pub(super) fn xread(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (options, most) = (parse(ctx, args, false)?, ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let from = (0..options.keys).map(|i| options.from(ks, db, args, i)).collect::<Res<Vec<From>>>()?;
    let mut reply = Reply { mark: out.defer(), streams: 0 };
    for (i, from) in from.iter().enumerate() {
        // A stream may be named again and again.
        if out.out.len() >= most {
            break;
        }
        let key = options.key(args, i);
        let (Some(stream), From::Behind(id)) = (ks.stream(db, key)?, *from) else { continue };
        if let Some(start) = id.next().filter(|_| stream.top_id().is_some_and(|top| top > id)) {
            reply.head(&mut out, key);
            write_entries(&mut out, stream.range(start, StreamId::MAX).take(options.most()), most);
        }
    }
    if reply.streams > 0 {
        reply.end(&mut out);
        return Ok(Effect::None);
    }
    options.wait(ctx, args, &from)
}

pub(super) fn xreadgroup(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    let (options, most) = (parse(ctx, args, true)?, ctx.most_output());
    let Some(names) = options.group else { return Err(CommandError::SYNTAX) };
    let (ks, db, mut out) = ctx.split();
    let from = (0..options.keys).map(|i| options.from(ks, db, args, i)).collect::<Res<Vec<From>>>()?;
    let mut reply = Reply { mark: out.defer(), streams: 0 };
    for (i, from) in from.iter().enumerate() {
        let read = Read { key: options.key(args, i), names, now_ms: now_ms as i64, options: &options, most };
        let done = read.run(ctx, *from, &mut reply)?;
        read.propagate(ctx, &done);
    }
    if reply.streams > 0 {
        reply.end(ctx.reply());
        return Ok(Effect::None);
    }
    options.wait(ctx, args, &from)
}

/// One stream read for a consumer of a group.
struct Read<'a> {
    key: &'a [u8],
    names: (&'a [u8], &'a [u8]),
    now_ms: i64,
    options: &'a Options<'a>,
    /// Length of the reply's buffer behind which nobody reads: what is given there is given, as in Redis, but not written.
    most: usize,
}

/// What a read changed.
#[derive(Default)]
struct Done {
    new_consumer: bool,
    /// New entries that the consumer was given.
    given: Vec<StreamId>,
    last_id: StreamId,
    entries_read: i64,
}

impl Read<'_> {
    fn run(&self, ctx: &mut Ctx<'_>, from: From, reply: &mut Reply) -> Res<Done> {
        let (group_name, consumer) = self.names;
        let (ks, db, mut out) = ctx.split();
        // Nobody watches what a group was given: it changes no entry.
        let Some(mut stream) = super::read_mut(ks, db, self.key)? else { return Ok(Done::default()) };
        let mut done = Done::default();
        stream.change_group(group_name, |group| {
            done.new_consumer = group.create_consumer(consumer, self.now_ms);
            group.change_consumer(consumer, |consumer| consumer.seen_ms = self.now_ms);
        });
        let served = match from {
            From::Own(id) => {
                reply.head(&mut out, self.key);
                self.own(&mut stream, id, &mut out);
                true
            }
            _ => self.fresh(&mut stream, &mut out, reply, &mut done),
        };
        stream.unchanged();
        drop(stream);
        ks.add_dirty(u64::from(served));
        if done.new_consumer {
            group_changed(ks, db, self.key, "xgroup-createconsumer");
        }
        Ok(done)
    }

    /// What nobody in the group was given yet. False if there is nothing.
    fn fresh(&self, stream: &mut Stream, out: &mut Writer<'_>, reply: &mut Reply, done: &mut Done) -> bool {
        let (group_name, consumer) = self.names;
        let Some(group) = stream.group(group_name) else { return false };
        let last = group.last_id;
        let Some(start) = last.next().filter(|_| stream.top_id().is_some_and(|top| top > last)) else { return false };
        reply.head(out, self.key);
        let (mark, mut written) = (out.defer(), 0);
        for entry in stream.range(start, StreamId::MAX).take(self.options.most()) {
            done.given.push(entry.id);
            if out.out.len() < self.most {
                write_entry(out, &entry);
                written += 1;
            }
        }
        out.end_array(mark, written);
        done.last_id = done.given.last().copied().unwrap_or(last);
        done.entries_read = stream.reads_after(group.entries_read, &done.given);
        stream.change_group(group_name, |group| {
            (group.last_id, group.entries_read) = (done.last_id, done.entries_read);
            if !self.options.no_ack {
                group.deliver(consumer, &done.given, self.now_ms);
            }
        });
        true
    }

    /// What the consumer has already, once more. Of an entry that was deleted only the id is left.
    fn own(&self, stream: &mut Stream, behind: StreamId, out: &mut Writer<'_>) {
        let (group_name, name) = self.names;
        let consumer = stream.group(group_name).and_then(|group: &Group| group.consumer(name));
        let (Some(consumer), Some(start)) = (consumer, behind.next()) else { return out.array(0) };
        let ids: Vec<StreamId> = consumer.owned_from(start).take(self.options.most()).copied().collect();
        out.array(ids.len());
        let mut there = Vec::with_capacity(ids.len());
        for id in ids {
            let entry = stream.get(id);
            there.extend(entry.as_ref().map(|_| id));
            if out.out.len() >= self.most {
                continue;
            }
            match entry {
                Some(entry) => write_entry(out, &entry),
                None => {
                    out.array(2);
                    write_id(out, id);
                    out.null_array();
                }
            }
        }
        stream.change_group(group_name, |group| there.iter().for_each(|id| group.deliver_again(*id, self.now_ms)));
    }

    /// A claim for each entry, and what no claim says.
    fn propagate(&self, ctx: &mut Ctx<'_>, done: &Done) {
        let (group, consumer) = self.names;
        let claims = !self.options.no_ack && !done.given.is_empty();
        if done.new_consumer && !claims {
            _ = ctx.instead(&[b"XGROUP", b"CREATECONSUMER", self.key, group, consumer]);
        }
        if claims {
            for id in &done.given {
                propagate_claim(ctx, self.key, (group, consumer), *id, (self.now_ms, 1), *id);
            }
        } else if !done.given.is_empty() {
            propagate_last_id(ctx, self.key, group, done.last_id, done.entries_read);
        }
    }
}
