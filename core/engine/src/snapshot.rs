//! Snapshots: a cut of the keys and the place in the journal from which to go on, taken in one turn. Owns the pairing;
//! the cut is the keyspace's, the bytes are encoded by whoever reads, outside the lock.

use keystead_keyspace::{CutBudget, CutId, CutProgress, TooManyCuts};

use crate::engine::Engine;
use crate::gates::Gate;
use crate::journal::{CursorClass, CursorId};

/// An open snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// To be read with `snapshot_step`.
    pub cut: CutId,
    /// The replication offset of the cut: what follows it in the journal isn't in the snapshot.
    pub offset: u64,
    /// The history it belongs to.
    pub history: u64,
    /// The database that the replication stream has selected at the cut. None: a SELECT follows.
    pub stream_db: Option<u32>,
    /// Reads on from the cut, if asked for.
    pub cursor: Option<CursorId>,
    /// Keys and keys with a deadline per database, for the header of a file.
    pub sizes: Vec<(u64, u64)>,
}

impl Engine {
    /// Opens a snapshot, and with `follow` a cursor right behind it: no gap, no overlap. In a turn of its own (no unit is
    /// open then). With a cursor the journal's next record begins with SELECT, for the reader starts without a database; but
    /// the stream of a replica is its primary's, byte for byte, so there the reader must be told the database. Replicas may
    /// read slowly, and leave files (whatever comes without a cursor is one too) a place.
    pub fn begin_snapshot(&mut self, follow: Option<CursorClass>) -> Result<Snapshot, TooManyCuts> {
        debug_assert!(self.core.unit.is_empty(), "a cut inside a unit would tear it");
        crate::evict::before_cut(&self.ks, &mut self.core);
        let cut = match follow {
            None | Some(CursorClass::Persistence) => self.ks.begin_file_cut()?,
            Some(_) => self.ks.begin_cut()?,
        };
        let cursor = follow.and_then(|class| self.core.journal.open_cursor(class, None).ok());
        if follow.is_some() && !self.core.gates.is(Gate::Replica) {
            self.core.journal.force_select();
        }
        let stream_db = self.core.journal.stream_db();
        let sizes =
            (0..self.ks.databases()).map(|db| (self.ks.len(db) as u64, self.ks.len_with_deadline(db) as u64)).collect();
        let (offset, history) = (self.core.journal.offset(), self.core.journal.history());
        Ok(Snapshot { cut, offset, history, stream_db, cursor, sizes })
    }

    /// Reads on, within a budget; under the lock, in small steps.
    pub fn snapshot_step(&mut self, cut: CutId, budget: CutBudget) -> CutProgress {
        self.ks.cut_step(cut, budget)
    }

    /// Closes a snapshot, read to its end or not. Its cursor stays until it is closed itself.
    pub fn end_snapshot(&mut self, cut: CutId) {
        self.ks.end_cut(cut);
    }
}
