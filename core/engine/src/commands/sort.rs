//! SORT and SORT_RO: elements of a list, set or sorted set by weight, by name, by keys elsewhere. Takes the elements by
//! reference; only what is sorted by is copied.

use super::common::{Res, as_sent_if, err, int, is};
use crate::acl;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::offload::{error_reply, too_long};
use keystead_keyspace::Keyspace;
use keystead_keyspace::elem::Elem;
use keystead_keyspace::list::List;
use keystead_keyspace::object::Object;
use keystead_resp::{Args, Writer};
use std::cmp::Ordering;

/// A collection with fewer elements is sorted in the turn: that takes about two milliseconds.
const SORT_IN_TURN: usize = 5000;

#[derive(Default)]
struct Query {
    descending: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    /// The last BY with a star in it.
    by: Option<Vec<u8>>,
    /// There was a BY without one, `#` too: nothing is sorted.
    unsorted: bool,
    get: Vec<Vec<u8>>,
    store: Option<Vec<u8>>,
    /// Called by a script.
    scripted: bool,
}

impl Query {
    fn parse(args: Args<'_>, read_only: bool) -> Res<Self> {
        let mut q = Self::default();
        let mut at = 2;
        while let Some(arg) = args.get(at) {
            match (arg, args.get(at + 1)) {
                (a, _) if is(a, "asc") => q.descending = false,
                (a, _) if is(a, "desc") => q.descending = true,
                (a, _) if is(a, "alpha") => q.alpha = true,
                (a, Some(offset)) if is(a, "limit") && at + 2 < args.len() => {
                    q.limit = Some((int(offset)?, int(&args[at + 2])?));
                    at += 2;
                }
                (a, Some(key)) if is(a, "store") && !read_only => {
                    q.store = Some(key.to_vec());
                    at += 1;
                }
                (a, Some(pattern)) if is(a, "by") => {
                    match star_in(pattern) {
                        Some(_) => q.by = Some(pattern.to_vec()),
                        None => q.unsorted = true,
                    }
                    at += 1;
                }
                (a, Some(pattern)) if is(a, "get") => {
                    q.get.push(pattern.to_vec());
                    at += 1;
                }
                _ => return Err(CommandError::SYNTAX),
            }
            at += 1;
        }
        Ok(q)
    }

    /// What to sort by, if it isn't the elements.
    fn by(&self) -> Option<&[u8]> {
        self.by.as_deref().filter(|_| !self.unsorted)
    }

    /// Whether other keys are looked at.
    fn needs_keys(&self) -> bool {
        self.by().is_some() || self.get.iter().any(|get| get != b"#")
    }

    /// How many of `len` elements must be looked at: those before the part that LIMIT leaves, too, where they are sorted.
    fn work(&self, len: usize) -> usize {
        let (from, to) = self.window(len);
        if self.unsorted { to - from } else { len }
    }

    /// The part of `len` elements that LIMIT leaves.
    fn window(&self, len: usize) -> (usize, usize) {
        let Some((offset, count)) = self.limit else { return (0, len) };
        let from = usize::try_from(offset).unwrap_or(0).min(len);
        (from, usize::try_from(count).map_or(len, |count| from.saturating_add(count).min(len)))
    }
}

/// Where a pattern's star is. As in C it ends at its first zero byte.
fn star_in(pattern: &[u8]) -> Option<usize> {
    memchr::memchr2(b'*', 0, pattern).filter(|at| pattern[*at] == b'*')
}

/// Key positions: the source, and the destination of the last STORE, which is the one that counts.
pub(super) fn keys(args: Args<'_>) -> Vec<usize> {
    let mut found = vec![1];
    let mut at = 2;
    while let Some(arg) = args.get(at) {
        match arg {
            a if is(a, "limit") => at += 2,
            a if is(a, "by") || is(a, "get") => at += 1,
            a if is(a, "store") && at + 1 < args.len() => {
                at += 1;
                found.truncate(1);
                found.push(at);
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// What a pattern of BY or GET finds for an element.
fn look_up(ks: &Keyspace, db: usize, pattern: &[u8], elem: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(elem.to_vec());
    }
    let star = star_in(pattern)?;
    let (before, after) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = after.windows(2).position(|w| w == b"->").filter(|at| at + 2 < after.len());
    let (after, field) = match arrow {
        Some(at) => (&after[..at], Some(&after[at + 2..])),
        None => (after, None),
    };
    let key = [before, elem, after].concat();
    match field {
        Some(field) => ks.hash(db, &key).ok()??.get(field).map(<[u8]>::to_vec),
        None => Some(ks.get_str(db, &key).ok()??.to_cow().into_owned()),
    }
}

/// C's strtod over a C string, as SORT reads weights: it ends at the first zero byte, and an empty one is 0. What has lost
/// digits to be so small is out of range.
fn weight(text: &[u8]) -> Res<f64> {
    const BAD: CommandError = err("ERR One or more scores can't be converted into double");
    let text = memchr::memchr(0, text).map_or(text, |end| &text[..end]);
    if text.is_empty() {
        return Ok(0.0);
    }
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    keystead_resp::number::parse_f64(&text[spaces..]).filter(|weight| !weight.is_subnormal()).ok_or(BAD)
}

/// Some of them in the order they lie, or from the end where that means something: a set has no end. What lies before a part of
/// a list or a sorted set costs nothing.
fn elements(object: &Object, (from, to): (usize, usize), from_end: bool) -> Res<Vec<Elem>> {
    let (n, first) = (to - from, if from_end { object.len().saturating_sub(1 + from) } else { from });
    Ok(match object {
        Object::List(list) if from_end => list.rev_from(first).take(n).map(Elem::new).collect(),
        Object::List(list) => list.iter_from(first).take(n).map(Elem::new).collect(),
        Object::Set(set) => set.iter().skip(from).take(n).map(|m| m.to_elem()).collect(),
        Object::ZSet(zset) if from_end => zset.rev_from(first).take(n).map(|(m, _)| Elem::new(m)).collect(),
        Object::ZSet(zset) => zset.iter_from(first).take(n).map(|(m, _)| Elem::new(m)).collect(),
        Object::Hash(_) | Object::Stream(_) => return Err(CommandError::WRONG_TYPE),
    })
}

/// Puts the first so many into order; what is equal must be the same.
fn order_first<T>(all: &mut [T], wanted: usize, compare: impl Fn(&T, &T) -> Ordering) {
    let first = if wanted < all.len() { all.select_nth_unstable_by(wanted, &compare).0 } else { all };
    first.sort_unstable_by(compare);
}

/// How a pattern of BY or GET is looked up.
type LookUp<'a> = &'a dyn Fn(&[u8], &[u8]) -> Option<Vec<u8>>;

/// The elements that LIMIT lets be seen, in order.
fn sorted(object: &Object, q: &Query, look_up: LookUp<'_>) -> Res<Vec<Elem>> {
    let (from, to) = q.window(object.len());
    // A set has no order of its own: what is stored, or seen by a script, must be the same on every replica.
    let orderless = (q.store.is_some() || q.scripted) && matches!(object, Object::Set(_));
    if q.unsorted && !orderless {
        return elements(object, (from, to), q.descending);
    }
    let mut elems = all_sorted(object, q, look_up, orderless)?;
    elems.truncate(to);
    elems.drain(..from);
    Ok(elems)
}

/// All elements, in order as far as LIMIT lets them be seen.
fn all_sorted(object: &Object, q: &Query, look_up: LookUp<'_>, orderless: bool) -> Res<Vec<Elem>> {
    let by = q.by();
    let mut elems = elements(object, (0, object.len()), false)?;
    let order = |o: Ordering| if q.descending { o.reverse() } else { o };
    let wanted = q.window(elems.len()).1;
    if q.alpha || q.unsorted {
        match by {
            None => order_first(&mut elems, wanted, |a, b| order(a.cmp(b))),
            Some(by) => {
                let mut keyed: Vec<_> = elems.into_iter().map(|e| (look_up(by, &e), e)).collect();
                // Those of one weight stay as they lay, where that means something.
                let tie = |a: &Elem, b: &Elem| if orderless { a.cmp(b) } else { Ordering::Equal };
                keyed.sort_by(|a, b| order(a.0.cmp(&b.0).then_with(|| tie(&a.1, &b.1))));
                elems = keyed.into_iter().map(|(_, e)| e).collect();
            }
        }
        return Ok(elems);
    }
    let mut weighed = Vec::with_capacity(elems.len());
    for elem in elems {
        let weight = match by {
            None => weight(&elem)?,
            Some(by) => look_up(by, &elem).map_or(Ok(0.0), |text| weight(&text))?,
        };
        weighed.push((weight, elem));
    }
    order_first(&mut weighed, wanted, |a, b| {
        order(a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(&b.1)))
    });
    Ok(weighed.into_iter().map(|(_, e)| e).collect())
}

/// BY and GET look at keys that no argument names: only who may read every key may use them.
fn check_patterns(ctx: &Ctx<'_>, args: Args<'_>, q: &Query) -> Res<()> {
    let Some(user) = &ctx.session.rights else { return Ok(()) };
    let by = q.by.is_some();
    if !by && q.get.is_empty() || acl::check::reads_every_key(user, ctx.command, args) {
        return Ok(());
    }
    let option = if by { "BY" } else { "GET" };
    Err(CommandError::new(format!("ERR {option} option of SORT denied due to insufficient ACL permissions.")))
}

/// The reply without STORE; it ends at `most` bytes, which nobody will read.
fn answer(object: Option<&Object>, q: &Query, look_up: LookUp<'_>, out: &mut Writer<'_>, most: usize) -> Res<()> {
    let elems = object.map_or(Ok(Vec::new()), |object| sorted(object, q, look_up))?;
    out.array(elems.len() * q.get.len().max(1));
    for elem in &elems {
        if out.out.len() >= most {
            return Ok(());
        }
        if q.get.is_empty() {
            out.bulk(elem);
        }
        for pattern in &q.get {
            if out.out.len() >= most {
                return Ok(());
            }
            out.bulk_or_null(look_up(pattern, elem));
        }
    }
    Ok(())
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, read_only: bool) -> CommandResult {
    let mut q = Query::parse(args, read_only)?;
    q.scripted = ctx.core.in_script;
    check_patterns(ctx, args, &q)?;
    let (may_park, most) = (ctx.may_block(), ctx.most_output());
    let (ks, db, mut out) = ctx.split();
    let object = match (ks.object(db, &args[1]), ks.get_str(db, &args[1])) {
        (None, Ok(Some(_))) => return Err(CommandError::WRONG_TYPE),
        (object, _) => object,
    };
    // What looks at other keys or changes one belongs into the turn.
    if may_park
        && q.store.is_none()
        && !q.needs_keys()
        && let Some(big) = object.filter(|object| q.work(object.len()) > SORT_IN_TURN)
    {
        // Nodes are shared, nothing is copied.
        let (big, proto) = (big.clone(), out.proto);
        return ctx.offload(args, move |turns, waits| {
            let mut reply = Vec::new();
            let itself = |_: &[u8], elem: &[u8]| Some(elem.to_vec());
            match answer(Some(&big), &q, &itself, &mut Writer::new(&mut reply, proto), most) {
                Ok(()) if reply.len() >= most => too_long(turns, waits),
                Ok(()) => reply,
                Err(error) => error_reply(turns, proto, &error),
            }
        });
    }
    let look = |pattern: &[u8], elem: &[u8]| look_up(ks, db, pattern, elem);
    let Some(store) = &q.store else {
        answer(object, &q, &look, &mut out, most)?;
        return Ok(Effect::None);
    };
    let elems = object.map_or(Ok(Vec::new()), |object| sorted(object, &q, &look))?;
    let (mut list, limits) = (List::new(), *ks.limits());
    for elem in &elems {
        if q.get.is_empty() {
            list.push_back(elem, &limits);
        }
        let found = q.get.iter().map(|pattern| look(pattern, elem));
        found.for_each(|value| list.push_back(value.as_deref().unwrap_or_default(), &limits));
    }
    let len = list.len();
    let changed = if len > 0 {
        let before = ks.dirty();
        ks.put_object(db, store, Object::List(list), None);
        ks.recount(before, len as u64);
        true
    } else {
        ks.remove_unasked(db, store)
    };
    out.int(len as i64);
    Ok(as_sent_if(changed))
}

pub(super) fn sort(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, false)
}

pub(super) fn sort_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_set_leaves_behind_is_the_same_whatever_its_order() {
        use keystead_keyspace::Limits;
        use keystead_keyspace::set::Set;
        let of = |members: [&str; 4]| {
            let mut set = Set::new();
            members.iter().for_each(|member| _ = set.add(member.as_bytes(), &Limits::default()));
            Object::Set(set)
        };
        let weight = |_: &[u8], elem: &[u8]| (elem == b"c").then(|| b"w".to_vec());
        let order = |members, descending, stores: bool| {
            let (by, store) = (Some(b"w*".to_vec()), stores.then(|| b"d".to_vec()));
            let q = Query { alpha: true, by, store, descending, ..Query::default() };
            sorted(&of(members), &q, &weight).unwrap_or_default().iter().flat_map(|e| e.to_vec()).collect::<Vec<u8>>()
        };
        for members in [["a", "b", "c", "d"], ["d", "b", "c", "a"], ["c", "b", "d", "a"]] {
            assert_eq!((order(members, false, true), order(members, true, true)), (b"abdc".to_vec(), b"cdba".to_vec()));
        }
        // A reply keeps those of one weight as they lie.
        assert_eq!(order(["d", "b", "c", "a"], false, false), b"dbac");
    }

    #[test]
    fn a_by_without_a_star_sorts_nothing() {
        let limits = keystead_keyspace::Limits::default();
        let (mut list, mut set) = (List::new(), keystead_keyspace::set::Set::new());
        for elem in [&b"3"[..], b"1", b"x", b"2"] {
            list.push_back(elem, &limits);
            set.add(elem, &limits);
        }
        let (list, set) = (Object::List(list), Object::Set(set));
        let shown = |object: &Object, words: &str, scripted: bool| {
            let args: keystead_resp::OwnedArgs = words.split(' ').collect();
            let q = Query { scripted, ..Query::parse(args.view(), false).expect("options") };
            let seen = sorted(object, &q, &|_, _| None).expect("no weights are read");
            seen.iter().flat_map(|elem| elem.to_vec()).collect::<Vec<u8>>()
        };
        let cases: [(&str, &[u8]); 10] = [
            ("SORT k BY #", b"31x2"),
            ("SORT k BY # DESC", b"2x13"),
            ("SORT k BY # LIMIT 1 2", b"1x"),
            ("SORT k BY # LIMIT 1 2 DESC", b"x1"),
            ("SORT k BY # LIMIT 3 9 DESC", b"3"),
            ("SORT k BY # LIMIT 9 1", b""),
            ("SORT k BY # LIMIT 0 0 DESC", b""),
            ("SORT k BY nosort STORE d", b"31x2"),
            ("SORT k BY # BY w_*", b"31x2"),
            ("SORT k BY w_* BY # ALPHA", b"31x2"),
        ];
        for (words, expected) in cases {
            assert_eq!(shown(&list, words, false), expected, "{words}");
        }
        // Of a set, what is kept or seen by a script must be the same everywhere.
        assert_eq!(shown(&set, "SORT k BY # STORE d DESC", false), b"x321");
        assert_eq!(shown(&set, "SORT k BY #", true), b"123x");
    }

    #[test]
    fn a_limit_shows_the_same_part_of_the_order() {
        let mut list = List::new();
        let limits = keystead_keyspace::Limits::default();
        (0..1000).for_each(|n| list.push_back((n * 7919 % 500).to_string().as_bytes(), &limits));
        let list = Object::List(list);
        for (alpha, descending) in [(false, false), (false, true), (true, false), (true, true)] {
            let shown = |limit| {
                let q = Query { alpha, descending, limit, ..Query::default() };
                sorted(&list, &q, &|_, _| None).unwrap_or_default()
            };
            let whole = shown(None);
            for (offset, count) in [(0, 0), (0, 1), (10, 5), (990, 100), (0, 1000), (5, -1), (2000, 1)] {
                let from = (offset as usize).min(1000);
                let to = if count < 0 { 1000 } else { (from + count as usize).min(1000) };
                assert_eq!(shown(Some((offset, count))), whole[from..to], "{offset} {count}");
            }
        }
    }

    /// Seen at redis-server 7.2.4.
    #[test]
    fn weights_are_read_as_c_reads_them() {
        let cases: [(&[u8], Option<f64>); 16] = [
            (b"", Some(0.0)),
            (b"\0", Some(0.0)),
            (b"\0nan", Some(0.0)),
            (b"1\0x", Some(1.0)),
            (b"x\x001", None),
            (b"  2", Some(2.0)),
            (b"\x0b2", Some(2.0)),
            (b"2 ", None),
            (b" ", None),
            (b"\n\0", None),
            (b"+5", Some(5.0)),
            (b"0x10", Some(16.0)),
            (b"-inf", Some(f64::NEG_INFINITY)),
            (b"nan", None),
            (b"1e-310", None),
            (b"1e400", None),
        ];
        for (text, expected) in cases {
            assert_eq!(weight(text).ok(), expected, "{}", text.escape_ascii());
        }
    }
}
