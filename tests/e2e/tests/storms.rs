//! Storms before AUTH: crowds that connect and never authenticate. Whoever did authenticate is served in time, and what the
//! crowd can make the server hold has a bound: places by `maxclients`, input and output by what a stranger may have.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, wait_until};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Places in the server: fewer than those who come, and than files that a process usually may have open.
const PLACES: usize = 400;
/// Strangers who want to stay.
const STRANGERS: usize = 3000;
/// Those who are gone before they were looked at.
const KNOCKS: usize = 3000;
/// How long who authenticated waits at most. A reply takes microseconds; a loaded machine gets the rest.
const IN_TIME: Duration = Duration::from_secs(3);
/// What a stranger may have unread in the server: ten words of 16 KiB.
const WORDS: usize = 10;
const WORD: usize = 16 << 10;

fn guarded() -> Keystead {
    let places = format!("limits: (maxclients: {PLACES})");
    Keystead::builder().server("requirepass: \"secret\"").section(&places).start()
}

/// A client that has authenticated and waits for no reply longer than `IN_TIME`.
fn known(node: &Keystead) -> Client {
    let mut client = node.client();
    client.ok("AUTH secret");
    client.set_reply_limit(IN_TIME);
    client
}

/// Resident memory of a process in bytes.
fn resident(node: &Keystead) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// The longest command that a stranger may send, but for its end.
fn unfinished() -> Vec<u8> {
    let mut bytes = format!("*{WORDS}\r\n").into_bytes();
    for _ in 0..WORDS {
        bytes.extend(format!("${WORD}\r\n").bytes());
        bytes.extend(vec![b'x'; WORD]);
        bytes.extend(b"\r\n");
    }
    bytes.truncate(bytes.len() - 3);
    bytes
}

/// Strangers come one after the other and stay where they are let in; how many were not.
fn crowd(node: &Keystead) -> (Vec<Client>, usize) {
    let (mut inside, mut refused) = (Vec::new(), 0);
    for _ in 0..STRANGERS {
        let mut stranger = node.client();
        let asked = stranger.send(&["PING"]);
        match stranger.read() {
            Ok(reply) if reply == "NOAUTH Authentication required." => {
                stranger.send_raw(&unfinished()).unwrap();
                inside.push(stranger);
            }
            Ok(reply) => {
                assert_eq!(reply, "ERR max number of clients reached");
                assert!(stranger.is_closed_within(DEADLINE));
                refused += 1;
            }
            // Closed with the question unread: the system may drop what it was told.
            Err(error) => {
                assert!(inside.len() + 2 >= PLACES, "{asked:?}, {error}, with {} inside", inside.len());
                refused += 1;
            }
        }
    }
    (inside, refused)
}

#[test]
fn a_crowd_of_strangers_starves_nobody_and_has_its_bound() {
    let node = guarded();
    let mut client = known(&node);
    wait_until("the start's own probe is gone", DEADLINE, || client.info("clients")["connected_clients"] == "1");
    let before = resident(&node);
    let (storm, served) = (AtomicBool::new(true), AtomicU64::new(0));
    let (inside, refused) = thread::scope(|scope| {
        scope.spawn(|| {
            // A panic here, a reply that was late, fails the test when the scope ends.
            while storm.load(Ordering::Acquire) {
                let n = served.fetch_add(1, Ordering::AcqRel) as i64 + 1;
                assert_eq!(client.cmd("INCR replies"), n);
            }
        });
        let knocking = scope.spawn(|| (0..KNOCKS).for_each(|_| drop(Client::try_connect(node.port()))));
        let come = thread::Builder::new().spawn_scoped(scope, || crowd(&node)).unwrap().join();
        let knocked = knocking.join();
        storm.store(false, Ordering::Release);
        assert!(knocked.is_ok());
        come.unwrap()
    });
    assert!(served.load(Ordering::Acquire) > 1000, "{served:?} replies in all that time");
    assert_eq!(inside.len() + refused, STRANGERS);
    assert!(inside.len() < PLACES, "{} strangers beside one client", inside.len());
    let mut client = known_again(&node, inside, before);
    assert_eq!(client.cmd("GET replies"), served.load(Ordering::Acquire).to_string().as_str());
}

/// With all places taken: what they cost, and that they are free again when the strangers go.
fn known_again(node: &Keystead, inside: Vec<Client>, before: usize) -> Client {
    let grown = resident(node).saturating_sub(before);
    let bound = inside.len() * 2 * WORDS * WORD;
    assert!(grown < bound, "{} strangers took {grown} bytes", inside.len());
    drop(inside);
    wait_until("places are free again", DEADLINE, || {
        node.client().try_command(&["AUTH", "secret"]).is_ok_and(|reply| reply == "OK")
    });
    let mut client = known(node);
    wait_until("all strangers are forgotten", DEADLINE, || {
        client.info("clients")["connected_clients"].parse::<usize>().unwrap() < 4
    });
    let stats = client.info("stats");
    assert!(stats["rejected_connections"].parse::<usize>().unwrap() >= STRANGERS - PLACES, "{stats:?}");
    client
}

#[test]
fn a_stranger_who_asks_and_never_reads_is_cut_off() {
    let node = guarded();
    let mut client = known(&node);
    let before = resident(&node);
    let question = b"GET something\r\n".repeat(4096);
    for _ in 0..5 {
        let mut stranger = node.client();
        // The system's own buffers take some megabytes of replies first.
        let cut = (0..2000).find(|_| stranger.send_raw(&question).is_err());
        assert!(cut.is_some(), "the server took 2,000 times 4,096 questions and held the replies");
        client.ok("PING");
    }
    let stats = client.info("stats");
    assert_eq!(stats["client_output_buffer_limit_disconnections"], "5", "{stats:?}");
    let grown = resident(&node).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes");
}

#[test]
fn a_stranger_s_time_ends_and_a_client_s_does_not() {
    let node = Keystead::builder().server("requirepass: \"secret\"").section("limits: (auth_timeout: 1)").start();
    let mut client = known(&node);
    let mut stranger = node.client();
    assert!(stranger.is_closed_within(DEADLINE));
    assert_eq!(client.cmd("PING"), "PONG");
}
