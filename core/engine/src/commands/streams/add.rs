//! XADD and XTRIM: how an id is found, how much goes, and what replicas are told of both.

use keystead_keyspace::stream::{Keep, MAX_ENTRY_BYTES, Stream, Trim};
use keystead_keyspace::{Class, Create, Event, Guard, StreamId};
use keystead_resp::Args;

use super::ids::{self, IdText, NewId, write_id};
use crate::commands::common::{List, Res, as_sent_if, err, int, is, list};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Origin};
use crate::error::CommandError;

const EXHAUSTED: CommandError = err("ERR The stream has exhausted the last possible ID, unable to add more items");
const TOO_SMALL: CommandError = err("ERR The ID specified in XADD is equal or smaller than the target stream top item");

/// What XADD and XTRIM share.
#[derive(Default)]
struct Options {
    keep: Option<Keep>,
    /// `~`
    approximate: bool,
    limit: Option<u64>,
    /// Where the count or id to trim by stands.
    keep_at: usize,
    no_make: bool,
    /// Where the id stands, or the arguments end.
    id_at: usize,
}

/// Reads the options in front of the id; for XTRIM (`adds` false) there is none.
fn parse(args: Args<'_>, adds: bool) -> Res<Options> {
    let mut o = Options { id_at: 2, ..Options::default() };
    while let Some(arg) = args.get(o.id_at) {
        let value = args.get(o.id_at + 1);
        match (arg, value) {
            (b"*", _) if adds => break,
            (a, Some(_)) if is(a, "maxlen") || is(a, "minid") => parse_keep(args, &mut o, is(a, "maxlen"))?,
            (a, Some(value)) if is(a, "limit") => {
                let limit = int(value)?;
                o.limit = Some(u64::try_from(limit).map_err(|_| err("ERR The LIMIT argument must be >= 0."))?);
                o.id_at += 1;
            }
            (a, _) if adds && is(a, "nomkstream") => o.no_make = true,
            (a, _) if adds => {
                ids::new_id(a)?;
                break;
            }
            _ => return Err(CommandError::SYNTAX),
        }
        o.id_at += 1;
    }
    if o.limit.is_some_and(|limit| limit > 0) && o.keep.is_none() {
        return Err(err("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"));
    }
    if !adds && o.keep.is_none() {
        return Err(err("ERR syntax error, XTRIM must be called with a trimming strategy"));
    }
    Ok(o)
}

/// Reads `MAXLEN [~|=] count` or `MINID [~|=] id` and stops at its last word.
fn parse_keep(args: Args<'_>, o: &mut Options, by_length: bool) -> Res<()> {
    if o.keep.is_some() {
        return Err(err("ERR syntax error, MAXLEN and MINID options at the same time are not compatible"));
    }
    o.id_at += 1;
    if matches!(&args[o.id_at], b"~" | b"=") && o.id_at + 1 < args.len() {
        o.approximate = &args[o.id_at] == b"~";
        o.id_at += 1;
    }
    let value = &args[o.id_at];
    o.keep = Some(if by_length {
        Keep::Newest(u64::try_from(int(value)?).map_err(|_| err("ERR The MAXLEN argument must be >= 0."))?)
    } else {
        Keep::From(ids::exact(value)?)
    });
    o.keep_at = o.id_at;
    Ok(())
}

impl Options {
    /// How to trim, if at all. Without a limit of its own, `~` has one that keeps the turn short; what a primary sent is
    /// exact already.
    fn trim(&self, ctx: &mut Ctx<'_>) -> Res<Option<Trim>> {
        let obeys = matches!(ctx.origin, Origin::Replication | Origin::Loading);
        if self.limit.is_some() && !self.approximate && !obeys {
            return Err(err("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        let Some(keep) = self.keep else { return Ok(None) };
        let limit = match self.limit {
            _ if obeys => 0,
            Some(limit) => limit,
            None if self.approximate => match ctx.keyspace().limits().stream_entries as u64 {
                0 => 10_000,
                entries => entries.saturating_mul(100).min(1_000_000),
            },
            None => 0,
        };
        Ok(Some(Trim { keep, whole_blocks: self.approximate, limit }))
    }

    /// The words that say exactly what an approximate trimming left.
    fn rewrite<'a>(&self, stream: &Stream, argv: &mut List<'a>, text: &'a mut Vec<u8>) {
        if !self.approximate {
            return;
        }
        match self.keep {
            Some(Keep::Newest(_)) => text.extend_from_slice(stream.len().to_string().as_bytes()),
            _ => text.extend_from_slice(IdText::new(stream.first_place().unwrap_or(StreamId::MAX)).as_bytes()),
        }
        argv[self.keep_at - 1] = b"=";
        argv[self.keep_at] = text;
    }
}

/// The id that an entry gets behind `last`.
fn next_id(wanted: NewId, last: StreamId, now_ms: u64) -> Res<StreamId> {
    if last == StreamId::MAX {
        return Err(EXHAUSTED);
    }
    match wanted {
        NewId::Given(id) if id > last => Ok(id),
        NewId::Given(_) => Err(TOO_SMALL),
        NewId::Auto if now_ms > last.ms => Ok(StreamId::new(now_ms, 0)),
        // Time never goes backward.
        NewId::Auto => last.next().ok_or(EXHAUSTED),
        NewId::AutoSeq(ms) if ms == last.ms => {
            last.seq.checked_add(1).map(|seq| StreamId::new(ms, seq)).ok_or(TOO_SMALL)
        }
        NewId::AutoSeq(ms) if ms > last.ms => Ok(StreamId::new(ms, 0)),
        NewId::AutoSeq(_) => Err(TOO_SMALL),
    }
}

pub(super) fn xadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse(args, true)?;
    let trim = options.trim(ctx)?;
    let pairs = list(args, options.id_at + 1, args.len());
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::arity("xadd"));
    }
    let wanted = ids::new_id(&args[options.id_at])?;
    if wanted == NewId::Given(StreamId::MIN) {
        return Err(err("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let fits = pairs.iter().map(|part| part.len()).sum::<usize>() <= MAX_ENTRY_BYTES;
    let now_ms = ctx.now_ms();
    let find = |last: StreamId| {
        let id = next_id(wanted, last, now_ms)?;
        if fits { Ok(id) } else { Err(err("ERR Elements are too large to be stored")) }
    };
    let id_text;
    let mut trimmed_to = Vec::new();
    let mut argv = list(args, 0, args.len());
    let (ks, db, mut out) = ctx.split();
    let (id, trimmed) = if let Some(mut stream) = ks.stream_mut(db, &args[1], Create::No)? {
        let id = find(stream.last_id)?;
        let trimmed = append(&mut stream, id, &pairs, trim);
        options.rewrite(&stream, &mut argv, &mut trimmed_to);
        (id, trimmed)
    } else if options.no_make {
        out.null();
        return Ok(Effect::None);
    } else {
        // A new key must not be left behind by an error.
        let id = find(StreamId::MIN)?;
        let Some(mut stream) = ks.stream_mut(db, &args[1], Create::Yes)? else { return Err(CommandError::NO_KEY) };
        let trimmed = append(&mut stream, id, &pairs, trim);
        options.rewrite(&stream, &mut argv, &mut trimmed_to);
        (id, trimmed)
    };
    if trimmed {
        ks.tell(db, &args[1], Event::new(Class::Stream, "xtrim"));
    }
    write_id(&mut out, id);
    if !matches!(wanted, NewId::Given(_)) {
        id_text = IdText::new(id);
        argv[options.id_at] = id_text.as_bytes();
    } else if !options.approximate {
        return Ok(Effect::AsSent);
    }
    Ok(ctx.instead(&argv))
}

/// Adds the entry. True if others had to go for it.
fn append(stream: &mut Guard<'_, Stream>, id: StreamId, pairs: &[&[u8]], trim: Option<Trim>) -> bool {
    let limits = stream.limits();
    stream.append(id, pairs, &limits);
    let trimmed = trim.is_some_and(|trim| stream.trim(trim) > 0);
    stream.changed(1);
    trimmed
}

pub(super) fn xtrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse(args, false)?;
    let Some(trim) = options.trim(ctx)? else { return Err(CommandError::SYNTAX) };
    let mut trimmed_to = Vec::new();
    let mut argv = list(args, 0, args.len());
    let (ks, db, mut out) = ctx.split();
    let Some(mut stream) = ks.stream_mut(db, &args[1], Create::No)? else {
        out.int(0);
        return Ok(Effect::None);
    };
    let deleted = stream.trim(trim);
    stream.changed(deleted);
    options.rewrite(&stream, &mut argv, &mut trimmed_to);
    drop(stream);
    out.int(deleted as i64);
    if deleted > 0 && options.approximate { Ok(ctx.instead(&argv)) } else { Ok(as_sent_if(deleted > 0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_only_ever_ascend() {
        let id = StreamId::new;
        let last = u64::MAX;
        let cases = [
            (NewId::Auto, id(0, 0), 5, Ok(id(5, 0))),
            (NewId::Auto, id(5, 3), 5, Ok(id(5, 4))),
            (NewId::Auto, id(9, 3), 5, Ok(id(9, 4))),
            (NewId::Auto, id(9, last), 5, Ok(id(10, 0))),
            (NewId::Auto, StreamId::MAX, 5, Err(EXHAUSTED)),
            (NewId::AutoSeq(7), id(5, 3), 5, Ok(id(7, 0))),
            (NewId::AutoSeq(5), id(5, 3), 5, Ok(id(5, 4))),
            (NewId::AutoSeq(0), id(0, 0), 5, Ok(id(0, 1))),
            (NewId::AutoSeq(5), id(5, last), 5, Err(TOO_SMALL)),
            (NewId::AutoSeq(4), id(5, 3), 5, Err(TOO_SMALL)),
            (NewId::Given(id(5, 4)), id(5, 3), 5, Ok(id(5, 4))),
            (NewId::Given(id(5, 3)), id(5, 3), 5, Err(TOO_SMALL)),
            (NewId::Given(StreamId::MAX), StreamId::MAX, 5, Err(EXHAUSTED)),
        ];
        for (wanted, last, now, expected) in cases {
            assert_eq!(next_id(wanted, last, now), expected, "{wanted:?} behind {last}");
        }
    }
}
