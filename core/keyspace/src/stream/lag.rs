//! How far a group has read, counted in entries from the first that was ever added, and what is left for it. Pure
//! arithmetic over a stream's counters: deletions by name may hide the answer.

use keystead_rdb::{StreamCounters, StreamId};

use super::Stream;

/// How many entries a group has read isn't known.
pub const UNKNOWN_READS: i64 = -1;

/// Whether an entry from `from` on was deleted by name.
fn has_gap(counters: &StreamCounters, from: StreamId) -> bool {
    counters.length > 0
        && counters.max_deleted_id != StreamId::MIN
        && counters.first_id <= counters.max_deleted_id
        && from <= counters.max_deleted_id
}

/// The number of an entry among all that were ever added.
fn number_of(counters: &StreamCounters, id: StreamId) -> Option<i64> {
    let StreamCounters { length, last_id, first_id, max_deleted_id, entries_added } = *counters;
    if entries_added == 0 {
        return Some(0);
    }
    if id == last_id || length == 0 && id <= last_id {
        return Some(entries_added as i64);
    }
    let whole = max_deleted_id == StreamId::MIN || max_deleted_id < first_id;
    if id > last_id || !whole || id > first_id {
        return None;
    }
    let before = entries_added.wrapping_sub(length) as i64;
    Some(if id < first_id { before } else { before + 1 })
}

impl Stream {
    /// How many entries a group that was given `id` last has read, as far as that can be told.
    pub fn reads_up_to(&self, id: StreamId) -> i64 {
        number_of(&self.counters(), id).unwrap_or(UNKNOWN_READS)
    }

    /// A group's count of reads once it was given these entries, in order, beyond what it had.
    pub fn reads_after(&self, mut reads: i64, given: &[StreamId]) -> i64 {
        let counters = self.counters();
        for id in given {
            if reads != UNKNOWN_READS && !has_gap(&counters, *id) {
                reads = reads.wrapping_add(1);
            } else if counters.entries_added > 0 {
                reads = number_of(&counters, *id).unwrap_or(UNKNOWN_READS);
            }
        }
        reads
    }

    /// How many entries a group has still to read; none where that can't be told.
    pub fn lag(&self, last_id: StreamId, reads: i64) -> Option<i64> {
        let counters = self.counters();
        if counters.entries_added == 0 {
            return Some(0);
        }
        let known = reads != UNKNOWN_READS && !has_gap(&counters, last_id);
        let reads = if known { reads } else { number_of(&counters, last_id)? };
        Some((counters.entries_added as i64).wrapping_sub(reads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_at_the_ends_and_where_nothing_was_deleted_by_name() {
        let id = |ms| StreamId::new(ms, 0);
        let all = StreamCounters {
            length: 3,
            last_id: id(5),
            first_id: id(3),
            max_deleted_id: StreamId::MIN,
            entries_added: 5,
        };
        let deleted = StreamCounters { max_deleted_id: id(4), length: 2, ..all };
        let empty = StreamCounters { length: 0, first_id: StreamId::MIN, ..all };
        let cases = [
            (all, 0, Some(2)),
            (all, 3, Some(3)),
            (all, 4, None),
            (all, 5, Some(5)),
            (all, 6, None),
            (deleted, 0, None),
            (deleted, 3, None),
            (deleted, 5, Some(5)),
            (empty, 1, Some(5)),
            (empty, 6, None),
            (StreamCounters::default(), 7, Some(0)),
        ];
        for (counters, ms, expected) in cases {
            assert_eq!(number_of(&counters, id(ms)), expected, "{counters:?} {ms}");
        }
        assert!(has_gap(&deleted, id(4)) && !has_gap(&deleted, id(5)) && !has_gap(&all, id(1)));
    }
}
