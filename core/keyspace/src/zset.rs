//! Sorted sets: a compact blob in order up to Redis' thresholds, then one tree by (score, member) and one by member.

mod many;

pub use many::order_members;

use crate::compact::{Compact, Entries, RevEntries};
use crate::elem::Elem;
use crate::hash::{Hashed, scan_tree, seek};
use crate::limits::Limits;
use crate::tree::{Item, Iter as TreeIter, Tree};
use std::cmp::Ordering;

/// A member in the order of scores.
#[derive(Clone)]
pub struct Scored {
    score: f64,
    member: Elem,
}

impl Item for Scored {
    type Key = Scored;
    fn key(&self) -> &Scored {
        self
    }
    fn heap_bytes(&self) -> usize {
        // The bytes are shared with the other tree, which counts them.
        0
    }
}

/// A member with its score in hash order.
#[derive(Clone)]
pub struct Rated {
    member: Hashed,
    score: f64,
}

impl Item for Rated {
    type Key = Hashed;
    fn key(&self) -> &Hashed {
        &self.member
    }
    fn heap_bytes(&self) -> usize {
        self.member.bytes.heap_bytes()
    }
}

/// A descent for a member that goes takes as long as a pass over about so many of those in the order of their hashes.
const PASS: usize = 64;

#[derive(Clone, Default)]
struct Trees {
    by_score: Tree<Scored>,
    by_member: Tree<Rated>,
}

#[derive(Clone)]
enum Form {
    /// Entries of eight bytes of score and the member, in order.
    Compact(Compact),
    Trees(Box<Trees>),
}

/// Members ordered by (score, member).
#[derive(Clone)]
pub struct ZSet(Form);

impl Default for ZSet {
    fn default() -> Self {
        Self(Form::Compact(Compact::new()))
    }
}

/// Redis' order: by score (-0 equals 0, never NaN), then by bytes.
pub fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(b.1))
}

fn by(score: f64, member: &[u8]) -> impl FnMut(&Scored) -> Ordering + Copy + '_ {
    move |key| compare((key.score, key.member.as_bytes()), (score, member))
}

fn split(payload: &[u8]) -> (&[u8], f64) {
    match payload.split_first_chunk::<8>() {
        Some((score, member)) => (member, f64::from_le_bytes(*score)),
        None => (payload, 0.0),
    }
}

/// Offset and score of a member.
fn find(c: &Compact, member: &[u8]) -> Option<(usize, f64)> {
    let mut it = c.iter();
    loop {
        let off = it.offset();
        let (m, score) = split(it.next()?);
        if m == member {
            return Some((off, score));
        }
    }
}

/// A score as Redis' compact form has it: -0 becomes 0.
fn unsigned_zero(score: f64) -> f64 {
    if score == 0.0 { 0.0 } else { score }
}

/// Inserts a new member at its place.
fn insert(c: &mut Compact, member: &[u8], score: f64) {
    let mut it = c.iter();
    let off = loop {
        let off = it.offset();
        match it.next().map(split) {
            Some((m, s)) if compare((s, m), (score, member)) == Ordering::Less => {}
            _ => break off,
        }
    };
    c.insert_parts(off, &score.to_le_bytes(), member);
}

/// What [`ZSet::add`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// A new member.
    New,
    /// The member had another score.
    Moved,
    /// Nothing to do.
    Same,
}

impl ZSet {
    #[inline]
    pub(crate) fn inside(&self) -> *const u8 {
        match &self.0 {
            Form::Compact(c) => c.front_address(),
            Form::Trees(trees) => (&raw const **trees).cast(),
        }
    }

    /// An empty sorted set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Compact(c) => c.len(),
            Form::Trees(t) => t.by_score.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `OBJECT ENCODING`
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Compact(_) => "listpack",
            Form::Trees(_) => "skiplist",
        }
    }

    /// Memory held, estimated in O(1).
    pub fn mem_bytes(&self) -> usize {
        match &self.0 {
            Form::Compact(c) => c.mem_bytes(),
            Form::Trees(t) => t.by_score.mem_bytes() + t.by_member.mem_bytes() + size_of::<Trees>(),
        }
    }

    /// Whether a clone copies nothing but pointers.
    pub fn is_tree(&self) -> bool {
        matches!(self.0, Form::Trees(_))
    }

    /// A member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Compact(c) => find(c, member).map(|(_, score)| score),
            Form::Trees(t) => t.by_member.find(seek(member)).map(|r| r.score),
        }
    }

    /// Sets a member's score, which isn't NaN. As in Redis' compact form, -0 becomes 0 there.
    #[inline]
    pub fn add(&mut self, member: &[u8], score: f64, limits: &Limits) -> Added {
        self.add_in_form(member, score, unsigned_zero, limits)
    }

    /// As `add`, while a value is being read: before its end its form isn't known, so a -0 stays until [`ZSet::settle`].
    pub(crate) fn add_unsettled(&mut self, member: &[u8], score: f64, limits: &Limits) -> Added {
        self.add_in_form(member, score, |score| score, limits)
    }

    /// The value is all there: a -0 stays in trees only.
    pub(crate) fn settle(&mut self) {
        let Form::Compact(c) = &mut self.0 else { return };
        let mut settled = Compact::new();
        for (member, score) in c.iter().map(split) {
            settled.insert_parts(settled.offset(settled.len()), &unsigned_zero(score).to_le_bytes(), member);
        }
        *c = settled;
    }

    #[inline]
    fn add_in_form(&mut self, member: &[u8], score: f64, compact: impl Fn(f64) -> f64, limits: &Limits) -> Added {
        if let Form::Compact(c) = &mut self.0 {
            let found = find(c, member);
            match found {
                Some((_, old)) if old == score => return Added::Same,
                Some((off, _)) => {
                    c.remove(off, 1);
                    insert(c, member, compact(score));
                    return Added::Moved;
                }
                None if c.len() < limits.zset_entries && member.len() <= limits.zset_value => {
                    insert(c, member, compact(score));
                    return Added::New;
                }
                None => self.make_trees(),
            }
        }
        let Form::Trees(t) = &mut self.0 else { return Added::Same };
        t.add(member, score)
    }

    fn make_trees(&mut self) {
        let mut trees = Trees::default();
        for (member, score) in self.iter() {
            trees.push(member, score);
        }
        self.0 = Form::Trees(Box::new(trees));
    }

    /// Removes; gives the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Compact(c) => {
                let (off, score) = find(c, member)?;
                c.remove(off, 1);
                Some(score)
            }
            Form::Trees(t) => {
                let score = t.by_member.remove_by(seek(member))?.score;
                t.by_score.remove_by(by(score, member));
                Some(score)
            }
        }
    }

    /// Takes the member at a rank.
    pub fn remove_nth(&mut self, rank: usize) -> Option<(Elem, f64)> {
        match &mut self.0 {
            Form::Compact(c) => {
                let (member, score) = split(c.get(rank)?);
                let member = Elem::new(member);
                c.remove(c.offset(rank), 1);
                Some((member, score))
            }
            Form::Trees(t) => {
                let Scored { score, member } = t.by_score.remove_at(rank)?;
                t.by_member.remove_by(seek(&member));
                Some((member, score))
            }
        }
    }

    /// Removes the members at ranks `from..to`; gives what must be freed, which may be much. Costs a descent for each member that
    /// goes, or a pass over all.
    pub fn remove_range(&mut self, from: usize, to: usize) -> ZSet {
        let (len, to) = (self.len(), to.min(self.len()));
        let gone = to.saturating_sub(from);
        if gone == len {
            return std::mem::take(self);
        }
        match &mut self.0 {
            Form::Compact(c) => c.remove(c.offset(from), gone),
            Form::Trees(t) if gone.saturating_mul(PASS) < len => t.remove_each(from, to),
            Form::Trees(t) => return Self(Form::Trees(Box::new(t.remove_range(from, to)))),
        }
        ZSet::new()
    }

    /// A member's rank from the lowest score, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Form::Compact(c) => {
                let i = c.iter().position(|p| split(p).0 == member)?;
                Some((i, split(c.get(i)?).1))
            }
            Form::Trees(t) => {
                let score = t.by_member.find(seek(member))?.score;
                let mut cmp = by(score, member);
                Some((t.by_score.rank_where(move |k| cmp(k) == Ordering::Less), score))
            }
        }
    }

    /// The member at a rank.
    pub fn nth(&self, rank: usize) -> Option<(&[u8], f64)> {
        match &self.0 {
            Form::Compact(c) => c.get(rank).map(split),
            Form::Trees(t) => t.by_score.get(rank).map(pair),
        }
    }

    /// How many leading members satisfy `before`, which must be true for a prefix of the order only.
    pub fn rank_where(&self, mut before: impl FnMut(&[u8], f64) -> bool) -> usize {
        match &self.0 {
            Form::Compact(c) => c.iter().map(split).take_while(|(m, s)| before(m, *s)).count(),
            Form::Trees(t) => t.by_score.rank_where(|k| before(k.member.as_bytes(), k.score)),
        }
    }

    /// Iterates upward from a rank.
    pub fn iter_from(&self, rank: usize) -> ZSetIter<'_> {
        ZSetIter(match &self.0 {
            Form::Compact(c) => Iter::Compact(c.iter_from(c.offset(rank))),
            Form::Trees(t) => Iter::Tree(t.by_score.iter_from(rank)),
        })
    }

    /// Iterates downward from a rank (inclusive).
    pub fn rev_from(&self, rank: usize) -> ZSetIter<'_> {
        ZSetIter(match &self.0 {
            Form::Compact(c) => Iter::Rev(c.rev_from(c.offset(rank.saturating_add(1)))),
            Form::Trees(t) => Iter::Tree(t.by_score.rev_from(rank)),
        })
    }

    /// Iterates over all members in order.
    pub fn iter(&self) -> ZSetIter<'_> {
        self.iter_from(0)
    }

    /// The members in the order of their places in hash space, if they are held so too.
    pub fn placed(&self) -> Option<Placed<'_>> {
        match &self.0 {
            Form::Compact(_) => None,
            Form::Trees(t) => Some(Placed(t.by_member.iter())),
        }
    }

    /// Visits at least `count` members from a cursor on (all of a compact one); gives the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        match &self.0 {
            Form::Compact(_) => {
                self.iter().for_each(|(m, s)| visit(m, s));
                0
            }
            Form::Trees(t) => {
                scan_tree(&t.by_member, cursor, count, |k| k.hash, |r| visit(r.member.bytes.as_bytes(), r.score))
            }
        }
    }
}

impl Trees {
    /// Adds a new member behind all others.
    fn push(&mut self, member: &[u8], score: f64) {
        let name = Hashed::new(member);
        self.by_score.push_back(Scored { score, member: name.bytes.clone() });
        self.by_member.insert_by(seek(member), Rated { member: name, score });
    }

    fn remove_each(&mut self, from: usize, to: usize) {
        for scored in self.by_score.iter_from(from).take(to - from) {
            self.by_member.remove_by(seek(&scored.member));
        }
        self.by_score.cut_range(from, to);
    }

    /// Removes some members, not all; gives what held them in the order of scores, to be freed elsewhere.
    fn remove_range(&mut self, from: usize, to: usize) -> Trees {
        let mut gone = self.by_score.clone();
        gone.keep_range(from, to);
        if let (Some(first), Some(last)) = (gone.get(0), gone.get(gone.len() - 1)) {
            let (first, last) = ((first.score, &*first.member), (last.score, &*last.member));
            self.by_member.retain(|rated| {
                let rated = (rated.score, &*rated.member.bytes);
                compare(rated, first) == Ordering::Less || compare(rated, last) == Ordering::Greater
            });
        }
        self.by_score.cut_range(from, to);
        Trees { by_score: gone, by_member: Tree::new() }
    }

    fn add(&mut self, member: &[u8], score: f64) -> Added {
        let place = seek(member);
        let name = Hashed::new(member);
        let old = if name.bytes.heap_bytes() == 0 {
            // One descent instead of two; a short member's bytes are not shared between the trees anyway.
            self.by_member.upsert_by(place, Rated { member: name.clone(), score }).map(|rated| rated.score)
        } else {
            let old = self.by_member.find(place).map(|rated| rated.score);
            match old {
                Some(old) if old != score => {
                    self.by_member.update_by(place, |r| r.score = score);
                }
                Some(_) => {}
                None => self.by_member.insert_by(place, Rated { member: name.clone(), score }),
            }
            old
        };
        match old {
            None => {
                self.by_score.insert_by(by(score, member), Scored { score, member: name.bytes });
                Added::New
            }
            Some(old) if old == score => {
                // 0 and -0 are equal but print differently: the first one stays.
                if old.to_bits() != score.to_bits() {
                    self.by_member.update_by(place, |r| r.score = old);
                }
                Added::Same
            }
            Some(old) => {
                if let Some(item) = self.by_score.remove_by(by(old, member)) {
                    self.by_score.insert_by(by(score, member), Scored { score, member: item.member });
                }
                Added::Moved
            }
        }
    }
}

fn pair(s: &Scored) -> (&[u8], f64) {
    (s.member.as_bytes(), s.score)
}

enum Iter<'a> {
    Compact(Entries<'a>),
    Rev(RevEntries<'a>),
    Tree(TreeIter<'a, Scored>),
}

/// Members of a sorted set with their scores.
pub struct ZSetIter<'a>(Iter<'a>);

impl<'a> Iterator for ZSetIter<'a> {
    type Item = (&'a [u8], f64);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Iter::Compact(it) => it.next().map(split),
            Iter::Rev(it) => it.next().map(split),
            Iter::Tree(it) => it.next().map(pair),
        }
    }
}

/// Members of a sorted set with their scores in the order of hashes.
pub struct Placed<'a>(TreeIter<'a, Rated>);

impl<'a> Iterator for Placed<'a> {
    type Item = (&'a Hashed, f64);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|rated| (&rated.member, rated.score))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn sorted(twin: &BTreeMap<Vec<u8>, f64>) -> Vec<(&[u8], f64)> {
        let mut all: Vec<_> = twin.iter().map(|(m, s)| (&m[..], *s)).collect();
        all.sort_by(|a, b| compare((a.1, a.0), (b.1, b.0)));
        all
    }

    fn check(zset: &ZSet, twin: &BTreeMap<Vec<u8>, f64>) -> Result<(), TestCaseError> {
        let all = sorted(twin);
        prop_assert_eq!(zset.len(), all.len());
        prop_assert!(zset.iter().eq(all.iter().copied()));
        prop_assert!(zset.rev_from(usize::MAX).eq(all.iter().rev().copied()));
        for i in (0..all.len()).step_by(7) {
            prop_assert_eq!(zset.nth(i), Some(all[i]));
            prop_assert_eq!(zset.rank(all[i].0), Some((i, all[i].1)));
            prop_assert!(zset.rev_from(i).eq(all[..=i].iter().rev().copied()));
            let bound = all[i].1;
            prop_assert_eq!(zset.rank_where(|_, s| s < bound), all.iter().filter(|x| x.1 < bound).count());
        }
        let mut seen = BTreeMap::new();
        let mut cursor = 0;
        loop {
            cursor = zset.scan(cursor, 3, |m, s| {
                seen.insert(m.to_vec(), s);
            });
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(&seen, twin);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_a_sorted_map(big in any::<bool>(), ops in prop::collection::vec((0..12_u8, any::<u16>(), -20_i32..20), 1..900)) {
            let (mut zset, mut twin, limits) = (ZSet::new(), BTreeMap::<Vec<u8>, f64>::new(), Limits::default());
            let mut forks = Vec::new();
            for (op, n, score) in ops {
                let member = if big { format!("member that is rather long {}", n % 400) } else { format!("{}", n % 40) };
                let (member, at) = (member.into_bytes(), score);
                let score = f64::from(at) / 4.0;
                match op {
                    0..=6 => {
                        let expected = match twin.get(&member) {
                            None => Added::New,
                            Some(old) if *old == score => Added::Same,
                            Some(_) => Added::Moved,
                        };
                        prop_assert_eq!(zset.add(&member, score, &limits), expected);
                        twin.insert(member, score);
                    }
                    7..=9 => prop_assert_eq!(zset.remove(&member), twin.remove(&member)),
                    10 if !twin.is_empty() && n % 8 == 0 => {
                        let from = n as usize / 8 % twin.len();
                        let to = from + (at.unsigned_abs() as usize).pow(2);
                        let gone: Vec<Vec<u8>> =
                            zset.iter_from(from).take(to - from).map(|(member, _)| member.to_vec()).collect();
                        zset.remove_range(from, to);
                        twin.retain(|member, _| !gone.contains(member));
                    }
                    10 if !twin.is_empty() => {
                        let (member, score) = zset.remove_nth(n as usize % twin.len()).unwrap();
                        prop_assert_eq!(twin.remove(&member.to_vec()), Some(score));
                    }
                    _ if n % 16 == 0 => forks.push((zset.clone(), twin.clone())),
                    _ => prop_assert_eq!(zset.score(&member), twin.get(&member).copied()),
                }
            }
            forks.push((zset, twin));
            for (zset, twin) in forks {
                check(&zset, &twin)?;
            }
        }
    }

    #[test]
    fn a_range_goes_as_a_whole_where_it_can() {
        let limits = Limits::default();
        let mut zset = ZSet::new();
        for n in 0..5000 {
            zset.add(format!("member that is not short {n:04}").as_bytes(), f64::from(n), &limits);
        }
        let held = zset.mem_bytes();
        // What went is left to be freed elsewhere, also the bytes of its members.
        let rest = zset.remove_range(100, 4600);
        assert_eq!((zset.len(), rest.len()), (500, 4500));
        assert_eq!((zset.nth(99).unwrap().1, zset.nth(100).unwrap().1), (99.0, 4600.0));
        assert_eq!((rest.nth(0).unwrap().1, rest.nth(4499).unwrap().1), (100.0, 4599.0));
        assert!(zset.mem_bytes() < held / 5);
        assert_eq!((zset.remove_range(0, 50).len(), zset.len()), (50, 450));
        assert_eq!((zset.remove_range(400, usize::MAX).len(), zset.len()), (50, 400));
        // A few: nothing is left over.
        assert_eq!((zset.remove_range(10, 13).len(), zset.len()), (0, 397));
        assert_eq!((zset.remove_range(7, 7).len(), zset.len()), (0, 397));
        assert_eq!((zset.remove_range(7, 14).len(), zset.len()), (7, 390));
        // Everything.
        let rest = zset.remove_range(0, 390);
        assert_eq!((zset.len(), rest.len(), zset.encoding()), (0, 390, "listpack"));
    }

    #[test]
    fn zero_keeps_its_sign_in_trees_only() {
        let limits = Limits::default();
        let mut zset = ZSet::new();
        zset.add(b"m", -0.0, &limits);
        assert!(zset.score(b"m").unwrap().is_sign_positive());
        (0..200).for_each(|n| {
            zset.add(format!("m{n}").as_bytes(), -0.0, &limits);
        });
        assert!(zset.score(b"m").unwrap().is_sign_positive());
        assert!(zset.score(b"m199").unwrap().is_sign_negative());
        for members in [1, 200] {
            let mut zset = ZSet::new();
            (0..members).for_each(|n| {
                zset.add(format!("m{n}").as_bytes(), 0.0, &limits);
            });
            assert_eq!(zset.add(b"m0", -0.0, &limits), Added::Same);
            assert!(zset.score(b"m0").unwrap().is_sign_positive());
            assert!(zset.iter().all(|(_, score)| score.is_sign_positive()));
        }
    }

    #[test]
    fn leaves_the_compact_form_at_redis_thresholds() {
        let limits = Limits::default();
        let mut zset = ZSet::new();
        for n in 0..128 {
            zset.add(format!("m{n}").as_bytes(), f64::from(n), &limits);
        }
        assert_eq!(zset.encoding(), "listpack");
        zset.add(b"more", 1.0, &limits);
        assert_eq!((zset.encoding(), zset.len()), ("skiplist", 129));
        let mut zset = ZSet::new();
        zset.add(&[b'x'; 65], 1.0, &limits);
        assert_eq!(zset.encoding(), "skiplist");
    }
}
