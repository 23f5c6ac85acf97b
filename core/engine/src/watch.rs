//! WATCH: which session must not EXEC because which key changed. Owns the index from key to sessions.

use std::collections::BTreeMap;

use keystead_keyspace::Keyspace;

use crate::core::Core;
use crate::session::{SessionId, State, Watched};

/// One who watches a key.
#[derive(Clone, Copy)]
struct Watcher {
    session: SessionId,
    /// The key existed when this one began to.
    existed: bool,
}

/// Watched keys and who watches each, in the order of their ids.
#[derive(Default)]
pub struct WatchIndex(BTreeMap<(usize, Box<[u8]>), Vec<Watcher>>);

impl WatchIndex {
    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A session watches these keys no longer.
    fn forget(&mut self, session: SessionId, keys: Vec<Watched>) {
        for Watched { db, key, .. } in keys {
            let place = (db, key);
            let Some(watchers) = self.0.get_mut(&place) else { continue };
            if let Ok(at) = watchers.binary_search_by_key(&session, |watcher| watcher.session) {
                watchers.remove(at);
            }
            if watchers.is_empty() {
                self.0.remove(&place);
            }
        }
    }
}

impl State {
    fn take_watched(&mut self) -> Vec<Watched> {
        self.watched_bytes = 0;
        std::mem::take(&mut self.watched)
    }
}

impl Core {
    /// True if any key is watched.
    #[inline]
    pub(crate) fn watched_keys(&self) -> bool {
        !self.watch.0.is_empty()
    }

    /// A session begins to watch a key.
    pub(crate) fn watch_add(&mut self, state: &mut State, key: &[u8], existed: bool) {
        let (db, session) = (state.db, state.id);
        let watchers = self.watch.0.entry((db, key.into())).or_default();
        let Err(at) = watchers.binary_search_by_key(&session, |watcher| watcher.session) else { return };
        watchers.insert(at, Watcher { session, existed });
        state.watched.push(Watched { db, key: key.into(), existed });
        state.watched_bytes += size_of::<Watched>() + key.len();
    }

    /// It watches nothing any more.
    pub(crate) fn watch_clear(&mut self, state: &mut State) {
        state.dirty_cas = false;
        let watched = state.take_watched();
        self.watch.forget(state.id, watched);
    }

    /// A key changed. One that had expired already when it was watched, and now is deleted, didn't change for its watcher.
    pub(crate) fn watch_touched(&mut self, me: &mut State, db: usize, key: &[u8], expired: bool) {
        if self.watch.0.is_empty() {
            return;
        }
        let Some(watchers) = self.watch.0.get(&(db, Box::from(key))) else { return };
        let affected: Vec<Watcher> = watchers.iter().filter(|watcher| watcher.existed || !expired).copied().collect();
        self.fail_transactions(me, affected);
    }

    /// All keys of a database went away or were exchanged.
    pub(crate) fn watch_db_touched(&mut self, ks: &Keyspace, me: &mut State, db: usize, swapped: bool) {
        let mut affected: Vec<Watcher> = Vec::new();
        for ((_, key), watchers) in self.watch.0.iter().filter(|((at, _), _)| *at == db) {
            let exists = swapped && ks.glance(db, key).is_some();
            affected.extend(watchers.iter().filter(|watcher| exists || watcher.existed));
        }
        self.fail_transactions(me, affected);
    }

    /// Who can't EXEC any more needs no key watched: else each further change of one that thousands watch would ask all of them
    /// again.
    fn fail_transactions(&mut self, me: &mut State, watchers: Vec<Watcher>) {
        // The last one first: in the lists of other keys that they share each then stands at the end.
        for Watcher { session, .. } in watchers.into_iter().rev() {
            let mut watched = Vec::new();
            self.with_state(me, session, |state| {
                state.dirty_cas = true;
                watched = state.take_watched();
            });
            self.watch.forget(session, watched);
        }
    }

    /// The state of any session, the running one included.
    pub(crate) fn with_state(&mut self, me: &mut State, id: SessionId, change: impl FnOnce(&mut State)) {
        if me.id == id {
            change(me);
        } else if let Some(session) = self.sessions.get_mut(id) {
            change(&mut session.state);
        }
    }
}
