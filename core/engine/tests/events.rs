//! Keyspace events that no client's command makes: expiry, a primary's stream, loading; and who hears of them.

mod kit;

use keystead_engine::ApplyState;
use keystead_engine::rdb::{dump_payload, types};
use kit::{Kit, Stream};

/// The channels and messages of pushes, a line each.
fn lines(heard: &str) -> Vec<String> {
    let words: Vec<&str> = heard.split("\r\n").collect();
    words.chunks_exact(9).map(|part| format!("{} {}", part[6], part[8])).collect()
}

fn listener(kit: &mut Kit, classes: &str) -> keystead_engine::SessionId {
    let id = kit.connect();
    kit.cmd(id, &format!("CONFIG SET notify-keyspace-events {classes}"));
    kit.cmd(id, "PSUBSCRIBE __keyevent*");
    id
}

#[test]
fn expired_keys_are_told_whoever_finds_them() {
    let mut kit = Kit::default();
    let listener = listener(&mut kit, "EAm");
    let client = kit.connect();
    kit.cmd(client, "DEBUG SET-ACTIVE-EXPIRE 0");
    kit.cmd(client, "SET read v PX 10");
    kit.cmd(client, "SET written v PX 10");
    kit.cmd(client, "SET cycle v PX 10");
    kit.read(listener);
    kit.advance(50);
    kit.cmd(client, "GET read");
    kit.cmd(client, "RPUSH written v");
    kit.cmd(client, "DEBUG SET-ACTIVE-EXPIRE 1");
    kit.advance(50);
    let expected = [
        "__keyevent@0__:expired read",
        "__keyevent@0__:keymiss read",
        "__keyevent@0__:expired written",
        "__keyevent@0__:rpush written",
        "__keyevent@0__:expired cycle",
    ];
    assert_eq!(lines(&kit.read(listener)), expected);
}

#[test]
fn a_primarys_stream_makes_events_as_well() {
    let mut kit = Kit::default();
    let listener = listener(&mut kit, "EAn");
    let mut link = ApplyState::new(0);
    kit.turn(|engine| {
        let stream = b"*1\r\n$5\r\nMULTI\r\n*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\na\r\n*2\r\n$4\r\nLPOP\r\n$1\r\nl\r\n*1\r\n$4\r\nEXEC\r\n";
        engine.apply_stream(&mut link, stream).expect("a stream");
    });
    let expected = ["__keyevent@0__:new l", "__keyevent@0__:rpush l", "__keyevent@0__:lpop l", "__keyevent@0__:del l"];
    assert_eq!(lines(&kit.read(listener)), expected);
}

#[test]
fn loading_and_flushing_are_no_events() {
    let mut kit = Kit::default();
    let listener = listener(&mut kit, "KEAnm");
    let client = kit.connect();
    kit.cmd(client, "MSET a 1 b 2");
    kit.read(listener);
    assert_eq!(kit.cmd(client, "DEBUG RELOAD"), "+OK\r\n");
    kit.cmd(client, "SWAPDB 0 1");
    kit.cmd(client, "FLUSHALL");
    assert_eq!(lines(&kit.read(listener)), [""; 0]);
}

#[test]
fn whoever_caused_an_event_hears_of_it_too() {
    let mut kit = Kit::default();
    let client = kit.connect();
    kit.cmd(client, "CONFIG SET notify-keyspace-events K$");
    kit.cmd(client, "HELLO 3");
    kit.cmd(client, "SUBSCRIBE __keyspace@0__:a");
    let heard = kit.cmd(client, "SET a 1");
    assert!(heard.contains("+OK\r\n"), "{heard}");
    assert!(heard.contains(">3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@0__:a\r\n$3\r\nset\r\n"), "{heard}");
}

#[test]
fn only_chosen_classes_and_spaces_are_told() {
    let mut kit = Kit::default();
    let listener = listener(&mut kit, "El");
    let client = kit.connect();
    kit.cmd(client, "SET a 1");
    kit.cmd(client, "LPUSH l 1");
    kit.cmd(client, "CONFIG SET notify-keyspace-events Kl");
    kit.cmd(client, "LPUSH l 2");
    kit.cmd(client, "CONFIG SET notify-keyspace-events \"\"");
    kit.cmd(client, "LPUSH l 3");
    assert_eq!(lines(&kit.read(listener)), ["__keyevent@0__:lpush l"]);
    let refused = kit.cmd(client, "CONFIG SET notify-keyspace-events q");
    assert!(refused.contains("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."), "{refused}");
}

/// redis-server 7.0.15: who stores nothing deletes what is there without asking for its time, in the stream as well.
#[test]
fn a_key_whose_time_is_up_goes_by_the_command_that_stores_nothing_there() {
    let commands = [
        "ZRANGESTORE gone zset 5 6",
        "ZUNIONSTORE gone 1 none",
        "SINTERSTORE gone none",
        "SORT none STORE gone",
        "BITOP AND gone none",
        "GEOSEARCHSTORE gone none FROMLONLAT 1 1 BYRADIUS 1 m",
    ];
    for command in commands {
        let mut stream = Stream::new();
        let kit = &mut stream.kit;
        let listener = listener(kit, "EAm");
        let client = kit.connect();
        kit.cmd(client, "DEBUG SET-ACTIVE-EXPIRE 0");
        kit.cmd(client, "ZADD zset 1 a");
        kit.cmd(client, "SET gone v PX 10");
        kit.later(50);
        kit.read(listener);
        stream.records();
        assert_eq!(stream.kit.cmd(client, command), ":0\r\n");
        let told = lines(&stream.kit.read(listener));
        let missed: Vec<_> = told.iter().filter(|line| !line.ends_with(":keymiss none")).collect();
        assert_eq!(missed, ["__keyevent@0__:del gone"], "{command}");
        assert_eq!(stream.records(), [command]);
        assert!(stream.kit.cmd(client, "INFO stats").contains("\r\nexpired_keys:0\r\n"), "{command}");
        // What it reads itself goes by its time.
        stream.kit.cmd(client, "SADD set a");
        stream.kit.cmd(client, "PEXPIRE set 10");
        stream.kit.later(50);
        stream.kit.read(listener);
        stream.records();
        stream.kit.cmd(client, "SINTERSTORE set set");
        assert_eq!(lines(&stream.kit.read(listener)), ["__keyevent@0__:expired set", "__keyevent@0__:keymiss set"]);
        assert_eq!(stream.records(), ["DEL set"]);
    }
}

/// RESTORE with REPLACE deletes what is there; without it looks first.
#[test]
fn restore_replaces_a_key_whose_time_is_up_without_a_word() {
    for (replace, events, records) in [(" REPLACE", &["restore"][..], 1), ("", &["expired", "restore"][..], 4)] {
        let mut stream = Stream::new();
        let kit = &mut stream.kit;
        let listener = listener(kit, "EA");
        let client = kit.connect();
        kit.cmd(client, "DEBUG SET-ACTIVE-EXPIRE 0");
        kit.cmd(client, "SET key v PX 10");
        kit.later(50);
        kit.read(listener);
        stream.records();
        // The number 1.
        let payload: String = dump_payload(types::STRING, b"\xc0\x01").iter().map(|b| format!("\\x{b:02x}")).collect();
        assert_eq!(stream.kit.cmd(client, &format!("RESTORE key 0 \"{payload}\"{replace}")), "+OK\r\n");
        let told = lines(&stream.kit.read(listener));
        let events: Vec<_> = events.iter().map(|event| format!("__keyevent@0__:{event} key")).collect();
        assert_eq!(told, events, "{replace}");
        assert_eq!(stream.records().len(), records, "{replace}");
    }
}

/// Both keys are looked up before the member is.
#[test]
fn smove_deletes_a_destination_whose_time_is_up_whatever_the_source_is() {
    for source in ["none", "set", "text"] {
        let mut stream = Stream::new();
        let kit = &mut stream.kit;
        let listener = listener(kit, "EA");
        let client = kit.connect();
        kit.cmd(client, "DEBUG SET-ACTIVE-EXPIRE 0");
        kit.cmd(client, "SADD set a");
        kit.cmd(client, "SET text v");
        kit.cmd(client, "SADD to b");
        kit.cmd(client, "PEXPIRE to 10");
        kit.later(50);
        kit.read(listener);
        stream.records();
        let reply = stream.kit.cmd(client, &format!("SMOVE {source} to nobody"));
        assert_eq!(reply.starts_with("-WRONGTYPE"), source == "text", "{source}");
        assert_eq!(lines(&stream.kit.read(listener)), ["__keyevent@0__:expired to"], "{source}");
        assert_eq!(stream.records(), ["DEL to"], "{source}");
    }
}
