//! Replies that are about whole collections end where their client is closed for them, and commands that change something do
//! that all the same.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, Keystead};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Of each member, and how many there are: forty times the limit.
const BYTES: usize = 1_000_000;
const COUNT: usize = 40;
/// What one command may add to what the process holds: a reply made whole would be 40 MB.
const MOST: u64 = 20 << 20;

fn status(server: &Keystead, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Sends a command of a client of its own, which is closed for it; gives by how much the process grew meanwhile at most.
fn growth(server: &Keystead, words: &[&str]) -> u64 {
    // The kernel's mark of the most memory starts anew.
    std::fs::write(format!("/proc/{}/clear_refs", server.process.pid()), "5").unwrap();
    let before = status(server, "VmHWM");
    let mut client = server.client();
    assert!(client.try_command(words).is_err(), "{words:?} is closed");
    status(server, "VmHWM").saturating_sub(before)
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// `*` stands for the member, `#` for its number.
fn fill(admin: &mut Client, line: &str) {
    admin.ok("FLUSHALL");
    for number in 1..=COUNT {
        let member = format!("{number}{}", "x".repeat(BYTES));
        let words = line.split(' ').map(|word| match word {
            "*" => member.clone(),
            word => word.replace('#', &number.to_string()),
        });
        assert!(!admin.command(&words.collect::<Vec<_>>()).is_error(), "{line}");
    }
}

fn limited() -> (Keystead, Client) {
    let server = Keystead::plain();
    let mut admin = server.client();
    assert_eq!(admin.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"]), "OK");
    (server, admin)
}

#[test]
fn what_reads_a_collection_ends_at_the_limit() {
    let (server, mut admin) = limited();
    let sets = [
        (
            "XADD x #-1 f *",
            &["XRANGE x - +", "XREVRANGE x + -", "XREAD STREAMS x 0", "XINFO STREAM x FULL COUNT 0"][..],
        ),
        ("SADD s *", &["SUNION s none", "SINTER s s", "SDIFF s none", "SRANDMEMBER s 99", "SSCAN s 0 COUNT 99"]),
        ("ZADD z # *", &["ZSCAN z 0 COUNT 99"]),
        ("HSET h * v", &["HSCAN h 0 COUNT 99"]),
        ("SET * v", &["KEYS *", "SCAN 0 COUNT 99"]),
    ];
    let mut closed = 0;
    for (filled, commands) in sets {
        fill(&mut admin, filled);
        for command in commands {
            let grown = growth(&server, &words(command));
            // A union is a set of its own, as in Redis, before it is a reply.
            let most = if command.starts_with("SUNION") { MOST + (COUNT * BYTES) as u64 } else { MOST };
            assert!(grown < most, "{command}: {grown} bytes more");
            closed += 1;
            let stats = admin.info("stats");
            assert_eq!(stats.get("client_output_buffer_limit_disconnections"), Some(&closed.to_string()), "{command}");
        }
    }
}

#[test]
fn what_changes_a_collection_is_done_beyond_the_limit() {
    let (server, mut admin) = limited();
    fill(&mut admin, "XADD x #-1 f *");
    admin.ok("XGROUP CREATE x group 0");
    let pending = |admin: &mut Client, consumer: &str| {
        admin.command(&["XPENDING", "x", "group", "-", "+", "99", consumer]).items().len()
    };
    assert!(growth(&server, &words("XREADGROUP GROUP group a STREAMS x >")) < MOST);
    assert_eq!(pending(&mut admin, "a"), COUNT, "given, though nobody was told");
    assert!(growth(&server, &words("XREADGROUP GROUP group a STREAMS x 0")) < MOST);
    let ids: Vec<String> = (1..=COUNT).map(|number| format!("{number}-1")).collect();
    let claim: Vec<&str> =
        ["XCLAIM", "x", "group", "b", "0"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    assert!(growth(&server, &claim) < MOST);
    assert_eq!((pending(&mut admin, "a"), pending(&mut admin, "b")), (0, COUNT));
    for (filled, command) in [
        ("RPUSH k *", "LPOP k 39"),
        ("RPUSH k *", "LMPOP 1 k RIGHT COUNT 39"),
        ("ZADD k # *", "ZPOPMIN k 39"),
        ("ZADD k # *", "ZMPOP 1 k MAX COUNT 39"),
    ] {
        fill(&mut admin, filled);
        let grown = growth(&server, &words(command));
        assert!(grown < MOST, "{command}: {grown} bytes more");
        let left = admin.command(&[if filled.starts_with('R') { "LLEN" } else { "ZCARD" }, "k"]);
        assert_eq!(left, 1, "{command}");
    }
}

/// KEYS of many and SORT of many work outside their turn: the client, closed for the reply, may have read meanwhile.
#[test]
fn jobs_beyond_the_limit_answer_nothing() {
    let (server, mut admin) = limited();
    admin.ok("DEBUG POPULATE 40000 name");
    for chunk in 0..40 {
        let elements: Vec<String> = (0..1000).map(|n| format!("{}", chunk * 1000 + n)).collect();
        admin.command(&[vec!["RPUSH".to_owned(), "list".to_owned()], elements].concat());
    }
    assert_eq!(admin.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100kb 0 0"]), "OK");
    for command in ["KEYS *", "SORT list"] {
        let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        client.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answered = Vec::new();
        // It ends when the server closes, be it with an error.
        _ = client.read_to_end(&mut answered);
        assert!(answered.is_empty(), "{command}: {} bytes of a reply that isn't whole", answered.len());
    }
}
