//! The table: a directory, indexed by the hash's first bits, of 4 KiB segments of 64-byte buckets.
//!
//! A full segment splits in two, which is all the rehashing there is; the directory doubles when a segment needs more
//! bits than it has. Entries that no split would part lie in annexes (`segments.rs`), so that the table stays in proportion
//! to its keys whatever their hashes are. The bits behind a segment's prefix choose the bucket, so walking segments and
//! buckets in order is walking the hash space in order: a position there (SCAN's cursor, a cut's progress) means the same
//! after any split. Owns the entries, the counters per segment and the cut marks. Knows nothing of time, of databases or of what a cut
//! does with the entries. Safe code but for prefetching.

mod bucket;
#[allow(unsafe_code)]
mod prefetch;
mod segments;
mod walk;

use std::hash::{BuildHasher, DefaultHasher, Hasher};

use ahash::RandomState;

pub(crate) use bucket::{BUCKETS, Bucket, SLOTS};
use bucket::{home, overflow_probe, tag_of};

use crate::entry::Entry;
use crate::snapshot::CUTS;

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
    /// The first position that belongs to the segment, or to the one whose annex it is.
    prefix: u64,
    /// The number of the next annex, or `NO_ANNEX`.
    annex: u32,
    len: u16,
    /// 0 for annexes.
    depth: u8,
}

/// Both hashes of a key: one for nearly everything, and one that tells apart what has the former in common.
#[derive(Clone)]
pub(crate) struct Hashing {
    usual: RandomState,
    second: [u64; 2],
}

/// A table of entries by key.
pub(crate) struct Table {
    hashing: Hashing,
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
    /// Per segment: entries that have a deadline. Who looks for one of them reads all of it.
    volatile: Vec<u16>,
    /// Segments that are annexes.
    annexes: usize,
    len: usize,
    with_deadline: usize,
    /// Entries of which fields expire.
    with_times: usize,
}

impl Table {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Table {
            hashing,
            depth: 0,
            directory: Vec::new(),
            segments: Vec::new(),
            meta: Vec::new(),
            marks: Vec::new(),
            deadlines: Vec::new(),
            volatile: Vec::new(),
            annexes: 0,
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
        self.hashing.hash(key)
    }

    /// Bytes of the table itself, without the entries.
    pub(crate) fn mem_bytes(&self) -> usize {
        self.directory.capacity() * 4
            + self.segments.len() * size_of::<[Bucket; BUCKETS]>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.meta.capacity() * size_of::<Meta>()
            + self.marks.capacity() * size_of::<[Marks; CUTS]>()
            + self.deadlines.capacity() * 8
            + self.volatile.capacity() * 2
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
        self.find_in_annex(segment, key)
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
        self.find_in_annex(segment, key).map(|at| self.entry(at))
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

    /// A free slot for a key, or none: then the table must [grow](Table::grow) first.
    pub(crate) fn room(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let (segment, depth) = self.segment_of(hash)?;
        self.free_slot(segment, home(hash, depth)).or_else(|| self.room_in_annex(segment, depth, key))
    }

    fn free_slot(&self, segment: usize, home: usize) -> Option<Place> {
        let buckets = &self.segments[segment];
        overflow_probe(home).find_map(|probe| {
            let slot = buckets[probe].free_slot()?;
            Some(Place { segment: segment as u32, bucket: probe as u8, slot: slot as u8 })
        })
    }

    /// Segment number of `hash`, for callers that must look at it before [`Table::grow`].
    pub(crate) fn segment_number(&self, hash: u64) -> Option<usize> {
        self.segment_of(hash).map(|(segment, _)| segment)
    }

    /// Puts an entry into the slot that [`Table::room`] gave for its hash.
    pub(crate) fn put(&mut self, at: Place, hash: u64, entry: Entry) {
        let number = at.segment as usize;
        let hash = if self.annexes > 0 { self.hash_within(number, hash, entry.key()) } else { hash };
        let depth = u32::from(self.meta[number].depth);
        let buckets = &mut self.segments[number];
        for probe in overflow_probe(home(hash, depth)) {
            if probe == at.bucket as usize {
                break;
            }
            buckets[probe].set_overflowed();
        }
        self.with_times += usize::from(entry.has_times());
        if entry.deadline().is_some() {
            self.with_deadline += 1;
            self.volatile[number] += 1;
        }
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
        self.with_times -= usize::from(entry.has_times());
        if entry.deadline().is_some() {
            self.lost_deadline(number);
        }
        entry
    }

    /// An entry of the segment went that had a deadline, or its deadline did.
    fn lost_deadline(&mut self, segment: usize) {
        self.with_deadline -= 1;
        self.volatile[segment] -= 1;
        if self.volatile[segment] == 0 && self.with_times == 0 {
            self.deadlines[segment] = NEVER;
        }
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
            let segment = at.segment as usize;
            if let Some(deadline) = after {
                self.deadlines[segment] = self.deadlines[segment].min(deadline);
            }
            match (before, after) {
                (None, Some(_)) => {
                    self.with_deadline += 1;
                    self.volatile[segment] += 1;
                }
                (Some(_), None) => self.lost_deadline(segment),
                _ => {}
            }
        }
        if times_after {
            self.note_times(at);
        }
        result
    }
}

impl Hashing {
    pub(crate) fn new(keys: [u64; 4], second: [u64; 2]) -> Self {
        let [a, b, c, d] = keys;
        Hashing { usual: RandomState::with_seeds(a, b, c, d), second }
    }

    /// The keyed hash of a key.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut state = self.usual.build_hasher();
        state.write(key);
        state.finish()
    }

    /// SipHash, keyed by what stands before the key: slow, and nothing that the other hash may give away helps with it.
    #[cold]
    fn second_hash(&self, key: &[u8]) -> u64 {
        let mut state = DefaultHasher::new();
        self.second.iter().for_each(|word| state.write_u64(*word));
        state.write(key);
        state.finish()
    }
}

#[inline]
fn index(hash: u64, depth: u32) -> usize {
    // Two shifts, for a shift by 64 (depth 0) is not one.
    ((hash >> 1) >> (63 - depth)) as usize
}

#[cfg(test)]
pub(crate) mod tests;
