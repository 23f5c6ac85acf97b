//! What counts as a use of a key, and what is fresh: seen in OBJECT IDLETIME and OBJECT FREQ, decided by Redis 7.2's source.

mod kit;

use kit::Kit;

const WORDS: [&str; 10] = [
    "SET s v",
    "SET old v",
    "SET n 1",
    "RPUSH l a",
    "SADD set 1 2",
    "SADD less 1",
    "ZADD z 1 a 2 b",
    "ZADD y 2 b",
    "HSET h f v",
    "SET expires v PX 100000000",
];

/// A server with some keys that nobody used for a hundred seconds.
fn idle() -> (Kit, keystead_engine::SessionId) {
    let mut kit = Kit::default();
    let id = kit.connect();
    for line in WORDS {
        kit.cmd(id, line);
    }
    kit.advance(100_000);
    (kit, id)
}

fn seconds(kit: &mut Kit, id: keystead_engine::SessionId, key: &str) -> u64 {
    let reply = kit.cmd(id, &format!("OBJECT IDLETIME {key}"));
    reply.trim_start_matches(':').trim_end().parse().unwrap_or_else(|_| panic!("{key}: {reply}"))
}

#[test]
fn whoever_reads_or_is_refused_a_write_has_used_the_key() {
    for (command, keys) in [
        ("ZUNION 2 z set", "z set"),
        ("ZINTER 2 z y", "z y"),
        ("ZDIFF 2 z y", "z y"),
        ("ZUNIONSTORE to 2 z y", "z y"),
        ("ZINTERSTORE to 2 z set", "z set"),
        ("ZDIFFSTORE to 2 z y", "z y"),
        ("ZINTERCARD 2 z y", "z y"),
        ("SDIFFSTORE to set less", "set less"),
        ("SINTERCARD 2 set less", "set less"),
        ("ZRANGESTORE to z 0 -1", "z"),
        ("COPY s to", "s to"),
        ("COPY z to", "z to"),
        ("COPY s old", "s old"),
        ("COPY s old REPLACE", "s old"),
        ("RENAME s to", "to"),
        ("RENAME s old", "old"),
        ("RENAME s s", "s"),
        ("RENAMENX s old", "s old"),
        ("SET s w NX", "s"),
        ("SETNX s w", "s"),
        ("MSETNX to w s w", "s"),
        ("EXPIRE s 100 XX", "s"),
        ("EXPIRE expires 1 GT", "expires"),
        ("RESTORE s 0 x", "s"),
        ("APPEND s w", "s"),
        ("SADD set 1", "set"),
    ] {
        let (mut kit, id) = idle();
        assert_eq!(seconds(&mut kit, id, "s"), 100);
        kit.cmd(id, command);
        for key in keys.split(' ') {
            assert_eq!(seconds(&mut kit, id, key), 0, "{key} after {command}");
        }
    }
}

#[test]
fn a_moved_key_is_fresh() {
    let (mut kit, id) = idle();
    kit.cmd(id, "SELECT 1");
    kit.cmd(id, "SET old v");
    kit.advance(50_000);
    kit.cmd(id, "SELECT 0");
    assert_eq!(kit.cmd(id, "MOVE old 1"), ":0\r\n");
    assert_eq!(seconds(&mut kit, id, "old"), 0);
    assert_eq!(kit.cmd(id, "MOVE s 1"), ":1\r\n");
    kit.cmd(id, "SELECT 1");
    assert_eq!((seconds(&mut kit, id, "old"), seconds(&mut kit, id, "s")), (0, 0));
}

#[test]
fn frequency_rises_with_uses_and_starts_again_under_another_name() {
    let (mut kit, id) = idle();
    kit.cmd(id, "CONFIG SET lfu-decay-time 0");
    kit.cmd(id, "CONFIG SET maxmemory-policy allkeys-lfu");
    for line in WORDS {
        kit.cmd(id, "DEL to");
        kit.cmd(id, line);
    }
    kit.cmd(id, "ZADD to 1 a 2 b");
    for _ in 0..300 {
        kit.cmd(id, "ZUNION 1 to");
    }
    let of = |kit: &mut Kit, key: &str| {
        let reply = kit.cmd(id, &format!("OBJECT FREQ {key}"));
        reply.trim_start_matches(':').trim_end().parse::<u8>().unwrap_or_else(|_| panic!("{reply}"))
    };
    let often = of(&mut kit, "to");
    assert!(often > 7, "{often}");
    kit.cmd(id, "COPY to copied");
    assert_eq!(of(&mut kit, "copied"), 5);
    assert!(of(&mut kit, "to") >= often);
    kit.cmd(id, "RENAME to renamed");
    assert_eq!(of(&mut kit, "renamed"), 5);
}

#[test]
fn clients_that_touch_nothing_leave_the_time_whatever_they_do_but_touch() {
    let (mut kit, id) = idle();
    kit.cmd(id, "CLIENT NO-TOUCH on");
    for command in [
        "GET s",
        "SET s w",
        "INCR n",
        "RPUSH l b",
        "ZADD z 3 c",
        "HSET h f w",
        "SADD set 7",
        "LPOP l",
        "ZUNION 1 y",
        "SETNX s v",
    ] {
        kit.cmd(id, command);
    }
    for key in ["s", "n", "l", "z", "h", "set", "y"] {
        assert_eq!(seconds(&mut kit, id, key), 100, "{key}");
    }
    kit.cmd(id, "SET new v");
    kit.cmd(id, "COPY s copied");
    assert_eq!((seconds(&mut kit, id, "new"), seconds(&mut kit, id, "copied")), (0, 0));
    assert_eq!(seconds(&mut kit, id, "s"), 100);
    kit.cmd(id, "TOUCH s");
    assert_eq!(seconds(&mut kit, id, "s"), 0);
    kit.cmd(id, "CLIENT NO-TOUCH off");
    kit.cmd(id, "RPUSH l b");
    assert_eq!(seconds(&mut kit, id, "l"), 0);
}

/// However often it looks a key up on its way (redis-server 7.0.15 was asked).
#[test]
fn a_command_uses_a_key_once() {
    for (command, key) in [
        ("GET s", "s"),
        ("APPEND s x", "s"),
        ("SETRANGE s 0 x", "s"),
        ("SETBIT s 7 1", "s"),
        ("SETBIT s 7 0", "s"),
        ("BITFIELD s SET u8 0 1 GET u8 0 SET u8 8 2", "s"),
        ("BITFIELD s GET u8 0 GET u8 8", "s"),
        ("SET s v XX", "s"),
        ("GETEX s PX 100000", "s"),
        ("INCRBYFLOAT n 1", "n"),
        ("LINSERT l BEFORE a b", "l"),
        ("LSET l 0 x", "l"),
        ("LREM l 0 no", "l"),
        ("LMPOP 1 long LEFT", "long"),
        ("BLPOP long 1", "long"),
        ("LMOVE long long LEFT RIGHT", "long"),
        ("HINCRBY numbers f 1", "numbers"),
        ("HINCRBYFLOAT numbers f 1", "numbers"),
        ("HSETNX h g v", "h"),
        ("HRANDFIELD h", "h"),
        ("ZPOPMIN z", "z"),
        ("ZREMRANGEBYRANK z 0 0", "z"),
        ("SPOP set", "set"),
        ("SMOVE set less 1", "set"),
        ("PFADD hll x", "hll"),
        ("PFCOUNT hll", "hll"),
    ] {
        let (mut kit, id) = idle();
        for line in ["RPUSH long 1 2 3 4 5", "HSET numbers f 1", "PFADD hll a b c"] {
            kit.cmd(id, line);
        }
        kit.cmd(id, "CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0 lfu-decay-time 0");
        let frequency = |kit: &mut Kit| -> i64 {
            let reply = kit.cmd(id, &format!("OBJECT FREQ {key}"));
            reply.trim_start_matches(':').trim_end().parse().unwrap_or_else(|_| panic!("{command}: {reply}"))
        };
        let before = frequency(&mut kit);
        kit.cmd(id, command);
        assert_eq!(frequency(&mut kit) - before, 1, "{command}");
    }
}
