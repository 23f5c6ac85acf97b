//! The cut: a snapshot of all databases as of one moment, read in small steps while writes go on.
//!
//! Beginning one is O(databases). From then on each bucket is taken once: by the walk ([`Keyspace::cut_step`]), or by the
//! first write to it, which hands the bucket's entries over before it changes anything. What is put into a bucket after
//! that was born after the cut and is never emitted. Taking an entry copies a short value, and shares the nodes of a long
//! string or a collection, so no step and no write copies much. A segment is handed over whole before it splits, and a
//! flushed database goes to the cut as it is. Databases are stamped with the number they had at the cut.

mod record;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

pub use record::RawRecord;

use crate::DbIndex;
use crate::db::{CutStamp, Db};
use crate::garbage::Garbage;
use crate::keyspace::Keyspace;
use crate::table::Table;

/// Cuts that may be open for whoever asks.
const COMMON: usize = 2;
/// Those kept for files, so that no slow reader keeps data from the disk.
const FILES: usize = 2;
/// Those of clients' commands, which are for nobody else: no client keeps replicas from a snapshot, or waits for one's end.
const READERS: usize = 2;
/// Cuts that may be open in all.
pub(crate) const CUTS: usize = COMMON + FILES + READERS;

/// Names a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutId(u32);

/// As many cuts are open as may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyCuts;

impl std::fmt::Display for TooManyCuts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many snapshots are being read already")
    }
}

impl std::error::Error for TooManyCuts {}

/// How much one step may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutBudget {
    /// Records to answer, roughly 100 ns each.
    pub records: usize,
    /// Bytes of short values to copy.
    pub bytes: usize,
}

impl Default for CutBudget {
    fn default() -> Self {
        CutBudget { records: 512, bytes: 128 * 1024 }
    }
}

/// What a step gave.
pub struct CutProgress {
    /// The next records, in no order.
    pub records: Vec<RawRecord>,
    /// True when these were the last. The cut is closed then.
    pub done: bool,
}

/// A database that was flushed while the cut was open.
struct Old {
    table: Arc<Table>,
    stamp: CutStamp,
}

/// One open cut.
struct Cut {
    epoch: u32,
    /// Keys at the cut, all databases.
    keys: Vec<usize>,
    /// Records handed over by writes, not read yet.
    handed: VecDeque<RawRecord>,
    old: Vec<Old>,
    /// Which database (by the number it had at the cut) the walk is in, and where.
    walk_db: DbIndex,
    position: u64,
    /// Buckets the walk has taken in its segment of an old database, which itself nobody changes any more; and how many of
    /// that segment and its annexes it is through with.
    taken_of_old: u64,
    through_of_old: usize,
}

/// The open cuts.
#[derive(Default)]
pub(crate) struct Cuts {
    open: [Option<Cut>; CUTS],
    /// How many they are.
    count: usize,
    last_epoch: u32,
}

impl Cuts {
    /// True when a cut is open; all that a write pays when none is.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.count > 0
    }

    /// The open cut in a slot that this database belongs to.
    fn member(open: &mut Option<Cut>, stamp: Option<CutStamp>) -> Option<(&mut Cut, CutStamp)> {
        let (cut, stamp) = (open.as_mut()?, stamp?);
        (cut.epoch == stamp.epoch).then_some((cut, stamp))
    }

    /// Hands a bucket to the cuts that have not taken it.
    pub(crate) fn take_bucket(&mut self, db: &mut Db, segment: usize, bucket: usize) {
        self.take_buckets(db, segment, 1 << bucket);
    }

    /// Hands over the segment that will be split to make room for `hash`, and its annexes.
    pub(crate) fn take_segment(&mut self, db: &mut Db, hash: u64) {
        let mut next = db.table.segment_number(hash);
        while let Some(segment) = next {
            self.take_whole(db, segment);
            next = db.table.annex_of(segment);
        }
    }

    /// Hands over a segment whose entries are about to move.
    pub(crate) fn take_whole(&mut self, db: &mut Db, segment: usize) {
        self.take_buckets(db, segment, u64::MAX);
    }

    fn take_buckets(&mut self, db: &mut Db, segment: usize, buckets: u64) {
        let mut fresh = [0; CUTS];
        for (slot, fresh) in fresh.iter_mut().enumerate() {
            let Some((cut, _)) = Self::member(&mut self.open[slot], db.stamps[slot]) else { continue };
            let taken = db.table.taken(segment, slot, cut.epoch);
            *fresh = buckets & !taken;
            if *fresh != 0 {
                db.table.set_taken(segment, slot, cut.epoch, taken | *fresh);
            }
        }
        let (_, shared) = fresh.iter().fold((0, 0), |(once, twice), one| (once | one, twice | once & one));
        self.share_buckets(db, segment, shared, fresh);
        for (slot, fresh) in fresh.into_iter().enumerate() {
            let Some((cut, stamp)) = Self::member(&mut self.open[slot], db.stamps[slot]) else { continue };
            for bucket in bits(fresh & !shared) {
                let entries = db.table.bucket_entries(segment, bucket);
                cut.handed.extend(entries.map(|entry| RawRecord::new(stamp.index, entry.snapshot())));
            }
        }
    }

    /// What several cuts want is copied once.
    fn share_buckets(&mut self, db: &Db, segment: usize, shared: u64, fresh: [u64; CUTS]) {
        for bucket in bits(shared) {
            for entry in db.table.bucket_entries(segment, bucket) {
                let entry = Arc::new(entry.snapshot());
                for slot in (0..CUTS).filter(|slot| fresh[*slot] >> bucket & 1 == 1) {
                    if let Some((cut, stamp)) = Self::member(&mut self.open[slot], db.stamps[slot]) {
                        cut.handed.push_back(RawRecord::shared(stamp.index, entry.clone()));
                    }
                }
            }
        }
    }

    /// Takes a database that was flushed: the cuts it belongs to go on reading it, then it is garbage.
    pub(crate) fn take_db(&mut self, db: Db, garbage: &mut Garbage) {
        if db.table.segments() == 0 {
            return;
        }
        let bytes = db.value_bytes + db.table.mem_bytes();
        let table = Arc::new(db.table);
        for slot in 0..CUTS {
            if let Some((cut, stamp)) = Self::member(&mut self.open[slot], db.stamps[slot]) {
                cut.old.push(Old { table: Arc::clone(&table), stamp });
            }
        }
        garbage.add_table(table, bytes);
    }
}

fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if set == 0 {
            return None;
        }
        let bit = set.trailing_zeros() as usize;
        set &= set - 1;
        Some(bit)
    })
}

/// Where a cut finds the database it walks.
enum Source {
    Live(DbIndex),
    Old(usize),
}

impl Keyspace {
    /// Opens a cut: its snapshot is the keyspace as it is now.
    pub fn begin_cut(&mut self) -> Result<CutId, TooManyCuts> {
        self.begin_cut_in(0..COMMON)
    }

    /// Opens a cut for a file: there is one even while others read as many as they may.
    pub fn begin_file_cut(&mut self) -> Result<CutId, TooManyCuts> {
        self.begin_cut_in(COMMON..COMMON + FILES).or_else(|_| self.begin_cut())
    }

    /// Opens a cut for a command that reads for long.
    pub fn begin_reader_cut(&mut self) -> Result<CutId, TooManyCuts> {
        self.begin_cut_in(COMMON + FILES..CUTS)
    }

    fn begin_cut_in(&mut self, slots: Range<usize>) -> Result<CutId, TooManyCuts> {
        let slot = slots.into_iter().find(|slot| self.cuts.open[*slot].is_none()).ok_or(TooManyCuts)?;
        self.cuts.last_epoch += 1;
        self.cuts.count += 1;
        let epoch = self.cuts.last_epoch;
        for (index, db) in self.dbs.iter_mut().enumerate() {
            db.stamps[slot] = Some(CutStamp { epoch, index });
        }
        let keys = self.dbs.iter().map(|db| db.table.len()).collect();
        self.cuts.open[slot] = Some(Cut {
            epoch,
            keys,
            handed: VecDeque::new(),
            old: Vec::new(),
            walk_db: 0,
            position: 0,
            taken_of_old: 0,
            through_of_old: 0,
        });
        Ok(CutId(epoch))
    }

    /// Keys of each database at the cut; empty when there is no such cut.
    pub fn cut_keys(&self, id: CutId) -> &[usize] {
        self.cuts.open.iter().flatten().find(|cut| cut.epoch == id.0).map_or(&[], |cut| &cut.keys)
    }

    /// Records that writes have handed over and no step has read yet: what an open cut costs in memory.
    pub fn cut_backlog(&self, id: CutId) -> usize {
        self.cuts.open.iter().flatten().find(|cut| cut.epoch == id.0).map_or(0, |cut| cut.handed.len())
    }

    /// Reads on. A step answers at least one record unless it is the last.
    pub fn cut_step(&mut self, id: CutId, budget: CutBudget) -> CutProgress {
        let mut records = Vec::with_capacity(budget.records.min(1024));
        let Some(slot) = self.slot_of(id) else { return CutProgress { records, done: true } };
        let Some(mut cut) = self.cuts.open[slot].take() else { return CutProgress { records, done: true } };
        let (most, mut bytes) = (budget.records.max(1), budget.bytes);
        // What writes handed over goes first, so that it doesn't pile up.
        while records.len() < most && bytes > 0 {
            let Some(record) = cut.handed.pop_front() else { break };
            bytes = bytes.saturating_sub(record.block_bytes());
            records.push(record);
        }
        while records.len() < most && bytes > 0 && cut.walk_db < cut.keys.len() {
            self.walk(&mut cut, slot, most, &mut bytes, &mut records);
        }
        if self.policy.lru() || self.policy.lfu() {
            records.iter_mut().for_each(|record| record.note_use(&self.access, self.policy));
        }
        let done = cut.walk_db >= cut.keys.len() && cut.handed.is_empty();
        self.cuts.open[slot] = Some(cut);
        if done {
            self.end_cut(id);
        }
        CutProgress { records, done }
    }

    /// Closes a cut, read to its end or not.
    pub fn end_cut(&mut self, id: CutId) {
        let Some(slot) = self.slot_of(id) else { return };
        if let Some(cut) = self.cuts.open[slot].take() {
            self.cuts.count -= 1;
            for old in cut.old {
                // Counted when it was flushed.
                self.books.garbage.add_table(old.table, 0);
            }
            self.books.garbage.add_records(cut.handed);
        }
        for db in &mut self.dbs {
            db.stamps[slot] = None;
        }
    }

    fn slot_of(&self, id: CutId) -> Option<usize> {
        self.cuts.open.iter().position(|cut| cut.as_ref().is_some_and(|cut| cut.epoch == id.0))
    }

    /// Where the database is now that had this number at the cut; none when it was flushed.
    fn source(&self, cut: &Cut, slot: usize) -> Option<Source> {
        let is = |stamp: &CutStamp| stamp.epoch == cut.epoch && stamp.index == cut.walk_db;
        let live = self.dbs.iter().position(|db| db.stamps[slot].as_ref().is_some_and(is));
        live.map(Source::Live).or_else(|| cut.old.iter().position(|old| is(&old.stamp)).map(Source::Old))
    }

    /// Walks on in the current segment until it ends or the budget does.
    fn walk(&mut self, cut: &mut Cut, slot: usize, most: usize, bytes: &mut usize, records: &mut Vec<RawRecord>) {
        let Some(source) = self.source(cut, slot) else {
            (cut.walk_db, cut.position) = (cut.walk_db + 1, 0);
            return;
        };
        let table = match &source {
            Source::Live(db) => &self.dbs[*db].table,
            Source::Old(at) => &*cut.old[*at].table,
        };
        let Some((main, next)) = table.segment_at(cut.position) else {
            (cut.walk_db, cut.position) = (cut.walk_db + 1, 0);
            return;
        };
        // Annexes come and go; those that are there were taken or have their turn.
        let segment = match source {
            Source::Live(_) => table.with_annexes(main).find(|at| table.taken(*at, slot, cut.epoch) != u64::MAX),
            Source::Old(_) => table.with_annexes(main).nth(cut.through_of_old),
        };
        let Some(segment) = segment else {
            (cut.position, cut.through_of_old) = (next, 0);
            cut.walk_db += usize::from(next == 0);
            return;
        };
        let mut taken = table.taken(segment, slot, cut.epoch) | cut.taken_of_old;
        for bucket in bits(!taken) {
            for entry in table.bucket_entries(segment, bucket) {
                let record = RawRecord::new(cut.walk_db, entry.snapshot());
                *bytes = bytes.saturating_sub(record.block_bytes());
                records.push(record);
            }
            taken |= 1 << bucket;
            if records.len() >= most || *bytes == 0 {
                break;
            }
        }
        match source {
            Source::Live(db) => self.dbs[db].table.set_taken(segment, slot, cut.epoch, taken),
            Source::Old(_) if taken == u64::MAX => {
                (cut.taken_of_old, cut.through_of_old) = (0, cut.through_of_old + 1);
            }
            Source::Old(_) => cut.taken_of_old = taken,
        }
    }
}

#[cfg(test)]
mod tests;
