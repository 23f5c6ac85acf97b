//! `maxmemory`: whether there is room for one more command, and making it. Owns what counts as used memory and how much is
//! evicted at a time; which key goes is the keyspace's choice. Each evicted key is a unit of its own in the journal.

use std::sync::atomic::Ordering;

use keystead_keyspace::{ExpiryMode, Gone, Keyspace, Lfu, Policy};

use crate::config::Config;
use crate::core::Core;
use crate::exec;
use crate::gates::Gate;
use crate::session::State;
use crate::tick::elapsed_us;

/// Keys that go from one look at the clock to the next, as in Redis: they take about as long as twenty looks.
const LOOK_AFTER: usize = 16;

/// What the heartbeat spends at one time: with a cycle of expiry in front its turn stays below 5 ms.
const TICK_US: u64 = 2000;

/// When the commands of a turn have spent this, the rest of them leave alone what was too much before: a deep pipeline would
/// make others wait for as often the time of one command.
const TURN_US: u64 = 4000;

/// What configuration says about memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    /// `maxmemory`, bytes; 0: none.
    pub max: u64,
    /// `maxmemory-policy`
    pub policy: Policy,
    samples: usize,
    /// How long one command may wait for keys to go; the rest go later (`maxmemory-eviction-tenacity`).
    time_us: u64,
    /// How many keys that is where there is no clock.
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
        let tenacity = number("maxmemory-eviction-tenacity");
        let lfu = Lfu { log_factor: number("lfu-log-factor"), decay_minutes: number("lfu-decay-time") };
        Limit {
            max: number("maxmemory"),
            policy,
            samples: number("maxmemory-samples").max(1) as usize,
            time_us: time_us(tenacity),
            at_once: if tenacity < 100 { 16 + 8 * tenacity as usize } else { usize::MAX },
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

/// Redis' scale: straight to half a millisecond at 10, 15 % more for each step from there on, no end at 100.
fn time_us(tenacity: u64) -> u64 {
    match tenacity {
        0..=10 => 50 * tenacity,
        11..100 => (500.0 * 1.15_f64.powi(tenacity as i32 - 10)) as u64,
        _ => u64::MAX,
    }
}

/// What the engine remembers from check to check.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// Used memory, but for what jobs held, and the keyspace's bytes when the first of the open cuts was made.
    at_cut: Option<(u64, u64)>,
    /// Nothing was left to evict: commands that need memory are refused.
    pub(crate) out: bool,
    /// Evicting goes on at the next tick.
    pub(crate) more: bool,
    /// Bytes that were still too much when evicting ended.
    owed: u64,
    /// What commands spent on evicting, and in the turn that began when.
    spent_us: u64,
    turn_us: u64,
}

impl Room {
    /// Settings changed: everything is looked at anew, but what was used when the cut was made stays what it was. Noted
    /// anew, the copies made since would count as data, and keys would go for them.
    pub(crate) fn judge_anew(&mut self) {
        *self = Room { at_cut: self.at_cut, ..Room::default() };
    }
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
    let copies = core.room.at_cut.filter(|_| ks.has_cut()).map_or(0, |(used_then, bytes_then)| {
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

/// A cut is about to be made: notes what is in use, whether there is a limit already or will be one while it is read. Those
/// that are open already go on from what was in use before them.
pub(crate) fn before_cut(ks: &Keyspace, core: &mut Core) {
    if !ks.has_cut() {
        core.room.at_cut = Some(in_use(ks, core));
    }
}

/// Used memory, but for what jobs hold, and the keyspace's bytes.
fn in_use(ks: &Keyspace, core: &Core) -> (u64, u64) {
    let used = crate::commands::info::used_memory(ks, core).saturating_sub(elsewhere(core));
    (used, ks.mem_bytes() as u64)
}

/// Data is on its way in, or two sets of it are held at once. What a file tells is all needed until its last line is
/// executed: a key that went earlier would come back with what is told of it later, and nobody writes down that it went.
fn loads(core: &Core) -> bool {
    [Gate::Loading, Gate::AsyncLoading, Gate::Starting].iter().any(|gate| core.gates.is(*gate))
}

/// Makes room before a command; afterwards `core.room.out` says whether commands that need memory are refused. `me` is the
/// session whose command it is: it may watch or cache a key that goes.
pub(crate) fn make_room(ks: &mut Keyspace, core: &mut Core, me: &mut State) {
    let too_much = too_much(ks, core);
    if too_much == 0 {
        return;
    }
    let turn_us = core.turn_began_us;
    if std::mem::replace(&mut core.room.turn_us, turn_us) != turn_us {
        core.room.spent_us = 0;
    }
    // Memory grows no further then, as what came since goes all the same.
    let leave = if core.room.spent_us < TURN_US { 0 } else { core.room.owed.min(too_much) };
    core.room.spent_us += evict(ks, core, me, (too_much, leave), core.config.live.memory.time_us);
}

/// Goes on with what commands left, for as long as the heartbeat may.
pub(crate) fn go_on(ks: &mut Keyspace, core: &mut Core) {
    let too_much = too_much(ks, core);
    if too_much > 0 {
        let mut nobody = State::nobody(core.mono_ms());
        evict(ks, core, &mut nobody, (too_much, 0), TICK_US);
    }
}

/// How many bytes are to be freed, as far as anything may be evicted now. Until then nothing is known to be short.
pub(crate) fn too_much(ks: &Keyspace, core: &mut Core) -> u64 {
    core.room.at_cut = match ks.has_cut() {
        false => None,
        true => core.room.at_cut.or_else(|| Some(in_use(ks, core))),
    };
    (core.room.out, core.room.more) = (false, false);
    let ignored = core.gates.is(Gate::Replica) && core.config.live.memory.replica_ignores || loads(core);
    let bytes = if ignored || core.is_paused() { 0 } else { excess(ks, core) };
    if bytes == 0 {
        core.stats.over_memory.note(false, core.now.mono_us);
    }
    bytes
}

/// Evicts until no more than `leave` of what is too much is left, or the time is up; gives the time as of the last look.
fn evict(ks: &mut Keyspace, core: &mut Core, me: &mut State, (too_much, leave): (u64, u64), time_us: u64) -> u64 {
    let limit = core.config.live.memory;
    let began = core.clock.map(|clock| clock());
    ks.set_expiry_mode(ExpiryMode::Delete);
    let (mut to_free, mut keys, mut elapsed) = (too_much - leave, 0_usize, 0);
    core.room.owed = leave;
    // What is freed counts, not what is in use afterwards: each key that goes is told to somebody, and if those words
    // asked for more keys to go there would be no end (redis/redis#8069).
    while to_free > 0 {
        let Some(freed) = evict_one(ks, core, &limit) else {
            core.room.out = excess(ks, core) > 0;
            (to_free, core.room.owed) = (0, 0);
            break;
        };
        to_free = to_free.saturating_sub(freed);
        keys += 1;
        if keys.is_multiple_of(LOOK_AFTER) {
            // Each key may have thousands of listeners: telling them takes time too.
            tell(ks, core, me);
            elapsed = elapsed_us(core, began);
            if elapsed > time_us || began.is_none() && keys >= limit.at_once {
                break;
            }
        }
    }
    core.room.owed += to_free;
    core.room.more = core.room.owed > 0;
    core.stats.over_memory.note(core.room.out || core.room.more, core.now.mono_us);
    tell(ks, core, me);
    elapsed
}

/// Evicts a key and says so; gives the bytes that it held. None where the policy finds nothing.
fn evict_one(ks: &mut Keyspace, core: &mut Core, limit: &Limit) -> Option<u64> {
    let before = ks.mem_bytes();
    let gone = ks.evict_one(limit.policy, limit.samples)?;
    let freed = before.saturating_sub(ks.mem_bytes()).max(1);
    // What expired is in a log of its own.
    if let Gone::Evicted(db, key) = gone {
        let word: &[u8] = if limit.lazy_eviction { b"UNLINK" } else { b"DEL" };
        exec::propagate_alone(core, db, &[word, &key]);
    }
    Some(freed as u64)
}

/// Tells the journal of what expired, and whoever watches, waits or listens of all that went.
fn tell(ks: &mut Keyspace, core: &mut Core, me: &mut State) {
    exec::propagate_expired(ks, core);
    if core.observing {
        exec::observe(ks, core, me);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenacity_is_time_as_in_redis() {
        assert_eq!([0, 1, 10, 11, 20, 50].map(time_us), [0, 50, 500, 575, 2022, 133_931]);
        assert!((120_000_000..130_000_000).contains(&time_us(99)), "{}", time_us(99));
        assert_eq!(time_us(100), u64::MAX);
    }
}
