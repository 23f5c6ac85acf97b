//! A disk that doesn't answer or fails over an append-only file, seen from outside: who is told, who waits no longer, and when
//! it is over. Full disks are `disk_faults`'.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_e2e::disk::FaultyDisk;
use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, Reply, eventually, wait_until};
use keystead_persistence_aof::failpoint;
use std::time::{Duration, Instant};

/// Under `everysec` a silent disk is busy for longer than this, with room for slow machines, and has failed by then.
const BUSY_FOR: Duration = Duration::from_secs(6);
const FAILS_AFTER: Duration = Duration::from_secs(20);

const SAYS_NOTHING: &str = "MISCONF Errors writing to the AOF file: the disk does not answer";

fn file(config: &str) -> KeysteadBuilder {
    Keystead::builder().plugin("persistence-aof", config)
}

fn persistence(node: &Keystead, field: &str) -> String {
    node.client().info("persistence")[field].clone()
}

fn says(reply: &Reply, words: &str) -> bool {
    matches!(reply, Reply::Error(text) if text == words)
}

fn refused(node: &Keystead) -> bool {
    says(&node.client().cmd("PING"), SAYS_NOTHING)
}

/// Under `everysec` a sync that hangs is felt by nobody, also if an order waits for it: a busy disk takes seconds. One that takes
/// longer is broken, though nothing is written.
#[test]
fn an_order_that_waits_for_a_sync_that_hangs_is_a_disk_that_fails_in_the_end() {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = disk.under(file("(rewrite_percentage: 0)"), 0).start();
    node.client().ok("SET before 1");
    disk.stands_still();
    wait_until("a sync", DEADLINE, || persistence(&node, "aof_pending_bio_fsync") == "1");
    node.client().ok("BGREWRITEAOF");
    let begin = Instant::now();
    let mut client = node.client();
    wait_until("the silence is felt", DEADLINE, || {
        let said = client.cmd("SET meanwhile 1");
        let failed = says(&said, SAYS_NOTHING);
        assert!(failed || (said == "OK" && begin.elapsed() < FAILS_AFTER), "{said:?} after {:?}", begin.elapsed());
        failed
    });
    assert!(begin.elapsed() > BUSY_FOR, "{:?}", begin.elapsed());
    assert_eq!(persistence(&node, "aof_last_write_status"), "err");
    assert!(refused(&node) && says(&node.client().cmd("SET more 1"), SAYS_NOTHING));
    assert_eq!(node.client().cmd("GET before"), "1", "reads go on under everysec");
    // The same words for as long as it lasts: sentinels log those that are new.
    wait_until("the next second", DEADLINE, || {
        assert!(refused(&node));
        node.process.log().contains("Error writing to the AOF file: the disk has not answered for")
    });
    disk.goes_on();
    wait_until("it answers", DEADLINE, || node.client().cmd("PING") == "PONG");
    node.client().ok("SET behind 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS before meanwhile behind more"), 3);
}

/// A setting is no reason to wait for it.
#[test]
fn a_setting_doesn_t_wait_for_a_sync_that_hangs() {
    let Some(disk) = FaultyDisk::new() else { return };
    let node = disk.under(file("(rewrite_percentage: 0, rewrite_min_size: 10)"), 0).start();
    node.client().ok("SET before 1");
    disk.stands_still();
    wait_until("a sync", DEADLINE, || persistence(&node, "aof_pending_bio_fsync") == "1");
    node.client().ok("CONFIG SET auto-aof-rewrite-percentage 1");
    let obeys = || node.process.log().contains("Starting automatic rewriting of AOF");
    wait_until("the writer goes by it", DEADLINE, obeys);
    assert_eq!(persistence(&node, "aof_pending_bio_fsync"), "1");
    // Switched off, it is put on the disk first: that waits.
    node.client().ok("CONFIG SET appendonly no");
    disk.goes_on();
    wait_until("it is off", DEADLINE, || node.process.log().contains("The append-only file is switched off"));
    node.client().ok("SET behind 1");
}

/// Nobody relies on a file before its first base, however long the disk takes for it.
#[test]
fn switched_on_over_a_disk_that_is_silent_it_refuses_no_write() {
    let slow = "manifest-synced:1:slow:1";
    let builder = file("(enabled: false, fsync: always)").plugin("persistence-rdb", "(save: [])");
    let node = builder.env(failpoint::VARIABLE, slow).start();
    let mut client = node.client();
    client.ok("CONFIG SET appendonly yes");
    wait_until("the first base", DEADLINE, || {
        assert_eq!(client.cmd("SET k v"), "OK", "{}", node.process.log());
        persistence(&node, "aof_rewrites") == "1"
    });
}

/// Whoever gives up what the disk lacks waits for it no longer, though it says nothing yet.
#[test]
fn a_setting_ends_the_refusals_of_a_disk_that_is_silent() {
    for setting in ["appendfsync everysec", "appendfsync no", "appendonly no"] {
        let Some(disk) = FaultyDisk::new() else { return };
        let node = disk.under(file("(fsync: always, rewrite_percentage: 0)"), 0).start();
        node.client().ok("SET before 1");
        disk.stands_still();
        let mut held = node.client();
        held.send(&["SET", "held", "1"]).unwrap();
        wait_until("the silence is felt", DEADLINE, || refused(&node));
        node.client().ok(&format!("CONFIG SET {setting}"));
        assert_eq!(held.read().unwrap(), "OK");
        // Before it counts as broken under `everysec` too.
        wait_until("writes are taken", BUSY_FOR, || node.client().cmd("SET behind 1") == "OK");
        assert_eq!(persistence(&node, "aof_last_write_status"), "ok");
        node.client().ok("CONFIG SET appendonly yes appendfsync always");
        wait_until("it is refused again", DEADLINE, || refused(&node));
        disk.goes_on();
        wait_until("it answers", DEADLINE, || node.client().cmd("PING") == "PONG");
        node.client().ok("SET last 1");
    }
}

/// The writer hangs in a manifest's sync for 3 s: under `always` writes are refused from the 2nd on, and who waits is answered.
#[test]
fn a_rewrite_that_hangs_is_a_disk_that_fails() {
    let builder =
        file("(fsync: always, rewrite_percentage: 0)").env(failpoint::VARIABLE, "manifest-synced:2:slow:1000");
    let node = builder.start();
    node.client().ok("SET before 1");
    node.client().ok("BGREWRITEAOF");
    let felt = || persistence(&node, "aof_last_write_status") == "err" && refused(&node);
    let felt = eventually(DEADLINE, || felt().then_some(()));
    assert!(felt.is_some(), "{}", node.process.log());
    wait_until("it answers", DEADLINE, || node.client().cmd("PING") == "PONG");
}

/// Under `everysec` the same is a disk that is busy: replies go before they are in the file, and what they show is in it later.
#[test]
fn a_rewrite_that_hangs_refuses_nothing_under_everysec() {
    let builder = file("(rewrite_percentage: 0)").env(failpoint::VARIABLE, "manifest-synced:2:slow:2");
    let mut node = builder.start();
    let mut client = node.client();
    client.ok("SET before 1");
    client.ok("BGREWRITEAOF");
    let mut last = 0;
    wait_until("the rewrite", DEADLINE, || {
        last += 1;
        assert_eq!(client.cmd("PING"), "PONG", "{}", node.process.log());
        assert_eq!(client.cmd(&format!("SET n {last}")), "OK", "{}", node.process.log());
        persistence(&node, "aof_rewrites") == "1"
    });
    assert!(!node.process.log().contains("has not answered"), "{}", node.process.log());
    client.ok("SET behind 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("GET n"), last.to_string().as_str());
    assert_eq!(node.client().cmd("EXISTS before behind"), 2);
}

/// The writer waits for a turn that a long command holds: that says nothing about the disk.
#[test]
fn a_long_command_is_no_disk_that_is_silent() {
    let node = file("(fsync: always, rewrite_percentage: 0)").start();
    let mut client = node.client();
    client.ok("SET before 1");
    // In one turn: the order is there when the sleep begins, and its looks at `dir` and at the keys come behind it.
    client.send_raw(b"BGREWRITEAOF\r\nDEBUG SLEEP 4\r\n").unwrap();
    client.read().unwrap();
    assert_eq!(client.read().unwrap(), "OK");
    wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
    assert!(!node.process.log().contains("has not answered"), "{}", node.process.log());
}

fn follows(replica: &Keystead, primary: &Keystead, key: &str) {
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    let there = eventually(DEADLINE, || (replica.client().cmd(&format!("EXISTS {key}")) == 1).then_some(()));
    assert!(there.is_some(), "{}", replica.process.log());
}

/// Behind a full sync the replica's files are of other data. Until there is a base of the new data it must not look healthy,
/// whatever works meanwhile.
#[test]
fn a_replica_without_a_base_says_so_until_there_is_one() {
    let Some(disk) = FaultyDisk::new() else { return };
    let primary = Keystead::builder().plugin("replication", "()").start();
    primary.client().ok("DEBUG POPULATE 500");
    primary.client().ok("SET last 1");
    let builder = file("(rewrite_percentage: 0)").plugin("replication", "(diskless_load: swapdb)");
    let builder = builder.plugin("persistence-rdb", "(save: [])");
    let mut replica = disk.under(builder, 0).start();
    assert_eq!(persistence(&replica, "aof_last_write_status"), "ok");
    disk.has_room_for(0);
    follows(&replica, &primary, "last");
    wait_until("it says so", DEADLINE, || persistence(&replica, "aof_last_write_status") == "err");
    wait_until("it says why", DEADLINE, || persistence(&replica, "keystead_aof_given_up") == "1");
    // A base that lasts: what is written meanwhile works again, and the base fails.
    replica.client().ok("CONFIG SET rdb-key-save-delay 10000");
    let begun = || {
        primary.client().ok("INCR counter");
        persistence(&replica, "aof_rewrite_in_progress") == "1"
    };
    wait_until("an attempt", DEADLINE, begun);
    disk.has_room_for(2000);
    let failures = persistence(&replica, "aof_rewrites_consecutive_failures");
    let failed = eventually(DEADLINE, || {
        primary.client().ok("INCR counter");
        let info = replica.client().info("persistence");
        assert_eq!(info["aof_last_write_status"], "err", "{}", replica.process.log());
        (info["aof_rewrites_consecutive_failures"] != failures).then_some(())
    });
    assert!(failed.is_some(), "{}", replica.process.log());
    replica.client().ok("CONFIG SET rdb-key-save-delay 0");
    disk.has_room();
    wait_until("a base", DEADLINE, || persistence(&replica, "keystead_aof_given_up") == "0");
    assert_eq!(persistence(&replica, "aof_last_write_status"), "ok");
    primary.client().ok("SET behind 1");
    wait_until("it follows", DEADLINE, || replica.client().cmd("EXISTS behind") == 1);
    drop(primary);
    replica.process.kill();
    replica.restart();
    assert_eq!(replica.client().cmd("EXISTS behind last"), 2);
}

/// What waits behind a failed fsync isn't confirmed by a newer file that works: the old one is part of the set until there is
/// a base, however often that is tried.
#[test]
fn behind_a_failed_sync_nothing_is_confirmed_before_there_is_a_base() {
    let failing = "batch-synced:2:fail:1,base-synced:2:fail:1000";
    let node = file("(fsync: always, rewrite_percentage: 0)").env(failpoint::VARIABLE, failing).start();
    let mut clients: Vec<Client> = (0..2).map(|_| node.client()).collect();
    // Until one meets the sync that fails.
    let held = eventually(DEADLINE, || {
        let client = clients.first_mut()?;
        client.set_reply_limit(Duration::from_millis(300));
        client.try_command(&["INCR", "n"]).is_err().then_some(())
    });
    assert!(held.is_some(), "{}", node.process.log());
    let tries = || persistence(&node, "aof_rewrites_consecutive_failures").parse::<u64>().unwrap() >= 3;
    wait_until("attempts", DEADLINE, tries);
    let told = clients.first_mut().unwrap().read();
    assert!(told.is_err(), "{told:?}\n{}", node.process.log());
    assert_eq!(persistence(&node, "aof_last_write_status"), "err");
    let refused = format!("{:?}", node.client().cmd("SHUTDOWN"));
    assert!(refused.contains("ERR Errors trying to SHUTDOWN"), "{refused}");
}

/// Nothing is promised before the first base, so nothing is refused, whatever was written meanwhile.
#[test]
fn switched_on_while_the_disk_is_full_it_refuses_no_write() {
    let Some(disk) = FaultyDisk::new() else { return };
    let builder = file("(enabled: false)").plugin("persistence-rdb", "(save: [], rdb_key_save_delay: 2000)");
    let node = disk.under(builder, 0).start();
    let mut client = node.client();
    client.ok("DEBUG POPULATE 200");
    disk.has_room_for(0);
    client.ok("CONFIG SET appendonly yes");
    wait_until("attempts", DEADLINE, || {
        assert_eq!(client.cmd("SET k v"), "OK", "{}", node.process.log());
        persistence(&node, "aof_rewrites_consecutive_failures") == "2"
    });
    disk.has_room();
    wait_until("the first base", DEADLINE, || persistence(&node, "aof_last_bgrewrite_status") == "ok");
    client.ok("SET k v");
}

/// What a script would show is in memory alone, as with any read: it is refused, not held until the connection is closed.
#[test]
fn scripts_are_told_of_a_full_disk_under_always() {
    let Some(disk) = FaultyDisk::new() else { return };
    let builder = file("(fsync: always, rewrite_percentage: 0)").plugin("scripting", "()");
    let node = disk.under(builder, 0).start();
    let mut client = node.client();
    client.ok("SET before 1");
    let library = "#!lua name=l\nredis.register_function{function_name='f', flags={'no-writes'}, \
                   callback=function() return redis.call('get', 'before') end}";
    client.command(&["FUNCTION", "LOAD", library]);
    let read = "#!lua flags=no-writes\nreturn redis.call('get', 'before')";
    let old = "return redis.call('get', 'before')";
    let sha = client.command(&["SCRIPT", "LOAD", read]).as_text().unwrap();
    disk.has_room_for(0);
    node.client().send(&["SET", "held", "1"]).unwrap();
    wait_until("the refusal", DEADLINE, || persistence(&node, "aof_last_write_status") == "err");
    for words in [["EVAL", read, "0"], ["EVAL", old, "0"], ["EVALSHA", &sha, "0"], ["FCALL", "f", "0"]] {
        let mut client = node.client();
        client.set_reply_limit(Duration::from_secs(2));
        let told = client.try_command(&words);
        let told = told.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let full = "MISCONF Errors writing to the AOF file: No space left on device (os error 28)";
        assert!(says(&told, full), "{told:?}");
    }
    disk.has_room();
    wait_until("room", DEADLINE, || client.command(&["EVAL", read, "0"]) == "1");
}

/// A plugin in C that refuses the first end.
const REFUSES_ONCE: &str = r#"
static int asked;
static uint32_t poll_end(void *data, const ks_waker *waker, ks_out *out) {
  (void)data; (void)waker;
  *out = (ks_out){.status = asked++ ? KS_OK : KS_ERR};
  return KS_READY;
}
static ks_future before_end(void *data, uint32_t flags) {
  (void)data; (void)flags;
  return (ks_future){.data = (void *)&instance_api, .poll = poll_end};
}
static const ks_instance_api ending_api = {.size = sizeof(ks_instance_api), .before_end = before_end};
"#;

/// An end that insists gives up a silent disk. If somebody else refuses it, the next one begins anew.
#[test]
fn a_disk_that_was_given_up_for_an_end_is_not_for_the_next() {
    let Some(disk) = FaultyDisk::new() else { return };
    let plugins = Plugins::new();
    let body = "if (out) { out->data = out; out->api = &ending_api; return KS_OK; }";
    plugins.with_functions("refuses", "", REFUSES_ONCE, body);
    let builder = Keystead::builder().plugin_dir(plugins.dir()).plugin("refuses", "()");
    let builder = builder.plugin("persistence-aof", "(fsync: always, rewrite_percentage: 0)");
    let mut node = disk.under(builder, 0).start();
    node.client().ok("SET before 1");
    disk.stands_still();
    let mut held = node.client();
    held.send(&["SET", "held", "1"]).unwrap();
    wait_until("the silence is felt", DEADLINE, || persistence(&node, "aof_last_write_status") == "err");
    let reply = format!("{:?}", node.client().cmd("SHUTDOWN NOSAVE"));
    assert!(reply.contains("ERR Errors trying to SHUTDOWN"), "{reply}");
    let log = node.process.log();
    assert!(log.contains("could not be put on the disk within 2s"), "{log}");
    disk.goes_on();
    assert_eq!(held.read().unwrap(), "OK");
    node.client().send(&["SHUTDOWN"]).unwrap();
    let ended = node.process.wait_exit(DEADLINE);
    let log = node.process.log();
    assert!(ended.success() && !log.contains("it is not all on the disk"), "{log}");
}

/// The set's folder has these files and no others.
fn files(node: &Keystead) -> Vec<String> {
    let entries = std::fs::read_dir(node.dir().join("appendonlydir")).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Deleting what a rewrite replaced takes 3 s, as that of a large file may: under `always` writes would be refused behind 2 s.
#[test]
fn nobody_waits_while_old_files_are_deleted() {
    let failing = "history-removed:1:slow:1";
    let mut node = file("(fsync: always, rewrite_percentage: 0)").env(failpoint::VARIABLE, failing).start();
    let mut client = node.client();
    client.ok("SET before 1");
    client.ok("BGREWRITEAOF");
    let manifest = || std::fs::read_to_string(node.dir().join("appendonlydir/appendonly.aof.manifest")).unwrap();
    let mut last = 0;
    let mut beside = 0;
    wait_until("the history's end", DEADLINE, || {
        last += 1;
        let removes = manifest().contains("type h");
        assert_eq!(client.cmd(&format!("SET n {last}")), "OK", "{}", node.process.log());
        beside += u64::from(removes && manifest().contains("type h"));
        persistence(&node, "aof_rewrites") == "1" && !manifest().contains("type h")
    });
    assert!(beside > 10, "{beside} writes while it lasted");
    assert_eq!(files(&node).len(), 3, "{:?}", files(&node));
    client.ok("BGREWRITEAOF");
    wait_until("another rewrite", DEADLINE, || persistence(&node, "aof_rewrites") == "2");
    wait_until("its history's end", DEADLINE, || files(&node).len() == 3);
    client.ok("SET behind 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("GET n"), last.to_string().as_str());
    assert_eq!(node.client().cmd("EXISTS before behind"), 2);
}

/// A rewrite goes on in another file while the old one is put on the disk, which takes 3 s: replies leave, and WAITAOF says
/// nothing of what it lacks.
#[test]
fn nobody_waits_while_the_file_before_is_put_on_the_disk() {
    let failing = "batch-synced:2:slow:1";
    let builder = file("(fsync: no, rewrite_percentage: 0)").plugin("replication", "()");
    let mut node = builder.env(failpoint::VARIABLE, failing).start();
    let (mut client, mut writer) = (node.client(), node.client());
    writer.ok("SET before 1");
    client.ok("BGREWRITEAOF");
    let (mut last, mut beside) = (0, 0);
    let goes_on = || node.process.log().contains("Creating AOF incr file appendonly.aof.2.incr.aof");
    let pends = || goes_on() && persistence(&node, "aof_pending_bio_fsync") == "1";
    wait_until("the rewrite", DEADLINE, || {
        let pended = pends();
        let on_disk = writer.cmd("WAITAOF 1 0 1");
        last += 1;
        assert_eq!(client.cmd("INCR n"), last);
        if pended && pends() {
            assert_eq!(on_disk.items()[0], 0, "{}", node.process.log());
            beside += 1;
        }
        persistence(&node, "aof_rewrites") == "1"
    });
    assert!(beside > 10, "{beside} writes while it lasted");
    wait_until("it is on the disk", DEADLINE, || writer.cmd("WAITAOF 1 0 100").items()[0] == 1);
    client.ok("SET behind 1");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("GET n"), last.to_string().as_str());
    assert_eq!(node.client().cmd("EXISTS before behind"), 2);
}

/// The file before can't be put on the disk: writes are refused until there is a base that doesn't need it.
#[test]
fn a_file_before_that_can_not_be_put_on_the_disk_refuses_writes_until_there_is_a_base() {
    let failing = "batch-synced:2:fail:1,base-synced:2:fail:1";
    let builder = file("(fsync: no, rewrite_percentage: 0)").plugin("replication", "()");
    let node = builder.env(failpoint::VARIABLE, failing).start();
    node.client().ok("SET before 1");
    node.client().ok("BGREWRITEAOF");
    wait_until("it is said", DEADLINE, || {
        node.process.log().contains("Error writing to the AOF file: Input/output error")
    });
    wait_until("a base", DEADLINE, || persistence(&node, "aof_last_write_status") == "ok");
    let mut client = node.client();
    client.ok("SET behind 1");
    client.ok("CONFIG SET appendfsync everysec");
    wait_until("it is on the disk", DEADLINE, || client.cmd("WAITAOF 1 0 100").items()[0] == 1);
}

/// Each file that is written for one whose sync fails is no better: whole sets aren't written one behind the other.
#[test]
fn a_disk_that_takes_no_sync_is_given_time_between_rewrites() {
    let failing = "batch-synced:2:fail:100000";
    let node = file("(fsync: always, rewrite_percentage: 0)").env(failpoint::VARIABLE, failing).start();
    let begin = Instant::now();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut client = node.client();
                client.set_reply_limit(Duration::from_millis(100));
                let _ = client.try_command(&["SET", "k", "v"]);
            }
        });
        let begun = || node.process.log().matches("Background append only file rewriting started").count();
        // The first one is the start's.
        let enough = eventually(DEADLINE, || (begun() >= 4).then_some(()));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(enough.is_some(), "{}", node.process.log());
    });
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
}

/// An end that saves nothing gives up a save that runs: over a disk that doesn't answer it can't wait for it to notice.
#[test]
fn an_end_that_saves_nothing_waits_for_no_save() {
    let Some(disk) = FaultyDisk::new() else { return };
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [(3600, 1)])");
    let mut node = disk.under(builder, 0).start();
    node.client().ok("SET a 1");
    node.client().ok("SAVE");
    disk.stands_still();
    node.client().ok("BGSAVE");
    wait_until("it writes", DEADLINE, || {
        std::fs::read_dir(node.dir())
            .unwrap()
            .flatten()
            .any(|file| file.file_name().to_string_lossy().starts_with("temp-"))
    });
    node.client().send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
    disk.goes_on();
    node.restart();
    assert_eq!(node.client().cmd("GET a"), "1");
}
