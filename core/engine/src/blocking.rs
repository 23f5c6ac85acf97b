//! Sessions that wait for keys. Owns who waits for which key since when; the turn that makes a key ready runs the same
//! command again for the first in the queue (as Redis 7.2 does), so that no handler has a second form. Thousands may wait for
//! one key: to come, to be served and to go costs each of them no look at the others.

use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Included};

use keystead_keyspace::KeyType;

use crate::args::OwnedArgs;
use crate::registry::Command;
use crate::session::SessionId;

/// What is answered where nothing may wait (inside MULTI). After a real wait it is always a null array, as in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// `$-1`
    Null,
    /// `*-1`
    NullArray,
}

/// What a handler asks for.
#[derive(Clone, Debug)]
pub(crate) struct ParkRequest {
    pub keys: Vec<Box<[u8]>>,
    /// 0: for ever.
    pub timeout_ms: u64,
    /// What to run again, where that isn't what was sent.
    pub args: Option<OwnedArgs>,
}

/// A waiting command.
pub struct Wait {
    /// What to run again.
    pub command: &'static Command,
    /// Its arguments.
    pub args: OwnedArgs,
    /// Its database.
    pub db: usize,
    /// The keys, any of which will do.
    pub keys: Vec<Box<[u8]>>,
    /// When to give up, in ms of the clock that never jumps; None never.
    pub deadline_ms: Option<u64>,
    /// Its place in the order of all who wait.
    since: u64,
    /// What the keys take, here and in the queues.
    key_bytes: usize,
}

/// What a key takes beside its bytes, which are there twice: its place in the wait, its queue, and room for those in it.
const KEY: usize = size_of::<Box<[u8]>>() + size_of::<(Key, Queue)>() + 4 * size_of::<(u64, SessionId)>();

impl Wait {
    /// A wait of a command for any of its keys.
    pub(crate) fn new(
        command: &'static Command,
        args: OwnedArgs,
        db: usize,
        request: ParkRequest,
        now_ms: u64,
    ) -> Self {
        let ParkRequest { keys, timeout_ms, .. } = request;
        let deadline_ms = (timeout_ms > 0).then(|| now_ms.saturating_add(timeout_ms));
        let key_bytes = keys.iter().map(|key| 2 * key.len() + KEY).sum();
        Wait { command, args, db, keys, deadline_ms, since: 0, key_bytes }
    }

    /// It is over too when its key is deleted.
    fn is_for_loss(&self) -> bool {
        self.command.name == "xreadgroup"
    }

    /// Bytes that the wait takes.
    pub(crate) fn memory(&self) -> usize {
        self.args.memory() + self.key_bytes
    }
}

/// A database and a key in it.
pub(crate) type Key = (usize, Box<[u8]>);

/// Who waits for a key, in the order in which they came.
#[derive(Default)]
struct Queue {
    waiting: BTreeMap<u64, SessionId>,
    /// How many of them want to know of its deletion too.
    for_loss: usize,
}

/// Queues by database and key, and deadlines.
#[derive(Default)]
pub struct Blocking {
    queues: BTreeMap<usize, BTreeMap<Box<[u8]>, Queue>>,
    /// Who came last.
    newest: u64,
    deadlines: BTreeSet<(u64, SessionId)>,
    /// Keys that changed while somebody waits for them, in order, each once; as what they came into being last is noted.
    ready: VecDeque<Key>,
    came: BTreeMap<Key, Option<KeyType>>,
    waiting: usize,
    /// How often somebody looked for who waits next.
    looks: Cell<u64>,
}

impl Blocking {
    /// True if nobody waits: nothing needs observing.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// How many sessions wait for keys.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How often somebody looked for who waits next, since the start: what serving keys cost.
    pub fn looks(&self) -> u64 {
        self.looks.get()
    }

    /// How many of them will give up some time.
    pub fn with_deadline(&self) -> usize {
        self.deadlines.len()
    }

    /// How many keys somebody waits for.
    pub fn keys(&self) -> usize {
        self.queues.values().map(BTreeMap::len).sum()
    }

    /// A session begins to wait, behind those who wait already.
    pub fn add(&mut self, id: SessionId, wait: &mut Wait) {
        self.waiting += 1;
        self.newest += 1;
        wait.since = self.newest;
        let queues = self.queues.entry(wait.db).or_default();
        for key in &wait.keys {
            let queue = queues.entry(key.clone()).or_default();
            // A key may be named twice.
            if queue.waiting.insert(wait.since, id).is_none() {
                queue.for_loss += usize::from(wait.is_for_loss());
            }
        }
        if let Some(at) = wait.deadline_ms {
            self.deadlines.insert((at, id));
        }
    }

    /// It waits no longer.
    pub fn remove(&mut self, id: SessionId, wait: &Wait) {
        self.waiting -= 1;
        if let Some(queues) = self.queues.get_mut(&wait.db) {
            for key in &wait.keys {
                let Some(queue) = queues.get_mut(key) else { continue };
                if queue.waiting.remove(&wait.since).is_some() {
                    queue.for_loss -= usize::from(wait.is_for_loss());
                }
                if queue.waiting.is_empty() {
                    queues.remove(key);
                }
            }
            if queues.is_empty() {
                self.queues.remove(&wait.db);
            }
        }
        if let Some(at) = wait.deadline_ms {
            self.deadlines.remove(&(at, id));
        }
    }

    /// A deadline without keys (sessions that wait for a plugin don't have one here; CLIENT PAUSE has its own).
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next session whose time is up.
    pub fn pop_expired(&mut self, now_ms: u64) -> Option<SessionId> {
        let first = *self.deadlines.first()?;
        (first.0 <= now_ms).then(|| {
            self.deadlines.remove(&first);
            first.1
        })
    }

    fn waiters(&self, db: usize, key: &[u8]) -> Option<&Queue> {
        self.queues.get(&db)?.get(key)
    }

    /// A key changed, or came into being, as whatever `came` says: if somebody waits for it, it will be served.
    pub fn touched(&mut self, db: usize, key: &[u8], came: impl FnOnce() -> Option<KeyType>) {
        if self.waiters(db, key).is_none() {
            return;
        }
        match self.came.entry((db, key.into())) {
            Entry::Occupied(mut known) => *known.get_mut() = came().or(*known.get()),
            Entry::Vacant(new) => {
                self.ready.push_back(new.key().clone());
                new.insert(came());
            }
        }
    }

    /// Two databases changed places: every key waited for in them may be ready now.
    pub fn touch_db(&mut self, db: usize, kind: impl Fn(&[u8]) -> Option<KeyType>) {
        let keys: Vec<Box<[u8]>> = self.queues.get(&db).into_iter().flat_map(BTreeMap::keys).cloned().collect();
        for key in keys {
            self.touched(db, &key, || kind(&key));
        }
    }

    /// The next key to serve, and as what it came into being, if it did.
    pub(crate) fn pop_ready(&mut self) -> Option<(Key, Option<KeyType>)> {
        let key = self.ready.pop_front()?;
        let came = self.came.remove(&key).flatten();
        Some((key, came))
    }

    /// True if some key must be served.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The place of who came last.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Who waits for a key next behind one place and up to another.
    pub(crate) fn next_waiting(&self, (db, key): &Key, behind: u64, last: u64) -> Option<(u64, SessionId)> {
        self.looks.set(self.looks.get() + 1);
        let waiting = &self.waiters(*db, key).filter(|_| behind < last)?.waiting;
        waiting.range((Excluded(behind), Included(last))).next().map(|(since, id)| (*since, *id))
    }

    /// Somebody waits for the deletion of a key too.
    pub(crate) fn wants_loss(&self, (db, key): &Key) -> bool {
        self.waiters(*db, key).is_some_and(|queue| queue.for_loss > 0)
    }
}
