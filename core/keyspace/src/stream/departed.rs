//! Consumers that were deleted with very much pending. What they had is in the group's tree still, hidden from that moment
//! on, and is taken out in small steps: with each later change of the group, and from [`Keyspace::tidy_groups`](crate::Keyspace::tidy_groups).
//!
//! An entry is hidden because its owner is in this list, not by a mark in it: a cut that shares the tree's nodes has a list
//! of its own. Owners are told apart by their pointers, for a new consumer may have an old one's name.

use std::sync::Arc;

use keystead_rdb::StreamId;

use super::group::{Consumer, Group, Pending};
use crate::tree::{Item, Tree};

/// So many pending entries go when their consumer does.
pub(super) const AT_ONCE: usize = if cfg!(test) { 5 } else { 256 };
/// So many of those that are left go with each change of their group.
const EACH_CHANGE: usize = if cfg!(test) { 1 } else { 16 };

/// One of them.
#[derive(Clone)]
struct Gone {
    owner: Arc<[u8]>,
    /// What may still be in the group's tree under its name.
    owned: Tree<StreamId>,
    /// How many of those are.
    hidden: usize,
}

/// All of a group.
#[derive(Clone, Default)]
pub(super) struct Departed(Vec<Gone>);

impl Departed {
    fn owner(&self, owner: &Arc<[u8]>) -> Option<usize> {
        self.0.iter().position(|gone| Arc::ptr_eq(&gone.owner, owner))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn hides(&self, pending: &Pending) -> bool {
        !self.0.is_empty() && self.owner(&pending.owner).is_some()
    }

    /// How many entries of the tree are hidden.
    pub(super) fn hidden(&self) -> usize {
        self.0.iter().map(|gone| gone.hidden).sum()
    }

    /// A hidden entry was replaced or taken out of the tree; false if it wasn't hidden.
    pub(super) fn forget(&mut self, pending: &Pending) -> bool {
        let found = self.owner(&pending.owner);
        if let Some(i) = found {
            self.0[i].hidden -= 1;
        }
        found.is_some()
    }

    pub(super) fn mem_bytes(&self) -> usize {
        self.0.iter().map(|gone| size_of::<Gone>() + gone.owned.mem_bytes()).sum()
    }

    pub(super) fn add(&mut self, consumer: &Consumer) {
        let (owner, owned) = (Arc::clone(consumer.key()), consumer.owned.clone());
        self.0.push(Gone { owner, hidden: owned.len(), owned });
    }

    /// The next ids to look at, not more than `most`.
    fn take(&mut self, most: usize) -> Option<Vec<StreamId>> {
        let gone = self.0.last_mut()?;
        let ids: Vec<StreamId> = gone.owned.iter().take(most).copied().collect();
        gone.owned.keep_range(ids.len(), gone.owned.len());
        Some(ids)
    }
}

impl Group {
    /// What each change of a group does for those that are left.
    pub(super) fn tidy_a_little(&mut self) {
        if !self.departed.is_empty() {
            self.tidy(EACH_CHANGE);
        }
    }

    /// Takes out of the tree up to `most` entries of consumers that are gone; false when none is left.
    pub(super) fn tidy(&mut self, most: usize) -> bool {
        let Some(ids) = self.departed.take(most) else { return false };
        for id in ids {
            let there = self.pending.find(|key| key.cmp(&id));
            // Given to another one meanwhile, it is none of ours.
            if there.is_some_and(|pending| self.departed.forget(pending)) {
                self.pending.remove_by(|key| key.cmp(&id));
            }
        }
        self.departed.0.retain(|gone| !gone.owned.is_empty());
        !self.departed.is_empty()
    }
}
