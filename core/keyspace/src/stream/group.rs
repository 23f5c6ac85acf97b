//! Groups of consumers: what was delivered and waits for its acknowledgement. Every pending entry is in the group's tree,
//! with its owner's name, and its id is in the owner's: the two are only changed together, here. Knows no entries.

use std::sync::Arc;

use keystead_rdb::StreamId;

use super::Stream;
use super::departed::{AT_ONCE, Departed};
use crate::tree::{Item, Iter, Tree};

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The entry's id.
    pub id: StreamId,
    /// When it was delivered last, Unix ms.
    pub delivered_ms: i64,
    /// How often.
    pub deliveries: u64,
    pub(super) owner: Arc<[u8]>,
}

/// One who reads for a group.
#[derive(Clone)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// When it last tried to get something, Unix ms.
    pub seen_ms: i64,
    /// When it last got something; -1 never.
    pub active_ms: i64,
    pub(super) owned: Tree<StreamId>,
}

/// Consumers that share a stream's entries among them.
#[derive(Clone)]
pub struct Group {
    name: Arc<[u8]>,
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries were read, or [`super::UNKNOWN_READS`].
    pub entries_read: i64,
    pub(super) pending: Tree<Pending>,
    pub(super) consumers: Tree<Consumer>,
    pub(super) departed: Departed,
}

/// What is left of a deleted consumer.
pub struct Deleted {
    /// How many entries it had pending.
    pub pending: usize,
    /// True while some of those are to be taken out by [`Keyspace::tidy_groups`](crate::Keyspace::tidy_groups).
    pub unfinished: bool,
    /// What has to be freed, and may be much.
    pub rest: Group,
}

impl Item for StreamId {
    type Key = StreamId;
    fn key(&self) -> &StreamId {
        self
    }
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Item for Pending {
    type Key = StreamId;
    fn key(&self) -> &StreamId {
        &self.id
    }
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A name behind a shared pointer, with its counts.
fn name_bytes(name: &Arc<[u8]>) -> usize {
    name.len() + 2 * size_of::<usize>()
}

impl Item for Consumer {
    type Key = Arc<[u8]>;
    fn key(&self) -> &Arc<[u8]> {
        &self.name
    }
    fn heap_bytes(&self) -> usize {
        name_bytes(&self.name) + self.owned.mem_bytes()
    }
}

impl Item for Group {
    type Key = Arc<[u8]>;
    fn key(&self) -> &Arc<[u8]> {
        &self.name
    }
    fn heap_bytes(&self) -> usize {
        let pending = self.pending.mem_bytes() + self.departed.mem_bytes();
        name_bytes(&self.name) + pending + self.consumers.mem_bytes()
    }
}

impl Pending {
    /// Who has it.
    pub fn owner(&self) -> &[u8] {
        &self.owner
    }
}

impl Consumer {
    pub(super) fn new(name: &[u8], seen_ms: i64) -> Self {
        Self { name: name.into(), seen_ms, active_ms: -1, owned: Tree::new() }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries it has to acknowledge.
    pub fn pending(&self) -> usize {
        self.owned.len()
    }

    /// The ids of those, from one on.
    pub fn owned_from(&self, id: StreamId) -> Iter<'_, StreamId> {
        self.owned.iter_from(self.owned.rank_where(|owned| *owned < id))
    }
}

impl Group {
    pub(super) fn new(name: &[u8], last_id: StreamId, entries_read: i64) -> Self {
        let (pending, consumers) = (Tree::new(), Tree::new());
        Self { name: name.into(), last_id, entries_read, pending, consumers, departed: Departed::default() }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries wait for their acknowledgement.
    pub fn pending(&self) -> usize {
        self.pending.len() - self.departed.hidden()
    }

    /// The pending entry of an id.
    pub fn pending_at(&self, id: StreamId) -> Option<&Pending> {
        self.pending.find(|key| key.cmp(&id)).filter(|pending| !self.departed.hides(pending))
    }

    /// Pending entries from an id on.
    pub fn pending_from(&self, id: StreamId) -> impl Iterator<Item = &Pending> {
        let all = self.pending.iter_from(self.pending.rank_where(|key| *key < id));
        all.filter(|pending| !self.departed.hides(pending))
    }

    /// The ids of the first and the last pending entry.
    pub fn pending_span(&self) -> Option<(StreamId, StreamId)> {
        if self.departed.is_empty() {
            let last = self.pending.get(self.pending.len().checked_sub(1)?)?;
            return Some((self.pending.get(0)?.id, last.id));
        }
        // Not from the tree, where the first that isn't hidden may be far.
        let owned = || self.consumers.iter().map(|consumer| &consumer.owned);
        let last = owned().filter_map(|ids| ids.get(ids.len().wrapping_sub(1))).max();
        Some((*owned().filter_map(|ids| ids.get(0)).min()?, *last?))
    }

    /// Its consumers, by name.
    pub fn consumers(&self) -> Iter<'_, Consumer> {
        self.consumers.iter()
    }

    /// How many there are.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// One consumer.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.find(|key| key.as_ref().cmp(name))
    }

    /// Makes a consumer; false if there is one of that name.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: i64) -> bool {
        let new = self.consumer(name).is_none();
        if new {
            self.consumers.insert_by(|key| key.as_ref().cmp(name), Consumer::new(name, now_ms));
        }
        new
    }

    /// Deletes a consumer and its pending entries. At most 256 of those leave the tree at once, the rest later in steps.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<Deleted> {
        let mut rest = Group::new(&self.name, self.last_id, self.entries_read);
        let consumer = self.consumers.remove_by(|key| key.as_ref().cmp(name))?;
        let pending = consumer.pending();
        if pending == self.pending() {
            rest.pending = std::mem::take(&mut self.pending);
            rest.departed = std::mem::take(&mut self.departed);
        } else if pending <= AT_ONCE {
            consumer.owned.iter().for_each(|id| drop(self.pending.remove_by(|key| key.cmp(id))));
        } else {
            self.departed.add(&consumer);
            self.tidy(AT_ONCE);
        }
        rest.consumers.push_back(consumer);
        Some(Deleted { pending, unfinished: !self.departed.is_empty(), rest })
    }

    /// Changes a consumer, but not its name nor what it owns.
    pub fn change_consumer(&mut self, name: &[u8], change: impl FnOnce(&mut Consumer)) -> bool {
        self.consumers.update_by(|key| key.as_ref().cmp(name), change)
    }

    /// Gives entries to a consumer that exists: for the first time, or as if it were.
    pub fn deliver(&mut self, name: &[u8], ids: &[StreamId], now_ms: i64) {
        for id in ids {
            self.assign(name, *id, now_ms, |_| 1);
        }
        self.change_consumer(name, |consumer| consumer.active_ms = now_ms);
    }

    /// Makes a consumer that exists the owner of a pending entry, which need not be one yet (`deliveries` is asked with 0
    /// then). Answers how often it was delivered.
    pub fn assign(
        &mut self,
        name: &[u8],
        id: StreamId,
        delivered_ms: i64,
        deliveries: impl FnOnce(u64) -> u64,
    ) -> Option<u64> {
        let owner = Arc::clone(self.consumer(name)?.key());
        let old = self.pending_at(id).map(|pending| (Arc::clone(&pending.owner), pending.deliveries));
        let deliveries = deliveries(old.as_ref().map_or(0, |(_, deliveries)| *deliveries));
        let pending = Pending { id, delivered_ms, deliveries, owner: Arc::clone(&owner) };
        if let Some(hidden) = self.pending.upsert_by(|key| key.cmp(&id), pending).filter(|_| old.is_none()) {
            self.departed.forget(&hidden);
        }
        let old_owner = old.map(|(owner, _)| owner);
        if old_owner.as_ref() != Some(&owner) {
            if let Some(old) = old_owner {
                self.disown(&old, id);
            }
            self.change_consumer(name, |consumer| consumer.owned.insert_by(|key| key.cmp(&id), id));
        }
        Some(deliveries)
    }

    /// Says that a pending entry of a consumer was delivered once more.
    pub fn deliver_again(&mut self, id: StreamId, now_ms: i64) {
        self.pending.update_by(
            |key| key.cmp(&id),
            |pending| {
                pending.delivered_ms = now_ms;
                pending.deliveries = pending.deliveries.wrapping_add(1);
            },
        );
    }

    /// An entry is pending no longer; answers what it was.
    pub fn acknowledge(&mut self, id: StreamId) -> Option<Pending> {
        self.pending_at(id)?;
        let pending = self.pending.remove_by(|key| key.cmp(&id))?;
        self.disown(&pending.owner, id);
        Some(pending)
    }

    fn disown(&mut self, name: &[u8], id: StreamId) {
        self.change_consumer(name, |consumer| _ = consumer.owned.remove_by(|key| key.cmp(&id)));
    }
}

impl Stream {
    /// A group.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.find(|key| key.as_ref().cmp(name))
    }

    /// All groups, by name.
    pub fn groups(&self) -> Iter<'_, Group> {
        self.groups.iter()
    }

    /// How many there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Makes a group; false if there is one of that name.
    pub fn create_group(&mut self, name: &[u8], last_id: StreamId, entries_read: i64) -> bool {
        self.add_group(Group::new(name, last_id, entries_read))
    }

    pub(super) fn add_group(&mut self, group: Group) -> bool {
        let name = Arc::clone(&group.name);
        let new = self.group(&name).is_none();
        if new {
            self.groups.insert_by(|key| key.as_ref().cmp(&name), group);
        }
        new
    }

    /// Deletes a group and gives it away, for it may be big.
    pub fn destroy_group(&mut self, name: &[u8]) -> Option<Group> {
        self.groups.remove_by(|key| key.as_ref().cmp(name))
    }

    /// Changes a group, but not its name.
    pub fn change_group<R>(&mut self, name: &[u8], change: impl FnOnce(&mut Group) -> R) -> Option<R> {
        let mut result = None;
        let change = |group: &mut Group| {
            result = Some(change(group));
            group.tidy_a_little();
        };
        self.groups.update_by(|key| key.as_ref().cmp(name), change);
        result
    }

    /// Takes out of a group's tree up to `most` entries of deleted consumers; true if more are left.
    pub(crate) fn tidy_group(&mut self, name: &[u8], most: usize) -> bool {
        let mut more = false;
        self.groups.update_by(|key| key.as_ref().cmp(name), |group| more = group.tidy(most));
        more
    }
}
