//! The inputs of unions, intersections and differences: sets and sorted sets alike. Owns how members of one are looked for in
//! another: large ones hold theirs in the same order, and to pass on in that costs less than a descent for each member.

use super::common::Res;
use crate::error::CommandError;
use keystead_keyspace::hash::Hashed;
use keystead_keyspace::object::Object;
use keystead_keyspace::set::{Member, Set};
use keystead_keyspace::tree::Iter as TreeIter;
use keystead_keyspace::zset::{Placed, ZSet};
use keystead_keyspace::{Keyspace, Limits};

/// A descent into a large collection costs as much as passing so many members.
const PASSED: usize = 16;

/// An input, borrowed: reads share the keyspace.
#[derive(Clone, Copy)]
pub(super) enum Source<'k> {
    Missing,
    Set(&'k Set),
    ZSet(&'k ZSet),
}

impl<'k> Source<'k> {
    pub(super) fn load(ks: &'k Keyspace, db: usize, key: &[u8]) -> Res<Self> {
        match ks.value(db, key) {
            None => Ok(Source::Missing),
            Some(Some(Object::Set(set))) => Ok(Source::Set(set)),
            Some(Some(Object::ZSet(zset))) => Ok(Source::ZSet(zset)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.len(),
            Source::ZSet(zset) => zset.len(),
        }
    }

    /// Whether both are under the same key.
    pub(super) fn is(&self, other: &Source<'_>) -> bool {
        match (self, other) {
            (Source::Set(a), Source::Set(b)) => std::ptr::eq(*a, *b),
            (Source::ZSet(a), Source::ZSet(b)) => std::ptr::eq(*a, *b),
            _ => false,
        }
    }

    fn score(&self, member: Member<'_>) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Set(set) => set.contains_member(member).then_some(1.0),
            Source::ZSet(zset) => zset.score(member.text(&mut itoa::Buffer::new())),
        }
    }

    /// Visits members until `visit` says stop; those of a large input in the order of their places.
    pub(super) fn each(&self, mut visit: impl FnMut(Member<'k>, f64) -> bool) {
        match (self, self.placed()) {
            (_, Some(mut placed)) => _ = placed.all(|(m, s)| visit(Member::Bytes(m.bytes.as_bytes()), s)),
            (Source::Missing, _) => {}
            (Source::Set(set), _) => _ = set.iter().all(|m| visit(m, 1.0)),
            (Source::ZSet(zset), _) => _ = zset.iter().all(|(m, s)| visit(Member::Bytes(m), s)),
        }
    }

    fn placed(&self) -> Option<Walk<'k>> {
        match self {
            Source::Missing => None,
            Source::Set(set) => set.placed().map(Walk::Set),
            Source::ZSet(zset) => zset.placed().map(Walk::ZSet),
        }
    }
}

/// The members of a large input in the order of their places.
enum Walk<'k> {
    Set(TreeIter<'k, Hashed>),
    ZSet(Placed<'k>),
}

impl<'k> Iterator for Walk<'k> {
    type Item = (&'k Hashed, f64);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Walk::Set(members) => members.next().map(|member| (member, 1.0)),
            Walk::ZSet(members) => members.next(),
        }
    }
}

/// An input in which the members of another are looked for, in the order in which that one gives them.
pub(super) struct Lookup<'k> {
    source: Source<'k>,
    /// Members not yet passed, and the first of them.
    ahead: Option<(Walk<'k>, Option<(&'k Hashed, f64)>)>,
}

impl<'k> Lookup<'k> {
    /// Looks in `source` for members of `of`.
    pub(super) fn new(source: Source<'k>, of: &Source<'_>) -> Self {
        let near = of.placed().is_some() && source.len() / PASSED <= of.len();
        let ahead = source.placed().filter(|_| near).map(|mut walk| {
            let first = walk.next();
            (walk, first)
        });
        Lookup { source, ahead }
    }

    /// The score of the next member.
    #[inline]
    pub(super) fn score(&mut self, member: Member<'_>) -> Option<f64> {
        let Some((walk, next)) = &mut self.ahead else { return self.source.score(member) };
        let mut digits = itoa::Buffer::new();
        let text = member.text(&mut digits);
        let place = Set::place(text);
        loop {
            let (there, score) = (*next)?;
            match there.hash.cmp(&place).then_with(|| there.bytes.as_bytes().cmp(text)) {
                std::cmp::Ordering::Less => *next = walk.next(),
                std::cmp::Ordering::Equal => return Some(score),
                std::cmp::Ordering::Greater => return None,
            }
        }
    }

    /// Whether it has the next member.
    #[inline]
    pub(super) fn has(&mut self, member: Member<'_>) -> bool {
        self.score(member).is_some()
    }
}

/// Visits the members of the first input that none of the others has until `visit` says stop.
pub(super) fn difference<'k>(first: Source<'k>, others: &[Source<'k>], mut visit: impl FnMut(Member<'k>, f64) -> bool) {
    if others.iter().any(|other| other.is(&first)) {
        return;
    }
    if asks_each(first.len(), others.iter().map(Source::len)) {
        let mut others: Vec<Lookup<'_>> = others.iter().map(|other| Lookup::new(*other, &first)).collect();
        return first.each(|member, score| others.iter_mut().any(|other| other.has(member)) || visit(member, score));
    }
    let gone = common(first, others);
    if gone.len() < first.len() {
        let mut gone = Lookup::new(Source::Set(&gone), &first);
        first.each(|member, score| gone.has(member) || visit(member, score));
    }
}

/// How a difference is found with less work: true where each member of the first is looked for in the others, false where
/// each member of the others is looked for in the first. Redis' choice too: the former is given some advantage, for it
/// ends at the first set that has the member.
fn asks_each(first: usize, others: impl ExactSizeIterator<Item = usize>) -> bool {
    first.saturating_mul(others.len() + 1) / 2 <= others.sum::<usize>() + first
}

/// The members of the first input that any of the others has.
fn common(first: Source<'_>, others: &[Source<'_>]) -> Set {
    // Members come in any order: a tree from the start.
    let limits = Limits { set_ints: 0, set_entries: 0, ..Limits::default() };
    let mut common = Set::new();
    for other in others {
        let mut lookup = Lookup::new(first, other);
        other.each(|member, _| {
            if lookup.has(member) {
                common.add(member.text(&mut itoa::Buffer::new()), &limits);
            }
            common.len() < first.len()
        });
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_the_way_that_is_less_work() {
        for (first, others, each) in [
            (10, &[][..], true),
            (10, &[10], true),
            (10, &[1], true),
            (10, &[1, 1], false),
            (200_000, &[1; 3000], false),
            (200_000, &[1_000_000, 1], true),
            (0, &[1, 2, 3], true),
        ] {
            assert_eq!(asks_each(first, others.iter().copied()), each, "{first} {others:?}");
        }
    }

    /// Sets and sorted sets of numbers, small and large, looked up in one another against what they hold.
    #[test]
    fn members_are_found_whatever_holds_them() {
        let limits = Limits::default();
        let member = |n: usize| format!("member {n}").into_bytes();
        for (step, len) in [(1, 5), (3, 2000), (7, 300), (2, 40_000), (1, 700)] {
            let (mut set, mut zset) = (Set::new(), ZSet::new());
            for n in (0..len).map(|n| n * step) {
                set.add(&member(n), &limits);
                zset.add(&member(n), n as f64, &limits);
            }
            for of in [1, 2, 150, 3000, 9000] {
                let mut asked = ZSet::new();
                (0..of).for_each(|n| _ = asked.add(&member(n * 5), 0.0, &limits));
                let asked = Source::ZSet(&asked);
                let mut lookups = [Source::Set(&set), Source::ZSet(&zset)].map(|source| Lookup::new(source, &asked));
                let mut seen = 0;
                asked.each(|m, _| {
                    let text = m.to_elem();
                    assert_eq!(lookups[0].has(m), set.contains(text.as_bytes()), "{step} {len} {of} {text:?}");
                    assert_eq!(lookups[1].score(m), zset.score(text.as_bytes()));
                    seen += 1;
                    true
                });
                assert_eq!(seen, of);
            }
        }
    }
}
