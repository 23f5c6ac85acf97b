//! XACK and XPENDING: what was delivered and waits for its acknowledgement.

use keystead_keyspace::StreamId;
use keystead_keyspace::stream::{Group, Pending};
use keystead_resp::{Args, Writer};

use super::ids::{exact, interval_end, interval_start, write_id};
use super::{no_group, read_mut};
use crate::commands::common::{Res, as_sent_if, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;

pub(super) fn xack(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let Some(mut stream) = read_mut(ks, db, &args[1])? else {
        out.int(0);
        return Ok(Effect::None);
    };
    if stream.group(&args[2]).is_none() {
        out.int(0);
        return Ok(Effect::None);
    }
    let ids = args.skip(3).iter().map(exact).collect::<Res<Vec<StreamId>>>()?;
    let count = stream.change_group(&args[2], |group| ids.iter().filter_map(|id| group.acknowledge(*id)).count());
    let count = count.unwrap_or(0) as u64;
    // Nobody watches what a group was given: it changes no entry.
    stream.unchanged();
    drop(stream);
    ks.add_dirty(count);
    out.int(count as i64);
    Ok(as_sent_if(count > 0))
}

/// The long form of XPENDING.
struct Wanted<'a> {
    min_idle_ms: i64,
    from: StreamId,
    to: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

/// Reads `[IDLE ms] start end count [consumer]`.
fn parse(args: Args<'_>) -> Res<Wanted<'_>> {
    let (mut min_idle_ms, mut at) = (0, 3);
    if is(&args[3], "idle") {
        min_idle_ms = int(&args[4])?;
        if args.len() < 8 {
            return Err(CommandError::SYNTAX);
        }
        at = 5;
    }
    let count = super::count(&args[at + 2])?;
    let (from, to) = (interval_start(&args[at])?, interval_end(&args[at + 1])?);
    Ok(Wanted { min_idle_ms, from, to, count, consumer: args.get(at + 3) })
}

pub(super) fn xpending(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let wanted = match args.len() {
        3 => None,
        6..=9 => Some(parse(args)?),
        _ => return Err(CommandError::SYNTAX),
    };
    let (now_ms, most) = (ctx.now_ms() as i64, ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let group = ks.stream(db, &args[1])?.and_then(|stream| stream.group(&args[2]));
    let group = group.ok_or_else(|| no_group(&args[1], &args[2], ""))?;
    match wanted {
        None => summary(group, &mut out),
        Some(wanted) => list(group, &wanted, now_ms, &mut out, most),
    }
    Ok(Effect::None)
}

fn summary(group: &Group, out: &mut Writer<'_>) {
    out.array(4);
    out.int(group.pending() as i64);
    let Some((first, last)) = group.pending_span() else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    write_id(out, first);
    write_id(out, last);
    let mark = out.defer();
    let mut count = 0;
    for consumer in group.consumers().filter(|consumer| consumer.pending() > 0) {
        out.array(2);
        out.bulk(consumer.name());
        out.bulk_int(consumer.pending() as i64);
        count += 1;
    }
    out.end_array(mark, count);
}

/// Ends at `most` bytes, which nobody will read.
fn list(group: &Group, wanted: &Wanted<'_>, now_ms: i64, out: &mut Writer<'_>, most: usize) {
    let idle = |pending: &Pending| now_ms.saturating_sub(pending.delivered_ms);
    let fits = |pending: &&Pending| wanted.min_idle_ms == 0 || idle(pending) >= wanted.min_idle_ms;
    let (mark, mut count) = (out.defer(), 0);
    let mut write = |pending: &Pending| {
        out.array(4);
        write_id(out, pending.id);
        out.bulk(pending.owner());
        out.int(idle(pending).max(0));
        out.int(pending.deliveries as i64);
        count += 1;
        out.out.len() < most
    };
    let within = |id: &StreamId| *id <= wanted.to;
    match wanted.consumer {
        None => {
            let pending = group.pending_from(wanted.from).take_while(|pending| within(&pending.id));
            pending.filter(fits).take(wanted.count).all(&mut write);
        }
        Some(name) => {
            let consumer = group.consumer(name).into_iter();
            let owned = consumer.flat_map(|consumer| consumer.owned_from(wanted.from)).take_while(|id| within(id));
            owned.filter_map(|id| group.pending_at(*id)).filter(fits).take(wanted.count).all(&mut write);
        }
    }
    out.end_array(mark, count);
}
