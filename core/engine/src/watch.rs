//! WATCH: which session must not EXEC because which key changed. Owns the index from key to sessions.

use std::collections::BTreeMap;

use keystead_keyspace::Keyspace;

use crate::core::Core;
use crate::session::{SessionId, State, Watched};

/// Watched keys and who watches them.
#[derive(Default)]
pub struct WatchIndex(BTreeMap<(usize, Box<[u8]>), Vec<SessionId>>);

impl WatchIndex {
    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let db = state.db;
        if state.watched.iter().any(|watched| watched.db == db && *watched.key == *key) {
            return;
        }
        state.watched.push(Watched { db, key: key.into(), existed });
        state.watched_bytes += size_of::<Watched>() + key.len();
        self.watch.0.entry((db, key.into())).or_default().push(state.id);
    }

    /// It watches nothing any more.
    pub(crate) fn watch_clear(&mut self, state: &mut State) {
        state.dirty_cas = false;
        state.watched_bytes = 0;
        for watched in std::mem::take(&mut state.watched) {
            let place = (watched.db, watched.key);
            if let Some(list) = self.watch.0.get_mut(&place) {
                list.retain(|id| *id != state.id);
                if list.is_empty() {
                    self.watch.0.remove(&place);
                }
            }
        }
    }

    /// A key changed. One that had expired already when it was watched, and now is deleted, didn't change for its watcher.
    pub(crate) fn watch_touched(&mut self, me: &mut State, db: usize, key: &[u8], expired: bool) {
        if self.watch.0.is_empty() {
            return;
        }
        let Some(list) = self.watch.0.get(&(db, Box::from(key))) else { return };
        for id in list.clone() {
            self.with_state(me, id, |state| {
                let existed = |watched: &Watched| watched.db == db && *watched.key == *key && watched.existed;
                if !expired || state.watched.iter().any(existed) {
                    state.dirty_cas = true;
                }
            });
        }
    }

    /// All keys of a database went away or were exchanged.
    pub(crate) fn watch_db_touched(&mut self, ks: &Keyspace, me: &mut State, db: usize, swapped: bool) {
        let affected: Vec<(Box<[u8]>, Vec<SessionId>)> = self
            .watch
            .0
            .iter()
            .filter(|((at, _), _)| *at == db)
            .map(|((_, key), list)| (key.clone(), list.clone()))
            .collect();
        for (key, list) in affected {
            let exists = swapped && ks.glance(db, &key).is_some();
            for id in list {
                self.with_state(me, id, |state| {
                    let hit = |watched: &Watched| watched.db == db && watched.key == key && watched.existed;
                    if exists || state.watched.iter().any(hit) {
                        state.dirty_cas = true;
                    }
                });
            }
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
