//! MONITOR: what is shown, in which order and database, and what those who watch are spared.

mod kit;

use keystead_engine::ApplyState;
use keystead_engine::session::ConnInfo;
use kit::Kit;

/// The database and the words of each line.
fn shown(seen: &str) -> Vec<String> {
    let lines = seen.lines().filter_map(|line| line.split_once(" [")?.1.split_once(' '));
    lines.map(|(db, rest)| format!("{db} {}", rest.split_once("] ").map_or(rest, |(_, words)| words))).collect()
}

#[test]
fn a_command_is_shown_in_the_database_in_which_it_leaves_the_client() {
    let mut kit = Kit::default();
    let (monitor, c) = (kit.connect(), kit.connect());
    kit.cmd(monitor, "MONITOR");
    for line in ["SELECT 3", "SET k 1", "SELECT 99", "MULTI", "SELECT 5", "GET k", "EXEC", "RESET"] {
        kit.cmd(c, line);
    }
    let expected = [
        "3 \"SELECT\" \"3\"",
        "3 \"SET\" \"k\" \"1\"",
        "3 \"SELECT\" \"99\"",
        "3 \"MULTI\"",
        "5 \"SELECT\" \"5\"",
        "5 \"GET\" \"k\"",
        "5 \"EXEC\"",
        "0 \"RESET\"",
    ];
    assert_eq!(shown(&kit.read(monitor)), expected);
}

#[test]
fn a_transaction_that_is_refused_at_its_end_is_shown_to_have_ended() {
    let mut kit = Kit::default();
    let (monitor, c) = (kit.connect(), kit.connect());
    kit.cmd(monitor, "MONITOR");
    kit.cmd(c, "MULTI");
    kit.cmd(c, "SET k 1");
    assert!(kit.cmd(c, "EXEC now").starts_with("-EXECABORT"));
    assert_eq!(shown(&kit.read(monitor)), ["0 \"MULTI\"", "0 \"EXEC\" \"now\""]);
}

/// On a replica, what its primary sends: from the primary's address, transactions from their begin to their end.
#[test]
fn what_a_primary_sends_is_shown() {
    let mut kit = Kit::default();
    let monitor = kit.connect();
    kit.cmd(monitor, "MONITOR");
    kit.turn(|engine| engine.core.show_link(ConnInfo { addr: "10.0.0.1:6379".into(), ..ConnInfo::default() }));
    let words = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let encoded: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*{}\r\n{encoded}", words.len())
    };
    let lines = ["PING", "SELECT 3", "SET k 1", "MULTI", "INCR k", "EXEC", "NOPE", "REPLCONF GETACK *"];
    let stream: String = lines.iter().map(|line| words(line)).collect();
    kit.turn(|engine| engine.apply_stream(&mut ApplyState::new(0), stream.as_bytes()).map(drop)).expect("a stream");
    let seen = kit.read(monitor);
    assert_eq!(seen.matches(" 10.0.0.1:6379] ").count(), 6, "{seen}");
    let expected =
        ["0 \"PING\"", "3 \"SELECT\" \"3\"", "3 \"SET\" \"k\" \"1\"", "3 \"MULTI\"", "3 \"INCR\" \"k\"", "3 \"EXEC\""];
    assert_eq!(shown(&seen), expected);
}

/// Redis takes a client that watches for a replica.
#[test]
fn who_watches_may_be_silent_and_is_never_paused() {
    let mut kit = Kit::default();
    let (monitor, admin, idle) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(monitor, "MONITOR");
    kit.cmd(admin, "CONFIG SET timeout 1");
    kit.later(500);
    kit.cmd(admin, "PING");
    kit.advance(1000);
    assert_eq!(kit.closed, [idle]);
    kit.cmd(admin, "CLIENT PAUSE 100000 ALL");
    assert!(kit.cmd(monitor, "PING").contains("+PONG\r\n"));
}

#[test]
fn who_watches_sees_its_own_commands_behind_their_replies() {
    let line = |words: &str| format!("+1700000000.000000 [0 127.0.0.1:50000] {words}\r\n");
    let mut kit = Kit::default();
    let monitor = kit.connect();
    assert_eq!(kit.cmd(monitor, "MONITOR"), "+OK\r\n");
    assert_eq!(kit.cmd(monitor, "PING"), format!("+PONG\r\n{}", line("\"PING\"")));
    assert!(kit.cmd(monitor, "GET k").starts_with("-ERR Replica can't"), "what is refused isn't shown");
    assert_eq!(kit.read(monitor), "");
    for word in ["MULTI", "PING", "ECHO a"] {
        kit.cmd(monitor, word);
    }
    let lines = [line("\"PING\""), line("\"ECHO\" \"a\""), line("\"EXEC\"")].concat();
    assert_eq!(kit.cmd(monitor, "EXEC"), format!("*2\r\n+PONG\r\n$1\r\na\r\n{lines}"));
    assert_eq!(kit.cmd(monitor, "CLIENT REPLY OFF"), "");
    assert_eq!(kit.cmd(monitor, "PING"), "");
    assert_eq!(kit.cmd(monitor, "CLIENT REPLY ON"), format!("+OK\r\n{}", line("\"CLIENT\" \"REPLY\" \"ON\"")));
    assert_eq!(kit.cmd(monitor, "RESET"), "+RESET\r\n");
    assert_eq!(kit.cmd(monitor, "MONITOR"), "+OK\r\n");
    assert_eq!(kit.cmd(monitor, "QUIT"), "+OK\r\n");
}
