//! A server's life: starts, settings, sockets, rewritten configuration, and a clean end.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, keystead_bin, wait_until};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_signal_stops_it_cleanly() {
    for interrupt in [false, true] {
        let mut node = Keystead::builder().server("pidfile: \"k.pid\"").start();
        let pid_file = node.dir().join("k.pid");
        assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), node.process.pid().to_string());
        if interrupt {
            node.process.interrupt();
        } else {
            node.process.terminate();
        }
        assert!(node.process.wait_exit(DEADLINE).success());
        assert!(node.process.log().contains("ready to exit, bye bye"), "{}", node.process.log());
        assert!(!pid_file.exists(), "the pid file is removed");
    }
}

/// A second SIGTERM says nothing new; a second SIGINT is a person who insists.
#[test]
fn a_save_at_the_end_survives_sigterm_and_not_a_second_sigint() {
    let saving = || {
        let config = "(save: [(3600, 1)], rdb_key_save_delay: 2000)";
        let mut node = Keystead::builder().plugin("persistence-rdb", config).start();
        node.client().ok("DEBUG POPULATE 500");
        node.process.terminate();
        node.process.wait_for_log("Saving the final RDB snapshot", DEADLINE);
        node
    };
    let mut node = saving();
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
    node.restart();
    assert_eq!(node.client().cmd("DBSIZE").as_int(), Some(500));
    let mut node = saving();
    node.process.interrupt();
    assert!(!node.process.wait_exit(DEADLINE).success());
    assert!(node.process.log().contains("You insist... exiting now."), "{}", node.process.log());
    assert!(!node.dir().join("dump.rdb").exists());
}

#[test]
fn signals_mean_what_is_configured() {
    let mut node =
        Keystead::builder().server("shutdown_on_sigint: \"save\"").plugin("persistence-rdb", "(save: [])").start();
    let mut client = node.client();
    client.ok("SET a 1");
    assert_eq!(client.cmd("CONFIG GET shutdown-on-sigint").texts()[1], "save");
    let refused = client.command(&["CONFIG", "SET", "shutdown-on-sigterm", "save nosave"]);
    assert!(format!("{refused:?}").contains("can't be used simultaneously"), "{refused:?}");
    node.process.interrupt();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert!(node.dir().join("dump.rdb").exists(), "{}", node.process.log());
    node.restart();
    let mut client = node.client();
    client.command(&["CONFIG", "SET", "save", "3600 1"]);
    client.command(&["CONFIG", "SET", "shutdown-on-sigterm", "nosave now"]);
    assert_eq!(client.cmd("CONFIG GET shutdown-on-sigterm").texts()[1], "nosave now");
    client.ok("SET b 2");
    std::fs::remove_file(node.dir().join("dump.rdb")).unwrap();
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert!(!node.dir().join("dump.rdb").exists(), "{}", node.process.log());
}

#[test]
fn shutdown_stops_it_and_log_lines_are_redis_own() {
    let mut node = Keystead::plain();
    let mut client = node.client();
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success());
    assert!(client.is_closed_within(DEADLINE));
    let log = node.process.log();
    assert!(log.contains(&format!(" PID: {}", node.process.pid())), "{log}");
    let line = log.lines().find(|l| l.contains("Ready to accept connections")).expect("the line tests wait for");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], format!("{}:M", node.process.pid()));
    assert!(words[1].len() == 2 && words[2].len() == 3 && words[4].len() == 12 && words[5] == "*", "{line}");
}

/// Redis' suite takes the first line with the pid for a server that has its port, and tries another port otherwise.
#[test]
fn the_pid_is_not_said_as_redis_says_it_before_the_port_is_bound() {
    let first = Keystead::plain();
    let mut second = Keystead::builder().port(first.port()).launch();
    assert!(!second.process.wait_exit(DEADLINE).success());
    let log = second.process.log();
    assert!(log.contains("Failed listening on port") && !log.contains(" PID: "), "{log}");
}

#[test]
fn config_rewrite_is_an_overlay_that_survives_and_yields_to_the_command_line() {
    let mut node = Keystead::builder().start();
    let file = node.dir().join("keystead.ron");
    let before = std::fs::read_to_string(&file).unwrap();
    let mut client = node.client();
    client.ok("CONFIG SET maxclients 77 slowlog-max-len 9");
    client.ok("CONFIG REWRITE");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "the user's file is untouched");
    let kept = std::fs::metadata(node.dir().join("keystead.overlay.ron")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600, "there may be passwords in it");
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("CONFIG GET maxclients").get("maxclients").unwrap(), "77");
    node.client().ok("CONFIG SET timeout 100");
    node.client().ok("CONFIG REWRITE");
    node.process.kill();
    node.restart();
    let mut client = node.client();
    assert_eq!(client.cmd("CONFIG GET slowlog-max-len").get("slowlog-max-len").unwrap(), "9", "an older change stays");
    assert_eq!(client.cmd("CONFIG GET timeout").get("timeout").unwrap(), "100");
    node.process.kill();

    let overlay = std::fs::read(node.dir().join("keystead.overlay.ron")).unwrap();
    let strict = Keystead::builder().arg("--set").arg("limits.maxclients=33");
    let again = strict.file("keystead.overlay.ron", &overlay).start();
    let mut client = again.client();
    assert_eq!(client.cmd("CONFIG GET maxclients").get("maxclients").unwrap(), "33", "the command line beats it");
    assert_eq!(client.cmd("CONFIG GET timeout").get("timeout").unwrap(), "100");
}

/// Plugins with parameters, all in one instance.
const WITH_PARAMS: [&str; 4] = ["replication", "persistence-rdb", "persistence-aof", "scripting"];

fn with_params() -> keystead_harness::KeysteadBuilder {
    WITH_PARAMS.iter().fold(Keystead::builder(), |builder, plugin| builder.plugin(plugin, "()"))
}

/// A parameter's value.
fn value(client: &mut Client, name: &str) -> String {
    client.cmd(&format!("CONFIG GET {name}")).texts().into_iter().nth(1).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_command_line_beats_what_config_rewrite_kept_of_plugins() {
    let cases = [
        ("repl-backlog-size", "2097152", "replication.backlog_size=100000", "100000"),
        ("repl-backlog-ttl", "99", "replication.backlog_ttl_s=3600", "3600"),
        ("repl-timeout", "70", "replication.timeout_s=80", "80"),
        ("replica-priority", "7", "replication.priority=8", "8"),
        ("min-replicas-max-lag", "20", "replication.min_replicas_max_lag_s=21", "21"),
        ("masterauth", "kept", "replication.auth_password=given", "given"),
        ("save", "100 1", "persistence-rdb.save=[(200, 2)]", "200 2"),
        ("auto-aof-rewrite-percentage", "55", "persistence-aof.rewrite_percentage=66", "66"),
        ("appendfsync", "no", "persistence-aof.fsync=everysec", "everysec"),
        // The same under its old name.
        ("lua-time-limit", "777", "scripting.busy_reply_threshold_ms=888", "888"),
    ];
    let node = with_params().start();
    let mut client = node.client();
    for (name, kept, ..) in cases {
        assert_eq!(client.command(&["CONFIG", "SET", name, kept]), "OK", "{name}");
    }
    client.ok("CONFIG SET repl-ping-replica-period 3");
    client.ok("CONFIG REWRITE");
    let overlay = std::fs::read(node.dir().join("keystead.overlay.ron")).unwrap();
    let again = |given: bool| {
        let args = cases.iter().filter(|_| given).map(|(_, _, argument, _)| *argument);
        let builder = with_params().file("keystead.overlay.ron", &overlay);
        args.fold(builder, |builder, argument| builder.arg("--set").arg(argument)).start()
    };
    let kept = again(false);
    let given = again(true);
    for (name, before, argument, after) in cases {
        assert_eq!(value(&mut kept.client(), name), before);
        assert_eq!(value(&mut given.client(), name), after, "{argument}");
    }
    assert_eq!(value(&mut given.client(), "repl-ping-replica-period"), "3", "of which the command line says nothing");
    let log = given.process.log();
    assert!(log.contains("'repl-timeout' is passed over: the command line gives replication.timeout_s"), "{log}");
    assert!(!log.contains("passwords") && !log.contains("masterauth is 'kept'"), "{log}");
}

/// Whatever parameter a plugin has, some key of its configuration gives it.
#[test]
fn every_parameter_of_a_plugin_gives_way_to_its_key() {
    let node = with_params().start();
    let mut client = node.client();
    let (mut kept, mut builder, mut names) = (String::new(), with_params(), Vec::new());
    for plugin in WITH_PARAMS {
        let params = client.cmd(&format!("PLUGIN INFO {plugin}")).get("params").unwrap().as_text().unwrap();
        for name in params.split(' ') {
            kept.push_str(&format!("\"{name}\": {:?}, ", value(&mut client, name)));
            names.push(name.to_owned());
        }
        for key in keys(plugin) {
            builder = builder.arg("--set").arg(&format!("{plugin}.{key}"));
        }
    }
    let again = builder.file("keystead.overlay.ron", format!("(params: {{{kept}}})").as_bytes()).start();
    let log = again.process.log();
    for name in &names {
        assert!(
            log.contains(&format!("'{name}' is passed over: the command line gives")),
            "no key gives {name}\n{log}"
        );
    }
    assert!(names.len() > 40, "{names:?}");
}

/// Each key of a plugin with its default: `timeout_s=60`.
fn keys(plugin: &str) -> Vec<String> {
    let lib = keystead_harness::plugin_lib(plugin);
    let told = Command::new(keystead_bin()).args(["plugin", "inspect"]).arg(lib).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let mut keys: Vec<String> = Vec::new();
    for line in told.lines().skip_while(|line| *line != "(").skip(1).take_while(|line| *line != ")") {
        match (line.strip_prefix("    "), keys.last_mut()) {
            (Some(rest), _) if rest.starts_with("//") => {}
            (Some(rest), _) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => {
                keys.push(rest.replacen(": ", "=", 1))
            }
            (_, Some(last)) => last.push_str(line.trim()),
            (_, None) => panic!("{told}"),
        }
    }
    keys.into_iter().map(|key| key.trim_end_matches(',').to_owned()).collect()
}

#[test]
fn a_folder_that_config_rewrite_kept_is_the_one_after_a_restart() {
    let mut node =
        Keystead::builder().server("enable_protected_configs: \"yes\"").plugin("persistence-rdb", "(save: [])").start();
    let sub = node.dir().join("sub");
    std::fs::create_dir(&sub).unwrap();
    let mut client = node.client();
    client.ok("CONFIG SET dir sub");
    client.ok("CONFIG REWRITE");
    client.ok("SET a 1");
    client.ok("SAVE");
    assert!(sub.join("dump.rdb").exists() && node.dir().join("keystead.overlay.ron").exists());
    node.process.kill();
    node.restart();
    assert_eq!(node.client().cmd("GET a"), "1");
    assert_eq!(Path::new(&value(&mut node.client(), "dir")).canonicalize().unwrap(), sub.canonicalize().unwrap());
    // Without it the data would seem to be gone: better no start.
    node.process.kill();
    std::fs::rename(&sub, node.dir().join("moved")).unwrap();
    node.process.restart().unwrap();
    assert!(!node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    assert!(log.contains("keystead.overlay.ron: can't work in the folder"), "{log}");
}

#[test]
fn an_empty_overlay_is_passed_over_and_a_file_is_no_folder() {
    let node = Keystead::builder().file("keystead.overlay.ron", b"").start();
    let log = node.process.log();
    assert!(log.contains("keystead.overlay.ron is empty and passed over"), "{log}");
    for dir in ["keystead.ron", "keystead.ron/below"] {
        let path = node.dir().join(dir).display().to_string();
        let mut wrong = Keystead::builder().arg("--dir").arg(&path).launch();
        assert!(!wrong.process.wait_exit(DEADLINE).success());
        let log = wrong.process.log();
        assert!(log.contains(&format!("server.dir: {path} is no folder")), "{log}");
    }
}

#[test]
fn maxclients_is_what_the_limit_of_open_files_leaves_room_for() {
    let node = Keystead::builder().shell("ulimit -n 70").start();
    let mut client = node.client();
    assert_eq!(value(&mut client, "maxclients"), "38");
    let log = node.process.log();
    assert!(log.contains("You requested maxclients of 10000 requiring at least 10032 max file descriptors"), "{log}");
    let told = client.cmd("CONFIG SET maxclients 1000000000");
    let words = "(possibly related to argument 'maxclients') - The operating system is not able to handle the specified \
                 number of clients, try with 38";
    assert!(format!("{told:?}").contains(words), "{told:?}");
    assert_eq!(value(&mut client, "maxclients"), "38", "what was stays");
    // Everybody gets an answer, be it that there is no room.
    let mut others: Vec<Client> = (0..60).map(|_| Client::connect(node.port())).collect();
    let (served, refused) = others.split_at_mut(37);
    served.iter_mut().for_each(|other| assert_eq!(other.cmd("PING"), "PONG"));
    for other in refused {
        let told = other.read().unwrap();
        assert!(format!("{told:?}").contains("ERR max number of clients reached"), "{told:?}");
    }
    let mut none = Keystead::builder().shell("ulimit -n 32").launch();
    assert!(!none.process.wait_exit(DEADLINE).success());
    assert!(none.process.log().contains("increase your open file limit to at least 33"), "{}", none.process.log());
}

#[test]
fn settings_of_the_file_are_config_s_values() {
    let node = Keystead::builder()
        .server("databases: 4, requirepass: \"pw\"")
        .section("encoding: (hash_max_listpack_entries: 7)")
        .section("slowlog: (max_len: 5)")
        .start();
    let mut client = node.client();
    client.ok("AUTH pw");
    for (name, value) in [
        ("databases", "4"),
        ("requirepass", "pw"),
        ("hash-max-listpack-entries", "7"),
        ("hash-max-ziplist-entries", "7"),
        ("slowlog-max-len", "5"),
        ("port", &node.port().to_string()),
    ] {
        assert_eq!(client.cmd(&format!("CONFIG GET {name}")).get(name).unwrap(), value, "{name}");
    }
    assert!(client.cmd("SELECT 4").is_error());
}

#[test]
fn a_unix_socket_serves_too() {
    let node = Keystead::builder().server("unixsocket: \"k.sock\", unixsocketperm: \"700\"").start();
    let path = node.dir().join("k.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn a_port_of_zero_leaves_only_the_unix_socket() {
    let mut node = Keystead::builder().arg("--port").arg("0").server("unixsocket: \"k.sock\"").launch();
    node.process.wait_for_log("Ready to accept connections", DEADLINE);
    assert!(std::os::unix::net::UnixStream::connect(node.dir().join("k.sock")).is_ok());
    assert!(std::net::TcpStream::connect(("127.0.0.1", node.port())).is_err());
}

#[test]
fn the_log_level_changes_at_run_time() {
    let mut node = Keystead::builder().section("log: (level: \"warning\", file: \"k.log\")").start();
    let file = node.dir().join("k.log");
    let log = || std::fs::read_to_string(&file).unwrap();
    assert!(!log().contains("Ready to accept"), "notices are filtered");
    node.client().ok("CONFIG SET loglevel debug");
    node.client().ok("CONFIG REWRITE");
    wait_until("the notice is logged", DEADLINE, || log().contains("CONFIG REWRITE wrote"));
    node.process.terminate();
    node.process.wait_exit(DEADLINE);
}

#[test]
fn pushes_reach_an_idle_client_and_killed_clients_go() {
    let node = Keystead::plain();
    let (mut subscriber, mut publisher) = (node.client(), node.client());
    subscriber.ok("SUBSCRIBE news");
    assert_eq!(publisher.cmd("PUBLISH news hello"), 1);
    assert_eq!(subscriber.read().unwrap().texts(), ["message", "news", "hello"]);

    let mut blocked = node.client();
    blocked.send(&["BLPOP", "queue", "0"]).unwrap();
    wait_until("it waits", DEADLINE, || publisher.info("clients")["blocked_clients"] == "1");
    blocked.send(&["PING"]).unwrap();
    publisher.ok("RPUSH queue job");
    assert_eq!(blocked.read().unwrap().texts(), ["queue", "job"]);
    assert_eq!(blocked.read().unwrap(), "PONG");

    let id = subscriber_id(&mut publisher);
    assert_eq!(publisher.cmd(&format!("CLIENT KILL ID {id}")), 1);
    assert!(subscriber.is_closed_within(DEADLINE));
}

/// The id of the client that subscribes, from CLIENT LIST.
fn subscriber_id(client: &mut keystead_harness::Client) -> String {
    let list = client.cmd("CLIENT LIST TYPE pubsub").as_text().unwrap();
    list.split(' ').find_map(|w| w.strip_prefix("id=")).expect("one subscriber").to_owned()
}

#[test]
fn a_daemon_detaches_writes_its_pid_and_stops_by_signal() {
    let mut node =
        Keystead::builder().server("daemonize: true, pidfile: \"k.pid\"").section("log: (file: \"k.log\")").launch();
    assert!(node.process.wait_exit(DEADLINE).success(), "the starter ends");
    let pid_file = node.dir().join("k.pid");
    let mut client = node.client();
    let pid = std::fs::read_to_string(&pid_file).unwrap().trim().to_owned();
    assert_eq!(client.info("server")["process_id"], pid);
    client.send(&["SHUTDOWN"]).unwrap();
    wait_until("the daemon is gone", DEADLINE, || !pid_file.exists());
    // Its last word comes behind that.
    let log = || std::fs::read_to_string(node.dir().join("k.log")).unwrap();
    wait_until("it says so", DEADLINE, || log().contains("bye bye"));
}

#[test]
fn it_stops_with_replicas_and_subscribers_attached() {
    let mut primary = Keystead::primary();
    let replica = Keystead::replica_of(primary.port());
    let mut subscriber = primary.client();
    subscriber.ok("SUBSCRIBE news");
    let mut client = primary.client();
    wait_until("the replica is online", DEADLINE, || {
        client.info("replication").get("slave0").is_some_and(|line| line.contains("state=online"))
    });
    client.ok("SET last words");
    primary.process.terminate();
    assert!(primary.process.wait_exit(DEADLINE).success(), "{}", primary.process.log());
    assert!(subscriber.is_closed_within(DEADLINE));
    let mut client = replica.client();
    wait_until("the last write has arrived", DEADLINE, || client.cmd("GET last") == "words");
}

#[test]
fn info_tells_what_the_process_is() {
    let node = Keystead::plain();
    let mut client = node.client();
    let server = client.info("server");
    assert_eq!(server["process_id"], node.process.pid().to_string());
    assert_eq!(server["tcp_port"], node.port().to_string());
    assert!(server["config_file"].ends_with("/keystead.ron") && server["executable"].ends_with("/keystead"));
    let before: u64 = client.info("memory")["used_memory"].parse().unwrap();
    client.command(&[b"SET".as_slice(), b"big", &vec![b'x'; 30 << 20]]);
    let after: u64 = client.info("memory")["used_memory"].parse().unwrap();
    assert!(after > before + (29 << 20), "{before} {after}");
    client.ok("DEL big");
    wait_until("the memory is free again", DEADLINE, || {
        client.info("memory")["used_memory"].parse::<u64>().unwrap() < before + (5 << 20)
    });
}

#[test]
fn a_long_turn_of_the_data_engine_does_not_make_its_sentinel_miss_a_ping() {
    let (data, own) = (keystead_harness::free_port(), keystead_harness::free_port());
    let sentinel = format!("(port: {own}, monitors: [(name: \"m\", host: \"127.0.0.1\", port: {data}, quorum: 1)])");
    let node = Keystead::builder().port(data).plugin("replication", "()").plugin("sentinel", &sentinel).start();
    let _replica = Keystead::replica_of(data);
    let mut client = node.client();
    wait_until("the replica is online", DEADLINE, || {
        client.info("replication").get("slave0").is_some_and(|line| line.contains("state=online"))
    });
    client.send(&["DEBUG", "SLEEP", "3"]).unwrap();
    let mut sentinel = Client::connect(own);
    let until = std::time::Instant::now() + Duration::from_millis(2500);
    let mut worst = Duration::ZERO;
    while std::time::Instant::now() < until {
        let asked = std::time::Instant::now();
        sentinel.ok("PING");
        worst = worst.max(asked.elapsed());
    }
    assert_eq!(client.read().unwrap(), "OK");
    assert!(worst < Duration::from_millis(900), "the sentinel was silent for {worst:?}");
}

#[test]
fn addresses_and_port_are_moved_at_run_time_and_kept() {
    let mut node = Keystead::plain();
    let (mut client, old, new) = (node.client(), node.port(), keystead_harness::free_port());
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap().port();
    let told = client.cmd(&format!("CONFIG SET maxmemory 10000001 port {taken}"));
    let words = "(possibly related to argument 'port') - Unable to listen on this port";
    assert!(format!("{told:?}").contains(words), "{told:?}");
    let shown = client.cmd("CONFIG GET maxmemory");
    assert!(format!("{shown:?}").contains("\"0\"") || !format!("{shown:?}").contains("10000001"), "{shown:?}");
    Client::connect(old).ok("SET a 1");
    client.ok(&format!("CONFIG SET port {new}"));
    assert_eq!(Client::connect(new).cmd("GET a"), "1");
    assert!(Client::try_connect(old).is_err(), "nobody listens there any more");
    assert_eq!(client.info("server")["tcp_port"], new.to_string(), "who was connected stays so");
    // The same port on other addresses, one of which covers the old one, and on an address that isn't ours.
    client.command(&["CONFIG", "SET", "bind", "*"]);
    assert_eq!(Client::connect(new).cmd("GET a"), "1");
    let told = client.command(&["CONFIG", "SET", "bind", "192.0.2.1"]);
    assert!(format!("{told:?}").contains("Failed to bind to specified addresses"), "{told:?}");
    assert_eq!(Client::connect(new).cmd("GET a"), "1", "what was stays");
    client.command(&["CONFIG", "SET", "bind", "127.0.0.1"]);
    client.ok("CONFIG REWRITE");
    node.process.kill();
    // The file's port may be somebody else's meanwhile: the overlay's is the one that is bound.
    let _other = std::net::TcpListener::bind(("127.0.0.1", old));
    node.process.restart().unwrap();
    wait_until("the restart", DEADLINE, || Client::try_connect(new).is_ok());
}

/// A daemon's standard error is nowhere: the log says why it ended.
#[test]
fn an_end_without_memory_is_in_the_log() {
    let node = Keystead::builder().section("log: (file: \"k.log\")").shell("ulimit -v 6000000").start();
    let mut node = node;
    let mut client = node.client();
    // Zeros that nobody touches: they take addresses, not memory.
    for n in 0..20 {
        let _ = client.send(&["SETRANGE", &format!("k{n}"), "500000000", "x"]).and_then(|()| client.read());
    }
    node.process.wait_exit(DEADLINE);
    let log = std::fs::read_to_string(node.dir().join("k.log")).unwrap();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(" # Out of memory: the system doesn't give 50"), "{log}");
}
