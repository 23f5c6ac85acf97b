//! A bucket: one cache line of seven entries and their tags. Owns the bit tricks on tags.

use crate::entry::Entry;

/// Entries in a bucket.
pub(crate) const SLOTS: usize = 7;
/// Buckets in a segment.
pub(crate) const BUCKETS: usize = 64;
/// Buckets an entry may be in: its home and the ones behind it.
const PROBES: usize = 4;

const LOW: u64 = 0x0001_0101_0101_0101;
const HIGH: u64 = 0x0080_8080_8080_8080;
const OVERFLOWED: u64 = 1 << 56;

/// Seven entries; `tags` has a byte of hash for each (0: empty slot) and, in its last byte, whether an entry that belongs
/// here had to go to a following bucket.
#[repr(C, align(64))]
pub(crate) struct Bucket {
    tags: u64,
    slots: [Option<Entry>; SLOTS],
}

/// A tag is never 0, which means an empty slot.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    ((hash & 0xff) as u8).max(1)
}

/// The bucket that `hash` belongs to in a segment of that depth: the six bits behind the segment's prefix.
#[inline]
pub(super) fn home(hash: u64, depth: u32) -> usize {
    ((hash << depth) >> 58) as usize
}

/// The buckets an entry with this home may be in, in order.
#[inline]
pub(super) fn overflow_probe(home: usize) -> impl Iterator<Item = usize> {
    (home..home + PROBES).map(|at| at % BUCKETS)
}

impl Bucket {
    const EMPTY: Bucket = Bucket { tags: 0, slots: [const { None }; SLOTS] };

    /// An empty segment.
    pub(super) fn segment() -> Box<[Bucket; BUCKETS]> {
        Box::new([const { Bucket::EMPTY }; BUCKETS])
    }

    /// Slots whose tag equals `tag`; may name a wrong one now and then, the key decides.
    #[inline]
    pub(super) fn matches(&self, tag: u8) -> impl Iterator<Item = usize> + use<> {
        let differ = self.tags ^ (LOW * u64::from(tag));
        let mut hits = differ.wrapping_sub(LOW) & !differ & HIGH;
        std::iter::from_fn(move || {
            if hits == 0 {
                return None;
            }
            let slot = (hits.trailing_zeros() / 8) as usize;
            hits &= hits - 1;
            Some(slot)
        })
    }

    #[inline]
    pub(super) fn overflowed(&self) -> bool {
        self.tags & OVERFLOWED != 0
    }

    pub(super) fn set_overflowed(&mut self) {
        self.tags |= OVERFLOWED;
    }

    #[inline]
    pub(crate) fn entry(&self, slot: usize) -> Option<&Entry> {
        self.slots[slot].as_ref()
    }

    pub(super) fn entry_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.slots[slot].as_mut()
    }

    pub(super) fn free_slot(&self) -> Option<usize> {
        (0..SLOTS).find(|slot| self.tags >> (8 * slot) & 0xff == 0)
    }

    pub(super) fn put(&mut self, slot: usize, tag: u8, entry: Entry) {
        debug_assert!(self.slots[slot].is_none());
        self.tags |= u64::from(tag) << (8 * slot);
        self.slots[slot] = Some(entry);
    }

    pub(super) fn take(&mut self, slot: usize) -> Option<Entry> {
        self.tags &= !(0xff << (8 * slot));
        self.slots[slot].take()
    }

    /// All entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// Takes all entries out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Entry> + '_ {
        self.tags = 0;
        self.slots.iter_mut().filter_map(Option::take)
    }
}
