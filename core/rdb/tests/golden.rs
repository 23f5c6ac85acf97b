//! Files of a real server, read in pieces of many sizes, and what was written read back.

mod support;

use std::path::PathBuf;

use keystead_rdb::{EncodeOptions, FileWriter, RDB_VERSION, dump_payload, parse_dump, write_record_head};
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
    for name in ["all", "old"] {
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
fn a_stream_is_refused_by_name_with_its_key() {
    let error = read_file(&golden("stream.rdb"), 64).unwrap_err();
    assert!(error.contains("key 'events'") && error.contains("type stream"), "{error}");
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
        (b"REDIS0010\xf7", "module data"),
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
        let options = EncodeOptions { compress };
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
