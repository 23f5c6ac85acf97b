//! Chains: a node in the middle that falls and comes back with what its file has, and who follows it.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, text, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// No keys, and no checksum.
const EMPTY: &[u8] = b"REDIS0010\xff\0\0\0\0\0\0\0\0";
const WRITE: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";

fn node() -> Keystead {
    let replication = "(ping_period_s: 3600)";
    Keystead::builder().plugin("replication", replication).plugin("persistence-rdb", "(save: [])").start()
}

fn info(node: &Keystead, section: &str, name: &str) -> String {
    node.client().info(section).get(name).cloned().unwrap_or_default()
}

fn follow(replica: &Keystead, port: u16) {
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {port}"));
}

fn linked(replica: &Keystead) {
    wait_until("the link", DEADLINE, || info(replica, "replication", "master_link_status") == "up");
}

fn value(node: &Keystead) -> String {
    text(&node.client().cmd("GET a"))
}

/// A primary that sends what a test wants, when it wants it.
struct Primary(TcpListener);

impl Primary {
    fn new() -> Primary {
        Primary(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next replica's connection behind its PSYNC, and whether that asked for this place.
    fn accept(&self, place: &str) -> (TcpStream, bool) {
        let (mut socket, _) = self.0.accept().unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut input = BufReader::new(socket.try_clone().unwrap());
        loop {
            let words = command(&mut input);
            let answer: &[u8] = match words[0].to_ascii_uppercase().as_str() {
                "PSYNC" => return (socket, words[1..].join(" ") == place),
                "PING" => b"+PONG\r\n",
                _ => b"+OK\r\n",
            };
            socket.write_all(answer).unwrap();
        }
    }
}

fn command(input: &mut impl BufRead) -> Vec<String> {
    let number = |input: &mut dyn BufRead| {
        let mut line = String::new();
        input.read_line(&mut line).unwrap();
        line.trim_end()[1..].parse::<usize>().unwrap()
    };
    let words = number(input);
    let mut word = || {
        let mut bytes = vec![0; number(input) + 2];
        input.read_exact(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()
    };
    (0..words).map(|_| word()).collect()
}

/// Behind its restart it lacks what its replica has of it, until its own primary has sent that.
#[test]
fn a_middle_that_comes_back_behind_its_replica_costs_no_full_sync() {
    let (primary, mut middle, last, id) = (Primary::new(), node(), node(), "a".repeat(40));
    follow(&middle, primary.port());
    let (mut link, _) = primary.accept("? -1");
    let full = format!("+FULLRESYNC {id} 100\r\n${}\r\n", EMPTY.len());
    link.write_all(&[full.as_bytes(), EMPTY].concat()).unwrap();
    linked(&middle);
    middle.client().ok("SAVE");
    follow(&last, middle.port());
    linked(&last);
    link.write_all(WRITE).unwrap();
    wait_until("the write", DEADLINE, || value(&last) == "1");
    middle.process.kill();
    middle.restart();
    let (mut link, as_saved) = primary.accept(&format!("{id} 101"));
    assert!(as_saved);
    link.write_all(b"+CONTINUE\r\n").unwrap();
    // Refused when it came first, with a history of its own.
    let told = |text: &str| middle.process.log().matches(text).count();
    let asked = || told("asks for more than this node has yet") + told("Partial resynchronization not accepted") > 1;
    wait_until("its replica", DEADLINE, asked);
    link.write_all(WRITE).unwrap();
    wait_until("both have it", DEADLINE, || value(&middle) == "1");
    linked(&last);
    let stats = |name| info(&middle, "stats", name);
    assert_eq!((stats("sync_full"), stats("sync_partial_ok")), ("0".into(), "1".into()), "{}", middle.process.log());
    assert_eq!(value(&last), "1");
}
