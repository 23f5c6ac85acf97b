//! RDB files: what survives a restart, what a crash or a full disk may cost, what a damaged file is told.
#![allow(clippy::unwrap_used)]

use keystead_e2e::threads::NoThreads;
use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, Reply, eventually, text, wait_until};
use std::path::PathBuf;
use std::time::Duration;

fn saving(config: &str) -> KeysteadBuilder {
    Keystead::builder().plugin("replication", "()").plugin("persistence-rdb", config)
}

fn dump(node: &Keystead) -> PathBuf {
    node.dir().join("dump.rdb")
}

/// One key of each type in two databases, and one with a deadline.
fn fill(client: &mut Client) {
    for line in [
        "SET s one EX 10000",
        "SET n 12345",
        "RPUSH l a b c",
        "SADD set x y z",
        "SADD ints 1 2 3",
        "ZADD z 1 a 2.5 b",
        "HSET h f v g w",
    ] {
        client.ok(line);
    }
    client.ok("SELECT 3");
    client.ok("SET other db");
    client.ok("SELECT 0");
}

fn digest(client: &mut Client) -> String {
    client.ok("DEBUG DIGEST").as_text().unwrap()
}

fn temporary_files(node: &Keystead) -> usize {
    let names = std::fs::read_dir(node.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("temp-")).count()
}

/// Makes every save fail: a folder with something in it stands where the file belongs.
fn obstruct(node: &Keystead) {
    std::fs::create_dir_all(dump(node).join("x")).unwrap();
}

fn refused_start(mut node: Keystead) -> String {
    assert!(!node.process.wait_exit(DEADLINE).success());
    node.process.log()
}

/// A file of a running node, for starts with a damaged copy.
fn sample() -> Vec<u8> {
    let node = saving("()").start();
    fill(&mut node.client());
    node.client().ok("SAVE");
    std::fs::read(dump(&node)).unwrap()
}

#[test]
fn the_data_is_there_after_a_clean_stop() {
    let mut node = saving("()").start();
    fill(&mut node.client());
    let before = digest(&mut node.client());
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert!(node.process.log().contains("Saving the final RDB snapshot before exiting."), "{}", node.process.log());
    node.restart();
    assert_eq!(digest(&mut node.client()), before);
    let info = node.client().info("persistence");
    assert_eq!((info["rdb_last_load_keys_loaded"].as_str(), info["loading"].as_str()), ("8", "0"));
    assert_eq!(info["rdb_changes_since_last_save"], "0");
    assert!(node.process.log().contains("DB loaded from disk: "), "{}", node.process.log());
}

#[test]
fn shutdown_saves_as_it_is_told() {
    for (options, survives) in [("NOSAVE", false), ("SAVE", true), ("", true)] {
        let mut node = saving("()").start();
        let mut client = node.client();
        client.ok("SET a 1");
        client.send(&format!("SHUTDOWN {options}").split_whitespace().collect::<Vec<_>>()).unwrap();
        assert!(node.process.wait_exit(DEADLINE).success());
        assert_eq!(dump(&node).exists(), survives, "SHUTDOWN {options}");
    }
    let mut node = saving("(save: [])").start();
    node.client().ok("SET a 1");
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert!(!dump(&node).exists(), "without save points nothing is saved");
}

#[test]
fn a_save_that_fails_refuses_the_shutdown_unless_forced() {
    let mut node = saving("()").start();
    let mut client = node.client();
    client.ok("SET a 1");
    obstruct(&node);
    assert_eq!(client.cmd("SHUTDOWN"), "ERR Errors trying to SHUTDOWN. Check logs.");
    client.ok("SET b 2");
    node.process.terminate();
    let refusals = || node.process.log().matches("Errors trying to shut down the server").count();
    wait_until("the signal is refused too", DEADLINE, || refusals() == 2);
    client.ok("SET c 3");
    assert_eq!(client.cmd("SHUTDOWN ABORT"), "ERR No shutdown in progress.");
    client.send(&["SHUTDOWN", "FORCE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success());
}

#[test]
fn a_shutdown_that_saves_can_be_taken_back() {
    let mut node = saving("(rdb_key_save_delay: 20000)").start();
    let mut client = node.client();
    client.ok("DEBUG POPULATE 1000");
    client.send(&["SHUTDOWN", "SAVE"]).unwrap();
    node.process.wait_for_log("Saving the final RDB snapshot", DEADLINE);
    node.client().ok("SHUTDOWN ABORT");
    let refused = client.read().unwrap();
    assert_eq!(refused, "ERR Errors trying to SHUTDOWN. Check logs.");
    node.client().ok("SET still here");
}

#[test]
fn a_failed_save_stops_writes_until_one_succeeds() {
    let node = saving("()").server("enable_protected_configs: \"local\"").start();
    let mut client = node.client();
    client.ok("SET a 1");
    obstruct(&node);
    client.ok("BGSAVE");
    let status = || node.client().info("persistence")["rdb_last_bgsave_status"].clone();
    wait_until("the save fails", DEADLINE, || status() == "err");
    let refusal = client.cmd("SET a 2");
    assert!(format!("{refusal:?}").contains("MISCONF"), "{refusal:?}");
    client.ok("CONFIG SET stop-writes-on-bgsave-error no");
    client.ok("SET a 2");
    client.ok("CONFIG SET stop-writes-on-bgsave-error yes");
    client.ok("GET a");
    client.ok("CONFIG SET dbfilename other.rdb");
    client.ok("BGSAVE");
    wait_until("a save succeeds", DEADLINE, || status() == "ok");
    client.ok("SET a 3");
    assert!(node.dir().join("other.rdb").exists());
    assert_eq!(temporary_files(&node), 0);
}

#[test]
fn a_save_point_saves_by_itself() {
    let node = saving("(save: [])").start();
    let mut client = node.client();
    client.ok("SET a 1");
    assert_eq!(
        client.cmd("CONFIG SET save 1"),
        "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters"
    );
    client.command(&["CONFIG", "SET", "save", "1 1"]);
    wait_until("the file is written", DEADLINE, || dump(&node).exists());
    let log = node.process.log();
    assert!(log.contains("1 changes in 1 seconds. Saving..."), "{log}");
    assert_eq!(client.cmd("CONFIG GET save").get("save").unwrap(), "1 1");
}

#[test]
fn a_killed_save_leaves_the_old_file_whole() {
    let mut node = saving("(save: [])").start();
    let mut client = node.client();
    client.ok("DEBUG POPULATE 500");
    client.ok("SAVE");
    let before = digest(&mut client);
    let whole = std::fs::read(dump(&node)).unwrap();
    client.ok("CONFIG SET rdb-key-save-delay 20000");
    client.ok("FLUSHALL");
    client.ok("DEBUG POPULATE 900 other");
    client.ok("BGSAVE");
    wait_until("the save writes", DEADLINE, || temporary_files(&node) > 0);
    assert_eq!(client.cmd("BGSAVE"), "ERR Background save already in progress");
    assert_eq!(client.cmd("SAVE"), "ERR Background save already in progress");
    assert_eq!(node.client().info("persistence")["rdb_bgsave_in_progress"], "1");
    node.process.kill();
    assert_eq!(std::fs::read(dump(&node)).unwrap(), whole);
    node.restart();
    assert_eq!(digest(&mut node.client()), before);
}

#[test]
fn a_full_disk_fails_the_save_and_nothing_else() {
    // Ignored, the signal of a file that grows too large becomes an error of the write.
    let node = saving("(rdbcompression: false)").shell("trap '' XFSZ; ulimit -f 200").start();
    let mut client = node.client();
    client.ok("SET small 1");
    client.ok("SAVE");
    let whole = std::fs::read(dump(&node)).unwrap();
    client.ok("DEBUG POPULATE 1000 big 1000");
    let refusal = client.cmd("SAVE");
    assert!(format!("{refusal:?}").contains("Write error saving DB on disk"), "{refusal:?}");
    assert_eq!(std::fs::read(dump(&node)).unwrap(), whole);
    assert_eq!(temporary_files(&node), 0);
    client.ok("GET small");
}

#[test]
fn damage_refuses_the_start_and_names_its_place() {
    let whole = sample();
    let start = |bytes: &[u8]| refused_start(saving("()").file("dump.rdb", bytes).launch());
    let log = start(&whole[..whole.len() / 2]);
    assert!(log.contains("Short read or OOM loading DB. Unrecoverable error, aborting now. (at byte "), "{log}");
    let mut bytes = whole.clone();
    let at = whole.windows(3).position(|w| w == b"one").unwrap();
    bytes[at] ^= 1;
    let log = start(&bytes);
    assert!(log.contains("Wrong RDB checksum expected: (") && log.contains("(at byte "), "{log}");
    let log = start(b"NOTANRDB0010");
    assert!(log.contains("Wrong signature trying to load DB from file"), "{log}");
    let log = start(b"REDIS0099\xff");
    assert!(log.contains("Can't handle RDB format version 99"), "{log}");
    let mut bytes = whole;
    let at = bytes.windows(8).position(|w| w == b"aof-base").unwrap() + 10;
    bytes.insert(at, 200);
    let log = start(&bytes);
    assert!(log.contains("Internal error in RDB reading") && log.contains("(at byte "), "{log}");
}

/// The key is named, by as much of it as a line can hold.
#[test]
fn a_damaged_value_is_told_with_its_key() {
    let set = |key: &[u8]| [&[2, key.len() as u8][..], key, b"\x02\x01a\x01a"].concat();
    let file = |key: &[u8]| [b"REDIS0010\xfe\x00".as_slice(), &set(key), b"\xff\0\0\0\0\0\0\0\0"].concat();
    let log = refused_start(saving("()").file("dump.rdb", &file(b"twice")).launch());
    let words = "Internal error in RDB reading: key 'twice' in DB 0: an element occurs twice (between byte 11 and 23)";
    assert!(log.contains(words), "{log}");
    // A length of 3 MB, in four bytes.
    let long = [&[2, 0x80][..], &(3u32 << 20).to_be_bytes(), &vec![b'k'; 3 << 20], b"\x02\x01a\x01a"].concat();
    let file = [b"REDIS0010\xfe\x00".as_slice(), &long, b"\xff\0\0\0\0\0\0\0\0"].concat();
    let log = refused_start(saving("()").file("dump.rdb", &file).launch());
    assert!(log.contains("kkk…' in DB 0: an element occurs twice") && log.len() < 100_000, "{} bytes", log.len());
}

/// A compressed string may claim 88 times its bytes. Where memory isn't given on credit the claim alone must not end anything.
#[test]
fn a_string_that_claims_more_memory_than_there_is_is_refused_in_words() {
    const PACKED: u32 = 36 << 20;
    let literals = b"\x00a".repeat(PACKED as usize / 2);
    let lengths = [&[0xc3, 0x80][..], &PACKED.to_be_bytes(), &[0x80], &(PACKED * 88).to_be_bytes()].concat();
    let file = [b"REDIS0010\xfe\x00\x00\x01k".as_slice(), &lengths, &literals, b"\xff\0\0\0\0\0\0\0\0"].concat();
    let log = refused_start(saving("()").file("dump.rdb", &file).shell("ulimit -v 3000000").launch());
    assert!(log.contains("key 'k' in DB 0: no memory for a string of 3321888768 bytes"), "{log}");
}

/// The data of a Redis with `appendonly yes` isn't in its dump.rdb.
#[test]
fn an_append_only_set_that_no_plugin_reads_is_named() {
    let file = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let mut node = saving("()").file("appendonly.aof", file).start();
    node.process.wait_for_log("appendonly.aof is there, and no plugin reads it", DEADLINE);
    assert_eq!(node.client().cmd("DBSIZE"), 0);
    let both = saving("()").plugin("persistence-aof", "()").file("appendonly.aof", file).start();
    assert_eq!(both.client().cmd("DBSIZE"), 1);
    assert!(!both.process.log().contains("no plugin reads it"));
}

/// No server writes a key twice: which of the two is the data, nobody knows.
#[test]
fn a_key_that_is_there_twice_refuses_the_start() {
    let file =
        |second: &[u8]| [b"REDIS0010\xfe\x00\x00\x01k\x01v\x00\x01", second, b"\x01w\xff\0\0\0\0\0\0\0\0"].concat();
    let words = "Internal error in RDB reading: RDB has duplicated key 'k' in DB 0 (at byte 16)";
    let log = refused_start(saving("()").file("dump.rdb", &file(b"k")).launch());
    assert!(log.contains("dump.rdb: ") && log.contains(words), "{log}");
    let aof = || Keystead::builder().plugin("persistence-aof", "()");
    let log = refused_start(aof().file("appendonly.aof", &file(b"k")).launch());
    assert!(log.contains("the AOF file appendonly.aof") && log.contains(words), "{log}");
    for node in [saving("()").file("dump.rdb", &file(b"l")), aof().file("appendonly.aof", &file(b"l"))] {
        assert_eq!(node.start().client().cmd("DBSIZE"), 2);
    }
}

#[test]
fn clients_hear_that_it_is_loading_and_may_stop_it() {
    let node = saving("()").start();
    node.client().ok("DEBUG POPULATE 5000");
    node.client().ok("SAVE");
    let bytes = std::fs::read(dump(&node)).unwrap();
    drop(node);
    let mut node = saving("(key_load_delay: 2000)").file("dump.rdb", &bytes).launch();
    node.process.wait_for_log("Loading DB in memory", DEADLINE);
    let mut client = node.client();
    let reply = client.cmd("GET key:1");
    assert_eq!(reply, "LOADING Redis is loading the dataset in memory");
    let info = client.info("persistence");
    assert_eq!(info["loading"], "1");
    assert_eq!(info["loading_total_bytes"], bytes.len().to_string());
    client.send(&["SHUTDOWN"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert_eq!(std::fs::read(dump(&node)).unwrap(), bytes, "an end while loading saves nothing");
}

/// Its thread reads ahead, so that a load of many short keys never waits for the disk.
#[test]
fn a_load_that_never_waits_keeps_nobody_waiting() {
    const KEYS: usize = 500_000;
    let records = (0..KEYS).flat_map(|nth| [&[0, 7][..], format!("{nth:07}").as_bytes(), &[1, b'v']].concat());
    let mut file = b"REDIS0010\xfe\x00".to_vec();
    file.extend(records.chain([255]).chain([0; 8]));
    let mut node = saving("()").file("dump.rdb", &file).launch();
    node.process.wait_for_log("Loading DB in memory", DEADLINE);
    let mut client = node.client();
    let reply = client.cmd("DBSIZE");
    node.process.wait_for_log("DB loaded from disk", DEADLINE);
    let log = node.process.log();
    let took = log.split("DB loaded from disk: ").nth(1).and_then(|told| told.split(' ').next()).unwrap();
    // A fast machine may be done before the port is opened early.
    if took.parse::<f64>().unwrap() > 1.0 {
        assert_eq!(reply, "LOADING Redis is loading the dataset in memory", "{log}");
    }
}

/// A replica that keeps files, of `port`.
fn saving_replica(port: u16) -> Keystead {
    Keystead::builder()
        .plugin("replication", &format!("(replicaof: (\"127.0.0.1\", {port}))"))
        .plugin("persistence-rdb", "()")
        .start()
}

fn link_is_up(node: &Keystead) -> bool {
    node.client().info("replication").get("master_link_status").is_some_and(|status| status == "up")
}

#[track_caller]
fn caught_up(primary: &Keystead, replica: &Keystead) {
    let offset = |node: &Keystead| node.client().info("replication")["master_repl_offset"].clone();
    wait_until("the replica has all there is", DEADLINE, || link_is_up(replica) && offset(primary) == offset(replica));
    assert_eq!(digest(&mut primary.client()), digest(&mut replica.client()));
}

fn syncs(node: &Keystead) -> (String, String) {
    let stats = node.client().info("stats");
    (stats["sync_full"].clone(), stats["sync_partial_ok"].clone())
}

#[test]
fn a_restarted_replica_goes_on_by_partial_resync() {
    let primary = saving("()").start();
    let mut client = primary.client();
    fill(&mut client);
    let mut replica = saving_replica(primary.port());
    wait_until("the link is up", DEADLINE, || link_is_up(&replica));
    client.ok("SELECT 5");
    client.ok("SET in five");
    caught_up(&primary, &replica);
    for clean in [true, false] {
        let before = syncs(&primary);
        if clean {
            replica.process.terminate();
            assert!(replica.process.wait_exit(DEADLINE).success());
        } else {
            replica.client().ok("SAVE");
            client.ok("SET behind the-file");
            replica.process.kill();
        }
        client.ok(&format!("SET while away-{clean}"));
        replica.restart();
        caught_up(&primary, &replica);
        let after = syncs(&primary);
        assert_eq!(after.0, before.0, "no full sync: {}", replica.process.log());
        assert_ne!(after.1, before.1, "a partial one");
    }
}

#[test]
fn a_primary_that_stops_cleanly_is_followed_again_without_a_full_sync() {
    let mut primary = saving("()").start();
    fill(&mut primary.client());
    let replica = saving_replica(primary.port());
    wait_until("the link is up", DEADLINE, || link_is_up(&replica));
    let mut client = primary.client();
    client.ok("SET short lived PX 700");
    client.ok("SET a 1");
    caught_up(&primary, &replica);
    let old = client.info("replication")["master_replid"].clone();
    primary.process.terminate();
    assert!(primary.process.wait_exit(DEADLINE).success());
    primary.restart();
    let info = primary.client().info("replication");
    assert_ne!(info["master_replid"], old, "a primary never takes its id again");
    assert_eq!(info["master_replid2"], old);
    primary.client().ok("SET after restart");
    wait_until("the expired key is gone everywhere", DEADLINE, || replica.client().cmd("EXISTS short") == 0);
    caught_up(&primary, &replica);
    assert_eq!(syncs(&primary), ("0".into(), "1".into()), "{}", replica.process.log());
}

#[test]
fn a_primary_that_lost_writes_is_not_told_to_agree_with_its_replicas() {
    let mut primary = saving("(save: [])").start();
    let replica = saving_replica(primary.port());
    wait_until("the link is up", DEADLINE, || link_is_up(&replica));
    let mut client = primary.client();
    client.ok("SET a 1");
    client.ok("SAVE");
    client.ok("SET b 2");
    caught_up(&primary, &replica);
    primary.process.kill();
    primary.restart();
    caught_up(&primary, &replica);
    assert_eq!(replica.client().cmd("EXISTS b"), 0);
    assert_eq!(syncs(&primary).0, "1");
    assert!(replica.process.log().contains("came back with an older state"), "{}", replica.process.log());
}

#[test]
fn the_folder_and_the_name_change_at_run_time_for_those_who_may() {
    let node = saving("()").start();
    let refused = node.client().cmd("CONFIG SET dir /tmp");
    let words = "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config";
    assert_eq!(refused, words);
    drop(node);
    let node = saving("()").server("enable_protected_configs: \"local\"").start();
    let mut client = node.client();
    let folder = node.dir().join("elsewhere");
    let refused = client.command(&["CONFIG", "SET", "dir", &folder.display().to_string()]);
    assert!(format!("{refused:?}").ends_with("No such file or directory"), "{refused:?}");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(client.command(&["CONFIG", "SET", "dir", &folder.display().to_string(), "dbfilename", "x.rdb"]), "OK");
    assert_eq!(
        client.cmd("CONFIG SET dbfilename a/b"),
        "ERR CONFIG SET failed (possibly related to argument 'dbfilename') - dbfilename can't be a path, just a filename"
    );
    client.ok("SAVE");
    assert!(folder.join("x.rdb").exists());
    assert_eq!(
        client.cmd("CONFIG GET dir").get("dir").unwrap(),
        folder.canonicalize().unwrap().display().to_string().as_str()
    );
}

#[test]
fn a_third_strategy_shares_the_start() {
    let mut node = saving("(save: [])").plugin("snapshots", "()").plugin("scripting", "()").start();
    let mut client = node.client();
    let library = "#!lua name=l\nredis.register_function('one', function() return 1 end)";
    assert_eq!(client.command(&["FUNCTION", "LOAD", library]), "l");
    client.ok("SET a old");
    assert_eq!(client.ok("SNAPSHOTS.SAVE"), 1);
    client.ok("SET a new");
    assert_eq!(client.ok("SNAPSHOTS.SAVE"), 2);
    node.process.kill();
    node.restart();
    let mut client = node.client();
    assert_eq!(client.cmd("GET a"), "new", "the newest, and the only strategy with something to load");
    assert_eq!(client.cmd("FCALL one 0"), 1, "what isn't keys came back too");
    client.ok("SET a saved");
    client.ok("SAVE");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("GET a"), "saved", "the strategy with the fuller record");
}

/// Their text is compiled when all of the file is read.
#[test]
fn a_damaged_function_is_told_with_its_place() {
    let full = saving("(rdbchecksum: false)").plugin("scripting", "()").start();
    let library = "#!lua name=l\nredis.register_function('one', function() return 1 end)";
    assert_eq!(full.client().command(&["FUNCTION", "LOAD", library]), "l");
    full.client().ok("SAVE");
    let mut file = std::fs::read(dump(&full)).unwrap();
    let at = file.windows(3).position(|three| three == b"end").unwrap();
    file[at] = b'f';
    let log = refused_start(saving("()").plugin("scripting", "()").file("dump.rdb", &file).launch());
    let told = log.lines().find(|line| line.contains("Error compiling function")).unwrap_or(&log);
    let (from, to) = told.split_once("(functions, between byte ").and_then(|(_, at)| at.split_once(" and ")).unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.trim_end_matches(')').parse().unwrap());
    assert!(from < at && at < to, "{told}: damaged at {at}");
}

/// They are data: whoever can't call them saves them all the same, and gives them to replicas.
#[test]
fn functions_that_no_plugin_takes_stay() {
    let full = saving("()").plugin("scripting", "()").start();
    let library = "#!lua name=l\nredis.register_function('one', function() return 1 end)";
    assert_eq!(full.client().command(&["FUNCTION", "LOAD", library]), "l");
    full.client().ok("SAVE");
    let mut bare = saving("()").file("dump.rdb", &std::fs::read(dump(&full)).unwrap()).start();
    bare.client().ok("SET a 1");
    bare.client().ok("SAVE");
    bare.process.kill();
    bare.restart();
    bare.client().ok("SAVE");
    let again = saving("()").plugin("scripting", "()").file("dump.rdb", &std::fs::read(dump(&bare)).unwrap()).start();
    assert_eq!(again.client().cmd("GET a"), "1");
    assert_eq!(again.client().cmd("FCALL one 0"), 1);
    let follows = format!("(replicaof: (\"127.0.0.1\", {}))", bare.port());
    let replica = Keystead::builder().plugin("replication", &follows).plugin("scripting", "()").start();
    wait_until("a replica has them", DEADLINE, || !replica.client().cmd("FUNCTION LIST").items().is_empty());
}

/// Each has a number of its own, and is whole, however many are asked for at once.
#[test]
fn snapshots_at_once_get_a_number_each() {
    let mut node = saving("(save: [])").plugin("snapshots", "()").start();
    node.client().ok("DEBUG POPULATE 20000 k 100");
    let mut clients: Vec<_> = (0..4).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send(&["SNAPSHOTS.SAVE"]).unwrap();
    }
    let mut numbers: Vec<_> = clients.iter_mut().map(|client| client.read().unwrap().as_int()).collect();
    numbers.sort();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
    let size = |number: u32| std::fs::metadata(node.dir().join(format!("snapshot-{number}.rdb"))).unwrap().len();
    assert!((2..=4).all(|number| size(number) == size(1)));
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("DBSIZE"), 20_000);
}

/// Its own version of the format, its own folder, and nothing left where there is no room.
#[test]
fn snapshots_have_what_an_rdb_file_has_and_take_no_room_that_is_not_theirs() {
    let builder = Keystead::builder().plugin("snapshots", "()").server("enable_protected_configs: \"local\"");
    // Ignored, the signal of a file that grows too large becomes an error of the write.
    let mut node = builder.shell("trap '' XFSZ; ulimit -f 200").start();
    let mut client = node.client();
    client.ok("HSET h f v g w");
    assert_eq!(client.cmd("HEXPIREAT h 9999999999 FIELDS 1 f").items(), [Reply::Int(1)]);
    assert_eq!(client.ok("SNAPSHOTS.SAVE"), 1);
    let mut state = 1u32;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let large: Vec<u8> = (0..400 << 10).map(noise).collect();
    assert_eq!(client.command::<&[u8]>(&[b"SET", b"large", &large]), "OK");
    let refused = client.cmd("SNAPSHOTS.SAVE");
    assert!(refused.is_error() && temporary_files(&node) == 0, "{refused:?}");
    client.ok("DEL large");
    let other = node.dir().join("other");
    std::fs::create_dir(&other).unwrap();
    node.process.kill();
    node.restart();
    let mut client = node.client();
    assert_eq!(client.cmd("HEXPIRETIME h FIELDS 2 f g").items(), [Reply::Int(9_999_999_999), Reply::Int(-1)]);
    assert_eq!(client.command(&["CONFIG", "SET", "dir", &other.display().to_string()]), "OK");
    assert_eq!(client.ok("SNAPSHOTS.SAVE"), 1);
    assert!(other.join("snapshot-1.rdb").exists());
}

/// A cut that can't be read isn't one cut too many, which is waited for: the save fails, and says why.
#[test]
fn a_save_without_a_thread_for_its_snapshot_fails() {
    const A_MOMENT: Duration = Duration::from_millis(400);
    let Some(threads) = NoThreads::new() else { return };
    let node = threads.under(saving("(save: [(3600, 1)])")).start();
    let mut client = node.client();
    client.ok("SET a 1");
    let shown = |name: &str| node.client().info("persistence")[name].clone();
    let failed = || shown("rdb_last_bgsave_status") == "err";
    wait_until("it fails", DEADLINE, || {
        threads.are_made();
        wait_until("the last one has ended", DEADLINE, || shown("rdb_bgsave_in_progress") == "0");
        client.ok("SAVE");
        // The thread that wrote stays for a moment, and writes the next file, too. Where it is gone already, that waits for one.
        threads.are_refused();
        client.ok("BGSAVE");
        eventually(A_MOMENT, || failed().then_some(())).is_some()
    });
    assert!(node.process.log().contains("no thread for the snapshot"), "{}", node.process.log());
    threads.are_made();
    client.ok("BGSAVE");
    wait_until("it works", DEADLINE, || !failed());
}

#[test]
fn a_long_save_says_in_the_log_how_far_it_is() {
    let node = Keystead::builder()
        .plugin("persistence-rdb", "(save: [], rdbcompression: false, rdb_key_save_delay: 10000)")
        .start();
    let mut client = node.client();
    // Records come in batches of a quarter of a megabyte.
    client.ok("DEBUG POPULATE 2000 key 2000");
    client.ok("BGSAVE");
    let told = || {
        let info = node.client().info("persistence");
        let done: u64 = info["current_save_keys_processed"].parse().unwrap();
        assert_eq!((info["current_save_keys_total"].as_str(), done <= 2000), ("2000", true), "{info:?}");
        done > 0 && node.process.log().contains("Saving the RDB file: ")
    };
    wait_until("a line of its progress", DEADLINE, told);
    let log = node.process.log();
    let line = log.lines().find(|line| line.contains("Saving the RDB file: ")).unwrap();
    assert!(line.contains(" % of 2000 keys"), "{line}");
}

/// What follows the answer to BGSAVE isn't in the file.
#[test]
fn the_file_has_what_was_there_when_the_save_was_asked_for() {
    for round in 0..20 {
        let mut node = saving("(save: [])").start();
        let mut client = node.client();
        client.ok("SET kept 1");
        // The write is there before the save's task had any chance.
        client.send_raw(b"BGSAVE\r\nDEL kept\r\n").unwrap();
        assert_eq!(text(&client.read().unwrap()), "Background saving started");
        assert_eq!(client.read().unwrap(), Reply::Int(1));
        wait_until("it is saved", DEADLINE, || dump(&node).exists());
        node.process.kill();
        node.restart();
        assert_eq!(text(&node.client().cmd("GET kept")), "1", "round {round}");
    }
}

/// As a save's own file is called while it is written: what was left of one goes at a start, the data doesn't.
#[test]
fn data_under_a_temporary_file_s_name_stays() {
    // No process has such an id.
    const NAME: &str = "temp-4194305.rdb";
    let mut node = saving(&format!("(save: [], dbfilename: \"{NAME}\")")).file("temp-4194306.rdb", b"half").start();
    assert!(!node.dir().join("temp-4194306.rdb").exists());
    node.client().ok("SET a 1");
    node.client().ok("SAVE");
    for _ in 0..2 {
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("GET a"), "1", "{}", node.process.log());
    }
}

/// What no file can be called would be kept by CONFIG REWRITE, and refuse the next start.
#[test]
fn a_name_that_no_file_can_have_is_refused() {
    let node = saving("()").server("enable_protected_configs: \"local\"").start();
    let mut client = node.client();
    let long = "x".repeat(100_000);
    for (name, why) in [
        ("a\0b", "can't be a path"),
        ("..", "can't be a path"),
        ("a\\b", "can't be a path"),
        (long.as_str(), "can have 255 bytes at most"),
    ] {
        let Reply::Error(refused) = client.command(&["CONFIG", "SET", "dbfilename", name]) else {
            panic!("{why}: taken")
        };
        assert!(refused.contains(why), "{refused}");
    }
    assert_eq!(client.command(&["CONFIG", "SET", "dbfilename", &"x".repeat(255)]), "OK");
    client.ok("SAVE");
    assert!(node.dir().join("x".repeat(255)).exists());
    let aof = |config: &str| {
        let mut node = Keystead::builder().plugin("persistence-aof", config).launch();
        assert!(!node.process.wait_exit(DEADLINE).success());
        node.process.log()
    };
    let log = aof(&format!("(file_name: \"{}\")", "x".repeat(226)));
    assert!(log.contains("file_name can have 225 bytes at most"), "{log}");
    let log = aof(&format!("(dir_name: \"{}\")", "x".repeat(256)));
    assert!(log.contains("dir_name can have 255 bytes at most"), "{log}");
}
