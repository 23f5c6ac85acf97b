//! Ways through a table that are not lookups: by position, at random, by deadline, and the cuts' marks.

use super::bucket::{BUCKETS, SLOTS, home, overflow_probe};
use super::prefetch::ahead_of;
use super::{NEVER, Place, Table};
use crate::entry::Entry;

/// Buckets tried at random before a sparse table is walked in order.
const RANDOM_TRIES: usize = 64;

impl Table {
    /// Visits the entries whose hash falls into the bucket at `position`, wherever they are stored, and answers the next
    /// bucket's position; 0 after the last. Positions survive splits: they are hashes.
    pub(crate) fn visit_position(&self, position: u64, visit: &mut dyn FnMut(&Entry)) -> u64 {
        let Some((segment, depth)) = self.segment_of(position) else { return 0 };
        let buckets = &self.segments[segment];
        let first = home(position, depth);
        let mut wanted = |entry: &Entry| {
            if home(self.hash(entry.key()), depth) == first {
                visit(entry);
            }
        };
        let ends = overflow_probe(first).any(|probe| {
            buckets[probe].entries().for_each(|(_, entry)| wanted(entry));
            !buckets[probe].overflowed()
        });
        if !ends {
            self.annexed(segment).for_each(wanted);
        }
        let step = 1_u64 << (58 - depth);
        (position & !(step - 1)).wrapping_add(step)
    }

    /// The number of the segment at `position` and the next segment's position; 0 after the last.
    pub(crate) fn segment_at(&self, position: u64) -> Option<(usize, u64)> {
        let (segment, depth) = self.segment_of(position)?;
        if depth == 0 {
            return Some((segment, 0));
        }
        let step = 1_u64 << (64 - depth);
        Some((segment, (position & !(step - 1)).wrapping_add(step)))
    }

    /// All entries of one bucket.
    pub(crate) fn bucket_entries(&self, segment: usize, bucket: usize) -> impl Iterator<Item = &Entry> {
        ahead_of(&self.segments[segment], bucket);
        self.segments[segment][bucket].entries().map(|(_, entry)| entry)
    }

    /// All entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.segments
            .iter()
            .flat_map(|buckets| buckets.iter())
            .flat_map(|bucket| bucket.entries().map(|(_, entry)| entry))
    }

    /// An entry chosen by `random`, of those with a deadline if so wanted; none only when there is no such entry. All have
    /// the same chance but where they are so few that chance misses them.
    pub(crate) fn random(&self, volatile: bool, mut random: impl FnMut() -> u64) -> Option<Place> {
        if self.len == 0 || volatile && self.with_deadline == 0 {
            return None;
        }
        for _ in 0..RANDOM_TRIES {
            let dice = random();
            // A slot of the table, not an entry of a bucket or a place among the hashes: else entries in poor buckets, or
            // in segments that didn't split yet, would be drawn more often.
            let segment = (dice >> 32) as usize % self.segments.len();
            let (bucket, slot) = (dice as usize % BUCKETS, (dice >> 8) as usize % SLOTS);
            let entry = self.segments[segment][bucket].entry(slot);
            if entry.is_some_and(|entry| !volatile || entry.deadline().is_some()) {
                return Some(Place { segment: segment as u32, bucket: bucket as u8, slot: slot as u8 });
            }
        }
        let mut found = None;
        self.walk_from(random(), volatile, &mut |at, _| {
            found = Some(at);
            false
        });
        found
    }

    /// Visits about `count` entries from a place on that `dice` chooses, of those with a deadline if so wanted. Neighbours
    /// in the table have nothing in common but their hashes.
    pub(crate) fn sample(&self, dice: u64, volatile: bool, count: usize, visit: &mut dyn FnMut(&Entry)) {
        let mut left = count;
        self.walk_from(dice, volatile, &mut |_, entry| {
            visit(entry);
            left -= 1;
            left > 0
        });
    }

    /// The first entry that is wanted, from a place on that `dice` chooses.
    pub(crate) fn find_from(&self, dice: u64, wanted: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let mut found = None;
        self.walk_from(dice, false, &mut |at, entry| {
            found = wanted(entry).then_some(at);
            found.is_none()
        });
        found.map(|at| self.entry(at))
    }

    /// Visits entries from a place on, until `visit` has had enough or all were seen.
    fn walk_from(&self, dice: u64, volatile: bool, visit: &mut dyn FnMut(Place, &Entry) -> bool) {
        if self.len == 0 || volatile && self.with_deadline == 0 {
            return;
        }
        let (segments, first) = (self.segments.len(), (dice >> 32) as usize % self.segments.len());
        // The first segment comes again at the end, for its buckets in front of the start.
        for step in 0..=segments {
            let segment = (first + step) % segments;
            if self.meta[segment].len == 0 || volatile && self.volatile[segment] == 0 {
                continue;
            }
            let from = if step == 0 { dice as usize % BUCKETS } else { 0 };
            if !(from..BUCKETS).all(|bucket| self.visit_turned(segment, bucket, dice >> 8, volatile, visit)) {
                return;
            }
        }
    }

    /// Visits a bucket's entries in a circle from any of them on: slots fill in the order of arrival, and whoever begins with
    /// the first sees the oldest most. False when `visit` has had enough.
    fn visit_turned(
        &self,
        segment: usize,
        bucket: usize,
        turn: u64,
        volatile: bool,
        visit: &mut dyn FnMut(Place, &Entry) -> bool,
    ) -> bool {
        let mut here = [None; SLOTS];
        if volatile {
            // Few of those looked at may be wanted: then this is a walk.
            ahead_of(&self.segments[segment], bucket);
        }
        let wanted = self.segments[segment][bucket].entries();
        let wanted = wanted.filter(|(_, entry)| !volatile || entry.deadline().is_some());
        let found = here.iter_mut().zip(wanted).map(|(place, found)| *place = Some(found)).count();
        here[..found].rotate_left(turn as u8 as usize % found.max(1));
        here[..found].iter().flatten().all(|&(slot, entry)| {
            visit(Place { segment: segment as u32, bucket: bucket as u8, slot: slot as u8 }, entry)
        })
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// True when a segment may hold an entry whose deadline has passed.
    #[inline]
    pub(crate) fn may_have_expired(&self, segment: usize, now: u64) -> bool {
        self.deadlines[segment] < now
    }

    /// Finds the entries of a segment that are expired (true) or of which fields are, `most` of them, and sets its earliest
    /// deadline from the others: the caller deletes the former and [notes](Table::note_times) the latter.
    pub(crate) fn expired_in(&mut self, segment: usize, now: u64, most: usize, mut found: impl FnMut(&[u8], bool)) {
        let (mut lowest, mut left) = (NEVER, most);
        let buckets = &self.segments[segment];
        for (_, entry) in buckets.iter().enumerate().flat_map(|(n, bucket)| {
            ahead_of(buckets, n);
            bucket.entries()
        }) {
            let Some(first) = entry.first_deadline() else { continue };
            if first >= now || left == 0 {
                lowest = lowest.min(first);
                continue;
            }
            left -= 1;
            found(entry.key(), entry.is_expired(now));
            // Where only fields are expired, the key's own time may come next.
            lowest = entry.deadline().filter(|at| *at >= now).map_or(lowest, |at| lowest.min(at));
        }
        self.deadlines[segment] = lowest;
    }

    /// The earliest deadline in the table, or an earlier time.
    pub(crate) fn earliest_deadline(&self) -> Option<u64> {
        if self.with_deadline == 0 && self.with_times == 0 {
            return None;
        }
        self.deadlines.iter().copied().min()
    }

    /// The marks of cut `slot` in a segment: a bit for each bucket it has taken.
    #[inline]
    pub(crate) fn taken(&self, segment: usize, slot: usize, epoch: u32) -> u64 {
        let marks = self.marks[segment][slot];
        if marks.epoch == epoch { marks.taken } else { 0 }
    }

    /// Sets the marks of cut `slot` in a segment.
    pub(crate) fn set_taken(&mut self, segment: usize, slot: usize, epoch: u32, taken: u64) {
        let marks = &mut self.marks[segment][slot];
        marks.epoch = epoch;
        marks.taken = taken;
    }
}
