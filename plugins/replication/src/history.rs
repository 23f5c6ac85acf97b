//! Which history this node's data belongs to: its replid, and the second one it may still answer for.
//!
//! Owns the rules by which ids change (start, promotion, full and partial resync). The byte offset itself lives in
//! the core's journal and is handed in; nothing here looks at a socket or a clock.

use crate::units::{Offset, Position, ReplId};

/// The previous history and the first offset that is no longer part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// The id of the previous history.
    pub replid: ReplId,
    /// `second_repl_offset`: a replica of the previous history may ask for bytes up to and including this one.
    pub limit: Offset,
}

/// The ids under which this node's stream is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The current history.
    pub replid: ReplId,
    /// The one before it, while it is still a prefix of the current.
    pub second: Option<Second>,
}

impl History {
    /// A history nobody has seen before.
    pub fn fresh(replid: ReplId) -> History {
        History { replid, second: None }
    }

    /// A node that starts as primary with recovered data: a new id, always, with the recovered one as second,
    /// valid up to the recovered offset. Replicas may hold more of the old history than was recovered, and
    /// must not be told that they agree.
    pub fn restarted_as_primary(recovered: Option<Position>, fresh: ReplId) -> History {
        let second = recovered.map(|at| Second { replid: at.replid, limit: at.offset.plus(1) });
        History { replid: fresh, second }
    }

    /// REPLICAOF NO ONE at `at`: what follows is ours, what came before stays answerable under the old id.
    pub fn promote(&mut self, at: Offset, fresh: ReplId) {
        self.second = Some(Second { replid: self.replid, limit: at.plus(1) });
        self.replid = fresh;
    }

    /// A full resync: everything known before is gone.
    pub fn adopt_full(&mut self, replid: ReplId) {
        *self = History::fresh(replid);
    }

    /// `+CONTINUE [replid]` at `at`. Returns whether the id changed (then sub-replicas must be told, by
    /// disconnecting them, as Redis does).
    pub fn adopt_continue(&mut self, replid: Option<ReplId>, at: Offset) -> bool {
        match replid {
            Some(new) if new != self.replid => {
                self.promote(at, new);
                true
            }
            _ => false,
        }
    }

    /// The backlog was dropped or made anew: no replica may assume anything about bytes that nobody kept.
    pub fn forget(&mut self, fresh: ReplId) {
        *self = History::fresh(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(c: u8) -> ReplId {
        ReplId::parse(&[c; 40]).expect("forty letters")
    }

    #[test]
    fn promotion_keeps_the_old_id_up_to_the_next_byte() {
        let mut h = History::fresh(id(b'a'));
        h.promote(Offset(100), id(b'b'));
        assert_eq!(h.replid, id(b'b'));
        assert_eq!(h.second, Some(Second { replid: id(b'a'), limit: Offset(101) }));
        h.promote(Offset(150), id(b'c'));
        assert_eq!(h.second, Some(Second { replid: id(b'b'), limit: Offset(151) }), "only one step back is kept");
    }

    #[test]
    fn a_full_resync_forgets_both_ids() {
        let mut h = History::fresh(id(b'a'));
        h.promote(Offset(7), id(b'b'));
        h.adopt_full(id(b'c'));
        assert_eq!(h, History::fresh(id(b'c')));
    }

    #[test]
    fn continue_shifts_only_when_the_id_is_new() {
        let mut h = History::fresh(id(b'a'));
        assert!(!h.adopt_continue(None, Offset(5)));
        assert!(!h.adopt_continue(Some(id(b'a')), Offset(5)));
        assert_eq!(h, History::fresh(id(b'a')));
        assert!(h.adopt_continue(Some(id(b'b')), Offset(5)));
        assert_eq!(h.second, Some(Second { replid: id(b'a'), limit: Offset(6) }));
    }

    #[test]
    fn a_restarted_primary_never_keeps_its_id() {
        let at = Position { replid: id(b'a'), offset: Offset(40) };
        let h = History::restarted_as_primary(Some(at), id(b'b'));
        assert_eq!(h.replid, id(b'b'));
        assert_eq!(h.second, Some(Second { replid: id(b'a'), limit: Offset(41) }));
        assert_eq!(History::restarted_as_primary(None, id(b'b')), History::fresh(id(b'b')));
    }
}
