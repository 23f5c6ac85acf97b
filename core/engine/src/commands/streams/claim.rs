//! XCLAIM and XAUTOCLAIM: pending entries that change their owner. Replicas are told each claim with the time and count it
//! resulted in, so that theirs results in the same.

use keystead_keyspace::StreamId;
use keystead_keyspace::stream::{Pending, Stream, UNKNOWN_READS};
use keystead_resp::{Args, Writer};

use super::groups::group_changed;
use super::ids::{IdText, exact, interval_start, write_id};
use super::{no_group, read_mut, write_entry};
use crate::args::ArgsExt;
use crate::commands::common::{Res, err, int, int_or, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Origin};
use crate::error::{CommandError, c_text};

/// Tells replicas that a consumer has an entry: (group, consumer), the entry, (time, count), the group's last id.
pub(super) fn propagate_claim(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    (group, consumer): (&[u8], &[u8]),
    id: StreamId,
    (delivered_ms, deliveries): (i64, u64),
    last_id: StreamId,
) {
    let (id, last_id) = (IdText::new(id), IdText::new(last_id));
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let claim: [&[u8]; 14] = [
        b"XCLAIM",
        key,
        group,
        consumer,
        b"0",
        id.as_bytes(),
        b"TIME",
        time.format(delivered_ms).as_bytes(),
        b"RETRYCOUNT",
        count.format(deliveries).as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        last_id.as_bytes(),
    ];
    _ = ctx.instead(&claim);
}

/// Tells replicas how far a group has read.
pub(super) fn propagate_last_id(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], last_id: StreamId, entries_read: i64) {
    let (id, mut read) = (IdText::new(last_id), itoa::Buffer::new());
    let read = read.format(entries_read).as_bytes();
    _ = ctx.instead(&[b"XGROUP", b"SETID", key, group, id.as_bytes(), b"ENTRIESREAD", read]);
}

/// What both commands do to each entry.
struct Claim<'a> {
    key: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
    now_ms: i64,
    min_idle_ms: i64,
    just_id: bool,
    /// When the entries count as delivered.
    delivered_ms: i64,
    /// How often they count as delivered, if that is told.
    deliveries: Option<u64>,
    /// Entries that nobody has are claimed too.
    force: bool,
    /// Length of the reply's buffer behind which nobody reads: claims go on, and aren't written.
    most: usize,
}

/// What became of an entry.
enum Claimed {
    /// It is the consumer's now.
    Yes,
    /// Nobody has it, or it isn't idle long enough.
    No,
    /// It was deleted from the stream, and now from what is pending.
    Gone,
}

/// A change of a pending entry, to be propagated.
struct Change {
    id: StreamId,
    owner: Vec<u8>,
    delivered_ms: i64,
    deliveries: u64,
}

impl Claim<'_> {
    /// The consumer comes into being even if it then gets nothing. True if it did.
    fn begin(&self, stream: &mut Stream) -> bool {
        let new = stream.change_group(self.group, |group| {
            let new = group.create_consumer(self.consumer, self.now_ms);
            group.change_consumer(self.consumer, |consumer| consumer.seen_ms = self.now_ms);
            new
        });
        new.unwrap_or(false)
    }

    fn one(&self, stream: &mut Stream, id: StreamId, out: &mut Writer<'_>, changes: &mut Vec<Change>) -> Claimed {
        let pending = stream.group(self.group).and_then(|group| group.pending_at(id)).cloned();
        let Some(entry) = stream.get(id) else {
            let Some(Some(pending)) = stream.change_group(self.group, |group| group.acknowledge(id)) else {
                return Claimed::No;
            };
            changes.push(change(&pending));
            return Claimed::Gone;
        };
        match &pending {
            None if !self.force => return Claimed::No,
            Some(it) if self.min_idle_ms > 0 && self.now_ms.saturating_sub(it.delivered_ms) < self.min_idle_ms => {
                return Claimed::No;
            }
            _ => {}
        }
        match self.just_id {
            _ if out.out.len() >= self.most => {}
            true => write_id(out, id),
            false => write_entry(out, &entry),
        }
        // A new one begins with 1, which RETRYCOUNT or a plain claim then changes.
        let before = pending.map_or(1, |pending| pending.deliveries);
        let deliveries = match self.deliveries {
            Some(deliveries) => deliveries,
            None if self.just_id => before,
            None => before.wrapping_add(1),
        };
        stream.change_group(self.group, |group| {
            group.assign(self.consumer, id, self.delivered_ms, |_| deliveries);
            group.change_consumer(self.consumer, |consumer| consumer.active_ms = self.now_ms);
        });
        changes.push(Change { id, owner: self.consumer.to_vec(), delivered_ms: self.delivered_ms, deliveries });
        Claimed::Yes
    }

    fn propagate(&self, ctx: &mut Ctx<'_>, new_consumer: bool, changes: &[Change], last_id: StreamId) {
        if new_consumer && changes.iter().all(|change| change.owner != self.consumer) {
            _ = ctx.instead(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, self.consumer]);
        }
        for change in changes {
            let names = (self.group, &change.owner[..]);
            propagate_claim(ctx, self.key, names, change.id, (change.delivered_ms, change.deliveries), last_id);
        }
    }
}

fn change(pending: &Pending) -> Change {
    let Pending { id, delivered_ms, deliveries, .. } = *pending;
    Change { id, owner: pending.owner().to_vec(), delivered_ms, deliveries }
}

/// Options of XCLAIM behind the ids.
struct Options {
    delivered_ms: i64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

fn options(args: Args<'_>, mut at: usize, now_ms: i64) -> Res<Options> {
    let bad = |what: &str| CommandError::new(format!("ERR Invalid {what} option argument for XCLAIM"));
    let mut o = Options { delivered_ms: -1, deliveries: None, force: false, just_id: false, last_id: StreamId::MIN };
    while let Some(arg) = args.get(at) {
        let value = args.get(at + 1);
        match (arg, value) {
            (a, _) if is(a, "force") => o.force = true,
            (a, _) if is(a, "justid") => o.just_id = true,
            (a, Some(value)) => {
                match a {
                    a if is(a, "idle") => o.delivered_ms = now_ms.wrapping_sub(int_or(value, bad("IDLE"))?),
                    a if is(a, "time") => o.delivered_ms = int_or(value, bad("TIME"))?,
                    // Below zero it counts as not given.
                    a if is(a, "retrycount") => o.deliveries = u64::try_from(int_or(value, bad("RETRYCOUNT"))?).ok(),
                    a if is(a, "lastid") => o.last_id = exact(value)?,
                    _ => return Err(unrecognized(a)),
                }
                at += 1;
            }
            (a, None) => return Err(unrecognized(a)),
        }
        at += 1;
    }
    // Clients reckon with clocks of their own: a time that can't be is now.
    if o.delivered_ms < 0 || o.delivered_ms > now_ms {
        o.delivered_ms = now_ms;
    }
    Ok(o)
}

fn unrecognized(option: &[u8]) -> CommandError {
    CommandError::quoting(&[b"ERR Unrecognized XCLAIM option '", c_text(option), b"'"])
}

/// Whether claims tell what a primary's XREADGROUP gave: one entry each, which is the group's last from then on. Redis 7.2 says
/// nothing of how many entries were read with it, so that is reckoned here.
fn tells_deliveries(origin: Origin) -> bool {
    matches!(origin, Origin::Replication | Origin::Loading)
}

/// `XCLAIM key group consumer min-idle-time id … [option …]`
pub(super) fn xclaim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms() as i64;
    let (tells, most) = (tells_deliveries(ctx.origin), ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let (key, group) = (args.at(1), args.at(2));
    let Some(mut stream) = read_mut(ks, db, key)? else { return Err(no_group(key, group, "")) };
    let Some(last_id) = stream.group(group).map(|group| group.last_id) else { return Err(no_group(key, group, "")) };
    let min_idle_ms = int_or(&args[4], err("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let ids: Vec<StreamId> = args.skip(5).iter().map_while(|id| exact(id).ok()).collect();
    let o = options(args, 5 + ids.len(), now_ms)?;
    let claim = Claim {
        key,
        group,
        consumer: args.at(3),
        now_ms,
        min_idle_ms,
        just_id: o.just_id,
        delivered_ms: o.delivered_ms,
        deliveries: o.deliveries,
        force: o.force,
        most,
    };
    let (mut changes, mut count) = (Vec::new(), 0);
    let new_consumer = claim.begin(&mut stream);
    let (last_id, moved) = (last_id.max(o.last_id), o.last_id > last_id);
    let given = tells && moved && ids == [last_id];
    let reads = stream.group(group).map_or(UNKNOWN_READS, |group| group.entries_read);
    let reads = if given { stream.reads_after(reads, &ids) } else { reads };
    stream.change_group(group, |group| (group.last_id, group.entries_read) = (last_id, reads));
    let mark = out.defer();
    for id in ids {
        if let Claimed::Yes = claim.one(&mut stream, id, &mut out, &mut changes) {
            count += 1;
        }
    }
    out.end_array(mark, count);
    stream.unchanged();
    drop(stream);
    ks.add_dirty(changes.len() as u64 + u64::from(moved && changes.is_empty()));
    if new_consumer {
        group_changed(ks, db, key, "xgroup-createconsumer");
    }
    claim.propagate(ctx, new_consumer, &changes, last_id);
    // A claim of the last id would be taken for a delivery.
    if moved && (changes.is_empty() || changes.iter().any(|change| change.id == last_id)) {
        propagate_last_id(ctx, key, group, last_id, reads);
    }
    Ok(Effect::None)
}

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`
pub(super) fn xautoclaim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    /// For each entry that may be claimed so many are looked at.
    const ATTEMPTS: usize = 10;
    let now_ms = ctx.now_ms() as i64;
    let min_idle_ms = int_or(&args[4], err("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let start = interval_start(&args[5])?;
    let (mut count, just_id) = autoclaim_options(args)?;
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let (key, group) = (args.at(1), args.at(2));
    let Some(mut stream) = read_mut(ks, db, key)? else { return Err(no_group(key, group, "")) };
    let Some(found) = stream.group(group) else { return Err(no_group(key, group, "")) };
    let last_id = found.last_id;
    let attempts = count.saturating_mul(ATTEMPTS);
    // One more than is looked at: where the next call begins.
    let ids: Vec<StreamId> =
        found.pending_from(start).map(|pending| pending.id).take(attempts.saturating_add(1)).collect();
    let consumer = args.at(3);
    let claim = Claim {
        key,
        group,
        consumer,
        now_ms,
        min_idle_ms,
        just_id,
        delivered_ms: now_ms,
        deliveries: None,
        force: false,
        most,
    };
    let new_consumer = claim.begin(&mut stream);
    let (mut changes, mut gone, mut claimed) = (Vec::new(), Vec::new(), 0);
    let mut entries = Vec::new();
    let mut next = StreamId::MIN;
    for (i, id) in ids.into_iter().enumerate() {
        if i == attempts || count == 0 {
            next = id;
            break;
        }
        match claim.one(&mut stream, id, &mut Writer::new(&mut entries, out.proto), &mut changes) {
            Claimed::Yes => claimed += 1,
            Claimed::Gone => gone.push(id),
            Claimed::No => continue,
        }
        count -= 1;
    }
    stream.unchanged();
    drop(stream);
    ks.add_dirty(changes.len() as u64);
    if new_consumer {
        group_changed(ks, db, key, "xgroup-createconsumer");
    }
    out.array(3);
    write_id(&mut out, next);
    out.array(claimed);
    out.raw(&entries);
    out.array(gone.len());
    gone.into_iter().for_each(|id| write_id(&mut out, id));
    claim.propagate(ctx, new_consumer, &changes, last_id);
    Ok(Effect::None)
}

fn autoclaim_options(args: Args<'_>) -> Res<(usize, bool)> {
    /// As in Redis: the ids of deleted entries must fit into memory.
    const MOST: i64 = i64::MAX / 16;
    let (mut count, mut just_id, mut at) = (100, false, 6);
    while at < args.len() {
        if args.is(at, "justid") {
            just_id = true;
        } else if args.is(at, "count") && at + 1 < args.len() {
            let bad = err("ERR COUNT must be > 0");
            count = int(&args[at + 1]).ok().filter(|n| (1..=MOST).contains(n)).ok_or(bad)? as usize;
            at += 1;
        } else {
            return Err(CommandError::SYNTAX);
        }
        at += 1;
    }
    Ok((count, just_id))
}
