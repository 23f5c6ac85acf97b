//! A sentinel in a data node's process: its port, which may want no password, is no way around the data port's.

use keystead_harness::{Client, DEADLINE, Keystead, KeysteadBuilder, free_port, keystead_bin, wait_until};
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
