//! Commands in, commands out; and a random stream against a naive twin.

use super::*;
use keystead_resp::{ArgRanges, Decoded, Decoder, Limits};

/// Commands as words, from bytes.
fn words(mut bytes: &[u8]) -> Vec<String> {
    let (mut decoder, mut all) = (Decoder::new(), Vec::new());
    while !bytes.is_empty() {
        let Ok(Decoded::Command { consumed, args, .. }) = decoder.decode(bytes, &Limits::default()) else {
            panic!("whole commands: {:?}", String::from_utf8_lossy(bytes))
        };
        let words: Vec<_> = Args::new(bytes, &args).iter().map(String::from_utf8_lossy).collect();
        all.push(words.join(" "));
        bytes = &bytes[consumed..];
    }
    all
}

fn encode(line: &str) -> (Vec<u8>, ArgRanges) {
    let mut raw = Vec::new();
    write_command(&mut raw, line.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter());
    let Ok(Decoded::Command { args, .. }) = Decoder::new().decode(&raw, &Limits::default()) else { panic!("{line}") };
    (raw, args)
}

/// Where the keys of the commands used here are: behind the name, so many of them at this distance.
fn keys(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[0] {
        "SET" | "INCR" | "MOVE" | "LPUSH" => vec![words[1]],
        "DEL" => words[1..].to_vec(),
        "MSET" => words[1..].iter().copied().step_by(2).collect(),
        "RENAME" | "COPY" | "SMOVE" => words[1..3].to_vec(),
        "SUNIONSTORE" => words[1..].to_vec(),
        "SORT" => vec![words[1], words[words.len() - 1]],
        _ => Vec::new(),
    }
}

fn rewriter(databases: &[u32], prefixes: &[&str]) -> Rewriter {
    let prefixes = prefixes.iter().map(|p| p.as_bytes().to_vec()).collect();
    Rewriter::new(Filter { databases: databases.to_vec(), prefixes }, 0, None)
}

fn feed(rewriter: &mut Rewriter, line: &str) -> Step {
    let (raw, args) = encode(line);
    let keys: Vec<&[u8]> = keys(line).into_iter().map(str::as_bytes).collect();
    rewriter.command(&raw, Args::new(&raw, &args), &keys)
}

fn all(rewriter: &mut Rewriter, lines: &[&str]) -> Vec<String> {
    for line in lines {
        assert_eq!(feed(rewriter, line), Step::Done, "{line}");
    }
    words(&rewriter.take())
}

#[test]
fn by_prefix() {
    let mut r = rewriter(&[], &["u:"]);
    let out = all(
        &mut r,
        &["SELECT 0", "SET u:1 a", "SET x b", "PING", "DEL x u:1 y u:2", "DEL x", "MSET x 1 u:3 2", "MSET u:4 1 u:5 2"],
    );
    assert_eq!(out, ["SELECT 0", "SET u:1 a", "PING", "DEL u:1 u:2", "MSET u:3 2", "MSET u:4 1 u:5 2"]);
    assert_eq!(r.out_db(), Some(0));
    let out = all(&mut r, &["SELECT 3", "SET x 1", "SELECT 2", "SET u:1 1", "FLUSHDB", "FLUSHALL", "RENAME x y"]);
    assert_eq!(out, ["SELECT 2", "SET u:1 1", "FLUSHDB", "FLUSHALL"]);
}

#[test]
fn by_database() {
    let mut r = rewriter(&[1, 2], &[]);
    let out =
        all(&mut r, &["SELECT 0", "SET a 1", "FLUSHDB", "SELECT 1", "SET a 1", "FLUSHDB", "SWAPDB 1 2", "SWAPDB 0 3"]);
    assert_eq!(out, ["SELECT 1", "SET a 1", "FLUSHDB", "SWAPDB 1 2"]);
    assert!(matches!(feed(&mut r, "SWAPDB 1 0"), Step::Broken(why) if why.contains("SWAPDB 1 0")));
    assert_eq!(all(&mut r, &["MOVE a 2", "COPY a b DB 2"]), ["MOVE a 2", "COPY a b DB 2"]);
    // What leaves is read as gone, what comes is read as it is.
    assert_eq!(feed(&mut r, "MOVE a 0"), Step::Read(vec![(1, b"a".to_vec())]));
    assert_eq!(all(&mut r, &["COPY a b DB 0", "SELECT 0"]), Vec::<String>::new());
    assert_eq!(feed(&mut r, "MOVE a 1"), Step::Read(vec![(1, b"a".to_vec())]));
    assert_eq!(feed(&mut r, "COPY a b DB 2"), Step::Read(vec![(2, b"b".to_vec())]));
}

#[test]
fn a_transaction_goes_whole_or_not_at_all() {
    let mut r = rewriter(&[], &["u:"]);
    let out =
        all(&mut r, &["SELECT 0", "MULTI", "SET x 1", "EXEC", "MULTI", "SET x 1", "SET u:1 1", "EXEC", "SET u:2 1"]);
    assert_eq!(out, ["MULTI", "SELECT 0", "SET u:1 1", "EXEC", "SET u:2 1"]);
    assert_eq!(feed(&mut r, "MULTI"), Step::Done);
    assert_eq!(r.pending(), None, "nothing may be taken yet");
    assert_eq!(all(&mut r, &["SELECT 5", "SET u:1 1", "EXEC"]), ["MULTI", "SELECT 5", "SET u:1 1", "EXEC"]);
}

#[test]
fn what_depends_on_a_key_that_is_missing_there_is_read() {
    let mut r = rewriter(&[], &["u:"]);
    feed(&mut r, "SELECT 0");
    assert_eq!(feed(&mut r, "RENAME x u:1"), Step::Mixed);
    let both = [b"x".to_vec(), b"u:1".to_vec()];
    assert_eq!(r.changed(&both), Step::Read(vec![(0, b"u:1".to_vec())]));
    // It was read 75 bytes further on: what comes up to there is in it.
    let until = r.at() + 75;
    r.refreshed((0, b"u:1".to_vec()), Some(&Now { dump: b"D".to_vec(), expire_ms: Some(7) }), until);
    let out = all(&mut r, &["INCR u:1", "SET u:2 1", "INCR u:1", "INCR u:1"]);
    assert_eq!(out, ["SELECT 0", "RESTORE u:1 7 D REPLACE ABSTTL", "SET u:2 1", "INCR u:1"], "two are left out");
    // A store out of the part: its sources were only read.
    assert_eq!(feed(&mut r, "SUNIONSTORE x u:1 u:2"), Step::Mixed);
    assert_eq!(r.changed(&[b"x".to_vec()]), Step::Done);
    r.refreshed((0, b"u:9".to_vec()), None, r.at());
    assert_eq!(words(&r.take()), ["DEL u:9"]);
}

#[test]
fn a_flush_behind_a_key_that_was_read_later_does_not_lose_it() {
    let mut r = rewriter(&[], &["u:"]);
    feed(&mut r, "SELECT 0");
    r.refreshed((0, b"u:1".to_vec()), None, 1000);
    assert_eq!(feed(&mut r, "FLUSHALL"), Step::Read(vec![(0, b"u:1".to_vec())]));
    r.refreshed((0, b"u:1".to_vec()), None, 1000);
    assert_eq!(feed(&mut r, "SWAPDB 0 1"), Step::Read(vec![(0, b"u:1".to_vec()), (1, b"u:1".to_vec())]));
    r.skip(2000);
    assert_eq!(feed(&mut r, "FLUSHALL"), Step::Done, "the stream has passed it");
}

#[test]
fn a_stream_without_a_database_is_not_guessed() {
    let mut r = rewriter(&[], &["u:"]);
    assert!(matches!(feed(&mut r, "SET u:1 1"), Step::Broken(_)));
}

/// The keys that a pattern names are none of the command's.
#[test]
fn what_a_sort_looked_up_elsewhere_is_read() {
    for (prefixes, line, want) in [
        (&["u:"] as &[&str], "SORT u:l STORE u:d", Step::Done),
        (&["u:"], "SORT u:l BY w:* STORE u:d", Step::Mixed),
        (&["u:"], "SORT u:l GET # GET w:* STORE u:d", Step::Mixed),
        (&[], "SORT u:l BY w:* STORE u:d", Step::Done),
    ] {
        let mut r = rewriter(&[0], prefixes);
        all(&mut r, &["SELECT 0", "LPUSH u:l 1"]);
        assert_eq!(feed(&mut r, line), want, "{line}");
    }
    let mut r = rewriter(&[0], &["u:"]);
    all(&mut r, &["SELECT 0"]);
    assert_eq!(r.changed(&[b"x".to_vec()]), Step::Done, "what it wrote isn't let through");
}
