//! ACL LOG: what was refused lately, to whom. Owns a bounded list; a repeated refusal is counted, not listed again.

use std::collections::VecDeque;

/// Refusals of the same kind within this time count as one entry.
const SAME_WITHIN_MS: u64 = 60_000;
/// So many entries are looked at for one of the same kind.
const LOOK_AT: usize = 10;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How often.
    pub count: u64,
    /// `command`, `key`, `channel`, `auth`.
    pub reason: &'static str,
    /// `toplevel`, `multi`, `lua`, `module`.
    pub context: &'static str,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// Who was refused, or tried to get in.
    pub user: Vec<u8>,
    /// The client's line of CLIENT LIST.
    pub client: String,
    /// Counts up, never reused.
    pub id: u64,
    /// Milliseconds since the epoch of the first …
    pub created_ms: u64,
    /// … and of the last.
    pub updated_ms: u64,
}

/// What happened, before it is an entry.
pub struct Event<'a> {
    /// See `Entry`.
    pub reason: &'static str,
    /// See `Entry`.
    pub context: &'static str,
    /// See `Entry`.
    pub object: &'a [u8],
    /// See `Entry`.
    pub user: &'a [u8],
    /// See `Entry`.
    pub client: String,
}

/// The log, newest first.
#[derive(Debug)]
pub struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
    max_len: usize,
}

impl Default for Log {
    fn default() -> Self {
        Log { entries: VecDeque::new(), next_id: 0, max_len: 128 }
    }
}

impl Log {
    /// Adds a refusal.
    pub fn add(&mut self, event: Event<'_>, now_ms: u64) {
        let same = |entry: &Entry| {
            entry.reason == event.reason
                && entry.context == event.context
                && entry.object == event.object
                && entry.user == event.user
                && now_ms.saturating_sub(entry.updated_ms) <= SAME_WITHIN_MS
        };
        if let Some(at) = self.entries.iter().take(LOOK_AT).position(same)
            && let Some(mut entry) = self.entries.remove(at)
        {
            entry.count += 1;
            (entry.updated_ms, entry.client) = (now_ms, event.client);
            return self.entries.push_front(entry);
        }
        self.entries.push_front(Entry {
            count: 1,
            reason: event.reason,
            context: event.context,
            object: event.object.to_vec(),
            user: event.user.to_vec(),
            client: event.client,
            id: self.next_id,
            created_ms: now_ms,
            updated_ms: now_ms,
        });
        self.next_id += 1;
        self.entries.truncate(self.max_len);
    }

    /// Newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// `acllog-max-len`
    pub fn set_max_len(&mut self, max_len: usize) {
        self.max_len = max_len;
        self.entries.truncate(max_len);
    }

    /// ACL LOG RESET.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
