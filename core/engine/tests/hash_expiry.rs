//! Hash fields that expire: replies and error texts of Redis 7.4 (its hash-field-expire.tcl and t_hash.c), what replicas
//! are told, what subscribers are.

mod kit;

use keystead_engine::{ApplyState, Gate};
use kit::{Kit, Stream};

/// The words of a reply, without its framing.
fn words(reply: &str) -> String {
    let kept = |line: &&str| !line.is_empty() && !line.starts_with(['$', '*', '%']);
    let plain: Vec<&str> = reply.split("\r\n").filter(kept).map(|line| line.trim_start_matches([':', '+'])).collect();
    plain.join(" ")
}

/// Runs each line and compares its reply's words.
fn check(kit: &mut Kit, cases: &[(&str, &str)]) {
    let id = kit.connect();
    for (line, expected) in cases {
        assert_eq!(words(&kit.cmd(id, line)), *expected, "{line}");
    }
}

/// Both forms a hash can have.
fn both(cases: &[(&str, &str)]) {
    for most in [0, 512] {
        let mut kit = Kit::default();
        check(&mut kit, &[("DEBUG SET-ACTIVE-EXPIRE 0", "OK"), ("HSET h f1 v1 f2 v2 f3 3", "3")]);
        let id = kit.connect();
        kit.cmd(id, &format!("CONFIG SET hash-max-listpack-entries {most}"));
        kit.cmd(id, "DEL h");
        kit.cmd(id, "HSET h f1 v1 f2 v2 f3 3");
        check(&mut kit, cases);
    }
}

#[test]
fn conditions_and_answers() {
    both(&[
        ("HPEXPIRE h 1000 NX FIELDS 1 f1", "1"),
        ("HPEXPIRE h 2000 NX FIELDS 2 f1 f2", "0 1"),
        ("HPEXPIRE h 1500 GT FIELDS 3 f1 f2 f3", "1 0 0"),
        ("HPEXPIRE h 1200 LT FIELDS 3 f1 f2 nofield", "1 1 -2"),
        ("HPEXPIRE h 5000 XX FIELDS 2 f1 f3", "1 0"),
        ("HPTTL h FIELDS 4 f1 f2 f3 nofield", "5000 1200 -1 -2"),
        ("HTTL h FIELDS 2 f1 f2", "5 2"),
        ("HPEXPIRETIME h FIELDS 1 f1", "1700000005000"),
        ("HEXPIRETIME h FIELDS 2 f1 f2", "1700000005 1700000002"),
        ("HPERSIST h FIELDS 4 f1 f1 f3 nofield", "1 -1 -1 -2"),
        ("HEXPIRE h 10 FIELDS 1 f1", "1"),
        ("HEXPIREAT h 1700000020 fields 1 f1", "1"),
        ("HPEXPIREAT h 1700000020001 FIELDS 1 f1", "1"),
        ("HPTTL h FIELDS 1 f1", "20001"),
        ("HEXPIREAT h 1 FIELDS 4 f1 f2 nofield f3", "2 2 -2 2"),
        ("EXISTS h", "0"),
        ("HEXPIRE h 10 FIELDS 2 a b", "-2 -2"),
        ("HTTL h FIELDS 1 a", "-2"),
        ("HPERSIST h FIELDS 1 a", "-2"),
        ("HEXPIRE h 0 FIELDS 1 a", "-2"),
    ]);
}

#[test]
fn what_is_wrong_is_said_in_redis_words() {
    both(&[
        ("SET s v", "OK"),
        ("HEXPIRE s x FIELDS 1 f", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HTTL s x 1 f", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HEXPIRE h 1 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
        ("HTTL h FIELDS 1", "-ERR wrong number of arguments for 'httl' command"),
        ("HEXPIRE h x FIELDS 1 f1", "-ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 f1", "-ERR invalid expire time, must be >= 0"),
        ("HEXPIRE h 9223372036854775807 FIELDS 1 f1", "-ERR invalid expire time in 'hexpire' command"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 f1", "-ERR invalid expire time in 'hpexpireat' command"),
        ("HPEXPIREAT h 70368744177663 FIELDS 1 f1", "1"),
        ("HPERSIST h FIELDS 1 f1", "1"),
        ("HEXPIRE h 1 NX 1 f1 f2", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE h 1 NX XX FIELDS 1 f1", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HTTL h NOPE 1 f1", "-ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE h 1 FIELDS 0 f1", "-ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 FIELDS x f1", "-ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 FIELDS 2 f1", "-ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE h 1 NX FIELDS 1", "-ERR The `numfields` parameter must match the number of arguments"),
        ("HTTL h FIELDS 0 f1", "-ERR Number of fields must be a positive integer"),
        ("HTTL h FIELDS 9223372036854775807 f1", "-ERR The `numfields` parameter must match the number of arguments"),
        ("HPERSIST h FIELDS 2 f1", "-ERR The `numfields` parameter must match the number of arguments"),
        ("HTTL h FIELDS 3 f1 f2 f3", "-1 -1 -1"),
    ]);
}

/// HSET takes a deadline away, the counting commands keep it.
#[test]
fn writes_clear_or_keep_the_deadline() {
    both(&[
        ("HEXPIRE h 100 FIELDS 3 f1 f2 f3", "1 1 1"),
        ("HSET h f1 new", "0"),
        ("HMSET h f2 new", "OK"),
        ("HINCRBY h f3 4", "7"),
        ("HTTL h FIELDS 3 f1 f2 f3", "-1 -1 100"),
        ("HINCRBYFLOAT h f3 1.5", "8.5"),
        ("HTTL h FIELDS 1 f3", "100"),
        ("HSETNX h f3 x", "0"),
        ("HDEL h f3", "1"),
        ("HSET h f3 v", "1"),
        ("HTTL h FIELDS 1 f3", "-1"),
        ("HEXPIRE h 100 FIELDS 1 f1", "1"),
        ("COPY h copied", "1"),
        ("RENAME h moved", "OK"),
        ("HTTL moved FIELDS 2 f1 f2", "100 -1"),
        ("HTTL copied FIELDS 2 f1 f2", "100 -1"),
        ("DEBUG RELOAD", "OK"),
        ("HTTL moved FIELDS 2 f1 f2", "100 -1"),
        ("MOVE moved 3", "1"),
        ("SELECT 3", "OK"),
        ("HTTL moved FIELDS 2 f1 f2", "100 -1"),
    ]);
}

#[test]
fn encodings_are_named_as_in_redis() {
    let mut kit = Kit::default();
    let cases = [
        ("HSET h f v", "1"),
        ("OBJECT ENCODING h", "listpack"),
        ("HEXPIRE h 100 FIELDS 1 f", "1"),
        ("OBJECT ENCODING h", "listpackex"),
        ("HPERSIST h FIELDS 1 f", "1"),
        ("OBJECT ENCODING h", "listpackex"),
        ("CONFIG SET hash-max-listpack-entries 1", "OK"),
        ("HSET h g v", "1"),
        ("OBJECT ENCODING h", "hashtable"),
    ];
    check(&mut kit, &cases);
}

/// Without the active cycle: who hides, who deletes, who counts.
#[test]
fn reads_hide_and_delete_as_in_redis() {
    for most in [0, 512] {
        let mut kit = Kit::default();
        let id = kit.connect();
        kit.cmd(id, "DEBUG SET-ACTIVE-EXPIRE 0");
        kit.cmd(id, &format!("CONFIG SET hash-max-listpack-entries {most}"));
        kit.cmd(id, "HSET h a 1 b 2 c 3 d 4 e 5");
        kit.cmd(id, "HSET all a 1 b 2");
        kit.cmd(id, "HPEXPIRE h 10 FIELDS 4 a b c d");
        kit.cmd(id, "HPEXPIRE all 10 FIELDS 2 a b");
        kit.advance(11);
        let cases = [
            ("HLEN h", "5"),
            ("HGETALL h", "e 5"),
            ("HKEYS h", "e"),
            ("HVALS h", "5"),
            ("HSCAN h 0", "0 e 5"),
            ("HLEN h", "5"),
            ("HGET h a", ""),
            ("HLEN h", "4"),
            ("HMGET h b e", "5"),
            ("HSTRLEN h c", "0"),
            ("HLEN h", "2"),
            ("HSET h d again", "0"),
            ("HGET h d", "again"),
            ("HTTL h FIELDS 1 a", "-2"),
            ("EXISTS all", "1"),
            ("HINCRBY all a 7", "7"),
            ("HTTL all FIELDS 1 a", "-1"),
            ("HEXISTS all b", "0"),
            ("HGETALL all", "a 7"),
            ("HPEXPIRE h 10 FIELDS 1 d", "1"),
        ];
        for (line, expected) in cases {
            let reply = kit.cmd(id, line).replace("$-1\r\n", "");
            assert_eq!(words(&reply), expected, "{line} ({most})");
        }
        kit.advance(11);
        for _ in 0..20 {
            assert_eq!(words(&kit.cmd(id, "HRANDFIELD h")), "e");
        }
        assert_eq!(words(&kit.cmd(id, "HLEN h")), "1");
        kit.cmd(id, "HPEXPIRE h 10 FIELDS 1 e");
        kit.advance(11);
        assert_eq!(kit.cmd(id, "HRANDFIELD h"), "$-1\r\n");
        assert_eq!(words(&kit.cmd(id, "EXISTS h")), "0");
    }
}

#[test]
fn the_cycle_deletes_fields_and_empty_hashes() {
    let mut kit = Kit::default();
    let id = kit.connect();
    for n in 0..3000 {
        kit.cmd(id, &format!("HSET big f{n} v"));
        kit.cmd(id, &format!("HPEXPIRE big {} FIELDS 1 f{n}", 10 + n % 50));
    }
    kit.cmd(id, "HSET mix a 1 b 2");
    kit.cmd(id, "HPEXPIRE mix 20 FIELDS 1 a");
    assert!(kit.cmd(id, "INFO keyspace").contains("db0:keys=2,expires=0,avg_ttl=0,subexpiry=2"));
    for _ in 0..50 {
        kit.advance(20);
    }
    assert_eq!(words(&kit.cmd(id, "EXISTS big")), "0");
    assert_eq!(words(&kit.cmd(id, "HLEN mix")), "1");
    assert!(kit.cmd(id, "INFO keyspace").contains("db0:keys=1,expires=0,avg_ttl=0\r\n"));
    assert!(kit.cmd(id, "INFO stats").contains("expired_subkeys:3001"));
}

#[test]
fn replicas_are_told() {
    let mut stream = Stream::new();
    let id = stream.kit.connect();
    let told = |stream: &mut Stream, line: &str, expected: &[&str]| {
        stream.kit.cmd(id, line);
        assert_eq!(stream.records(), expected, "{line}");
    };
    stream.kit.cmd(id, "DEBUG SET-ACTIVE-EXPIRE 0");
    told(&mut stream, "HSET h a 1 b 2 c 3", &["HSET h a 1 b 2 c 3"]);
    told(&mut stream, "HEXPIRE h 10 FIELDS 3 a nofield b", &["HPEXPIREAT h 1700000010000 FIELDS 2 a b"]);
    told(&mut stream, "HEXPIRE h 10 NX FIELDS 1 a", &[]);
    told(&mut stream, "HEXPIRE h 20 GT FIELDS 2 a c", &["HPEXPIREAT h 1700000020000 FIELDS 1 a"]);
    told(&mut stream, "HPERSIST h FIELDS 1 c", &[]);
    told(&mut stream, "HPERSIST h FIELDS 2 a c", &["HPERSIST h FIELDS 2 a c"]);
    told(
        &mut stream,
        "HINCRBYFLOAT h b 1.5",
        &["MULTI", "HSET h b 3.5", "HPEXPIREAT h 1700000010000 FIELDS 1 b", "EXEC"],
    );
    told(&mut stream, "HEXPIREAT h 1 FIELDS 2 c a", &["MULTI", "HDEL h c", "HDEL h a", "EXEC"]);
    stream.kit.advance(10_001);
    told(&mut stream, "HGET h b", &["HDEL h b"]);
    stream.kit.cmd(id, "HSET h a 1 b 2 c 3");
    stream.kit.cmd(id, "HPEXPIRE h 5 FIELDS 1 a");
    stream.kit.cmd(id, "HPEXPIRE h 6 FIELDS 1 c");
    stream.records();
    stream.kit.cmd(id, "DEBUG SET-ACTIVE-EXPIRE 1");
    stream.kit.advance(7);
    assert_eq!(stream.records(), ["HDEL h a c"]);
}

#[test]
fn a_replica_hides_and_waits() {
    let mut kit = Kit::default();
    kit.engine.core.gates.set(Gate::Replica, true);
    let mut link = ApplyState::new(0);
    let hset = "*6\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n";
    let past = "*6\r\n$10\r\nHPEXPIREAT\r\n$1\r\nh\r\n$2\r\n10\r\n$6\r\nFIELDS\r\n$1\r\n1\r\n$1\r\na\r\n";
    kit.turn(|engine| engine.apply_stream(&mut link, hset.as_bytes()).expect("a stream"));
    kit.turn(|engine| engine.apply_stream(&mut link, past.as_bytes()).expect("a stream"));
    kit.advance(100);
    let cases = [("HLEN h", "2"), ("HGETALL h", "b 2"), ("HEXISTS h a", "0"), ("HTTL h FIELDS 2 a b", "-2 -1")];
    check(&mut kit, &cases);
    check(&mut kit, &[("HLEN h", "2")]);
    let hdel = "*3\r\n$4\r\nHDEL\r\n$1\r\nh\r\n$1\r\na\r\n";
    kit.turn(|engine| engine.apply_stream(&mut link, hdel.as_bytes()).expect("a stream"));
    check(&mut kit, &[("HLEN h", "1")]);
}

#[test]
fn events_have_redis_names() {
    let mut kit = Kit::default();
    let listener = kit.connect();
    let client = kit.connect();
    kit.cmd(client, "DEBUG SET-ACTIVE-EXPIRE 0");
    kit.cmd(client, "CONFIG SET notify-keyspace-events EA");
    kit.cmd(listener, "PSUBSCRIBE __keyevent*");
    for line in [
        "HSET h a 1 b 2 c 3 d 4",
        "HPEXPIRE h 10 FIELDS 2 a b",
        "HPERSIST h FIELDS 1 c",
        "HPERSIST h FIELDS 1 a",
        "HEXPIREAT h 1 FIELDS 1 c",
        "HPEXPIREAT h 1700000000010 FIELDS 3 a b d",
    ] {
        kit.cmd(client, line);
    }
    kit.advance(11);
    kit.cmd(client, "HMGET h a b");
    kit.cmd(client, "HGET h d");
    let heard = kit.read(listener);
    let heard: Vec<&str> = heard.split("\r\n").filter_map(|line| line.strip_prefix("__keyevent@0__:")).collect();
    assert_eq!(heard, ["hset", "hexpire", "hpersist", "hdel", "hexpire", "hexpired", "hexpired", "del"]);
}

/// Nothing about fields' deadlines is lost in a payload, and an older reader refuses it.
#[test]
fn dump_and_restore_carry_deadlines() {
    both(&[("HEXPIRE h 100 FIELDS 2 f1 f3", "1 1")]);
    for most in [0, 512] {
        let mut kit = Kit::default();
        let id = kit.connect();
        kit.cmd(id, &format!("CONFIG SET hash-max-listpack-entries {most}"));
        kit.cmd(id, "HSET h f1 v1 f2 v2 f3 v3");
        kit.cmd(id, "HEXPIRE h 100 FIELDS 2 f1 f3");
        let mut out = Vec::new();
        kit.feed(id, b"DUMP h\r\n");
        kit.engine.swap_out(id, &mut out);
        let start = out.windows(2).position(|pair| pair == b"\r\n").expect("a header") + 2;
        let payload = &out[start..out.len() - 2];
        assert_eq!(payload[0], if most == 0 { 24 } else { 25 });
        let head = format!("*4\r\n$7\r\nRESTORE\r\n$4\r\nback\r\n$1\r\n0\r\n${}\r\n", payload.len());
        let restored = kit.send(id, [head.as_bytes(), payload, b"\r\n"].concat());
        assert_eq!(restored, "+OK\r\n");
        assert_eq!(words(&kit.cmd(id, "HTTL back FIELDS 3 f1 f2 f3")), "100 -1 100");
        let digests = kit.cmd(id, "DEBUG DIGEST-VALUE h back");
        let lines: Vec<&str> = digests.split("\r\n").filter_map(|line| line.strip_prefix('+')).collect();
        assert_eq!((lines.len(), lines.first()), (2, lines.get(1)));
        kit.cmd(id, "HPERSIST back FIELDS 1 f1");
        let other = kit.cmd(id, "DEBUG DIGEST-VALUE back");
        assert!(!other.contains(lines[0]), "a deadline is part of the digest");
    }
}
