//! Values survive every form; mutated payloads with a valid checksum, and random bytes, are answered and no more.

mod support;

use keystead_rdb::{
    EncodeOptions, FileParser, Kind, Record, RecordMeta, RecordScanner, Scan, StreamCounters, StreamId, dump_payload,
    parse_dump, records, write_record_head,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use support::{Group, Stream, Value, block, decode, encode_value, read_file};

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..12),
        vec(97u8..99, 20..200),
        any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        (0u32..64, any::<bool>()).prop_map(|(bit, minus)| {
            let value = (1i128 << bit) - i128::from(bit % 2);
            (if minus { -value } else { value }).to_string().into_bytes()
        }),
        (4080usize..4110).prop_map(|len| vec![b'v'; len]),
        (16370usize..16390).prop_map(|len| (0..len).map(|i| (i * i / 7) as u8).collect()),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from), Just(f64::INFINITY), Just(-0.0)]
        .prop_filter("a number", |v| !v.is_nan())
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        word().prop_map(Value::String),
        vec(word(), 1..30).prop_map(Value::List),
        btree_set(word(), 1..30).prop_map(|set| Value::Set(set.into_iter().collect())),
        btree_set(any::<i32>(), 1..30)
            .prop_map(|set| Value::Set(set.iter().map(|v| v.to_string().into_bytes()).collect())),
        btree_map(word(), word(), 1..20).prop_map(|map| Value::Hash(map.into_iter().collect())),
        btree_map(word(), score(), 1..20).prop_map(|map| Value::Zset(map.into_iter().collect())),
        stream().prop_map(Value::Stream),
    ]
}

fn id() -> impl Strategy<Value = StreamId> {
    (any::<u64>(), 0..3u64).prop_map(|(ms, seq)| StreamId::new(ms, seq))
}

fn group() -> impl Strategy<Value = Group> {
    let pending = vec((id(), any::<i64>(), any::<u64>()), 0..5);
    // Seen and active are the same: the version that is written doesn't tell them apart.
    let consumer = (word(), any::<i64>(), vec(id(), 0..4)).prop_map(|(name, seen, owned)| (name, seen, seen, owned));
    (word(), id(), any::<i64>(), pending, vec(consumer, 0..4)).prop_map(|(name, last_id, reads, pending, consumers)| {
        Group { name, last_id, reads: Some(reads), pending, consumers }
    })
}

fn stream() -> impl Strategy<Value = Stream> {
    let entries = vec((1..90i64, -5..5i64, word(), word()), 1..9).prop_map(|entries| {
        let mut ms = 0;
        let entries: Vec<_> = entries
            .iter()
            .map(|(more, seq, f, v)| {
                ms += more;
                (ms, *seq, &f[..], &v[..])
            })
            .collect();
        block(&entries)
    });
    let blocks = vec((1u64..1 << 40, entries), 0..4);
    (blocks, id(), id(), any::<u64>(), vec(group(), 0..3)).prop_map(
        |(blocks, last_id, first_id, entries_added, groups)| Stream {
            counters: StreamCounters {
                length: entries_added / 2,
                last_id,
                first_id,
                max_deleted_id: first_id,
                entries_added,
            },
            blocks: blocks.into_iter().map(|(ms, pack)| (StreamId::new(ms, 5), pack)).collect(),
            groups,
        },
    )
}

fn meta() -> impl Strategy<Value = RecordMeta> {
    (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u8>>()).prop_map(|(expire_ms, idle_s, freq)| RecordMeta {
        // Times are signed in the format.
        expire_ms: expire_ms.map(|at| at >> 1),
        idle_s,
        freq,
    })
}

/// Sets come back in another order from an intset.
fn canonical(value: Value) -> Value {
    match value {
        Value::Set(mut items) => {
            items.sort();
            Value::Set(items)
        }
        other => other,
    }
}

fn record(meta: &RecordMeta, key: &[u8], value: &Value, packed: bool, compress: bool) -> Vec<u8> {
    let (mut body, mut out) = (Vec::new(), Vec::new());
    let rdb_type = encode_value(value, packed, EncodeOptions { compress, ..EncodeOptions::default() }, &mut body);
    write_record_head(&mut out, meta, rdb_type, key);
    out.extend_from_slice(&body);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn values_survive_every_form(value in value(), packed: bool, compress: bool) {
        let mut bytes = Vec::new();
        let rdb_type = encode_value(&value, packed, EncodeOptions { compress, ..EncodeOptions::default() }, &mut bytes);
        prop_assert_eq!(canonical(decode(rdb_type, &bytes).unwrap()), canonical(value));
        // A value ends where the scanner says, and nowhere else.
        let mut scanner = RecordScanner::value(rdb_type, u64::MAX).unwrap();
        let longer = [&bytes[..], b"behind"].concat();
        prop_assert_eq!(scanner.scan(&longer), Ok(Scan::Record(bytes.len())));
        prop_assert!(decode(rdb_type, &longer).is_err());
        prop_assert!(decode(rdb_type, &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn records_survive_and_are_found_in_any_pieces(keys in vec((meta(), word(), value()), 1..6), packed: bool, mut cuts in vec(0usize..3000, 0..12)) {
        let encoded: Vec<Vec<u8>> = keys.iter().map(|(meta, key, value)| record(meta, key, value, packed, true)).collect();
        let batch = encoded.concat();
        for (found, (meta, key, value)) in records(&batch).zip(&keys) {
            let found = found.unwrap();
            prop_assert_eq!((&found.meta, found.key.as_ref()), (meta, &key[..]));
            prop_assert_eq!(canonical(decode(found.rdb_type, found.value).unwrap()), canonical(value.clone()));
        }
        prop_assert_eq!(records(&batch).count(), keys.len());

        let first = encoded[0].len();
        cuts.retain(|cut| *cut < first);
        cuts.sort_unstable();
        let mut scanner = RecordScanner::default();
        for cut in cuts {
            prop_assert_eq!(scanner.scan(&batch[..cut]), Ok(Scan::Need));
        }
        prop_assert_eq!(scanner.scan(&batch), Ok(Scan::Record(first)));
    }

    /// RESTORE's worst case: the sender controls every byte and the checksum is right.
    #[test]
    fn mutated_payloads_never_panic(value in value(), packed: bool, compress: bool, changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), shorten: bool) {
        let mut body = Vec::new();
        let rdb_type = encode_value(&value, packed, EncodeOptions { compress, ..EncodeOptions::default() }, &mut body);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if shorten {
            body.truncate(cut.index(body.len()));
        }
        let payload = dump_payload(rdb_type, &body);
        let (rdb_type, body) = parse_dump(&payload).unwrap();
        if let Ok(value) = decode(rdb_type, body) {
            // What was accepted is a value: it survives being written again.
            let mut again = Vec::new();
            let rdb_type = encode_value(&value, false, EncodeOptions { compress, ..EncodeOptions::default() }, &mut again);
            prop_assert_eq!(decode(rdb_type, &again).unwrap(), value);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(prop_oneof![any::<u8>(), 0u8..22, 245u8..=255], 0..300), rdb_type in 0u8..26) {
        let _ = decode(rdb_type, &bytes);
        let _ = Record::parse(&bytes);
        let _ = parse_dump(&bytes);
        let _ = records(&bytes).take(1000).count();
        let _ = read_file(&[b"REDIS0010", &bytes[..]].concat(), 7);
        let _ = read_file(&bytes, 7);
    }

    #[test]
    fn a_changed_payload_is_noticed(value in value(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut body = Vec::new();
        let rdb_type = encode_value(&value, true, EncodeOptions::default(), &mut body);
        let mut payload = dump_payload(rdb_type, &body);
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        prop_assert!(parse_dump(&payload).is_err());
    }
}

/// Headers that promise gigabytes cost nothing until the bytes come.
#[test]
fn promises_reserve_nothing() {
    let giant_list = [&[4u8][..], b"\x01k", b"\x81\x00\xff\xff\xff\xff\xff\xff\xff", b"\x01f\x01v"].concat();
    let mut parser = FileParser::default();
    parser.feed(b"REDIS0010");
    assert!(parser.next_event().unwrap().is_some());
    parser.feed(&giant_list);
    assert_eq!(parser.next_event(), Ok(None));
    assert_eq!(parser.buffered(), giant_list.len());
    // Values: a count, a compressed length and packed sizes that lie.
    for (rdb_type, bytes) in [
        (1, &b"\x81\x00\xff\xff\xff\xff\xff\xff\xff\x01a"[..]),
        (5, b"\x81\x00\xff\xff\xff\xff\xff\xff\xff\x01a"),
        (18, b"\x81\x00\xff\xff\xff\xff\xff\xff\xff\x02"),
        (0, b"\xc3\x02\x80\xff\xff\xff\xff\x00a"),
        (0, b"\xc3\x02\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x00a"),
        (11, b"\x08\x02\x00\x00\x00\xff\xff\xff\xff"),
        (16, b"\x07\xff\xff\xff\xff\xff\xff\xff"),
        (16, b"\x0c\x0c\x00\x00\x00\x01\x00\xf0\xff\xff\xff\xff\xff"),
        (13, b"\x0b\xff\xff\xff\xff\x0a\x00\x00\x00\xff\xff\xff"),
    ] {
        assert!(decode(rdb_type, bytes).is_err(), "{rdb_type}");
    }
}

/// A record of 4 MB in pieces of 100 bytes takes a moment: nothing is scanned twice, nothing moved per piece.
#[test]
fn pieces_cost_linear_time() {
    let items: Vec<Vec<u8>> = (0..200_000).map(|i| format!("member-{i:012}").into_bytes()).collect();
    let mut file = b"REDIS0010\xfe\x00".to_vec();
    file.extend(record(&RecordMeta::default(), b"big", &Value::Set(items), false, false));
    file.push(255);
    file.extend_from_slice(&[0; 8]);
    let contents = read_file(&file, 100).unwrap();
    let Value::Set(items) = &contents.keys[0].value else { panic!("not a set") };
    assert_eq!((items.len(), contents.checksummed), (200_000, Some(false)));
}

#[test]
fn types_have_the_names_that_clients_see() {
    for (rdb_type, name) in [
        (0, "string"),
        (18, "list"),
        (20, "set"),
        (15, "stream"),
        (19, "stream"),
        (21, "stream"),
        (16, "hash"),
        (17, "zset"),
        (22, "hash"),
        (25, "hash"),
    ] {
        assert_eq!(Kind::of(rdb_type).unwrap().name(), name);
    }
    for (rdb_type, text) in [(7, "module"), (99, "99")] {
        assert!(Kind::of(rdb_type).unwrap_err().to_string().contains(text));
    }
}
