//! Starts that must be refused, and what a refused one leaves alone: users, the pid file, the ports of another instance.
#![allow(clippy::unwrap_used)]

use keystead_e2e::disk::FaultyDisk;
use keystead_harness::{
    Client, DEADLINE, Keystead, Process, ProcessSpec, free_port, keystead_bin, plugin_lib, wait_until,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs the binary to its end: whether it succeeded, and what it said.
fn keystead(args: &[&str], dir: &Path) -> (bool, String) {
    let output = Command::new(keystead_bin()).args(args).current_dir(dir).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Without its plugin, a user's line names an unknown command. Passing the users over would let everybody in.
#[test]
fn users_that_can_t_be_read_refuse_the_start_and_are_kept() {
    let mut node = Keystead::builder().plugin("hello", "()").start();
    let mut c = node.client();
    c.ok("ACL SETUSER admin on >pw ~* &* +@all");
    c.ok("ACL SETUSER guest on nopass +hello.greet");
    c.ok("ACL SETUSER default off");
    c.ok("CONFIG REWRITE");
    node.process.kill();
    let (file, overlay) = (node.dir().join("keystead.ron"), node.dir().join("keystead.overlay.ron"));
    let (with, kept) = (std::fs::read_to_string(&file).unwrap(), std::fs::read_to_string(&overlay).unwrap());
    std::fs::write(&file, with.replace("(name: \"hello\", config: ()),", "")).unwrap();
    let why = "keystead.overlay.ron: the user 'guest', which CONFIG REWRITE kept, can't be read: \
               Error in applying operation '+hello.greet': Unknown command or category name in ACL";
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    assert!(node.process.log().contains(why), "{}", node.process.log());
    let (ok, told) = keystead(&["check", file.to_str().unwrap()], node.dir());
    assert!(!ok && told.contains(why), "{told}");
    assert_eq!(std::fs::read_to_string(&overlay).unwrap(), kept);
    std::fs::write(&file, with).unwrap();
    node.restart();
    let mut c = node.client();
    assert!(c.cmd("PING").is_error(), "nobody is in without a password");
    c.ok("AUTH admin pw");
    assert_eq!(c.cmd("ACL USERS").texts(), ["admin", "default", "guest"]);
}

/// What CONFIG REWRITE kept for a plugin outlives a time without it.
#[test]
fn what_was_kept_for_a_plugin_survives_a_rewrite_without_it() {
    let port = free_port();
    let sentinel = format!("(port: {port})");
    let mut node = Keystead::builder().plugin("replication", "()").plugin("sentinel", &sentinel).start();
    let mut sentinel = Client::connect(port);
    sentinel.ok("CONFIG SET maxclients 77");
    sentinel.ok("ACL SETUSER s on >pw +ping");
    node.client().ok("CONFIG SET masterauth secret");
    node.client().ok("CONFIG REWRITE");
    let file = node.dir().join("keystead.ron");
    let with = std::fs::read_to_string(&file).unwrap();
    let (head, _) = with.split_once("plugins: [").unwrap();
    node.process.kill();
    std::fs::write(&file, format!("{head}plugins: [])")).unwrap();
    node.restart();
    node.client().ok("CONFIG SET timeout 100");
    node.client().ok("CONFIG REWRITE");
    node.process.kill();
    std::fs::write(&file, with).unwrap();
    node.restart();
    assert_eq!(node.client().cmd("CONFIG GET masterauth").texts()[1], "secret");
    assert_eq!(node.client().cmd("CONFIG GET timeout").texts()[1], "100");
    let mut sentinel = Client::connect(port);
    assert_eq!(sentinel.cmd("CONFIG GET maxclients").texts()[1], "77");
    assert!(sentinel.cmd("ACL USERS").texts().contains(&"s".to_owned()));
}

/// Whoever forgot the plugin, or copied the binary alone, is told before the data is gone.
#[test]
fn an_instance_that_saves_nothing_says_so() {
    let told = "No plugin that saves is loaded (persistence-rdb, persistence-aof): the data is in memory only";
    let node = Keystead::builder().file("dump.rdb", b"").plugin("replication", "()").start();
    let log = node.process.log();
    assert!(log.contains(told) && log.contains("What is in dump.rdb of "), "{log}");
    let (ok, said) = keystead(&["check", node.dir().join("keystead.ron").to_str().unwrap()], node.dir());
    assert!(ok && said.contains("warning: No plugin that saves is loaded"), "{said}");
    for (plugin, config) in [("persistence-rdb", "()"), ("persistence-rdb", "(save: [])"), ("persistence-aof", "()")] {
        let node = Keystead::builder().plugin(plugin, config).start();
        let log = node.process.log();
        assert!(!log.contains("the data is in memory only"), "{plugin} {config}: {log}");
    }
    // Listed and switched off saves as little.
    let off = Keystead::builder().file("dump.rdb", b"").plugin("persistence-aof", "(enabled: false)");
    let mut node = off.start();
    let told = "Nothing saves: persistence-aof is loaded and switched off: the data is in memory only";
    let log = node.process.log();
    assert!(log.contains(told) && log.contains("What is in dump.rdb of "), "{log}");
    node.client().ok("CONFIG SET appendonly yes");
    node.client().ok("CONFIG REWRITE");
    node.process.kill();
    node.restart();
    assert_eq!(node.process.log().matches(told).count(), 1, "{}", node.process.log());
}

#[test]
fn a_binary_without_its_libraries_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let (binary, port) = (dir.path().join("keystead"), free_port().to_string());
    std::fs::copy(keystead_bin(), &binary).unwrap();
    let args = ["--port", &port, "--dir", "data"].map(str::to_owned).to_vec();
    let spec = ProcessSpec { program: binary, args, dir: dir.path().into(), log_name: "log".into(), env: Vec::new() };
    let mut alone = Process::start(spec).unwrap();
    wait_until("it started", DEADLINE, || alone.log().contains("Ready to accept connections"));
    let log = alone.log();
    let names =
        "Started without replication, scripting, persistence-rdb: their libraries (libkeystead_*.so) are not beside";
    assert!(log.contains(names) && log.contains("No plugin that saves is loaded"), "{log}");
    alone.terminate();
    assert!(alone.wait_exit(DEADLINE).success());
}

#[test]
fn a_second_start_leaves_the_running_instance_s_pid_file() {
    let node = Keystead::builder().server("pidfile: \"k.pid\"").start();
    let pid_file = node.dir().join("k.pid");
    let pid = node.process.pid().to_string();
    let file = node.dir().join("keystead.ron").display().to_string();
    let (ok, told) = keystead(&[&file], node.dir());
    assert!(!ok && told.contains("Address already in use"), "{told}");
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), pid);
    let (_, told) = keystead(&[&file, "--set", "server.daemonize=true", "--set", "log.file=second.log"], node.dir());
    let second = node.dir().join("second.log");
    let refused = || std::fs::read_to_string(&second).unwrap_or_default().contains("Address already in use");
    wait_until(&format!("the daemon is refused {told}"), DEADLINE, refused);
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), pid);
}

/// The process whose id is in a file ends with this, whatever a test found.
struct Detached(std::path::PathBuf);

impl Drop for Detached {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.0).unwrap_or_default();
        if !pid.is_empty() {
            let _ = Command::new("kill").args(["-9", pid.trim()]).status();
        }
    }
}

/// A daemon has no terminal any more, and may have no log: who started it hears why it is none, and knows by the exit status.
#[test]
fn a_daemon_that_can_t_start_is_told_by_its_starter() {
    let root = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = |name: &str, more: &[&str]| {
        let dir = root.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("k.ron").display().to_string();
        std::fs::write(
            &file,
            "(\n  server: (daemonize: true, pidfile: \"k.pid\"),\n  plugins: [(name: \"persistence-rdb\")],\n)",
        )
        .unwrap();
        keystead(&[&[file.as_str(), "--dir", dir.to_str().unwrap()], more].concat(), &dir)
    };
    let (busy, port) = (taken.local_addr().unwrap().port().to_string(), free_port().to_string());
    let (ok, told) = start("busy", &["--port", &busy]);
    assert!(!ok && told.contains("Address already in use"), "{told}");
    let (ok, told) = start("log", &["--port", &port, "--set", "log.file=/no/such/folder/log"]);
    assert!(!ok && told.contains("can't write the log to /no/such/folder/log"), "{told}");
    std::fs::create_dir(root.path().join("damaged")).unwrap();
    std::fs::write(root.path().join("damaged/dump.rdb"), "REDIS0010 and so on").unwrap();
    let (ok, told) = start("damaged", &["--port", &port]);
    assert!(!ok && told.contains("dump.rdb"), "{told}");
    let (ok, told) = start("good", &["--port", &port]);
    assert!(ok && told.is_empty(), "{told}");
    // It serves by then, and its pid is known.
    let _detached = Detached(root.path().join("good/k.pid"));
    let mut client = Client::connect(port.parse().unwrap());
    let pid = std::fs::read_to_string(root.path().join("good/k.pid")).unwrap();
    assert_eq!(client.info("server")["process_id"], pid.trim());
    // A start waits some seconds for a folder that another instance has, before it is refused.
    let (ok, told) = start("good", &["--port", &free_port().to_string(), "--set", "server.pidfile=second.pid"]);
    assert!(!ok && told.contains("persistence-rdb.lock"), "{told}");
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    wait_until("the daemon is gone", DEADLINE, || !root.path().join("good/k.pid").exists());
}

#[test]
fn an_instance_that_nobody_could_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("k.ron").display().to_string();
    for text in
        ["(server: (port: 0))", "(server: (bind: []))", "(server: (port: 0), plugins: [(name: \"replication\")])"]
    {
        std::fs::write(&file, text).unwrap();
        for args in [&["check", &file][..], &[&file, "--dir", dir.path().to_str().unwrap()]] {
            let (ok, told) = keystead(args, dir.path());
            assert!(!ok && told.contains("Configured to not listen anywhere, exiting."), "{text}: {told}");
        }
    }
    let port = free_port();
    let reached = format!("(server: (port: 0), plugins: [(name: \"sentinel\", config: (port: {port}))])");
    for text in [reached.as_str(), "(server: (port: 0, unixsocket: \"k.sock\"))"] {
        std::fs::write(&file, text).unwrap();
        let (ok, told) = keystead(&["check", &file], dir.path());
        assert!(ok, "{text}: {told}");
    }
}

/// Libraries are named from where the server is started, as `dir` and `plugin_dirs` are; not from `dir`.
#[test]
fn a_plugin_s_path_is_named_from_the_working_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lib")).unwrap();
    std::fs::copy(plugin_lib("hello"), dir.path().join("lib/libkeystead_hello.so")).unwrap();
    let port = free_port();
    let text = format!(
        "\u{feff}(server: (port: {port}, dir: \"data\"), plugins: [(name: \"hello\", path: \"lib/libkeystead_hello.so\")])"
    );
    std::fs::write(dir.path().join("k.ron"), text).unwrap();
    let (ok, told) = keystead(&["check", "k.ron"], dir.path());
    assert!(ok, "{told}");
    let args = ["k.ron", "--set", "server.requirepass=123"].map(str::to_owned).to_vec();
    let (program, log_name) = (keystead_bin(), "process.log".into());
    let spec = ProcessSpec { program, args, dir: dir.path().to_path_buf(), log_name, env: Vec::new() };
    let mut process = Process::start(spec).unwrap();
    process.wait_for_log("Ready to accept connections", DEADLINE);
    process.wait_for_log("data wasn't there: it was made", DEADLINE);
    let mut c = Client::connect(port);
    c.ok("AUTH 123");
    assert_eq!(c.cmd("HELLO.GREET x"), "Hello, x!");
}

/// As with Redis: what the file is for works without it.
#[test]
fn a_pid_file_that_can_t_be_written_is_warned_of() {
    let node = Keystead::builder().server("pidfile: \"/nowhere/k.pid\"").start();
    let log = node.process.log();
    assert!(log.contains("Failed to write PID file /nowhere/k.pid: No such file or directory"), "{log}");
}

/// It would be another folder in CONFIG, to plugins and for the overlay.
#[test]
fn a_folder_whose_name_is_no_text_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join(OsStr::from_bytes(b"od\xffd"));
    std::fs::create_dir(&odd).unwrap();
    let port = free_port().to_string();
    let named = Command::new(keystead_bin()).args(["--port", &port, "--dir"]).arg(&odd).output().unwrap();
    let there = Command::new(keystead_bin()).args(["--port", &port]).current_dir(&odd).output().unwrap();
    for refused in [named, there] {
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains("isn't UTF-8"), "{told}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [odd.file_name().unwrap()]);
}

/// Who waited for a thread that the system doesn't give would wait for ever, and say nothing.
#[test]
fn a_start_without_room_for_its_threads_says_so() {
    // The stacks alone want more than this.
    let mut node = Keystead::builder().shell("ulimit -v 1150000").env("ASYNC_STD_THREAD_COUNT", "200").launch();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    assert!(log.contains("threads and no more (") && log.contains("about 206 are needed: see 'ulimit -u'"), "{log}");
}

/// With `UMask=007`, as Debian's unit has it, a group shares the socket.
#[test]
fn without_a_mode_the_umask_says_who_may_use_the_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    for (umask, mode) in [("007", 0o770), ("077", 0o700), ("000", 0o777)] {
        let run = format!("umask {umask}; exec \"$@\"");
        let server = keystead_bin().display().to_string();
        let args =
            ["-c", &run, "sh", &server, "--port", "0", "--set", "server.unixsocket=\"k.sock\""].map(str::to_owned);
        let log_name = format!("{umask}.log");
        let spec = ProcessSpec {
            program: "/bin/sh".into(),
            args: args.to_vec(),
            dir: dir.path().to_path_buf(),
            log_name,
            env: Vec::new(),
        };
        let mut process = Process::start(spec).unwrap();
        process.wait_for_log("Ready to accept connections", DEADLINE);
        let found = std::fs::metadata(dir.path().join("k.sock")).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "umask {umask}");
        process.terminate();
        process.wait_exit(DEADLINE);
    }
}

/// A folder that was just made, and files in it that a killed process replaced, may be with the system alone: a start puts
/// their names on the disk before it goes by what it read, or promises anything of what it will write.
#[test]
fn a_start_puts_its_folder_on_the_disk() {
    let Some(disk) = FaultyDisk::new() else { return };
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let dir = root.join("new/deep");
    let builder = disk.under(Keystead::builder(), 0).arg("--dir").arg(&dir.display().to_string());
    let mut node = builder.start();
    let synced = disk.synced_folders();
    for folder in [root.as_path(), &root.join("new"), &dir] {
        assert!(synced.contains(&folder.to_owned()), "{} isn't in {synced:?}", folder.display());
    }
    node.client().ok("CONFIG SET timeout 100");
    node.client().ok("CONFIG REWRITE");
    node.process.kill();
    let before = disk.synced_folders().len();
    node.restart();
    assert!(disk.synced_folders()[before..].contains(&dir));
}

/// The same for an ACL file that lies elsewhere: users that are in force must not be others behind the machine's next end.
#[test]
fn a_start_puts_its_acl_file_s_folder_on_the_disk() {
    let Some(disk) = FaultyDisk::new() else { return };
    let root = tempfile::tempdir().unwrap();
    let users = root.path().canonicalize().unwrap().join("users");
    std::fs::create_dir(&users).unwrap();
    let file = users.join("users.acl").display().to_string();
    std::fs::write(&file, "user d on nopass +ping\n").unwrap();
    let _node = disk.under(Keystead::builder().server(&format!("aclfile: \"{file}\"")), 0).start();
    let synced = disk.synced_folders();
    assert!(synced.contains(&users), "{} isn't in {synced:?}", users.display());
}
