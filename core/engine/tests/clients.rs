//! What clients do to each other: pub/sub, blocking, pause, kill, reply modes, MONITOR, output limits.

mod kit;

use keystead_engine::limits::Buffers;
use keystead_engine::pause::{Pause, Pauser};
use keystead_engine::resp::Begun;
use keystead_engine::{Action, ConnInfo, Gate};
use kit::Kit;

#[test]
fn messages_reach_subscribers() {
    let mut kit = Kit::default();
    let (sub, pubber) = (kit.connect(), kit.connect());
    assert_eq!(
        kit.cmd(sub, "SUBSCRIBE a b"),
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
    );
    assert_eq!(kit.cmd(sub, "PSUBSCRIBE ?"), "*3\r\n$10\r\npsubscribe\r\n$1\r\n?\r\n:3\r\n");
    assert_eq!(kit.cmd(pubber, "PUBLISH a hi"), ":2\r\n");
    assert_eq!(
        kit.read(sub),
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n*4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$2\r\nhi\r\n"
    );
    assert_eq!(
        kit.cmd(sub, "GET a"),
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n"
    );
    assert_eq!(kit.cmd(sub, "PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert_eq!(kit.cmd(pubber, "PUBSUB NUMSUB a x"), "*4\r\n$1\r\na\r\n:1\r\n$1\r\nx\r\n:0\r\n");
    assert_eq!(kit.cmd(pubber, "PUBSUB CHANNELS a*"), "*1\r\n$1\r\na\r\n");
    assert_eq!(kit.cmd(pubber, "PUBSUB NUMPAT"), ":1\r\n");
    assert_eq!(kit.cmd(sub, "UNSUBSCRIBE a"), "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n");
    kit.cmd(sub, "UNSUBSCRIBE");
    kit.cmd(sub, "PUNSUBSCRIBE");
    assert_eq!(kit.cmd(sub, "UNSUBSCRIBE"), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    assert_eq!(kit.cmd(sub, "GET a"), "$-1\r\n");
    // RESP3: pushes, and no restriction.
    kit.cmd(sub, "HELLO 3");
    assert_eq!(kit.cmd(sub, "SUBSCRIBE a"), ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(kit.cmd(sub, "PUBLISH a x"), ":1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    kit.engine.disconnect(sub);
    assert_eq!(kit.cmd(pubber, "PUBLISH a x"), ":0\r\n");
}

#[test]
fn waiting_clients_are_served_in_order() {
    let mut kit = Kit::default();
    let (a, b, c) = (kit.connect(), kit.connect(), kit.connect());
    assert_eq!(kit.cmd(a, "BLPOP l 0"), "");
    assert_eq!(kit.send(b, "BLPOP l 0\r\nPING\r\n"), "");
    assert_eq!(kit.cmd(c, "RPUSH l 1 2"), ":2\r\n");
    assert_eq!(kit.read(a), "*2\r\n$1\r\nl\r\n$1\r\n1\r\n");
    // What was pipelined behind the wait runs now.
    assert_eq!(kit.read(b), "*2\r\n$1\r\nl\r\n$1\r\n2\r\n+PONG\r\n");
    assert_eq!(kit.cmd(c, "EXISTS l"), ":0\r\n");
    // Another type leaves them waiting.
    kit.cmd(a, "BLPOP l 1");
    kit.cmd(c, "SET l x");
    assert_eq!(kit.read(a), "");
    kit.advance(1001);
    assert_eq!(kit.read(a), "*-1\r\n");
    // Inside MULTI nothing waits; a transaction wakes others only at its end.
    kit.cmd(c, "DEL l");
    kit.cmd(a, "MULTI");
    kit.cmd(a, "BLPOP l 0");
    assert_eq!(kit.cmd(a, "EXEC"), "*1\r\n*-1\r\n");
    kit.cmd(b, "BLPOP l 0");
    kit.send(c, "MULTI\r\nRPUSH l x\r\nDEL l\r\nEXEC\r\n");
    assert_eq!(kit.read(b), "");
    let id = b.id;
    assert_eq!(kit.cmd(c, &format!("CLIENT UNBLOCK {id} ERROR")), ":1\r\n");
    assert_eq!(kit.read(b), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    assert_eq!(kit.cmd(c, &format!("CLIENT UNBLOCK {id}")), ":0\r\n");
    // A client that goes away waits no longer.
    kit.cmd(b, "BLPOP l 0");
    kit.engine.disconnect(b);
    assert_eq!(kit.cmd(c, "RPUSH l 1"), ":1\r\n");
    assert_eq!(kit.cmd(c, "LLEN l"), ":1\r\n");
}

#[test]
fn a_pause_holds_writes_and_lets_them_go_in_order() {
    let mut kit = Kit::default();
    let (admin, w) = (kit.connect(), kit.connect());
    assert_eq!(kit.cmd(admin, "CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
    assert_eq!(kit.cmd(w, "GET k"), "$-1\r\n");
    assert_eq!(kit.send(w, "SET k 1\r\nINCR k\r\n"), "");
    kit.advance(500);
    assert_eq!(kit.read(w), "");
    kit.advance(600);
    assert_eq!(kit.read(w), "+OK\r\n:2\r\n");
    kit.cmd(admin, "CLIENT PAUSE 100000 ALL");
    assert_eq!(kit.cmd(w, "PING"), "");
    assert_eq!(kit.cmd(admin, "CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!(kit.read(w), "+PONG\r\n");
    // Only the end of the pause gets through.
    kit.cmd(admin, "CLIENT PAUSE 1000 ALL");
    assert_eq!(kit.cmd(w, "SHUTDOWN ABORT"), "");
    kit.advance(1001);
    assert_eq!(kit.read(w), "-ERR No shutdown in progress.\r\n");
    assert_eq!(kit.cmd(admin, "CLIENT PAUSE x"), "-ERR timeout is not an integer or out of range\r\n");
}

#[test]
fn clients_are_listed_and_killed() {
    let mut kit = Kit::default();
    let (a, b, c) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(b, "SUBSCRIBE x");
    kit.cmd(a, "CLIENT SETINFO LIB-NAME test");
    let list = kit.cmd(a, "CLIENT LIST");
    assert_eq!(list.matches("\nid=").count(), 3, "{list}");
    let named = kit.cmd(a, &format!("CLIENT LIST ID {} {} 99 {}", c.id, a.id, c.id));
    let ids: Vec<u64> =
        named.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(ids, [c.id, a.id, c.id], "as named, and as often");
    assert!(list.contains("flags=P") && list.contains("cmd=client|list") && list.contains("lib-name=test"));
    assert_eq!(kit.cmd(a, "CLIENT LIST TYPE pubsub").matches("\nid=").count(), 1);
    assert_eq!(kit.cmd(a, "CLIENT KILL TYPE pubsub"), ":1\r\n");
    assert_eq!(kit.closed, [b]);
    assert_eq!(kit.cmd(a, &format!("CLIENT KILL ID {}", a.id)), ":0\r\n", "itself is skipped");
    assert_eq!(kit.cmd(a, &format!("CLIENT KILL ID {} SKIPME no", a.id)), ":1\r\n");
    assert_eq!(kit.closed, [b, a]);
    assert_eq!(kit.cmd(c, "CLIENT KILL 1.2.3.4:5"), "-ERR No such client\r\n");
    assert_eq!(kit.cmd(c, "CLIENT KILL TYPE x"), "-ERR Unknown client type 'x'\r\n");
}

#[test]
fn nothing_is_popped_for_a_killed_client() {
    let mut kit = Kit::default();
    let (a, b) = (kit.connect(), kit.connect());
    kit.cmd(a, "BLPOP l 0");
    let reply = kit.send(b, format!("CLIENT KILL ID {}\r\nRPUSH l 1\r\nLLEN l\r\n", a.id));
    assert_eq!(reply, ":1\r\n:1\r\n:1\r\n");
}

#[test]
fn replies_can_be_switched_off() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(kit.send(c, "CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\n"), "$1\r\n1\r\n");
    assert_eq!(kit.send(c, "CLIENT REPLY OFF\r\nSET a 2\r\nnope\r\n"), "");
    assert_eq!(kit.send(c, "CLIENT REPLY ON\r\nGET a\r\n"), "+OK\r\n$1\r\n2\r\n");
    // Somebody who would unblock it, though it doesn't wait, takes nothing of that.
    let other = kit.connect();
    assert_eq!(kit.cmd(c, "CLIENT REPLY SKIP"), "");
    assert_eq!(kit.cmd(other, &format!("CLIENT UNBLOCK {}", c.id)), ":0\r\n");
    assert_eq!(kit.send(c, "GET a\r\nPING\r\n"), "+PONG\r\n");
}

#[test]
fn what_is_said_of_replies_holds_behind_reset_and_transactions() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(kit.send(c, "CLIENT REPLY SKIP\r\nRESET\r\nPING\r\n"), "+PONG\r\n");
    let transaction = "MULTI\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nEXEC\r\n";
    assert!(kit.send(c, transaction).ends_with("*2\r\n+OK\r\n"));
    assert_eq!(kit.send(c, "PING\r\nPING\r\n"), "+PONG\r\n", "the word of the transaction holds");
    // What isn't told is beyond no limit.
    kit.cmd(c, &format!("SET long {}", "x".repeat(600)));
    kit.cmd(c, "CONFIG SET client-output-buffer-limit \"normal 1000 0 0\"");
    let transaction = "MULTI\r\nGET long\r\nGET long\r\nGET long\r\nEXEC\r\n";
    assert_eq!(kit.send(c, format!("CLIENT REPLY OFF\r\n{transaction}CLIENT REPLY ON\r\n")), "+OK\r\n");
    assert_eq!(kit.send(c, transaction), "", "closed");
}

#[test]
fn monitors_see_commands() {
    let mut kit = Kit::default();
    let (m, c) = (kit.connect(), kit.connect());
    assert_eq!(kit.cmd(m, "MONITOR"), "+OK\r\n");
    kit.cmd(c, "SET k v");
    kit.cmd(c, "CONFIG GET x");
    kit.cmd(c, "AUTH a b");
    assert_eq!(
        kit.read(m),
        "+1700000000.000000 [0 127.0.0.1:50000] \"SET\" \"k\" \"v\"\r\n+1700000000.000000 [0 127.0.0.1:50000] \"AUTH\" \"(redacted)\" \"(redacted)\"\r\n"
    );
}

#[test]
fn a_subscriber_that_does_not_read_is_closed() {
    let mut kit = Kit::default();
    let (sub, p) = (kit.connect(), kit.connect());
    kit.cmd(p, "CONFIG SET client-output-buffer-limit \"pubsub 100 0 0\"");
    kit.cmd(sub, "SUBSCRIBE a");
    kit.cmd(p, "PUBLISH a 1");
    assert!(kit.closed.is_empty());
    for _ in 0..10 {
        kit.cmd(p, "PUBLISH a 12345678901234567890");
    }
    assert_eq!(kit.closed, [sub]);
    kit.engine.disconnect(sub);
    assert!(kit.cmd(p, "INFO stats").contains("client_output_buffer_limit_disconnections:1"));
}

#[test]
fn configuration_is_set_all_or_nothing() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "CONFIG SET maxclients 5 timeout 7"), "+OK\r\n");
    assert_eq!(
        kit.cmd(c, "CONFIG GET maxclients timeout"),
        "*4\r\n$10\r\nmaxclients\r\n$1\r\n5\r\n$7\r\ntimeout\r\n$1\r\n7\r\n"
    );
    assert_eq!(
        kit.cmd(c, "CONFIG SET maxclients 6 timeout x"),
        "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer\r\n"
    );
    assert!(kit.cmd(c, "CONFIG GET maxclients").ends_with("$1\r\n5\r\n"));
    assert_eq!(
        kit.cmd(c, "CONFIG SET nope 1"),
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'\r\n"
    );
    assert_eq!(
        kit.cmd(c, "CONFIG SET databases 1"),
        "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config\r\n"
    );
    kit.cmd(c, "CONFIG REWRITE");
    assert!(matches!(kit.actions.last(), Some(Action::RewriteConfig { reply: Some(_), in_exec: false })));
    let changed = kit.engine.core.config.changed_params();
    assert_eq!(changed.len(), 2);
}

#[test]
fn a_rewrite_inside_multi_is_answered_when_it_is_done() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let lines = "MULTI\r\nSET a 1\r\nCONFIG REWRITE\r\nCONFIG REWRITE\r\nGET a\r\nEXEC\r\nPING\r\n";
    assert_eq!(kit.send(c, lines), format!("+OK\r\n{}", "+QUEUED\r\n".repeat(4)));
    let [Action::RewriteConfig { reply: Some((id, ticket)), in_exec: true }] = kit.actions.as_slice() else {
        panic!("once: {:?}", kit.actions.len())
    };
    let (id, ticket) = (*id, *ticket);
    assert!(id == c && kit.engine.session(c).is_some_and(|state| state.parked.is_some()));
    kit.turn(|engine| engine.complete(c, ticket, "-ERR no\r\n"));
    assert_eq!(kit.read(c), "*4\r\n+OK\r\n-ERR no\r\n-ERR no\r\n$1\r\n1\r\n+PONG\r\n");
    assert!(kit.engine.session(c).is_some_and(|state| state.late.is_none() && state.quick));
    // A second answer is nobody's.
    kit.turn(|engine| engine.complete(c, ticket, "+OK\r\n"));
    assert_eq!(kit.read(c), "");
    // Whoever wants no reply gets none, and whoever leaves isn't waited for.
    assert_eq!(kit.send(c, "CLIENT REPLY OFF\r\nMULTI\r\nCONFIG REWRITE\r\nEXEC\r\nCLIENT REPLY ON\r\n"), "");
    let Some(Action::RewriteConfig { reply: Some((_, ticket)), .. }) = kit.actions.last() else { panic!("asked") };
    let ticket = *ticket;
    kit.turn(|engine| engine.complete(c, ticket, "+OK\r\n"));
    assert_eq!(kit.read(c), "+OK\r\n");
    kit.send(c, "MULTI\r\nCONFIG REWRITE\r\nEXEC\r\n");
    kit.gone(c);
    kit.turn(|engine| engine.complete(c, ticket + 1, "+OK\r\n"));
}

#[test]
fn info_and_friends() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET a 1");
    let info = kit.cmd(c, "INFO");
    for want in [
        "redis_version:7.2.4",
        "keystead_version:",
        "redis_mode:standalone",
        "db0:keys=1,expires=0,avg_ttl=0\r\n",
        "role:master",
    ] {
        assert!(info.contains(want), "{want} in {info}");
    }
    assert!(!info.contains("cmdstat_"));
    assert!(kit.cmd(c, "INFO commandstats").contains("cmdstat_set:calls=1,"));
    assert!(kit.cmd(c, "INFO all").contains("cmdstat_set:calls=1,"));
    kit.cmd(c, "nope");
    assert!(kit.cmd(c, "INFO errorstats").contains("errorstat_ERR:count=1"));
    kit.cmd(c, "CONFIG RESETSTAT");
    assert!(!kit.cmd(c, "INFO errorstats").contains("errorstat_ERR"));
    assert_eq!(kit.cmd(c, "DBSIZE"), ":1\r\n");
    assert_eq!(kit.cmd(c, "SWAPDB 0 1"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "DBSIZE"), ":0\r\n");
    assert_eq!(kit.cmd(c, "FLUSHALL ASYNC"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "FLUSHALL x"), "-ERR syntax error\r\n");
    assert_eq!(kit.cmd(c, "ACL WHOAMI"), "$7\r\ndefault\r\n");
    assert_eq!(kit.cmd(c, "MODULE LIST"), "*0\r\n");
    assert_eq!(kit.cmd(c, "LASTSAVE"), ":1700000000\r\n");
    assert_eq!(kit.cmd(c, "SHUTDOWN SAVE NOSAVE"), "-ERR syntax error\r\n");
    assert_eq!(kit.cmd(c, "DEBUG DIGEST"), "+0000000000000000000000000000000000000000\r\n");
    kit.cmd(c, "RPUSH l 1 2 3");
    kit.cmd(c, "SET s x");
    let digest = kit.cmd(c, "DEBUG DIGEST");
    assert_eq!(kit.cmd(c, "DEBUG RELOAD"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "DEBUG DIGEST"), digest);
}

#[test]
fn the_largest_client_makes_room() {
    let mut kit = Kit::default();
    let (admin, big, bigger, kept) = (kit.connect(), kit.connect(), kit.connect(), kit.connect());
    assert_eq!(kit.cmd(kept, "CLIENT NO-EVICT ON"), "+OK\r\n");
    for (id, bytes) in [(big, 200_000), (bigger, 300_000), (kept, 900_000)] {
        kit.turn(|engine| engine.report_buffers(id, Buffers { unread: bytes, ..Buffers::default() }));
    }
    assert!(kit.closed.is_empty(), "no limit");
    assert_eq!(kit.cmd(admin, "CONFIG SET maxmemory-clients 400kb"), "+OK\r\n");
    assert_eq!(kit.closed, [bigger], "within the same turn");
    kit.gone(bigger);
    assert!(kit.cmd(admin, "INFO stats").contains("evicted_clients:1\r\n"));
    // INFO remembers the largest for eight seconds.
    kit.turn(|engine| engine.report_buffers(kept, Buffers { spare: 50_000, unread: 50_000, ..Buffers::default() }));
    let largest = |kit: &mut Kit| {
        let info = kit.cmd(admin, "INFO clients");
        info.lines().find_map(|line| line.strip_prefix("client_recent_max_input_buffer:")?.parse::<usize>().ok())
    };
    assert_eq!(largest(&mut kit), Some(900_000));
    kit.advance(7_000);
    assert_eq!(largest(&mut kit), Some(900_000));
    kit.advance(2_000);
    assert_eq!(largest(&mut kit), Some(200_000), "what is still held");
    assert!(kit.cmd(admin, "CLIENT LIST").contains(" qbuf=50000 qbuf-free=50000 "));
    // A share of the server's memory.
    kit.cmd(admin, "CONFIG SET maxmemory-clients 5%");
    assert!(kit.cmd(admin, "CONFIG GET maxmemory-clients").ends_with("$2\r\n5%\r\n"));
    kit.advance(100);
    assert_eq!(kit.closed, [bigger], "without maxmemory a share of it is no limit");
    assert_eq!(
        kit.cmd(admin, "CONFIG SET maxmemory-clients 101%"),
        "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must be less or equal to 100\r\n"
    );
}

#[test]
fn subscriptions_are_told_although_replies_are_off() {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.cmd(id, "HELLO 3");
    assert_eq!(kit.cmd(id, "CLIENT REPLY OFF"), "");
    assert_eq!(kit.cmd(id, "SUBSCRIBE ch"), ">3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n");
    assert_eq!(kit.cmd(id, "GET k"), "");
    assert_eq!(kit.cmd(id, "UNSUBSCRIBE ch"), ">3\r\n$11\r\nunsubscribe\r\n$2\r\nch\r\n:0\r\n");
    assert_eq!(kit.cmd(id, "GET k"), "");
}

/// Without a password nobody from elsewhere is served, until that is asked for or there is a password.
#[test]
fn protected_mode_serves_only_this_machine() {
    let mut kit = Kit::default();
    let elsewhere = || ConnInfo { addr: "192.0.2.1:50000".to_owned(), loopback: false, ..ConnInfo::default() };
    let (engine, now) = (&mut kit.engine, kit.now);
    let refused = engine.connect(elsewhere(), now).expect_err("not served");
    assert!(refused.starts_with(b"-DENIED ") && refused.ends_with(b"\r\n"), "{}", refused.escape_ascii());
    assert!(engine.connect(ConnInfo { unix: true, ..elsewhere() }, now).is_ok(), "a unix socket is this machine");
    let here = kit.connect();
    kit.cmd(here, "CONFIG SET requirepass pw");
    let now = kit.now;
    assert!(kit.engine.connect(elsewhere(), now).is_ok(), "with a password");
    kit.cmd(here, "CONFIG SET requirepass \"\"");
    assert!(kit.engine.connect(elsewhere(), now).is_err(), "without one again");
    kit.cmd(here, "CONFIG SET protected-mode no");
    assert!(kit.engine.connect(elsewhere(), now).is_ok(), "asked for");
}

/// Redis 7.2 (#12326): behind the reply of the whole command, also of a transaction.
#[test]
fn what_a_session_publishes_to_itself_follows_the_whole_reply() {
    let message = |text: &str| format!(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n{text}\r\n");
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "HELLO 3");
    kit.cmd(c, "SUBSCRIBE a");
    for line in ["MULTI", "PING 1", "PUBLISH a x", "PUBLISH a y", "PING 2"] {
        kit.cmd(c, line);
    }
    let replies = "*4\r\n$1\r\n1\r\n:1\r\n:1\r\n$1\r\n2\r\n";
    assert_eq!(kit.cmd(c, "EXEC"), format!("{replies}{}{}", message("x"), message("y")));
    kit.cmd(c, "CLIENT TRACKING ON");
    kit.cmd(c, "GET k");
    kit.cmd(c, "MULTI");
    kit.cmd(c, "PUBLISH a z");
    kit.cmd(c, "SET k v");
    let invalid = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    assert_eq!(kit.cmd(c, "EXEC"), format!("*2\r\n:1\r\n+OK\r\n{invalid}{}", message("z")));
}

/// A primary hands its role over: what waited as a primary's is looked at again as a replica's, while the pause goes on.
#[test]
fn who_waits_for_a_pause_that_is_replaced_is_looked_at_again() {
    let mut kit = Kit::default();
    let (writer, sentinel, late) = (kit.connect(), kit.connect(), kit.connect());
    let pauser = Pauser::Plugin("replication");
    kit.turn(|engine| engine.pause(pauser, Pause::Write, u64::MAX));
    assert_eq!((kit.cmd(writer, "SET k 1"), kit.cmd(sentinel, "PUBLISH hello 1")), (String::new(), String::new()));
    let gates = kit.engine.gates();
    for gate in [Gate::ReadOnly, Gate::Replica] {
        gates.set(gate, true);
    }
    let until = kit.engine.core.now.unix_ms + 2_000;
    kit.turn(|engine| engine.pause(pauser, Pause::Write, until));
    assert_eq!((kit.read(writer), kit.read(sentinel)), (String::new(), ":0\r\n".to_owned()));
    assert_eq!(kit.cmd(late, "SET k 2"), "", "who comes late waits too, and isn't refused");
    kit.advance(2_001);
    for client in [writer, late] {
        assert_eq!(kit.read(client), "-READONLY You can't write against a read only replica.\r\n");
    }
    kit.turn(|engine| engine.pause(Pauser::Server("(end)"), Pause::Write, u64::MAX));
    assert!(kit.cmd(late, "SET k 2").starts_with("-READONLY"), "the server's own end hands no role over");
}

#[test]
fn a_pause_gets_longer_but_not_shorter() {
    let mut kit = Kit::default();
    let (c, admin) = (kit.connect(), kit.connect());
    kit.cmd(admin, "CLIENT PAUSE 60000 WRITE");
    kit.cmd(admin, "CLIENT PAUSE 10 WRITE");
    kit.advance(100);
    assert_eq!(kit.cmd(c, "SET k v"), "");
    kit.cmd(admin, "CLIENT UNPAUSE");
    kit.turn(|_| ());
    assert_eq!(kit.read(c), "+OK\r\n");
}

#[test]
fn a_reply_beyond_the_limit_closes_its_client_unsent_though_the_transaction_ran() {
    let mut kit = Kit::default();
    let (c, other) = (kit.connect(), kit.connect());
    kit.cmd(other, "CONFIG SET client-output-buffer-limit \"normal 1000 0 0\"");
    kit.cmd(c, &format!("SET big {}", "x".repeat(2000)));
    for line in ["MULTI", "SET a 1", "GET big", "SET b 2"] {
        kit.cmd(c, line);
    }
    assert_eq!(kit.cmd(c, "EXEC"), "");
    assert_eq!(kit.closed, [c]);
    assert_eq!(kit.cmd(other, "MGET a b"), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
}

#[test]
fn a_soft_limit_ends_without_any_traffic_too() {
    let mut kit = Kit::default();
    let (sub, p) = (kit.connect(), kit.connect());
    kit.cmd(p, "CONFIG SET client-output-buffer-limit \"pubsub 0 100 2\"");
    kit.cmd(sub, "SUBSCRIBE a");
    kit.cmd(p, &format!("PUBLISH a {}", "x".repeat(200)));
    kit.advance(1000);
    assert!(kit.closed.is_empty());
    kit.advance(1500);
    assert_eq!(kit.closed, [sub]);
}

/// Who reads nothing gets nothing more, so that only the change itself can find it.
#[test]
fn a_lower_limit_reaches_those_who_are_beyond_it_already() {
    for limit in ["pubsub 100 0 0", "pubsub 0 100 2"] {
        let mut kit = Kit::default();
        let (sub, few, p) = (kit.connect(), kit.connect(), kit.connect());
        kit.cmd(p, "CONFIG SET client-output-buffer-limit \"pubsub 0 0 0\"");
        kit.cmd(sub, "SUBSCRIBE a");
        kit.cmd(few, "SUBSCRIBE b");
        kit.cmd(p, &format!("PUBLISH a {}", "x".repeat(200)));
        kit.cmd(p, "PUBLISH b x");
        kit.cmd(p, &format!("CONFIG SET client-output-buffer-limit \"{limit}\""));
        kit.advance(100);
        // Other changes meanwhile begin no time anew.
        kit.advance(1500);
        kit.cmd(p, "CONFIG SET timeout 0");
        kit.advance(1000);
        assert_eq!(kit.closed, [sub], "{limit}");
    }
}

fn words(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| bytes += &format!("${}\r\n{word}\r\n", word.len()));
    bytes.into_bytes()
}

/// A command that waits is kept whole, and its keys in the queues too.
#[test]
fn what_waits_for_keys_or_for_the_end_of_a_pause_counts() {
    let mut kit = Kit::default();
    let (admin, blocked, paused) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(admin, "CLIENT NO-EVICT ON");
    let keys: Vec<String> = (0..8000).map(|n| format!("{n:0100}")).collect();
    let line: Vec<&str> = ["BLPOP"].into_iter().chain(keys.iter().map(String::as_str)).chain(["0"]).collect();
    kit.feed(blocked, &words(&line));
    let list = kit.cmd(admin, "CLIENT LIST ID 2");
    let total = list.split("tot-mem=").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    assert!(total.is_some_and(|total| (3_000_000..5_000_000).contains(&total)), "{list}");
    kit.cmd(admin, "CONFIG SET maxmemory-clients 2mb");
    assert!(kit.closed.contains(&blocked));
    kit.gone(blocked);
    kit.cmd(admin, "CLIENT PAUSE 1000 ALL");
    kit.feed(paused, &words(&["SET", "k", &"x".repeat(3 << 20)]));
    assert!(kit.closed.contains(&paused), "it is kept until the pause is over");
}

/// Replies count as they are made, not when a turn of many commands ends.
#[test]
fn a_pipeline_of_large_replies_is_cut_off_within_its_turn() {
    let mut kit = Kit::default();
    let (admin, greedy) = (kit.connect(), kit.connect());
    kit.cmd(admin, "SETRANGE k 100000 x");
    let gets = "GET k\r\n".repeat(100);
    kit.feed(greedy, gets.as_bytes());
    assert_eq!(kit.read(greedy).len(), 100 * (100_001 + 11), "whole, in one piece or many");
    kit.cmd(admin, "CONFIG SET maxmemory-clients 3mb");
    kit.advance(100);
    kit.feed(greedy, gets.as_bytes());
    assert!(kit.closed.contains(&greedy));
    let calls = kit.cmd(admin, "INFO commandstats");
    let calls =
        calls.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")).and_then(|rest| rest.split(',').next());
    let calls: usize = calls.and_then(|calls| calls.parse().ok()).expect("a number");
    assert!((125..=135).contains(&calls), "{calls}: a hundred before there was a limit, and about thirty");
}

/// As what it subscribed to does.
#[test]
fn prefixes_that_a_client_tracks_count() {
    let mut kit = Kit::default();
    let (_admin, greedy) = (kit.connect(), kit.connect());
    kit.cmd(greedy, "CONFIG SET maxmemory-clients 200000");
    let closed = (0..200).find(|n| {
        kit.cmd(greedy, &format!("CLIENT TRACKING on PREFIX a{n:0999} PREFIX b{n:0999} BCAST"));
        kit.closed.contains(&greedy)
    });
    assert!(closed.is_some_and(|n| n > 50), "{closed:?}");
}

/// As Redis 7.2 counts: what is parsed has left the query buffer, and a transaction isn't in it.
#[test]
fn the_query_buffer_is_what_is_not_parsed() {
    let mut kit = Kit::default();
    let (id, other) = (kit.connect(), kit.connect());
    kit.cmd(other, "CONFIG SET client-query-buffer-limit 1mb");
    let held =
        |taken: usize| Buffers { unread: 1_800_000, begun: Begun { taken, ..Begun::default() }, ..Buffers::default() };
    kit.turn(|engine| engine.report_buffers(id, held(900_000)));
    assert!(kit.closed.is_empty());
    kit.cmd(id, "MULTI");
    let big = "x".repeat(900_000);
    for _ in 0..3 {
        let line = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{big}\r\n", big.len());
        assert_eq!(kit.send(id, line), "+QUEUED\r\n");
    }
    assert_eq!(kit.cmd(id, "EXEC"), "*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    kit.turn(|engine| engine.report_buffers(id, held(700_000)));
    assert_eq!(kit.closed, [id]);
    // What is queued still counts for the memory of clients.
    let queues = kit.connect();
    kit.cmd(other, "CONFIG SET maxmemory-clients 1mb");
    kit.cmd(queues, "MULTI");
    (0..2).for_each(|_| drop(kit.send(queues, format!("*2\r\n$4\r\nECHO\r\n${}\r\n{big}\r\n", big.len()))));
    assert!(kit.closed.contains(&queues) && !kit.closed.contains(&other));
}

/// As in Redis: less would close everybody, and whoever comes to correct it.
#[test]
fn a_tiny_limit_for_clients_memory_locks_nobody_out() {
    let mut kit = Kit::default();
    let (a, b) = (kit.connect(), kit.connect());
    for limit in ["1", "500", "100kb"] {
        assert_eq!(kit.cmd(a, &format!("CONFIG SET maxmemory-clients {limit}")), "+OK\r\n");
        assert_eq!(kit.cmd(b, "PING"), "+PONG\r\n", "{limit}");
        assert!(kit.closed.is_empty(), "{limit}");
    }
}

/// Redis takes a client that watches for a replica.
#[test]
fn who_monitors_touches_no_keys() {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.cmd(id, "MONITOR");
    for line in ["GET x", "SET x 1", "PUBLISH c m"] {
        let reply = kit.cmd(id, line);
        assert!(reply.contains("-ERR Replica can't interact with the keyspace\r\n"), "{line}: {reply}");
    }
    assert!(kit.cmd(id, "PING").contains("+PONG\r\n"));
    assert!(kit.cmd(id, "RESET").contains("+RESET\r\n"));
    assert_eq!(kit.cmd(id, "GET x"), "$-1\r\n");
}

#[test]
fn a_transaction_that_is_lost_keeps_nothing_more() {
    let mut kit = Kit::default();
    let (id, other) = (kit.connect(), kit.connect());
    kit.cmd(id, "WATCH x");
    kit.cmd(other, "SET x 1");
    kit.cmd(id, "MULTI");
    assert_eq!(kit.cmd(id, "GET x"), "+QUEUED\r\n");
    let list = kit.cmd(other, "CLIENT LIST");
    assert!(list.contains(" multi=0 ") && !list.contains(" multi=1 "), "{list}");
    assert_eq!(kit.cmd(id, "EXEC"), "*-1\r\n");
    kit.cmd(id, "MULTI");
    kit.cmd(id, "NOSUCH");
    assert!(kit.cmd(other, "CLIENT LIST").contains(" cmd=NULL "));
    assert_eq!(kit.cmd(id, "GET x"), "+QUEUED\r\n");
    assert!(kit.cmd(id, "EXEC").starts_with("-EXECABORT"));
    assert_eq!(kit.cmd(id, "CLIENT LIST ID 0 -1"), "$0\r\n\r\n");
    kit.cmd(id, "CLIENT PAUSE 10000 WRITE");
    kit.feed(other, b"SET x 2\r\n");
    assert!(kit.cmd(id, "CLIENT LIST").contains(" flags=b "));
}

/// A key that thousands watch is written a thousand times: only the first of these has anything to say to them.
#[test]
fn who_lost_its_transaction_watches_nothing_more() {
    let mut kit = Kit::default();
    let ids: [_; 4] = std::array::from_fn(|_| kit.connect());
    let [first, second, elsewhere, writer] = ids;
    kit.cmd(first, "WATCH x y");
    kit.cmd(second, "WATCH x z");
    kit.cmd(elsewhere, "WATCH y");
    kit.cmd(writer, "SET x 1");
    assert_eq!(kit.engine.core.watch.len(), 1, "y is watched, by one who may still succeed");
    kit.cmd(writer, "FLUSHALL");
    assert_eq!(kit.engine.core.watch.len(), 1, "there was no y");
    let exec = |kit: &mut Kit, id| kit.send(id, "MULTI\r\nPING\r\nEXEC\r\n");
    for (id, end) in [(first, "*-1\r\n"), (second, "*-1\r\n"), (elsewhere, "*1\r\n+PONG\r\n")] {
        assert!(exec(&mut kit, id).ends_with(end), "{id:?}");
    }
    assert!(kit.engine.core.watch.is_empty());
    // A lost transaction is forgotten with its end, and by UNWATCH.
    for forget in ["EXEC", "DISCARD", "UNWATCH"] {
        kit.cmd(first, "WATCH x");
        kit.cmd(writer, "SET x 1");
        assert!(kit.engine.core.watch.is_empty());
        if forget != "UNWATCH" {
            kit.cmd(first, "MULTI");
        }
        kit.cmd(first, forget);
        kit.cmd(first, "WATCH x");
        assert_eq!(exec(&mut kit, first), "+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n", "{forget}");
    }
}

#[test]
fn who_was_killed_is_gone_for_the_next_command() {
    let mut kit = Kit::default();
    let [killer, subscriber] = std::array::from_fn(|_| kit.connect());
    kit.cmd(subscriber, "SUBSCRIBE ch");
    let id = kit.cmd(killer, "CLIENT LIST TYPE PUBSUB");
    let id = id.split_once("id=").and_then(|(_, rest)| rest.split(' ').next()).expect("one subscriber");
    let kill = format!("CLIENT KILL ID {id}\r\n");
    let sent = format!("{kill}{kill}PUBLISH ch m\r\nPUBSUB NUMSUB ch\r\nPUBSUB CHANNELS\r\n");
    assert_eq!(kit.send(killer, &sent), ":1\r\n:0\r\n:0\r\n*2\r\n$2\r\nch\r\n:0\r\n*0\r\n");
}

#[test]
fn of_a_silent_transaction_only_the_messages_are_sent() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let subscribed = "*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n";
    let transaction = "MULTI\r\nSET a 1\r\nSUBSCRIBE ch\r\nECHO a\r\nEXEC\r\n";
    assert_eq!(kit.send(c, format!("CLIENT REPLY OFF\r\n{transaction}")), subscribed);
    // A message of a part that was silent is sent with the rest, and not kept for later.
    let c = kit.connect();
    let transaction = "MULTI\r\nCLIENT REPLY OFF\r\nSUBSCRIBE ch\r\nCLIENT REPLY ON\r\nEXEC\r\n";
    let shown = kit.send(c, format!("HELLO 3\r\n{transaction}"));
    assert!(shown.ends_with("subscribe\r\n$2\r\nch\r\n:1\r\n"), "{shown}");
    assert_eq!(kit.send(c, "CLIENT REPLY SKIP\r\nPING\r\n"), "");
    let c = kit.connect();
    let transaction = "MULTI\r\nCLIENT REPLY SKIP\r\nSUBSCRIBE ch\r\nEXEC\r\n";
    let shown = kit.send(c, format!("HELLO 3\r\n{transaction}"));
    assert!(shown.ends_with("subscribe\r\n$2\r\nch\r\n:1\r\n"), "{shown}");
    assert_eq!(kit.cmd(c, "GET a"), "", "skipped");
    assert_eq!(kit.cmd(c, "GET a"), "$1\r\n1\r\n");
}
