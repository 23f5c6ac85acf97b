//! Deadlines that lie in the past or beyond what a number holds, from clients, from a primary and from a file.

#![allow(clippy::unwrap_used)]

mod kit;

use keystead_engine::resp::OwnedArgs;
use keystead_engine::{ApplyState, SessionId};
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
