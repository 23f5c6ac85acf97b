//! Deadlines of single fields, kept beside a hash's fields and values: a hash without any pays nothing for them.
//!
//! Two trees, for the two questions: when does this field expire, and which expires first. Both share their nodes with
//! snapshots like every tree. Owns the deadlines of one hash; knows neither values nor what time it is.

use super::{Hash, Hashed, seek};
use crate::tree::{Item, Tree};
use std::cmp::Ordering;

/// A field's deadline, found by the field.
#[derive(Clone)]
struct Timer {
    name: Hashed,
    at: u64,
}

impl Item for Timer {
    type Key = Hashed;
    fn key(&self) -> &Hashed {
        &self.name
    }
    fn heap_bytes(&self) -> usize {
        self.name.bytes.heap_bytes()
    }
}

/// A field's deadline, in the order in which they pass. Fields of equal deadlines follow as the hash orders them.
#[derive(Clone)]
struct Due {
    at: u64,
    name: Hashed,
}

impl Item for Due {
    type Key = Due;
    fn key(&self) -> &Due {
        self
    }
    fn heap_bytes(&self) -> usize {
        // The bytes are shared with the timer.
        0
    }
}

/// Compares places in the order of deadlines to one wanted.
fn seek_due(at: u64, field: &[u8]) -> impl FnMut(&Due) -> Ordering + Copy + '_ {
    let mut by_name = seek(field);
    move |due| due.at.cmp(&at).then_with(|| by_name(&due.name))
}

/// The deadlines of a hash's fields, in milliseconds since 1970.
#[derive(Clone, Default)]
pub(crate) struct Times {
    of: Tree<Timer>,
    queue: Tree<Due>,
}

impl Times {
    /// Memory held.
    pub(crate) fn mem_bytes(&self) -> usize {
        self.of.mem_bytes() + self.queue.mem_bytes()
    }

    /// A field's deadline.
    pub(crate) fn get(&self, field: &[u8]) -> Option<u64> {
        self.of.find(seek(field)).map(|timer| timer.at)
    }

    /// Gives a field a deadline.
    pub(crate) fn set(&mut self, field: &[u8], at: u64) {
        let name = Hashed::new(field);
        if let Some(old) = self.of.upsert_by(seek(field), Timer { name: name.clone(), at }) {
            self.queue.remove_by(seek_due(old.at, field));
        }
        self.queue.insert_by(seek_due(at, field), Due { at, name });
    }

    /// Takes a field's deadline away; false if it has none.
    pub(crate) fn clear(&mut self, field: &[u8]) -> bool {
        let Some(old) = self.of.remove_by(seek(field)) else { return false };
        self.queue.remove_by(seek_due(old.at, field));
        true
    }

    /// The first deadline.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<u64> {
        self.queue.get(0).map(|due| due.at)
    }

    /// How many have passed.
    pub(crate) fn passed(&self, now: u64) -> usize {
        match self.earliest() {
            Some(at) if at < now => self.queue.rank_where(|due| due.at < now),
            _ => 0,
        }
    }

    /// Fields with their deadlines, the first ones first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.queue.iter().map(|due| (due.name.bytes.as_bytes(), due.at))
    }
}

/// A hash of which fields expire, or did: it stays in this form as Redis' does.
#[derive(Clone, Default)]
pub(crate) struct Timed {
    /// Never in this form itself.
    pub(super) plain: Hash,
    pub(super) times: Times,
}

impl Hash {
    /// A field's deadline in milliseconds since 1970.
    pub fn deadline(&self, field: &[u8]) -> Option<u64> {
        self.times()?.get(field)
    }

    /// Sets or (with none) takes away a field's deadline; false if there is no such field, or nothing to take away.
    pub fn set_deadline(&mut self, field: &[u8], at: Option<u64>) -> bool {
        if !self.contains(field) {
            return false;
        }
        match at {
            Some(at) => {
                self.timed().times.set(field, at);
                true
            }
            None => self.times_mut().is_some_and(|times| times.clear(field)),
        }
    }

    /// The first of the fields' deadlines.
    #[inline]
    pub fn earliest_deadline(&self) -> Option<u64> {
        self.times()?.earliest()
    }

    /// True if a field's deadline lies before `now`.
    pub fn has_passed(&self, field: &[u8], now: u64) -> bool {
        self.earliest_deadline().is_some_and(|at| at < now) && self.deadline(field).is_some_and(|at| at < now)
    }

    /// How many fields' deadlines lie before `now`.
    pub fn passed(&self, now: u64) -> usize {
        self.times().map_or(0, |times| times.passed(now))
    }

    /// The first fields whose deadlines lie before `now`, `most` of them.
    pub fn passed_fields(&self, now: u64, most: usize) -> Vec<Box<[u8]>> {
        let times = self.times().into_iter().flat_map(Times::iter);
        times.take_while(|(_, at)| *at < now).take(most).map(|(field, _)| field.into()).collect()
    }

    /// Fields with values and deadlines, those that expire first in front.
    pub(crate) fn iter_timed(&self) -> impl Iterator<Item = (&[u8], &[u8], Option<u64>)> {
        let timed = self.times().into_iter().flat_map(Times::iter);
        let timed = timed.filter_map(|(field, at)| Some((field, self.get(field)?, Some(at))));
        let others = self.iter().filter(|(field, _)| self.deadline(field).is_none());
        timed.chain(others.map(|(field, value)| (field, value, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn name(n: u16) -> Vec<u8> {
        format!("field-{}", n % 200).into_bytes()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn deadlines_are_a_map_beside_the_fields(
            ops in prop::collection::vec((0..10_u8, any::<u16>(), 1..500_u64), 1..700), most in 0..300_usize,
        ) {
            let limits = Limits { hash_entries: most, ..Limits::default() };
            let (mut hash, mut twin) = (Hash::new(), BTreeMap::<Vec<u8>, Option<u64>>::new());
            let mut forks = Vec::new();
            for (op, n, at) in ops {
                let field = name(n);
                match op {
                    0..=2 => {
                        hash.set(&field, b"value", &limits);
                        twin.insert(field, None);
                    }
                    3 => {
                        hash.set_keeping(&field, b"kept", &limits);
                        twin.entry(field).or_default();
                    }
                    4..=6 => {
                        prop_assert_eq!(hash.set_deadline(&field, Some(at)), twin.contains_key(&field));
                        twin.entry(field).and_modify(|old| *old = Some(at));
                    }
                    7 => {
                        let had = twin.get_mut(&field).and_then(Option::take).is_some();
                        prop_assert_eq!(hash.set_deadline(&field, None), had);
                    }
                    8 => prop_assert_eq!(hash.remove(&field), twin.remove(&field).is_some()),
                    _ if n % 16 == 0 => forks.push((hash.clone(), twin.clone())),
                    _ => prop_assert_eq!(hash.deadline(&field), twin.get(&field).copied().flatten()),
                }
            }
            forks.push((hash, twin));
            for (hash, twin) in forks {
                prop_assert_eq!(hash.len(), twin.len());
                prop_assert_eq!(hash.earliest_deadline(), twin.values().flatten().min().copied());
                for now in [0, 100, 300, 600] {
                    let passed = twin.values().flatten().filter(|at| **at < now).count();
                    prop_assert_eq!(hash.passed(now), passed);
                    prop_assert_eq!(hash.passed_fields(now, 7).len(), passed.min(7));
                    let hidden = twin.iter().filter(|(field, _)| hash.has_passed(field, now)).count();
                    prop_assert_eq!(hidden, passed);
                }
                let all: BTreeMap<_, _> = hash.iter_timed().map(|(f, _, at)| (f.to_vec(), at)).collect();
                prop_assert_eq!(all, twin);
                let order: Vec<u64> = hash.iter_timed().filter_map(|(.., at)| at).collect();
                prop_assert!(order.is_sorted());
            }
        }
    }

    #[test]
    fn a_hash_without_deadlines_is_no_larger_for_them() {
        assert_eq!(size_of::<Hash>(), size_of::<crate::compact::Compact>());
    }
}
