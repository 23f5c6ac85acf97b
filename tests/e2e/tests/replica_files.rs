//! What a replica's files say of their place in the primary's stream: behind a kill it goes on by that, and a database
//! that isn't the stream's would get writes that are another's.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, wait_until};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Enough for the stream to be somewhere else than at the cut at least once.
const REWRITES: usize = 20;

fn info(node: &Keystead, section: &str, name: &str) -> String {
    node.client().info(section).get(name).cloned().unwrap_or_default()
}

/// Notes of a file whose database isn't the one that the stream has selected there, and how many notes there are.
fn wrong_notes(file: &Path) -> (Vec<String>, usize) {
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (mut db, mut wrong, mut notes) = (None, Vec::new(), 0);
    for (at, line) in lines.iter().enumerate() {
        if *line == "SELECT" {
            db = Some(lines[at + 2]);
        }
        if let (Some(note), Some(db)) = (line.strip_prefix("#KS:"), db) {
            notes += 1;
            if note.split(':').nth(1) != Some(db) {
                wrong.push(format!("{}: {line}, and {db} is selected", file.display()));
            }
        }
    }
    (wrong, notes)
}

#[test]
fn a_file_that_a_rewrite_closes_names_the_database_of_its_end() {
    let primary = Keystead::primary();
    let replica = Keystead::builder()
        .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {}))", primary.port()))
        .plugin("persistence-aof", "(enabled: true, keep_history: true, rewrite_percentage: 0)")
        .start();
    wait_until("the link", DEADLINE, || info(&replica, "replication", "master_link_status") == "up");
    let (stop, port) = (AtomicBool::new(false), primary.port());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::connect(port);
            let selects = ["SELECT 0", "SELECT 1", "SELECT 2"];
            for select in selects.iter().cycle().take_while(|_| !stop.load(Ordering::Acquire)) {
                let mut lines = vec![*select];
                lines.extend(["SET a 1"; 20]);
                client.pipeline(&lines);
            }
        });
        let mut r = replica.client();
        let settled = |r: &mut Client| {
            let info = r.info("persistence");
            info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0"
        };
        for _ in 0..REWRITES {
            wait_until("the rewrite before", DEADLINE, || settled(&mut r));
            r.cmd("BGREWRITEAOF");
        }
        wait_until("the last rewrite", DEADLINE, || settled(&mut r));
        stop.store(true, Ordering::Release);
    });
    let (mut wrong, mut notes) = (Vec::new(), 0);
    for entry in std::fs::read_dir(replica.dir().join("appendonlydir")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".incr.aof") {
            let (found, all) = wrong_notes(&path);
            wrong.extend(found);
            notes += all;
        }
    }
    assert!(notes > REWRITES, "{notes} notes");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The database that an RDB file says the stream goes on in: a string behind its name, short enough for one byte of length, or
/// a number in one byte.
fn stream_db(file: &Path) -> Option<u32> {
    const NAME: &[u8] = b"repl-stream-db";
    let bytes = std::fs::read(file).unwrap();
    let at = bytes.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    match bytes[at] {
        0xc0 => Some(bytes[at + 1].into()),
        len => std::str::from_utf8(&bytes[at + 1..][..len.into()]).ok()?.parse().ok(),
    }
}

/// Nothing of the stream came behind the start, or behind the sync: what it has selected is known from the file before, or from
/// the payload.
#[test]
fn a_file_of_a_replica_that_heard_nothing_yet_names_the_database_of_the_stream() {
    let mut primary = Keystead::builder().plugin("replication", "(ping_period_s: 3600)").start();
    let of = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let start =
        |of: &str| Keystead::builder().plugin("replication", of).plugin("persistence-rdb", "(save: [])").start();
    let linked = |node: &Keystead| {
        wait_until("the link", DEADLINE, || info(node, "replication", "master_link_status") == "up");
    };
    let mut first = start(&of);
    linked(&first);
    let mut p = primary.client();
    p.ok("SELECT 9");
    p.ok("SET a 1");
    assert_eq!(p.cmd("WAIT 1 5000").as_int(), Some(1));
    // Its own replica takes the payload of a stream that goes on in 9.
    let second = start(&format!("(replicaof: (\"127.0.0.1\", {}))", first.port()));
    linked(&second);
    first.client().ok("SAVE");
    primary.process.kill();
    second.client().ok("SAVE");
    assert_eq!(stream_db(&second.dir().join("dump.rdb")), Some(9), "behind its sync");
    first.process.kill();
    first.restart();
    std::fs::remove_file(first.dir().join("dump.rdb")).unwrap();
    first.client().ok("SAVE");
    assert_eq!(stream_db(&first.dir().join("dump.rdb")), Some(9), "behind its start");
}
