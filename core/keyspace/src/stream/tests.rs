//! Random changes against a naive twin: maps of ids. Every clone taken on the way must go on to show what it showed, as a
//! cut needs it, and every state must survive its RDB form.

use std::collections::{BTreeMap, BTreeSet};

use keystead_rdb::{Elem, EncodeOptions};
use proptest::prelude::*;

use super::*;
use crate::rdb::{Builder, Built};

type Pairs = Vec<Vec<u8>>;

#[derive(Default, Clone)]
struct Twin {
    entries: BTreeMap<StreamId, Pairs>,
    groups: BTreeMap<Vec<u8>, GroupTwin>,
}

#[derive(Default, Clone, PartialEq, Debug)]
struct GroupTwin {
    /// Owner, time, count.
    pending: BTreeMap<StreamId, (Vec<u8>, i64, u64)>,
    consumers: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64, u64, Pairs),
    Delete(usize),
    Trim(Trim),
    CreateGroup(u8),
    DestroyGroup(u8),
    DeleteConsumer(u8, u8),
    Deliver(u8, u8, usize, usize),
    Claim(u8, u8, usize, bool),
    Acknowledge(u8, usize),
    Clone,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..9),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        2 => (-200_i64..5000).prop_map(|n| n.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 60..70),
        1 => prop::collection::vec(any::<u8>(), 2000..5000),
    ]
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let usual = (text(), text()).prop_map(|(a, b)| vec![b"x".to_vec(), a, b"y".to_vec(), b]);
    prop_oneof![3 => usual, 1 => prop::collection::vec((text(), text()), 1..5).prop_map(|it| {
        it.into_iter().flat_map(|(field, value)| [field, value]).collect()
    })]
}

fn op() -> impl Strategy<Value = Op> {
    let keep = prop_oneof![(0_u64..60).prop_map(Keep::Newest), (0_u64..300).prop_map(|ms| Keep::From(id(ms, 2)))];
    let trim = (keep, any::<bool>(), 0_u64..20).prop_map(|(keep, whole_blocks, limit)| {
        // As commands have it: a limit only where whole blocks go.
        Trim { keep, whole_blocks, limit: if whole_blocks { limit } else { 0 } }
    });
    prop_oneof![
        12 => (0_u64..5, 0_u64..3, pairs()).prop_map(|(ms, seq, pairs)| Op::Append(ms, seq, pairs)),
        3 => any::<usize>().prop_map(Op::Delete),
        1 => trim.prop_map(Op::Trim),
        1 => (0..3_u8).prop_map(Op::CreateGroup),
        1 => (0..9_u8).prop_map(Op::DestroyGroup),
        1 => (0..3_u8, 0..9_u8).prop_map(|(g, c)| Op::DeleteConsumer(g, c)),
        3 => (0..3_u8, 0..3_u8, any::<usize>(), 0..40_usize).prop_map(|(g, c, at, n)| Op::Deliver(g, c, at, n)),
        3 => (0..3_u8, 0..3_u8, any::<usize>(), any::<bool>()).prop_map(|(g, c, at, f)| Op::Claim(g, c, at, f)),
        3 => (0..3_u8, any::<usize>()).prop_map(|(g, at)| Op::Acknowledge(g, at)),
        1 => Just(Op::Clone),
    ]
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn pick(twin: &Twin, at: usize) -> Option<StreamId> {
    let ids: Vec<StreamId> = twin.entries.keys().copied().collect();
    ids.get(at.checked_rem(ids.len())?).copied()
}

fn apply(stream: &mut Stream, twin: &mut Twin, op: Op, limits: &Limits) -> Result<(), TestCaseError> {
    let name = |n: u8| vec![b'n', n];
    match op {
        Op::Append(ms, seq, pairs) => {
            let last = stream.last_id;
            let next = if ms == 0 { id(last.ms, last.seq + 1 + seq) } else { id(last.ms + ms, seq) };
            let parts: Vec<&[u8]> = pairs.iter().map(|part| &part[..]).collect();
            stream.append(next, &parts, limits);
            twin.entries.insert(next, pairs);
        }
        Op::Delete(at) => {
            let Some(id) = pick(twin, at) else { return Ok(()) };
            twin.entries.remove(&id);
            prop_assert!(stream.delete(id));
            prop_assert!(!stream.delete(id));
        }
        Op::Trim(trim) => {
            let before: Vec<StreamId> = twin.entries.keys().copied().collect();
            let deleted = stream.trim(trim);
            // Exact trimming is told by the twin; how much an approximate one takes, by the rule that it never takes more.
            let exact = match trim.keep {
                Keep::Newest(count) => before.len().saturating_sub(count as usize),
                Keep::From(first) => before.iter().filter(|id| **id < first).count(),
            };
            prop_assert!(deleted as usize <= exact && (trim.limit == 0 || deleted <= trim.limit));
            prop_assert!(trim.whole_blocks || deleted as usize == exact);
            before.iter().take(deleted as usize).for_each(|id| drop(twin.entries.remove(id)));
        }
        Op::CreateGroup(g) => {
            let new = twin.groups.insert(name(g), GroupTwin::default());
            prop_assert_eq!(stream.create_group(&name(g), id(0, 0), 0), new.is_none());
            if let Some(old) = new {
                twin.groups.insert(name(g), old);
            }
        }
        Op::DestroyGroup(g) => {
            prop_assert_eq!(stream.destroy_group(&name(g)).is_some(), twin.groups.remove(&name(g)).is_some());
        }
        Op::DeleteConsumer(g, c) => {
            let Some(group) = twin.groups.get_mut(&name(g)) else { return Ok(()) };
            let had = group.consumers.remove(&name(c));
            let before = group.pending.len();
            group.pending.retain(|_, pending| pending.0 != name(c));
            let gone = stream.change_group(&name(g), |group| group.delete_consumer(&name(c))).flatten();
            prop_assert_eq!(gone.map(|gone| gone.pending), had.then_some(before - group.pending.len()));
        }
        Op::Deliver(g, c, at, count) => {
            let (Some(from), Some(group)) = (pick(twin, at), twin.groups.get_mut(&name(g))) else { return Ok(()) };
            let ids: Vec<StreamId> = twin.entries.range(from..).map(|(id, _)| *id).take(count).collect();
            for id in &ids {
                group.pending.insert(*id, (name(c), at as i64, 1));
            }
            group.consumers.insert(name(c));
            stream.change_group(&name(g), |group| {
                group.create_consumer(&name(c), 7);
                group.deliver(&name(c), &ids, at as i64);
            });
        }
        Op::Claim(g, c, at, force) => {
            let (Some(id), Some(group)) = (pick(twin, at), twin.groups.get_mut(&name(g))) else { return Ok(()) };
            if !force && !group.pending.contains_key(&id) {
                return Ok(());
            }
            let count = group.pending.get(&id).map_or(0, |pending| pending.2) + 1;
            group.pending.insert(id, (name(c), at as i64, count));
            group.consumers.insert(name(c));
            stream.change_group(&name(g), |group| {
                group.create_consumer(&name(c), 7);
                group.assign(&name(c), id, at as i64, |count| count + 1)
            });
        }
        Op::Acknowledge(g, at) => {
            let Some(group) = twin.groups.get_mut(&name(g)) else { return Ok(()) };
            let ids: Vec<StreamId> = group.pending.keys().copied().collect();
            let Some(id) = at.checked_rem(ids.len()).map(|at| ids[at]) else { return Ok(()) };
            let was = group.pending.remove(&id).map(|pending| pending.0);
            let gone = stream.change_group(&name(g), |group| group.acknowledge(id)).flatten();
            prop_assert_eq!(gone.map(|pending| pending.owner().to_vec()), was);
        }
        Op::Clone => {}
    }
    Ok(())
}

fn read(entry: Entry<'_>) -> (StreamId, Pairs) {
    (entry.id, entry.pairs().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]).collect())
}

fn same(stream: &Stream, twin: &Twin) -> Result<(), TestCaseError> {
    let all: Vec<(StreamId, Pairs)> = stream.iter().map(read).collect();
    let expected: Vec<(StreamId, Pairs)> = twin.entries.iter().map(|(id, pairs)| (*id, pairs.clone())).collect();
    prop_assert_eq!(stream.len(), expected.len());
    prop_assert!(all == expected, "entries");
    let mut back: Vec<(StreamId, Pairs)> = stream.rev_range(StreamId::MIN, StreamId::MAX).map(read).collect();
    back.reverse();
    prop_assert!(back == expected, "entries backward");
    prop_assert_eq!(stream.first_id(), twin.entries.keys().next().copied().unwrap_or_default());
    prop_assert_eq!(stream.top_id(), twin.entries.keys().next_back().copied());
    prop_assert_eq!(
        stream.groups().map(|group| group.name().to_vec()).collect::<Vec<_>>(),
        twin.groups.keys().cloned().collect::<Vec<_>>()
    );
    for (name, expected) in &twin.groups {
        let Some(group) = stream.group(name) else { return Err(TestCaseError::fail("group")) };
        let mut found = GroupTwin::default();
        for pending in group.pending_from(StreamId::MIN) {
            found.pending.insert(pending.id, (pending.owner().to_vec(), pending.delivered_ms, pending.deliveries));
        }
        for consumer in group.consumers() {
            found.consumers.insert(consumer.name().to_vec());
            let owned = found.pending.iter().filter(|(_, it)| it.0 == consumer.name()).map(|(id, _)| *id);
            prop_assert!(owned.eq(consumer.owned_from(StreamId::MIN).copied()), "what a consumer owns");
        }
        prop_assert_eq!(&found, expected);
    }
    Ok(())
}

fn survives(stream: &Stream, twin: &Twin) -> Result<(), TestCaseError> {
    let mut bytes = Vec::new();
    let rdb_type = stream.encode_rdb(&mut bytes, EncodeOptions::default());
    let Ok(Built::Stream(back)) = Builder::build(Limits::default(), rdb_type, &bytes) else {
        return Err(TestCaseError::fail("the RDB form isn't read"));
    };
    same(&back, twin)?;
    prop_assert_eq!(back.counters(), stream.counters());
    let mut again = Vec::new();
    back.encode_rdb(&mut again, EncodeOptions::default());
    // Bytes for bytes, but for the times of consumers, which this version of the format doesn't have.
    prop_assert!(again == bytes, "the RDB form changed");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn is_a_map_of_ids_and_so_is_every_clone(
        ops in prop::collection::vec(op(), 1..300),
        (entries, bytes) in prop_oneof![Just((100, 4096)), Just((3, 4096)), Just((0, 200)), Just((0, 0)), Just((1, 0))],
    ) {
        let limits = Limits { stream_entries: entries, stream_bytes: bytes, ..Limits::default() };
        let (mut stream, mut twin) = (Stream::new(), Twin::default());
        let mut cuts: Vec<(Stream, Twin)> = Vec::new();
        for op in ops {
            if matches!(op, Op::Clone) && cuts.len() < 3 {
                cuts.push((stream.clone(), twin.clone()));
            }
            apply(&mut stream, &mut twin, op, &limits)?;
        }
        same(&stream, &twin)?;
        survives(&stream, &twin)?;
        for (cut, twin) in &cuts {
            same(cut, twin)?;
            survives(cut, twin)?;
        }
    }

    #[test]
    fn ranges_are_those_of_a_map(deltas in prop::collection::vec((0_u64..3, 0_u64..3), 1..250), from in (0_u64..300, 0_u64..4), to in (0_u64..300, 0_u64..4), deleted in prop::collection::vec(any::<usize>(), 0..40)) {
        let (mut stream, mut twin) = (Stream::new(), Twin::default());
        let limits = Limits { stream_entries: 10, ..Limits::default() };
        for (ms, seq) in deltas {
            apply(&mut stream, &mut twin, Op::Append(ms, seq, vec![b"f".to_vec(), b"v".to_vec()]), &limits)?;
        }
        for at in deleted {
            apply(&mut stream, &mut twin, Op::Delete(at), &limits)?;
        }
        let (from, to) = (id(from.0, from.1), id(to.0, to.1));
        let expected: Vec<StreamId> = twin.entries.keys().copied().filter(|id| (from..=to).contains(id)).collect();
        prop_assert_eq!(stream.range(from, to).map(|entry| entry.id).collect::<Vec<_>>(), expected.clone());
        let back: Vec<StreamId> = stream.rev_range(from, to).map(|entry| entry.id).collect();
        prop_assert_eq!(back, expected.into_iter().rev().collect::<Vec<_>>());
    }
}

#[test]
fn ids_go_up_and_down_by_one_and_end() {
    assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
    assert_eq!(id(2, 0).prev(), Some(id(1, u64::MAX)));
    assert_eq!((StreamId::MAX.next(), StreamId::MIN.prev()), (None, None));
}

#[test]
fn full_blocks_lie_on_shelves_and_a_changed_one_leaves_its_own() {
    let limits = Limits { stream_entries: 5, ..Limits::default() };
    let mut stream = Stream::new();
    let fill = |stream: &mut Stream, seqs: std::ops::RangeInclusive<u64>| {
        seqs.for_each(|seq| stream.append(id(1, seq), &[b"f", b"v"], &limits));
    };
    fill(&mut stream, 1..=500);
    let alone = |stream: &Stream| stream.blocks.iter().filter(|block| block.alone().is_some()).count();
    assert_eq!(stream.blocks(), 100);
    assert!(alone(&stream) <= 800 / stream.blocks.get(0).unwrap().pack().len(), "{} alone", alone(&stream));
    let (cut, before) = (stream.clone(), stream.mem_bytes());
    let mut rdb = Vec::new();
    cut.encode_rdb(&mut rdb, EncodeOptions::default());
    assert!(stream.delete(id(1, 7)) && !stream.delete(id(1, 7)));
    assert!(stream.mem_bytes() > before, "its block has bytes of its own");
    assert_eq!(stream.iter().map(|entry| entry.id.seq).take(7).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 8]);
    assert_eq!(cut.iter().count(), 500, "the cut has what it had");
    let Ok(Built::Stream(back)) = Builder::build(Limits::default(), 21, &rdb) else {
        panic!("the RDB form isn't read")
    };
    assert_eq!(
        (back.len(), alone(&back)),
        (500, alone(&cut) + 1),
        "a file's blocks lie so too, the last one also being full"
    );
}

#[test]
fn blocks_have_the_boundaries_of_redis() {
    let limits = Limits::default();
    let mut stream = Stream::new();
    for seq in 1..=250 {
        stream.append(id(1, seq), &[b"f", b"v"], &limits);
    }
    assert_eq!(stream.blocks(), 3);
    // Deleted entries count, and a block without any entry goes.
    (1..=100).for_each(|seq| assert!(stream.delete(id(1, seq))));
    assert_eq!((stream.blocks(), stream.first_id(), stream.max_deleted_id), (2, id(1, 101), id(1, 100)));
    stream.append(id(2, 0), &[b"f", &[b'x'; 5000]], &limits);
    assert_eq!(stream.blocks(), 3);
    stream.append(id(2, 1), &[b"f", b"v"], &limits);
    assert_eq!(stream.blocks(), 4);
}

#[test]
fn values_of_every_kind_come_back_as_their_text() {
    let mut stream = Stream::new();
    let texts: [&[u8]; 9] = [b"", b"0", b"-1", b"127", b"128", b"4096", b"-9223372036854775808", b"012", b"\0\xff"];
    let pairs: Vec<&[u8]> = texts.iter().flat_map(|text| [*text, *text]).collect();
    stream.append(id(u64::MAX, 0), &pairs, &Limits::default());
    stream.append(id(u64::MAX, u64::MAX), &pairs, &Limits::default());
    for entry in stream.iter() {
        assert_eq!(entry.len(), texts.len());
        assert!(!entry.is_empty());
        let back: Vec<(Vec<u8>, Vec<u8>)> = entry.pairs().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
        assert!(back.iter().zip(texts).all(|((field, value), text)| field == text && value == text));
    }
    assert_eq!(stream.iter().next().and_then(|entry| entry.pairs().nth(1)).map(|(field, _)| field), Some(Elem::Int(0)));
}

/// A group in which so many entries belong to `doomed` and so many to `other`, in no order.
fn shared(group: &mut Group, doomed: usize, other: usize) -> Vec<StreamId> {
    group.create_consumer(b"doomed", 1);
    group.create_consumer(b"other", 1);
    let ids: Vec<StreamId> = (1..=(doomed + other) as u64).map(|seq| id(seq * 7 % 3001, seq)).collect();
    group.deliver(b"doomed", &ids[..doomed], 5);
    group.deliver(b"other", &ids[doomed..], 5);
    ids
}

#[test]
fn a_deleted_consumer_is_gone_at_once_and_its_pending_entries_in_steps() {
    for (doomed, other) in [(3000, 0), (2000, 1000), (300, 2700), (3, 2997)] {
        let mut group = Group::new(b"g", id(0, 0), 0);
        let ids = shared(&mut group, doomed, other);
        let gone = group.delete_consumer(b"doomed").expect("it was there");
        assert_eq!(gone.pending, doomed);
        assert!(group.consumer(b"doomed").is_none() && group.delete_consumer(b"doomed").is_none());
        assert_eq!((group.pending(), group.consumer(b"other").map(Consumer::pending)), (other, Some(other)));
        assert!(group.pending_from(StreamId::MIN).all(|pending| pending.owner() == b"other"));
        let span = ids[doomed..].iter().min().copied().zip(ids[doomed..].iter().max().copied());
        assert_eq!(group.pending_span(), span);
        // No more of the tree was changed than a step allows, and what is left goes in steps too.
        let hidden = if other == 0 { 0 } else { doomed.saturating_sub(departed::AT_ONCE) };
        assert_eq!((group.pending.len() - other, gone.unfinished), (hidden, hidden > 0));
        let mut steps = 0;
        while group.tidy(100) {
            steps += 1;
        }
        assert_eq!((group.pending.len(), steps), (other, hidden.saturating_sub(1) / 100));
        ids[doomed..].iter().for_each(|id| assert!(group.acknowledge(*id).is_some()));
        assert_eq!((group.pending(), group.pending_span()), (0, None));
    }
}

#[test]
fn what_is_hidden_can_be_given_to_others_and_a_namesake_sees_none_of_it() {
    let mut group = Group::new(b"g", id(0, 0), 0);
    let ids = shared(&mut group, 1000, 500);
    group.delete_consumer(b"doomed");
    let last = *ids[..1000].iter().max().expect("some");
    assert!(group.pending_at(last).is_none() && group.acknowledge(last).is_none());
    assert!(group.create_consumer(b"doomed", 2));
    assert_eq!(group.consumer(b"doomed").map(Consumer::pending), Some(0));
    // Nothing is told of how often it was delivered before.
    assert_eq!(group.assign(b"other", last, 9, |deliveries| deliveries + 1), Some(1));
    assert_eq!((group.pending(), group.pending_at(last).map(|it| it.deliveries)), (501, Some(1)));
    while group.tidy(64) {}
    assert_eq!((group.pending(), group.pending.len()), (501, 501));
    assert!(group.acknowledge(last).is_some_and(|pending| pending.owner() == b"other"));
}

#[test]
fn the_keyspace_finishes_what_deleting_a_consumer_left_and_counts_its_memory() {
    let mut ks = crate::Keyspace::new(crate::Options::default());
    let mut stream = ks.stream_mut(0, b"s", crate::Create::Yes).expect("no other type").expect("made");
    stream.append(id(1, 1), &[b"f", b"v"], &Limits::default());
    stream.create_group(b"g", id(0, 0), 0);
    stream.change_group(b"g", |group| shared(group, 2000, 1000));
    let before = stream.mem_bytes();
    let gone = stream.change_group(b"g", |group| group.delete_consumer(b"doomed")).flatten().expect("it was there");
    drop(stream);
    ks.discard_group(gone.rest);
    assert_eq!(ks.take_garbage().len(), 1, "what it owned is freed elsewhere");
    ks.tidy_later(0, b"gone", b"g");
    ks.tidy_later(0, b"s", b"no such group");
    ks.tidy_later(0, b"s", b"g");
    let (used, mut rounds) = (ks.mem_bytes(), 0);
    while ks.tidy_groups(500) {
        rounds += 1;
    }
    assert!((4..8).contains(&rounds), "{rounds} rounds");
    let stream = ks.stream(0, b"s").expect("a stream").expect("there");
    assert_eq!(stream.group(b"g").map(|group| group.pending.len()), Some(1000));
    assert!(stream.mem_bytes() < before / 2);
    assert!(ks.mem_bytes() < used);
}

/// What the prefetcher asks for is what an entry at the end will touch; a full block has no end to add to.
#[test]
fn the_way_to_the_end_leads_to_the_last_block() {
    let mut stream = Stream::new();
    let ways = |stream: &Stream| (0..).map_while(|step| stream.way_to_end(step)).collect::<Vec<_>>();
    assert!(ways(&stream).is_empty());
    stream.append(StreamId { ms: 1, seq: 0 }, &[b"field", b"value"], &Limits::default());
    let ways = ways(&stream);
    let pack = stream.blocks.get(0).expect("a block").pack().as_ptr_range();
    assert_eq!((ways.len(), ways.last().copied()), (4, Some([pack.start, pack.end])));
    stream.blocks.update_at(0, Block::close);
    assert_eq!((0..).map_while(|step| stream.way_to_end(step)).count(), 2);
}
