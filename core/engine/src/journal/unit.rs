//! One atomic unit of effects while it is being collected: what EXEC, a script or a command with several effects did.
//! Owns encoded records; the journal decides about MULTI and EXEC around them.

use crate::effect::{Origin, Targets};

struct Entry {
    end: usize,
    db: u32,
    targets: Targets,
    origin: Origin,
}

/// A record of a unit, borrowed.
pub struct Record<'a> {
    /// The database it applies to.
    pub db: u32,
    /// Who gets it.
    pub targets: Targets,
    /// Who caused it.
    pub origin: Origin,
    /// The command as RESP.
    pub bytes: &'a [u8],
}

/// The effects of one atomic unit, encoded. Its buffers are reused from unit to unit.
#[derive(Default)]
pub struct Unit {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Unit {
    /// Adds an effect.
    pub fn push<'a>(
        &mut self,
        db: u32,
        targets: Targets,
        origin: Origin,
        argv: impl ExactSizeIterator<Item = &'a [u8]>,
    ) {
        keystead_resp::write_command(&mut self.bytes, argv);
        self.entries.push(Entry { end: self.bytes.len(), db, targets, origin });
    }

    /// Adds an effect whose bytes nobody needs: it only counts.
    pub fn count(&mut self, db: u32, targets: Targets, origin: Origin) {
        self.entries.push(Entry { end: self.bytes.len(), db, targets, origin });
    }

    /// Takes the effects from a position on out of the unit.
    pub fn split_off(&mut self, at: usize) -> Unit {
        let start = at.checked_sub(1).map_or(0, |last| self.entries[last].end);
        let bytes = self.bytes.split_off(start);
        let mut entries = self.entries.split_off(at);
        for entry in &mut entries {
            entry.end -= start;
        }
        Unit { bytes, entries }
    }

    /// Adds the effects of another unit.
    pub fn extend(&mut self, other: Unit) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.entries.extend(other.entries.into_iter().map(|entry| Entry { end: entry.end + base, ..entry }));
    }

    /// Only some of those who would get the effects from a position on get them; what nobody gets is forgotten. The
    /// deletion of expired keys is the server's own and goes to everyone.
    pub fn restrict(&mut self, from: usize, targets: Targets) {
        let own = self.split_off(from);
        for record in own.records() {
            let left = match record.origin {
                Origin::Internal => record.targets,
                _ => Targets(record.targets.0 & targets.0),
            };
            if !left.is_empty() {
                self.bytes.extend_from_slice(record.bytes);
                self.entries.push(Entry { end: self.bytes.len(), targets: left, db: record.db, origin: record.origin });
            }
        }
    }

    /// How many effects there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets everything, keeps the buffers unless they grew large.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        if self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
    }

    /// Everyone who gets any of the records: they get the MULTI and EXEC too.
    pub fn targets(&self) -> Targets {
        self.entries.iter().fold(Targets(0), |all, entry| all | entry.targets)
    }

    /// The database of the first record.
    pub fn first_db(&self) -> u32 {
        self.entries.first().map_or(0, |entry| entry.db)
    }

    /// The origin of the first record.
    pub fn origin(&self) -> Origin {
        self.entries.first().map_or(Origin::Client, |entry| entry.origin)
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let bytes = &self.bytes[start..entry.end];
            start = entry.end;
            Record { db: entry.db, targets: entry.targets, origin: entry.origin, bytes }
        })
    }
}
