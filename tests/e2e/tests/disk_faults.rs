//! Disks that take less than they are given, are full from some byte on, or can't be written: nothing acknowledged is
//! missing, no unit is there by half, and what was refused goes on when there is room again.
#![allow(clippy::unwrap_used)]

use keystead_e2e::disk::{FaultyDisk, ReadOnly};
use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, Reply, eventually, have, wait_until};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

fn aof(disk: &FaultyDisk, most: usize, config: &str) -> Keystead {
    let builder = Keystead::builder().plugin("persistence-aof", config).plugin("replication", "()");
    disk.under(builder, most).start()
}

fn persistence(node: &Keystead, field: &str) -> String {
    node.client().info("persistence")[field].clone()
}

/// Keys of every type, in two databases.
fn fill(client: &mut Client, rounds: u32) {
    for n in 0..rounds {
        for line in [
            format!("SET s:{n} {}", "v".repeat(1 + n as usize * 7 % 300)),
            format!("RPUSH l:{} {n} {}", n % 3, "e".repeat(1 + n as usize % 90)),
            format!("SADD set:{} {n} m{n}", n % 3),
            format!("ZADD z {n}.25 m{n}"),
            format!("HSET h:{} f{n} {n}", n % 5),
            format!("XADD x * n {n}"),
        ] {
            client.ok(&line);
        }
    }
    client.ok("SELECT 5");
    client.ok("SET other db PX 90000000");
    client.ok("SELECT 0");
}

fn digest(node: &Keystead) -> String {
    node.client().cmd("DEBUG DIGEST").as_text().unwrap()
}

fn manifest(node: &Keystead) -> PathBuf {
    node.dir().join("appendonlydir/appendonly.aof.manifest")
}

/// Redis' own tools find nothing wrong.
fn checked(tool: &str, file: &std::path::Path) {
    if !have(tool) {
        return println!("SKIPPED: {tool} is not installed");
    }
    let told = Command::new(tool).arg(file).output().unwrap();
    assert!(told.status.success(), "{tool}: {}", String::from_utf8_lossy(&told.stdout));
}

#[test]
fn writes_that_take_less_are_gone_on_with() {
    let Some(disk) = FaultyDisk::new() else { return };
    for preamble in ["true", "false"] {
        let config = format!("(fsync: always, rdb_preamble: {preamble}, rewrite_percentage: 0)");
        let mut node = aof(&disk, 3, &config);
        let mut client = node.client();
        fill(&mut client, 20);
        client.ok("BGREWRITEAOF");
        wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
        fill(&mut client, 30);
        let before = digest(&node);
        node.process.kill();
        checked("redis-check-aof", &manifest(&node));
        node.restart();
        assert_eq!(digest(&node), before, "rdb_preamble: {preamble}");
    }
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [])");
    let mut node = disk.under(builder, 3).start();
    fill(&mut node.client(), 50);
    node.client().ok("SAVE");
    let before = digest(&node);
    node.process.kill();
    checked("redis-check-rdb", &node.dir().join("dump.rdb"));
    node.restart();
    assert_eq!(digest(&node), before);
}

/// Both counters of a unit, which are always the same.
fn counted(client: &mut Client) -> i64 {
    let values = client.cmd("MGET a b").texts();
    assert_eq!(values.first(), values.get(1), "half a unit");
    values.first().map_or(0, |text| text.parse().unwrap())
}

const UNIT: &[u8] = b"MULTI\r\nINCR a\r\nINCR b\r\nEXEC\r\n";

/// The replies to [`UNIT`]; what it came to, if it did.
fn unit_told(client: &mut Client) -> Option<i64> {
    let replies: Option<Vec<Reply>> = (0..4).map(|_| client.read().ok()).collect();
    replies?.pop()?.items().first().and_then(Reply::as_int)
}

/// The disk is full at some byte of a unit, at each of them in turn. Every other time the process is killed while it is.
fn full_inside_of_a_unit(fsync: &str) {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = aof(&disk, 0, &format!("(fsync: {fsync}, rewrite_percentage: 0)"));
    let mut acked = 0;
    // With SELECT and the note of the place a unit takes about 150 bytes.
    for (round, room) in (0..160).step_by(13).enumerate() {
        let context = format!("{fsync}, room for {room} bytes");
        let mut client = node.client();
        client.send_raw(UNIT).unwrap();
        acked = unit_told(&mut client).unwrap_or_else(|| panic!("{context}: {}", node.process.log()));
        disk.has_room_for(room);
        client.send_raw(UNIT).unwrap();
        let mut probe = node.client();
        probe.set_reply_limit(Duration::from_millis(200));
        let refused = eventually(DEADLINE, || match probe.try_command(&["INCR", "probe"]) {
            Ok(Reply::Error(text)) => Some(text),
            Ok(_) => None,
            // Its reply waits for the disk: another one is asked.
            Err(_) => {
                probe = node.client();
                probe.set_reply_limit(Duration::from_millis(200));
                None
            }
        });
        let refused = refused.unwrap_or_else(|| panic!("{context}: writes go on\n{}", node.process.log()));
        assert!(refused.starts_with("MISCONF Errors writing to the AOF file: No space left on device"), "{refused}");
        assert_eq!(persistence(&node, "aof_last_write_status"), "err");
        if round % 2 == 1 {
            // Under `always` it is answered only if the disk had room for all of it. Under `everysec` what is answered while
            // the disk is full is in memory alone, as in Redis.
            client.set_reply_limit(Duration::from_millis(100));
            if let Some(told) = unit_told(&mut client).filter(|_| fsync == "always") {
                acked = told;
            }
            node.process.kill();
            if round % 4 == 1 {
                disk.has_room();
            }
            node.restart();
            let there = counted(&mut node.client());
            assert!(there >= acked, "{context}: {acked} was acknowledged, {there} is there\n{}", node.process.log());
            disk.has_room();
        } else {
            disk.has_room();
            let told = unit_told(&mut client);
            acked = told.unwrap_or_else(|| panic!("{context}: not answered\n{}", node.process.log()));
        }
        let well = eventually(DEADLINE, || {
            let told = node.client().cmd("SET probe 0");
            (told == "OK" && persistence(&node, "aof_last_write_status") == "ok").then_some(())
        });
        assert!(well.is_some(), "{context}: it doesn't recover\n{}", node.process.log());
    }
    node.process.kill();
    checked("redis-check-aof", &manifest(&node));
    node.restart();
    assert!(counted(&mut node.client()) >= acked, "{fsync}: {}", node.process.log());
}

#[test]
fn a_disk_that_is_full_inside_of_a_unit_costs_nothing_acknowledged() {
    full_inside_of_a_unit("always");
}

#[test]
fn a_disk_that_is_full_inside_of_a_unit_under_everysec_is_recovered_from() {
    full_inside_of_a_unit("everysec");
}

/// What a full disk took of a unit can't be cut off: it is gone on with when there is room, at whatever byte it broke off.
fn what_cannot_be_cut_off_is_gone_on_with(fsync: &str) {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = aof(&disk, 0, &format!("(fsync: {fsync}, timestamps: true, rewrite_percentage: 0)"));
    disk.cuts_nothing();
    let mut acked = 0;
    for room in [1, 20, 40, 60] {
        let context = format!("{fsync}, room for {room} bytes");
        let mut client = node.client();
        disk.has_room_for(room);
        client.send_raw(UNIT).unwrap();
        wait_until("the refusal", DEADLINE, || persistence(&node, "aof_last_write_status") == "err");
        disk.has_room();
        acked = unit_told(&mut client).unwrap_or_else(|| panic!("{context}: {}", node.process.log()));
        let well = eventually(DEADLINE, || (node.client().cmd("SET probe 0") == "OK").then_some(()));
        assert!(well.is_some(), "{context}: it doesn't recover\n{}", node.process.log());
    }
    let log = node.process.log();
    assert!(log.contains("Could not remove short write from the append-only file: Operation not permitted"), "{log}");
    node.process.kill();
    checked("redis-check-aof", &manifest(&node));
    node.restart();
    assert_eq!(counted(&mut node.client()), acked, "{fsync}: {}", node.process.log());
}

#[test]
fn what_cannot_be_cut_off_under_always_is_gone_on_with() {
    what_cannot_be_cut_off_is_gone_on_with("always");
}

#[test]
fn what_cannot_be_cut_off_under_everysec_is_gone_on_with() {
    what_cannot_be_cut_off_is_gone_on_with("everysec");
}

/// As in Redis: the write that finds the disk full is answered, for its turn has ended by then; the next is refused.
#[test]
fn under_everysec_one_write_is_acknowledged_that_the_disk_has_no_room_for() {
    let Some(disk) = FaultyDisk::new() else { return };
    let node = aof(&disk, 0, "(rewrite_percentage: 0)");
    let mut client = node.client();
    for round in 0..4 {
        client.ok("SET before 1");
        disk.has_room_for(0);
        client.ok("SET first 1");
        let second = format!("{:?}", client.cmd("SET second 1"));
        assert!(second.contains("MISCONF"), "round {round}: {second}");
        disk.has_room();
        wait_until("room", DEADLINE, || node.client().cmd("SET probe 1") == "OK");
    }
}

fn refused(reply: &Reply, why: &str) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with("MISCONF Errors writing to the AOF file: ") && text.contains(why))
}

/// What isn't on the disk isn't shown, and nobody waits for ever: reads are told why, those who wait already are closed.
#[test]
fn a_full_disk_under_always_answers_reads_and_closes_those_who_wait() {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = aof(&disk, 0, "(fsync: always, rewrite_percentage: 0)");
    node.client().ok("SET before 1");
    disk.has_room_for(0);
    let mut held = node.client();
    held.send(&["SET", "held", "1"]).unwrap();
    wait_until("the refusal", DEADLINE, || persistence(&node, "aof_last_write_status") == "err");
    for line in ["GET before", "EXISTS before", "DBSIZE", "SET more 1", "PING"] {
        let reply = node.client().cmd(line);
        assert!(refused(&reply, "No space left on device"), "{line}: {reply:?}");
    }
    assert_eq!(node.client().cmd("ECHO there"), "there");
    assert!(held.read().is_err(), "it isn't on the disk");
    // Said behind the closing.
    for line in
        ["1 clients whose replies waited for the disk are closed", ". Until it can be, reads and writes are refused"]
    {
        wait_until(line, DEADLINE, || node.process.log().contains(line));
    }
    // Whoever takes the promise back gets its answers, though not what lets it write again.
    node.client().ok("CONFIG SET appendfsync everysec");
    wait_until("reads", DEADLINE, || node.client().cmd("GET held") == "1");
    assert!(refused(&node.client().cmd("SET more 1"), "No space left on device"));
    node.client().ok("CONFIG SET appendfsync always");
    disk.has_room();
    wait_until("room", DEADLINE, || node.client().cmd("SET behind 1") == "OK");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS before held behind"), 3);
}

#[test]
fn switched_off_on_a_full_disk_it_does_not_look_solved() {
    let Some(disk) = FaultyDisk::new() else { return };
    let node = aof(&disk, 0, "(fsync: always, rewrite_percentage: 0)");
    disk.has_room_for(0);
    node.client().send(&["SET", "k", "1"]).unwrap();
    wait_until("the refusal", DEADLINE, || persistence(&node, "aof_last_write_status") == "err");
    node.client().ok("CONFIG SET appendonly no");
    wait_until("writes", DEADLINE, || node.client().cmd("SET k 2") == "OK");
    assert!(!node.process.log().contains("looks solved"), "{}", node.process.log());
}

/// A disk that never answers is one that fails: who asks is told, sentinels see no PONG, and an end that insists ends.
#[test]
fn a_disk_that_does_not_answer_under_always_counts_as_one_that_fails() {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = aof(&disk, 0, "(fsync: always, rewrite_percentage: 0)");
    node.client().ok("SET before 1");
    disk.stands_still();
    let mut held = node.client();
    held.send(&["SET", "held", "1"]).unwrap();
    wait_until("the refusal", DEADLINE, || refused(&node.client().cmd("PING"), "the disk does not answer"));
    for line in ["GET before", "SET more 1"] {
        assert!(refused(&node.client().cmd(line), "the disk does not answer"), "{line}");
    }
    assert_eq!(persistence(&node, "aof_last_write_status"), "err");
    disk.goes_on();
    assert_eq!(held.read().unwrap(), "OK");
    wait_until("it answers", DEADLINE, || node.client().cmd("PING") == "PONG");
    node.client().ok("SET behind 1");
    for line in ["Error writing to the AOF file: the disk has not answered for 2 s", "AOF write error looks solved"] {
        wait_until(line, DEADLINE, || node.process.log().contains(line));
    }
    disk.stands_still();
    held.send(&["SET", "lost", "1"]).unwrap();
    node.client().send(&["SHUTDOWN", "NOSAVE", "FORCE"]).unwrap();
    node.process.wait_exit(DEADLINE);
    disk.goes_on();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS before held behind"), 3);
}

fn replica_of(primary: &Keystead, disk: &FaultyDisk, config: &str) -> Keystead {
    let replication = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let builder = Keystead::builder().plugin("persistence-aof", config).plugin("replication", &replication);
    let replica = disk.under(builder, 0).start();
    wait_until("it follows", DEADLINE, || replica.client().info("replication")["master_link_status"] == "up");
    // Its first files are of what it had before.
    let its_own = || {
        let info = replica.client().info("persistence");
        info["aof_rewrites"] == "1" && info["aof_rewrite_in_progress"] == "0"
    };
    wait_until("its files are there", DEADLINE, its_own);
    replica
}

/// No acknowledgement rests on it: it is read, and says that it keeps nothing. Made a primary, it refuses.
#[test]
fn a_replica_whose_disk_is_full_under_always_is_read() {
    let Some(disk) = FaultyDisk::new() else { return };
    let primary = Keystead::builder().plugin("replication", "()").start();
    let replica = replica_of(&primary, &disk, "(fsync: always, rewrite_percentage: 0)");
    primary.client().ok("SET k 1");
    wait_until("it is there", DEADLINE, || replica.client().cmd("GET k") == "1");
    let mut client = primary.client();
    client.ok("SET k 2");
    assert_eq!(format!("{:?}", client.cmd("WAITAOF 0 1 20000")), "[0, 1]");
    disk.has_room_for(0);
    client.ok("SET k 3");
    wait_until("the refusal", DEADLINE, || persistence(&replica, "aof_last_write_status") == "err");
    assert_eq!(replica.client().cmd("GET k"), "3");
    assert_eq!(replica.client().cmd("PING"), "PONG");
    assert_eq!(format!("{:?}", client.cmd("WAITAOF 0 1 1500")), "[0, 0]", "it isn't on the disk");
    replica.client().ok("REPLICAOF NO ONE");
    wait_until("it refuses", DEADLINE, || refused(&replica.client().cmd("GET k"), "No space left on device"));
    disk.has_room();
    wait_until("room", DEADLINE, || replica.client().cmd("SET k 4") == "OK");
    assert_eq!(replica.client().cmd("GET k"), "4");
}

/// What a file lacks that can't be written is kept in memory up to a limit; then the file begins anew when there is room.
#[test]
fn a_replica_whose_disk_is_full_keeps_no_endless_stream_in_memory() {
    let Some(disk) = FaultyDisk::new() else { return };
    let primary = Keystead::builder().plugin("replication", "()").start();
    let mut replica = replica_of(&primary, &disk, "(rewrite_percentage: 0)");
    let mut client = primary.client();
    client.ok("SET before 1");
    disk.has_room_for(0);
    let value = "v".repeat(1 << 20);
    let lags = || persistence(&replica, "aof_buffer_length").parse::<u64>().unwrap() > 0;
    client.ok(&format!("SET big {value}"));
    wait_until("it lags", DEADLINE, lags);
    let given_up = eventually(DEADLINE, || {
        client.ok(&format!("SET big {value}"));
        (persistence(&replica, "keystead_aof_given_up") == "1").then_some(())
    });
    assert!(given_up.is_some(), "{}", replica.process.log());
    assert_eq!(persistence(&replica, "aof_buffer_length"), "0");
    assert_eq!(persistence(&replica, "aof_last_write_status"), "err");
    let log = replica.process.log();
    assert!(log.contains("it is left as it is, and begins anew when there is room"), "{log}");
    let reply = format!("{:?}", replica.client().cmd("SHUTDOWN"));
    assert!(reply.contains("ERR Errors trying to SHUTDOWN"), "{reply}");
    client.ok("SET last 1");
    wait_until("it follows on", DEADLINE, || replica.client().cmd("GET last") == "1");
    disk.has_room();
    wait_until("it begins anew", DEADLINE, || persistence(&replica, "keystead_aof_given_up") == "0");
    assert_eq!(persistence(&replica, "aof_last_write_status"), "ok");
    client.ok("SET behind 1");
    wait_until("it follows on", DEADLINE, || replica.client().cmd("GET behind") == "1");
    let want = digest(&primary);
    drop(primary);
    replica.process.kill();
    checked("redis-check-aof", &manifest(&replica));
    replica.restart();
    assert_eq!(digest(&replica), want, "{}", replica.process.log());
}

/// The refusal tells of no write, so it waits for none.
#[test]
fn an_end_that_a_full_disk_refuses_is_answered() {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = aof(&disk, 0, "(fsync: always, rewrite_percentage: 0)");
    node.client().ok("SET before 1");
    disk.has_room_for(0);
    let mut held = node.client();
    held.send(&["SET", "held", "1"]).unwrap();
    wait_until("the refusal", DEADLINE, || persistence(&node, "aof_last_write_status") == "err");
    for line in ["SHUTDOWN", "SHUTDOWN NOW"] {
        let reply = format!("{:?}", node.client().cmd(line));
        assert!(reply.contains("ERR Errors trying to SHUTDOWN. Check logs."), "{line}: {reply}");
    }
    disk.has_room();
    assert_eq!(held.read().unwrap(), "OK");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS held before"), 2);
}

/// What a script writes while the file can't be written would be gone with the process: it is refused like any write.
#[test]
fn a_full_disk_refuses_scripts_that_write() {
    let Some(disk) = FaultyDisk::new() else { return };
    let builder = Keystead::builder().plugin("persistence-aof", "(rewrite_percentage: 0)").plugin("scripting", "()");
    let mut node = disk.under(builder, 0).start();
    let mut client = node.client();
    client.ok("SET before 1");
    disk.has_room_for(0);
    wait_until("the refusal", DEADLINE, || node.client().cmd("SET probe 1").is_error());
    let full = "No space left on device";
    let mut said = |script: &str| format!("{:?}", client.command(&["EVAL", script, "0"]));
    for script in [
        "return redis.call('set', 'lost', 1)",
        "redis.call('get', 'before') return redis.call('incr', 'lost')",
        "#!lua\nreturn redis.call('set', 'lost', 1)",
    ] {
        let text = said(script);
        assert!(text.contains(&format!("MISCONF Errors writing to the AOF file: {full}")), "{text}");
    }
    assert!(said("#!lua flags=no-writes\nreturn redis.call('get', 'before')").contains('1'));
    assert!(said("return redis.call('get', 'lost')").to_lowercase().contains("nil"));
    disk.has_room();
    wait_until("room", DEADLINE, || !node.client().cmd("SET probe 1").is_error());
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS lost before probe"), 2);
}

/// The disk is full at some byte of a rewrite: of the base, of a manifest, of what is written meanwhile.
#[test]
fn a_disk_that_is_full_inside_of_a_rewrite_costs_nothing() {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = aof(&disk, 0, "(fsync: always, rewrite_percentage: 0)");
    fill(&mut node.client(), 5);
    node.client().ok("BGREWRITEAOF");
    wait_until("the rewrite", DEADLINE, || {
        persistence(&node, "aof_rewrites") == "1" && persistence(&node, "aof_rewrite_in_progress") == "0"
    });
    let base = std::fs::metadata(node.dir().join("appendonlydir/appendonly.aof.2.base.rdb")).unwrap().len();
    let text = std::fs::metadata(manifest(&node)).unwrap().len();
    // A manifest with the new file, one with the new base as well, one without the old set: each is half as long again.
    let rooms = [0, base / 2, base - 1, base, base + 1];
    let behind = [1, 2, 3, 5, 7].map(|part| base + text * part / 2 + part);
    let mut acked = 0;
    for (round, room) in rooms.into_iter().chain(behind).enumerate() {
        let context = format!("room for {room} bytes, a base of {base}, a manifest of {text}");
        let mut client = node.client();
        let before = node.process.log().len();
        disk.has_room_for(room);
        client.ok("BGREWRITEAOF");
        let ended = eventually(DEADLINE, || {
            let log = node.process.log()[before..].to_owned();
            let done = ["rewrite failed", "finished successfully", "can't be removed"];
            done.iter().any(|words| log.contains(words)).then_some(())
        });
        assert!(ended.is_some(), "{context}: {}", node.process.log());
        if round % 2 == 1 {
            node.process.kill();
            if round % 4 == 1 {
                disk.has_room();
            }
            node.restart();
        }
        disk.has_room();
        let well = eventually(DEADLINE, || {
            let info = node.client().info("persistence");
            let well = info["aof_last_write_status"] == "ok"
                && info["aof_last_bgrewrite_status"] == "ok"
                && info["aof_rewrite_in_progress"] == "0";
            let mut client = node.client();
            client.send_raw(UNIT).ok()?;
            acked = unit_told(&mut client)?;
            well.then_some(())
        });
        assert!(well.is_some(), "{context}: it doesn't recover\n{}", node.process.log());
        let there = digest(&node);
        node.process.kill();
        checked("redis-check-aof", &manifest(&node));
        node.restart();
        assert_eq!(digest(&node), there, "{context}: {}", node.process.log());
        assert_eq!(counted(&mut node.client()), acked, "{context}");
    }
    // Whatever was given up is gone, and what a killed process left: a base, what follows it, the manifest.
    node.process.kill();
    std::fs::write(node.dir().join("appendonlydir/temp-rewriteaof-bg-1-1.aof"), "half").unwrap();
    node.restart();
    node.client().ok("BGREWRITEAOF");
    wait_until("the rewrite", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
    let left = || {
        let names =
            std::fs::read_dir(node.dir().join("appendonlydir")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let alone = eventually(DEADLINE, || (left().len() == 3).then_some(()));
    assert!(alone.is_some(), "{:?}", left());
}

/// The first set of all, made of what an RDB file holds: on a disk that is full the start is refused in words, and costs
/// nothing.
#[test]
fn a_first_set_on_a_full_disk_refuses_the_start_in_words() {
    let Some(disk) = FaultyDisk::new() else { return };
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [])");
    let source = disk.under(builder, 0).start();
    fill(&mut source.client(), 5);
    source.client().ok("SAVE");
    let (file, want) = (std::fs::read(source.dir().join("dump.rdb")).unwrap(), digest(&source));
    let with_both = || {
        let builder = Keystead::builder().plugin("persistence-rdb", "(save: [])");
        disk.under(builder.plugin("persistence-aof", "(fsync: always)").file("dump.rdb", &file), 0)
    };
    let size = file.len() as u64;
    for room in [0, size / 2, size + 10, size + 80] {
        disk.has_room_for(room);
        let mut node = with_both().launch();
        assert!(!node.process.wait_exit(DEADLINE).success(), "room for {room} bytes");
        let log = node.process.log();
        assert!(log.contains("No space left on device") && log.contains("AOF"), "room for {room} bytes: {log}");
        disk.has_room();
        node.restart();
        assert_eq!(digest(&node), want, "room for {room} bytes: {}", node.process.log());
        node.client().ok("SET more 1");
        let more = digest(&node);
        node.process.kill();
        node.restart();
        assert_eq!(digest(&node), more, "room for {room} bytes: {}", node.process.log());
    }
}

/// Switched on while the disk is full: nothing is promised, so nothing is refused; it is there when there is room.
#[test]
fn switched_on_while_the_disk_is_full_it_comes_when_there_is_room() {
    let Some(disk) = FaultyDisk::new() else { return };
    let mut node = aof(&disk, 0, "(enabled: false, fsync: always)");
    let mut client = node.client();
    fill(&mut client, 5);
    disk.has_room_for(100);
    client.ok("CONFIG SET appendonly yes");
    wait_until("the first base fails", DEADLINE, || persistence(&node, "aof_last_bgrewrite_status") == "err");
    assert_eq!(node.client().cmd("GET s:1"), "v".repeat(8).as_str());
    disk.has_room();
    wait_until("the first base", DEADLINE, || persistence(&node, "aof_last_bgrewrite_status") == "ok");
    wait_until("it is written", DEADLINE, || node.client().cmd("SET behind 1") == "OK");
    let want = digest(&node);
    client.ok("CONFIG REWRITE");
    node.process.kill();
    let config = node.dir().join("keystead.ron");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("enabled: false", "enabled: true")).unwrap();
    node.restart();
    assert_eq!(digest(&node), want, "{}", node.process.log());
}

/// The disk is full at some byte of an RDB file: the old one is whole, the next save succeeds, and writes go on by
/// themselves when a save point's does.
#[test]
fn a_disk_that_is_full_inside_of_a_save_costs_nothing() {
    let Some(disk) = FaultyDisk::new() else { return };
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [(3600, 1000000)])");
    let mut node = disk.under(builder, 0).start();
    let file = node.dir().join("dump.rdb");
    let mut client = node.client();
    fill(&mut client, 5);
    client.ok("SAVE");
    let size = std::fs::metadata(&file).unwrap().len();
    let temporary = || {
        let names = std::fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("temp-")).count()
    };
    for (round, room) in [0, 1, 9, size / 3, size / 2, size - 9, size - 1].into_iter().enumerate() {
        let whole = std::fs::read(&file).unwrap();
        client.ok(&format!("SET round {round}"));
        disk.has_room_for(room);
        if round % 2 == 0 {
            let refused = client.cmd("SAVE");
            let Reply::Error(text) = &refused else { panic!("room for {room} bytes: {refused:?}") };
            assert!(text.contains("Write error saving DB on disk: No space left on device"), "{text}");
        } else {
            client.ok("BGSAVE");
            wait_until("it fails", DEADLINE, || persistence(&node, "rdb_last_bgsave_status") == "err");
            assert!(format!("{:?}", client.cmd("SET k v")).contains("MISCONF"), "room for {room} bytes");
            assert_eq!(client.cmd("GET round"), round.to_string().as_str(), "reads go on");
        }
        assert_eq!(std::fs::read(&file).unwrap(), whole, "room for {room} bytes");
        assert_eq!(temporary(), 0, "room for {room} bytes");
        disk.has_room();
        client.ok(if round % 3 == 0 { "SAVE" } else { "BGSAVE" });
        wait_until("it succeeds", DEADLINE, || persistence(&node, "rdb_last_bgsave_status") == "ok");
        wait_until("it is saved", DEADLINE, || persistence(&node, "rdb_changes_since_last_save") == "0");
        client.ok("SET k v");
        client.ok("SAVE");
    }
    // An end that can't save is refused, and one that can't be is followed by one that can.
    disk.has_room_for(5);
    assert_eq!(client.cmd("SHUTDOWN SAVE"), "ERR Errors trying to SHUTDOWN. Check logs.");
    client.ok("SET refused 1");
    // A save point tries again by itself, 5 s later.
    client.command(&["CONFIG", "SET", "save", "1 1"]);
    wait_until("it fails", DEADLINE, || persistence(&node, "rdb_last_bgsave_status") == "err");
    assert!(format!("{:?}", client.cmd("SET k v")).contains("MISCONF"));
    disk.has_room();
    wait_until("writes go on by themselves", DEADLINE, || node.client().cmd("SET k last") == "OK");
    client.ok("SAVE");
    let want = digest(&node);
    node.process.kill();
    node.restart();
    assert_eq!(digest(&node), want);
}

/// A folder that became read-only: what is open is written on, a rewrite fails and says why; a start there is refused, and
/// costs nothing.
#[test]
fn a_folder_that_is_read_only_fails_rewrites_and_starts() {
    let mut node = Keystead::builder().plugin("persistence-aof", "(fsync: always, rewrite_percentage: 0)").start();
    fill(&mut node.client(), 5);
    let folder = node.dir().join("appendonlydir");
    let Some(read_only) = ReadOnly::make(&folder) else { return };
    node.client().ok("SET while read-only");
    node.client().ok("BGREWRITEAOF");
    wait_until("it fails", DEADLINE, || persistence(&node, "aof_last_bgrewrite_status") == "err");
    let words = format!("Opening the temp file for AOF rewrite {}/temp-", folder.display());
    let log = node.process.log();
    let told = log.lines().find(|line| line.contains(&words)).unwrap_or_else(|| panic!("{log}"));
    assert!(told.contains("Read-only file system"), "{told}");
    node.client().ok("SET behind failure");
    let want = digest(&node);
    node.process.kill();
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    let last = log.trim_end().lines().last().unwrap();
    let words = "Can't open the append-only file appendonly.aof.1.incr.aof: Read-only file system";
    assert!(last.contains(words), "{log}");
    drop(read_only);
    node.restart();
    assert_eq!(digest(&node), want);
    node.client().ok("BGREWRITEAOF");
    wait_until("it works", DEADLINE, || persistence(&node, "aof_rewrites") == "1");
}

/// A full sync through a file, the primary's or the replica's: on a full disk it fails and says why, both go on, and it is done
/// when there is room.
#[test]
fn a_full_sync_through_a_full_disk_is_tried_again() {
    for at_primary in [true, false] {
        let Some(disk) = FaultyDisk::new() else { return };
        let upon = |builder: KeysteadBuilder, here| if here { disk.under(builder, 0) } else { builder };
        let primary = upon(Keystead::builder().plugin("replication", "(diskless_sync: false)"), at_primary).start();
        fill(&mut primary.client(), 50);
        disk.has_room_for(1000);
        let config = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
        let replica = upon(Keystead::builder().plugin("replication", &config), !at_primary).start();
        let full = if at_primary { &primary } else { &replica };
        // The same reason is said once, however often it is tried.
        let failed = || full.process.log().contains("No space left on device").then_some(());
        assert!(eventually(DEADLINE, failed).is_some(), "{}\n{}", primary.process.log(), replica.process.log());
        primary.client().ok("SET written meanwhile");
        assert_eq!(replica.client().info("replication")["master_link_status"], "down");
        disk.has_room();
        let same = eventually(DEADLINE, || (digest(&primary) == digest(&replica)).then_some(()));
        assert!(same.is_some(), "{}\n{}", primary.process.log(), replica.process.log());
        let left = || {
            let names = std::fs::read_dir(full.dir()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().starts_with("temp-")).count()
        };
        wait_until("no file is left", DEADLINE, || left() == 0);
    }
}
