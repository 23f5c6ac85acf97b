//! Lists: a compact blob up to `list-max-listpack-size`, then many of them.

mod chunks;

use crate::compact::{Compact, Entries, RevEntries, entry_size};
use crate::elem::Elem;
use crate::limits::Limits;
use chunks::{Backward, Chunks, Forward};

#[derive(Clone)]
enum Form {
    Compact(Compact),
    Chunks(Box<Chunks>),
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
            Form::Chunks(c) => c.len(),
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
            Form::Chunks(_) => "quicklist",
        }
    }

    /// Memory held, estimated in O(1).
    pub fn mem_bytes(&self) -> usize {
        match &self.0 {
            Form::Compact(c) => c.mem_bytes(),
            Form::Chunks(c) => c.mem_bytes(),
        }
    }

    #[inline]
    pub(crate) fn inside(&self) -> *const u8 {
        match &self.0 {
            Form::Compact(c) => c.front_address(),
            Form::Chunks(c) => (&raw const **c).cast(),
        }
    }

    /// Of a long list; a short one's blob is what [`List::inside`] names.
    #[inline]
    pub(crate) fn ends(&self) -> Option<[*const u8; 2]> {
        match &self.0 {
            Form::Compact(_) => None,
            Form::Chunks(c) => Some(c.ends()),
        }
    }

    /// Whether a clone copies at most the blobs at the ends.
    pub fn is_tree(&self) -> bool {
        matches!(self.0, Form::Chunks(_))
    }

    fn make_room(&mut self, len: usize, limits: &Limits) {
        if let Form::Compact(c) = &self.0
            && !limits.list_fits(c.len() + 1, c.bytes() + entry_size(len))
        {
            let mut chunks = Box::<Chunks>::default();
            c.iter().for_each(|elem| chunks.push_back(elem));
            self.0 = Form::Chunks(chunks);
        }
    }

    /// Adds in front.
    pub fn push_front(&mut self, bytes: &[u8], limits: &Limits) {
        self.make_room(bytes.len(), limits);
        match &mut self.0 {
            Form::Compact(c) => c.insert(0, bytes),
            Form::Chunks(c) => c.push_front(bytes),
        }
    }

    /// Adds at the end.
    pub fn push_back(&mut self, bytes: &[u8], limits: &Limits) {
        self.make_room(bytes.len(), limits);
        match &mut self.0 {
            Form::Compact(c) => c.push_back(bytes),
            Form::Chunks(c) => c.push_back(bytes),
        }
    }

    /// Inserts before element `i` (at the end if there is none).
    pub fn insert(&mut self, i: usize, bytes: &[u8], limits: &Limits) {
        self.make_room(bytes.len(), limits);
        match &mut self.0 {
            Form::Compact(c) => c.insert(c.offset(i), bytes),
            Form::Chunks(c) => c.insert(i, bytes),
        }
    }

    /// Takes the first element.
    pub fn pop_front(&mut self) -> Option<Elem> {
        match &mut self.0 {
            Form::Compact(_) => self.remove(0),
            Form::Chunks(c) => c.pop_front(),
        }
    }

    /// Takes the last element.
    pub fn pop_back(&mut self) -> Option<Elem> {
        match &mut self.0 {
            Form::Compact(c) => {
                let last = c.len().checked_sub(1)?;
                self.remove(last)
            }
            Form::Chunks(c) => c.pop_back(),
        }
    }

    /// Takes element `i`.
    pub fn remove(&mut self, i: usize) -> Option<Elem> {
        match &mut self.0 {
            Form::Compact(c) => {
                let elem = Elem::new(c.get(i)?);
                c.remove(c.offset(i), 1);
                Some(elem)
            }
            Form::Chunks(c) => c.remove(i),
        }
    }

    /// Element `i`.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        match &self.0 {
            Form::Compact(c) => c.get(i),
            Form::Chunks(c) => c.get(i),
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
            Form::Chunks(c) => c.set(i, bytes),
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
            Form::Chunks(c) => c.keep_range(from, to),
        }
    }

    /// Iterates forward from element `i`.
    pub fn iter_from(&self, i: usize) -> ListIter<'_> {
        match &self.0 {
            Form::Compact(c) => ListIter::Compact(c.iter_from(c.offset(i))),
            Form::Chunks(c) => ListIter::Chunks(c.iter_from(i)),
        }
    }

    /// Iterates backward from element `i` (inclusive).
    pub fn rev_from(&self, i: usize) -> ListIter<'_> {
        match &self.0 {
            Form::Compact(c) => ListIter::Rev(c.rev_from(c.offset(i.saturating_add(1)))),
            Form::Chunks(c) => ListIter::RevChunks(c.rev_from(i)),
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
    /// Of a long list, forward.
    Chunks(Forward<'a>),
    /// Of a long list, backward.
    RevChunks(Backward<'a>),
}

impl<'a> Iterator for ListIter<'a> {
    type Item = &'a [u8];
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            ListIter::Compact(it) => it.next(),
            ListIter::Rev(it) => it.next(),
            ListIter::Chunks(it) => it.next(),
            ListIter::RevChunks(it) => it.next(),
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
            if let Form::Chunks(chunks) = &list.0 {
                chunks.check();
            }
            prop_assert!(list.iter().eq(twin.iter().map(|b| &b[..])));
            prop_assert!(list.rev_from(usize::MAX).eq(twin.iter().rev().map(|b| &b[..])));
            for i in (0..twin.len()).step_by(twin.len() / 7 + 1) {
                prop_assert_eq!(list.get(i), Some(&twin[i][..]));
                prop_assert!(list.rev_from(i).eq(twin[..=i].iter().rev().map(|b| &b[..])));
                prop_assert!(list.iter_from(i).eq(twin[i..].iter().map(|b| &b[..])));
            }
        }
        Ok(())
    }

    /// Of every size that matters to blobs: many in one, few in one, too long for one.
    fn element() -> impl Strategy<Value = Vec<u8>> {
        let of = |sizes| prop::collection::vec(any::<u8>(), sizes);
        prop_oneof![12 => of(0..40), 4 => of(200..1500), 1 => of(4080..4100), 1 => of(4100..9000)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn is_a_deque(ops in prop::collection::vec((0..12_u8, any::<usize>(), element()), 1..400),
                      list_size in prop_oneof![Just(-2_i64), Just(3), Just(64)]) {
            run(ops, Limits { list_size, ..Limits::default() })?;
        }
    }

    #[test]
    fn turns_into_chunks_behind_8_kib() {
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
