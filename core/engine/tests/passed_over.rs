//! What a primary's stream or a file has and this server can't execute: what is executed of the rest, where, and who gets
//! which bytes.

mod kit;

use keystead_engine::journal::{CursorClass, CursorId, Read};
use keystead_engine::{ApplyState, Gate};
use kit::Kit;

fn encode(lines: &[&str]) -> Vec<u8> {
    let words = |line: &str| line.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect::<String>();
    lines.iter().flat_map(|line| format!("*{}\r\n{}", line.split(' ').count(), words(line)).into_bytes()).collect()
}

/// A replica with a replica of its own and a file.
struct Node {
    kit: Kit,
    sub: CursorId,
    file: CursorId,
}

impl Node {
    fn new() -> Node {
        let mut kit = Kit::default();
        kit.engine.gates().set(Gate::Replica, true);
        let sub = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("now");
        let file = kit.engine.core.journal.open_cursor(CursorClass::Persistence, None).expect("now");
        Node { kit, sub, file }
    }

    fn read(&mut self, cursor: CursorId) -> Vec<u8> {
        match self.kit.engine.core.journal.read(cursor, usize::MAX) {
            Read::Data(parts) => parts.concat(),
            _ => Vec::new(),
        }
    }

    fn feed(&mut self, state: &mut ApplyState, bytes: &[u8]) {
        self.kit.turn(|engine| engine.apply_stream(state, bytes)).expect("a stream");
    }
}

/// The commands of a file, each with the database that it applies to: where the SELECTs stand is the journal's own affair.
fn placed(mut bytes: &[u8]) -> Vec<String> {
    use keystead_engine::resp::{Args, Decoded, Decoder, Limits};
    let (mut list, mut db) = (Vec::new(), "0".to_owned());
    while let Ok(Decoded::Command { consumed, args, .. }) = Decoder::new().decode(bytes, &Limits::default()) {
        let args = Args::new(&bytes[..consumed], &args);
        let line = args.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        match line.strip_prefix("SELECT ") {
            Some(selected) => selected.clone_into(&mut db),
            None if line == "MULTI" || line == "EXEC" => list.push(line),
            None => list.push(format!("{db}: {line}")),
        }
        bytes = &bytes[consumed..];
    }
    assert!(bytes.is_empty());
    list
}

/// Applies a stream in pieces of whatever size: its replica gets it byte for byte, its file these commands, which make the
/// same data.
fn expect_file(sent: &[&str], kept: &[&str]) {
    let bytes = encode(sent);
    for size in [1, 17, usize::MAX] {
        let (mut node, mut state) = (Node::new(), ApplyState::new(0));
        for piece in bytes.chunks(size) {
            node.feed(&mut state, piece);
        }
        assert_eq!(node.kit.engine.core.journal.offset(), bytes.len() as u64);
        let (sub, file) = (node.sub, node.file);
        assert_eq!(node.read(sub), bytes, "pieces of {size}");
        let file = node.read(file);
        assert_eq!(placed(&file), kept, "pieces of {size}");
        let mut again = Kit::default();
        again.turn(|engine| engine.replay(&mut ApplyState::of_file(), &file)).expect("a file that can be read");
        assert_eq!(again.engine.ks.digest(), node.kit.engine.ks.digest());
    }
}

#[test]
fn of_a_unit_with_an_unknown_command_the_file_has_what_was_executed() {
    expect_file(
        &["SELECT 1", "MULTI", "SET a 1", "FUNKTION LOAD", "SELECT 2", "SET b 1", "PUBLISH ch x", "EXEC", "SET c 1"],
        &["MULTI", "1: SET a 1", "2: SET b 1", "EXEC", "2: SET c 1"],
    );
    expect_file(
        &["SET z 1", "MULTI", "GET", "SET a 1", "EXEC", "MULTI", "NOPE", "EXEC", "MULTI", "SET b 1", "INCR b", "EXEC"],
        &["0: SET z 1", "0: SET a 1", "MULTI", "0: SET b 1", "0: INCR b", "EXEC"],
    );
}

/// A unit that its link takes along leaves nothing behind for the next.
#[test]
fn half_a_unit_with_an_unknown_command_is_forgotten_with_its_link() {
    let (mut node, mut state) = (Node::new(), ApplyState::new(0));
    node.feed(&mut state, &encode(&["MULTI", "SET a 1", "NOPE"]));
    state.reset();
    node.feed(&mut state, &encode(&["MULTI", "SET b 1", "EXEC"]));
    let file = node.file;
    let told = node.read(file);
    assert_eq!(placed(&told), ["MULTI", "0: SET b 1", "EXEC"]);
}

/// Nobody keeps bytes: the offset is the primary's all the same.
#[test]
fn the_offset_is_the_primarys_where_nobody_reads() {
    let (mut kit, mut state) = (Kit::default(), ApplyState::new(0));
    let sent = encode(&["MULTI", "SET a 1", "NOPE", "SET b 1", "EXEC", "SELECT 99", "FLUSHALL"]);
    let applied = kit.turn(|engine| engine.apply_stream(&mut state, &sent)).expect("a stream");
    assert_eq!((applied.offset, state.db()), (sent.len() as u64, 99));
    assert_eq!(kit.engine.core.journal.offset(), sent.len() as u64);
}

#[test]
fn what_is_for_a_database_that_is_not_here_reaches_no_other() {
    expect_file(
        &[
            "SELECT 1",
            "SET a 1",
            "SELECT 99",
            "SET a 2",
            "FLUSHDB",
            "PING",
            "SELECT 2",
            "SET b 1",
            "SELECT 1",
            "SET c 1",
        ],
        &["1: SET a 1", "2: SET b 1", "1: SET c 1"],
    );
    // In a unit, from one on into the next, and with a unit that leads back.
    expect_file(
        &["SET a 1", "MULTI", "SELECT 99", "DEL a", "SELECT 3", "SET b 1", "SELECT 99", "EXEC", "DEL b"],
        &["0: SET a 1", "3: SET b 1"],
    );
    expect_file(
        &["SET a 1", "SELECT 99", "MULTI", "DEL a", "SELECT 0", "INCR a", "EXEC", "INCR a"],
        &["0: SET a 1", "0: INCR a", "0: INCR a"],
    );
    // No number at all, and what is the same in every database.
    expect_file(&["SET a 1", "SELECT x", "SET b 1", "SWAPDB 0 1"], &["0: SET a 1", "0: SWAPDB 0 1"]);
    expect_file(
        &["SET a 1", "SELECT -1", "FLUSHALL", "SELECT 0", "SET b 1"],
        &["0: SET a 1", "0: FLUSHALL", "0: SET b 1"],
    );
}

/// A key that is moved there is gone from here, and what is copied there is nowhere.
#[test]
fn what_leaves_for_a_database_that_is_not_here_is_gone() {
    expect_file(
        &["SET a 1", "MOVE a 99", "SET b 1", "COPY b c DB 99", "COPY b b db 16 REPLACE", "SWAPDB 98 99", "SET a 2"],
        &["0: SET a 1", "0: DEL a", "0: SET b 1", "0: SET a 2"],
    );
    expect_file(
        &["SELECT 2", "MULTI", "SET a 1", "MOVE a 99", "SET a 2", "MOVE a 3", "SET b 1", "EXEC"],
        &["MULTI", "2: SET a 1", "2: DEL a", "2: SET a 2", "2: MOVE a 3", "2: SET b 1", "EXEC"],
    );
}

/// What comes from there is known to nobody here: only everything anew tells.
#[test]
fn what_comes_from_a_database_that_is_not_here_ends_the_stream() {
    for lines in [
        &["SET a 1", "SWAPDB 0 99"][..],
        &["SET a 1", "SWAPDB 99 0"],
        &["SET a 1", "SELECT 99", "MOVE b 0"],
        &["SET a 1", "SELECT 99", "COPY b c DB 3"],
        &["SET a 1", "SELECT 99", "MULTI", "MOVE b 0", "EXEC"],
    ] {
        let (mut node, mut state) = (Node::new(), ApplyState::new(0));
        let bytes = encode(lines);
        let refused = node.kit.turn(|engine| engine.apply_stream(&mut state, &bytes)).expect_err("nobody knows");
        assert!(
            refused.contains("ERR DB index is out of range ('") && refused.contains("has 16 databases"),
            "{refused}"
        );
        let file = node.file;
        let told = node.read(file);
        assert_eq!(placed(&told), ["0: SET a 1"], "what went before was executed");
    }
    let (mut node, mut state) = (Node::new(), ApplyState::new(0));
    node.feed(
        &mut state,
        &encode(&["SELECT 99", "SET b 1", "COPY b c", "MOVE b 98", "COPY b c DB 98", "SELECT 0", "SET a 1"]),
    );
    assert_eq!(state.db(), 0, "from one that isn't here to another");
}

/// Its replicas, a restart and the next link learn which one the stream has selected.
#[test]
fn a_database_that_is_not_here_stays_the_streams() {
    let (mut node, mut state) = (Node::new(), ApplyState::new(0));
    node.kit.engine.core.journal.set_backlog(Some(1 << 20));
    node.feed(&mut state, &encode(&["SET a 1", "SELECT 99", "DEL a"]));
    let snapshot = node.kit.engine.begin_snapshot(Some(CursorClass::SyncingReplica)).expect("free");
    assert_eq!((snapshot.stream_db, state.db()), (Some(99), 99));
    for mut next in [state, ApplyState::new(99)] {
        next.reset();
        node.feed(&mut next, &encode(&["DEL a", "MULTI", "DEL a", "EXEC"]));
    }
    let c = node.kit.connect();
    assert_eq!(node.kit.cmd(c, "GET a"), "$1\r\n1\r\n");
    let told = node.kit.cmd(c, "INFO stats");
    assert!(told.contains("unexpected_error_replies:2\r\n"), "once each: {told}");
}

/// Messages have no database.
#[test]
fn messages_are_told_whatever_database_the_stream_has_selected() {
    let (mut node, mut state) = (Node::new(), ApplyState::new(0));
    let listener = node.kit.connect();
    node.kit.cmd(listener, "SUBSCRIBE ch");
    node.feed(&mut state, &encode(&["SELECT 99", "PUBLISH ch x"]));
    assert!(node.kit.read(listener).ends_with("$1\r\nx\r\n"));
}

#[test]
fn a_file_of_more_databases_is_refused() {
    for (lines, name) in [
        (["SET a 1", "SELECT 1", "SELECT 99", "FLUSHALL"], "'select|99'"),
        (["SET a 1", "MULTI", "SELECT 16", "FLUSHALL"], "'select|16'"),
        (["SET a 1", "MULTI", "SELECT x", "FLUSHALL"], "'select|x'"),
    ] {
        let mut kit = Kit::default();
        let bytes = encode(&[&lines[..], &["EXEC"]].concat());
        let refused =
            kit.turn(|engine| engine.replay(&mut ApplyState::of_file(), &bytes)).expect_err("no such database");
        assert!(refused.contains(name) && refused.contains("this server has 16 databases"), "{refused}");
        let c = kit.connect();
        assert_eq!(kit.cmd(c, "GET a"), "$1\r\n1\r\n", "nothing behind it is executed");
    }
}
