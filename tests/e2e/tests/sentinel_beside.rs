//! A sentinel in a data node's process: its port, which may want no password, is no way around the data port's.

use keystead_harness::{Certs, Client, DEADLINE, Keystead, KeysteadBuilder, free_port, keystead_bin, wait_until};
use std::process::Command;

const SECRET: &str = "topsecret";

fn node(sentinel: u16, password: &str) -> KeysteadBuilder {
    let config = format!("(port: {sentinel}, bind: [\"127.0.0.1\"], {password} monitors: [])");
    let data = Keystead::builder().server(&format!("requirepass: \"{SECRET}\"")).plugin("replication", "()");
    data.plugin("sentinel", &config)
}

#[test]
fn the_data_server_is_neither_ended_nor_silenced_from_there() {
    let sentinel = free_port();
    let mut node = node(sentinel, "").start();
    let mut c = Client::connect(sentinel);
    for line in [
        "SHUTDOWN NOSAVE",
        "SHUTDOWN",
        "CONFIG SET loglevel nothing",
        "CONFIG SET shutdown-on-sigterm nosave",
        "CONFIG SET tls-auth-clients no",
        "SENTINEL CONFIG SET loglevel nothing",
        "SENTINEL SIMULATE-FAILURE crash-after-election",
    ] {
        let answer = c.cmd(line);
        assert!(answer.is_error(), "{line}: {answer:?}");
    }
    assert!(c.cmd("CONFIG GET *-pass").items().is_empty());
    let mut data = node.client();
    data.ok(&format!("AUTH {SECRET}"));
    data.ok("CONFIG SET loglevel debug");
    assert!(node.process.is_alive());
}

/// Tools read these of any server.
#[test]
fn its_statistics_are_those_of_one_without_replicas() {
    let sentinel = free_port();
    let _node = node(sentinel, "").start();
    let stats = Client::connect(sentinel).info("stats");
    for name in ["sync_full", "sync_partial_ok", "sync_partial_err"] {
        assert_eq!(stats.get(name).map(String::as_str), Some("0"), "{name}");
    }
}

#[test]
fn a_port_without_a_password_beside_one_with_it_is_warned_of() {
    for (password, warned) in [("", true), ("password: \"own\",", false)] {
        let sentinel = free_port();
        let node = node(sentinel, password).start();
        let warning = format!("The sentinel's port {sentinel} has no password while the data port has one");
        assert_eq!(node.process.log().contains(&warning), warned, "{}", node.process.log());
        let file = node.dir().join("keystead.ron");
        let checked = Command::new(keystead_bin()).arg("check").arg(&file).output().expect("the binary is there");
        let told = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{told}");
        assert_eq!(told.contains(&warning), warned, "{told}");
    }
    // Where nobody asks for a password there is nothing to go around.
    let config = format!("(port: {}, bind: [\"127.0.0.1\"], monitors: [])", free_port());
    let open = Keystead::builder().plugin("replication", "()").plugin("sentinel", &config).start();
    assert!(!open.process.log().contains("has no password"), "{}", open.process.log());
}

#[test]
fn a_sentinel_alone_is_ended_as_redis_sentinel_is() {
    let port = free_port();
    let config = format!("(port: {port}, bind: [\"127.0.0.1\"], monitors: [])");
    let mut alone = Keystead::builder().plugin("sentinel", &config).ready_port(port).start();
    let mut c = Client::connect(port);
    c.ok("CONFIG SET loglevel debug");
    c.ok("SENTINEL CONFIG SET loglevel notice");
    c.send(&["SHUTDOWN"]).expect("a socket");
    wait_until("it ends", DEADLINE, || !alone.process.is_alive());
}

/// One process, one certificate: what CONFIG SET gives the data port, the sentinel's has too, at once and after a restart.
#[test]
fn its_tls_is_that_of_the_data_port() {
    let (old, new) = (Certs::new(), Certs::new());
    let (data_port, sentinel_port) = (free_port(), free_port());
    let config = format!("(port: {}, tls_port: {sentinel_port}, bind: [\"127.0.0.1\"], monitors: [])", free_port());
    let data = Keystead::builder().section(&old.section(data_port, "")).plugin("replication", "()");
    let mut node = data.plugin("sentinel", &config).start();
    let ports = [data_port, sentinel_port];
    let in_by = |certs: &Certs, name: &str| {
        let ask =
            |port| Client::try_connect_tls(port, certs, name).and_then(|mut client| client.try_command(&["PING"]));
        ports.map(|port| ask(port).is_ok())
    };
    assert_eq!((in_by(&old, "client"), in_by(&new, "client")), ([true; 2], [false; 2]));
    let set = |certs: &Certs| {
        let files = [("cert-file", "server.crt"), ("key-file", "server.key"), ("ca-cert-file", "ca.crt")];
        let pairs = files.map(|(name, file)| format!("tls-{name} {}", certs.path(file)));
        format!("CONFIG SET {} tls-protocols TLSv1.3", pairs.join(" "))
    };
    let mut admin = node.client();
    admin.ok(&set(&new));
    assert_eq!((in_by(&old, "client"), in_by(&new, "client")), ([false; 2], [true; 2]));
    let mut sentinel = Client::try_connect_tls(sentinel_port, &new, "client").expect("a good certificate");
    let shown = |client: &mut Client, name: &str| client.ok(&format!("CONFIG GET {name}")).texts();
    assert_eq!(shown(&mut sentinel, "tls-cert-file"), ["tls-cert-file".to_owned(), new.path("server.crt")]);
    assert_eq!(shown(&mut sentinel, "tls-port"), ["tls-port".to_owned(), sentinel_port.to_string()]);
    assert!(sentinel.cmd("CONFIG SET tls-auth-clients no").is_error(), "the data port's word counts");
    // What is refused is refused for both.
    assert!(admin.cmd(&format!("CONFIG SET tls-cert-file {}", old.path("server.crt"))).is_error());
    assert_eq!(in_by(&new, "client"), [true; 2]);
    admin.ok("CONFIG SET tls-auth-clients no");
    assert_eq!(in_by(&new, ""), [true; 2]);
    admin.ok("CONFIG REWRITE");
    node.process.terminate();
    node.process.wait_exit(DEADLINE);
    node.restart();
    assert_eq!((in_by(&old, ""), in_by(&new, "")), ([false; 2], [true; 2]));
    let mut sentinel = Client::try_connect_tls(sentinel_port, &new, "").expect("nobody is asked for one");
    assert_eq!(shown(&mut sentinel, "tls-protocols"), ["tls-protocols", "TLSv1.3"]);
}

/// Only the sentinel has a port for TLS: the data port's files are its files all the same.
#[test]
fn a_data_port_without_tls_says_what_its_sentinel_shows() {
    let (old, new) = (Certs::new(), Certs::new());
    let sentinel_port = free_port();
    let config = format!("(port: {}, tls_port: {sentinel_port}, bind: [\"127.0.0.1\"], monitors: [])", free_port());
    let data = Keystead::builder().section(&old.section(0, "auth_clients: \"no\"")).plugin("replication", "()");
    let node = data.plugin("sentinel", &config).start();
    let shows = |certs: &Certs| Client::try_connect_tls(sentinel_port, certs, "").is_ok();
    assert!(shows(&old) && !shows(&new));
    let mut admin = node.client();
    assert!(admin.cmd("CONFIG SET tls-cert-file nowhere").is_error(), "it would have none");
    let (cert, key) = (new.path("server.crt"), new.path("server.key"));
    admin.ok(&format!("CONFIG SET tls-cert-file {cert} tls-key-file {key}"));
    assert!(shows(&new) && !shows(&old));
}
