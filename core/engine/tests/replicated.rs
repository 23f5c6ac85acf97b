//! Effects on their way out, and a primary's stream on its way in.

mod kit;

use keystead_engine::journal::{CursorClass, CursorId, Read};
use keystead_engine::{ApplyState, Gate};
use kit::Kit;

fn follow(kit: &mut Kit) -> CursorId {
    kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("now")
}

/// The stream as words, one command per line.
fn stream(kit: &mut Kit, cursor: CursorId) -> Vec<String> {
    match kit.engine.core.journal.read(cursor, usize::MAX) {
        Read::Data(parts) => commands(&parts.concat()),
        _ => Vec::new(),
    }
}

fn commands(mut bytes: &[u8]) -> Vec<String> {
    use keystead_engine::resp::{Args, Decoded, Decoder, Limits};
    let mut list = Vec::new();
    while let Ok(Decoded::Command { consumed, args, .. }) = Decoder::new().decode(bytes, &Limits::default()) {
        let args = Args::new(&bytes[..consumed], &args);
        list.push(args.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" "));
        bytes = &bytes[consumed..];
    }
    assert!(bytes.is_empty());
    list
}

#[test]
fn only_what_changed_something_is_propagated() {
    let mut kit = Kit::default();
    let cursor = follow(&mut kit);
    let c = kit.connect();
    kit.cmd(c, "SET a 1");
    kit.cmd(c, "GET a");
    kit.cmd(c, "DEL nokey");
    kit.cmd(c, "SELECT 2");
    kit.cmd(c, "INCRBYFLOAT f 1.5");
    assert_eq!(stream(&mut kit, cursor), ["SELECT 0", "SET a 1", "SELECT 2", "SET f 1.5 KEEPTTL"]);
    kit.send(c, "MULTI\r\nSET a 1\r\nGET a\r\nEXEC\r\n");
    assert_eq!(stream(&mut kit, cursor), ["SET a 1"]);
    kit.send(c, "MULTI\r\nSET a 1\r\nSELECT 0\r\nSET b 1\r\nEXEC\r\n");
    assert_eq!(stream(&mut kit, cursor), ["MULTI", "SET a 1", "SELECT 0", "SET b 1", "EXEC"]);
    kit.cmd(c, "PUBLISH ch m");
    assert_eq!(stream(&mut kit, cursor), ["PUBLISH ch m"]);
    // Inside of MULTI, as 7.2 does (src/server.c, propagatePendingCommands); 7.0 has it in front.
    kit.send(c, "SELECT 3\r\nMULTI\r\nSET a 1\r\nINCR a\r\nEXEC\r\n");
    assert_eq!(stream(&mut kit, cursor), ["MULTI", "SELECT 3", "SET a 1", "INCR a", "EXEC"]);
}

#[test]
fn an_expired_key_is_deleted_in_front_of_the_effect() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET a 1 PX 10");
    kit.cmd(c, "SET b 1 PX 10");
    kit.cmd(c, "DEBUG SET-ACTIVE-EXPIRE 0");
    let cursor = follow(&mut kit);
    kit.advance(11);
    kit.cmd(c, "GET a");
    assert_eq!(stream(&mut kit, cursor), ["SELECT 0", "DEL a"]);
    kit.cmd(c, "APPEND b x");
    assert_eq!(stream(&mut kit, cursor), ["MULTI", "DEL b", "APPEND b x", "EXEC"]);
    // redis-server 7.0.15: what a reader names is one unit, what SCAN and RANDOMKEY come across are units each.
    for (reader, one_unit) in [("MGET x y", true), ("SCAN 0 COUNT 100", false), ("SCAN 0 MATCH [xy] COUNT 100", false)]
    {
        kit.cmd(c, "SET x 1 PX 10");
        kit.cmd(c, "SET y 1 PX 10");
        kit.advance(11);
        stream(&mut kit, cursor);
        kit.cmd(c, reader);
        let mut told = stream(&mut kit, cursor);
        assert_eq!(told.first().is_some_and(|first| first == "MULTI"), one_unit, "{reader}");
        told.retain(|line| line.starts_with("DEL"));
        told.sort();
        assert_eq!(told, ["DEL x", "DEL y"], "{reader}");
    }
    kit.cmd(c, "SET x 1 PX 10");
    kit.advance(11);
    kit.cmd(c, "SCAN 0 MATCH other COUNT 100");
    assert_eq!(stream(&mut kit, cursor).len(), 1, "a key that isn't asked for is left alone");
    kit.cmd(c, "DEL b x");
    kit.cmd(c, "SET x 1 PX 10");
    kit.cmd(c, "SET y 1 PX 10");
    kit.advance(11);
    stream(&mut kit, cursor);
    assert_eq!(kit.cmd(c, "RANDOMKEY"), "$-1\r\n");
    let mut told = stream(&mut kit, cursor);
    told.sort();
    assert_eq!(told, ["DEL x", "DEL y"]);
    kit.cmd(c, "SET x 1 PX 10");
    kit.cmd(c, "SET y 1 PX 10");
    stream(&mut kit, cursor);
    kit.cmd(c, "DEBUG SET-ACTIVE-EXPIRE 1");
    kit.advance(11);
    let mut dels = stream(&mut kit, cursor);
    dels.sort();
    assert_eq!(dels, ["DEL x", "DEL y"], "each its own unit");
}

#[test]
fn a_served_wait_is_its_own_effect() {
    let mut kit = Kit::default();
    let cursor = follow(&mut kit);
    let (a, b) = (kit.connect(), kit.connect());
    kit.cmd(a, "BLPOP l 0");
    kit.cmd(b, "RPUSH l 1");
    assert_eq!(stream(&mut kit, cursor), ["SELECT 0", "RPUSH l 1", "LPOP l"]);
}

#[test]
fn a_primary_stream_is_executed_and_kept_byte_for_byte() {
    let mut primary = Kit::default();
    let out = follow(&mut primary);
    let c = primary.connect();
    for line in ["SET a 1", "SELECT 3", "RPUSH l 1 2 3", "SPOP none", "INCR n", "EXPIRE n 100"] {
        primary.cmd(c, line);
    }
    primary.send(c, "MULTI\r\nINCR n\r\nINCR n\r\nEXEC\r\n");
    let Read::Data(parts) = primary.engine.core.journal.read(out, usize::MAX) else { panic!("data") };
    let mut bytes = parts.concat();
    bytes.extend_from_slice(b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");
    // Whatever the pieces, the result is the same.
    for size in [1, 7, 1000] {
        let mut replica = Kit::default();
        replica.engine.gates().set(Gate::Replica, true);
        replica.engine.gates().set(Gate::ReadOnly, true);
        replica.engine.core.journal.rebase(Some(500));
        let sub = replica.engine.core.journal.open_cursor(CursorClass::Replica, Some(500)).expect("now");
        let mut state = ApplyState::new(0);
        let mut acks = Vec::new();
        for piece in bytes.chunks(size) {
            replica.engine.begin_turn(replica.now);
            let applied = replica.engine.apply_stream(&mut state, piece).expect("a stream");
            acks.extend(applied.acks);
            replica.engine.end_turn();
        }
        assert_eq!(replica.engine.core.journal.offset(), 500 + bytes.len() as u64);
        assert_eq!(acks, [500 + bytes.len() as u64 - 37]);
        let Read::Data(parts) = replica.engine.core.journal.read(sub, usize::MAX) else { panic!("data") };
        assert_eq!(parts.concat(), bytes);
        assert_eq!(replica.engine.ks.digest(), primary.engine.ks.digest());
        let c = replica.connect();
        assert_eq!(replica.cmd(c, "SET a 2"), "-READONLY You can't write against a read only replica.\r\n");
        replica.cmd(c, "SELECT 3");
        assert_eq!(replica.cmd(c, "GET n"), "$1\r\n3\r\n");
    }
}

/// Each process has its own order of what it joins.
#[test]
fn stored_results_are_the_same_everywhere() {
    let mut digests = Vec::new();
    for _ in 0..3 {
        let mut kit = Kit::default();
        let c = kit.connect();
        (0..300).for_each(|n| drop(kit.cmd(c, &format!("ZADD s 0 m{n}"))));
        for line in [
            "ZUNIONSTORE union 1 s WEIGHTS -1",
            "ZINTERSTORE inter 2 s s WEIGHTS -1 -1",
            "ZDIFFSTORE diff 1 union",
            "ZRANGESTORE range union 0 -1",
        ] {
            let key = line.split(' ').nth(1).unwrap_or_default();
            assert_eq!(kit.cmd(c, line), ":300\r\n", "{line}");
            let kept = kit.cmd(c, &format!("ZRANGE {key} 0 -1 WITHSCORES")).matches("\r\n-0\r\n").count();
            assert_eq!(kept, 300, "{line}");
        }
        digests.push(kit.engine.ks.digest());
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
}

/// A start would refuse the file for it.
#[test]
fn a_command_that_a_replica_does_not_know_goes_on_to_its_replicas_and_not_into_its_file() {
    let mut kit = Kit::default();
    let cursor = follow(&mut kit);
    let file = kit.engine.core.journal.open_cursor(CursorClass::Persistence, None).expect("now");
    kit.engine.gates().set(Gate::Replica, true);
    let lines = ["SELECT 0", "FUNKTION LOAD", "SET a 1", "GET", "SET b 1"];
    let words = |line: &str| line.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect::<String>();
    let sent: String = lines.iter().map(|line| format!("*{}\r\n{}", line.split(' ').count(), words(line))).collect();
    kit.turn(|engine| engine.apply_stream(&mut ApplyState::new(0), sent.as_bytes())).expect("a stream");
    assert_eq!(kit.engine.core.journal.offset(), sent.len() as u64);
    assert_eq!(stream(&mut kit, cursor), lines);
    let mut kept = stream(&mut kit, file);
    kept.retain(|line| line != "SELECT 0");
    assert_eq!(kept, ["SET a 1", "SET b 1"]);
}

/// Messages are for replicas; a file that had them would tell them again at every start.
#[test]
fn messages_of_a_primary_go_into_no_file() {
    let mut kit = Kit::default();
    kit.engine.gates().set(Gate::Replica, true);
    let journal = &mut kit.engine.core.journal;
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    let replica = follow(&mut kit);
    let sent = b"*3\r\n$8\r\nSPUBLISH\r\n$2\r\nch\r\n$1\r\nx\r\n";
    kit.turn(|engine| engine.apply_stream(&mut ApplyState::new(0), sent)).map(drop).expect("a stream");
    assert_eq!(stream(&mut kit, replica), ["SPUBLISH ch x"]);
    assert_eq!(stream(&mut kit, file), [""; 0]);
}

#[test]
fn half_a_unit_is_dropped_with_its_link() {
    let mut kit = Kit::default();
    let mut state = ApplyState::new(0);
    kit.engine.begin_turn(kit.now);
    let head = b"*1\r\n$4\r\nPING\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let applied = kit.engine.apply_stream(&mut state, head).expect("a stream");
    assert_eq!(applied.offset, 14, "only PING is whole");
    state.reset();
    kit.engine.apply_stream(&mut state, b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n").expect("a stream");
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "EXISTS a b"), ":1\r\n");
    assert!(kit.engine.apply_stream(&mut state, b"*x\r\n").is_err());
}

/// An empty line is a sign of life of old servers. One with words is no part of a stream: nothing of it, nor of what
/// follows, is executed.
#[test]
fn a_line_of_text_ends_a_primarys_stream() {
    let mut kit = Kit::default();
    let set = |key: &str| format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n$1\r\n1\r\n");
    for line in ["SET inl 1\r\n", "\0\u{1}x\r\n", "PING\n"] {
        let mut state = ApplyState::new(0);
        let bytes = format!("\n{}\r\n{line}{}", set("a"), set("b"));
        let refused = kit.turn(|engine| engine.apply_stream(&mut state, bytes.as_bytes())).expect_err("a line of text");
        assert!(refused.starts_with("WARNING: Receiving inline protocol from master"), "{refused}");
    }
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "EXISTS a"), ":1\r\n");
    assert_eq!(kit.cmd(c, "EXISTS b inl"), ":0\r\n");
}

/// What is within the primary's limits is applied whatever the replica's are, and so is what stands in a file.
#[test]
fn a_smaller_limit_of_strings_refuses_nothing_of_a_stream_or_a_file() {
    let lines = ["APPEND a xy", "SETRANGE b 2000000 a", "SETBIT c 16000000 1", "BITFIELD d SET u8 16000000 7"];
    let encode = |line: &&str| {
        let words: String = line.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*{}\r\n{words}", line.split(' ').count())
    };
    let stream: String = lines.iter().map(encode).collect();
    for file in [false, true] {
        let mut kit = Kit::default();
        let c = kit.connect();
        assert_eq!(kit.cmd(c, "SETRANGE a 1048575 x"), ":1048576\r\n");
        assert_eq!(kit.cmd(c, "CONFIG SET proto-max-bulk-len 1048576"), "+OK\r\n");
        for line in lines {
            assert!(kit.cmd(c, line).starts_with("-ERR "), "{line}");
        }
        let applied = kit.turn(|engine| match file {
            true => engine.replay(&mut ApplyState::of_file(), stream.as_bytes()),
            false => engine.apply_stream(&mut ApplyState::new(0), stream.as_bytes()).map(drop),
        });
        assert_eq!(applied, Ok(()));
        let lengths = ["a", "b", "c", "d"].map(|key| kit.cmd(c, &format!("STRLEN {key}")));
        assert_eq!(lengths, [":1048578\r\n", ":2000001\r\n", ":2000001\r\n", ":2000001\r\n"], "file: {file}");
    }
}

#[test]
fn a_replica_hides_expired_keys_and_waits() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET a 1 PX 10");
    kit.engine.gates().set(Gate::Replica, true);
    kit.advance(11);
    assert_eq!(kit.cmd(c, "GET a"), "$-1\r\n");
    assert_eq!(kit.cmd(c, "DBSIZE"), ":1\r\n");
    kit.engine.gates().set(Gate::Replica, false);
    assert_eq!(kit.cmd(c, "GET a"), "$-1\r\n");
    assert_eq!(kit.cmd(c, "DBSIZE"), ":0\r\n");
}

#[test]
fn a_writable_replica_keeps_its_writes_to_itself() {
    let mut kit = Kit::default();
    let cursor = follow(&mut kit);
    let file = kit.engine.core.journal.open_cursor(CursorClass::Persistence, None).expect("now");
    kit.engine.gates().set(Gate::Replica, true);
    let c = kit.connect();
    let before = kit.engine.core.journal.offset();
    kit.cmd(c, "SET a 1");
    kit.cmd(c, "PUBLISH a 1");
    assert_eq!(kit.engine.core.journal.offset(), before);
    assert_eq!(stream(&mut kit, cursor), [""; 0]);
    assert_eq!(stream(&mut kit, file), ["SELECT 0", "SET a 1"]);
}

#[test]
fn a_writable_replica_expires_what_its_own_clients_wrote() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET theirs 1 PX 10");
    kit.engine.gates().set(Gate::Replica, true);
    let (cursor, before) = (follow(&mut kit), kit.engine.core.journal.offset());
    let file = kit.engine.core.journal.open_cursor(CursorClass::Persistence, None).expect("now");
    kit.cmd(c, "SET ours 1 PX 10");
    kit.cmd(c, "SET kept 1 PX 10");
    kit.cmd(c, "PERSIST kept");
    kit.cmd(c, "HSET hash f v");
    kit.cmd(c, "PEXPIRE hash 10");
    stream(&mut kit, file);
    kit.advance(200);
    assert_eq!(kit.cmd(c, "DBSIZE"), ":2\r\n", "the primary's own key waits for its DEL");
    assert_eq!(kit.engine.core.journal.offset(), before);
    assert_eq!(stream(&mut kit, cursor), [""; 0]);
    let mut deleted = stream(&mut kit, file);
    deleted.sort();
    assert_eq!(deleted, ["DEL hash", "DEL ours"]);
}

/// B5: what MOVE and COPY bring into another database, and a deadline that has passed when it is set.
#[test]
fn a_writable_replica_expires_its_keys_in_whatever_database_they_are() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SELECT 3");
    kit.cmd(c, "SET theirs 1 PX 10");
    kit.cmd(c, "SELECT 0");
    kit.engine.gates().set(Gate::Replica, true);
    for line in [
        "SET moved 1 PX 10",
        "MOVE moved 3",
        "SET theirs 1 PX 10",
        "COPY theirs copied DB 3",
        "COPY theirs again replace db 3",
        "SET gone 1 PXAT 1",
    ] {
        let answer = kit.cmd(c, line);
        assert!(answer == "+OK\r\n" || answer == ":1\r\n", "{line}: {answer}");
    }
    assert!(
        kit.cmd(c, "INFO stats").contains("slave_expires_tracked_keys:6\r\n"),
        "its old places are known until they are looked at"
    );
    kit.advance(200);
    assert_eq!(kit.cmd(c, "DBSIZE"), ":0\r\n");
    kit.cmd(c, "SELECT 3");
    assert_eq!(kit.cmd(c, "DBSIZE"), ":1\r\n", "the primary's own key waits for its DEL");
    kit.advance(200);
    assert!(kit.cmd(c, "INFO stats").contains("slave_expires_tracked_keys:0\r\n"));
}

/// The primary's own keys of these names, which come behind it, wait for the primary's DEL.
#[test]
fn what_a_flush_takes_is_no_longer_the_replicas_own() {
    let flushed = |sent: &[&str]| {
        let mut kit = Kit::default();
        let c = kit.connect();
        kit.engine.gates().set(Gate::Replica, true);
        for line in ["SET a 1 PX 10", "SELECT 1", "SET b 1 PX 10"] {
            assert_eq!(kit.cmd(c, line), "+OK\r\n");
        }
        let words =
            |line: &str| line.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect::<String>();
        let encode = |line: &&str| format!("*{}\r\n{}", line.split(' ').count(), words(line));
        let bytes: String = sent.iter().map(encode).collect();
        let mut state = ApplyState::new(0);
        kit.turn(|engine| engine.apply_stream(&mut state, bytes.as_bytes())).expect("a stream");
        let told = kit.cmd(c, "INFO stats");
        kit.advance(200);
        let sizes = [0, 1].map(|db| {
            kit.cmd(c, &format!("SELECT {db}"));
            kit.cmd(c, "DBSIZE").trim_matches([':', '\r', '\n']).to_owned()
        });
        (told.lines().find_map(|line| line.strip_prefix("slave_expires_tracked_keys:")).map(str::to_owned), sizes)
    };
    let expect = |sent: &[&str], own: &str, sizes: [&str; 2]| {
        assert_eq!(flushed(sent), (Some(own.to_owned()), sizes.map(str::to_owned)), "{sent:?}");
    };
    expect(&["PING"], "2", ["0", "0"]);
    expect(&["FLUSHALL", "SET a 1 PX 10", "SELECT 1", "SET b 1 PX 10"], "0", ["1", "1"]);
    expect(&["FLUSHDB", "SET a 1 PX 10"], "1", ["1", "0"]);
    expect(&["SWAPDB 0 1", "SET a 1 PX 10"], "2", ["1", "0"]);
}

#[test]
fn a_cut_on_a_replica_tells_the_database_instead_of_selecting_it() {
    let mut kit = Kit::default();
    kit.engine.gates().set(Gate::Replica, true);
    kit.engine.core.journal.set_backlog(Some(1 << 20));
    let mut state = ApplyState::new(0);
    let select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n";
    let set = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    kit.engine.apply_stream(&mut state, &[&select[..], &set[..]].concat()).expect("a stream");
    let snapshot = kit.engine.begin_snapshot(Some(CursorClass::SyncingReplica)).expect("free");
    assert_eq!(snapshot.stream_db, Some(3));
    kit.engine.apply_stream(&mut state, set).expect("a stream");
    assert_eq!(stream(&mut kit, snapshot.cursor.expect("asked for")), ["SET a 1"]);
}

#[test]
fn a_snapshot_and_its_cursor_fit_together() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "SET a 1");
    kit.engine.core.journal.set_backlog(Some(1 << 20));
    kit.cmd(c, "SET a 2");
    let snapshot = kit.engine.begin_snapshot(Some(CursorClass::SyncingReplica)).expect("free");
    kit.cmd(c, "INCR a");
    let cursor = snapshot.cursor.expect("asked for");
    assert_eq!(stream(&mut kit, cursor), ["SELECT 0", "INCR a"], "SELECT again, for a reader that starts here");
    let mut target = Kit::default();
    loop {
        let step = kit.engine.snapshot_step(snapshot.cut, Default::default());
        for raw in &step.records {
            let mut bytes = Vec::new();
            raw.encode(&mut bytes, keystead_engine::rdb::EncodeOptions::default());
            for record in keystead_engine::rdb::records(&bytes) {
                target.engine.ks.put_record(raw.db(), &record.expect("a record")).expect("loads");
            }
        }
        if step.done {
            break;
        }
    }
    let c = target.connect();
    assert_eq!(target.cmd(c, "GET a"), "$1\r\n2\r\n");
}

#[test]
fn a_file_is_executed_in_whole_units_and_goes_nowhere() {
    let mut kit = Kit::default();
    let cursor = follow(&mut kit);
    let mut state = ApplyState::of_file();
    let text =
        b"#TS:1\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    kit.turn(|engine| engine.replay(&mut state, text)).expect("half a unit");
    let c = kit.connect();
    kit.cmd(c, "SELECT 2");
    assert_eq!(kit.cmd(c, "GET a"), "$-1\r\n", "the unit isn't whole");
    kit.turn(|engine| engine.replay(&mut state, b"*1\r\n$4\r\nEXEC\r\n")).expect("whole");
    assert_eq!(kit.cmd(c, "GET a"), "$1\r\n1\r\n");
    assert_eq!(stream(&mut kit, cursor), [""; 0]);
    let error = kit.turn(|engine| engine.replay(&mut state, b"*1\r\n$4\r\nNOPE\r\n")).expect_err("unknown");
    assert!(error.contains("NOPE"), "{error}");
}

/// Whoever has the bytes that follow hands over more of them, from the first unit that isn't whole on.
#[test]
fn a_file_is_executed_out_of_the_bytes_of_whoever_has_them() {
    let large = "v".repeat(100_000);
    let set = |key: &str, value: &str| format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n${}\r\n{value}\r\n", value.len());
    let multi = ["*1\r\n$5\r\nMULTI\r\n", &set("b", &large), &set("c", "1"), "*1\r\n$4\r\nEXEC\r\n"].concat();
    let text = [set("a", "1"), multi, set("d", &large), set("e", "1")].concat();
    for step in [7, 1000, 200_000] {
        let mut kit = Kit::default();
        let mut state = ApplyState::of_file();
        let (mut rest, mut len) = (text.as_bytes(), step);
        while !rest.is_empty() {
            let whole = kit.turn(|engine| engine.replay_whole(&mut state, &rest[..len])).expect("commands");
            assert_eq!(state.pending(), 0, "nothing is kept");
            rest = &rest[whole..];
            len = if whole == 0 { len + step.max(state.promised()) } else { step }.min(rest.len());
        }
        let c = kit.connect();
        let lengths = ["a", "b", "c", "d", "e"].map(|key| kit.cmd(c, &format!("STRLEN {key}")));
        assert_eq!(lengths, [":1\r\n", ":100000\r\n", ":1\r\n", ":100000\r\n", ":1\r\n"], "steps of {step}");
    }
}

#[test]
fn output_tells_which_position_it_depends_on() {
    let mut kit = Kit::default();
    let _file = kit.engine.core.journal.open_cursor(CursorClass::Persistence, None).expect("now");
    kit.engine.barriers().confirm("file", Some(0));
    let (c, other) = (kit.connect(), kit.connect());
    let mut seen = |id, line: &str| {
        kit.cmd(id, line);
        kit.engine.swap_out(id, &mut Vec::new())
    };
    assert_eq!(seen(c, "PING"), 0);
    let after = seen(c, "SET a 1");
    assert!(after > 0);
    assert_eq!(seen(other, "CONFIG GET hz"), 0, "shows no key");
    assert_eq!(seen(other, "GET a"), after);
    assert_eq!(seen(c, "PING"), after, "what it was told before may not be known yet");
}
