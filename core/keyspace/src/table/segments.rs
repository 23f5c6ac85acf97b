//! How segments come and go: they split, merge, and get annexes.
//!
//! A split parts entries by the next bit of their hashes. Where it wouldn't (whoever learnt the hash's keys can make as many
//! keys of one hash as he likes), or where the directory would become too large for what it points at, an entry without
//! room at home goes to an annex of its segment: a segment that no word of the directory points at, with places by the
//! second hash. Lookups come there only behind four home buckets that have all overflowed. Owns the rule when to split;
//! with it, memory and directory are a small multiple of what the number of keys justifies.

use super::bucket::{BUCKETS, Bucket, home, overflow_probe, tag_of};
use super::prefetch::ahead_of;
use super::{CUTS, Marks, Meta, NEVER, Place, Segment, Table, index, same};

/// A segment that has fewer entries, with its annexes, is never split: by chance, four buckets of 64 are full only when it
/// has some 250. Annexes count, for keys may arrive in the order of this table's own hashes, as from a file it wrote.
const SPLIT_MIN: usize = 112;
/// What lies in further annexes isn't counted: each split moves all of them. Keys that arrive in order need some 60 at most
/// (the root of their number through 29,000, by `WORDS`: 60 for a hundred million), keys of one hash have no use for any split.
const SPLIT_MAX_ANNEXES: usize = 64;
/// Words of the directory per segment, at most; chance needs about four. 256 bytes beside the segment's 4 KiB.
const WORDS: usize = 64;
/// Segments stop splitting here, for their buckets must have different cursors of SCAN, which have 48 bits.
const MAX_DEPTH: u32 = 40;
/// Two halves with no more entries than this between them are merged; a segment has room for 448.
const MERGE_MAX: usize = 64;
const NO_ANNEX: u32 = u32::MAX;

impl Table {
    /// Makes room for `hash`: creates the first segment, or splits the one `hash` belongs to, or gives it an annex. With a
    /// cut open, that segment and its annexes must have been handed to it.
    pub(crate) fn grow(&mut self, hash: u64) {
        match self.segment_of(hash) {
            None => {
                self.directory.push(0);
                self.push_segment(0, 0, [Marks::default(); CUTS]);
            }
            Some((segment, depth)) if self.may_split(segment, depth) => self.split(segment, depth),
            Some((segment, _)) => self.add_annex(segment),
        }
    }

    fn may_split(&self, segment: usize, depth: u32) -> bool {
        let room = depth < self.depth || self.directory.len() * 2 <= self.segments.len() * WORDS;
        room && depth < MAX_DEPTH && self.entries_of(segment) >= SPLIT_MIN
    }

    /// Entries of a segment and its annexes; of more than are worth a split, as if it had none.
    fn entries_of(&self, segment: usize) -> usize {
        let main = self.meta[segment].len as usize;
        let (mut all, mut annexes) = (main, 0);
        for annex in self.with_annexes(segment).skip(1) {
            all += self.meta[annex].len as usize;
            annexes += 1;
        }
        if annexes > SPLIT_MAX_ANNEXES { main } else { all }
    }

    fn push_segment(&mut self, prefix: u64, depth: u32, marks: [Marks; CUTS]) {
        self.segments.push(Bucket::segment());
        self.meta.push(Meta { prefix, annex: NO_ANNEX, len: 0, depth: depth as u8 });
        self.marks.push(marks);
        self.deadlines.push(NEVER);
        self.volatile.push(0);
    }

    /// Makes a segment an empty one.
    fn clear_segment(&mut self, segment: usize, prefix: u64, depth: u32) -> Segment {
        self.meta[segment] = Meta { prefix, annex: NO_ANNEX, len: 0, depth: depth as u8 };
        self.deadlines[segment] = NEVER;
        self.volatile[segment] = 0;
        std::mem::replace(&mut self.segments[segment], Bucket::segment())
    }

    fn split(&mut self, old: usize, depth: u32) {
        let prefix = self.meta[old].prefix;
        let annexes = self.dissolve(prefix);
        let Some((old, _)) = self.segment_of(prefix) else { return };
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&word| [word, word]).collect();
            self.depth += 1;
        }
        let new = self.segments.len();
        let marks = self.marks[old].map(Marks::all);
        self.marks[old] = marks;
        self.push_segment(prefix | 1 << (63 - depth), depth + 1, marks);
        let entries = self.clear_segment(old, prefix, depth + 1);
        self.point_directory(old);
        self.point_directory(new);
        self.refill(entries);
        annexes.into_iter().for_each(|annex| self.refill(annex));
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
        let alone = meta.annex == NO_ANNEX && self.meta[other].annex == NO_ANNEX;
        (alone && depth == u32::from(meta.depth) && both <= MERGE_MAX).then_some(other)
    }

    /// Merges two halves of what was one segment, so that a table that lost its keys loses its segments too.
    pub(crate) fn merge(&mut self, a: usize, b: usize) {
        let (keep, gone) = (a.min(b), a.max(b));
        let depth = u32::from(self.meta[keep].depth) - 1;
        let prefix = self.meta[a].prefix.min(self.meta[b].prefix);
        self.marks[keep] = self.marks[keep].map(Marks::all);
        let kept = self.clear_segment(keep, prefix, depth);
        self.point_directory(keep);
        let freed = self.take_segment(gone);
        self.refill(kept);
        self.refill(freed);
    }

    /// Takes a segment out that nothing points at any more; the last one gets its number.
    fn take_segment(&mut self, gone: usize) -> Segment {
        let last = self.segments.len() - 1;
        let main = self.main_of(last);
        if last != gone && main != last {
            let before = self.before(main, last);
            self.meta[before].annex = gone as u32;
        }
        let segment = self.segments.swap_remove(gone);
        self.meta.swap_remove(gone);
        self.marks.swap_remove(gone);
        self.deadlines.swap_remove(gone);
        self.volatile.swap_remove(gone);
        if last != gone && main == last {
            self.point_directory(gone);
        }
        segment
    }

    /// Points a segment's range of the directory at it.
    fn point_directory(&mut self, segment: usize) {
        let Meta { prefix, depth, .. } = self.meta[segment];
        let depth = u32::from(depth);
        let start = index(prefix, self.depth);
        let span = 1_usize << (self.depth - depth);
        self.directory[start..start + span].fill((segment as u32) << 6 | depth);
    }

    /// Puts the entries of a segment that was split or merged to where they belong now.
    fn refill(&mut self, mut entries: Segment) {
        for bucket in 0..BUCKETS {
            ahead_of(&entries, bucket);
            for entry in entries[bucket].drain() {
                let hash = self.hash(entry.key());
                // `put` counts it as new.
                self.len -= 1;
                self.with_deadline -= usize::from(entry.deadline().is_some());
                self.with_times -= usize::from(entry.has_times());
                // All of them may belong to one half, and probe otherwise than before: then that half grows as well.
                let at = loop {
                    match self.room(hash, entry.key()) {
                        Some(at) => break at,
                        None => self.grow(hash),
                    }
                };
                self.put(at, hash, entry);
            }
        }
    }

    // ---- annexes ------------------------------------------------------------------------------------------------

    /// A segment's next annex, or an annex' next one.
    pub(crate) fn annex_of(&self, segment: usize) -> Option<usize> {
        let annex = self.meta[segment].annex;
        (annex != NO_ANNEX).then_some(annex as usize)
    }

    /// A segment and its annexes.
    pub(crate) fn with_annexes(&self, segment: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(segment), |segment| self.annex_of(*segment))
    }

    /// What lies in the annexes of a segment.
    pub(super) fn annexed(&self, segment: usize) -> impl Iterator<Item = &super::Entry> {
        let buckets = self.with_annexes(segment).skip(1).flat_map(|annex| self.segments[annex].iter());
        buckets.flat_map(|bucket| bucket.entries().map(|(_, entry)| entry))
    }

    #[inline]
    pub(super) fn find_in_annex(&self, segment: usize, key: &[u8]) -> Option<Place> {
        // The second hash is slow: only where there is something to look at.
        if self.annexes == 0 || self.annex_of(segment).is_none() { None } else { self.look_in_annexes(segment, key) }
    }

    #[cold]
    fn look_in_annexes(&self, segment: usize, key: &[u8]) -> Option<Place> {
        let hash = self.hashing.second_hash(key);
        self.with_annexes(segment).skip(1).find_map(|annex| {
            overflow_probe(home(hash, 0)).find_map(|probe| {
                let bucket = &self.segments[annex][probe];
                let is = |slot: &usize| bucket.entry(*slot).is_some_and(|entry| same(entry.key(), key));
                let slot = bucket.matches(tag_of(hash)).find(is)?;
                Some(Place { segment: annex as u32, bucket: probe as u8, slot: slot as u8 })
            })
        })
    }

    /// A free slot in an annex, where a split would not do.
    #[cold]
    pub(super) fn room_in_annex(&self, segment: usize, depth: u32, key: &[u8]) -> Option<Place> {
        if self.annexes == 0 || self.annex_of(segment).is_none() || self.may_split(segment, depth) {
            return None;
        }
        let home = home(self.hashing.second_hash(key), 0);
        self.with_annexes(segment).skip(1).find_map(|annex| self.free_slot(annex, home))
    }

    /// The hash by which a key lies in this segment: in an annex the second, and its home buckets say that they overflowed.
    #[cold]
    pub(super) fn hash_within(&mut self, segment: usize, hash: u64, key: &[u8]) -> u64 {
        match self.segment_of(hash) {
            Some((main, depth)) if main != segment => {
                overflow_probe(home(hash, depth)).for_each(|probe| self.segments[main][probe].set_overflowed());
                self.hashing.second_hash(key)
            }
            _ => hash,
        }
    }

    /// An annex stands first, so that its room is found first.
    fn add_annex(&mut self, segment: usize) {
        let new = self.segments.len();
        let marks = self.marks[segment].map(Marks::all);
        self.push_segment(self.meta[segment].prefix, 0, marks);
        self.meta[new].annex = std::mem::replace(&mut self.meta[segment].annex, new as u32);
        self.annexes += 1;
    }

    /// An annex that lost its last entry goes.
    #[inline]
    pub(crate) fn drop_empty_annex(&mut self, segment: usize) {
        if self.annexes > 0 && self.meta[segment].len == 0 && self.main_of(segment) != segment {
            self.unlink(segment);
        }
    }

    /// Takes all annexes from the segment at `prefix`; numbers of segments change.
    fn dissolve(&mut self, prefix: u64) -> Vec<Segment> {
        let mut taken = Vec::new();
        while let Some(annex) = self.segment_of(prefix).and_then(|(main, _)| self.annex_of(main)) {
            taken.push(self.unlink(annex));
        }
        taken
    }

    #[cold]
    fn unlink(&mut self, annex: usize) -> Segment {
        let before = self.before(self.main_of(annex), annex);
        self.meta[before].annex = self.meta[annex].annex;
        self.annexes -= 1;
        self.take_segment(annex)
    }

    /// The segment whose annex this is, or the segment itself.
    fn main_of(&self, segment: usize) -> usize {
        self.segment_of(self.meta[segment].prefix).map_or(segment, |(main, _)| main)
    }

    /// Which of a segment and its annexes stands before this annex.
    fn before(&self, main: usize, annex: usize) -> usize {
        self.with_annexes(main).find(|at| self.annex_of(*at) == Some(annex)).unwrap_or(main)
    }
}

impl Marks {
    /// After a split or merge every bucket counts as taken: callers hand segments to the cuts before.
    fn all(self) -> Marks {
        Marks { taken: u64::MAX, ..self }
    }
}
