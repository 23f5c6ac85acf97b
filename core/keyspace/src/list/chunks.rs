//! A long list: blobs of at most 4 KiB each, in a tree by position, and the two at the ends apart from it.
//!
//! What queues do, pushing and taking at the ends, touches one blob and nothing else; a blob that is full goes into the
//! tree whole, one that is needed comes out of it. The tree's blobs are shared with cuts and copied when they change; a
//! clone copies the two at the ends. An element too long for a blob lies alone in the tree, and is never copied.

use crate::compact::{Compact, Entries, RevEntries, entry_size};
use crate::elem::Elem;
use crate::tree::{Item, Iter, NODE_BYTES, Tree};
use std::sync::Arc;

/// From here on a blob that isn't full yet is a small part of the list.
const LARGE: usize = 16 * NODE_BYTES;

/// Elements of the tree: one blob, never empty.
#[derive(Clone)]
pub(super) struct Chunk(Arc<Compact>);

impl Item for Chunk {
    type Key = ();
    const WEIGHED: bool = true;
    fn key(&self) -> &() {
        &()
    }
    fn heap_bytes(&self) -> usize {
        /// The counted blob and the place of its pointer.
        const OWN: usize = size_of::<Compact>() + 4 * size_of::<usize>();
        OWN + self.0.mem_bytes()
    }
    fn weight(&self) -> usize {
        self.0.len()
    }
}

impl Chunk {
    fn new(mut blob: Compact) -> Self {
        blob.trim();
        Self(Arc::new(blob))
    }

    fn of_one(bytes: &[u8]) -> Self {
        let mut blob = Compact::new();
        blob.push_back(bytes);
        Self::new(blob)
    }

    fn into_blob(self) -> Compact {
        Arc::unwrap_or_clone(self.0)
    }
}

/// Whether `bytes` are too many for any blob but their own.
fn is_long(bytes: &[u8]) -> bool {
    entry_size(bytes.len()) > NODE_BYTES
}

/// Whether a blob has room for one more element.
fn fits(blob: &Compact, bytes: &[u8]) -> bool {
    blob.bytes() + entry_size(bytes.len()) <= NODE_BYTES
}

fn take(blob: &mut Compact, i: usize) -> Option<Elem> {
    let off = blob.offset(i);
    let elem = (i < blob.len()).then(|| Elem::new(blob.entry(off).0))?;
    blob.remove(off, 1);
    Some(elem)
}

fn keep(blob: &mut Compact, from: usize, to: usize) {
    blob.remove(blob.offset(to), blob.len());
    blob.remove(0, from);
}

/// Inserts before element `i` of a blob, which has one; gives the blobs that must follow it now.
fn insert(blob: &mut Compact, i: usize, bytes: &[u8]) -> Vec<Compact> {
    if fits(blob, bytes) {
        blob.insert(blob.offset(i), bytes);
        return Vec::new();
    }
    let mut behind = vec![blob.split_off(blob.offset(i))];
    if blob.is_empty() || fits(blob, bytes) {
        blob.push_back(bytes);
    } else if fits(&behind[0], bytes) {
        behind[0].insert(0, bytes);
    } else {
        let mut own = Compact::new();
        own.push_back(bytes);
        behind.insert(0, own);
    }
    behind
}

/// Where an element lies.
enum Place {
    /// In the front blob.
    Front(usize),
    /// At a position of the tree.
    Middle(usize),
    /// In the back blob, or behind it.
    Back(usize),
}

/// A list in blobs.
#[derive(Clone, Default)]
pub(super) struct Chunks {
    front: Compact,
    middle: Tree<Chunk>,
    back: Compact,
}

impl Chunks {
    pub(super) fn len(&self) -> usize {
        self.front.len() + self.middle.len() + self.back.len()
    }

    pub(super) fn mem_bytes(&self) -> usize {
        size_of::<Self>() + self.front.mem_bytes() + self.middle.mem_bytes() + self.back.mem_bytes()
    }

    #[inline]
    pub(super) fn ends(&self) -> [*const u8; 2] {
        [self.front.front_address().wrapping_sub(1), self.back.back_address()]
    }

    fn place(&self, i: usize) -> Place {
        let behind_front = i.checked_sub(self.front.len());
        match behind_front.map(|i| (i, i.checked_sub(self.middle.len()))) {
            None => Place::Front(i),
            Some((i, None)) => Place::Middle(i),
            Some((_, Some(i))) => Place::Back(i),
        }
    }

    pub(super) fn push_front(&mut self, bytes: &[u8]) {
        if !fits(&self.front, bytes) && !self.front.is_empty() {
            let next = if self.is_large() { Compact::with_front(NODE_BYTES) } else { Compact::new() };
            self.middle.push_front(Chunk::new(std::mem::replace(&mut self.front, next)));
        }
        match is_long(bytes) {
            true => self.middle.push_front(Chunk::of_one(bytes)),
            false => self.front.insert(0, bytes),
        }
    }

    pub(super) fn push_back(&mut self, bytes: &[u8]) {
        if !fits(&self.back, bytes) {
            self.store_back();
        }
        match is_long(bytes) {
            true => self.middle.push_back(Chunk::of_one(bytes)),
            false => self.back.push_back(bytes),
        }
    }

    fn store_back(&mut self) {
        if !self.back.is_empty() {
            let next = if self.is_large() { Compact::with_back(NODE_BYTES) } else { Compact::new() };
            self.middle.push_back(Chunk::new(std::mem::replace(&mut self.back, next)));
        }
    }

    /// So large that the next blob is got whole: growing it took thirty copies.
    fn is_large(&self) -> bool {
        self.middle.mem_bytes() > LARGE
    }

    /// Inserts before element `i`, or at the end.
    pub(super) fn insert(&mut self, i: usize, bytes: &[u8]) {
        match self.place(i) {
            Place::Front(0) => self.push_front(bytes),
            Place::Middle(0) if self.front.is_empty() => self.push_front(bytes),
            Place::Back(i) if i >= self.back.len() => self.push_back(bytes),
            Place::Front(i) => {
                let behind = insert(&mut self.front, i, bytes);
                behind.into_iter().rev().for_each(|blob| self.middle.push_front(Chunk::new(blob)));
            }
            Place::Middle(at) => self.insert_middle(at, bytes),
            Place::Back(i) => {
                for blob in insert(&mut self.back, i, bytes) {
                    self.store_back();
                    self.back = blob;
                }
            }
        }
    }

    fn insert_middle(&mut self, at: usize, bytes: &[u8]) {
        let Some((chunk, inside)) = self.middle.find_at(at) else { return };
        if inside == 0 && !fits(&chunk.0, bytes) {
            return self.middle.insert_at(at, Chunk::of_one(bytes));
        }
        let (mut behind, mut next) = (Vec::new(), at);
        self.middle.update_at(at, |chunk| {
            let blob = Arc::make_mut(&mut chunk.0);
            behind = insert(blob, inside, bytes);
            next = at - inside + blob.len();
        });
        for blob in behind {
            let len = blob.len();
            self.middle.insert_at(next, Chunk::new(blob));
            next += len;
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<Elem> {
        self.remove(0)
    }

    pub(super) fn pop_back(&mut self) -> Option<Elem> {
        self.remove(self.len().checked_sub(1)?)
    }

    /// Takes element `i`. A blob of the tree from whose end it is taken becomes the list's own end.
    pub(super) fn remove(&mut self, i: usize) -> Option<Elem> {
        match self.place(i) {
            Place::Front(i) => take(&mut self.front, i),
            Place::Back(i) => take(&mut self.back, i),
            Place::Middle(at) => {
                let (chunk, inside) = self.middle.find_at(at)?;
                let (first, last) = (at == 0, at + 1 == self.middle.len());
                if chunk.weight() == 1 {
                    return self.middle.remove_at(at)?.0.get(0).map(Elem::new);
                }
                if first && self.front.is_empty() {
                    self.front = self.middle.remove_at(at)?.into_blob();
                    return take(&mut self.front, 0);
                }
                if last && self.back.is_empty() {
                    self.back = self.middle.remove_at(at)?.into_blob();
                    return take(&mut self.back, inside);
                }
                let mut taken = None;
                self.middle.update_at(at, |chunk| taken = take(Arc::make_mut(&mut chunk.0), inside));
                taken
            }
        }
    }

    pub(super) fn get(&self, i: usize) -> Option<&[u8]> {
        match self.place(i) {
            Place::Front(i) => self.front.get(i),
            Place::Back(i) => self.back.get(i),
            Place::Middle(at) => self.middle.find_at(at).and_then(|(chunk, inside)| chunk.0.get(inside)),
        }
    }

    /// Replaces element `i`, which exists.
    pub(super) fn set(&mut self, i: usize, bytes: &[u8]) {
        let old = self.get(i).map_or(0, |old| entry_size(old.len()));
        let grown = entry_size(bytes.len()).saturating_sub(old);
        let stays = |blob: &Compact| blob.bytes() + grown <= NODE_BYTES;
        match self.place(i) {
            Place::Front(i) if stays(&self.front) => self.front.replace(self.front.offset(i), bytes),
            Place::Back(i) if stays(&self.back) => self.back.replace(self.back.offset(i), bytes),
            Place::Middle(at) => match self.middle.find_at(at) {
                Some((chunk, _)) if chunk.weight() == 1 => {
                    self.middle.update_at(at, |chunk| *chunk = Chunk::of_one(bytes));
                }
                Some((chunk, inside)) if stays(&chunk.0) => {
                    self.middle.update_at(at, |chunk| {
                        let blob = Arc::make_mut(&mut chunk.0);
                        blob.replace(blob.offset(inside), bytes);
                    });
                }
                _ => self.move_to(i, bytes),
            },
            _ => self.move_to(i, bytes),
        }
    }

    /// Replaces an element whose blob has no room for the new one.
    fn move_to(&mut self, i: usize, bytes: &[u8]) {
        self.remove(i);
        self.insert(i, bytes);
    }

    /// Keeps the elements `from..to`, a range inside the list.
    pub(super) fn keep_range(&mut self, from: usize, to: usize) {
        self.truncate(to);
        self.skip(from);
    }

    fn truncate(&mut self, to: usize) {
        match self.place(to) {
            Place::Front(to) => {
                keep(&mut self.front, 0, to);
                (self.middle, self.back) = (Tree::new(), Compact::new());
            }
            Place::Middle(at) => {
                // The blob that is cut becomes the end.
                self.back = self.part_of(at, |inside, _| (0, inside));
                self.middle.keep_range(0, at - self.back.len());
            }
            Place::Back(to) => keep(&mut self.back, 0, to),
        }
    }

    fn skip(&mut self, from: usize) {
        match self.place(from) {
            Place::Front(from) => self.front.remove(0, from),
            Place::Middle(at) => {
                self.front = self.part_of(at, |inside, len| (if inside > 0 { inside } else { len }, len));
                self.middle.keep_range(at + self.front.len(), self.middle.len());
            }
            Place::Back(from) => {
                (self.front, self.middle) = (Compact::new(), Tree::new());
                self.back.remove(0, from);
            }
        }
    }

    /// A copy of some elements of the blob at a position of the tree.
    fn part_of(&self, at: usize, range: impl FnOnce(usize, usize) -> (usize, usize)) -> Compact {
        let Some((chunk, inside)) = self.middle.find_at(at) else { return Compact::new() };
        match range(inside, chunk.weight()) {
            (from, to) if from < to => {
                let mut part = (*chunk.0).clone();
                keep(&mut part, from, to);
                part
            }
            _ => Compact::new(),
        }
    }

    pub(super) fn iter_from(&self, i: usize) -> Forward<'_> {
        let (end, none) = (Some(&self.back), self.middle.iter_from(usize::MAX));
        match self.place(i) {
            Place::Front(i) => {
                Forward { blob: self.front.iter_from(self.front.offset(i)), middle: self.middle.iter(), end }
            }
            Place::Middle(at) => {
                let mut middle = self.middle.iter_from(at);
                let inside = middle.inside();
                let blob = middle.next().map_or(self.back.iter(), |c| c.0.iter_from(c.0.offset(inside)));
                Forward { blob, middle, end }
            }
            Place::Back(i) => Forward { blob: self.back.iter_from(self.back.offset(i)), middle: none, end: None },
        }
    }

    pub(super) fn rev_from(&self, i: usize) -> Backward<'_> {
        let (end, none) = (Some(&self.front), self.middle.iter_from(usize::MAX));
        let from = |blob: &Compact, i: usize| blob.offset(i.saturating_add(1));
        match self.place(i.min(self.len().saturating_sub(1))) {
            Place::Front(i) => Backward { blob: self.front.rev_from(from(&self.front, i)), middle: none, end: None },
            Place::Middle(at) => {
                let mut middle = self.middle.rev_from(at);
                let inside = middle.inside();
                let blob = middle.next().map_or(self.front.rev_from(0), |c| c.0.rev_from(from(&c.0, inside)));
                Backward { blob, middle, end }
            }
            Place::Back(i) => {
                let middle = self.middle.rev_from(usize::MAX);
                Backward { blob: self.back.rev_from(from(&self.back, i)), middle, end }
            }
        }
    }
}

/// Iterator towards the end.
pub struct Forward<'a> {
    blob: Entries<'a>,
    middle: Iter<'a, Chunk>,
    end: Option<&'a Compact>,
}

impl<'a> Iterator for Forward<'a> {
    type Item = &'a [u8];
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(bytes) = self.blob.next() {
                return Some(bytes);
            }
            self.blob = match self.middle.next() {
                Some(chunk) => chunk.0.iter(),
                None => self.end.take()?.iter(),
            };
        }
    }
}

/// Iterator towards the front.
pub struct Backward<'a> {
    blob: RevEntries<'a>,
    middle: Iter<'a, Chunk>,
    end: Option<&'a Compact>,
}

impl<'a> Iterator for Backward<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(bytes) = self.blob.next() {
                return Some(bytes);
            }
            self.blob = match self.middle.next() {
                Some(chunk) => chunk.0.rev_from(chunk.0.end()),
                None => self.end.take().map(|blob| blob.rev_from(blob.end()))?,
            };
        }
    }
}

#[cfg(test)]
impl Chunks {
    /// What every change must leave true.
    pub(super) fn check(&self) {
        let short = |blob: &Compact| assert!(blob.bytes() <= NODE_BYTES);
        short(&self.front);
        short(&self.back);
        let mut len = 0;
        for Chunk(blob) in self.middle.iter() {
            assert!(!blob.is_empty());
            if blob.len() > 1 {
                short(blob);
            }
            len += blob.len();
        }
        assert_eq!(len, self.middle.len());
        assert_eq!(self.middle.mem_bytes(), self.middle.iter().map(Item::heap_bytes).sum::<usize>());
    }
}
