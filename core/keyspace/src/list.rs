//! Lists: a compact blob up to `list-max-listpack-size`, then a tree by position.

use crate::compact::{Compact, Entries, RevEntries, entry_size};
use crate::elem::Elem;
use crate::limits::Limits;
use crate::tree::{Item, Iter as TreeIter, Tree};

impl Item for Elem {
    type Key = ();
    fn key(&self) -> &() {
        &()
    }
    fn heap_bytes(&self) -> usize {
        Elem::heap_bytes(self)
    }
}

#[derive(Clone)]
enum Form {
    Compact(Compact),
    Tree(Tree<Elem>),
}

/// A sequence of byte strings, cheap to change at both ends.
#[derive(Clone)]
pub struct List(Form);

impl Default for List {
    fn default() -> Self {
        Self(Form::Compact(Compact::new()))
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Compact(c) => c.len(),
            Form::Tree(t) => t.len(),
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
            Form::Tree(_) => "quicklist",
        }
    }

    /// Memory held, estimated in O(1).
    pub fn mem_bytes(&self) -> usize {
        match &self.0 {
            Form::Compact(c) => c.mem_bytes(),
            Form::Tree(t) => t.mem_bytes(),
        }
    }

    /// Whether a clone copies nothing but a pointer.
    pub fn is_tree(&self) -> bool {
        matches!(self.0, Form::Tree(_))
    }

    fn make_room(&mut self, len: usize, limits: &Limits) {
        if let Form::Compact(c) = &self.0
            && !limits.list_fits(c.len() + 1, c.bytes() + entry_size(len))
        {
            self.0 = Form::Tree(c.iter().map(Elem::new).collect());
        }
    }

    /// Adds in front.
    pub fn push_front(&mut self, bytes: &[u8], limits: &Limits) {
        self.insert(0, bytes, limits);
    }

    /// Adds at the end.
    pub fn push_back(&mut self, bytes: &[u8], limits: &Limits) {
        self.make_room(bytes.len(), limits);
        match &mut self.0 {
            Form::Compact(c) => c.push_back(bytes),
            Form::Tree(t) => t.push_back(Elem::new(bytes)),
        }
    }

    /// Inserts before element `i` (at the end if there is none).
    pub fn insert(&mut self, i: usize, bytes: &[u8], limits: &Limits) {
        self.make_room(bytes.len(), limits);
        match &mut self.0 {
            Form::Compact(c) => c.insert(c.offset(i), bytes),
            Form::Tree(t) => t.insert_at(i.min(t.len()), Elem::new(bytes)),
        }
    }

    /// Takes the first element.
    pub fn pop_front(&mut self) -> Option<Elem> {
        self.remove(0)
    }

    /// Takes the last element.
    pub fn pop_back(&mut self) -> Option<Elem> {
        self.remove(self.len().checked_sub(1)?)
    }

    /// Takes element `i`.
    pub fn remove(&mut self, i: usize) -> Option<Elem> {
        match &mut self.0 {
            Form::Compact(c) => {
                let elem = Elem::new(c.get(i)?);
                c.remove(c.offset(i), 1);
                Some(elem)
            }
            Form::Tree(t) => t.remove_at(i),
        }
    }

    /// Element `i`.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        match &self.0 {
            Form::Compact(c) => c.get(i),
            Form::Tree(t) => t.get(i).map(Elem::as_bytes),
        }
    }

    /// Replaces element `i`; false if there is none.
    pub fn set(&mut self, i: usize, bytes: &[u8], limits: &Limits) -> bool {
        if i >= self.len() {
            return false;
        }
        self.make_room(bytes.len(), limits);
        match &mut self.0 {
            Form::Compact(c) => c.replace(c.offset(i), bytes),
            Form::Tree(t) => {
                t.update_at(i, |elem| *elem = Elem::new(bytes));
            }
        }
        true
    }

    /// Keeps the elements `from..to`.
    pub fn keep_range(&mut self, from: usize, to: usize) {
        let len = self.len();
        let (from, to) = (from.min(len), to.min(len).max(from.min(len)));
        match &mut self.0 {
            Form::Compact(c) => {
                c.remove(c.offset(to), len - to);
                c.remove(0, from);
            }
            Form::Tree(t) => t.keep_range(from, to),
        }
    }

    /// Iterates forward from element `i`.
    pub fn iter_from(&self, i: usize) -> ListIter<'_> {
        match &self.0 {
            Form::Compact(c) => ListIter::Compact(c.iter_from(c.offset(i))),
            Form::Tree(t) => ListIter::Tree(t.iter_from(i)),
        }
    }

    /// Iterates backward from element `i` (inclusive).
    pub fn rev_from(&self, i: usize) -> ListIter<'_> {
        match &self.0 {
            Form::Compact(c) => ListIter::Rev(c.rev_from(c.offset(i.saturating_add(1)))),
            Form::Tree(t) => ListIter::Tree(t.rev_from(i)),
        }
    }

    /// Iterates over all elements.
    pub fn iter(&self) -> ListIter<'_> {
        self.iter_from(0)
    }
}

/// Elements of a list.
pub enum ListIter<'a> {
    /// Of a compact list, forward.
    Compact(Entries<'a>),
    /// Of a compact list, backward.
    Rev(RevEntries<'a>),
    /// Of a tree.
    Tree(TreeIter<'a, Elem>),
}

impl<'a> Iterator for ListIter<'a> {
    type Item = &'a [u8];
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            ListIter::Compact(it) => it.next(),
            ListIter::Rev(it) => it.next(),
            ListIter::Tree(it) => it.next().map(Elem::as_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn run(ops: Vec<(u8, usize, Vec<u8>)>, limits: Limits) -> Result<(), TestCaseError> {
        let (mut list, mut twin) = (List::new(), VecDeque::<Vec<u8>>::new());
        let mut forks = Vec::new();
        for (op, pos, bytes) in ops {
            let at = pos % (twin.len() + 1);
            match op {
                0..=2 => {
                    list.push_back(&bytes, &limits);
                    twin.push_back(bytes);
                }
                3 | 4 => {
                    list.push_front(&bytes, &limits);
                    twin.push_front(bytes);
                }
                5 => {
                    list.insert(at, &bytes, &limits);
                    twin.insert(at, bytes);
                }
                6 => prop_assert_eq!(list.pop_front().map(|e| e.to_vec()), twin.pop_front()),
                7 => prop_assert_eq!(list.pop_back().map(|e| e.to_vec()), twin.pop_back()),
                8 => prop_assert_eq!(list.remove(at).map(|e| e.to_vec()), twin.remove(at)),
                9 => {
                    prop_assert_eq!(list.set(at, &bytes, &limits), at < twin.len());
                    if let Some(slot) = twin.get_mut(at) {
                        *slot = bytes;
                    }
                }
                10 => forks.push((list.clone(), twin.clone())),
                _ => {
                    let to = at + twin.len() / 2 + 3;
                    let from = at / 8;
                    list.keep_range(from, to);
                    twin.truncate(to);
                    twin.drain(..from.min(twin.len()));
                }
            }
        }
        forks.push((list, twin));
        for (list, mut twin) in forks {
            let twin: &[Vec<u8>] = twin.make_contiguous();
            prop_assert_eq!(list.len(), twin.len());
            prop_assert!(list.iter().eq(twin.iter().map(|b| &b[..])));
            prop_assert!(list.rev_from(usize::MAX).eq(twin.iter().rev().map(|b| &b[..])));
            for i in 0..twin.len().min(5) {
                prop_assert_eq!(list.get(i), Some(&twin[i][..]));
                prop_assert!(list.rev_from(i).eq(twin[..=i].iter().rev().map(|b| &b[..])));
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_a_deque(ops in prop::collection::vec((0..12_u8, any::<usize>(), prop::collection::vec(any::<u8>(), 0..40)), 1..400),
                      list_size in prop_oneof![Just(-2_i64), Just(3), Just(64)]) {
            run(ops, Limits { list_size, ..Limits::default() })?;
        }
    }

    #[test]
    fn turns_into_a_tree_behind_8_kib() {
        let (mut list, limits) = (List::new(), Limits::default());
        let mut n = 0;
        while list.encoding() == "listpack" {
            list.push_back(b"0123456789", &limits);
            n += 1;
        }
        assert_eq!(n, 8192 / 12 + 1);
        assert_eq!((list.encoding(), list.len()), ("quicklist", n));
    }
}
