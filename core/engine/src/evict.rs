//! `maxmemory`: whether there is room for one more command, and making it. Owns what counts as used memory and how much is
//! evicted at a time; which key goes is the keyspace's choice. Each evicted key is a unit of its own in the journal.

use std::sync::atomic::Ordering;

use keystead_keyspace::{ExpiryMode, Gone, Keyspace, Lfu, Policy};

use crate::config::Config;
use crate::core::Core;
use crate::exec;
use crate::gates::Gate;
use crate::session::State;

/// What configuration says about memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    /// `maxmemory`, bytes; 0: none.
    pub max: u64,
    /// `maxmemory-policy`
    pub policy: Policy,
    samples: usize,
    /// Keys that one command may wait for; the rest go later (`maxmemory-eviction-tenacity`).
    at_once: usize,
    /// `replica-ignore-maxmemory`
    replica_ignores: bool,
    /// The words in which deletions leave for replicas.
    pub lazy_eviction: bool,
    /// See `lazy_eviction`.
    pub lazy_expire: bool,
    /// See `lazy_eviction`.
    pub lazy_server_del: bool,
    lfu: Option<Lfu>,
}

impl Limit {
    /// Reads the parameters.
    pub(crate) fn of(config: &Config) -> Limit {
        let number = |name: &str| u64::try_from(config.int(name)).unwrap_or(0);
        let yes = |name: &str| config.get(name).as_deref() == Some("yes");
        let policy = Policy::parse(&config.get("maxmemory-policy").unwrap_or_default()).unwrap_or_default();
        let lfu = Lfu { log_factor: number("lfu-log-factor"), decay_minutes: number("lfu-decay-time") };
        Limit {
            max: number("maxmemory"),
            policy,
            samples: number("maxmemory-samples").max(1) as usize,
            at_once: match number("maxmemory-eviction-tenacity") {
                tenacity @ 0..100 => 16 + 8 * tenacity as usize,
                _ => usize::MAX,
            },
            replica_ignores: yes("replica-ignore-maxmemory"),
            lazy_eviction: yes("lazyfree-lazy-eviction"),
            lazy_expire: yes("lazyfree-lazy-expire"),
            lazy_server_del: yes("lazyfree-lazy-server-del"),
            lfu: policy.lfu().then_some(lfu),
        }
    }

    /// Tells the keyspace what to count.
    pub(crate) fn apply(&self, ks: &mut Keyspace) {
        ks.set_lfu(self.lfu);
        ks.set_policy(self.policy);
    }
}

/// What the engine remembers from check to check.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// Used memory, but for what jobs held, and the keyspace's bytes when the open cut was first seen.
    at_cut: Option<(u64, u64)>,
    /// Nothing was left to evict: commands that need memory are refused.
    pub(crate) out: bool,
    /// Evicting goes on at the next tick.
    pub(crate) more: bool,
}

/// Bytes that are in use and can't be made less by evicting: the journal beyond what is kept anyway (readers pin it, and
/// evicting only adds to it), values and clients on their way to be freed, what jobs hold, and what an open cut copied.
pub(crate) fn not_counted(ks: &Keyspace, core: &Core, used: u64) -> u64 {
    beside_data(ks, core, used, elsewhere(core))
}

fn beside_data(ks: &Keyspace, core: &Core, used: u64, elsewhere: u64) -> u64 {
    let known = core.journal.memory().saturating_sub(core.journal.backlog_size().unwrap_or(0))
        + ks.garbage_bytes() as u64
        + core.leaving
        + elsewhere;
    let copies = core.room.at_cut.map_or(0, |(used_then, bytes_then)| {
        // While a cut is read only the data's own growth counts.
        let expected = (used_then + ks.mem_bytes() as u64).saturating_sub(bytes_then);
        used.saturating_sub(known).saturating_sub(expected)
    });
    known + copies
}

/// What other threads have in hand: batches on their way to a file or a replica, and values that they are freeing. Redis
/// has the first in its child, and frees before it answers what it doesn't leave to a thread.
fn elsewhere(core: &Core) -> u64 {
    core.jobs_bytes.load(Ordering::Relaxed) + core.stats.lazyfree.pending_bytes.load(Ordering::Relaxed)
}

/// Bytes beyond `maxmemory`.
fn excess(ks: &Keyspace, core: &Core) -> u64 {
    let max = core.config.live.memory.max;
    if crate::commands::info::used_memory(ks, core) <= max {
        return 0;
    }
    // Other threads take and free meanwhile: what they held before or behind the count may be in it.
    let before = elsewhere(core);
    let used = crate::commands::info::used_memory(ks, core);
    let others = before.max(elsewhere(core));
    (used - beside_data(ks, core, used, others).min(used)).saturating_sub(max)
}

/// Data is on its way in, or two sets of it are held at once. What a file tells is all needed until its last line is
/// executed: a key that went earlier would come back with what is told of it later, and nobody writes down that it went.
fn loads(core: &Core) -> bool {
    [Gate::Loading, Gate::AsyncLoading, Gate::Starting].iter().any(|gate| core.gates.is(*gate))
}

/// Makes room before a command; afterwards `core.room.out` says whether commands that need memory are refused. `me` and
/// `out` are the session's whose command it is: it may watch or cache a key that goes.
pub(crate) fn make_room(ks: &mut Keyspace, core: &mut Core, me: &mut State) {
    core.room.at_cut = match ks.has_cut() {
        false => None,
        true => {
            let used = || crate::commands::info::used_memory(ks, core).saturating_sub(elsewhere(core));
            let now = || (used(), ks.mem_bytes() as u64);
            Some(core.room.at_cut.unwrap_or_else(now))
        }
    };
    (core.room.out, core.room.more) = (false, false);
    let limit = core.config.live.memory;
    let ignored = core.gates.is(Gate::Replica) && limit.replica_ignores || loads(core);
    let mut to_free = excess(ks, core);
    if ignored || core.is_paused() || to_free == 0 {
        core.stats.over_memory.note(false, core.now.mono_us);
        return;
    }
    ks.set_expiry_mode(ExpiryMode::Delete);
    let mut left = limit.at_once;
    // What is freed counts, not what is in use afterwards: each key that goes is told to somebody, and if those words
    // asked for more keys to go there would be no end (redis/redis#8069).
    while to_free > 0 {
        if left == 0 {
            core.room.more = true;
            break;
        }
        left -= 1;
        let before = ks.mem_bytes();
        let Some(gone) = ks.evict_one(limit.policy, limit.samples) else {
            core.room.out = excess(ks, core) > 0;
            break;
        };
        to_free = to_free.saturating_sub(before.saturating_sub(ks.mem_bytes()).max(1) as u64);
        // What expired is in a log of its own.
        if let Gone::Evicted(db, key) = gone {
            let word: &[u8] = if limit.lazy_eviction { b"UNLINK" } else { b"DEL" };
            exec::propagate_alone(core, db, &[word, &key]);
        }
    }
    core.stats.over_memory.note(core.room.out || core.room.more, core.now.mono_us);
    exec::propagate_expired(ks, core);
    if core.observing {
        exec::observe(ks, core, me);
    }
}
