//! How waits end: by whom they are served, who is passed over, and what a session is told when it goes on.

mod kit;

use keystead_engine::SessionId;
use keystead_engine::journal::CursorClass;
use kit::Kit;

const POPPED: &str = "*2\r\n$1\r\nq\r\n$1\r\n1\r\n";

fn push(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

#[test]
fn nothing_is_popped_for_a_client_that_is_about_to_be_closed() {
    let mut kit = Kit::default();
    let (a, c) = (kit.connect(), kit.connect());
    kit.cmd(c, "CONFIG SET client-output-buffer-limit \"pubsub 1000 0 0\"");
    kit.cmd(a, "HELLO 3");
    kit.cmd(a, "SUBSCRIBE ch");
    kit.cmd(a, "BLPOP q 0");
    // In one turn: the server hasn't closed it yet.
    let sent = format!("PUBLISH ch {}\r\nRPUSH q precious\r\nLLEN q\r\n", "x".repeat(5000));
    assert_eq!(kit.send(c, sent), ":1\r\n:1\r\n:1\r\n");
    assert_eq!(kit.closed, [a]);
    kit.gone(a);
    assert_eq!(kit.cmd(c, "LLEN q"), ":1\r\n");
    assert!(kit.engine.core.blocking.is_empty());
}

fn waiting(kit: &mut Kit, line: &str) -> SessionId {
    let id = kit.connect();
    assert_eq!(kit.cmd(id, line), "");
    id
}

/// How often 200 pushes look at who waits where so many wait for one key: each serves one of them, who comes again.
fn looks_at_waiters(waiters: usize) -> u64 {
    let mut kit = Kit::default();
    let c = kit.connect();
    let ids: Vec<SessionId> = (0..waiters).map(|_| waiting(&mut kit, "BLPOP q p q 0")).collect();
    let before = kit.engine.core.blocking.looks();
    for at in 0..200 {
        kit.cmd(c, "RPUSH q 1");
        assert_eq!(kit.read(ids[at % waiters]), POPPED, "in the order in which they came");
        kit.cmd(ids[at % waiters], "BLPOP q p q 0");
    }
    kit.engine.core.blocking.looks() - before
}

/// A queue of jobs with thousands of workers costs as much as one with twenty.
#[test]
fn who_waits_for_the_same_key_costs_nothing() {
    assert_eq!(looks_at_waiters(5000), looks_at_waiters(20));
}

/// What went again before anybody was served is for those who wait for a loss.
#[test]
fn only_a_group_s_consumers_are_told_that_nothing_is_there() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let (first, last) = (waiting(&mut kit, "BLPOP q 0"), waiting(&mut kit, "BLPOP q q 0"));
    kit.cmd(c, "XGROUP CREATE q g $ MKSTREAM");
    let consumer = waiting(&mut kit, "XREADGROUP GROUP g me BLOCK 0 STREAMS q >");
    kit.send(c, "MULTI\r\nDEL q\r\nRPUSH q 1\r\nDEL q\r\nEXEC\r\n");
    assert!(kit.read(consumer).starts_with("-NOGROUP"));
    assert_eq!((kit.read(first), kit.read(last)), (String::new(), String::new()));
    assert_eq!(kit.engine.core.blocking.waiting(), 2);
    kit.cmd(c, "RPUSH q 1 1");
    assert_eq!((kit.read(first), kit.read(last)), (POPPED.to_owned(), POPPED.to_owned()));
    assert!(kit.engine.core.blocking.is_empty() && kit.engine.core.blocking.keys() == 0);
}

/// A failover relies on it: while writes are paused nothing moves the offset.
#[test]
fn who_waits_is_not_served_while_writes_are_paused() {
    let mut kit = Kit::default();
    let cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("now");
    let c = kit.connect();
    let (first, second) = (waiting(&mut kit, "BLPOP q 0"), waiting(&mut kit, "BLPOP q 0"));
    kit.cmd(c, "MULTI");
    kit.cmd(c, "RPUSH q 1");
    kit.cmd(c, "CLIENT PAUSE 1000 WRITE");
    assert_eq!(kit.cmd(c, "EXEC"), "*2\r\n:1\r\n+OK\r\n");
    let offset = kit.engine.core.journal.offset();
    kit.advance(500);
    assert_eq!((kit.read(first), kit.read(second)), (String::new(), String::new()));
    assert_eq!(kit.cmd(c, "LLEN q"), ":1\r\n");
    assert_eq!(kit.engine.core.journal.offset(), offset);
    // One that goes meanwhile takes nothing along.
    let third = waiting(&mut kit, "BLPOP q 0");
    kit.gone(third);
    kit.advance(600);
    assert_eq!((kit.read(first), kit.read(second)), (POPPED.to_owned(), String::new()));
    assert!(kit.engine.core.journal.offset() > offset);
    kit.cmd(c, "RPUSH q 1");
    assert_eq!(kit.read(second), POPPED);
    assert!(kit.engine.core.blocking.is_empty());
    kit.engine.core.journal.close_cursor(cursor);
}

#[test]
fn a_pause_of_all_is_not_weakened_by_one_of_writes() {
    let mut kit = Kit::default();
    let (c, d) = (kit.connect(), kit.connect());
    kit.send(c, "MULTI\r\nCLIENT PAUSE 1000 ALL\r\nCLIENT PAUSE 2000 WRITE\r\nEXEC\r\n");
    assert_eq!(kit.cmd(d, "GET a"), "");
    kit.advance(1500);
    assert_eq!(kit.read(d), "", "both hold for the longer of the times, as in Redis");
    kit.advance(600);
    assert_eq!(kit.read(d), "$-1\r\n");
    // One that is over is none, though nobody has looked yet.
    kit.send(c, "CLIENT PAUSE 100 ALL\r\n");
    kit.later(200);
    kit.send(c, "CLIENT PAUSE 1000 WRITE\r\n");
    assert_eq!(kit.cmd(d, "GET a"), "$-1\r\n");
}

#[test]
fn who_waits_when_the_node_is_demoted_is_told_so_and_closed() {
    let mut kit = Kit::default();
    let other = kit.connect();
    let a = waiting(&mut kit, "BLPOP q 0");
    kit.turn(|engine| engine.unblock_all());
    let told = "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";
    assert_eq!(kit.read(a), told);
    assert!(kit.closed.contains(&a));
    assert_eq!(kit.cmd(other, "PING"), "+PONG\r\n");
    assert!(!kit.closed.contains(&other));
}

/// Ends a wait; with who writes and who waits.
type End = fn(&mut Kit, SessionId, SessionId);

/// CLIENT CACHING is for the command that waits, not for the one behind it.
#[test]
fn what_was_said_of_caching_is_used_up_by_a_wait() {
    let ends: [(&str, End); 4] = [
        ("served", |kit, w, _| _ = kit.cmd(w, "RPUSH q 1")),
        ("timeout", |kit, _, _| kit.advance(1100)),
        ("unblocked", |kit, w, c| _ = kit.cmd(w, &format!("CLIENT UNBLOCK {}", c.id))),
        ("refused", |kit, w, _| {
            kit.cmd(w, "ACL SETUSER default -blpop");
            kit.cmd(w, "RPUSH q 1");
        }),
    ];
    for (how, end) in ends {
        let mut kit = Kit::default();
        let (c, w) = (kit.connect(), kit.connect());
        kit.cmd(c, "HELLO 3");
        kit.cmd(c, "CLIENT TRACKING ON OPTOUT");
        assert_eq!(kit.cmd(c, "CLIENT CACHING NO"), "+OK\r\n");
        assert_eq!(kit.cmd(c, "BLPOP q 1"), "");
        end(&mut kit, w, c);
        assert_ne!(kit.read(c), "", "{how}");
        kit.cmd(c, "GET x");
        kit.cmd(w, "SET x 1");
        assert_eq!(kit.read(c), push("x"), "{how}");
    }
}

/// What a command did before it left its turn is told to its own client, not to whoever comes next.
#[test]
fn a_command_that_leaves_its_turn_takes_its_news_along() {
    let mut kit = Kit::default();
    let (a, b) = (kit.connect(), kit.connect());
    kit.cmd(a, "DEBUG SET-ACTIVE-EXPIRE 0");
    kit.cmd(a, "CONFIG SET notify-keyspace-events KEA");
    kit.cmd(a, "HELLO 3");
    kit.cmd(a, "SET m1 v PX 10");
    kit.cmd(a, "SET m2 v");
    kit.cmd(a, "PSUBSCRIBE __key*");
    kit.advance(20);
    let told = kit.cmd(a, "MIGRATE nowhere 1 \"\" 0 1000 KEYS m1 m2");
    assert_eq!(told.matches("expired").count(), 2, "{told}");
    assert_eq!(kit.cmd(b, "ECHO hi"), "$2\r\nhi\r\n");
}

/// A sentinel closes the clients of an old primary and ends the pause of their writes at once.
#[test]
fn what_a_closed_client_had_to_wait_with_is_not_run() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "CLIENT PAUSE 1000 WRITE");
    let a = waiting(&mut kit, "SET k v");
    kit.cmd(c, "MULTI");
    kit.cmd(c, "CLIENT UNPAUSE");
    kit.cmd(c, &format!("CLIENT KILL ID {}", a.id));
    assert_eq!(kit.cmd(c, "EXEC"), "*2\r\n+OK\r\n:1\r\n");
    assert_eq!((kit.read(a), kit.closed.clone()), (String::new(), vec![a]));
    kit.gone(a);
    assert_eq!(kit.cmd(c, "EXISTS k"), ":0\r\n");
}
