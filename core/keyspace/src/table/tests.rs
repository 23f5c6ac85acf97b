//! Tests of the table against a plain map.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::entry::{Value, ValueRef};

fn table() -> Table {
    Table::new(Hashing::new([1, 2, 3, 4], [5, 6]))
}

/// Keys of one hash for who knows the hash's keys: ahash multiplies the halves of such a short key, and the first is 0 here.
pub(crate) fn alike(n: u64) -> Vec<u8> {
    const THIRD_KEY: u64 = 3 ^ 0xc0ac_29b7_c97c_50dd;
    [&THIRD_KEY.to_le_bytes()[..], format!("{n:08}").as_bytes()].concat()
}

fn insert(table: &mut Table, key: &[u8], n: i64, deadline: Option<u64>) {
    let hash = table.hash(key);
    assert_eq!(table.find(hash, key), None);
    let at = loop {
        match table.room(hash, key) {
            Some(at) => break at,
            None => table.grow(hash),
        }
    };
    table.put(at, hash, Entry::new(key, Value::Int(n), deadline, 0));
}

fn get(table: &Table, key: &[u8]) -> Option<i64> {
    let at = table.find(table.hash(key), key)?;
    match table.entry(at).value() {
        ValueRef::Int(n) => Some(n),
        _ => None,
    }
}

#[test]
fn behaves_as_a_map_through_splits_and_removals() {
    let (mut t, mut twin) = (table(), HashMap::new());
    let mut dice = 1_u64;
    for step in 0..60_000_i64 {
        dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let n = (dice >> 40) % 20_000;
        let key = if n.is_multiple_of(10) { alike(n) } else { format!("key:{n}").into_bytes() };
        let deadline = (dice & 4 == 0).then_some(dice >> 20);
        if dice >> 33 & 3 == 0 {
            let found = t.find(t.hash(&key), &key).map(|at| {
                t.remove(at);
                match t.partner(at.segment as usize) {
                    Some(partner) => t.merge(at.segment as usize, partner),
                    None => t.drop_empty_annex(at.segment as usize),
                }
            });
            assert_eq!(found.is_some(), twin.remove(&key).is_some());
        } else if let std::collections::hash_map::Entry::Vacant(gap) = twin.entry(key.clone()) {
            insert(&mut t, &key, step, deadline);
            gap.insert((step, deadline));
        }
    }
    assert_eq!(t.len(), twin.len());
    assert_eq!(t.with_deadline(), twin.values().filter(|v| v.1.is_some()).count());
    assert!(t.segments() > 16);
    for (key, (n, _)) in &twin {
        assert_eq!(get(&t, key), Some(*n));
    }
    assert_eq!(t.entries().count(), twin.len());
    let lowest = twin.values().filter_map(|v| v.1).min();
    assert!(t.earliest_deadline() <= lowest);
}

#[test]
fn a_walk_by_position_sees_every_key_that_stays_even_when_the_table_grows_meanwhile() {
    let mut t = table();
    for i in 0..3000 {
        insert(&mut t, format!("old:{i}").as_bytes(), i, None);
    }
    let (mut seen, mut position, mut new) = (HashSet::new(), 0, 0);
    loop {
        let mut here = HashSet::new();
        position = t.visit_position(position, &mut |entry| {
            assert!(here.insert(entry.key().to_vec()), "twice in one step");
        });
        seen.extend(here);
        // Faster at first than the walk, but not for ever: it has to end.
        for _ in 0..if new < 20_000 { 100 } else { 0 } {
            insert(&mut t, format!("new:{new}").as_bytes(), new, None);
            new += 1;
        }
        if position == 0 {
            break;
        }
    }
    for i in 0..3000 {
        assert!(seen.contains(format!("old:{i}").as_bytes()), "old:{i} was missed");
    }
}

#[test]
fn random_draws_reach_everything_in_dense_and_sparse_tables() {
    for count in [1, 40, 2000] {
        let mut t = table();
        for i in 0..5000 {
            insert(&mut t, format!("{i}").as_bytes(), i, None);
        }
        for i in count..5000 {
            let key = format!("{i}").into_bytes();
            let at = t.find(t.hash(&key), &key).expect("inserted");
            t.remove(at);
        }
        let mut dice = 7_u64;
        let mut seen = HashSet::new();
        for _ in 0..40_000 {
            let at = t.random(false, || {
                dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                dice ^ dice >> 29
            });
            seen.insert(t.entry(at.expect("not empty")).key().to_vec());
        }
        assert!(seen.len() * 10 > count as usize * 9, "{} of {count}", seen.len());
    }
}

#[test]
fn draws_and_samples_favour_nobody_by_age() {
    const KEYS: u64 = 5000;
    let mut t = table();
    // Old ones with a deadline, new ones too, others in between.
    for i in 0..KEYS {
        insert(&mut t, format!("{i}").as_bytes(), i as i64, (i % 4 != 1).then_some(u64::MAX - 1));
    }
    let dice = std::cell::Cell::new(7_u64);
    let random = || {
        dice.set(dice.get().wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
        dice.get() ^ dice.get() >> 29
    };
    for volatile in [false, true] {
        let (mut drawn, mut sampled) = ([0_u32; 4], [0_u32; 4]);
        let quarter = |entry: &Entry| match entry.value() {
            ValueRef::Int(n) => (n as u64 * 4 / KEYS) as usize,
            _ => unreachable!("all are numbers"),
        };
        for _ in 0..20_000 {
            let at = t.random(volatile, random).expect("not empty");
            drawn[quarter(t.entry(at))] += 1;
            t.sample(random(), volatile, 3, &mut |entry| sampled[quarter(entry)] += 1);
        }
        assert!(drawn.iter().all(|count| (4500..5500).contains(count)), "{volatile} {drawn:?}");
        assert!(sampled.iter().all(|count| (13_500..16_500).contains(count)), "{volatile} {sampled:?}");
    }
}

#[test]
fn expired_entries_are_found_by_segment() {
    let mut t = table();
    for i in 0..2000 {
        insert(&mut t, format!("{i}").as_bytes(), i, (i % 2 == 0).then_some(i as u64));
    }
    let mut found = 0;
    for segment in 0..t.segments() {
        if t.may_have_expired(segment, 1000) {
            t.expired_in(segment, 1000, usize::MAX, |_, _| found += 1);
        }
    }
    assert_eq!(found, 500);
}

#[test]
fn a_segment_stays_due_while_expired_entries_are_left_in_it() {
    let mut t = table();
    (0..100).for_each(|i| insert(&mut t, format!("{i}").as_bytes(), i, Some(i as u64)));
    for left in (0..10).rev() {
        let mut found = Vec::new();
        t.expired_in(0, 1000, 10, |key, _| found.push(key.to_vec()));
        assert_eq!((found.len(), t.may_have_expired(0, 1000)), (10, left > 0));
        for key in found {
            let at = t.find(t.hash(&key), &key).expect("inserted");
            t.remove(at);
        }
    }
    assert_eq!(t.len(), 0);
}

#[test]
fn a_table_that_is_emptied_shrinks_and_keeps_what_is_left() {
    let mut t = table();
    for i in 0..50_000 {
        insert(&mut t, format!("{i}").as_bytes(), i, (i % 3 == 0).then_some(i as u64));
    }
    let most = t.segments();
    for i in 0..50_000_i64 {
        let key = format!("{}", i * 7919 % 50_000).into_bytes();
        let at = t.find(t.hash(&key), &key).expect("inserted");
        t.remove(at);
        if let Some(partner) = t.partner(at.segment as usize) {
            t.merge(at.segment as usize, partner);
        }
        if i % 5000 == 0 {
            assert_eq!(t.entries().count(), t.len());
            let left = (i + 1..50_000).map(|i| i * 7919 % 50_000);
            left.for_each(|n| assert_eq!(get(&t, format!("{n}").as_bytes()), Some(n)));
        }
    }
    assert_eq!((t.len(), t.with_deadline(), t.segments()), (0, 0, 1), "of {most} segments");
}

#[test]
fn a_walk_by_position_misses_nothing_while_segments_merge() {
    let mut t = table();
    for i in 0..20_000 {
        insert(&mut t, format!("{i}").as_bytes(), i, None);
    }
    let (mut seen, mut position, mut gone) = (HashSet::new(), 0, 200);
    loop {
        position = t.visit_position(position, &mut |entry| _ = seen.insert(entry.key().to_vec()));
        for _ in 0..if gone < 20_000 { 10 } else { 0 } {
            let key = format!("{gone}").into_bytes();
            gone += 1;
            let at = t.find(t.hash(&key), &key).expect("inserted");
            t.remove(at);
            if let Some(partner) = t.partner(at.segment as usize) {
                t.merge(at.segment as usize, partner);
            }
        }
        if position == 0 {
            break;
        }
    }
    assert!(gone == 20_000 && t.segments() < 10);
    (0..200).for_each(|i| assert!(seen.contains(format!("{i}").as_bytes()), "{i} was missed"));
}

#[test]
fn keys_are_the_same_only_when_every_byte_is() {
    for len in 0..80_usize {
        let key: Vec<u8> = (0..len).map(|n| n as u8).collect();
        assert!(same(&key, &key.clone()), "{len}");
        for at in 0..len {
            let mut other = key.clone();
            other[at] ^= 0x80;
            assert!(!same(&key, &other), "{len}: {at}");
        }
        let longer = [key.as_slice(), b"x"].concat();
        assert!(!same(&key, &longer) && !same(&longer, &key), "{len}");
    }
}

#[test]
fn asking_ahead_finds_entries_at_home_and_behind() {
    let mut t = table();
    let keys: Vec<Vec<u8>> = (0..2000).map(|n: u32| format!("key:{n}").into_bytes()).collect();
    for (n, key) in keys.iter().enumerate() {
        insert(&mut t, key, n as i64, None);
    }
    let (mut home, mut behind) = (0, 0);
    for key in &keys {
        let hash = t.hash(key);
        t.prefetch_bucket(hash);
        match t.prefetch_entry(hash) {
            Some(at) if t.find(hash, key) == Some(at) => home += 1,
            Some(_) => {}
            None => {
                t.prefetch_behind(hash);
                behind += 1;
            }
        }
    }
    assert!(home > 1600 && behind > 0, "{home} at home, {behind} behind");
}

/// What a table may take beside its entries: the directory, and segments that are a quarter full.
fn stays_in_proportion(t: &Table, what: &str) {
    let (segments, words) = (t.segments(), t.directory.len());
    assert!(segments <= t.len() / (BUCKETS * SLOTS / 8) + 2 && words <= 64 * segments, "{what}: {segments} {words}");
}

#[test]
fn keys_of_one_hash_take_no_more_than_others_and_go_without_a_trace() {
    let mut t = table();
    assert_eq!(t.hash(&alike(1)), t.hash(&alike(2)));
    for n in 0..3000 {
        insert(&mut t, &alike(n as u64), n, (n % 2 == 0).then_some(n as u64));
        insert(&mut t, format!("other:{n}").as_bytes(), n, None);
        insert(&mut t, format!("more:{n}").as_bytes(), n, None);
    }
    stays_in_proportion(&t, "full");
    assert!(t.annexes > 1 && t.entries().count() == t.len() && t.with_deadline() == 1500);
    let (mut seen, mut position) = (HashSet::new(), 0);
    loop {
        position = t.visit_position(position, &mut |entry| assert!(seen.insert(entry.key().to_vec()), "twice"));
        if position == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 9000);
    for n in 0..3000 {
        assert_eq!(get(&t, &alike(n)), Some(n as i64));
        assert_eq!(t.find(t.hash(&alike(n + 3000)), &alike(n + 3000)), None);
    }
    for key in &seen {
        let at = t.find(t.hash(key), key).expect("inserted");
        t.remove(at);
        match t.partner(at.segment as usize) {
            Some(partner) => t.merge(at.segment as usize, partner),
            None => t.drop_empty_annex(at.segment as usize),
        }
    }
    assert_eq!((t.len(), t.annexes, t.with_deadline()), (0, 0, 0));
    assert!(t.segments() < 40 && t.volatile.iter().all(|count| *count == 0));
}

#[test]
fn groups_of_keys_that_no_split_parts_do_not_double_the_directory() {
    // As many of one hash as four buckets hold and one more, many times over: the worst that equal hashes can do.
    let mut t = table();
    for group in 0..200_u64 {
        let hash = group.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 0..29 {
            let key = format!("{group}:{n}");
            let at = loop {
                match t.room(hash, key.as_bytes()) {
                    Some(at) => break at,
                    None => t.grow(hash),
                }
            };
            t.put(at, hash, Entry::new(key.as_bytes(), Value::Int(n), None, 0));
        }
    }
    assert!(t.directory.len() <= 64 * t.segments() && t.segments() < 1000, "{} {}", t.directory.len(), t.segments());
}

#[test]
fn segments_know_how_many_of_theirs_have_deadlines() {
    let mut t = table();
    (0..5000).for_each(|i| insert(&mut t, format!("{i}").as_bytes(), i, None));
    for i in 0..5000 {
        let key = format!("{i}").into_bytes();
        let at = t.find(t.hash(&key), &key).expect("inserted");
        t.change(at, |entry| entry.set_deadline(Some(10)));
        if i != 77 {
            t.change(at, |entry| entry.set_deadline(None));
        }
    }
    let due = (0..t.segments()).filter(|segment| t.may_have_expired(*segment, 11)).count();
    assert_eq!((due, t.volatile.iter().map(|count| usize::from(*count)).sum::<usize>()), (1, 1));
    let mut found = Vec::new();
    t.sample(99, true, 64, &mut |entry| found.push(entry.key().to_vec()));
    assert!(!found.is_empty() && found.iter().all(|key| key == b"77"));
}

/// Annexes cost every miss beside them a second hash: they are for keys that were made to collide.
#[test]
fn ordinary_keys_need_no_annex() {
    let mut t = table();
    for n in 0..300_000 {
        let key = format!("key:{n:012}").into_bytes();
        insert(&mut t, &key, n, None);
        if t.annexes > 0 {
            let (segment, depth) = t.segment_of(t.hash(&key)).expect("one");
            panic!("key {n}: len {} depth {depth} of {}, {} segments", t.meta[segment].len, t.depth, t.segments.len());
        }
    }
}

/// A file that this table wrote, loaded again by the process that wrote it, or a snapshot that its own replica takes.
#[test]
fn keys_in_the_order_of_their_hashes_do_not_pile_up_in_annexes() {
    let mut t = table();
    let mut keys: Vec<Vec<u8>> = (0..300_000).map(|n| format!("key:{n}").into_bytes()).collect();
    keys.sort_by_key(|key| t.hash(key));
    let mut most = 0;
    for (n, key) in keys.iter().enumerate() {
        insert(&mut t, key, n as i64, None);
        most = most.max(t.annexes);
    }
    let annexed: usize = (0..t.segments()).map(|segment| t.annexed(segment).count()).sum();
    assert!(most <= 16 && annexed < keys.len() / 500, "{most} annexes, {annexed} keys in some at the end");
    stays_in_proportion(&t, "in order");
}
