//! One block of a stream: its entries in a listpack, in the very form that RDB files have (`keystead_rdb::stream` draws
//! it). Entries are added at the end and marked as deleted, never moved. Knows nothing of other blocks.

use std::ops::Deref;
use std::sync::Arc;

use keystead_rdb::listpack::{self, Pack};
use keystead_rdb::stream::{self, DELETED, SAME_FIELDS};
use keystead_rdb::{Elem, StreamId};

use crate::tree::Item;

/// A run of entries. Cloning it shares the listpack; whoever changes it copies that first, if it is shared.
#[derive(Clone)]
pub(crate) struct Block {
    id: StreamId,
    pack: Packed,
}

/// A listpack. Nearly all blocks of a stream are full: those take one allocation, of their size, or a place on a shelf.
#[derive(Clone)]
enum Packed {
    Open(Arc<Vec<u8>>),
    Full(Arc<[u8]>),
    Shelved { shelf: Arc<Box<[u8]>>, at: u32, len: u32 },
}

impl Deref for Packed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Packed::Open(pack) => pack,
            Packed::Full(pack) => pack,
            Packed::Shelved { shelf, at, len } => &shelf[*at as usize..][..*len as usize],
        }
    }
}

impl Packed {
    fn to_mut(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Packed::Open(_)) {
            *self = Packed::Open(Arc::new(self.to_vec()));
        }
        match self {
            Packed::Open(pack) => Arc::make_mut(pack),
            _ => unreachable!("it was opened"),
        }
    }
}

impl Item for Block {
    type Key = StreamId;
    fn key(&self) -> &StreamId {
        &self.id
    }
    fn heap_bytes(&self) -> usize {
        /// What an `Arc` counts.
        const COUNTS: usize = 2 * size_of::<usize>();
        match &self.pack {
            Packed::Open(pack) => pack.capacity() + size_of::<Vec<u8>>() + COUNTS,
            Packed::Full(pack) => pack.len() + COUNTS,
            Packed::Shelved { len, .. } => *len as usize,
        }
    }
}

/// The numbers in front of a block.
struct Head {
    live: i64,
    deleted: i64,
    deleted_at: usize,
    /// How many fields the block's entries may share, and where they are.
    shared: usize,
    shared_at: usize,
}

fn head(pack: &[u8]) -> Option<Head> {
    let (live, deleted_at) = listpack::get_int(pack, listpack::FIRST)?;
    let (deleted, shared_at) = listpack::get_int(pack, deleted_at)?;
    let (shared, fields) = listpack::get_int(pack, shared_at)?;
    Some(Head { live, deleted, deleted_at, shared: shared as usize, shared_at: fields })
}

impl Block {
    /// A block that begins with this entry; its fields are those that later ones may share.
    pub(crate) fn begin(id: StreamId, pairs: &[&[u8]]) -> Self {
        let mut pack = Vec::with_capacity(64);
        let mut writer = Pack::begin(&mut pack);
        for head in [0, 0, pairs.len() as i64 / 2] {
            writer.push(Elem::Int(head), &mut pack);
        }
        pairs.iter().step_by(2).for_each(|field| writer.push(Elem::Bytes(field), &mut pack));
        writer.push(Elem::Int(0), &mut pack);
        writer.finish(&mut pack);
        let mut block = Self { id, pack: Packed::Open(Arc::new(pack)) };
        block.append(id, pairs);
        block
    }

    /// A block from a file; the listpack was checked.
    pub(crate) fn from_file(id: StreamId, pack: &[u8]) -> Self {
        Self { id, pack: Packed::Full(pack.into()) }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn pack(&self) -> &[u8] {
        &self.pack
    }

    /// The way to the pack of a block that isn't full, for prefetching: its length and place, then its head and end.
    #[inline]
    pub(crate) fn way_to_end(&self, step: usize) -> Option<[*const u8; 2]> {
        let Packed::Open(pack) = &self.pack else { return None };
        match step {
            0 => Some([Arc::as_ptr(pack).cast(); 2]),
            1 => Some([pack.as_ptr(), pack.as_ptr().wrapping_add(pack.len())]),
            _ => None,
        }
    }

    /// Entries that are there.
    pub(crate) fn live(&self) -> u64 {
        head(&self.pack).map_or(0, |head| head.live.max(0) as u64)
    }

    /// Entries ever added to this block.
    pub(crate) fn ever(&self) -> u64 {
        head(&self.pack).map_or(0, |head| head.live.saturating_add(head.deleted).max(0) as u64)
    }

    /// Adds an entry at the end.
    pub(crate) fn append(&mut self, id: StreamId, pairs: &[&[u8]]) {
        let Some(head) = head(&self.pack) else { return };
        let same = pairs.len() == 2 * head.shared && self.shares(&head, pairs);
        let pack = self.pack.to_mut();
        let mut writer = Pack::resume(pack);
        writer.push(Elem::Int(if same { SAME_FIELDS } else { 0 }), pack);
        writer.push(Elem::Int(id.ms.wrapping_sub(self.id.ms) as i64), pack);
        writer.push(Elem::Int(id.seq.wrapping_sub(self.id.seq) as i64), pack);
        let fields = pairs.len() as i64 / 2;
        if !same {
            writer.push(Elem::Int(fields), pack);
        }
        for pair in pairs.chunks_exact(2) {
            if !same {
                writer.push(Elem::Bytes(pair[0]), pack);
            }
            writer.push(Elem::Bytes(pair[1]), pack);
        }
        writer.push(Elem::Int(if same { fields + 3 } else { 2 * fields + 4 }), pack);
        writer.finish(pack);
        listpack::replace_int(pack, listpack::FIRST, head.live + 1);
    }

    fn shares(&self, head: &Head, pairs: &[&[u8]]) -> bool {
        let mut at = head.shared_at;
        pairs.iter().step_by(2).all(|field| {
            let Some((shared, next)) = listpack::get(&self.pack, at) else { return false };
            at = next;
            shared.with_bytes(|shared| shared == *field)
        })
    }

    /// No more will be added: gives back what was reserved for it.
    pub(crate) fn close(&mut self) {
        if let Packed::Open(pack) = &self.pack {
            // A copy of the right size: allocators leave what shrinks by less than half where it is.
            self.pack = Packed::Full(pack.as_slice().into());
        }
    }

    /// The size of a full block that has an allocation of its own.
    pub(super) fn alone(&self) -> Option<usize> {
        match &self.pack {
            Packed::Full(pack) => Some(pack.len()),
            _ => None,
        }
    }

    /// The same bytes lie on a shelf, from `at` on; answers where they end.
    pub(super) fn move_to(&mut self, shelf: &Arc<Box<[u8]>>, at: usize) -> usize {
        let len = self.pack.len();
        self.pack = Packed::Shelved { shelf: Arc::clone(shelf), at: at as u32, len: len as u32 };
        at + len
    }

    /// Marks the first entries as deleted, at most so many and those before an id; answers how many.
    pub(crate) fn delete_front(&mut self, count: u64, before: StreamId) -> u64 {
        let first = self.entries().take_while(|entry| entry.id < before).filter(Entry::is_live);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let places: Vec<(usize, i64)> = first.take(count).map(|entry| (entry.flags_at, entry.flags)).collect();
        self.mark(&places)
    }

    /// Marks an entry as deleted; false if it isn't there.
    pub(crate) fn delete(&mut self, id: StreamId) -> bool {
        let found = self.entries().find(|entry| entry.id >= id).filter(|entry| entry.id == id && entry.is_live());
        let Some(place) = found.map(|entry| (entry.flags_at, entry.flags)) else { return false };
        self.mark(&[place]) == 1
    }

    fn mark(&mut self, places: &[(usize, i64)]) -> u64 {
        let Some(head) = head(&self.pack).filter(|_| !places.is_empty()) else { return 0 };
        let count = places.len() as i64;
        let pack = self.pack.to_mut();
        // Flags are of one size, so that no place moves; the counts in front come last.
        for (at, flags) in places {
            listpack::replace_int(pack, *at, flags | DELETED);
        }
        listpack::replace_int(pack, head.deleted_at, head.deleted + count);
        listpack::replace_int(pack, listpack::FIRST, head.live - count);
        count as u64
    }

    /// All entries in order, deleted ones too.
    pub(crate) fn entries(&self) -> Entries<'_> {
        let mut entries = Entries { block: self, shared: 0, shared_at: 0, front: 0, back: 0 };
        let Some(head) = head(&self.pack) else { return entries };
        let first = (0..=head.shared).try_fold(head.shared_at, |at, _| listpack::skip(&self.pack, at));
        (entries.shared, entries.shared_at) = (head.shared, head.shared_at);
        (entries.front, entries.back) = (first.unwrap_or(0), listpack::end(&self.pack));
        entries
    }

    /// The id of the last entry, deleted or not.
    pub(crate) fn last_id(&self) -> StreamId {
        self.entries().next_back().map_or(self.id, |entry| entry.id)
    }
}

/// Entries of a block, from either end.
#[derive(Clone)]
pub(crate) struct Entries<'a> {
    block: &'a Block,
    shared: usize,
    shared_at: usize,
    /// What is left is between these two.
    front: usize,
    back: usize,
}

impl<'a> Entries<'a> {
    /// The entry whose flags are at an offset, and where its last element (its size) is.
    fn read(&self, flags_at: usize) -> Option<(Entry<'a>, usize)> {
        let pack = self.block.pack();
        let (flags, at) = listpack::get_int(pack, flags_at)?;
        let (ms, at) = listpack::get_int(pack, at)?;
        let (seq, at) = listpack::get_int(pack, at)?;
        let id = stream::add(self.block.id, ms, seq);
        let same = flags & SAME_FIELDS != 0;
        let (fields, at) = if same { (self.shared as i64, at) } else { listpack::get_int(pack, at)? };
        let elements = if same { fields } else { fields.checked_mul(2)? };
        let end = (0..elements).try_fold(at, |at, _| listpack::skip(pack, at))?;
        let field_at = if same { Some(self.shared_at) } else { None };
        Some((Entry { id, flags, flags_at, pack, fields: fields as usize, field_at, at }, end))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (entry, size_at) = self.read(self.front)?;
        self.front = listpack::skip(&self.block.pack, size_at)?;
        Some(entry)
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let pack = &self.block.pack;
        let size_at = listpack::prev(pack, self.back)?;
        let (size, _) = listpack::get_int(pack, size_at)?;
        self.back = (0..size).try_fold(size_at, |at, _| listpack::prev(pack, at))?;
        Some(self.read(self.back)?.0)
    }
}

/// An entry where it lies.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    flags: i64,
    flags_at: usize,
    pack: &'a [u8],
    fields: usize,
    /// Where its fields are, if it shares the block's.
    field_at: Option<usize>,
    at: usize,
}

impl<'a> Entry<'a> {
    /// How many pairs of field and value it has.
    pub fn len(&self) -> usize {
        self.fields
    }

    /// True without any pair; no entry is.
    pub fn is_empty(&self) -> bool {
        self.fields == 0
    }

    pub(crate) fn is_live(&self) -> bool {
        self.flags & DELETED == 0
    }

    /// Its pairs of field and value.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { pack: self.pack, left: self.fields, field_at: self.field_at, at: self.at }
    }
}

/// Pairs of field and value.
pub struct Pairs<'a> {
    pack: &'a [u8],
    left: usize,
    field_at: Option<usize>,
    at: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Elem<'a>, Elem<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let field = match &mut self.field_at {
            Some(at) => {
                let (field, next) = listpack::get(self.pack, *at)?;
                *at = next;
                field
            }
            None => {
                let (field, next) = listpack::get(self.pack, self.at)?;
                self.at = next;
                field
            }
        };
        let (value, next) = listpack::get(self.pack, self.at)?;
        self.at = next;
        Some((field, value))
    }
}
