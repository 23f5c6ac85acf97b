//! Small collections as one byte blob: entries one after the other, walkable from both ends, or forward only.
//!
//! An entry is `len, payload, backlen`: `len` as LEB128, `backlen` the size of what precedes it, as LEB128 with its
//! bytes reversed so that it can be read from the right; a blob that is only walked forward has none, which is a byte
//! less for each field of a million small hashes. The form is ours and never leaves the process; RDB has its own.
//! Callers keep it small (Redis' thresholds): a change moves the bytes on its shorter side, so that both ends are cheap.
//! Room for that is kept where it was last needed or left: in front of the entries, behind them, or both.

/// A sequence of byte strings in one allocation; with `BACK`, walkable backward too.
#[derive(Default)]
pub struct Compact<const BACK: bool = true> {
    /// Unused bytes, then the entries.
    buf: Vec<u8>,
    /// How many unused bytes there are in front.
    start: u32,
    count: u32,
}

/// One that is only walked forward.
pub type Forward = Compact<false>;

impl<const BACK: bool> Clone for Compact<BACK> {
    /// Copies the entries, not the room around them.
    fn clone(&self) -> Self {
        Self { buf: self.data().to_vec(), start: 0, count: self.count }
    }
}

fn varint_len(n: usize) -> usize {
    let bits = usize::BITS - (n | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn put_varint(out: &mut [u8], mut n: usize) -> usize {
    let mut i = 0;
    while n >= 0x80 {
        out[i] = n as u8 | 0x80;
        n >>= 7;
        i += 1;
    }
    out[i] = n as u8;
    i + 1
}

/// Bytes to allocate for `bytes`. Small collections are many, and each pays for its room: only what the allocator's blocks
/// have anyway (multiples of 16, from 128 on four sizes to each power of two). More for blobs that grow on, so that growing
/// one to 4 KiB takes few copies.
fn room(bytes: usize) -> usize {
    match bytes {
        ..=128 => bytes.next_multiple_of(16),
        129..1024 => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
        _ => bytes + bytes / 4,
    }
}

/// Size of an entry with a payload of `len` bytes, in a blob that is walked both ways.
pub fn entry_size(len: usize) -> usize {
    size::<true>(len)
}

fn size<const BACK: bool>(len: usize) -> usize {
    let front = varint_len(len) + len;
    if BACK { front + varint_len(front) } else { front }
}

impl<const BACK: bool> Compact<BACK> {
    /// Nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing in it, but room for so many bytes that come from the end to the front.
    pub fn with_front(room: usize) -> Self {
        Self { buf: vec![0; room], start: room as u32, count: 0 }
    }

    /// Nothing in it, but room for so many bytes that are appended.
    pub fn with_back(room: usize) -> Self {
        Self { buf: Vec::with_capacity(room), start: 0, count: 0 }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes used by the entries.
    pub fn bytes(&self) -> usize {
        self.buf.len() - self.start as usize
    }

    /// Bytes allocated.
    pub fn mem_bytes(&self) -> usize {
        self.buf.capacity()
    }

    /// Where the first entry lies, for prefetching.
    #[inline]
    pub(crate) fn front_address(&self) -> *const u8 {
        self.buf.as_ptr().wrapping_add(self.start as usize)
    }

    /// Where the next entry would be appended, for prefetching.
    #[inline]
    pub(crate) fn back_address(&self) -> *const u8 {
        self.buf.as_ptr().wrapping_add(self.buf.len())
    }

    /// Offset behind the last entry.
    pub fn end(&self) -> usize {
        self.bytes()
    }

    #[inline]
    fn data(&self) -> &[u8] {
        &self.buf[self.start as usize..]
    }

    /// The payload at offset `off`, and the next entry's offset.
    #[inline]
    pub fn entry(&self, off: usize) -> (&[u8], usize) {
        let data = self.data();
        let (mut len, mut shift, mut at) = (0, 0, off);
        loop {
            let byte = data[at];
            len |= ((byte & 0x7f) as usize) << shift;
            at += 1;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
        let end = at + len;
        (&data[at..end], if BACK { end + varint_len(end - off) } else { end })
    }

    /// Offset of the entry that ends where `off` begins; `None` at the first one. Only with `BACK`.
    #[inline]
    fn before(&self, off: usize) -> Option<usize> {
        if off == 0 {
            return None;
        }
        let data = self.data();
        let (mut front, mut shift, mut at) = (0, 0, off);
        loop {
            at -= 1;
            let byte = data[at];
            front |= ((byte & 0x7f) as usize) << shift;
            if byte < 0x80 {
                return Some(at - front);
            }
            shift += 7;
        }
    }

    /// Offset of entry `i`, walked from the nearer end where that can be; `end()` for one past the last.
    pub fn offset(&self, i: usize) -> usize {
        let count = self.len();
        if i >= count {
            return self.end();
        }
        if !BACK || i <= count / 2 {
            (0..i).fold(0, |off, _| self.entry(off).1)
        } else {
            (i..count).fold(self.end(), |off, _| self.before(off).unwrap_or(0))
        }
    }

    /// Entry `i`.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        (i < self.len()).then(|| self.entry(self.offset(i)).0)
    }

    /// Inserts an entry at an offset; the payload comes in two parts.
    pub fn insert_parts(&mut self, off: usize, a: &[u8], b: &[u8]) {
        self.splice(off, off, a, b);
        self.count += 1;
    }

    /// Inserts an entry at an offset.
    pub fn insert(&mut self, off: usize, payload: &[u8]) {
        self.insert_parts(off, payload, &[]);
    }

    /// Appends an entry.
    pub fn push_back(&mut self, payload: &[u8]) {
        self.insert(self.end(), payload);
    }

    /// Replaces the payload of the entry at an offset.
    pub fn replace(&mut self, off: usize, payload: &[u8]) {
        let (old, next) = self.entry(off);
        if old.len() == payload.len() {
            let start = self.start as usize + off + varint_len(payload.len());
            self.buf[start..start + payload.len()].copy_from_slice(payload);
        } else {
            self.splice(off, next, payload, &[]);
        }
    }

    /// Removes `n` entries from an offset on.
    pub fn remove(&mut self, off: usize, n: usize) {
        let (mut end, mut gone) = (off, 0);
        while gone < n && end < self.bytes() {
            end = self.entry(end).1;
            gone += 1;
        }
        self.close(off, end);
        self.count -= gone as u32;
        if self.buf.capacity() > 256 && self.bytes() * 4 < self.buf.capacity() {
            self.buf.drain(..self.start as usize);
            self.start = 0;
            self.buf.shrink_to(self.buf.len() * 2);
        }
    }

    /// Takes the entries from `off` on away into a blob of their own.
    pub fn split_off(&mut self, off: usize) -> Self {
        let behind = Entries { compact: self, off }.count() as u32;
        let buf = self.buf.split_off(self.start as usize + off);
        self.buf.shrink_to_fit();
        self.count -= behind;
        Self { buf, start: 0, count: behind }
    }

    /// Gives unused memory back.
    pub fn trim(&mut self) {
        if self.buf.capacity() - self.bytes() > self.bytes() / 64 {
            *self = self.clone();
        }
    }

    /// Puts one entry in place of the bytes `from..to`.
    fn splice(&mut self, from: usize, to: usize, a: &[u8], b: &[u8]) {
        let len = a.len() + b.len();
        let size = size::<BACK>(len);
        if size > to - from {
            self.open(to, size - (to - from));
        } else {
            self.close(from + size, to);
        }
        let at = self.start as usize + from;
        let entry = &mut self.buf[at..at + size];
        let head = put_varint(entry, len);
        entry[head..head + a.len()].copy_from_slice(a);
        entry[head + a.len()..head + len].copy_from_slice(b);
        if BACK {
            let back = &mut entry[head + len..];
            put_varint(back, head + len);
            back.reverse();
        }
    }

    /// Makes `more` bytes of room at offset `at`, by moving the shorter side.
    fn open(&mut self, at: usize, more: usize) {
        let bytes = self.bytes();
        let in_front = at < bytes - at || bytes == 0 && self.start as usize >= more;
        if in_front {
            if (self.start as usize) < more {
                self.widen_front(more);
            }
            let start = self.start as usize;
            self.buf.copy_within(start..start + at, start - more);
            self.start -= more as u32;
        } else {
            if self.buf.capacity() - self.buf.len() < more {
                self.widen_back(more);
            }
            let old_end = self.buf.len();
            self.buf.resize(old_end + more, 0);
            self.buf.copy_within(self.start as usize + at..old_end, self.start as usize + at + more);
        }
    }

    /// Closes the gap `from..to`, by moving the shorter side.
    fn close(&mut self, from: usize, to: usize) {
        let (start, gap) = (self.start as usize, to - from);
        if from < self.bytes() - to {
            self.buf.copy_within(start..start + from, start + gap);
            self.start += gap as u32;
        } else {
            self.buf.copy_within(start + to.., start + from);
            self.buf.truncate(self.buf.len() - gap);
        }
    }

    /// Room in front for `more` bytes.
    fn widen_front(&mut self, more: usize) {
        if self.recentre(more) {
            return;
        }
        let (bytes, behind) = (self.bytes(), self.buf.capacity() - self.buf.len());
        let front = room(more + bytes) - bytes;
        let mut buf = Vec::with_capacity(front + bytes + behind);
        buf.resize(front, 0);
        buf.extend_from_slice(self.data());
        (self.buf, self.start) = (buf, front as u32);
    }

    /// Room behind for `more` bytes.
    fn widen_back(&mut self, more: usize) {
        if !self.recentre(more) {
            let len = self.buf.len();
            self.buf.reserve_exact(room(len + more) - len);
        }
    }

    /// Moves the entries into the middle of the buffer, where so much of it is unused that this pays.
    fn recentre(&mut self, more: usize) -> bool {
        let (bytes, start) = (self.bytes(), self.start as usize);
        let spare = self.buf.capacity() - bytes;
        if spare < 2 * more + bytes / 4 {
            return false;
        }
        let to = spare / 2;
        self.buf.resize(self.buf.len().max(to + bytes), 0);
        self.buf.copy_within(start..start + bytes, to);
        self.buf.truncate(to + bytes);
        self.start = to as u32;
        true
    }

    /// Iterates over the payloads.
    pub fn iter(&self) -> Entries<'_, BACK> {
        self.iter_from(0)
    }

    /// Iterates forward over the payloads from an offset.
    pub fn iter_from(&self, off: usize) -> Entries<'_, BACK> {
        Entries { compact: self, off }
    }
}

impl Compact {
    /// Iterates backward over the payloads that end at or before an offset.
    pub fn rev_from(&self, off: usize) -> RevEntries<'_> {
        RevEntries { compact: self, off }
    }
}

/// Forward iterator over payloads.
#[derive(Clone)]
pub struct Entries<'a, const BACK: bool = true> {
    compact: &'a Compact<BACK>,
    off: usize,
}

impl<const BACK: bool> Entries<'_, BACK> {
    /// Offset of the entry that `next` will give.
    pub fn offset(&self) -> usize {
        self.off
    }
}

impl<'a, const BACK: bool> Iterator for Entries<'a, BACK> {
    type Item = &'a [u8];
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.off >= self.compact.bytes() {
            return None;
        }
        let (payload, next) = self.compact.entry(self.off);
        self.off = next;
        Some(payload)
    }
}

/// Backward iterator over payloads.
pub struct RevEntries<'a> {
    compact: &'a Compact,
    off: usize,
}

impl<'a> Iterator for RevEntries<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        self.off = self.compact.before(self.off)?;
        Some(self.compact.entry(self.off).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..10),
            prop::collection::vec(any::<u8>(), 120..140),
            prop::collection::vec(any::<u8>(), 16370..16400),
        ]
    }

    /// A change, where, and with which bytes.
    type Op = (u8, usize, Vec<u8>);

    fn behaves_as_a_vec<const BACK: bool>(ops: Vec<Op>) -> Result<(Compact<BACK>, Vec<Vec<u8>>), TestCaseError> {
        let (mut c, mut twin) = (Compact::<BACK>::new(), Vec::<Vec<u8>>::new());
        for (op, pos, bytes) in ops {
            let at = pos % (twin.len() + 1);
            match op {
                0 | 1 => {
                    let cut = bytes.len() / 3;
                    c.insert_parts(c.offset(at), &bytes[..cut], &bytes[cut..]);
                    twin.insert(at, bytes);
                }
                2 if at < twin.len() => {
                    c.replace(c.offset(at), &bytes);
                    twin[at] = bytes;
                }
                3 => {
                    let n = (pos >> 8) % 3;
                    c.remove(c.offset(at), n);
                    twin.drain(at..(at + n).min(twin.len()));
                }
                4 => {
                    c.insert(0, &bytes);
                    twin.insert(0, bytes);
                }
                5 => {
                    c.push_back(&bytes);
                    twin.push(bytes);
                }
                6 => c.trim(),
                7 => {
                    let behind = c.split_off(c.offset(at));
                    prop_assert!(behind.iter().eq(twin.drain(at..)));
                    prop_assert_eq!(behind.len(), behind.iter().count());
                }
                8 => c = c.clone(),
                9 if twin.is_empty() => {
                    c = if pos % 2 == 0 { Compact::with_front(pos % 999) } else { Compact::with_back(99) }
                }
                _ => {}
            }
            prop_assert_eq!(c.len(), twin.len());
            prop_assert_eq!(c.bytes(), twin.iter().map(|b| size::<BACK>(b.len())).sum::<usize>());
            prop_assert!(c.iter().eq(twin.iter().map(|b| &b[..])));
            prop_assert_eq!(c.get(at), twin.get(at).map(|b| &b[..]));
        }
        Ok((c, twin))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn is_a_vec_of_byte_strings(ops in prop::collection::vec((0..10_u8, any::<usize>(), payload()), 1..60)) {
            let (c, twin) = behaves_as_a_vec::<true>(ops.clone())?;
            prop_assert!(c.rev_from(c.end()).eq(twin.iter().rev().map(|b| &b[..])));
            behaves_as_a_vec::<false>(ops)?;
        }
    }

    #[test]
    fn room_got_whole_is_filled_without_another_allocation() {
        let (mut front, mut back) = (Compact::<true>::with_front(4096), Compact::<true>::with_back(4096));
        while front.bytes() + entry_size(16) <= 4096 {
            front.insert(0, &[7; 16]);
            back.push_back(&[7; 16]);
        }
        assert_eq!((front.mem_bytes(), back.mem_bytes(), front.len()), (4096, 4096, 227));
        front.trim();
        assert_eq!(front.mem_bytes(), 4096, "so full that it isn't copied");
    }

    #[test]
    fn a_small_one_fills_the_blocks_of_the_allocator() {
        let mut fields = Forward::new();
        (0..20).for_each(|_| fields.push_back(b"0123456789"));
        assert_eq!((fields.bytes(), fields.mem_bytes()), (220, 224));
        assert_eq!([1, 16, 17, 128, 129, 256, 257, 512, 513].map(room), [16, 16, 32, 128, 160, 256, 320, 512, 640]);
    }
}
