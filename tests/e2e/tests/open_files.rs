//! Low limits of open files: crowds on one port, or in front of it, leave the others their clients and the server its files.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Certs, Client, DEADLINE, Keystead, free_port, wait_until};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

fn maxclients(client: &mut Client) -> u64 {
    client.cmd("CONFIG GET maxclients").texts()[1].parse().unwrap()
}

/// As many clients of a port as find a place: the next one is refused.
fn fill(port: u16) -> Vec<Client> {
    let mut inside = Vec::new();
    loop {
        let mut client = Client::connect(port);
        client.set_reply_limit(Duration::from_secs(10));
        let _ = client.send(&["PING"]);
        match client.read().unwrap() {
            reply if reply == "PONG" => inside.push(client),
            reply => {
                assert_eq!(reply, "ERR max number of clients reached", "behind {}", inside.len());
                return inside;
            }
        }
    }
}

#[test]
fn a_sentinel_s_port_takes_no_places_from_the_data_port_s_files() {
    let port = free_port();
    let builder = Keystead::builder().plugin("replication", "()").plugin("sentinel", &format!("(port: {port})"));
    let node = builder.shell("ulimit -n 72").start();
    let (mut data, mut sentinel) = (node.client(), Client::connect(port));
    assert_eq!((maxclients(&mut data), maxclients(&mut sentinel)), (30, 10));
    let log = node.process.log();
    assert!(log.contains("maxclients has been reduced to 30, beside 10 of the sentinel's port"), "{log}");
    let told = format!("{:?}", sentinel.cmd("CONFIG SET maxclients 11"));
    assert!(told.contains("not able to handle the specified number of clients, try with 10"), "{told}");
    data.ok("CONFIG SET maxclients 25");
    sentinel.ok("CONFIG SET maxclients 15");
    assert!(data.cmd("CONFIG SET maxclients 26").is_error(), "they are the sentinel's now");
    let crowds = (fill(port), fill(node.port()));
    assert_eq!((crowds.0.len(), crowds.1.len()), (14, 24));
    data.ok("CONFIG REWRITE");
}

/// Room enough: a sentinel's port has its own default, and a limit of the file is one for it too.
#[test]
fn a_sentinel_s_port_beside_data_has_a_thousand_places_at_most() {
    for (limits, expected) in [("", (10_000, 1000)), ("limits: (maxclients: 300)", (300, 300))] {
        let port = free_port();
        let builder = Keystead::builder().plugin("replication", "()").plugin("sentinel", &format!("(port: {port})"));
        let node = if limits.is_empty() { builder } else { builder.section(limits) }.start();
        let (mut data, mut sentinel) = (node.client(), Client::connect(port));
        let both = (maxclients(&mut data), maxclients(&mut sentinel));
        assert!(both == expected || node.process.log().contains("to compensate for low ulimit"), "{both:?}");
    }
}

/// They are no clients yet, and nobody has authenticated: writes stopped, because no file could be opened.
#[test]
fn silent_handshakes_leave_descriptors_for_files() {
    let (port, certs) = (free_port(), Certs::new());
    let node = Keystead::builder().section(&certs.section(port, "auth_clients: \"no\"")).shell("ulimit -n 128").start();
    let mut client = node.client();
    assert_eq!(maxclients(&mut client), 88);
    let _crowd = fill(node.port());
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    // The first are given up for others after a second: all places were taken by then.
    silent[0].set_read_timeout(Some(DEADLINE)).unwrap();
    let _ = (&silent[0]).read(&mut [0; 64]);
    client.ok("CONFIG REWRITE");
    assert!(!node.process.log().contains("Too many open files"), "{}", node.process.log());
}

/// Its links took all descriptors there were: its state couldn't be written, so that it could neither vote nor lead, nobody
/// could ask it, and a primary that fell was never taken for down.
#[test]
fn a_sentinel_of_many_primaries_keeps_descriptors_for_its_state_and_its_clients() {
    let pair = || {
        let primary = Keystead::builder().plugin("replication", "()").start();
        let of = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
        let replica = Keystead::builder().plugin("replication", &of).start();
        (primary, replica)
    };
    let ((falls, heir), (stays, _other)) = (pair(), pair());
    let monitor = |name: &str, of: u16| {
        format!(
            "(name: \"{name}\", host: \"127.0.0.1\", port: {of}, quorum: 1, down_after_ms: 1000, failover_timeout_ms: 10000)"
        )
    };
    let mut monitors = vec![monitor("falls", falls.port())];
    monitors.extend((0..40).map(|n| monitor(&format!("m{n}"), stays.port())));
    let port = free_port();
    let config = format!("(port: {port}, bind: [\"127.0.0.1\"], monitors: [{}])", monitors.join(", "));
    let sentinel = Keystead::builder().plugin("sentinel", &config).ready_port(port).shell("ulimit -n 160").start();
    wait_until("links are missing", DEADLINE, || sentinel.process.log().contains("the rest is kept for"));
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(port)).collect();
    wait_until("the replica is known", DEADLINE, || {
        let told = clients[0].cmd("SENTINEL FAILOVER falls DRYRUN").texts().join(" ");
        told.contains("would be promoted")
    });
    drop(falls);
    let place = heir.port().to_string();
    for client in &mut clients {
        wait_until("the switch", DEADLINE, || {
            client.ok("SENTINEL GET-MASTER-ADDR-BY-NAME falls").texts().last() == Some(&place)
        });
    }
    let _crowd = fill(port);
    assert!(!sentinel.process.log().contains("can't be written"), "{}", sentinel.process.log());
    clients[0].ok("SENTINEL SET falls quorum 2");
    // Long before maxclients: the last descriptors are the files'.
    wait_until("who was refused is counted", DEADLINE, || {
        let info = clients[0].ok("INFO stats").as_text().unwrap_or_default();
        info.lines().any(|line| line.strip_prefix("rejected_connections:").is_some_and(|count| count != "0"))
    });
}
