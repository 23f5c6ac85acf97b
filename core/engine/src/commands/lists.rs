//! Lists: both ends, positions, moving between keys. The forms that wait are in `lists_blocking`.

use super::common::{Res, as_sent_if, err, index, int, int_or, is, positive, range};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;
use keystead_keyspace::elem::Elem;
use keystead_keyspace::list::List;
use keystead_keyspace::{Class, Create, Event, Keyspace};
use keystead_resp::{Args, Writer};

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: KeySpec,
    since: &'static str,
    text: &'static str,
    f: Handler,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, keys, Group::List, since, text, f)
}

const ONE: KeySpec = KeySpec::FIRST;
const BLOCK_KEYS: KeySpec = KeySpec::Range { first: 1, last: -2, step: 1 };

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("lpush", -3, WRITE | DENYOOM | FAST, ONE, "1.0.0", "Prepends one or more elements to a list.", lpush)
        .uses(&[PUTS]),
    row("rpush", -3, WRITE | DENYOOM | FAST, ONE, "1.0.0", "Appends one or more elements to a list.", rpush)
        .uses(&[PUTS]),
    row("lpushx", -3, WRITE | DENYOOM | FAST, ONE, "2.2.0",
        "Prepends one or more elements to a list only when the list exists.", lpushx).uses(&[PUTS]),
    row("rpushx", -3, WRITE | DENYOOM | FAST, ONE, "2.2.0",
        "Appends an element to a list only when the list exists.", rpushx).uses(&[PUTS]),
    row("linsert", 5, WRITE | DENYOOM, ONE, "2.2.0",
        "Inserts an element before or after another element in a list.", linsert).uses(&[PUTS]),
    row("llen", 2, READONLY | FAST, ONE, "1.0.0", "Returns the length of a list.", llen).uses(&[LOOKS]),
    row("lindex", 3, READONLY, ONE, "1.0.0", "Returns an element from a list by its index.", lindex),
    row("lset", 4, WRITE | DENYOOM, ONE, "1.0.0", "Sets the value of an element in a list by its index.", lset)
        .uses(&[WRITES]),
    row("lpop", -2, WRITE | FAST, ONE, "1.0.0", "Returns the first elements in a list after removing it.", lpop)
        .uses(&[TAKES]),
    row("rpop", -2, WRITE | FAST, ONE, "1.0.0", "Returns and removes the last elements of a list.", rpop)
        .uses(&[TAKES]),
    row("lrange", 4, READONLY, ONE, "1.0.0", "Returns a range of elements from a list.", lrange),
    row("ltrim", 4, WRITE, ONE, "1.0.0", "Removes elements from both ends a list.", ltrim).uses(&[DROPS]),
    row("lpos", -3, READONLY, ONE, "6.0.6", "Returns the index of matching elements in a list.", lpos),
    row("lrem", 4, WRITE, ONE, "1.0.0", "Removes elements from a list.", lrem).uses(&[DROPS]),
    row("lmove", 5, WRITE | DENYOOM, KeySpec::TWO, "6.2.0",
        "Returns an element after popping it from one list and pushing it to another.", lmove).uses(&[TAKES, PUTS]),
    row("rpoplpush", 3, WRITE | DENYOOM, KeySpec::TWO, "1.2.0",
        "Returns the last element of a list after removing and pushing it to another list.", rpoplpush)
        .uses(&[TAKES, PUTS]),
    row("lmpop", -4, WRITE | MOVABLEKEYS, KeySpec::Counted { count: 1, dest: 0 }, "7.0.0",
        "Returns multiple elements from a list after removing them.", super::lists_blocking::lmpop).uses(&[TAKES]),
    row("blpop", -3, WRITE | BLOCKING, BLOCK_KEYS, "2.0.0",
        "Removes and returns the first element in a list.", super::lists_blocking::blpop).uses(&[TAKES]),
    row("brpop", -3, WRITE | BLOCKING, BLOCK_KEYS, "2.0.0",
        "Removes and returns the last element in a list.", super::lists_blocking::brpop).uses(&[TAKES]),
    row("blmove", 6, WRITE | DENYOOM | BLOCKING, KeySpec::TWO, "6.2.0",
        "Pops an element from a list, pushes it to another list and returns it.", super::lists_blocking::blmove)
        .uses(&[TAKES, PUTS]),
    row("brpoplpush", 4, WRITE | DENYOOM | BLOCKING, KeySpec::TWO, "2.2.0",
        "Pops an element from a list, pushes it to another list and returns it.", super::lists_blocking::brpoplpush)
        .uses(&[TAKES, PUTS]),
    row("blmpop", -5, WRITE | BLOCKING | MOVABLEKEYS, KeySpec::Counted { count: 2, dest: 0 }, "7.0.0",
        "Pops the first element from one of multiple lists.", super::lists_blocking::blmpop).uses(&[TAKES]),
];

/// One end of a list.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Left,
    Right,
}

impl End {
    pub(super) fn parse(arg: &[u8]) -> Res<Self> {
        match arg {
            a if is(a, "left") => Ok(End::Left),
            a if is(a, "right") => Ok(End::Right),
            _ => Err(CommandError::SYNTAX),
        }
    }

    pub(super) fn pop_command(self) -> &'static str {
        if self == End::Left { "LPOP" } else { "RPOP" }
    }

    pub(super) fn peek(self, list: &List) -> Option<Elem> {
        let at = if self == End::Left { 0 } else { list.len().checked_sub(1)? };
        list.get(at).map(Elem::new)
    }

    /// What subscribers call a pop from this end.
    pub(super) fn popped(self) -> Event {
        Event::new(Class::List, if self == End::Left { "lpop" } else { "rpop" })
    }

    fn pushed(self) -> Event {
        Event::new(Class::List, if self == End::Left { "lpush" } else { "rpush" })
    }

    pub(super) fn pop(self, list: &mut List) -> Option<Elem> {
        if self == End::Left { list.pop_front() } else { list.pop_back() }
    }

    /// Pops `n` elements and answers them. Behind `most` bytes nobody reads what is popped.
    pub(super) fn pop_many(self, list: &mut List, n: usize, out: &mut Writer<'_>, most: usize) {
        out.array(n);
        for elem in (0..n).filter_map(|_| self.pop(list)) {
            if out.out.len() < most {
                out.bulk(elem);
            }
        }
    }
}

fn push(ctx: &mut Ctx<'_>, args: Args<'_>, end: End, create: Create) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let Some(mut list) = ks.list_mut(db, &args[1], create)? else {
        out.int(0);
        return Ok(Effect::None);
    };
    list.changed((args.len() - 2) as u64);
    let limits = list.limits();
    let inner: &mut List = &mut list;
    for bytes in args.skip(2).iter() {
        if end == End::Left { inner.push_front(bytes, &limits) } else { inner.push_back(bytes, &limits) }
    }
    out.int(inner.len() as i64);
    Ok(Effect::AsSent)
}

fn lpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, End::Left, Create::Yes)
}

fn rpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, End::Right, Create::Yes)
}

fn lpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, End::Left, Create::No)
}

fn rpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, End::Right, Create::No)
}

fn linsert(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let after = match &args[2] {
        a if is(a, "after") => 1,
        a if is(a, "before") => 0,
        _ => return Err(CommandError::SYNTAX),
    };
    let (ks, db, mut out) = ctx.split();
    let Some(list) = ks.list(db, &args[1])? else {
        out.int(0);
        return Ok(Effect::None);
    };
    let Some(at) = list.iter().position(|bytes| *bytes == args[3]) else {
        out.int(-1);
        return Ok(Effect::None);
    };
    if let Some(mut list) = ks.list_mut(db, &args[1], Create::No)? {
        let limits = list.limits();
        list.insert(at + after, &args[4], &limits);
        out.int(list.len() as i64);
    }
    Ok(Effect::AsSent)
}

fn llen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(ks.list(db, &args[1])?.map_or(0, List::len) as i64);
    Ok(Effect::None)
}

fn lindex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let Some(list) = ks.list(db, &args[1])? else {
        out.null();
        return Ok(Effect::None);
    };
    out.bulk_or_null(index(int(&args[2])?, list.len()).and_then(|i| list.get(i)));
    Ok(Effect::None)
}

fn lset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let len = ks.list(db, &args[1])?.ok_or(CommandError::NO_KEY)?.len();
    let at = index(int(&args[2])?, len).ok_or(CommandError::OUT_OF_RANGE)?;
    if let Some(mut list) = ks.list_mut(db, &args[1], Create::No)? {
        let limits = list.limits();
        list.set(at, &args[3], &limits);
    }
    out.ok();
    Ok(Effect::AsSent)
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::arity(if end == End::Left { "lpop" } else { "rpop" }));
    }
    let count = args.get(2).map(positive).transpose()?;
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let Some(mut list) = ks.list_mut(db, &args[1], Create::No)? else {
        if count.is_some() {
            out.null_array()
        } else {
            out.null()
        }
        return Ok(Effect::None);
    };
    match count {
        None => out.bulk_or_null(end.pop(&mut list)),
        Some(0) => {
            out.array(0);
            return Ok(Effect::None);
        }
        Some(count) => {
            let n = count.min(list.len());
            end.pop_many(&mut list, n, &mut out, most);
            list.changed(n as u64);
        }
    }
    Ok(Effect::AsSent)
}

fn lpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop(ctx, args, End::Left)
}

fn rpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop(ctx, args, End::Right)
}

fn lrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (start, end, most) = (int(&args[2])?, int(&args[3])?, ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let list = ks.list(db, &args[1])?;
    match list.and_then(|list| Some((list, range(start, end, list.len())?))) {
        Some((list, (from, to))) => {
            out.array(to - from);
            for bytes in list.iter_from(from).take(to - from) {
                if out.out.len() >= most {
                    break;
                }
                out.bulk(bytes);
            }
        }
        None => out.array(0),
    }
    Ok(Effect::None)
}

fn ltrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (start, end) = (int(&args[2])?, int(&args[3])?);
    let (ks, db, mut out) = ctx.split();
    let (mut cut, mut kept_all) = (0, false);
    if let Some(mut list) = ks.list_mut(db, &args[1], Create::No)? {
        let (from, to) = range(start, end, list.len()).unwrap_or((0, 0));
        cut = list.len() - (to - from);
        if cut > 0 {
            list.keep_range(from, to);
            list.changed(cut as u64);
        }
        kept_all = cut == 0;
    }
    if kept_all {
        // Redis says so even where nothing was cut (`ltrimCommand`, t_list.c).
        ks.signal(db, &args[1]);
    }
    out.ok();
    Ok(as_sent_if(cut > 0))
}

/// What LPOS was asked.
struct PosQuery {
    rank: i64,
    /// `None`: a single answer; 0: all.
    count: Option<usize>,
    maxlen: usize,
}

fn lpos_args(args: Args<'_>) -> Res<PosQuery> {
    let mut query = PosQuery { rank: 1, count: None, maxlen: 0 };
    for at in (3..args.len()).step_by(2) {
        let value = args.get(at + 1).ok_or(CommandError::SYNTAX)?;
        let not_negative = |text| usize::try_from(int_or(value, err(text))?).map_err(|_| err(text));
        match &args[at] {
            a if is(a, "rank") => {
                query.rank = int(value)?;
                if query.rank == i64::MIN {
                    return Err(err(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                    ));
                }
                if query.rank == 0 {
                    return Err(err(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                    ));
                }
            }
            a if is(a, "count") => query.count = Some(not_negative("ERR COUNT can't be negative")?),
            a if is(a, "maxlen") => query.maxlen = not_negative("ERR MAXLEN can't be negative")?,
            _ => return Err(CommandError::SYNTAX),
        }
    }
    Ok(query)
}

fn lpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let query = lpos_args(args)?;
    let (ks, db, mut out) = ctx.split();
    let Some(list) = ks.list(db, &args[1])? else {
        if query.count.is_some() {
            out.array(0)
        } else {
            out.null()
        }
        return Ok(Effect::None);
    };
    let (len, backward) = (list.len(), query.rank < 0);
    let skip = usize::try_from(query.rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let look = if query.maxlen == 0 { usize::MAX } else { query.maxlen };
    let wanted = match query.count {
        None => 1,
        Some(0) => usize::MAX,
        Some(n) => n,
    };
    let it = if backward { list.rev_from(usize::MAX) } else { list.iter() };
    let found = it
        .take(look)
        .enumerate()
        .filter(|(_, bytes)| **bytes == args[2])
        .skip(skip)
        .take(wanted)
        .map(|(i, _)| if backward { len - 1 - i } else { i });
    if query.count.is_none() {
        match found.into_iter().next() {
            Some(i) => out.int(i as i64),
            None => out.null(),
        }
    } else {
        let (mark, mut n) = (out.defer(), 0);
        for i in found {
            out.int(i as i64);
            n += 1;
        }
        out.end_array(mark, n);
    }
    Ok(Effect::None)
}

fn lrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = int(&args[2])?;
    let (ks, db, mut out) = ctx.split();
    let backward = count < 0;
    let wanted = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let mut places: Vec<usize> = Vec::new();
    if let Some(list) = ks.list(db, &args[1])? {
        let len = list.len();
        let it = if backward { list.rev_from(usize::MAX) } else { list.iter() };
        let found = it.enumerate().filter(|(_, bytes)| **bytes == args[3]).take(wanted);
        places.extend(found.map(|(i, _)| if backward { len - 1 - i } else { i }));
    }
    if !places.is_empty()
        && let Some(mut list) = ks.list_mut(db, &args[1], Create::No)?
    {
        // From the back, so that the places in front stay true.
        let order: Box<dyn Iterator<Item = &usize>> =
            if backward { Box::new(places.iter()) } else { Box::new(places.iter().rev()) };
        for at in order {
            list.remove(*at);
        }
        list.changed(places.len() as u64);
    }
    out.int(places.len() as i64);
    Ok(as_sent_if(!places.is_empty()))
}

/// Moves one element; `None` if the source is empty. The destination's type is checked before anything moves.
pub(super) fn move_one(ks: &mut Keyspace, db: usize, from: (&[u8], End), to: (&[u8], End)) -> Res<Option<Elem>> {
    if ks.list(db, from.0)?.is_none() {
        return Ok(None);
    }
    ks.list(db, to.0)?;
    let put = |list: &mut List, elem: &Elem, limits: &keystead_keyspace::Limits| match to.1 {
        End::Left => list.push_front(elem, limits),
        End::Right => list.push_back(elem, limits),
    };
    // Within one key the list must not vanish in between.
    if from.0 == to.0 {
        ks.name_changes(None);
        let Some(mut list) = ks.list_mut(db, from.0, Create::No)? else { return Ok(None) };
        let limits = list.limits();
        let Some(elem) = from.1.pop(&mut list) else { return Ok(None) };
        put(&mut list, &elem, &limits);
        drop(list);
        ks.tell(db, to.0, to.1.pushed());
        ks.tell(db, from.0, from.1.popped());
        return Ok(Some(elem));
    }
    let Some(elem) = ks.list(db, from.0)?.and_then(|list| from.1.peek(list)) else { return Ok(None) };
    let before = ks.dirty();
    ks.name_changes(Some(to.1.pushed()));
    if let Some(mut list) = ks.list_mut(db, to.0, Create::Yes)? {
        let limits = list.limits();
        put(&mut list, &elem, &limits);
    }
    ks.name_changes(Some(from.1.popped()));
    if let Some(mut list) = ks.list_mut(db, from.0, Create::No)? {
        from.1.pop(&mut list);
    }
    // Two keys are touched, but Redis counts one change.
    ks.recount(before, 1);
    Ok(Some(elem))
}

fn lmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (from, to) = (End::parse(&args[3])?, End::parse(&args[4])?);
    let (ks, db, mut out) = ctx.split();
    let moved = move_one(ks, db, (&args[1], from), (&args[2], to))?;
    out.bulk_or_null(moved.as_ref());
    Ok(as_sent_if(moved.is_some()))
}

fn rpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let moved = move_one(ks, db, (&args[1], End::Right), (&args[2], End::Left))?;
    out.bulk_or_null(moved.as_ref());
    Ok(as_sent_if(moved.is_some()))
}
