//! Files that aren't what was written: a byte that is another, an end that is missing, a file that is gone. The start is
//! refused with the file and the place, whatever the place; only the tail of the last append-only file may be cut, if so
//! configured. Never does a server begin with less than it was given and say nothing.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, eventually, wait_until};
use std::path::{Path, PathBuf};

/// How a start ended.
enum Start {
    /// With this log.
    Refused(String),
    /// It serves; what it logged until then.
    Serves(String),
}

fn start_again(node: &mut Keystead) -> Start {
    let before = node.process.log().len();
    node.process.restart().unwrap();
    let serves = eventually(DEADLINE, || {
        if !node.process.is_alive() {
            return Some(false);
        }
        let reply = Client::try_connect(node.port()).ok()?.try_command(&["DBSIZE"]).ok()?;
        reply.as_int().map(|_| true)
    });
    let log = node.process.log()[before..].to_owned();
    match serves {
        Some(true) => Start::Serves(log),
        Some(false) => Start::Refused(log),
        None => panic!("neither loaded nor refused\n{log}"),
    }
}

fn refused(node: &mut Keystead, what: &str) -> String {
    match start_again(node) {
        Start::Refused(log) => log.trim_end().lines().last().unwrap().to_owned(),
        Start::Serves(log) => panic!("{what}: it serves {:?} keys\n{log}", node.client().cmd("DBSIZE")),
    }
}

/// Keys of every type; their digest.
fn fill(client: &mut Client) -> String {
    for n in 0..12 {
        client.ok(&format!("SET s:{n} {}", "value-".repeat(n + 1)));
        client.ok(&format!("RPUSH l {n} e{n}"));
        client.ok(&format!("SADD set {n} m{n}"));
        client.ok(&format!("SADD ints {n}"));
        client.ok(&format!("ZADD z {n}.5 m{n}"));
        client.ok(&format!("HSET h f{n} {n}"));
        client.ok(&format!("XADD x {}-1 n {n}", n + 1));
    }
    client.ok("SELECT 3");
    client.ok("SET other db PX 90000000");
    client.ok("SELECT 0");
    client.cmd("DEBUG DIGEST").as_text().unwrap()
}

fn aof(config: &str) -> KeysteadBuilder {
    Keystead::builder().plugin("persistence-aof", config).plugin("replication", "()")
}

fn folder(node: &Keystead) -> PathBuf {
    node.dir().join("appendonlydir")
}

/// The part of the set whose name ends so.
fn part(node: &Keystead, end: &str) -> PathBuf {
    let names = std::fs::read_dir(folder(node)).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("no part {end}"))
}

/// A set whose base has everything, and a little behind it; what it holds.
fn rewritten(config: &str) -> (Keystead, String) {
    let mut node = aof(config).start();
    let mut client = node.client();
    fill(&mut client);
    client.ok("BGREWRITEAOF");
    wait_until("the rewrite", DEADLINE, || client.info("persistence")["aof_rewrites"] == "1");
    let history = || std::fs::read_to_string(folder(&node).join("appendonly.aof.manifest")).unwrap().contains("type h");
    wait_until("the history's end", DEADLINE, || !history());
    client.ok("SET behind base");
    let digest = client.cmd("DEBUG DIGEST").as_text().unwrap();
    node.process.kill();
    (node, digest)
}

/// Changes a byte at `count` places spread over a file, one at a time, and puts it back in the end.
fn with_each_byte_changed(path: &Path, count: usize, mut then: impl FnMut(usize)) {
    let good = std::fs::read(path).unwrap();
    for round in 0..count {
        let at = good.len() * round / count + round % 3;
        let mut bad = good.clone();
        bad[at] ^= 1 << (round % 7);
        std::fs::write(path, &bad).unwrap();
        then(at);
    }
    std::fs::write(path, &good).unwrap();
}

#[test]
fn a_changed_byte_of_an_rdb_file_refuses_the_start_with_its_place() {
    let mut node = Keystead::builder().plugin("persistence-rdb", "(save: [])").start();
    let digest = fill(&mut node.client());
    node.client().ok("SAVE");
    node.process.kill();
    let file = node.dir().join("dump.rdb");
    with_each_byte_changed(&file, 24, |at| {
        let line = refused(&mut node, &format!("byte {at}"));
        assert!(line.contains("dump.rdb") && line.contains("byte "), "byte {at}: {line}");
    });
    let good = std::fs::read(&file).unwrap();
    for kept in [1, 8, good.len() / 2, good.len() - 9, good.len() - 1] {
        std::fs::write(&file, &good[..kept]).unwrap();
        let line = refused(&mut node, &format!("{kept} bytes"));
        assert!(line.contains("Short read or OOM loading DB") && line.contains("(at byte "), "{kept} bytes: {line}");
    }
    std::fs::write(&file, &good).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("DEBUG DIGEST").as_text().unwrap(), digest);
}

#[test]
fn a_changed_byte_of_an_rdb_base_refuses_the_start_with_its_place() {
    let (mut node, digest) = rewritten("(fsync: always)");
    let base = part(&node, ".base.rdb");
    let name = base.file_name().unwrap().to_string_lossy().into_owned();
    with_each_byte_changed(&base, 24, |at| {
        let line = refused(&mut node, &format!("byte {at}"));
        // One of the five that say that it is an RDB file makes it commands that aren't any.
        assert!(line.contains(&name) && (line.contains("byte ") || line.contains("offset 0")), "byte {at}: {line}");
    });
    // A base has no tail that could be missing: `aof-load-truncated` is on.
    let good = std::fs::read(&base).unwrap();
    for kept in [9, good.len() / 2, good.len() - 1] {
        std::fs::write(&base, &good[..kept]).unwrap();
        let line = refused(&mut node, &format!("{kept} bytes"));
        assert!(line.contains(&name) && line.contains("byte "), "{kept} bytes: {line}");
        assert_eq!(std::fs::read(&base).unwrap().len(), kept, "nothing is cut");
    }
    std::fs::write(&base, &good).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("DEBUG DIGEST").as_text().unwrap(), digest);
}

#[test]
fn a_base_of_commands_is_no_tail_either() {
    let (mut node, digest) = rewritten("(fsync: always, rdb_preamble: false)");
    let base = part(&node, ".base.aof");
    let name = base.file_name().unwrap().to_string_lossy().into_owned();
    let good = std::fs::read(&base).unwrap();
    std::fs::write(&base, &good[..good.len() - 5]).unwrap();
    let line = refused(&mut node, "a base without its end");
    assert!(line.contains(&format!("the truncated file {name} is not the last file")), "{line}");
    let command = good.windows(2).rposition(|two| two == b"*3").unwrap();
    let mut bad = good.clone();
    bad[command] = b'+';
    std::fs::write(&base, &bad).unwrap();
    let line = refused(&mut node, "a base with a wrong byte");
    let place = format!("(offset {command})");
    assert!(line.contains("Bad file format") && line.contains(&name) && line.contains(&place), "{line}");
    assert!(line.contains("redis-check-aof --fix"), "what can be done: {line}");
    std::fs::write(&base, &good).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("DEBUG DIGEST").as_text().unwrap(), digest);
}

/// A manifest has no checksum, so a letter may become another that means something; what means nothing is refused with its
/// line, and a file that isn't there with its name.
#[test]
fn a_manifest_that_is_wrong_refuses_the_start_with_its_line() {
    let (mut node, digest) = rewritten("(fsync: always)");
    let manifest = folder(&node).join("appendonly.aof.manifest");
    let good = std::fs::read_to_string(&manifest).unwrap();
    let mut cases: Vec<(String, &str)> = vec![
        (good.replace("type i", "type x"), "line 2: Unknown AOF file type"),
        (good.replace("type b", "tipe b"), "line 1: Invalid AOF manifest file format"),
        (good.replace("seq 2 type i", "seq z type i"), "line 2: Invalid AOF manifest file format"),
        (good.replace("file ", "fiel "), "line 1: Invalid AOF manifest file format"),
        (good.replace("type i", "type h"), "line 2: A file is called history, but no rewrite leaves it like that"),
        (good.replace("type i", "type b"), "line 2: Found duplicate base file information"),
        (good.replace(".incr.", ".incs."), ".incs.aof for reading: No such file"),
        (good.replace(".base.", ".bare."), ".bare.rdb for reading: No such file"),
        (good.replace("file appendonly", "file ../appendonly"), "line 1: File can't be a path, just a filename"),
        (good.trim_end().to_owned(), "line 2: The AOF manifest file contains too long line"),
        (good.replace('\n', " "), "line 1: The AOF manifest file contains too long line"),
        (String::new(), "Found an empty AOF manifest"),
        (good.replace(" seq 2 type i", "\0 seq 2 type i"), "line 2: Invalid AOF manifest file format"),
    ];
    cases
        .push((good.clone() + &good.lines().last().unwrap().replace('\n', "") + "\n", "non-monotonic sequence number"));
    for (bad, words) in cases {
        assert_ne!(bad, good, "{words}");
        std::fs::write(&manifest, &bad).unwrap();
        let line = refused(&mut node, words);
        assert!(line.contains(words), "{bad:?}: {line}");
        assert_eq!(std::fs::read_to_string(&manifest).unwrap(), bad, "it is nobody's to mend");
    }
    // Between quotes of either kind a name is the same.
    let quoted = |quote| good.replace("file ", &format!("file {quote}")).replace(" seq", &format!("{quote} seq"));
    for text in [quoted('\''), quoted('"'), good.clone()] {
        std::fs::write(&manifest, &text).unwrap();
        node.restart();
        assert_eq!(node.client().cmd("DEBUG DIGEST").as_text().unwrap(), digest, "{text}");
        node.process.kill();
    }
}

/// Only the last file may lack its end; one before it is damaged.
#[test]
fn an_end_that_is_missing_before_the_last_file_is_damage() {
    let mut node = aof("(fsync: always)").start();
    node.client().ok("SET a 1");
    node.process.kill();
    let manifest = folder(&node).join("appendonly.aof.manifest");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text + "file appendonly.aof.2.incr.aof seq 2 type i\n").unwrap();
    std::fs::write(folder(&node).join("appendonly.aof.2.incr.aof"), "*1\r\n$4\r\nPING\r\n").unwrap();
    let first = folder(&node).join("appendonly.aof.1.incr.aof");
    let good = std::fs::read(&first).unwrap();
    std::fs::write(&first, &good[..20]).unwrap();
    let line = refused(&mut node, "half a file in the middle");
    assert!(line.contains("the truncated file appendonly.aof.1.incr.aof is not the last file"), "{line}");
    std::fs::write(&first, &good).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("GET a"), "1");
}
