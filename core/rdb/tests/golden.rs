//! Files of a real server, read in pieces of many sizes, and what was written read back.

mod support;

use std::path::PathBuf;

use keystead_rdb::{
    Elem, EncodeOptions, FileWriter, RDB_VERSION, RecordScanner, Scan, StreamId, dump_payload, encode, parse_dump,
    write_record_head,
};
use support::{Contents, decode, encode_value, listing, read_file};

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str) -> Contents {
    read_file(&golden(&format!("{name}.rdb")), 1 << 20).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn files_say_what_the_server_that_wrote_them_said() {
    for (name, version, checksummed) in [
        ("all", 10, true),
        ("uncompressed-unchecked", 10, false),
        ("lru", 10, true),
        ("lfu", 10, true),
        ("function", 10, true),
        ("old", 6, true),
        ("streams", 10, true),
    ] {
        let contents = read(name);
        let want = String::from_utf8(golden(&format!("{name}.txt"))).unwrap();
        assert_eq!(listing(&contents.keys), want, "{name}");
        assert_eq!((contents.version, contents.checksummed), (version, Some(checksummed)), "{name}");
    }
    assert!(read("empty").keys.is_empty());
    assert!(read("all").aux.contains(&("redis-ver".into(), "7.0.15".into())));
    assert!(read("lru").keys.iter().all(|key| key.meta.idle_s.is_some() && key.meta.freq.is_none()));
    assert!(read("lfu").keys.iter().all(|key| key.meta.freq.is_some() && key.meta.idle_s.is_none()));
    let function = read("function").functions.concat();
    assert!(function.starts_with(b"#!lua name=mylib\n"));
}

#[test]
fn pieces_of_any_size_give_the_same() {
    for name in ["all", "old", "streams"] {
        let bytes = golden(&format!("{name}.rdb"));
        let whole = listing(&read_file(&bytes, bytes.len()).unwrap().keys);
        for piece in [1, 2, 7, 64, 1000, 16 * 1024] {
            assert_eq!(listing(&read_file(&bytes, piece).unwrap().keys), whole, "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_left_over() {
    let mut bytes = golden("lru.rdb");
    bytes.extend_from_slice(b"0123456789*1\r\n");
    for piece in [1, 5, 1000] {
        let rest = read_file(&bytes, piece).map(|contents| contents.rest).unwrap_or_default();
        // A parser that is done keeps what it is fed.
        assert_eq!(rest, b"0123456789*1\r\n");
    }
}

#[test]
fn an_unknown_type_is_refused_by_name_with_its_key() {
    let error = read_file(b"REDIS0010\xfe\x00\x07\x06events\x01f\x01v", 64).unwrap_err();
    assert!(error.contains("key 'events'") && error.contains("type module"), "{error}");
}

/// The four forms of Redis 7.4 and its release candidates, as rdb.c of 7.4.1 writes and reads them.
#[test]
fn hashes_with_field_expiry_are_read() {
    let at = 1_700_000_000_000_u64;
    let earliest = at.to_le_bytes();
    let absolute = [&[0x81][..], &(at + 4).to_be_bytes()].concat();
    // f expires at the earliest time, g never, h four milliseconds later.
    let singles = [b"\x03\x01\x01f\x01v\x00\x01g\x011".as_slice(), b"\x05\x01h\x01w"].concat();
    let before = [b"\x02\x00\x01g\x011".as_slice(), &absolute, b"\x01h\x01w"].concat();
    let mut pack = Vec::new();
    let mut writer = keystead_rdb::listpack::Pack::begin(&mut pack);
    for (field, value, at) in [("f", "v", at), ("h", "w", at + 4), ("g", "1", 0)] {
        for elem in [Elem::Bytes(field.as_bytes()), Elem::Bytes(value.as_bytes()), Elem::Int(at as i64)] {
            writer.push(elem, &mut pack);
        }
    }
    writer.finish(&mut pack);
    let packed = [&[pack.len() as u8][..], &pack].concat();
    let all = ["f=v@1700000000000", "g=1", "h=w@1700000000004"];
    for (rdb_type, value, expected) in [
        (22, before, &all[1..]),
        (23, packed.clone(), &all),
        (24, [&earliest[..], &singles].concat(), &all),
        (25, [&earliest[..], &packed].concat(), &all),
    ] {
        let support::Value::Hash(fields) = decode(rdb_type, &value).unwrap() else { panic!("not a hash") };
        let text = |(field, value): &(Vec<u8>, Vec<u8>)| {
            format!("{}={}", String::from_utf8_lossy(field), String::from_utf8_lossy(value))
        };
        let mut read: Vec<String> = fields.iter().map(text).collect();
        read.sort();
        assert_eq!(read, expected, "type {rdb_type}");
        let mut scanner = RecordScanner::value(rdb_type, u64::MAX).unwrap();
        assert_eq!(scanner.scan(&[&value[..], b"more"].concat()), Ok(Scan::Record(value.len())));
        assert!((0..value.len()).all(|end| decode(rdb_type, &value[..end]).is_err()));
        let payload = dump_payload(rdb_type, &value);
        assert_eq!(payload[payload.len() - 10..][..2], [12, 0], "an older reader refuses it");
    }
    // A deadline beyond 48 bits, and a listpack whose last field has none at all.
    assert!(decode(24, &[&u64::MAX.to_le_bytes()[..], &singles].concat()).is_err());
    let mut short = Vec::new();
    let mut writer = keystead_rdb::listpack::Pack::begin(&mut short);
    [b"f".as_slice(), b"v"].iter().for_each(|elem| writer.push(Elem::Bytes(elem), &mut short));
    writer.finish(&mut short);
    assert!(decode(23, &[&[short.len() as u8][..], &short].concat()).is_err());
}

#[test]
fn hashes_with_field_expiry_come_back() {
    let fields = || [("a", "1", Some(1 << 41)), ("b", "2", Some((1 << 41) + 77)), ("c", "3", None)];
    let options = EncodeOptions { version: 12, ..EncodeOptions::default() };
    for packed in [false, true] {
        let mut out = Vec::new();
        let of = fields().into_iter().map(|(f, v, at)| (f.as_bytes(), v.as_bytes(), at));
        let rdb_type = match packed {
            true => encode::hash_timed_listpack(&mut out, 1 << 41, of, options),
            false => encode::hash_timed(&mut out, 3, 1 << 41, of, options),
        };
        let support::Value::Hash(read) = decode(rdb_type, &out).unwrap() else { panic!("not a hash") };
        let wanted = fields()
            .map(|(f, v, at)| (f.as_bytes().to_vec(), at.map_or(v.to_owned(), |at| format!("{v}@{at}")).into_bytes()));
        assert_eq!(read, wanted);
    }
}

/// The oldest form of a stream has no counters, the newest knows when consumers were active.
#[test]
fn streams_of_every_version_are_read() {
    let pack = support::block(&[(0, 0, b"f", b"v"), (1, 0, b"f", b"w"), (2, -1, b"g", b"x")]);
    for (rdb_type, counters, reads, active) in [
        (15, &b"\x03\x07\x02"[..], &b""[..], &b""[..]),
        (19, b"\x03\x07\x02\x05\x03\x00\x00\x09", b"\x02", b""),
        (21, b"\x03\x07\x02\x05\x03\x00\x00\x09", b"\x02", b"\x02\0\0\0\0\0\0\0"),
    ] {
        let id = StreamId::new(5, 3).to_bytes();
        let value = [
            &b"\x01\x10"[..],
            &id,
            &[pack.len() as u8],
            &pack,
            counters,
            b"\x01\x01g\x05\x03",
            reads,
            b"\x01",
            &id,
            &[9, 0, 0, 0, 0, 0, 0, 0, 4],
            b"\x01\x01c\x08\0\0\0\0\0\0\0",
            active,
            b"\x01",
            &id,
        ]
        .concat();
        let support::Value::Stream(stream) = decode(rdb_type, &value).unwrap() else { panic!("not a stream") };
        let added = if rdb_type == 15 { 3 } else { 9 };
        assert_eq!((stream.counters.length, stream.counters.entries_added), (3, added));
        let group = &stream.groups[0];
        assert_eq!(
            (group.reads, group.pending.as_slice()),
            ((rdb_type != 15).then_some(2), &[(StreamId::new(5, 3), 9, 4)][..])
        );
        let active = if rdb_type == 21 { 2 } else { 8 };
        assert_eq!(group.consumers, [(b"c".to_vec(), 8, active, vec![StreamId::new(5, 3)])]);
        let mut scanner = RecordScanner::value(rdb_type, u64::MAX).unwrap();
        assert_eq!(scanner.scan(&[&value[..], b"more"].concat()), Ok(Scan::Record(value.len())));
        assert!((0..value.len()).all(|end| decode(rdb_type, &value[..end]).is_err()));

        let mut again = Vec::new();
        let options = EncodeOptions { version: if rdb_type == 21 { 11 } else { 10 }, ..EncodeOptions::default() };
        let written = encode_value(&support::Value::Stream(stream), true, options, &mut again);
        assert_eq!(written, rdb_type.max(19));
        assert!(rdb_type == 15 || again == value);
    }
}

#[test]
fn blocks_that_contradict_themselves_are_refused() {
    let good: &[(i64, i64, &[u8], &[u8])] = &[(0, 0, b"f", b"v"), (1, 0, b"g", b"w")];
    let value = |pack: &[u8]| {
        let id = StreamId::new(5, 3).to_bytes();
        [&b"\x01\x10"[..], &id, &[pack.len() as u8], pack, b"\x02\x07\x02\x05\x03\x00\x00\x02\x00"].concat()
    };
    let pack = support::block(good);
    assert!(decode(19, &value(&pack)).is_ok());
    for (at, byte, text) in
        [(6, 3, "form"), (8, 1, "form"), (10, 2, "form"), (15, 1, "form"), (17, 1, "form"), (26, 5, "form")]
    {
        let mut bad = pack.clone();
        assert!(bad[at] < 16, "{at} is no small integer");
        bad[at] = byte;
        let error = decode(19, &value(&bad)).unwrap_err().to_string();
        assert!(error.contains(text), "{at}: {error}");
    }
    let backward = support::block(&[(1, 0, b"f", b"v"), (0, 5, b"f", b"v")]);
    assert!(decode(19, &value(&backward)).unwrap_err().to_string().contains("order"));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = golden("all.rdb");
    let ends = (0..400).chain((400..bytes.len()).step_by(37));
    for end in ends {
        let error = read_file(&bytes[..end], 4096).unwrap_err();
        assert!(error.contains("unexpected end"), "{end}: {error}");
    }
}

/// Any changed byte is noticed: by its own check, or at the end by the checksum.
#[test]
fn every_changed_byte_is_an_error() {
    let bytes = golden("all.rdb");
    for at in (0..300).chain((300..bytes.len()).step_by(41)) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        // Version 10 with one bit changed may be another version that can be read.
        if at >= 9 {
            assert!(read_file(&changed, 4096).is_err(), "byte {at}");
        }
    }
}

#[test]
fn wrong_files_are_told_apart() {
    for (bytes, text) in [
        (&b"HELLO"[..], "no RDB file"),
        (b"REDISabcd", "no RDB file"),
        (b"REDIS0000", "version 0"),
        (b"REDIS0099", "version 99 is newer than 12"),
        (b"REDIS0010\x1e\x01k\x01v", "unknown value type 30"),
        (b"REDIS0010\x07\x01k", "type module"),
        (b"REDIS0010\xf7\x01", "module's type 'AAAAAAAAA'"),
        (b"REDIS0010\x00\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff", "longer than allowed"),
        (b"REDIS0010\x00\x01k\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff", "longer than allowed"),
        (b"REDIS0010\xfe\x81\xff\xff\xff\xff\xff\xff\xff\xff", "database number too large"),
        (b"REDIS0010\xff12345678", "wrong checksum"),
        (b"REDIS0010\x04\x01k\x00\xff\0\0\0\0\0\0\0\0", "empty collection"),
    ] {
        let error = read_file(bytes, 64).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for (compress, packed, checksum) in [(true, true, true), (false, true, false), (true, false, true)] {
        let all = read("all");
        let options = EncodeOptions { compress, ..EncodeOptions::default() };
        let mut writer = FileWriter::new(checksum);
        let mut file = Vec::new();
        writer.header(&mut file, RDB_VERSION);
        writer.aux(&mut file, "redis-ver", "7.2.4");
        let mut db = None;
        for key in &all.keys {
            if db != Some(key.db) {
                writer.select_db(&mut file, key.db);
                writer.resize_db(&mut file, 100, 1);
                db = Some(key.db);
            }
            let (mut value, mut record) = (Vec::new(), Vec::new());
            let rdb_type = encode_value(&key.value, packed, options, &mut value);
            write_record_head(&mut record, &key.meta, rdb_type, &key.name);
            record.extend_from_slice(&value);
            writer.records(&mut file, &record);

            let payload = dump_payload(rdb_type, &value);
            let (rdb_type, value) = parse_dump(&payload).unwrap();
            assert_eq!(
                listing(&[support::Key { value: decode(rdb_type, value).unwrap(), ..key.clone() }]),
                listing(std::slice::from_ref(key))
            );
        }
        writer.eof(&mut file);
        assert_eq!(writer.written(), file.len() as u64);
        let again = read_file(&file, 999).unwrap();
        assert_eq!(listing(&again.keys), listing(&all.keys));
        assert_eq!(again.checksummed, Some(checksum));
    }
}
