//! The append-only file as its user sees it: settings at run time, damaged files, WAITAOF, resync after a restart.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, text, wait_until};
use std::path::PathBuf;

fn node(config: &str) -> Keystead {
    Keystead::builder().plugin("persistence-aof", config).plugin("replication", "()").start()
}

/// The file that is written now.
fn incr(node: &Keystead) -> PathBuf {
    let folder = node.dir().join("appendonlydir");
    let manifest = std::fs::read_to_string(folder.join("appendonly.aof.manifest")).unwrap();
    let last = manifest.lines().rfind(|line| line.ends_with("type i")).unwrap();
    folder.join(last.split(' ').nth(1).unwrap())
}

fn persistence(node: &Keystead, field: &str) -> String {
    node.client().info("persistence")[field].clone()
}

#[test]
fn it_is_switched_at_run_time_and_loses_nothing() {
    let mut node = node("(enabled: false)");
    let mut client = node.client();
    client.ok("SET a 1");
    assert_eq!(persistence(&node, "aof_enabled"), "0");
    client.ok("CONFIG SET appendonly yes appendfsync always");
    wait_until("the first base", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
    client.ok("SET b 2");
    client.ok("CONFIG SET appendfsync everysec");
    client.ok("SET c 3");
    client.ok("CONFIG SET appendonly no");
    wait_until("the end", DEADLINE, || node.process.log().contains("The append-only file is switched off"));
    client.ok("SET d 4");
    client.ok("CONFIG SET appendonly yes");
    wait_until("the next base", DEADLINE, || persistence(&node, "aof_rewrites") == "2");
    client.ok("SET e 5");
    client.ok("CONFIG SET appendfsync always");
    client.ok("SET f 6");
    client.ok("CONFIG REWRITE");
    node.process.kill();
    std::fs::write(
        node.dir().join("keystead.ron"),
        std::fs::read_to_string(node.dir().join("keystead.ron")).unwrap().replace("enabled: false", "enabled: true"),
    )
    .unwrap();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS a b c d e f"), Reply::Int(6));
}

#[test]
fn rewrites_keep_everything_in_either_format() {
    for preamble in ["true", "false"] {
        let mut node = node(&format!("(fsync: always, rdb_preamble: {preamble}, rewrite_min_size: 20000)"));
        let mut client = node.client();
        for n in 0..400 {
            client.ok(&format!("SET key:{n} {}", "v".repeat(100)));
            client.cmd(&format!("RPUSH list {n}"));
            client.cmd(&format!("ZADD zset {n}.5 m{n}"));
            client.cmd(&format!("HSET hash f{n} {n}"));
            client.cmd(&format!("SADD set m{n}"));
        }
        client.cmd("PEXPIREAT key:1 4000000000000");
        client.cmd("SELECT 5");
        client.ok("SET other 1");
        client.cmd("BGREWRITEAOF");
        wait_until("a rewrite", DEADLINE, || persistence(&node, "aof_rewrite_in_progress") == "0");
        assert!(persistence(&node, "aof_rewrites").parse::<u64>().unwrap() > 1, "it also grew enough by itself");
        let digest = client.cmd("DEBUG DIGEST");
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("DEBUG DIGEST"), digest, "rdb_preamble: {preamble}");
    }
}

#[test]
fn functions_are_part_of_a_base_in_either_format() {
    const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 'from lib' end)";
    for preamble in ["true", "false"] {
        let config = format!("(fsync: always, rdb_preamble: {preamble})");
        let builder = Keystead::builder().plugin("persistence-aof", &config).plugin("scripting", "()");
        let mut node = builder.start();
        let mut client = node.client();
        assert_eq!(client.command(&["FUNCTION", "LOAD", LIBRARY]), "lib");
        client.ok("BGREWRITEAOF");
        wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("FCALL f 0"), "from lib", "rdb_preamble: {preamble}\n{}", node.process.log());
    }
}

/// Where no plugin executes FUNCTION LOAD, a base that has it would refuse every start from then on.
#[test]
fn functions_that_no_plugin_takes_make_a_base_an_rdb_file() {
    const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 'from lib' end)";
    const SCRIPTING: &str = "(name: \"scripting\", config: ()),";
    let config = "(fsync: always, rdb_preamble: true, timestamps: true, rewrite_percentage: 0)";
    let mut node = Keystead::builder().plugin("persistence-aof", config).plugin("scripting", "()").start();
    let change = |node: &mut Keystead, from: &str, to: &str| {
        node.process.kill();
        let file = node.dir().join("keystead.ron");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        node.restart();
    };
    let rewrite = |node: &Keystead| {
        let before = persistence(node, "aof_rewrites");
        node.client().ok("BGREWRITEAOF");
        wait_until("the rewrite", DEADLINE, || persistence(node, "aof_rewrites") != before);
    };
    assert_eq!(node.client().command(&["FUNCTION", "LOAD", LIBRARY]), "lib");
    rewrite(&node);
    change(&mut node, "rdb_preamble: true", "rdb_preamble: false");
    change(&mut node, SCRIPTING, "// no scripts");
    node.client().ok("SET a 1");
    rewrite(&node);
    node.client().ok("SET b 2");
    // A start that reads it, twice: what it kept is rewritten again.
    for _ in 0..2 {
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("EXISTS a b"), Reply::Int(2), "{}", node.process.log());
        rewrite(&node);
    }
    change(&mut node, "// no scripts", SCRIPTING);
    assert_eq!(node.client().cmd("FCALL f 0"), "from lib", "{}", node.process.log());
    rewrite(&node);
    let folder = node.dir().join("appendonlydir");
    let manifest = std::fs::read_to_string(folder.join("appendonly.aof.manifest")).unwrap();
    let base = manifest.lines().find(|line| line.ends_with("type b")).unwrap().split(' ').nth(1).unwrap();
    let base = std::fs::read(folder.join(base)).unwrap();
    assert!(base.starts_with(b"#TS:") && base.windows(8).any(|word| word == b"FUNCTION"), "commands again");
}

/// What came in the form of the file goes into it as it came; what came in another one must not.
#[test]
fn the_file_has_one_form_however_a_command_was_sent() {
    let node = node("(fsync: always)");
    let sent: &[&[u8]] = &[
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nas\r\n",
        b"set b line\n",
        b"*3\r\n$3\r\nset\r\n$1\r\nc\r\n$5\r\nloose--",
        b"\r\n*3\r.$3\r\nSET\r\n$1\r\nd\r\n$5\r\nother\r\n",
        b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n\r\n",
    ];
    let mut client = node.client();
    client.send_raw(&sent.concat()).unwrap();
    for _ in 0..4 {
        assert_eq!(client.read().unwrap(), "OK");
    }
    assert_eq!(client.read().unwrap(), Reply::Int(1));
    let expected = [
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nas\r\n",
        "*3\r\n$3\r\nset\r\n$1\r\nb\r\n$4\r\nline\r\n",
        "*3\r\n$3\r\nset\r\n$1\r\nc\r\n$5\r\nloose\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nd\r\n$5\r\nother\r\n",
        "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n",
    ];
    let file = std::fs::read_to_string(incr(&node)).unwrap();
    // Behind it the file says in a comment what offset it stands at.
    assert_eq!(file.split('#').next(), Some(expected.concat().as_str()));
}

#[test]
fn a_missing_end_is_cut_or_refused_as_wished() {
    let mut node = node("(fsync: always)");
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("SET b 2");
    node.process.kill();
    let file = incr(&node);
    let mut bytes = std::fs::read(&file).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n*1\r\n$4\r\nEX");
    std::fs::write(&file, &bytes).unwrap();
    let config = node.dir().join("keystead.ron");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("(fsync: always)", "(fsync: always, load_truncated: false)")).unwrap();
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    assert!(node.process.log().contains("Unexpected end of file"), "{}", node.process.log());
    assert_eq!(std::fs::read(&file).unwrap().len(), bytes.len(), "nothing is cut unasked");
    std::fs::write(&config, text).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS a b c"), Reply::Int(2));
    assert!(node.process.log().contains(&format!("at offset {whole}")), "{}", node.process.log());
}

#[test]
fn damage_in_the_middle_is_refused_with_its_place() {
    let mut node = node("(fsync: always)");
    let mut client = node.client();
    for n in 0..20 {
        client.ok(&format!("SET key:{n} value"));
    }
    node.process.kill();
    let file = incr(&node);
    let good = std::fs::read(&file).unwrap();
    let place = good.windows(6).position(|part| part == b"key:10").unwrap();
    let command = good[..place].windows(3).rposition(|part| part == b"*3\r").unwrap();
    // A length that is wrong, and a byte that no command has.
    for (at, byte) in [(command + 5, b'9'), (command, b'!')] {
        let mut bad = good.clone();
        bad[at] = byte;
        std::fs::write(&file, &bad).unwrap();
        node.process.restart().unwrap();
        assert!(!node.process.wait_exit(DEADLINE).success());
        let log = node.process.log();
        assert!(log.contains("Bad file format") && log.contains("offset"), "{log}");
    }
    std::fs::write(&file, &good).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("DBSIZE"), Reply::Int(20));
}

/// Two files of the old name: the one inside the folder is the set's, and the one beside it must not replace it.
#[test]
fn an_old_file_beside_the_folder_is_not_taken_twice() {
    let set = |key: &str| format!("*3\r\n$3\r\nSET\r\n$2\r\n{key}\r\n$1\r\n1\r\n");
    let old = set("k1");
    let mut node =
        Keystead::builder().plugin("persistence-aof", "(fsync: always)").file("appendonly.aof", old.as_bytes()).start();
    node.client().ok("SET k2 1");
    node.process.kill();
    let (beside, inside) = (node.dir().join("appendonly.aof"), node.dir().join("appendonlydir/appendonly.aof"));
    // As it is before anything was appended.
    let manifest = node.dir().join("appendonlydir/appendonly.aof.manifest");
    std::fs::write(&manifest, "file appendonly.aof seq 1 type b\n").unwrap();
    std::fs::write(&beside, set("k3")).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("KEYS *").texts(), ["k1"]);
    node.process.kill();
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), set("k3"));
    // Only the one beside it is left, behind a move that was interrupted: it is taken.
    std::fs::write(&manifest, "file appendonly.aof seq 1 type b\n").unwrap();
    std::fs::remove_file(&inside).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("KEYS *").texts(), ["k3"]);
    node.process.kill();
    // None is left: nothing is what a set that names a file has.
    std::fs::write(&manifest, "file appendonly.aof seq 1 type b\n").unwrap();
    std::fs::remove_file(&inside).unwrap();
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    assert!(node.process.log().contains("appendonly.aof for reading: No such file"), "{}", node.process.log());
}

/// How a start with this old file ended.
fn refused(file: &str) -> String {
    let builder = Keystead::builder().plugin("persistence-aof", "()").plugin("persistence-rdb", "()");
    let mut node = builder.file("appendonly.aof", file.as_bytes()).launch();
    assert!(!node.process.wait_exit(DEADLINE).success());
    node.process.log().trim_end().lines().last().unwrap().to_owned()
}

#[test]
fn an_unknown_command_is_named_with_its_file_and_place() {
    let set = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let (bla, get) = ("*2\r\n$3\r\nbla\r\n$3\r\nfoo\r\n", "*1\r\n$3\r\nGET\r\n");
    let last = refused(&format!("{set}#TS:1\r\n{set}{bla}{set}"));
    let at = 2 * set.len() + "#TS:1\r\n".len();
    let words = format!("Unknown command 'bla' reading the append only file appendonly.aof, at offset {at}");
    assert!(last.contains(&words) && last.contains("appendonlydir can't be loaded"), "{last}");
    let last = refused(&format!("{set}{get}"));
    let words = format!("appendonly.aof, at offset {}, can't be executed: ERR wrong number of arguments", set.len());
    assert!(last.contains(&words), "{last}");
}

#[test]
fn an_end_that_a_file_asks_for_is_refused() {
    let set = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let last = refused(&format!("{set}*1\r\n$8\r\nSHUTDOWN\r\n{set}"));
    let words =
        format!("appendonly.aof: the command 'shutdown' acts on the server and not on its data (offset {})", set.len());
    assert!(last.contains(&words), "{last}");
}

#[test]
fn a_part_that_is_no_file_is_named() {
    let mut node = node("(fsync: always)");
    node.client().ok("SET a 1");
    node.process.kill();
    let file = incr(&node);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let last = node.process.log().trim_end().lines().last().unwrap().to_owned();
    assert!(last.contains(&format!("{}: Is a directory", file.display())), "{last}");
    // Nobody waits for somebody who writes to it.
    std::fs::remove_dir(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let last = node.process.log().trim_end().lines().last().unwrap().to_owned();
    let words = format!("can't open the append log file {} for reading: not a regular file", file.display());
    assert!(last.contains(&words), "{last}");
}

/// Growth is counted from the base: of the whole set, one that is started often would never be rewritten.
#[test]
fn what_grew_before_a_restart_is_rewritten_behind_it() {
    let mut node = node("(rewrite_percentage: 0, rewrite_min_size: 20000)");
    let mut client = node.client();
    assert_eq!(persistence(&node, "aof_rewrites"), "0", "a first base is no rewrite");
    assert_eq!(persistence(&node, "aof_last_rewrite_time_sec"), "-1");
    for _ in 0..100 {
        client.ok(&format!("SET key {}", "v".repeat(300)));
    }
    node.process.kill();
    let base = std::fs::metadata(node.dir().join("appendonlydir/appendonly.aof.1.base.rdb")).unwrap().len();
    node.restart();
    assert_eq!(persistence(&node, "aof_base_size"), base.to_string());
    assert_eq!(persistence(&node, "aof_rewrites"), "0");
    node.client().ok("CONFIG SET auto-aof-rewrite-percentage 100");
    wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
    assert_eq!(text(&node.client().cmd("GET key")).len(), 300);
}

#[test]
fn the_size_is_that_of_what_is_acknowledged() {
    for fsync in ["always", "everysec", "no"] {
        let node = node(&format!("(fsync: {fsync})"));
        let mut client = node.client();
        for n in 1..=10 {
            client.ok(&format!("SET key {}", "v".repeat(50_000)));
            let size: u64 = client.info("persistence")["aof_current_size"].parse().unwrap();
            assert!(size > n * 50_000, "{fsync}: {size}");
        }
    }
}

/// The place that the file notes is one byte away from another: a replica that went on from there would never be the same.
#[test]
fn a_damaged_note_of_the_place_begins_with_a_full_sync() {
    let primary = node("(fsync: always)");
    let config = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let builder = Keystead::builder().plugin("persistence-aof", "(fsync: always)").plugin("replication", &config);
    let mut replica = builder.start();
    let mut client = primary.client();
    let same = |replica: &Keystead| {
        let digest = |node: &Keystead| Client::try_connect(node.port()).ok()?.try_command(&["DEBUG", "DIGEST"]).ok();
        digest(replica).is_some_and(|there| Some(there) == digest(&primary))
    };
    let noted =
        |replica: &Keystead| std::fs::read(incr(replica)).is_ok_and(|file| file.windows(4).any(|part| part == b"#KS:"));
    wait_until("the link", DEADLINE, || {
        client.ok("SET first 1");
        same(&replica) && noted(&replica)
    });
    for round in 0..2 {
        for n in 0..20 {
            client.ok(&format!("SET key:{round}:{n} value"));
        }
        wait_until("it is there", DEADLINE, || same(&replica));
        replica.process.kill();
        let full: u64 = client.info("stats")["sync_full"].parse().unwrap();
        let file = incr(&replica);
        let mut bytes = std::fs::read(&file).unwrap();
        let note = bytes.windows(4).rposition(|part| part == b"#KS:").unwrap();
        if round == 1 {
            bytes[note + 5] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
        }
        for n in 0..20 {
            client.ok(&format!("SET later:{round}:{n} value"));
        }
        replica.restart();
        wait_until("the same data", DEADLINE, || same(&replica));
        assert_eq!(client.info("stats")["sync_full"], (full + round).to_string(), "{}", replica.process.log());
        let words = format!("The note of the replication offset at byte {note} of the AOF");
        assert_eq!(replica.process.log().contains(&words), round == 1, "{}", replica.process.log());
        wait_until("its own file", DEADLINE, || noted(&replica));
    }
}

#[test]
fn a_load_says_how_far_it_is() {
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$200\r\n{}\r\n", "v".repeat(200)).repeat(200_000);
    let mut node = Keystead::builder().plugin("persistence-aof", "()").file("appendonly.aof", set.as_bytes()).launch();
    node.process.wait_for_log("Reading", DEADLINE);
    let mut client = node.client();
    let mut seen = 0;
    wait_until("the load's end", DEADLINE, || {
        let info = client.info("persistence");
        let Some(loaded) = info.get("loading_loaded_bytes") else { return info["loading"] == "0" };
        let loaded: u64 = loaded.parse().unwrap();
        assert_eq!(info["loading_total_bytes"], set.len().to_string());
        assert!(loaded >= seen && loaded <= set.len() as u64, "{info:?}");
        assert!(info["loading_loaded_perc"].parse::<f64>().unwrap() <= 100.0);
        seen = loaded;
        false
    });
    assert!(seen > 0, "it was seen loading");
    assert_eq!(client.cmd("STRLEN a"), 200);
}

#[test]
fn a_folder_that_cannot_be_used_refuses_the_start() {
    let mut node = Keystead::builder().plugin("persistence-aof", "()").file("appendonlydir", b"a file").launch();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    assert!(log.contains("AOF") && log.contains("Not a directory"), "{log}");
}

#[test]
fn waitaof_waits_for_disks() {
    let primary = node("(fsync: everysec)");
    let config = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let replica =
        Keystead::builder().plugin("persistence-aof", "(fsync: always)").plugin("replication", &config).start();
    wait_until("the link", DEADLINE, || replica.client().info("replication")["master_link_status"] == "up");
    let mut client = primary.client();
    client.ok("SET a 1");
    assert_eq!(client.cmd("WAITAOF 1 1 20000"), Reply::Array(vec![Reply::Int(1), Reply::Int(1)]));
    assert!(replica.client().cmd("WAITAOF 0 0 0").is_error());
    assert!(format!("{:?}", client.cmd("COMMAND INFO WAITAOF")).contains("noscript"), "a script can't wait for a disk");
    client.ok("CONFIG SET appendonly no");
    wait_until("the end", DEADLINE, || client.cmd("WAITAOF 1 0 10").is_error());
}

#[test]
fn a_replica_and_a_primary_go_on_behind_a_restart() {
    let mut primary = node("(fsync: always)");
    let config = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let mut replica =
        Keystead::builder().plugin("persistence-aof", "(fsync: always)").plugin("replication", &config).start();
    let up = |replica: &Keystead| {
        let status = || replica.client().info("replication").get("master_link_status").cloned();
        wait_until("the link", DEADLINE, || status().as_deref() == Some("up"));
    };
    up(&replica);
    let mut client = primary.client();
    client.ok("SET a 1");
    assert_eq!(client.cmd("WAITAOF 1 1 20000"), Reply::Array(vec![Reply::Int(1), Reply::Int(1)]));
    replica.process.kill();
    client.ok("SET b 2");
    replica.restart();
    up(&replica);
    assert_eq!(replica.client().cmd("MGET a b").texts(), ["1", "2"]);
    assert_eq!(primary.client().info("stats")["sync_full"], "1", "{}", primary.process.log());
    client.ok("SET c 3");
    assert_eq!(client.cmd("WAITAOF 1 1 20000"), Reply::Array(vec![Reply::Int(1), Reply::Int(1)]));
    primary.process.terminate();
    primary.process.wait_exit(DEADLINE);
    primary.restart();
    up(&replica);
    assert_eq!(primary.client().cmd("MGET a b c").texts(), ["1", "2", "3"]);
    assert_eq!(primary.client().info("stats")["sync_full"], "0", "{}", primary.process.log());
}

#[test]
fn debug_loadaof_brings_back_what_the_files_have() {
    const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 'from lib' end)";
    for preamble in ["true", "false"] {
        let config = format!("(rdb_preamble: {preamble})");
        let builder = Keystead::builder().plugin("persistence-aof", &config).plugin("scripting", "()");
        let node = builder.plugin("replication", "()").start();
        let mut client = node.client();
        client.command(&["FUNCTION", "LOAD", LIBRARY]);
        client.cmd("RPUSH list a b c");
        client.ok("BGREWRITEAOF");
        client.ok("SET k v");
        wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrite_in_progress") == "0");
        for n in 0..200 {
            client.cmd(&format!("XADD s * n {n}"));
        }
        client.ok("SET later 1 EX 1000");
        let digest = client.cmd("DEBUG DIGEST");
        let offset = client.info("replication")["master_repl_offset"].clone();
        client.ok("DEBUG LOADAOF");
        assert_eq!(client.cmd("DEBUG DIGEST"), digest, "rdb_preamble: {preamble}");
        assert_eq!(client.cmd("FCALL f 0"), "from lib");
        assert_eq!(client.info("replication")["master_repl_offset"], offset, "nothing of it is news");
        client.ok("SET behind 1");
        client.ok("DEBUG LOADAOF");
        assert_eq!(client.cmd("GET behind"), "1", "the file goes on");
        assert_eq!(persistence(&node, "aof_rewrites"), "1", "the one that was asked for");
    }
    let off = node("(enabled: false)");
    off.client().ok("SET k v");
    assert!(off.client().cmd("DEBUG LOADAOF").is_error());
    assert_eq!(off.client().cmd("GET k"), "v", "without files nothing is emptied");
}

/// What it can't read to the end empties nothing; what turns out in the middle ends the process, and the files stay.
#[test]
fn debug_loadaof_keeps_what_it_can_not_read() {
    let mut node = node("(rewrite_percentage: 0)");
    let mut client = node.client();
    client.ok("SET k v");
    client.ok("BGREWRITEAOF");
    wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
    client.ok("SET later 1");
    let file = incr(&node);
    let good = std::fs::read(&file).unwrap();
    let append = |bytes: &[u8]| std::fs::write(&file, [&good, bytes].concat()).unwrap();
    append(b"*1\r\n$4\r\nPING\r\nnonsense\r\n");
    let why = "ERR Error trying to load the AOF files, check server logs.";
    assert_eq!(client.cmd("DEBUG LOADAOF"), Reply::Error(why.to_owned()), "{}", node.process.log());
    assert_eq!(client.cmd("EXISTS k later"), 2, "{}", node.process.log());
    append(b"");
    client.ok("DEBUG LOADAOF");
    let bad = b"*2\r\n$9\r\nNOSUCHONE\r\n$1\r\nx\r\n";
    append(bad);
    let _ = client.try_command(&["DEBUG", "LOADAOF"]);
    assert_eq!(node.process.wait_exit(DEADLINE).code(), Some(1), "{}", node.process.log());
    assert_eq!(std::fs::read(&file).unwrap(), [&good[..], bad].concat());
    append(b"");
    node.restart();
    assert_eq!(node.client().cmd("EXISTS k later"), 2);
}

/// A file of a Redis before 7 has scripts as they were called: a long one is executed at the start and by DEBUG LOADAOF, said to
/// be slow, and what follows it is loaded too.
#[test]
fn a_long_script_in_the_file_is_executed_and_told() {
    let command = |words: &[&str]| {
        let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        words
    };
    let script = "redis.call('set', KEYS[1], 'y') for i = 1, 60000 do redis.call('ping') end return 'ok'";
    let file = format!(
        "*2\r\n{}*4\r\n{}*3\r\n{}",
        command(&["select", "9"]),
        command(&["eval", script, "1", "x"]),
        command(&["set", "behind", "1"])
    );
    let scripting = "(busy_reply_threshold_ms: 1)";
    let builder = Keystead::builder().plugin("persistence-aof", "()").plugin("scripting", scripting);
    let node = builder.file("appendonly.aof", file.as_bytes()).start();
    let slow = || node.process.log().matches("Slow script detected").count();
    let mut client = node.client();
    for round in 1..3 {
        client.ok("SELECT 9");
        assert_eq!(client.cmd("MGET x behind").texts(), ["y", "1"]);
        assert_eq!(slow(), round, "{}", node.process.log());
        client.ok("DEBUG LOADAOF");
    }
}

#[test]
fn who_switches_the_file_on_sees_its_first_rewrite_at_once() {
    let node = node("(enabled: false)");
    let mut client = node.client();
    for _ in 0..20 {
        let replies = client.pipeline(&["CONFIG SET appendonly yes", "INFO persistence"]);
        assert!(keystead_harness::text(&replies[1]).contains("aof_rewrite_in_progress:1"), "{replies:?}");
        wait_until("the base", DEADLINE, || persistence(&node, "aof_rewrite_in_progress") == "0");
        client.ok("CONFIG SET appendonly no");
        wait_until("the end", DEADLINE, || persistence(&node, "aof_enabled") == "0");
    }
}

/// Nothing was promised before the first base is there, so nothing is broken.
#[test]
fn switched_off_before_its_first_base_it_tells_no_error() {
    let slow = "(save: [], rdb_key_save_delay: 10000000)";
    let node =
        Keystead::builder().plugin("persistence-aof", "(enabled: false)").plugin("persistence-rdb", slow).start();
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("CONFIG SET appendonly yes");
    wait_until("a rewrite", DEADLINE, || node.process.log().contains("append only file rewriting started"));
    client.ok("CONFIG SET appendonly no");
    wait_until("the end", DEADLINE, || node.process.log().contains("switched off"));
    assert!(!node.process.log().contains("with an error"), "{}", node.process.log());
}

#[test]
fn a_rewrite_says_how_far_it_is() {
    let plain = "(save: [], rdbcompression: false)";
    let node = Keystead::builder().plugin("persistence-aof", "()").plugin("persistence-rdb", plain).start();
    let mut client = node.client();
    client.ok("DEBUG POPULATE 2000 key 2000");
    client.ok("CONFIG SET rdb-key-save-delay 10000");
    client.ok("BGREWRITEAOF");
    let done = || persistence(&node, "current_save_keys_processed").parse::<u64>().unwrap();
    wait_until("its progress", DEADLINE, || (1..=2000).contains(&done()));
    assert_eq!(persistence(&node, "current_save_keys_total"), "2000");
    client.ok("CONFIG SET appendonly no");
    wait_until("its end", DEADLINE, || persistence(&node, "aof_rewrite_in_progress") == "0");
    assert_eq!(persistence(&node, "current_save_keys_total"), "0");
}

/// `appendonly no` gives up a rewrite that runs, and the next one isn't refused for its sake: it leaves a base and no more.
#[test]
fn a_rewrite_follows_at_once_when_the_file_is_switched_off() {
    let node = Keystead::builder().plugin("persistence-aof", "()").plugin("persistence-rdb", "(save: [])").start();
    let mut client = node.client();
    for round in 2..6 {
        client.ok("CONFIG SET rdb-key-save-delay 10000000");
        client.ok("SET a 1");
        client.cmd("BGREWRITEAOF");
        client.ok("CONFIG SET rdb-key-save-delay 0 appendonly no");
        let reply = client.cmd("BGREWRITEAOF");
        assert!(!reply.is_error(), "{reply:?}");
        wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrite_in_progress") == "0");
        assert_eq!(persistence(&node, "aof_last_bgrewrite_status"), "ok", "{}", node.process.log());
        let manifest = || std::fs::read_to_string(node.dir().join("appendonlydir/appendonly.aof.manifest")).unwrap();
        assert!(manifest().lines().next().unwrap().ends_with("type b"), "{round}: {}", manifest());
        wait_until("its history's end", DEADLINE, || manifest().lines().count() == 1);
        client.ok("CONFIG SET appendonly yes");
        wait_until("the next base", DEADLINE, || persistence(&node, "aof_rewrite_in_progress") == "0");
    }
}

#[test]
fn an_end_before_the_first_base_is_refused_unless_forced() {
    let mut node = Keystead::builder()
        .plugin("persistence-rdb", "(save: [])")
        .plugin("persistence-aof", "(enabled: false)")
        .start();
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("CONFIG SET rdb-key-save-delay 60000000");
    client.ok("CONFIG SET appendonly yes");
    wait_until("the first base is written", DEADLINE, || client.info("persistence")["aof_rewrite_in_progress"] == "1");
    assert_eq!(client.cmd("SHUTDOWN"), "ERR Errors trying to SHUTDOWN. Check logs.");
    assert!(node.process.log().contains("Writing initial AOF, can't exit"), "{}", node.process.log());
    client.send(&["SHUTDOWN", "FORCE"]).expect("it still listens");
    assert!(node.process.wait_exit(DEADLINE).success());
}

/// A long script in the same turn as another client's write: the reply to the write waits until the file has it, which is
/// behind the script. A kill in between would else lose more than the window.
#[test]
fn no_reply_is_ahead_of_the_file_while_a_script_runs() {
    ["everysec", "always", "no"].iter().for_each(|fsync| write_beside_a_long_script(fsync));
}

fn write_beside_a_long_script(fsync: &str) {
    let node =
        Keystead::builder().plugin("persistence-aof", &format!("(fsync: {fsync})")).plugin("scripting", "()").start();
    let mut control = node.client();
    control.ok("CONFIG SET busy-reply-threshold 50");
    let (mut sleeper, mut writer, mut script) = (node.client(), node.client(), node.client());
    // What arrives while nothing is read is executed in one turn.
    sleeper.send(&["DEBUG", "SLEEP", "0.5"]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    writer.send(&["SET", "written", "1"]).unwrap();
    script.send(&["EVAL", "while true do end", "0"]).unwrap();
    wait_until(
        "it is busy",
        DEADLINE,
        || matches!(node.client().cmd("PING"), Reply::Error(why) if why.starts_with("BUSY")),
    );
    let file = || String::from_utf8_lossy(&std::fs::read(incr(&node)).unwrap()).contains("written");
    let early = writer.drain(std::time::Duration::from_millis(300));
    assert!(early.is_empty() || file(), "{}", early.escape_ascii());
    control.ok("SCRIPT KILL");
    // Early it was if the write had a turn of its own.
    if early.is_empty() {
        assert_eq!(writer.read().unwrap(), Reply::Simple("OK".into()));
    }
    assert!(file());
}

/// `propagation-error-behavior` holds for what a file has, too: an error is told in the log, or the process ends.
#[test]
fn an_error_in_the_file_is_told_or_refuses_the_start() {
    let start = |behavior: &str| {
        let replication = format!("(propagation_errors: {behavior})");
        Keystead::builder().plugin("persistence-aof", "()").plugin("replication", &replication).start()
    };
    for (behavior, ends) in [("ignore", false), ("\"panic-on-replicas\"", false), ("panic", true)] {
        let mut node = start(behavior);
        node.client().ok("SET text 1");
        node.process.terminate();
        node.process.wait_exit(DEADLINE);
        let path = incr(&node);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"*3\r\n$5\r\nRPUSH\r\n$4\r\ntext\r\n$1\r\na\r\n");
        std::fs::write(&path, bytes).unwrap();
        node.process.restart().unwrap();
        if ends {
            assert!(!node.process.wait_exit(DEADLINE).success());
            let words =
                "This server panicked sending an error to its AOF-loading-client after processing the command 'rpush'";
            assert!(node.process.log().contains(words), "{}", node.process.log());
        } else {
            let there =
                || Client::try_connect(node.port()).is_ok_and(|mut client| text(&client.cmd("GET text")) == "1");
            wait_until("it is there", DEADLINE, there);
            assert!(
                node.process.log().contains("== CRITICAL == This server is sending an error"),
                "{}",
                node.process.log()
            );
            let log = node.process.log();
            let told =
                "1 commands of the append only file answered an error: what they changed is missing. The first is in";
            let first = "'rpush': WRONGTYPE Operation against a key holding the wrong kind of value";
            assert!(log.contains(told) && log.contains(first), "{log}");
        }
    }
}

/// While the first base is on its way, WAITAOF waits for it; who waits as the file is switched off is told.
#[test]
fn waitaof_waits_for_the_first_base_and_ends_with_the_file() {
    let builder = Keystead::builder().plugin("persistence-aof", "(enabled: false)").plugin("persistence-rdb", "()");
    let node = builder.plugin("replication", "()").start();
    let mut client = node.client();
    const DISABLED: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    assert_eq!(client.cmd("WAITAOF 1 0 0"), Reply::Error(DISABLED.into()));
    for n in 0..300 {
        client.ok(&format!("SET key:{n} v"));
    }
    client.ok("CONFIG SET rdb-key-save-delay 2000 appendonly yes");
    client.ok("SET last 1");
    assert_eq!(client.cmd("WAITAOF 1 0 30000"), Reply::Array(vec![Reply::Int(1), Reply::Int(0)]));
    client.ok("CONFIG SET appendonly no");
    assert_eq!(client.cmd("WAITAOF 1 0 0"), Reply::Error(DISABLED.into()));
    client.ok("CONFIG SET rdb-key-save-delay 1000000 appendonly yes");
    client.ok("SET last 2");
    client.send(&["WAITAOF", "1", "0", "0"]).unwrap();
    let blocked = || node.client().info("clients")["blocked_clients"] == "1";
    wait_until("it waits", DEADLINE, blocked);
    node.client().ok("CONFIG SET appendonly no");
    assert_eq!(client.read().unwrap(), Reply::Error(DISABLED.into()));
}

#[test]
fn resetstat_counts_rewrites_and_saves_anew() {
    let node = Keystead::builder().plugin("persistence-aof", "()").plugin("persistence-rdb", "()").start();
    let mut client = node.client();
    let counters = || [persistence(&node, "aof_rewrites"), persistence(&node, "rdb_saves")];
    client.ok("SAVE");
    client.ok("BGREWRITEAOF");
    wait_until("a rewrite", DEADLINE, || counters() == ["1", "1"]);
    client.ok("CONFIG RESETSTAT");
    assert_eq!(counters(), ["0", "0"]);
    client.ok("CONFIG RESETSTAT");
    client.ok("SAVE");
    client.ok("BGREWRITEAOF");
    wait_until("a rewrite behind the reset", DEADLINE, || counters() == ["1", "1"]);
}

/// What was loaded is on the disk.
#[test]
fn debug_loadaof_changes_nothing_since_the_last_save() {
    let node = Keystead::builder().plugin("persistence-aof", "()").plugin("persistence-rdb", "(save: [])").start();
    let mut client = node.client();
    for n in 0..20 {
        client.ok(&format!("SET key:{n} v"));
    }
    assert_eq!(persistence(&node, "rdb_changes_since_last_save"), "20");
    client.ok("DEBUG LOADAOF");
    assert_eq!(persistence(&node, "rdb_changes_since_last_save"), "0");
    client.ok("SET one 1");
    assert_eq!(persistence(&node, "rdb_changes_since_last_save"), "1");
}

/// Whoever asks for the data first isn't who couldn't load it.
#[test]
fn a_file_that_cannot_be_loaded_is_its_own_plugins_fault() {
    let builder = Keystead::builder().plugin("persistence-rdb", "()").plugin("persistence-aof", "()");
    let mut node = builder.plugin("replication", "()").start();
    node.client().ok("SET a 1");
    node.process.kill();
    std::fs::write(incr(&node), "*1\r\n$4\r\nnone\r\n").unwrap();
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    assert!(log.contains("the plugin 'persistence-aof' did not start: the append-only files in"), "{log}");
    assert!(!log.contains("'persistence-rdb' did not start"), "{log}");
}
