//! RDB saves when the process dies or the disk fails, at any place and at any time: the file is the old one or the new one,
//! whole, and what is told is true.
#![allow(clippy::unwrap_used)]

use keystead_e2e::disk::SmallDisk;
use keystead_harness::{Client, DEADLINE, Keystead, Reply, eventually, wait_until};
use keystead_persistence_rdb::failpoint;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

fn node(env: &str) -> Keystead {
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [(3600, 1)])");
    builder.server("enable_protected_configs: \"local\"").env(failpoint::VARIABLE, env).start()
}

fn temporary_files(node: &Keystead) -> usize {
    let names = std::fs::read_dir(node.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("temp-")).count()
}

/// Raises a counter of 50, so that each save holds them between two values that differ by one at most.
fn raise(port: u16, said: &AtomicI64, stop: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    while !stop.load(Ordering::Relaxed) {
        let next = said.load(Ordering::Relaxed) + 1;
        let unit: String = (0..50).map(|n| format!("SET n:{n} {next}\r\n")).collect();
        let unit = format!("MULTI\r\n{unit}EXEC\r\n");
        if client.send_raw(unit.as_bytes()).is_err() {
            return;
        }
        for _ in 0..52 {
            let Ok(reply) = client.read() else { return };
            if let Reply::Error(_) = reply {
                continue;
            }
        }
        said.store(next, Ordering::Relaxed);
    }
}

/// All values are of one moment, and not older than the last save that was acknowledged.
fn assert_one_moment(node: &Keystead, at_least: i64, what: &str) {
    let mut client = node.client();
    let values: Vec<i64> =
        (0..50).map(|n| client.cmd(&format!("GET n:{n}")).as_text().map_or(0, |text| text.parse().unwrap())).collect();
    assert!(values.iter().all(|value| *value == values[0]), "{what}: {values:?}");
    assert!(values[0] >= at_least, "{what}: {} was saved, {at_least} was acknowledged", values[0]);
}

#[test]
fn at_every_place_the_file_is_the_old_one_or_the_new_one() {
    for place in failpoint::ALL {
        let mut node = node(&format!("{place}:3"));
        let (said, stop, mut saved) = (AtomicI64::new(0), AtomicBool::new(false), 0);
        let port = node.port();
        std::thread::scope(|scope| {
            let (counter, ended) = (&said, &stop);
            scope.spawn(move || raise(port, counter, ended));
            wait_until("it counts", DEADLINE, || said.load(Ordering::Relaxed) > 0);
            while node.process.is_alive() {
                let before = said.load(Ordering::Relaxed);
                match Client::try_connect(port).and_then(|mut client| client.try_command(&["SAVE"])) {
                    Ok(reply) if reply == "OK" => saved = before,
                    _ => break,
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        node.process.wait_exit(DEADLINE);
        assert!(saved > 0, "{place}: it died too early");
        node.process.set_env(&[]);
        node.restart();
        assert_one_moment(&node, saved, place);
        wait_until("what it left is gone", DEADLINE, || temporary_files(&node) == 0);
    }
}

#[test]
fn a_disk_that_fails_at_any_place_fails_the_save_in_words_and_nothing_else() {
    for place in failpoint::ALL {
        let node = node(&format!("{place}:2:fail"));
        let mut client = node.client();
        client.ok("SET a 1");
        client.ok("SAVE");
        client.ok("SET b 2");
        client.ok("BGSAVE");
        let status = || node.client().info("persistence")["rdb_last_bgsave_status"].clone();
        wait_until(&format!("{place} fails"), DEADLINE, || status() == "err");
        assert!(node.process.log().contains("Input/output error"), "{place}: {}", node.process.log());
        let refused = client.cmd("SET c 3");
        assert!(format!("{refused:?}").contains("MISCONF"), "{place}: {refused:?}");
        assert_eq!(client.cmd("GET a"), "1");
        assert_eq!(temporary_files(&node), 0, "{place}");
        client.ok("BGSAVE");
        wait_until("the next save succeeds", DEADLINE, || status() == "ok");
        client.ok("SET c 3");
    }
}

#[test]
fn at_any_time_the_file_is_whole() {
    let mut node = node("");
    for round in 0..6u64 {
        let (said, stop, saved) = (AtomicI64::new(0), AtomicBool::new(false), AtomicI64::new(0));
        let port = node.port();
        std::thread::scope(|scope| {
            let (counter, ended, known) = (&said, &stop, &saved);
            scope.spawn(move || raise(port, counter, ended));
            wait_until("it counts", DEADLINE, || said.load(Ordering::Relaxed) > 0);
            scope.spawn(move || {
                loop {
                    let before = counter.load(Ordering::Relaxed);
                    match Client::try_connect(port).and_then(|mut client| client.try_command(&["SAVE"])) {
                        Ok(reply) if reply == "OK" => known.store(before, Ordering::Relaxed),
                        _ => return,
                    }
                }
            });
            wait_until("it saves", DEADLINE, || saved.load(Ordering::Relaxed) > 0);
            std::thread::sleep(Duration::from_millis(round * 7));
            node.process.kill();
            stop.store(true, Ordering::Relaxed);
        });
        node.restart();
        assert_one_moment(&node, saved.load(Ordering::Relaxed), &format!("round {round}"));
    }
}

#[test]
fn a_folder_that_is_read_only_or_gone_fails_the_save_and_names_it() {
    let node = node("");
    let mut client = node.client();
    client.ok("SET a 1");
    let other = node.dir().join("other");
    std::fs::create_dir(&other).unwrap();
    client.command(&["CONFIG", "SET", "dir", &other.display().to_string()]);
    client.ok("SAVE");
    std::fs::rename(&other, node.dir().join("gone")).unwrap();
    client.ok("SET b 1");
    let refused = client.cmd("SAVE");
    let Reply::Error(text) = &refused else { panic!("{refused:?}") };
    assert!(text.contains("Failed opening the temp RDB file") && text.contains("other"), "{text}");
    std::fs::create_dir(&other).unwrap();
    let Some(disk) = SmallDisk::at(&other, "1m") else { return };
    disk.remount("ro");
    client.command(&["CONFIG", "SET", "dir", &other.display().to_string()]);
    client.ok("BGSAVE");
    let status = || node.client().info("persistence")["rdb_last_bgsave_status"].clone();
    wait_until("the save fails", DEADLINE, || status() == "err");
    assert!(node.process.log().contains("Read-only file system"), "{}", node.process.log());
    assert!(format!("{:?}", client.cmd("SET c 1")).contains("MISCONF"));
    disk.remount("rw");
    client.ok("BGSAVE");
    wait_until("the next save succeeds", DEADLINE, || status() == "ok");
    client.ok("SET c 1");
}

#[test]
fn flushall_empties_the_file_while_there_are_save_points() {
    let mut node = node("");
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("SAVE");
    let full = std::fs::metadata(node.dir().join("dump.rdb")).unwrap().len();
    client.ok("FLUSHALL");
    let empty = || std::fs::metadata(node.dir().join("dump.rdb")).unwrap().len() < full;
    wait_until("the file is emptied", DEADLINE, empty);
    node.process.kill();
    node.restart();
    let mut client = node.client();
    assert_eq!(client.cmd("DBSIZE"), Reply::Int(0));

    // A save that runs is given up: it isn't an error.
    client.ok("DEBUG POPULATE 1000");
    client.ok("CONFIG SET rdb-key-save-delay 20000");
    client.ok("BGSAVE");
    wait_until("the save writes", DEADLINE, || temporary_files(&node) > 0);
    client.ok("FLUSHALL");
    let running = || node.client().info("persistence")["rdb_bgsave_in_progress"] == "1";
    wait_until("it is given up", DEADLINE, || !running());
    assert_eq!(node.client().info("persistence")["rdb_last_bgsave_status"], "ok");
    client.ok("SET b 1");

    // Without save points the file is the user's business.
    client.ok("CONFIG SET rdb-key-save-delay 0");
    client.ok("SAVE");
    client.command(&["CONFIG", "SET", "save", ""]);
    let before = std::fs::read(node.dir().join("dump.rdb")).unwrap();
    client.ok("FLUSHALL");
    client.ok("SET c 1");
    let held = eventually(Duration::from_millis(600), || {
        (std::fs::read(node.dir().join("dump.rdb")).unwrap() != before).then_some(())
    });
    assert!(held.is_none(), "the file was written unasked");
}

/// FLUSHALL gives up saves of what was there before it, and no others, whenever it is noticed.
#[test]
fn a_save_asked_for_behind_flushall_is_written() {
    let mut node = node("");
    let mut client = node.client();
    client.command(&["CONFIG", "SET", "save", ""]);
    client.ok("DEBUG POPULATE 10 old");
    client.ok("CONFIG SET rdb-key-save-delay 20000");
    // In one connection, at once; each save lasts longer than it takes to notice.
    client.ok("FLUSHALL");
    client.ok("DEBUG POPULATE 40 new");
    assert_eq!(client.cmd("BGSAVE"), "Background saving started");
    let running = || node.client().info("persistence")["rdb_bgsave_in_progress"] == "1";
    wait_until("it ends", DEADLINE, || !running());
    assert!(!node.process.log().contains("Background saving was given up"), "{}", node.process.log());
    // A later one makes it worthless.
    client.ok("DEBUG POPULATE 1000 new");
    client.ok("BGSAVE");
    client.ok("FLUSHALL");
    wait_until("it is given up", DEADLINE, || node.process.log().contains("Background saving was given up"));
    wait_until("it ends", DEADLINE, || !running());
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("DBSIZE"), 40);
}

/// Whoever waits for a save may go away while a thread writes: the next one is behind it, not in the same file.
#[test]
fn a_save_that_nobody_waits_for_meets_no_other() {
    for goes in ["CLIENT KILL TYPE normal SKIPME yes", "SHUTDOWN ABORT"] {
        let mut node = node("");
        let mut client = node.client();
        client.ok("DEBUG POPULATE 3000 k 500");
        client.ok("CONFIG SET rdb-key-save-delay 1000 rdbcompression no");
        let asks = if goes.starts_with("SHUTDOWN") { "SHUTDOWN" } else { "SAVE" };
        let mut waits = node.client();
        waits.send(&[asks]).unwrap();
        // It is in the middle of its file.
        let half = || {
            let files = std::fs::read_dir(node.dir()).unwrap().flatten();
            let mut written = files.filter(|file| file.file_name().to_string_lossy().starts_with("temp-"));
            written.any(|file| file.metadata().is_ok_and(|file| file.len() > 0))
        };
        wait_until("it writes", DEADLINE, half);
        client.cmd(goes);
        client.ok("CONFIG SET rdb-key-save-delay 0");
        client.ok("DEBUG POPULATE 3000 new 500");
        client.ok("SAVE");
        let file = || std::fs::read(node.dir().join("dump.rdb")).unwrap();
        let saved = file();
        let changed = eventually(Duration::from_millis(1200), || (file() != saved).then_some(()));
        assert!(changed.is_none(), "{goes}: somebody writes into what was acknowledged");
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("DBSIZE"), 6000, "{goes}");
    }
}

/// An end that is asked for more urgently saves anew: the save before gives up, and is in nobody's way.
#[test]
fn an_end_that_is_urged_on_saves_once_more() {
    for urged in ["SHUTDOWN NOW", "SHUTDOWN SAVE FORCE"] {
        let mut node = node("");
        let mut client = node.client();
        client.ok("DEBUG POPULATE 1000");
        client.ok("CONFIG SET rdb-key-save-delay 1000");
        node.client().send(&["SHUTDOWN"]).unwrap();
        wait_until("it writes", DEADLINE, || temporary_files(&node) > 0);
        client.send(&urged.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(node.process.wait_exit(DEADLINE).success(), "{urged}: {}", node.process.log());
        assert!(!node.process.log().contains("Error"), "{urged}: {}", node.process.log());
        node.restart();
        assert_eq!(node.client().cmd("DBSIZE"), 1000);
    }
}
