//! SORT and SORT_RO: elements of a list, set or sorted set by weight, by name, by keys elsewhere. Takes the elements by
//! reference; only what is sorted by is copied.

use super::common::{Res, as_sent_if, err, int, is};
use crate::acl;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::Keyspace;
use keystead_keyspace::elem::Elem;
use keystead_keyspace::list::List;
use keystead_keyspace::object::Object;
use keystead_resp::Args;
use std::cmp::Ordering;

#[derive(Default)]
struct Query<'a> {
    descending: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    fn parse(args: Args<'a>, read_only: bool) -> Res<Self> {
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
                    q.store = Some(key);
                    at += 1;
                }
                (a, Some(pattern)) if is(a, "by") => {
                    q.by = Some(pattern);
                    at += 1;
                }
                (a, Some(pattern)) if is(a, "get") => {
                    q.get.push(pattern);
                    at += 1;
                }
                _ => return Err(CommandError::SYNTAX),
            }
            at += 1;
        }
        Ok(q)
    }

    /// The part of `len` elements that LIMIT leaves.
    fn window(&self, len: usize) -> (usize, usize) {
        let Some((offset, count)) = self.limit else { return (0, len) };
        let from = usize::try_from(offset).unwrap_or(0).min(len);
        (from, usize::try_from(count).map_or(len, |count| from.saturating_add(count).min(len)))
    }
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
    let star = memchr::memchr(b'*', pattern)?;
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

/// C's strtod over the whole text, as SORT reads weights.
fn weight(text: &[u8]) -> Res<f64> {
    const BAD: CommandError = err("ERR One or more scores can't be converted into double");
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Ok(0.0);
    }
    keystead_resp::number::parse_f64(text).ok_or(BAD)
}

fn elements(object: &Object, ranked_down: bool) -> Res<Vec<Elem>> {
    Ok(match object {
        Object::List(list) => list.iter().map(Elem::new).collect(),
        Object::Set(set) => set.iter().map(|m| m.to_elem()).collect(),
        Object::ZSet(zset) if ranked_down => zset.rev_from(usize::MAX).map(|(m, _)| Elem::new(m)).collect(),
        Object::ZSet(zset) => zset.iter().map(|(m, _)| Elem::new(m)).collect(),
        Object::Hash(_) => return Err(CommandError::WRONG_TYPE),
    })
}

fn sorted(ks: &Keyspace, db: usize, key: &[u8], q: &Query<'_>) -> Res<Vec<Elem>> {
    let object = match (ks.object(db, key), ks.get_str(db, key)) {
        (Some(object), _) => object,
        (None, Ok(None)) => return Ok(Vec::new()),
        (None, _) => return Err(CommandError::WRONG_TYPE),
    };
    let by = q.by.filter(|by| *by != b"#");
    let unsorted = by.is_some_and(|by| memchr::memchr(b'*', by).is_none());
    // A set has no order of its own: what is stored must be the same on every replica.
    let forced = unsorted && q.store.is_some() && matches!(object, Object::Set(_));
    let by = by.filter(|_| !unsorted);
    let mut elems = elements(object, unsorted && q.descending)?;
    if unsorted && !forced {
        return Ok(elems);
    }
    let order = |o: Ordering| if q.descending { o.reverse() } else { o };
    if q.alpha || forced {
        match by {
            None => elems.sort_by(|a, b| order(a.cmp(b))),
            Some(by) => {
                let mut keyed: Vec<_> = elems.into_iter().map(|e| (look_up(ks, db, by, &e), e)).collect();
                keyed.sort_by(|a, b| order(a.0.cmp(&b.0)));
                elems = keyed.into_iter().map(|(_, e)| e).collect();
            }
        }
        return Ok(elems);
    }
    let mut weighed = Vec::with_capacity(elems.len());
    for elem in elems {
        let weight = match by {
            None => weight(&elem)?,
            Some(by) => look_up(ks, db, by, &elem).map_or(Ok(0.0), |text| weight(&text))?,
        };
        weighed.push((weight, elem));
    }
    weighed.sort_by(|a, b| order(a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(&b.1))));
    Ok(weighed.into_iter().map(|(_, e)| e).collect())
}

/// BY and GET look at keys that no argument names: only who may read every key may use them.
fn check_patterns(ctx: &Ctx<'_>, args: Args<'_>, q: &Query<'_>) -> Res<()> {
    let Some(user) = &ctx.session.rights else { return Ok(()) };
    let by = q.by.is_some_and(|by| memchr::memchr(b'*', by).is_some());
    if !by && q.get.is_empty() || acl::check::reads_every_key(user, ctx.command, args) {
        return Ok(());
    }
    let option = if by { "BY" } else { "GET" };
    Err(CommandError::new(format!("ERR {option} option of SORT denied due to insufficient ACL permissions.")))
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, read_only: bool) -> CommandResult {
    let q = Query::parse(args, read_only)?;
    check_patterns(ctx, args, &q)?;
    let (ks, db, mut out) = ctx.split();
    let elems = sorted(ks, db, &args[1], &q)?;
    let (from, to) = q.window(elems.len());
    let elems = &elems[from..to];
    let found = |elem: &Elem| q.get.iter().map(|pattern| look_up(ks, db, pattern, elem)).collect::<Vec<_>>();
    let Some(store) = q.store else {
        out.array(elems.len() * q.get.len().max(1));
        for elem in elems {
            if q.get.is_empty() {
                out.bulk(elem);
            }
            found(elem).iter().for_each(|value| out.bulk_or_null(value.as_ref()));
        }
        return Ok(Effect::None);
    };
    let (mut list, limits) = (List::new(), *ks.limits());
    for elem in elems {
        if q.get.is_empty() {
            list.push_back(elem, &limits);
        }
        found(elem).iter().for_each(|value| list.push_back(value.as_deref().unwrap_or_default(), &limits));
    }
    let len = list.len();
    let changed = if len > 0 {
        ks.put_object(db, store, Object::List(list), None);
        true
    } else {
        ks.remove(db, store)
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
