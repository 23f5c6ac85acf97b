//! Sets: adding, removing, picking at random, intersections, unions and differences.

use super::common::{List, Picks, Res, as_sent_if, err, int_or, is, pick, positive, random_count, rest};
use super::source::{self, Lookup, Source};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;
use keystead_keyspace::object::Object;
use keystead_keyspace::set::{Member, Set};
use keystead_keyspace::{Class, Create, Event, Keyspace, Limits};
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
    CommandSpec::new(name, arity, flags, keys, Group::Set, since, text, f)
}

const ONE: KeySpec = KeySpec::FIRST;
const ALL: KeySpec = KeySpec::ALL;

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("sadd", -3, WRITE | DENYOOM | FAST, ONE, "1.0.0", "Adds one or more members to a set.", sadd).uses(&[PUTS]),
    row("srem", -3, WRITE | FAST, ONE, "1.0.0", "Removes one or more members from a set.", srem).uses(&[DROPS]),
    row("smove", 4, WRITE | FAST, KeySpec::TWO, "1.0.0", "Moves a member from one set to another.", smove)
        .uses(&[TAKES, PUTS]),
    row("scard", 2, READONLY | FAST, ONE, "1.0.0", "Returns the number of members in a set.", scard).uses(&[LOOKS]),
    row("sismember", 3, READONLY | FAST, ONE, "1.0.0", "Determines whether a member belongs to a set.", sismember)
        .uses(&[LOOKS]),
    row("smismember", -3, READONLY | FAST, ONE, "6.2.0",
        "Determines whether multiple members belong to a set.", smismember),
    row("smembers", 2, READONLY, ONE, "1.0.0", "Returns all members of a set.", smembers),
    row("srandmember", -2, READONLY, ONE, "1.0.0", "Get one or multiple random members from a set.", srandmember),
    row("spop", -2, WRITE | FAST, ONE, "1.0.0",
        "Returns one or more random members from a set after removing them.", spop).uses(&[TAKES]),
    row("sscan", -3, READONLY, ONE, "2.8.0", "Iterates over members of a set.", super::scan::sscan),
    row("sinter", -2, READONLY, ALL, "1.0.0", "Returns the intersect of multiple sets.", sinter),
    row("sintercard", -3, READONLY | MOVABLEKEYS, KeySpec::Counted { count: 1, dest: 0 }, "7.0.0",
        "Returns the number of members of the intersect of multiple sets.", sintercard),
    row("sinterstore", -3, WRITE | DENYOOM, ALL, "1.0.0",
        "Stores the intersect of multiple sets in a key.", sinterstore).uses(&[WRITES, READS]),
    row("sunion", -2, READONLY, ALL, "1.0.0", "Returns the union of multiple sets.", sunion),
    row("sunionstore", -3, WRITE | DENYOOM, ALL, "1.0.0", "Stores the union of multiple sets in a key.", sunionstore)
        .uses(&[SETS, READS]),
    row("sdiff", -2, READONLY, ALL, "1.0.0", "Returns the difference of multiple sets.", sdiff),
    row("sdiffstore", -3, WRITE | DENYOOM, ALL, "1.0.0",
        "Stores the difference of multiple sets in a key.", sdiffstore).uses(&[SETS, READS]),
];

fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let members = rest(args, 2);
    let mut added = 0;
    if let Some(mut set) = ks.set_mut(db, &args[1], Create::Yes)? {
        let limits = set.limits();
        set.expect(members.len(), members[0], &limits);
        added = members.iter().filter(|m| set.add(m, &limits)).count() as i64;
        set.changed(added as u64);
    }
    out.int(added);
    Ok(as_sent_if(added > 0))
}

fn srem(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let members = rest(args, 2);
    let mut removed = 0;
    if let Some(mut set) = ks.set_mut(db, &args[1], Create::No)? {
        removed = members.iter().filter(|m| set.remove(m)).count() as i64;
        set.changed(removed as u64);
    }
    out.int(removed);
    Ok(as_sent_if(removed > 0))
}

fn smove(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let member = &args[3];
    // Both are looked up before either counts: one whose time is up goes, whatever the other is.
    let (source, target) = (ks.set(db, &args[1]), ks.set(db, &args[2]));
    let Some(source) = source? else {
        out.int(0);
        return Ok(Effect::None);
    };
    let has = source.contains(member);
    target?;
    if !has || args[1] == args[2] {
        out.int(i64::from(has));
        return Ok(Effect::None);
    }
    ks.name_changes(Some(Event::new(Class::Set, "srem")));
    if let Some(mut set) = ks.set_mut(db, &args[1], Create::No)? {
        set.remove(member);
    }
    ks.name_changes(Some(Event::new(Class::Set, "sadd")));
    if !ks.set(db, &args[2])?.is_some_and(|set| set.contains(member))
        && let Some(mut set) = ks.set_mut(db, &args[2], Create::Yes)?
    {
        let limits = set.limits();
        set.add(member, &limits);
    }
    out.int(1);
    Ok(Effect::AsSent)
}

fn scard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(ks.set(db, &args[1])?.map_or(0, Set::len) as i64);
    Ok(Effect::None)
}

fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    out.int(i64::from(ks.set(db, &args[1])?.is_some_and(|set| set.contains(&args[2]))));
    Ok(Effect::None)
}

fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let set = ks.set(db, &args[1])?;
    out.array(args.len() - 2);
    for member in rest(args, 2) {
        out.int(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(Effect::None)
}

fn smembers(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let set = ks.set(db, &args[1])?;
    out.set(set.map_or(0, Set::len));
    if let Some(set) = set {
        answer_members(&mut out, set, most);
    }
    Ok(Effect::None)
}

/// All members, up to `most` bytes of the reply's buffer: behind that nobody reads them.
fn answer_members(out: &mut Writer<'_>, set: &Set, most: usize) {
    set.iter().all(|member| {
        out.bulk(member.text(&mut itoa::Buffer::new()));
        out.out.len() < most
    });
}

fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let count = args.get(2).map(|arg| random_count(arg, false)).transpose()?;
    let (ks, db, mut out) = ctx.split();
    let len = ks.set(db, &args[1])?.map_or(0, Set::len);
    match (len, count) {
        (0, None) => out.null(),
        (0, _) | (_, Some(0)) => out.array(0),
        _ => {
            let picks = pick(ctx, count.unwrap_or(1), len)?;
            answer_picks(ctx, &args[1], picks, count.is_some())?;
        }
    }
    Ok(Effect::None)
}

fn answer_picks(ctx: &mut Ctx<'_>, key: &[u8], picks: Picks, many: bool) -> Res<()> {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let Some(set) = ks.again::<Set>(db, key) else { return Ok(()) };
    let header = |n| if many { Some(n) } else { None };
    match picks {
        Picks::All => {
            if let Some(n) = header(set.len()) {
                out.array(n);
            }
            answer_members(&mut out, set, most);
        }
        Picks::Some(picks) => {
            if let Some(n) = header(picks.len()) {
                out.array(n);
            }
            for member in picks.iter().filter_map(|i| set.nth(*i)) {
                if out.out.len() >= most {
                    break;
                }
                out.bulk(member.text(&mut itoa::Buffer::new()));
            }
        }
    }
    Ok(())
}

fn spop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let count = args.get(2).map(positive).transpose()?;
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let len = ks.set(db, &args[1])?.map_or(0, Set::len);
    let n = count.unwrap_or(1).min(len);
    match (count, n) {
        (None, 0) => out.null(),
        (Some(_), 0) => out.set(0),
        (Some(_), n) if n == len => {
            out.set(n);
            if let Some(set) = ks.set(db, &args[1])? {
                answer_members(&mut out, set, most);
            }
            ks.tell(db, &args[1], Event::new(Class::Set, "spop"));
            let before = ks.dirty();
            ks.remove(db, &args[1]);
            ks.recount(before, n as u64);
            return Ok(ctx.removed_instead(&args[1]));
        }
        _ => return pop_some(ctx, &args[1], n, len, count.is_some()),
    }
    Ok(Effect::None)
}

/// Pops `n` random members of `len`; replicas are told which.
fn pop_some(ctx: &mut Ctx<'_>, key: &[u8], n: usize, len: usize, many: bool) -> CommandResult {
    let chosen = choose(ctx, n, len);
    let (ks, db, _) = ctx.split();
    let Some(mut set) = ks.set_mut(db, key, Create::No)? else { return Ok(Effect::None) };
    let (mut gone, in_order) = match chosen {
        Chosen::Together(positions) => (set.remove_all_at(&positions), true),
        Chosen::OneByOne(positions) => (positions.into_iter().filter_map(|at| set.remove_nth(at)).collect(), false),
    };
    set.changed(n as u64);
    drop(set);
    if in_order {
        // Whoever deals cards with SPOP wants them shuffled.
        (1..gone.len()).rev().for_each(|at| gone.swap(at, below(ctx, at + 1)));
    }
    let most = ctx.most_output();
    let (_, _, mut out) = ctx.split();
    if many {
        out.set(n);
    }
    gone.iter().all(|member| {
        out.bulk(member);
        out.out.len() < most
    });
    let effect: Vec<&[u8]> = [&b"SREM"[..], key].into_iter().chain(gone.iter().map(|elem| elem.as_bytes())).collect();
    Ok(ctx.instead(&effect))
}

fn below(ctx: &mut Ctx<'_>, bound: usize) -> usize {
    ((u128::from(ctx.random()) * bound as u128) >> 64) as usize
}

/// Positions in a set from which members are taken.
enum Chosen {
    /// Each where the set is when those before it are gone.
    OneByOne(Vec<usize>),
    /// Of the set as it is, ascending.
    Together(Vec<usize>),
}

/// A descent into a large set costs as much as passing so many members.
const PASSED_MEMBERS: usize = 16;

/// `n` of `len` at random, every choice as likely as every other: for many by selection sampling (Knuth, The Art of Computer
/// Programming, 3.4.2, algorithm S).
fn choose(ctx: &mut Ctx<'_>, n: usize, len: usize) -> Chosen {
    if n == 1 || n < len / PASSED_MEMBERS {
        return Chosen::OneByOne((0..n).map(|taken| below(ctx, len - taken)).collect());
    }
    let mut positions = Vec::with_capacity(n);
    for at in 0..len {
        if below(ctx, len - at) < n - positions.len() {
            positions.push(at);
        }
    }
    Chosen::Together(positions)
}

/// The sets under some keys, the missing ones as `None`. Any key of another type is an error.
fn load<'k>(ks: &'k Keyspace, db: usize, keys: &[&[u8]]) -> Res<Vec<Option<&'k Set>>> {
    keys.iter().map(|key| Ok(ks.set(db, key)?)).collect()
}

/// Visits the intersection until `visit` says stop.
fn intersect(mut sets: Vec<Option<&Set>>, mut visit: impl FnMut(Member<'_>) -> bool) {
    sets.sort_by_key(|set| set.map_or(0, Set::len));
    let Some(sets) = sets.into_iter().collect::<Option<Vec<_>>>() else { return };
    let Some((first, others)) = sets.split_first() else { return };
    let others = others.iter().filter(|other| !std::ptr::eq(**other, *first));
    let mut others: Vec<Lookup<'_>> =
        others.map(|other| Lookup::new(Source::Set(other), &Source::Set(first))).collect();
    first.iter().all(|m| !others.iter_mut().all(|other| other.has(m)) || visit(m));
}

fn union(sets: &[Option<&Set>], limits: &Limits) -> Set {
    // The largest is taken over by reference count, unless it is so small that the result might be compact.
    let compact = limits.set_ints.max(limits.set_entries);
    let largest = sets.iter().flatten().max_by_key(|set| set.len()).filter(|set| set.is_tree() && set.len() > compact);
    let mut result = largest.map_or_else(Set::new, |set| (*set).clone());
    for set in sets.iter().flatten().filter(|set| !largest.is_some_and(|l| std::ptr::eq(*l, **set))) {
        for member in set.iter() {
            result.add(member.text(&mut itoa::Buffer::new()), limits);
        }
    }
    result
}

/// Visits the members of the first set that none of the others has until `visit` says stop.
fn difference<'k>(sets: &[Option<&'k Set>], mut visit: impl FnMut(Member<'k>) -> bool) {
    let Some((Some(first), others)) = sets.split_first() else { return };
    let others: Vec<Source<'_>> = others.iter().flatten().map(|set| Source::Set(set)).collect();
    source::difference(Source::Set(first), &others, |member, _| visit(member));
}

fn sinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let sets = load(ks, db, &rest(args, 1))?;
    let (mark, mut n) = (out.defer(), 0);
    intersect(sets, |m| {
        n += 1;
        out.bulk(m.text(&mut itoa::Buffer::new()));
        out.out.len() < most
    });
    out.end_set(mark, n);
    Ok(Effect::None)
}

fn sintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (keys, limit) = sintercard_args(args)?;
    let (ks, db, mut out) = ctx.split();
    let mut n = 0;
    intersect(load(ks, db, &keys)?, |_| {
        n += 1;
        n != limit
    });
    out.int(n as i64);
    Ok(Effect::None)
}

fn sintercard_args(args: Args<'_>) -> Res<(List<'_>, usize)> {
    let bad = err("ERR numkeys should be greater than 0");
    let count = int_or(&args[1], bad.clone())?;
    let count = usize::try_from(count).ok().filter(|n| *n > 0).ok_or(bad)?;
    if count > args.len() - 2 {
        return Err(err("ERR Number of keys can't be greater than number of args"));
    }
    let keys = super::common::list(args, 2, 2 + count);
    let (mut at, mut limit) = (2 + count, 0);
    while at < args.len() {
        if !is(&args[at], "limit") || at + 1 >= args.len() {
            return Err(CommandError::SYNTAX);
        }
        let bad = err("ERR LIMIT can't be negative");
        limit = usize::try_from(int_or(&args[at + 1], bad.clone())?).map_err(|_| bad)?;
        at += 2;
    }
    Ok((keys, limit))
}

fn sunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let result = union(&load(ks, db, &rest(args, 1))?, ks.limits());
    out.set(result.len());
    answer_members(&mut out, &result, most);
    Ok(Effect::None)
}

fn sdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let sets = load(ks, db, &rest(args, 1))?;
    let (mark, mut n) = (out.defer(), 0);
    difference(&sets, |m| {
        n += 1;
        out.bulk(m.text(&mut itoa::Buffer::new()));
        out.out.len() < most
    });
    out.end_set(mark, n);
    Ok(Effect::None)
}

/// Puts a result under `key`, or deletes the key when it is empty, and answers its size.
fn store(ctx: &mut Ctx<'_>, key: &[u8], result: Set) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let len = result.len();
    let changed = if len > 0 {
        ks.put_object(db, key, Object::Set(result), None);
        true
    } else {
        ks.remove_unasked(db, key)
    };
    out.int(len as i64);
    Ok(as_sent_if(changed))
}

fn sinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, _) = ctx.split();
    let (mut result, limits) = (Set::new(), *ks.limits());
    intersect(load(ks, db, &rest(args, 2))?, |m| {
        result.add(m.text(&mut itoa::Buffer::new()), &limits);
        true
    });
    store(ctx, &args[1], result)
}

fn sunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, _) = ctx.split();
    let result = union(&load(ks, db, &rest(args, 2))?, ks.limits());
    store(ctx, &args[1], result)
}

fn sdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (ks, db, _) = ctx.split();
    let (mut result, limits) = (Set::new(), *ks.limits());
    difference(&load(ks, db, &rest(args, 2))?, |m| {
        result.add(m.text(&mut itoa::Buffer::new()), &limits);
        true
    });
    store(ctx, &args[1], result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl Iterator<Item = usize>) -> Set {
        let mut set = Set::new();
        numbers.for_each(|n| _ = set.add(n.to_string().as_bytes(), &Limits::default()));
        set
    }

    fn numbers(sets: &[Option<&Set>]) -> Vec<usize> {
        let mut found = Vec::new();
        difference(sets, |m| {
            found.push(String::from_utf8_lossy(m.text(&mut itoa::Buffer::new())).parse().expect("a number"));
            true
        });
        found
    }

    #[test]
    fn both_ways_find_the_same_difference_in_the_same_order() {
        for size in [5, 400, 3000] {
            let first = of((0..size).map(|n| n * 7 % size));
            for (count, len) in [(1, 1), (2, size), (40, 1), (300, 3), (20, size / 5)] {
                let others: Vec<Set> = (0..count).map(|n| of((0..len).map(|i| n * 13 + i * 3))).collect();
                let sets: Vec<Option<&Set>> =
                    std::iter::once(Some(&first)).chain([None]).chain(others.iter().map(Some)).collect();
                let left: Vec<Member<'_>> =
                    first.iter().filter(|m| others.iter().all(|o| !o.contains_member(*m))).collect();
                let left: Vec<String> =
                    left.iter().map(|m| String::from_utf8_lossy(&m.to_elem()).into_owned()).collect();
                let found: Vec<String> = numbers(&sets).iter().map(usize::to_string).collect();
                assert_eq!(found, left, "{size} less {count} of {len}");
            }
        }
    }

    #[test]
    fn nothing_is_left_of_a_set_less_itself() {
        let (set, other) = (of(0..1000), of(0..3));
        assert_eq!(numbers(&[Some(&set), Some(&other), Some(&set)]), [0; 0]);
        assert_eq!(numbers(&[None, Some(&set)]), [0; 0]);
    }
}
