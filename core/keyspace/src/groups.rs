//! Groups of streams in which deleted consumers left something behind: which, and taking it out in steps. Owns no group and
//! changes nothing that a command could see.

use crate::keyspace::Keyspace;
use crate::object::Collection;
use crate::{DbIndex, Stream};

/// Where something was left behind. If the key is elsewhere meanwhile, the group's own changes have to do.
pub(crate) struct Untidy {
    db: DbIndex,
    key: Box<[u8]>,
    group: Box<[u8]>,
}

impl Keyspace {
    /// Remembers a group for [`Keyspace::tidy_groups`].
    pub fn tidy_later(&mut self, db: DbIndex, key: &[u8], group: &[u8]) {
        self.untidy.push(Untidy { db, key: key.into(), group: group.into() });
    }

    /// Takes out up to `most` pending entries of deleted consumers; true if there may be more.
    pub fn tidy_groups(&mut self, most: usize) -> bool {
        let Some(last) = self.untidy.pop() else { return false };
        if self.tidy_group(&last, most) {
            self.untidy.push(last);
        }
        !self.untidy.is_empty()
    }

    fn tidy_group(&mut self, untidy: &Untidy, most: usize) -> bool {
        let table = &self.dbs[untidy.db].table;
        let Some(at) = table.find(table.hash(&untidy.key), &untidy.key) else { return false };
        if table.entry(at).object().and_then(Stream::of).is_none() {
            return false;
        }
        self.before_write(untidy.db, at);
        let db = &mut self.dbs[untidy.db];
        let entry = db.table.entry_mut(at);
        let before = entry.object_bytes();
        let stream = entry.object_mut().and_then(Stream::of_mut);
        let more = stream.is_some_and(|stream| stream.tidy_group(&untidy.group, most));
        db.value_bytes = db.value_bytes + db.table.entry(at).object_bytes() - before;
        more
    }
}
