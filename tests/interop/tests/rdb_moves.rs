//! Values on the move between Keystead and redis-server, in every encoding: by DUMP and RESTORE, and by full sync. Both
//! sides must then show the same digest.

use std::path::{Path, PathBuf};

use keystead_harness::{Client, DEADLINE, Keystead, RedisServer, Reply, have, wait_until};
use keystead_interop::compare::{differences, digest, groups, mark_of_primary, mark_of_replica};
use keystead_interop::random::{Commands, Rng};

const DATABASES: [u32; 6] = [0, 1, 3, 7, 9, 15];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/rdb/tests/golden").join(name)
}

/// A stock server that loaded one of the golden files.
fn stock_with(name: &str) -> (RedisServer, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(golden(name), dir.path().join("dump.rdb")).expect("the golden file is there");
    let folder = dir.path().to_str().expect("a plain path");
    (RedisServer::start(&["--dir", folder]), dir)
}

fn dump(client: &mut Client, key: &[u8]) -> Vec<u8> {
    match client.command(&[&b"DUMP"[..], key]) {
        Reply::Bulk(payload) => payload,
        other => panic!("DUMP {}: {other:?}", key.escape_ascii()),
    }
}

fn keys(client: &mut Client) -> Vec<Vec<u8>> {
    let bytes = |reply: Reply| match reply {
        Reply::Bulk(bytes) => bytes,
        other => panic!("a key: {other:?}"),
    };
    client.cmd("KEYS *").items().into_iter().map(bytes).collect()
}

fn value_digest(client: &mut Client, key: &[u8]) -> String {
    client.command(&[&b"DEBUG"[..], b"DIGEST-VALUE", key]).texts().join(" ")
}

fn restore_all(from: &mut Client, to: &mut Client) {
    for key in keys(from) {
        let payload = dump(from, &key);
        let expiry = from.command(&[&b"PEXPIRETIME"[..], &key]).as_int().unwrap_or(0).max(0).to_string();
        let reply = to.command(&[&b"RESTORE"[..], &key, expiry.as_bytes(), &payload, b"REPLACE", b"ABSTTL"]);
        assert_eq!(reply, "OK", "{}", key.escape_ascii());
        assert_eq!(value_digest(to, &key), value_digest(from, &key), "{}", key.escape_ascii());
    }
}

#[test]
fn dump_and_restore_keep_every_value() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let (ours, back) = (Keystead::plain(), RedisServer::start(&["--sanitize-dump-payload", "yes"]));
    for name in ["all.rdb", "old.rdb", "streams.rdb"] {
        let (stock, _dir) = stock_with(name);
        restore_all(&mut stock.client(), &mut ours.client());
        restore_all(&mut ours.client(), &mut back.client());
        let all = groups(&mut stock.client(), &DATABASES);
        assert_eq!(all.is_empty(), name != "streams.rdb");
        assert_eq!(groups(&mut ours.client(), &[0]), groups(&mut back.client(), &[0]));
    }
}

#[test]
fn restore_refuses_in_the_words_of_redis() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let (ours, stock) = (Keystead::plain(), RedisServer::start(&[]));
    let (mut a, mut b) = (ours.client(), stock.client());
    b.ok("SET k value");
    let good = dump(&mut b, b"k");
    let mut bad = good.clone();
    bad[2] ^= 1;
    let cases: &[&[&[u8]]] = &[
        &[b"RESTORE", b"k", b"0", &bad],
        &[b"RESTORE", b"k", b"0", b""],
        &[b"RESTORE", b"k", b"-1", &good],
        &[b"RESTORE", b"k", b"x", &good],
        &[b"RESTORE", b"k", b"0", &good, b"NONSENSE"],
        &[b"RESTORE", b"k", b"0", &good, b"IDLETIME", b"-1"],
        &[b"RESTORE", b"k", b"0", &good, b"FREQ", b"256"],
        &[b"RESTORE", b"k", b"0", &good],
        &[b"RESTORE", b"k", b"0", &good],
        &[b"RESTORE", b"k", b"0", &good, b"REPLACE"],
        &[b"PTTL", b"k"],
        &[b"RESTORE", b"k", b"1", &good, b"REPLACE", b"ABSTTL"],
        &[b"EXISTS", b"k"],
        &[b"RESTORE", b"k", b"4102444800000", &good, b"REPLACE", b"ABSTTL", b"IDLETIME", b"100"],
        &[b"PEXPIRETIME", b"k"],
        &[b"DUMP", b"missing"],
    ];
    b.ok("DEL k");
    for case in cases {
        let shown = case.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(a.command(case), b.command(case), "{shown}");
    }
}

/// Payloads with a valid checksum and any bytes inside: an error or a value, never the end of the server.
#[test]
fn mutated_payloads_cost_an_error_at_most() {
    let ours = Keystead::plain();
    let mut client = ours.client();
    let mut rng = Rng::new(7);
    let mut values = Vec::new();
    for name in ["all.rdb", "streams.rdb"] {
        let rdb = std::fs::read(golden(name)).expect("the golden file is there");
        let mut parser = keystead_rdb::FileParser::default();
        parser.feed(&rdb);
        while let Some(event) = parser.next_event().expect("a good file") {
            if let keystead_rdb::Event::Batch { bytes, .. } = event {
                for record in keystead_rdb::records(bytes) {
                    let record = record.expect("a good record");
                    values.push((record.rdb_type, record.value.to_vec()));
                }
            }
        }
    }
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let (rdb_type, mut value) = values[rng.below(values.len() as u64) as usize].clone();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(value.len().min(200) as u64) as usize;
            value[at] = rng.bits() as u8;
        }
        let payload = keystead_rdb::dump_payload(rdb_type, &value);
        match client.command(&[&b"RESTORE"[..], b"k", b"0", &payload, b"REPLACE"]) {
            Reply::Simple(_) => {
                accepted += 1;
                // What was accepted can be read and dumped again.
                dump(&mut client, b"k");
                value_digest(&mut client, b"k");
                client.cmd("XINFO STREAM k FULL COUNT 0");
            }
            Reply::Error(text) => {
                assert!(text.starts_with("ERR"), "{text}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
    client.ok("PING");
}

fn attach(replica: &mut Client, port: u16) {
    replica.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    wait_until("the link is up", DEADLINE, || {
        replica.info("replication").get("master_link_status").is_some_and(|status| status == "up")
    });
}

fn same(primary: &mut Client, replica: &mut Client, what: &str) {
    let want = mark_of_primary(primary);
    let got = mark_of_replica(replica, want.offset);
    assert!(got == want, "{what}: {want:?}, {got:?}\n{}", differences(primary, replica, &DATABASES));
}

/// Stock → Keystead → stock: a chain of full syncs over every encoding, expiries and 16 databases.
#[test]
fn full_syncs_carry_every_encoding_both_ways() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    for name in ["all.rdb", "old.rdb", "streams.rdb", "lru.rdb", "empty.rdb"] {
        let (first, _dir) = stock_with(name);
        let middle = Keystead::primary();
        let last = RedisServer::start(&[]);
        let (mut a, mut b, mut c) = (first.client(), middle.client(), last.client());
        attach(&mut b, first.port());
        same(&mut a, &mut b, name);
        attach(&mut c, middle.port());
        same(&mut a, &mut c, name);
        assert_eq!(groups(&mut a, &DATABASES), groups(&mut c, &DATABASES), "{name}");

        // Promoted, it is a primary as good as the first.
        b.ok("REPLICAOF NO ONE");
        b.ok("SET promoted yes");
        same(&mut b, &mut c, "after the promotion");
    }
}

/// A full sync while clients write: what arrives in between comes behind the snapshot, once.
#[test]
fn a_full_sync_under_writes_loses_and_doubles_nothing() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let primary = Keystead::primary();
    let mut writer = primary.client();
    let mut commands = Commands::new(11);
    for i in 0..20_000 {
        writer.send(&["RPUSH", &format!("list:{}", i % 50), &format!("element-{i}")]).expect("the server reads");
    }
    for _ in 0..20_000 {
        writer.read().expect("a reply");
    }
    let stock = RedisServer::start(&[]);
    let mut replica = stock.client();
    replica.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the full sync is done while we write", DEADLINE, || {
        for _ in 0..50 {
            writer.ok("INCR counter");
            writer.ok("LPUSH list:0 x");
            for command in commands.unit() {
                writer.command(&command);
            }
            writer.command(&["DISCARD"]);
        }
        replica.info("replication").get("master_link_status").is_some_and(|status| status == "up")
    });
    same(&mut primary.client(), &mut replica, "under writes");
    let digest_now = digest(&mut replica);
    assert_eq!(digest_now.len(), 40);
}
