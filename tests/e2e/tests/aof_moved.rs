//! CONFIG SET dir while the append-only file is on: the files follow, and whenever the process dies, the next start finds all
//! that was acknowledged, whether CONFIG REWRITE kept the new folder or not.
#![allow(clippy::unwrap_used)]

use keystead_e2e::disk::SmallDisk;
use keystead_harness::{Client, DEADLINE, Keystead, Reply, wait_until};
use keystead_persistence_aof::failpoint;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

fn node(config: &str, env: Option<&str>) -> Keystead {
    let builder = Keystead::builder().server("enable_protected_configs: \"yes\"").shell("trap '' XFSZ");
    let builder = builder.plugin("persistence-aof", config).plugin("replication", "()");
    match env {
        Some(value) => builder.env(failpoint::VARIABLE, value).start(),
        None => builder.start(),
    }
}

/// A folder inside the node's own.
fn folder(node: &Keystead, name: &str) -> PathBuf {
    let path = node.dir().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn set_dir(client: &mut Client, dir: &Path) {
    client.ok(&format!("CONFIG SET dir {}", dir.display()));
}

/// The parts that a manifest names, if there is one: what was replaced is gone.
fn parts(dir: &Path) -> Vec<PathBuf> {
    let folder = dir.join("appendonlydir");
    let manifest = std::fs::read_to_string(folder.join("appendonly.aof.manifest")).unwrap_or_default();
    manifest.lines().map(|line| folder.join(line.split(' ').nth(1).unwrap())).collect()
}

/// The set is there, as files of its own. There are three where a rewrite was killed behind its first step.
fn has_arrived(dir: &Path) -> bool {
    let parts = parts(dir);
    parts.len() >= 2 && parts.iter().all(|part| part.is_file() && !part.is_symlink())
}

#[test]
fn the_files_follow_and_a_start_finds_them_by_either_folder() {
    for kept in [true, false] {
        let mut node = node("(fsync: always)", None);
        let (first, second) = (node.dir().to_owned(), folder(&node, "second"));
        let mut client = node.client();
        client.ok("SET before 1");
        set_dir(&mut client, &second);
        client.ok("SET after 1");
        wait_until("the files are there", DEADLINE, || has_arrived(&second));
        client.ok("SET behind 1");
        client.ok("BGREWRITEAOF");
        client.ok("SET last 1");
        if kept {
            client.ok("CONFIG REWRITE");
        }
        node.process.kill();
        node.restart();
        let mut client = node.client();
        assert_eq!(client.cmd("EXISTS before after behind last"), Reply::Int(4), "{kept}\n{}", node.process.log());
        let now = if kept { &second } else { &first };
        wait_until("files of its own", DEADLINE, || has_arrived(now));
        assert_eq!(node.process.log().contains("takes them over"), !kept);
        client.ok("SET more 1");
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("EXISTS before after behind last more"), Reply::Int(5), "{}", node.process.log());
    }
}

#[test]
fn a_file_that_is_switched_on_later_is_in_the_new_folder() {
    for at_once in [true, false] {
        let mut node = node("(enabled: false)", None);
        let second = folder(&node, "second");
        let mut client = node.client();
        client.ok("SET before 1");
        if at_once {
            client.ok(&format!("CONFIG SET dir {} appendonly yes", second.display()));
        } else {
            set_dir(&mut client, &second);
            client.ok("CONFIG SET appendonly yes");
        }
        wait_until("the files are there", DEADLINE, || has_arrived(&second));
        client.ok("SET after 1");
        assert_eq!(format!("{:?}", client.cmd("WAITAOF 1 0 0")), "[1, 0]");
        client.ok("CONFIG REWRITE");
        assert!(!node.dir().join("appendonlydir").exists());
        node.process.kill();
        node.restart();
        assert_eq!(node.client().cmd("EXISTS before after"), Reply::Int(2), "{at_once}\n{}", node.process.log());
    }
}

#[test]
fn there_and_back_and_there_again() {
    let mut node = node("(fsync: always)", None);
    let dirs = [folder(&node, "second"), node.dir().to_owned(), folder(&node, "third"), node.dir().to_owned()];
    let mut client = node.client();
    for (n, dir) in dirs.iter().chain(&dirs).enumerate() {
        client.ok(&format!("SET key:{n} {n}"));
        set_dir(&mut client, dir);
        if n % 3 != 0 {
            wait_until("the files are there", DEADLINE, || has_arrived(dir));
        }
    }
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("DBSIZE"), Reply::Int(8), "{}", node.process.log());
}

/// Raises a counter until the process is gone.
fn raise(port: u16, acked: &AtomicI64, stop: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else { return };
    while !stop.load(Ordering::Relaxed) {
        match client.try_command(&["INCR", "n"]) {
            Ok(reply) => acked.store(reply.as_int().unwrap_or_default(), Ordering::SeqCst),
            Err(_) => return,
        }
    }
}

/// Clients write while the folder changes, and something ends the process; the folder that was set last is kept, or
/// isn't.
fn moved_under_load(node: &mut Keystead, keep: bool, what: &str, ended: impl Fn(&mut Keystead) -> bool) {
    let (acked, stop) = (AtomicI64::new(0), AtomicBool::new(false));
    let (port, second) = (node.port(), folder(node, "second"));
    std::thread::scope(|scope| {
        scope.spawn(|| raise(port, &acked, &stop));
        wait_until("writes", DEADLINE, || acked.load(Ordering::SeqCst) > 10);
        if let Ok(mut client) = Client::try_connect(port) {
            let _ = client.try_command(&["CONFIG", "SET", "dir", &second.display().to_string()]);
            if keep {
                let _ = client.try_command(&["CONFIG", "REWRITE"]);
            }
        }
        wait_until(what, DEADLINE, || ended(node));
        stop.store(true, Ordering::Relaxed);
    });
    node.process.set_env(&[]);
    node.restart();
    let there = node.client().cmd("GET n").as_text().map_or(0, |text| text.parse::<i64>().unwrap());
    let acked = acked.load(Ordering::SeqCst);
    assert!(there >= acked, "{what}, kept: {keep}: {acked} was acknowledged, {there} is there\n{}", node.process.log());
}

/// The first base, at the start, passes places of a rewrite as well; what a change writes into a manifest comes in this
/// order: the links, the file that goes on, the base, the history's end.
fn dies_at_every_place_of_the_change(keep: bool) {
    let rewrite = [("rewrite-cut", 2), ("base-half-written", 2), ("base-synced", 2), ("base-renamed", 2)];
    let manifest = (2..=5).flat_map(|nth| [("manifest-synced", nth), ("manifest-renamed", nth)]);
    let moving = failpoint::MOVING.iter().map(|place| (*place, 1));
    let rest = [("incr-created", 1), ("incr-in-manifest", 1), ("history-removed", 1)];
    for (place, nth) in moving.chain(rewrite).chain(manifest).chain(rest) {
        let what = format!("{place}:{nth}");
        let mut node = node("(fsync: always, rewrite_percentage: 0)", Some(&what));
        moved_under_load(&mut node, keep, &what, |node| !node.process.is_alive());
    }
}

#[test]
fn at_every_place_of_a_change_that_is_kept_nothing_acknowledged_is_missing() {
    dies_at_every_place_of_the_change(true);
}

#[test]
fn at_every_place_of_a_change_that_is_not_kept_nothing_acknowledged_is_missing() {
    dies_at_every_place_of_the_change(false);
}

#[test]
fn killed_at_once_it_starts_with_the_old_files() {
    for keep in [true, false] {
        let mut node = node("(fsync: always)", None);
        moved_under_load(&mut node, keep, "killed at once", |node| {
            node.process.kill();
            true
        });
    }
}

/// Files that were moved and are gone: nobody starts with what was left behind long ago.
#[test]
fn a_start_without_the_moved_files_is_refused_with_the_way_out() {
    let mut node = node("(fsync: always)", None);
    let second = folder(&node, "second");
    node.client().ok("SET before 1");
    set_dir(&mut node.client(), &second);
    wait_until("the files are there", DEADLINE, || has_arrived(&second));
    node.process.kill();
    std::fs::rename(&second, node.dir().join("unmounted")).unwrap();
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    assert!(
        log.contains("CONFIG SET dir moved the append-only files to") && log.contains("persistence-aof.state"),
        "{log}"
    );
    std::fs::remove_file(node.dir().join("persistence-aof.state")).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("GET before"), "1");
}

/// The disk is full, and another one isn't: writes go on there, and nothing that was acknowledged is missing.
#[test]
fn from_a_full_disk_to_another_one() {
    for fsync in ["always", "everysec"] {
        let mut node = node(&format!("(fsync: {fsync}, rewrite_percentage: 0)"), None);
        let Some(disk) = SmallDisk::at(&folder(&node, "small"), "512k") else { return };
        set_dir(&mut node.client(), disk.path());
        wait_until("the files are there", DEADLINE, || has_arrived(disk.path()));
        let mut client = node.client();
        client.set_reply_limit(Duration::from_millis(500));
        let mut acked = 0;
        wait_until("a full disk", DEADLINE, || {
            // Under `always` a reply waits for the disk.
            let done = client.try_command(&["SET".to_owned(), format!("key:{acked}"), "v".repeat(20_000)]);
            acked += i64::from(matches!(done, Ok(Reply::Simple(_))));
            !matches!(done, Ok(Reply::Simple(_)))
        });
        let second = folder(&node, "second");
        set_dir(&mut node.client(), &second);
        wait_until("the files are there", DEADLINE, || has_arrived(&second));
        wait_until("writes go on", DEADLINE, || !node.client().cmd("SET more 1").is_error());
        node.client().ok("CONFIG REWRITE");
        node.process.kill();
        node.restart();
        let there = node.client().cmd("DBSIZE").as_int().unwrap();
        assert!(there > acked, "{fsync}: {there} of {acked}\n{}", node.process.log());
    }
}

/// Without it the start would find the older set in its own folder, and write over the note.
#[test]
fn a_note_that_cannot_be_read_refuses_the_start() {
    let mut node = node("(fsync: always)", None);
    let second = folder(&node, "second");
    let mut client = node.client();
    set_dir(&mut client, &second);
    wait_until("the files are there", DEADLINE, || has_arrived(&second));
    client.ok("SET behind 1");
    node.process.kill();
    let state = node.dir().join("persistence-aof.state");
    let note = std::fs::read(&state).unwrap();
    let refused = |node: &mut Keystead, why: &str| {
        node.process.restart().unwrap();
        assert!(!node.process.wait_exit(DEADLINE).success(), "{why}");
        let log = node.process.log();
        let told = log.lines().any(|line| line.contains("persistence-aof.state") && line.contains(why));
        assert!(told, "{log}");
    };
    std::fs::write(&state, "(dir: ").unwrap();
    refused(&mut node, "which says where the newest append-only files are, can't be read");
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    refused(&mut node, "can't be read: Is a directory");
    std::fs::remove_dir(&state).unwrap();
    std::fs::write(&state, note).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("EXISTS behind"), Reply::Int(1), "{}", node.process.log());
}

/// What was left behind when the file was off is nobody's newest set.
#[test]
fn a_folder_that_is_left_without_the_file_leads_nowhere() {
    let mut node = node("()", None);
    let second = folder(&node, "second");
    let mut client = node.client();
    client.ok("SET old 1");
    client.ok("CONFIG SET appendonly no");
    set_dir(&mut client, &second);
    client.ok("CONFIG REWRITE");
    let state = node.dir().join("persistence-aof.state");
    wait_until("the note is gone", DEADLINE, || std::fs::read(&state).unwrap().is_empty());
    node.process.kill();
    let overlay = node.dir().join("keystead.overlay.ron");
    let text = std::fs::read_to_string(&overlay).unwrap();
    std::fs::write(&overlay, text.replace("\"no\"", "\"yes\"")).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("DBSIZE"), Reply::Int(0), "{}", node.process.log());
}
