//! Keyspace events that no client's command makes: expiry, a primary's stream, loading; and who hears of them.

mod kit;

use keystead_engine::ApplyState;
use kit::Kit;

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
