//! What replicas are sent: for each command the records as they stand in the stream, from what Redis 7.2 sends.

#![allow(clippy::unwrap_used)]

mod kit;

use keystead_engine::ApplyState;
use kit::{Kit, Stream};

const NOW: u64 = 1_700_000_000_000;

/// Commands that prepare, the command, what is sent.
const CASES: &[(&[&str], &str, &[&str])] = &[
    (&[], "SET k v", &["SET k v"]),
    (&[], "set k v EX 10", &["SET k v PXAT 1700000010000"]),
    (&[], "SET k v PX 10 GET", &["SET k v PXAT 1700000000010"]),
    (&[], "SET k v EXAT 1800000000", &["SET k v PXAT 1800000000000"]),
    (&["SET k v"], "SET k w GET KEEPTTL", &["SET k w KEEPTTL"]),
    (&["SET k v"], "SET k w NX", &[]),
    (&[], "SET k w XX", &[]),
    (&[], "SETEX k 10 v", &["SET k v PXAT 1700000010000"]),
    (&[], "PSETEX k 10 v", &["SET k v PXAT 1700000000010"]),
    (&["SET k v"], "SETNX k v", &[]),
    (&[], "SET k v px 10", &["SET k v PXAT 1700000000010"]),
    (&[], "set k v pxat 1800000000000", &["set k v pxat 1800000000000"]),
    (&["SET k v"], "GET k", &[]),
    (&["SET k v"], "GETEX k", &[]),
    (&["SET k v"], "GETEX k EX 10", &["PEXPIREAT k 1700000010000"]),
    (&["SET k v EX 10"], "GETEX k PERSIST", &["PERSIST k"]),
    (&["SET k v"], "GETEX k PERSIST", &[]),
    (&["SET k v"], "GETEX k PXAT 1", &["DEL k"]),
    (&["SET k v"], "GETDEL k", &["DEL k"]),
    (&["SET k v"], "GETSET k w", &["SET k w"]),
    (&[], "INCRBYFLOAT k 1.5", &["SET k 1.5 KEEPTTL"]),
    (&[], "INCR k", &["INCR k"]),
    (&[], "APPEND k v", &["APPEND k v"]),
    (&["SET k v"], "SETRANGE k 0 ''", &[]),
    (&["SET k v"], "EXPIRE k 10", &["PEXPIREAT k 1700000010000"]),
    (&["SET k v"], "PEXPIRE k 10 XX", &[]),
    (&["SET k v"], "EXPIREAT k 1800000000", &["PEXPIREAT k 1800000000000"]),
    (&["SET k v"], "EXPIRE k -1", &["DEL k"]),
    (&["SET k v"], "PERSIST k", &[]),
    (&["SET k v"], "DEL k nokey", &["DEL k nokey"]),
    (&[], "DEL nokey", &[]),
    (&["SET k v"], "UNLINK k", &["UNLINK k"]),
    (&["SET k v"], "RENAME k l", &["RENAME k l"]),
    (&["SET k v"], "COPY k l", &["COPY k l"]),
    (&["SET k v"], "MOVE k 1", &["MOVE k 1"]),
    (&["RPUSH k a b"], "LPOP k", &["LPOP k"]),
    (&["RPUSH k a b"], "BLPOP no k 0", &["LPOP k"]),
    (&["RPUSH k a b"], "BRPOP k 0", &["RPOP k"]),
    (&["RPUSH k a b"], "BLMOVE k l LEFT right 0", &["LMOVE k l LEFT right"]),
    (&["RPUSH k a b"], "BRPOPLPUSH k l 0", &["RPOPLPUSH k l"]),
    (&["RPUSH k a b c"], "LMPOP 2 no k LEFT COUNT 2", &["LPOP k 2"]),
    (&["RPUSH k a b c"], "BLMPOP 0 1 k RIGHT COUNT 9", &["RPOP k 3"]),
    (&["RPUSH k a b c"], "LTRIM k 0 -1", &[]),
    (&["RPUSH k a b c"], "LREM k 0 x", &[]),
    (&["RPUSH k a b c"], "LPOP k 0", &[]),
    (&["SADD k a"], "SADD k a", &[]),
    (&["SADD k a"], "SPOP k", &["SREM k a"]),
    (&["SADD k a"], "SPOP k 5", &["DEL k"]),
    (&["SADD k a b"], "SREM k c", &[]),
    (&["SADD k a b", "SADD l a"], "SINTERSTORE d k l", &["SINTERSTORE d k l"]),
    (&[], "SINTERSTORE d k l", &[]),
    (&[], "HSET k f v", &["HSET k f v"]),
    (&[], "HINCRBYFLOAT k f 0.5", &["HSET k f 0.5"]),
    (&[], "HINCRBY k f 5", &["HINCRBY k f 5"]),
    (&["HSET k f v"], "HSETNX k f w", &[]),
    (&[], "GEOADD k CH 13.361389 38.115556 a", &["ZADD k CH 3479099956230698 a"]),
    (&["GEOADD k 1 1 a"], "GEOADD k NX 2 2 a", &[]),
    (&["GEOADD k 1 1 a"], "GEORADIUS k 1 1 1 km STORE d", &["GEORADIUS k 1 1 1 km STORE d"]),
    (&["GEOADD k 1 1 a"], "GEORADIUS k 9 9 1 km STORE d", &[]),
    (&[], "PFADD k a", &["PFADD k a"]),
    (&["PFADD k a"], "PFADD k a", &[]),
    (&["PFADD k a"], "PFCOUNT k", &["PFCOUNT k"]),
    (&["PFADD k a", "PFCOUNT k"], "PFCOUNT k", &[]),
    (&["PFADD k a"], "PFCOUNT k k", &[]),
    (&[], "PFMERGE k", &["PFMERGE k"]),
    (&["PFADD k a"], "PFDEBUG TODENSE k", &["PFDEBUG TODENSE k"]),
    (&["SETBIT k 1 1"], "SETBIT k 1 1", &[]),
    (&[], "ZADD k 1 a", &["ZADD k 1 a"]),
    (&["ZADD k 1 a"], "ZADD k 1 a", &[]),
    (&["ZADD k 1 a"], "ZADD k NX 2 a", &[]),
    (&["ZADD k 1 a"], "ZINCRBY k 2 a", &["ZINCRBY k 2 a"]),
    (&["ZADD k 1 a 2 b"], "ZPOPMIN k", &["ZPOPMIN k"]),
    (&["ZADD k 1 a 2 b"], "BZPOPMAX k 0", &["ZPOPMAX k"]),
    (&["ZADD k 1 a 2 b"], "ZMPOP 1 k MIN COUNT 5", &["ZPOPMIN k 2"]),
    (&["ZADD k 1 a 2 b"], "BZMPOP 0 1 k MAX", &["ZPOPMAX k 1"]),
    (&["ZADD k 1 a 2 b"], "ZRANGESTORE d k 0 -1", &["ZRANGESTORE d k 0 -1"]),
    (&["ZADD k 1 a 2 b"], "ZREMRANGEBYSCORE k 5 6", &[]),
    (&["RPUSH k 2 1"], "SORT k STORE d", &["SORT k STORE d"]),
    (&["RPUSH k 2 1"], "SORT k", &[]),
    (&[], "SETBIT k 1 1", &["SETBIT k 1 1"]),
    (&[], "BITFIELD k GET u8 0", &[]),
    (&[], "BITOP AND d k l", &[]),
    (&["SET k v PX 100"], "MULTI_EXEC", &["MULTI", "SET a 1", "INCR a", "EXEC"]),
];

#[test]
fn each_command_is_sent_as_redis_sends_it() {
    for (before, line, expected) in CASES {
        let mut stream = Stream::new();
        let c = stream.kit.connect();
        for line in *before {
            stream.kit.cmd(c, line);
        }
        stream.records();
        assert_eq!(stream.kit.now.unix_ms, NOW);
        let reply = match *line {
            "MULTI_EXEC" => stream.kit.send(c, "MULTI\r\nSET a 1\r\nINCR a\r\nGET a\r\nEXEC\r\n"),
            line => stream.kit.cmd(c, line),
        };
        assert!(!reply.starts_with('-') && !reply.is_empty(), "{line}: {reply}");
        assert_eq!(stream.records(), *expected, "{line}");
    }
}

/// As Redis 7.2: SPOP since #12320, the others longer.
#[test]
fn lazy_freeing_is_said_to_replicas_too() {
    let mut stream = Stream::new();
    let c = stream.kit.connect();
    for name in ["expire", "server-del"] {
        stream.kit.cmd(c, &format!("CONFIG SET lazyfree-lazy-{name} yes"));
    }
    for (before, line, expected) in [
        ("SADD k a", "SPOP k 5", "UNLINK k"),
        ("SET k v", "GETEX k PXAT 1", "UNLINK k"),
        ("SET k v", "EXPIRE k -1", "UNLINK k"),
        ("SET k v", "GETDEL k", "DEL k"),
    ] {
        stream.kit.cmd(c, before);
        stream.records();
        stream.kit.cmd(c, line);
        assert_eq!(stream.records(), [expected], "{line}");
    }
}

/// The words of a reply that is an array of bulk strings.
fn in_order(reply: &str) -> Vec<&str> {
    reply.split("\r\n").skip(2).step_by(2).filter(|word| !word.is_empty()).collect()
}

fn words(reply: &str) -> Vec<&str> {
    let mut words = in_order(reply);
    words.sort_unstable();
    words
}

#[test]
fn members_popped_together_are_random_and_sent() {
    let mut stream = Stream::new();
    let c = stream.kit.connect();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        stream.kit.cmd(c, "SADD k a b c d");
        stream.records();
        let popped = stream.kit.cmd(c, "SPOP k 2");
        let sent = stream.records().concat();
        let mut sent: Vec<&str> = sent.strip_prefix("SREM k ").unwrap().split(' ').collect();
        sent.sort_unstable();
        assert_eq!(words(&popped), sent);
        let left = stream.kit.cmd(c, "SMEMBERS k");
        assert_eq!([words(&left), sent.clone()].concat().iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        seen.insert(in_order(&popped).concat());
    }
    assert_eq!(seen.len(), 12, "every pair in either order: {seen:?}");
    for (members, count) in [(3000, 1500), (3000, 3), (3000, 2999)] {
        stream.kit.cmd(c, "DEL big");
        let members: String = (0..members).map(|n| format!(" member:{n}")).collect();
        stream.kit.cmd(c, &format!("SADD big{members}"));
        stream.records();
        let popped = stream.kit.cmd(c, &format!("SPOP big {count}"));
        let sent = stream.records().concat();
        let mut sent: Vec<&str> = sent.strip_prefix("SREM big ").unwrap().split(' ').collect();
        sent.sort_unstable();
        assert_eq!((words(&popped).len(), words(&popped)), (count, sent));
        assert_eq!(stream.kit.cmd(c, "SCARD big"), format!(":{}\r\n", 3000 - count));
    }
}

#[test]
fn an_expired_key_is_deleted_before_the_command_that_met_it() {
    let mut stream = Stream::new();
    let c = stream.kit.connect();
    stream.kit.cmd(c, "SET k v PX 100");
    stream.records();
    stream.kit.now.unix_ms += 1000;
    assert_eq!(stream.kit.cmd(c, "INCR k"), ":1\r\n");
    assert_eq!(stream.records(), ["MULTI", "DEL k", "INCR k", "EXEC"]);
}

#[test]
fn a_waiting_client_is_served_in_order_and_the_pop_is_sent() {
    let mut stream = Stream::new();
    let (a, b, c) = (stream.kit.connect(), stream.kit.connect(), stream.kit.connect());
    assert_eq!(stream.kit.cmd(a, "BLPOP k other 0"), "");
    assert_eq!(stream.kit.cmd(b, "BLPOP k 0"), "");
    assert_eq!(stream.kit.cmd(c, "RPUSH k 1 2 3"), ":3\r\n");
    assert_eq!(stream.kit.read(a), "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
    assert_eq!(stream.kit.read(b), "*2\r\n$1\r\nk\r\n$1\r\n2\r\n");
    assert_eq!(stream.kit.cmd(c, "LRANGE k 0 -1"), "*1\r\n$1\r\n3\r\n");
    assert_eq!(stream.records(), ["RPUSH k 1 2 3", "LPOP k", "LPOP k"]);
}

#[test]
fn waiting_for_sorted_sets_and_moves() {
    let mut stream = Stream::new();
    let (a, b, c) = (stream.kit.connect(), stream.kit.connect(), stream.kit.connect());
    assert_eq!(stream.kit.cmd(a, "BZPOPMIN z 0"), "");
    assert_eq!(stream.kit.cmd(b, "BZMPOP 0 1 z MAX COUNT 10"), "");
    assert_eq!(stream.kit.cmd(c, "ZADD z 1 x 2 y"), ":2\r\n");
    assert_eq!(stream.kit.read(a), "*3\r\n$1\r\nz\r\n$1\r\nx\r\n$1\r\n1\r\n");
    assert_eq!(stream.kit.read(b), "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\ny\r\n$1\r\n2\r\n");
    assert_eq!(stream.records(), ["ZADD z 1 x 2 y", "ZPOPMIN z", "ZPOPMAX z 1"]);
    assert_eq!(stream.kit.cmd(a, "BLMOVE s d RIGHT LEFT 0"), "");
    assert_eq!(stream.kit.cmd(b, "BRPOP d 0"), "");
    assert_eq!(stream.kit.cmd(c, "RPUSH s v"), ":1\r\n");
    assert_eq!(stream.kit.read(a), "$1\r\nv\r\n");
    assert_eq!(stream.kit.read(b), "*2\r\n$1\r\nd\r\n$1\r\nv\r\n");
    assert_eq!(stream.records(), ["RPUSH s v", "LMOVE s d RIGHT LEFT", "RPOP d"]);
    assert_eq!(stream.kit.cmd(c, "EXISTS s d"), ":0\r\n");
}

/// As Redis 7.2 (src/db.c: a key that is overwritten isn't signalled, one that comes into being is).
#[test]
fn a_value_put_over_another_type_wakes_nobody() {
    let mut kit = Kit::default();
    let (list, zset, group, c) = (kit.connect(), kit.connect(), kit.connect(), kit.connect());
    kit.send(c, "RPUSH src 2 1\r\nZADD zsrc 1 m\r\nXGROUP CREATE s g $ MKSTREAM\r\n");
    assert_eq!(kit.cmd(list, "BLPOP k 0") + &kit.cmd(zset, "BZPOPMIN k 0"), "");
    assert_eq!(kit.cmd(group, "XREADGROUP GROUP g me BLOCK 0 STREAMS s >"), "");
    for line in ["SET k v", "SORT src STORE k", "ZRANGESTORE k zsrc 0 -1", "SORT src STORE k", "RPUSH k 3"] {
        kit.cmd(c, line);
        assert_eq!(kit.read(list) + &kit.read(zset), "", "{line}");
    }
    kit.cmd(c, "SORT src STORE s");
    assert!(kit.read(group).starts_with("-WRONGTYPE"));
    for line in ["COPY src k REPLACE", "RENAME src k"] {
        assert_eq!(kit.cmd(c, line).len(), if line.starts_with("COPY") { 4 } else { 5 });
        assert_eq!(kit.read(list), "*2\r\n$1\r\nk\r\n$1\r\n2\r\n", "{line}");
        kit.cmd(c, "SET k v");
        kit.cmd(c, "DEL k");
        assert_eq!(kit.cmd(list, "BLPOP k 0"), "", "{line}");
        kit.cmd(c, "SET k v");
    }
}

/// The same where the other type came into being in the same transaction.
#[test]
fn nor_does_one_put_over_what_was_made_just_before() {
    let mut kit = Kit::default();
    let (list, zset, c) = (kit.connect(), kit.connect(), kit.connect());
    kit.send(c, "RPUSH src 2 1\r\nZADD zsrc 1 m\r\n");
    assert_eq!(kit.cmd(list, "BLPOP k 0") + &kit.cmd(zset, "BZPOPMIN z 0"), "");
    let strings = ["SET k v", "APPEND k v", "SETRANGE k 1 v", "INCR k", "COPY s k", "RENAME s k"];
    for made in strings.into_iter().chain(["SADD k v", "HSET k f v", "ZADD k 1 m", "XADD k 1-1 f v"]) {
        kit.send(c, format!("SET s v\r\nMULTI\r\n{made}\r\nSORT src STORE k\r\nEXEC\r\n"));
        assert_eq!(kit.read(list), "", "{made}");
        assert_eq!(kit.cmd(c, "LLEN k"), ":2\r\n", "{made}");
        kit.cmd(c, "DEL k");
    }
    kit.send(c, "MULTI\r\nRPUSH z 1\r\nZRANGESTORE z zsrc 0 -1\r\nEXEC\r\n");
    assert_eq!(kit.read(zset) + &kit.cmd(c, "ZCARD z"), ":1\r\n");
    // What came into being as a list is one that is waited for, whatever it was meanwhile.
    kit.send(c, "MULTI\r\nRPUSH k 7\r\nSET k v\r\nSORT src STORE k\r\nEXEC\r\n");
    assert_eq!(kit.read(list), "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
}

#[test]
fn waiting_ends_in_time_and_never_inside_multi() {
    let mut stream = Stream::new();
    let (a, b) = (stream.kit.connect(), stream.kit.connect());
    assert_eq!(stream.kit.cmd(a, "BLPOP k 0.5"), "");
    stream.kit.advance(400);
    assert_eq!(stream.kit.read(a), "");
    stream.kit.advance(200);
    assert_eq!(stream.kit.read(a), "*-1\r\n");
    // Redis answers a null array after a wait even where the command itself answers a null.
    assert_eq!(stream.kit.cmd(a, "BLMOVE k l LEFT LEFT 0.1"), "");
    stream.kit.advance(200);
    assert_eq!(stream.kit.read(a), "*-1\r\n");
    let reply = stream.kit.send(b, "MULTI\r\nBLPOP k 0\r\nBRPOPLPUSH k l 0\r\nBZPOPMIN k 0\r\nEXEC\r\n");
    assert_eq!(reply, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n*-1\r\n$-1\r\n*-1\r\n");
    // A key of another type doesn't wake a waiting client.
    assert_eq!(stream.kit.cmd(a, "BLPOP k 0"), "");
    stream.kit.cmd(b, "SET k v");
    assert_eq!(stream.kit.read(a), "");
    stream.kit.send(b, "DEL k\r\nLPUSH k v\r\n");
    assert_eq!(stream.kit.read(a), "*2\r\n$1\r\nk\r\n$1\r\nv\r\n");
}

#[test]
fn strings_stay_below_the_configured_length() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "CONFIG SET proto-max-bulk-len 1048576"), "+OK\r\n");
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    assert_eq!(kit.cmd(c, "SETRANGE k 1048575 a"), ":1048576\r\n");
    assert_eq!(kit.cmd(c, "SETRANGE k 1048575 ab"), too_long);
    assert_eq!(kit.cmd(c, "APPEND k a"), too_long);
    assert_eq!(kit.cmd(c, "SETBIT k 8388607 1"), ":1\r\n");
    assert_eq!(kit.cmd(c, "SETBIT k 8388608 1"), "-ERR bit offset is not an integer or out of range\r\n");
}

/// Redis 7.2 looks at the type last (db.c of 7.2.4 says it will change in 8.0).
#[test]
fn scan_deletes_the_expired_keys_it_meets_whatever_type_it_was_asked_for() {
    for kind in ["string", "hash", "nonsense"] {
        let mut stream = Stream::new();
        let c = stream.kit.connect();
        stream.kit.cmd(c, "SET live v");
        stream.kit.cmd(c, "SET gone v PX 1");
        stream.kit.cmd(c, "SET other v PX 1");
        stream.records();
        stream.kit.now.unix_ms += 10;
        stream.kit.cmd(c, &format!("SCAN 0 MATCH *e* COUNT 100 TYPE {kind}"));
        let mut records = stream.records();
        records.sort();
        assert_eq!(records, ["DEL gone", "DEL other"], "{kind}");
    }
}

#[test]
fn a_key_that_expired_on_its_way_to_a_waiting_client_is_deleted_by_whoever_asks_next() {
    let mut stream = Stream::new();
    let (waiting, c) = (stream.kit.connect(), stream.kit.connect());
    stream.kit.cmd(c, "SELECT 1");
    stream.kit.cmd(c, "RPUSH k a");
    stream.kit.cmd(c, "PEXPIRE k 100");
    assert_eq!(stream.kit.cmd(waiting, "BRPOP k 0"), "");
    stream.records();
    stream.kit.now.unix_ms += 200;
    stream.kit.cmd(c, "SWAPDB 0 1");
    assert_eq!(stream.kit.read(waiting), "");
    assert_eq!(stream.records(), ["SWAPDB 0 1"]);
    stream.kit.cmd(c, "SELECT 0");
    assert_eq!(stream.kit.cmd(c, "EXISTS k"), ":0\r\n");
    assert_eq!(stream.records(), ["DEL k"]);
}

/// As a replica of redis-server 7.0.15 has it in INFO.
#[test]
fn a_primarys_transactions_are_counted_as_commands() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let mut link = ApplyState::new(0);
    let stream = b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*1\r\n$4\r\nEXEC\r\n";
    for _ in 0..2 {
        kit.turn(|engine| engine.apply_stream(&mut link, stream)).expect("a stream");
    }
    let info = kit.cmd(c, "INFO commandstats");
    for name in ["multi", "incr", "exec"] {
        assert!(info.contains(&format!("cmdstat_{name}:calls=2,")), "{name}: {info}");
    }
    assert!(kit.cmd(c, "INFO stats").contains("\r\ntotal_commands_processed:7\r\n"));
}
