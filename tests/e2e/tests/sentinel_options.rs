//! What an operator may set on a sentinel, seen working: scripts, host names, addresses, users, renamed commands.

use keystead_harness::{
    Certs, Client, DEADLINE, Keystead, RedisServer, free_port, have, keystead_bin, ron_str, wait_until,
};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Stock nodes are asked for their INFO every ten seconds.
const LIMIT: Duration = Duration::from_secs(60);

fn sentinel(global: &str, host: &str, primary: u16, quorum: u32, more: &str) -> (Keystead, u16) {
    let port = free_port();
    let config = format!(
        "(port: {port}, bind: [\"127.0.0.1\"], {global} monitors: [(name: \"m\", host: \"{host}\", port: {primary}, \
         quorum: {quorum}, down_after_ms: 2000, failover_timeout_ms: 10000, {more})])"
    );
    (Keystead::builder().plugin("sentinel", &config).ready_port(port).start(), port)
}

fn field(client: &mut Client, name: &str) -> String {
    client.cmd("SENTINEL MASTER m").get(name).and_then(|value| value.as_text()).unwrap_or_default()
}

fn wait_for(port: u16, name: &str, value: &str) {
    let mut client = Client::connect(port);
    wait_until(&format!("{name} is {value}"), LIMIT, || field(&mut client, name) == value);
}

fn script(dir: &Path, name: &str, body: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a writable folder");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("our file");
    path.display().to_string()
}

#[test]
fn scripts_are_called_with_redis_arguments() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let told = dir.path().join("told");
    let pids = dir.path().join("pids");
    let body = format!("echo \"$@\" >> {}\necho \"$$ $1\" >> {}", told.display(), pids.display());
    let path = script(dir.path(), "tell", &body);
    let (primary, replica) = pair();
    let both = format!("notification_script: {0}, client_reconfig_script: {0}", ron_str(&path));
    let (_sentinel, port) = sentinel("", "127.0.0.1", primary.port(), 1, &both);
    wait_until("it knows enough of the replica", LIMIT, || {
        Client::connect(port).cmd("SENTINEL FAILOVER m DRYRUN").texts().join(" ").contains("would be promoted")
    });
    Client::connect(port).ok("SENTINEL FAILOVER m");
    let (old, new) = (primary.port(), replica.port());
    let heard = || std::fs::read_to_string(&told).unwrap_or_default();
    for line in [
        format!("+try-failover master m 127.0.0.1 {old}"),
        format!("+promoted-slave slave 127.0.0.1:{new} 127.0.0.1 {new} @ m 127.0.0.1 {old}"),
        format!("m leader start 127.0.0.1 {old} 127.0.0.1 {new}"),
        format!("+switch-master m 127.0.0.1 {old} 127.0.0.1 {new}"),
    ] {
        wait_until(&line, LIMIT, || heard().lines().any(|told| told == line));
    }
    // They run at once, but start in the order of what they tell.
    let in_order = [
        "+monitor",
        "+new-epoch",
        "+try-failover",
        "+vote-for-leader",
        "+elected-leader",
        "+failover-state-select-slave",
        "+selected-slave",
        "+promoted-slave",
        "+failover-state-reconf-slaves",
        "+failover-end",
        "+switch-master",
    ];
    let started = || {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        let mut pairs: Vec<(u32, String)> = pairs.map(|(pid, what)| (pid.parse().unwrap_or(0), what.into())).collect();
        // The numbers may have begun anew in between.
        let wrapped = pairs.iter().any(|(pid, _)| *pid > 1_000 && pairs.iter().any(|(other, _)| other + 10_000 < *pid));
        pairs.sort_by_key(|(pid, _)| (wrapped && *pid < 10_000, *pid));
        pairs.into_iter().map(|(_, what)| what).filter(|what| what.starts_with('+')).collect::<Vec<_>>()
    };
    wait_until("all have begun", LIMIT, || started().len() >= in_order.len());
    assert_eq!(started(), in_order);
}

#[test]
fn a_script_that_asks_for_it_waits_for_its_next_try_and_one_that_hangs_is_killed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let again = script(dir.path(), "again", "exit 1");
    let hangs = script(dir.path(), "hangs", "exec sleep 1000");
    let (_s, port) = sentinel("deny_scripts_reconfig: false,", "127.0.0.1", free_port(), 1, "");
    let mut client = Client::connect(port);
    client.ok(&format!("SENTINEL SET m notification-script {again}"));
    let pending = |client: &mut Client| client.ok("SENTINEL PENDING-SCRIPTS").items();
    let text = |of: &keystead_harness::Reply, name: &str| of.get(name).and_then(|v| v.as_text()).unwrap_or_default();
    wait_until("it waits", DEADLINE, || {
        pending(&mut client).iter().any(|job| text(job, "flags") == "scheduled" && text(job, "retry-num") == "1")
    });
    let job = pending(&mut client).remove(0);
    assert_eq!(job.get("argv").expect("a field").texts()[..2], [again, "+set".to_owned()]);
    assert!(text(&job, "run-delay").parse::<u64>().expect("a number") > 20_000);
    client.ok("SENTINEL DEBUG script-max-runtime 300");
    client.ok(&format!("SENTINEL SET m notification-script {hangs}"));
    let mut log = Client::connect(port);
    log.send(&["SUBSCRIBE", "-script-timeout"]).expect("a socket");
    log.read().expect("subscribed");
    client.ok("SENTINEL SET m quorum 2");
    let message = log.read().expect("the event").texts();
    assert!(message[2].starts_with(&format!("{hangs} ")), "{message:?}");
    let running = client.info("sentinel");
    assert!(running["sentinel_scripts_queue_length"].parse::<u32>().expect("a number") >= 2, "{running:?}");
}

#[test]
fn a_primary_known_by_name_is_announced_by_name() {
    let (primary, replica) = pair();
    let names = "resolve_hostnames: true, announce_hostnames: true,";
    let (_s, port) = sentinel(names, "localhost", primary.port(), 1, "");
    wait_for(port, "num-slaves", "1");
    let mut client = Client::connect(port);
    let told = |client: &mut Client| client.ok("SENTINEL GET-MASTER-ADDR-BY-NAME m").texts();
    assert_eq!(told(&mut client), ["localhost".to_owned(), primary.port().to_string()]);
    // It counts the replica before it has seen it in sync.
    wait_until("the failover begins", LIMIT, || !client.cmd("SENTINEL FAILOVER m").is_error());
    // The replica is known by its address only.
    wait_until("the switch", LIMIT, || told(&mut client) == ["127.0.0.1".to_owned(), replica.port().to_string()]);
    // And the old primary by its name.
    wait_until("the old primary follows", LIMIT, || {
        let replicas = client.ok("SENTINEL REPLICAS m").items();
        let text = |name: &str| replicas[0].get(name).and_then(|v| v.as_text()).unwrap_or_default();
        text("name") == format!("localhost:{}", primary.port()) && text("master-link-status") == "ok"
    });
    // Its new primary lists it by its address, and hands the role back under that.
    wait_until("the role is handed back", LIMIT, || {
        let _ = client.cmd("SENTINEL FAILOVER m");
        told(&mut client) == ["localhost".to_owned(), primary.port().to_string()]
    });
}

#[test]
fn passwords_and_renamed_commands_of_stock_nodes_and_of_sentinels() {
    if !have("redis-server") {
        println!("SKIPPED: redis-server is not installed");
        return;
    }
    let secret = ["--requirepass", "sesame", "--masterauth", "sesame", "--rename-command", "CONFIG", "guess-me"];
    let primary = RedisServer::start(&secret);
    let follow = ["--replicaof", "127.0.0.1", &primary.port().to_string()].map(str::to_owned);
    let words: Vec<&str> = secret.into_iter().chain(follow.iter().map(String::as_str)).collect();
    let replica = RedisServer::start(&words);
    let own = "password: \"open\", sentinel_user: \"default\", sentinel_pass: \"open\",";
    let of = "auth_pass: \"sesame\", renamed_commands: {\"config\": \"guess-me\"}";
    let (_a, first) = sentinel(own, "127.0.0.1", primary.port(), 2, of);
    let (_b, second) = sentinel(own, "127.0.0.1", primary.port(), 2, of);
    let mut clients = [first, second].map(Client::connect);
    for client in &mut clients {
        assert_eq!(client.cmd("SENTINEL MASTERS"), "NOAUTH Authentication required.");
        client.ok("AUTH open");
        wait_until("they know each other", LIMIT, || {
            field(client, "num-other-sentinels") == "1" && field(client, "num-slaves") == "1"
        });
    }
    wait_until("they see each other well", LIMIT, || {
        clients[0].cmd("SENTINEL CKQUORUM m").as_text().is_some_and(|text| text.starts_with("OK 2 usable"))
    });
    wait_until("the failover begins", LIMIT, || !clients[0].cmd("SENTINEL FAILOVER m").is_error());
    for client in &mut clients {
        wait_until("the switch", LIMIT, || field(client, "port") == replica.port().to_string());
    }
    // The transaction's CONFIG REWRITE went out under its other name: EXEC of an unknown command would be refused.
    wait_until("the old primary follows", LIMIT, || {
        // The transaction's CLIENT KILL may hit this very connection.
        let Ok(mut old) = Client::try_connect(primary.port()) else { return false };
        let open = old.try_command(&["AUTH", "sesame"]).is_ok();
        open && old.try_command(&["ROLE"]).is_ok_and(|role| role.texts().first().is_some_and(|word| word == "slave"))
    });
}

/// The port got a password while it ran, and the sentinels of the group lost each other with their next connection.
#[test]
fn a_password_that_the_port_got_at_run_time_is_the_one_for_the_peers() {
    let (primary, _replica) = pair();
    let both = [1, 2].map(|_| sentinel("", "127.0.0.1", primary.port(), 2, ""));
    for (_, port) in &both {
        wait_for(*port, "num-other-sentinels", "1");
    }
    let mut clients = [both[0].1, both[1].1].map(Client::connect);
    for client in &mut clients {
        client.ok("CONFIG SET requirepass sesame");
    }
    for client in &mut clients {
        client.ok("CLIENT KILL TYPE normal SKIPME yes");
    }
    for client in &mut clients {
        wait_until("they are connected again", LIMIT, || {
            let peers = client.ok("SENTINEL SENTINELS m").items();
            let text = |name: &str| peers[0].get(name).and_then(|v| v.as_text()).unwrap_or_default();
            let quiet = |name: &str| text(name).parse::<u64>().is_ok_and(|ms| ms < 1_000);
            text("flags") == "sentinel" && quiet("last-ok-ping-reply")
        });
    }
    let log = both[0].0.process.log();
    assert!(!log.contains("NOAUTH"), "{log}");
}

#[test]
fn a_node_that_has_no_place_for_a_sentinel_is_told() {
    let node = Keystead::builder().plugin("replication", "()").start();
    let mut inside = node.client();
    inside.ok("CONFIG SET maxclients 1");
    let (sentinel, port) = sentinel("", "127.0.0.1", node.port(), 1, "");
    let line = format!("No link to master m 127.0.0.1 {}: it says \"ERR max number of clients reached\"", node.port());
    wait_until("it is said", LIMIT, || sentinel.process.log().contains(&line));
    let told = Client::connect(port).cmd("SENTINEL EXPLAIN m").texts().join("\n");
    assert!(told.contains("max number of clients reached"), "{told}");
}

#[test]
fn the_command_line_asks_a_sentinel_over_tls() {
    let certs = Certs::new();
    let (port, tls_port) = (free_port(), free_port());
    let monitor = format!("(name: \"m\", host: \"127.0.0.1\", port: {}, quorum: 1)", free_port());
    let config = format!("(port: {port}, tls_port: {tls_port}, bind: [\"127.0.0.1\"], monitors: [{monitor}])");
    let builder = Keystead::builder().section(&certs.section(0, ""));
    let _sentinel = builder.plugin("sentinel", &config).ready_port(port).start();
    let (ca, cert, key) = (certs.path("ca.crt"), certs.path("client.crt"), certs.path("client.key"));
    let other = certs.path("stranger.crt");
    let own = ["--cert", &cert, "--key", &key];
    let whole = [&["--tls", "--cacert", &ca], &own[..]].concat();
    let astray = [&["--tls", "--cacert", &other], &own[..]].concat();
    let cases: [(&[&str], bool, &str); 5] = [
        (&whole, true, "configuration epoch"),
        (&astray, false, "TLS handshake failed: certificate verify failed: it comes from no authority"),
        (&["--tls"], false, "--tls needs --cacert"),
        (&["--cacert", &ca], false, "are for --tls"),
        (&["--tls", "--cacert", &ca, "--cert", &cert], false, "--cert and --key go together"),
    ];
    for (more, expected, words) in cases {
        let mut command = std::process::Command::new(keystead_bin());
        let out = command.args(["sentinel", "explain", "--port", &tls_port.to_string()]).args(more).output();
        let out = out.expect("the binary is there");
        let told = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(out.status.success() == expected && told.contains(words), "{more:?}: {told}");
    }
}

/// Redis' sentinel suite deletes the user that its sentinels have: the default user is open, so they go on.
#[test]
fn a_user_that_a_node_does_not_know_is_no_reason_to_hang_up() {
    let (primary, _replica) = pair();
    let (_sentinel, port) =
        sentinel("", "127.0.0.1", primary.port(), 1, "auth_user: \"deleted\", auth_pass: \"sesame\"");
    wait_for(port, "num-slaves", "1");
    wait_for(port, "flags", "master");
}

/// The commands that Redis' documentation gives a sentinel's user on data nodes, and no more. For a failover that loses
/// nothing it needs FAILOVER too; without it an operator's failover is refused with the reason, and nothing has changed.
#[test]
fn a_user_that_may_do_what_redis_documents_is_enough() {
    // SCRIPT is the scripting plugin's, which these don't have: a rule may name it all the same.
    let node = |replication: &str| Keystead::builder().plugin("replication", replication).start();
    let mut primary = node("()");
    let mut replica = node(&format!("(replicaof: (\"127.0.0.1\", {}))", primary.port()));
    for node in [&primary, &replica] {
        node.client().ok(
            "ACL SETUSER watch on >sesame resetchannels &__sentinel__:hello -@all +multi +slaveof +ping +exec +subscribe \
             +config|rewrite +role +publish +info +client|setname +client|kill +script|kill",
        );
    }
    let (old, new) = (primary.port(), replica.port());
    let user = "auth_user: \"watch\", auth_pass: \"sesame\"";
    let (_sentinel, port) = sentinel("", "127.0.0.1", old, 1, user);
    wait_for(port, "num-slaves", "1");
    let mut client = Client::connect(port);
    let linked = |client: &mut Client| {
        let replicas = client.ok("SENTINEL REPLICAS m").items();
        replicas[0].get("master-link-status").and_then(|v| v.as_text()).is_some_and(|status| status == "ok")
    };
    wait_until("the replica is in sync", LIMIT, || linked(&mut client));
    client.ok("SENTINEL FAILOVER m");
    let told = |client: &mut Client| client.ok("SENTINEL TIMELINE m 1").texts().join("\n");
    wait_until("it is refused, and said why", LIMIT, || told(&mut client).contains("doesn't hand over: NOPERM"));
    wait_until("and given up", LIMIT, || told(&mut client).contains("given up"));
    assert_eq!(field(&mut client, "port"), old.to_string());
    // Redis' way, and back by a fall.
    client.ok("SENTINEL FAILOVER m FORCE");
    wait_for(port, "port", &new.to_string());
    wait_until("the old primary follows", LIMIT, || linked(&mut client));
    replica.process.kill();
    wait_for(port, "port", &old.to_string());
    assert_eq!(primary.client().ok("ROLE").texts()[0], "master");
    primary.process.kill();
}

#[test]
fn what_is_announced_is_what_the_others_know() {
    let primary = Keystead::primary();
    let port = free_port();
    let config = format!(
        "(port: {port}, bind: [\"127.0.0.1\", \"127.0.0.2\"], announce_ip: \"127.0.0.2\", monitors: [(name: \"m\", \
         host: \"127.0.0.1\", port: {}, quorum: 2)])",
        primary.port()
    );
    let _announced = Keystead::builder().plugin("sentinel", &config).ready_port(port).start();
    let (_other, other) = sentinel("", "127.0.0.1", primary.port(), 2, "");
    let mut asked = Client::connect(other);
    let mut known = |name: &str| {
        let list = asked.ok("SENTINEL SENTINELS m").items();
        list.first().and_then(|s| s.get(name)?.as_text()).unwrap_or_default()
    };
    wait_until("it is known by what it announced", LIMIT, || known("ip") == "127.0.0.2");
    assert_eq!(known("port"), port.to_string());
    wait_until("and reached there", LIMIT, || known("flags") == "sentinel");
    Client::connect(port).ok("SENTINEL CONFIG SET announce-port 7");
    wait_until("the change is heard of", LIMIT, || known("port") == "7");
}

fn pair() -> (Keystead, Keystead) {
    let primary = Keystead::primary();
    let replica = Keystead::replica_of(primary.port());
    (primary, replica)
}
