//! Bad input of every kind: each gets a clear error, nothing else suffers, no memory is taken on credit.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, wait_until};
use std::time::Duration;

/// A start that must fail: its exit is a failure and its log says all of `words`.
#[track_caller]
fn refused(mut node: Keystead, words: &[&str]) {
    let status = node.process.wait_exit(DEADLINE);
    let log = node.process.log();
    assert!(!status.success(), "started:\n{log}");
    for word in words {
        assert!(log.contains(word), "no {word:?} in:\n{log}");
    }
}

/// Resident memory of a process in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_busy_port_is_named() {
    let first = Keystead::plain();
    let second = Keystead::builder().port(first.port()).launch();
    refused(second, &[&format!("127.0.0.1:{}", first.port()), "Address already in use"]);
    assert_eq!(first.client().cmd("PING"), "PONG");
}

#[test]
fn an_unknown_key_is_shown_in_its_line() {
    refused(
        Keystead::builder().server("databasse: 4").launch(),
        &["keystead.ron:2:", "did you mean 'databases'?", "^"],
    );
    refused(Keystead::builder().section("sloglow: ()").launch(), &["keystead.ron:3:5", "did you mean 'slowlog'?"]);
}

#[test]
fn a_wrong_value_says_what_was_expected() {
    refused(Keystead::builder().server("databases: \"many\"").launch(), &["keystead.ron:2:", "expected integer"]);
    refused(
        Keystead::builder().arg("--set").arg("log.level=loud").launch(),
        &["--set log.level=loud", "expected one of"],
    );
    refused(Keystead::builder().arg("--set").arg("server.prot=1").launch(), &["did you mean 'port'?"]);
    refused(Keystead::builder().arg("--bind").arg("nowhere.invalid").launch(), &["nowhere.invalid"]);
}

#[test]
fn a_missing_library_is_named_with_the_folders() {
    refused(Keystead::builder().plugin("nosuch", "()").launch(), &["libkeystead_nosuch.so", "nosuch"]);
}

#[test]
fn half_a_command_waits_and_hinders_nobody() {
    let node = Keystead::plain();
    let mut half = node.client();
    half.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhel").unwrap();
    let mut other = node.client();
    assert_eq!(other.cmd("SET other 1"), "OK");
    assert_eq!(other.cmd("EXISTS k"), 0);
    half.send_raw(b"lo\r\n").unwrap();
    assert_eq!(half.read().unwrap(), "OK");
    assert_eq!(other.cmd("GET k"), "hello");
}

#[test]
fn one_byte_per_segment_is_understood() {
    let node = Keystead::plain();
    let mut client = node.client();
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\r\n\r\nGET k\r\n" {
        client.send_raw(&[*byte]).unwrap();
    }
    assert_eq!(client.read().unwrap(), "OK");
    assert_eq!(client.read().unwrap(), "a\r\n");
}

#[test]
fn a_512_mb_header_takes_no_memory_on_credit() {
    let node = Keystead::plain();
    let mut other = node.client();
    assert_eq!(other.cmd("PING"), "PONG");
    let before = resident_kib(node.process.pid());
    let mut liars: Vec<Client> = (0..4).map(|_| node.client()).collect();
    for liar in &mut liars {
        liar.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx").unwrap();
    }
    for _ in 0..100 {
        // Turns pass, and the headers are read in one of them.
        other.ok("PING");
    }
    let grown = resident_kib(node.process.pid()).saturating_sub(before);
    assert!(grown < 8 << 10, "four headers took {grown} KiB");
    let mut greedy = node.client();
    greedy.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n").unwrap();
    assert_eq!(greedy.read().unwrap(), "ERR Protocol error: invalid bulk length");
    assert!(greedy.is_closed_within(DEADLINE));
}

#[test]
fn a_large_value_arrives_whole() {
    let node = Keystead::plain();
    let mut client = node.client();
    let value = vec![b'v'; 20 << 20];
    assert_eq!(client.command(&[b"SET".as_slice(), b"big", &value]), "OK");
    assert_eq!(client.cmd("STRLEN big"), 20 << 20);
    assert_eq!(client.cmd("GET big").as_text().unwrap().len(), 20 << 20);
}

#[test]
fn random_bytes_close_one_connection_at_most() {
    let node = Keystead::plain();
    let mut witness = node.client();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..200 {
        let mut client = node.client();
        let mut bytes: Vec<u8> = Vec::new();
        if round % 3 == 0 {
            bytes.extend_from_slice(b"*2\r\n$4\r\n");
        }
        for _ in 0..200 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push((dice >> 33) as u8);
        }
        bytes.extend_from_slice(b"\r\n");
        let _ = client.send_raw(&bytes);
        assert_eq!(witness.cmd("PING"), "PONG", "after round {round}");
    }
    assert_eq!(node.client().cmd("SET a b"), "OK");
}

#[test]
fn broken_protocol_is_answered_in_redis_words_and_closed() {
    let node = Keystead::plain();
    let cases: &[(&[u8], &str)] = &[
        (b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n!4\r\n", "ERR Protocol error: expected '$', got '!'"),
        (b"*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
        (b"GET \"unbalanced\r\n", "ERR Protocol error: unbalanced quotes in request"),
    ];
    for (bytes, answer) in cases {
        let mut client = node.client();
        client.send_raw(bytes).unwrap();
        assert_eq!(client.read().unwrap(), *answer);
        assert!(client.is_closed_within(DEADLINE), "{answer}");
    }
    let mut client = node.client();
    client.send_raw(b"*1\r\n$4\r\nPING\r\n*1\r\n!4\r\n").unwrap();
    assert_eq!(client.read().unwrap(), "PONG");
    assert_eq!(client.read().unwrap(), "ERR Protocol error: expected '$', got '!'");
}

#[test]
fn before_auth_little_is_taken() {
    let node = Keystead::builder().server("requirepass: \"secret\"").start();
    let mut long = node.client();
    long.send_raw(b"*2\r\n$4\r\nECHO\r\n$20000\r\n").unwrap();
    assert_eq!(long.read().unwrap(), "ERR Protocol error: unauthenticated bulk length");
    let mut many = node.client();
    many.send_raw(b"*11\r\n").unwrap();
    assert_eq!(many.read().unwrap(), "ERR Protocol error: unauthenticated multibulk length");
    let mut right = node.client();
    let replies = right.pipeline(&["GET a", "AUTH secret", "SET a 1"]);
    assert!(replies[0] == "NOAUTH Authentication required.", "{replies:?}");
    assert!(replies[1] == "OK" && replies[2] == "OK", "{replies:?}");
}

#[test]
fn a_pipeline_that_is_sent_before_it_is_read_is_answered_whole() {
    let node = Keystead::plain();
    let mut client = node.client();
    let value = "v".repeat(1000);
    client.ok(&format!("SET k {value}"));
    let count = 30_000;
    client.send_raw("GET k\r\n".repeat(count).as_bytes()).unwrap();
    for _ in 0..count {
        assert_eq!(client.read().unwrap().as_text().unwrap().len(), 1000);
    }
}

#[test]
fn a_deep_pipeline_does_not_starve_others() {
    let node = Keystead::plain();
    let mut flood = node.client();
    flood.send_raw("INCR n\r\n".repeat(200_000).as_bytes()).unwrap();
    let mut other = node.client();
    other.set_reply_limit(Duration::from_secs(5));
    assert_eq!(other.cmd("PING"), "PONG");
}

#[test]
fn too_many_clients_are_refused_and_the_others_stay() {
    let node = Keystead::builder().section("limits: (maxclients: 3)").start();
    let mut clients: Vec<Client> = Vec::new();
    wait_until("the start's own probe is gone", DEADLINE, || {
        clients.clear();
        clients = (0..3).map(|_| node.client()).collect();
        clients.iter_mut().all(|c| c.try_command(&["PING"]).is_ok_and(|r| r == "PONG"))
    });
    let mut fourth = node.client();
    assert_eq!(fourth.read().unwrap(), "ERR max number of clients reached");
    assert!(fourth.is_closed_within(DEADLINE));
    assert_eq!(clients[0].cmd("PING"), "PONG");
    drop(clients.pop());
    wait_until("a place is free again", DEADLINE, || node.client().try_command(&["PING"]).is_ok_and(|r| r == "PONG"));
}

#[test]
fn a_web_page_s_request_is_cut_off() {
    let node = Keystead::plain();
    for line in ["POST / HTTP/1.1\r\n", "Host: localhost\r\n"] {
        let mut client = node.client();
        client.send_raw(line.as_bytes()).unwrap();
        client.send_raw(b"SET stolen 1\r\n").ok();
        assert!(client.is_closed_within(DEADLINE), "{line}");
    }
    assert_eq!(node.client().cmd("EXISTS stolen"), 0);
}

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_others_are_served() {
    let node = Keystead::builder()
        .section("limits: (client_output_buffer_limit: \"normal 0 0 0 slave 0 0 0 pubsub 1048576 0 0\")")
        .start();
    let mut lazy = node.client();
    lazy.ok("SUBSCRIBE news");
    let mut publisher = node.client();
    let message = "m".repeat(100_000);
    wait_until("the lazy subscriber is gone", DEADLINE, || publisher.command(&["PUBLISH", "news", &message]) == 0);
    assert_eq!(publisher.cmd("PING"), "PONG");
}

#[test]
fn an_unknown_field_of_a_plugin_is_shown_in_its_line() {
    let node = Keystead::builder().plugin("replication", "(\n            priorty: 5,\n        )").launch();
    refused(node, &["keystead.ron:6:13", "priorty", "did you mean", "priority"]);
}

#[test]
fn a_sentinel_may_not_share_the_data_port() {
    let port = keystead_harness::free_port();
    let sentinel = format!("(port: {port}, monitors: [(name: \"m\", host: \"127.0.0.1\", port: {port}, quorum: 1)])");
    let node = Keystead::builder().port(port).plugin("replication", "()").plugin("sentinel", &sentinel).launch();
    refused(node, &["share", &port.to_string()]);
}

#[test]
fn a_plugin_s_busy_port_is_named() {
    let other = Keystead::plain();
    let sentinel =
        format!("(port: {0}, monitors: [(name: \"m\", host: \"127.0.0.1\", port: {0}, quorum: 1)])", other.port());
    let node = Keystead::builder().plugin("sentinel", &sentinel).launch();
    refused(node, &["Address already in use", &other.port().to_string()]);
}

/// The first half of such a member makes a product 0 for who knows where places begin, as in a server that takes no random
/// number for it.
#[test]
fn members_made_for_one_place_are_scanned_in_parts() {
    const FOLD: [u64; 3] = [0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377, 0x6b65_7973_7465_6164];
    let [base, odd, seed] = FOLD;
    let product = u128::from(seed) * u128::from(odd);
    let begins = (((product as u64) ^ (product >> 64) as u64) ^ base).rotate_right(16);
    let node = Keystead::plain();
    let mut client = node.client();
    for start in (0..3000).step_by(500) {
        let members = (start..start + 500).map(|n| [&begins.to_le_bytes()[..], format!("{n:08}").as_bytes()].concat());
        let command: Vec<Vec<u8>> = [b"SADD".to_vec(), b"s".to_vec()].into_iter().chain(members).collect();
        client.command(&command);
    }
    let Reply::Array(parts) = client.cmd("SSCAN s 0 COUNT 10") else { panic!("a cursor and members") };
    let Some(Reply::Array(members)) = parts.get(1) else { panic!("{parts:?}") };
    assert!(members.len() < 500, "{} of 3000 at once", members.len());
}
