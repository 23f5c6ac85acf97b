//! Which key goes when memory is short. Owns the choice: samples of keys, the best of which wait in a small pool, as Redis
//! approximates LRU, LFU and TTL. When there is too little memory, and who is told, is the engine's business.

use crate::access::Access;
use crate::entry::Entry;
use crate::keylog::Why;
use crate::keyspace::Keyspace;
use crate::{DbIndex, ExpiryMode, Lfu};

/// `maxmemory-policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Nothing goes; writers are refused.
    #[default]
    NoEviction,
    /// Whatever wasn't used for longest.
    AllKeysLru,
    /// Whatever is used least.
    AllKeysLfu,
    /// Anything.
    AllKeysRandom,
    /// Of keys with a deadline, whatever wasn't used for longest.
    VolatileLru,
    /// Of keys with a deadline, whatever is used least.
    VolatileLfu,
    /// Any key with a deadline.
    VolatileRandom,
    /// What expires next.
    VolatileTtl,
}

impl Policy {
    /// The words in the order Redis lists them.
    pub const WORDS: &'static [&'static str] = &[
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "noeviction",
    ];

    /// The policy of a word.
    pub fn parse(word: &str) -> Option<Policy> {
        use Policy::*;
        let all =
            [VolatileLru, VolatileLfu, VolatileRandom, VolatileTtl, AllKeysLru, AllKeysLfu, AllKeysRandom, NoEviction];
        Self::WORDS.iter().position(|known| known.eq_ignore_ascii_case(word)).map(|at| all[at])
    }

    /// Only keys with a deadline may go.
    pub fn volatile(self) -> bool {
        matches!(self, Policy::VolatileLru | Policy::VolatileLfu | Policy::VolatileRandom | Policy::VolatileTtl)
    }

    /// It goes by the time of the last use.
    pub fn lru(self) -> bool {
        matches!(self, Policy::AllKeysLru | Policy::VolatileLru)
    }

    /// Frequency of use is counted, not its time.
    pub fn lfu(self) -> bool {
        matches!(self, Policy::AllKeysLfu | Policy::VolatileLfu)
    }

    /// It goes by each key's own access, so that no two keys could share a value.
    pub fn by_access(self) -> bool {
        self.lru() || self.lfu()
    }

    fn random(self) -> bool {
        matches!(self, Policy::AllKeysRandom | Policy::VolatileRandom)
    }

    /// The higher, the sooner the key goes.
    fn score(self, entry: &Entry, access: &Access) -> u64 {
        match self {
            Policy::AllKeysLru | Policy::VolatileLru => access.idle_secs(entry),
            Policy::AllKeysLfu | Policy::VolatileLfu => 255 - u64::from(access.frequency(entry)),
            Policy::VolatileTtl => u64::MAX - entry.deadline().unwrap_or(u64::MAX),
            _ => 0,
        }
    }
}

/// What became of the key that was chosen to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gone {
    /// It was evicted: whoever asked for room says so.
    Evicted(DbIndex, Box<[u8]>),
    /// Its time was up: it is in the log of expired keys.
    Expired,
}

struct Candidate {
    score: u64,
    db: DbIndex,
    key: Box<[u8]>,
}

/// Keys worth evicting that samples came across, the best last.
#[derive(Default)]
pub(crate) struct Pool(Vec<Candidate>);

impl Pool {
    const SIZE: usize = 16;

    fn offer(&mut self, score: u64, db: DbIndex, key: &[u8]) {
        let worst = self.0.first().map_or(0, |worst| worst.score);
        if self.0.len() >= Self::SIZE && score <= worst || self.0.iter().any(|it| it.db == db && *it.key == *key) {
            return;
        }
        if self.0.len() >= Self::SIZE {
            self.0.remove(0);
        }
        let at = self.0.partition_point(|it| it.score <= score);
        self.0.insert(at, Candidate { score, db, key: key.into() });
    }
}

impl Keyspace {
    /// Says by what keys are chosen: files tell a key's idle time or its frequency where that matters.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Counts how often keys are used, or when they were used last.
    pub fn set_lfu(&mut self, lfu: Option<Lfu>) {
        self.access.set_lfu(lfu);
    }

    /// Deletes one key that the policy chooses; none when the policy finds nothing. `samples` is how many keys of each
    /// database are looked at before choosing.
    pub fn evict_one(&mut self, policy: Policy, samples: usize) -> Option<Gone> {
        if policy == Policy::NoEviction {
            return None;
        }
        // It ends: what is sampled is there, so only what the pool had from before can be gone.
        loop {
            let (db, key) = if policy.random() { self.pick(policy)? } else { self.best(policy, samples)? };
            if let Some(gone) = self.evict(policy, db, key) {
                return Some(gone);
            }
        }
    }

    /// Keys evicted since the start.
    pub fn evicted_total(&self) -> u64 {
        self.books.evicted_total
    }

    /// A candidate may have gone since it was seen, or lost its deadline.
    fn evict(&mut self, policy: Policy, db: DbIndex, key: Box<[u8]>) -> Option<Gone> {
        let table = &self.dbs[db].table;
        let at = table.find(table.hash(&key), &key)?;
        let entry = table.entry(at);
        if policy.volatile() && entry.deadline().is_none() {
            return None;
        }
        if self.mode == ExpiryMode::Delete && entry.is_expired(self.now) {
            self.delete_expired(db, at);
            return Some(Gone::Expired);
        }
        let entry = self.take_at(db, at);
        self.books.gone(db, &key, Why::Evicted);
        self.books.garbage.add_entry(entry);
        self.books.evicted_total += 1;
        Some(Gone::Evicted(db, key))
    }

    /// Any key, of the databases in turn.
    fn pick(&mut self, policy: Policy) -> Option<(DbIndex, Box<[u8]>)> {
        for _ in 0..self.dbs.len() {
            let db = self.evict_hand % self.dbs.len();
            self.evict_hand = db + 1;
            let table = &self.dbs[db].table;
            if let Some(at) = table.random(policy.volatile(), || self.access.random_u64()) {
                return Some((db, table.entry(at).key().into()));
            }
        }
        None
    }

    /// The best that the pool has after another sample of every database.
    fn best(&mut self, policy: Policy, samples: usize) -> Option<(DbIndex, Box<[u8]>)> {
        if self.pool_of != policy {
            (self.pool, self.pool_of) = (Pool::default(), policy);
        }
        let Keyspace { dbs, access, pool, .. } = self;
        for (index, db) in dbs.iter().enumerate() {
            db.table.sample(access.random_u64(), policy.volatile(), samples, &mut |entry| {
                pool.offer(policy.score(entry, access), index, entry.key());
            });
        }
        pool.0.pop().map(|best| (best.db, best.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Ttl, UnixMillis};

    fn filled(keys: u64) -> Keyspace {
        let mut ks = Keyspace::new(Options::default());
        for n in 0..keys {
            ks.set_now(UnixMillis(1_000_000 + n * 1000));
            let ttl = if n.is_multiple_of(2) { Ttl::At(UnixMillis(9_000_000_000 - n)) } else { Ttl::Clear };
            ks.set_str((n % 3) as usize, format!("k{n}").as_bytes(), n as i64, ttl);
        }
        ks
    }

    fn number(key: &[u8]) -> u64 {
        std::str::from_utf8(&key[1..]).unwrap().parse().unwrap()
    }

    /// The key that was evicted next.
    fn evicted(ks: &mut Keyspace, policy: Policy, samples: usize) -> Option<Box<[u8]>> {
        match ks.evict_one(policy, samples)? {
            Gone::Evicted(_, key) => Some(key),
            Gone::Expired => panic!("no key's time is up"),
        }
    }

    #[test]
    fn every_policy_empties_what_it_may_and_no_more() {
        for word in Policy::WORDS {
            let policy = Policy::parse(word).unwrap();
            let mut ks = filled(3000);
            let mut gone = 0;
            while let Some(key) = evicted(&mut ks, policy, 5) {
                assert!(!policy.volatile() || number(&key).is_multiple_of(2), "{word} {}", number(&key));
                gone += 1;
            }
            let expected = if policy.volatile() { 1500 } else { 3000 };
            assert_eq!(gone, if policy == Policy::NoEviction { 0 } else { expected }, "{word}");
            assert_eq!((ks.evicted_total(), 3000 - gone), (gone, (0..16).map(|db| ks.len(db) as u64).sum()));
        }
    }

    #[test]
    fn random_policies_choose_old_and_new_keys_alike() {
        const KEYS: u64 = 12_000;
        for policy in [Policy::AllKeysRandom, Policy::VolatileRandom] {
            let mut ks = Keyspace::new(Options::default());
            for n in 0..KEYS {
                ks.set_str(0, format!("k{n}").as_bytes(), n as i64, Ttl::At(UnixMillis(9_000_000_000)));
            }
            let mut gone = [0_u64; 4];
            for _ in 0..KEYS / 2 {
                gone[(number(&evicted(&mut ks, policy, 5).unwrap()) * 4 / KEYS) as usize] += 1;
            }
            // A quarter each, 1500; chance alone keeps to within 100.
            assert!(gone.iter().all(|count| (1300..1700).contains(count)), "{policy:?} {gone:?}");
        }
    }

    #[test]
    fn the_oldest_the_rarest_and_the_next_to_expire_go_first() {
        let mean = |policy: Policy, prepare: &dyn Fn(&mut Keyspace)| {
            let mut ks = filled(3000);
            prepare(&mut ks);
            (0..500).map(|_| number(&evicted(&mut ks, policy, 10).unwrap())).sum::<u64>() / 500
        };
        // A perfect choice would have a mean of 250 among all keys, of 500 among those with a deadline.
        assert!(mean(Policy::AllKeysLru, &|_| ()) < 500);
        assert!(mean(Policy::VolatileLru, &|_| ()) < 900);
        // The latest keys expire first.
        assert!(mean(Policy::VolatileTtl, &|_| ()) > 2100);
        let use_the_late = |ks: &mut Keyspace| {
            ks.set_lfu(Some(Lfu { log_factor: 0, decay_minutes: 0 }));
            for n in 0..3000_u64 {
                ks.set_str((n % 3) as usize, format!("k{n}").as_bytes(), 1, Ttl::Clear);
                for _ in 0..n / 15 {
                    ks.begin_command(None, true);
                    assert!(ks.get_str((n % 3) as usize, format!("k{n}").as_bytes()).unwrap().is_some());
                }
            }
        };
        assert!(mean(Policy::AllKeysLfu, &use_the_late) < 900);
    }

    /// However many of the best candidates have gone or expired since they were seen, some other key goes.
    #[test]
    fn candidates_that_are_gone_do_not_hide_the_others() {
        const KEYS: u64 = 2000;
        for (policy, deadline) in [
            (Policy::VolatileTtl, 5_000),
            (Policy::VolatileLru, 5_000),
            (Policy::AllKeysLru, 5_000),
            (Policy::AllKeysRandom, 5_000),
        ] {
            for deleted in [false, true] {
                let mut ks = Keyspace::new(Options::default());
                ks.set_now(UnixMillis(1_000));
                for n in 0..KEYS {
                    ks.set_str(0, format!("k{n}").as_bytes(), n as i64, Ttl::At(UnixMillis(deadline)));
                }
                // The pool fills.
                assert!(matches!(ks.evict_one(policy, 64), Some(Gone::Evicted(..))), "{policy:?}");
                ks.set_now(UnixMillis(10_000));
                if deleted {
                    ks.set_now(UnixMillis(4_000));
                    (0..KEYS).for_each(|n| _ = ks.remove(0, format!("k{n}").as_bytes()));
                    ks.set_str(0, b"k1", 1, Ttl::At(UnixMillis(9_000_000)));
                }
                let (mut gone, mut expired) = (0, 0);
                while let Some(one) = ks.evict_one(policy, 5) {
                    gone += 1;
                    expired += u64::from(one == Gone::Expired);
                }
                let expected = if deleted { (1, 0) } else { (KEYS - 1, KEYS - 1) };
                assert_eq!((gone, expired, ks.len(0)), (expected.0, expected.1, 0), "{policy:?} {deleted}");
                assert_eq!(ks.expired_total(), expected.1);
            }
        }
    }
}
