//! `timeout` and `tcp-keepalive`: who is taken for gone, by the server and by the system.

use keystead_harness::{DEADLINE, Keystead, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// More than the sockets of both sides hold.
const VALUE: usize = 48 << 20;
/// Three times the limit, which is two seconds.
const SLOWLY: Duration = Duration::from_secs(6);
/// Pieces in which a slow client sends or reads.
const STEPS: u32 = 60;

fn impatient() -> Keystead {
    Keystead::builder().section("limits: (timeout: 2)").start()
}

fn raw(node: &Keystead) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", node.port())).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a limit");
    stream
}

#[test]
fn a_slow_reader_gets_all_of_a_reply_and_a_slow_sender_its_answer() {
    let node = impatient();
    let (mut reader, mut sender) = (raw(&node), raw(&node));
    node.client().ok(&format!("SETRANGE k {} x", VALUE - 1));
    reader.write_all(b"GET k\r\n").expect("sent");
    sender.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nl\r\n${VALUE}\r\n").as_bytes()).expect("sent");
    let (mut piece, step) = (vec![0; VALUE / STEPS as usize], SLOWLY / STEPS);
    let begun = Instant::now();
    for _ in 0..STEPS {
        reader.read_exact(&mut piece).expect("more of the value");
        sender.write_all(&piece).expect("taken");
        sleep(step);
    }
    assert!(begun.elapsed() > SLOWLY);
    let mut rest = vec![0; VALUE + format!("${VALUE}\r\n\r\n").len() - piece.len() * STEPS as usize];
    reader.read_exact(&mut rest).expect("the end of the value");
    sender.write_all(&vec![b'x'; VALUE - piece.len() * STEPS as usize]).expect("taken");
    sender.write_all(b"\r\n").expect("taken");
    let mut answer = [0; 5];
    sender.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+OK\r\n");
    // And then their time runs, as anybody's.
    assert_eq!((reader.read(&mut answer).ok(), sender.read(&mut answer).ok()), (Some(0), Some(0)));
}

#[test]
fn a_worker_that_waited_long_for_its_job_lives_to_ask_for_the_next() {
    let node = impatient();
    let mut worker = node.client();
    worker.send(&["BLPOP", "jobs", "0"]).expect("sent");
    // Longer than the limit.
    sleep(Duration::from_millis(2500));
    for job in ["one", "two", "three"] {
        node.client().ok(&format!("RPUSH jobs {job}"));
        assert_eq!(worker.read().expect("a job").items()[1].as_text().as_deref(), Some(job));
        // Some beats of the heart later.
        sleep(Duration::from_millis(300));
        worker.send(&["BLPOP", "jobs", "0"]).expect("it is connected");
    }
    node.client().ok("RPUSH jobs four");
    assert_eq!(worker.read().expect("a job").items()[1].as_text().as_deref(), Some("four"));
    assert!(worker.is_closed_within(DEADLINE), "an idle one is closed");
}

/// The kind of the timer of the server's side of a connection, and in how many seconds it ends: from /proc/net/tcp.
fn timer(node: &Keystead, peer: u16) -> (String, u64) {
    let (here, there) = (format!(":{:04X}", node.port()), format!(":{peer:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, left) = words.get(5)?.split_once(':')?;
        let left = u64::from_str_radix(left, 16).expect("hexadecimal") / 100;
        (words[1].ends_with(&here) && words[2].ends_with(&there)).then(|| (kind.to_owned(), left))
    };
    table.lines().find_map(of).expect("its line")
}

/// In how many seconds the system will ask whether somebody who connects now lives; None: never.
fn asked_in(node: &Keystead) -> Option<u64> {
    let mut client = node.client();
    let info = client.ok("CLIENT INFO").as_text().expect("text");
    let peer = info.split(' ').find_map(|word| word.strip_prefix("addr=127.0.0.1:")).expect("its address");
    let peer = peer.parse().expect("a port");
    let mut found = (String::new(), 0);
    // Until the reply is acknowledged there is another timer.
    wait_until("nothing is on its way", DEADLINE, || {
        found = timer(node, peer);
        matches!(&*found.0, "00" | "02")
    });
    (found.0 == "02").then_some(found.1)
}

#[test]
fn a_new_keepalive_holds_for_those_who_come_then() {
    let node = Keystead::builder().section("limits: (tcp_keepalive: 200)").start();
    let mut first = node.client();
    let near = |wanted: u64| {
        let seconds = asked_in(&node);
        assert!(seconds.is_some_and(|at| (wanted - 20..=wanted).contains(&at)), "{seconds:?} and not {wanted}");
    };
    near(200);
    first.ok("CONFIG SET tcp-keepalive 60");
    near(60);
    first.ok("CONFIG SET tcp-keepalive 0");
    assert_eq!(asked_in(&node), None);
    first.ok("CONFIG SET tcp-keepalive 90 timeout 7");
    assert!(first.cmd("CONFIG SET tcp-keepalive 30 port 70000").is_error());
    near(90);
}
