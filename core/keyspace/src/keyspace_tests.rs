//! The keyspace against a naive twin: plain maps with every rule spelt out once more.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{Create, IncrError, StrRef, Ttl};

const DBS: u64 = 3;
const KEYS: u64 = 40;

/// What the twin keeps of a key.
#[derive(Clone, PartialEq, Debug)]
enum Plain {
    Str(Vec<u8>),
    List(Vec<Vec<u8>>),
}

#[derive(Clone, PartialEq, Debug)]
struct Item {
    value: Plain,
    deadline: Option<u64>,
}

struct Twin {
    dbs: Vec<BTreeMap<Vec<u8>, Item>>,
    now: u64,
    mode: ExpiryMode,
    expired: BTreeSet<(DbIndex, Vec<u8>)>,
}

impl Twin {
    /// Any lookup of a command: what is expired is gone where keys may be deleted, hidden where they may not.
    fn get(&mut self, db: DbIndex, key: &[u8], write: bool) -> Option<Item> {
        let item = self.dbs[db].get(key)?.clone();
        let expired = self.mode != ExpiryMode::Ignore && item.deadline.is_some_and(|at| self.now > at);
        if !expired {
            return Some(item);
        }
        if self.mode == ExpiryMode::Delete || write {
            self.dbs[db].remove(key);
            self.expired.insert((db, key.to_vec()));
        }
        None
    }

    fn put(&mut self, db: DbIndex, key: &[u8], value: Plain, deadline: Option<u64>) {
        self.dbs[db].insert(key.to_vec(), Item { value, deadline });
    }

    fn str(&mut self, db: DbIndex, key: &[u8]) -> Result<Option<Vec<u8>>, WrongType> {
        match self.get(db, key, false).map(|item| item.value) {
            None => Ok(None),
            Some(Plain::Str(bytes)) => Ok(Some(bytes)),
            Some(Plain::List(_)) => Err(WrongType),
        }
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Both sides of one random world.
struct Pair {
    ks: Keyspace,
    twin: Twin,
    dice: Dice,
    log: KeyLog,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mode = [ExpiryMode::Delete, ExpiryMode::Hide, ExpiryMode::Ignore][dice.roll(3) as usize];
        let mut ks = Keyspace::new(Options { databases: DBS as usize, ..Options::default() });
        ks.set_expiry_mode(mode);
        let twin = Twin { dbs: vec![BTreeMap::new(); DBS as usize], now: 0, mode, expired: BTreeSet::new() };
        Pair { ks, twin, dice, log: KeyLog::new() }
    }

    fn key(&mut self) -> (DbIndex, Vec<u8>) {
        (self.dice.roll(DBS) as usize, format!("key:{}", self.dice.roll(KEYS)).into_bytes())
    }

    fn value(&mut self) -> Vec<u8> {
        match self.dice.roll(5) {
            0 => self.dice.roll(1000).to_string().into_bytes(),
            1 => b"007".to_vec(),
            2 => vec![b'x'; self.dice.roll(5000) as usize],
            3 => i64::MAX.to_string().into_bytes(),
            _ => b"text".to_vec(),
        }
    }

    fn step(&mut self) {
        let (db, key) = self.key();
        let (to_db, to) = self.key();
        match self.dice.roll(16) {
            0 => self.set(db, &key),
            1 => self.incr(db, &key),
            2 => self.append(db, &key),
            3 => self.set_range(db, &key),
            4 => {
                let existed = self.twin.get(db, &key, true).is_some();
                self.twin.dbs[db].remove(&key);
                assert_eq!(self.ks.remove(db, &key), existed);
            }
            5 => {
                let item = self.twin.get(db, &key, true);
                if let Some(item) = item.clone() {
                    self.twin.get(db, &to, true);
                    self.twin.dbs[db].remove(&key);
                    self.twin.dbs[db].insert(to.clone(), item);
                }
                assert_eq!(self.ks.rename(db, &key, &to), item.is_some());
            }
            6 => {
                let item = self.twin.get(db, &key, true);
                let moved = item.is_some() && self.twin.get(to_db, &key, true).is_none();
                if let (true, Some(item)) = (moved, item) {
                    self.twin.dbs[db].remove(&key);
                    self.twin.dbs[to_db].insert(key.clone(), item);
                }
                assert_eq!(self.ks.move_key(db, &key, to_db), moved);
            }
            7 => {
                let replace = self.dice.roll(2) == 0;
                let item = self.twin.get(db, &key, true);
                let copied = item.is_some() && (self.twin.get(to_db, &to, true).is_none() || replace);
                if let (true, Some(item)) = (copied, item) {
                    self.twin.dbs[to_db].insert(to.clone(), item);
                }
                assert_eq!(self.ks.copy(db, &key, to_db, &to, replace), copied);
            }
            8 | 9 => {
                let deadline = (self.dice.roll(4) > 0).then(|| self.twin.now + self.dice.roll(3000));
                let item = self.twin.get(db, &key, true);
                let done = item.as_ref().is_some_and(|item| deadline.is_some() || item.deadline.is_some());
                if let Some(item) = self.twin.dbs[db].get_mut(&key).filter(|_| done) {
                    item.deadline = deadline;
                }
                assert_eq!(self.ks.set_deadline(db, &key, deadline.map(UnixMillis)), done);
            }
            10 => {
                self.twin.now += self.dice.roll(300);
                self.ks.set_now(UnixMillis(self.twin.now));
            }
            11 if self.dice.roll(10) == 0 => {
                self.twin.dbs.swap(db, to_db);
                self.ks.swap_db(db, to_db);
            }
            12 if self.dice.roll(30) == 0 => {
                assert_eq!(self.ks.flush(db), self.twin.dbs[db].len());
                self.twin.dbs[db].clear();
            }
            13 | 14 => self.push(db, &key),
            _ => self.expire_cycle(),
        }
        self.look(db, &key);
        self.settle();
    }

    fn set(&mut self, db: DbIndex, key: &[u8]) {
        let value = self.value();
        let old = self.twin.get(db, key, true);
        let (ttl, deadline) = match self.dice.roll(3) {
            0 => (Ttl::Keep, old.and_then(|item| item.deadline)),
            1 => (Ttl::Clear, None),
            _ => (Ttl::At(UnixMillis(self.twin.now + 700)), Some(self.twin.now + 700)),
        };
        self.ks.set_str(db, key, &value[..], ttl);
        self.twin.put(db, key, Plain::Str(value), deadline);
    }

    fn incr(&mut self, db: DbIndex, key: &[u8]) {
        let got = self.ks.incr_by(db, key, 5);
        let item = self.twin.get(db, key, true);
        let (text, deadline) = match item.map(|item| (item.value, item.deadline)) {
            None => (b"0".to_vec(), None),
            Some((Plain::Str(text), deadline)) => (text, deadline),
            Some((Plain::List(_), _)) => return assert_eq!(got, Err(IncrError::WrongType)),
        };
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i64>().ok());
        // Redis refuses "007".
        let Some(number) = number.filter(|number| number.to_string().as_bytes() == text) else {
            return assert_eq!(got, Err(IncrError::NotAnInteger));
        };
        match number.checked_add(5) {
            None => assert_eq!(got, Err(IncrError::Overflow)),
            Some(sum) => {
                assert_eq!(got, Ok(sum));
                self.twin.put(db, key, Plain::Str(sum.to_string().into_bytes()), deadline);
            }
        }
    }

    fn append(&mut self, db: DbIndex, key: &[u8]) {
        let more = self.value();
        let got = self.ks.append(db, key, &more);
        match self.twin.get(db, key, true).map(|item| (item.value, item.deadline)) {
            Some((Plain::List(_), _)) => assert_eq!(got, Err(WrongType)),
            Some((Plain::Str(mut text), deadline)) => {
                text.extend_from_slice(&more);
                assert_eq!(got, Ok(text.len()));
                self.twin.put(db, key, Plain::Str(text), deadline);
            }
            None => {
                assert_eq!(got, Ok(more.len()));
                self.twin.put(db, key, Plain::Str(more), None);
            }
        }
    }

    fn set_range(&mut self, db: DbIndex, key: &[u8]) {
        let offset = self.dice.roll(3000) as usize;
        let part: &[u8] = if self.dice.roll(5) == 0 { b"" } else { b"part" };
        let got = self.ks.set_range(db, key, offset, part);
        let (mut text, deadline) = match self.twin.get(db, key, true).map(|item| (item.value, item.deadline)) {
            Some((Plain::List(_), _)) => return assert_eq!(got, Err(WrongType)),
            Some((Plain::Str(text), deadline)) => (text, deadline),
            None => (Vec::new(), None),
        };
        if !part.is_empty() {
            text.resize(text.len().max(offset + part.len()), 0);
            text[offset..offset + part.len()].copy_from_slice(part);
            self.twin.put(db, key, Plain::Str(text.clone()), deadline);
        }
        assert_eq!(got, Ok(text.len()));
    }

    fn push(&mut self, db: DbIndex, key: &[u8]) {
        let pop = self.dice.roll(3) == 0;
        let item = self.twin.get(db, key, true);
        let limits = *self.ks.limits();
        let guard = self.ks.list_mut(db, key, if pop { Create::No } else { Create::Yes });
        let (mut elements, deadline) = match item.map(|item| (item.value, item.deadline)) {
            Some((Plain::Str(_), _)) => return assert!(guard.is_err()),
            Some((Plain::List(elements), deadline)) => (elements, deadline),
            None if pop => return assert!(matches!(guard, Ok(None))),
            None => (Vec::new(), None),
        };
        let mut list = guard.unwrap().unwrap();
        if pop {
            assert_eq!(list.pop_back().map(|e| e.to_vec()), elements.pop());
        } else {
            list.push_back(b"element", &limits);
            elements.push(b"element".to_vec());
        }
        drop(list);
        self.twin.put(db, key, Plain::List(elements.clone()), deadline);
        if elements.is_empty() {
            self.twin.dbs[db].remove(key);
        }
    }

    fn expire_cycle(&mut self) {
        let due: Vec<_> = (0..DBS as usize)
            .flat_map(|db| self.twin.dbs[db].iter().map(move |(key, item)| (db, key.clone(), item.deadline)))
            .filter(|(_, _, at)| at.is_some_and(|at| self.twin.now > at))
            .collect();
        let done = self.ks.expire_cycle(usize::MAX);
        if self.twin.mode == ExpiryMode::Delete {
            due.iter().for_each(|(db, key, _)| assert!(self.twin.get(*db, key, true).is_none()));
            assert_eq!(done.expired, due.len());
        }
    }

    /// Every way of reading gives what the twin has.
    fn look(&mut self, db: DbIndex, key: &[u8]) {
        let item = self.twin.get(db, key, false);
        assert_eq!(self.ks.exists(db, key), item.is_some());
        assert_eq!(self.ks.deadline(db, key), item.as_ref().map(|item| item.deadline.map(UnixMillis)));
        let expected = self.twin.str(db, key);
        let got = self.ks.get_str(db, key).map(|value| value.map(|value| value.to_cow().into_owned()));
        assert_eq!(got, expected);
        if let Ok(Some(StrRef::Int(n))) = self.ks.get_str(db, key) {
            assert_eq!(
                (self.ks.object_encoding(db, key), expected),
                (Some("int"), Ok(Some(n.to_string().into_bytes())))
            );
        }
        match item.map(|item| item.value) {
            Some(Plain::List(elements)) => {
                assert_eq!(self.ks.type_of(db, key), Some(KeyType::List));
                let list = self.ks.list(db, key).unwrap().unwrap();
                assert!(list.iter().eq(elements.iter().map(Vec::as_slice)));
            }
            Some(Plain::Str(_)) => assert_eq!(self.ks.type_of(db, key), Some(KeyType::String)),
            None => assert_eq!(self.ks.type_of(db, key), None),
        }
    }

    /// Expired keys were reported, each once, and both sides hold the same keys.
    fn settle(&mut self) {
        self.ks.swap_expired(&mut self.log);
        let mut reported = BTreeSet::new();
        for item in self.log.iter() {
            assert!(reported.insert((item.db, item.key.to_vec())), "reported twice");
        }
        assert_eq!(reported, std::mem::take(&mut self.twin.expired));
        for db in 0..DBS as usize {
            assert_eq!(self.ks.len(db), self.twin.dbs[db].len());
            let with_deadline = self.twin.dbs[db].values().filter(|item| item.deadline.is_some()).count();
            assert_eq!(self.ks.len_with_deadline(db), with_deadline);
        }
    }

    /// SCAN and RANDOMKEY show what is there and not expired.
    fn finish(mut self) {
        for db in 0..DBS as usize {
            let visible: BTreeSet<Vec<u8>> = self.twin.dbs[db]
                .iter()
                .filter(|(_, item)| {
                    self.twin.mode == ExpiryMode::Ignore || item.deadline.is_none_or(|at| self.twin.now <= at)
                })
                .map(|(key, _)| key.clone())
                .collect();
            let (mut seen, mut cursor) = (BTreeSet::new(), 0);
            loop {
                cursor = self.ks.scan(db, cursor, 3, |key, _, expired| !expired && seen.insert(key.to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen, visible);
            if let Some(key) = self.ks.random_key(db) {
                assert!(visible.contains(&key) || self.twin.mode == ExpiryMode::Hide);
            } else {
                assert!(visible.is_empty());
            }
        }
    }
}

#[test]
fn behaves_as_its_naive_twin() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed);
        (0..1500).for_each(|_| pair.step());
        pair.finish();
    }
}

fn touched(ks: &mut Keyspace) -> Vec<(String, Why)> {
    let mut log = KeyLog::new();
    ks.swap_touched(&mut log);
    log.iter().map(|it| (format!("{}/{}", it.db, String::from_utf8_lossy(it.key)), it.why)).collect()
}

#[test]
fn touched_keys_are_logged_only_when_something_changed() {
    let mut ks = Keyspace::new(Options::default());
    let limits = *ks.limits();
    ks.set_str(0, b"unseen", 1, Ttl::Clear);
    ks.observe(true);
    ks.set_str(0, b"a", 1, Ttl::Clear);
    ks.set_str(0, b"a", 2, Ttl::Clear);
    ks.remove(0, b"none");
    assert_eq!(touched(&mut ks), [("0/a".into(), Why::CreatedPlain), ("0/a".into(), Why::Changed)]);
    let mut set = ks.set_mut(0, b"s", Create::Yes).unwrap().unwrap();
    set.add(b"m", &limits);
    drop(set);
    let dirty = ks.dirty();
    let mut set = ks.set_mut(0, b"s", Create::Yes).unwrap().unwrap();
    if !set.add(b"m", &limits) {
        set.unchanged();
    }
    drop(set);
    drop(ks.hash_mut(0, b"made for nothing", Create::Yes));
    assert_eq!((ks.dirty(), ks.len(0)), (dirty, 3));
    ks.set_mut(0, b"s", Create::No).unwrap().unwrap().remove(b"m");
    assert_eq!(touched(&mut ks), [("0/s".into(), Why::CreatedPlain), ("0/s".into(), Why::Emptied)]);
    ks.rename(0, b"a", b"b");
    ks.move_key(0, b"b", 7);
    assert_eq!(
        touched(&mut ks).iter().map(|it| it.0.as_str()).collect::<Vec<_>>(),
        // Of each way: a key there is new, the one here changed, the one there, what became of both.
        ["0/b", "0/a", "0/b", "0/a", "0/b", "7/b", "0/b", "7/b", "0/b", "7/b"]
    );
    ks.swap_db(7, 8);
    ks.flush(8);
    let whole = [("7/".into(), Why::Swapped), ("8/".into(), Why::Swapped), ("8/".into(), Why::Flushed)];
    assert_eq!(touched(&mut ks), whole);
}

#[test]
fn big_values_are_left_to_the_caller_to_free() {
    let mut ks = Keyspace::new(Options::default());
    let limits = *ks.limits();
    ks.set_str(0, b"small", &b"value"[..], Ttl::Clear);
    ks.remove(0, b"small");
    assert!(ks.take_garbage().is_empty());
    for how in 0..3 {
        let mut list = ks.list_mut(0, b"big", Create::Yes).unwrap().unwrap();
        (0..10_000).for_each(|_| list.push_back(b"some element", &limits));
        drop(list);
        match how {
            0 => _ = ks.remove(0, b"big"),
            1 => ks.set_str(0, b"big", &b"overwritten"[..], Ttl::Clear),
            _ => _ = ks.flush_all(),
        }
        assert_eq!(ks.take_garbage().len(), 1, "{how}");
        ks.flush_all();
        ks.take_garbage();
    }
    assert_eq!(ks.dbs.iter().map(|db| db.value_bytes).sum::<usize>(), 0);
}

#[test]
fn idle_time_counts_from_the_last_read_or_write() {
    let mut ks = Keyspace::new(Options::default());
    ks.set_str(0, b"k", 1, Ttl::Clear);
    ks.set_now(UnixMillis(90_000));
    assert_eq!(ks.idle_secs(0, b"k"), Some(90));
    ks.note_uses(false);
    ks.get_str(0, b"k").unwrap();
    ks.set_str(0, b"k", 2, Ttl::Clear);
    ks.incr_by(0, b"k", 1).unwrap();
    ks.append(0, b"k", b"0").unwrap();
    assert_eq!(ks.idle_secs(0, b"k"), Some(90));
    ks.note_uses(true);
    ks.get_str(0, b"k").unwrap();
    assert_eq!(ks.idle_secs(0, b"k"), Some(0));
    ks.set_idle_secs(0, b"k", 7);
    assert_eq!(ks.idle_secs(0, b"k"), Some(7));
}

#[test]
fn a_long_string_is_made_once() {
    const LEN: usize = 1 << 20;
    let slack = |ks: &Keyspace, key: &[u8]| ks.mem_usage(0, key).unwrap() - LEN;
    let at = |ks: &Keyspace| ks.get_str(0, b"k").unwrap().unwrap().to_cow().as_ptr();
    let mut ks = Keyspace::new(Options::default());
    ks.set_range(0, b"new", LEN - 1, b"x").unwrap();
    ks.set_str(0, b"short", &b"text"[..], Ttl::Clear);
    ks.set_range(0, b"short", LEN - 1, b"x").unwrap();
    assert!(slack(&ks, b"new") < 200 && slack(&ks, b"short") < 200);
    // What was made elsewhere is taken over as it is.
    let bytes = vec![7; LEN];
    let made = bytes.as_ptr();
    ks.set_raw(0, b"k", bytes);
    assert_eq!(at(&ks), made);
    let mut made = std::ptr::null();
    let edit = |bytes: &mut Vec<u8>| {
        bytes.resize(LEN, 1);
        made = bytes.as_ptr();
    };
    ks.set_str(0, b"k", &b"text"[..], Ttl::Clear);
    ks.edit_str(0, b"k", edit).unwrap();
    assert_eq!(at(&ks), made);
    assert_eq!(ks.object_encoding(0, b"k"), Some("raw"));
}

#[test]
fn strings_made_in_place_are_raw_as_in_redis() {
    let mut ks = Keyspace::new(Options::default());
    ks.set_str(0, b"set", &b"text"[..], Ttl::Clear);
    ks.set_str(0, b"int", 1, Ttl::Clear);
    ks.set_str(0, b"long", &[b'x'; 45][..], Ttl::Clear);
    ks.append(0, b"appended", b"text").unwrap();
    assert_eq!(
        ["set", "int", "long", "appended"].map(|k| ks.object_encoding(0, k.as_bytes()).unwrap()),
        ["embstr", "int", "raw", "embstr"]
    );
    ks.append(0, b"appended", b"2").unwrap();
    ks.append(0, b"int", b"2").unwrap();
    ks.set_range(0, b"set", 0, b"T").unwrap();
    ks.set_range(0, b"new", 2, b"x").unwrap();
    for key in ["set", "int", "appended", "new"] {
        assert_eq!(ks.object_encoding(0, key.as_bytes()), Some("raw"), "{key}");
    }
    assert_eq!(ks.incr_by(0, b"int", 1), Ok(13));
    assert_eq!(ks.object_encoding(0, b"int"), Some("int"));
}

#[test]
fn active_expiry_keeps_to_its_budget_and_never_walks_a_segment_for_nothing() {
    let mut ks = Keyspace::new(Options::default());
    for n in 0..20_000_u64 {
        let deadline = if n % 2 == 0 { Ttl::At(UnixMillis(1000 + n)) } else { Ttl::Clear };
        ks.set_str(3, n.to_string().as_bytes(), n as i64, deadline);
    }
    assert_eq!(ks.next_deadline(), Some(UnixMillis(1000)));
    assert_eq!(ks.expire_cycle(usize::MAX), crate::expire::ExpiryProgress::default());
    ks.set_now(UnixMillis(11_000));
    let first = ks.expire_cycle(8000);
    assert!(first.more && (100..3000).contains(&first.expired), "{first:?}");
    let second = ks.expire_cycle(usize::MAX);
    assert_eq!((first.expired + second.expired, second.more, ks.len(3)), (5000, false, 15_000));
    assert_eq!(ks.next_deadline(), Some(UnixMillis(11_000)), "no segment is due any more");
}

#[test]
fn active_expiry_counts_what_it_deletes() {
    let mut ks = Keyspace::new(Options::default());
    for n in 0..5000_u64 {
        ks.set_str(0, n.to_string().as_bytes(), n as i64, Ttl::At(UnixMillis(1000)));
    }
    ks.set_now(UnixMillis(2000));
    let small = ks.expire_cycle(1);
    assert_eq!((small.expired, small.more), (1, true));
    let mut left = 4999;
    while left > 0 {
        let done = ks.expire_cycle(1000);
        assert!((1..60).contains(&done.expired), "{done:?}");
        left -= done.expired;
        assert_eq!(ks.len(0), left);
    }
    assert_eq!(ks.expire_cycle(1000), crate::expire::ExpiryProgress::default());
}

#[test]
fn active_expiry_says_that_fields_are_left_whatever_the_budget() {
    for budget in [1, 600, 5000, 9000] {
        let mut ks = Keyspace::new(Options::default());
        let limits = *ks.limits();
        let mut hash = ks.hash_mut(0, b"hash", Create::Yes).unwrap().unwrap();
        for n in 0..1000 {
            let field = n.to_string().into_bytes();
            hash.set(&field, b"v", &limits);
            hash.set_deadline(&field, Some(1000));
        }
        drop(hash);
        ks.set_now(UnixMillis(2000));
        let mut gone = 0;
        while gone < 1000 {
            let done = ks.expire_cycle(budget);
            gone += done.expired;
            assert!(done.expired > 0 && (done.more || gone == 1000), "{budget}: {done:?}");
        }
        assert_eq!(ks.len(0), 0);
    }
}
