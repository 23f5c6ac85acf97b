//! What a service manager hears of an instance: that it is ready once the data is loaded, and that it ends. And the unit
//! that configs/ has for systemd.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, KeysteadBuilder, have, keystead_bin, wait_until};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Keys of the file that takes its time to load.
const KEYS: usize = 2_000;

/// A manager's end.
struct Manager(UnixDatagram);

impl Manager {
    /// Listens under an abstract name; gives the name for the environment too.
    fn listen(name: &str) -> (Manager, String) {
        let name = format!("keystead-{name}-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        (Manager(socket), format!("@{name}"))
    }

    /// All that is told until something is.
    fn until(&self, wanted: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        while all.last().is_none_or(|last| !last.contains(wanted)) {
            let mut bytes = [0; 512];
            let count = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("no {wanted}: {error}; {all:#?}"));
            all.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
        all
    }
}

fn saved() -> Vec<u8> {
    let mut node = Keystead::builder().plugin("persistence-rdb", "(save: [])").start();
    node.client().ok(&format!("DEBUG POPULATE {KEYS}"));
    node.client().ok("SAVE");
    node.process.kill();
    std::fs::read(node.dir().join("dump.rdb")).unwrap()
}

fn with_manager(builder: KeysteadBuilder, name: &str) -> KeysteadBuilder {
    builder.env("NOTIFY_SOCKET", name)
}

#[test]
fn the_manager_hears_of_the_load_the_start_and_the_end() {
    let (manager, name) = Manager::listen("life");
    // Two milliseconds a key: time enough to be asked how far it is.
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [], key_load_delay: 2000)");
    let node = with_manager(builder.file("dump.rdb", &saved()), &name).launch();
    let told = manager.until("READY=1");
    assert!(told.iter().any(|text| text.contains("STATUS=Loading the data: ")), "{told:#?}");
    assert!(told.iter().any(|text| text.contains("EXTEND_TIMEOUT_USEC=")), "{told:#?}");
    assert_eq!(node.client().cmd("DBSIZE"), KEYS as i64, "ready is when the data is there");
    assert_eq!(node.client().info("server")["process_supervised"], "systemd");
    node.process.terminate();
    let told = manager.until("STOPPING=1");
    assert!(told.iter().any(|text| text.contains("STATUS=Ending")), "{told:#?}");
}

/// A manager that was told of the end would kill the process after a while.
#[test]
fn an_end_that_is_refused_is_not_told() {
    let (manager, name) = Manager::listen("refused");
    let builder = Keystead::builder().plugin("persistence-rdb", "(save: [(3600, 1000)])");
    let node = with_manager(builder, &name).start();
    manager.until("READY=1");
    // A folder has the file's name: nothing can be renamed to it.
    std::fs::create_dir(node.dir().join("dump.rdb")).unwrap();
    node.client().ok("SET a 1");
    assert!(node.client().cmd("SHUTDOWN SAVE").is_error());
    let told = manager.until("STATUS=Ready to accept connections");
    assert!(!told.iter().any(|text| text.contains("STOPPING")), "{told:#?}");
    node.client().send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    manager.until("STOPPING=1");
}

/// The process that the manager started is the one it waits for.
#[test]
fn a_supervised_instance_stays_in_the_foreground() {
    let (manager, name) = Manager::listen("daemonize");
    let mut node = with_manager(Keystead::builder().server("daemonize: true"), &name).start();
    manager.until("READY=1");
    assert_eq!(node.client().info("server")["process_id"], node.process.pid().to_string());
    assert!(node.process.is_alive() && node.process.log().contains("server.daemonize is passed over"));
    assert_eq!(Keystead::plain().client().info("server")["process_supervised"], "no");
}

/// A script of a sentinel that found the socket could speak for the service.
#[test]
fn processes_of_plugins_don_t_inherit_the_manager() {
    let (manager, name) = Manager::listen("scripts");
    let dir = tempfile::tempdir().unwrap();
    let (script, out) = (dir.path().join("notify"), dir.path().join("environment"));
    let text = format!("#!/bin/sh\nenv > {0}.new && mv {0}.new {0}\n", out.display());
    std::fs::write(&script, text).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&script).status().unwrap().success());
    let port = keystead_harness::free_port();
    let monitor = format!(
        "(name: \"m\", host: \"127.0.0.1\", port: {}, quorum: 1, down_after_ms: 50, notification_script: {:?})",
        keystead_harness::free_port(),
        script.display().to_string()
    );
    let builder = Keystead::builder().plugin("sentinel", &format!("(port: {port}, monitors: [{monitor}])"));
    let _node = with_manager(builder.ready_port(port), &name).start();
    manager.until("READY=1");
    wait_until("the script ran", DEADLINE, || out.exists());
    let environment = std::fs::read_to_string(&out).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("NOTIFY_SOCKET"), "{environment}");
}

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/keystead@.service")
}

#[test]
fn the_unit_for_systemd_is_right() {
    let text = std::fs::read_to_string(unit()).unwrap();
    let setting = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
    assert_eq!((setting("Type"), setting("NotifyAccess")), ("notify", "main"));
    let node = Keystead::plain();
    let clients: u64 = node.client().cmd("CONFIG GET maxclients").texts()[1].parse().unwrap();
    assert!(setting("LimitNOFILE").parse::<u64>().unwrap() >= clients + 32);
    if !have("systemd-analyze") {
        eprintln!("systemd-analyze isn't there: the unit isn't verified");
        return;
    }
    // It must name a program that is there.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("keystead@test.service");
    std::fs::write(&copy, text.replace("/usr/lib/keystead/keystead", keystead_bin().to_str().unwrap())).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("keystead@"), "{told}");
}
