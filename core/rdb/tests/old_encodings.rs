//! Bytes of encodings that no server of today writes, made by hand from the formats' descriptions (Redis' rdb.h, zipmap.c,
//! ziplist.c, intset.c, quicklist.c): each is read, told from what follows it, and refused wherever it is cut.

mod support;

use keystead_rdb::{RecordScanner, Scan};
use support::{Value, decode, read_file};

fn bytes(items: &[&str]) -> Vec<Vec<u8>> {
    items.iter().map(|item| item.as_bytes().to_vec()).collect()
}

fn pairs(items: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    items.iter().map(|(field, value)| (field.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn scored(items: &[(&str, f64)]) -> Vec<(Vec<u8>, f64)> {
    items.iter().map(|(member, score)| (member.as_bytes().to_vec(), *score)).collect()
}

/// A string of less than 64 bytes as a file has it: 00 and six bits of length.
fn string(content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 64);
    [&[content.len() as u8], content].concat()
}

/// A longer one: 01 and fourteen bits of length, big-endian.
fn long_string(content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 1 << 14);
    [&[0x40 | (content.len() >> 8) as u8, content.len() as u8], content].concat()
}

/// `<zlbytes:4><zltail:4><zllen:2><entries><0xff>`, little-endian; an entry is the length of the one before it, then its own
/// encoding and data, which are given.
fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut before, mut tail) = (Vec::new(), 0usize, 10);
    for entry in entries {
        tail = 10 + body.len();
        match before {
            0..=253 => body.push(before as u8),
            _ => {
                body.push(0xfe);
                body.extend_from_slice(&(before as u32).to_le_bytes());
            }
        }
        let head = if before < 254 { 1 } else { 5 };
        body.extend_from_slice(entry);
        before = head + entry.len();
    }
    let total = (10 + body.len() + 1) as u32;
    let count = (entries.len() as u16).to_le_bytes();
    [&total.to_le_bytes()[..], &(tail as u32).to_le_bytes(), &count, &body, &[0xff]].concat()
}

fn check(rdb_type: u8, value: &[u8], wanted: &Value, what: &str) {
    let read = decode(rdb_type, value).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(format!("{read:?}"), format!("{wanted:?}"), "{what}");
    let Ok(mut scanner) = RecordScanner::value(rdb_type, u64::MAX) else { panic!("{what}: no known type") };
    let followed = [value, b"more"].concat();
    assert_eq!(scanner.scan(&followed), Ok(Scan::Record(value.len())), "{what}: where it ends");
    for end in 0..value.len() {
        assert!(decode(rdb_type, &value[..end]).is_err(), "{what}: cut at {end} of {}", value.len());
    }
}

/// Types 0 to 4: everything as single strings, of which some are integers (11 and 0, 1, 2: of 1, 2, 4 bytes, little-endian)
/// and some packed (11 and 3: LZF with both lengths).
#[test]
fn plain_types_of_single_strings() {
    check(0, b"\x05hello", &Value::String(b"hello".to_vec()), "a string");
    check(0, b"\xc0\xfe", &Value::String(b"-2".to_vec()), "one byte");
    check(0, b"\xc1\x39\x30", &Value::String(b"12345".to_vec()), "two bytes");
    check(0, b"\xc2\x15\xcd\x5b\x07", &Value::String(b"123456789".to_vec()), "four bytes");
    // LZF: one literal 'a', then a reference of length 7 + 2 + 10 bytes, one byte back.
    check(0, b"\xc3\x05\x14\x00a\xe0\x0a\x00", &Value::String(vec![b'a'; 20]), "packed");
    check(1, b"\x03\x01a\xc0\x07\x01a", &Value::List(bytes(&["a", "7", "a"])), "a list");
    check(2, b"\x02\x01x\x01y", &Value::Set(bytes(&["x", "y"])), "a set");
    // Scores are text behind a length of one byte; 253, 254 and 255 are no lengths: not a number, and the two infinities.
    let zset = b"\x04\x01a\xff\x01b\x04-1.5\x01c\x122.2999999999999998\x01d\xfe";
    let wanted = [("a", f64::NEG_INFINITY), ("b", -1.5), ("c", 2.3), ("d", f64::INFINITY)];
    check(3, zset, &Value::Zset(scored(&wanted)), "a sorted set");
    assert!(decode(3, b"\x01\x01a\xfd").is_err(), "a score that is no number");
    assert!(decode(3, b"\x01\x01a\x03abc").is_err(), "a score that is no text of a number");
    check(4, b"\x02\x01f\x01v\x01g\xc0\x01", &Value::Hash(pairs(&[("f", "v"), ("g", "1")])), "a hash");
}

/// Type 9 (before 2.6): `<zmlen><len>key<len><free>value…<free bytes>…<0xff>`; 254 begins a length of four bytes.
#[test]
fn zipmaps() {
    // As zipmap.c's own comment has it: "foo" => "bar", "hello" => "world".
    let map = b"\x02\x03foo\x03\x00bar\x05hello\x05\x00world\xff";
    let wanted = Value::Hash(pairs(&[("foo", "bar"), ("hello", "world")]));
    check(9, &string(map), &wanted, "its own example");
    // A value that was shortened leaves free bytes behind it.
    let free = b"\x02\x01a\x01\x031...\x01b\x00\x00\xff";
    check(9, &string(free), &Value::Hash(pairs(&[("a", "1"), ("b", "")])), "free bytes");
    let (key, value) = ("k".repeat(254), "v".repeat(300));
    let long = [b"\x01\xfe\xfe\0\0\0", key.as_bytes(), b"\xfe\x2c\x01\0\0\0", value.as_bytes(), b"\xff"].concat();
    check(9, &long_string(&long), &Value::Hash(pairs(&[(&key, &value)])), "long lengths");
    // 254 and more are not counted: the end says how many there are.
    let mut many = vec![254];
    let names: Vec<String> = (0..300).map(|n| format!("f{n:03}")).collect();
    names.iter().for_each(|name| many.extend([b"\x04", name.as_bytes(), b"\x01\x00x"].concat()));
    many.push(0xff);
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    check(9, &long_string(&many), &Value::Hash(pairs(&all)), "more than are counted");
    for (bad, what) in [
        (&b"\x01\x03foo\x03\x00bar"[..], "no end"),
        (b"\x01\x03foo\x09\x00bar\xff", "a value beyond the end"),
        (b"\x01\x03foo\xff", "a key without a value"),
        (b"\x00\xff", "nothing in it"),
    ] {
        assert!(decode(9, &string(bad)).is_err(), "{what}");
    }
}

/// Every encoding of an entry: strings with 6, 14 and 32 bits of length, integers of 4 bits to 8 bytes.
#[test]
fn ziplists_as_lists_hashes_and_sorted_sets() {
    let middle = [&[0x40 | 1, 0x2c][..], &[b'm'; 300]].concat();
    let long = [&[0x80, 0, 0, 0x40, 0][..], &[b'l'; 0x4000]].concat();
    let entries: [&[u8]; 10] = [
        b"\x03abc",
        &middle,
        b"\xf1",
        b"\xfd",
        b"\xfe\x80",
        b"\xc0\x00\x80",
        b"\xf0\xff\xff\x7f",
        b"\xd0\x00\x00\x00\x80",
        b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x00",
    ];
    let middle_text = "m".repeat(300);
    let texts = ["abc", &middle_text, "0", "12", "-128", "-32768", "8388607", "-2147483648", "9223372036854775807", ""];
    check(10, &long_string(&ziplist(&entries)), &Value::List(bytes(&texts)), "every encoding");
    let whole = ziplist(&[&long, b"\x01z"]);
    let framed = [&[0x80][..], &(whole.len() as u32).to_be_bytes(), &whole].concat();
    let read = decode(10, &framed).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", Value::List(vec![vec![b'l'; 0x4000], b"z".to_vec()])));

    // `ziplist.c`'s own example: the integers 2 and 5, in fifteen bytes.
    let example = b"\x0f\0\0\0\x0c\0\0\0\x02\0\x00\xf3\x02\xf6\xff";
    check(10, &string(example), &Value::List(bytes(&["2", "5"])), "its own example");

    let hash = ziplist(&[b"\x01f", b"\x01v", b"\x01g", b"\xf2"]);
    check(13, &string(&hash), &Value::Hash(pairs(&[("f", "v"), ("g", "1")])), "a hash");
    let zset = ziplist(&[b"\x01a", b"\x04-inf", b"\x01b", b"\xf3", b"\x01c", b"\x032.5"]);
    let wanted = scored(&[("a", f64::NEG_INFINITY), ("b", 2.0), ("c", 2.5)]);
    check(12, &string(&zset), &Value::Zset(wanted), "a sorted set");

    let good = ziplist(&[b"\x01a", b"\x01b"]);
    let changed = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        string(&bad)
    };
    assert!(decode(10, &string(&good)).is_ok());
    for (at, byte, what) in [
        (0, 99, "a length that isn't its own"),
        (11, 0x3f, "an entry beyond the end"),
        (11, 0xff, "an end before the end"),
        (good.len() - 1, 0, "no end"),
    ] {
        assert!(decode(10, &changed(at, byte)).is_err(), "{what}");
    }
    assert!(decode(13, &string(&ziplist(&[b"\x01f"]))).is_err(), "a field without a value");
    assert!(decode(12, &string(&ziplist(&[b"\x01a", b"\x01x"]))).is_err(), "a score that is no number");
}

/// `<encoding:4><length:4><integers>`, little-endian, in order.
#[test]
fn sets_of_integers() {
    let two = b"\x02\0\0\0\x03\0\0\0\x00\x80\x00\x00\xff\x7f";
    check(11, &string(two), &Value::Set(bytes(&["-32768", "0", "32767"])), "of two bytes");
    let four = b"\x04\0\0\0\x01\0\0\0\x00\x80\x00\x00";
    check(11, &string(four), &Value::Set(bytes(&["32768"])), "of four");
    let eight = b"\x08\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\x80\xff\xff\xff\xff\xff\xff\xff\x7f";
    check(11, &string(eight), &Value::Set(bytes(&["-9223372036854775808", "9223372036854775807"])), "of eight");
    for (bad, what) in [
        (&b"\x03\0\0\0\x01\0\0\0\0\0\0"[..], "of three"),
        (b"\x02\0\0\0\x02\0\0\0\0\0", "fewer than it says"),
        (b"\x02\0\0\0\0\0\0\0", "none"),
    ] {
        assert!(decode(11, &string(bad)).is_err(), "{what}");
    }
}

/// Type 14 (3.2 to 6.2): a number of ziplists, each a string.
#[test]
fn lists_of_ziplists() {
    let (one, two) = (ziplist(&[b"\x01a", b"\xf2"]), ziplist(&[b"\x01b"]));
    let value = [&[2][..], &string(&one), &string(&two)].concat();
    check(14, &value, &Value::List(bytes(&["a", "1", "b"])), "two nodes");
    // A node without entries is passed over; a list without any isn't one.
    let hollow = [&[2][..], &string(&ziplist(&[])), &string(&two)].concat();
    let read = decode(14, &hollow).map(|value| format!("{value:?}"));
    assert_eq!(read.unwrap(), format!("{:?}", Value::List(bytes(&["b"]))));
    assert!(decode(14, &[&[1][..], &string(&ziplist(&[]))].concat()).is_err());
}

/// Versions 1 to 12: a checksum since 5, and deadlines in seconds (253) before they were in milliseconds (252).
#[test]
fn files_of_every_version() {
    for version in 1..=12 {
        let mut file = format!("REDIS{version:04}").into_bytes();
        file.extend_from_slice(b"\xfe\x03\xfd\xff\xff\xff\x7f\x00\x01k\x05hello");
        if version >= 3 {
            file.extend_from_slice(b"\xfc\x00\x00\x00\x00\x00\x01\x00\x00\x01\x01l\x01\x01x");
        }
        file.push(0xff);
        if version >= 5 {
            // All zeros: written without one.
            file.extend_from_slice(&[0; 8]);
        }
        for piece in [1, 7, 4096] {
            let read = read_file(&file, piece).unwrap_or_else(|error| panic!("version {version}: {error}"));
            assert_eq!((read.version, read.keys.len()), (version, if version >= 3 { 2 } else { 1 }));
            let key = &read.keys[0];
            assert_eq!((key.db, key.meta.expire_ms), (3, Some(0x7fff_ffff * 1000)), "version {version}");
            assert_eq!(read.checksummed, Some(false));
        }
    }
}
