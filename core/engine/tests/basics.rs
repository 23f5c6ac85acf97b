//! The connection's own commands, bytes in, bytes out.

mod kit;

use keystead_engine::{Action, EngineMode};
use kit::Kit;

#[test]
fn the_first_words() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let cases = [
        ("PING", "+PONG\r\n"),
        ("ping hello", "$5\r\nhello\r\n"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
        ("ECHO x", "$1\r\nx\r\n"),
        ("SELECT 3", "+OK\r\n"),
        ("SELECT 16", "-ERR DB index is out of range\r\n"),
        ("SELECT x", "-ERR value is not an integer or out of range\r\n"),
        ("nope a b", "-ERR unknown command 'nope', with args beginning with: 'a' 'b' \r\n"),
        ("client nope", "-ERR unknown subcommand 'nope'. Try CLIENT HELP.\r\n"),
        ("client", "-ERR wrong number of arguments for 'client' command\r\n"),
        ("config get", "-ERR wrong number of arguments for 'config|get' command\r\n"),
        ("client id", ":1\r\n"),
        ("client setname me", "+OK\r\n"),
        ("client getname", "$2\r\nme\r\n"),
        ("set k 1", "+OK\r\n"),
        ("get k", "$1\r\n1\r\n"),
        ("del k k", ":1\r\n"),
        ("get k", "$-1\r\n"),
        ("reset", "+RESET\r\n"),
        ("client getname", "$-1\r\n"),
        ("quit", "+OK\r\n"),
    ];
    for (line, want) in cases {
        assert_eq!(kit.cmd(c, line), want, "{line}");
    }
    assert_eq!(kit.closed, [c]);
}

#[test]
fn hello_switches_the_protocol() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let reply = kit.cmd(c, "HELLO 3");
    assert!(reply.starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"), "{reply}");
    assert!(reply.contains("$5\r\nproto\r\n:3\r\n"));
    assert_eq!(kit.cmd(c, "GET nokey"), "_\r\n");
    assert_eq!(kit.cmd(c, "HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
    assert_eq!(kit.cmd(c, "HELLO x"), "-ERR Protocol version is not an integer or out of range\r\n");
    assert_eq!(kit.cmd(c, "HELLO 2 nope"), "-ERR Syntax error in HELLO option 'nope'\r\n");
}

#[test]
fn a_password_is_asked_for() {
    let mut kit = Kit::default();
    let admin = kit.connect();
    assert_eq!(kit.cmd(admin, "AUTH x").split(' ').take(3).collect::<Vec<_>>(), ["-ERR", "AUTH", "<password>"]);
    assert_eq!(kit.cmd(admin, "CONFIG SET requirepass secret"), "+OK\r\n");
    assert_eq!(kit.cmd(admin, "PING"), "+PONG\r\n");
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(kit.cmd(c, "AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert!(kit.cmd(c, "HELLO 3").starts_with("-NOAUTH HELLO must be called with"));
    assert_eq!(kit.cmd(c, "AUTH default secret"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    let d = kit.connect();
    assert!(kit.cmd(d, "HELLO 3 AUTH default secret SETNAME n").starts_with("%7"));
    // When the password is taken away, whoever was still asked for it is in.
    let f = kit.connect();
    assert_eq!(kit.cmd(f, "PING"), "-NOAUTH Authentication required.\r\n");
    kit.cmd(admin, "CONFIG SET requirepass \"\"");
    assert_eq!(kit.cmd(f, "PING"), "+PONG\r\n");
    kit.cmd(admin, "CONFIG SET requirepass secret");
    // More than ten arguments before AUTH are refused by the decoder.
    let e = kit.connect();
    let many = "*11\r\n".to_owned() + &"$1\r\nx\r\n".repeat(11);
    assert_eq!(kit.send(e, many), "-ERR Protocol error: unauthenticated multibulk length\r\n");
}

#[test]
fn transactions_are_one_unit() {
    let mut kit = Kit::default();
    let (c, d) = (kit.connect(), kit.connect());
    assert_eq!(kit.cmd(c, "EXEC"), "-ERR EXEC without MULTI\r\n");
    let refused = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n";
    assert_eq!(kit.cmd(c, "EXEC x"), refused);
    assert_eq!(kit.cmd(c, "MULTI"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "MULTI"), "-ERR MULTI calls can not be nested\r\n");
    assert_eq!(kit.cmd(c, "SET a 1"), "+QUEUED\r\n");
    assert_eq!(kit.cmd(c, "GET a"), "+QUEUED\r\n");
    assert_eq!(kit.cmd(d, "GET a"), "$-1\r\n");
    assert_eq!(kit.cmd(c, "EXEC"), "*2\r\n+OK\r\n$1\r\n1\r\n");
    kit.cmd(c, "MULTI");
    kit.cmd(c, "nope");
    assert_eq!(kit.cmd(c, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
    assert_eq!(kit.cmd(c, "WATCH a"), "+OK\r\n");
    assert_eq!(kit.cmd(d, "SET a 2"), "+OK\r\n");
    kit.cmd(c, "MULTI");
    kit.cmd(c, "GET a");
    assert_eq!(kit.cmd(c, "EXEC"), "*-1\r\n");
    kit.cmd(c, "MULTI");
    assert_eq!(kit.cmd(c, "WATCH a"), "-ERR WATCH inside MULTI is not allowed\r\n");
    assert_eq!(kit.cmd(c, "DISCARD"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "DISCARD"), "-ERR DISCARD without MULTI\r\n");
    kit.cmd(c, "WATCH a");
    kit.cmd(c, "UNWATCH");
    kit.cmd(d, "SET a 3");
    kit.cmd(c, "MULTI");
    kit.cmd(c, "GET a");
    assert_eq!(kit.cmd(c, "EXEC"), "*1\r\n$1\r\n3\r\n");
}

#[test]
fn the_server_itself_never_waits() {
    use keystead_engine::Origin;
    use keystead_engine::resp::Proto;
    let mut kit = Kit::default();
    let c = kit.connect();
    let argv: [&[u8]; 3] = [b"BLPOP", b"l", b"0"];
    assert_eq!(kit.engine.exec(0, &argv, Origin::Client, Proto::Resp2), b"*-1\r\n");
    // It used to leave its wish to wait behind, and the next client waited.
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    let two = kit.engine.atomic(|engine| {
        engine.exec(1, &[b"SET", b"a", b"1"], Origin::Internal, Proto::Resp2);
        engine.exec(1, &[b"INCR", b"a"], Origin::Internal, Proto::Resp2)
    });
    assert_eq!(two, b":2\r\n");
}

#[test]
fn an_endpoint_has_no_keys() {
    let mut kit = Kit::new(EngineMode::Endpoint { name: "sentinel".to_owned(), beside_data: false });
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    assert!(kit.cmd(c, "GET k").starts_with("-ERR unknown command 'GET'"));
    assert_eq!(kit.cmd(c, "CLIENT SETNAME me"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "CONFIG GET databases"), "*0\r\n");
    assert_eq!(kit.cmd(c, "CONFIG SET requirepass x"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "CLIENT KILL TYPE normal"), ":0\r\n");
    assert_eq!(kit.cmd(c, "ACL WHOAMI"), "$7\r\ndefault\r\n");
    assert_eq!(kit.cmd(c, "PUBLISH a b"), ":0\r\n");
    let info = kit.cmd(c, "INFO");
    assert!(
        info.contains("redis_mode:sentinel") && !info.contains("# Keyspace") && !info.contains("# Memory"),
        "{info}"
    );
    assert!(kit.cmd(c, "HELLO 3").contains("$8\r\nsentinel\r\n"));
}

/// A sentinel's port may want no password: it is no way around the data port's.
#[test]
fn beside_a_data_port_an_endpoint_neither_ends_nor_changes_the_process() {
    let endpoint = |beside_data| Kit::new(EngineMode::Endpoint { name: "sentinel".to_owned(), beside_data });
    let (mut beside, mut alone) = (endpoint(true), endpoint(false));
    let (b, a) = (beside.connect(), alone.connect());
    for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN ABORT", "SHUTDOWN NOW FORCE"] {
        let answer = beside.cmd(b, line);
        assert!(answer.contains("send it to the data port"), "{line}: {answer}");
    }
    assert!(!beside.actions.iter().any(|action| matches!(action, Action::Shutdown { .. })));
    for line in [
        "loglevel nothing",
        "tls-auth-clients no",
        "tls-ca-cert-file /x",
        "tls-port 7",
        "shutdown-on-sigterm nosave",
        "shutdown-timeout 0",
    ] {
        let line = format!("CONFIG SET {line}");
        assert!(beside.cmd(b, &line).contains("can't set immutable config"), "{line}");
        assert_eq!(alone.cmd(a, &line), "+OK\r\n", "{line}");
    }
    assert_eq!(beside.cmd(b, "CONFIG SET maxclients 100 requirepass x"), "+OK\r\n", "its own");
    // The end of a sentinel alone is nobody's data.
    alone.cmd(a, "SHUTDOWN NOSAVE");
    assert!(alone.actions.iter().any(|action| matches!(action, Action::Shutdown { .. })));
}

#[test]
fn no_endpoint_tells_what_opens_a_private_key() {
    for beside_data in [true, false] {
        let mut kit = Kit::new(EngineMode::Endpoint { name: "sentinel".to_owned(), beside_data });
        kit.engine.core.config.init("tls-key-file-pass", "opensesame").expect("known");
        let c = kit.connect();
        for line in ["CONFIG GET tls-key-file-pass", "CONFIG GET TLS-Key-File-Pass", "CONFIG GET *-pass"] {
            assert_eq!(kit.cmd(c, line), "*0\r\n", "{line}");
        }
        assert!(!kit.cmd(c, "CONFIG GET *").contains("opensesame"));
        let inside = kit.engine.core.config.get("tls-key-file-pass");
        assert_eq!(inside.as_deref(), Some("opensesame"), "TLS itself reads it");
    }
}

#[test]
fn a_union_that_is_only_answered_keeps_the_sign_of_zero() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "ZADD z 0 a"), ":1\r\n");
    assert_eq!(kit.cmd(c, "ZUNION 1 z WEIGHTS -1 WITHSCORES"), "*2\r\n$1\r\na\r\n$2\r\n-0\r\n");
    assert_eq!(kit.cmd(c, "ZUNIONSTORE d 1 z WEIGHTS -1"), ":1\r\n");
    assert_eq!(kit.cmd(c, "ZSCORE d a"), "$1\r\n0\r\n");
}

/// Redis keeps a sum of floats as text even where it is whole; what a replica gets, a SET, is an integer.
#[test]
fn a_whole_sum_of_floats_is_no_integer() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let cases = [
        ("set k 3.5", "+OK\r\n"),
        ("incrbyfloat k 1.5", "$1\r\n5\r\n"),
        ("object encoding k", "$6\r\nembstr\r\n"),
        ("append k 0", ":2\r\n"),
        ("object encoding k", "$3\r\nraw\r\n"),
        ("setrange k 0 6", ":2\r\n"),
        ("object encoding k", "$3\r\nraw\r\n"),
        ("incr k", ":61\r\n"),
        ("object encoding k", "$3\r\nint\r\n"),
        ("append new 12", ":2\r\n"),
        ("object encoding new", "$3\r\nint\r\n"),
    ];
    for (line, want) in cases {
        assert_eq!(kit.cmd(c, line), want, "{line}");
    }
}

#[test]
fn a_list_in_its_own_order_is_answered_from_its_end() {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.cmd(id, "RPUSH l 3 1 2 10 abc");
    assert_eq!(kit.cmd(id, "SORT l BY nosort DESC LIMIT 1 2"), "*2\r\n$2\r\n10\r\n$1\r\n2\r\n");
    assert_eq!(kit.cmd(id, "SORT l DESC BY nosort LIMIT 0 1"), "*1\r\n$3\r\nabc\r\n");
    assert_eq!(kit.cmd(id, "SORT l BY nosort LIMIT 0 1"), "*1\r\n$1\r\n3\r\n");
    kit.cmd(id, "SORT l BY nosort DESC STORE x");
    assert_eq!(kit.cmd(id, "LRANGE x 0 1"), "*2\r\n$3\r\nabc\r\n$2\r\n10\r\n");
}

/// BITCOUNT and BITPOS look at the key before the range, ZRANGE takes REV once, as 7.2.
#[test]
fn options_are_read_in_redis_order() {
    let mut kit = Kit::default();
    let id = kit.connect();
    kit.cmd(id, "RPUSH l x");
    kit.cmd(id, "SET s abc");
    for (line, reply) in [
        ("BITCOUNT none x 1", ":0\r\n"),
        ("BITCOUNT none 1", ":0\r\n"),
        ("BITCOUNT none 0 0 FOO", ":0\r\n"),
        ("BITPOS none 0 x", ":0\r\n"),
        ("BITPOS none 1 0 0 FOO", ":-1\r\n"),
        ("BITPOS none 2 x", "-ERR The bit argument must be 1 or 0.\r\n"),
        ("BITCOUNT l x x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("BITPOS l 1 x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("BITCOUNT s x 1", "-ERR value is not an integer or out of range\r\n"),
        ("BITCOUNT s 1", "-ERR syntax error\r\n"),
        ("BITCOUNT s", ":10\r\n"),
        ("ZRANGE z 0 1 REV REV", "-ERR syntax error\r\n"),
        ("ZRANGE z 0 1 REV", "*0\r\n"),
    ] {
        assert_eq!(kit.cmd(id, line), reply, "{line}");
    }
}

/// Seen at redis-server 7.2.4: what a command makes anew is kept as its size asks for.
#[test]
fn results_have_the_encodings_of_redis() {
    let words = |n: usize| (0..n).map(|i| format!("w{i}")).collect::<Vec<_>>().join(" ");
    let big = format!("SADD f a {}", words(300));
    let cases: [(&[&str], &str); 8] = [
        (&["SET a 5", "BITOP OR k a"], "raw"),
        (&["SET k 5", "BITOP NOT k k"], "raw"),
        (&["SET a 5", "BITOP OR k a", "SET k 5"], "int"),
        (&[&big, &format!("SREM f {}", words(300)), "SUNIONSTORE k f"], "listpack"),
        (&["SADD f 1 a", "SREM f a", "SUNIONSTORE k f f"], "intset"),
        (&[&big, "SADD g b", "SUNIONSTORE k g f"], "hashtable"),
        (&["SADD k 1 2", "SADD k 3 a"], "listpack"),
        (&["SADD f 1 2 a", "SADD g 1 2", "SINTERSTORE k f g"], "intset"),
    ];
    for (lines, encoding) in cases {
        let mut kit = Kit::default();
        let c = kit.connect();
        for line in lines {
            assert!(!kit.cmd(c, line).starts_with('-'));
        }
        assert_eq!(kit.cmd(c, "OBJECT ENCODING k"), format!("${}\r\n{encoding}\r\n", encoding.len()), "{lines:?}");
    }
}

/// Seen at redis-server 7.2.4.
#[test]
fn timeouts_and_units_are_looked_at_last() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.send(c, "SET b abc\r\n");
    for (line, reply) in [
        ("BLMPOP abc 0 l LEFT", "-ERR numkeys should be greater than 0\r\n"),
        ("BLMPOP abc 1 l LEFT COUNT 0", "-ERR count should be greater than 0\r\n"),
        ("BLMPOP abc 1 l LEFT", "-ERR timeout is not a float or out of range\r\n"),
        ("BZMPOP -1 1 l foo", "-ERR syntax error\r\n"),
        ("BZMPOP -1 1 l MIN", "-ERR timeout is negative\r\n"),
        ("BLPOP l 1e400", "-ERR timeout is out of range\r\n"),
        (
            "BITFIELD_RO b SET u8 0 1 GET x8 0",
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.\r\n",
        ),
        ("BITFIELD_RO b SET u8 0 1 OVERFLOW FOO", "-ERR Invalid OVERFLOW type specified\r\n"),
        ("BITFIELD_RO b SET u8 0 1 GET u8 0", "-ERR BITFIELD_RO only supports the GET subcommand\r\n"),
        ("BITCOUNT b -1 -2 foo", ":0\r\n"),
        ("BITCOUNT b -1 x foo", "-ERR value is not an integer or out of range\r\n"),
        ("BITCOUNT b 5 2 foo", "-ERR syntax error\r\n"),
        ("BITPOS b 1 -1 -2 foo", "-ERR syntax error\r\n"),
        ("BLMPOP 1e-400 1 l LEFT", ""),
    ] {
        assert_eq!(kit.cmd(c, line), reply, "{line}");
    }
}

/// One after the other, each is looked for among all of them: that took minutes for so many.
#[test]
fn a_connection_may_watch_very_many_keys() {
    let mut kit = Kit::default();
    let (c, d) = (kit.connect(), kit.connect());
    let began = std::time::Instant::now();
    for first in (0..100_000).step_by(1000) {
        let names: String = (first..first + 1000).map(|n| format!(" k{n}")).collect();
        assert_eq!(kit.cmd(c, &format!("WATCH{names} k0")), "+OK\r\n");
    }
    assert_eq!(kit.engine.core.watch.len(), 100_000);
    assert_eq!(kit.cmd(d, "SET k99999 v"), "+OK\r\n");
    assert_eq!(kit.send(c, "MULTI\r\nPING\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n*-1\r\n");
    assert!(kit.engine.core.watch.is_empty());
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}

#[test]
fn keys_that_were_not_there_are_no_reason_when_a_database_is_emptied() {
    let mut kit = Kit::default();
    let (c, d, e) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(e, "SET there v");
    kit.cmd(c, "WATCH there missing");
    kit.cmd(d, "WATCH missing missing");
    kit.cmd(e, "FLUSHALL");
    assert_eq!(kit.send(c, "MULTI\r\nPING\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n*-1\r\n");
    assert_eq!(kit.send(d, "MULTI\r\nPING\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n");
    assert!(kit.engine.core.watch.is_empty());
}
