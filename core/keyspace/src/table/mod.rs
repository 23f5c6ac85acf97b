//! The table: a directory, indexed by the hash's first bits, of 4 KiB segments of 64-byte buckets.
//!
//! A full segment splits in two, which is all the rehashing there is; the directory doubles when a segment needs more
//! bits than it has. The bits behind a segment's prefix choose the bucket, so walking segments and buckets in order is
//! walking the hash space in order: a position there (SCAN's cursor, a cut's progress) means the same after any split.
//! Owns the entries, the counters per segment and the cut marks. Knows nothing of time, of databases or of what a cut
//! does with the entries. Safe code but for prefetching.

mod bucket;
#[allow(unsafe_code)]
mod prefetch;
mod walk;

use ahash::RandomState;

pub(crate) use bucket::{BUCKETS, Bucket, SLOTS};
use bucket::{home, overflow_probe, tag_of};

use crate::entry::Entry;
use crate::snapshot::CUTS;

/// Segments stop splitting here: 64-bit hashes of a keyed hasher never get that far.
const MAX_DEPTH: u32 = 40;
/// Two halves with no more entries than this between them are merged; a segment has room for 448.
const MERGE_MAX: usize = 64;
const NEVER: u64 = u64::MAX;

/// Whether two keys are the same. They are short: a call of memcmp costs more, and its wide loads reach into the next
/// cache line, which nobody asked for ahead.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    const WORD: usize = 8;
    if a.len() != b.len() || a.len() > LONG {
        return a == b;
    }
    let ((words_a, rest_a), (words_b, rest_b)) = (a.as_chunks::<WORD>(), b.as_chunks::<WORD>());
    match (a.last_chunk::<WORD>(), b.last_chunk::<WORD>()) {
        // The last word overlaps the one before, instead of a rest byte by byte.
        (Some(last_a), Some(last_b)) => last_a == last_b && words_a.iter().zip(words_b).all(|(a, b)| a == b),
        _ => rest_a.iter().zip(rest_b).all(|(a, b)| a == b),
    }
}

/// Longer keys are compared by memcmp.
const LONG: usize = 64;

/// Where an entry is. Good until the next insert or removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) bucket: u8,
    pub(crate) slot: u8,
}

type Segment = Box<[Bucket; BUCKETS]>;

/// Which buckets of a segment one cut has already taken. Marks of an older cut count as none.
#[derive(Clone, Copy, Default)]
struct Marks {
    epoch: u32,
    taken: u64,
}

/// What is kept beside a segment.
#[derive(Clone, Copy)]
struct Meta {
    /// The first position that belongs to the segment.
    prefix: u64,
    depth: u32,
    len: u16,
}

/// A table of entries by key.
pub(crate) struct Table {
    hasher: RandomState,
    /// Bits the directory is indexed by.
    depth: u32,
    /// `segment << 6 | the segment's depth`, 2^depth of them.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    meta: Vec<Meta>,
    /// Per segment, a mark for each cut. Apart from `meta`, for only cuts look at it.
    marks: Vec<[Marks; CUTS]>,
    /// Per segment: no entry in it has an earlier deadline. Apart from `meta`, for the expiry cycle reads all of it.
    deadlines: Vec<u64>,
    len: usize,
    with_deadline: usize,
    /// Entries of which fields expire.
    with_times: usize,
}

impl Table {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Table {
            hasher,
            depth: 0,
            directory: Vec::new(),
            segments: Vec::new(),
            meta: Vec::new(),
            marks: Vec::new(),
            deadlines: Vec::new(),
            len: 0,
            with_deadline: 0,
            with_times: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Entries that have a deadline.
    pub(crate) fn with_deadline(&self) -> usize {
        self.with_deadline
    }

    /// Entries of which fields expire.
    pub(crate) fn with_times(&self) -> usize {
        self.with_times
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        hash_key(&self.hasher, key)
    }

    /// Bytes of the table itself, without the entries.
    pub(crate) fn mem_bytes(&self) -> usize {
        self.directory.capacity() * 4
            + self.segments.len() * size_of::<[Bucket; BUCKETS]>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.meta.capacity() * size_of::<Meta>()
            + self.marks.capacity() * size_of::<[Marks; CUTS]>()
            + self.deadlines.capacity() * 8
    }

    /// The segment that `hash` belongs to and its depth; none in a table that never had an entry.
    #[inline]
    fn segment_of(&self, hash: u64) -> Option<(usize, u32)> {
        let word = *self.directory.get(index(hash, self.depth))?;
        Some(((word >> 6) as usize, word & 63))
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let (segment, depth) = self.segment_of(hash)?;
        let buckets = &self.segments[segment];
        let tag = tag_of(hash);
        let first = home(hash, depth);
        for probe in overflow_probe(first) {
            let bucket = &buckets[probe];
            for slot in bucket.matches(tag) {
                if bucket.entry(slot).is_some_and(|entry| same(entry.key(), key)) {
                    return Some(Place { segment: segment as u32, bucket: probe as u8, slot: slot as u8 });
                }
            }
            if !bucket.overflowed() {
                return None;
            }
        }
        None
    }

    /// The entry of a key.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        let (segment, depth) = self.segment_of(hash)?;
        let buckets = &self.segments[segment];
        let tag = tag_of(hash);
        for probe in overflow_probe(home(hash, depth)) {
            let bucket = &buckets[probe];
            let mut found = bucket.matches(tag).filter_map(|slot| bucket.entry(slot));
            if let Some(entry) = found.find(|entry| same(entry.key(), key)) {
                return Some(entry);
            }
            if !bucket.overflowed() {
                return None;
            }
        }
        None
    }

    #[inline]
    pub(crate) fn entry(&self, at: Place) -> &Entry {
        self.segments[at.segment as usize][at.bucket as usize].entry(at.slot as usize).expect("a place holds an entry")
    }

    /// The entry, to change its value. Its deadline is changed by [`Table::set_deadline`] and [`Table::replace`] only.
    #[inline]
    pub(crate) fn entry_mut(&mut self, at: Place) -> &mut Entry {
        self.segments[at.segment as usize][at.bucket as usize]
            .entry_mut(at.slot as usize)
            .expect("a place holds an entry")
    }

    /// A free slot for `hash`, or none: then its segment must be split first.
    pub(crate) fn room(&self, hash: u64) -> Option<Place> {
        let (segment, depth) = self.segment_of(hash)?;
        let buckets = &self.segments[segment];
        overflow_probe(home(hash, depth)).find_map(|probe| {
            let slot = buckets[probe].free_slot()?;
            Some(Place { segment: segment as u32, bucket: probe as u8, slot: slot as u8 })
        })
    }

    /// Makes room for `hash`: creates the first segment or splits the one `hash` belongs to. With a cut
    /// open, that segment must have been handed to it.
    pub(crate) fn grow(&mut self, hash: u64) {
        match self.segment_of(hash) {
            None => {
                self.directory.push(0);
                self.push_segment(0, 0);
            }
            Some((segment, depth)) => self.split(segment, depth),
        }
    }

    /// Segment number of `hash`, for callers that must look at it before [`Table::grow`].
    pub(crate) fn segment_number(&self, hash: u64) -> Option<usize> {
        self.segment_of(hash).map(|(segment, _)| segment)
    }

    /// Puts an entry into the slot that [`Table::room`] gave for its hash.
    pub(crate) fn put(&mut self, at: Place, hash: u64, entry: Entry) {
        let number = at.segment as usize;
        let depth = self.meta[number].depth;
        let buckets = &mut self.segments[number];
        for probe in overflow_probe(home(hash, depth)) {
            if probe == at.bucket as usize {
                break;
            }
            buckets[probe].set_overflowed();
        }
        self.with_deadline += usize::from(entry.deadline().is_some());
        self.with_times += usize::from(entry.has_times());
        if let Some(first) = entry.first_deadline() {
            self.deadlines[number] = self.deadlines[number].min(first);
        }
        buckets[at.bucket as usize].put(at.slot as usize, tag_of(hash), entry);
        self.meta[number].len += 1;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, at: Place) -> Entry {
        let number = at.segment as usize;
        let entry = self.segments[number][at.bucket as usize].take(at.slot as usize).expect("a place holds an entry");
        self.meta[number].len -= 1;
        self.len -= 1;
        self.with_deadline -= usize::from(entry.deadline().is_some());
        self.with_times -= usize::from(entry.has_times());
        entry
    }

    /// Fields of an entry's hash got or lost deadlines.
    #[inline]
    pub(crate) fn note_times(&mut self, at: Place) {
        let entry = self.entry_mut(at);
        let before = entry.has_times();
        let first = entry.note_times();
        self.with_times = self.with_times + usize::from(first.is_some()) - usize::from(before);
        if let Some(first) = first {
            let lowest = &mut self.deadlines[at.segment as usize];
            *lowest = (*lowest).min(first);
        }
    }

    /// Runs `change` on an entry and keeps the books about deadlines.
    pub(crate) fn change<R>(&mut self, at: Place, change: impl FnOnce(&mut Entry) -> R) -> R {
        let entry = self.entry_mut(at);
        let (before, times) = (entry.deadline(), entry.has_times());
        let result = change(entry);
        let (after, times_after) = (entry.deadline(), entry.has_times());
        // A value that is replaced takes its fields' deadlines with it.
        self.with_times = self.with_times + usize::from(times_after) - usize::from(times);
        if before != after {
            self.with_deadline = self.with_deadline + usize::from(after.is_some()) - usize::from(before.is_some());
            if let Some(deadline) = after {
                let lowest = &mut self.deadlines[at.segment as usize];
                *lowest = (*lowest).min(deadline);
            }
        }
        if times_after {
            self.note_times(at);
        }
        result
    }

    fn push_segment(&mut self, prefix: u64, depth: u32) {
        self.segments.push(Bucket::segment());
        self.meta.push(Meta { prefix, depth, len: 0 });
        self.marks.push([Marks::default(); CUTS]);
        self.deadlines.push(NEVER);
    }

    fn split(&mut self, old: usize, depth: u32) {
        assert!(depth < MAX_DEPTH, "more equal hash prefixes than a keyed hash can give");
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&word| [word, word]).collect();
            self.depth += 1;
        }
        let new = self.segments.len();
        let prefix = self.meta[old].prefix;
        self.push_segment(prefix | 1 << (63 - depth), depth + 1);
        let marks = self.marks[old].map(Marks::all);
        (self.marks[new], self.marks[old]) = (marks, marks);
        self.meta[old] = Meta { prefix, depth: depth + 1, len: 0 };
        self.point_directory(old);
        self.point_directory(new);
        self.deadlines[old] = NEVER;
        let entries = std::mem::replace(&mut self.segments[old], Bucket::segment());
        self.refill(entries);
    }

    /// The segment that this one, nearly empty, could be merged with. Both must be handed to open cuts before.
    #[inline]
    pub(crate) fn partner(&self, segment: usize) -> Option<usize> {
        let meta = &self.meta[segment];
        if meta.len as usize > MERGE_MAX / 2 || meta.depth == 0 {
            return None;
        }
        let (other, depth) = self.segment_of(meta.prefix ^ (1 << (64 - meta.depth)))?;
        let both = meta.len as usize + self.meta[other].len as usize;
        (depth == meta.depth && both <= MERGE_MAX).then_some(other)
    }

    /// Merges two halves of what was one segment, so that a table that lost its keys loses its segments too.
    pub(crate) fn merge(&mut self, a: usize, b: usize) {
        let (keep, gone) = (a.min(b), a.max(b));
        let depth = self.meta[keep].depth - 1;
        let prefix = self.meta[a].prefix.min(self.meta[b].prefix);
        self.meta[keep] = Meta { prefix, depth, len: 0 };
        self.marks[keep] = self.marks[keep].map(Marks::all);
        self.point_directory(keep);
        self.deadlines[keep] = NEVER;
        let kept = std::mem::replace(&mut self.segments[keep], Bucket::segment());
        let freed = self.segments.swap_remove(gone);
        self.meta.swap_remove(gone);
        self.marks.swap_remove(gone);
        self.deadlines.swap_remove(gone);
        if gone < self.segments.len() {
            self.point_directory(gone);
        }
        self.refill(kept);
        self.refill(freed);
    }

    /// Points a segment's range of the directory at it.
    fn point_directory(&mut self, segment: usize) {
        let Meta { prefix, depth, .. } = self.meta[segment];
        let start = index(prefix, self.depth);
        let span = 1_usize << (self.depth - depth);
        self.directory[start..start + span].fill((segment as u32) << 6 | depth);
    }

    /// Puts the entries of a segment that was split or merged to where they belong now.
    fn refill(&mut self, mut entries: Segment) {
        for bucket in 0..BUCKETS {
            prefetch::ahead_of(&entries, bucket);
            for entry in entries[bucket].drain() {
                let hash = self.hash(entry.key());
                // `put` counts it as new.
                self.len -= 1;
                self.with_deadline -= usize::from(entry.deadline().is_some());
                self.with_times -= usize::from(entry.has_times());
                // All of them may belong to one half, and probe otherwise than before: then that half splits as well.
                let at = loop {
                    match self.room(hash) {
                        Some(at) => break at,
                        None => self.grow(hash),
                    }
                };
                self.put(at, hash, entry);
            }
        }
    }
}

impl Marks {
    /// After a split or merge every bucket counts as taken: callers hand segments to the cuts before.
    fn all(self) -> Marks {
        Marks { taken: u64::MAX, ..self }
    }
}

/// The keyed hash of a key.
#[inline]
pub(crate) fn hash_key(hasher: &RandomState, key: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut state = hasher.build_hasher();
    state.write(key);
    state.finish()
}

#[inline]
fn index(hash: u64, depth: u32) -> usize {
    // Two shifts, for a shift by 64 (depth 0) is not one.
    ((hash >> 1) >> (63 - depth)) as usize
}

#[cfg(test)]
mod tests;
