//! Syncs that don't come to their end: a payload that breaks off or makes no sense, an end of the process in the middle of a
//! load, a stream that is no stream, and what of our data and its history is left then.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, Reply, eventually, text, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const NO_ID: &str = "0000000000000000000000000000000000000000";
/// The last record has the key of the first; a checksum of 0 is none.
const TWICE: &[u8] = b"REDIS0010\xfe\x00\x00\x01k\x01v\x00\x01l\x01v\x00\x01k\x01w\xff\0\0\0\0\0\0\0\0";
const UNSAVED: &str = "ERR the file couldn't be written: the keys are gone with a load that failed, and what is on the disk \
                       stays";

fn node(config: &str) -> Keystead {
    Keystead::builder()
        .plugin("replication", &format!("(ping_period_s: 3600, {config})"))
        .plugin("persistence-rdb", "(save: [], rdbcompression: false)")
        .start()
}

fn info(node: &Keystead, section: &str, name: &str) -> String {
    node.client().info(section).get(name).cloned().unwrap_or_default()
}

fn linked(replica: &Keystead) {
    wait_until("the link", DEADLINE, || info(replica, "replication", "master_link_status") == "up");
}

fn follow(replica: &Keystead, port: u16) {
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {port}"));
}

fn keys(node: &Keystead) -> Option<i64> {
    node.client().cmd("DBSIZE").as_int()
}

/// The bytes of an RDB file with some keys, more than one batch of them.
fn payload() -> Vec<u8> {
    let donor = node("");
    let mut client = donor.client();
    client.ok("DEBUG POPULATE 2000 foreign 500");
    client.send(&["SYNC"]).unwrap();
    let mut got: Vec<u8> = Vec::new();
    let whole = eventually(DEADLINE, || {
        got.extend(client.drain(Duration::from_millis(50)));
        let at = got.iter().position(|byte| *byte == b'$')?;
        let end = at + got[at..].iter().position(|byte| *byte == b'\r')?;
        let len: usize = std::str::from_utf8(&got[at + 1..end]).ok()?.parse().ok()?;
        got.get(end + 2..end + 2 + len).map(<[u8]>::to_vec)
    });
    whole.unwrap()
}

/// A primary that says what a test wants.
struct Stranger(TcpListener);

/// A replica that has sent its PSYNC.
struct Caller {
    input: BufReader<TcpStream>,
    psync: Vec<String>,
}

impl Stranger {
    fn new() -> Stranger {
        Stranger(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next replica that gets as far as PSYNC.
    fn accept(&self) -> Caller {
        let (socket, _) = self.0.accept().unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut input = BufReader::new(socket);
        loop {
            let words = command(&mut input);
            let answer: &[u8] = match words[0].to_ascii_uppercase().as_str() {
                "PSYNC" => return Caller { input, psync: words },
                "PING" => b"+PONG\r\n",
                _ => b"+OK\r\n",
            };
            input.get_mut().write_all(answer).unwrap();
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

impl Caller {
    fn say(&mut self, bytes: &[u8]) {
        self.input.get_mut().write_all(bytes).unwrap();
    }

    /// A full sync with a payload that is said to have `len` bytes.
    fn full(&mut self, len: usize, bytes: &[u8]) {
        self.say(format!("+FULLRESYNC {} 100\r\n${len}\r\n", "a".repeat(40)).as_bytes());
        self.say(bytes);
    }

    /// Until the replica hangs up.
    fn is_left(&mut self) -> bool {
        let since = Instant::now();
        let mut sink = [0; 4096];
        while since.elapsed() < DEADLINE {
            match self.input.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
        false
    }
}

/// What is left of a load in place that breaks off belongs to nobody: no keys, no backlog, no history that anybody may go on
/// from, on the disk as little as in memory.
#[test]
fn a_load_that_breaks_off_leaves_no_keys_and_no_history() {
    let rdb = payload();
    let mut nonsense = rdb[..rdb.len() / 2].to_vec();
    nonsense.extend([0xff; 5000]);
    // Where the file is made first, only a load notices what is wrong with the keys.
    let cases = [("disabled", TWICE.to_vec(), TWICE.len()), ("on-empty-db", nonsense, rdb.len())];
    let half = ("on-empty-db", rdb[..rdb.len() / 2].to_vec(), rdb.len());
    for (mode, bytes, len) in cases.into_iter().chain([half]) {
        let stranger = Stranger::new();
        let (node, other) = (node(""), node(""));
        follow(&other, node.port());
        linked(&other);
        node.client().ok(&format!("CONFIG SET repl-diskless-load {mode}"));
        node.client().ok("SET own 1");
        if mode != "disabled" {
            node.client().ok("DEL own");
        }
        let (replid, offset) =
            (info(&node, "replication", "master_replid"), info(&node, "replication", "master_repl_offset"));
        follow(&node, stranger.port());
        let mut caller = stranger.accept();
        assert_eq!(caller.psync[1], replid);
        caller.full(len, &bytes);
        wait_until("the load", DEADLINE, || node.process.log().contains("Loading DB in memory"));
        drop(caller);
        // Whoever had this position has it no more.
        assert_eq!(stranger.accept().psync[1..], ["?", "-1"], "{mode}");
        assert_eq!((info(&node, "persistence", "loading"), keys(&node)), ("0".into(), Some(0)), "{mode}");
        assert_eq!(info(&node, "replication", "repl_backlog_active"), "0");
        assert_eq!(node.client().cmd("SAVE"), Reply::Error(UNSAVED.into()), "{mode}");
        assert!(!node.dir().join("dump.rdb").exists(), "{mode}");
        node.client().ok("REPLICAOF NO ONE");
        assert_eq!(info(&node, "replication", "master_replid2"), NO_ID);
        node.client().ok("SAVE");
        let next = offset.parse::<u64>().unwrap() + 1;
        let answer = text(&node.client().cmd(&format!("PSYNC {replid} {next}")));
        assert!(answer.starts_with("FULLRESYNC "), "{mode}: {answer}");
    }
}

/// How many bases its append-only file has had.
fn bases(node: &Keystead) -> usize {
    node.process.log().matches("Background AOF rewrite finished successfully").count()
}

/// A node with files that have 500 keys: a snapshot, and with a log both.
fn with_files(log: bool) -> Keystead {
    let node = Keystead::builder().server("databases: 4").plugin("replication", "()");
    let node = node.plugin("persistence-rdb", "(save: [(3600, 1)])");
    let node = if log { node.plugin("persistence-aof", "()") } else { node }.start();
    node.client().ok("DEBUG POPULATE 500");
    node.client().ok("SAVE");
    if log {
        let before = bases(&node);
        assert!(matches!(node.client().cmd("BGREWRITEAOF"), Reply::Simple(_)));
        wait_until("the base", DEADLINE, || bases(&node) > before);
    }
    node
}

/// A payload that is seen to be unfit while it comes costs nothing, neither in memory nor on the disk.
#[test]
fn a_payload_that_is_seen_to_be_unfit_touches_nothing() {
    let mut damaged = payload();
    *damaged.last_mut().unwrap() ^= 1;
    let elsewhere = b"REDIS0010\xfe\x0c\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0".to_vec();
    for (rdb, why) in [(damaged, "checksum"), (elsewhere, "the data has a database 12, this server has 4")] {
        let (stranger, mut node) = (Stranger::new(), with_files(true));
        follow(&node, stranger.port());
        let mut caller = stranger.accept();
        caller.full(rdb.len(), &rdb);
        assert!(caller.is_left(), "{why}");
        // It has been through the whole of it when it asks again.
        drop(stranger.accept());
        let log = node.process.log();
        assert!(log.contains("Failed trying to load the MASTER synchronization DB") && log.contains(why), "{log}");
        assert_eq!(keys(&node), Some(500), "{why}");
        node.process.terminate();
        assert!(node.process.wait_exit(DEADLINE).success());
        node.restart();
        assert_eq!(keys(&node), Some(500), "{why}");
    }
}

/// What a load leaves that failed in the middle doesn't go into the files: a restart has what they had. Redis ends the process.
#[test]
fn a_load_that_fails_leaves_the_files() {
    for (log, end) in [(true, "SIGKILL"), (true, "SIGTERM"), (false, "SIGKILL"), (false, "SIGTERM")] {
        let (stranger, mut node) = (Stranger::new(), with_files(log));
        follow(&node, stranger.port());
        let mut caller = stranger.accept();
        caller.full(TWICE.len(), TWICE);
        assert!(caller.is_left());
        drop(stranger.accept());
        assert_eq!(keys(&node), Some(0));
        let saved = node.client().cmd("SAVE");
        if end == "SIGKILL" {
            node.process.kill();
        } else {
            node.process.terminate();
            assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
        }
        node.restart();
        assert_eq!(keys(&node), Some(500), "with a log: {log}, {end}");
        assert_eq!(saved, Reply::Error(UNSAVED.into()), "{end}");
    }
}

/// A restart would go on from the place that the file names.
#[test]
fn a_payload_that_names_another_place_than_its_primary_is_not_kept() {
    let (rdb, stranger, mut node) = (payload(), Stranger::new(), with_files(false));
    follow(&node, stranger.port());
    let mut caller = stranger.accept();
    caller.full(rdb.len(), &rdb);
    linked(&node);
    assert_eq!(keys(&node), Some(2000));
    let files = || std::fs::read_dir(node.dir()).unwrap().flatten();
    let rdbs = || files().filter(|file| file.path().extension().is_some_and(|end| end == "rdb")).count();
    wait_until("the payload's end", DEADLINE, || rdbs() == 1);
    node.process.kill();
    node.restart();
    assert_eq!(keys(&node), Some(500), "{}", node.process.log());
}

/// The next load that is whole goes into the files, and so does what a primary has.
#[test]
fn what_follows_a_load_that_failed_is_saved() {
    for promoted in [true, false] {
        let (rdb, stranger, mut node) = (payload(), Stranger::new(), with_files(true));
        follow(&node, stranger.port());
        let mut caller = stranger.accept();
        caller.full(TWICE.len(), TWICE);
        assert!(caller.is_left());
        let mut caller = stranger.accept();
        assert_eq!(keys(&node), Some(0));
        let before = bases(&node);
        let left = if promoted {
            node.client().ok("REPLICAOF NO ONE");
            node.client().ok("SET own 1");
            1
        } else {
            caller.full(rdb.len(), &rdb);
            linked(&node);
            2000
        };
        node.client().ok("SAVE");
        wait_until("the log", DEADLINE, || bases(&node) > before);
        if promoted {
            assert_eq!(node.client().cmd("WAITAOF 1 0 0"), Reply::Array(vec![Reply::Int(1), Reply::Int(0)]));
        }
        drop((caller, stranger));
        node.process.kill();
        node.restart();
        assert_eq!(keys(&node), Some(left), "promoted: {promoted}");
    }
}

/// A shadow is nothing until it is whole.
#[test]
fn a_shadow_that_breaks_off_leaves_everything() {
    let (rdb, stranger, node) = (payload(), Stranger::new(), node("diskless_load: swapdb"));
    node.client().ok("SET own 1");
    let replid = info(&node, "replication", "master_replid");
    follow(&node, stranger.port());
    let mut caller = stranger.accept();
    caller.full(rdb.len(), &rdb[..rdb.len() / 2]);
    wait_until("the load", DEADLINE, || node.process.log().contains("Loading DB in memory"));
    drop(caller);
    assert_eq!(stranger.accept().psync[1], replid);
    assert_eq!((text(&node.client().cmd("GET own")), keys(&node)), ("1".into(), Some(1)));
}

/// SHUTDOWN while loading means NOSAVE: a file of half a data set would take the place of a whole one.
/// Redis ends the process.
#[test]
fn a_payload_that_has_a_key_twice_is_refused() {
    let rdb = TWICE;
    for (mode, left) in [("disabled", 0), ("on-empty-db", 0), ("swapdb", 1)] {
        let (stranger, node) = (Stranger::new(), node(""));
        node.client().ok("SET own 1");
        node.client().ok(&format!("CONFIG SET repl-diskless-load {mode}"));
        follow(&node, stranger.port());
        let mut caller = stranger.accept();
        caller.full(rdb.len(), rdb);
        assert!(caller.is_left(), "{mode}");
        wait_until("a line in the log", DEADLINE, || node.process.log().contains("RDB has duplicated key 'k' in DB 0"));
        wait_until("what is left", DEADLINE, || keys(&node) == Some(left));
    }
}

#[test]
fn an_end_in_the_middle_of_a_load_saves_nothing() {
    for (log, mode) in [(false, "disabled"), (false, "on-empty-db"), (true, "disabled"), (true, "on-empty-db")] {
        let mut primary = node("");
        primary.client().ok("DEBUG POPULATE 2000 foreign 500");
        let plugins = Keystead::builder().plugin("replication", "()");
        let plugins = plugins.plugin("persistence-rdb", "(save: [(3600, 1)])");
        let plugins = if log { plugins.plugin("persistence-aof", "()") } else { plugins };
        let mut replica = plugins.start();
        let mut client = replica.client();
        client.ok(&format!("CONFIG SET key-load-delay 10000 repl-diskless-load {mode}"));
        client.ok("SET own 1");
        if mode == "on-empty-db" {
            client.ok("DEL own");
        }
        client.ok("SAVE");
        let before = keys(&replica);
        follow(&replica, primary.port());
        let some =
            || info(&replica, "keyspace", "db0").split(',').next().is_some_and(|keys| keys.len() > "keys=1".len());
        wait_until("half a load", DEADLINE, || info(&replica, "persistence", "loading") == "1" && some());
        primary.process.kill();
        replica.process.terminate();
        assert!(replica.process.wait_exit(DEADLINE).success(), "{}", replica.process.log());
        assert_ne!(before, None);
        replica.restart();
        assert_eq!(keys(&replica), before, "with a log: {log}, {mode}");
    }
}

/// A line of text in a primary's stream isn't executed, and neither is anything behind it: the next sync takes everything.
#[test]
fn a_line_of_text_in_the_stream_ends_the_link() {
    let (rdb, stranger, mut node) = (payload(), Stranger::new(), node(""));
    follow(&node, stranger.port());
    for (round, line) in ["SET inl 1\r\n", "\u{1}\u{2}nonsense\r\n"].into_iter().enumerate() {
        let mut caller = stranger.accept();
        assert!(round == 0 || caller.psync[1..] == ["?", "-1"], "{:?}", caller.psync);
        caller.full(rdb.len(), &rdb);
        // A sign of life of old servers is none of that.
        caller.say(b"\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n");
        wait_until("the stream", DEADLINE, || text(&node.client().cmd("GET a")) == "1");
        caller.say(format!("{line}*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n").as_bytes());
        assert!(caller.is_left(), "{line}");
        assert_eq!(node.client().cmd("EXISTS inl b"), Reply::Int(0));
    }
    let asked_anew = stranger.accept();
    assert_eq!(asked_anew.psync[1..], ["?", "-1"]);
    let (given_up, now) = ("a".repeat(40), info(&node, "replication", "master_replid"));
    assert_ne!(now, given_up, "its own replicas don't go on by that history");
    let log = node.process.log();
    assert!(log.contains("WARNING: Receiving inline protocol from master, master stream corruption?"), "{log}");
    node.client().ok("SAVE");
    drop(asked_anew);
    node.process.kill();
    node.restart();
    let psync = stranger.accept().psync;
    assert_ne!(psync[1], given_up, "nor does its file: {psync:?}");
}

/// As redis-cli --replica asks: what follows the mark at once couldn't be told from the payload.
#[test]
fn a_marked_payload_is_followed_by_nothing_until_it_is_acknowledged_by_sync_too() {
    let node = node("");
    let mut replica = node.client();
    replica.ok("REPLCONF capa eof");
    replica.send(&["SYNC"]).unwrap();
    let mut got: Vec<u8> = Vec::new();
    let ends = |got: &[u8]| {
        let at = got.windows(5).position(|word| word == b"$EOF:")? + 5;
        let mark = got.get(at..at + 40)?;
        (got.len() > at + 80 && got.ends_with(mark)).then_some(())
    };
    eventually(DEADLINE, || {
        got.extend(replica.drain(Duration::from_millis(50)));
        ends(&got)
    })
    .unwrap();
    let state = || info(&node, "replication", "slave0");
    wait_until("it loads", DEADLINE, || state().contains("state=send_bulk"));
    node.client().ok("SET behind 1");
    replica.send(&["REPLCONF", "ACK", "0"]).unwrap();
    wait_until("it is online", DEADLINE, || state().contains("state=online"));
    got.clear();
    wait_until("the stream", DEADLINE, || {
        got.extend(replica.drain(Duration::from_millis(50)));
        got.windows(6).any(|word| word == b"behind")
    });
}

/// The setting holds for a sync that waits already.
#[test]
fn a_shorter_timeout_ends_a_sync_that_stands_still() {
    let (stranger, node) = (Stranger::new(), node("timeout_s: 3600"));
    follow(&node, stranger.port());
    let mut caller = stranger.accept();
    caller.full(1000, b"REDIS0010");
    wait_until("the payload", DEADLINE, || info(&node, "replication", "master_sync_read_bytes") == "9");
    node.client().ok("CONFIG SET repl-timeout 1");
    assert!(caller.is_left());
}

/// Who asks for a payload through the disk and goes at once leaves no file there.
#[test]
fn replicas_that_hang_up_leave_no_files() {
    let node = node("diskless_sync: false");
    node.client().ok("DEBUG POPULATE 1000");
    for _ in 0..60 {
        node.client().send(&["PSYNC", "?", "-1"]).unwrap();
    }
    wait_until("they are gone", DEADLINE, || {
        info(&node, "stats", "sync_full") == "60" && info(&node, "replication", "connected_slaves") == "0"
    });
    let files = || std::fs::read_dir(node.dir()).unwrap().flatten().map(|file| file.file_name());
    let left = || files().filter(|name| name.to_string_lossy().starts_with("temp-")).count();
    wait_until("no file", DEADLINE, || left() == 0);
}

/// A number is one only as Redis writes it.
#[test]
fn an_offset_that_is_no_number_is_refused() {
    let node = node("");
    for offset in ["+1", "007", "-0", "1x"] {
        let answer = node.client().cmd(&format!("PSYNC ? {offset}"));
        assert_eq!(answer, Reply::Error("ERR value is not an integer or out of range".into()), "{offset}");
    }
}

/// A primary that came back empty isn't followed, until somebody says that it is meant.
#[test]
fn an_empty_primary_is_taken_when_it_is_asked_for_again() {
    let mut primary = Keystead::builder().plugin("replication", "()").start();
    let replica = node("");
    primary.client().ok("SET a 1");
    follow(&replica, primary.port());
    linked(&replica);
    primary.process.kill();
    primary.restart();
    let kept = || info(&replica, "replication", "keystead_primary_came_back_empty") == "1";
    wait_until("it is refused", DEADLINE, kept);
    assert_eq!(text(&replica.client().cmd("GET a")), "1");
    let line = format!("REPLICAOF 127.0.0.1 {}", primary.port());
    assert_eq!(text(&replica.client().cmd(&line)), "OK");
    linked(&replica);
    assert_eq!(keys(&replica), Some(0));
    assert!(!kept());
    assert_eq!(text(&replica.client().cmd(&line)), "OK Already connected to specified master");
}

/// Nobody acknowledges what a replica's clients wait for: they are told at once.
#[test]
fn who_waits_for_acknowledgements_is_told_of_a_demotion() {
    for line in ["WAIT 1 0", "WAITAOF 1 0 0", "WAITAOF 0 1 0", "WAIT 1 3600000"] {
        let node = Keystead::builder().plugin("replication", "()").plugin("persistence-aof", "()").start();
        let mut client = node.client();
        client.ok("CONFIG SET appendfsync no");
        client.ok("SET a 1");
        client.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
        wait_until("it waits", DEADLINE, || info(&node, "clients", "blocked_clients") == "1");
        follow(&node, 1);
        let told = Reply::Error(
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)".into(),
        );
        assert_eq!(client.read().unwrap(), told, "{line}");
    }
}
