//! Streams as one client sees them and many wait for them, and what replicas are sent of it (checked against the stream
//! of redis-server 7.0.15).

#![allow(clippy::unwrap_used)]

mod kit;

use keystead_engine::ApplyState;
use kit::{Kit, Stream};

const NOW: u64 = 1_700_000_000_000;

/// A stream of two entries with a group.
const START: [&str; 3] = ["XADD s 1-1 f v", "XADD s 1-2 f v", "XGROUP CREATE s g 0"];

/// The same with one entry given to `c`.
const GROUP: [&str; 4] = [START[0], START[1], START[2], "XREADGROUP GROUP g c COUNT 1 STREAMS s >"];

/// Commands that prepare, the command, what is sent.
const CASES: &[(&[&str], &str, &[&str])] = &[
    (&[], "XADD s 1-1 f v", &["XADD s 1-1 f v"]),
    (&[], "XADD s 1 f v", &["XADD s 1 f v"]),
    (&[], "XADD s 1-* f v", &["XADD s 1-0 f v"]),
    (&[], "XADD s * f v", &["XADD s 1700000000000-0 f v"]),
    (&[], "XADD s NOMKSTREAM * f v", &[]),
    (&["XADD s 1-1 f v"], "XADD s NOMKSTREAM * f v", &["XADD s NOMKSTREAM 1700000000000-0 f v"]),
    (&["XADD s 1-1 f v"], "XADD s MAXLEN ~ 1 2-1 f v", &["XADD s MAXLEN = 2 2-1 f v"]),
    (&GROUP, "XADD s MAXLEN ~ 1 LIMIT 5 2-1 f v", &["XADD s MAXLEN = 1 LIMIT 5 2-1 f v"]),
    (&["XADD s 1-1 f v"], "XADD s MAXLEN 1 2-1 f v", &["XADD s MAXLEN 1 2-1 f v"]),
    (&GROUP, "XADD s MINID ~ 1-3 * f v", &["XADD s MINID = 1700000000000-0 1700000000000-0 f v"]),
    (&GROUP, "XTRIM s MAXLEN ~ 1", &[]),
    (&GROUP, "XTRIM s MAXLEN ~ 0", &["XTRIM s MAXLEN = 0"]),
    (&GROUP, "XTRIM s MINID ~ 9", &["XTRIM s MINID = 18446744073709551615-18446744073709551615"]),
    (&GROUP, "XTRIM s MAXLEN 0", &["XTRIM s MAXLEN 0"]),
    (&GROUP, "XDEL s 1-1 5-5", &["XDEL s 1-1 5-5"]),
    (&GROUP, "XDEL s 5-5", &[]),
    (&[], "XGROUP CREATE s g $ MKSTREAM", &["XGROUP CREATE s g $ MKSTREAM"]),
    (
        &START,
        "XREADGROUP GROUP g c STREAMS s >",
        &[
            "MULTI",
            "XCLAIM s g c 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
            "XCLAIM s g c 0 1-2 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-2",
            "EXEC",
        ],
    ),
    (
        &START,
        "XREADGROUP GROUP g c NOACK STREAMS s >",
        &["MULTI", "XGROUP CREATECONSUMER s g c", "XGROUP SETID s g 1-2 ENTRIESREAD 2", "EXEC"],
    ),
    // Redis keeps the consumer to itself here.
    (&["XGROUP CREATE s g $ MKSTREAM"], "XREADGROUP GROUP g c STREAMS s >", &["XGROUP CREATECONSUMER s g c"]),
    (&GROUP, "XREADGROUP GROUP g c STREAMS s 0", &[]),
    (&GROUP, "XACK s g 1-1 2-2", &["XACK s g 1-1 2-2"]),
    (&GROUP, "XACK s g 1-2", &[]),
    (&GROUP, "XCLAIM s g d 0 1-1", &["XCLAIM s g d 0 1-1 TIME 1700000000000 RETRYCOUNT 2 FORCE JUSTID LASTID 1-1"]),
    (
        &GROUP,
        "XCLAIM s g d 0 1-1 JUSTID RETRYCOUNT 7 TIME 1000",
        &["XCLAIM s g d 0 1-1 TIME 1000 RETRYCOUNT 7 FORCE JUSTID LASTID 1-1"],
    ),
    (
        &GROUP,
        "XCLAIM s g c 0 1-2 FORCE",
        &["XCLAIM s g c 0 1-2 TIME 1700000000000 RETRYCOUNT 2 FORCE JUSTID LASTID 1-1"],
    ),
    (&GROUP, "XCLAIM s g c 0 1-2 LASTID 1-2", &["XGROUP SETID s g 1-2 ENTRIESREAD 1"]),
    (
        &[GROUP[0], GROUP[1], GROUP[2], GROUP[3], "XDEL s 1-1"],
        "XCLAIM s g c 0 1-1",
        &["XCLAIM s g c 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1"],
    ),
    (
        &[GROUP[0], GROUP[1], GROUP[2], "XREADGROUP GROUP g c STREAMS s >", "XDEL s 1-1"],
        "XAUTOCLAIM s g d 0 0",
        &[
            "MULTI",
            "XCLAIM s g c 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-2",
            "XCLAIM s g d 0 1-2 TIME 1700000000000 RETRYCOUNT 2 FORCE JUSTID LASTID 1-2",
            "EXEC",
        ],
    ),
    (&GROUP, "XGROUP CREATECONSUMER s g c", &[]),
    (&GROUP, "XGROUP CREATECONSUMER s g d", &["XGROUP CREATECONSUMER s g d"]),
    (&GROUP, "XGROUP DELCONSUMER s g c", &["XGROUP DELCONSUMER s g c"]),
    (&GROUP, "XGROUP DELCONSUMER s g d", &[]),
    (&GROUP, "XGROUP DESTROY s g", &["XGROUP DESTROY s g"]),
    (&GROUP, "XGROUP DESTROY s h", &[]),
    (&GROUP, "XGROUP SETID s g $ ENTRIESREAD 1", &["XGROUP SETID s g $ ENTRIESREAD 1"]),
    (&GROUP, "XSETID s 5-5 ENTRIESADDED 3", &["XSETID s 5-5 ENTRIESADDED 3"]),
];

#[test]
fn each_command_is_sent_as_redis_sends_it() {
    for (before, line, expected) in CASES {
        let mut stream = Stream::new();
        let c = stream.kit.connect();
        stream.kit.cmd(c, "CONFIG SET stream-node-max-entries 2");
        before.iter().for_each(|line| drop(stream.kit.cmd(c, line)));
        stream.records();
        assert_eq!(stream.kit.now.unix_ms, NOW);
        let reply = stream.kit.cmd(c, line);
        assert!(!reply.starts_with('-') && !reply.is_empty(), "{line}: {reply}");
        assert_eq!(stream.records(), *expected, "{line}");
    }
}

/// Claims say nothing of it, so a replica counts along.
#[test]
fn a_replica_knows_how_far_a_group_has_read() {
    let mut primary = Stream::new();
    let c = primary.kit.connect();
    let (mut replica, mut state) = (Kit::default(), ApplyState::new(0));
    let r = replica.connect();
    for line in [
        "XADD s 1-1 f v",
        "XADD s 1-2 f v",
        "XADD s 1-3 f v",
        "XADD s 1-4 f v",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s late $",
        "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g d NOACK STREAMS s >",
        "XADD s 1-5 f v",
        "XADD s 1-6 f v",
        "XADD s 1-7 f v",
        "XDEL s 1-6",
        "XREADGROUP GROUP g d COUNT 1 STREAMS s >",
        "XREADGROUP GROUP late d COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g d STREAMS s >",
        "XADD s 1-8 f v",
        "XCLAIM s g e 0 1-8 FORCE JUSTID RETRYCOUNT 1 LASTID 1-8",
        "XCLAIM s late e 0 1-7 1-8 FORCE LASTID 1-8",
        "XGROUP SETID s g 1-2 ENTRIESREAD 2",
        "XREADGROUP GROUP g d COUNT 3 STREAMS s >",
        "XCLAIM s g d 0 1-1 JUSTID",
        "XAUTOCLAIM s g d 0 0",
    ] {
        let reply = primary.kit.cmd(c, line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        let sent: String = primary.records().iter().map(|line| resp(line)).collect();
        replica.turn(|engine| engine.apply_stream(&mut state, sent.as_bytes())).expect("a stream");
        let groups = primary.kit.cmd(c, "XINFO GROUPS s");
        assert_eq!(replica.cmd(r, "XINFO GROUPS s"), groups, "{line}");
    }
}

fn resp(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let bulk = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    format!("*{}\r\n{}", words.len(), words.iter().map(bulk).collect::<String>())
}

#[test]
fn readers_wait_for_what_comes_behind_their_moment() {
    let mut kit = Kit::default();
    let (a, b, c) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(c, "XADD s 1-1 f old");
    assert_eq!(kit.cmd(a, "XREAD BLOCK 0 STREAMS s other $ $"), "");
    assert!(kit.send(b, "HELLO 3\r\nXREAD BLOCK 100 COUNT 1 STREAMS s 1-1\r\n").ends_with("*0\r\n"));
    assert_eq!(kit.send(c, "MULTI\r\nXADD s 1-2 f v\r\nXADD s 1-3 f w\r\nEXEC\r\n").matches("QUEUED").count(), 2);
    let entry = |seq, value| format!("*2\r\n$3\r\n1-{seq}\r\n*2\r\n$1\r\nf\r\n$1\r\n{value}\r\n");
    assert_eq!(kit.read(a), format!("*1\r\n*2\r\n$1\r\ns\r\n*2\r\n{}{}", entry(2, "v"), entry(3, "w")));
    assert_eq!(kit.read(b), format!("%1\r\n$1\r\ns\r\n*1\r\n{}", entry(2, "v")));
    // A deleted entry, another type or a vanished key wakes nobody; time does.
    assert_eq!(kit.cmd(a, "XREAD BLOCK 500 STREAMS s $"), "");
    kit.send(c, "XDEL s 1-3\r\nDEL s\r\nSET s v\r\nDEL s\r\nXGROUP CREATE s g $ MKSTREAM\r\n");
    assert_eq!(kit.read(a), "");
    kit.advance(600);
    assert_eq!(kit.read(a), "*-1\r\n");
    // Inside MULTI, and without BLOCK, nothing is there.
    let reply =
        kit.send(c, "MULTI\r\nXREAD BLOCK 0 STREAMS s $\r\nXREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\nEXEC\r\n");
    assert_eq!(reply, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*-1\r\n*-1\r\n");
    assert_eq!(kit.cmd(c, "XREAD STREAMS s missing $ $"), "*-1\r\n");
}

#[test]
fn a_waiting_consumer_is_served_in_its_turn() {
    let mut stream = Stream::new();
    let kit = &mut stream.kit;
    let (a, b, c) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(c, "XGROUP CREATE s g $ MKSTREAM");
    assert_eq!(kit.cmd(a, "XREADGROUP GROUP g alice BLOCK 0 STREAMS s >"), "");
    assert_eq!(kit.cmd(b, "XREADGROUP GROUP g bob BLOCK 0 STREAMS s >"), "");
    stream.records();
    let kit = &mut stream.kit;
    kit.cmd(c, "XADD s 1-1 f v");
    assert_eq!(kit.read(a), "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    assert_eq!(kit.read(b), "");
    kit.cmd(c, "XADD s 1-2 f v");
    assert!(kit.read(b).contains("1-2"));
    let claim = |name: &str, id: &str| {
        format!("XCLAIM s g {name} 0 {id} TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID {id}")
    };
    let expected =
        ["XADD s 1-1 f v".to_owned(), claim("alice", "1-1"), "XADD s 1-2 f v".to_owned(), claim("bob", "1-2")];
    assert_eq!(stream.records(), expected);
    assert!(stream.kit.cmd(c, "INFO commandstats").contains("cmdstat_xreadgroup:calls=2,"));
    // What a consumer has already is answered at once, whatever BLOCK says.
    let kit = &mut stream.kit;
    assert!(kit.cmd(a, "XREADGROUP GROUP g alice BLOCK 0 STREAMS s 0").contains("1-1"));
    kit.cmd(c, "XDEL s 1-1");
    assert_eq!(
        kit.cmd(a, "XREADGROUP GROUP g alice STREAMS s 0"),
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n"
    );
}

#[test]
fn an_entry_is_for_one_consumer_of_each_group() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "XGROUP CREATE s g $ MKSTREAM");
    kit.cmd(c, "XGROUP CREATE s h $");
    kit.cmd(c, "XGROUP CREATE s group $");
    let lines = ["GROUP g a", "GROUP g b", "GROUP h a", "GROUP group group NOACK", "group h b COUNT 5", "GROUP g a"];
    let waiting = lines.map(|line| {
        let id = kit.connect();
        assert_eq!(kit.cmd(id, &format!("XREADGROUP BLOCK 0 {line} STREAMS s other > >")), no_group(line));
        assert_eq!(kit.cmd(id, &format!("XREADGROUP BLOCK 0 {line} STREAMS s >")), "");
        id
    });
    let served = |kit: &mut Kit| waiting.map(|id| u8::from(!kit.read(id).is_empty()));
    for expected in [[1, 0, 1, 1, 0, 0], [0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1], [0; 6]] {
        kit.cmd(c, "XADD s * f v");
        assert_eq!(served(&mut kit), expected);
    }
}

/// The second key is missing.
fn no_group(line: &str) -> String {
    let name = line.split(' ').nth(1).unwrap_or_default();
    format!("-NOGROUP No such key 'other' or consumer group '{name}' in XREADGROUP with GROUP option\r\n")
}

#[test]
fn a_waiting_consumer_hears_that_its_group_is_gone() {
    let no_group = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option\r\n";
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    for (end, expected) in [
        ("XGROUP DESTROY s g", no_group),
        ("DEL s", no_group),
        ("FLUSHALL", no_group),
        ("FLUSHDB", no_group),
        ("RENAME s t", no_group),
        ("MOVE s 1", no_group),
        ("SWAPDB 0 1", no_group),
        ("PEXPIREAT s 1", no_group),
        ("SET s v", wrong_type),
    ] {
        let mut kit = Kit::default();
        let (a, c) = (kit.connect(), kit.connect());
        kit.cmd(c, "XGROUP CREATE s g $ MKSTREAM");
        assert_eq!(kit.cmd(a, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"), "");
        assert!(!kit.cmd(c, end).starts_with('-'), "{end}");
        assert_eq!(kit.read(a), expected, "{end}");
    }
}

#[test]
fn who_watches_a_stream_minds_its_entries_and_not_its_groups() {
    for (line, aborts) in [
        ("XADD s * f v", true),
        ("XDEL s 1-1", true),
        ("XTRIM s MAXLEN 0", true),
        ("XDEL s 9-9", false),
        ("XACK s g 1-1", false),
        ("XREADGROUP GROUP g c STREAMS s >", false),
        ("XCLAIM s g d 0 1-1", false),
        ("XGROUP CREATE s h 0", false),
        ("XGROUP DESTROY s g", false),
    ] {
        let mut kit = Kit::default();
        let (a, c) = (kit.connect(), kit.connect());
        GROUP.iter().for_each(|line| drop(kit.cmd(c, line)));
        kit.send(a, "WATCH s\r\nMULTI\r\nPING\r\n");
        kit.cmd(c, line);
        assert_eq!(kit.cmd(a, "EXEC") == "*-1\r\n", aborts, "{line}");
    }
}

#[test]
fn errors_are_those_of_redis() {
    let mut kit = Kit::default();
    let c = kit.connect();
    GROUP.iter().for_each(|line| drop(kit.cmd(c, line)));
    kit.cmd(c, "XADD last 18446744073709551615-18446744073709551615 f v");
    kit.cmd(c, "SET str v");
    let invalid = "ERR Invalid stream ID specified as stream command argument";
    for (line, error) in [
        ("XADD new 0-0 f v", "ERR The ID specified in XADD must be greater than 0-0"),
        ("XADD s 1-2 f v", "ERR The ID specified in XADD is equal or smaller than the target stream top item"),
        ("XADD s 0-* f v", "ERR The ID specified in XADD is equal or smaller than the target stream top item"),
        ("XADD last * f v", "ERR The stream has exhausted the last possible ID, unable to add more items"),
        ("XADD s * f v g", "ERR wrong number of arguments for 'xadd' command"),
        ("XADD s x f v", invalid),
        ("XADD s MAXLEN -1 * f v", "ERR The MAXLEN argument must be >= 0."),
        ("XADD s MAXLEN 1 LIMIT 5 * f v", "ERR syntax error, LIMIT cannot be used without the special ~ option"),
        ("XADD s LIMIT 5 * f v", "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"),
        ("XADD new LIMIT 0 * f v", "ERR syntax error, LIMIT cannot be used without the special ~ option"),
        (
            "XADD s MAXLEN 1 MINID 1 * f v",
            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ),
        ("XTRIM s LIMIT 0", "ERR syntax error, XTRIM must be called with a trimming strategy"),
        ("XRANGE s (18446744073709551615-18446744073709551615 +", "ERR invalid start ID for the interval"),
        ("XRANGE s - (0-0", "ERR invalid end ID for the interval"),
        ("XREAD STREAMS s", "ERR wrong number of arguments for 'xread' command"),
        (
            "XREAD STREAMS s t 0",
            "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
        ),
        ("XREAD BLOCK -1 STREAMS s 0", "ERR timeout is negative"),
        ("XREAD BLOCK 1.5 STREAMS s 0", "ERR timeout is not an integer or out of range"),
        ("XREADGROUP GROUP g c STREAMS s $", "ERR The $ ID is meaningless in the context of XREADGROUP"),
        ("XREAD NOACK STREAMS s 0", "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREADGROUP NOACK COUNT 1 STREAMS s >", "ERR Missing GROUP option for XREADGROUP"),
        ("XGROUP CREATE s g 0", "BUSYGROUP Consumer Group name already exists"),
        (
            "XGROUP CREATE s g x MKSTREAM MKSTREAM MKSTREAM MKSTREAM",
            "ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
        ),
        ("XGROUP CREATE missing g 0", "ERR The XGROUP subcommand requires the key to exist."),
        ("XGROUP SETID s h 0", "NOGROUP No such consumer group 'h' for key name 's'"),
        ("XGROUP CREATE s h 0 ENTRIESREAD -2", "ERR value for ENTRIESREAD must be positive or -1"),
        ("XPENDING s h", "NOGROUP No such key 's' or consumer group 'h'"),
        ("XCLAIM s g c x 1-1", "ERR Invalid min-idle-time argument for XCLAIM"),
        ("XCLAIM s g c 0 1-1 WHAT", "ERR Unrecognized XCLAIM option 'WHAT'"),
        ("XAUTOCLAIM s g c 0 0 COUNT 0", "ERR COUNT must be > 0"),
        ("XINFO STREAM missing", "ERR no such key"),
        ("XINFO CONSUMERS s h", "NOGROUP No such consumer group 'h' for key name 's'"),
        ("XSETID s 1-1", "ERR The ID specified in XSETID is smaller than the target stream top item"),
        ("XSETID s 9-9 ENTRIESADDED 1", "ERR The entries_added specified in XSETID is smaller"),
        ("XLEN str", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        let reply = kit.cmd(c, line);
        assert!(reply.starts_with(&format!("-{error}")), "{line}: {reply}");
    }
    assert_eq!(kit.cmd(c, "EXISTS new"), ":0\r\n", "an error makes no key");
    kit.cmd(c, "XDEL s 1-2");
    let smaller = "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id\r\n";
    assert_eq!(kit.cmd(c, "XSETID s 1-1"), smaller);
}

#[test]
fn consumers_show_when_they_asked_and_when_they_got() {
    let mut kit = Kit::default();
    let c = kit.connect();
    GROUP.iter().for_each(|line| drop(kit.cmd(c, line)));
    kit.cmd(c, "XREADGROUP GROUP g c STREAMS s >");
    kit.advance(70);
    kit.cmd(c, "XREADGROUP GROUP g c STREAMS s >");
    kit.cmd(c, "XREADGROUP GROUP g d STREAMS s >");
    kit.advance(30);
    let shown = kit.cmd(c, "XINFO CONSUMERS s g").replace("\r\n", " ");
    let consumer = |name: &str, pending: i32, idle: i32, inactive: i32| {
        format!("*8 $4 name $1 {name} $7 pending :{pending} $4 idle :{idle} $8 inactive :{inactive} ")
    };
    assert_eq!(shown, format!("*2 {}{}", consumer("c", 2, 30, 100), consumer("d", 0, 30, -1)));
}
