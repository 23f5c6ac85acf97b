//! Snapshots read while random commands run equal the state at their cut.

use std::collections::BTreeMap;

use super::*;
use crate::{Create, ExpiryMode, Options, Ttl, UnixMillis};
use keystead_rdb::{EncodeOptions, Output};

type State = BTreeMap<(DbIndex, Vec<u8>), Vec<u8>>;

fn state(ks: &Keyspace) -> State {
    let mut state = State::new();
    for (index, db) in ks.dbs.iter().enumerate() {
        for entry in db.table.entries() {
            let mut bytes = Vec::new();
            RawRecord::new(index, entry.snapshot()).encode(&mut bytes, EncodeOptions::default());
            state.insert((index, entry.key().to_vec()), bytes);
        }
    }
    state
}

fn whole(record: &RawRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes, EncodeOptions::default());
    bytes
}

/// An output that is emptied whenever it has so many bytes.
struct Pieces {
    all: Vec<u8>,
    now: Vec<u8>,
    most: usize,
}

impl Output for Pieces {
    const PIECEWISE: bool = true;

    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.now
    }

    fn begins(&mut self, _: u8) {
        assert!(self.all.is_empty(), "the type comes too late");
    }

    fn element_ends(&mut self) {
        if self.now.len() >= self.most {
            self.all.append(&mut self.now);
        }
    }
}

fn in_pieces(record: &RawRecord, most: usize) -> Vec<u8> {
    let mut pieces = Pieces { all: Vec::new(), now: Vec::new(), most };
    record.encode(&mut pieces, EncodeOptions::default());
    pieces.all.append(&mut pieces.now);
    pieces.all
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Of many keys, some have the same hash.
    fn key(&mut self, keys: u64) -> Vec<u8> {
        let n = self.roll(keys);
        let same = keys > 1000 && n.is_multiple_of(40);
        if same { crate::table::tests::alike(n) } else { format!("key:{n}").into_bytes() }
    }
}

const DBS: u64 = 3;
/// Where the clock begins when it first moves.
const NOW: u64 = 1_000;

/// One random command. Type errors are part of it.
fn command(ks: &mut Keyspace, dice: &mut Dice, keys: u64) {
    let (db, other) = (dice.roll(DBS) as usize, dice.roll(DBS) as usize);
    let (key, second) = (dice.key(keys), dice.key(keys));
    let n = dice.roll(1 << 40);
    let limits = *ks.limits();
    let text = format!("element {}", n % 400);
    match dice.roll(100) {
        0..=19 => ks.set_str(db, &key, text.as_bytes(), if n.is_multiple_of(2) { Ttl::Keep } else { Ttl::Clear }),
        20..=29 => drop(ks.incr_by(db, &key, n as i64)),
        30..=34 => drop(ks.append(db, &key, &vec![b'x'; (n % 1500) as usize])),
        35..=37 => drop(ks.set_range(db, &key, (n % 5000) as usize, b"range")),
        38..=45 => drop(ks.remove(db, &key)),
        46..=48 => drop(ks.rename(db, &key, &second)),
        49..=51 => drop(ks.move_key(db, &key, other)),
        52..=54 => drop(ks.copy(db, &key, other, &second, n.is_multiple_of(2))),
        55..=58 => drop(ks.set_deadline(db, &key, Some(UnixMillis(ks.now + n % 5000)))),
        59 => drop(ks.set_deadline(db, &key, None)),
        60 => {
            ks.set_now(UnixMillis(ks.now.max(NOW) + n % 1000));
            ks.expire_cycle(2000);
        }
        61 if n.is_multiple_of(20) => ks.swap_db(db, other),
        62 if n.is_multiple_of(60) => drop(ks.flush(db)),
        63 if n.is_multiple_of(400) => drop(ks.flush_all()),
        64 if n.is_multiple_of(300) => {
            let mut shadow = ks.shadow();
            shadow.set_str(db, &key, &b"from a shadow"[..], Ttl::Clear);
            ks.swap_in(shadow);
        }
        63 if n % 50 == 1 => {
            // Most of a database goes key by key: its segments merge.
            let mut all = Vec::new();
            ks.each_key(db, |key, _| all.push(key.to_vec()));
            all.iter().filter(|_| dice.roll(10) > 0).for_each(|key| _ = ks.remove(db, key));
        }
        65..=72 => {
            if let Ok(Some(mut list)) = ks.list_mut(db, b"list", Create::Yes) {
                (0..n % 60).for_each(|_| list.push_back(text.as_bytes(), &limits));
                (0..n % 7).for_each(|_| drop(list.pop_front()));
            }
        }
        73..=80 => {
            if let Ok(Some(mut hash)) = ks.hash_mut(db, b"hash", Create::Yes) {
                (0..n % 60).for_each(|i| _ = hash.set(format!("{}", (n >> 8) % 1000 + i).as_bytes(), b"v", &limits));
                hash.remove(format!("{}", n % 1000).as_bytes());
                let soon = if n.is_multiple_of(3) { None } else { Some(NOW + n % 4000) };
                (0..n % 9).for_each(|i| _ = hash.set_deadline(format!("{}", (n >> 8) % 1000 + i).as_bytes(), soon));
            }
        }
        81..=84 => {
            if let Ok(Some(mut stream)) = ks.stream_mut(db, b"stream", Create::Yes) {
                for _ in 0..n % 60 {
                    let id = stream.last_id.next().unwrap();
                    stream.append(id, &[b"field", text.as_bytes()], &limits);
                }
                let some = crate::StreamId::new(0, n % 2000);
                stream.delete(some);
                stream.create_group(b"group", some, 0);
                let ids: Vec<_> = stream.range(some, crate::StreamId::MAX).map(|entry| entry.id).take(30).collect();
                stream.change_group(b"group", |group| {
                    group.create_consumer(text.as_bytes(), 1);
                    group.deliver(text.as_bytes(), &ids, n as i64);
                    group.acknowledge(some);
                });
                if n.is_multiple_of(40) {
                    stream.destroy_group(b"group");
                    stream.trim(crate::stream::Trim {
                        keep: crate::stream::Keep::Newest(n % 900),
                        whole_blocks: false,
                        limit: 0,
                    });
                }
            }
        }
        85..=88 => {
            if let Ok(Some(mut set)) = ks.set_mut(db, &key, Create::Yes) {
                (0..n % 40).for_each(|i| _ = set.add(format!("m{}", n % 500 + i).as_bytes(), &limits));
                set.remove(b"m1");
            }
        }
        _ => {
            if let Ok(Some(mut zset)) = ks.zset_mut(db, b"zset", Create::Yes) {
                (0..n % 40).for_each(|i| {
                    zset.add(format!("m{}", n % 700 + i).as_bytes(), (n % 1000) as f64, &limits);
                });
                zset.remove(format!("m{}", n % 700).as_bytes());
            }
        }
    }
}

/// A cut in whatever place is free.
fn any_cut(ks: &mut Keyspace) -> Result<CutId, TooManyCuts> {
    ks.begin_file_cut().or_else(|_| ks.begin_reader_cut())
}

/// A cut being read, and what it must give.
struct Reading {
    id: CutId,
    expected: State,
    got: State,
}

impl Reading {
    fn begin(ks: &mut Keyspace) -> Self {
        let expected = state(ks);
        let id = any_cut(ks).unwrap();
        assert_eq!(ks.cut_keys(id).iter().sum::<usize>(), expected.len());
        Reading { id, expected, got: State::new() }
    }

    /// True when it is read to its end, and right.
    fn step(&mut self, ks: &mut Keyspace, dice: &mut Dice, seed: u64) -> bool {
        let budget = CutBudget { records: dice.roll(40) as usize, bytes: dice.roll(3000) as usize + 1 };
        let step = ks.cut_step(self.id, budget);
        for record in step.records {
            let bytes = if dice.roll(2) == 0 { whole(&record) } else { in_pieces(&record, dice.roll(300) as usize) };
            let key = (record.db(), record.key().to_vec());
            assert!(self.got.insert(key, bytes).is_none(), "seed {seed}: a key was emitted twice");
        }
        if step.done {
            let keys = |state: &State| state.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&self.got), keys(&self.expected), "seed {seed}: other keys than at the cut");
            assert!(self.got == self.expected, "seed {seed}: other values than at the cut");
        }
        step.done
    }
}

fn run(seed: u64, keys: u64) {
    let mut dice = Dice(seed);
    let mut ks = Keyspace::new(Options { databases: DBS as usize, ..Options::default() });
    ks.set_expiry_mode([ExpiryMode::Delete, ExpiryMode::Hide, ExpiryMode::Ignore][dice.roll(3) as usize]);
    (0..dice.roll(3000)).for_each(|_| command(&mut ks, &mut dice, keys));
    let mut open: Vec<Reading> = Vec::new();
    let mut finished = 0;
    while finished < 6 {
        if open.len() < CUTS && dice.roll(30) == 0 {
            open.push(Reading::begin(&mut ks));
            assert!(open.len() < CUTS || any_cut(&mut ks) == Err(TooManyCuts));
        }
        (0..dice.roll(40)).for_each(|_| command(&mut ks, &mut dice, keys));
        if open.len() == CUTS && dice.roll(300) == 0 {
            ks.end_cut(open.remove(0).id);
        }
        let pick = dice.roll(CUTS as u64) as usize;
        if pick < open.len() && open[pick].step(&mut ks, &mut dice, seed) {
            open.remove(pick);
            finished += 1;
        }
        drop(ks.take_garbage());
    }
    while let Some(mut reading) = open.pop() {
        while !reading.step(&mut ks, &mut dice, seed) {}
    }
    assert!(!ks.cuts.any());
    let counted: usize = ks.dbs.iter().flat_map(|db| db.table.entries()).map(|entry| entry.mem_bytes()).sum();
    assert_eq!(counted, ks.dbs.iter().map(|db| db.value_bytes).sum::<usize>(), "seed {seed}: memory count");
}

#[test]
fn equal_the_state_at_the_cut_in_a_small_keyspace() {
    (0..40).for_each(|seed| run(seed, 60));
}

#[test]
fn equal_the_state_at_the_cut_while_the_table_grows() {
    (0..6).for_each(|seed| run(1000 + seed, 20_000));
}

#[test]
fn a_flushed_database_is_read_on_and_then_becomes_garbage() {
    let mut ks = Keyspace::new(Options::default());
    for i in 0..10_000_i64 {
        ks.set_str(5, format!("{i}").as_bytes(), i, Ttl::Clear);
    }
    let mut reading = Reading::begin(&mut ks);
    let mut dice = Dice(1);
    (0..5).for_each(|_| assert!(!reading.step(&mut ks, &mut dice, 0)));
    ks.swap_db(5, 2);
    ks.flush(2);
    drop(ks.take_garbage());
    ks.set_str(5, b"new", 1, Ttl::Clear);
    while !reading.step(&mut ks, &mut dice, 0) {}
    assert!(!ks.take_garbage().is_empty());
}

#[test]
fn a_cut_of_nothing_is_done_at_once() {
    let mut ks = Keyspace::new(Options::default());
    let id = ks.begin_cut().unwrap();
    let step = ks.cut_step(id, CutBudget::default());
    assert!(step.done && step.records.is_empty());
    assert!(ks.cut_step(id, CutBudget::default()).done, "a closed cut stays done");
}

#[test]
fn files_have_cuts_of_their_own() {
    let mut ks = Keyspace::new(Options::default());
    let common: Vec<CutId> = (0..COMMON).map(|_| ks.begin_cut().unwrap()).collect();
    assert_eq!(ks.begin_cut(), Err(TooManyCuts));
    (0..FILES).for_each(|_| assert!(ks.begin_file_cut().is_ok()));
    assert_eq!(ks.begin_file_cut(), Err(TooManyCuts));
    ks.end_cut(common[0]);
    assert!(ks.begin_file_cut().is_ok(), "a place that nobody else needs is as good");
}

#[test]
fn readers_take_no_cut_from_others() {
    let mut ks = Keyspace::new(Options::default());
    let readers: Vec<CutId> = (0..READERS).map(|_| ks.begin_reader_cut().unwrap()).collect();
    assert_eq!(ks.begin_reader_cut(), Err(TooManyCuts));
    (0..COMMON).for_each(|_| assert!(ks.begin_cut().is_ok()));
    (0..FILES).for_each(|_| assert!(ks.begin_file_cut().is_ok()));
    assert_eq!(ks.begin_file_cut(), Err(TooManyCuts));
    ks.end_cut(readers[0]);
    assert_eq!(ks.begin_file_cut(), Err(TooManyCuts), "nor others from readers");
    assert!(ks.begin_reader_cut().is_ok());
}

#[test]
fn what_two_cuts_want_is_copied_once() {
    let mut ks = Keyspace::new(Options::default());
    let name = |i: i64| format!("key:{i}").into_bytes();
    (0..2000).for_each(|i| ks.set_str(0, &name(i), &vec![b'v'; 100][..], Ttl::Clear));
    let first = ks.begin_cut().unwrap();
    (0..500).for_each(|i| ks.set_str(0, &name(i), &b"early"[..], Ttl::Clear));
    let early = ks.cut_backlog(first);
    let second = ks.begin_cut().unwrap();
    (0..2000).for_each(|i| ks.set_str(0, &name(i), &b"new"[..], Ttl::Clear));
    let read = |ks: &mut Keyspace, id| {
        let all = ks.cut_step(id, CutBudget { records: usize::MAX, bytes: usize::MAX });
        assert!(all.done);
        all.records.into_iter().map(|record| (record.key().to_vec(), record)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!((ks.cut_backlog(first), ks.cut_backlog(second)), (2000, 2000));
    let (first, second) = (read(&mut ks, first), read(&mut ks, second));
    let shared = first.iter().filter(|(key, record)| std::ptr::eq(record.key(), second[*key].key())).count();
    // Neighbours of a bucket that was written between the cuts went to the first one alone.
    assert!(early >= 500 && shared == 2000 - early, "{shared} of 2000 are shared, {early} were taken before");
    assert!((0..500).all(|i| second[&name(i)].str().is_some_and(|value| value.len() == 5)));
}
