//! What keystead-rdb writes, a stock server must accept: whole files through redis-check-rdb and a start, single values
//! through RESTORE; and what the server dumps again must decode to the same.

#[path = "../../../core/rdb/tests/support/mod.rs"]
mod support;

use std::process::Command;

use keystead_harness::{RedisServer, Reply, have};
use keystead_rdb::{EncodeOptions, FileWriter, RDB_VERSION, RecordMeta, dump_payload, parse_dump, write_record_head};
use support::{Key, Value, decode, encode_value};

const YEAR_2100_MS: u64 = 4_102_444_800_000;

fn words(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("{i:0len$}").into_bytes()).collect()
}

fn zset(mut members: Vec<(Vec<u8>, f64)>) -> Value {
    members.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    Value::Zset(members)
}

/// One value of every shape that has an encoding of its own; true where the packed form is meant.
fn values() -> Vec<(&'static str, bool, Value)> {
    let noise: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let edges: Vec<Vec<u8>> = [0, 63, 64, 127, 128, 4095, 4096, 16383].iter().map(|len| vec![b'e'; *len]).collect();
    let numbers: Vec<Vec<u8>> = (0..64)
        .flat_map(|bit| [(1i128 << bit) - 1, -(1i128 << bit)])
        .filter_map(|v| i64::try_from(v).ok())
        .map(|v| v.to_string().into_bytes())
        .collect();
    let pairs =
        |items: Vec<Vec<u8>>| items.into_iter().map(|item| ([b"f-", &item[..]].concat(), item)).collect::<Vec<_>>();
    let scores =
        [0.0, 1.0, -1.5, 0.1, 1e-10, 1e300, f64::INFINITY, f64::NEG_INFINITY, 9007199254740993.0, f64::MIN_POSITIVE];
    let scored: Vec<_> = scores.iter().enumerate().map(|(i, s)| (format!("m{i}").into_bytes(), *s)).collect();
    vec![
        ("s-empty", true, Value::String(Vec::new())),
        ("s-int", true, Value::String(b"-32769".to_vec())),
        ("s-long-int", true, Value::String(b"-9223372036854775808".to_vec())),
        ("s-packed", true, Value::String(b"keystead ".repeat(100))),
        ("s-noise", true, Value::String(noise.clone())),
        ("l-small", true, Value::List(words(3, 1))),
        ("l-numbers", true, Value::List(numbers.clone())),
        ("l-edges", true, Value::List(edges.clone())),
        ("l-many-nodes", true, Value::List(words(5000, 12))),
        ("l-big-elements", true, Value::List(vec![vec![b'x'; 100_000], noise, b"end".to_vec()])),
        ("set-ints16", true, Value::Set([&b"-32768"[..], b"0", b"32767"].map(<[u8]>::to_vec).to_vec())),
        ("set-ints64", true, Value::Set(vec![b"-9223372036854775808".to_vec(), b"1".to_vec()])),
        ("set-plain", false, Value::Set(words(1000, 3))),
        ("set-text", false, Value::Set(edges.clone())),
        ("h-packed", true, Value::Hash(pairs(words(20, 2)))),
        ("h-packed-numbers", true, Value::Hash(pairs(numbers))),
        ("h-packed-edges", true, Value::Hash(pairs(edges.clone()))),
        ("h-plain", false, Value::Hash(pairs(words(1000, 5)))),
        ("z-packed", true, zset(scored.clone())),
        ("z-plain", false, zset(scored)),
        ("z-big", false, zset(words(1000, 4).into_iter().enumerate().map(|(i, m)| (m, i as f64 / 7.0)).collect())),
    ]
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Set(mut items) => {
            items.sort();
            Value::Set(items)
        }
        Value::Hash(mut items) => {
            items.sort();
            Value::Hash(items)
        }
        Value::Zset(items) => zset(items),
        other => other,
    }
}

fn write_file(compress: bool, checksum: bool) -> Vec<u8> {
    let mut writer = FileWriter::new(checksum);
    let mut file = Vec::new();
    writer.header(&mut file, RDB_VERSION);
    writer.aux(&mut file, "redis-ver", "7.2.4");
    writer.aux(&mut file, "redis-bits", "64");
    for db in [0, 9] {
        writer.select_db(&mut file, db);
        writer.resize_db(&mut file, values().len() as u64, 1);
        for (i, (name, packed, value)) in values().into_iter().enumerate() {
            let (mut body, mut record) = (Vec::new(), Vec::new());
            let rdb_type =
                encode_value(&value, packed, EncodeOptions { compress, ..EncodeOptions::default() }, &mut body);
            let meta = match i % 3 {
                0 => RecordMeta { expire_ms: Some(YEAR_2100_MS), idle_s: Some(100), freq: None },
                1 => RecordMeta { freq: Some(7), ..RecordMeta::default() },
                _ => RecordMeta::default(),
            };
            write_record_head(&mut record, &meta, rdb_type, name.as_bytes());
            record.extend(body);
            writer.records(&mut file, &record);
        }
    }
    writer.eof(&mut file);
    file
}

fn dumped(client: &mut keystead_harness::Client, name: &str) -> Value {
    let Reply::Bulk(payload) = client.command(&["DUMP", name]) else { panic!("{name} is gone") };
    let (rdb_type, value) = parse_dump(&payload).expect("a valid footer");
    decode(rdb_type, value).expect("a valid value")
}

#[test]
fn files_are_accepted_by_redis_check_rdb_and_redis_server() {
    if !have("redis-server") || !have("redis-check-rdb") {
        return println!("SKIPPED: redis-server and redis-check-rdb are not installed");
    }
    for (compress, checksum) in [(true, true), (false, false)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.rdb");
        std::fs::write(&path, write_file(compress, checksum)).unwrap();
        let check = Command::new("redis-check-rdb").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success() && said.contains("RDB looks OK"), "{said}");

        let folder = dir.path().to_str().unwrap();
        let server = RedisServer::start(&["--dir", folder, "--sanitize-dump-payload", "yes"]);
        let mut client = server.client();
        for db in ["0", "9"] {
            client.ok(&format!("SELECT {db}"));
            assert_eq!(client.ok("DBSIZE"), values().len() as i64);
            for (i, (name, _, value)) in values().into_iter().enumerate() {
                assert_eq!(sorted(dumped(&mut client, name)), sorted(value), "{name}");
                let expiry = if i % 3 == 0 { YEAR_2100_MS as i64 } else { -1 };
                assert_eq!(client.cmd(&format!("PEXPIRETIME {name}")), expiry, "{name}");
            }
        }
    }
}

#[test]
fn payloads_are_accepted_by_restore() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let server = RedisServer::start(&["--sanitize-dump-payload", "yes"]);
    let mut client = server.client();
    for (name, packed, value) in values() {
        let mut digests = Vec::new();
        for compress in [true, false] {
            let mut body = Vec::new();
            let rdb_type =
                encode_value(&value, packed, EncodeOptions { compress, ..EncodeOptions::default() }, &mut body);
            let payload = dump_payload(rdb_type, &body);
            let reply = client.command(&[b"RESTORE", name.as_bytes(), b"0", &payload, b"REPLACE"]);
            assert_eq!(reply, "OK", "{name}");
            assert_eq!(sorted(dumped(&mut client, name)), sorted(value.clone()), "{name}");
            digests.push(client.command(&["DEBUG", "DIGEST-VALUE", name]));
        }
        assert_eq!(digests[0], digests[1]);
    }
}

#[test]
fn a_whole_dump_keeps_its_listing() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    // The same keys through a server that saves them: its file and ours list the same.
    let dir = tempfile::tempdir().unwrap();
    let ours = write_file(true, true);
    std::fs::write(dir.path().join("dump.rdb"), &ours).unwrap();
    let server = RedisServer::start(&["--dir", dir.path().to_str().unwrap()]);
    assert_eq!(server.client().ok("SAVE"), "OK");
    let theirs = std::fs::read(dir.path().join("dump.rdb")).unwrap();
    let keys = |file: &[u8]| -> Vec<Key> { support::read_file(file, 4096).expect("a whole file").keys };
    assert_eq!(support::listing(&keys(&theirs)), support::listing(&keys(&ours)));
}
