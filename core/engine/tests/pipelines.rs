//! Commands that came together do what they do one by one: replies, statistics, keys, the stream, what others are told.

mod kit;

use keystead_engine::{Ahead, Engine, Flow, OwnedArgs, SessionId};
use kit::{Kit, Stream};
use proptest::prelude::*;

/// What clients send most, what changes the state between them, and what ends a row.
const LINES: &[&str] = &[
    "PING",
    "PING hello",
    "PING too many",
    "ECHO hello",
    "CLIENT ID",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "DBSIZE",
    "GET string",
    "GET missing",
    "GET list",
    "GET brief",
    "STRLEN brief",
    "EXISTS brief string",
    "TTL brief",
    "TYPE brief",
    "OBJECT ENCODING string",
    "OBJECT ENCODING missing",
    "OBJECT NOSUCH x",
    "HGET hash f",
    "LLEN list",
    "MGET string brief missing",
    "SET string 1",
    "SET brief 1 PX 1",
    "PEXPIRE string 1",
    "RPUSH list a",
    "DEL list",
    "HSET hash f v",
    "SELECT 1",
    "SELECT 0",
    "FLUSHALL",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH brief",
    "UNWATCH",
    "CLIENT REPLY OFF",
    "CLIENT REPLY ON",
    "CLIENT REPLY SKIP",
    "CLIENT NO-TOUCH ON",
    "CLIENT NO-TOUCH OFF",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING OFF",
    "CONFIG SET maxmemory 1",
    "CONFIG SET maxmemory 0",
    "CONFIG SET maxmemory-clients 1mb",
    "CONFIG SET maxmemory-clients 0",
    "CONFIG SET notify-keyspace-events KEA",
    "CONFIG SET notify-keyspace-events \"\"",
    "CONFIG SET latency-tracking no",
    "CONFIG SET latency-tracking yes",
    "ACL SETUSER default -ping",
    "ACL SETUSER default +@all",
    "SUBSCRIBE channel",
    "UNSUBSCRIBE channel",
    "PUBLISH channel hello",
    "HELLO 3",
    "HELLO 2",
    "BLPOP list 0",
    "NOSUCH a b",
    "RESET",
];

fn words(line: &str) -> OwnedArgs {
    line.split(' ').map(|word| word.trim_matches('"')).collect()
}

/// Runs lines in one turn, as drivers do (`together`) or as anybody may; how many were taken, and how the last ended.
fn run(engine: &mut Engine, id: SessionId, lines: &[OwnedArgs], together: bool) -> (usize, Flow) {
    if together {
        let ahead = &mut Ahead::default();
        let known: Vec<_> = lines.iter().map(|line| (line, engine.ahead(id, line.view(), ahead))).collect();
        return engine.execute_all(id, &known, |(line, known)| (line.view(), *known));
    }
    for (at, line) in lines.iter().enumerate() {
        let flow = engine.execute(id, line.view());
        if flow != Flow::Next {
            return (at + 1, flow);
        }
    }
    (lines.len(), Flow::Next)
}

/// What can be seen of a server that got these turns: replies and ends, the other's news, the stream, the statistics.
fn seen(turns: &[(Vec<usize>, u64)], together: bool) -> Vec<String> {
    let mut stream = Stream::new();
    let kit = &mut stream.kit;
    let (id, other) = (kit.connect(), kit.connect());
    kit.cmd(other, "HELLO 3");
    kit.cmd(other, "PSUBSCRIBE *");
    let mut seen = Vec::new();
    for (lines, ms) in turns {
        let lines: Vec<OwnedArgs> = lines.iter().map(|at| words(LINES[*at])).collect();
        let (taken, flow) = kit.turn(|engine| run(engine, id, &lines, together));
        seen.push(format!("{taken} {flow:?} {}", kit.read(id)));
        seen.push(kit.read(other));
        kit.advance(*ms);
        if flow != Flow::Next {
            break;
        }
    }
    let third = kit.connect();
    for line in [
        "ACL SETUSER default +@all",
        "INFO commandstats",
        "INFO errorstats",
        "INFO keyspace",
        "CONFIG GET maxmemory",
        "CLIENT LIST",
    ] {
        seen.push(format!("{line}: {}", kit.cmd(third, line)));
    }
    let stats = kit.cmd(third, "INFO stats");
    let counted = ["total_commands_processed", "keyspace_hits", "keyspace_misses", "expired_keys", "evicted_keys"];
    seen.extend(stats.lines().filter(|line| counted.iter().any(|name| line.starts_with(name))).map(str::to_owned));
    seen.extend(stream.records());
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nobody_sees_that_commands_came_together(
        turns in prop::collection::vec((prop::collection::vec(0..LINES.len(), 1..24), 0_u64..3), 1..8),
    ) {
        prop_assert_eq!(seen(&turns, true), seen(&turns, false));
    }
}

/// Rows of what is read most, with one line between them that makes all the difference.
#[test]
fn what_ends_a_row_is_noticed() {
    let reads = ["PING", "GET brief", "DBSIZE", "CLIENT ID", "GET string", "OBJECT ENCODING string"];
    let place = |line: &str| LINES.iter().position(|other| *other == line).expect("one of the lines");
    for (between, line) in LINES.iter().enumerate() {
        let mut row: Vec<usize> = reads.iter().map(|line| place(line)).collect();
        row.insert(0, place("SET brief 1 PX 1"));
        row.insert(3, between);
        row.push(between);
        row.extend(reads.iter().map(|line| place(line)));
        let turns = [(row.clone(), 2), (row, 0)];
        assert_eq!(seen(&turns, true), seen(&turns, false), "{line}");
    }
}

/// A reply that reaches the output limit closes the client, and nothing behind it runs.
#[test]
fn large_replies_end_a_row() {
    let mut kit = Kit::default();
    let (id, other) = (kit.connect(), kit.connect());
    kit.cmd(other, "CONFIG SET client-output-buffer-limit \"normal 100kb 0 0\"");
    kit.cmd(other, &format!("SET large {}", "x".repeat(60_000)));
    let lines: [OwnedArgs; 20] = std::array::from_fn(|_| words("GET large"));
    let (taken, _) = kit.turn(|engine| run(engine, id, &lines, true));
    assert!(taken < 5, "{taken} replies of 60 kB with a limit of 100 kB");
    assert_eq!(kit.closed, [id]);
}
