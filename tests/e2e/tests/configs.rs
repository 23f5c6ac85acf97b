//! The annotated files in configs/ run as they are: only ports and folders are replaced. And what `keystead check` and
//! `keystead cluster` say before anything runs.
#![allow(clippy::unwrap_used)]

use keystead_harness::{
    Client, DEADLINE, Process, ProcessSpec, eventually, free_port, keystead_bin, plugin_lib, wait_until,
};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file's path in the repository.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name)
}

/// An instance of a file, with a folder of its own.
struct Instance {
    _process: Process,
    _dir: tempfile::TempDir,
    data: u16,
    sentinel: u16,
}

/// Starts a file on free ports. `primary` replaces the port of the primary it follows or watches.
fn start(name: &str, primary: Option<u16>) -> Instance {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (data, sentinel) = (free_port(), free_port());
    let mut args = vec![file(name).display().to_string(), "--dir".into(), dir.path().display().to_string()];
    let mut set = |path: &str, value: String| args.extend(["--set".to_owned(), format!("{path}={value}")]);
    set("server.port", data.to_string());
    if text.contains("name: \"sentinel\"") {
        set("sentinel.port", sentinel.to_string());
        set("sentinel.monitors.0.port", primary.unwrap_or(data).to_string());
    }
    if let Some(primary) = primary.filter(|_| text.contains("replicaof: (")) {
        set("replication.replicaof", format!("(\"127.0.0.1\", {primary})"));
    }
    let spec = ProcessSpec {
        program: keystead_bin(),
        args,
        dir: dir.path().to_path_buf(),
        log_name: "process.log".into(),
        env: Vec::new(),
    };
    let mut process = Process::start(spec).unwrap();
    process.wait_for_log("Ready to accept connections", DEADLINE);
    Instance { _process: process, _dir: dir, data, sentinel }
}

#[test]
fn every_file_passes_keystead_check() {
    assert!(plugin_lib("replication").is_file(), "libraries lie beside the binary");
    let mut seen = 0;
    for entry in std::fs::read_dir(file("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "ron") {
            let output = Command::new(keystead_bin()).arg("check").arg(&path).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            seen += 1;
        }
    }
    assert!(seen >= 6, "only {seen} files");
}

#[test]
fn check_finds_a_plugin_s_mistake_in_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.ron");
    let text = std::fs::read_to_string(file("replica.ron")).unwrap().replace("read_only", "raed_only");
    let line = text.lines().position(|l| l.contains("raed_only: ")).unwrap() + 1;
    std::fs::write(&wrong, text).unwrap();
    let output = Command::new(keystead_bin()).arg("check").arg(&wrong).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in [format!("wrong.ron:{line}:"), "replication".into(), "read_only".into()] {
        assert!(told.contains(&part), "no {part} in\n{told}");
    }
}

/// Runs the binary to its end: whether it succeeded, and what it said.
fn keystead(args: &[&str]) -> (bool, String) {
    keystead_in(Path::new("."), args)
}

fn keystead_in(dir: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new(keystead_bin()).args(args).current_dir(dir).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Check, and a start, with the same words.
#[test]
fn check_refuses_what_a_start_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.ron");
    let port = free_port();
    let sentinel = format!("(name: \"sentinel\", config: (port: {port}))");
    let cases = [
        (format!("server: (port: {port}), plugins: [(name: \"replication\"), {sentinel}]"), "can't share port"),
        ("server: (users: [\"alice on +@nosuch\"])".into(), "Unknown command or category name in ACL"),
        ("services: {\"keystead.election\": \"my-election\"}".into(), "'my-election' doesn't provide"),
        (format!("tls: (port: {})", free_port()), "No tls-cert-file configured!"),
        (
            format!("tls: (port: {}, cert_file: \"no.crt\", key_file: \"no.key\", auth_clients: \"no\")", free_port()),
            "no.crt",
        ),
        ("plugins: [\n  (name: \"replicaton\"),\n]".into(), "wrong.ron:2:10"),
        (
            format!(
                "plugins: [(name: \"sentinel\", config: (port: {port}, monitors: [\n  (name: \"a\", host: \"::1\", port: 1, \
                 quorum: 1),\n  (name: \"b\", host: \"::1\", port: 1, quorum: 0),\n]))]"
            ),
            "wrong.ron:3:",
        ),
        ("plugins: [\n  (name: \"replicaton\"),\n]".into(), "did you mean 'replication'?"),
        ("plugins: [\n  (name: \"a\", path: \"/nowhere.so\"),\n]".into(), "wrong.ron:2:10"),
        ("plugins: [\n  (name: \"a\", path: \"/nowhere.so\"),\n]".into(), "there is no library /nowhere.so"),
        ("plugins: [\n  (name: \"a\", path: \"/etc/passwd\"),\n]".into(), "wrong.ron:2:10"),
        ("plugins: [\n  (name: \"scripting\"),\n  (name: \"b/c\"),\n]".into(), "wrong.ron:3:10"),
        ("plugins: [\n  (name: \"scripting\"),\n  (name: \"scripting\"),\n]".into(), "wrong.ron:3:10"),
        ("plugins: [\n  (name: \"strategy-lease\"),\n]".into(), "wrong.ron:2:10"),
    ];
    for (text, words) in cases {
        std::fs::write(&wrong, format!("({text})")).unwrap();
        let (ok, told) = keystead(&["check", wrong.to_str().unwrap()]);
        assert!(!ok && told.contains(words), "{text}\n{told}");
        let (file, port) = (wrong.to_str().unwrap(), port.to_string());
        let (ok, told) = keystead(&[file, "--dir", dir.path().to_str().unwrap(), "--port", &port]);
        assert!(!ok && told.contains(words), "{text}\n{told}");
    }
    std::fs::write(&wrong, format!("(server: (port: {port}), plugins: [(name: \"replication\")])")).unwrap();
    let busy = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (ok, told) = keystead(&["check", wrong.to_str().unwrap()]);
    assert!(ok, "who uses the port now is no mistake of the file: {told}");
    drop(busy);
    let written: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(written, ["wrong.ron"], "nothing is written");
}

/// Whatever is wrong with a setting, and whoever finds it, is shown in its line; that of its section where it isn't written.
#[test]
fn every_refused_setting_is_shown_in_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.ron");
    let (port, tls) = (free_port().to_string(), free_port());
    let long = "s".repeat(120);
    let bad = [
        "server: (\n    bind: [],",
        "server: (\n    acl_pubsub_default: \"foo\",",
        "server: (\n    enable_debug_command: \"maybe\",",
        "server: (\n    notify_keyspace_events: \"KEAQ\",",
        "server: (\n    shutdown_on_sigint: \"save nosave\",",
        "server: (users: [\"a on\",\n    \"b +@nope\", \"c\"],",
        "server: (users: [\"a on\",\n    \"a off\"],",
        "server: (\n    aclfile: \"nowhere.acl\",",
        "server: (\n    dir: \"wrong.ron\",",
        &format!("server: (\n    unixsocket: \"{long}\","),
        "server: (\n    endpoint_users: {\"sentinel\": [\"a on\"]},",
        &format!("tls: (port: {tls},\n    cert_file: \"no.crt\", key_file: \"no.key\", auth_clients: \"no\","),
        "limits: (\n    maxclients: 0,",
        "limits: (\n    client_output_buffer_limit: \"normal 1\",",
        "limits: (\n    maxmemory_clients: \"500%\",",
        "memory: (\n    policy: \"lru\",",
        "encoding: (\n    rdb_version: 9,",
        "slowlog: (\n    latency_tracking_info_percentiles: \"101\",",
    ];
    for text in bad {
        std::fs::write(&wrong, format!("({text}\n  ),\n  plugins: [(name: \"replication\")],\n)")).unwrap();
        let (ok, told) = keystead_in(dir.path(), &["check", "wrong.ron"]);
        assert!(!ok && told.contains("wrong.ron:2:"), "{text}\n{told}");
        let in_dir: &[&str] = if text.contains(" dir:") { &[] } else { &["--dir", "."] };
        let (ok, told) = keystead_in(dir.path(), &[&["wrong.ron", "--port", &port], in_dir].concat());
        assert!(!ok && told.contains("wrong.ron:2:"), "{text}\n{told}");
    }
    let of_plugins = [
        "announce_ip: \"nobody\",",
        "hello_key: \"\",",
        "port: 0,",
        "monitors: [(name: \"a\", host: \"::1\", port: 1, quorum: 1), (name: \"b\", host: \"nohost\", port: 1, quorum: 1)],",
        "monitors: [(name: \"a\", host: \"::1\", port: 1, quorum: 1, election: \"nope\")],",
    ];
    for text in of_plugins {
        std::fs::write(&wrong, format!("(plugins: [(name: \"sentinel\", config: (\n  {text}\n))])")).unwrap();
        let (ok, told) = keystead_in(dir.path(), &["check", "wrong.ron"]);
        assert!(!ok && told.contains("wrong.ron:2:"), "{text}\n{told}");
    }
    let services = "(\n  services: {\"keystead.election\": \"my-election\"},\n)";
    std::fs::write(&wrong, services).unwrap();
    let (ok, told) = keystead_in(dir.path(), &["check", "wrong.ron"]);
    assert!(!ok && told.contains("wrong.ron:2:"), "{told}");
    let (ok, told) = keystead_in(dir.path(), &["--set", "memory.policy=allkeys-lur", "--port", &port, "--dir", "."]);
    assert!(!ok && told.contains("--set memory.policy=allkeys-lur: memory.policy: 'allkeys-lur' is refused"), "{told}");
    assert!(told.contains("did you mean 'allkeys-lru'?"), "{told}");
}

/// What a start may stumble over as things are is no mistake yet, and said all the same.
#[test]
fn check_warns_of_folders_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("k.ron");
    let text = "(server: (pidfile: \"/no/such/run/k.pid\", daemonize: true, unixsocket: \"k.sock\"))";
    std::fs::write(&file, text).unwrap();
    let (ok, told) = keystead_in(dir.path(), &["check", file.to_str().unwrap()]);
    assert!(ok && told.contains("server.pidfile: there is no folder /no/such/run"), "{told}");
    assert!(told.contains("server.daemonize without log.file") && !told.contains("server.unixsocket"), "{told}");
}

#[test]
fn an_argument_that_a_plugin_refuses_is_named() {
    let replica = file("replica.ron").display().to_string();
    for argument in ["replication.priority=-1", "replication.announce_port=99999", "replication.diskless_load=never"] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap();
        let port = free_port().to_string();
        let (ok, told) = keystead(&[&replica, "--dir", folder, "--port", &port, "--set", argument]);
        assert!(!ok && told.contains(&format!("--set {argument}: plugin 'replication'")), "{told}");
        assert!(!told.contains("replica.ron:"), "{told}");
    }
}

/// Ctrl-C before the first node runs: nobody is said to be ready, and there is no picture of what isn't there.
#[test]
fn a_cluster_that_is_stopped_while_it_starts_says_just_that() {
    let dir = tempfile::tempdir().unwrap();
    // The port 20,000 above a free one may be that of a test beside this one.
    let (node, mut cluster) = (0..50).find_map(|_| held_start(dir.path(), free_port())).expect("a free pair of ports");
    cluster.interrupt();
    let _reader = std::fs::File::open(node.join("log")).unwrap();
    assert!(cluster.wait_exit(DEADLINE).success(), "{}", cluster.log());
    let told = cluster.log();
    assert!(told.contains("Stopped while it was starting"), "{told}");
    assert!(!told.contains("ready after") && !told.contains("redis-cli"), "{told}");
}

/// A cluster that can't start its first node yet, and that node's folder; nothing where somebody else has one of its ports.
fn held_start(dir: &Path, base: u16) -> Option<(PathBuf, Process)> {
    let (node, folder) = (dir.join(format!("node-{base}")), dir.display().to_string());
    std::fs::create_dir(&node).unwrap();
    // A pipe that nobody reads holds the start where it opens the first node's log.
    assert!(Command::new("mkfifo").arg(node.join("log")).status().unwrap().success());
    let args = ["cluster", "--replicas", "0", "--sentinels", "1", "--dir", &folder, "--base-port", &base.to_string()];
    let spec = ProcessSpec {
        program: keystead_bin(),
        args: args.map(str::to_owned).to_vec(),
        dir: dir.to_path_buf(),
        log_name: format!("cluster-{base}.log"),
        env: Vec::new(),
    };
    let mut cluster = Process::start(spec).unwrap();
    wait_until("the cluster starts or can't", DEADLINE, || {
        !cluster.is_alive() || cluster.log().contains("Starting 2 nodes")
    });
    if cluster.log().contains("Starting 2 nodes") {
        return Some((node, cluster));
    }
    assert!(cluster.log().contains("Address already in use"), "{}", cluster.log());
    None
}

#[test]
fn what_a_cluster_can_t_be_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, taken) = (dir.path().join("new"), dir.path().join("file"));
    std::fs::write(&taken, "").unwrap();
    let (inside, taken) = (inside.to_str().unwrap(), taken.to_str().unwrap());
    for (args, words) in [
        (vec!["--base-port", "0", "--dir", inside], "--base-port must be at least 1"),
        (vec!["--base-port", "60000", "--dir", inside], "leaves no room"),
        (vec!["--embedded", "--sentinels", "5", "--dir", inside], "cannot be used with"),
    ] {
        let (ok, told) = keystead(&[&["cluster"], &args[..]].concat());
        assert!(!ok && told.contains(words), "{args:?}: {told}");
        assert!(!Path::new(inside).exists(), "{args:?}");
    }
    // The ports behind a free one may be those of a test beside this one.
    let with = |port: u16| keystead(&["cluster", "--base-port", &port.to_string(), "--dir", taken]);
    let told = (0..50).map(|_| with(free_port())).find(|(_, told)| !told.contains("Address already in use"));
    let (ok, told) = told.unwrap();
    assert!(!ok && told.contains(taken), "{told}");
    let (ok, told) = keystead(&["frobnicate"]);
    assert!(!ok && told.contains("subcommands are cluster, sentinel, check, plugin"), "{told}");
}

/// The folder's name is known, and in the temporary directory anybody can be there first.
#[test]
fn a_cluster_s_folder_is_its_user_s_alone() {
    let (tmp, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut refused, port) = (0, free_port() % 20_000 + 10_000);
    let folder = tmp.path().join(format!("keystead-cluster-{port}"));
    std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
    let mut told = |words: &str| {
        let spec = ProcessSpec {
            program: keystead_bin(),
            args: ["cluster", "--base-port", &port.to_string()].map(str::to_owned).to_vec(),
            dir: tmp.path().to_path_buf(),
            log_name: format!("{refused}.log"),
            env: vec![("TMPDIR".to_owned(), tmp.path().display().to_string())],
        };
        refused += 1;
        let mut cluster = Process::start(spec).unwrap();
        let ended = eventually(DEADLINE, || (!cluster.is_alive()).then_some(()));
        if ended.is_none() {
            // Its nodes go with it, in order.
            cluster.terminate();
            cluster.wait_exit(DEADLINE);
        }
        let log = cluster.log();
        assert!(ended.is_some() && log.contains(&folder.display().to_string()) && log.contains(words), "{log}");
    };
    told("is a symbolic link");
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    told("can be written to by others than its owner");
    let empty = |dir: &Path| std::fs::read_dir(dir).unwrap().count() == 0;
    assert!(empty(elsewhere.path()) && empty(&folder), "nothing was written");
}

#[test]
fn a_standalone_server_runs() {
    let node = start("standalone.ron", None);
    assert_eq!(Client::connect(node.data).cmd("SET a 1"), "OK");
}

#[test]
fn a_server_that_keeps_every_write_runs() {
    let node = start("aof.ron", None);
    assert_eq!(Client::connect(node.data).info("persistence")["aof_enabled"], "1");
}

#[test]
fn all_keys_run_together() {
    let node = start("all-keys.ron", None);
    assert_eq!(Client::connect(node.data).info("replication")["role"], "master");
    assert_eq!(Client::connect(node.sentinel).info("server")["redis_mode"], "sentinel");
}

#[test]
fn a_primary_its_replica_and_a_sentinel_find_each_other() {
    let primary = start("primary.ron", None);
    let replica = start("replica.ron", Some(primary.data));
    let sentinel = start("sentinel.ron", Some(primary.data));
    Client::connect(primary.data).ok("SET a 1");
    let mut client = Client::connect(replica.data);
    wait_until("the write reaches the replica", DEADLINE, || client.cmd("GET a") == "1");
    assert!(Client::try_connect(sentinel.data).is_err(), "a sentinel has no data port");
    let mut client = Client::connect(sentinel.sentinel);
    let master = client.cmd("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").texts();
    assert_eq!(master, ["127.0.0.1", &primary.data.to_string()]);
    wait_until("the sentinel knows the replica", DEADLINE, || {
        client.cmd("SENTINEL REPLICAS mymaster").items().len() == 1
    });
}

#[test]
fn a_filtered_replica_has_a_part_of_its_primary_s_data() {
    let primary = start("primary.ron", None);
    let replica = start("filtered-replica.ron", Some(primary.data));
    let mut client = Client::connect(primary.data);
    client.ok("MSET user:1 a order:1 b");
    let mut client = Client::connect(replica.data);
    wait_until("the part is there", DEADLINE, || client.cmd("GET user:1") == "a");
    assert_eq!(client.cmd("DBSIZE"), 1);
}

#[test]
fn a_data_node_carries_a_sentinel_of_its_own() {
    let node = start("data-node-with-sentinel.ron", None);
    let mut data = Client::connect(node.data);
    assert_eq!(data.cmd("SET a 1"), "OK");
    let mut sentinel = Client::connect(node.sentinel);
    assert!(sentinel.cmd("GET a").is_error(), "two engines");
    let masters = sentinel.cmd("SENTINEL MASTERS").items();
    assert_eq!(masters[0].get("port").unwrap(), node.data.to_string().as_str());
}
