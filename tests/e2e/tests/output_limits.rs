//! A reply that the client will be closed for isn't made first: it may be many times as long as all data.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, Keystead};

/// Of each value, and how often it is asked for: together 600 MB.
const BYTES: usize = 1_000_000;
const TIMES: usize = 600;
/// What the process may have held at once: the limit is 20 MB.
const MOST: u64 = 250 << 20;

/// The most memory that the process ever had, in bytes.
fn peak(server: &Keystead) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn limited() -> Keystead {
    let server = Keystead::plain();
    let mut client = server.client();
    assert_eq!(client.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 20mb 0 0"]), "OK");
    let value = "x".repeat(BYTES);
    for (command, rest) in
        [("SET", "s"), ("SADD", "set"), ("RPUSH", "l"), ("HSET", "h f"), ("ZADD", "z 1"), ("XADD", "x * f")]
    {
        let words: Vec<&str> = std::iter::once(command).chain(rest.split(' ')).chain([value.as_str()]).collect();
        assert!(!client.command(&words).is_error(), "{command}");
    }
    server
}

fn closed_disconnections(client: &mut Client) -> String {
    client.info("stats").get("client_output_buffer_limit_disconnections").unwrap().clone()
}

#[test]
fn a_reply_beyond_the_limit_takes_no_more_than_the_limit() {
    let server = limited();
    let mut admin = server.client();
    let again = |front: &[&str], word: &str| {
        let all = front.iter().copied().chain(std::iter::repeat_n(word, TIMES));
        all.map(str::to_owned).collect::<Vec<String>>()
    };
    let (repeats, gets) = (format!("-{TIMES}"), ["GET", "#"].repeat(TIMES));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let commands = [
        again(&["MGET"], "s"),
        again(&["HMGET", "h"], "f"),
        words(&["SRANDMEMBER", "set", &repeats]),
        words(&["ZRANDMEMBER", "z", &repeats]),
        words(&["HRANDFIELD", "h", &repeats, "WITHVALUES"]),
        words(&[&["SORT", "l", "BY", "nosort"], &gets[..]].concat()),
        [again(&["XREAD", "STREAMS"], "x"), again(&[], "0")].concat(),
    ];
    for (at, command) in commands.iter().enumerate() {
        let mut client = server.client();
        assert!(client.try_command(command).is_err(), "{} is closed", command[0]);
        assert_eq!(closed_disconnections(&mut admin), (at + 1).to_string(), "{}", command[0]);
        assert!(peak(&server) < MOST, "{}: {} bytes", command[0], peak(&server));
    }
}

/// What the commands of a transaction do is done, though nobody can be told.
#[test]
fn a_transaction_beyond_the_limit_is_carried_out() {
    let server = limited();
    let mut client = server.client();
    client.ok("MULTI");
    for _ in 0..TIMES {
        assert_eq!(client.cmd("GET s"), "QUEUED");
    }
    for line in ["INCR done", "CONFIG SET client-output-buffer-limit \"normal 0 0 0\"", "INCR done"] {
        assert_eq!(client.command(&words_of(line)), "QUEUED");
    }
    assert!(client.try_command(&["EXEC"]).is_err(), "closed, though the limit is gone by now");
    assert_eq!(server.client().cmd("GET done"), "2");
    assert!(peak(&server) < MOST, "{} bytes", peak(&server));
}

fn words_of(line: &str) -> Vec<String> {
    match line.split_once(" \"") {
        Some((front, quoted)) => front.split(' ').chain([quoted.trim_end_matches('"')]).map(str::to_owned).collect(),
        None => line.split(' ').map(str::to_owned).collect(),
    }
}
