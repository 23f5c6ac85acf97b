//! Deadlines that lie in the past or beyond what a number holds, from clients, from a primary and from a file.

#![allow(clippy::unwrap_used)]

mod kit;

use keystead_engine::resp::OwnedArgs;
use keystead_engine::{ApplyState, Gate, SessionId};
use kit::{Kit, Stream};

/// A string's DUMP payload.
fn payload(kit: &mut Kit, c: SessionId) -> Vec<u8> {
    kit.cmd(c, "SET source v");
    dump(kit, c)
}

fn dump(kit: &mut Kit, c: SessionId) -> Vec<u8> {
    let args: OwnedArgs = [&b"DUMP"[..], b"source"].iter().collect();
    kit.turn(|engine| _ = engine.execute(c, args.view()));
    let mut reply = Vec::new();
    kit.engine.swap_out(c, &mut reply);
    let start = reply.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
    reply[start..reply.len() - 2].to_vec()
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Redis lets the sum overflow into the past: the key isn't made, one of that name goes.
#[test]
fn a_key_restored_until_after_the_last_millisecond_is_gone() {
    let mut stream = Stream::new();
    let c = stream.kit.connect();
    let payload = payload(&mut stream.kit, c);
    for ttl in [&b"9223372036854775807"[..], b"9223370336854775808"] {
        stream.records();
        assert_eq!(stream.kit.send(c, command(&[b"RESTORE", b"k", ttl, &payload])), "+OK\r\n");
        assert_eq!(stream.kit.cmd(c, "EXISTS k"), ":0\r\n");
        assert_eq!(stream.records(), [""; 0]);
        stream.kit.cmd(c, "SET k old");
        stream.records();
        assert_eq!(stream.kit.send(c, command(&[b"RESTORE", b"k", ttl, &payload, b"REPLACE"])), "+OK\r\n");
        assert_eq!(stream.kit.cmd(c, "EXISTS k"), ":0\r\n");
        assert_eq!(stream.records(), ["DEL k"]);
    }
    let last = command(&[b"RESTORE", b"k", b"9223372036854775807", &payload, b"ABSTTL"]);
    assert_eq!(stream.kit.send(c, last), "+OK\r\n");
    assert_eq!(stream.kit.cmd(c, "PEXPIRETIME k"), ":9223372036854775807\r\n");
    assert_eq!(stream.kit.cmd(c, "EXPIRE k 100 GT"), ":0\r\n");
    assert_eq!(stream.kit.cmd(c, "EXPIRE k 100 LT"), ":1\r\n");
    let restored = command(&[b"RESTORE", b"l", b"-1", &payload]);
    assert_eq!(stream.kit.send(c, restored), "-ERR Invalid TTL value, must be >= 0\r\n");
}

/// What a file or a primary tells happened: a deadline that has passed since may be taken away by what follows.
#[test]
fn a_restored_key_lives_until_its_stream_says_otherwise() {
    for file in [true, false] {
        let mut kit = Kit::default();
        let c = kit.connect();
        let payload = payload(&mut kit, c);
        let past = (kit.now.unix_ms - 5).to_string();
        let told = [
            command(&[b"RESTORE", b"k", past.as_bytes(), &payload, b"ABSTTL"]),
            command(&[b"PERSIST", b"k"]),
            command(&[b"SET", b"s", b"v"]),
            command(&[b"GETEX", b"s", b"PXAT", past.as_bytes()]),
            command(&[b"PERSIST", b"s"]),
            // No server sends it; what it means here is that the key has expired.
            command(&[b"RESTORE", b"far", b"9223372036854775807", &payload]),
        ];
        kit.turn(|engine| match file {
            true => engine.replay(&mut ApplyState::of_file(), &told.concat()).unwrap(),
            false => drop(engine.apply_stream(&mut ApplyState::new(0), &told.concat()).unwrap()),
        });
        assert_eq!(kit.cmd(c, "GET k"), "$1\r\nv\r\n", "file: {file}");
        assert_eq!(kit.cmd(c, "PTTL k"), ":-1\r\n");
        assert_eq!(kit.cmd(c, "PTTL s"), ":-1\r\n");
        assert_eq!(kit.cmd(c, "GET far"), "$-1\r\n");
    }
}

/// As Redis, which deletes and adds: a key restored over another is new to subscribers and to who waits for it.
#[test]
fn a_key_restored_over_another_is_new() {
    let mut kit = Kit::default();
    let (c, waiting, listener) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(c, "RPUSH source a b");
    let payload = dump(&mut kit, c);
    kit.cmd(c, "CONFIG SET notify-keyspace-events EAn");
    assert_eq!(kit.cmd(waiting, "BLPOP k 0"), "");
    kit.cmd(c, "SET k v");
    kit.cmd(listener, "PSUBSCRIBE __keyevent*");
    assert_eq!(kit.send(c, command(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"])), "+OK\r\n");
    let heard = kit.read(listener);
    let told: Vec<&str> = heard.lines().filter_map(|line| line.strip_prefix("__keyevent@0__:")).collect();
    assert_eq!(told, ["new", "restore", "lpop"]);
    assert_eq!(kit.read(waiting), "*2\r\n$1\r\nk\r\n$1\r\na\r\n");
}

#[test]
fn info_tells_how_long_keys_have_left() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET forever 1");
    assert!(kit.cmd(c, "INFO keyspace").ends_with("db0:keys=1,expires=0,avg_ttl=0\r\n\r\n"));
    for key in 0..1000 {
        kit.cmd(c, &format!("SET {key} 1 PX {}", 10_000 + key * 10));
    }
    kit.now.unix_ms += 1000;
    let info = kit.cmd(c, "INFO keyspace");
    let left = info.split("avg_ttl=").nth(1).and_then(|rest| rest.trim_end().parse::<u64>().ok());
    assert!(left.is_some_and(|left| (9_000..19_000).contains(&left)), "{info}");
}

/// The new key is there like the old one was: until somebody meets it or the cycle does, and then it is told.
#[test]
fn a_key_in_the_place_of_an_expired_one_is_not_taken_for_it() {
    for line in ["SET k new NX PXAT 1000", "SET k new GET PXAT 1000", "SET k new NX GET EXAT 1", "SET k new PXAT 1000"]
    {
        let mut stream = Stream::new();
        let c = stream.kit.connect();
        stream.kit.cmd(c, "DEBUG SET-ACTIVE-EXPIRE 0");
        stream.kit.cmd(c, "SET k old PX 1");
        stream.kit.now.unix_ms += 20;
        stream.records();
        stream.kit.cmd(c, line);
        let records = stream.records();
        assert_eq!(records.iter().filter(|record| *record == "DEL k").count(), 1, "{line}: {records:?}");
        assert_eq!(stream.kit.cmd(c, "DBSIZE"), ":1\r\n", "{line}");
        // A replica that executes the same has the same.
        let mut replica = Kit::default();
        replica.now.unix_ms += 20;
        replica.engine.gates().set(Gate::Replica, true);
        let mut state = ApplyState::new(0);
        let mut apply = |replica: &mut Kit, records: &[String]| {
            let lines: String = records.iter().map(|record| format!("{record}\r\n")).collect();
            let words: Vec<u8> = lines
                .lines()
                .flat_map(|line| command(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()))
                .collect();
            replica.turn(|engine| engine.apply_stream(&mut state, &words)).map(drop).expect("a stream");
        };
        apply(&mut replica, &records);
        assert_eq!(replica.engine.ks.digest(), stream.kit.engine.ks.digest(), "{line}");
        assert_eq!(stream.kit.cmd(c, "GET k"), "$-1\r\n");
        let records = stream.records();
        assert_eq!(records, ["DEL k"], "{line}");
        apply(&mut replica, &records);
        assert_eq!((replica.engine.ks.len(0), stream.kit.engine.ks.len(0)), (0, 0), "{line}");
    }
}

/// What the primary does to the key next must find it.
#[test]
fn a_writable_replica_keeps_a_key_whose_deadline_it_was_given_late() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let payload = payload(&mut kit, c);
    kit.cmd(c, "DEL source");
    let restore = command(&[b"RESTORE", b"k", b"1000", &payload, b"ABSTTL", b"REPLACE"]);
    let lines = [command(&[b"PEXPIRE", b"k", b"-1"]), command(&[b"GETEX", b"k", b"PXAT", b"1000"]), restore];
    for line in lines {
        kit.engine.gates().set(Gate::Replica, true);
        kit.turn(|engine| engine.apply_stream(&mut ApplyState::new(0), &command(&[b"SET", b"k", b"v"])))
            .map(drop)
            .expect("a stream");
        let said = kit.send(c, &line);
        assert!(!said.starts_with('-'), "{said}");
        assert_eq!(kit.cmd(c, "GET k"), "$-1\r\n");
        assert_eq!(kit.cmd(c, "DBSIZE"), ":1\r\n", "{}", String::from_utf8_lossy(&line));
        kit.turn(|engine| engine.apply_stream(&mut ApplyState::new(0), &command(&[b"PERSIST", b"k"])))
            .map(drop)
            .expect("a stream");
        assert_eq!(kit.cmd(c, "GET k"), "$1\r\nv\r\n");
        // Nobody else will delete it.
        kit.send(c, &line);
        kit.advance(100);
        assert_eq!(kit.cmd(c, "DBSIZE"), ":0\r\n");
    }
}
